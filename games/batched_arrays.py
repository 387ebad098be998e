"""Exact finite games on a device: K copies of a stochastic game or a POSG, sampled from their arrays."""

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.posg import POSG
from marlspec.games.stochastic import StochasticGame


class ArrayState(NamedTuple):
    """Where each copy stands: its state, what the agents observe of it, and the steps so far; all int64.

    The number of states S marks a copy in which an agent took an action that it does not have.
    """

    state: Int[Tensor, " K"]
    observation: Int[Tensor, "K n"]
    time: Int[Tensor, " K"]


class BatchedStochasticGame:
    """K copies of a stochastic game or a POSG on one device (BatchedGame).

    In a StochasticGame every agent observes the state as a one-hot vector of length S; in a POSG, what was drawn from
    its observation function, as a one-hot vector as long as the largest observation set. The centralised information is
    the one-hot state. Terminal states are absorbing, pay 0 and report terminated.

    All draws come from the device's default generator, in float64; a game without chance draws nothing.
    """

    def __init__(
        self,
        game: StochasticGame | POSG,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        time_limit: int | None = None,
    ) -> None:
        """Put a game's tables on a device; rewards are rounded to dtype.

        Args:
            game: the game.
            device: where the tables and all states live.
            dtype: of rewards and observations.
            time_limit: the number of steps after which a copy that has not terminated reports truncated; None for no
                limit. A game without terminal states, such as a repeated one, ends in no other way.

        Raises:
            InputError: a time limit that is no positive integer, or a reward too large for float64.
        """
        if time_limit is not None and (isinstance(time_limit, bool) or time_limit < 1):
            raise InputError(f"time_limit is {time_limit}: a positive number of steps, or None for no limit, is needed")
        self.game = game
        self.device = torch.device(device)
        self.time_limit = time_limit
        arrays = (game.game if isinstance(game, POSG) else game).as_float64()
        n_observations = game.n_observations if isinstance(game, POSG) else (arrays.n_states,)
        self.name = arrays.name
        self.n_agents = arrays.n_agents
        self.n_actions = max(arrays.n_actions)
        self.action_counts = arrays.n_actions
        self.observation_size = max(n_observations)
        self.state_size = arrays.n_states
        self.common_reward = arrays.is_common_reward
        self._n_joint = prod(arrays.n_actions)
        self._strides = self._put([prod(arrays.n_actions[i + 1 :]) for i in range(arrays.n_agents)])
        self._counts = self._put(arrays.n_actions)
        self._available = self._put(np.arange(self.n_actions)) < self._counts[:, None]
        self._successors = self._put(_successor_table(arrays))
        self._thresholds = self._put(_thresholds(_outcome_table(arrays)))
        self._rewards = self._put(_reward_table(arrays)).to(dtype)
        self._ends = self._put(np.append(arrays.terminal, True))
        self._initial = self._put(_thresholds(arrays.initial))
        self._first_state = _certain(arrays.initial)
        self._views = self._put(_view_thresholds(game)) if isinstance(game, POSG) else None
        self._one_hot_state = torch.eye(self.state_size + 1, self.state_size, dtype=dtype, device=self.device)
        self._one_hot = torch.eye(self.observation_size + 1, self.observation_size, dtype=dtype, device=self.device)

    def reset(self, K: int) -> ArrayState:
        """Return the state of K fresh copies, drawn from mu."""
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        if self._first_state is None:
            state = self._draw(self._initial.expand(K, -1))
        else:
            state = torch.full((K,), self._first_state, device=self.device)
        no_action = torch.full_like(state, self._n_joint)
        return ArrayState(state, self._observation(state, no_action), torch.zeros_like(state))

    def step(
        self, state: ArrayState, actions: Int[Tensor, "K n"]
    ) -> tuple[ArrayState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy.

        A copy that reaches a terminal state reports terminated; one that reaches the time limit elsewhere reports
        truncated. An action that is not available pays every agent of its copy NaN and ends the episode: raising would
        need a transfer to the host.
        """
        legal = ((actions >= 0) & (actions < self._counts)).all(-1)
        joint = torch.where(legal, (actions * self._strides).sum(-1), self._n_joint)
        outcome = self._outcome(state.state, joint)
        rewards = self._rewards[state.state, joint, outcome]
        after = self._successors[state.state, joint, outcome]
        time = state.time + 1
        terminated = self._ends[after]
        truncated = self._over(time) & ~terminated
        return ArrayState(after, self._observation(after, joint), time), rewards, terminated, truncated

    def observe(self, state: ArrayState) -> Float[Tensor, "K n o"]:
        """Return every agent's observation as a one-hot vector [K, n, o]."""
        return self._one_hot[state.observation]

    def centralized(self, state: ArrayState) -> Float[Tensor, "K z"]:
        """Return the one-hot state [K, S]."""
        return self._one_hot_state[state.state]

    def available(self, state: ArrayState) -> Bool[Tensor, "K n A"]:
        """Return which actions exist [K, n, A]: all but the padding of agents with fewer actions than the others."""
        return self._available.expand(state.state.shape[0], -1, -1)

    def _put(self, values: Any) -> Tensor:
        return torch.as_tensor(values).to(self.device)

    def _draw(self, thresholds: Float[Tensor, "*rows M"]) -> Int[Tensor, "*rows"]:
        """Draw an index for each row: the first whose threshold lies above a uniform number."""
        uniform = torch.rand(thresholds.shape[:-1], dtype=thresholds.dtype, device=self.device)
        return (uniform[..., None] >= thresholds).sum(-1)

    def _outcome(self, state: Int[Tensor, " K"], joint: Int[Tensor, " K"]) -> Int[Tensor, " K"]:
        if self._thresholds.shape[-1] == 1:
            return torch.zeros_like(joint)
        return self._draw(self._thresholds[state, joint])

    def _observation(self, state: Int[Tensor, " K"], joint: Int[Tensor, " K"]) -> Int[Tensor, "K n"]:
        """Draw what the agents observe of a state; joint is the number of joint actions where none came before."""
        if self._views is None:
            return state[:, None].expand(-1, self.n_agents)
        return self._draw(self._views[state, joint])

    def _over(self, time: Int[Tensor, " K"]) -> Bool[Tensor, " K"]:
        if self.time_limit is None:
            return torch.zeros_like(time, dtype=torch.bool)
        return time >= self.time_limit


def _thresholds(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulative probabilities along the last axis, from the last possible entry on infinite.

    However the sum is rounded, no impossible entry is then the first above a number in [0, 1).
    """
    table = probabilities.astype(np.float64)
    n = table.shape[-1]
    last = n - 1 - np.argmax(table[..., ::-1] > 0, axis=-1)
    return np.where(np.arange(n) < last[..., None], np.cumsum(table, axis=-1), np.inf)


def _certain(probabilities: NDArray[Any]) -> int | None:
    """The only possible entry of a distribution; None where chance decides."""
    possible = np.flatnonzero(probabilities)
    return int(possible[0]) if len(possible) == 1 else None


def _flat(table: NDArray[Any], fill: int | float) -> NDArray[Any]:
    """From [S, A_1, .., A_n, *rest] to [S + 1, J + 1, *rest], filled up with one value.

    The last row is for copies in which an agent took an action that it does not have, the last column for that action.
    """
    n_states, n_joint, *rest = table.shape
    padded = np.full((n_states + 1, n_joint + 1, *rest), fill, dtype=table.dtype)
    padded[:-1, :-1] = table
    return padded


def _joint(table: NDArray[Any]) -> NDArray[Any]:
    """Merge the axes of the agents' actions: from [S, A_1, .., A_n, M] to [S, J, M]."""
    return table.reshape(table.shape[0], -1, table.shape[-1])


def _successor_table(game: StochasticGame) -> NDArray[np.int64]:
    return _flat(_joint(game.successors), game.n_states)


def _outcome_table(game: StochasticGame) -> NDArray[np.float64]:
    return _flat(_joint(game.probabilities), 1 / game.successors.shape[-1])


def _reward_table(game: StochasticGame) -> NDArray[np.float64]:
    """Rewards [S + 1, J + 1, M, n]: NaN for the action that is not there, 0 after it."""
    table = _flat(np.stack([_joint(own) for own in game.rewards], axis=-1), 0)
    table[:, -1] = np.nan
    return table


def _view_thresholds(posg: POSG) -> NDArray[np.float64]:
    """Thresholds [S + 1, J + 1, n, o] of the agents' observations; the last joint action is none at all.

    After an action that is not there, all thresholds are passed, which leads to an observation of zeros.
    """
    game = posg.game
    table = np.full((game.n_states + 1, prod(game.n_actions) + 1, game.n_agents, max(posg.n_observations)), np.inf)
    for i, (later, first) in enumerate(zip(posg.observation, posg.first_observation, strict=True)):
        flat = later.reshape(-1, *first.shape)
        table[:-1, :-1, i, : first.shape[-1]] = _thresholds(flat).swapaxes(0, 1)
        table[:-1, -1, i, : first.shape[-1]] = _thresholds(first)
    table[-1] = -np.inf
    return table
