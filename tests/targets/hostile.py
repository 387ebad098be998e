"""Targets that cannot be judged, each for one reason."""

import random

import numpy as np
import torch


def raising_factory(n_agents, state_size):
    raise RuntimeError("no weights on this disk")


def number(n_agents, state_size):
    return 7


def of_one_argument(n_agents):
    return lambda utilities, state: utilities.sum(-1)


def raising(n_agents, state_size):
    def mix(utilities, state):
        raise ValueError("cannot mix\x1b[0m these")

    return mix


def exiting(n_agents, state_size):
    def mix(utilities, state):
        raise SystemExit(3)

    return mix


def exiting_factory(n_agents, state_size):
    raise SystemExit("done")


def column(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1, keepdim=True)


def scalar(n_agents, state_size):
    return lambda utilities, state: utilities.sum()


def transposed(n_agents, state_size):
    return lambda utilities, state: utilities.sum(0)


def integers(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1).long()


def complex_numbers(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1).to(torch.complex128)


def pair(n_agents, state_size):
    return lambda utilities, state: (utilities.sum(-1), None)


def nothing(n_agents, state_size):
    return lambda utilities, state: None


def array_instead_of_tensor(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1).numpy()


def on_no_device(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1).to("meta")


def eight_bits(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1).to(torch.float8_e4m3fn)


def objects(n_agents, state_size):
    return lambda utilities, state: np.array([object()] * len(utilities))


objects.arrays = "numpy"


def wrong_at_one_row(n_agents, state_size):
    """Right in batches, wrong where a batch holds one row."""
    return lambda utilities, state: utilities.sum(-1).squeeze()


def wrong_at_one_row_and_falling(n_agents, state_size):
    """Refuted and not to be judged at once."""
    return lambda utilities, state: -utilities.sum(-1).squeeze()


def drawing_and_raising(n_agents, state_size):
    """Moves all three global generators before it fails."""

    def mix(utilities, state):
        torch.rand(3), np.random.rand(3), random.random()
        raise ValueError("after three draws")

    return mix


constant = 3.0
