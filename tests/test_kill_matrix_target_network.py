"""Every broken target network is refuted with a small witness, and no correct one is."""

import numpy as np
import pytest
import torch

from marlspec.properties import check
from marlspec.properties.judge import replay

from .mutants.target import named
from .mutants.target_networks import BAD, GOOD

pytestmark = [pytest.mark.long, pytest.mark.thorough, pytest.mark.usefixtures("random_states")]

by_name = {target.name: target for target in GOOD}
MEASURES = {target.violation.promise: target.violation for target in BAD}
NEEDED = {
    "target_network.sync": "sync",
    "target_network.soft": "soft_update",
    "target_network.gradient": "loss",
    "target_network.saved": "state_dict",
}


def promised(target, promise):
    if promise == "target_network.start":
        return getattr(target.factory, "starts", "equal") == "equal"
    return hasattr(target.factory, NEEDED.get(promise, "__init__"))


@named(BAD)
def test_mutant_is_refuted_with_a_small_witness(target):
    report = check(target.factory, target.role, claims=[target.violation.promise])
    assert report.exit_code == 1, report.verdicts
    (witness,) = report.witnesses
    assert len(witness.case.get("operations", [])) <= 3, witness.lines()
    assert replay(witness, target.factory) is not None


@named(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target):
    assert target.violation.amount(target.factory) == 1
    assert target.violation.amount(by_name[target.base].factory) == 0


@named(GOOD)
def test_correct_target_networks_are_not_refuted(target):
    enough = target.name in ("agents", "functional")
    report = check(target.factory, target.role, examples=110 if enough else 20)
    assert not report.witnesses
    for verdict in report.verdicts:
        expected = ("holds" if enough else "error") if promised(target, verdict.claim_id) else "not_applicable"
        assert verdict.outcome == expected, verdict
        assert expected != "error" or "distinct inputs" in verdict.reason
    assert not check(target.factory, target.role, seed=1, examples=20).witnesses


@named(GOOD)
def test_correct_target_networks_keep_every_promise(target):
    for promise, violation in MEASURES.items():
        if promised(target, promise):
            assert violation.amount(target.factory) == 0, promise


# --- what cannot be judged --------------------------------------------------------------------------------------------


class NoSync:
    def __init__(self):
        self.online = self.target = {"w": np.zeros(2)}


class UnsavableState(by_name["agents"].factory):
    def state_dict(self):
        return {"w": lambda: None}


def test_a_state_that_cannot_be_saved_is_an_error():
    report = check(UnsavableState, "target_network", claims=["target_network.saved"], examples=110)
    assert report.exit_code == 2
    assert "called as torch.save(state_dict())" in report.verdicts[0].reason


class OtherShapes(by_name["functional"].factory):
    def __init__(self):
        super().__init__()
        self.target["w"] = np.zeros((3, 3))


class FrozenArrays(by_name["functional"].factory):
    def __init__(self):
        super().__init__()
        self.online["w"].flags.writeable = False


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (NoSync, "without sync or soft_update"),
        (OtherShapes, "the same tensors by name and shape"),
        (FrozenArrays, "cannot be written"),
    ],
)
def test_what_is_no_target_network_is_an_error(factory, words):
    report = check(factory, "target_network", claims=["target_network.between"], examples=110)
    assert report.exit_code == 2
    assert words in report.verdicts[0].reason


# --- numbers out of range ---------------------------------------------------------------------------------------------


class RunsAway(by_name["agents"].factory):
    """Training ends in infinities, which a correct soft update may turn into NaN."""

    def learn(self):
        with torch.no_grad():
            for value in self.online.parameters():
                value *= float("inf")

    def loss(self):
        return sum(value.sum() for value in self.online.parameters())


def test_training_that_runs_away_is_not_the_target_networks_fault():
    assert not check(RunsAway, "target_network", examples=30).witnesses
