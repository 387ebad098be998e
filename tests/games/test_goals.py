from fractions import Fraction

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.games.goals import ACTIONS, goals
from marlspec.games.simulation import play


def test_the_four_agents_of_the_source_are_paid_when_all_are_on_their_goals():
    game = goals()
    assert (game.n_agents, game.n_actions, game.n_states) == (4, (3,) * 4, 256)
    assert game.exact
    assert game.is_common_reward
    assert game.action_labels[0] == ACTIONS == ("stay", "east", "south")
    (success,) = np.flatnonzero(game.terminal)
    assert game.state_labels[success] == "(0,0) (0,1) (1,0) (1,1)"
    assert game.state_labels[int(np.flatnonzero(game.initial)[0])] == "(1,1) (1,0) (0,1) (0,0)"
    arrives = (game.successors[..., 0] == success) & ~game.terminal.reshape(-1, 1, 1, 1, 1)
    assert np.array_equal(game.shared_reward()[..., 0], 10 * arrives)
    assert arrives.any()


def moved(cell, action, rows, columns):
    row, column = divmod(cell, columns)
    return (row + (action == 2)) % rows * columns + (column + (action == 1)) % columns


@pytest.mark.parametrize("size", [(1, 1, 2), (2, 2, 2), (2, 2, 3), (3, 1, 3), (2, 3, 1)])
def test_every_agent_moves_on_its_own_and_the_grid_wraps_around(size):
    n_agents, rows, columns = size
    game = goals(*size)
    cells = list(np.ndindex(*[rows * columns] * n_agents))
    for s, own in enumerate(cells):
        for a in game.joint_actions():
            after = tuple(moved(cell, action, rows, columns) for cell, action in zip(own, a, strict=True))
            expected = own if game.terminal[s] else after
            assert cells[game.successors[(s, *a, 0)]] == expected


@pytest.mark.parametrize(
    ("size", "steps"), [((4, 2, 2), 2), ((2, 2, 2), 2), ((2, 2, 3), 2), ((3, 1, 2), 1), ((2, 3, 3), 2)]
)
def test_the_best_play_arrives_after_half_a_grid(size, steps):
    game = goals(*size, gamma=Fraction(1, 2)).as_float64()
    values = np.zeros(game.n_states)
    for _ in range(60):
        q = game.shared_reward()[..., 0] + game.gamma * values[game.successors[..., 0]]
        values = q.reshape(game.n_states, -1).max(-1)
    assert values @ game.initial == 10 * 0.5 ** (steps - 1)


def test_agents_may_share_a_cell_and_a_step_too_early_does_not_pay():
    game = goals(2, 1, 2)
    stay, east = [1, 0, 0], [0, 1, 0]
    together = play(game, [lambda o: east, lambda o: east], np.random.default_rng(0), horizon=9)
    assert together.terminated
    assert together.rewards.tolist() == [[10, 10]]
    alone = play(game, [lambda o: east, lambda o: stay], np.random.default_rng(0), horizon=9)
    assert not alone.terminated
    assert not alone.rewards.any()
    assert {game.state_labels[s] for s in alone.history.states} == {"(0,1) (0,0)", "(0,0) (0,0)"}


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((0, 2, 2), "0 agents on 2x2 cells: at least one agent and two cells"),
        ((2, 1, 1), "2 agents on 1x1 cells: at least one agent and two cells"),
        ((2, -1, -2), "at least one agent and two cells"),
        ((5, 2, 2), "5 agents on 2x2 cells have more than 200000 pairs"),
    ],
)
def test_what_is_no_game_of_goals_is_refused(size, message):
    with pytest.raises(InputError, match=message):
        goals(*size)
