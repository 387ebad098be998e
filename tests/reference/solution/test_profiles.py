from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import climbing
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.profiles import (
    TOLERANCE,
    checked_joint,
    checked_profile,
    joint_rewards,
    product_distribution,
    pure_profile,
)

GAME = NormalFormGame.common_reward([[1, 2, 3], [4, 5, 6]])


def test_exact_mixes_come_back_as_they_are():
    mixes = checked_profile(GAME, [[Fraction(1, 3), Fraction(2, 3)], [0, 1, 0]])
    assert [mix.tolist() for mix in mixes] == [[Fraction(1, 3), Fraction(2, 3)], [0, 1, 0]]
    assert all(type(p) is Fraction for mix in mixes for p in mix)


def test_floats_are_clipped_and_divided_by_their_exact_sum():
    own, other = checked_profile(GAME, (np.array([1.0, -5e-7]), [0.1, 0.2, 0.7]))
    assert own.tolist() == [1, 0]
    assert sum(other) == 1
    assert other[0] == Fraction(0.1) / (Fraction(0.1) + Fraction(0.2) + Fraction(0.7))


def test_float32_and_tensor_mixes_are_dyadic_numbers():
    own, other = checked_profile(GAME, [np.array([0.25, 0.75], dtype=np.float32), np.ones(3, dtype=np.float32) / 3])
    assert own.tolist() == [Fraction(1, 4), Fraction(3, 4)]
    assert other.tolist() == [Fraction(1, 3)] * 3
    assert checked_profile(GAME, [torch.tensor([0.25, 0.75]).numpy(), [1, 0, 0]])[0].tolist() == [
        Fraction(1, 4),
        Fraction(3, 4),
    ]


def test_numpy_integers_cannot_overflow_later():
    own, _ = checked_profile(GAME, [[np.int64(0), np.int64(1)], np.array([1, 0, 0])])
    assert {type(p.numerator) for p in own} == {int}


def test_checked_mixes_are_read_only_copies():
    given_mix = np.array([0.5, 0.5])
    own, _ = checked_profile(GAME, [given_mix, [1, 0, 0]])
    with pytest.raises(ValueError, match="read-only"):
        own[0] = Fraction(1)
    given_mix[0] = 3
    assert own[0] == Fraction(1, 2)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([[1, 0]], "one mix for each of the 2 agents"),
        (3, "one mix for each of the 2 agents"),
        ([[1, 0], [1, 0]], r"profile\[1\] has shape \(2,\) where 3 probabilities"),
        ([[1, 0], [[1], [0], [0]]], r"profile\[1\] has shape \(3, 1\)"),
        ([[1, 0], 1], r"profile\[1\] has shape \(\)"),
        ([[1, 0], [Fraction(1, 3), Fraction(1, 3), Fraction(1, 4)]], r"profile\[1\] sums to 11/12"),
        ([[Fraction(10**12 + 1, 10**12), 0], [1, 0, 0]], r"profile\[0\] sums to 1000000000001/1000000000000"),
        (
            [[Fraction(10**12 + 1, 10**12), Fraction(-1, 10**12)], [1, 0, 0]],
            r"profile\[0\]\[1\] is -1/1000000000000: .* negative",
        ),
        ([[1.0, -2e-6], [1, 0, 0]], r"profile\[0\]\[1\] is -2e-06: a probability is not negative"),
        ([[0.5, 0.50001], [1, 0, 0]], r"profile\[0\] sums to 1.00001"),
        ([[0.5, 0.4999], [1, 0, 0]], r"profile\[0\] sums to 0.9999"),
        ([[1.0, float("nan")], [1, 0, 0]], r"profile\[0\]\[1\] is nan"),
        ([[1.0, float("inf")], [1, 0, 0]], r"profile\[0\]\[1\] is inf"),
        ([[True, False], [1, 0, 0]], r"profile\[0\]\[0\] is True"),
        ([["1", 0], [1, 0, 0]], r"profile\[0\]\[0\] is '1'"),
        ([[1, None], [1, 0, 0]], r"profile\[0\]\[1\] is None"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_place(profile, message):
    with pytest.raises(InputError, match=message):
        checked_profile(GAME, profile)


def test_the_tolerance_is_where_it_is_said_to_be():
    checked_profile(GAME, [[0.5, 0.5 + 0.9 * TOLERANCE], [1, 0, 0]])
    with pytest.raises(InputError, match="sums to"):
        checked_profile(GAME, [[0.5, 0.5 + 1.1 * TOLERANCE], [1, 0, 0]])


def test_joint_distributions_are_checked_alike():
    assert checked_joint(GAME, [[0.5, 0, 0], [0, 0, 0.5]])[1, 2] == Fraction(1, 2)
    with pytest.raises(InputError, match=r"joint has shape \(3, 2\) where 2x3"):
        checked_joint(GAME, np.full((3, 2), 1 / 6))
    with pytest.raises(InputError, match=r"joint\[1\]\[2\] is -1"):
        checked_joint(GAME, [[1, 1, 0], [0, 0, -1]])
    with pytest.raises(InputError, match="joint sums to 2"):
        checked_joint(GAME, [[1, 0, 0], [0, 0, 1]])


def test_pure_profiles_play_one_action():
    assert [mix.tolist() for mix in pure_profile(GAME, (1, 2))] == [[0, 1], [0, 0, 1]]
    with pytest.raises(InputError, match="no action 3"):
        pure_profile(GAME, (1, 3))


def test_product_distribution_multiplies():
    joint = product_distribution([[Fraction(1, 3), Fraction(2, 3)], [Fraction(1, 2), 0, Fraction(1, 2)]])
    assert joint.tolist() == [[Fraction(1, 6), 0, Fraction(1, 6)], [Fraction(1, 3), 0, Fraction(1, 3)]]
    assert product_distribution([[0.25, 0.75]]).tolist() == [Fraction(1, 4), Fraction(3, 4)]
    with pytest.raises(InputError, match=r"profile\[1\] sums to 1/2"):
        product_distribution([[1], [Fraction(1, 2)]])
    with pytest.raises(InputError, match="one mix for each agent"):
        product_distribution([])


@given(st.lists(st.integers(0, 4), min_size=12, max_size=12).filter(any), st.integers(0, 2**32))
def test_joint_rewards_are_the_weighted_sum(weights, seed):
    payoffs = np.random.default_rng(seed).integers(-9, 10, (3, 2, 3, 2))
    joint = np.array([Fraction(weight, sum(weights)) for weight in weights]).reshape(2, 3, 2)
    expected = [sum(joint[a] * int(payoffs[i][a]) for a in product(range(2), range(3), range(2))) for i in range(3)]
    assert joint_rewards(NormalFormGame(payoffs), joint).tolist() == expected
    halves = NormalFormGame(payoffs * 0.5)
    assert joint_rewards(halves, joint).tolist() == [value / 2 for value in expected]


def test_rewards_of_rounded_payoffs_are_exact():
    game = NormalFormGame([[[0.1, 0.2]], [[0.3, 0.4]]])
    assert joint_rewards(game, [[Fraction(1, 3), Fraction(2, 3)]]).tolist() == [
        Fraction(0.1) / 3 + Fraction(0.2) * 2 / 3,
        Fraction(0.3) / 3 + Fraction(0.4) * 2 / 3,
    ]
    assert joint_rewards(climbing(), np.full((3, 3), Fraction(1, 9))).tolist() == [Fraction(-31, 9)] * 2
