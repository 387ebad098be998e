"""The command `marlspec decide`: which decompositions a game admits, exactly."""

import argparse
import json
import re
import textwrap
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

from marlspec.errors import InputError
from marlspec.games.catalogue import GAMES, get
from marlspec.games.files import is_payoff_file, read_payoffs
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.games.stochastic import StochasticGame
from marlspec.properties.proof.decomposition import QUESTIONS, Decision, Question, decide, describe, exact_table

SCHEMA = "marlspec.decide/1"
WIDTH = 110
NO_BREAK = "\N{NO-BREAK SPACE}"


def decide_command(argv: list[str]) -> int:
    """Print every decision on one game with its certificate.

    Args:
        argv: the name of a game or a payoff file, and optionally --json.

    Returns:
        0, whatever the answers are.

    Raises:
        InputError: no such game or file, a malformed file, a general-sum game or a staged game.
    """
    parser = argparse.ArgumentParser(
        prog="marlspec decide",
        description="Decide in exact arithmetic which decompositions a common-reward game admits.",
        epilog=f"Games: {', '.join(GAMES)}. Parameters: penalty:-10, coordination:4x3 (4 agents, 3 actions).",
    )
    parser.add_argument("game", help="the name of a game, or a payoff file ending in .json, .csv or .nfg")
    parser.add_argument("--json", action="store_true", help="print machine-readable output")
    arguments = parser.parse_args(argv)
    game = _normal_form(arguments.game)
    decisions = decide(game)
    print(_json_text(game, decisions) if arguments.json else _plain_text(game, decisions))
    return 0


def _normal_form(name: str) -> NormalFormGame:
    """Read a file where the name ends like one, else look in the catalogue."""
    game = read_payoffs(name) if is_payoff_file(name) else get(name)
    if isinstance(game, StochasticGame):
        raise InputError(f"{game.name} is played in many steps: the decisions are for games of one, such as climbing")
    if isinstance(game, StagedGame):
        stages = ", ".join(stage.name for stage in game.stages)
        raise InputError(
            f"{game.name} is played in stages ({stages}), and the decisions are for games of one stage: "
            "decide a stage alone, such as 2b, linear or monotonic"
        )
    return game


def _plain_text(game: NormalFormGame, decisions: dict[Question, Decision]) -> str:
    lines = [game.name, game.citation, "", str(game), "", *_wrapped(_legend(game))]
    for question, decision in decisions.items():
        lines += ["", f"{'yes' if decision.holds else 'no':<4}{QUESTIONS[question]}"]
        lines += _wrapped(describe(decision, game), indent="    ")
    return "\n".join(lines)


def _legend(game: NormalFormGame) -> str:
    layout = "" if game.n_agents == 1 else " The table has agent 1 in rows and agent 2 in columns."
    return f"R is the reward that all agents receive, u_i the utility of agent i's own action.{layout}"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Break lines between words, but not within (A, B) or before the value after an equals sign."""
    units = re.sub(r"\([^()]*\)| = \S+", lambda match: match[0].replace(" ", NO_BREAK), text)
    lines = textwrap.wrap(units, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return [line.replace(NO_BREAK, " ") for line in lines]


def _json_text(game: NormalFormGame, decisions: dict[Question, Decision]) -> str:
    content = {
        "schema": SCHEMA,
        "game": {
            "name": game.name,
            "citation": game.citation,
            "actions": game.action_labels,
            "reward": _plain(exact_table(game).tolist()),
        },
        "decisions": [
            {
                "question": question,
                "statement": QUESTIONS[question],
                "holds": decision.holds,
                "certificate": _plain(decision.certificate),
                "words": describe(decision, game),
            }
            for question, decision in decisions.items()
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Turn certificates into what JSON knows: a dataclass into its fields and kind, a Fraction into "p/q"."""
    if is_dataclass(value):
        kind = {"kind": type(value).__name__}
        return kind | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Fraction):
        return str(value)
    return value
