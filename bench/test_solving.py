"""W6, speed of the solvers: pure equilibria of a large game, and two-agent games beside nashpy.

Where benchmarks are switched off all games are small ones. nashpy computes in floats, this project in rationals.
"""

import warnings

import numpy as np
import pytest

from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.nash import pure_equilibria, regret, support_enumeration

pytestmark = pytest.mark.long

SIZES = [2, 3, 4, 5, 6, 7]
SMALL = 3


def named(benchmark, what, size, whose="ours", **facts):
    benchmark.extra_info.update(workload=f"W6/{what}/{size}/{whose}", **facts)


def random_game(*shape):
    return NormalFormGame(np.random.default_rng(0).integers(-50, 50, (len(shape), *shape)))


def square_game(benchmark, size):
    size = min(size, SMALL) if benchmark.disabled else size
    return random_game(size, size)


def as_nashpy(game):
    nashpy = pytest.importorskip("nashpy")
    return nashpy.Game(*game.as_float64().payoffs)


@pytest.mark.parametrize("shape", [(100, 100, 1000), (10,) * 7], ids=["3 agents", "7 agents"])
@pytest.mark.parametrize("numbers", ["float64", "exact"])
def test_pure_equilibria(benchmark, numbers, shape):
    """All pure equilibria of a game with ten million joint actions."""
    if benchmark.disabled:
        shape = (SMALL,) * len(shape)
    game = random_game(*shape)
    game = game.as_float64() if numbers == "float64" else game
    facts = {"joint_actions": int(np.prod(shape)), "agents": len(shape)}
    named(benchmark, f"pure equilibria, {numbers}", f"{len(shape)} agents", **facts)
    found = benchmark.pedantic(pure_equilibria, (game,), rounds=3)
    assert found.shape[1] == len(shape)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="all equilibria")
def test_all_equilibria(benchmark, size):
    named(benchmark, "all equilibria", size)
    found = benchmark(support_enumeration, square_game(benchmark, size))
    assert len(found.profiles) % 2 == 1 or found.degenerate


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="all equilibria")
def test_all_equilibria_by_nashpy(benchmark, size):
    game = as_nashpy(square_game(benchmark, size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named(benchmark, "all equilibria", size, "nashpy, supports")
        assert benchmark(lambda: list(game.support_enumeration()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="all equilibria")
def test_all_equilibria_by_vertices_of_nashpy(benchmark, size):
    game = as_nashpy(square_game(benchmark, size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named(benchmark, "all equilibria", size, "nashpy, vertices")
        assert benchmark(lambda: list(game.vertex_enumeration()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="regret of a profile")
def test_regret(benchmark, size):
    game = square_game(benchmark, size)
    profile = support_enumeration(game).profiles[0]
    named(benchmark, "regret", size)
    assert not benchmark(regret, game, profile).any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="regret of a profile")
def test_regret_by_nashpy(benchmark, size):
    """Nashpy says for each agent whether it answers best, in floats."""
    game = square_game(benchmark, size)
    profile = [mix.astype(float) for mix in support_enumeration(game).profiles[0]]
    named(benchmark, "regret", size, "nashpy, best response")
    assert len(benchmark(as_nashpy(game).is_best_response, *profile)) == 2
