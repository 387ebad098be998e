"""Independent REINFORCE: each agent makes what it did more probable, by as much as came after it.

Source: book, Algorithm 18; lecture, Algorithm 18.

Listing:
     1  Draw n policy networks phi_1 .. phi_n at random
     2  For each episode
     3      For t = 0, 1, .., T - 1, the episode's last time step
     4          Observe o_1 .. o_n
     5          For each agent i
     6              Draw an action a_i^t from pi(. | h_i^t; phi_i)
     7          Apply the actions; receive the rewards r_1^t .. r_n^t and the next observations
     8      For each agent i
     9          L(phi_i) = -1/T sum_t (sum_{tau = t .. T-1} gamma^(tau-t) r_i^tau) log pi(a_i^t | h_i^t; phi_i)  (D1)
    10          Update phi_i so as to lower L(phi_i)
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import ReinforceConfig
from marlspec.reference.parts.learner import ActorLearner
from marlspec.reference.parts.networks import PolicyNetworks
from marlspec.reference.parts.policies import log_policy, log_probability


class Episodes(NamedTuple):
    """K episodes; each field has leading axes [seeds, K, time step].

    All have as many time steps as the longest may have: running says which come before an episode's end.
    """

    history: Float[Tensor, "*batch n h"]
    available: Bool[Tensor, "*batch n A"]
    action: Int[Tensor, "*batch n"]
    rewards: Float[Tensor, "*batch n"]
    running: Bool[Tensor, "*batch"]


def returns(
    rewards: Float[Tensor, "*batch T n"], running: Bool[Tensor, "*batch T"], gamma: float
) -> Float[Tensor, "*batch T n"]:
    """Return the discounted sums of the rewards from each time step to the episode's end."""
    following = torch.zeros_like(rewards[..., 0, :])
    backwards = []
    for reward in torch.where(running.unsqueeze(-1), rewards, 0.0).unbind(-2)[::-1]:
        following = reward + gamma * following  # 9
        backwards.append(following)
    return torch.stack(backwards[::-1], -2)


def loss(
    G: Float[Tensor, "*batch K T n"],
    log_probabilities: Float[Tensor, "*batch K T n"],
    running: Bool[Tensor, "*batch K T"],
) -> Float[Tensor, "*batch n"]:
    """Return each agent's loss, a mean over the episodes; each is weighted by 1 / its own length T."""
    counted = torch.where(running.unsqueeze(-1), G * log_probabilities, 0.0)
    T = running.sum(-1, keepdim=True)
    return -(counted.sum(-2) / T).mean(-2)  # 9 (D1)


class REINFORCE(ActorLearner):
    """Independent REINFORCE in training; see Learner for seeds, histories, saving and resuming.

    An episode ends where the game terminates or is truncated, and after config.horizon time steps at the latest. K
    copies play one episode each, and the losses are averaged; with K = 1 an update is the listing's.
    """

    config_type = ReinforceConfig
    graphs = ("time_step", "learn")

    def __init__(self, game: BatchedGame[Any], config: ReinforceConfig) -> None:
        super().__init__(game, config)
        self.config: ReinforceConfig = config
        n, h, A = game.n_agents, game.observation_size, game.n_actions
        self.phi = PolicyNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.optimiser = torch.optim.Adam(self.phi.parameters(), config.learning_rate, fused=True)

    def step(self) -> None:  # 2
        """Play one episode in every copy and make one update."""
        self.game_state = self.game.reset(self.config.seeds * self.config.copies)
        running = torch.ones(self.config.seeds, self.config.copies, dtype=torch.bool, device=self.device)
        steps = []
        for _ in range(self.config.horizon):  # 3
            time_step, running = self.time_step(running)  # 4-7
            steps.append(time_step)
        self.learn(Episodes(*(torch.stack(field, 2) for field in zip(*steps, strict=True))))  # 8
        self.t += self.config.horizon

    def time_step(self, running: Bool[Tensor, "seeds K"]) -> tuple[Episodes, Bool[Tensor, "seeds K"]]:
        """Play one time step of every copy; return it, fields [seeds, K, ..], and which episodes are not over then."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 4
        action = self.act(state)  # 5-6
        _, rewards, terminated, truncated = self.play(action)  # 7
        return Episodes(history, available, action, rewards, running), running & ~(terminated | truncated)

    def learn(self, batch: Episodes) -> Float[Tensor, " seeds"]:
        """Make one update on K episodes of each seed, and return each seed's losses before it, summed."""
        G = returns(batch.rewards, batch.running, self.config.gamma)  # 9
        losses = loss(G, self.log_probability(batch), batch.running).sum(-1)  # 9 (D1)
        self.optimiser.zero_grad()  # 10
        losses.sum().backward()  # 10
        self.optimiser.step()  # 10
        self.updates += 1
        return losses.detach()

    def log_probability(self, batch: Episodes) -> Float[Tensor, "seeds K T n"]:
        """Return log pi(a_i^t | h_i^t; phi_i) of the actions taken."""
        logits = self.phi(batch.history.flatten(1, 2)).unflatten(1, batch.running.shape[1:])
        return log_probability(log_policy(logits, batch.available), batch.action)  # 9
