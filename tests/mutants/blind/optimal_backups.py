"""Optimal backups."""

from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind, masks, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "optimal_backup"
SIZES = ((3, 2), (1, 1), (2, 2), (4, 3), (3, 3), (5, 1), (2, 4), (1, 3), (6, 2), (4, 4), (3, 5))


def rule(transitions: Array, rewards: Array, terminal: Array, gamma: float, q: Array) -> Array:
    """The definition, entry by entry."""
    found = np.zeros(q.shape)
    for s, a in np.ndindex(*q.shape):
        for following in range(len(q)):
            onward = 0.0 if terminal[following] else max(float(value) for value in q[following])
            found[s, a] += transitions[s, a, following] * (rewards[s, a, following] + gamma * onward)
    return found


def cases(function: Any) -> list[Arguments]:
    """Random games, with impossible and with improbable successors; in every third all values are negative."""
    generator = np.random.default_rng(29)
    made = []
    for k, (states, count) in enumerate(SIZES * 4):
        shape = (states, count, states)
        transitions = generator.exponential(size=shape) ** (1 + 2 * (k % 2)) * masks(generator, shape)
        transitions /= transitions.sum(-1, keepdims=True)
        terminal = generator.random(states) < (0.0, 0.3, 0.6)[k % 3]
        terminal[generator.integers(states)] = False
        q = generator.normal(size=(states, count)) * 3 - 10 * (k % 3 == 1)
        gamma = (0.5, 1.0, 0.9, 0.0, 0.25)[k % 5]
        made.append((transitions, generator.normal(size=shape) * 3, terminal, gamma, q))
    return made


def off_at_states(factory: Factory) -> float:
    """The largest distance from the definition, rows of terminal states apart."""
    function, worst = factory(), 0.0
    for case in cases(function):
        answer = as_array(function(*[in_kind(function, value) for value in case]))
        expected, goes_on = rule(*case), ~case[2]
        worst = max(worst, gap(answer[goes_on], expected[goes_on]) if answer.shape == expected.shape else NEVER)
    return worst


RULE = Violation("TQ is the expected reward and discounted best value of what comes next", off_at_states)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; reward and value in one array, one einsum; rows of terminal states are as any other's")
class EinsumBackup:
    def best(self, q: Array, terminal: Array) -> Array:
        return q.max(-1)

    def onward(self, q: Array, terminal: Array) -> Array:
        return np.where(terminal, 0.0, self.best(q, terminal))

    def discount(self, gamma: float) -> float:
        return gamma

    def ends(self, terminal: Array) -> Array:
        return terminal

    def outcomes(self, transitions: Array, rewards: Array, values: Array, ends: Array) -> Array:
        return rewards + values

    def __call__(self, transitions, rewards, terminal, gamma, q):
        ends = self.ends(terminal)
        values = self.discount(gamma) * self.onward(q, ends)
        return np.einsum("sap,sap->sa", transitions, self.outcomes(transitions, rewards, values, ends))


@good(ROLE, "", "plain Python; over possible successors, in lists; rows of terminal states are not numbers")
class SuccessorLists:
    def possible(self, row: Array) -> list[int]:
        return [following for following, probability in enumerate(row) if probability > 0]

    def best(self, row: Array) -> float:
        found = row[0]
        for a in range(1, len(row)):
            found = max(found, row[a])
        return float(found)

    def stops(self, s: int, following: int, terminal: Array) -> bool:
        return bool(terminal[following])

    def __call__(self, transitions, rewards, terminal, gamma, q):
        found = [[float("nan")] * q.shape[1] for _ in range(q.shape[0])]
        for s in np.flatnonzero(~terminal):
            for a in range(q.shape[1]):
                total = 0.0
                for following in self.possible(transitions[s, a]):
                    value = 0.0 if self.stops(s, following, terminal) else self.best(q[following])
                    total += transitions[s, a, following] * (rewards[s, a, following] + gamma * value)
                found[s][a] = total
        return found


@good(ROLE, "", "torch; expected rewards and a matrix product; rows of terminal states keep their values")
class ModelProducts:
    arrays = "torch"

    def expected(self, transitions, rewards):
        return (transitions * rewards).sum(-1)

    def values(self, q, terminal):
        return q.amax(-1).masked_fill(terminal, 0.0)

    def onward(self, transitions, values):
        return transitions @ values

    def __call__(self, transitions, rewards, terminal, gamma, q):
        onward = self.onward(transitions, self.values(q, terminal))
        backed_up = torch.add(self.expected(transitions, rewards), onward, alpha=gamma)
        return torch.where(terminal.unsqueeze(-1), q, backed_up)


@bad(ROLE, "einsum_backup", "terminal states are worth their best value, too", RULE)
class TerminalStatesAreWorth(EinsumBackup):
    def onward(self, q, terminal):
        return self.best(q, terminal)


@bad(ROLE, "einsum_backup", "the maximum runs over states where there are as many as actions", RULE)
class MaximumOverStates(EinsumBackup):
    def best(self, q, terminal):
        return q.max(0) if q.shape[0] == q.shape[1] else q.max(-1)


@bad(ROLE, "einsum_backup", "the maximum begins at 0, so that no state is worth less", RULE)
class MaximumFromZero(EinsumBackup):
    def best(self, q, terminal):
        return q.max(-1, initial=0.0)


@bad(ROLE, "einsum_backup", "the discount is kept at or below 0.95, so that iterations converge", RULE)
class DiscountKeptBelowOne(EinsumBackup):
    def discount(self, gamma):
        return min(gamma, 0.95)


@bad(ROLE, "einsum_backup", "the last state counts as terminal where none is marked", RULE)
class LastStateEnds(EinsumBackup):
    def ends(self, terminal):
        return terminal if terminal.any() else np.arange(len(terminal)) == len(terminal) - 1


@bad(ROLE, "einsum_backup", "what is paid on entering a terminal state is lost", RULE)
class LastRewardLost(EinsumBackup):
    def outcomes(self, transitions, rewards, values, ends):
        return np.where(ends, 0.0, rewards + values)


@bad(ROLE, "einsum_backup", "the reward is that of the most probable successor", RULE)
class RewardOfTheLikeliest(EinsumBackup):
    def outcomes(self, transitions, rewards, values, ends):
        return np.take_along_axis(rewards, transitions.argmax(-1)[..., None], -1) + values


@bad(ROLE, "einsum_backup", "values are relative to the first state's, as in iterations for average rewards", RULE)
class RelativeToTheFirstState(EinsumBackup):
    def best(self, q, terminal):
        return q.max(-1) - q[0].max()


@bad(ROLE, "successor_lists", "successors of probability below a twentieth are passed over", RULE)
class ImprobablePassedOver(SuccessorLists):
    def possible(self, row):
        return [following for following, probability in enumerate(row) if probability >= 0.05]


@bad(ROLE, "successor_lists", "a state that returns to itself counts as absorbing, and is worth nothing there", RULE)
class ReturningIsAbsorbing(SuccessorLists):
    def stops(self, s, following, terminal):
        return bool(terminal[following]) or s == following


@bad(ROLE, "successor_lists", "the last of more than two actions is left out of the maximum", RULE)
class LastActionLeftOut(SuccessorLists):
    def best(self, row):
        return super().best(row[: max(2, len(row) - 1)])


@bad(ROLE, "successor_lists", "states are backed up in turn, in one table: later ones see the new values", RULE)
class OneTableInTurn(SuccessorLists):
    def __call__(self, transitions, rewards, terminal, gamma, q):
        table = q.copy()
        for s in np.flatnonzero(~terminal):
            table[s] = super().__call__(transitions, rewards, terminal, gamma, table)[s]
        return table


@bad(ROLE, "model_products", "sets the values of terminal states to 0 in the table that it was handed", PURE)
class ClearsTheTable(ModelProducts):
    def values(self, q, terminal):
        q[terminal] = 0.0
        return q.amax(-1)


@bad(ROLE, "model_products", "expected rewards are computed once for each number of states and actions", RULE)
class RewardsOfTheFirstGame(ModelProducts):
    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def expected(self, transitions, rewards):
        return self.known.setdefault(rewards.shape, super().expected(transitions, rewards))


@bad(ROLE, "model_products", "the value is that of the states that lead here, not of those that follow", RULE)
class ValueOfPredecessors(ModelProducts):
    def onward(self, transitions, values):
        return transitions.transpose(0, 2) @ values


@bad(ROLE, "model_products", "chance is hoped for: the best possible successor's value in place of the mean", RULE)
class BestSuccessor(ModelProducts):
    def onward(self, transitions, values):
        return values.expand_as(transitions).masked_fill(transitions == 0, -torch.inf).amax(-1)


BAD, GOOD = bad.targets(), good.targets()
