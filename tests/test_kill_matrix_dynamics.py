"""Every broken game is refuted with a small witness, and no correct one is."""

from functools import cache

import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.dynamics import BAD, GOOD, MEASURES, Tag
from .mutants.target import named

pytestmark = [pytest.mark.long, pytest.mark.thorough, pytest.mark.usefixtures("random_states")]

by_name = {target.name: target for target in GOOD}
LONG = {"late_agents_stay", "caught_agents_return"}  # nobody is late before ten steps


VIOLATIONS = {(target.base, target.violation.promise): target.violation for target in BAD}


@cache
def kept_by(base, promise):
    return VIOLATIONS[base, promise].amount(by_name[base].factory)


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert witness.case.get("copies", 1) <= 2
    assert len(witness.case.get("choices", [])) <= (12 if target.name in LONG else 6)
    if target.name != "own_generator":
        assert replay(witness, target.factory) is not None


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) == 1
    assert kept_by(target.base, target.violation.promise) == 0


@named(GOOD)
def test_correct_games_are_not_refuted(target):
    if target.name not in ("slippery_walk", "masked_tag"):  # fewer cases than a verdict needs
        assert not check(target.factory, target.role, seed=1, examples=16).witnesses
        return
    report = check(target.factory, target.role, examples=120)
    assert {verdict.outcome for verdict in report.verdicts} <= {"holds", "not_applicable"}, report.verdicts
    expected = "not_applicable" if issubclass(target.factory, Tag) else "holds"
    assert report.verdict("game.copies").outcome == expected


@named(GOOD)
def test_correct_games_keep_every_promise(target):
    if target.name != "continuous_tag":
        for measure in MEASURES[not issubclass(target.factory, Tag)]:
            assert measure(target.factory) == 0, measure.__name__
