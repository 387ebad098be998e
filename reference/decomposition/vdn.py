"""Value decomposition networks (VDN): the joint value is the sum of the agents' utilities.

Source: book, Algorithm 21; Sunehag et al. 2018, arXiv 1706.05296.

Listing:
     1  Draw n utility networks theta_1 .. theta_n at random
     2  Make n target networks with equal parameters, theta_bar_i = theta_i
     3  Create one replay buffer D for all agents
     4  For t = 0, 1, 2, ..
     5      Observe o_1 .. o_n
     6      For each agent i
     7          With probability epsilon take a random action a_i
     8          Otherwise take a greedy one, argmax Q(h_i, a_i; theta_i)
     9      Apply the actions; receive the shared reward r and the next observations
    10      Put (h, a, r, h', whether s' is terminal) into D  (E6)
    11      Draw a mini-batch of B transitions from D
    12      If s' is terminal
    13          y = r
    14      Otherwise
    15          y = r + gamma sum_i max_a' Q(h_i', a'; theta_bar_i)
    16      L(theta) = 1/B sum (y - sum_i Q(h_i, a_i; theta_i))^2
    17      Update theta so as to lower L
    18      Every so many updates: theta_bar_i = theta_i for each i
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import Config
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.learner import ValueLearner, require_common_reward
from marlspec.reference.parts.networks import UtilityNetworks, frozen_copy, synchronise
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.utilities import available_only, chosen


class Transition(NamedTuple):
    """What the replay buffer holds; each field has leading axes [seeds, B]."""

    history: Float[Tensor, "*batch n h"]
    action: Int[Tensor, "*batch n"]
    reward: Float[Tensor, "*batch"]
    next_history: Float[Tensor, "*batch n h"]
    next_available: Bool[Tensor, "*batch n A"]
    terminated: Bool[Tensor, "*batch"]


def mix(utilities: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """Return Q_tot = sum_i Q_i from one utility of each agent."""
    return utilities.sum(-1)  # 15-16


def target(
    reward: Float[Tensor, "*batch"],
    terminated: Bool[Tensor, "*batch"],
    next_utilities: Float[Tensor, "*batch n A"],
    gamma: float,
) -> Float[Tensor, "*batch"]:
    """Return the targets y; unavailable actions have utility minus infinity, and values after the end are ignored."""
    return torch.where(terminated, reward, reward + gamma * mix(next_utilities.amax(-1)))  # 12-15


def loss(y: Float[Tensor, "*batch B"], value: Float[Tensor, "*batch B"]) -> Float[Tensor, "*batch"]:
    """Return the mean squared error over the mini-batch."""
    return (y - value).square().mean(-1)  # 16


class VDN(ValueLearner):
    """VDN in training; see Learner for seeds, histories, saving and resuming."""

    def __init__(self, game: BatchedGame[Any], config: Config) -> None:
        """Initialise; InputError for a game whose agents' rewards differ."""
        super().__init__(game, config)
        require_common_reward(game, "VDN")
        n, h, A = game.n_agents, game.observation_size, game.n_actions
        self.theta = UtilityNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta_bar = frozen_copy(self.theta)  # 2
        self.optimiser = torch.optim.Adam(self.theta.parameters(), config.learning_rate, fused=True)
        example = Transition(
            history=torch.empty(n, h),
            action=torch.empty(n, dtype=torch.int64),
            reward=torch.empty(()),
            next_history=torch.empty(n, h),
            next_available=torch.empty(n, A, dtype=torch.bool),
            terminated=torch.empty((), dtype=torch.bool),
        )
        self.replay: ReplayBuffer[Transition] = ReplayBuffer(config.capacity, example, config.seeds, self.device)  # 3

    def step(self) -> None:  # 4
        """Make one time step of every copy and one update."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 5
        with torch.no_grad():
            action = epsilon_greedy(self.theta(history), available, self.epsilon(self.t))  # 6-8
        next_state, rewards, terminated = self.apply_actions(action)  # 9
        transition = Transition(  # 10 (E6)
            history=history,
            action=action,
            reward=rewards[..., 0],  # equal for all agents
            next_history=self.history(next_state),
            next_available=self.available(next_state),
            terminated=terminated,
        )
        self.replay.store(transition)  # 10
        self.learn(self.replay.sample(self.config.batch_size))  # 11
        self.t += 1

    def learn(self, batch: Transition) -> Float[Tensor, " seeds"]:
        """Make one update on a batch [seeds, B, ..], and return each seed's loss before it."""
        y = target(  # 12-15
            batch.reward,
            batch.terminated,
            available_only(self.theta_bar(batch.next_history), batch.next_available),
            self.config.gamma,
        )
        losses = loss(y, self.value(batch))  # 16
        self.optimiser.zero_grad()  # 17
        losses.sum().backward()  # 17
        self.optimiser.step()  # 17
        self.updates += 1  # 18
        if self.updates % self.config.target_interval == 0:  # 18
            synchronise(self.theta_bar, self.theta)  # 18
        return losses.detach()

    def value(self, batch: Transition) -> Float[Tensor, "seeds B"]:
        """Return Q_tot of the batch's joint actions."""
        return mix(chosen(self.theta(batch.history), batch.action))  # 16
