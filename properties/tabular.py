"""Claims about one update of tabular Q-learning, independent (one agent's table) and central (one for all agents).

    Q(s, a) <- Q(s, a) + alpha (r + gamma max_a' Q(s', a') - Q(s, a)), with max_a' Q(s', a') = 0 where s' is terminal

(lecture, Algorithm 5, line 9, and Algorithm 4, lines 8 and 9). All numbers are dyadic with few digits, so that the rule
is free of rounding in float64 and in float32, in whatever order it is computed, and answers are compared exactly.

A joint action a and rewards r of central Q-learning are handed over as arrays [n]. A target that works for certain
numbers of agents alone says so by the attribute agents, as in agents = (2,).
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers, without
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.trial import TargetError, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
Judge = Callable[[Procedure, Case], Counterexample | None]

LECTURE_IQL = "Albrecht et al. 2024, section 6.2 (independent Q-learning); lecture, Algorithm 5, line 9"
LECTURE_CQL = "Albrecht et al. 2024, section 6.1 (central Q-learning); lecture, Algorithm 4, lines 8 and 9"
ALPHAS = (0.5, 0.25, 1.0, 0.75)
GAMMAS = (0.875, 0.5, 1.0, 0.0, 0.25)
AGENTS = (1, 2, 3)
MOST_AGENTS = 5


# --- the rule, and a case ---------------------------------------------------------------------------------------------


def entry_of(case: Case) -> tuple[int, ...]:
    """Return the index of the entry (s, a) in the table."""
    a = case["a"]
    return (case["s"], *a) if isinstance(a, list) else (case["s"], a)


def moved(case: Case, reward: float) -> float:
    """Return what the rule makes of the entry (s, a), with one scalar reward."""
    q = np.array(case["q"], dtype=float)
    following = 0.0 if case["terminated"] else float(q[case["next_s"]].max())
    old = float(q[entry_of(case)])
    return float(old + case["alpha"] * (reward + case["gamma"] * following - old))


def call(update: Procedure, case: Case) -> Array:
    """Return the target's table after the update.

    Raises:
        TargetError: it raised, wrote into its arguments, or returned no table of the same shape.
    """
    q = np.array(case["q"], dtype=float)
    a, r = case["a"], case["r"]
    if isinstance(a, list):
        a, r = np.array(a, dtype=np.int64), np.array(r, dtype=float)
    arguments = (case["s"], a, r, case["next_s"], case["terminated"], case["alpha"], case["gamma"])
    return array_of(update(q, *arguments), q.shape, "the table after the update")


def scalar_of(update: Procedure) -> str | int:
    """Return the declared scalarisation of central Q-learning: "sum", or the index of an agent.

    Raises:
        TargetError: it is neither.
    """
    declared = update.declared("scalar", "sum")
    if declared == "sum" or (type(declared) is int and 0 <= declared < MOST_AGENTS):
        return "sum" if declared == "sum" else int(declared)
    raise TargetError(
        f"the target declares scalar = {declared!r}; declare 'sum', or the index of the agent whose reward is taken "
        f"(0 to {MOST_AGENTS - 1})"
    )


def scalar_reward(scalar: str | int, rewards: list[float]) -> float:
    """Return the one reward that is made of all agents' rewards."""
    return float(sum(rewards)) if isinstance(scalar, str) else rewards[scalar]


def agents_of(update: Procedure, least: int = 1) -> tuple[int, ...]:
    """Return the numbers of agents to judge at: the declared ones, or 1 to 3, none below the least.

    Raises:
        TargetError: what is declared are no numbers of agents.
    """
    declared = update.declared("agents", None)
    if declared is None:
        return tuple(n for n in AGENTS if n >= least) or (least,)
    numbers = tuple(declared) if isinstance(declared, (tuple, list, range)) else ()
    fitting = tuple(n for n in numbers if type(n) is int and least <= n <= MOST_AGENTS)
    if not fitting:
        raise TargetError(f"the target declares agents = {declared!r}; declare numbers from {least} to {MOST_AGENTS}")
    return fitting


# --- cases ------------------------------------------------------------------------------------------------------------


def _draw(generator: np.random.Generator, k: int, shape: tuple[int, ...], terminated: bool | None) -> dict[str, Any]:
    """Draw a table of the given shape and a transition, without action and reward; a terminal s' is not s."""
    ends = bool(generator.integers(2)) if terminated is None else terminated
    q = generator.integers(-8, 9, shape) / 4
    if k % 3 == 0:  # a maximum below zero, and ties
        q = -generator.integers(k % 2, 4, shape) / 2
    if k % 8 == 5:  # more digits than half precision holds
        q = generator.integers(-4096, 4097, shape) / 1024
    s = int(generator.integers(shape[0]))
    others = [state for state in range(shape[0]) if state != s or not ends]
    return {
        "q": q.tolist(),
        "s": s,
        "next_s": int(generator.choice(others)),
        "terminated": ends,
        "alpha": float(generator.choice(ALPHAS)),
        "gamma": float(generator.choice(GAMMAS)),
    }


def _own(terminated: bool | None) -> Callable[[np.random.Generator, int], Case]:
    """Draw cases of one agent's table."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        shape = (int(generator.integers(2, 4 + k // 50)), int(generator.integers(1, 4 + k // 50)))
        case = _draw(generator, k, shape, terminated)
        return {**case, "a": int(generator.integers(shape[1])), "r": float(generator.integers(-8, 9) / 4)}

    return draw


def _joint(agents: tuple[int, ...], terminated: bool | None) -> Callable[[np.random.Generator, int], Case]:
    """Draw cases of a table of joint actions."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        n = agents[k % len(agents)]
        most = 4 if n < 3 else 3
        actions = tuple(int(count) for count in generator.integers(1 if k % 4 == 0 else 2, most, n))
        case = _draw(generator, k, (int(generator.integers(2, 4)), *actions), terminated)
        rewards = (generator.integers(-8, 9, n) / 4).tolist()
        return {**case, "a": [int(generator.integers(count)) for count in actions], "r": rewards}

    return draw


def _every_small_case(terminated: bool) -> list[Case]:
    """All transitions in all tables of 1 and -1, for two states, two actions and reward 1."""
    numbers = {"terminated": terminated, "alpha": 0.5, "gamma": 0.875, "r": 1.0}
    return [
        {"q": [list(row), list(other)], "s": s, "next_s": following, "a": a, **numbers}
        for s, following, a in product(range(2), repeat=3)
        if not (terminated and following == s)
        for row, other in product(product((1.0, -1.0), repeat=2), repeat=2)
    ]


def _every_small_joint_case(agents: tuple[int, ...], terminated: bool) -> list[Case]:
    """All joint actions of two agents, in all tables of 1 and -1 in the next state."""
    if 2 not in agents:
        return []
    numbers = {"terminated": terminated, "alpha": 0.5, "gamma": 0.875, "r": [0.0, 0.0], "s": 0, "next_s": 1}
    return [
        {"q": [[[1.0, 1.0], [1.0, 1.0]], np.reshape(values, (2, 2)).tolist()], "a": list(a), **numbers}
        for a in product(range(2), repeat=2)
        for values in product((1.0, -1.0), repeat=4)
    ]


def _smaller(agents: tuple[int, ...] = (), scalar: str | int = "sum") -> Callable[[Case], Iterator[Case]]:
    """Candidates with fewer agents, states or actions, then with simpler numbers.

    Args:
        agents: the numbers of agents that the target takes, for a joint table.
        scalar: whose reward counts: that agent is never left out.
    """

    def candidates(case: Case) -> Iterator[Case]:
        yield from _fewer_agents(case, agents, scalar)
        yield from _fewer_states(case)
        yield from _fewer_actions(case)
        yield from _first_indices(case)
        yield from ({**case, "alpha": value} for value in (1.0, 0.5) if value > case["alpha"])
        yield from ({**case, "gamma": value} for value in (1.0, 0.0, 0.5) if _simpler_discount(value, case["gamma"]))
        yield from simpler_numbers(case, ("q", "r"))

    return candidates


def _simpler_discount(value: float, than: float) -> bool:
    order = (1.0, 0.0, 0.5)
    return than not in order or order.index(value) < order.index(than)


def _fewer_agents(case: Case, agents: tuple[int, ...], scalar: str | int) -> Iterator[Case]:
    a = case["a"]
    if not isinstance(a, list) or len(a) - 1 not in agents or (isinstance(scalar, int) and len(a) - 1 <= scalar):
        return
    for i in range(len(a)) if scalar == "sum" else [len(a) - 1]:
        q = np.take(np.array(case["q"]), a[i], axis=i + 1)
        yield {**case, "q": q.tolist(), "a": [*a[:i], *a[i + 1 :]], "r": [*case["r"][:i], *case["r"][i + 1 :]]}


def _fewer_states(case: Case) -> Iterator[Case]:
    for state in range(len(case["q"])):
        if state not in (case["s"], case["next_s"]):
            smaller = without(case, {"q": [0]}, state)
            yield {**smaller, **{name: case[name] - (case[name] > state) for name in ("s", "next_s")}}


def _fewer_actions(case: Case) -> Iterator[Case]:
    chosen = entry_of(case)[1:]
    for i, own in enumerate(chosen):
        for action in range(np.shape(case["q"])[i + 1]):
            if action != own:
                actions = [*chosen[:i], own - (own > action), *chosen[i + 1 :]]
                smaller = without(case, {"q": [i + 1]}, action)
                yield {**smaller, "a": actions if isinstance(case["a"], list) else actions[0]}


def _first_indices(case: Case) -> Iterator[Case]:
    """The same transition between the first states and by the first actions."""
    if case["s"] != 0 and not (case["terminated"] and case["next_s"] == 0):
        yield {**case, "s": 0}
    if case["next_s"] != 0 and not (case["terminated"] and case["s"] == 0):
        yield {**case, "next_s": 0}
    a = case["a"]
    if isinstance(a, int) and a:
        yield {**case, "a": 0}
    if isinstance(a, list) and any(a):
        yield {**case, "a": [0] * len(a)}


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _wrong_entry(update: Procedure, case: Case) -> Counterexample | None:
    """Whether the entry (s, a) is what the rule makes of it."""
    reward = scalar_reward(scalar_of(update), case["r"]) if isinstance(case["a"], list) else case["r"]
    required = moved(case, reward)
    index = entry_of(case)
    computed = float(call(update, case)[index])
    if computed == required:
        return None
    return counterexample(
        case,
        f"Q{list(index)} becomes {computed:.9g}",
        f"{required:.9g}{', as nothing follows a terminal state' if case['terminated'] else ''}",
    )


def _moved_others(update: Procedure, case: Case) -> Counterexample | None:
    """Whether an entry other than (s, a) moves; the row of a terminal s' may be set to the zeros that it stands for."""
    before = np.array(case["q"], dtype=float)
    after = call(update, case)
    same = after == before
    if case["terminated"]:
        same[case["next_s"]] |= after[case["next_s"]] == 0
    same[entry_of(case)] = True
    if same.all():
        return None
    index = tuple(int(k) for k in np.argwhere(~same)[0])
    return counterexample(
        case,
        f"Q{list(index)} moves from {before[index]:.9g} to {after[index]:.9g}",
        f"only Q{list(entry_of(case))} moves",
    )


def _wrong_scalar(update: Procedure, case: Case) -> Counterexample | None:
    """Whether the rewards add alpha times the declared scalar to the entry, compared with rewards of zero."""
    scalar = scalar_of(update)
    index = entry_of(case)
    with_rewards = float(call(update, case)[index])
    without_rewards = float(call(update, {**case, "r": [0.0] * len(case["r"])})[index])
    required = case["alpha"] * scalar_reward(scalar, case["r"])
    computed = with_rewards - without_rewards
    if computed == required:
        return None
    whose = "their sum" if scalar == "sum" else f"the reward of agent {scalar}"
    return counterexample(
        case,
        f"the rewards add {computed:.9g} to Q{list(index)}",
        f"alpha times {whose}, {required:.9g}",
    )


def _recheck(judge: Judge) -> Callable[[Trial, Size, Case], Counterexample | None]:
    return lambda trial, size, case: judge(procedure(trial), case)


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


# --- independent Q-learning -------------------------------------------------------------------------------------------


def _judged(trial: Trial, judge: Judge, key: str, terminated: bool | None) -> Finding:
    update = procedure(trial)
    kinds = (False, True) if terminated is None else (terminated,)
    return search(
        trial,
        _own(terminated),
        lambda case: judge(update, case),
        method="every transition of two states and two actions with entries 1 and -1, then drawn cases; exact numbers",
        smaller=_smaller(),
        always=[case for ends in kinds for case in _every_small_case(ends)],
        key=key,
    )


@claim(
    "iql.repeatable",
    STATEMENT,
    roles=("tabular_update",),
    cite=f"{LECTURE_IQL}: the update is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def iql_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _own(None), call, _smaller(), key="iql.repeatable")


@claim(
    "iql.update",
    "The entry (s, a) moves to Q(s, a) + alpha (r + gamma max Q(s', .) - Q(s, a)).",
    roles=("tabular_update",),
    cite=LECTURE_IQL,
    method="small cases exhaustively, then drawn ones, against the rule, without tolerance",
    recheck=_recheck(_wrong_entry),
    requires=("iql.repeatable",),
)
def iql_update(trial: Trial) -> Finding:
    """The rule, where s' is not terminal."""
    return _judged(trial, _wrong_entry, "iql.update", terminated=False)


@claim(
    "iql.terminal",
    "Nothing is added for what follows a terminal s', even where the table holds numbers there.",
    roles=("tabular_update",),
    cite=f"{LECTURE_IQL}, with Q(terminal, .) = 0",
    method="small cases exhaustively, then drawn ones, against the rule, without tolerance",
    recheck=_recheck(_wrong_entry),
    requires=("iql.repeatable",),
)
def iql_terminal(trial: Trial) -> Finding:
    """The rule, where s' is terminal."""
    return _judged(trial, _wrong_entry, "iql.terminal", terminated=True)


@claim(
    "iql.others",
    "No entry but (s, a) moves; the row of a terminal s' may be set to zero.",
    roles=("tabular_update",),
    cite=LECTURE_IQL,
    method="small cases exhaustively, then drawn ones, entry by entry, without tolerance",
    recheck=_recheck(_moved_others),
    requires=("iql.repeatable",),
)
def iql_others(trial: Trial) -> Finding:
    """All entries but one stay."""
    return _judged(trial, _moved_others, "iql.others", terminated=None)


# --- central Q-learning -----------------------------------------------------------------------------------------------


def _judged_jointly(trial: Trial, judge: Judge, key: str, terminated: bool | None) -> Finding:
    update = procedure(trial)
    scalar = scalar_of(update)
    agents = agents_of(update, least=scalar + 1 if isinstance(scalar, int) else 1)
    kinds = (False, True) if terminated is None else (terminated,)
    return search(
        trial,
        _joint(agents, terminated),
        lambda case: judge(update, case),
        method="small cases exhaustively, then drawn ones; exact numbers",
        smaller=_smaller(agents, scalar),
        always=[case for ends in kinds for case in _every_small_joint_case(agents, ends)],
        key=key,
    )


@claim(
    "cql.repeatable",
    STATEMENT,
    roles=("cql_update",),
    cite=f"{LECTURE_CQL}: the update is a function of its arguments",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def cql_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    update = procedure(trial)
    scalar = scalar_of(update)
    agents = agents_of(update, least=scalar + 1 if isinstance(scalar, int) else 1)
    return repeatable(trial, _joint(agents, None), call, _smaller(agents, scalar), key="cql.repeatable")


@claim(
    "cql.scalar",
    "The rewards count as the declared scalar: their sum, or one agent's reward, alpha times.",
    roles=("cql_update",),
    cite=f"{LECTURE_CQL} (line 8)",
    method="an update with rewards against the same one without, without tolerance",
    recheck=_recheck(_wrong_scalar),
    requires=("cql.repeatable",),
)
def cql_scalar(trial: Trial) -> Finding:
    """Line 8 by itself: the difference that the rewards make."""
    return _judged_jointly(trial, _wrong_scalar, "cql.scalar", terminated=None)


@claim(
    "cql.update",
    "The entry (s, a) moves to Q(s, a) + alpha (r + gamma max Q(s', .) - Q(s, a)), the maximum over joint actions.",
    roles=("cql_update",),
    cite=LECTURE_CQL,
    method="small cases exhaustively, then drawn ones, against the rule, without tolerance",
    recheck=_recheck(_wrong_entry),
    requires=("cql.repeatable", "cql.scalar"),
)
def cql_update(trial: Trial) -> Finding:
    """The rule, where s' is not terminal."""
    return _judged_jointly(trial, _wrong_entry, "cql.update", terminated=False)


@claim(
    "cql.terminal",
    "Nothing is added for what follows a terminal s', even where the table holds numbers there.",
    roles=("cql_update",),
    cite=f"{LECTURE_CQL}, with Q(terminal, .) = 0",
    method="small cases exhaustively, then drawn ones, against the rule, without tolerance",
    recheck=_recheck(_wrong_entry),
    requires=("cql.repeatable", "cql.scalar"),
)
def cql_terminal(trial: Trial) -> Finding:
    """The rule, where s' is terminal."""
    return _judged_jointly(trial, _wrong_entry, "cql.terminal", terminated=True)


@claim(
    "cql.others",
    "No entry but (s, a) moves; the row of a terminal s' may be set to zero.",
    roles=("cql_update",),
    cite=LECTURE_CQL,
    method="small cases exhaustively, then drawn ones, entry by entry, without tolerance",
    recheck=_recheck(_moved_others),
    requires=("cql.repeatable",),
)
def cql_others(trial: Trial) -> Finding:
    """All entries but one stay."""
    return _judged_jointly(trial, _moved_others, "cql.others", terminated=None)
