"""The claim behind the claims of a function: the same case gives the same answer, whatever was asked in between."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, Draw, Smaller, counterexample, search
from marlspec.properties.claims import Counterexample, Finding
from marlspec.properties.procedure import Procedure, procedure
from marlspec.properties.trial import Trial

Call = Callable[[Procedure, Case], NDArray[Any]]

STATEMENT = "The same case gives the same answer every time, whatever was asked in between."
METHOD = "a case, another one twice, and the first one again; the other one, asked alone of a target made afresh"
TARGETS = 10  # made afresh, and asked in turn
AFRESH = 2  # in one case of so many a target is made for the second question alone


def changing(trial: Trial, call: Call, case: Case, tolerance: float = 0.0) -> Counterexample | None:
    """Ask a target made afresh for case["first"], for case["second"] twice, and for case["first"] again.

    Args:
        trial: makes the target.
        call: calls it with one case.
        case: both cases, by the names first and second.
        tolerance: by how much the answers may differ.
    """
    return _asked(procedure(trial), call, case, tolerance) or _remembering(trial, call, case, tolerance)


def _asked(function: Procedure, call: Call, case: Case, tolerance: float) -> Counterexample | None:
    first, second, again, last = [call(function, case[name]) for name in ("first", "second", "second", "first")]
    for before, after, words in ((second, again, "second case"), (first, last, "first case")):
        index = _difference(before, after, tolerance)
        if index is not None:
            computed = (
                f"entry {list(index)} of the answer to the {words} is {before[index]:.9g}, later {after[index]:.9g}"
            )
            return counterexample(case, computed, "the same answer to first, second, second, first")
    return None


def _remembering(trial: Trial, call: Call, case: Case, tolerance: float) -> Counterexample | None:
    """Whether the second case has another answer where the first one was asked before it.

    Targets made alike by chance of their own have nothing to compare: they must agree where neither was asked before.
    """
    alone = call(procedure(trial), case["second"])
    asked = procedure(trial)
    call(asked, case["first"])
    after = call(asked, case["second"])
    index = _difference(alone, after, tolerance)
    if index is None or _difference(alone, call(procedure(trial), case["second"]), tolerance) is not None:
        return None
    computed = (
        f"entry {list(index)} of the answer to the second case is {after[index]:.9g}, asked alone {alone[index]:.9g}"
    )
    return counterexample(case, computed, "the same answer whatever was asked before")


def _difference(before: NDArray[Any], after: NDArray[Any], tolerance: float) -> tuple[int, ...] | None:
    differs = ~((np.abs(after - before) <= tolerance) | (np.isnan(after) & np.isnan(before)))
    return tuple(int(k) for k in np.argwhere(differs)[0]) if differs.any() else None


def repeatable(
    trial: Trial,
    draw: Draw,
    call: Call,
    smaller: Smaller,
    *,
    key: str,
    tolerance: float = 0.0,
    next_draw: Callable[[np.random.Generator, int, Case], Case] | None = None,
) -> Finding:
    """Search for a pair of cases at which the target changes its answer; arguments as for changing and search.

    `next_draw` makes the second case of the first one, where the two are to have something in common.

    What is found on a target that was asked before is confirmed on one made afresh. What fails on the former alone is
    reported if nothing else is found.
    """
    targets = [procedure(trial) for _ in range(TARGETS)]
    asked = 0
    confirmed = False
    unconfirmed: Counterexample | None = None

    def test(case: Case) -> Counterexample | None:
        nonlocal asked, confirmed, unconfirmed
        asked += 1
        found = None if confirmed else _asked(targets[asked % TARGETS], call, case, tolerance)
        if found is None and not confirmed and asked % AFRESH == 0:
            found = _remembering(trial, call, case, tolerance)
        if found is None and not confirmed:
            return None
        afresh = changing(trial, call, case, tolerance)
        confirmed = confirmed or afresh is not None
        unconfirmed = unconfirmed or found
        return afresh

    def pair(generator: np.random.Generator, k: int) -> Case:
        first = draw(generator, k)
        return {"first": first, "second": next_draw(generator, k, first) if next_draw else draw(generator, k)}

    def simpler(case: Case) -> Iterator[Case]:
        if case["second"] != case["first"]:
            yield {**case, "second": case["first"]}
            if next_draw is not None:  # what they have in common they keep where both become simpler in the same way
                both = zip(smaller(case["first"]), smaller(case["second"]), strict=False)
                yield from ({"first": first, "second": second} for first, second in both)
            yield from ({**case, "second": candidate} for candidate in smaller(case["second"]))
            yield from ({**case, "first": candidate} for candidate in smaller(case["first"]))
        else:
            yield from ({"first": candidate, "second": candidate} for candidate in smaller(case["first"]))

    finding = search(trial, pair, test, method=METHOD, smaller=simpler, key=key)
    return finding if confirmed else replace(finding, counterexample=unconfirmed)
