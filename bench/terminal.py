"""Figures as text: each workload's time beside its floor."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEADINGS = ("workload", "us/step", "updates/s", "env steps/s", "floor us", "gap", "operators", "operators alone us")


def figures(measured: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a table of measurements, each with a workload's name, seconds of a step and facts."""
    rows = [HEADINGS, *(_row(found["workload"], found["seconds"], found["facts"]) for found in measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The name to the left, figures to the right."""
    figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return [row[0].ljust(widths[0]), *figures]


def _row(name: str, seconds: float, facts: Mapping[str, Any]) -> tuple[str, ...]:
    floor, work = facts.get("floor"), facts.get("work")
    per_second = [facts.get(key) for key in ("updates_per_step", "env_steps_per_step")]
    return (
        name,
        number(seconds * 1e6),
        *("" if value is None else number(value / seconds) for value in per_second),
        "" if floor is None else number(floor["seconds"] * 1e6),
        "" if floor is None else number(seconds / floor["seconds"]),
        "" if work is None else str(work["operators"]),
        "" if floor is None else number(floor["launches"] * 1e6),
    )


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"
