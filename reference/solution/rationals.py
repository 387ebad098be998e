"""Rational arithmetic for the solution concepts: common denominators and linear systems without rounding."""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_fractions(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values as Fractions, in an object array of the same shape; a float is the dyadic number it is."""
    return _object_array([Fraction(value) for value in values.ravel().tolist()], values.shape)


def over_common_denominator(values: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Write numbers as integers over one denominator: integer arithmetic is several times faster than Fractions.

    Args:
        values: int, Fraction or finite floats, any shape; a float is the dyadic number it is.

    Returns:
        An object array of integers and the least positive denominator d with values = integers / d.
    """
    ratios = [value.as_integer_ratio() for value in values.ravel().tolist()]
    denominator = lcm(*{below for _, below in ratios})
    return _object_array([above * (denominator // below) for above, below in ratios], values.shape), denominator


def solve(matrix: Sequence[Sequence[int]], right: Sequence[int]) -> list[Fraction] | None:
    """Solve a square system of integers by fraction-free elimination (Bareiss 1968).

    Every entry that occurs is a minor of the system, hence an integer, so that the divisions leave no remainder and
    the numbers stay as short as determinants are.

    Args:
        matrix: k rows of k integers.
        right: k integers.

    Returns:
        The k unknowns, or None where the matrix is singular.
    """
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    previous = 1
    for k in range(len(rows)):
        swap = next((r for r in range(k, len(rows)) if rows[r][k]), None)
        if swap is None:
            return None
        rows[k], rows[swap] = rows[swap], rows[k]
        pivot = rows[k]
        rows = [row if row is pivot else eliminate(row, pivot, k, previous) for row in rows]
        previous = pivot[k]
    return [Fraction(row[-1], row[k]) for k, row in enumerate(rows)]


def eliminate(row: list[int], pivot: list[int], column: int, previous: int) -> list[int]:
    """Clear a row's entry in a column with the pivot row; previous is the pivot of the step before, 1 at first."""
    head, factor = pivot[column], row[column]
    return [(head * own - factor * other) // previous for own, other in zip(row, pivot, strict=True)]


def _object_array(values: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)
