"""Learned joint tables of value decomposition, beside the best fit of their kind and beside the published tables."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.reference.commands import learner_class
from marlspec.reference.parts.enumeration import joint_table
from marlspec.reference.parts.learner import ValueLearner
from marlspec.reference.parts.training import train
from marlspec.reference.reproduction.experiments import Tables
from marlspec.reference.reproduction.published import PUBLISHED
from marlspec.reference.reproduction.runs import Scale

ALGORITHMS = ("vdn", "qmix")

Report = Callable[[str, str, float], None]


@dataclass(frozen=True)
class Learned:
    """Joint values of the first state after training.

    Attributes:
        algorithm, game: their names.
        settings: all settings of the learner.
        tables: the joint values of every seed [seeds, A_1, A_2].
        seconds: of training.
    """

    algorithm: str
    game: str
    settings: dict[str, Any]
    tables: list[Any]
    seconds: float


def learned(tables: Tables, folder: Path, scale: Scale, report: Report | None = None) -> list[Learned]:
    """Return what each algorithm learned on each game; trains what the folder does not hold yet."""
    return [
        _learned(tables, algorithm, game, folder / tables.name, scale, report)
        for game in tables.games
        for algorithm in ALGORITHMS
    ]


def _learned(tables: Tables, algorithm: str, game: str, folder: Path, scale: Scale, report: Report | None) -> Learned:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{algorithm}-{game}.json"
    kind = learner_class(algorithm)
    steps = round(tables.steps * scale.share)
    config = kind.config_type(seeds=scale.seeds, steps=steps, **tables.settings)
    settings = json.loads(json.dumps(asdict(config)))
    if path.exists():
        found = Learned(**json.loads(path.read_text(encoding="utf-8")))
        if found.settings == settings:
            return found
    training = train(kind, BatchedStagedGame(get(game)), config)  # type: ignore[arg-type]
    assert isinstance(training.learner, ValueLearner)
    result = Learned(algorithm, game, settings, joint_table(training.learner).tolist(), training.seconds)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(result)) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
    if report is not None:
        report(algorithm, game, training.seconds)
    return result


def as_markdown(results: list[Learned]) -> str:
    """Return one table with a row for each game and algorithm."""
    lines = [
        "| game | algorithm | learned, mean over seeds (standard deviation) | best fit | the source's "
        "| farthest from the best fit, mean over seeds | greedy joint action by seeds |",
        "|---|---|---|---|---|---:|---|",
    ]
    for result in results:
        game = get(result.game)
        values = np.array(result.tables)
        best = best_fit(result.algorithm, game, result.settings["gamma"])
        farthest = np.abs(values - best).reshape(len(values), -1).max(axis=1).mean()
        cells = [
            result.game,
            result.algorithm,
            _cells(values.mean(axis=0), values.std(axis=0)),
            _cells(best),
            _cells(np.array(PUBLISHED[result.algorithm, result.game])),
            f"{farthest:.3f}",
            _greedy(values, game),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def best_fit(algorithm: str, game: Any, gamma: float) -> NDArray[np.float64]:
    """Return the best that the algorithm's class of functions can do on uniform data.

    Of a matrix game the least-squares projection on sums of utilities, or on monotone functions of them. Of a staged
    game, whose first state's targets depend on what is learned of the others, the optimal action values.
    """
    from marlspec.properties.proof.projection import additive_projection, monotone_projection

    if isinstance(game, StagedGame):
        return np.array(game.optimal_action_values(gamma)[0], dtype=float)
    fit = additive_projection(game) if algorithm == "vdn" else monotone_projection(game)
    return np.array(fit.table, dtype=float)


def _cells(table: NDArray[np.float64], spread: NDArray[np.float64] | None = None) -> str:
    rows = []
    for i, row in enumerate(table):
        cells = [f"{value:.2f}" for value in row]
        if spread is not None:
            cells = [f"{cell} ({own:.2f})" for cell, own in zip(cells, spread[i], strict=True)]
        rows.append(", ".join(cells))
    return "<br>".join(rows)


def _greedy(values: NDArray[np.float64], game: Any) -> str:
    first: NormalFormGame = game.stages[0] if isinstance(game, StagedGame) else game
    labels = [first.label(tuple(map(int, np.unravel_index(table.argmax(), table.shape)))) for table in values]
    return ", ".join(f"{label} x {labels.count(label)}" for label in dict.fromkeys(labels))
