"""Policies for normal-form games: one mix per agent (a profile), or one distribution over joint actions.

Both are judged exactly. Integers and Fractions must be distributions to the letter. Floats come out of solvers with
rounding errors: entries below zero by at most TOLERANCE are clipped, and a sum within TOLERANCE of one is divided out
in rationals; what departs by more is refused.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame, Number
from marlspec.reference.solution.rationals import over_common_denominator

Profile: TypeAlias = tuple[NDArray[Any], ...]
TOLERANCE = 1e-6


def checked_profile(game: NormalFormGame, profile: object) -> Profile:
    """Return a profile as exact numbers, one mix over the own actions for each agent.

    Args:
        game: the game that the profile is for.
        profile: n sequences, the i-th holding the A_i probabilities of agent i.

    Returns:
        n object arrays of shape [A_i] of Fractions that sum to exactly one; floats clipped and renormalised.

    Raises:
        InputError: another number of agents or actions, an entry that is no probability, or a sum that is not one.
    """
    if not isinstance(profile, list | tuple | np.ndarray) or len(profile) != game.n_agents:
        raise InputError(f"a profile holds one mix for each of the {game.n_agents} agents, not {profile!r}")
    shapes = [(count,) for count in game.n_actions]
    return tuple(
        checked_distribution(mix, shape, f"profile[{i}]")
        for i, (mix, shape) in enumerate(zip(profile, shapes, strict=True))
    )


def checked_joint(game: NormalFormGame, joint: object) -> NDArray[Any]:
    """Return a distribution over joint actions as exact numbers.

    Args:
        game: the game that the distribution is for.
        joint: nested lists or an array of shape [A_1, .., A_n].

    Returns:
        An object array of that shape of Fractions that sum to exactly one; floats clipped and renormalised.

    Raises:
        InputError: another shape, an entry that is no probability, or a sum that is not one.
    """
    return checked_distribution(joint, game.n_actions, "joint")


def pure_profile(game: NormalFormGame, a: Sequence[int]) -> Profile:
    """Return the profile in which every agent plays its action of the joint action a with certainty."""
    game.payoff(0, a)
    return tuple(
        frozen(Fraction(int(k == action)) for k in range(count))
        for action, count in zip(a, game.n_actions, strict=True)
    )


def product_distribution(profile: object) -> NDArray[Any]:
    """Return the distribution [A_1, .., A_n] over joint actions of agents that mix independently, in Fractions.

    Raises:
        InputError: no profile, or a mix that is no distribution.
    """
    if not isinstance(profile, list | tuple | np.ndarray) or len(profile) == 0:
        raise InputError(f"a profile holds one mix for each agent, not {profile!r}")
    mixes = [
        checked_distribution(mix, np.shape(np.asarray(mix, dtype=object)), f"profile[{i}]")
        for i, mix in enumerate(profile)
    ]
    return np.asarray(reduce(np.multiply.outer, mixes), dtype=object)


def joint_rewards(game: NormalFormGame, joint: object) -> NDArray[Any]:
    """Return every agent's exact expected reward [n] where joint actions are drawn from joint [A_1, .., A_n]."""
    distribution = checked_joint(game, joint)
    played = np.nonzero(distribution)
    weights, scale = over_common_denominator(distribution[played])
    paid = np.stack([payoff[played] for payoff in game.payoffs])
    rewards, unit = over_common_denominator(paid)
    return frozen(Fraction(total, scale * unit) for total in rewards @ weights)


def rewards_of_own_actions(payoff: NDArray[Any], profile: Profile, i: int) -> NDArray[Any]:
    """Return what a table [A_1, .., A_n] pays on average for each action of agent i while the others mix.

    Args:
        payoff: any agent's rewards.
        profile: n mixes as checked_profile returns them; the i-th has no influence.
        i: the agent whose action is fixed.

    Returns:
        An object array [A_i] of Fractions, summed over the others' supports in integers.
    """
    others = [j for j in range(len(profile)) if j != i]
    supports = {j: np.flatnonzero(profile[j]) for j in others}
    for j in others:
        payoff = np.take(payoff, supports[j], axis=j)
    table, scale = over_common_denominator(payoff)
    for j in reversed(others):
        weights, unit = over_common_denominator(profile[j][supports[j]])
        table, scale = np.tensordot(table, weights, axes=(j, 0)), scale * unit
    return frozen(Fraction(total, scale) for total in table)


def frozen(values: Iterable[Fraction]) -> NDArray[Any]:
    """Return Fractions as a read-only object array."""
    array = np.array(list(values), dtype=object)
    array.setflags(write=False)
    return array


def checked_distribution(values: object, shape: tuple[int, ...], place: str) -> NDArray[Any]:
    """Return a distribution as Fractions that sum to one exactly; floats are clipped and divided by their sum.

    Args:
        values: probabilities of the given shape.
        shape: the shape that is needed.
        place: how messages call the distribution, as in "profile[0]".

    Raises:
        InputError: another shape, an entry that is no probability, or a sum away from one.
    """
    array = np.array(values, dtype=object)
    if array.shape != shape or not shape:
        wanted = "x".join(map(str, shape)) or "some"
        raise InputError(f"{place} has shape {array.shape} where {wanted} probabilities are needed")
    numbers = [_probability(value, _place(place, index)) for index, value in np.ndenumerate(array)]
    total = sum((Fraction(number) for number in numbers), Fraction())
    allowed = TOLERANCE if any(isinstance(number, float) for number in numbers) else 0
    if abs(total - 1) > allowed:
        shown = float(total) if allowed else total
        raise InputError(f"{place} sums to {shown}: probabilities sum to 1 (exactly, or within {TOLERANCE} as floats)")
    clipped = [max(Fraction(number), Fraction()) for number in numbers]
    mass = sum(clipped, Fraction())
    array.ravel()[:] = [number / mass for number in clipped]
    array.setflags(write=False)
    return array


def _probability(value: Any, place: str) -> Number:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | Fraction | float | np.integer | np.floating):
        raise InputError(f"{place} is {value!r}: a probability is an int, a Fraction or a float")
    number: Number = value if isinstance(value, Fraction) else value.item() if isinstance(value, np.generic) else value
    if not isfinite(number):
        raise InputError(f"{place} is {number}: a probability is finite")
    if number < (-TOLERANCE if isinstance(number, float) else 0):
        raise InputError(f"{place} is {number}: a probability is not negative")
    return number


def _place(place: str, index: tuple[int, ...]) -> str:
    return place + "".join(f"[{k}]" for k in index)
