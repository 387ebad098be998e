"""Inputs: what the judge draws, and how a counterexample is made small.

Every number drawn is a dyadic rational (a small multiple of 1/4 or 1/64), so that float32 and float64 hold it
exactly. A draw fixes a kind, a scale and a seed; numpy fills a whole batch from it, and a whole batch is checked at a
time. hypothesis chooses the draws and shrinks what fails; the plain engine makes the same draws from a numpy
generator, for callers who are inside a hypothesis test of their own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample
from numpy.typing import NDArray

from marlspec.properties.clock import is_up
from marlspec.properties.trial import Engine, Redraw

Array = NDArray[Any]
T = TypeVar("T")
ROWS = 64
BUNDLE = 4
KINDS = ("lattice", "fine", "wide", "ties", "sparse", "extreme")
SCALES = (1.0, 8.0, 100.0)
REDRAW_SCALES = (0.1, 0.5, 1.0, 2.0)
EXTREMES = (-100.0, -8.0, -1.0, -0.25, 0.0, 0.25, 1.0, 8.0, 100.0)
SEEDS = 2**31 - 1
FARTHEST, FAR = 10_000.0, 100.0  # utilities and states for which Q_tot must be a number


@dataclass(frozen=True)
class Draw:
    """One batch to be filled.

    Attributes:
        size: index into the trial's sizes.
        kind: how utilities are spread (lattice, fine, wide, ties, sparse, extreme).
        scale: their magnitude.
        seed: of the numpy generator that fills the batch.
        redraw: parameters to write over the target's own, or None.
    """

    size: int
    kind: str
    scale: float
    seed: int
    redraw: Redraw | None


def draws(size: int, redraw: bool) -> st.SearchStrategy[Draw]:
    """Return the strategy over draws at one size; with `redraw`, every draw re-draws the parameters.

    Eight small integers make a draw: hypothesis mixes constants of the caller's own modules (large integers, fractions,
    bytes) into its choices, which would make verdicts differ from place to place, but leaves integers below 100 alone.
    """
    entropy = st.tuples(*[st.integers(0, 63)] * 8)
    return entropy.map(lambda seed: plain_draw(np.random.default_rng(seed), size, redraw))


def plain_draw(generator: np.random.Generator, size: int, redraw: bool) -> Draw:
    """Make one draw of the same distribution without hypothesis."""
    parameters = Redraw(int(generator.integers(SEEDS)), float(generator.choice(REDRAW_SCALES))) if redraw else None
    return Draw(
        size,
        str(generator.choice(KINDS)),
        float(generator.choice(SCALES)),
        int(generator.integers(SEEDS)),
        parameters,
    )


def for_each_draw(
    n_sizes: int, body: Callable[[Draw], T | None], *, examples: int, seed: int, engine: Engine, redraw: bool
) -> T | None:
    """Run `body` on about `examples` draws, size after size, and return the first result that is not None."""

    def bundle(draw: Draw) -> T | None:
        results = (body(one) for one in _bundle(draw) if not is_up())
        return next((result for result in results if result is not None), None)

    for size in range(n_sizes):
        bundles = -(-examples // (n_sizes * BUNDLE))
        if engine == "plain":
            generator = np.random.default_rng([seed, size])
            results = (bundle(plain_draw(generator, size, redraw)) for _ in range(bundles))
            found = next((result for result in results if result is not None), None)
        else:
            found = _with_hypothesis(draws(size, redraw), bundle, bundles, seed)
        if found is not None:
            return found
    return None


def _bundle(draw: Draw) -> Iterator[Draw]:
    """Several batches from one draw, of different kinds: choosing a draw costs more than checking a batch."""
    first = KINDS.index(draw.kind)
    for offset in range(BUNDLE):
        redraw = draw.redraw and replace(draw.redraw, seed=draw.redraw.seed + offset)
        yield replace(draw, kind=KINDS[(first + offset) % len(KINDS)], seed=draw.seed + offset, redraw=redraw)


class _Stop(Exception):
    """Ends a hypothesis run: a failure or an error was found."""


def _with_hypothesis(
    strategy: st.SearchStrategy[Draw], body: Callable[[Draw], T | None], examples: int, seed: int
) -> T | None:
    found: list[T] = []
    errors: list[Exception] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(strategy)
    def run(draw: Draw) -> None:
        if found or errors or is_up():
            raise _Stop
        try:
            result = body(draw)
        except Exception as error:
            errors.append(error)
            raise _Stop from error
        if result is not None:
            found.append(result)
            raise _Stop

    try:
        run()
    except _Stop:
        pass
    except Exception:
        if not errors and not found:
            raise
    if errors:
        raise errors[0] from None
    return found[0] if found else None


def fill(draw: Draw, shape: Sequence[int], state_size: int, special: Sequence[float] = ()) -> tuple[Array, Array]:
    """Fill a batch: utilities of the given shape [B, ..] and states [B, state_size], in dyadic numbers.

    `special` are numbers that stand in the target's own code; about an eighth of the entries lie on or beside one of
    them.
    """
    generator = np.random.default_rng(draw.seed)
    utilities = _spread(generator, draw.kind, draw.scale, tuple(shape))
    state = _spread(generator, "fine", min(draw.scale, 10.0), (shape[0], state_size))
    state[generator.random(shape[0]) < 0.1] = 0.0
    if special:
        for values in (utilities, state):
            chosen = generator.random(values.shape) < 0.125
            near = generator.choice(np.asarray(special), values.shape) + generator.choice(
                [-1.0, -0.25, 0.0, 0.25, 1.0], values.shape
            )
            values[chosen] = _dyadic(near)[chosen]
    return utilities, state


def reaching_far(draw: Draw, utilities: Array, state: Array, half: bool) -> tuple[Array, Array]:
    """Return a batch made far larger in every second draw, as returns and states are that nobody has scaled.

    Half precision has no room for that: there utilities stay within 100 and states within 10.
    """
    if draw.seed % 2 and not half:
        return (64 * utilities).clip(-FARTHEST, FARTHEST), (8 * state).clip(-FAR, FAR)
    return utilities.clip(-100, 100), state.clip(-10, 10)


def _spread(generator: np.random.Generator, kind: str, scale: float, shape: tuple[int, ...]) -> Array:
    if kind == "lattice":
        return generator.integers(-8, 9, shape) / 4 * max(1.0, scale / 4)
    if kind == "wide":
        return _dyadic(scale * generator.standard_normal(shape))
    if kind == "ties":
        row = generator.integers(-8, 9, (shape[0], *([1] * (len(shape) - 1)))) / 4 * max(1.0, scale / 4)
        return np.where(generator.random(shape) < 0.8, row, generator.integers(-8, 9, shape) / 4)
    if kind == "sparse":
        return np.where(generator.random(shape) < 0.3, _dyadic(scale * generator.uniform(-1, 1, shape)), 0.0)
    if kind == "extreme":
        return np.asarray(generator.choice(EXTREMES, shape))
    return _dyadic(scale * generator.uniform(-1, 1, shape))


def _dyadic(values: Array) -> Array:
    return np.round(values * 64) / 64


# --- shrinking --------------------------------------------------------------------------------------------------------

_SHRINK_EXAMPLES = 200


def shrink(start: Array, fails: Callable[[Array], bool], *, seed: int, engine: Engine) -> Array:
    """Return a small vector that still fails: hypothesis looks for one afresh; if it finds none, `start` is simplified.

    Args:
        start: a failing vector, shape [m].
        fails: whether a vector is still a counterexample.
        seed: of hypothesis's choices.
        engine: with "plain", only the simplification is tried.
    """
    best = simplified(start, fails)
    if engine == "plain" or _cost(best) <= 2 or is_up():
        return best
    fraction = st.tuples(st.integers(-99, 99), st.integers(0, 63)).map(lambda parts: parts[0] + parts[1] / 64)
    number = st.one_of(st.integers(-8, 8).map(float), fraction)
    vectors = st.lists(number, min_size=len(start), max_size=len(start)).map(np.array)
    try:
        found = hypothesis.find(
            vectors,
            lambda vector: not is_up() and fails(vector),
            settings=settings(
                max_examples=_SHRINK_EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
            ),
            random=Random(seed),
        )
    except (NoSuchExample, Flaky):  # Flaky: the target changes its answers, which is another claim's to say
        return best
    return min((best, simplified(found, fails)), key=_cost)


def simplified(start: Array, fails: Callable[[Array], bool]) -> Array:
    """Make the entries of a failing vector simpler one at a time, as long as it still fails."""
    current = start.copy()
    improved = True
    while improved:
        improved = False
        for index in range(len(current)):
            for value in simpler(float(current[index])):
                candidate = current.copy()
                candidate[index] = value
                if is_up():
                    return current
                if fails(candidate):
                    current, improved = candidate, True
                    break
    return current


def simpler(value: float) -> list[float]:
    """Candidates that are strictly simpler than `value`, the simplest first."""
    candidates = [
        0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        float(round(value / 2)),
        float(int(value)),
        float(round(value)),
        round(value * 4) / 4,
    ]
    return [candidate for candidate in dict.fromkeys(candidates) if _complexity(candidate) < _complexity(value)]


def _complexity(value: float) -> float:
    """0 for 0, small for small integers, larger for large numbers and for many binary digits."""
    digits = 0 if float(value).is_integer() else 4 if float(value * 4).is_integer() else 16
    return abs(value) + digits + (0.5 if value < 0 else 0.0)


def _cost(vector: Array) -> float:
    return sum(_complexity(float(value)) for value in vector)


class Tally:
    """Counts distinct inputs."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, redraw: Redraw | None, *columns: Array) -> None:
        """Count the rows of a batch: arrays with one leading batch dimension, side by side."""
        rows = np.concatenate([np.asarray(column, dtype=float).reshape(len(column), -1) for column in columns], axis=1)
        raw = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * 8}").ravel().tolist()
        self._seen.update(hash((redraw, row)) for row in raw)

    def __len__(self) -> int:
        return len(self._seen)


def plain(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case as lists and numbers, for JSON."""
    return {
        name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value for name, value in case.items()
    }
