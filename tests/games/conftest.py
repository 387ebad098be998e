"""Random finite games for the tests of this folder: sizes shrink, contents follow from a seed."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import chi2

from marlspec.games.posg import POSG
from marlspec.games.stochastic import StochasticGame

FALSE_ALARM = 1e-6


def distributions(generator, shape):
    """Exact distributions along the last axis, about half of their entries zero."""
    weights = generator.integers(-4, 5, shape).clip(0)
    lucky = generator.integers(shape[-1], size=shape[:-1])
    np.put_along_axis(weights, lucky[..., None], np.take_along_axis(weights, lucky[..., None], -1).clip(1), -1)
    sums = weights.sum(-1, keepdims=True)
    return np.frompyfunc(lambda weight, total: Fraction(int(weight), int(total)), 2, 1)(weights, sums)


def draw_game(data, max_states=4, max_agents=3, max_actions=3):
    n_states = data.draw(st.integers(1, max_states), "states")
    n_actions = tuple(data.draw(st.lists(st.integers(1, max_actions), min_size=1, max_size=max_agents), "actions"))
    terminal = np.array(data.draw(st.lists(st.booleans(), min_size=n_states, max_size=n_states), "terminal"))
    terminal[data.draw(st.integers(0, n_states - 1), "not terminal")] = False
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    transitions = distributions(generator, (n_states, *n_actions, n_states))
    transitions[terminal] = 0
    rewards = generator.integers(-4, 5, (len(n_actions), *transitions.shape))
    rewards[:, terminal] = 0
    for s in np.flatnonzero(terminal):
        transitions[s, ..., s] = 1
    initial = np.full(n_states, Fraction(0))
    initial[~terminal] = distributions(generator, (int((~terminal).sum()),))
    gamma = data.draw(st.sampled_from([1, Fraction(1, 2), 0]), "gamma")
    return StochasticGame(transitions, rewards, initial, terminal, gamma=gamma)


def draw_posg(data, max_observations=3):
    game = draw_game(data, max_states=3, max_agents=2, max_actions=2)
    n = game.n_agents
    counts = data.draw(st.lists(st.integers(1, max_observations), min_size=n, max_size=n), "observations")
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    later = [distributions(generator, (*game.n_actions, game.n_states, count)) for count in counts]
    first = [distributions(generator, (game.n_states, count)) for count in counts]
    return POSG(game, later, first)


@pytest.fixture(scope="session")
def any_game():
    """A function of hypothesis' data: a small exact stochastic game with any terminal states."""
    return draw_game


@pytest.fixture(scope="session")
def any_posg():
    """A function of hypothesis' data: a small exact POSG with arbitrary observation functions."""
    return draw_posg


def _draws_fit(counts, probabilities):
    probabilities = np.asarray(probabilities, dtype=float)
    assert not counts[probabilities == 0].any()
    possible = probabilities > 0
    expected = probabilities[possible] * counts.sum()
    if possible.sum() == 1:
        return True
    return ((counts[possible] - expected) ** 2 / expected).sum() < chi2.isf(FALSE_ALARM, possible.sum() - 1)


@pytest.fixture(scope="session")
def draws_fit():
    """Pearson's test of counts against probabilities: where it is right to hold, it fails once in a million."""
    return _draws_fit
