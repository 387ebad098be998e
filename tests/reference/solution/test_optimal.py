"""Optimal values of common-reward games, against backward induction and against enumeration of all policies."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated
from marlspec.reference.solution.optimal import optimal_action_values, optimal_values

HALF = Fraction(1, 2)


def best_by_enumeration(game, gamma):
    """The best value of each state over all deterministic policies, by float64 and plain dense algebra."""
    flow, paid = game.transition_matrix().astype(float), game.reward_table()[0].astype(float)
    income, states = (flow * paid).sum(-1), np.arange(game.n_states)

    def values(actions):
        rows = (states, *zip(*actions, strict=True))
        return np.linalg.solve(np.eye(len(states)) - gamma * flow[rows], income[rows])

    return np.max([values(actions) for actions in product(list(game.joint_actions()), repeat=game.n_states)], axis=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([Fraction(0), HALF, Fraction(9, 10)]))
def test_no_deterministic_policy_is_better_and_one_is_as_good(random_game, seed, gamma):
    game = random_game(seed, n_agents=2, common_reward=True)
    found = optimal_values(game, gamma)
    best = best_by_enumeration(game, float(gamma))
    np.testing.assert_allclose(found.values.astype(float), best, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([Fraction(0), HALF, Fraction(99, 100)]))
def test_the_bellman_equation_holds_without_rounding(random_game, seed, gamma):
    game = random_game(seed, common_reward=True)
    found = optimal_values(game, gamma)
    flow, paid = game.transition_matrix(), game.reward_table()[0]
    required = (flow * (paid + gamma * found.values)).sum(-1)
    required[game.terminal] = 0
    assert found.exact
    assert np.array_equal(found.action_values, required)
    assert all(found.values[s] == found.action_values[s].max() for s in range(game.n_states))


@pytest.mark.parametrize("name", ["two_step", "two_step_book"])
def test_staged_games_agree_with_backward_induction(name):
    staged = get(name.replace("_", "-"))
    found = optimal_action_values(from_staged(staged))
    for s, table in enumerate(staged.optimal_action_values()):
        assert np.array_equal(found[s], table)
    assert not found[-1].any()


def test_one_step_games_are_worth_their_table():
    game = get("climbing")
    assert np.array_equal(optimal_action_values(one_step(game))[0], game.shared_reward())


def test_repeated_climbing_is_worth_the_best_entry_for_ever():
    game = get("climbing")
    found = optimal_action_values(repeated(game, Fraction(9, 10)))
    assert np.array_equal(found[0], game.shared_reward() + Fraction(9, 10) * 110)


def circle(n_states, reward=None):
    """One agent who walks round a circle or stays; the step that closes the circle pays 1, or whatever is given."""
    successors = np.array([[[(s + 1) % n_states], [s]] for s in range(n_states)])
    rewards = np.zeros((1, n_states, 2), dtype=object)
    rewards[0, n_states - 1, 0] = 1 if reward is None else reward
    initial = [1] + [0] * (n_states - 1)
    return StochasticGame.from_outcomes(
        successors, np.ones_like(successors), rewards, initial, [False] * n_states, gamma=Fraction(9, 10)
    )


def test_a_circle_of_states_is_solved_as_one_system():
    found = optimal_values(circle(5))
    gamma = Fraction(9, 10)
    assert found.values.tolist() == [gamma ** (4 - s) / (1 - gamma**5) for s in range(5)]


def test_floats_come_out_as_floats_and_close():
    game = circle(7)
    exact = optimal_values(game)
    for rounded in (optimal_values(game.as_float64()), optimal_values(game, 0.9)):
        assert not rounded.exact
        assert rounded.action_values.dtype == np.float64
        np.testing.assert_allclose(rounded.action_values, exact.action_values.astype(float), rtol=1e-12)
    assert exact.exact
    assert "rationals" in exact.method
    assert "float64" in rounded.method


def test_numbers_too_large_for_floats_are_no_obstacle_in_rationals():
    found = optimal_values(circle(2, reward=10**400), HALF)
    assert found.values.tolist() == [Fraction(1, 2) * 10**400 / (1 - HALF**2), 10**400 / (1 - HALF**2)]


def test_general_sum_games_are_refused():
    with pytest.raises(InputError, match="not a common-reward game"):
        optimal_action_values(one_step(get("prisoners-dilemma")))


def test_without_discount_every_policy_must_end():
    with pytest.raises(InputError, match=r"from state 0 some policy never reaches a terminal state.*gamma < 1"):
        optimal_action_values(circle(3), 1)
    lazy = StochasticGame.from_outcomes(
        [[[1], [0]], [[1], [1]]], np.ones((2, 2, 1), dtype=int), np.zeros((1, 2, 2), dtype=int), [1, 0], [False, True]
    )
    with pytest.raises(InputError, match="from state 0 some policy"):
        optimal_action_values(lazy, 1)


def test_without_discount_a_game_that_ends_surely_is_solved():
    """Ending with probability one half each round is ending surely: two rounds on average."""
    game = StochasticGame([[[HALF, HALF]], [[0, 1]]], [[[1], [0]]], [1, 0], [False, True])
    assert optimal_values(game, 1).values.tolist() == [2, 0]


@pytest.mark.parametrize("gamma", [-1, 2, float("nan"), Fraction(3, 2)])
def test_a_discount_lies_between_zero_and_one(gamma):
    with pytest.raises(InputError, match="a discount is"):
        optimal_action_values(repeated(get("climbing"), HALF), gamma)


def test_too_many_linked_states_are_refused_in_rationals_and_solved_in_floats(monkeypatch):
    monkeypatch.setattr("marlspec.reference.solution.decisions.MAX_LINKED_STATES", 4)
    with pytest.raises(InputError, match=r"5 states all reach each other.*limited to 4.*as_float64"):
        optimal_values(circle(5))
    assert optimal_values(circle(5).as_float64()).values[4] == pytest.approx(1 / (1 - 0.9**5))


def test_a_game_of_one_agent_with_one_action_is_a_chain():
    game = one_step(NormalFormGame([[Fraction(7, 3)]]))
    assert optimal_action_values(game).tolist() == [[Fraction(7, 3)], [0]]
