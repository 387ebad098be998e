"""Pareto actor-critic (Pareto-AC): each agent learns as if the others always did what is best for it.

Source: Christianos, Papoudakis and Albrecht 2023, arXiv 2209.14344; lecture, Pareto actor-critic.

In a no-conflict game the agents agree on what is best, so that everyone's optimism comes true; in others it need not.
Whether a game is one is decided for normal-form games, and clear where the agents share their rewards. Any other game
is taken on trust.

A return is cut where the rollout ends or, if earlier, the episode. It bootstraps there, at a truncated episode from the
history before the restart, but not where the episode ends by termination.

Listing:
     1  Draw actors phi_i, critics theta_i^q and theta_i^v at random; make targets theta_bar_i^q = theta_i^q
     2  Create K parallel copies of the game  (before line 1: the networks have the game's sizes)
     3  Again and again: play N time steps of each copy, actions a_i drawn from pi(. | h_i; phi_i), and so a_i' for h_i'
     4  For each agent i, and each time step t of each copy; the return is cut where rollout or episode end, m steps on
     5      y_i^t = r_i^t + .. + gamma^(m-1) r_i^(t+m-1) + gamma^m max_{a_-i} Q(h_i', z', <a_i', a_-i>; theta_bar_i^q)
     6      L(theta_i) = mean (y_i - Q(h_i, z, a; theta_i^q))^2 + mean (y_i - V(h_i, z; theta_i^v))^2
     7      a_-i^+ in argmax_{a_-i} Q(h_i, z, <a_i, a_-i>; theta_i^q), for the a_i that was drawn  (E13)
     8      Adv_i = Q(h_i, z, <a_i, a_-i^+>; theta_i^q) - V(h_i, z; theta_i^v)
     9      L(phi_i) = -mean (Adv_i log pi(a_i | h_i; phi_i) + c_H H(pi(. | h_i; phi_i))), Adv_i a constant
    10      Update phi_i so as to lower L(phi_i), and theta_i^q, theta_i^v so as to lower L(theta_i)
    11      theta_bar_i^q = (1 - tau) theta_bar_i^q + tau theta_i^q
"""
# mypy: allow-untyped-calls

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame, BatchedStagedGame
from marlspec.reference.centralized.ca2c import informed
from marlspec.reference.parts.config import ParetoACConfig
from marlspec.reference.parts.learner import ActorLearner
from marlspec.reference.parts.networks import AgentNetworks, CriticNetworks, PolicyNetworks, approach, frozen_copy
from marlspec.reference.parts.policies import entropy, log_policy, log_probability, permitted
from marlspec.reference.parts.schedules import linear
from marlspec.reference.parts.utilities import available_only, chosen

LARGEST_JOINT = 100_000


class Rollout(NamedTuple):
    """N time steps of K copies; each field has leading axes [seeds, N, K].

    What comes next is from before a restart. The next action is the one to bootstrap with.
    """

    history: Float[Tensor, "*batch n h"]
    z: Float[Tensor, "*batch z"]
    available: Bool[Tensor, "*batch n A"]
    action: Int[Tensor, "*batch n"]
    rewards: Float[Tensor, "*batch n"]
    next_history: Float[Tensor, "*batch n h"]
    next_z: Float[Tensor, "*batch z"]
    next_available: Bool[Tensor, "*batch n A"]
    next_action: Int[Tensor, "*batch n"]
    terminated: Bool[Tensor, "*batch"]
    truncated: Bool[Tensor, "*batch"]


def joint_index(action: Int[Tensor, "*batch n"], A: int) -> Int[Tensor, "*batch"]:
    """Return the place of a joint action among all A^n, the last agent's action running fastest."""
    place = torch.zeros_like(action[..., 0])
    for own in action.unbind(-1):
        place = place * A + own
    return place


def jointly_permitted(available: Bool[Tensor, "*batch n A"]) -> Bool[Tensor, "*batch J"]:
    """Return which of the A^n joint actions the agents may take."""
    first, *others = permitted(available).unbind(-2)
    joint: Tensor = first
    for own in others:
        joint = (joint.unsqueeze(-1) & own.unsqueeze(-2)).flatten(-2)
    return joint


def own_action_first(n: int, A: int) -> Int[Tensor, "n A R"]:
    """Return the places of the joint actions in which agent i takes action a, for each i and a: R = A^(n-1) of them."""
    table = torch.arange(A**n).view(*[A] * n)
    return torch.stack([table.movedim(i, 0).reshape(A, -1) for i in range(n)])


def optimistic(
    q: Float[Tensor, "*batch n J"], action: Int[Tensor, "*batch n"], places: Int[Tensor, "n A R"]
) -> Int[Tensor, "*batch n"]:
    """Return each agent's own action with the others' best for it, as the place of a joint action.

    Args:
        q: each agent's action values; minus infinity for joint actions that cannot be taken.
        action: the agents' own actions.
        places: own_action_first.
    """
    agents = torch.arange(len(places), device=places.device)
    candidates = places[agents, action]  # 5, 7
    best = q.gather(-1, candidates).argmax(-1, keepdim=True)  # 5, 7 (E13)
    return candidates.gather(-1, best).squeeze(-1)  # 5, 7


def target(
    rewards: Float[Tensor, "*batch N K n"],
    terminated: Bool[Tensor, "*batch N K"],
    truncated: Bool[Tensor, "*batch N K"],
    next_values: Float[Tensor, "*batch N K n"],
    gamma: float,
) -> Float[Tensor, "*batch N K n"]:
    """Return the critics' targets y: the rewards up to the end of rollout or episode, then the value of what came next.

    Values after termination are ignored, as are those of histories from which the rollout goes on.
    """
    y = next_values[..., -1, :, :]  # 5
    returns = []
    for t in reversed(range(rewards.shape[-3])):
        ends, is_cut = terminated[..., t, :, None], truncated[..., t, :, None]  # 5
        onward = torch.where(is_cut, next_values[..., t, :, :], y)  # 5
        y = torch.where(ends, rewards[..., t, :, :], rewards[..., t, :, :] + gamma * onward)  # 5
        returns.append(y)
    return torch.stack(returns[::-1], -3)


def critic_loss(
    y: Float[Tensor, "*batch B n"], q: Float[Tensor, "*batch B n"], values: Float[Tensor, "*batch B n"]
) -> Float[Tensor, "*batch n"]:
    """Return each agent's critic loss: both critics' mean squared errors, of the joint actions taken."""
    return (y - q).square().mean(-2) + (y - values).square().mean(-2)  # 6


def advantage(q_plus: Float[Tensor, "*batch n"], values: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Return how much better an action is than the state, if the others do what is best for the agent."""
    return q_plus - values  # 8


def actor_loss(
    advantages: Float[Tensor, "*batch B n"],
    log_probabilities: Float[Tensor, "*batch B n"],
    entropies: Float[Tensor, "*batch B n"],
    coefficient: float,
) -> Float[Tensor, "*batch n"]:
    """Return each agent's actor loss, a mean over the rollout."""
    return -(advantages.detach() * log_probabilities + coefficient * entropies).mean(-2)  # 9


class ParetoAC(ActorLearner):
    """Pareto-AC in training; see Learner for seeds, histories, saving and resuming."""

    config_type = ParetoACConfig
    graphs = ("time_step", "learn")
    places: Tensor

    def __init__(self, game: BatchedGame[Any], config: ParetoACConfig) -> None:
        """Initialise.

        Raises:
            InputError: the agents of a normal-form game disagree on the best joint actions, or there are more than
                100 000 joint actions.
        """
        super().__init__(game, config)  # 2
        require_no_conflict(game)
        require_few_joint_actions(game)
        self.config: ParetoACConfig = config
        n, h, A, z = game.n_agents, game.observation_size, game.n_actions, game.state_size
        self.phi = PolicyNetworks(n, h, A, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta_q = AgentNetworks(
            n, h + z, A**n, config.hidden, (config.seeds,), self.device, share=config.share
        )  # 1
        self.theta_v = CriticNetworks(n, h + z, 1, config.hidden, (config.seeds,), self.device, share=config.share)  # 1
        self.theta_bar_q = frozen_copy(self.theta_q)  # 1
        critics = [*self.theta_q.parameters(), *self.theta_v.parameters()]
        self.actor_optimiser = torch.optim.Adam(self.phi.parameters(), config.learning_rate, fused=True)
        self.critic_optimiser = torch.optim.Adam(critics, config.critic_learning_rate, fused=True)
        falling = round(config.entropy_share * config.steps)
        self.entropy_coefficient = linear(config.entropy_start, config.entropy_end, falling)
        self.register_buffer("places", own_action_first(n, A).to(self.device), persistent=False)

    def step(self) -> None:
        """Play a rollout in every copy and make one update."""
        time_steps = [self.time_step() for _ in range(self.config.n_steps)]  # 3
        self.learn(Rollout(*(torch.stack(field, 1) for field in zip(*time_steps, strict=True))))  # 4
        self.t += self.config.n_steps

    def learn(self, batch: Rollout) -> Float[Tensor, " seeds"]:
        """Make one update on a rollout of each seed, and return each seed's losses before it, summed."""
        flat = Rollout(*(field.flatten(1, 2) for field in batch))
        next_q = self.action_values(self.theta_bar_q, flat.next_history, flat.next_z, flat.next_available)  # 5
        next_values = chosen(next_q, optimistic(next_q, flat.next_action, self.places)).view_as(batch.rewards)  # 5
        y = target(batch.rewards, batch.terminated, batch.truncated, next_values, self.config.gamma).flatten(1, 2)  # 5
        q = self.action_values(self.theta_q, flat.history, flat.z, flat.available)
        values = self.theta_v.values(informed(flat.history, flat.z))
        taken = joint_index(flat.action, self.game.n_actions).unsqueeze(-1).expand_as(flat.action)
        critic_losses = critic_loss(y, chosen(q, taken), values)  # 6
        plus = optimistic(q, flat.action, self.places)  # 7 (E13)
        advantages = advantage(chosen(q, plus), values)  # 8
        log_pi = log_policy(self.phi(flat.history), flat.available)
        log_taken = log_probability(log_pi, flat.action)
        actor_losses = actor_loss(advantages, log_taken, entropy(log_pi), self.entropy_coefficient(self.updates))  # 9
        losses = (actor_losses + critic_losses).sum(-1)
        self.actor_optimiser.zero_grad()  # 10
        self.critic_optimiser.zero_grad()  # 10
        losses.sum().backward()  # 10
        self.actor_optimiser.step()  # 10
        self.critic_optimiser.step()  # 10
        self.updates += 1
        approach(self.theta_bar_q, self.theta_q, self.config.tau)  # 11
        return losses.detach()

    def phase(self) -> tuple[Any, ...]:
        """The weight of the entropy."""
        return (self.entropy_coefficient(self.updates),)

    def time_step(self) -> Rollout:
        """Play one time step of every copy, and draw actions in the histories that it led to; fields [seeds, K, ..]."""
        state = self.game_state
        action = self.act(state)  # 3
        following, rewards, terminated, truncated = self.play(action)  # 3
        return Rollout(
            history=self.history(state),
            z=self.centralized(state),
            available=self.available(state),
            action=action,
            rewards=rewards,
            next_history=self.history(following),
            next_z=self.centralized(following),
            next_available=self.available(following),
            next_action=self.act(following),  # 3
            terminated=terminated,
            truncated=truncated,
        )

    def action_values(
        self,
        critics: AgentNetworks,
        history: Float[Tensor, "seeds B n h"],
        z: Float[Tensor, "seeds B z"],
        available: Bool[Tensor, "seeds B n A"],
    ) -> Float[Tensor, "seeds B n J"]:
        """Return every agent's values of all joint actions, minus infinity for those that cannot be taken."""
        q: Tensor = critics(informed(history, z))
        return available_only(q, jointly_permitted(available).unsqueeze(-2).expand_as(q))


def require_no_conflict(game: BatchedGame[Any]) -> None:
    """Refuse a normal-form game in which the agents do not agree on the best joint actions.

    Raises:
        InputError: it is not a no-conflict game.
    """
    if not isinstance(game, BatchedStagedGame) or game.common_reward or game.game.n_stages > 1:
        return
    if not game.game.stages[0].is_no_conflict:
        raise InputError(
            f"Pareto-AC needs a no-conflict game, and the agents of {game.name} prefer different joint actions: "
            "choose one in which all agents have the same best joint actions, as climbing or stag-hunt"
        )


def require_few_joint_actions(game: BatchedGame[Any]) -> None:
    """Refuse a game with more joint actions than a critic can have outputs.

    Raises:
        InputError: A^n exceeds 100 000.
    """
    joint = game.n_actions**game.n_agents
    if joint > LARGEST_JOINT:
        raise InputError(
            f"Pareto-AC's critics have one output for each joint action, and {game.name} has {game.n_actions}^"
            f"{game.n_agents} = {joint}, more than {LARGEST_JOINT}: choose a game with fewer agents or actions"
        )
