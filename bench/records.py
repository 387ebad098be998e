"""Records of measurements, one JSON file for each device and time, and what two of them say of a change.

A record is made of repetitions: separate processes that measure the same workloads one after the other. A workload's
figure is the median over the repetitions of their medians. How far repetitions differ although nothing has changed is
the noise; a comparison calls a workload slower, or faster, where the two figures differ by more than

    the larger of: the 99th percentile of the ratios between repetitions of one workload, over all workloads of both
    records; and the largest such ratio of this workload itself.

So the band is measured on the same machine, with whatever else runs there. It cannot know of a machine that has become
slower from one record to the next: for that a comparison shows how the device's own rates have moved.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from marlspec.errors import InputError

from .machine import ROOT

RESULTS = ROOT / "bench" / "results"
SCHEMA = "marlspec.bench/1"
QUANTILE = 0.99


@dataclass(frozen=True)
class Workload:
    """One workload's figures.

    Attributes:
        name: what it is called in every record.
        node: the benchmark that measures it, as pytest is asked for it in bench/.
        seconds: of a step, the median over repetitions.
        iqr: the interquartile range of all rounds' seconds of a step.
        repetitions: the median seconds of a step in each repetition.
        facts: what else there is to say: copies, seeds, updates of a step, seconds until warm, peak memory, floor.
    """

    name: str
    node: str
    seconds: float
    iqr: float
    repetitions: tuple[float, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What was measured on one device at one time.

    Attributes:
        device: what its records are filed under.
        session: time, machine, versions, threads, clock, load, git revision and the device's rates.
        workloads: by name.
    """

    device: str
    session: Mapping[str, Any]
    workloads: Mapping[str, Workload]

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        workloads = [asdict(own) for own in self.workloads.values()]
        return {"schema": SCHEMA, "device": self.device, "session": dict(self.session), "workloads": workloads}

    @staticmethod
    def from_json(found: Any, source: str) -> "Record":
        """Read a JSON object; source names it in errors.

        Raises:
            InputError: it is no record of this version.
        """
        schema = found.get("schema") if isinstance(found, dict) else None
        if schema != SCHEMA:
            raise InputError(f"{source} is no record: its schema is {schema!r}, expected {SCHEMA!r}")
        workloads = [Workload(**own | {"repetitions": tuple(own["repetitions"])}) for own in found["workloads"]]
        return Record(found["device"], found["session"], {own.name: own for own in workloads})

    def save(self, results: Path = RESULTS) -> Path:
        """Write the record among those of its device, and return the file."""
        folder = results / self.device
        folder.mkdir(parents=True, exist_ok=True)
        revision = (self.session["git"]["revision"] or "unknown")[:9]
        path = folder / f"{self.session['taken'][:19].replace(':', '')}-{revision}.json"
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        return path


def load(path: Path) -> Record:
    """Read a record; InputError where the file is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no record: {error}") from error
    return Record.from_json(found, str(path))


def history(device: str, results: Path = RESULTS) -> list[Record]:
    """Return all records of a device, the latest last."""
    records = [load(path) for path in sorted((results / device).glob("*.json"))]
    return sorted(records, key=lambda record: record.session["taken"])


def records_of(repetitions: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Record]:
    """Put together what pytest-benchmark wrote in each repetition: a record for each device.

    Args:
        repetitions: its JSON objects, with the session that bench/conftest.py adds.
        names: what the records of cpu and of cuda are filed under.
    """
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for repetition in repetitions:
        for own in repetition["benchmarks"]:
            found[own["extra_info"]["device"]][own["extra_info"]["workload"]].append(own)
    return [
        Record(
            names[device],
            _session(repetitions, device),
            {name: _workload(name, measured) for name, measured in workloads.items()},
        )
        for device, workloads in found.items()
    ]


def _session(repetitions: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """The last repetition's session, with the load of all and the median rates of the device."""
    sessions = [own["session"] for own in repetitions]
    rates = [own["rates"][device] for own in sessions if device in own["rates"]]
    return dict(sessions[-1]) | {
        "rates": {name: float(np.median([own[name] for own in rates])) for name in rates[0]},
        "load": [own["load"] for own in sessions],
    }


def _workload(name: str, measured: Sequence[Mapping[str, Any]]) -> Workload:
    facts = dict(measured[-1]["extra_info"])
    steps = [own["extra_info"]["steps"] for own in measured]
    medians = [own["stats"]["median"] / count for own, count in zip(measured, steps, strict=True)]
    rounds = [seconds / count for own, count in zip(measured, steps, strict=True) for seconds in own["stats"]["data"]]
    low, high = np.percentile(rounds, [25, 75])
    for own in ("workload", "steps"):
        del facts[own]
    node = measured[-1]["fullname"]
    return Workload(name, node, float(np.median(medians)), float(high - low), tuple(medians), facts)


@dataclass(frozen=True)
class Change:
    """One workload in two records.

    Attributes:
        name: of the workload.
        old, new: its seconds of a step.
        band: by which factor the two may differ without a change.
    """

    name: str
    old: float
    new: float
    band: float

    @property
    def ratio(self) -> float:
        """The new time over the old one."""
        return self.new / self.old

    @property
    def verdict(self) -> str:
        """Slower, faster, or neither."""
        if self.ratio > self.band:
            return "slower"
        return "faster" if self.ratio < 1 / self.band else ""


@dataclass(frozen=True)
class Comparison:
    """What two records of a device say.

    Attributes:
        changes: of the workloads that both have.
        band: the factor that all workloads have at least.
        rates: by which factor each rate of the device has moved.
        missing: workloads of the old record that the new one lacks.
    """

    changes: tuple[Change, ...]
    band: float
    rates: Mapping[str, float]
    missing: tuple[str, ...]

    @property
    def slower(self) -> tuple[str, ...]:
        """The workloads that have become slower by more than the noise."""
        return tuple(change.name for change in self.changes if change.verdict == "slower")


def compare(old: Record, new: Record) -> Comparison:
    """Compare a record with an earlier one of the same device.

    Raises:
        InputError: other devices, threads or clocks; nothing in common; or no repetitions to measure the noise by.
    """
    for key, before, after in (
        ("device", old.device, new.device),
        *((key, old.session[key], new.session[key]) for key in ("threads", "clock")),
    ):
        if before != after:
            raise InputError(f"the records differ in {key}, {before} and {after}: compare those of the same {key}")
    common = [name for name in old.workloads if name in new.workloads]
    if not common:
        raise InputError("the records have no workload in common: measure the same ones, or take a new record")
    band = noise(old, new)
    if band is None:
        raise InputError("neither record has repetitions, by which the noise is measured: take them with --repeat 3")
    changes = [_change(old.workloads[name], new.workloads[name], band) for name in common]
    rates = {name: new.session["rates"][name] / rate for name, rate in old.session["rates"].items()}
    missing = tuple(name for name in old.workloads if name not in new.workloads)
    return Comparison(tuple(changes), band, rates, missing)


def noise(*records: Record) -> float | None:
    """Return the factor that 99 % of repetitions of one workload differ by less than; None without repetitions."""
    pooled = [ratio for record in records for own in record.workloads.values() for ratio in spread(own.repetitions)]
    return float(np.quantile(pooled, QUANTILE)) if pooled else None


def _change(old: Workload, new: Workload, band: float) -> Change:
    own = max([band, *spread(old.repetitions), *spread(new.repetitions)])
    return Change(old.name, old.seconds, new.seconds, own)


def spread(repetitions: Sequence[float]) -> list[float]:
    """Return the ratios, 1 or more, between any two repetitions of a workload."""
    return [first / second for first, second in permutations(repetitions, 2) if first >= second]
