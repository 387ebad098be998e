"""The page is written from records alone: every workload, its floor, curves, fits, and what changed."""

from dataclasses import replace

import pytest

from .page import write
from .records import Record, Workload

RATES = {"product": 2e10, "small_product": 1e10, "copy": 8e9, "launch": 2e-6}
SESSION = {
    "threads": 1,
    "clock": "cpu",
    "load": [0.5, 0.25],
    "rates": RATES,
    "versions": {"python": "3.11", "torch": "2.13"},
    "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 8.0, "gpus": []},
}


def workload(name, seconds, **facts):
    return Workload(name, f"test_x.py::{name}", seconds, seconds / 10, (seconds, seconds * 1.01), facts)


def step(K, seconds):
    facts = {"plot": "K", "algorithm": "VDN", "form": "eager", "copies": K, "env_steps_per_step": K}
    facts |= {"device": "cpu", "updates_per_step": 1, "cold_seconds": 12.5, "peak_bytes": 3 * 2**20}
    facts["work"] = {"operators": 130, "operations": 0, "bytes_needed": 0, "bytes_moved": 0}
    facts["floor"] = {"seconds": seconds / 4, "arithmetic": 0.0, "traffic": 0.0, "launches": 5e-5}
    return workload(f"W1/vdn/K={K}/eager", seconds, **facts)


def cost(axis, amount, seconds):
    return workload(f"cost/{axis}/{amount}/eager", seconds, plot="cost", axis=axis, amount=amount)


def record(taken, factor):
    workloads = [
        *(step(K, factor * 1e-3) for K in (16, 256)),
        *(cost("agents", n, 1e-3 * n) for n in (1, 2, 4)),
        *(cost("actions", n, 1e-3 * n**2) for n in (1, 2, 4)),
        workload("W5/mixer/mine", 2.0, verdicts=4, examples=100),
    ]
    session = SESSION | {
        "taken": f"{taken}-01-01T00:00:00+00:00",
        "git": {"revision": f"{taken}abcdef", "changed": False},
    }
    return Record("some-cpu", session, {own.name: own for own in workloads})


@pytest.fixture
def page(tmp_path):
    for taken, factor in ((2029, 1.0), (2030, 1.5)):
        record(taken, factor).save(tmp_path / "results")
    write(tmp_path / "results", tmp_path / "docs")
    return (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_last_record_stands_in_the_page(page):
    assert "Taken 2030-01-01" in page
    assert "99 % of them by less than 1.0 %" in page
    assert "| 20 GFLOP/s | 10 GFLOP/s | 8 GB/s | 2 us |" in page
    assert "| W1/vdn/K=256/eager | 1500 | 150 | 667 | 171000 | 12 | 3 | 375 | 4 | 130 | 50 |" in page
    assert "| mixer/mine | 2 | 4 | 0.5 | 50 |" in page


def test_costs_are_fitted_and_a_square_is_named(page):
    assert "| agents |" in page
    assert "Steeper than in proportion: actions." in page


def test_history_tells_what_has_become_slower(page):
    assert "| 2029-01-01T00:00:00+00:00 | 2029abcde | 9 | nothing to compare | " in page
    assert "| 9 | W1/vdn/K=16/eager, W1/vdn/K=256/eager | none |" in page


def test_every_figure_that_the_page_shows_is_there(page, tmp_path):
    shown = [line.split("](")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(shown) == 3
    assert all((tmp_path / "docs" / name).stat().st_size > 1_000 for name in shown)


def test_records_by_another_clock_are_drawn_with_none(tmp_path):
    other = record(2029, 1.0)
    replace(other, session=other.session | {"clock": "wall"}).save(tmp_path / "results")
    record(2030, 1.5).save(tmp_path / "results")
    write(tmp_path / "results", tmp_path / "docs")
    text = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "| 2030-01-01T00:00:00+00:00 | 2030abcde | 9 | nothing to compare | " in text
    assert "Time over that of the first record" not in text
