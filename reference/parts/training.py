"""The training loop: it owns the random numbers, shows progress, and hands back the trained learner."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import RunConfig
from marlspec.reference.parts.learner import Learner, usable_device
from marlspec.reference.parts.randomness import restored_afterwards

Trained = TypeVar("Trained", bound=Learner)

REPORT_EVERY = 50


@dataclass(frozen=True)
class Training(Generic[Trained]):
    """The outcome of train(): the learner, and how many seconds its steps took."""

    learner: Trained
    seconds: float


def train(
    algorithm: Callable[[BatchedGame[Any], Any], Trained],
    game: BatchedGame[Any],
    config: RunConfig,
    *,
    progress: bool = False,
) -> Training[Trained]:
    """Create a learner and make config.steps steps.

    The random numbers depend on config.seed alone, and the caller's are left as they were. The same seed on the same
    device with the same number of threads gives the same bits.

    Args:
        algorithm: the learner's class, for instance VDN.
        game: the batched game, on config.device.
        config: an instance of the class's Config.
        progress: whether to show a progress bar on the terminal.
    """
    with restored_afterwards(usable_device(config.device)) as generator:
        generator.manual_seed(config.seed)
        learner = algorithm(game, config)
        learner.parked = generator.get_state()
    return Training(learner, run(learner, config.steps, progress=progress))


def run(learner: Learner, steps: int, *, progress: bool = False) -> float:
    """Make further steps with the learner's own random state, and return the seconds that they took.

    Raises:
        InputError: steps is negative.
    """
    if steps < 0:
        raise InputError(f"{steps} steps: the number of further steps must not be negative")
    with _running(learner):
        start = time.perf_counter()
        for _ in _reported(steps) if progress else range(steps):
            learner.step()
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)
        return time.perf_counter() - start


@contextmanager
def _running(learner: Learner) -> Iterator[None]:
    """Hand the device's default generator over to the learner, and park its random state afterwards."""
    with restored_afterwards(learner.device) as generator:
        if learner.parked is not None:
            generator.set_state(learner.parked)
        learner.parked = None
        try:
            yield
        finally:
            learner.parked = generator.get_state()


def _reported(steps: int) -> Iterator[int]:
    """Count to steps, with a bar that shows speed and time left."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("training", total=steps)
        for t in range(steps):
            yield t
            if (t + 1) % REPORT_EVERY == 0 or t + 1 == steps:
                bar.update(task, completed=t + 1)
