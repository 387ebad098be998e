"""Counterfactual multi-agent policy gradients (COMA): an agent's advantage is what its action adds to its average.

Source: Foerster et al. 2018, arXiv 1705.08926, Algorithm 1; lecture, Counterfactual multi-agent policy gradient.

The paper's actors share a recurrent network, which tells them apart by an input; here each agent has a recurrent actor
of its own, unless config.share says otherwise. One critic, without a memory, serves all agents: from agent i's view
x_i^t = (a_-i^t, z^t, h_i^t, i, a^{t-1}) it returns the values of all actions of agent i.

Listing:
     1  Draw the critic theta and the actors phi_i at random; make a target critic theta_bar = theta
     2  Again and again
     3      Begin with an empty buffer
     4      For each of the K episodes of a batch
     5          Start the game afresh
     6          While the episode is not over, for at most T time steps
     7              Encode each agent's history h_i^t
     8              Draw a_i^t from pi_i(a | h_i^t) = (1 - epsilon) softmax(f(h_i^t; phi_i))_a + epsilon / |A_i|
     9              Apply the actions; receive the shared reward and the next observations
    10              Put the time step into the buffer
    11      Collate the episodes into one batch
    12      y_i^t = (1 - lambda) sum_{m >= 1} lambda^(m-1) G_i^(t,m): m rewards, then Q(a_i^(t+m), x_i^(t+m); theta_bar)
    13      For t = T down to 1: update theta so as to lower mean (y_i^t - Q(a_i^t, x_i^t; theta))^2
    14          After every C of these updates theta_bar = theta
    15      For t = T down to 1: A_i^t = Q(a_i^t, x_i^t; theta) - sum_a pi_i(a | h_i^t) Q(a, x_i^t; theta)  (E30)
    16          Add up the gradients of log pi_i(a_i^t | h_i^t) times A_i^t, a constant; pi_i is line 8's
    17      Update phi_i along their sum
"""
# mypy: allow-untyped-calls

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import COMAConfig
from marlspec.reference.parts.learner import ActorLearner, require_common_reward
from marlspec.reference.parts.networks import AgentNetworks, PolicyNetworks, frozen_copy, synchronise
from marlspec.reference.parts.policies import floored_log_policy, log_probability, sample_actions
from marlspec.reference.parts.schedules import linear
from marlspec.reference.parts.utilities import chosen, one_hot


class Episodes(NamedTuple):
    """K episodes; each field has leading axes [seeds, K, time step].

    All have as many time steps as the longest may have: running says which come before an episode's end. What comes
    next is from before a restart; the next action is the one taken there, or one drawn where the episode is cut.
    """

    history: Float[Tensor, "*batch n h"]
    z: Float[Tensor, "*batch z"]
    available: Bool[Tensor, "*batch n A"]
    last_action: Float[Tensor, "*batch n A"]
    action: Int[Tensor, "*batch n"]
    reward: Float[Tensor, "*batch"]
    next_history: Float[Tensor, "*batch n h"]
    next_z: Float[Tensor, "*batch z"]
    next_action: Int[Tensor, "*batch n"]
    terminated: Bool[Tensor, "*batch"]
    truncated: Bool[Tensor, "*batch"]
    running: Bool[Tensor, "*batch"]


class Critic(AgentNetworks):
    """Q(., x_i; theta), one network for all agents: from their views [.., B, n, x] to values [.., B, n, A]."""

    def values(self, inputs: Float[Tensor, "*seeds B n x"]) -> Float[Tensor, "*seeds B n A"]:
        """Return the values of each agent's actions, the others' being what they are."""
        values: Tensor = self(inputs.flatten(-3, -2).unsqueeze(-2))
        return values.view(*inputs.shape[:-1], -1)


def critic_input(
    action: Int[Tensor, "*batch n"],
    z: Float[Tensor, "*batch z"],
    history: Float[Tensor, "*batch n h"],
    last_action: Float[Tensor, "*batch n A"],
) -> Float[Tensor, "*batch n x"]:
    """Return each agent's view x_i = (a_-i, z, h_i, i, a^{t-1}) for the critic, zeros in place of the own action."""
    n, A = last_action.shape[-2:]
    each = torch.eye(n, dtype=history.dtype, device=history.device)
    others = (one_hot(action, A, history.dtype).unsqueeze(-3) * (1 - each).unsqueeze(-1)).flatten(-2)
    shared = torch.cat([z, last_action.flatten(-2)], -1).unsqueeze(-2).expand(*others.shape[:-1], -1)
    return torch.cat([others, shared, history, each.expand(*others.shape[:-1], -1)], -1)


def target(
    reward: Float[Tensor, "*batch T"],
    terminated: Bool[Tensor, "*batch T"],
    truncated: Bool[Tensor, "*batch T"],
    next_values: Float[Tensor, "*batch T n"],
    gamma: float,
    td_lambda: float,
) -> Float[Tensor, "*batch T n"]:
    """Return the TD(lambda) targets y: up to termination, or else to a value where the episode is cut.

    A time step's longest return has all the weight of those that would be longer. Values after the end are ignored.
    """
    y = next_values[..., -1, :]  # 12
    backwards = []
    for t in reversed(range(reward.shape[-1])):
        ends, is_cut, value = terminated[..., t, None], truncated[..., t, None], next_values[..., t, :]
        onward = torch.where(is_cut, value, (1 - td_lambda) * value + td_lambda * y)  # 12
        y = reward[..., t, None] + torch.where(ends, 0.0, gamma * onward)  # 12
        backwards.append(y)
    return torch.stack(backwards[::-1], -2)


def critic_loss(
    y: Float[Tensor, "*batch K n"], values: Float[Tensor, "*batch K n"], running: Bool[Tensor, "*batch K"]
) -> Float[Tensor, "*batch"]:
    """Return the mean squared error of one time step, over all agents of the episodes that are not over; else 0."""
    squares = torch.where(running.unsqueeze(-1), y - values, 0.0).square().mean(-1)  # 13
    return squares.sum(-1) / running.sum(-1).clamp(min=1)  # 13


def counterfactual_advantage(
    q: Float[Tensor, "*batch n A"], pi: Float[Tensor, "*batch n A"], action: Int[Tensor, "*batch n"]
) -> Float[Tensor, "*batch n"]:
    """Return what each agent's action adds to the average of its actions, the others' being what they are."""
    baseline = (pi * q).sum(-1)  # 15 (E30)
    return chosen(q, action) - baseline  # 15


def actor_loss(
    advantages: Float[Tensor, "*batch K T n"],
    log_probabilities: Float[Tensor, "*batch K T n"],
    running: Bool[Tensor, "*batch K T"],
) -> Float[Tensor, "*batch n"]:
    """Return each agent's actor loss: sums over an episode's time steps, and their mean over the episodes."""
    counted = torch.where(running.unsqueeze(-1), advantages.detach() * log_probabilities, 0.0)
    return -counted.sum(-2).mean(-2)  # 16


def collated(steps: Sequence[Episodes]) -> Episodes:
    """Stack time steps [seeds, K, ..]; where an episode goes on, the next action is the one that it went on with."""
    batch = Episodes(*(torch.stack(field, 2) for field in zip(*steps, strict=True)))
    goes_on = ~(batch.terminated | batch.truncated)[:, :, :-1, None]
    next_action = batch.next_action.clone()
    next_action[:, :, :-1] = torch.where(goes_on, batch.action[:, :, 1:], next_action[:, :, :-1])  # 11
    return batch._replace(next_action=next_action)


class COMA(ActorLearner):
    """COMA in training; see Learner for seeds, histories, saving and resuming.

    An episode ends where the game terminates or is truncated, and after config.horizon time steps at the latest; only
    termination keeps its targets from bootstrapping. Time steps after all episodes' ends have the gradient 0, with
    which RMSprop leaves the critic as it is.
    """

    config_type = COMAConfig

    def __init__(self, game: BatchedGame[Any], config: COMAConfig) -> None:
        """Initialise; InputError for a game whose agents' rewards differ."""
        super().__init__(game, config)
        require_common_reward(game, "COMA")
        self.config: COMAConfig = config
        n, h, A, z = game.n_agents, self.game.observation_size, game.n_actions, game.state_size
        kind = {"share": config.share, "recurrent": config.recurrent}
        self.theta = Critic(1, 2 * n * A + z + h + n, A, config.hidden, (config.seeds,), self.device)  # 1
        self.phi = PolicyNetworks(n, h, A, config.hidden, (config.seeds,), self.device, **kind)  # 1
        self.theta_bar = frozen_copy(self.theta)  # 1
        self.actor_optimiser = torch.optim.RMSprop(self.phi.parameters(), config.learning_rate)
        self.critic_optimiser = torch.optim.RMSprop(self.theta.parameters(), config.critic_learning_rate)
        self.epsilon = linear(config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        # A graph of recurrent actors learning would hold each time step of an episode.
        self.graphs = ("time_step", "targets", "learn_critic", *(() if config.recurrent else ("learn_actors",)))

    def step(self) -> None:  # 2
        """Play one episode in every copy and make one update of the actors."""
        steps = []  # 3
        S, K, n, A = self.config.seeds, self.config.copies, self.game.n_agents, self.game.n_actions
        self.game_state = self.game.reset(S * K)  # 4-5
        running = torch.ones(S, K, dtype=torch.bool, device=self.device)
        last_action = torch.zeros(S, K, n, A, device=self.device)
        for _ in range(self.config.horizon):  # 6
            time_step, running = self.time_step(last_action, running)  # 7-10
            steps.append(time_step)  # 10
            last_action = one_hot(time_step.action, A, last_action.dtype)
        self.learn(collated(steps))  # 11
        self.t += self.config.horizon

    def time_step(
        self, last_action: Float[Tensor, "seeds K n A"], running: Bool[Tensor, "seeds K"]
    ) -> tuple[Episodes, Bool[Tensor, "seeds K"]]:
        """Play one time step of every copy; return it, fields [seeds, K, ..], and which episodes are not over then."""
        state = self.game_state
        history, available = self.history(state), self.available(state)  # 7
        action = self.act(state)  # 8
        following, rewards, terminated, truncated = self.play(action)  # 9
        time_step = Episodes(  # 10
            history=history,
            z=self.centralized(state),
            available=available,
            last_action=last_action,
            action=action,
            reward=rewards[..., 0],  # equal for all agents
            next_history=self.history(following),
            next_z=self.centralized(following),
            next_action=self.act(following),
            terminated=terminated,
            truncated=truncated,
            running=running,
        )
        return time_step, running & ~(terminated | truncated)

    def learn(self, batch: Episodes) -> Float[Tensor, " seeds"]:
        """Make one update on K episodes of each seed; return its losses, each from just before its update, summed."""
        y = self.targets(batch)  # 12
        inputs = critic_input(batch.action, batch.z, batch.history, batch.last_action)
        T = batch.running.shape[-1]
        total = torch.zeros_like(y[:, 0, 0, 0])
        for t in reversed(range(T)):  # 13
            step = (inputs[:, :, t], batch.action[:, :, t], y[:, :, t], batch.running[:, :, t])
            total += self.learn_critic(*step)  # 13
            if (self.updates * T + T - t) % self.config.target_interval == 0:  # 14
                synchronise(self.theta_bar, self.theta)  # 14
        total += self.learn_actors(batch, inputs)  # 15-17
        self.updates += 1
        return total

    def learn_critic(
        self,
        inputs: Float[Tensor, "seeds K n x"],
        action: Int[Tensor, "seeds K n"],
        y: Float[Tensor, "seeds K n"],
        running: Bool[Tensor, "seeds K"],
    ) -> Float[Tensor, " seeds"]:
        """Make one update of the critic on a time step, and return each seed's loss before it."""
        losses = critic_loss(y, chosen(self.theta.values(inputs), action), running)  # 13
        self.critic_optimiser.zero_grad()  # 13
        losses.sum().backward()  # 13
        self.critic_optimiser.step()  # 13
        return losses.detach()

    def learn_actors(self, batch: Episodes, inputs: Float[Tensor, "seeds K T n x"]) -> Float[Tensor, " seeds"]:
        """Make one update of the actors, and return each seed's losses before it, summed."""
        log_pi = self.log_policy(self.phi.along(batch.history), batch.available)
        with torch.no_grad():
            q = self.theta.values(inputs.flatten(1, 2)).view_as(log_pi)  # 15
            advantages = counterfactual_advantage(q, log_pi.exp(), batch.action)  # 15 (E30)
        losses = actor_loss(advantages, log_probability(log_pi, batch.action), batch.running).sum(-1)  # 16
        self.actor_optimiser.zero_grad()  # 17
        losses.sum().backward()  # 17
        self.actor_optimiser.step()  # 17
        return losses.detach()

    def phase(self) -> tuple[Any, ...]:
        """What epsilon is, and after which of the critic's updates the target network is copied."""
        T = self.config.horizon
        copies = [k % self.config.target_interval == 0 for k in range(self.updates * T + 1, (self.updates + 1) * T + 1)]
        return self.epsilon(self.updates), *copies

    @torch.no_grad()
    def act(self, state: Any, greedy: bool = False) -> Int[Tensor, "seeds K n"]:
        """Draw actions from the policies, or take the most probable ones."""
        log_pi = self.log_policy(self.output(state), self.available(state))  # 8
        return log_pi.argmax(-1) if greedy else sample_actions(log_pi)  # 8

    def log_policy(
        self, logits: Float[Tensor, "*batch n A"], available: Bool[Tensor, "*batch n A"]
    ) -> Float[Tensor, "*batch n A"]:
        """Return log pi(. | h_i), with what epsilon is at this step."""
        return floored_log_policy(logits, available, self.epsilon(self.updates))  # 8

    @torch.no_grad()
    def targets(self, batch: Episodes) -> Float[Tensor, "seeds K T n"]:
        """Return the TD(lambda) targets y."""
        last_action = one_hot(batch.action, batch.last_action.shape[-1], batch.last_action.dtype)
        inputs = critic_input(batch.next_action, batch.next_z, batch.next_history, last_action)  # 12
        values = self.theta_bar.values(inputs.flatten(1, 2)).view_as(last_action)  # 12
        return target(  # 12
            batch.reward,
            batch.terminated,
            batch.truncated,
            chosen(values, batch.next_action),
            self.config.gamma,
            self.config.td_lambda,
        )
