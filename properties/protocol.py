"""The messages of the live door: how arguments become JSON, and answers become numbers again (docs/protocol.md).

A number is a JSON number with as many digits as float64 needs to come back the same, or its decimal text; NaN and
infinities, which JSON lacks, are the texts "nan", "inf" and "-inf". An array is an object with dtype, shape and data.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = "marlspec.live/1"
DTYPES = ("float64", "float32", "float16", "int64", "bool")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf")


class BadMessage(Exception):
    """An answer that does not follow the protocol; the message says what to write instead."""


def line_of(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line of UTF-8."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def message_of(line: bytes) -> dict[str, Any]:
    """Read one line of a target's standard output.

    Raises:
        BadMessage: it is no JSON object.
    """
    try:
        message = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error.__cause__, BadMessage):
            raise error.__cause__ from None
        raise BadMessage(
            f"it wrote {_quoted(line)} to standard output, which carries one JSON object a line and nothing else; "
            "print whatever else there is to standard error"
        ) from error
    if not isinstance(message, dict):
        raise BadMessage(f"it answered {_quoted(line)}; answer with a JSON object")
    return message


def encoded(value: Any) -> Any:
    """Return an argument as a JSON value: arrays as objects, lists and tuples as lists, numbers and truth values.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "data": _spelled(value)}
    if isinstance(value, np.generic):
        return encoded(value.item())
    if isinstance(value, (list, tuple)):
        return [encoded(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    raise TypeError(f"a {type(value).__name__} has no form in the protocol of the live door")


def decoded(value: Any) -> Any:
    """Return an answer's value: array objects as arrays, lists as lists, numbers and their texts as numbers.

    Raises:
        BadMessage: something else, or an array whose data do not fit its dtype or shape.
    """
    return None if value is None else _decoded(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(entry) for entry in value]
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return number_of(value)
    if isinstance(value, dict):
        return _array(value)
    raise BadMessage('it answered null in place of a number: JSON has no NaN, write the text "nan" (or "inf", "-inf")')


def number_of(text: str) -> float:
    """Return the number that a text spells.

    Raises:
        BadMessage: it spells none.
    """
    if NUMBER.fullmatch(text) is None:
        raise BadMessage(f'it answered the text {_quoted(text)} in place of a number; write digits, "nan" or "inf"')
    return float(text)


def _array(value: Mapping[str, Any]) -> NDArray[Any]:
    if set(value) != {"dtype", "shape", "data"} or value["dtype"] not in DTYPES:
        raise BadMessage(
            f"it answered the object {_quoted(json.dumps(value))}; an array is an object with shape, data and a dtype "
            f"among {', '.join(DTYPES)}"
        )
    shape = value["shape"]
    try:
        array = np.array(_decoded(value["data"]), dtype=value["dtype"])
    except (ValueError, TypeError, OverflowError) as error:
        raise BadMessage(f"it answered an array that cannot be read as {value['dtype']}: {error}") from error
    if not isinstance(shape, list) or list(array.shape) != _as_written(shape):
        raise BadMessage(f"it answered an array of shape {shape} with data of shape {list(array.shape)}")
    return array.reshape(shape)


def _as_written(shape: list[Any]) -> list[Any]:
    """The shape that nested lists show: what follows a size of 0 cannot be seen in them."""
    return shape[: shape.index(0) + 1] if 0 in shape else shape


def _spelled(array: NDArray[Any]) -> Any:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    return encoded(array.tolist())


def _refuse_constant(name: str) -> None:
    spelled = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}[name]
    raise ValueError(name) from BadMessage(f'it answered {name}, which is no JSON: write the text "{spelled}"')


def _quoted(text: str | bytes) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    shown = shown.strip()
    return repr(shown if len(shown) <= 80 else shown[:77] + "...")
