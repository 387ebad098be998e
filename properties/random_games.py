"""Small stochastic games for the claims: drawn in dyadic numbers, and made smaller while a counterexample lasts.

A game is a case with the entries transitions [S, A_1, .., A_n, S], rewards [n, S, A_1, .., A_n, S], terminal [S] and
gamma, and where wanted policy (n tables [S, A_i]) or q, other [S, A]. Terminal states are absorbing and pay nothing.
Probabilities are quarters, some of them 1/64, and rewards are quarters up to 2: in float64 the claims' sums are free of
rounding.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case

Array = NDArray[Any]

QUARTERS = 4
RARE = 1 / 64
LARGEST = 2.0  # of the rewards


def draw_game(
    generator: np.random.Generator, n_actions: Sequence[int], n_states: int, *, ends: bool = False
) -> dict[str, Any]:
    """Draw a game without policy and discount.

    Args:
        generator: of the random numbers.
        n_actions: actions of each agent.
        n_states: states, at least 2 where the game must end.
        ends: whether every step leads to a later state, the last one being terminal; else the game may go on for ever.
    """
    shape = (n_states, *n_actions)
    terminal = np.zeros(n_states, dtype=bool)
    transitions = np.zeros((*shape, n_states))
    for index in np.ndindex(shape):
        first = index[0] + 1 if ends and index[0] + 1 < n_states else 0
        transitions[(*index, slice(first, None))] = distribution(generator, n_states - first)
    terminal[-1] = ends
    if not ends:
        terminal[1:] = generator.random(n_states - 1) < 0.3
    rewards = generator.integers(-8, 9, (len(n_actions), *shape, n_states)) / 4
    _absorb(transitions, rewards, terminal)
    return {"transitions": transitions.tolist(), "rewards": rewards.tolist(), "terminal": terminal.tolist()}


def distribution(generator: np.random.Generator, size: int) -> Array:
    """Draw a distribution of quarters, often on one entry alone, now and then with one entry of 1/64."""
    drawn: Array = generator.multinomial(QUARTERS, np.full(size, 1 / size)) / QUARTERS
    if generator.random() < 0.4:
        drawn = np.eye(size)[generator.integers(size)]
    if size > 1 and generator.random() < 0.15:
        drawn = _with_a_rare_entry(generator, drawn)
    return drawn


def _with_a_rare_entry(generator: np.random.Generator, drawn: Array) -> Array:
    """Put RARE on an entry, and what it had, less that, on the most probable one of the others."""
    rare = int(generator.integers(len(drawn)))
    others = np.delete(np.arange(len(drawn)), rare)
    most = others[np.argmax(drawn[others])]
    result = drawn.copy()
    result[most] = drawn[most] + drawn[rare] - RARE
    result[rare] = RARE
    return result


def draw_policy(generator: np.random.Generator, n_actions: Sequence[int], n_states: int) -> list[Any]:
    """Draw a table [S, A_i] for each agent."""
    return [[distribution(generator, actions).tolist() for _ in range(n_states)] for actions in n_actions]


def _absorb(transitions: Array, rewards: Array, terminal: Array) -> None:
    for s in np.flatnonzero(terminal):
        transitions[s] = 0
        transitions[s, ..., s] = 1
        rewards[:, s] = 0


def always_ends(case: Case) -> bool:
    """Whether each step from a state that is not terminal leads to a later one or to a terminal one."""
    transitions, terminal = np.array(case["transitions"]), np.array(case["terminal"])
    reached = transitions.reshape(len(terminal), -1, len(terminal)).max(axis=1) > 0
    return not any(reached[s, k] for s in np.flatnonzero(~terminal) for k in np.flatnonzero(~terminal) if k <= s)


def smaller_games(case: Case, agents: Sequence[int] = ()) -> Iterator[Case]:
    """Yield games that are a little smaller or simpler than a case, valid ones again.

    Args:
        case: a game; rewards [S, A, S] of one agent alone are left in that form.
        agents: the numbers of agents that may remain.
    """
    whole = _in_full(case)
    for candidate in _candidates(whole, agents):
        yield _as_before(candidate, case)


def _in_full(case: Case) -> dict[str, Any]:
    """The case in arrays, rewards with an axis of agents."""
    full: dict[str, Any] = {
        name: np.array(value) for name, value in case.items() if name in ("transitions", "terminal", "q", "other")
    }
    n = full["transitions"].ndim - 2
    rewards = np.array(case["rewards"])
    full["rewards"] = rewards[None] if rewards.ndim == n + 2 else rewards
    if "policy" in case:
        full["policy"] = [np.array(own) for own in case["policy"]]
    return {**case, **full}


def _as_before(full: dict[str, Any], before: Case) -> Case:
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in full.items()}
    if "policy" in full:
        plain["policy"] = [own.tolist() for own in full["policy"]]
    if np.ndim(before["rewards"]) == np.ndim(before["transitions"]):
        plain["rewards"] = plain["rewards"][0]
    return plain


def _candidates(full: dict[str, Any], agents: Sequence[int]) -> Iterator[dict[str, Any]]:
    n = len(full["rewards"])
    if n > 1 and n - 1 in agents:
        yield from (_without_agent(full, i) for i in range(n))
    for s in range(len(full["terminal"])):
        if len(full["terminal"]) > 1:
            yield from (_without_state(full, s, into) for into in (-1, 0))
    for i in range(n):
        count = full["transitions"].shape[i + 1]
        if count > 1:
            yield from (_without_action(full, i, action) for action in range(count))
    yield from _simpler_rewards(full)
    yield from _simpler_rows(full)
    yield from ({**full, "gamma": gamma} for gamma in (0.5, 0.75, 0.875) if gamma < full["gamma"])
    for name in ("q", "other"):
        if name in full:
            yield from _simpler_entries(full, name)


def _without_agent(full: dict[str, Any], i: int) -> dict[str, Any]:
    """Agent i always takes its first action, and its rewards are left out."""
    smaller = {
        **full,
        "transitions": np.take(full["transitions"], 0, axis=i + 1),
        "rewards": np.delete(np.take(full["rewards"], 0, axis=i + 2), i, axis=0),
    }
    if "policy" in full:
        smaller["policy"] = [own for j, own in enumerate(full["policy"]) if j != i]
    if "agent" in full:
        smaller["agent"] = max(0, full["agent"] - (full["agent"] >= i))
    return smaller


def _without_state(full: dict[str, Any], s: int, into: int) -> dict[str, Any]:
    """What led to state s leads to another one, the first or the last that remains."""
    transitions = np.delete(full["transitions"], s, axis=0)
    led = transitions[..., s]
    transitions = np.delete(transitions, s, axis=-1)
    transitions[..., into] += led
    smaller = {
        **full,
        "transitions": transitions,
        "rewards": np.delete(np.delete(full["rewards"], s, axis=1), s, axis=-1),
        "terminal": np.delete(full["terminal"], s),
    }
    for name in ("q", "other"):
        if name in full:
            smaller[name] = np.delete(full[name], s, axis=0)
    if "policy" in full:
        smaller["policy"] = [np.delete(own, s, axis=0) for own in full["policy"]]
    return smaller


def _without_action(full: dict[str, Any], i: int, action: int) -> dict[str, Any]:
    """Agent i has one action less; its probability goes to the first one that remains."""
    smaller = {
        **full,
        "transitions": np.delete(full["transitions"], action, axis=i + 1),
        "rewards": np.delete(full["rewards"], action, axis=i + 2),
    }
    for name in ("q", "other"):
        if name in full:
            smaller[name] = np.delete(full[name], action, axis=1)
    if "policy" in full:
        own = np.delete(full["policy"][i], action, axis=1)
        own[:, 0] += full["policy"][i][:, action]
        smaller["policy"] = [*full["policy"][:i], own, *full["policy"][i + 1 :]]
    return smaller


def _simpler_rewards(full: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rewards of whole agents and states set to zero, then single ones to 0 and 1."""
    rewards = full["rewards"]
    blocks = [(i,) for i in range(len(rewards))] + list(product(range(len(rewards)), range(rewards.shape[1])))
    for block in blocks:
        if np.count_nonzero(rewards[block]) > 1:
            yield {**full, "rewards": _with(rewards, block, 0.0)}
    yield from _simpler_entries(full, "rewards")


def _simpler_entries(full: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for index in map(tuple, np.argwhere(full[name])):
        yield {**full, name: _with(full[name], index, 0.0)}
        if full[name][index] != 1:
            yield {**full, name: _with(full[name], index, 1.0)}


def _simpler_rows(full: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row of transitions, or of the policy, with all its weight on one entry."""
    for table, put in _tables(full):
        for index in map(tuple, np.argwhere((table > 0) & (table < 1))):
            yield put(_with(_with(table, index[:-1], 0.0), index, 1.0))


def _tables(full: dict[str, Any]) -> Iterator[tuple[Array, Any]]:
    yield full["transitions"], lambda table: {**full, "transitions": table}
    for i, own in enumerate(full.get("policy", ())):
        yield own, lambda table, i=i: {**full, "policy": [*full["policy"][:i], table, *full["policy"][i + 1 :]]}


def _with(array: Array, index: tuple[Any, ...], value: float) -> Array:
    changed = array.copy()
    changed[index] = value
    return changed
