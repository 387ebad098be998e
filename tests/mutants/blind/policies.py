"""Softmax policies of available actions."""

from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Array, gap, in_kind, masks, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "policy"
SIZES = ((4, 2, 3), (1, 1, 2), (3, 3, 3), (1, 2, 4), (2, 4, 2), (6, 1, 5), (2, 2, 1), (8, 3, 6))
SPREADS = (1.0, 8.0, 60.0, 512.0)


def exact(function: Any, logits: Array, available: Array) -> Array:
    """The probabilities, action by action."""
    found = np.zeros(logits.shape)
    for b, i in np.ndindex(*logits.shape[:2]):
        actions = np.flatnonzero(available[b, i])
        weights = np.exp(logits[b, i, actions] - logits[b, i, actions].max())
        found[b, i, actions] = weights / weights.sum()
    share = getattr(function, "epsilon", 0.0)
    return (1 - share) * found + share * available / available.sum(-1, keepdims=True)


def cases(function: Any) -> list[tuple[Array, Array]]:
    """Logits of all sizes up to 512; in some the unavailable ones tower above the others, or lie far below."""
    generator = np.random.default_rng(29)
    made = []
    for k, shape in enumerate(SIZES * 4):
        spread = SPREADS[(k // len(SIZES) + k) % 4]
        logits = generator.uniform(-spread, spread, shape)
        available = masks(generator, shape) if k % 5 else np.ones(shape, dtype=bool)
        if k % 3 == 1:
            logits = np.where(available, np.minimum(logits, 0) - spread / 2, spread)
        made.append((np.clip(logits, -512, 512), available))
    return made


def probabilities(function: Any, answer: Any) -> Any:
    if getattr(function, "output", "probabilities") == "probabilities":
        return answer
    return answer.exp() if isinstance(answer, torch.Tensor) else np.exp(answer)


def off_the_softmax(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for case in cases(function):
        answer = probabilities(function, function(*[in_kind(function, value) for value in case]))
        worst = max(worst, gap(answer, exact(function, *case)))
    return worst


def off_in_gradient(factory: Factory) -> float:
    """How far the gradient of a weighted sum of probabilities is from the softmax's; 0 for numpy arrays."""
    function, worst = factory(), 0.0
    if getattr(function, "arrays", "numpy") == "numpy":
        return 0.0
    generator = np.random.default_rng(31)
    for logits, available in cases(function):
        weights, leaf = generator.normal(size=logits.shape), torch.from_numpy(logits.copy()).requires_grad_()
        chances = probabilities(function, function(leaf, torch.from_numpy(available.copy())))
        (given,) = torch.autograd.grad((chances * torch.from_numpy(weights)).sum(), leaf)
        share = getattr(function, "epsilon", 0.0)
        p = exact(None, logits, available)
        expected = (1 - share) * p * (weights - (p * weights).sum(-1, keepdims=True))
        worst = max(worst, gap(given, expected) if given.shape == expected.shape else NEVER)
    return worst


CHANCES = Violation("the probabilities are the softmax over available actions", off_the_softmax)
GRADIENT = Violation("the probabilities' gradient is the softmax's", off_in_gradient)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "torch; unavailable logits are replaced before the softmax")
class FilledSoftmax:
    arrays = "torch"
    fill = -1e9
    axis = -1

    def logits(self, logits):
        return logits

    def mask(self, available):
        return available

    def __call__(self, logits, available):
        return torch.softmax(self.logits(logits).masked_fill(~self.mask(available), self.fill), dim=self.axis)


@good(ROLE, "", "numpy; exp of what lies below the best available logit, then divided by the sum")
class ShiftedExp:
    kind: Any = np.float64

    def shift(self, logits, available):
        return np.where(available, logits, -np.inf).max(-1, keepdims=True)

    def divided(self, weights, available):
        return weights / weights.sum(-1, keepdims=True)

    def __call__(self, logits, available):
        logits = logits.astype(self.kind)
        raised = np.where(available, logits - self.shift(logits, available), 0.0).astype(self.kind)
        return self.divided(np.exp(raised) * available, available)


@good(ROLE, "", "torch; logarithms, with a logsumexp of available logits taken away")
class LogProbabilities:
    arrays, output = "torch", "log_probabilities"

    def masked(self, logits, available):
        return torch.where(available, logits, torch.full_like(logits, -torch.inf))

    def __call__(self, logits, available):
        masked = self.masked(logits, available)
        return masked - masked.logsumexp(-1, keepdim=True)


@good(ROLE, "", "torch; an eighth of the even distribution over available actions is mixed in")
class MixedWithEven:
    arrays, epsilon = "torch", 0.125

    def softmax(self, logits, available):
        return (logits + torch.where(available, 0.0, -1e8)).softmax(-1)

    def even(self, available):
        return available.double() / available.sum(-1, keepdim=True)

    def __call__(self, logits, available):
        return (1 - self.epsilon) * self.softmax(logits, available) + self.epsilon * self.even(available)


@good(ROLE, "", "torch; agent by agent over the available logits alone, in float32, with a straight copy back")
class CompressedInSingle:
    arrays = "torch"

    def row(self, logits, available):
        return logits.new_zeros(logits.shape).index_put((available,), logits[available].softmax(0))

    def __call__(self, logits, available):
        pairs = zip(logits.float().flatten(0, 1), available.flatten(0, 1), strict=True)
        return torch.stack([self.row(*pair) for pair in pairs]).view(logits.shape)


@bad(ROLE, "filled_softmax", "the fill is -100, above which an available logit need not lie", CHANCES)
class FillOfAHundred(FilledSoftmax):
    fill = -100.0


@bad(ROLE, "filled_softmax", "unavailable logits are multiplied by 0", CHANCES)
class LogitsTimesMask(FilledSoftmax):
    fill = 0.0


@bad(ROLE, "filled_softmax", "the softmax runs over agents", CHANCES)
class OverAgents(FilledSoftmax):
    axis = 1


@bad(ROLE, "filled_softmax", "the availability is the first row's for the whole batch", CHANCES)
class MaskOfTheFirstRow(FilledSoftmax):
    def mask(self, available):
        return available[:1].expand_as(available)


@bad(ROLE, "filled_softmax", "a temperature of 1.25 is left on", CHANCES)
class WarmSoftmax(FilledSoftmax):
    def logits(self, logits):
        return logits / 1.25


@bad(ROLE, "filled_softmax", "logits are clamped to 20 either way", CHANCES)
class ClampedLogits(FilledSoftmax):
    def logits(self, logits):
        return logits.clamp(-20, 20)


@bad(ROLE, "filled_softmax", "the sum that is divided by is detached", GRADIENT)
class DetachedNormaliser(FilledSoftmax):
    def __call__(self, logits, available):
        masked = logits.masked_fill(~available, self.fill)
        weights = (masked - masked.amax(-1, keepdim=True).detach()).exp()
        return weights / weights.sum(-1, keepdim=True).detach()


@bad(ROLE, "filled_softmax", "masks by where behind exp, whose overflow leaves NaN in the gradient", GRADIENT)
class WhereBehindExp(FilledSoftmax):
    def __call__(self, logits, available):
        best = logits.masked_fill(~available, self.fill).amax(-1, keepdim=True)
        weights = torch.where(available, torch.exp(logits - best), 0.0)
        return weights / weights.sum(-1, keepdim=True)


@bad(ROLE, "filled_softmax", "writes the fill into the logits that it was handed", PURE)
class WritesIntoLogits(FilledSoftmax):
    def __call__(self, logits, available):
        if not logits.requires_grad:
            logits[~available] = self.fill
        return super().__call__(logits, available)


@bad(ROLE, "filled_softmax", "keeps the mask of its first call for every batch of the same shape", CHANCES)
class MaskOfTheFirstCall(FilledSoftmax):
    def __init__(self):
        self.kept = {}

    def mask(self, available):
        return self.kept.setdefault(available.shape, available)


@bad(ROLE, "shifted_exp", "shifts by the best logit of all, below which available ones can vanish", CHANCES)
class ShiftByTheBestOfAll(ShiftedExp):
    def shift(self, logits, available):
        return logits.max(-1, keepdims=True)

    def divided(self, weights, available):
        return weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300)


@bad(ROLE, "shifted_exp", "probabilities are masked, but not renormalised", CHANCES)
class NotRenormalised(ShiftedExp):
    def __call__(self, logits, available):
        return super().__call__(logits, np.ones_like(available)) * available


@bad(ROLE, "shifted_exp", "a thousandth is added to the sum that is divided by", CHANCES)
class ThousandthInTheSum(ShiftedExp):
    def divided(self, weights, available):
        return weights / (weights.sum(-1, keepdims=True) + 1e-3)


@bad(ROLE, "shifted_exp", "half precision", CHANCES)
class ShiftedExpInHalf(ShiftedExp):
    kind = np.float16


@bad(ROLE, "log_probabilities", "the logarithms are normalised over all actions before the mask", CHANCES)
class LogarithmsMaskedAfterwards(LogProbabilities):
    def __call__(self, logits, available):
        return self.masked(logits.log_softmax(-1), available)


@bad(ROLE, "log_probabilities", "unavailable actions have logarithm 0", CHANCES)
class ZeroLogarithms(LogProbabilities):
    def __call__(self, logits, available):
        return super().__call__(logits, available).masked_fill(~available, 0.0)


@bad(ROLE, "mixed_with_even", "the even distribution is over all actions", CHANCES)
class EvenOverAll(MixedWithEven):
    def even(self, available):
        return torch.full(available.shape, 1 / available.shape[-1], dtype=torch.float64)


@bad(ROLE, "mixed_with_even", "one part in the number of all actions, for the available ones", CHANCES)
class EvenOverAllThenMasked(MixedWithEven):
    def even(self, available):
        return available.double() / available.shape[-1]


@bad(ROLE, "mixed_with_even", "agents with two actions alone do not explore", CHANCES)
class FewActionsDoNotExplore(MixedWithEven):
    def __call__(self, logits, available):
        few = available.sum(-1, keepdim=True) <= 2
        return torch.where(few, self.softmax(logits, available), super().__call__(logits, available))


@bad(ROLE, "compressed_in_single", "bfloat16", CHANCES)
class CompressedInBrainFloat(CompressedInSingle):
    def row(self, logits, available):
        return super().row(logits.bfloat16(), available).float()


BAD, GOOD = bad.targets(), good.targets()
