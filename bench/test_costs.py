"""Cost against work: the time of an eager step, one quantity varied at a time, all others small and fixed."""

import numpy as np
import pytest

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.history_window import HistoryWindow
from marlspec.games.matrix import NormalFormGame

from .costs import fit
from .measuring import measure
from .workloads import DEVICES, SPEAKER_LISTENER, VECTOR, game_on, new_learner

pytestmark = pytest.mark.long

BASE = VECTOR | {"copies": 64, "capacity": 5_000}


def common_reward_game(agents, actions):
    """A normal-form game with random common rewards."""
    payoffs = np.random.default_rng(0).integers(-9, 9, (actions,) * agents)
    return NormalFormGame(np.broadcast_to(payoffs, (agents, *payoffs.shape)).copy(), name=f"{agents} agents")


def cost(benchmark, what, amount, device, game, algorithm="vdn", **settings):
    tiny = benchmark.disabled
    learner = new_learner(algorithm, game, tiny=tiny, **BASE | settings)
    measure(benchmark, learner, f"cost/{what}/{amount}", floors=False, plot="cost", axis=what, amount=amount)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("K", [64, 512, 4096, 32768])
def test_copies(benchmark, K, device):
    cost(benchmark, "K", K, device, game_on(device, SPEAKER_LISTENER), copies=K, capacity=50_000)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("agents", [2, 4, 8, 16])
def test_agents(benchmark, agents, device):
    game = common_reward_game(min(agents, 3) if benchmark.disabled else agents, 2)
    cost(benchmark, "agents", agents, device, BatchedStagedGame(game, device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("actions", [2, 16, 128, 512])
def test_actions(benchmark, actions, device):
    game = common_reward_game(2, min(actions, 3) if benchmark.disabled else actions)
    cost(benchmark, "actions", actions, device, BatchedStagedGame(game, device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seeds", [1, 8, 64, 256])
def test_seeds(benchmark, seeds, device):
    cost(benchmark, "seeds", seeds, device, game_on(device, SPEAKER_LISTENER), seeds=seeds, copies=4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("window", [1, 4, 16, 64])
def test_window(benchmark, window, device):
    """A history of the last observations."""
    game = HistoryWindow(game_on(device, SPEAKER_LISTENER), window)
    cost(benchmark, "window of observations", window, device, game)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [4, 8, 16, 32])
def test_remembered(benchmark, length, device):
    """Episodes that a GRU remembers."""
    settings = {"copies": 1, "batch_size": 32, "capacity": 100, "horizon": length, "history": "gru"}
    game = game_on(device, SPEAKER_LISTENER)
    cost(benchmark, "length of a GRU's episodes", length, device, game, "qmix_episodes", **settings)


def test_a_line_is_found():
    found = fit([1, 2, 4, 8], [3.0, 5.0, 9.0, 17.0])
    assert (found.fixed, found.each) == (pytest.approx(1), pytest.approx(2))
    assert found.error < 1e-9
    assert found.growth < 1
    assert not found.is_quadratic


def test_a_square_is_noticed():
    assert fit([1, 2, 4, 8], [1.0, 4.0, 16.0, 64.0]).is_quadratic
    assert fit([1, 2, 4, 8], [9.0, 9.5, 10.0, 40.0]).is_quadratic
