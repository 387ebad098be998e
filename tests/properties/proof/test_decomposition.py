from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, permutations, product

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.properties.proof.decomposition import (
    QUESTIONS,
    AdditiveUtilities,
    BestActions,
    CrossingSlices,
    Decision,
    MixOfBest,
    MonotoneMixing,
    Rectangle,
    SupermodularOrders,
    decide,
    decide_igm,
    decide_linear,
    decide_monotone,
    decide_strictly_monotone,
    decide_supermodular,
    describe,
    verify,
)

BELOW_SEVEN = NormalFormGame.common_reward([[0, 10], [10, 12]], name="[[0,10],[10,12]]")


def answers(game):
    return "".join("y" if decision.holds else "n" for decision in decide(game).values())


# --- the published table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "expected"),
    [
        (get("linear"), "yyyyy"),
        (get("monotonic"), "nynyy"),
        (get("climbing"), "nnnny"),
        (get("2b"), "nyyyy"),
        (get("or"), "nynnn"),
        (BELOW_SEVEN, "nyyny"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_table_of_known_games(game, expected):
    assert list(decide(game)) == list(QUESTIONS) == ["linear", "monotone", "strict", "supermodular", "igm"]
    assert answers(game) == expected
    assert all(verify(decision, game) for decision in decide(game).values())


def test_erratum_e9_the_monotonic_game_is_decomposable_under_non_strict_monotonicity_only():
    game = get("monotonic")
    assert decide_monotone(game).holds
    strict = decide_strictly_monotone(game)
    assert not strict.holds
    assert verify(strict, game)


def test_erratum_e12_coordination_admits_no_igm_factorisation():
    decision = decide_igm(NormalFormGame.common_reward([[1, 0], [0, 1]]))
    assert decision == Decision("igm", False, MixOfBest(best=((0, 0), (1, 1)), mix=(0, 1)))


# --- certificates --------------------------------------------------------------------------------------------------


def test_certificates_of_known_games():
    assert decide_linear(get("linear")).certificate == AdditiveUtilities(((1, 5), (0, 4)))
    assert decide_linear(get("monotonic")).certificate == Rectangle((0, 1), (0, 0), (1, 1), 10)
    assert decide_monotone(get("2b")).certificate == MonotoneMixing(
        ((0, 1), (0, 1)), (((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 8))
    )
    assert decide_strictly_monotone(get("monotonic")).certificate == CrossingSlices(0, (0, 1), ((0, 0), (0, 1)))
    assert decide_supermodular(get("or")).certificate == Rectangle((0, 1), (0, 0), (1, 1), -10)
    assert decide_supermodular(get("2b")).certificate == SupermodularOrders(((0, 1), (0, 1)))
    assert isinstance(decide_supermodular(get("climbing")).certificate, CrossingSlices)
    assert decide_igm(get("climbing")).certificate == BestActions(((1, 0, 0), (1, 0, 0)))


def test_identical_slices_share_a_utility():
    game = NormalFormGame.common_reward([[1, 2], [1, 2], [0, 1]])
    assert decide_strictly_monotone(game).certificate == MonotoneMixing(
        ((1, 1, 0), (0, 1)), (((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 2))
    )


def test_one_agent_is_always_decomposable():
    assert answers(NormalFormGame.common_reward([3, 1, 2])) == "yyyyy"
    assert answers(NormalFormGame.common_reward([[[5]]])) == "yyyyy"


def test_floats_are_taken_as_the_dyadic_numbers_they_are():
    tenths = NormalFormGame.common_reward([[0.1, 0.2], [0.2, 0.3]])
    assert 0.1 + 0.2 != 0.3
    assert not decide_linear(tenths).holds
    assert decide_linear(
        NormalFormGame.common_reward([[Fraction(1, 10), Fraction(1, 5)], [Fraction(1, 5), Fraction(3, 10)]])
    ).holds
    assert decide_linear(NormalFormGame.common_reward([[0.25, 0.5], [0.5, 0.75]])).holds
    assert verify(decide_linear(tenths), tenths)


def test_general_sum_games_are_refused():
    for question in (decide_linear, decide_monotone, decide_strictly_monotone, decide_supermodular, decide_igm, decide):
        with pytest.raises(InputError, match="not a common-reward game"):
            question(get("prisoners-dilemma"))


# --- verify is a judge of its own ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("linear", Decision("linear", True, AdditiveUtilities(((1, 5), (0, 5))))),
        ("linear", Decision("linear", False, Rectangle((0, 1), (0, 0), (1, 1), 0))),
        ("linear", Decision("linear", False, Rectangle((0, 1), (0, 0), (1, 1), 1))),
        ("monotonic", Decision("linear", False, Rectangle((0, 1), (0, 0), (0, 1), 10))),
        ("monotonic", Decision("linear", False, Rectangle((0, 1), (0, 0), (1, 2), 10))),
        ("monotonic", Decision("linear", True, Rectangle((0, 1), (0, 0), (1, 1), 10))),
        ("2b", Decision("monotone", True, MonotoneMixing(((0, 1), (0, 1)), (((0, 0), 0), ((1, 1), 8))))),
        (
            "2b",
            Decision(
                "monotone",
                True,
                MonotoneMixing(((1, 0), (0, 1)), (((0, 0), 1), ((0, 1), 8), ((1, 0), 0), ((1, 1), 1))),
            ),
        ),
        (
            "monotonic",
            Decision(
                "strict", True, MonotoneMixing(((0, 1), (0, 1)), (((0, 0), 0), ((0, 1), 0), ((1, 0), 0), ((1, 1), 10)))
            ),
        ),
        ("2b", Decision("monotone", False, CrossingSlices(0, (0, 1), ((0, 0), (0, 1))))),
        ("monotonic", Decision("monotone", False, CrossingSlices(0, (0, 1), ((0, 0), (0, 1))))),
        ("2b", Decision("strict", False, CrossingSlices(0, (0, 1), ((0, 0), (0, 1))))),
        ("2b", Decision("supermodular", True, SupermodularOrders(((1, 0), (0, 1))))),
        ("2b", Decision("supermodular", True, SupermodularOrders(((0, 0), (0, 1))))),
        ("or", Decision("supermodular", True, SupermodularOrders(((0, 1), (0, 1))))),
        ("2b", Decision("supermodular", False, Rectangle((0, 1), (0, 0), (1, 1), 6))),
        ("2b", Decision("supermodular", False, Rectangle((0, 1), (1, 0), (0, 1), -6))),
        ("or", Decision("igm", True, BestActions(((1, 1), (0, 1))))),
        ("or", Decision("igm", True, BestActions(((0, 1), (0, 1))))),
        ("or", Decision("igm", False, MixOfBest(((0, 1), (1, 0)), (1, 1)))),
        ("or", Decision("igm", False, MixOfBest(((0, 0), (1, 0)), (0, 0)))),
        ("qtran", Decision("igm", False, MixOfBest(((0, 0), (0, 0)), (1, 1)))),
    ],
)
def test_wrong_certificates_are_rejected(name, decision):
    assert not verify(decision, get(name))


def test_a_certificate_for_another_question_or_answer_is_rejected():
    for name in ("linear", "monotonic", "climbing", "2b", "or"):
        for question, decision in decide(get(name)).items():
            assert not verify(replace(decision, holds=not decision.holds), get(name))
            other = "linear" if question == "igm" else "igm"
            assert not verify(replace(decision, question=other), get(name))


# --- against brute force -------------------------------------------------------------------------------------------


def linear_by_elimination(table):
    """Is the system sum_i u_i(a_i) = R(a) solvable? Gaussian elimination in integers, without division."""
    offsets = np.cumsum([0, *table.shape])
    rows = []
    for a, value in np.ndenumerate(table):
        row = [0] * int(offsets[-1]) + [int(value)]
        for i, action in enumerate(a):
            row[offsets[i] + action] = 1
        rows.append(row)
    for column in range(int(offsets[-1])):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows = [[x * pivot[column] - row[column] * p for x, p in zip(row, pivot, strict=True)] for row in rows]
    return all(not row[-1] for row in rows)


def non_decreasing(table):
    return all((np.diff(table, axis=i) >= 0).all() for i in range(table.ndim))


def reordered(table):
    for orders in product(*(permutations(range(count)) for count in table.shape)):
        yield table[np.ix_(*orders)]


def monotone_by_enumeration(table):
    return any(non_decreasing(other) for other in reordered(table))


def levels(count):
    """All weak orders of some actions, as levels without gaps."""
    return [level for level in product(range(count), repeat=count) if set(level) == set(range(max(level) + 1))]


def strict_by_enumeration(table):
    return any(is_strict_function(table, choice) for choice in product(*(levels(count) for count in table.shape)))


def is_strict_function(table, choice):
    """Is R a function of the levels that rises with each of them? Compared for all pairs of joint actions."""
    u = np.array(list(product(*choice)))
    below = (u[:, None] <= u[None]).all(-1)
    same = below & below.T
    rises = table.reshape(-1, 1) < table.reshape(1, -1)
    return bool(rises[below & ~same].all() and not rises[same].any())


def supermodular_by_enumeration(table):
    return any(non_decreasing(other) and satisfies_lattice_inequality(other) for other in reordered(table))


def satisfies_lattice_inequality(table):
    """R(max(a, b)) + R(min(a, b)) >= R(a) + R(b) for all pairs of joint actions."""
    return all(
        table[tuple(np.maximum(a, b))] + table[tuple(np.minimum(a, b))] >= table[a] + table[b]
        for a, b in combinations(np.ndindex(table.shape), 2)
    )


def igm_by_enumeration(table):
    best = {tuple(a) for a in np.argwhere(table == table.max()).tolist()}
    subsets = [
        [chosen for size in range(1, count + 1) for chosen in combinations(range(count), size)] for count in table.shape
    ]
    return any(set(product(*choice)) == best for choice in product(*subsets))


BRUTE_FORCE = {
    "linear": linear_by_elimination,
    "monotone": monotone_by_enumeration,
    "strict": strict_by_enumeration,
    "supermodular": supermodular_by_enumeration,
    "igm": igm_by_enumeration,
}
SHAPES = [(2, 2), (2, 3), (3, 2), (3, 3), (2, 2, 2), (1, 3), (2, 1, 2), (2, 3, 2)]
SEEDS, N_GAMES = range(4), 600


def additive(generator, shape):
    parts = [
        generator.integers(0, 3, count).reshape([-1 if i == k else 1 for i in range(len(shape))])
        for k, count in enumerate(shape)
    ]
    return sum(parts)


def one_entry_off(generator, table):
    table = table.copy()
    place = tuple(int(generator.integers(count)) for count in table.shape)
    table[place] += generator.choice([-2, -1, 1, 2])
    return table


def random_table(generator, shape):
    """Draw from families that between them make both answers to every question frequent."""
    sums = additive(generator, shape)
    kind = generator.integers(7)
    if kind == 0:
        return generator.integers(0, 3, shape)
    if kind == 1:
        return sums
    if kind == 2:
        return one_entry_off(generator, sums)
    if kind == 3:
        return np.maximum(sums - int(generator.integers(0, 4)), 0) ** 2 + sums * int(generator.integers(0, 2))
    if kind == 4:
        return np.minimum(sums, int(generator.integers(1, 4)))
    if kind == 5:
        return -((sums.max() - sums) ** 2)
    return one_entry_off(generator, sums**2)


def assert_known_implications(holds):
    assert not holds["linear"] or all(holds.values())
    assert not holds["strict"] or (holds["monotone"] and holds["igm"])
    assert not holds["supermodular"] or holds["monotone"]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_decision_agrees_with_brute_force_and_verifies(seed):
    generator = np.random.default_rng(seed)
    holds = Counter()
    for k in range(N_GAMES):
        table = random_table(generator, SHAPES[k % len(SHAPES)])
        game = NormalFormGame.common_reward(table)
        decisions = decide(game)
        for question, decision in decisions.items():
            assert decision.holds == BRUTE_FORCE[question](table), (question, table.tolist())
            assert verify(decision, game), (decision, table.tolist())
            holds[question] += decision.holds
        assert_known_implications({question: decision.holds for question, decision in decisions.items()})
    for question in QUESTIONS:
        assert 0.1 * N_GAMES <= holds[question] <= 0.9 * N_GAMES, holds


def test_answers_do_not_depend_on_scale_order_or_agents():
    generator = np.random.default_rng(5)
    for k in range(60):
        table = random_table(generator, SHAPES[k % len(SHAPES)]).astype(object)
        expected = answers(NormalFormGame.common_reward(table))
        assert answers(NormalFormGame.common_reward(table * Fraction(2, 3) - 5)) == expected
        assert answers(NormalFormGame.common_reward(table.T)) == expected
        assert answers(NormalFormGame.common_reward(np.flip(table))) == expected
        assert answers(NormalFormGame.common_reward(table.astype(float) / 4)) == expected


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "question", "text"),
    [
        ("linear", "linear", "R = u_1 + u_2 with u_1: A 1, B 5; u_2: A 0, B 4."),
        (
            "monotonic",
            "linear",
            "No sum of utilities: R(B, B) - R(B, A) - R(A, B) + R(A, A) = 10 - 0 - 0 + 0 = 10, and it must be 0.",
        ),
        (
            "2b",
            "strict",
            "R = f(u_1, u_2) with u_1: A 0, B 1; u_2: A 0, B 1 and f strictly increasing: "
            "f(0, 0) = 0, f(0, 1) = 1, f(1, 0) = 1, f(1, 1) = 8.",
        ),
        (
            "climbing",
            "monotone",
            "No order of agent 1's actions fits: B beats A where agent 2 plays B (7 > -30), "
            "A beats B where agent 2 plays A (11 > -30).",
        ),
        (
            "monotonic",
            "strict",
            "No strict order of agent 1's actions fits: A ties with B where agent 2 plays A (0 = 0), "
            "B beats A where agent 2 plays B (10 > 0).",
        ),
        (
            "2b",
            "supermodular",
            "R never falls and no mixed difference is negative in the order agent 1: A < B; agent 2: A < B.",
        ),
        (
            "or",
            "supermodular",
            "Raising both agents at once gains too little: "
            "R(B, B) - R(B, A) - R(A, B) + R(A, A) = 10 - 10 - 10 + 0 = -10, and it must be at least 0.",
        ),
        ("climbing", "igm", "The best joint actions are exactly those in which agent 1 plays A and agent 2 plays A."),
        (
            "or",
            "igm",
            "(A, B) and (B, A) are best with R = 10, so IGM would make their mix (A, A) best too, but R(A, A) = 0.",
        ),
    ],
)
def test_certificates_read_as_plain_words(name, question, text):
    game = get(name)
    assert describe(decide(game)[question], game) == text


def test_words_name_three_agents_and_shorten_long_tables():
    game = NormalFormGame.common_reward(np.arange(27).reshape(3, 3, 3))
    text = describe(decide_monotone(game), game)
    assert "f(0, 0, 0) = 0" in text
    assert "and 15 more entries" in text
    crossing = NormalFormGame.common_reward([[[0, 1], [0, 1]], [[0, 0], [0, 1]]])
    assert "where agent 2 plays A and agent 3 plays" in describe(decide_strictly_monotone(crossing), crossing)


def test_words_show_floats_as_they_were_given():
    game = NormalFormGame.common_reward([[0.1, 0.2], [0.2, 0.5]])
    assert "0.5 - 0.2 - 0.2 + 0.1 = " in describe(decide_linear(game), game)
