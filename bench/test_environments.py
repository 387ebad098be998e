"""Speed of the games alone: time steps with random actions, and fresh starts for the copies that have finished."""

import pytest
import torch

from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.learner import restarted

from .workloads import DEVICES, FORAGING, POOL, SPEAKER_LISTENER, synchronise

pytestmark = pytest.mark.long

STEPS = 20
TINY_COPIES, TINY_POOL = 2, 16


def played(game, state, steps):
    """Make time steps with uniform available actions, and return the state."""
    for _ in range(steps):
        available = game.available(state)
        action = epsilon_greedy(torch.zeros(available.shape, device=available.device), available, 1.0)
        state, _, terminated, truncated = game.step(state, action)
        game.observe(state), game.centralized(state)
        state = restarted(game, state, terminated | truncated)
    synchronise(action.device)
    return state


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("K", [16, 256, 4096])
@pytest.mark.parametrize(
    "name", ["climbing", "repeated:climbing", SPEAKER_LISTENER, FORAGING, f"{FORAGING} from a pool", "combat:3m"]
)
def test_environment(benchmark, name, K, device):
    tiny = benchmark.disabled
    pool = (TINY_POOL if tiny else POOL) if name.endswith("pool") else None
    game = batched_game(name.split()[0], device, pool=pool)
    state = played(game, game.reset(min(K, TINY_COPIES) if tiny else K), 1)
    benchmark.extra_info.update(
        workload=f"environment/{name}/K={K}", game=name, device=device, copies=K, steps=STEPS, env_steps_per_step=K
    )
    benchmark.pedantic(played, (game, state, 1 if tiny else STEPS), rounds=10, warmup_rounds=0 if tiny else 1)
