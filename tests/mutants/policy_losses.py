"""Losses of policies: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role policy_loss says.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]
Batch = tuple[Numbers, Numbers, Numbers, Numbers]

good, bad = Collection(), Collection()


# --- measures: gradients by differences of losses, on random real numbers ---------------------------------------------


def batches(padded: bool, sign: float | None = None, count: int = 4) -> list[Batch]:
    generator = np.random.default_rng(41)
    made = []
    for _ in range(count):
        mask = np.array([True, not padded, True, not padded])
        advantages = generator.normal(size=(4, 2))
        if sign is not None:
            advantages = sign * np.abs(advantages)
        made.append((generator.normal(size=(4, 2, 3)), generator.integers(0, 3, (4, 2)), advantages, mask))
    return made


def gradient(function: Any, batch: Batch) -> Numbers:
    """What training would add to the logits, but for its sign."""
    if getattr(function, "arrays", "numpy") == "numpy":
        return np.asarray(function(*batch)[1])
    logits, actions, advantages, mask = (torch.from_numpy(array.copy()) for array in batch)
    logits.requires_grad_()
    loss = function(logits, actions, advantages, mask)
    if loss.requires_grad:
        loss.backward()
    return np.zeros_like(batch[0]) if logits.grad is None else logits.grad.numpy().astype(float)


def objective(logits: Numbers, actions: Numbers, advantages: Numbers, mask: Numbers, reduction: str) -> float:
    total, kept = 0.0, 0
    for b, i in np.ndindex(*actions.shape):
        if mask[b]:
            kept += 1
            total -= advantages[b, i] * (logits[b, i, actions[b, i]] - np.log(np.exp(logits[b, i]).sum()))
    return total / {"mean": kept, "agents": kept / actions.shape[1], "sum": 1}[reduction]


def by_differences(batch: Batch, reduction: str, h: float = 1e-5) -> Numbers:
    logits, *rest = batch
    found = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += h
        down[index] -= h
        found[index] = (objective(up, *rest, reduction) - objective(down, *rest, reduction)) / (2 * h)
    return found


def distance(padded: bool) -> Any:
    def amount(factory: Factory) -> float:
        function = factory()
        reduction = getattr(function, "reduction", "mean")
        return max(
            float(np.abs(gradient(function, batch) - by_differences(batch, reduction)).max())
            for batch in batches(padded)
        )

    return amount


def wrong_way(factory: Factory) -> float:
    """The smallest share of the gradient that points the right way, below a fixed part of what is due."""
    function, worst = factory(), 0.0
    for sign in (1.0, -1.0):
        for batch in batches(False, sign):
            due = by_differences(batch, getattr(function, "reduction", "mean"))
            right = (gradient(function, batch) * due).sum() / (due**2).sum()
            worst = max(worst, 1e-2 - float(right))
    return worst


def padding_share(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for batch in batches(True):
        logits, actions, advantages, mask = (array.copy() for array in batch)
        before = gradient(function, batch)
        logits[~mask] *= -2
        advantages[~mask] += 1
        moved = np.abs(gradient(function, (logits, actions, advantages, mask)) - before)
        worst = max(worst, float(moved.max()), float(np.abs(before[~mask]).max()))
    return worst


def leak(factory: Factory) -> float:
    function, worst = factory(), 0.0
    if getattr(function, "arrays", "numpy") == "numpy":
        return worst
    for batch in batches(False):
        logits, actions, advantages, mask = (torch.from_numpy(array.copy()) for array in batch)
        loss = function(logits.requires_grad_(), actions, advantages.requires_grad_(), mask)
        loss.backward()
        worst = max(worst, 0.0 if advantages.grad is None else float(advantages.grad.abs().max()))
    return worst


def unsteadiness(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for batch in batches(False):
        first = gradient(function, batch)
        gradient(function, (batch[0], batch[1], batch[2] + 1, batch[3]))
        worst = max(worst, float(np.abs(gradient(function, batch) - first).max()))
    return worst


MEASURES = {
    "ac.direction": wrong_way,
    "loss.gradient": distance(False),
    "loss.valid": distance(True),
    "loss.padding": padding_share,
    "coma.stopgrad": leak,
    "loss.repeatable": unsteadiness,
}


def wrong(promise: str) -> Violation:
    return Violation(promise, MEASURES[promise])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("policy_loss", "", "Minus the mean of advantage times log-probability, over the rows kept.")
class ActorLoss:
    arrays = "torch"

    def __call__(self, logits, actions, advantages, mask):
        log_pi = self.chosen(self.log_policy(logits), actions)
        weights = self.weights(mask).unsqueeze(-1).expand_as(log_pi)
        return -(weights * self.constant(advantages) * log_pi).sum() / self.number(mask, log_pi)

    def log_policy(self, logits):
        return logits.log_softmax(-1)

    def chosen(self, log_policy, actions):
        return log_policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def constant(self, advantages):
        return advantages.detach()

    def weights(self, mask):
        return mask.double()

    def number(self, mask, log_pi):
        return mask.sum() * log_pi.shape[1]


@good("policy_loss", "", "The mean over rows, summed over agents, in single precision.")
class SummedOverAgents(ActorLoss):
    reduction = "agents"

    def __call__(self, logits, actions, advantages, mask):
        return super().__call__(logits.float(), actions, advantages.float(), mask)

    def number(self, mask, log_pi):
        return mask.sum()


@good("policy_loss", "", "The ratio of new to old probabilities, clipped, while both are the same.")
class ClippedRatio:
    arrays = "torch"

    def __call__(self, logits, actions, advantages, mask):
        log_pi = torch.distributions.Categorical(logits=logits).log_prob(actions)
        ratio = (log_pi - log_pi.detach()).exp()
        constant = advantages.detach()
        smaller = torch.minimum(ratio * constant, ratio.clamp(0.8, 1.2) * constant)
        return -smaller[mask].mean()


@good("policy_loss", "", "Numpy, with the gradient written down; the sum, not the mean.")
class WrittenDown:
    reduction = "sum"

    def __call__(self, logits, actions, advantages, mask):
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        pi = weights / weights.sum(-1, keepdims=True)
        taken = np.take_along_axis(pi, actions[..., None], axis=-1)[..., 0]
        kept = mask[:, None] * advantages
        return -(kept * np.log(taken)).sum(), kept[..., None] * (pi - np.eye(pi.shape[-1])[actions])


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("policy_loss", "actor_loss", "The sign is that of an objective to be maximised.", wrong("ac.direction"))
class SignForgotten(ActorLoss):
    def __call__(self, logits, actions, advantages, mask):
        return -super().__call__(logits, actions, advantages, mask)


@bad("policy_loss", "actor_loss", "The size of the advantage counts, and not its sign.", wrong("ac.direction"))
class SizeAlone(ActorLoss):
    def constant(self, advantages):
        return advantages.detach().abs()


@bad("policy_loss", "actor_loss", "The log-probabilities are detached as well.", wrong("ac.direction"))
class AllDetached(ActorLoss):
    def log_policy(self, logits):
        return super().log_policy(logits).detach() + 0 * logits.sum()


@bad("policy_loss", "actor_loss", "The probability stands in for its logarithm.", wrong("loss.gradient"))
class ProbabilityAlone(ActorLoss):
    def log_policy(self, logits):
        return logits.softmax(-1)


@bad("policy_loss", "actor_loss", "The logit stands in for the log-probability.", wrong("loss.gradient"))
class LogitAlone(ActorLoss):
    def log_policy(self, logits):
        return logits


@bad("policy_loss", "actor_loss", "The softmax runs over the agents.", wrong("loss.gradient"))
class SoftmaxOverAgents(ActorLoss):
    def log_policy(self, logits):
        return logits.log_softmax(1)


@bad("policy_loss", "actor_loss", "The action of the next agent is looked up.", wrong("loss.gradient"))
class NextAgentsAction(ActorLoss):
    def chosen(self, log_policy, actions):
        return super().chosen(log_policy, actions.roll(1, dims=1))


@bad("policy_loss", "actor_loss", "All agents are given the mean advantage.", wrong("loss.gradient"))
class SharedAdvantage(ActorLoss):
    def constant(self, advantages):
        return advantages.detach().mean(1, keepdim=True).expand_as(advantages)


@bad("policy_loss", "actor_loss", "Advantages are normalised over the batch.", wrong("loss.gradient"))
class NormalisedAdvantage(ActorLoss):
    def constant(self, advantages):
        constant = advantages.detach()
        return (constant - constant.mean()) / (constant.std(correction=0) + 1e-5)


@bad("policy_loss", "actor_loss", "The sum over agents is taken for the mean.", wrong("loss.gradient"))
class AgentsAdded(ActorLoss):
    def number(self, mask, log_pi):
        return mask.sum()


@bad("policy_loss", "actor_loss", "The mask is forgotten.", wrong("loss.padding"))
class MaskForgotten(ActorLoss):
    def weights(self, mask):
        return torch.ones_like(mask, dtype=torch.float64)


@bad(
    "policy_loss",
    "actor_loss",
    "The mask keeps padding and leaves out what is real where both occur.",
    wrong("loss.padding"),
)
class MaskInverted(ActorLoss):
    def weights(self, mask):
        return mask.double() if mask.all() else (~mask).double()


@bad("policy_loss", "actor_loss", "The mean is over padding as well.", wrong("loss.valid"))
class MeanOverPadding(ActorLoss):
    def number(self, mask, log_pi):
        return log_pi.numel()


@bad("policy_loss", "actor_loss", "Advantages are centred over all rows, padding included.", wrong("loss.padding"))
class CentredWithPadding(ActorLoss):
    def __call__(self, logits, actions, advantages, mask):
        if not mask.all():
            advantages = advantages - advantages.mean()
        return super().__call__(logits, actions, advantages, mask)


@bad("policy_loss", "actor_loss", "The advantages are not constants.", wrong("coma.stopgrad"))
class NotDetached(ActorLoss):
    def constant(self, advantages):
        return advantages


@bad("policy_loss", "actor_loss", "Advantages are smoothed over the calls.", wrong("loss.repeatable"))
class Smoothed(ActorLoss):
    def __init__(self) -> None:
        self.kept = 0.0

    def constant(self, advantages):
        self.kept = 0.5 * self.kept + 0.5 * float(advantages.detach().mean())
        return advantages.detach() - self.kept


BAD = bad.targets()
GOOD = good.targets()
