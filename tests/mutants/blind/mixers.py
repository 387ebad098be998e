"""Mixers: monotone networks of several kinds, and what breaks them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..target import Collection, Factory, Violation
from .common import NEVER, Array, as_array, gap

good, bad = Collection(), Collection()
ROLE = "mixer"
SIZES = ((1, 1), (2, 3), (3, 2), (5, 4))
DRAWS, HIDDEN = 4, 4


def made(factory: Factory, size: tuple[int, int]) -> Any:
    """A mixer in float64, from a seed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(7)
        return factory(*size)
    finally:
        torch.set_default_dtype(before)


def handed(function: Any, value: Array) -> Any:
    """A copy in the kind of arrays that a mixer asks for, torch by default."""
    return value.copy() if getattr(function, "arrays", "torch") == "numpy" else torch.from_numpy(value.copy())


def asked(function: Any, utilities: Array, state: Array) -> Array:
    return as_array(function(handed(function, utilities), handed(function, state))).copy()


def redraw(function: Any, generator: np.random.Generator) -> None:
    """Parameters of both signs in place of those that the mixer starts with."""
    if isinstance(function, nn.Module):
        with torch.no_grad():
            for parameter in function.parameters():
                parameter.copy_(torch.from_numpy(1.5 * generator.normal(size=(*parameter.shape, 1))).squeeze(-1))


def mixers(factory: Factory, seed: int) -> Iterator[tuple[Any, int, int, np.random.Generator]]:
    """Mixers of all sizes, as they are made and with parameters redrawn."""
    for size in SIZES:
        generator = np.random.default_rng([seed, *size])
        start = made(factory, size)
        for draw in range(DRAWS if isinstance(start, nn.Module) else 1):
            function = made(factory, size) if draw else start
            if draw:
                redraw(function, generator)
            yield function, *size, generator


def points(generator: np.random.Generator, rows: int, n: int) -> Array:
    """Utilities of all magnitudes, with zeros, equal ones, and rows of one sign among them."""
    found = generator.normal(size=(rows, n)) * generator.choice([0.3, 1, 10, 300, 3e4], size=(rows, 1))
    found[generator.random((rows, n)) < 0.1] = 0.0
    found[::5] = found[::5, :1]
    found[1::5] = -np.abs(found[1::5])
    return found


def raised(generator: np.random.Generator, utilities: Array, agent: int) -> Array:
    """The utilities with one agent's higher: by a step, up to zero, or up to what the next agent has."""
    step = np.abs(generator.normal(size=len(utilities))) * generator.choice([0.01, 0.5, 3, 50, 2e4], len(utilities))
    higher, own = utilities.copy(), utilities[:, agent]
    higher[:, agent] = own + step
    higher[0::4, agent] = np.where(own[0::4] < 0, 0.0, higher[0::4, agent])
    other = utilities[2::4, (agent + 1) % utilities.shape[1]]
    higher[2::4, agent] = np.where(own[2::4] < other, other, higher[2::4, agent])
    return higher


def falls(factory: Factory) -> float:
    """The deepest fall of Q_tot where one agent's utility rises, as a share of Q_tot where that is large."""
    deepest = 0.0
    for function, n, size, generator in mixers(factory, 1):
        for agent in range(n):
            low = points(generator, 300, n)
            state = generator.normal(size=(300, size)) * generator.choice([1, 3], size=(300, 1))
            before, after = asked(function, low, state), asked(function, raised(generator, low, agent), state)
            depth = (before - after) / (1 + np.maximum(np.abs(before), np.abs(after)))
            deepest = max(deepest, float(np.nan_to_num(depth, nan=NEVER).max()))
    return deepest


def distance(answer: Array, expected: Array) -> float:
    return gap(answer, expected) / (1 + float(np.abs(expected).max(initial=0.0)))


def moved_by_other_rows(factory: Factory) -> float:
    """The largest change of a row's Q_tot with the rows beside it; some states repeat, and some are zero."""
    worst = 0.0
    for function, n, size, generator in mixers(factory, 2):
        utilities, state = generator.normal(size=(24, n)) * 3, generator.normal(size=(24, size))
        state[5], state[9:11] = state[4], 0.0
        whole = asked(function, utilities, state)
        parts = [np.array([k]) for k in range(24)]
        parts += [np.arange(4, 4 + n), np.arange(6, 6 + size), np.arange(12), generator.permutation(24)]
        worst = max([worst, *(distance(asked(function, utilities[p], state[p]), whole[p]) for p in parts)])
    return worst


def changes_its_mind(factory: Factory) -> float:
    """The largest difference between two answers to one question, with a dozen others between them."""
    worst = 0.0
    for function, n, size, generator in mixers(factory, 3):
        questions = [(generator.normal(size=(6, n)) * 2**k, generator.normal(size=(6, size))) for k in range(13)]
        first = [asked(function, *question) for question in questions]
        again = [asked(function, *question) for question in questions]
        worst = max([worst, *(distance(new, old) for new, old in zip(again, first, strict=True))])
    return worst


def not_finite(factory: Factory) -> float:
    """How many answers are no numbers, for zeros, equal utilities and large ones, in small and in large states."""
    count = 0
    for function, n, size, generator in mixers(factory, 4):
        utilities = np.concatenate(
            [points(generator, 20, n), np.zeros((2, n)), np.ones((2, n)), points(generator, 6, n) * 20]
        )
        for scale in (0.0, 1.0, 1e3):
            state = generator.normal(size=(len(utilities), size)) * scale
            count += int((~np.isfinite(asked(function, utilities, state))).sum())
    return float(count)


def change_of_arguments(factory: Factory) -> float:
    """The largest change that a call makes to what it is handed."""
    worst = 0.0
    for function, n, size, generator in mixers(factory, 5):
        given = generator.normal(size=(7, n)) * 3, generator.normal(size=(7, size)) * 3
        copies = [handed(function, value) for value in given]
        function(*copies)
        worst = max([worst, *(gap(copy, value) for copy, value in zip(copies, given, strict=True))])
    return worst


def agents_without_effect(factory: Factory) -> float:
    """How many agents of all sizes move Q_tot nowhere, whatever the parameters."""
    effect = {(size, agent): 0.0 for size in SIZES for agent in range(size[0])}
    for function, n, size, generator in mixers(factory, 6):
        utilities, state = points(generator, 60, n), generator.normal(size=(60, size))
        base = asked(function, utilities, state)
        for agent in range(n):
            move = np.abs(asked(function, raised(generator, utilities, agent), state) - base).max()
            effect[(n, size), agent] = max(effect[(n, size), agent], float(move))
    return float(sum(move < 1e-9 for move in effect.values()))


def wrong_shapes(factory: Factory) -> float:
    """How many answers are not of shape [B]."""
    count = 0
    for function, n, size, generator in mixers(factory, 8):
        for rows in (1, 2, 5):
            answer = asked(function, generator.normal(size=(rows, n)), generator.normal(size=(rows, size)))
            count += answer.shape != (rows,)
    return float(count)


MONOTONE = Violation("Q_tot never falls where one agent's utility rises", falls)
ROWS = Violation("each row is answered by itself", moved_by_other_rows)
SAME = Violation("the same input has the same answer", changes_its_mind)
FINITE = Violation("finite inputs have finite answers", not_finite)
PURE = Violation("what is handed over stays as it is", change_of_arguments)
COUNTS = Violation("every agent's utility counts", agents_without_effect)
SHAPE = Violation("one number a row", wrong_shapes)


@good(ROLE, "", "torch; the sum, in a loop over rows and agents, without the state")
class AddsRowByRow:
    def __init__(self, n_agents: int, state_size: int) -> None:
        self.n = n_agents

    def agents(self) -> range:
        return range(self.n)

    def worth(self, utility):
        return utility

    def one(self, row):
        return sum(self.worth(row[i]) for i in self.agents())

    def __call__(self, utilities, state):
        return torch.stack([self.one(row) for row in utilities])


@good(ROLE, "", "torch; a hypernetwork as in QMIX, with softplus for the absolute value, by einsum")
class SoftplusHypernetwork(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.n = n_agents
        self.first = nn.Linear(state_size, n_agents * HIDDEN)
        self.shift = nn.Linear(state_size, HIDDEN)
        self.last = nn.Linear(state_size, HIDDEN)
        self.value = nn.Sequential(nn.Linear(state_size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def positive(self, raw):
        return F.softplus(raw)

    def first_weights(self, state):
        return self.positive(self.first(state)).view(-1, self.n, HIDDEN)

    def last_weights(self, state):
        return self.positive(self.last(state))

    def activation(self, inner):
        return F.elu(inner)

    def rest(self, utilities, state):
        return self.value(state).squeeze(-1)

    def forward(self, utilities, state):
        inner = torch.einsum("bn,bnh->bh", utilities, self.first_weights(state)) + self.shift(state)
        mixed = torch.einsum("bh,bh->b", self.activation(inner), self.last_weights(state))
        return mixed + self.rest(utilities, state)


@good(ROLE, "", "torch; a tree of pairs with squared weights, scaled by the state")
class TreeOfPairs(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        widths = [n_agents]
        while widths[-1] > 2:
            widths.append((widths[-1] + 1) // 2)
        self.weights = nn.ParameterList(self.start(width) for width in widths)
        self.gate = nn.Linear(state_size, 1)

    def start(self, width: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(width) + 1)

    def positive(self, raw):
        return raw.square()

    def bend(self, values):
        return values + torch.tanh(values)

    def join(self, left, right):
        return left + right

    def halved(self, values):
        padded = F.pad(values, (0, values.shape[1] % 2))
        return self.join(padded[:, 0::2], padded[:, 1::2])

    def scale(self, state):
        return 0.5 + torch.sigmoid(self.gate(state)).squeeze(-1)

    def forward(self, utilities, state):
        values = utilities
        for weight in self.weights:
            values = self.bend(self.halved(values * self.positive(weight)))
        return values[:, 0] * self.scale(state)


@good(ROLE, "", "torch; heads that share attention among agents by the state alone, as in Qatten")
class AttentionOfHeads(nn.Module):
    heads, width = 2, 3

    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(state_size, self.heads * self.width)
        self.keys = nn.Parameter(torch.randn(n_agents, self.width))
        self.head = nn.Linear(state_size, self.heads)
        self.value = nn.Linear(state_size, 1)

    def queries(self, state):
        return self.query(state).view(-1, self.heads, self.width)

    def scores(self, utilities, state):
        return torch.einsum("bhk,nk->bhn", self.queries(state), self.keys) / math.sqrt(self.width)

    def shares(self, scores):
        return torch.softmax(scores, -1)

    def attended(self, utilities, shares):
        return (shares * utilities.unsqueeze(1)).sum(-1)

    def mixed(self, attended, state):
        return (attended * self.head(state).abs()).sum(-1)

    def forward(self, utilities, state):
        shares = self.shares(self.scores(utilities, state))
        return self.mixed(self.attended(utilities, shares), state) + self.value(state)[:, 0]


@good(ROLE, "", "torch; the least of groups of which each takes its highest unit, as in monotone networks of Sill")
class LeastOfGroups(nn.Module):
    groups, units = 3, 2

    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(self.groups, self.units, n_agents))
        self.bias = nn.Linear(state_size, self.groups * self.units)

    def seen(self, utilities):
        return utilities

    def positive(self, raw):
        return raw.abs()

    def products(self, utilities):
        return torch.einsum("bn,kjn->bkj", self.seen(utilities), self.positive(self.raw))

    def biases(self, state):
        return self.bias(state).view(-1, self.groups, self.units)

    def least(self, groups):
        return groups.amin(-1)

    def forward(self, utilities, state):
        return self.least((self.products(utilities) + self.biases(state)).amax(-1))


@good(ROLE, "", "numpy; two layers of fixed weights, with the logarithm of magnitudes between them")
class FixedLayers:
    arrays = "numpy"

    def __init__(self, n_agents: int, state_size: int) -> None:
        self.generator = np.random.default_rng([n_agents, state_size])
        self.first, self.last = self.drawn((n_agents, HIDDEN)), self.drawn((HIDDEN,))
        self.of_state = self.generator.normal(size=state_size)

    def drawn(self, shape: tuple[int, ...]) -> Array:
        return np.abs(self.generator.normal(size=shape))

    def seen(self, utilities: Array) -> Array:
        return utilities

    def bent(self, inner: Array) -> Array:
        return np.sign(inner) * np.log1p(np.abs(inner))

    def offset(self, state: Array) -> Array:
        return state @ self.of_state

    def __call__(self, utilities, state):
        return self.bent(self.seen(utilities) @ self.first) @ self.last + self.offset(state)


@good(ROLE, "", "numpy; the logarithm of a weighed sum of exponentials, and a tenth of the sum")
class SmoothMaximum:
    arrays = "numpy"

    def __init__(self, n_agents: int, state_size: int) -> None:
        self.weights = np.arange(1.0, n_agents + 1)

    def highest(self, utilities: Array) -> Array:
        return utilities.max(1, keepdims=True)

    def smooth(self, utilities: Array) -> Array:
        highest = self.highest(utilities)
        with np.errstate(all="ignore"):
            return highest[:, 0] + np.log(np.exp(utilities - highest) @ self.weights)

    def __call__(self, utilities, state):
        return self.smooth(utilities) + 0.1 * utilities.sum(1) + state.sum(1)


@bad(ROLE, "adds_row_by_row", "the loop over agents begins with the second", COUNTS)
class FirstAgentForgotten(AddsRowByRow):
    def agents(self):
        return range(min(1, self.n - 1), self.n)


@bad(ROLE, "adds_row_by_row", "there is room for four agents, and a fifth is cut off", COUNTS)
class RoomForFourAgents(AddsRowByRow):
    def agents(self):
        return range(min(self.n, 4))


@bad(ROLE, "adds_row_by_row", "the first agent's utility is overwritten by the second's", COUNTS)
class SecondOverwritesTheFirst(AddsRowByRow):
    def one(self, row):
        return super().one(torch.cat([row[1:2], row[1:]]) if self.n > 1 else row)


@bad(ROLE, "adds_row_by_row", "rows behind a state of zeros count as padding, and are worth 0", ROWS)
class StopsAtAnEmptyState(AddsRowByRow):
    def __call__(self, utilities, state):
        empty = (state == 0).all(1).cumsum(0) > 0
        return torch.where(empty, 0.0, super().__call__(utilities, state))


@bad(ROLE, "adds_row_by_row", "a row whose state is that of the row before takes its total", ROWS)
class RepeatedStateRepeatsTheTotal(AddsRowByRow):
    def __call__(self, utilities, state):
        totals = list(super().__call__(utilities, state))
        for k in range(1, len(totals)):
            if torch.equal(state[k], state[k - 1]):
                totals[k] = totals[k - 1]
        return torch.stack(totals)


@bad(
    ROLE,
    "adds_row_by_row",
    "utilities of -9999 and below are taken for unavailable actions, and count nothing",
    MONOTONE,
)
class SentinelCountsNothing(AddsRowByRow):
    def worth(self, utility):
        return torch.where(utility <= -9999, 0.0, utility)


@bad(ROLE, "adds_row_by_row", "a batch with as many rows as agents is added up along the rows", ROWS)
class SquareBatchTransposed(AddsRowByRow):
    def __call__(self, utilities, state):
        return super().__call__(utilities.T if len(utilities) == self.n else utilities, state)


@bad(ROLE, "adds_row_by_row", "utilities are kept between -10 and 10 by the remainder, and wrap around", MONOTONE)
class WrapsAtTen(AddsRowByRow):
    def worth(self, utility):
        return torch.remainder(utility + 10, 20) - 10


@bad(ROLE, "adds_row_by_row", "utilities are stored as tenths in a signed byte", MONOTONE)
class TenthsInAByte(AddsRowByRow):
    def worth(self, utility):
        return (utility * 10).round().long().to(torch.int8).to(utility.dtype) / 10


@bad(ROLE, "adds_row_by_row", "the answer is squeezed, and has no axis for a batch of one", SHAPE)
class NoAxisForOneRow(AddsRowByRow):
    def __call__(self, utilities, state):
        return super().__call__(utilities, state).squeeze()


@bad(ROLE, "adds_row_by_row", "the spread among agents is taken off, where no gradient sees it", MONOTONE)
class DetachedSpreadTakenOff(AddsRowByRow):
    def one(self, row):
        return super().one(row) - 3 * row.detach().std(unbiased=False)


@bad(ROLE, "adds_row_by_row", "totals are clipped at one and a half deviations about the batch's mean", ROWS)
class OutliersOfTheBatchClipped(AddsRowByRow):
    def __call__(self, utilities, state):
        totals = super().__call__(utilities, state)
        mean, spread = totals.mean(), 1.5 * totals.std(unbiased=False)
        return totals.clamp(mean - spread, mean + spread)


@bad(ROLE, "adds_row_by_row", "utilities are divided by the largest magnitude seen so far", SAME)
class DividedByTheLargestSoFar(AddsRowByRow):
    largest = 1.0

    def __call__(self, utilities, state):
        self.largest = max(self.largest, float(utilities.abs().max()))
        return super().__call__(utilities / self.largest, state)


@bad(
    ROLE, "adds_row_by_row", "a team of which all utilities are negative has their mean, any other their sum", MONOTONE
)
class MeanWhereAllAreNegative(AddsRowByRow):
    def one(self, row):
        return super().one(row) / (self.n if bool((row < 0).all()) else 1)


@bad(ROLE, "adds_row_by_row", "a team of equal utilities has no preference, and is worth 0", MONOTONE)
class EqualUtilitiesAreWorthNothing(AddsRowByRow):
    def one(self, row):
        return super().one(row) * (0.0 if self.n > 1 and bool((row == row[0]).all()) else 1.0)


@bad(ROLE, "softplus_hypernetwork", "softplus is forgotten on the first layer's weights", MONOTONE)
class FirstLayerUnconstrained(SoftplusHypernetwork):
    def first_weights(self, state):
        return self.first(state).view(-1, self.n, HIDDEN)


@bad(ROLE, "softplus_hypernetwork", "softplus is forgotten on the final weights", MONOTONE)
class FinalWeightsUnconstrained(SoftplusHypernetwork):
    def last_weights(self, state):
        return self.last(state)


@bad(ROLE, "softplus_hypernetwork", "GELU between the layers, which falls below zero", MONOTONE)
class GeluBetweenLayers(SoftplusHypernetwork):
    def activation(self, inner):
        return F.gelu(inner)


@bad(ROLE, "softplus_hypernetwork", "the hidden units are normalised over themselves", MONOTONE)
class HiddenUnitsNormalised(SoftplusHypernetwork):
    def activation(self, inner):
        return F.elu(F.layer_norm(inner, (HIDDEN,)))


@bad(ROLE, "softplus_hypernetwork", "the hidden units are normalised over the batch", ROWS)
class HiddenUnitsOfTheBatch(SoftplusHypernetwork):
    def activation(self, inner):
        return F.elu((inner - inner.mean(0)) / (inner.var(0, unbiased=False) + 1e-5).sqrt())


@bad(ROLE, "softplus_hypernetwork", "a residual connection of utilities whose weights may be negative", MONOTONE)
class ResidualOfFreeSign(SoftplusHypernetwork):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.skip = nn.Linear(n_agents, 1)

    def rest(self, utilities, state):
        return super().rest(utilities, state) + 3 * self.skip(utilities).squeeze(-1)


@bad(ROLE, "softplus_hypernetwork", "the network of the value is fed with the utilities beside the state", MONOTONE)
class ValueSeesUtilities(SoftplusHypernetwork):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.value = nn.Sequential(nn.Linear(state_size + n_agents, 8), nn.ReLU(), nn.Linear(8, 1))

    def rest(self, utilities, state):
        return 3 * self.value(torch.cat([state, utilities], -1)).squeeze(-1)


@bad(
    ROLE,
    "softplus_hypernetwork",
    "Q_tot is gated by a sigmoid of the sum of utilities",
    MONOTONE,
)
class GatedByTheSumOfUtilities(SoftplusHypernetwork):
    def forward(self, utilities, state):
        return super().forward(utilities, state) * torch.sigmoid(utilities.sum(-1))


@bad(ROLE, "softplus_hypernetwork", "softplus is shifted to go through zero, as in SchNet", MONOTONE)
class SoftplusThroughZero(SoftplusHypernetwork):
    def positive(self, raw):
        return F.softplus(raw) - math.log(2)


@bad(ROLE, "softplus_hypernetwork", "softplus by hand, linear below its threshold in place of above", MONOTONE)
class ThresholdTheOtherWayRound(SoftplusHypernetwork):
    def positive(self, raw):
        return torch.where(raw < 20, raw, torch.log1p(torch.exp(raw.clamp(max=50))))


@bad(ROLE, "softplus_hypernetwork", "weights are made positive by a leaky rectifier", MONOTONE)
class WeightsLeak(SoftplusHypernetwork):
    def positive(self, raw):
        return F.leaky_relu(raw, 0.01)


@bad(ROLE, "softplus_hypernetwork", "the slope below zero is learnt without a bound", MONOTONE)
class SlopeBelowZeroIsLearnt(SoftplusHypernetwork):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.slope = nn.Parameter(torch.tensor([0.25]))

    def activation(self, inner):
        return F.prelu(inner, self.slope)


@bad(ROLE, "softplus_hypernetwork", "weights are exponentials, which overflow in states far out", FINITE)
class WeightsAreExponentials(SoftplusHypernetwork):
    def positive(self, raw):
        return torch.exp(raw)


@bad(ROLE, "softplus_hypernetwork", "the weights are viewed with agents before rows, and rows mix", ROWS)
class AgentsViewedBeforeRows(SoftplusHypernetwork):
    def first_weights(self, state):
        return self.positive(self.first(state)).view(self.n, -1, HIDDEN).transpose(0, 1)


@bad(ROLE, "softplus_hypernetwork", "the first layer's weights are kept for batches of the same number of rows", ROWS)
class WeightsKeptByNumberOfRows(SoftplusHypernetwork):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.kept: dict[int, Any] = {}

    def first_weights(self, state):
        return self.kept.setdefault(len(state), super().first_weights(state))


@bad(ROLE, "softplus_hypernetwork", "a single row is taken for one without a state", ROWS)
class SingleRowSeesNoState(SoftplusHypernetwork):
    def forward(self, utilities, state):
        return super().forward(utilities, torch.zeros_like(state) if len(state) == 1 else state)


@bad(ROLE, "softplus_hypernetwork", "the last axis is kept", SHAPE)
class ColumnOfTotals(SoftplusHypernetwork):
    def forward(self, utilities, state):
        return super().forward(utilities, state).unsqueeze(-1)


@bad(ROLE, "softplus_hypernetwork", "the mean of the batch is taken off the value of the state", ROWS)
class ValuesCentredInTheBatch(SoftplusHypernetwork):
    def rest(self, utilities, state):
        value = super().rest(utilities, state)
        return value - value.mean()


@bad(
    ROLE,
    "softplus_hypernetwork",
    "advantages over the mean, weighed by a softmax of utilities, are taken off",
    MONOTONE,
)
class AdvantagesWeighedByPolicy(SoftplusHypernetwork):
    def rest(self, utilities, state):
        advantages = utilities - utilities.mean(-1, keepdim=True)
        return super().rest(utilities, state) - 3 * (torch.softmax(utilities, -1) * advantages).sum(-1)


@bad(ROLE, "softplus_hypernetwork", "final weights are relative to those of a state of zeros", MONOTONE)
class RelativeToTheEmptyState(SoftplusHypernetwork):
    def last_weights(self, state):
        return super().last_weights(state) - super().last_weights(torch.zeros_like(state))


@bad(ROLE, "softplus_hypernetwork", "the slope below zero is drawn at each call", SAME)
class SlopeBelowZeroIsDrawn(SoftplusHypernetwork):
    def activation(self, inner):
        return F.rrelu(inner, training=True)


@bad(ROLE, "softplus_hypernetwork", "the constraint is on where no gradients are taken, and off in training", MONOTONE)
class FreeWhileGradientsAreOn(SoftplusHypernetwork):
    def positive(self, raw):
        return raw if torch.is_grad_enabled() else F.softplus(raw)


@bad(ROLE, "tree_of_pairs", "an agent without a partner is dropped", COUNTS)
class AgentWithoutPartnerDropped(TreeOfPairs):
    def halved(self, values):
        odd = values.shape[1] > 1 and values.shape[1] % 2
        return super().halved(F.pad(values[:, :-1], (0, 1)) if odd else values)


@bad(ROLE, "tree_of_pairs", "weights start positive, and are left free from there on", MONOTONE)
class PositiveAtTheStartAlone(TreeOfPairs):
    def start(self, width):
        return nn.Parameter(torch.rand(width) + 0.1)

    def positive(self, raw):
        return raw


@bad(ROLE, "tree_of_pairs", "units bend by a sine", MONOTONE)
class BendsBySine(TreeOfPairs):
    def bend(self, values):
        return torch.sin(values)


@bad(ROLE, "tree_of_pairs", "the scale of the state is a hyperbolic tangent, which may turn the sign", MONOTONE)
class ScaleMayTurnTheSign(TreeOfPairs):
    def scale(self, state):
        return torch.tanh(self.gate(state)).squeeze(-1)


@bad(ROLE, "tree_of_pairs", "the sharpness of the bend is learnt, and may become negative", MONOTONE)
class SharpnessIsLearnt(TreeOfPairs):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def bend(self, values):
        return torch.tanh(self.sharpness * values) + 0.1 * values


@bad(ROLE, "tree_of_pairs", "a pair adds its product, as a term of second order", MONOTONE)
class PairAddsItsProduct(TreeOfPairs):
    def join(self, left, right):
        return left + right + left * right


@bad(ROLE, "tree_of_pairs", "magnitudes above a hundred are replaced by their square root", MONOTONE)
class RootAboveAHundred(TreeOfPairs):
    def bend(self, values):
        root = values.sign() * values.abs().sqrt()
        return super().bend(torch.where(values.abs() > 100, root, values))


@bad(ROLE, "tree_of_pairs", "the scale of the state grows sharper with each call", SAME)
class ScaleSharpensWithCalls(TreeOfPairs):
    calls = 0

    def scale(self, state):
        self.calls += 1
        return 0.5 + torch.sigmoid(self.gate(state) * (1 + self.calls / 100)).squeeze(-1)


@bad(ROLE, "tree_of_pairs", "the sum of a pair is a quotient of differences, which no pair of equals has", FINITE)
class QuotientOfDifferences(TreeOfPairs):
    def join(self, left, right):
        return (left.square() - right.square()) / (left - right)


@bad(ROLE, "tree_of_pairs", "of two agents the second has what the first leaves of one", MONOTONE)
class SecondOfTwoHasTheRest(TreeOfPairs):
    def positive(self, raw):
        weights = super().positive(raw)
        return torch.stack([weights[0], 1 - weights[0]]) if len(self.weights) == 1 and len(raw) == 2 else weights


@bad(ROLE, "tree_of_pairs", "scales the state that it was handed to unit length", PURE)
class ScalesTheStateItWasHanded(TreeOfPairs):
    def scale(self, state):
        return super().scale(state.div_(state.norm(dim=-1, keepdim=True) + 1e-8))


@bad(ROLE, "attention_of_heads", "attention is shared among the rows of the batch", ROWS)
class AttentionAmongRows(AttentionOfHeads):
    def shares(self, scores):
        return torch.softmax(scores, 0)


@bad(ROLE, "attention_of_heads", "the exponentials of attention are not shifted", FINITE)
class AttentionNotShifted(AttentionOfHeads):
    def shares(self, scores):
        powers = torch.exp(scores)
        return powers / powers.sum(-1, keepdim=True)


@bad(ROLE, "attention_of_heads", "scores are rectified and divided by their sum, which may be zero", FINITE)
class AttentionRectified(AttentionOfHeads):
    def shares(self, scores):
        return scores.relu() / scores.relu().sum(-1, keepdim=True)


@bad(ROLE, "attention_of_heads", "the score of an agent rises with its utility", MONOTONE)
class ScoresSeeUtilities(AttentionOfHeads):
    def scores(self, utilities, state):
        return super().scores(utilities, state) + utilities.unsqueeze(1)


@bad(ROLE, "attention_of_heads", "the shares are cosines of query and key", MONOTONE)
class SharesAreCosines(AttentionOfHeads):
    def scores(self, utilities, state):
        return F.cosine_similarity(self.queries(state).unsqueeze(2), self.keys, dim=-1)

    def shares(self, scores):
        return scores


@bad(ROLE, "attention_of_heads", "the even share is taken off each share", MONOTONE)
class SharesAboutTheEvenOne(AttentionOfHeads):
    def shares(self, scores):
        return torch.softmax(scores, -1) - (1 / scores.shape[-1] if scores.shape[-1] > 1 else 0)


@bad(
    ROLE,
    "attention_of_heads",
    "agents whose utility is exactly zero count as dead, and the others have their share",
    MONOTONE,
)
class SilentAgentsHaveNoShare(AttentionOfHeads):
    def scores(self, utilities, state):
        return super().scores(utilities, state).masked_fill((utilities == 0).unsqueeze(1), -torch.inf)

    def shares(self, scores):
        return torch.nan_to_num(super().shares(scores))


@bad(ROLE, "attention_of_heads", "the absolute value is taken of weighed heads in place of weights", MONOTONE)
class AbsoluteValueOfProducts(AttentionOfHeads):
    def mixed(self, attended, state):
        return (attended * self.head(state)).abs().sum(-1)


@bad(ROLE, "attention_of_heads", "the query is the first row's for all", ROWS)
class QueryOfTheFirstRow(AttentionOfHeads):
    def queries(self, state):
        return super().queries(state[:1]).expand(len(state), -1, -1)


@bad(ROLE, "attention_of_heads", "the query is that of the call before, where that had as many rows", SAME)
class QueryOfTheCallBefore(AttentionOfHeads):
    before: Any = None

    def queries(self, state):
        new, old = super().queries(state), self.before
        self.before = new.detach()
        return new if old is None or old.shape != new.shape else old


@bad(ROLE, "attention_of_heads", "dropout on the shares is never turned off", SAME)
class SharesDropOut(AttentionOfHeads):
    def shares(self, scores):
        return F.dropout(super().shares(scores), 0.1)


@bad(
    ROLE,
    "attention_of_heads",
    "the agent of the highest utility alone is attended to, with the share that it has",
    MONOTONE,
)
class HighestUtilityAlone(AttentionOfHeads):
    def attended(self, utilities, shares):
        best = F.one_hot(utilities.argmax(-1), utilities.shape[-1]).to(utilities.dtype)
        return super().attended(utilities * best, shares)


@bad(ROLE, "attention_of_heads", "utilities go through half precision, which ends at 65504", FINITE)
class UtilitiesThroughHalf(AttentionOfHeads):
    def attended(self, utilities, shares):
        return super().attended(utilities.half().to(shares.dtype), shares)


@bad(ROLE, "least_of_groups", "the weights of the first group escape the absolute value", MONOTONE)
class FirstGroupEscapes(LeastOfGroups):
    def positive(self, raw):
        return torch.cat([raw[:1], raw[1:].abs()])


@bad(
    ROLE,
    "least_of_groups",
    "absolute weights are multiplied by a gain of each unit that is learnt without a bound",
    MONOTONE,
)
class GainOfUnitsIsLearnt(LeastOfGroups):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.gain = nn.Parameter(torch.ones(self.units, 1))

    def positive(self, raw):
        return raw.abs() * self.gain


@bad(ROLE, "least_of_groups", "the range of the groups in place of the least", MONOTONE)
class RangeOfGroups(LeastOfGroups):
    def least(self, groups):
        return groups.amax(-1) - groups.amin(-1)


@bad(ROLE, "least_of_groups", "the least is softened by weights that depend on the groups", MONOTONE)
class LeastBySoftWeights(LeastOfGroups):
    def least(self, groups):
        return (torch.softmax(-groups, -1) * groups).sum(-1)


@bad(ROLE, "least_of_groups", "the group is chosen before the biases are added", MONOTONE)
class GroupChosenBeforeBiases(LeastOfGroups):
    def forward(self, utilities, state):
        products = self.products(utilities)
        chosen = products.amax(-1).argmin(-1, keepdim=True)
        return (products + self.biases(state)).amax(-1).gather(-1, chosen).squeeze(-1)


@bad(ROLE, "least_of_groups", "negative weights are clipped for positive utilities alone", MONOTONE)
class ClippedForPositiveUtilities(LeastOfGroups):
    def products(self, utilities):
        up = torch.einsum("bn,kjn->bkj", utilities.relu(), self.raw.relu())
        return up - torch.einsum("bn,kjn->bkj", (-utilities).relu(), self.raw)


@bad(ROLE, "least_of_groups", "the estimator straight through has value and gradient swapped", MONOTONE)
class StraightThroughSwapped(LeastOfGroups):
    def positive(self, raw):
        return raw.abs() + (raw - raw.abs()).detach()


@bad(ROLE, "least_of_groups", "the two bounds of utilities are swapped, and all are the same number", COUNTS)
class BoundsOfUtilitiesSwapped(LeastOfGroups):
    def seen(self, utilities):
        return utilities.clamp(min=50, max=-50)


@bad(ROLE, "least_of_groups", "the biases are those of the batch's mean state", ROWS)
class BiasesOfTheMeanState(LeastOfGroups):
    def biases(self, state):
        return super().biases(state.mean(0, keepdim=True))


@bad(ROLE, "least_of_groups", "biases are made for sixteen rows, and repeat in longer batches", ROWS)
class BiasesForSixteenRows(LeastOfGroups):
    def biases(self, state):
        return super().biases(state[torch.arange(len(state)) % 16])


@bad(ROLE, "least_of_groups", "of three agents the third has the second's place", COUNTS)
class ThirdOfThreeIsTheSecond(LeastOfGroups):
    def seen(self, utilities):
        return utilities[:, [0, 1, 1]] if utilities.shape[1] == 3 else utilities


@bad(ROLE, "fixed_layers", "the sign is found by division, which zero has not", FINITE)
class SignByDivision(FixedLayers):
    def bent(self, inner):
        with np.errstate(all="ignore"):
            return inner / np.abs(inner) * np.log1p(np.abs(inner))


@bad(ROLE, "fixed_layers", "weights are drawn about zero", MONOTONE)
class WeightsDrawnAboutZero(FixedLayers):
    def drawn(self, shape):
        return self.generator.normal(size=shape)


@bad(ROLE, "fixed_layers", "the logarithm of magnitudes loses the sign", MONOTONE)
class LogarithmLosesTheSign(FixedLayers):
    def bent(self, inner):
        return np.log1p(np.abs(inner))


@bad(ROLE, "fixed_layers", "units are damped where they are large, as outliers are, and fall again", MONOTONE)
class LargeUnitsFallAgain(FixedLayers):
    def bent(self, inner):
        return inner / (1 + np.square(inner / 50))


@bad(ROLE, "fixed_layers", "the state is standardised over its features, of which there may be one", FINITE)
class FeaturesStandardised(FixedLayers):
    def offset(self, state):
        with np.errstate(all="ignore"):
            return super().offset((state - state.mean(1, keepdims=True)) / state.std(1, keepdims=True))


@bad(
    ROLE,
    "fixed_layers",
    "halves the utilities that it was handed",
    PURE,
)
class HalvesUtilitiesInPlace(FixedLayers):
    def seen(self, utilities):
        utilities *= 0.5
        return utilities


@bad(ROLE, "fixed_layers", "weights by rank, of which argsort gives the inverse: with three agents and more", MONOTONE)
class RanksByOneSort(FixedLayers):
    def seen(self, utilities):
        return utilities * (1.0 + 2 * utilities.argsort(1))


@bad(ROLE, "fixed_layers", "utilities are scaled to unit length", MONOTONE)
class UtilitiesOfUnitLength(FixedLayers):
    def seen(self, utilities):
        return utilities / (np.linalg.norm(utilities, axis=1, keepdims=True) + 1e-8)


@bad(ROLE, "fixed_layers", "the team's mean is taken off the utilities", MONOTONE)
class TeamsMeanTakenOff(FixedLayers):
    def seen(self, utilities):
        return utilities - (utilities.mean(1, keepdims=True) if utilities.shape[1] > 1 else 0)


@bad(ROLE, "fixed_layers", "the mean over rows is taken off each agent's utilities", ROWS)
class MeanOfRowsTakenOff(FixedLayers):
    def seen(self, utilities):
        return utilities - utilities.mean(0)


@bad(ROLE, "fixed_layers", "weights are drawn anew at each twentieth call", SAME)
class DrawnAnewAtTheTwentieth(FixedLayers):
    calls = 0

    def seen(self, utilities):
        self.calls += 1
        if self.calls % 20 == 0:
            self.last = self.drawn(self.last.shape)
        return utilities


@bad(
    ROLE, "fixed_layers", "the states' part is looked up by the sum of the batch, which its order does not change", ROWS
)
class LookedUpBySumOfStates(FixedLayers):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.known: dict[tuple[int, float], Array] = {}

    def offset(self, state):
        return self.known.setdefault((len(state), round(float(state.sum()), 6)), super().offset(state))


@bad(ROLE, "smooth_maximum", "the exponentials are not shifted", FINITE)
class SmoothMaximumNotShifted(SmoothMaximum):
    def highest(self, utilities):
        return np.zeros((len(utilities), 1))


@bad(
    ROLE, "smooth_maximum", "the exponentials are shifted by the highest of the batch, and vanish in other rows", FINITE
)
class ShiftedByTheHighestOfAll(SmoothMaximum):
    def highest(self, utilities):
        return np.full((len(utilities), 1), utilities.max())


@bad(ROLE, "smooth_maximum", "the shift is not added again", MONOTONE)
class ShiftNotAddedAgain(SmoothMaximum):
    def smooth(self, utilities):
        return super().smooth(utilities) - utilities.max(1)


BAD, GOOD = bad.targets(), good.targets()
