"""Adapters: nashpy's solvers for two agents as targets of the judge.

    marlspec check examples/nashpy_solvers.py:support_enumeration --role equilibrium_solver
    marlspec check examples/nashpy_solvers.py:support_enumeration --role equilibrium_solver --set domain=non_degenerate

nashpy documents that its solvers may fail in degenerate games; `domain=non_degenerate` leaves these out, so that what
is refuted then is no documented limit. What came out stands in docs/findings.md.
"""

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nashpy
import numpy as np
from numpy.typing import NDArray

Payoffs = NDArray[np.float64]
Solver = Callable[[Payoffs], Any]


def _declared(solver: Solver, **declarations: Any) -> Solver:
    """Say what a solver promises, and keep nashpy's warnings of degenerate games out of the report."""

    def quiet(payoffs: Payoffs) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return solver(payoffs)

    vars(quiet).update(declarations)
    return quiet


def support_enumeration(domain: str = "general") -> Solver:
    """Return nashpy's support enumeration: all equilibria."""
    return _declared(lambda payoffs: list(nashpy.Game(*payoffs).support_enumeration()), answers="all", domain=domain)


def vertex_enumeration(domain: str = "general", single_actions: bool = True, positive: bool = False) -> Solver:
    """Return nashpy's vertex enumeration: all equilibria.

    Args:
        domain: the games to judge it on.
        single_actions: whether to hand it games in which an agent has one action alone, on which it raises; otherwise
            the other agent's best response is answered there.
        positive: hand it payoffs that are moved to 1 and above, which moves no equilibrium: its polytopes are bounded
            only then, and it moves negative payoffs to 0 by itself.
    """

    def solver(payoffs: Payoffs) -> Any:
        if 1 in payoffs.shape[1:] and not single_actions:
            return [_best_response(payoffs)]
        if positive:
            payoffs = payoffs - payoffs.min(axis=(1, 2), keepdims=True) + 1
        return list(nashpy.Game(*payoffs).vertex_enumeration())

    return _declared(solver, answers="all", domain=domain)


def lemke_howson(domain: str = "general", single_actions: bool = True) -> Solver:
    """Return nashpy's Lemke-Howson algorithm from every label: some equilibria.

    Args:
        domain: the games to judge it on.
        single_actions: whether to hand it games in which an agent has one action alone, on which it runs on for ever;
            otherwise the other agent's best response is answered there.
    """

    def solver(payoffs: Payoffs) -> Any:
        if 1 in payoffs.shape[1:] and not single_actions:
            return [_best_response(payoffs)]
        with _at_most(seconds=1):
            return list(nashpy.Game(*payoffs).lemke_howson_enumeration())

    return _declared(solver, answers="some", domain=domain)


def _best_response(payoffs: Payoffs) -> list[NDArray[np.float64]]:
    return [np.eye(table.shape[i])[table.max(axis=1 - i).argmax()] for i, table in enumerate(payoffs)]


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Stop a computation that does not end: TimeoutError, in the main thread of a Unix system."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"no answer after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def linear_program() -> Solver:
    """Return nashpy's linear program for zero-sum games."""
    return _declared(lambda payoffs: nashpy.Game(*payoffs).linear_program(), domain="zero_sum")


def fictitious_play(iterations: int = 2000, epsilon: float = 1.0) -> Solver:
    """Return the frequencies of nashpy's fictitious play, which converge in zero-sum games; epsilon is our choice."""

    def solver(payoffs: Payoffs) -> Any:
        *_, counts = nashpy.Game(*payoffs).fictitious_play(iterations=iterations)
        return [count / count.sum() for count in counts]

    return _declared(solver, domain="zero_sum", epsilon=epsilon)


def regret_minimization(iterations: int = 1000, epsilon: float = 1.0, square: bool = False) -> Solver:
    """Return the pair that nashpy's regret minimisation ends with, in zero-sum games; epsilon is our choice.

    Args:
        iterations: its own.
        epsilon: the regret that it is held to.
        square: hand it square games alone, on others it raises: the last action is handed over several times.
    """

    def solver(payoffs: Payoffs) -> Any:
        larger = max(payoffs.shape[1:])
        missing = [(0, larger - count) for count in payoffs.shape[1:]] if square else [(0, 0)] * 2
        game = nashpy.Game(*np.pad(payoffs, [(0, 0), *missing], mode="edge"))
        *_, profile = game.regret_minimization(iterations=iterations)
        return [
            np.append(mix[: count - 1], sum(mix[count - 1 :]))
            for mix, count in zip(profile, payoffs.shape[1:], strict=True)
        ]

    return _declared(solver, domain="zero_sum", epsilon=epsilon)
