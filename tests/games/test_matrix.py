from fractions import Fraction

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame

CLIMBING = [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
DILEMMA = [[[-1, -5], [0, -3]], [[-1, 0], [-5, -3]]]


def test_python_integers_and_fractions_stay_exact():
    game = NormalFormGame.common_reward([[1, Fraction(1, 3)], [2**80, -4]])
    assert game.exact
    assert game.payoff(1, (0, 1)) == Fraction(1, 3)
    assert game.payoff(0, (1, 0)) == 2**80
    assert {type(value) for value in game.payoffs.ravel()} == {int, Fraction}


def test_numpy_integers_become_exact_and_floats_float64():
    exact = NormalFormGame.common_reward(np.array(CLIMBING, dtype=np.int32))
    assert exact.exact
    assert type(exact.payoff(0, (2, 1))) is int
    rounded = NormalFormGame.common_reward(np.array([[0.1, 2]], dtype=np.float32))
    assert rounded.payoffs.dtype == np.float64
    assert rounded.payoff(0, (0, 0)) == float(np.float32(0.1))


def test_integers_mixed_with_floats_become_float64():
    game = NormalFormGame.common_reward([[1, 2.5]])
    assert not game.exact
    assert game.payoffs.dtype == np.float64


def test_whole_fractions_are_stored_as_integers():
    assert type(NormalFormGame.common_reward([Fraction(4, 2)]).payoff(0, (0,))) is int


@pytest.mark.parametrize(
    ("payoffs", "message"),
    [
        ([[1, 2], [3, 4]], r"shape \(2, 2\).*2 agents need 3 axes \[2, A_1, A_2\]"),
        ([[[1, 2], [3, 4]], [[1, 2], [3]]], r"payoffs\[1\]\[1\] has 1 entries where the first of its kind has 2"),
        ([[[1, 2], [3, 4]], [[1, 2], 3]], r"payoffs\[1\]\[1\] is 3 where a list of 2 entries"),
        ([[[1, 2], [3, [4]]], [[1, 2], [3, 4]]], r"payoffs\[0\]\[1\]\[1\] is a list where a single number"),
        ([], r"payoffs is empty"),
        ([[[], []], [[], []]], r"payoffs\[0\]\[0\] is empty"),
        (np.zeros((2, 0, 3)), r"empty"),
        ([[[1, 2], [3, float("nan")]], [[1, 2], [3, 4]]], r"payoffs\[0\]\[1\]\[1\] is nan"),
        (np.array([[1.0, np.inf]]), r"payoffs\[0\]\[1\] is inf"),
        ([[True, 1]], r"payoffs\[0\]\[0\] is the truth value True"),
        (np.array([[True, False]]), r"payoffs\[0\]\[0\] is the truth value True"),
        ([["1", 2]], r"payoffs\[0\]\[0\] is '1' of type str"),
        ([[None, 2]], r"payoffs\[0\]\[0\] is None"),
        ([[1j, 2]], r"payoffs\[0\]\[0\] is 1j of type complex"),
        ([[Fraction(1, 3), 0.5]], r"payoffs\[0\]\[0\] is the Fraction 1/3 among floats"),
        ([[2**53 + 1, 0.5]], r"payoffs\[0\]\[0\] is the integer 9007199254740993, which float64 cannot hold"),
        ([[10**400, 0.5]], r"float64 cannot hold"),
        (3, r"payoffs must be nested lists or an array of numbers, not int"),
        ("game", r"not str"),
        (np.array(3.0), r"not float"),
    ],
)
def test_bad_payoffs_are_refused_with_their_place(payoffs, message):
    with pytest.raises(InputError, match=message):
        NormalFormGame(payoffs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a", "b", "c"]], "one list of labels for each of the 2 agents"),
        ([["a", "b", "c"], ["a", "b"]], r"action_labels\[1\] has 2 labels for 3 actions"),
        ([["a", "b", "c"], ["a", "b", "a"]], r"action_labels\[1\]\[2\] repeats the label 'a'"),
        ([["a", "b", "c"], ["a", "b", 3]], r"action_labels\[1\]\[2\] is 3: a label is a non-empty string"),
        ([["a", "b", "c"], ["a", "b", " "]], r"a label is a non-empty string"),
        (["abc", "abc"], r"action_labels\[0\] is 'abc': give a list"),
        ("ab", "one list of labels for each"),
    ],
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        NormalFormGame.common_reward(CLIMBING, action_labels=labels)


def test_labels_default_to_letters():
    game = NormalFormGame.common_reward([[0] * 3] * 2)
    assert game.action_labels == (("A", "B"), ("A", "B", "C"))
    assert NormalFormGame.common_reward([0] * 27).action_labels[0][-1] == "a27"


def test_common_reward_pays_every_agent_the_table():
    game = NormalFormGame.common_reward(np.arange(24).reshape(2, 3, 4))
    assert game.n_agents == 3
    assert game.n_actions == (2, 3, 4)
    assert game.is_common_reward
    assert all(game.payoff(i, (1, 2, 0)) == 20 for i in range(3))
    assert np.array_equal(game.shared_reward(), np.arange(24).reshape(2, 3, 4))


def test_zero_sum_pays_the_second_agent_the_negative():
    game = NormalFormGame.zero_sum([[1, -2, Fraction(1, 2)]])
    assert game.is_zero_sum
    assert not game.is_common_reward
    assert game.payoff(1, (0, 2)) == Fraction(-1, 2)
    with pytest.raises(InputError, match="two agents"):
        NormalFormGame.zero_sum([1, 2])


def test_zero_sum_is_decided_without_rounding():
    assert NormalFormGame([[[[0.1]]], [[[0.2]]], [[[-0.30000000000000004]]]]).is_zero_sum is False
    assert NormalFormGame([[[[0.5]]], [[[0.25]]], [[[-0.75]]]]).is_zero_sum


def test_no_conflict_compares_sets_of_most_preferred_joint_actions():
    stag_hunt = NormalFormGame([[[4, 0], [3, 2]], [[4, 3], [0, 2]]])
    assert stag_hunt.is_no_conflict
    assert not NormalFormGame(DILEMMA).is_no_conflict
    more_ties = NormalFormGame([[[4, 0], [3, 2]], [[4, 3], [0, 4]]])
    assert not more_ties.is_no_conflict


def test_general_sum_rewards_are_never_averaged():
    with pytest.raises(InputError, match=r"dilemma is not a common-reward game.*\(A, B\) pays the agents -5, 0"):
        NormalFormGame(DILEMMA, name="dilemma").shared_reward()


@pytest.mark.parametrize(
    ("i", "a", "message"),
    [(2, (0, 0), "no agent 2"), (-1, (0, 0), "no agent -1"), (0, (0, 3), "no action 3"), (0, (0,), "1 actions for 2")],
)
def test_payoff_refuses_what_is_out_of_range(i, a, message):
    with pytest.raises(InputError, match=message):
        NormalFormGame.common_reward(CLIMBING).payoff(i, a)


def test_games_are_frozen():
    game = NormalFormGame.common_reward(CLIMBING)
    with pytest.raises(AttributeError):
        game.name = "other"
    with pytest.raises(ValueError, match="read-only"):
        game.payoffs[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        game.shared_reward()[0, 0] = 1


def test_the_callers_array_is_copied():
    table = np.array(CLIMBING, dtype=np.float64)
    game = NormalFormGame.common_reward(table)
    table[0, 0] = 99
    assert game.payoff(0, (0, 0)) == 11


def test_equality_and_hash_follow_payoffs_and_labels():
    game = NormalFormGame.common_reward(CLIMBING, name="climbing")
    same = NormalFormGame.common_reward(np.array(CLIMBING), name="another name")
    assert game == same
    assert hash(game) == hash(same)
    assert game != NormalFormGame.common_reward(CLIMBING, action_labels=[["a", "b", "c"]] * 2)
    assert game != game.as_float64()
    assert game != "climbing"
    assert len({game, same}) == 1
    assert NormalFormGame.common_reward([[1, 2]]) != NormalFormGame.common_reward([[1], [2]])


def test_as_float64_rounds_and_keeps_the_rest():
    game = NormalFormGame.common_reward(
        [[Fraction(1, 3), 1]], name="third", citation="here", action_labels=[["x"], ["l", "r"]]
    )
    rounded = game.as_float64()
    assert rounded.payoffs.dtype == np.float64
    assert rounded.payoff(0, (0, 0)) == 1 / 3
    assert (rounded.name, rounded.citation, rounded.action_labels) == ("third", "here", (("x",), ("l", "r")))
    assert rounded.as_float64() is rounded
    with pytest.raises(InputError, match="too large for float64"):
        NormalFormGame.common_reward([10**400]).as_float64()


def test_tables_are_readable():
    assert str(NormalFormGame.common_reward([[11, -30], [Fraction(1, 2), 7]])) == (
        "     A    B\nA   11  -30\nB  1/2    7"
    )
    assert str(NormalFormGame(DILEMMA, action_labels=[["C", "D"]] * 2)) == (
        "        C       D\nC  -1, -1   -5, 0\nD   0, -5  -3, -3"
    )
    three = str(NormalFormGame.common_reward([[[1, 2]], [[3, 4]]]))
    assert three == "agent 3 plays A:\n   A\nA  1\nB  3\n\nagent 3 plays B:\n   A\nA  2\nB  4"
    assert str(NormalFormGame.common_reward([0.5, 2.0])) == "    A  B\n  0.5  2"


def test_label_and_repr_name_the_actions():
    game = NormalFormGame.common_reward(CLIMBING, name="climbing")
    assert game.label((0, 2)) == "(A, C)"
    assert repr(game) == "<NormalFormGame 'climbing': 3x3 actions, exact>"
