"""Networks: one for each agent (and several seeds of each) as batched parameters, one batched product per layer."""

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

    Every member is initialised as PyTorch initialises its Linear: weights and biases uniform in +-1/sqrt(in), unless
    another bound is given.
    """

    def __init__(
        self,
        ensemble: Sequence[int],
        n_in: int,
        n_out: int,
        device: torch.device | str = "cpu",
        bound: float | None = None,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in) if bound is None else bound
        self.weight = nn.Parameter(torch.empty(*ensemble, n_in, n_out, device=device).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*ensemble, 1, n_out, device=device).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*member B i"]) -> Float[Tensor, "*member B j"]:
        """Apply each member to its own batch; in x several ensemble axes are flattened to one."""
        if self.weight.dim() == 2:
            return torch.addmm(self.bias, x, self.weight)
        return torch.bmm(x, self.weight.flatten(0, -3)) + self.bias.flatten(0, -3)


class EnsembleGRU(nn.Module):
    """Separate gated recurrent units side by side (Cho et al. 2014, arXiv 1406.1078), as PyTorch's GRUCell has them.

    With an input x and a memory of the past, both of them through linear layers, one for each of r, u and c:

        r = sigmoid(x_r + memory_r), u = sigmoid(x_u + memory_u), c = tanh(x_c + r memory_c)
        memory = (1 - u) c + u memory

    The three layers stand side by side in one product; all are initialised uniform in +-1/sqrt(n_memory).
    """

    def __init__(self, ensemble: Sequence[int], n_in: int, n_memory: int, device: torch.device | str = "cpu") -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_memory)
        self.n_memory = n_memory
        self.of_input = EnsembleLinear(ensemble, n_in, 3 * n_memory, device, bound)
        self.of_memory = EnsembleLinear(ensemble, n_memory, 3 * n_memory, device, bound)

    def forward(
        self, x: Float[Tensor, "*member B i"], memory: Float[Tensor, "*member B m"]
    ) -> Float[Tensor, "*member B m"]:
        """Return each member's memory after its input; several ensemble axes are flattened to one."""
        x_r, x_u, x_c = self.of_input(x).chunk(3, -1)
        memory_r, memory_u, memory_c = self.of_memory(memory).chunk(3, -1)
        r, u = torch.sigmoid(x_r + memory_r), torch.sigmoid(x_u + memory_u)
        c = torch.tanh(x_c + r * memory_c)
        return (1 - u) * c + u * memory


class AgentNetworks(nn.Module):
    """A network for each agent, and so for each seed: n separate ones, or a single one that all agents share.

    Each is a multi-layer perceptron with ReLU between its layers. A recurrent one has a GRU for its last hidden layer,
    whose memory goes to the output as it is (the agents' networks of the QMIX paper, section 5).

    Parameters have shape [*seeds, n, in, out]. Those of a shared network have [*seeds, 1, in, out], and its input ends
    in the agent's number, one-hot: that alone tells it whose history it sees.

    Attributes:
        n_memory: numbers that a recurrent network remembers; 0 without recurrence.
    """

    def __init__(
        self,
        n_agents: int,
        n_in: int,
        n_out: int,
        hidden: Sequence[int] = (64, 64),
        seeds: Sequence[int] = (),
        device: torch.device | str = "cpu",
        *,
        share: bool = False,
        recurrent: bool = False,
    ) -> None:
        """Draw the parameters at random; a recurrent network needs at least one hidden layer, the GRU."""
        super().__init__()
        self.n_agents, self.share = n_agents, share
        ensemble = (*seeds, 1 if share else n_agents)
        sizes = list(pairwise([n_in + n_agents if share else n_in, *hidden, n_out]))
        self.gru = EnsembleGRU(ensemble, *sizes.pop(-2), device) if recurrent else None
        self.n_memory = hidden[-1] if recurrent else 0
        self.layers = nn.ModuleList([EnsembleLinear(ensemble, i, j, device) for i, j in sizes])

    def forward(self, inputs: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "*seeds B n j"]:
        """Apply each agent's network to that agent's input; a recurrent one remembers nothing yet."""
        return self.advance(inputs, self._nothing(inputs))[0]

    def advance(
        self, inputs: Float[Tensor, "*seeds B n i"], memory: Float[Tensor, "*seeds B n m"]
    ) -> tuple[Float[Tensor, "*seeds B n j"], Float[Tensor, "*seeds B n m"]]:
        """Apply each agent's network to that agent's input and memory; zeros are the memory of nothing.

        Returns:
            Each agent's output, and what it remembers now.
        """
        *before, last = self.layers
        x = self._by_member(self._with_number(inputs))
        for layer in before:
            x = torch.relu(layer(x))
        if self.gru is not None:
            x = self.gru(x, self._by_member(memory))
            memory = self._by_agent(x, inputs.shape)
        return self._by_agent(last(x), inputs.shape), memory

    def along(self, inputs: Float[Tensor, "*seeds B L n i"]) -> Float[Tensor, "*seeds B L n j"]:
        """Apply each agent's network to every time step of episodes; a recurrent one remembers those before it."""
        if self.gru is None:
            return self._apart(inputs)
        return self._unrolled(inputs)[0]

    def ahead(
        self, inputs: Float[Tensor, "*seeds B L n i"], following: Float[Tensor, "*seeds B L n i"]
    ) -> Float[Tensor, "*seeds B L n j"]:
        """Apply each agent's network to what follows every time step of episodes.

        A recurrent one remembers the time step and those before it, not what followed them: where an episode ends, the
        next input is another one's.
        """
        if self.gru is None:
            return self._apart(following)
        memory = self._unrolled(inputs)[1].flatten(-4, -3)
        return self.advance(following.flatten(-4, -3), memory)[0].reshape(*following.shape[:-1], -1)

    def _apart(self, inputs: Float[Tensor, "*seeds B L n i"]) -> Float[Tensor, "*seeds B L n j"]:
        """Apply each agent's network to time steps, none of which knows of the others."""
        outputs: Tensor = self(inputs.flatten(-4, -3))
        return outputs.reshape(*inputs.shape[:-1], -1)

    def _unrolled(
        self, inputs: Float[Tensor, "*seeds B L n i"]
    ) -> tuple[Float[Tensor, "*seeds B L n j"], Float[Tensor, "*seeds B L n m"]]:
        """Return recurrent networks' outputs, and what they remember after each time step."""
        memory, outputs, memories = self._nothing(inputs[..., 0, :, :]), [], []
        for x in inputs.unbind(-3):
            output, memory = self.advance(x, memory)
            outputs.append(output)
            memories.append(memory)
        return torch.stack(outputs, -3), torch.stack(memories, -3)

    def _nothing(self, inputs: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "*seeds B n m"]:
        return inputs.new_zeros(*inputs.shape[:-1], self.n_memory)

    def _with_number(self, inputs: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "*seeds B n i_and_number"]:
        if not self.share:
            return inputs
        number = torch.eye(self.n_agents, dtype=inputs.dtype, device=inputs.device)
        return torch.cat([inputs, number.expand(*inputs.shape[:-1], -1)], -1)

    def _by_member(self, values: Float[Tensor, "*seeds B n i"]) -> Float[Tensor, "member rows i"]:
        """Return the rows of each network: its agent's, or all agents'."""
        own = values.flatten(-3, -2).unsqueeze(-3) if self.share else values.transpose(-2, -3)
        return own.flatten(0, -3)

    def _by_agent(self, rows: Float[Tensor, "member rows j"], shape: Sequence[int]) -> Float[Tensor, "*seeds B n j"]:
        """Return the rows of networks as _by_member was given them, in the order of inputs of that shape."""
        *seeds, B, n, _ = shape
        if self.share:
            return rows.view(*seeds, B, n, -1)
        return rows.view(*seeds, n, B, -1).transpose(-2, -3)


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
