"""Solvers and checks at the boundary: shapes, exceptions, declarations, what applies, what a witness says."""

import json

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.matrix import NormalFormGame
from marlspec.properties import check
from marlspec.properties.judge import replay
from marlspec.properties.verdicts import Witness
from marlspec.reference.solution.nash import support_enumeration

SOLVER = "equilibrium_solver"
ENOUGH = 90
SKIPS = "not_applicable"


def factory_of(function, **declarations):
    vars(function).update(declarations)
    return lambda: function


def all_equilibria(payoffs):
    return [tuple(mix.astype(float) for mix in pair) for pair in support_enumeration(NormalFormGame(payoffs)).profiles]


def uniform(payoffs):
    return [np.full(count, 1 / count) for count in payoffs.shape[1:]]


def outcomes(report):
    return {verdict.claim_id: verdict.outcome for verdict in report.verdicts}


# --- answers of the wrong kind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "declarations", "words"),
    [
        (lambda payoffs: uniform(payoffs)[:1], {}, ("the profile holds 1 mixes for 2 agents",)),
        (lambda payoffs: [uniform(payoffs)], {}, ("the profile holds 1 mixes",)),
        (lambda payoffs: 0.5, {}, ("the profile is of type float", "return a list")),
        (lambda payoffs: [[1.0]] * 2, {}, ("the mix of agent 1 has shape [1]; return shape [3]",)),
        (lambda payoffs: ["head", "tail"], {}, ("the mix of agent 0 cannot be read as numbers",)),
        (uniform, {"answers": "all"}, ("profile 0 holds 1 mixes",)),
        (lambda payoffs: None, {"answers": "some"}, ("is of type NoneType", 'answers = "some"', "return a list")),
        (uniform, {"concept": "correlated"}, ("the joint distribution",)),
        (lambda payoffs: 1 / 0, {}, ("ZeroDivisionError", "with payoffs = [[[0]], [[0]]]")),
        (lambda payoffs: payoffs.fill(7) or payoffs[0], {}, ("wrote into its argument 0", "with payoffs")),
    ],
)
def test_an_answer_of_the_wrong_kind_is_an_error_that_says_what(function, declarations, words):
    def solver(payoffs):
        return function(payoffs)

    report = check(factory_of(solver, **declarations), SOLVER, examples=5)
    assert report.exit_code == 2
    assert report.witnesses == ()
    reason = next(verdict.reason for verdict in report.verdicts if verdict.outcome == "error")
    for word in words:
        assert word in reason


@pytest.mark.parametrize(
    ("declarations", "words"),
    [
        ({"concept": "trembling"}, ("concept = 'trembling'", "'nash', 'correlated', 'coarse_correlated'")),
        ({"answers": "every"}, ("answers = 'every'", "'one', 'some', 'all'")),
        ({"domain": "common"}, ("domain = 'common'", "'zero_sum'")),
        ({"agents": ()}, ("agents = ()", "from 1 to 5", "agents = (2, 3)")),
        ({"agents": (2, 9)}, ("agents = (2, 9)",)),
        ({"agents": "two"}, ("agents = 'two'",)),
        ({"epsilon": -0.5}, ("epsilon = -0.5", "not negative")),
        ({"epsilon": float("nan")}, ("epsilon = nan",)),
        ({"epsilon": "small"}, ("epsilon = 'small'",)),
        ({"concept": "correlated", "answers": "all"}, ('answers = "all"', "return one joint")),
        ({"concept": "correlated", "objective": "fairness"}, ("objective = 'fairness'", "'welfare'")),
        ({"objective": "welfare"}, ('concept = "nash"',)),
        ({"domain": "zero_sum", "agents": (2, 3)}, ('domain = "zero_sum"', "two agents")),
        ({"domain": "non_degenerate", "agents": 3}, ('domain = "non_degenerate"', "agents = (3,)")),
    ],
)
def test_an_unknown_declaration_is_an_error_that_says_what_is_known(declarations, words):
    def solver(payoffs):
        return uniform(payoffs)

    report = check(factory_of(solver, **declarations), SOLVER, examples=5)
    assert {verdict.outcome for verdict in report.verdicts} == {"error"}
    for word in words:
        assert word in report.verdicts[0].reason


@pytest.mark.parametrize("role", ["nash_check", "pareto_check"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [(1, "1 of type int; return True or False"), ("yes", "'yes'"), (None, "None"), (np.array([True]), "array")],
)
def test_an_answer_of_a_check_is_a_truth_value(role, answer, words):
    report = check(lambda: lambda *inputs: answer, role, examples=5)
    assert {verdict.outcome for verdict in report.verdicts} == {"error"}
    assert words in report.verdicts[0].reason


def test_an_unknown_class_of_policies_is_an_error():
    def optimal(payoffs, action):
        return True

    report = check(factory_of(optimal, among="product"), "pareto_check", examples=5)
    assert "among = 'product'; the judge knows 'deterministic', 'correlated'" in report.verdicts[0].reason


# --- what applies -----------------------------------------------------------------------------------------------------


def test_claims_of_another_concept_do_not_apply():
    others = ["nash.complete", "ce.distribution", "ce.gap", "cce.gap", "ce.objective"]
    report = check(lambda: uniform, SOLVER, examples=5, claims=[*others, "nash.exists"])
    assert [verdict.claim_id for verdict in report.verdicts if verdict.outcome == SKIPS] == others
    assert 'answers = "one"' in report.verdict("nash.complete").reason
    assert 'concept = "nash"' in report.verdict("ce.gap").reason


def test_an_approximate_solver_need_not_be_complete():
    def solver(payoffs):
        return all_equilibria(payoffs)

    report = check(factory_of(solver, answers="all", epsilon=0.1), SOLVER, claims=["nash.complete"])
    assert "epsilon = 0.1" in report.verdicts[0].reason


def test_a_solver_of_three_agents_is_handed_three_agents():
    seen = set()

    def solver(payoffs):
        seen.add(len(payoffs))
        return uniform(payoffs)

    check(factory_of(solver, agents=(1, 3), epsilon=100.0), SOLVER, examples=20, claims=["nash.regret"])
    assert seen == {1, 3}


@pytest.mark.parametrize("declared", [True, False])
def test_a_declared_epsilon_is_for_payoffs_up_to_eight(declared):
    largest = [0.0]

    def solver(payoffs):
        largest.append(np.abs(payoffs).max())
        return uniform(payoffs)

    declarations = {"epsilon": 100.0} if declared else {}
    check(factory_of(solver, **declarations), SOLVER, examples=100, claims=["nash.distribution"])
    assert max(largest) <= 8 if declared else max(largest) > 1e6


@pytest.mark.parametrize("domain", ["zero_sum", "non_degenerate"])
def test_a_solver_is_handed_games_of_its_domain(domain):
    seen = []

    def solver(payoffs):
        seen.append(payoffs)
        return uniform(payoffs)

    check(factory_of(solver, domain=domain), SOLVER, claims=["nash.distribution"], examples=20)
    assert len(seen) > 20
    if domain == "zero_sum":
        assert not any(payoffs.sum(axis=0).any() for payoffs in seen)
    else:
        assert not any(support_enumeration(NormalFormGame(payoffs)).degenerate for payoffs in seen)


def test_tensors_in_and_out():
    def solver(payoffs):
        assert isinstance(payoffs, torch.Tensor)
        return [torch.tensor(mix) for mix in uniform(payoffs.numpy())]

    report = check(factory_of(solver, arrays="torch"), SOLVER, claims=["nash.distribution"], examples=ENOUGH)
    assert report.exit_code == 0


# --- what refutes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answers", "nothing"), [("one", None), ("some", []), ("all", ())])
def test_no_equilibrium_is_a_wrong_answer(answers, nothing):
    def solver(payoffs):
        return nothing

    report = check(factory_of(solver, answers=answers), SOLVER, claims=["nash.exists"], examples=5)
    (witness,) = report.witnesses
    assert witness.case["payoffs"] == [[[0.0]], [[0.0]]]
    assert witness.computed == "the solver returned no equilibrium"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda mix: mix * np.nan, "nan"),
        (lambda mix: mix * 2, "sums to 2"),
        (lambda mix: mix - 1e-5, "sums to"),
        (lambda mix: 2 * mix - np.full(len(mix), 1 / len(mix)), "not negative"),
    ],
)
def test_what_is_no_distribution_is_refuted_and_its_regret_not_judged(spoil, words):
    def solver(payoffs):
        return [spoil(np.eye(count)[-1]) for count in payoffs.shape[1:]]

    report = check(lambda: solver, SOLVER, examples=40, claims=["nash.distribution", "nash.regret"])
    assert report.verdict("nash.regret").outcome == SKIPS
    assert words in report.witnesses[0].computed


def test_rounding_is_no_fault():
    def solver(payoffs):
        return [tuple(mix * (1 + 1e-8) for mix in pair) for pair in all_equilibria(payoffs)]

    claims = ["nash.distribution", "nash.regret"]
    assert check(factory_of(solver, answers="all"), SOLVER, claims=claims, examples=ENOUGH).exit_code == 0


def test_the_witness_names_who_gains_by_what():
    report = check(lambda: uniform, SOLVER, claims=["nash.regret"])
    (witness,) = report.witnesses
    assert witness.case["payoffs"] == [[[0.0, 0.0]], [[0.0, 1.0]]]
    assert witness.computed.endswith("agent 1 gains 1/2 by playing its action 1 instead")
    assert witness.required == "no agent gains more than 1e-06 by deviating"


def test_the_lost_equilibrium_of_climbing_is_named():
    def solver(payoffs):
        return [pair for pair in all_equilibria(payoffs) if max(map(max, pair)) == 1 or payoffs.min() > -30]

    report = check(factory_of(solver, answers="all"), SOLVER, claims=["nash.complete"], examples=5)
    (witness,) = report.witnesses
    assert "is not among the" in witness.computed

    climbing = [[[11, -30, 0], [-30, 7, 0], [0, 6, 5]]] * 2
    recorded = Witness.from_json({**witness.to_json(), "case": {"payoffs": climbing}}, "test")
    found = replay(recorded, factory_of(solver, answers="all"))
    assert found is not None
    assert "([5/16, 0, 11/16], [5/16, 0, 11/16])" in found.computed


def test_a_correlated_witness_names_the_rule():
    def solver(payoffs):
        best = payoffs.sum(axis=0)
        return (np.arange(best.size) == best.argmax()).reshape(best.shape).astype(float)

    report = check(factory_of(solver, concept="correlated"), SOLVER, claims=["ce.gap"])
    (witness,) = report.witnesses
    assert "by playing 1 where told 0" in witness.computed
    coarse = factory_of(lambda payoffs: solver(payoffs), concept="coarse_correlated")
    assert "whatever it is told" in check(coarse, SOLVER, claims=["cce.gap"]).witnesses[0].computed


class Uniform:
    """A factory that can be named again."""

    def __call__(self):
        return uniform


def test_a_witness_survives_its_file():
    report = check(Uniform(), SOLVER, claims=["nash.regret"])
    record = json.loads(json.dumps(report.witnesses[0].to_json()))
    found = replay(Witness.from_json(record, "file"), Uniform())
    assert found is not None
    assert found.computed == report.witnesses[0].computed
    with pytest.raises(InputError, match="does not fit"):
        replay(Witness.from_json({**record, "case": {"payoffs": "?"}}, "file"), Uniform())


# --- checks -----------------------------------------------------------------------------------------------------------


def test_a_check_of_two_agents_says_so():
    seen = set()

    def nash(payoffs, profile, epsilon):
        seen.add(len(payoffs))
        return True

    check(factory_of(nash, agents=2), "nash_check", claims=["nash.check_accepts"], examples=50)
    assert seen == {2}


def test_a_check_that_always_agrees_or_never_does_is_refuted_once():
    for answer, refuted in ((True, "refuses"), (False, "accepts")):
        report = check(lambda answer=answer: lambda *inputs: answer, "nash_check", examples=ENOUGH)
        assert [v.claim_id for v in report.verdicts if v.outcome == "refuted"] == [f"nash.check_{refuted}"]
        report = check(lambda answer=answer: lambda *inputs: answer, "pareto_check", examples=ENOUGH)
        assert [v.claim_id for v in report.verdicts if v.outcome == "refuted"] == [f"pareto.{refuted}"]


def test_the_profiles_handed_to_a_check_are_exact_in_float64():
    def nash(payoffs, profile, epsilon):
        game = NormalFormGame(payoffs)
        floats = max(
            float((np.moveaxis(t, i, 0) @ profile[1 - i]).max() - np.moveaxis(t, i, 0) @ profile[1 - i] @ profile[i])
            for i, t in enumerate(payoffs)
        )
        from marlspec.reference.solution.nash import regret

        exact = max(regret(game, profile))
        assert floats == exact or exact < epsilon
        return exact <= epsilon

    report = check(factory_of(nash, agents=(2,)), "nash_check", examples=130)
    assert report.exit_code == 0, report.verdicts[0].details
