"""Run a target without letting it, or the judge, disturb the caller's global state."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed the global generators, and restore their states and torch's grad mode afterwards.

    hypothesis seeds Python's and numpy's generators, not torch's: here all three start from `seed`.
    """
    states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    grad = torch.is_grad_enabled()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        _seed_torch(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_grad_enabled(grad)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        elif torch.accelerator.is_available():  # torch keeps a seed for the time when CUDA is first used: the caller's
            torch.cuda.manual_seed_all(torch.initial_seed())


def _seed_torch(seed: int) -> None:
    """Seed torch on all devices; without any, spare the stack trace that torch.manual_seed keeps for those to come."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors and modules be of the given type; restore the caller's choice afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
