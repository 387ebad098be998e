"""What a worker says: one JSON line when it is warm, then one for each line that asks it for steps.

This file stands alone: it is run in the peers' environments, which do not have this project.

The first line is what both sides of a comparison must have in common ("contract": sizes of networks, batch, replay,
updates of a step) and which versions it runs. A line with a number asks for as many steps; the answer has their seconds
by both clocks, and the updates and environment steps that were really made, as the worker's own counters have them.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

BATCH, HIDDEN, TARGET_INTERVAL, LEARNING_RATE, GAMMA, EPSILON, EMBED = 256, 64, 200, 3e-4, 0.99, 0.05, 32


def parser() -> argparse.ArgumentParser:
    """Return the options of every worker."""
    own = argparse.ArgumentParser()
    own.add_argument("--algorithm", choices=["vdn", "qmix"], required=True)
    own.add_argument("--copies", type=int, required=True)
    own.add_argument("--form", default="compiled")
    own.add_argument("--threads", type=int, default=1)
    own.add_argument("--device", default="cpu")
    return own


def pin(threads: int) -> None:
    """Stay on as many processors as there are threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def replay_capacity(copies: int) -> int:
    """Return the transitions that are kept: at least 50 000, and whole time steps."""
    return max(-(-50_000 // copies), 50) * copies


def contract(copies: int, parameters: int) -> dict[str, Any]:
    """Return what both sides must have in common; only the number of trained parameters is the worker's own count."""
    return {
        "parameters": parameters,
        "batch": BATCH,
        "hidden": HIDDEN,
        "target_interval": TARGET_INTERVAL,
        "learning_rate": LEARNING_RATE,
        "capacity": replay_capacity(copies),
        "copies": copies,
    }


def serve(
    contract: dict[str, Any], packages: list[str], run: Callable[[int], None], counters: Callable[[], tuple[int, int]]
) -> None:
    """Fill the replay buffer, and answer until there is no more line.

    Args:
        contract: see contract().
        packages: whose versions are told.
        run: makes so many steps, and waits for them.
        counters: updates and environment steps so far.
    """
    run(contract["capacity"] // contract["copies"])
    run(1)  # a compiler may begin again when it is handed its own results
    _say({"contract": contract, "versions": {name: version(name) for name in packages}})
    for line in sys.stdin:
        before, wall, cpu = counters(), time.perf_counter(), time.process_time()
        run(int(line))
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        updates, env_steps = (after - earlier for after, earlier in zip(counters(), before, strict=True))
        _say(seconds | {"updates": updates, "env_steps": env_steps})


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), file=_OUT, flush=True)


# Whatever else is printed meanwhile goes to stderr.
_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
