"""The recursive expected return: what a joint policy is worth to every agent.

The lecture ("Recursive Expected Return"; book, chapter 4) defines for a joint policy pi and full histories h

    [V]  V_i(h)    = sum_a pi(a | sigma(h)) Q_i(h, a)
    [Q]  Q_i(h, a) = sum_s' T(s, a, s') [R_i(s, a, s') + gamma sum_o' O(o' | a, s') V_i(<h, a, s', o'>)]
    [U]  U_i       = E[V_i(<s^0, o^0>)]

where s is the last state of h and sigma(h) its joint observations; V_i is zero where s is terminal. HistoryReturns
carries this out as it stands, over a finite horizon. For Markov policies of a stochastic game V and Q depend on the
last state alone, and [V] and [Q] are a linear system: markov_values. Code lines that carry out an equation end in its
letter. Games, policies and discounts in exact numbers give Fractions; a float64 game or a float gamma gives float64. A
policy in floats is clipped and renormalised first (profiles.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.histories import History, sigma
from marlspec.games.matrix import JointAction, Number
from marlspec.games.posg import POSG
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.solution.decisions import Chain, chain_values
from marlspec.reference.solution.policies import Draws, checked_draws, with_discount
from marlspec.reference.solution.tree import GameTree, Joint, checked_horizon, joint_policy

MAX_HISTORIES = 1_000_000


def markov_values(
    game: StochasticGame, policy: object, gamma: Number | None = None, *, horizon: int | None = None
) -> NDArray[Any]:
    """Return V_i(s) of a Markov policy for every agent and state, shape [n, S]; zero in terminal states.

    Args:
        game: a stochastic game.
        policy: a tuple of n arrays [S, A_i], or one array [S, A_1, .., A_n] of distributions over joint actions.
        gamma: the discount in [0, 1]; the game's own where it is left out. One is allowed where the policy reaches a
            terminal state with certainty from everywhere, and over a finite horizon.
        horizon: the number of steps that are left; without end where it is left out.

    Raises:
        InputError: the policy does not fit, gamma is no discount, gamma is one and the policy need not end, or the
            system is too large for rationals.
    """
    game, discount = with_discount(game, gamma)
    chain = _chain(game, checked_draws(game, policy))
    if horizon is None:
        return chain_values(chain, discount)
    _check_steps(horizon)
    return _finite_values(chain, discount, horizon)


def markov_action_values(
    game: StochasticGame, policy: object, gamma: Number | None = None, *, horizon: int | None = None
) -> NDArray[Any]:
    """Return Q_i(s, a) of a Markov policy for every agent, state and joint action, shape [n, S, A_1, .., A_n].

    Arguments and errors are those of markov_values. With a horizon the joint action is the first of its steps.
    """
    game, discount = with_discount(game, gamma)
    if horizon == 0:
        raise InputError("horizon is 0: an action value needs at least one step, the one of the action")
    values = markov_values(game, policy, discount, horizon=None if horizon is None else horizon - 1)
    returns = game.rewards + discount * values[:, game.successors]
    return np.asarray((game.probabilities * returns).sum(axis=-1))  # Q


def markov_return(
    game: StochasticGame, policy: object, gamma: Number | None = None, *, horizon: int | None = None
) -> NDArray[Any]:
    """Return U_i of a Markov policy for every agent, shape [n]; arguments and errors as for markov_values."""
    values = markov_values(game, policy, gamma, horizon=horizon)
    initial = game.initial if values.dtype == object else game.initial.astype(np.float64)
    return np.asarray(values @ initial)  # U


class HistoryReturns:
    """V, Q and U of one joint policy over full histories, with all episodes cut after a number of steps.

    Attributes:
        game: the partially observable stochastic game, in the numbers that are worked with.
        gamma: the discount.
        horizon: the number of joint actions after which an episode is cut.
    """

    def __init__(self, game: POSG, policy: object, horizon: int, gamma: Number | None = None) -> None:
        """Prepare the recursion; nothing is computed yet.

        Args:
            game: the game.
            policy: n functions, the i-th from agent i's own observations (o_i^0, .., o_i^t) to A_i probabilities; or
                one function from the joint observations sigma(h) to probabilities [A_1, .., A_n]. A function is asked
                once for each of its arguments.
            horizon: the number of steps, at most tree.MAX_HORIZON.
            gamma: the discount in [0, 1]; the game's own where it is left out.

        Raises:
            InputError: the policy is neither form, or horizon or gamma do not fit.
        """
        base, self.gamma = with_discount(game.game, gamma)
        self.game = game if base.exact else game.as_float64()
        self.horizon = checked_horizon(horizon)
        self._pi = joint_policy(self.game, policy)
        self._tree = GameTree(self.game)
        self._values: dict[tuple[int, Joint], NDArray[Any]] = {}

    def v(self, history: History) -> NDArray[Any]:
        """Return V_i(h) for every agent, shape [n].

        Raises:
            InputError: the history is none of this game, or longer than the horizon.
        """
        self._check(history)
        return self._value(history.states[-1], sigma(history))

    def q(self, history: History, a: JointAction) -> NDArray[Any]:
        """Return Q_i(h, a) for every agent, shape [n].

        Raises:
            InputError: the history is none of this game or has no step left, or there is no such joint action.
        """
        self._check(history)
        if len(history.actions) == self.horizon:
            raise InputError(f"the history has {self.horizon} actions, all that the horizon allows: none can follow")
        _check_joint(a, self.game.game.n_actions, "a")
        return self._action_value(history.states[-1], sigma(history), tuple(a))

    def u(self) -> NDArray[Any]:
        """Return U_i for every agent, shape [n]."""
        total = self._zero()
        for s, o, chance in self._tree.starts():
            total = total + chance * self._value(s, (o,))  # U
        return total

    def _value(self, s: int, observed: Joint) -> NDArray[Any]:
        """V_i(h), remembered by what it depends on: the policy reads sigma(h), and the game its last state."""
        if self.game.game.terminal[s] or len(observed) > self.horizon:
            return self._zero()
        if (s, observed) not in self._values:
            total = self._zero()
            for a, probability in self._pi(observed):
                total = total + probability * self._action_value(s, observed, a)  # V
            self._values[s, observed] = total
            self._check_room()
        return self._values[s, observed]

    def _action_value(self, s: int, observed: Joint, a: JointAction) -> NDArray[Any]:
        total = self._zero()
        for successor, chance, rewards in self._tree.outcomes(s, a):
            following = self._zero()
            for o, seen in self._tree.observations(a, successor):
                following = following + seen * self._value(successor, (*observed, o))  # Q
            total = total + chance * (rewards + self.gamma * following)  # Q
        return total

    def _zero(self) -> NDArray[Any]:
        return np.zeros(self.game.n_agents, dtype=self.game.game.rewards.dtype)

    def _check_room(self) -> None:
        if len(self._values) > MAX_HISTORIES:
            raise InputError(
                f"more than {MAX_HISTORIES} pairs of a state and joint observations are reached: take a shorter "
                "horizon or a smaller game"
            )

    def _check(self, history: History) -> None:
        states, observations, actions = history.states, history.observations, history.actions
        if not len(states) == len(observations) == len(actions) + 1:
            raise InputError(
                f"the history has {len(states)} states, {len(observations)} joint observations and {len(actions)} "
                "joint actions: it needs as many observations as states, and one action less"
            )
        if len(actions) > self.horizon:
            raise InputError(f"the history has {len(actions)} actions, and the horizon is {self.horizon}: cut it")
        for t, s in enumerate(states):
            _check_joint((s,), (self.game.game.n_states,), f"states[{t}]")
        for t, o in enumerate(observations):
            _check_joint(o, self.game.n_observations, f"observations[{t}]")
        for t, a in enumerate(actions):
            _check_joint(a, self.game.game.n_actions, f"actions[{t}]")


def expected_return(game: POSG, policy: object, horizon: int, gamma: Number | None = None) -> NDArray[Any]:
    """Return U_i for every agent, shape [n]; arguments and errors as for HistoryReturns."""
    return HistoryReturns(game, policy, horizon, gamma).u()


def _chain(game: StochasticGame, draws: Draws) -> Chain:
    """Let the policy draw the joint action: the outcomes of all that it may draw, side by side."""
    chances = draws.probabilities if game.exact else draws.probabilities.astype(np.float64)
    index = (np.arange(game.n_states)[:, None], *np.moveaxis(draws.actions, -1, 0))
    weights = chances[..., None] * game.probabilities[index]
    rewards = np.stack([(weights * own[index]).reshape(game.n_states, -1).sum(axis=-1) for own in game.rewards])
    shape = (game.n_states, -1)
    return Chain(game.successors[index].reshape(shape), weights.reshape(shape), rewards, game.terminal)


def _finite_values(chain: Chain, gamma: Number, horizon: int) -> NDArray[Any]:
    values = np.zeros_like(chain.rewards)
    for _ in range(horizon):
        following = (chain.probabilities * values[:, chain.successors]).sum(axis=-1)
        values = chain.rewards + gamma * following
    return values


def _check_steps(horizon: int) -> None:
    if isinstance(horizon, bool) or horizon < 0:
        raise InputError(f"horizon is {horizon}: it is a number of steps, zero or more")


def _check_joint(chosen: Sequence[int], counts: Sequence[int], place: str) -> None:
    if len(chosen) != len(counts) or not all(k in range(count) for k, count in zip(chosen, counts, strict=False)):
        limits = " x ".join(f"0..{count - 1}" for count in counts)
        raise InputError(f"{place} is {tuple(chosen)}: the game has {limits}")
