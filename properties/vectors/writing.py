"""Writing the vector files: one JSON file a function, a safetensors file where arrays are large, and the schemas."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import save

from marlspec.errors import InputError
from marlspec.properties.vectors import decomposition, policy_gradient, solution, tabular
from marlspec.properties.vectors.functions import TOLERANCES, Function, named
from marlspec.properties.vectors.numbers import encoded

SCHEMA = "marlspec.vectors/1"
SCHEMAS = Path(__file__).parents[1] / "schemas"
SCHEMA_FILES = ("vectors-1.schema.json", "results-1.schema.json")
FUNCTIONS = named((*decomposition.FUNCTIONS, *tabular.FUNCTIONS, *policy_gradient.FUNCTIONS, *solution.FUNCTIONS))
Tensors = dict[str, NDArray[Any]]


@cache
def record_of(name: str) -> tuple[dict[str, Any], Tensors]:
    """Return a function's vectors as a JSON object, and the large arrays that it names."""
    function = FUNCTIONS[name]
    tensors: Tensors = {}
    cases = [_case(function, index, tensors) for index in range(len(function.cases))]
    record = {
        "schema": SCHEMA,
        "function": name,
        "statement": function.statement,
        "source": function.cite,
        "arguments": dict(function.arguments),
        "result": function.result,
        "tolerance": {precision: repr(value) for precision, value in TOLERANCES.items()},
        "flags": {fault.flag: fault.summary for fault in function.faults},
        "cases": cases,
    }
    return record, tensors


def _case(function: Function, index: int, tensors: Tensors) -> dict[str, Any]:
    case, file = function.cases[index], f"{function.name}.safetensors"
    return {
        "id": f"{function.name}/{case.name}",
        "flags": list(function.flags(case)),
        "inputs": {name: encoded(value, f"{case.name}/{name}", file, tensors) for name, value in case.inputs.items()},
        "required": encoded(function.required(case), f"{case.name}/required", file, tensors),
    }


def files() -> dict[str, bytes]:
    """Return all files by name; the same bytes every time and everywhere."""
    made = {name: (SCHEMAS / name).read_bytes() for name in SCHEMA_FILES}
    for name in FUNCTIONS:
        record, tensors = record_of(name)
        made[f"{name}.json"] = _text(record).encode()
        if tensors:
            made[f"{name}.safetensors"] = save(tensors)
    return made


def write_vectors(folder: Path) -> list[Path]:
    """Write all files; returns their paths.

    Raises:
        InputError: the folder holds other files, of another version perhaps.
    """
    made = files()
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir() if path.name not in made)
    if others:
        raise InputError(
            f"{folder} holds {others[0]!r}, which is none of the vectors: write them to a folder of their own"
        )
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in made]


def _text(record: Mapping[str, Any]) -> str:
    """JSON with a line for each entry and each case."""
    head = {key: value for key, value in record.items() if key != "cases"}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    cases = ",\n".join(f"    {json.dumps(case)}" for case in record["cases"])
    return "\n".join(["{", *lines, '  "cases": [', cases, "  ]", "}", ""])
