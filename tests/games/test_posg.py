from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.posg import POSG, full_observation, limited_view, own_action_observation, state_observation
from marlspec.games.stochastic import StochasticGame, from_staged, repeated

HALF = Fraction(1, 2)
VIEWS = [full_observation, own_action_observation, state_observation]
# One state, two agents with 1 and 2 actions; agent 0 sees agent 1's action with noise, agent 1 sees nothing.
GAME = StochasticGame([[[[1], [1]]]], [[[[0, 1]]], [[[0, 0]]]], [1], [False])
NOISY = [[[[HALF, HALF]], [[0, 1]]]]
BLIND = [[[[1]], [[1]]]]
FIRST = [[1, 0]]


def build(game=GAME, observation=(NOISY, BLIND), first=(FIRST, [[1]]), labels=None):
    return POSG(game, list(observation), list(first), labels)


def test_a_small_game_has_what_definition_2_names():
    posg = build(labels=[["quiet", "loud"], ["nothing"]])
    assert posg.game is GAME
    assert (posg.n_agents, posg.n_observations, posg.exact) == (2, (2, 1), True)
    assert posg.observation[0].tolist() == NOISY
    assert posg.first_observation[0].tolist() == FIRST
    assert posg.observation_labels == (("quiet", "loud"), ("nothing",))
    assert build().observation_labels == (("o0", "o1"), ("o0",))
    assert "2x1 observations" in repr(posg)


def test_arrays_are_read_only_copies():
    given = np.array(NOISY, dtype=object)
    posg = build(observation=(given, BLIND))
    given[0, 1] = 0
    assert posg.observation[0].tolist() == NOISY
    for array in (*posg.observation, *posg.first_observation):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_float_game_takes_integers_and_floats():
    posg = build(GAME.as_float64(), observation=([[[[0.5, 0.5]], [[0, 1]]]], BLIND))
    assert not posg.exact
    assert {table.dtype for table in (*posg.observation, *posg.first_observation)} == {np.dtype(np.float64)}
    assert posg.as_float64() is posg


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_rounding_keeps_the_tables(any_posg, data):
    posg = any_posg(data)
    rounded = posg.as_float64()
    assert not rounded.exact
    assert rounded.n_observations == posg.n_observations
    for mine, other in zip(posg.observation, rounded.observation, strict=True):
        assert np.array_equal(mine.astype(float), other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation": [NOISY]}, r"observation needs a list with one entry for each of the 2 agents"),
        ({"first": [FIRST]}, r"first_observation needs a list with one entry for each of the 2 agents"),
        ({"first": ([1, 0], [[1]])}, r"first_observation\[0\] of shape \(2,\) does not fit: .* \[1, \|O_1\|\]"),
        ({"first": (FIRST, [[1], [1]])}, r"first_observation\[1\] of shape \(2, 1\) does not fit"),
        (
            {"observation": (NOISY, NOISY)},
            r"observation\[1\] of shape \(1, 2, 1, 2\) does not fit: it needs the shape \(1, 2, 1, 1\)",
        ),
        ({"observation": ([[[[HALF, HALF]], [[0, HALF]]]], BLIND)}, r"observation\[0\]\[0\]\[1\]\[0\] sums to 1/2"),
        (
            {"observation": ([[[[HALF, HALF]], [[2, -1]]]], BLIND)},
            r"observation\[0\]\[0\]\[1\]\[0\]\[1\] is -1: a probability must not be negative",
        ),
        ({"first": ([[HALF, 0]], [[1]])}, r"first_observation\[0\]\[0\] sums to 1/2"),
        ({"first": ([[float("nan"), 0]], [[1]])}, r"first_observation\[0\]\[0\]\[0\] is nan: a finite number"),
        ({"first": ([[1.0, 0]], [[1]])}, r"first_observation\[0\] holds floats while the game is exact: .*as_float64"),
        (
            {"game": GAME.as_float64()},
            r"observation\[0\]\[0\]\[0\]\[0\]\[0\] is 1/2 while the numbers of the game hold floats",
        ),
        ({"labels": [["a", "b"]]}, r"observation_labels needs one list of labels for each of the 2 agents"),
        ({"labels": [["a", "a"], ["b"]]}, r"observation_labels\[0\]\[1\] repeats the label 'a'"),
        ({"labels": [["a", "b"], ["c", "d"]]}, r"observation_labels\[1\] needs a list with one label for each of 1"),
    ],
)
def test_what_is_no_posg_is_refused_with_its_place(changes, message):
    with pytest.raises(InputError, match=message):
        build(**changes)


def certain(distribution):
    """The one outcome of a distribution without chance."""
    (outcome,) = np.flatnonzero(distribution)
    assert distribution[outcome] == 1
    return int(outcome)


def what_agents_see(posg):
    """Per agent, the observation after each joint action and state, and the one of each first state."""
    game = posg.game
    later = {
        (i, a, s): certain(posg.observation[i][(*a, s)])
        for i in range(game.n_agents)
        for a in game.joint_actions()
        for s in range(game.n_states)
    }
    first = {
        (i, None, s): certain(posg.first_observation[i][s]) for i in range(game.n_agents) for s in range(game.n_states)
    }
    return later | first


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_views_tell_apart_what_the_lecture_says(any_game, data):
    """Two situations give agent i the same observation exactly where its part of (s^t, a^{t-1}) is the same."""
    game = any_game(data)
    part = {
        full_observation: lambda i, a: a,
        own_action_observation: lambda i, a: None if a is None else a[i],
        state_observation: lambda i, a: 0,
    }
    for view, seen in part.items():
        posg = view(game)
        observed = what_agents_see(posg)
        for i in range(game.n_agents):
            pairs = {(o, (s, seen(i, a))) for (j, a, s), o in observed.items() if j == i}
            assert len(pairs) == len({o for o, _ in pairs}) == len({situation for _, situation in pairs})
            assert {o for o, _ in pairs} == set(range(posg.n_observations[i]))


def test_the_sizes_of_the_lectures_observation_models():
    game = from_staged(get("two-step"))
    sizes = [view(game).n_observations for view in VIEWS]
    assert sizes == [(4 * 5,) * 2, (4 * 3,) * 2, (4,) * 2]
    assert all(view(game).exact for view in VIEWS)
    assert not full_observation(game.as_float64()).exact


def test_labels_say_what_is_seen():
    game = repeated(get("prisoners-dilemma"), HALF)
    assert full_observation(game).observation_labels[0][:3] == ("play | -", "play | C, C", "play | C, D")
    assert own_action_observation(game).observation_labels[1] == ("play | -", "play | C", "play | D")
    assert state_observation(game).observation_labels[0] == ("play",)


def test_a_limited_view_is_part_of_the_state_and_of_the_action_before():
    game = from_staged(get("two-step"))
    posg = limited_view(game, [["first", "later", "later", "end"], ["any"] * 4], [(1,), ()])
    assert posg.n_observations == (3 * 3, 1)
    assert posg.observation_labels[0][:4] == ("first | -", "first | A", "first | B", "later | -")
    observed = what_agents_see(posg)
    assert observed[0, (0, 1), 1] == observed[0, (1, 1), 2] == 5
    assert observed[0, (0, 0), 1] == 4
    assert observed[0, None, 0] == 0


def test_a_limited_view_of_everything_is_the_full_one():
    game = from_staged(get("two-step-book"))
    everything = limited_view(game, [range(4), range(4)], [(1, 0), (0, 1)])
    for mine, full in zip(everything.observation, full_observation(game).observation, strict=True):
        assert np.array_equal(mine, full)


@pytest.mark.parametrize(
    ("parts", "agents", "message"),
    [
        ([["a"]], [(), ()], r"state_parts needs a list with one entry for each of the 2 agents"),
        ([["a"], ["a"]], [()], r"seen_agents needs a list with one entry for each of the 2 agents"),
        ([["a"], ["a", "b"]], [(), ()], r"state_parts\[1\] needs one value for each of the 1 states"),
        ([["a"], ["a"]], [(0,), (1, 2)], r"seen_agents\[1\] names agent 2: agents are numbered 0 to 1"),
    ],
)
def test_views_of_what_is_not_there_are_refused(parts, agents, message):
    with pytest.raises(InputError, match=message):
        limited_view(GAME, parts, agents)


def test_views_too_large_for_arrays_are_refused():
    game = repeated(get("coordination:6x4"), HALF)
    with pytest.raises(InputError, match=r"agent 0 would have 4097 observations and .* 16781312 entries"):
        full_observation(game)
    assert own_action_observation(game).n_observations == (5,) * 6
