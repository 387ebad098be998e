"""A combat game on a device: K copies of a battle between a team of agents and a scripted enemy, after SMAC's maps.

Two teams of units fight on a grid. Every allied unit is an agent; the enemy's units follow a script. Units differ in
health, damage, range, cooldown and sight (KINDS). The team wins when all enemies are dead and an ally lives. It stands
in for the StarCraft maps of SMAC (Samvelyan et al., The StarCraft Multi-Agent Challenge, arXiv 1902.04043), on which
Chen (NQMIX, source 003) and Foerster et al. (COMA, arXiv 1705.08926) compare algorithms and which need a game client.
Results on it are no results on SMAC.

One step, from the positions, healths and cooldowns before it:

1. Orders. An agent's order is its action. An enemy attacks the nearest living ally if that is in range, else moves
   towards it; distances are Euclidean, between centres of cells; of allies equally near the one of lowest index counts.
   To move towards an ally is to enter the free neighbouring cell that is nearest to it if that is nearer than the
   unit's own; of two equally near, north or south goes before east or west.
2. Attacks, all at once. A unit with an order to attack fires if its weapon is ready, and takes its damage off the
   target's health, whatever the target does in the same step. So units may kill each other, and damage beyond what
   health is left is lost. A weapon with cooldown c fires every c-th step; an order to attack before that is to wait.
3. Moves, all at once, of those still alive. A cell holds one living unit. A move into a cell in which a living unit
   stood before the moves is stopped; where several would enter the same cell the first one does, allies before
   enemies and each team by index.

The grid makes all this exact: every device decides ranges and ties alike, and a state after any number of steps can be
compared bit for bit. With continuous positions, as in StarCraft, rounding would decide some of them.

Like SMAC:

- The actions: no-op (the dead, and only they), stop, north, south, east, west, attack enemy 0, 1, ..; attacks are
  available on living enemies in range, moves everywhere but off the map.
- What is seen: observe() shows of the living units in sight what SMAC shows by default, and nothing to the dead;
  centralized() shows everything.
- The common reward: the damage done to the enemy, 10 for a kill and 200 for the victory, scaled so that 20 is the most
  an episode can pay. What the team suffers costs nothing by itself.
- The names of scenarios and their time limits.
- The measures: a step stands for 8 frames of StarCraft, as there, and a cell for its unit of length, which is about the
  way of a marine in that time; health, damage, ranges, sights and cooldowns are close to the game's on this scale.

Unlike SMAC:

- The enemy always knows where all allies are, never flees, does not look ahead, and does not go around an obstacle.
- All units are equally fast and take one cell each, those that fly and those that do not. There is no terrain.
- Shields are health that does not grow again. There is no armour and no bonus against it, no splash, and no healing; so
  there are no medivacs, banelings and large numbers of zerglings, and no maps with them.
- Weapons have their own range, with 1.5 for the eight cells around; SMAC has 6 for all, and its units walk to a target
  that is out of their weapon's range. Sights are the kinds' own; SMAC has 9 for all.
- Every team starts on random cells of a block of its own, so that no two episodes are the same; SMAC has fixed places.
- An agent sees its own cooldown, and centralized() shows all of them: in SMAC only the state has them, of allies. Kinds
  are shown even where there is but one. Last actions are not shown.
- Termination and truncation are kept apart: at the time limit SMAC reports the end as well.
- An action that is not available pays NaN and kills the team, since raising would need a transfer to the host.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.errors import InputError

NO_OP, STOP, NORTH, SOUTH, EAST, WEST, ATTACK = range(7)
# By row and column from the top left; first staying, then as the actions from NORTH on.
DIRECTIONS = ((0, 0), (-1, 0), (1, 0), (0, 1), (0, -1))

ROWS, COLUMNS = 16, 22
# Where teams start: blocks of these rows and columns.
START_ROWS = range(4, 12)
ALLIED_COLUMNS, ENEMY_COLUMNS = range(3, 7), range(15, 19)
MOST_UNITS = len(START_ROWS) * len(ALLIED_COLUMNS)

KILL, VICTORY, MOST = 10, 200, 20
# Farther than anything on the map, squared.
FAR = (ROWS + COLUMNS) ** 2
# Steps of an episode: in general, and as SMAC has them for its maps.
TIME_LIMIT = 120
TIME_LIMITS = {
    "3m": 60, "8m": 120, "25m": 150, "5m_vs_6m": 70, "8m_vs_9m": 120, "10m_vs_11m": 150, "27m_vs_30m": 180,
    "2m_vs_1z": 150, "2s3z": 120, "3s5z": 150, "3s5z_vs_3s6z": 170, "1c3s5z": 180, "3s_vs_3z": 150, "3s_vs_4z": 200,
    "3s_vs_5z": 250, "6h_vs_8z": 150,
}  # fmt: skip


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value!r}: a positive integer is needed")


@dataclass(frozen=True)
class UnitKind:
    """A kind of unit; lengths in cells, times in steps.

    Attributes:
        name: what the field calls it.
        health: at the start, shields included.
        damage: what one attack takes off the target's health.
        attack_range: up to which distance it attacks.
        cooldown: from one attack to the next, 1 for an attack in every step.
        sight: up to which distance it sees, at least the range.

    Raises:
        InputError: a number that is not positive, or a range beyond the sight.
    """

    name: str
    health: int
    damage: int
    attack_range: int | float
    cooldown: int
    sight: int | float

    def __post_init__(self) -> None:
        for name in ("health", "damage", "cooldown"):
            _check_count(f"{self.name}: {name}", getattr(self, name))
        if not 1 <= self.attack_range <= self.sight < inf:
            raise InputError(
                f"{self.name}: attack_range is {self.attack_range} and sight is {self.sight}: a unit attacks what it "
                "sees, and the next cell is 1 away, so give 1 <= attack_range <= sight, both finite"
            )


# By their letters in names of scenarios; of StarCraft II, but for dragoon and wraith, which are of the first StarCraft.
KINDS = {
    "m": UnitKind("marine", 45, 6, 5, 2, 9),
    "z": UnitKind("zealot", 150, 16, 1.5, 2, 9),
    "s": UnitKind("stalker", 160, 13, 6, 4, 10),
    "c": UnitKind("colossus", 350, 20, 7, 3, 10),
    "h": UnitKind("hydralisk", 80, 12, 5, 2, 9),
    "d": UnitKind("dragoon", 180, 20, 4, 4, 8),
    "w": UnitKind("wraith", 120, 20, 5, 3, 7),
}

UNITS = re.compile(f"([1-9][0-9]*)([{''.join(KINDS)}])_?")
TEAM = re.compile(f"(?:{UNITS.pattern})*[1-9][0-9]*[{''.join(KINDS)}]")


@dataclass(frozen=True)
class CombatScenario:
    """Who fights whom, and how long.

    Attributes:
        name: what the field calls it.
        allies: the kinds of the agents' units.
        enemies: the kinds of the enemy's units.
        time_limit: after how many steps an episode is truncated.

    Raises:
        InputError: an empty team, one that has no place to start, or a time limit that is not positive.
    """

    name: str
    allies: tuple[UnitKind, ...]
    enemies: tuple[UnitKind, ...]
    time_limit: int = TIME_LIMIT

    def __post_init__(self) -> None:
        for team in ("allies", "enemies"):
            size = len(getattr(self, team))
            if not 1 <= size <= MOST_UNITS:
                raise InputError(
                    f"{self.name}: {size} {team}: a team has at least one unit, and at most {MOST_UNITS} have a place "
                    "to start"
                )
        _check_count(f"{self.name}: time_limit", self.time_limit)


def combat_scenario(name: str) -> CombatScenario:
    """Return a scenario named as SMAC's maps are.

    Args:
        name: such as 3m, 2s3z or 5m_vs_6m: numbers and kinds (the letters of KINDS) of the allies, then, after _vs_ and
            unless they are the same, of the enemies; 2d_3z means 2d3z. Maps of SMAC have their time limit there, all
            others 120 steps.

    Raises:
        InputError: a name of another form, such as those of maps whose units do not exist here, or too many units.
    """
    teams = name.split("_vs_")
    if len(teams) > 2 or any(TEAM.fullmatch(team) is None for team in teams):
        letters = ", ".join(f"{letter} {kind.name}" for letter, kind in KINDS.items())
        raise InputError(
            f"{name!r} is no combat scenario: the form is UNITS or UNITS_vs_UNITS, where UNITS are numbers and kinds "
            f"({letters}), such as {', '.join(TIME_LIMITS)}; make others with CombatScenario(...)"
        )
    allies, enemies = _team(teams[0]), _team(teams[-1])
    return CombatScenario(name, allies, enemies, TIME_LIMITS.get(name, TIME_LIMIT))


def _team(units: str) -> tuple[UnitKind, ...]:
    # One more than enough: a team that is too large need not be made to be refused.
    return tuple(
        KINDS[letter] for number, letter in UNITS.findall(units) for _ in range(min(int(number), MOST_UNITS + 1))
    )


class CombatState(NamedTuple):
    """Where each copy stands; all int64, of all N = n + m units, first the n allies and then the m enemies.

    Attributes:
        position: row and column from the top left [K, N, 2]; of a dead unit where it died.
        health: what is left of it [K, N], 0 for the dead.
        cooldown: after how many steps the weapon is ready [K, N].
        time: steps so far [K].
    """

    position: Int[Tensor, "K N 2"]
    health: Int[Tensor, "K N"]
    cooldown: Int[Tensor, "K N"]
    time: Int[Tensor, " K"]


class Combat:
    """K copies of a combat scenario on one device (BatchedGame).

    Every agent has 6 + m actions, see available(), and observes 4 + (5 + c) m + (4 + c) (n - 1) + 2 + c numbers, where
    c is the number of kinds that occur, in the order of the letters in KINDS:

        4           whether it may move north, south, east, west
        (5 + c) m   of each enemy: whether it may be attacked, distance, rows down and columns right to it, these three
                    as parts of the sight, what part of its health is left, and its kind as a one-hot vector
        (4 + c) ..  of each other ally in their order: the same without the first
        2 + c       of itself: what part of its health and of its cooldown is left, and its kind

    Zeros stand for units that are dead or out of sight; a dead agent observes nothing but zeros. The centralised
    information [K, (4 + c) (n + m)] is of each unit what part of its health and of its cooldown is left, its row and
    its column from -1 to 1, and its kind; zeros for the dead. It is the whole state but for the time, which only
    decides about truncation.

    A copy that has ended stays as it is, whatever the actions: it pays 0 and reports its end again.
    """

    def __init__(
        self,
        scenario: str | CombatScenario,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Put a scenario's tables on a device.

        Args:
            scenario: a name as in combat_scenario(), or a scenario.
            device: where the tables and all states live.
            dtype: of rewards and observations.

        Raises:
            InputError: not a combat scenario, or a dtype that is not real floating point.
        """
        if not dtype.is_floating_point:
            raise InputError(f"dtype is {dtype}: rewards need a floating-point dtype such as torch.float32")
        self.scenario = combat_scenario(scenario) if isinstance(scenario, str) else scenario
        self.device = torch.device(device)
        self.dtype = dtype
        units = (*self.scenario.allies, *self.scenario.enemies)
        kinds = _occurring(units)
        n, m, c = len(self.scenario.allies), len(self.scenario.enemies), len(kinds)
        self.name = f"Combat-{self.scenario.name}"
        self.n_agents, self.n_enemies = n, m
        self.n_actions = ATTACK + m
        self.observation_size = 4 + (5 + c) * m + (4 + c) * (n - 1) + 2 + c
        self.state_size = (4 + c) * (n + m)
        self.common_reward = True
        self._health = self._table([unit.health for unit in units])
        self._damage = self._table([unit.damage for unit in units])
        self._cooldown = self._table([unit.cooldown for unit in units])
        # Squared distances are integers, so nothing lies between a range and what is rounded down here.
        self._reach = self._table([int(unit.attack_range**2) for unit in units])
        self._view = self._table([int(unit.sight**2) for unit in units])
        self._sight = torch.tensor([unit.sight for unit in units], dtype=dtype, device=self.device)
        self._kinds = torch.eye(c, dtype=dtype, device=self.device)[self._table([kinds.index(u) for u in units])]
        self._most = KILL * m + VICTORY + sum(unit.health for unit in self.scenario.enemies)
        self._directions = self._table(DIRECTIONS)
        self._last_cell = self._table([ROWS - 1, COLUMNS - 1])
        self._ways = self._code(self._directions) - self._code(torch.zeros_like(self._directions))
        self._border = _border().to(self.device)
        self._allied = torch.arange(n + m, device=self.device) < n
        self._earlier = torch.ones(n + m, n + m, dtype=torch.bool, device=self.device).tril(-1)
        self._others = self._table([[j for j in range(n) if j != i] for i in range(n)]).reshape(n, n - 1)
        self._starts = torch.stack([_block(ALLIED_COLUMNS), _block(ENEMY_COLUMNS)]).to(self.device)

    def reset(self, K: int) -> CombatState:
        """Return the state of K fresh copies, drawn with the device's default generator.

        The units of each team stand on cells of its block, 8 rows by 4 columns, all choices being equally likely; the
        allies' block lies in the west, the enemies' in the east, 8 columns apart. Weapons are ready.

        Raises:
            InputError: K is not a positive integer.
        """
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        n, m = self.n_agents, self.n_enemies
        random = torch.rand(K, 2, MOST_UNITS, dtype=torch.float64, device=self.device)
        chosen = random.topk(max(n, m)).indices
        allies, enemies = self._starts[0][chosen[:, 0, :n]], self._starts[1][chosen[:, 1, :m]]
        health = self._health.expand(K, -1).clone()
        time = torch.zeros(K, dtype=torch.int64, device=self.device)
        return CombatState(torch.cat([allies, enemies], dim=1), health, torch.zeros_like(health), time)

    def step(
        self, state: CombatState, actions: Int[Tensor, "K n"]
    ) -> tuple[CombatState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy.

        A copy terminates when a team is dead, and is truncated at the time limit otherwise. An action that is not
        available pays every agent of its copy NaN and takes the allies' lives; after the end it does nothing.
        """
        over = torch.logical_or(*self._ends(state))
        squared = self._squared(state)
        target, direction = self._orders(state, squared, actions)
        fought = self._fought(state, target)
        after = self._moved(fought, direction)._replace(time=state.time + 1)
        legal = self._legal(self._available(state, squared), actions)
        dead = after.health.masked_fill(self._allied, 0)
        after = after._replace(health=torch.where(legal[:, None], after.health, dead))
        after = CombatState(*(torch.where(_along(over, old), old, new) for old, new in zip(state, after, strict=True)))
        rewards = self._rewards(state, fought).masked_fill(~legal, torch.nan).masked_fill(over, 0)
        return after, rewards[:, None].expand(-1, self.n_agents), *self._ends(after)

    def observe(self, state: CombatState) -> Float[Tensor, "K n o"]:
        """Return every agent's observation [K, n, o], see the class."""
        n = self.n_agents
        alive = state.health > 0
        between = _between(state.position)[:, :n]
        squared = between.square().sum(-1)
        seen = (squared <= self._view[:n, None]) & alive[:, None] & alive[:, :n, None]
        length = torch.cat([squared[..., None].to(self.dtype).sqrt(), between.to(self.dtype)], dim=-1)
        health = self._part(state.health, self._health)
        units = torch.cat([health, self._kinds.expand(*health.shape[:2], -1)], dim=-1)
        shown = torch.cat([length / self._sight[:n, None, None], units[:, None].expand(-1, n, -1, -1)], dim=-1)
        shown = shown.masked_fill(~seen[..., None], 0)
        available = self._available(state, squared[:, :, n:]).to(self.dtype)
        enemies = torch.cat([available[..., ATTACK:, None], shown[:, :, n:]], dim=-1)
        agents = torch.arange(n, device=self.device)[:, None]
        own = torch.cat([health, self._part(state.cooldown, self._cooldown), units[..., 1:]], dim=-1)[:, :n]
        own = own.masked_fill(~alive[:, :n, None], 0)
        others = shown[:, agents, self._others]
        return torch.cat([available[..., NORTH:ATTACK], enemies.flatten(2), others.flatten(2), own], dim=-1)

    def centralized(self, state: CombatState) -> Float[Tensor, "K z"]:
        """Return what is known of all units together [K, z], see the class."""
        health = self._part(state.health, self._health)
        cooldown = self._part(state.cooldown, self._cooldown)
        place = (2 * state.position - self._last_cell).to(self.dtype) / self._last_cell
        units = torch.cat([health, cooldown, place, self._kinds.expand(*health.shape[:2], -1)], dim=-1)
        return units.masked_fill((state.health == 0)[..., None], 0).flatten(1)

    def available(self, state: CombatState) -> Bool[Tensor, "K n A"]:
        """Return which actions each agent may take [K, n, 6 + m].

        No-op if it is dead; if it is alive stop, the moves that do not lead off the map (a unit may stand in the way),
        and the attacks on living enemies in range.
        """
        return self._available(state, self._squared(state))

    def won(self, state: CombatState) -> Bool[Tensor, " K"]:
        """Return in which copies all enemies are dead and an ally lives [K]."""
        alive = state.health > 0
        return alive[:, : self.n_agents].any(-1) & ~alive[:, self.n_agents :].any(-1)

    def _ends(self, state: CombatState) -> tuple[Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Which copies are terminated and which truncated."""
        alive = state.health > 0
        terminated = ~(alive[:, : self.n_agents].any(-1) & alive[:, self.n_agents :].any(-1))
        return terminated, (state.time >= self.scenario.time_limit) & ~terminated

    def _squared(self, state: CombatState) -> Int[Tensor, "K n m"]:
        """Squared distances between allies and enemies."""
        return _between(state.position)[:, : self.n_agents, self.n_agents :].square().sum(-1)

    def _available(self, state: CombatState, squared: Int[Tensor, "K n m"]) -> Bool[Tensor, "K n A"]:
        n = self.n_agents
        alive = state.health[:, :n, None] > 0
        moves = ~self._border[self._code(state.position[:, :n])[..., None] + self._ways[1:]]
        attacks = (squared <= self._reach[:n, None]) & (state.health[:, None, n:] > 0)
        return torch.cat([~alive, alive, moves & alive, attacks & alive], dim=-1)

    def _legal(self, available: Bool[Tensor, "K n A"], actions: Int[Tensor, "K n"]) -> Bool[Tensor, " K"]:
        """In which copies all actions are available; some may be no actions at all."""
        clamped = actions.clamp(0, self.n_actions - 1)
        chosen = available.take_along_dim(clamped[..., None], -1).squeeze(-1)
        return (chosen & (actions == clamped)).all(-1)

    def _orders(
        self, state: CombatState, squared: Int[Tensor, "K n m"], actions: Int[Tensor, "K n"]
    ) -> tuple[Int[Tensor, "K N"], Int[Tensor, "K N"]]:
        """Whom each unit attacks (N: nobody), and which of DIRECTIONS it moves in."""
        n, m = self.n_agents, self.n_enemies
        attacked = torch.where(actions >= ATTACK, n + actions - ATTACK, n + m)
        moving = (actions >= NORTH) & (actions <= WEST)
        nearest, distance = self._nearest(state, squared)
        in_range = distance <= self._reach[n:]
        fighting = (state.health[:, n:] > 0) & in_range
        target = torch.cat([attacked, torch.where(fighting, nearest, n + m)], dim=-1)
        return target, torch.cat(
            [torch.where(moving, actions - STOP, 0), torch.where(in_range, 0, self._towards(state, nearest))], dim=-1
        )

    def _nearest(
        self, state: CombatState, squared: Int[Tensor, "K n m"]
    ) -> tuple[Int[Tensor, "K m"], Int[Tensor, "K m"]]:
        """The living ally nearest to each enemy, and its squared distance."""
        distance, nearest = squared.masked_fill(state.health[:, : self.n_agents, None] == 0, FAR).min(1)
        return nearest, distance

    def _towards(self, state: CombatState, goal: Int[Tensor, "K m"]) -> Int[Tensor, "K m"]:
        """The direction that brings each enemy nearest to an ally, of those that are free; 0 if none is nearer."""
        n = self.n_agents
        code = self._code(state.position[:, n:])[..., None] + self._ways
        taken = self._taken(state).gather(1, code.flatten(1)).view_as(code)
        place = state.position[:, n:, None] + self._directions
        to_goal = state.position.take_along_dim(goal[..., None], 1)[:, :, None] - place
        # Its own cell is always free to it. No tie with that: a move changes a squared distance by an odd number.
        blocked = taken & (self._ways != 0)
        return to_goal.square().sum(-1).masked_fill(blocked, FAR).argmin(-1)

    def _fought(self, state: CombatState, target: Int[Tensor, "K N"]) -> CombatState:
        """Let all units attack their targets."""
        units = torch.arange(target.shape[1], device=self.device)
        hits = (target[..., None] == units) & (state.cooldown == 0)[..., None]
        taken = torch.where(hits, self._damage[:, None], 0).sum(1)
        cooldown = torch.where(hits.any(-1), self._cooldown, state.cooldown) - 1
        return state._replace(health=(state.health - taken).clamp(min=0), cooldown=cooldown.clamp(min=0))

    def _moved(self, state: CombatState, direction: Int[Tensor, "K N"]) -> CombatState:
        """Let the units that are alive move."""
        wanted = self._code(state.position) + self._ways[direction]
        # Who stays wants its own cell, which is taken.
        enters = ~self._taken(state).gather(1, wanted) & (state.health > 0)
        rivals = (wanted[:, :, None] == wanted[:, None]) & enters[:, None] & self._earlier
        enters &= ~rivals.any(-1)
        return state._replace(position=state.position + self._directions[direction] * enters[..., None])

    def _taken(self, state: CombatState) -> Bool[Tensor, "K cells"]:
        """Which cells no unit may enter: those around the map, and those with living units."""
        # The dead are counted at a corner outside of the map.
        cells = self._code(state.position).masked_fill(state.health == 0, 0)
        return self._border.expand(cells.shape[0], -1).scatter(1, cells, True)

    def _rewards(self, before: CombatState, after: CombatState) -> Float[Tensor, " K"]:
        n = self.n_agents
        damage = (before.health - after.health)[:, n:].sum(-1)
        kills = ((before.health > 0) & (after.health == 0))[:, n:].sum(-1)
        points = damage + KILL * kills + VICTORY * self.won(after)
        return points.to(self.dtype) * MOST / self._most

    def _code(self, place: Int[Tensor, "*places 2"]) -> Int[Tensor, "*places"]:
        """The number of a cell, on the map or next to it."""
        return (place[..., 0] + 1) * (COLUMNS + 2) + place[..., 1] + 1

    def _part(self, left: Int[Tensor, "K N"], whole: Int[Tensor, " N"]) -> Float[Tensor, "K N 1"]:
        return (left.to(self.dtype) / whole)[..., None]

    def _table(self, values: Sequence[Any]) -> Int[Tensor, "..."]:
        return torch.tensor(values, dtype=torch.int64, device=self.device)


def _occurring(units: tuple[UnitKind, ...]) -> list[UnitKind]:
    """The kinds that occur, those of KINDS first and in their order."""
    return [kind for kind in dict.fromkeys([*KINDS.values(), *units]) if kind in units]


def _between(position: Int[Tensor, "K N 2"]) -> Int[Tensor, "K N N 2"]:
    """The ways from each unit to each."""
    return position[:, None] - position[:, :, None]


def _border() -> Bool[Tensor, " cells"]:
    """Which cells lie around the map, by their numbers."""
    border = torch.ones(ROWS + 2, COLUMNS + 2, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border.flatten()


def _block(columns: range) -> Int[Tensor, "cells 2"]:
    """The cells of a block in which a team starts."""
    return torch.cartesian_prod(torch.tensor(START_ROWS), torch.tensor(columns))


def _along(flags: Bool[Tensor, " K"], part: Int[Tensor, "K ..."]) -> Bool[Tensor, "K ..."]:
    """Flags of copies, in the shape that goes with a part of the state."""
    return flags.view(-1, *[1] * (part.dim() - 1))
