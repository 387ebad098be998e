"""Every broken learner is refuted with a small witness, and no correct one is."""

import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.learners import BAD, GOOD
from .mutants.target import named

pytestmark = [pytest.mark.long, pytest.mark.thorough, pytest.mark.usefixtures("random_states")]

by_name = {target.name: target for target in GOOD}
MEASURES = {target.violation.promise: target.violation for target in BAD}
NOTHING = {name: {"learner.padding"} for name in ("summed", "double")}
LEFT_OUT = {  # what each does not promise
    **NOTHING,
    "declared_sum": {"learner.padding", "learner.clip", "learner.mean"},
    "actor_critic": {
        *("learner.padding", "learner.target", "learner.bootstraps", "learner.resume", "learner.tiny"),
    },
    "episodes": {"learner.tiny"},
}


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert witness.case.get("rows", 2) <= 3, witness.lines()
    assert witness.case.get("updates", 1) + witness.case.get("before", 0) <= 4
    if target.name != "noisy_targets":  # its noise goes by how often it was ever called
        assert replay(witness, target.factory) is not None


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) == 1
    assert target.violation.amount(by_name[target.base].factory) == 0


@named(GOOD)
def test_correct_learners_are_not_refuted(target):
    enough = target.name == "episodes"
    report = check(target.factory, target.role, examples=100 if enough else 12)
    assert not report.witnesses
    left_out = {verdict.claim_id for verdict in report.verdicts if verdict.outcome == "not_applicable"}
    assert left_out == LEFT_OUT[target.name]
    for verdict in report.verdicts:
        if enough or verdict.claim_id == "learner.tiny":
            assert verdict.outcome in ("holds", "not_applicable"), verdict
        else:
            assert verdict.outcome == "not_applicable" or "distinct inputs" in verdict.reason, verdict


@named([target for target in GOOD if target.name != "actor_critic"])
def test_correct_learners_keep_every_promise(target):
    for promise, violation in MEASURES.items():
        if promise not in LEFT_OUT[target.name]:
            assert violation.amount(target.factory) == 0, promise


# --- what cannot be judged --------------------------------------------------------------------------------------------


class NoOnline:
    def learn(self, batch):
        pass


class OtherFields(by_name["summed"].factory):
    def learn(self, batch):
        return batch["returns"]


@pytest.mark.parametrize(("factory", "words"), [(NoOnline, "without online"), (OtherFields, "KeyError: 'returns'")])
def test_what_is_no_learner_is_an_error(factory, words):
    report = check(factory, "learner", claims=["learner.moves"], examples=100)
    assert report.exit_code == 2
    assert words in report.verdicts[0].reason
