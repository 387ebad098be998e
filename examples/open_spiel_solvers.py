"""Adapters: open_spiel's solvers for matrix games as targets of the judge.

    marlspec check examples/open_spiel_solvers.py:zero_sum_program --role equilibrium_solver
    marlspec check examples/open_spiel_solvers.py:welfare_correlated --role equilibrium_solver

They need the packages open_spiel, cvxpy, cvxopt and ecos. Where a solver iterates, the epsilon that it is held to is
our choice, far above what its theory leaves after so many steps. What came out stands in docs/findings.md.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyspiel
from numpy.typing import NDArray
from open_spiel.python.algorithms import (
    double_oracle,
    jpsro,
    lp_solver,
    mip_nash,
    projected_replicator_dynamics,
    regret_matching,
)

Payoffs = NDArray[np.float64]
Solver = Callable[[Payoffs], Any]


def _declared(solver: Solver, **declarations: Any) -> Solver:
    """Say what a solver promises, and keep the warnings of its linear algebra out of the report."""

    def quiet(payoffs: Payoffs) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return solver(payoffs)

    vars(quiet).update(declarations)
    return quiet


def zero_sum_program(epsilon: float | None = None) -> Solver:
    """Return the pair of linear programs for zero-sum games."""

    def solver(payoffs: Payoffs) -> Any:
        return lp_solver.solve_zero_sum_matrix_game(pyspiel.create_matrix_game(*payoffs))[:2]

    return _declared(solver, domain="zero_sum", epsilon=epsilon)


def double_oracle_solver(tolerance: float = 5e-5, single_actions: bool = True) -> Solver:
    """Return the double oracle for zero-sum games, which stops below its tolerance for the sum of both gains.

    Args:
        tolerance: its own.
        single_actions: whether to hand it games in which an agent has one action alone, on which it raises; otherwise
            the other agent's best response is answered there.
    """

    def solver(payoffs: Payoffs) -> Any:
        if 1 in payoffs.shape[1:] and not single_actions:
            return [np.eye(table.shape[i])[table.max(axis=1 - i).argmax()] for i, table in enumerate(payoffs)]
        game = pyspiel.create_matrix_game(*payoffs)
        solution, _, _ = double_oracle.DoubleOracleSolver(game).solve(tolerance=tolerance, verbose=False)
        return solution

    return _declared(solver, domain="zero_sum", epsilon=2 * tolerance)


def mixed_integer_program(objective: str = "MAX_SOCIAL_WELFARE", epsilon: float | None = None) -> Solver:
    """Return the mixed-integer program for an optimal equilibrium of two agents."""
    return _declared(
        lambda payoffs: mip_nash.mip_nash(pyspiel.create_matrix_game(*payoffs), objective), epsilon=epsilon
    )


def _joint(flag: str, concept: str, epsilon: float | None, **declarations: Any) -> Solver:
    """One of the meta-solvers of joint PSRO, with each action counted once."""

    def solver(payoffs: Payoffs) -> Any:
        repeats = [np.ones(count, dtype=np.int64) for count in payoffs.shape[1:]]
        return jpsro.FLAG_TO_FUNC[flag](payoffs, repeats)[0]

    return _declared(solver, concept=concept, agents=(2, 3), epsilon=epsilon, **declarations)


def welfare_correlated(epsilon: float | None = None) -> Solver:
    """Return the correlated equilibrium of maximum welfare."""
    return _joint("mwce", "correlated", epsilon, objective="welfare")


def gini_correlated(epsilon: float | None = None) -> Solver:
    """Return the correlated equilibrium of maximum Gini impurity."""
    return _joint("mgce", "correlated", epsilon)


def welfare_coarse(epsilon: float | None = None) -> Solver:
    """Return the coarse correlated equilibrium of maximum welfare."""
    return _joint("mwcce", "coarse_correlated", epsilon, objective="welfare")


def gini_coarse(epsilon: float | None = None) -> Solver:
    """Return the coarse correlated equilibrium of maximum Gini impurity."""
    return _joint("mgcce", "coarse_correlated", epsilon)


def regret_matching_solver(iterations: int = 400, epsilon: float = 3.2) -> Solver:
    """Return the averages of regret matching in zero-sum games: gains of at most 2 * 16 * sqrt(4 / 400) = 3.2."""
    return _declared(
        lambda payoffs: regret_matching.regret_matching([*payoffs], iterations=iterations, gamma=0.0),
        domain="zero_sum",
        epsilon=epsilon,
    )


def replicator_dynamics(iterations: int = 2000, dt: float = 0.01, epsilon: float = 1.0) -> Solver:
    """Return the averages of projected replicator dynamics in zero-sum games."""
    return _declared(
        lambda payoffs: projected_replicator_dynamics.projected_replicator_dynamics(
            [*payoffs], prd_iterations=iterations, prd_dt=dt
        ),
        domain="zero_sum",
        epsilon=epsilon,
    )
