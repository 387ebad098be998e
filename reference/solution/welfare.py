"""Welfare and fairness: two ways to weigh the agents' rewards against one another (book, chapter 4)."""

from typing import Any

from marlspec.games.matrix import number_array


def welfare(rewards: object) -> Any:
    """Return the sum of the agents' rewards.

    Args:
        rewards: one number per agent, or an array of shape [n, ...] with the agents along its first axis, such as a
            game's payoffs. Integers and Fractions stay exact, floats are added in float64.

    Returns:
        A number, or an array of shape [...].

    Raises:
        InputError: no agents, ragged lists, or an entry that is no finite number.
    """
    return number_array(rewards, "rewards").sum(axis=0)


def fairness(rewards: object) -> Any:
    """Return the product of the agents' rewards, which among equal sums is the higher the more equal they are.

    That holds for rewards that are not negative; of two negative rewards the product is positive. Arguments, result
    and errors as for welfare.
    """
    return number_array(rewards, "rewards").prod(axis=0)
