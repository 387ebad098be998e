"""Claims about the loss of a softmax policy: f(logits [B, n, A], actions [B, n], advantages [B, n], mask [B]) -> loss.

    L = -1/N sum A_i log pi_i(a_i) over the rows that the mask keeps, with the advantages as constants

to be minimised, where N is the number of rows kept times n (reduction = "mean", the default), the number of rows kept
("agents": the mean over rows and the sum over agents), or 1 ("sum"). Only the gradient is judged, so that a ratio of
probabilities in place of log pi is as good while old and new policy agree. A target in torch returns the loss alone;
with numpy arrays it returns the loss and its gradient in the logits, as jax.value_and_grad does.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers, without
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.steps import (
    Judge,
    Size,
    first_difference,
    option,
    quarters,
    rechecked,
    room_for,
    slices_left_out,
    varied,
)
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]

LECTURE = "Albrecht et al. 2024, section 8.2 (policy-gradient methods) and Algorithm 19, line 15"
REDUCTIONS = ("mean", "agents", "sum")
STEP = 2.0**-6
FAR = 1024.0  # where exp overflows, and what is far below underflows
STEEP = 16  # times 2: logits so far apart that log-probabilities fall below -30


# --- the rule, and a case ---------------------------------------------------------------------------------------------


def softmax(logits: Array) -> Array:
    """Return the probabilities over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def required(case: Case, reduction: str) -> Array:
    """Return the gradient of the loss in the logits."""
    logits, actions, advantages, mask = _arrays(case)
    scores = np.eye(logits.shape[-1])[actions] - softmax(logits)
    number = {"mean": int(mask.sum()) * actions.shape[1], "agents": int(mask.sum()), "sum": 1}[reduction]
    return np.asarray(-(mask[:, None] * advantages)[..., None] * scores / number)


def call(target: Procedure, case: Case) -> Array:
    """Return the gradient of the target's loss in the logits, [B, n, A].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned no loss (and gradient).
    """
    return _gradients(target, case)[0]


def _in_torch(target: Procedure) -> bool:
    return bool(option(target, "arrays", ("numpy", "torch")) == "torch")


def _gradients(target: Procedure, case: Case) -> tuple[Array, Array | None]:
    """Return the loss's gradients in the logits and, of a target in torch, in the advantages."""
    arguments = _arrays(case)
    shape = arguments[0].shape
    if not _in_torch(target):
        result = target(*arguments)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TargetError("a target with numpy arrays returns two things: the loss, and its gradient in the logits")
        array_of(result[0], (), "the loss")
        return array_of(result[1], shape, "the gradient"), None
    loss, leaves = target.recorded(*arguments, leaves=(0, 2))
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise TargetError(f"the loss is {_words(loss)}; return a tensor of one number")
    if not loss.requires_grad:  # it depends on nothing
        return np.zeros(shape), None
    with errors_of_target("while its loss was differentiated"):
        found = torch.autograd.grad(loss.reshape(()), leaves, allow_unused=True)
    gradients = [None if gradient is None else gradient.numpy().astype(float) for gradient in found]
    return np.zeros(shape) if gradients[0] is None else gradients[0], gradients[1]


def _words(loss: Any) -> str:
    return f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else f"a {type(loss).__name__}"


def _arrays(case: Case) -> tuple[Array, Array, Array, Array]:
    logits, advantages = (np.array(case[name], dtype=float) for name in ("logits", "advantages"))
    return logits, np.array(case["actions"], dtype=np.int64), advantages, np.array(case["mask"], dtype=bool)


# --- cases ------------------------------------------------------------------------------------------------------------


def _draw(generator: np.random.Generator, k: int) -> Case:
    """Draw rows of which all are kept."""
    rows, agents, actions = (int(size) for size in generator.integers((1, 1, 2), (4, 4, 5)))
    logits = quarters(generator, (rows, agents, actions)) * (STEEP if k % 4 == 1 else 1)
    if k % 8 == 6:  # an agent's logits may all be far from zero, which changes nothing
        logits += generator.choice([-FAR, 0.0, FAR], (rows, agents, 1))
    return {
        "logits": logits.tolist(),
        "actions": generator.integers(0, actions, (rows, agents)).tolist(),
        "advantages": varied(generator, (rows, agents), k).tolist(),
        "mask": [True] * rows,
    }


def _draw_padded(generator: np.random.Generator, k: int) -> Case:
    """Draw rows of which one at least is kept, and one at least is not."""
    rows, agents, actions = (int(size) for size in generator.integers((2, 1, 2), (5, 4, 4)))
    mask = generator.random(rows) < 0.5
    mask[:2] = generator.permutation([True, False])
    return {
        "logits": quarters(generator, (rows, agents, actions)).tolist(),
        "actions": generator.integers(0, actions, (rows, agents)).tolist(),
        "advantages": quarters(generator, (rows, agents)).tolist(),
        "mask": mask.tolist(),
    }


def _draw_single(generator: np.random.Generator, k: int) -> Case:
    """Draw one decision whose advantage is not zero."""
    actions = int(generator.integers(2, 5))
    advantage = float(generator.choice([-2.0, -1.0, -0.25, 0.25, 1.0, 2.0]))
    return {
        "logits": quarters(generator, (1, 1, actions)).tolist(),
        "actions": [[int(generator.integers(actions))]],
        "advantages": [[advantage]],
        "mask": [True],
    }


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, agents and actions, then simpler numbers; one row at least is kept."""
    arrays = ("logits", "actions", "advantages")
    for index in range(len(case["mask"])):
        rows = without(case, dict.fromkeys((*arrays, "mask"), (0,)), index)
        if any(rows["mask"]):
            yield rows
    yield from slices_left_out(case, dict.fromkeys(arrays, (1,)))
    taken = np.array(case["actions"])
    for action in range(np.shape(case["logits"])[-1] if np.shape(case["logits"])[-1] > 2 else 0):
        if not (taken == action).any():
            fewer = without(case, {"logits": (2,)}, action)
            yield {**fewer, "actions": (taken - (taken > action)).tolist()}
    yield from simpler_numbers(case, ("logits", "advantages"))


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _wrong(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the gradient is that of the loss."""
    computed, due = call(target, case), required(case, str(option(target, "reduction", REDUCTIONS)))
    at = first_difference(computed, due, room=room_for(case["advantages"]))
    if at is None:
        return None
    return counterexample(case, f"the gradient in logit {list(at)} is {computed[at]:.9g}", f"{due[at]:.9g}")


def _wrong_direction(target: Procedure, case: Case) -> Counterexample | None:
    """Whether a step against the gradient makes an action with a positive advantage more probable, and vice versa."""
    advantage = case["advantages"][0][0]
    if advantage == 0:
        return None
    logits, action = np.array(case["logits"], dtype=float), case["actions"][0][0]
    before = softmax(logits)[0, 0, action]
    change = softmax(logits - STEP * call(target, case))[0, 0, action] - before
    if change * advantage > 0:
        return None
    return counterexample(
        case,
        f"a step of {STEP} against the gradient changes the action's probability {before:.6g} by {change:.3g}",
        f"a {'rise' if advantage > 0 else 'fall'}: its advantage is {advantage:.9g}",
    )


def _feels_padding(target: Procedure, case: Case) -> Counterexample | None:
    """Whether rows that the mask leaves out have a gradient, or change that of the others."""
    logits, actions, advantages, mask = _arrays(case)
    gradient = call(target, case)
    at = first_difference(gradient, np.zeros_like(gradient), np.broadcast_to(~mask[:, None, None], gradient.shape))
    if at is not None:
        return counterexample(case, f"the gradient in logit {list(at)}, of padding, is {gradient[at]:.9g}", "0")
    logits[~mask] = 2 - 2 * logits[~mask]
    advantages[~mask] += 3
    actions[~mask] = logits.shape[-1] - 1 - actions[~mask]
    other = {"logits": logits.tolist(), "actions": actions.tolist(), "advantages": advantages.tolist()}
    again = call(target, {**case, **other})
    at = first_difference(again, gradient)
    if at is None:
        return None
    words = f"with other padding the gradient in logit {list(at)} moves from {gradient[at]:.9g} to {again[at]:.9g}"
    return counterexample(case, words, "it stays")


def _reaches_advantages(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the loss sends a gradient to the advantages, and so to the critic."""
    gradient = _gradients(target, case)[1]
    at = None if gradient is None else first_difference(gradient, np.zeros_like(gradient))
    if gradient is None or at is None:
        return None
    return counterexample(case, f"the gradient in advantage {list(at)} is {gradient[at]:.9g}", "none, or 0")


# --- the claims -------------------------------------------------------------------------------------------------------


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


def _searched(trial: Trial, judge: Judge, key: str, draw: Any) -> Finding:
    target = procedure(trial)
    method = "drawn batches, automatic differentiation" if _in_torch(target) else "drawn batches, the target's gradient"
    return search(trial, draw, lambda case: judge(target, case), method=method, smaller=_smaller, key=key)


@claim(
    "loss.repeatable",
    STATEMENT,
    roles=("policy_loss",),
    cite=f"{LECTURE}: the loss is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def loss_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _draw, call, _smaller, key="loss.repeatable")


@claim(
    "ac.direction",
    "A step against the gradient makes an action more probable where its advantage is positive, less where negative.",
    roles=("policy_loss",),
    cite=f"{LECTURE}, with the sign of the errata (E1)",
    method="single decisions, a small step in their logits",
    recheck=rechecked(_wrong_direction),
    requires=("loss.repeatable",),
)
def ac_direction(trial: Trial) -> Finding:
    """The sign of the loss."""
    return _searched(trial, _wrong_direction, "ac.direction", _draw_single)


@claim(
    "loss.gradient",
    "The gradient is that of -1/N sum A log pi(a), N as the declared reduction has it.",
    roles=("policy_loss",),
    cite=LECTURE,
    method="drawn batches, against the softmax's own derivative",
    recheck=rechecked(_wrong),
    requires=("loss.repeatable", "ac.direction"),
)
def loss_gradient(trial: Trial) -> Finding:
    """Batches without padding."""
    return _searched(trial, _wrong, "loss.gradient", _draw)


@claim(
    "loss.padding",
    "Rows that the mask leaves out have no gradient, and what stands in them changes nothing.",
    roles=("policy_loss",),
    cite=f"{LECTURE}: the sum is over the transitions that were made",
    method="drawn batches with padding, as it is and another",
    recheck=rechecked(_feels_padding),
    requires=("loss.repeatable",),
)
def loss_padding(trial: Trial) -> Finding:
    """Padding of any content."""
    return _searched(trial, _feels_padding, "loss.padding", _draw_padded)


@claim(
    "loss.valid",
    "The mean is over the rows that the mask keeps, not over all.",
    roles=("policy_loss",),
    cite=f"{LECTURE}: 1/K is for the K transitions that were made",
    method="drawn batches with padding, against the softmax's own derivative",
    recheck=rechecked(_wrong),
    requires=("loss.repeatable", "loss.gradient", "loss.padding"),
)
def loss_valid(trial: Trial) -> Finding:
    """The number by which the sum is divided."""
    return _searched(trial, _wrong, "loss.valid", _draw_padded)


@claim(
    "coma.stopgrad",
    "The loss of the actors sends no gradient to the advantages, and so none to the critic.",
    roles=("policy_loss",),
    cite=f"{LECTURE}: the advantage is a constant there (E4); arXiv 1705.08926 (COMA)",
    method="drawn batches, automatic differentiation in the advantages",
    recheck=rechecked(_reaches_advantages),
    requires=("loss.repeatable",),
)
def coma_stopgrad(trial: Trial) -> Finding:
    """Of targets in torch, whose graph can be followed."""
    if not _in_torch(procedure(trial)):
        return Finding(not_applicable="which gradients reach the advantages is judged of targets in torch alone.")
    return _searched(trial, _reaches_advantages, "coma.stopgrad", _draw)
