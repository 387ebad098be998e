"""Targets of TD learning."""

from typing import Any

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, masks, off_the_rule, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "td_target"
SIZES = ((6, 2, 3), (1, 1, 3), (3, 3, 4), (2, 2, 2), (1, 3, 2), (7, 1, 2), (4, 2, 1), (5, 3, 5), (3, 2, 3))


def rule(
    function: Any, r: Array, ends: Array, cut: Array, following: Array, online: Array, free: Array, gamma: float
) -> Array:
    """The definition, entry by entry."""
    backup, mixing = getattr(function, "backup", "max"), getattr(function, "mixing", "none")
    y = np.zeros(r.shape)
    for b, i in np.ndindex(*r.shape):
        actions = [a for a in range(following.shape[-1]) if free[b, i, a]]
        chooser = online if backup == "double" else following
        best = actions[int(np.argmax(chooser[b, i, actions]))]
        y[b, i] = 0.0 if ends[b] else gamma * following[b, i, best]
    return r[:, 0] + y.sum(1) if mixing == "sum" else r + y


def cases(function: Any) -> list[Arguments]:
    """Random batches of several sizes; values are negative in every second one."""
    generator = np.random.default_rng(3)
    made = []
    for k, (rows, n, count) in enumerate(SIZES * 4):
        count = 1 if getattr(function, "backup", "max") == "value" else count
        rewards = generator.normal(size=(rows, n)) * 3
        if getattr(function, "mixing", "none") == "sum":
            rewards[:] = rewards[:, :1]
        values, online = generator.normal(size=(2, rows, n, count)) * 3 - 9 * (k % 2)
        ends, cut = generator.random((2, rows)) < 0.4
        gamma = (0.0, 0.5, 0.9, 1.0)[k % 4]
        made.append((rewards, ends, cut, values, online, masks(generator, (rows, n, count)), gamma))
    return made


RULE = Violation("y = r + gamma * best next value, unless s' is terminal", off_the_rule(rule, cases))
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; unavailable actions are minus infinity, and a product with the flag")
class BestOfAvailable:
    def fill(self, values: Array, free: Array) -> Array:
        return np.where(free, values, -np.inf)

    def best(self, values: Array, free: Array) -> Array:
        return self.fill(values, free).max(-1)

    def goes_on(self, ends: Array, cut: Array, n: int) -> Array:
        return ~ends[:, None]

    def discount(self, gamma: float) -> float:
        return gamma

    def __call__(self, r, ends, cut, following, online, free, gamma):
        best = self.best(following, free)
        return r + self.discount(gamma) * self.goes_on(ends, cut, r.shape[1]) * best


@good(ROLE, "", "torch; double estimator by gather, terminal rows filled in afterwards")
class DoubleByGather:
    arrays, backup = "torch", "double"

    def choice(self, following, online, free):
        return online.masked_fill(~free, -torch.inf).argmax(-1, keepdim=True)

    def value(self, following, online, choice):
        return following.gather(-1, choice).squeeze(-1)

    def __call__(self, r, ends, cut, following, online, free, gamma):
        value = self.value(following, online, self.choice(following, online, free))
        return torch.where(ends.unsqueeze(-1), r, torch.add(r, value, alpha=gamma))


@good(ROLE, "", "torch; the sum over agents is taken of products with the flag, each by itself")
class SumOfAgents:
    arrays, mixing = "torch", "sum"

    def reward(self, r):
        return r.mean(1)

    def total(self, best):
        return best.sum(1)

    def bests(self, following, free):
        return torch.stack([torch.where(f, v, v.min() - 1).amax(-1) for v, f in zip(following, free, strict=True)])

    def __call__(self, r, ends, cut, following, online, free, gamma):
        kept = self.bests(following, free) * (1 - ends.to(following.dtype))[:, None]
        return self.reward(r) + gamma * self.total(kept)


@good(ROLE, "", "plain Python; state values, row by row, in lists")
class StateValueLists:
    backup = "value"

    def one(self, r: float, ends: bool, cut: bool, value: float, gamma: float) -> float:
        return r if ends else r + gamma * value

    def __call__(self, r, ends, cut, following, online, free, gamma):
        return [
            [self.one(r[b, i], bool(ends[b]), bool(cut[b]), following[b, i, 0], gamma) for i in range(r.shape[1])]
            for b in range(r.shape[0])
        ]


@good(ROLE, "", "numpy in float32; double estimator and sum, the best action found by sorting")
class DoubleSumInSingle:
    backup, mixing = "double", "sum"
    kind: Any = np.float32

    def __call__(self, r, ends, cut, following, online, free, gamma):
        order = np.lexsort((online, free), axis=-1)
        value = np.take_along_axis(following.astype(self.kind), order[..., -1:], -1)[..., 0]
        following_sum = np.add.reduce(value, axis=1, dtype=self.kind)
        return r[:, 0].astype(self.kind) + self.kind(gamma) * following_sum * np.logical_not(ends)


@bad(ROLE, "best_of_available", "availability is applied after the maximum: an unavailable best action counts 0", RULE)
class MaskAfterMaximum(BestOfAvailable):
    def best(self, values, free):
        chosen = values.argmax(-1)[..., None]
        return np.take_along_axis(values * free, chosen, -1)[..., 0]


@bad(ROLE, "best_of_available", "unavailable actions are worth 0", RULE)
class ZeroWhereUnavailable(BestOfAvailable):
    def fill(self, values, free):
        return values * free


@bad(ROLE, "best_of_available", "an agent that has one action alone counts as dead, and does not bootstrap", RULE)
class OneActionIsDeath(BestOfAvailable):
    def best(self, values, free):
        dead = (free.sum(-1) == 1) & (values.shape[-1] > 1)
        return np.where(dead, 0.0, super().best(values, free))


@bad(ROLE, "best_of_available", "the flags are spread over agents wherever their number is that of the rows", RULE)
class FlagsMeetAgents(BestOfAvailable):
    def goes_on(self, ends, cut, n):
        return ~ends if len(ends) == n else ~ends[:, None]


@bad(ROLE, "best_of_available", "a discount of 0 is taken for none given, and becomes 0.99", RULE)
class NoDiscountGiven(BestOfAvailable):
    def discount(self, gamma):
        return gamma or 0.99


@bad(ROLE, "best_of_available", "writes minus infinity into the values that it was handed", PURE)
class WritesIntoValues(BestOfAvailable):
    def fill(self, values, free):
        values[~free] = -np.inf
        return values


@bad(ROLE, "best_of_available", "a batch in which every row is cut is taken for one of ends", RULE)
class AllCutIsAllEnded(BestOfAvailable):
    def goes_on(self, ends, cut, n):
        return ~(ends | cut.all())[:, None]


@bad(ROLE, "best_of_available", "availability is the first agent's for all", RULE)
class FirstAgentsActions(BestOfAvailable):
    def fill(self, values, free):
        return np.where(free[:, :1], values, -np.inf)


@bad(ROLE, "double_by_gather", "values the chosen action by the online network", RULE)
class OnlineValuesItself(DoubleByGather):
    def value(self, following, online, choice):
        return online.gather(-1, choice).squeeze(-1)


@bad(ROLE, "double_by_gather", "chooses among unavailable actions as well", RULE)
class ChoosesUnavailable(DoubleByGather):
    def choice(self, following, online, free):
        return online.argmax(-1, keepdim=True)


@bad(ROLE, "double_by_gather", "takes the smaller of the two networks' values, as clipped double learning does", RULE)
class SmallerOfTwo(DoubleByGather):
    def value(self, following, online, choice):
        return torch.minimum(following, online).gather(-1, choice).squeeze(-1)


@bad(ROLE, "sum_of_agents", "the common reward is summed over agents", RULE)
class RewardSummed(SumOfAgents):
    def reward(self, r):
        return r.sum(1)


@bad(ROLE, "sum_of_agents", "the last agent is left out where there are more than two", RULE)
class ThirdAgentLeftOut(SumOfAgents):
    def total(self, best):
        return best[:, : max(2, best.shape[1] - 1)].sum(1)


@bad(ROLE, "sum_of_agents", "unavailable actions are worth the mean value of the whole batch", RULE)
class MeanWhereUnavailable(SumOfAgents):
    def bests(self, following, free):
        return torch.where(free, following, following.mean()).amax(-1)


@bad(ROLE, "state_value_lists", "a row that is both terminal and cut bootstraps", RULE)
class CutOutweighsEnd(StateValueLists):
    def one(self, r, ends, cut, value, gamma):
        return r + gamma * value if cut or not ends else r


@bad(ROLE, "state_value_lists", "the reward is discounted as well", RULE)
class RewardDiscounted(StateValueLists):
    def one(self, r, ends, cut, value, gamma):
        return gamma * (r if ends else r + value)


@bad(ROLE, "double_sum_in_single", "half precision", RULE)
class DoubleSumInHalf(DoubleSumInSingle):
    kind = np.float16


BAD, GOOD = bad.targets(), good.targets()
