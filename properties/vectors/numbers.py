"""Numbers in vector files: decimal texts that give the same float64 again, and large arrays in safetensors files.

An array is an object with dtype, shape and either data, nested lists, or safetensors, which names a file beside the
JSON file and a tensor in it. Numbers of type float64 are texts ("0.875", "-inf"); whole numbers and truth values are
JSON's own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from marlspec.errors import InputError

Array = NDArray[Any]
LARGE = 256  # entries from which an array goes to the safetensors file
DTYPES = ("float64", "int64", "bool")


def encoded(value: Any, key: str, file: str, tensors: dict[str, Array]) -> Any:
    """Return a value as JSON; large arrays are added to the tensors under the key, and the JSON names the file."""
    if isinstance(value, list):
        return [encoded(entry, f"{key}/{k}", file, tensors) for k, entry in enumerate(value)]
    if isinstance(value, np.ndarray):
        described = {"dtype": str(value.dtype), "shape": list(value.shape)}
        if value.size < LARGE:
            return {**described, "data": _texts(value.tolist())}
        tensors[key] = np.ascontiguousarray(value)
        return {**described, "safetensors": {"file": file, "key": key}}
    return _texts(value)


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(entry) for entry in value]
    return repr(value) if isinstance(value, float) else value


def decoded(value: Any, folder: Path | None, where: str) -> Any:
    """Read a value: arrays, lists of them, numbers and truth values.

    Args:
        value: as JSON.
        folder: where the safetensors files lie; None where there is none.
        where: names the value in errors.

    Raises:
        InputError: it is no such value.
    """
    if isinstance(value, dict):
        return _array(value, folder, where)
    if isinstance(value, list):
        return [decoded(entry, folder, where) for entry in value]
    return scalar(value, where)


def scalar(value: Any, where: str) -> Any:
    """Read a number, its text, or a truth value.

    Raises:
        InputError: it is none of these, or not a number (NaN).
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InputError(f"{where} is the text {value!r}: write a decimal number, inf or -inf") from None
    if isinstance(value, float) and np.isnan(value):
        raise InputError(f'{where} is NaN, which is no result: write {{"error": "what went wrong"}} in its place')
    if isinstance(value, (bool, int, float)):
        return value
    raise InputError(f"{where} is {json.dumps(value)[:60]}: write a number, its decimal text, true or false")


def array_of(value: Any, folder: Path | None, where: str) -> Array:
    """Read an array, given as an object or as nested lists, or a single number.

    Raises:
        InputError: it is none.
    """
    read = decoded(value, folder, where)
    try:
        array = np.array(read)
    except ValueError as error:
        raise InputError(f"{where} is no array: its lists are of unequal lengths") from error
    if array.dtype.kind not in "bif":
        raise InputError(f"{where} is no array of numbers")
    return array


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; NaN and infinities, which are no JSON, are read as numbers.

    Raises:
        InputError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _array(value: Mapping[str, Any], folder: Path | None, where: str) -> Array:
    if value.get("dtype") not in DTYPES or not isinstance(value.get("shape"), list):
        raise InputError(f"{where} is an object without dtype ({', '.join(DTYPES)}) and shape: write an array or lists")
    if "safetensors" in value:
        array = _tensor(value["safetensors"], folder, where)
    else:
        array = array_of(value.get("data"), folder, where) if value.get("data") != [] else np.zeros(0)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f'{where} holds NaN, which is no result: write {{"error": "what went wrong"}} in its place')
    try:
        return array.astype(value["dtype"]).reshape(value["shape"])
    except (ValueError, TypeError) as error:
        raise InputError(f"{where} has data of shape {list(array.shape)}, not {value['shape']}") from error


def _tensor(place: Any, folder: Path | None, where: str) -> Array:
    if not isinstance(place, dict) or not {"file", "key"} <= set(place) or folder is None:
        raise InputError(f"{where} names no tensor: write the safetensors file beside this one, and the tensor's key")
    path = folder / Path(str(place["file"])).name
    try:
        tensors = load_file(path)
    except Exception as error:  # what safetensors raises is its own
        raise InputError(f"{where}: cannot read {path}: {error}") from error
    if place["key"] not in tensors:
        raise InputError(f"{where}: {path} has no tensor {place['key']!r}")
    found: Array = tensors[place["key"]]
    return found
