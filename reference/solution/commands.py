"""The command `marlspec solve`: what is known about one normal-form game, in the terminal, as JSON and as a figure."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlspec.errors import InputError
from marlspec.games.catalogue import GAMES, get
from marlspec.games.files import is_payoff_file, read_payoffs
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.reference.solution.analysis import Analysis, Correlated, NashEquilibrium, Objective, analyse
from marlspec.reference.solution.figure import Solutions, check_figure_path, draw_rewards, save_figure
from marlspec.reference.solution.pareto import ParetoAnswer
from marlspec.reference.solution.welfare import welfare

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = "marlspec.solve/1"
WIDTH_OF_FILES = 160
PRINTED_JOINT_ACTIONS = 400
PRINTED_DIGITS = 24
COLUMNS = (
    "rewards",
    "welfare",
    "Pareto-optimal among\njoint actions",
    "Pareto-optimal among\ncorrelated policies",
)


def solve_command(argv: list[str]) -> int:
    """Print equilibria, Pareto optimality, minimax values and correlated equilibria of one game.

    Args:
        argv: the name of a game or a payoff file, and options.

    Returns:
        0, whatever the game has.

    Raises:
        InputError: no such game or file, a malformed file, a game that is played in several steps, an objective that
            does not fit, or a figure of other than two agents.
    """
    parser = argparse.ArgumentParser(
        prog="marlspec solve",
        description="Solve a normal-form game: Nash, correlated and minimax equilibria, and which are Pareto-optimal.",
        epilog=f"Games: {', '.join(GAMES)}. Parameters: penalty:-10, coordination:4x3 (4 agents, 3 actions).",
    )
    parser.add_argument("game", help="the name of a game, or a payoff file ending in .json, .csv or .nfg")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all results to this file")
    parser.add_argument(
        "--figure", metavar="FILE", type=Path, help="draw two agents' joint rewards to this .png, .svg or .pdf file"
    )
    parser.add_argument(
        "--objective",
        default="welfare",
        help="what the best correlated equilibrium maximises: welfare (the sum of the expected rewards, and the "
        "default), fairness (their product), or one agent's reward, by its number from 1 on",
    )
    arguments = parser.parse_args(argv)
    game = _normal_form(arguments.game)
    objective = _objective(arguments.objective, game)
    if arguments.figure:
        _check_figure(arguments.figure, game)
    console = _console()
    with console.status(f"solving {game.name}"):
        analysis = analyse(game, objective)
    _print(analysis, console)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(as_json(analysis), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.figure:
        save_figure(draw_rewards(game, _marks(analysis)), arguments.figure)
    return 0


def as_json(analysis: Analysis) -> dict[str, Any]:
    """Return all results in what JSON knows: whole numbers as they are, other fractions as "p/q"."""
    game, equilibria, minimax = analysis.game, analysis.equilibria, analysis.minimax
    return {
        "schema": SCHEMA,
        "game": {
            "name": game.name,
            "citation": game.citation,
            "actions": game.action_labels,
            "payoffs": _plain(game.payoffs),
        },
        "objective": _objective_name(analysis.objective),
        "pure": {"count": analysis.n_pure, "equilibria": [_nash_json(found, game) for found in analysis.pure]},
        "mixed": None
        if equilibria is None
        else {
            "degenerate": equilibria.degenerate,
            "exact": equilibria.exact,
            "method": equilibria.method,
            "equilibria": [_nash_json(found, game) for found in analysis.mixed],
        },
        "minimax": None
        if minimax is None
        else {
            "value": _plain(minimax.value),
            "strategies": _plain(minimax.strategies),
            "gap": _plain(minimax.gap),
            "exact": minimax.exact,
            "method": minimax.method,
        },
        "correlated": _correlated_json(analysis.correlated),
        "coarse_correlated": _correlated_json(analysis.coarse),
        "left_out": analysis.left_out,
    }


def _normal_form(name: str) -> NormalFormGame:
    game = read_payoffs(name) if is_payoff_file(name) else get(name)
    if isinstance(game, StagedGame):
        stages = ", ".join(stage.name for stage in game.stages)
        raise InputError(
            f"{game.name} is played in stages ({stages}), and this command solves games of one stage: name a stage "
            "alone, such as 2b, linear or monotonic, or write its payoffs to a file"
        )
    if not isinstance(game, NormalFormGame):
        raise InputError(
            f"{game.name} is a stochastic game, and this command solves games of one step: verify given policies with "
            "is_nash and regret of marlspec.reference.solution.sequential"
        )
    return game


def _objective(text: str, game: NormalFormGame) -> Objective:
    if text in ("welfare", "fairness"):
        return text
    if not text.isdecimal() or not 1 <= int(text) <= game.n_agents:
        raise InputError(
            f"--objective {text}: write welfare, fairness, or the number of an agent, from 1 to {game.n_agents}"
        )
    return int(text) - 1


def _objective_name(objective: Objective) -> str:
    return objective if isinstance(objective, str) else f"reward of agent {objective + 1}"


def _check_figure(path: Path, game: NormalFormGame) -> None:
    """Refuse, before anything is computed, what cannot be drawn."""
    check_figure_path(path)
    if game.n_agents != 2:
        raise InputError(
            f"--figure draws the joint rewards of two agents, and {game.name} has {game.n_agents}: leave it out"
        )


def _marks(analysis: Analysis) -> Solutions:
    return Solutions(
        pure=[found.rewards for found in analysis.pure],
        mixed=[found.rewards for found in analysis.mixed],
        correlated=None if analysis.correlated is None else analysis.correlated.rewards,
        objective=_objective_name(analysis.objective),
    )


def _nash_json(found: NashEquilibrium, game: NormalFormGame) -> dict[str, Any]:
    action = None if found.action is None else [game.action_labels[i][k] for i, k in enumerate(found.action)]
    return {
        "joint_action": action,
        "profile": _plain(found.profile),
        "rewards": _plain(found.rewards),
        "welfare": _plain(welfare(found.rewards)),
        "pareto_optimal": {
            "deterministic": found.deterministic and found.deterministic.answer,
            "correlated": found.correlated and found.correlated.answer,
        },
    }


def _correlated_json(found: Correlated | None) -> dict[str, Any] | None:
    if found is None:
        return None
    solution = found.solution
    return {
        "joint": _plain(solution.joint),
        "rewards": _plain(found.rewards),
        "value": _plain(solution.value),
        "bound": _plain(solution.bound),
        "gap": _plain(solution.gap),
        "exact": solution.exact,
        "method": solution.method,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    number = Fraction(value)
    return number.numerator if number.denominator == 1 else str(number)


def _console() -> "Console":
    """A console as wide as the terminal; wide enough for a table where the output is a file or a pipe."""
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=WIDTH_OF_FILES)


def _print(analysis: Analysis, console: "Console") -> None:
    _print_game(analysis.game, console)
    _print_pure(analysis, console)
    _print_mixed(analysis, console)
    _print_minimax(analysis, console)
    _print_correlated(analysis, console)
    if analysis.left_out:
        _heading("Left out", console)
    for words in analysis.left_out:
        console.print(f"  {words}", markup=False)


def _print_game(game: NormalFormGame, console: "Console") -> None:
    console.print(game.name, style="bold", markup=False)
    console.print(f"{game.citation}\n", markup=False)
    if prod(game.n_actions) > PRINTED_JOINT_ACTIONS:
        console.print(f"{game.n_agents} agents with {'x'.join(map(str, game.n_actions))} actions: no table is printed")
        return
    console.print(str(game), markup=False)
    layout = "\nAgent 1 in rows, agent 2 in columns; " if game.n_agents > 1 else "\n"
    shown = "the reward that all agents receive" if game.is_common_reward else "the reward of each agent in turn"
    console.print(f"{layout}{shown}.")


def _print_pure(analysis: Analysis, console: "Console") -> None:
    _heading(f"Pure Nash equilibria: {analysis.n_pure or 'none'}", console)
    if not analysis.pure:
        return
    table = _table(["joint action", *COLUMNS])
    for found in analysis.pure:
        assert found.action is not None
        table.add_row(_text(analysis.game.label(found.action)), *_cells(found, analysis.game))
    console.print(table)


def _print_mixed(analysis: Analysis, console: "Console") -> None:
    equilibria = analysis.equilibria
    if equilibria is None:
        return
    _heading(f"Mixed Nash equilibria: {len(equilibria.profiles) - analysis.n_pure or 'none'}", console)
    if analysis.mixed:
        table = _table(["agent 1", "agent 2", *COLUMNS])
        for found in analysis.mixed:
            mixes = [_mix(mix, labels) for mix, labels in zip(found.profile, analysis.game.action_labels, strict=True)]
            table.add_row(*map(_text, mixes), *_cells(found, analysis.game))
        console.print(table)
    extent = (
        "The game is degenerate: pure and mixed, these are the extreme equilibria, and there may be mixtures of them"
        if equilibria.degenerate
        else "The game is not degenerate: pure and mixed, these are all equilibria"
    )
    console.print(f"  {extent}.\n  Method: {equilibria.method}.")


def _print_minimax(analysis: Analysis, console: "Console") -> None:
    solution = analysis.minimax
    if solution is None:
        return
    _heading(f"Minimax value for agent 1, the game being zero-sum: {_number(solution.value)}", console)
    table = _table(["agent", "strategy"])
    for i, (mix, labels) in enumerate(zip(solution.strategies, analysis.game.action_labels, strict=True)):
        table.add_row(str(i + 1), _text(_mix(mix, labels)))
    console.print(table)
    console.print(f"  Gap {_number(solution.gap)}, in exact numbers. Method: {solution.method}.")


def _print_correlated(analysis: Analysis, console: "Console") -> None:
    best, coarse = analysis.correlated, analysis.coarse
    if best is not None:
        _print_distribution("Best correlated equilibrium", best, analysis, console)
    if coarse is None:
        return
    if best is None or best.solution.value != coarse.solution.value:
        _print_distribution("Best coarse correlated equilibrium", coarse, analysis, console)
    else:
        _heading("Best coarse correlated equilibrium: none is better than the best correlated one", console)


def _print_distribution(kind: str, found: Correlated, analysis: Analysis, console: "Console") -> None:
    solution, game = found.solution, analysis.game
    _heading(f"{kind} ({_objective_name(analysis.objective)}): {_number(solution.value)}", console)
    table = _table(["joint action", "probability", "rewards"])
    for a in np.argwhere(solution.joint).tolist():
        table.add_row(_text(game.label(a)), _number(solution.joint[tuple(a)]), _numbers(game.rewards(tuple(a))))
    console.print(table)
    console.print(f"  Expected rewards {', '.join(map(_number, found.rewards))}.")
    bound = "" if solution.value == solution.bound else f" No more than {_number(solution.bound)} is possible."
    console.print(f"  Gap {_number(solution.gap)}, in exact numbers.{bound} Method: {solution.method}.")


def _cells(found: NashEquilibrium, game: NormalFormGame) -> list[Any]:
    answers = [_answer(found.deterministic, game), _answer(found.correlated, game)]
    return [_numbers(found.rewards), _numbers([welfare(found.rewards)]), *map(_text, answers)]


def _answer(found: ParetoAnswer | None, game: NormalFormGame) -> str:
    """Write an answer, a "no" with the joint action that dominates where one joint action does."""
    if found is None:
        return "left out"
    if not isinstance(found.dominated_by, tuple):
        return found.answer
    return f"{found.answer}: {game.label([int(action) for action in found.dominated_by])}"


def _mix(mix: Iterable[Any], labels: Sequence[str]) -> str:
    """Write the actions that a mix plays with their probabilities, and below them the same in decimals."""
    played = [(label, Fraction(p)) for p, label in zip(mix, labels, strict=True) if p]
    return _in_both([f"{label} " for label, _ in played], [p for _, p in played])


def _numbers(values: Iterable[Any]) -> str:
    """Write numbers exactly, and below them the same in decimals."""
    numbers = [Fraction(value) for value in values]
    return _in_both([""] * len(numbers), numbers)


def _in_both(names: Sequence[str], numbers: Sequence[Fraction]) -> str:
    """Join names and numbers, as fractions and, where some is no whole number, in decimals below; long ones only so."""
    exact = ", ".join(f"{name}{number}" for name, number in zip(names, numbers, strict=True))
    decimals = ", ".join(f"{name}{_decimals(number)}" for name, number in zip(names, numbers, strict=True))
    if max(len(str(number)) for number in numbers) > PRINTED_DIGITS:
        return f"about {decimals}"
    return exact if all(number.denominator == 1 for number in numbers) else f"{exact}\n{decimals}"


def _number(value: Any) -> str:
    """Write a fraction exactly with its decimals beside it; a long one in decimals alone."""
    number = Fraction(value)
    if len(str(number)) > PRINTED_DIGITS:
        return f"about {_decimals(number)}"
    return str(number) if number.denominator == 1 else f"{number} ({_decimals(number)})"


def _decimals(number: Fraction) -> str:
    """Write up to six digits, of numbers that no float can hold as well."""
    return f"{Decimal(number.numerator) / Decimal(number.denominator):.6g}"


def _heading(words: str, console: "Console") -> None:
    console.print(f"\n{words}", style="bold", markup=False)


def _table(columns: Sequence[str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    return table


def _text(words: str) -> Any:
    """Words as they are, with no markup read from them."""
    from rich.text import Text

    return Text(words)
