"""The bench's commands: take a record, compare with the last one, write the page.

    python -m bench record  [--only EXPRESSION] [--repeat 3] [--threads 1] [--clock wall]
    python -m bench compare [the same] [--files OLD NEW]
    python -m bench page

compare measures the workloads of the last record of this device anew and writes nothing; with --files it compares two
records as they are. It exits with 0 where nothing is slower by more than the noise, 1 where something is, 2 where there
is nothing to compare.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from marlspec.errors import InputError

from . import machine, page
from .records import RESULTS, Comparison, Record, compare, history, load, records_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description="Speed, tracked from change to change.")
    commands = parser.add_subparsers(required=True)
    for name, command, words in (
        ("record", record, "measure, write records under bench/results/ and the page"),
        ("compare", compare_with_last, "measure what the last record holds, and compare; exit with 1 where slower"),
    ):
        own = commands.add_parser(name, help=words, description=words)
        own.set_defaults(command=command)
        own.add_argument("--only", default="", help="which benchmarks, as for pytest -k")
        own.add_argument("--repeat", type=int, default=3, help="repetitions, by which the noise is measured (3)")
        own.add_argument("--threads", type=int, default=1, help="torch's threads (1)")
        own.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that is shared")
    own.add_argument("--results", type=Path, default=RESULTS, help="where records lie")
    own.add_argument("--files", type=Path, nargs=2, metavar=("OLD", "NEW"), help="compare two records as they are")
    writes = commands.add_parser("page", help="write docs/performance.md anew from the records")
    writes.set_defaults(command=lambda options: page.write())
    return parser


def record(options: argparse.Namespace) -> int:
    """Take a record of each device at hand, and write the page."""
    for taken in measured(options, ["bench"]):
        print(f"wrote {taken.save()}")
    return page.write()


def compare_with_last(options: argparse.Namespace) -> int:
    """Compare two records, or what is measured now with the last record of this device."""
    if options.files:
        old, new = map(load, options.files)
        return told(compare(old, new))
    names = _device_names(options.threads)
    earlier = {name: found for name in names.values() if (found := _comparable(name, options))}
    if not earlier:
        raise InputError(
            f"no record of {' or '.join(names.values())} by {options.clock} time in {options.results}: "
            "take one first by make bench"
        )
    nodes = [f"bench/{own.node}" for last in earlier.values() for own in last.workloads.values()]
    taken = measured(options, nodes)
    return max(told(compare(earlier[own.device], own)) for own in taken if own.device in earlier)


def _comparable(device: str, options: argparse.Namespace) -> Record | None:
    """The last record of a device that was timed by the same clock."""
    found = [own for own in history(device, options.results) if own.session["clock"] == options.clock]
    return found[-1] if found else None


def measured(options: argparse.Namespace, nodes: Sequence[str]) -> list[Record]:
    """Measure in so many processes, one after the other, and return a record for each device."""
    if options.repeat < 1:
        raise InputError(f"--repeat {options.repeat}: at least one repetition is needed")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.json" for i in range(options.repeat)]
        for file in files:
            _measure(options, nodes, file)
        repetitions = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return records_of(repetitions, _device_names(options.threads))


def _measure(options: argparse.Namespace, nodes: Sequence[str], file: Path) -> None:
    own = ["--threads", str(options.threads), "--clock", options.clock]
    command = [sys.executable, "-m", "pytest", "-c", "bench/pytest.ini", "-q", "--benchmark-only", "-k", options.only]
    done = subprocess.run([*command, f"--benchmark-json={file}", *own, *nodes], cwd=machine.ROOT, check=False)
    if done.returncode != 0 or not file.exists():
        raise InputError(f"the benchmarks failed, or none was chosen (pytest exited with {done.returncode})")


def _device_names(threads: int) -> dict[str, str]:
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return {device: machine.device_name(device, threads) for device in devices}


def told(comparison: Comparison) -> int:
    """Print a comparison and return the exit code."""
    width = max(len(change.name) for change in comparison.changes)
    for own in sorted(comparison.changes, key=lambda change: change.ratio):
        print(
            f"{own.name:<{width}}  {own.old * 1e6:12.1f} us  {own.new * 1e6:12.1f} us  x {own.ratio:5.2f}  "
            f"(band {own.band:.2f})  {own.verdict}".rstrip()
        )
    print(f"noise band: {100 * (comparison.band - 1):.1f} %, measured from repetitions")
    moved = ", ".join(f"{name} x {ratio:.2f}" for name, ratio in comparison.rates.items())
    print(f"the device itself, new over old: {moved}")
    if comparison.missing:
        print(f"not measured now: {', '.join(comparison.missing)}")
    return 1 if comparison.slower else 0


if __name__ == "__main__":
    sys.exit(main())
