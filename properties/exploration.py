"""Claims about epsilon-greedy action selection: f(utilities [B, n, A], available [B, n, A], epsilon) -> actions [B, n].

Each agent has a coin of its own in each row: with probability epsilon it takes any of its m available actions, each
with probability epsilon / m, and otherwise a greedy one among them; of several greedy actions any, however chosen. A
target with output = "probabilities" returns [B, n, A] instead, and those are compared exactly.

Actions are counted in large batches of equal rows. The judge seeds the global generators of Python, numpy and torch for
each case. A count refutes whose probability, in a correct target, is below 1e-14. There are at most 54 counts for a
case (27 of pairs of agents, 9 each of rows, of calls and of batches of two), each looked at from both sides: with 200
cases a verdict is wrong with probability below 1e-9.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.isolation import isolated
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.steps import (
    Judge,
    one_at_least,
    option,
    quarters,
    rechecked,
    slices_left_out,
)
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]

LECTURE = "Albrecht et al. 2024, section 2.6 (epsilon-greedy) and Algorithm 17, lines 7 and 8"
OUTPUTS = ("actions", "probabilities")
EPSILONS = (0.5, 0.75, 0.25, 1.0, 0.0, 0.05)
FAR = 1024.0
STATED = 2.0**-20  # stated probabilities are exact up to the rounding of single precision
ROWS_SEEDED = 64  # of two available actions at least: another seed gives the same ones with probability below 2^-64
ROWS = 4096  # of equal utilities, whose actions are counted
PAIRS = 1024
ALONE = 256  # calls with one row each, in one case of eight
MANY_ACTIONS = 200
FEW = 512  # calls with two rows each, in one case of four
LEAST_CHANCE = 1e-14  # a count that is less probable refutes


# --- a case, and what is drawn ----------------------------------------------------------------------------------------


def _sampled(target: Procedure) -> bool:
    return bool(option(target, "output", OUTPUTS) == "actions")


def _one(case: Case) -> tuple[Array, Array]:
    """Return utilities and mask of a case's one row, [n, A]."""
    return np.array(case["utilities"], dtype=float), np.array(case["available"], dtype=bool)


def actions_of(target: Procedure, case: Case, rows: int = ROWS, calls: int = 1) -> Array:
    """Return what the target chooses in equal rows, in one call or several: [calls, rows, n].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned no whole numbers from 0 to A - 1.
    """
    utilities, available = (np.broadcast_to(array, (rows, *array.shape)).copy() for array in _one(case))
    with isolated(case["seed"]):
        return np.stack([_whole(target(utilities, available, case["epsilon"]), utilities.shape) for _ in range(calls)])


def _whole(result: Any, shape: tuple[int, ...]) -> Array:
    actions = array_of(result, shape[:2], "the actions")
    whole = actions.astype(np.int64, copy=True) if np.isfinite(actions).all() else None
    if whole is None or (whole != actions).any() or (whole < 0).any() or (whole >= shape[-1]).any():
        raise TargetError(f"actions must be whole numbers from 0 to {shape[-1] - 1}")
    return whole


def probabilities_of(target: Procedure, case: Case) -> Array:
    """Return the probabilities that the target states, [n, A].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    utilities, available = _one(case)
    result = target(utilities[None], available[None], case["epsilon"])
    return np.asarray(array_of(result, (1, *utilities.shape), "the probabilities")[0])


def required(case: Case) -> tuple[Array, Array]:
    """Return the least and the largest probability that each action may have, [n, A]; they differ where actions tie."""
    utilities, available = _one(case)
    least, most = np.zeros(utilities.shape), np.zeros(utilities.shape)
    for i, own in enumerate(utilities):
        free = np.flatnonzero(available[i])
        greedy = [a for a in free if own[a] == max(own[free])]
        least[i, free] = case["epsilon"] / len(free)
        most[i] = least[i]
        most[i, greedy] += 1 - case["epsilon"]
        if len(greedy) == 1:
            least[i] = most[i]
    return least, most


def _utilities(generator: np.random.Generator, shape: tuple[int, ...], k: int) -> Array:
    """Draw quarters of which several may be largest; in some cases all are below zero, in others all far from it."""
    near = quarters(generator, shape, 8 if k % 2 else 2) - 3.0 * (k % 3 == 0)
    return near + generator.choice([-FAR, FAR]) if k % 8 == 5 else near


def _draw(generator: np.random.Generator, k: int) -> Case:
    """Draw utilities of which several may be greedy."""
    shape = tuple(int(size) for size in generator.integers((1, 1), (4, 5)))
    return {
        "utilities": _utilities(generator, shape, k).tolist(),
        "available": one_at_least(generator.random(shape) < 0.7).tolist(),
        "epsilon": float(generator.choice(EPSILONS)),
        "seed": int(generator.integers(2**31)),
        "alone": k % 8 == 7,
    }


def _draw_rows(generator: np.random.Generator, k: int) -> Case:
    """Draw rows that differ."""
    shape = tuple(int(size) for size in generator.integers((2, 1, 2), (5, 4, 5)))
    return {
        "utilities": _utilities(generator, shape, k).tolist(),
        "available": one_at_least(generator.random(shape) < 0.7).tolist(),
        "epsilon": float(generator.choice(EPSILONS)),
        "seed": int(generator.integers(2**31)),
    }


def _draw_pair(generator: np.random.Generator, k: int) -> Case:
    """Draw agents, two at least, with two actions at least and one greedy action each; they explore often."""
    n, A = (int(size) for size in generator.integers((2, 2), (4, 4)))
    utilities = np.zeros((n, A))
    utilities[np.arange(n), generator.integers(0, A, n)] = 1.0
    return {
        "utilities": utilities.tolist(),
        "available": np.ones((n, A), dtype=bool).tolist(),
        "epsilon": float(generator.choice((0.25, 0.5))),
        "seed": int(generator.integers(2**31)),
        "few": k % 4 == 3,
    }


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer agents and actions, then simpler numbers; an action stays available."""
    for axis in range(2):
        for smaller in slices_left_out(case, dict.fromkeys(("utilities", "available"), (axis,))):
            if np.array(smaller["available"]).any(axis=-1).all():
                yield smaller
    yield from simpler_numbers(case, ("utilities",))


def _smaller_pairs(case: Case) -> Iterator[Case]:
    """As _smaller, with two available actions at least."""
    yield from (smaller for smaller in _smaller(case) if np.array(smaller["available"]).sum(axis=-1).min() > 1)


def _fewer_rows(case: Case) -> Iterator[Case]:
    """Fewer rows, agents and actions, then simpler numbers; an action stays available."""
    for axis in range(3):
        for smaller in slices_left_out(case, dict.fromkeys(("utilities", "available"), (axis,))):
            if np.array(smaller["available"]).any(axis=-1).all():
                yield smaller
    yield from simpler_numbers(case, ("utilities",))


# --- what the claims ask ----------------------------------------------------------------------------------------------


def _improbable(count: int, trials: int, least: float, most: float) -> bool:
    """Whether so many hits, or so few, are too improbable with any chance of a hit from least to most."""
    if count > trials * most:
        return bool(binom.sf(count - 1, trials, most) < LEAST_CHANCE)
    if count < trials * least:
        return bool(binom.cdf(count, trials, least) < LEAST_CHANCE)
    return False


def _illegal(target: Procedure, case: Case) -> Counterexample | None:
    """Whether an unavailable action is chosen, or has a probability."""
    available = _one(case)[1]
    if _sampled(target):
        chosen = actions_of(target, case, 64)[0]
        shares = (chosen[..., None] == np.arange(available.shape[-1])).mean(axis=0)
    else:
        shares = probabilities_of(target, case)
    wrong = np.argwhere(~available & (shares != 0))
    if not len(wrong):
        return None
    i, a = (int(k) for k in wrong[0])
    words = "is taken in a share of" if _sampled(target) else "has the probability"
    return counterexample(case, f"agent {i}'s action {a}, which is not available, {words} {shares[i, a]:.3g}", "0")


def _wrong(target: Procedure, case: Case) -> Counterexample | None:
    """Whether an action is chosen more or less often than it should be, beyond chance."""
    least, most = required(case)
    if not _sampled(target):
        return _wrong_statement(case, probabilities_of(target, case), least, most)
    alone = case.get("alone", False)
    chosen = actions_of(target, case, 1, ALONE)[:, 0] if alone else actions_of(target, case)[0]
    times, words = len(chosen), "calls with one row" if alone else "rows"
    for i, a in np.ndindex(*np.shape(least)):
        count, low, high = int((chosen[:, i] == a).sum()), float(least[i, a]), float(most[i, a])
        if _improbable(count, times, low, high):
            return counterexample(
                case,
                f"agent {i} takes action {a} in {count} of {times} {words}, {count / times:.3f}",
                f"the probability {_range(low, high)}",
            )
    return None


def _wrong_statement(case: Case, stated: Array, least: Array, most: Array) -> Counterexample | None:
    fits = (stated >= least - STATED) & (stated <= most + STATED)
    if not fits.all():
        i, a = (int(k) for k in np.argwhere(~fits)[0])
        return counterexample(
            case, f"agent {i}'s action {a} has the probability {stated[i, a]:.9g}", _range(least[i, a], most[i, a])
        )
    total = stated.sum(axis=-1)
    if (np.abs(total - 1) <= STATED).all():
        return None
    i = int(np.argmax(np.abs(total - 1)))
    return counterexample(case, f"agent {i}'s probabilities add up to {total[i]:.9g}", "1")


def _range(least: float, most: float) -> str:
    return f"{least:.6g}" if least == most else f"{least:.6g} to {most:.6g}, as actions tie"


def _hangs_together(target: Procedure, case: Case) -> Counterexample | None:
    """Whether what one agent does tells what another one does, or what it does in the next row or call."""
    chosen = actions_of(target, case, PAIRS, calls=2)
    n, A = np.shape(case["utilities"])
    shares = required(case)[0]
    for first, second in combinations(range(n), 2):
        for a, b in np.ndindex(A, A):
            count = int(((chosen[0, :, first] == a) & (chosen[0, :, second] == b)).sum())
            if _improbable(count, PAIRS, shares[first, a] * shares[second, b], shares[first, a] * shares[second, b]):
                return _together(case, f"agents {first} and {second} take actions {a} and {b}", count, PAIRS)
    for i, a in np.ndindex(n, A):
        hits = chosen[:, :, i] == a
        share = float(shares[i, a]) ** 2
        rows = int((hits[0, 0::2] & hits[0, 1::2]).sum())
        if _improbable(rows, PAIRS // 2, share, share):
            return _together(case, f"agent {i} takes action {a} in a row and in the next", rows, PAIRS // 2)
        calls = int((hits[0] & hits[1]).sum())
        if _improbable(calls, PAIRS, share, share):
            return _together(case, f"agent {i} takes action {a} in a row of both of two calls", calls, PAIRS)
    return _two_rows_hang_together(target, case) if case.get("few") else None


def _two_rows_hang_together(target: Procedure, case: Case) -> Counterexample | None:
    """Whether the two rows of small batches tell of each other, as where numbers are spread evenly over a batch."""
    chosen, shares = actions_of(target, case, 2, calls=FEW), required(case)[0]
    for i, a in np.ndindex(*shares.shape):
        share = float(shares[i, a]) ** 2
        both = int((chosen[:, :, i] == a).all(axis=1).sum())
        if _improbable(both, FEW, share, share):
            return _together(case, f"agent {i} takes action {a} in both rows of a batch of two", both, FEW)
    return None


def _wrong_in_a_row(target: Procedure, case: Case) -> Counterexample | None:
    """Whether a row of a batch is not treated by its own utilities and mask."""
    utilities, available = np.array(case["utilities"], dtype=float), np.array(case["available"], dtype=bool)
    if not _sampled(target):
        stated = array_of(target(utilities, available, case["epsilon"]), utilities.shape, "the probabilities")
        for b, (own, free) in enumerate(zip(case["utilities"], case["available"], strict=True)):
            row = {**case, "utilities": own, "available": free}
            found = _wrong_statement(row, stated[b], *required(row))
            if found is not None:
                return counterexample(case, f"in row {b}, {found.computed}", found.required)
        return None
    with isolated(case["seed"]):
        for epsilon in (0.0, 1.0, 1.0, 1.0):
            actions = _whole(target(utilities, available, epsilon), utilities.shape)
            best = np.where(available, utilities, -np.inf).max(axis=-1, keepdims=True)
            allowed = available if epsilon else available & (utilities == best)
            wrong = np.argwhere(~np.take_along_axis(allowed, actions[..., None], axis=-1)[..., 0])
            if len(wrong):
                b, i = (int(k) for k in wrong[0])
                words = f"with epsilon {epsilon:g} agent {i} takes action {actions[b, i]} in row {b}"
                return counterexample(case, words, f"one of {np.flatnonzero(allowed[b, i]).tolist()}")
    return None


def _unseeded(trial: Trial, case: Case) -> Counterexample | None:
    """Whether targets made and asked from the same seed differ, or those from two seeds never do."""
    shape = (ROWS_SEEDED, *np.shape(case["utilities"]))
    utilities, available = (np.broadcast_to(array, shape).copy() for array in _one(case))
    answers = []
    for seed in (case["seed"], case["seed"], case["seed"] + 1):
        with isolated(seed), errors_of_target("as factory()"):
            target = Procedure(trial.target.factory(**trial.target.settings), trial.target.factory)
        with isolated(seed):
            answers.append(_whole(target(utilities, available, 1.0), shape))
    first, again, other = answers
    if (first != again).any():
        return counterexample(case, f"seed {case['seed']} gives other actions at the second time", "the same ones")
    if (first == other).all():
        words = f"seeds {case['seed']} and {case['seed'] + 1} give the same actions in {ROWS_SEEDED} rows"
        return counterexample(case, words, "others: what is drawn follows from the global generators")
    return None


def _together(case: Case, what: str, count: int, trials: int) -> Counterexample:
    return counterexample(case, f"{what} {count} times of {trials}", "as often as if both were drawn apart")


def _searched(trial: Trial, judge: Judge, key: str, draw: Any, method: str, least_agents: int = 1) -> Finding:
    target = procedure(trial)
    return search(
        trial,
        draw,
        lambda case: judge(target, case),
        method=method,
        smaller=lambda case: (smaller for smaller in _smaller(case) if len(smaller["utilities"]) >= least_agents),
        key=key,
    )


# --- the claims -------------------------------------------------------------------------------------------------------


@claim(
    "eps_greedy.legality",
    "Only available actions are taken, whatever epsilon is.",
    roles=("epsilon_greedy",),
    cite=f"{LECTURE}, over the agent's available actions",
    method="drawn utilities and masks, 64 rows each",
    recheck=rechecked(_illegal),
)
def eps_greedy_legality(trial: Trial) -> Finding:
    """Both when it explores and when it does not."""
    return _searched(trial, _illegal, "eps_greedy.legality", _draw, "drawn utilities and masks, 64 rows each")


@claim(
    "eps_greedy.probabilities",
    "Each of m available actions has the probability epsilon / m, and the greedy ones 1 - epsilon more between them.",
    roles=("epsilon_greedy",),
    cite=LECTURE,
    method=f"drawn utilities and masks: stated probabilities, or counts in {ROWS} rows or in {ALONE} calls with one "
    "row, each wrong below 1e-14",
    recheck=rechecked(_wrong),
    requires=("eps_greedy.legality",),
)
def eps_greedy_probabilities(trial: Trial) -> Finding:
    """Action by action and agent by agent."""
    method = f"drawn utilities and masks, {ROWS} rows each; a verdict is wrong with probability below 1e-9"
    return _searched(trial, _wrong, "eps_greedy.probabilities", _draw, method)


@claim(
    "eps_greedy.independence",
    "Every agent has a coin of its own, in each row and at each call.",
    roles=("epsilon_greedy",),
    cite=f"{LECTURE}: for each agent, with probability epsilon",
    method=f"pairs of agents, rows and calls, counts in {PAIRS} rows, each wrong with probability below 1e-14",
    recheck=rechecked(_hangs_together),
    requires=("eps_greedy.legality", "eps_greedy.probabilities"),
)
def eps_greedy_independence(trial: Trial) -> Finding:
    """Of targets that draw; stated probabilities say nothing of this."""
    if not _sampled(procedure(trial)):
        return Finding(not_applicable="stated probabilities do not say what agents have in common.")
    method = f"pairs of agents, rows and calls, {PAIRS} rows each; a verdict is wrong with probability below 1e-9"
    return _searched(trial, _hangs_together, "eps_greedy.independence", _draw_pair, method, 2)


@claim(
    "eps_greedy.rows",
    "Each row of a batch goes by its own utilities and its own mask.",
    roles=("epsilon_greedy",),
    cite=f"{LECTURE}: argmax of the agent's own utilities in its own history",
    method="drawn batches of rows that differ: greedy actions with epsilon = 0, available ones with epsilon = 1, or "
    "stated probabilities",
    recheck=rechecked(_wrong_in_a_row),
    requires=("eps_greedy.legality",),
)
def eps_greedy_rows(trial: Trial) -> Finding:
    """Rows that differ, and a choice among more actions than a byte with a sign counts."""
    target = procedure(trial)
    many = np.zeros((2, 1, MANY_ACTIONS))
    many[0, 0, -2] = many[1, 0, 0] = 1.0
    wide = {"utilities": many.tolist(), "available": np.ones_like(many, dtype=bool).tolist(), "epsilon": 0.5, "seed": 0}
    return search(
        trial,
        _draw_rows,
        lambda case: _wrong_in_a_row(target, case),
        method="drawn batches of rows that differ",
        smaller=_fewer_rows,
        always=[wide],
        key="eps_greedy.rows",
    )


@claim(
    "eps_greedy.seeded",
    "What is drawn follows from the seed of the global generators: the same one gives the same actions, another one "
    "others.",
    roles=("epsilon_greedy",),
    cite=f"{LECTURE}; the role: drawn with the global generators, or with one seeded from these",
    method=f"targets made and asked from one seed twice and from another one, {ROWS_SEEDED} rows of explored actions",
    recheck=lambda trial, size, case: _unseeded(trial, case),
    requires=("eps_greedy.legality",),
)
def eps_greedy_seeded(trial: Trial) -> Finding:
    """Runs can be repeated, and differ between seeds."""
    if not _sampled(procedure(trial)):
        return Finding(not_applicable="stated probabilities draw nothing.")
    method = "targets made and asked from seeds"
    return search(
        trial,
        _draw_pair,
        lambda case: _unseeded(trial, case),
        method=method,
        smaller=_smaller_pairs,
        key="eps_greedy.seeded",
    )
