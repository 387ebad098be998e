"""The reference's own functions as targets: what is judged when no target is named."""

from collections import namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marlspec.games import catalogue
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.batched_arrays import BatchedStochasticGame
from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.centralized import coma
from marlspec.reference.decomposition import qmix, vdn
from marlspec.reference.independent import ia2c, idqn
from marlspec.reference.parts import exploration
from marlspec.reference.parts.config import QMIXConfig
from marlspec.reference.parts.networks import UtilityNetworks, approach, frozen_copy, synchronise
from marlspec.reference.parts.policies import floored_log_policy, log_policy, log_probability
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.scalarisation import scalarisation
from marlspec.reference.parts.utilities import available_only
from marlspec.reference.solution import correlated, minimax, nash, pareto
from marlspec.reference.solution.decisions import DecisionProcess, choice_values
from marlspec.reference.solution.expected_return import markov_values
from marlspec.reference.tabular import cql, iql

Function = Callable[[Tensor, Tensor], Tensor]
Procedure = Callable[..., Any]


def vdn_mixer(n_agents: int, state_size: int) -> Function:
    """Return VDN's mixer, which needs neither size."""
    return lambda utilities, state: vdn.mix(utilities)


def qmix_mixer(n_agents: int, state_size: int, embed: int = 32) -> Function:
    """Return QMIX's mixer: the hypernetwork makes the mixing parameters of each state."""
    hypernetwork = qmix.Hypernetwork(n_agents, state_size, embed)
    return lambda utilities, state: qmix.mix(utilities, hypernetwork(state))


def nash_solver() -> Procedure:
    """Return the exact enumeration of all equilibria of two agents."""
    return _declared(lambda payoffs: nash.support_enumeration(NormalFormGame(payoffs)).profiles, answers="all")


def minimax_solver() -> Procedure:
    """Return the linear program for zero-sum games."""
    return _declared(lambda payoffs: minimax.minimax(NormalFormGame(payoffs)).strategies, domain="zero_sum")


def correlated_solver(coarse: bool = False) -> Procedure:
    """Return the linear program for the (coarse) correlated equilibrium of the highest welfare."""
    return _declared(
        lambda payoffs: correlated.correlated_equilibrium(NormalFormGame(payoffs), "welfare", coarse).joint,
        concept="coarse_correlated" if coarse else "correlated",
        objective="welfare",
        agents=(2, 3),
    )


def coarse_correlated_solver() -> Procedure:
    """Return the linear program for the coarse correlated equilibrium of the highest welfare."""
    return correlated_solver(coarse=True)


def nash_check() -> Procedure:
    """Return the exact check of profiles."""
    return lambda payoffs, profile, epsilon: nash.is_nash(NormalFormGame(payoffs), profile, epsilon)


def pareto_check(among: str = "deterministic") -> Procedure:
    """Return the exact check of joint actions, against deterministic or correlated policies."""
    return _declared(
        lambda payoffs, action: (
            pareto.is_pareto_optimal(NormalFormGame(payoffs), tuple(action.tolist()), among).answer == "yes"
        ),
        among=among,
    )


def correlated_pareto_check() -> Procedure:
    """Return the exact check of joint actions against correlated policies."""
    return pareto_check("correlated")


def evaluator() -> Procedure:
    """Return the values of Markov policies, found by a linear solve."""

    def evaluate(transitions: Any, rewards: Any, terminal: Any, policy: Any, gamma: float) -> Any:
        game = StochasticGame(transitions, rewards, _anywhere(terminal), terminal)
        return markov_values(game, tuple(policy), gamma)

    return _declared(evaluate, undiscounted=True)


def optimal_backup() -> Procedure:
    """Return the backup of which optimal values are the fixpoint."""

    def backup(transitions: Any, rewards: Any, terminal: Any, gamma: float, q: Any) -> Any:
        game = StochasticGame(transitions, rewards[None], _anywhere(terminal), terminal)
        expected = (game.probabilities * game.rewards[0]).sum(axis=-1)
        process = DecisionProcess(game.successors, game.probabilities, expected, game.terminal)
        return choice_values(process, np.where(terminal, 0.0, q.max(axis=1)), gamma)

    return backup


def iql_update() -> Procedure:
    """Return line 9 of independent Q-learning."""
    return lambda *arguments: iql.update(*arguments)


def cql_update(scalar: str = "sum") -> Procedure:
    """Return lines 8 and 9 of central Q-learning, with the sum of the rewards or with one agent's ("agent:0")."""

    def update(q: Any, s: int, a: Any, r: Any, next_s: int, terminated: bool, alpha: float, gamma: float) -> Any:
        reward = scalarisation(scalar, len(r))(r)
        return cql.update(q, s, tuple(map(int, a)), reward, next_s, terminated, alpha, gamma)

    return _declared(update, scalar="sum" if scalar == "sum" else int(scalar.removeprefix("agent:")))


def one_agents_cql_update() -> Procedure:
    """Return lines 8 and 9 of central Q-learning with the reward of the first agent."""
    return cql_update("agent:0")


def idqn_target() -> Procedure:
    """Return lines 13 to 16 of IDQN."""

    def target(r: Tensor, ends: Tensor, cut: Tensor, q: Tensor, online: Tensor, available: Tensor, gamma: float) -> Any:
        return idqn.target(r, ends.unsqueeze(-1).expand_as(r), available_only(q, available), gamma)

    return _declared(target, arrays="torch")


def vdn_target() -> Procedure:
    """Return lines 12 to 15 of VDN."""

    def target(r: Tensor, ends: Tensor, cut: Tensor, q: Tensor, online: Tensor, available: Tensor, gamma: float) -> Any:
        return vdn.target(r[:, 0], ends, available_only(q, available), gamma)

    return _declared(target, arrays="torch", mixing="sum")


def critic_target() -> Procedure:
    """Return lines 9 to 14 of IA2C: the critics' targets."""

    def target(r: Tensor, ends: Tensor, cut: Tensor, v: Tensor, online: Tensor, available: Tensor, gamma: float) -> Any:
        return ia2c.target(r, ends, v.squeeze(-1), gamma)

    return _declared(target, arrays="torch", backup="value")


def coma_returns() -> Procedure:
    """Return line 12 of COMA, of one agent: TD(lambda) returns of whole episodes."""

    def estimate(
        r: Tensor, v: Tensor, next_v: Tensor, ends: Tensor, cut: Tensor, mask: Tensor, gamma: float, lam: float
    ) -> Any:
        return coma.target(r, ends, cut, next_v.unsqueeze(-1), gamma, lam).squeeze(-1)

    return _declared(estimate, arrays="torch")


def coma_returns_of_rollouts() -> Procedure:
    """Return the same of rows that hold episode after episode."""
    return _declared(coma_returns(), rows="rollout")


def coma_advantage() -> Procedure:
    """Return line 15 of COMA."""
    return _declared(lambda q, policy, actions: coma.counterfactual_advantage(q, policy, actions), arrays="torch")


def coma_critic() -> Procedure:
    """Return COMA's critic on its inputs, with parameters at random; nothing was done before."""
    n, A, o, s = 2, 3, 2, 3
    theta = coma.Critic(1, 2 * n * A + s + o + n, A, (8,)).double()

    def values(actions: Tensor, observations: Tensor, state: Tensor) -> Any:
        before = torch.zeros(*actions.shape, A, dtype=state.dtype)
        return theta.values(coma.critic_input(actions, state, observations, before).unsqueeze(0))[0]

    return _declared(values, arrays="torch")


def ia2c_actor_loss() -> Procedure:
    """Return line 15 of IA2C, all agents' losses added up; padding is left out before."""

    def loss(logits: Tensor, actions: Tensor, advantages: Tensor, mask: Tensor) -> Any:
        log_pi = log_probability(logits.log_softmax(-1), actions)
        return ia2c.actor_loss(advantages[mask], log_pi[mask]).sum()

    return _declared(loss, arrays="torch", reduction="agents")


def coma_actor_loss() -> Procedure:
    """Return line 16 of COMA, for one episode: sums over its time steps and agents."""

    def loss(logits: Tensor, actions: Tensor, advantages: Tensor, mask: Tensor) -> Any:
        log_pi = log_probability(logits.log_softmax(-1), actions)
        return coma.actor_loss(advantages[None], log_pi[None], mask[None]).sum()

    return _declared(loss, arrays="torch", reduction="sum")


def policy() -> Procedure:
    """Return the softmax policies of all actor-critics."""
    return _declared(
        lambda logits, available: log_policy(logits, available), arrays="torch", output="log_probabilities"
    )


def floored_policy() -> Procedure:
    """Return COMA's policies, which explore with a share of 1/4."""
    return _declared(
        lambda logits, available: floored_log_policy(logits, available, 0.25),
        arrays="torch",
        output="log_probabilities",
        epsilon=0.25,
    )


def epsilon_greedy() -> Procedure:
    """Return the exploration of all value-based algorithms."""
    return _declared(lambda *arguments: exploration.epsilon_greedy(*arguments), arrays="torch")


def two_step_game() -> BatchedStagedGame:
    """Return the two-step game in parallel copies, which has no chance."""
    return BatchedStagedGame(catalogue.two_step())


def game_of_chance() -> BatchedStochasticGame:
    """Return a stochastic game of two agents in parallel copies: each joint action may end it or lead elsewhere."""
    transitions = np.array([[[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]]]] * 3)
    transitions[2] = [0, 0, 1]
    rewards = np.arange(24.0).reshape(2, 3, 2, 2)
    rewards[:, 2] = 0
    game = StochasticGame(transitions, rewards, [0.5, 0.5, 0], [False, False, True])
    return BatchedStochasticGame(game, time_limit=20)


class ReplayRing:
    """The reference's replay buffer with one seed."""

    arrays = "torch"
    replacement = True

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self._kind: Any = namedtuple("Row", example)  # type: ignore[misc]
        row = self._kind(**{name: torch.as_tensor(value) for name, value in example.items()})
        self._buffer = ReplayBuffer(capacity, row)

    def add(self, transitions: dict[str, Tensor]) -> None:
        """Store K transitions."""
        self._buffer.store(self._kind(**{name: values[None] for name, values in transitions.items()}))

    def sample(self, batch_size: int) -> dict[str, Tensor]:
        """Draw with replacement."""
        rows: Any = self._buffer.sample(batch_size)
        return {name: values[0] for name, values in rows._asdict().items()}

    def __len__(self) -> int:
        return self._buffer.size


class TargetNetworks:
    """QMIX's networks for two agents, with their targets."""

    def __init__(self) -> None:
        self.online = nn.ModuleList([UtilityNetworks(2, 4, 3, (8,)), qmix.Hypernetwork(2, 5, 4)])
        self.target = frozen_copy(self.online)

    def sync(self) -> None:
        """Copy all parameters."""
        synchronise(self.target, self.online)

    def soft_update(self, tau: float) -> None:
        """Move all parameters by a share."""
        approach(self.target, self.online, tau)


class QMIXLearner:
    """QMIX on the two-step game, given batches."""

    target_interval = 3

    def __init__(self) -> None:
        game = _two_step()
        config = QMIXConfig(
            hidden=(8,), embed=4, batch_size=4, capacity=8, copies=1, target_interval=self.target_interval
        )
        self._learner = qmix.QMIX(game, config)
        self.n_agents, self.n_actions = game.n_agents, game.n_actions
        self.observation_size, self.state_size = game.observation_size, game.state_size
        self.online = {"agents": self._learner.theta, "mixer": self._learner.theta_hyper}
        self.target = {"agents": self._learner.theta_bar, "mixer": self._learner.theta_bar_hyper}
        self.state_dict, self.load_state_dict = self._learner.state_dict, self._learner.load_state_dict

    def learn(self, batch: dict[str, Tensor]) -> None:
        """Make one update; the axis in front is that of the seeds."""
        fields = {
            "history": batch["observations"],
            "z": batch["state"],
            "action": batch["actions"],
            "reward": batch["rewards"][:, 0],
            "next_history": batch["next_observations"],
            "next_available": batch["next_available"],
            "next_z": batch["next_state"],
            "terminated": batch["terminated"],
        }
        self._learner.learn(qmix.Transition(**{name: values[None] for name, values in fields.items()}))


_two_step = cache(two_step_game)  # functional, and slow to make for each of thousands of learners


def _anywhere(terminal: Any) -> Any:
    """The initial distribution, of which values do not depend: the first state that is not terminal."""
    return np.eye(len(terminal))[np.argmin(terminal)]


def _declared(function: Procedure, **declarations: Any) -> Procedure:
    vars(function).update(declarations)
    return function


REFERENCE_TARGETS = (
    ("marlspec.properties.reference_targets:vdn_mixer", "vdn_mixer"),
    ("marlspec.properties.reference_targets:qmix_mixer", "qmix_mixer"),
    ("marlspec.properties.reference_targets:nash_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:minimax_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:correlated_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:coarse_correlated_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:nash_check", "nash_check"),
    ("marlspec.properties.reference_targets:pareto_check", "pareto_check"),
    ("marlspec.properties.reference_targets:correlated_pareto_check", "pareto_check"),
    ("marlspec.properties.reference_targets:evaluator", "evaluator"),
    ("marlspec.properties.reference_targets:optimal_backup", "optimal_backup"),
    ("marlspec.properties.reference_targets:iql_update", "tabular_update"),
    ("marlspec.properties.reference_targets:cql_update", "cql_update"),
    ("marlspec.properties.reference_targets:one_agents_cql_update", "cql_update"),
    ("marlspec.properties.reference_targets:idqn_target", "td_target"),
    ("marlspec.properties.reference_targets:vdn_target", "td_target"),
    ("marlspec.properties.reference_targets:critic_target", "td_target"),
    ("marlspec.properties.reference_targets:coma_returns", "return_estimator"),
    ("marlspec.properties.reference_targets:coma_returns_of_rollouts", "return_estimator"),
    ("marlspec.properties.reference_targets:coma_advantage", "counterfactual_advantage"),
    ("marlspec.properties.reference_targets:coma_critic", "counterfactual_critic"),
    ("marlspec.properties.reference_targets:ia2c_actor_loss", "policy_loss"),
    ("marlspec.properties.reference_targets:coma_actor_loss", "policy_loss"),
    ("marlspec.properties.reference_targets:policy", "policy"),
    ("marlspec.properties.reference_targets:floored_policy", "policy"),
    ("marlspec.properties.reference_targets:epsilon_greedy", "epsilon_greedy"),
    ("marlspec.properties.reference_targets:two_step_game", "game"),
    ("marlspec.properties.reference_targets:game_of_chance", "game"),
    ("marlspec.properties.reference_targets:ReplayRing", "replay_buffer"),
    ("marlspec.properties.reference_targets:TargetNetworks", "target_network"),
    ("marlspec.properties.reference_targets:QMIXLearner", "learner"),
)
