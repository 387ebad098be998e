"""Centralised advantage actor-critic (CA2C): each agent's critic also sees the centralised information z.

Source: book, Algorithm 20; lecture, Algorithm 20.

Listing:
     1  Draw n actor networks phi_1 .. phi_n at random
     2  Draw n critic networks theta_1 .. theta_n at random
     3  Create K parallel copies of the game  (before line 1: the networks have the game's sizes)
     4  For t = 0, 1, 2, ..
     5      Observe o_i^k for each agent i and each copy k
     6      Observe the centralised information z^k for each copy k
     7      Draw actions a_i^k from pi(. | h_i^k; phi_i)
     8      Apply the actions; receive the rewards r_i^k, the next observations and the next z'^k
     9      For each agent i, and each copy k  (E5)
    10          If s'^k is terminal
    11              Adv(h_i^k, z^k, a_i^k) = r_i^k - V(h_i^k, z^k; theta_i)
    12              y_i^k = r_i^k
    13          Otherwise
    14              Adv(h_i^k, z^k, a_i^k) = r_i^k + gamma V(h_i'^k, z'^k; theta_i) - V(h_i^k, z^k; theta_i)
    15              y_i^k = r_i^k + gamma V(h_i'^k, z'^k; theta_i), a constant  (E2) (E4)
    16          L(phi_i) = -1/K sum_k Adv(h_i^k, z^k, a_i^k) log pi(a_i^k | h_i^k; phi_i), Adv a constant  (E1) (E4)
    17          L(theta_i) = 1/K sum_k (y_i^k - V(h_i^k, z^k; theta_i))^2
    18          Update phi_i so as to lower L(phi_i)
    19          Update theta_i so as to lower L(theta_i)
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
    z: Float[Tensor, "*batch z"]
    available: Bool[Tensor, "*batch n A"]
    action: Int[Tensor, "*batch n"]
    rewards: Float[Tensor, "*batch n"]
    next_history: Float[Tensor, "*batch n h"]
    next_z: Float[Tensor, "*batch z"]
    terminated: Bool[Tensor, "*batch"]


def informed(history: Float[Tensor, "*batch n h"], z: Float[Tensor, "*batch z"]) -> Float[Tensor, "*batch n h+z"]:
    """Return what the critics see: each agent's history, and the centralised information."""
    return torch.cat([history, z.unsqueeze(-2).expand(*history.shape[:-1], -1)], -1)


def target(
    rewards: Float[Tensor, "*batch n"],
    terminated: Bool[Tensor, "*batch"],
    next_values: Float[Tensor, "*batch n"],
    gamma: float,
) -> Float[Tensor, "*batch n"]:
    """Return the critics' targets y, which are constants; values after the end are ignored."""
    ends = terminated.unsqueeze(-1)  # 9-10 (E5)
    return torch.where(ends, rewards, rewards + gamma * next_values.detach())  # 12-13, 15 (E2) (E4)


def advantage(y: Float[Tensor, "*batch n"], values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Return the advantages; with one step they are what the targets differ from the values by."""
    return y - values  # 11, 14


def actor_loss(
    advantages: Float[Tensor, "*batch K n"], log_probabilities: Float[Tensor, "*batch K n"]
) -> Float[Tensor, "*batch n"]:
    """Return each agent's actor loss, a mean over the copies."""
    return -(advantages.detach() * log_probabilities).mean(-2)  # 16 (E1) (E4)


def critic_loss(y: Float[Tensor, "*batch K n"], values: Float[Tensor, "*batch K n"]) -> Float[Tensor, "*batch n"]:
    """Return each agent's critic loss, a mean over the copies."""
    return (y - values).square().mean(-2)  # 17


class CA2C(ActorLearner):
    """Centralised A2C in training; see Learner for seeds, histories, saving and resuming."""

    config_type = ActorCriticConfig

    def __init__(self, game: BatchedGame[Any], config: ActorCriticConfig) -> None:
        super().__init__(game, config)  # 3
        n, h, A, z = game.n_agents, game.observation_size, game.n_actions, game.state_size
        self.phi = PolicyNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta = CriticNetworks(n, h + z, 1, config.hidden, (config.seeds,), self.device, share=config.share)  # 2
        self.actor_optimiser = torch.optim.Adam(self.phi.parameters(), config.learning_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.theta.parameters(), config.critic_learning_rate, fused=True)

    def step(self) -> None:  # 4
        """Make one time step of every copy and one update."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 5
        z = self.centralized(state)  # 6
        action = self.act(state)  # 7
        next_state, rewards, terminated = self.apply_actions(action)  # 8
        transition = Transition(
            history=history,
            z=z,
            available=available,
            action=action,
            rewards=rewards,
            next_history=self.history(next_state),
            next_z=self.centralized(next_state),
            terminated=terminated,
        )
        self.learn(transition)  # 9
        self.t += 1

    def learn(self, batch: Transition) -> Float[Tensor, " seeds"]:
        """Make one update on K transitions of each seed, and return each seed's losses before it, summed."""
        values = self.theta.values(informed(batch.history, batch.z))
        next_values = self.theta.values(informed(batch.next_history, batch.next_z))
        y = target(batch.rewards, batch.terminated, next_values, self.config.gamma)  # 10-15
        advantages = advantage(y, values)  # 11, 14
        log_pi = log_probability(log_policy(self.phi(batch.history), batch.available), batch.action)
        actor_losses = actor_loss(advantages, log_pi)  # 16 (E1) (E4)
        critic_losses = critic_loss(y, values)  # 17
        losses = (actor_losses + critic_losses).sum(-1)
        self.actor_optimiser.zero_grad()  # 18-19
        self.critic_optimiser.zero_grad()  # 18-19
        losses.sum().backward()  # 18-19
        self.actor_optimiser.step()  # 18
        self.critic_optimiser.step()  # 19
        self.updates += 1
        return losses.detach()
