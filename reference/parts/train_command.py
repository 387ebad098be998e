"""Training a deep algorithm on a named game from the command line: begun, stopped, resumed, reported."""

import shlex
import sys
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import tyro

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.games.batched_catalogue import batched_game
from marlspec.games.history_window import HistoryWindow
from marlspec.reference.parts import checkpoints
from marlspec.reference.parts.checkpoints import Checkpoint
from marlspec.reference.parts.config import RunConfig
from marlspec.reference.parts.learner import Learner, usable_device
from marlspec.reference.parts.train_report import report
from marlspec.reference.parts.training import Run, RunOptions, created

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130  # as a shell reports a process that Ctrl-C has ended


@dataclass(frozen=True)
class GameOptions:
    """How the game is played."""

    window: int = 1
    """Last observations that make up an agent's history (own choice: the last one alone)."""
    time_limit: int | None = None
    """Steps after which an episode is cut off, where the game leaves that open; left out: 25 for repeated games, 50 for
    foraging tasks and stochastic games (marlspec list)."""
    own_rewards: bool = False
    """Foraging tasks: each player receives its own share instead of the team's sum (lbforaging's)."""
    pool: int | None = None
    """Foraging tasks: draw that many starts once and choose among them, which is faster; left out: always afresh."""


class Asked(NamedTuple):
    """What the command line asks for, and the checkpoint to go on from, if any."""

    config: RunConfig
    playing: GameOptions
    running: RunOptions
    checkpoint: Checkpoint | None


def train_deep(
    algorithm: str,
    kind: type[Learner],
    game_name: str,
    arguments: list[str],
    console: "Console",
    *,
    progress: bool,
) -> int:
    """Train a deep algorithm, print what it has learned, and return the exit code.

    Args:
        algorithm: its name.
        kind: its learner.
        game_name: a name that batched_game takes.
        arguments: the options on the command line.
        console: where to print.
        progress: whether to show a progress bar meanwhile.

    Raises:
        InputError: an option out of range, a game that the algorithm does not take, a folder that does not fit the run,
            or losses that are not finite.
    """
    asked = _asked(algorithm, kind, game_name, arguments)
    torch.set_num_threads(1)  # the networks are tiny: more threads only wait for each other
    game = _game(game_name, asked)
    learner = created(kind, game, asked.config)
    identity = _identity(algorithm, game_name, asked)
    if asked.checkpoint is None:
        run = Run.begin(learner, identity, asked.running)
    else:
        run = Run.resume(learner, identity, asked.running, asked.checkpoint)
    if not run.go_on(progress=progress):
        print(_farewell(run, algorithm, game_name), file=sys.stderr)
        return INTERRUPTED
    report(run, algorithm, game_name, console)
    return 0


def _asked(algorithm: str, kind: type[Learner], game_name: str, arguments: list[str]) -> Asked:
    """Read the command line; where it goes on with a run, options that are left out are those of the run."""
    parts: list[tuple[str, Any]] = [("learning", kind.config_type), ("playing", GameOptions), ("running", RunOptions)]
    options_type = make_dataclass("Options", parts)
    program = f"marlspec train {algorithm} {game_name}"
    settings: dict[str, Any] = {"args": arguments, "prog": program, "config": (tyro.conf.OmitArgPrefixes,)}
    before = None if {"-h", "--help"} & set(arguments) else _to_resume(arguments)
    if before is None:
        asked: Any = tyro.cli(options_type, **settings)
        return Asked(asked.learning, asked.playing, asked.running, None)
    folder, checkpoint = before
    wanted = {"algorithm": algorithm, "game": game_name}
    checkpoints.require_same_run(folder, {name: checkpoint.run.get(name) for name in wanted}, wanted)
    try:
        default = options_type(
            learning=kind.config_type(**_with_tuples(checkpoint.run["config"])),
            playing=GameOptions(**checkpoint.run["playing"]),
            running=RunOptions(folder=folder, resume=True, **checkpoint.options),
        )
    except (TypeError, KeyError) as error:
        raise InputError(f"{folder} was written by another version of marlspec, with other options: {error}") from error
    asked = tyro.cli(options_type, default=default, **settings)
    return Asked(asked.learning, asked.playing, asked.running, checkpoint)


def _to_resume(arguments: list[str]) -> tuple[Path, Checkpoint] | None:
    """The folder of the run to go on with, and its checkpoint, if the command line asks to go on with one."""
    running, _ = tyro.cli(RunOptions, args=arguments, return_unknown_args=True)
    if running.folder is None or not running.resume:
        return None
    return running.folder, checkpoints.load(running.folder)


def _game(name: str, asked: Asked) -> BatchedGame[Any]:
    playing = asked.playing
    game = batched_game(
        name,
        usable_device(asked.config.device),
        time_limit=playing.time_limit,
        own_rewards=playing.own_rewards,
        pool=playing.pool,
    )
    return game if playing.window == 1 else HistoryWindow(game, playing.window)


def _identity(algorithm: str, game_name: str, asked: Asked) -> dict[str, Any]:
    return {
        "algorithm": algorithm,
        "game": game_name,
        "playing": asdict(asked.playing),
        "config": asdict(asked.config),
        "compile": asked.running.compile,
    }


def _with_tuples(config: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def _farewell(run: Run[Learner], algorithm: str, game_name: str) -> str:
    stopped = f"stopped after step {run.done} of {run.learner.config.steps}"
    if run.options.folder is None:
        return f"{stopped}; nothing is kept, since no --folder was given"
    folder = shlex.quote(str(run.options.folder))
    return f"{stopped}; go on with: marlspec train {algorithm} {shlex.quote(game_name)} --folder {folder} --resume"
