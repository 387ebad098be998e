"""Agents on goals: a team is paid only when all its agents stand on their goals in the same step."""

from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import Number
from marlspec.games.stochastic import StochasticGame

CITATION = (
    "after the grid task with which lecture notes on multi-agent reinforcement learning explain credit assignment: "
    "+10 for the team when all of its four agents are on a goal cell at the same step; grid, goals and moves are this "
    "project's choice"
)
ACTIONS = ("stay", "east", "south")
REWARD = 10
MAX_TRANSITIONS = 200_000


def goals(n_agents: int = 4, rows: int = 2, columns: int = 2, gamma: Number = Fraction(9, 10)) -> StochasticGame:
    """The game in which all agents must stand on their goals at once.

    The grid wraps around, so that three actions (stay, east, south) reach every cell, and four agents are few enough
    for exact arrays. Agents may share a cell and never hinder each other: they depend on each other through the reward
    alone. Agent i's goal is cell i, counted row by row and starting over where there are fewer cells than agents. It
    begins half a grid to the north and west of its goal, so all can arrive after rows // 2 + columns // 2 steps.
    Every agent receives 10 in the step in which all arrive, which ends the episode, and 0 before.

    Args:
        n_agents: number of agents n.
        rows: height of the grid.
        columns: width of the grid; there must be at least two cells.
        gamma: the discount.

    Raises:
        InputError: fewer than one agent or two cells, or a game too large for exact arrays.
    """
    n_cells = rows * columns
    if n_agents < 1 or rows < 1 or columns < 1 or n_cells < 2:
        raise InputError(f"{n_agents} agents on {rows}x{columns} cells: at least one agent and two cells are needed")
    if (n_cells * len(ACTIONS)) ** n_agents > MAX_TRANSITIONS:
        raise InputError(
            f"{n_agents} agents on {rows}x{columns} cells have more than {MAX_TRANSITIONS} pairs of a state and a "
            "joint action, too many for an exact game: take fewer agents or cells"
        )
    targets = [i % n_cells for i in range(n_agents)]
    origins = [_shifted(cell, -(rows // 2), -(columns // 2), rows, columns) for cell in targets]
    shape = (n_cells,) * n_agents
    success = int(np.ravel_multi_index(targets, shape))
    successors = _successors(n_agents, rows, columns)
    successors[success] = success
    arrives = successors == success
    arrives[success] = False
    n_states = prod(shape)
    initial = np.zeros(n_states, dtype=np.int64)
    initial[np.ravel_multi_index(origins, shape)] = 1
    return StochasticGame.from_outcomes(
        successors[..., None],
        np.ones((*successors.shape, 1), dtype=np.int64),
        np.stack([REWARD * arrives.astype(np.int64)] * n_agents),
        initial,
        np.arange(n_states) == success,
        gamma=gamma,
        name=f"Goals({n_agents} agents, {rows}x{columns})",
        citation=CITATION,
        action_labels=[ACTIONS] * n_agents,
        state_labels=[_label(cells, columns) for cells in np.ndindex(*shape)],
    )


def _shifted(cell: int, down: int, right: int, rows: int, columns: int) -> int:
    """The cell so many rows below and columns to the right, on the grid that wraps around."""
    row, column = divmod(cell, columns)
    return (row + down) % rows * columns + (column + right) % columns


def _successors(n_agents: int, rows: int, columns: int) -> NDArray[np.int64]:
    """The state after each state and joint action [S, 3, .., 3]: every agent moves on its own."""
    n_cells = rows * columns
    moves = [(0, 0), (0, 1), (1, 0)]
    step = np.array([[_shifted(cell, *move, rows, columns) for move in moves] for cell in range(n_cells)])
    states = np.indices((n_cells,) * n_agents).reshape(n_agents, -1, *[1] * n_agents)
    actions = np.indices((len(ACTIONS),) * n_agents)[:, None]
    after = step[states, actions]
    joint: NDArray[np.int64] = np.ravel_multi_index(tuple(after), (n_cells,) * n_agents)
    return joint


def _label(cells: tuple[int, ...], columns: int) -> str:
    return " ".join(f"({cell // columns},{cell % columns})" for cell in cells)
