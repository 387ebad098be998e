"""Every mutant is refuted with a small witness, no correct variant is; `tests/kill_matrix.py` prints the matrix."""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.claims import claims_of
from marlspec.properties.judge import replay
from marlspec.properties.verdicts import Witness

from .mutants import joint_values, mixers, variants

pytestmark = [pytest.mark.long, pytest.mark.thorough]

BAD = (*mixers.BAD, *joint_values.BAD)
GOOD = (*variants.GOOD, *joint_values.GOOD)


# Right for fewer agents: no smaller witness exists.
FAULT_NEEDS_AGENTS = {"four_agents_at_most": 5}


def names(target):
    return target.name


def numbers(witness: Witness):
    values = [np.ravel(witness.case[name]) for name in ("utilities", "state") if name in witness.case]
    return np.concatenate(values) if values else np.zeros(1)


# The claim that stands for each promise; a mutant is judged by the one that it breaks, then, if need be, by all.
CLAIM_OF = {
    "monotone": ("mixer.monotone",),
    "rows": ("mixer.batch", "joint_value.batch"),
    "finite": ("mixer.finite", "joint_value.finite"),
    "repeatable": ("mixer.deterministic", "joint_value.deterministic"),
    "every agent": ("mixer.every_agent",),
    "additive": ("vdn.additive",),
    "state": ("qmix.state_used",),
    "free biases": ("qmix.bias_sign",),
    "igm": ("igm.containment",),
    "regret": ("igm.equivalence",),
}


def judged(target):
    """Judge the broken promise's own claim; where that does not refute, all claims up to the first that does."""
    made = [entry.id for entry in claims_of(target.role)]
    own = [claim for claim in CLAIM_OF[target.violation.promise] if claim in made]
    report = check(target.factory, target.role, claims=own)
    return report if report.exit_code == 1 else check(target.factory, target.role, fail_fast=True)


@pytest.mark.parametrize("target", BAD, ids=names)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = judged(target)
    assert report.exit_code == 1, report.summary()
    (witness,) = report.witnesses
    assert witness.size["n_agents"] <= FAULT_NEEDS_AGENTS.get(target.name, 3)
    assert np.abs(numbers(witness)).max() <= 100
    assert replay(witness, target.factory) is not None


@pytest.mark.parametrize("target", GOOD, ids=names)
def test_correct_variant_is_not_refuted(target):
    report = check(target.factory, target.role, examples=25)
    assert report.exit_code == 0, [verdict for verdict in report.verdicts if not verdict.ok]
    if target.role != "joint_value":
        assert report.verdict("mixer.monotone").outcome == "proved"
        assert report.verdict("mixer.monotone").scope == "architecture: every parameter"
