"""Targets whose author knew the roles' contracts and none of the claims: faulty ones are refuted, no correct one is."""

import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants import blind

pytestmark = pytest.mark.long

WRITES = "the target wrote into its argument"  # reported for what it is, and no counterexample
NO_AXIS = "observations has shape [2, 2]; return shape [1, 2, 2]"
REPORTED = {
    "writes_into_values": WRITES,
    "clears_next_values": WRITES,
    "writes_into_the_policy": WRITES,
    "writes_into_logits": WRITES,
    "writes_into_utilities": WRITES,
    "one_row_without_axis": NO_AXIS,
}
NOT_SEEN = {
    "fixed_batch_size": "learner.mean"
}  # no gradient of torch: the claim does not apply, and the report says so


def named(targets):
    return pytest.mark.parametrize("target", targets, ids=lambda target: f"{target.role}-{target.name}")


@named(blind.BAD)
def test_what_somebody_else_broke_is_refuted(target):
    report = check(target.factory, target.role, fail_fast=True)
    if target.name in REPORTED:
        assert report.exit_code == 2
        assert REPORTED[target.name] in report.verdicts[0].reason
        return
    if target.name in NOT_SEEN:
        assert report.exit_code == 0
        assert report.verdict(NOT_SEEN[target.name]).outcome == "not_applicable"
        return
    assert report.exit_code == 1, (target.edit, report.verdicts)
    (witness,) = report.witnesses
    assert replay(witness, target.factory) is not None


@named(blind.GOOD)
def test_what_somebody_else_got_right_is_not_refuted(target):
    """With fewer cases than a verdict needs; `marlspec selfcheck` takes all, and more seeds."""
    report = check(target.factory, target.role, examples=25)
    assert not report.witnesses, report.verdicts
    wrong = [verdict for verdict in report.verdicts if verdict.outcome == "error"]
    assert all("distinct inputs" in verdict.reason for verdict in wrong), wrong
