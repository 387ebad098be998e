"""The tensors that a target's network holds, by name: read, overwritten, compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from marlspec.properties.trial import TargetError

Array = NDArray[Any]
Snapshot: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class Leaf:
    """One tensor or array of a network, and whether it is a buffer of a module (running statistics and the like)."""

    value: torch.Tensor | Array
    buffer: bool = False

    @property
    def floating(self) -> bool:
        """Whether it holds real numbers."""
        if isinstance(self.value, torch.Tensor):
            return self.value.dtype.is_floating_point
        return self.value.dtype.kind == "f"

    @property
    def precision(self) -> float:
        """The relative distance of neighbouring numbers of its type; 0 for integers."""
        if not self.floating:
            return 0.0
        value = self.value
        return float(torch.finfo(value.dtype).eps if isinstance(value, torch.Tensor) else np.finfo(value.dtype).eps)

    @property
    def counts(self) -> bool:
        """Whether it is a module's counter; other integers may be indices, which cannot be any number."""
        value = self.value
        return (
            self.buffer
            and isinstance(value, torch.Tensor)
            and value.dim() == 0
            and value.dtype in (torch.int64, torch.int32)
        )

    def numpy(self) -> Array:
        """Return a copy, real numbers in float64."""
        if isinstance(self.value, torch.Tensor):
            value = self.value.detach().cpu()
            return np.array((value.double() if self.floating else value).numpy())
        return self.value.astype(np.float64) if self.floating else self.value.copy()


def leaves(holder: Any, what: str) -> dict[str, Leaf]:
    """Return all tensors of modules, tensors or arrays, or of lists and mappings of them, by name.

    Raises:
        TargetError: there is something else, or nothing.
    """
    found = dict(_leaves(holder, "", what))
    if not found:
        raise TargetError(f"{what} holds no tensor")
    return found


def _leaves(holder: Any, prefix: str, what: str) -> list[tuple[str, Leaf]]:
    dot = f"{prefix}." if prefix else ""
    if isinstance(holder, nn.Module):
        parameters = [(dot + name, Leaf(value)) for name, value in holder.named_parameters()]
        return parameters + [(dot + name, Leaf(value, buffer=True)) for name, value in holder.named_buffers()]
    if isinstance(holder, np.generic):  # what arithmetic makes of an array without axes
        return [(prefix or "values", Leaf(_unwritable(holder)))]
    if isinstance(holder, (torch.Tensor, np.ndarray)):
        return [(prefix or "values", Leaf(holder))]
    if isinstance(holder, Mapping):
        pairs = [(str(name), part) for name, part in holder.items()]
    elif isinstance(holder, (list, tuple)):
        pairs = [(str(k), part) for k, part in enumerate(holder)]
    else:
        kind = type(holder).__name__
        raise TargetError(f"{what} is a {kind}: give modules, tensors or arrays, or lists and mappings of them")
    return [leaf for name, part in pairs for leaf in _leaves(part, dot + name, what)]


def _unwritable(scalar: "np.generic") -> Array:
    array = np.array(scalar)
    array.flags.writeable = False  # since nothing that is written would reach the holder
    return array


def snapshot(holder: Any, what: str) -> Snapshot:
    """Return copies of all tensors by name."""
    return {name: leaf.numpy() for name, leaf in leaves(holder, what).items()}


def overwrite(holder: Any, what: str, seed: int, buffers: bool, scale: float = 1.0) -> None:
    """Write eighths between -4 and 4, which every floating type holds exactly, over all real numbers, in place.

    Counters among the buffers, as of batches in running statistics, get other numbers, too.

    Args:
        holder: the network.
        what: its name in errors.
        seed: of the numbers.
        buffers: whether over buffers as well.
        scale: of the numbers, a power of two.

    Raises:
        TargetError: an array cannot be written.
    """
    generator = np.random.default_rng(seed)
    for name, leaf in leaves(holder, what).items():
        if leaf.buffer and not buffers:
            continue
        if leaf.counts:
            leaf.value.fill_(int(generator.integers(100)))  # type: ignore[union-attr]
        if not leaf.floating:
            continue
        numbers = generator.integers(-32, 33, tuple(leaf.value.shape)) / 8 * scale
        if isinstance(leaf.value, torch.Tensor):
            with torch.no_grad():
                leaf.value.copy_(torch.as_tensor(numbers))
        elif leaf.value.flags.writeable:
            leaf.value[...] = numbers
        else:
            raise TargetError(f"{what}, {name}, cannot be written: give arrays that can, as np.array(..) makes them")


def parameters(holder: Any, what: str) -> dict[str, torch.Tensor]:
    """Return the torch tensors that are no buffers, by name."""
    found = leaves(holder, what)
    return {
        name: leaf.value
        for name, leaf in found.items()
        if isinstance(leaf.value, torch.Tensor) and leaf.floating and not leaf.buffer
    }


def largest(*networks: Snapshot) -> float:
    """Return the largest magnitude in networks, at least 1; NaN where there is one."""
    return float(
        max((np.abs(values).max(initial=1.0) for network in networks for values in network.values()), key=_rank)
    )


def _rank(value: float) -> float:
    return np.inf if np.isnan(value) else float(value)


def first_difference(one: Snapshot, other: Snapshot, tolerance: float = 0.0) -> str | None:
    """Say where two networks differ, as "name[index] is x, not y"; NaN equals itself."""
    for name, values in one.items():
        wrong = values != other[name]
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                wrong &= ~(np.abs(values - other[name]) <= tolerance)
            wrong &= ~(np.isnan(values) & np.isnan(other[name]))
        if wrong.any():
            index = tuple(int(k) for k in np.argwhere(wrong)[0])
            return f"{name}{list(index) if index else ''} is {values[index]:.9g}, not {other[name][index]:.9g}"
    return None
