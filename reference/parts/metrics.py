"""What a run records as it goes: one JSON object per line, readable while it is written and after any kind of end."""

import importlib.util
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from marlspec.errors import InputError

NAME = "metrics.jsonl"


class Records(Protocol):
    """Where the records of a run go."""

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a record."""
        ...

    def sync(self) -> None:
        """Return when all that was written is on its way to the disk."""
        ...

    def close(self) -> None:
        """Add no more."""
        ...


class Metrics:
    """The file of a run's records, in the order of its steps.

    Every record has "kind" and "step". A number that is not finite is written as null.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        """Open the file in a run's folder, without what a run that goes on after so many steps records again.

        These are the records of later steps, those of its beginning where it has made no step, and what is left of a
        line that was not written to its end.
        """
        self.path = folder / NAME
        self._file = self.path.open("a+b")
        self._file.seek(0)
        kept = 0
        for line in self._file:
            if steps == 0 or not _is_of_first(steps, line):
                break
            kept += len(line)
        self._file.truncate(kept)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a record."""
        line = json.dumps({"kind": kind, "step": step} | {name: _numbers(value) for name, value in values.items()})
        self._file.write(f"{line}\n".encode())
        self._file.flush()

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class EventFiles:
    """The same records as event files of TensorBoard in a run's folder: a scalar for each number.

    Tags name the kind of the record, the value, and its places in lists: "evaluation/returns/0/1" is that of seed 0 and
    agent 1. What a run that goes on after so many steps records again is hidden where it was recorded before.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        """Begin another event file.

        Raises:
            InputError: TensorBoard is not installed.
        """
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=steps + 1 if steps else 0)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Add a record."""
        for tag, number in _scalars(kind, values):
            self._writer.add_scalar(tag, number, step)

    def sync(self) -> None:
        """Return when all that was written is in the file."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def require_tensorboard() -> None:
    """Refuse to write event files where TensorBoard is not installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "TensorBoard is not installed: pip install 'marlspec[tensorboard]', or leave --tensorboard out"
        )


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all records of a run."""
    return [json.loads(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines()]


def _is_of_first(steps: int, line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"\n") and isinstance(record, dict) and record.get("step", math.inf) <= steps


def _scalars(tag: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield every number in nested dicts and lists, under the path to it."""
    if not isinstance(value, dict | list):
        yield tag, value
        return
    for name, own in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _scalars(f"{tag}/{name}", own)


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
