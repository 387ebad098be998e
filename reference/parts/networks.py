"""Networks: n separate networks (and several seeds of each) as batched parameters, one batched product per layer."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class EnsembleLinear(nn.Module):
    """Separate linear layers side by side: y = x W + b, with W of shape [*ensemble, in, out] and b [*ensemble, 1, out].

    Every member is initialised as PyTorch initialises its Linear: weights and biases uniform in +-1/sqrt(in).
    """

    def __init__(self, ensemble: Sequence[int], n_in: int, n_out: int, device: torch.device | str = "cpu") -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(*ensemble, n_in, n_out, device=device).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*ensemble, 1, n_out, device=device).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*member B i"]) -> Float[Tensor, "*member B j"]:
        """Apply each member to its own batch; in x several ensemble axes are flattened to one."""
        if self.weight.dim() == 2:
            return torch.addmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias.flatten(0, -3), x, self.weight.flatten(0, -3))


class AgentNetworks(nn.Module):
    """n separate networks, one for each agent, and so for each seed.

    Each is a multi-layer perceptron with ReLU between its layers. Parameters have shape [*seeds, n, in, out].
    """

    def __init__(
        self,
        n_agents: int,
        n_in: int,
        n_out: int,
        hidden: Sequence[int] = (64, 64),
        seeds: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        ensemble = (*seeds, n_agents)
        layers = [EnsembleLinear(ensemble, i, j, device) for i, j in pairwise([n_in, *hidden, n_out])]
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "*seeds B n j"]:
        """Apply each agent's network to that agent's input."""
        by_agent = inputs.transpose(-2, -3)
        first, *rest = self.layers
        x: Tensor = first(by_agent.flatten(0, -3))
        for layer in rest:
            x = layer(torch.relu(x))
        return x.view(*by_agent.shape[:-1], -1).transpose(-2, -3)


class UtilityNetworks(AgentNetworks):
    """The utilities Q(h_i, .; theta_i): from histories [.., B, n, h] to [.., B, n, A]."""


class PolicyNetworks(AgentNetworks):
    """The logits of the policies pi(. | h_i; phi_i): from histories [.., B, n, h] to [.., B, n, A]."""


class CriticNetworks(AgentNetworks):
    """State values V(h_i; theta_i), or V(h_i, z; theta_i): from [.., B, n, h] or [.., B, n, h + z] to [.., B, n, 1]."""

    def values(self, inputs: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "*seeds B n"]:
        """Return every agent's value."""
        values: Tensor = self(inputs)
        return values.squeeze(-1)


def frozen_copy(network: Network) -> Network:
    """Return a target network: a copy with equal parameters, which no gradient reaches."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def synchronise(target: nn.Module, online: nn.Module) -> None:
    """Set a target network's parameters equal to the online network's."""
    for copied, parameter in zip(target.parameters(), online.parameters(), strict=True):
        copied.copy_(parameter)


@torch.no_grad()
def approach(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move a target network's parameters by the share tau of the way to the online network's (soft update)."""
    for copied, parameter in zip(target.parameters(), online.parameters(), strict=True):
        copied.lerp_(parameter, tau)
