"""Counterfactual advantages."""

from typing import Any

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, masks, off_the_rule, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "counterfactual_advantage"
SIZES = ((4, 2, 3), (1, 1, 2), (3, 3, 3), (1, 2, 4), (2, 4, 2), (6, 1, 3), (2, 3, 1), (3, 2, 2))


def rule(function: Any, q: Array, policy: Array, actions: Array) -> Array:
    """The definition, entry by entry."""
    found = np.zeros(actions.shape)
    for b, i in np.ndindex(*actions.shape):
        expected = sum(policy[b, i, a] * q[b, i, a] for a in range(q.shape[2]))
        found[b, i] = q[b, i, actions[b, i]] - expected
    return found


def cases(function: Any) -> list[Arguments]:
    """Random batches; policies with zeros, and the actions of every probability."""
    generator = np.random.default_rng(17)
    made = []
    for k, shape in enumerate(SIZES * 3):
        policy = generator.exponential(size=shape) ** 3
        if k % 2:
            policy *= masks(generator, shape)
        policy /= policy.sum(-1, keepdims=True)
        allowed = [generator.choice(np.flatnonzero(row)) for row in policy.reshape(-1, shape[2])]
        q = generator.normal(size=shape) * 4 + 10 * (k % 3 - 1)
        made.append((q, policy, np.array(allowed).reshape(shape[:2])))
    return made


RULE = Violation("A = Q(own action) minus the expectation of Q under the own policy", off_the_rule(rule, cases))
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; the baseline by einsum, the own action by fancy indices")
class EinsumBaseline:
    def weights(self, q: Array, policy: Array, actions: Array) -> Array:
        return policy

    def own(self, q: Array, actions: Array) -> Array:
        b, i = np.ogrid[: q.shape[0], : q.shape[1]]
        return q[b, i, actions]

    def finish(self, advantages: Array) -> Array:
        return advantages

    def __call__(self, q, policy, actions):
        baseline = np.einsum("bia,bia->bi", self.weights(q, policy, actions), q)
        return self.finish(self.own(q, actions) - baseline)


@good(ROLE, "", "torch; (indicator of the own action - policy) times q, without any separate baseline")
class IndicatorMinusPolicy:
    arrays = "torch"

    def policy(self, policy):
        return policy

    def __call__(self, q, policy, actions):
        indicator = torch.nn.functional.one_hot(actions, q.shape[-1]).to(q.dtype)
        return ((indicator - self.policy(policy)) * q).sum(dim=-1)


@good(ROLE, "", "plain Python; the expected difference between the own action and each other one, agent by agent")
class ExpectedDifferences:
    def agents(self, n: int) -> range:
        return range(n)

    def q_of(self, q: Array, b: int, i: int) -> Array:
        return q[b, i]

    def probability(self, policy: Array, b: int, i: int, a: int) -> float:
        return float(policy[b, i, a])

    def __call__(self, q, policy, actions):
        found = [[0.0] * q.shape[1] for _ in range(q.shape[0])]
        for b in range(q.shape[0]):
            for i in self.agents(q.shape[1]):
                values, own = self.q_of(q, b, i), actions[b, i]
                for a in range(q.shape[2]):
                    found[b][i] += self.probability(policy, b, i, a) * (values[own] - values[a])
        return found


@good(ROLE, "", "torch in float32; batched matrix product, and gather on flattened rows")
class FlattenedInSingle:
    arrays = "torch"

    def kind(self, tensor):
        return tensor.float()

    def __call__(self, q, policy, actions):
        q, policy = self.kind(q).flatten(0, 1), self.kind(policy).flatten(0, 1)
        baseline = torch.bmm(policy.unsqueeze(1), q.unsqueeze(2)).flatten()
        return (q.gather(1, actions.reshape(-1, 1)).flatten() - baseline).view(actions.shape)


@bad(ROLE, "einsum_baseline", "the baseline leaves out the own action, the others' probabilities renormalised", RULE)
class BaselineOfTheOtherActions(EinsumBaseline):
    def weights(self, q, policy, actions):
        others = policy.copy()
        np.put_along_axis(others, actions[..., None], 0.0, -1)
        return others / np.maximum(others.sum(-1, keepdims=True), 1e-8)


@bad(ROLE, "einsum_baseline", "the baseline is even over all actions", RULE)
class EvenBaseline(EinsumBaseline):
    def weights(self, q, policy, actions):
        return np.full_like(policy, 1 / policy.shape[-1])


@bad(ROLE, "einsum_baseline", "the baseline is even over the actions of positive probability", RULE)
class EvenOverTheSupport(EinsumBaseline):
    def weights(self, q, policy, actions):
        return (policy > 0) / (policy > 0).sum(-1, keepdims=True)


@bad(ROLE, "einsum_baseline", "the baseline is the value of the most probable action", RULE)
class GreedyBaseline(EinsumBaseline):
    def weights(self, q, policy, actions):
        return np.eye(policy.shape[-1])[policy.argmax(-1)]


@bad(ROLE, "einsum_baseline", "the policy is the next agent's", RULE)
class PolicyOfTheNextAgent(EinsumBaseline):
    def weights(self, q, policy, actions):
        return np.roll(policy, -1, axis=1)


@bad(ROLE, "einsum_baseline", "a single agent has no baseline, since there are no others", RULE)
class NoBaselineForOneAgent(EinsumBaseline):
    def weights(self, q, policy, actions):
        return policy * (policy.shape[1] > 1)


@bad(ROLE, "einsum_baseline", "the expectation runs over agents where there are as many as actions", RULE)
class ExpectationOverAgents(EinsumBaseline):
    def __call__(self, q, policy, actions):
        if q.shape[1] != q.shape[2]:
            return super().__call__(q, policy, actions)
        return self.own(q, actions) - (policy * q).sum(1)


@bad(
    ROLE, "einsum_baseline", "advantages are divided by their standard deviation where there is more than one row", RULE
)
class ScaledByDeviation(EinsumBaseline):
    def finish(self, advantages):
        return advantages / (advantages.std() + 1e-8) if len(advantages) > 1 else advantages


@bad(ROLE, "einsum_baseline", "the mean over the agents' advantages is taken away", RULE)
class CentredOverAgents(EinsumBaseline):
    def finish(self, advantages):
        return advantages - advantages.mean(1, keepdims=True) if advantages.shape[1] > 1 else advantages


@bad(ROLE, "indicator_minus_policy", "probabilities are taken for logits", RULE)
class SoftmaxOfProbabilities(IndicatorMinusPolicy):
    def policy(self, policy):
        return policy.softmax(-1)


@bad(ROLE, "indicator_minus_policy", "probabilities are kept above a twentieth, and do not sum to one any more", RULE)
class ProbabilitiesKeptAboveZero(IndicatorMinusPolicy):
    def policy(self, policy):
        return policy.clamp(min=0.05)


@bad(ROLE, "indicator_minus_policy", "writes the rounding of probabilities below a tenth into what it was handed", PURE)
class WritesIntoThePolicy(IndicatorMinusPolicy):
    def policy(self, policy):
        before = policy.clone()
        policy[policy < 0.1] = 0.0
        return before


@bad(ROLE, "expected_differences", "the last of more than two agents is passed over", RULE)
class ThirdAgentPassedOver(ExpectedDifferences):
    def agents(self, n):
        return range(n if n <= 2 else n - 1)


@bad(ROLE, "expected_differences", "agents beyond the second are valued by the second's q", RULE)
class SecondAgentsValues(ExpectedDifferences):
    def q_of(self, q, b, i):
        return q[b, min(i, 1)]


@bad(ROLE, "expected_differences", "probabilities are rounded to two places", RULE)
class RoundedProbabilities(ExpectedDifferences):
    def probability(self, policy, b, i, a):
        return round(float(policy[b, i, a]), 2)


@bad(ROLE, "flattened_in_single", "half precision", RULE)
class FlattenedInHalf(FlattenedInSingle):
    def kind(self, tensor):
        return tensor.half()


BAD, GOOD = bad.targets(), good.targets()
