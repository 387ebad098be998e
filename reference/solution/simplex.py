"""The simplex algorithm in integers, with Bland's rule: slow, but it ends, and at the exact optimum."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.reference.solution.rationals import eliminate, over_common_denominator


class _Tableau:
    """The equations upper x + slack = 0 and shares x + artificial = 1, solved for the basic variables.

    Columns: the v variables, the artificial, the u slacks, the right side. Rows: the equation, the u inequalities,
    and the two objectives with their signs changed: to lower the artificial, and the program's own. All are multiplied
    by the last pivot, so that they hold integers (see rationals.solve).
    """

    def __init__(self, objective: NDArray[Any], upper: NDArray[Any], shares: NDArray[Any]) -> None:
        u, self.v = upper.shape
        coefficients = np.concatenate([shares[None, :], upper, -shares[None, :], -objective[None, :]])
        scaled = [over_common_denominator(row) for row in coefficients]
        right = [1, *[0] * u, -1, 0]
        self.scales = [scale for _, scale in scaled]
        self.rows = [
            [*row.tolist(), *(int(r == c) for c in range(u + 1)), value]
            for r, ((row, _), value) in enumerate(zip(scaled, right, strict=True))
        ]
        self.basis = [self.v + r for r in range(u + 1)]
        self.pivot = 1

    def walk(self, goal: int, order: list[int]) -> None:
        """Pivot until no variable in order improves the objective in row goal; the first in order go first."""
        place = {variable: k for k, variable in enumerate([self.v, *order])}
        while True:
            entering = next((variable for variable in order if self.rows[goal][variable] < 0), None)
            if entering is None:
                return
            self._exchange(self._leaving(entering, place), entering)

    def _leaving(self, entering: int, place: dict[int, int]) -> int:
        """Row of the basic variable that first reaches zero as the entering one grows, the first in order if tied."""
        rows = [r for r in range(len(self.basis)) if self.rows[r][entering] > 0]
        return min(rows, key=lambda r: (Fraction(self.rows[r][-1], self.rows[r][entering]), place[self.basis[r]]))

    def _exchange(self, leaving: int, entering: int) -> None:
        pivot = self.rows[leaving]
        self.rows = [row if row is pivot else eliminate(row, pivot, entering, self.pivot) for row in self.rows]
        self.basis[leaving], self.pivot = entering, pivot[entering]


def simplex(
    objective: NDArray[Any], upper: NDArray[Any], shares: NDArray[Any], order: list[int]
) -> tuple[NDArray[Any], NDArray[Any], Fraction]:
    """Maximise objective x subject to upper x <= 0, shares x = 1 and x >= 0, a program that has an optimum.

    Args:
        objective: shape [v], int or Fraction.
        upper: shape [u, v].
        shares: shape [v], each 0 or 1.
        order: the v variables, those first that are expected to be positive.

    Returns:
        The optimum [v], the prices of the inequalities [u], and the price of the equation, in Fractions.
    """
    u, v = upper.shape
    tableau = _Tableau(objective, upper, shares)
    every = [*order, *range(v + 1, v + 1 + u)]
    tableau.walk(u + 1, every)
    tableau.walk(u + 2, every)
    point = np.full(v + 1 + u, Fraction(), dtype=object)
    for variable, row in zip(tableau.basis, tableau.rows, strict=False):
        point[variable] = Fraction(row[-1], tableau.pivot)
    own = tableau.rows[u + 2]
    prices = [Fraction(own[v + r] * tableau.scales[r], tableau.pivot * tableau.scales[u + 2]) for r in range(u + 1)]
    return point[:v], np.array(prices[1:], dtype=object), prices[0]
