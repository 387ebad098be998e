"""The commands that list, show and train the reference algorithms."""

import argparse
import difflib
import importlib
import sys
from typing import TYPE_CHECKING

from marlspec.errors import InputError
from marlspec.games.batched_catalogue import descriptions, is_exact
from marlspec.games.catalogue import get
from marlspec.reference.errata import ERRATA
from marlspec.reference.listing import ROOT, Algorithm, Marker, algorithm_files, load
from marlspec.reference.parts.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from marlspec.reference.parts.learner import Learner

WIDTH_OF_FILES = 180


def list_command(argv: list[str]) -> int:
    """List the algorithms and the games with their sources."""
    parser = argparse.ArgumentParser(
        "marlspec list", description="List the algorithms and the games with their sources."
    )
    parser.parse_args(argv)
    console = _console()
    algorithms = table("Algorithms", ["name", "what it is", "source"])
    for name in algorithm_files():
        algorithm = load(name)
        algorithms.add_row(name, algorithm.title, algorithm.source)
    games = table("Games", ["name", "agents", "actions", "size", "observation", "common reward", "source"])
    for name, game in descriptions().items():
        games.add_row(name, *game)
    games.caption = (
        "Tabular algorithms take the games up to goals, deep ones all; an observation is that of a deep one."
    )
    games.caption_justify = "left"
    console.print(algorithms)
    console.print(games)
    return 0


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
        InputError: no such algorithm or game, an option out of range, a game that the algorithm does not take, or a
            folder that does not fit the run.
    """
    if any(flag in argv[:2] for flag in ("-h", "--help")):
        print(_train_usage())
        return 0
    if len(argv) < 2 or any(argument.startswith("-") for argument in argv[:2]):
        raise InputError("name an algorithm and a game first, as in: marlspec train vdn climbing --seeds 5")
    name, game_name, *options = argv
    load(name)
    progress = sys.stderr.isatty()
    if algorithm_files()[name].parent.name != "tabular":
        from marlspec.reference.parts.train_command import train_deep

        return train_deep(name, learner_class(name), game_name, options, _console(), progress=progress)
    if not is_exact(game_name):
        raise InputError(
            f"{name} keeps a table of all states and takes games up to goals in marlspec list, no {game_name}"
        )

    from marlspec.reference.parts.tabular_report import train_tabular

    train_tabular(name, game_name, get(game_name), options, _console(), progress=progress)
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


def _show(algorithm: Algorithm, console: "Console") -> None:
    from rich.markup import escape
    from rich.syntax import Syntax
    from rich.text import Text

    console.print(f"[bold]{escape(algorithm.title)}[/bold]\nSource: {escape(algorithm.source)}\n")
    lines = table("Pseudocode and code", ["line", "pseudocode", "code"])
    for line in algorithm.listing:
        code = "\n".join(_code_of_line(algorithm, line.number))
        style = "bold yellow" if line.errata else ""
        lines.add_row(
            str(line.number), Text(line.text, style), Syntax(code, "python", background_color="default", word_wrap=True)
        )
    console.print(lines)
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
            "Train an algorithm on a game. A deep one prints what its greedy episodes return, and what is learned of a",
            "matrix or staged game; a tabular one (cql, iql) at which joint policies its seeds ended.",
            "",
            f"algorithms: {', '.join(algorithm_files())}",
            "games:      those of `marlspec list`; its first ones, up to goals, are for tabular algorithms as well",
            "options:    marlspec train vdn climbing --help; marlspec train iql climbing --help",
            "",
            "With --folder a deep run is kept: metrics and checkpoints. --folder FOLDER --resume goes on with it.",
            "Exit codes: 0 trained, 2 bad input or a loss that is not finite, 130 stopped by Ctrl-C.",
        ]
    )
