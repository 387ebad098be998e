"""Mutants of solvers and checks break their promises, their bases keep them: all without the judge."""

import pytest

from . import equilibria
from .target import Target

pytestmark = [pytest.mark.long, pytest.mark.thorough]

BROKEN, KEPT = 1e-3, 1e-6
GOOD_BY_NAME = {target.name: target for target in equilibria.GOOD}


def by_name(targets: tuple[Target, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("target", targets, ids=lambda target: target.name)


def test_names_are_unique_and_descriptions_whole():
    targets = (*equilibria.GOOD, *equilibria.BAD)
    assert len({target.name for target in targets}) == len(targets)
    assert all(target.edit.endswith(".") and "\n" not in target.edit for target in targets)
    assert {target.base for target in targets} - {""} <= set(GOOD_BY_NAME)
    assert all(target.base for target in equilibria.BAD)


def test_there_are_enough_of_each_kind():
    assert len(equilibria.GOOD) >= 10
    assert len(equilibria.BAD) >= 30
    for role in ("equilibrium_solver", "nash_check", "pareto_check"):
        assert sum(target.role == role for target in equilibria.BAD) >= 15
        assert sum(target.role == role for target in equilibria.GOOD) >= 4


@by_name(equilibria.BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target: Target):
    assert target.violation is not None
    assert target.violation.amount(target.factory) > BROKEN
    assert target.violation.amount(GOOD_BY_NAME[target.base].factory) <= KEPT
