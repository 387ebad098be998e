"""What is measured: learners in training, each with a name that stays the same from record to record."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from marlspec.games.batched import BatchedGame
from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.commands import learner_class
from marlspec.reference.listing import algorithm_files
from marlspec.reference.parts.learner import Learner, ValueLearner
from marlspec.reference.parts.randomness import restored_afterwards
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.training import created, stepping

DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]

# The forms of a step, by what stepping() of the training loop is asked for; a CUDA graph needs a CUDA device.
PLAIN, COMPILED, CAPTURED = "eager", "compiled", "captured"
OPTIONS = {PLAIN: {"compiled": False}, COMPILED: {"compiled": True}, CAPTURED: {"compiled": False, "captured": True}}
FORMS = [("cpu", PLAIN), ("cpu", COMPILED), *(pytest.param("cuda", form, marks=NEEDS_CUDA) for form in OPTIONS)]

SPEAKER_LISTENER, FORAGING = "speaker-listener", "foraging:8x8-2p-3f-coop"
POOL = 10_000

# W1: the same networks, batch and target copies as the peers'.
VECTOR = {"batch_size": 256, "hidden": (64, 64), "target_interval": 200, "epsilon_end": 0.05}

# Where nothing is measured each workload is as small as this, and run once.
TINY = {"seeds": 2, "copies": 2, "batch_size": 4, "capacity": 32, "horizon": 2, "n_steps": 2}


def game_on(device: str, name: str, *, tiny: bool = False) -> BatchedGame[Any]:
    """Return a game on a device; foraging with a pool of starts."""
    pool = (16 if tiny else POOL) if name.startswith("foraging:") else None
    return batched_game(name, device, pool=pool)


def replay_capacity(copies: int) -> int:
    """Return the transitions of a seed that W1 keeps."""
    return max(50_000, 50 * copies)


def new_learner(algorithm: str, game: BatchedGame[Any], *, tiny: bool = False, **wanted: Any) -> Learner:
    """Return a learner with the wanted settings, of which those are left out that it does not have."""
    kind = learner_class(algorithm)
    known = vars(kind.config_type())
    if tiny:
        wanted = {"batch_size": 4, "capacity": 32, "horizon": 2, "n_steps": 2} | wanted
        wanted = {name: min(value, TINY[name]) if name in TINY else value for name, value in wanted.items()}
    device = str(game.observe(game.reset(1)).device)
    settings = {name: value for name, value in wanted.items() if name in known}
    return created(kind, game, kind.config_type(device=device, **settings))


def fill(replay: ReplayBuffer[Any]) -> None:
    """Fill a ring with what it holds already, so that sampling reaches over all of it as it does late in a run."""
    rows = torch.arange(replay.capacity, device=replay.offsets.device) % replay.size
    rows = (replay.offsets + rows).flatten()
    for name in replay.names:
        field = replay.get_buffer(name)
        field.copy_(field[rows])
    replay.set_extra_state({"size": replay.capacity, "cursor": replay.cursor})


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def steps_of(learner: Learner, form: str) -> Iterator[Callable[[], None]]:
    """Lend the step of a learner that has made an update, in a form, with the learner's own random numbers."""
    with restored_afterwards(learner.device) as generator:
        assert learner.parked is not None, "created() parks"
        generator.set_state(learner.parked)
        learner.parked = None
        try:
            while learner.updates == 0:
                learner.step()
            if isinstance(learner, ValueLearner):
                fill(learner.replay)
            if OPTIONS[form]["compiled"]:
                torch._dynamo.reset()  # else earlier learners' graphs count towards the limit of recompilations
            with stepping(learner, **OPTIONS[form]) as step:
                yield step
        finally:
            learner.parked = generator.get_state()
