"""How the measures hand over arrays and look at answers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..target import Factory

Array = NDArray[Any]
Arguments = tuple[Any, ...]
Rule = Callable[..., Array]

NEVER = 1e9  # an amount for answers of the wrong shape, or that are not numbers


def in_kind(function: Any, value: Any) -> Any:
    """A copy of an argument in the kind of arrays that a function asks for, numpy by default."""
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(value.copy()) if getattr(function, "arrays", "numpy") == "torch" else value.copy()


def as_array(answer: Any) -> Array:
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu().numpy()
    return np.asarray(answer, dtype=np.float64)


def gap(answer: Any, expected: Array) -> float:
    """The largest difference, NEVER where it has none."""
    given = as_array(answer)
    if given.shape != expected.shape:
        return NEVER
    same = given == expected  # infinities among them
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, np.abs(given - expected))
    return float(np.nan_to_num(distance, nan=NEVER, posinf=NEVER).max(initial=0.0))


def off_the_rule(rule: Rule, cases: Callable[[Any], Sequence[Arguments]]) -> Callable[[Factory], float]:
    """The largest distance from a rule, one new function for all cases, which it is called with one after another."""

    def amount(factory: Factory) -> float:
        function = factory()
        return max(
            gap(function(*[in_kind(function, value) for value in case]), rule(function, *case))
            for case in cases(function)
        )

    return amount


def writes_into_its_arguments(cases: Callable[[Any], Sequence[Arguments]]) -> Callable[[Factory], float]:
    """The largest change that calls make to what they are handed."""

    def amount(factory: Factory) -> float:
        function, worst = factory(), 0.0
        for case in cases(function):
            handed = [in_kind(function, value) for value in case]
            function(*handed)
            pairs = [(new, old) for new, old in zip(handed, case, strict=True) if isinstance(old, np.ndarray)]
            worst = max([worst, *(gap(new, as_array(old)) for new, old in pairs)])
        return worst

    return amount


def masks(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random masks over the last axis, one entry at least; every third row has one alone."""
    found = generator.random(shape) < 0.6
    rows = found.reshape(-1, shape[-1])
    for k, row in enumerate(rows):
        if k % 3 == 0:
            row[:] = False
        row[generator.integers(shape[-1])] = True
    return found
