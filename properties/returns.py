"""Claims about estimates of returns from rows of time steps: TD(lambda) returns, n-step returns and GAE.

The m-step return of time step t is G_t^(m) = r_t + gamma r_(t+1) + .. + gamma^(m-1) r_(t+m-1) + gamma^m V(s_(t+m)),
with V = 0 for a terminal state. It does not reach past the episode's end: with N time steps left the last is G^(N).

    estimate = "lambda_return" (default)  y_t = (1 - lambda) sum_(m<N) lambda^(m-1) G_t^(m) + lambda^(N-1) G_t^(N)
    estimate = "advantage"                y_t - V(s_t), which is GAE
    estimate = "n_step"                   G_t^(min(m, N)), where the last argument is m in place of lambda

A row is one episode and padding after its end (rows = "episode", the default), or as many episodes as fit, one after
the other (rows = "rollout"). An episode that is cut, by a flag or by the end of the row, bootstraps from the state in
which it was cut. An episode that is shorter than its row ends by a flag; padding holds no flags.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.steps import (
    Judge,
    Size,
    first_difference,
    option,
    rechecked,
    room_for,
    slices_left_out,
    varied,
)
from marlspec.properties.trial import Trial

Array = NDArray[Any]

LAMBDA = "Albrecht et al. 2024, section 2.5 (TD methods) and chapter 8; arXiv 1705.08926 (COMA, appendix: TD(lambda))"
GAE = "arXiv 1506.02438 (GAE)"
PARDO = "arXiv 1712.00378 (time limits)"
ESTIMATES = ("lambda_return", "advantage", "n_step")
ROWS = ("episode", "rollout")
GAMMAS = (0.5, 0.875, 1.0, 0.25, 0.0)
LAMBDAS = (0.5, 0.75, 0.25, 1.0, 0.0)
FLAGS = ("terminated", "truncated", "mask")
IN_PADDING = 5.0  # what values are higher there
LONG = 20  # time steps of a row in one case of sixteen


# --- the definition, and a case ---------------------------------------------------------------------------------------


def _estimate(target: Procedure) -> str:
    return str(option(target, "estimate", ESTIMATES))


def _layout(target: Procedure) -> str:
    return str(option(target, "rows", ROWS))


def arrays_of(case: Case) -> dict[str, Array]:
    """Return the target's arrays by name; a case holds each value once, so that V(s_(t+1)) is the same at t and t+1.

    Behind an episode's end `values` holds others than next_values does: they are padding, and nobody's.
    """
    states = np.array(case["state_values"], dtype=float)
    flags = {name: np.array(case[name], dtype=bool) for name in FLAGS}
    following = states[:, 1:]
    if "final_values" in case:
        ended = flags["terminated"] | flags["truncated"]
        following = np.where(ended, np.array(case["final_values"], dtype=float), following)
    rewards = np.array(case["rewards"], dtype=float)
    values = np.where(flags["mask"], states[:, :-1], states[:, :-1] + IN_PADDING)
    return {"rewards": rewards, "values": values, "next_values": following.copy(), **flags}


def m_step_return(arrays: dict[str, Array], row: int, t: int, m: int, gamma: float) -> float:
    """Return G_t^(m), term by term."""
    last = t + m - 1
    total = sum(gamma**k * float(arrays["rewards"][row, t + k]) for k in range(m))
    bootstrap = 0.0 if arrays["terminated"][row, last] else float(arrays["next_values"][row, last])
    return total + gamma**m * bootstrap


def steps_left(arrays: dict[str, Array], row: int, t: int) -> int:
    """Return N, how many time steps the episode of time step t has left, t included."""
    ended = arrays["terminated"][row] | arrays["truncated"][row]
    ends = [k for k in range(t, len(ended)) if ended[k]]
    return (ends[0] if ends else len(ended) - 1) - t + 1


def required(case: Case, estimate: str) -> Array:
    """Return the estimates by the forward view; NaN for padding."""
    arrays, gamma = arrays_of(case), case["gamma"]
    y = np.full(arrays["rewards"].shape, np.nan)
    for row, t in np.argwhere(arrays["mask"]):
        left = steps_left(arrays, row, t)
        if estimate == "n_step":
            y[row, t] = m_step_return(arrays, row, t, min(case["steps"], left), gamma)
            continue
        lam = case["lam"]
        shorter = [(1 - lam) * lam ** (m - 1) * m_step_return(arrays, row, t, m, gamma) for m in range(1, left)]
        y[row, t] = sum(shorter) + lam ** (left - 1) * m_step_return(arrays, row, t, left, gamma)
        if estimate == "advantage":
            y[row, t] -= arrays["values"][row, t]
    return y


def call(target: Procedure, case: Case) -> Array:
    """Return the target's estimates [B, T], with zeros for padding.

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    arrays = arrays_of(case)
    last = case["steps"] if "steps" in case else case["lam"]
    y = array_of(target(*arrays.values(), case["gamma"], last), arrays["rewards"].shape, "the estimates")
    return np.where(arrays["mask"], y, 0.0)


# --- cases ------------------------------------------------------------------------------------------------------------


def _flags(
    generator: np.random.Generator, layout: str, ends: tuple[str, ...], shape: tuple[int, int]
) -> dict[str, Array]:
    """Draw where episodes end, in the ways that `ends` names; "row" is the end of the row, without a flag."""
    flags = {name: np.zeros(shape, dtype=bool) for name in ("terminated", "truncated")}
    mask = np.ones(shape, dtype=bool)
    steps = shape[1]
    for row in range(shape[0]):
        how = str(generator.choice(ends))
        if how == "row":
            continue
        last = int(generator.integers(steps))
        flags[how][row, last] = True
        if layout == "episode":
            mask[row, last + 1 :] = False
        elif steps > 1:
            flags[str(generator.choice([end for end in ends if end != "row"]))][row, generator.integers(steps)] = True
    both = generator.random(shape) < 0.25
    flags["truncated"] |= flags["terminated"] & both
    return {**flags, "mask": mask}


def _draw(target: Procedure, ends: tuple[str, ...], least: tuple[int, int] = (1, 1), **numbers: Any) -> Any:
    """Return how cases are drawn; `numbers` replaces what gamma, lam and steps are chosen from."""
    estimate, layout = _estimate(target), _layout(target)

    def draw(generator: np.random.Generator, k: int) -> Case:
        rows, steps = int(generator.integers(least[0], 4)), int(generator.integers(least[1], 4 + k % 3))
        shape = (rows, LONG if k % 16 == 5 else steps)
        flags = _flags(generator, layout, ends, shape)
        rewards = varied(generator, shape, k) * flags["mask"]
        states = varied(generator, (shape[0], shape[1] + 1), k)
        states[:, 2:] *= flags["mask"][:, :-1]  # the state after the end has a value, the padding behind it has none
        case: dict[str, Any] = {
            "rewards": rewards.tolist(),
            "state_values": states.tolist(),
            **{name: array.tolist() for name, array in flags.items()},
            "gamma": float(generator.choice(numbers.get("gamma", GAMMAS))),
        }
        if layout == "rollout":
            case["final_values"] = varied(generator, shape, k).tolist()
        if estimate == "n_step":
            return {**case, "steps": int(generator.choice(numbers.get("steps", range(1, shape[1] + 2))))}
        return {**case, "lam": float(generator.choice(numbers.get("lam", LAMBDAS)))}

    return draw


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows and time steps, then simpler numbers."""
    arrays = ("rewards", *FLAGS, "state_values", *(["final_values"] if "final_values" in case else []))
    for axis in (0, 1):
        shorter = slices_left_out(case, dict.fromkeys(arrays, (axis,)))
        yield from (candidate for candidate in shorter if _valid(candidate))
    for name in ("gamma", "lam"):
        if case.get(name, 0.5) not in (0.0, 0.5, 1.0):
            yield {**case, name: 0.5}
    yield from simpler_numbers(case, ("state_values", *arrays[5:], "rewards"))


def _valid(case: Case) -> bool:
    """Whether each episode that is shorter than its row ends by a flag."""
    flags = {name: np.array(case[name]) for name in FLAGS}
    if not flags["mask"][:, 0].all():
        return False
    lengths = flags["mask"].sum(axis=1)
    ended = flags["terminated"] | flags["truncated"]
    return bool(all(length == ended.shape[1] or ended[row, length - 1] for row, length in enumerate(lengths)))


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _room(case: Case) -> float:
    return room_for(*(case[name] for name in ("rewards", "state_values", "final_values") if name in case))


def _compared(case: Case, y: Array, due: Array) -> Counterexample | None:
    at = first_difference(y, due, np.array(case["mask"]), _room(case))
    if at is None:
        return None
    return counterexample(case, f"y{list(at)} is {y[at]:.9g}", f"{due[at]:.9g}")


def _wrong(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the estimates are those of the forward view."""
    return _compared(case, call(target, case), required(case, _estimate(target)))


def _wrong_limit(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the estimates are one-step targets (lambda = 0), whole returns (lambda = 1) or rewards (gamma = 0)."""
    arrays, gamma = arrays_of(case), case["gamma"]
    onward = np.where(arrays["terminated"], 0.0, arrays["next_values"])
    one_step = case["steps"] == 1 if "steps" in case else case["lam"] == 0
    due = arrays["rewards"] + gamma * onward
    if not one_step and gamma:
        ended = arrays["terminated"] | arrays["truncated"]
        for t in reversed(range(due.shape[1] - 1)):
            due[:, t] = arrays["rewards"][:, t] + gamma * np.where(ended[:, t], onward[:, t], due[:, t + 1])
    if _estimate(target) == "advantage":
        due -= arrays["values"]
    return _compared(case, call(target, case), due)


def _wrong_constant(target: Procedure, case: Case) -> Counterexample | None:
    """Whether rewards c (1 - gamma) and values c give estimates c, and advantages 0."""
    y = call(target, case)
    c = case["state_values"][0][0]
    return _compared(case, y, np.full(y.shape, 0.0 if _estimate(target) == "advantage" else c))


def _moved(target: Procedure, case: Case, other: Case, where: Array, words: str) -> Counterexample | None:
    y, again = call(target, case), call(target, other)
    at = first_difference(again, y, where, _room(other))
    if at is None:
        return None
    return counterexample(case, f"{words}, y{list(at)} moves from {y[at]:.9g} to {again[at]:.9g}", "y stays")


def _feels_what_follows(target: Procedure, case: Case) -> Counterexample | None:
    """Whether what stands after an episode's end, and the value of a terminal state, change what comes before."""
    arrays = arrays_of(case)
    changed = {name: np.array(case[name], dtype=float) for name in ("rewards", "state_values")}
    final = np.array(case.get("final_values", np.zeros_like(case["rewards"])), dtype=float)
    where = np.zeros(changed["rewards"].shape, dtype=bool)
    for row in range(len(where)):
        last = steps_left(arrays, row, 0) - 1
        where[row, : last + 1] = True
        own = 1 if "final_values" in case or arrays["terminated"][row, last] else 2
        final[row, last] += 3.0 * arrays["terminated"][row, last]
        if arrays["terminated"][row, last] or arrays["truncated"][row, last]:
            changed["rewards"][row, last + 1 :] += 2.0
            changed["state_values"][row, last + own :] += 3.0
    other = {**case, **{name: array.tolist() for name, array in changed.items()}}
    if "final_values" in case:
        other["final_values"] = final.tolist()
    return _moved(target, case, other, where, "with rewards 2 and values 3 higher after the first episode's end")


def _feels_other_rows(target: Procedure, case: Case) -> Counterexample | None:
    other = dict(case)
    for name in ("rewards", "state_values"):
        other[name] = [case[name][0], *(2 - 2 * np.array(case[name][1:])).tolist()]
    where = np.zeros(np.shape(case["rewards"]), dtype=bool)
    where[0] = True
    return _moved(target, case, other, where, "with other rows of 2 - 2 times the numbers")


def _constant(case: Case) -> Case:
    """The same case with rewards c (1 - gamma) and values c."""
    c = case["state_values"][0][0]
    return {
        **case,
        "rewards": np.full_like(case["rewards"], c * (1 - case["gamma"]), dtype=float).tolist(),
        "state_values": np.full_like(case["state_values"], c, dtype=float).tolist(),
    }


def _searched(
    trial: Trial, judge: Judge, key: str, ends: tuple[str, ...], least: tuple[int, int] = (1, 1), **numbers: Any
) -> Finding:
    target = procedure(trial)
    return search(
        trial,
        _draw(target, ends, least, **numbers),
        lambda case: judge(target, case),
        method="drawn rows of dyadic numbers",
        smaller=lambda case: (smaller for smaller in _smaller(case) if len(smaller["rewards"]) >= least[0]),
        key=key,
    )


# --- the claims -------------------------------------------------------------------------------------------------------


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


@claim(
    "ret.repeatable",
    STATEMENT,
    roles=("return_estimator",),
    cite=f"{LAMBDA}: the estimate is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def ret_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    draw = _draw(procedure(trial), ("row", "terminated", "truncated"))
    return repeatable(trial, draw, call, _smaller, key="ret.repeatable")


@claim(
    "ret.rows",
    "The estimates of one row are its own: what stands in other rows changes nothing.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}: a return is made of its own episode's rewards",
    method="drawn rows, once with all but the first replaced",
    recheck=rechecked(_feels_other_rows),
    requires=("ret.repeatable",),
)
def ret_rows(trial: Trial) -> Finding:
    """Two batches with the same first row."""
    return _searched(trial, _feels_other_rows, "ret.rows", ("row", "terminated", "truncated"), (2, 1))


@claim(
    "ret.views",
    "The estimates are those of the forward view, the weighted sum of m-step returns; so is the backward recursion.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}; {GAE}",
    method="drawn rows that are cut by their end alone, against the definition, term by term",
    recheck=rechecked(_wrong),
    requires=("ret.repeatable", "ret.rows"),
)
def ret_views(trial: Trial) -> Finding:
    """Rows without any flag."""
    return _searched(trial, _wrong, "ret.views", ("row",))


@claim(
    "ret.limits",
    "lambda = 0 gives one-step targets, lambda = 1 whole returns, gamma = 0 rewards; for m steps, m = 1 and m >= T.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}; {GAE}, equations 16 to 18",
    method="drawn rows at the limits, against the closed forms",
    recheck=rechecked(_wrong_limit),
    requires=("ret.repeatable", "ret.rows"),
)
def ret_limits(trial: Trial) -> Finding:
    """Closed forms, which need no weights."""
    return _searched(trial, _wrong_limit, "ret.limits", ("row",), lam=(0.0, 1.0), steps=(1, LONG + 1))


@claim(
    "ret.const",
    "Rewards c (1 - gamma) and values c give returns c, and advantages 0.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}: the values satisfy the Bellman equation, so every m-step return is c, and the weights add up to 1",
    method="drawn discounts, weights and lengths",
    recheck=rechecked(_wrong_constant),
    requires=("ret.repeatable",),
)
def ret_const(trial: Trial) -> Finding:
    """The companion that asks whether weights add up to 1."""
    target = procedure(trial)
    draw = _draw(target, ("row",))

    def smaller(case: Case) -> Iterator[Case]:
        yield from (_constant(candidate) for candidate in _smaller(case) if _constant(candidate) != case)

    return search(
        trial,
        lambda generator, k: _constant(draw(generator, k)),
        lambda case: _wrong_constant(target, case),
        method="drawn discounts, weights and lengths",
        smaller=smaller,
        key="ret.const",
    )


@claim(
    "ret.terminal",
    "An episode's estimates stop at its terminal state, whose value counts as 0; also where it is cut there.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}, with the value 0 of terminal states",
    method="drawn rows in which episodes terminate, padded with zeros, against the definition",
    recheck=rechecked(_wrong),
    requires=("ret.repeatable", "ret.views"),
)
def ret_terminal(trial: Trial) -> Finding:
    """The terminal state's value is any number, and must not count."""
    return _searched(trial, _wrong, "ret.terminal", ("terminated",))


@claim(
    "ret.truncation",
    "An episode that is cut bootstraps from the state in which it was cut, and its estimates stop there.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}: only terminal states have the value 0; {PARDO}",
    method="drawn rows in which episodes are cut, padded with zeros, against the definition",
    recheck=rechecked(_wrong),
    requires=("ret.repeatable", "ret.views"),
)
def ret_truncation(trial: Trial) -> Finding:
    """A time limit is no terminal state."""
    return _searched(trial, _wrong, "ret.truncation", ("truncated",))


@claim(
    "ret.padding",
    "What stands after an episode's end, padding or the next episode, changes nothing before it.",
    roles=("return_estimator",),
    cite=f"{LAMBDA}: a return is made of its own episode's rewards",
    method="drawn rows, with what follows the first episode's end as it is and others",
    recheck=rechecked(_feels_what_follows),
    requires=("ret.repeatable",),
)
def ret_padding(trial: Trial) -> Finding:
    """Padding that is not zero."""
    return _searched(trial, _feels_what_follows, "ret.padding", ("terminated", "truncated"), (1, 2))
