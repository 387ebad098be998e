from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import battle_of_the_sexes
from marlspec.reference.solution.welfare import fairness, welfare


def test_welfare_is_the_sum_and_fairness_the_product():
    assert welfare([2, 3, -4]) == 1
    assert fairness([2, 3, -4]) == -24
    assert welfare([Fraction(1, 3), Fraction(1, 6)]) == Fraction(1, 2)
    assert fairness([Fraction(1, 3), Fraction(1, 6)]) == Fraction(1, 18)
    assert welfare([0.5, 0.25]) == 0.75
    assert type(fairness([2**70, 3])) is int


def test_tables_are_weighed_joint_action_by_joint_action():
    payoffs = battle_of_the_sexes().payoffs
    assert welfare(payoffs).tolist() == [[3, 0], [0, 3]]
    assert fairness(payoffs).tolist() == [[2, 0], [0, 2]]
    assert welfare(np.ones((3, 2))).tolist() == [3, 3]


@given(st.integers(0, 20), st.integers(0, 10))
def test_of_equal_sums_the_more_equal_is_fairer(total, shift):
    shift = min(shift, total)
    apart, together = [2 * total, 0], [2 * total - shift, shift]
    assert welfare(apart) == welfare(together)
    assert fairness(together) >= fairness(apart)
    assert fairness([total, total]) >= fairness(together)


@pytest.mark.parametrize("rewards", [[], 3, [1, float("nan")], [[1, 2], [3]]])
def test_what_are_no_rewards_is_refused(rewards):
    for weigh in (welfare, fairness):
        with pytest.raises(InputError, match="rewards"):
            weigh(rewards)
