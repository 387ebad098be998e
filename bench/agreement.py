"""Whether all forms of a step learn the same: eager beside compiled, and on CUDA beside captured.

    python -m bench.agreement [--algorithms vdn qmix ..] [--game climbing] [--updates 1000] [--device cpu]

Every form trains from the same seed, and so draws the same random numbers; what is left is the rounding of float32, in
another order. Told is by how much the losses of any step of any seed differ at most, over the mean size of losses; and
how many greedy actions differ in the end. The forms agree where the first is below a bound and the second is 0, and the
command exits with 1 where they do not. Kept in bench/results/DEVICE/agreement/; python -m bench page shows it.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from marlspec.errors import InputError
from marlspec.reference.listing import load
from marlspec.reference.parts.training import metered

from . import machine
from .records import RESULTS
from .workloads import CAPTURED, COMPILED, DEEP, PLAIN, game_on, new_learner, steps_of

FOLDER = "agreement"
BOUND = 1e-3
STATES = 64  # fresh copies of the game for each seed, in which greedy actions are compared
SETTINGS: dict[str, Any] = {
    "seeds": 2,
    "copies": 8,
    "hidden": (32, 32),
    "batch_size": 32,
    "capacity": 512,
    "horizon": 4,
    "n_steps": 5,
    "learning_rate": 1e-3,
    "target_interval": 50,
    "epsilon_end": 0.2,
}


@dataclass(frozen=True)
class Learned:
    """What a form made of its training, as plain numbers that outlive their process.

    Attributes:
        updates: how many.
        losses: of each step with an update, one for each seed.
        greedy: actions in fresh games.
    """

    updates: int
    losses: list[list[float]]
    greedy: list[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print and keep what was found, and return the exit code."""
    options = _parser().parse_args(arguments)
    forms = [COMPILED, CAPTURED] if options.device.startswith("cuda") else [COMPILED]
    results = []
    try:
        for algorithm in options.algorithms:
            load(algorithm)
            results += _results(algorithm, forms, options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    session = machine.session(options.threads)
    folder = options.results / machine.device_name(options.device, options.threads) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session['taken'][:19].replace(':', '')}.json"
    found = {"game": options.game, "bound": BOUND, "session": session, "results": results}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return 0 if all(map(agrees, results)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.agreement", description="Whether all forms learn the same.")
    parser.add_argument("--algorithms", nargs="+", default=DEEP, help="by default all")
    parser.add_argument("--game", default="climbing")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where what was found is kept")
    return parser


def _results(algorithm: str, forms: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """What each form makes beside the eager one, each trained in a process of its own: compilers keep much in mind."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        asked = (algorithm, options.game, options.updates, options.device, options.threads)
        plain, *others = pool.map(_alone, product([PLAIN, *forms], [asked]))
    results = []
    for form, other in zip(forms, others, strict=True):
        results.append({"algorithm": algorithm, "form": form} | compared(plain, other))
        print(_row(results[-1]), flush=True)
    return results


def _alone(case: tuple[str, tuple[str, str, int, str, int]]) -> Learned:
    form, (algorithm, game, updates, device, threads) = case
    torch.set_num_threads(threads)
    return trained(algorithm, form, game, updates, device)


def trained(algorithm: str, form: str, game: str, updates: int, device: str) -> Learned:
    """Train for at least so many updates in one form, and return what was learned."""
    learner = new_learner(algorithm, game_on(device, game), **SETTINGS)
    losses = []
    with metered(learner) as meter, steps_of(learner, form) as step:
        while learner.updates < updates:
            step()
            losses.append(meter.take())
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        greedy = learner.act(learner.game.reset(learner.config.seeds * STATES), greedy=True)
    return Learned(learner.updates, [own for own in losses if own], greedy.flatten().tolist())


def compared(plain: Learned, other: Learned) -> dict[str, Any]:
    """Return the largest difference of losses over their mean size, and the number of greedy actions that differ."""
    expected, losses = (torch.tensor(own.losses, dtype=torch.float64) for own in (plain, other))
    return {
        "updates": other.updates,
        "loss": float((expected - losses).abs().max() / expected.abs().mean()),
        "greedy": sum(own != theirs for own, theirs in zip(plain.greedy, other.greedy, strict=True)),
        "states": len(plain.greedy),
    }


def agrees(found: Mapping[str, Any]) -> bool:
    """Return whether the losses differ by less than the bound, and no greedy action does."""
    return bool(found["loss"] < BOUND and found["greedy"] == 0)


def told(folder: Path) -> list[str]:
    """Return the section that the latest results in a device's folder make; nothing without any."""
    files = sorted((folder / FOLDER).glob("*.json"))
    if not files:
        return []
    found = json.loads(files[-1].read_text(encoding="utf-8"))
    session = found["session"]
    return [
        "### Do all forms learn the same",
        "",
        f"Trained from the same seed in {found['game']}, taken {session['taken']} at "
        f"{session['git']['revision'][:9]}, threads: {session['threads']}. In no step of any seed may the loss differ "
        f"from that of the eager form by more than {found['bound']:g} of their mean size; no greedy action may, of "
        f"each agent in {STATES} fresh copies for each seed (which are all alike in a game of one state).",
        "",
        "| algorithm | form | updates | losses differ by at most | greedy actions that differ |",
        "|---|---|---|---|---|",
        *map(_row, found["results"]),
        "",
    ]


def _row(own: Mapping[str, Any]) -> str:
    return (
        f"| {own['algorithm']} | {own['form']} | {own['updates']} | {own['loss']:.2g} | "
        f"{own['greedy']} of {own['states']} |"
    )


if __name__ == "__main__":
    sys.exit(main())
