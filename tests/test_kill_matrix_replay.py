"""Every broken replay buffer is refuted with a small witness, and no correct one is."""

import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.replay import BAD, GOOD
from .mutants.target import named

pytestmark = [pytest.mark.long, pytest.mark.thorough, pytest.mark.usefixtures("random_states")]

by_name = {target.name: target for target in GOOD}
MEASURES = {target.violation.promise: target.violation for target in BAD}
DECLARED = {"replay.copies": {"referring"}, "replay.coverage": {"prioritised"}}  # what they say they do not promise


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert len(witness.case["operations"]) <= 4, witness.lines()
    assert witness.case["capacity"] <= 4
    assert witness.case["agents"] <= 2
    assert replay(witness, target.factory) is not None


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) == 1
    assert target.violation.amount(by_name[target.base].factory) == 0


@named(GOOD)
def test_correct_buffers_are_not_refuted(target):
    enough = target.name in ("ring", "episode_ring", "deque")
    report = check(target.factory, target.role, examples=110 if enough else 20)
    assert not report.witnesses
    for verdict in report.verdicts:
        assert verdict.outcome in (("holds", "not_applicable") if enough else ("error", "not_applicable")), verdict
        assert verdict.outcome != "error" or "distinct inputs" in verdict.reason
    left_out = {verdict.claim_id for verdict in report.verdicts if verdict.outcome == "not_applicable"}
    assert left_out == {claim for claim, names in DECLARED.items() if target.name in names}
    assert not check(target.factory, target.role, seed=1, examples=20).witnesses


@named(GOOD)
def test_correct_buffers_keep_every_promise(target):
    for promise, violation in MEASURES.items():
        if target.name not in DECLARED.get(promise, ()):
            assert violation.amount(target.factory) == 0, promise


# --- what cannot be judged --------------------------------------------------------------------------------------------


class NoLength:
    def __init__(self, capacity, example):
        pass

    def add(self, transitions):
        pass

    def sample(self, batch_size):
        return {}


class NoFields(NoLength):
    def __len__(self):
        return 1


class Undeclared(by_name["ring"].factory):
    eviction = "youngest"


class ListWhenShort(by_name["ring"].factory):
    def sample(self, batch_size):
        return super().sample(batch_size) if batch_size <= len(self) or not len(self) else []


def test_what_is_no_batch_is_an_error_where_a_refusal_was_due():
    report = check(ListWhenShort, "replay_buffer", claims=["replay.short"], examples=110)
    assert report.exit_code == 2
    assert "must return a mapping with observations" in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (NoLength, "without __len__"),
        (NoFields, "must return a mapping with observations"),
        (Undeclared, "eviction = 'youngest'"),
        (lambda capacity: None, "positional argument"),
    ],
)
def test_what_is_no_buffer_is_an_error(factory, words):
    report = check(factory, "replay_buffer", claims=["replay.whole"], examples=110)
    assert report.exit_code == 2
    assert words in report.verdicts[0].reason
