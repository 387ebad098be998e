"""Normal-form games: one simultaneous choice of all agents, payoffs exact where they were given exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isfinite
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError

Number: TypeAlias = int | Fraction | float
JointAction: TypeAlias = tuple[int, ...]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class NormalFormGame:
    """A finite game in normal form for n agents (book, Definition 2 of its chapter 3).

    Agents and actions are counted from zero in the code. Two games are equal when their payoffs are equal number by
    number, both exact or both float64, and their action labels agree; name and citation describe, they do not identify.

    Attributes:
        payoffs: read-only array of shape [n, A_1, .., A_n]; entry [i, a_1, .., a_n] is agent i's reward. Its
            dtype is object, holding int and Fraction, where the game is exact, else float64.
        name: what the field calls the game.
        citation: where the numbers come from.
        action_labels: one tuple of labels per agent; A, B, C, .. where none were given.
    """

    payoffs: NDArray[Any]
    name: str
    citation: str
    action_labels: tuple[tuple[str, ...], ...]

    def __init__(
        self,
        payoffs: object,
        *,
        name: str = "game",
        citation: str = "",
        action_labels: Sequence[Sequence[object]] | None = None,
    ) -> None:
        """Validate and freeze a game.

        Args:
            payoffs: nested lists or an array of shape [n, A_1, .., A_n]. Python or numpy integers and Fractions stay
                exact; floats, alone or mixed with integers, become float64.
            name: what the field calls the game.
            citation: where the numbers come from.
            action_labels: one sequence of distinct, non-empty labels per agent.

        Raises:
            InputError: wrong shape, ragged or empty lists, an entry that is no finite number, floats mixed with
                Fractions, or labels that do not fit.
        """
        array = number_array(payoffs, "payoffs")
        _check_shape(array)
        array.setflags(write=False)
        object.__setattr__(self, "payoffs", array)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "citation", citation)
        object.__setattr__(self, "action_labels", checked_labels(action_labels, array.shape[1:]))

    @classmethod
    def common_reward(
        cls,
        table: object,
        *,
        name: str = "game",
        citation: str = "",
        action_labels: Sequence[Sequence[object]] | None = None,
    ) -> "NormalFormGame":
        """Build the game in which every agent receives the entry of one table of shape [A_1, .., A_n]."""
        reward = number_array(table, "table")
        payoffs = np.stack([reward] * reward.ndim)
        return cls(payoffs, name=name, citation=citation, action_labels=action_labels)

    @classmethod
    def zero_sum(
        cls,
        table: object,
        *,
        name: str = "game",
        citation: str = "",
        action_labels: Sequence[Sequence[object]] | None = None,
    ) -> "NormalFormGame":
        """Build the two-agent game in which agent 1 receives the table's entry [A_1, A_2] and agent 2 its negative."""
        reward = number_array(table, "table")
        if reward.ndim != 2:
            raise InputError(
                f"a zero-sum game has two agents, so its table needs 2 axes [A_1, A_2]; this one has {reward.ndim}"
            )
        return cls(np.stack([reward, 0 - reward]), name=name, citation=citation, action_labels=action_labels)

    @property
    def n_agents(self) -> int:
        """Number of agents n."""
        return int(self.payoffs.shape[0])

    @property
    def n_actions(self) -> tuple[int, ...]:
        """Number of actions of each agent (A_1, .., A_n)."""
        return tuple(int(count) for count in self.payoffs.shape[1:])

    @property
    def exact(self) -> bool:
        """Whether the payoffs are integers and Fractions (True) or float64 (False)."""
        return bool(self.payoffs.dtype == object)

    @property
    def is_common_reward(self) -> bool:
        """Whether all agents receive the same reward for every joint action."""
        return bool(np.all(self.payoffs == self.payoffs[0]))

    @property
    def is_zero_sum(self) -> bool:
        """Whether the agents' rewards sum to zero for every joint action; decided in rationals, floats included."""
        return all(sum(Fraction(reward) for reward in self.rewards(a)) == 0 for a in self.joint_actions())

    @property
    def is_no_conflict(self) -> bool:
        """Whether all agents have the same set of most preferred joint actions.

        The definition speaks of joint policies (Christianos, Papoudakis and Albrecht 2023, arXiv 2209.14344). In a
        normal-form game a policy is best for an agent exactly when it plays that agent's best joint actions alone, so
        comparing the sets of joint actions decides it.
        """
        best = [set(np.flatnonzero(payoff == payoff.max())) for payoff in self.payoffs.reshape(self.n_agents, -1)]
        return all(actions == best[0] for actions in best)

    def joint_actions(self) -> Iterator[JointAction]:
        """Yield every joint action as a tuple of indices, the last agent's action running fastest."""
        return product(*(range(count) for count in self.n_actions))

    def payoff(self, i: int, a: Sequence[int]) -> Number:
        """Return agent i's reward for the joint action a; InputError where either is out of range."""
        if not 0 <= i < self.n_agents:
            raise InputError(f"there is no agent {i}: agents are numbered 0 to {self.n_agents - 1}")
        if len(a) != self.n_agents:
            raise InputError(f"joint action {tuple(a)} names {len(a)} actions for {self.n_agents} agents")
        for j, (action, count) in enumerate(zip(a, self.n_actions, strict=True)):
            if not 0 <= action < count:
                raise InputError(f"agent {j} has no action {action}: its actions are numbered 0 to {count - 1}")
        return _as_python(self.payoffs[(i, *a)])

    def rewards(self, a: JointAction) -> NDArray[Any]:
        """Return every agent's reward for the joint action a, shape [n]."""
        index: tuple[Any, ...] = (slice(None), *a)
        column: NDArray[Any] = self.payoffs[index]
        return column

    def shared_reward(self) -> NDArray[Any]:
        """Return the one reward table R of shape [A_1, .., A_n] of a common-reward game, read-only.

        Raises:
            InputError: the agents' rewards differ somewhere. They are never averaged.
        """
        differs = np.any(self.payoffs != self.payoffs[0], axis=0)
        if differs.any():
            a = tuple(int(action) for action in np.argwhere(differs)[0])
            rewards = ", ".join(format_number(value) for value in self.rewards(a))
            raise InputError(
                f"{self.name} is not a common-reward game: joint action {self.label(a)} pays the agents {rewards}. "
                "Hand over a game in which all agents receive the same reward."
            )
        table: NDArray[Any] = self.payoffs[0]
        return table

    def as_float64(self) -> "NormalFormGame":
        """Return the same game with payoffs rounded to float64; itself where it is float64 already."""
        if not self.exact:
            return self
        try:
            payoffs = self.payoffs.astype(np.float64)
        except OverflowError as error:
            raise InputError(
                f"{self.name} has a payoff too large for float64: divide all payoffs by a power of two"
            ) from error
        return NormalFormGame(payoffs, name=self.name, citation=self.citation, action_labels=self.action_labels)

    def label(self, a: Sequence[int]) -> str:
        """Return a joint action in words, as in "(A, C)"."""
        names = [labels[action] for labels, action in zip(self.action_labels, a, strict=True)]
        return f"({', '.join(names)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NormalFormGame):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self.exact, self.payoffs.shape, tuple(self.payoffs.ravel().tolist()), self.action_labels

    def __repr__(self) -> str:
        counts = "x".join(map(str, self.n_actions))
        return f"<NormalFormGame {self.name!r}: {counts} actions, {'exact' if self.exact else 'float64'}>"

    def __str__(self) -> str:
        """Return a table: agent 1 in rows, agent 2 in columns, a block for each joint action of the rest."""
        if self.n_agents == 1:
            return _table(self._cells(()), ("",), self.action_labels[0])
        blocks = []
        for others in product(*(range(count) for count in self.n_actions[2:])):
            body = _table(self._cells(others), self.action_labels[0], self.action_labels[1])
            played = [f"agent {j + 3} plays {self.action_labels[j + 2][a]}" for j, a in enumerate(others)]
            blocks.append("\n".join([*([", ".join(played) + ":"] if played else []), body]))
        return "\n\n".join(blocks)

    def _cells(self, others: JointAction) -> list[list[str]]:
        if self.n_agents == 1:
            return [[self._cell((a,)) for a in range(self.n_actions[0])]]
        rows, columns = self.n_actions[:2]
        return [[self._cell((row, column, *others)) for column in range(columns)] for row in range(rows)]

    def _cell(self, a: JointAction) -> str:
        values = [format_number(value) for value in self.rewards(a)]
        return values[0] if self.is_common_reward else ", ".join(values)


def number_array(values: object, what: str) -> NDArray[Any]:
    """Turn nested lists or an array into a new array of exact numbers (dtype object) or of float64.

    Args:
        values: numbers nested to any depth of at least one.
        what: how messages call the values, as in "payoffs".

    Raises:
        InputError: ragged or empty lists, an entry that is no finite number, floats mixed with Fractions.
    """
    if isinstance(values, np.ndarray):
        if _is_sound(values):
            return _copied(values)
        values = values.tolist()
    shape = _first_shape(values, what)
    leaves = [_checked_number(leaf, place) for leaf, place in _walk(values, shape, what)]
    array = np.empty(len(leaves), dtype=object)
    array[:] = leaves
    if any(isinstance(leaf, float) for leaf in leaves):
        return _to_float64(array, shape, what)
    return array.reshape(shape)


def numerators(exact: NDArray[Any]) -> NDArray[Any]:
    """Return the numerators of an array of int and Fraction: signs and sums are found faster in whole numbers."""
    whole: NDArray[Any] = np.asarray(np.frompyfunc(attrgetter("numerator"), 1, 1)(exact), dtype=object)
    return whole


def denominators(exact: NDArray[Any]) -> NDArray[Any]:
    """Return the denominators of an array of int and Fraction."""
    whole: NDArray[Any] = np.asarray(np.frompyfunc(attrgetter("denominator"), 1, 1)(exact), dtype=object)
    return whole


def format_number(value: object) -> str:
    """Write a number as a person would: integers and fractions exactly, floats with up to six digits."""
    if isinstance(value, int | Fraction):
        return str(value)
    return f"{value:.6g}"


def default_labels(count: int) -> tuple[str, ...]:
    """Return A, B, C, .. for up to 26 actions, else a1, a2, .."""
    return tuple(ALPHABET[:count]) if count <= len(ALPHABET) else tuple(f"a{k + 1}" for k in range(count))


def _is_sound(array: NDArray[Any]) -> bool:
    """Tell whether an array holds integers or finite floats alone; where not, a walk through it finds the fault."""
    if array.ndim == 0 or array.size == 0:
        return False
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all())
    return array.dtype.kind in "iu" or (array.dtype == object and set(map(type, array.flat)) <= {int, Fraction})


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    """Return a sound array's numbers in a new array of float64 or of exact numbers, whole Fractions as integers."""
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "iu" or Fraction not in set(map(type, array.flat)):
        return array.astype(object)
    copy = array.copy()
    whole = np.asarray(denominators(array) == 1, dtype=bool)
    copy[whole] = numerators(array[whole])
    return copy


def _first_shape(values: object, what: str) -> tuple[int, ...]:
    """Read the shape off the first element of each level; _walk then holds every other element to it."""
    shape: list[int] = []
    while isinstance(values, list | tuple | np.ndarray):
        if len(values) == 0:
            place = what + "[0]" * len(shape)
            raise InputError(f"{place} is empty: every agent needs at least one action, and a game at least one agent")
        shape.append(len(values))
        values = values[0]
    if not shape:
        raise InputError(f"{what} must be nested lists or an array of numbers, not {type(values).__name__}")
    return tuple(shape)


def _walk(values: object, shape: tuple[int, ...], place: str) -> Iterator[tuple[object, str]]:
    """Yield every leaf with its place, or raise where the nesting departs from the shape."""
    nested = isinstance(values, list | tuple | np.ndarray)
    if not shape and not nested:
        yield values, place
        return
    if not nested:
        raise InputError(f"ragged lists: {place} is {values!r} where a list of {shape[0]} entries is needed")
    assert isinstance(values, list | tuple | np.ndarray)
    if not shape:
        raise InputError(f"ragged lists: {place} is a list where a single number is needed")
    if len(values) != shape[0]:
        raise InputError(f"ragged lists: {place} has {len(values)} entries where the first of its kind has {shape[0]}")
    for k, value in enumerate(values):
        yield from _walk(value, shape[1:], f"{place}[{k}]")


def _checked_number(value: object, place: str) -> Number:
    if isinstance(value, bool | np.bool_):
        raise InputError(f"{place} is the truth value {value}: write 1 or 0 if a number is meant")
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else value
    if isinstance(value, float | np.floating):
        if not isfinite(value):
            raise InputError(f"{place} is {float(value)}: a finite number is needed")
        return float(value)
    raise InputError(f"{place} is {value!r} of type {type(value).__name__}: a number is int, Fraction or float")


def _to_float64(leaves: NDArray[Any], shape: tuple[int, ...], what: str) -> NDArray[Any]:
    for index, leaf in zip(np.ndindex(shape), leaves, strict=True):
        place = what + "".join(f"[{k}]" for k in index)
        if isinstance(leaf, Fraction):
            raise InputError(f"{place} is the Fraction {leaf} among floats: make all entries Fractions, or all floats")
        if isinstance(leaf, int) and not _fits_float64(leaf):
            raise InputError(
                f"{place} is the integer {leaf}, which float64 cannot hold: make all entries int or Fraction"
            )
    return leaves.astype(np.float64).reshape(shape)


def _fits_float64(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _check_shape(payoffs: NDArray[Any]) -> None:
    n = payoffs.shape[0]
    if payoffs.ndim != n + 1:
        wanted = ", ".join(f"A_{i + 1}" for i in range(n))
        raise InputError(
            f"payoffs of shape {payoffs.shape} do not fit: the first axis counts the agents, so {n} agents need "
            f"{n + 1} axes [{n}, {wanted}]. A single table shared by all agents goes to NormalFormGame.common_reward."
        )


def checked_labels(
    labels: Sequence[Sequence[object]] | None, n_actions: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    """Return one tuple of action labels per agent, the default ones for None; InputError where they do not fit."""
    if labels is None:
        return tuple(default_labels(count) for count in n_actions)
    if isinstance(labels, str) or len(labels) != len(n_actions):
        raise InputError(
            f"action_labels needs one list of labels for each of the {len(n_actions)} agents, not {labels!r}"
        )
    for i, (own, count) in enumerate(zip(labels, n_actions, strict=True)):
        _check_own_labels(own, count, f"action_labels[{i}]")
    return tuple(tuple(str(label) for label in own) for own in labels)


def _check_own_labels(own: Sequence[object], count: int, place: str) -> None:
    if isinstance(own, str) or not isinstance(own, list | tuple):
        raise InputError(f"{place} is {own!r}: give a list with one label per action")
    if len(own) != count:
        raise InputError(f"{place} has {len(own)} labels for {count} actions")
    for k, label in enumerate(own):
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"{place}[{k}] is {label!r}: a label is a non-empty string")
        if label in own[:k]:
            raise InputError(f"{place}[{k}] repeats the label {label!r}: labels of one agent must differ")


def _as_python(value: Any) -> Number:
    return value if isinstance(value, int | Fraction) else float(value)


def _table(cells: list[list[str]], rows: Sequence[str], columns: Sequence[str]) -> str:
    lines = [["", *columns], *([label, *cell] for label, cell in zip(rows, cells, strict=True))]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns) + 1)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
