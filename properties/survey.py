"""The command `marlspec survey`: all third-party targets that are installed, judged, in one table and one page.

What is judged is declared in a file, examples/survey.toml of a checkout by default. Each target is judged in a process
of its own, by `marlspec check`, so that one which crashes takes nothing along.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from marlspec.errors import InputError
from marlspec.properties.clock import DEFAULT_LIMIT
from marlspec.properties.page import write_page
from marlspec.properties.roles import role_named
from marlspec.properties.verdicts import Report

DECLARED = Path("examples/survey.toml")
PEERS = "pip install 'marlspec[peers]'"
BEGIN, END = "<!-- survey: begin -->", "<!-- survey: end -->"
VERSIONS = "import importlib.metadata, sys; [print(importlib.metadata.version(name)) for name in sys.argv[1:]]"
CHECK = "from marlspec.cli import main; main()"
HEADS = ("target", "role", "version", "outcome", "refuted", "not judged")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("target", "role", "python", "install", "known"), str),
    "packages": list,
    "settings": dict,
    "examples": int,
}


@dataclass(frozen=True)
class Entry:
    """One declared target.

    Attributes:
        target: as for `marlspec check`; $NAME stands for a variable of the environment.
        role: what it is judged as.
        packages: distributions that it needs, whose versions are told.
        settings: keyword arguments of its factory.
        examples: a budget of its own.
        python: the variable that holds the path of the Python in which the packages are, where it is not this one.
        install: how to get the packages.
        known: why it cannot be judged as it stands, where that is known.
    """

    target: str
    role: str
    packages: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    examples: int | None = None
    python: str = ""
    install: str = PEERS
    known: str = ""

    @property
    def name(self) -> str:
        """Target and settings, as the tables have them; variables stand as declared, the same on every machine."""
        return " ".join([self.target, *(f"{name}={value}" for name, value in self.settings.items())])

    def command(self) -> str:
        """Return the target with variables filled in."""
        return Template(self.target).substitute({name: shlex.quote(os.environ[name]) for name in self.variables()})

    def variables(self) -> list[str]:
        """Return the variables that it needs."""
        return list(dict.fromkeys([*Template(self.target).get_identifiers(), *([self.python] if self.python else [])]))


@dataclass(frozen=True)
class Row:
    """What came of one target: a report, or the reason why there is none."""

    entry: Entry
    versions: Mapping[str, str] = field(default_factory=dict)
    report: Report | None = None
    missing: str = ""
    problem: str = ""

    @property
    def refuted(self) -> list[str]:
        """The claims that are refuted."""
        return self._with("refuted")

    @property
    def errors(self) -> list[str]:
        """The claims that could not be judged."""
        return self._with("error")

    @property
    def outcome(self) -> str:
        """In a word or two."""
        if self.missing:
            return "not installed"
        if self.report is None or len(self.errors) == len(self.report.verdicts):
            return "not judged"
        if self.refuted:
            return "refuted"
        return "not judged in part" if self.errors else "holds"

    def _with(self, outcome: str) -> list[str]:
        verdicts = self.report.verdicts if self.report else ()
        return [verdict.claim_id for verdict in verdicts if verdict.outcome == outcome]


# --- what is declared, and what of it is there ------------------------------------------------------------------------


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read declared targets.

    Raises:
        InputError: no such file, no TOML, or a target with missing or unknown fields.
    """
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; run it in a checkout of marlspec, or name a file by --targets" if path == DECLARED else ""
        raise InputError(f"cannot read the declared targets {path}: {error.strerror}{hint}") from error
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    targets = record.get("target")
    if not isinstance(targets, list) or not targets:
        raise InputError(f"{path} declares no targets: write a table [[target]] for each")
    return tuple(_entry(fields, f"target {k} of {path}") for k, fields in enumerate(targets, start=1))


def _entry(fields: Mapping[str, Any], where: str) -> Entry:
    for name, value in fields.items():
        if name not in _FIELDS:
            raise InputError(f"{where} has an unknown field {name!r}; the fields are {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]):
            raise InputError(f"{where} has {name} = {value!r}, which is no {_FIELDS[name].__name__}")  # type: ignore[union-attr]
    for name in ("target", "role", "packages"):
        if name not in fields:
            raise InputError(f"{where} has no field {name!r}")
    role_named(fields["role"])
    return Entry(**{**fields, "packages": tuple(fields["packages"])})


def versions_of(entry: Entry) -> tuple[dict[str, str], str]:
    """Return the versions of the packages that an entry needs, and what is missing, in words ("" where nothing is)."""
    unset = [name for name in entry.variables() if not os.environ.get(name)]
    if unset:
        return {}, f"the environment sets no {', '.join(unset)}"
    if entry.python:
        return _versions_elsewhere(entry)
    found = {}
    for name in entry.packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            return {}, f"no package {name}"
    return found, ""


def _versions_elsewhere(entry: Entry) -> tuple[dict[str, str], str]:
    """The same in the environment of another Python."""
    python = os.environ[entry.python]
    try:
        done = subprocess.run(
            [python, "-c", VERSIONS, *entry.packages], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"{entry.python}={python} does not run: {error}"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        return {}, f"{entry.python}={python} lacks a package: {last}"
    return dict(zip(entry.packages, done.stdout.split(), strict=True)), ""


# --- judging ----------------------------------------------------------------------------------------------------------


class Judge(Protocol):
    """Judges entries, in several threads at once."""

    def __call__(self, entry: Entry) -> Report:
        """Return the report on one entry.

        Raises:
            InputError: there is none.
        """

    def close(self) -> None:
        """End what runs."""


class Checks:
    """Runs `marlspec check` for one entry after the other, from several threads; ends what runs when it is left."""

    def __init__(self, examples: int, seed: int, time_limit: float) -> None:
        self._options = ["--seed", str(seed), "--time-limit", str(time_limit)]
        self._examples = examples
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __call__(self, entry: Entry) -> Report:
        """Judge one target in a process of its own.

        Raises:
            InputError: there is no report, with what the process said.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "report.json"
            said, code = self._run([*self._arguments(entry), "--json", str(file)])
            if not file.exists():
                last = (said.strip().splitlines() or ["it says nothing"])[-1]
                raise InputError(f"marlspec check ended with {code}: {last}")
            return Report.from_json(json.loads(file.read_text(encoding="utf-8")), entry.name)

    def close(self) -> None:
        """End what runs."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.terminate()

    def _arguments(self, entry: Entry) -> list[str]:
        settings = [part for name, value in entry.settings.items() for part in ("--set", f"{name}={value}")]
        examples = ["--examples", str(entry.examples or self._examples)]
        return ["check", entry.command(), "--role", entry.role, *settings, *examples, *self._options]

    def _run(self, arguments: Sequence[str]) -> tuple[str, int]:
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        with self._lock:
            if self._closed:
                raise InputError("the survey was ended")
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", CHECK, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            self._running.add(process)
        try:
            return process.communicate()[1], process.returncode
        finally:
            with self._lock:
                self._running.discard(process)


def survey(entries: Sequence[Entry], judge: Judge, jobs: int, console: Console) -> list[Row]:
    """Judge all entries that are installed, some at a time, with progress; rows in the order of the entries."""
    found = [versions_of(entry) for entry in entries]
    rows = {k: Row(entry, missing=missing) for k, (entry, (_, missing)) in enumerate(zip(entries, found, strict=True))}
    ready = [k for k, row in rows.items() if not row.missing]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("judging", total=len(ready))
        futures = {pool.submit(judge, entries[k]): k for k in ready}
        try:
            for future in as_completed(futures):
                k = futures[future]
                rows[k] = _row(entries[k], found[k][0], future)
                progress.console.print(f"{escape(entries[k].name)}: {rows[k].outcome}", highlight=False)
                progress.advance(task)
        except BaseException:
            judge.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [rows[k] for k in range(len(entries))]


def _row(entry: Entry, versions: Mapping[str, str], future: "Future[Report]") -> Row:
    try:
        return Row(entry, versions, future.result())
    except InputError as error:
        return Row(entry, versions, problem=str(error))


# --- tables -----------------------------------------------------------------------------------------------------------


def cells(row: Row) -> tuple[str, ...]:
    """What HEADS names, in words."""
    versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
    outcome = row.outcome + (f": {row.entry.known}" if row.entry.known and row.errors else "")
    return row.entry.name, row.entry.role, versions, outcome, ", ".join(row.refuted), ", ".join(row.errors)


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print what was judged as a table, then what was not, each with the reason."""
    table = Table(title="Survey", title_justify="left", title_style="bold", header_style="bold", expand=True)
    table.add_column("target; role and versions", overflow="fold", ratio=5)
    table.add_column("outcome; claims", overflow="fold", ratio=3)
    for row in rows:
        if not row.missing:
            name, role, versions, outcome, refuted, errors = map(escape, cells(row))
            claims = [line for line in (refuted, errors and f"not judged: {errors}") if line]
            table.add_row(f"{name}\n[dim]{role}; {versions}[/]", "\n".join([outcome, *claims]))
    console.print(table)
    for row in rows:
        if row.missing:
            console.print(
                escape(f"not installed: {row.entry.name} ({row.missing}; {row.entry.install})"), highlight=False
            )
        if row.problem:
            console.print(escape(f"not judged: {row.entry.name}: {row.problem}"), highlight=False, style="red")


def findings_table(rows: Sequence[Row], before: str = "", declared: Sequence[Entry] = ()) -> str:
    """Return the rows of judged targets as Markdown.

    Args:
        rows: what was judged.
        before: a table of an earlier time; its rows of declared targets that were not judged now are kept.
        declared: all declared targets, in whose order the rows stand.
    """
    kept = {tuple(line.split(" | ")[:2]): line for line in before.splitlines() if line.startswith("| `")}
    for row in rows:
        if not row.missing:
            kept[_key(row.entry)] = _line(row)
    order = dict.fromkeys(_key(entry) for entry in (*declared, *(row.entry for row in rows)))
    lines = [kept[key] for key in order if key in kept]
    return "\n".join([f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}", *lines])


def _key(entry: Entry) -> tuple[str, ...]:
    return f"| `{entry.name}`", entry.role


def _line(row: Row) -> str:
    _, _, version, outcome, refuted, errors = cells(row)
    rest = (version, outcome.replace("refuted", "**refuted**"), refuted, errors)
    return " | ".join([*_key(row.entry), *rest]) + " |"


def write_findings(rows: Sequence[Row], path: Path, declared: Sequence[Entry]) -> None:
    """Bring the generated part of a page up to date.

    Raises:
        InputError: the page cannot be read, or has no such part.
    """
    before, table, after = generated_part(path)
    path.write_text(f"{before}{BEGIN}\n\n{findings_table(rows, table, declared)}\n\n{END}{after}", encoding="utf-8")


def generated_part(path: Path) -> tuple[str, str, str]:
    """Return what stands before the generated part of a page, the part, and what stands after it.

    Raises:
        InputError: the page cannot be read, or has no such part.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    before, begin, rest = page.partition(BEGIN)
    part, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no generated part: write the lines {BEGIN} and {END} where it belongs")
    return before, part, after


def sections(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the page says beside the verdicts: versions, and what is not installed."""
    judged = [cells(row) for row in rows if not row.missing]
    absent = [(row.entry.name, row.entry.role, row.missing, row.entry.install) for row in rows if row.missing]
    found: list[dict[str, Any]] = [
        {"title": "Targets", "introduction": "What was judged, in which version.", "heads": HEADS, "rows": judged}
    ]
    if absent:
        heads = ("target", "role", "missing", "how to install")
        found.append({"title": "Not installed", "introduction": "Not judged here.", "heads": heads, "rows": absent})
    return found


# --- the command ------------------------------------------------------------------------------------------------------


def survey_command(argv: Sequence[str]) -> int:
    """Judge what is installed; returns 0, or 2 where an installed target could not be judged at all."""
    options = _parser().parse_args(argv)
    for name in ("examples", "jobs"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(options, name)}")
    declared = read_entries(Path(options.targets))
    entries = chosen(declared, options.only)
    if options.findings:
        generated_part(Path(options.findings))  # said now, not after an hour
    console = Console()
    rows = survey(entries, Checks(options.examples, options.seed, options.time_limit), options.jobs, console)
    print_rows(rows, console)
    write_page([row.report for row in rows if row.report], options.html, sections=sections(rows))
    console.print(f"Every claim on every target, with its counterexample: {options.html}")
    if options.findings:
        write_findings(rows, Path(options.findings), declared)
    return exit_code(rows)


def exit_code(rows: Sequence[Row]) -> int:
    """Return 2 where an installed target could not be judged at all, and that was not known, else 0."""
    return 2 if any(row.outcome == "not judged" and not row.entry.known for row in rows) else 0


def chosen(entries: Sequence[Entry], words: Sequence[str]) -> list[Entry]:
    """Return the entries whose name, role or packages hold one of the words; all where there is none.

    Raises:
        InputError: a word that nothing holds.
    """
    texts = [" ".join((entry.name, entry.role, *entry.packages)) for entry in entries]
    for word in words:
        if not any(word in text for text in texts):
            raise InputError(f"no declared target, role or package holds {word!r}")
    return [entry for entry, text in zip(entries, texts, strict=True) if not words or any(w in text for w in words)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marlspec survey",
        description="Judge all declared third-party targets that are installed: run it in a checkout.",
        epilog="Exit codes: 0 all that is installed was judged, refuted or not; 2 some of it could not be judged at "
        "all, and that was not known.",
    )
    parser.add_argument("--targets", default=DECLARED, metavar="FILE", help=f"what to judge (default {DECLARED})")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="targets, roles or packages with a word")
    parser.add_argument("--examples", type=int, default=200, help="budget of a claim (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default 0)")
    parser.add_argument("--time-limit", type=float, default=DEFAULT_LIMIT, metavar="SECONDS", help="for each claim")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (default 2)")
    parser.add_argument("--html", default="report/survey.html", metavar="FILE", help="the page (report/survey.html)")
    parser.add_argument("--findings", metavar="FILE", help="bring the table of a page up to date: docs/findings.md")
    return parser
