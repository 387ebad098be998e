"""Games on a device: K parallel copies, stepped as functions of a state of tensors."""

from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame, as_staged

State = TypeVar("State")


@runtime_checkable
class BatchedGame(Protocol[State]):
    """What the deep algorithms ask of a game: K copies on one device, functional, without resets of its own.

    The state is a NamedTuple of tensors whose first axis is K. Agents with fewer actions or shorter observations than
    the others are padded; available() masks the padding. No method loops over K in Python, and none but reset() may
    move anything between host and device.

    Two things more a game may have. action_counts: the number of actions of each agent, where they differ.
    restart(state, finished) -> state: the state in which the finished copies [K] are fresh, for a game such as
    pettingzoo.BatchedParallelEnv whose other copies would not outlive a reset().

    Attributes:
        name: what the field calls the game.
        n_agents: number of agents n.
        n_actions: the largest number of actions A of any agent.
        observation_size: length o of an observation.
        state_size: length z of the centralised information.
        common_reward: whether all agents always receive the same reward.
    """

    name: str
    n_agents: int
    n_actions: int
    observation_size: int
    state_size: int
    common_reward: bool

    def reset(self, K: int) -> State:
        """Return the state of K fresh copies."""
        ...

    def step(
        self, state: State, actions: Int[Tensor, "K n"]
    ) -> tuple[State, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Return the next state, the rewards [K, n], and which copies terminated and which were truncated [K]."""
        ...

    def observe(self, state: State) -> Float[Tensor, "K n o"]:
        """Return every agent's observation [K, n, o]."""
        ...

    def centralized(self, state: State) -> Float[Tensor, "K z"]:
        """Return the centralised information [K, z]."""
        ...

    def available(self, state: State) -> Bool[Tensor, "K n A"]:
        """Return which actions each agent may take [K, n, A]."""
        ...


class StagedState(NamedTuple):
    """The stage of each copy [K], int64; the number of stages S marks a copy whose episode has ended."""

    stage: Int[Tensor, " K"]


class BatchedStagedGame:
    """K copies of a staged or normal-form game on one device (BatchedGame).

    Every agent observes the stage as a one-hot vector of length S, which for a normal-form game is the constant 1; the
    centralised information is the same. After the end of its episode a copy observes zeros, stays where it is, pays 0
    and reports terminated. Nothing is ever truncated.
    """

    def __init__(
        self,
        game: StagedGame | NormalFormGame,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Put a game's tables on a device; payoffs are rounded to dtype."""
        staged = as_staged(game) if isinstance(game, NormalFormGame) else game
        self.game = staged
        self.device = torch.device(device)
        self.name = staged.name
        self.n_agents = staged.n_agents
        self.n_actions = max(staged.n_actions)
        self.action_counts = staged.n_actions
        self.observation_size = self.state_size = staged.n_stages
        self.common_reward = staged.is_common_reward
        to: dict[str, Any] = {"device": self.device}
        self._payoffs = _payoff_table(staged).to(dtype=dtype, **to)
        self._successors = _successor_table(staged).to(**to)
        self._strides = torch.tensor(_strides(staged.n_actions), **to)
        self._counts = torch.tensor(staged.n_actions, **to)
        self._available = torch.arange(self.n_actions, **to) < self._counts[:, None]
        self._one_hot = torch.eye(staged.n_stages + 1, staged.n_stages, dtype=dtype, **to)

    def reset(self, K: int) -> StagedState:
        """Return the state of K fresh copies, all in stage 0."""
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        return StagedState(torch.zeros(K, dtype=torch.int64, device=self.device))

    def step(
        self, state: StagedState, actions: Int[Tensor, "K n"]
    ) -> tuple[StagedState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy.

        An action that is not available pays every agent of its copy NaN and ends the episode: raising would need a
        transfer to the host.
        """
        legal = ((actions >= 0) & (actions < self._counts)).all(-1)
        joint = torch.where(legal, (actions * self._strides).sum(-1), self._payoffs.shape[1] - 1)
        rewards = self._payoffs[state.stage, joint]
        stage = self._successors[state.stage, joint]
        terminated = stage == self.game.n_stages
        return StagedState(stage), rewards, terminated, torch.zeros_like(terminated)

    def observe(self, state: StagedState) -> Float[Tensor, "K n o"]:
        """Return the one-hot stage for every agent [K, n, S]; zeros after the end."""
        return self._one_hot[state.stage][:, None].expand(-1, self.n_agents, -1)

    def centralized(self, state: StagedState) -> Float[Tensor, "K z"]:
        """Return the one-hot stage [K, S]; zeros after the end."""
        return self._one_hot[state.stage]

    def available(self, state: StagedState) -> Bool[Tensor, "K n A"]:
        """Return which actions exist [K, n, A]: all but the padding of agents with fewer actions than the others."""
        return self._available.expand(state.stage.shape[0], -1, -1)


def _strides(n_actions: tuple[int, ...]) -> list[int]:
    """How far one action of each agent moves the index into the flattened joint actions."""
    strides = [1]
    for count in reversed(n_actions[1:]):
        strides.insert(0, strides[0] * count)
    return strides


def _payoff_table(game: StagedGame) -> Tensor:
    """Payoffs [S + 1, J + 1, n]: last row for ended episodes (0), last column for unavailable actions (NaN)."""
    n_joint = torch.Size(game.n_actions).numel()
    table = torch.zeros(game.n_stages + 1, n_joint + 1, game.n_agents, dtype=torch.float64)
    for s, stage in enumerate(game.stages):
        table[s, :-1] = torch.tensor(stage.as_float64().payoffs).flatten(1).T
    table[:, -1] = torch.nan
    return table


def _successor_table(game: StagedGame) -> Tensor:
    """Next stages [S + 1, J + 1], with S for the end of the episode."""
    n_joint = torch.Size(game.n_actions).numel()
    table = torch.full((game.n_stages + 1, n_joint + 1), game.n_stages)
    for s, successors in enumerate(game.transitions):
        flat = torch.tensor(successors).flatten()
        table[s, :-1] = torch.where(flat == TERMINAL, game.n_stages, flat)
    return table
