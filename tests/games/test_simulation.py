from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.histories import sigma_i
from marlspec.games.posg import POSG, full_observation, own_action_observation
from marlspec.games.simulation import discounted_return, play
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated

HALF = Fraction(1, 2)


def uniform(count):
    return lambda observations: [Fraction(1, count)] * count


def always(action, count):
    return lambda observations: [int(k == action) for k in range(count)]


def test_a_game_without_chance_is_played_to_its_end():
    game = from_staged(get("two-step"))
    history, rewards, terminated = play(game, [always(1, 2), always(1, 2)], np.random.default_rng(0), horizon=9)
    assert history.states == (0, 2, 3)
    assert history.actions == ((1, 1), (1, 1))
    assert history.observations == ((0, 0), (2, 2), (3, 3))
    assert rewards.tolist() == [[0, 0], [8, 8]]
    assert rewards.dtype == object
    assert terminated
    assert discounted_return(rewards, game.gamma).tolist() == [Fraction(198, 25)] * 2


def test_the_horizon_cuts_off_without_terminating():
    game = repeated(get("prisoners-dilemma"), HALF)
    episode = play(game, [always(0, 2), always(1, 2)], np.random.default_rng(0), horizon=3)
    assert not episode.terminated
    assert episode.history.t == 3
    assert episode.rewards.tolist() == [[-5, 0]] * 3
    assert discounted_return(episode.rewards, HALF).tolist() == [-5 * (1 + HALF + HALF**2), 0]
    assert discounted_return(episode.rewards.astype(float), 0.5).dtype == np.float64


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_episode_is_possible_and_pays_what_the_tables_say(any_posg, data):
    posg = any_posg(data)
    game = posg.game
    policies = [uniform(count) for count in game.n_actions]
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    horizon = data.draw(st.integers(1, 6))
    history, rewards, terminated = play(posg, policies, generator, horizon=horizon)
    transitions, table = game.transition_matrix(), game.reward_table()
    assert game.initial[history.states[0]] > 0
    assert len(history.states) == len(history.observations) == len(rewards) + 1 == history.t + 1
    assert terminated == game.terminal[history.states[-1]]
    assert terminated or history.t == horizon
    assert not game.terminal[list(history.states[:-1])].any()
    for i, start in enumerate(posg.first_observation):
        assert start[history.states[0], history.observations[0][i]] > 0
    for t, a in enumerate(history.actions):
        s, after = history.states[t : t + 2]
        assert transitions[(s, *a, after)] > 0
        assert rewards[t].tolist() == table[(slice(None), s, *a, after)].tolist()
        for i, observation in enumerate(posg.observation):
            assert observation[(*a, after, history.observations[t + 1][i])] > 0


def test_draws_follow_mu_the_policies_transitions_and_observations(draws_fit):
    """Each of nine counts fails once in a million where the simulation is right."""
    generator = np.random.default_rng(1)
    transitions = generator.dirichlet([1, 1, 1], (3, 2, 2))
    game = StochasticGame(transitions, np.zeros((2, 3, 2, 2)), [0.2, 0.5, 0.3], [False] * 3)
    later = [generator.dirichlet([1, 1], (2, 2, 3)) for _ in range(2)]
    first = [generator.dirichlet([1, 1], 3) for _ in range(2)]
    posg = POSG(game, later, first)
    choice = [0.25, 0.75]
    policies = [lambda observations: choice, lambda observations: choice[::-1]]
    episodes = [play(posg, policies, generator, horizon=1).history for _ in range(1000)]
    starts, states, actions = np.zeros(3), np.zeros((3, 2, 2, 3)), np.zeros((2, 2))
    seen_first, seen_later = np.zeros((2, 3, 2)), np.zeros((2, 2, 2, 3, 2))
    for history in episodes:
        (s, after), (a,) = history.states, history.actions
        starts[s] += 1
        actions[a] += 1
        states[(s, *a, after)] += 1
        for i in range(2):
            seen_first[i, s, history.observations[0][i]] += 1
            seen_later[(i, *a, after, history.observations[1][i])] += 1
    assert draws_fit(starts, game.initial)
    assert draws_fit(actions.ravel(), np.outer(choice, choice[::-1]).ravel())
    assert draws_fit(states[1, 0, 0], transitions[1, 0, 0])
    assert draws_fit(states[1, 1, 0], transitions[1, 1, 0])
    assert draws_fit(states[0, 0, 0], transitions[0, 0, 0])
    assert draws_fit(seen_first[0, 1], first[0][1])
    assert draws_fit(seen_first[1, 1], first[1][1])
    assert draws_fit(seen_later[0, 0, 0, 1], later[0][0, 0, 1])
    assert draws_fit(seen_later[1, 0, 0, 2], later[1][0, 0, 2])


def test_agents_observe_and_act_independently(draws_fit):
    """Fails once in a million: a joint table of two fair coins, first of observations, then of actions."""
    game = repeated(get("chicken"), HALF)
    fair = np.full((2, 2, 1, 2), HALF, dtype=object)
    posg = POSG(game, [fair] * 2, [fair[0, 0]] * 2)
    episode = play(posg, [uniform(2)] * 2, np.random.default_rng(2), horizon=400)
    for pairs in (episode.history.observations, episode.history.actions):
        assert draws_fit(np.bincount([2 * x + y for x, y in pairs], minlength=4), [0.25] * 4)


def test_a_policy_sees_its_own_observations_alone():
    seen = ([], [])

    def spy(i):
        def policy(observations):
            seen[i].append(observations)
            return [HALF, HALF]

        return policy

    posg = own_action_observation(repeated(get("chicken"), HALF))
    history = play(posg, [spy(0), spy(1)], np.random.default_rng(3), horizon=4).history
    for i in range(2):
        assert seen[i] == [sigma_i(history, i)[: t + 1] for t in range(4)]
        assert sigma_i(history, i) == (0, *(1 + a[i] for a in history.actions))


def test_markov_policies_follow_the_state():
    game = from_staged(get("two-step"))
    first = [[0, 1], [1, 0], [HALF, HALF], [1, 0]]
    second = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])
    generator = np.random.default_rng(4)
    rewards = [play(game, [first, second], generator, horizon=2).rewards[1, 0] for _ in range(50)]
    assert set(rewards) == {1, 8}


def test_markov_and_history_policies_mix_and_seeds_repeat():
    game = from_staged(get("two-step-book"))
    policies = [uniform(2), np.full((4, 2), 0.5)]
    runs = [[play(game, policies, np.random.default_rng(seed), horizon=5).history for seed in range(8)] for _ in "ab"]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_an_outcome_of_probability_zero_is_never_drawn():
    class Extreme(np.random.Generator):
        """Draws twice the least number, then twice the greatest below one, and so on."""

        def __init__(self):
            super().__init__(np.random.PCG64(0))
            self.calls = 0

        def random(self):
            self.calls += 1
            return [0.0, np.nextafter(1, 0)][self.calls // 2 % 2]

    tenths = [0, *[1 / 10] * 10, 0]
    assert np.cumsum(tenths)[-1] < 1
    game = StochasticGame([[[1.0]] * 12], [[[0.0] * 12]], [1.0], [False])
    history = play(game, [lambda observations: tenths], Extreme(), horizon=6).history
    assert {a[0] for a in history.actions} <= set(range(1, 11))
    assert len(set(history.actions)) == 2


@pytest.mark.parametrize(
    ("policies", "horizon", "message"),
    [
        ([uniform(2)], 1, "policies need a list with one policy for each of the 2 agents"),
        ([uniform(2)] * 2, 0, "horizon is 0: an episode needs at least one step"),
        ([uniform(2)] * 2, True, "horizon is True"),
        ([[[1, 0]], [[1, 0]]], 1, r"policies\[0\] of shape \(1, 2\) does not fit: it needs the shape \(2, 2\)"),
        ([uniform(2), [[1, 0], [HALF, 0]]], 1, r"policies\[1\]\[1\] sums to 1/2"),
        ([uniform(2), [[1, 0], [2, -1]]], 1, r"policies\[1\]\[1\]\[1\] is -1: a probability must not be negative"),
        ([uniform(2), [[1, 0], [float("nan"), 1]]], 1, r"policies\[1\]\[1\]\[0\] is nan"),
        (
            [uniform(3), uniform(2)],
            1,
            r"policies\[0\]\(\(0,\)\) has shape \(3,\): agent 0 needs probabilities of 2 actions",
        ),
        ([uniform(2), lambda observations: [0.5, 0.6]], 1, r"policies\[1\]\(\(0,\)\) sums to 1\.1"),
        ([uniform(2), lambda observations: None], 1, r"policies\[1\]\(\(0,\)\) must be nested lists or an array"),
    ],
)
def test_what_is_no_policy_is_refused(policies, horizon, message):
    with pytest.raises(InputError, match=message):
        play(one_step(get("chicken")), policies, np.random.default_rng(0), horizon=horizon)


def test_a_policy_over_states_is_refused_where_states_are_not_observed():
    posg = full_observation(one_step(get("chicken")))
    with pytest.raises(InputError, match=r"policies\[1\] is an array over states, .* a function of its observations"):
        play(posg, [uniform(2), [[1, 0], [1, 0]]], np.random.default_rng(0), horizon=1)
