"""Small games whose expected return is a sum over all courses: against courses that are walked one by one."""

from itertools import product

import numpy as np
import pytest
import torch

from marlspec.properties.finite_games import drawn_game, expected_return, smaller_games, weights


def walked(case, policies, state=0, t=0):
    """All courses from a state: (probability, discounted return, [(t, state, joint action, return from there on)])."""
    if t == case["horizon"]:
        return [(1.0, 0.0, [])]
    n, A = policies.shape[1:]
    found = []
    for a in product(range(A), repeat=n):
        own = np.prod([policies[state, i, a[i]] for i in range(n)])
        reward = np.array(case["rewards"])[(state, *a)]
        following = np.array(case["following"])[(state, *a)]
        for probability, later, visited in walked(case, policies, following, t + 1):
            total = reward + case["gamma"] * later
            found.append((own * probability, total, [(t, state, a, total), *visited]))
    return found


@pytest.fixture(params=range(12))
def drawn(request):
    generator = np.random.default_rng(request.param)
    n = int(generator.integers(1, 4))
    case = drawn_game(generator, n, 2)
    return case, generator.dirichlet(np.ones(2), (len(case["rewards"]), n))


def test_the_expected_return_is_the_mean_over_courses(drawn):
    case, policies = drawn
    mean = sum(probability * total for probability, total, _ in walked(case, policies))
    assert expected_return(case, torch.from_numpy(policies)).item() == pytest.approx(mean, abs=1e-12)


def test_a_score_weighs_what_courses_give_it(drawn):
    case, policies = drawn
    due = np.zeros(policies.shape)
    for probability, _, visited in walked(case, policies):
        for t, state, a, total in visited:
            for i, own in enumerate(a):
                due[state, i, own] += probability * case["gamma"] ** t * total
    assert weights(case, torch.from_numpy(policies)).numpy() == pytest.approx(due, abs=1e-12)


def test_smaller_games_are_games(drawn):
    case, policies = drawn
    whole = {**case, "logits": policies.tolist(), "available": np.ones(policies.shape, dtype=bool).tolist()}
    found = list(smaller_games(whole))
    for smaller in found:
        shape = np.shape(smaller["rewards"])
        assert np.shape(smaller["following"]) == shape
        assert np.shape(smaller["logits"]) == np.shape(smaller["available"]) == (shape[0], len(shape) - 1, 2)
        assert 0 <= np.min(smaller["following"]) <= np.max(smaller["following"]) < shape[0]
    assert len(found) == (
        case["horizon"]
        - 1
        + (case["gamma"] != 1)
        + (policies.shape[1] if policies.shape[1] > 1 else 0)
        + (len(case["rewards"]) > 1)
    )
