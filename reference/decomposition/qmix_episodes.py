"""QMIX with replay of whole episodes: what is stored, drawn and weighed is an episode, not a transition.

Source: listing "QMIX Training"; Rashid et al. 2018, arXiv 1803.11485.

Listing:
     1  Draw utility networks theta_i and a hypernetwork theta_hyper at random; make targets equal to them  (E18)
     2  Create one replay buffer D of episodes for all agents
     3  While t < T, from t = 0 on
     4      Begin an episode that holds nothing yet
     5      While it is not over
     6          Observe the state z and o_1 .. o_n
     7          For each agent i
     8              With probability epsilon take a random action a_i
     9              Otherwise take a greedy one, argmax Q(h_i, a_i; theta_i)
    10          The joint action is a = (a_1, .., a_n)
    11          Apply it
    12          Receive the shared reward r, whether s' is terminal (done), the next z' and the next observations
    13          Put (h, z, a, r, h', z', done) into the episode  (E18)
    14          t = t + 1  (E18)
    15      Put the episode into D
    16      If t is a training step: once D holds as many episodes as a batch
    17          Draw a batch of |B| episodes b from D, with all their time steps t = 1 .. L^b  (E18)
    18          y = r + gamma (1 - done) max_a f_mix(Q(h_1', a_1; theta_bar_1), ..; f_hyper(z'; theta_bar_hyper))  (E17)
    19          Lower 1/|B| sum_b 1/L^b sum_t (y - f_mix(Q(h_1, a_1; theta_1), ..; f_hyper(z; theta_hyper)))^2
    20          Every so many updates: theta_bar_i = theta_i for each i, and theta_bar_hyper = theta_hyper
    21          The update is complete
    22      Go on with the next episode
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.decomposition.qmix import Hypernetwork, mix, target
from marlspec.reference.parts.config import QMIXEpisodesConfig
from marlspec.reference.parts.learner import ValueLearner, require_common_reward
from marlspec.reference.parts.networks import UtilityNetworks, frozen_copy, synchronise
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.utilities import available_only, chosen


class Episodes(NamedTuple):
    """What the replay buffer holds; each field has leading axes [seeds, B, time step].

    All have as many time steps as the longest may have: filled says which come before an episode's end.
    """

    history: Float[Tensor, "*batch n h"]
    z: Float[Tensor, "*batch z"]
    action: Int[Tensor, "*batch n"]
    reward: Float[Tensor, "*batch"]
    next_history: Float[Tensor, "*batch n h"]
    next_available: Bool[Tensor, "*batch n A"]
    next_z: Float[Tensor, "*batch z"]
    terminated: Bool[Tensor, "*batch"]
    filled: Bool[Tensor, "*batch"]


def loss(
    y: Float[Tensor, "*batch B L"], value: Float[Tensor, "*batch B L"], filled: Bool[Tensor, "*batch B L"]
) -> Float[Tensor, "*batch"]:
    """Return the mean over the episodes of each one's mean squared error over its own time steps."""
    squares = torch.where(filled, y - value, 0.0).square()  # 17 (E18)
    return (squares.sum(-1) / filled.sum(-1)).mean(-1)  # 19


class QMIXEpisodes(ValueLearner):
    """QMIX on episodes in training; see Learner for seeds, histories, saving and resuming.

    An episode ends where the game terminates or is truncated, and after config.horizon time steps at the latest; only
    termination keeps its last target from bootstrapping. K copies play one episode each before an update.
    """

    config_type = QMIXEpisodesConfig

    def __init__(self, game: BatchedGame[Any], config: QMIXEpisodesConfig) -> None:
        """Initialise; InputError for a game whose agents' rewards differ."""
        super().__init__(game, config)
        require_common_reward(game, "QMIX")
        self.config: QMIXEpisodesConfig = config
        n, h, A, z = game.n_agents, self.game.observation_size, game.n_actions, game.state_size
        kind = {"share": config.share, "recurrent": config.recurrent}
        self.theta = UtilityNetworks(n, h, A, config.hidden, (config.seeds,), self.device, **kind)  # 1
        self.theta_bar = frozen_copy(self.theta)  # 1 (E18)
        self.theta_hyper = Hypernetwork(n, z, config.embed, (config.seeds,), self.device)  # 1
        self.theta_bar_hyper = frozen_copy(self.theta_hyper)  # 1 (E18)
        learned = [*self.theta.parameters(), *self.theta_hyper.parameters()]
        self.optimiser = torch.optim.Adam(learned, config.learning_rate, fused=True)
        L = config.horizon
        example = Episodes(
            history=torch.empty(L, n, h),
            z=torch.empty(L, z),
            action=torch.empty(L, n, dtype=torch.int64),
            reward=torch.empty(L),
            next_history=torch.empty(L, n, h),
            next_available=torch.empty(L, n, A, dtype=torch.bool),
            next_z=torch.empty(L, z),
            terminated=torch.empty(L, dtype=torch.bool),
            filled=torch.empty(L, dtype=torch.bool),
        )
        self.replay: ReplayBuffer[Episodes] = ReplayBuffer(config.capacity, example, config.seeds, self.device)  # 2
        # A graph of recurrent networks would hold each time step of an episode.
        self.graphs = ("time_step",) if config.recurrent else ("time_step", "learn")

    def step(self) -> None:  # 3
        """Play one episode in every copy, and make one update once there are episodes enough."""
        self.game_state = self.game.reset(self.config.seeds * self.config.copies)  # 4
        filled = torch.ones(self.config.seeds, self.config.copies, dtype=torch.bool, device=self.device)
        episode = []  # 4
        for _ in range(self.config.horizon):  # 5
            transition, filled = self.time_step(filled)  # 6-13
            episode.append(transition)  # 13
            self.t += 1  # 14 (E18)
        self.replay.store(Episodes(*(torch.stack(field, 2) for field in zip(*episode, strict=True))))  # 15
        if self.replay.size >= self.config.batch_size:  # 16
            self.learn(self.replay.sample(self.config.batch_size))  # 17

    def time_step(self, filled: Bool[Tensor, "seeds K"]) -> tuple[Episodes, Bool[Tensor, "seeds K"]]:
        """Play one time step of every copy; return it, fields [seeds, K, ..], and which episodes are not over then."""
        state = self.game_state
        z, history = self.centralized(state), self.history(state)  # 6
        action = self.act(state)  # 7-10
        next_state, rewards, terminated, truncated = self.play(action)  # 11-12
        transition = Episodes(  # 13 (E18)
            history=history,
            z=z,
            action=action,
            reward=rewards[..., 0],  # equal for all agents
            next_history=self.history(next_state),
            next_available=self.available(next_state),
            next_z=self.centralized(next_state),
            terminated=terminated,
            filled=filled,
        )
        return transition, filled & ~(terminated | truncated)

    def learn(self, batch: Episodes) -> Float[Tensor, " seeds"]:
        """Make one update on a batch [seeds, B, time step, ..], and return each seed's loss before it."""
        steps = Episodes(*(field.flatten(1, 2) for field in batch))
        next_utilities = self.theta_bar.ahead(batch.history, batch.next_history).flatten(1, 2)  # 18 (E17)
        y = target(  # 18
            steps.reward,
            steps.terminated,
            available_only(next_utilities, steps.next_available),  # 18 (E17)
            self.theta_bar_hyper(steps.next_z),
            self.config.gamma,
        )
        losses = loss(y.view_as(batch.reward), self.value(batch), batch.filled)  # 19
        self.optimiser.zero_grad()  # 19
        losses.sum().backward()  # 19
        self.optimiser.step()  # 19
        self.updates += 1  # 20
        if self.updates % self.config.target_interval == 0:  # 20
            synchronise(self.theta_bar, self.theta)  # 20
            synchronise(self.theta_bar_hyper, self.theta_hyper)  # 20
        return losses.detach()  # 21-22

    def value(self, batch: Episodes) -> Float[Tensor, "seeds B L"]:
        """Return Q_tot of the joint actions of episodes."""
        utilities = chosen(self.theta.along(batch.history), batch.action)  # 19
        theta_mix = self.theta_hyper(batch.z.flatten(1, 2))  # 19
        return mix(utilities.flatten(1, 2), theta_mix).view_as(batch.reward)  # 19
