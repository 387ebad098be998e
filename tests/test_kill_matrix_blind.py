"""Targets whose author knew the roles' contracts and none of the claims: faulty ones are refuted, no correct one is."""

import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants import blind

pytestmark = [pytest.mark.long, pytest.mark.thorough]


def named(targets):
    return pytest.mark.parametrize("target", targets, ids=lambda target: f"{target.role}-{target.name}")


@named(blind.BAD)
def test_what_somebody_else_broke_is_refuted(target):
    report = check(target.factory, target.role, fail_fast=True)
    assert report.exit_code == 1, (target.edit, report.verdicts)
    (witness,) = report.witnesses
    assert replay(witness, target.factory) is not None


@named([target for target in blind.ALL_BAD if target.name in blind.REPORTED])
def test_what_is_no_answer_is_an_error_that_says_why(target):
    report = check(target.factory, target.role, fail_fast=True)
    assert report.exit_code == 2
    assert any(blind.REPORTED[target.name] in verdict.reason for verdict in report.verdicts), report.verdicts


@named([target for target in blind.ALL_BAD if target.name in blind.NOT_SEEN])
def test_what_cannot_be_seen_is_said_not_to_apply(target):
    report = check(target.factory, target.role)
    assert report.exit_code == 0
    assert report.verdict(blind.NOT_SEEN[target.name]).outcome == "not_applicable"


@named([target for target in blind.ALL_BAD if target.name in blind.BEYOND])
def test_what_a_role_does_not_promise_is_not_refuted(target):
    """Where one of these is refuted one day it belongs among the mutants."""
    report = check(target.factory, target.role, fail_fast=True)
    assert report.exit_code == 0, report.verdicts


@named(blind.GOOD)
def test_what_somebody_else_got_right_is_not_refuted(target):
    """With fewer cases than a verdict needs; `marlspec selfcheck` takes all, and more seeds."""
    report = check(target.factory, target.role, examples=25)
    assert not report.witnesses, report.verdicts
    wrong = [verdict for verdict in report.verdicts if verdict.outcome == "error"]
    assert all("distinct inputs" in verdict.reason for verdict in wrong), wrong
