"""Play a finite game for one episode, with an explicit generator of random numbers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.histories import History, JointObservation
from marlspec.games.matrix import JointAction, number_array
from marlspec.games.posg import POSG
from marlspec.games.staged import checked_gamma
from marlspec.games.stochastic import StochasticGame, check_distributions

HistoryPolicy: TypeAlias = Callable[[tuple[int, ...]], object]
Policies: TypeAlias = Sequence[object]
Choice: TypeAlias = Callable[[list[JointObservation]], NDArray[Any]]


class Episode(NamedTuple):
    """What happened in one episode of T steps.

    Attributes:
        history: the full history, with T joint actions.
        rewards: the rewards r_1^t, .., r_n^t of each step [T, n], exact where the game is.
        terminated: whether the last state is terminal; else the horizon has cut the episode off.
    """

    history: History
    rewards: NDArray[Any]
    terminated: bool


def play(game: StochasticGame | POSG, policies: Policies, generator: np.random.Generator, *, horizon: int) -> Episode:
    """Play one episode, from a first state drawn from mu until a terminal state or the horizon.

    Draws are made in this order: the first state; then at each time every agent's observation, every agent's action,
    and the next state. In a StochasticGame every agent observes the state, which needs no draw.

    Args:
        game: the game.
        policies: one policy per agent. A policy is a function of the agent's own observations o_i^0, .., o_i^t (a tuple
            of integers) that returns the probabilities of its actions; in a StochasticGame it may also be an array
            [S, A_i], a distribution over actions for each state.
        generator: the source of all draws.
        horizon: the greatest number of steps, positive.

    Raises:
        InputError: not one policy per agent, an array or an answer that does not hold one distribution over the agent's
            actions, an array in a POSG, or a horizon that is no positive integer.
    """
    if isinstance(horizon, bool) or horizon < 1:
        raise InputError(f"horizon is {horizon}: an episode needs at least one step")
    arrays = game.game if isinstance(game, POSG) else game
    choices = _checked_policies(game, arrays, policies)
    states = [_draw(arrays.initial, generator)]
    observations = [_observe(game, None, states[-1], generator)]
    actions: list[JointAction] = []
    rewards: list[NDArray[Any]] = []
    while len(actions) < horizon and not arrays.terminal[states[-1]]:
        action = tuple(_draw(choose(observations), generator) for choose in choices)
        row: tuple[Any, ...] = (states[-1], *action)
        outcome = _draw(arrays.probabilities[row], generator)
        states.append(int(arrays.successors[(*row, outcome)]))
        observations.append(_observe(game, action, states[-1], generator))
        actions.append(action)
        rewards.append(arrays.rewards[:, *row, outcome])
    history = History(tuple(states), tuple(observations), tuple(actions))
    return Episode(history, np.stack(rewards), bool(arrays.terminal[states[-1]]))


def discounted_return(rewards: NDArray[Any], gamma: object) -> NDArray[Any]:
    """Return every agent's discounted return: the sum over t of gamma^t r_i^t, shape [n].

    Args:
        rewards: shape [T, n], exact or float64.
        gamma: the discount in [0, 1]; exact rewards with an exact gamma give an exact return.

    Raises:
        InputError: gamma is no discount.
    """
    discount = checked_gamma(gamma)
    total: NDArray[Any] = 0 * rewards[0]
    for reward in rewards[::-1]:
        total = reward + discount * total
    return total


def _checked_policies(game: StochasticGame | POSG, arrays: StochasticGame, policies: Policies) -> list[Choice]:
    """Return, per agent, the function from the joint observations so far to checked probabilities."""
    if not isinstance(policies, list | tuple) or len(policies) != arrays.n_agents:
        raise InputError(f"policies need a list with one policy for each of the {arrays.n_agents} agents")
    return [
        partial(_answer, policy, i, arrays.n_actions[i])
        if callable(policy)
        else partial(_row, _checked_table(policy, i, game), i)
        for i, policy in enumerate(policies)
    ]


def _answer(policy: HistoryPolicy, i: int, n_actions: int, observations: list[JointObservation]) -> NDArray[Any]:
    """What a function says about the history of agent i's observations."""
    own = tuple(observation[i] for observation in observations)
    what = f"policies[{i}]({own})"
    probabilities = number_array(policy(own), what)
    if probabilities.shape != (n_actions,):
        raise InputError(
            f"{what} has shape {probabilities.shape}: agent {i} needs probabilities of {n_actions} actions"
        )
    check_distributions(probabilities, what)
    return probabilities


def _row(table: NDArray[Any], i: int, observations: list[JointObservation]) -> NDArray[Any]:
    """What an array says about the state, which is agent i's last observation."""
    row: NDArray[Any] = table[observations[-1][i]]
    return row


def _checked_table(policy: object, i: int, game: StochasticGame | POSG) -> NDArray[Any]:
    if isinstance(game, POSG):
        raise InputError(
            f"policies[{i}] is an array over states, which agent {i} of a POSG does not observe: hand over a function "
            "of its observations, or play posg.game"
        )
    table = number_array(policy, f"policies[{i}]")
    wanted = (game.n_states, game.n_actions[i])
    if table.shape != wanted:
        raise InputError(
            f"policies[{i}] of shape {table.shape} does not fit: it needs the shape {wanted}, a distribution over "
            f"agent {i}'s actions for each state"
        )
    check_distributions(table, f"policies[{i}]")
    return table


def _observe(
    game: StochasticGame | POSG, action: JointAction | None, state: int, generator: np.random.Generator
) -> JointObservation:
    if isinstance(game, StochasticGame):
        return (state,) * game.n_agents
    if action is None:
        return tuple(_draw(start[state], generator) for start in game.first_observation)
    return tuple(_draw(table[(*action, state)], generator) for table in game.observation)


def _draw(probabilities: NDArray[Any], generator: np.random.Generator) -> int:
    """Draw an index; never one with probability zero, however the sum is rounded."""
    cumulative = np.cumsum(probabilities.astype(np.float64))
    drawn = int(np.searchsorted(cumulative, generator.random(), side="right"))
    return min(drawn, int(np.flatnonzero(probabilities)[-1]))
