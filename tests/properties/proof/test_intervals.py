"""Interval slopes: sound on every operator with a rule, exact for linear functions, over bounded and infinite boxes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from marlspec.properties.proof.graph import Unknown, trace
from marlspec.properties.proof.intervals import slopes
from marlspec.properties.reference_targets import qmix_mixer, vdn_mixer

N, S = 3, 4
W = torch.linspace(-1.0, 1.0, N * 2, dtype=torch.float64).reshape(N, 2)
V = torch.linspace(-2.0, 1.0, N, dtype=torch.float64)

FUNCTIONS = {
    "sum": lambda q, z: q.sum(-1),
    "mean over two axes": lambda q, z: (q[:, :, None] * z[:, None, :]).mean((1, 2)),
    "sum with kept axis": lambda q, z: (q.sum(1, keepdim=True) * z[:, :1]).squeeze(-1),
    "vector": lambda q, z: q @ V,
    "matrix, then tanh": lambda q, z: (q @ W).tanh().sum(-1),
    "linear with bias": lambda q, z: F.linear(q, W.T, V[:2]).sigmoid().sum(-1),
    "einsum": lambda q, z: torch.einsum("bn,nm->bm", q, W).exp().sum(-1),
    "einsum with batch": lambda q, z: torch.einsum("bn,bm->b", q, z),
    "bmm": lambda q, z: torch.bmm(q[:, None], z[:, :N, None])[:, 0, 0],
    "baddbmm": lambda q, z: torch.baddbmm(z[:, None, :1], q[:, None], z[:, :N, None], beta=-1.0, alpha=2.0)[:, 0, 0],
    "addmm": lambda q, z: torch.addmm(V[:2], q, W, beta=2.0).relu().sum(-1),
    "ELU": lambda q, z: F.elu(q * z[:, :N]).sum(-1),
    "ELU with alpha 2": lambda q, z: F.elu(q, alpha=2.0).sum(-1),
    "ELU with alpha 0.5": lambda q, z: F.elu(q, alpha=0.5).sum(-1),
    "leaky ReLU": lambda q, z: F.leaky_relu(q - z[:, :1], 0.3).sum(-1),
    "softplus": lambda q, z: F.softplus(q, beta=2.0).sum(-1),
    "absolute value": lambda q, z: (q - z[:, :N]).abs().sum(-1),
    "square": lambda q, z: ((q + z[:, :N]) ** 2).sum(-1) - torch.square(q).sum(-1),
    "product of utilities": lambda q, z: q[:, 0] * q[:, 1] - q[:, 2],
    "division": lambda q, z: (q / (z[:, :N].abs() + 1)).sum(-1),
    "rsub and alpha": lambda q, z: torch.sub(1.0 - q, z[:, :N], alpha=3).sum(-1),
    "moves": lambda q, z: (torch.cat([q.flip(-1), z], -1).view(-1, 7)[:, 1:6] * V.repeat(2)[:5]).sum(-1),
    "stack": lambda q, z: torch.stack([q[:, 0] * 2, q[:, 1].neg(), z[:, 0]], -1).sum(-1),
    "residual": lambda q, z: 2 * q.sum(-1) - q.tanh().sum(-1),
    "qmix": qmix_mixer(N, S),
    "vdn": vdn_mixer(N, S),
}


def traced(function):
    return trace(function, torch.zeros(1, N, dtype=torch.float64), torch.zeros(1, S, dtype=torch.float64))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bounds_contain_values_and_gradients(name):
    """Sampled values and autograd gradients at random points of random boxes lie within the bounds."""
    torch.manual_seed(0)
    function = FUNCTIONS[name]
    if name == "qmix":
        torch.set_default_dtype(torch.float64)
        try:
            function = qmix_mixer(N, S)
        finally:
            torch.set_default_dtype(torch.float32)
    graph = traced(function)
    generator = np.random.default_rng(1)
    for _ in range(6):
        centre, radius = generator.normal(size=(2, N + S)) * generator.choice([0.3, 2.0])
        low, high = torch.from_numpy(centre - abs(radius))[None], torch.from_numpy(centre + abs(radius))[None]
        least, most, bottom, top = slopes(graph, (low[:, :N], high[:, :N]), (low[:, N:], high[:, N:]))
        for _ in range(10):
            point = low + (high - low) * torch.from_numpy(generator.random(N + S))
            q = point[:, :N].clone().requires_grad_()
            value = function(q, point[:, N:])
            (gradient,) = torch.autograd.grad(value.sum(), q)
            slack = 1e-9 * (1 + abs(value.item()))
            assert bottom - slack <= value.item() <= top + slack
            assert bool((least - 1e-9 <= gradient[0]).all())
            assert bool((gradient[0] <= most + 1e-9).all())


def box(size, radius):
    return torch.full((1, size), -radius), torch.full((1, size), radius)


def test_linear_functions_have_exact_slopes_over_all_inputs():
    least, most, *_ = slopes(traced(lambda q, z: q.sum(-1) + z.tanh().sum(-1)), box(N, math.inf), box(S, math.inf))
    assert least.tolist() == most.tolist() == [1.0] * N


def test_all_inputs_prove_a_residual_mixer_that_structure_cannot():
    least, most, *_ = slopes(traced(FUNCTIONS["residual"]), box(N, math.inf), box(S, math.inf))
    assert least.tolist() == [1.0] * N
    assert most.tolist() == [2.0] * N


def test_a_falling_function_is_bounded_below_zero():
    least, *_ = slopes(traced(lambda q, z: q.sum(-1) - 2 * q.tanh().sum(-1)), box(N, math.inf), box(S, math.inf))
    assert bool((least < 0).all())


def test_an_ignored_utility_has_slope_zero():
    least, most, *_ = slopes(traced(lambda q, z: q[:, 0] + z[:, 0]), box(N, 1.0), box(S, 1.0))
    assert least.tolist() == most.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda q, z: q.round().sum(-1),
        lambda q, z: torch.where(q > 0, q, -q).sum(-1),
        lambda q, z: q.sort(-1).values[:, 0],
        lambda q, z: (q / z[:, :N]).sum(-1),
        lambda q, z: z.gather(1, q.argmax(1, keepdim=True))[:, 0],
        lambda q, z: F.gelu(q).sum(-1),
        lambda q, z: F.softplus(q, beta=1e-9).sum(-1),
        lambda q, z: torch.einsum("bn,bn,bn->b", q, q, q),
        lambda q, z: torch.einsum("...n,...n->...", q, q),
    ],
)
def test_unknown_operators_end_in_unknown(function):
    with pytest.raises(Unknown):
        slopes(traced(function), box(N, 1.0), box(S, 1.0))
