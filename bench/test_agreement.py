"""Agreement is asked of every algorithm, and a form that learns something else is told."""

import json
import subprocess
import sys

import pytest
import torch

from marlspec.reference.parts import training

from . import agreement, machine
from .workloads import COMPILED, DEEP, PLAIN


@pytest.fixture
def _few(monkeypatch):
    """So few updates of so few numbers that each algorithm makes them here, and tracing alone instead of compiling."""
    monkeypatch.setitem(agreement.SETTINGS, "batch_size", 4)
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("algorithm", DEEP)
def test_forms_that_do_the_same_agree(algorithm):
    plain, other = (agreement.trained(algorithm, form, "climbing", 3, "cpu") for form in (PLAIN, COMPILED))
    assert plain.updates == other.updates >= 3
    found = agreement.compared(plain, other)
    assert found["loss"] < agreement.BOUND
    assert found["greedy"] == 0
    assert len(plain.greedy) == agreement.STATES * agreement.SETTINGS["seeds"] * 2


@pytest.mark.usefixtures("_few")
def test_a_form_that_learns_otherwise_is_told(monkeypatch):
    """Its optimiser takes steps that are a tenth longer."""
    right = training.compiled_step

    def wrong(learner):
        for group in learner.optimiser.param_groups:
            group["lr"] *= 1.1
        return right(learner)

    monkeypatch.setattr(training, "compiled_step", wrong)
    plain, other = (agreement.trained("vdn", form, "climbing", 20, "cpu") for form in (PLAIN, COMPILED))
    found = agreement.compared(plain, other)
    assert found["loss"] > agreement.BOUND
    assert not agreement.agrees(found)
    assert agreement.agrees(found | {"loss": agreement.BOUND / 2})
    assert not agreement.agrees(found | {"loss": 0.0, "greedy": 1})


def test_a_loss_that_is_no_number_does_not_agree():
    learned = agreement.Learned(1, [[float("nan")]], [0])
    assert not agreement.agrees(agreement.compared(learned, learned))


@pytest.mark.thorough
def test_the_command_keeps_what_it_finds(tmp_path):
    command = [sys.executable, "-m", "bench.agreement", "--algorithms", "vdn", "--updates", "20"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)], cwd=machine.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "| vdn | compiled | 20 |" in done.stdout
    [folder] = tmp_path.iterdir()
    assert "| vdn | compiled | 20 |" in "\n".join(agreement.told(folder))


def test_no_algorithm_is_no_agreement(capsys):
    assert agreement.main(["--algorithms", "vdm"]) == 2
    assert "vdm" in capsys.readouterr().err


def test_the_page_shows_the_latest(tmp_path):
    folder = tmp_path / agreement.FOLDER
    folder.mkdir()
    result = {"algorithm": "vdn", "form": "compiled", "updates": 1000, "loss": 2.5e-5, "greedy": 0, "states": 256}
    session = {"git": {"revision": "0123456789abcdef"}, "threads": 1}
    for taken in ("2029", "2030"):
        found = {"game": "climbing", "bound": 1e-3, "session": session | {"taken": taken}, "results": [result]}
        (folder / f"{taken}.json").write_text(json.dumps(found), encoding="utf-8")
    text = "\n".join(agreement.told(tmp_path))
    assert "taken 2030" in text
    assert "taken 2029" not in text
    assert "| vdn | compiled | 1000 | 2.5e-05 | 0 of 256 |" in text
    assert agreement.told(tmp_path / "elsewhere") == []
