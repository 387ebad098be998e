"""Fixtures for all tests: one torch thread, lest timings of parallel workers disturb each other; and interrupts."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def ctrl_c_interrupts():
    """Python's own handling of SIGINT, which a process started in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
