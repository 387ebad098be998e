"""Softmax policies of available actions, once more: by another author, and with logits of up to 1024."""

import math
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Array, gap, in_kind, masks, writes_into_its_arguments
from .policies import exact, probabilities

good, bad = Collection(), Collection()
ROLE = "policy"
SIZES = ((5, 2, 4), (2, 3, 3), (1, 2, 2), (3, 1, 5), (4, 4, 4), (2, 2, 1), (6, 3, 2), (1, 1, 3))


def cases(function: Any) -> list[tuple[Array, Array]]:
    """Logits of several spreads, far from 0 in some, with agents far from each other in others."""
    generator = np.random.default_rng(59)
    made = []
    for k, shape in enumerate(SIZES * 5):
        spread = (1.0, 3.0, 12.0, 40.0, 1024.0)[(k // len(SIZES) + k) % 5]
        logits = np.round(generator.uniform(-spread, spread, shape) * 64) / 64
        if k % 4 == 1:
            logits = logits / 8 + generator.choice([-800, 0, 800], size=(*shape[:2], 1))
        available = masks(generator, shape)
        if k % 3 == 0:
            available[generator.random(shape[:2]) < 0.5] = True
        made.append((logits, available))
    return made


def off_the_definition(factory: Factory) -> float:
    """The largest distance from the probabilities, one function being called with all cases."""
    function = factory()
    return max(
        gap(probabilities(function, function(*[in_kind(function, value) for value in case])), exact(function, *case))
        for case in cases(function)
    )


def off_in_slope(factory: Factory) -> float:
    """How far the gradients of single probabilities are from the softmax's; a loss without any counts as broken."""
    function, worst = factory(), 0.0
    if getattr(function, "arrays", "numpy") == "numpy":
        return 0.0
    for logits, available in cases(function):
        leaf, share = torch.from_numpy(logits.copy()).requires_grad_(), getattr(function, "epsilon", 0.0)
        chances = probabilities(function, function(leaf, torch.from_numpy(available.copy())))
        p = exact(None, logits, available)
        if not chances.requires_grad:
            return NEVER
        for a in range(logits.shape[2]):
            (given,) = torch.autograd.grad(chances[..., a].sum(), leaf, retain_graph=True)
            expected = (1 - share) * p[..., a : a + 1] * (np.eye(logits.shape[2])[a] - p)
            worst = max(worst, gap(given, expected))
    return worst


CHANCES = Violation("the probabilities are those of a softmax over available actions", off_the_definition)
SLOPE = Violation("the probabilities' gradient is that of a softmax over available actions", off_in_slope)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; logarithms, the normaliser being added up by logaddexp")
class AddedLogarithms:
    output = "log_probabilities"

    def masked(self, logits: Array, available: Array) -> Array:
        return np.where(available, logits, -np.inf)

    def whole(self, masked: Array) -> Array:
        return np.logaddexp.reduce(masked, axis=-1, keepdims=True)

    def __call__(self, logits, available):
        masked = self.masked(logits, available)
        return masked - self.whole(masked)


@bad(ROLE, "added_logarithms", "the normaliser is the whole team's", CHANCES)
class NormalisedOverTheTeam(AddedLogarithms):
    def whole(self, masked):
        return np.logaddexp.reduce(masked.reshape(len(masked), -1), axis=-1)[:, None, None]


@bad(ROLE, "added_logarithms", "logarithms to the base 2", CHANCES)
class LogarithmsToBaseTwo(AddedLogarithms):
    def __call__(self, logits, available):
        return super().__call__(logits, available) / math.log(2)


@bad(ROLE, "added_logarithms", "the mask's logarithm, of at least 1e-10, is added for a penalty", CHANCES)
class LogarithmOfTheMask(AddedLogarithms):
    def masked(self, logits, available):
        return logits + np.log(np.maximum(available, 1e-10))


@bad(ROLE, "added_logarithms", "one action that nobody may lack, the first, is always available", CHANCES)
class FirstActionAlways(AddedLogarithms):
    def masked(self, logits, available):
        return super().masked(logits, available | (np.arange(logits.shape[-1]) == 0))


@bad(ROLE, "added_logarithms", "an agent that has one action alone counts as unmasked", CHANCES)
class LoneActionUnmasks(AddedLogarithms):
    def masked(self, logits, available):
        return super().masked(logits, available | (available.sum(-1, keepdims=True) < 2))


@bad(ROLE, "added_logarithms", "the largest logit stands for the normaliser where it leads by three", CHANCES)
class LeaderTakesAll(AddedLogarithms):
    def whole(self, masked):
        best = masked.max(-1, keepdims=True)
        return np.where((masked > best - 3).sum(-1, keepdims=True) == 1, best, super().whole(masked))


@good(ROLE, "", "plain Python; weights in lists, and a quarter of the even distribution mixed in")
class ListsWithAQuarter:
    epsilon = 0.25

    def share(self) -> float:
        return self.epsilon

    def shift(self, own: list[float], all_logits: Array) -> float:
        return max(own)

    def exp(self, value: float) -> float:
        return math.exp(value) if value < 709 else math.inf

    def mixed(self, chance: float, even: float) -> float:
        share = self.share()
        return (1 - share) * chance + share * even

    def row(self, logits: Array, available: Array, all_logits: Array) -> list[float]:
        actions = np.flatnonzero(available).tolist()
        shift = self.shift([float(logits[a]) for a in actions], all_logits)
        weights = {a: self.exp(float(logits[a]) - shift) for a in actions}
        whole = math.fsum(weights.values()) or math.nan
        return [
            self.mixed(weights[a] / whole, 1 / len(actions)) if a in weights else 0.0 for a in range(len(available))
        ]

    def __call__(self, logits, available):
        return [
            [self.row(*pair, logits) for pair in zip(*agents, strict=True)]
            for agents in zip(logits, available, strict=True)
        ]


@bad(ROLE, "lists_with_a_quarter", "the exponential is taken of the logits as they are", CHANCES)
class ExponentialsAsTheyAre(ListsWithAQuarter):
    def shift(self, own, all_logits):
        return 0.0


@bad(ROLE, "lists_with_a_quarter", "shifts by the smallest logit, above which others can overflow", CHANCES)
class ShiftByTheSmallest(ListsWithAQuarter):
    def shift(self, own, all_logits):
        return min(own)


@bad(ROLE, "lists_with_a_quarter", "shifts by the batch's largest logit, below which an agent's can vanish", CHANCES)
class ShiftByTheBatchesLargest(ListsWithAQuarter):
    def shift(self, own, all_logits):
        return float(all_logits.max())


@bad(ROLE, "lists_with_a_quarter", "the even part is added to the whole softmax, and the sum divided by 1.25", CHANCES)
class EvenPartOnTop(ListsWithAQuarter):
    def mixed(self, chance, even):
        return (chance + self.epsilon * even) / (1 + self.epsilon)


@bad(ROLE, "lists_with_a_quarter", "the share that explores shrinks by a hundredth at each look", CHANCES)
class ExplorationShrinks(ListsWithAQuarter):
    def __init__(self):
        self.left = self.epsilon

    def share(self):
        now = self.left
        self.left *= 0.99
        return now


@bad(ROLE, "lists_with_a_quarter", "probabilities are rounded to three places", CHANCES)
class RoundedToThreePlaces(ListsWithAQuarter):
    def mixed(self, chance, even):
        return round(super().mixed(chance, even), 3)


@bad(ROLE, "lists_with_a_quarter", "a softmax's probability is a thousandth at least, the others unchanged", CHANCES)
class FloorOfAThousandth(ListsWithAQuarter):
    def mixed(self, chance, even):
        return super().mixed(max(1e-3, chance), even)


@good(ROLE, "", "torch; a distribution object's probabilities, of logits masked by the type's smallest number")
class OfADistribution:
    arrays = "torch"

    def mask(self, available):
        return available

    def __call__(self, logits, available):
        masked = torch.where(self.mask(available), logits, torch.finfo(logits.dtype).min)
        return torch.distributions.Categorical(logits=masked).probs


@bad(ROLE, "of_a_distribution", "an action is available to all agents where one of them has it", CHANCES)
class AvailableToTheTeam(OfADistribution):
    def mask(self, available):
        return available.any(1, keepdim=True).expand_as(available)


@bad(ROLE, "of_a_distribution", "the mask is laid one action further", CHANCES)
class MaskOneFurther(OfADistribution):
    def mask(self, available):
        return available.roll(1, dims=-1)


@bad(ROLE, "of_a_distribution", "no row is masked where one agent has all its actions", CHANCES)
class OneFreeAgentFreesAll(OfADistribution):
    def mask(self, available):
        return available | available.all(-1).any()


@bad(ROLE, "of_a_distribution", "masks are flattened agent by agent, and logits row by row", CHANCES)
class FlattenedTheOtherWay(OfADistribution):
    def mask(self, available):
        return available.transpose(0, 1).reshape(available.shape)


@bad(ROLE, "of_a_distribution", "a straight-through mask: backwards, unavailable actions are there", SLOPE)
class StraightThroughMask(OfADistribution):
    def __call__(self, logits, available):
        free = logits.softmax(-1)
        return super().__call__(logits, available).detach() + free - free.detach()


@bad(ROLE, "of_a_distribution", "works on the logits' data, and so without a gradient", SLOPE)
class WithoutAGradient(OfADistribution):
    def __call__(self, logits, available):
        return super().__call__(logits.data, available)


@good(ROLE, "", "numpy; the most likely first: sorted, accumulated, and put back in order")
class SortedAndPutBack:
    def shifted(self, logits: Array, best: Array) -> Array:
        return logits - best

    def back(self, chances: Array, order: Array) -> Array:
        return np.take_along_axis(chances, np.argsort(order, axis=-1), -1)

    def __call__(self, logits, available):
        order = np.argsort(np.where(available, -logits, np.inf), axis=-1, kind="stable")
        free = np.take_along_axis(available, order, -1)
        ranked = np.take_along_axis(logits, order, -1)
        weights = np.exp(np.where(free, self.shifted(ranked, ranked[..., :1]), -np.inf))
        return self.back(weights / np.cumsum(weights, axis=-1)[..., -1:], order)


@bad(ROLE, "sorted_and_put_back", "the order is applied once more, which undoes it for two actions alone", CHANCES)
class SortedTwice(SortedAndPutBack):
    def back(self, chances, order):
        return np.take_along_axis(chances, order, -1)


@bad(ROLE, "sorted_and_put_back", "the best logit is taken away in place: the logits are written into", PURE)
class ShiftedInPlace(SortedAndPutBack):
    def __call__(self, logits, available):
        logits -= np.where(available, logits, -np.inf).max(-1, keepdims=True)
        return super().__call__(logits, available)


@good(ROLE, "", "torch; the logarithm of the softmax with a sixteenth of the even distribution mixed in")
class LogarithmOfTheMixture:
    arrays, output, epsilon = "torch", "log_probabilities", 0.0625

    def even(self, available):
        return (available.to(torch.float64) / available.sum(-1, keepdim=True)).detach()

    def __call__(self, logits, available):
        policy = logits.masked_fill(~available, -torch.inf).softmax(-1)
        mixture = torch.lerp(policy, self.even(available), self.epsilon)
        return torch.where(available, mixture, 1.0).log().masked_fill(~available, -torch.inf)


@bad(ROLE, "logarithm_of_the_mixture", "mixes logarithms rather than probabilities", CHANCES)
class MixesLogarithms(LogarithmOfTheMixture):
    def __call__(self, logits, available):
        log_policy = logits.masked_fill(~available, -1e9).log_softmax(-1)
        log_even = self.even(available).clamp(min=1e-300).log()
        return torch.lerp(log_policy, log_even, self.epsilon).masked_fill(~available, -torch.inf)


@bad(ROLE, "logarithm_of_the_mixture", "the even part is over as many actions as the first agent has", CHANCES)
class EvenAsForTheFirstAgent(LogarithmOfTheMixture):
    def even(self, available):
        return available.double() / available[:, :1].sum(-1, keepdim=True)


@bad(ROLE, "logarithm_of_the_mixture", "the share of the even part is detached with the softmax's own", SLOPE)
class MixtureKeepsTheWholeSlope(LogarithmOfTheMixture):
    def __call__(self, logits, available):
        policy = logits.masked_fill(~available, -torch.inf).softmax(-1)
        mixture = policy + (self.epsilon * (self.even(available) - policy)).detach()
        return torch.where(available, mixture, 1.0).log().masked_fill(~available, -torch.inf)


BAD, GOOD = bad.targets(), good.targets()
