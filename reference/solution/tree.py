"""The tree of full histories of a partially observable stochastic game: what can follow, and what policies do there."""

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction
from marlspec.games.posg import POSG
from marlspec.reference.solution.policies import checked_distribution, described

Own: TypeAlias = tuple[int, ...]
Joint: TypeAlias = tuple[tuple[int, ...], ...]
OwnPolicy: TypeAlias = Callable[[Own], list[tuple[int, Any]]]
JointPolicy: TypeAlias = Callable[[Joint], list[tuple[JointAction, Any]]]

MAX_HORIZON = 100  # the recursions take a few frames of the stack for each step


class Outcome(NamedTuple):
    """A state that can follow, with its probability and every agent's reward [n]."""

    state: int
    probability: Any
    rewards: NDArray[Any]


class GameTree:
    """What can follow a state and a joint action, each list made once.

    Attributes:
        game: the partially observable stochastic game.
    """

    def __init__(self, game: POSG) -> None:
        """Start with empty lists."""
        self.game = game
        self._outcomes: dict[tuple[int, JointAction], list[Outcome]] = {}
        self._observations: dict[tuple[JointAction | None, int], list[tuple[Own, Any]]] = {}

    def outcomes(self, s: int, a: JointAction) -> list[Outcome]:
        """Return the states that can follow state s and joint action a."""
        if (s, a) not in self._outcomes:
            self._outcomes[s, a] = self._listed_outcomes(s, a)
        return self._outcomes[s, a]

    def observations(self, a: JointAction | None, s: int) -> list[tuple[Own, Any]]:
        """Return the joint observations of state s that can follow joint action a, with their probabilities.

        Before the first action a is None (E16).
        """
        if (a, s) not in self._observations:
            self._observations[a, s] = self._listed_observations(a, s)
        return self._observations[a, s]

    def starts(self) -> list[tuple[int, Own, Any]]:
        """Return the first states with their joint observations and probabilities."""
        initial = self.game.game.initial.tolist()
        return [(s, o, mu * seen) for s, mu in enumerate(initial) if mu for o, seen in self.observations(None, s)]

    def _listed_outcomes(self, s: int, a: JointAction) -> list[Outcome]:
        game = self.game.game
        chances = game.probabilities[(s, *a)].tolist()
        states = game.successors[(s, *a)].tolist()
        rewards = np.moveaxis(game.rewards, 0, -1)[(s, *a)]
        return [Outcome(*found) for found in zip(states, chances, rewards, strict=True) if found[1]]

    def _listed_observations(self, a: JointAction | None, s: int) -> list[tuple[Own, Any]]:
        if a is None:
            tables = [table[s] for table in self.game.first_observation]
        else:
            tables = [table[(*a, s)] for table in self.game.observation]
        seen = [[(o, chance) for o, chance in enumerate(table.tolist()) if chance] for table in tables]
        return [(tuple(o for o, _ in joint), prod(chance for _, chance in joint)) for joint in product(*seen)]


def own_policy(game: POSG, function: object, i: int) -> OwnPolicy:
    """Return agent i's policy as a function from its own observations to its actions with their probabilities.

    The given function is asked once for each history; its answers are checked, and actions of probability zero left
    out.

    Raises:
        InputError: no function; or, when asked, an answer that is no distribution over the agent's actions.
    """
    if not callable(function):
        raise InputError(
            f"policy[{i}] is {described(function)}: a history policy is a function from an agent's own observations to "
            "its action probabilities"
        )
    known: dict[Own, list[tuple[int, Any]]] = {}

    def support(observed: Own) -> list[tuple[int, Any]]:
        if observed not in known:
            mix = checked_distribution(function(observed), (game.game.n_actions[i],), f"policy[{i}]{observed}")
            known[observed] = [(a, p) for a, p in enumerate(_in_numbers_of(game, mix).tolist()) if p]
        return known[observed]

    return support


def own_policies(game: POSG, policy: object) -> list[OwnPolicy]:
    """Return a product policy of n functions as own_policy does for each.

    Raises:
        InputError: no n functions.
    """
    if not isinstance(policy, list | tuple) or len(policy) != game.n_agents:
        raise InputError(
            f"a history policy is a tuple of {game.n_agents} functions, one for each agent, not {described(policy)}"
        )
    return [own_policy(game, function, i) for i, function in enumerate(policy)]


def joint_policy(game: POSG, policy: object) -> JointPolicy:
    """Return any history policy as a function from joint observations to joint actions with their probabilities.

    Args:
        game: the game.
        policy: n functions of own observations, or one function of the joint observations that returns probabilities
            [A_1, .., A_n].

    Raises:
        InputError: neither of these; or, when asked, an answer that is no distribution.
    """
    if not callable(policy):
        return product_policy(own_policies(game, policy))
    known: dict[Joint, list[tuple[JointAction, Any]]] = {}

    def support(observed: Joint) -> list[tuple[JointAction, Any]]:
        if observed not in known:
            mix = checked_distribution(policy(observed), game.game.n_actions, f"policy{observed}")
            known[observed] = [(a, p) for a, p in np.ndenumerate(_in_numbers_of(game, mix)) if p]
        return known[observed]

    return support


def product_policy(policies: list[OwnPolicy]) -> JointPolicy:
    """Return the joint policy of agents that draw their actions independently, each by its own observations."""

    def support(observed: Joint) -> list[tuple[JointAction, Any]]:
        own = [policy(tuple(o[i] for o in observed)) for i, policy in enumerate(policies)]
        return [(tuple(a for a, _ in joint), prod(p for _, p in joint)) for joint in product(*own)]

    return support


def checked_horizon(horizon: int) -> int:
    """Return a number of steps that the recursion over histories can go; InputError for anything else."""
    if isinstance(horizon, bool) or not 0 <= horizon <= MAX_HORIZON:
        raise InputError(f"horizon is {horizon}: over histories it is a number of steps from 0 to {MAX_HORIZON}")
    return horizon


def _in_numbers_of(game: POSG, mix: NDArray[Any]) -> NDArray[Any]:
    return mix if game.exact else mix.astype(np.float64)
