"""Markov policies of stochastic games, and the numbers in which games and policies are judged.

A Markov policy is a product policy, n arrays [S, A_i] from which the agents draw independently, or one joint policy
[S, A_1, .., A_n] from which joint actions are drawn. What profiles.py says of exact numbers and of floats holds for the
distribution in every state.
"""

from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import Number
from marlspec.games.posg import POSG
from marlspec.games.staged import checked_gamma
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.solution.profiles import Profile, checked_distribution
from marlspec.reference.solution.rationals import as_fractions

__all__ = [
    "Draws",
    "checked_distribution",
    "checked_draws",
    "checked_policy",
    "described",
    "in_rationals",
    "observed_in_rationals",
    "product_draws",
    "with_discount",
]


class Draws(NamedTuple):
    """The joint actions that a policy draws with positive probability: few where it is nearly deterministic.

    Attributes:
        actions: integers [S, K, n], K joint actions in every state.
        probabilities: object array [S, K] of Fractions, zero for padding.
    """

    actions: NDArray[np.int64]
    probabilities: NDArray[Any]


def checked_policy(game: StochasticGame, policy: object) -> Profile:
    """Return a product policy as exact numbers.

    Args:
        game: the game that the policy is for.
        policy: n arrays or nested lists, the i-th of shape [S, A_i].

    Returns:
        n object arrays [S, A_i] of Fractions, every row with the sum one; floats clipped and renormalised.

    Raises:
        InputError: another number of agents, states or actions, or a row that is no distribution.
    """
    if not isinstance(policy, list | tuple) or len(policy) != game.n_agents:
        raise InputError(
            f"a product policy is a tuple with one array [S, A_i] for each of the {game.n_agents} agents, "
            f"not {described(policy)}"
        )
    return tuple(
        _checked_rows(own, game.n_states, (game.n_actions[i],), f"policy[{i}]") for i, own in enumerate(policy)
    )


def checked_draws(game: StochasticGame, policy: object) -> Draws:
    """Return a product or joint policy as the joint actions that it may draw in every state.

    Args:
        game: the game that the policy is for.
        policy: a tuple of n arrays [S, A_i] (a product policy), or one numpy array [S, A_1, .., A_n].

    Raises:
        InputError: a shape that does not fit, or a row that is no distribution.
    """
    if not isinstance(policy, np.ndarray):
        return product_draws(checked_policy(game, policy))
    flat = _checked_rows(policy, game.n_states, game.n_actions, "policy").reshape(game.n_states, -1)
    drawn = _support(flat)
    actions = np.stack(np.unravel_index(drawn, game.n_actions), axis=-1)
    return Draws(actions, np.take_along_axis(flat, drawn, axis=1))


def product_draws(mixes: Profile) -> Draws:
    """Return the joint actions that agents may draw who draw independently from their mixes [S, A_i]."""
    n_states = len(mixes[0])
    own = [_support(mix) for mix in mixes]
    actions = [_crossed(drawn, j, len(mixes)) for j, drawn in enumerate(own)]
    chances = [_crossed(np.take_along_axis(mixes[j], drawn, axis=1), j, len(mixes)) for j, drawn in enumerate(own)]
    probabilities = np.asarray(reduce(np.multiply, chances), dtype=object)
    joint = np.stack(np.broadcast_arrays(*actions), axis=-1)
    return Draws(joint.reshape(n_states, -1, len(mixes)), probabilities.reshape(n_states, -1))


def with_discount(game: StochasticGame, gamma: Number | None) -> tuple[StochasticGame, Number]:
    """Return the game and the discount to work with: both exact, or both float64 where one of them is.

    Args:
        game: any game.
        gamma: the discount; the game's own where it is None.

    Raises:
        InputError: gamma is no discount.
    """
    discount = game.gamma if gamma is None else checked_gamma(gamma)
    if isinstance(discount, float):
        return game.as_float64(), discount
    return game, discount if game.exact else float(discount)


def in_rationals(game: StochasticGame) -> StochasticGame:
    """Return the game in exact numbers, the discount included.

    Floats are the dyadic numbers that they are, and distributions are divided by their sum.
    """
    if game.exact:
        return game
    return StochasticGame.from_outcomes(
        game.successors,
        _normalised(game.probabilities),
        as_fractions(game.rewards),
        _normalised(game.initial),
        game.terminal,
        gamma=Fraction(game.gamma),
        name=game.name,
        citation=game.citation,
        action_labels=game.action_labels,
        state_labels=game.state_labels,
    )


def observed_in_rationals(posg: POSG) -> POSG:
    """Return a partially observable game in exact numbers, as in_rationals does."""
    if posg.exact:
        return posg
    return POSG(
        in_rationals(posg.game),
        [_normalised(table) for table in posg.observation],
        [_normalised(table) for table in posg.first_observation],
        posg.observation_labels,
    )


def described(value: object) -> str:
    """Say what was handed over where something else was needed, as in "a list of length 3"."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of length {len(value)}"
    return f"an object of type {type(value).__name__}"


def _support(mixes: NDArray[Any]) -> NDArray[np.int64]:
    """The entries of each row that are not zero, [S, K]; rows with fewer than K are filled up with others."""
    positive = np.asarray(mixes != 0, dtype=np.bool_)
    order = np.argsort(~positive, axis=1, kind="stable")
    return order[:, : int(positive.sum(axis=1).max())]


def _crossed(drawn: NDArray[Any], j: int, n_agents: int) -> NDArray[Any]:
    """Put the second axis of an array [S, K_j] on the axis of agent j, for broadcasting against the others'."""
    return drawn.reshape(len(drawn), *(drawn.shape[1] if k == j else 1 for k in range(n_agents)))


def _checked_rows(rows: object, n_states: int, shape: tuple[int, ...], place: str) -> NDArray[Any]:
    if not isinstance(rows, list | tuple | np.ndarray) or len(rows) != n_states:
        raise InputError(f"{place} holds one distribution for each of the {n_states} states, not {described(rows)}")
    return np.stack([checked_distribution(row, shape, f"{place}[{s}]") for s, row in enumerate(rows)])


def _normalised(table: NDArray[Any]) -> NDArray[Any]:
    exact = as_fractions(table)
    return np.asarray(exact / exact.sum(axis=-1, keepdims=True), dtype=object)
