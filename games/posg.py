"""Partially observable stochastic games: Definition 2 of the lecture, and its observation models as views."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import number_array
from marlspec.games.stochastic import StochasticGame, check_distributions, distinct_labels, joining_floats

MAX_VIEW_ENTRIES = 10_000_000


@dataclass(frozen=True, eq=False, init=False, repr=False)
class POSG:
    """A finite partially observable stochastic game (lecture, Definition 2; book, chapter 3).

    ==========================  =========================================================================
    Definition 2                here
    ==========================  =========================================================================
    I, S, S-bar, T, mu,         ``game``, a StochasticGame: see there for each symbol
    R_i, A_i
    observation sets O_i        ``n_observations``; an observation is an index, ``observation_labels`` names it
    observation functions O_i   ``observation[i]``, O_i(a, s, o_i): the chance that agent i observes o_i in the state s
                                that the joint action a has led to
    O_i at t = 0                ``first_observation[i]``, O_i(empty, s, o_i): no action comes before the first state,
                                which the definition leaves open (erratum E16)
    ==========================  =========================================================================

    The agents' observations are drawn independently of each other, given the state and the joint action before it.

    Attributes:
        game: the stochastic game that the agents observe in part.
        observation: one read-only array [A_1, .., A_n, S, |O_i|] per agent.
        first_observation: one read-only array [S, |O_i|] per agent.
        observation_labels: one tuple of labels per agent; o0, o1, .. where none were given.
    """

    game: StochasticGame
    observation: tuple[NDArray[Any], ...]
    first_observation: tuple[NDArray[Any], ...]
    observation_labels: tuple[tuple[str, ...], ...]

    def __init__(
        self,
        game: StochasticGame,
        observation: Sequence[object],
        first_observation: Sequence[object],
        observation_labels: Sequence[Sequence[object]] | None = None,
    ) -> None:
        """Validate and freeze a game.

        Integers and Fractions stay exact in an exact game; with a float64 game the observations become float64.

        Args:
            game: the stochastic game.
            observation: per agent the array [A_1, .., A_n, S, |O_i|].
            first_observation: per agent the array [S, |O_i|].
            observation_labels: per agent one distinct, non-empty label per observation.

        Raises:
            InputError: wrong shape, an entry that is no finite number, a negative probability, a distribution that does
                not sum to one, floats in an exact game, labels that do not fit. The message names the first offending
                index.
        """
        _check_count(observation, "observation", game)
        _check_count(first_observation, "first_observation", game)
        later = tuple(_checked(table, f"observation[{i}]", game) for i, table in enumerate(observation))
        first = tuple(_checked(table, f"first_observation[{i}]", game) for i, table in enumerate(first_observation))
        for i, (table, start) in enumerate(zip(later, first, strict=True)):
            _check_shapes(table, start, i, game)
            check_distributions(table, f"observation[{i}]")
            check_distributions(start, f"first_observation[{i}]")
            table.setflags(write=False)
            start.setflags(write=False)
        object.__setattr__(self, "game", game)
        object.__setattr__(self, "observation", later)
        object.__setattr__(self, "first_observation", first)
        object.__setattr__(self, "observation_labels", _checked_labels(observation_labels, self.n_observations))

    @property
    def n_agents(self) -> int:
        """Number of agents n."""
        return self.game.n_agents

    @property
    def n_observations(self) -> tuple[int, ...]:
        """Number of observations of each agent (|O_1|, .., |O_n|)."""
        return tuple(int(start.shape[-1]) for start in self.first_observation)

    @property
    def exact(self) -> bool:
        """Whether all numbers of the game and of the observation functions are integers and Fractions."""
        return self.game.exact

    def as_float64(self) -> "POSG":
        """Return the same game with all numbers rounded to float64; itself where they are float64 already."""
        if not self.exact:
            return self
        return POSG(
            self.game.as_float64(),
            [table.astype(np.float64) for table in self.observation],
            [start.astype(np.float64) for start in self.first_observation],
            self.observation_labels,
        )

    def __repr__(self) -> str:
        counts = "x".join(map(str, self.n_observations))
        return f"<POSG of {self.game!r} with {counts} observations>"


def full_observation(game: StochasticGame) -> POSG:
    """Return the game in which every agent observes the state and the last joint action: o_i^t = (s^t, a^{t-1})."""
    everyone = range(game.n_agents)
    return limited_view(game, [game.state_labels] * game.n_agents, [everyone] * game.n_agents)


def own_action_observation(game: StochasticGame) -> POSG:
    """Return the game in which the others' actions are not observed: o_i^t = (s^t, a_i^{t-1})."""
    return limited_view(game, [game.state_labels] * game.n_agents, [(i,) for i in range(game.n_agents)])


def state_observation(game: StochasticGame) -> POSG:
    """Return the game in which every agent observes the state and no action: o_i^t = s^t."""
    return limited_view(game, [game.state_labels] * game.n_agents, [()] * game.n_agents)


def limited_view(
    game: StochasticGame, state_parts: Sequence[Sequence[Hashable]], seen_agents: Sequence[Collection[int]]
) -> POSG:
    """Return the game in which an agent observes part of the state and part of the last joint action.

    The lecture writes o_i^t = (part of s^t, part of a^t); when o_i^t is observed, a^t has not been chosen yet, and
    a^{t-1} is meant (erratum E15). At t = 0 there is no action before: that part is empty (E16). An agent that sees
    nobody's action observes its part of the state alone.

    Args:
        game: the stochastic game.
        state_parts: per agent, what it sees of each state: a list of S values. It cannot tell states with equal values
            apart.
        seen_agents: per agent, the agents whose last action it sees.

    Raises:
        InputError: not one entry per agent, a list that has not one value per state, an agent that does not exist, or
            observation functions of more than ten million entries.
    """
    _check_count(state_parts, "state_parts", game)
    _check_count(seen_agents, "seen_agents", game)
    tables, starts, labels = [], [], []
    for i, (parts, agents) in enumerate(zip(state_parts, seen_agents, strict=True)):
        codes, names = _numbered_parts(parts, i, game)
        seen = _checked_agents(agents, i, game)
        actions, action_names = _numbered_actions(seen, game)
        n_observations = len(names) * len(action_names)
        _check_size(n_observations, i, game)
        starts.append(_one_hot(codes * len(action_names), n_observations, game.exact))
        tables.append(_one_hot(codes * len(action_names) + actions[..., None], n_observations, game.exact))
        labels.append([_view_label(part, action) for part in names for action in action_names])
    return POSG(game, tables, starts, labels)


def _check_count(given: object, what: str, game: StochasticGame) -> None:
    if not isinstance(given, list | tuple) or len(given) != game.n_agents:
        raise InputError(f"{what} needs a list with one entry for each of the {game.n_agents} agents")


def _checked(table: object, what: str, game: StochasticGame) -> NDArray[Any]:
    array = number_array(table, what)
    if not game.exact:
        return joining_floats(array, what, "the numbers of the game")
    if array.dtype != object:
        raise InputError(
            f"{what} holds floats while the game is exact: write its entries as int or Fraction, or hand over "
            "game.as_float64()"
        )
    return array


def _check_shapes(table: NDArray[Any], start: NDArray[Any], i: int, game: StochasticGame) -> None:
    if start.ndim != 2 or len(start) != game.n_states:
        raise InputError(
            f"first_observation[{i}] of shape {start.shape} does not fit: it needs the shape [{game.n_states}, "
            f"|O_{i + 1}|], a distribution over observations for each state"
        )
    wanted = (*game.n_actions, *start.shape)
    if table.shape != wanted:
        raise InputError(
            f"observation[{i}] of shape {table.shape} does not fit: it needs the shape {wanted}, a distribution over "
            f"the {wanted[-1]} observations of first_observation[{i}] for each joint action and each state it leads to"
        )


def _checked_labels(
    labels: Sequence[Sequence[object]] | None, n_observations: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    if labels is None:
        return tuple(tuple(f"o{o}" for o in range(count)) for count in n_observations)
    if isinstance(labels, str) or len(labels) != len(n_observations):
        raise InputError(f"observation_labels needs one list of labels for each of the {len(n_observations)} agents")
    return tuple(
        distinct_labels(own, count, f"observation_labels[{i}]")
        for i, (own, count) in enumerate(zip(labels, n_observations, strict=True))
    )


def _numbered_parts(parts: Sequence[Hashable], i: int, game: StochasticGame) -> tuple[NDArray[np.int64], list[str]]:
    """Number the distinct parts in the order in which they appear; return the number of each state [S], and names."""
    if isinstance(parts, str) or len(parts) != game.n_states:
        raise InputError(f"state_parts[{i}] needs one value for each of the {game.n_states} states")
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(part, len(numbers)) for part in parts]
    return np.array(codes), [str(part) for part in numbers]


def _checked_agents(agents: Collection[int], i: int, game: StochasticGame) -> list[int]:
    for agent in agents:
        if agent not in range(game.n_agents):
            raise InputError(f"seen_agents[{i}] names agent {agent}: agents are numbered 0 to {game.n_agents - 1}")
    return sorted(set(agents))


def _numbered_actions(seen: list[int], game: StochasticGame) -> tuple[NDArray[np.int64], list[str]]:
    """Number what is seen of a joint action [A_1, .., A_n]; 0 stands for no action before."""
    if not seen:
        return np.zeros(game.n_actions, dtype=np.int64), [""]
    counts = [game.n_actions[j] for j in seen]
    axes = np.indices(game.n_actions)[seen]
    codes = 1 + np.ravel_multi_index(tuple(axes), counts)
    names = [", ".join(game.action_labels[j][a] for j, a in zip(seen, own, strict=True)) for own in np.ndindex(*counts)]
    return codes, ["-", *names]


def _check_size(n_observations: int, i: int, game: StochasticGame) -> None:
    entries = prod(game.n_actions) * game.n_states * n_observations
    if entries > MAX_VIEW_ENTRIES:
        raise InputError(
            f"agent {i} would have {n_observations} observations and an observation function of {entries} entries, "
            f"more than {MAX_VIEW_ENTRIES}: let it see a smaller part, or take a smaller game"
        )


def _one_hot(codes: NDArray[np.int64], count: int, exact: bool) -> NDArray[Any]:
    """Distributions that put all probability on a code, with a new last axis of length count."""
    table = np.zeros((*codes.shape, count), dtype=object if exact else np.float64)
    np.put_along_axis(table, codes[..., None], 1, -1)
    return table


def _view_label(part: str, actions: str) -> str:
    return f"{part} | {actions}" if actions else part
