"""Correct mixers in many shapes: the judge must refute none of them.

A target takes the name of its class or function, in lower case. Mixers of role `qmix_mixer` and `vdn_mixer` keep the
promises of role `mixer` as well. Each mixer is split into small methods, so that a variant or a mutant replaces one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .target import Collection, Mixer, State, Total, Utilities

EMBED = 32

good = Collection()


def two_layers(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, EMBED), nn.ReLU(), nn.Linear(EMBED, outputs))


@good("qmix_mixer", "", "The mixer of QMIX (arXiv 1803.11485).")
class Qmix(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.n_agents, self.state_size = n_agents, state_size
        self.w1_head = self.head(n_agents * EMBED)
        self.b1_head = nn.Linear(state_size, EMBED)
        self.w2_head = self.head(EMBED)
        self.value_head = two_layers(state_size, 1)

    def head(self, outputs: int) -> nn.Module:
        return nn.Linear(self.state_size, outputs)

    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities

    def context(self, state: State) -> State:
        return state

    def positive(self, raw: Tensor) -> Tensor:
        return raw.abs()

    def activation(self, x: Tensor) -> Tensor:
        return functional.elu(x)

    def w1(self, state: State) -> Tensor:  # [B, n, EMBED]
        return self.positive(self.w1_head(state).view(-1, self.n_agents, EMBED))

    def b1(self, state: State) -> Tensor:  # [B, EMBED]
        return self.b1_head(state)

    def w2(self, state: State) -> Tensor:  # [B, EMBED]
        return self.positive(self.w2_head(state))

    def value(self, state: State) -> Total:
        return self.value_head(state).squeeze(-1)

    def mixed(self, utilities: Utilities, state: State) -> Tensor:  # [B, EMBED]
        return (utilities.unsqueeze(1) @ self.w1(state)).squeeze(1) + self.b1(state)

    def forward(self, utilities: Utilities, state: State) -> Total:
        utilities, state = self.inputs(utilities), self.context(state)
        hidden = self.activation(self.mixed(utilities, state))
        return (hidden * self.w2(state)).sum(-1) + self.value(state)


@good("qmix_mixer", "qmix", "Softplus makes the weights positive.")
class SoftplusWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return functional.softplus(raw)


@good("qmix_mixer", "qmix", "Squares make the weights positive.")
class SquaredWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.square()


@good("qmix_mixer", "qmix", "The exponential makes the weights positive, of a small and bounded exponent.")
class ExponentialWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return (0.1 * raw).clamp(-10, 10).exp()


@good("qmix_mixer", "qmix", "A softmax over the hidden units makes the weights positive.")
class SoftmaxWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.softmax(-1)


@good("qmix_mixer", "qmix", "Negative outputs of the hypernetworks become zero weights.")
class ClampedWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.clamp(min=0)


@good("qmix_mixer", "qmix", "ELU plus one makes the weights positive.")
class ShiftedEluWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return functional.elu(raw) + 1


@good("qmix_mixer", "qmix", "The sigmoid makes the weights positive.")
class SigmoidWeights(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return raw.sigmoid()


@good("qmix_mixer", "qmix", "Both layers' weights are negative, which makes Q_tot increase through an odd activation.")
class TwoMinusSigns(Qmix):
    def positive(self, raw: Tensor) -> Tensor:
        return -raw.abs()


@good("qmix_mixer", "qmix", "The hypernetworks of the weights have two layers.")
class DeepHypernetworks(Qmix):
    def head(self, outputs: int) -> nn.Module:
        return two_layers(self.state_size, outputs)


@good("qmix_mixer", "qmix", "ReLU replaces ELU.")
class ReluHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return x.relu()


@good("qmix_mixer", "qmix", "tanh replaces ELU, so the hidden layer saturates.")
class TanhHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return x.tanh()


@good("qmix_mixer", "qmix", "Leaky ReLU with a positive slope replaces ELU.")
class LeakyHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(x, 0.1)


@good("qmix_mixer", "qmix", "Hard tanh replaces ELU, so Q_tot is constant far from zero.")
class HardTanhHidden(Qmix):
    def activation(self, x: Tensor) -> Tensor:
        return functional.hardtanh(x)


@good("qmix_mixer", "qmix", "Each hidden unit is the larger of two non-negative combinations.")
class MaxoutHidden(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.other = Qmix(n_agents, state_size)

    def mixed(self, utilities: Utilities, state: State) -> Tensor:
        return torch.maximum(super().mixed(utilities, state), self.other.mixed(utilities, state))


@good("qmix_mixer", "qmix", "A second mixing layer stands between the hidden layer and the output.")
class TwoMixingLayers(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.inner = Qmix(EMBED, state_size)

    def mixed(self, utilities: Utilities, state: State) -> Tensor:
        return self.inner.mixed(functional.elu(super().mixed(utilities, state)), state)


@good("qmix_mixer", "qmix", "A learnt constant is added to V(z).")
class ConstantBias(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.constant = nn.Parameter(torch.zeros(1))

    def value(self, state: State) -> Total:
        return super().value(state) + self.constant


@good("qmix_mixer", "qmix", "The first layer's weights lie as [EMBED, n] and are contracted by einsum.")
class EinsumLayout(Qmix):
    def w1(self, state: State) -> Tensor:
        return self.positive(self.w1_head(state).view(-1, EMBED, self.n_agents))

    def mixed(self, utilities: Utilities, state: State) -> Tensor:
        return torch.einsum("ben,bn->be", self.w1(state), utilities) + self.b1(state)


@good("qmix_mixer", "qmix", "The sum of the utilities is added to the mixture.")
class SkipConnection(Qmix):
    def forward(self, utilities: Utilities, state: State) -> Total:
        return utilities.sum(-1) + super().forward(utilities, state)


@good("qmix_mixer", "qmix", "A layer norm stands on the state's branch, behind a linear embedding.")
class NormalisedState(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, EMBED)
        self.embedding = nn.Sequential(nn.Linear(state_size, EMBED), nn.LayerNorm(EMBED))

    def context(self, state: State) -> Tensor:  # [B, EMBED]
        return self.embedding(state)


@good("qmix_mixer", "qmix", "Dropout on the hidden layer, switched off.")
def dropout_in_evaluation(n_agents: int, state_size: int) -> nn.Module:
    return DropoutHidden(n_agents, state_size).eval()


class DropoutHidden(Qmix):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.dropout = nn.Dropout(0.2)

    def activation(self, x: Tensor) -> Tensor:
        return self.dropout(super().activation(x))


@good("qmix_mixer", "qmix", "The state is detached.")
class DetachedState(Qmix):
    def context(self, state: State) -> State:
        return state.detach()


@good("qmix_mixer", "qmix", "The utilities are compressed by sign(q) log(1 + |q|) before they are mixed.")
class CompressedUtilities(Qmix):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.sign() * utilities.abs().log1p()


@good("qmix_mixer", "qmix", "The utilities are scaled by fixed statistics: batch norm in evaluation, without affine.")
def frozen_statistics(n_agents: int, state_size: int) -> nn.Module:
    return NormalisedUtilities(n_agents, state_size).eval()


class NormalisedUtilities(Qmix):
    affine = False

    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.norm = nn.BatchNorm1d(n_agents, affine=self.affine)

    def inputs(self, utilities: Utilities) -> Utilities:
        return self.norm(utilities)


@good("qmix_mixer", "qmix", "Whatever the default type, the mixer computes and answers in float32.")
def single_precision(n_agents: int, state_size: int) -> Mixer:
    mixer = Qmix(n_agents, state_size).float()
    return lambda utilities, state: mixer(utilities.float(), state.float())


@good("qmix_mixer", "qmix", "The rows are mixed eight at a time.")
def chunks_of_8(n_agents: int, state_size: int) -> Mixer:
    mixer = Qmix(n_agents, state_size)

    def mix(utilities: Utilities, state: State) -> Total:
        return torch.cat([mixer(q, z) for q, z in zip(utilities.split(8), state.split(8), strict=True)])

    return mix


@good("mixer", "", "A sum with positive weights and a bias, both from the state.")
class WeightedSum(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()
        self.weight_head = nn.Linear(state_size, n_agents)
        self.bias_head = nn.Linear(state_size, 1)

    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities

    def weights(self, state: State) -> Tensor:  # [B, n]
        return functional.softplus(self.weight_head(state))

    def forward(self, utilities: Utilities, state: State) -> Total:
        return (self.weights(state) * self.inputs(utilities)).sum(-1) + self.bias_head(state).squeeze(-1)


@good("mixer", "weighted_sum", "The weights are normalised over the agents, with a floor.")
class NormalisedWeights(WeightedSum):
    floor = 1e-3

    def weights(self, state: State) -> Tensor:
        raw = self.weight_head(state).relu() + self.floor
        return raw / raw.sum(-1, keepdim=True)


@good("mixer", "weighted_sum", "The k-th weight belongs to the k-th smallest utility, whoever holds it.")
class OrderedWeights(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities.sort(-1).values


@good("mixer", "weighted_sum", "The utilities are rounded to integers and gradients pass straight through.")
class StraightThroughRounding(WeightedSum):
    def inputs(self, utilities: Utilities) -> Utilities:
        return utilities + (utilities.round() - utilities).detach()


@good("mixer", "weighted_sum", "The weights are free parameters behind a softplus and do not use the state.")
class StaticWeights(WeightedSum):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__(n_agents, state_size)
        self.static = nn.Parameter(torch.rand(n_agents))

    def weights(self, state: State) -> Tensor:
        return functional.softplus(self.static).expand(len(state), -1)


@good("mixer", "", "The mean of the utilities.")
def mean_of_utilities(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.mean(-1)


@good("mixer", "", "The largest utility.")
def best_agent(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.max(-1).values


@good("mixer", "", "The smallest utility.")
def weakest_agent(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.min(-1).values


@good("mixer", "best_agent", "The maximum is soft: log-sum-exp at temperature 0.1.")
def soft_maximum(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: (10 * utilities).logsumexp(-1) / 10


@good("vdn_mixer", "", "The mixer of VDN (arXiv 1706.05296).")
def vdn(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities.sum(-1)


@good("vdn_mixer", "vdn", "The sum is computed as n times the mean.")
def vdn_by_the_mean(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: n_agents * utilities.mean(-1)


@good("vdn_mixer", "vdn", "The sum is computed as a product with a vector of ones.")
def vdn_by_a_product(n_agents: int, state_size: int) -> Mixer:
    return lambda utilities, state: utilities @ utilities.new_ones(n_agents)


@good("vdn_mixer", "vdn", "The sum is computed as a running sum's last column.")
class VdnByRunningSum(nn.Module):
    def __init__(self, n_agents: int, state_size: int) -> None:
        super().__init__()

    def forward(self, utilities: Utilities, state: State) -> Total:
        return utilities.cumsum(-1)[:, -1]


GOOD = good.targets()
