"""Claims about COMA's counterfactual advantage.

    A_i = Q(a_i, a_-i) - sum_a' pi_i(a') Q(a', a_-i)

of each agent, where q [B, n, A] holds Q(., a_-i) for what the others did, and the policy is the one that acts,
exploration included. It is the only function that differs from Q(., a_-i) by a number which does not depend on the own
action (coma.base_independent) and that has mean zero under the own policy (coma.zero_mean).
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers, without
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.steps import (
    Judge,
    Size,
    first_difference,
    quarters,
    rechecked,
    room_for,
    same,
    slices_left_out,
    varied,
)
from marlspec.properties.trial import Trial

Array = NDArray[Any]

COMA = "Albrecht et al. 2024, section 9.4.4 (COMA); arXiv 1705.08926"
SHARES = 16  # a probability is a multiple of 1/16
RARE = 2.0**-10  # or, where a policy is nearly certain, this
ARRAYS = ("q", "policy", "actions")


# --- a case -----------------------------------------------------------------------------------------------------------


def advantages_of(target: Procedure, q: Array, policy: Array, actions: Array) -> Array:
    """Return the target's advantages [B, n].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    return array_of(target(q, policy, actions), actions.shape, "the advantages")


def call(target: Procedure, case: Case) -> Array:
    """Return the target's advantages of a case."""
    return advantages_of(target, *_arrays(case))


def _arrays(case: Case) -> tuple[Array, Array, Array]:
    q, policy = (np.array(case[name], dtype=float) for name in ("q", "policy"))
    return q, policy, np.array(case["actions"], dtype=np.int64)


def _policies(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw distributions over the last axis in sixteenths; some actions have probability zero."""
    weights = generator.dirichlet(np.ones(shape[-1]), shape[:-1])
    return generator.multinomial(SHARES, weights) / SHARES


def _nearly_certain(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw distributions over the last axis that give all actions but one the probability RARE."""
    policy = np.full(shape, RARE)
    np.put_along_axis(policy, generator.integers(shape[-1], size=(*shape[:-1], 1)), 1 - (shape[-1] - 1) * RARE, -1)
    return policy


def _draw(generator: np.random.Generator, k: int) -> Case:
    rows, agents, actions = (int(size) for size in generator.integers((1, 1, 2), (4, 4, 5)))
    draw_policies = _nearly_certain if k % 16 in (3, 6) else _policies
    policy = draw_policies(generator, (rows, agents, actions))
    return {
        "q": varied(generator, policy.shape, k).tolist(),
        "policy": policy.tolist(),
        "actions": [[int(generator.choice(actions, p=own)) for own in row] for row in policy],
    }


def _draw_several(generator: np.random.Generator, k: int) -> Case:
    """Draw a case with two rows or two agents at least."""
    case = _draw(generator, k)
    while np.size(case["actions"]) == 1:
        case = _draw(generator, k)
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, agents and actions, even policies, then simpler numbers."""
    for axis in (0, 1):
        yield from slices_left_out(case, dict.fromkeys(ARRAYS, (axis,)))
    yield from _fewer_actions(case)
    policy, actions = np.array(case["policy"]), np.array(case["actions"])
    even = np.zeros_like(policy)
    for own in (actions, (actions + 1) % policy.shape[-1]):
        np.put_along_axis(even, own[..., None], 0.5, axis=-1)
    if (even != policy).any():
        yield {**case, "policy": even.tolist()}
    yield from simpler_numbers(case, ("q",))


def _fewer_actions(case: Case) -> Iterator[Case]:
    """Leave out an action that nobody took; its probability goes to the action taken."""
    policy, actions = np.array(case["policy"]), np.array(case["actions"])
    for action in range(policy.shape[-1]):
        if (actions == action).any() or policy.shape[-1] == 2:
            continue
        moved = np.take_along_axis(policy, actions[..., None], axis=-1) + policy[..., action, None]
        filled = policy.copy()
        np.put_along_axis(filled, actions[..., None], moved, axis=-1)
        smaller = without({**case, "policy": filled.tolist()}, {"q": (2,), "policy": (2,)}, action)
        yield {**smaller, "actions": (actions - (actions > action)).tolist()}


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _by_action(target: Procedure, case: Case) -> tuple[Array, Array]:
    """Return the advantages [A, B, n] of each action, and whether it is drawn at all; the others' values stay."""
    q, policy, actions = _arrays(case)
    drawn = np.moveaxis(policy, -1, 0) > 0
    taken = [np.where(drawn[action], action, actions) for action in range(policy.shape[-1])]
    return np.stack([advantages_of(target, q, policy, own) for own in taken]), drawn


def _biased(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the policy's mean of the own advantages is zero."""
    advantages, drawn = _by_action(target, case)
    mean = (np.where(drawn, advantages, 0.0) * np.moveaxis(np.array(case["policy"]), -1, 0)).sum(axis=0)
    at = first_difference(mean, np.zeros_like(mean), room=room_for(case["q"]))
    if at is None:
        return None
    return counterexample(case, f"sum_a pi(a) A(a) of entry {list(at)} is {mean[at]:.9g}", "0")


def _base_follows_action(target: Procedure, case: Case) -> Counterexample | None:
    """Whether what the advantages differ from Q by depends on the own action."""
    advantages, drawn = _by_action(target, case)
    q, _, actions = _arrays(case)
    bases = np.where(drawn, np.moveaxis(q, -1, 0) - advantages, np.nan)
    own = np.take_along_axis(bases, actions[None], axis=0)
    at = first_difference(bases, np.broadcast_to(own, bases.shape), drawn, room_for(q))
    if at is None:
        return None
    action, *entry = at
    return counterexample(
        case,
        f"Q - A of entry {entry} is {own[0][tuple(entry)]:.9g} for the action taken and {bases[at]:.9g} for {action}",
        "one number for all actions",
    )


def _feels_shift(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the advantages change when all values are 2 higher."""
    q, policy, actions = _arrays(case)
    before, after = call(target, case), advantages_of(target, q + 2, policy, actions)
    at = first_difference(after, before, room=room_for(q))
    if at is None:
        return None
    return counterexample(
        case, f"with q 2 higher A{list(at)} moves from {before[at]:.9g} to {after[at]:.9g}", "A stays"
    )


def _feels_others(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the first agent's advantage in the first row follows other agents and rows."""
    q, policy, actions = _arrays(case)
    before, room = advantages_of(target, q, policy, actions)[0, 0], 2 * room_for(q)
    others = np.ones(actions.shape, dtype=bool)
    others[0, 0] = False
    q[others] = 2 - 2 * q[others]
    policy[others] = policy[others][:, ::-1]
    actions[others] = policy[others].argmax(axis=-1)
    after = advantages_of(target, q, policy, actions)[0, 0]
    if same(after, before, room):
        return None
    words = "with other q, policies and actions of the other agents and rows"
    return counterexample(case, f"{words}, A[0, 0] moves from {before:.9g} to {after:.9g}", "A[0, 0] stays")


def _wrong_gradient(target: Procedure, case: Case) -> Counterexample | None:
    """Whether sum_a pi(a) A_i(a) grad log pi_i(a_i) is the gradient of the expected reward, in each agent's logits."""
    rewards, policy = np.array(case["rewards"], dtype=float), np.array(case["policy"], dtype=float)
    n, A = policy.shape
    joint = [a for a in product(range(A), repeat=n) if all(policy[i, own] > 0 for i, own in enumerate(a))]
    q = np.array([[[rewards[(*a[:i], own, *a[i + 1 :])] for own in range(A)] for i in range(n)] for a in joint])
    advantages = advantages_of(target, q, np.broadcast_to(policy, q.shape).copy(), np.array(joint))
    weights = [float(np.prod([policy[i, own] for i, own in enumerate(a)])) for a in joint]
    expected = sum(weight * rewards[a] for weight, a in zip(weights, joint, strict=True))
    computed, due = np.zeros((n, A)), np.zeros((n, A))
    for weight, a, advantage in zip(weights, joint, advantages, strict=True):
        for i in range(n):
            score = np.eye(A)[a[i]] - policy[i]
            computed[i] += weight * advantage[i] * score
            due[i, a[i]] += weight * (rewards[a] - expected)
    at = first_difference(computed, due)
    if at is None:
        return None
    return counterexample(case, f"the gradient in logit {list(at)} is {computed[at]:.9g}", f"{due[at]:.9g}")


# --- the claims -------------------------------------------------------------------------------------------------------


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


def _searched(trial: Trial, judge: Judge, key: str, draw: Any = _draw, least: int = 1) -> Finding:
    target = procedure(trial)
    return search(
        trial,
        draw,
        lambda case: judge(target, case),
        method="drawn values in quarters, and policies in sixteenths or nearly certain",
        smaller=lambda case: (smaller for smaller in _smaller(case) if np.size(smaller["actions"]) >= least),
        key=key,
    )


@claim(
    "coma.repeatable",
    STATEMENT,
    roles=("counterfactual_advantage",),
    cite=f"{COMA}: the advantage is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def coma_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _draw, call, _smaller, key="coma.repeatable")


@claim(
    "coma.own",
    "An agent's advantage is made of its own values, policy and action; other agents' and rows' change nothing.",
    roles=("counterfactual_advantage",),
    cite=f"{COMA}: the others' actions stand in q already",
    method="drawn batches, once with all but one agent of one row replaced",
    recheck=rechecked(_feels_others),
    requires=("coma.repeatable",),
)
def coma_own(trial: Trial) -> Finding:
    """Two batches that agree in one entry."""
    return _searched(trial, _feels_others, "coma.own", _draw_several, least=2)


@claim(
    "coma.zero_mean",
    "sum_a pi_i(a) A_i(a) = 0: an agent's advantages have mean zero under its own policy.",
    roles=("counterfactual_advantage",),
    cite=f"{COMA}, equation 4",
    method="all own actions of drawn batches",
    recheck=rechecked(_biased),
    requires=("coma.repeatable",),
)
def coma_zero_mean(trial: Trial) -> Finding:
    """The companion of unbiasedness, which a wrong baseline passes."""
    return _searched(trial, _biased, "coma.zero_mean")


@claim(
    "coma.base_independent",
    "The baseline Q_i(a_i) - A_i does not depend on the own action a_i.",
    roles=("counterfactual_advantage",),
    cite=f"{COMA}, lemma 1",
    method="all own actions of drawn batches",
    recheck=rechecked(_base_follows_action),
    requires=("coma.repeatable",),
)
def coma_base_independent(trial: Trial) -> Finding:
    """What makes a baseline free of bias."""
    return _searched(trial, _base_follows_action, "coma.base_independent")


@claim(
    "coma.shift",
    "Values that are all c higher leave the advantages as they are.",
    roles=("counterfactual_advantage",),
    cite=f"{COMA}, equation 4: the policy's probabilities add up to 1",
    method="drawn batches, with values as they are and 2 higher",
    recheck=rechecked(_feels_shift),
    requires=("coma.repeatable",),
)
def coma_shift(trial: Trial) -> Finding:
    """A critic that is off by a constant does no harm."""
    return _searched(trial, _feels_shift, "coma.shift")


@claim(
    "coma.unbiased",
    "sum_a pi(a) A_i(a) grad log pi_i(a_i) is the gradient of the expected reward in each agent's logits.",
    roles=("counterfactual_advantage",),
    cite=f"{COMA}, lemma 1",
    method="all joint actions of drawn common-reward games, in exact numbers",
    recheck=rechecked(_wrong_gradient),
    requires=("coma.repeatable", "coma.own"),
)
def coma_unbiased(trial: Trial) -> Finding:
    """The theorem; the claims above say more."""
    target = procedure(trial)

    def draw(generator: np.random.Generator, k: int) -> Case:
        n, A = int(generator.integers(1, 4)), int(generator.integers(2, 4))
        return {
            "rewards": quarters(generator, (A,) * n).tolist(),
            "policy": _policies(generator, (n, A)).tolist(),
        }

    def smaller(case: Case) -> Iterator[Case]:
        n = len(case["policy"])
        for i in range(n if n > 1 else 0):
            rewards = np.take(np.array(case["rewards"]), 0, axis=i).tolist()
            yield {"rewards": rewards, "policy": [*case["policy"][:i], *case["policy"][i + 1 :]]}
        yield from simpler_numbers(case, ("rewards",))

    return search(
        trial,
        draw,
        lambda case: _wrong_gradient(target, case),
        method="all joint actions of drawn common-reward games, in exact numbers",
        smaller=smaller,
        key="coma.unbiased",
    )
