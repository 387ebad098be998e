"""Random exact games and policies, made from a seed: small numbers with small denominators, zeros included."""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from marlspec.games.posg import POSG
from marlspec.games.stochastic import StochasticGame


def distributions(rng, *shape):
    """Distributions over the last axis, in multiples of a small fraction, about half of the entries zero."""
    weights = rng.integers(0, 4, size=shape) * rng.integers(0, 2, size=shape)
    weights[..., 0] += weights.sum(-1) == 0
    return np.vectorize(Fraction, otypes=[object])(weights, weights.sum(-1, keepdims=True))


def make_game(seed, n_agents=None, n_states=None, common_reward=False):
    """A game of one to three agents with two or three actions; the last state is terminal, the rest go anywhere."""
    rng = np.random.default_rng(seed)
    n = n_agents or int(rng.integers(1, 4))
    size = (n_states or int(rng.integers(1, 4))) + 1
    counts = tuple(rng.integers(1 if n > 1 else 2, 3, size=n).tolist())
    transitions = distributions(rng, size, *counts, size)
    transitions[-1] = 0
    transitions[-1, ..., -1] = 1
    rewards = rng.integers(-8, 9, size=(n, size, *counts, size)).astype(object) * Fraction(1, 4)
    rewards[:, -1] = 0
    rewards = np.stack([rewards[0]] * n) if common_reward else rewards
    initial = [*distributions(rng, size - 1), 0]
    terminal = [False] * (size - 1) + [True]
    return StochasticGame(transitions, rewards, initial, terminal, gamma=Fraction(9, 10))


def make_posg(seed, **sizes):
    """The game of the same seed, each agent with one or two observations, drawn by chance."""
    game = make_game(seed, **sizes)
    rng = np.random.default_rng([seed, 1])
    n_observations = rng.integers(1, 3, size=game.n_agents).tolist()
    later = [distributions(rng, *game.n_actions, game.n_states, count) for count in n_observations]
    return POSG(game, later, [distributions(rng, game.n_states, count) for count in n_observations])


@pytest.fixture(scope="session")
def random_game():
    return make_game


@pytest.fixture(scope="session")
def random_posg():
    return make_posg


@pytest.fixture(scope="session")
def random_markov_policy():
    def make(seed, game):
        rng = np.random.default_rng(seed)
        return tuple(distributions(rng, game.n_states, count) for count in game.n_actions)

    return make


@pytest.fixture(scope="session")
def random_history_policy():
    """Functions that draw a mix from the seed, the agent and the history alone, so that they repeat themselves."""

    def make(seed, game):
        def function(i, count):
            return cache(lambda observed: distributions(np.random.default_rng([seed, i, *observed]), count))

        return tuple(function(i, count) for i, count in enumerate(game.game.n_actions))

    return make
