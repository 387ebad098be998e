"""Every broken step of an algorithm is refuted with a small witness, and no correct one is.

Families: what is a pure function of one batch, each a module of tests/mutants with BAD, GOOD and MEASURES.
"""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants import counterfactual, counterfactual_critics, exploration, policies, policy_losses, returns, td_targets

pytestmark = [pytest.mark.long, pytest.mark.thorough]

FAMILIES = {
    "td_target": td_targets,
    "return_estimator": returns,
    "counterfactual_advantage": counterfactual,
    "counterfactual_critic": counterfactual_critics,
    "policy_loss": policy_losses,
    "policy": policies,
    "epsilon_greedy": exploration,
}
BROKEN, KEPT = 1e-3, 1e-4  # some compute in float32
MOST_NUMBERS = 24  # in all arrays of a witness together
BAD = [target for family in FAMILIES.values() for target in family.BAD]
GOOD = [target for family in FAMILIES.values() for target in family.GOOD]
by_name = {(target.role, target.name): target for target in GOOD}


def named(targets):
    return pytest.mark.parametrize("target", targets, ids=lambda target: f"{target.role}-{target.name}")


def numbers_in(case):
    steps = [case[name] for name in ("first", "second")] if "first" in case else [case]
    return max(sum(np.size(value) for value in step.values()) for step in steps)


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert replay(witness, target.factory) is not None
    assert numbers_in(witness.case) <= MOST_NUMBERS, witness.lines()


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) > BROKEN
    base = by_name[target.role, target.base]
    assert target.violation.amount(base.factory) <= KEPT
    assert issubclass(target.factory, base.factory)


@named(GOOD)
def test_correct_steps_are_not_refuted(target):
    report = check(target.factory, target.role, seed=1, examples=30)  # fewer cases than a verdict needs
    assert not report.witnesses, report.verdicts
    wrong = [verdict for verdict in report.verdicts if verdict.outcome == "error"]
    assert all("distinct inputs" in verdict.reason for verdict in wrong), wrong


@pytest.mark.parametrize("role", FAMILIES)
def test_the_first_correct_step_keeps_every_promise(role):
    target = FAMILIES[role].GOOD[0]
    outcomes = {verdict.outcome for verdict in check(target.factory, role, examples=110).verdicts}
    assert outcomes <= {"holds", "not_applicable"}


@named(GOOD)
def test_correct_steps_keep_every_promise_by_independent_measures(target):
    for promise, amount in FAMILIES[target.role].MEASURES.items():
        assert amount(target.factory) <= KEPT, promise
