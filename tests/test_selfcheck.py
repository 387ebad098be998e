"""`marlspec selfcheck`: the matrix and the false alarms, and when it exits with 1."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.properties.selfcheck import selfcheck_command

pytestmark = [pytest.mark.long, pytest.mark.thorough]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def matrix():
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        return importlib.import_module("kill_matrix")
    finally:
        sys.path.remove(str(ROOT / "tests"))


@pytest.fixture
def few(matrix, monkeypatch):
    """Two mutants and one correct variant instead of all; so few leave most claims without anything to refute."""
    monkeypatch.setattr(
        matrix, "FOLLOWS", {entry.id: "left out" for role in matrix.ROLES for entry in matrix.claims_of(role)}
    )
    bad = {f"replay_buffer {name}": matrix.BAD[f"replay_buffer {name}"] for name in ("empty_zeros", "flags_late")}
    monkeypatch.setattr(matrix, "BAD", bad)
    monkeypatch.setattr(matrix, "GOOD", {"replay_buffer deque": matrix.GOOD["replay_buffer deque"]})
    monkeypatch.setattr(matrix, "LEAST_EXAMPLES", 50)
    return matrix


@pytest.fixture
def selfcheck(few, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")

    def called(*arguments):
        code = run(["selfcheck", "--jobs", "1", "--seeds", "1", *arguments])
        return code, capsys.readouterr().out

    return called


def test_every_family_is_found(matrix):
    roles = {target.role for target in matrix.BAD.values()}
    assert roles == {target.role for target in matrix.GOOD.values()}
    assert {"mixer", "game", "replay_buffer", "target_network", "learner"} <= roles


def test_the_table_says_what_refutes_and_how(selfcheck):
    code, printed = selfcheck()
    assert code == 0
    assert "2 of 2 mutants refuted; survivors: none" in printed
    assert "1 correct variants, 1 seeds each: 0 false alarms" in printed
    (line,) = [line for line in printed.splitlines() if "flags_late" in line]
    assert [part.strip() for part in line.split("│")[2:4]] == ["replay_buffer", "replay.whole"]


def test_a_mutant_that_survives_ends_with_1(selfcheck, few):
    few.BAD["replay_buffer sound"] = replace(few.GOOD["replay_buffer deque"], name="sound")
    code, printed = selfcheck()
    assert code == 1
    assert "survivors: replay_buffer sound" in printed


def test_a_claim_that_refutes_nothing_first_ends_with_1(selfcheck, few, monkeypatch):
    monkeypatch.setattr(few, "FOLLOWS", {claim: why for claim, why in few.FOLLOWS.items() if claim != "replay.copies"})
    code, printed = selfcheck("--roles", "replay_buffer")
    assert code == 1
    assert "claims that refute nothing first, theorems apart: replay.copies" in printed


@pytest.mark.parametrize("seed", [0, 1])
def test_what_fails_is_an_alarm_with_every_seed_and_too_few_inputs_are_none(few, seed):
    def fails(capacity, example):
        raise OSError("no memory")

    few.GOOD["replay_buffer fails"] = replace(few.GOOD["replay_buffer deque"], factory=fails)
    assert len(few.false_alarms(("replay_buffer fails", seed))[2]) >= 6
    assert few.false_alarms(("replay_buffer deque", seed))[2] == ()


def test_a_false_alarm_ends_with_1(selfcheck, few):
    few.GOOD["replay_buffer flags_late"] = few.BAD["replay_buffer flags_late"]
    code, printed = selfcheck()
    assert code == 1
    assert "replay_buffer flags_late, seed 0: replay.whole" in printed
    assert "1 false alarms" in printed


def test_other_roles_are_left_out(few):
    console = Console(record=True, width=200, quiet=True)
    assert few.selfcheck(["game"], 1, 1, console) == 0


def test_outside_a_checkout_it_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is no checkout of marlspec: run it where the folder tests/mutants is"):
        selfcheck_command([])


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--roles", "mixr"], "did you mean 'mixer'"), (["--seeds", "0"], "at least 1")]
)
def test_bad_arguments_are_refused(arguments, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=words):
        selfcheck_command(arguments)
