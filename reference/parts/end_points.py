"""Where tabular learners end: the greedy joint policy of every seed, and what it is worth.

A greedy joint policy takes a joint action of largest value in every state; where several tie, the first of them is
judged. What it is worth, whether it is a Nash equilibrium and whether it is Pareto-optimal is computed from the game in
float64, up to TOLERANCE. Seeds are counted together that act alike in all states that their policy comes by; in a game
in which it comes by many, seeds whose policy is worth the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.parts.many_seeds import ManySeeds
from marlspec.reference.solution.decisions import Chain, DecisionProcess, chain_values, optimum
from marlspec.reference.solution.optimal import optimal_values

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Answer: TypeAlias = Literal["yes", "no", "unknown"]

TOLERANCE = 1e-9
MAX_NAMED_STATES = 4
MAX_NAMED_TIES = 3


@dataclass(frozen=True)
class Judgement:
    """What a joint policy is worth.

    Attributes:
        returns: the expected returns U_1 .. U_n.
        nash: whether no agent gains by another policy of its own.
        pareto: whether no deterministic joint policy gives every agent as much and some agent more; "unknown" where
            there are too many to try.
    """

    returns: tuple[float, ...]
    nash: bool
    pareto: Answer


@dataclass(frozen=True)
class EndPoint:
    """A joint policy at which seeds ended.

    Attributes:
        policy: in words.
        seeds: the seeds that ended there.
        judgements: one for each of them; they may differ in states that the policy does not come by.
    """

    policy: str
    seeds: tuple[int, ...]
    judgements: tuple[Judgement, ...]


def end_points(many: ManySeeds) -> list[EndPoint]:
    """Return the joint policies at which the seeds ended, those of most seeds first.

    Raises:
        InputError: the discount is 1 and a policy or a deviation never ends, so that it has no value.
    """
    judge = PolicyJudge(many.game, many.gamma)
    groups: dict[str, list[tuple[int, Judgement]]] = {}
    for k in range(many.config.seeds):
        greedy = many.greedy(k)
        judgement = judge(_first_of_ties(greedy))
        name = in_words(many.game, greedy, judgement.returns)
        groups.setdefault(name, []).append((k, judgement))
    found = [EndPoint(name, *(tuple(column) for column in zip(*group, strict=True))) for name, group in groups.items()]
    return sorted(found, key=lambda point: (-len(point.seeds), point.policy))


def in_words(game: StochasticGame, greedy: NDArray[np.bool_], returns: tuple[float, ...]) -> str:
    """Return what a greedy policy [S, A_1, .., A_n] does, state by state as far as it comes by few of them."""
    visited = _visited(game, _first_of_ties(greedy))
    if len(visited) > MAX_NAMED_STATES:
        worth = ", ".join(f"{value:.6g}" for value in returns)
        return f"comes by more than {MAX_NAMED_STATES} states; worth {worth}"
    if int(np.sum(~game.terminal)) == 1:
        return _ties_in_words(game, greedy[visited[0]])
    return "; ".join(f"{game.state_labels[s]} {_ties_in_words(game, greedy[s])}" for s in visited)


class PolicyJudge:
    """Judges deterministic joint policies of one game, each policy once.

    Raises:
        InputError: when called, as for end_points.
    """

    def __init__(self, game: StochasticGame, gamma: float) -> None:
        self.game = game
        self.gamma = gamma
        self._rounded = game.as_float64()
        self._best: float | None = None
        self._known: dict[bytes, Judgement] = {}

    def __call__(self, choices: Integers) -> Judgement:
        """Judge the policy that takes joint action choices[s], given by its place, in state s."""
        key = choices.tobytes()
        if key not in self._known:
            values = policy_values(self._rounded, choices, self.gamma)
            returns = tuple(float(value) for value in values @ self._rounded.initial)
            nash = self._is_nash(choices, returns)
            self._known[key] = Judgement(returns, nash, self._is_pareto_optimal(choices, returns))
        return self._known[key]

    def _is_nash(self, choices: Integers, returns: tuple[float, ...]) -> bool:
        initial = self._rounded.initial
        for i, own in enumerate(returns):
            best = float(optimum(process_of_agent(self._rounded, choices, i), self.gamma).values @ initial)
            if best > own + TOLERANCE * (1 + abs(best)):
                return False
        return True

    def _is_pareto_optimal(self, choices: Integers, returns: tuple[float, ...]) -> Answer:
        if not self.game.is_common_reward:
            return _pareto_by_enumeration(self.game, choices, self.gamma)
        if self._best is None:
            self._best = best_return(self._rounded, self.gamma)
        return "yes" if returns[0] >= self._best - TOLERANCE * (1 + abs(self._best)) else "no"


def best_return(game: StochasticGame, gamma: float) -> float:
    """Return the expected return of the best joint policy of a common-reward game; errors as for optimal_values."""
    rounded = game.as_float64()
    return float(optimal_values(rounded, gamma).values @ rounded.initial)


def policy_values(game: StochasticGame, choices: Integers, gamma: float) -> Floats:
    """Return every agent's values [n, S] of the policy that takes joint action choices[s] in state s of a float game.

    Raises:
        InputError: gamma is 1 and the policy never ends.
    """
    taken = _taken(game, choices)
    probabilities, rewards = taken(game.probabilities), np.stack([taken(own) for own in game.rewards])
    chain = Chain(taken(game.successors), probabilities, (probabilities * rewards).sum(-1), game.terminal)
    return chain_values(chain, gamma)


def process_of_agent(game: StochasticGame, choices: Integers, i: int) -> DecisionProcess:
    """Return what agent i decides while the others keep to the policy choices [S] of a float game."""
    others = np.array(np.unravel_index(choices, game.n_actions))[:, :, None]
    own = np.arange(game.n_actions[i])
    actions = [own[None, :] if j == i else others[j] for j in range(game.n_agents)]
    index = (np.arange(game.n_states)[:, None], *actions)
    probabilities = game.probabilities[index]
    rewards = (probabilities * game.rewards[i][index]).sum(-1)
    return DecisionProcess(game.successors[index], probabilities, rewards, game.terminal)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a probability, given how often something happened in independent trials.

    Raises:
        InputError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise InputError(f"{successes} of {trials}: an interval needs at least one trial and no more successes")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def _first_of_ties(greedy: NDArray[np.bool_]) -> Integers:
    first: Integers = greedy.reshape(len(greedy), -1).argmax(axis=1)
    return first


def _taken(game: StochasticGame, choices: Integers) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return the function that takes from a table [S, A_1, .., A_n, M] the rows of the chosen joint actions."""
    states = np.arange(game.n_states)
    return lambda table: table.reshape(game.n_states, -1, table.shape[-1])[states, choices]


def _visited(game: StochasticGame, choices: Integers) -> list[int]:
    """The states in which the policy acts, in the order in which they are come by; one too many are enough."""
    taken = _taken(game, choices)
    successors, probabilities = taken(game.successors), taken(game.probabilities)
    visited = [int(s) for s in np.flatnonzero(game.initial)]
    for s in visited:
        if len(visited) > MAX_NAMED_STATES:
            break
        following = successors[s][probabilities[s] > 0].tolist()
        visited += [t for t in dict.fromkeys(following) if t not in visited and not game.terminal[t]]
    return visited


def _ties_in_words(game: StochasticGame, best: NDArray[np.bool_]) -> str:
    actions = np.argwhere(best).tolist()
    if len(actions) == best.size > 1:
        return "anything"
    if len(actions) > MAX_NAMED_TIES:
        return f"one of {len(actions)} joint actions"
    return " or ".join(game.label(a) for a in actions)


def _pareto_by_enumeration(game: StochasticGame, choices: Integers, gamma: float) -> Answer:
    """Try all deterministic joint policies, in rationals; "unknown" where they are too many."""
    from marlspec.reference.solution.sequential import is_pareto_optimal

    actions = np.unravel_index(choices, game.n_actions)
    policy = tuple(np.eye(count, dtype=int)[own] for own, count in zip(actions, game.n_actions, strict=True))
    try:
        return is_pareto_optimal(game, policy, gamma=gamma).answer
    except InputError:
        return "unknown"
