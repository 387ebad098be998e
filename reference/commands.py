"""The commands that list, show and train the reference algorithms."""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from marlspec.errors import InputError
from marlspec.games.catalogue import Game, catalogue, get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.errata import ERRATA
from marlspec.reference.listing import ROOT, Algorithm, Marker, algorithm_files, load

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from torch import Tensor

    from marlspec.reference.parts.learner import Learner, ValueLearner

WIDTH_OF_FILES = 180
SHOWN_ROWS = 32


def list_command(argv: list[str]) -> int:
    """List the algorithms and the games with their sources."""
    parser = argparse.ArgumentParser(
        "marlspec list", description="List the algorithms and the games with their sources."
    )
    parser.parse_args(argv)
    console = _console()
    algorithms = _table("Algorithms", ["name", "what it is", "source"])
    for name in algorithm_files():
        algorithm = load(name)
        algorithms.add_row(name, algorithm.title, algorithm.source)
    games = _table("Games", ["name", "agents x actions", "common reward", "source"])
    for name, game in catalogue().items():
        actions = "x".join(map(str, game.n_actions))
        games.add_row(name, f"{actions}{_length(game)}", "yes" if game.is_common_reward else "no", game.citation)
    console.print(algorithms)
    console.print(games)
    return 0


def _length(game: Game) -> str:
    """How many stages or states a game has; nothing where it is played in one step."""
    if isinstance(game, NormalFormGame):
        return ""
    return f", {game.n_stages} stages" if isinstance(game, StagedGame) else f", {game.n_states} states"


def show_command(argv: list[str]) -> int:
    """Print an algorithm's pseudocode beside its code, or the difference of two algorithms."""
    parser = argparse.ArgumentParser(
        "marlspec show",
        description="Print an algorithm's pseudocode beside its code; of two algorithms, how the second differs.",
    )
    parser.add_argument("algorithm", help="one of " + ", ".join(algorithm_files()))
    parser.add_argument("other", nargs="?", help="a second algorithm, to be compared with the first")
    options = parser.parse_args(argv)
    algorithm = load(options.algorithm)
    if options.other is None:
        _show(algorithm, _console())
    else:
        _show_difference(algorithm, load(options.other), _console())
    return 0


def train_command(argv: list[str]) -> int:
    """Train an algorithm on a game and print what it has learned.

    Raises:
        InputError: no such algorithm or game, an option out of range, or a game that the algorithm does not take.
    """
    if any(flag in argv[:2] for flag in ("-h", "--help")):
        print(_train_usage())
        return 0
    if len(argv) < 2 or any(argument.startswith("-") for argument in argv[:2]):
        raise InputError("name an algorithm and a game first, as in: marlspec train vdn climbing --seeds 5")
    name, game_name, *options = argv
    load(name)
    game = get(game_name)
    if algorithm_files()[name].parent.name == "tabular":
        from marlspec.reference.parts.tabular_report import train_tabular

        train_tabular(name, game_name, game, options, _console(), progress=sys.stderr.isatty())
        return 0
    if isinstance(game, StochasticGame):
        raise InputError(f"{name} trains on matrix and staged games; cql and iql take {game_name}, which has states")
    if not game.is_common_reward:
        raise InputError(f"{name} needs a common-reward game, and the agents' rewards differ in {game.name}")

    import torch
    import tyro

    from marlspec.games.batched import BatchedStagedGame
    from marlspec.reference.parts.learner import ValueLearner, usable_device
    from marlspec.reference.parts.training import train

    algorithm = learner_class(name)
    config = tyro.cli(algorithm.config_type, args=options, prog=f"marlspec train {name} {game_name}")
    torch.set_num_threads(1)  # the networks are tiny: more threads only wait for each other
    batched = BatchedStagedGame(game, usable_device(config.device))
    result = train(algorithm, batched, config, progress=sys.stderr.isatty())
    if isinstance(result.learner, ValueLearner):
        _report(result.learner, game, result.seconds, _console())
    return 0


def learner_class(name: str) -> "type[Learner]":
    """Return the learner that an algorithm file defines; InputError where there is no such algorithm."""
    from marlspec.reference.parts.learner import Learner

    files = algorithm_files()
    load(name)
    module_name = ".".join(["marlspec.reference", *files[name].relative_to(ROOT).with_suffix("").parts])
    members = vars(importlib.import_module(module_name)).values()
    return next(
        member
        for member in members
        if isinstance(member, type) and issubclass(member, Learner) and member.__module__ == module_name
    )


def _console() -> "Console":
    """A console as wide as the terminal; wide enough for code where the output is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_FILES)


def _table(title: str, columns: Sequence[str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    return table


def _show(algorithm: Algorithm, console: "Console") -> None:
    from rich.markup import escape
    from rich.syntax import Syntax
    from rich.text import Text

    console.print(f"[bold]{escape(algorithm.title)}[/bold]\nSource: {escape(algorithm.source)}\n")
    table = _table("Pseudocode and code", ["line", "pseudocode", "code"])
    for line in algorithm.listing:
        code = "\n".join(_code_of_line(algorithm, line.number))
        style = "bold yellow" if line.errata else ""
        table.add_row(
            str(line.number), Text(line.text, style), Syntax(code, "python", background_color="default", word_wrap=True)
        )
    console.print(table)
    functions = "\n\n".join(_other_functions(algorithm))
    console.print(Syntax(functions, "python", background_color="default"))
    for erratum in sorted({erratum for line in algorithm.listing for erratum in line.errata}):
        entry = ERRATA[erratum]
        console.print(
            f"\n[bold yellow]{erratum}[/bold yellow] {escape(entry.where)}\n  printed:   {escape(entry.printed)}\n"
            f"  corrected: {escape(entry.corrected)}\n  shown by:  {escape(entry.shown_by)}"
        )


def _code_of_line(algorithm: Algorithm, number: int) -> list[str]:
    """The statements that begin with a pseudocode line; a reference to them where an earlier line covers it."""
    spine = [marker for marker in algorithm.markers if marker.in_spine]
    begins = [algorithm.statement(marker) for marker in spine if min(marker.numbers) == number]
    if begins:
        return begins
    covering = next((min(marker.numbers) for marker in spine if number in marker.numbers), None)
    return [] if covering is None else [f"# with line {covering}"]


def _other_functions(algorithm: Algorithm) -> list[str]:
    """What the spine calls in the same file, with the numbers that it carries out."""
    others: dict[str, list[Marker]] = {}
    for marker in algorithm.markers:
        if not marker.in_spine:
            others.setdefault(marker.function, []).append(marker)
    return [
        "\n".join(
            [f"# {function}"]
            + [f"{algorithm.statement(marker)}  # {', '.join(map(str, marker.numbers))}" for marker in markers]
        )
        for function, markers in others.items()
    ]


def _show_difference(algorithm: Algorithm, other: Algorithm, console: "Console") -> None:
    from rich.syntax import Syntax

    pairs = [(algorithm.pseudocode, other.pseudocode), (algorithm.plain_code, other.plain_code)]
    lines = [
        line
        for old, new in pairs
        for line in difflib.unified_diff(old, new, algorithm.name, other.name, lineterm="", n=1)
    ]
    console.print(Syntax("\n".join(lines), "diff", background_color="default"))


def _train_usage() -> str:
    return "\n".join(
        [
            "usage: marlspec train ALGORITHM GAME [options]",
            "",
            "Train an algorithm on a game: a deep one prints the learned joint values beside the game's, a tabular one",
            "(cql, iql) at which joint policies its seeds ended.",
            "",
            f"algorithms: {', '.join(algorithm_files())}",
            "games:      those of `marlspec list`; only tabular algorithms take games without a common reward",
            "options:    marlspec train vdn climbing --help; marlspec train iql climbing --help",
        ]
    )


def _report(learner: "ValueLearner", game: NormalFormGame | StagedGame, seconds: float, console: "Console") -> None:
    """Print, for every stage of the game, learned values, greedy joint actions, and the utilities of one seed."""
    import torch

    from marlspec.games.batched import StagedState

    speed = learner.config.steps / seconds if seconds > 0 else 0
    console.print(
        f"{learner.config.steps} steps of {learner.config.seeds} seeds in {seconds:.1f} s ({speed:.0f} steps/s)\n"
    )
    stages = [game] if isinstance(game, NormalFormGame) else list(game.stages)
    gamma = learner.config.gamma
    optimal = [game.shared_reward()] if isinstance(game, NormalFormGame) else game.optimal_action_values(gamma)
    for s, (stage, values) in enumerate(zip(stages, optimal, strict=True)):
        state = StagedState(torch.tensor([s], device=learner.device))
        title = game.name if len(stages) == 1 else f"{game.name}, stage {s}: {stage.name}"
        console.print(f"[bold]{title}[/bold]")
        _report_stage(learner, stage, values, state, "payoff" if len(stages) == 1 else "optimal value", console)


def _report_stage(
    learner: "ValueLearner", stage: NormalFormGame, optimal: Any, state: Any, meaning: str, console: "Console"
) -> None:
    from marlspec.reference.parts.enumeration import joint_table, utility_table

    tables = joint_table(learner, state).cpu()
    utilities = utility_table(learner, state).cpu()
    console.print(_joint_values(stage, optimal, tables, meaning))
    console.print(_greedy_actions(stage, utilities))
    console.print(_utilities(stage, utilities[0]))


def _joint_values(stage: NormalFormGame, optimal: Any, tables: "Tensor", meaning: str) -> "Table":
    """Lay out the game's table and the learned one side by side: the last agent's actions in columns."""
    seeds = len(tables)
    *others, last = stage.action_labels
    spread = ", standard deviation over the seeds in brackets" if seeds > 1 else ""
    columns = [", ".join(f"agent {i + 1}" for i in range(len(others)))]
    columns += [f"{meaning} {label}" for label in last] + [f"learned {label}" for label in last]
    result = _table(f"Joint values{spread}", columns)
    for row in list(product(*(range(len(labels)) for labels in others)))[:SHOWN_ROWS]:
        name = ", ".join(labels[action] for labels, action in zip(others, row, strict=True))
        values = [f"{float(value):.2f}" for value in optimal[row]]
        index: tuple[Any, ...] = (slice(None), *row)
        learned = [_mean_and_spread(own) for own in tables[index].T]
        result.add_row(name, *values, *learned)
    left_out = optimal.size // len(last) - SHOWN_ROWS
    if left_out > 0:
        result.caption = f"{left_out} further rows"
    return result


def _mean_and_spread(values: "Tensor") -> str:
    spread = f" ({values.std().item():.2f})" if len(values) > 1 else ""
    return f"{values.mean().item():.2f}{spread}"


def _greedy_actions(stage: NormalFormGame, utilities: "Tensor") -> "Table":
    result = _table("Greedy joint action", ["seed", "joint action", "reward"])
    for s, joint in enumerate(utilities.argmax(-1).tolist()):
        result.add_row(str(s), stage.label(joint), f"{float(stage.payoff(0, joint)):g}")
    return result


def _utilities(stage: NormalFormGame, utilities: "Tensor") -> "Table":
    result = _table("Utilities of seed 0", ["agent", *(str(k) for k in range(max(stage.n_actions)))])
    for i, own in enumerate(utilities[:, : max(stage.n_actions)].tolist()):
        cells = [f"{label} {q:.2f}" for label, q in zip(stage.action_labels[i], own, strict=False)]
        result.add_row(str(i + 1), *cells)
    return result
