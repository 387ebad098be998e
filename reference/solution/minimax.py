"""Minimax: the value of a zero-sum game for two agents, by linear program (book, chapter 4)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame, format_number
from marlspec.reference.solution.linear_program import LinearProgram, maximise
from marlspec.reference.solution.nash import deviation_rewards
from marlspec.reference.solution.profiles import Profile, checked_profile
from marlspec.reference.solution.rationals import as_fractions


@dataclass(frozen=True, eq=False)
class MinimaxSolution:
    """A pair of minimax strategies.

    Attributes:
        value: what agent 1 is sure of with its strategy, whatever agent 2 does. The value of the game lies between it
            and value + gap.
        strategies: one object array [A_i] of Fractions for each agent.
        gap: what agent 2 leaves agent 1 at most, less value. Zero exactly where both strategies are optimal.
        exact: whether the gap is zero.
        method: how the strategies were found.
    """

    value: Fraction
    strategies: Profile
    gap: Fraction
    exact: bool
    method: str


def minimax(game: NormalFormGame) -> MinimaxSolution:
    """Return the value of a zero-sum game and a strategy for each agent that secures it.

    Args:
        game: two agents whose rewards sum to zero, in rationals; floats are the dyadic numbers that they are.

    Raises:
        InputError: the game is not for two agents, or not zero-sum.
    """
    _check_zero_sum(game)
    optimum = maximise(_program(game))
    strategies = (_normalised(optimum.point[:-1]), _normalised(optimum.prices))
    own, other = deviation_rewards(game, strategies)
    value = -other.max()
    gap = own.max() - value
    return MinimaxSolution(value, checked_profile(game, strategies), gap, gap == 0, optimum.method)


def _check_zero_sum(game: NormalFormGame) -> None:
    if game.n_agents != 2:
        raise InputError(f"minimax needs two agents, and {game.name} has {game.n_agents}")
    if game.is_zero_sum:
        return
    a = next(a for a in game.joint_actions() if sum(map(Fraction, game.rewards(a))))
    paid = ", ".join(map(format_number, game.rewards(a)))
    raise InputError(
        f"{game.name} is not zero-sum: joint action {game.label(a)} pays the agents {paid}. Hand over a game whose "
        "rewards sum to zero; other games have equilibria instead of a value (support_enumeration)"
    )


def _program(game: NormalFormGame) -> LinearProgram:
    """Maximise v over agent 1's mix x and v, where x brings at least v against every action of agent 2.

    Rewards are mapped onto [1, 2], so that v is positive and the prices, which are agent 2's mix, sum to one.
    """
    rewards = as_fractions(game.payoffs[0])
    spread = rewards.max() - rewards.min() or 1
    against = 1 + (rewards - rewards.min()) / spread
    m, n = game.n_actions
    return LinearProgram(
        objective=np.array([0] * m + [1], dtype=object),
        upper=np.column_stack([-against.T, np.ones(n, dtype=object)]),
        shares=np.array([1] * m + [0], dtype=object),
    )


def _normalised(weights: NDArray[Any]) -> NDArray[Any]:
    mix: NDArray[Any] = weights / weights.sum()
    return mix
