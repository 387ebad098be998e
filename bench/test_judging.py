"""W5, speed of judging: seconds per target, and so per role, verdict and example, and per structural proof."""

import pytest
import torch

from marlspec.properties import check
from marlspec.properties.claims import claims_of
from marlspec.properties.proof.graph import trace
from marlspec.properties.proof.structure import prove_monotone
from marlspec.properties.reference_targets import REFERENCE_TARGETS, qmix_mixer

pytestmark = pytest.mark.long

EXAMPLES, FEW = 40, 2


@pytest.mark.parametrize(("target", "role"), REFERENCE_TARGETS)
def test_check(benchmark, target, role):
    """All claims of the role at a budget of 40 batches; the first one at two where nothing is measured."""
    settings = {"examples": FEW, "claims": [claims_of(role)[0].id]} if benchmark.disabled else {"examples": EXAMPLES}
    report = benchmark.pedantic(check, (target, role), settings, rounds=3)
    drawn = [verdict.examples for verdict in report.verdicts]
    benchmark.extra_info.update(
        workload=f"W5/{role}/{target.partition(':')[2]}",
        role=role,
        verdicts=len(drawn),
        examples=sum(drawn),
    )


def test_structural_proof(benchmark):
    """Trace QMIX's mixer and prove it."""
    mixer = qmix_mixer(3, 4)
    benchmark.extra_info["workload"] = "W5/proof of QMIX's mixer"
    benchmark(lambda: prove_monotone(trace(mixer, torch.zeros(7, 3), torch.zeros(7, 4))))
