"""Stochastic games as exact arrays: Definition 1 of the lecture, and the views that turn other games into one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import (
    JointAction,
    NormalFormGame,
    Number,
    checked_labels,
    denominators,
    format_number,
    number_array,
    numerators,
)
from marlspec.games.staged import TERMINAL, StagedGame, checked_gamma

SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, init=False, repr=False)
class StochasticGame:
    """A finite stochastic game (lecture, Definition 1; book, chapter 3).

    ==========================  =========================================================================
    Definition 1                here
    ==========================  =========================================================================
    agents I = 1, .., n         ``n_agents``; counted from zero in the code
    states S                    ``n_states``; a state is an index, and ``state_labels`` names it
    terminal states S-bar       ``terminal``, true where a state is terminal
    transition function T       ``successors`` and ``probabilities``; ``transition_matrix()`` is T itself
    initial distribution mu     ``initial``: S -> [0, 1] (the definition leaves out the name, erratum E16)
    reward functions R_i        ``rewards``; ``reward_table()`` is R_i(s, a, s') itself, a real number (E16)
    action sets A_i             ``n_actions``; ``action_labels`` names the actions
    ==========================  =========================================================================

    T and R are held in outcome form: entry m of the last axis is the m-th state that can follow a state and a joint
    action, with its probability and every agent's reward. The outcomes of a row stand in ascending order of the state.
    A row with fewer than M outcomes repeats its last one with probability 0. So the two constructors agree, and games
    with the same T, R, mu, terminal states, discount and labels are equal; name and citation describe only.

    Attributes:
        successors: read-only int64 array [S, A_1, .., A_n, M], the states that can follow.
        probabilities: read-only array [S, A_1, .., A_n, M], their probabilities.
        rewards: read-only array [n, S, A_1, .., A_n, M], what the agents receive.
        initial: read-only array [S], the initial state distribution mu.
        terminal: read-only truth values [S].
        gamma: the discount that the game is used with, in [0, 1].
        name: what the field calls the game.
        citation: where the numbers come from.
        action_labels: one tuple of labels per agent.
        state_labels: one label per state; s0, s1, .. where none were given.
    """

    successors: NDArray[np.int64]
    probabilities: NDArray[Any]
    rewards: NDArray[Any]
    initial: NDArray[Any]
    terminal: NDArray[np.bool_]
    gamma: Number
    name: str
    citation: str
    action_labels: tuple[tuple[str, ...], ...]
    state_labels: tuple[str, ...]

    def __init__(
        self,
        transitions: object,
        rewards: object,
        initial: object,
        terminal: object,
        *,
        gamma: Number = 1,
        name: str = "stochastic game",
        citation: str = "",
        action_labels: Sequence[Sequence[object]] | None = None,
        state_labels: Sequence[object] | None = None,
    ) -> None:
        """Validate and freeze a game given by its full transition function.

        Integers and Fractions stay exact, and probabilities must then sum to one exactly; floats become float64, and
        must sum to one within 1e-9. Numbers are all exact or all floats; integers may stand among floats.

        Args:
            transitions: T, shape [S, A_1, .., A_n, S].
            rewards: shape [n, S, A_1, .., A_n, S], or [n, S, A_1, .., A_n] where they do not depend on the next state.
                The reward of a transition of probability zero is not kept.
            initial: mu, shape [S].
            terminal: truth values, shape [S].
            gamma: the discount in [0, 1].
            name: what the field calls the game.
            citation: where the numbers come from.
            action_labels: one sequence of distinct, non-empty labels per agent.
            state_labels: one distinct, non-empty label per state.

        Raises:
            InputError: wrong shape, an entry that is no finite number, a negative probability, a distribution that
                does not sum to one, mu positive in a terminal state, a terminal state that is left or pays a reward,
                gamma outside [0, 1], labels that do not fit. The message names the first offending index.
        """
        table = number_array(transitions, "transitions")
        if table.ndim < 3 or table.shape[0] != table.shape[-1]:
            raise InputError(
                f"transitions of shape {table.shape} do not fit: they need the shape [S, A_1, .., A_n, S], the states "
                "on the first and on the last axis, for at least one agent"
            )
        every_state = np.broadcast_to(np.arange(table.shape[0]), table.shape)
        self._fill(every_state, (table, "transitions"), rewards, initial, terminal)
        self._describe(gamma, name, citation, action_labels, state_labels)

    @classmethod
    def from_outcomes(
        cls,
        successors: object,
        probabilities: object,
        rewards: object,
        initial: object,
        terminal: object,
        *,
        gamma: Number = 1,
        name: str = "stochastic game",
        citation: str = "",
        action_labels: Sequence[Sequence[object]] | None = None,
        state_labels: Sequence[object] | None = None,
    ) -> "StochasticGame":
        """Build a game in which at most M states can follow a state and a joint action.

        Args:
            successors: the states that can follow, integers of shape [S, A_1, .., A_n, M], distinct within a row where
                the probability is positive. Where it is 0 any state may stand: such an outcome is padding.
            probabilities: shape [S, A_1, .., A_n, M].
            rewards: shape [n, S, A_1, .., A_n, M], or [n, S, A_1, .., A_n] where they do not depend on the next state.
            initial: as for the constructor, like all that follow.
            terminal: as for the constructor.
            gamma: as for the constructor.
            name: as for the constructor.
            citation: as for the constructor.
            action_labels: as for the constructor.
            state_labels: as for the constructor.

        Raises:
            InputError: as for the constructor; also a successor that is no state, or one that occurs twice in a row.
        """
        following = _checked_successors(successors)
        table = number_array(probabilities, "probabilities")
        if table.shape != following.shape:
            raise InputError(
                f"probabilities of shape {table.shape} do not fit successors of shape {following.shape}: give one "
                "probability per successor"
            )
        game = cls.__new__(cls)
        game._fill(following, (table, "probabilities"), rewards, initial, terminal)
        game._describe(gamma, name, citation, action_labels, state_labels)
        return game

    def _fill(
        self,
        successors: NDArray[np.int64],
        named_probabilities: tuple[NDArray[Any], str],
        rewards: object,
        initial: object,
        terminal: object,
    ) -> None:
        """Check the numbers of Definition 1 and keep them in canonical outcome form."""
        probabilities, what = named_probabilities
        n_states = successors.shape[0]
        payments = number_array(rewards, "rewards")
        _check_reward_shape(payments, successors.shape)
        mu = number_array(initial, "initial")
        ends = _checked_terminal(terminal, n_states)
        probabilities, payments, mu = _alike([(probabilities, what), (payments, "rewards"), (mu, "initial")])
        check_distributions(probabilities, what)
        _check_initial(mu, ends)
        _check_distinct(successors, probabilities)
        if payments.ndim == successors.ndim:
            payments = np.broadcast_to(payments[..., None], (len(payments), *successors.shape))
        arrays = _canonical(successors, probabilities, payments)
        _check_absorbing(ends, arrays[0], arrays[2])
        names = ("successors", "probabilities", "rewards", "initial", "terminal")
        for field, array in zip(names, (*arrays, mu, ends), strict=True):
            array.setflags(write=False)
            object.__setattr__(self, field, array)

    def _describe(
        self,
        gamma: Number,
        name: str,
        citation: str,
        action_labels: Sequence[Sequence[object]] | None,
        state_labels: Sequence[object] | None,
    ) -> None:
        object.__setattr__(self, "gamma", checked_gamma(gamma))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "citation", citation)
        object.__setattr__(self, "action_labels", checked_labels(action_labels, self.n_actions))
        states = tuple(f"s{s}" for s in range(self.n_states)) if state_labels is None else state_labels
        object.__setattr__(self, "state_labels", distinct_labels(states, self.n_states, "state_labels"))

    @property
    def n_agents(self) -> int:
        """Number of agents n."""
        return int(self.rewards.shape[0])

    @property
    def n_actions(self) -> tuple[int, ...]:
        """Number of actions of each agent (A_1, .., A_n), the same in every state."""
        return tuple(int(count) for count in self.successors.shape[1:-1])

    @property
    def n_states(self) -> int:
        """Number of states, terminal ones included."""
        return int(self.successors.shape[0])

    @property
    def exact(self) -> bool:
        """Whether probabilities and rewards are integers and Fractions (True) or float64 (False)."""
        return bool(self.rewards.dtype == object)

    @property
    def is_common_reward(self) -> bool:
        """Whether all agents receive the same reward for every transition that can happen."""
        return bool(np.all(self.rewards == self.rewards[0]))

    def joint_actions(self) -> Iterator[JointAction]:
        """Yield every joint action as a tuple of indices, the last agent's action running fastest."""
        return product(*(range(count) for count in self.n_actions))

    def transition_matrix(self) -> NDArray[Any]:
        """Return T as a new array [S, A_1, .., A_n, S]."""
        return self._dense(self.probabilities)

    def reward_table(self) -> NDArray[Any]:
        """Return every R_i(s, a, s') as a new array [n, S, A_1, .., A_n, S]; 0 where s' cannot follow."""
        return np.stack([self._dense(own) for own in self.rewards])

    def shared_reward(self) -> NDArray[Any]:
        """Return the one reward of a common-reward game in outcome form [S, A_1, .., A_n, M], read-only.

        Raises:
            InputError: the agents' rewards differ somewhere. They are never averaged.
        """
        differs = np.any(self.rewards != self.rewards[0], axis=0)
        if differs.any():
            index = _first(differs)
            values = ", ".join(format_number(own[index]) for own in self.rewards)
            raise InputError(
                f"{self.name} is not a common-reward game: in state {self.state_labels[index[0]]} joint action "
                f"{self.label(index[1:-1])}, followed by state {self.state_labels[self.successors[index]]}, pays the "
                f"agents {values}. Hand over a game in which all agents receive the same reward."
            )
        table: NDArray[Any] = self.rewards[0]
        return table

    def as_float64(self) -> "StochasticGame":
        """Return the same game with all numbers rounded to float64; itself where they are float64 already."""
        if not self.exact:
            return self
        return StochasticGame.from_outcomes(
            self.successors,
            _rounded(self.probabilities, self.name),
            _rounded(self.rewards, self.name),
            _rounded(self.initial, self.name),
            self.terminal,
            gamma=float(self.gamma),
            name=self.name,
            citation=self.citation,
            action_labels=self.action_labels,
            state_labels=self.state_labels,
        )

    def label(self, a: Sequence[int]) -> str:
        """Return a joint action in words, as in "(north, load)"."""
        names = [labels[action] for labels, action in zip(self.action_labels, a, strict=True)]
        return f"({', '.join(names)})"

    def _dense(self, outcomes: NDArray[Any]) -> NDArray[Any]:
        """Spread values in outcome form over the states that follow; the others get 0."""
        table = np.zeros((*self.successors.shape[:-1], self.n_states), dtype=outcomes.dtype)
        happens = _positive(self.probabilities)
        rows = np.nonzero(happens)[:-1]
        table[(*rows, self.successors[happens])] = outcomes[happens]
        return table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StochasticGame):
            return NotImplemented
        mine, theirs = self._arrays(), other._arrays()
        same_labels = (self.action_labels, self.state_labels) == (other.action_labels, other.state_labels)
        same_numbers = self.exact == other.exact and self.gamma == other.gamma
        return same_labels and same_numbers and all(map(np.array_equal, mine, theirs))

    def __hash__(self) -> int:
        return hash((self.exact, self.gamma, self.action_labels, self.state_labels, self.successors.tobytes()))

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.successors, self.probabilities, self.rewards, self.initial, self.terminal

    def __repr__(self) -> str:
        counts = "x".join(map(str, self.n_actions))
        kind = "exact" if self.exact else "float64"
        return f"<StochasticGame {self.name!r}: {self.n_states} states, {counts} actions, {kind}>"


def one_step(game: NormalFormGame, gamma: Number = 1) -> StochasticGame:
    """Return a normal-form game as the stochastic game that is played once: state "play", then the terminal "end"."""
    successors = np.ones((2, *game.n_actions, 1), dtype=np.int64)
    rewards = np.stack([game.payoffs, 0 * game.payoffs], axis=1)
    return StochasticGame.from_outcomes(
        successors,
        np.ones_like(successors),
        rewards,
        [1, 0],
        [False, True],
        gamma=gamma,
        name=game.name,
        citation=game.citation,
        action_labels=game.action_labels,
        state_labels=["play", "end"],
    )


def repeated(game: NormalFormGame, gamma: Number) -> StochasticGame:
    """Return a normal-form game repeated for ever: one state that is never left (book, chapter 3).

    Expected returns exist for gamma < 1; with gamma = 1 the game can be simulated over a finite horizon.
    """
    successors = np.zeros((1, *game.n_actions, 1), dtype=np.int64)
    return StochasticGame.from_outcomes(
        successors,
        np.ones_like(successors),
        game.payoffs[:, None],
        [1],
        [False],
        gamma=gamma,
        name=f"{game.name}, repeated",
        citation=game.citation,
        action_labels=game.action_labels,
        state_labels=["play"],
    )


def from_staged(game: StagedGame) -> StochasticGame:
    """Return a staged game as a stochastic game: the stages in their order, then the terminal state "end".

    All stages have the same actions, but each may call them differently; the labels are then the default ones.
    """
    end = game.n_stages
    tables = np.stack([*game.transitions, np.full(game.n_actions, end)])
    successors = np.where(tables == TERMINAL, end, tables)[..., None]
    payoffs = [(stage if game.exact else stage.as_float64()).payoffs for stage in game.stages]
    labels = {stage.action_labels for stage in game.stages}
    return StochasticGame.from_outcomes(
        successors,
        np.ones_like(successors),
        np.stack([*payoffs, 0 * payoffs[0]], axis=1),
        [1] + [0] * end,
        [False] * end + [True],
        gamma=game.gamma,
        name=game.name,
        citation=game.citation,
        action_labels=labels.pop() if len(labels) == 1 else None,
        state_labels=[*(f"{s}: {stage.name}" for s, stage in enumerate(game.stages)), "end"],
    )


def check_distributions(table: NDArray[Any], what: str) -> None:
    """Check that the entries along the last axis are probabilities: not negative, and with the sum one.

    Exact numbers must sum to one exactly, floats within 1e-9.

    Args:
        table: array of any shape.
        what: how messages call the table, as in "transitions".

    Raises:
        InputError: the message names the first offending place and the value or the sum found there.
    """
    exact = table.dtype == object
    negative = np.asarray((numerators(table) if exact else table) < 0, dtype=bool)
    if negative.any():
        index = _first(negative)
        raise InputError(
            f"{what}{place(index)} is {format_number(table[index])}: a probability must not be negative; make it 0 or "
            "more and let the row sum to one"
        )
    wrong = np.asarray(~_sum_to_one(table))
    if wrong.any():
        index = _first(wrong)
        found = table[index].sum()
        shown = str(found) if exact else f"{float(found):.12g}"
        allowed = "exactly" if exact else f"within {SUM_TOLERANCE:g}"
        raise InputError(
            f"{what}{place(index)} sums to {shown}: probabilities must sum to one, {allowed}; change the row by "
            f"{1 - found if exact else f'{float(1 - found):.6g}'}"
        )


def _sum_to_one(table: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows along the last axis sum to one; exact rows are compared over their common denominator."""
    if table.dtype != object:
        return np.asarray(np.abs(table.sum(axis=-1) - 1) <= SUM_TOLERANCE)
    parts = denominators(table)
    common = np.asarray(np.lcm.reduce(parts, axis=-1), dtype=object)
    counts = numerators(table) * (common[..., None] // parts)
    return np.asarray(counts.sum(axis=-1) == common, dtype=bool)


def _positive(probabilities: NDArray[Any]) -> NDArray[np.bool_]:
    exact = probabilities.dtype == object
    return np.asarray((numerators(probabilities) if exact else probabilities) > 0, dtype=bool)


def place(index: Sequence[int]) -> str:
    """Write an index as it stands in nested lists, as in "[0][2]"."""
    return "".join(f"[{int(k)}]" for k in index)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    """The index of the first true entry."""
    return tuple(int(k) for k in np.unravel_index(int(wrong.argmax()), wrong.shape))


def _checked_successors(successors: object) -> NDArray[np.int64]:
    try:
        array = np.array(successors)
    except ValueError as error:
        raise InputError("successors are ragged: they need the shape [S, A_1, .., A_n, M]") from error
    if array.dtype.kind not in "iu" or array.ndim < 3 or array.size == 0:
        raise InputError(
            f"successors of shape {array.shape} and dtype {array.dtype} do not fit: integers of shape "
            "[S, A_1, .., A_n, M] are needed, for at least one agent and one outcome"
        )
    array = array.astype(np.int64)
    wrong = (array < 0) | (array >= len(array))
    if wrong.any():
        index = _first(wrong)
        raise InputError(
            f"successors{place(index)} is {array[index]}: states are numbered 0 to {len(array) - 1}, one for each "
            "entry of the first axis"
        )
    return array


def _check_reward_shape(rewards: NDArray[Any], outcome_shape: tuple[int, ...]) -> None:
    n = len(outcome_shape) - 2
    wanted = (n, *outcome_shape)
    if rewards.shape not in (wanted, wanted[:-1]):
        raise InputError(
            f"rewards of shape {rewards.shape} do not fit: for {n} agents they need the shape {wanted}, or "
            f"{wanted[:-1]} where they do not depend on the next state"
        )


def _checked_terminal(terminal: object, n_states: int) -> NDArray[np.bool_]:
    try:
        array = np.array(terminal)
    except ValueError as error:
        raise InputError(f"terminal is ragged: it needs one truth value for each of the {n_states} states") from error
    if array.dtype != np.bool_ or array.shape != (n_states,):
        raise InputError(
            f"terminal of shape {array.shape} and dtype {array.dtype} does not fit: one truth value (True or False) is "
            f"needed for each of the {n_states} states"
        )
    return array


def _alike(named: list[tuple[NDArray[Any], str]]) -> tuple[NDArray[Any], ...]:
    """Return the arrays, all exact or all float64: integers may join floats, Fractions may not."""
    floats = [what for array, what in named if array.dtype != object]
    if not floats:
        return tuple(array for array, _ in named)
    return tuple(joining_floats(array, what, floats[0]) for array, what in named)


def joining_floats(array: NDArray[Any], what: str, floats: str) -> NDArray[Any]:
    """Return numbers that stand beside floats as float64: integers lose nothing, and Fractions are refused.

    Args:
        array: exact numbers or float64.
        what: how messages call the array.
        floats: how messages call the floats beside it.

    Raises:
        InputError: the array holds a Fraction, or an integer beyond what float64 holds.
    """
    if array.dtype != object:
        return array
    wrong = np.fromiter((not _is_float64_integer(value) for value in array.flat), dtype=bool, count=array.size)
    if wrong.any():
        index = _first(wrong.reshape(array.shape))
        raise InputError(
            f"{what}{place(index)} is {array[index]} while {floats} hold floats: make all numbers of a game int or "
            "Fraction, or all of them floats"
        )
    return array.astype(np.float64)


def _is_float64_integer(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= 2**53


def _check_initial(initial: NDArray[Any], terminal: NDArray[np.bool_]) -> None:
    if initial.shape != terminal.shape:
        raise InputError(
            f"initial of shape {initial.shape} does not fit: it needs one probability for each of the {len(terminal)} "
            "states"
        )
    check_distributions(initial, "initial")
    wrong = np.asarray(terminal & (initial != 0), dtype=bool)
    if wrong.any():
        s = _first(wrong)[0]
        raise InputError(
            f"initial[{s}] is {format_number(initial[s])}, but state {s} is terminal: an episode must not begin in a "
            "terminal state; make the entry 0"
        )


def _check_distinct(successors: NDArray[np.int64], probabilities: NDArray[Any]) -> None:
    """No state may occur twice among the possible outcomes of a row: R is a function of s, a and s'."""
    n_states, width = successors.shape[0], successors.shape[-1]
    impossible = n_states + np.arange(width)
    named = np.sort(np.where(_positive(probabilities), successors, impossible), axis=-1)
    repeats = named[..., 1:] == named[..., :-1]
    if repeats.any():
        index = _first(repeats)
        raise InputError(
            f"successors{place(index[:-1])} names state {named[index]} twice: merge the two outcomes into one, with "
            "the sum of their probabilities"
        )


def _canonical(
    successors: NDArray[np.int64], probabilities: NDArray[Any], rewards: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Put outcomes in ascending order of the successor, as many as the fullest row has, the last one repeated.

    A sampler whose rounded cumulative probabilities end below one then still falls on a possible outcome.
    """
    happens = _positive(probabilities)
    order = np.argsort(np.where(happens, successors, successors.shape[0]), axis=-1, kind="stable")
    counts = happens.sum(-1, keepdims=True)
    column = np.arange(int(counts.max()))
    order = np.take_along_axis(order, np.minimum(column, counts - 1), -1)
    chances = np.where(column < counts, np.take_along_axis(probabilities, order, -1), 0)
    return (
        np.take_along_axis(successors, order, -1),
        chances,
        np.take_along_axis(rewards, order[None], -1),
    )


def _check_absorbing(terminal: NDArray[np.bool_], successors: NDArray[np.int64], rewards: NDArray[Any]) -> None:
    own = np.arange(len(terminal)).reshape(-1, *[1] * (successors.ndim - 1))
    leaves = terminal.reshape(own.shape) & (successors != own)
    if leaves.any():
        index = _first(leaves)
        raise InputError(
            f"terminal state {index[0]} is left: joint action {index[1:-1]} leads to state {successors[index]}; a "
            "terminal state must be followed by itself with probability 1"
        )
    pays = terminal.reshape(own.shape) & np.asarray(rewards != 0, dtype=bool)
    if pays.any():
        i, s, *a, _ = _first(pays)
        paid = format_number(rewards[_first(pays)])
        raise InputError(
            f"terminal state {s} pays agent {i} the reward {paid} for joint action {tuple(a)}: pay it on the way into "
            "the state, and 0 inside"
        )


def distinct_labels(labels: object, count: int, what: str) -> tuple[str, ...]:
    """Return labels as a tuple; InputError unless they are a list of distinct, non-empty strings, count of them."""
    if not isinstance(labels, list | tuple) or len(labels) != count:
        raise InputError(f"{what} needs a list with one label for each of {count}")
    seen: set[str] = set()
    for k, label in enumerate(labels):
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"{what}[{k}] is {label!r}: a label is a non-empty string")
        if label in seen:
            raise InputError(f"{what}[{k}] repeats the label {label!r}: labels must differ")
        seen.add(label)
    return tuple(labels)


def _rounded(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise InputError(f"{name} has a reward too large for float64: divide all rewards by a power of two") from error
