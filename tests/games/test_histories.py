import pytest

from marlspec.errors import InputError
from marlspec.games.histories import History, beginning, sigma, sigma_i

HISTORY = beginning(3, (0, 5)).then((1, 0), 2, (4, 6)).then((0, 0), 2, (1, 7))


def test_a_full_history_holds_states_observations_and_actions_in_order():
    assert History((3, 2, 2), ((0, 5), (4, 6), (1, 7)), ((1, 0), (0, 0))) == HISTORY
    assert (HISTORY.t, beginning(3, (0, 5)).t) == (2, 0)


def test_sigma_keeps_what_is_observed():
    assert sigma(HISTORY) == ((0, 5), (4, 6), (1, 7))
    assert sigma_i(HISTORY, 0) == (0, 4, 1)
    assert sigma_i(HISTORY, 1) == (5, 6, 7)


def test_histories_with_the_same_observations_are_one_to_the_agents():
    other = beginning(0, (0, 5)).then((1, 1), 1, (4, 6)).then((0, 1), 0, (1, 7))
    assert other != HISTORY
    assert sigma(other) == sigma(HISTORY)


def test_going_on_leaves_the_history_as_it_was():
    start = beginning(3, (0, 5))
    one, two = start.then((0, 0), 1, (0, 0)), start.then((1, 1), 2, (0, 0))
    assert start == beginning(3, (0, 5))
    assert len({start, one, two}) == 3


@pytest.mark.parametrize("i", [-1, 2])
def test_there_is_no_history_of_an_agent_that_is_not_there(i):
    with pytest.raises(InputError, match=f"there is no agent {i}: agents are numbered 0 to 1"):
        sigma_i(HISTORY, i)
