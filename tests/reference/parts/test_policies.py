"""Stochastic policies: their probabilities, how they are drawn from, and their entropy."""

import math

import pytest
import torch

from marlspec.reference.parts.policies import entropy, log_policy, log_probability, permitted, sample_actions

LOGITS = torch.tensor([[0.0, math.log(2), math.log(5)], [7.0, 7.0, -50.0]])
AVAILABLE = torch.tensor([[True, True, True], [True, False, True]])


@pytest.fixture(autouse=True)
def _same_numbers():
    state = torch.get_rng_state()
    torch.manual_seed(3)
    yield
    torch.set_rng_state(state)


def test_probabilities_are_the_softmax_over_available_actions():
    expected = torch.tensor([[1 / 8, 2 / 8, 5 / 8], [1.0, 0.0, math.exp(-57)]])
    torch.testing.assert_close(log_policy(LOGITS, AVAILABLE).exp(), expected)


def test_an_agent_without_available_actions_is_given_all():
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert permitted(none).all()
    torch.testing.assert_close(log_policy(LOGITS, none), LOGITS.log_softmax(-1))
    assert permitted(AVAILABLE).equal(AVAILABLE)


def test_actions_are_drawn_as_often_as_the_policy_says():
    """Within four standard deviations of each frequency, and never an unavailable action."""
    draws = 40_000
    log_pi = log_policy(LOGITS, AVAILABLE)
    actions = sample_actions(log_pi.expand(draws, 2, 3))
    for i in range(2):
        for a, p in enumerate(log_pi[i].exp().tolist()):
            share = (actions[:, i] == a).double().mean().item()
            assert abs(share - p) <= 4 * math.sqrt(p * (1 - p) / draws)


def test_agents_and_copies_draw_for_themselves():
    actions = sample_actions(torch.zeros(5000, 2, 3))
    together = (actions[:, 0] == actions[:, 1]).double().mean().item()
    assert together == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 5000))


def test_log_probability_is_that_of_each_agents_own_action():
    log_pi = torch.tensor([[[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0]]])
    assert log_probability(log_pi, torch.tensor([[2, 0]])).tolist() == [[-3.0, -4.0]]


def test_entropy_counts_available_actions_alone_and_has_a_finite_gradient():
    logits = torch.tensor([[0.0, math.log(3), 9.0], [1.0, 1.0, 1.0]], requires_grad=True)
    available = torch.tensor([[True, True, False], [True, True, True]])
    found = entropy(log_policy(logits, available))
    expected = [-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    found[0].backward()
    slope = -0.25 * 0.75 * math.log(3)  # dH/dp of the second action's probability times p (1 - p)
    assert logits.grad.flatten().tolist() == pytest.approx([-slope, slope, 0, 0, 0, 0], abs=1e-6)
