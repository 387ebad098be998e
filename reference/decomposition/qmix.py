"""QMIX: the joint value is a monotone function of the agents' utilities, its weights a function of the state.

Source: book, Algorithm 22; Rashid et al. 2018, arXiv 1803.11485.

Listing:
     1  Draw n utility networks theta_1 .. theta_n at random
     2  Make n target networks with equal parameters, theta_bar_i = theta_i
     3  Draw a hypernetwork theta_hyper at random, and its target theta_bar_hyper = theta_hyper  (E3)
     4  Create one replay buffer D for all agents
     5  For t = 0, 1, 2, ..
     6      Observe the centralised information z and o_1 .. o_n
     7      For each agent i
     8          With probability epsilon take a random action a_i
     9          Otherwise take a greedy one, argmax Q(h_i, a_i; theta_i)
    10      Apply the actions; receive the shared reward r, the next z' and the next observations
    11      Put (h, z, a, r, h', z', whether s' is terminal) into D  (E6)
    12      Draw a mini-batch of B transitions from D
    13      If s' is terminal
    14          y = r
    15      Otherwise
    16          theta_mix' = f_hyper(z'; theta_bar_hyper)  (E3)
    17          y = r + gamma f_mix(max_a' Q(h_1', a'; theta_bar_1), .., max_a' Q(h_n', a'; theta_bar_n); theta_mix')
    18      theta_mix = f_hyper(z; theta_hyper)
    19      Q(h, z, a; theta) = f_mix(Q(h_1, a_1; theta_1), .., Q(h_n, a_n; theta_n); theta_mix)
    20      L(theta) = 1/B sum (y - Q(h, z, a; theta))^2
    21      Update theta, theta_hyper included, so as to lower L
    22      Every so many updates: theta_bar_i = theta_i for each i, and theta_bar_hyper = theta_hyper  (E3)
"""
# mypy: allow-untyped-calls

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import QMIXConfig
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.learner import ValueLearner, require_common_reward
from marlspec.reference.parts.networks import EnsembleLinear, UtilityNetworks, frozen_copy, synchronise
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.utilities import available_only, chosen


class Transition(NamedTuple):
    """What the replay buffer holds; each field has leading axes [seeds, B]."""

    history: Float[Tensor, "*batch n h"]
    z: Float[Tensor, "*batch z"]
    action: Int[Tensor, "*batch n"]
    reward: Float[Tensor, "*batch"]
    next_history: Float[Tensor, "*batch n h"]
    next_available: Bool[Tensor, "*batch n A"]
    next_z: Float[Tensor, "*batch z"]
    terminated: Bool[Tensor, "*batch"]


class MixingParameters(NamedTuple):
    """The mixing network's parameters theta_mix for each row of a batch; m is its hidden width."""

    w1: Float[Tensor, "*batch n m"]
    b1: Float[Tensor, "*batch m"]
    w2: Float[Tensor, "*batch m"]
    v: Float[Tensor, "*batch"]


class Hypernetwork(nn.Module):
    """f_hyper: the mixing parameters as functions of z, with non-negative weights w1 and w2 (QMIX paper, section 4)."""

    def __init__(
        self,
        n_agents: int,
        state_size: int,
        embed: int = 32,
        seeds: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.n_agents, self.embed = n_agents, embed
        self.h1 = EnsembleLinear(seeds, state_size, n_agents * embed, device)
        self.b1 = EnsembleLinear(seeds, state_size, embed, device)
        self.h2 = EnsembleLinear(seeds, state_size, embed, device)
        self.v_hidden = EnsembleLinear(seeds, state_size, embed, device)
        self.v_out = EnsembleLinear(seeds, embed, 1, device)

    def forward(self, z: Float[Tensor, "*seeds B z"]) -> MixingParameters:
        """Return theta_mix for every row of z."""
        return MixingParameters(  # 16, 18
            w1=self.h1(z).abs().view(*z.shape[:-1], self.n_agents, self.embed),
            b1=self.b1(z),
            w2=self.h2(z).abs(),
            v=self.v_out(torch.relu(self.v_hidden(z))).squeeze(-1),
        )


def mix(utilities: Float[Tensor, "*batch n"], theta_mix: MixingParameters) -> Float[Tensor, "*batch"]:
    """Return Q_tot = ELU(q w1 + b1) w2 + v from one utility of each agent."""
    hidden = nn.functional.elu((utilities.unsqueeze(-1) * theta_mix.w1).sum(-2) + theta_mix.b1)  # 17, 19
    return (hidden * theta_mix.w2).sum(-1) + theta_mix.v  # 17, 19


def target(
    reward: Float[Tensor, "*batch"],
    terminated: Bool[Tensor, "*batch"],
    next_utilities: Float[Tensor, "*batch n A"],
    next_theta_mix: MixingParameters,
    gamma: float,
) -> Float[Tensor, "*batch"]:
    """Return the targets y; unavailable actions have utility minus infinity, and values after the end are ignored."""
    return torch.where(terminated, reward, reward + gamma * mix(next_utilities.amax(-1), next_theta_mix))  # 13-15, 17


def loss(y: Float[Tensor, "*batch B"], value: Float[Tensor, "*batch B"]) -> Float[Tensor, "*batch"]:
    """Return the mean squared error over the mini-batch."""
    return (y - value).square().mean(-1)  # 20


class QMIX(ValueLearner):
    """QMIX in training; see Learner for seeds, histories, saving and resuming."""

    config_type = QMIXConfig

    def __init__(self, game: BatchedGame[Any], config: QMIXConfig) -> None:
        """Initialise; InputError for a game whose agents' rewards differ."""
        super().__init__(game, config)
        require_common_reward(game, "QMIX")
        n, h, A, z = game.n_agents, game.observation_size, game.n_actions, game.state_size
        self.theta = UtilityNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta_bar = frozen_copy(self.theta)  # 2
        self.theta_hyper = Hypernetwork(n, z, config.embed, (config.seeds,), self.device)  # 3
        self.theta_bar_hyper = frozen_copy(self.theta_hyper)  # 3 (E3)
        learned = [*self.theta.parameters(), *self.theta_hyper.parameters()]
        self.optimiser = torch.optim.Adam(learned, config.learning_rate, fused=True)
        example = Transition(
            history=torch.empty(n, h),
            z=torch.empty(z),
            action=torch.empty(n, dtype=torch.int64),
            reward=torch.empty(()),
            next_history=torch.empty(n, h),
            next_available=torch.empty(n, A, dtype=torch.bool),
            next_z=torch.empty(z),
            terminated=torch.empty((), dtype=torch.bool),
        )
        self.replay: ReplayBuffer[Transition] = ReplayBuffer(config.capacity, example, config.seeds, self.device)  # 4

    def step(self) -> None:  # 5
        """Make one time step of every copy and one update."""
        state = self.game_state
        z, history, available = self.centralized(state), self.history(state), self.available(state)  # 6
        with torch.no_grad():
            action = epsilon_greedy(self.theta(history), available, self.epsilon(self.t))  # 7-9
        next_state, rewards, terminated = self.apply_actions(action)  # 10
        transition = Transition(  # 11 (E6)
            history=history,
            z=z,
            action=action,
            reward=rewards[..., 0],  # equal for all agents
            next_history=self.history(next_state),
            next_available=self.available(next_state),
            next_z=self.centralized(next_state),
            terminated=terminated,
        )
        self.replay.store(transition)  # 11
        self.learn(self.replay.sample(self.config.batch_size))  # 12
        self.t += 1

    def learn(self, batch: Transition) -> Float[Tensor, " seeds"]:
        """Make one update on a batch [seeds, B, ..], and return each seed's loss before it."""
        y = target(  # 13-17
            batch.reward,
            batch.terminated,
            available_only(self.theta_bar(batch.next_history), batch.next_available),
            self.theta_bar_hyper(batch.next_z),  # 16 (E3)
            self.config.gamma,
        )
        losses = loss(y, self.value(batch))  # 18-20
        self.optimiser.zero_grad()  # 21
        losses.sum().backward()  # 21
        self.optimiser.step()  # 21
        self.updates += 1  # 22
        if self.updates % self.config.target_interval == 0:  # 22
            synchronise(self.theta_bar, self.theta)  # 22
            synchronise(self.theta_bar_hyper, self.theta_hyper)  # 22 (E3)
        return losses.detach()

    def value(self, batch: Transition) -> Float[Tensor, "seeds B"]:
        """Return Q_tot of the batch's joint actions."""
        theta_mix = self.theta_hyper(batch.z)  # 18
        return mix(chosen(self.theta(batch.history), batch.action), theta_mix)  # 19
