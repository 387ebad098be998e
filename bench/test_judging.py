"""Speed of judging: seconds per target and per structural proof."""

import pytest
import torch

from marlspec.properties import check
from marlspec.properties.proof.graph import trace
from marlspec.properties.proof.structure import prove_monotone
from marlspec.properties.reference_targets import REFERENCE_TARGETS, qmix_mixer

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("target", "role"), REFERENCE_TARGETS)
def test_check(benchmark, target, role):
    """All claims of the role at a budget of 40 batches."""
    benchmark.pedantic(check, (target, role), {"examples": 40}, rounds=3)


def test_structural_proof(benchmark):
    """Trace QMIX's mixer and prove it."""
    mixer = qmix_mixer(3, 4)
    benchmark(lambda: prove_monotone(trace(mixer, torch.zeros(7, 3), torch.zeros(7, 4))))
