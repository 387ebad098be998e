"""Adapters: torchrl's mixers, real ones from PyPI, as targets of the judge.

    marlspec check examples/torchrl_mixers.py:vdn --role vdn_mixer
    marlspec check examples/torchrl_mixers.py:qmix --role qmix_mixer --set mixing_embed_dim=16

An adapter is a factory: it makes the module at the sizes that the judge asks for, and returns a function of the
role's form. torchrl takes utilities of shape [B, n, 1] and gives [B, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchrl.modules.models.multiagent import QMixer, VDNMixer

Mixer = Callable[[Tensor, Tensor], Tensor]


def vdn(n_agents: int, state_size: int) -> Mixer:
    """Return torchrl's VDNMixer."""
    mixer = VDNMixer(n_agents=n_agents, device="cpu")
    return lambda utilities, state: mixer(utilities.unsqueeze(-1)).squeeze(-1)


def qmix(n_agents: int, state_size: int, mixing_embed_dim: int = 32) -> Mixer:
    """Return torchrl's QMixer."""
    mixer = QMixer(state_shape=(state_size,), mixing_embed_dim=mixing_embed_dim, n_agents=n_agents, device="cpu")
    return lambda utilities, state: mixer(utilities.unsqueeze(-1), state).squeeze(-1)


def qmix_float32(n_agents: int, state_size: int) -> Mixer:
    """Return torchrl's QMixer in single precision, as it is trained."""
    mixer = QMixer(state_shape=(state_size,), mixing_embed_dim=32, n_agents=n_agents, device="cpu").to(torch.float32)
    return lambda utilities, state: mixer(utilities.float().unsqueeze(-1), state.float()).squeeze(-1)
