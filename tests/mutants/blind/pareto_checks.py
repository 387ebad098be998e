"""Checks of Pareto-optimality."""

from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy.optimize import linprog

from ..target import Collection, Factory, Violation
from .common import Arguments, Array
from .nash_checks import changes, handed

good, bad = Collection(), Collection()
ROLE = "pareto_check"
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
# The first two, mixed as 1 to 3, are worth (2, 3), more than the third; no halves are.
LOPSIDED = np.array([[[8.0, 0.0], [1.0, 0.0]], [[0.0, 4.0], [3.0, 0.0]]])


def dominated(payoffs: Array, joint: tuple[int, ...]) -> bool:
    """The definition among joint actions, one after another."""
    mine = [float(table[joint]) for table in payoffs]
    for other in np.ndindex(*payoffs.shape[1:]):
        its = [float(table[other]) for table in payoffs]
        if all(a >= b for a, b in zip(its, mine, strict=True)) and its != mine:
            return True
    return False


def proved(payoffs: Array, joint: tuple[int, ...]) -> bool | None:
    """Whether weights prove it optimal, or a mixture of up to three joint actions proves it dominated, exactly."""
    offers = payoffs.reshape(len(payoffs), -1).T
    mine = payoffs[(slice(None), *joint)]
    weights = np.array([*product(range(1, 9), repeat=len(payoffs))], dtype=float)
    if (weights @ mine >= (weights @ offers.T).max(1)).any():
        return True
    shares = np.array([(a, b, 8 - a - b) for a in range(9) for b in range(9 - a)]) / 8
    chosen = np.array([*combinations(range(len(offers)), 3)])
    mixed = np.einsum("mk,ckn->mcn", shares, offers[chosen])
    return False if ((mixed >= mine).all(-1) & (mixed > mine).any(-1)).any() else None


@cache
def known(among: str, agents: tuple[int, ...]) -> list[tuple[Array, tuple[int, ...], bool]]:
    """Games of whole numbers with many ties, of fractions, with large and with negative numbers alone."""
    generator = np.random.default_rng(59)
    correlated, made = among == "correlated", []
    if 2 in agents:
        made.append((LOPSIDED, (1, 0), not correlated))
    for k, sizes in enumerate([size for size in SIZES if len(size) in agents] * (3 if correlated else 8)):
        payoffs = generator.integers(-3, 4, size=(len(sizes), *sizes)) * 1.0
        if k % 4 == 1:
            payoffs = generator.integers(-16, 17, size=payoffs.shape) / (8 if k % 8 == 1 else 64)
        if k % 4 == 2:
            payoffs = payoffs - 4
        if k % 4 == 3:
            payoffs = payoffs + 4096 * generator.integers(2, size=(len(sizes), *[1] * len(sizes)))
        joints = [*np.ndindex(*sizes)]
        for place in generator.permutation(len(joints))[: 4 if correlated else 8]:
            joint = joints[int(place)]
            answer = proved(payoffs, joint) if correlated else not dominated(payoffs, joint)
            if answer is not None:
                made.append((payoffs, joint, answer))
    return made


def asked(function: Any) -> list[tuple[Array, tuple[int, ...], bool]]:
    return known(getattr(function, "among", "deterministic"), tuple(getattr(function, "agents", (2, 3))))


def cases(function: Any) -> list[Arguments]:
    return [(payoffs, np.array(joint)) for payoffs, joint, _ in asked(function)]


def wrong_answers(factory: Factory) -> float:
    """How many answers are not those that are known."""
    function = factory()
    found = [bool(function(*handed(function, case))) for case in cases(function)]
    return float(sum(answer != known_one[2] for answer, known_one in zip(found, asked(function), strict=True)))


RULE = Violation("optimal if no joint policy of the declared kind is as good for all and better for one", wrong_answers)
PURE = Violation("what is handed over stays as it is", changes(cases))


@good(ROLE, "", "numpy; all joint actions in one table, two comparisons with the row that was asked for")
class CompareTables:
    def row(self, payoffs: Array, joint: Array) -> Array:
        return payoffs[(slice(None), *joint)]

    def table(self, payoffs: Array, joint: Array) -> Array:
        return payoffs.reshape(len(payoffs), -1)

    def dominators(self, table: Array, mine: Array) -> Array:
        return (table >= mine[:, None]).all(0) & (table > mine[:, None]).any(0)

    def __call__(self, payoffs, joint):
        return not self.dominators(self.table(payoffs, joint), self.row(payoffs, joint)).any()


@good(ROLE, "", "plain Python; looks for a dominating joint action, one after another; one to four agents")
class ScanForDominator:
    agents = (1, 2, 3, 4)

    def rewards(self, payoffs: Array, joint: tuple[int, ...]) -> list[Any]:
        return [float(table[joint]) for table in payoffs]

    def compared(self, payoffs: Array, joint: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [other for other in product(*map(range, payoffs.shape[1:])) if other != joint]

    def dominates(self, its: list[Any], mine: list[Any]) -> bool:
        better = False
        for a, b in zip(its, mine, strict=True):
            if a < b:
                return False
            better = better or a > b
        return better

    def __call__(self, payoffs, joint):
        joint = tuple(int(action) for action in joint)
        mine = self.rewards(payoffs, joint)
        return not any(self.dominates(self.rewards(payoffs, other), mine) for other in self.compared(payoffs, joint))


@good(ROLE, "", "numpy; two agents alone: the frontier by sorting and one sweep, then a look at the one joint action")
class SortAndSweep:
    agents = (2,)

    def order(self, first: Array, second: Array) -> Array:
        return np.lexsort((-second, -first))

    def on_frontier(self, place: int, previous: int | None, frontier: list[int], values: Array) -> bool:
        if previous is None or values[1, place] > values[1, previous]:
            return True
        return bool((values[:, place] == values[:, previous]).all())

    def __call__(self, payoffs, joint):
        values = payoffs.reshape(2, -1)
        frontier: list[int] = []
        for place in self.order(*values):
            if self.on_frontier(place, frontier[-1] if frontier else None, frontier, values):
                frontier.append(int(place))
        return bool(int(np.ravel_multi_index(tuple(joint), payoffs.shape[1:])) in frontier)


@good(ROLE, "", "scipy; a linear program mixes joint actions that lower nobody's reward and gain the most in sum")
class GainOfMixtures:
    among = "correlated"

    def columns(self, payoffs: Array, joint: Array) -> Array:
        return payoffs.reshape(len(payoffs), -1)

    def gain(self, columns: Array, mine: Array) -> float:
        gains = columns - mine[:, None]
        one = np.ones((1, gains.shape[1]))
        found = linprog(-gains.sum(0), A_ub=-gains, b_ub=np.zeros(len(mine)), A_eq=one, b_eq=[1.0])
        return float(-found.fun)

    def __call__(self, payoffs, joint):
        return self.gain(self.columns(payoffs, joint), payoffs[(slice(None), *joint)]) < 1e-6


@good(ROLE, "", "torch; a linear program looks for weights, all positive, by which no joint action is worth more")
class SupportingWeights:
    arrays, among = "torch", "correlated"

    def smallest(self, losses: Any) -> float:
        """The largest smallest weight; losses are by how much each joint action gives each agent less."""
        n = losses.shape[1]
        rows = np.column_stack([-losses, np.zeros(len(losses))])
        floors = np.column_stack([-np.eye(n), np.ones(n)])
        found = linprog(
            [0.0] * n + [-1.0],
            A_ub=np.vstack([rows, floors]),
            b_ub=np.zeros(len(rows) + n),
            A_eq=[[1.0] * n + [0.0]],
            b_eq=[1.0],
        )
        return float(found.x[-1]) if found.success else -1.0

    def passes(self, smallest: float) -> bool:
        return smallest > 1e-6

    def losses(self, mine: Any, rewards: Any) -> Any:
        return mine - rewards

    def __call__(self, payoffs, joint):
        rewards = payoffs.flatten(1).T
        mine = payoffs[(slice(None), *joint.tolist())]
        return self.passes(self.smallest(self.losses(mine, rewards).numpy()))


@bad(ROLE, "compare_tables", "only a joint action that is better for all dominates", RULE)
class BetterForAll(CompareTables):
    def dominators(self, table, mine):
        return (table > mine[:, None]).all(0)


@bad(ROLE, "compare_tables", "a third agent has no say", RULE)
class ThirdAgentNoSay(CompareTables):
    def dominators(self, table, mine):
        return super().dominators(table[:2], mine[:2])


@bad(ROLE, "compare_tables", "the joint action is counted off with the first agent's the fastest", RULE)
class FirstAgentFastest(CompareTables):
    def row(self, payoffs, joint):
        place = np.ravel_multi_index(tuple(joint), payoffs.shape[1:], order="F")
        return payoffs.reshape(len(payoffs), -1)[:, place]


@bad(ROLE, "compare_tables", "one that has the highest sum of rewards is asked for", RULE)
class HighestSumAlone(CompareTables):
    def dominators(self, table, mine):
        return table.sum(0) > mine.sum()


@bad(ROLE, "compare_tables", "rewards are cut off to whole numbers", RULE)
class RewardsMadeWhole(CompareTables):
    def dominators(self, table, mine):
        return super().dominators(table.astype(int), mine.astype(int))


@bad(ROLE, "compare_tables", "half precision", RULE)
class TablesInHalf(CompareTables):
    def dominators(self, table, mine):
        return super().dominators(table.astype(np.float16), mine.astype(np.float16))


@bad(ROLE, "compare_tables", "the table is kept for the next game of the same size", RULE)
class TableOfTheFirstGame(CompareTables):
    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}

    def table(self, payoffs, joint):
        return self.kept.setdefault(payoffs.shape, payoffs.reshape(len(payoffs), -1))


@bad(ROLE, "compare_tables", "subtracts the rewards from the very table that it was handed", PURE)
class SubtractsInPlace(CompareTables):
    def __call__(self, payoffs, joint):
        payoffs -= self.row(payoffs, joint).reshape(-1, *[1] * len(joint))
        return super().__call__(payoffs, joint)


@bad(ROLE, "compare_tables", "the best of a joint action is compared with the best, the worst with the worst", RULE)
class RewardsInOrder(CompareTables):
    def dominators(self, table, mine):
        return super().dominators(np.sort(table, axis=0), np.sort(mine))


@bad(ROLE, "scan_for_dominator", "another joint action with equal rewards dominates", RULE)
class EqualOnesDominate(ScanForDominator):
    def dominates(self, its, mine):
        return all(a >= b for a, b in zip(its, mine, strict=True))


@bad(ROLE, "scan_for_dominator", "only one agent at a time may act otherwise, as in an equilibrium", RULE)
class OneAgentActsOtherwise(ScanForDominator):
    def compared(self, payoffs, joint):
        others = super().compared(payoffs, joint)
        return [other for other in others if sum(a != b for a, b in zip(other, joint, strict=True)) == 1]


@bad(ROLE, "scan_for_dominator", "all agents have to act otherwise", RULE)
class AllAgentsActOtherwise(ScanForDominator):
    def compared(self, payoffs, joint):
        others = super().compared(payoffs, joint)
        return [other for other in others if all(a != b for a, b in zip(other, joint, strict=True))]


@bad(ROLE, "scan_for_dominator", "the scan ends at the joint action itself", RULE)
class ScanEndsAtItself(ScanForDominator):
    def compared(self, payoffs, joint):
        return [other for other in super().compared(payoffs, joint) if other < joint]


@bad(ROLE, "scan_for_dominator", "lists are compared as lists, so that the first difference decides", RULE)
class FirstDifferenceDecides(ScanForDominator):
    def dominates(self, its, mine):
        return its > mine


@bad(ROLE, "scan_for_dominator", "an advantage below a quarter does not count as one", RULE)
class QuarterIsNoAdvantage(ScanForDominator):
    def dominates(self, its, mine):
        return super().dominates(its, mine) and max(a - b for a, b in zip(its, mine, strict=True)) >= 0.25


@bad(ROLE, "scan_for_dominator", "only a joint action that is stable itself may dominate", RULE)
class StableOnesDominate(ScanForDominator):
    def compared(self, payoffs, joint):
        best = [table == table.max(i, keepdims=True) for i, table in enumerate(payoffs)]
        return [other for other in super().compared(payoffs, joint) if all(table[other] for table in best)]


@bad(ROLE, "sort_and_sweep", "of those that are equal to the first agent the worst for the second comes first", RULE)
class WorstOfEqualsFirst(SortAndSweep):
    def order(self, first, second):
        return np.lexsort((second, -first))


@bad(ROLE, "sort_and_sweep", "of joint actions with equal rewards one alone is kept on the frontier", RULE)
class OneOfTwins(SortAndSweep):
    def on_frontier(self, place, previous, frontier, values):
        return previous is None or values[1, place] > values[1, previous]


@bad(ROLE, "gain_of_mixtures", "probabilities may sum to less than one, what is missing being worth 0", RULE)
class MassMayBeMissing(GainOfMixtures):
    def gain(self, columns, mine):
        bounds, least = np.vstack([-columns, np.ones((1, columns.shape[1]))]), np.append(-mine, 1.0)
        found = linprog(-columns.sum(0), A_ub=bounds, b_ub=least)
        return float(-found.fun - mine.sum())


@bad(ROLE, "gain_of_mixtures", "mixes what agents reach alone, each by an action of its own", RULE)
class MixesOwnDeviations(GainOfMixtures):
    def columns(self, payoffs, joint):
        differ = (np.indices(payoffs.shape[1:]) != np.reshape(joint, (-1, *[1] * len(joint)))).sum(0)
        return payoffs[:, differ <= 1]


@bad(ROLE, "gain_of_mixtures", "says correlated, and compares with joint actions alone", RULE)
class NothingIsMixed(GainOfMixtures):
    def gain(self, columns, mine):
        gains = columns - mine[:, None]
        return float(np.where((gains >= 0).all(0), gains.sum(0), 0.0).max())


@bad(ROLE, "gain_of_mixtures", "mixes two joint actions half and half, in no other shares", RULE)
class HalfAndHalf(GainOfMixtures):
    def gain(self, columns, mine):
        gains = (columns[:, :, None] + columns[:, None]) / 2 - mine[:, None, None]
        return float(np.where((gains >= 0).all(0), gains.sum(0), 0.0).max())


@bad(ROLE, "supporting_weights", "an agent's weight may be 0", RULE)
class WeightsMayBeZero(SupportingWeights):
    def passes(self, smallest):
        return smallest > -1e-6


@bad(ROLE, "supporting_weights", "weights below a fifth are not tried", RULE)
class NoWeightBelowAFifth(SupportingWeights):
    def passes(self, smallest):
        return smallest >= 0.2


@bad(ROLE, "supporting_weights", "says deterministic, and compares with mixtures, too", RULE)
class MixturesAreComparedToo(SupportingWeights):
    among = "deterministic"


@bad(ROLE, "supporting_weights", "losses are limited to one, so that scales do not differ", RULE)
class LossesLimited(SupportingWeights):
    def losses(self, mine, rewards):
        return super().losses(mine, rewards).clamp(-1, 1)


BAD, GOOD = bad.targets(), good.targets()
