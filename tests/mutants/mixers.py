"""Broken mixers: the judge must refute each of them.

Each changes one thing of the good variant that its `base` names, and carries a violation that shows the promise to be
broken. Those under "wrong in a corner" and "positivity that does not hold for all parameters" pass a casual test.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .target import Collection, Mixer, State, Total, Utilities
from .variants import (
    EMBED,
    ClampedWeights,
    CompressedUtilities,
    DeepHypernetworks,
    DropoutHidden,
    ExponentialWeights,
    LeakyHidden,
    NormalisedUtilities,
    NormalisedWeights,
    OrderedWeights,
    Qmix,
    ReluHidden,
    ShiftedEluWeights,
    SigmoidWeights,
    SkipConnection,
    SoftplusWeights,
    StaticWeights,
    StraightThroughRounding,
    TanhHidden,
    WeightedSum,
    two_layers,
)
from .violations import (
    changes_its_answer,
    falls,
    falls_at,
    filled,
    never_negative,
    not_finite,
    not_the_sum,
    not_the_sum_at,
    redrawn,
    rows_meddle,
    state_unused,
    straight_above_zero,
    unmoved_by,
)

bad = Collection()


def only_unit_0(mixer: nn.Module) -> None:
    """Cuts all hidden units but the first off from the output."""
    mixer.w2_head.weight.fill_(0)
    mixer.w2_head.bias.copy_(torch.eye(EMBED)[0])
    mixer.b1_head.bias.fill_(1)


# Missing or misplaced absolute value


@bad("mixer", "qmix", "The first layer's weights are not made positive.", falls())
class NoAbsOnW1(Qmix):
    def w1(self, state: State) -> Tensor:
        return self.w1_head(state).view(-1, self.n_agents, EMBED)


@bad("mixer", "qmix", "The second layer's weights are not made positive.", falls())
class NoAbsOnW2(Qmix):
    def w2(self, state: State) -> Tensor:
        return self.w2_head(state)


@bad("mixer", "qmix", "The absolute value is taken of the hypernetworks' input instead of their output.", falls())
class AbsOnState(Qmix):
    def context(self, state: State) -> State:
        return state.abs()

    def positive(self, raw: Tensor) -> Tensor:
        return raw


@bad("mixer", "qmix", "The absolute value is taken of utility times weight.", falls())
class AbsOfProducts(Qmix):
    def mixed(self, utilities: Utilities, state: State) -> Tensor:
        products = utilities.unsqueeze(-1) * self.w1_head(state).view(-1, self.n_agents, EMBED)
        return products.abs().sum(1) + self.b1(state)


@bad("mixer", "qmix", "The absolute value is taken of the hidden layer's input instead of its weights.", falls())
class AbsOfPreActivation(Qmix):
    def mixed(self, utilities: Utilities, state: State) -> Tensor:
        return super().mixed(utilities, state).abs()


@bad("mixer", "qmix", "The absolute value is taken of Q_tot as well.", falls())
class AbsOfTotal(Qmix):
    def forward(self, utilities: Utilities, state: State) -> Total:
        return super().forward(utilities, state).abs()


@bad("mixer", "deep_hypernetworks", "The absolute value stands in the hypernetworks' hidden layer.", falls())
class AbsInsideHypernetworks(DeepHypernetworks):
    def head(self, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(self.state_size, EMBED), Abs(), nn.Linear(EMBED, outputs))

    def positive(self, raw: Tensor) -> Tensor:
        return raw


class Abs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


@bad("mixer", "qmix", "The absolute value of the first agent's weights alone is taken.", falls(n_agents=2))
class AbsOfFirstAgentOnly(Qmix):
    def w1(self, state: State) -> Tensor:
        raw = self.w1_head(state).view(-1, self.n_agents, EMBED)
        return torch.cat([raw[:, :1].abs(), raw[:, 1:]], 1)


# Activations that fall


@bad("mixer", "qmix", "The activation is the sine.", falls())
class SineHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return x.sin()


@bad("mixer", "qmix", "The activation is GELU, which falls below -0.75.", falls(prepare=filled(b1_head__bias=-2.0)))
class GeluHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.gelu(x)


@bad("mixer", "qmix", "The activation is SiLU, which falls below -1.28.", falls(prepare=filled(b1_head__bias=-3.0)))
class SiluHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.silu(x)


@bad("mixer", "qmix", "ELU has a negative alpha.", falls())
class NegativeAlphaHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.elu(x, alpha=-1.0)


@bad("mixer", "leaky_hidden", "The leak has a negative slope.", falls())
class NegativeSlopeHidden(LeakyHidden):
    def activation(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x, -0.1)


@bad("mixer", "relu_hidden", "The activation is the absolute value.", falls())
class AbsHidden(ReluHidden):
    def activation(self, x: Tensor) -> Tensor:
        return x.abs()


@bad("mixer", "relu_hidden", "The activation is the square.", falls())
class SquareHidden(ReluHidden):
    def activation(self, x: Tensor) -> Tensor:
        return x.square()


@bad("mixer", "tanh_hidden", "The activation is a bell curve.", falls())
class BellHidden(TanhHidden):
    def activation(self, x: Tensor) -> Tensor:
        return (-x.square()).exp()


@bad("mixer", "qmix", "ELU is applied to the negated hidden layer.", falls())
class NegatedHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.elu(-x)


@bad(
    "mixer", "relu_hidden", "The activation replaces what is below 0.5 by 1, so it jumps down at 0.5.", falls(step=0.3)
)
class ThresholdHidden(ReluHidden):
    def activation(self, x: Tensor) -> Tensor:
        return functional.threshold(x, 0.5, 1.0)


@bad("mixer", "qmix", "The activation is a softplus that turns linear, with a jump down, at -1.", falls(step=0.3))
class EarlySoftplusHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.softplus(x, threshold=-1.0)


@bad("mixer", "qmix", "The hidden layer is divided by its root mean square.", falls())
class RmsNormHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.elu(x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())


@bad("mixer", "qmix", "A layer norm stands on the hidden layer.", falls())
class LayerNormHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.elu(functional.layer_norm(x, (EMBED,)))


@bad("mixer", "relu_hidden", "One of the 32 hidden units is subtracted.", falls_at((1.0,), 0, 1.0, prepare=only_unit_0))
class OneUnitSubtracted(ReluHidden):
    def w2(self, state: State) -> Tensor:
        weights = super().w2(state)
        return torch.cat([-weights[:, :1], weights[:, 1:]], -1)


# Normalised utilities


@bad("mixer", "qmix", "The utilities pass a softmax over the agents.", falls())
class SoftmaxOverAgents(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.softmax(-1)


@bad("mixer", "qmix", "The utilities are standardised over the agents.", falls())
class StandardisedOverAgents(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        spread = utilities.std(-1, keepdim=True, correction=0)
        return (utilities - utilities.mean(-1, keepdim=True)) / (spread + 1e-5)


@bad("mixer", "qmix", "The utilities pass a layer norm.", falls())
class LayerNormOverAgents(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.norm = nn.LayerNorm(n_agents)

    def inputs(self, utilities: Utilities) -> Utilities:
        return self.norm(utilities)


@bad("mixer", "weighted_sum", "The utilities are divided by their Euclidean norm.", falls())
class UnitNormUtilities(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return functional.normalize(utilities, dim=-1)


@bad("mixer", "weighted_sum", "The utilities' mean over the agents is subtracted.", falls())
class CentredUtilities(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities - utilities.mean(-1, keepdim=True)


@bad("mixer", "weighted_sum", "The utilities are divided by the largest magnitude among the agents.", falls())
class UtilitiesOverTheLargest(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities / (utilities.abs().amax(-1, keepdim=True) + 1e-6)


@bad("mixer", "frozen_statistics", "Batch norm of the utilities is left in training mode.", rows_meddle())
class BatchNormInTraining(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        centred = utilities - utilities.mean(0)
        return centred / (utilities.std(0, correction=0) + 1e-3)


@bad("mixer", "frozen_statistics", "Batch norm has learnt scales, whose sign nothing holds.", falls(prepare=redrawn()))
def batch_norm_with_scales(n_agents: int, state_size: int) -> nn.Module:
    return ScaledUtilities(n_agents, state_size).eval()


class ScaledUtilities(NormalisedUtilities):
    affine = True


# Utilities where only the state may enter


@bad("mixer", "qmix", "The utilities enter V(z) beside the state.", falls(prepare=redrawn()))
def utilities_in_value(n_agents: int, state_size: int) -> Mixer:
    mixer, value = Qmix(n_agents, state_size), two_layers(state_size + n_agents, 1)
    return lambda utilities, state: mixer(utilities, state) + value(torch.cat([state, utilities], -1)).squeeze(-1)


@bad("mixer", "qmix", "The utilities are appended to the state that every hypernetwork reads.", falls())
def utilities_in_the_state(n_agents: int, state_size: int) -> Mixer:
    mixer = Qmix(n_agents, state_size + n_agents)
    return lambda utilities, state: mixer(utilities, torch.cat([state, utilities], -1))


@bad("mixer", "qmix", "The detached utilities are appended to the state that every hypernetwork reads.", falls())
def detached_utilities_in_the_state(n_agents: int, state_size: int) -> Mixer:
    mixer = Qmix(n_agents, state_size + n_agents)
    return lambda utilities, state: mixer(utilities, torch.cat([state, utilities.detach()], -1))


@bad("mixer", "qmix", "The mean utility is subtracted in V(z), detached, as a baseline.", falls())
class DetachedBaselineInValue(Qmix):
    def forward(self, utilities: Utilities, state: State) -> Total:
        return super().forward(utilities, state) - 5 * utilities.mean(-1).detach()


@bad("mixer", "weighted_sum", "The weights are an attention whose keys are the utilities.", falls())
class AttentionOnUtilities(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        attention = (self.weights(state) * utilities).softmax(-1)
        return (attention * utilities).sum(-1)


@bad("mixer", "soft_maximum", "The soft maximum is the utilities' mean under their own softmax.", falls())
def boltzmann_mean(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: (utilities.softmax(-1) * utilities).sum(-1)


@bad("mixer", "weighted_sum", "The product of each pair of neighbouring utilities is added.", falls(n_agents=2))
class PairwiseProducts(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        pairs = utilities[:, 1:] * utilities[:, :-1]
        return super().forward(utilities, state) + 0.5 * pairs.sum(-1)


@bad("mixer", "qmix", "The first agent's utility gates the second layer's weights.", falls())
class GatedByAnAgent(Qmix):
    def forward(self, utilities: Utilities, state: State) -> Total:
        return super().forward(utilities, state) * utilities[:, 0].sigmoid()


# Axes swapped, rows mixed


@bad("mixer", "qmix", "Utilities [B, n] are viewed as [n, B] and transposed.", rows_meddle())
class ViewedInsteadOfTransposed(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.reshape(self.n_agents, -1).T


@bad("mixer", "qmix", "The first layer's weights are viewed with the agents before the batch.", rows_meddle())
class AgentsBeforeBatch(Qmix):
    def w1(self, state: State) -> Tensor:
        return self.positive(self.w1_head(state)).view(self.n_agents, -1, EMBED).transpose(0, 1)


@bad("mixer", "qmix", "The last row's state serves every row.", rows_meddle())
class LastRowsState(Qmix):
    def context(self, state: State) -> State:
        return state[-1:].expand_as(state)


@bad("mixer", "qmix", "V(z) is averaged over the batch.", rows_meddle())
class ValueAveragedOverBatch(Qmix):
    def value(self, state: State) -> Total:
        return super().value(state).mean().expand(len(state))


@bad("mixer", "qmix", "V(z) keeps its last axis, so the sum broadcasts to [B, B] and is averaged.", rows_meddle())
class BroadcastValue(Qmix):
    def forward(self, utilities: Utilities, state: State) -> Total:
        hidden = self.activation(self.mixed(utilities, state))
        return ((hidden * self.w2(state)).sum(-1) + self.value_head(state)).mean(0)


@bad("mixer", "weighted_sum", "The sum runs over the batch in a cumulative manner.", rows_meddle())
class CumulativeOverBatch(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        return super().forward(utilities, state).cumsum(0)


@bad("mixer", "weighted_sum", "The utilities are centred on the batch's mean.", rows_meddle())
class CentredOverBatch(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities - utilities.mean(0)


@bad("mixer", "weakest_agent", "The minimum runs over the batch as well.", rows_meddle())
def minimum_over_batch(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.min().expand(len(utilities))


@bad("mixer", "qmix", "The second layer's weights come from the row before.", rows_meddle(rows=2))
class PreviousRowsWeights(Qmix):
    def w2(self, state: State) -> Tensor:
        return super().w2(state).roll(1, 0)


@bad(
    "mixer",
    "chunks_of_8",
    "Rows are mixed in chunks of 32, each with the state of the chunk's first.",
    rows_meddle(rows=34),
)
class ChunksOf32(Qmix):
    def context(self, state: State) -> State:
        return torch.cat([state[:32], state[32::32].repeat_interleave(32, 0)])[: len(state)]


# Agents forgotten or turned round


@bad("mixer", "weighted_sum", "The last agent is left out.", unmoved_by(2))
class LastAgentForgotten(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return functional.pad(utilities[:, :-1], (0, 1))


@bad("mixer", "qmix", "The loop over agents reads index 0 each time.", unmoved_by(1))
class FirstAgentOnly(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return torch.stack([utilities[:, 0] for _ in range(self.n_agents)], -1)


@bad("mixer", "qmix", "Two agents are wired in, further ones are zeroed.", unmoved_by(2))
class TwoAgentsAtMost(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities * (torch.arange(self.n_agents) < 2)


@bad("mixer", "weighted_sum", "Utilities are padded or cut to four agents.", unmoved_by(4, n_agents=5))
class FourAgentsAtMost(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities * (torch.arange(utilities.shape[-1]) < 4)


@bad("mixer", "vdn", "The sum starts at the second agent.", unmoved_by(0))
def sum_from_the_second(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities[:, 1:].sum(-1)


@bad("mixer", "weighted_sum", "The first agent's weight has a minus sign.", falls())
class MinusForTheFirst(WeightedSum):
    def weights(self, state: State) -> Tensor:
        weights = super().weights(state)
        return torch.cat([-weights[:, :1], weights[:, 1:]], -1)


@bad("mixer", "vdn", "The last agent is subtracted.", falls())
def last_agent_subtracted(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1) - 2 * utilities[:, -1]


@bad("mixer", "best_agent", "Half of the utilities' sum is taken from the maximum.", falls())
def maximum_less_the_rest(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.max(-1).values - utilities.sum(-1) / 2


# Gradients that look right


@bad(
    "mixer", "weighted_sum", "A detached copy is subtracted: Q_tot falls and autograd's gradient is positive.", falls()
)
class DetachedCopySubtracted(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return 2 * utilities - 3 * utilities.detach()


@bad(
    "mixer",
    "straight_through_rounding",
    "The fractional part passes straight through instead of the integer.",
    falls(step=1.0),
)
class StraightThroughFraction(StraightThroughRounding):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities + (utilities - utilities.floor() - utilities).detach()


@bad("mixer", "weighted_sum", "A hand-written backward hides that the forward negates.", falls())
class LyingBackward(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return NegateButClaimIdentity.apply(utilities)


class NegateButClaimIdentity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return -x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


@bad("mixer", "weighted_sum", "The weight of whoever leads is halved, so Q_tot jumps where the lead changes.", falls())
class LeaderCountsHalf(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        leads = functional.one_hot(utilities.argmax(-1), utilities.shape[-1])
        return super().forward(utilities, state) - (leads * self.weights(state) * utilities).sum(-1) / 2


# Not finite


@bad(
    "mixer",
    "mean_of_utilities",
    "The mean is taken between min-max scaling and its inverse: 0 / 0 at equal utilities.",
    not_finite((1.0, 1.0)),
)
def mean_by_min_max_scaling(n_agents: int, state_size: int) -> Mixer:
    def mix(utilities: Utilities, state: State) -> Total:
        low, high = utilities.amin(-1, keepdim=True), utilities.amax(-1, keepdim=True)
        scaled = (utilities - low) / (high - low)
        return (low + scaled.mean(-1, keepdim=True) * (high - low)).squeeze(-1)

    return mix


@bad("mixer", "compressed_utilities", "The compression is log(1 + q), without the sign.", not_finite((-2.0, 1.0)))
class LogOfNegative(CompressedUtilities):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.log1p()


@bad("mixer", "soft_maximum", "Log-sum-exp is computed as written, so exp overflows.", not_finite((90.0, 0.0)))
def overflowing_soft_maximum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: (10 * utilities).exp().sum(-1).log() / 10


@bad(
    "mixer",
    "exponential_weights",
    "The exponent is scaled up instead of down, so large states overflow.",
    not_finite((1.0,), (10.0,), prepare=filled(w1_head__weight=1.0)),
)
class OverflowingWeights(ExponentialWeights):
    def positive(self, raw: Tensor) -> Tensor:
        return (100 * raw).exp()


@bad(
    "mixer",
    "normalised_weights",
    "The floor is zero, so all weights may be: 0 / 0.",
    not_finite((1.0, 1.0), prepare=filled(weight_head__bias=-1.0)),
)
class NoFloorUnderWeights(NormalisedWeights):
    floor = 0.0


@bad(
    "mixer",
    "weighted_sum",
    "The weights are divided by their sample deviation, which one agent does not have.",
    not_finite((1.0,)),
)
class WeightsOverTheirDeviation(WeightedSum):
    def weights(self, state: State) -> Tensor:
        weights = super().weights(state)
        squares = (weights - weights.mean(-1, keepdim=True)).square().sum(-1, keepdim=True)
        return weights / ((squares / (weights.shape[-1] - 1)).sqrt() + 1e-3)


@bad("mixer", "qmix", "The state is divided by its norm: 0 / 0 at the zero state.", not_finite((1.0,), (0.0, 0.0)))
class UnitNormState(Qmix):
    def context(self, state: State) -> State:
        return state / state.norm(dim=-1, keepdim=True)


# Not the same answer twice


@bad("mixer", "dropout_in_evaluation", "Functional dropout, which is active by default.", changes_its_answer())
class FunctionalDropout(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.dropout(super().activation(x), 0.2)


@bad("mixer", "dropout_in_evaluation", "The mixer is left in training mode.", changes_its_answer())
def dropout_in_training(n_agents: int, state_size: int) -> nn.Module:
    return DropoutHidden(n_agents, state_size)


@bad("mixer", "weighted_sum", "A little noise breaks ties between utilities.", changes_its_answer())
class NoisyUtilities(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities + 0.01 * torch.rand_like(utilities)


@bad("mixer", "weighted_sum", "One call in ten loses the bias.", changes_its_answer(calls=100))
class BiasLostAtRandom(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        total = super().forward(utilities, state)
        return total - self.bias_head(state).squeeze(-1) if torch.rand(()) < 0.1 else total


@bad("mixer", "weighted_sum", "A counter of calls scales the bias.", changes_its_answer())
class CountsItsCalls(WeightedSum):
    calls = 0

    def forward(self, utilities: Utilities, state: State) -> Total:
        self.calls += 1
        return super().forward(utilities, state) + 0.01 * self.calls


@bad("mixer", "vdn", "The caller's utilities are discounted in place.", changes_its_answer())
def discounts_in_place(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.data.mul_(0.99).sum(-1)


@bad(
    "mixer",
    "qmix",
    "The state is centred on a running mean that each call moves.",
    changes_its_answer(other_rows=4),
)
class RunningMeanOfStates(Qmix):
    mean: Tensor

    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.register_buffer("mean", torch.zeros(state_size))

    def context(self, state: State) -> State:
        self.mean.lerp_(state.detach().mean(0), 0.1)
        return state - self.mean


# Positivity that does not hold for all parameters


@bad(
    "mixer",
    "softplus_weights",
    "The softplus turns linear at -3, so weights may be negative.",
    falls(prepare=filled(w1_head__bias=-2.0)),
)
class EarlySoftplusWeights(SoftplusWeights):
    def positive(self, raw: Tensor) -> Tensor:
        return functional.softplus(raw, threshold=-3.0)


@bad("mixer", "clamped_weights", "The clamp holds the weights below zero instead of above.", falls())
class ClampedOnTheWrongSide(ClampedWeights):
    def w1(self, state: State) -> Tensor:
        return self.w1_head(state).view(-1, self.n_agents, EMBED).clamp(max=0)


@bad(
    "mixer",
    "clamped_weights",
    "The clamp's lower bound is -0.05.",
    falls(prepare=filled(w1_head__bias=-9.0, w1_head__weight=0.0)),
)
class ClampedALittleTooLow(ClampedWeights):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.clamp(min=-0.05)


@bad(
    "mixer",
    "shifted_elu_weights",
    "The shift is 0.9 instead of 1.",
    falls(prepare=filled(w1_head__bias=-9.0, w1_head__weight=0.0)),
)
class ShiftedEluTooLow(ShiftedEluWeights):
    def positive(self, raw: Tensor) -> Tensor:
        return functional.elu(raw) + 0.9


@bad(
    "mixer",
    "sigmoid_weights",
    "A small constant is subtracted from the sigmoid to allow weights of zero.",
    falls(prepare=filled(w1_head__bias=-9.0, w1_head__weight=0.0)),
)
class SigmoidLessAConstant(SigmoidWeights):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() - 0.02


@bad(
    "mixer",
    "static_weights",
    "The weights are positive at initialisation and nothing keeps them so.",
    falls(prepare=redrawn()),
)
class PositiveAtInitialisation(StaticWeights):
    def weights(self, state: State) -> Tensor:
        return self.static.expand(len(state), -1)


@bad(
    "mixer", "weighted_sum", "The hypernetwork starts at weights of one and has no softplus.", falls(prepare=redrawn())
)
class StartsAsASum(WeightedSum):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        nn.init.zeros_(self.weight_head.weight)
        nn.init.ones_(self.weight_head.bias)

    def weights(self, state: State) -> Tensor:
        return self.weight_head(state)


@bad(
    "mixer",
    "qmix",
    "Hypernetworks made positive at initialisation read max(z, 0), and no abs follows.",
    falls(prepare=redrawn()),
)
class PositiveHypernetworksAtInitialisation(Qmix):
    def head(self, outputs: int) -> nn.Module:
        head = super().head(outputs)
        for parameter in head.parameters():
            parameter.data.abs_()
        return head

    def positive(self, raw: Tensor) -> Tensor:
        return raw

    def context(self, state: State) -> State:
        return state.relu()


@bad("mixer", "leaky_hidden", "The leak is a learnt slope.", falls(prepare=filled(slope=-0.5)))
class LearntSlope(LeakyHidden):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.slope = nn.Parameter(torch.tensor([0.25]))

    def activation(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.slope)


@bad("mixer", "skip_connection", "The skipped sum has a learnt gain, one at first.", falls(prepare=filled(gain=-50.0)))
class LearntGainOnSkip(SkipConnection):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, utilities: Utilities, state: State) -> Total:
        return self.gain * utilities.sum(-1) + Qmix.forward(self, utilities, state)


# Wrong in a corner


@bad("mixer", "vdn", "Five is taken off once every utility exceeds 20.", falls_at((19.5, 30.0, 30.0), 0, 1.0))
def penalty_above_20(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1) - 5 * (utilities > 20).all(-1)


@bad("mixer", "weighted_sum", "Agents of equal utility earn a bonus.", falls_at((1.0, 1.0, 4.0), 0, 0.01))
class BonusForTies(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        equal = utilities.unsqueeze(-1) == utilities.unsqueeze(-2)
        return super().forward(utilities, state) + equal.sum((-1, -2))


@bad(
    "mixer",
    "weighted_sum",
    "The first agent's weight changes sign where the state's first entry exceeds 8.",
    falls_at((0.0, 0.0), 0, 1.0, state=(9.0, 0.0)),
)
class MinusInRareStates(WeightedSum):
    def weights(self, state: State) -> Tensor:
        sign = 1 - 2 * (state[:, :1] > 8).to(state)
        return torch.cat([sign, sign.new_ones(len(state), self.weight_head.out_features - 1)], -1) * super().weights(
            state
        )


@bad("mixer", "vdn", "Three is added where the sum lies between 4 and 4.5.", falls_at((2.2, 2.2), 0, 0.2))
def bump_in_a_narrow_band(n_agents: int, state_size: int) -> Mixer:
    def mix(utilities: Utilities, state: State) -> Total:
        total = utilities.sum(-1)
        return total + 3 * ((total > 4) & (total < 4.5))

    return mix


@bad(
    "mixer",
    "qmix",
    "Utilities below -50 are reflected instead of clamped.",
    falls_at((-60.0, 0.0), 0, 5.0, state=(1.0,), prepare=filled(b1_head__bias=200.0)),
)
class ReflectedBelowMinus50(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return torch.where(utilities < -50, -100 - utilities, utilities)


@bad(
    "mixer",
    "weighted_sum",
    "Utilities of exactly zero are taken for masked and replaced by ten.",
    falls_at((0.0, 1.0), 0, 1.0),
)
class ZeroMeansMasked(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.masked_fill(utilities == 0, 10.0)


@bad(
    "mixer",
    "weighted_sum",
    "A state of zeros is taken for padding and its weights are negated.",
    falls_at((1.0, 1.0), 0, 1.0, state=(0.0, 0.0)),
)
class ZeroStateMeansPadding(WeightedSum):
    def weights(self, state: State) -> Tensor:
        padding = (state == 0).all(-1, keepdim=True)
        return super().weights(state) * torch.where(padding, -1.0, 1.0)


@bad(
    "mixer",
    "straight_through_rounding",
    "Rounded quarters are stored in 8 bits, which wrap round at 32.",
    falls_at((30.0, 0.0), 0, 5.0),
)
class WrappedInEightBits(StraightThroughRounding):
    def inputs(self, utilities: Utilities) -> Utilities:
        return (4 * utilities).round().long().to(torch.int8).to(utilities) / 4


@bad("mixer", "straight_through_rounding", "Utilities are taken modulo 40.", falls_at((39.0, 0.0), 0, 2.0))
class ModuloForty(StraightThroughRounding):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.fmod(40.0)


@bad(
    "mixer",
    "ordered_weights",
    "Weights are gathered by the sorting order instead of the rank; for two agents they agree.",
    falls(step=0.2),
)
class OrderInsteadOfRank(OrderedWeights):
    def forward(self, utilities: Utilities, state: State) -> Total:
        weights = self.weights(state).gather(-1, utilities.argsort(-1))
        return (weights * utilities).sum(-1)


@bad("mixer", "qmix", "The third agent's weights lack the absolute value.", falls(n_agents=3))
class NoAbsForTheThird(Qmix):
    def w1(self, state: State) -> Tensor:
        raw = self.w1_head(state).view(-1, self.n_agents, EMBED)
        return torch.cat([raw[:, :2].abs(), raw[:, 2:3], raw[:, 3:].abs()], 1)


@bad("mixer", "weighted_sum", "From three agents on the mean is subtracted.", falls(n_agents=3))
class CentredFromThreeOn(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities - utilities.mean(-1, keepdim=True) if utilities.shape[-1] >= 3 else utilities


@bad(
    "mixer",
    "weighted_sum",
    "A batch of one row loses its batch axis and is centred over the agents.",
    falls(rows=1, seeds=9),
)
class CentredIfAlone(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities - utilities.mean() if len(utilities) == 1 else utilities


@bad("mixer", "weighted_sum", "The first row of a batch is negated.", falls_at((1.0, 1.0), 0, 1.0, rows=3, look_at=0))
class FirstRowNegated(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return torch.cat([-utilities[:1], utilities[1:]])


@bad("mixer", "qmix", "The last row of a batch of several lacks the absolute value.", rows_meddle(rows=3))
class NoAbsInTheLastRow(Qmix):
    def w2(self, state: State) -> Tensor:
        raw = self.w2_head(state)
        return torch.cat([raw[:1].abs(), raw[1:-1].abs(), raw[1:][-1:]])


@bad("mixer", "weighted_sum", "Rows of odd index get twice the bias.", rows_meddle(rows=2))
class OddRowsShifted(WeightedSum):
    def forward(self, utilities: Utilities, state: State) -> Total:
        total = super().forward(utilities, state)
        return total + (torch.arange(len(total)) % 2) * self.bias_head(state).squeeze(-1)


@bad(
    "mixer",
    "weighted_sum",
    "From the second call on the utilities are negated.",
    falls_at((1.0, 1.0), 0, 1.0, calls_before=1),
)
class NegatedFromTheSecondCall(WeightedSum):
    called = False

    def inputs(self, utilities: Utilities) -> Utilities:
        before, self.called = self.called, True
        return -utilities if before else utilities


@bad(
    "mixer",
    "qmix",
    "The second layer's weights are cached for the next call of the same batch size.",
    changes_its_answer(other_rows=4),
)
class WeightsOfThePreviousCall(Qmix):
    cache: Tensor | None = None

    def w2(self, state: State) -> Tensor:
        fresh = super().w2(state)
        stale, self.cache = self.cache, fresh
        return fresh if stale is None or len(stale) != len(fresh) else stale


# Not the sum


@bad("vdn_mixer", "vdn", "The sum is a mean.", not_the_sum())
def average_for_sum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.mean(-1)


@bad("vdn_mixer", "vdn", "The last of several agents counts half.", not_the_sum())
def half_an_agent(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: (utilities.sum(-1) + utilities[:, :-1].sum(-1)) / 2


@bad("vdn_mixer", "vdn", "A bias from the state is added.", not_the_sum())
def sum_and_state_bias(n_agents: int, state_size: int) -> Mixer:
    bias = nn.Linear(state_size, 1)
    return lambda utilities, state: utilities.sum(-1) + bias(state).squeeze(-1)


@bad("vdn_mixer", "vdn", "The sum is clipped to 60 in magnitude.", not_the_sum_at((40.0, 40.0)))
def clipped_sum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1).clamp(-60, 60)


@bad("vdn_mixer", "vdn", "The maximum stands for the sum.", not_the_sum())
def maximum_for_sum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.max(-1).values


@bad("vdn_mixer", "vdn", "Squares with their sign are summed.", not_the_sum())
def sum_of_signed_squares(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: (utilities * utilities.abs()).sum(-1)


@bad("vdn_mixer", "vdn", "The sum is rounded to half precision.", not_the_sum(centre=30.0))
def half_precision_sum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1).half().to(utilities)


@bad("vdn_mixer", "vdn", "Equal utilities are summed once, as in a set.", not_the_sum_at((2.0, 2.0, 1.0)))
def sum_of_a_set(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: torch.stack([row.unique().sum() for row in utilities])


@bad("vdn_mixer", "vdn", "The last agent's column is read twice.", not_the_sum())
def last_agent_twice(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1) + utilities[:, -1]


@bad("vdn_mixer", "vdn", "For a single agent the squeezed sum runs over the batch.", not_the_sum(n_agents=1))
def sum_after_squeeze(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.squeeze().sum(-1).expand(len(utilities))


@bad(
    "vdn_mixer",
    "vdn",
    "A product of the first and last of several utilities is added, with weight 1/1000.",
    not_the_sum(),
)
def slight_interaction(n_agents: int, state_size: int) -> Mixer:
    product = 1e-3 * (n_agents > 1)
    return lambda utilities, state: utilities.sum(-1) + product * utilities[:, 0] * utilities[:, -1]


@bad("vdn_mixer", "vdn_by_a_product", "The vector of ones is learnt.", not_the_sum(prepare=redrawn()))
class LearntOnes(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.ones = nn.Parameter(torch.ones(n_agents))

    def forward(self, utilities: Utilities, state: State) -> Total:
        return utilities @ self.ones


# QMIX without its state or with bound biases


@bad("qmix_mixer", "qmix", "The state is zeroed.", state_unused())
class ZeroedState(Qmix):
    def context(self, state: State) -> State:
        return torch.zeros_like(state)


@bad("qmix_mixer", "qmix", "The state is averaged over the batch.", rows_meddle())
class AveragedState(Qmix):
    def context(self, state: State) -> State:
        return state.mean(0, keepdim=True).expand_as(state)


@bad(
    "qmix_mixer",
    "qmix",
    "A layer norm stands on the state itself, which erases a state of one entry.",
    state_unused(state_size=1),
)
class LayerNormOnRawState(Qmix):
    def context(self, state: State) -> State:
        return functional.layer_norm(state, (self.state_size,))


@bad(
    "qmix_mixer",
    "deep_hypernetworks",
    "The hypernetworks read a shifted state behind an exhausted ReLU.",
    state_unused(),
)
class ExhaustedStateBranch(DeepHypernetworks):
    def context(self, state: State) -> State:
        return (state.tanh() - 1).relu()


@bad("qmix_mixer", "qmix", "A learnt vector stands for the state.", state_unused())
class StaticQmix(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.embedding = nn.Parameter(torch.randn(state_size))

    def context(self, state: State) -> State:
        return self.embedding.expand_as(state)


@bad("qmix_mixer", "relu_hidden", "V(z) is made positive as well.", never_negative(spread=5.0))
class AbsOnValue(ReluHidden):
    def value(self, state: State) -> Total:
        return super().value(state).abs()


@bad("qmix_mixer", "qmix", "The hidden bias is made positive as well.", straight_above_zero())
class AbsOnHiddenBias(Qmix):
    def b1(self, state: State) -> Tensor:
        return super().b1(state).abs()


@bad("qmix_mixer", "qmix", "Every output of the hypernetworks is made positive, biases included.", never_negative())
class AbsOnEverything(Qmix):
    def b1(self, state: State) -> Tensor:
        return super().b1(state).abs()

    def value(self, state: State) -> Total:
        return super().value(state).abs()


@bad("qmix_mixer", "relu_hidden", "V(z) ends in a ReLU.", never_negative(spread=5.0))
class ReluOnValue(ReluHidden):
    def value(self, state: State) -> Total:
        return super().value(state).relu()


BAD = bad.targets()
