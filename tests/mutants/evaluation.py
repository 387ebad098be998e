"""Evaluators of joint policies and optimal backups: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the roles evaluator and optimal_backup say.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Array = NDArray[np.float64]

good, bad = Collection(), Collection()


# --- measures: simulation-free, by plain loops over a few fixed games -------------------------------------------------


@dataclass(frozen=True)
class Game:
    """A game with a joint policy, in float64; terminal states are absorbing and pay nothing."""

    transitions: Array
    rewards: Array
    terminal: NDArray[np.bool_]
    policy: list[Array]
    gamma: float

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.transitions, self.rewards, self.terminal, self.policy, self.gamma)


def games(count: int = 12, agents: int = 2, seed: int = 3) -> list[Game]:
    """Random games with 3 states, the last one terminal in two of three of them."""
    generator = np.random.default_rng(seed)
    made = []
    for k in range(count):
        actions = generator.integers(2, 4, agents).tolist()
        transitions = generator.dirichlet(np.ones(3), (3, *actions))
        rewards = generator.normal(size=(agents, 3, *actions, 3))
        terminal = np.array([False, False, k % 3 > 0])
        transitions[terminal] = np.eye(3)[2]
        rewards[:, terminal] = 0
        policy = [generator.dirichlet(np.ones(own), 3) for own in actions]
        made.append(Game(transitions, rewards, terminal, policy, (0.95, 0.8, 0.5)[k % 3]))
    return made


def one_sweep(game: Game, values: Array) -> Array:
    """The right-hand side of the recursive equations, entry by entry."""
    n, n_states = values.shape
    result = np.zeros_like(values)
    for i, s in product(range(n), range(n_states)):
        if game.terminal[s]:
            continue
        for a in product(*(range(own.shape[1]) for own in game.policy)):
            chance = np.prod([own[s, action] for own, action in zip(game.policy, a, strict=True)])
            for k in range(n_states):
                ahead = game.rewards[(i, s, *a, k)] + game.gamma * values[i, k]
                result[i, s] += chance * game.transitions[(s, *a, k)] * ahead
    return result


def residual(factory: Factory, terminal: bool) -> float:
    """By how much the values miss their own equations, in the terminal states or in the others."""
    worst = 0.0
    for game in games():
        values = np.asarray(factory()(*game.arguments), dtype=np.float64)
        error = np.abs(values - one_sweep(game, values))[:, game.terminal == terminal]
        worst = max(worst, float(error.max(initial=0.0)))
    return worst


def meddling(factory: Factory) -> float:
    """How far the first agent's values move when the second agent's rewards are drawn anew."""
    worst = 0.0
    for game in games():
        other = game.rewards.copy()
        other[1] = -3 * other[1] + 1 * (~game.terminal)[:, None, None, None]
        before = np.asarray(factory()(*game.arguments), dtype=np.float64)[0]
        after = np.asarray(factory()(game.transitions, other, *game.arguments[2:]), dtype=np.float64)[0]
        worst = max(worst, float(np.abs(after - before).max()))
    return worst


def inconstancy(factory: Factory) -> float:
    """How far the worth of a constant reward misses it, in games without an end."""
    worst = 0.0
    for game in games():
        if not game.terminal.any():
            rewards = np.ones_like(game.rewards) * (1 - game.gamma)
            arguments = (game.transitions, rewards, game.terminal, game.policy, game.gamma)
            values = np.asarray(factory()(*arguments), dtype=np.float64)
            worst = max(worst, float(np.abs(values - 1).max()))
    return worst


def unsteadiness(factory: Factory) -> float:
    """The difference between two answers to one question, with another in between."""
    worst = 0.0
    for game, other in zip(games(), games(seed=4), strict=True):
        function = factory()
        before = np.asarray(function(*game.arguments), dtype=np.float64)
        function(*other.arguments)
        worst = max(worst, float(np.abs(np.asarray(function(*game.arguments), dtype=np.float64) - before).max()))
    return worst


RECURSIVE = Violation("return.recursive", lambda factory: residual(factory, terminal=False))
TERMINAL = Violation("return.terminal", lambda factory: residual(factory, terminal=True))
AGENTS = Violation("return.agents", meddling)
CONST = Violation("return.const", inconstancy)
REPEATABLE = Violation("return.repeatable", unsteadiness)


# --- evaluators -------------------------------------------------------------------------------------------------------


@good("evaluator", "", "The equations solved as a linear system.")
class LinearSolve:
    def joint(self, policy: list[Array]) -> Array:
        """pi(a | s) [S, A_1 * .. * A_n]."""
        joint = policy[0]
        for own in policy[1:]:
            joint = (joint[:, :, None] * own[:, None, :]).reshape(len(own), -1)
        return joint

    def chain(self, transitions: Array, joint: Array) -> Array:
        """P(s' | s) [S, S]."""
        n_states = len(transitions)
        return np.einsum("sj,sjk->sk", joint, transitions.reshape(n_states, -1, n_states))

    def pay(self, transitions: Array, rewards: Array, joint: Array) -> Array:
        """The expected reward of a step [n, S]."""
        n, n_states = len(rewards), len(transitions)
        flat = rewards.reshape(n, n_states, -1, n_states)
        return np.einsum("sj,sjk,isjk->is", joint, transitions.reshape(n_states, -1, n_states), flat)

    def values(self, chain: Array, pay: Array, terminal: NDArray[np.bool_], gamma: float) -> Array:
        going = ~terminal
        system = np.eye(len(chain)) - gamma * chain * going
        return np.linalg.solve(system, (pay * going).T).T

    def __call__(
        self,
        transitions: Array,
        rewards: Array,
        terminal: NDArray[np.bool_],
        policy: list[Array],
        gamma: float,
    ) -> Any:
        joint = self.joint(policy)
        return self.values(self.chain(transitions, joint), self.pay(transitions, rewards, joint), terminal, gamma)


@good("evaluator", "linear_solve", "Sweeps over all states until nothing moves by more than 1e-8.")
class Sweeps(LinearSolve):
    stop = 1e-8

    def sweep(self, values: Array, chain: Array, pay: Array, gamma: float) -> Array:
        return pay + gamma * values @ chain.T

    def values(self, chain, pay, terminal, gamma):
        values = np.zeros_like(pay)
        while True:
            new = self.sweep(values, chain, pay, gamma) * ~terminal
            if np.abs(new - values).max() <= self.stop:
                return new
            values = new


@good("evaluator", "sweeps", "Values are overwritten one state after the other, the newest ones being used.")
class SweepsInPlace(Sweeps):
    def sweep(self, values, chain, pay, gamma):
        new = values.copy()
        for s in range(len(chain)):
            new[:, s] = pay[:, s] + gamma * new @ chain[s]
        return new


@good("evaluator", "linear_solve", "Plain loops over states, joint actions and successors, agent by agent, in Python.")
class PlainLoops:
    def __call__(self, transitions, rewards, terminal, policy, gamma):
        n_states = len(terminal)
        values = [[0.0] * n_states for _ in rewards]
        pay = [[0.0] * n_states for _ in rewards]
        chain = [[0.0] * n_states for _ in range(n_states)]
        for s in range(n_states):
            for a in product(*(range(own.shape[1]) for own in policy)):
                chance = 1.0
                for own, action in zip(policy, a, strict=True):
                    chance *= float(own[s, action])
                if chance == 0 or terminal[s]:
                    continue
                for k in range(n_states):
                    weight = chance * float(transitions[(s, *a, k)])
                    chain[s][k] += weight
                    for i in range(len(rewards)):
                        pay[i][s] += weight * float(rewards[(i, s, *a, k)])
        for i in range(len(rewards)):
            change = 1.0
            while change > 1e-7:
                own = values[i]
                values[i] = [
                    pay[i][s] + gamma * sum(c * v for c, v in zip(chain[s], own, strict=True)) for s in range(n_states)
                ]
                change = max(abs(x - y) for x, y in zip(values[i], own, strict=True))
        return values


@good("evaluator", "linear_solve", "With torch, in single precision.")
class TorchSingle:
    arrays = "torch"

    def __call__(self, transitions, rewards, terminal, policy, gamma):
        transitions, rewards = torch.as_tensor(transitions).float(), torch.as_tensor(rewards).float()
        joint = torch.as_tensor(policy[0]).float()
        for own in policy[1:]:
            joint = (joint[:, :, None] * torch.as_tensor(own).float()[:, None, :]).flatten(1)
        n_states = len(transitions)
        weights = joint[:, :, None] * transitions.reshape(n_states, -1, n_states)
        pay = (weights * rewards.reshape(len(rewards), n_states, -1, n_states)).sum((2, 3))
        system = torch.eye(n_states) - gamma * weights.sum(1)
        return torch.linalg.solve(system.float(), pay.T).T


@good("evaluator", "linear_solve", "Terminal rows are not looked at: the system has the other states alone.")
class OtherStatesAlone(LinearSolve):
    undiscounted = True

    def values(self, chain, pay, terminal, gamma):
        going = np.flatnonzero(~terminal)
        values = np.zeros_like(pay)
        system = np.eye(len(going)) - gamma * chain[np.ix_(going, going)]
        values[:, going] = np.linalg.solve(system, pay[:, going].T).T
        return values


@good("evaluator", "linear_solve", "For two agents alone, by a power series.")
class PowerSeries(LinearSolve):
    agents = (2,)

    def values(self, chain, pay, terminal, gamma):
        total, ahead, discount = np.zeros_like(pay), pay, 1.0
        while discount * 100 > 1e-9:
            total = total + discount * ahead
            ahead, discount = ahead @ chain.T, discount * gamma
        return total


@bad("evaluator", "linear_solve", "The discount is applied twice.", RECURSIVE)
class GammaTwice(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return super().values(chain, pay, terminal, gamma * gamma)


@bad("evaluator", "linear_solve", "The discount is nearly forgotten.", CONST)
class HardlyAnyDiscount(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return super().values(chain, pay, terminal, 1 - (1 - gamma) / 2)


@bad("evaluator", "linear_solve", "The first reward is discounted as well.", CONST)
class RewardDiscounted(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return super().values(chain, gamma * pay, terminal, gamma)


@bad("evaluator", "sweeps", "The sweeps stop after thirty.", RECURSIVE)
class ThirtySweeps(Sweeps):
    def values(self, chain, pay, terminal, gamma):
        values = np.zeros_like(pay)
        for _ in range(30):
            values = self.sweep(values, chain, pay, gamma) * ~terminal
        return values


@bad("evaluator", "sweeps", "The sweeps stop where nothing moves by more than a hundredth.", RECURSIVE)
class StopsEarly(Sweeps):
    stop = 1e-2


@bad("evaluator", "sweeps", "The sweeps stop as soon as one value stands still.", RECURSIVE)
class StopsAtTheFirst(Sweeps):
    def values(self, chain, pay, terminal, gamma):
        values = np.zeros_like(pay)
        for _ in range(3000):
            new = self.sweep(values, chain, pay, gamma) * ~terminal
            if np.abs(new - values).min() <= self.stop:
                return new
            values = new
        return values


@bad("evaluator", "linear_solve", "A terminal state is worth what its neighbours are on average.", TERMINAL)
class TerminalAveraged(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        values = super().values(chain, pay, terminal, gamma)
        if terminal.any() and not terminal.all():
            values[:, terminal] = values[:, ~terminal].mean(axis=1, keepdims=True)
        return values


@bad("evaluator", "linear_solve", "A terminal state is worth 1 (a success bonus).", TERMINAL)
class TerminalBonus(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        values = super().values(chain, pay, terminal, gamma)
        values[:, terminal] = 1.0
        return values


@bad("evaluator", "linear_solve", "An episode that ends starts again in the first state, and goes on.", RECURSIVE)
class StartsAgain(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        chain = chain.copy()
        chain[:, 0] += chain[:, terminal].sum(axis=1)
        chain[:, terminal] = 0
        return super().values(chain, pay, terminal, gamma)


@bad("evaluator", "linear_solve", "The reward of the step into a terminal state is dropped.", RECURSIVE)
class LastRewardDropped(LinearSolve):
    def __call__(self, transitions, rewards, terminal, policy, gamma):
        return super().__call__(transitions, rewards * ~terminal, terminal, policy, gamma)


@bad("evaluator", "linear_solve", "The chain is transposed.", RECURSIVE)
class ChainTransposed(LinearSolve):
    def chain(self, transitions, joint):
        return super().chain(transitions, joint).T


@bad("evaluator", "linear_solve", "The reward is read at the state that is left, not at the successor.", RECURSIVE)
class RewardAtTheWrongSuccessor(LinearSolve):
    def pay(self, transitions, rewards, joint):
        n, n_states = len(rewards), len(transitions)
        flat = rewards.reshape(n, n_states, -1, n_states)
        own = np.stack([flat[:, s, :, s] for s in range(n_states)], axis=1)
        return np.einsum("sj,isj->is", joint, own)


@bad("evaluator", "linear_solve", "Rewards are averaged over successors without their probabilities.", RECURSIVE)
class SuccessorsUnweighted(LinearSolve):
    def pay(self, transitions, rewards, joint):
        n, n_states = len(rewards), len(transitions)
        return np.einsum("sj,isj->is", joint, rewards.reshape(n, n_states, -1, n_states).mean(-1))


@bad("evaluator", "linear_solve", "All agents get the mean of their rewards.", AGENTS)
class RewardsAveraged(LinearSolve):
    def pay(self, transitions, rewards, joint):
        pay = super().pay(transitions, rewards, joint)
        return np.broadcast_to(pay.mean(0), pay.shape)


@bad("evaluator", "linear_solve", "All agents get the sum of their rewards.", AGENTS)
class RewardsSummed(LinearSolve):
    def pay(self, transitions, rewards, joint):
        pay = super().pay(transitions, rewards, joint)
        return np.broadcast_to(pay.sum(0), pay.shape)


@bad("evaluator", "linear_solve", "The agents' values come in reverse order.", AGENTS)
class AgentsReversed(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return super().values(chain, pay, terminal, gamma)[::-1]


@bad("evaluator", "linear_solve", "The second agent's reward is read relative to the first's.", AGENTS)
class RelativeRewards(LinearSolve):
    def pay(self, transitions, rewards, joint):
        pay = super().pay(transitions, rewards, joint)
        return pay if len(pay) == 1 else np.concatenate([pay[:1] - pay[1:2], pay[1:]])


@bad("evaluator", "linear_solve", "Every agent acts by the first agent's policy, as far as it goes.", RECURSIVE)
class FirstAgentsPolicy(LinearSolve):
    def joint(self, policy):
        first = policy[0]
        cut = []
        for own in policy:
            table = np.zeros_like(own)
            size = min(own.shape[1], first.shape[1])
            table[:, :size] = first[:, :size]
            rest = 1 - table.sum(1)
            table[:, 0] += rest
            cut.append(table)
        return super().joint(cut)


@bad("evaluator", "linear_solve", "The most probable action of each agent is taken for sure.", RECURSIVE)
class MostProbable(LinearSolve):
    def joint(self, policy):
        return super().joint([np.eye(own.shape[1])[own.argmax(1)] for own in policy])


@bad("evaluator", "linear_solve", "The policy is not looked at: all joint actions are alike probable.", RECURSIVE)
class UniformPolicy(LinearSolve):
    def joint(self, policy):
        return super().joint([np.full_like(own, 1 / own.shape[1]) for own in policy])


@bad(
    "evaluator", "linear_solve", "Joint actions are numbered with the first agent's action running fastest.", RECURSIVE
)
class FirstAgentFastest(LinearSolve):
    def joint(self, policy):
        sizes = [own.shape[1] for own in policy]
        flat = super().joint(policy[::-1]).reshape(-1, *sizes[::-1])
        return flat.reshape(len(flat), -1)


@bad("evaluator", "linear_solve", "All states use the policy of the first state.", RECURSIVE)
class FirstStatesPolicy(LinearSolve):
    def joint(self, policy):
        return super().joint([np.broadcast_to(own[:1], own.shape) for own in policy])


@bad("evaluator", "sweeps", "The best joint action is taken, not the policy's.", RECURSIVE)
class BestAction(LinearSolve):
    def __call__(self, transitions, rewards, terminal, policy, gamma):
        n, n_states = len(rewards), len(transitions)
        flat = transitions.reshape(n_states, -1, n_states)
        pay = (flat * rewards.reshape(n, n_states, -1, n_states)).sum(-1)
        values = np.zeros((n, n_states))
        for _ in range(2000):
            values = (pay + gamma * np.einsum("sjk,ik->isj", flat, values)).max(-1) * ~terminal
        return values


@bad("evaluator", "linear_solve", "Negative values are cut off.", RECURSIVE)
class NeverNegative(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return np.maximum(super().values(chain, pay, terminal, gamma), 0)


@bad("evaluator", "linear_solve", "The reward is read in whole numbers.", RECURSIVE)
class WholeRewards(LinearSolve):
    def pay(self, transitions, rewards, joint):
        return super().pay(transitions, np.trunc(rewards), joint)


@bad("evaluator", "linear_solve", "The value counts from the next step on.", RECURSIVE)
class OneStepLate(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return super().values(chain, pay, terminal, gamma) @ chain.T


@bad("evaluator", "linear_solve", "The values are normalised by 1 - gamma.", CONST)
class Normalised(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        return (1 - gamma) * super().values(chain, pay, terminal, gamma)


@bad("evaluator", "sweeps", "Sweeps begin where the last game's ended, and there are forty of them.", REPEATABLE)
class WarmStart(Sweeps):
    def __init__(self) -> None:
        self.last: Array | None = None

    def values(self, chain, pay, terminal, gamma):
        start = self.last if self.last is not None and self.last.shape == pay.shape else np.zeros_like(pay)
        for _ in range(40):
            start = self.sweep(start, chain, pay, gamma) * ~terminal
        self.last = start
        return start


@bad("evaluator", "linear_solve", "Values are estimated from twenty sampled episodes.", REPEATABLE)
class MonteCarlo(LinearSolve):
    def values(self, chain, pay, terminal, gamma):
        values = np.zeros_like(pay)
        states = list(range(len(chain)))
        for s in states:
            for _ in range(20):
                at, discount = s, 1.0
                for _ in range(25):
                    values[:, s] += discount * pay[:, at] / 20
                    at = random.choices(states, np.maximum(chain[at], 0))[0]
                    discount *= gamma
        return values * ~terminal


# --- optimal backups: measures ----------------------------------------------------------------------------------------


def processes(count: int = 12, seed: int = 7) -> list[tuple[Array, Array, NDArray[np.bool_], float]]:
    """Random decision processes with one agent."""
    return [
        (game.transitions, game.rewards[0], game.terminal, game.gamma) for game in games(count, agents=1, seed=seed)
    ]


def tables(process: tuple[Array, ...], seed: int) -> list[Array]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=process[0].shape[:2]) * 2 - shift for shift in (0, 3)]


def plain_backup(process: tuple[Any, ...], q: Array) -> Array:
    transitions, rewards, terminal, gamma = process
    result = np.zeros_like(q)
    for (s, a), k in product(np.ndindex(*q.shape), range(len(q))):
        ahead = 0.0 if terminal[k] else max(q[k].tolist())
        result[s, a] += transitions[s, a, k] * (rewards[s, a, k] + gamma * ahead)
    return result


def worst_of(factory: Factory, error: Callable[[Any, tuple[Any, ...], Array], Array]) -> float:
    """The largest error of a measure over processes and tables, in states that are not terminal."""
    worst = 0.0
    for number, process in enumerate(processes()):
        for q in tables(process, number):
            worst = max(worst, float(np.abs(error(factory(), process, q))[~process[2]].max()))
    return worst


def backed_up(function: Any, process: tuple[Any, ...], q: Array) -> Array:
    return np.asarray(function(*process, q), dtype=np.float64)


def rule_error(function: Any, process: tuple[Any, ...], q: Array) -> Array:
    return backed_up(function, process, q) - plain_backup(process, q)


def shift_error(function: Any, process: tuple[Any, ...], q: Array) -> Array:
    transitions, _, terminal, gamma = process
    added = backed_up(function, process, q + 2.5) - backed_up(function, process, q)
    return added - 2.5 * gamma * (transitions * ~terminal).sum(-1)


def stretch(factory: Factory) -> float:
    """By how much two tables end up too far apart."""
    worst = 0.0
    for number, process in enumerate(processes()):
        one, other = tables(process, number)
        going = ~process[2]
        for second in (other, one[:, ::-1].copy(), one + 0.1 * other):
            after = np.abs(backed_up(factory(), process, one) - backed_up(factory(), process, second))[going].max()
            worst = max(worst, float(after - process[3] * np.abs(one - second)[going].max()))
    return worst


def fixpoint_error(function: Any, process: tuple[Any, ...], q: Array) -> Array:
    """How far the fixed point of the plain backup moves."""
    transitions, rewards, terminal, gamma = process
    optimal = np.zeros_like(q)
    for _ in range(600):
        following = np.where(terminal, 0.0, optimal.max(axis=1))
        optimal = (transitions * (rewards + gamma * following)).sum(axis=-1)
    return backed_up(function, process, optimal) - optimal


def backup_unsteadiness(function: Any, process: tuple[Any, ...], q: Array) -> Array:
    before = backed_up(function, process, q)
    backed_up(function, process, q + 1)
    backed_up(function, process, q + 2)
    return backed_up(function, process, q) - before


RULE = Violation("bellman.rule", lambda factory: worst_of(factory, rule_error))
SHIFT = Violation("bellman.shift", lambda factory: worst_of(factory, shift_error))
CONTRACT = Violation("bellman.contract", stretch)
FIXPOINT = Violation("bellman.fixpoint", lambda factory: worst_of(factory, fixpoint_error))
BACKUP_REPEATABLE = Violation("bellman.repeatable", lambda factory: worst_of(factory, backup_unsteadiness))


# --- optimal backups --------------------------------------------------------------------------------------------------


@good("optimal_backup", "", "The definition in whole arrays.")
class Backup:
    def following(self, q: Array, terminal: NDArray[np.bool_]) -> Array:
        """max Q(s', .) [S], zero for terminal s'."""
        return np.where(terminal, 0.0, q.max(axis=1))

    def ahead(self, rewards: Array, following: Array, gamma: float) -> Array:
        """R + gamma following [S, A, S]."""
        return rewards + gamma * following

    def __call__(self, transitions: Array, rewards: Array, terminal: NDArray[np.bool_], gamma: float, q: Array) -> Any:
        return (transitions * self.ahead(rewards, self.following(q, terminal), gamma)).sum(axis=-1)


@good("optimal_backup", "backup", "Expected rewards first, then a product of matrices.")
class BackupByMatrices(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        expected = np.einsum("sak,sak->sa", transitions, rewards)
        return expected + gamma * transitions @ (q.max(axis=1) * ~terminal)


@good("optimal_backup", "backup", "Loops over states, actions and possible successors; terminal rows are left as Q's.")
class BackupByLoops:
    def __call__(self, transitions, rewards, terminal, gamma, q):
        result = [list(row) for row in q.tolist()]
        for s in np.flatnonzero(~terminal):
            for a in range(q.shape[1]):
                result[s][a] = sum(
                    transitions[s, a, k] * (rewards[s, a, k] + (0 if terminal[k] else gamma * max(q[k])))
                    for k in np.flatnonzero(transitions[s, a])
                )
        return result


@good("optimal_backup", "backup", "With torch, in single precision, and zero in the rows of terminal states.")
class BackupInTorch:
    arrays = "torch"

    def __call__(self, transitions, rewards, terminal, gamma, q):
        transitions, rewards, terminal, q = map(torch.as_tensor, (transitions, rewards, terminal, q))
        following = q.float().amax(1).masked_fill(terminal, 0.0)
        backed_up = (transitions.float() * (rewards.float() + gamma * following)).sum(-1)
        return backed_up.masked_fill(terminal[:, None], 0.0)


@good("optimal_backup", "backup", "Rows of terminal states hold no numbers (NaN).")
class BackupWithoutTerminalRows(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        return np.where(terminal[:, None], np.nan, super().__call__(transitions, rewards, terminal, gamma, q))


@bad("optimal_backup", "backup", "What Q holds in terminal states is used.", SHIFT)
class TerminalRowsUsed(Backup):
    def following(self, q, terminal):
        return q.max(axis=1)


@bad("optimal_backup", "backup", "The mask is that of the state which is left, not of the next one.", SHIFT)
class MaskOfTheState(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        ahead = rewards + gamma * q.max(axis=1) * ~terminal[:, None, None]
        return (transitions * ahead).sum(axis=-1)


@bad("optimal_backup", "backup", "The reward of the step into a terminal state is masked as well.", FIXPOINT)
class RewardMasked(Backup):
    def ahead(self, rewards, following, gamma):
        return rewards * (following != 0) + gamma * following


@bad("optimal_backup", "backup", "The discount is applied twice.", SHIFT)
class BackupGammaTwice(Backup):
    def ahead(self, rewards, following, gamma):
        return rewards + gamma * gamma * following


@bad("optimal_backup", "backup", "The discount is forgotten.", CONTRACT)
class BackupNoGamma(Backup):
    def ahead(self, rewards, following, gamma):
        return rewards + following


@bad("optimal_backup", "backup", "The reward is discounted as well.", RULE)
class BackupRewardDiscounted(Backup):
    def ahead(self, rewards, following, gamma):
        return gamma * (rewards + following)


@bad("optimal_backup", "backup", "The best value of the own row stands for the next state's.", RULE)
class OwnRow(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        ahead = rewards + gamma * q.max(axis=1)[:, None, None] * ~terminal
        return (transitions * ahead).sum(axis=-1)


@bad("optimal_backup", "backup", "The same action is taken again, instead of the best one.", RULE)
class SameAction(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        ahead = rewards + gamma * (q * ~terminal[:, None]).T
        return (transitions * ahead).sum(axis=-1)


@bad("optimal_backup", "backup", "The maximum is outside the mean over next states.", RULE)
class MaximumOutside(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        mean = np.einsum("sak,kb->sab", transitions, q * ~terminal[:, None]).max(axis=-1)
        return (transitions * rewards).sum(axis=-1) + gamma * mean


@bad("optimal_backup", "backup", "The worst action follows, instead of the best.", FIXPOINT)
class WorstFollows(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, q.min(axis=1))


@bad("optimal_backup", "backup", "The mean over actions follows (a uniform policy).", FIXPOINT)
class MeanFollows(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, q.mean(axis=1))


@bad("optimal_backup", "backup", "A soft maximum follows, of temperature one.", RULE)
class SoftMaximum(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, np.log(np.exp(q).sum(axis=1)))


@bad("optimal_backup", "backup", "The index of the best action stands for its value.", CONTRACT)
class ArgmaxFollows(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, q.argmax(axis=1) * 3.0)


@bad("optimal_backup", "backup", "The best value of any state follows.", RULE)
class BestOfAnyState(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, q[~terminal].max() if (~terminal).any() else 0.0)


@bad("optimal_backup", "backup", "Transitions are transposed: from the next state to this one.", FIXPOINT)
class BackupTransposed(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        return super().__call__(transitions.transpose(2, 1, 0), rewards, terminal, gamma, q)


@bad("optimal_backup", "backup", "The reward is read at the state that is left.", RULE)
class RewardAtTheStateLeft(Backup):
    def ahead(self, rewards, following, gamma):
        own = np.stack([rewards[s, :, s] for s in range(len(rewards))])
        return own[:, :, None] + gamma * following


@bad("optimal_backup", "backup", "The most probable next state is taken for sure.", RULE)
class MostProbableState(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        sure = np.eye(len(q))[transitions.argmax(-1)]
        return super().__call__(sure, rewards, terminal, gamma, q)


@bad("optimal_backup", "backup", "Rows are written into the table that the rows after them read.", RULE)
class WrittenInPlace(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        q = q.copy()
        for s in np.flatnonzero(~terminal):
            q[s] = super().__call__(transitions, rewards, terminal, gamma, q)[s]
        return q


@bad("optimal_backup", "backup", "The backup is applied twice.", SHIFT)
class AppliedTwice(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        once = super().__call__(transitions, rewards, terminal, gamma, q)
        return super().__call__(transitions, rewards, terminal, gamma, once)


@bad("optimal_backup", "backup", "Values below zero are lifted to zero.", RULE)
class LiftedToZero(Backup):
    def following(self, q, terminal):
        return np.where(terminal, 0.0, np.maximum(q.max(axis=1), 0.0))


@bad("optimal_backup", "backup", "The old table is mixed in by half.", SHIFT)
class OldTableMixedIn(Backup):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        return 0.5 * q + 0.5 * super().__call__(transitions, rewards, terminal, gamma, q)


@bad(
    "optimal_backup",
    "backup",
    "Every second call returns what the one before did, where the shape allows it.",
    BACKUP_REPEATABLE,
)
class Cached(Backup):
    def __init__(self) -> None:
        self.kept: Array | None = None

    def __call__(self, transitions, rewards, terminal, gamma, q):
        if self.kept is not None and self.kept.shape == q.shape:
            kept, self.kept = self.kept, None
            return kept
        self.kept = super().__call__(transitions, rewards, terminal, gamma, q)
        return self.kept


BAD = bad.targets()
GOOD = good.targets()
