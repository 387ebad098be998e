"""Checks of equilibria and of Pareto optimality, good ones and broken ones that the judge must refute.

A target takes the name of its class, in lower case: the class is the factory, its instance the check.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from .equilibrium_violations import (
    CLIMBING,
    DILEMMA,
    EQUAL,
    GENEROUS,
    PENNIES,
    SEXES,
    accepts_at,
    accepts_dominated,
    forgets_the_question,
    refuses_at,
    refuses_optimal,
)
from .target import Collection

Array = NDArray[Any]
Mixes = Sequence[Array]
ROUNDING = 1e-9

good, bad = Collection(), Collection()

HALVES = [[0.5, 0.5], [0.5, 0.5]]
BOTH_FIRST = [[1, 0], [1, 0]]
BOTH_LAST = [[0, 1], [0, 1]]
# Three agents, all paid 1 where they agree; and the same with agent 2 paid for disagreeing.
AGREE = [[[[1, 0], [0, 0]], [[0, 0], [0, 1]]]] * 3
SPOILER = [*AGREE[:2], [[[0, 1], [1, 1]], [[1, 1], [1, 0]]]]
ALL_FIRST = [[1, 0]] * 3
ORDER = [
    [[[0, 0], [0, 0]], [[0, 1], [0, 0]]],
    *[[[[0, 0], [0, 0]], [[0, 0], [0, 0]]]] * 2,
]  # agent 0 is paid at 1, 0, 1
# The joint action (A, B) pays as much as a mixture of (A, A) and (B, B) does to both, less two.
BETWEEN = [[[4, 1], [1, 0]], [[0, 1], [1, 4]]]
ON_LINE = [[[4, 2, 0]], [[0, 2, 4]]]
NASH_QUESTIONS = [(np.array(DILEMMA, dtype=float), np.eye(2)[[a, a]], 0.0) for a in (0, 1)]
PARETO_QUESTIONS = [(np.array(DILEMMA, dtype=float), np.array([a, a])) for a in (0, 1)]
WEAK = [[[1, 1]], [[0, 2]]]  # the second joint action pays agent 1 more and agent 0 as much


# Good checks of Nash equilibria


@good("nash_check", "", "The largest gain over all agents and actions, in whole tables.")
class NashCheck:
    rounding = ROUNDING

    def rewards(self, table: Array, profile: Mixes, i: int) -> Array:
        """What each action of agent i brings."""
        brought = np.moveaxis(table, i, 0)
        for mix in self.others(profile, i)[::-1]:
            brought = brought @ mix
        return brought

    def others(self, profile: Mixes, i: int) -> Mixes:
        return [mix for j, mix in enumerate(profile) if j != i]

    def gain(self, rewards: Array, mix: Array) -> float:
        return float(rewards.max() - rewards @ mix)

    def gains(self, payoffs: Array, profile: Mixes) -> list[float]:
        return [self.gain(self.rewards(table, profile, i), profile[i]) for i, table in enumerate(payoffs)]

    def within(self, gains: list[float], epsilon: float) -> bool:
        return max(gains) <= epsilon + self.rounding

    def __call__(self, payoffs: Array, profile: Mixes, epsilon: float) -> bool:
        return self.within(self.gains(payoffs, profile), epsilon)


@good("nash_check", "nash_check", "No allowance for rounding.")
class ToTheLetter(NashCheck):
    rounding = 0.0


@good("nash_check", "nash_check", "An allowance of a thousandth.")
class GenerousRounding(NashCheck):
    rounding = 1e-3


@good("nash_check", "", "Joint actions and deviations one by one, in rationals.")
class ByEnumeration:
    def reward(self, table: Array, profile: Sequence[Sequence[Fraction]]) -> Fraction:
        total = Fraction(0)
        for a in np.ndindex(table.shape):
            weight = Fraction(1)
            for mix, action in zip(profile, a, strict=True):
                weight *= mix[action]
            total += weight * Fraction(float(table[a]))
        return total

    def __call__(self, payoffs: Array, profile: Mixes, epsilon: float) -> bool:
        exact = [[Fraction(float(p)) for p in mix] for mix in profile]
        for i, table in enumerate(payoffs):
            now = self.reward(table, exact)
            for action in range(table.shape[i]):
                pure = [Fraction(int(k == action)) for k in range(table.shape[i])]
                if self.reward(table, [*exact[:i], pure, *exact[i + 1 :]]) - now > Fraction(epsilon):
                    return False
        return True


@good("nash_check", "nash_check", "Torch tensors, and a tensor for an answer.")
class TorchNashCheck(NashCheck):
    arrays = "torch"

    def __call__(self, payoffs: Any, profile: Any, epsilon: float) -> Any:
        mixes = [mix.numpy() for mix in profile]
        return torch.tensor(super().__call__(payoffs.numpy(), mixes, epsilon))


@good("nash_check", "nash_check", "Two matrices for two agents.")
class TwoMatrices:
    agents = (2,)

    def __call__(self, payoffs: Array, profile: Mixes, epsilon: float) -> Any:
        (a, b), (x, y) = payoffs, profile
        return np.max(a @ y) - x @ a @ y <= epsilon and np.max(x @ b) - x @ b @ y <= epsilon


# Broken checks of Nash equilibria


@bad("nash_check", "nash_check", "Only agent 0 is checked.", accepts_at(SPOILER, ALL_FIRST))
class OnlyTheFirstAgent(NashCheck):
    def gains(self, payoffs: Array, profile: Mixes) -> list[float]:
        return super().gains(payoffs, profile)[:1]


@bad("nash_check", "nash_check", "Only the first two agents are checked.", accepts_at(SPOILER, ALL_FIRST))
class OnlyTwoAgents(NashCheck):
    def gains(self, payoffs: Array, profile: Mixes) -> list[float]:
        return super().gains(payoffs, profile)[:2]


@bad("nash_check", "nash_check", "Only deviations within the support count.", accepts_at(DILEMMA, BOTH_FIRST))
class WithinTheSupport(NashCheck):
    def gain(self, rewards: Array, mix: Array) -> float:
        return float(rewards[mix > 0].max() - rewards @ mix)


@bad(
    "nash_check",
    "nash_check",
    "Only deviations off the support count.",
    accepts_at(PENNIES, [[0.5, 0.5], [0.25, 0.75]]),
)
class OffTheSupport(NashCheck):
    def gain(self, rewards: Array, mix: Array) -> float:
        return float(rewards[mix == 0].max(initial=-np.inf) - rewards @ mix)


@bad("nash_check", "nash_check", "A gain of epsilon itself is too much.", refuses_at(PENNIES, HALVES))
class StrictBound(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return max(gains) < epsilon


@bad(
    "nash_check",
    "nash_check",
    "A positive epsilon must not be reached, zero may.",
    refuses_at(PENNIES, [[0.5, 0.5], [0.25, 0.75]], 0.5),
)
class StrictAboveZero(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return max(gains) < epsilon if epsilon else max(gains) <= 0


@bad("nash_check", "nash_check", "The mean gain of the agents is bounded.", accepts_at(SPOILER, ALL_FIRST, 0.5))
class MeanGain(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return sum(gains) / len(gains) <= epsilon


@bad("nash_check", "nash_check", "The sum of the agents' gains is bounded.", refuses_at(DILEMMA, [[1, 0], [1, 0]], 1))
class SumOfGains(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return sum(gains) <= epsilon


@bad("nash_check", "nash_check", "One agent without a gain is enough.", accepts_at(SPOILER, ALL_FIRST))
class SmallestGain(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return min(gains) <= epsilon


@bad("nash_check", "nash_check", "An allowance of a hundredth.", accepts_at(DILEMMA, BOTH_FIRST, 1 - 1 / 128))
class WideRounding(NashCheck):
    rounding = 1e-2


@bad("nash_check", "nash_check", "Epsilon is taken for zero.", refuses_at(DILEMMA, BOTH_FIRST, 1))
class EpsilonIgnored(NashCheck):
    def within(self, gains: list[float], epsilon: float) -> bool:
        return max(gains) <= self.rounding


@bad(
    "nash_check",
    "nash_check",
    "Epsilon is a share of the largest payoff.",
    accepts_at(CLIMBING, [[0, 1, 0], [0, 0, 1]], 0.5),
)
class RelativeEpsilon(NashCheck):
    def __call__(self, payoffs: Array, profile: Mixes, epsilon: float) -> bool:
        return super().__call__(payoffs, profile, epsilon * max(1.0, float(np.abs(payoffs).max())))


@bad("nash_check", "nash_check", "Agents deviate together.", refuses_at(DILEMMA, BOTH_LAST))
class DeviatingTogether(NashCheck):
    def gains(self, payoffs: Array, profile: Mixes) -> list[float]:
        now = [self.rewards(table, profile, i) @ profile[i] for i, table in enumerate(payoffs)]
        return [float(table.max() - own) for table, own in zip(payoffs, now, strict=True)]


@bad(
    "nash_check",
    "nash_check",
    "The own mix stands for the other's, where both have as many actions.",
    refuses_at(SEXES, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], 0.25),
)
class OwnMixForTheOthers(NashCheck):
    def others(self, profile: Mixes, i: int) -> Mixes:
        mixes = super().others(profile, i)
        return [profile[i]] if len(mixes) == 1 and len(mixes[0]) == len(profile[i]) else mixes


@bad("nash_check", "nash_check", "Gains are weighed with the own probabilities.", accepts_at(DILEMMA, BOTH_FIRST))
class GainsWeighed(NashCheck):
    def gain(self, rewards: Array, mix: Array) -> float:
        return float((mix * (rewards - rewards @ mix)).max())


@bad("nash_check", "nash_check", "Others are taken to play their most likely action.", refuses_at(PENNIES, HALVES))
class OthersMostLikely(NashCheck):
    def others(self, profile: Mixes, i: int) -> Mixes:
        return [np.eye(len(mix))[mix.argmax()] for mix in super().others(profile, i)]


@bad(
    "nash_check",
    "nash_check",
    "The others' mixes are applied in the wrong order.",
    accepts_at(ORDER, [[1, 0], [1, 0], [0, 1]]),
)
class OthersInTheWrongOrder(NashCheck):
    def others(self, profile: Mixes, i: int) -> Mixes:
        mixes = super().others(profile, i)
        return mixes[::-1] if len({len(mix) for mix in mixes}) == 1 else mixes


@bad("nash_check", "nash_check", "Every best response has to be played.", refuses_at(EQUAL, BOTH_FIRST))
class AllBestResponsesPlayed(NashCheck):
    def gain(self, rewards: Array, mix: Array) -> float:
        return np.inf if (mix[rewards >= rewards.max() - ROUNDING] == 0).any() else super().gain(rewards, mix)


@bad("nash_check", "nash_check", "Mixed profiles are refused.", refuses_at(PENNIES, HALVES))
class PureOnly(NashCheck):
    def gain(self, rewards: Array, mix: Array) -> float:
        return super().gain(rewards, mix) if mix.max() == 1 else np.inf


@bad("nash_check", "nash_check", "Agent 0's table is used for all agents.", accepts_at(SPOILER, ALL_FIRST))
class FirstTableForAll(NashCheck):
    def gains(self, payoffs: Array, profile: Mixes) -> list[float]:
        return super().gains(np.stack([payoffs[0]] * len(payoffs)), profile)


@bad("nash_check", "nash_check", "The answer is kept by the game.", forgets_the_question(*NASH_QUESTIONS))
class NashAnswerByGame(NashCheck):
    def __init__(self) -> None:
        self.kept: dict[bytes, bool] = {}

    def __call__(self, payoffs: Array, profile: Mixes, epsilon: float) -> bool:
        return self.kept.setdefault(payoffs.tobytes(), super().__call__(payoffs, profile, epsilon))


# Good checks of Pareto optimality


@good("pareto_check", "", "Comparison with every joint action, in whole tables.")
class ParetoCheck:
    def gains(self, payoffs: Array, action: Array) -> Array:
        """What each agent gains [n, A_1, ..] where another joint action is played."""
        return np.stack([table - table[tuple(action)] for table in payoffs])

    def dominates(self, gains: Array) -> Array:
        return (gains >= 0).all(axis=0) & (gains > 0).any(axis=0)

    def __call__(self, payoffs: Array, action: Array) -> bool:
        return not self.dominates(self.gains(payoffs, action)).any()


@good("pareto_check", "pareto_check", "Differences of up to a millionth count as none.")
class RoundedParetoCheck(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return (gains >= -1e-6).all(axis=0) & (gains > 1e-6).any(axis=0)


@good("pareto_check", "", "Joint actions one by one, in plain Python.")
class ParetoLoop:
    def __call__(self, payoffs: Array, action: Array) -> bool:
        own = [float(table[tuple(action)]) for table in payoffs]
        for other in np.ndindex(payoffs.shape[1:]):
            rewards = [float(table[other]) for table in payoffs]
            if rewards != own and all(u >= v for u, v in zip(rewards, own, strict=True)):
                return False
        return True


@good("pareto_check", "", "Whether a linear program finds a distribution that gains, with an allowance for rounding.")
class ParetoProgram:
    among = "correlated"
    allowance = 1e-7

    def optimal(self, value: float) -> bool:
        return value <= self.allowance

    def weights(self, n: int) -> Array:
        return np.ones(n)

    def __call__(self, payoffs: Array, action: Array) -> bool:
        n = len(payoffs)
        own = np.array([table[tuple(action)] for table in payoffs])
        gains = payoffs.reshape(n, -1) - own[:, None]
        answer = linprog(
            -np.concatenate([np.zeros(gains.shape[1]), self.weights(n)]),
            A_ub=np.hstack([-gains, np.eye(n)]),
            b_ub=np.zeros(n),
            A_eq=np.concatenate([np.ones(gains.shape[1]), np.zeros(n)])[None],
            b_eq=[1],
        )
        return self.optimal(-answer.fun)


# Broken checks of Pareto optimality


@bad("pareto_check", "pareto_check", "The answer is kept by the game.", forgets_the_question(*PARETO_QUESTIONS))
class ParetoAnswerByGame(ParetoCheck):
    def __init__(self) -> None:
        self.kept: dict[bytes, bool] = {}

    def __call__(self, payoffs: Array, action: Array) -> bool:
        return self.kept.setdefault(payoffs.tobytes(), super().__call__(payoffs, action))


@bad("pareto_check", "pareto_check", "Only what is better for everyone dominates.", accepts_dominated(WEAK, (0, 0)))
class StrictlyBetterForAll(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return (gains > 0).all(axis=0)


@bad("pareto_check", "pareto_check", "The sum of the rewards has to be the highest.", refuses_optimal(GENEROUS, (0, 0)))
class HighestSum(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return gains.sum(axis=0) > 0


@bad("pareto_check", "pareto_check", "What pays everyone the same dominates.", refuses_optimal(EQUAL, (0, 0)))
class EqualDominates(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        here = (gains == 0).all(axis=0)
        return (gains >= 0).all(axis=0) & (~here | (here.sum() > 1))


@bad("pareto_check", "pareto_check", "Less is better.", accepts_dominated(DILEMMA, (1, 1)))
class LessIsBetter(ParetoCheck):
    def gains(self, payoffs: Array, action: Array) -> Array:
        return -super().gains(payoffs, action)


@bad("pareto_check", "pareto_check", "Somebody who gains is enough to dominate.", refuses_optimal(SEXES, (0, 0)))
class AnyoneGains(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return (gains > 0).any(axis=0)


@bad(
    "pareto_check", "pareto_check", "Only agent 0 has to gain, and no other may lose.", accepts_dominated(WEAK, (0, 0))
)
class FirstAgentGains(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return (gains >= 0).all(axis=0) & (gains[0] > 0)


@bad("pareto_check", "pareto_check", "The last agent is left out.", refuses_optimal(SEXES, (1, 1)))
class LastAgentForgotten(ParetoCheck):
    def gains(self, payoffs: Array, action: Array) -> Array:
        return super().gains(payoffs[:-1], action)


@bad(
    "pareto_check",
    "pareto_check",
    "Joint actions in which one agent alone deviates.",
    accepts_dominated(DILEMMA, (1, 1)),
)
class OneAgentDeviates(ParetoCheck):
    def gains(self, payoffs: Array, action: Array) -> Array:
        far = np.sum(np.indices(payoffs.shape[1:]) != np.reshape(action, [-1, *[1] * len(action)]), axis=0) > 1
        return np.where(far, -1.0, super().gains(payoffs, action))


@bad(
    "pareto_check",
    "pareto_check",
    "Gains of up to a hundredth count as none.",
    accepts_dominated([[[0, 1 / 128]]] * 2, (0, 0)),
)
class WideParetoRounding(ParetoCheck):
    def dominates(self, gains: Array) -> Array:
        return (gains >= 0).all(axis=0) & (gains > 1e-2).any(axis=0)


@bad("pareto_check", "pareto_check", "The worst-off agent's reward is compared.", refuses_optimal(GENEROUS, (1, 1)))
class WorstOff(ParetoCheck):
    def __call__(self, payoffs: Array, action: Array) -> bool:
        worst = payoffs.min(axis=0)
        return bool(worst[tuple(action)] == worst.max())


@bad(
    "pareto_check",
    "pareto_check",
    "The indices of the joint action are read from the end.",
    accepts_dominated([[[0, 2, 1]]] * 2, (0, 2)),
)
class IndexOffByOne(ParetoCheck):
    def gains(self, payoffs: Array, action: Array) -> Array:
        return super().gains(payoffs, action - 1)


@bad("pareto_check", "pareto_check", "Nash equilibria are accepted instead.", accepts_dominated(DILEMMA, (1, 1)))
class NashInstead(ParetoCheck):
    def __call__(self, payoffs: Array, action: Array) -> bool:
        line = [[*action[:i], slice(None), *action[i + 1 :]] for i in range(len(action))]
        own = [table[tuple(action)] for table in payoffs]
        return all(bool((table[tuple(where)] <= u).all()) for table, where, u in zip(payoffs, line, own, strict=True))


@bad(
    "pareto_check",
    "pareto_program",
    "Joint actions alone are compared, and correlated policies declared.",
    accepts_dominated(BETWEEN, (0, 1), [((0, 0), 0.5), ((1, 1), 0.5)]),
)
class JointActionsAsCorrelated(ParetoCheck):
    among = "correlated"


@bad(
    "pareto_check",
    "pareto_check",
    "Distributions are compared, and deterministic policies declared.",
    refuses_optimal(BETWEEN, (0, 1)),
)
class CorrelatedAsDeterministic(ParetoProgram):
    among = "deterministic"


@bad(
    "pareto_check",
    "pareto_program",
    "Agent 0's gain alone is maximised.",
    accepts_dominated(WEAK, (0, 0)),
)
class FirstAgentsGainMaximised(ParetoProgram):
    def weights(self, n: int) -> Array:
        return np.eye(n)[0]


@bad(
    "pareto_check",
    "pareto_program",
    "A program whose best gain is zero counts as gaining.",
    refuses_optimal(ON_LINE, (0, 1), [1, 1]),
)
class ZeroGainCounts(ParetoProgram):
    def optimal(self, value: float) -> bool:
        return value < 0


@bad(
    "pareto_check",
    "pareto_program",
    "Half a point of gain counts as none.",
    accepts_dominated([[[0, 0.25]]] * 2, (0, 0)),
)
class HalfAPointAllowed(ParetoProgram):
    allowance = 0.5


@bad(
    "pareto_check",
    "pareto_program",
    "The weighted sum for equal weights has to be the highest.",
    refuses_optimal(GENEROUS, (0, 0), [4, 1]),
)
class EqualWeights(ParetoProgram):
    def __call__(self, payoffs: Array, action: Array) -> bool:
        total = payoffs.sum(axis=0)
        return bool(total[tuple(action)] == total.max())


GOOD = good.targets()
BAD = bad.targets()
