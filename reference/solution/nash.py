"""Nash equilibria of normal-form games: exact regret, pure equilibria for n agents, all extreme ones for two.

A Nash equilibrium is a profile in which no agent gains by changing its own mix alone (lecture, "Solutions"; book,
chapter 4). Everything here is decided in rationals. The payoffs of a float64 game are taken as the dyadic numbers
that they are, and so are the probabilities of a float profile once they are clipped and renormalised (profiles.py);
the answers are Fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame, Number
from marlspec.reference.solution.profiles import Profile, checked_profile, frozen, rewards_of_own_actions
from marlspec.reference.solution.rationals import over_common_denominator
from marlspec.reference.solution.vertices import Vertex, vertices


@dataclass(frozen=True, eq=False)
class Equilibria:
    """The Nash equilibria that were found.

    Attributes:
        profiles: each a tuple of n object arrays [A_i] of Fractions.
        degenerate: whether some mix of k actions has more than k pure best responses. There may then be infinitely
            many equilibria: profiles holds the extreme ones, of which all others are mixtures (docs/proofs.md). Where
            it is False, profiles holds all equilibria, an odd number.
        exact: whether the answer is free of rounding.
        method: how they were found.
    """

    profiles: tuple[Profile, ...]
    degenerate: bool
    exact: bool
    method: str


def expected_rewards(game: NormalFormGame, profile: object) -> NDArray[Any]:
    """Return every agent's expected reward under a profile, an object array [n] of Fractions."""
    mixes = checked_profile(game, profile)
    return frozen(_dot(own, gains) for own, gains in zip(mixes, _deviations(game, mixes), strict=True))


def deviation_rewards(game: NormalFormGame, profile: object) -> tuple[NDArray[Any], ...]:
    """Return what each own action would bring an agent while the others keep to their mixes.

    Returns:
        n object arrays of shape [A_i] of Fractions. Agent i's own mix has no influence on the i-th.
    """
    return _deviations(game, checked_profile(game, profile))


def best_responses(game: NormalFormGame, profile: object, i: int) -> tuple[int, ...]:
    """Return agent i's actions with the highest expected reward against the others' mixes, all ties included.

    Raises:
        InputError: there is no agent i, or the profile is none of this game.
    """
    if not 0 <= i < game.n_agents:
        raise InputError(f"there is no agent {i}: agents are numbered 0 to {game.n_agents - 1}")
    rewards = rewards_of_own_actions(game.payoffs[i], checked_profile(game, profile), i)
    best = rewards.max()
    return tuple(k for k, reward in enumerate(rewards) if reward == best)


def regret(game: NormalFormGame, profile: object) -> NDArray[Any]:
    """Return what each agent could gain at most by changing its own mix alone, exactly.

    Args:
        game: a game for n agents, its floats taken as the dyadic numbers that they are.
        profile: n mixes. Floats that are negative or sum away from one by more than profiles.TOLERANCE (1e-6) are
            refused; otherwise they are clipped at zero, divided by their exact sum, and judged as what results.

    Returns:
        An object array [n] of Fractions, none negative; all zero exactly in a Nash equilibrium.

    Raises:
        InputError: the profile is none of this game.
    """
    mixes = checked_profile(game, profile)
    return frozen(gains.max() - _dot(own, gains) for own, gains in zip(mixes, _deviations(game, mixes), strict=True))


def is_nash(game: NormalFormGame, profile: object, epsilon: Number = 0) -> bool:
    """Tell whether no agent can gain more than epsilon by changing its own mix alone.

    The exact regret is compared with epsilon, whose float is taken as the dyadic number that it is. A float profile is
    clipped and renormalised first (see regret), so rounded equilibria need a positive epsilon.

    Raises:
        InputError: epsilon is negative or not finite, or the profile is none of this game.
    """
    if not isfinite(epsilon) or epsilon < 0:
        raise InputError(f"epsilon is {epsilon}: it bounds a gain, so it must be finite and not negative")
    return bool(max(regret(game, profile)) <= Fraction(epsilon))


def pure_equilibria(game: NormalFormGame) -> NDArray[np.int64]:
    """Return all Nash equilibria in pure strategies, one joint action a row, in the order of joint_actions().

    A joint action is one exactly when every agent's reward is the highest among its own actions there, so one
    comparison of whole tables for each agent decides all joint actions.

    Returns:
        An integer array of shape [P, n]; P is zero where there is none.
    """
    stable = np.ones(game.n_actions, dtype=np.bool_)
    for i, payoff in enumerate(game.payoffs):
        table = _ordered_alike(payoff)
        stable &= np.asarray(table == table.max(axis=i, keepdims=True), dtype=np.bool_)
    return np.argwhere(stable)


def support_enumeration(game: NormalFormGame) -> Equilibria:
    """Return all extreme Nash equilibria of a game for two agents, which are all there are unless it is degenerate.

    Every support of either agent is covered, supports of unequal size included: the mixes come from the vertices of
    the two best-response polytopes, which are enumerated in integers, and a pair of vertices is an equilibrium exactly
    when every action is unplayed in the one or a best response to the other (docs/proofs.md, section 7). The number of
    vertices grows exponentially with the number of actions; ten actions for each agent take seconds.

    Raises:
        InputError: the game is not for two agents.
    """
    if game.n_agents != 2:
        raise InputError(
            f"support enumeration needs two agents, and {game.name} has {game.n_agents}: verify profiles with regret, "
            "or find pure equilibria with pure_equilibria"
        )
    rows, columns = (_positive(table) for table in game.payoffs)
    m, n = game.n_actions
    first = vertices(columns.T.tolist())
    second = [_renamed(vertex, m, n) for vertex in vertices(rows.tolist())]
    every = (1 << (m + n)) - 1
    pairs = [(x, y) for x in first for y in second if x.labels | y.labels == every and any(x.point)]
    degenerate = any(_excess(x, m) for x in first) or any(_excess(y, n) for y in second)
    profiles = sorted((_mix(x), _mix(y)) for x, y in pairs)
    return Equilibria(
        profiles=tuple((frozen(x), frozen(y)) for x, y in reversed(profiles)),
        degenerate=degenerate,
        exact=True,
        method="vertices of the best-response polytopes, in integers",
    )


def _deviations(game: NormalFormGame, mixes: Profile) -> tuple[NDArray[Any], ...]:
    return tuple(rewards_of_own_actions(payoff, mixes, i) for i, payoff in enumerate(game.payoffs))


def _ordered_alike(payoff: NDArray[Any]) -> NDArray[Any]:
    """Return a table that orders joint actions as payoff does, in machine numbers where they can hold it."""
    if payoff.dtype != object:
        return payoff
    if set(map(type, payoff.flat)) != {int}:
        payoff, _ = over_common_denominator(payoff)
    try:
        return payoff.astype(np.int64)
    except OverflowError:
        return payoff


def _positive(table: NDArray[Any]) -> NDArray[Any]:
    """Scale and shift payoffs to positive integers, which changes no best response."""
    integers, _ = over_common_denominator(table)
    shifted: NDArray[Any] = integers - (integers.min() - 1)
    return shifted


def _renamed(vertex: Vertex, m: int, n: int) -> Vertex:
    """Give agent 2's vertex the labels of agent 1's: bit k < m for agent 1's action k, bit m + k for agent 2's."""
    own, other = vertex.labels & ((1 << n) - 1), vertex.labels >> n
    return Vertex(vertex.point, own << m | other)


def _excess(vertex: Vertex, dimension: int) -> bool:
    return vertex.labels.bit_count() > dimension


def _mix(vertex: Vertex) -> tuple[Fraction, ...]:
    mass = sum(vertex.point)
    return tuple(Fraction(coordinate, mass) for coordinate in vertex.point)


def _dot(mix: Sequence[Fraction] | NDArray[Any], rewards: NDArray[Any]) -> Fraction:
    return sum((p * reward for p, reward in zip(mix, rewards, strict=True) if p), Fraction())
