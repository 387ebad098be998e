"""What a vector file is made of: a function with its cases, and the faults that the cases catch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
Compute = Callable[..., Any]

CLEAR = 1e-3  # relative to 1 + |required|: by so much at least a fault's result is off where its flag stands
FINEST = 2**20  # results are multiples of 1 / FINEST unless an exponential function enters
TOLERANCES = {"float64": 1e-9, "float32": 1e-5}  # relative to 1 + |required|, by the precision of an implementation


@dataclass(frozen=True)
class Fault:
    """A way of getting the function wrong.

    Attributes:
        flag: its name.
        summary: what goes wrong, in words.
        compute: the function with this fault.
    """

    flag: str
    summary: str
    compute: Compute


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: stable, never given to another input.
        inputs: arrays, numbers, truth values and lists of arrays by the names of the function's arguments.
    """

    name: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A pure function of the specification.

    Attributes:
        name: algorithm and function, as in vdn.target.
        statement: what it computes, in words.
        cite: where it comes from.
        arguments: type and shape of each argument, by name.
        result: type and shape of the result.
        compute: the specification's own function, called with the inputs by name.
        faults: what the cases catch.
        cases: the inputs.
        digits: significant digits of the required results where an exponential function enters, whose last bits differ
            between machines. Results without it are short dyadic numbers and stay as they are. None where all are.
    """

    name: str
    statement: str
    cite: str
    arguments: Mapping[str, str]
    result: str
    compute: Compute
    faults: tuple[Fault, ...]
    cases: tuple[Case, ...]
    digits: int | None = None

    def required(self, case: Case) -> Array:
        """Return the required result of a case."""
        value = result_of(self.compute, case)
        if self.digits is None or value.dtype != np.float64:
            return value
        return np.array([_rounded(entry, self.digits) for entry in value.ravel().tolist()]).reshape(value.shape)

    def flags(self, case: Case) -> tuple[str, ...]:
        """Return the flags of the faults that the case catches."""
        required = self.required(case)
        return tuple(
            fault.flag
            for fault in self.faults
            if differs(result_of(fault.compute, case), required, TOLERANCES["float32"])
        )


def _rounded(value: float, digits: int) -> float:
    return value if (value * FINEST).is_integer() else float(f"{value:.{digits}g}")


def result_of(compute: Compute, case: Case) -> Array:
    """Call a function with a case's inputs; returns float64, int64 or bool."""
    return plain(compute(**case.inputs))


def plain(value: Any) -> Array:
    """Return a tensor, an array, a number or Fractions as an array of float64, int64 or bool."""
    array = np.array(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)
    if array.dtype == object:  # Fractions, correctly rounded
        return np.array([float(Fraction(entry)) for entry in array.ravel()], dtype=np.float64).reshape(array.shape)
    kinds = {"b": np.bool_, "i": np.int64, "f": np.float64}
    return array.astype(kinds[array.dtype.kind])


def differs(value: Array, required: Array, tolerance: float) -> bool:
    """Whether a result is off, by more than the tolerance times 1 + |required| where it is a number."""
    if value.shape != required.shape:
        return True
    if required.dtype != np.float64:
        return not np.array_equal(value, required)
    with np.errstate(invalid="ignore"):
        return bool((~(np.abs(value - required) <= tolerance * (1 + np.abs(required)))).any())


def torched(function: Callable[..., Any]) -> Compute:
    """Let a function of tensors take arrays; numbers pass as they are."""

    def compute(**inputs: Any) -> Any:
        tensors = {
            name: torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }
        with torch.no_grad():
            return function(**tensors)

    return compute


def case(name: str, **inputs: Any) -> Case:
    """Make a case; nested lists of numbers become arrays, tuples lists of arrays."""
    return Case(name, {key: _input(value) for key, value in inputs.items()})


def _input(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_input(entry) for entry in value]
    if isinstance(value, list):
        return plain(value)
    return value


def named(functions: Sequence[Function]) -> dict[str, Function]:
    """Return functions by name."""
    return {function.name: function for function in functions}
