"""Where a step's time goes: its operators, how often each is called, and how many kernels run.

    python -m bench.profile ALGORITHM GAME [--compile] [--device cuda] [--copies 256] [--seeds 1] [--rows 25]

On a CPU a kernel is an operator that computes, or a function that the compiler made of several; on a GPU it is what the
GPU was asked to run.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from marlspec.errors import InputError
from marlspec.reference.listing import load
from marlspec.reference.parts.learner import Learner

from .floors import Work, floor, lasting, rates, work
from .workloads import COMPILED, DEEP, PLAIN, VECTOR, game_on, new_learner, replay_capacity, steps_of, synchronise

WARM_UP = 5
STEPS = 20
OWN_NAMES = ("graph_", "cpp_fused", "triton_")  # what the compiler calls the functions that it makes


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile a step, print what was found, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        learner = _learner(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    form = COMPILED if options.compile else PLAIN
    with steps_of(learner, form) as step:
        for _ in range(WARM_UP):
            step()
        synchronise(learner.device)
        found = _profiled(learner, step, options.steps)
        done = work(learner.step, lasting(learner))
    device = learner.device.type
    print(
        found.key_averages().table(
            sort_by=f"self_{device}_time_total", row_limit=options.rows, max_name_column_width=50
        )
    )
    for line in _summary(found, done, device, options.steps):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.profile", description="Where the time of a step goes.")
    parser.add_argument("algorithm", help=f"one of {', '.join(DEEP)}")
    parser.add_argument("game", help="one of marlspec list")
    parser.add_argument("--compile", action="store_true", help="of the compiled step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--copies", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--horizon", type=int, default=25, help="of algorithms that play whole episodes (25)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"how many are profiled ({STEPS})")
    parser.add_argument("--rows", type=int, default=25, help="operators shown (25)")
    return parser


def _learner(options: argparse.Namespace) -> Learner:
    load(options.algorithm)
    if options.algorithm not in DEEP:
        raise InputError(f"{options.algorithm} keeps a table and has no operators to profile: one of {', '.join(DEEP)}")
    torch.set_num_threads(options.threads)
    episodes = {"batch_size": 32, "capacity": max(500, options.copies)} if options.algorithm == "qmix_episodes" else {}
    settings: dict[str, Any] = VECTOR | {"capacity": replay_capacity(options.copies)} | episodes
    own: dict[str, Any] = {"copies": options.copies, "seeds": options.seeds, "horizon": options.horizon}
    return new_learner(options.algorithm, game_on(options.device, options.game), **settings, **own)


def _profiled(learner: Learner, step: Any, steps: int) -> profile:
    activities = [ProfilerActivity.CPU]
    if learner.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    found: profile
    with profile(activities=activities) as found:
        for _ in range(steps):
            step()
        synchronise(learner.device)
    return found


def _summary(found: profile, done: Work, device: str, steps: int) -> list[str]:
    """How many operators and kernels a step has, and what its floor is."""
    lowest = floor(done, rates(device))
    return [
        f"operators of an eager step: {done.operators}, {lowest.launches * 1e6:.4g} us if each did nothing",
        f"kernels of a step as profiled: {_kernels(found, device) / steps:.4g}",
        f"matrix products: {done.operations:.4g} operations, at least {lowest.arithmetic * 1e6:.4g} us",
        f"bytes that must move: {done.bytes_needed:.4g}, at least {lowest.traffic * 1e6:.4g} us",
        f"bytes that eager operators move: {done.bytes_moved:.4g}",
    ]


def _kernels(found: profile, device: str) -> int:
    """On a GPU what it ran; on a CPU operators with none inside, but for views, and the compiler's own functions."""
    events: Any = found.events()  # type: ignore[no-untyped-call]
    if device == "cuda":
        return sum(event.device_type.name == "CUDA" for event in events)
    return sum(_is_kernel(event) for event in events)


def _is_kernel(event: Any) -> bool:
    if event.name.startswith(OWN_NAMES):
        return True
    return event.name.startswith("aten::") and not event.cpu_children and event.name not in VIEWS


VIEWS = {
    f"aten::{name}"
    for name in ("view", "as_strided", "expand", "reshape", "t", "transpose", "unsqueeze", "squeeze", "select", "slice")
} | {"aten::detach", "aten::alias", "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::result_type"}


if __name__ == "__main__":
    sys.exit(main())
