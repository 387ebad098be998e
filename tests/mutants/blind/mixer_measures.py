"""Measures that mixers and joint values share; cases are tuples of arrays whose first axis is that of rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Factory
from .common import NEVER, Arguments, Array, as_array, gap

Sizes = tuple[int, ...]
Cases = Callable[[np.random.Generator, Sizes], list[Arguments]]
Measure = Callable[[Factory], float]
SCALES = (None, 1.0, 0.3, 3.0, 1.0)  # of redrawn parameters; None leaves them as they are


@contextmanager
def double(seed: int) -> Iterator[None]:
    """Factories run in float64, from a seed, and leave torch as it was."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def made(factory: Factory, sizes: Sizes, seed: int = 0) -> Any:
    with double(seed):
        return factory(*sizes)


def given(function: Any, case: Arguments) -> list[Any]:
    """Copies of the case's arrays: torch tensors, unless the function asks for numpy."""
    if getattr(function, "arrays", "torch") == "numpy":
        return [value.copy() for value in case]
    return [torch.from_numpy(value.copy()) for value in case]


def asked(function: Any, case: Arguments) -> Array:
    """The answer in numpy, no numbers where its shape is not that of the rows."""
    found = as_array(function(*given(function, case))).copy()
    return found if found.shape == case[0].shape[:1] else np.full(case[0].shape[:1], np.nan)


def leaves(function: Any, case: Arguments) -> list[torch.Tensor]:
    """The leaf tensors that an answer hangs on, and the parameters of a module."""
    if getattr(function, "arrays", "torch") == "numpy":
        return []
    found = list(function.parameters()) if isinstance(function, nn.Module) else []
    answer = function(*given(function, case))
    open_nodes, seen = [getattr(answer, "grad_fn", None)], set()
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable") and all(node.variable is not old for old in found):
            found.append(node.variable)
        open_nodes.extend(following for following, _ in node.next_functions)
    return sorted(found, key=lambda leaf: tuple(leaf.shape))


def redraw(parameters: Sequence[torch.Tensor], generator: np.random.Generator, scale: float | None) -> None:
    if scale is None:
        return
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.from_numpy(np.asarray(generator.normal(size=tuple(parameter.shape)) * scale)))


def each(
    factory: Factory, all_sizes: Sequence[Sizes], cases: Cases, scales: Sequence[float | None] = SCALES
) -> Iterator[tuple[Any, Sizes, Arguments]]:
    """New functions of all sizes, at their own parameters and at others, with cases."""
    for k, sizes in enumerate(all_sizes):
        generator, function = np.random.default_rng(k), made(factory, sizes, k)
        parameters = leaves(function, cases(generator, sizes)[0])
        for scale in scales:
            redraw(parameters, generator, scale)
            for case in cases(generator, sizes):
                yield function, sizes, case


def relative(difference: Array, *answers: Array) -> float:
    """The largest entry above 0, by the size of what it is a difference of; NEVER where it is no number."""
    size = 1 + np.max([np.abs(answer) for answer in answers], axis=0)
    with np.errstate(invalid="ignore"):
        return max(0.0, float(np.nan_to_num(difference / size, nan=NEVER, posinf=NEVER).max(initial=0.0)))


def rows_by_themselves(all_sizes: Sequence[Sizes], cases: Cases) -> Measure:
    """How far a row's answer in a batch is from that to the row alone, and from that in the batch turned about."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for function, _, case in each(factory, all_sizes, cases):
            together = asked(function, case)
            alone = np.concatenate([asked(function, cut(case, slice(b, b + 1))) for b in range(len(together))])
            turned = asked(function, cut(case, slice(None, None, -1)))[::-1]
            worst = max(worst, relative(np.abs(together - alone), together, alone))
            worst = max(worst, relative(np.abs(together - turned), together, turned))
        return worst

    return amount


def cut(case: Arguments, rows: slice) -> Arguments:
    return tuple(value[rows].copy() for value in case)


def same_answers(all_sizes: Sequence[Sizes], cases: Cases) -> Measure:
    """How far answers are from those that the same function gave before other calls, or would give anew."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for k, sizes in enumerate(all_sizes):
            function, generator = made(factory, sizes, k), np.random.default_rng(k)
            asks = cases(generator, sizes)
            with double(5):
                first = [asked(function, case) for case in asks]
                for _ in range(3):
                    again = [asked(function, case) for case in asks]
                    worst = max([worst, *(relative(np.abs(a - b), a, b) for a, b in zip(first, again, strict=True))])
                fresh = [asked(made(factory, sizes, k), case) for case in asks]
                worst = max([worst, *(relative(np.abs(a - b), a, b) for a, b in zip(first, fresh, strict=True))])
        return worst

    return amount


def not_finite(all_sizes: Sequence[Sizes], cases: Cases) -> Measure:
    """1 where a finite case, at finite parameters, zeros among them, has an answer that is no finite number."""

    def amount(factory: Factory) -> float:
        looked = each(factory, all_sizes, cases, (*SCALES, 0.0))
        return float(any(not np.isfinite(asked(function, case)).all() for function, _, case in looked))

    return amount


def writes(all_sizes: Sequence[Sizes], cases: Cases) -> Measure:
    """The largest change that calls make to what they are handed."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for function, _, case in each(factory, all_sizes, cases, (None,)):
            handed = given(function, case)
            function(*handed)
            worst = max([worst, *(gap(new, as_array(old)) for new, old in zip(handed, case, strict=True))])
        return worst

    return amount


MIXER_SIZES: tuple[Sizes, ...] = ((2, 3), (3, 2), (1, 1), (5, 4), (4, 1), (1, 3), (2, 7))


def mixer_cases(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    """Utilities and states of several magnitudes, whole numbers, zeros, and as many rows as there are agents."""
    n, s = sizes
    found: list[Arguments] = []
    for rows, spread, wide in ((6, 1.0, 1.0), (1, 5.0, 1.0), (n, 0.1, 3.0), (9, 30.0, 1.0), (4, 200.0, 0.2)):
        found.append((generator.normal(size=(rows, n)) * spread, generator.normal(size=(rows, s)) * wide))
    found.append((generator.integers(-2, 3, (5, n)).astype(float), generator.integers(-1, 2, (5, s)).astype(float)))
    found.append((generator.integers(-90, 91, (5, n)).astype(float), generator.normal(size=(5, s))))
    found.append((np.zeros((3, n)), np.zeros((3, s))))
    return found


def extreme_mixer_cases(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    n, s = sizes
    shapes = ((4, n), (4, s))
    found = [tuple(generator.normal(size=shape) * spread for shape in shapes) for spread in (1.0, 1e3, 1e6)]
    found += [tuple(np.full(shape, value) for shape in shapes) for value in (0.0, 1.0, -1e4)]
    found += [(np.full(shapes[0], value), generator.normal(size=shapes[1])) for value in (0.0, 2.0)]
    return found


def falls(factory: Factory) -> float:
    """The largest fall of Q_tot as one agent's utility rises, by small and by large steps."""
    worst = 0.0
    steps = np.random.default_rng(13)
    for function, (n, _), (utilities, state) in each(factory, MIXER_SIZES, mixer_cases):
        before = asked(function, (utilities, state))
        for i in range(n):
            for step in (0.01, 1.0, 50.0):
                raised = utilities.copy()
                raised[:, i] += step * steps.uniform(0.5, 1.5, len(raised))
                after = asked(function, (raised, state))
                worst = max(worst, relative(before - after, before, after))
    return worst


def agents_that_do_not_count(factory: Factory) -> float:
    """1 where there is an agent whose utility changes Q_tot in no case."""
    for k, sizes in enumerate(MIXER_SIZES):
        counts = np.zeros(sizes[0], dtype=bool)
        for function, _, (utilities, state) in each(factory, (sizes,), mixer_cases):
            before = asked(function, (utilities, state))
            for i in range(sizes[0]):
                raised = utilities + (np.arange(sizes[0]) == i) * (1.0 + k)
                counts[i] |= bool((asked(function, (raised, state)) != before).any())
        if not counts.all():
            return 1.0
    return 0.0
