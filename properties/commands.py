"""The commands `marlspec check`, `marlspec replay` and `marlspec claims`."""

import argparse
import ast
import hashlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marlspec.errors import InputError
from marlspec.properties.claims import claims_of
from marlspec.properties.clock import DEFAULT_LIMIT
from marlspec.properties.judge import check, replay
from marlspec.properties.page import write_page
from marlspec.properties.roles import ROLES, role_named
from marlspec.properties.terminal import print_report
from marlspec.properties.trial import TargetError
from marlspec.properties.verdicts import Report, read_witness

LONGEST_STEM = 120  # of a witness's file name: a command may be longer than a file name can be


def check_command(argv: Sequence[str]) -> int:
    """Judge one target; returns 0 (all hold), 1 (refuted) or 2 (could not be judged)."""
    options = _check_parser().parse_args(argv)
    report = check(
        options.target,
        options.role,
        examples=options.examples,
        seed=options.seed,
        settings=settings_of(options.set),
        sizes=sizes_of(options.sizes),
        parameters=options.parameters,
        expected=expectations_of(options.expect),
        fail_fast=options.fail_fast,
        time_limit=options.time_limit,
    )
    console = Console()
    print_report(report, console)
    if options.json:
        report.write_json(options.json)
    if options.html:
        write_page([report], options.html)
    if options.junit:
        from marlspec.properties.junit import write_junit

        write_junit([report], options.junit)
    for path in write_witnesses(report, options.witnesses):
        words = shlex.join(["marlspec", "replay", str(path), options.target])
        console.print(f"replay with: {escape(words)}", soft_wrap=True)
    return report.exit_code


def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marlspec check",
        description="Judge an implementation against the claims of a role.",
        epilog="Exit codes: 0 all claims hold, 1 refuted, 2 the target could not be judged.",
    )
    parser.add_argument("target", help="a factory: package.module:attribute, path/file.py:attribute or exec:COMMAND")
    parser.add_argument("--role", required=True, help=f"what the target is: {', '.join(ROLES)}")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="keyword argument of the factory"
    )
    parser.add_argument("--examples", type=int, default=200, help="batches that each claim may draw (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default 0)")
    parser.add_argument(
        "--sizes", metavar="NxS,..", help="sizes to judge at, agents x state size: 2x3,3x2 (joint_value: NxAxS)"
    )
    parser.add_argument(
        "--parameters",
        choices=("redrawn", "given"),
        default="redrawn",
        help="judge the architecture (parameters drawn anew), or the given ones alone, for code that clips its weights",
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="CLAIM=REASON", help="a known refutation, strict"
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=DEFAULT_LIMIT,
        metavar="SECONDS",
        help=f"for each claim; a verdict that was cut short says so (default {DEFAULT_LIMIT:g})",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop after the first refutation")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write the report as JUnit XML")
    parser.add_argument("--html", metavar="FILE", help="write the report as one static page")
    parser.add_argument(
        "--witnesses", metavar="DIR", default="report/witnesses", help="where counterexamples are written"
    )
    return parser


def replay_command(argv: Sequence[str]) -> int:
    """Run a recorded counterexample again; returns 1 if it still refutes the target, else 0."""
    parser = argparse.ArgumentParser(prog="marlspec replay", description="Run a recorded counterexample again.")
    parser.add_argument("witness", help="the JSON file that marlspec check wrote")
    parser.add_argument("target", help="the target that it was found on")
    options = parser.parse_args(argv)
    witness = read_witness(options.witness)
    try:
        found = replay(witness, options.target)
    except TargetError as error:
        raise InputError(f"{options.target} could not be judged: {error}") from error
    console = Console()
    if found is None:
        console.print(f"{witness.claim_id} is no longer refuted by this case", style="green")
        return 0
    console.print(f"{witness.claim_id} is still refuted", style="red")
    for line in witness.lines()[:-2]:
        console.print(f"  {escape(line)}", highlight=False)
    console.print(f"  computed: {escape(found.computed)}", highlight=False)
    console.print(f"  required: {escape(found.required)}", highlight=False)
    return 1


def claims_command(argv: Sequence[str]) -> int:
    """List roles with their signatures, and the claims of each."""
    parser = argparse.ArgumentParser(prog="marlspec claims", description="List the roles and their claims.")
    parser.add_argument("role", nargs="?", help="one role; all by default")
    options = parser.parse_args(argv)
    console = Console()
    for role in [role_named(options.role)] if options.role else ROLES.values():
        console.print(f"[bold]{role.name}[/]  {escape(role.signature)}", highlight=False)
        table = Table(header_style="bold")
        for column in ("claim", "statement", "decided by", "source"):
            table.add_column(column, overflow="fold", no_wrap=column == "claim")
        for entry in claims_of(role.name):
            table.add_row(entry.id, escape(entry.statement), escape(entry.method), escape(entry.cite))
        console.print(table)
    return 0


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is a Python literal, or else the text itself.

    Raises:
        InputError: no '=', or a name that is no identifier.
    """
    settings: dict[str, Any] = {}
    for name, value in (_pair(pair, "--set", "NAME=VALUE") for pair in pairs):
        if not name.isidentifier():
            raise InputError(f"--set {name}={value}: {name!r} is no name of a keyword argument")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def expectations_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read CLAIM=REASON pairs.

    Raises:
        InputError: no '=' or no reason.
    """
    return dict(_pair(pair, "--expect", "CLAIM=REASON") for pair in pairs)


def sizes_of(text: str | None) -> list[list[int]] | None:
    """Read sizes as in 2x3,3x2.

    Raises:
        InputError: anything else.
    """
    if text is None:
        return None
    if not re.fullmatch(r"\d+(x\d+)+(,\d+(x\d+)+)*", text):
        raise InputError(f"--sizes {text}: write sizes as in 2x3,3x2 (agents x state size, separated by commas)")
    return [[int(number) for number in size.split("x")] for size in text.split(",")]


def write_witnesses(report: Report, folder: str) -> list[Path]:
    """Write each counterexample as a JSON file named by target and claim; returns the paths."""
    import json

    paths = []
    for witness in report.witnesses:
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", report.target).strip("-.")[-LONGEST_STEM:].strip("-.")
        tag = hashlib.sha256(f"{report.target} {report.role} {sorted(report.settings.items())}".encode()).hexdigest()[
            :6
        ]
        path = Path(folder) / f"{stem}-{tag}-{witness.claim_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(witness.to_json(), indent=2) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError(f"{option} {text}: write {form}")
    return name, value
