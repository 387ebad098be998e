"""Mutants break their promises, their bases and the other good variants keep them: all without the judge."""

import pytest
import torch

from . import joint_values, mixers, variants
from .target import Target
from .violations import (
    REDRAWS,
    beats_the_greedy,
    build,
    call,
    changes_its_answer,
    falls,
    joint_changes_its_answer,
    joint_not_finite,
    joint_rows_meddle,
    never_negative,
    not_finite,
    not_the_sum,
    regret_is_cheap,
    rows_meddle,
    state_unused,
    straight_above_zero,
    unmoved_by,
)

pytestmark = [pytest.mark.long, pytest.mark.thorough]

GOOD = variants.GOOD + joint_values.GOOD
BAD = mixers.BAD + joint_values.BAD
GOOD_BY_NAME = {target.name: target for target in GOOD}
BROKEN, KEPT = 1e-3, 1e-6

PREPARES = [prepare for _, prepare in REDRAWS]
MIXER_CHECKS = [
    *(falls(prepare=prepare, seeds=1) for prepare in PREPARES),
    *(falls(prepare=prepare, spread=50.0, seeds=1, rows=64) for prepare in PREPARES),
    falls(n_agents=1, seeds=1),
    falls(n_agents=2, step=0.1, seeds=1),
    falls(n_agents=5, state_size=1, rows=1),
    *(rows_meddle(prepare=prepare) for prepare in PREPARES),
    rows_meddle(n_agents=1, state_size=1, rows=34),
    *(not_finite((100.0, 100.0, -100.0), (10.0, -10.0), rows=2, prepare=prepare) for prepare in PREPARES),
    not_finite((0.0, 0.0, 0.0), (0.0, 0.0)),
    not_finite((-100.0,), (10.0,)),
    changes_its_answer(),
    changes_its_answer(other_rows=4),
    *(unmoved_by(agent) for agent in range(3)),
]
ROLE_CHECKS = {
    "mixer": MIXER_CHECKS,
    "vdn_mixer": [*MIXER_CHECKS, not_the_sum(), not_the_sum(n_agents=1, spread=50.0)],
    "qmix_mixer": [
        *MIXER_CHECKS,
        state_unused(),
        state_unused(state_size=1),
        never_negative(),
        never_negative(spread=5.0),
        straight_above_zero(),
    ],
    "joint_value": [
        *(beats_the_greedy(prepare=prepare) for prepare in PREPARES),
        *(beats_the_greedy(n_agents=3, ties=True, prepare=prepare) for prepare in PREPARES),
        beats_the_greedy(n_agents=1, n_actions=1),
        *(regret_is_cheap(n_agents=3, prepare=prepare) for prepare in PREPARES),
        regret_is_cheap(spread=30.0),
        joint_rows_meddle(),
        joint_changes_its_answer(),
        joint_not_finite(n_actions=3, equal=0.0),
        joint_not_finite(n_actions=1, equal=100.0),
    ],
}
# Targets that compute in float32 whatever the default, with what rounding may cost them.
FLOAT32 = {"single_precision": 1e-3}


def by_name(targets: tuple[Target, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("target", targets, ids=lambda target: target.name)


def test_names_are_unique():
    names = [target.name for target in GOOD + BAD]
    assert len(set(names)) == len(names)


def test_there_are_enough_of_each_kind():
    assert len(variants.GOOD) >= 12
    assert len(mixers.BAD) >= 40
    assert len(joint_values.BAD) >= 8
    assert len(joint_values.GOOD) >= 3


def test_descriptions_are_whole():
    for target in GOOD + BAD:
        assert target.role in ROLE_CHECKS, target.name
        assert target.edit.endswith("."), target.name
        assert "\n" not in target.edit, target.name
    assert {target.base for target in GOOD} - {""} <= set(GOOD_BY_NAME)
    assert {target.base for target in BAD} <= set(GOOD_BY_NAME)


def test_mutants_change_the_code_of_their_bases():
    for target in BAD:
        base = GOOD_BY_NAME[target.base].factory
        if isinstance(target.factory, type) and isinstance(base, type):
            assert issubclass(target.factory, base), target.name


@by_name(GOOD)
def test_good_variants_keep_their_promises(target: Target):
    tolerance = FLOAT32.get(target.name, KEPT)
    broken = {check.promise for check in ROLE_CHECKS[target.role] if not check.amount(target.factory) <= tolerance}
    assert not broken


@by_name(BAD)
def test_mutants_break_the_promise_that_their_bases_keep(target: Target):
    assert target.violation is not None
    assert target.violation.amount(target.factory) > BROKEN
    assert target.violation.amount(GOOD_BY_NAME[target.base].factory) <= KEPT


@by_name(GOOD + BAD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_take_any_sizes_and_types(target: Target, dtype: torch.dtype):
    for n_agents, state_size, rows in ((1, 1, 1), (2, 3, 1), (3, 1, 4), (5, 2, 33)):
        answer = answer_of_size(target, n_agents, state_size, rows, dtype)
        assert answer.shape == (rows,)
        assert answer.dtype == (torch.float32 if target.name in FLOAT32 else dtype)


def answer_of_size(target: Target, n_agents: int, state_size: int, rows: int, dtype: torch.dtype) -> torch.Tensor:
    state = torch.randn(rows, state_size, dtype=dtype)
    if target.role != "joint_value":
        utilities = torch.randn(rows, n_agents, dtype=dtype)
        return call(build(target.factory, n_agents, state_size, dtype=dtype), utilities, state)
    utilities, actions = torch.randn(rows, n_agents, 4, dtype=dtype), torch.randint(4, (rows, n_agents))
    return call(build(target.factory, n_agents, 4, state_size, dtype=dtype), utilities, actions, state)
