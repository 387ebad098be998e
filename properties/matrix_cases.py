"""Normal-form games as cases: which ones the judge hands to solvers and checks, and what makes one smaller.

A case holds payoffs [n, A_1, .., A_n] as nested lists of dyadic numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.properties.cases import simpler_numbers, without
from marlspec.properties.procedure import Procedure
from marlspec.properties.trial import TargetError
from marlspec.properties.verdicts import compact

Array = NDArray[Any]
Case = Mapping[str, Any]
LARGEST = 8.0  # of the drawn payoffs; epsilon is promised for these
MOST_ACTIONS = {1: 4, 2: 4, 3: 3, 4: 2, 5: 2}  # by the number of agents
NAMED = (
    "climbing",
    "penalty",
    "qtran",
    "or",
    "stag-hunt",
    "prisoners-dilemma",
    "chicken",
    "battle-of-the-sexes",
    "coordination",
    "coordination:2x3",
    "coordination:3x2",
    "matching-pennies",
    "rock-paper-scissors",
)

# Two agents: table of agent 1, table of agent 2.
BIMATRICES = (
    ([[0]], [[0]]),
    ([[1, 3, 3]], [[2, 2, 0]]),
    ([[1], [3], [3]], [[2], [2], [0]]),
    ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ([[5, 5, 5], [5, 5, 5]], [[-3, -3, -3], [-3, -3, -3]]),
    ([[1, 1], [1, 0]], [[1, 0], [1, 0]]),  # weakly dominated actions
    ([[3, 3], [2, 5], [0, 6]], [[3, 3], [2, 6], [3, 1]]),  # one mix of agent 1 has two best responses too many
    ([[1, 0], [1, 0]], [[1, 1], [0, 0]]),  # nobody's own action matters to itself
    ([[2, -1, 0], [-1, 2, 0]], [[-1, 2, 0], [2, -1, 0]]),
    ([[4, 1, 3, -2], [0, 3, -1, 2]], [[-2, 1, 0, 2], [3, 0, 1, -1]]),
    ([[4, 0], [1, 3], [3, -1], [-2, 2]], [[-2, 3], [1, 0], [0, 1], [2, -1]]),
    ([[-8, -7], [-7, -8]], [[-7, -8], [-8, -7]]),
    ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ([[7.75, 0], [0, 0.25]], [[7.75, 0], [0, 0.25]]),  # a mixed equilibrium 1/32 from a pure one
    ([[0, 1], [2.0**-11, 1 + 2.0**-11]], [[1, 0], [1, 0]]),  # one action is better, by little
)

# Zero-sum: the table of agent 1.
TABLES = (
    [[0]],
    [[2, -1, 2]],
    [[1], [0], [1]],
    [[0, 0], [0, 0]],
    [[-5, -5, -5], [-5, -5, -5]],
    [[1, -1], [1, -1], [-1, 1]],  # matching pennies, one action twice
    [[0, 0], [1, -2], [-2, 1]],  # agent 1 plays one action, agent 2 has to mix
    [[3, -2, 4, 1], [-1, 4, -3, 2]],
    [[-6, -4], [-3, -7], [-5, -5]],
    [[2, 1], [4, 3]],  # solved by dominance
    [[0, 2, -3, 1], [-2, 0, 1, 4], [3, -1, 0, -2], [-1, -4, 2, 0]],
)

# Three agents: the rewards (u_1, u_2, u_3) of each joint action, nested in the order of the agents.
THREE_AGENTS = (
    [[[(0, 0, 0)] * 2] * 2] * 2,
    [[[(1, 1, -1), (1, -1, 1)], [(-1, 1, 1), (-1, -1, -1)]], [[(-1, -1, -1), (-1, 1, 1)], [(1, -1, 1), (1, 1, -1)]]],
    [[[(2, 2, 2), (1, 1, 4)], [(1, 4, 1), (0, 3, 3)]], [[(4, 1, 1), (3, 0, 3)], [(3, 3, 0), (1, 1, 1)]]],
    [[[(0, 0, 0), (0, 0, 1)], [(0, 1, 0), (1, 0, 0)]], [[(1, 0, 0), (0, 1, 0)], [(0, 0, 1), (0, 0, 0)]]],
    [[[(1, 2, 3)], [(0, 4, 1)], [(2, 2, 2)]], [[(3, 0, 1)], [(1, 1, 1)], [(0, 5, 2)]]],
)


def payoffs_of(case: Case) -> Array:
    """Return a case's payoffs, float64 [n, A_1, .., A_n]."""
    return np.array(case["payoffs"], dtype=np.float64)


def game_of(case: Case) -> NormalFormGame:
    """Return a case's game."""
    return NormalFormGame(payoffs_of(case), name="the game")


def case_of(payoffs: Any) -> dict[str, Any]:
    """Return the case of payoffs."""
    return {"payoffs": np.asarray(payoffs, dtype=np.float64).tolist()}


def numbers_of_agents(target: Procedure, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of agents that a target declares to take.

    Raises:
        TargetError: the attribute `agents` is none of the numbers that the judge draws games for.
    """
    declared = target.declared("agents", default)
    agents = (declared,) if isinstance(declared, int) else declared
    if not isinstance(agents, (tuple, list)) or not agents or any(count not in MOST_ACTIONS for count in agents):
        raise TargetError(
            f"the target declares agents = {declared!r}; write the numbers of agents that it takes, from "
            f"{min(MOST_ACTIONS)} to {max(MOST_ACTIONS)}, as in agents = (2, 3)"
        )
    return tuple(agents)


def chosen(target: Procedure, name: str, default: str, known: Sequence[str]) -> str:
    """Return a declared word, one of those known.

    Raises:
        TargetError: it is another one.
    """
    value = target.declared(name, default)
    if value not in known:
        raise TargetError(f"the target declares {name} = {value!r}; the judge knows {', '.join(map(repr, known))}")
    return str(value)


def asked(target: Procedure, payoffs: Array, *more: Any) -> Any:
    """Call a target; what goes wrong is reported with the game.

    Raises:
        TargetError: it raised, or wrote into its arguments.
    """
    try:
        return target(payoffs, *more)
    except TargetError as error:
        raise TargetError(f"{error}, with payoffs = {compact(payoffs.tolist())}", error.details) from error


def profile_text(profile: Sequence[Any]) -> str:
    """Write a profile as ([1/2, 1/2], [0, 1])."""
    mixes = ("[" + ", ".join(number_text(value) for value in mix) + "]" for mix in profile)
    return f"({', '.join(mixes)})"


def number_text(value: Any) -> str:
    """Write a short fraction as it is, anything else with six digits."""
    if isinstance(value, Fraction) and value.denominator <= 10**6:
        return str(value)
    return f"{float(value) + 0.0:.6g}"  # no -0


# --- fixed games ------------------------------------------------------------------------------------------------------


def hard_games(agents: Sequence[int], *, zero_sum: bool = False, large: bool = True) -> list[Case]:
    """Return the fixed games for any of the given numbers of agents, those that random draws seldom hit, small first.

    Args:
        agents: numbers of agents.
        zero_sum: only zero-sum games for two agents.
        large: whether payoffs may leave [-8, 8]; where not, games are scaled by powers of two.
    """
    games = [*map(named_game, NAMED), *map(_zero_sum, TABLES), *map(np.array, BIMATRICES), np.array([[1, 3, 3, -2]])]
    games += [np.moveaxis(np.array(rewards), -1, 0) for rewards in THREE_AGENTS]
    if large:
        games += [named_game("climbing") * 2.0**20, named_game("rock-paper-scissors") * 2.0**20]
        games += [named_game("chicken") + 2.0**20, named_game("climbing") - 2.0**12]
    fitting = [game for game in games if len(game) in agents and (not zero_sum or not game.sum(axis=0).any())]
    return [case_of(game if large else _within_range(game)) for game in sorted(fitting, key=np.size)]


def named_game(name: str) -> Array:
    """Return the payoffs of a game of the catalogue as float64."""
    game = get(name)
    assert isinstance(game, NormalFormGame)
    return game.payoffs.astype(np.float64)


def _zero_sum(table: Any) -> Array:
    return np.array([table, 0 - np.array(table)])


def _within_range(payoffs: Array) -> Array:
    scaled: Array = payoffs.astype(np.float64)
    while np.abs(scaled).max() > LARGEST:
        scaled = scaled / 2
    return scaled


# --- drawn games ------------------------------------------------------------------------------------------------------

KINDS = ("lattice", "fine", "ties", "dominated", "lattice", "common", "zero_sum", "twins", "negative", "bystanders")


def drawn_shape(generator: np.random.Generator, agents: Sequence[int]) -> tuple[int, ...]:
    """Draw numbers of actions (A_1, .., A_n); a single action is rare."""
    n = int(generator.choice(np.asarray(agents)))
    counts = np.arange(1, MOST_ACTIONS[n] + 1)
    weights = np.where(counts == 1, 0.2, 1.0)
    return tuple(int(count) for count in generator.choice(counts, n, p=weights / weights.sum()))


def drawn_game(
    generator: np.random.Generator, k: int, agents: Sequence[int], *, zero_sum: bool = False
) -> dict[str, Any]:
    """Draw the k-th game: payoffs in [-8, 8], multiples of 1/4 or of 1/64."""
    shape = drawn_shape(generator, agents)
    kind = KINDS[k % len(KINDS)]
    if zero_sum or (kind == "zero_sum" and len(shape) == 2):
        (table,) = _tables(generator, kind, (1, *shape))
        return case_of(np.stack([table, 0 - table]))
    return case_of(_tables(generator, kind, (len(shape), *shape)))


def _tables(generator: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Array:
    """Draw tables [n, A_1, ..]; n may be less than the number of the other axes."""
    tables: Array = generator.integers(-32, 33, shape) / 4
    if kind == "fine":
        return generator.integers(-512, 513, shape) / 64
    if kind == "ties":
        return generator.integers(-1, 2, shape).astype(np.float64)
    if kind == "negative":
        return -np.abs(tables)
    if kind == "common":
        return np.broadcast_to(tables[:1], shape).copy()
    if kind == "bystanders":  # nobody's own action matters to itself
        means = [np.broadcast_to(table.take([0], axis=i), table.shape) for i, table in enumerate(tables)]
        return np.stack(means)
    if kind in ("dominated", "twins"):
        _make_alike(generator, tables, lower=kind == "dominated")
    return tables


def _make_alike(generator: np.random.Generator, tables: Array, lower: bool) -> None:
    """Let an agent's last action pay everyone as its first does; lower: itself less, or as much, everywhere."""
    i = int(generator.integers(tables.ndim - 1))
    by_action = np.moveaxis(tables, i + 1, 1)
    by_action[:, -1] = by_action[:, 0]
    if lower and i < len(tables) and tables.shape[i + 1] > 1:
        less = generator.choice([0.0, 0.0, 0.25, 1.0], by_action[i, -1].shape)
        by_action[i, -1] = np.maximum(by_action[i, -1] - less, -LARGEST)


# --- smaller games ----------------------------------------------------------------------------------------------------


def smaller_games(case: Case, agents: Sequence[int], *, zero_sum: bool = False) -> Iterator[Case]:
    """Yield games that are simpler: fewer agents, fewer actions, simpler numbers."""
    payoffs = payoffs_of(case)
    if len(payoffs) - 1 in agents:
        for i in range(len(payoffs)):
            yield case_of(np.delete(payoffs, i, axis=0).take(0, axis=i + 1))
    for i, count in enumerate(payoffs.shape[1:]):
        for action in range(count if count > 1 else 0):
            yield without(case, {"payoffs": [i + 1]}, action)
    if zero_sum:
        for simple in simpler_tables({"payoffs": payoffs[0].tolist()}):
            table = payoffs_of(simple)
            yield case_of(np.stack([table, 0 - table]))
        return
    yield from simpler_tables(case)


def simpler_tables(case: Case) -> Iterator[Case]:
    """Yield the case with simpler payoffs: first all numbers at once, then one at a time."""
    payoffs = payoffs_of(case)
    for simple in (np.sign(payoffs), np.round(payoffs / 4), np.round(payoffs / 2), np.round(payoffs)):
        if np.abs(simple).sum() < np.abs(payoffs).sum() or not (payoffs == np.round(payoffs)).all():
            yield {**case, "payoffs": (simple + 0.0).tolist()}
    yield from simpler_numbers(case, ["payoffs"])
