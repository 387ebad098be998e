"""Combat: the rules by hand and by a plain statement of them in Python, step by step over thousands of steps."""

from collections import Counter
from dataclasses import replace
from math import sqrt
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.games.combat import (
    ATTACK,
    COLUMNS,
    EAST,
    KINDS,
    NO_OP,
    NORTH,
    ROWS,
    SOUTH,
    STOP,
    TIME_LIMITS,
    WEST,
    Combat,
    CombatScenario,
    CombatState,
    UnitKind,
    combat_scenario,
)
from marlspec.properties import check

pytestmark = pytest.mark.thorough

MARINE, ZEALOT, STALKER = KINDS["m"], KINDS["z"], KINDS["s"]
MOVES = {NORTH: (-1, 0), SOUTH: (1, 0), EAST: (0, 1), WEST: (0, -1)}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def start(cells, health=None, cooldown=None, time=0):
    """One copy to compute with by hand; marines' full health and weapons that are ready unless given."""
    return CombatState(
        torch.tensor([cells]),
        torch.tensor([health or [45] * len(cells)]),
        torch.tensor([cooldown or [0] * len(cells)]),
        torch.tensor([time]),
    )


def play(state, actions, allies, enemies, **options):
    """One step in float64 of letters' units; returns cells, healths, cooldowns, the team's reward and both ends."""
    teams = (tuple(KINDS[unit] for unit in team) for team in (allies, enemies))
    scenario = CombatScenario("by hand", *teams, **options)
    after, rewards, terminated, truncated = Combat(scenario, dtype=torch.float64).step(state, torch.tensor([actions]))
    assert (rewards == rewards[:, :1]).all() or rewards.isnan().all()
    cells = [tuple(cell) for cell in after.position[0].tolist()]
    ends = (terminated.item(), truncated.item())
    return SimpleNamespace(
        cells=cells, health=after.health[0].tolist(), cooldown=after.cooldown[0].tolist(), reward=rewards[0, 0].item(),
        ends=ends, state=after,
    )  # fmt: skip


FAR_AWAY = [15, 21]


# Moves, by hand. The enemy is a zealot far away, which comes nearer.


@pytest.mark.parametrize(("action", "cell"), [(STOP, (5, 5)), *((a, (5 + r, 5 + c)) for a, (r, c) in MOVES.items())])
def test_every_move_goes_its_way(action, cell):
    assert play(start([[5, 5], FAR_AWAY]), [action], "m", "z").cells == [cell, (15, 20)]


@pytest.mark.parametrize(
    ("cell", "closed"),
    [
        ((0, 0), {NORTH, WEST}),
        ((0, 9), {NORTH}),
        ((0, 21), {NORTH, EAST}),
        ((7, 0), {WEST}),
        ((7, 21), {EAST}),
        ((15, 0), {SOUTH, WEST}),
        ((15, 9), {SOUTH}),
        ((15, 21), {SOUTH, EAST}),
        ((1, 1), set()),
        ((14, 20), set()),
    ],
)
def test_no_move_leads_off_the_map(cell, closed):
    available = Combat("1m_vs_1z").available(start([list(cell), [7, 9]]))[0, 0]
    assert {action for action in MOVES if not available[action]} == closed


@pytest.mark.parametrize(
    ("cells", "actions", "after"),
    [
        ([(1, 1), (1, 2)], [EAST, STOP], [(1, 1), (1, 2)]),
        ([(1, 1), (1, 2)], [EAST, EAST], [(1, 1), (1, 3)]),
        ([(1, 1), (1, 2)], [EAST, WEST], [(1, 1), (1, 2)]),
        ([(1, 1), (1, 3)], [EAST, WEST], [(1, 2), (1, 3)]),
        ([(1, 1), (1, 3), (2, 2)], [STOP, WEST, NORTH], [(1, 1), (1, 2), (2, 2)]),
        ([(1, 3), (1, 1), (2, 2)], [STOP, EAST, NORTH], [(1, 3), (1, 2), (2, 2)]),
        ([(1, 1), (1, 2), (2, 2)], [EAST, SOUTH, WEST], [(1, 1), (1, 2), (2, 1)]),
        ([(1, 1), (1, 2), (2, 3)], [EAST, EAST, NORTH], [(1, 1), (1, 3), (2, 3)]),
    ],
    ids=[
        "one stands in the way",
        "one leaves the cell in the same step",
        "two want to change places",
        "the first of two gets the cell",
        "the second of three gets it",
        "from whichever side",
        "one is in the way of another, who is in the way of a third",
        "the one that enters is itself in the way",
    ],
)
def test_who_enters_a_cell(cells, actions, after):
    state = start([*map(list, cells), FAR_AWAY])
    assert play(state, actions, "m" * len(cells), "z").cells[:-1] == after


def test_allies_enter_before_enemies():
    assert play(start([[1, 1], [1, 3]]), [EAST], "z", "z").cells == [(1, 2), (1, 3)]
    assert play(start([[1, 1], [1, 3]]), [STOP], "z", "z").cells == [(1, 1), (1, 2)]


def test_the_dead_are_in_nobodys_way_and_take_nobodys_place():
    state = start([[1, 2], [1, 1], FAR_AWAY], health=[0, 45, 9])
    assert play(state, [NO_OP, EAST], "mm", "z").cells[:2] == [(1, 2), (1, 2)]
    state = start([[1, 2], [1, 1], [1, 3], FAR_AWAY], health=[0, 45, 45, 9])
    assert play(state, [NO_OP, STOP, WEST], "mmm", "z").cells[:3] == [(1, 2), (1, 1), (1, 2)]


def test_the_cell_of_one_killed_in_this_step_is_free():
    state = start([[5, 5], [5, 4], [5, 6], FAR_AWAY], health=[16, 150, 150, 150])
    after = play(state, [WEST, EAST], "zz", "zz")
    assert after.health[0] == 0
    assert after.cells[:2] == [(5, 5), (5, 5)]


# Attacks, by hand.


def test_an_attack_takes_the_damage_off_and_the_weapon_cools_down():
    first = play(start([[5, 5], [5, 10]]), [ATTACK], "s", "z")
    assert (first.health, first.cooldown) == ([45, 32], [3, 0])
    assert first.reward == 13 * 20 / (150 + 10 + 200)
    state, healths = first.state, []
    for _ in range(5):
        after = play(state, [ATTACK], "s", "z")
        state = after.state._replace(position=first.state.position)
        healths.append((after.health[1], after.cooldown[0], after.reward > 0))
    assert healths == [(32, 2, False), (32, 1, False), (32, 0, False), (19, 3, True), (19, 2, False)]


def test_weapons_cool_down_while_units_do_other_things():
    state = start([[5, 5], [5, 7], FAR_AWAY], cooldown=[3, 1, 2])
    assert play(state, [NORTH, STOP], "ss", "s").cooldown == [2, 0, 1]


@pytest.mark.parametrize(
    ("unit", "reached", "missed"),
    [
        ("m", [(0, 5), (3, 4), (4, 3), (-5, 0)], [(0, 6), (1, 5), (4, 4)]),
        ("z", [(0, 1), (1, 1), (-1, 1), (-1, -1), (1, 0)], [(0, 2), (1, 2), (2, 1)]),
        ("s", [(0, 6), (4, 4), (3, 5)], [(1, 6), (4, 5), (0, 7)]),
        ("d", [(0, 4), (2, 3)], [(1, 4), (3, 3)]),
        ("c", [(0, 7), (4, 5)], [(1, 7), (5, 5)]),
    ],
)
def test_ranges_are_round(unit, reached, missed):
    game = Combat(f"1{unit}")
    for cells, within in ((reached, True), (missed, False)):
        for row, column in cells:
            state = start([[8, 8], [8 + row, 8 + column]])
            assert game.available(state)[0, 0, ATTACK] == within
            # The enemy is of the same kind: it fires from within the range, else it comes nearer.
            after = game.step(state, torch.tensor([[STOP]]))[0]
            assert (after.health[0, 0] < 45) == within
            assert torch.equal(after.position, state.position) == within


def test_all_attacks_happen_at_once():
    # The two kill each other; the third ally's attack on the same enemy is lost.
    state = start([[5, 5], [6, 5], [5, 7]], health=[6, 45, 6])
    after = play(state, [ATTACK, ATTACK], "mm", "m")
    assert after.health == [0, 45, 0]
    assert after.cooldown == [1, 1, 1]
    assert after.reward == (6 + 10 + 200) * 20 / (45 + 10 + 200)
    assert after.ends == (True, False)


def test_a_target_that_moves_away_is_hit():
    state = start([[5, 5], [5, 10]])
    assert play(state, [WEST], "m", "m").health == [39, 45]


def test_one_that_dies_does_not_move():
    assert play(start([[5, 5], [0, 0], [5, 9]], health=[6, 45, 45]), [NORTH, STOP], "mm", "m").cells[0] == (5, 5)


def test_if_both_teams_die_nobody_wins():
    after = play(start([[5, 5], [5, 7]], health=[6, 6]), [ATTACK], "m", "m")
    assert after.health == [0, 0]
    assert after.ends == (True, False)
    assert after.reward == (6 + 10) * 20 / (45 + 10 + 200)
    assert not Combat("1m").won(after.state)


def test_damage_to_the_team_costs_nothing():
    after = play(start([[5, 5], [9, 9], [5, 6]], health=[1, 45, 150]), [STOP, STOP], "mm", "z")
    assert after.health[0] == 0
    assert after.reward == 0


# The enemy, by hand.


def test_the_enemy_attacks_the_nearest_living_ally_and_of_several_the_first():
    allies = [[5, 5], [5, 8], [7, 7]]
    assert play(start([*allies, [5, 7]]), [STOP] * 3, "mmm", "m").health == [45, 39, 45, 45]
    assert play(start([*allies, [5, 7]], health=[45, 0, 45, 45]), [STOP, NO_OP, STOP], "mmm", "m").health == [
        39, 0, 45, 45,
    ]  # fmt: skip
    assert play(start([*allies, [5, 7]], health=[0, 0, 45, 45]), [NO_OP] * 2 + [STOP], "mmm", "m").health[2] == 39


def test_the_enemy_waits_in_range_for_its_weapon():
    after = play(start([[5, 5], [5, 9]], cooldown=[0, 1]), [STOP], "m", "m")
    assert (after.health, after.cells[1], after.cooldown) == ([45, 45], (5, 9), [0, 0])


@pytest.mark.parametrize(
    ("ally", "cell"),
    [
        ((0, 9), (7, 9)),
        ((15, 9), (9, 9)),
        ((8, 0), (8, 8)),
        ((8, 20), (8, 10)),
        ((3, 5), (7, 9)),
        ((4, 5), (7, 9)),
        ((12, 13), (9, 9)),
        ((4, 4), (8, 8)),
        ((12, 14), (8, 10)),
    ],
    ids=["north", "south", "west", "east", "rather north", "both alike: north", "south", "rather west", "rather east"],
)
def test_the_enemy_comes_nearer(ally, cell):
    assert play(start([list(ally), [8, 9]]), [STOP], "z", "z").cells[1] == cell


def test_the_enemy_follows_the_nearest_and_of_several_the_first():
    assert play(start([[8, 2], [8, 14], [8, 8]]), [STOP] * 2, "zz", "z").cells[2] == (8, 7)
    assert play(start([[8, 14], [8, 2], [8, 8]]), [STOP] * 2, "zz", "z").cells[2] == (8, 9)
    assert play(start([[8, 2], [8, 13], [8, 8]]), [STOP] * 2, "zz", "z").cells[2] == (8, 9)
    assert play(start([[8, 7], [8, 13], [8, 8]], health=[0, 5, 5]), [NO_OP, STOP], "zz", "z").cells[2] == (8, 9)


def test_an_enemy_in_the_way_is_passed_if_that_leads_nearer_and_else_waited_for():
    # The ally lies rather to the west, and the way is taken: so north-west by north.
    after = play(start([[5, 5], [8, 10], [8, 9]]), [STOP], "z", "zz")
    assert after.cells[1:] == [(7, 10), (8, 8)]
    # In the same row, passing would lead away.
    assert play(start([[8, 5], [8, 10], [8, 9]]), [STOP], "z", "zz").cells[1:] == [(8, 10), (8, 8)]


# Rewards and ends.


def test_the_time_limit_truncates_what_has_not_terminated():
    stand, last = start([[1, 1], [14, 20]], time=58), start([[5, 5], [5, 6]], health=[45, 6], time=59)
    assert play(stand, [STOP], "m", "m", time_limit=60).ends == (False, False)
    assert play(stand._replace(time=stand.time + 1), [STOP], "m", "m", time_limit=60).ends == (False, True)
    assert play(last, [STOP], "m", "m", time_limit=60).ends == (False, True)
    assert play(last, [ATTACK], "m", "m", time_limit=60).ends == (True, False)


@pytest.mark.parametrize(
    ("ended", "ends"),
    [
        (start([[5, 5], [5, 6]], health=[45, 0], cooldown=[1, 0], time=7), (True, False)),
        (start([[5, 5], [5, 6]], health=[0, 45], time=7), (True, False)),
        (start([[5, 5], [5, 6]], health=[0, 0], time=7), (True, False)),
        (start([[5, 5], [5, 6]], cooldown=[1, 1], time=60), (False, True)),
    ],
    ids=["victory", "defeat", "draw", "timeout"],
)
@pytest.mark.parametrize("action", [NO_OP, STOP, NORTH, ATTACK, ATTACK + 1, -1])
def test_a_copy_that_has_ended_stays_and_pays_nothing(ended, ends, action):
    after = play(ended, [action], "m", "m", time_limit=60)
    assert (after.reward, after.ends) == (0, ends)
    assert all(torch.equal(a, b) for a, b in zip(ended, after.state, strict=True))


def test_what_is_available_by_hand():
    game = Combat("2m_vs_3z")
    state = start([[0, 3], [8, 9], [0, 8], [4, 6], [5, 3]], health=[45, 0, 9, 9, 9])
    assert game.available(state)[0].int().tolist() == [[0, 1, 0, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0]]
    state = start([[0, 3], [7, 9], [0, 9], [4, 6], [5, 4]], health=[45, 45, 9, 0, 9])
    assert game.available(state)[0].int().tolist() == [[0, 1, 0, 1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0, 0, 0]]


def test_an_action_that_is_not_available_pays_nan_and_ends_the_episode_of_its_copy_alone():
    game = Combat("2m")
    state = start([[0, 3], [8, 9], [0, 8], [8, 13]])
    good, dead_second = [ATTACK, ATTACK + 1], [ATTACK, NO_OP]
    bad = [[NORTH, STOP], [NO_OP, STOP], [ATTACK + 1, STOP], [STOP, -1], [STOP, ATTACK + 2], [99, -99]]
    bad_with_dead_second = [[ATTACK, STOP], [ATTACK, ATTACK + 1], [ATTACK, -1]]
    actions = torch.tensor([good, *bad, good, dead_second, *bad_with_dead_second])
    state = CombatState(*(part.repeat(12, *[1] * (part.dim() - 1)) for part in state))
    state.health[8:, 1] = 0
    after, rewards, terminated, truncated = game.step(state, actions)
    wrong = [False, *[True] * 6, False, False, *[True] * 3]
    assert rewards.isnan().all(-1).tolist() == rewards.isnan().any(-1).tolist() == wrong
    assert terminated.tolist() == wrong
    assert not truncated.any()
    assert (after.health[:, :2] == 0).all(-1).tolist() == wrong
    assert not game.won(after).any()
    _, rewards, terminated, _ = game.step(after, torch.full((12, 2), STOP).masked_fill(after.health[:, :2] == 0, NO_OP))
    assert terminated.tolist() == wrong
    assert not rewards[wrong].any()


# What is observed, by hand.


def test_what_is_seen_by_hand():
    game = Combat("2m_vs_1m1z", dtype=torch.float64)
    assert (game.n_agents, game.n_enemies, game.n_actions) == (2, 2, 8)
    assert (game.observation_size, game.state_size) == (4 + 7 * 2 + 6 + 4, 6 * 4)
    # The second enemy is 9.05 away from the first ally, and 9 from the second.
    state = start([[0, 6], [1, 6], [3, 2], [1, 15]], health=[45, 9, 15, 75], cooldown=[0, 1, 1, 0])
    marine, zealot = [1, 0], [0, 1]
    first = [0, 1, 1, 1, 1, 5 / 9, 3 / 9, -4 / 9, 15 / 45, *marine, *[0] * 7, 1 / 9, 1 / 9, 0, 9 / 45, *marine]
    second = [1, 1, 1, 1, 1, sqrt(20) / 9, 2 / 9, -4 / 9, 15 / 45, *marine, 0, 1, 0, 1, 75 / 150, *zealot]
    second += [1 / 9, -1 / 9, 0, 1, *marine]
    seen = game.observe(state)[0].tolist()
    assert seen == [[*first, 1, 0, *marine], [*second, 9 / 45, 1 / 2, *marine]]
    whole = [1, 0, -1, -9 / 21, *marine, 9 / 45, 1 / 2, -13 / 15, -9 / 21, *marine]
    whole += [15 / 45, 1 / 2, -9 / 15, -17 / 21, *marine, 75 / 150, 0, -13 / 15, 9 / 21, *zealot]
    assert game.centralized(state)[0].tolist() == whole
    dead = state._replace(health=torch.tensor([[0, 9, 15, 0]]))
    assert game.observe(dead)[0].tolist() == [
        [0] * 28,
        [*second[:11], *[0] * 7, *[0] * 6, 9 / 45, 1 / 2, *marine],
    ]
    assert game.centralized(dead)[0].tolist() == [*[0] * 6, *whole[6:18], *[0] * 6]


def test_sight_is_the_kinds_own():
    game = Combat("1m1s_vs_1z")
    for distance, seen in ((9, [True, True]), (10, [False, True]), (11, [False, False])):
        state = start([[3, 2], [4, 2], [0, 0]])
        for i in range(2):
            state.position[0, 2] = state.position[0, i] + torch.tensor([0, distance])
            assert game.observe(state)[0, i, 4:11].any() == seen[i]


def test_one_agent_alone_observes_no_others():
    game = Combat("1m")
    assert game.observe(game.reset(3)).shape == (3, 1, 4 + 6 + 3)


# An independent statement of the rules.


def squared(one, other):
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def stepped(cell, action):
    row, column = MOVES[action]
    return (cell[0] + row, cell[1] + column)


def on_the_map(cell):
    return 0 <= cell[0] < ROWS and 0 <= cell[1] < COLUMNS


class Battle:
    """One copy in plain Python, and what was met in it."""

    def __init__(self, scenario, state, k, met):
        self.scenario, self.met = scenario, met
        self.n = len(scenario.allies)
        self.kinds = [*scenario.allies, *scenario.enemies]
        self.cells = [tuple(cell) for cell in state.position[k].tolist()]
        self.health, self.cooldown = state.health[k].tolist(), state.cooldown[k].tolist()
        self.time = state.time[k].item()
        self.teams = range(self.n), range(self.n, len(self.kinds))

    def alive(self, team):
        return [unit for unit in self.teams[team] if self.health[unit] > 0]

    def ends(self):
        if not self.alive(0) or not self.alive(1):
            return True, False
        return False, self.time >= self.scenario.time_limit

    def allowed(self, i, action):
        if self.health[i] == 0:
            return action == NO_OP
        if action in MOVES:
            return on_the_map(stepped(self.cells[i], action))
        return action == STOP or (action >= ATTACK and self.may_attack(i, self.n + action - ATTACK))

    def may_attack(self, unit, target):
        return (
            self.health[target] > 0
            and squared(self.cells[unit], self.cells[target]) <= self.kinds[unit].attack_range ** 2
        )

    def order_of_enemy(self, unit):
        distance = {ally: squared(self.cells[unit], self.cells[ally]) for ally in self.alive(0)}
        target = min(distance, key=lambda ally: (distance[ally], ally))
        self.met["enemies with several nearest"] += list(distance.values()).count(distance[target]) > 1
        if self.may_attack(unit, target):
            return "attack", target
        occupied = {self.cells[other] for other in (*self.alive(0), *self.alive(1))}
        best, free_best, least, free_least = STOP, STOP, distance[target], distance[target]
        for action in MOVES:
            there = stepped(self.cells[unit], action)
            length = squared(there, self.cells[target])
            if length < least:
                best, least = action, length
            if length < free_least and on_the_map(there) and there not in occupied:
                free_best, free_least = action, length
        self.met["enemies passing"] += free_best not in (best, STOP)
        self.met["enemies stuck"] += free_best == STOP
        return "move", free_best

    def step(self, actions):
        """Returns the reward."""
        if any(self.ends()):
            self.met["steps after the end"] += 1
            return 0.0
        orders = {}
        for i in self.alive(0):
            action = actions[i]
            assert self.allowed(i, action)
            orders[i] = ("attack", self.n + action - ATTACK) if action >= ATTACK else ("move", action)
        for unit in self.alive(1):
            orders[unit] = self.order_of_enemy(unit)
        before = list(self.health)
        self.attack(orders)
        fallen = [unit for unit in orders if self.health[unit] == 0]
        enemies_fallen = sum(unit >= self.n for unit in fallen)
        self.met["kills"] += enemies_fallen
        self.met["losses"] += len(fallen) - enemies_fallen
        self.move({unit: kind[1] for unit, kind in orders.items() if kind[0] == "move" and unit not in fallen}, before)
        self.time += 1
        points = sum(before[j] - self.health[j] for j in self.teams[1]) + 10 * enemies_fallen
        if not self.alive(1) and self.alive(0):
            points += 200
        self.note_end()
        return points * 20 / (200 + sum(10 + kind.health for kind in self.scenario.enemies))

    def attack(self, orders):
        fires = [unit for unit, order in orders.items() if order[0] == "attack" and self.cooldown[unit] == 0]
        waiting = sum(order[0] == "attack" for order in orders.values()) - len(fires)
        self.met["attacks"] += len(fires)
        self.met["attacks that wait"] += waiting
        self.cooldown = [max(0, left - 1) for left in self.cooldown]
        for unit in fires:
            self.cooldown[unit] = self.kinds[unit].cooldown - 1
            target = orders[unit][1]
            self.met["attacks on the dying"] += self.health[target] == 0
            self.met["attacks with too much damage"] += 0 < self.health[target] < self.kinds[unit].damage
            self.health[target] = max(0, self.health[target] - self.kinds[unit].damage)
        self.met["attacks of the dying"] += sum(self.health[unit] == 0 for unit in fires)

    def move(self, moves, health_before):
        occupied = {self.cells[unit] for unit in (*self.alive(0), *self.alive(1))}
        graves = {self.cells[unit] for unit, health in enumerate(self.health) if health == 0}
        fresh_graves = {cell for unit, cell in enumerate(self.cells) if health_before[unit] > self.health[unit] == 0}
        entered = set()
        for unit, action in sorted(moves.items()):
            if action not in MOVES:
                continue
            there = stepped(self.cells[unit], action)
            team = "allies" if unit < self.n else "enemies"
            if there in occupied:
                self.met[f"{team} blocked"] += 1
            elif there in entered:
                self.met[f"{team} too late"] += 1
            else:
                self.met[f"{team} moved"] += 1
                self.met["onto graves"] += there in graves
                self.met["onto fresh graves"] += there in fresh_graves
                self.cells[unit] = there
                entered.add(there)

    def note_end(self):
        terminated, truncated = self.ends()
        if truncated:
            self.met["timeouts"] += 1
        if terminated:
            won, lost = bool(self.alive(0)), bool(self.alive(1))
            self.met["victories" if won else "defeats" if lost else "draws"] += 1

    def kind(self, unit):
        occurring = [kind for kind in KINDS.values() if kind in self.kinds]
        return [float(kind == self.kinds[unit]) for kind in occurring]

    def part(self, unit):
        return self.health[unit] / self.kinds[unit].health

    def cooling(self, unit):
        return self.cooldown[unit] / self.kinds[unit].cooldown

    def available(self):
        actions = range(ATTACK + len(self.teams[1]))
        self.met["moves off the map"] += sum(not self.allowed(i, action) for i in self.alive(0) for action in MOVES)
        return [[self.allowed(i, action) for action in actions] for i in self.teams[0]]

    def observed(self, i):
        width = 4 + len(self.kind(i))
        if self.health[i] == 0:
            return [0.0] * (4 + (width + 1) * len(self.teams[1]) + width * (self.n - 1) + width - 2)
        seen = [float(self.allowed(i, action)) for action in MOVES]
        for unit in (*self.teams[1], *(other for other in self.teams[0] if other != i)):
            enemy, sight = unit >= self.n, self.kinds[i].sight
            length = squared(self.cells[i], self.cells[unit])
            if self.health[unit] == 0 or length > sight**2:
                self.met["living units out of sight"] += self.health[unit] > 0
                seen += [0.0] * (width + enemy)
                continue
            seen += [float(self.may_attack(i, unit))] * enemy
            seen += [sqrt(length) / sight]
            seen += [(there - here) / sight for there, here in zip(self.cells[unit], self.cells[i], strict=True)]
            seen += [self.part(unit), *self.kind(unit)]
        return [*seen, self.part(i), self.cooling(i), *self.kind(i)]

    def whole(self):
        numbers = []
        for unit, (row, column) in enumerate(self.cells):
            place = [(2 * row - (ROWS - 1)) / (ROWS - 1), (2 * column - (COLUMNS - 1)) / (COLUMNS - 1)]
            entries = [self.part(unit), self.cooling(unit), *place, *self.kind(unit)]
            numbers += entries if self.health[unit] else [0.0] * len(entries)
        return numbers


def crowded(game, K):
    """K copies in the middle of a fight in a corner of the map: wounded, wherever they have got to, some long dead."""
    N = game.n_agents + game.n_enemies
    side = 3 if N <= 6 else 4
    cells = torch.rand(K, side * (side + 1)).topk(N).indices
    corner = torch.randint(0, 2, (K, 1, 2)) * torch.tensor([ROWS - side, COLUMNS - side - 1])
    position = torch.stack([cells // (side + 1), cells % (side + 1)], -1) + corner
    health = (torch.rand(K, N) * game._health.clamp(max=60)).long().clamp(min=1)
    health[::2, game.n_agents :].clamp_(max=15)
    for team in (slice(0, game.n_agents), slice(game.n_agents, N)):
        # The first of each team lives.
        health[:, team][:, 1:] *= torch.rand(K, health[:, team].shape[1] - 1) < 0.7
    cooldown = torch.randint(0, 4, (K, N)).clamp(max=game._cooldown - 1)
    return CombatState(position, health, cooldown, torch.randint(0, game.scenario.time_limit, (K,)))


def random_actions(game, state):
    """Available ones; attacks rather than others in half of the copies, and moves in a quarter."""
    weight = torch.rand(len(state.time), game.n_agents, game.n_actions)
    weight[::2, :, ATTACK:] += 0.5
    weight[1::4, :, NORTH:ATTACK] += 0.5
    return weight.masked_fill(~game.available(state), -1).argmax(-1)


def agrees(game, state, actions, met):
    """Play one step in K copies and in plain Python, and assert that all is the same."""
    battles = [Battle(game.scenario, state, k, met) for k in range(len(state.time))]
    after, rewards, terminated, truncated = game.step(state, actions)
    paid = [battle.step(own) for battle, own in zip(battles, actions.tolist(), strict=True)]
    assert after.position.tolist() == [[list(cell) for cell in battle.cells] for battle in battles]
    assert after.health.tolist() == [battle.health for battle in battles]
    assert after.cooldown.tolist() == [battle.cooldown for battle in battles]
    assert after.time.tolist() == [battle.time for battle in battles]
    assert rewards.tolist() == [[reward] * game.n_agents for reward in paid]
    assert list(zip(terminated.tolist(), truncated.tolist(), strict=True)) == [battle.ends() for battle in battles]
    assert game.available(after).tolist() == [battle.available() for battle in battles]
    seen = torch.tensor([[b.observed(i) for i in range(b.n)] for b in battles], dtype=torch.float64)
    # Parts of the sight are below 1; torch's roots may differ from correctly rounded ones by a unit in the last place.
    torch.testing.assert_close(game.observe(after), seen, rtol=0, atol=2 * 2.0**-53)
    assert game.centralized(after).tolist() == [battle.whole() for battle in battles]
    living = [(bool(battle.alive(0)), bool(battle.alive(1))) for battle in battles]
    assert game.won(after).tolist() == [ours and not theirs for ours, theirs in living]
    for battle in battles:
        standing = [battle.cells[unit] for team in (0, 1) for unit in battle.alive(team)]
        assert len(set(standing)) == len(standing)
    met["steps"] += len(battles)
    return after, terminated | truncated


def renewed(finished, fresh, state):
    """The fresh copies where finished, else those of the state."""
    state = CombatState(*(part.clone() for part in state))
    for new, old in zip(fresh, state, strict=True):
        old[finished] = new[finished]
    return state


# How often the rollouts below meet each of them at least: a rule that is hardly met is hardly tested.
HUNDREDS = (
    "kills", "losses", "victories", "defeats", "timeouts", "attacks", "attacks that wait", "attacks on the dying",
    "attacks of the dying", "attacks with too much damage", "moves off the map", "allies moved", "allies blocked",
    "enemies moved", "enemies passing", "enemies stuck", "enemies with several nearest", "onto graves",
    "living units out of sight",
)  # fmt: skip
LEAST = {"steps": 8000, "steps after the end": 100, "allies too late": 100, "enemies too late": 100,
         "draws": 20, "onto fresh graves": 50} | dict.fromkeys(HUNDREDS, 200)  # fmt: skip


def test_steps_agree_with_a_plain_statement_of_the_rules():
    met, K = Counter(), 40
    for name in ("3m", "2s3z", "5m_vs_6m", "2d_3z", "1c2h_vs_4w", "1z_vs_2z", "3s_vs_4z"):
        game = Combat(replace(combat_scenario(name), time_limit=25), dtype=torch.float64)
        state = renewed(torch.arange(K) < 8, game.reset(K), crowded(game, K))
        for _ in range(30):
            state, finished = agrees(game, state, random_actions(game, state), met)
            # One of ten that have ended goes on.
            state = renewed(finished & (torch.rand(K) < 0.9), crowded(game, K), state)
    assert {what: met[what] for what, least in LEAST.items() if met[what] < least} == {}


# How hard it is.


def the_way(game, state):
    """For each ally the action that brings it nearest to its nearest enemy over a free cell; stop if none does."""
    n = game.n_agents
    living = state.health > 0
    lengths = apart(game, state).masked_fill(~living[:, None, n:], 10**6)
    goal = state.position.take_along_dim(n + lengths.argmin(-1)[..., None], 1)
    steps = torch.tensor([(0, 0), *MOVES.values()])
    there = state.position[:, :n, None] + steps
    free = ~((there[:, :, :, None] == state.position[:, None, None]).all(-1) & living[:, None, None]).any(-1)
    free &= game.available(state)[..., STOP:ATTACK]
    free[..., 0] = True
    return STOP + (goal[:, :, None] - there).square().sum(-1).masked_fill(~free, 10**6).argmin(-1)


def apart(game, state):
    between = state.position[:, : game.n_agents, None] - state.position[:, None, game.n_agents :]
    return between.square().sum(-1)


def scripted(game, state, score):
    """Attack the enemy in range with the lowest score, else go to the nearest one."""
    attacks = game.available(state)[..., ATTACK:]
    attack = ATTACK + score.expand_as(attacks).masked_fill(~attacks, 10**9).argmin(-1)
    action = torch.where(attacks.any(-1), attack, the_way(game, state))
    return torch.where(state.health[:, : game.n_agents] > 0, action, NO_OP)


def nearest_attack(game, state):
    return scripted(game, state, apart(game, state))


def focus_fire(game, state):
    """Everyone attacks the weakest in range, of several the nearest."""
    return scripted(game, state, 1000 * state.health[:, None, game.n_agents :] + apart(game, state))


def results(game, script, episodes):
    """The shares of victories and of defeats, and the mean return."""
    state, total = game.reset(episodes), torch.zeros(episodes)
    for _ in range(game.scenario.time_limit):
        state, rewards, terminated, truncated = game.step(state, script(game, state))
        assert (rewards >= 0).all()
        total += rewards[:, 0]
        if (terminated | truncated).all():
            break
    assert (terminated | truncated).all()
    assert total.max() <= 20 + 1e-4
    won = game.won(state)
    assert (total[won] - 20).abs().max() < 1e-4 if won.any() else True
    lost = (state.health[:, : game.n_agents] == 0).all(-1) & (state.health > 0).any(-1)
    return won.float().mean().item(), lost.float().mean().item(), total.mean().item()


@pytest.mark.parametrize("name", ["3m", "2s3z"])
def test_random_teams_lose_and_focused_fire_wins_more_often_than_attacking_the_nearest(name):
    game, episodes = Combat(name), 600
    by_chance, nearest, focused = (results(game, s, episodes) for s in (random_actions, nearest_attack, focus_fire))
    assert by_chance[0] <= 0.01
    assert by_chance[1] >= 0.98
    # Three standard deviations of the difference between two shares, at most.
    beyond_chance = 3 * sqrt(2 * 0.25 / episodes)
    assert nearest[0] > by_chance[0] + beyond_chance
    assert focused[0] > nearest[0] + beyond_chance
    assert by_chance[2] < nearest[2] < focused[2] < 20


# Scenarios.


@pytest.mark.parametrize(
    ("name", "allies", "enemies", "limit"),
    [
        ("3m", "mmm", "mmm", 60),
        ("5m", "mmmmm", "mmmmm", 120),
        ("5w", "wwwww", "wwwww", 120),
        ("2d_3z", "ddzzz", "ddzzz", 120),
        ("2d3z", "ddzzz", "ddzzz", 120),
        ("2s3z", "sszzz", "sszzz", 120),
        ("5m_vs_6m", "mmmmm", "mmmmmm", 70),
        ("3s5z_vs_3s6z", "ssszzzzz", "ssszzzzzz", 170),
        ("1c3s5z", "cssszzzzz", "cssszzzzz", 180),
        ("6h_vs_8z", "hhhhhh", "zzzzzzzz", 150),
        ("10m_vs_11m", "m" * 10, "m" * 11, 150),
        ("1z1m1z_vs_2s", "zmz", "ss", 120),
    ],
)
def test_names_tell_the_teams(name, allies, enemies, limit):
    scenario = combat_scenario(name)
    assert scenario.allies == tuple(KINDS[unit] for unit in allies)
    assert scenario.enemies == tuple(KINDS[unit] for unit in enemies)
    assert scenario.time_limit == limit
    game = Combat(name)
    assert game.name == f"Combat-{name}"
    assert (game.n_agents, game.n_enemies, game.n_actions) == (len(allies), len(enemies), 6 + len(enemies))


@pytest.mark.parametrize("name", TIME_LIMITS)
def test_every_named_scenario_is_played(name):
    game = Combat(name)
    state = game.reset(3)
    state, rewards, terminated, truncated = game.step(state, random_actions(game, state))
    assert rewards.shape == (3, game.n_agents)
    assert not (terminated | truncated).any()
    assert game.observe(state).shape == (3, game.n_agents, game.observation_size)
    assert game.centralized(state).shape == (3, game.state_size)
    assert game.available(state).shape == (3, game.n_agents, game.n_actions)


@pytest.mark.parametrize(
    "name",
    ["", "MMM", "3x", "m", "0m", "03m", "3m_", "_3m", "3m_vs", "3m_vs_", "3m_vs_3m_vs_3m", "3m-4z", "3 m", "corridor",
     "2c_vs_64zg", "3M", "3m\n", "3m__2z"],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"is no combat scenario: the form is UNITS .* such as 3m, .*2s3z"):
        combat_scenario(name)


@pytest.mark.parametrize("name", ["33m", "3m_vs_33m", "20m20z", "99999999999999999999m"])
def test_teams_without_a_place_to_start_are_refused(name):
    with pytest.raises(InputError, match=r"a team has at least one unit, and at most 32 have a place"):
        combat_scenario(name)


def test_scenarios_of_ones_own():
    giant = UnitKind("giant", 1000, 100, 3.2, 6, 12.5)
    game = Combat(CombatScenario("giant", (MARINE,) * 4, (giant,), time_limit=5), dtype=torch.float64)
    assert game.name == "Combat-giant"
    assert (game.n_agents, game.n_enemies) == (4, 1)
    # A kind that is not in the table comes after those that are.
    assert game.observe(start([[5, 5], [0, 0], [0, 1], [0, 2], [5, 8]]))[0, 0, 8:11].tolist() == [45 / 1000, 0, 1]
    # 3.2 squared is 10.24.
    for cell, hit in (((2, 6), True), ((2, 4), True), ((2, 3), False)):
        state = start([[5, 5], [15, 0], [15, 1], [15, 2], list(cell)])
        assert (game.step(state, torch.tensor([[STOP] * 4]))[0].health[0, 0] == 0) == hit
    # 12.5 squared is 156.25.
    game = Combat(CombatScenario("giants", (giant,), (MARINE,)))
    for cell, seen in ((15, 5), True), ((14, 8), False):
        assert game.observe(start([[3, 2], list(cell)]))[0, 0, 4:11].any() == seen
    with pytest.raises(InputError, match="empty: 0 enemies: a team has at least one unit"):
        CombatScenario("empty", (MARINE,), ())
    with pytest.raises(InputError, match="endless: time_limit is 0: a positive integer is needed"):
        CombatScenario("endless", (MARINE,), (ZEALOT,), time_limit=0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("health", 0, "marine: health is 0: a positive integer"),
        ("damage", -1, "marine: damage is -1: a positive integer"),
        ("cooldown", True, "marine: cooldown is True: a positive integer"),
        ("attack_range", 0.5, "attack_range is 0.5 and sight is 9"),
        ("attack_range", 9.5, "attack_range is 9.5 and sight is 9"),
        ("attack_range", float("nan"), "attack_range is nan"),
        ("sight", float("inf"), "sight is inf: .* both finite"),
    ],
)
def test_units_that_make_no_sense_are_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        replace(MARINE, **{field: value})


@pytest.mark.parametrize("K", [0, -1, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive"):
        Combat("3m").reset(K)


def test_a_dtype_without_fractions_is_refused():
    with pytest.raises(InputError, match="int64"):
        Combat("3m", dtype=torch.int64)


# Fresh copies.


def test_fresh_copies_are_whole_and_ready():
    state = Combat("2s3z_vs_1c").reset(50)
    assert state.health.tolist() == [[160, 160, 150, 150, 150, 350]] * 50
    assert not state.cooldown.any()
    assert not state.time.any()
    assert {part.dtype for part in state} == {torch.int64}


def test_teams_start_on_any_cells_of_their_blocks():
    K = 4000
    position = Combat("3m_vs_2z").reset(K).position
    for cells, first_column in ((position[:, :3], 3), (position[:, 3:], 15)):
        place = (cells[..., 0] - 4) * 4 + cells[..., 1] - first_column
        assert ((cells[..., 0] >= 4) & (cells[..., 0] < 12)).all()
        assert ((cells[..., 1] >= first_column) & (cells[..., 1] < first_column + 4)).all()
        assert (place[:, 0] != place[:, 1]).all()
        for unit in range(place.shape[1]):
            assert stats.chisquare(torch.bincount(place[:, unit], minlength=32)).pvalue > 1e-4
        apart = (place[:, 0] - place[:, 1]) % 32
        assert stats.chisquare(torch.bincount(apart, minlength=32)[1:]).pvalue > 1e-4
    assert (position[:, 0] - position[:, 3] == torch.tensor([0, -12])).all(-1).float().mean() < 2 / 32


def test_a_full_team_fills_its_block():
    position = Combat("32m_vs_1m").reset(5).position[:, :32]
    for cells in position.tolist():
        assert sorted(map(tuple, cells)) == [(row, column) for row in range(4, 12) for column in range(3, 7)]


def test_the_default_generator_decides_a_reset_and_nothing_else_draws():
    game = Combat("2s3z")
    torch.manual_seed(3)
    first, second = game.reset(5), game.reset(5)
    torch.manual_seed(3)
    again = game.reset(5)
    assert torch.equal(first.position, again.position)
    assert not torch.equal(first.position, second.position)
    drawn = torch.get_rng_state()
    game.step(first, torch.full((5, 5), STOP))
    game.observe(first), game.centralized(first), game.available(first)
    assert torch.equal(torch.get_rng_state(), drawn)


# What every batched game keeps.


def test_the_protocol_is_met():
    game = Combat("3m")
    assert isinstance(game, BatchedGame)
    assert game.common_reward


def test_the_judge_finds_nothing():
    report = check(lambda: Combat("1s1z_vs_1m"), role="game", examples=40)
    assert [(verdict.claim_id, verdict.outcome) for verdict in report.verdicts if verdict.outcome != "holds"] == []
    assert len(report.verdicts) >= 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_has_the_wanted_dtype(dtype):
    game = Combat("1s1z", dtype=dtype)
    state, rewards, _, _ = game.step(game.reset(3), torch.full((3, 2), STOP))
    assert {part.dtype for part in (rewards, game.observe(state), game.centralized(state))} == {dtype}


def test_everything_lies_on_the_wanted_device():
    game = Combat("1s1z", "meta")
    state = game.reset(4)
    after, *rest = game.step(state, torch.zeros(4, 2, dtype=torch.int64, device="meta"))
    results = (*state, *after, *rest, game.observe(after), game.centralized(after), game.available(after))
    assert {part.device.type for part in (*results, game.won(after))} == {"meta"}
    assert game.device == torch.device("meta")


def test_4096_copies_are_played_at_once_and_each_as_by_itself():
    game, K = Combat("2s3z", dtype=torch.float64), 4096
    state = crowded(game, K)
    actions = random_actions(game, state)
    after, *rest = game.step(state, actions)
    views = game.observe(after), game.centralized(after), game.available(after)
    for k in (0, 1, 2047, 4095):
        own = CombatState(*(part[k : k + 1] for part in state))
        own_after, *own_rest = game.step(own, actions[k : k + 1])
        own_views = game.observe(own_after), game.centralized(own_after), game.available(own_after)
        pairs = zip((*own_after, *own_rest, *own_views), (*after, *rest, *views), strict=True)
        assert all(torch.equal(one, many[k : k + 1]) for one, many in pairs)


def test_no_method_looks_at_values_on_the_host():
    game = Combat("2s3z")
    with FakeTensorMode(allow_non_fake_inputs=True):
        state, _, terminated, _ = game.step(game.reset(4), torch.ones(4, 5, dtype=torch.int64))
        game.observe(state), game.centralized(state), game.available(state), game.won(state)
        with pytest.raises(DataDependentOutputException):
            bool(terminated.all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_never_synchronises_and_agrees_with_the_host():
    game, cuda = Combat("2s3z", dtype=torch.float64), Combat("2s3z", "cuda", torch.float64)
    state = crowded(game, 4096)
    actions = random_actions(game, state)
    expected, *rest = game.step(state, actions)
    on_cuda, actions = CombatState(*(part.cuda() for part in state)), actions.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        cuda.reset(8)
        after, *found = cuda.step(on_cuda, actions)
        views = cuda.observe(after), cuda.centralized(after), cuda.available(after)
        cuda.won(after)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    pairs = zip((*after, *found), (*expected, *rest), strict=True)
    assert all(torch.equal(one.cpu(), other) for one, other in pairs)
    assert torch.equal(views[2].cpu(), game.available(expected))
    torch.testing.assert_close(views[0].cpu(), game.observe(expected))
    torch.testing.assert_close(views[1].cpu(), game.centralized(expected))
