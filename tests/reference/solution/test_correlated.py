from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import battle_of_the_sexes, catalogue, chicken, climbing, get, prisoners_dilemma
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution import correlated, linear_program
from marlspec.reference.solution.correlated import cce_gap, ce_gap, correlated_equilibrium
from marlspec.reference.solution.nash import regret, support_enumeration
from marlspec.reference.solution.profiles import joint_rewards, product_distribution

SHAPES = [(3,), (2, 2), (2, 3), (3, 3), (1, 3), (2, 2, 2), (2, 1, 3)]
TOGETHER = np.array([[Fraction(int(r == c), 3) for c in range(3)] for r in range(3)], dtype=object)


def random_game(seed, shape, low=-4, high=5):
    return NormalFormGame(np.random.default_rng(seed).integers(low, high, (len(shape), *shape)))


def random_joint(seed, shape):
    weights = np.random.default_rng(seed).integers(0, 5, shape)
    weights.flat[0] += 1
    return np.array([Fraction(int(w), int(weights.sum())) for w in weights.flat], dtype=object).reshape(shape)


def gain_of_rule(game, joint, i, rule):
    """What agent i gains by playing rule[told] whenever it is told an action, by a plain loop."""
    total = Fraction(0)
    for a in game.joint_actions():
        played = (*a[:i], rule[a[i]], *a[i + 1 :])
        total += joint[a] * (Fraction(game.payoff(i, played)) - Fraction(game.payoff(i, a)))
    return total


def plain_gaps(game, joint):
    """The largest gain by any rule, and by any rule that plays one action or does as told."""
    free, fixed = [], [Fraction(0)]
    for i, count in enumerate(game.n_actions):
        free += [gain_of_rule(game, joint, i, rule) for rule in product(range(count), repeat=count)]
        fixed += [gain_of_rule(game, joint, i, (action,) * count) for action in range(count)]
    return max(free), max(fixed)


def best_value_in_floats(game, values, coarse):
    """The optimum by a linear program written down anew, one constraint at a time."""
    from scipy.optimize import linprog

    actions = list(game.joint_actions())
    rows = []
    for i, count in enumerate(game.n_actions):
        for told, played in product([None] if coarse else range(count), range(count)):
            row = []
            for a in actions:
                moved = (*a[:i], played, *a[i + 1 :])
                heard = coarse or a[i] == told
                row.append(float(game.payoff(i, moved) - game.payoff(i, a)) if heard else 0.0)
            rows.append(row)
    objective = [-float(values[a]) for a in actions]
    return -linprog(objective, A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=[[1] * len(actions)], b_eq=[1]).fun


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**32))
def test_gaps_are_the_best_gains_of_all_rules(shape, seed):
    game, joint = random_game(seed, shape), random_joint(seed + 1, shape)
    assert (ce_gap(game, joint), cce_gap(game, joint)) == plain_gaps(game, joint)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**32))
def test_both_gaps_of_a_product_are_the_largest_regret(shape, seed):
    game = random_game(seed, shape)
    generator = np.random.default_rng(seed + 1)
    weights = [generator.integers(1, 5, count) for count in shape]
    profile = [[Fraction(int(w), int(own.sum())) for w in own] for own in weights]
    joint = product_distribution(profile)
    assert ce_gap(game, joint) == cce_gap(game, joint) == max(regret(game, profile))


def test_every_nash_product_of_the_catalogue_is_a_correlated_equilibrium():
    for game in catalogue().values():
        if isinstance(game, NormalFormGame):
            for profile in support_enumeration(game).profiles:
                assert ce_gap(game, product_distribution(profile)) == 0


def test_a_coarse_equilibrium_need_not_be_a_correlated_one():
    rps = get("rock-paper-scissors")
    assert cce_gap(rps, TOGETHER) == 0
    assert ce_gap(rps, TOGETHER) == 1


def test_doing_as_told_is_always_possible():
    turns = [[Fraction(1, 2), 0], [0, Fraction(1, 2)]]
    assert max(gain_of_rule(get("coordination"), np.array(turns), 0, (a, a)) for a in (0, 1)) == Fraction(-1, 2)
    assert cce_gap(get("coordination"), turns) == 0


def test_gaps_of_float_distributions_are_exact():
    joint = np.array([[0.1, 0.2], [0.3, 0.4]])
    total = sum(map(Fraction, joint.ravel()))
    exact = np.array([[Fraction(p) / total for p in row] for row in joint.tolist()], dtype=object)
    assert ce_gap(prisoners_dilemma(), joint) == plain_gaps(prisoners_dilemma(), exact)[0]
    with pytest.raises(InputError, match="joint sums to"):
        ce_gap(prisoners_dilemma(), joint * 2)


class TestBest:
    def test_welfare_best_of_chicken(self):
        found = correlated_equilibrium(chicken())
        assert found.joint.tolist() == [[0, Fraction(1, 4)], [Fraction(1, 4), Fraction(1, 2)]]
        assert found.value == found.bound == Fraction(21, 2)
        assert found.gap == 0
        assert found.exact
        assert joint_rewards(chicken(), found.joint).tolist() == [Fraction(21, 4)] * 2

    def test_welfare_best_of_the_catalogue(self):
        values = {"prisoners-dilemma": -6, "stag-hunt": 8, "climbing": 22, "battle-of-the-sexes": 3}
        for name, value in values.items():
            assert correlated_equilibrium(get(name)).value == value

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(SHAPES), st.integers(0, 2**32), st.booleans(), st.booleans())
    def test_is_verified_and_as_good_as_a_program_written_anew(self, shape, seed, coarse, floats):
        game = random_game(seed, shape)
        game = NormalFormGame(game.as_float64().payoffs * 0.1) if floats else game
        found = correlated_equilibrium(game, coarse=coarse)
        assert found.exact
        assert plain_gaps(game, found.joint)[int(coarse)] == found.gap == 0
        welfare = sum(game.payoffs)
        assert float(found.value) == pytest.approx(best_value_in_floats(game, welfare, coarse), abs=1e-6)
        assert found.value == sum(joint_rewards(game, found.joint))

    @pytest.mark.parametrize("seed", range(5))
    def test_each_agents_favourite(self, seed):
        game = random_game(seed, (2, 3, 2))
        for i in range(3):
            found = correlated_equilibrium(game, i)
            assert found.value == joint_rewards(game, found.joint)[i]
            assert float(found.value) == pytest.approx(best_value_in_floats(game, game.payoffs[i], False), abs=1e-7)

    def test_favourites_of_chicken(self):
        assert correlated_equilibrium(chicken(), 0).joint.tolist() == [[0, 1], [0, 0]]
        assert correlated_equilibrium(chicken(), 1).joint.tolist() == [[0, 0], [1, 0]]

    def test_any_table_of_values(self):
        crash = correlated_equilibrium(chicken(), [[1, 0], [0, 0]])
        assert crash.value == crash.joint[0, 0] == Fraction(1, 5)
        assert ce_gap(chicken(), crash.joint) == 0

    def test_coarse_equilibria_contain_the_correlated_ones(self):
        better = 0
        for seed in range(30):
            game = random_game(seed, (3, 3))
            fine, coarse = correlated_equilibrium(game), correlated_equilibrium(game, coarse=True)
            assert cce_gap(game, fine.joint) == 0
            assert coarse.value >= fine.value
            assert ce_gap(game, coarse.joint) > 0 or coarse.value == fine.value
            better += coarse.value > fine.value
        assert better > 0

    def test_an_equilibrium_is_no_worse_than_any_nash_equilibrium(self):
        for seed in range(20):
            game = random_game(seed, (3, 3))
            best = correlated_equilibrium(game).value
            for profile in support_enumeration(game).profiles:
                assert sum(joint_rewards(game, product_distribution(profile))) <= best

    def test_an_agent_alone_and_agents_without_a_choice(self):
        assert correlated_equilibrium(NormalFormGame([[1, 3, 2]])).joint.tolist() == [0, 1, 0]
        assert correlated_equilibrium(NormalFormGame([[[2]], [[-3]]])).value == -1

    def test_answers_in_floats_report_gap_and_bound(self, monkeypatch):
        games = [random_game(seed, (4, 4), -99, 100) for seed in range(6)]
        exact = [correlated_equilibrium(game).value for game in games]
        monkeypatch.setattr(linear_program, "_basic_solution", lambda program, floats: None)
        monkeypatch.setattr(linear_program, "SMALL", 0)
        rounded = [correlated_equilibrium(game) for game in games]
        for game, best, found in zip(games, exact, rounded, strict=True):
            assert found.exact is (found.gap == 0 and found.value == found.bound)
            assert found.method == linear_program.ROUNDED
            assert found.gap == ce_gap(game, found.joint) < 1e-9
            assert found.bound >= best
            assert abs(found.value - best) < 1e-9
            assert sum(found.joint.ravel()) == 1
        assert not all(found.exact for found in rounded)

    def test_the_gap_is_that_of_the_concept_asked_for(self, monkeypatch):
        wrong = correlated._Best(TOGETHER, Fraction(0), "a guess")
        monkeypatch.setattr(correlated, "_best", lambda game, constraints, values: wrong)
        fine = correlated_equilibrium(get("rock-paper-scissors"))
        assert (fine.gap, fine.value, fine.exact) == (1, 0, False)
        coarse = correlated_equilibrium(get("rock-paper-scissors"), coarse=True)
        assert (coarse.gap, coarse.value, coarse.exact) == (0, 0, True)


class TestFairness:
    def test_taking_turns_is_fair(self):
        found = correlated_equilibrium(battle_of_the_sexes(), "fairness")
        assert found.joint.tolist() == [[Fraction(1, 2), 0], [0, Fraction(1, 2)]]
        assert found.value == found.bound == Fraction(9, 4)
        assert found.exact

    def test_of_chicken(self):
        assert correlated_equilibrium(chicken(), "fairness").value == Fraction(441, 16)

    def test_that_nobody_can_have_everything_is_no_fault(self):
        found = correlated_equilibrium(NormalFormGame([[[0, 0]], [[1, 2]]]), "fairness")
        assert found.value == found.bound == 0
        assert found.exact

    @settings(max_examples=12, deadline=None)
    @given(st.sampled_from([(2, 2), (2, 3), (3, 3)]), st.booleans(), st.integers(0, 2**32))
    def test_of_two_agents_is_exact_and_beats_every_mixture(self, shape, coarse, seed):
        game = random_game(seed, shape, 0, 6)
        found = correlated_equilibrium(game, "fairness", coarse=coarse)
        assert found.exact
        assert plain_gaps(game, found.joint)[int(coarse)] == 0
        rewards = joint_rewards(game, found.joint)
        assert found.value == rewards[0] * rewards[1]
        corners = [correlated_equilibrium(game, goal, coarse=coarse).joint for goal in ("welfare", 0, 1)]
        for one, other in product(corners, corners):
            for t in (Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(4, 5)):
                mixed = joint_rewards(game, t * one + (1 - t) * other)
                assert mixed[0] * mixed[1] <= found.value

    def test_of_three_agents_lies_within_the_bound(self):
        turns = np.zeros((3, 3, 3, 3), dtype=np.int64)
        for i in range(3):
            turns[i, i, i, i] = 6
        found = correlated_equilibrium(NormalFormGame(turns), "fairness")
        assert found.gap == 0
        assert found.value <= 8 <= found.bound
        assert found.bound - found.value < 1e-6
        uneven = correlated_equilibrium(random_game(4, (2, 2, 2), 0, 9), "fairness")
        assert uneven.gap == 0
        assert 0 <= uneven.bound - uneven.value < 1e-6 * uneven.value

    def test_a_poor_mixture_is_not_called_exact(self, monkeypatch):
        def lopsided(corners):
            one, other = corners[:2]
            return correlated._Mixture(*((3 * a + b) / 4 for a, b in zip(one, other, strict=True)))

        monkeypatch.setattr(correlated, "_fairest_mixture", lopsided)
        found = correlated_equilibrium(battle_of_the_sexes(), "fairness")
        assert found.value == Fraction(35, 16)
        assert found.bound >= Fraction(9, 4)
        assert not found.exact

    def test_negative_rewards_are_refused(self):
        with pytest.raises(InputError, match=r"agent 0 receives -1 for \(C, C\) in Prisoner's Dilemma"):
            correlated_equilibrium(prisoners_dilemma(), "fairness")


class TestBadInput:
    @pytest.mark.parametrize(
        ("objective", "message"),
        [
            ("wealth", "objective is 'wealth'"),
            (2, "no agent 2"),
            (-1, "no agent -1"),
            (True, "objective is True"),
            (None, "objective is None"),
            ([[1, 2], [3, 4]], r"objective has shape \(2, 2\) where \(3, 3\)"),
            ([[1, 2, float("nan")]], r"objective\[0\]\[2\] is nan"),
        ],
    )
    def test_an_unknown_objective_is_refused(self, objective, message):
        with pytest.raises(InputError, match=message):
            correlated_equilibrium(climbing(), objective)

    def test_a_game_too_large_for_the_program_is_refused(self, monkeypatch):
        monkeypatch.setattr(correlated, "MAX_CELLS", 80)
        with pytest.raises(InputError, match=r"12 x 9 coefficients, .* coarse=True"):
            correlated_equilibrium(climbing())
        assert correlated_equilibrium(climbing(), coarse=True).exact
