"""A figure of what two agents can expect: feasible joint rewards, the Pareto frontier, and the solutions among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction, NormalFormGame
from marlspec.reference.solution.feasible import (
    Point,
    convex_hull,
    independent_reach_all,
    independent_region,
    pareto_frontier,
    reward_points,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Pair: TypeAlias = Sequence[Any] | NDArray[Any]

SUFFIXES = (".png", ".svg", ".pdf")
SIZE = (8.6, 5.4)
MAX_PATCHES = 1296
MAX_LABELS = 12
NAMES_IN_A_LABEL = 3
MARK_RADIUS = 11

EVERYTHING = "feasible: correlated or\nindependent joint policies"

INK = "#222222"
CORRELATED_AREA = "#dbe9f6"
INDEPENDENT_AREA = "#a9cbe8"
FRONTIER = "#c8500a"
PURE = "#00795c"
MIXED = "#8a3fa0"
BEST = "#f2c230"
BEST_EDGE = "#8a6a00"


@dataclass(frozen=True)
class Solutions:
    """What to mark: joint rewards [2] each, in exact numbers or floats.

    Attributes:
        pure: of the pure Nash equilibria.
        mixed: of the Nash equilibria in which some agent mixes.
        correlated: of the best correlated equilibrium, or None.
        objective: in which sense it is the best, for the legend.
    """

    pure: Sequence[Pair] = ()
    mixed: Sequence[Pair] = ()
    correlated: Pair | None = None
    objective: str = "welfare"


def check_figure_path(path: str | Path) -> None:
    """Refuse a file whose name does not end in .png, .svg or .pdf with an InputError."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: the name of a figure ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure to a .png, .svg or .pdf file; the same figure gives the same bytes.

    Raises:
        InputError: another suffix.
    """
    from matplotlib import rc_context

    check_figure_path(path)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "marlspec"}):
        figure.savefig(path, dpi=160, bbox_inches="tight", metadata=dated.get(path.suffix.lower()))


def draw_rewards(game: NormalFormGame, solutions: Solutions) -> "Figure":
    """Draw the feasible expected joint rewards of a game for two agents.

    Agent 1's expected reward runs to the right, agent 2's upwards, in the same unit. The light area is what correlated
    joint policies reach, the dark one what independent agents reach; where all joint rewards lie on one line, both are
    the same segment.

    Raises:
        InputError: the game is not for two agents, or has a payoff that float64 cannot hold.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = reward_points(game)
    floats = game.as_float64()
    hull = convex_hull(points)
    figure = Figure(figsize=SIZE, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw_regions(axes, floats, points, hull)
    _draw_frontier(axes, pareto_frontier(hull))
    _draw_points(axes, list(points))
    _draw_solutions(axes, solutions)
    _dress(axes, game)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        frameon=False,
        fontsize=9,
        labelspacing=1,
        handlelength=1.8,
        handletextpad=1,
    )
    figure.canvas.draw()
    figure.set_layout_engine("none")
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    _label_points(axes, renderer, game, points, hull, solutions)
    return figure


def _draw_regions(
    axes: "Axes", game: NormalFormGame, points: dict[Point, list[JointAction]], hull: Sequence[Point]
) -> None:
    from matplotlib.collections import PolyCollection

    corners = np.array(hull, dtype=np.float64)
    if len(hull) < 3:
        style: dict[str, Any] = {"color": INDEPENDENT_AREA, "linewidth": 9, "solid_capstyle": "round", "zorder": 1}
        axes.plot(*corners.T, label=EVERYTHING, **style)
        return
    if independent_reach_all([points[corner] for corner in hull]):
        axes.fill(*corners.T, facecolor=INDEPENDENT_AREA, edgecolor="none", zorder=1, label=EVERYTHING)
        return
    axes.fill(*corners.T, facecolor=CORRELATED_AREA, edgecolor="none", zorder=1, label="correlated joint policies")
    if comb(game.n_actions[0], 2) * comb(game.n_actions[1], 2) > MAX_PATCHES:
        axes.plot([], linestyle="", label="independent policies:\nnot drawn, too many actions")
        return
    polygons = independent_region(game)
    axes.add_collection(
        PolyCollection(
            polygons,
            facecolor=INDEPENDENT_AREA,
            edgecolor=INDEPENDENT_AREA,
            linewidth=0.5,
            rasterized=len(polygons) > 2000,
            zorder=2,
            label="independent policies",
        )
    )


def _draw_frontier(axes: "Axes", frontier: Sequence[Point]) -> None:
    """Draw a line, or a dot where one joint reward is best for both agents."""
    corners = np.array(frontier, dtype=np.float64)
    style: dict[str, Any] = {"linewidth": 2.6} if len(corners) > 1 else {"linestyle": "", "marker": "o"}
    axes.plot(
        *corners.T, color=FRONTIER, markersize=17, solid_capstyle="round", zorder=3, label="Pareto frontier", **style
    )


def _draw_points(axes: "Axes", points: Sequence[Point]) -> None:
    x, y = np.array(points, dtype=np.float64).T
    label = "deterministic joint policies"
    if len(points) > MAX_LABELS:
        label += f"\n({MAX_LABELS} of {len(points)} are named)"
    axes.scatter(x, y, s=22, color=INK, zorder=6, label=label)


def _draw_solutions(axes: "Axes", solutions: Solutions) -> None:
    """Draw a star below the points and open marks around them, so that several at one place can all be seen."""
    if solutions.correlated is not None:
        x, y = map(float, solutions.correlated)
        label = f"best correlated equilibrium\n({solutions.objective})"
        style: dict[str, Any] = {"facecolor": BEST, "edgecolor": BEST_EDGE, "linewidth": 0.9, "zorder": 4}
        axes.scatter(x, y, s=620, marker="*", label=label, **style)
    for rewards, marker, size, colour, label in [
        (solutions.pure, "o", 130, PURE, "pure Nash equilibrium"),
        (solutions.mixed, "D", 75, MIXED, "mixed Nash equilibrium"),
    ]:
        style = {"facecolor": "none", "edgecolor": colour, "linewidth": 2, "zorder": 7}
        if len(rewards):
            x, y = np.array([[float(reward) for reward in pair] for pair in rewards]).T
            axes.scatter(x, y, s=size, marker=marker, label=label, **style)


def _dress(axes: "Axes", game: NormalFormGame) -> None:
    axes.set_title(f"{game.name}: feasible expected joint rewards", loc="left", fontsize=12, color=INK)
    axes.set_xlabel("expected reward of agent 1")
    axes.set_ylabel("expected reward of agent 2")
    axes.margins(0.14)
    axes.grid(color="#e6e6e6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if 1 / 3 <= (right - left) / (top - bottom) <= 3:
        axes.set_aspect("equal", adjustable="box")


def _label_points(
    axes: "Axes",
    renderer: "RendererAgg",
    game: NormalFormGame,
    points: dict[Point, list[JointAction]],
    hull: Sequence[Point],
    solutions: Solutions,
) -> None:
    """Name the points, equilibria and corners first, each where it covers the least of what is drawn already."""
    from matplotlib.text import Text

    corners = _pixels(axes, hull)
    marks = [*solutions.pure, *solutions.mixed, *([] if solutions.correlated is None else [solutions.correlated])]
    obstacles = np.concatenate([_pixels(axes, points), _along(corners), _around(_pixels(axes, marks))])
    window = axes.get_window_extent()
    taken = np.empty((0, 2, 2))
    stable = {tuple(rewards) for rewards in solutions.pure}
    for point in sorted(points, key=lambda point: (point not in stable, point not in hull))[:MAX_LABELS]:
        note = axes.annotate(
            _names(game, points[point]), _floats(point), (0, 0), textcoords="offset points",
            fontsize=9, color=INK, ha="center", va="center", zorder=8,
            arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        note.update_positions(renderer)
        box = Text.get_window_extent(note)  # of the words alone, without the line to the point
        steps = _steps(box, _outward(_pixels(axes, [point])[0], corners))
        boxes = box.get_points() + steps[:, None]
        best = int(_costs(boxes, taken, obstacles, window).argmin())
        taken = np.concatenate([taken, boxes[[best]]])
        note.set_position(tuple((steps[best] * 72 / renderer.dpi).tolist()))


def _names(game: NormalFormGame, actions: Sequence[JointAction]) -> str:
    names = [game.label(a) for a in actions[:NAMES_IN_A_LABEL]]
    further = len(actions) - len(names)
    return " ".join(names) + (f" + {further}" if further else "")


def _floats(point: Pair) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _pixels(axes: "Axes", points: Iterable[Pair]) -> NDArray[np.float64]:
    places = np.array([_floats(point) for point in points]).reshape(-1, 2)
    return np.asarray(axes.transData.transform(places), dtype=np.float64)


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on the edges of the hull, close enough that a label cannot slip between two of them."""
    t = np.linspace(0, 1, 200)[:, None]
    return np.concatenate([(1 - t) * a + t * b for a, b in zip(corners, np.roll(corners, 1, axis=0), strict=True)])


def _around(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on the rims of the marks."""
    angles = np.linspace(0, 2 * np.pi, 16)
    rims = centres[:, None] + MARK_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.asarray(rims.reshape(-1, 2), dtype=np.float64)


def _outward(place: NDArray[np.float64], corners: NDArray[np.float64]) -> float:
    """The angle that leads away from the middle of the hull, or away from a segment to its lower right."""
    if len(corners) < 3:
        direction = corners[-1] - corners[0]
        return float(np.arctan2(-abs(direction[0]), abs(direction[1]))) if direction.any() else 0.0
    away = place - corners.mean(axis=0)
    return float(np.arctan2(away[1], away[0]))


def _steps(text: "Bbox", angle: float) -> NDArray[np.float64]:
    """Ways [k, 2] to move a text off its point, the near and outward ones first."""
    turns = np.array(sorted(np.linspace(-np.pi, np.pi, 24, endpoint=False), key=abs)) + angle
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    half = np.array([text.width, text.height]) / 2
    return np.concatenate([directions * (distance + half) for distance in (12, 18, 26, 36, 48)])


def _costs(
    boxes: NDArray[np.float64], taken: NDArray[np.float64], obstacles: NDArray[np.float64], window: "Bbox"
) -> NDArray[np.int64]:
    """How much a label at each of boxes [k, 2, 2] would cover: points, lines, and worse, labels or what is outside."""
    low, high = boxes[:, None, 0] - 3, boxes[:, None, 1] + 3
    covered = np.all((obstacles > low) & (obstacles < high), axis=-1).sum(axis=1)
    others = np.all((taken[:, 0] < high) & (taken[:, 1] > low), axis=-1).sum(axis=1)
    beyond = np.any((boxes[:, 0] < window.min) | (boxes[:, 1] > window.max), axis=-1)
    return np.asarray(covered + 1000 * (others + beyond), dtype=np.int64)
