"""The file of a run's records: line by line, cut back to a checkpoint's step when a run goes on."""

import json
import math

import pytest

from marlspec.reference.parts import metrics
from marlspec.reference.parts.metrics import Metrics


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
