"""Attacks on the judge that once succeeded: none of these may be called proved, refuted wrongly, or end in a crash."""

import functools
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from marlspec.properties import check
from marlspec.properties.proof.graph import Unknown, trace
from marlspec.properties.proof.structure import prove_monotone
from marlspec.properties.reference_targets import qmix_mixer


def given(function, n_agents=3, state_size=2):
    """Whether the structural proof succeeds, alone."""
    try:
        prove_monotone(trace(function, torch.zeros(7, n_agents), torch.zeros(7, state_size)))
    except Unknown:
        return False
    return True


def outer_square(q, s):
    v = torch.cat([torch.ones(len(q)), 8 - s[:, 0] / 16])
    return q.sum(1) * torch.outer(v, v)[: len(q), len(q) :].diagonal()


# Each falls somewhere in the state or the utilities, mostly where random inputs do not look.
FALLING = {
    "bounds through a division": lambda q, s: q.sum(1) * (2.5 - (torch.sigmoid(s[:, 0] / 16 - 8) + 1) / 0.5),
    "half of a sigmoid": lambda q, s: q.sum(1) * ((torch.sigmoid(s[:, 0]) + 1) / 2 - 0.75),
    "outer product taken for a square": outer_square,
    "square of small integers": lambda q, s: q.sum(1) * (s[:, 0] / 4).to(torch.int8).square().to(q.dtype),
    "absolute value of small integers": lambda q, s: q.sum(1) * s[:, 0].to(torch.int8).abs().to(q.dtype),
    "truncated bounds": lambda q, s: q.sum(1) * ((0.5 + torch.sigmoid(8 - s[:, 0] / 16)).long() - 0.4),
    "overflow of a sum": lambda q, s: q.sum(1) * torch.relu(s).sum(1, dtype=torch.int8).to(q.dtype),
    "booleans": lambda q, s: -q.sum(1) * (-s[:, 0].exp()).bool().to(q.dtype),
    "complex square": lambda q, s: q.sum(1) * (torch.complex(0 * s[:, 0], s[:, 0]) ** 2).real,
    "statistics made of utilities": lambda q, s: F.batch_norm(torch.zeros(1, len(q)), q.sum(1), torch.ones(len(q)))[0],
    "variance made of utilities": lambda q, s: F.batch_norm(torch.ones(1, len(q)), torch.zeros(len(q)), q.sum(1).exp())[
        0
    ],
    "softplus with a tiny beta": lambda q, s: F.softplus(q, beta=1e-9, threshold=20).sum(1),
    "dropout of unknown mode": lambda q, s: torch.native_dropout(q, 0.5, None)[0].sum(1),
}


@pytest.mark.parametrize("name", FALLING)
def test_no_structural_proof(name):
    assert not given(FALLING[name])


@pytest.mark.parametrize(
    "function",
    [
        lambda q, s: (q - 9999 * (q / 64 / 64).to(torch.int32).to(q.dtype)).sum(1),
        lambda q, s: (
            q.sum(1)
            - F.relu(q / 64 - 64).sum(1) * 640
            + torch.cat([q[:, :1] * 0, torch.full((len(q), 1), 100)], 1)[:, 1]
        ),
        lambda q, s: (
            q * torch.tensor([1.0, -1.0, 1.0], dtype=q.dtype)[(torch.sigmoid(s[:, 0] / 64 - 8) * 2).long()][:, None]
        ).sum(1),
    ],
    ids=["cast to integers", "integers in a cat", "table indexed by an interval"],
)
def test_no_interval_proof(function):
    report = check(lambda n, s: function, "mixer", parameters="given", examples=20, claims=["mixer.monotone"])
    assert report.verdict("mixer.monotone").outcome != "proved"


def test_scope_of_a_corollary_is_that_of_its_theorem():
    def factory(n, s):
        weights = nn.Parameter(torch.rand(n) + 0.1)
        return lambda q, z: (q * weights).sum(1)

    report = check(factory, "mixer", parameters="given", claims=["mixer.monotone", "igm.containment"])
    assert report.verdict("igm.containment").outcome == "proved"
    assert report.verdict("igm.containment").scope == "these parameters"


class Child(nn.Module):
    def forward(self, x):
        return x - (F.relu(x / 64 - 64) * 640 if self.training else 0)


class TrainingChild(nn.Module):
    """A module in eval mode, one part of which was left in training mode."""

    def __init__(self, n_agents, state_size):
        super().__init__()
        self.child = Child()
        self.eval()
        self.child.train()

    def forward(self, q, z):
        return self.child(q).sum(1)


def test_the_trace_keeps_every_parts_mode():
    report = check(TrainingChild, "mixer", examples=20, claims=["mixer.monotone"])
    assert report.verdict("mixer.monotone").outcome != "proved"


def test_batch_size_as_a_control_path_is_refuted():
    report = check(lambda n, s: lambda q, z: q.sum(1) if len(q) < 100 else -q.sum(1), "mixer", fail_fast=True)
    assert report.exit_code == 1


def test_linear_with_a_vector_is_a_sum():
    report = check(
        lambda n, s: lambda q, z: F.linear(q, torch.ones(q.shape[1], dtype=q.dtype)),
        "vdn_mixer",
        claims=["vdn.additive"],
    )
    assert report.verdict("vdn.additive").outcome == "proved"


def test_dropout_in_training_does_not_crash_a_chosen_claim():
    class Dropping(nn.Module):
        def __init__(self, n, s):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, q, z):
            return self.drop(q).sum(1)

    check(Dropping, "mixer", examples=20, claims=["mixer.monotone"])


def test_many_agents_do_not_hang():
    sizes = [(30, 2), (2, 2)]
    report = check(lambda n, s: lambda q, z: q.sum(1), "mixer", sizes=sizes, examples=20, claims=["igm.containment"])
    assert report.verdict("igm.containment").outcome == "holds"


class Hostile:
    """Answers to every name."""

    def __getattr__(self, name):
        if name in ("arrays", "min_slope"):
            raise AttributeError(name)
        return lambda *_: 1 / 0

    def __call__(self, q, z):
        return q.sum(1)


class Slotted:
    __slots__ = ("weights",)

    def __init__(self, n):
        self.weights = nn.Parameter(torch.rand(n))

    def __call__(self, q, z):
        return (q * self.weights).sum(1)


def test_objects_that_answer_to_every_name_are_judged():
    assert check(lambda n, s: Hostile(), "mixer", examples=40, claims=["mixer.monotone"]).ok


def test_parameters_in_slots_are_found():
    report = check(lambda n, s: Slotted(n), "mixer", examples=40, claims=["mixer.monotone"])
    assert report.verdict("mixer.monotone").outcome == "refuted"


def casting_back(n, s):
    """A correct mixer in single precision that answers in the caller's type."""
    mixer = qmix_mixer(n, s)
    module = mixer.__closure__[0].cell_contents.float()
    assert isinstance(module, nn.Module)
    return lambda q, z: mixer(q.float(), z.float()).to(q.dtype)


def test_single_precision_inside_is_no_fault():
    report = check(casting_back, "qmix_mixer", examples=100)
    assert report.dtype == "float32"
    assert report.exit_code == 0, [verdict for verdict in report.verdicts if not verdict.ok]


def test_half_precision_is_judged_in_its_own_type():
    def factory(n, s):
        layer = nn.Linear(s, n).to(torch.bfloat16)
        return lambda q, z: (q * layer(z).abs()).sum(1)

    report = check(factory, "mixer", examples=60)
    assert report.dtype == "bfloat16"
    assert report.verdict("mixer.monotone").outcome == "proved"


@functools.lru_cache(None)
def cached_ones(rows, columns):
    return torch.ones(rows, columns)


def test_caches_of_the_target_hold_real_tensors_afterwards():
    check(lambda n, s: lambda q, z: (q * cached_ones(*q.shape)).sum(1), "mixer", examples=20, claims=["mixer.monotone"])
    assert type(cached_ones(7, 3)) is torch.Tensor


def test_a_row_that_is_undefined_alone_is_refuted():
    def normalised(q, z):
        return (q - q.mean(0)).sum(1) / (q.std(0).sum() + 1e-3)

    report = check(lambda n, s: normalised, "mixer", examples=60, fail_fast=True)
    assert report.exit_code == 1


def test_writing_into_larger_batches_only_is_refuted():
    def clamping(q, z):
        if len(q) > 1:
            q.clamp_(-1e9, 1.0)
        return q.sum(1)

    report = check(lambda n, s: clamping, "mixer", examples=60, claims=["mixer.pure"])
    assert report.verdict("mixer.pure").outcome == "refuted"


def test_draws_do_not_depend_on_the_modules_at_hand(tmp_path, monkeypatch):
    """hypothesis mixes constants of local modules into its choices of numbers; verdicts must not follow."""
    from marlspec.properties import strategies

    def seeds():
        drawn = []
        strategies.for_each_draw(
            1, lambda draw: drawn.append(draw.seed), examples=400, seed=0, engine="hypothesis", redraw=False
        )
        return drawn

    before = seeds()
    (tmp_path / "local_constants.py").write_text("A = [" + ", ".join(str(3**k) for k in range(10, 40)) + "]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("local_constants")
    assert "local_constants" in sys.modules
    assert seeds() == before
