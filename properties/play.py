"""Playing a game for the judge: K copies of a batched game, or a PettingZoo ParallelEnv, from a seed and choices.

An episode is described by a seed and by choices, which are numbers: a choice c means the legal action number c, counted
round and round. So every episode is a case that can be written down, shortened, and played again.
"""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._pytree import tree_flatten_with_path, tree_map

from marlspec.properties.cases import Case
from marlspec.properties.trial import TargetError, errors_of_target

Array = NDArray[Any]
Record: TypeAlias = dict[str, Array]

ATTRIBUTES = ("n_agents", "n_actions", "observation_size", "state_size", "common_reward")
METHODS = ("reset", "step", "observe", "centralized", "available")


def is_batched(game: Any) -> bool:
    """Whether a game is a BatchedGame; False for a ParallelEnv.

    Raises:
        TargetError: it is neither.
    """
    if all(hasattr(game, name) for name in (*ATTRIBUTES, *METHODS)):
        return True
    if all(hasattr(game, name) for name in ("possible_agents", "reset", "step", "action_space", "observation_space")):
        if hasattr(game, "agent_iter"):
            raise TargetError(
                "the factory returned an AEC environment, in which agents act in turn: return a ParallelEnv, as from "
                "parallel_env() or pettingzoo.utils.aec_to_parallel"
            )
        return False
    missing = [name for name in (*ATTRIBUTES, *METHODS) if not hasattr(game, name)]
    raise TargetError(
        f"the factory returned a {type(game).__name__}, which is no PettingZoo ParallelEnv, and no BatchedGame as it "
        f"lacks {', '.join(missing)}"
    )


# --- random numbers ---------------------------------------------------------------------------------------------------


class Stream:
    """Random states of Python, numpy and torch that belong to one run, while other runs have their own."""

    def __init__(self, seed: int) -> None:
        outer = random_states()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits devices, which takes a millisecond
        self.states = random_states()
        set_random_states(outer)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the global generators go on from this stream's states."""
        outer = random_states()
        set_random_states(self.states)
        try:
            yield
        finally:
            self.states = random_states()
            set_random_states(outer)

    def copy(self) -> "Stream":
        """Return a stream that goes on from the same states."""
        return copy.copy(self)

    def same(self, other: "Stream") -> bool:
        """Whether two streams stand at the same states."""
        mine, theirs = self.states, other.states
        return bool(
            mine[0] == theirs[0]
            and all(np.array_equal(x, y) for x, y in zip(mine[1], theirs[1], strict=True))
            and torch.equal(mine[2], theirs[2])
        )


def random_states() -> tuple[Any, Any, torch.Tensor]:
    """Return the states of the global generators of Python, numpy and torch."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_states(states: tuple[Any, Any, torch.Tensor]) -> None:
    """Set the global generators of Python, numpy and torch."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


# --- batched games ----------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """What a batched game is told and what it answers, with the shapes checked that every claim relies on."""

    game: Any
    latest: Any = None  # state, as reset() or step() returned it
    given: tuple[Any, ...] = ()  # rewards, terminated and truncated of the latest step, as the game returned them

    def reset(self, copies: int) -> Any:
        """Return the state of fresh copies."""
        with errors_of_target(f"as reset({copies})"):
            self.latest = self.game.reset(copies)
        return self.latest

    def restart(self, state: Any, finished: torch.Tensor) -> Any:
        """Return the state in which the finished copies [K] are fresh."""
        with torch.no_grad(), errors_of_target("as restart(state, finished)"):
            return self.game.restart(state, finished)

    def legal(self, state: Any, copies: int) -> Array:
        """Return available(state) [K, n, A].

        Raises:
            TargetError: it is no array of truth values of that shape.
        """
        shape = (copies, self.game.n_agents, self.game.n_actions)
        return self._flags("available", shape, self._asked("available", state))

    def actions(self, state: Any, choices: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return the chosen legal actions [K, n]; action 0 where none is legal."""
        legal = self.legal(state, len(choices))
        counts = legal.sum(axis=-1)
        wanted = np.array(choices) % np.maximum(counts, 1)
        order = np.argsort(~legal, axis=-1, kind="stable")  # legal actions first, in ascending order
        chosen = np.take_along_axis(order, wanted[..., None], axis=-1)[..., 0]
        return torch.from_numpy(np.where(counts > 0, chosen, 0))

    def step(self, state: Any, actions: torch.Tensor) -> tuple[Any, Record]:
        """Play one joint action in each copy; returns the next state, and rewards, terminated and truncated.

        Raises:
            TargetError: the game raised, or rewards or flags have a wrong shape or kind.
        """
        device = getattr(self.game, "device", "cpu")
        with torch.no_grad(), errors_of_target("as step(state, actions)"):
            answer = self.game.step(state, actions.to(device))
        if not isinstance(answer, tuple) or len(answer) != 4:
            raise TargetError("step() must return (state, rewards, terminated, truncated)")
        following, *given = answer
        self.latest, self.given = following, tuple(given)
        return following, self.record(self.given, len(actions))

    def record(self, given: tuple[Any, ...], copies: int) -> Record:
        """Return copies of rewards, terminated and truncated as a step returned them, by name.

        Raises:
            TargetError: they have a wrong shape or kind.
        """
        rewards, terminated, truncated = given
        shape = (copies, self.game.n_agents)
        values = _numbers(rewards)
        if values.shape != shape or values.dtype.kind != "f":
            raise TargetError(f"rewards have shape {list(values.shape)} and type {values.dtype}; return floats {shape}")
        flags = {"terminated": terminated, "truncated": truncated}
        return {"rewards": values} | {
            name: self._flags(name, shape[:1], _numbers(flag)) for name, flag in flags.items()
        }

    def views(self, state: Any) -> Record:
        """Return what agents and a centralised learner are shown of a state."""
        return {name: self._asked(name, state) for name in ("observe", "centralized", "available")}

    def _asked(self, name: str, state: Any) -> Array:
        with torch.no_grad(), errors_of_target(f"as {name}(state)"):
            return _numbers(getattr(self.game, name)(state))

    def _flags(self, name: str, shape: tuple[int, ...], values: Array) -> Array:
        if values.shape != shape or values.dtype != np.bool_:
            raise TargetError(
                f"{name} has shape {list(values.shape)} and type {values.dtype}; return truth values of shape "
                f"{list(shape)}"
            )
        return values


def _numbers(values: Any) -> Array:
    if not isinstance(values, (torch.Tensor, np.ndarray)):
        raise TargetError(f"a game's answers are tensors, not {type(values).__name__}")
    return values.detach().cpu().numpy().copy() if isinstance(values, torch.Tensor) else values.copy()


def kept(state: Any) -> Any:
    """Return a copy of a state."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else copy.deepcopy(leaf), state)


def state_record(state: Any) -> Record:
    """Return the leaves of a state as arrays, by name."""
    leaves, _ = tree_flatten_with_path(state)
    return {"state" + "".join(map(str, path)): _leaf(leaf)
            for path, leaf in leaves}  # fmt: skip


def _leaf(leaf: Any) -> Array:
    return leaf.detach().cpu().numpy().copy() if isinstance(leaf, torch.Tensor) else np.array(leaf)


def batched_run(batch: Batch, case: Case) -> Iterator[Record]:
    """Play choices [T][K][n]: yields what is seen of the first state, then after each step what came and is seen."""
    state = batch.reset(case["copies"])
    yield batch.views(state)
    for row in case["choices"]:
        state, record = batch.step(state, batch.actions(state, row))
        yield {**record, **batch.views(state)}


# --- ParallelEnv ------------------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """What a ParallelEnv said in one step.

    Attributes:
        before, after: env.agents before and after it.
        observations, rewards, terminations, truncations: copies of its answers; nothing but observations after reset().
        infos: its infos.
        state: a copy of env.state(), where the environment declares a state_space.
        given: observations, masks and state themselves, by name.
    """

    before: tuple[Any, ...]
    after: tuple[Any, ...]
    observations: Mapping[Any, Any]
    infos: Mapping[Any, Any]
    rewards: Mapping[Any, Any] = field(default_factory=dict)
    terminations: Mapping[Any, Any] = field(default_factory=dict)
    truncations: Mapping[Any, Any] = field(default_factory=dict)
    state: Any = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, agent: Any) -> Array | None:
        """Return which of a discrete space's actions the agent may take, or None where nothing is said."""
        for source in (self.observations.get(agent), self.infos.get(agent)):
            if isinstance(source, Mapping) and "action_mask" in source:
                return np.asarray(source["action_mask"])
        return None

    def record(self) -> Record:
        """Return agents, observations, rewards, flags and state as arrays by name; infos are left out."""
        found: Record = {"agents": np.array([str(agent) for agent in self.after])}
        if self.state is not None:
            found["state"] = np.asarray(self.state)
        for name in ("observations", "rewards", "terminations", "truncations"):
            for agent, value in getattr(self, name).items():
                leaves, _ = tree_flatten_with_path(_plain(value))
                for path, leaf in leaves:
                    found[f"{name}[{agent!r}]{''.join(map(str, path))}"] = np.asarray(leaf)
        return found


def _plain(value: Any) -> Any:
    """Ordered and other mappings as dicts, so that their leaves are found."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value


LENGTHS: list[int] = []  # of the runs so far, with their resets: an episode may end before its choices do


def parallel_run(env: Any, case: Case) -> Iterator[Turn]:
    """Play choices [T][n] from the case's seed, until nobody is left: yields what reset said, then each step.

    Raises:
        TargetError: the environment raised, or gave answers of a wrong kind.
    """
    with errors_of_target(f"as reset(seed={case['seed']})"):
        answer = env.reset(seed=case["seed"])
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], Mapping):
        raise TargetError("reset() must return (observations, infos), each a dictionary by agent")
    live = tuple(env.agents)
    turn = _with_state(env, Turn(live, live, copy.deepcopy(answer[0]), answer[1]), *answer)
    run = len(LENGTHS)
    LENGTHS.append(1)
    yield turn
    for choices in case["choices"]:
        if not turn.after:
            return
        turn = parallel_step(env, turn, actions_of(env, turn, choices))
        LENGTHS[run] += 1
        yield turn


def actions_of(env: Any, turn: Turn, choices: Sequence[int]) -> dict[Any, Any]:
    """Return the chosen legal actions of all live agents."""
    position = {agent: k for k, agent in enumerate(env.possible_agents)}
    return {
        agent: _action(env.action_space(agent), turn.mask(agent), choices[position.get(agent, 0) % len(choices)])
        for agent in turn.after
    }


def parallel_step(env: Any, turn: Turn, actions: Mapping[Any, Any]) -> Turn:
    """Let the live agents act.

    Raises:
        TargetError: the environment raised, or did not answer with five dictionaries.
    """
    handed = dict(actions)
    with errors_of_target(f"as step({ {str(agent): action for agent, action in actions.items()} })"):
        answer = env.step(handed)
    if set(handed) != set(actions) or any(not np.array_equal(handed[agent], actions[agent]) for agent in actions):
        raise TargetError("step() changed the dictionary of actions that it was handed; work on a copy")
    if not isinstance(answer, tuple) or len(answer) != 5 or not all(isinstance(part, Mapping) for part in answer):
        raise TargetError("step() must return (observations, rewards, terminations, truncations, infos) by agent")
    observations, rewards, terminations, truncations, infos = answer
    copied = copy.deepcopy(observations)  # the environment may go on writing into its own arrays
    following = Turn(turn.after, tuple(env.agents), copied, infos, dict(rewards), dict(terminations), dict(truncations))
    return _with_state(env, following, observations, infos)


def _with_state(env: Any, turn: Turn, observations: Any, infos: Any) -> Turn:
    """Return the turn with the environment's state, where it declares one, and with the answers themselves."""
    masks = {agent: turn.mask(agent) for agent in turn.after}
    given = {"observations": observations, "masks": {agent: mask for agent, mask in masks.items() if mask is not None}}
    if not hasattr(env, "state_space"):
        return replace(turn, given=given)
    with errors_of_target("as state()"):
        state = env.state()
    return replace(turn, state=copy.deepcopy(state), given={**given, "state": state})


def _action(space: Any, mask: Array | None, choice: int) -> Any:
    """The legal action number `choice` of a discrete space; of another one, the sample that this seed gives."""
    if type(space).__name__ != "Discrete":
        own = copy.deepcopy(space)
        own.seed(choice % 2**31)
        return own.sample()
    legal = np.arange(space.n) if mask is None or not mask.any() else np.flatnonzero(mask)
    return np.int64(space.start + legal[choice % len(legal)])


# --- comparing --------------------------------------------------------------------------------------------------------


def difference(first: Record, second: Record, tolerance: float = 0.0) -> str | None:
    """Say where two records differ first, as "a, then b"; None where they are the same, NaN equalling itself."""
    for name in [*first, *(name for name in second if name not in first)]:
        if name not in first or name not in second:
            return f"{name} is there {'first' if name in first else 'the second time'} only"
        found = _array_difference(name, first[name], second[name], tolerance)
        if found is not None:
            return found
    return None


def _array_difference(name: str, one: Array, other: Array, tolerance: float) -> str | None:
    if one.shape != other.shape:
        return f"{name} has shape {list(one.shape)}, then {list(other.shape)}"
    same = one == other
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
        if tolerance:
            same |= np.abs(one - other) <= tolerance * (1 + np.abs(one))
    if np.all(same):
        return None
    if one.ndim == 0:
        return f"{name} is {one}, then {other}"
    index = tuple(int(k) for k in np.argwhere(~same)[0])
    return f"{name}{list(index)} is {one[index]}, then {other[index]}"
