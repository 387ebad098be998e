"""Evaluators and backups at the boundary: what is no answer is an error that says so, never a counterexample."""

import numpy as np
import pytest
import torch

from marlspec.properties import check
from marlspec.properties.judge import replay
from marlspec.properties.reference_targets import evaluator, optimal_backup

ENOUGH = 100


def factory_of(function, **declarations):
    vars(function).update(declarations)
    return lambda: function


def outcomes(report):
    return {verdict.outcome for verdict in report.verdicts}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda shape: np.zeros((*shape, 1)), "the table of values has shape [1, 3, 1]; return shape [1, 3]"),
        (lambda shape: np.zeros(shape[1]), "return shape"),
        (lambda shape: None, "has shape []; return shape"),
        (lambda shape: [["a"]], "cannot be read as numbers"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_an_error(answer, words):
    def evaluate(transitions, rewards, terminal, policy, gamma):
        return answer((len(rewards), len(terminal)))

    report = check(factory_of(evaluate), "evaluator", examples=ENOUGH)
    assert report.exit_code == 2
    assert not report.witnesses
    assert words in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("declarations", "words"),
    [
        ({"epsilon": 0.5}, "declares epsilon = 0.5; declare a share above 0, 0.01 at most"),
        ({"epsilon": "small"}, "declares epsilon = 'small'"),
        ({"agents": 2}, "declares agents = 2; declare numbers from 1 to 5"),
        ({"agents": (9,)}, "declares agents = (9,)"),
    ],
)
def test_an_unusable_declaration_is_an_error(declarations, words):
    solve = evaluator()

    def evaluate(*arguments):
        return solve(*arguments)

    report = check(factory_of(evaluate, **declarations), "evaluator", examples=ENOUGH)
    assert report.exit_code == 2
    assert words in report.verdicts[0].reason


def test_writing_into_the_arguments_is_an_error():
    backup = optimal_backup()

    def in_place(transitions, rewards, terminal, gamma, q):
        q[:] = backup(transitions, rewards, terminal, gamma, q)
        return q

    report = check(factory_of(in_place), "optimal_backup", examples=ENOUGH)
    assert report.exit_code == 2
    assert "the target wrote into its argument 4; work on a copy" in report.verdicts[0].reason


def test_tensors_in_and_out():
    def backup(transitions, rewards, terminal, gamma, q):
        assert isinstance(transitions, torch.Tensor)
        following = torch.where(terminal, 0.0, q.max(dim=1).values)
        return (transitions * (rewards + gamma * following)).sum(dim=-1)

    report = check(factory_of(backup, arrays="torch"), "optimal_backup", examples=ENOUGH)
    assert outcomes(report) == {"holds"}


def test_single_precision_has_a_wider_tolerance_than_double():
    solve = evaluator()

    def rounded(*arguments):
        values = solve(*arguments)
        return values.astype(np.float32)

    assert outcomes(check(factory_of(rounded), "evaluator", examples=ENOUGH)) == {"holds"}


def test_a_witness_is_run_again_and_holds_for_the_right_one():
    solve = evaluator()

    def without_discount(transitions, rewards, terminal, policy, gamma):
        return solve(transitions, rewards, terminal, policy, gamma / 2)

    report = check(factory_of(without_discount), "evaluator", claims=["return.recursive"], examples=ENOUGH)
    (witness,) = report.witnesses
    assert replay(witness, factory_of(without_discount)) is not None
    assert replay(witness, factory_of(solve)) is None
    assert len(witness.case["terminal"]) <= 2
