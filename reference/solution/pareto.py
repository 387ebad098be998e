"""Pareto dominance and optimality in normal-form games, against three classes of policies.

A joint policy is Pareto-optimal where no other one gives every agent as much and some agent more (lecture,
"Solutions"; book, chapter 4). The answer depends on the class from which the other one is taken: joint actions alone,
agents that mix independently (product policies), or any distribution over joint actions (correlated policies). Every
"yes" and every "no" here is proved in rationals; floats, payoffs and probabilities alike, are the dyadic numbers that
they are.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import inf, nextafter
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction, NormalFormGame, number_array
from marlspec.reference.solution.linear_program import LinearProgram, maximise
from marlspec.reference.solution.nash import expected_rewards
from marlspec.reference.solution.product_dominance import dominating_pair, search_dominating
from marlspec.reference.solution.profiles import Profile, joint_rewards, pure_profile
from marlspec.reference.solution.rationals import as_fractions

Answer: TypeAlias = Literal["yes", "no", "unknown"]
Policy: TypeAlias = JointAction | Profile | NDArray[Any]
CLASSES = ("deterministic", "correlated", "product")


@dataclass(frozen=True, eq=False)
class ParetoAnswer:
    """Whether a policy is Pareto-optimal, with the proof.

    Attributes:
        answer: "yes", "no", or "unknown" where neither could be proved.
        dominated_by: with "no" a policy of the class that dominates, in the form in which policies are handed over: a
            joint action, a profile or a distribution over joint actions. Else None.
        method: how it was decided.
        exact: whether the answer is proved in rationals, as "yes" and "no" are.
        weights: with "yes" among correlated policies, and among product policies where that settles it, one positive
            Fraction for each agent: no joint action has a higher weighted sum of rewards than the policy. Else None.
        gap: with "unknown" after a linear program, by how much the highest weighted sum that it found exceeds the
            policy's. Else zero.
    """

    answer: Answer
    dominated_by: Policy | None
    method: str
    exact: bool
    weights: tuple[Fraction, ...] | None = None
    gap: Fraction = Fraction()


def dominates(u: object, v: object) -> bool:
    """Tell whether rewards u Pareto-dominate rewards v: nowhere less and somewhere more, compared exactly.

    Args:
        u: one number per agent.
        v: as many.

    Raises:
        InputError: different numbers of agents, or an entry that is no finite number.
    """
    first, second = number_array(u, "u"), number_array(v, "v")
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"dominance compares one reward per agent: u has shape {first.shape} and v {second.shape}")
    pairs = [*zip(as_fractions(first), as_fractions(second), strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def pareto_optimal_actions(game: NormalFormGame) -> NDArray[np.bool_]:
    """Return which joint actions are Pareto-dominated by no other joint action, shape [A_1, .., A_n].

    Two agents are settled by sorting. For more, each reward vector on the frontier is compared with all that remain,
    which takes as many passes over the joint actions as there are such vectors.
    """
    ranks = np.stack([np.unique(payoff, return_inverse=True)[1].ravel() for payoff in game.payoffs])
    optimal = _frontier_of_two(*ranks) if game.n_agents == 2 else _frontier(ranks)
    return optimal.reshape(game.n_actions)


def policy_rewards(game: NormalFormGame, policy: object) -> NDArray[Any]:
    """Return every agent's exact expected reward [n] under a policy.

    Args:
        game: n agents.
        policy: a tuple or list of n actions (a joint action), a tuple or list of n mixes (a profile), or an array
            [A_1, .., A_n] (a distribution over joint actions).

    Raises:
        InputError: the policy is none of these, or does not fit the game.
    """
    if isinstance(policy, np.ndarray):
        return joint_rewards(game, policy)
    if not isinstance(policy, list | tuple):
        raise InputError(f"a policy is a joint action, a profile, or an array [A_1, .., A_n], not {policy!r}")
    if all(isinstance(action, int | np.integer) and not isinstance(action, bool) for action in policy):
        return expected_rewards(game, pure_profile(game, policy))
    return expected_rewards(game, policy)


def is_pareto_optimal(game: NormalFormGame, policy: object, among: str = "deterministic") -> ParetoAnswer:
    """Decide whether a policy is Pareto-dominated by one of a class.

    - "deterministic": compared with all joint actions, always decided.
    - "correlated": a linear program looks for a dominating distribution, or for positive weights by which the policy
      has the highest weighted sum of all joint actions; whichever it finds is verified.
    - "product": optimal among correlated policies implies optimal here. Else two agents are decided exactly
      (docs/proofs.md), and for more agents a joint action or a profile that dominates is searched; where none turns up
      the answer is "unknown", because the set of reward vectors of product policies is not convex.

    Args:
        game: n agents.
        policy: as for policy_rewards, of any kind. A float policy is judged after clipping and renormalising, and may
            miss the frontier by a rounding error: it is then dominated.
        among: the class from which a dominating policy may be taken.

    Raises:
        InputError: an unknown class, or a policy that does not fit the game.
    """
    if among not in CLASSES:
        raise InputError(f"among is {among!r}: write one of {', '.join(map(repr, CLASSES))}")
    rewards = policy_rewards(game, policy)
    if among == "deterministic":
        return _among_joint_actions(game, rewards)
    if among == "correlated":
        return _among_distributions(game, rewards)
    return _among_profiles(game, rewards, policy)


def _among_joint_actions(game: NormalFormGame, rewards: NDArray[Any]) -> ParetoAnswer:
    method = "comparison with every joint action"
    a = _dominating_action(game, rewards)
    return ParetoAnswer("yes" if a is None else "no", a, method, exact=True)


def _dominating_action(game: NormalFormGame, rewards: NDArray[Any]) -> JointAction | None:
    """Return the first joint action that dominates, in whole tables; payoffs are compared with floats only if floats.

    A float64 is at least a rational where it is at least the smallest float64 that is.
    """
    enough = np.ones(game.n_actions, dtype=np.bool_)
    more = np.zeros(game.n_actions, dtype=np.bool_)
    for payoff, reward in zip(game.payoffs, rewards, strict=True):
        bound = reward if game.exact else _float_above(reward)
        enough &= np.asarray(payoff >= bound, dtype=np.bool_)
        more |= np.asarray(payoff > bound if bound == reward else payoff >= bound, dtype=np.bool_)
    found = np.flatnonzero(enough & more)
    return tuple(map(int, np.unravel_index(found[0], game.n_actions))) if len(found) else None


def _float_above(value: Fraction) -> float:
    near = float(value)
    return near if Fraction(near) >= value else nextafter(near, inf)


def _among_distributions(game: NormalFormGame, rewards: NDArray[Any]) -> ParetoAnswer:
    """Maximise the sum of the agents' gains over distributions that lower nobody's reward.

    Only joint actions on the frontier need weight: any other is dominated by one of them. Rewards are mapped onto
    [0, 1] agent by agent, which changes no dominance.
    """
    frontier = pareto_optimal_actions(game)
    tables = as_fractions(game.payoffs[:, frontier])
    low, high = tables.min(axis=1), tables.max(axis=1)
    spread = np.array([b - a or Fraction(1) for a, b in zip(low, high, strict=True)], dtype=object)
    wanted = (rewards - low) / spread
    offered = (tables - low[:, None]) / spread[:, None]
    optimum = maximise(_gains_program(offered, wanted))
    joint = np.full(game.n_actions, Fraction(), dtype=object)
    mass = optimum.point[: tables.shape[1]]
    joint[frontier] = mass / mass.sum()
    if dominates(joint_rewards(game, joint), rewards):
        return ParetoAnswer("no", joint, f"a dominating distribution; {optimum.method}", exact=True)
    weights = optimum.prices / spread
    gap = max((weights[:, None] * tables).sum(axis=0)) - sum(weights * rewards)
    if gap <= 0 and all(weight > 0 for weight in weights):
        return ParetoAnswer("yes", None, f"supporting weights; {optimum.method}", exact=True, weights=tuple(weights))
    return ParetoAnswer("unknown", None, optimum.method, exact=False, gap=gap)


def _gains_program(offered: NDArray[Any], wanted: NDArray[Any]) -> LinearProgram:
    """Maximise sum_i s_i where the mixture of the columns of offered [n, k] gives agent i at least wanted_i + s_i."""
    n, k = offered.shape
    return LinearProgram(
        objective=np.array([0] * k + [1] * n, dtype=object),
        upper=np.column_stack([wanted[:, None] - offered, np.eye(n, dtype=np.int64).astype(object)]),
        shares=np.array([1] * k + [0] * n, dtype=object),
    )


def _among_profiles(game: NormalFormGame, rewards: NDArray[Any], policy: object) -> ParetoAnswer:
    correlated = _among_distributions(game, rewards)
    if correlated.answer == "yes":
        return correlated
    a = _dominating_action(game, rewards)
    if a is not None:
        return ParetoAnswer("no", pure_profile(game, a), "comparison with every joint action", exact=True)
    if game.n_agents == 2:
        found = dominating_pair(game, rewards)
        method = "all pairs of mixes of two actions, in rationals"
        return ParetoAnswer("yes" if found is None else "no", found, method, exact=True)
    found = search_dominating(game, rewards)
    if found is not None and dominates(expected_rewards(game, found), rewards):
        return ParetoAnswer("no", found, "local search, verified in rationals", exact=True)
    return ParetoAnswer("unknown", None, "local search found no dominating profile", exact=False)


def _frontier_of_two(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A pair of ranks is dominated by a higher second rank beside its first, or by no lower one beside a higher."""
    best = np.full(first.max() + 1, -1)
    np.maximum.at(best, first, second)
    beyond = np.append(np.maximum.accumulate(best[::-1])[::-1][1:], -1)
    return np.asarray((second == best[first]) & (second > beyond[first]), dtype=np.bool_)


def _frontier(ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Take the largest sum of ranks that remains, which nothing can dominate, and strike out what it dominates."""
    distinct, place = np.unique(ranks, axis=1, return_inverse=True)
    optimal = np.zeros(distinct.shape[1], dtype=np.bool_)
    left = np.argsort(-distinct.sum(axis=0), kind="stable")
    while len(left):
        optimal[left[0]] = True
        left = left[(distinct[:, left] > distinct[:, left[:1]]).any(axis=0)]
    return optimal[place.ravel()]
