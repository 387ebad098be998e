"""Build an exact stochastic game from rules without chance, by following them from the first states."""

from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, TypeVar

import numpy as np

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction
from marlspec.games.stochastic import StochasticGame

Place = TypeVar("Place", bound=Hashable)
Rules = Callable[[Place, JointAction], tuple[Place, Sequence[int | Fraction]]]

MAX_TRANSITIONS = 200_000


def reachable_game(
    starts: Sequence[Place],
    rules: Rules[Place],
    ends: Callable[[Place], bool],
    action_labels: Sequence[Sequence[str]],
    label: Callable[[Place], str],
    **described: Any,
) -> StochasticGame:
    """Return the game whose states are what the rules reach from the first states, in the order of discovery.

    Args:
        starts: the first states, each drawn with the same probability; a state given twice is twice as likely.
        rules: from a state that is not terminal and a joint action to the next state and every agent's reward.
        ends: whether a state is terminal.
        action_labels: per agent, the names of its actions.
        label: the name of a state.
        described: gamma, name and citation, as for StochasticGame.

    Raises:
        InputError: more than 200 000 states and joint actions are reached.
    """
    joint_actions = list(product(*(range(len(own)) for own in action_labels)))
    numbers: dict[Place, int] = {}
    for start in starts:
        numbers.setdefault(start, len(numbers))
    found = list(numbers)
    successors: list[list[int]] = []
    rewards: list[list[Sequence[int | Fraction]]] = []
    for state in found:  # grows while it is walked through
        _check_size(len(found), len(joint_actions))
        over = ends(state)
        steps = [(state, [0] * len(action_labels)) if over else rules(state, a) for a in joint_actions]
        for after, _ in steps:
            if after not in numbers:
                numbers[after] = len(numbers)
                found.append(after)
        successors.append([numbers[after] for after, _ in steps])
        rewards.append([paid for _, paid in steps])
    shape = (len(found), *map(len, action_labels))
    paid = np.array(rewards, dtype=object)
    initial = [Fraction(0)] * len(found)
    for start in starts:
        initial[numbers[start]] += Fraction(1, len(starts))
    return StochasticGame.from_outcomes(
        np.array(successors).reshape(*shape, 1),
        np.ones((*shape, 1), dtype=np.int64),
        np.moveaxis(paid, -1, 0).reshape(len(action_labels), *shape),
        initial,
        [ends(state) for state in found],
        action_labels=action_labels,
        state_labels=[label(state) for state in found],
        **described,
    )


def _check_size(n_states: int, n_joint: int) -> None:
    if n_states * n_joint > MAX_TRANSITIONS:
        raise InputError(
            f"more than {MAX_TRANSITIONS} pairs of a state and a joint action are reached, too many for an exact game: "
            "take a smaller grid, fewer agents or fewer items"
        )
