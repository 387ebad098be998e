"""Adapters: torchrl's value estimators and masked distribution, as targets of the judge.

    marlspec check examples/torchrl_values.py:gae --role return_estimator
    marlspec check examples/torchrl_values.py:td_lambda --role return_estimator --set vectorised=True --set zero=False
    marlspec check examples/torchrl_values.py:td0 --role td_target
    marlspec check examples/torchrl_values.py:masked_categorical --role policy

torchrl's tensors have time steps on the last axis but one, and its flag done is terminated or truncated. The vectorised
forms raise where gamma lambda = 0; with zero=False the plain ones stand in for them there, so that the rest can be
judged. What came out stands in docs/findings.md.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torchrl.modules.distributions import MaskedCategorical
from torchrl.objectives.value import functional

Function = Callable[..., Tensor]


def gae(vectorised: bool = False, zero: bool = True) -> Function:
    """Return generalized_advantage_estimate, or its vectorised form."""
    plain = functional.generalized_advantage_estimate
    function = functional.vec_generalized_advantage_estimate if vectorised else plain

    def estimate(
        r: Tensor, v: Tensor, next_v: Tensor, ends: Tensor, cut: Tensor, mask: Tensor, gamma: float, lam: float
    ) -> Tensor:
        columns = [array.unsqueeze(-1) for array in (v, next_v, r, ends | cut, ends)]
        chosen = function if zero or gamma * lam else plain
        return chosen(gamma, lam, *columns)[0].squeeze(-1)

    return _declared(estimate, estimate="advantage", rows="rollout")


def td_lambda(vectorised: bool = False, zero: bool = True) -> Function:
    """Return td_lambda_return_estimate, or its vectorised form."""
    plain = functional.td_lambda_return_estimate
    function = functional.vec_td_lambda_return_estimate if vectorised else plain

    def estimate(
        r: Tensor, v: Tensor, next_v: Tensor, ends: Tensor, cut: Tensor, mask: Tensor, gamma: float, lam: float
    ) -> Tensor:
        columns = [array.unsqueeze(-1) for array in (next_v, r, ends | cut, ends)]
        chosen = function if zero or gamma * lam else plain
        return chosen(gamma, lam, *columns).squeeze(-1)

    return _declared(estimate, rows="rollout")


def td0() -> Function:
    """Return td0_return_estimate: the one-step target of a state value."""

    def target(r: Tensor, ends: Tensor, cut: Tensor, v: Tensor, online: Tensor, free: Tensor, gamma: float) -> Tensor:
        return functional.td0_return_estimate(gamma, v.squeeze(-1), r, ends.unsqueeze(-1).expand_as(r))

    return _declared(target, backup="value")


def masked_categorical() -> Function:
    """Return the probabilities of MaskedCategorical."""
    return _declared(lambda logits, available: MaskedCategorical(logits=logits, mask=available).probs)


def _declared(function: Function, **declarations: Any) -> Function:
    vars(function).update(arrays="torch", **declarations)
    return function
