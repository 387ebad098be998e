"""Feasible expected joint rewards of two agents, and their Pareto frontier (lecture, "Pareto Optimality").

A correlated joint policy draws the joint action, so that the expected joint rewards are the convex hull of the reward
vectors of the joint actions. Agents that draw their actions independently reach a part of it alone, which need not be
convex.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction, NormalFormGame

Point: TypeAlias = tuple[Fraction, Fraction]
STEPS = 48


def reward_points(game: NormalFormGame) -> dict[Point, list[JointAction]]:
    """Return the joint rewards of all joint actions, each with the joint actions that pay them.

    Raises:
        InputError: the game is not for two agents.
    """
    if game.n_agents != 2:
        raise InputError(
            f"joint rewards are drawn with one axis for each of two agents, and {game.name} has {game.n_agents}: "
            "leave the figure out"
        )
    points: dict[Point, list[JointAction]] = {}
    for a in game.joint_actions():
        first, second = (Fraction(reward) for reward in game.rewards(a))
        points.setdefault((first, second), []).append(a)
    return points


def convex_hull(points: Iterable[Point]) -> list[Point]:
    """Return the corners of the convex hull, counter-clockwise from the leftmost (lowest where several are).

    Points that are no corners are left out, also those on an edge: a segment has two corners, a point is its own.
    """
    ordered = sorted(set(points))
    lower, upper = _half_hull(ordered), _half_hull(ordered[::-1])
    return lower[:-1] + upper[:-1] if len(ordered) > 1 else ordered


def pareto_frontier(hull: Sequence[Point]) -> list[Point]:
    """Return the corners of the frontier, from agent 1's best to agent 2's best joint reward.

    Args:
        hull: the corners of the feasible joint rewards, counter-clockwise.

    Returns:
        The corners between which no joint reward is dominated: one where a single joint reward is best for both.
    """
    start = max(range(len(hull)), key=lambda k: hull[k])
    end = max(range(len(hull)), key=lambda k: hull[k][::-1])
    steps = (end - start) % len(hull)
    return [hull[(start + step) % len(hull)] for step in range(steps + 1)]


def independent_reach_all(corners: Sequence[Sequence[JointAction]]) -> bool:
    """Tell whether independent agents reach the whole hull because each edge is one agent's mix of two actions.

    The whole boundary is then the image of a closed path of profiles. That path can be contracted to a point among the
    profiles, so its image can be within theirs, and must pass every point of the inside.

    Args:
        corners: the joint actions that pay each corner of the hull, in order around it. A corner that several joint
            actions pay is left undecided, which is to say False.
    """
    if any(len(actions) > 1 for actions in corners):
        return False
    path = [actions[0] for actions in corners]
    return all(
        sum(one != other for one, other in zip(a, b, strict=True)) == 1
        for a, b in zip(path, [*path[1:], path[0]], strict=True)
    )


def independent_region(game: NormalFormGame, steps: int = STEPS) -> list[NDArray[np.float64]]:
    """Cover the joint rewards that two independently mixing agents reach with polygons [k, 2].

    Where both mix at most two actions, one agent's mix is moved in equal steps, and the segments that the other reaches
    at neighbouring steps bound a quadrilateral. One agent's mix of two actions against any mix of the other gives
    convex polygons. No more is needed: a joint reward on the boundary is reached where both mix at most two actions,
    and one in the interior where one of them does. The polygons differ from the region by the curvature between two
    steps.
    """
    rewards = game.as_float64().payoffs
    return [
        *_strips(rewards, steps),
        *_slices(rewards, steps),
        *_slices(rewards.transpose(0, 2, 1), steps),
    ]


def _half_hull(ordered: Sequence[Point]) -> list[Point]:
    """Corners below the line from the first to the last point of a sorted sequence, both included."""
    corners: list[Point] = []
    for point in ordered:
        while len(corners) > 1 and _turn(corners[-2], corners[-1], point) <= 0:
            corners.pop()
        corners.append(point)
    return corners


def _turn(a: Point, b: Point, c: Point) -> Fraction:
    """Positive where the way from a over b to c turns left, zero where it goes straight on or back."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _edges(rewards: NDArray[np.float64], steps: int) -> Iterator[NDArray[np.float64]]:
    """For every two actions of the first agent: joint rewards [steps + 1, A_2, 2] along the mixes of the two.

    A single action is taken with itself.
    """
    t = np.linspace(0, 1, steps + 1)[:, None]
    for one, two in list(combinations(range(rewards.shape[1]), 2)) or [(0, 0)]:
        yield np.stack([(1 - t) * own[one] + t * own[two] for own in rewards], axis=-1)


def _strips(rewards: NDArray[np.float64], steps: int) -> Iterator[NDArray[np.float64]]:
    for along in _edges(rewards, steps):
        for one, two in combinations(range(along.shape[1]), 2):
            before, after = along[:-1], along[1:]
            yield from np.stack([before[:, one], before[:, two], after[:, two], after[:, one]], axis=1)


def _slices(rewards: NDArray[np.float64], steps: int) -> Iterator[NDArray[np.float64]]:
    for along in _edges(rewards, steps):
        for corners in along:
            hull = convex_hull((Fraction(x), Fraction(y)) for x, y in corners)
            if len(hull) > 2:
                yield np.array(hull, dtype=np.float64)
