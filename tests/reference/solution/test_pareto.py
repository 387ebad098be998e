from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import climbing, get, prisoners_dilemma
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution import linear_program
from marlspec.reference.solution.nash import expected_rewards, is_nash, pure_equilibria
from marlspec.reference.solution.pareto import (
    CLASSES,
    dominates,
    is_pareto_optimal,
    pareto_optimal_actions,
    policy_rewards,
)
from marlspec.reference.solution.product_dominance import _dominating_point
from marlspec.reference.solution.profiles import joint_rewards, product_distribution

# Each agent prefers one corner of the diagonal; mixing by halves without coordination is worth 3/2, with it 5/2.
BENT = NormalFormGame([[[4, 1], [1, 0]], [[0, 1], [1, 4]]], name="bent")
HALVES = ([Fraction(1, 2), Fraction(1, 2)], [Fraction(1, 2), Fraction(1, 2)])
# Reward 29/20 for both: below what halves bring, and reached by no product policy that leaves an agent pure.
BELOW_HALVES = np.array([[Fraction(9, 40), Fraction(13, 40)], [Fraction(9, 40), Fraction(9, 40)]], dtype=object)


def random_game(seed, shape, low=-4, high=5):
    return NormalFormGame(np.random.default_rng(seed).integers(low, high, (len(shape), *shape)))


def random_profile(generator, shape):
    weights = [generator.integers(0, 4, count) for count in shape]
    weights = [own if own.any() else own + 1 for own in weights]
    return tuple([Fraction(int(w), int(own.sum())) for w in own] for own in weights)


def plainly_dominates(u, v):
    return all(a >= b for a, b in zip(u, v, strict=True)) and list(u) != list(v)


class TestDominates:
    @pytest.mark.parametrize(
        ("u", "v", "answer"),
        [
            ([1, 2], [1, 1], True),
            ([1, 1], [1, 1], False),
            ([2, 0], [1, 1], False),
            ([Fraction(1, 3)], [Fraction(33, 100)], True),
            ([0.1 + 0.2], [0.3], True),
            ([Fraction(3, 10)], [0.3], True),
            ([0.3], [Fraction(3, 10)], False),
        ],
    )
    def test_is_decided_exactly(self, u, v, answer):
        assert dominates(u, v) is answer

    def test_needs_as_many_agents(self):
        with pytest.raises(InputError, match=r"u has shape \(2,\) and v \(1,\)"):
            dominates([1, 2], [1])


class TestParetoOptimalActions:
    @settings(max_examples=80, deadline=None)
    @given(
        st.sampled_from([(4,), (3, 4), (5, 5), (2, 3, 2), (2, 2, 2, 2)]),
        st.sampled_from([1, 3, 50]),
        st.sampled_from([1, Fraction(1, 7), 0.1, 10**30]),
        st.integers(0, 2**32),
    )
    def test_agrees_with_a_plain_loop(self, shape, spread, unit, seed):
        drawn = np.random.default_rng(seed).integers(-spread, spread + 1, (len(shape), *shape))
        game = NormalFormGame((drawn.astype(object) * unit).tolist())
        rewards = {a: game.rewards(a).tolist() for a in game.joint_actions()}
        plain = {a for a, own in rewards.items() if not any(plainly_dominates(u, own) for u in rewards.values())}
        found = pareto_optimal_actions(game)
        assert found.shape == shape
        assert set(map(tuple, np.argwhere(found).tolist())) == plain

    def test_in_zero_sum_games_all_are_and_in_common_reward_games_the_best(self):
        assert pareto_optimal_actions(get("rock-paper-scissors")).all()
        assert pareto_optimal_actions(climbing()).tolist() == [[True, False, False], [False] * 3, [False] * 3]
        assert pareto_optimal_actions(prisoners_dilemma()).tolist() == [[True, True], [True, False]]

    def test_a_large_game(self):
        payoffs = np.random.default_rng(0).standard_normal((2, 300, 300))
        found = pareto_optimal_actions(NormalFormGame(payoffs))
        rewards = payoffs[:, found]
        assert rewards.shape[1] > 1
        for u in rewards.T:
            assert not ((payoffs >= u[:, None, None]).all(axis=0) & (payoffs > u[:, None, None]).any(axis=0)).any()
        for u in payoffs[:, ~found].T[:500]:
            assert ((rewards >= u[:, None]).all(axis=0) & (rewards > u[:, None]).any(axis=0)).any()


class TestPolicies:
    def test_joint_actions_profiles_and_distributions(self):
        assert policy_rewards(climbing(), (0, 0)).tolist() == [11, 11]
        assert policy_rewards(climbing(), ([1, 0, 0], [0, 1, 0])).tolist() == [-30, -30]
        assert policy_rewards(climbing(), np.eye(3) / 3).tolist() == [Fraction(23, 3)] * 2

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            ("AA", "a policy is a joint action"),
            ((0, 3), "no action 3"),
            ((0,), "1 actions for 2"),
            ((True, False), r"profile\[0\]"),
            (([1, 0], [1, 0]), r"profile\[0\] has shape"),
            (np.eye(3), "joint sums to 3"),
        ],
    )
    def test_what_is_no_policy_is_refused(self, policy, message):
        with pytest.raises(InputError, match=message):
            policy_rewards(climbing(), policy)

    def test_an_unknown_class_is_refused(self):
        with pytest.raises(InputError, match="'deterministic', 'correlated', 'product'"):
            is_pareto_optimal(climbing(), (0, 0), among="mixed")


class TestClimbing:
    """Erratum E27: with common rewards Pareto-optimal implies Nash, and Nash does not imply Pareto-optimal."""

    @pytest.mark.parametrize("among", CLASSES)
    def test_nash_without_pareto(self, among):
        assert is_nash(climbing(), ([0, 1, 0], [0, 1, 0]))
        dominated = is_pareto_optimal(climbing(), (1, 1), among)
        assert dominated.answer == "no"
        assert policy_rewards(climbing(), dominated.dominated_by).tolist() == [11, 11]
        assert is_nash(climbing(), ([1, 0, 0], [1, 0, 0]))
        assert is_pareto_optimal(climbing(), (0, 0), among).answer == "yes"

    def test_pareto_implies_nash_with_common_rewards(self):
        reverse_fails = 0
        for seed in range(50):
            table = np.random.default_rng(seed).integers(0, 6, (3, 3, 2))
            game = NormalFormGame.common_reward(table)
            optimal = set(map(tuple, np.argwhere(pareto_optimal_actions(game)).tolist()))
            stable = set(map(tuple, pure_equilibria(game).tolist()))
            assert optimal <= stable
            reverse_fails += optimal < stable
        assert reverse_fails > 0


class TestClasses:
    def test_the_three_classes_differ(self):
        answers = {among: is_pareto_optimal(BENT, HALVES, among) for among in CLASSES}
        assert {among: answer.answer for among, answer in answers.items()} == {
            "deterministic": "yes",
            "correlated": "no",
            "product": "yes",
        }
        assert all(answer.exact for answer in answers.values())
        better = joint_rewards(BENT, answers["correlated"].dominated_by)
        assert dominates(better, [Fraction(3, 2), Fraction(3, 2)])

    def test_a_profile_that_dominates_though_no_joint_action_does(self):
        game = NormalFormGame([[[4, 0], [0, 0]], [[0, 0], [0, 4]]])
        joint = np.array([[1, 3], [3, 1]]) / 8
        assert joint_rewards(game, joint).tolist() == [Fraction(1, 2)] * 2
        assert is_pareto_optimal(game, joint).answer == "yes"
        answer = is_pareto_optimal(game, joint, "product")
        assert answer.answer == "no"
        assert dominates(expected_rewards(game, answer.dominated_by), [Fraction(1, 2)] * 2)

    def test_dominated_in_the_interior_of_the_square_alone(self):
        assert joint_rewards(BENT, BELOW_HALVES).tolist() == [Fraction(29, 20), Fraction(29, 20)]
        for swapped in (BENT, NormalFormGame(BENT.payoffs[::-1])):
            answer = is_pareto_optimal(swapped, BELOW_HALVES, "product")
            assert answer.answer == "no"
            assert all(0 < p < 1 for mix in answer.dominated_by for p in mix)

    def test_pure_joint_actions_settle_deterministic_and_product(self):
        answer = is_pareto_optimal(prisoners_dilemma(), ([0, 1], [0, 1]))
        assert answer.dominated_by == (0, 0)
        product_answer = is_pareto_optimal(prisoners_dilemma(), (1, 1), "product")
        assert [mix.tolist() for mix in product_answer.dominated_by] == [[1, 0], [1, 0]]

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from([(2, 2), (3, 3), (2, 4), (1, 3)]), st.booleans(), st.integers(0, 2**32))
    def test_answers_carry_their_proof_and_agree(self, shape, floats, seed):
        game = random_game(seed, shape)
        game = NormalFormGame(game.as_float64().payoffs * 0.1) if floats else game
        profile = random_profile(np.random.default_rng(seed), shape)
        own = expected_rewards(game, profile)
        answers = {among: is_pareto_optimal(game, profile, among) for among in CLASSES}
        for answer in answers.values():
            assert answer.exact
            assert answer.answer in ("yes", "no")
            assert (answer.answer == "no") is (answer.dominated_by is not None)
            if answer.answer == "no":
                assert plainly_dominates(policy_rewards(game, answer.dominated_by), own)
        weights = answers["correlated"].weights
        if answers["correlated"].answer == "yes":
            assert min(weights) > 0
            worth = [
                sum(w * Fraction(u) for w, u in zip(weights, game.rewards(a), strict=True))
                for a in game.joint_actions()
            ]
            assert max(worth) == sum(w * u for w, u in zip(weights, own, strict=True))
            assert answers["product"].answer == "yes"
        if answers["product"].answer == "yes":
            assert answers["deterministic"].answer == "yes"

    def test_deterministic_dominance_agrees_with_a_plain_loop(self):
        for seed in range(60):
            shape = [(2, 2), (2, 2, 2), (3, 2)][seed % 3]
            game = random_game(seed, shape, -2, 3)
            game = NormalFormGame(game.as_float64().payoffs * 0.1) if seed % 2 else game
            profile = random_profile(np.random.default_rng(seed), shape)
            own = expected_rewards(game, profile)
            plain = any(plainly_dominates(list(map(Fraction, game.rewards(a))), own) for a in game.joint_actions())
            assert is_pareto_optimal(game, profile).answer == ("no" if plain else "yes")

    def test_floats_are_compared_with_rationals_exactly(self):
        after = np.nextafter(1.0, 2.0)
        between = NormalFormGame([[[1.0, after]], [[1.0, after]]])
        assert is_pareto_optimal(between, np.array([[0.5, 0.5]])).dominated_by == (0, 1)
        level = NormalFormGame([[[1.0, 0.5, 1.5]], [[1.0, 0.5, 1.5]]])
        assert is_pareto_optimal(level, np.array([[0, 0.5, 0.5]])).dominated_by == (0, 2)
        assert is_pareto_optimal(NormalFormGame(level.payoffs[:, :, :2]), (0, 0)).answer == "yes"


class TestTwoAgents:
    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.integers(-3, 4), min_size=8, max_size=8))
    def test_a_square_is_decided_as_a_grid_shows(self, gains):
        """Found points are verified; and where a point of the grid dominates, one is found."""
        corners = np.array(gains).reshape(2, 2, 2)
        found = _dominating_point(corners.astype(object) * Fraction(1))
        steps = np.arange(13)
        mixes = np.stack([12 - steps, steps], axis=1)
        reached = np.einsum("pa,iab,qb->ipq", mixes, corners, mixes)
        on_grid = ((reached >= 0).all(axis=0) & (reached > 0).any(axis=0)).any()
        assert found is not None or not on_grid
        if found is not None:
            p, q = found
            gained = [
                (1 - p) * ((1 - q) * own[0, 0] + q * own[0, 1]) + p * ((1 - q) * own[1, 0] + q * own[1, 1])
                for own in corners.astype(object)
            ]
            assert 0 <= p <= 1
            assert 0 <= q <= 1
            assert plainly_dominates(gained, [0, 0])

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from([(2, 2), (3, 2), (3, 3)]), st.integers(0, 2**32))
    def test_no_product_policy_on_a_grid_contradicts_a_yes(self, shape, seed):
        generator = np.random.default_rng(seed)
        game = random_game(seed, shape)
        joint = product_distribution(random_profile(generator, shape))
        answer = is_pareto_optimal(game, joint, "product")
        rewards = joint_rewards(game, joint)
        if answer.answer == "yes":
            grid = [simplex_grid(count, 8) for count in shape]
            reached = np.einsum("xa,iab,yb->ixy", grid[0], game.as_float64().payoffs, grid[1])
            bound = rewards.astype(np.float64)[:, None, None]
            assert not ((reached >= bound - 1e-12).all(axis=0) & (reached > bound + 1e-9).any(axis=0)).any()

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from([(2, 2), (3, 2), (3, 3)]), st.integers(1, 3), st.integers(0, 2**32))
    def test_rewards_just_below_those_of_a_profile_are_dominated(self, shape, step, seed):
        """A distribution that mostly follows a profile, and else the worst for both, is dominated by that profile."""
        generator = np.random.default_rng(seed)
        payoffs = generator.integers(-4, 5, (2, *shape))
        payoffs[:, 0, 0] = -9
        game = NormalFormGame(payoffs)
        followed = product_distribution(random_profile(generator, shape))
        worst = np.full(shape, Fraction(0), dtype=object)
        worst[0, 0] = Fraction(1)
        joint = followed * (1 - Fraction(step, 40)) + worst * Fraction(step, 40)
        followed_rewards, rewards = joint_rewards(game, followed), joint_rewards(game, joint)
        answer = is_pareto_optimal(game, joint, "product").answer
        assert answer == "no" or (followed_rewards == rewards).all()


def simplex_grid(count, steps):
    points = [p for p in product(range(steps + 1), repeat=count) if sum(p) == steps]
    return np.array(points) / steps


class TestManyAgents:
    def test_unknown_where_nothing_is_proved(self):
        bystander = NormalFormGame([[[[4], [1]], [[1], [0]]], [[[0], [1]], [[1], [4]]], [[[5], [5]], [[5], [5]]]])
        answer = is_pareto_optimal(bystander, (*HALVES, [1]), "product")
        assert answer.answer == "unknown"
        assert not answer.exact
        assert answer.dominated_by is None
        assert is_pareto_optimal(bystander, (*HALVES, [1]), "correlated").answer == "no"

    def test_a_dominating_profile_is_found_and_verified(self):
        found = 0
        for seed in range(10):
            game = random_game(seed, (2, 2, 2))
            profile = random_profile(np.random.default_rng(seed), (2, 2, 2))
            answer = is_pareto_optimal(game, profile, "product")
            if answer.answer == "no":
                assert plainly_dominates(expected_rewards(game, answer.dominated_by), expected_rewards(game, profile))
                found += is_pareto_optimal(game, profile).answer == "yes"
            else:
                assert is_pareto_optimal(game, profile).answer == "yes"
        assert found > 0

    def test_with_common_rewards_three_classes_agree(self):
        game = NormalFormGame.common_reward(np.arange(8).reshape(2, 2, 2))
        for among in CLASSES:
            assert is_pareto_optimal(game, (1, 1, 1), among).answer == "yes"
            assert is_pareto_optimal(game, (1, 1, 0), among).answer == "no"

    def test_an_agent_alone(self):
        game = NormalFormGame([[1, 3, 3]])
        for among in CLASSES:
            assert is_pareto_optimal(game, ([0, Fraction(1, 2), Fraction(1, 2)],), among).answer == "yes"
            assert is_pareto_optimal(game, (0,), among).answer == "no"


def test_floats_that_settle_nothing_are_unknown(monkeypatch):
    monkeypatch.setattr(linear_program, "_basic_solution", lambda program, floats: None)
    monkeypatch.setattr(linear_program, "SMALL", 0)
    found = {"yes": 0, "no": 0, "unknown": 0}
    for seed in range(20):
        game = random_game(seed, (3, 3), -99, 100)
        optimal = np.argwhere(pareto_optimal_actions(game))[0]
        answer = is_pareto_optimal(game, tuple(optimal.tolist()), "correlated")
        assert answer.exact is (answer.answer != "unknown")
        assert answer.gap == 0 or answer.answer == "unknown"
        assert answer.gap < 1e-9
        found[answer.answer] += 1
    assert found["unknown"] > 0
