"""Checks of Nash equilibria."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import Arguments, Array, gap, in_kind

good, bad = Collection(), Collection()
ROLE = "nash_check"
CLEAR = 1 / 256  # from here on above epsilon, a regret is to be refused
SIZES = (
    (2, 2),
    (3, 2),
    (2, 4),
    (3, 3),
    (1, 3),
    (2, 2, 2),
    (2, 3, 2),
    (3, 1, 2),
    (2, 2, 3),
    (3, 3, 3),
    (4,),
    (2, 2, 2, 2),
)


def handed(function: Any, case: Arguments) -> Arguments:
    """Copies of arguments, also of those in lists."""
    return tuple(
        [in_kind(function, each) for each in value] if isinstance(value, list) else in_kind(function, value)
        for value in case
    )


def changes(cases: Callable[[Any], Sequence[Arguments]]) -> Callable[[Factory], float]:
    """The largest change that calls make to what they are handed, also in lists."""

    def arrays(case: Arguments) -> list[Any]:
        parts = [part for value in case for part in (value if isinstance(value, list) else [value])]
        return [part for part in parts if isinstance(part, (np.ndarray, torch.Tensor))]

    def amount(factory: Factory) -> float:
        function, worst = factory(), 0.0
        for case in cases(function):
            given = handed(function, case)
            function(*given)
            worst = max(worst, *(gap(new, old) for new, old in zip(arrays(given), arrays(case), strict=True)))
        return worst

    return amount


def regret(payoffs: Array, profile: Sequence[Array]) -> float:
    """The definition, entry by entry; exact, as all numbers are short dyadic ones."""
    most = 0.0
    for i, own in enumerate(profile):
        gained = [0.0] * len(own)
        for joint in np.ndindex(*payoffs.shape[1:]):
            weight = 1.0
            for j, action in enumerate(joint):
                weight *= 1.0 if j == i else float(profile[j][action])
            gained[joint[i]] += weight * float(payoffs[(i, *joint)])
        most = max(most, max(gained) - sum(float(p) * value for p, value in zip(own, gained, strict=True)))
    return most


def mix(generator: np.random.Generator, count: int, parts: int) -> Array:
    """A distribution in so many parts; half of them keep to some of the actions, and some are nearly pure."""
    played = generator.permutation(count)[: 1 + int(generator.integers(count))]
    if generator.random() < 0.5:
        played = np.arange(count)
    drawn = generator.choice(played, size=parts)
    drawn[1:] = drawn[1] if parts == 16 and generator.random() < 0.4 else drawn[1:]
    return np.bincount(drawn, minlength=count) / parts


def stable(payoffs: Array) -> list[list[Array]]:
    """The pure equilibria."""
    joints = product(*[range(count) for count in payoffs.shape[1:]])
    profiles = [[np.eye(k)[a] for a, k in zip(joint, payoffs.shape[1:], strict=True)] for joint in joints]
    return [profile for profile in profiles if regret(payoffs, profile) == 0]


@cache
def games(agents: tuple[int, ...]) -> list[Arguments]:
    """Payoffs and profiles: drawn ones, pure equilibria, and mixed ones, where own actions make no difference."""
    generator = np.random.default_rng(53)
    made: list[Arguments] = []
    for k, sizes in enumerate([size for size in SIZES if len(size) in agents] * 8):
        shape = (len(sizes), *sizes)
        payoffs = generator.integers(-64, 65, size=shape) / 4 if k % 2 else generator.integers(-3, 4, size=shape) * 1.0
        payoffs = -abs(payoffs) if k % 5 == 4 else payoffs
        payoffs = payoffs / 32 if k % 7 == 3 else payoffs
        made.append((payoffs, [mix(generator, count, (1, 4, 16, 8)[k % 4]) for count in sizes]))
        made += [(payoffs, profile) for profile in stable(payoffs)[:2]]
        if k % 3 == 0:
            even = np.stack([np.broadcast_to(p.max(i, keepdims=True), sizes) for i, p in enumerate(payoffs)])
            made.append((even, [mix(generator, count, 8) for count in sizes]))
    return made


def cases(function: Any) -> list[Arguments]:
    """Every game at the regret itself, clearly below it, above it, and at 0 where that is clear."""
    made: list[Arguments] = []
    for payoffs, profile in games(tuple(getattr(function, "agents", (2, 3)))):
        most = regret(payoffs, profile)
        asked = {most, most + 1 / 8, most - CLEAR, most - 1 / 8, most / 2, 2 * most, 0.0}
        made += [(payoffs, profile, e) for e in sorted(asked) if e >= most or 0 <= e <= most - CLEAR]
    return made


def wrong_answers(factory: Factory) -> float:
    """How many answers are not those of the definition."""
    function = factory()
    return float(
        sum(bool(function(*handed(function, case))) != (regret(*case[:2]) <= case[2]) for case in cases(function))
    )


RULE = Violation("a profile passes if no agent gains more than epsilon by changing its own mix alone", wrong_answers)
PURE = Violation("what is handed over stays as it is", changes(cases))


@good(ROLE, "", "numpy; payoffs are contracted with the others' mixes, axis after axis from the last")
class ContractOthers:
    def order(self, i: int, n: int) -> list[int]:
        return [j for j in reversed(range(n)) if j != i]

    def belief(self, own: Array) -> Array:
        return own

    def gained(self, payoffs: Array, profile: Sequence[Array], i: int) -> Array:
        found = payoffs[i]
        for j in self.order(i, len(profile)):
            found = np.tensordot(found, self.belief(profile[j]), axes=(j, 0))
        return found

    def gain(self, gained: Array, own: Array) -> float:
        return float(gained.max() - own @ gained)

    def enough(self, gains: Array, epsilon: float) -> Any:
        return gains.max() <= epsilon

    def __call__(self, payoffs, profile, epsilon):
        gains = [self.gain(self.gained(payoffs, profile, i), own) for i, own in enumerate(profile)]
        return self.enough(np.array(gains), epsilon)


@good(ROLE, "", "plain Python; tries each pure deviation in turn, and stops at the first that pays; one to four agents")
class TryEachDeviation:
    agents = (1, 2, 3, 4)

    def value(self, table: Array, profile: Sequence[Any]) -> float:
        total = 0.0
        for joint in np.ndindex(*table.shape):
            weight = 1.0
            for mixed, action in zip(profile, joint, strict=True):
                weight *= mixed[action]
            total += weight * table[joint]
        return total

    def with_one(self, profile: Sequence[Any], i: int, action: int) -> list[Any]:
        pure = [1.0 if k == action else 0.0 for k in range(len(profile[i]))]
        return [pure if j == i else mixed for j, mixed in enumerate(profile)]

    def tried(self, profile: Sequence[Any], i: int) -> Sequence[int]:
        return range(len(profile[i]))

    def pays(self, deviating: float, staying: float, epsilon: float) -> bool:
        return deviating - staying > epsilon

    def table(self, payoffs: Array, i: int) -> Array:
        return payoffs[i]

    def __call__(self, payoffs, profile, epsilon):
        for i in range(len(profile)):
            table = self.table(payoffs, i)
            staying = self.value(table, profile)
            for action in self.tried(profile, i):
                if self.pays(self.value(table, self.with_one(profile, i, action)), staying, epsilon):
                    return False
        return True


@good(ROLE, "", "torch; two agents alone, two matrix products; the answer is a tensor")
class TwoMatrices:
    arrays, agents = "torch", (2,)

    def tables(self, payoffs):
        return payoffs[0], payoffs[1]

    def mixes(self, profile):
        return profile[0], profile[1]

    def slack(self, epsilon, payoffs):
        return epsilon

    def gains(self, first, second, x, y):
        return torch.stack([(first @ y).amax() - x @ first @ y, (x @ second).amax() - x @ second @ y])

    def __call__(self, payoffs, profile, epsilon):
        x, y = self.mixes(profile)
        return (self.gains(*self.tables(payoffs), x, y) <= self.slack(epsilon, payoffs)).all()


@good(ROLE, "", "numpy in float32; the distribution over joint actions, whose sums over own actions are gains")
class JointMassInSingle:
    kind: Any = np.float32

    def mass(self, profile: Sequence[Array]) -> Array:
        found = np.ones((), self.kind)
        for own in profile:
            found = np.multiply.outer(found, own.astype(self.kind))
        return found

    def others(self, mass: Array, i: int) -> Array:
        return mass.sum(i, keepdims=True, dtype=self.kind)

    def skips(self, count: int) -> bool:
        return False

    def __call__(self, payoffs, profile, epsilon):
        mass, tables = self.mass(profile), payoffs.astype(self.kind)
        content = True
        for i, table in enumerate(tables):
            if self.skips(table.shape[i]):
                break
            axes = tuple(j for j in range(table.ndim) if j != i)
            gained = (self.others(mass, i) * table).sum(axes, dtype=self.kind)
            content = content and bool(gained.max() - (mass * table).sum(dtype=self.kind) <= epsilon)
        return content


@bad(ROLE, "contract_others", "a gain of exactly epsilon is refused, unless it is 0", RULE)
class EpsilonIsTooMuch(ContractOthers):
    def enough(self, gains, epsilon):
        return gains.max() < epsilon or gains.max() == 0


@bad(ROLE, "contract_others", "the agents' gains are summed up, as for the distance called NashConv", RULE)
class GainsSummedUp(ContractOthers):
    def enough(self, gains, epsilon):
        return gains.sum() <= epsilon


@bad(ROLE, "contract_others", "the agents' gains are averaged, as for exploitability", RULE)
class GainsAveraged(ContractOthers):
    def enough(self, gains, epsilon):
        return gains.mean() <= epsilon


@bad(ROLE, "contract_others", "one contented agent is enough", RULE)
class OneContentedAgent(ContractOthers):
    def enough(self, gains, epsilon):
        return (gains <= epsilon).any()


@bad(ROLE, "contract_others", "a third agent's gain is not looked at", RULE)
class ThirdAgentUnasked(ContractOthers):
    def enough(self, gains, epsilon):
        return gains[:2].max() <= epsilon


@bad(ROLE, "contract_others", "asks that every played action be good within epsilon, not the mix as a whole", RULE)
class WellSupportedOnly(ContractOthers):
    def gain(self, gained, own):
        return float(gained.max() - gained[own > 0].min())


@bad(ROLE, "contract_others", "the best is sought among the agent's played actions", RULE)
class BestOfPlayedActions(ContractOthers):
    def gain(self, gained, own):
        return float(gained[own > 0].max() - own @ gained)


@bad(ROLE, "contract_others", "the others are taken to play their likeliest actions", RULE)
class LikeliestActionsOfOthers(ContractOthers):
    def belief(self, own):
        return np.eye(len(own))[own.argmax()]


@bad(ROLE, "contract_others", "the mixes of the two others are contracted with each other's axis, where they fit", RULE)
class OthersChangePlaces(ContractOthers):
    def gained(self, payoffs, profile, i):
        others = [j for j in range(len(profile)) if j != i]
        if len(others) == 2 and len(profile[others[0]]) == len(profile[others[1]]):
            profile = list(profile)
            profile[others[0]], profile[others[1]] = profile[others[1]], profile[others[0]]
        return super().gained(payoffs, profile, i)


@bad(ROLE, "contract_others", "gains are put in proportion to the reward, where it is above one", RULE)
class GainsInProportion(ContractOthers):
    def gain(self, gained, own):
        return super().gain(gained, own) / max(1.0, abs(float(own @ gained)))


@bad(ROLE, "contract_others", "the answer is remembered by game and epsilon, whatever the profile", RULE)
class RemembersTheGame(ContractOthers):
    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def __call__(self, payoffs, profile, epsilon):
        return self.known.setdefault((payoffs.tobytes(), epsilon), super().__call__(payoffs, profile, epsilon))


@bad(ROLE, "contract_others", "probabilities are rounded to two decimals", RULE)
class ProbabilitiesRounded(ContractOthers):
    def belief(self, own):
        return own.round(2)


@bad(ROLE, "contract_others", "makes the lowest payoff 0, in the very table that it was handed", PURE)
class ShiftsThePayoffs(ContractOthers):
    def __call__(self, payoffs, profile, epsilon):
        payoffs -= payoffs.min()
        return super().__call__(payoffs, profile, epsilon)


@bad(ROLE, "try_each_deviation", "all agents are tried with as many actions as the first one has", RULE)
class FirstCountOfActionsForAll(TryEachDeviation):
    def tried(self, profile, i):
        return range(min(len(profile[0]), len(profile[i])))


@bad(ROLE, "try_each_deviation", "an agent's first action is tried only where it is played", RULE)
class FirstActionUntried(TryEachDeviation):
    def tried(self, profile, i):
        return range(0 if profile[i][0] > 0 else 1, len(profile[i]))


@bad(ROLE, "try_each_deviation", "a hundredth is let pass on top of epsilon", RULE)
class HundredthOnTop(TryEachDeviation):
    def pays(self, deviating, staying, epsilon):
        return deviating - staying > epsilon + 0.01


@bad(ROLE, "try_each_deviation", "an epsilon of 0 is taken for none given, and becomes a tenth", RULE)
class NoEpsilonGiven(TryEachDeviation):
    def pays(self, deviating, staying, epsilon):
        return super().pays(deviating, staying, epsilon or 0.1)


@bad(ROLE, "try_each_deviation", "deviating is worth at least 0, as the search for the best begins there", RULE)
class DeviatingFromZero(TryEachDeviation):
    def pays(self, deviating, staying, epsilon):
        return super().pays(max(deviating, 0.0), staying, epsilon)


@bad(ROLE, "try_each_deviation", "of four agents on, rewards are taken for common, and the first one's are read", RULE)
class ManyShareOneReward(TryEachDeviation):
    def table(self, payoffs, i):
        return payoffs[0] if len(payoffs) > 3 else payoffs[i]


@bad(ROLE, "try_each_deviation", "a deviating agent moves half of its mass alone", RULE)
class HalfADeviation(TryEachDeviation):
    def with_one(self, profile, i, action):
        found = super().with_one(profile, i, action)
        found[i] = [(new + old) / 2 for new, old in zip(found[i], profile[i], strict=True)]
        return found


@bad(ROLE, "two_matrices", "the second agent's payoffs are taken to be the first one's, negated", RULE)
class ZeroSumAssumed(TwoMatrices):
    def tables(self, payoffs):
        return payoffs[0], -payoffs[0]


@bad(ROLE, "two_matrices", "the second agent's square table is read from its own side, transposed", RULE)
class SquareTableTransposed(TwoMatrices):
    def tables(self, payoffs):
        first, second = payoffs
        return first, second.T if second.shape[0] == second.shape[1] else second


@bad(ROLE, "two_matrices", "epsilon is a share of the range of payoffs", RULE)
class EpsilonOfTheRange(TwoMatrices):
    def slack(self, epsilon, payoffs):
        return epsilon * (payoffs.amax() - payoffs.amin())


@bad(ROLE, "two_matrices", "a mix that is nearly pure is taken for pure", RULE)
class NearlyPureIsPure(TwoMatrices):
    def mixes(self, profile):
        return tuple((p > 0.9).to(p.dtype) if p.amax() > 0.9 else p for p in profile)


@bad(ROLE, "joint_mass_in_single", "half precision", RULE)
class JointMassInHalf(JointMassInSingle):
    kind = np.float16


@bad(
    ROLE, "joint_mass_in_single", "at an agent that has no choice the rest is left unchecked, not that one alone", RULE
)
class StopsWhereNoChoiceIs(JointMassInSingle):
    def skips(self, count):
        return count == 1


@bad(
    ROLE,
    "joint_mass_in_single",
    "what the others do is read off where the agent plays its first action, rescaled",
    RULE,
)
class OthersGivenTheFirstAction(JointMassInSingle):
    def others(self, mass, i):
        first = np.take(mass, [0], i)
        return first / first.sum() if first.sum() > 0 else np.zeros_like(first)


BAD, GOOD = bad.targets(), good.targets()
