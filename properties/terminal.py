"""Reports in the terminal: a table of verdicts, then every counterexample."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marlspec.properties.verdicts import Report, Verdict

COLOURS = {"proved": "green", "holds": "green", "refuted": "red", "not_applicable": "dim", "error": "bold red"}


def print_report(report: Report, console: Console | None = None, *, details: bool = True) -> None:
    """Print one report: the table, the counterexamples and errors (unless told otherwise), and the closing line."""
    console = console or Console()
    console.print(_table(report))
    if details:
        for verdict in report.verdicts:
            _print_refutation(verdict, console)
        _print_errors(report, console)
    console.print(report.summary())


def _table(report: Report) -> Table:
    title = f"{escape(report.target)} as {report.role} ({report.dtype}; {report.examples} examples, seed {report.seed})"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("claim", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("settled by", overflow="fold")
    table.add_column("inputs", justify="right")
    table.add_column("seconds", justify="right")
    for verdict in report.verdicts:
        outcome = verdict.outcome.replace("_", " ") + (" as expected" if verdict.expected else "")
        settled = ", ".join(part for part in (verdict.method, verdict.scope) if part)
        table.add_row(
            verdict.claim_id,
            f"[{COLOURS[verdict.outcome]}]{outcome}[/]",
            "see below" if verdict.outcome == "error" else escape(settled or verdict.reason),
            f"{verdict.examples:,}" if verdict.examples else "",
            f"{verdict.seconds:.2f}",
        )
    return table


def _print_errors(report: Report, console: Console) -> None:
    """Print each error once, with the claims that met it."""
    reasons = dict.fromkeys(verdict.reason for verdict in report.verdicts if verdict.outcome == "error")
    for reason in reasons:
        met = [verdict for verdict in report.verdicts if verdict.outcome == "error" and verdict.reason == reason]
        console.print(f"[bold red]error[/] in {', '.join(verdict.claim_id for verdict in met)}")
        console.print(f"  {escape(reason)}", highlight=False)
        if met[0].details:
            console.print(escape(met[0].details.rstrip()), style="dim", highlight=False)


def _print_refutation(verdict: Verdict, console: Console) -> None:
    if verdict.witness is None:
        return
    console.print(
        f"[red]{verdict.claim_id} is refuted[/]"
        + (f" as expected: {escape(verdict.expected)}" if verdict.expected else "")
    )
    lines = [*verdict.witness.lines(), *([verdict.reason] if verdict.reason else [])]
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False)


def print_overview(reports: Sequence[Report], console: Console) -> None:
    """Print one line per report."""
    table = Table(title="Verdicts", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("target", overflow="fold")
    table.add_column("role", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("claims")
    for report in reports:
        result = {0: "[green]keeps its promises[/]", 1: "[red]refuted[/]", 2: "[bold red]not judged[/]"}[
            report.exit_code
        ]
        table.add_row(escape(report.target), report.role, result, report.summary())
    console.print(table)
