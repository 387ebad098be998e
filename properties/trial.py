"""A target under judgement: built at a size, called in one arithmetic, checked for shape and kind at every call.

Everything that goes wrong inside the target becomes a `TargetError`, which the judge reports as an error and never
reads as a counterexample.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.parameter import is_lazy

from marlspec.properties.clock import Interrupted
from marlspec.properties.isolation import default_dtype, isolated
from marlspec.properties.roles import Target, dtypes_of, modules_of, parameters_of

Array = NDArray[Any]
Engine = Literal["hypothesis", "plain"]
Parameters = Literal["redrawn", "given"]

# What rounding can do to one value, relative to its magnitude: comparisons of the same row in two calls of the same
# shape, and of different rows or batch sizes.
SAME_ROW = {torch.float64: 1e-8, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}
OTHER_ROW = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 2e-1}
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}
HALF = (torch.float16, torch.bfloat16)


class TargetError(Exception):
    """The target could not be judged: it raised, or returned a wrong shape or kind."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class Redraw:
    """Parameters written over a target's own: normal with the given scale, from the given seed."""

    seed: int
    scale: float

    def to_json(self) -> dict[str, float]:
        """Return seed and scale."""
        return {"seed": float(self.seed), "scale": self.scale}


@dataclass
class Subject:
    """A target built at one size.

    Attributes:
        function: what the factory returned.
        size: the role's sizes by name.
        dtype: floating type of its inputs.
        precision: the coarsest type of its inputs, its output and the tensors that it holds; tolerances go by it.
        numpy: whether it takes and gives numpy arrays.
        seed: seed of the global generators while it was built.
        wrote: whether the last call wrote into its inputs.
    """

    function: Callable[..., Any]
    size: Mapping[str, int]
    dtype: torch.dtype
    precision: torch.dtype
    numpy: bool
    seed: int
    wrote: bool = False

    def __call__(self, *inputs: Array) -> Array:
        """Call the target on a batch; returns shape [B] in float64.

        Raises:
            TargetError: it raised, or returned anything but one floating-point number per row.
        """
        return self.tensor(*inputs).double().numpy()

    def tensor(self, *inputs: Array, gradients: bool = False) -> torch.Tensor:
        """Call the target on fresh copies of the inputs; the result is in the target's own type.

        As code may ask whether gradients are recorded, they can be.
        """
        batch = len(inputs[0])
        arguments = [self._argument(value) for value in inputs]
        originals = [self._argument(value) for value in inputs]
        with default_dtype(self.dtype), torch.set_grad_enabled(gradients), errors_of_target(f"on a batch of {batch}"):
            result = self.function(*arguments)
        self.wrote = any(not _equal(now, before) for now, before in zip(arguments, originals, strict=True))
        checked = self._checked(result, batch)
        return checked.detach()

    def inputs(self, *shapes: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
        """Return zero tensors of the subject's type, to trace it with."""
        return tuple(torch.zeros(shape, dtype=self.dtype) for shape in shapes)

    @cached_property
    def parameters(self) -> list[torch.Tensor]:
        """The free parameters that the target holds."""
        return parameters_of(self.function)

    @contextmanager
    def redrawn(self, redraw: Redraw | None) -> Iterator[None]:
        """Write other numbers over the free parameters, and the target's own back at the end."""
        if redraw is None:
            yield
            return
        parameters = self.parameters
        kept = [parameter.detach().clone() for parameter in parameters]
        try:
            overwrite(parameters, redraw)
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(parameters, kept, strict=True):
                    parameter.copy_(value)

    def _argument(self, value: Array) -> Any:
        tensor = torch.from_numpy(np.array(value))
        if tensor.dtype.is_floating_point:
            tensor = tensor.to(self.dtype)
        return tensor.numpy() if self.numpy else tensor

    def _checked(self, result: Any, batch: int) -> torch.Tensor:
        kind = np.ndarray if self.numpy else torch.Tensor
        if not isinstance(result, kind):
            wanted = "a numpy array" if self.numpy else "a torch tensor"
            hint = "" if self.numpy else '; a target in numpy says so by the attribute arrays = "numpy"'
            raise TargetError(f"the target returned {_article(type(result).__name__)}, not {wanted}{hint}")
        shape = tuple(result.shape)
        if shape != (batch,):
            raise TargetError(
                f"the target returned shape {list(shape)} for a batch of {batch}; return shape [B], here [{batch}]"
                + _fix(shape, batch)
            )
        try:
            tensor = torch.as_tensor(np.ascontiguousarray(result) if self.numpy else result).detach().to("cpu")
        except Exception as error:  # objects, dates, tensors without data
            raise TargetError(f"the target's result cannot be read as numbers: {error}") from error
        if tensor.dtype not in ROUNDING:
            raise TargetError(
                f"the target returned {str(tensor.dtype).removeprefix('torch.')}; return floating-point values"
            )
        return tensor


def overwrite(parameters: Sequence[torch.Tensor], redraw: Redraw) -> None:
    """Write normal numbers over the parameters, in place.

    Each tensor has a scale of its own, the redraw's times a power of two between 1/32 and 2: so each part of a network
    gets to dominate the others now and then.
    """
    generator = torch.Generator().manual_seed(redraw.seed)
    with torch.no_grad():
        for parameter in parameters:
            power = int(torch.randint(-5, 2, (), generator=generator))
            normal = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(normal * redraw.scale * 2.0**power)


@dataclass
class Trial:
    """One claim's view of the case: the target, the budget, and what earlier claims established.

    Attributes:
        target, role: what is judged, as what.
        sizes: the sizes to judge at, each by name.
        examples: batches to draw.
        seed: all randomness of the trial follows from it.
        engine: hypothesis, or plain numpy draws where a caller is inside a hypothesis test of its own.
        parameters: whether the architecture is judged (parameters drawn anew) or the given parameters alone.
        proved: claims already proved, by id, with the scope of the proof.
    """

    target: Target
    role: str
    sizes: tuple[Mapping[str, int], ...]
    examples: int = 200
    seed: int = 0
    engine: Engine = "hypothesis"
    parameters: Parameters = "redrawn"
    proved: dict[str, str] = field(default_factory=dict)
    _types: dict[tuple[tuple[str, int], ...], tuple[torch.dtype, torch.dtype, bool]] = field(default_factory=dict)
    _modes: WeakKeyDictionary[torch.nn.Module, bool] = field(default_factory=WeakKeyDictionary)

    def build(self, size: Mapping[str, int]) -> Subject:
        """Build the target afresh at one size; the same seed gives the same parameters.

        Raises:
            TargetError: the factory raised, or the function cannot be called as its role says.
        """
        key = tuple(sorted(size.items()))
        if key not in self._types:
            self._types[key] = self._probe(size)
        dtype, precision, arrays = self._types[key]
        subject = Subject(self._make(size, dtype), size, dtype, precision, arrays, self.seed)
        if any(is_lazy(parameter) for parameter in subject.parameters):
            with isolated(
                self.seed
            ):  # lazy parameters get their shapes, and the same numbers each time, at a first call
                subject.tensor(*_probe_inputs(size))
            vars(subject).pop("parameters")
        return subject

    def _make(self, size: Mapping[str, int], dtype: torch.dtype) -> Callable[..., Any]:
        sizes = ", ".join(f"{name}={value}" for name, value in size.items())
        with isolated(self.seed), default_dtype(dtype), errors_of_target(f"as factory({sizes})"):
            function: Any = self.target.factory(*size.values(), **self.target.settings)
        if not callable(function):
            raise TargetError(
                f"the factory returned {_article(type(function).__name__)}, which cannot be called; return a function"
            )
        for module in [part for whole in modules_of(function) for part in whole.modules()]:
            self._modes.setdefault(module, module.training)
        self.restore_modes()
        made: Callable[..., Any] = function
        return made

    def restore_modes(self) -> None:
        """Set every module to the mode (training or not) in which the factory first handed it over."""
        for module, training in self._modes.items():
            module.training = training

    def _probe(self, size: Mapping[str, int]) -> tuple[torch.dtype, torch.dtype, bool]:
        """Find out in which arithmetic the target works: float64 if it takes it, else its own."""
        first: TargetError | None = None
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            function = self._make(size, dtype)
            arrays = "numpy" in (getattr(self.target.factory, "arrays", None), getattr(function, "arrays", None))
            if arrays and dtype is torch.bfloat16:  # numpy has no such type
                continue
            subject = Subject(function, size, dtype, dtype, arrays, self.seed)
            try:
                result = subject.tensor(*_probe_inputs(size))
            except TargetError as error:
                first = first or error
                continue
            held = {kind for kind in dtypes_of(function) if kind in ROUNDING}
            return dtype, max({dtype, result.dtype} | held, key=lambda kind: torch.finfo(kind).eps), arrays
        assert first is not None
        raise first


def _probe_inputs(size: Mapping[str, int]) -> tuple[Array, ...]:
    batch, n, s = 5, size["n_agents"], size["state_size"]
    state = np.zeros((batch, s))
    if "n_actions" in size:
        return np.zeros((batch, n, size["n_actions"])), np.zeros((batch, n), dtype=np.int64), state
    return np.zeros((batch, n)), state


def _equal(first: Any, second: Any) -> bool:
    return bool(first.shape == second.shape and first.dtype == second.dtype and (first == second).all())


def _fix(shape: tuple[int, ...], batch: int) -> str:
    if shape == (batch, 1):
        return ": squeeze the last dimension"
    if shape == ():
        return ": keep the batch dimension"
    return ""


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


@contextmanager
def errors_of_target(when: str) -> Iterator[None]:
    """Turn whatever the target raises into a TargetError that says when it was raised."""
    try:
        yield
    except (KeyboardInterrupt, TargetError, Interrupted):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines()
        message = f"the target raised {type(error).__name__}{': ' + lines[0] if lines else ''} (called {when})"
        raise TargetError(message, traceback.format_exc()) from error
