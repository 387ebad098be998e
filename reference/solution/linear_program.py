"""Linear programs: solved in floats by HiGHS, then solved again exactly in the basis that it ended in.

The basis names the variables that may be positive and the inequalities that hold with equality. They make up a square
system, whose solution in rationals is the very vertex that HiGHS saw through rounding errors. Whether it is optimal is
then checked without any reference to HiGHS: it satisfies all constraints, so do the dual prices, and the two
objectives agree. Where numbers differ by less than the tolerances of HiGHS it may end in a neighbouring basis; a small
program is then finished by the simplex algorithm in integers, a large one is answered in floats, with its exact gap.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.reference.solution.rationals import as_fractions, over_common_denominator, solve
from marlspec.reference.solution.simplex import simplex

ZERO = 1e-9
PRIME = 2**31 - 1
SMALL = 20_000
BASIS = "linear program by HiGHS, its basis solved in rationals"
SIMPLEX = "linear program by HiGHS, finished by the simplex algorithm in integers"
ROUNDED = "linear program by HiGHS, its floats verified in rationals"


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """Maximise objective x subject to upper x <= 0, shares x = 1 and x >= 0.

    The programs of game theory have this form: some variables are a distribution, the rest are measured against it.
    All numbers are int or Fraction in object arrays. Within a column they should not differ by many orders of
    magnitude: rows are scaled for HiGHS, columns are not.

    Attributes:
        objective: shape [v].
        upper: shape [u, v].
        shares: shape [v], each 0 or 1, and 1 somewhere.
    """

    objective: NDArray[Any]
    upper: NDArray[Any]
    shares: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Optimum:
    """What came out for a linear program, in Fractions.

    Attributes:
        point: shape [v], nowhere negative.
        prices: shape [u], nowhere negative: the dual variables of the inequalities.
        level: the dual variable of the equation, and as such the dual objective.
        gap: zero exactly where point is an optimum, with the prices and the level as its certificate; otherwise the
            largest of the amounts by which these break a constraint and by which the two objectives differ.
        method: how it was found.
    """

    point: NDArray[Any]
    prices: NDArray[Any]
    level: Fraction
    gap: Fraction
    method: str

    @property
    def exact(self) -> bool:
        """Whether the point is an optimum, proved in rationals."""
        return self.gap == 0


class _Floats(NamedTuple):
    """The answer of HiGHS to the program with rows scaled to entries of at most one.

    Attributes:
        point: shape [v].
        reduced: shape [v]; what the objective loses per unit by which a variable is raised from zero.
        slack: shape [u].
        prices: shape [u].
        level: the price of the equation.
        scales: shape [1 + u]: by what the objective and the inequalities were divided.
    """

    point: NDArray[np.float64]
    reduced: NDArray[np.float64]
    slack: NDArray[np.float64]
    prices: NDArray[np.float64]
    level: float
    scales: NDArray[Any]


def maximise(program: LinearProgram) -> Optimum:
    """Solve a linear program that has an optimum.

    Returns:
        The optimum; an approximate one with its exact gap where HiGHS ended in a basis that is not optimal and the
        program has more than SMALL coefficients.

    Raises:
        ArithmeticError: HiGHS found no optimum of a program with more than SMALL coefficients.
    """
    floats = _highs(program)
    found = _basic_solution(program, floats) if floats is not None else None
    if found is not None and found.exact:
        return found
    if program.upper.size + program.shares.size <= SMALL:
        order = np.arange(len(program.shares)) if floats is None else np.argsort(-floats.point, kind="stable")
        return _optimum(program, *simplex(program.objective, program.upper, program.shares, order.tolist()), SIMPLEX)
    if floats is None:
        raise ArithmeticError("HiGHS found no optimum of a linear program that has one: its numbers differ too much")
    return _rounded(program, floats)


def product(matrix: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """Return matrix @ vector in Fractions, multiplied out in integers where the vector is not zero."""
    support = np.flatnonzero(vector)
    integers, scale = over_common_denominator(matrix[:, support])
    weights, unit = over_common_denominator(vector[support])
    totals = (integers * weights).sum(axis=-1)
    return np.array([Fraction(total, scale * unit) for total in totals], dtype=object)


def _highs(program: LinearProgram) -> _Floats | None:
    from scipy.optimize import linprog

    rows, scales = _scaled(np.concatenate([program.objective[None, :], program.upper]))
    answer = linprog(
        -rows[0],
        A_ub=rows[1:],
        b_ub=np.zeros(len(rows) - 1),
        A_eq=program.shares[None, :].astype(np.float64),
        b_eq=np.ones(1),
        method="highs-ds",
    )
    if answer.x is None or answer.slack is None or answer.status != 0:
        return None
    return _Floats(
        point=answer.x,
        reduced=answer.lower.marginals,
        slack=answer.slack,
        prices=-answer.ineqlin.marginals,
        level=-float(answer.eqlin.marginals[0]),
        scales=scales,
    )


def _scaled(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Divide each row by its largest entry before rounding to floats, which the quotients cannot overflow."""
    scales = [max(map(abs, row)) or 1 for row in rows.tolist()]
    floats = [[float(value / scale) for value in row] for row, scale in zip(rows, scales, strict=True)]
    return np.array(floats, dtype=np.float64), np.array(scales, dtype=object)


def _rounded(program: LinearProgram, floats: _Floats) -> Optimum:
    unit, scales = floats.scales[0], floats.scales[1:]
    prices = as_fractions(floats.prices) * unit / scales
    return _optimum(program, as_fractions(floats.point), prices, Fraction(floats.level) * unit, ROUNDED)


def _basic_solution(program: LinearProgram, floats: _Floats) -> Optimum | None:
    """Solve for point and prices in the basis of HiGHS; None where no regular square system is found in it."""
    rows = np.concatenate([program.shares[None, :], program.upper])
    tight, positive = _basis(rows, floats)
    system = rows[np.ix_(tight, positive)]
    values = _solved(system, np.array([int(row == 0) for row in tight], dtype=object))
    costs = _solved(system.T, program.objective[positive])
    if values is None or costs is None:
        return None
    point = np.full(rows.shape[1], Fraction(), dtype=object)
    point[positive] = values
    prices = np.full(len(rows), Fraction(), dtype=object)
    prices[tight] = costs
    return _optimum(program, point, prices[1:], prices[0], BASIS)


def _basis(rows: NDArray[Any], floats: _Floats) -> tuple[list[int], list[int]]:
    """Choose rows that hold with equality and as many variables, so that their system is regular.

    The equation, the priced inequalities and the positive variables must be among them. Where the vertex is degenerate
    these differ in number, and rows and variables that are zero on both counts fill up. Regularity is decided modulo a
    prime: what is regular there is regular in rationals.
    """
    prices, slack = np.append(np.inf, floats.prices), np.append(0, floats.slack)
    tight = [r for r in np.argsort(-prices, kind="stable") if slack[r] <= ZERO or prices[r] > ZERO]
    order = np.lexsort([floats.reduced, -floats.point])
    variables = [v for v in order if floats.reduced[v] <= ZERO or floats.point[v] > ZERO]
    needed_rows = int(np.count_nonzero(prices[tight] > ZERO))
    needed_variables = int(np.count_nonzero(floats.point[variables] > ZERO))
    residues = over_common_denominator(rows[np.ix_(tight, variables)])[0] % PRIME
    pivots = _pivots(residues.astype(np.int64), needed_rows, needed_variables)
    return [int(tight[r]) for r, _ in pivots], [int(variables[v]) for _, v in pivots]


def _pivots(residues: NDArray[np.int64], needed_rows: int, needed_columns: int) -> list[tuple[int, int]]:
    """Eliminate modulo PRIME, earlier columns and rows first, until those that are needed have had their turn."""
    free = list(range(len(residues)))
    pivots: list[tuple[int, int]] = []
    for column in range(residues.shape[1]):
        if column >= needed_columns and (not free or free[0] >= needed_rows):
            break
        row = next((r for r in free if residues[r, column]), None)
        if row is None:
            continue
        free.remove(row)
        pivots.append((row, column))
        inverse = pow(int(residues[row, column]), -1, PRIME)
        factors = residues[free, column] * inverse % PRIME
        residues[free] = (residues[free] - factors[:, None] * residues[row] % PRIME) % PRIME
    return pivots


def _solved(matrix: NDArray[Any], right: NDArray[Any]) -> list[Fraction] | None:
    integers, _ = over_common_denominator(np.column_stack([matrix, right]))
    return solve(integers[:, :-1].tolist(), integers[:, -1].tolist())


def _optimum(
    program: LinearProgram, point: NDArray[Any], prices: NDArray[Any], level: Fraction, method: str
) -> Optimum:
    """Clip what must not be negative, and measure exactly what is missing to a proof of optimality."""
    point, prices = _clipped(point), _clipped(prices)
    missing = [
        *product(program.upper, point),
        *(program.objective - product(program.upper.T, prices) - level * program.shares),
        abs(product(program.shares[None, :], point)[0] - 1),
        abs(product(program.objective[None, :], point)[0] - level),
    ]
    return Optimum(point, prices, level, max(Fraction(), *missing), method)


def _clipped(values: NDArray[Any]) -> NDArray[Any]:
    return np.array([max(value, Fraction()) for value in values], dtype=object)
