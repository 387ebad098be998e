from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import chicken, get
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution import linear_program
from marlspec.reference.solution.minimax import minimax
from marlspec.reference.solution.nash import is_nash, support_enumeration


def mixes(solution):
    return [mix.tolist() for mix in solution.strategies]


@pytest.mark.parametrize(
    ("table", "value", "first", "second"),
    [
        ([[1, -1], [-1, 1]], 0, [Fraction(1, 2)] * 2, [Fraction(1, 2)] * 2),
        ([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], 0, [Fraction(1, 3)] * 3, [Fraction(1, 3)] * 3),
        ([[3, -1], [-2, 4]], 1, [Fraction(3, 5), Fraction(2, 5)], [Fraction(1, 2), Fraction(1, 2)]),
        (
            [[Fraction(1, 3), 0], [0, Fraction(1, 7)]],
            Fraction(1, 10),
            [Fraction(3, 10), Fraction(7, 10)],
            [Fraction(3, 10), Fraction(7, 10)],
        ),
        ([[4, 2], [3, 1]], 2, [1, 0], [0, 1]),
        ([[-5]], -5, [1], [1]),
        ([[3, 1, 2]], 1, [1], [0, 1, 0]),
        ([[3], [1], [2]], 3, [1, 0, 0], [1]),
        (
            [[10**30, 0], [0, 1]],
            Fraction(10**30, 10**30 + 1),
            [Fraction(1, 10**30 + 1), Fraction(10**30, 10**30 + 1)],
            None,
        ),
    ],
)
def test_value_and_strategies_worked_out_by_hand(table, value, first, second):
    solution = minimax(NormalFormGame.zero_sum(table))
    assert solution.value == value
    assert solution.gap == 0
    assert solution.exact
    assert mixes(solution)[0] == first
    assert mixes(solution)[1] == (second or first)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 1000]), st.booleans(), st.integers(0, 2**32))
def test_value_is_what_every_equilibrium_pays(m, n, spread, floats, seed):
    table = np.random.default_rng(seed).integers(-spread, spread + 1, (m, n))
    game = NormalFormGame.zero_sum(table * 0.1 if floats else table)
    solution = minimax(game)
    assert solution.exact
    assert is_nash(game, solution.strategies)
    x, y = support_enumeration(game).profiles[0]
    rewards = np.array([[Fraction(value) for value in row] for row in game.payoffs[0].tolist()], dtype=object)
    assert solution.value == x @ rewards @ y


def test_rounded_rewards_are_solved_exactly():
    solution = minimax(NormalFormGame.zero_sum([[0.1, 0.2], [0.3, 0.0]]))
    a, b, c = Fraction(0.1), Fraction(0.2), Fraction(0.3)
    assert solution.value == -b * c / (a - b - c)
    assert solution.exact


def test_rewards_closer_than_any_tolerance_are_told_apart():
    hair = Fraction(1, 10**25)
    solution = minimax(NormalFormGame.zero_sum([[1, 1], [1 + hair, 1 + hair], [1 - hair, 2]]))
    assert solution.value == 1 + hair
    assert solution.gap == 0
    assert "integers" in solution.method


def test_a_large_game_that_defeats_the_basis_reports_its_gap(monkeypatch):
    monkeypatch.setattr(linear_program, "_basic_solution", lambda program, floats: None)
    monkeypatch.setattr(linear_program, "SMALL", 0)
    table = np.random.default_rng(1).integers(-99, 100, (7, 7))
    rounded = minimax(NormalFormGame.zero_sum(table))
    monkeypatch.undo()
    exact = minimax(NormalFormGame.zero_sum(table))
    assert not rounded.exact
    assert rounded.method == linear_program.ROUNDED
    assert 0 < rounded.gap < 1e-9
    assert rounded.value <= exact.value <= rounded.value + rounded.gap
    assert all(sum(mix) == 1 and min(mix) >= 0 for mix in rounded.strategies)


def test_games_without_a_value_are_refused():
    with pytest.raises(InputError, match=r"Chicken is not zero-sum: joint action \(S, L\) pays the agents 7, 2"):
        minimax(chicken())
    with pytest.raises(InputError, match="needs two agents"):
        minimax(get("coordination:3x2"))
    with pytest.raises(InputError, match="not zero-sum"):
        minimax(NormalFormGame([[[0.1 + 0.2]], [[-0.3]]]))
