"""Records are read as they were written, and a comparison calls slower what is slower by more than the noise."""

import json
from dataclasses import replace

import pytest

from marlspec.errors import InputError

from .__main__ import main
from .records import Record, Workload, compare, history, load, records_of, spread

RATES = {"product": 1e10, "small_product": 5e9, "copy": 1e10, "launch": 1e-6}
SESSION = {
    "taken": "2030-01-02T03:04:05+00:00",
    "threads": 1,
    "clock": "wall",
    "git": {"revision": "0123456789abcdef", "changed": False},
    "rates": RATES,
}


def workload(name, *repetitions):
    return Workload(name, f"test_x.py::{name}", sorted(repetitions)[len(repetitions) // 2], 0.0, repetitions, {})


def record(*workloads, **session):
    return Record("some-cpu", SESSION | session, {own.name: own for own in workloads})


def by_pytest(device, name, data, steps):
    stats = {"median": sorted(data)[len(data) // 2], "data": data}
    info = {"device": device, "workload": name, "steps": steps, "copies": 16}
    return {"fullname": f"test_x.py::test[{name}]", "stats": stats, "extra_info": info}


def repetition(load, *benchmarks):
    rates = {own["extra_info"]["device"]: RATES for own in benchmarks}
    return {"benchmarks": list(benchmarks), "session": SESSION | {"load": load, "rates": rates}}


def test_repetitions_become_one_record_for_each_device():
    repetitions = [
        repetition(0.5, by_pytest("cpu", "a", [1.0, 2.0, 4.0], 2), by_pytest("cuda", "a", [0.5], 1)),
        repetition(1.5, by_pytest("cpu", "a", [3.0, 3.0, 3.0], 1), by_pytest("cuda", "a", [0.25], 1)),
        repetition(2.5, by_pytest("cpu", "a", [5.0, 8.0, 9.0], 4), by_pytest("cuda", "a", [0.75], 1)),
    ]
    cpu, cuda = records_of(repetitions, {"cpu": "a-cpu", "cuda": "a-gpu"})
    assert (cpu.device, cuda.device) == ("a-cpu", "a-gpu")
    found = cpu.workloads["a"]
    assert found.repetitions == (1.0, 3.0, 2.0)
    assert found.seconds == 2.0
    assert found.iqr == 3.0 - 1.25
    assert found.node == "test_x.py::test[a]"
    assert found.facts == {"device": "cpu", "copies": 16}
    assert cpu.session["load"] == [0.5, 1.5, 2.5]
    assert cpu.session["rates"] == RATES
    assert cuda.workloads["a"].seconds == 0.5


def test_a_record_is_read_as_it_was_written(tmp_path):
    taken = record(workload("a", 1.0, 1.1, 0.9))
    path = taken.save(tmp_path)
    assert path == tmp_path / "some-cpu" / "2030-01-02T030405-012345678.json"
    assert load(path) == taken


def test_history_is_in_the_order_of_time(tmp_path):
    late, early = record(workload("a", 1.0)), record(workload("a", 2.0), taken="2029-12-31T00:00:00+00:00")
    for own in (late, early):
        own.save(tmp_path)
    assert history("some-cpu", tmp_path) == [early, late]
    assert history("other-cpu", tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "marlspec.bench/0"}'])
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is no record"):
        load(path)


def test_spread_is_the_ratio_of_any_two():
    assert sorted(spread([2.0, 1.0, 4.0])) == [2.0, 2.0, 4.0]
    assert spread([3.0]) == []


@pytest.mark.parametrize(("new", "verdict"), [(1.25, "slower"), (1.15, ""), (0.85, ""), (0.8, "faster")])
def test_a_change_beyond_the_noise_is_told(new, verdict):
    old = record(workload("a", 1.0, 1.2, 1.0), workload("b", 1.0, 1.2, 1.0))
    after = record(workload("a", new, new, new), workload("b", 1.0, 1.2, 1.0))
    (change, unchanged) = compare(old, after).changes
    assert change.band == pytest.approx(1.2)
    assert change.verdict == verdict
    assert unchanged.verdict == ""
    assert compare(old, after).slower == (("a",) if verdict == "slower" else ())


def test_a_noisy_workload_has_a_band_of_its_own_and_widens_no_other_to_it():
    steady = [workload(f"steady {i}", 1.0, 1.01, 0.99) for i in range(200)]
    noisy = workload("noisy", 1.0, 2.0, 1.0)
    before = record(*steady, noisy)
    slowed = [replace(own, seconds=1.5) for own in (*steady, noisy)]
    comparison = compare(before, record(*slowed))
    assert comparison.band < 1.03
    assert comparison.slower == tuple(own.name for own in steady)


def test_what_is_missing_and_how_rates_moved_is_told():
    old = record(workload("a", 1.0, 1.1), workload("b", 1.0, 1.1))
    new = record(workload("a", 1.0, 1.1), rates=RATES | {"copy": 5e9})
    comparison = compare(old, new)
    assert comparison.missing == ("b",)
    assert comparison.rates == {"product": 1.0, "small_product": 1.0, "copy": 0.5, "launch": 1.0}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (record(workload("a", 1.0, 1.0)), record(workload("b", 1.0, 1.0)), "no workload in common"),
        (record(workload("a", 1.0)), record(workload("a", 1.0)), "--repeat"),
        (record(workload("a", 1.0, 1.0)), record(workload("a", 1.0, 1.0), threads=2), "threads"),
        (record(workload("a", 1.0, 1.0)), record(workload("a", 1.0, 1.0), clock="cpu"), "clock"),
        (record(workload("a", 1.0, 1.0)), replace(record(workload("a", 1.0, 1.0)), device="other"), "device"),
    ],
)
def test_records_that_cannot_be_compared_are_refused(old, new, words):
    with pytest.raises(InputError, match=words):
        compare(old, new)


@pytest.mark.parametrize(("seconds", "code"), [(1.0, 0), (2.0, 1), (0.5, 0)])
def test_the_command_exits_with_1_where_something_is_slower(tmp_path, capsys, seconds, code):
    old = record(workload("a", 1.0, 1.1, 1.0)).save(tmp_path / "old")
    new = record(workload("a", seconds, seconds, seconds)).save(tmp_path / "new")
    assert main(["compare", "--files", str(old), str(new)]) == code
    printed = capsys.readouterr().out
    assert "noise band: 10.0 %" in printed
    assert ("slower" in printed) == (code == 1)


def test_the_command_exits_with_2_where_there_is_no_record(tmp_path, capsys):
    assert main(["compare", "--results", str(tmp_path)]) == 2
    assert "make bench" in capsys.readouterr().err


def test_a_file_that_is_no_record_is_named(tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({}), encoding="utf-8")
    assert main(["compare", "--files", str(path), str(path)]) == 2
    assert str(path) in capsys.readouterr().err
