"""Every broken game is refuted with a small witness, and no correct one is."""

from functools import cache

import numpy as np
import pytest
import torch

from marlspec.properties import check
from marlspec.properties.claims import claims_of
from marlspec.properties.judge import replay

from .mutants.dynamics import BAD, GOOD, MEASURES, Tag

pytestmark = [pytest.mark.long, pytest.mark.thorough]

by_name = {target.name: target for target in GOOD}
LONG = {"late_agents_stay", "caught_agents_return"}  # nobody is late before ten steps


VIOLATIONS = {(target.base, target.violation.promise): target.violation for target in BAD}


@cache
def kept_by(base, promise):
    return VIOLATIONS[base, promise].amount(by_name[base].factory)


def named(targets):
    return pytest.mark.parametrize("target", targets, ids=lambda target: target.name)


@pytest.fixture(autouse=True)
def random_states():
    """The measures seed the global generators."""
    states = np.random.get_state(), torch.get_rng_state()
    yield
    np.random.set_state(states[0])
    torch.set_rng_state(states[1])


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert witness.case.get("copies", 1) <= 2
    assert len(witness.case["choices"]) <= (12 if target.name in LONG else 6)
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


def test_each_claim_is_broken_by_a_mutant():
    assert {claim.id for claim in claims_of("game")} == {target.violation.promise for target in BAD}


def test_names_are_unique_and_descriptions_whole():
    assert len({target.name for target in BAD + GOOD}) == len(BAD + GOOD)
    assert all(target.edit.endswith(".") for target in BAD + GOOD)
    assert {target.base for target in BAD} <= set(by_name)
