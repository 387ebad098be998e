"""Speed of training: a step of every deep learner, by game, copies K and form (eager, compiled, CUDA graph)."""

import pytest

from .measuring import measure
from .workloads import DEEP, FORAGING, FORMS, SPEAKER_LISTENER, VECTOR, game_on, new_learner, replay_capacity

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("device", "form"), FORMS)
@pytest.mark.parametrize("K", [16, 256])
@pytest.mark.parametrize("game", [SPEAKER_LISTENER, FORAGING])
@pytest.mark.parametrize("algorithm", DEEP)
def test_step(benchmark, algorithm, game, K, form, device):
    """Act, store, sample, update, as each algorithm has it; episodes of 25 steps where a step plays one."""
    tiny = benchmark.disabled
    settings = VECTOR | {"copies": K, "horizon": 25, "capacity": replay_capacity(K)}
    if algorithm == "qmix_episodes":
        settings |= {"batch_size": 32, "capacity": max(1_000, 4 * K)}
    learner = new_learner(algorithm, game_on(device, game, tiny=tiny), tiny=tiny, **settings)
    measure(benchmark, learner, f"step/{algorithm}/{game}/K={K}", form=form, game=game)
