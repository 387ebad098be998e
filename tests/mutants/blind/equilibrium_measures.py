"""Measures of solvers of matrix games: small games, and their promises decided in rationals."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np

from ..target import Factory
from .common import NEVER, Array, as_array, in_kind

Exact = list[Fraction]
System = list[list[Fraction]]
Game = Array  # [n, A_1, .., A_n]

GENERAL: tuple[tuple[Any, Any], ...] = (
    ([[3, 0], [5, 1]], [[3, 5], [0, 1]]),  # one dominant action each
    ([[6, 2], [7, 0]], [[6, 7], [2, 0]]),
    ([[4, 0], [0, 1]], [[1, 0], [0, 3]]),
    ([[-1, -8], [-4, -3]], [[-5, -2], [-1, -7]]),
    ([[1, 0], [0.25, 0.5]], [[0.25, 0.75], [0.5, 0]]),
    ([[8, 0], [0, 0.25]], [[8, 0], [0, 0.25]]),  # the mixed equilibrium lies close to a pure one
    ([[1, -1], [-1, 1]], [[-1, 1], [1, -1]]),
    ([[1, -1], [0, 3]], [[2, 0], [3, 1]]),  # its first row is the last one's
    ([[4, 0], [0, 0.125]], [[0, 1], [1, 0]]),
    ([[2, 0], [2 + 2**-10, -6]], [[1, 0], [1, 0]]),
    ([[2, 5], [3, 4]], [[4, 1], [2, 3]]),
    ([[2, 0, 1], [0, 3, 1]], [[1, 0, 2], [3, 4, 1]]),
    ([[1, 4], [3, 2], [2, 2.75]], [[3, 1], [0, 2], [1, 4]]),
    ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ([[4, 1, 0], [2, 3, 1], [1, 2, 5]], [[3, 1, 2], [1, 4, 0], [2, 0, 6]]),
    ([[0, 2, 1], [1, 0, 2], [2, 1, 0]], [[0, 1, 2], [2, 0, 1], [1, 2, 0]]),
    ([[1.75, 1, 2], [2, 1.75, 1], [1, 2, 1.75]], [[1.75, 2, 1], [1, 1.75, 2], [2, 1, 1.75]]),
    ([[2, 1, 0, 5]], [[1, 3, 2, 0]]),
    ([[2], [7], [1]], [[0], [1], [0]]),
    ([[3]], [[-2]]),
    ([[1, 1], [1 + 2**-12, 1 + 2**-11]], [[1, 1 + 2**-11], [1, 1 + 2**-12]]),
    ([[8, 8], [8 - 2**-14, 8 + 2**-14]], [[7, 0], [7 + 2**-14, 1]]),
    ([[5 * 2**20, -(2**20)], [2**19, 3 * 2**20]], [[2**20, 2**22], [3 * 2**20, -(2**18)]]),
)
DEGENERATE: tuple[tuple[Any, Any], ...] = (
    ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ([[1, 0], [1, 1]], [[1, 1], [0, 1]]),
    ([[1, 1], [2, 0], [0, 2]], [[1, 1], [1, 0], [1, 0]]),
    ([[1, 2], [1, 2]], [[3, 0], [0, 3]]),
    ([[2, 2, 0], [2, 2, 0], [0, 0, 2]], [[1, -1, 0], [-1, 1, 0], [0, 0, 0.5]]),
)
# Of games with ties that have finitely many equilibria: each has these two among them.
ISOLATED: tuple[tuple[Any, tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]], ...] = (
    (DEGENERATE[1], (((1, 0), (1, 0)), ((0, 1), (0, 1)))),
    (DEGENERATE[2], (((1, 0, 0), (0.5, 0.5)), ((0, 1, 0), (1, 0)))),
)
ZERO_SUM: tuple[Any, ...] = (
    [[1, -1], [-1, 1]],
    [[8, -8], [-8, 7]],
    [[0, -1, 1], [1, 0, -1], [-1, 1, 0]],
    [[-3, -5], [-6, -2]],
    [[3, 1], [4, 2]],
    [[2, 3], [0, -4]],
    [[2, -1, 4], [0, 3, -2]],
    [[1, -2], [-1, 3], [0.5, 0]],
    [[0, 0], [0, 0]],
    [[4, 4], [4, -4]],
    [[5]],
    [[1, -7, 2]],
    [[2], [-3], [6]],
    [[6, 0, 0, 0], [0, 5, 0, 1], [0, 2, 4, 0], [1, 0, 0, 3]],
    [[3 * 2**20, -(2**20)], [-(2**21), 2**20]],
)
THREE: tuple[Any, ...] = (
    [[[[1, 0], [0, 2]], [[0, 3], [1, 1]]], [[[2, 1], [0, 4]], [[3, 0], [1, 2]]], [[[0, 5], [2, 1]], [[1, 0], [4, 3]]]],
    [[[[0, 1], [1, 0]], [[1, 0], [0, 1]]], [[[0, 0], [1, 1]], [[1, 1], [0, 0]]], [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]],
    [[[[4, 0], [0, 0]], [[0, 0], [0, 1]]]] * 3,
    # What all but the third would have is not the third's to keep.
    [[[[6, 0], [0, 0]], [[0, 0], [0, 1]]], [[[6, 0], [0, 0]], [[0, 0], [0, 1]]], [[[0, 1], [0, 1]], [[0, 1], [0, 1]]]],
)
# The highest sum of rewards that an equilibrium of the concept has, where it can be told by hand. Agents with two
# actions each have one deviation, and the two concepts are the same.
BOTH = ("correlated", "coarse_correlated")
WELFARE: tuple[tuple[tuple[str, ...], Any, float], ...] = (
    (BOTH, ([[6, 2], [7, 0]], [[6, 7], [2, 0]]), 10.5),
    (BOTH, ([[3, 0], [5, 1]], [[3, 5], [0, 1]]), 2),
    (BOTH, ([[4, 0], [0, 3]], [[0, 0], [0, 3]]), 6),
    (BOTH, ([[5, 0], [0, 3]], [[1, 0], [0, 4]]), 7),
    (BOTH, ([[-5, -8], [-8, -1]], [[2, -8], [-8, -1]]), -2),
    (BOTH, ([[-2]], [[-3]]), -5),
    (BOTH, THREE[2], 12),
    (BOTH, THREE[3], 3),
    (
        ("coarse_correlated",),
        ([[1.75, 1, 2], [2, 1.75, 1], [1, 2, 1.75]], [[1.75, 2, 1], [1, 1.75, 2], [2, 1, 1.75]]),
        3.5,
    ),
)


def drawn(seed: int, n: int, shapes: Sequence[tuple[int, ...]]) -> list[Game]:
    """Games of quarters; neighbours often share a shape."""
    generator = np.random.default_rng(seed)
    return [generator.integers(-16, 17, size=(n, *shape)) / 4 for shape in shapes]


TWO_SHAPES = ((2, 2), (2, 2), (3, 3), (3, 3), (2, 3), (3, 2), (4, 3), (3, 3), (2, 4))
THREE_SHAPES = ((2, 2, 2), (2, 2, 2), (2, 3, 2), (3, 2, 2), (3, 3, 2))


def rows_of(game: Game) -> tuple[System, System]:
    """Each agent's own payoffs in rationals, its own actions first."""
    return (
        [[Fraction(float(v)) for v in row] for row in game[0]],
        [[Fraction(float(v)) for v in row] for row in game[1].T],
    )


def solved(system: System) -> Exact | None:
    """The one solution of a square system with its right side in the last column; None where it is singular."""
    rows, size = [list(row) for row in system], len(system)
    for k in range(size):
        pivot = next((r for r in range(k, size) if rows[r][k]), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for r in range(size):
            if r != k:
                rows[r] = [v - rows[r][k] * w for v, w in zip(rows[r], rows[k], strict=True)]
    return [row[-1] for row in rows]


def corners(other: System, mine: int) -> Iterator[tuple[Exact, set[int]]]:
    """Vertices of {x >= 0, M x <= 1} by their tight rows: mine first, the other agent's best replies after them."""
    lowest = min(min(row) for row in other) - 1
    bounds = [[Fraction(-(k == j)) for j in range(mine)] + [Fraction(0)] for k in range(mine)]
    bounds += [[v - lowest for v in row] + [Fraction(1)] for row in other]
    for chosen in combinations(range(len(bounds)), mine):
        x = solved([bounds[k] for k in chosen])
        if x is None or not any(x):
            continue
        slack = [row[-1] - sum(v * w for v, w in zip(row, x, strict=False)) for row in bounds]
        if min(slack) >= 0:
            yield [v / sum(x) for v in x], {k for k, s in enumerate(slack) if s == 0}


@cache
def equilibria(key: bytes, m: int, n: int) -> tuple[bool, list[tuple[Exact, Exact]]]:
    """Whether a game of two is free of ties, and then all its equilibria: complementary vertices."""
    first, second = rows_of(np.frombuffer(key).reshape(2, m, n))
    mine, theirs = list(corners(second, m)), list(corners(first, n))
    free = all(len(tight) == m for _, tight in mine) and all(len(tight) == n for _, tight in theirs)
    theirs = [(y, {k + m if k < n else k - n for k in tight}) for y, tight in theirs]
    return free, [(x, y) for x, s in mine for y, t in theirs if len(s | t) == m + n]


def facts(game: Game) -> tuple[bool, list[tuple[Exact, Exact]]]:
    return equilibria(np.ascontiguousarray(game, dtype=np.float64).tobytes(), *game.shape[1:])


def games(function: Any) -> list[Game]:
    """The games that lie in what a solver declares."""
    domain, agents = getattr(function, "domain", "general"), tuple(getattr(function, "agents", (2,)))
    if domain == "zero_sum":
        first = [np.array(rows, dtype=np.float64) for rows in ZERO_SUM] + [g[0] for g in drawn(7, 1, TWO_SHAPES)]
        return [np.stack([rows, -rows]) for rows in first]
    found: list[Game] = []
    if 2 in agents:
        found += [np.array(game, dtype=np.float64) for game in (*GENERAL, *DEGENERATE)] + drawn(5, 2, TWO_SHAPES)
        found = [game for game in found if domain == "general" or facts(game)[0]]
    if 3 in agents:
        found += [np.array(game, dtype=np.float64) for game in THREE] + drawn(9, 3, THREE_SHAPES)
    return found


def asked(function: Any, game: Game) -> list[list[Array]] | None:
    """The answers as a list of equilibria, each a list of arrays; None where there is none or it has no such shape."""
    kept = getattr(function, "concept", "nash") == "nash"
    shapes = [(count,) for count in game.shape[1:]] if kept else [game.shape[1:]]
    try:
        answer = function(in_kind(function, game))
        many = [answer] if getattr(function, "answers", "one") == "one" else list(answer)
        found = [[as_array(part) for part in (one if kept else [one])] for one in many]
    except Exception:
        return None
    right = all([part.shape for part in one] == shapes and all(np.isfinite(p).all() for p in one) for one in found)
    return found if found and right else None


def lawful(part: Array) -> dict[tuple[int, ...], Fraction]:
    """Clipped at 0 and normalised, in rationals, by action."""
    weights = {where: Fraction(max(0.0, float(part[where]))) for where in np.ndindex(*part.shape)}
    total = sum(weights.values()) or Fraction(1)
    return {where: weight / total for where, weight in weights.items() if weight}


def joint(one: list[Array], n: int) -> dict[tuple[int, ...], Fraction]:
    """The distribution over joint actions, of a profile or as it was given."""
    if len(one) == 1 and one[0].ndim == n:
        return lawful(one[0])
    made: dict[tuple[int, ...], Fraction] = {}
    for combination in product(*(lawful(part).items() for part in one)):
        weight = Fraction(1)
        for _, part in combination:
            weight *= part
        made[tuple(where[0] for where, _ in combination)] = weight
    return made


def gain(game: Game, law: dict[tuple[int, ...], Fraction], i: int, told: int | None, to: int) -> Fraction:
    """What agent i gains by playing `to` wherever it was told `told`, or throughout."""
    total = Fraction(0)
    for where, weight in law.items():
        if told is None or where[i] == told:
            turned = (*where[:i], to, *where[i + 1 :])
            total += weight * (Fraction(float(game[(i, *turned)])) - Fraction(float(game[(i, *where)])))
    return total


def regret(function: Any, game: Game, one: list[Array]) -> float:
    """The largest gain of any agent, by the concept's deviations, beyond what was promised."""
    n, law = len(game), joint(one, len(game))
    conditional = getattr(function, "concept", "nash") == "correlated"
    best = Fraction(0)
    for i in range(n):
        # Conditional deviations may be combined: one for each action that an agent was told.
        for told in range(game.shape[i + 1]) if conditional else [None]:
            best = max(best, *(gain(game, law, i, told, to) for to in range(game.shape[i + 1])))
    scale = max(1.0, float(np.abs(game).max()) / 8)
    return max(0.0, float(best) / scale - float(getattr(function, "epsilon", 0.0)))


def over_games(measure: Callable[[Any, Game, list[list[Array]]], float]) -> Callable[[Factory], float]:
    """The worst case over all games, asked one after another of one function; what has no answer is not looked at."""

    def amount(factory: Factory) -> float:
        function, worst = factory(), 0.0
        for game in games(function):
            found = asked(function, game)
            worst = worst if found is None else max(worst, measure(function, game, found))
        return worst

    return amount


def worst_regret(function: Any, game: Game, found: list[list[Array]]) -> float:
    return max(regret(function, game, one) for one in found)


def unlawful(function: Any, game: Game, found: list[list[Array]]) -> float:
    """How far probabilities are from such."""
    parts = [part for one in found for part in one]
    return max(max(abs(float(part.sum()) - 1), -float(part.min()), 0.0) for part in parts)


def unanswered(factory: Factory) -> float:
    """NEVER where a game of the domain has no answer, or one of the wrong shape."""
    function = factory()
    return max(NEVER if asked(function, game) is None else 0.0 for game in games(function))


def distance(one: Sequence[Any], other: Sequence[Any]) -> float:
    return max(float(np.abs(as_array(a) - as_array(b)).max()) for a, b in zip(one, other, strict=True))


def known(function: Any) -> list[tuple[Game, list[Any]]]:
    """Games with equilibria that a list of all has to hold."""
    found = [(game, facts(game)[1]) for game in games(function) if facts(game)[0]]
    listed: list[tuple[Game, list[Any]]] = [
        (game, [[[float(v) for v in part] for part in one] for one in them]) for game, them in found
    ]
    if getattr(function, "domain", "general") == "general":
        listed += [(np.array(game, dtype=np.float64), list(them)) for game, them in ISOLATED]
    return listed


def missed(factory: Factory) -> float:
    """The largest distance of an equilibrium from all those listed, where all are promised."""
    function, worst = factory(), 0.0
    if getattr(function, "answers", "one") != "all":
        return 0.0
    for game, them in known(function):
        listed = asked(function, game) or []
        worst = max([worst, *(min((distance(one, other) for other in listed), default=NEVER) for one in them)])
    return worst


def short_of_the_best(factory: Factory) -> float:
    """What is missing of the highest welfare, where it is promised."""
    function, worst = factory(), 0.0
    if getattr(function, "objective", "") != "welfare":
        return 0.0
    for concepts, payoffs, best in WELFARE:
        game = np.array(payoffs, dtype=np.float64)
        if function.concept in concepts and len(game) in function.agents:
            found = asked(function, game)
            law = joint(found[0], len(game)) if found else {}
            total = sum(float(weight) * float(game[(slice(None), *where)].sum()) for where, weight in law.items())
            worst = max(worst, best - total) if found else worst
    return worst
