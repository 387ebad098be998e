"""How a learner's step is measured: compiled or not, warmed up, in rounds of many steps, beside its floor."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from marlspec.reference.parts.learner import Learner

from .floors import lasting, work
from .workloads import PLAIN, steps_of, synchronise

WARM_UP = 5
ROUNDS = 10
ROUND_SECONDS = 0.05
QUICK_STEPS = 2
NOT_MEASURED = "nothing is measured here, and compiling takes minutes: tests/reference/test_compiled.py tests it"


def measure(
    benchmark: Any, learner: Learner, name: str, *, form: str = PLAIN, floors: bool = True, **facts: Any
) -> None:
    """Measure the step of a learner, or make a few steps where nothing is measured.

    What the record needs is left in benchmark.extra_info: the name and the facts, the steps of a round, updates and
    environment steps of each step, seconds until it was warm ("cold": with compilation), peak memory and work.
    """
    if benchmark.disabled and form != PLAIN:
        pytest.skip(NOT_MEASURED)
    with steps_of(learner, form) as step:
        if benchmark.disabled:
            benchmark.pedantic(_round, (learner, step, QUICK_STEPS))
            return
        start = _now(learner)
        _round(learner, step, WARM_UP)
        cold = _now(learner) - start
        steps = _steps_of_a_round(learner, step)
        before, played, peak = learner.updates, learner.t, Peak(learner.device)
        benchmark.pedantic(_round, (learner, step, steps), rounds=ROUNDS)
        made = steps * ROUNDS
        benchmark.extra_info.update(
            workload=f"{name}/{form}",
            form=form,
            device=learner.device.type,
            algorithm=type(learner).__name__,
            copies=learner.config.copies,
            seeds=learner.config.seeds,
            steps=steps,
            cold_seconds=cold,
            updates_per_step=(learner.updates - before) / made,
            env_steps_per_step=(learner.t - played) / made * learner.config.copies * learner.config.seeds,
            peak_bytes=peak.bytes(),
            **facts,
        )
        if floors:
            benchmark.extra_info.update(work=asdict(work(learner.step, lasting(learner))))


def _round(learner: Learner, step: Callable[[], None], steps: int) -> None:
    for _ in range(steps):
        step()
    synchronise(learner.device)


def _now(learner: Learner) -> float:
    synchronise(learner.device)
    return time.perf_counter()


def _steps_of_a_round(learner: Learner, step: Callable[[], None]) -> int:
    """As many as take ROUND_SECONDS."""
    start = _now(learner)
    _round(learner, step, WARM_UP)
    return max(1, round(ROUND_SECONDS * WARM_UP / (_now(learner) - start)))


class Peak:
    """The most memory in use at once from now on: of the CUDA allocator, or resident memory of this process."""

    def __init__(self, device: torch.device) -> None:
        """Begin to watch."""
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")

    def bytes(self) -> int | None:
        """Return the peak so far; None where this system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if not CLEAR_REFS.exists():
            return None
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
