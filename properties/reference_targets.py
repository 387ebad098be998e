"""The reference's own mixers as targets, each a closure around its module: what is judged when no target is named."""

from collections.abc import Callable

from torch import Tensor

from marlspec.reference.decomposition import qmix, vdn

Function = Callable[[Tensor, Tensor], Tensor]


def vdn_mixer(n_agents: int, state_size: int) -> Function:
    """Return VDN's mixer, which needs neither size."""
    return lambda utilities, state: vdn.mix(utilities)


def qmix_mixer(n_agents: int, state_size: int, embed: int = 32) -> Function:
    """Return QMIX's mixer: the hypernetwork makes the mixing parameters of each state."""
    hypernetwork = qmix.Hypernetwork(n_agents, state_size, embed)
    return lambda utilities, state: qmix.mix(utilities, hypernetwork(state))


REFERENCE_TARGETS = (
    ("marlspec.properties.reference_targets:vdn_mixer", "vdn_mixer"),
    ("marlspec.properties.reference_targets:qmix_mixer", "qmix_mixer"),
)
