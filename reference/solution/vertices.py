"""All vertices of a best-response polytope, in integers."""

from typing import NamedTuple

from marlspec.reference.solution.rationals import eliminate


class Vertex(NamedTuple):
    """A vertex up to a positive factor, and the constraints that it meets with equality.

    Attributes:
        point: its coordinates times a positive integer.
        labels: bit k is set where coordinate k is zero, bit d + k where inequality k holds with equality.
    """

    point: tuple[int, ...]
    labels: int


class _Tableau(NamedTuple):
    """The equations matrix x + slack = 1, solved for the basic variables and multiplied by the last pivot.

    Attributes:
        rows: for each basic variable the coefficients of all d + k variables, then the right side.
        basis: the basic variable of each row.
        pivot: the common factor, a determinant.
    """

    rows: list[list[int]]
    basis: tuple[int, ...]
    pivot: int


def vertices(matrix: list[list[int]]) -> list[Vertex]:
    """Return every vertex of {x >= 0, matrix x <= 1}, the origin included.

    The walk goes from basis to neighbouring basis, starting at the origin. Ties in the ratio test are broken
    lexicographically, which is to enumerate the simple polytope that an infinitely small change of the right side
    gives: its graph is connected, and each vertex of the polytope itself is the limit of one of its vertices or more
    (docs/proofs.md, section 7).

    Args:
        matrix: k rows of d positive integers.
    """
    d = len(matrix[0])
    start = _origin(matrix)
    seen = {frozenset(start.basis)}
    waiting = [start]
    found: dict[int, Vertex] = {}
    while waiting:
        tableau = waiting.pop()
        vertex = _vertex(tableau, d)
        found[vertex.labels] = vertex
        for entering in set(range(d + len(matrix))).difference(tableau.basis):
            leaving = _leaving_row(tableau, entering, d)
            basis = (*tableau.basis[:leaving], entering, *tableau.basis[leaving + 1 :])
            if frozenset(basis) not in seen:
                seen.add(frozenset(basis))
                waiting.append(_pivot(tableau, leaving, entering, basis))
    return list(found.values())


def _origin(matrix: list[list[int]]) -> _Tableau:
    k, d = len(matrix), len(matrix[0])
    rows = [[*row, *(int(r == c) for c in range(k)), 1] for r, row in enumerate(matrix)]
    return _Tableau(rows, tuple(range(d, d + k)), 1)


def _leaving_row(tableau: _Tableau, entering: int, d: int) -> int:
    """Row of the basic variable that first reaches zero as the entering one grows; there is one, by boundedness.

    The rows compared are the right side and then the columns of the slacks, each divided by the entering column. They
    are the rows of an invertible matrix, so no two are the same.
    """
    candidates = [r for r, row in enumerate(tableau.rows) if row[entering] > 0]
    best = candidates[0]
    for r in candidates[1:]:
        if _before(tableau.rows[r], tableau.rows[best], entering, d):
            best = r
    return best


def _before(row: list[int], other: list[int], entering: int, d: int) -> bool:
    head, factor = other[entering], row[entering]
    for column in [len(row) - 1, *range(d, len(row) - 1)]:
        difference: int = row[column] * head - other[column] * factor
        if difference:
            return difference < 0
    raise AssertionError("two rows of an invertible matrix are proportional")


def _pivot(tableau: _Tableau, leaving: int, entering: int, basis: tuple[int, ...]) -> _Tableau:
    pivot = tableau.rows[leaving]
    rows = [row if row is pivot else eliminate(row, pivot, entering, tableau.pivot) for row in tableau.rows]
    return _Tableau(rows, basis, pivot[entering])


def _vertex(tableau: _Tableau, d: int) -> Vertex:
    values = [0] * (len(tableau.rows[0]) - 1)
    for variable, row in zip(tableau.basis, tableau.rows, strict=True):
        values[variable] = row[-1]
    labels = sum(1 << variable for variable, value in enumerate(values) if value == 0)
    return Vertex(tuple(values[:d]), labels)
