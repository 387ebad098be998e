"""Solution concepts of sequential games: best responses, regret, Nash equilibria and Pareto optimality of policies.

Two kinds of games and policies are judged by the same functions:

- a StochasticGame with Markov policies, n arrays [S, A_i], over an episode without end (gamma < 1, or surely ending);
- a POSG with history policies, n functions from an agent's own observations to its action probabilities, cut after
  `horizon` joint actions.

A joint policy is a Nash equilibrium where no agent can raise its own expected return U_i by another policy while the
others keep theirs (lecture, "Solutions"; book, Definition 6). With the others fixed an agent faces a decision process,
so that a deterministic policy is among its best; against Markov policies a Markov one is, also among history policies.
Everything is decided in rationals: floats are the dyadic numbers that they are, and distributions in floats are
divided by their exact sum.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import isfinite, prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import Number
from marlspec.games.posg import POSG
from marlspec.games.staged import checked_gamma
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.solution.decisions import DecisionProcess, optimum
from marlspec.reference.solution.expected_return import expected_return, markov_return
from marlspec.reference.solution.pareto import dominates
from marlspec.reference.solution.policies import checked_policy, in_rationals, observed_in_rationals, product_draws
from marlspec.reference.solution.profiles import Profile
from marlspec.reference.solution.tree import (
    GameTree,
    Joint,
    Outcome,
    Own,
    OwnPolicy,
    checked_horizon,
    own_policies,
    product_policy,
)

Game: TypeAlias = StochasticGame | POSG
HistoryFunction: TypeAlias = Callable[[Own], tuple[Fraction, ...]]
Belief: TypeAlias = dict[tuple[int, Joint], Fraction]

MAX_SEARCHED_HISTORIES = 500_000
MAX_POLICIES = 20_000


@dataclass(frozen=True, eq=False)
class BestResponse:
    """A best response of one agent to the policies of the others.

    Attributes:
        value: the expected return U_i that it brings, a Fraction.
        policy: a deterministic one in the form in which policies are handed over: an object array [S, A_i], or a
            function from own observations to probabilities. Where play cannot lead it takes the first action.
        exact: whether the answer is free of rounding.
        method: how it was found.
    """

    value: Fraction
    policy: NDArray[Any] | HistoryFunction
    exact: bool
    method: str


@dataclass(frozen=True, eq=False)
class DeterministicPareto:
    """Whether any deterministic joint policy Pareto-dominates a policy.

    Attributes:
        answer: "yes" where the policy is Pareto-optimal among deterministic ones, else "no".
        dominated_by: with "no" a deterministic policy that dominates, in the form in which policies are handed over.
        returns: the expected returns [n] of the judged policy.
        exact: whether the answer is free of rounding.
        method: how it was decided.
    """

    answer: Literal["yes", "no"]
    dominated_by: tuple[NDArray[Any] | HistoryFunction, ...] | None
    returns: NDArray[Any]
    exact: bool
    method: str


def best_response(
    game: Game, policy: object, i: int, *, gamma: Number | None = None, horizon: int | None = None
) -> BestResponse:
    """Return a best response of agent i to the policies of the others, exactly.

    Args:
        game: a StochasticGame, or a POSG with a horizon.
        policy: a product policy of the game's kind. Agent i's own part has no influence.
        i: the agent.
        gamma: the discount in [0, 1]; the game's own where it is left out. For Markov policies one is allowed where
            every policy of agent i reaches a terminal state with certainty.
        horizon: for a POSG the number of joint actions after which an episode is cut.

    Raises:
        InputError: there is no agent i, the policy does not fit the game, a horizon is missing or out of place, gamma
            is no discount or is one where some policy never ends, or the game is too large.
    """
    if i not in range(game.n_agents):
        raise InputError(f"there is no agent {i}: agents are numbered 0 to {game.n_agents - 1}")
    game = _exact(game)
    if isinstance(game, POSG):
        return _history_response(game, policy, i, _rational(game.game, gamma), _needed(horizon))
    _check_no_horizon(horizon)
    return _markov_response(game, policy, i, _rational(game, gamma))


def regret(game: Game, policy: object, *, gamma: Number | None = None, horizon: int | None = None) -> NDArray[Any]:
    """Return what each agent could gain at most in its expected return by changing its own policy alone.

    Returns:
        An object array [n] of Fractions, none negative; all zero exactly in a Nash equilibrium.

    Raises:
        InputError: as for best_response.
    """
    game = _exact(game)
    reached = _returns(game, policy, gamma, horizon)
    best = [best_response(game, policy, i, gamma=gamma, horizon=horizon).value - own for i, own in enumerate(reached)]
    return np.array(best, dtype=object)


def is_nash(
    game: Game, policy: object, epsilon: Number = 0, *, gamma: Number | None = None, horizon: int | None = None
) -> bool:
    """Tell whether no agent can gain more than epsilon by changing its own policy alone.

    The exact regret is compared with epsilon, whose float is taken as the dyadic number that it is.

    Raises:
        InputError: epsilon is negative or not finite, or as for best_response.
    """
    if not isfinite(epsilon) or epsilon < 0:
        raise InputError(f"epsilon is {epsilon}: it bounds a gain, so it must be finite and not negative")
    return bool(max(regret(game, policy, gamma=gamma, horizon=horizon)) <= Fraction(epsilon))


def is_pareto_optimal(
    game: Game, policy: object, *, gamma: Number | None = None, horizon: int | None = None
) -> DeterministicPareto:
    """Tell whether no deterministic joint policy gives every agent as much as this one and some agent more.

    All deterministic Markov policies (in living states), or all deterministic history policies (on histories that play
    can reach), are tried; there may be MAX_POLICIES of them. Mixing policies may dominate what none of these does.

    Args:
        game: a StochasticGame, or a POSG with a horizon.
        policy: any policy of the game's kind.
        gamma: as for best_response.
        horizon: as for best_response.

    Raises:
        InputError: more than MAX_POLICIES deterministic policies, or as for best_response.
    """
    game = _exact(game)
    returns = _returns(game, policy, gamma, horizon)
    policies = _deterministic_policies(game, horizon)
    better = (other for other in policies if dominates(_returns(game, other, gamma, horizon), returns))
    found = next(better, None)
    return DeterministicPareto(
        answer="yes" if found is None else "no",
        dominated_by=found,
        returns=returns,
        exact=True,
        method="enumeration of all deterministic joint policies, in rationals",
    )


def _exact(game: Game) -> Game:
    return observed_in_rationals(game) if isinstance(game, POSG) else in_rationals(game)


def _returns(game: Game, policy: object, gamma: Number | None, horizon: int | None) -> NDArray[Any]:
    """U_i of every agent in an exact game."""
    if isinstance(game, POSG):
        return expected_return(game, policy, _needed(horizon), _rational(game.game, gamma))
    _check_no_horizon(horizon)
    return markov_return(game, policy, _rational(game, gamma))


def _rational(game: StochasticGame, gamma: Number | None) -> Fraction:
    return Fraction(game.gamma if gamma is None else checked_gamma(gamma))


def _needed(horizon: int | None) -> int:
    if horizon is None:
        raise InputError("history policies are judged over a finite horizon: say how many steps, as in horizon=3")
    return checked_horizon(horizon)


def _check_no_horizon(horizon: int | None) -> None:
    if horizon is not None:
        raise InputError(
            f"horizon is {horizon}, but Markov policies of a StochasticGame are judged over episodes without a cut: "
            "leave it out, or observe the game as a POSG (full_observation) and hand over history policies"
        )


def _markov_response(game: StochasticGame, policy: object, i: int, gamma: Fraction) -> BestResponse:
    best = optimum(_faced_by(game, checked_policy(game, policy), i), gamma)
    return BestResponse(
        value=sum((mu * value for mu, value in zip(game.initial, best.values, strict=True)), Fraction()),
        policy=_pure_rows(best.choices, game.n_actions[i]),
        exact=best.exact,
        method=best.method,
    )


def _faced_by(game: StochasticGame, mixes: Profile, i: int) -> DecisionProcess:
    """The decision process of agent i while the others draw from their mixes."""
    n_states, count = game.n_states, game.n_actions[i]
    idle = _pure_rows(np.zeros(n_states, dtype=np.int64), count)
    draws = product_draws((*mixes[:i], idle, *mixes[i + 1 :]))
    actions = np.repeat(draws.actions[:, None], count, axis=1)
    actions[..., i] = np.arange(count)[:, None]
    index = (np.arange(n_states)[:, None, None], *np.moveaxis(actions, -1, 0))
    chances = draws.probabilities[:, None, :, None] * game.probabilities[index]
    shape = (n_states, count, -1)
    return DecisionProcess(
        successors=game.successors[index].reshape(shape),
        probabilities=chances.reshape(shape),
        rewards=(chances * game.rewards[i][index]).reshape(shape).sum(axis=-1),
        terminal=game.terminal,
    )


def _pure_rows(choices: NDArray[np.int64], count: int) -> NDArray[Any]:
    rows = np.zeros((len(choices), count), dtype=object)
    rows[np.arange(len(choices)), choices] = 1
    return rows


def _history_response(game: POSG, policy: object, i: int, gamma: Fraction, horizon: int) -> BestResponse:
    value, choices = _Search(game, own_policies(game, policy), i, horizon, gamma).best()
    return BestResponse(
        value=value,
        policy=_pure_function(choices, game.game.n_actions[i]),
        exact=True,
        method="search of the agent's observation histories, in rationals",
    )


class _Search:
    """The tree of one agent's observation histories, for its best reply to fixed policies of the others.

    A node is a history of own observations under own actions chosen so far; it holds what may be the case, with the
    probability of getting there. A deterministic policy knows its own past actions, as they follow from its own
    observations; so the best choice of every node together makes a policy of own observations alone.
    """

    def __init__(self, game: POSG, policies: list[OwnPolicy], i: int, horizon: int, gamma: Fraction) -> None:
        self._tree = GameTree(game)
        self._i = i
        self._horizon = horizon
        self._gamma = gamma
        self._nodes = 0
        self._joint = [
            product_policy([*policies[:i], _always(action), *policies[i + 1 :]])
            for action in range(game.game.n_actions[i])
        ]

    def best(self) -> tuple[Fraction, dict[Own, int]]:
        """Return U_i of a best response and its choices at the own histories that it leads to."""
        beliefs: defaultdict[int, Belief] = defaultdict(dict)
        for s, o, chance in self._tree.starts():
            beliefs[o[self._i]][s, (o,)] = Fraction(chance)
        return self._sum((), beliefs)

    def _sum(self, own: Own, beliefs: dict[int, Belief]) -> tuple[Fraction, dict[Own, int]]:
        """Add up what the next own observations lead to."""
        value, choices = Fraction(), {}
        for o, belief in beliefs.items():
            gain, below = self._choose((*own, o), belief)
            value += gain
            choices.update(below)
        return value, choices

    def _choose(self, own: Own, belief: Belief) -> tuple[Fraction, dict[Own, int]]:
        if len(own) > self._horizon:
            return Fraction(), {}
        self._nodes += 1
        if self._nodes > MAX_SEARCHED_HISTORIES:
            raise InputError(
                f"more than {MAX_SEARCHED_HISTORIES} histories of agent {self._i} have to be searched: take a shorter "
                "horizon or a smaller game"
            )
        options = [self._play(own, belief, action) for action in range(len(self._joint))]
        action = max(range(len(options)), key=lambda k: options[k][0])
        value, choices = options[action]
        return value, {own: action, **choices}

    def _play(self, own: Own, belief: Belief, action: int) -> tuple[Fraction, dict[Own, int]]:
        income = Fraction()
        following: defaultdict[int, Belief] = defaultdict(lambda: defaultdict(Fraction))
        for observed, a, outcome, chance in self._flow(belief, action):
            income += chance * outcome.rewards[self._i]
            for o, seen in self._continuations(a, outcome.state):
                following[o[self._i]][outcome.state, (*observed, o)] += chance * seen
        value, choices = self._sum(own, following)
        return income + self._gamma * value, choices

    def _flow(self, belief: Belief, action: int) -> Iterator[tuple[Joint, Own, Outcome, Fraction]]:
        """Yield what can happen after an own action, with its probability."""
        for (s, observed), weight in belief.items():
            for a, probability in self._joint[action](observed):
                for outcome in self._tree.outcomes(s, a):
                    yield observed, a, outcome, weight * probability * outcome.probability

    def _continuations(self, a: Own, s: int) -> list[tuple[Own, Any]]:
        return [] if self._tree.game.game.terminal[s] else self._tree.observations(a, s)


def _always(action: int) -> OwnPolicy:
    return lambda observed: [(action, 1)]


def _pure_function(choices: dict[Own, int], count: int) -> HistoryFunction:
    def function(observed: Own) -> tuple[Fraction, ...]:
        return tuple(Fraction(int(a == choices.get(observed, 0))) for a in range(count))

    return function


def _deterministic_policies(game: Game, horizon: int | None) -> Iterator[tuple[NDArray[Any] | HistoryFunction, ...]]:
    if isinstance(game, POSG):
        return _deterministic_history_policies(game, _needed(horizon))
    return _deterministic_markov_policies(game)


def _deterministic_markov_policies(game: StochasticGame) -> Iterator[tuple[NDArray[Any], ...]]:
    living = np.flatnonzero(~game.terminal)
    _check_number(prod(count ** len(living) for count in game.n_actions))
    rows = [
        [_rows_at(living, chosen, game.n_states, count) for chosen in product(range(count), repeat=len(living))]
        for count in game.n_actions
    ]
    return product(*rows)


def _rows_at(living: NDArray[np.int64], chosen: tuple[int, ...], n_states: int, count: int) -> NDArray[Any]:
    choices = np.zeros(n_states, dtype=np.int64)
    choices[living] = chosen
    return _pure_rows(choices, count)


def _deterministic_history_policies(game: POSG, horizon: int) -> Iterator[tuple[HistoryFunction, ...]]:
    reached = _own_histories(game, horizon)
    counts = game.game.n_actions
    _check_number(prod(count ** len(own) for count, own in zip(counts, reached, strict=True)))
    functions = [
        [
            _pure_function(dict(zip(own, chosen, strict=True)), count)
            for chosen in product(range(count), repeat=len(own))
        ]
        for own, count in zip(reached, counts, strict=True)
    ]
    return product(*functions)


def _own_histories(game: POSG, horizon: int) -> list[list[Own]]:
    """Every agent's own histories at which it may have to act, under any policies."""
    tree = GameTree(game)
    reached: list[dict[Own, None]] = [{} for _ in range(game.n_agents)]
    layer: set[tuple[int, Joint]] = {(s, (o,)) for s, o, _ in tree.starts()}
    for _ in range(horizon):
        for _, observed in layer:
            for i, own in enumerate(zip(*observed, strict=True)):
                reached[i][own] = None
        layer = {
            (outcome.state, (*observed, o))
            for s, observed in layer
            for a in game.game.joint_actions()
            for outcome in tree.outcomes(s, a)
            if not game.game.terminal[outcome.state]
            for o, _ in tree.observations(a, outcome.state)
        }
    return [sorted(own) for own in reached]


def _check_number(policies: int) -> None:
    if policies > MAX_POLICIES:
        raise InputError(
            f"the game has more than {MAX_POLICIES} deterministic joint policies, too many to enumerate: take a "
            "smaller game or a shorter horizon"
        )
