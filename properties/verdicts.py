"""What the judge answers: a verdict per claim, a report per target, and their JSON.

A verdict's outcome is one of

- `proved`: holds for every input of its scope, by an exact decision or a structural proof;
- `holds`: no counterexample among the stated number of distinct inputs;
- `refuted`: a counterexample, shrunk, as computed against required;
- `not_applicable`: the claim's precondition does not hold, with the reason;
- `error`: the target raised, or returned a wrong shape or kind; never read as a counterexample.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from marlspec.errors import InputError

Outcome = Literal["proved", "holds", "refuted", "not_applicable", "error"]
REPORT_SCHEMA = "marlspec.report/1"
WITNESS_SCHEMA = "marlspec.witness/1"
_WITNESS_FIELDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("target", "role", "claim_id", "computed", "required"), (str, "text")),
    **dict.fromkeys(("settings", "size", "case"), (dict, "an object")),
    "seed": (int, "an integer"),
    "redraw": ((dict, type(None)), "an object or null"),
}


@dataclass(frozen=True)
class Witness:
    """A counterexample that can be run again.

    Attributes:
        target: name of the target that it refutes.
        role: the role under which it was judged.
        claim_id: the claim that it refutes.
        settings: keyword arguments of the target's factory.
        size: the role's sizes, by name (n_agents, state_size, ..).
        seed: of the judge's draws, and of the global generators when the target was built.
        redraw: None at the target's own parameters, else seed and scale of the parameters written over them.
        case: the input, by name.
        computed: what the target gave, in words.
        required: what the claim requires, in words.
    """

    target: str
    role: str
    claim_id: str
    settings: Mapping[str, Any]
    size: Mapping[str, int]
    seed: int
    redraw: Mapping[str, float] | None
    case: Mapping[str, Any]
    computed: str
    required: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `marlspec replay` reads."""
        return {"schema": WITNESS_SCHEMA, **_plain(self)}

    @staticmethod
    def from_json(record: Any, source: str) -> "Witness":
        """Read a JSON object; `source` names it in errors.

        Raises:
            InputError: the object is no witness of this version.
        """
        if not isinstance(record, dict) or record.get("schema") != WITNESS_SCHEMA:
            found = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise InputError(f"{source} is no witness: its schema is {found!r}, expected {WITNESS_SCHEMA!r}")
        fields = {name: value for name, value in record.items() if name != "schema"}
        for name, (kind, words) in _WITNESS_FIELDS.items():
            if name in fields and not isinstance(fields[name], kind):
                raise InputError(f"{source} is no witness: {name!r} must be {words}, not {json.dumps(fields[name])}")
        if fields.get("redraw") is not None and not _is_redraw(fields["redraw"]):
            raise InputError(f"{source} is no witness: 'redraw' must hold the numbers seed and scale")
        if not all(isinstance(value, int) for value in fields.get("size", {}).values()):
            raise InputError(f"{source} is no witness: 'size' must hold integers, not {fields['size']}")
        try:
            return Witness(**fields)
        except TypeError as error:
            raise InputError(f"{source} is no complete witness: {error}") from error

    @property
    def inputs(self) -> list[str]:
        """The case in words, a line for each input."""
        return [f"{name} = {compact(value)}" for name, value in self.case.items()]

    def lines(self) -> list[str]:
        """Return the witness in words, a line each."""
        size = ", ".join(f"{name} = {value}" for name, value in self.size.items())
        redraw = self.redraw
        parameters = (
            "as the factory made them"
            if redraw is None
            else f"drawn anew (normal, scale {redraw['scale']:g}, seed {redraw['seed']:.0f})"
        )
        return [
            *([f"size: {size}; parameters {parameters}"] if size else []),
            *self.inputs,
            f"computed: {self.computed}",
            f"required: {self.required}",
        ]


@dataclass(frozen=True)
class Verdict:
    """The judge's answer on one claim.

    Attributes:
        claim_id: which claim.
        outcome: see the module's docstring.
        method: what settled it (structural proof, random pairs, ..).
        scope: what the answer covers ("architecture": every parameter; "these parameters").
        examples: distinct inputs tried.
        seconds: wall time.
        witness: the counterexample of a refutation.
        reason: one sentence more: why not applicable, what the proof covers, what went wrong.
        expected: for a refutation that was announced, the announced reason.
        details: the traceback of an error.
    """

    claim_id: str
    outcome: Outcome
    method: str = ""
    scope: str = ""
    examples: int = 0
    seconds: float = 0.0
    witness: Witness | None = None
    reason: str = ""
    expected: str | None = None
    details: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the target: no error, and no refutation that was not announced."""
        return self.outcome in ("proved", "holds", "not_applicable") or (
            self.outcome == "refuted" and self.expected is not None
        )


@dataclass(frozen=True)
class Report:
    """All verdicts on one target in one role.

    Attributes:
        target, role: what was judged, as what.
        verdicts: in the order of the registry.
        dtype: the arithmetic in which the target was judged.
        sizes: the sizes at which it was judged, in words.
        examples, seed: how many batches each claim drew, and from which seed.
        settings: keyword arguments of the target's factory.
    """

    target: str
    role: str
    verdicts: tuple[Verdict, ...]
    dtype: str
    sizes: tuple[str, ...]
    examples: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every verdict is."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0: all hold; 1: refuted; 2: the target could not be judged (an error outranks a refutation)."""
        if any(verdict.outcome == "error" for verdict in self.verdicts):
            return 2
        return 0 if all(verdict.ok for verdict in self.verdicts) else 1

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """The counterexamples of all refutations."""
        return tuple(verdict.witness for verdict in self.verdicts if verdict.witness is not None)

    def verdict(self, claim_id: str) -> Verdict:
        """Return the verdict on one claim.

        Raises:
            InputError: the claim is not among this report's.
        """
        for verdict in self.verdicts:
            if verdict.claim_id == claim_id:
                return verdict
        raise InputError(
            f"the report on {self.target} has no claim {claim_id!r}; it has {[v.claim_id for v in self.verdicts]}"
        )

    def summary(self) -> str:
        """Return one line: how many claims ran, with which outcomes, on how many inputs."""
        counts = {outcome: sum(v.outcome == outcome for v in self.verdicts) for outcome in get_args(Outcome)}
        ran = len(self.verdicts) - counts["not_applicable"]
        parts = [f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts.items() if count]
        inputs = sum(verdict.examples for verdict in self.verdicts)
        return f"{ran} of {len(self.verdicts)} claims ran: {', '.join(parts)}; {inputs:,} inputs tried"

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object (schema `marlspec.report/1`)."""
        record = {"schema": REPORT_SCHEMA, **_plain(self), "ok": self.ok, "exit_code": self.exit_code}
        for verdict, entry in zip(self.verdicts, record["verdicts"], strict=True):
            entry["witness"] = None if verdict.witness is None else verdict.witness.to_json()
        return record

    @staticmethod
    def from_json(record: Any, source: str) -> "Report":
        """Read a JSON object; `source` names it in errors.

        Raises:
            InputError: the object is no report of this version.
        """
        if not isinstance(record, dict) or record.get("schema") != REPORT_SCHEMA:
            found = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise InputError(f"{source} is no report: its schema is {found!r}, expected {REPORT_SCHEMA!r}")
        fields = {name: value for name, value in record.items() if name not in ("schema", "ok", "exit_code")}
        try:
            verdicts = tuple(_verdict_of(entry, source) for entry in fields["verdicts"])
            return Report(**{**fields, "verdicts": verdicts, "sizes": tuple(fields["sizes"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"{source} is no complete report: {error}") from error

    def write_json(self, path: str | Path) -> None:
        """Write the JSON object to a file; its folder is made where it is missing."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")


def read_witness(path: str | Path) -> Witness:
    """Read a witness file.

    Raises:
        InputError: no such file, no JSON, or no witness.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the witness {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    return Witness.from_json(record, str(path))


def _verdict_of(record: Mapping[str, Any], source: str) -> Verdict:
    witness = record["witness"]
    return Verdict(**{**record, "witness": None if witness is None else Witness.from_json(witness, source)})


def _is_redraw(record: Mapping[str, Any]) -> bool:
    return set(record) == {"seed", "scale"} and all(isinstance(value, (int, float)) for value in record.values())


def compact(value: Any) -> str:
    """Print a number or nested list shortly: 1 for 1.0, at most 6 digits."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, (int, float)):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {compact(item)}" for name, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > 8:
            return f"[{', '.join(compact(item) for item in value[:4])}, .. {len(value)} entries]"
        return "[" + ", ".join(compact(item) for item in value) + "]"
    return str(value)


def _plain(record: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(record), default=_as_json))
    return plain


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
