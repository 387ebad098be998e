from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor


class Place(NamedTuple):
    position: Tensor
    clock: Tensor


class Corridor:
    """Two agents walk: agent 1's action moves them. Termination, truncation and unavailable actions all occur.

    Sizes differ (n = 2, h = 4, A = 3, z = 5), so that no two of them can be confused. All that step() saw is logged.
    """

    name = "Corridor"
    n_agents, n_actions, observation_size, state_size = 2, 3, 4, 5
    common_reward = True
    end, horizon = 4, 5

    def __init__(self):
        self.log = []

    def reset(self, K):
        return Place(torch.zeros(K, dtype=torch.int64), torch.zeros(K, dtype=torch.int64))

    def step(self, state, actions):
        self.log.append((state, actions))
        position, clock = state.position + actions[:, 0], state.clock + 1
        reward = (state.position + 2 * actions[:, 0] - 3 * actions[:, 1] + 0.5 * state.clock).float()
        terminated = position >= self.end
        return Place(position, clock), reward[:, None].expand(-1, 2), terminated, (clock >= self.horizon) & ~terminated

    def observe(self, state):
        own = [
            torch.stack([state.position, state.clock, state.position * i, torch.full_like(state.clock, i)], -1)
            for i in range(2)
        ]
        return torch.stack(own, 1).float() / 4

    def centralized(self, state):
        p, c = state.position, state.clock
        return torch.stack([p, c, p * c, p - c, torch.ones_like(c)], -1).float() / 4

    def available(self, state):
        mask = torch.ones(len(state.position), 2, 3, dtype=torch.bool)
        mask[:, 0, 2] = state.position % 2 == 0
        mask[:, 1, 0] = state.clock % 2 == 1
        return mask


@pytest.fixture
def corridor():
    return Corridor()


@pytest.fixture(autouse=True)
def one_thread_and_same_numbers():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def in_numpy(batch):
    """Return a batch with float64 for its floats."""
    return type(batch)(*(f.double().numpy() if f.is_floating_point() else f.numpy() for f in batch))


def numbers(module):
    """Return a module's parameters as float64 copies."""
    return [p.detach().double().numpy().copy() for p in module.parameters()]


def linear(x, weight, bias, *member):
    return x @ weight[member] + bias[member][0]


def utilities(parameters, s, i, history):
    """Utilities of seed s, agent i for histories [.., h], from parameters weight, bias, weight, bias .."""
    x = history
    for k in range(0, len(parameters), 2):
        x = linear(np.maximum(x, 0) if k else x, parameters[k], parameters[k + 1], s, i)
    return x


def slopes(function, parameters, step=1e-6):
    """Central differences of a function of nothing with respect to every number in the parameters, changed in place."""
    gradients = [np.zeros_like(p) for p in parameters]
    for p, g in zip(parameters, gradients, strict=True):
        for at in np.ndindex(p.shape):
            kept = p[at]
            p[at] = kept + step
            above = function()
            p[at] = kept - step
            g[at] = (above - function()) / (2 * step)
            p[at] = kept
    return gradients


class Adam:
    """Adam by its definition, with PyTorch's default constants."""

    def __init__(self, parameters, rate):
        self.parameters, self.rate, self.t = parameters, rate, 0
        self.first = [np.zeros_like(p) for p in parameters]
        self.second = [np.zeros_like(p) for p in parameters]

    def step(self, gradients):
        self.t += 1
        for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.999 * v + 0.001 * g**2
            p -= self.rate * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)


@pytest.fixture
def oracle():
    """What the tests compute by themselves, in float64 and without the code under test."""
    return SimpleNamespace(
        in_numpy=in_numpy, numbers=numbers, linear=linear, utilities=utilities, slopes=slopes, Adam=Adam
    )
