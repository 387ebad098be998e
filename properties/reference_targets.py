"""The reference's own functions as targets: what is judged when no target is named."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from marlspec.games.matrix import NormalFormGame
from marlspec.reference.decomposition import qmix, vdn
from marlspec.reference.solution import correlated, minimax, nash, pareto

Function = Callable[[Tensor, Tensor], Tensor]
Procedure = Callable[..., Any]


def vdn_mixer(n_agents: int, state_size: int) -> Function:
    """Return VDN's mixer, which needs neither size."""
    return lambda utilities, state: vdn.mix(utilities)


def qmix_mixer(n_agents: int, state_size: int, embed: int = 32) -> Function:
    """Return QMIX's mixer: the hypernetwork makes the mixing parameters of each state."""
    hypernetwork = qmix.Hypernetwork(n_agents, state_size, embed)
    return lambda utilities, state: qmix.mix(utilities, hypernetwork(state))


def nash_solver() -> Procedure:
    """Return the exact enumeration of all equilibria of two agents."""
    return _declared(lambda payoffs: nash.support_enumeration(NormalFormGame(payoffs)).profiles, answers="all")


def minimax_solver() -> Procedure:
    """Return the linear program for zero-sum games."""
    return _declared(lambda payoffs: minimax.minimax(NormalFormGame(payoffs)).strategies, domain="zero_sum")


def correlated_solver(coarse: bool = False) -> Procedure:
    """Return the linear program for the (coarse) correlated equilibrium of the highest welfare."""
    return _declared(
        lambda payoffs: correlated.correlated_equilibrium(NormalFormGame(payoffs), "welfare", coarse).joint,
        concept="coarse_correlated" if coarse else "correlated",
        objective="welfare",
        agents=(2, 3),
    )


def coarse_correlated_solver() -> Procedure:
    """Return the linear program for the coarse correlated equilibrium of the highest welfare."""
    return correlated_solver(coarse=True)


def nash_check() -> Procedure:
    """Return the exact check of profiles."""
    return lambda payoffs, profile, epsilon: nash.is_nash(NormalFormGame(payoffs), profile, epsilon)


def pareto_check(among: str = "deterministic") -> Procedure:
    """Return the exact check of joint actions, against deterministic or correlated policies."""
    return _declared(
        lambda payoffs, action: (
            pareto.is_pareto_optimal(NormalFormGame(payoffs), tuple(action.tolist()), among).answer == "yes"
        ),
        among=among,
    )


def correlated_pareto_check() -> Procedure:
    """Return the exact check of joint actions against correlated policies."""
    return pareto_check("correlated")


def _declared(function: Procedure, **declarations: Any) -> Procedure:
    vars(function).update(declarations)
    return function


REFERENCE_TARGETS = (
    ("marlspec.properties.reference_targets:vdn_mixer", "vdn_mixer"),
    ("marlspec.properties.reference_targets:qmix_mixer", "qmix_mixer"),
    ("marlspec.properties.reference_targets:nash_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:minimax_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:correlated_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:coarse_correlated_solver", "equilibrium_solver"),
    ("marlspec.properties.reference_targets:nash_check", "nash_check"),
    ("marlspec.properties.reference_targets:pareto_check", "pareto_check"),
    ("marlspec.properties.reference_targets:correlated_pareto_check", "pareto_check"),
)
