"""Independent deep Q-networks (IDQN): each agent learns its own utilities from its own rewards, as if it were alone.

Source: book, Algorithm 17; lecture, Algorithm 17.

Listing:
     1  Draw n utility networks theta_1 .. theta_n at random
     2  Make n target networks with equal parameters, theta_bar_i = theta_i
     3  Create a replay buffer D_i for each agent i
     4  For t = 0, 1, 2, ..
     5      Observe o_1 .. o_n
     6      For each agent i
     7          With probability epsilon take a random action a_i
     8          Otherwise take a greedy one, argmax Q(h_i, a_i; theta_i)
     9      Apply the actions; receive the rewards r_1 .. r_n and the next observations
    10      For each agent i
    11          Put (h_i, a_i, r_i, h_i', whether s' is terminal) into D_i  (E6)
    12          Draw a mini-batch of B transitions from D_i
    13          If s' is terminal
    14              y_i = r_i
    15          Otherwise
    16              y_i = r_i + gamma max_a' Q(h_i', a'; theta_bar_i)
    17          L(theta_i) = 1/B sum (y_i - Q(h_i, a_i; theta_i))^2
    18          Update theta_i so as to lower L(theta_i)
    19          Every so many updates: theta_bar_i = theta_i
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import Config
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.learner import ValueLearner
from marlspec.reference.parts.networks import UtilityNetworks, frozen_copy, synchronise
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.utilities import available_only, chosen


class Transition(NamedTuple):
    """One transition of each agent; each field has leading axes [seeds, B].

    Row k of agent 1's mini-batch and row k of agent 2's are different time steps, so each has a flag of its own. The
    replay buffer holds one agent's transitions: fields without the axis n.
    """

    history: Float[Tensor, "*batch n h"]
    action: Int[Tensor, "*batch n"]
    rewards: Float[Tensor, "*batch n"]
    next_history: Float[Tensor, "*batch n h"]
    next_available: Bool[Tensor, "*batch n A"]
    terminated: Bool[Tensor, "*batch n"]


def apart(transition: Transition) -> Transition:
    """Return what goes into each agent's own buffer: from fields [seeds, K, n, ..] to [seeds * n, K, ..]."""
    return Transition(*(field.transpose(1, 2).flatten(0, 1) for field in transition))  # 10-11


def side_by_side(batches: Transition, n: int) -> Transition:
    """Return the agents' own mini-batches as one: from fields [seeds * n, B, ..] to [seeds, B, n, ..]."""
    return Transition(*(field.unflatten(0, (-1, n)).transpose(1, 2) for field in batches))  # 10, 12


def target(
    rewards: Float[Tensor, "*batch n"],
    terminated: Bool[Tensor, "*batch n"],
    next_utilities: Float[Tensor, "*batch n A"],
    gamma: float,
) -> Float[Tensor, "*batch n"]:
    """Return the targets y; unavailable actions have utility minus infinity, and values after the end are ignored."""
    return torch.where(terminated, rewards, rewards + gamma * next_utilities.amax(-1))  # 13-16


def loss(y: Float[Tensor, "*batch B n"], values: Float[Tensor, "*batch B n"]) -> Float[Tensor, "*batch n"]:
    """Return each agent's mean squared error over its mini-batch."""
    return (y - values).square().mean(-2)  # 17


class IDQN(ValueLearner):
    """Independent DQN in training; see Learner for seeds, histories, saving and resuming."""

    def __init__(self, game: BatchedGame[Any], config: Config) -> None:
        super().__init__(game, config)
        n, h, A = game.n_agents, game.observation_size, game.n_actions
        self.theta = UtilityNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta_bar = frozen_copy(self.theta)  # 2
        self.optimiser = torch.optim.Adam(self.theta.parameters(), config.learning_rate, fused=True)
        example = Transition(
            history=torch.empty(h),
            action=torch.empty((), dtype=torch.int64),
            rewards=torch.empty(()),
            next_history=torch.empty(h),
            next_available=torch.empty(A, dtype=torch.bool),
            terminated=torch.empty((), dtype=torch.bool),
        )
        self.replay = ReplayBuffer(config.capacity, example, config.seeds * n, self.device)  # 3

    def step(self) -> None:  # 4
        """Make one time step of every copy and one update."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 5
        with torch.no_grad():
            action = epsilon_greedy(self.theta(history), available, self.epsilon(self.t))  # 6-8
        next_state, rewards, terminated = self.apply_actions(action)  # 9
        transition = Transition(  # 10-11 (E6)
            history=history,
            action=action,
            rewards=rewards,
            next_history=self.history(next_state),
            next_available=self.available(next_state),
            terminated=terminated.unsqueeze(-1).expand_as(rewards),
        )
        self.replay.store(apart(transition))  # 11
        self.learn(side_by_side(self.replay.sample(self.config.batch_size), self.game.n_agents))  # 12
        self.t += 1

    def learn(self, batch: Transition) -> Float[Tensor, " seeds"]:
        """Make one update on a batch [seeds, B, ..], and return each seed's losses before it, summed."""
        y = target(  # 13-16
            batch.rewards,
            batch.terminated,
            available_only(self.theta_bar(batch.next_history), batch.next_available),
            self.config.gamma,
        )
        losses = loss(y, self.value(batch)).sum(-1)  # 17
        self.optimiser.zero_grad()  # 18
        losses.sum().backward()  # 18
        self.optimiser.step()  # 18
        self.updates += 1  # 19
        if self.updates % self.config.target_interval == 0:  # 19
            synchronise(self.theta_bar, self.theta)  # 19
        return losses.detach()

    def value(self, batch: Transition) -> Float[Tensor, "seeds B n"]:
        """Return each agent's utility of its action."""
        return chosen(self.theta(batch.history), batch.action)  # 17
