"""The workloads that every change, device and peer is compared on: the same networks, batches and updates for all.

W1: one update for each time step of K copies, as in vectorised deep Q-learning. W2: one update on 32 episodes of 50
steps. W3: updates on rollouts of 16 copies and 128 time steps. W4: W1 with many seeds at once.
"""

import pytest

from .measuring import measure
from .workloads import FORAGING, FORMS, SPEAKER_LISTENER, VECTOR, game_on, new_learner, replay_capacity

pytestmark = pytest.mark.long

EPISODES, HORIZON = 32, 50
W3 = {"copies": 16, "n_steps": 128, "horizon": 128}


def vector_learner(benchmark, algorithm, device, **settings):
    tiny = benchmark.disabled
    return new_learner(algorithm, game_on(device, SPEAKER_LISTENER), tiny=tiny, **VECTOR, **settings)


@pytest.mark.parametrize(("device", "form"), FORMS)
@pytest.mark.parametrize("K", [16, 256, 1024, 4096])
@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_w1(benchmark, algorithm, K, form, device):
    learner = vector_learner(benchmark, algorithm, device, copies=K, capacity=replay_capacity(K))
    measure(benchmark, learner, f"W1/{algorithm}/K={K}", form=form, game=SPEAKER_LISTENER, plot="K")


@pytest.mark.parametrize(("device", "form"), FORMS)
@pytest.mark.parametrize("history", ["observation", "gru"])
def test_w2(benchmark, history, form, device):
    """An episode of one copy, then an update on 32 episodes."""
    tiny = benchmark.disabled
    settings = {"copies": 1, "batch_size": EPISODES, "horizon": HORIZON, "capacity": 500, "history": history}
    learner = new_learner("qmix_episodes", game_on(device, FORAGING, tiny=tiny), tiny=tiny, **settings)
    measure(benchmark, learner, f"W2/qmix_episodes-{history}", form=form, game=FORAGING)


@pytest.mark.parametrize(("device", "form"), FORMS)
@pytest.mark.parametrize("algorithm", ["reinforce", "ia2c", "ca2c", "coma", "pareto_ac"])
def test_w3(benchmark, algorithm, form, device):
    """As many updates as the algorithm makes of a rollout: one for each time step in A2C, else one at its end."""
    learner = new_learner(algorithm, game_on(device, SPEAKER_LISTENER), tiny=benchmark.disabled, **W3)
    measure(benchmark, learner, f"W3/{algorithm}", form=form, game=SPEAKER_LISTENER)


@pytest.mark.parametrize(("device", "form"), FORMS)
@pytest.mark.parametrize("seeds", [1, 16, 128, 256])
@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_w4(benchmark, algorithm, seeds, form, device):
    """16 copies for each seed; replay buffers of 5 000 transitions, lest 256 seeds take gigabytes."""
    learner = vector_learner(benchmark, algorithm, device, seeds=seeds, copies=16, capacity=5_000)
    measure(benchmark, learner, f"W4/{algorithm}/seeds={seeds}", form=form, game=SPEAKER_LISTENER, plot="seeds")
