"""What `make run` does: judge the reference and real third-party mixers, then train on the lecture's games.

The judge's verdicts come first. Then VDN and QMIX are trained on Linear, Monotonic and Climbing, five seeds at once:
on sampled mini-batches at the lecture's settings, and on the enumerated uniform data. Learned joint tables stand
beside the exact projection and beside the published table. Everything is also written to report/index.html.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.properties import Report, check
from marlspec.properties.page import write_page
from marlspec.properties.proof.projection import additive_projection, monotone_projection
from marlspec.properties.reference_targets import REFERENCE_TARGETS
from marlspec.properties.terminal import print_overview, print_report
from marlspec.reference.reproduction.published import PUBLISHED

HERE = Path(__file__).parent
PAGE = Path("report/index.html")
SLOW = ("replay_buffer", "target_network", "learner")  # as long as all others together; `pytest properties/` has them
TARGETS = (
    *(target for target in REFERENCE_TARGETS if target[1] not in SLOW),
    (f"{HERE.name}/torchrl_mixers.py:vdn", "vdn_mixer"),
    (f"{HERE.name}/torchrl_mixers.py:qmix", "qmix_mixer"),
    (f"{HERE.name}/torchrl_mixers.py:qmix_float32", "qmix_mixer"),
)
GAMES = ("linear", "monotonic", "climbing")
ALGORITHMS = ("vdn", "qmix")
DATA = ("sampled", "enumerated")
SEEDS = 5
CHUNK = 100  # updates between two reports of progress
SETTLED = 0.002  # enumerated data: stop when no joint value moves further in CHECK updates
CHECK = 500


@dataclass(frozen=True)
class Job:
    """One training: an algorithm on a game, on sampled or enumerated data, with so many updates at most."""

    algorithm: str
    game: str
    data: str
    updates: int


@dataclass(frozen=True)
class Result:
    """What a job learned: joint tables [seeds, A_1, A_2], after how many updates, in how many seconds."""

    job: Job
    tables: NDArray[np.float64]
    updates: int
    seconds: float


def main() -> int:
    """Judge, train, write the page; 0 if every target keeps its promises."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sampled", type=int, default=2_500, help="updates on sampled data (the lecture: at most 20 000)"
    )
    parser.add_argument("--enumerated", type=int, default=6_000, help="updates on enumerated data, at most")
    parser.add_argument(
        "--examples", type=int, default=120, help="cases for each claim about anything but a mixer (those take 200)"
    )
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.rule("Judging the reference and torchrl")
    reports = judge(options.examples, console)
    console.rule(f"Training VDN and QMIX, {SEEDS} seeds at once")
    results = train({"sampled": options.sampled, "enumerated": options.enumerated}, console)
    for data in DATA:
        console.print(result_table([result for result in results if result.job.data == data], data))
    console.print("Farthest: over joint actions and seeds (mean over seeds in brackets). " + FOOTNOTE)
    write_page(reports, PAGE, sections=[section(results, data) for data in DATA])
    print_overview(reports, console)
    console.print(f"All of it, with every claim and its source: {PAGE}")
    return max(report.exit_code for report in reports)


# --- judging ----------------------------------------------------------------------------------------------------------


def judge(examples: int, console: Console) -> list[Report]:
    """Judge all targets on two processes, printing each report as it comes."""
    reports = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {target: pool.submit(judged, *target, examples) for target in TARGETS}
        for k, target in enumerate(TARGETS, start=1):
            with console.status(f"judging {target[0]} ({k} of {len(TARGETS)})"):
                reports.append(futures[target].result())
            print_report(reports[-1], console)
    return reports


def judged(target: str, role: str, examples: int) -> Report:
    """Judge one target in a process of its own."""
    import torch

    torch.set_num_threads(1)
    return check(target, role) if role.endswith("mixer") else check(target, role, examples=examples)


# --- training ---------------------------------------------------------------------------------------------------------


def train(updates: dict[str, int], console: Console) -> list[Result]:
    """Run all jobs on two processes, QMIX's first since they take longer, with progress."""
    jobs = [
        Job(algorithm, game, data, updates[data])
        for algorithm in reversed(ALGORITHMS)
        for data in reversed(DATA)
        for game in reversed(GAMES)
    ]
    context = multiprocessing.get_context("spawn")
    done = context.Value("L", 0)
    with ProcessPoolExecutor(2, mp_context=context, initializer=_share, initargs=(done,)) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        with _bar(console, sum(job.updates for job in jobs)) as show:
            while not all(future.done() for future in futures):
                show(done.value, _running(jobs, futures))
                time.sleep(0.2)
        results = [future.result() for future in futures]
    order = [(game, algorithm) for game in GAMES for algorithm in ALGORITHMS]
    return sorted(results, key=lambda result: order.index((result.job.game, result.job.algorithm)))


def run(job: Job) -> Result:
    """Train one job in a process of its own."""
    import torch

    from marlspec.games.batched import BatchedStagedGame
    from marlspec.reference.commands import learner_class
    from marlspec.reference.parts.enumeration import enumerated_batch, joint_table
    from marlspec.reference.parts.training import run as make_steps
    from marlspec.reference.parts.training import train as create

    torch.set_num_threads(1)
    start = time.perf_counter()
    learner_type = learner_class(job.algorithm)
    config = learner_type.config_type(seeds=SEEDS, steps=0)
    learner = create(learner_type, BatchedStagedGame(get(job.game)), config).learner
    batch = enumerated_batch(learner) if job.data == "enumerated" else None
    updates, settled, before = 0, False, joint_table(learner)
    while updates < job.updates and not settled:
        if batch is None:
            make_steps(learner, CHUNK)
        else:
            for _ in range(CHUNK):
                learner.learn(batch)
        updates += CHUNK
        _advance(CHUNK)
        if batch is not None and updates % CHECK == 0 and 2 * updates >= job.updates:  # earlier may be a plateau
            now = joint_table(learner)
            settled, before = bool((now - before).abs().max() < SETTLED), now
    _advance(job.updates - updates)
    return Result(job, joint_table(learner).double().numpy(), updates, time.perf_counter() - start)


def _advance(updates: int) -> None:
    with _done.get_lock():
        _done.value += updates


_done: Any = None


def _share(counter: Any) -> None:
    global _done
    _done = counter


def _running(jobs: list[Job], futures: list["Future[Result]"]) -> str:
    names = [f"{j.algorithm} {j.game} {j.data}" for j, f in zip(jobs, futures, strict=True) if f.running()]
    return ", ".join(names[:2])


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description:<45}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=total)
        yield lambda completed, text: progress.update(task, completed=completed, description=text)


# --- results ----------------------------------------------------------------------------------------------------------

FOOTNOTE = (
    "Exact: VDN's least-squares projection on sums of utilities; for QMIX the game itself where a monotone function of "
    "utilities represents it, else the best monotone fit, which one hidden layer need not reach."
)
HEADS = (
    "learned, mean of seeds",
    "exact",
    "published",
    "farthest from exact",
    "from published",
    "greedy reward",
    "updates",
)


def exact_table(algorithm: str, game: NormalFormGame) -> NDArray[np.float64]:
    """The best that the algorithm's class of functions can do on uniform data."""
    fit = additive_projection(game) if algorithm == "vdn" else monotone_projection(game)
    return np.array(fit.table, dtype=float)


def rows(results: list[Result]) -> Iterator[tuple[str, ...]]:
    """One row of text per result: name, then what HEADS says."""
    for result in results:
        job = result.job
        game = get(job.game)
        exact = exact_table(job.algorithm, game)
        published = np.array(PUBLISHED[job.algorithm, job.game])
        reward = np.array(game.shared_reward(), dtype=float).ravel()
        greedy = sorted(float(reward[table.argmax()]) for table in result.tables)
        yield (
            f"{job.algorithm} {job.game}",
            show(result.tables.mean(axis=0)),
            show(exact),
            show(published),
            distance(result.tables, exact),
            distance(result.tables, published),
            f"{', '.join(f'{value:g}' for value in greedy)}\n(best {reward.max():g})",
            f"{result.updates:,}",
        )


def show(table: NDArray[np.float64]) -> str:
    """A table as text, to two digits."""
    return "\n".join(" ".join(f"{value:7.2f}" for value in row) for row in table)


def distance(tables: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Largest entry-wise distance: the worst seed's, and the mean over seeds."""
    largest = np.abs(tables - other).reshape(len(tables), -1).max(axis=1)
    return f"{largest.max():.3f} ({largest.mean():.3f})"


def result_table(results: list[Result], data: str) -> Table:
    """The results on one kind of data, for the terminal."""
    table = Table(title=title(data), title_justify="left", title_style="bold", header_style="bold", show_lines=True)
    table.add_column("", no_wrap=True)
    for head in HEADS:
        table.add_column(head, no_wrap=head in HEADS[:3])
    for row in rows(results):
        table.add_row(*row)
    return table


def title(data: str) -> str:
    """What was trained on what."""
    kind = {"sampled": "mini-batches of 128 sampled from replay", "enumerated": "every joint action once per update"}[
        data
    ]
    return f"Trained on {data} data ({kind}), {SEEDS} seeds"


def section(results: list[Result], data: str) -> dict[str, Any]:
    """The results on one kind of data, for the page."""
    chosen = [result for result in results if result.job.data == data]
    introduction = "Farthest: over joint actions and seeds, and in brackets the mean over seeds. " + FOOTNOTE
    return {
        "title": title(data),
        "introduction": introduction,
        "heads": ("", *HEADS),
        "rows": list(rows(chosen)),
    }


if __name__ == "__main__":
    sys.exit(main())
