"""The runs behind a figure: each algorithm trained with all seeds at once, evaluated at intervals, resumable."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.commands import learner_class
from marlspec.reference.parts import checkpoints
from marlspec.reference.parts.checkpoints import Checkpoint
from marlspec.reference.parts.evaluation import evaluate, seed_of_evaluation
from marlspec.reference.parts.learner import Learner
from marlspec.reference.parts.training import run, train
from marlspec.reference.reproduction.experiments import SEEDS, Curve, Figure

EVALUATIONS = 25
EPISODES = 64
RECORD = "record.json"

Report = Callable[[Curve, int, float], None]


@dataclass(frozen=True)
class Scale:
    """How much of an experiment is run: all of it, or a share of its steps with fewer seeds."""

    seeds: int = SEEDS
    share: float = 1.0


FULL, QUICK = Scale(), Scale(seeds=3, share=0.02)


@dataclass(frozen=True)
class Record:
    """What a run brought.

    Attributes:
        settings: all settings of the learner.
        steps: passes of the main loop at each evaluation [E].
        returns: mean return of each seed's greedy episodes, averaged over agents, at each evaluation [E, seeds].
        seconds: of training.
    """

    settings: dict[str, Any]
    steps: list[int]
    returns: list[list[float]]
    seconds: float

    @property
    def table(self) -> NDArray[np.float64]:
        """The returns [E, seeds]."""
        return np.array(self.returns, dtype=float)


def records(figure: Figure, folder: Path, scale: Scale = FULL, report: Report | None = None) -> dict[str, Record]:
    """Return each curve's record by its algorithm; runs what the folder does not hold yet."""
    return {curve.algorithm: _record(figure, curve, folder, scale, report) for curve in figure.curves}


def _record(figure: Figure, curve: Curve, folder: Path, scale: Scale, report: Report | None) -> Record:
    place = folder / figure.name / curve.algorithm
    place.mkdir(parents=True, exist_ok=True)
    learner, last = _learner(figure, curve, scale)
    settings = {"game": figure.game, "algorithm": curve.algorithm, **asdict(learner.config), "steps": last}
    record = Record(settings, [], [], 0.0)
    if checkpoints.exists(place):
        found = checkpoints.load(place)
        checkpoints.require_same_run(place, found.run, settings)
        learner.load_state_dict(found.state)
        record = Record(settings, **found.options)
    for steps in _remaining(last, record):
        seconds = record.seconds + run(learner, steps - (record.steps[-1] if record.steps else 0))
        seed = seed_of_evaluation(learner.config.seed, steps)
        returns = evaluate(learner, EPISODES, seed).returns.mean(-1).tolist()
        record = replace(record, steps=[*record.steps, steps], returns=[*record.returns, returns], seconds=seconds)
        watched = {"steps": record.steps, "returns": record.returns, "seconds": seconds}
        checkpoints.save(place, Checkpoint(settings, watched, steps, seconds, learner.state_dict()))
        if report is not None:
            report(curve, steps, float(np.mean(returns)))
    return record


def _learner(figure: Figure, curve: Curve, scale: Scale) -> tuple[Learner, int]:
    """A learner at its start, and how many steps it is to make."""
    algorithm = learner_class(curve.algorithm)
    config = algorithm.config_type(**{"seeds": scale.seeds, "steps": 0} | figure.settings | curve.settings)
    learner = train(algorithm, batched_game(figure.game), config).learner
    return learner, max(EVALUATIONS, round(curve.steps * scale.share))


def _remaining(last: int, record: Record) -> Iterator[int]:
    """After which steps to evaluate: at the start, and at equal distances; those not yet in the record."""
    marks = np.linspace(0, last, EVALUATIONS + 1).round().astype(int).tolist()
    return iter(marks[len(record.steps) :])


def write(path: Path, found: dict[str, Record]) -> None:
    """Write records as JSON, whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({name: asdict(record) for name, record in found.items()}, indent=1) + "\n")
    os.replace(unfinished, path)


def one_thread() -> None:
    """The networks are tiny: more threads only wait for each other."""
    torch.set_num_threads(1)
