"""Goals are held against the lowest figure that there is, and what was not measured is not reached."""

import json

from .goals import told
from .records import Record, Workload


def workload(name, seconds, **facts):
    return Workload(name, "", seconds, 0.0, (seconds,), {"device": "cpu", "env_steps_per_step": 1.0} | facts)


def record(*workloads):
    return Record("d", {}, {own.name: own for own in workloads})


def peer(folder, name, *ratios, form="compiled"):
    (folder / "peers").mkdir(exist_ok=True)
    results = [
        {"algorithm": "vdn", "form": form, "copies": copies, "ratio": ratio}
        for copies, ratio in zip((16, 256, 1024), ratios, strict=False)
    ]
    text = json.dumps({"peer": name, "results": results})
    (folder / "peers" / f"2030-{name}.json").write_text(text, encoding="utf-8")


def row(lines, word):
    [found] = [line for line in lines if line.startswith("| W") and word in line]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_lowest_ratio_decides_and_few_copies_do_not_count(tmp_path):
    peer(tmp_path, "jax_scan", 0.5, 1.6, 1.75)
    peer(tmp_path, "benchmarl_loop", 20.0, 14.0)
    lines = told(record(workload("W1/vdn/K=256/eager", 1.0)), tmp_path)
    assert row(lines, "JAX loop")[1:] == ["at least 1.5", "1.6 to 1.75", "reached"]
    assert row(lines, "BenchMARL")[1:] == ["at least 15", "14 to 20", "missed"]
    assert row(lines, "JaxMARL")[1:] == ["at least 3", "", "not measured"]
    assert row(lines, "EPyMARL")[1:] == ["at least 6", "", "not measured"]


def test_only_compiled_steps_are_held_against_peers(tmp_path):
    peer(tmp_path, "jax_scan", 9.0, 9.0, form="eager")
    assert row(told(record(workload("W1/vdn/K=256/eager", 1.0)), tmp_path), "JAX loop")[-1] == "not measured"


def test_our_own_forms_and_floors(tmp_path):
    floor = {"floor": {"seconds": 0.25}}
    found = record(
        workload("W1/vdn/K=256/eager", 3.0),
        workload("W1/vdn/K=256/compiled", 1.0, copies=256, form="compiled", **floor),
        workload("W1/vdn/K=1024/compiled", 1.25, copies=1024, form="compiled", **floor),
        workload("W1/vdn/K=16/compiled", 9.0, copies=16, form="compiled", **floor),
    )
    lines = told(found, tmp_path)
    assert row(lines, "own eager steps")[1:] == ["at least 2.5", "3", "reached"]
    assert row(lines, "floor")[1:] == ["at most 4", "4 to 5", "missed"]


def test_a_gpu_has_goals_of_its_own(tmp_path):
    cuda = {"device": "cuda"}
    lines = told(
        record(
            workload("W1/vdn/K=256/eager", 6.0, **cuda),
            workload("W1/vdn/K=256/captured", 1.0, **cuda),
            workload("W4/vdn/seeds=1/captured", 1.0, **cuda),
            workload("W4/vdn/seeds=16/captured", 2.0, **(cuda | {"env_steps_per_step": 16.0})),
        ),
        tmp_path,
    )
    assert row(lines, "own eager steps")[1:] == ["at least 5", "6", "reached"]
    assert row(lines, "16 seeds")[1:] == ["at least 8", "8", "reached"]
    assert not any("BenchMARL" in line for line in lines)


def test_without_training_there_is_nothing_to_reach(tmp_path):
    assert told(record(workload("W5/evaluator", 1.0)), tmp_path) == []
