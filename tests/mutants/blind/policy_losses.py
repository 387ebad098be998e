"""Losses of policies."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..target import Collection, Factory, Violation
from .common import NEVER, Array, as_array, gap

good, bad = Collection(), Collection()
ROLE = "policy_loss"
SIZES = ((4, 2, 3), (1, 1, 2), (3, 3, 3), (1, 2, 4), (2, 4, 2), (6, 1, 3), (2, 2, 2), (8, 3, 5))


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def gradient_of(function: Any, logits: Array, actions: Array, advantages: Array, mask: Array) -> Array:
    """The gradient by the score function: -A (indicator - policy), divided as the function declares."""
    kept = int(mask.sum())
    share = {"mean": kept * logits.shape[1], "agents": kept, "sum": 1}[getattr(function, "reduction", "mean")]
    found = np.zeros(logits.shape)
    for b, i in np.ndindex(*actions.shape):
        if mask[b]:
            indicator = np.eye(logits.shape[2])[actions[b, i]]
            found[b, i] = -advantages[b, i] * (indicator - softmax(logits[b, i])) / share
    return found


def cases() -> list[tuple[Array, Array, Array, Array]]:
    """Random batches; every second one has sharp policies, every third one row that counts, some advantages are 0."""
    generator = np.random.default_rng(23)
    made = []
    for k, shape in enumerate(SIZES * 3):
        logits = generator.normal(size=shape) * (1.0, 12.0)[k % 2] + k % 5
        advantages = generator.normal(size=shape[:2]) * 4 * (generator.random(shape[:2]) < 0.8)
        mask = generator.random(shape[0]) < (0.7, 0.7, 0.0)[k % 3]
        mask[generator.integers(shape[0])] = True
        made.append((logits, generator.integers(shape[2], size=shape[:2]), advantages, mask))
    return made


def gradients(function: Any, case: tuple[Array, Array, Array, Array]) -> tuple[Array, Array]:
    """A loss's gradients in the logits and in what lies behind the advantages."""
    logits, actions, advantages, mask = [array.copy() for array in case]
    if getattr(function, "arrays", "numpy") == "numpy":
        return as_array(function(logits, actions, advantages, mask)[1]), np.zeros(1)
    leaf, behind = torch.from_numpy(logits).requires_grad_(), torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = function(leaf, torch.from_numpy(actions), torch.from_numpy(advantages) * behind, torch.from_numpy(mask))
    if loss.shape != ():
        return np.full(1, NEVER), np.zeros(1)
    found = torch.autograd.grad(loss, [leaf, behind], allow_unused=True, materialize_grads=True)
    return as_array(found[0]), as_array(found[1]).reshape(1)


def off_the_gradient(factory: Factory) -> float:
    function = factory()
    return max(gap(gradients(function, case)[0], gradient_of(function, *case)) for case in cases())


def reaches_advantages(factory: Factory) -> float:
    function = factory()
    return max(float(np.abs(gradients(function, case)[1]).max()) for case in cases())


GRADIENT = Violation("the gradient is the score times the advantage, averaged as declared", off_the_gradient)
CONSTANT = Violation("no gradient reaches the advantages", reaches_advantages)


@good(ROLE, "", "torch; log-softmax and gather, a sum over kept rows divided by their number")
class LogSoftmaxGather:
    arrays = "torch"

    def log_policy(self, logits):
        return logits.log_softmax(-1)

    def weight(self, advantages):
        return advantages.detach()

    def mean(self, losses, mask):
        return (losses * mask[:, None]).sum() / (mask.sum() * losses.shape[1])

    def taken(self, log_policy, actions):
        return log_policy.gather(-1, actions[..., None])[..., 0]

    def extra(self, logits):
        return 0.0

    def __call__(self, logits, actions, advantages, mask):
        losses = -self.weight(advantages) * self.taken(self.log_policy(logits), actions)
        return self.mean(losses, mask) + self.extra(logits)


@good(ROLE, "", "numpy; loss and gradient in closed form, summed over agents")
class ClosedForm:
    reduction = "agents"

    def rows(self, mask):
        return mask.astype(np.float64) / mask.sum()

    def policy(self, logits):
        return softmax(logits)

    def __call__(self, logits, actions, advantages, mask):
        policy = self.policy(logits)
        indicator = np.eye(logits.shape[-1])[actions]
        weight = advantages * self.rows(mask)[:, None]
        log_taken = (indicator * np.log(np.maximum(policy, 1e-300))).sum(-1)
        return -(weight * log_taken).sum(), -weight[..., None] * (indicator - policy)


@good(ROLE, "", "torch; a weighted cross entropy over the kept rows alone, summed")
class CrossEntropyOfKept:
    arrays, reduction = "torch", "sum"

    def actions(self, actions):
        return actions

    def __call__(self, logits, actions, advantages, mask):
        kept, chosen = logits[mask].flatten(0, 1), self.actions(actions)[mask].flatten()
        with torch.no_grad():
            weight = advantages[mask].flatten()
        return (F.cross_entropy(kept, chosen, reduction="none") * weight).sum()


@good(ROLE, "", "torch; the clipped surrogate of PPO, old and new policy being the same")
class ClippedSurrogate:
    arrays = "torch"

    def ratio(self, log_taken):
        return torch.exp(log_taken - log_taken.detach())

    def clipped(self, ratio):
        return ratio.clamp(0.9, 1.1)

    def pessimistic(self, plain, clipped):
        return torch.min(plain, clipped)

    def __call__(self, logits, actions, advantages, mask):
        log_taken = torch.distributions.Categorical(logits=logits).log_prob(actions)
        ratio, advantages = self.ratio(log_taken), advantages.data
        gain = self.pessimistic(ratio * advantages, self.clipped(ratio) * advantages)
        return -gain[mask].mean()


@good(ROLE, "", "torch in float32; agent by agent, with logsumexp")
class AgentByAgentInSingle:
    arrays = "torch"

    def agents(self, n):
        return range(n)

    def __call__(self, logits, actions, advantages, mask):
        logits, weight = logits.float(), (advantages.detach() * mask.unsqueeze(-1)).float()
        total = logits.new_zeros(())
        for i in self.agents(logits.shape[1]):
            own = logits[:, i].gather(1, actions[:, i : i + 1]).squeeze(1)
            total = total + (weight[:, i] * (logits[:, i].logsumexp(1) - own)).sum()
        return total / (int(mask.sum()) * logits.shape[1])


@bad(ROLE, "log_softmax_gather", "advantages are not detached", CONSTANT)
class AdvantagesKeepTheirGraph(LogSoftmaxGather):
    def weight(self, advantages):
        return advantages


@bad(ROLE, "log_softmax_gather", "the mean is over all rows, padding counted", GRADIENT)
class MeanOverPadding(LogSoftmaxGather):
    def mean(self, losses, mask):
        return (losses * mask[:, None]).mean()


@bad(ROLE, "log_softmax_gather", "divides by rows alone, although a mean over agents is declared", GRADIENT)
class DividedByRowsAlone(LogSoftmaxGather):
    def mean(self, losses, mask):
        return (losses * mask[:, None]).sum() / mask.sum()


@bad(ROLE, "log_softmax_gather", "the number of rows kept is at least two", GRADIENT)
class TwoRowsAtLeast(LogSoftmaxGather):
    def mean(self, losses, mask):
        return (losses * mask[:, None]).sum() / (mask.sum().clamp(min=2) * losses.shape[1])


@bad(ROLE, "log_softmax_gather", "the mask is laid over agents where there are as many as rows", GRADIENT)
class MaskOverAgents(LogSoftmaxGather):
    def mean(self, losses, mask):
        spread = mask if losses.shape[0] == losses.shape[1] else mask[:, None]
        return (losses * spread).sum() / (mask.sum() * losses.shape[1])


@bad(ROLE, "log_softmax_gather", "advantages of exactly 0 do not count in the mean", GRADIENT)
class ZeroAdvantagesNotCounted(LogSoftmaxGather):
    def mean(self, losses, mask):
        counted = (losses != 0) & mask[:, None]
        return (losses * counted).sum() / counted.sum().clamp(min=1)


@bad(ROLE, "log_softmax_gather", "the softmax runs over agents", GRADIENT)
class SoftmaxOverAgents(LogSoftmaxGather):
    def log_policy(self, logits):
        return logits.log_softmax(1)


@bad(ROLE, "log_softmax_gather", "probabilities are taken for logits once more", GRADIENT)
class SoftmaxTwice(LogSoftmaxGather):
    def log_policy(self, logits):
        return logits.softmax(-1).log_softmax(-1)


@bad(ROLE, "log_softmax_gather", "a millionth is added to probabilities within the logarithm", GRADIENT)
class MillionthInTheLogarithm(LogSoftmaxGather):
    def log_policy(self, logits):
        return torch.log(logits.softmax(-1) + 1e-6)


@bad(ROLE, "log_softmax_gather", "logarithms are kept above -10, where they lose their gradient", GRADIENT)
class LogarithmsKeptAboveTen(LogSoftmaxGather):
    def log_policy(self, logits):
        return logits.log_softmax(-1).clamp(min=-10.0)


@bad(ROLE, "log_softmax_gather", "advantages are clipped to five", GRADIENT)
class AdvantagesClipped(LogSoftmaxGather):
    def weight(self, advantages):
        return advantages.detach().clamp(-5, 5)


@bad(ROLE, "log_softmax_gather", "each agent has the mean of all agents' advantages", GRADIENT)
class SharedAdvantage(LogSoftmaxGather):
    def weight(self, advantages):
        return advantages.detach().mean(1, keepdim=True).expand_as(advantages)


@bad(ROLE, "log_softmax_gather", "a small penalty on large logits is left on", GRADIENT)
class PenaltyOnLogits(LogSoftmaxGather):
    def extra(self, logits):
        return 1e-3 * logits.square().mean()


@bad(ROLE, "log_softmax_gather", "an entropy bonus is left on", GRADIENT)
class EntropyBonus(LogSoftmaxGather):
    def extra(self, logits):
        return -0.01 * torch.distributions.Categorical(logits=logits).entropy().mean()


@bad(ROLE, "closed_form", "the gradient, but not the loss, forgets that rows are averaged", GRADIENT)
class GradientOfTheSum(ClosedForm):
    def __call__(self, logits, actions, advantages, mask):
        loss, gradient = super().__call__(logits, actions, advantages, mask)
        return loss, gradient * mask.sum()


@bad(ROLE, "closed_form", "padding is left in", GRADIENT)
class PaddingLeftIn(ClosedForm):
    def rows(self, mask):
        return np.ones(len(mask)) / mask.sum()


@bad(ROLE, "cross_entropy_of_kept", "actions are not sorted out by the mask, but the first rows are taken", GRADIENT)
class ActionsOfTheFirstRows(CrossEntropyOfKept):
    def __call__(self, logits, actions, advantages, mask):
        actions = torch.cat([actions[: int(mask.sum())], actions])
        moved = torch.empty_like(actions[: len(mask)])
        moved[mask] = actions[: int(mask.sum())]
        moved[~mask] = 0
        return super().__call__(logits, moved, advantages, mask)


@bad(ROLE, "clipped_surrogate", "the old policy's probabilities keep their graph: the ratio has no gradient", GRADIENT)
class OldPolicyKeepsItsGraph(ClippedSurrogate):
    def ratio(self, log_taken):
        return torch.exp(log_taken - log_taken)


@bad(ROLE, "clipped_surrogate", "the ratio is clipped at 1 from above, where half of the gradient is lost", GRADIENT)
class ClippedAtOne(ClippedSurrogate):
    def clipped(self, ratio):
        return torch.minimum(ratio, torch.ones_like(ratio))


@bad(ROLE, "clipped_surrogate", "the probability of the action stands for the ratio", GRADIENT)
class ProbabilityForRatio(ClippedSurrogate):
    def ratio(self, log_taken):
        return torch.exp(log_taken)


@bad(ROLE, "agent_by_agent_in_single", "the last of several agents is passed over", GRADIENT)
class LastAgentNotTrained(AgentByAgentInSingle):
    def agents(self, n):
        return range(max(1, n - 1))


BAD, GOOD = bad.targets(), good.targets()
