"""The recursive expected return, against plain enumeration of all full histories and against bounds."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.histories import History, beginning
from marlspec.games.posg import POSG, full_observation, own_action_observation, state_observation
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated
from marlspec.reference.solution import expected_return as module
from marlspec.reference.solution.expected_return import (
    HistoryReturns,
    expected_return,
    markov_action_values,
    markov_return,
    markov_values,
)
from marlspec.reference.solution.nash import expected_rewards

HALF, NINE_TENTHS = Fraction(1, 2), Fraction(9, 10)
SEEDS = st.integers(0, 2**32)


def episodes(game, policy, horizon, start):
    """Yield every full history after `horizon` steps or at a terminal state, its probability and its rewards.

    From the dense tables of Definitions 1 and 2, with nothing left out but what has probability zero; independent of
    the code under test. `start` holds (probability, history) pairs.
    """
    flow, paid = game.game.transition_matrix(), game.game.reward_table()

    def chance_of(o, tables):
        chance = Fraction(1)
        for o_i, table in zip(o, tables, strict=True):
            chance *= table[o_i]
        return chance

    def grow(chance, history, rewards):
        s = history.states[-1]
        if len(rewards) == horizon or game.game.terminal[s]:
            yield chance, history, rewards
            return
        mixes = [function(tuple(o[i] for o in history.observations)) for i, function in enumerate(policy)]
        for a in game.game.joint_actions():
            drawn = chance * chance_of(a, mixes)
            for successor, o in product(range(game.game.n_states), product(*map(range, game.n_observations))):
                seen = chance_of(o, [table[(*a, successor)] for table in game.observation])
                weight = drawn * flow[(s, *a, successor)] * seen
                if weight:
                    received = paid[(slice(None), s, *a, successor)]
                    yield from grow(weight, history.then(a, successor, o), [*rewards, received])

    for chance, history in start:
        yield from grow(chance, history, [])


def beginnings(game):
    for s, o in product(range(game.game.n_states), product(*map(range, game.n_observations))):
        chance = game.game.initial[s]
        for o_i, table in zip(o, game.first_observation, strict=True):
            chance = chance * table[s, o_i]
        if chance:
            yield chance, beginning(s, o)


def discounted(found, gamma, n_agents):
    """Sum up probability times discounted rewards."""
    total = np.zeros(n_agents, dtype=object)
    for chance, _, rewards in found:
        for t, received in enumerate(rewards):
            total = total + chance * gamma**t * received
    return total


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 2), st.sampled_from([Fraction(0), HALF, NINE_TENTHS, Fraction(1)]))
def test_u_agrees_with_enumeration_of_full_histories(random_posg, random_history_policy, seed, horizon, gamma):
    game = random_posg(seed, n_states=2)
    policy = random_history_policy(seed, game)
    required = discounted(episodes(game, policy, horizon, beginnings(game)), gamma, game.n_agents)
    found = expected_return(game, policy, horizon, gamma)
    assert np.array_equal(found, required)
    assert all(isinstance(value, int | Fraction) for value in found)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([HALF, Fraction(1)]))
def test_v_and_q_agree_with_enumeration_of_what_follows(random_posg, random_history_policy, seed, gamma):
    """From histories of one action: V over the step that is left; Q of the first step over both."""
    game = random_posg(seed, n_agents=2, n_states=2)
    policy = random_history_policy(seed, game)
    returns = HistoryReturns(game, policy, 2, gamma)
    for _, first in beginnings(game):
        for a in game.game.joint_actions():
            decided = [lambda own, a_i=a_i, f=f: one_hot_first(own, a_i, f) for a_i, f in zip(a, policy, strict=True)]
            after = [*episodes(game, decided, 2, [(1, first)])]
            assert np.array_equal(returns.q(first, a), discounted(after, gamma, 2))
        after = [*episodes(game, policy, 1, [(1, first)])]
        for _, history, _ in after:
            left = 2 - history.t
            required = discounted(episodes(game, policy, left, [(1, history)]), gamma, 2)
            assert np.array_equal(returns.v(history), required)


def one_hot_first(own, action, function):
    """The given action with certainty at time 0, the policy afterwards."""
    mix = function(own)
    return [int(k == action) for k in range(len(mix))] if len(own) == 1 else mix


def test_each_policy_is_asked_once_for_each_own_history():
    game = own_action_observation(repeated(get("prisoners-dilemma"), HALF))
    asked = []

    def uniform(own):
        asked.append(own)
        return [HALF, HALF]

    expected_return(game, (uniform, lambda own: [HALF, HALF]), 3)
    assert len(asked) == len(set(asked)) == 1 + 2 + 4


def test_policies_are_not_asked_after_the_end():
    game = state_observation(one_step(get("prisoners-dilemma")))

    def once(own):
        assert own == (0,)
        return [1, 0]

    assert expected_return(game, (once, once), 3).tolist() == [-1, -1]
    over = beginning(0, (0, 0)).then((0, 0), 1, (1, 1))
    returns = HistoryReturns(game, (once, once), 3)
    assert returns.v(over).tolist() == [0, 0]
    assert returns.q(over, (1, 1)).tolist() == [0, 0]


def test_a_joint_policy_may_correlate():
    """A fair coin that both see makes the pennies match always; independent coins match half the time."""
    game = state_observation(repeated(get("matching-pennies"), HALF))
    diagonal = [[HALF, 0], [0, HALF]]
    assert expected_return(game, lambda observed: diagonal, 3).tolist() == [Fraction(7, 4), -Fraction(7, 4)]
    assert expected_return(game, [lambda own: [HALF, HALF]] * 2, 3).tolist() == [0, 0]


def test_a_joint_policy_reads_all_observations():
    game = own_action_observation(repeated(get("prisoners-dilemma"), HALF))
    seen = []

    def cooperate(observed):
        seen.append(observed)
        return [[1, 0], [0, 0]]

    assert expected_return(game, cooperate, 2).tolist() == [Fraction(-3, 2)] * 2
    assert seen == [((0, 0),), ((0, 0), (1, 1))]


GRIM_LABELS = ("C", "D")


def grim(game, i):
    """Cooperate until anyone has defected."""
    labels = game.observation_labels[i]
    return lambda own: [0, 1] if any("D" in labels[o] for o in own) else [1, 0]


def test_grim_trigger_against_itself_and_against_defection():
    game = full_observation(repeated(get("prisoners-dilemma"), Fraction(1)))
    policy = (grim(game, 0), grim(game, 1))
    assert expected_return(game, policy, 4).tolist() == [-4, -4]
    assert expected_return(game, (policy[0], lambda own: [0, 1]), 4).tolist() == [-5 - 9, 0 - 9]


def test_gamma_discounts_and_defaults_to_the_games_own():
    game = full_observation(repeated(get("prisoners-dilemma"), HALF))
    policy = (grim(game, 0), grim(game, 1))
    assert expected_return(game, policy, 3).tolist() == [Fraction(-7, 4)] * 2
    assert expected_return(game, policy, 3, 1).tolist() == [-3, -3]
    assert expected_return(game, policy, 0).tolist() == [0, 0]


def test_floats_in_floats_out():
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    policy = [lambda own: [0.25, 0.75]] * 2
    exact = expected_return(game, policy, 3)
    assert exact.dtype == object
    for rounded in (expected_return(game.as_float64(), policy, 3), expected_return(game, policy, 3, 0.5)):
        assert rounded.dtype == np.float64
        assert rounded.tolist() == pytest.approx([float(value) for value in exact])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ((lambda own: [1, 0],), "tuple of 2 functions, one for each agent, not a tuple of length 1"),
        ([[1, 0], [1, 0]], r"policy\[0\] is a list of length 2: a history policy is a function"),
        ((lambda own: [1, 0], lambda own: [1, 1]), r"policy\[1\]\(0,\) sums to 2"),
        ((lambda own: [1, 0], lambda own: [1]), r"policy\[1\]\(0,\) has shape \(1,\)"),
        (lambda observed: [1, 0], r"policy\(\(0, 0\),\) has shape \(2,\) where 2x2"),
        (None, "tuple of 2 functions"),
    ],
)
def test_bad_policies_are_refused(policy, message):
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    with pytest.raises(InputError, match=message):
        expected_return(game, policy, 2)


@pytest.mark.parametrize("horizon", [-1, True, 101])
def test_a_horizon_is_a_number_of_steps(horizon):
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    with pytest.raises(InputError, match="a number of steps from 0 to 100"):
        expected_return(game, [lambda own: [1, 0]] * 2, horizon)


def test_the_longest_horizon_fits_the_stack():
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    assert expected_return(game, [lambda own: [1, 0]] * 2, 100, 1).tolist() == [-100, -100]


def test_too_many_histories_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_HISTORIES", 20)
    game = full_observation(repeated(get("prisoners-dilemma"), HALF))
    with pytest.raises(InputError, match="more than 20 pairs of a state and joint observations"):
        expected_return(game, [lambda own: [HALF, HALF]] * 2, 3)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (History((0, 0), ((0, 0),), ()), "2 states, 1 joint observations and 0 joint actions"),
        (History((1,), ((0, 0),), ()), r"states\[0\] is \(1,\): the game has 0..0"),
        (History((0,), ((0, 1),), ()), r"observations\[0\] is \(0, 1\)"),
        (History((0, 0), ((0, 0),) * 2, ((0, 2),)), r"actions\[0\] is \(0, 2\): the game has 0..1 x 0..1"),
        (History((0,) * 3, ((0, 0),) * 3, ((0, 0),) * 2), "has 2 actions, and the horizon is 1"),
    ],
)
def test_bad_histories_are_refused(history, message):
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    returns = HistoryReturns(game, [lambda own: [1, 0]] * 2, 1)
    with pytest.raises(InputError, match=message):
        returns.v(history)


def test_action_values_need_a_step_that_is_left_and_an_action_that_exists():
    game = state_observation(repeated(get("prisoners-dilemma"), HALF))
    returns = HistoryReturns(game, [lambda own: [1, 0]] * 2, 1)
    with pytest.raises(InputError, match="none can follow"):
        returns.q(beginning(0, (0, 0)).then((0, 0), 0, (0, 0)), (0, 0))
    with pytest.raises(InputError, match=r"a is \(0, 2\)"):
        returns.q(beginning(0, (0, 0)), (0, 2))


# Markov policies


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([Fraction(0), HALF, NINE_TENTHS]))
def test_markov_values_satisfy_the_equations_without_rounding(random_game, random_markov_policy, seed, gamma):
    game = random_game(seed)
    policy = random_markov_policy(seed, game)
    values, action_values = markov_values(game, policy, gamma), markov_action_values(game, policy, gamma)
    flow, paid = game.transition_matrix(), game.reward_table()
    for i in range(game.n_agents):
        assert np.array_equal(action_values[i], (flow * (paid[i] + gamma * values[i])).sum(-1))
        for s in range(game.n_states):
            chances = [(a, np.prod([policy[j][s][a_j] for j, a_j in enumerate(a)])) for a in game.joint_actions()]
            assert values[i, s] == sum(p * action_values[(i, s, *a)] for a, p in chances)
    assert np.array_equal(markov_return(game, policy, gamma), values @ game.initial)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_the_linear_system_lies_within_the_bounds_of_the_cut_sum(random_game, random_markov_policy, seed):
    """What comes after T steps is worth gamma^T / (1 - gamma) times the largest reward at most."""
    game = random_game(seed)
    policy = random_markov_policy(seed, game)
    bound = HALF**12 / (1 - HALF) * 2  # rewards lie between -2 and 2
    cut = markov_values(game, policy, HALF, horizon=12)
    assert (abs(markov_values(game, policy, HALF) - cut) <= bound).all()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, 3))
def test_cut_markov_values_agree_with_the_recursion_over_histories(random_game, random_markov_policy, seed, horizon):
    """Agents that observe the state alone, and play by the last one."""
    game = random_game(seed, n_states=2)
    mixes = random_markov_policy(seed, game)
    watched = state_observation(game)
    policy = [lambda own, rows=rows: rows[own[-1]] for rows in mixes]
    found = expected_return(watched, policy, horizon)
    assert np.array_equal(found, markov_return(game, mixes, horizon=horizon))


def test_a_chain_that_ends_needs_no_discount():
    """Heads ends it: the number of tosses of a coin with chance p is 1/p on average."""
    third = Fraction(1, 3)
    game = StochasticGame([[[1 - third, third]], [[0, 1]]], [[[1], [0]]], [1, 0], [False, True])
    assert markov_values(game, ([[1], [1]],)).tolist() == [[3, 0]]
    np.testing.assert_allclose(markov_values(game.as_float64(), ([[1], [1]],)), [[3, 0]])


def test_without_discount_and_end_there_is_no_value():
    game = repeated(get("prisoners-dilemma"), 1)
    with pytest.raises(InputError, match=r"under this policy state 0 never reaches a terminal state.*gamma < 1"):
        markov_values(game, ([[1, 0]], [[1, 0]]))
    assert markov_values(game, ([[1, 0]], [[1, 0]]), horizon=5).tolist() == [[-5], [-5]]


def test_a_policy_that_never_ends_is_refused_though_others_end():
    stay_or_leave = StochasticGame([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[[1, 1], [0, 0]]], [1, 0], [False, True])
    assert markov_values(stay_or_leave, ([[HALF, HALF], [1, 0]],)).tolist() == [[2, 0]]
    with pytest.raises(InputError, match="state 0 never reaches"):
        markov_values(stay_or_leave, ([[1, 0], [1, 0]],))


def test_an_end_that_the_policy_does_not_choose_is_no_end():
    """State 0 mixes staying and leaving, state 1 stays for ever, though it could leave as well."""
    game = StochasticGame(
        [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]],
        [[[1, 1], [1, 1], [0, 0]]],
        [1, 0, 0],
        [False, False, True],
    )
    with pytest.raises(InputError, match="state 1 never reaches"):
        markov_values(game, ([[HALF, HALF], [1, 0], [1, 0]],))


def test_staged_games_are_valued_by_backward_induction():
    game = from_staged(get("two-step"))
    uniform = tuple(np.full((4, 2), HALF) for _ in range(2))
    gamma = Fraction(99, 100)
    assert markov_values(game, uniform).tolist() == [[gamma * (7 + HALF * 5) / 2, 7, Fraction(5, 2), 0]] * 2


def test_one_step_games_are_worth_the_expected_rewards():
    base = get("chicken")
    mixes = ([Fraction(1, 3), Fraction(2, 3)], [Fraction(1, 4), Fraction(3, 4)])
    policy = tuple([mix, [1, 0]] for mix in mixes)
    assert markov_return(one_step(base), policy).tolist() == expected_rewards(base, mixes).tolist()


def test_joint_markov_policies_correlate():
    joint = np.array([[[HALF, 0], [0, HALF]]])
    assert markov_values(repeated(get("matching-pennies"), HALF), joint).tolist() == [[2], [-2]]


def test_markov_floats_in_floats_out():
    game = repeated(get("chicken"), NINE_TENTHS)
    policy = ([[0.25, 0.75]], [[0.5, 0.5]])
    exact = markov_values(game, policy)
    assert exact.dtype == object
    for rounded in (markov_values(game.as_float64(), policy), markov_values(game, policy, 0.9)):
        assert rounded.dtype == np.float64
        np.testing.assert_allclose(rounded, exact.astype(float), rtol=1e-12)
    cut = markov_values(game.as_float64(), policy, horizon=3)
    np.testing.assert_allclose(cut, markov_values(game, policy, horizon=3).astype(float), rtol=1e-12)
    assert markov_action_values(game.as_float64(), policy).dtype == np.float64


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (([[1, 0]],), "one array .* for each of the 2 agents, not a tuple of length 1"),
        (
            ([[1, 0]], [[1, 0], [1, 0]]),
            r"policy\[1\] holds one distribution for each of the 1 states, not a list of len",
        ),
        (([[1, 0]], [[1, 0, 0]]), r"policy\[1\]\[0\] has shape \(3,\)"),
        (([[1, 0]], [[1, HALF]]), r"policy\[1\]\[0\] sums to 3/2"),
        (np.ones((1, 2, 2)), r"policy\[0\] sums to 4"),
        (np.ones((1, 2)), r"policy\[0\] has shape \(2,\) where 2x2"),
        (
            np.ones((3, 2, 2)),
            r"policy holds one distribution for each of the 1 states, not an array of shape \(3, 2, 2\)",
        ),
        (3, "not an object of type int"),
    ],
)
def test_bad_markov_policies_are_refused(policy, message):
    with pytest.raises(InputError, match=message):
        markov_values(repeated(get("chicken"), HALF), policy)


def test_bad_horizons_of_markov_values_are_refused():
    game = repeated(get("chicken"), HALF)
    policy = ([[1, 0]], [[1, 0]])
    with pytest.raises(InputError, match="horizon is -1"):
        markov_values(game, policy, horizon=-1)
    with pytest.raises(InputError, match="horizon is 0: an action value needs at least one step"):
        markov_action_values(game, policy, horizon=0)
    assert np.array_equal(markov_action_values(game, policy, horizon=1)[:, 0], get("chicken").payoffs)


def test_observations_that_lag_change_what_a_policy_can_do():
    """An agent that cannot tell two states apart is paid as often by chance as it misses."""
    game = StochasticGame([[[0, 0, 1]] * 2] * 3, [[[1, 0], [0, 1], [0, 0]]], [HALF, HALF, 0], [False, False, True])
    blind = POSG(game, [np.ones((2, 3, 1), dtype=int)], [np.ones((3, 1), dtype=int)])
    sighted = state_observation(game)
    assert expected_return(blind, [lambda own: [1, 0]], 1).tolist() == [HALF]
    assert expected_return(sighted, [lambda own: [1, 0] if own[-1] == 0 else [0, 1]], 1).tolist() == [1]
