"""Mixers of the QMIX paper."""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..target import Collection, Factory, Violation
from .common import Arguments, Array
from .mixer_measures import (
    MIXER_SIZES,
    Measure,
    Sizes,
    agents_that_do_not_count,
    asked,
    each,
    extreme_mixer_cases,
    falls,
    mixer_cases,
    not_finite,
    rows_by_themselves,
    same_answers,
    writes,
)

good, bad = Collection(), Collection()
ROLE = "qmix_mixer"
WIDE_BATCHES: tuple[Sizes, ...] = ((2, 3), (3, 2), (1, 1))


def wide_cases(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    return [(generator.normal(size=(24, sizes[0])), generator.normal(size=(24, sizes[1])))]


def blind_to_the_state(factory: Factory) -> float:
    """1 where, at some sizes, Q_tot is the same in all states."""
    for sizes in MIXER_SIZES:
        sees = False
        for function, _, (utilities, state) in each(factory, (sizes,), mixer_cases):
            sees |= bool((asked(function, (utilities, state)) != asked(function, (utilities, state + 0.7))).any())
        if not sees:
            return 1.0
    return 0.0


def small_cases(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    return [(np.zeros((16, sizes[0])), generator.normal(size=(16, sizes[1])))]


def one_sided_at_zero(factory: Factory) -> float:
    """1 where utilities of 0 are never mixed to something clearly above 0, or never to something clearly below.

    Parameters are small: products of several are next to nothing, and what remains is the final bias.
    """
    drawn = (0.001,) * 40
    for sizes in MIXER_SIZES[:3]:
        answers = [asked(f, case) for f, _, case in each(factory, (sizes,), small_cases, drawn)]
        if max(a.max() for a in answers) < 1e-4 or min(a.min() for a in answers) > -1e-4:
            return 1.0
    return 0.0


def straight(side: float) -> Measure:
    """1 where Q_tot is linear along rays on which all utilities have the sign of `side`.

    Hidden units that bend at 0 alone do not bend there, if no first-layer bias has the other sign.
    """

    def amount(factory: Factory) -> float:
        for sizes in MIXER_SIZES[:3]:
            bend = 0.0
            for function, _, (utilities, state) in each(factory, (sizes,), wide_cases):
                low, middle, high = (asked(function, (side * t * np.abs(utilities), state)) for t in (0.0, 1.0, 2.0))
                bend = max(bend, float(np.abs(low + high - 2 * middle).max()))
            if bend < 1e-6:
                return 1.0
        return 0.0

    return amount


# Cached, since a good variant is the base of many.
RISES = Violation("Q_tot never falls as a utility rises", cache(falls))
ROWS = Violation("each row by itself", cache(rows_by_themselves(MIXER_SIZES, mixer_cases)))
SAME = Violation("the same answer to the same case", cache(same_answers(MIXER_SIZES, mixer_cases)))
COUNTS = Violation("every agent's utility counts", cache(agents_that_do_not_count))
STATE = Violation("the state is used", cache(blind_to_the_state))
FINITE = Violation("finite for what is finite", cache(not_finite(MIXER_SIZES, extreme_mixer_cases)))
FINAL_BIAS = Violation("the final bias takes both signs", cache(one_sided_at_zero))
NEGATIVE_BIAS = Violation("the first layer's biases can be negative", cache(straight(1.0)))
POSITIVE_BIAS = Violation("the first layer's biases can be positive", cache(straight(-1.0)))
PURE = Violation("what is handed over stays as it is", cache(writes(MIXER_SIZES, mixer_cases)))


@good(ROLE, "", "a module of torch as in the paper: absolute values, ELU, a final bias of two layers")
class PaperMixer(nn.Module):
    width = 6

    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.n, self.s = n_agents, state_size
        self.h1, self.h2 = nn.Linear(state_size, n_agents * self.width), nn.Linear(state_size, self.width)
        self.b1 = nn.Linear(state_size, self.width)
        self.v = nn.Sequential(nn.Linear(state_size, self.width), nn.ReLU(), nn.Linear(self.width, 1))

    def ready(self, utilities):
        return utilities

    def seen(self, state):
        return state

    def w1(self, state):
        return self.h1(state).abs().view(-1, self.n, self.width)

    def w2(self, state):
        return self.h2(state).abs()

    def bias(self, state):
        return self.b1(state)

    def final(self, state, utilities):
        return self.v(state).squeeze(-1)

    def bend(self, sums):
        return functional.elu(sums)

    def hidden(self, utilities, state):
        return self.bend(torch.einsum("bn,bnm->bm", utilities, self.w1(state)) + self.bias(state))

    def forward(self, utilities, state):
        utilities, state = self.ready(utilities), self.seen(state)
        return (self.hidden(utilities, state) * self.w2(state)).sum(-1) + self.final(state, utilities)


@good(ROLE, "", "torch without modules: leaf tensors, softplus for weights, leaky ReLU, products in bmm")
class SoftplusLeaves:
    width = 5

    def __init__(self, n_agents: int, state_size: int) -> None:
        self.n = n_agents
        widths = {"w1": n_agents * self.width, "b1": self.width, "w2": self.width, "v": 1}
        self.leaves = {name: torch.randn(state_size + 1, wide, requires_grad=True) for name, wide in widths.items()}

    def linear(self, name, state):
        return state @ self.leaves[name][:-1] + self.leaves[name][-1]

    def weights(self, name, state):
        return functional.softplus(self.linear(name, state))

    def first(self, state):
        return self.weights("w1", state).unflatten(1, (self.n, self.width))

    def bias(self, state):
        return self.linear("b1", state)

    def mixed(self, utilities, state):
        sums = torch.bmm(utilities[:, None], self.first(state))[:, 0] + self.bias(state)
        return torch.bmm(functional.leaky_relu(sums)[:, None], self.weights("w2", state)[..., None])[:, 0]

    def __call__(self, utilities, state):
        return (self.mixed(utilities, state) + self.linear("v", state)).reshape(-1)


@good(ROLE, "", "numpy, with fixed tables: squared weights, ReLU; agents are added one after another, row by row")
class SquaredTables:
    arrays = "numpy"
    width = 4

    def __init__(self, n_agents: int, state_size: int) -> None:
        generator = np.random.default_rng(n_agents * 10 + state_size)
        self.n = n_agents
        self.first = generator.normal(size=(n_agents, state_size + 1, self.width))
        self.bias = generator.normal(size=(state_size + 1, self.width)) * 2
        self.second = generator.normal(size=(state_size + 1, self.width)) + 1
        self.final = generator.normal(size=state_size + 1) * 3

    def agents(self, values: Array) -> list[int]:
        return list(range(self.n))

    def row(self, values: Array, state: Array) -> float:
        known = np.append(state, 1.0)
        hidden = known @ self.bias
        for i in self.agents(values):
            hidden = hidden + values[i] * np.square(known @ self.first[i])
        return float(np.maximum(hidden, 0.0) @ np.square(known @ self.second) + known @ self.final)

    def rows(self, utilities: Array) -> Array:
        return utilities

    def __call__(self, utilities, state):
        return np.array([self.row(u, s) for u, s in zip(self.rows(utilities), state, strict=True)])


@bad(ROLE, "paper_mixer", "the second layer's weights have no absolute value", RISES)
class SignedSecondLayer(PaperMixer):
    def w2(self, state):
        return self.h2(state)


@bad(ROLE, "paper_mixer", "the absolute value is that of the hypernetwork's matrix, not of what it makes", RISES)
class AbsOfTheMatrix(PaperMixer):
    def w1(self, state):
        return functional.linear(state, self.h1.weight.abs(), self.h1.bias.abs()).view(-1, self.n, self.width)


@bad(ROLE, "paper_mixer", "absolute values of the agents' weighted sums, rather than of the weights", RISES)
class AbsOfTheSum(PaperMixer):
    def hidden(self, utilities, state):
        sums = torch.einsum("bn,bnm->bm", utilities, self.h1(state).view(-1, self.n, self.width))
        return self.bend(sums.abs() + self.bias(state))


@bad(ROLE, "paper_mixer", "absolute values in training mode alone, and it is handed over in eval mode", RISES)
class AbsInTrainingAlone(PaperMixer):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.eval()

    def w1(self, state):
        weights = self.h1(state).view(-1, self.n, self.width)
        return weights.abs() if self.training else weights


@bad(ROLE, "paper_mixer", "from three agents on, the last one's weights keep their sign", RISES)
class LastAgentSigned(PaperMixer):
    def w1(self, state):
        weights = self.h1(state).view(-1, self.n, self.width)
        return torch.cat([weights[:, :2].abs(), weights[:, 2:-1].abs(), weights[:, 2:][:, -1:]], 1)


@bad(ROLE, "paper_mixer", "leaky ReLU for weights: they may fall a little below 0", RISES)
class LeakyWeights(PaperMixer):
    def w1(self, state):
        return functional.leaky_relu(self.h1(state)).view(-1, self.n, self.width)


@bad(ROLE, "paper_mixer", "the hidden layer is a GELU, which falls before it rises", RISES)
class HiddenGelu(PaperMixer):
    def bend(self, sums):
        return functional.gelu(sums)


@bad(ROLE, "paper_mixer", "the hidden layer is normalised", RISES)
class HiddenNormalised(PaperMixer):
    def bend(self, sums):
        return functional.elu(functional.layer_norm(sums, sums.shape[-1:]))


@bad(ROLE, "paper_mixer", "utilities are taken relative to their mean over agents", RISES)
class RelativeToTheMean(PaperMixer):
    def ready(self, utilities):
        return utilities - utilities.mean(1, keepdim=True) if self.n > 1 else utilities


@bad(ROLE, "paper_mixer", "the final bias looks at the utilities as well", RISES)
class FinalBiasSeesUtilities(PaperMixer):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.v[0] = nn.Linear(state_size + n_agents, self.width)

    def final(self, state, utilities):
        return self.v(torch.cat([state, utilities], -1)).squeeze(-1)


@bad(ROLE, "paper_mixer", "a residual sum of utilities is weighed by a free number, 1 at the start", RISES)
class FreeResidual(PaperMixer):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.share = nn.Parameter(torch.ones(()))

    def final(self, state, utilities):
        return super().final(state, utilities) + self.share * utilities.sum(-1)


@bad(ROLE, "paper_mixer", "the absolute value is left out where the state is longer than 5", RISES)
class SignedFarOut(PaperMixer):
    def w1(self, state):
        weights, far = self.h1(state), state.norm(dim=-1, keepdim=True) > 5
        return torch.where(far, weights, weights.abs()).view(-1, self.n, self.width)


@bad(ROLE, "paper_mixer", "the final bias is an absolute value, too", FINAL_BIAS)
class FinalBiasAbsolute(PaperMixer):
    def final(self, state, utilities):
        return super().final(state, utilities).abs()


@bad(ROLE, "paper_mixer", "the final bias is left out", FINAL_BIAS)
class NoFinalBias(PaperMixer):
    def final(self, state, utilities):
        return torch.zeros_like(utilities[:, 0])


@bad(ROLE, "paper_mixer", "Q_tot is made non-negative as a whole, by a ReLU behind the final bias", FINAL_BIAS)
class TotalBehindRelu(PaperMixer):
    def forward(self, utilities, state):
        return functional.relu(super().forward(utilities, state))


@bad(ROLE, "paper_mixer", "the first layer's bias is an absolute value, too", NEGATIVE_BIAS)
class FirstBiasAbsolute(PaperMixer):
    def bias(self, state):
        return self.b1(state).abs()


@bad(ROLE, "softplus_leaves", "the first layer has no bias", NEGATIVE_BIAS)
class NoFirstBias(SoftplusLeaves):
    def bias(self, state):
        return 0.0


@bad(ROLE, "softplus_leaves", "the first layer's bias is a threshold: never above 0", POSITIVE_BIAS)
class BiasIsAThreshold(SoftplusLeaves):
    def bias(self, state):
        return -functional.softplus(self.linear("b1", state))


@bad(ROLE, "paper_mixer", "mixes by zeros instead of the state", STATE)
class ZerosForTheState(PaperMixer):
    def seen(self, state):
        return torch.zeros_like(state)


@bad(ROLE, "paper_mixer", "the state is normalised over its entries, which leaves nothing of one alone", STATE)
class StateNormalised(PaperMixer):
    def seen(self, state):
        return functional.layer_norm(state, state.shape[-1:])


@bad(ROLE, "paper_mixer", "one agent alone is not mixed at all", STATE)
class OneAgentUnmixed(PaperMixer):
    def forward(self, utilities, state):
        return utilities[:, 0].clone() if self.n == 1 else super().forward(utilities, state)


@bad(ROLE, "paper_mixer", "all rows are mixed by the mean state of the batch", ROWS)
class MeanStateOfTheBatch(PaperMixer):
    def seen(self, state):
        return state.mean(0, keepdim=True).expand_as(state)


@bad(ROLE, "paper_mixer", "weights are laid out agent before row: rows are mixed by other rows' weights", ROWS)
class AgentBeforeRow(PaperMixer):
    def w1(self, state):
        return self.h1(state).abs().view(self.n, -1, self.width).transpose(0, 1)


@bad(ROLE, "paper_mixer", "the final bias keeps its axis, and is added to all rows, which are then averaged", ROWS)
class FinalBiasOverRows(PaperMixer):
    def forward(self, utilities, state):
        return ((self.hidden(utilities, state) * self.w2(state)).sum(-1) + self.v(state)).mean(0)


@bad(ROLE, "paper_mixer", "second-layer weights are scaled to a mean of 1, taken over the batch", ROWS)
class ScaledOverTheBatch(PaperMixer):
    def w2(self, state):
        weights = super().w2(state)
        return weights / (weights.mean(0) + 1e-6)


@bad(ROLE, "softplus_leaves", "the made weights are kept by the number of rows, whatever the states", SAME)
class KeptByTheNumberOfRows(SoftplusLeaves):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.kept: dict[int, torch.Tensor] = {}

    def first(self, state):
        return self.kept.setdefault(len(state), super().first(state).detach())


@bad(ROLE, "softplus_leaves", "a tenth of the hidden units is dropped at random, in use as in training", SAME)
class DropsHiddenUnits(SoftplusLeaves):
    def first(self, state):
        return functional.dropout(super().first(state), 0.1)


@bad(ROLE, "softplus_leaves", "utilities are divided by a running estimate of their size, which each call moves", SAME)
class RunningSize(SoftplusLeaves):
    size = 1.0

    def mixed(self, utilities, state):
        self.size = 0.99 * self.size + 0.01 * float(utilities.detach().abs().mean())
        return super().mixed(utilities / self.size, state)


@bad(ROLE, "softplus_leaves", "weights are exp of the hypernetwork, which overflows", FINITE)
class ExpOfTheHypernetwork(SoftplusLeaves):
    def weights(self, name, state):
        return self.linear(name, state).exp()


@bad(
    ROLE,
    "softplus_leaves",
    "softplus is written out as log(1 + exp(x)), which overflows in states that are large",
    FINITE,
)
class SoftplusWrittenOut(SoftplusLeaves):
    def weights(self, name, state):
        return torch.log(1 + torch.exp(self.linear(name, state)))


@bad(ROLE, "paper_mixer", "utilities pass through half precision, which ends at 65504", FINITE)
class UtilitiesInHalf(PaperMixer):
    def ready(self, utilities):
        return utilities.half().to(utilities.dtype)


@bad(ROLE, "paper_mixer", "weights are divided by their sum over agents, which may be 0", FINITE)
class WeightsByTheirSum(PaperMixer):
    def w1(self, state):
        weights = super().w1(state)
        return weights / weights.sum(1, keepdim=True)


@bad(ROLE, "paper_mixer", "utilities are divided by their deviation, which is 0 where all are equal", FINITE)
class DividedByDeviation(PaperMixer):
    def ready(self, utilities):
        return utilities / utilities.std(1, keepdim=True, unbiased=False)


@bad(ROLE, "paper_mixer", "absolute values are written into the state as it passes", PURE)
class AbsIntoTheState(PaperMixer):
    def final(self, state, utilities):
        return self.v(state.abs_()).squeeze(-1)


@bad(ROLE, "squared_tables", "the agents' loop begins at 1", COUNTS)
class LoopBeginsAtOne(SquaredTables):
    def agents(self, values):
        return list(range(1, self.n))


@bad(ROLE, "squared_tables", "the agents' loop ends behind the first one of negative utility", RISES)
class NegativeEndsTheLoop(SquaredTables):
    def agents(self, values):
        return list(range(next((i + 1 for i in range(self.n) if values[i] < 0), self.n)))


@bad(ROLE, "squared_tables", "utilities are reshaped to agents by rows, and turned about", ROWS)
class ReshapedToAgents(SquaredTables):
    def rows(self, utilities):
        return utilities.reshape(self.n, -1).T


@bad(ROLE, "squared_tables", "the greatest utility alone is mixed, and it gets its own agent's weights", RISES)
class GreatestAlone(SquaredTables):
    def agents(self, values):
        return [int(np.argmax(values))]


BAD, GOOD = bad.targets(), good.targets()
