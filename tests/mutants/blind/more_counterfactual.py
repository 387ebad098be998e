"""More counterfactual advantages, whose baselines are found in other ways."""

import math
from typing import Any

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, masks, off_the_rule, writes_into_its_arguments
from .counterfactual import cases as plain_cases
from .counterfactual import rule

good, bad = Collection(), Collection()
ROLE = "counterfactual_advantage"
SHORT = ((4, 2, 3), (5, 3, 2), (1, 2, 3), (3, 3, 3), (6, 1, 4), (2, 4, 4), (7, 3, 3))


def short_cases(function: Any) -> list[Arguments]:
    """Values that are whole, some of them far off, and probabilities in sixteenths, some nearly certain."""
    generator = np.random.default_rng(29)
    made = []
    for k, shape in enumerate(SHORT * 2):
        allowed = masks(generator, shape).reshape(-1, shape[2])
        policy = np.zeros(allowed.shape)
        for row, free in zip(policy, allowed, strict=True):
            support = np.flatnonzero(free)
            row[support] = 1 / 64
            row[generator.choice(support)] += 1 - len(support) / 64 if k % 2 else 0.0
            row[support] += (1 - row.sum()) * generator.multinomial(16, np.full(len(support), 1 / len(support))) / 16
        actions = np.array([generator.choice(np.flatnonzero(row)) for row in policy])
        most = (4, 300, 8)[k % 3]
        q = generator.integers(-most, most + 1, size=shape).astype(float)
        made.append((q, policy.reshape(shape), actions.reshape(shape[:2])))
    return made


def cases(function: Any) -> list[Arguments]:
    return plain_cases(function) + short_cases(function)


RULE = Violation("A = Q(own action) minus the expectation of Q under the own policy", off_the_rule(rule, cases))
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; the advantages of all actions in one table, from which the own one is read")
class TableOfAdvantages:
    def policy(self, policy: Array) -> Array:
        return policy

    def baseline(self, q: Array, policy: Array) -> Array:
        return (self.policy(policy) * q).sum(-1, keepdims=True)

    def centred(self, q: Array, baseline: Array) -> Array:
        return q - baseline

    def actions(self, actions: Array) -> Array:
        return actions

    def __call__(self, q, policy, actions):
        table = self.centred(q, self.baseline(q, policy))
        return np.take_along_axis(table, self.actions(actions)[..., None], axis=-1)[..., 0]


@good(ROLE, "", "torch; a product of all rows with all rows, on whose diagonal the baselines stand")
class DiagonalOfProducts:
    arrays = "torch"

    def lines(self, policy):
        return policy.flatten(0, 1)

    def values(self, q):
        return q

    def __call__(self, q, policy, actions):
        values = self.values(q).flatten(0, 1)
        baseline = (values @ self.lines(policy).T).diagonal()
        own = values[torch.arange(len(values)), actions.flatten()]
        return (own - baseline).unflatten(0, tuple(actions.shape))


@good(ROLE, "", "numpy; the expectation by parts, from the distribution function and the steps between values")
class ExpectationByParts:
    def below(self, policy: Array) -> Array:
        return np.cumsum(policy, axis=-1)[..., :-1]

    def steps(self, q: Array) -> Array:
        return np.diff(q, axis=-1)

    def baseline(self, q: Array, policy: Array) -> Array:
        return q[..., -1] - (self.below(policy) * self.steps(q)).sum(-1)

    def finish(self, advantages: Array) -> Array:
        return advantages

    def __call__(self, q, policy, actions):
        own = np.vectorize(lambda row, action: row[action], signature="(a),()->()")(q, actions)
        return self.finish(own - self.baseline(q, policy))


@good(ROLE, "", "plain Python; exact sums, agents first and rows within them")
class ExactSumsByAgent:
    def one(self, values: list[float], weights: list[float], own: int) -> float:
        return math.fsum([values[own], *(-w * v for w, v in zip(weights, values, strict=True))])

    def row(self, b: int) -> int:
        return b

    def __call__(self, q, policy, actions):
        rows, n = actions.shape
        columns = [
            [self.one(q[b, i].tolist(), policy[b, i].tolist(), int(actions[self.row(b), i])) for b in range(rows)]
            for i in range(n)
        ]
        return [list(line) for line in zip(*columns, strict=True)]


@bad(ROLE, "table_of_advantages", "the baseline is the best value", RULE)
class BestValueBaseline(TableOfAdvantages):
    def baseline(self, q, policy):
        return q.max(-1, keepdims=True)


@bad(ROLE, "table_of_advantages", "the baseline is the mean of all agents' baselines", RULE)
class OneBaselineForAllAgents(TableOfAdvantages):
    def baseline(self, q, policy):
        return super().baseline(q, policy).mean(1, keepdims=True)


@bad(ROLE, "table_of_advantages", "a twentieth of exploration is mixed in once more, over what the policy may do", RULE)
class ExploresOnceMore(TableOfAdvantages):
    def policy(self, policy):
        even = (policy > 0) / (policy > 0).sum(-1, keepdims=True)
        return 0.95 * policy + 0.05 * even


@bad(ROLE, "table_of_advantages", "a policy that is nearly certain counts as certain", RULE)
class NearlyCertainIsCertain(TableOfAdvantages):
    def policy(self, policy):
        return np.where((policy > 0.95).any(-1, keepdims=True), policy.round(), policy)


@bad(ROLE, "table_of_advantages", "takes the baseline away from the values that it was handed", PURE)
class CentresTheValuesInPlace(TableOfAdvantages):
    def centred(self, q, baseline):
        q -= baseline
        return q


@bad(ROLE, "table_of_advantages", "the table has the values' kind, and whole values make whole baselines", RULE)
class WholeValuesWholeBaselines(TableOfAdvantages):
    def baseline(self, q, policy):
        exact = super().baseline(q, policy)
        return exact.astype(int) if (q == q.round()).all() else exact


@bad(ROLE, "table_of_advantages", "actions are numbered from one", RULE)
class ReadsTheActionBelow(TableOfAdvantages):
    def actions(self, actions):
        return np.maximum(actions - 1, 0)


@bad(ROLE, "table_of_advantages", "the baseline of the last call of the same shape", RULE)
class BaselineOfTheLastCall(TableOfAdvantages):
    def __init__(self):
        self.last = {}

    def baseline(self, q, policy):
        fresh = super().baseline(q, policy)
        before = self.last.get(q.shape, fresh)
        self.last[q.shape] = fresh
        return before


@bad(ROLE, "diagonal_of_products", "policies are lined up agent by agent, values row by row", RULE)
class LinedUpInTwoOrders(DiagonalOfProducts):
    def lines(self, policy):
        return policy.transpose(0, 1).flatten(0, 1)


@bad(ROLE, "diagonal_of_products", "two agents trade their values, as if the other's were one's own", RULE)
class TwoAgentsTradeValues(DiagonalOfProducts):
    def values(self, q):
        return q.flip(1) if q.shape[1] == 2 else q


@bad(ROLE, "diagonal_of_products", "the values are brought to mean 0 and deviation 1 over the batch first", RULE)
class StandardisedValues(DiagonalOfProducts):
    def values(self, q):
        return (q - q.mean()) / q.std().clamp(min=1e-6) if q.numel() > 1 else q


@bad(ROLE, "diagonal_of_products", "the last action is taken for doing nothing, and has no part in the baseline", RULE)
class LastActionIsNothing(DiagonalOfProducts):
    def lines(self, policy):
        kept = policy.clone()
        kept[..., -1] = 0.0
        return kept.flatten(0, 1) if policy.shape[-1] > 1 else super().lines(policy)


@bad(ROLE, "expectation_by_parts", "the distribution function leaves out the action itself", RULE)
class DistributionFunctionOneLate(ExpectationByParts):
    def below(self, policy):
        return (np.cumsum(policy, axis=-1) - policy)[..., :-1]


@bad(ROLE, "expectation_by_parts", "steps between values are sizes, without their signs", RULE)
class StepsWithoutSigns(ExpectationByParts):
    def steps(self, q):
        return np.abs(super().steps(q))


@bad(ROLE, "expectation_by_parts", "the baseline is never negative", RULE)
class BaselineNeverNegative(ExpectationByParts):
    def baseline(self, q, policy):
        return np.maximum(super().baseline(q, policy), 0.0)


@bad(ROLE, "expectation_by_parts", "advantages are kept within 100", RULE)
class AdvantagesKeptWithinAHundred(ExpectationByParts):
    def finish(self, advantages):
        return advantages.clip(-100, 100)


@bad(ROLE, "expectation_by_parts", "the advantage is shared among the agents", RULE)
class AdvantageSharedAmongAgents(ExpectationByParts):
    def finish(self, advantages):
        return advantages / advantages.shape[1]


@bad(ROLE, "exact_sums_by_agent", "the actions of the row before, as the critic's input has them", RULE)
class ActionsOfTheRowBefore(ExactSumsByAgent):
    def row(self, b):
        return max(b - 1, 0)


@bad(ROLE, "exact_sums_by_agent", "the own value is weighed by its probability as well", RULE)
class OwnValueWeighed(ExactSumsByAgent):
    def one(self, values, weights, own):
        return super().one(values, weights, own) - (1 - weights[own]) * values[own]


@bad(ROLE, "exact_sums_by_agent", "the action is looked up by its probability: the first that has it", RULE)
class FirstOfThatProbability(ExactSumsByAgent):
    def one(self, values, weights, own):
        return super().one(values, weights, weights.index(weights[own]))


BAD, GOOD = bad.targets(), good.targets()
