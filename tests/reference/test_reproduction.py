"""Reproduced results: runs that go on where they were stopped, intervals, figures and pages."""

import json
from dataclasses import replace

import numpy as np
import pytest

from marlspec.cli import run as command
from marlspec.errors import InputError
from marlspec.reference.commands import learner_class
from marlspec.reference.reproduction import runs
from marlspec.reference.reproduction.experiments import EXPERIMENTS, Curve, Figure, Tables
from marlspec.reference.reproduction.figures import (
    bootstrap,
    draw,
    end_table,
    environment_steps,
    findings,
    settings_table,
)
from marlspec.reference.reproduction.published import PUBLISHED
from marlspec.reference.reproduction.tables import ALGORITHMS, Learned, as_markdown, best_fit, learned

pytestmark = [pytest.mark.long, pytest.mark.thorough]

SCALE = runs.Scale(seeds=3)
FIGURE = Figure(
    name="small",
    title="Small",
    caption="Two algorithms.",
    source="nowhere",
    game="climbing",
    curves=(Curve("ca2c", "Central", 50, published=7.0), Curve("ia2c", "Independent", 50, {"copies": 4})),
    settings={"hidden": (8,), "copies": 8},
    reference_lines={"(A, A)": 11.0},
)


@pytest.fixture
def found(tmp_path):
    return runs.records(FIGURE, tmp_path, SCALE)


def test_a_record_has_an_evaluation_at_the_start_and_at_equal_distances(found):
    record = found["ca2c"]
    assert record.steps == list(range(0, 51, 2))
    assert record.table.shape == (runs.EVALUATIONS + 1, 3)
    payoffs = {11.0, -30.0, 0.0, 7.0, 6.0, 5.0}
    assert set(record.table.ravel()) <= payoffs, "one-step episodes of a deterministic joint action"
    assert environment_steps(record)[-1] == 50 * 8
    assert found["ia2c"].settings["copies"] == 4


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(found, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(curve, steps, returns):
        if steps in (10, 30):
            raise StoppedError

    folder = tmp_path / "again"
    for _ in range(4):  # each algorithm stops twice
        with pytest.raises(StoppedError):
            runs.records(FIGURE, folder, SCALE, stop)
    again = runs.records(FIGURE, folder, SCALE, stop)
    for name, record in found.items():
        assert (again[name].steps, again[name].returns) == (record.steps, record.returns)


def test_a_finished_run_is_not_made_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "run", None)
    assert runs.records(FIGURE, tmp_path, SCALE) == found


def test_a_folder_of_other_settings_is_refused(found, tmp_path):
    with pytest.raises(InputError, match="hidden"):
        runs.records(replace(FIGURE, settings={"hidden": (9,), "copies": 8}), tmp_path, SCALE)


def test_the_interval_of_the_mean():
    values = np.random.default_rng(3).normal(5, 2, 12)
    low, high = bootstrap(values)
    resampled = np.random.default_rng(4).choice(values, (200_000, 12)).mean(axis=1)
    # 10 000 resamples know such a quantile to 0.025: its standard error where the density of the mean is 0.065
    assert np.allclose([low, high], np.quantile(resampled, [0.025, 0.975]), atol=0.08)
    assert bootstrap(np.full(5, 2.5)) == (2.5, 2.5)


def test_the_figure_and_its_tables(found, tmp_path):
    draw(FIGURE, found, tmp_path / "small.png")
    assert (tmp_path / "small.png").read_bytes()[:4] == b"\x89PNG"
    table = end_table(FIGURE, found)
    assert f"| {found['ca2c'].table[-1].mean():.2f} |" in table
    assert table.splitlines()[3].endswith("| no number |  |")
    there = int((found["ca2c"].table[-1] == 7).sum())
    assert table.splitlines()[2].endswith(f"| 7 | {there} of 3 |")
    assert "| copies | 8 | 4 |" in settings_table(FIGURE, found)


def test_what_the_source_finds_is_compared_by_intervals_at_the_end():
    def ends_at(*returns):
        return runs.Record({"copies": 1}, [0, 10], [[0.0] * len(returns), list(returns)], 1.0)

    figure = replace(FIGURE, above=(("ca2c", "ia2c"),))
    high, low, wide = ends_at(7.0, 7.0, 6.0), ends_at(1.0, 2.0, 1.0), ends_at(9.0, -3.0, 0.0)
    assert "Central ends above Independent" in findings(figure, {"ca2c": high, "ia2c": low})
    assert "do not overlap" in findings(figure, {"ca2c": high, "ia2c": low})
    assert "The source's order is not shown" in findings(figure, {"ca2c": high, "ia2c": wide})
    assert "Central ends below Independent" in findings(figure, {"ca2c": low, "ia2c": high})
    assert findings(FIGURE, {"ca2c": low, "ia2c": high}) == ""


def test_records_are_written_whole(found, tmp_path):
    runs.write(tmp_path / "small.json", found)
    read = json.loads((tmp_path / "small.json").read_text())
    assert read["ca2c"]["returns"] == found["ca2c"].returns


# --- tables -----------------------------------------------------------------------------------------------------------

TABLES = Tables("few", "Few", "Two games.", "nowhere", ("linear", "two-step-book"), 20, {"hidden": (8,)})


def test_tables_are_learned_once(tmp_path, monkeypatch):
    results = learned(TABLES, tmp_path, SCALE)
    assert [(result.game, result.algorithm) for result in results] == [
        (game, algorithm) for game in TABLES.games for algorithm in ALGORITHMS
    ]
    assert np.shape(results[0].tables) == (3, 2, 2)
    monkeypatch.setattr("marlspec.reference.reproduction.tables.train", None)
    assert learned(TABLES, tmp_path, SCALE) == results
    with pytest.raises(TypeError):
        learned(replace(TABLES, steps=30), tmp_path, SCALE)  # other settings are trained anew


def test_a_row_of_the_table():
    exact = [[[1.0, 5.0], [5.0, 9.0]], [[1.0, 5.0], [5.0, 9.5]]]
    (row,) = as_markdown([Learned("vdn", "linear", {"gamma": 1.0}, exact, 1.0)]).splitlines()[2:]
    assert "5.00 (0.00), 9.25 (0.25)" in row
    assert row.endswith("| 0.250 | (B, B) x 2 |")


def test_best_fits():
    from marlspec.games.catalogue import get

    assert np.allclose(best_fit("vdn", get("monotonic"), 1.0), [[-2.5, 2.5], [2.5, 7.5]])
    assert np.allclose(best_fit("qmix", get("monotonic"), 1.0), [[0, 0], [0, 10]])
    assert np.allclose(best_fit("qmix", get("two-step-book"), 0.99), 0.99 * np.array([[9, 9], [10, 10]]))


# --- the command and the list of experiments --------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_can_be_run(name):
    """Algorithms exist and take the settings; published tables are there."""
    experiment = EXPERIMENTS[name]
    if isinstance(experiment, Tables):
        assert all((algorithm, game) in PUBLISHED for algorithm in ALGORITHMS for game in experiment.games)
        return
    for curve in experiment.curves:
        learner_class(curve.algorithm).config_type(**experiment.settings | curve.settings)
    drawn = {curve.algorithm for curve in experiment.curves}
    assert {algorithm for pair in experiment.above for algorithm in pair} <= drawn
    assert experiment.source_settings


def test_an_unknown_experiment(capsys):
    assert command(["reproduce", "chess"]) == 2
    assert "the experiments are decomposition, climbing" in capsys.readouterr().err


def test_the_command_writes_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(EXPERIMENTS, "small", FIGURE)
    monkeypatch.setattr(runs, "QUICK", SCALE)
    options = ["--quick", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "pages")]
    assert command(["reproduce", "small", *options]) == 0
    page = (tmp_path / "pages" / "small.md").read_text()
    assert "A smoke run" in page
    assert "![Small](small.png)" in page
    assert (tmp_path / "pages" / "small.png").exists()
    assert "Central: 50 steps" in capsys.readouterr().out
