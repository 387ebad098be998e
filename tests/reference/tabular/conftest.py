"""Games for the tabular algorithms: one with chance, several first states, and agents of different action counts."""

from fractions import Fraction

import numpy as np
import pytest

from marlspec.games.stochastic import StochasticGame

TERMINAL = 3


@pytest.fixture(scope="session")
def chance():
    """Two agents with 2 and 3 actions; states 0 to 2 lead anywhere, state 3 ends; every reward is different."""
    generator = np.random.default_rng(1)
    weights = generator.integers(0, 4, size=(4, 2, 3, 4))
    weights[..., 0] += 1
    weights[TERMINAL] = [0, 0, 0, 1]
    totals = weights.sum(-1, keepdims=True)
    transitions = np.frompyfunc(Fraction, 2, 1)(weights.astype(object), totals.astype(object))
    rewards = generator.integers(-8, 9, size=(2, 4, 2, 3, 4))
    rewards[:, TERMINAL] = 0
    initial = [Fraction(1, 4), Fraction(1, 2), Fraction(1, 4), 0]
    return StochasticGame(transitions, rewards, initial, [False] * 3 + [True], gamma=Fraction(7, 8), name="chance")
