"""Searching for a counterexample among drawn cases, and making it smaller, for roles without sizes.

A case is a mapping from names to numbers and nested lists, so that it can be written to a file and run again.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from marlspec.properties.claims import Counterexample, Finding
from marlspec.properties.clock import is_up
from marlspec.properties.strategies import simpler
from marlspec.properties.trial import TargetError, Trial

Case = Mapping[str, Any]
Draw = Callable[[np.random.Generator, int], Case]
Test = Callable[[Case], Counterexample | None]
Smaller = Callable[[Case], Iterator[Case]]

MOST_STEPS = 2_000  # tried while a counterexample is made smaller


def search(
    trial: Trial,
    draw: Draw,
    test: Test,
    *,
    method: str,
    smaller: Smaller | None = None,
    always: Sequence[Case] = (),
    key: str = "",
) -> Finding:
    """Test drawn cases up to the first counterexample, and make that as small as can be.

    Args:
        trial: the budget (trial.examples cases) and the seed.
        draw: makes the k-th case with a generator.
        test: tells whether the target fails a case.
        method: as in a verdict.
        smaller: candidates that are simpler than a case, the simplest first; numbers in it alone by default.
        always: cases that are tried before the drawn ones, whatever the seed.
        key: keeps the draws of one claim apart from those of another with the same seed.
    """
    generator = np.random.default_rng([trial.seed, *key.encode()])
    seen: set[str] = set()
    for k in range(len(always) + trial.examples):
        if is_up():
            break
        case = always[k] if k < len(always) else draw(generator, k - len(always))
        seen.add(json.dumps(case, sort_keys=True, default=list))
        found = test(case)
        if found is not None:
            return Finding(
                counterexample=shrunk(case, found, test, smaller or simpler_numbers),
                method=method,
                scope="this target",
                examples=len(seen),
            )
    return Finding(method=method, scope="this target", examples=len(seen))


def shrunk(case: Case, found: Counterexample, test: Test, smaller: Smaller) -> Counterexample:
    """Replace a failing case by a simpler one that fails too, as long as there is one."""
    best, steps = found, 0
    improved = True
    while improved:
        improved = False
        for candidate in smaller(case):
            steps += 1
            if steps > MOST_STEPS or is_up():
                return best
            try:
                again = test(candidate)
            except TargetError:  # what the target cannot take is no simpler counterexample
                continue
            if again is not None:
                case, best, improved = candidate, again, True
                break
    return best


def counterexample(case: Case, computed: str, required: str) -> Counterexample:
    """Return the counterexample of a role without sizes."""
    return Counterexample({}, None, dict(case), computed, required)


def simpler_numbers(case: Case, names: Sequence[str] | None = None) -> Iterator[Case]:
    """Yield the case with one number made simpler; in the named entries alone where names are given."""
    for name in case if names is None else names:
        for value in _simpler_values(case[name]):
            yield {**case, name: value}


def without(case: Case, axes: Mapping[str, Sequence[int]], index: int) -> Case:
    """Return the case with one slice left out: index along each of the named arrays' axes.

    Args:
        case: holds the named arrays as nested lists.
        axes: for each name the axes along which the slice is taken.
        index: of the slice.
    """
    smaller = dict(case)
    for name, own in axes.items():
        array = np.array(case[name])
        for axis in own:
            array = np.delete(array, index, axis=axis)
        smaller[name] = array.tolist()
    return smaller


def _simpler_values(value: Any) -> Iterator[Any]:
    if isinstance(value, (bool, str)) or value is None:
        return
    if isinstance(value, (int, float)):
        whole = isinstance(value, int)
        yield from (int(candidate) if whole else candidate for candidate in simpler(float(value)))
        return
    for index, entry in enumerate(value):
        for candidate in _simpler_values(entry):
            yield [*value[:index], candidate, *value[index + 1 :]]
