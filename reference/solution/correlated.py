"""Correlated and coarse correlated equilibria of normal-form games for n agents, by linear program.

A distribution over joint actions is drawn from, and each agent told its own action. In a correlated equilibrium no
agent gains by a rule that replaces told actions by others (book, chapter 4); in a coarse one, no agent gains by
playing one fixed action instead, chosen before it is told anything. The answers are verified in rationals; floats,
payoffs and probabilities alike, are the dyadic numbers that they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame, number_array
from marlspec.reference.solution.linear_program import LinearProgram, maximise, product
from marlspec.reference.solution.profiles import checked_joint, joint_rewards
from marlspec.reference.solution.rationals import as_fractions, over_common_denominator
from marlspec.reference.solution.welfare import fairness, welfare

MAX_CELLS = 4_000_000
FAIR_ENOUGH = Fraction(1, 10**9)


@dataclass(frozen=True, eq=False)
class CorrelatedSolution:
    """A correlated or coarse correlated equilibrium that is best by some objective.

    Attributes:
        joint: object array [A_1, .., A_n] of Fractions: the distribution over joint actions.
        value: its objective, exactly.
        gap: what an agent can gain at most by deviating (ce_gap or cce_gap of joint), exactly.
        exact: whether gap is zero and value equals bound.
        method: how it was found.
        bound: a proved upper bound on the objective of every such equilibrium.
    """

    joint: NDArray[Any]
    value: Fraction
    gap: Fraction
    exact: bool
    method: str
    bound: Fraction


class _Best(NamedTuple):
    """The best distribution [A_1, .., A_n] by a linear objective, a bound on all others, and how they were found."""

    joint: NDArray[Any]
    bound: Fraction
    method: str


class _Mixture(NamedTuple):
    """A distribution and the agents' expected rewards [n] under it."""

    joint: NDArray[Any]
    rewards: NDArray[Any]


def correlated_equilibrium(
    game: NormalFormGame, objective: object = "welfare", coarse: bool = False
) -> CorrelatedSolution:
    """Return the correlated (or coarse correlated) equilibrium that is best by an objective.

    Args:
        game: n agents. The linear program has a variable for each joint action and a constraint for each agent and
            pair of its actions (coarse: each action); it may have up to MAX_CELLS coefficients.
        objective: what to maximise in expectation: "welfare", the sum of all rewards; the number of an agent, for its
            reward alone; or an array [A_1, .., A_n] that gives any value to joint actions. Or "fairness", the product
            of the expected rewards, for games without negative rewards: exact for two agents, and for more agents
            within the reported bound, since the optimum need not be rational.
        coarse: whether to require no more than a coarse correlated equilibrium.

    Raises:
        InputError: an unknown objective, an array that does not fit, negative rewards with "fairness", or a game that
            is too large.
    """
    constraints = _constraints(game, coarse)
    if isinstance(objective, str) and objective == "fairness":
        return _fairest(game, constraints, coarse)
    values = _values(game, objective)
    best = _best(game, constraints, values)
    value = _expectation(values, best.joint)
    return _solution(game, best.joint, coarse, value, best.bound, best.method)


def ce_gap(game: NormalFormGame, joint: object) -> Fraction:
    """Return what some agent can gain at most by replacing the actions it is told by others, exactly.

    Args:
        game: n agents.
        joint: distribution [A_1, .., A_n] over joint actions; floats are clipped and renormalised (profiles.py).

    Returns:
        The largest gain of an agent, over all rules from told to played actions: zero exactly in a correlated
        equilibrium, never negative, and never below cce_gap.
    """
    distribution = checked_joint(game, joint)
    gains = [_gains(game, distribution, i) for i in range(game.n_agents)]
    return max(sum((max(row) for row in own), Fraction()) for own in gains)


def cce_gap(game: NormalFormGame, joint: object) -> Fraction:
    """Return what some agent can gain at most by playing one fixed action instead of what it is told, exactly.

    Arguments as for ce_gap. The result is zero exactly in a coarse correlated equilibrium, and never negative, because
    an agent may also do as it is told.
    """
    distribution = checked_joint(game, joint)
    gains = [_gains(game, distribution, i) for i in range(game.n_agents)]
    fixed = [sum(column, Fraction()) for own in gains for column in zip(*own, strict=True)]
    return max(Fraction(), *fixed)


def _gains(game: NormalFormGame, distribution: NDArray[Any], i: int) -> list[list[Fraction]]:
    """Agent i's gain [told][played], each weighed with the probability of being told so."""
    rewards, unit = over_common_denominator(np.moveaxis(game.payoffs[i], i, 0).reshape(game.n_actions[i], -1))
    weights, scale = over_common_denominator(np.moveaxis(distribution, i, 0).reshape(game.n_actions[i], -1))
    totals = weights @ rewards.T
    return [[Fraction(total - row[told], unit * scale) for total in row] for told, row in enumerate(totals)]


def _constraints(game: NormalFormGame, coarse: bool) -> NDArray[Any]:
    """Integer rows [u, joint actions]; a distribution is an equilibrium where its product with each is at most 0."""
    joint_actions = prod(game.n_actions)
    rows = sum(count if coarse else count * (count - 1) for count in game.n_actions)
    if rows * joint_actions > MAX_CELLS:
        raise InputError(
            f"{game.name} needs a linear program of {rows} x {joint_actions} coefficients, and {MAX_CELLS} are the "
            "limit: hand over a game with fewer actions" + ("" if coarse else ", or set coarse=True, which needs fewer")
        )
    kind = _coarse_rows if coarse else _rows
    found = [row.ravel() for i in range(game.n_agents) for row in kind(game, i)]
    return np.array(found, dtype=object).reshape(len(found), joint_actions)


def _rows(game: NormalFormGame, i: int) -> Iterator[NDArray[Any]]:
    table, _ = over_common_denominator(game.payoffs[i])
    by_action = np.moveaxis(table, i, 0)
    for told in range(game.n_actions[i]):
        for played in range(game.n_actions[i]):
            if told != played:
                row = np.zeros_like(table)
                np.moveaxis(row, i, 0)[told] = by_action[played] - by_action[told]
                yield row


def _coarse_rows(game: NormalFormGame, i: int) -> Iterator[NDArray[Any]]:
    table, _ = over_common_denominator(game.payoffs[i])
    for played in range(game.n_actions[i]):
        yield np.take(table, [played], axis=i) - table


def _values(game: NormalFormGame, objective: object) -> NDArray[Any]:
    """What each joint action is worth, Fractions [A_1, .., A_n]."""
    if isinstance(objective, str) and objective == "welfare":
        return np.asarray(welfare(as_fractions(game.payoffs)), dtype=object)
    if isinstance(objective, int) and not isinstance(objective, bool):
        if not 0 <= objective < game.n_agents:
            raise InputError(f"there is no agent {objective}: agents are numbered 0 to {game.n_agents - 1}")
        return as_fractions(game.payoffs[objective])
    if not isinstance(objective, list | tuple | np.ndarray):
        raise InputError(f'objective is {objective!r}: give "welfare", "fairness", an agent or an array [A_1, .., A_n]')
    values = number_array(objective, "objective")
    if values.shape != game.n_actions:
        raise InputError(f"objective has shape {values.shape} where {game.n_actions} values are needed")
    return as_fractions(values)


def _best(game: NormalFormGame, constraints: NDArray[Any], values: NDArray[Any]) -> _Best:
    optimum = maximise(LinearProgram(values.ravel(), constraints, np.ones(values.size, dtype=object)))
    joint = (optimum.point / optimum.point.sum()).reshape(game.n_actions)
    bound = max(values.ravel() - product(constraints.T, optimum.prices))
    return _Best(joint, bound, optimum.method)


def _solution(
    game: NormalFormGame, joint: NDArray[Any], coarse: bool, value: Fraction, bound: Fraction, method: str
) -> CorrelatedSolution:
    gap = cce_gap(game, joint) if coarse else ce_gap(game, joint)
    joint.setflags(write=False)
    return CorrelatedSolution(joint, value, gap, gap == 0 and value == bound, method, bound)


def _expectation(values: NDArray[Any], joint: NDArray[Any]) -> Fraction:
    return Fraction(product(values.reshape(1, -1), joint.ravel())[0])


def _fairest(game: NormalFormGame, constraints: NDArray[Any], coarse: bool) -> CorrelatedSolution:
    """Maximise the product of the agents' rewards by linear programs, which bound it from above (docs/proofs.md).

    At rewards u > 0 let M be the best value of sum_i U_i / u_i. Then no equilibrium's product exceeds that of u times
    (M / n)^n, and u is optimal where M = n. Where M > n, the optimum of that program is a new point to mix with.
    """
    rewards = as_fractions(game.payoffs)
    _check_not_negative(game)
    corners = []
    for i in range(game.n_agents):
        best = _best(game, constraints, rewards[i])
        if best.bound == 0:
            return _solution(game, best.joint, coarse, Fraction(), Fraction(), best.method)
        corners.append(_Mixture(best.joint, joint_rewards(game, best.joint)))
    while True:
        fairest = _fairest_mixture(corners)
        weights = (rewards.reshape(game.n_agents, -1) / fairest.rewards[:, None]).sum(axis=0).reshape(game.n_actions)
        best = _best(game, constraints, weights)
        excess = best.bound / game.n_agents
        corner = _Mixture(best.joint, joint_rewards(game, best.joint))
        known = any((corner.rewards == other.rewards).all() for other in corners)
        if known or excess <= 1 + FAIR_ENOUGH * (game.n_agents > 2):
            value = Fraction(fairness(fairest.rewards))
            bound = value * max(excess, Fraction(1)) ** game.n_agents
            return _solution(game, fairest.joint, coarse, value, bound, _fairness_method(game, best.method))
        corners.append(corner)


def _check_not_negative(game: NormalFormGame) -> None:
    negative = np.argwhere(game.payoffs < 0)
    if len(negative):
        i, *a = map(int, negative[0])
        raise InputError(
            f"fairness multiplies rewards, and agent {i} receives {game.payoff(i, a)} for {game.label(a)} in "
            f"{game.name}: hand over rewards that are not negative, measured from the worst case, for example"
        )


def _fairness_method(game: NormalFormGame, method: str) -> str:
    return f"mixtures of corners, each a {method}" if game.n_agents > 1 else method


def _fairest_mixture(corners: list[_Mixture]) -> _Mixture:
    """Return the mixture of the corners with the highest product of rewards, exactly so for one or two agents.

    Of two agents' rewards the best mixture lies on the boundary of the corners' hull, hence between two of them.
    """
    if len(corners[0].rewards) <= 2:
        pairs = [*combinations(corners, 2)] or [(corners[0], corners[0])]
        return max((_between(one, other) for one, other in pairs), key=lambda mixture: fairness(mixture.rewards))
    weights = _float_weights(np.array([corner.rewards for corner in corners], dtype=np.float64))
    joint = sum(weight * corner.joint for weight, corner in zip(weights, corners, strict=True))
    rewards = sum(weight * corner.rewards for weight, corner in zip(weights, corners, strict=True))
    return _Mixture(np.asarray(joint, dtype=object), np.asarray(rewards, dtype=object))


def _between(one: _Mixture, other: _Mixture) -> _Mixture:
    """Maximise the product u_1 u_2 on the way from one to the other: a parabola where it can exceed both ends."""
    ways = [Fraction(), Fraction(1)]
    step = other.rewards - one.rewards
    if len(step) == 2 and step[0] * step[1] < 0:
        top = -(one.rewards[0] * step[1] + one.rewards[1] * step[0]) / (2 * step[0] * step[1])
        ways.append(min(max(top, Fraction()), Fraction(1)))
    way = max(ways, key=lambda t: fairness(one.rewards + t * step))
    return _Mixture(one.joint + way * (other.joint - one.joint), one.rewards + way * step)


def _float_weights(rewards: NDArray[np.float64]) -> list[Fraction]:
    """Weights [k] of the corners' rewards [k, n] that maximise the mixture's product, as nearly as floats find them."""
    from scipy.optimize import LinearConstraint, minimize

    scaled = rewards / rewards.max(axis=0)
    k = len(scaled)

    def loss(weights: NDArray[np.float64]) -> float:
        return -float(np.log(weights @ scaled).sum())

    def slope(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-(scaled / (weights @ scaled)).sum(axis=1), dtype=np.float64)

    start = np.full(k, 1 / k)
    whole = LinearConstraint(np.ones((1, k)), 1, 1)
    found = minimize(loss, start, jac=slope, bounds=[(1e-12, 1)] * k, constraints=whole, method="SLSQP", tol=1e-15)
    weights = [Fraction(float(weight)).limit_denominator(10**9) for weight in np.clip(found.x, 0, 1)]
    return [weight / sum(weights) for weight in weights]
