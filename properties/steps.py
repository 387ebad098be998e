"""What the claims about one step of an algorithm share: options, tolerance, and cases made smaller.

Inputs are small multiples of 1/4 and discounts have few binary digits, so that the right answers are free of rounding
in float64, and in float32 off by less than the tolerance even where they are summed in another order. Answers that
differ by less are the same number, rounded; what a fault makes of such inputs differs by more.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, without
from marlspec.properties.claims import Counterexample
from marlspec.properties.procedure import Procedure, procedure
from marlspec.properties.trial import TargetError, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
Judge = Callable[[Procedure, Case], Counterexample | None]

TOLERANCE = 2.0**-14
ORDINARY, LARGE = 16, 1024


def option(target: Procedure, name: str, allowed: Sequence[Any]) -> Any:
    """Return what the target declares by an attribute; the first of the allowed values where it declares nothing.

    Raises:
        TargetError: it declares something else.
    """
    declared = target.declared(name, allowed[0])
    for value in allowed:
        if type(declared) is type(value) and declared == value:
            return declared
    words = " or ".join(repr(value) for value in allowed)
    raise TargetError(f"the target declares {name} = {declared!r}; declare {words}")


def same(computed: float, required: float, room: float = 1.0) -> bool:
    """Whether two numbers are the same but for rounding, see room_for(); what is not a number is the same as none."""
    return bool(abs(computed - required) <= TOLERANCE * room)


def first_difference(
    computed: Array, required: Array, where: Array | None = None, room: float = 1.0
) -> tuple[int, ...] | None:
    """Return the index of the first entry that is not what is required, among those where it counts.

    `room` times the tolerance is allowed, see room_for().
    """
    differs = ~(np.abs(computed - required) <= TOLERANCE * room)
    if where is not None:
        differs = differs & where
    return tuple(int(k) for k in np.argwhere(differs)[0]) if differs.any() else None


def room_for(*arrays: Any) -> float:
    """Return by how much numbers exceed those for which the tolerance is made: rounding grows as they do."""
    return max(1.0, *(float(np.abs(np.asarray(array, dtype=float)).max(initial=0.0)) / ORDINARY for array in arrays))


def rechecked(judge: Judge) -> Callable[[Trial, Size, Case], Counterexample | None]:
    """Return the recheck of a claim whose judge needs the target and the case alone."""
    return lambda trial, size, case: judge(procedure(trial), case)


def slices_left_out(case: Case, axes: Mapping[str, Sequence[int]], least: int = 1) -> Iterator[Case]:
    """Yield the case with each slice along the named arrays' axes left out, as long as `least` are left."""
    name, own = next(iter(axes.items()))
    length = np.shape(case[name])[own[0]]
    if length > least:
        yield from (without(case, axes, index) for index in range(length))


def quarters(generator: np.random.Generator, shape: Sequence[int], most: int = 8) -> Array:
    """Draw multiples of 1/4, of up to `most` quarters."""
    return generator.integers(-most, most + 1, shape) / 4


def varied(generator: np.random.Generator, shape: Sequence[int], k: int) -> Array:
    """Draw quarters of up to 2, at times whole numbers, finer ones than half precision holds, or ones up to 1024."""
    if k % 8 == 3:
        return quarters(generator, shape, 4 * (LARGE if is_large(k) else ORDINARY))
    if k % 16 == 9:
        return quarters(generator, shape).round()
    return quarters(generator, shape, 2048) / 256 if k % 8 == 7 else quarters(generator, shape)


def is_large(k: int) -> bool:
    """Whether varied() draws the largest numbers in case k."""
    return k % 16 == 11


def one_at_least(available: Array) -> Array:
    """Return the mask with the first action available wherever none is."""
    mask = available.copy()
    mask[..., 0] |= ~mask.any(axis=-1)
    return mask
