"""Linear programs: solved in floats by HiGHS, then solved again exactly in the basis that it ended in.

The basis names the variables that may be positive and the constraints that hold with equality. They make up a square
system, whose solution in rationals is the very vertex that HiGHS saw through rounding errors. Whether it is optimal is
then checked without any reference to HiGHS: it satisfies all constraints, so do the dual prices, and the two
objectives agree.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.reference.solution.rationals import as_fractions, over_common_denominator, solve

ZERO = 1e-9
PRIME = 2**31 - 1
EXACT = "linear program by HiGHS, its basis solved in rationals"
ROUNDED = "linear program by HiGHS, its floats verified in rationals"


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """Maximise objective x subject to upper x <= bound, equal x = target and x >= 0.

    All numbers are int or Fraction in object arrays. Entries should lie within a few orders of magnitude of each other
    in every column: the rows are scaled for HiGHS, the columns are not.

    Attributes:
        objective: shape [v].
        upper: shape [u, v].
        bound: shape [u].
        equal: shape [e, v], rows linearly independent.
        target: shape [e].
    """

    objective: NDArray[Any]
    upper: NDArray[Any]
    bound: NDArray[Any]
    equal: NDArray[Any]
    target: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Optimum:
    """What came out for a linear program, in Fractions.

    Attributes:
        point: shape [v], nowhere negative.
        upper_prices: shape [u], nowhere negative: the dual variables of the inequalities.
        equal_prices: shape [e]: the dual variables of the equations.
        gap: zero exactly where point is an optimum, with the prices as its certificate; otherwise the largest of the
            amounts by which point or prices break a constraint and by which their objectives differ.
    """

    point: NDArray[Any]
    upper_prices: NDArray[Any]
    equal_prices: NDArray[Any]
    gap: Fraction

    @property
    def exact(self) -> bool:
        """Whether the point is an optimum, proved in rationals."""
        return self.gap == 0

    @property
    def method(self) -> str:
        """How the point was found."""
        return EXACT if self.exact else ROUNDED


class _Floats(NamedTuple):
    """The answer of HiGHS to the program with rows scaled to entries of at most one.

    Attributes:
        point: shape [v].
        reduced: shape [v]; what each variable would cost if it were raised from zero.
        slack: shape [u].
        upper_prices: shape [u].
        equal_prices: shape [e].
        scales: by what the objective, the inequalities and the equations were divided.
    """

    point: NDArray[np.float64]
    reduced: NDArray[np.float64]
    slack: NDArray[np.float64]
    upper_prices: NDArray[np.float64]
    equal_prices: NDArray[np.float64]
    scales: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def maximise(program: LinearProgram) -> Optimum:
    """Solve a linear program that has an optimum.

    Returns:
        The optimum, exact wherever the basis in which HiGHS ended is optimal in rationals; otherwise what HiGHS
        answered, with its exact gap.

    Raises:
        ArithmeticError: HiGHS found no optimum, in spite of the scaling.
    """
    floats = _highs(program)
    exact = _basic_solution(program, floats)
    return exact if exact is not None and exact.exact else _rounded(program, floats)


def product(matrix: NDArray[Any], vector: NDArray[Any]) -> NDArray[Any]:
    """Return matrix @ vector in Fractions, multiplied out in integers."""
    integers, scale = over_common_denominator(matrix)
    weights, unit = over_common_denominator(vector)
    totals = (integers * weights).sum(axis=-1)
    return np.array([Fraction(total, scale * unit) for total in totals], dtype=object)


def _highs(program: LinearProgram) -> _Floats:
    from scipy.optimize import linprog

    objective, value_scale = _scaled(program.objective[None, :])
    upper, upper_scale = _scaled(np.column_stack([program.upper, program.bound]))
    equal, equal_scale = _scaled(np.column_stack([program.equal, program.target]))
    answer = linprog(
        -objective[0],
        A_ub=upper[:, :-1],
        b_ub=upper[:, -1],
        A_eq=equal[:, :-1],
        b_eq=equal[:, -1],
        method="highs-ds",
    )
    if answer.status != 0:
        raise ArithmeticError(f"a linear program that has an optimum was not solved: {answer.message}")
    return _Floats(
        point=answer.x,
        reduced=answer.lower.marginals,
        slack=answer.slack,
        upper_prices=-answer.ineqlin.marginals,
        equal_prices=-answer.eqlin.marginals,
        scales=(value_scale, upper_scale, equal_scale),
    )


def _scaled(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Divide each row by its largest entry before rounding to floats, which the quotients cannot overflow."""
    scales = np.array([max(map(abs, row)) or 1 for row in rows.tolist()], dtype=object)
    floats = [
        [float(Fraction(value) / scale) for value in row] for row, scale in zip(rows.tolist(), scales, strict=True)
    ]
    return np.array(floats, dtype=np.float64).reshape(rows.shape), scales


def _rounded(program: LinearProgram, floats: _Floats) -> Optimum:
    value_scale, upper_scale, equal_scale = floats.scales
    return _optimum(
        program,
        as_fractions(floats.point),
        as_fractions(floats.upper_prices) * value_scale / upper_scale,
        as_fractions(floats.equal_prices) * value_scale / equal_scale,
    )


def _basic_solution(program: LinearProgram, floats: _Floats) -> Optimum | None:
    """Solve for point and prices in the basis of HiGHS; None where no square regular system is found in it."""
    rows = np.concatenate([program.equal, program.upper])
    right = np.concatenate([program.target, program.bound])
    tight, positive = _basis(rows, floats, len(program.equal))
    system = rows[np.ix_(tight, positive)]
    values = _solved(system, right[tight])
    prices = _solved(system.T, program.objective[positive])
    if values is None or prices is None:
        return None
    point = np.full(len(program.objective), Fraction(), dtype=object)
    point[positive] = values
    price = np.full(len(rows), Fraction(), dtype=object)
    price[tight] = prices
    return _optimum(program, point, price[len(program.equal) :], price[: len(program.equal)])


def _basis(rows: NDArray[Any], floats: _Floats, n_equal: int) -> tuple[list[int], list[int]]:
    """Choose constraints that hold with equality and as many variables, so that their system is regular.

    Equations, priced inequalities and positive variables must be among them. Where the vertex is degenerate these do
    not match one another in number, and constraints and variables that are zero on both counts fill up. Regularity is
    decided modulo a prime: what is regular there is regular in rationals.
    """
    prices = np.concatenate([np.full(n_equal, np.inf), floats.upper_prices])
    slack = np.concatenate([np.zeros(n_equal), floats.slack])
    tight = [r for r in np.argsort(-prices, kind="stable") if slack[r] <= ZERO or prices[r] > ZERO]
    order = np.lexsort([floats.reduced, -floats.point])
    variables = [v for v in order if floats.reduced[v] <= ZERO or floats.point[v] > ZERO]
    needed_rows = sum(prices[r] > ZERO for r in tight)
    needed_variables = sum(floats.point[v] > ZERO for v in variables)
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
    program: LinearProgram, point: NDArray[Any], upper_prices: NDArray[Any], equal_prices: NDArray[Any]
) -> Optimum:
    """Clip what must not be negative, and measure exactly what is missing to a proof of optimality."""
    point, upper_prices = np.maximum(point, Fraction()), np.maximum(upper_prices, Fraction())
    paid = product(program.upper.T, upper_prices) + product(program.equal.T, equal_prices)
    value = product(program.objective[None, :], point)[0]
    cost = product(program.bound[None, :], upper_prices)[0] + product(program.target[None, :], equal_prices)[0]
    missing = [
        *(product(program.upper, point) - program.bound),
        *abs(product(program.equal, point) - program.target),
        *(program.objective - paid),
        abs(value - cost),
    ]
    return Optimum(point, upper_prices, equal_prices, max(Fraction(), *missing))
