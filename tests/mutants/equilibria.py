"""Solvers of equilibria, good ones and broken ones that the judge must refute.

A target takes the name of its class, in lower case: the class is the factory, its instance the solver. Each is split
into small methods, so that a mutant replaces one. The checks of equilibria stand in `equilibrium_checks.py`.
"""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from . import equilibrium_checks
from .equilibrium_violations import (
    BYSTANDERS,
    CHICKEN,
    CLIMBING,
    COORDINATION,
    DILEMMA,
    EQUAL,
    GENEROUS,
    LURE,
    MUST_MIX,
    PENNIES,
    RETURN,
    ROCK,
    SADDLE,
    SEXES,
    THREE_BY_TWO,
    gap_at,
    misses_at,
    no_distribution_at,
    none_at,
    poorer_at,
    regrets_at,
)
from .target import Collection

Array = NDArray[Any]
Pair = tuple[Array, Array]
TIGHT = 1e-9

good, bad = Collection(), Collection()


def scaled(table: Array) -> Array:
    """Payoffs mapped onto [1, 2], which changes no best response."""
    return 1 + (table - table.min()) / (np.ptp(table) or 1.0)


def supports(count: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, count + 1):
        yield from itertools.combinations(range(count), size)


# Nash equilibria of two agents


@good("equilibrium_solver", "", "All pairs of vertices of the best-response polytopes that bear all labels, in floats.")
class Vertices:
    answers = "all"

    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[1]).T

    def corners(self, matrix: Array) -> list[tuple[Array, frozenset[int]]]:
        """Vertices of {x >= 0, matrix x <= 1}, the origin left out; label k is x_k = 0, label d + r is row r tight."""
        d = matrix.shape[1]
        rows = np.concatenate([-np.eye(d), matrix])
        right = np.concatenate([np.zeros(d), np.ones(len(matrix))])
        parts = np.array([*itertools.combinations(range(len(rows)), d)])
        parts = parts[np.linalg.svd(rows[parts], compute_uv=False)[:, -1] >= TIGHT]
        points = np.linalg.solve(rows[parts], right[parts][:, :, None])[:, :, 0]
        slacks = right - points @ rows.T
        found = {}
        for point, slack in zip(points, slacks, strict=True):
            if slack.min() > -TIGHT and self.is_wanted(point):
                found[frozenset(np.flatnonzero(slack < TIGHT).tolist())] = point
        return [(point, labels) for labels, point in found.items()]

    def is_wanted(self, point: Array) -> bool:
        return bool(point.max() > TIGHT)

    def mix(self, point: Array) -> Array:
        with np.errstate(invalid="ignore"):  # for a mutant
            return point / point.sum()

    def __call__(self, payoffs: Array) -> list[Pair]:
        rows, columns = self.tables(payoffs)
        m, n = rows.shape
        first = self.corners(columns)
        second = [(y, {(label + m) % (m + n) for label in labels}) for y, labels in self.corners(rows)]
        pairs = [(x, y) for x, own in first for y, other in second if len(own | other) == m + n]
        return [(self.mix(x), self.mix(y)) for x, y in pairs]


@good("equilibrium_solver", "vertices", "Supports of equal size and their indifference; vertices where none is found.")
class Supports:
    answers = "all"
    largest = 9
    tolerance = TIGHT

    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[1]).T

    def pairs(self, m: int, n: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        for own in supports(m):
            for other in supports(n):
                if len(own) == len(other) <= self.largest:
                    yield own, other

    def indifferent(self, table: Array, rows: tuple[int, ...], columns: tuple[int, ...]) -> Array | None:
        """The mix of the columns that makes the rows pay the same, if there is one and it is a mix."""
        k = len(rows)
        system = np.ones((k + 1, k + 1))
        system[:k, :k] = table[np.ix_(rows, columns)]
        system[:k, k], system[k, k] = -1, 0
        if np.linalg.svd(system, compute_uv=False)[-1] < TIGHT:
            return None
        values = np.linalg.solve(system, np.eye(k + 1)[k])[:k]
        mix = np.zeros(table.shape[1])
        mix[list(columns)] = values
        return self.cleaned(mix) if self.is_mix(values) else None

    def is_mix(self, values: Array) -> bool:
        return bool(values.min() > TIGHT)

    def cleaned(self, mix: Array) -> Array:
        return mix / mix.sum()

    def is_stable(self, table: Array, own: Array, other: Array) -> bool:
        rewards = table @ other
        return bool(rewards.max() <= own @ rewards + self.tolerance)

    def are_stable(self, rows: Array, columns: Array, x: Array, y: Array) -> bool:
        return self.is_stable(rows, x, y) and self.is_stable(columns, y, x)

    def fallback(self, payoffs: Array) -> list[Pair]:
        return Vertices()(payoffs)

    def __call__(self, payoffs: Array) -> list[Pair]:
        rows, columns = self.tables(payoffs)
        found = []
        for own, other in self.pairs(*rows.shape):
            x, y = self.indifferent(columns, other, own), self.indifferent(rows, own, other)
            if x is not None and y is not None and self.are_stable(rows, columns, x, y):
                found.append((x, y))
        return found or self.fallback(payoffs)


@good("equilibrium_solver", "supports", "One equilibrium: the first one found.")
class FirstOfSupports(Supports):
    answers = "one"

    def __call__(self, payoffs: Array) -> Any:
        return super().__call__(payoffs)[0]


@good("equilibrium_solver", "supports", "The pure equilibria where there are any, else the others: some of them.")
class PureFirst(Supports):
    answers = "some"

    def __call__(self, payoffs: Array) -> list[Pair]:
        found = super().__call__(payoffs)
        pure = [pair for pair in found if all(mix.max() > 1 - TIGHT for mix in pair)]
        return pure or found[:1]


@good("equilibrium_solver", "vertices", "Torch tensors in and out, one tensor for each agent.")
class TorchVertices(Vertices):
    arrays = "torch"

    def __call__(self, payoffs: Any) -> Any:
        return [[torch.tensor(mix) for mix in pair] for pair in super().__call__(payoffs.numpy())]


@good("equilibrium_solver", "", "Lemke and Howson's path in rationals, with lexicographic ratios for degenerate games.")
class LemkeHowson:
    dropped = 0
    most = 100_000

    def whole(self, table: Array) -> list[list[Fraction]]:
        low = Fraction(float(table.min()))
        return [[Fraction(float(value)) - low + 1 for value in row] for row in table]

    def __call__(self, payoffs: Array) -> Pair:
        m, n = payoffs.shape[1:]
        # Variables 0 .. m - 1 are agent 0's actions, m .. m + n - 1 agent 1's. A row of a tableau: the coefficients of
        # all variables, then the right side. In the first agent 1's labels are slacks, in the second agent 0's.
        tableaus = [self.tableau(self.whole(payoffs[1].T), 0, m), self.tableau(self.whole(payoffs[0]), m, 0)]
        bases = [[*range(m, m + n)], [*range(m)]]
        label, side = self.dropped, 0 if self.dropped < m else 1
        for _ in range(self.most):
            label = self.pivot(tableaus[side], bases[side], label)
            if label == self.dropped:
                break
            side = 1 - side
        return self.mix(tableaus[0], bases[0], range(m)), self.mix(tableaus[1], bases[1], range(m, m + n))

    def tableau(self, matrix: list[list[Fraction]], own: int, slack: int) -> list[list[Fraction]]:
        size = len(matrix) + len(matrix[0])
        rows = []
        for r, values in enumerate(matrix):
            row = [Fraction(0)] * size + [Fraction(1)]
            row[own : own + len(values)] = values
            row[slack + r] = Fraction(1)
            rows.append(row)
        return rows

    def ratio(self, row: list[Fraction], entering: int) -> list[Fraction]:
        return [row[-1] / row[entering], *(value / row[entering] for value in row[:-1])]

    def pivot(self, rows: list[list[Fraction]], basis: list[int], entering: int) -> int:
        candidates = [r for r in range(len(rows)) if rows[r][entering] > 0]
        r = min(candidates, key=lambda k: self.ratio(rows[k], entering))
        rows[r] = [value / rows[r][entering] for value in rows[r]]
        for k, row in enumerate(rows):
            if k != r and row[entering]:
                rows[k] = [value - row[entering] * pivot for value, pivot in zip(row, rows[r], strict=True)]
        leaving, basis[r] = basis[r], entering
        return leaving

    def mix(self, rows: list[list[Fraction]], basis: list[int], own: range) -> Array:
        values = dict(zip(basis, (row[-1] for row in rows), strict=True))
        masses = [values.get(variable, Fraction(0)) for variable in own]
        return np.array([float(mass / sum(masses)) for mass in masses])


@good("equilibrium_solver", "lemke_howson", "The path starts by dropping agent 1's last action.")
class LemkeHowsonFromTheEnd(LemkeHowson):
    def __call__(self, payoffs: Array) -> Pair:
        self.dropped = sum(payoffs.shape[1:]) - 1
        return super().__call__(payoffs)


# Zero-sum games


@good("equilibrium_solver", "", "Minimax strategies of both agents by two linear programs.")
class Minimax:
    domain = "zero_sum"

    def program(self, table: Array) -> Array:
        """The mix of the rows whose worst column pays most."""
        m, n = table.shape
        answer = linprog(
            np.eye(m + 1)[m] * -1,
            A_ub=np.hstack([-table.T, np.ones((n, 1))]),
            b_ub=np.zeros(n),
            A_eq=np.append(np.ones(m), 0)[None],
            b_eq=[1],
            bounds=[(0, None)] * m + [(None, None)],
        )
        return answer.x[:m]

    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[1]).T

    def __call__(self, payoffs: Array) -> Pair:
        rows, columns = self.tables(payoffs)
        return self.program(rows), self.program(columns)


@good("equilibrium_solver", "", "Fictitious play until no agent gains more than a quarter against the averages.")
class FictitiousPlay:
    domain = "zero_sum"
    epsilon = 0.25
    least, most = 1, 200_000

    def average(self, counts: Pair, plays: tuple[int, int]) -> Pair:
        return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()

    def is_close(self, payoffs: Array, profile: Pair) -> bool:
        x, y = profile
        gains = [(payoffs[0] @ y).max() - x @ payoffs[0] @ y, (x @ payoffs[1]).max() - x @ payoffs[1] @ y]
        return bool(max(gains) <= self.epsilon * 0.99)

    def __call__(self, payoffs: Array) -> Pair:
        counts, plays = (np.zeros(payoffs.shape[1]), np.zeros(payoffs.shape[2])), (0, 0)
        for step in range(1, self.most + 1):
            counts[0][plays[0]] += 1
            counts[1][plays[1]] += 1
            profile = self.average(counts, plays)
            if step >= self.least and step % 25 == 1 and self.is_close(payoffs, profile):
                break
            plays = int((payoffs[0] @ counts[1]).argmax()), int((counts[0] @ payoffs[1]).argmax())
        return profile


@good("equilibrium_solver", "", "Regret matching, whose averages are within 7 of equilibrium after 100 steps.")
class RegretMatching:
    domain = "zero_sum"
    epsilon = 7.0  # above twice the bound 16 sqrt(4 / 100) on the average regret of each
    steps = 100

    def positive(self, regrets: Array) -> Array:
        kept = np.maximum(regrets, 0)
        return kept / kept.sum() if kept.sum() > 0 else np.full(len(kept), 1 / len(kept))

    def __call__(self, payoffs: Array) -> Pair:
        regrets = [np.zeros(count) for count in payoffs.shape[1:]]
        totals = [np.zeros(count) for count in payoffs.shape[1:]]
        for _ in range(self.steps):
            x, y = (self.positive(own) for own in regrets)
            totals[0] += x
            totals[1] += y
            regrets[0] += payoffs[0] @ y - x @ payoffs[0] @ y
            regrets[1] += x @ payoffs[1] - x @ payoffs[1] @ y
        return totals[0] / self.steps, totals[1] / self.steps


# Correlated equilibria


@good("equilibrium_solver", "", "The correlated equilibrium of the highest welfare by linear program.")
class Correlated:
    concept = "correlated"
    objective: str | None = "welfare"
    agents = (2, 3)

    def tables(self, payoffs: Array) -> Array:
        return payoffs / (np.abs(payoffs).max() or 1.0)

    def rows(self, payoffs: Array) -> Iterator[Array]:
        for i, table in enumerate(payoffs):
            for told, played in itertools.permutations(range(table.shape[i]), 2):
                yield self.row(table, i, told, played)

    def row(self, table: Array, i: int, told: int, played: int) -> Array:
        gain = np.zeros_like(table)
        np.moveaxis(gain, i, 0)[told] = table.take(played, axis=i) - table.take(told, axis=i)
        return gain

    def value(self, payoffs: Array) -> Array:
        return payoffs.sum(axis=0)

    def total(self) -> float:
        return 1.0

    def __call__(self, payoffs: Array) -> Array:
        tables = self.tables(payoffs)
        constraints = np.array([row.ravel() for row in self.rows(tables)]).reshape(-1, tables[0].size)
        answer = linprog(
            -self.value(tables).ravel(),
            A_ub=constraints if len(constraints) else None,
            b_ub=np.zeros(len(constraints)) if len(constraints) else None,
            A_eq=np.ones((1, tables[0].size)),
            b_eq=[self.total()],
        )
        return answer.x.reshape(payoffs.shape[1:])


@good("equilibrium_solver", "correlated", "The coarse correlated equilibrium of the highest welfare by linear program.")
class Coarse(Correlated):
    concept = "coarse_correlated"

    def rows(self, payoffs: Array) -> Iterator[Array]:
        for i, table in enumerate(payoffs):
            for played in range(table.shape[i]):
                yield table.take([played], axis=i) - table


@good("equilibrium_solver", "correlated", "A correlated equilibrium that agent 0 likes best; no objective is declared.")
class BestForOne(Correlated):
    objective = None

    def value(self, payoffs: Array) -> Array:
        return payoffs[0]


@good("equilibrium_solver", "correlated", "A correlated equilibrium is a coarse one; no objective is declared.")
class CorrelatedAsCoarse(Correlated):
    concept = "coarse_correlated"
    objective = None


@good("equilibrium_solver", "supports", "The joint distribution of a Nash equilibrium, as a correlated one.")
class NashProduct(Supports):
    concept = "correlated"
    answers = "one"

    def __call__(self, payoffs: Array) -> Array:
        x, y = super().__call__(payoffs)[0]
        return np.outer(x, y)


# Broken solvers of Nash equilibria


@bad(
    "equilibrium_solver", "supports", "The gain of an action is weighed with the own probability.", regrets_at(CHICKEN)
)
class OwnMixInTheRegret(Supports):
    def is_stable(self, table: Array, own: Array, other: Array) -> bool:
        return bool((own * (table @ other)).max() <= own @ table @ other + self.tolerance)


@bad("equilibrium_solver", "supports", "Only agent 0's deviations are looked at.", regrets_at(THREE_BY_TWO))
class OnlyTheFirstAgentIsStable(Supports):
    def are_stable(self, rows: Array, columns: Array, x: Array, y: Array) -> bool:
        return self.is_stable(rows, x, y)


@bad("equilibrium_solver", "supports", "Agent 1's best responses are taken from agent 0's table.", regrets_at(DILEMMA))
class BestResponseOfTheWrongAgent(Supports):
    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[0]).T


@bad(
    "equilibrium_solver", "vertices", "Agent 1's table is reshaped where it should be transposed.", regrets_at(DILEMMA)
)
class ReshapedForTransposed(Vertices):
    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[1]).reshape(payoffs.shape[:0:-1])


@bad("equilibrium_solver", "vertices", "Both agents' answers are exchanged in square games.", regrets_at(SEXES))
class AnswersExchanged(Vertices):
    def __call__(self, payoffs: Array) -> list[Pair]:
        found = super().__call__(payoffs)
        return [(y, x) if len(x) == len(y) else (x, y) for x, y in found]


@bad(
    "equilibrium_solver",
    "supports",
    "Indifference over all rows and columns, with probabilities below zero by rounding thrown away.",
    misses_at(CLIMBING, [[5 / 16, 0, 11 / 16]] * 2),
)
class NonNegativeToTheLetter(Supports):
    def indifferent(self, table: Array, rows: tuple[int, ...], columns: tuple[int, ...]) -> Array | None:
        differences = (table[list(rows)] - np.roll(table[list(rows)], 1, axis=0))[:-1]
        unplayed = [np.eye(table.shape[1])[k] for k in range(table.shape[1]) if k not in columns]
        system = np.array([*differences, *unplayed, np.ones(table.shape[1])])
        if np.linalg.svd(system, compute_uv=False)[-1] < TIGHT:
            return None
        mix = np.linalg.solve(system, np.eye(len(system))[-1])
        return mix if (mix >= 0).all() and (mix[list(columns)] > TIGHT).all() else None

    def tables(self, payoffs: Array) -> Pair:
        return payoffs[0], payoffs[1].T


@bad("equilibrium_solver", "supports", "Supports of unequal size are never tried.", none_at(MUST_MIX))
class EqualSupportsOnly(Supports):
    def fallback(self, payoffs: Array) -> list[Pair]:
        return []


@bad("equilibrium_solver", "supports", "Only pure equilibria are looked for.", none_at(PENNIES))
class OnlyPure(EqualSupportsOnly):
    largest = 1


@bad(
    "equilibrium_solver",
    "supports",
    "Supports of more than two actions are left out.",
    misses_at(ROCK, [[1 / 3] * 3] * 2),
)
class SmallSupports(Supports):
    largest = 2

    def fallback(self, payoffs: Array) -> list[Pair]:
        return [(np.full(m, 1 / m), np.full(n, 1 / n)) for m, n in [payoffs.shape[1:]] if m == n == 2]


@bad("equilibrium_solver", "supports", "Only supports of all actions are tried.", misses_at(SEXES, [[1, 0], [1, 0]]))
class OnlyFullyMixed(Supports):
    def pairs(self, m: int, n: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        yield tuple(range(min(m, n))), tuple(range(min(m, n)))


@bad("equilibrium_solver", "supports", "The last action is never played.", misses_at(SEXES, [[0, 1], [0, 1]]))
class LastActionForgotten(Supports):
    def pairs(self, m: int, n: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        return super().pairs(max(m - 1, 1), max(n - 1, 1))


@bad(
    "equilibrium_solver",
    "supports",
    "All equilibria are promised and the first one given.",
    misses_at(SEXES, [[0, 1]] * 2),
)
class FirstAsAll(Supports):
    def __call__(self, payoffs: Array) -> list[Pair]:
        return super().__call__(payoffs)[:1]


@bad(
    "equilibrium_solver",
    "supports",
    "Of equilibria that pay the same only one is kept.",
    misses_at(COORDINATION, [[1, 0], [1, 0]]),
)
class SamePayIsTheSame(Supports):
    def __call__(self, payoffs: Array) -> list[Pair]:
        found = {tuple(np.round([x @ table @ y for table in payoffs], 9)): (x, y) for x, y in super().__call__(payoffs)}
        return list(found.values())


@bad("equilibrium_solver", "supports", "Gains up to three tenths of the spread pass for none.", regrets_at(DILEMMA))
class WideTolerance(Supports):
    tolerance = 0.3


@bad(
    "equilibrium_solver", "vertices", "Vertices are returned without dividing by their sum.", no_distribution_at(SEXES)
)
class Unnormalised(Vertices):
    def mix(self, point: Array) -> Array:
        return point


@bad("equilibrium_solver", "vertices", "The origin is not left out: 0 / 0.", no_distribution_at(SEXES))
class OriginIncluded(Vertices):
    def is_wanted(self, point: Array) -> bool:
        return True


@bad(
    "equilibrium_solver", "vertices", "Mixes are divided by their norm instead of their sum.", no_distribution_at(SEXES)
)
class UnitVectors(Vertices):
    def mix(self, point: Array) -> Array:
        return point / np.sqrt((point**2).sum())


@bad("equilibrium_solver", "vertices", "Probabilities are rounded to two digits.", regrets_at(ROCK))
class TwoDigits(Vertices):
    def mix(self, point: Array) -> Array:
        rounded = np.round(point / point.sum(), 2)
        rounded[-1] += 1 - rounded.sum()
        return rounded


@bad(
    "equilibrium_solver",
    "supports",
    "Indifference by Cramer's rule, and NaN passes all tests.",
    no_distribution_at(EQUAL),
)
class NanInDegenerateGames(Supports):
    def indifferent(self, table: Array, rows: tuple[int, ...], columns: tuple[int, ...]) -> Array | None:
        k = len(rows)
        system = np.ones((k + 1, k + 1))
        system[:k, :k] = table[np.ix_(rows, columns)]
        system[:k, k], system[k, k] = -1, 0
        mix = np.zeros(table.shape[1])
        with np.errstate(all="ignore"):
            for r, column in enumerate(columns):
                replaced = system.copy()
                replaced[:, r] = np.eye(k + 1)[k]
                mix[column] = np.linalg.det(replaced) / np.linalg.det(system)
        return None if (mix[list(columns)] <= TIGHT).any() else mix

    def is_stable(self, table: Array, own: Array, other: Array) -> bool:
        rewards = table @ other
        return not rewards.max() > own @ rewards + self.tolerance


@bad("equilibrium_solver", "supports", "The uniform profile, whatever the game.", regrets_at(DILEMMA))
class Uniform(Supports):
    answers = "one"

    def __call__(self, payoffs: Array) -> Any:
        return tuple(np.full(count, 1 / count) for count in payoffs.shape[1:])


@bad(
    "equilibrium_solver",
    "supports",
    "The joint action of the highest welfare stands for an equilibrium.",
    regrets_at(DILEMMA),
)
class WelfareMaximiser(Supports):
    answers = "one"

    def __call__(self, payoffs: Array) -> Any:
        best = np.unravel_index(payoffs.sum(axis=0).argmax(), payoffs.shape[1:])
        return tuple(np.eye(count)[action] for count, action in zip(payoffs.shape[1:], best, strict=True))


@bad("equilibrium_solver", "supports", "Each agent's best reply to uniform play.", regrets_at(PENNIES))
class RepliesToUniform(Supports):
    answers = "one"

    def __call__(self, payoffs: Array) -> Any:
        rewards = payoffs[0].mean(axis=1), payoffs[1].mean(axis=0)
        return tuple(np.eye(len(own))[own.argmax()] for own in rewards)


@bad("equilibrium_solver", "first_of_supports", "Minimax strategies stand for an equilibrium.", regrets_at(SEXES))
class MinimaxInGeneralSumGames(Minimax):
    domain = "general"


@bad("equilibrium_solver", "minimax", "Agent 1 is given what is best for agent 0.", regrets_at(SADDLE))
class SecondAgentHelps(Minimax):
    def tables(self, payoffs: Array) -> Pair:
        return scaled(payoffs[0]), scaled(payoffs[0]).T


@bad(
    "equilibrium_solver",
    "minimax",
    "Agent 1's table is not transposed in square games.",
    regrets_at([[[0, 2], [3, -1]], [[0, -2], [-3, 1]]]),
)
class NotTransposed(Minimax):
    def tables(self, payoffs: Array) -> Pair:
        rows, columns = super().tables(payoffs)
        return rows, columns.T if len(columns) == len(rows) else columns


@bad("equilibrium_solver", "minimax", "The best pure action in the worst case.", regrets_at(PENNIES))
class PureSecurity(Minimax):
    def program(self, table: Array) -> Array:
        return np.eye(len(table))[table.min(axis=1).argmax()]


@bad(
    "equilibrium_solver",
    "fictitious_play",
    "Play ends after fifteen steps, however far from equilibrium.",
    regrets_at(ROCK),
)
class TooFewSteps(FictitiousPlay):
    epsilon = 0.01
    most = 15


@bad(
    "equilibrium_solver",
    "fictitious_play",
    "The last actions are returned instead of the averages.",
    regrets_at(PENNIES),
)
class LastActions(FictitiousPlay):
    most = 100

    def average(self, counts: Pair, plays: tuple[int, int]) -> Pair:
        return np.eye(len(counts[0]))[plays[0]], np.eye(len(counts[1]))[plays[1]]


@bad("equilibrium_solver", "regret_matching", "Regrets are kept with their sign.", no_distribution_at(MUST_MIX))
class SignedRegrets(RegretMatching):
    def positive(self, regrets: Array) -> Array:
        total = regrets.sum()
        return regrets / total if total else np.full(len(regrets), 1 / len(regrets))


@bad("equilibrium_solver", "lemke_howson", "The path is left after two steps.", regrets_at(DILEMMA))
class LemkeHowsonTwoSteps(LemkeHowson):
    most = 2


# Broken solvers of correlated equilibria


@bad("equilibrium_solver", "correlated", "A coarse correlated equilibrium is passed off as correlated.", gap_at(LURE))
class CoarseAsCorrelated(Coarse):
    concept = "correlated"


@bad("equilibrium_solver", "correlated", "The equilibrium of the transposed game, laid out anew.", gap_at(DILEMMA))
class OfTheTransposedGame(Correlated):
    def __call__(self, payoffs: Array) -> Array:
        transposed = np.stack([table.T for table in payoffs])
        return super().__call__(transposed).reshape(payoffs.shape[1:])


@bad("equilibrium_solver", "correlated", "The highest welfare without a look at incentives.", gap_at(DILEMMA))
class NoConstraints(Correlated):
    def rows(self, payoffs: Array) -> Iterator[Array]:
        yield from ()


@bad("equilibrium_solver", "correlated", "The last agent's deviations are left out.", gap_at(DILEMMA))
class LastAgentMayGain(Correlated):
    def rows(self, payoffs: Array) -> Iterator[Array]:
        return super().rows(payoffs[:-1])


@bad("equilibrium_solver", "correlated", "Only deviations to the next action are looked at.", gap_at(RETURN))
class OnlyTheNextAction(Correlated):
    def rows(self, payoffs: Array) -> Iterator[Array]:
        for i, table in enumerate(payoffs):
            for told in range(table.shape[i] - 1):
                yield self.row(table, i, told, told + 1)


@bad("equilibrium_solver", "correlated", "Gain and loss of a deviation are exchanged.", gap_at(DILEMMA))
class SignExchanged(Correlated):
    def row(self, table: Array, i: int, told: int, played: int) -> Array:
        return -super().row(table, i, told, played)


@bad(
    "equilibrium_solver",
    "correlated",
    "The joint action that is most likely stands for the distribution.",
    gap_at(CHICKEN),
)
class MostLikely(Correlated):
    objective = None

    def __call__(self, payoffs: Array) -> Array:
        joint = super().__call__(payoffs)
        return (np.arange(joint.size) == joint.argmax()).reshape(joint.shape).astype(np.float64)


@bad("equilibrium_solver", "correlated", "The product of the agents' marginals stands for the joint.", gap_at(CHICKEN))
class ProductOfMarginals(Correlated):
    objective = None

    def __call__(self, payoffs: Array) -> Array:
        joint = super().__call__(payoffs)
        product = np.ones(joint.shape)
        for i, count in enumerate(joint.shape):
            marginal = np.moveaxis(joint, i, 0).reshape(count, -1).sum(axis=1)
            product = product * marginal.reshape([-1 if j == i else 1 for j in range(joint.ndim)])
        return product


@bad("equilibrium_solver", "correlated", "The probabilities sum to the number of agents.", no_distribution_at(SEXES))
class SumOfTwo(Correlated):
    def total(self) -> float:
        return 2.0


@bad("equilibrium_solver", "coarse", "Only the mean over an agent's fixed actions must not pay.", gap_at(DILEMMA, True))
class MeanOfDeviations(Coarse):
    def rows(self, payoffs: Array) -> Iterator[Array]:
        for i, table in enumerate(payoffs):
            yield table.mean(axis=i, keepdims=True) - table


@bad("equilibrium_solver", "coarse", "Only deviations to the first action are looked at.", gap_at(DILEMMA, True))
class OnlyTheFirstAction(Coarse):
    def rows(self, payoffs: Array) -> Iterator[Array]:
        for i, table in enumerate(payoffs):
            yield table.take([0], axis=i) - table


@bad("equilibrium_solver", "correlated", "The lowest welfare is declared the highest.", poorer_at(COORDINATION, 2))
class LowestWelfare(Correlated):
    def value(self, payoffs: Array) -> Array:
        return -payoffs.sum(axis=0)


@bad("equilibrium_solver", "correlated", "Agent 0's reward is declared to be the welfare.", poorer_at(GENEROUS, 9))
class OneAgentsReward(Correlated):
    def value(self, payoffs: Array) -> Array:
        return payoffs[0]


@bad("equilibrium_solver", "coarse", "The fairest pay is declared the highest welfare.", poorer_at(GENEROUS, 9))
class LeastAsWelfare(Coarse):
    def value(self, payoffs: Array) -> Array:
        return payoffs.min(axis=0)


@bad(
    "equilibrium_solver",
    "correlated",
    "Where nobody can gain, all joint actions are equally likely.",
    poorer_at(BYSTANDERS, 2),
)
class UniformWhereNobodyGains(Correlated):
    def __call__(self, payoffs: Array) -> Array:
        if not any(row.any() for row in self.rows(payoffs)):
            return np.full(payoffs.shape[1:], 1 / payoffs[0].size)
        return super().__call__(payoffs)


@bad(
    "equilibrium_solver",
    "correlated",
    "A Nash equilibrium is declared the best correlated one.",
    poorer_at(CHICKEN, 10),
)
class NashAsBest(NashProduct):
    objective = "welfare"


GOOD = (*good.targets(), *equilibrium_checks.GOOD)
BAD = (*bad.targets(), *equilibrium_checks.BAD)
