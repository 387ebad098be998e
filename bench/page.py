"""The page of the figures: docs/performance.md, written from the records alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from .agreement import told as agreement
from .costs import Fit, fit
from .goals import told as goals
from .machine import ROOT
from .peers.results import ratios_of
from .records import RESULTS, Record, Workload, compare, history, noise
from .terminal import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = ROOT / "docs"
COLOURS = ("#0b6e99", "#c1440e", "#5b7f2b", "#7b4fa0", "#b8860b", "#444444")  # told apart by most readers, in print too
STYLES = {"eager": "--", "compiled": "-", "captured": ":"}
MARKERS = {"eager": "o", "compiled": "s", "captured": "^"}
CLOCKS = {"wall": "wall time", "cpu": "CPU time of the measuring process alone, since the machine was shared"}

HEAD = """# Performance

Written by `make bench` from the records in `bench/results/`; nothing here is typed in. `make bench-compare` measures
the same workloads again and compares. Figures of different devices, threads or clocks are never compared.

- **us**: microseconds of a step, the median over repetitions (processes of their own); **+-**: the interquartile range
  of all rounds.
- **cold**: seconds until a step was warm, compilation included. **peak**: most memory in use; on a CPU of the whole
  process.
- **floor**: the larger of matrix products at the measured product rate and of bytes that must move at the measured
  copy rate; **gap**: the step over its floor. **operators**: those of one eager step; **alone**: their number times the
  time of an operator that does nothing.

A step is what the algorithm's listing makes of it: a time step of all copies and an update, or where it learns from
episodes or rollouts, one of those and an update.
"""


def write(results: Path = RESULTS, docs: Path = DOCS) -> int:
    """Write the page and its figures, and return the exit code."""
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    folders = sorted(path for path in results.iterdir() if any(path.glob("*.json"))) if results.exists() else []
    sections = [_section(history(folder.name, results), folder, docs) for folder in folders]
    (docs / "performance.md").write_text("\n".join([HEAD, *sections]), encoding="utf-8")
    print(f"wrote {docs / 'performance.md'}")
    return 0


def _section(records: Sequence[Record], folder: Path, docs: Path) -> str:
    last = records[-1]
    figures = docs / "figures"
    lines = [f"## {last.device}", "", _machine(last), "", *_rates(last), ""]
    lines += goals(last, folder)
    lines += _curves(last, "K", "copies", "copies K of the game", figures)
    lines += _curves(last, "seeds", "seeds", "seeds trained at once", figures)
    lines += _costs(last, figures)
    lines += ratios_of(folder)
    lines += agreement(folder)
    lines += _judging(last)
    lines += _table(last)
    lines += _history(records, figures)
    return "\n".join(lines)


def _machine(record: Record) -> str:
    session = record.session
    machine, versions = session["machine"], session["versions"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    changed = " with changes" if session["git"]["changed"] else ""
    return (
        f"Taken {session['taken']} at {session['git']['revision'][:9]}{changed}; {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB{gpus}; threads: {session['threads']}; {packages}. "
        f"Timed by {CLOCKS[session['clock']]}. "
        f"Load of the machine after each repetition: {', '.join(map(str, session['load']))}. {_noise(record)}"
    )


def _noise(record: Record) -> str:
    """How far repetitions differ."""
    band = noise(record)
    if band is None:
        return "Measured once: nothing is known of the noise."
    return f"Noise: two repetitions of one workload differ, 99 % of them by less than {100 * (band - 1):.1f} %."


def _rates(record: Record) -> list[str]:
    rates = record.session["rates"]
    return [
        "| large product | product of a hidden layer | copy | an operator on one number |",
        "|---|---|---|---|",
        f"| {rates['product'] / 1e9:.4g} GFLOP/s | {rates['small_product'] / 1e9:.4g} GFLOP/s | "
        f"{rates['copy'] / 1e9:.4g} GB/s | {rates['launch'] * 1e6:.3g} us |",
    ]


def _table(record: Record) -> list[str]:
    lines = [
        "### All workloads",
        "",
        "| workload | us | +- | updates/s | env steps/s | cold s | peak MiB | floor us | gap | operators | alone us |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for own in record.workloads.values():
        floor, work = own.facts.get("floor"), own.facts.get("work")
        rates = [own.facts.get(key) for key in ("updates_per_step", "env_steps_per_step")]
        cold, peak = own.facts.get("cold_seconds"), own.facts.get("peak_bytes")
        cells = [
            own.name,
            number(own.seconds * 1e6),
            number(own.iqr * 1e6),
            *("" if rate is None else number(rate / own.seconds) for rate in rates),
            "" if cold is None else f"{cold:.2g}",
            "" if peak is None else f"{peak / 2**20:.0f}",
            *(("", "") if floor is None else (number(floor["seconds"] * 1e6), number(own.seconds / floor["seconds"]))),
            "" if work is None else str(work["operators"]),
            "" if floor is None else number(floor["launches"] * 1e6),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _judging(record: Record) -> list[str]:
    """Seconds of a role, a verdict and an example."""
    judged = [own for own in record.workloads.values() if "verdicts" in own.facts]
    if not judged:
        return []
    lines = [
        "### Judging",
        "",
        "| role and target | s | verdicts | s of a verdict | examples per second |",
        "|---|---|---|---|---|",
    ]
    for own in judged:
        verdicts, examples = own.facts["verdicts"], own.facts["examples"]
        figures = [number(own.seconds), str(verdicts), number(own.seconds / verdicts), number(examples / own.seconds)]
        lines.append(f"| {' | '.join([own.name.removeprefix('W5/'), *figures])} |")
    return [*lines, ""]


def _curves(record: Record, plot: str, fact: str, label: str, figures: Path) -> list[str]:
    """Speed against copies or seeds, one curve for each algorithm and form."""
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for own in record.workloads.values():
        if own.facts.get("plot") == plot:
            speed = own.facts["env_steps_per_step"] / own.seconds
            curves[own.facts["algorithm"], own.facts["form"]].append((own.facts[fact], speed))
    if not curves:
        return []
    path = figures / f"performance-{record.device}-{plot}.png"
    with _axes(path, label, "environment steps per second") as axes:
        algorithms = sorted({algorithm for algorithm, _ in curves})
        for (algorithm, form), points in curves.items():
            colour = COLOURS[algorithms.index(algorithm)]
            amounts, speeds = zip(*sorted(points), strict=True)
            name = f"{algorithm}, {form}"
            axes.plot(amounts, speeds, STYLES[form], color=colour, marker=MARKERS[form], markersize=4, label=name)
        axes.legend(frameon=False, fontsize=9)
    return [f"### Speed against {label}", "", f"![Speed against {label}](figures/{path.name})", ""]


def _costs(record: Record, figures: Path) -> list[str]:
    """Cost against work, fitted and drawn."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for own in record.workloads.values():
        if own.facts.get("plot") == "cost":
            points[own.facts["axis"]].append((own.facts["amount"], own.seconds))
    series = {axis: sorted(pairs) for axis, pairs in points.items() if len(pairs) > 1}
    if not series:
        return []
    fits = {axis: fit(*zip(*pairs, strict=True)) for axis, pairs in series.items()}
    path = figures / f"performance-{record.device}-costs.png"
    with _axes(path, "amount of work", "microseconds of a step") as axes:
        for (axis, pairs), colour in zip(series.items(), COLOURS, strict=False):
            amounts, seconds = zip(*pairs, strict=True)
            axes.plot(amounts, [1e6 * value for value in seconds], "o", color=colour, markersize=4, label=axis)
            line = [1e6 * (fits[axis].fixed + fits[axis].each * amount) for amount in amounts]
            axes.plot(amounts, line, "-", color=colour, linewidth=0.8)
        axes.legend(frameon=False, fontsize=9)
    return [
        "### Cost against work",
        "",
        f"![Cost against work](figures/{path.name})",
        "",
        "Eager steps, one quantity varied at a time; lines are t = a + b x. Growth is the steepest between",
        "neighbouring points: 1 is in proportion, 2 quadratic.",
        "",
        "| work | a, us | b, us | largest error of the line | growth |",
        "|---|---|---|---|---|",
        *(_fitted(axis, own) for axis, own in fits.items()),
        "",
        _verdict(fits),
        "",
    ]


def _fitted(axis: str, own: Fit) -> str:
    return f"| {axis} | {own.fixed * 1e6:.4g} | {own.each * 1e6:.3g} | {100 * own.error:.0f} % | {own.growth:.2f} |"


def _verdict(fits: Mapping[str, Fit]) -> str:
    steep = [axis for axis, own in fits.items() if own.is_quadratic]
    return f"Steeper than in proportion: {', '.join(steep)}." if steep else "None is quadratic."


def _history(records: Sequence[Record], figures: Path) -> list[str]:
    """Each workload's time over that of the first record that has it."""
    lines = [
        "### History",
        "",
        "| taken | revision | workloads | slower than the record before | faster |",
        "|---|---|---|---|---|",
    ]
    for before, own in zip([None, *records], records, strict=False):
        told = _changes(before, own)
        lines.append(
            f"| {own.session['taken']} | {own.session['git']['revision'][:9]} | {len(own.workloads)} | {told} |"
        )
    alike = [own for own in records if own.session["clock"] == records[-1].session["clock"]]
    if len(alike) > 1:
        path = figures / f"performance-{records[-1].device}-history.png"
        _draw_history(alike, path)
        lines += ["", f"![Time over that of the first record](figures/{path.name})"]
    return [*lines, ""]


def _changes(before: Record | None, own: Record) -> str:
    if before is None or before.session["clock"] != own.session["clock"] or not _common(before, own):
        return "nothing to compare | "
    changes = compare(before, own).changes
    told = [[change.name for change in changes if change.verdict == word] for word in ("slower", "faster")]
    return " | ".join(", ".join(names) or "none" for names in told)


def _common(before: Record, own: Record) -> bool:
    return bool(before.workloads.keys() & own.workloads.keys())


def _draw_history(records: Sequence[Record], path: Path) -> None:
    groups: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in records])
    first: dict[str, Workload] = {}
    for i, record in enumerate(records):
        for name, own in record.workloads.items():
            first.setdefault(name, own)
            groups[name.partition("/")[0]][i].append(own.seconds / first[name].seconds)
    with _axes(path, "record", "time over the first record's, by group", log=False) as axes:
        for (group, ratios), (style, colour) in zip(
            groups.items(), product(("o-", "s--", "^:"), COLOURS), strict=False
        ):
            axes.plot(
                range(len(records)), [_median(own) for own in ratios], style, color=colour, label=group, markersize=4
            )
        axes.set_xticks(range(len(records)), [own.session["git"]["revision"][:7] for own in records])
        axes.legend(frameon=False, fontsize=9)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("nan")


@contextmanager
def _axes(path: Path, x: str, y: str, *, log: bool = True) -> Iterator["Axes"]:
    """Lend the axes of a figure that is saved when it is drawn."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = canvas.add_subplot(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    yield axes
    canvas.savefig(path, dpi=150)
