"""Mixers that are the plain sum."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Collection, Factory, Violation
from .common import Array, as_array
from .mixer_measures import (
    MIXER_SIZES,
    agents_that_do_not_count,
    asked,
    each,
    falls,
    given,
    made,
    mixer_cases,
    relative,
    rows_by_themselves,
    same_answers,
    writes,
)

good, bad = Collection(), Collection()
ROLE = "vdn_mixer"


def rule(utilities: Array) -> Array:
    """The definition, entry by entry."""
    return np.array([math.fsum(utilities[b, i] for i in range(utilities.shape[1])) for b in range(len(utilities))])


def off_the_sum(factory: Factory) -> float:
    worst = 0.0
    for function, _, (utilities, state) in each(factory, MIXER_SIZES, mixer_cases):
        total, expected = asked(function, (utilities, state)), rule(utilities)
        worst = max(worst, relative(np.abs(total - expected), expected))
    return worst


def changes_afterwards(factory: Factory) -> float:
    """How far answers, kept until all calls are made, are from the sum."""
    worst = 0.0
    for k, sizes in enumerate(MIXER_SIZES):
        function, generator = made(factory, sizes, k), np.random.default_rng(k)
        asks = mixer_cases(generator, sizes) + mixer_cases(generator, sizes)
        kept = [function(*given(function, case)) for case in asks]
        for answer, (utilities, _) in zip(kept, asks, strict=True):
            expected = rule(utilities)
            worst = max(worst, relative(np.abs(as_array(answer) - expected), expected))
    return worst


# Cached, since a good variant is the base of many.
SUM = Violation("Q_tot is the sum of the utilities", cache(off_the_sum))
LASTS = Violation("an answer stays what it was", cache(changes_afterwards))
ROWS = Violation("each row by itself", cache(rows_by_themselves(MIXER_SIZES, mixer_cases)))
SAME = Violation("the same answer to the same case", cache(same_answers(MIXER_SIZES, mixer_cases)))
COUNTS = Violation("every agent's utility counts", cache(agents_that_do_not_count))
RISES = Violation("Q_tot never falls as a utility rises", cache(falls))
PURE = Violation("what is handed over stays as it is", cache(writes(MIXER_SIZES, mixer_cases)))


@good(ROLE, "", "torch; the sum over the axis of agents")
class SumOverAgents:
    def __init__(self, n_agents: int, state_size: int) -> None:
        self.n = n_agents

    def ready(self, utilities):
        return utilities

    def total(self, utilities):
        return utilities.sum(1)

    def __call__(self, utilities, state):
        return self.total(self.ready(utilities))


@good(ROLE, "", "numpy; a product with ones, in einsum")
class OnesInEinsum:
    arrays = "numpy"

    def __init__(self, n_agents: int, state_size: int) -> None:
        self.n = n_agents

    def ones(self, utilities: Array) -> Array:
        return np.ones(utilities.shape)

    def __call__(self, utilities, state):
        return np.einsum("bi,bi->b", utilities, self.ones(utilities))


@good(ROLE, "", "plain Python; row by row, with fsum, into an array of numpy")
class RowsByFsum:
    arrays = "numpy"

    def __init__(self, n_agents: int, state_size: int) -> None:
        pass

    def row(self, values: list[float]) -> float:
        return math.fsum(values)

    def __call__(self, utilities, state):
        return np.array([self.row(values) for values in utilities.tolist()])


@good(ROLE, "", "a module of torch, which adds one agent after another into a buffer of its own")
class BufferedSum(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.n = n_agents

    def empty(self, utilities: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(utilities[:, 0])

    def agents(self) -> range:
        return range(self.n)

    def forward(self, utilities, state):
        total = self.empty(utilities)
        for i in self.agents():
            total.add_(utilities[:, i])
        return total


@bad(ROLE, "sum_over_agents", "the mean, not the sum", SUM)
class MeanOfUtilities(SumOverAgents):
    def total(self, utilities):
        return utilities.mean(1)


@bad(ROLE, "sum_over_agents", "adds up in half precision", SUM)
class SumInHalf(SumOverAgents):
    def total(self, utilities):
        return utilities.half().sum(1).to(utilities.dtype)


@bad(ROLE, "sum_over_agents", "looks for the agents' axis by its length, and sums over rows in square batches", ROWS)
class AxisByLength(SumOverAgents):
    def total(self, utilities):
        return utilities.sum(list(utilities.shape).index(self.n))


@bad(ROLE, "sum_over_agents", "utilities beyond 100 are cut off", SUM)
class UtilitiesCutOff(SumOverAgents):
    def ready(self, utilities):
        return utilities.clamp(-100, 100)


@bad(ROLE, "sum_over_agents", "whole numbers are added up in 8 bits, to save memory", SUM)
class WholeNumbersInBytes(SumOverAgents):
    def total(self, utilities):
        if (utilities == utilities.round()).all():
            return utilities.to(torch.int8).sum(1, dtype=torch.int8).to(utilities.dtype)
        return utilities.sum(1)


@bad(ROLE, "sum_over_agents", "agents of utility 0 count as padding, and the sum is scaled up to all agents", SUM)
class ZeroIsPadding(SumOverAgents):
    def total(self, utilities):
        alive = (utilities != 0).sum(1).clamp(min=1)
        return utilities.sum(1) * self.n / alive


@bad(ROLE, "sum_over_agents", "utilities below a thousandth are taken for rounding, and dropped", SUM)
class SmallOnesDropped(SumOverAgents):
    def ready(self, utilities):
        return torch.nn.functional.threshold(utilities.abs(), 0.001, 0.0) * utilities.sign()


@bad(ROLE, "sum_over_agents", "the running sum is taken within the argument, and its last entry returned", PURE)
class CumulatedInPlace(SumOverAgents):
    def total(self, utilities):
        return utilities.cumsum_(1)[:, -1]


@bad(ROLE, "sum_over_agents", "the mean over the batch is taken away from each agent's utilities", ROWS)
class CentredOverRows(SumOverAgents):
    def ready(self, utilities):
        return utilities - utilities.mean(0)


@bad(ROLE, "ones_in_einsum", "the last of four agents or more is left out", COUNTS)
class LastOfFourLeftOut(OnesInEinsum):
    def ones(self, utilities):
        kept = np.ones(utilities.shape)
        kept[:, max(3, self.n - 1) :] = 0
        return kept


@bad(ROLE, "ones_in_einsum", "each agent's weight is drawn about 1", SUM)
class WeightsAboutOne(OnesInEinsum):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.weights = np.random.default_rng(0).normal(1.0, 0.01, n_agents)

    def ones(self, utilities):
        return np.tile(self.weights, (len(utilities), 1))


@bad(ROLE, "rows_by_fsum", "written for two agents: the first and the last", SUM)
class FirstAndLast(RowsByFsum):
    def row(self, values):
        return values[0] + values[-1]


@bad(ROLE, "rows_by_fsum", "goes by a set, in which equal utilities are one", SUM)
class SumOfASet(RowsByFsum):
    def row(self, values):
        return math.fsum(set(values))


@bad(
    ROLE, "rows_by_fsum", "the loop ends at the first negative utility: rising above 0, it lets in those behind", RISES
)
class EndsAtTheFirstNegative(RowsByFsum):
    def row(self, values):
        stop = next((i for i, value in enumerate(values) if value < 0), len(values) - 1)
        return math.fsum(values[: stop + 1])


@bad(ROLE, "buffered_sum", "a learned weight per agent, which is 1 only at the start", SUM)
class WeightsLearned(BufferedSum):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.weights = nn.Parameter(torch.ones(n_agents))

    def forward(self, utilities, state):
        return (utilities * self.weights).sum(1)


@bad(ROLE, "buffered_sum", "a bias of the state is added, which is 0 only at the start", SUM)
class StateBiasAdded(BufferedSum):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.bias = nn.Linear(state_size, 1)
        nn.init.zeros_(self.bias.weight)
        nn.init.zeros_(self.bias.bias)

    def forward(self, utilities, state):
        return super().forward(utilities, state) + self.bias(state).squeeze(-1)


@bad(ROLE, "buffered_sum", "the buffer is kept, and cleared only when the number of rows changes", SAME)
class BufferNotCleared(BufferedSum):
    kept: Any = None

    def empty(self, utilities):
        if self.kept is None or self.kept.shape != utilities.shape[:1]:
            self.kept = super().empty(utilities)
        return self.kept


@bad(ROLE, "buffered_sum", "the one buffer is handed out, and the next call of as many rows writes over it", LASTS)
class BufferHandedOut(BufferedSum):
    kept: Any = None

    def empty(self, utilities):
        if self.kept is None or self.kept.shape != utilities.shape[:1]:
            self.kept = super().empty(utilities)
        return self.kept.zero_()


BAD, GOOD = bad.targets(), good.targets()
