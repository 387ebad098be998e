from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import catalogue, chicken, climbing, get, matching_pennies, prisoners_dilemma
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.nash import (
    best_responses,
    deviation_rewards,
    expected_rewards,
    is_nash,
    pure_equilibria,
    regret,
    support_enumeration,
)
from marlspec.reference.solution.vertices import vertices

FIRST, SECOND, HALF = "1 0", "0 1", "1/2 1/2"
A, B, C = "1 0 0", "0 1 0", "0 0 1"
# Checked by hand: agent 1's mix, agent 2's mix of each extreme equilibrium; whether the game is degenerate.
EQUILIBRIA = {
    "linear": ([(SECOND, SECOND)], False),
    "monotonic": ([(FIRST, FIRST), (SECOND, SECOND)], True),
    "climbing": ([(A, A), ("5/16 0 11/16", "5/16 0 11/16"), (B, B)], False),
    "penalty": (
        [(A, C), (B, B), (C, A), ("1/6 5/6 0", "0 5/6 1/6"), ("0 5/6 1/6", "1/6 5/6 0")],
        False,
    ),
    "or": ([(FIRST, SECOND), (SECOND, FIRST), (SECOND, SECOND)], True),
    "2b": ([(SECOND, SECOND)], False),
    "qtran": (
        [(A, A), (B, B), (B, C), (C, B), (C, C)]
        + [(x, y) for x in ("3/8 5/8 0", "3/8 0 5/8") for y in ("3/8 5/8 0", "3/8 0 5/8")],
        True,
    ),
    "coordination": ([(FIRST, FIRST), (SECOND, SECOND), (HALF, HALF)], False),
    "stag-hunt": ([(FIRST, FIRST), (SECOND, SECOND), ("2/3 1/3", "2/3 1/3")], False),
    "prisoners-dilemma": ([(SECOND, SECOND)], False),
    "chicken": ([(FIRST, SECOND), (SECOND, FIRST), ("1/3 2/3", "1/3 2/3")], False),
    "battle-of-the-sexes": ([(FIRST, FIRST), (SECOND, SECOND), ("2/3 1/3", "1/3 2/3")], False),
    "matching-pennies": ([(HALF, HALF)], False),
    "rock-paper-scissors": ([("1/3 1/3 1/3", "1/3 1/3 1/3")], False),
}


def mixes(text):
    return tuple(tuple(Fraction(p) for p in mix.split()) for mix in text)


def as_set(equilibria):
    return {tuple(tuple(mix.tolist()) for mix in profile) for profile in equilibria.profiles}


def matrix_games():
    return {name: game for name, game in catalogue().items() if isinstance(game, NormalFormGame)}


def random_game(generator, shape, low=-9, high=10):
    return NormalFormGame(generator.integers(low, high, (len(shape), *shape)))


def random_profile(generator, shape):
    weights = [generator.integers(0, 4, count) for count in shape]
    weights = [own if own.any() else own + 1 for own in weights]
    return tuple([Fraction(int(w), int(own.sum())) for w in own] for own in weights)


def plain_reward(game, profile, i):
    """Agent i's expected reward by a plain loop over joint actions."""
    total = Fraction(0)
    for a in game.joint_actions():
        probability = Fraction(1)
        for mix, action in zip(profile, a, strict=True):
            probability *= mix[action]
        total += probability * Fraction(game.payoff(i, a))
    return total


def plain_regrets(game, profile):
    """What each agent gains by its best pure deviation, by a plain loop."""
    regrets = []
    for i, count in enumerate(game.n_actions):
        units = [[Fraction(int(k == action)) for k in range(count)] for action in range(count)]
        deviations = [plain_reward(game, (*profile[:i], unit, *profile[i + 1 :]), i) for unit in units]
        regrets.append(max(deviations) - plain_reward(game, profile, i))
    return regrets


class TestRegret:
    @pytest.mark.parametrize("shape", [(2,), (2, 3), (3, 2, 2), (2, 2, 1, 2)])
    def test_agrees_with_a_plain_loop(self, shape):
        generator = np.random.default_rng(len(shape))
        for _ in range(10):
            game, profile = random_game(generator, shape), random_profile(generator, shape)
            assert regret(game, profile).tolist() == plain_regrets(game, profile)
            rewards = [plain_reward(game, profile, i) for i in range(len(shape))]
            assert expected_rewards(game, profile).tolist() == rewards

    def test_of_fractions_and_of_floats_is_exact(self):
        thirds = NormalFormGame([[[Fraction(1, 3), Fraction(1, 2)]], [[Fraction(1, 5), Fraction(1, 7)]]])
        half = Fraction(1, 2)
        assert regret(thirds, [[1], [half, half]]).tolist() == [0, (Fraction(1, 5) - Fraction(1, 7)) / 2]
        tenths = NormalFormGame([[[0.1]], [[0.2]]])
        assert expected_rewards(tenths, [[1], [1]]).tolist() == [Fraction(0.1), Fraction(0.2)]

    def test_does_not_count_the_own_mix_among_the_deviations_of_others(self):
        rewards = deviation_rewards(chicken(), [[Fraction(1, 4), Fraction(3, 4)], [Fraction(1, 3), Fraction(2, 3)]])
        assert rewards[0].tolist() == [Fraction(14, 3), Fraction(14, 3)]
        assert rewards[1].tolist() == [Fraction(21, 4), Fraction(1, 4) * 2 + Fraction(3, 4) * 6]

    def test_of_a_float_profile_is_that_of_its_exact_normalisation(self):
        third = 1 / 3
        own = Fraction(third) / (2 * Fraction(third) + Fraction(1 - 2 * third))
        rps = get("rock-paper-scissors")
        exact = (own, own, 1 - 2 * own)
        assert regret(rps, [[third, third, 1 - 2 * third]] * 2).tolist() == plain_regrets(rps, (exact, exact))
        assert max(regret(rps, [[third, third, 1 - 2 * third]] * 2)) > 0

    def test_a_pure_profile_of_a_large_game_costs_no_pass_over_it(self):
        generator = np.random.default_rng(0)
        game = NormalFormGame(generator.standard_normal((5, *[8] * 5)))
        profile = [np.eye(8)[k] for k in range(5)]
        index = np.arange(5)
        for i, gain in enumerate(regret(game, profile)):
            own = game.payoffs[i][tuple(slice(None) if j == i else index[j] for j in range(5))]
            assert gain == Fraction(own.max()) - Fraction(own[i])


class TestIsNash:
    def test_epsilon_is_compared_exactly_and_included(self):
        profile = [[1, 0], [1, 0]]
        assert regret(prisoners_dilemma(), profile).tolist() == [1, 1]
        assert is_nash(prisoners_dilemma(), profile, 1)
        assert not is_nash(prisoners_dilemma(), profile, Fraction(10**20 - 1, 10**20))
        assert not is_nash(prisoners_dilemma(), profile)

    def test_one_agents_regret_suffices_to_refuse(self):
        game = NormalFormGame([[[0, 0]], [[0, 1]]])
        assert not is_nash(game, [[1], [1, 0]])
        assert is_nash(game, [[1], [0, 1]])

    def test_a_rounded_equilibrium_needs_a_positive_epsilon(self):
        third = [1 / 3, 1 / 3, 1 - 2 / 3]
        assert not is_nash(get("rock-paper-scissors"), [third, third])
        assert is_nash(get("rock-paper-scissors"), [third, third], 1e-15)

    @pytest.mark.parametrize("epsilon", [-1, float("nan"), float("inf")])
    def test_an_epsilon_that_bounds_nothing_is_refused(self, epsilon):
        with pytest.raises(InputError, match="epsilon is"):
            is_nash(climbing(), [[1, 0, 0]] * 2, epsilon)

    def test_a_wrong_profile_is_refused(self):
        with pytest.raises(InputError, match=r"profile\[0\]"):
            is_nash(climbing(), [[1, 0]] * 2)


class TestBestResponses:
    def test_all_ties_are_named(self):
        assert best_responses(matching_pennies(), [[Fraction(1, 2), Fraction(1, 2)]] * 2, 0) == (0, 1)
        assert best_responses(chicken(), [[1, 0], [1, 0]], 1) == (1,)
        assert best_responses(climbing(), [[1, 0, 0], [Fraction(5, 16), 0, Fraction(11, 16)]], 0) == (0, 2)

    def test_an_unknown_agent_is_refused(self):
        with pytest.raises(InputError, match="no agent 2"):
            best_responses(chicken(), [[1, 0], [1, 0]], 2)


class TestPureEquilibria:
    @staticmethod
    def by_loop(game):
        actions = list(product(*map(range, game.n_actions)))
        tables = [dict(zip(actions, payoff.ravel().tolist(), strict=True)) for payoff in game.payoffs]
        return [list(a) for a in actions if is_stable(tables, a, game.n_actions)]

    @pytest.mark.parametrize("name", EQUILIBRIA)
    def test_of_the_catalogue(self, name):
        known = [mixes(pair) for pair in EQUILIBRIA[name][0]]
        pure = sorted([mix.index(1) for mix in pair] for pair in known if all(1 in mix for mix in pair))
        assert pure_equilibria(get(name)).tolist() == pure

    @pytest.mark.parametrize("kind", ["int", "fraction", "float", "huge"])
    def test_of_a_thousand_games_for_three_and_four_agents(self, kind):
        generator = np.random.default_rng(len(kind))
        units = {"int": 1, "fraction": Fraction(1, 7), "float": 0.1, "huge": 10**30}
        found = 0
        for k in range(250):
            shape = tuple(generator.integers(1, 4, 3 + k % 2).tolist())
            payoffs = generator.integers(-3, 4, (len(shape), *shape)).astype(object) * units[kind]
            game = NormalFormGame(payoffs.tolist())
            assert pure_equilibria(game).tolist() == self.by_loop(game)
            found += len(self.by_loop(game))
        assert found > 250

    def test_a_hair_decides(self):
        exact = NormalFormGame([[[Fraction(10**40, 3)], [Fraction(10**40 + 1, 3)]], [[0], [0]]])
        assert pure_equilibria(exact).tolist() == [[1, 0]]
        floats = NormalFormGame([[[1.0], [np.nextafter(1.0, 2.0)]], [[0.0], [0.0]]])
        assert pure_equilibria(floats).tolist() == [[1, 0]]

    def test_a_large_game_is_enumerated_whole(self):
        game = NormalFormGame(np.random.default_rng(3).standard_normal((6, *[6] * 6)))
        found = pure_equilibria(game)
        assert all(max(regret(game, [np.eye(6)[k] for k in a])) == 0 for a in found.tolist())
        assert found.dtype == np.int64
        assert found.shape == (sum(is_stable_float(game.payoffs)), 6)

    def test_there_may_be_none(self):
        assert pure_equilibria(matching_pennies()).shape == (0, 2)


def is_stable(tables, a, counts):
    for i, count in enumerate(counts):
        if any(tables[i][(*a[:i], k, *a[i + 1 :])] > tables[i][a] for k in range(count)):
            return False
    return True


def is_stable_float(payoffs):
    """Whether each joint action is stable, flat, by sorting each agent's own rewards."""
    best = [np.sort(payoff, axis=i).take([-1], axis=i) for i, payoff in enumerate(payoffs)]
    return np.logical_and.reduce([payoff >= top for payoff, top in zip(payoffs, best, strict=True)]).ravel()


class TestSupportEnumeration:
    def test_the_fixtures_cover_the_catalogue(self):
        assert set(EQUILIBRIA) == set(matrix_games())

    @pytest.mark.parametrize("name", EQUILIBRIA)
    def test_of_the_catalogue(self, name):
        known, degenerate = EQUILIBRIA[name]
        found = support_enumeration(get(name))
        assert as_set(found) == {mixes(pair) for pair in known}
        assert len(found.profiles) == len(known)
        assert found.degenerate is degenerate
        assert found.exact

    @pytest.mark.parametrize("scale", [1.0, 0.1, 1e-12, 1e12])
    def test_climbing_in_floats_keeps_its_mixed_equilibrium(self, scale):
        found = support_enumeration(NormalFormGame(climbing().as_float64().payoffs * scale))
        assert len(found.profiles) == 3
        own, other = min(found.profiles, key=lambda profile: abs(profile[0][0] - Fraction(5, 16)))
        assert (own == other).all()
        assert own[1] == 0
        assert abs(own[0] - Fraction(5, 16)) < Fraction(1, 10**15)

    @pytest.mark.parametrize("k", [0, -10, Fraction(-7, 3), -100])
    def test_penalty(self, k):
        game = get(f"penalty:{k}")
        found = support_enumeration(game)
        assert all(plain_regrets(game, profile) == [0, 0] for profile in found.profiles)
        assert {
            tuple(mix.index(1) for mix in profile) for profile in as_set(found) if all(1 in m for m in profile)
        } == {
            (0, 2),
            (1, 1),
            (2, 0),
        }

    def test_an_indifferent_agent_makes_a_game_degenerate(self):
        found = support_enumeration(NormalFormGame([[[1], [1]], [[0], [0]]]))
        assert found.degenerate
        assert as_set(found) == {mixes(("1 0", "1")), mixes(("0 1", "1"))}

    def test_a_single_joint_action(self):
        found = support_enumeration(NormalFormGame([[[3]], [[-4]]]))
        assert as_set(found) == {((1,), (1,))}
        assert not found.degenerate

    def test_supports_of_unequal_size_in_a_degenerate_game(self):
        game = NormalFormGame([[[2, 0], [0, 2], [1, 1]], [[1, 1], [1, 1], [1, 1]]])
        found = support_enumeration(game)
        assert found.degenerate
        sizes = {tuple(sum(p > 0 for p in mix) for mix in profile) for profile in as_set(found)}
        assert (1, 2) in sizes
        assert as_set(found) == {
            (x, y)
            for x, y in product([(1, 0, 0), (0, 1, 0), (0, 0, 1)], [(1, 0), (0, 1), (Fraction(1, 2), Fraction(1, 2))])
            if plain_regrets(game, (x, y)) == [0, 0]
        }

    def test_degenerate_without_infinitely_many_equilibria(self):
        game = NormalFormGame([[[3, 3], [0, 0]], [[1, 0], [5, 5]]])
        found = support_enumeration(game)
        assert found.degenerate
        assert as_set(found) == {mixes((FIRST, FIRST))}

    def test_games_for_three_agents_are_refused(self):
        with pytest.raises(InputError, match="two agents"):
            support_enumeration(get("coordination:3x2"))

    def test_positive_affine_changes_of_payoffs_change_nothing(self):
        generator = np.random.default_rng(8)
        for _ in range(20):
            game = random_game(generator, (3, 3))
            changed = np.stack([game.payoffs[0] * 3 - 100, game.payoffs[1] * Fraction(2, 7) + 5])
            assert as_set(support_enumeration(NormalFormGame(changed))) == as_set(support_enumeration(game))

    def test_the_agents_may_swap_places(self):
        generator = np.random.default_rng(9)
        for _ in range(20):
            game = random_game(generator, (2, 4), -2, 3)
            swapped = NormalFormGame(game.payoffs[::-1].swapaxes(1, 2))
            mirrored = {(y, x) for x, y in as_set(support_enumeration(swapped))}
            assert mirrored == as_set(support_enumeration(game))

    def test_no_pure_equilibrium_of_a_degenerate_game_is_missed(self):
        generator = np.random.default_rng(10)
        for _ in range(100):
            game = random_game(generator, tuple(generator.integers(1, 4, 2)), 0, 2)
            found = support_enumeration(game)
            pure = {tuple(mix.index(1) for mix in pair) for pair in as_set(found) if all(1 in mix for mix in pair)}
            assert pure == set(map(tuple, pure_equilibria(game).tolist()))
            assert all(plain_regrets(game, profile) == [0, 0] for profile in found.profiles)


class TestAThousandGames:
    """Games without ties: none missed, none wrong, against a second method that shares no code with the first."""

    @staticmethod
    def games():
        generator = np.random.default_rng(2024)
        shapes = [(2, 2)] * 640 + [(2, 3), (3, 2)] * 110 + [(3, 3)] * 125 + [(4, 4)] * 15
        return [random_game(generator, shape, -50, 51) for shape in shapes]

    def test_against_a_plain_enumeration_of_equal_supports(self):
        degenerate = 0
        games = self.games()
        for game in games:
            found = support_enumeration(game)
            degenerate += found.degenerate
            if not found.degenerate:
                assert len(found.profiles) % 2 == 1
                assert as_set(found) == plain_support_enumeration(game)
                assert len(as_set(found)) == len(found.profiles)
        assert len(games) == 1000
        assert degenerate < 60

    def test_against_nashpy(self):
        nashpy = pytest.importorskip("nashpy", reason="nashpy is not installed: pip install nashpy")
        compared = 0
        for game in self.games()[600:1000:12]:
            found = support_enumeration(game)
            if found.degenerate:
                continue
            first, second = game.as_float64().payoffs
            theirs = [np.concatenate(pair) for pair in nashpy.Game(first, second).vertex_enumeration()]
            ours = [np.concatenate(pair).astype(float) for pair in found.profiles]
            assert len(theirs) == len(ours)
            assert all(min(np.abs(own - other).max() for other in theirs) < 1e-9 for own in ours)
            compared += 1
        assert compared > 25


def plain_support_enumeration(game):
    """All equilibria of a game without ties: solve for each pair of supports of one size, and test every candidate."""
    m, n = game.n_actions
    found = set()
    for k in range(1, min(m, n) + 1):
        for rows, columns in product(combinations(range(m), k), combinations(range(n), k)):
            y = indifference(game.payoffs[0][np.ix_(rows, columns)])
            x = y and indifference(game.payoffs[1][np.ix_(rows, columns)].T)
            if not x:
                continue
            profile = (spread_out(x, rows, m), spread_out(y, columns, n))
            if plain_regrets_of_two(game, profile) == [0, 0]:
                found.add(profile)
    return found


def indifference(payoffs):
    """The positive mix of the columns under which all rows are worth the same, by Cramer's rule; None without one."""
    k = len(payoffs)
    rows = [[*row, -1] for row in payoffs.tolist()] + [[1] * k + [0]]
    whole = determinant(rows)
    if whole == 0:
        return None
    last = [0] * k + [1]
    mix = [
        Fraction(determinant([[*row[:c], value, *row[c + 1 :]] for row, value in zip(rows, last, strict=True)]), whole)
        for c in range(k)
    ]
    return mix if min(mix) > 0 else None


def determinant(rows):
    if len(rows) == 1:
        return rows[0][0]
    return sum(
        (-1) ** c * value * determinant([[*row[:c], *row[c + 1 :]] for row in rows[1:]])
        for c, value in enumerate(rows[0])
        if value
    )


def spread_out(mix, support, count):
    return tuple(mix[support.index(k)] if k in support else Fraction(0) for k in range(count))


def plain_regrets_of_two(game, profile):
    x, y = profile
    own = [sum(q * u for q, u in zip(y, row, strict=True)) for row in game.payoffs[0].tolist()]
    other = [sum(p * u for p, u in zip(x, column, strict=True)) for column in game.payoffs[1].T.tolist()]
    played = (sum(p * u for p, u in zip(mix, u, strict=True)) for mix, u in ((x, own), (y, other)))
    return [max(u) - value for u, value in zip((own, other), played, strict=True)]


class TestVertices:
    @staticmethod
    def by_bases(matrix):
        """Every vertex as point and tight constraints, from all choices of d constraints."""
        k, d = len(matrix), len(matrix[0])
        constraints = [([int(c == j) for c in range(d)], 0) for j in range(d)] + [(row, 1) for row in matrix]
        found = set()
        for chosen in combinations(constraints, d):
            whole = determinant([row for row, _ in chosen])
            if whole == 0:
                continue
            point = [
                Fraction(determinant([[*row[:c], value, *row[c + 1 :]] for row, value in chosen]), whole)
                for c in range(d)
            ]
            values = [sum(a * b for a, b in zip(row, point, strict=True)) for row in matrix]
            if min(point) >= 0 and max(values) <= 1:
                tight = [j for j in range(d) if point[j] == 0] + [d + r for r in range(k) if values[r] == 1]
                found.add((tuple(point), sum(1 << label for label in tight)))
        return found

    @settings(max_examples=150, deadline=None)
    @given(st.data(), st.integers(1, 3), st.integers(1, 4), st.sampled_from([2, 3, 30]))
    def test_agree_with_all_bases_also_where_they_tie(self, data, d, k, high):
        matrix = data.draw(st.lists(st.lists(st.integers(1, high), min_size=d, max_size=d), min_size=k, max_size=k))
        found = vertices(matrix)
        expected = self.by_bases(matrix)
        assert {vertex.labels for vertex in found} == {labels for _, labels in expected}
        assert len(found) == len(expected)
        for vertex in found:
            point = next(point for point, labels in expected if labels == vertex.labels)
            scale = sum(vertex.point)
            assert [Fraction(c, scale) if scale else 0 for c in vertex.point] == [c / (sum(point) or 1) for c in point]
