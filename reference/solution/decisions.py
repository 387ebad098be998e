"""Markov decision processes: values of a policy by linear systems, optimal policies by policy iteration.

What is asked of a stochastic game comes down to these: nobody decides (the values of a joint policy), one agent
decides against fixed policies of the others (its best response), or all agents decide together (the optimal values of
a common-reward game). Probabilities and rewards in object arrays are exact numbers and stay so; float64 stays float64.
"""

from dataclasses import dataclass
from fractions import Fraction
from graphlib import TopologicalSorter
from math import lcm
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import Number
from marlspec.reference.solution.rationals import over_common_denominator, solve

MAX_LINKED_STATES = 200
ROUGH_SWEEPS = 1000
ROUNDING = 1e-12


class Chain(NamedTuple):
    """A Markov chain with several rewards.

    Attributes:
        successors: integers [S, M].
        probabilities: [S, M]; successors may repeat, and padding has probability zero.
        rewards: expected rewards [R, S], one row for each value function that is wanted.
        terminal: truth values [S]. A terminal state follows itself and pays nothing, as in every StochasticGame.
    """

    successors: NDArray[np.int64]
    probabilities: NDArray[Any]
    rewards: NDArray[Any]
    terminal: NDArray[np.bool_]


class DecisionProcess(NamedTuple):
    """A Markov decision process with K choices in every state.

    Attributes:
        successors: integers [S, K, M].
        probabilities: [S, K, M].
        rewards: expected rewards [S, K].
        terminal: truth values [S], as in a chain.
    """

    successors: NDArray[np.int64]
    probabilities: NDArray[Any]
    rewards: NDArray[Any]
    terminal: NDArray[np.bool_]

    @property
    def exact(self) -> bool:
        """Whether the numbers are integers and Fractions."""
        return bool(self.probabilities.dtype == object)

    def under(self, choices: NDArray[np.int64]) -> Chain:
        """Return the chain in which state s takes choices[s]."""
        states = np.arange(len(choices))
        rewards = self.rewards[states, choices][None]
        return Chain(self.successors[states, choices], self.probabilities[states, choices], rewards, self.terminal)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The solution of a decision process.

    Attributes:
        values: optimal values [S], zero in terminal states.
        action_values: optimal values [S, K] of each choice, zero in terminal states.
        choices: an optimal choice of every state, integers [S].
        exact: whether the numbers are free of rounding.
        method: how they were found.
    """

    values: NDArray[Any]
    action_values: NDArray[Any]
    choices: NDArray[np.int64]
    exact: bool
    method: str


def chain_values(chain: Chain, gamma: Number) -> NDArray[Any]:
    """Return the expected discounted sums of rewards from every state, [R, S], by a linear system.

    In rationals, states that cannot reach each other are solved one after the other, so that chains without circles
    cost no more than a walk through them.

    Raises:
        InputError: gamma is one and some state never reaches a terminal state, or more than MAX_LINKED_STATES states
            that all reach each other would have to be solved in rationals.
    """
    if gamma == 1:
        _check_chain_ends(chain)
    if chain.probabilities.dtype == object:
        return _exact_values(chain, gamma)
    return _float_values(chain, float(gamma))


def choice_values(process: DecisionProcess, values: NDArray[Any], gamma: Number) -> NDArray[Any]:
    """Return rewards + gamma E[values of the next state] for each choice, [S, K]; zero in terminal states."""
    if not process.exact:
        return _float_choice_values(process, values, float(gamma))
    numerators, denominator = _integer_choice_values(process, values, gamma)
    found = numerators.ravel().tolist()
    fractions = {numerator: Fraction(numerator, denominator) for numerator in set(found)}
    return _object_array([fractions[numerator] for numerator in found]).reshape(numerators.shape)


def optimum(process: DecisionProcess, gamma: Number) -> Optimum:
    """Solve a decision process by policy iteration (Howard 1960).

    Value iteration in floats picks the policy to start from, which spares rounds; the answer does not depend on it.
    In rationals the last round proves the answer: no choice anywhere is better than the policy's. In floats it shows
    the same up to rounding.

    Raises:
        InputError: gamma is one and some policy never ends, or the system is too large for rationals.
    """
    if gamma == 1:
        _check_all_policies_end(process)
    choices = _rough_choices(process, float(gamma))
    while True:
        values = chain_values(process.under(choices), gamma)[0]
        improved = _improved(process, values, gamma, choices)
        if np.array_equal(improved, choices):
            break
        choices = improved
    return Optimum(
        values=values,
        action_values=choice_values(process, values, gamma),
        choices=choices,
        exact=process.exact,
        method=f"policy iteration in {'rationals' if process.exact else 'float64'}",
    )


def _improved(
    process: DecisionProcess, values: NDArray[Any], gamma: Number, choices: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return a better choice wherever there is one, and the present one elsewhere."""
    if process.exact:
        gains, _ = _integer_choice_values(process, values, gamma)
        tolerance: Any = 0
    else:
        gains = _float_choice_values(process, values, float(gamma))
        tolerance = ROUNDING * (1 + np.abs(gains).max())
    own = gains[np.arange(len(choices)), choices]
    better = np.asarray(gains.max(axis=1) > own + tolerance, dtype=np.bool_)
    improved: NDArray[np.int64] = np.where(better, gains.argmax(axis=1), choices)
    return improved


def _integer_choice_values(process: DecisionProcess, values: NDArray[Any], gamma: Number) -> tuple[NDArray[Any], int]:
    """The values of all choices as integers over one denominator: integers are added far faster than Fractions."""
    rewards, below_rewards = over_common_denominator(process.rewards)
    chances, below_chances = over_common_denominator(process.probabilities)
    following, below_values = over_common_denominator(values)
    above_gamma, below_gamma = gamma.as_integer_ratio()
    below_future = below_gamma * below_chances * below_values
    future = (chances * following[process.successors]).sum(axis=-1)
    return rewards * below_future + above_gamma * below_rewards * future, below_rewards * below_future


def _float_choice_values(process: DecisionProcess, values: NDArray[Any], gamma: float) -> NDArray[np.float64]:
    future = (process.probabilities * values[process.successors]).sum(axis=-1)
    return np.asarray(process.rewards + gamma * future)


def _rough_choices(process: DecisionProcess, gamma: float) -> NDArray[np.int64]:
    """Value iteration in floats, a bounded number of sweeps; the first choices where numbers are too large for it."""
    try:
        probabilities, rewards = process.probabilities.astype(np.float64), process.rewards.astype(np.float64)
    except OverflowError:
        return np.zeros(len(process.terminal), dtype=np.int64)
    rough = DecisionProcess(process.successors, probabilities, rewards, process.terminal)
    values = np.zeros(len(process.terminal))
    for _ in range(ROUGH_SWEEPS):
        before, values = values, _float_choice_values(rough, values, gamma).max(axis=1)
        if np.allclose(before, values, rtol=ROUNDING, atol=ROUNDING):
            break
    choices: NDArray[np.int64] = _float_choice_values(rough, values, gamma).argmax(axis=1)
    return choices


def _exact_values(chain: Chain, gamma: Number) -> NDArray[Any]:
    rows = [_discounted_row(chain, s, Fraction(gamma)) for s in range(len(chain.terminal))]
    values = _object_array([Fraction()] * chain.rewards.size).reshape(chain.rewards.shape)
    for linked in _linked_states(rows):
        if not chain.terminal[linked[0]]:
            values[:, linked] = _solved(linked, rows, chain.rewards, values)
    return values


def _discounted_row(chain: Chain, s: int, gamma: Fraction) -> dict[int, Fraction]:
    """The states that can follow s, each with gamma times its probability; terminal ones count for nothing."""
    row: dict[int, Fraction] = {}
    for successor, probability in zip(chain.successors[s].tolist(), chain.probabilities[s].tolist(), strict=True):
        if probability and not chain.terminal[s] and not chain.terminal[successor]:
            row[successor] = row.get(successor, Fraction()) + gamma * probability
    return row


def _linked_states(rows: list[dict[int, Fraction]]) -> list[list[int]]:
    """The classes of states that reach each other, each class after those that it leads to."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    links = [(s, successor) for s, row in enumerate(rows) for successor in row]
    sources, targets = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = csr_array((np.ones(len(links)), (sources, targets)), shape=(len(rows), len(rows)))
    count, labels = connected_components(graph, directed=True, connection="strong")
    members: list[list[int]] = [[] for _ in range(count)]
    for s, label in enumerate(labels.tolist()):
        members[label].append(s)
    follow: dict[int, set[int]] = {label: set() for label in range(count)}
    for source, target in zip(labels[sources].tolist(), labels[targets].tolist(), strict=True):
        if source != target:
            follow[source].add(target)
    return [members[label] for label in TopologicalSorter(follow).static_order()]


def _solved(
    linked: list[int], rows: list[dict[int, Fraction]], rewards: NDArray[Any], values: NDArray[Any]
) -> NDArray[Any]:
    """Solve V = r + gamma P V for one class, the values of the states that it leads to being known."""
    if len(linked) > MAX_LINKED_STATES:
        raise InputError(
            f"{len(linked)} states all reach each other, and an exact solution is limited to {MAX_LINKED_STATES} such "
            "states: use a smaller game, or its float64 version (as_float64) where floats are accepted"
        )
    place = {s: k for k, s in enumerate(linked)}
    matrix, scales = [], []
    for k, s in enumerate(linked):
        line = [Fraction(int(column == k)) for column in range(len(linked))]
        for successor in rows[s].keys() & place.keys():
            line[place[successor]] -= rows[s][successor]
        scales.append(lcm(*(entry.denominator for entry in line)))
        matrix.append([int(entry * scales[-1]) for entry in line])
    solutions = []
    for own, known in zip(rewards, values, strict=True):
        right = [own[s] + sum(chance * known[t] for t, chance in rows[s].items() if t not in place) for s in linked]
        solutions.append(_solve_fractions(matrix, [entry * scale for entry, scale in zip(right, scales, strict=True)]))
    return np.array(solutions, dtype=object)


def _solve_fractions(matrix: list[list[int]], right: list[Any]) -> list[Fraction]:
    integers, denominator = over_common_denominator(_object_array(right))
    solution = solve(matrix, integers.tolist())
    assert solution is not None, "1 - gamma P is regular where every state ends or gamma < 1"
    return [value / denominator for value in solution]


def _float_values(chain: Chain, gamma: float) -> NDArray[np.float64]:
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    n_states, width = chain.successors.shape
    weights = np.where(chain.terminal[:, None], 0.0, gamma * chain.probabilities)
    sources = np.repeat(np.arange(n_states), width)
    flow = csc_array((weights.ravel(), (sources, chain.successors.ravel())), shape=(n_states, n_states))
    solution: NDArray[np.float64] = splu((eye_array(n_states, format="csc") - flow).tocsc()).solve(chain.rewards.T)
    return np.ascontiguousarray(solution.T)


def _check_chain_ends(chain: Chain) -> None:
    possible = np.asarray(chain.probabilities > 0, dtype=np.bool_)
    ends = chain.terminal
    while True:
        more = ends | (possible & ends[chain.successors]).any(axis=-1)
        if np.array_equal(more, ends):
            break
        ends = more
    if not ends.all():
        raise InputError(
            f"under this policy state {int(np.argmin(ends))} never reaches a terminal state, so that with gamma = 1 "
            "its value need not exist: hand over gamma < 1, or a finite horizon where one is taken"
        )


def _check_all_policies_end(process: DecisionProcess) -> None:
    """Find the largest set of states in which some policy can stay for ever."""
    impossible = ~np.asarray(process.probabilities > 0, dtype=np.bool_)
    stays = ~process.terminal
    while True:
        fewer = stays & (impossible | stays[process.successors]).all(axis=-1).any(axis=-1)
        if np.array_equal(fewer, stays):
            break
        stays = fewer
    if stays.any():
        raise InputError(
            f"from state {int(np.argmax(stays))} some policy never reaches a terminal state, so that with gamma = 1 "
            "the best value need not exist: hand over gamma < 1"
        )


def _object_array(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
