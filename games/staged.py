"""Staged games: a few normal-form games played one after the other, the joint action choosing which comes next."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame, Number

TERMINAL = -1


@dataclass(frozen=True, eq=False, init=False, repr=False)
class StagedGame:
    """A sequential game of finitely many stages: each stage is a normal-form game, and every episode ends.

    An episode starts in stage 0. A joint action pays the stage's rewards and leads to the next stage that the stage's
    transition table names, or ends the episode. As a stochastic game (book, chapter 3) the states are the stages, and
    transitions are deterministic.

    Attributes:
        stages: S normal-form games with the same agents and the same number of actions per agent.
        transitions: S read-only integer arrays of shape [A_1, .., A_n]: the next stage, or TERMINAL (-1).
        gamma: the discount that the game is used with, in [0, 1].
        name: what the field calls the game.
        citation: where the numbers come from.
    """

    stages: tuple[NormalFormGame, ...]
    transitions: tuple[NDArray[np.int64], ...]
    gamma: Number
    name: str
    citation: str

    def __init__(
        self,
        stages: Sequence[NormalFormGame],
        transitions: Sequence[object],
        *,
        gamma: Number = 1,
        name: str = "staged game",
        citation: str = "",
    ) -> None:
        """Validate and freeze a game.

        Raises:
            InputError: no stages, stages of different shapes, a transition table of the wrong shape or with an entry
                that is no stage, a stage that cannot be reached, a cycle, or a gamma outside [0, 1].
        """
        _check_stages(stages, transitions)
        tables = tuple(_checked_transitions(table, s, stages) for s, table in enumerate(transitions))
        _check_reachable(tables)
        object.__setattr__(self, "stages", tuple(stages))
        object.__setattr__(self, "transitions", tables)
        object.__setattr__(self, "gamma", checked_gamma(gamma))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "citation", citation)
        if not self._order:
            raise InputError("the transitions run in a circle, so that an episode need not end: remove the way back")

    @property
    def n_agents(self) -> int:
        """Number of agents n."""
        return self.stages[0].n_agents

    @property
    def n_actions(self) -> tuple[int, ...]:
        """Number of actions of each agent (A_1, .., A_n), the same in every stage."""
        return self.stages[0].n_actions

    @property
    def n_stages(self) -> int:
        """Number of stages S."""
        return len(self.stages)

    @property
    def exact(self) -> bool:
        """Whether the payoffs of all stages are integers and Fractions."""
        return all(stage.exact for stage in self.stages)

    @property
    def is_common_reward(self) -> bool:
        """Whether all agents receive the same reward in every stage."""
        return all(stage.is_common_reward for stage in self.stages)

    @cached_property
    def horizon(self) -> int:
        """The length of the longest episode, in steps."""
        length = {TERMINAL: 0}
        for s in reversed(self._order):
            length[s] = 1 + max(length[int(successor)] for successor in np.unique(self.transitions[s]))
        return length[0]

    def optimal_action_values(self, gamma: Number | None = None) -> tuple[NDArray[Any], ...]:
        """Return the optimal joint action values of every stage, by backward induction.

        Q*_s(a) = R_s(a) + gamma max_a' Q*_s'(a') with s' the stage after a, and R_s(a) alone where the episode ends.

        Args:
            gamma: the discount in [0, 1]; the game's own where it is left out.

        Returns:
            One array of shape [A_1, .., A_n] per stage, in exact numbers where the payoffs and gamma are exact.

        Raises:
            InputError: a stage's rewards differ between the agents, or gamma lies outside [0, 1].
        """
        discount = self.gamma if gamma is None else checked_gamma(gamma)
        exact = self.exact and not isinstance(discount, float)
        rewards = [(stage if exact else stage.as_float64()).shared_reward() for stage in self.stages]
        discount = discount if exact else float(discount)
        value: dict[int, Any] = {TERMINAL: 0}
        action_values: dict[int, NDArray[Any]] = {}
        for s in reversed(self._order):
            continuation = np.empty(self.n_actions, dtype=rewards[s].dtype)
            for a in np.ndindex(self.n_actions):
                continuation[a] = value[int(self.transitions[s][a])]
            action_values[s] = rewards[s] + discount * continuation
            value[s] = action_values[s].max()
        return tuple(action_values[s] for s in range(self.n_stages))

    def optimal_values(self, gamma: Number | None = None) -> tuple[Number, ...]:
        """Return the optimal value of every stage; arguments and errors as for optimal_action_values."""
        best = [table.max() for table in self.optimal_action_values(gamma)]
        return tuple(value if isinstance(value, int | Fraction) else float(value) for value in best)

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """The stages, each before its successors; empty where there is a circle."""
        waiting = {s: set(np.unique(table).tolist()) - {TERMINAL} for s, table in enumerate(self.transitions)}
        order: list[int] = []
        while waiting:
            ready = [s for s, successors in waiting.items() if successors <= set(order)]
            if not ready:
                return ()
            order.extend(ready)
            waiting = {s: successors for s, successors in waiting.items() if s not in ready}
        return tuple(reversed(order))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StagedGame):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self.stages, tuple(tuple(table.ravel().tolist()) for table in self.transitions), self.gamma

    def __repr__(self) -> str:
        counts = "x".join(map(str, self.n_actions))
        return f"<StagedGame {self.name!r}: {self.n_stages} stages of {counts} actions>"

    def __str__(self) -> str:
        """Return every stage's table with the stages that follow it."""
        blocks = []
        for s, (stage, table) in enumerate(zip(self.stages, self.transitions, strict=True)):
            following = [_following(int(successor), stage, table) for successor in np.unique(table)]
            blocks.append("\n".join([f"stage {s}: {stage.name}", str(stage), *following]))
        return "\n\n".join(blocks)


def as_staged(game: NormalFormGame, *, gamma: Number = 1) -> StagedGame:
    """Return a normal-form game as the staged game that ends after its one stage."""
    ends = np.full(game.n_actions, TERMINAL)
    return StagedGame([game], [ends], gamma=gamma, name=game.name, citation=game.citation)


def checked_gamma(gamma: object) -> Number:
    """Return a discount in [0, 1] unchanged; InputError for anything else."""
    if isinstance(gamma, bool) or not isinstance(gamma, int | Fraction | float) or not 0 <= gamma <= 1:
        raise InputError(f"gamma is {gamma!r}: a discount is an int, Fraction or float between 0 and 1")
    return gamma


def _following(successor: int, stage: NormalFormGame, table: NDArray[np.int64]) -> str:
    after = "ends" if successor == TERMINAL else f"leads to stage {successor}"
    if np.all(table == successor):
        return f"every joint action {after}"
    actions = [stage.label(tuple(a)) for a in np.argwhere(table == successor).tolist()]
    return f"{', '.join(actions)}: {after}"


def _check_stages(stages: Sequence[NormalFormGame], transitions: Sequence[object]) -> None:
    if not stages:
        raise InputError("a staged game needs at least one stage")
    if len(transitions) != len(stages):
        raise InputError(f"{len(stages)} stages need {len(stages)} transition tables, not {len(transitions)}")
    for s, stage in enumerate(stages):
        if stage.n_actions != stages[0].n_actions:
            raise InputError(
                f"stage {s} has action counts {stage.n_actions} and stage 0 has {stages[0].n_actions}: all stages need "
                "the same agents and action counts"
            )


def _checked_transitions(table: object, s: int, stages: Sequence[NormalFormGame]) -> NDArray[np.int64]:
    n_actions = stages[0].n_actions
    try:
        array = np.array(table)
    except ValueError as error:
        raise InputError(f"transitions[{s}] is ragged: it needs shape {n_actions}") from error
    if array.dtype.kind not in "iu" or array.shape != n_actions:
        raise InputError(
            f"transitions[{s}] of shape {array.shape} and dtype {array.dtype}: integers of shape {n_actions} are needed"
        )
    array = array.astype(np.int64)
    wrong = np.argwhere((array < TERMINAL) | (array >= len(stages)))
    if len(wrong):
        place = tuple(int(k) for k in wrong[0])
        raise InputError(
            f"transitions[{s}] names stage {array[place]} after joint action {place}: stages are numbered "
            f"0 to {len(stages) - 1}, and {TERMINAL} ends the episode"
        )
    array.setflags(write=False)
    return array


def _check_reachable(tables: Sequence[NDArray[np.int64]]) -> None:
    reached, frontier = {0}, [0]
    while frontier:
        successors = set(np.unique(tables[frontier.pop()]).tolist()) - {TERMINAL} - reached
        reached |= successors
        frontier.extend(successors)
    for s in range(len(tables)):
        if s not in reached:
            raise InputError(f"stage {s} cannot be reached from stage 0: remove it, or let a transition lead to it")
