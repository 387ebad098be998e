"""Everything that this package decides about one normal-form game, within stated limits of size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.correlated import MAX_CELLS, CorrelatedSolution, correlated_equilibrium
from marlspec.reference.solution.minimax import MinimaxSolution, minimax
from marlspec.reference.solution.nash import Equilibria, expected_rewards, pure_equilibria, support_enumeration
from marlspec.reference.solution.pareto import ParetoAnswer, is_pareto_optimal
from marlspec.reference.solution.profiles import Profile, joint_rewards, pure_profile

Objective: TypeAlias = str | int

MAX_LISTED = 50
MAX_PARETO_WORK = 1_000_000
MAX_MINIMAX_CELLS = 40_000
MAX_SUPPORT_WORK = 20_000_000


@dataclass(frozen=True, eq=False)
class NashEquilibrium:
    """One Nash equilibrium with what it brings.

    Attributes:
        profile: n object arrays [A_i] of Fractions.
        action: the joint action where every agent plays one action for certain, else None.
        rewards: object array [n] of Fractions, the expected rewards.
        deterministic: whether no joint action Pareto-dominates it; None where that was left out.
        correlated: whether no correlated joint policy does; None where that was left out.
    """

    profile: Profile
    action: tuple[int, ...] | None
    rewards: NDArray[Any]
    deterministic: ParetoAnswer | None
    correlated: ParetoAnswer | None


@dataclass(frozen=True, eq=False)
class Correlated:
    """The best correlated or coarse correlated equilibrium with the expected rewards [n] that it brings."""

    solution: CorrelatedSolution
    rewards: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found out about a game.

    Attributes:
        game: the game.
        objective: by what the best correlated equilibrium is best: "welfare", "fairness" or the number of an agent.
        n_pure: how many pure Nash equilibria there are.
        pure: the first MAX_LISTED of them.
        equilibria: all Nash equilibria as support_enumeration returns them, or None.
        mixed: those in which some agent mixes, the first MAX_LISTED.
        minimax: of a zero-sum game for two agents, else None.
        correlated: the best correlated equilibrium, or None.
        coarse: the best coarse correlated equilibrium, or None.
        left_out: what was not computed, each with the reason and what to use instead.
    """

    game: NormalFormGame
    objective: Objective
    n_pure: int
    pure: tuple[NashEquilibrium, ...]
    equilibria: Equilibria | None
    mixed: tuple[NashEquilibrium, ...]
    minimax: MinimaxSolution | None
    correlated: Correlated | None
    coarse: Correlated | None
    left_out: tuple[str, ...] = field(default=())


def analyse(game: NormalFormGame, objective: Objective = "welfare") -> Analysis:
    """Solve a game by every method of this package that fits its size.

    Args:
        game: n agents.
        objective: "welfare", "fairness" (for rewards that are not negative) or the number of an agent, from 0.

    Raises:
        InputError: an objective that correlated_equilibrium does not take for this game.
    """
    left_out: list[str] = []
    coarse = _correlated(game, objective, True, left_out)
    correlated = _correlated(game, objective, False, left_out)
    actions = pure_equilibria(game)
    if len(actions) > MAX_LISTED:
        left_out.append(f"{len(actions) - MAX_LISTED} further pure Nash equilibria: {MAX_LISTED} are listed")
    equilibria = _all_equilibria(game, left_out)
    mixes = [] if equilibria is None else [profile for profile in equilibria.profiles if _action(profile) is None]
    if len(mixes) > MAX_LISTED:
        left_out.append(f"{len(mixes) - MAX_LISTED} further mixed Nash equilibria: {MAX_LISTED} are listed")
    profiles = [pure_profile(game, a) for a in actions[:MAX_LISTED].tolist()]
    decided = _described(game, [*profiles, *mixes[:MAX_LISTED]], left_out)
    return Analysis(
        game=game,
        objective=objective,
        n_pure=len(actions),
        pure=tuple(decided[: len(profiles)]),
        equilibria=equilibria,
        mixed=tuple(decided[len(profiles) :]),
        minimax=_minimax(game, left_out),
        correlated=correlated,
        coarse=coarse,
        left_out=tuple(left_out),
    )


def _described(game: NormalFormGame, profiles: Sequence[Profile], left_out: list[str]) -> list[NashEquilibrium]:
    """Add rewards to every profile, and to as many as the game's size allows whether they are Pareto-optimal."""
    decided = MAX_PARETO_WORK // prod(game.n_actions)
    if len(profiles) > decided:
        left_out.append(
            f"Pareto optimality of {len(profiles) - decided} Nash equilibria, each to be compared with "
            f"{prod(game.n_actions)} joint actions: decide single ones with is_pareto_optimal"
        )
    return [_nash(game, profile, k < decided) for k, profile in enumerate(profiles)]


def _nash(game: NormalFormGame, profile: Profile, decide: bool) -> NashEquilibrium:
    return NashEquilibrium(
        profile=profile,
        action=_action(profile),
        rewards=expected_rewards(game, profile),
        deterministic=is_pareto_optimal(game, profile, "deterministic") if decide else None,
        correlated=is_pareto_optimal(game, profile, "correlated") if decide else None,
    )


def _action(profile: Profile) -> tuple[int, ...] | None:
    """The joint action that a profile plays for certain, or None."""
    played = [np.flatnonzero(mix) for mix in profile]
    return tuple(int(own[0]) for own in played) if all(len(own) == 1 for own in played) else None


def _all_equilibria(game: NormalFormGame, left_out: list[str]) -> Equilibria | None:
    if game.n_agents != 2:
        left_out.append(
            f"mixed Nash equilibria, which are enumerated for two agents and not for {game.n_agents}: "
            "verify a given profile with regret or is_nash"
        )
        return None
    work = support_work(*game.n_actions)
    if work > MAX_SUPPORT_WORK:
        left_out.append(
            f"mixed Nash equilibria: {'x'.join(map(str, game.n_actions))} actions may take {work:.1e} steps to "
            f"enumerate, and {MAX_SUPPORT_WORK:.1e} are the limit; verify a given profile with regret or is_nash"
        )
        return None
    return support_enumeration(game)


def support_work(m: int, n: int) -> int:
    """Return a bound on the steps of support enumeration with m and n actions: numbers changed, and pairs compared."""
    first, second = most_vertices(m, n), most_vertices(n, m)
    return first * n * (2 * m + n) + second * m * (2 * n + m) + first * second // 8


def most_vertices(d: int, k: int) -> int:
    """Return the highest number of vertices of {x >= 0, k inequalities} in d dimensions (McMullen 1970)."""
    facets = d + k
    return comb(facets - (d + 1) // 2, k) + comb(facets - (d + 2) // 2, k)


def _minimax(game: NormalFormGame, left_out: list[str]) -> MinimaxSolution | None:
    if game.n_agents != 2:
        return None
    if prod(game.n_actions) > MAX_MINIMAX_CELLS:
        left_out.append(
            f"minimax, if the game is zero-sum: {prod(game.n_actions)} joint actions, and {MAX_MINIMAX_CELLS} are the "
            "limit here; call minimax, which takes any size"
        )
        return None
    return minimax(game) if game.is_zero_sum else None


def _correlated(game: NormalFormGame, objective: Objective, coarse: bool, left_out: list[str]) -> Correlated | None:
    rows = sum(count if coarse else count * (count - 1) for count in game.n_actions)
    kind = "coarse correlated" if coarse else "correlated"
    if rows * prod(game.n_actions) > MAX_CELLS:
        left_out.append(
            f"the best {kind} equilibrium: its linear program has {rows} x {prod(game.n_actions)} coefficients, and "
            f"{MAX_CELLS} are the limit; verify a given distribution with {'cce_gap' if coarse else 'ce_gap'}"
        )
        return None
    solution = correlated_equilibrium(game, objective, coarse)
    return Correlated(solution, joint_rewards(game, solution.joint))
