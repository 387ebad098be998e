"""Every broken solver and check is refuted with a small witness, no correct one is."""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.claims import claims_of
from marlspec.properties.judge import replay

from .mutants.equilibria import BAD, GOOD

pytestmark = [pytest.mark.long, pytest.mark.thorough]


def names(target):
    return target.name


# The claim that stands for each promise; where that does not refute, all claims are judged.
CLAIM_OF = {
    "distribution": ("nash.distribution", "ce.distribution"),
    "exists": ("nash.exists",),
    "regret": ("nash.regret",),
    "complete": ("nash.complete",),
    "gap": ("ce.gap", "cce.gap"),
    "objective": ("ce.objective",),
    "accepts": ("nash.check_accepts",),
    "refuses": ("nash.check_refuses",),
    "pareto accepts": ("pareto.accepts",),
    "pareto refuses": ("pareto.refuses",),
    "repeatable": ("nash.check_repeatable", "pareto.repeatable"),
}


@pytest.mark.parametrize("target", BAD, ids=names)
def test_mutant_is_refuted_with_a_small_witness(target):
    own = {entry.id for entry in claims_of(target.role)}
    claims = [claim for claim in CLAIM_OF[target.violation.promise] if claim in own]
    report = check(target.factory, target.role, claims=claims, examples=100)
    assert report.exit_code == 1, report.summary()
    (witness,) = report.witnesses
    payoffs = np.array(witness.case.get("second", witness.case)["payoffs"])
    assert len(payoffs) <= 3
    assert payoffs[0].size <= 9
    assert np.abs(payoffs).max() <= 30
    assert replay(witness, target.factory) is not None


# The others follow from these in any solver that is not built to deceive; docs/kill-matrix.md judges all claims.
STRONGEST = {
    "equilibrium_solver": ("nash.regret", "nash.complete", "ce.gap", "cce.gap", "ce.objective"),
    "nash_check": ("nash.check_accepts", "nash.check_refuses"),
    "pareto_check": ("pareto.accepts", "pareto.refuses"),
}


@pytest.mark.parametrize("target", GOOD, ids=names)
def test_correct_variant_is_not_refuted(target):
    report = check(target.factory, target.role, claims=STRONGEST[target.role], examples=100, seed=1)
    assert report.exit_code == 0, [verdict for verdict in report.verdicts if not verdict.ok]
