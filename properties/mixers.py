"""Claims about mixers: the function that turns the agents' utilities, and the state, into Q_tot.

The headline is `mixer.monotone` (Rashid et al. 2018, eq. 5): Q_tot does not fall when a utility rises. It is tried by
proof first and by ever harder searches after that; the verdict says which of them settled it. Strictness is no part
of it: zero weights are allowed (erratum E11).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.isolation import default_dtype, isolated
from marlspec.properties.proof.graph import INFINITY, Graph, Unknown, scalars, trace
from marlspec.properties.proof.intervals import slopes
from marlspec.properties.proof.structure import prove_monotone
from marlspec.properties.roles import modules_of
from marlspec.properties.search import DELTAS, descend, rises
from marlspec.properties.strategies import (
    FAR,
    FARTHEST,
    ROWS,
    SEEDS,
    Draw,
    Tally,
    fill,
    for_each_draw,
    plain,
    reaching_far,
    shrink,
)
from marlspec.properties.trial import HALF, OTHER_ROW, ROUNDING, SAME_ROW, Redraw, Subject, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
MIXERS = ("mixer",)
QMIX = "Rashid et al. 2018, arXiv 1803.11485"
VDN = "Sunehag et al. 2018, arXiv 1706.05296"
TRACED_ROWS = 7  # none of the default numbers of agents or state sizes, so that no axis passes for another
SANE = ("mixer.finite", "mixer.deterministic")


# --- shared by the claims ---------------------------------------------------------------------------------------------


@dataclass
class _Bench:
    """A trial's subjects, one per size, with the literals of their code."""

    trial: Trial

    def __post_init__(self) -> None:
        self.subjects = [self.trial.build(size) for size in self.trial.sizes]
        self.special: list[list[float]] = [[] for _ in self.subjects]
        self.tally = Tally()

    def batch(self, draw: Draw, rows: int = ROWS) -> tuple[Subject, Array, Array]:
        """The subject of a draw with its batch of utilities [rows, n] and states [rows, s]."""
        subject = self.subjects[draw.size]
        utilities, state = fill(
            draw, (rows, subject.size["n_agents"]), subject.size["state_size"], self.special[draw.size]
        )
        return subject, utilities, state

    def run(
        self, body: Callable[[Draw], Counterexample | None], redraw: bool, share: float = 1.0
    ) -> Counterexample | None:
        """Run a body on a share of the budget."""
        trial = self.trial
        examples = max(1, round(trial.examples * share))
        seed = trial.seed * 2 + redraw
        return for_each_draw(len(self.subjects), body, examples=examples, seed=seed, engine=trial.engine, redraw=redraw)

    def both(self, body: Callable[[Draw], Counterexample | None], share: float = 1.0) -> Counterexample | None:
        """Run a body at the target's own parameters, then at re-drawn ones where the architecture is judged."""
        found = self.run(body, redraw=False, share=share)
        if found is not None or not self.redraws:
            return found
        return self.run(body, redraw=True, share=share)

    @property
    def redraws(self) -> bool:
        """Whether parameters are drawn anew: the architecture is judged, and it has some."""
        return self.trial.parameters == "redrawn" and any(subject.parameters for subject in self.subjects)

    @property
    def settings(self) -> dict[str, Any]:
        """What a search that found nothing depends on, for its replay."""
        return {"parameters": self.trial.parameters, "examples": self.trial.examples}

    @property
    def scope(self) -> str:
        """What a search covered."""
        return "own and re-drawn parameters" if self.redraws else "these parameters"


def _one_size(trial: Trial, size: Size, case: Mapping[str, Any]) -> _Bench:
    """A bench for one size, to search again where a recorded case is that nothing was found."""
    settings = {name: case[name] for name in ("parameters", "examples")}
    return _Bench(replace(trial, sizes=(size,), **settings))


def _json(redraw: Redraw | None) -> dict[str, float] | None:
    return None if redraw is None else redraw.to_json()


def _magnitude(utilities: Array, *values: Array) -> float:
    finite = [np.abs(value[np.isfinite(value)]) for value in values]
    return (
        1.0 + float(np.abs(utilities).max()) + max((float(value.max()) for value in finite if value.size), default=0.0)
    )


# --- mixer.finite -----------------------------------------------------------------------------------------------------


def _recheck_finite(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _not_finite(trial.build(size), np.atleast_2d(case["utilities"]), np.atleast_2d(case["state"]))


def _not_finite(subject: Subject, utilities: Array, state: Array) -> Counterexample | None:
    value = subject(utilities, state)
    bad = np.flatnonzero(~np.isfinite(value))
    if not len(bad):
        return None
    row = int(bad[0])
    return Counterexample(
        subject.size,
        None,
        plain({"utilities": utilities[row], "state": state[row]}),
        f"Q_tot = {value[row]}",
        "a finite Q_tot",
    )


@claim(
    "mixer.finite",
    f"Q_tot is a finite number for utilities in [-{FARTHEST:g}, {FARTHEST:g}] and states in [-{FAR:g}, {FAR:g}].",
    roles=MIXERS,
    cite=f"{QMIX}, section 4.1: Q_tot is a real function",
    method="batches of dyadic inputs (in half precision up to 100 and 10)",
    recheck=_recheck_finite,
)
def finite(trial: Trial) -> Finding:
    """No NaN and no infinity, at the target's own parameters."""
    bench = _Bench(trial)

    def body(draw: Draw) -> Counterexample | None:
        subject, utilities, state = bench.batch(draw, 2 * ROWS)
        utilities, state = reaching_far(draw, utilities, state, subject.dtype in HALF)
        bench.tally.add(None, utilities, state)
        found = _not_finite(subject, utilities, state)
        return found and _smaller_finite(trial, subject, found, utilities, state)

    found = bench.run(body, redraw=False, share=0.5)
    return Finding(counterexample=found, method="search", scope="these parameters", examples=len(bench.tally))


def _smaller_finite(
    trial: Trial, subject: Subject, found: Counterexample, utilities: Array, state: Array
) -> Counterexample:
    n = subject.size["n_agents"]
    start = np.array([*found.case["utilities"], *found.case["state"]])

    def at(vector: Array) -> Counterexample | None:
        clipped = np.concatenate([vector[:n].clip(-FARTHEST, FARTHEST), vector[n:].clip(-FAR, FAR)])
        return _not_finite(subject, clipped[None, :n], clipped[None, n:])

    if at(start) is None:  # the row shows it among the others only
        return replace(found, case=plain({"utilities": utilities, "state": state}))
    return at(shrink(start, lambda vector: at(vector) is not None, seed=trial.seed, engine=trial.engine)) or found


# --- mixer.deterministic ----------------------------------------------------------------------------------------------

_MOST_CALLS = 1000


def _recheck_deterministic(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    utilities, state = np.atleast_2d(case["utilities"]), np.atleast_2d(case["state"])
    subject = trial.build(size)
    with isolated(subject.seed):
        return _changing(subject, utilities, state, int(case["calls"]))


def _changing(subject: Subject, utilities: Array, state: Array, calls: int) -> Counterexample | None:
    """Call a target on one input again and again, and on another one in between; then with gradients recorded."""
    first = subject(utilities, state)
    return _changing_with_calls(subject, utilities, state, calls, first) or _graded(subject, utilities, state, first)


def _graded(subject: Subject, utilities: Array, state: Array, first: Array) -> Counterexample | None:
    """Whether training sees another Q_tot than acting does, beyond rounding: kernels may be others."""
    value = subject.tensor(utilities, state, gradients=True).double().numpy()
    room = SAME_ROW[subject.precision] * (1.0 + np.abs(utilities).sum(axis=1) + np.abs(first))
    apart = np.flatnonzero(np.isfinite(first) & ~(np.abs(value - first) <= room))
    if not len(apart):
        return None
    row = int(apart[0])
    case = plain({"utilities": utilities[row], "state": state[row], "calls": 1})
    computed = f"Q_tot = {first[row]:.9g}, and {value[row]:.9g} where gradients are recorded"
    return Counterexample(subject.size, None, case, computed, "the same answer")


def _changing_with_calls(
    subject: Subject, utilities: Array, state: Array, calls: int, first: Array
) -> Counterexample | None:
    for call in range(2, calls + 1):
        subject(utilities + 1, state + 1)
        value = subject(utilities, state)
        if not np.array_equal(first, value, equal_nan=True):
            row = int(np.flatnonzero(~((first == value) | (np.isnan(first) & np.isnan(value))))[0])
            inputs = (
                {"utilities": utilities[0], "state": state[0]}
                if len(utilities) == 1
                else {"utilities": utilities, "state": state}
            )
            return Counterexample(
                subject.size,
                None,
                plain({**inputs, "calls": call}),
                f"Q_tot = {first[row]:.9g} at the first call, {value[row]:.9g} at call {call} on the same input "
                "(another input in between)",
                "the same answer at every call",
            )
    return None


@claim(
    "mixer.deterministic",
    "The same input gives the same Q_tot, at every call, whether gradients are recorded or not.",
    roles=MIXERS,
    cite=f"{QMIX}, section 4.1: Q_tot is a function of the utilities and the state",
    method="the same batch in repeated calls, another one in between, bit for bit; and with gradients recorded, up to "
    "rounding",
    recheck=_recheck_deterministic,
)
def deterministic(trial: Trial) -> Finding:
    """Repeated calls agree bit for bit; the first calls of a freshly built target are among them."""
    bench = _Bench(trial)
    calls = 0

    def body(draw: Draw) -> Counterexample | None:
        nonlocal calls
        subject, utilities, state = bench.batch(draw)
        bench.tally.add(None, utilities, state)
        found = _changing(subject, utilities, state, 3)
        calls += 3
        most = min(max(2 * calls, 200), _MOST_CALLS)
        return found and _smaller_deterministic(trial, subject.size, found, most, utilities, state)

    found = bench.run(body, redraw=False, share=0.5)
    reason = "" if found is None else "A module with dropout or batch statistics is handed over in eval mode."
    return Finding(
        counterexample=found,
        method="repeated calls",
        scope="these parameters",
        examples=len(bench.tally),
        reason=reason,
    )


def _smaller_deterministic(
    trial: Trial, size: Size, found: Counterexample, calls: int, utilities: Array, state: Array
) -> Counterexample:
    """Prefer one row of zeros, then one row, on a fresh target, as a replay will see them."""
    zeros = np.zeros_like(utilities[:1]), np.zeros_like(state[:1])
    for inputs in (zeros, (utilities[:1], state[:1]), (utilities, state)):
        subject = trial.build(size)
        with isolated(subject.seed):
            small = _changing(subject, *inputs, calls)
        if small is not None:
            return small
    return found


# --- mixer.pure -------------------------------------------------------------------------------------------------------


def _recheck_pure(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _writing(trial.build(size), np.atleast_2d(case["utilities"]), np.atleast_2d(case["state"]))


def _writing(subject: Subject, utilities: Array, state: Array) -> Counterexample | None:
    subject(utilities, state)
    if not subject.wrote:
        return None
    row = 0 if len(utilities) == 1 else slice(None)
    case = plain({"utilities": utilities[row], "state": state[row]})
    computed = "after the call, the tensors that were passed in hold other numbers"
    return Counterexample(subject.size, None, case, computed, "the caller's utilities and state are left as they were")


@claim(
    "mixer.pure",
    "A call leaves the caller's utilities and state as they were.",
    roles=MIXERS,
    cite=f"{QMIX}, section 4.1: Q_tot is a function; the utilities also serve to act",
    method="inputs compared before and after calls on batches of dyadic inputs",
    recheck=_recheck_pure,
)
def pure(trial: Trial) -> Finding:
    """Nothing is written into the inputs."""
    bench = _Bench(trial)

    def body(draw: Draw) -> Counterexample | None:
        subject, utilities, state = bench.batch(draw)
        bench.tally.add(None, utilities, state)
        if _writing(subject, utilities, state) is None:
            return None
        ones = np.ones((1, utilities.shape[1])), np.zeros((1, state.shape[1]))
        small = (_writing(subject, *rows) for rows in (ones, (utilities[:1], state[:1]), (utilities, state)))
        return next((found for found in small if found), None)

    found = bench.run(body, redraw=False, share=0.1)
    return Finding(counterexample=found, method="search", scope="these parameters", examples=len(bench.tally))


# --- mixer.batch ------------------------------------------------------------------------------------------------------


def _recheck_batch(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _leaking(trial.build(size), np.array(case["utilities"]), np.array(case["state"]), int(case["row"]))


def _leaking(
    subject: Subject, utilities: Array, state: Array, row: int, values: Array | None = None
) -> Counterexample | None:
    """Compare a row of a batch (whose values may be known) with the same row alone."""
    together = (subject(utilities, state) if values is None else values)[row]
    alone = subject(utilities[row : row + 1], state[row : row + 1])[0]
    if not np.isfinite(together) and not np.isfinite(alone):
        return None
    if abs(together - alone) <= OTHER_ROW[subject.precision] * _magnitude(utilities, np.array([together, alone])):
        return None
    return Counterexample(
        subject.size,
        None,
        plain({"utilities": utilities, "state": state, "row": row}),
        f"Q_tot of row {row} = {together:.9g} in the batch, {alone:.9g} alone",
        "row k of the result depends on row k of the inputs alone",
    )


@claim(
    "mixer.batch",
    "Each row of a batch is mixed by itself: other rows, its position and the batch size change nothing.",
    roles=MIXERS,
    cite="Albrecht et al. 2024, Algorithm 22, line 19: one value per transition",
    method="each row in a batch against the same row alone, to a stated rounding bound",
    recheck=_recheck_batch,
    requires=SANE,
)
def batch(trial: Trial) -> Finding:
    """Rows in batches of 3, n, 8, 67 and 300 against the rows alone."""
    bench = _Bench(trial)

    def body(draw: Draw) -> Counterexample | None:
        sizes = (3, max(2, bench.subjects[draw.size].size["n_agents"]), 8, (67, 300)[draw.seed // 4 % 2])
        rows = sizes[draw.seed % len(sizes)]
        subject, utilities, state = bench.batch(draw, rows)
        utilities = utilities.clip(-16, 16)
        bench.tally.add(None, utilities, state)
        values = subject(utilities, state)
        leaks = (row for row in _some_rows(rows) if _leaking(subject, utilities, state, row, values))
        row = next(leaks, None)
        found = None if row is None else _leaking(subject, utilities, state, row, values)
        return found and _smaller_batch(trial, subject, utilities, state, int(found.case["row"]), found)

    found = bench.run(body, redraw=False, share=0.5)
    return Finding(counterexample=found, method="search", scope="these parameters", examples=len(bench.tally))


def _some_rows(rows: int) -> list[int]:
    """All rows of a small batch; of a large one the first, the last and every ninth."""
    return list(range(rows)) if rows <= 8 else sorted({*range(0, rows, 9), rows - 1})


def _smaller_batch(
    trial: Trial, subject: Subject, utilities: Array, state: Array, row: int, original: Counterexample
) -> Counterexample:
    """Fewer rows first, then simpler numbers."""
    rows = list(range(len(utilities)))
    for other in [r for r in rows if r != row]:
        fewer = [r for r in rows if r != other]
        if len(fewer) > 1 and _leaking(subject, utilities[fewer], state[fewer], fewer.index(row)):
            rows = fewer
    utilities, state, row = utilities[rows], state[rows], rows.index(row)
    shape, cut = utilities.shape, utilities.size

    def at(vector: Array) -> Counterexample | None:
        return _leaking(subject, vector[:cut].reshape(shape), vector[cut:].reshape(state.shape), row)

    small = shrink(
        np.concatenate([utilities.ravel(), state.ravel()]),
        lambda vector: at(vector) is not None,
        seed=trial.seed,
        engine=trial.engine,
    )
    return at(small) or original


# --- mixer.every_agent ------------------------------------------------------------------------------------------------


def _recheck_every_agent(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _unused_agent(_one_size(trial, size, case), 0)


def _unused_agent(bench: _Bench, index: int) -> Counterexample | None:
    """Look for one change of Q_tot per agent; the first agent without one is the counterexample."""
    subject = bench.subjects[index]
    unseen = set(range(subject.size["n_agents"]))
    tried = 0
    for draw in _draws(bench, index):
        with subject.redrawn(draw.redraw):
            _, utilities, state = bench.batch(draw)
            before = subject(utilities, state)
            bench.tally.add(draw.redraw, utilities, state)
            for agent in sorted(unseen):
                moved = utilities.copy()
                moved[:, agent] += np.resize(DELTAS, len(moved))
                tried += len(moved)
                if not np.array_equal(before, subject(moved, state), equal_nan=True):
                    unseen.discard(agent)
        if not unseen and len(bench.tally) >= 2 * ROWS:
            return None
    if not unseen:
        return None
    agent = min(unseen)
    return Counterexample(
        subject.size,
        None,
        {"agent": agent, **bench.settings},
        f"Q_tot did not change in any of {tried} moves of utility {agent}, by {', '.join(f'{d:g}' for d in DELTAS)}",
        "each agent's utility changes Q_tot somewhere",
    )


_LEAST_ROUNDS = 50  # searches for something that should exist end when it is found; giving up early would cry wolf


def _draws(bench: _Bench, index: int) -> Iterator[Draw]:
    """Draws for one size, a quarter of the budget at own and as much at re-drawn parameters."""
    generator = np.random.default_rng(bench.trial.seed)
    for round_ in range(max(_LEAST_ROUNDS, bench.trial.examples // 4)):
        for redraw in (False, True) if bench.redraws else (False,):
            parameters = Redraw(int(generator.integers(SEEDS)), (0.5, 1.0, 2.0)[round_ % 3]) if redraw else None
            yield Draw(index, ("fine", "wide", "lattice")[round_ % 3], 8.0, int(generator.integers(SEEDS)), parameters)


@claim(
    "mixer.every_agent",
    "Every agent's utility changes Q_tot somewhere.",
    roles=MIXERS,
    cite=f"{QMIX}, section 4.1: Q_tot mixes the utilities of all agents",
    method="search for one change per agent; refuted where none is found in the stated number of moves",
    recheck=_recheck_every_agent,
    requires=SANE,
)
def every_agent(trial: Trial) -> Finding:
    """No agent is left out of the mix."""
    bench = _Bench(trial)
    found = next((hit for index in range(len(bench.subjects)) if (hit := _unused_agent(bench, index))), None)
    return Finding(counterexample=found, method="search", scope=bench.scope, examples=len(bench.tally))


# --- mixer.monotone ---------------------------------------------------------------------------------------------------

EVERY_PARAMETER = "architecture: every parameter"


def _recheck_monotone(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _falling(trial.build(size), None, _Pair.from_case(case))


@dataclass(frozen=True)
class _Pair:
    """One batch, and one utility in one of its rows that rises by delta."""

    utilities: Array
    state: Array
    row: int
    agent: int
    delta: float

    @staticmethod
    def alone(utilities: Array, state: Array, agent: int, delta: float, rows: int, row: int) -> "_Pair":
        """A batch of `rows` equal rows."""
        return _Pair(np.tile(utilities, (rows, 1)), np.tile(state, (rows, 1)), row, agent, delta)

    @staticmethod
    def from_case(case: Mapping[str, Any]) -> "_Pair":
        utilities, state = np.array(case["utilities"], dtype=float), np.array(case["state"], dtype=float)
        agent, delta, row = int(case["agent"]), float(case["delta"]), int(case.get("row", 0))
        if utilities.ndim == 1:
            return _Pair.alone(utilities, state, agent, delta, int(case.get("rows", 1)), row)
        return _Pair(utilities, state, row, agent, delta)

    def to_case(self) -> dict[str, Any]:
        """As JSON: one row where all rows are equal, and no more than needed."""
        case: dict[str, Any] = {"agent": self.agent, "delta": self.delta}
        equal = bool((self.utilities == self.utilities[0]).all() and (self.state == self.state[0]).all())
        if equal and len(self.utilities) == 1:
            return plain({"utilities": self.utilities[0], "state": self.state[0], **case})
        if equal:
            where = {"rows": len(self.utilities), "row": self.row}
            return plain({"utilities": self.utilities[0], "state": self.state[0], **case, **where})
        return plain({"utilities": self.utilities, "state": self.state, **case, "row": self.row})


def _falling(subject: Subject, redraw: Redraw | None, pair: _Pair, least: float = 0.0) -> Counterexample | None:
    """Whether Q_tot of the row falls by more than rounding and `least`: same row of two calls of the same shape."""
    raised = pair.utilities.copy()
    raised[pair.row, pair.agent] += pair.delta
    before, after = subject(pair.utilities, pair.state)[pair.row], subject(raised, pair.state)[pair.row]
    if not (np.isfinite(before) and np.isfinite(after)):
        return None
    noise = SAME_ROW[subject.precision] * _magnitude(raised, np.array([before, after]))
    if before - after <= max(noise, least):
        return None
    return Counterexample(
        subject.size,
        _json(redraw),
        pair.to_case(),
        f"Q_tot falls from {before:.9g} to {after:.9g} when utility {pair.agent} rises by {pair.delta:g}",
        "Q_tot(q + delta e_i, z) >= Q_tot(q, z)",
    )


@claim(
    "mixer.monotone",
    "Q_tot does not fall when an agent's utility rises, in any state and (unless only the given ones are judged) "
    "for any parameters.",
    roles=MIXERS,
    cite=f"{QMIX}, eq. 5; Albrecht et al. 2024, section 9.5.3; non-strict by erratum E11",
    method="structural proof; else pairs at own and re-drawn parameters, interval slopes, search for rare corners",
    recheck=_recheck_monotone,
    requires=SANE,
)
def monotone(trial: Trial) -> Finding:
    """Proof first, then searches of rising strength."""
    proof, doubt, graphs = _structural_proof(trial)
    bench = _Bench(trial)
    bench.special = [scalars(graphs[0]) if graphs else [] for _ in bench.subjects]
    share = 1.0 if proof is None else 0.25  # after a proof, pairs only guard against paths that the trace did not take
    falls = bench.both(lambda draw: _falling_in_batch(bench, draw), share)
    if falls is None and proof is None:
        falls = _falling_in_corner(bench)
    if falls is not None:
        reason = "" if proof is None else "The traced graph is monotone, but the target takes another path here."
        scope = "these parameters" if falls.redraw is None else "architecture: at parameters drawn anew"
        return Finding(counterexample=falls, method="pairs", scope=scope, examples=len(bench.tally), reason=reason)
    if proof is not None:
        trial.proved["mixer.monotone"] = proof
        return Finding(
            proved=True, method="structural proof", scope=proof, examples=len(bench.tally), reason=_coverage(trial)
        )
    bounded = _interval_proof(bench)
    if bounded and trial.parameters == "given":
        return Finding(
            proved=True,
            method="interval slopes",
            scope="these parameters",
            examples=len(bench.tally),
            reason="Every slope is bounded below by 0 over all utilities and states.",
        )
    note = " At its own parameters interval slopes prove it." if bounded else ""
    return Finding(
        method="pairs and search",
        scope=bench.scope,
        examples=len(bench.tally),
        reason=f"No structural proof: {doubt}.{note}",
    )


def _coverage(trial: Trial) -> str:
    sizes = ", ".join("x".join(str(value) for value in size.values()) for size in trial.sizes)
    return f"For all utilities and states, by the graph traced at (agents x state size) {sizes}."


def _structural_proof(trial: Trial) -> tuple[str | None, str, list[Graph]]:
    """Prove monotonicity size by size, up to the first that resists: tracing is what takes the time.

    Returns:
        The scope of the proof or None, why there is none, and the graphs traced so far.
    """
    graphs: list[Graph] = []
    scope = EVERY_PARAMETER
    try:
        for size in trial.sizes:
            for graph in _graphs(trial, size):
                graphs.append(graph)
                scope = _proved(trial, graph, scope)
    except Unknown as doubt:
        return None, str(doubt), graphs
    return scope, "", graphs


def _proved(trial: Trial, graph: Graph, scope: str) -> str:
    """Prove one graph within a scope, or, where the given parameters alone are judged, for those.

    Raises:
        Unknown: no proof is found.
    """
    if scope == EVERY_PARAMETER:
        try:
            prove_monotone(graph)
        except Unknown:
            if trial.parameters == "redrawn":
                raise
        else:
            return scope
    prove_monotone(graph, graph.constants)
    return "these parameters"


def _graphs(trial: Trial, size: Size) -> Iterator[Graph]:
    """The graph in the mode in which the target was handed over; at the first size also in eval mode."""
    subject = trial.build(size)
    yield traced(subject, TRACED_ROWS)
    modules = modules_of(subject.function)
    if size == trial.sizes[0] and any(module.training for module in modules):
        for module in modules:
            module.eval()
        yield traced(subject, TRACED_ROWS)


def traced(subject: Subject, rows: int) -> Graph:
    """Trace a mixer at a batch of `rows`.

    Raises:
        Unknown: it cannot be traced.
    """
    if subject.numpy:
        raise Unknown(getattr(subject.function, "no_graph", "a target in numpy has no graph of torch operators"))
    inputs = subject.inputs((rows, subject.size["n_agents"]), (rows, subject.size["state_size"]))
    subject.tensor(*(value.double().numpy() for value in inputs))  # what the target caches by shape holds real numbers
    with default_dtype(subject.dtype):
        return trace(subject.function, *inputs)


def _falling_in_batch(bench: _Bench, draw: Draw) -> Counterexample | None:
    """Raise one utility in every row at once; where a row falls, raise it alone."""
    subject, utilities, state = bench.batch(draw)
    generator = np.random.default_rng(draw.seed + 1)
    agents = generator.integers(0, utilities.shape[1], len(utilities))
    deltas = generator.choice(DELTAS, len(utilities))
    bench.tally.add(draw.redraw, utilities, state, agents, deltas)
    raised = utilities.copy()
    raised[np.arange(len(raised)), agents] += deltas
    with subject.redrawn(draw.redraw):
        before, after = subject(utilities, state), subject(raised, state)
        with np.errstate(invalid="ignore"):
            noise = SAME_ROW[subject.precision] * (1.0 + np.abs(before) + np.abs(raised).max())
            suspects = np.flatnonzero(before - after > noise)
        for row in suspects[:8]:
            pair = _Pair(utilities, state, int(row), int(agents[row]), float(deltas[row]))
            found = _falling(subject, draw.redraw, pair)
            if found is not None:
                return _smaller_pair(bench.trial, subject, draw.redraw, pair, found)
    return None


def _falling_in_corner(bench: _Bench) -> Counterexample | None:
    """Search at own parameters, and at re-drawn ones where the architecture is judged."""
    redraws: list[Redraw | None] = [None]
    if bench.redraws:
        redraws += [Redraw(bench.trial.seed + offset, scale) for offset, scale in enumerate((0.5, 1.0, 2.0))]
    for index, subject in enumerate(bench.subjects):
        for redraw in redraws:
            with subject.redrawn(redraw):
                population = descend(subject, bench.trial.seed, bench.special[index])
                bench.tally.add(redraw, population.utilities, population.state, population.agent, population.delta)
                if rises(subject, population)[0] >= 0:
                    continue
                pair = _Pair(
                    population.utilities, population.state, 0, int(population.agent[0]), float(population.delta[0])
                )
                found = _falling(subject, redraw, pair)
                if found is not None:
                    return _smaller_pair(bench.trial, subject, redraw, pair, found)
    return None


def _smaller_pair(
    trial: Trial, subject: Subject, redraw: Redraw | None, pair: _Pair, original: Counterexample
) -> Counterexample:
    """The smallest batch that shows the fall, then the simplest numbers; the fall stays far above rounding."""
    n = pair.utilities.shape[1]
    own = pair.utilities[pair.row], pair.state[pair.row]
    for rows, row in dict.fromkeys([(1, 0), (2, 0), (2, 1), (3, 1), (len(pair.utilities), pair.row)]):
        alone = _Pair.alone(*own, pair.agent, pair.delta, rows, row)
        if _falling(subject, redraw, alone) is None:
            continue
        least = 1e-3 if _falling(subject, redraw, alone, least=1e-3) else 0.0

        def at(vector: Array, rows: int = rows, row: int = row, least: float = least) -> Counterexample | None:
            if not vector[-1] > 0:
                return None
            moved = _Pair.alone(vector[:n], vector[n:-1], pair.agent, float(vector[-1]), rows, row)
            return _falling(subject, redraw, moved, least)

        start = np.concatenate([*own, [pair.delta]])
        small = shrink(start, lambda vector: at(vector) is not None, seed=trial.seed, engine=trial.engine)
        return at(small) or original
    return original


def _interval_proof(bench: _Bench) -> bool:
    """Whether interval slopes are non-negative over all utilities and states, at the target's own parameters."""
    for subject in bench.subjects:
        n, s = subject.size["n_agents"], subject.size["state_size"]
        try:
            low, *_ = slopes(traced(subject, 1), _box(n), _box(s))
        except Unknown:
            return False
        if not bool((low >= 0).all()):
            return False
    return True


def _box(size: int, radius: float = INFINITY) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((1, size), -radius), torch.full((1, size), radius)


# --- vdn.additive -----------------------------------------------------------------------------------------------------


def _recheck_additive(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _not_additive(trial.build(size), None, np.array([case["utilities"]]), np.array([case["state"]]))


def _not_additive(subject: Subject, redraw: Redraw | None, utilities: Array, state: Array) -> Counterexample | None:
    value, total = subject(utilities, state), utilities.sum(axis=1)
    noise = ROUNDING[subject.precision] * np.minimum(1.0, np.abs(utilities).max(axis=1))
    noise = noise + ROUNDING[subject.precision] * np.abs(utilities).sum(axis=1)
    bad = np.flatnonzero(~(np.abs(value - total) <= noise))
    if not len(bad):
        return None
    row = int(bad[0])
    return Counterexample(
        subject.size,
        _json(redraw),
        plain({"utilities": utilities[row], "state": state[row]}),
        f"Q_tot = {value[row]:.9g}",
        f"Q_tot = sum of the utilities = {total[row]:.9g}",
    )


@claim(
    "vdn.additive",
    "Q_tot is the sum of the utilities.",
    roles=("vdn_mixer",),
    cite=f"{VDN}, eq. 3; Albrecht et al. 2024, Algorithm 21, line 16",
    method="slopes of exactly 1 and value 0 at 0, by interval arithmetic over all inputs; else sums of dyadic inputs",
    recheck=_recheck_additive,
    requires=SANE,
)
def additive(trial: Trial) -> Finding:
    """The plain sum: no weights, no bias, no state."""
    bench = _Bench(trial)

    def body(draw: Draw) -> Counterexample | None:
        subject, utilities, state = bench.batch(draw)
        if draw.seed % 4 == 1:  # whole numbers alone
            utilities = utilities.round()
        elif draw.seed % 4 == 3:  # far smaller than the rounding of what is usual
            utilities = utilities / 2.0**14
        bench.tally.add(draw.redraw, utilities, state)
        with subject.redrawn(draw.redraw):
            found = _not_additive(subject, draw.redraw, utilities, state)
            return found and _smaller_additive(trial, subject, draw.redraw, found)

    found = bench.both(body)
    if found is not None:
        return Finding(counterexample=found, method="exact sums", scope=bench.scope, examples=len(bench.tally))
    if all(_is_sum(subject) for subject in bench.subjects):
        scope = (
            "these parameters"
            if any(subject.parameters for subject in bench.subjects)
            else "architecture: every parameter"
        )
        return Finding(
            proved=True, method="interval slopes", scope=scope, examples=len(bench.tally), reason=_coverage(trial)
        )
    return Finding(method="exact sums", scope=bench.scope, examples=len(bench.tally))


def _smaller_additive(
    trial: Trial, subject: Subject, redraw: Redraw | None, found: Counterexample
) -> Counterexample | None:
    n = subject.size["n_agents"]

    def at(vector: Array) -> Counterexample | None:
        return _not_additive(subject, redraw, vector[None, :n], vector[None, n:])

    start = np.array([*found.case["utilities"], *found.case["state"]])
    if at(start) is None:  # wrong among other rows only: that is mixer.batch's to say
        return None
    return at(shrink(start, lambda vector: at(vector) is not None, seed=trial.seed, engine=trial.engine)) or found


def _is_sum(subject: Subject) -> bool:
    """Slopes of exactly 1 everywhere, and 0 at zero utilities in every state."""
    n, s = subject.size["n_agents"], subject.size["state_size"]
    try:
        graph = traced(subject, 1)
        low, high, *_ = slopes(graph, _box(n), _box(s))
        *_, least, most = slopes(graph, _box(n, 0.0), _box(s))
    except Unknown:
        return False
    return bool((low == 1).all() and (high == 1).all() and least == 0 and most == 0)


# --- qmix.state_used, qmix.bias_sign ----------------------------------------------------------------------------------


def _recheck_state_used(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _unused_state(_one_size(trial, size, case), 0)


def _unused_state(bench: _Bench, index: int) -> Counterexample | None:
    subject = bench.subjects[index]
    used, tried = False, 0
    for draw in _draws(bench, index):
        with subject.redrawn(draw.redraw):
            _, utilities, state = bench.batch(draw)
            bench.tally.add(draw.redraw, utilities, state)
            before, after = subject(utilities, state), subject(utilities, state[::-1].copy())
            used = used or not np.array_equal(before, after, equal_nan=True)
            tried += len(state)
        if used and len(bench.tally) >= 2 * ROWS:
            return None
    if used:
        return None
    return Counterexample(
        subject.size,
        None,
        {"states tried": tried, **bench.settings},
        f"Q_tot was the same in {tried} pairs of states at equal utilities",
        "some state changes Q_tot",
    )


@claim(
    "qmix.state_used",
    "The state changes Q_tot somewhere.",
    roles=("qmix_mixer",),
    cite=f"{QMIX}, section 4.1: hypernetworks take the state",
    method="search for one change; refuted where none is found in the stated number of pairs",
    recheck=_recheck_state_used,
    requires=SANE,
)
def state_used(trial: Trial) -> Finding:
    """The hypernetworks are wired to the state."""
    bench = _Bench(trial)
    found = next((hit for index in range(len(bench.subjects)) if (hit := _unused_state(bench, index))), None)
    return Finding(counterexample=found, method="search", scope=bench.scope, examples=len(bench.tally))


def _recheck_bias_sign(trial: Trial, size: Size, case: Mapping[str, Any]) -> Counterexample | None:
    return _one_sided(_one_size(trial, size, case), 0)


def _one_sided(bench: _Bench, index: int) -> Counterexample | None:
    """Look for both signs of Q_tot(0, z), and for a kink of Q_tot where all utilities are positive."""
    subject = bench.subjects[index]
    signs: set[float] = set()
    kink = False
    tried = 0
    for draw in _draws(bench, index):
        with subject.redrawn(draw.redraw):
            _, utilities, state = bench.batch(draw)
            bench.tally.add(draw.redraw, utilities, state)
            at_zero = subject(np.zeros_like(utilities), state)
            signs.update(np.sign(at_zero[np.isfinite(at_zero)]).tolist())
            kink = kink or _bends(subject, np.abs(utilities) / 4, state)
            tried += len(state)
        if {1.0, -1.0} <= signs and kink and len(bench.tally) >= 2 * ROWS:
            return None
    if {1.0, -1.0} <= signs and kink:
        return None
    missing = (
        "Q_tot is linear in the utilities wherever they are non-negative"
        if {1.0, -1.0} <= signs
        else f"Q_tot(0, z) is never {'positive' if 1.0 not in signs else 'negative'}"
    )
    return Counterexample(
        subject.size,
        None,
        {"states tried": tried, **bench.settings},
        f"{missing}, in {tried} states",
        "biases of both signs: Q_tot(0, z) takes both signs, and hidden units switch where all utilities are positive",
    )


def _bends(subject: Subject, utilities: Array, state: Array) -> bool:
    """Whether Q_tot has a non-zero second difference along some ray of non-negative utilities."""
    near, mid, far = (subject(utilities * factor, state) for factor in (0.0, 1.0, 2.0))
    with np.errstate(invalid="ignore"):
        noise = 100 * ROUNDING[subject.precision] * (1.0 + np.abs(near) + np.abs(mid) + np.abs(far))
        return bool((np.abs(far - 2 * mid + near) > noise).any())


@claim(
    "qmix.bias_sign",
    "The biases are unconstrained: Q_tot(0, z) takes both signs, and hidden units switch where all utilities are "
    "positive.",
    roles=("qmix_mixer",),
    cite=f"{QMIX}, section 4.1: biases are not restricted to be non-negative",
    method="search for both signs and for a bend; refuted where one is not found in the stated number of states: at a "
    "size with parameters drawn anew, else at all of several sizes",
    recheck=_recheck_bias_sign,
    requires=SANE,
)
def bias_sign(trial: Trial) -> Finding:
    """No absolute value on the biases."""
    bench = _Bench(trial)
    coarse = next((s.precision for s in bench.subjects if s.precision not in (torch.float64, torch.float32)), None)
    if coarse is not None:
        return Finding(not_applicable=f"In {str(coarse).removeprefix('torch.')} a bend cannot be told from rounding.")
    hits = [_one_sided(bench, index) for index in range(len(bench.subjects))]
    found = [hit for hit in hits if hit is not None]
    if not bench.redraws and found:  # one draw of unconstrained biases may well be one-sided
        if len(hits) == 1:
            return Finding(
                not_applicable="Biases that are free may have one sign in the parameters at hand: judge more than one "
                "size, or let parameters be drawn anew."
            )
        found = found if len(found) == len(hits) else []
    return Finding(
        counterexample=next(iter(found), None), method="search", scope=bench.scope, examples=len(bench.tally)
    )
