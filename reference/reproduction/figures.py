"""Figures and tables of reproduced results: our curves with their intervals, beside what the sources print."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from marlspec.reference.reproduction.experiments import Curve, Figure
from marlspec.reference.reproduction.runs import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0b6e99", "#c1440e", "#5b7f2b", "#7b4fa0")  # told apart by most readers, in print too
STYLES = ("-", "--", "-.", ":")
RESAMPLES = 10_000


def bootstrap(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over seeds, from 10 000 resamples (percentiles)."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=0.95, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def draw(figure: Figure, found: dict[str, Record], path: Path) -> None:
    """Draw mean returns over time steps, with intervals, and the returns that the source's runs end at."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import EngFormatter

    canvas = Canvas(figsize=(7.2, 4.2), layout="constrained")
    axes = canvas.add_subplot()
    for curve, colour, style in zip(figure.curves, COLOURS, STYLES, strict=False):
        _draw_curve(axes, curve, found[curve.algorithm], colour, style)
    for name, value in figure.reference_lines.items():
        axes.axhline(value, color="0.75", linewidth=0.8, zorder=0)
        axes.annotate(name, (1.0, value), xycoords=("axes fraction", "data"), fontsize=8, color="0.4", va="center")
    axes.set_ylim(bottom=figure.lowest_shown)
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_xlabel("time steps of each seed, all its copies together")
    axes.set_ylabel("return of greedy episodes, mean and 95 % interval")
    axes.set_title(figure.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    canvas.savefig(path, dpi=150)


def _draw_curve(axes: "Axes", curve: Curve, record: Record, colour: str, style: str) -> None:
    played = environment_steps(record)
    table = record.table
    low, high = np.array([bootstrap(row) for row in table]).T
    axes.plot(played, table.mean(axis=1), style, color=colour, label=curve.label)
    axes.fill_between(played, low, high, color=colour, alpha=0.18, linewidth=0)
    if curve.published is not None:
        axes.plot(played[-1], curve.published, "o", color=colour, markerfacecolor="white", zorder=3)


def environment_steps(record: Record) -> NDArray[np.int64]:
    """Return the time steps played by one seed's copies at each evaluation."""
    each = record.settings["copies"] * record.settings.get("n_steps", 1)
    return np.array([steps * each for steps in record.steps])


def end_table(figure: Figure, found: dict[str, Record]) -> str:
    """Return the last evaluation of each curve as a Markdown table."""
    lines = [
        "| algorithm | seeds | time steps | return at the end | 95 % interval | the source's | seeds that end there |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for curve in figure.curves:
        record = found[curve.algorithm]
        last = record.table[-1]
        low, high = bootstrap(last)
        published, there = "no number", ""
        if curve.published is not None:
            published = f"{curve.published:g}"
            there = f"{np.isclose(last, curve.published).sum()} of {len(last)}"
        lines.append(
            f"| {curve.label} | {len(last)} | {environment_steps(record)[-1]:,} | {last.mean():.2f} "
            f"| {low:.2f} to {high:.2f} | {published} | {there} |"
        )
    return "\n".join(lines)


def findings(figure: Figure, found: dict[str, Record]) -> str:
    """Return a sentence for each order of algorithms that the source finds: whether our last evaluations show it."""
    return "\n".join(_finding(figure, found, above, below) for above, below in figure.above)


def _finding(figure: Figure, found: dict[str, Record], above: str, below: str) -> str:
    labels = {curve.algorithm: curve.label for curve in figure.curves}
    (high_from, high_to), (low_from, low_to) = (bootstrap(found[name].table[-1]) for name in (above, below))
    intervals = f"{high_from:.2f} to {high_to:.2f} and {low_from:.2f} to {low_to:.2f}"
    if high_from > low_to:
        return f"- {labels[above]} ends above {labels[below]}: the intervals {intervals} do not overlap."
    if high_to < low_from:
        return f"- {labels[above]} ends below {labels[below]} ({intervals}), against the source."
    return f"- {labels[above]} and {labels[below]}: the intervals {intervals} overlap. The source's order is not shown."


def settings_table(figure: Figure, found: dict[str, Record]) -> str:
    """Return all settings of all curves as a Markdown table, one row for each setting."""
    names = dict.fromkeys(name for record in found.values() for name in record.settings)
    lines = ["| setting | " + " | ".join(curve.label for curve in figure.curves) + " |"]
    lines.append("|---" * (len(figure.curves) + 1) + "|")
    for name in names:
        values = [found[curve.algorithm].settings.get(name, "") for curve in figure.curves]
        lines.append(f"| {name} | " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)
