"""What a run records as it goes: one JSON object per line, readable while it is written and after any kind of end."""

import json
import math
import os
from pathlib import Path
from typing import Any

NAME = "metrics.jsonl"


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


def read(folder: Path) -> list[dict[str, Any]]:
    """Return all records of a run."""
    return [json.loads(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines()]


def _is_of_first(steps: int, line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"\n") and isinstance(record, dict) and record.get("step", math.inf) <= steps


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
