"""Policies: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role policy says.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]

good, bad = Collection(), Collection()


# --- measures, on random real numbers ---------------------------------------------------------------------------------


def batches(scale: float = 1.0, count: int = 4) -> list[tuple[Numbers, Numbers]]:
    generator = np.random.default_rng(53)
    made = []
    for _ in range(count):
        available = generator.random((3, 2, 4)) < 0.6
        available[..., 2] |= ~available.any(-1)
        made.append((generator.normal(size=(3, 2, 4)) * scale, available))
    return made


def answer(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    handed = [torch.from_numpy(array.copy()) if torch_arrays else array.copy() for array in (logits, available)]
    result = function(*handed)
    numbers = np.asarray(result.detach() if isinstance(result, torch.Tensor) else result, dtype=np.float64)
    return np.exp(numbers) if getattr(function, "output", "probabilities") == "log_probabilities" else numbers


def softmax(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    epsilon = getattr(function, "epsilon", 0.0)
    weights = np.exp(logits - np.where(available, logits, -np.inf).max(-1, keepdims=True)) * available
    even = available / available.sum(-1, keepdims=True)
    return (1 - epsilon) * weights / weights.sum(-1, keepdims=True) + epsilon * even


def largest(numbers: Numbers) -> float:
    """The largest size; what is no number is infinitely far off."""
    return float(np.where(np.isfinite(numbers), np.abs(numbers), np.inf).max())


def over(scales: tuple[float, ...], measure: Any) -> Any:
    def amount(factory: Factory) -> float:
        function = factory()
        return max(largest(measure(function, *batch)) for scale in scales for batch in batches(scale))

    return amount


def missing(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    pi = answer(function, logits, available)
    return np.abs(pi.sum(-1) - 1) + np.maximum(-pi, 0).sum(-1)


def hidden(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    """What an action that is not available gets, made as attractive as can be; 1e9 times, as nothing is allowed."""
    pi = answer(function, logits + 300.0 * ~available, available)
    return np.where(available, 0.0, 1e9 * pi)


def error(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    return answer(function, logits, available) - softmax(function, logits, available)


def foreign(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    other, mask = logits + 400.0, available | True
    other[0, 0], mask[0, 0] = logits[0, 0], available[0, 0]
    return answer(function, logits, available)[0, 0] - answer(function, other, mask)[0, 0]


def scores(function: Any, logits: Numbers, available: Numbers, weights: Numbers) -> Numbers:
    """The gradient in the logits of the weighted log-probabilities of available actions; 0 of what has no gradient."""
    leaf = torch.from_numpy(logits.copy()).requires_grad_()
    result = function(leaf, torch.from_numpy(available.copy()))[torch.from_numpy(available)]
    log_pi = result if getattr(function, "output", "probabilities") == "log_probabilities" else result.log()
    (log_pi * torch.from_numpy(weights[available])).sum().backward()
    return leaf.grad.numpy().astype(float)


def in_torch(function: Any) -> bool:
    return getattr(function, "arrays", "numpy") == "torch"


def leak(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    if not in_torch(function):
        return np.zeros(1)
    gradient = scores(function, logits, available, np.ones_like(logits))
    return np.where(available & np.isfinite(gradient), 0.0, gradient)


def remaining(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    if not in_torch(function):
        return np.zeros(1)
    return scores(function, logits, available, answer(function, logits, available))


def expected(function: Any, logits: Numbers, available: Numbers) -> Numbers:
    """By how much the averaged scores miss the derivative of the mean of rewards 0, 1, 2, 3, by differences."""
    if not in_torch(function):
        return np.zeros(1)
    rewards, h, free = np.arange(4.0), 1e-5, np.ones_like(available)
    computed = scores(function, logits, free, answer(function, logits, free) * rewards)
    due = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += h
        down[index] -= h
        due[index] = ((softmax(function, up, free) - softmax(function, down, free)) * rewards).sum() / (2 * h)
    return computed - due


def unsteadiness(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for logits, available in batches():
        first = answer(function, logits, available)
        answer(function, logits[::-1].copy(), available)
        worst = max(worst, largest(answer(function, logits, available) - first))
    return worst


MEASURES = {
    "policy.simplex": over((1.0, 400.0), missing),
    "policy.masked": over((1.0,), hidden),
    "policy.softmax": over((1.0,), error),
    "policy.own": over((1.0,), foreign),
    "policy.mask_gradient": over((1.0,), leak),
    "score.zero": over((1.0,), remaining),
    "pg.theorem": over((1.0,), expected),
    "policy.repeatable": unsteadiness,
}


def wrong(promise: str) -> Violation:
    return Violation(promise, MEASURES[promise])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("policy", "", "The softmax of logits that are minus infinity where an action is not available.")
class Masked:
    arrays = "torch"

    def __call__(self, logits, available):
        return self.hide(logits, available).softmax(-1)

    def hide(self, logits, available):
        return logits.masked_fill(~available, -torch.inf)


@good("policy", "", "Log-probabilities, with a large negative number for unavailable actions, in single precision.")
class LargeNegative:
    arrays = "torch"
    output = "log_probabilities"

    def __call__(self, logits, available):
        return torch.where(available, logits.float(), -1e10).log_softmax(-1)


@good("policy", "", "Numpy, with the largest available logit subtracted before exp.")
class ByHand:
    def __call__(self, logits, available):
        weights = np.exp(self.lowered(logits, available)) * available
        return weights / weights.sum(axis=-1, keepdims=True)

    def lowered(self, logits, available):
        shifted = logits - np.where(available, logits, -np.inf).max(axis=-1, keepdims=True)
        return np.where(available, shifted, 0.0)


@good("policy", "", "The softmax mixed with an even distribution over available actions.")
class Floored:
    arrays = "torch"
    epsilon = 0.25

    def __call__(self, logits, available):
        bare = logits.masked_fill(~available, -torch.inf).softmax(-1)
        return (1 - self.epsilon) * bare + self.epsilon * self.even(available)

    def even(self, available):
        return available.double() / available.sum(-1, keepdim=True)


@good("policy", "", "exp and its sum, the largest available logit being a constant.")
class ExpAndSum:
    arrays = "torch"

    def __call__(self, logits, available):
        hidden = logits.masked_fill(~available, -torch.inf)
        weights = (hidden - hidden.detach().amax(-1, keepdim=True)).exp()
        return weights / self.total(weights)

    def total(self, weights):
        return weights.sum(-1, keepdim=True)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("policy", "by_hand", "Nothing is subtracted before exp.", wrong("policy.simplex"))
class Overflowing(ByHand):
    def lowered(self, logits, available):
        return np.float32(np.where(available, logits, 0.0))


@bad("policy", "by_hand", "The mean is subtracted before exp in place of the largest.", wrong("policy.simplex"))
class MeanSubtracted(ByHand):
    def lowered(self, logits, available):
        centred = logits - logits.mean(axis=-1, keepdims=True)
        return np.float32(np.where(available, 4 * centred, 0.0) / 4)

    def __call__(self, logits, available):
        weights = np.exp(np.float32(self.lowered(logits, available))) * available
        return weights / weights.sum(axis=-1, keepdims=True)


@bad("policy", "by_hand", "The largest logit of all rows and agents is subtracted.", wrong("policy.own"))
class LargestOfAll(ByHand):
    def lowered(self, logits, available):
        return np.where(available, np.float32(logits - logits.max()), 0.0).astype(np.float32)


@bad("policy", "masked", "The mask is applied after the softmax, and the rest not scaled up.", wrong("policy.simplex"))
class MaskedAfterwards(Masked):
    def __call__(self, logits, available):
        return logits.softmax(-1) * available


@bad("policy", "masked", "The softmax runs over the agents.", wrong("policy.simplex"))
class OverAgents(Masked):
    def __call__(self, logits, available):
        return self.hide(logits, available).softmax(1).nan_to_num()


@bad("policy", "masked", "The mask is forgotten.", wrong("policy.masked"))
class MaskForgotten(Masked):
    def hide(self, logits, available):
        return logits


@bad("policy", "masked", "Logits of unavailable actions are multiplied by zero.", wrong("policy.masked"))
class MultipliedByMask(Masked):
    def hide(self, logits, available):
        return logits * available


@bad("policy", "masked", "Only 10 is subtracted from logits of unavailable actions.", wrong("policy.masked"))
class TenBelow(Masked):
    def hide(self, logits, available):
        return logits - 10.0 * ~available


@bad("policy", "masked", "Unavailable logits are set to -20, where logits may be lower.", wrong("policy.masked"))
class FilledWithTwenty(Masked):
    def hide(self, logits, available):
        return logits.masked_fill(~available, -20.0)


@bad("policy", "masked", "A millionth is added to each probability, for the logarithm's sake.", wrong("policy.masked"))
class Millionth(Masked):
    def __call__(self, logits, available):
        pi = super().__call__(logits, available) + 1e-6
        return pi / pi.sum(-1, keepdim=True)


@bad("policy", "masked", "The mask is the other way round where something is left.", wrong("policy.masked"))
class MaskInverted(Masked):
    def hide(self, logits, available):
        return logits.masked_fill(available & ~available.all(-1, keepdim=True), -torch.inf)


@bad("policy", "masked", "The temperature is 2.", wrong("policy.softmax"))
class Lukewarm(Masked):
    def hide(self, logits, available):
        return super().hide(logits / 2, available)


@bad("policy", "masked", "Logits are clipped to [-1, 1].", wrong("policy.softmax"))
class Clipped(Masked):
    def hide(self, logits, available):
        return super().hide(logits.clamp(-1, 1), available)


@bad("policy", "masked", "The mask of the next agent is used, where it leaves something.", wrong("policy.own"))
class NextAgentsMask(Masked):
    def hide(self, logits, available):
        return super().hide(logits, available.roll(1, dims=1))


@bad("policy", "masked", "Logits are normalised over the batch.", wrong("policy.own"))
class NormalisedLogits(Masked):
    def hide(self, logits, available):
        return super().hide(logits / (1 + logits.std(correction=0)), available)


@bad("policy", "floored", "The floor is over all actions, available or not.", wrong("policy.masked"))
class FloorOverAll(Floored):
    def even(self, available):
        return torch.full(available.shape, 1.0 / available.shape[-1], dtype=torch.float64)


@bad("policy", "floored", "The floor is epsilon over the number of all actions.", wrong("policy.simplex"))
class FloorOverCount(Floored):
    def even(self, available):
        return available.double() / available.shape[-1]


@bad("policy", "exp_and_sum", "The sum that normalises is taken as a constant.", wrong("score.zero"))
class SumDetached(ExpAndSum):
    def total(self, weights):
        return super().total(weights).detach()


@bad("policy", "exp_and_sum", "A half of each probability is taken as a constant.", wrong("pg.theorem"))
class HalfDetached(ExpAndSum):
    def __call__(self, logits, available):
        pi = super().__call__(logits, available)
        return (pi + pi.detach()) / 2


@bad(
    "policy", "masked", "Logarithms are masked by where, after they were taken of zero.", wrong("policy.mask_gradient")
)
class LogarithmOfZero(Masked):
    output = "log_probabilities"

    def __call__(self, logits, available):
        return torch.where(available, super().__call__(logits, available).log(), -1e9)


@bad(
    "policy", "masked", "Unavailable logits lead back through a straight-through trick.", wrong("policy.mask_gradient")
)
class StraightThrough(Masked):
    def __call__(self, logits, available):
        soft = logits.softmax(-1)
        return super().__call__(logits, available).detach() + soft - soft.detach()


@bad("policy", "masked", "The gradient in the logits is cut off at a tenth.", wrong("pg.theorem"))
class GradientScaled(Masked):
    def hide(self, logits, available):
        return super().hide(0.1 * logits + 0.9 * logits.detach(), available)


@bad("policy", "masked", "Probabilities are smoothed over the calls.", wrong("policy.repeatable"))
class Smoothed(Masked):
    def __init__(self) -> None:
        self.kept = 0.0

    def hide(self, logits, available):
        self.kept = 0.5 * self.kept + 0.5 * float(logits.detach().sum())
        return super().hide(logits, available) * (1 + self.kept)


BAD = bad.targets()
GOOD = good.targets()
