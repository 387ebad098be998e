"""IQL line by line: the update in exact numbers, and whole runs against the listing written out with dictionaries."""

from fractions import Fraction

import numpy as np
import pytest

from marlspec.games.catalogue import coordination
from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import one_step
from marlspec.reference.listing import load
from marlspec.reference.parts.tabular import split
from marlspec.reference.parts.tabular_config import TabularConfig
from marlspec.reference.tabular import iql

HALF, ALMOST = Fraction(1, 2), Fraction(7, 8)


def written_out(game, config, generator, steps):
    """Algorithm 5 once more, agent by agent, with loops and dictionaries; yields the values after each time step."""
    agents = range(game.n_agents)
    Q = [{(s, a): 0.0 for s in range(game.n_states) for a in range(game.n_actions[i])} for i in agents]
    gamma = float(game.gamma) if config.gamma is None else config.gamma
    s, length = None, 0
    for t in range(steps):
        first, outcome, *own = generator.random(2 + 3 * game.n_agents)
        if s is None:
            s, length = drawn(game.initial, first), 0
        epsilon = at(t, config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        alpha = at(t, config.alpha_start, config.alpha_end, config.alpha_steps)
        a = tuple(action(Q[i], s, game.n_actions[i], epsilon, own[3 * i : 3 * i + 3]) for i in agents)
        m = drawn(game.probabilities[(s, *a)], outcome)
        following = int(game.successors[(s, *a)][m])
        for i in agents:
            r = float(game.rewards[(i, s, *a)][m])
            ahead = max(Q[i][following, b] for b in range(game.n_actions[i]))
            y = r if game.terminal[following] else r + gamma * ahead
            Q[i][s, a[i]] += alpha * (y - Q[i][s, a[i]])
        length += 1
        s = None if game.terminal[following] or length == config.horizon else following
        yield Q


def action(Q, s, count, epsilon, numbers):
    coin, explored, tie = numbers
    best = [a for a in range(count) if Q[s, a] == max(Q[s, b] for b in range(count))]
    return int(explored * count) if coin < epsilon else best[int(tie * len(best))]


def at(t, start, end, steps):
    return start + (end - start) * min(1.0, t / steps) if steps else end


def drawn(probabilities, u):
    total = 0.0
    for outcome, probability in enumerate(probabilities):
        total += float(probability)
        if u < total:
            return outcome
    raise AssertionError("the probabilities do not sum to one")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epsilon_start": 0.5, "epsilon_end": 0.1, "epsilon_steps": 40, "alpha_start": 0.5, "alpha_steps": 60},
        {"epsilon_end": 0.0, "epsilon_steps": 0, "horizon": 3, "gamma": 0.75},
        {"gamma": 1.0},
    ],
)
def test_runs_agree_with_the_listing_written_out(chance, settings):
    config = TabularConfig(**{"epsilon_end": 0.3, "alpha_end": 0.25, **settings})
    learner = iql.IQL(chance, config, np.random.default_rng(7))
    for Q in written_out(chance, config, np.random.default_rng(7), 100):
        learner.step()
        for i, own in enumerate(learner.q):
            expected = np.array([[Q[i][s, a] for a in range(own.shape[1])] for s in range(4)])
            np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-12)


def test_one_update_in_exact_numbers():
    q = np.array([[1, 2, 3], [5, 8, 7]], dtype=object)
    assert iql.update(q, 0, 2, 10, 1, False, HALF, ALMOST)[0, 2] == 3 + HALF * (10 + ALMOST * 8 - 3)
    assert iql.update(q, 0, 2, 10, 1, True, HALF, ALMOST)[0, 2] == 3 + HALF * (10 - 3)
    assert iql.update(q, 0, 1, 10, 0, False, HALF, ALMOST)[0, 1] == 2 + HALF * (10 + ALMOST * 3 - 2)


def test_an_update_moves_one_entry_of_a_new_table():
    q = np.random.default_rng(0).normal(size=(3, 4))
    before = q.copy()
    after = iql.update(q, 2, 1, 1.0, 1, False, 0.5, 0.5)
    np.testing.assert_array_equal(q, before)
    assert np.argwhere(after != before).tolist() == [[2, 1]]


def test_what_stands_in_the_table_for_a_terminal_state_is_ignored():
    q = np.array([[1.0, 2.0], [np.nan, np.inf]])
    assert iql.update(q, 0, 1, 4.0, 1, True, 0.5, 1.0)[0, 1] == 3.0


def test_every_agent_has_a_coin_of_its_own():
    """Of 4 agents with epsilon 1/2 and 2 actions each is off its greedy one with 1/4: none with 81/256, 1 with 108/256.

    Of 800 steps these are 253 (+- 66) and 338 (+- 70): five standard deviations.
    """
    learner = iql.IQL(
        one_step(coordination(4, 2)),
        TabularConfig(epsilon_end=0.5, epsilon_steps=0, alpha_start=0.0, alpha_end=0.0),
        np.random.default_rng(3),
    )
    for q in learner.q:
        q[0, 1] = 1.0
    off, play = [], learner.apply_actions
    learner.apply_actions = lambda a, u: (off.append(4 - sum(a)), play(a, u))[1]
    learner.run(800)
    assert abs(off.count(0) - 253) < 66
    assert abs(off.count(1) - 338) < 70


def test_ties_are_broken_uniformly():
    """Each of 3 actions of each agent comes about 300 times of 900; 5 standard deviations are 71."""
    learner = iql.IQL(
        one_step(coordination(2, 3)),
        TabularConfig(epsilon_end=0.0, epsilon_steps=0, alpha_start=0.0, alpha_end=0.0),
        np.random.default_rng(3),
    )
    taken, play = [], learner.apply_actions
    learner.apply_actions = lambda a, u: (taken.append(a), play(a, u))[1]
    learner.run(900)
    for own in np.array(taken).T:
        assert np.all(np.abs(np.bincount(own, minlength=3) - 300) < 71)


def test_without_exploration_even_the_smallest_coin_is_greedy():
    learner = iql.IQL(
        one_step(coordination(2, 2)), TabularConfig(epsilon_end=0.0, epsilon_steps=0), np.random.default_rng(3)
    )
    learner.draw = lambda: split([0.0] * 8)
    for q in learner.q:
        q[0, 1] = 0.5
    learner.step()
    assert [q[0].tolist() for q in learner.q] == [[0.0, pytest.approx(0.55)]] * 2


def test_the_listing_is_that_of_the_source():
    assert len(load("iql").listing) == 9


def test_agents_learn_from_their_own_rewards():
    game = one_step(NormalFormGame([[[1, 1], [1, 1]], [[-2, -2], [-2, -2]]]))
    learner = iql.IQL(game, TabularConfig(epsilon_end=1.0, alpha_end=1.0), np.random.default_rng(3))
    learner.run(30)
    assert [q[0].tolist() for q in learner.q] == [[1, 1], [-2, -2]]
    assert [q[1].tolist() for q in learner.q] == [[0, 0], [0, 0]], "Q(terminal, .) = 0"
