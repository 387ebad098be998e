"""Measured is what `pytest bench/` runs alone; in a run of all tests each benchmark runs once, on something tiny."""

import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from . import machine
from .floors import Work, floor, rates
from .terminal import figures

HERE = Path(__file__).parent
# Said once more where an option is read: it is not known where pytest comes upon this folder late, as in `pytest .`.
THREADS, CLOCK = 1, "wall"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FIGURES = pytest.StashKey[list]()


def pytest_configure(config):
    """Time by the chosen clock."""
    if config.getoption("--clock", CLOCK) == "cpu":
        config.option.benchmark_timer = "time.process_time"
    config.stash[FIGURES] = []


def pytest_addoption(parser):
    """Let the number of threads be chosen."""
    parser.addoption("--threads", type=int, default=THREADS, help="torch's threads in benchmarks (default: 1)")
    parser.addoption(
        "--clock", choices=list(CLOCKS), default=CLOCK, help="what is timed: wall, or this process's own CPU time"
    )


@pytest.fixture(autouse=True)
def _threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.config.getoption("--threads", THREADS))
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _measured_alone(request):
    """Whoever measures beside the tests would time the types that those check."""
    measured = "benchmark" in request.fixturenames and not request.getfixturevalue("benchmark").disabled
    if measured and request.config.inipath != HERE / "pytest.ini":
        pytest.skip("measured by `pytest bench/` alone; elsewhere give --benchmark-disable")


@pytest.fixture(autouse=True)
def _told(request):
    """Say of a benchmark what it does not say itself, one call on the CPU, and keep its figure for the terminal."""
    yield
    benchmark = request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None
    if benchmark is None or benchmark.disabled or benchmark.stats is None:
        return
    info = benchmark.extra_info
    for key, value in {"workload": request.node.name, "device": "cpu", "steps": 1}.items():
        info.setdefault(key, value)
    if "work" in info:
        clock = CLOCKS[request.config.getoption("--clock", CLOCK)]
        info["floor"] = asdict(floor(Work(**info["work"]), rates(info["device"], clock)))
    seconds = benchmark.stats.stats.median / info["steps"]
    request.config.stash[FIGURES].append({"workload": info["workload"], "seconds": seconds, "facts": info})


def pytest_benchmark_update_json(config, output_json):
    """Add what a record says of the machine, as it stands now that all is measured."""
    devices = {found["extra_info"]["device"] for found in output_json["benchmarks"]}
    clock = config.getoption("--clock", CLOCK)
    output_json["session"] = machine.session(config.getoption("--threads", THREADS)) | {
        "clock": clock,
        "rates": {device: asdict(rates(device, CLOCKS[clock])) for device in devices},
    }


def pytest_terminal_summary(terminalreporter, config):
    """Print figures, floors and gaps."""
    if config.stash[FIGURES]:
        terminalreporter.section("time of a step, and the floor that products and copies set")
        for line in figures(config.stash[FIGURES]):
            terminalreporter.write_line(line)
