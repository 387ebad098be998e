"""Side by side with a peer: both in one session, in turn, on the same work, each counting its own updates.

    make peers                                  # environments with pinned versions
    python -m bench.peers benchmarl_loop        # BenchMARL; jax_scan: a loop of JAX written by hand, see below
    python -m bench.peers jax_scan [--algorithms vdn qmix] [--copies 16 256 1024 4096] [--forms eager compiled]
                                   [--rounds 7] [--seconds 1] [--threads 1] [--clock wall] [--python PATH]

For each algorithm, form and K two workers are started and warmed up until their replay buffers are full. Then they are
asked for steps in turn, ours first in one pair and the peer first in the next; whoever is not asked waits. Before that
the sizes of the networks, the trained parameters that each side counts, batch, replay buffer and target copies are
compared, and after each answer the number of updates. The ratio is our speed over the peer's, of each pair; its median
and its lowest and highest are told and kept in bench/results/DEVICE/peers/.

JaxMARL's training scripts are not in its package: python -m bench.peers jaxmarl_vdn --checkout PATH. A peer of your own
is a worker that speaks as worker.py says, named by its file, with --python and, where it needs a source, --checkout:
python -m bench.peers ../my_worker.py --python ../my_env/bin/python --checkout ../my_source
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from marlspec.errors import InputError

from .. import machine
from ..records import RESULTS
from .results import FOLDER

HERE = Path(__file__).parent
ENVIRONMENTS = machine.ROOT / ".venv-peers"
CALIBRATION = 20  # steps by which the steps of a round are chosen


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes:
        script: the file of its worker.
        environment: in which of .venv-peers it runs.
        game: what both sides play.
        share: whether one network serves all agents.
        algorithms: those that it has.
    """

    script: Path
    environment: str
    game: str
    share: bool = False
    algorithms: tuple[str, ...] = ("vdn", "qmix")


SPEAKER_LISTENER = "speaker-listener"
PEERS = {
    "jax_scan": Peer(HERE / "jax_scan.py", "jax", SPEAKER_LISTENER),
    "benchmarl_loop": Peer(HERE / "benchmarl_loop.py", "benchmarl", SPEAKER_LISTENER),
    "jaxmarl_vdn": Peer(HERE / "jaxmarl_vdn.py", "jaxmarl", SPEAKER_LISTENER, share=True, algorithms=("vdn",)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure side by side, print and keep what was found, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        found = measured(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    folder = RESULTS / machine.device_name(options.device, options.threads) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found['session']['taken'][:19].replace(':', '')}-{Path(options.peer).stem}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.peers", description="Side by side with a peer.")
    parser.add_argument("peer", help=f"{' or '.join(sorted(PEERS))}, or the file of a worker")
    parser.add_argument("--algorithms", nargs="+", default=["vdn", "qmix"])
    parser.add_argument("--copies", nargs="+", type=int, default=[16, 256, 1024, 4096])
    parser.add_argument("--forms", nargs="+", default=["eager", "compiled"], help="of our step")
    parser.add_argument("--rounds", type=int, default=7, help="pairs (7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round, about (1)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that is shared")
    parser.add_argument("--python", type=Path, help="the peer's Python (default: of its environment, see make peers)")
    parser.add_argument("--checkout", type=Path, help="the folder of a peer's source, for a worker that asks for one")
    return parser


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Compare every algorithm, form and K.

    Raises:
        InputError: the peer's environment is not there, a worker fails, or the two sides do not do the same work.
    """
    peer = peer_named(options.peer)
    results: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    for algorithm in [own for own in options.algorithms if own in peer.algorithms]:
        for copies in options.copies:
            for form in options.forms:
                commands = _commands(options, peer, algorithm, copies, form)
                pairs, versions = _side_by_side(commands, options)
                results.append(_result(algorithm, form, copies, pairs))
                print(_told(results[-1]), flush=True)
    session = machine.session(options.threads) | {"clock": options.clock, "device": options.device}
    return {
        "peer": Path(options.peer).stem,
        "game": peer.game,
        "versions": versions,
        "session": session,
        "results": results,
    }


def peer_named(name: str) -> Peer:
    """Return a peer by its name, or by the file of its worker, which plays the speaker-listener game.

    Raises:
        InputError: neither.
    """
    if name in PEERS:
        return PEERS[name]
    script = Path(name).resolve()
    if not script.is_file():
        raise InputError(f"no peer {name!r}: name {' or '.join(sorted(PEERS))}, or the file of a worker")
    return Peer(script, "", SPEAKER_LISTENER)


def _commands(
    options: argparse.Namespace, peer: Peer, algorithm: str, copies: int, form: str
) -> tuple[list[str], list[str]]:
    """How our worker is started, and the peer's."""
    python = options.python or ENVIRONMENTS / peer.environment / "bin" / "python"
    if not python.is_file():
        raise InputError(f"no {python}: make the peers' environments by `make peers`, or name a Python by --python")
    own = ["--algorithm", algorithm, "--copies", str(copies), "--threads", str(options.threads)]
    own += ["--device", options.device]
    source = ["--checkout", str(options.checkout)] if options.checkout else []
    ours = [sys.executable, "-m", "bench.peers.ours", "--form", form, "--game", peer.game]
    ours += ["--share"] if peer.share else []
    return [*ours, *own], [str(python), str(peer.script), *own, *source]


class Worker:
    """A process that makes steps when it is asked to.

    Attributes:
        hello: its first line, once it is warm.
    """

    def __init__(self, command: Sequence[str], threads: int) -> None:
        """Start it and wait until it is warm."""
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._command = command
        self._process = subprocess.Popen(
            command, cwd=machine.ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.hello = self._line()

    def steps(self, count: int) -> dict[str, Any]:
        """Let it make so many steps, and return what it says of them."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InputError(f"a worker ended with {self._process.wait()}: {' '.join(self._command)}")
        found: dict[str, Any] = json.loads(line)
        return found


def _side_by_side(
    commands: tuple[list[str], list[str]], options: argparse.Namespace
) -> tuple[list[tuple[float, float]], dict[str, str]]:
    """Environment steps per second of ours and the peer's, pair by pair; and the peer's versions."""
    with closing(Worker(commands[0], options.threads)) as ours, closing(Worker(commands[1], options.threads)) as peer:
        require_same(ours.hello["contract"], peer.hello["contract"])
        counts = [_steps_of_a_round(own, options) for own in (ours, peer)]
        pairs = []
        for i in range(options.rounds):
            turns = [(0, ours), (1, peer)] if i % 2 == 0 else [(1, peer), (0, ours)]
            speeds = {side: speed(own.steps(counts[side]), counts[side], options.clock) for side, own in turns}
            pairs.append((speeds[0], speeds[1]))
        return pairs, peer.hello["versions"]


def require_same(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Refuse to compare unlike work.

    Raises:
        InputError: sizes, batch, replay buffer or target copies differ.
    """
    for name in ours.keys() | peer.keys():
        if ours.get(name) != peer.get(name):
            raise InputError(f"the two sides differ in {name}: ours {ours.get(name)}, the peer's {peer.get(name)}")


def speed(answer: Mapping[str, Any], steps: int, clock: str) -> float:
    """Return environment steps per second of an answer.

    Raises:
        InputError: the worker did not make one update for each step.
    """
    if answer["updates"] != steps:
        raise InputError(f"a worker made {answer['updates']} updates in {steps} steps: one for each is compared")
    return float(answer["env_steps"] / answer[clock])


def _steps_of_a_round(own: Worker, options: argparse.Namespace) -> int:
    """As many as take options.seconds; made once before any counts, for a peer that compiles anew for each number."""
    own.steps(CALIBRATION)
    seconds = own.steps(CALIBRATION)[options.clock] / CALIBRATION
    count: int = max(1, round(options.seconds / seconds))
    own.steps(count)
    return count


def _result(algorithm: str, form: str, copies: int, pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    ratios = [ours / peer for ours, peer in pairs]
    return {
        "algorithm": algorithm,
        "form": form,
        "copies": copies,
        "ours": median(ours for ours, _ in pairs),
        "peer": median(peer for _, peer in pairs),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "pairs": pairs,
    }


def _told(found: Mapping[str, Any]) -> str:
    return (
        f"{found['algorithm']} {found['form']} K={found['copies']}: ours {found['ours']:.0f}, peer {found['peer']:.0f} "
        f"env steps/s, ratio {found['ratio']:.2f} ({found['lowest']:.2f} to {found['highest']:.2f})"
    )


if __name__ == "__main__":
    sys.exit(main())
