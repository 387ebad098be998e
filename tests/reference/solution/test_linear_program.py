from fractions import Fraction
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.reference.solution import linear_program
from marlspec.reference.solution.linear_program import BASIS, ROUNDED, SIMPLEX, LinearProgram, maximise
from marlspec.reference.solution.rationals import as_fractions, over_common_denominator, solve


def program(objective, upper, shares):
    return LinearProgram(*(np.array(part, dtype=object) for part in (objective, upper, shares)))


def random_program(seed):
    """A distribution and a level that it must not exceed: feasible, bounded, often with ties."""
    generator = np.random.default_rng(seed)
    u, k = generator.integers(1, 6, 2)
    rows = generator.integers(-3, 4, (u, k)).astype(object)
    upper = np.column_stack([rows, np.full((u, 1), -1)]) * Fraction(1, 7)
    objective = np.append(generator.integers(-2, 3, k).astype(object), -5) * Fraction(1, 3)
    return program(objective.tolist(), upper.tolist(), [1] * k + [0])


def is_proved(lp, optimum):
    """Optimality by weak duality, term by term."""
    point, prices = optimum.point.tolist(), optimum.prices.tolist()
    columns = range(len(point))
    return (
        min(point) >= 0
        and min(prices, default=0) >= 0
        and sum(p for p, s in zip(point, lp.shares, strict=True) if s) == 1
        and all(sum(c * p for c, p in zip(row, point, strict=True)) <= 0 for row in lp.upper.tolist())
        and all(
            sum(price * row[j] for price, row in zip(prices, lp.upper.tolist(), strict=True))
            + optimum.level * lp.shares[j]
            >= lp.objective[j]
            for j in columns
        )
        and sum(c * p for c, p in zip(lp.objective, point, strict=True)) == optimum.level
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_every_optimum_is_proved(seed):
    lp = random_program(seed)
    optimum = maximise(lp)
    assert optimum.exact
    assert optimum.method in (BASIS, SIMPLEX)
    assert is_proved(lp, optimum)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_simplex_algorithm_alone_ends_at_an_optimum(seed):
    lp = random_program(seed)
    order = np.random.default_rng(seed).permutation(len(lp.shares)).tolist()
    point, prices, level = linear_program.simplex(lp.objective, lp.upper, lp.shares, order)
    assert is_proved(lp, linear_program.Optimum(point, prices, level, Fraction(0), SIMPLEX))
    assert level == maximise(lp).level


def test_fractions_and_prices_are_in_the_units_of_the_program():
    """The third variable must reach twice the first plus the second, and each unit of it costs 1/9."""
    objective = [Fraction(1, 3), Fraction(1, 2), Fraction(-1, 9)]
    optimum = maximise(program(objective, [[Fraction(2, 7), Fraction(1, 7), Fraction(-1, 7)]], [1, 1, 0]))
    assert optimum.point.tolist() == [0, 1, 1]
    assert optimum.prices.tolist() == [Fraction(7, 9)]
    assert optimum.level == Fraction(1, 2) - Fraction(1, 9)


@pytest.mark.parametrize("small", [0, 10**6])
def test_differences_below_the_tolerances_of_highs(monkeypatch, small):
    monkeypatch.setattr(linear_program, "SMALL", small)
    hair = Fraction(1, 10**20)
    for values in ([1, 1 + hair, 1], [1 + hair, 1, 1], [1, 1, 1 + hair]):
        lp = program(values, [[1, -1, 0]], [1, 1, 1])
        optimum = maximise(lp)
        assert optimum.exact is is_proved(lp, optimum)
        assert optimum.exact or (optimum.method == ROUNDED and optimum.gap > 0)
        if small:
            assert optimum.level == (1 + hair / 2 if values[0] > 1 else 1 + hair)


def test_numbers_beyond_float64_are_no_obstacle():
    lp = program([10**400, 1], [[-(10**400), 10**400]], [1, 1])
    assert maximise(lp).point.tolist() == [1, 0]


def test_a_failure_of_highs_is_repaired_where_the_program_is_small(monkeypatch):
    lp = random_program(7)
    level = maximise(lp).level
    monkeypatch.setattr(linear_program, "_highs", lambda lp: None)
    assert maximise(lp).level == level
    monkeypatch.setattr(linear_program, "SMALL", 0)
    with pytest.raises(ArithmeticError, match="found no optimum"):
        maximise(lp)


def test_a_wrong_answer_is_never_called_exact(monkeypatch):
    lp = program([1, 2], [[1, -1]], [1, 1])
    found = linear_program._highs(lp)
    monkeypatch.setattr(linear_program, "_highs", lambda lp: found._replace(point=found.point[::-1].copy()))
    monkeypatch.setattr(linear_program, "SMALL", 0)
    monkeypatch.setattr(linear_program, "_basic_solution", lambda lp, floats: None)
    wrong = maximise(lp)
    assert not wrong.exact
    assert wrong.gap == 1


@pytest.mark.parametrize(
    ("objective", "point", "level"),
    [([0, 0], [1, 0], 0), ([2, 1], [0, 1], 1), ([0, 0], [0, 3], 0), ([1, 1], [0, 1], 3)],
    ids=["inequality", "prices", "equation", "objectives"],
)
def test_each_condition_of_optimality_is_measured(objective, point, level):
    lp = program(objective, [[1, -1]], [1, 1])
    found = linear_program._optimum(lp, np.array(point, dtype=object), np.zeros(1, dtype=object), Fraction(level), "")
    assert found.gap == {0: {1: 1, 0: 2}[point[0]], 1: 1, 3: 2}[level]
    assert not found.exact


def test_rounded_prices_are_in_the_units_of_the_program(monkeypatch):
    monkeypatch.setattr(linear_program, "_basic_solution", lambda lp, floats: None)
    monkeypatch.setattr(linear_program, "SMALL", 0)
    rounded = maximise(program([3000, 1000, 0], [[Fraction(2, 7), Fraction(-1, 7), Fraction(-1, 7)]], [1, 1, 1]))
    assert rounded.method == ROUNDED
    assert rounded.gap < Fraction(1, 10**9)
    assert rounded.prices[0] == pytest.approx(7000 * 2 / 3)


def test_solve_is_exact_and_knows_singular_systems():
    assert solve([[0, 2], [3, 1]], [1, 1]) == [Fraction(1, 6), Fraction(1, 2)]
    assert solve([[1, 2], [2, 4]], [1, 2]) is None
    assert solve([], []) == []
    assert solve([[10**40, 1], [10**40, 2]], [0, 1]) == [Fraction(-1, 10**40), 1]


@given(st.lists(st.one_of(st.integers(), st.fractions(), st.floats(-1e300, 1e300)), min_size=1, max_size=5))
def test_common_denominators_are_exact_and_least(values):
    integers, denominator = over_common_denominator(np.array(values, dtype=object))
    assert [Fraction(integer, denominator) for integer in integers] == [Fraction(value) for value in values]
    assert as_fractions(np.array(values, dtype=object)).tolist() == [Fraction(value) for value in values]
    assert gcd(*integers, denominator) == 1
