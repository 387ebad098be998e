from fractions import Fraction

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame, as_staged

ZERO = NormalFormGame.common_reward([[0, 0], [0, 0]], name="first move")
SEVEN = NormalFormGame.common_reward([[7, 7], [7, 7]], name="2A")
EIGHT = NormalFormGame.common_reward([[0, 1], [1, 8]], name="2B")
ENDS = [[-1, -1], [-1, -1]]
TWO_STEP = ([ZERO, SEVEN, EIGHT], [[[1, 1], [2, 2]], ENDS, ENDS])


def enumerate_returns(game, gamma, s=0):
    """The best discounted return from stage s, by walking through every sequence of joint actions."""
    returns = []
    for a in game.stages[s].joint_actions():
        successor = int(game.transitions[s][a])
        rest = 0 if successor == -1 else enumerate_returns(game, gamma, successor)
        returns.append(game.stages[s].payoff(0, a) + gamma * rest)
    return max(returns)


def test_backward_induction_is_exact_on_the_two_step_game():
    game = StagedGame(*TWO_STEP, gamma=Fraction(99, 100))
    first = game.optimal_action_values()[0]
    assert first.tolist() == [[Fraction(693, 100)] * 2, [Fraction(198, 25)] * 2]
    assert game.optimal_values() == (Fraction(198, 25), 7, 8)
    assert game.optimal_values(Fraction(1, 2))[0] == 4
    assert game.optimal_values(0) == (0, 7, 8)


def test_float_gamma_or_float_payoffs_give_floats():
    game = StagedGame(*TWO_STEP, gamma=0.99)
    assert game.optimal_action_values()[0].dtype == np.float64
    assert game.optimal_values()[0] == pytest.approx(7.92)
    rounded = StagedGame([stage.as_float64() for stage in TWO_STEP[0]], TWO_STEP[1])
    assert isinstance(rounded.optimal_values(Fraction(1, 2))[0], float)
    assert rounded.optimal_values(Fraction(1, 2))[0] == 4.0


def test_backward_induction_agrees_with_enumeration_on_random_games():
    generator = np.random.default_rng(0)
    for _ in range(100):
        n_stages = int(generator.integers(1, 5))
        stages = [NormalFormGame.common_reward(generator.integers(-4, 5, (2, 3))) for _ in range(n_stages)]
        tables = []
        for s in range(n_stages):
            table = generator.choice([-1, *range(s + 1, n_stages)], (2, 3))
            table[0, 0] = s + 1 if s + 1 < n_stages else -1
            tables.append(table)
        game = StagedGame(stages, tables)
        assert game.optimal_values(Fraction(7, 8))[0] == enumerate_returns(game, Fraction(7, 8))


def test_stages_may_come_in_any_order():
    game = StagedGame([ZERO, EIGHT, ZERO], [[[2, 2], [2, 2]], ENDS, [[1, 1], [1, -1]]])
    assert game.optimal_values() == (8, 8, 8)
    assert game.horizon == 3


def test_a_normal_form_game_is_a_staged_game_of_one_stage():
    game = as_staged(EIGHT)
    assert game.n_stages == 1
    assert game.horizon == 1
    assert game.name == "2B"
    assert game.optimal_values() == (8,)
    assert game.is_common_reward
    assert game.exact


@pytest.mark.parametrize(
    ("stages", "transitions", "message"),
    [
        ([], [], "at least one stage"),
        ([ZERO], [], "1 stages need 1 transition tables, not 0"),
        ([ZERO, NormalFormGame.common_reward([[1, 2, 3]])], [ENDS, ENDS], r"stage 1 has action counts \(1, 3\)"),
        ([ZERO, NormalFormGame.common_reward([1, 2])], [ENDS, ENDS], r"stage 1 has action counts \(2,\)"),
        ([ZERO], [[-1, -1]], r"transitions\[0\] of shape \(2,\)"),
        ([ZERO], [[[-1, -1], [-1]]], r"transitions\[0\] is ragged"),
        ([ZERO], [[[-1.0, -1], [-1, -1]]], r"integers of shape \(2, 2\)"),
        ([ZERO], [[[-1, 1], [-1, -1]]], r"names stage 1 after joint action \(0, 1\)"),
        ([ZERO], [[[-1, -2], [-1, -1]]], r"names stage -2"),
        ([ZERO, SEVEN], [ENDS, ENDS], "stage 1 cannot be reached"),
        ([ZERO], [[[-1, 0], [-1, -1]]], "in a circle"),
        ([ZERO, SEVEN], [[[1, -1], [-1, -1]], [[0, -1], [-1, -1]]], "in a circle"),
    ],
)
def test_bad_games_are_refused(stages, transitions, message):
    with pytest.raises(InputError, match=message):
        StagedGame(stages, transitions)


@pytest.mark.parametrize("gamma", [-0.1, 1.5, Fraction(3, 2), float("nan"), True])
def test_bad_discounts_are_refused(gamma):
    with pytest.raises(InputError, match="gamma"):
        StagedGame(*TWO_STEP, gamma=gamma)
    with pytest.raises(InputError, match="gamma"):
        StagedGame(*TWO_STEP).optimal_values(gamma)


def test_general_sum_games_have_no_optimal_values():
    game = as_staged(NormalFormGame.zero_sum([[1, 2]], name="zero-sum"))
    assert not game.is_common_reward
    with pytest.raises(InputError, match="zero-sum is not a common-reward game"):
        game.optimal_values()


def test_games_are_frozen_and_compared_by_content():
    game = StagedGame(*TWO_STEP)
    assert game == StagedGame(*TWO_STEP, name="other")
    assert hash(game) == hash(StagedGame(*TWO_STEP, name="other"))
    assert game != StagedGame(*TWO_STEP, gamma=Fraction(1, 2))
    assert game != StagedGame([ZERO, EIGHT, SEVEN], TWO_STEP[1])
    with pytest.raises(AttributeError):
        game.gamma = 0
    with pytest.raises(ValueError, match="read-only"):
        game.transitions[0][0, 0] = 2


def test_tables_say_what_follows():
    text = str(StagedGame(*TWO_STEP))
    assert "stage 0: first move" in text
    assert "(A, A), (A, B): leads to stage 1" in text
    assert text.endswith("B  1  8\nevery joint action ends")
