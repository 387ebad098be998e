"""Random numbers: the default generator of a device, which a learner's step draws from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def default_generator(device: torch.device) -> torch.Generator:
    """Return the generator that draws on a device use where none is named."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    return torch.default_generator


@contextmanager
def restored_afterwards(device: torch.device) -> Iterator[torch.Generator]:
    """Lend a device's default generator; afterwards it stands where it stood before."""
    generator = default_generator(device)
    state = generator.get_state()
    try:
        yield generator
    finally:
        generator.set_state(state)
