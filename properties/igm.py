"""Claims about greedy actions: the individual-global-max property, in the two directions that can be promised.

Containment: every joint action that is greedy for each agent maximises Q_tot. It holds for every monotone mixer, ties
and zero weights included. The other direction, that whatever maximises Q_tot is greedy for each agent, needs slopes
bounded away from zero (errata E11, E12); where they are, it is judged in its quantitative form: individual regret
costs Q_tot.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.claims import LEAST_EXAMPLES, Counterexample, Finding, claim
from marlspec.properties.mixers import SANE, traced
from marlspec.properties.proof.graph import Graph, Unknown
from marlspec.properties.proof.intervals import slopes
from marlspec.properties.strategies import FAR, FARTHEST, Draw, Tally, fill, for_each_draw, plain, reaching_far, shrink
from marlspec.properties.trial import HALF, ROUNDING, Redraw, Subject, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
ROWS = 16
MOST_JOINT_ACTIONS = 32  # for a mixer, whose number of actions is ours to choose
TOO_MANY = 1024
TABLES = (("fine", 8.0), ("ties", 8.0), ("wide", 100.0))  # kinds of utilities for igm.equivalence, and their scales
CLOSE_TO = 64.0  # where utilities lie that are close to each other
BOOK = "Albrecht et al. 2024, section 9.5.1 (individual-global-max)"
SANE_JOINT = ("joint_value.finite", "joint_value.deterministic")
ROWWISE = (*SANE, *SANE_JOINT, "mixer.batch", "joint_value.batch")


@dataclass(frozen=True)
class Tables:
    """Q_tot of every joint action, for a batch of utilities.

    Attributes:
        actions: joint actions, shape [J, n].
        values: Q_tot, shape [B, J].
        regret: max over own actions of the utility, less the chosen one's, shape [B, J, n].
    """

    actions: Array
    values: Array
    regret: Array


def tables(subject: Subject, utilities: Array, state: Array) -> Tables:
    """Evaluate all joint actions of each row, in one call.

    Args:
        subject: a mixer or a joint value.
        utilities: shape [B, n, A].
        state: shape [B, s].
    """
    rows, n, n_actions = utilities.shape
    actions = np.array(list(product(range(n_actions), repeat=n)))
    repeated = np.tile(actions, (rows, 1))
    every_utility, every_state = (np.repeat(values, len(actions), axis=0) for values in (utilities, state))
    values = _value(subject, every_utility, repeated, every_state).reshape(rows, -1)
    chosen = _chosen(every_utility, repeated).reshape(rows, len(actions), n)
    return Tables(actions, values, utilities.max(axis=2)[:, None, :] - chosen)


def _chosen(utilities: Array, actions: Array) -> Array:
    picked: Array = np.take_along_axis(utilities, actions[:, :, None], axis=2)[:, :, 0]
    return picked


def _value(subject: Subject, utilities: Array, actions: Array, state: Array) -> Array:
    """A joint value takes the table and the actions; a mixer is lifted by handing it the chosen utilities."""
    if "n_actions" in subject.size:
        return subject(utilities, actions, state)
    return subject(_chosen(utilities, actions), state)


def _n_actions(size: Size) -> int:
    """The joint value's own number of actions; for a mixer three, or two where three give too many joint actions."""
    if "n_actions" in size:
        return size["n_actions"]
    return max(count for count in (2, 3) if count == 2 or count ** size["n_agents"] <= MOST_JOINT_ACTIONS)


def _enumerable(trial: Trial) -> tuple[Size, ...]:
    """The sizes whose joint actions can all be tried."""
    return tuple(size for size in trial.sizes if _n_actions(size) ** size["n_agents"] <= TOO_MANY)


def _too_many(trial: Trial) -> str:
    least = min(_n_actions(size) ** size["n_agents"] for size in trial.sizes)
    return f"{least:,} joint actions are too many to try them all; judge at fewer agents or actions as well."


def _tolerance(subject: Subject, table: Tables, utilities: Array, row: int) -> float:
    return float(ROUNDING[subject.precision] * (1 + np.abs(table.values[row]).max() + np.abs(utilities[row]).max()))


# --- joint_value.finite, joint_value.deterministic, joint_value.batch -------------------------------------------------


def _actions_like(utilities: Array, seed: int) -> Array:
    rows, n, n_actions = utilities.shape
    return np.random.default_rng(seed).integers(0, n_actions, (rows, n))


def _joint_batches(
    trial: Trial, check: Callable[[Subject, Array, Array, Array], Counterexample | None], far: bool = False
) -> Finding:
    """Run a check of (utilities, actions, state) batches at the target's own parameters, also on far larger ones."""
    subjects = [trial.build(size) for size in trial.sizes]
    tally = Tally()

    def body(draw: Draw) -> Counterexample | None:
        subject = subjects[draw.size]
        shape = (ROWS, subject.size["n_agents"], subject.size["n_actions"])
        utilities, state = fill(draw, shape, subject.size["state_size"])
        if far:
            utilities, state = reaching_far(draw, utilities, state, subject.dtype in HALF)
        actions = _actions_like(utilities, draw.seed)
        tally.add(None, utilities, actions, state)
        return check(subject, utilities, actions, state)

    found = for_each_draw(
        len(subjects), body, examples=max(1, trial.examples // 2), seed=trial.seed, engine=trial.engine, redraw=False
    )
    return Finding(counterexample=found, method="search", scope="these parameters", examples=len(tally))


def _case(utilities: Array, actions: Array, state: Array, **more: int) -> dict[str, Any]:
    return plain({"utilities": utilities, "actions": actions, "state": state, **more})


def _arrays(case: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    return np.array(case["utilities"], dtype=float), np.array(case["actions"]), np.array(case["state"], dtype=float)


def _joint_not_finite(subject: Subject, utilities: Array, actions: Array, state: Array) -> Counterexample | None:
    value = subject(utilities, actions, state)
    bad = np.flatnonzero(~np.isfinite(value))
    if not len(bad):
        return None
    row = slice(bad[0], bad[0] + 1)
    case = _case(utilities[row], actions[row], state[row])
    return Counterexample(subject.size, None, case, f"Q_tot = {value[bad[0]]}", "a finite Q_tot")


@claim(
    "joint_value.finite",
    f"Q_tot is a finite number for utilities in [-{FARTHEST:g}, {FARTHEST:g}] and states in [-{FAR:g}, {FAR:g}].",
    roles=("joint_value",),
    cite=f"{BOOK}: Q_tot is a real function",
    method="batches of dyadic inputs (in half precision up to 100 and 10)",
    recheck=lambda trial, size, case: _joint_not_finite(trial.build(size), *_arrays(case)),
)
def joint_finite(trial: Trial) -> Finding:
    """No NaN and no infinity."""
    return _joint_batches(trial, _joint_not_finite, far=True)


def _joint_writing(subject: Subject, utilities: Array, actions: Array, state: Array) -> Counterexample | None:
    for row in (slice(0, 1), slice(None)):
        subject(utilities[row], actions[row], state[row])
        if subject.wrote:
            case = _case(utilities[row], actions[row], state[row])
            computed = "after the call, the tensors that were passed in hold other numbers"
            required = "the caller's utilities, actions and state are left as they were"
            return Counterexample(subject.size, None, case, computed, required)
    return None


@claim(
    "joint_value.pure",
    "A call leaves the caller's utilities, actions and state as they were.",
    roles=("joint_value",),
    cite=f"{BOOK}: Q_tot is a function; the utilities also serve to act",
    method="inputs compared before and after calls on batches of dyadic inputs",
    recheck=lambda trial, size, case: _joint_writing(trial.build(size), *_arrays(case)),
)
def joint_pure(trial: Trial) -> Finding:
    """Nothing is written into the inputs."""
    return _joint_batches(trial, _joint_writing)


def _joint_changing(subject: Subject, utilities: Array, actions: Array, state: Array) -> Counterexample | None:
    values = [subject(utilities, actions, state) for _ in range(3)]
    for later in values[1:]:
        different = np.flatnonzero(~((values[0] == later) | (np.isnan(values[0]) & np.isnan(later))))
        if len(different):
            row = int(different[0])
            computed = f"Q_tot of row {row} = {values[0][row]:.9g} at first, {later[row]:.9g} later, on the same input"
            return Counterexample(
                subject.size, None, _case(utilities, actions, state), computed, "the same answer at every call"
            )
    return None


@claim(
    "joint_value.deterministic",
    "The same input gives the same Q_tot, at every call.",
    roles=("joint_value",),
    cite=f"{BOOK}: Q_tot is a function",
    method="the same batch in repeated calls, bit for bit",
    recheck=lambda trial, size, case: _joint_changing(trial.build(size), *_arrays(case)),
)
def joint_deterministic(trial: Trial) -> Finding:
    """Repeated calls agree."""
    return _joint_batches(trial, _joint_changing)


def _joint_leaking(subject: Subject, utilities: Array, actions: Array, state: Array) -> Counterexample | None:
    together = subject(utilities, actions, state)
    for row in range(len(utilities)):
        one = slice(row, row + 1)
        alone = subject(utilities[one], actions[one], state[one])[0]
        scale = 1 + np.abs(utilities).max() + max(abs(together[row]), abs(alone))
        if np.isfinite(scale) and abs(together[row] - alone) > 1e3 * ROUNDING[subject.precision] * scale:
            computed = f"Q_tot of row {row} = {together[row]:.9g} in the batch, {alone:.9g} alone"
            required = "row k of the result depends on row k of the inputs alone"
            return Counterexample(subject.size, None, _case(utilities, actions, state), computed, required)
    return None


def _joint_leaking_small(subject: Subject, utilities: Array, actions: Array, state: Array) -> Counterexample | None:
    return _joint_leaking(subject, utilities[:4], actions[:4], state[:4])


@claim(
    "joint_value.batch",
    "Each row of a batch is valued by itself: other rows, its position and the batch size change nothing.",
    roles=("joint_value",),
    cite=f"{BOOK}: one value per joint action",
    method="each row in a batch against the same row alone, to a stated rounding bound",
    recheck=lambda trial, size, case: _joint_leaking(trial.build(size), *_arrays(case)),
    requires=SANE_JOINT,
)
def joint_batch(trial: Trial) -> Finding:
    """Rows in a batch of four against the rows alone."""
    return _joint_batches(trial, _joint_leaking_small)


# --- igm.containment --------------------------------------------------------------------------------------------------


def _escaping(subject: Subject, redraw: Redraw | None, utilities: Array, state: Array) -> Counterexample | None:
    """Find a row where some individually greedy joint action does not maximise Q_tot."""
    table = tables(subject, utilities, state)
    greedy = (table.regret == 0).all(axis=2)
    for row in range(len(utilities)):
        values = table.values[row]
        if not np.isfinite(values).all():
            continue
        worst = int(np.where(greedy[row], values, np.inf).argmin())
        best = int(values.argmax())
        if values[worst] >= values[best] - _tolerance(subject, table, utilities, row):
            continue
        return Counterexample(
            subject.size,
            None if redraw is None else redraw.to_json(),
            plain({"utilities": utilities[row], "state": state[row]}),
            f"the individually greedy joint action {table.actions[worst].tolist()} has Q_tot {values[worst]:.9g}, "
            f"{table.actions[best].tolist()} has {values[best]:.9g}",
            "every individually greedy joint action maximises Q_tot",
        )
    return None


def _recheck_containment(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _escaping(trial.build(size), None, np.array([case["utilities"]]), np.array([case["state"]]))


def _judge_batches(
    trial: Trial, check: Callable[[Subject, Redraw | None, Array, Array], Counterexample | None]
) -> tuple[Counterexample | None, int, str]:
    """Run a check of utility tables at own and re-drawn parameters, shrink what it finds, and count the inputs."""
    subjects = [trial.build(size) for size in _enumerable(trial)]
    tally = Tally()

    def body(draw: Draw) -> Counterexample | None:
        subject = subjects[draw.size]
        n, n_actions = subject.size["n_agents"], _n_actions(subject.size)
        utilities, state = fill(draw, (ROWS, n, n_actions), subject.size["state_size"])
        tally.add(draw.redraw, utilities, state)
        with subject.redrawn(draw.redraw):
            found = check(subject, draw.redraw, utilities, state)
            return found and _smaller(trial, subject, draw.redraw, check, found)

    redraws = trial.parameters == "redrawn" and any(subject.parameters for subject in subjects)
    found = None
    for redraw in (False, True) if redraws else (False,):
        found = for_each_draw(
            len(subjects),
            body,
            examples=max(1, trial.examples // 4),
            seed=trial.seed,
            engine=trial.engine,
            redraw=redraw,
        )
        if found is not None:
            break
    return found, len(tally), "own and re-drawn parameters" if redraws else "these parameters"


def _smaller(
    trial: Trial,
    subject: Subject,
    redraw: Redraw | None,
    check: Callable[[Subject, Redraw | None, Array, Array], Counterexample | None],
    found: Counterexample,
) -> Counterexample | None:
    utilities, state = np.array(found.case["utilities"]), np.array(found.case["state"])

    def at(vector: Array) -> Counterexample | None:
        table = vector[: utilities.size].reshape(1, *utilities.shape)
        return check(subject, redraw, table, vector[utilities.size :].reshape(1, -1))

    start = np.concatenate([utilities.ravel(), state])
    if at(start) is None:  # wrong among other rows only: that is the batch claim's to say
        return None
    return at(shrink(start, lambda vector: at(vector) is not None, seed=trial.seed, engine=trial.engine)) or found


@claim(
    "igm.containment",
    "Every joint action of individually greedy actions maximises Q_tot, all ties included.",
    roles=("mixer", "joint_value"),
    cite=f"{BOOK}, from right to left",
    method="corollary of mixer.monotone where that is proved; all joint actions of drawn utility tables",
    recheck=_recheck_containment,
    requires=ROWWISE,
)
def containment(trial: Trial) -> Finding:
    """Acting greedily alone is acting greedily together."""
    found, examples, scope = _judge_batches(trial, _escaping)
    if not _enumerable(trial) and "mixer.monotone" not in trial.proved:
        return Finding(not_applicable=_too_many(trial))
    if found is None and "mixer.monotone" in trial.proved:
        return Finding(
            proved=True,
            method="corollary of mixer.monotone",
            scope=trial.proved["mixer.monotone"],
            examples=examples,
            reason="Replacing each action by a greedy one lowers no utility, so Q_tot does not fall.",
        )
    return Finding(counterexample=found, method="all joint actions", scope=scope, examples=examples)


# --- igm.equivalence --------------------------------------------------------------------------------------------------


def _cheap_regret(
    subject: Subject, utilities: Array, state: Array, slope: Callable[[int], Array | None]
) -> Counterexample | None:
    """Find a row where a joint action with individual regret costs less than the slopes promise."""
    table = tables(subject, utilities, state)
    for row in range(len(utilities)):
        least = slope(row)
        if least is None or not np.isfinite(table.values[row]).all():
            continue
        values, cost = table.values[row], table.regret[row] @ least
        greedy = values[(table.regret[row] == 0).all(axis=1)].min()
        short = cost - (greedy - values)
        worst = int(short.argmax())
        if short[worst] <= _tolerance(subject, table, utilities, row):
            continue
        return Counterexample(
            subject.size,
            None,
            plain({"utilities": utilities[row], "state": state[row]}),
            f"joint action {table.actions[worst].tolist()} has Q_tot {values[worst]:.9g}, "
            f"{greedy - values[worst]:.9g} below the greedy one's {greedy:.9g}",
            f"at least {cost[worst]:.9g} below: slopes of at least {[round(float(c), 6) for c in least]} "
            f"times regrets of {table.regret[row][worst].tolist()}",
        )
    return None


def _certified(subject: Subject) -> Callable[[Array, Array], Callable[[int], Array | None]]:
    """Return a maker of lower bounds on the slopes: declared by the target, or found by interval arithmetic.

    Raises:
        Unknown: neither is to be had.
    """
    declared = getattr(subject.function, "min_slope", None)
    n = subject.size["n_agents"]
    if declared is not None:
        return lambda utilities, state: lambda row: np.full(n, float(declared))
    if "n_actions" in subject.size:
        raise Unknown("a joint value declares its least slope by the attribute min_slope")
    graph = traced(subject, 1)
    return lambda utilities, state: lambda row: _slopes_on_box(graph, utilities[row], state[row])


def _slopes_on_box(graph: Graph, utilities: Array, state: Array) -> Array | None:
    """Lower bounds on the slopes over the box that the table's utilities span; None where one is not positive."""
    low, high = (torch.from_numpy(edge(utilities, axis=1))[None] for edge in (np.min, np.max))
    point = torch.from_numpy(state)[None]
    least, *_ = slopes(graph, (low, high), (point, point))
    return least.numpy() if bool((least > 1e-9).all()) else None


def _recheck_equivalence(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    subject = trial.build(size)
    utilities, state = np.array([case["utilities"]]), np.array([case["state"]])
    return _cheap_regret(subject, utilities, state, _certified(subject)(utilities, state))


@claim(
    "igm.equivalence",
    "Where each slope is at least c_i > 0, a joint action with individual regrets d_i lies at least sum_i c_i d_i "
    "below the greedy one: what maximises Q_tot is greedy for each agent.",
    roles=("mixer", "joint_value"),
    cite=f"{BOOK}, both directions, under the strict condition that errata E11 and E12 restore",
    method="slopes declared by the target or bounded by interval arithmetic; all joint actions of drawn utility tables",
    recheck=_recheck_equivalence,
    requires=ROWWISE,
)
def equivalence(trial: Trial) -> Finding:
    """Regret costs at least what the slopes promise."""
    tally = Tally()
    generator = np.random.default_rng(trial.seed)
    if not _enumerable(trial):
        return Finding(not_applicable=_too_many(trial))
    for size in _enumerable(trial):
        subject = trial.build(size)
        try:
            bounds = _certified(subject)
        except Unknown as doubt:
            return Finding(not_applicable=f"No positive lower bound on the slopes is known: {doubt}.")
        for round_ in range(max(len(TABLES), trial.examples // (16 * len(trial.sizes)))):
            draw = Draw(0, *TABLES[round_ % len(TABLES)], int(generator.integers(2**31)), None)
            utilities, state = fill(draw, (4, size["n_agents"], _n_actions(size)), size["state_size"])
            utilities[1] = CLOSE_TO + utilities[1] / 1024  # regrets that are small beside the utilities
            state[2] *= 8
            try:
                found = _strictly_judged(trial, subject, bounds, utilities, state, tally)
            except Unknown as doubt:
                return Finding(not_applicable=f"No positive lower bound on the slopes is known: {doubt}.")
            if found is not None:
                return Finding(
                    counterexample=found, method="all joint actions", scope="these parameters", examples=len(tally)
                )
    if len(tally) < LEAST_EXAMPLES:
        return Finding(
            not_applicable=f"Slopes are known to be bounded away from zero on {len(tally)} of the drawn inputs only "
            f"({LEAST_EXAMPLES} are wanted). A zero slope lets actions that are not greedy maximise Q_tot (E11)."
        )
    return Finding(method="interval slopes, all joint actions", scope="these parameters", examples=len(tally))


def _strictly_judged(
    trial: Trial,
    subject: Subject,
    bounds: Callable[[Array, Array], Callable[[int], Array | None]],
    utilities: Array,
    state: Array,
    tally: Tally,
) -> Counterexample | None:
    """Check the rows whose slopes are bounded away from zero, and count their (table, joint action) pairs."""
    slope = bounds(utilities, state)
    known = {row: slope(row) for row in range(len(utilities))}
    rows = [row for row, least in known.items() if least is not None]
    if not rows:
        return None
    actions = np.array(list(product(range(utilities.shape[2]), repeat=utilities.shape[1])))
    for row in rows:
        repeated = np.tile(np.concatenate([utilities[row].ravel(), state[row]]), (len(actions), 1))
        tally.add(None, repeated, actions)
    found = _cheap_regret(subject, utilities[rows], state[rows], lambda row: known[rows[row]])
    if found is None:
        return None

    def check(subject: Subject, redraw: Redraw | None, table: Array, states: Array) -> Counterexample | None:
        return _cheap_regret(subject, table, states, bounds(table, states))

    return _smaller(trial, subject, None, check, found)
