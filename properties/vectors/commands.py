"""The command `marlspec vectors`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marlspec.properties.vectors.verifying import Comparison, Failure, Tally, compare
from marlspec.properties.vectors.writing import write_vectors
from marlspec.properties.verdicts import compact

MOST_SHOWN = 3  # failed cases of a function that are printed with their numbers


def vectors_command(argv: Sequence[str]) -> int:
    """Write the vectors, or verify results; returns 0 (all right), 1 (some wrong) or 2 (incomplete, or bad input)."""
    options = _parser().parse_args(argv)
    console = Console()
    if options.action == "write":
        paths = write_vectors(Path(options.folder))
        console.print(f"{len(paths)} files are written to {escape(options.folder)}", highlight=False)
        return 0
    comparison = compare(Path(options.results), Path(options.against) if options.against else None)
    print_comparison(comparison, console)
    return comparison.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marlspec vectors",
        description="Inputs and required results of the specification's functions, for any implementation.",
        epilog="Exit codes: 0 all results are right, 1 some are wrong, 2 a function is incomplete, or bad input.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    write = actions.add_parser("write", help="write the vectors, one file for each function")
    write.add_argument("folder", metavar="DIR", help="an empty folder, or one that holds the vectors")
    verify = actions.add_parser("verify", help="compare the results of an implementation with the vectors")
    verify.add_argument("results", metavar="RESULTS", help="a JSON file: case ids and results (docs/vectors.md)")
    verify.add_argument("--against", metavar="DIR", help="the vectors in a folder, in place of this version's own")
    return parser


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the table, then the failed cases with the faults that they point to, and errors."""
    table = Table(title=escape(comparison.implementation), title_justify="left", title_style="bold")
    table.add_column("function", no_wrap=True)
    for column in ("passed", "failed", "errors", "missing"):
        table.add_column(column, justify="right")
    table.add_column("points to", overflow="fold")
    attempted = [tally for tally in comparison.tallies if tally.attempted]
    for tally in attempted:
        counts = (len(part) for part in (tally.passed, tally.failed, tally.errors, tally.missing))
        colour = "green" if not (tally.failed or tally.errors or tally.missing) else "red"
        table.add_row(
            f"[{colour}]{tally.function}[/]", *(str(n) if n else "" for n in counts), ", ".join(tally.suspects)
        )
    console.print(table)
    for tally in attempted:
        _print_details(tally, console)
    absent = [tally.function for tally in comparison.tallies if not tally.attempted]
    if absent:
        console.print(f"no results of {', '.join(absent)}", highlight=False)
    passed, failed = (sum(len(getattr(tally, part)) for tally in attempted) for part in ("passed", "failed"))
    cases = sum(len(tally.missing) for tally in attempted)
    console.print(f"{passed} cases passed, {failed} failed, {cases} missing of {len(attempted)} functions")


def _print_details(tally: Tally, console: Console) -> None:
    for failure in tally.failed[:MOST_SHOWN]:
        _print_failure(failure, console)
    if len(tally.failed) > MOST_SHOWN:
        console.print(f"{tally.function}: {len(tally.failed) - MOST_SHOWN} more cases failed", highlight=False)
    for flag in tally.suspects:
        console.print(f"  {flag}: {escape(tally.flags[flag])}", highlight=False)
    for identifier, message in tally.errors.items():
        console.print(f"[bold red]error[/] in {identifier}: {escape(message)}", highlight=False)
    if tally.missing:
        console.print(f"[bold red]missing[/]: {', '.join(tally.missing)}", highlight=False)


def _print_failure(failure: Failure, console: Console) -> None:
    console.print(f"[red]failed[/] {failure.id}", highlight=False)
    console.print(f"  computed: {escape(compact(failure.computed.tolist()))}", highlight=False)
    console.print(f"  required: {escape(compact(failure.required.tolist()))}", highlight=False)
    console.print(f"  catches: {', '.join(failure.flags) or 'no named fault'}", highlight=False)
