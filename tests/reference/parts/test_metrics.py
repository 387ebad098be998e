"""The file of a run's records: line by line, cut back to a checkpoint's step when a run goes on."""

import importlib.util
import json
import math

import numpy as np
import pytest

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.reference.commands import learner_class
from marlspec.reference.parts import metrics
from marlspec.reference.parts.metrics import EventFiles, Metrics
from marlspec.reference.parts.training import RunOptions


def written(folder, steps=(0, 5, 5, 10)):
    file = Metrics(folder, 0)
    for k, step in enumerate(steps):
        file.write("losses", step, losses=[0.1, float(k)])
    file.close()


def test_each_record_is_there_as_soon_as_it_is_written(tmp_path):
    file = Metrics(tmp_path, 0)
    file.write("losses", 3, seconds=0.25, losses=[1.5])
    assert metrics.read(tmp_path) == [{"kind": "losses", "step": 3, "seconds": 0.25, "losses": [1.5]}]
    file.close()


@pytest.mark.parametrize(("steps", "kept"), [(0, 0), (4, 1), (5, 3), (9, 3), (10, 4), (99, 4)])
def test_a_run_that_goes_on_makes_later_records_again(tmp_path, steps, kept):
    written(tmp_path)
    before = metrics.read(tmp_path)
    file = Metrics(tmp_path, steps)
    file.write("evaluation", 11)
    file.sync()
    file.close()
    assert metrics.read(tmp_path) == [*before[:kept], {"kind": "evaluation", "step": 11}]


@pytest.mark.parametrize("rest", ['{"kind": "losses", "st', '{"kind": "losses", "step": 5}', "5\n", '{"kind": 1}\n'])
def test_a_line_that_was_not_finished_goes(tmp_path, rest):
    written(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(rest)
    Metrics(tmp_path, 10).close()
    assert len(metrics.read(tmp_path)) == 4


def test_numbers_that_are_not_finite_are_null(tmp_path):
    file = Metrics(tmp_path, 0)
    file.write("evaluation", 1, returns=[[math.nan, 1.0], [math.inf, -math.inf]])
    file.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["returns"] == [[None, 1.0], [None, None]]


# --- event files ------------------------------------------------------------------------------------------------------


def test_without_tensorboard_event_files_are_refused_before_there_is_a_folder(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    message = r"not installed: pip install 'marlspec\[tensorboard\]', or leave --tensorboard out"
    with pytest.raises(InputError, match=message):
        EventFiles(tmp_path / "run", 0)
    with pytest.raises(InputError, match=message):
        RunOptions(folder=tmp_path / "run", tensorboard=True)
    assert not RunOptions(folder=tmp_path / "run").tensorboard, "unless asked for, nobody needs it"
    assert list(tmp_path.iterdir()) == []


def test_event_files_need_a_folder(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    with pytest.raises(InputError, match="event files lie in a folder: name it by --folder"):
        RunOptions(tensorboard=True)


def scalars(folder):
    """All scalars of a run's event files as TensorBoard reads them: {tag: {step: value}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def recorded(folder):
    """The same from the lines of JSON, in float32 as TensorBoard has it."""
    found = {}
    for record in metrics.read(folder):
        step, kind = record.pop("step"), record.pop("kind")
        for name, value in record.items():
            array = np.array(value, dtype=np.float32)
            for at in np.ndindex(array.shape):
                found.setdefault("/".join(map(str, [kind, name, *at])), {})[step] = array[at]
    return found


def test_event_files_hold_the_same_numbers_also_of_a_run_that_was_resumed(tmp_path, monkeypatch):
    """Stopped after the records of step 6, and gone on with from the checkpoint of step 4."""
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    options = ["--seeds", "2", "--steps", "8", "--hidden", "4", "--batch-size", "4", "--capacity", "16"]
    often = ["--check-every", "2", "--evaluate-every", "3", "--checkpoint-every", "4", "--episodes", "2"]
    command = ["train", "vdn", "climbing", *options, *often, "--folder", str(tmp_path), "--tensorboard"]
    kind = learner_class("vdn")
    step = kind.step

    def cut_off(learner):
        if learner.t == 7:
            raise KeyboardInterrupt
        step(learner)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            run(command)
    assert run(["train", "vdn", "climbing", "--folder", str(tmp_path), "--resume"]) == 0
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    found = scalars(tmp_path)
    assert found == recorded(tmp_path)
    assert list(found["evaluation/returns/1/0"]) == [0, 3, 6, 8]
    assert list(found["losses/losses/0"]) == [2, 3, 4, 6, 8]
