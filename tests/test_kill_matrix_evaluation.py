"""Every broken evaluator and optimal backup is refuted with a small witness, and no correct one is."""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.evaluation import BAD, GOOD
from .mutants.target import named

pytestmark = [pytest.mark.long, pytest.mark.thorough]

BROKEN, KEPT = 1e-3, 1e-5
SINGLE = {"torch_single": 1e-4, "backup_in_torch": 1e-4}  # compute in float32
SUBJECT = {"evaluator": "return.", "optimal_backup": "bellman."}
by_name = {target.name: target for target in GOOD}
VIOLATIONS = {target.violation.promise: target.violation for target in BAD}


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert replay(witness, target.factory) is not None
    games = [witness.case[name] for name in ("first", "second")] if "first" in witness.case else [witness.case]
    for game in games:
        n_states, *n_actions = np.shape(game["transitions"])[:-1]
        assert n_states <= 3, witness.lines()
        assert len(n_actions) <= 2, witness.lines()
        assert max(n_actions) <= 2, witness.lines()
        assert np.count_nonzero(game.get("rewards", 0)) <= 2, witness.lines()
        assert np.count_nonzero(game.get("q", 0)) <= 3, witness.lines()


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    base = by_name[target.base].factory
    assert target.violation.amount(target.factory) > BROKEN
    assert target.violation.amount(base) <= KEPT
    assert issubclass(target.factory, base) or issubclass(base, target.factory.__mro__[1])


@named(GOOD)
def test_correct_targets_are_not_refuted(target):
    if target.name in ("linear_solve", "backup"):
        report = check(target.factory, target.role, examples=110)
        assert {verdict.outcome for verdict in report.verdicts} == {"holds"}, report.verdicts
    for seed in (1, 2):  # fewer cases than a verdict needs
        report = check(target.factory, target.role, seed=seed, examples=20)
        assert not report.witnesses
        assert all("distinct inputs" in verdict.reason for verdict in report.verdicts if verdict.outcome == "error")


@named(GOOD)
def test_correct_targets_keep_every_promise(target):
    for promise, violation in VIOLATIONS.items():
        if promise.startswith(SUBJECT[target.role]):
            assert violation.amount(target.factory) <= SINGLE.get(target.name, KEPT), promise
