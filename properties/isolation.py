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
        torch.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_grad_enabled(grad)
        if devices is None:  # torch keeps a seed for the time when CUDA is first used: the caller's again
            torch.cuda.manual_seed_all(torch.initial_seed())
        else:
            torch.cuda.set_rng_state_all(devices)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors and modules be of the given type; restore the caller's choice afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
