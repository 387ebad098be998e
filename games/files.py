"""Payoff files: a normal-form game from JSON, CSV or Gambit's .nfg, numbers taken exactly as written."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from marlspec.errors import InputError
from marlspec.games.exact_numbers import NOT_FINITE, NUMBER, exact_number
from marlspec.games.gambit import parse_nfg
from marlspec.games.matrix import NormalFormGame

SUFFIXES = (".json", ".csv", ".nfg")
KEYS = ("payoffs", "reward", "name", "actions")


class Labelled(NamedTuple):
    """Cells of a CSV table apart from its labels; where[k] is the line number of row k, and column the first one's."""

    cells: list[list[str]]
    where: list[int]
    column: int
    rows: list[str] | None
    columns: list[str] | None


def read_payoffs(path: str | Path) -> NormalFormGame:
    """Read a game from a .json, .csv or .nfg file. Every number is exact: 0.1 means one tenth, not the nearest float.

    JSON is an object with either "payoffs", nested lists of shape [n, A_1, .., A_n], or "reward", the table of shape
    [A_1, .., A_n] of a common-reward game; its entries are numbers or strings such as "1/3". "name" and "actions" (one
    list of labels per agent) may be added.

    CSV is the reward table of two agents, agent 1 in rows, with commas between the cells. A first row without any
    number names agent 2's actions, a first column without any number agent 1's. An empty first cell says that both are
    there, and labels may then look like numbers.

    An .nfg file is a strategic game of Gambit with any number of agents; parse_nfg says how it is read.

    Raises:
        InputError: the file cannot be read or is no game; the message names file, place and remedy.
    """
    path = Path(path)
    readers = {".json": _read_json, ".csv": _read_csv, ".nfg": _read_nfg}
    if not is_payoff_file(path):
        raise InputError(f"{path}: the name of a payoff file ends in .json, .csv or .nfg")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is no UTF-8: save the file as UTF-8 text") from error
    try:
        return readers[path.suffix.lower()](text, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def is_payoff_file(name: str | Path) -> bool:
    """Tell whether a name ends like that of a payoff file; the names of games never do."""
    return Path(name).suffix.lower() in SUFFIXES


class _Literal(str):
    """A number of a JSON file as it is written there."""


def _read_json(text: str, path: Path) -> NormalFormGame:
    try:
        content = json.loads(
            text,
            parse_int=_Literal,
            parse_float=_Literal,
            parse_constant=_Literal,
            object_pairs_hook=_object_without_repeats,
        )
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}, column {error.colno}: no JSON ({error.msg})") from error
    except RecursionError as error:
        raise InputError("nested too deeply for a payoff file") from error
    _check_keys(content)
    kind = "payoffs" if "payoffs" in content else "reward"
    build = NormalFormGame if kind == "payoffs" else NormalFormGame.common_reward
    return build(
        _exact_entries(content[kind], kind),
        name=_checked_name(content.get("name", path.stem)),
        citation=_origin(path),
        action_labels=_checked_actions(content.get("actions")),
    )


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for k, (key, _) in enumerate(pairs):
        if key in [earlier for earlier, _ in pairs[:k]]:
            raise InputError(f"the key {key!r} occurs twice: keep one")
    return dict(pairs)


def _check_keys(content: object) -> None:
    if not isinstance(content, dict):
        raise InputError('the top level must be an object such as {"reward": [[1, 5], [5, 9]]}')
    for key in content:
        if key not in KEYS:
            raise InputError(f"unknown key {key!r}: the keys are {', '.join(KEYS)}")
    if ("payoffs" in content) == ("reward" in content):
        raise InputError('give either "payoffs" (with an axis for the agents) or "reward" (one table for all agents)')


def _exact_entries(value: object, place: str) -> object:
    """Turn every number or string of nested lists into an exact number, the rest left for the game to judge."""
    if isinstance(value, list):
        return [_exact_entries(entry, f"{place}[{k}]") for k, entry in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        return exact_number(value)
    except InputError as error:
        raise InputError(f"{place} {error}") from error


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or isinstance(name, _Literal):
        raise InputError(f'"name" must be a string, not {name!r}')
    return name


def _checked_actions(actions: object) -> list[list[object]] | None:
    if actions is None:
        return None
    if not isinstance(actions, list) or not all(isinstance(own, list) for own in actions):
        raise InputError('"actions" must hold one list of labels per agent, such as [["A", "B"], ["A", "B"]]')
    for i, own in enumerate(actions):
        for k, label in enumerate(own):
            if not isinstance(label, str) or isinstance(label, _Literal):
                raise InputError(f"actions[{i}][{k}] is {label}: write a label in quotes")
    return actions


def _read_csv(text: str, path: Path) -> NormalFormGame:
    try:
        lines = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise InputError(f"no CSV ({error})") from error
    numbered = [(k + 1, [cell.strip() for cell in line]) for k, line in enumerate(lines) if any(map(str.strip, line))]
    if not numbered:
        raise InputError("the file is empty: write one row of rewards for each action of agent 1")
    _check_rectangle(numbered)
    table = _apart_from_labels(numbered)
    rewards = [
        [_exact_cell(cell, line, table.column + k) for k, cell in enumerate(cells)]
        for line, cells in zip(table.where, table.cells, strict=True)
    ]
    game = NormalFormGame.common_reward(rewards)
    labels = [given or own for given, own in zip((table.rows, table.columns), game.action_labels, strict=True)]
    return NormalFormGame.common_reward(rewards, name=path.stem, citation=_origin(path), action_labels=labels)


def _check_rectangle(numbered: list[tuple[int, list[str]]]) -> None:
    width = len(numbered[0][1])
    for line, cells in numbered:
        if len(cells) != width:
            raise InputError(f"line {line} has {len(cells)} cells where the first row has {width}: fill the row up")
    if width == 1 and any(";" in cells[0] or "\t" in cells[0] for _, cells in numbered):
        raise InputError(f"line {numbered[0][0]}: cells are separated by commas, not by semicolons or tabs")


def _apart_from_labels(numbered: list[tuple[int, list[str]]]) -> Labelled:
    where = [line for line, _ in numbered]
    cells = [row for _, row in numbered]
    corner_is_empty = cells[0][0] == ""
    has_columns = corner_is_empty or all(map(_is_label, cells[0][1:] or cells[0]))
    body = cells[1:] if has_columns else cells
    has_rows = corner_is_empty or (bool(body) and all(_is_label(row[0]) for row in body))
    if has_columns and not has_rows and not _is_label(cells[0][0]):
        has_columns, body = False, cells
    skip = int(has_rows)
    if not body or len(body[0]) == skip:
        raise InputError("there are labels but no rewards: write one row of rewards for each action of agent 1")
    return Labelled(
        cells=[row[skip:] for row in body],
        where=where[int(has_columns) :],
        column=1 + skip,
        rows=[row[0] for row in body] if has_rows else None,
        columns=cells[0][skip:] if has_columns else None,
    )


def _is_label(cell: str) -> bool:
    return cell != "" and not NUMBER.fullmatch(cell) and not NOT_FINITE.fullmatch(cell)


def _exact_cell(cell: str, line: int, column: int) -> int | Fraction:
    if cell == "":
        raise InputError(f"line {line}, cell {column} is empty: every joint action needs a reward")
    try:
        return exact_number(cell)
    except InputError as error:
        raise InputError(f"line {line}, cell {column} {error}") from error


def _read_nfg(text: str, path: Path) -> NormalFormGame:
    return parse_nfg(text, name=path.stem, origin=_origin(path))


def _origin(path: Path) -> str:
    return f"read from {path}, decimals taken exactly"
