"""Training a tabular algorithm on a named game, over many seeds, and the table of where they ended."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated
from marlspec.reference.parts.end_points import EndPoint, best_return, end_points, wilson
from marlspec.reference.parts.many_seeds import MANY, ManySeeds
from marlspec.reference.parts.tabular_config import TabularConfig

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

REPEATED_GAMMA = 0.9
COLUMNS = ("greedy joint policy", "seeds", "share", "95 % interval", "return", "Nash", "Pareto-optimal")


@dataclass(frozen=True)
class GameOptions:
    """How a game is played."""

    repeated: int = 0
    """Play a matrix game this often in one episode, as a repeated game; 0: once. Its discount is --gamma, or 0.9."""


def train_tabular(
    algorithm: str, game_name: str, game: Any, arguments: list[str], console: "Console", *, progress: bool
) -> None:
    """Train a tabular algorithm and print at which joint policies its seeds ended.

    Args:
        algorithm: cql or iql.
        game_name: the game's name on the command line.
        game: a NormalFormGame, StagedGame or StochasticGame.
        arguments: the options on the command line.
        console: where to print.
        progress: whether to show a progress bar meanwhile.

    Raises:
        InputError: an option out of range, or one that the game does not take.
    """
    import tyro

    kind = MANY[algorithm]
    options: Any = tyro.cli(
        make_dataclass("Options", [("learning", kind.config_type), ("playing", GameOptions)]),
        args=arguments,
        prog=f"marlspec train {algorithm} {game_name}",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    learner, seconds = trained(kind, *prepared(game, options.learning, options.playing), progress=progress)
    config = learner.config
    console.print(f"{config.steps} steps of {config.seeds} seeds in {seconds:.1f} s\n")
    console.print(end_point_table(learner.game, learner.gamma, end_points(learner)))


def prepared(game: Any, config: TabularConfig, options: GameOptions) -> tuple[StochasticGame, TabularConfig]:
    """Return a game of any kind as the stochastic game to be played, and the settings for it.

    Raises:
        InputError: a game that is no matrix game cannot be repeated, a number of times below zero, or the horizon is
            given twice.
    """
    if not options.repeated:
        return as_stochastic(game), config
    if not isinstance(game, NormalFormGame):
        raise InputError(f"{game.name} is no matrix game: leave out --repeated, or cut its episodes off by --horizon")
    if options.repeated < 0:
        raise InputError(f"repeated is {options.repeated}: it must be an integer, 0 or more")
    if config.horizon:
        raise InputError("--repeated and --horizon both say how long an episode is: leave out --horizon")
    gamma = REPEATED_GAMMA if config.gamma is None else config.gamma
    return repeated(game, gamma), replace(config, horizon=options.repeated)


def as_stochastic(game: Any) -> StochasticGame:
    """Return a NormalFormGame played once, a StagedGame or a StochasticGame as a stochastic game."""
    if isinstance(game, NormalFormGame):
        return one_step(game)
    return from_staged(game) if isinstance(game, StagedGame) else game


def trained(
    kind: Callable[[StochasticGame, Any], ManySeeds],
    game: StochasticGame,
    config: TabularConfig,
    *,
    progress: bool = False,
) -> tuple[ManySeeds, float]:
    """Return config.seeds runs of config.steps steps, and how many seconds they took."""
    learner = kind(game, config)
    start = time.perf_counter()
    with _reported(config.steps, progress) as report:
        learner.run(config.steps, report)
    return learner, time.perf_counter() - start


def end_point_table(game: StochasticGame, gamma: float, points: list[EndPoint]) -> "Table":
    """Lay out end points: one row each, with its share of the seeds and what it is worth."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"Where the seeds of {game.name} ended", title_justify="left", box=SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column)
    total = sum(len(point.seeds) for point in points)
    for point in points:
        table.add_row(*cells(point, total))
    best = f"The best return is {best_return(game, gamma):.6g}. " if game.is_common_reward else ""
    table.caption = f"{best}Of joint actions that tie the first is judged; Pareto-optimal among deterministic policies."
    table.caption_justify = "left"
    return table


def cells(point: EndPoint, total: int) -> tuple[str, ...]:
    """Return an end point's cells under COLUMNS."""
    count = len(point.seeds)
    low, high = wilson(count, total)
    returns = dict.fromkeys(returns_in_words(judgement.returns) for judgement in point.judgements)
    return (
        point.policy,
        str(count),
        f"{100 * count / total:.1f} %",
        f"{100 * low:.1f} - {100 * high:.1f} %",
        " or ".join(returns),
        _answers(["yes" if judgement.nash else "no" for judgement in point.judgements]),
        _answers([judgement.pareto for judgement in point.judgements]),
    )


def returns_in_words(returns: tuple[float, ...]) -> str:
    """Return one number where all agents' returns agree, else all of them."""
    words = [f"{value:.6g}" for value in returns]
    return words[0] if len(set(words)) == 1 else ", ".join(words)


def _answers(answers: list[str]) -> str:
    """The answer where all seeds agree; else how often which."""
    counts = Counter(answers)
    if len(counts) == 1:
        return answers[0]
    return ", ".join(f"{answer} ({count})" for answer, count in counts.most_common())


@contextmanager
def _reported(steps: int, progress: bool) -> Iterator[Callable[[int], None]]:
    """Lend a function to be told the steps made; it moves a bar that shows speed and time left."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, disable=not progress) as bar:
        task = bar.add_task("training", total=steps)
        yield lambda done: bar.update(task, completed=done)
