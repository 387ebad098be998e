"""Fixtures for all tests: one torch thread, so that timings of parallel workers do not disturb each other."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)
