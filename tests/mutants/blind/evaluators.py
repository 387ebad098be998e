"""Evaluators of joint policies in stochastic games."""

from collections.abc import Sequence
from functools import cache, reduce
from itertools import product
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import Arguments, Array, gap, masks
from .nash_checks import changes, handed

good, bad = Collection(), Collection()
ROLE = "evaluator"
SIZES = (
    (3, 2),
    (3, 2, 2),
    (1, 2),
    (2, 2, 3),
    (4, 2, 2, 2),
    (4, 3, 1),
    (3, 2, 2, 2),
    (3, 1, 3, 2),
    (2, 2, 2),
    (5, 2, 3),
)
DISCOUNTS = (0.5, 0.9, 0.0, 0.75, 31 / 32)
END = 0.25  # where an undiscounted game is asked for, each step ends it with this probability at least


def rule(transitions: Array, rewards: Array, terminal: Array, policy: Sequence[Array], gamma: float) -> Array:
    """The recursive equations, coefficient by coefficient, and their solution."""
    n, states = rewards.shape[:2]
    chain, step = np.eye(states), np.zeros((states, n))
    for s in (s for s in range(states) if not terminal[s]):
        for joint in product(*[range(table.shape[1]) for table in policy]):
            for after in range(states):
                weight = float(transitions[(s, *joint, after)])
                for table, action in zip(policy, joint, strict=True):
                    weight *= float(table[s, action])
                chain[s, after] -= gamma * weight
                for i in range(n):
                    step[s, i] += weight * float(rewards[(i, s, *joint, after)])
    return np.linalg.solve(chain, step).T


def stochastic(generator: np.random.Generator, shape: tuple[int, ...], power: int) -> Array:
    """Distributions over the last axis, some entries of which are 0."""
    found = generator.exponential(size=shape) ** power * masks(generator, shape)
    return np.asarray(found / found.sum(-1, keepdims=True))


@cache
def games(agents: tuple[int, ...], undiscounted: bool) -> list[Arguments]:
    """Random games; some have no end, some hardly anything but ends, and what ends go on to is not to be looked at."""
    generator, made = np.random.default_rng(61), []
    for k, (states, *counts) in enumerate([size for size in SIZES if len(size) - 1 in agents] * 7):
        transitions = stochastic(generator, (states, *counts, states), 1 + 2 * (k % 2))
        terminal = generator.random(states) < (0.0, 0.3, 0.6)[k % 3]
        terminal[generator.integers(states)] = False
        if k % 4 == 3:
            transitions[-1] = np.arange(states) == states - 1
        rewards = generator.normal(size=(len(counts), *transitions.shape)) * 3
        rewards[0] *= k % 6 != 5
        policy = [stochastic(generator, (states, count), 1) for count in counts]
        gamma = DISCOUNTS[k % 5]
        if undiscounted and k % 3 == 2 and states > 1:
            gamma, end = 1.0, int(generator.integers(states))
            terminal[end] = True
            transitions = (1 - END) * transitions
            transitions[..., end] += END
        made.append((transitions, rewards, terminal, policy, gamma))
    return made


def cases(function: Any) -> list[Arguments]:
    return games(tuple(getattr(function, "agents", (1, 2, 3))), bool(getattr(function, "undiscounted", False)))


def share_off(factory: Factory) -> float:
    """The largest distance from the rule, as a share of the largest possible return."""
    function, worst = factory(), 0.0
    for case in cases(function):
        largest = abs(case[1]).max() / (END if case[-1] == 1 else 1 - case[-1])
        worst = max(worst, gap(function(*handed(function, case)), rule(*case)) / largest)
    return worst


RULE = Violation("values solve the recursive equations of the policy; terminal states are worth 0", share_off)
PURE = Violation("what is handed over stays as it is", changes(cases))


@good(ROLE, "", "numpy; joint actions in one axis, one linear system for all agents, rows of terminal states cleared")
class OneLinearSystem:
    def table(self, policy: Sequence[Array], i: int) -> Array:
        return policy[i]

    def joint(self, policy: Sequence[Array]) -> Array:
        tables = [self.table(policy, i) for i in range(len(policy))]
        return reduce(lambda found, own: (found[:, :, None] * own[:, None]).reshape(len(own), -1), tables)

    def ends(self, terminal: Array) -> Array:
        return terminal

    def clears(self, transitions: Array, ends: Array) -> Array:
        return np.where(ends[:, None, None], 0.0, transitions)

    def step(self, joint: Array, transitions: Array, rewards: Array) -> Array:
        return np.einsum("sa,sap,isap->si", joint, transitions, rewards)

    def chain(self, joint: Array, transitions: Array) -> Array:
        return np.einsum("sa,sap->sp", joint, transitions)

    def solved(self, chain: Array, step: Array, gamma: float) -> Array:
        return np.linalg.solve(np.eye(len(chain)) - gamma * chain, step)

    def turned(self, values: Array) -> Array:
        return values.T

    def __call__(self, transitions, rewards, terminal, policy, gamma):
        n, states = rewards.shape[:2]
        joint = self.joint(policy)
        flat = self.clears(transitions.reshape(states, -1, states), self.ends(terminal))
        step = self.step(joint, flat, rewards.reshape(n, states, -1, states))
        return self.turned(self.solved(self.chain(joint, flat), step, gamma))


@good(ROLE, "", "plain Python; sweeps over lists of outcomes, with values replaced in turn, until they stand still")
class SweepUntilStill:
    sweeps = 5000

    def actions(self, row: Array) -> list[int]:
        return [action for action, share in enumerate(row) if share > 0]

    def reward(self, rewards: Array, i: int, s: int, joint: tuple[int, ...], after: int) -> float:
        return float(rewards[(i, s, *joint, after)])

    def outcomes(self, transitions: Array, rewards: Array, policy: Sequence[Array], s: int) -> list[Any]:
        found = []
        for joint in product(*[self.actions(table[s]) for table in policy]):
            share = float(np.prod([table[s, action] for table, action in zip(policy, joint, strict=True)]))
            for after, chance in enumerate(transitions[(s, *joint)]):
                paid = [self.reward(rewards, i, s, joint, after) for i in range(len(rewards))]
                found.append((share * float(chance), after, paid))
        return found

    def backed_up(self, weight: float, reward: float, gamma: float, value: float) -> float:
        return weight * (reward + gamma * value)

    def still(self, changes: list[float]) -> bool:
        return max(changes) < 1e-11

    def stored(self, value: float) -> float:
        return value

    def states(self, terminal: Array) -> list[int]:
        return [s for s in range(len(terminal)) if not terminal[s]]

    def __call__(self, transitions, rewards, terminal, policy, gamma):
        states, agents = self.states(terminal), range(len(rewards))
        outcomes = {s: self.outcomes(transitions, rewards, policy, s) for s in states}
        values = [[0.0] * len(terminal) for _ in agents]
        for _ in range(self.sweeps):
            changes = [0.0 for _ in agents]
            for i, s in product(agents, states):
                found = (
                    self.backed_up(weight, paid[i], gamma, values[i][after]) for weight, after, paid in outcomes[s]
                )
                new = self.stored(sum(found))
                changes[i] = max(changes[i], abs(new - values[i][s]))
                values[i][s] = new
            if self.still(changes):
                break
        return values


@good(ROLE, "", "torch; agents are averaged out one after another, and states that go on alone are solved for")
class AverageOutAgents:
    arrays, undiscounted = "torch", True

    def averaged(self, table, policy):
        """The mean of a table [S, A_1, .., A_n, S] over actions."""
        for own in reversed(policy):
            table = (table * own.reshape(len(own), *[1] * (table.ndim - 3), own.shape[1], 1)).sum(-2)
        return table

    def discount(self, gamma):
        return gamma

    def paid(self, transitions, reward, terminal):
        return transitions * reward

    def __call__(self, transitions, rewards, terminal, policy, gamma):
        on = (~terminal).nonzero().flatten()
        inner = self.averaged(transitions, policy)[on][:, on]
        paid = [self.averaged(self.paid(transitions, reward, terminal), policy).sum(-1) for reward in rewards]
        values = torch.zeros(len(rewards), len(terminal), dtype=transitions.dtype)
        system = torch.eye(len(on), dtype=transitions.dtype) - self.discount(gamma) * inner
        values[:, on] = torch.linalg.solve(system, torch.stack(paid)[:, on].T).T
        return values


@good(ROLE, "", "numpy in float32; the horizon is doubled until nothing is left; games that end need no discount")
class DoubledHorizonInSingle:
    undiscounted, epsilon = True, 1e-4
    kind: Any = np.float32
    doublings = 20

    def first(self, values: Array, chain: Array) -> Array:
        return values

    def read(self, table: Array) -> Array:
        return table.astype(self.kind)

    def __call__(self, transitions, rewards, terminal, policy, gamma):
        mass = np.ones((len(terminal), *[1] * len(policy), 1), self.kind)
        for i, own in enumerate(policy):
            shape = [len(own), *[1] * len(policy), 1]
            shape[1 + i] = own.shape[1]
            mass = mass * self.read(own).reshape(shape)
        mass = mass * self.read(transitions) * self.read(~terminal).reshape(-1, *[1] * (len(policy) + 1))
        actions = tuple(range(1, 1 + len(policy)))
        chain = self.kind(gamma) * mass.sum(actions, dtype=self.kind)
        values = (mass * self.read(rewards)).sum((*[a + 1 for a in actions], -1), dtype=self.kind).T
        values = self.first(values, chain)
        for _ in range(self.doublings):
            values, chain = values + chain @ values, chain @ chain
        return values.T


@bad(ROLE, "one_linear_system", "terminal states go on, and are worth what they earn", RULE)
class TerminalStatesGoOn(OneLinearSystem):
    def clears(self, transitions, ends):
        return transitions


@bad(ROLE, "one_linear_system", "one terminal state alone is known, the first", RULE)
class FirstTerminalAlone(OneLinearSystem):
    def ends(self, terminal):
        return (np.arange(len(terminal)) == terminal.argmax()) & terminal.any()


@bad(ROLE, "one_linear_system", "transitions into terminal states are cleared, with what is paid there", RULE)
class EntriesAreCleared(OneLinearSystem):
    def clears(self, transitions, ends):
        return np.where(ends[:, None, None] | ends, 0.0, transitions)


@bad(ROLE, "one_linear_system", "a state that is never left counts as terminal", RULE)
class NeverLeftIsTerminal(OneLinearSystem):
    def clears(self, transitions, ends):
        stuck = np.einsum("sas->sa", transitions).min(1) > 1 - 1e-9
        return super().clears(transitions, ends | stuck)


@bad(ROLE, "one_linear_system", "all agents receive the first one's reward", RULE)
class FirstRewardForAll(OneLinearSystem):
    def step(self, joint, transitions, rewards):
        return super().step(joint, transitions, np.broadcast_to(rewards[:1], rewards.shape))


@bad(ROLE, "one_linear_system", "what successors pay is averaged evenly over possible ones", RULE)
class SuccessorsPayEvenly(OneLinearSystem):
    def step(self, joint, transitions, rewards):
        possible = (transitions > 0) / np.maximum(1, (transitions > 0).sum(-1, keepdims=True))
        return super().step(joint, possible, rewards)


@bad(ROLE, "one_linear_system", "policies are read as greedy ones", RULE)
class PoliciesReadAsGreedy(OneLinearSystem):
    def table(self, policy, i):
        return np.eye(policy[i].shape[1])[policy[i].argmax(1)]


@bad(ROLE, "one_linear_system", "two agents with equally many actions act by each other's policies", RULE)
class EachOthersPolicies(OneLinearSystem):
    def table(self, policy, i):
        return policy[1 - i] if len(policy) == 2 and policy[0].shape == policy[1].shape else policy[i]


@bad(ROLE, "one_linear_system", "policies are normalised over states where there are as many as actions", RULE)
class NormalisedOverStates(OneLinearSystem):
    def table(self, policy, i):
        square = policy[i].shape[0] == policy[i].shape[1]
        return policy[i] / policy[i].sum(0 if square else 1, keepdims=True).clip(1e-9)


@bad(ROLE, "one_linear_system", "agents act by the first state's row everywhere", RULE)
class FirstRowEverywhere(OneLinearSystem):
    def table(self, policy, i):
        return np.broadcast_to(policy[i][:1], policy[i].shape)


@bad(ROLE, "one_linear_system", "from the third agent on, all are taken to act evenly", RULE)
class ThirdActsEvenly(OneLinearSystem):
    def table(self, policy, i):
        return policy[i] if i < 2 else np.full_like(policy[i], 1 / policy[i].shape[1])


@bad(ROLE, "one_linear_system", "values flow along the chain, from predecessors to successors", RULE)
class ChainRunsForwards(OneLinearSystem):
    def chain(self, joint, transitions):
        return super().chain(joint, transitions).T


@bad(ROLE, "one_linear_system", "the values are reshaped, not transposed", RULE)
class ValuesReshaped(OneLinearSystem):
    def turned(self, values):
        return np.ascontiguousarray(values).reshape(values.shape[::-1])


@bad(ROLE, "one_linear_system", "values are normalised by 1 - gamma", RULE)
class NormalisedReturns(OneLinearSystem):
    def solved(self, chain, step, gamma):
        return (1 - gamma) * super().solved(chain, step, gamma)


@bad(
    ROLE, "one_linear_system", "with a discount of 0 there is thought to be nothing to solve, and all is worth 0", RULE
)
class NothingWithoutDiscount(OneLinearSystem):
    def solved(self, chain, step, gamma):
        return super().solved(chain, step, gamma) if gamma else np.zeros_like(step)


@bad(ROLE, "one_linear_system", "two agents' rewards are taken for opposite", RULE)
class SecondLosesWhatFirstWins(OneLinearSystem):
    def turned(self, values):
        return np.stack([values[:, 0], -values[:, 0]]) if values.shape[1] == 2 else values.T


@bad(ROLE, "one_linear_system", "the inverse is kept for the next game of as many states and the same discount", RULE)
class InverseIsKept(OneLinearSystem):
    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}

    def solved(self, chain, step, gamma):
        inverse = np.linalg.inv(np.eye(len(chain)) - gamma * chain)
        return self.kept.setdefault((len(chain), gamma), inverse) @ step


@bad(ROLE, "one_linear_system", "a single agent is taken to act for the best", RULE)
class SingleAgentActsBest(OneLinearSystem):
    def __call__(self, transitions, rewards, terminal, policy, gamma):
        best = list(policy)
        for _ in range(len(terminal) * transitions.shape[1] if len(rewards) == 1 else 0):
            values = super().__call__(transitions, rewards, terminal, best, gamma)
            gained = (transitions * (rewards[0] + gamma * values[0])).sum(-1)
            best = [np.eye(gained.shape[1])[gained.argmax(1)]]
        return super().__call__(transitions, rewards, terminal, best, gamma)


@bad(ROLE, "one_linear_system", "clears the rows of terminal states in the array that it was handed", PURE)
class ClearsTheTransitions(OneLinearSystem):
    def clears(self, transitions, ends):
        transitions[ends] = 0.0
        return transitions


@bad(
    ROLE, "one_linear_system", "the first state is thought to go on even if it is terminal, as play begins there", RULE
)
class PlayBeginsAtTheFirst(OneLinearSystem):
    def ends(self, terminal):
        return terminal & (np.arange(len(terminal)) > 0)


@bad(ROLE, "sweep_until_still", "stops when the first agent's values stand still", RULE)
class FirstAgentStandsStill(SweepUntilStill):
    def still(self, changes):
        return changes[0] < 1e-11


@bad(ROLE, "sweep_until_still", "stops after a hundred sweeps", RULE)
class HundredSweeps(SweepUntilStill):
    sweeps = 100


@bad(ROLE, "sweep_until_still", "a sweep that changes values by less than a tenth is taken for the last", RULE)
class TenthIsStill(SweepUntilStill):
    def still(self, changes):
        return max(changes) < 0.1


@bad(ROLE, "sweep_until_still", "values are stored as whole numbers", RULE)
class WholeValues(SweepUntilStill):
    def stored(self, value):
        return int(value)


@bad(ROLE, "sweep_until_still", "actions of probability below a tenth are passed over", RULE)
class RareActionsPassedOver(SweepUntilStill):
    def actions(self, row):
        return [action for action, share in enumerate(row) if share >= 0.1]


@bad(ROLE, "sweep_until_still", "the reward is that of staying, whatever state comes next", RULE)
class RewardOfStaying(SweepUntilStill):
    def reward(self, rewards, i, s, joint, after):
        return super().reward(rewards, i, s, joint, s)


@bad(ROLE, "sweep_until_still", "the reward is discounted as well, as one that comes a step later", RULE)
class RewardAStepLater(SweepUntilStill):
    def backed_up(self, weight, reward, gamma, value):
        return gamma * weight * (reward + value)


@bad(ROLE, "sweep_until_still", "the last state is never swept where there are more than four", RULE)
class LastStateUnswept(SweepUntilStill):
    def states(self, terminal):
        found = super().states(terminal)
        return found if len(terminal) <= 4 else [s for s in found if s < len(terminal) - 1]


@bad(ROLE, "average_out_agents", "a discount of one is lowered to 0.999, so that the system can be solved", RULE)
class LowersADiscountOfOne(AverageOutAgents):
    def discount(self, gamma):
        return min(gamma, 0.999)


@bad(ROLE, "average_out_agents", "rewards are clipped to one", RULE)
class RewardsOfOneAtMost(AverageOutAgents):
    def paid(self, transitions, reward, terminal):
        return transitions * reward.clamp(-1, 1)


@bad(ROLE, "average_out_agents", "the action of the first of several agents is averaged evenly", RULE)
class AveragesTheFirstEvenly(AverageOutAgents):
    def averaged(self, table, policy):
        if len(policy) < 2:
            return super().averaged(table, policy)
        return super().averaged(table.mean(1, keepdim=True), [torch.ones_like(policy[0][:, :1]), *policy[1:]])


@bad(
    ROLE,
    "average_out_agents",
    "a reward on the step into a terminal state is paid for good, divided by 1 - gamma",
    RULE,
)
class LastRewardForGood(AverageOutAgents):
    def __call__(self, transitions, rewards, terminal, policy, gamma):
        for_good = torch.where(terminal, 1 / (1 - gamma) if gamma < 1 else 1.0, 1.0)
        return super().__call__(transitions, rewards * for_good, terminal, policy, gamma)


@bad(ROLE, "doubled_horizon_in_single", "the horizon is doubled five times and no more", RULE)
class FiveDoublings(DoubledHorizonInSingle):
    doublings = 5


@bad(ROLE, "doubled_horizon_in_single", "the first step's reward is left out", RULE)
class FirstRewardLeftOut(DoubledHorizonInSingle):
    def first(self, values, chain):
        return chain @ values


@bad(ROLE, "doubled_horizon_in_single", "half precision", RULE)
class DoubledHorizonInHalf(DoubledHorizonInSingle):
    kind = np.float16


BAD, GOOD = bad.targets(), good.targets()
