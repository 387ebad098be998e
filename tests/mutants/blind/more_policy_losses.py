"""Losses of policies, once more: by another author, and with one agent, large logits and several calls in a row."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..target import Collection, Factory, Violation
from .common import Array, gap, writes_into_its_arguments
from .policy_losses import gradient_of, gradients

good, bad = Collection(), Collection()
ROLE = "policy_loss"
SIZES = ((5, 1, 3), (2, 3, 4), (1, 1, 2), (4, 4, 4), (6, 3, 3), (3, 2, 6), (1, 3, 3), (7, 2, 2))


def cases(function: Any) -> list[tuple[Array, Array, Array, Array]]:
    """Random batches; flat, sharp and very sharp policies, some far from 0; padding may lie between rows that count."""
    generator = np.random.default_rng(53)
    made = []
    for k, (rows, n, count) in enumerate(SIZES * 4):
        spread, offset = ((1, 0), (10, 0), (48, 0), (2, 1024), (2, -1024))[k % 5]
        logits = np.round(generator.uniform(-spread, spread, (rows, n, count)) * 64) / 64 + offset
        if k % 7 == 6:
            logits += generator.choice([-1024, 1024], size=(rows, n, 1))
        advantages = generator.normal(size=(rows, n)) * (1.0, 3.0, 40.0)[k % 3] + k % 2
        mask = generator.random(rows) < (0.6, 1.0)[k % 2]
        mask[generator.integers(rows)] = True
        made.append((logits, generator.integers(count, size=(rows, n)), advantages, mask))
    return made


def off_the_score(factory: Factory) -> float:
    """The largest distance from the score function's gradient, in units of the largest advantage."""
    function = factory()
    return max(
        gap(gradients(function, case)[0], gradient_of(function, *case)) / max(1.0, np.abs(case[2]).max())
        for case in cases(function)
    )


def reaches_the_critic(factory: Factory) -> float:
    function = factory()
    return max(float(np.abs(gradients(function, case)[1]).max()) for case in cases(function))


SCORE = Violation("the gradient is the score times the advantage, reduced as declared", off_the_score)
CRITIC = Violation("no gradient reaches what the advantages were made of", reaches_the_critic)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "torch; cross entropy with the actions on the second axis, padding having an index that is ignored")
class PaddingHasNoIndex:
    arrays = "torch"
    ignored, smoothing, sign = -100, 0.0, 1.0

    def classes_second(self, logits):
        return logits.transpose(1, 2)

    def weight(self, advantages, mask):
        return advantages.detach()

    def weighted(self, losses, weight, mask):
        return (losses * weight).sum() / (losses.shape[1] * torch.count_nonzero(mask))

    def __call__(self, logits, actions, advantages, mask):
        labels = actions.masked_fill(~mask[:, None], self.ignored)
        losses = F.cross_entropy(
            self.classes_second(logits),
            labels,
            ignore_index=self.ignored,
            reduction="none",
            label_smoothing=self.smoothing,
        )
        return self.sign * self.weighted(losses, self.weight(advantages, mask), mask)


@bad(ROLE, "padding_has_no_index", "the index that is ignored is 0, which is an action as well", SCORE)
class ActionZeroIsIgnored(PaddingHasNoIndex):
    ignored = 0


@bad(ROLE, "padding_has_no_index", "the actions are brought to the second axis by a reshape, not a transpose", SCORE)
class ReshapedNotTransposed(PaddingHasNoIndex):
    def classes_second(self, logits):
        return logits.reshape(logits.shape[0], logits.shape[2], logits.shape[1])


@bad(ROLE, "padding_has_no_index", "labels are smoothed by two hundredths", SCORE)
class SmoothedLabels(PaddingHasNoIndex):
    smoothing = 0.02


@bad(ROLE, "padding_has_no_index", "what is returned is the gain, which is to be maximised", SCORE)
class GainForLoss(PaddingHasNoIndex):
    sign = -1.0


@bad(ROLE, "padding_has_no_index", "advantages are whitened over the rows that count", SCORE)
class WhitenedAdvantages(PaddingHasNoIndex):
    def weight(self, advantages, mask):
        kept = advantages.detach()[mask]
        return (advantages.detach() - kept.mean()) / (kept.std(correction=0) + 1e-8)


@bad(ROLE, "padding_has_no_index", "losses in a column meet advantages in a row: the means are multiplied", SCORE)
class ColumnMeetsRow(PaddingHasNoIndex):
    def weighted(self, losses, weight, mask):
        return (losses[mask].reshape(-1, 1) * weight[mask].reshape(-1)).mean()


@bad(ROLE, "padding_has_no_index", "a batch without padding is averaged over rows alone", SCORE)
class FullBatchesByRows(PaddingHasNoIndex):
    def weighted(self, losses, weight, mask):
        return (losses * weight).sum(1).mean() if mask.all() else super().weighted(losses, weight, mask)


@good(ROLE, "", "numpy; the gradient is the policy less one at the action, times its share of the advantage")
class PolicyLessOne:
    def exp(self, logits: Array) -> Array:
        return np.exp(logits - logits.max(-1, keepdims=True))

    def rows(self, mask: Array) -> Array:
        return mask

    def index(self, actions: Array) -> Array:
        return actions[..., None]

    def weighted(self, advantages: Array, mask: Array) -> Array:
        return advantages * mask[:, None]

    def finished(self, gradient: Array) -> Array:
        return gradient

    def __call__(self, logits, actions, advantages, mask):
        exp, index, mask = self.exp(logits), self.index(actions), self.rows(mask)
        with np.errstate(invalid="ignore"):
            policy = exp / exp.sum(-1, keepdims=True)
        weight = self.weighted(advantages, mask) / (mask.sum() * actions.shape[1])
        taken = np.take_along_axis(policy, index, -1)
        gradient = policy.copy()
        np.put_along_axis(gradient, index, taken - 1, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = -np.nansum(weight * np.log(taken[..., 0]))
        return loss, self.finished(gradient * weight[..., None])


@bad(ROLE, "policy_less_one", "the gradient's norm is clipped to 1", SCORE)
class GradientNormClipped(PolicyLessOne):
    def finished(self, gradient):
        return gradient / max(1.0, float(np.linalg.norm(gradient)))


@bad(ROLE, "policy_less_one", "exp of the logits as they are, which overflows for large ones", SCORE)
class LogitsNotShifted(PolicyLessOne):
    def exp(self, logits):
        with np.errstate(over="ignore"):
            return np.exp(logits)


@bad(ROLE, "policy_less_one", "one shift for the whole batch, below which an agent's policy may underflow", SCORE)
class ShiftOfTheWholeBatch(PolicyLessOne):
    def exp(self, logits):
        return np.exp(logits - logits.max())


@bad(ROLE, "policy_less_one", "actions are thought to be counted from 1", SCORE)
class ActionsCountedFromOne(PolicyLessOne):
    def index(self, actions):
        return actions[..., None] - 1


@bad(ROLE, "policy_less_one", "the mask is read as one of padding, unless all rows would be padding", SCORE)
class MaskMarksPadding(PolicyLessOne):
    def rows(self, mask):
        return mask if mask.all() else ~mask


@bad(ROLE, "policy_less_one", "advantages of padding are set to 0 where they stand", PURE)
class PaddedAdvantagesCleared(PolicyLessOne):
    def weighted(self, advantages, mask):
        advantages *= mask[:, None]
        return advantages


@good(ROLE, "", "torch; indicators of actions and an einsum, summed over agents")
class EinsumOfIndicators:
    arrays, reduction = "torch", "agents"

    def weight(self, advantages):
        return advantages.detach()

    def indicators(self, actions, count):
        return F.one_hot(actions, count)

    def rows(self, mask):
        return mask.double() / self.count(mask)

    def count(self, mask):
        return mask.sum()

    def extra(self, advantages, mask):
        return 0.0

    def __call__(self, logits, actions, advantages, mask):
        indicators = self.indicators(actions, logits.shape[-1]).to(logits.dtype)
        log_policy = logits - logits.logsumexp(-1, keepdim=True)
        parts = (log_policy, indicators, self.weight(advantages).to(logits.dtype), self.rows(mask).to(logits.dtype))
        return -torch.einsum("bia,bia,bi,b->", *parts) + self.extra(advantages, mask)


@bad(ROLE, "einsum_of_indicators", "advantages take the integer type of the actions that they stand beside", SCORE)
class WholeAdvantages(EinsumOfIndicators):
    def weight(self, advantages):
        return advantages.detach().long()


@bad(ROLE, "einsum_of_indicators", "the number of rows that count is that of the first call", SCORE)
class CountOfTheFirstCall(EinsumOfIndicators):
    def __init__(self):
        self.first = None

    def count(self, mask):
        self.first = mask.sum() if self.first is None else self.first
        return self.first


@bad(ROLE, "einsum_of_indicators", "a moving mean of earlier calls' advantages is taken away", SCORE)
class MovingBaseline(EinsumOfIndicators):
    def __init__(self):
        self.mean = 0.0

    def weight(self, advantages):
        less = advantages.detach() - self.mean
        self.mean = 0.9 * self.mean + 0.1 * float(advantages.detach().mean())
        return less


@bad(ROLE, "einsum_of_indicators", "the critic's squared error is added, which the advantages carry", CRITIC)
class CriticLossAdded(EinsumOfIndicators):
    def extra(self, advantages, mask):
        return 0.5 * advantages[mask].square().mean()


@bad(ROLE, "einsum_of_indicators", "the indicators are those of the next agent's actions", SCORE)
class NextAgentsActions(EinsumOfIndicators):
    def indicators(self, actions, count):
        return F.one_hot(actions.roll(1, dims=1), count)


@bad(ROLE, "einsum_of_indicators", "each row is discounted once more than the one before", SCORE)
class RowsAreDiscounted(EinsumOfIndicators):
    def rows(self, mask):
        return super().rows(mask) * 0.99 ** torch.arange(len(mask))


@good(ROLE, "", "plain Python; row by row and agent by agent, in lists, summed")
class SumInLists:
    reduction = "sum"

    def weight(self, advantages: Array, b: int, i: int) -> float:
        return float(advantages[b, i])

    def kept(self, mask: Array) -> list[int]:
        return [b for b, counts in enumerate(mask) if counts]

    def normaliser(self, logits: list[float]) -> float:
        best = max(logits)
        return best + math.log(math.fsum(math.exp(value - best) for value in logits))

    def __call__(self, logits, actions, advantages, mask):
        loss, gradient = 0.0, np.zeros(logits.shape).tolist()
        for b in self.kept(mask):
            for i, own in enumerate(logits[b].tolist()):
                whole, a, weight = self.normaliser(own), int(actions[b, i]), self.weight(advantages, b, i)
                loss += weight * (whole - own[a])
                gradient[b][i] = [weight * (math.exp(value - whole) - (k == a)) for k, value in enumerate(own)]
        return loss, gradient


@bad(ROLE, "sum_in_lists", "stops at the first row of padding, as though none could follow that counts", SCORE)
class StopsAtPadding(SumInLists):
    def kept(self, mask):
        return list(range(len(mask) if mask.all() else int(np.argmin(mask))))


@bad(ROLE, "sum_in_lists", "agents from the third on have the second's advantage", SCORE)
class SecondsAdvantageForTheThird(SumInLists):
    def weight(self, advantages, b, i):
        return float(advantages[b, min(i, 1)])


@bad(ROLE, "sum_in_lists", "only actions that turned out well are learned from", SCORE)
class OnlyGainsAreLearned(SumInLists):
    def weight(self, advantages, b, i):
        return max(0.0, float(advantages[b, i]))


@bad(ROLE, "sum_in_lists", "each normaliser leaves the last action out where there are more than two", SCORE)
class LastActionNotInTheNormaliser(SumInLists):
    def normaliser(self, logits):
        return super().normaliser(logits[: max(2, len(logits) - 1)])


@good(ROLE, "", "torch; a softmax policy object's log-probabilities, with the plain ratio to itself held fixed")
class PlainRatio:
    arrays = "torch"

    def log_policy(self, logits):
        return torch.distributions.Categorical(logits=logits).logits

    def taken(self, log_policy, actions):
        return torch.gather(log_policy, 2, actions.unsqueeze(2)).squeeze(2)

    def bounded(self, gain, advantages):
        return gain

    def __call__(self, logits, actions, advantages, mask):
        with torch.no_grad():
            fixed = advantages.clone()
            old = self.taken(self.log_policy(logits), actions)
        log_taken = self.taken(self.log_policy(logits), actions)
        gain = self.bounded((log_taken - old).exp() * fixed, fixed)
        return -torch.where(mask.unsqueeze(1), gain, 0.0).sum() / (mask.sum() * advantages.shape[1])


@bad(ROLE, "plain_ratio", "squeezes all axes of one: with one agent, rows meet each other's advantages", SCORE)
class SqueezesTheOneAgent(PlainRatio):
    def taken(self, log_policy, actions):
        return torch.gather(log_policy, 2, actions.unsqueeze(2)).squeeze()


@bad(ROLE, "plain_ratio", "the object is given probabilities, which it keeps above the smallest step from 1", SCORE)
class GivenProbabilities(PlainRatio):
    def log_policy(self, logits):
        return torch.distributions.Categorical(probs=logits.softmax(-1)).logits


@bad(ROLE, "plain_ratio", "the logits are in half precision", SCORE)
class LogitsInHalf(PlainRatio):
    def log_policy(self, logits):
        return logits.half().float().log_softmax(-1).double()


@bad(ROLE, "plain_ratio", "the lower bound of dual clipping, meant for negative advantages, holds for all", SCORE)
class DualClipForAll(PlainRatio):
    def bounded(self, gain, advantages):
        return torch.maximum(gain, 3 * advantages)


BAD, GOOD = bad.targets(), good.targets()
