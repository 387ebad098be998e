from collections import Counter
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import product
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from marlspec.errors import InputError
from marlspec.games import lbf
from marlspec.games.batched import BatchedGame
from marlspec.games.batched_lbf import Foraging, ForagingSettings, ForagingState, foraging_settings

pytestmark = pytest.mark.thorough

NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)


def start(players, items, levels=None, item_levels=None, time=0):
    """One copy to compute with by hand; the levels are 1 unless given."""
    levels = levels or [1] * len(players)
    item_levels = item_levels or [1] * len(items)
    return ForagingState(
        *(torch.tensor([part]) for part in (players, levels, items, item_levels, sum(item_levels), time))
    )


def play(state, actions, task=None, **options):
    """One step in float64 with the players' own rewards; returns positions, item levels, rewards, ends."""
    n, m = state.levels.shape[1], state.item_levels.shape[1]
    game = Foraging(task or ForagingSettings(5, 6, n, m), dtype=torch.float64, **{"common_reward": False, **options})
    after, rewards, terminated, truncated = game.step(state, torch.tensor([actions]))
    positions = [tuple(position) for position in after.players[0].tolist()]
    return positions, after.item_levels[0].tolist(), rewards[0].tolist(), (terminated.item(), truncated.item())


def field(state, settings):
    """The levels of the items on the grid [K, rows, columns]."""
    grid = torch.zeros(len(state.time), settings.rows + 1, settings.columns, dtype=torch.int64)
    copies = torch.arange(len(state.time))[:, None]
    grid[copies, state.items[..., 0], state.items[..., 1]] = state.item_levels
    return grid[:, :-1]


def rolled(game, K, steps=6, seed=0):
    """K copies after some random steps, and random actions to go on with."""
    torch.manual_seed(seed)
    state = game.reset(K)
    for _ in range(steps):
        state = game.step(state, torch.randint(6, (K, game.n_agents)))[0]
    return state, torch.randint(6, (K, game.n_agents))


def clustered(game, K, seed=0):
    """K fresh copies in which all players stand in a corner with the first item; players and items on other cells."""
    torch.manual_seed(seed)
    state = game.reset(K)
    keys = torch.rand(K, 9)
    keys[:, 4] = -1
    cells = keys.topk(game.n_agents).indices
    around = state.items[:, :1] + torch.stack([cells // 3, cells % 3], -1) - 1
    return state._replace(players=around)


# The rules, by hand.


@pytest.mark.parametrize(
    ("action", "position"), list(enumerate([(2, 2), (1, 2), (3, 2), (2, 1), (2, 3), (2, 2)])), ids=lbf.ACTIONS
)
def test_every_action_moves_its_way(action, position):
    assert play(start([[2, 2]], [[1, 4]]), [action])[0] == [position]


@pytest.mark.parametrize(
    ("cell", "action"),
    [
        *(((0, column), NORTH) for column in range(6)),
        *(((4, column), SOUTH) for column in range(6)),
        *(((row, 0), WEST) for row in range(5)),
        *(((row, 5), EAST) for row in range(5)),
        ((3, 2), NORTH),
        ((1, 2), SOUTH),
        ((2, 3), WEST),
        ((2, 1), EAST),
    ],
)
def test_nobody_leaves_the_grid_or_walks_onto_an_item(cell, action):
    state = start([list(cell)], [[2, 2]])
    assert play(state, [action])[0] == [cell]
    game = Foraging(ForagingSettings(5, 6, 1, 1))
    assert not game.available(state)[0, 0, action]


@pytest.mark.parametrize(
    ("cells", "actions", "after"),
    [
        ([(1, 1), (1, 2)], [EAST, WEST], [(1, 2), (1, 1)]),
        ([(1, 1), (1, 2)], [EAST, EAST], [(1, 2), (1, 3)]),
        ([(1, 1), (1, 2)], [EAST, NONE], [(1, 1), (1, 2)]),
        ([(1, 1), (1, 2)], [EAST, LOAD], [(1, 1), (1, 2)]),
        ([(1, 4), (1, 5)], [EAST, EAST], [(1, 4), (1, 5)]),
        ([(1, 1), (1, 3)], [EAST, WEST], [(1, 1), (1, 3)]),
        ([(1, 1), (1, 1)], [EAST, NONE], [(1, 2), (1, 1)]),
        ([(1, 1), (1, 1)], [EAST, EAST], [(1, 1), (1, 1)]),
        ([(1, 1), (1, 2), (2, 2)], [EAST, SOUTH, WEST], [(1, 2), (2, 2), (2, 1)]),
        ([(1, 0), (1, 1), (1, 3)], [EAST, EAST, WEST], [(1, 1), (1, 1), (1, 3)]),
        ([(1, 0), (1, 1), (1, 2)], [EAST, EAST, NONE], [(1, 1), (1, 1), (1, 2)]),
        ([(1, 1), (1, 3), (0, 2)], [EAST, WEST, SOUTH], [(1, 1), (1, 3), (0, 2)]),
    ],
    ids=[
        "two change places",
        "one follows",
        "one stands still",
        "one that loads stands still",
        "one held by the edge stands still",
        "two want the same cell",
        "one leaves a shared cell",
        "two leave a shared cell the same way",
        "three in a row",
        "into the cell of one stopped by a contest",
        "into the cell of one stopped by another",
        "three want the same cell",
    ],
)
def test_who_enters_a_cell(cells, actions, after):
    assert play(start([list(cell) for cell in cells], [[3, 4]]), actions)[0] == after


AROUND = [[1, 2], [3, 2], [2, 1], [2, 3]]


def test_those_who_collect_share_in_proportion_to_their_levels():
    state = start(AROUND, [[2, 2], [3, 4]], levels=[1, 2, 3, 2], item_levels=[5, 3])
    positions, left, rewards, ends = play(state, [LOAD, LOAD, LOAD, NONE])
    assert positions == [tuple(cell) for cell in AROUND]
    assert left == [0, 3]
    assert rewards == [5 / 48, 10 / 48, 15 / 48, 0]
    assert ends == (False, False)
    # With a common reward: level 5 out of 8.
    assert play(state, [LOAD, LOAD, LOAD, NONE], common_reward=True)[2] == [5 / 8] * 4


@pytest.mark.parametrize("side", range(4))
def test_an_item_is_collected_from_every_side(side):
    assert play(start([AROUND[side]], [[2, 2]]), [LOAD]) == ([tuple(AROUND[side])], [0], [1.0], (True, False))


@pytest.mark.parametrize("corner", [[1, 1], [1, 3], [3, 1], [3, 3], [4, 2], [2, 4], [0, 5]])
def test_nothing_is_collected_from_elsewhere(corner):
    state = start([corner], [[2, 2]])
    assert play(state, [LOAD])[1:3] == ([1], [0.0])
    assert not Foraging(ForagingSettings(5, 6, 1, 1)).available(state)[0, 0, LOAD]


def test_beside_means_on_the_grid_not_in_its_numbering():
    # The end of a row and the start of the next are no neighbours, whatever the width.
    for columns in (3, 4, 6):
        state = start([[1, columns - 1]], [[2, 0]])
        assert play(state, [LOAD], ForagingSettings(5, columns, 1, 1))[1] == [1]
        state = start([[2, 0]], [[1, columns - 1]])
        assert play(state, [LOAD], ForagingSettings(5, columns, 1, 1))[1] == [1]


def test_too_little_strength_collects_nothing_and_pays_nothing():
    state = start(AROUND, [[2, 2]], levels=[1, 2, 1, 2], item_levels=[4])
    assert play(state, [LOAD, LOAD, NONE, NORTH])[1:] == ([4], [0.0] * 4, (False, False))


def test_two_items_are_collected_at_once_by_different_players():
    state = start([[2, 1], [2, 3], [1, 4]], [[2, 2], [3, 5]], levels=[1, 1, 1], item_levels=[2, 1])
    assert play(state, [LOAD, LOAD, EAST])[1] == [0, 1]
    state = state._replace(players=torch.tensor([[[2, 1], [2, 3], [3, 4]]]))
    assert play(state, [LOAD, LOAD, LOAD])[1:] == ([0, 0], [1 / 3] * 3, (True, False))


def test_nobody_loads_or_is_stopped_by_an_item_that_is_gone():
    state = start([[1, 2]], [[2, 2], [3, 4]])._replace(item_levels=torch.tensor([[0, 1]]))
    assert play(state, [LOAD])[1:3] == ([0, 1], [0.0])
    assert play(state, [SOUTH])[0] == [(2, 2)]
    assert Foraging(ForagingSettings(5, 6, 1, 2)).available(state)[0, 0].tolist() == [True] * 5 + [False]


def test_an_item_that_is_left_in_the_same_step_is_not_loaded_by_the_one_that_leaves():
    state = start([[1, 2], [2, 1]], [[2, 2]], item_levels=[2])
    assert play(state, [NORTH, LOAD])[1] == [2]


def test_what_is_available_by_hand():
    game = Foraging(ForagingSettings(5, 6, 4, 1))
    state = start([[0, 0], [1, 2], [4, 5], [2, 1]], [[2, 2]])
    assert game.available(state)[0].int().tolist() == [
        [1, 0, 1, 0, 1, 0],
        [1, 1, 0, 1, 1, 1],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 1, 1, 0, 1],
    ]
    # Other players are no obstacle: they may go away.
    assert game.available(start([[0, 0], [0, 1], [1, 0], [1, 1]], [[3, 3]]))[0, 3, 1:5].all()


def test_an_action_that_is_not_available_counts_as_none():
    game = Foraging("2s-6x6-3p-2f", dtype=torch.float64)
    state, actions = rolled(game, 300)
    possible = game.available(state).take_along_dim(actions[..., None], -1)[..., 0]
    assert 100 < (~possible).sum() < possible.sum()
    first, second = game.step(state, actions), game.step(state, torch.where(possible, actions, NONE))
    assert all(torch.equal(a, b) for a, b in zip((*first[0], *first[1:]), (*second[0], *second[1:]), strict=True))


# Ends.


def test_an_episode_terminates_with_the_last_item_and_is_truncated_otherwise():
    before_last = start([[1, 2]], [[2, 2]], time=49)
    assert play(before_last, [LOAD])[3] == (True, False)
    assert play(before_last, [NONE])[3] == (False, True)
    earlier = start([[1, 2]], [[2, 2]], time=48)
    assert play(earlier, [LOAD])[3] == (True, False)
    assert play(earlier, [NONE])[3] == (False, False)


def test_the_time_limit_can_be_set():
    task = ForagingSettings(5, 6, 1, 1, time_limit=3)
    state, game, ends = start([[1, 2]], [[2, 2]]), Foraging(task), []
    for _ in range(4):
        state, _, terminated, truncated = game.step(state, torch.tensor([[NONE]]))
        assert not terminated
        ends.append(truncated.item())
    assert ends == [False, False, True, True]


def test_a_copy_that_is_not_replaced_stays_at_its_end_and_pays_nothing():
    state, game = start([[1, 2]], [[2, 2]]), Foraging(ForagingSettings(5, 6, 1, 1))
    paid = []
    for action in (LOAD, LOAD, SOUTH, NONE):
        state, rewards, terminated, truncated = game.step(state, torch.tensor([[action]]))
        assert terminated
        assert not truncated
        paid.append(rewards.item())
    assert paid == [1, 0, 0, 0]


def test_an_action_that_does_not_exist_pays_nan_and_ends_the_episode_of_its_copy_alone():
    game = Foraging("5x5-2p-2f")
    torch.manual_seed(0)
    actions = torch.tensor([[0, 0], [6, 0], [0, -1], [100, -100], [0, 0]])
    state, rewards, terminated, truncated = game.step(game.reset(5), actions)
    assert rewards.isnan().all(-1).tolist() == [False, True, True, True, False]
    assert not rewards[[0, 4]].any()
    assert terminated.tolist() == [False, True, True, True, False]
    assert not truncated.any()
    _, rewards, terminated, _ = game.step(state, torch.zeros(5, 2, dtype=torch.int64))
    assert terminated.tolist() == [False, True, True, True, False]
    assert not rewards.any()


# What is observed.


def test_all_is_seen_without_a_limit_of_sight():
    game = Foraging(ForagingSettings(5, 6, 3, 2))
    state = start([[0, 0], [4, 5], [1, 4]], [[1, 1], [3, 4]], levels=[1, 2, 3], item_levels=[4, 5])
    items = [1, 1, 4, 3, 4, 5]
    a, b, c = [0, 0, 1], [4, 5, 2], [1, 4, 3]
    assert game.observe(state)[0].tolist() == [[*items, *a, *b, *c], [*items, *b, *a, *c], [*items, *c, *a, *b]]
    assert game.centralized(state)[0].tolist() == [*items, *a, *b, *c]


def test_what_is_collected_moves_the_others_up():
    game = Foraging(ForagingSettings(5, 6, 1, 3))
    state = start([[0, 0]], [[1, 1], [1, 4], [3, 3]])._replace(item_levels=torch.tensor([[0, 2, 1]]))
    seen = [1, 4, 2, 3, 3, 1, -1, -1, 0, 0, 0, 1]
    assert game.observe(state)[0, 0].tolist() == seen
    assert game.centralized(state)[0].tolist() == seen


def test_sight_is_limited_to_a_window_counted_from_its_own_corner():
    game = Foraging(ForagingSettings(9, 9, 3, 3, sight=2))
    state = start([[4, 5], [6, 3], [4, 2]], [[1, 5], [4, 7], [6, 6]], levels=[1, 2, 3], item_levels=[1, 2, 3])
    # The window of player 0 begins in (2, 3).
    assert game.observe(state)[0, 0].tolist() == [2, 4, 2, 4, 3, 3, -1, -1, 0, 2, 2, 1, 4, 0, 2, -1, -1, 0]
    # Player 1 sees from (4, 1); the item in (6, 6) is three columns away.
    assert game.observe(state)[0, 1].tolist() == [-1, -1, 0] * 3 + [2, 2, 2, 0, 4, 1, 0, 1, 3]
    assert game.centralized(state)[0].tolist() == [1, 5, 1, 4, 7, 2, 6, 6, 3, 4, 5, 1, 6, 3, 2, 4, 2, 3]


def test_close_to_the_north_west_players_are_seen_from_farther_than_items():
    game = Foraging(ForagingSettings(9, 9, 3, 1, sight=2))
    corner = [0, 0, 1]
    state = start([[0, 0], [4, 4], [5, 4]], [[3, 3]])
    assert game.observe(state)[0, 0].tolist() == [-1, -1, 0, *corner, 4, 4, 1, -1, -1, 0]
    shorter = Foraging(ForagingSettings(9, 9, 3, 1, sight=1))
    state = start([[0, 0], [2, 2], [3, 2]], [[2, 1]])
    assert shorter.observe(state)[0, 0].tolist() == [-1, -1, 0, *corner, 2, 2, 1, -1, -1, 0]
    # Not so in the south east.
    state = start([[8, 8], [6, 6], [5, 6]], [[7, 7]])
    assert game.observe(state)[0, 0].tolist() == [1, 1, 1, 2, 2, 1, 0, 0, 1, -1, -1, 0]


def test_sight_over_the_whole_grid_is_no_limit():
    limited, free = Foraging("7s-8x8-3p-3f"), Foraging("8x8-3p-3f")
    state, _ = rolled(free, 200)
    assert torch.equal(limited.observe(state), free.observe(state))
    assert not torch.equal(Foraging("6s-8x8-3p-3f").observe(state), free.observe(state))


# An independent statement of most of the rules: the exact game.


def exact_step(settings, state, k, actions, common_reward):
    levels = tuple(state.levels[k].tolist())
    rules = lbf.Rules(settings.rows, settings.columns, levels, int(state.food[k]), common_reward)
    items = zip(state.items[k].tolist(), state.item_levels[k].tolist(), strict=True)
    before = lbf.Field(
        tuple(map(tuple, state.players[k].tolist())),
        tuple(lbf.Item(tuple(cell), level) for cell, level in items if level),
    )
    return lbf.step(rules, before, tuple(actions[k].tolist()))


@pytest.mark.parametrize("common_reward", [True, False])
def test_steps_agree_with_the_exact_game_where_no_cell_is_taken_over(common_reward):
    game = Foraging("6x6-3p-3f", dtype=torch.float64, common_reward=common_reward)
    state = clustered(game, 700)
    actions = torch.randint(6, (700, 3))
    actions[torch.rand(700, 3) < 0.3] = LOAD
    after, rewards, terminated, _ = game.step(state, actions)
    moves = torch.tensor([(0, 0), *lbf.DIRECTIONS.values(), (0, 0)])
    onto = ((state.players + moves[actions])[:, :, None] == state.players[:, None]).all(-1) & ~torch.eye(3).bool()
    compared, paid, stopped = 0, 0, 0
    for k in (~onto.flatten(1).any(1)).nonzero().flatten().tolist():
        expected, exact = exact_step(game.settings, state, k, actions, common_reward)
        assert rewards[k].tolist() == [float(Fraction(reward)) for reward in exact]
        assert terminated[k] == (not expected.items)
        left = [(tuple(c), level) for c, level in zip(*(p[k].tolist() for p in after[2:4]), strict=True) if level]
        assert left == list(expected.items)
        if expected.items:
            assert tuple(map(tuple, after.players[k].tolist())) == expected.players
            stopped += int((after.players[k] == state.players[k]).all(-1)[actions[k] % 5 > 0].sum())
        compared, paid = compared + 1, paid + any(exact)
    assert compared > 300
    assert paid > 100
    assert stopped > 100


# The protocol.


def test_copies_are_independent():
    game = Foraging("2s-6x6-3p-3f", common_reward=False)
    state = clustered(game, 32)
    actions = torch.randint(6, (32, 3))
    actions[::2] = LOAD
    together = game.step(state, actions)
    seen = [f(together[0]) for f in (game.observe, game.centralized, game.available)]
    assert together[1].any()
    for k in range(32):
        own = ForagingState(*(part[k : k + 1] for part in state))
        alone = game.step(own, actions[k : k + 1])
        pairs = zip((*alone[0], *alone[1:]), (*together[0], *together[1:]), strict=True)
        assert all(torch.equal(a, b[k : k + 1]) for a, b in pairs)
        own_seen = [f(alone[0]) for f in (game.observe, game.centralized, game.available)]
        assert all(torch.equal(a, b[k : k + 1]) for a, b in zip(own_seen, seen, strict=True))


def test_a_step_changes_no_argument_and_draws_nothing():
    game = Foraging("6x6-3p-3f")
    state, actions = rolled(game, 50)
    before = [part.clone() for part in (*state, actions)]
    generator = torch.get_rng_state()
    first, second = game.step(state, actions), game.step(state, actions)
    game.observe(state), game.centralized(state), game.available(state)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(a, b) for a, b in zip(before, (*state, actions), strict=True))
    assert all(torch.equal(a, b) for a, b in zip((*first[0], *first[1:]), (*second[0], *second[1:]), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("common_reward", [True, False])
def test_everything_has_the_wanted_dtype_and_shape(dtype, common_reward):
    game = Foraging("5x6-4p-3f", dtype=dtype, common_reward=common_reward)
    state, actions = rolled(game, 7)
    after, rewards, terminated, truncated = game.step(state, actions)
    floats = {"rewards": rewards, "observe": game.observe(after), "centralized": game.centralized(after)}
    assert {name: (part.dtype, *part.shape) for name, part in floats.items()} == {
        "rewards": (dtype, 7, 4),
        "observe": (dtype, 7, 4, 21),
        "centralized": (dtype, 7, 21),
    }
    assert (game.n_agents, game.n_actions, game.observation_size, game.state_size) == (4, 6, 21, 21)
    assert game.available(after).shape == (7, 4, 6)
    assert terminated.shape == truncated.shape == (7,)
    assert {part.dtype for part in after} == {torch.int64}
    assert [part.shape for part in after] == [part.shape for part in state]


def test_the_protocol_is_met():
    game = Foraging("8x8-2p-3f-coop")
    assert isinstance(game, BatchedGame)
    assert game.name == "Foraging-8x8-2p-3f-coop"
    assert game.common_reward
    assert not Foraging("8x8-2p-3f-coop", common_reward=False).common_reward


def test_everything_lies_on_the_wanted_device():
    game = Foraging("5x5-2p-2f", device="meta")
    state = game.reset(4)
    after, *rest = game.step(state, torch.zeros(4, 2, dtype=torch.int64, device="meta"))
    results = (*state, *after, *rest, game.observe(after), game.centralized(after), game.available(after))
    assert {part.device.type for part in results} == {"meta"}
    assert game.device == torch.device("meta")


@pytest.mark.parametrize("common_reward", [True, False])
@pytest.mark.parametrize("pool", [None, 10])
def test_no_method_looks_at_values_on_the_host(common_reward, pool):
    game = Foraging("2s-6x6-3p-3f", common_reward=common_reward, pool=pool)
    with FakeTensorMode(allow_non_fake_inputs=True):
        state, rewards, _, _ = game.step(game.reset(4), torch.zeros(4, 3, dtype=torch.int64))
        game.observe(state), game.centralized(state), game.available(state)
        with pytest.raises(DataDependentOutputException):
            bool(rewards.any())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pool", [None, 10])
def test_a_step_on_cuda_never_synchronises_and_agrees_with_the_host(pool):
    host = Foraging("2s-6x6-3p-3f", common_reward=False, pool=pool)
    state = clustered(host, 50)
    actions = torch.randint(6, (50, 3))
    expected = host.step(state, actions)
    cuda = Foraging("2s-6x6-3p-3f", device="cuda", common_reward=False, pool=pool)
    state, actions = ForagingState(*(part.cuda() for part in state)), actions.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        cuda.reset(8)
        after, *rest = cuda.step(state, actions)
        seen = cuda.observe(after), cuda.centralized(after), cuda.available(after)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted = (*expected[0], *expected[1:], *(f(expected[0]) for f in (host.observe, host.centralized, host.available)))
    assert all(torch.equal(a.cpu(), b) for a, b in zip((*after, *rest, *seen), wanted, strict=True))


# Names and settings.


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("8x8-2p-3f-coop", ForagingSettings(8, 8, 2, 3, cooperative=True)),
        ("15x15-4p-5f", ForagingSettings(15, 15, 4, 5)),
        ("2s-10x10-3p-3f", ForagingSettings(10, 10, 3, 3, sight=2)),
        ("12s-20x30-10p-11f-coop", ForagingSettings(20, 30, 10, 11, sight=12, cooperative=True)),
    ],
)
def test_names_of_the_literature(name, settings):
    assert foraging_settings(name) == foraging_settings(f"Foraging-{name}-v3") == settings
    assert settings.name == name
    assert Foraging(name).settings == Foraging(settings).settings == settings
    assert len({settings, foraging_settings(name)}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "8x8",
        "8x8-2p",
        "8x8-2p-3f-",
        "8x8-2p-3f-coop-coop",
        "8x8-2p-3f-2s",
        "8x8-2p-3f-v2",
        "8x8-2p-3f-pen",
        "grid-8x8-2p-3f",
        "8x8-3f-2p",
        "8x-2p-3f",
        "-8x8-2p-3f",
        "8x8-2p-3f\n",
        "٨x8-2p-3f",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="is no foraging task: the form is"):
        foraging_settings(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 2}, "rows is 2: an integer of at least 3"),
        ({"columns": 2}, "columns is 2: an integer of at least 3"),
        ({"players": 0}, "players is 0: .* positive"),
        ({"players": True}, "players is True"),
        ({"items": 0}, "items is 0: .* positive"),
        ({"sight": 0}, "sight is 0: .* whole grid"),
        ({"min_player_level": 0}, "min_player_level is 0"),
        ({"max_player_level": 0}, "max_player_level is 0: .* min_player_level"),
        ({"min_player_level": 3}, "max_player_level is 2: an integer of at least 3"),
        ({"min_item_level": 0}, "min_item_level is 0"),
        ({"min_item_level": 2, "max_item_level": 1}, "max_item_level is 1: an integer of at least 2"),
        ({"min_item_level": 3}, "min_item_level is 3, but the three lowest levels of players may sum to 2"),
        ({"time_limit": 0}, "time_limit is 0"),
        ({"players": 40}, "players is 40, but the grid has 40 cells"),
    ],
)
def test_settings_that_make_no_game_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(ForagingSettings(5, 8, 2, 3), **change)


def test_the_largest_settings_that_make_a_game():
    assert ForagingSettings(5, 8, 39, 3, min_item_level=3).name == "5x8-39p-3f"
    assert ForagingSettings(3, 3, 1, 1, min_player_level=2, min_item_level=2, time_limit=1, sight=1).time_limit == 1


def test_names_that_make_no_game_are_refused_too():
    with pytest.raises(InputError, match="rows is 2"):
        Foraging("2x8-2p-3f")


@pytest.mark.parametrize("K", [0, -1, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive"):
        Foraging("5x5-2p-2f").reset(K)


@pytest.mark.parametrize("pool", [0, -1, True])
def test_the_number_of_starts_is_positive(pool):
    with pytest.raises(InputError, match="positive"):
        Foraging("5x5-2p-2f", pool=pool)


def test_one_copy_is_enough():
    game = Foraging("5x5-2p-2f", pool=1)
    assert game.observe(game.reset(1)).shape == (1, 2, 12)


def test_a_dtype_without_fractions_is_refused():
    with pytest.raises(InputError, match="int64"):
        Foraging("5x5-2p-2f", dtype=torch.int64)


# Fresh copies.


def may_lie(cell, player_cells, item_cells):
    """Whether an item may be put in a cell of a 6x4 grid, from the rule in words."""
    row, column = cell
    if not (1 <= row <= 4 and 1 <= column <= 2) or cell in player_cells:
        return False
    for other_row, other_column in item_cells:
        down, right = abs(row - other_row), abs(column - other_column)
        if max(down, right) <= 1 or sorted((down, right)) == [0, 2]:
            return False
    return True


def exact_starts(n_items):
    """Probabilities of (player cell, items) in a 6x4 grid with one player: each item uniform where it may lie."""
    cells = list(product(range(6), range(4)))
    starts = {(player, ()): Fraction(1, len(cells)) for player in cells}
    for _ in range(n_items):
        longer = Counter()
        for (player, items), probability in starts.items():
            allowed = [cell for cell in cells if may_lie(cell, [player], items)]
            for cell in allowed:
                longer[player, (*items, cell)] += probability / len(allowed)
            if not allowed:
                longer[player, items] += probability
        starts = longer
    unordered = Counter()
    for (player, items), probability in starts.items():
        unordered[player, tuple(sorted(items))] += probability
    return unordered


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_players_and_items_are_placed_as_stated(n_items):
    torch.manual_seed(0)
    K = 20_000
    state = Foraging(ForagingSettings(6, 4, 1, n_items)).reset(K)
    drawn = Counter(
        (tuple(player[0]), tuple(tuple(cell) for cell, level in zip(cells, levels, strict=True) if level))
        for player, cells, levels in zip(
            *(p.tolist() for p in (state.players, state.items, state.item_levels)), strict=True
        )
    )
    expected = exact_starts(n_items)
    assert sum(expected.values()) == 1
    assert set(drawn) == set(expected)
    keys = list(expected)
    assert stats.chisquare([drawn[k] for k in keys], [float(K * expected[k]) for k in keys]).pvalue > 1e-4
    if n_items == 3:
        # Three never fit in this grid, and the second not always: what has no place is missing.
        sizes = Counter(len(items) for _, items in drawn.elements())
        assert set(sizes) == {1, 2}


def test_several_players_are_placed_on_different_cells_alike():
    torch.manual_seed(0)
    state = Foraging(ForagingSettings(3, 4, 3, 1)).reset(20_000)
    cells = state.players[..., 0] * 4 + state.players[..., 1]
    counts = torch.bincount(cells @ torch.tensor([144, 12, 1]), minlength=12**3)
    a, b, c = (torch.arange(12**3) // power % 12 for power in (144, 12, 1))
    different = (a != b) & (b != c) & (a != c)
    assert not counts[~different].any()
    assert stats.chisquare(counts[different]).pvalue > 1e-4


@pytest.mark.parametrize("common_reward", [True, False])
def test_a_grid_full_of_players_has_no_food_and_ends_with_the_first_step(common_reward):
    torch.manual_seed(0)
    game = Foraging(ForagingSettings(3, 3, 8, 2), common_reward=common_reward)
    state = game.reset(2000)
    taken = (state.players == 1).all(-1).any(-1)
    assert torch.equal(state.food == 0, taken)
    assert 0 < taken.sum() < 2000
    _, rewards, terminated, _ = game.step(state, torch.zeros(2000, 8, dtype=torch.int64))
    assert torch.equal(terminated, taken)
    assert not rewards.any()


LEVELS = [
    ({}, 3),
    ({"cooperative": True}, 3),
    ({"players": 4, "cooperative": True}, 4),
    ({"max_item_level": 5, "min_item_level": 4}, 3),
    ({"max_item_level": 3, "cooperative": True}, 3),
    ({"min_player_level": 2, "max_player_level": 4, "min_item_level": 2}, 2),
]


@pytest.mark.parametrize(("change", "players"), LEVELS)
def test_levels_are_drawn_as_stated(change, players):
    torch.manual_seed(0)
    K = 20_000
    settings = replace(ForagingSettings(8, 8, players, 2), **change)
    state = Foraging(settings).reset(K)
    ours = Counter(map(tuple, torch.cat([state.levels, state.item_levels], 1).tolist()))
    expected = Counter()
    low, high = settings.min_player_level, settings.max_player_level
    for levels in product(range(low, high + 1), repeat=settings.players):
        highest = settings.max_item_level or sum(sorted(levels)[:3])
        lowest = highest if settings.cooperative else settings.min_item_level
        for items in product(range(lowest, highest + 1), repeat=2):
            chance = Fraction(1, (high - low + 1) ** settings.players * (highest - lowest + 1) ** 2)
            expected[(*levels, *items)] += chance
    keys = list(expected)
    assert sum(expected.values()) == 1
    assert set(ours) == set(keys)
    assert stats.chisquare([ours[k] for k in keys], [float(K * expected[k]) for k in keys]).pvalue > 1e-4
    assert torch.equal(state.food, state.item_levels.sum(-1))
    assert not state.time.any()


def test_levels_do_not_depend_on_places():
    torch.manual_seed(0)
    state = Foraging("6x6-2p-2f").reset(20_000)
    # Columns: levels of player and first item; then their places.
    numbers = torch.cat(
        [state.levels[:, :1], state.item_levels, *(p.flatten(1) for p in (state.players, state.items))], 1
    )
    assert torch.corrcoef(numbers.T.double())[:3, 3:].abs().max() < 5 / 20_000**0.5


def test_the_default_generator_decides_a_reset():
    for pool in (None, 1000):
        game = Foraging("8x8-2p-3f", pool=pool)
        torch.manual_seed(3)
        first, second = game.reset(5), game.reset(5)
        torch.manual_seed(3)
        assert all(torch.equal(a, b) for a, b in zip(first, game.reset(5), strict=True))
        assert not torch.equal(first.players, second.players)


def test_a_pool_is_drawn_once_and_chosen_from_uniformly():
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    game = Foraging("8x8-2p-3f", pool=50, pool_seed=7)
    assert torch.equal(torch.get_rng_state(), generator)
    state = game.reset(10_000)
    starts, counts = torch.cat([part.flatten(1) for part in (*state[:4], state.food[:, None])], 1).unique(
        dim=0, return_counts=True
    )
    assert len(starts) == 50
    assert stats.chisquare(counts).pvalue > 1e-4
    again = Foraging("8x8-2p-3f", pool=50, pool_seed=7)
    torch.manual_seed(0)
    first = game.reset(100)
    torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(first, again.reset(100), strict=True))
    torch.manual_seed(0)
    without_seed = Foraging("8x8-2p-3f", pool=50).reset(100)
    torch.manual_seed(0)
    assert torch.equal(without_seed.players, Foraging("8x8-2p-3f", pool=50, pool_seed=0).reset(100).players)
    torch.manual_seed(0)
    assert not torch.equal(first.players, Foraging("8x8-2p-3f", pool=50, pool_seed=8).reset(100).players)


# lbforaging.

# How many episodes of how many steps: from starts as they come, and from players crowded around one item.
LONG, CROWDED = (10, 20), (700, 2)
BLOCK = np.array(list(product((-1, 0, 1), repeat=2)))
WAYS = {way: action for action, way in enumerate(lbf.DIRECTIONS.values(), NORTH)}
TASKS = {
    name: foraging_settings(name)
    for name in ("8x8-2p-1f", "8x8-2p-3f-coop", "2s-8x8-3p-4f-coop", "1s-7x7-4p-4f", "15x15-4p-5f", "2s-6x6-4p-3f")
}
TASKS["wide"] = ForagingSettings(6, 9, 3, 4, sight=3, max_player_level=3, max_item_level=2)
TASKS["high"] = ForagingSettings(9, 6, 3, 4, cooperative=True, max_item_level=3, time_limit=35)
TASKS["easy"] = ForagingSettings(7, 7, 2, 3, sight=2, max_item_level=2)
TASKS["alone"] = ForagingSettings(6, 6, 2, 3, max_item_level=1)


class Recording(NamedTuple):
    """What lbforaging did in steps counted along the first axis (or first axes [E, T]), as arrays."""

    players: np.ndarray
    levels: np.ndarray
    field: np.ndarray
    food: np.ndarray
    time: np.ndarray
    actions: np.ndarray
    next_players: np.ndarray
    next_field: np.ndarray
    rewards: np.ndarray
    done: np.ndarray
    seen: np.ndarray
    available: np.ndarray


def arguments(settings):
    """How lbforaging calls the settings."""
    names = {
        "players": "players",
        "min_player_level": "min_player_level",
        "max_player_level": "max_player_level",
        "min_item_level": "min_food_level",
        "max_item_level": "max_food_level",
        "items": "max_num_food",
        "cooperative": "force_coop",
        "time_limit": "max_episode_steps",
    }
    given = {names[key]: value for key, value in asdict(settings).items() if key in names}
    sight = max(settings.rows, settings.columns) if settings.sight is None else settings.sight
    return {**given, "field_size": (settings.rows, settings.columns), "sight": sight}


def states(recording, settings):
    """The states before the steps, copied."""
    K, m = len(recording.time), settings.items
    items, levels = np.full((K, m, 2), (settings.rows, 0)), np.zeros((K, m), int)
    copy, row, column = np.nonzero(recording.field)
    slot = np.arange(len(copy)) - np.searchsorted(copy, copy)
    items[copy, slot] = np.stack([row, column], -1)
    levels[copy, slot] = recording.field[copy, row, column]
    parts = (recording.players, recording.levels, items, levels, recording.food, recording.time)
    return ForagingState(*(torch.tensor(part, dtype=torch.int64) for part in parts))


def crowd(env, generator):
    """Put the players on and around one cell, so that much happens, and return this cell: or an item in most cases."""
    candidates = np.argwhere(env.field)
    if generator.random() < 0.4:
        candidates = np.argwhere(env.field[1:-1, 1:-1] == 0) + 1
    centre = candidates[generator.integers(len(candidates))]
    # Mostly beside it, so that they can load at it or enter it.
    nearest = np.argsort(np.abs(BLOCK).sum(-1) % 2 * -0.5 + generator.random(len(BLOCK)))
    cells = (tuple(cell) for cell in (centre + BLOCK[nearest]).tolist())
    free = (cell for cell in cells if not env.field[cell])
    for player in env.players:
        player.position = next(free)
    env._gen_valid_moves()
    return centre


def chosen_actions(env, centre, eagerness, generator):
    """Random actions; so often, players beside the centre load at it or enter it."""
    actions = generator.integers(6, size=len(env.players))
    if centre is None:
        load = available_in(env)[:, LOAD] & (generator.random(len(actions)) < eagerness)
        return np.where(load, LOAD, actions).tolist()
    for i, player in enumerate(env.players):
        way = tuple((centre - player.position).tolist())
        if way in WAYS and generator.random() < eagerness:
            actions[i] = LOAD if env.field[tuple(centre)] else WAYS[way]
    return actions.tolist()


def available_in(env):
    return np.array([[action in env._valid_actions[p] for action in env._action_list] for p in env.players])


def positions_in(env):
    return np.array([player.position for player in env.players])


def recorded_step(env, actions):
    before = (positions_in(env), [p.level for p in env.players], env.field.copy(), env._food_spawned, env.current_step)
    seen, rewards, done, truncated, _ = env.step(actions)
    assert truncated is False
    after = (positions_in(env), env.field.copy(), np.array(rewards, float), done, np.stack(seen), available_in(env))
    return Recording(*map(np.asarray, (*before, actions, *after)))


def recorded_episode(env, generator, steps, crowded):
    env.reset()
    centre = crowd(env, generator) if crowded else None
    env.current_step = int(generator.choice([0, env._max_episode_steps - steps // 2]))
    eagerness = generator.choice([0.2, 0.7])
    return stacked([recorded_step(env, chosen_actions(env, centre, eagerness, generator)) for _ in range(steps)])


def stacked(recordings):
    return Recording(*(np.stack(parts) for parts in zip(*recordings, strict=True)))


def part_of(recording, index):
    return Recording(*(part[index] for part in recording))


def all_steps(recordings):
    """All steps of all episodes, along one axis."""
    parts = zip(*recordings, strict=True)
    return Recording(*(np.concatenate([p.reshape(-1, *p.shape[2:]) for p in part]) for part in parts))


@pytest.fixture(scope="module")
def peer():
    """Makes an environment of lbforaging with given settings."""
    reason = "lbforaging is not installed (pip install 'marlspec[peers]')"
    environment = pytest.importorskip("lbforaging.foraging.environment", reason=reason)

    def make(settings, seed=0):
        env = environment.ForagingEnv(**arguments(settings))
        # It checks its observations against bounds that confuse the axes of grids that are not square.
        size = 3 * (settings.items + settings.players)
        env.observation_space = [SimpleNamespace(shape=(size,), contains=lambda _: True)] * settings.players
        env._np_random = np.random.default_rng(seed)
        env._action_list = list(environment.Action)
        return env

    return make


@pytest.fixture(scope="module")
def recordings(peer):
    """For each task, the long and the crowded episodes, with the axes [E, T]."""
    generator = np.random.default_rng(1)
    return {
        name: [
            stacked([recorded_episode(env, generator, steps, crowded) for _ in range(episodes)])
            for (episodes, steps), crowded in ((LONG, False), (CROWDED, True))
        ]
        for name, env in ((name, peer(settings)) for name, settings in TASKS.items())
    }


def assert_agree(game, after, ends, rewards, recording):
    """Compare what came of a step; recording has one axis of steps."""
    terminated, truncated = ends
    assert torch.equal(after.players, torch.tensor(recording.next_players))
    next_field = torch.tensor(recording.next_field, dtype=torch.int64)
    assert torch.equal(field(after, game.settings), next_field)
    # lbforaging's done is termination or truncation, here told apart.
    assert torch.equal(terminated | truncated, torch.tensor(recording.done))
    assert torch.equal(terminated, (next_field == 0).flatten(1).all(1))
    assert not (terminated & truncated).any()
    assert torch.equal(game.observe(after).float(), torch.tensor(recording.seen))
    assert torch.equal(game.available(after), torch.tensor(recording.available))
    wanted = torch.tensor(recording.rewards)
    if game.common_reward:
        # A sum of at most n shares with two roundings each, against one rounding.
        wanted = wanted.sum(-1, keepdim=True).expand_as(wanted)
        torch.testing.assert_close(rewards.double(), wanted, rtol=0, atol=2 * game.n_agents * unit(game.dtype))
    elif game.dtype == torch.float64:
        assert torch.equal(rewards, wanted)
    else:
        torch.testing.assert_close(rewards.double(), wanted, rtol=0, atol=unit(game.dtype))


def unit(dtype):
    """The rounding error of numbers up to 1."""
    return torch.finfo(dtype).eps / 2


@pytest.mark.parametrize("common_reward", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TASKS)
def test_single_steps_from_identical_states_agree_with_lbforaging(recordings, name, dtype, common_reward):
    steps = all_steps(recordings[name])
    game = Foraging(TASKS[name], dtype=dtype, common_reward=common_reward)
    after, rewards, *ends = game.step(states(steps, TASKS[name]), torch.tensor(steps.actions))
    assert_agree(game, after, ends, rewards, steps)


@pytest.mark.parametrize("name", TASKS)
def test_whole_episodes_agree_with_lbforaging(recordings, name):
    game = Foraging(TASKS[name], dtype=torch.float64, common_reward=False)
    for recording in recordings[name]:
        state = states(part_of(recording, np.s_[:, 0]), TASKS[name])
        for t in range(recording.time.shape[1]):
            now = part_of(recording, np.s_[:, t])
            state, rewards, *ends = game.step(state, torch.tensor(now.actions))
            assert_agree(game, state, ends, rewards, now)
            assert torch.equal(state.time, torch.tensor(now.time) + 1)


class Met(NamedTuple):
    """What happened in some steps, how often: first as the players mean it, then as they found it."""

    solo_loads: int
    cooperative_loads: int
    refused_loads: int
    collisions: int
    contested_cells: int
    refused_moves: int
    cells_taken_over: int
    swaps: int
    cells_newly_shared: int
    terminations: int
    truncations: int
    hidden_items: int
    hidden_players: int
    far_players: int


def same_cell(a, b):
    """Whether the cell of one player in a is that of another in b [K, n, n]."""
    return (a[:, :, None] == b[:, None]).all(-1) & ~np.eye(a.shape[1], dtype=bool)


def loads_in(steps, actions):
    """How many players loaded beside each cell with an item [K, rows, columns], found through the items."""
    beside = np.zeros(steps.field.shape, int)
    for (row, column), _ in np.ndenumerate(steps.field[0]):
        distance = np.abs(steps.players - (row, column)).sum(-1)
        beside[:, row, column] = ((distance == 1) & (actions == LOAD)).sum(-1)
    return np.where(steps.field > 0, beside, 0)


def contested_in(wanted, moving):
    """How many cells at least two players want to move into."""
    both = same_cell(wanted, wanted) & moving[:, :, None] & moving[:, None]
    # Count each cell at the first player that wants it.
    return int((both.any(-1) & ~np.tril(both).any(-1)).sum())


def met_in(steps, settings):
    possible = Foraging(settings).available(states(steps, settings)).numpy()
    legal = np.take_along_axis(possible, steps.actions[..., None], -1)[..., 0]
    actions = np.where(legal, steps.actions, NONE)
    wanted = steps.players + np.array([(0, 0), *lbf.DIRECTIONS.values(), (0, 0)])[actions]
    moving = (wanted != steps.players).any(-1)
    onto = same_cell(wanted, steps.players) & moving[:, :, None]
    entered = onto & (steps.next_players != steps.players).any(-1)[:, :, None]
    shared_before, shared = same_cell(steps.players, steps.players), same_cell(steps.next_players, steps.next_players)
    loaders, gone = loads_in(steps, actions), (steps.field > 0) & (steps.next_field == 0)
    left = (steps.next_field > 0).sum((1, 2))
    sight = arguments(settings)["sight"]
    listed = steps.seen[..., 2::3] > 0
    seen_items, seen_players = listed[..., : settings.items].sum(-1), listed[..., settings.items :].sum(-1)
    distance = np.abs(steps.next_players[:, :, None] - steps.next_players[:, None]).max(-1)
    found = {
        "solo_loads": gone & (loaders == 1),
        "cooperative_loads": gone & (loaders > 1),
        "refused_loads": ~gone & (loaders > 0),
        "collisions": (onto & ~moving[:, None]).any(-1),
        "refused_moves": ~legal & np.isin(steps.actions, range(NORTH, LOAD)),
        "cells_taken_over": entered.any(-1),
        "swaps": np.triu(entered & entered.swapaxes(1, 2)),
        "cells_newly_shared": np.triu(shared & ~shared_before),
        "terminations": steps.done & (left == 0),
        "truncations": steps.done & (left > 0),
        "hidden_items": seen_items < left[:, None],
        "hidden_players": seen_players < settings.players,
        "far_players": seen_players > (distance <= sight).sum(-1),
    }
    counts = {name: int(flags.sum()) for name, flags in found.items()}
    return Met(contested_cells=contested_in(wanted, moving), **counts)


def test_the_comparison_met_everything_there_is(recordings):
    met = {name: met_in(all_steps(recordings[name]), settings) for name, settings in TASKS.items()}
    total = Met(*map(sum, zip(*met.values(), strict=True)))
    assert min(total[:5]) >= 1000
    assert min(total[5:]) >= 100
    # Two players alone never share a cell.
    assert not any(part.cells_newly_shared for name, part in met.items() if TASKS[name].players == 2)
    actions = Counter(np.concatenate([all_steps(r).actions.ravel() for r in recordings.values()]).tolist())
    assert min(actions[action] for action in range(6)) >= 1000


@pytest.mark.parametrize("name", ["8x8-2p-3f-coop", "15x15-4p-3f", "2s-10x10-3p-3f", "2s-5x5-9p-4f-coop"])
def test_names_mean_the_same_in_lbforaging(peer, name):
    gymnasium = pytest.importorskip("gymnasium", reason="lbforaging needs it")
    registered = gymnasium.spec(f"Foraging-{name}-v3").kwargs
    wanted = arguments(foraging_settings(name))
    assert {key: registered[key] for key in wanted} == wanted
    assert {key: value for key, value in registered.items() if key not in wanted} == {
        "grid_observation": False,
        "penalty": 0.0,
    }


def fresh(peer, settings, K):
    """The states after the first reset of K environments of lbforaging, without the parts that say nothing."""
    env, states_ = peer(settings), []
    for _ in range(K):
        for player in env.players:
            player.position = None
        seen, _ = env.reset()
        states_.append((positions_in(env), [p.level for p in env.players], env.field.copy(), seen))
    return states_


@pytest.mark.parametrize("name", ["6x6-2p-3f", "6x6-4p-2f-coop"])
def test_fresh_copies_are_distributed_as_in_lbforaging(peer, name):
    settings, K = foraging_settings(name), 1000
    torch.manual_seed(0)
    ours = Foraging(settings).reset(20_000)
    theirs = [torch.tensor(np.array(part)) for part in zip(*(s[:3] for s in fresh(peer, settings, K)), strict=True)]
    for cell in range(settings.players):
        places = [p[:, cell, 0] * settings.columns + p[:, cell, 1] for p in (ours.players, theirs[0])]
        assert alike(*places)
    fields = [field(ours, settings), theirs[2].long()]
    # The places of all items together, their levels together with those of the players, and how many there are.
    powers = 2 ** torch.arange(settings.rows * settings.columns)
    assert alike(*((f.flatten(1) > 0).long() @ powers for f in fields))
    weights = 3 ** torch.arange(settings.players)
    levels = [part.long() @ weights for part in (ours.levels, theirs[1])]
    highest = [f.flatten(1).max(1).values for f in fields]
    assert alike(*(10 * level + high for level, high in zip(levels, highest, strict=True)))
    assert alike(*(f.sum((1, 2)) for f in fields))
    assert alike(*((f > 0).sum((1, 2)) for f in fields))


def alike(ours, theirs):
    """Whether two samples may come from the same distribution; rare values are taken together."""
    values = torch.cat([ours, theirs]).unique()
    counts = torch.stack([(part[:, None] == values).sum(0) for part in (ours, theirs)])
    # Nothing may be seen there that is never seen here; 20 000 of ours stand for what is possible.
    assert counts[0].all()
    common = counts[0] >= 100
    table = torch.cat([counts[:, common], counts[:, ~common].sum(1, keepdim=True)], 1)
    table = table[:, table.sum(0) > 0]
    return table.shape[1] == 1 or stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_first_observations_agree_with_lbforaging(peer):
    settings = foraging_settings("2s-6x6-3p-3f")
    players, levels, grid, seen = map(np.array, zip(*fresh(peer, settings, 100), strict=True))
    n = np.zeros(100, int)
    blank = Recording(players, levels, grid, grid.sum((1, 2)), n, *[n] * 7)
    assert torch.equal(Foraging(settings).observe(states(blank, settings)), torch.tensor(seen))


def test_later_resets_of_lbforaging_depend_on_the_episode_before(peer):
    settings = foraging_settings("5x5-2p-1f")
    env, hits = peer(settings), 0
    for _ in range(300):
        env.players[0].position, env.players[1].position = (0, 0), (0, 1)
        env.reset()
        hits += env.players[0].position in {(0, 0), (0, 1)}
    assert hits == 0
    torch.manual_seed(0)
    ours = Foraging(settings).reset(300).players[:, 0]
    assert ((ours[:, 0] == 0) & (ours[:, 1] <= 1)).any()


def test_an_item_on_the_edge_is_loaded_here_but_not_found_in_lbforaging(peer):
    settings = ForagingSettings(5, 5, 1, 1)
    env = peer(settings)
    env.reset()
    env.field[:] = 0
    env.field[0, 2], env._food_spawned = 1, 1
    env.players[0].position, env.players[0].level = (1, 2), 1
    env._gen_valid_moves()
    with pytest.raises(TypeError):
        env.step([LOAD])
    assert play(start([[1, 2]], [[0, 2]]), [LOAD], settings) == ([(1, 2)], [0], [1.0], (True, False))


def test_an_action_that_does_not_exist_raises_in_lbforaging(peer):
    env = peer(foraging_settings("5x5-2p-1f"))
    env.reset()
    with pytest.raises(ValueError, match="6"):
        env.step([6, 0])


def test_a_grid_without_food_ends_with_its_first_step_in_lbforaging_too(peer):
    env = peer(ForagingSettings(3, 3, 8, 1))
    env.reset()
    for player, cell in zip(env.players, [4, 0, 1, 2, 3, 5, 6, 7], strict=True):
        player.position = divmod(cell, 3)
    env.field[:] = 0
    env._food_spawned = 0
    env._gen_valid_moves()
    _, rewards, done, _, _ = env.step([NONE] * 8)
    assert done
    assert not any(rewards)
