"""Update rules at the boundary: what is no table is an error; what a target declares is what it is judged by."""

import numpy as np
import pytest

from marlspec.properties import check
from marlspec.properties.judge import replay
from marlspec.properties.reference_targets import cql_update, iql_update

ENOUGH = 100


def factory_of(function, **declarations):
    vars(function).update(declarations)
    return lambda: function


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q: q[:1], "the table after the update has shape [1,"),
        (lambda q: ["one"], "cannot be read as numbers"),
        (lambda q: float(q.max()), "has shape []; return shape [2,"),
    ],
)
def test_what_is_no_table_is_an_error(answer, words):
    report = check(factory_of(lambda q, *rest: answer(q)), "tabular_update", examples=ENOUGH)
    assert report.exit_code == 2
    assert not report.witnesses
    assert words in report.verdicts[0].reason


def test_writing_into_the_table_is_an_error():
    def update(q, s, a, r, next_s, terminated, alpha, gamma):
        following = 0.0 if terminated else q[next_s].max()
        q[s, a] += alpha * (r + gamma * following - q[s, a])
        return q

    report = check(factory_of(update), "tabular_update", examples=ENOUGH)
    assert report.exit_code == 2
    assert "the target wrote into its argument 0; work on a copy" in report.verdicts[0].reason


@pytest.mark.parametrize("scalar", ["mean", -1, 7, True, None])
def test_an_unknown_scalarisation_is_an_error(scalar):
    update = cql_update()
    report = check(factory_of(lambda *arguments: update(*arguments), scalar=scalar), "cql_update", examples=ENOUGH)
    assert report.exit_code == 2
    assert f"declares scalar = {scalar!r}; declare 'sum', or the index" in report.verdicts[0].reason


def test_what_is_declared_counts():
    first = cql_update("agent:0")
    honest = check(factory_of(lambda *arguments: first(*arguments), scalar=0), "cql_update", examples=ENOUGH)
    assert honest.exit_code == 0
    silent = check(factory_of(lambda *arguments: first(*arguments)), "cql_update", examples=ENOUGH)
    assert {witness.claim_id for witness in silent.witnesses} >= {"cql.scalar"}


def test_a_target_for_two_agents_is_handed_two():
    update, seen = cql_update(), set()

    def pair(q, s, a, *rest):
        seen.add(len(a))
        return update(q, s, a, *rest)

    assert check(factory_of(pair, agents=(2,)), "cql_update", examples=ENOUGH).exit_code == 0
    assert seen == {2}


def test_a_terminal_state_may_be_cleared():
    update = iql_update()

    def clearing(q, s, a, r, next_s, terminated, alpha, gamma):
        q = update(q, s, a, r, next_s, terminated, alpha, gamma).copy()
        q[next_s] *= not terminated
        return q

    assert check(factory_of(clearing), "tabular_update", examples=ENOUGH).exit_code == 0


def test_a_witness_is_run_again_and_holds_for_the_right_one():
    def onward(q, s, a, r, next_s, terminated, alpha, gamma):
        q = np.array(q)
        q[s, a] += alpha * (r + gamma * q[next_s].max() - q[s, a])
        return q

    report = check(factory_of(onward), "tabular_update", examples=ENOUGH)
    (witness,) = report.witnesses
    assert witness.claim_id == "iql.terminal"
    assert replay(witness, factory_of(onward)) is not None
    assert replay(witness, factory_of(iql_update())) is None
