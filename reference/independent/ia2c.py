"""Independent advantage actor-critic (IA2C): each agent has an actor and a critic of its own, both of its own history.

Source: book, Algorithm 19; lecture, Algorithm 19.

Listing:
     1  Draw n actor networks phi_1 .. phi_n at random
     2  Draw n critic networks theta_1 .. theta_n at random
     3  Create K parallel copies of the game  (before line 1: the networks have the game's sizes)
     4  For t = 0, 1, 2, ..
     5      Observe o_i^k for each agent i and each copy k
     6      Draw actions a_i^k from pi(. | h_i^k; phi_i)
     7      Apply the actions; receive the rewards r_i^k and the next observations
     8      For each agent i, and each copy k  (E5)
     9          If s'^k is terminal
    10              Adv(h_i^k, a_i^k) = r_i^k - V(h_i^k; theta_i)
    11              y_i^k = r_i^k
    12          Otherwise
    13              Adv(h_i^k, a_i^k) = r_i^k + gamma V(h_i'^k; theta_i) - V(h_i^k; theta_i)
    14              y_i^k = r_i^k + gamma V(h_i'^k; theta_i), a constant  (E4)
    15          L(phi_i) = -1/K sum_k Adv(h_i^k, a_i^k) log pi(a_i^k | h_i^k; phi_i), Adv a constant  (E1) (E4)
    16          L(theta_i) = 1/K sum_k (y_i^k - V(h_i^k; theta_i))^2
    17          Update phi_i so as to lower L(phi_i)
    18          Update theta_i so as to lower L(theta_i)
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import ActorCriticConfig
from marlspec.reference.parts.learner import ActorLearner
from marlspec.reference.parts.networks import CriticNetworks, PolicyNetworks
from marlspec.reference.parts.policies import log_policy, log_probability


class Transition(NamedTuple):
    """One time step of K copies; each field has leading axes [seeds, K]."""

    history: Float[Tensor, "*batch n h"]
    available: Bool[Tensor, "*batch n A"]
    action: Int[Tensor, "*batch n"]
    rewards: Float[Tensor, "*batch n"]
    next_history: Float[Tensor, "*batch n h"]
    terminated: Bool[Tensor, "*batch"]


def target(
    rewards: Float[Tensor, "*batch n"],
    terminated: Bool[Tensor, "*batch"],
    next_values: Float[Tensor, "*batch n"],
    gamma: float,
) -> Float[Tensor, "*batch n"]:
    """Return the critics' targets y, which are constants; values after the end are ignored."""
    ends = terminated.unsqueeze(-1)  # 8-9 (E5)
    return torch.where(ends, rewards, rewards + gamma * next_values.detach())  # 11-12, 14 (E4)


def advantage(y: Float[Tensor, "*batch n"], values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Return the advantages; with one step they are what the targets differ from the values by."""
    return y - values  # 10, 13


def actor_loss(
    advantages: Float[Tensor, "*batch K n"], log_probabilities: Float[Tensor, "*batch K n"]
) -> Float[Tensor, "*batch n"]:
    """Return each agent's actor loss, a mean over the copies."""
    return -(advantages.detach() * log_probabilities).mean(-2)  # 15 (E1) (E4)


def critic_loss(y: Float[Tensor, "*batch K n"], values: Float[Tensor, "*batch K n"]) -> Float[Tensor, "*batch n"]:
    """Return each agent's critic loss, a mean over the copies."""
    return (y - values).square().mean(-2)  # 16


class IA2C(ActorLearner):
    """Independent A2C in training; see Learner for seeds, histories, saving and resuming."""

    config_type = ActorCriticConfig

    def __init__(self, game: BatchedGame[Any], config: ActorCriticConfig) -> None:
        super().__init__(game, config)  # 3
        n, h, A = game.n_agents, game.observation_size, game.n_actions
        self.phi = PolicyNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta = CriticNetworks(n, h, 1, config.hidden, (config.seeds,), self.device, share=config.share)  # 2
        self.actor_optimiser = torch.optim.Adam(self.phi.parameters(), config.learning_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.theta.parameters(), config.critic_learning_rate, fused=True)

    def step(self) -> None:  # 4
        """Make one time step of every copy and one update."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 5
        action = self.act(state)  # 6
        next_state, rewards, terminated = self.apply_actions(action)  # 7
        self.learn(Transition(history, available, action, rewards, self.history(next_state), terminated))  # 8
        self.t += 1

    def learn(self, batch: Transition) -> Float[Tensor, " seeds"]:
        """Make one update on K transitions of each seed, and return each seed's losses before it, summed."""
        values, next_values = self.theta.values(batch.history), self.theta.values(batch.next_history)
        y = target(batch.rewards, batch.terminated, next_values, self.config.gamma)  # 9-14
        advantages = advantage(y, values)  # 10, 13
        log_pi = log_probability(log_policy(self.phi(batch.history), batch.available), batch.action)
        actor_losses = actor_loss(advantages, log_pi)  # 15 (E1) (E4)
        critic_losses = critic_loss(y, values)  # 16
        losses = (actor_losses + critic_losses).sum(-1)
        self.actor_optimiser.zero_grad()  # 17-18
        self.critic_optimiser.zero_grad()  # 17-18
        losses.sum().backward()  # 17-18
        self.actor_optimiser.step()  # 17
        self.critic_optimiser.step()  # 18
        self.updates += 1
        return losses.detach()
