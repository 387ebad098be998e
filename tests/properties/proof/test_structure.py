"""The structural prover: proves what is monotone by construction, and never what is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from marlspec.properties.proof.graph import Unknown, trace
from marlspec.properties.proof.structure import prove_monotone
from marlspec.properties.reference_targets import qmix_mixer, vdn_mixer

ROWS, N, S = 7, 3, 4
WEIGHTS = torch.tensor([1.0, -2.0, 0.5])
ONES = torch.ones(N)


def proved(function, constants=False):
    try:
        graph = trace(function, torch.zeros(ROWS, N), torch.zeros(ROWS, S))
        prove_monotone(graph, graph.constants if constants else None)
    except Unknown:
        return False
    return True


def assigned_in_place(q, z):
    copy = q * 1
    copy[:, 0] = -copy[:, 0]
    return copy.sum(-1)


def added_in_place(q, z):
    return (q * 1).sub_(q, alpha=2).sum(-1)


def in_training(module):
    return module.train()


class Both(torch.nn.Module):
    """Rises in eval mode, falls in training mode."""

    def forward(self, q, z):
        return -q.sum(-1) if self.training else q.sum(-1)


def signed_logarithm(x):
    return x.sign() * x.abs().log1p()


MONOTONE = {
    "sum": lambda q, z: q.sum(-1),
    "absolute weights": lambda q, z: (q * z[:, :N].abs()).sum(-1) - z.sum(-1),
    "closure weights": lambda q, z: q @ WEIGHTS.abs(),
    "einsum": lambda q, z: torch.einsum("bn,n->b", q, WEIGHTS.abs()),
    "squared weights": lambda q, z: (q * (z[:, :N] ** 2)).sum(-1),
    "softmax of the state": lambda q, z: (q * z[:, :N].softmax(-1)).sum(-1),
    "ELU plus one of the state": lambda q, z: (q * (F.elu(z[:, :N]) + 1)).sum(-1),
    "two minus signs": lambda q, z: -((-q * z[:, :N].abs()).sum(-1)),
    "sub with alpha -1": lambda q, z: torch.sub(z.sum(-1), q.sum(-1), alpha=-1),
    "layer norm of the state": lambda q, z: (q * F.layer_norm(z, (S,))[:, :N].abs()).sum(-1),
    "maximum": lambda q, z: torch.maximum(q, 0.1 * q).sum(-1),
    "sorted": lambda q, z: (q.sort(-1).values * z[:, :N].abs()).sum(-1),
    "detached state": lambda q, z: (q * z.detach()[:, :N].exp()).sum(-1),
    "no gradient": lambda q, z: torch.no_grad()(lambda: q.sum(-1))(),
    "constant index": lambda q, z: q[:, [2, 1, 0]].sum(-1),
    "straight through": lambda q, z: (q + (q.round() - q).detach()).sum(-1),
    "hidden ELU": lambda q, z: F.elu(q @ z[:, :, None][:, :N].abs()[0] + z[:, :1]).sum(-1),
    "dropout in eval": lambda q, z: F.dropout(q, training=False).sum(-1),
    "no utilities at all": lambda q, z: z.sum(-1),
    "signed logarithm": lambda q, z: signed_logarithm(q).sum(-1),
    "signed root": lambda q, z: (q.abs().sqrt().tanh() * q.sign()).sum(-1),
    "falls and falls again": lambda q, z: -signed_logarithm(-q).sum(-1),
}

TRAPS = {
    "ELU with negative alpha": lambda q, z: F.elu(q, alpha=-1.0).sum(-1),
    "leaky ReLU with negative slope": lambda q, z: F.leaky_relu(q, -0.1).sum(-1),
    "sub with alpha 1": lambda q, z: torch.sub(z.sum(-1), q.sum(-1), alpha=1),
    "sub with alpha -1 of minus": lambda q, z: torch.sub(z.sum(-1), -q.sum(-1), alpha=-1),
    "gather by argmax": lambda q, z: (q * WEIGHTS).gather(1, q.argmax(1, keepdim=True))[:, 0],
    "index by max": lambda q, z: z.gather(1, q.max(1, keepdim=True).indices)[:, 0],
    "detached subtraction": lambda q, z: q.sum(-1) - 2 * q.detach().sum(-1),
    "free weights": lambda q, z: q @ WEIGHTS,
    "free weights that are positive now": lambda q, z: q @ ONES,
    "softplus with a low threshold": lambda q, z: F.softplus(q, threshold=1).sum(-1),
    "GELU": lambda q, z: F.gelu(q).sum(-1),
    "SiLU": lambda q, z: F.silu(q).sum(-1),
    "cosine": lambda q, z: q.cos().sum(-1),
    "square": lambda q, z: (q**2).sum(-1),
    "square by product": lambda q, z: (q * q).sum(-1),
    "absolute utilities": lambda q, z: q.abs().sum(-1),
    "softmax over agents": lambda q, z: (q.softmax(-1) * q).sum(-1),
    "standardised": lambda q, z: ((q - q.mean(-1, keepdim=True)) / q.std(-1, keepdim=True))[:, 0],
    "division by a utility": lambda q, z: z[:, 0].abs() / q.exp().sum(-1),
    "division by the state": lambda q, z: q.sum(-1) / z[:, 0],
    "branch on utilities": lambda q, z: torch.where(q > 20, -q, q).sum(-1),
    "masked by utilities": lambda q, z: q.masked_fill(q > 20, 0.0).sum(-1),
    "Python branch on utilities": lambda q, z: q.sum(-1) if q.sum() > 0 else -q.sum(-1),
    "in-place assignment": assigned_in_place,
    "in-place subtraction": added_in_place,
    "writes into its input": lambda q, z: q.mul_(2).sum(-1),
    "bits reinterpreted": lambda q, z: q.view(torch.int32).sum(-1).float(),
    "truncated to integers": lambda q, z: q.to(torch.uint8).sum(-1).float(),
    "turned to booleans": lambda q, z: q.bool().sum(-1).float(),
    "dropout in training": lambda q, z: F.dropout(q, training=True).sum(-1),
    "remainder": lambda q, z: q.remainder(3.0).sum(-1),
    "hypernetwork sees utilities": lambda q, z: (q * (q.sum(-1, keepdim=True) + 8 * z[:, :1]).abs()).sum(-1),
    "shape that depends on utilities": lambda q, z: -q[q > 0].sum() + z[:, 0],
    "through numpy": lambda q, z: torch.as_tensor(q.numpy().sum(-1)),
    "difference of cumulative sums": lambda q, z: q.cumsum(-1)[:, 0] - q.cumsum(-1)[:, 1],
    "training mode falls": in_training(Both()),
    "minus one times the maximum": lambda q, z: -q.amax(-1),
    "not straight through": lambda q, z: (q + (q.round() - 2 * q).detach()).sum(-1),
    "almost straight through": lambda q, z: (q[:, :1] + (q.round() - q).detach()).sum(-1),
    "filled with minus one": lambda q, z: (torch.full_like(q, -1.0) * q).sum(-1),
    "sign of another agent": lambda q, z: (q.flip(-1).sign() * q.abs().log1p()).sum(-1),
    "sign of the negative": lambda q, z: ((-q).sign() * q.abs().log1p()).sum(-1),
    "signed and fading": lambda q, z: (q.sign() * q.abs().neg().exp()).sum(-1),
    "signed and lifted below zero": lambda q, z: (q.sign() * (q.abs().log1p() - 1)).sum(-1),
    "signed fraction": lambda q, z: (q.sign() * q.abs().frac()).sum(-1),
    "signs across agents": lambda q, z: (q.sign()[:, :, None] * q.abs().log1p()[:, None, :]).sum((1, 2)),
    "sign of a rounded value": lambda q, z: ((q - 8).sign() * q.abs().log1p()).sum(-1),
}


@pytest.mark.parametrize("name", MONOTONE)
def test_proves_what_is_monotone_by_construction(name):
    assert proved(MONOTONE[name])


@pytest.mark.parametrize("name", TRAPS)
def test_says_unknown_to_a_trap(name):
    assert not proved(TRAPS[name])


def test_the_list_of_traps_holds_no_monotone_function_by_mistake():
    """All but the named ones fall on random pairs."""
    generator = torch.Generator().manual_seed(0)
    harmless = {
        "free weights that are positive now",  # the weights may become negative
        "gather by argmax",  # falls only where the argmax moves to a smaller weight
        "division by the state",  # falls only for negative states, which this test does not draw
        "softplus with a low threshold",  # falls only across the threshold
        "truncated to integers",  # falls only where it wraps around
        "dropout in training",
        "through numpy",
        "writes into its input",
        "turned to booleans",
        "bits reinterpreted",
    }
    for name, function in TRAPS.items():
        if name in harmless:
            continue
        q = torch.randint(-160, 160, (4096, N), generator=generator) / 4
        z = torch.randint(1, 16, (4096, S), generator=generator) / 4
        raised = q + torch.randint(0, 64, q.shape, generator=generator) / 4
        if name == "Python branch on utilities":
            before = torch.stack([function(q[k : k + 1], z[k : k + 1])[0] for k in range(256)])
            after = torch.stack([function(raised[k : k + 1], z[k : k + 1])[0] for k in range(256)])
        else:
            before, after = function(q.clone(), z), function(raised.clone(), z)
        assert (after < before - 1e-3).any(), name


@pytest.mark.parametrize("factory", [vdn_mixer, qmix_mixer])
def test_proves_the_reference(factory):
    assert proved(factory(N, S))


def test_one_missing_absolute_value_unproves_qmix(monkeypatch):
    """Every absolute value of the reference is needed: the proof does not come from somewhere else."""
    from marlspec.reference.decomposition import qmix

    assert proved(qmix_mixer(N, S))
    calls = {"seen": 0, "skip": 0}
    absolute = torch.Tensor.abs

    def sometimes(tensor):
        calls["seen"] += 1
        return tensor if calls["seen"] == calls["skip"] else absolute(tensor)

    monkeypatch.setattr(torch.Tensor, "abs", sometimes)
    monkeypatch.setattr(torch, "abs", sometimes)
    function = qmix_mixer(N, S)
    function(torch.zeros(ROWS, N), torch.zeros(ROWS, S))
    count = calls["seen"]
    assert count == 2, f"{qmix.__name__} takes {count} absolute values"
    for skip in range(1, count + 1):
        calls.update(seen=0, skip=skip)
        assert not proved(function)


def test_signs_of_given_parameters_prove_clipped_weights():
    """Weights that are non-negative by clipping are proved for these parameters, not for every one."""
    weights = torch.nn.Parameter(torch.tensor([0.0, 1.0, 2.0]))
    assert not proved(lambda q, z: q @ weights)
    assert proved(lambda q, z: q @ weights, constants=True)
    negative = torch.nn.Parameter(torch.tensor([0.0, 1.0, -2.0]))
    assert not proved(lambda q, z: q @ negative, constants=True)


# --- randomly composed networks ---------------------------------------------------------------------------------------

UNARY = [
    F.elu, F.relu, torch.tanh, torch.sigmoid, F.softplus, F.selu, F.leaky_relu, torch.neg, torch.abs, F.gelu, F.silu,
    torch.exp, torch.sin, lambda x: x.clamp(-1, 1), lambda x: F.elu(x, alpha=-0.5), lambda x: F.leaky_relu(x, -0.2),
    lambda x: x * 0.5, lambda x: x * -0.5, lambda x: x - 1.0, lambda x: 1.0 - x, lambda x: x.softmax(-1),
    lambda x: x.cumsum(-1) / 4, lambda x: x.flip(-1), lambda x: x.round(), lambda x: x**2,
    lambda x: x - x.mean(-1, keepdim=True),
    lambda x: x.sort(-1).values, lambda x: x.detach(), lambda x: x.amax(-1, keepdim=True).expand_as(x),
]  # fmt: skip
BINARY = [torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum, lambda a, b: torch.where(b > 0, a, -a)]


def random_network(generator):
    """Compose a network from the menus; returns a function of (utilities, state) and keeps its weights in a closure."""
    steps = []
    for _ in range(int(generator.integers(2, 6))):
        kind = generator.choice(["unary", "unary", "linear", "state", "skip"])
        index = int(generator.integers(0, 10**6))
        weight = torch.from_numpy(generator.normal(size=(N, N))).float()
        steps.append((kind, index, weight, bool(generator.random() < 0.7)))

    def network(q, z):
        x, earlier = q, q
        for kind, index, weight, positive in steps:
            before = x
            if kind == "unary":
                x = UNARY[index % len(UNARY)](x)
            elif kind == "linear":
                x = x @ (weight.abs() if positive else weight)
            elif kind == "state":
                factor = z[:, :N].abs() if positive else z[:, :N]
                x = BINARY[index % len(BINARY)](x, factor)
            else:
                x = BINARY[index % len(BINARY)](x, earlier)
            earlier = before
        return x.sum(-1)

    return network


def falsified(network, generator):
    """Whether some pair shows a fall, far above rounding."""
    q = torch.from_numpy(np.round(generator.normal(size=(2048, N)) * generator.choice([1, 4], (2048, 1)) * 4) / 4)
    z = torch.from_numpy(np.round(generator.normal(size=(2048, S)) * 8) / 4)
    raised = q.clone()
    raised[np.arange(2048), generator.integers(0, N, 2048)] += torch.from_numpy(
        generator.choice([0.25, 1.0, 4.0], 2048)
    )
    before, after = network(q.float(), z.float()), network(raised.float(), z.float())
    drop = before - after
    return bool((drop[drop.isfinite()] > 1e-3 * (1 + before[drop.isfinite()].abs())).any())


def test_never_proves_a_random_network_that_a_search_falsifies():
    generator = np.random.default_rng(7)
    count = {"falsified": 0, "proved": 0, "open": 0}
    while count["falsified"] < 220 or count["proved"] < 20:
        networks = [random_network(generator) for _ in range(40)]
        together = trace(
            lambda q, z, networks=networks: torch.stack([network(q, z) for network in networks]),
            torch.zeros(ROWS, N),
            torch.zeros(ROWS, S),
        )
        outputs = together.output.args[0]
        for network, output in zip(networks, outputs, strict=True):
            try:
                prove_monotone(replace(together, output=output))
            except Unknown:
                count["falsified" if falsified(network, generator) else "open"] += 1
            else:
                assert not falsified(network, generator)
                count["proved"] += 1
    print(count)
