"""What a program behind the live door does besides its own work: it reads requests and writes answers, line by line.

The standard library and numpy alone, and nothing of marlspec: a program may run in an environment of its own.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Function = Callable[..., Any]


def serve(make: Callable[[Mapping[str, Any]], Function], attributes: Mapping[str, Any] | None = None) -> None:
    """Answer requests until bye.

    Args:
        make: from a hello (role, sizes, settings, seed) to the function that is judged, which takes numpy arrays and
            numbers, and returns an array or a list of them.
        attributes: what the function declares.
    """
    functions: dict[int, Function] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["type"] == "bye":
            return
        answer = {"id": request["id"], "type": "ready", "protocol": "marlspec.live/1", "attributes": attributes or {}}
        if request["type"] == "hello":
            functions[request["id"]] = make(request)
        else:
            value = functions[request["target"]](*map(_read, request["arguments"]))
            answer = {"id": request["id"], "type": "result", "value": _written(value)}
        print(json.dumps(answer), flush=True)


def _read(argument: Any) -> Any:
    if not isinstance(argument, dict):
        return argument
    return np.array(argument["data"], dtype=argument["dtype"]).reshape(argument["shape"])


def _written(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_written(entry) for entry in value]
    array = np.asarray(value)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": _spelled(array)}


def _spelled(array: Any) -> Any:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array.tolist()
    return np.vectorize(str, otypes=[object])(array).tolist()  # JSON has no NaN
