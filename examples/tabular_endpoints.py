"""Where tabular Q-learning ends: writes docs/tabular.md and docs/figures/iql_endpoints.png.

    python examples/tabular_endpoints.py [--seeds N] [--docs FOLDER]

Central Q-learning (CQL) is trained on every common-reward game of the catalogue, 20 seeds each, and compared with the
optimum. Independent Q-learning (IQL) is trained on Climbing, Penalty and Stag Hunt, and the joint policies at which
its seeds end are counted, with Wilson's 95 % intervals, beside what the literature and the game's best responses lead
one to expect. The same number of seeds gives the same page.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from marlspec.games.catalogue import catalogue, get
from marlspec.games.matrix import JointAction, NormalFormGame
from marlspec.games.stochastic import one_step
from marlspec.reference.parts.end_points import EndPoint, best_return, end_points, wilson
from marlspec.reference.parts.many_seeds import ManyCQL, ManyIQL
from marlspec.reference.parts.tabular_config import CQLConfig, TabularConfig
from marlspec.reference.parts.tabular_report import COLUMNS, as_stochastic, cells
from marlspec.reference.solution.nash import best_responses, pure_equilibria
from marlspec.reference.solution.profiles import pure_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).parent.parent / "docs"
FIGURE = Path("figures", "iql_endpoints.png")

CQL = CQLConfig(seeds=20, steps=4000, horizon=50, epsilon_end=1.0, alpha_start=1.0, alpha_end=1.0)
CQL_STEPS = {"goals": 16_000}

GAMES = ("climbing", "penalty:0", "penalty:-25", "penalty:-100", "stag-hunt")
WIDE = TabularConfig(epsilon_end=0.05)
SETTINGS = {
    "explores widely first": WIDE,
    "greedy from the start": replace(WIDE, epsilon_start=0.05, epsilon_steps=0),
}
WALK = replace(WIDE, steps=160_000, epsilon_end=0.02, alpha_start=0.01, alpha_end=0.01)
SNAPSHOTS = 8

BEST, NASH, OTHER = "#00795c", "#2a6fb0", "#8c8c8c"


@dataclass(frozen=True)
class Optimum:
    """How many of CQL's seeds reached the best return of a game."""

    name: str
    states: int
    joint_actions: int
    steps: int
    best: float
    reached: int
    seeds: int


@dataclass(frozen=True)
class Results:
    """What was measured: CQL's optima, IQL's end points by game and setting, and those of the slow walk by step."""

    seeds: int
    optima: tuple[Optimum, ...]
    ends: dict[tuple[str, str], list[EndPoint]]
    walk: dict[int, list[EndPoint]]


def measure(seeds: int, shorter: int = 1, report: Callable[[str], None] = lambda what: None) -> Results:
    """Train everything; report is told what comes next, and every run is made so many times shorter."""
    optima = []
    for name, game in catalogue().items():
        if game.is_common_reward:
            report(f"CQL, {name}")
            optima.append(optimum_of(name, shorter))
    ends = {}
    for name in GAMES:
        for setting, config in SETTINGS.items():
            report(f"IQL, {name}, {setting}")
            ends[name, setting] = next(trained(name, replace(config, seeds=seeds), 1, shorter))[1]
    report("IQL, climbing, slowly")
    walk = dict(trained("climbing", replace(WALK, seeds=seeds), SNAPSHOTS, shorter))
    return Results(seeds, tuple(optima), ends, walk)


def optimum_of(name: str, shorter: int) -> Optimum:
    """Train CQL on a common-reward game."""
    game = as_stochastic(get(name))
    steps = CQL_STEPS.get(name, CQL.steps) // shorter
    learner = ManyCQL(game, CQL)
    learner.run(steps)
    best = best_return(game, learner.gamma)
    returns = [judgement.returns[0] for point in end_points(learner) for judgement in point.judgements]
    reached = sum(abs(own - best) <= 1e-9 * (1 + abs(best)) for own in returns)
    return Optimum(name, game.n_states, int(np.prod(game.n_actions)), steps, best, reached, CQL.seeds)


def trained(name: str, config: TabularConfig, snapshots: int, shorter: int) -> Iterator[tuple[int, list[EndPoint]]]:
    """Train IQL on a matrix game, and yield the end points at equal distances of time."""
    learner = ManyIQL(one_step(matrix_game(name)), config)
    for _ in range(snapshots):
        learner.run(config.steps // shorter // snapshots)
        yield learner.t, end_points(learner)


def matrix_game(name: str) -> NormalFormGame:
    """Return a normal-form game of the catalogue."""
    game = get(name)
    assert isinstance(game, NormalFormGame)
    return game


def taught_by_exploration(game: NormalFormGame) -> list[list[float]]:
    """Return for each agent the mean reward of each action while all others act at random."""
    rest = [tuple(j + 1 for j in range(game.n_agents) if j != i) for i in range(game.n_agents)]
    payoffs = game.payoffs.astype(float)
    return [payoffs[i].mean(axis=tuple(j - 1 for j in others)).tolist() for i, others in enumerate(rest)]


def expected_path(game: NormalFormGame) -> list[JointAction]:
    """Return the joint actions from what random exploration teaches, by best responses, to an equilibrium.

    One agent at a time, the first that gains, changes to its best response; of several best actions the first counts.
    """
    a = tuple(int(np.argmax(means)) for means in taught_by_exploration(game))
    path = [a]
    while True:
        better = next((b for b in improvements(game, a)), None)
        if better is None or better in path:
            return path
        path.append(better)
        a = better


def improvements(game: NormalFormGame, a: JointAction) -> Iterator[JointAction]:
    """Yield the joint actions in which one agent has changed to a better response."""
    for i in range(game.n_agents):
        best = best_responses(game, pure_profile(game, a), i)
        if a[i] not in best:
            yield (*a[:i], best[0], *a[i + 1 :])


def share(points: Sequence[EndPoint], policies: Sequence[str]) -> tuple[int, int]:
    """Return how many seeds ended at one of the policies, and how many there are."""
    total = sum(len(point.seeds) for point in points)
    return sum(len(point.seeds) for point in points if point.policy in policies), total


def with_interval(successes: int, trials: int) -> str:
    """Return a share in words, with its interval."""
    low, high = wilson(successes, trials)
    return f"{successes} of {trials} ({100 * successes / trials:.1f} %; {100 * low:.1f} - {100 * high:.1f} %)"


def expectations(results: Results) -> Iterator[tuple[str, str, bool]]:
    """Yield what is expected of IQL, what was found, and whether it agrees."""
    wide = next(iter(SETTINGS))
    best = ["(A, C)", "(C, A)"]
    for setting in SETTINGS:
        counts = [share(results.ends[f"penalty:{k}", setting], best) for k in (0, -25, -100)]
        intervals = [wilson(*count) for count in counts]
        yield (
            f"Penalty, {setting}: the deeper the penalty, the fewer seeds find a best equilibrium "
            "(Claus and Boutilier 1998)",
            "; ".join(f"k = {k}: {with_interval(*count)}" for k, count in zip((0, -25, -100), counts, strict=True)),
            intervals[0][0] > intervals[1][1] and counts[1][0] >= counts[2][0],
        )
    path = [matrix_game("climbing").label(a) for a in expected_path(matrix_game("climbing"))]
    ends = results.ends["climbing", wide]
    yield (
        f"Climbing, {wide}: on the way {' to '.join(path)}, never at (A, A) (Claus and Boutilier 1998; the exact "
        "policy gradient takes the same way)",
        f"on the way: {with_interval(*share(ends, path))}; at (A, A): {with_interval(*share(ends, ['(A, A)']))}",
        share(ends, path)[0] == results.seeds,
    )
    first, *_, last = results.walk.values()
    yield (
        "Climbing, slowly: seeds move on along this way, and none leaves it",
        f"at {path[-1]} first {with_interval(*share(first, path[-1:]))}, in the end "
        f"{with_interval(*share(last, path[-1:]))}",
        wilson(*share(last, path[-1:]))[0] > wilson(*share(first, path[-1:]))[1]
        and share(last, path)[0] == results.seeds,
    )
    ends = results.ends["stag-hunt", wide]
    yield (
        f"Stag Hunt, {wide}: the safe equilibrium (B, B), since against random play B pays 2.5 and A pays 2",
        f"at (B, B): {with_interval(*share(ends, ['(B, B)']))}",
        wilson(*share(ends, ["(B, B)"]))[0] > 0.5,
    )


def page(results: Results) -> str:
    """Return the page as Markdown."""
    return "\n".join([*_head(), *_cql(results), *_iql(results), *_walk(results), ""])


def _head() -> list[str]:
    return [
        "# Where tabular Q-learning ends",
        "",
        "Made by `python examples/tabular_endpoints.py`. CQL and IQL are Algorithms 4 and 5 of the lecture, in",
        "`reference/tabular/`; `marlspec show cql` and `marlspec show iql` print them beside their pseudocode. An end",
        "point is the greedy joint policy after the last step. Intervals are Wilson's, at 95 %.",
        "",
    ]


def _cql(results: Results) -> list[str]:
    rows = [
        f"| {o.name} | {o.states} | {o.joint_actions} | {o.steps} | {o.best:.6g} | {o.reached} of {o.seeds} |"
        for o in results.optima
    ]
    return [
        "## CQL reaches the optimum",
        "",
        "On every common-reward game of the catalogue, with random joint actions throughout, alpha = 1 (no outcome is",
        "left to chance) and episodes cut off after 50 steps. The best return comes from policy iteration over",
        "joint actions; a seed reaches it when the exact return of its greedy joint policy equals it.",
        "",
        "| game | states | joint actions | steps | best return | seeds at the optimum |",
        "|---|---:|---:|---:|---:|---:|",
        *rows,
        "",
    ]


def _iql(results: Results) -> list[str]:
    lines = [
        "## IQL does not",
        "",
        f"One-step games, {results.seeds} seeds, {WIDE.steps} steps, alpha = {WIDE.alpha_end:g}. *Explores widely "
        "first*: epsilon falls",
        f"from 1 to {WIDE.epsilon_end:g} over the first {WIDE.epsilon_steps} steps. *Greedy from the start*: epsilon = "
        f"{WIDE.epsilon_end:g} throughout.",
        "",
        "With constant alpha and epsilon the values never come to rest, and an end point is what is greedy at the",
        "last step. So seeds are found at joint policies that are no equilibria: in Climbing an agent that tries its",
        "better response is punished by the other's exploration, by -30 where the gain is 1, before it has learned of",
        "the gain. Greedy from the start, a seed can keep what its first steps happened to show it, the best",
        "equilibrium included.",
        "",
        f"![End points of IQL]({FIGURE.as_posix()})",
        "",
        "### What was expected",
        "",
        "| expected | found | agrees |",
        "|---|---|---|",
        *(
            f"| {expected} | {found} | {'yes' if agrees else '**no**'} |"
            for expected, found, agrees in expectations(results)
        ),
        "",
        "While all agents act at random, each action is worth its mean reward. The agents' greedy actions under these",
        "means, followed by one best response after the other, lead along this way:",
        "",
        "| game | means of agent 1's actions | of agent 2's | way |",
        "|---|---|---|---|",
        *(_way(matrix_game(name)) for name in GAMES),
        "",
    ]
    for name in GAMES:
        lines += _tables(name, results)
    return lines


def _way(game: NormalFormGame) -> str:
    means = [", ".join(f"{value:.2f}" for value in own) for own in taught_by_exploration(game)]
    return f"| {game.name} | {' | '.join(means)} | {' to '.join(game.label(a) for a in expected_path(game))} |"


def _tables(name: str, results: Results) -> list[str]:
    lines = [f"### {matrix_game(name).name}", ""]
    for setting in SETTINGS:
        points = results.ends[name, setting]
        lines += [
            f"{setting[0].upper()}{setting[1:]}:",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---|---:|---:|---:|---:|---|---|",
            *(f"| {' | '.join(cells(point, results.seeds))} |" for point in points),
            "",
        ]
    return lines


def _walk(results: Results) -> list[str]:
    policies = sorted({point.policy for points in results.walk.values() for point in points})
    rows = []
    for t, points in results.walk.items():
        found = [share(points, [policy]) for policy in policies]
        rows.append(f"| {t} | {' | '.join(with_interval(*count) for count in found)} |")
    return [
        "### Climbing, slowly",
        "",
        f"With alpha = {WALK.alpha_end:g}, and epsilon from 1 to {WALK.epsilon_end:g} over the first "
        f"{WALK.epsilon_steps} steps.",
        "One rare penalty then moves a value by little, so that small differences between the actions come to count.",
        "(C, C) and (C, B) are no equilibria: an agent gains there by changing alone, and such seeds are on their way.",
        "",
        f"| step | {' | '.join(policies)} |",
        f"|---:|{'---|' * len(policies)}",
        *rows,
    ]


def draw(results: Results, path: Path) -> None:
    """Draw the shares of all end points with their intervals, and the slow walk in Climbing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    figure = plt.figure(figsize=(13, 8.2), layout="constrained")
    grid = figure.add_gridspec(3, len(GAMES), height_ratios=[1, 1, 1.15])
    for column, name in enumerate(GAMES):
        for row, setting in enumerate(SETTINGS):
            axes = figure.add_subplot(grid[row, column])
            _bars(axes, name, results, setting)
            if row == 0:
                axes.set_title(matrix_game(name).name)
            if column == 0:
                axes.set_ylabel(setting, labelpad=10)
    _lines(figure.add_subplot(grid[2, :]), results)
    legend = {"best equilibrium": BEST, "other equilibrium": NASH, "no equilibrium": OTHER}
    figure.legend(
        handles=[Patch(color=colour, label=label) for label, colour in legend.items()],
        loc="outside upper right",
        ncols=3,
        frameon=False,
    )
    figure.suptitle(
        f"Where IQL ends: share of {results.seeds} seeds at each greedy joint policy, with 95 % intervals",
        x=0.01,
        ha="left",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _bars(axes: "Axes", name: str, results: Results, setting: str) -> None:
    game = matrix_game(name)
    found = {point.policy for other in SETTINGS for point in results.ends[name, other]}
    equilibria = [game.label(a) for a in pure_equilibria(game).tolist()]
    policies = sorted(found | set(equilibria), reverse=True)
    counts = [share(results.ends[name, setting], [policy]) for policy in policies]
    shares = np.array([successes / trials for successes, trials in counts])
    ends = np.array([wilson(*count) for count in counts])
    axes.barh(policies, 100 * shares, color=[_colour(game, policy) for policy in policies], height=0.6)
    axes.hlines(policies, 100 * ends[:, 0], 100 * ends[:, 1], color="#222222", linewidth=1.2)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    axes.spines[["top", "right"]].set_visible(False)


def _colour(game: NormalFormGame, policy: str) -> str:
    equilibria = {game.label(a): sum(game.rewards(tuple(a))) for a in pure_equilibria(game).tolist()}
    if policy not in equilibria:
        return OTHER
    return BEST if equilibria[policy] == max(equilibria.values()) else NASH


def _lines(axes: "Axes", results: Results) -> None:
    game = matrix_game("climbing")
    steps = list(results.walk)
    styles = iter(["--", ":", "-."])
    for policy in sorted({point.policy for points in results.walk.values() for point in points}):
        counts = [share(points, [policy]) for points in results.walk.values()]
        shares = [100 * successes / trials for successes, trials in counts]
        low, high = (100 * np.array([wilson(*count)[k] for count in counts]) for k in (0, 1))
        colour = _colour(game, policy)
        style = next(styles) if colour == OTHER else "-"
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(steps, shares, style, color=colour, marker="o", markersize=4)
        axes.annotate(policy, (steps[-1], shares[-1]), (8, 0), textcoords="offset points", va="center", color=colour)
    axes.set_ylim(-3, 103)
    axes.set_xlim(0, steps[-1] * 1.05)
    axes.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    axes.set_xlabel(
        f"time step; Climbing with alpha = {WALK.alpha_end:g} and epsilon from 1 to {WALK.epsilon_end:g} "
        f"over {WALK.epsilon_steps} steps"
    )
    axes.spines[["top", "right"]].set_visible(False)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="seeds of IQL")
    parser.add_argument("--shorter", type=int, default=1, help="make every run so many times shorter, for a trial")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for tabular.md and figures/")
    options = parser.parse_args(argv)
    with Progress(transient=True) as progress:
        task = progress.add_task("starting", total=None)
        results = measure(options.seeds, options.shorter, lambda what: progress.update(task, description=what))
    draw(results, options.docs / FIGURE)
    (options.docs / "tabular.md").write_text(page(results), encoding="utf-8")
    print(f"wrote {options.docs / 'tabular.md'} and {options.docs / FIGURE}")


if __name__ == "__main__":
    main()
