"""Many seeds at once give the numbers of each seed alone, bit for bit; and the pieces that both are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import chicken, climbing, coordination, two_step
from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import from_staged, one_step, repeated
from marlspec.reference.parts import many_seeds
from marlspec.reference.parts.many_seeds import ManyCQL, ManyIQL, greedy_actions
from marlspec.reference.parts.scalarisation import one_agents, scalarisation, total, weighted
from marlspec.reference.parts.tabular import GameTables, generator_of, greedy_action, pick, random_action
from marlspec.reference.parts.tabular_config import CQLConfig, TabularConfig
from marlspec.reference.tabular.cql import CQL
from marlspec.reference.tabular.iql import IQL

SCHEDULES = {"epsilon_start": 0.9, "epsilon_end": 0.2, "epsilon_steps": 40, "alpha_start": 0.7, "alpha_steps": 50}
BELOW_ONE = 1 - 2.0**-53


@pytest.fixture(params=["chance", "one step", "repeated", "staged", "three agents"])
def game(request, chance):
    if request.param == "chance":
        return chance
    games = {
        "one step": lambda: one_step(climbing()),
        "repeated": lambda: repeated(chicken(), 0.75),
        "staged": lambda: from_staged(two_step()),
        "three agents": lambda: one_step(coordination(3, 4)),
    }
    return games[request.param]()


@pytest.mark.parametrize("changes", [{}, {"horizon": 4}, {"gamma": 0.5, "scalarisation": "agent:1"}])
def test_cql_of_many_seeds_is_cql_of_each(game, changes):
    config = CQLConfig(seeds=3, seed=11, **SCHEDULES, **changes)
    many = ManyCQL(game, config)
    many.run(67)
    for k in range(3):
        alone = CQL(game, config, generator_of(11, k))
        alone.run(67)
        np.testing.assert_array_equal(many.q[k], alone.q)
        assert_same_clock(many, alone, k)


@pytest.mark.parametrize("changes", [{}, {"horizon": 4}, {"gamma": 0.5}])
def test_iql_of_many_seeds_is_iql_of_each(game, changes):
    config = TabularConfig(seeds=3, seed=11, **SCHEDULES, **changes)
    many = ManyIQL(game, config)
    many.run(67)
    for k in range(3):
        alone = IQL(game, config, generator_of(11, k))
        alone.run(67)
        for mine, theirs in zip(many.q, alone.q, strict=True):
            np.testing.assert_array_equal(mine[k], theirs)
        assert_same_clock(many, alone, k)


def assert_same_clock(many, alone, k):
    assert many.t == alone.t == 67
    assert many.over[k] == alone.over
    assert many.state[k] == alone.state
    assert many.length[k] == alone.length


def test_the_number_of_seeds_and_of_steps_at_once_changes_nothing(chance, monkeypatch):
    whole = ManyIQL(chance, TabularConfig(seeds=5, **SCHEDULES))
    whole.run(60)
    monkeypatch.setattr(many_seeds, "NUMBERS_AT_ONCE", 100)
    parts = ManyIQL(chance, TabularConfig(seeds=3, **SCHEDULES))
    reports = []
    for steps in (1, 0, 40, 19):
        parts.run(steps, reports.append)
    for all_seeds, some in zip(whole.q, parts.q, strict=True):
        np.testing.assert_array_equal(all_seeds[:3], some)
    assert reports == [1, 40, 19]


def test_seeds_differ(chance):
    many = ManyCQL(chance, CQLConfig(seeds=2))
    many.run(50)
    other = ManyCQL(chance, CQLConfig(seeds=2, seed=1))
    other.run(50)
    assert (many.q[0] != many.q[1]).any()
    assert (many.q != other.q).any()


def test_greedy_joint_actions_hold_every_tie():
    one = ManyCQL(one_step(climbing()), CQLConfig(seeds=1))
    one.q[0, 0] = [[1, 5, 5], [0, 0, 0], [5, 0, 0]]
    assert np.argwhere(one.greedy(0)[0]).tolist() == [[0, 1], [0, 2], [2, 0]]
    assert one.greedy(0)[1].all()
    two = ManyIQL(one_step(coordination(3, 3)), TabularConfig(seeds=2))
    two.q[0][1, 0], two.q[1][1, 0], two.q[2][1, 0] = [1, 0, 1], [0, 2, 0], [3, 3, 2]
    assert np.argwhere(two.greedy(1)[0]).tolist() == [[0, 1, 0], [0, 1, 1], [2, 1, 0], [2, 1, 1]]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0, BELOW_ONE))
@settings(max_examples=50, deadline=None)
def test_the_greedy_choice_of_many_is_the_greedy_choice_of_each(rows, u):
    values = np.array(rows, dtype=float)
    chosen = greedy_actions(values.T, np.full(len(rows), u))
    assert [(int(a),) for a in chosen] == [greedy_action(row, u) for row in values]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 10, 49, 625])
def test_the_largest_uniform_number_picks_the_last_action(count):
    values = np.zeros(count)
    assert random_action(values, BELOW_ONE) == greedy_action(values, BELOW_ONE) == (count - 1,)
    assert greedy_actions(values[:, None], np.array([BELOW_ONE])) == [count - 1]
    assert random_action(values, 0.0) == greedy_action(values, 0.0) == (0,)


def test_random_actions_of_several_agents_are_alike_probable():
    values = np.zeros((2, 3))
    taken = [random_action(values, (k + 0.5) / 60) for k in range(60)]
    assert all(taken.count((a, b)) == 10 for a in range(2) for b in range(3))


def test_pick_never_picks_what_has_probability_zero():
    for probabilities in ([0, 0.5, 0, 0.5, 0], [0.1] * 10 + [0, 0], [0, 1], [1 / 3, 1 / 3, 1 / 3, 0]):
        cumulative = np.cumsum(probabilities, dtype=float)
        numbers = np.append(np.arange(960) / 960, BELOW_ONE)
        many = pick(np.tile(cumulative, (961, 1)), numbers)
        assert many.tolist() == [int(pick(cumulative, u)) for u in numbers]
        shares = np.bincount(many[:-1], minlength=len(probabilities)) / 960
        assert shares == pytest.approx(probabilities, abs=1.5 / 960)
        assert all(probabilities[m] > 0 for m in many)


def test_the_tables_play_the_game(chance):
    tables = GameTables(chance)
    for s, a, b in np.ndindex(4, 2, 3):
        for u in (0.0, 0.3, 0.6, 0.99):
            rewards, following, terminated = tables.outcome(s, 3 * a + b, u)
            level, m = 0.0, -1
            while level <= u:
                m += 1
                level += float(chance.probabilities[s, a, b, m])
            assert following == chance.successors[s, a, b, m]
            assert rewards.tolist() == [float(own) for own in chance.rewards[:, s, a, b, m]]
            assert terminated == chance.terminal[following]


def test_scalarisations():
    rewards = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 0.25]])
    assert total()(rewards).tolist() == [7.0, -0.25]
    assert weighted((2, 0, -1))(rewards).tolist() == [-2.0, 0.75]
    assert one_agents(1)(rewards).tolist() == [2.0, -1.0]
    for text, scalar in [("sum", 7.0), ("weighted:2,0,-1", -2.0), ("weighted: 1, 1.5, .25", 5.0), ("agent:2", 4.0)]:
        assert scalarisation(text, 3)(rewards[0]) == scalar


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12))
def test_scalarisations_give_the_same_bits_alone_and_in_a_batch(rewards):
    batch = np.array([rewards] * 3)
    for scalar_reward in (total(), weighted(range(len(rewards)))):
        assert scalar_reward(batch).tolist() == [scalar_reward(batch[0])] * 3


@pytest.mark.parametrize("many", [ManyCQL, ManyIQL])
def test_a_game_without_end_needs_a_discount_below_one(many):
    game = repeated(NormalFormGame.common_reward([[1, 2]]), 1)
    with pytest.raises(InputError, match=r"gamma is 1 and .* never ends"):
        many(game, many.config_type())
    assert many(game, many.config_type(gamma=0.5)).gamma == 0.5


@pytest.mark.parametrize(
    ("name", "value", "demand"),
    [
        ("seeds", 0, "positive"),
        ("steps", -1, "0 or more"),
        ("horizon", -1, "0 or more"),
        ("epsilon_end", 1.5, "between 0 and 1"),
        ("alpha_start", -0.1, "between 0 and 1"),
        ("gamma", float("nan"), "between 0 and 1"),
    ],
)
def test_settings_outside_their_range_are_refused(name, value, demand):
    with pytest.raises(InputError, match=f"{name} is .*{demand}"):
        TabularConfig(**{name: value})
