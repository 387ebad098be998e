"""Level-based foraging on a device: K copies of the grid in which players collect food together.

Players and items of food stand on a grid, each with a level. All players act at once: none, north, south, west, east or
load. An item is collected when the levels of the players that load beside it sum to its level or more; in a cooperative
game it takes several of them. The game comes from Albrecht and Ramamoorthy, A Game-Theoretic Model and
Best-Response Learning Method for Ad Hoc Coordination in Multiagent Systems, AAMAS 2013; the tasks and their names from
Papoudakis et al., Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks, NeurIPS 2021,
arXiv 2006.07869, whose results these games are there to compare with.

One step follows lbforaging 2.0.0, against which the tests compare single steps and whole episodes:

- A move off the grid or onto an item, and a load with no item beside, count as none.
- A player enters the cell it wants if no other player wants the same cell, where a player that does not move wants its
  own. So a cell can be entered in the step in which it is left, and two players may change places.
- The players that collect an item share its level in proportion to their own levels, over the sum of the levels of all
  items at the start, so that all the food of an episode is worth 1.
- The episode terminates when all items are collected, and is truncated after 50 steps.

Peculiarities of lbforaging that are kept, because published results were obtained with them:

- A player that wanted to leave its cell and was stopped does not count as wanting it: another may enter, and the two
  then share a cell. This takes three players. (The exact game in lbf.py has no shared cells.)
- "Cooperative" makes every item's level the sum of the three lowest levels of players: with four players or more, not
  all are needed.
- Sight is limited to a square around the player, but an observation counts cells from the corner of that square that
  lies on the grid, and includes all players up to twice the sight from there: close to the north and west edges players
  are seen from farther than items.
- A grid may be too small for all its items: where the next one has no place left it is missing, from the observations
  too. A grid without any item ends with its first step.

Differences from lbforaging:

- Termination and truncation are kept apart; there both are reported as done.
- Rewards are those of the team by default (see common_reward); there every player has its own.
- An action outside of 0..5 pays all players of its copy NaN and ends its episode, since raising would need a transfer
  to the host; there it raises.
- Fresh copies come from the device's default generator and do not depend on what came before. There only the first
  reset is like that: later ones place no player where one not yet placed stood at the end of the episode before.
- An item finds a place whenever there is one; there 1000 attempts are made for all of them.
- An item on the edge of the grid, where no reset puts one, is loaded like any other; there it is not found.
- Levels are drawn from one range for all players and one for all items. There is no penalty for a load that fails, no
  grid observation, and no observation without levels.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.lbf import ACTIONS, DIRECTIONS, LOAD

NONE = ACTIONS.index("none")
NAME = re.compile(r"(?:Foraging-)?(?:([0-9]+)s-)?([0-9]+)x([0-9]+)-([0-9]+)p-([0-9]+)f(-coop)?(?:-v3)?")

# No other item closer than this to an item: neither in the eight cells around nor two cells on in its row or column.
NEXT_TO, IN_LINE = 1, 2
# Of how many players the levels are summed for the highest level of an item.
STRONG_ENOUGH = 3


@dataclass(frozen=True)
class ForagingSettings:
    """What stays the same in all episodes; the defaults are those of the tasks registered by lbforaging.

    Attributes:
        rows: height of the grid, at least 3: items lie on no edge.
        columns: width of the grid, at least 3.
        players: how many players.
        items: how many items at most; fewer where the grid has no place for more.
        cooperative: whether every item has the highest level it may have.
        sight: how many rows and columns away a player sees, or None for the whole grid.
        min_player_level: lowest level of a player.
        max_player_level: highest level of a player.
        min_item_level: lowest level of an item.
        max_item_level: highest level of an item, or None for the sum of the three lowest levels of players.
        time_limit: after how many steps an episode is truncated.

    Raises:
        InputError: a number out of its range, or an empty range of levels.
    """

    rows: int
    columns: int
    players: int
    items: int
    cooperative: bool = False
    sight: int | None = None
    min_player_level: int = 1
    max_player_level: int = 2
    min_item_level: int = 1
    max_item_level: int | None = None
    time_limit: int = 50

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            self._check(name, 3, "items of food lie on no edge of the grid")
        for name in ("players", "items", "min_player_level", "min_item_level", "time_limit"):
            self._check(name, 1, "it must be positive")
        self._check("max_player_level", self.min_player_level, "it must not be below min_player_level")
        if self.sight is not None:
            self._check("sight", 1, "it must be positive, or None to see the whole grid")
        if self.max_item_level is not None:
            self._check("max_item_level", self.min_item_level, "it must not be below min_item_level")
        elif self.min_item_level > self._weakest:
            raise InputError(
                f"min_item_level is {self.min_item_level}, but the three lowest levels of players may sum to "
                f"{self._weakest}, which is then the highest level of an item: lower it, or set max_item_level"
            )
        if self.players >= self.rows * self.columns:
            raise InputError(
                f"players is {self.players}, but the grid has {self.rows * self.columns} cells, and one is for food"
            )

    @property
    def name(self) -> str:
        """The name in the literature, which tells all but the levels and the time limit."""
        sight = "" if self.sight is None else f"{self.sight}s-"
        kind = "-coop" if self.cooperative else ""
        return f"{sight}{self.rows}x{self.columns}-{self.players}p-{self.items}f{kind}"

    @property
    def _weakest(self) -> int:
        return self.min_player_level * min(self.players, STRONG_ENOUGH)

    def _check(self, name: str, least: int, why: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}: an integer of at least {least} is needed, since {why}")


def foraging_settings(name: str) -> ForagingSettings:
    """Return the settings of a task named as in the literature.

    Args:
        name: such as 8x8-2p-3f-coop: rows and columns, players, items of food, cooperative; 2s-10x10-3p-3f limits the
            sight to 2. The full identifier Foraging-8x8-2p-3f-coop-v3 means the same.

    Raises:
        InputError: a name of another form, or numbers that make no game.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f"{name!r} is no foraging task: the form is [SIGHTs-]ROWSxCOLUMNS-PLAYERSp-ITEMSf[-coop], such as "
            "8x8-2p-3f-coop or 2s-10x10-3p-3f, if wanted with Foraging- before and -v3 after it; make other games with "
            "ForagingSettings(...)"
        )
    sight, rows, columns, players, items, cooperative = match.groups()
    return ForagingSettings(
        int(rows),
        int(columns),
        int(players),
        int(items),
        cooperative=cooperative is not None,
        sight=None if sight is None else int(sight),
    )


class ForagingState(NamedTuple):
    """Where each copy stands; all int64, positions as (row, column) from the top left.

    Attributes:
        players: positions of the players [K, n, 2].
        levels: levels of the players [K, n].
        items: positions of the items [K, m, 2], row by row; an item that found no place lies below the grid.
        item_levels: levels of the items [K, m]; 0 for one that is collected or found no place.
        food: sum of the items' levels at the start [K].
        time: steps so far [K].
    """

    players: Int[Tensor, "K n 2"]
    levels: Int[Tensor, "K n"]
    items: Int[Tensor, "K m 2"]
    item_levels: Int[Tensor, "K m"]
    food: Int[Tensor, " K"]
    time: Int[Tensor, " K"]


class Foraging:
    """K copies of level-based foraging on one device (BatchedGame).

    Every player has 6 actions (none, north, south, west, east, load) and observes 3 numbers for each item and each
    player [3 m + 3 n], not scaled: row, column and level. First come the items in sight, row by row, then the player
    itself, then the other players in sight in their order; (-1, -1, 0) fills up what is not in sight. Rows and columns
    count from the top left of the grid, or of the part of it in sight. The centralised information is the same without
    limit of sight, with the players in their order [K, 3 m + 3 n].

    Resetting draws a random number for each cell of each copy and so costs more than a step. A pool makes it cheap:
    that many starts are drawn once, and reset() takes one of them at random for each copy, with repetitions. Take a
    pool large beside the number of episodes, or accept that starts come again.
    """

    def __init__(
        self,
        task: str | ForagingSettings,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        common_reward: bool = True,
        pool: int | None = None,
        pool_seed: int = 0,
    ) -> None:
        """Put the tables of a grid, and a pool of starts, on a device.

        Args:
            task: a name as in foraging_settings(), or settings.
            device: where the tables and all states live.
            dtype: of rewards and observations.
            common_reward: whether all players receive the sum of what all collect, as VDN, QMIX and all algorithms for
                common-reward games need; otherwise each receives its own share.
            pool: from how many starts reset() chooses; None to draw every start afresh.
            pool_seed: what decides the pool, on every device alike and without a trace in the default generators.

        Raises:
            InputError: not a foraging task, a dtype that is not real floating point, or an empty pool.
        """
        if not dtype.is_floating_point:
            raise InputError(f"dtype is {dtype}: rewards need a floating-point dtype such as torch.float32")
        if pool is not None and (isinstance(pool, bool) or pool < 1):
            raise InputError(f"pool is {pool}: a positive number of starts, or None for no pool, is needed")
        self.settings = foraging_settings(task) if isinstance(task, str) else task
        self.device = torch.device(device)
        self.dtype = dtype
        self.name = f"Foraging-{self.settings.name}"
        self.n_agents = self.settings.players
        self.n_actions = len(ACTIONS)
        self.observation_size = self.state_size = 3 * (self.settings.items + self.settings.players)
        self.common_reward = common_reward
        rows, columns = self.settings.rows, self.settings.columns
        self._sight = max(rows, columns) if self.settings.sight is None else self.settings.sight
        steps = torch.tensor(list(DIRECTIONS.values()), device=self.device)
        stay = torch.zeros(1, 2, dtype=torch.int64, device=self.device)
        self._moves = torch.cat([stay, steps, stay])
        self._side_codes = self._code(steps)
        self._inside = _inside(rows, columns).to(self.device)
        self._interior = _interior(rows, columns).to(self.device)
        self._apart = _apart(rows, columns).to(self.device)
        self._order = _own_first(self.n_agents).to(self.device)
        self._unseen = torch.tensor([-1, -1, 0], dtype=dtype, device=self.device)
        self._pool = None if pool is None else _pool(self.settings, pool, pool_seed, self.device)

    def reset(self, K: int) -> ForagingState:
        """Return the state of K fresh copies, drawn with the device's default generator.

        Every player takes one of the free cells of the grid. Then the items, one after the other, take one of the free
        cells off the edge that are not next to another item, corners included, nor two cells on in its row or column.
        All choices are uniform, as are those of the levels in their ranges.

        Raises:
            InputError: K is not a positive integer.
        """
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        if self._pool is None:
            return self._drawn(K)
        chosen = torch.randint(self._pool.time.shape[0], (K,), device=self.device)
        return ForagingState(*(part[chosen] for part in self._pool))

    def step(
        self, state: ForagingState, actions: Int[Tensor, "K n"]
    ) -> tuple[ForagingState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy.

        A copy without items reports terminated; one that reaches the time limit with items reports truncated. An action
        that is not available counts as none. A number that is no action pays every player of its copy NaN and takes all
        items away.
        """
        legal = ((actions >= 0) & (actions < self.n_actions)).all(-1)
        actions = actions.clamp(0, self.n_actions - 1)
        beside = self._beside(state)
        available = self._available(state, beside).take_along_dim(actions[..., None], -1).squeeze(-1)
        actions = torch.where(available, actions, NONE)
        loading = beside.any(-1) & (actions == LOAD)[..., None]
        force = torch.where(loading, state.levels[..., None], 0)
        strength = force.sum(1)
        # What is gone already counts as well; its level is 0.
        collected = strength >= state.item_levels
        rewards = self._rewards(state, force, strength, collected)
        after = state._replace(
            players=self._moved(state.players, actions),
            item_levels=state.item_levels.masked_fill(collected | ~legal[:, None], 0),
            time=state.time + 1,
        )
        terminated = (after.item_levels == 0).all(-1)
        truncated = (after.time >= self.settings.time_limit) & ~terminated
        return after, rewards.masked_fill(~legal[:, None], torch.nan), terminated, truncated

    def observe(self, state: ForagingState) -> Float[Tensor, "K n o"]:
        """Return every player's observation [K, n, 3 m + 3 n]."""
        own = state.players[:, :, None]
        corner = (own - self._sight).clamp(min=0)
        near = ((state.items[:, None] - own).abs() <= self._sight).all(-1)
        items = self._listed(
            state.items[:, None] - corner,
            state.item_levels[:, None].expand_as(near),
            near & (state.item_levels > 0)[:, None],
        )
        place = state.players[:, self._order] - corner
        players = self._listed(place, state.levels[:, self._order], ((place >= 0) & (place <= 2 * self._sight)).all(-1))
        return torch.cat([items, players], dim=-1)

    def centralized(self, state: ForagingState) -> Float[Tensor, "K z"]:
        """Return all items and players, wherever they are [K, 3 m + 3 n]."""
        items = self._listed(state.items, state.item_levels, state.item_levels > 0)
        players = self._listed(state.players, state.levels, torch.ones_like(state.levels, dtype=torch.bool))
        return torch.cat([items, players], dim=-1)

    def available(self, state: ForagingState) -> Bool[Tensor, "K n A"]:
        """Return which actions are not the same as none [K, n, 6]: loads beside an item, moves onto cells without one.

        None is always available. A move towards another player is available, since that one may move away.
        """
        return self._available(state, self._beside(state))

    def _code(self, offset: Int[Tensor, "... 2"]) -> Int[Tensor, "..."]:
        """One number for the offset between two cells, different for all that are not the same."""
        return offset[..., 0] * (2 * self.settings.columns) + offset[..., 1]

    def _beside(self, state: ForagingState) -> Bool[Tensor, "K n m 4"]:
        """Which item lies beside which player, and on which side."""
        code = self._code(state.items[:, None] - state.players[:, :, None])
        present = (state.item_levels > 0)[:, None]
        # 0 is on no side.
        return torch.where(present, code, 0)[..., None] == self._side_codes

    def _available(self, state: ForagingState, beside: Bool[Tensor, "K n m 4"]) -> Bool[Tensor, "K n A"]:
        item = beside.any(-2)
        moves = self._inside[state.players[..., 0], state.players[..., 1]] & ~item
        return torch.cat([torch.ones_like(moves[..., :1]), moves, item.any(-1, keepdim=True)], dim=-1)

    def _moved(self, players: Int[Tensor, "K n 2"], actions: Int[Tensor, "K n"]) -> Int[Tensor, "K n 2"]:
        """Where the players stand after actions that are available to them."""
        wanted = players + self._moves[actions]
        code = self._code(wanted)
        alone = (code[:, :, None] == code[:, None]).sum(-1) == 1
        return torch.where(alone[..., None], wanted, players)

    def _rewards(
        self,
        state: ForagingState,
        force: Int[Tensor, "K n m"],
        strength: Int[Tensor, "K m"],
        collected: Bool[Tensor, "K m"],
    ) -> Float[Tensor, "K n"]:
        """Share out the items collected; force is what each player adds to the strength at an item."""
        food = state.food.clamp(min=1)[:, None]
        if self.common_reward:
            worth = torch.where(collected, state.item_levels, 0).sum(-1, keepdim=True)
            return (worth.to(self.dtype) / food.to(self.dtype)).expand(-1, self.n_agents)
        whole = (strength * food).clamp(min=1).to(self.dtype)
        shares = (force * state.item_levels[:, None]).to(self.dtype) / whole[:, None]
        return torch.where(collected[:, None], shares, 0).sum(-1)

    def _listed(
        self, place: Int[Tensor, "*copies M 2"], level: Int[Tensor, "*copies M"], seen: Bool[Tensor, "*copies M"]
    ) -> Float[Tensor, "*copies M*3"]:
        """Row, column and level of those seen, one after the other, then of nothing."""
        entries = torch.cat([place, level[..., None]], dim=-1).to(self.dtype)
        M = seen.shape[-1]
        # What is not seen goes to one slot too many.
        slot = torch.where(seen, seen.cumsum(-1) - 1, M)[..., None].expand(entries.shape)
        blank = self._unseen.expand(*seen.shape[:-1], M + 1, -1)
        return blank.scatter(-2, slot, entries)[..., :M, :].flatten(-2)

    def _drawn(self, K: int, generator: torch.Generator | None = None) -> ForagingState:
        """Draw fresh copies, see reset().

        A random number for each cell puts the cells in an order that is uniform: the players take the first ones, and
        each item the first that is allowed.
        """
        settings, n_cells = self.settings, self._interior.shape[0]
        random = torch.rand(K, n_cells, dtype=torch.float64, device=self.device, generator=generator)
        players = random.topk(settings.players).indices
        free = self._interior.expand(K, -1).scatter(1, players, False)
        found = []
        for _ in range(settings.items):
            best, cell = torch.where(free, random, -1).max(-1)
            found.append(torch.where(best >= 0, cell, n_cells))
            free = free & self._apart[found[-1]]
        items = torch.stack(found, dim=-1).sort(-1).values
        levels, item_levels = self._drawn_levels(K, generator)
        item_levels = torch.where(items < n_cells, item_levels, 0)
        return ForagingState(
            self._position(players),
            levels,
            self._position(items),
            item_levels,
            item_levels.sum(-1),
            torch.zeros(K, dtype=torch.int64, device=self.device),
        )

    def _drawn_levels(self, K: int, generator: torch.Generator | None) -> tuple[Int[Tensor, "K n"], Int[Tensor, "K m"]]:
        settings = self.settings
        shape = (K, settings.players + settings.items)
        random = torch.rand(shape, dtype=torch.float64, device=self.device, generator=generator)
        for_players, for_items = random[:, : settings.players], random[:, settings.players :]
        n_levels = settings.max_player_level - settings.min_player_level + 1
        levels = settings.min_player_level + (for_players * n_levels).long()
        highest = levels.sort(-1).values[:, :STRONG_ENOUGH].sum(-1, keepdim=True)
        if settings.max_item_level is not None:
            highest = torch.full_like(highest, settings.max_item_level)
        lowest = highest if settings.cooperative else torch.full_like(highest, settings.min_item_level)
        return levels, lowest + (for_items * (highest - lowest + 1)).long()

    def _position(self, cell: Int[Tensor, "*cells"]) -> Int[Tensor, "*cells 2"]:
        return torch.stack([cell // self.settings.columns, cell % self.settings.columns], dim=-1)


def _pool(settings: ForagingSettings, size: int, seed: int, device: torch.device) -> ForagingState:
    """Draw the starts of a pool on the host, so that they are the same for every device."""
    starts = Foraging(settings)._drawn(size, torch.Generator().manual_seed(seed))
    return ForagingState(*(part.to(device) for part in starts))


def _cells(rows: int, columns: int) -> Int[Tensor, "N 2"]:
    """The positions of all cells, row by row."""
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns))


def _inside(rows: int, columns: int) -> Bool[Tensor, "rows columns 4"]:
    """Whether there is a cell north, south, west and east of each cell."""
    targets = _cells(rows, columns)[:, None] + torch.tensor(list(DIRECTIONS.values()))
    inside = (targets >= 0) & (targets < torch.tensor([rows, columns]))
    return inside.all(-1).reshape(rows, columns, len(DIRECTIONS))


def _interior(rows: int, columns: int) -> Bool[Tensor, " N"]:
    """Which cells lie on no edge."""
    return _inside(rows, columns).all(-1).flatten()


def _apart(rows: int, columns: int) -> Bool[Tensor, "N_and_none N"]:
    """Whether one item may lie in the second cell when one lies in the first; the last row is for no cell at all."""
    cells = _cells(rows, columns)
    distance = (cells[:, None] - cells).abs()
    next_to = (distance <= NEXT_TO).all(-1)
    in_line = (distance <= IN_LINE).all(-1) & (distance == 0).any(-1)
    return torch.cat([~(next_to | in_line), torch.ones(1, len(cells), dtype=torch.bool)])


def _own_first(n: int) -> Int[Tensor, "n n"]:
    """For each player, itself and then the others in their order."""
    return torch.tensor([[i, *(j for j in range(n) if j != i)] for i in range(n)])
