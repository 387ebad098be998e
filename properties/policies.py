"""Claims about policies: f(logits [B, n, A], available [B, n, A]) -> probabilities [B, n, A].

    pi(a) = exp(l_a) / sum_a' exp(l_a') over the available actions, and 0 for the others

or with epsilon = e its mix (1 - e) pi + e / m with the even distribution over the m available actions. A target with
output = "log_probabilities" returns logarithms. In each row every agent has an available action. What concerns
gradients is judged of targets in torch alone.
"""

from collections.abc import Callable, Iterator
from math import exp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.finite_games import drawn_game, expected_return, smaller_games, weights
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.steps import (
    TOLERANCE,
    Judge,
    Size,
    first_difference,
    one_at_least,
    option,
    quarters,
    rechecked,
    slices_left_out,
)
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]

LECTURE = "Albrecht et al. 2024, section 8.2 (policy-gradient methods): softmax policies"
THEOREM = "Albrecht et al. 2024, section 8.2.1 (policy gradient theorem); arXiv 1506.02438, section 2"
OUTPUTS = ("probabilities", "log_probabilities")
NEVER = 2.0**-30
WIDE = 1024  # exp overflows beyond 88 in single precision, beyond 709 in double precision
STEEP = 16


# --- the rule, and a case ---------------------------------------------------------------------------------------------


def epsilon_of(target: Procedure) -> float:
    """Return the declared share of the even distribution.

    Raises:
        TargetError: it is no number from 0 to 1.
    """
    declared = target.declared("epsilon", 0.0)
    if type(declared) not in (int, float) or not 0 <= declared <= 1:
        raise TargetError(f"the target declares epsilon = {declared!r}; declare a number from 0 to 1")
    return float(declared)


def required(case: Case, epsilon: float) -> Array:
    """Return the probabilities, agent by agent."""
    logits, available = _arrays(case)
    pi = np.zeros(logits.shape)
    for b, i in np.ndindex(*logits.shape[:2]):
        own, free = logits[b, i], np.flatnonzero(available[b, i])
        highest = max(own[free])
        weights = {int(a): exp(own[a] - highest) for a in free}
        total = sum(weights.values())
        for a, weight in weights.items():
            pi[b, i, a] = (1 - epsilon) * weight / total + epsilon / len(free)
    return pi


def call(target: Procedure, case: Case) -> Array:
    """Return the target's probabilities [B, n, A].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    logits, available = _arrays(case)
    result = array_of(target(logits, available), logits.shape, "the answer")
    return np.exp(result) if _logarithms(target) else result


def _logarithms(target: Procedure) -> bool:
    return bool(option(target, "output", OUTPUTS) == "log_probabilities")


def _in_torch(target: Procedure) -> bool:
    return bool(option(target, "arrays", ("numpy", "torch")) == "torch")


def _arrays(case: Case) -> tuple[Array, Array]:
    return np.array(case["logits"], dtype=float), np.array(case["available"], dtype=bool)


# --- cases ------------------------------------------------------------------------------------------------------------


def _draw(
    wide: bool = False, masked: bool = True, several: bool = False, tempting: bool = False
) -> Callable[..., Case]:
    """Draw logits of up to 2 and at times of up to 32, or in half of the cases of up to WIDE."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        shape = tuple(int(size) for size in generator.integers((1 + several, 1, 1), (4, 4, 5)))
        scale = WIDE / 2 if wide and k % 2 else STEEP if k % 8 == 6 else 1.0
        logits = quarters(generator, shape) * scale
        available = one_at_least((generator.random(shape) < 0.6) | (not masked))
        if tempting and k % 4 == 2:  # the highest logits are those of unavailable actions
            logits += WIDE * ~available
        return {"logits": logits.tolist(), "available": available.tolist()}

    return draw


def _draw_masked(generator: np.random.Generator, k: int) -> Case:
    """Draw masks that leave one action out at least, and take what is available to have the lowest logits at times."""
    shape = tuple(int(size) for size in generator.integers((1, 1, 2), (3, 3, 5)))
    available = generator.random(shape) < 0.5
    available[..., 0], available[..., 1] = True, False
    available = generator.permuted(available, axis=-1)
    logits = quarters(generator, shape) * (WIDE / 4 if k % 2 else 1.0) + (k % 3 == 0) * WIDE / 2 * ~available
    return {"logits": logits.tolist(), "available": available.tolist()}


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, agents and actions, then simpler numbers; an action stays available."""
    for axis in range(3):
        for smaller in slices_left_out(case, dict.fromkeys(("logits", "available"), (axis,))):
            if np.array(smaller["available"]).any(axis=-1).all():
                yield smaller
    yield from simpler_numbers(case, ("logits",))


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _no_distribution(target: Procedure, case: Case) -> Counterexample | None:
    """Whether probabilities are negative, or do not add up to one."""
    pi = call(target, case)
    if not (pi >= -TOLERANCE).all():
        at = first_difference(pi, np.maximum(pi, 0.0))
        return counterexample(case, f"pi{list(at or ())} is {pi[at]:.9g}", "a number from 0 to 1")
    total = pi.sum(axis=-1)
    at = first_difference(total, np.ones_like(total))
    if at is None:
        return None
    return counterexample(case, f"the probabilities of entry {list(at)} add up to {total[at]:.9g}", "1")


def _draws_unavailable(target: Procedure, case: Case) -> Counterexample | None:
    """Whether an unavailable action has a probability."""
    pi, available = call(target, case), _arrays(case)[1]
    wrong = np.argwhere(~available & ~(np.abs(pi) <= NEVER))
    if not len(wrong):
        return None
    at = tuple(int(k) for k in wrong[0])
    return counterexample(case, f"pi{list(at)} is {pi[at]:.3g}, of an action that is not available", "0")


def _wrong(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the probabilities are those of the softmax."""
    pi, due = call(target, case), required(case, epsilon_of(target))
    at = first_difference(pi, due)
    if at is None:
        return None
    return counterexample(case, f"pi{list(at)} is {pi[at]:.9g}", f"{due[at]:.9g}")


def _feels_other_rows(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the first agent's probabilities in the first row follow other agents and rows."""
    logits, available = _arrays(case)
    before = call(target, case)[0, 0]
    others = np.ones(logits.shape[:2], dtype=bool)
    others[0, 0] = False
    logits[others] = WIDE - 2 * logits[others]
    other = {"logits": logits.tolist(), "available": (available | others[..., None]).tolist()}
    after = call(target, other)[0, 0]
    at = first_difference(after, before)
    if at is None:
        return None
    words = f"with other logits, up to {WIDE} higher, of the other agents and rows"
    return counterexample(
        case, f"{words}, pi[0, 0, {at[0]}] moves from {before[at]:.9g} to {after[at]:.9g}", "it stays"
    )


def _gradient(target: Procedure, case: Case, weighted: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Array:
    """Return the gradient in the logits of a sum that `weighted` makes of log pi and of pi taken as a constant."""
    logits, available = _arrays(case)
    result, leaves = target.recorded(logits, available, leaves=(0,))
    if not isinstance(result, torch.Tensor) or result.shape != logits.shape:
        raise TargetError(f"the answer is no tensor of shape {list(logits.shape)}")
    result = result.double()
    picked = torch.from_numpy(available)
    log_pi = result[picked] if _logarithms(target) else result[picked].log()
    table = torch.zeros(logits.shape, dtype=torch.float64).masked_scatter(picked, log_pi)
    scalar = weighted(table, torch.where(picked, table.detach().exp(), 0.0))
    if not scalar.requires_grad:
        return np.zeros(logits.shape)
    with errors_of_target("while its probabilities were differentiated"):
        (gradient,) = torch.autograd.grad(scalar, leaves, allow_unused=True)
    return np.zeros(logits.shape) if gradient is None else gradient.numpy().astype(float)


def _leaks_through_mask(target: Procedure, case: Case) -> Counterexample | None:
    """Whether log pi of available actions has a gradient in the logits of others, or none that is a number."""
    gradient = _gradient(target, case, lambda log_pi, pi: (log_pi * (pi > NEVER)).sum())
    available = _arrays(case)[1]
    wrong = np.where(available, ~np.isfinite(gradient), ~(np.abs(gradient) <= TOLERANCE))
    if not wrong.any():
        return None
    at = tuple(int(k) for k in np.argwhere(wrong)[0])
    kind = "an available" if available[at] else "an unavailable"
    return counterexample(
        case,
        f"the gradient of sum log pi in logit {list(at)}, of {kind} action, is {gradient[at]:.9g}",
        "a number" if available[at] else "0",
    )


def _scores_remain(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the mean score, sum_a pi(a) grad log pi(a), is zero."""
    gradient = _gradient(target, case, lambda log_pi, pi: (log_pi * pi).sum())
    at = first_difference(gradient, np.zeros_like(gradient))
    if at is None:
        return None
    return counterexample(case, f"sum_a pi(a) grad log pi(a) is {gradient[at]:.9g} in logit {list(at)}", "0")


def _wrong_gradient(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the mean of the sampled policy gradient, over all courses of a game, is the gradient of its return."""
    epsilon = epsilon_of(target)
    computed = _gradient(target, case, lambda log_pi, pi: (weights(case, pi) * log_pi).sum())
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    policies = (1 - epsilon) * logits.softmax(-1) + epsilon / logits.shape[-1]
    (gradient,) = torch.autograd.grad(expected_return(case, policies), logits)
    due = gradient.numpy()
    at = first_difference(computed, due)
    if at is None:
        return None
    return counterexample(case, f"the gradient in logit {list(at)} is {computed[at]:.9g}", f"{due[at]:.9g}")


# --- the claims -------------------------------------------------------------------------------------------------------


NO_GRADIENTS = "gradients are judged of targets in torch alone."


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


def _searched(trial: Trial, judge: Judge, key: str, draw: Any, *, gradients: bool = False, least: int = 1) -> Finding:
    target = procedure(trial)
    if gradients and not _in_torch(target):
        return Finding(not_applicable=NO_GRADIENTS)
    return search(
        trial,
        draw,
        lambda case: judge(target, case),
        method="drawn logits and masks, automatic differentiation" if gradients else "drawn logits and masks",
        smaller=lambda case: (smaller for smaller in _smaller(case) if len(smaller["logits"]) >= least),
        key=key,
    )


@claim(
    "policy.repeatable",
    STATEMENT,
    roles=("policy",),
    cite=f"{LECTURE}: the policy is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def policy_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _draw(), call, _smaller, key="policy.repeatable")


@claim(
    "policy.own",
    "An agent's probabilities are made of its own logits and mask; other agents' and rows' change nothing.",
    roles=("policy",),
    cite=f"{LECTURE}: pi(. | h_i) is a function of the own history",
    method="drawn batches, once with all but one agent of one row replaced",
    recheck=rechecked(_feels_other_rows),
    requires=("policy.repeatable",),
)
def policy_own(trial: Trial) -> Finding:
    """Two batches that agree in one entry."""
    return _searched(trial, _feels_other_rows, "policy.own", _draw(several=True), least=2)


@claim(
    "policy.simplex",
    f"Probabilities are not negative and add up to one, with logits of up to {WIDE} too.",
    roles=("policy",),
    cite=LECTURE,
    method="drawn logits, small and large, and masks",
    recheck=rechecked(_no_distribution),
    requires=("policy.repeatable",),
)
def policy_simplex(trial: Trial) -> Finding:
    """A distribution, whatever the logits."""
    return _searched(trial, _no_distribution, "policy.simplex", _draw(wide=True))


@claim(
    "policy.masked",
    "Actions that are not available have the probability zero.",
    roles=("policy",),
    cite=f"{LECTURE}, over the actions of the state",
    method="drawn masks, with logits of unavailable actions far above the others",
    recheck=rechecked(_draws_unavailable),
    requires=("policy.repeatable",),
)
def policy_masked(trial: Trial) -> Finding:
    """Up to 2^-30, which is never drawn."""
    return _searched(trial, _draws_unavailable, "policy.masked", _draw_masked)


@claim(
    "policy.softmax",
    "pi(a) is proportional to exp(l_a) among the available actions, mixed with the even distribution as declared.",
    roles=("policy",),
    cite=LECTURE,
    method="drawn logits and masks, against the definition",
    recheck=rechecked(_wrong),
    requires=("policy.repeatable", "policy.simplex", "policy.masked"),
)
def policy_softmax(trial: Trial) -> Finding:
    """The rule."""
    return _searched(trial, _wrong, "policy.softmax", _draw())


@claim(
    "policy.mask_gradient",
    "log pi of available actions has no gradient in the logits of others, and everywhere one that is a number.",
    roles=("policy",),
    cite=f"{LECTURE}: pi of available actions does not depend on the other logits",
    method="drawn masks, automatic differentiation",
    recheck=rechecked(_leaks_through_mask),
    requires=("policy.repeatable", "policy.masked"),
)
def policy_mask_gradient(trial: Trial) -> Finding:
    """Where masks make NaN in training, though the probabilities are right."""
    return _searched(trial, _leaks_through_mask, "policy.mask_gradient", _draw(tempting=True), gradients=True)


@claim(
    "score.zero",
    "sum_a pi(a) grad log pi(a) = 0: scores have mean zero.",
    roles=("policy",),
    cite=THEOREM,
    method="drawn logits and masks, automatic differentiation",
    recheck=rechecked(_scores_remain),
    requires=("policy.repeatable", "policy.mask_gradient"),
)
def score_zero(trial: Trial) -> Finding:
    """What makes baselines free of bias."""
    return _searched(trial, _scores_remain, "score.zero", _draw(), gradients=True)


@claim(
    "pg.theorem",
    "E[sum_t gamma^t Q_t(s_t, a_t) grad log pi(a_t | s_t)] is the gradient of the expected discounted return.",
    roles=("policy",),
    cite=f"{THEOREM}; errata D2: with the weight gamma^t",
    method="drawn games of up to 3 states, 3 steps and 3 agents; every state, step and joint action, with the target's "
    "probabilities and scores, against the derivative of the return as a closed form of the logits",
    recheck=rechecked(_wrong_gradient),
    requires=("policy.repeatable", "policy.mask_gradient"),
)
def pg_theorem(trial: Trial) -> Finding:
    """The theorem, in games where all actions are available."""
    target = procedure(trial)
    if not _in_torch(target):
        return Finding(not_applicable=NO_GRADIENTS)

    def draw(generator: np.random.Generator, k: int) -> Case:
        n, A = int(generator.integers(1, 4)), int(generator.integers(2, 4))
        game = drawn_game(generator, n, A)
        shape = (len(game["rewards"]), n, A)
        return {
            "logits": quarters(generator, shape).tolist(),
            "available": np.ones(shape, dtype=bool).tolist(),
            **game,
        }

    return search(
        trial,
        draw,
        lambda case: _wrong_gradient(target, case),
        method="all courses of drawn games of up to 3 steps, in float64",
        smaller=_smaller_game,
        key="pg.theorem",
    )


def _smaller_game(case: Case) -> Iterator[Case]:
    yield from smaller_games(case)
    yield from simpler_numbers(case, ("logits", "rewards"))
