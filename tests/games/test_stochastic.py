from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import checked_gamma
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated

HALF = Fraction(1, 2)
# Two agents with 1 and 2 actions. The second tosses a coin whether state 0 lasts, or moves to the end, 1.
TRANSITIONS = [[[[HALF, HALF], [0, 1]]], [[[0, 1], [0, 1]]]]
REWARDS = [[[[1, 2]], [[0, 0]]], [[[3, 4]], [[0, 0]]]]
ENDS = [False, True]


def changed(nested, index, value):
    """A copy of nested lists with one entry replaced."""
    if not index:
        return value
    return [changed(entry, index[1:], value) if k == index[0] else entry for k, entry in enumerate(nested)]


def small(**changes):
    arguments = {"transitions": TRANSITIONS, "rewards": REWARDS, "initial": [1, 0], "terminal": ENDS} | changes
    return StochasticGame(**arguments)


def outcomes(**changes):
    """The small game in outcome form, with padding."""
    arguments = {
        "successors": [[[[0, 1], [1, 0]]], [[[1, 1], [1, 0]]]],
        "probabilities": [[[[HALF, HALF], [1, 0]]], [[[1, 0], [1, 0]]]],
        "rewards": REWARDS,
        "initial": [1, 0],
        "terminal": ENDS,
    }
    return StochasticGame.from_outcomes(**arguments | changes)


def test_a_small_game_has_what_definition_1_names():
    game = small(gamma=HALF, name="Coin", citation="here", action_labels=[["wait"], ["toss", "stop"]])
    assert (game.n_agents, game.n_actions, game.n_states, game.exact) == (2, (1, 2), 2, True)
    assert game.terminal.tolist() == ENDS
    assert game.initial.tolist() == [1, 0]
    assert game.transition_matrix().tolist() == TRANSITIONS
    assert game.reward_table()[1].tolist() == [[[[3, 3], [0, 4]]], [[[0, 0], [0, 0]]]]
    assert (game.gamma, game.name, game.citation, game.state_labels) == (HALF, "Coin", "here", ("s0", "s1"))
    assert game.label((0, 1)) == "(wait, stop)"
    assert list(game.joint_actions()) == [(0, 0), (0, 1)]
    assert repr(game) == "<StochasticGame 'Coin': 2 states, 1x2 actions, exact>"


def test_outcomes_are_ascending_and_the_last_is_repeated_with_probability_zero():
    game = small()
    assert game.successors.tolist() == [[[[0, 1], [1, 1]]], [[[1, 1], [1, 1]]]]
    assert game.probabilities.tolist() == [[[[HALF, HALF], [1, 0]]], [[[1, 0], [1, 0]]]]
    assert game.rewards[0].tolist() == [[[[1, 1], [2, 2]]], [[[0, 0], [0, 0]]]]
    shuffled = outcomes(
        successors=[[[[1, 0, 0], [0, 0, 1]]], [[[1, 0, 0], [0, 1, 0]]]],
        probabilities=[[[[HALF, HALF, 0], [0, 0, 1]]], [[[1, 0, 0], [0, 1, 0]]]],
    )
    assert shuffled == outcomes() == game
    assert shuffled.successors.shape[-1] == 2


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_dense_and_outcome_form_are_the_same_game(any_game, data):
    game = any_game(data)
    table, rewards = game.transition_matrix(), game.reward_table()
    assert (table.sum(-1) == 1).all()
    assert not rewards[:, table == 0].any()
    assert StochasticGame(table, rewards, game.initial, game.terminal, gamma=game.gamma) == game
    width = game.n_states + 1
    successors = np.zeros((*table.shape[:-1], width), dtype=int)
    successors[..., :-1] = np.arange(game.n_states)
    padded = [np.concatenate([values, values[..., :1] * 0], -1) for values in (table, rewards)]
    same = StochasticGame.from_outcomes(successors, *padded, game.initial, game.terminal, gamma=game.gamma)
    assert same == game
    assert hash(same) == hash(game)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_rounding_a_game_keeps_its_shape_and_rows(any_game, data):
    game = any_game(data)
    rounded = game.as_float64()
    assert not rounded.exact
    assert rounded.as_float64() is rounded
    assert {rounded.probabilities.dtype, rounded.rewards.dtype, rounded.initial.dtype} == {np.dtype(np.float64)}
    assert isinstance(rounded.gamma, float)
    assert np.array_equal(rounded.successors, game.successors)
    assert np.array_equal(rounded.probabilities, game.probabilities.astype(float))
    assert rounded != game


def test_games_differ_where_their_definition_or_labels_differ():
    others = [
        small(gamma=HALF),
        small(rewards=changed(REWARDS, (1, 0, 0, 1), 5)),
        small(state_labels=["a", "b"]),
        small(action_labels=[["a"], ["b", "c"]]),
        small(transitions=changed(TRANSITIONS, (0, 0, 0), [Fraction(1, 3), Fraction(2, 3)])),
        small().as_float64(),
        "game",
    ]
    assert all(small() != other for other in others)
    assert small(name="other", citation="elsewhere") == small()


def test_arrays_are_read_only_and_copies():
    given = np.array(TRANSITIONS, dtype=object)
    game = small(transitions=given)
    given[0, 0, 0] = [1, 0]
    assert game == small()
    for array in (game.successors, game.probabilities, game.rewards, game.initial, game.terminal):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_integers_join_floats_and_rows_of_floats_may_miss_one_by_a_billionth():
    game = small(transitions=[[[[0.1 + 0.2, 0.7], [0, 1]]], [[[0, 1], [0, 1]]]])
    assert not game.exact
    assert game.rewards.dtype == np.float64
    assert small(rewards=np.array(REWARDS) / 2, transitions=changed(TRANSITIONS, (0, 0, 0), [0, 1])).exact is False
    almost = changed(TRANSITIONS, (0, 0, 0), [0.5, 0.5 + 5e-10])
    assert small(transitions=almost).probabilities[0, 0, 0, 1] == 0.5 + 5e-10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transitions": [[1, 0], [0, 1]]}, r"transitions of shape \(2, 2\) do not fit: .* \[S, A_1, \.\., A_n, S\]"),
        ({"transitions": np.ones((2, 2, 3))}, r"transitions of shape \(2, 2, 3\) do not fit"),
        ({"transitions": changed(TRANSITIONS, (0, 0), [[1, 0]])}, r"ragged lists: transitions\[1\]\[0\] has 2"),
        (
            {"transitions": changed(TRANSITIONS, (0, 0, 1, 0), float("nan"))},
            r"transitions\[0\]\[0\]\[1\]\[0\] is nan: a finite",
        ),
        (
            {"transitions": changed(TRANSITIONS, (0, 0, 1, 0), "x")},
            r"transitions\[0\]\[0\]\[1\]\[0\] is 'x' of type str",
        ),
        (
            {"transitions": changed(TRANSITIONS, (0, 0, 1), [Fraction(-1, 2), Fraction(3, 2)])},
            r"transitions\[0\]\[0\]\[1\]\[0\] is -1/2: a probability must not be negative; make it 0",
        ),
        (
            {"transitions": changed(TRANSITIONS, (0, 0, 0), [HALF, Fraction(1, 3)])},
            r"transitions\[0\]\[0\]\[0\] sums to 5/6: probabilities must sum to one, exactly; change the row by 1/6",
        ),
        (
            {"transitions": changed(TRANSITIONS, (0, 0, 0), [HALF, HALF - Fraction(1, 10**12)])},
            r"\[0\]\[0\]\[0\] sums to 999999999999/1000000000000",
        ),
        (
            {"transitions": [[[[0.5, 0.5 + 2e-9], [0, 1]]], [[[0, 1], [0, 1]]]]},
            r"transitions\[0\]\[0\]\[0\] sums to 1\.000000002: .* within 1e-09; change the row by -2e-09",
        ),
        (
            {"rewards": [[1, 2], [3, 4]]},
            r"rewards of shape \(2, 2\) do not fit: for 2 agents .*\(2, 2, 1, 2, 2\), or \(",
        ),
        ({"rewards": np.zeros((3, 2, 1, 2))}, r"rewards of shape \(3, 2, 1, 2\) do not fit"),
        ({"rewards": changed(REWARDS, (1, 0, 0, 1), float("inf"))}, r"rewards\[1\]\[0\]\[0\]\[1\] is inf"),
        (
            {"rewards": np.array(REWARDS) / 2},
            r"transitions\[0\]\[0\]\[0\]\[0\] is 1/2 while rewards hold floats: make all numbers",
        ),
        (
            {"rewards": changed(REWARDS, (0, 0, 0, 0), 2**60 + 1), "initial": [1.0, 0.0]},
            r"transitions\[0\]\[0\]\[0\]\[0\] is 1/2 while initial hold floats",
        ),
        ({"initial": [1, 0, 0]}, r"initial of shape \(3,\) does not fit: .* each of the 2 states"),
        ({"initial": [HALF, 0]}, r"initial sums to 1/2: .* change the row by 1/2"),
        ({"initial": [2, -1]}, r"initial\[1\] is -1: a probability must not be negative"),
        ({"initial": [float("nan"), 0]}, r"initial\[0\] is nan"),
        ({"initial": [HALF, HALF]}, r"initial\[1\] is 1/2, but state 1 is terminal: .* make the entry 0"),
        ({"terminal": [0, 1]}, r"terminal of shape \(2,\) and dtype int64 does not fit: one truth value"),
        ({"terminal": [False]}, r"terminal of shape \(1,\).* each of the 2 states"),
        ({"terminal": [[False], [True, False]]}, r"terminal is ragged"),
        (
            {"transitions": changed(TRANSITIONS, (1, 0, 1), [1, 0])},
            r"terminal state 1 is left: joint action \(0, 1\) leads to state 0; .* followed by itself",
        ),
        (
            {"rewards": changed(REWARDS, (1, 1, 0, 1), -3)},
            r"terminal state 1 pays agent 1 the reward -3 for joint action \(0, 1\): pay it on the way",
        ),
        ({"gamma": Fraction(3, 2)}, r"gamma is Fraction\(3, 2\): a discount"),
        ({"gamma": -0.1}, r"gamma is -0\.1"),
        ({"gamma": float("nan")}, r"gamma is nan"),
        ({"action_labels": [["a"], ["b"]]}, r"action_labels\[1\] has 1 labels for 2 actions"),
        ({"state_labels": ["a"]}, r"state_labels needs a list with one label for each of 2"),
        ({"state_labels": "ab"}, r"state_labels needs a list"),
        ({"state_labels": ["a", " "]}, r"state_labels\[1\] is ' ': a label is a non-empty string"),
        ({"state_labels": ["a", 1]}, r"state_labels\[1\] is 1: a label"),
        ({"state_labels": ["a", "a"]}, r"state_labels\[1\] repeats the label 'a'"),
    ],
)
def test_what_is_no_stochastic_game_is_refused_with_its_place(changes, message):
    with pytest.raises(InputError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"successors": [0, 1]}, r"successors of shape \(2,\) and dtype int64 do not fit"),
        ({"successors": np.zeros((2, 1, 2, 2))}, r"successors of shape .* and dtype float64 do not fit"),
        ({"successors": np.zeros((2, 1, 2, 0), dtype=int)}, r"at least one agent and one outcome"),
        ({"successors": [[0], [1, 2]]}, r"successors are ragged"),
        (
            {"successors": [[[[0, 1], [2, 0]]], [[[1, 1], [1, 0]]]]},
            r"successors\[0\]\[0\]\[1\]\[0\] is 2: states are numbered 0 to 1",
        ),
        ({"successors": [[[[0, 1], [1, 0]]], [[[1, 1], [1, -1]]]]}, r"successors\[1\]\[0\]\[1\]\[1\] is -1"),
        (
            {"successors": [[[[1, 1], [1, 0]]], [[[1, 1], [1, 0]]]]},
            r"successors\[0\]\[0\]\[0\] names state 1 twice: merge the two outcomes",
        ),
        ({"probabilities": [1, 0]}, r"probabilities of shape \(2,\) do not fit successors of shape \(2, 1, 2, 2\)"),
        (
            {"probabilities": [[[[HALF, HALF], [1, HALF]]], [[[1, 0], [1, 0]]]]},
            r"probabilities\[0\]\[0\]\[1\] sums to 3/2: .* change the row by -1/2",
        ),
        ({"rewards": np.zeros((2, 2, 1, 2, 3))}, r"rewards of shape .* do not fit: .*\(2, 2, 1, 2, 2\)"),
        (
            {"rewards": np.arange(16).reshape(2, 2, 1, 2, 2)},
            r"terminal state 1 pays agent 0 the reward 4 for joint action \(0, 0\)",
        ),
    ],
)
def test_wrong_outcomes_are_refused_with_their_place(changes, message):
    with pytest.raises(InputError, match=message):
        outcomes(**changes)


def test_large_integers_do_not_join_floats():
    with pytest.raises(InputError, match=r"rewards\[0\]\[0\]\[0\]\[0\] is 1152921504606846977 while transitions hold"):
        small(
            transitions=[[[[0.5, 0.5], [0, 1]]], [[[0, 1], [0, 1]]]],
            rewards=changed(REWARDS, (0, 0, 0, 0), 2**60 + 1),
        )
    huge = small(rewards=changed(REWARDS, (0, 0, 0, 0), 10**400))
    with pytest.raises(InputError, match="a reward too large for float64"):
        huge.as_float64()


def test_a_reward_of_what_cannot_happen_is_not_kept():
    rewards = np.zeros((2, 2, 1, 2, 2), dtype=int)
    rewards[:, 1, :, :, 0] = 7
    game = small(rewards=rewards)
    assert not game.reward_table().any()


def test_a_shared_reward_is_one_table_and_differing_rewards_are_refused():
    shared = small(rewards=[REWARDS[0], REWARDS[0]])
    assert shared.is_common_reward
    assert np.array_equal(shared.shared_reward(), shared.rewards[0])
    with pytest.raises(
        InputError, match=r"in state s0 joint action \(A, A\), followed by state s0, pays the agents 1, 3"
    ):
        small(name="Coin").shared_reward()
    assert not small().is_common_reward


@pytest.mark.parametrize("name", ["climbing", "prisoners-dilemma", "coordination:3x2"])
def test_a_matrix_game_is_played_once_or_for_ever(name):
    game = get(name)
    once = one_step(game, gamma=HALF)
    assert (once.state_labels, once.terminal.tolist(), once.initial.tolist()) == (("play", "end"), ENDS, [1, 0])
    assert np.array_equal(once.reward_table()[:, 0, ..., 1], game.payoffs)
    assert (once.transition_matrix()[0, ..., 1] == 1).all()
    assert (once.action_labels, once.citation, once.gamma) == (game.action_labels, game.citation, HALF)
    assert once.is_common_reward == game.is_common_reward
    again = repeated(game, Fraction(9, 10))
    assert (again.n_states, again.terminal.any(), again.gamma) == (1, False, Fraction(9, 10))
    assert np.array_equal(again.reward_table()[:, 0, ..., 0], game.payoffs)
    assert not again.successors.any()
    assert again.exact


def test_float_payoffs_give_float_games():
    game = NormalFormGame.common_reward([[0.5, 1]])
    assert not one_step(game).exact
    assert not repeated(game, HALF).exact


@pytest.mark.parametrize("name", ["two-step", "two-step-book"])
def test_a_staged_game_has_its_stages_as_states(name):
    staged = get(name)
    game = from_staged(staged)
    end = staged.n_stages
    assert (game.n_states, game.gamma, game.name, game.citation) == (
        end + 1,
        staged.gamma,
        staged.name,
        staged.citation,
    )
    assert game.terminal.tolist() == [False] * end + [True]
    assert game.initial[0] == 1
    for s, (stage, table) in enumerate(zip(staged.stages, staged.transitions, strict=True)):
        assert game.state_labels[s] == f"{s}: {stage.name}"
        assert np.array_equal(game.successors[s, ..., 0], np.where(table == -1, end, table))
        assert np.array_equal(game.rewards[:, s, ..., 0], stage.payoffs)


def test_a_stage_with_floats_rounds_the_others():
    staged = get("two-step")
    stages = [staged.stages[0].as_float64(), *staged.stages[1:]]
    game = from_staged(type(staged)(stages, staged.transitions))
    assert game.rewards.dtype == np.float64
    relabelled = NormalFormGame.common_reward([[0, 0], [0, 0]], action_labels=[["x", "y"], ["x", "y"]])
    assert from_staged(type(staged)([relabelled, *stages[1:]], staged.transitions)).action_labels[0] == ("A", "B")


def test_a_discount_is_a_number():
    with pytest.raises(InputError, match="gamma is '1': a discount is an int, Fraction or float between 0 and 1"):
        checked_gamma("1")
