from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.properties.proof.decomposition import decide_linear, decide_monotone, decide_supermodular
from marlspec.properties.proof.projection import (
    additive_projection,
    isotonic_regression,
    monotone_fits,
    monotone_projection,
)

BELOW_SEVEN = NormalFormGame.common_reward([[0, 10], [10, 12]])
# Two digits, as in the literature's tables.
PUBLISHED_ADDITIVE = {
    "monotonic": [[-2.5, 2.5], [2.5, 7.5]],
    "climbing": [[-9.22, -8.56, -1.22], [-10.56, -9.89, -2.56], [0.78, 1.44, 8.78]],
    "2b": [[-1.5, 2.5], [2.5, 6.5]],
    "qtran": [[-6.22, -4.89, -4.89], [-4.89, -3.56, -3.56], [-4.89, -3.56, -3.56]],
}


def floats(table):
    return np.array(table, dtype=float)


# --- additive ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED_ADDITIVE)
def test_the_additive_projection_has_the_published_values(name):
    fit = additive_projection(get(name))
    assert np.abs(floats(fit.table) - PUBLISHED_ADDITIVE[name]).max() <= 0.005 + 1e-12


def test_the_additive_error_on_climbing_is_the_published_one():
    fit = additive_projection(get("climbing"))
    assert isinstance(fit.mean_squared_error, Fraction)
    assert round(float(fit.mean_squared_error), 2) == 175.09


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 3), (2, 3, 2), (2, 2, 2, 2)])
def test_the_additive_projection_agrees_with_least_squares(shape):
    generator = np.random.default_rng(len(shape))
    for _ in range(20):
        reward = generator.integers(-9, 10, shape)
        fit = additive_projection(NormalFormGame.common_reward(reward))
        design = np.array(
            [[float(a[i] == k) for i, count in enumerate(shape) for k in range(count)] for a in np.ndindex(shape)]
        )
        solution = np.linalg.lstsq(design, reward.ravel().astype(float), rcond=None)[0]
        assert np.abs(floats(fit.table).ravel() - design @ solution).max() < 1e-9
        assert decide_linear(NormalFormGame.common_reward(fit.table)).holds
        residual = reward - fit.table
        assert fit.mean_squared_error == Fraction(sum(value**2 for value in residual.flat), reward.size)
        for i in range(len(shape)):
            others = tuple(k for k in range(len(shape)) if k != i)
            assert not np.any(residual.sum(axis=others))


def test_an_additive_game_is_its_own_projection():
    fit = additive_projection(get("linear"))
    assert fit.table.tolist() == [[1, 5], [5, 9]]
    assert fit.mean_squared_error == 0
    assert fit.greedy == ((1, 1),)


def test_floats_are_projected_as_the_dyadic_numbers_they_are():
    fit = additive_projection(NormalFormGame.common_reward([[0.5, 0.25], [0.0, 1.0]]))
    assert fit.table.tolist() == [[Fraction(3, 16), Fraction(9, 16)], [Fraction(5, 16), Fraction(11, 16)]]


# --- monotone ------------------------------------------------------------------------------------------------------


def test_the_best_monotone_fit_of_climbing_is_the_published_one():
    fit = monotone_projection(get("climbing"))
    assert round(float(fit.mean_squared_error), 2) == 110.82
    assert fit.greedy == ((2, 2),)
    assert decide_monotone(NormalFormGame.common_reward(fit.table)).holds


def test_the_best_monotone_fits_of_the_qtran_matrix_are_the_published_ones():
    game = get("qtran")
    fit = monotone_projection(game)
    assert fit.mean_squared_error == 32
    assert fit.greedy == ((0, 0),)
    assert fit.table.tolist() == [[8, -6, -6], [-6, -6, -6], [-6, -6, -6]]
    other = min(
        (fit for fit in monotone_fits(game) if (0, 0) not in fit.greedy), key=lambda fit: fit.mean_squared_error
    )
    assert other.mean_squared_error == Fraction(320, 9)
    assert round(float(other.mean_squared_error), 2) == 35.56
    assert sorted(other.table.flat) == [-8] * 5 + [0] * 4


@pytest.mark.parametrize("name", ["linear", "monotonic", "2b", "or"])
def test_a_monotone_game_is_its_own_monotone_fit(name):
    fit = monotone_projection(get(name))
    assert fit.mean_squared_error == 0
    assert np.array_equal(fit.table, get(name).shared_reward())


def upper_sets(rows, columns):
    """Indicators of all upper sets of a grid, given by the first column taken in each row."""
    for starts in product(range(columns + 1), repeat=rows):
        if all(above >= below for above, below in pairwise(starts)):
            yield np.array([[int(column >= start) for column in range(columns)] for start in starts])


def error_by_max_min(table):
    """The least mean squared error by the max-min formula (Robertson, Wright and Dykstra 1988).

    The fit at x is the largest over upper sets U with x of the smallest over lower sets L with x of the mean over both.
    """
    upper = np.stack([indicator.ravel() for indicator in upper_sets(*table.shape)])
    lower = 1 - upper
    counts = np.einsum("uc,lc->ul", upper, lower)
    sums = np.einsum("uc,lc,c->ul", upper, lower, table.ravel().astype(float))
    means = sums / np.maximum(counts, 1)
    fit = [means[upper[:, cell] == 1][:, lower[:, cell] == 1].min(axis=1).max() for cell in range(table.size)]
    return ((np.array(fit) - table.ravel()) ** 2).mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (2, 3), (3, 3), (4, 2)])
def test_isotonic_regression_is_exact_and_agrees_with_the_max_min_formula(shape):
    generator = np.random.default_rng(sum(shape))
    for _ in range(40):
        table = generator.integers(-6, 7, shape).astype(object)
        fit = isotonic_regression(table)
        assert set(map(type, fit.flat)) <= {int, Fraction}
        assert_optimality_conditions(table, fit)
        error = float(sum((fit - table).ravel() ** 2)) / table.size
        assert error == pytest.approx(error_by_max_min(table), abs=1e-8)


def assert_optimality_conditions(table, fit):
    """In rationals: the fit lies in the cone, its residual is orthogonal to it and has no gain along any upper set."""
    assert all(np.all(np.diff(fit, axis=axis) >= 0) for axis in range(2))
    residual = table - fit
    assert (residual * fit).sum() == 0
    assert residual.sum() == 0
    assert all((residual * indicator).sum() <= 0 for indicator in upper_sets(*table.shape))


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3)])
def test_the_best_fit_is_best_over_all_orders(shape):
    generator = np.random.default_rng(7)
    for _ in range(5):
        table = generator.integers(-6, 7, shape)
        fit = monotone_projection(NormalFormGame.common_reward(table))
        errors = [
            error_by_max_min(table[np.ix_(rows, columns)])
            for rows in permutations(range(shape[0]))
            for columns in permutations(range(shape[1]))
        ]
        assert float(fit.mean_squared_error) == pytest.approx(min(errors), abs=1e-8)
        assert fit.mean_squared_error == Fraction(((fit.table - table) ** 2).sum(), table.size)
        ordered = fit.table[np.ix_(*fit.orders)]
        assert all(np.all(np.diff(ordered, axis=axis) >= 0) for axis in range(2))


def test_monotone_fits_refuse_what_they_cannot_do():
    with pytest.raises(InputError, match="two agents"):
        monotone_projection(get("coordination:3x2"))
    with pytest.raises(InputError, match="518400 orders of actions"):
        monotone_projection(get("coordination:2x6"))
    with pytest.raises(InputError, match="not a common-reward game"):
        monotone_projection(get("stag-hunt"))
    with pytest.raises(InputError, match="not a common-reward game"):
        additive_projection(get("stag-hunt"))


# --- one convex monotone hidden layer (docs/proofs.md) -------------------------------------------------------------


class ConvexLayer:
    """Q_tot = sum_k |w2_k| ELU(sum_i |w_ki| u_i(a_i) + b_k) + v on every joint action, of one flat parameter vector."""

    def __init__(self, game, hidden=8):
        self.sizes = [*game.n_actions, game.n_agents * hidden, hidden, hidden, 1]
        self.actions = torch.tensor(list(game.joint_actions()))
        self.hidden = hidden

    def values(self, parameters):
        *utilities, w, b, w2, v = parameters.split(self.sizes)
        joint = torch.stack([u[a] for u, a in zip(utilities, self.actions.T, strict=True)], dim=-1)
        units = torch.nn.functional.elu(joint @ w.abs().reshape(-1, self.hidden) + b)
        return units @ w2.abs() + v


def best_errors(game, starts=4):
    """The mean squared errors that fits from several starts end with (L-BFGS, float64)."""
    layer, generator = ConvexLayer(game), np.random.default_rng(0)
    reward = torch.tensor(game.as_float64().shared_reward()).flatten()

    def error_and_gradient(point):
        parameters = torch.tensor(point, requires_grad=True)
        error = (layer.values(parameters) - reward).square().mean()
        error.backward()
        return error.item(), parameters.grad.numpy()

    start_points = generator.normal(size=(starts, sum(layer.sizes)))
    return [minimize(error_and_gradient, point, jac=True, options={"maxiter": 400}).fun for point in start_points]


@pytest.mark.parametrize(("game", "floor"), [(get("or"), 6.25), (BELOW_SEVEN, 4.0)], ids=["OR", "10-12"])
def test_a_convex_layer_meets_the_error_floor_and_no_less(game, floor):
    assert decide_monotone(game).holds
    assert not decide_supermodular(game).holds
    errors = best_errors(game)
    assert min(errors) >= floor - 1e-6
    assert min(errors) <= floor + 1e-3


@pytest.mark.parametrize("name", ["linear", "monotonic", "2b"])
def test_a_convex_layer_fits_the_supermodular_games_of_the_table(name):
    assert decide_supermodular(get(name)).holds
    assert min(best_errors(get(name))) <= 1e-3


def test_every_convex_layer_gives_a_supermodular_game():
    generator = np.random.default_rng(3)
    for _ in range(100):
        counts = generator.integers(1, 4, int(generator.integers(2, 4)))
        utilities = [generator.integers(-4, 5, count) for count in counts]
        joint = np.array(list(product(*utilities)))
        w, b, w2 = (
            generator.integers(0, 4, (len(counts), 3)),
            generator.integers(-9, 10, 3),
            generator.integers(0, 4, 3),
        )
        table = (np.maximum(joint @ w + b, 0) @ w2).reshape(counts)
        assert decide_supermodular(NormalFormGame.common_reward(table)).holds


SUBSETS = list(product((0, 1), repeat=4))
# The weights of the inequality in docs/proofs.md, by the set of agents 1, 2, 3, 4 that play B.
INEQUALITY = {
    (0, 0, 0, 0): 2, (1, 1, 0, 0): 6, (0, 0, 1, 0): 2, (0, 0, 0, 1): 2, (1, 0, 1, 1): 6, (0, 1, 1, 1): 6,
    (1, 0, 1, 0): -3, (0, 1, 1, 0): -3, (1, 0, 0, 1): -3, (0, 1, 0, 1): -3, (0, 0, 1, 1): -6, (1, 1, 1, 1): -6,
}  # fmt: skip


def counterexample(S):
    return sum(S) - min(2, max(S[0], S[1]) + S[2] + S[3])


def hinges():
    """max(0, v(S) - t) on all sets S of four agents, for each extreme (v, t) with v >= 0.

    Where the signs of v(S) - t are fixed the hinge is linear in (v, t), so that every hinge is a non-negative
    combination of these: the extreme rays lie where four of the 20 planes v_i = 0, v(S) = t meet in a line.
    """
    planes = np.array([(*row, 0) for row in np.eye(4, dtype=int)] + [(*S, -1) for S in SUBSETS])
    meets = planes[list(map(list, combinations(range(len(planes)), 4)))].astype(float)
    minors = [np.linalg.det(np.delete(meets, k, axis=-1)) * (-1) ** k for k in range(5)]
    rays = {tuple(sign * ray) for ray in np.rint(np.stack(minors, axis=-1)).astype(int) for sign in (-1, 1)}
    extreme = [ray for ray in rays if any(ray) and min(ray[:4]) >= 0]
    assert all((planes @ ray == 0).sum() >= 4 for ray in extreme)
    return [[max(0, int(np.dot(v, S)) - int(t)) for S in SUBSETS] for *v, t in extreme]


def test_supermodularity_does_not_suffice_for_one_convex_layer():
    table = np.array([counterexample(S) for S in SUBSETS]).reshape(2, 2, 2, 2)
    game = NormalFormGame.common_reward(table)
    assert decide_monotone(game).holds
    assert decide_supermodular(game).holds

    weights = np.array([INEQUALITY.get(S, 0) for S in SUBSETS])
    assert weights.sum() == 0
    gains = [int(weights @ np.array(hinge)) for hinge in hinges()]
    assert max(gains) == 0
    assert min(gains) < 0
    violation = int(weights @ table.ravel())
    assert violation == 6
    floor = Fraction(violation**2, int(weights @ weights) * 16)
    assert floor == Fraction(3, 304)

    errors = best_errors(game)
    assert min(errors) >= float(floor) - 1e-6
    assert min(errors) <= float(floor) + 2e-3


def test_a_reversed_order_of_actions_only_costs_more():
    """The floors are for the order in which the game rises, and reversing agent i's order lifts the error above them.

    A fit that falls where the game rises by d is off by at least d^2 / 2 on the two joint actions together.
    """
    counterexample_table = np.array([counterexample(S) for S in SUBSETS]).reshape(2, 2, 2, 2)
    tables = [(counterexample_table, Fraction(3, 304))]
    tables += [(get("or").shared_reward(), Fraction(25, 4)), (BELOW_SEVEN.shared_reward(), 4)]
    for table, floor in tables:
        for i in range(table.ndim):
            rises = np.diff(table.astype(object), axis=i)
            assert np.all(rises >= 0)
            assert Fraction(int((rises**2).sum()), 2 * table.size) > floor
