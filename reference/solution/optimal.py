"""Optimal values of common-reward stochastic games: what the best joint policy of all agents together can reach.

With one reward for all, a stochastic game is a Markov decision process whose choices are the joint actions. Its optimal
action values are the fixpoint that central Q-learning (lecture, Algorithm 4) approaches:
Q*(s, a) = sum_s' T(s, a, s') [R(s, a, s') + gamma max_a' Q*(s', a')], and zero in terminal states.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from marlspec.games.matrix import Number
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.solution.decisions import DecisionProcess, optimum
from marlspec.reference.solution.policies import with_discount


@dataclass(frozen=True, eq=False)
class OptimalValues:
    """The optimal values of a common-reward stochastic game.

    Attributes:
        values: [S], zero in terminal states.
        action_values: [S, A_1, .., A_n], zero in terminal states.
        exact: whether the numbers are free of rounding: Fractions in object arrays, else float64.
        method: how they were found.
    """

    values: NDArray[Any]
    action_values: NDArray[Any]
    exact: bool
    method: str


def optimal_values(game: StochasticGame, gamma: Number | None = None) -> OptimalValues:
    """Return the optimal values of every state and joint action, by policy iteration over joint actions.

    The work is in rationals where the game and gamma are exact. For large games hand over game.as_float64().

    Args:
        game: a common-reward game.
        gamma: the discount in [0, 1]; the game's own where it is left out. One is allowed where every policy reaches
            a terminal state with certainty.

    Raises:
        InputError: the agents' rewards differ somewhere, gamma is no discount, gamma is one and some policy never
            ends, or too many states all reach each other for a solution in rationals.
    """
    game, discount = with_discount(game, gamma)
    reward, probabilities = game.shared_reward(), game.probabilities
    shape = (game.n_states, -1, reward.shape[-1])
    process = DecisionProcess(
        successors=game.successors.reshape(shape),
        probabilities=probabilities.reshape(shape),
        rewards=(probabilities * reward).sum(axis=-1).reshape(game.n_states, -1),
        terminal=game.terminal,
    )
    best = optimum(process, discount)
    table = best.action_values.reshape(game.n_states, *game.n_actions)
    return OptimalValues(best.values, table, best.exact, f"{best.method} over joint actions")


def optimal_action_values(game: StochasticGame, gamma: Number | None = None) -> NDArray[Any]:
    """Return Q* [S, A_1, .., A_n]; arguments, exactness and errors as for optimal_values."""
    return optimal_values(game, gamma).action_values
