"""For the tests of all deep learners: a game where everything occurs, updates in float64, and what each promises."""

import inspect
import io
import types
from collections import Counter
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


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


@pytest.fixture
def rivals(corridor):
    """The corridor with rewards of each agent's own: no two agents' are ever equal."""

    class Rivals(type(corridor)):
        name = "Rivals"
        common_reward = False

        def step(self, state, actions):
            following, rewards, terminated, truncated = super().step(state, actions)
            return following, rewards * torch.tensor([1.0, -0.5]) + torch.tensor([0.0, 7.25]), terminated, truncated

    return Rivals()


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


def log_policy(parameters, s, i, history, available):
    """Log-probabilities of seed s, agent i for one history: the softmax over available actions."""
    logits = utilities(parameters, s, i, history)
    normaliser = np.logaddexp.reduce([logits[a] for a in range(len(logits)) if available[a]])
    return [logits[a] - normaliser if available[a] else -np.inf for a in range(len(logits))]


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
        in_numpy=in_numpy,
        numbers=numbers,
        linear=linear,
        utilities=utilities,
        log_policy=log_policy,
        slopes=slopes,
        Adam=Adam,
    )


def same(left, right):
    """Whether two nested structures of tensors, dicts and sequences agree to the bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def resumes(make, before, after, through_a_file=True, time_steps=1):
    """Assert that saving after some steps, of so many time steps each, and going on elsewhere gives the same bits."""
    learner = make()
    for _ in range(before):
        learner.step()
    saved = learner.state_dict()
    if through_a_file:
        file = io.BytesIO()
        torch.save(saved, file)
        saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    torch.manual_seed(999)
    other = make()
    other.load_state_dict(saved)
    assert same(learner.state_dict(), other.state_dict())
    for _ in range(after):
        other.step()
    resumed = other.state_dict()
    torch.set_rng_state(saved["_extra_state"]["random_state"])
    for _ in range(after):
        learner.step()
    assert same(learner.state_dict(), resumed)
    assert learner.t == (before + after) * time_steps


class Waits(TorchDispatchMode):
    """Counts the operators whose result or arguments make the host wait for the device."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item", "equal", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        boolean_index = name in ("index", "index_put_", "index_put") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        moved = name == "_to_copy" and (kwargs or {}).get("device") is not None
        if name in self.FORBIDDEN or boolean_index or moved:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def never_waits(learner, steps):
    """Assert that no step but the first waits for the device."""
    learner.step()
    with Waits() as waits:
        for _ in range(steps):
            learner.step()
    assert not waits.found


@pytest.fixture
def promises():
    """What every learner promises: checks, and what they are made of."""
    return SimpleNamespace(same=same, resumes=resumes, Waits=Waits, never_waits=never_waits)


def patched(module, corrected, printed):
    """Return a copy of a module with one piece of its source, which must be there exactly once, as printed."""
    source = inspect.getsource(module)
    assert source.count(corrected) == 1, corrected
    changed = types.ModuleType(module.__name__ + "_as_printed")
    exec(compile(source.replace(corrected, printed), "as printed", "exec"), changed.__dict__)
    return changed


@pytest.fixture
def as_printed():
    """The function that puts an erratum back into a module."""
    return patched
