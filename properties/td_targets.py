"""Claims about one-step TD targets, of transitions whose values were computed before.

    y_i = r_i + gamma B_i, with B_i = 0 where s' is terminal, and else
    B_i = max_a' Q(h_i', a'; theta_bar_i) over the available actions           backup = "max" (default)
    B_i = Q(h_i', argmax_a' Q(h_i', a'; theta_i); theta_bar_i), double Q-learning    backup = "double"
    B_i = V(h_i'; theta_bar_i), a state value in place of action values (A = 1)      backup = "value"

and with mixing = "sum" one target y = r + gamma sum_i B_i of the common reward (VDN). An episode that was cut
(truncated) goes on, so its last transition bootstraps; termination comes first where a transition is both. Of several
greedy actions of the online values double Q-learning may take any. In each row every agent has an available action.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
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
    is_large,
    one_at_least,
    option,
    rechecked,
    same,
    slices_left_out,
    varied,
)
from marlspec.properties.trial import Trial

Array = NDArray[Any]

LECTURE = "Albrecht et al. 2024, sections 8.1 and 9.5 (deep Q-learning, VDN); arXiv 1706.05296"
DOUBLE = "arXiv 1509.06461 (double Q-learning)"
PARDO = "arXiv 1712.00378 (time limits)"
BACKUPS = ("max", "double", "value")
MIXINGS = ("none", "sum")
GAMMAS = (0.875, 0.5, 1.0, 0.25, 0.0)
MANY_ROWS = 300
FAR_BELOW = 4096.0  # what stands at actions that are not available must lie below it
NAMES = ("rewards", "terminated", "truncated", "next_values", "online_values", "available")
AXES = {  # where rows, agents and actions stand in each argument
    "rows": dict.fromkeys(NAMES, (0,)),
    "agents": dict.fromkeys(("next_values", "rewards", "online_values", "available"), (1,)),
    "actions": dict.fromkeys(("next_values", "online_values", "available"), (2,)),
}


# --- the rule, and a case ---------------------------------------------------------------------------------------------


def _backup(target: Procedure) -> str:
    return str(option(target, "backup", BACKUPS))


def _sums(target: Procedure) -> bool:
    return bool(option(target, "mixing", MIXINGS) == "sum")


def followed(case: Case, backup: str, row: int, agent: int) -> list[float]:
    """Return what may count as the value of what follows, for one agent of one row; several where greedy ones tie."""
    values, available = case["next_values"][row][agent], case["available"][row][agent]
    allowed = [a for a, free in enumerate(available) if free]
    if backup == "value":
        return [values[0]]
    if backup == "max":
        return [max(values[a] for a in allowed)]
    online = case["online_values"][row][agent]
    best = max(online[a] for a in allowed)
    return [values[a] for a in allowed if online[a] == best]


def permitted(case: Case, backup: str, sums: bool, row: int) -> list[list[float]]:
    """Return for one row the targets that the rule permits: a list for each entry of y."""
    rewards = case["rewards"][row]
    if case["terminated"][row]:
        return [[rewards[0]]] if sums else [[reward] for reward in rewards]
    onward = [followed(case, backup, row, agent) for agent in range(len(rewards))]
    if sums:
        return [sorted({rewards[0] + case["gamma"] * sum(values) for values in product(*onward)})]
    return [
        sorted({reward + case["gamma"] * value for value in values})
        for reward, values in zip(rewards, onward, strict=True)
    ]


def call(target: Procedure, case: Case) -> Array:
    """Return the target's y as [B, n], or [B, 1] of a sum.

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    sums = _sums(target)
    kinds = {"terminated": bool, "truncated": bool, "available": bool}
    arguments = [np.array(case[name], dtype=kinds.get(name, float)) for name in NAMES]
    rows, agents = arguments[0].shape
    y = array_of(target(*arguments, case["gamma"]), (rows,) if sums else (rows, agents), "y")
    return y.reshape(rows, -1)


# --- cases ------------------------------------------------------------------------------------------------------------


Flags = Callable[[np.random.Generator, int], tuple[Array, Array]]


def _running(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    return np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)


def _terminal(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """Some rows terminal, some of these cut as well; the others are cut nowhere."""
    terminated = generator.random(rows) < 0.6
    terminated[generator.integers(rows)] = True
    return terminated, terminated & (generator.random(rows) < 0.3)


def _cut(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """Some rows cut, some others terminal."""
    truncated = generator.random(rows) < 0.5
    truncated[generator.integers(rows)] = True
    return ~truncated & (generator.random(rows) < 0.5), truncated


def _draw(target: Procedure, flags: Flags, masked: bool = False, least_rows: int = 1) -> Callable[..., Case]:
    backup, sums = _backup(target), _sums(target)

    def draw(generator: np.random.Generator, k: int) -> Case:
        rows, agents, actions = (int(size) for size in generator.integers((least_rows, 1, 1), (5, 4, 5)))
        shape = (rows, agents, 1 if backup == "value" else actions)
        rewards = varied(generator, (rows, 1 if sums else agents), k)
        terminated, truncated = flags(generator, rows)
        below = FAR_BELOW if is_large(k) else 3.0 * (k % 3 == 0)  # a maximum below zero
        return {
            "rewards": np.broadcast_to(rewards, (rows, agents)).tolist(),
            "terminated": terminated.tolist(),
            "truncated": truncated.tolist(),
            "next_values": (varied(generator, shape, k) - below).tolist(),
            "online_values": (varied(generator, shape, k) - below).tolist(),
            "available": one_at_least((generator.random(shape) < 0.6) | (not masked)).tolist(),
            "gamma": float(generator.choice(GAMMAS)),
        }

    return draw


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, agents and actions, then simpler numbers."""
    for axis in ("rows", "agents", "actions"):
        yield from (smaller for smaller in slices_left_out(case, AXES[axis]) if _valid(smaller))
    yield from ({**case, "gamma": value} for value in (1.0, 0.5) if case["gamma"] < value)
    for name in ("next_values", "online_values"):
        yield from simpler_numbers(case, (name,))
    yield from (smaller for smaller in simpler_numbers(case, ("rewards",)) if _common(case) <= _common(smaller))
    if _common(case) and np.any(case["rewards"]):
        yield {**case, "rewards": np.zeros_like(case["rewards"]).tolist()}


def _common(case: Case) -> bool:
    """Whether all agents have the same rewards."""
    return all(len(set(row)) == 1 for row in case["rewards"])


def _valid(case: Case) -> bool:
    return all(any(row) for agents in case["available"] for row in agents)


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _wrong(target: Procedure, case: Case, rows: Array) -> Counterexample | None:
    """Whether y is what the rule permits, in the rows that count."""
    y, backup, sums = call(target, case), _backup(target), _sums(target)
    for row in np.flatnonzero(rows):
        for entry, values in enumerate(permitted(case, backup, sums, int(row))):
            computed = float(y[row, entry])
            if not any(same(computed, value) for value in values):
                words = f"y[{row}]" if sums else f"y[{row}, {entry}]"
                return counterexample(
                    case, f"{words} is {computed:.9g}", " or ".join(f"{value:.9g}" for value in values)
                )
    return None


def _wrong_anywhere(target: Procedure, case: Case) -> Counterexample | None:
    return _wrong(target, case, np.ones(len(case["rewards"]), dtype=bool))


def _wrong_at_the_end(target: Procedure, case: Case) -> Counterexample | None:
    return _wrong(target, case, np.array(case["terminated"]))


def _wrong_where_cut(target: Procedure, case: Case) -> Counterexample | None:
    return _wrong(target, case, np.array(case["truncated"]) & ~np.array(case["terminated"]))


def _moved(target: Procedure, case: Case, other: Case, words: str) -> Counterexample | None:
    """Whether y differs between two cases that must give the same."""
    y, again = call(target, case), call(target, other)
    at = first_difference(again, y)
    if at is None:
        return None
    return counterexample(case, f"{words}, y{list(at)} moves from {y[at]:.9g} to {again[at]:.9g}", "y stays")


def _uses_online_values(target: Procedure, case: Case) -> Counterexample | None:
    """Whether y follows the online values: in double Q-learning their order may count, and nothing else."""
    online = np.array(case["online_values"])
    if _backup(target) == "double":
        other, words = 2 * online + 1, "with online values twice as large and one higher"
    else:
        other, words = -2 * online + 1, "with online values of minus twice as much and one higher"
    return _moved(target, case, {**case, "online_values": other.tolist()}, words)


def _uses_unavailable(target: Procedure, case: Case) -> Counterexample | None:
    """Whether y follows what stands at actions that are not available: 8 more there, in both networks."""
    hidden = 8.0 * ~np.array(case["available"])
    changed = {name: (np.array(case[name]) + hidden).tolist() for name in ("next_values", "online_values")}
    return _moved(target, case, {**case, **changed}, "with 8 more at unavailable actions")


def _wrong_under_a_mask(target: Procedure, case: Case) -> Counterexample | None:
    return _uses_unavailable(target, case) or _wrong_anywhere(target, case)


def _wrong_shift(target: Procedure, case: Case) -> Counterexample | None:
    """Whether next values that are all c higher raise y by gamma c (n gamma c of a sum), and by 0 at the end."""
    shift = 2.0
    y = call(target, case)
    raised = call(target, {**case, "next_values": (np.array(case["next_values"]) + shift).tolist()})
    agents = np.shape(case["rewards"])[1]
    due = case["gamma"] * shift * (agents if _sums(target) else 1)
    required = np.broadcast_to(np.where(case["terminated"], 0.0, due)[:, None], y.shape)
    at = first_difference(raised - y, required)
    if at is None:
        return None
    return counterexample(
        case,
        f"next values that are {shift} higher raise y{list(at)} by {(raised - y)[at]:.9g}",
        f"a rise of {required[at]:.9g}",
    )


def _feels_other_rows(target: Procedure, case: Case) -> Counterexample | None:
    """Whether y of the first row follows what stands in the others, of which some are padding."""
    other = dict(case)
    for name in ("rewards", "next_values", "online_values"):
        array = np.array(case[name])
        array[1:] = 2 - 2 * array[1:]
        other[name] = array.tolist()
    for name in ("terminated", "truncated"):
        other[name] = [case[name][0], *(not flag for flag in case[name][1:])]
    y, again = call(target, case), call(target, other)
    at = first_difference(again[:1], y[:1])
    if at is None:
        return None
    words = "with other rows of 2 - 2 times the rewards and values, and other flags"
    return counterexample(case, f"{words}, y{list(at)} moves from {y[at]:.9g} to {again[at]:.9g}", "y[0] stays")


def _searched(
    trial: Trial,
    judge: Judge,
    key: str,
    flags: Flags,
    *,
    masked: bool = False,
    least_rows: int = 1,
    always: Sequence[Case] = (),
) -> Finding:
    target = procedure(trial)
    return search(
        trial,
        _draw(target, flags, masked, least_rows),
        lambda case: judge(target, case),
        method="drawn batches of dyadic numbers",
        smaller=lambda case: (smaller for smaller in _smaller(case) if len(smaller["rewards"]) >= least_rows),
        always=always,
        key=key,
    )


def _many_rows() -> Case:
    """A batch of more rows than a byte counts; each row has a value of its own."""
    values = (np.arange(MANY_ROWS) % 29 / 4).reshape(-1, 1, 1).tolist()
    none = [False] * MANY_ROWS
    return {
        "rewards": np.zeros((MANY_ROWS, 1)).tolist(),
        "terminated": none,
        "truncated": none,
        "next_values": values,
        "online_values": values,
        "available": np.ones((MANY_ROWS, 1, 1), dtype=bool).tolist(),
        "gamma": 0.5,
    }


# --- the claims -------------------------------------------------------------------------------------------------------


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


@claim(
    "target.repeatable",
    STATEMENT,
    roles=("td_target",),
    cite=f"{LECTURE}: the target is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def target_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _draw(procedure(trial), _terminal, True), call, _smaller, key="target.repeatable")


@claim(
    "target.rows",
    "The target of one transition is its own: what stands in other rows, padded ones included, changes nothing.",
    roles=("td_target",),
    cite=f"{LECTURE}: the sum over the mini-batch has one target for each transition",
    method="drawn batches, once with all rows but the first replaced",
    recheck=rechecked(_feels_other_rows),
    requires=("target.repeatable",),
)
def target_rows(trial: Trial) -> Finding:
    """Two batches with the same first row."""
    return _searched(trial, _feels_other_rows, "target.rows", _terminal, least_rows=2)


@claim(
    "target.network",
    "The online network's values change nothing; in double Q-learning, nothing but their order counts.",
    roles=("td_target",),
    cite=f"{LECTURE}: y is computed with the target networks' parameters; {DOUBLE}",
    method="drawn batches, with online values as they are and others",
    recheck=rechecked(_uses_online_values),
    requires=("target.repeatable",),
)
def target_network(trial: Trial) -> Finding:
    """The order of online values stays in double Q-learning; elsewhere it is turned round."""
    return _searched(trial, _uses_online_values, "target.network", _running, masked=True)


@claim(
    "target.rule",
    "y = r + gamma times the value of what follows, as it is declared: of each agent, or summed over all.",
    roles=("td_target",),
    cite=f"{LECTURE}; {DOUBLE}",
    method="drawn transitions in the middle of an episode, against the rule",
    recheck=rechecked(_wrong_anywhere),
    requires=("target.repeatable", "target.rows"),
)
def target_rule(trial: Trial) -> Finding:
    """Transitions that end nothing, with all actions available; and many of them."""
    return _searched(trial, _wrong_anywhere, "target.rule", _running, always=[_many_rows()])


@claim(
    "target.shift",
    "Next values that are all c higher raise y by gamma c (n gamma c of a sum), and by 0 where s' is terminal.",
    roles=("td_target",),
    cite=f"{LECTURE}: y is affine in the next values",
    method="drawn batches, with next values as they are and 2 higher",
    recheck=rechecked(_wrong_shift),
    requires=("target.repeatable",),
)
def target_shift(trial: Trial) -> Finding:
    """The companion of the rule: it needs no greedy action."""
    return _searched(trial, _wrong_shift, "target.shift", _terminal)


@claim(
    "target.available",
    "Values of actions that are not available change nothing, and the best available action counts.",
    roles=("td_target",),
    cite=f"{LECTURE}: the maximum is over the agent's actions in s'",
    method="drawn masks, against the rule, and again with 8 more at unavailable actions",
    recheck=rechecked(_wrong_under_a_mask),
    requires=("target.repeatable", "target.rule"),
)
def target_available(trial: Trial) -> Finding:
    """Masks of next actions; a state value has none."""
    if _backup(procedure(trial)) == "value":
        return Finding(not_applicable="state values have no actions to be masked.")
    return _searched(trial, _wrong_under_a_mask, "target.available", _running, masked=True)


@claim(
    "target.terminal",
    "y = r where s' is terminal, whatever the networks say of s'; also where the episode is cut there.",
    roles=("td_target",),
    cite=f"{LECTURE}, with the value 0 of terminal states",
    method="drawn batches in which some transitions are terminal, against the rule",
    recheck=rechecked(_wrong_at_the_end),
    requires=("target.repeatable", "target.rule"),
)
def target_terminal(trial: Trial) -> Finding:
    """No bootstrap past a terminal state."""
    return _searched(trial, _wrong_at_the_end, "target.terminal", _terminal)


@claim(
    "target.truncation",
    "A transition at which the episode is cut, and does not terminate, bootstraps like any other.",
    roles=("td_target",),
    cite=f"{LECTURE}: y = r where s' is terminal alone; {PARDO}",
    method="drawn batches in which some transitions are cut, against the rule",
    recheck=rechecked(_wrong_where_cut),
    requires=("target.repeatable", "target.rule"),
)
def target_truncation(trial: Trial) -> Finding:
    """A time limit is no terminal state."""
    return _searched(trial, _wrong_where_cut, "target.truncation", _cut)
