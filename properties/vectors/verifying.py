"""Comparing an implementation's results with the vectors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marlspec.errors import InputError
from marlspec.properties.vectors.functions import TOLERANCES, differs
from marlspec.properties.vectors.numbers import array_of, decoded, read_json
from marlspec.properties.vectors.writing import FUNCTIONS, SCHEMA, record_of

RESULTS = "marlspec.results/1"


@dataclass(frozen=True)
class Failure:
    """A case whose result is off.

    Attributes:
        id: of the case.
        flags: faults that it catches.
        computed, required: the results, as arrays.
    """

    id: str
    flags: tuple[str, ...]
    computed: Any
    required: Any


@dataclass
class Tally:
    """What came out for one function; `cleared` are the flags of passed cases."""

    function: str
    flags: Mapping[str, str]
    passed: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)

    @property
    def attempted(self) -> bool:
        """Whether there is any result of this function."""
        return bool(self.passed or self.failed or self.errors)

    @property
    def suspects(self) -> tuple[str, ...]:
        """The likely faults: flags that every failed case carries and no passed one does."""
        if not self.failed:
            return ()
        shared = (flag for flag in self.flags if all(flag in failure.flags for failure in self.failed))
        return tuple(flag for flag in shared if flag not in self.cleared)


@dataclass(frozen=True)
class Comparison:
    """What came out for all functions."""

    implementation: str
    tallies: tuple[Tally, ...]

    @property
    def exit_code(self) -> int:
        """0: all results that are there are right; 1: some are wrong; 2: an error, or a function that is incomplete."""
        attempted = [tally for tally in self.tallies if tally.attempted]
        if any(tally.errors or tally.missing for tally in attempted):
            return 2
        return 1 if any(tally.failed for tally in attempted) else 0


def compare(results: Path, against: Path | None = None) -> Comparison:
    """Compare a file of results with the vectors in a folder, or with this version's own.

    Raises:
        InputError: a file that cannot be read, of another version, with results of unknown cases, or with results that
            are no numbers or of another shape than required.
    """
    record = read_json(results, "the results")
    given = _results(record, results)
    vectors = {entry["function"]: entry for entry in _vectors(against)}
    known = {case["id"] for entry in vectors.values() for case in entry["cases"]}
    for identifier in given:
        if identifier not in known:
            raise InputError(f"{results} has a result of {identifier!r}, which is no case of these vectors")
    if not given:
        raise InputError(f"{results} has no results: give at least one under its case's id")
    tolerance = TOLERANCES[record.get("precision", "float64")]
    tallies = [_tally(entry, given, tolerance, results.parent, against) for entry in vectors.values()]
    return Comparison(str(record.get("implementation", results.name)), tuple(tallies))


def _results(record: Any, path: Path) -> dict[str, Any]:
    found = record.get("schema") if isinstance(record, dict) else type(record).__name__
    if found != RESULTS:
        raise InputError(f"{path} is no file of results: its schema is {found!r}, expected {RESULTS!r}")
    if record.get("vectors", SCHEMA) != SCHEMA:
        raise InputError(f"{path} has results of the vectors {record['vectors']!r}; these are {SCHEMA!r}")
    if record.get("precision", "float64") not in TOLERANCES:
        raise InputError(f"{path}: precision is {record['precision']!r}; write {' or '.join(TOLERANCES)}")
    results = record.get("results")
    if not isinstance(results, dict):
        raise InputError(f"{path} is no file of results: 'results' must be an object of case ids and results")
    return results


def _vectors(folder: Path | None) -> Iterator[dict[str, Any]]:
    if folder is None:
        yield from (record_of(name)[0] for name in FUNCTIONS)
        return
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(".schema.json")]
    if not paths:
        raise InputError(f"{folder} holds no vectors: write them with marlspec vectors write {folder}")
    for path in paths:
        record = read_json(path, "the vectors")
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        if found != SCHEMA:
            raise InputError(f"{path} holds no vectors of this version: its schema is {found!r}, expected {SCHEMA!r}")
        yield record


def _tally(
    entry: Mapping[str, Any], given: Mapping[str, Any], tolerance: float, beside: Path, folder: Path | None
) -> Tally:
    tally = Tally(entry["function"], entry["flags"])
    for case in entry["cases"]:
        identifier = case["id"]
        if identifier not in given:
            tally.missing.append(identifier)
            continue
        result = given[identifier]
        if isinstance(result, dict) and "error" in result:
            tally.errors[identifier] = str(result["error"])
            continue
        required = decoded(case["required"], folder, identifier)
        computed = _read_result(result, required, identifier, beside)
        if differs(computed, required, tolerance):
            tally.failed.append(Failure(identifier, tuple(case["flags"]), computed, required))
        else:
            tally.passed.append(identifier)
            tally.cleared.update(case["flags"])
    return tally


def _read_result(result: Any, required: Any, identifier: str, beside: Path) -> Any:
    computed = array_of(result, beside, identifier)
    if computed.shape != required.shape:
        raise InputError(
            f"{identifier} has shape {list(computed.shape)}; the result is of shape {list(required.shape)}"
        )
    if (computed.dtype.kind == "b") != (required.dtype.kind == "b"):
        kind = "true or false" if required.dtype.kind == "b" else "numbers"
        raise InputError(f"{identifier} is of type {computed.dtype}; the result holds {kind}")
    if required.dtype.kind == "i" and computed.dtype.kind == "f" and not np.array_equal(computed, np.round(computed)):
        raise InputError(f"{identifier} holds fractions; the result holds whole numbers")
    return computed.astype(required.dtype)
