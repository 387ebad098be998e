"""Small targets that keep their promises, or keep them under a condition that a test states."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def total(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1)


def total_in_numpy(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1)


total_in_numpy.arrays = "numpy"


def total_in_numpy_float32(n_agents, state_size):
    return lambda utilities, state: utilities.astype(np.float32).sum(-1)


total_in_numpy_float32.arrays = "numpy"


def total_in_float32(n_agents, state_size):
    """Takes nothing but float32, as code with constants of a fixed type does."""
    ones = torch.ones(n_agents, dtype=torch.float32)
    return lambda utilities, state: utilities @ ones


def shifted(n_agents, state_size, shift=0.0):
    """The sum plus a number: the plain sum by default, and not otherwise."""
    return lambda utilities, state: utilities.sum(-1) + shift


def leaky(n_agents, state_size, slope=0.5):
    """Monotone where slope >= 0; the role vdn_mixer is refuted for any slope but 1."""
    return lambda utilities, state: functional.leaky_relu(utilities, slope).sum(-1)


class Clipped(nn.Module):
    """A weighted sum whose weights are clipped by the training code: free as an architecture."""

    def __init__(self, n_agents, state_size):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, n_agents))

    def forward(self, utilities, state):
        return utilities @ self.weight


class Weighted(nn.Module):
    """Weights by softplus of the state, and a free bias: monotone for every parameter."""

    def __init__(self, n_agents, state_size):
        super().__init__()
        self.weights, self.bias = nn.Linear(state_size, n_agents), nn.Linear(state_size, 1)

    def forward(self, utilities, state):
        return (utilities * functional.softplus(self.weights(state))).sum(-1) + self.bias(state).squeeze(-1)


def moody(n_agents, state_size):
    """Makes its weights, and adds zero times random numbers, with all three global generators; sets global modes."""
    weights = torch.rand(n_agents) + np.random.rand() + random.random()
    torch.set_grad_enabled(False)

    def mix(utilities, state):
        nothing = torch.rand(len(utilities)) + np.random.rand() + random.random()
        torch.set_default_dtype(torch.float16)
        return utilities @ weights + 0.0 * nothing

    return mix


def summed_value(n_agents, n_actions, state_size):
    """The sum of the utilities of the actions taken; declares no least slope."""
    return lambda utilities, actions, state: utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1).sum(-1)
