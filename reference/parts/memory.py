"""Histories by a recurrent network: what each agent remembers, carried along with the state of the game."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.utilities import one_hot


class MemoryState(NamedTuple):
    """Where each copy stands: the state of the game inside, and what each agent knows of the past.

    Attributes:
        inner: the state of the game inside.
        last_action: the action that each agent took last [K, n, A], one-hot; zeros at the start.
        memory: what its network remembers of the time steps before this one [K, n, m]; zeros at the start.
    """

    inner: Any
    last_action: Float[Tensor, "K n A"]
    memory: Float[Tensor, "K n m"]


Remember = Callable[[Float[Tensor, "K n h"], Float[Tensor, "K n m"]], Float[Tensor, "K n m"]]


class WithMemory:
    """A game on a device in whose state each agent remembers its past by a recurrent network (BatchedGame).

    An agent observes what it does in the game inside, and behind that its own last action (QMIX and COMA papers).
    Since the memory is part of the state, a copy that starts afresh remembers nothing, greedy evaluation has memories
    of its own, and a saved game state holds them. All else is as in the game inside.
    """

    def __init__(self, game: BatchedGame[Any], n_memory: int, remember: Remember) -> None:
        """Put memories around a game.

        Args:
            game: the game inside.
            n_memory: how many numbers an agent remembers.
            remember: from observations and memories of K copies to the memories that go on from there.
        """
        self.game = game
        self.n_memory = n_memory
        self.remember = remember
        self.name = game.name
        self.n_agents = game.n_agents
        self.n_actions = game.n_actions
        self.action_counts = getattr(game, "action_counts", (game.n_actions,) * game.n_agents)
        self.observation_size = game.observation_size + game.n_actions
        self.state_size = game.state_size
        self.common_reward = game.common_reward
        if hasattr(game, "restart"):
            self.restart = self._restart

    def reset(self, K: int) -> MemoryState:
        """Return the state of K fresh copies, in which nothing is remembered."""
        inner = self.game.reset(K)
        nothing = self.game.observe(inner).new_zeros(())
        n = self.n_agents
        return MemoryState(inner, nothing.repeat(K, n, self.n_actions), nothing.repeat(K, n, self.n_memory))

    def step(
        self, state: MemoryState, actions: Int[Tensor, "K n"]
    ) -> tuple[MemoryState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy, and remember what was observed before it."""
        memory = self.remember(self.observe(state), state.memory)
        inner, rewards, terminated, truncated = self.game.step(state.inner, actions)
        last_action = one_hot(actions, self.n_actions, state.last_action.dtype)
        return MemoryState(inner, last_action, memory), rewards, terminated, truncated

    def observe(self, state: MemoryState) -> Float[Tensor, "K n h"]:
        """Return every agent's observation and last action, as one vector of length o + A."""
        return torch.cat([self.game.observe(state.inner), state.last_action], -1)

    def centralized(self, state: MemoryState) -> Float[Tensor, "K z"]:
        """Return the centralised information of the game inside."""
        return self.game.centralized(state.inner)

    def available(self, state: MemoryState) -> Bool[Tensor, "K n A"]:
        """Return which actions each agent may take."""
        return self.game.available(state.inner)

    def _restart(self, state: MemoryState, finished: Bool[Tensor, " K"]) -> MemoryState:
        """Start the finished copies afresh as the game inside does it."""
        inner = self.game.restart(state.inner, finished)  # type: ignore[attr-defined]
        goes_on = ~finished[:, None, None]
        return MemoryState(inner, state.last_action * goes_on, state.memory * goes_on)
