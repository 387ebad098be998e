"""The command `marlspec reproduce`: the sources' tables and figures from our own runs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from marlspec.reference.reproduction.experiments import EXPERIMENTS, Curve, Figure, Tables, experiment_named

if TYPE_CHECKING:
    from rich.console import Console

    from marlspec.reference.reproduction.runs import Scale

RUNS, QUICK_RUNS = Path("runs/reproduction"), Path("runs/reproduction-quick")
PAGES = Path("docs/reproduction")


def reproduce_command(argv: list[str]) -> int:
    """Run the experiments and write their figures and tables.

    Raises:
        InputError: no such experiment, or a folder that holds runs with other settings.
    """
    options = _parser().parse_args(argv)
    experiments = [experiment_named(name) for name in options.names or EXPERIMENTS]

    from rich.console import Console

    from marlspec.reference.reproduction.runs import FULL, QUICK, one_thread

    one_thread()
    console = Console(width=None if sys.stdout.isatty() else 150)
    scale = QUICK if options.quick else FULL
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    pages = options.output or (QUICK_RUNS if options.quick else PAGES)
    pages.mkdir(parents=True, exist_ok=True)
    for experiment in experiments:
        console.rule(experiment.title)
        text = _tables(experiment, runs, scale, console) if isinstance(experiment, Tables) else ""
        if isinstance(experiment, Figure):
            text = _figure(experiment, runs, pages, scale, console)
        page = pages / f"{experiment.name}.md"
        page.write_text(_page(experiment, text, options.quick), encoding="utf-8")
        console.print(f"written: {page}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "marlspec reproduce",
        description="Reproduce the sources' tables and figures. Runs are resumed where they were stopped.",
    )
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(EXPERIMENTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of minutes, far too short to compare")
    parser.add_argument("--runs", type=Path, help=f"folder of the runs (default {RUNS}, or {QUICK_RUNS})")
    parser.add_argument("--output", type=Path, help=f"folder of pages and figures (default {PAGES}, or {QUICK_RUNS})")
    return parser


def _figure(figure: Figure, runs: Path, pages: Path, scale: "Scale", console: "Console") -> str:
    from marlspec.reference.reproduction.figures import draw, end_table, findings, settings_table
    from marlspec.reference.reproduction.runs import records, write

    def report(curve: Curve, steps: int, returns: float) -> None:
        console.print(f"{curve.label}: {steps:,} steps, return {returns:.2f}")

    found = records(figure, runs, scale, report)
    printed = any(curve.published is not None for curve in figure.curves)
    write(pages / f"{figure.name}.json", found)
    draw(figure, found, pages / f"{figure.name}.png")
    return "\n".join(
        [
            f"![{figure.title}]({figure.name}.png)",
            "",
            "Shaded: 95 % bootstrap intervals of the mean over seeds."
            + (" Circles: what the source's runs end at." if printed else ""),
            "",
            end_table(figure, found),
            "",
            findings(figure, found),
            "",
            *([figure.account, ""] if figure.account else []),
            "## Settings",
            "",
            f"Settings of the source's figure: {figure.source_settings}. Ours:",
            "",
            settings_table(figure, found),
        ]
    )


def _tables(tables: Tables, runs: Path, scale: "Scale", console: "Console") -> str:
    from marlspec.reference.reproduction.tables import as_markdown, learned

    def report(algorithm: str, game: str, seconds: float) -> None:
        console.print(f"{algorithm} on {game}: {seconds:.0f} s")

    results = learned(tables, runs, scale, report)
    settings = results[0].settings
    shared = ", ".join(f"{name} = {value}" for name, value in settings.items())
    return "\n".join([as_markdown(results), "", f"Settings: {shared}."])


def _page(experiment: Figure | Tables, text: str, quick: bool) -> str:
    command = f"marlspec reproduce {experiment.name}{' --quick' if quick else ''}"
    warning = ["", "**A smoke run: far too short to compare.**"] if quick else []
    lines = [
        f"# {experiment.title}",
        "",
        f"{experiment.caption} Source: {experiment.source}. Made by `{command}`.",
        *warning,
        "",
        text,
    ]
    return "\n".join(lines) + "\n"
