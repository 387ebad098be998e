"""The best fits of a common-reward game within a class of decompositions, exactly, under uniform data."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from math import factorial, prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction, NormalFormGame
from marlspec.properties.proof.decomposition import Exact, exact_table

MAX_ORDERS = 20_000
Cells: TypeAlias = list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Fit:
    """A table fitted to a game's rewards by least squares, every joint action weighing the same.

    Attributes:
        table: the fitted values [A_1, .., A_n], int and Fraction, read-only.
        mean_squared_error: the mean of the squared differences from the rewards, exact.
    """

    table: NDArray[Any]
    mean_squared_error: Exact

    @property
    def greedy(self) -> tuple[JointAction, ...]:
        """The joint actions with the largest fitted value."""
        best = np.argwhere(self.table == self.table.max())
        return tuple(tuple(int(action) for action in a) for a in best)


@dataclass(frozen=True, eq=False)
class MonotoneFit(Fit):
    """A fit that never falls when one agent moves up in its order of actions.

    Attributes:
        orders: each agent's actions from low to high.
    """

    orders: tuple[tuple[int, ...], ...]


def additive_projection(game: NormalFormGame) -> Fit:
    """Return the best fit of the form sum_i u_i(a_i): what VDN converges to on uniform data.

    In closed form by main effects: sum_i (mean of R over the others' actions) - (n - 1) (mean of R).

    Raises:
        InputError: a general-sum game.
    """
    reward = exact_table(game)
    table = _constant(reward.shape, (1 - reward.ndim) * _mean(reward))
    for i, count in enumerate(reward.shape):
        effects = _constant((count,), 0)
        effects[:] = [_mean(reward.take([action], axis=i)) for action in range(count)]
        table = table + effects.reshape([count if k == i else 1 for k in range(reward.ndim)])
    return Fit(*_judged(table, reward))


def monotone_projection(game: NormalFormGame) -> MonotoneFit:
    """Return the best fit by a non-decreasing function of two agents' utilities: no monotone mixer errs less.

    Mixers with positive slopes alone come arbitrarily close to it.

    Raises:
        InputError: a general-sum game, other than two agents, or more than 20 000 pairs of orders of actions.
    """
    return min(monotone_fits(game), key=lambda fit: fit.mean_squared_error)


def monotone_fits(game: NormalFormGame) -> Iterator[MonotoneFit]:
    """Yield the best fit for each pair of orders of the two agents' actions; errors as for monotone_projection."""
    if game.n_agents != 2:
        raise InputError(f"monotone fits are found for two agents, and {game.name} has {game.n_agents}")
    reward = exact_table(game)
    n_orders = prod(factorial(count) for count in reward.shape)
    if n_orders > MAX_ORDERS:
        raise InputError(f"{game.name} has {n_orders} orders of actions to try, more than {MAX_ORDERS}")
    for orders in product(*(permutations(range(count)) for count in reward.shape)):
        place = np.ix_(*orders)
        table = _constant(reward.shape, 0)
        table[place] = isotonic_regression(reward[place])
        fitted, error = _judged(table, reward)
        yield MonotoneFit(fitted, error, orders)


def isotonic_regression(table: NDArray[Any]) -> NDArray[Any]:
    """Return the non-decreasing table nearest to an exact table of shape [A_1, A_2] in least squares, exactly.

    By recursive splitting (Maxwell and Muckstadt 1985; Spouge, Wan and Wilbur 2003): a block whose upper sets all have
    excess sum(R - mean) <= 0 is fitted by its mean; otherwise an upper set of largest excess is fitted apart from the
    rest of the block, and the two fits need no further adjustment.
    """
    fitted = _constant(table.shape, 0)
    rows, columns = table.shape
    blocks: list[Cells] = [list(product(range(rows), range(columns)))]
    while blocks:
        block = blocks.pop()
        total: Exact = sum(table[cell] for cell in block)
        mean = _ratio(total, len(block))
        above = _largest_upper_set(table, block, mean)
        if above:
            blocks += [above, [cell for cell in block if cell not in above]]
            continue
        for cell in block:
            fitted[cell] = mean
    return fitted


def _largest_upper_set(table: NDArray[Any], block: Cells, mean: Exact) -> Cells:
    """Return the cells of an upper set of a block with the largest excess over the mean; none where none is positive.

    An upper set takes, in each row, the cells from some column on, and from no later column in the next row. So the
    best choice for the rows up to r that starts row r at column c follows from the best ones for the rows before.
    """
    rows, columns = table.shape
    excess = _constant((rows, columns), 0)
    for cell in block:
        excess[cell] = table[cell] - mean
    best: list[tuple[Exact, tuple[int, ...]]] = [(0, ())] * (columns + 1)
    for r in range(rows):
        gains = [sum(excess[r, start:]) for start in range(columns + 1)]
        best = [
            (gains[start] + value, (*starts, start))
            for start in range(columns + 1)
            for value, starts in [max(best[start:], key=lambda choice: choice[0])]
        ]
    value, starts = max(best, key=lambda choice: choice[0])
    return [cell for cell in block if cell[1] >= starts[cell[0]]] if value > 0 else []


def _judged(table: NDArray[Any], reward: NDArray[Any]) -> tuple[NDArray[Any], Exact]:
    table.setflags(write=False)
    return table, _mean((table - reward) ** 2)


def _mean(values: NDArray[Any]) -> Exact:
    return _ratio(values.sum(), values.size)


def _ratio(numerator: Exact, denominator: int) -> Exact:
    """A quotient as int where it is whole, else as Fraction."""
    quotient = Fraction(numerator) / denominator
    return quotient.numerator if quotient.denominator == 1 else quotient


def _constant(shape: tuple[int, ...], value: Exact) -> NDArray[Any]:
    array = np.empty(shape, dtype=object)
    array.fill(value)
    return array
