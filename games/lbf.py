"""Level-based foraging on a small grid, as an exact stochastic game."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction, Number
from marlspec.games.reachable import reachable_game
from marlspec.games.stochastic import StochasticGame

CITATION = (
    "Albrecht and Ramamoorthy, A Game-Theoretic Model and Best-Response Learning Method for Ad Hoc Coordination in "
    "Multiagent Systems, AAMAS 2013; Papoudakis et al., Benchmarking Multi-Agent Deep Reinforcement Learning "
    "Algorithms in Cooperative Tasks, NeurIPS 2021, arXiv 2006.07869"
)

Cell = tuple[int, int]
Placement = tuple[Sequence[Cell], Sequence[Cell]]

DIRECTIONS: dict[str, Cell] = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
ACTIONS = ("none", *DIRECTIONS, "load")
LOAD = ACTIONS.index("load")
CORNERS: Placement = ([(0, 0), (2, 2)], [(1, 1)])


class Item(NamedTuple):
    """An item of food: where it lies, and which level it takes to collect it."""

    cell: Cell
    level: int


class Field(NamedTuple):
    """A state: where the players stand, and the items that are left. Without items it is empty: the episode is over."""

    players: tuple[Cell, ...]
    items: tuple[Item, ...]


class Rules(NamedTuple):
    """What stays the same in all episodes; food is the sum of the items' levels at the start."""

    rows: int
    columns: int
    levels: tuple[int, ...]
    food: int
    common_reward: bool


def foraging(
    *,
    rows: int = 3,
    columns: int = 3,
    player_levels: Sequence[int] = (1, 1),
    item_levels: Sequence[int] = (2,),
    placements: Sequence[Placement] = (CORNERS,),
    cooperative: bool = True,
    common_reward: bool = True,
    gamma: Number = Fraction(99, 100),
) -> StochasticGame:
    """Level-based foraging: players walk over a grid and collect food together, each item worth its level.

    All players act at once, with the actions none, north, south, west, east and load.

    - A move succeeds onto a cell of the grid that is free of players and items at the start of the step and that no
      other player wants to enter. Otherwise the player stays. So a cell that is being left cannot be entered yet, and
      two players cannot change places. (The environment commonly used with learners lets a player enter a cell that
      is left in the same step; two players then share a cell where the one who wanted to leave is stopped.)
    - A player that loads does so at the first item beside it, in the order north, south, west, east. An item is
      collected when the levels of the players that load at it sum to its level or more.
    - The players that collect an item share its level in proportion to their own levels, over the sum of the levels of
      all items, so that all the food of an episode is worth 1. With a common reward every player receives the sum of
      what all receive.

    The episode ends when all items are collected.

    Args:
        rows: height of the grid.
        columns: width of the grid.
        player_levels: the level of each player, positive.
        item_levels: the level of each item, positive.
        placements: where players and items begin, each a pair (cells of the players, cells of the items); a cell is
            (row, column) from the top left. Several are equally likely.
        cooperative: whether every item must need all players together; its level is then the sum of theirs.
        common_reward: whether all players receive the same reward.
        gamma: the discount.

    Raises:
        InputError: no grid, player, item or placement; a level that is not positive; an item of a cooperative game that
            some of the players can collect alone; cells outside of the grid or taken twice; items that cannot all be
            collected; a game too large for exact arrays.
    """
    _check_levels(rows, columns, player_levels, item_levels)
    if cooperative:
        _check_cooperation(player_levels, item_levels)
    starts = [_field(placement, k, player_levels, item_levels, rows, columns) for k, placement in enumerate(placements)]
    if not starts:
        raise InputError("placements is empty: name at least one way to place the players and the items")
    rules = Rules(rows, columns, tuple(player_levels), sum(item_levels), common_reward)
    kind = ", cooperative" if cooperative else ""
    game = reachable_game(
        starts,
        lambda field, actions: step(rules, field, actions),
        lambda field: not field.items,
        [ACTIONS] * len(player_levels),
        _label,
        gamma=gamma,
        name=f"Foraging({rows}x{columns}, {len(player_levels)} players, {len(item_levels)} items{kind})",
        citation=CITATION,
    )
    if not game.terminal.any():
        raise InputError(
            "no play collects all items: lower their levels, or place them where enough players can stand beside them"
        )
    return game


def step(rules: Rules, field: Field, actions: JointAction) -> tuple[Field, list[int | Fraction]]:
    """Return the next state and every player's reward."""
    groups = _groups(field, actions)
    strength = {item: sum(rules.levels[i] for i in group) for item, group in groups.items()}
    collected = {item: group for item, group in groups.items() if strength[item] >= item.level}
    rewards: list[int | Fraction] = [0] * len(actions)
    for item, group in collected.items():
        for i in group:
            rewards[i] += Fraction(item.level * rules.levels[i], strength[item] * rules.food)
    if rules.common_reward:
        rewards = [sum(rewards)] * len(actions)
    left = tuple(item for item in field.items if item not in collected)
    return (Field(_moved(rules, field, actions), left) if left else Field((), ())), rewards


def _groups(field: Field, actions: JointAction) -> dict[Item, list[int]]:
    """The players that load at each item: at the first item beside them."""
    groups: dict[Item, list[int]] = {}
    for i, cell in enumerate(field.players):
        item = _first_beside(field, cell) if actions[i] == LOAD else None
        if item is not None:
            groups.setdefault(item, []).append(i)
    return groups


def _first_beside(field: Field, cell: Cell) -> Item | None:
    items = {item.cell: item for item in field.items}
    beside = [(cell[0] + down, cell[1] + right) for down, right in DIRECTIONS.values()]
    return next((items[neighbour] for neighbour in beside if neighbour in items), None)


def _moved(rules: Rules, field: Field, actions: JointAction) -> tuple[Cell, ...]:
    wanted = [_wanted(cell, action) for cell, action in zip(field.players, actions, strict=True)]
    taken = {*field.players, *(item.cell for item in field.items)}
    free = [
        0 <= row < rules.rows and 0 <= column < rules.columns and (row, column) not in taken for row, column in wanted
    ]
    return tuple(
        target if free[i] and wanted.count(target) == 1 else field.players[i] for i, target in enumerate(wanted)
    )


def _wanted(cell: Cell, action: int) -> Cell:
    down, right = DIRECTIONS.get(ACTIONS[action], (0, 0))
    return cell[0] + down, cell[1] + right


def _label(field: Field) -> str:
    if not field.items:
        return "all collected"
    players = " ".join(f"({row},{column})" for row, column in field.players)
    items = " ".join(f"({row},{column}):{level}" for (row, column), level in field.items)
    return f"players {players} items {items}"


def _check_levels(rows: int, columns: int, player_levels: Sequence[int], item_levels: Sequence[int]) -> None:
    if rows < 1 or columns < 1:
        raise InputError(f"a grid of {rows} rows and {columns} columns: at least one of each is needed")
    for what, levels in (("player_levels", player_levels), ("item_levels", item_levels)):
        if not levels:
            raise InputError(f"{what} is empty: at least one level is needed")
        for k, level in enumerate(levels):
            if isinstance(level, bool) or not isinstance(level, int) or level < 1:
                raise InputError(f"{what}[{k}] is {level!r}: a level is a positive integer")


def _check_cooperation(player_levels: Sequence[int], item_levels: Sequence[int]) -> None:
    everyone = sum(player_levels)
    for k, level in enumerate(item_levels):
        if level != everyone:
            raise InputError(
                f"item_levels[{k}] is {level}, but in a cooperative game an item needs all players together: make it "
                f"{everyone}, the sum of their levels, or set cooperative=False"
            )


def _field(
    placement: Placement, k: int, player_levels: Sequence[int], item_levels: Sequence[int], rows: int, columns: int
) -> Field:
    players, cells = placement
    for what, given, wanted in (("players", players, player_levels), ("items", cells, item_levels)):
        if len(given) != len(wanted):
            raise InputError(f"placements[{k}] places {len(given)} {what}, but there are {len(wanted)}")
    seen: set[Cell] = set()
    for cell in chain(players, cells):
        row, column = cell
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(f"placements[{k}] names cell {cell}: the grid has {rows} rows and {columns} columns")
        if cell in seen:
            raise InputError(f"placements[{k}] names cell {cell} twice: a cell holds one player or one item")
        seen.add((row, column))
    items = sorted(Item((row, column), level) for (row, column), level in zip(cells, item_levels, strict=True))
    return Field(tuple((row, column) for row, column in players), tuple(items))
