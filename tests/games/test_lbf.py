from fractions import Fraction

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games import reachable
from marlspec.games.batched_arrays import BatchedStochasticGame
from marlspec.games.lbf import ACTIONS, Field, Item, Rules, foraging, step

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
FAR = Item((3, 3), 9)  # out of the way, so that the episode goes on


def after(players, actions, items=(FAR,), levels=None, food=1, common_reward=False):
    """The players' cells, the items left and the rewards after one step on a grid of 4 rows and 4 columns."""
    rules = Rules(4, 4, tuple(levels or [1] * len(players)), food, common_reward)
    field, rewards = step(rules, Field(tuple(players), tuple(items)), tuple(actions))
    return list(field.players), list(field.items), rewards


def test_the_actions_are_those_of_the_literature():
    assert ACTIONS == ("none", "north", "south", "west", "east", "load")


@pytest.mark.parametrize(
    ("action", "cell"),
    [(NONE, (1, 1)), (NORTH, (0, 1)), (SOUTH, (2, 1)), (WEST, (1, 0)), (EAST, (1, 2)), (LOAD, (1, 1))],
)
def test_a_player_moves_by_one_cell(action, cell):
    assert after([(1, 1)], [action]) == ([cell], [FAR], [0])


@pytest.mark.parametrize(
    ("cell", "action"),
    [((0, 1), NORTH), ((3, 1), SOUTH), ((1, 0), WEST), ((1, 3), EAST), ((2, 3), SOUTH), ((3, 2), EAST)],
)
def test_walls_and_items_stop_a_player(cell, action):
    assert after([cell], [action])[0] == [cell]


def test_two_players_that_want_the_same_cell_both_stay_and_others_move():
    players, actions = [(0, 0), (0, 2), (2, 0)], [EAST, WEST, SOUTH]
    assert after(players, actions)[0] == [(0, 0), (0, 2), (3, 0)]
    assert after([(0, 1), (1, 0), (1, 2)], [SOUTH, EAST, WEST])[0] == [(0, 1), (1, 0), (1, 2)]


@pytest.mark.parametrize("action", [NONE, LOAD, WEST])
def test_an_occupied_cell_stops_a_player(action):
    assert after([(0, 1), (0, 0)], [WEST, action])[0] == [(0, 1), (0, 0)]


def test_a_cell_that_is_being_left_cannot_be_entered_yet():
    assert after([(0, 0), (0, 1)], [EAST, EAST])[0] == [(0, 0), (0, 2)]


def test_players_cannot_change_places():
    assert after([(0, 0), (0, 1)], [EAST, WEST])[0] == [(0, 0), (0, 1)]


@pytest.mark.parametrize(("level", "collected"), [(1, True), (2, True), (3, False)])
def test_an_item_is_collected_by_players_that_are_strong_enough(level, collected):
    item = Item((1, 1), level)
    _, left, rewards = after([(0, 1), (1, 0)], [LOAD, LOAD], [item, FAR])
    assert left == ([FAR] if collected else [item, FAR])
    assert sum(rewards) == (level if collected else 0)


@pytest.mark.parametrize("cell", [(0, 1), (2, 1), (1, 0), (1, 2)])
def test_all_four_sides_of_an_item_are_beside_it(cell):
    assert after([cell], [LOAD], [Item((1, 1), 1), FAR])[1] == [FAR]


@pytest.mark.parametrize(
    ("players", "actions"),
    [
        ([(0, 0), (0, 1)], [LOAD, LOAD]),
        ([(3, 1), (0, 1)], [LOAD, LOAD]),
        ([(1, 0), (0, 1)], [NONE, LOAD]),
        ([(1, 0), (0, 1)], [EAST, LOAD]),
        ([(0, 0), (0, 1)], [SOUTH, LOAD]),
    ],
)
def test_players_that_are_not_beside_the_item_or_do_not_load_do_not_count(players, actions):
    assert after(players, actions, [Item((1, 1), 2), FAR])[1:] == ([Item((1, 1), 2), FAR], [0, 0])


def test_a_reward_is_shared_by_level_over_all_food():
    item = Item((1, 1), 3)
    _, _, rewards = after([(0, 1), (1, 0), (3, 0)], [LOAD, LOAD, LOAD], [item, FAR], levels=(1, 3, 2), food=12)
    assert rewards == [Fraction(3, 12) * Fraction(1, 4), Fraction(3, 12) * Fraction(3, 4), 0]


def test_a_common_reward_is_the_sum_for_everyone():
    items = [Item((0, 1), 1), Item((2, 1), 2), FAR]
    rewards = after([(0, 0), (2, 0), (1, 3)], [LOAD, LOAD, NONE], items, levels=(1, 2, 1), food=12, common_reward=True)[
        2
    ]
    assert rewards == [Fraction(3, 12)] * 3


def test_a_player_loads_at_the_first_item_beside_it():
    north, south, west, east = Item((0, 1), 1), Item((2, 1), 1), Item((1, 0), 1), Item((1, 2), 1)
    items = sorted([north, south, west, east, FAR])
    for first in (north, south, west, east):
        left = after([(1, 1)], [LOAD], items)[1]
        assert left == [item for item in items if item != first]
        items = left


def test_a_player_lends_its_level_to_one_item_alone():
    """The player between two items loads at the northern one, so that the southern one lacks a level."""
    north, south = Item((0, 1), 1), Item((2, 1), 2)
    assert after([(1, 1), (2, 0)], [LOAD, LOAD], [north, south])[1] == [south]


def test_the_cell_of_an_item_that_is_being_collected_cannot_be_entered_yet():
    assert after([(0, 1), (1, 0)], [LOAD, EAST], [Item((1, 1), 1), FAR])[0] == [(0, 1), (1, 0)]


def test_collecting_the_last_item_ends_the_episode():
    assert after([(0, 1), (1, 0)], [LOAD, NONE], [Item((1, 1), 1)], food=1) == ([], [], [1, 0])


def optimal_values(game):
    """Value iteration on the arrays."""
    rounded = game.as_float64()
    values = np.zeros(game.n_states)
    for _ in range(100):
        q = (rounded.probabilities * (rounded.shared_reward() + rounded.gamma * values[rounded.successors])).sum(-1)
        values = q.reshape(game.n_states, -1).max(-1)
    return values


def test_the_default_game_takes_one_move_and_loading_together():
    game = foraging()
    assert game.exact
    assert game.is_common_reward
    assert game.n_actions == (6, 6)
    assert game.n_states == 8 * 7 + 1
    assert game.action_labels == (ACTIONS, ACTIONS)
    assert game.state_labels[0] == "players (0,0) (2,2) items (1,1):2"
    assert [game.state_labels[s] for s in np.flatnonzero(game.terminal)] == ["all collected"]
    assert optimal_values(game)[0] == pytest.approx(0.99)


def test_items_farther_away_take_longer():
    placement = ([(0, 0), (0, 1)], [(2, 2)])
    assert optimal_values(foraging(placements=[placement], gamma=Fraction(1, 2)))[0] == pytest.approx(0.5**3)


def test_several_placements_are_equally_likely():
    first, second = ([(0, 0), (2, 2)], [(1, 1)]), ([(0, 1), (1, 0)], [(1, 1)])
    game = foraging(placements=[first, second, second])
    assert game.initial[game.initial > 0].tolist() == [Fraction(1, 3), Fraction(2, 3)]
    other_item = foraging(placements=[first, ([(0, 0), (2, 2)], [(2, 0)])])
    assert other_item.n_states == 2 * 8 * 7 + 1
    assert other_item.terminal.sum() == 1


MIXED = {
    "player_levels": (1, 2),
    "item_levels": (2, 3),
    "placements": [([(0, 0), (2, 2)], [(0, 1), (2, 1)])],
    "cooperative": False,
}


def test_rewards_differ_only_where_they_are_not_common():
    own, shared = foraging(**MIXED, common_reward=False), foraging(**MIXED)
    assert shared.is_common_reward
    assert not own.is_common_reward
    assert np.array_equal(own.successors, shared.successors)
    assert np.array_equal(own.rewards.sum(0), shared.rewards[0])


def test_all_food_of_an_episode_is_worth_one(foraging_games):
    """Under random play: what has been paid until the end is 1, and less before it."""
    for game in foraging_games:
        batched = BatchedStochasticGame(game, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        state, total = batched.reset(300), torch.zeros(300, dtype=torch.float64)
        for _ in range(80):
            state, rewards, terminated, _ = batched.step(state, torch.randint(6, (300, 2), generator=generator))
            total += rewards[:, 0] if game.is_common_reward else rewards.sum(-1)
            assert torch.equal(total > 1 - 1e-9, terminated)
        assert total[terminated].numpy() == pytest.approx(1)
        assert 0 < terminated.sum() < 300


@pytest.fixture(scope="module")
def foraging_games():
    return [foraging(**MIXED, common_reward=False), foraging(**MIXED)]


def test_no_two_players_or_items_ever_share_a_cell(foraging_games):
    for label in foraging_games[0].state_labels[1:]:
        cells = [word.split(":")[0] for word in label.split() if word.startswith("(")]
        assert len(cells) == len(set(cells)), label


def test_the_batched_game_has_the_same_dynamics(foraging_games):
    game = foraging_games[0]
    batched = BatchedStochasticGame(game, dtype=torch.float64)
    rows = torch.tensor([(s, *a) for s in range(game.n_states) for a in game.joint_actions()])
    state = batched.reset(len(rows))._replace(state=rows[:, 0])
    after_step, rewards, terminated, _ = batched.step(state, rows[:, 1:])
    assert np.array_equal(after_step.state, game.successors.ravel())
    assert np.array_equal(rewards, game.as_float64().rewards.reshape(2, -1).T)
    assert np.array_equal(terminated, game.terminal[game.successors.ravel()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "a grid of 0 rows and 3 columns: at least one of each"),
        ({"player_levels": ()}, "player_levels is empty: at least one level"),
        ({"item_levels": ()}, "item_levels is empty"),
        ({"player_levels": (1, 0)}, r"player_levels\[1\] is 0: a level is a positive integer"),
        ({"item_levels": (True,)}, r"item_levels\[0\] is True: a level is a positive integer"),
        ({"item_levels": (1,)}, r"item_levels\[0\] is 1, but in a cooperative game .* make it 2, the sum"),
        ({"placements": []}, "placements is empty: name at least one way"),
        ({"placements": [([(0, 0)], [(1, 1)])]}, r"placements\[0\] places 1 players, but there are 2"),
        ({"placements": [([(0, 0), (2, 2)], [])]}, r"placements\[0\] places 0 items, but there are 1"),
        ({"placements": [([(0, 0), (2, 3)], [(1, 1)])]}, r"names cell \(2, 3\): the grid has 3 rows and 3 columns"),
        ({"placements": [([(0, 0), (1, 1)], [(1, 1)])]}, r"placements\[0\] names cell \(1, 1\) twice"),
        ({"item_levels": (3,), "cooperative": False}, "no play collects all items: lower their levels"),
        ({"rows": 1, "placements": [([(0, 0), (0, 1)], [(0, 2)])]}, "no play collects all items"),
        ({"gamma": 2}, "gamma is 2: a discount"),
    ],
)
def test_what_is_no_foraging_game_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        foraging(**changes)


def test_a_game_too_large_for_arrays_is_refused(monkeypatch):
    monkeypatch.setattr(reachable, "MAX_TRANSITIONS", 57 * 36 - 1)
    with pytest.raises(InputError, match="more than 2051 pairs of a state and a joint action are reached"):
        foraging()
    monkeypatch.setattr(reachable, "MAX_TRANSITIONS", 57 * 36)
    assert foraging().n_states == 57
