"""CQL line by line: the update in exact numbers, and whole runs against the listing written out with dictionaries."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.games.catalogue import climbing, coordination, penalty
from marlspec.games.stochastic import one_step
from marlspec.reference.listing import load
from marlspec.reference.parts.tabular import split
from marlspec.reference.parts.tabular_config import CQLConfig
from marlspec.reference.tabular import cql

HALF, ALMOST = Fraction(1, 2), Fraction(7, 8)


def written_out(game, config, generator, steps):
    """Algorithm 4 once more, with loops and a dictionary; yields what each time step did and the values after it."""
    n_actions, S = game.n_actions, game.n_states
    joint = list(product(*map(range, n_actions)))
    Q = {(s, a): 0.0 for s in range(S) for a in joint}
    weights = {"sum": [1.0] * game.n_agents, "weighted:2,-1": [2.0, -1.0], "agent:1": [0.0, 1.0]}[config.scalarisation]
    gamma = float(game.gamma) if config.gamma is None else config.gamma
    s, length = None, 0
    for t in range(steps):
        first, outcome, coin, explored, tie = generator.random(5)
        if s is None:
            s, length = drawn(enumerate(map(float, game.initial)), first), 0
        share = min(1.0, t / config.epsilon_steps) if config.epsilon_steps else 1.0
        epsilon = config.epsilon_start + (config.epsilon_end - config.epsilon_start) * share
        share = min(1.0, t / config.alpha_steps) if config.alpha_steps else 1.0
        alpha = config.alpha_start + (config.alpha_end - config.alpha_start) * share
        best = [a for a in joint if Q[s, a] == max(Q[s, b] for b in joint)]
        a = joint[int(explored * len(joint))] if coin < epsilon else best[int(tie * len(best))]
        row = (s, *a)
        m = drawn(enumerate(map(float, game.probabilities[row])), outcome)
        following = int(game.successors[row][m])
        r = sum(w * float(game.rewards[(i, *row)][m]) for i, w in enumerate(weights))
        ahead = 0.0 if game.terminal[following] else max(Q[following, b] for b in joint)
        Q[s, a] += alpha * (r + gamma * ahead - Q[s, a])
        length += 1
        s = None if game.terminal[following] or length == config.horizon else following
        yield Q


def drawn(outcomes, u):
    total = 0.0
    for outcome, probability in outcomes:
        total += probability
        if u < total:
            return outcome
    raise AssertionError("the probabilities do not sum to one")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epsilon_start": 0.5, "epsilon_end": 0.1, "epsilon_steps": 40, "alpha_start": 0.5, "alpha_steps": 60},
        {"epsilon_end": 0.0, "epsilon_steps": 0, "horizon": 3, "gamma": 0.75},
        {"scalarisation": "weighted:2,-1", "gamma": 1.0},
        {"scalarisation": "agent:1", "horizon": 1},
    ],
)
def test_runs_agree_with_the_listing_written_out(chance, settings):
    config = CQLConfig(**{"epsilon_end": 0.3, "alpha_end": 0.25, **settings})
    learner = cql.CQL(chance, config, np.random.default_rng(7))
    for Q in written_out(chance, config, np.random.default_rng(7), 100):
        learner.step()
        expected = np.array([[[Q[s, (a, b)] for b in range(3)] for a in range(2)] for s in range(4)])
        np.testing.assert_allclose(learner.q, expected, rtol=1e-12, atol=1e-12)


def test_one_update_in_exact_numbers():
    q = np.array([[[1, 2], [3, 4]], [[5, 6], [8, 7]]], dtype=object)
    assert cql.update(q, 0, (1, 0), 10, 1, False, HALF, ALMOST)[0, 1, 0] == 3 + HALF * (10 + ALMOST * 8 - 3)
    assert cql.update(q, 0, (1, 0), 10, 1, True, HALF, ALMOST)[0, 1, 0] == 3 + HALF * (10 - 3)
    assert cql.update(q, 0, (0, 1), 10, 0, False, HALF, ALMOST)[0, 0, 1] == 2 + HALF * (10 + ALMOST * 4 - 2)


def test_an_update_moves_one_entry_of_a_new_table():
    q = np.random.default_rng(0).normal(size=(3, 2, 3, 2))
    before = q.copy()
    after = cql.update(q, 2, (1, 2, 0), 1.0, 1, False, 0.5, 0.5)
    np.testing.assert_array_equal(q, before)
    assert np.argwhere(after != before).tolist() == [[2, 1, 2, 0]]


def test_what_stands_in_the_table_for_a_terminal_state_is_ignored():
    q = np.array([[[1.0, 2.0]], [[np.nan, np.inf]]])
    assert cql.update(q, 0, (0, 1), 4.0, 1, True, 0.5, 1.0)[0, 0, 1] == 3.0


def test_ties_are_broken_uniformly():
    """Each of 8 best joint actions comes about 100 times of 800; 5 standard deviations are 47 (error 5e-6)."""
    game = one_step(coordination(3, 2))
    counts = np.zeros((2, 2, 2))
    learner = cql.CQL(game, CQLConfig(epsilon_end=0.0, epsilon_steps=0, alpha_start=0.0, alpha_end=0.0), generator())
    for _ in range(800):
        a, learner.apply_actions = record(learner)
        learner.step()
        counts[a[0]] += 1
    assert np.all(np.abs(counts - 100) < 47), counts


def test_one_coin_for_all_agents():
    """Away from the greedy joint action only as a whole, with epsilon 15/16: 375 of 800 (5 standard deviations 71)."""
    game = one_step(coordination(4, 2))
    learner = cql.CQL(game, CQLConfig(epsilon_end=0.5, epsilon_steps=0, alpha_end=0.0, alpha_start=0.0), generator())
    learner.q[0, 1, 1, 1, 1] = 1.0
    apart = alone = 0
    for _ in range(800):
        taken, learner.apply_actions = record(learner)
        learner.step()
        apart += taken[0] != (1, 1, 1, 1)
        alone += sum(taken[0]) == 3
    assert abs(apart - 375) < 71
    assert abs(alone - 100) < 47, "one agent alone: 4 of 16 random joint actions"


def test_after_enough_steps_the_values_are_the_payoffs():
    for game in (climbing(), penalty(-100)):
        learner = cql.CQL(
            one_step(game), CQLConfig(alpha_start=0.5, alpha_end=0.5, scalarisation="agent:0"), generator()
        )
        learner.run(700)
        np.testing.assert_allclose(learner.q[0], game.shared_reward().astype(float), atol=1e-9)
        assert not learner.q[1].any(), "Q(terminal, .) = 0"


def test_the_sum_of_a_common_reward_counts_every_agent():
    learner = cql.CQL(one_step(climbing()), CQLConfig(alpha_end=1.0), generator())
    learner.run(100)
    np.testing.assert_array_equal(learner.q[0], 2 * climbing().shared_reward().astype(float))


def test_without_exploration_even_the_smallest_coin_is_greedy():
    learner = cql.CQL(one_step(coordination(2, 2)), CQLConfig(epsilon_end=0.0, epsilon_steps=0), generator())
    learner.draw = lambda: split([0.0] * 5)
    learner.q[0, 1, 1] = 1.0
    learner.step()
    assert learner.q[0].tolist() == [[0.0, 0.0], [0.0, pytest.approx(1.1)]]


def test_the_listing_is_that_of_the_source():
    assert len(load("cql").listing) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product", "no scalarisation 'product'"),
        ("agent:2", "no agent 2"),
        ("agent:-1", "no scalarisation"),
        ("agent:", "no scalarisation"),
        ("weighted:1", "1 weights for 2 agents"),
        ("weighted:1,x", "must be numbers"),
        ("weighted:1,nan", "must be finite"),
        ("sum:1", "no scalarisation"),
    ],
)
def test_scalarisations_that_do_not_fit_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        cql.CQL(one_step(climbing()), CQLConfig(scalarisation=text), generator())


def generator():
    return np.random.default_rng(3)


def record(learner):
    """Return a list that will hold the joint action, and the method that fills it."""
    taken, apply_actions = [], type(learner).apply_actions

    def recording(a, u):
        taken.append(a)
        return apply_actions(learner, a, u)

    return taken, recording
