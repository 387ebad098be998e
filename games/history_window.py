"""Histories as a window of the last L observations, around any game on a device."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame


class WindowState(NamedTuple):
    """Where each copy stands: the state of the game inside, and the window that each agent remembers.

    Attributes:
        inner: the state of the game inside.
        window: the last L observations [K, n, L, o + 1], the latest last, each with a 1 behind it; zeros before the
            first.
    """

    inner: Any
    window: Float[Tensor, "K n L o_and_1"]


class HistoryWindow:
    """A game on a device whose agents observe their last L observations (BatchedGame).

    Where no episode is longer than L steps that is the whole history of observations: the 1 behind each tells an
    observation of zeros from none at all. All else is as in the game inside.
    """

    def __init__(self, game: BatchedGame[Any], length: int) -> None:
        """Put a window of that many observations around a game.

        Raises:
            InputError: the length is no positive integer.
        """
        if isinstance(length, bool) or length < 1:
            raise InputError(f"a window of {length} observations: a positive integer is needed")
        self.game = game
        self.length = length
        self.name = game.name
        self.n_agents = game.n_agents
        self.n_actions = game.n_actions
        self.action_counts = getattr(game, "action_counts", (game.n_actions,) * game.n_agents)
        self.observation_size = length * (game.observation_size + 1)
        self.state_size = game.state_size
        self.common_reward = game.common_reward
        if hasattr(game, "restart"):
            self.restart = self._restart

    def reset(self, K: int) -> WindowState:
        """Return the state of K fresh copies, with their first observation alone in the window."""
        inner = self.game.reset(K)
        return WindowState(inner, self._first(inner))

    def step(
        self, state: WindowState, actions: Int[Tensor, "K n"]
    ) -> tuple[WindowState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy, and move the window on by one observation."""
        inner, rewards, terminated, truncated = self.game.step(state.inner, actions)
        window = torch.cat([state.window[:, :, 1:], self._latest(inner)], dim=2)
        return WindowState(inner, window), rewards, terminated, truncated

    def observe(self, state: WindowState) -> Float[Tensor, "K n h"]:
        """Return every agent's window, as one vector of length L (o + 1)."""
        return state.window.flatten(2)

    def centralized(self, state: WindowState) -> Float[Tensor, "K z"]:
        """Return the centralised information of the game inside."""
        return self.game.centralized(state.inner)

    def available(self, state: WindowState) -> Bool[Tensor, "K n A"]:
        """Return which actions each agent may take."""
        return self.game.available(state.inner)

    def _restart(self, state: WindowState, finished: Bool[Tensor, " K"]) -> WindowState:
        """Start the finished copies afresh as the game inside does it."""
        inner = self.game.restart(state.inner, finished)  # type: ignore[attr-defined]
        return WindowState(inner, torch.where(finished[:, None, None, None], self._first(inner), state.window))

    def _first(self, inner: Any) -> Float[Tensor, "K n L o_and_1"]:
        latest = self._latest(inner)
        return torch.cat([torch.zeros_like(latest).expand(-1, -1, self.length - 1, -1), latest], dim=2)

    def _latest(self, inner: Any) -> Float[Tensor, "K n 1 o_and_1"]:
        observation = self.game.observe(inner)
        return torch.cat([observation, torch.ones_like(observation[..., :1])], dim=-1).unsqueeze(2)
