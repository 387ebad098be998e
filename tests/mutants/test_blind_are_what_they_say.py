"""The blind mutants break the promise that they name, and all good variants of the role keep it: without the judge."""

import pytest

from .blind import ALL_BAD, GOOD
from .target import Target

pytestmark = [pytest.mark.long, pytest.mark.thorough]

BROKEN, KEPT, KEPT_IN_SINGLE = 1e-6, 1e-9, 1e-4
GOOD_BY_NAME = {target.name: target for target in GOOD}
ROLES = sorted({target.role for target in GOOD})


def name_of(target: Target) -> str:
    return f"{target.role}-{target.name}"


def bound(target: Target) -> float:
    """What may remain of rounding: targets in float32 say so by their name."""
    return KEPT_IN_SINGLE if "single" in target.name else KEPT


@pytest.mark.parametrize("target", ALL_BAD, ids=name_of)
def test_a_mutant_breaks_its_promise_and_its_base_keeps_it(target: Target) -> None:
    assert target.violation is not None
    base = GOOD_BY_NAME[target.base]
    assert base.role == target.role
    assert target.violation.amount(target.factory) > max(BROKEN, 2 * bound(base))
    assert target.violation.amount(base.factory) < bound(base)


@pytest.mark.parametrize("target", GOOD, ids=name_of)
def test_a_good_variant_keeps_every_promise_of_its_role(target: Target) -> None:
    promises = {mutant.violation.amount for mutant in ALL_BAD if mutant.role == target.role and mutant.violation}
    assert promises
    assert max(amount(target.factory) for amount in promises) < bound(target)


def test_names_are_unique() -> None:
    names = [target.name for target in (*GOOD, *ALL_BAD)]
    assert len(names) == len(set(names))


def test_each_role_has_its_share() -> None:
    for role in ROLES:
        assert sum(target.role == role for target in ALL_BAD) >= 6, role
        assert sum(target.role == role for target in GOOD) >= 2, role
