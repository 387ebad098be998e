"""Speed of training: one step and one update of each learner, by number of seeds.

`pytest bench/` measures; elsewhere `--benchmark-disable` runs each once. Compare medians of runs on one machine.
"""

import pytest
import torch

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.commands import learner_class
from marlspec.reference.parts.training import run

pytestmark = pytest.mark.long

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
STEPS = 20


def learner(algorithm, seeds, device):
    kind = learner_class(algorithm)
    return kind(BatchedStagedGame(get("climbing"), device), kind.config_type(seeds=seeds, device=device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seeds", [1, 5, 64])
@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_steps(benchmark, algorithm, seeds, device):
    """Twenty steps: act, store, sample, update."""
    subject = learner(algorithm, seeds, device)
    benchmark.extra_info.update(steps=STEPS, threads=torch.get_num_threads(), torch=torch.__version__)
    benchmark(run, subject, STEPS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_update(benchmark, algorithm, device):
    """One update on a given batch of 128, one seed."""
    subject = learner(algorithm, 1, device)
    run(subject, 5)
    batch = subject.replay.sample(128)

    def update():
        subject.learn(batch)
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark(update)
