"""Solvers of matrix games."""

from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog

from ..target import Collection, Violation
from .common import Array
from .equilibrium_measures import (
    Exact,
    System,
    games,
    missed,
    over_games,
    rows_of,
    short_of_the_best,
    solved,
    unanswered,
    unlawful,
    worst_regret,
)

good, bad = Collection(), Collection()
ROLE = "equilibrium_solver"


def changes_its_argument(factory: Any) -> float:
    """The largest change that a solver makes to the payoffs."""
    function, worst = factory(), 0.0
    for game in games(function):
        torched = getattr(function, "arrays", "numpy") == "torch"
        handed = torch.from_numpy(game.copy()) if torched else game.copy()
        function(handed)
        worst = max(worst, float(np.abs(np.asarray(handed) - game).max()))
    return worst


SOUND = Violation("no agent gains by a deviation of the concept's kind", over_games(worst_regret))
LAWFUL = Violation("probabilities are not negative and sum to 1", over_games(unlawful))
ANSWERED = Violation("every game of the domain has an answer, of the right shape", unanswered)
COMPLETE = Violation("all equilibria are in the list", missed)
BEST = Violation("no equilibrium of the concept has a higher sum of rewards", short_of_the_best)
PURE = Violation("the payoffs stay as they are", changes_its_argument)


@good(ROLE, "", "plain Python in fractions; supports of the same size, each by its linear equations")
class SupportsInFractions:
    answers, domain = "all", "non_degenerate"

    def systems(self, payoffs: Array) -> tuple[System, System]:
        return rows_of(payoffs)

    def subsets(self, count: int, size: int) -> list[tuple[int, ...]]:
        return list(combinations(range(count), size))

    def sizes(self, m: int, n: int) -> Any:
        return range(1, min(m, n) + 1)

    def normalised(self, weights: Exact) -> Exact:
        return weights

    def positive(self, weights: Exact) -> bool:
        return min(weights) > 0

    def mixture(self, rows: System, mine: tuple[int, ...], theirs: tuple[int, ...]) -> Exact | None:
        """The weights on `theirs` that make all of `mine` worth the same."""
        system = [[rows[k][j] for j in theirs] + [Fraction(-1), Fraction(0)] for k in mine]
        found = solved([*system, [Fraction(1)] * len(theirs) + [Fraction(0), Fraction(1)]])
        if found is None or not self.positive(found[:-1]):
            return None
        weights = [Fraction(0)] * len(rows[0])
        for j, weight in zip(theirs, found, strict=False):
            weights[j] = weight
        return weights

    def worth(self, row: Exact, weights: Exact) -> Fraction:
        return sum((v * w for v, w in zip(row, weights, strict=True)), Fraction(0))

    def replies(self, rows: System, mine: tuple[int, ...], weights: Exact) -> bool:
        return max(self.worth(row, weights) for row in rows) == self.worth(rows[mine[0]], weights)

    def stable(self, first: bool, second: bool) -> bool:
        return first and second

    def listed(self, found: list[tuple[Exact, Exact]], systems: tuple[System, System]) -> list[tuple[Exact, Exact]]:
        return found

    def pair(self, x: list[float], y: list[float]) -> list[list[float]]:
        return [x, y]

    def __call__(self, payoffs):
        first, second = self.systems(payoffs)
        m, n, found = len(first), len(second), []
        for size in self.sizes(m, n):
            for mine, theirs in product(self.subsets(m, size), self.subsets(n, size)):
                y, x = self.mixture(first, mine, theirs), self.mixture(second, theirs, mine)
                if x and y and self.stable(self.replies(first, mine, y), self.replies(second, theirs, x)):
                    found.append((self.normalised(x), self.normalised(y)))
        return [self.pair(*([float(v) for v in part] for part in one)) for one in self.listed(found, (first, second))]


@bad(ROLE, "supports_in_fractions", "the largest size of supports is left out, unless it is 1", COMPLETE)
class LargestSupportLeftOut(SupportsInFractions):
    def sizes(self, m, n):
        return range(1, max(2, min(m, n)))


@bad(ROLE, "supports_in_fractions", "looks for equilibria in pure strategies alone", ANSWERED)
class PureSupportsAlone(SupportsInFractions):
    def sizes(self, m, n):
        return range(1, 2)


@bad(ROLE, "supports_in_fractions", "supports have at most two actions", COMPLETE)
class SupportsOfTwoAtMost(SupportsInFractions):
    def sizes(self, m, n):
        return range(1, min(m, n, 2) + 1)


@bad(ROLE, "supports_in_fractions", "supports are runs of neighbouring actions", COMPLETE)
class NeighbouringSupports(SupportsInFractions):
    def subsets(self, count, size):
        return [tuple(range(k, k + size)) for k in range(count - size + 1)]


@bad(ROLE, "supports_in_fractions", "better replies outside the support are not looked for", SOUND)
class RepliesInsideSupport(SupportsInFractions):
    def replies(self, rows, mine, weights):
        return True


@bad(ROLE, "supports_in_fractions", "the first agent's replies alone are checked", SOUND)
class FirstAgentsRepliesAlone(SupportsInFractions):
    def stable(self, first, second):
        return first


@bad(ROLE, "supports_in_fractions", "a better reply is looked for among later actions alone", SOUND)
class LaterRepliesAlone(SupportsInFractions):
    def replies(self, rows, mine, weights):
        return super().replies(rows[mine[0] :], (0,), weights)


@bad(ROLE, "supports_in_fractions", "in square games the second agent's payoffs are not transposed", SOUND)
class SecondNotTransposed(SupportsInFractions):
    def systems(self, payoffs):
        first, second = rows_of(payoffs)
        same = len(first) == len(second)
        return first, [list(column) for column in zip(*second, strict=True)] if same else second


@bad(ROLE, "supports_in_fractions", "the first agent's payoffs are both agents'", SOUND)
class FirstPayoffsForBoth(SupportsInFractions):
    def systems(self, payoffs):
        return rows_of(np.stack([payoffs[0], payoffs[0]]))


@bad(ROLE, "supports_in_fractions", "payoffs become integers on the way", SOUND)
class PayoffsToIntegers(SupportsInFractions):
    def systems(self, payoffs):
        return rows_of(payoffs.astype(np.int64))


@bad(ROLE, "supports_in_fractions", "payoffs are read in half precision", SOUND)
class PayoffsInHalf(SupportsInFractions):
    def systems(self, payoffs):
        return rows_of(np.clip(payoffs, -60000, 60000).astype(np.float16))


@bad(ROLE, "supports_in_fractions", "weights may be negative", LAWFUL)
class NegativeWeights(SupportsInFractions):
    def positive(self, weights):
        return True


@bad(ROLE, "supports_in_fractions", "the last weight is not checked for its sign", LAWFUL)
class LastWeightUnchecked(SupportsInFractions):
    def positive(self, weights):
        return min(weights[:-1], default=Fraction(1)) > 0


@bad(ROLE, "supports_in_fractions", "weights are divided by the largest, not by their sum", LAWFUL)
class DividedByLargest(SupportsInFractions):
    def normalised(self, weights):
        return [weight / max(weights) for weight in weights]


@bad(ROLE, "supports_in_fractions", "weights below 1/20 are taken for noise and cut off", SOUND)
class SmallWeightsCutOff(SupportsInFractions):
    def normalised(self, weights):
        kept = [weight if weight >= Fraction(1, 20) else Fraction(0) for weight in weights]
        return [weight / sum(kept) for weight in kept]


@bad(ROLE, "supports_in_fractions", "in square games the strategies come in the wrong agents' places", SOUND)
class AgentsSwappedInSquareGames(SupportsInFractions):
    def pair(self, x, y):
        return [y, x] if len(x) == len(y) else [x, y]


@bad(ROLE, "supports_in_fractions", "equilibria that agree to one decimal are taken for one", COMPLETE)
class SameToOneDecimal(SupportsInFractions):
    def listed(self, found, systems):
        return list({tuple(round(float(v), 1) for part in one for v in part): one for one in found[::-1]}.values())


@bad(ROLE, "supports_in_fractions", "equilibria with the same values of both agents are taken for one", COMPLETE)
class SameByValue(SupportsInFractions):
    def listed(self, found, systems):
        first, second = systems
        values = [(max(self.worth(r, y) for r in first), max(self.worth(r, x) for r in second)) for x, y in found]
        return list(dict(zip(values, found, strict=True)).values())


@bad(ROLE, "supports_in_fractions", "stops at five equilibria", COMPLETE)
class StopsAtFive(SupportsInFractions):
    def listed(self, found, systems):
        return found[:5]


@bad(ROLE, "supports_in_fractions", "equilibria in which both agents earn less than in another are left out", COMPLETE)
class DominatedLeftOut(SupportsInFractions):
    def listed(self, found, systems):
        first, second = systems
        values = [(max(self.worth(r, y) for r in first), max(self.worth(r, x) for r in second)) for x, y in found]
        return [
            one
            for one, (u, v) in zip(found, values, strict=True)
            if not any(u < other and v < another for other, another in values)
        ]


@bad(
    ROLE, "supports_in_fractions", "a mixture that is no best reply is let pass if it misses 1/1024 of its worth", SOUND
)
class RepliesWithinAThousandth(SupportsInFractions):
    def replies(self, rows, mine, weights):
        worth = self.worth(rows[mine[0]], weights)
        return max(self.worth(row, weights) for row in rows) - worth <= abs(worth) / 1024


@bad(
    ROLE,
    "supports_in_fractions",
    "the list of its first call goes on being filled, and old answers come with new",
    ANSWERED,
)
class AnswersPileUp(SupportsInFractions):
    def __init__(self) -> None:
        self.found: list[Any] = []

    def listed(self, found, systems):
        self.found += found
        return self.found


@bad(ROLE, "supports_in_fractions", "games are known by their shapes and the first row of payoffs", SOUND)
class RememberedByFirstRow(SupportsInFractions):
    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def __call__(self, payoffs):
        key = (payoffs.shape, tuple(payoffs[0, 0]))
        if key not in self.known:
            self.known[key] = super().__call__(payoffs)
        return self.known[key]


@good(ROLE, "", "numpy; complementary vertices of the two polytopes of best replies, games with ties among them")
class VerticesByNumpy:
    answers = "all"
    near = 1e-9

    def shifted(self, rows: Array) -> Array:
        """To between 1 and 2, which changes nobody's replies."""
        return 1 + (rows - rows.min()) / (np.ptp(rows) or 1.0)

    def vertices(self, rows: Array) -> list[tuple[Array, set[int]]]:
        """Vertices of {x >= 0, rows x <= 1}, and which of these bounds they meet, x >= 0 first."""
        count = rows.shape[1]
        bounds = np.concatenate([-np.eye(count), rows])
        limits = np.concatenate([np.zeros(count), np.ones(len(rows))])
        found: dict[tuple[float, ...], tuple[Array, set[int]]] = {}
        for chosen in map(list, combinations(range(len(bounds)), count)):
            if abs(np.linalg.det(bounds[chosen])) < 1e-12:
                continue
            x = np.linalg.solve(bounds[chosen], limits[chosen])
            slack = limits - bounds @ x
            if x.max() > self.near and slack.min() > -self.near:
                found.setdefault(tuple(x.round(9)), (x, self.met(slack, chosen)))
        return list(found.values())

    def met(self, slack: Array, chosen: list[int]) -> set[int]:
        return set(np.flatnonzero(slack < self.near).tolist())

    def normalised(self, x: Array, y: Array) -> list[Array]:
        return [x / x.sum(), y / y.sum()]

    def complementary(self, mine: set[int], theirs: set[int], m: int, n: int) -> bool:
        return len(mine | {k + m if k < n else k - n for k in theirs}) == m + n

    def __call__(self, payoffs):
        m, n = payoffs.shape[1:]
        mine, theirs = self.vertices(self.shifted(payoffs[1].T)), self.vertices(self.shifted(payoffs[0]))
        return [self.normalised(x, y) for (x, s), (y, t) in product(mine, theirs) if self.complementary(s, t, m, n)]


@bad(ROLE, "vertices_by_numpy", "a vertex meets the bounds that made it, and no others", COMPLETE)
class BoundsThatMadeIt(VerticesByNumpy):
    def met(self, slack, chosen):
        return set(chosen)


@bad(ROLE, "vertices_by_numpy", "payoffs are not made positive before", ANSWERED)
class NotMadePositive(VerticesByNumpy):
    def shifted(self, rows):
        return rows / (np.abs(rows).max() or 1.0)


@bad(ROLE, "vertices_by_numpy", "each row is scaled to between 1 and 2 by itself", SOUND)
class RowsScaledByThemselves(VerticesByNumpy):
    def shifted(self, rows):
        return np.stack([super(RowsScaledByThemselves, self).shifted(row) for row in rows])


@bad(ROLE, "vertices_by_numpy", "bounds count as met from a distance of 1/1000", SOUND)
class MetFromAfar(VerticesByNumpy):
    def met(self, slack, chosen):
        return set(np.flatnonzero(slack < 1e-3).tolist())


@bad(ROLE, "vertices_by_numpy", "payoffs are not scaled, and vertices are rounded to six decimals", SOUND)
class RoundedWhereLarge(VerticesByNumpy):
    def shifted(self, rows):
        return 1 + rows - rows.min()

    def normalised(self, x, y):
        x, y = x.round(6) + 1e-300, y.round(6) + 1e-300
        return super().normalised(x, y)


@bad(ROLE, "vertices_by_numpy", "all but one of the actions have to be accounted for", SOUND)
class AlmostComplementary(VerticesByNumpy):
    def complementary(self, mine, theirs, m, n):
        return len(mine | {k + m if k < n else k - n for k in theirs}) >= m + n - 1


@bad(
    ROLE,
    "vertices_by_numpy",
    "vertices that meet more bounds than they have coordinates are left out as faulty",
    ANSWERED,
)
class TiedVerticesLeftOut(VerticesByNumpy):
    def vertices(self, rows):
        return [(x, met) for x, met in super().vertices(rows) if len(met) == len(x)]


@bad(ROLE, "vertices_by_numpy", "first strikes out the first agent's weakly dominated actions", COMPLETE)
class WeaklyDominatedStruckOut(VerticesByNumpy):
    def __call__(self, payoffs):
        rows = payoffs[0]
        better = (rows[None] >= rows[:, None]).all(-1) & (rows[None] > rows[:, None]).any(-1)
        kept = np.flatnonzero(~better.any(1))
        whole = np.eye(len(rows))[kept]
        return [[x @ whole, y] for x, y in super().__call__(payoffs[:, kept])]


@bad(ROLE, "vertices_by_numpy", "an agent with one action gives the other nothing to choose: it mixes evenly", SOUND)
class EvenAgainstOneAction(VerticesByNumpy):
    def __call__(self, payoffs):
        counts = payoffs.shape[1:]
        return [[np.full(k, 1 / k) for k in counts]] if 1 in counts else super().__call__(payoffs)


@bad(ROLE, "vertices_by_numpy", "the answer loses its axis of actions for an agent that has one", ANSWERED)
class OneActionSqueezed(VerticesByNumpy):
    def normalised(self, x, y):
        return [np.squeeze(part) for part in super().normalised(x, y)]


@bad(
    ROLE,
    "vertices_by_numpy",
    "equilibria in which the two strategies are the same are listed alone if there are any",
    COMPLETE,
)
class SymmetricAlone(VerticesByNumpy):
    def __call__(self, payoffs):
        found = super().__call__(payoffs)
        same = [one for one in found if np.array_equal(*one)]
        return same or found


@bad(ROLE, "vertices_by_numpy", "scales the payoffs in place", PURE)
class ScalesPayoffsInPlace(VerticesByNumpy):
    def __call__(self, payoffs):
        payoffs /= np.abs(payoffs).max() or 1.0
        return super().__call__(payoffs)


@good(ROLE, "", "scipy; a linear program for each agent of a zero-sum game")
class MaximinPrograms:
    domain = "zero_sum"
    free: tuple[float | None, float | None] = (None, None)

    def strategy(self, rows: Array) -> Array:
        """The mixture of rows with the highest worst case."""
        m, n = rows.shape
        bounds = [(0, None)] * m + [self.free]
        answer = linprog(
            [0.0] * m + [-1.0],
            A_ub=np.column_stack([-rows.T, np.ones(n)]),
            b_ub=np.zeros(n),
            A_eq=[[1.0] * m + [0.0]],
            b_eq=[1.0],
            bounds=bounds,
        )
        return np.maximum(answer.x[:m], 0) / np.maximum(answer.x[:m], 0).sum()

    def second(self, payoffs: Array) -> Array:
        return payoffs[1].T

    def __call__(self, payoffs):
        scale = np.abs(payoffs).max() or 1.0
        return [self.strategy(payoffs[0] / scale), self.strategy(self.second(payoffs) / scale)]


@bad(ROLE, "maximin_programs", "the second agent's program has the first one's payoffs without the sign", SOUND)
class SignOfZeroSumForgotten(MaximinPrograms):
    def second(self, payoffs):
        return payoffs[0].T


@bad(ROLE, "maximin_programs", "the value is bounded by 0 from below, as programs' variables are by default", ANSWERED)
class ValueNotNegative(MaximinPrograms):
    free = (0, None)


@bad(ROLE, "maximin_programs", "each agent takes its pure action with the best worst case", SOUND)
class PureMaximin(MaximinPrograms):
    def strategy(self, rows):
        return np.eye(len(rows))[rows.min(1).argmax()]


@bad(ROLE, "maximin_programs", "each agent answers an even mixture of the other", SOUND)
class AnswersEvenMixture(MaximinPrograms):
    def strategy(self, rows):
        return np.eye(len(rows))[rows.mean(1).argmax()]


@bad(ROLE, "maximin_programs", "games of two actions each are mixed by the formula, saddle point or not", SOUND)
class FormulaDespiteSaddle(MaximinPrograms):
    def strategy(self, rows):
        spread = rows[0, 0] - rows[0, -1] - rows[-1, 0] + rows[-1, -1]
        if rows.shape != (2, 2) or spread == 0:
            return super().strategy(rows)
        share = np.clip((rows[1, 1] - rows[1, 0]) / spread, 0, 1)
        return np.array([share, 1 - share])


@bad(ROLE, "maximin_programs", "games are padded by zeros to a square, and what falls on the padding is dropped", SOUND)
class PaddedToSquare(MaximinPrograms):
    def strategy(self, rows):
        m, n = rows.shape
        size = max(m, n)
        whole = super().strategy(np.pad(rows, ((0, size - m), (0, size - n))))[:m]
        return whole / whole.sum() if whole.sum() else np.full(m, 1 / m)


@bad(ROLE, "maximin_programs", "the last column is not among the worst cases", SOUND)
class LastColumnForgotten(MaximinPrograms):
    def strategy(self, rows):
        return super().strategy(rows[:, :-1] if rows.shape[1] > 1 else rows)


@good(ROLE, "", "numpy; regret matching of two agents on a zero-sum game, the average over time")
class AverageOfRegretMatching:
    domain = "zero_sum"
    epsilon = 2.0
    rounds = 1200

    def step(self, regrets: Array) -> Array:
        kept = np.maximum(regrets, 0)
        return kept / kept.sum() if kept.sum() > 0 else np.full(len(kept), 1 / len(kept))

    def seconds(self, rows: Array, x: Array) -> Array:
        return -(x @ rows)

    def answer(self, sums: list[Array], last: list[Array], count: int) -> list[Array]:
        return [total / count for total in sums]

    def done(self, count: int, regrets: list[Array]) -> bool:
        return False

    def __call__(self, payoffs):
        rows = payoffs[0]
        regrets = [np.zeros(k) for k in rows.shape]
        sums = [np.zeros(k) for k in rows.shape]
        for count in range(1, self.rounds + 1):
            x, y = (self.step(mine) for mine in regrets)
            sums = [sums[0] + x, sums[1] + y]
            for mine, worth, played in zip(regrets, (rows @ y, self.seconds(rows, x)), (x, y), strict=True):
                mine += worth - played @ worth
            if self.done(count, regrets):
                break
        return self.answer(sums, [x, y], count)


@bad(ROLE, "average_of_regret_matching", "answers with the last round's strategies", SOUND)
class LastRoundsStrategies(AverageOfRegretMatching):
    def answer(self, sums, last, count):
        return last


@bad(ROLE, "average_of_regret_matching", "stops after 8 rounds", SOUND)
class EightRounds(AverageOfRegretMatching):
    rounds = 8


@bad(
    ROLE, "average_of_regret_matching", "stops when the first agent's regret is small, whatever the second's is", SOUND
)
class StopsAtFirstAgentsPeace(AverageOfRegretMatching):
    def done(self, count, regrets):
        return bool(regrets[0].max() / count < self.epsilon / 2)


@bad(ROLE, "average_of_regret_matching", "regrets keep their signs where strategies are made of them", SOUND)
class NegativeRegretsPlayed(AverageOfRegretMatching):
    def step(self, regrets):
        kept = np.abs(regrets)
        return kept / kept.sum() if kept.sum() > 0 else np.full(len(kept), 1 / len(kept))


@good(ROLE, "", "torch; a pure equilibrium if there is one, else a mixed one, for games of two")
class PureThenMixed:
    arrays, answers = "torch", "some"

    def best(self, rows: torch.Tensor, axis: int) -> torch.Tensor:
        return rows == rows.amax(axis, keepdim=True)

    def seconds(self, rows: torch.Tensor) -> torch.Tensor:
        return self.best(rows, 1)

    def pure(self, payoffs: torch.Tensor) -> list[list[int]]:
        return (self.best(payoffs[0], 0) & self.seconds(payoffs[1])).nonzero().tolist()

    def mixed(self, payoffs: torch.Tensor) -> list[list[torch.Tensor]]:
        found = VerticesByNumpy()(payoffs.numpy().copy())
        return [[torch.from_numpy(np.ascontiguousarray(part)) for part in one] for one in found[:1]]

    def __call__(self, payoffs):
        counts = payoffs.shape[1:]
        found = [
            [torch.nn.functional.one_hot(torch.tensor(a), k).to(payoffs) for a, k in zip(cell, counts, strict=True)]
            for cell in self.pure(payoffs)
        ]
        return found or self.mixed(payoffs)


@bad(ROLE, "pure_then_mixed", "both agents' best replies are taken along the first agent's axis", SOUND)
class RepliesAlongOneAxis(PureThenMixed):
    def seconds(self, rows):
        return self.best(rows, 0)


@bad(ROLE, "pure_then_mixed", "where no equilibrium is pure, both agents mix evenly", SOUND)
class EvenWhereNotPure(PureThenMixed):
    def mixed(self, payoffs):
        return [[torch.full((k,), 1 / k, dtype=payoffs.dtype) for k in payoffs.shape[1:]]]


@bad(ROLE, "pure_then_mixed", "answers with the cell of the highest sum of rewards", SOUND)
class HighestSumOfRewards(PureThenMixed):
    def pure(self, payoffs):
        total = payoffs.sum(0)
        return (total == total.amax()).nonzero().tolist()


@bad(ROLE, "pure_then_mixed", "replies are equal by the library's notion of close, a part in 100000", SOUND)
class CloseByDefault(PureThenMixed):
    def best(self, rows, axis):
        return torch.isclose(rows, rows.amax(axis, keepdim=True).expand_as(rows))


@bad(ROLE, "pure_then_mixed", "follows best replies by turns, and stops after twenty wherever it is", SOUND)
class TwentyBestReplies(PureThenMixed):
    def pure(self, payoffs):
        row, column = 0, 0
        for _ in range(20):
            row = int(payoffs[0, :, column].argmax())
            column = int(payoffs[1, row].argmax())
        return [[row, column]]


@bad(ROLE, "pure_then_mixed", "where no equilibrium is pure, each agent has the other's payoffs", SOUND)
class SwappedWhereMixed(PureThenMixed):
    def mixed(self, payoffs):
        return super().mixed(payoffs.flip(0))


@bad(ROLE, "pure_then_mixed", "mixed strategies are in single precision, rounded to three places", SOUND)
class MixedToThreePlaces(PureThenMixed):
    def mixed(self, payoffs):
        return [[part.float().round(decimals=3) for part in one] for one in super().mixed(payoffs)]


@good(ROLE, "", "scipy; the correlated equilibrium with the highest sum of rewards, for two agents or three")
class CorrelatedProgram:
    concept, agents, objective = "correlated", (2, 3), "welfare"

    def welfare(self, payoffs: Array) -> Array:
        return payoffs.sum(0)

    def deviators(self, n: int) -> list[int]:
        return list(range(n))

    def deviations(self, count: int) -> list[tuple[int, int]]:
        return [(a, b) for a in range(count) for b in range(count) if a != b]

    def gains(self, own: Array, i: int) -> list[Array]:
        """What obeying costs, by joint action, one array for each pair of a recommendation and another action."""
        found = []
        for told, to in self.deviations(own.shape[i]):
            row = np.zeros_like(own)
            where: Any = (slice(None),) * i
            row[(*where, told)] = own[(*where, to)] - own[(*where, told)]
            found.append(row)
        return found

    def limits(self, payoffs: Array) -> list[Array]:
        return [row for i in self.deviators(len(payoffs)) for row in self.gains(payoffs[i], i)]

    def flat(self, values: Array) -> Array:
        return values.reshape(-1)

    def program(self, limits: list[Array], welfare: Array) -> Array:
        rows = np.array([row.reshape(-1) for row in limits]) if limits else None
        zeros = None if rows is None else np.zeros(len(rows))
        cost = -self.flat(welfare)
        found = linprog(cost, A_ub=rows, b_ub=zeros, A_eq=np.ones((1, cost.size)), b_eq=[1.0])
        # An equilibrium exists; nothing is left only where the limits are others than they should be.
        return np.ones(cost.size) if found.x is None else np.maximum(found.x, 0)

    def shaped(self, weights: Array, shape: tuple[int, ...]) -> Array:
        return (weights / weights.sum()).reshape(shape)

    def __call__(self, payoffs):
        payoffs = payoffs / (np.abs(payoffs).max() or 1.0)
        weights = self.program(self.limits(payoffs), self.welfare(payoffs))
        return self.shaped(weights, payoffs.shape[1:])


@bad(ROLE, "correlated_program", "the sum of rewards is minimised", BEST)
class WelfareMinimised(CorrelatedProgram):
    def welfare(self, payoffs):
        return -payoffs.sum(0)


@bad(ROLE, "correlated_program", "the first agent's reward is what is maximised", BEST)
class FirstAgentsWelfare(CorrelatedProgram):
    def welfare(self, payoffs):
        return payoffs[0]


@bad(ROLE, "correlated_program", "the reward of whoever earns most in a cell is what is maximised", BEST)
class RichestAgentsWelfare(CorrelatedProgram):
    def welfare(self, payoffs):
        return payoffs.max(0)


@bad(ROLE, "correlated_program", "negative rewards do not enter the sum that is maximised", BEST)
class LossesNotCounted(CorrelatedProgram):
    def welfare(self, payoffs):
        return np.maximum(payoffs, 0).sum(0)


@bad(ROLE, "correlated_program", "any equilibrium is taken, with nothing to maximise", BEST)
class NothingMaximised(CorrelatedProgram):
    def welfare(self, payoffs):
        return np.zeros(payoffs.shape[1:])


@bad(ROLE, "correlated_program", "the constraints of the first agent alone are in the program", SOUND)
class FirstAgentsConstraints(CorrelatedProgram):
    def deviators(self, n):
        return [0]


@bad(ROLE, "correlated_program", "constraints are written for two agents; a third has none", SOUND)
class ThirdAgentUnconstrained(CorrelatedProgram):
    def deviators(self, n):
        return [0, 1]


@bad(ROLE, "correlated_program", "a recommendation is compared with the next action alone", SOUND)
class NextActionAlone(CorrelatedProgram):
    def deviations(self, count):
        return [(a, (a + 1) % count) for a in range(count) if count > 1]


@bad(ROLE, "correlated_program", "a pair of actions is compared one way, from the lower to the higher", SOUND)
class UpwardDeviationsAlone(CorrelatedProgram):
    def deviations(self, count):
        return list(combinations(range(count), 2))


@bad(ROLE, "correlated_program", "constraints are those before a recommendation is known", SOUND)
class UnconditionalConstraints(CorrelatedProgram):
    def gains(self, own, i):
        return [np.take(own, [b], axis=i) - own for b in range(own.shape[i])]


@bad(ROLE, "correlated_program", "the constraints are reversed", SOUND)
class ReversedConstraints(CorrelatedProgram):
    def limits(self, payoffs):
        return [-row for row in super().limits(payoffs)]


@bad(ROLE, "correlated_program", "the other agents' rewards are what an agent is kept from gaining", SOUND)
class NeighboursRewards(CorrelatedProgram):
    def limits(self, payoffs):
        return [row for i in range(len(payoffs)) for row in self.gains(payoffs[i - 1], i)]


@bad(ROLE, "correlated_program", "the answer is filled in column by column", SOUND)
class FilledByColumns(CorrelatedProgram):
    def shaped(self, weights, shape):
        return (weights / weights.sum()).reshape(shape, order="F")


@bad(ROLE, "correlated_program", "agents draw independently, by their marginals", SOUND)
class DrawnByMarginals(CorrelatedProgram):
    def shaped(self, weights, shape):
        law = super().shaped(weights, shape)
        n = len(shape)
        made = np.ones(shape)
        for i in range(n):
            made = made * law.sum(tuple(j for j in range(n) if j != i), keepdims=True)
        return made


@bad(ROLE, "correlated_program", "probabilities are rounded to two places", SOUND)
class RoundedToTwoPlaces(CorrelatedProgram):
    def shaped(self, weights, shape):
        law = super().shaped(weights, shape).round(2)
        return law / law.sum()


@bad(ROLE, "correlated_program", "the sum may be less than 1, and is 0 where all rewards are negative", LAWFUL)
class SumAtMostOne(CorrelatedProgram):
    def program(self, limits, welfare):
        rows = [*(row.reshape(-1) for row in limits), np.ones(welfare.size)]
        right = [0.0] * len(limits) + [1.0]
        return np.maximum(linprog(-self.flat(welfare), A_ub=np.array(rows), b_ub=right).x, 0)

    def shaped(self, weights, shape):
        return weights.reshape(shape)


@bad(ROLE, "correlated_program", "agents have as many actions as the first", ANSWERED)
class ActionCountOfFirstAgent(CorrelatedProgram):
    def gains(self, own, i):
        return super().gains(own[(slice(own.shape[0]),) * own.ndim], i)


@bad(ROLE, "correlated_program", "constraints are not kept within 1/100 of the largest payoff", SOUND)
class SlackOfAHundredth(CorrelatedProgram):
    def limits(self, payoffs):
        return [row - 0.01 for row in super().limits(payoffs)]


@bad(ROLE, "correlated_program", "the constraints of the first game of a shape are kept for all others", SOUND)
class ConstraintsByShape(CorrelatedProgram):
    def __init__(self) -> None:
        self.kept: dict[Any, list[Array]] = {}

    def limits(self, payoffs):
        return self.kept.setdefault(payoffs.shape, super().limits(payoffs))


@good(ROLE, "", "scipy; the coarse correlated equilibrium with the highest sum of rewards, agent by agent")
class CoarseProgram:
    concept, agents, objective = "coarse_correlated", (2, 3), "welfare"

    def elsewhere(self, own: Array, i: int, to: int) -> Array:
        """What agent i has if it plays `to` whatever the others do."""
        return np.repeat(np.take(own, [to], axis=i), own.shape[i], axis=i)

    def tried(self, count: int) -> Any:
        return range(count)

    def limits(self, payoffs: Array) -> list[Array]:
        return [self.elsewhere(own, i, to) - own for i, own in enumerate(payoffs) for to in self.tried(own.shape[i])]

    def __call__(self, payoffs):
        payoffs = payoffs / (np.abs(payoffs).max() or 1.0)
        rows = np.array([row.ravel() for row in self.limits(payoffs)])
        ones = np.ones((1, payoffs[0].size))
        found = linprog(-payoffs.sum(0).ravel(), A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=ones, b_eq=[1.0])
        weights = ones[0] if found.x is None else np.maximum(found.x, 0)
        return (weights / weights.sum()).reshape(payoffs.shape[1:])


@bad(ROLE, "coarse_program", "constraints hold for each recommendation, as for correlated equilibria", BEST)
class ConditionalConstraints(CoarseProgram):
    def limits(self, payoffs):
        return CorrelatedProgram().limits(payoffs) or super().limits(payoffs)


@bad(ROLE, "coarse_program", "a deviation is valued against others who mix evenly", SOUND)
class AgainstEvenOthers(CoarseProgram):
    def elsewhere(self, own, i, to):
        return np.full(own.shape, np.take(own, to, axis=i).mean())


@bad(ROLE, "coarse_program", "the first action is not among the deviations", SOUND)
class FirstActionNotTried(CoarseProgram):
    def tried(self, count):
        return range(min(1, count - 1), count)


@bad(ROLE, "coarse_program", "agents' gains are summed, and the sum has to be at most 0", SOUND)
class GainsSummedOverAgents(CoarseProgram):
    def limits(self, payoffs):
        n = len(payoffs)
        tried = product(*(range(count) for count in payoffs.shape[1:]))
        return [sum(self.elsewhere(payoffs[i], i, a[i]) - payoffs[i] for i in range(n)) for a in tried]


@good(ROLE, "", "torch; regret matching of two agents or three, the average of what they play together")
class CoarseByRegrets:
    concept, agents, arrays = "coarse_correlated", (2, 3), "torch"
    epsilon = 2.5
    rounds = 300

    def together(self, strategies: list[torch.Tensor]) -> torch.Tensor:
        law = strategies[0]
        for strategy in strategies[1:]:
            law = law.unsqueeze(-1) * strategy
        return law

    def worth(self, own: torch.Tensor, strategies: list[torch.Tensor], i: int) -> torch.Tensor:
        """What each action of agent i is worth against the others."""
        value = own.movedim(i, 0)
        for strategy in (s for j, s in reversed(list(enumerate(strategies))) if j != i):
            value = value @ strategy
        return value

    def played(self, regrets: torch.Tensor) -> torch.Tensor:
        kept = regrets.clamp(min=0)
        total = kept.sum()
        return kept / total if total > 0 else torch.full_like(kept, 1 / len(kept))

    def answer(self, laws: torch.Tensor, sums: list[torch.Tensor]) -> torch.Tensor:
        return laws / self.rounds

    def __call__(self, payoffs):
        regrets = [torch.zeros(k, dtype=payoffs.dtype) for k in payoffs.shape[1:]]
        laws, sums = torch.zeros_like(payoffs[0]), [torch.zeros_like(r) for r in regrets]
        for _ in range(self.rounds):
            strategies = [self.played(r) for r in regrets]
            laws += self.together(strategies)
            for i, strategy in enumerate(strategies):
                sums[i] += strategy
                worth = self.worth(payoffs[i], strategies, i)
                regrets[i] += worth - strategy @ worth
        return self.answer(laws, sums)


@bad(ROLE, "coarse_by_regrets", "the axes of the others are taken in the wrong order where there are two", ANSWERED)
class OthersInWrongOrder(CoarseByRegrets):
    def worth(self, own, strategies, i):
        value = own.movedim(i, 0)
        for strategy in (s for j, s in enumerate(strategies) if j != i):
            value = value @ strategy
        return value


@bad(ROLE, "coarse_by_regrets", "plays what it regrets least", SOUND)
class PlaysLeastRegretted(CoarseByRegrets):
    def played(self, regrets):
        return super().played(-regrets)


@good(ROLE, "", "numpy; the product of the first equilibrium of Nash among the vertices, which is correlated as well")
class ProductOfNash:
    concept = "correlated"

    def chosen(self, found: list[list[Array]]) -> tuple[Array, Array]:
        return found[0][0], found[0][1]

    def __call__(self, payoffs):
        x, y = self.chosen(VerticesByNumpy()(payoffs))
        return np.outer(x, y).tolist()


@bad(ROLE, "product_of_nash", "takes each agent's part of another equilibrium", SOUND)
class PartsOfTwoEquilibria(ProductOfNash):
    def chosen(self, found):
        return found[0][0], found[-1][1]


@bad(ROLE, "product_of_nash", "averages each agent's strategies over all equilibria", SOUND)
class AverageOverEquilibria(ProductOfNash):
    def chosen(self, found):
        x, y = (np.mean([one[i] for one in found], axis=0) for i in (0, 1))
        return x, y


@bad(ROLE, "product_of_nash", "answers with the profile, not with a distribution over joint actions", ANSWERED)
class ProfileForDistribution(ProductOfNash):
    def __call__(self, payoffs):
        return [part.tolist() for part in VerticesByNumpy()(payoffs)[0]]


BAD, GOOD = bad.targets(), good.targets()
