"""Is there a product policy that dominates given rewards? Decided exactly for two agents, searched for more.

For two agents it suffices to look at mixes of two actions each (docs/proofs.md, section 8). There the gains over the
given rewards are bilinear in the two probabilities p and q, and the question comes down to intervals and the sign of a
parabola.
"""

from fractions import Fraction
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.linear_program import LinearProgram, maximise
from marlspec.reference.solution.nash import expected_rewards
from marlspec.reference.solution.profiles import Profile, rewards_of_own_actions
from marlspec.reference.solution.rationals import as_fractions

Pair: TypeAlias = tuple[int, int]
Gains: TypeAlias = tuple[Fraction, Fraction]
Line: TypeAlias = tuple[Fraction, Fraction]
STARTS = 8
ROUNDS = 4
SEED = 0
DENOMINATOR = 1000
PENALTY = 1000


def dominating_pair(game: NormalFormGame, rewards: NDArray[Any]) -> Profile | None:
    """Return a profile of a game for two agents that dominates the rewards [2], or None where there is none."""
    gains = as_fractions(game.payoffs) - rewards[:, None, None]
    m, n = game.n_actions
    for own in _pairs(m):
        for other in _pairs(n):
            found = _dominating_point(gains[:, own, :][:, :, other])
            if found is not None:
                return _mix(m, own, found[0]), _mix(n, other, found[1])
    return None


def _pairs(count: int) -> list[Pair]:
    return [*combinations(range(count), 2)] or [(0, 0)]


def _mix(count: int, pair: Pair, second: Fraction) -> NDArray[Any]:
    mix = np.full(count, Fraction(), dtype=object)
    mix[pair[0]] += 1 - second
    mix[pair[1]] += second
    return mix


def _dominating_point(corners: NDArray[Any]) -> tuple[Fraction, Fraction] | None:
    """Return (p, q) in the unit square where both gains are at least zero and one is positive, if there is any.

    Args:
        corners: gains [2, 2, 2] of agent 1 and agent 2 at p, q in {0, 1}.
    """
    for end in (0, 1):
        p = _positive_on_segment(tuple(corners[:, 0, end]), tuple(corners[:, 1, end]))
        if p is not None:
            return p, Fraction(end)
    for agents in (corners, corners[::-1]):
        p = _crossing(agents)
        if p is not None:
            ends = (1 - p) * corners[:, 0, :] + p * corners[:, 1, :]
            q = _positive_on_segment(tuple(ends[:, 0]), tuple(ends[:, 1]))
            assert q is not None
            return p, q
    return None


def _positive_on_segment(start: Gains, end: Gains) -> Fraction | None:
    """Return t in [0, 1] where start + t (end - start) is nowhere negative and not zero, if there is any."""
    lines = [(first, last - first) for first, last in zip(start, end, strict=True)]
    low, high = _not_negative(lines)
    if low > high:
        return None
    return next((t for t in (low, high) if any(level + slope * t > 0 for level, slope in lines)), None)


def _not_negative(lines: list[Line]) -> tuple[Fraction, Fraction]:
    """Return the ends of the part of [0, 1] on which level + slope t >= 0 for all lines; low > high where empty."""
    low, high = Fraction(), Fraction(1)
    for level, slope in lines:
        if slope > 0:
            low = max(low, -level / slope)
        elif slope < 0:
            high = min(high, -level / slope)
        elif level < 0:
            return Fraction(1), Fraction()
    return low, high


def _crossing(corners: NDArray[Any]) -> Fraction | None:
    """Return p where the gains run from (-, +) at q = 0 to (+, -) at q = 1 and pass above the origin, if there is any.

    At q = 0 the gains are lines in p, and so they are at q = 1. The way between passes above the origin where the
    cross product of its ends, a parabola in p, is negative.
    """
    start, end = ([_line(corners[i, 0, q], corners[i, 1, q]) for i in (0, 1)] for q in (0, 1))
    signs = [_opposite(start[0]), start[1], end[0], _opposite(end[1])]
    low, high = _not_negative(signs)
    if low >= high:
        return None
    return _negative_inside(_times(start[0], end[1], start[1], end[0]), low, high)


def _line(at_zero: Fraction, at_one: Fraction) -> Line:
    return at_zero, at_one - at_zero


def _opposite(line: Line) -> Line:
    return -line[0], -line[1]


def _times(a: Line, b: Line, c: Line, d: Line) -> tuple[Fraction, Fraction, Fraction]:
    """Coefficients of a b - c d, the constant first."""
    return a[0] * b[0] - c[0] * d[0], a[0] * b[1] + a[1] * b[0] - c[0] * d[1] - c[1] * d[0], a[1] * b[1] - c[1] * d[1]


def _negative_inside(parabola: tuple[Fraction, Fraction, Fraction], low: Fraction, high: Fraction) -> Fraction | None:
    """Return a point strictly between low and high at which the parabola is negative, if there is any."""
    constant, slope, curve = parabola
    vertex = -slope / (2 * curve) if curve else low
    if curve > 0 and low < vertex < high:
        return vertex if constant + slope * vertex / 2 < 0 else None
    for end, other in ((low, high), (high, low)):
        if constant + (slope + curve * end) * end < 0:
            return _near(parabola, end, other)
    return None


def _near(parabola: tuple[Fraction, Fraction, Fraction], end: Fraction, other: Fraction) -> Fraction:
    """Halve the way from other to end until the parabola is negative, as it is at the end."""
    constant, slope, curve = parabola
    point = (end + other) / 2
    while constant + (slope + curve * point) * point >= 0:
        point = (end + point) / 2
    return point


def search_dominating(game: NormalFormGame, rewards: NDArray[Any]) -> Profile | None:
    """Look for a profile that dominates the rewards [n]; None means that none was found, not that there is none.

    From a few random profiles, one agent after the other takes the mix that is best for all by a linear program: it
    gains most, and loses nothing where that can be avoided. Mixes on the way are rounded to short fractions; a profile
    is returned as it was found.
    """
    tables = as_fractions(game.payoffs).reshape(game.n_agents, -1)
    spread = np.array([max(table) - min(table) or Fraction(1) for table in tables], dtype=object)
    generator = np.random.default_rng(SEED)
    for _ in range(STARTS):
        profile = [_shortened(generator.dirichlet(np.ones(count))) for count in game.n_actions]
        for j in [*range(game.n_agents)] * ROUNDS:
            offered = np.stack([rewards_of_own_actions(payoff, tuple(profile), j) for payoff in game.payoffs])
            profile[j] = _best_for_all((offered - rewards[:, None]) / spread[:, None])
            if _dominates(expected_rewards(game, profile) - rewards):
                return tuple(profile)
            profile[j] = _shortened(profile[j])
    return None


def _best_for_all(gains: NDArray[Any]) -> NDArray[Any]:
    """Return the mix of the columns of gains [n, k] with the largest sum of gains, where losses weigh PENALTY times."""
    n, k = gains.shape
    above = np.eye(n, dtype=np.int64).astype(object)
    program = LinearProgram(
        objective=np.array([0] * k + [1] * n + [-PENALTY] * n, dtype=object),
        upper=np.column_stack([-gains, above, -above]),
        shares=np.array([1] * k + [0] * (2 * n), dtype=object),
    )
    mass = maximise(program).point[:k]
    mix: NDArray[Any] = mass / mass.sum()
    return mix


def _shortened(mix: NDArray[Any]) -> NDArray[Any]:
    weights = np.array([Fraction(p).limit_denominator(DENOMINATOR) for p in mix.tolist()], dtype=object)
    short: NDArray[Any] = weights / weights.sum()
    return short


def _dominates(gained: NDArray[Any]) -> bool:
    return bool(min(gained) >= 0 and max(gained) > 0)
