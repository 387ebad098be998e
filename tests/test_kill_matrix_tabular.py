"""Every broken update of tabular Q-learning is refuted with a small witness, and no correct one is."""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.tabular import BAD, GOOD
from .mutants.target import named

pytestmark = [pytest.mark.long, pytest.mark.thorough]

BROKEN, KEPT = 1e-3, 1e-12
SINGLE = {"single_table": 1e-5}  # computes in float32
by_name = {target.name: target for target in GOOD}
VIOLATIONS = {target.violation.promise: target.violation for target in BAD}


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert replay(witness, target.factory) is not None
    steps = [witness.case[name] for name in ("first", "second")] if "first" in witness.case else [witness.case]
    for step in steps:
        assert np.size(step["q"]) <= 9, witness.lines()
        assert np.abs(np.ravel(step["q"])).max() <= 2
        assert np.abs(np.ravel(step["r"])).max() <= 2


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) > BROKEN
    base = by_name[target.base]
    assert target.violation.amount(base.factory) <= SINGLE.get(base.name, KEPT)
    assert issubclass(target.factory, base.factory)


@named(GOOD)
def test_correct_updates_are_not_refuted(target):
    if target.name in ("own_table", "joint_table"):
        report = check(target.factory, target.role, examples=110)
        assert {verdict.outcome for verdict in report.verdicts} == {"holds"}, report.verdicts
    for seed in (1, 2):  # fewer cases than a verdict needs
        report = check(target.factory, target.role, seed=seed, examples=20)
        assert not report.witnesses
        assert all("distinct inputs" in verdict.reason for verdict in report.verdicts if verdict.outcome == "error")


@named(GOOD)
def test_correct_updates_keep_every_promise(target):
    role = target.role.removesuffix("_update").replace("tabular", "iql")
    for promise, violation in VIOLATIONS.items():
        if promise.startswith(role):
            assert violation.amount(target.factory) <= SINGLE.get(target.name, KEPT), promise
