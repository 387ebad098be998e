"""Steps of algorithms at the boundary: wrong shapes and declarations are errors; a fault has the claim it breaks."""

import numpy as np
import pytest
import torch

from marlspec.properties import check
from marlspec.properties.reference_targets import coma_returns, epsilon_greedy, ia2c_actor_loss, idqn_target, policy

FEW = 3


def factory_of(function, **declarations):
    vars(function).update(declarations)
    return lambda: function


def first_reason(function, role, claim, **declarations):
    report = check(factory_of(function, **declarations), role, claims=[claim], examples=FEW)
    assert report.exit_code == 2
    assert not report.witnesses
    return report.verdicts[0].reason


@pytest.mark.parametrize(
    ("role", "claim", "declared", "words"),
    [
        ("td_target", "target.rule", {"backup": "mean"}, "backup = 'mean'; declare 'max' or 'double' or 'value'"),
        ("td_target", "target.rule", {"mixing": True}, "mixing = True; declare 'none' or 'sum'"),
        ("return_estimator", "ret.views", {"estimate": "gae"}, "estimate = 'gae'; declare 'lambda_return' or"),
        ("return_estimator", "ret.views", {"rows": 1}, "rows = 1; declare 'episode' or 'rollout'"),
        ("policy", "policy.softmax", {"epsilon": 2}, "epsilon = 2; declare a number from 0 to 1"),
        ("policy", "policy.simplex", {"output": "logits"}, "output = 'logits'; declare 'probabilities' or"),
        ("epsilon_greedy", "eps_greedy.legality", {"output": None}, "output = None; declare 'actions' or"),
    ],
)
def test_an_unknown_declaration_is_an_error(role, claim, declared, words):
    assert words in first_reason(lambda *arguments: arguments[0], role, claim, **declared)


@pytest.mark.parametrize(
    ("role", "claim", "answer", "words"),
    [
        ("td_target", "target.rule", lambda r, *rest: r[:, :, None], "y has shape ["),
        ("return_estimator", "ret.views", lambda r, *rest: r[:, 0], "the estimates has shape ["),
        ("counterfactual_advantage", "coma.zero_mean", lambda q, *rest: q, "the advantages has shape ["),
        ("policy_loss", "loss.gradient", lambda logits, *rest: 0.0, "returns two things: the loss, and its gradient"),
        ("policy", "policy.simplex", lambda logits, free: logits.sum(-1), "the answer has shape ["),
        ("epsilon_greedy", "eps_greedy.legality", lambda u, *rest: u[..., 0] + 0.5, "actions must be whole numbers"),
    ],
)
def test_an_answer_of_another_shape_or_kind_is_an_error(role, claim, answer, words):
    assert words in first_reason(lambda *arguments: answer(*arguments), role, claim)


def test_a_loss_of_several_numbers_is_an_error():
    reason = first_reason(lambda logits, *rest: logits.log_softmax(-1), "policy_loss", "loss.gradient", arrays="torch")
    assert "the loss is a tensor of shape [" in reason


def test_writing_into_a_tensor_is_an_error():
    def loss(logits, actions, advantages, mask):
        advantages.detach().mul_(2)
        return ia2c_actor_loss()(logits, actions, advantages, mask)

    reason = first_reason(loss, "policy_loss", "loss.gradient", arrays="torch", reduction="agents")
    assert "the target wrote into its argument 2" in reason


def test_gradients_are_not_judged_of_numpy_policies():
    def softmax(logits, available):
        weights = np.exp(logits - logits[available].max()) * available
        return weights / weights.sum(-1, keepdims=True)

    for claim in ("policy.mask_gradient", "score.zero", "pg.theorem"):
        report = check(factory_of(softmax), "policy", claims=[claim], examples=FEW)
        assert "of targets in torch alone" in report.verdicts[0].reason


def test_the_callers_random_state_is_left_as_it_was():
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    check(lambda: epsilon_greedy(), "epsilon_greedy", examples=2)
    assert (np.random.get_state()[1] == states[0]).all()
    assert torch.equal(torch.get_rng_state(), states[1])


def test_what_is_behind_a_flag_stays_out_of_the_claims_before_it():
    """A code that knows one flag, and is handed both in one, is refuted by the claim about cuts alone."""
    target = idqn_target()

    def one_flag(rewards, terminated, truncated, *rest):
        return target(rewards, terminated | truncated, truncated, *rest)

    report = check(factory_of(one_flag, arrays="torch"), "td_target", examples=20)
    assert {witness.claim_id for witness in report.witnesses} == {"target.truncation"}


def test_zero_padding_taken_for_granted_is_found_by_the_claim_about_padding_alone():
    estimate = coma_returns()

    def without_flags_behind(rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        y = estimate(rewards, values, next_values, terminated, truncated, mask, gamma, lam)
        return y + rewards.sum(1, keepdim=True) - (rewards * mask).sum(1, keepdim=True)

    report = check(factory_of(without_flags_behind, arrays="torch"), "return_estimator", examples=20)
    assert {witness.claim_id for witness in report.witnesses} == {"ret.padding"}


def test_a_policy_that_is_sampled_from_is_not_repeatable():
    bare = policy()

    def noisy(logits, available):
        return bare(logits + torch.rand(()), available) + 0.01 * torch.rand(())

    report = check(factory_of(noisy, arrays="torch", output="log_probabilities"), "policy", examples=20)
    assert report.witnesses[0].claim_id == "policy.repeatable"
