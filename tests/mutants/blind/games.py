"""Games: K copies in parallel, and PettingZoo's ParallelEnvs."""

import random
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from torch.nn.functional import one_hot

from ..target import Collection
from .common import Array
from .game_measures import (
    AGENTS,
    CHANCE,
    COMMON,
    COPIES,
    ENDS,
    FINAL,
    FINITE,
    FUNCTION,
    GIVEN_SEED,
    HANDED,
    KEPT,
    KINDS,
    MASK,
    NUMBERS,
    OVER,
    OWN_REWARD,
    PURE,
    RESTART,
    SEED,
    SEED_COUNTS,
    SPACES,
    STAYS,
    TAKEN,
    TOLD,
    TRUE_END,
    TRUE_FLAGS,
    UNPAID,
)

good, bad = Collection(), Collection()
ROLE = "game"
Tensor = torch.Tensor
LAST = 4


class Walk(NamedTuple):
    """Where the walkers of each copy stand [K, n], the steps so far, and how the copy ended [K]."""

    cell: Tensor
    time: Tensor
    ended: Tensor
    cut: Tensor


@good(ROLE, "", "torch, float32; three walk a corridor against the wind, masks at the walls, a common reward, a limit")
class WindyCorridor:
    name, n_agents, n_actions, common_reward, time_limit = "Windy corridor", 3, 3, True, 9
    observation_size, state_size = LAST + 2, 4

    def starts(self, K: int) -> Tensor:
        return torch.randint(2, LAST, (K, 3))

    def wind(self, K: int) -> Tensor:
        return torch.rand(K, 3) < 0.15

    def held(self, state: Walk, moves: Tensor) -> Tensor:
        """Who is held back by the wind."""
        return self.wind(len(moves))

    def reset(self, K):
        no = torch.zeros(K, dtype=torch.bool)
        return Walk(self.starts(K), torch.zeros(K, dtype=torch.int64), no, no.clone())

    def moved(self, cell: Tensor, moves: Tensor) -> Tensor:
        return (cell + moves).clamp(0, LAST)

    def home(self, cell: Tensor) -> Tensor:
        return (cell == LAST).all(1)

    def late(self, time: Tensor) -> Tensor:
        return time >= self.time_limit

    def arrived(self, state: Walk) -> Tensor:
        return (state.cell == LAST).all(1)

    def later(self, state: Walk, moves: Tensor) -> Walk:
        going = ~(state.ended | state.cut)
        moves = torch.where(self.held(state, moves), 0, moves) * going[:, None]
        cell, time = self.moved(state.cell, moves), state.time + going
        ended = self.home(cell)
        return Walk(cell, time, ended, self.late(time) & ~ended)

    def pay(self, state: Walk, after: Walk, legal: Tensor) -> Tensor:
        going = ~(state.ended | state.cut)
        common = torch.where(going, after.ended * 1.0 - 0.125, 0.0)
        return torch.where(legal, common, torch.nan)[:, None].repeat(1, 3)

    def step(self, state, actions):
        legal = self.free(state.cell).gather(2, actions[..., None]).squeeze(-1).all(1)
        after = self.later(state, torch.tensor([0, -1, 1])[actions])
        return after, self.pay(state, after, legal), after.ended.clone(), after.cut.clone()

    def clock(self, state: Walk) -> Tensor:
        return state.time / self.time_limit

    def observe(self, state):
        clock = self.clock(state)[:, None, None].expand(-1, 3, -1)
        return torch.cat([one_hot(state.cell, LAST + 1).float(), clock], dim=2)

    def centralized(self, state):
        return torch.cat([state.cell / LAST, self.clock(state)[:, None]], dim=1)

    def free(self, cell: Tensor) -> Tensor:
        return torch.stack([torch.ones_like(cell, dtype=torch.bool), cell > 0, cell < LAST], dim=2)

    def available(self, state):
        return self.free(state.cell)


class Table(NamedTuple):
    """Cards in hand [K, 2], cards that the second has played [K, 4], the round [K], whether the game is over [K]."""

    card: Tensor
    used: Tensor
    turn: Tensor
    over: Tensor


@good(ROLE, "", "torch, float64; two play cards, one has more than the other, general-sum, ends by chance, restart()")
class CardTable:
    name, n_agents, n_actions, common_reward = "Card table", 2, 4, False
    action_counts: tuple[int, ...] = (2, 4)
    observation_size, state_size = 8, 13

    def deal(self, K: int) -> Tensor:
        return torch.randint(4, (K, 2))

    def luck(self, K: int) -> Tensor:
        return torch.rand(K, 2, dtype=torch.float64)

    def check(self, K: int) -> int:
        return K

    def reset(self, K):
        zeros = torch.zeros(self.check(K), dtype=torch.int64)
        return Table(self.deal(K), torch.zeros(K, 4, dtype=torch.bool), zeros, zeros.bool())

    def restart(self, state, finished):
        fresh = self.reset(len(finished))
        return Table(*(self.either(finished, new, old) for new, old in zip(fresh, state, strict=True)))

    def either(self, which: Tensor, new: Tensor, old: Tensor) -> Tensor:
        return torch.where(which.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    def shares(self, card: Tensor, actions: Tensor, luck: Tensor) -> Tensor:
        first = (actions[:, 0] + 1) * card[:, 0] / 4 + (luck < 0.5)
        return torch.stack([first, actions[:, 1] / 4 - card[:, 1] / 8], dim=1).double()

    def says_over(self, state: Table, after: Table) -> Tensor:
        return after.over.clone()

    def step(self, state, actions):
        legal = self.free(state.used).gather(2, actions[..., None]).squeeze(-1).all(1)
        luck = self.luck(len(actions))
        used = state.used | one_hot(actions[:, 1], 4).bool()
        over = state.over | (state.turn == 2) | (luck[:, 0] < 0.15)
        after = Table(
            state.card,
            self.either(state.over, state.used, used),
            torch.where(state.over, state.turn, state.turn + 1),
            over,
        )
        shares = torch.where(state.over[:, None], 0.0, self.shares(state.card, actions, luck[:, 1]))
        rewards = torch.where((legal | state.over)[:, None], shares, torch.nan)
        return after, rewards, self.says_over(state, after), torch.zeros_like(over)

    def observe(self, state):
        return torch.cat([one_hot(state.card, 4), state.used[:, None].expand(-1, 2, -1)], dim=2).double()

    def centralized(self, state):
        cards = one_hot(state.card, 4).flatten(1)
        return torch.cat([cards, state.used, state.turn[:, None]], dim=1).double()

    def free(self, used: Tensor) -> Tensor:
        first = torch.tensor([True, True, False, False]).expand(len(used), -1)
        return torch.stack([first, ~used], dim=1)

    def available(self, state):
        return self.free(state.used)


GOAL = 6


@good(ROLE, "", "ParallelEnv in numpy; runners leave one by one, masks in infos, state(), a limit for the rest")
class RelayRace(ParallelEnv):
    metadata: ClassVar[dict[str, Any]] = {"name": "relay_race"}
    begins_at_random, time_limit = True, 6

    def __init__(self) -> None:
        self.possible_agents = ["anna", "bert", "carl"]
        self.agents: list[str] = []
        self.random = np.random.default_rng()
        self.views = {agent: spaces.Box(0, 1, (3,), np.float32) for agent in self.possible_agents}
        self.moves = {agent: spaces.Discrete(3) for agent in self.possible_agents}
        self.state_space = spaces.Box(0, GOAL, (4,), np.float32)
        self.place: dict[str, int] = {}
        self.rested: dict[str, bool] = {}
        self.ran: dict[str, bool] = {}
        self.time = 0

    def observation_space(self, agent):
        return self.views[agent]

    def action_space(self, agent):
        return self.moves[agent]

    def seed(self, seed: int | None) -> None:
        if seed is not None:
            self.random = np.random.default_rng(seed)

    def bonus(self) -> int:
        return int(self.random.integers(2))

    def line_up(self) -> None:
        self.agents = list(self.possible_agents)
        self.place = {agent: self.bonus() for agent in self.agents}
        self.rested = dict.fromkeys(self.agents, False)
        self.ran = dict.fromkeys(self.agents, False)
        self.time = 0

    def reset(self, seed=None, options=None):
        self.seed(seed)
        self.line_up()
        return self.observations(self.agents), self.infos(self.agents)

    def view(self, agent: str) -> Array:
        lead = max(self.place.values())
        return np.array([self.place[agent] / GOAL, self.ran[agent], lead / GOAL], np.float32)

    def observations(self, agents: list[str]) -> dict[str, Any]:
        return {agent: self.view(agent) for agent in agents}

    def mask(self, agent: str) -> Array:
        return np.array([not self.rested[agent], True, not self.ran[agent]], np.int8)

    def infos(self, agents: list[str]) -> dict[str, Any]:
        return {agent: {"action_mask": self.mask(agent)} for agent in agents}

    def state(self):
        return np.array([*self.place.values(), self.time], np.float32)

    def move(self, agent: str, action: int) -> None:
        if not self.mask(agent)[action]:
            raise ValueError(f"{agent} cannot take {action}")
        self.place[agent] = min(GOAL, self.place[agent] + (0, 1, 2 + self.bonus())[action])
        self.rested[agent], self.ran[agent] = action == 0, action == 2

    def arrived(self) -> list[str]:
        return [agent for agent, place in self.place.items() if place == GOAL]

    def due(self, agent: str) -> float:
        return 1.0 if agent in self.arrived() else -0.25

    def rewards(self, acting: list[str]) -> dict[str, Any]:
        return {agent: self.due(agent) for agent in acting}

    def late(self, agent: str) -> bool:
        return self.time >= self.time_limit

    def flags(self, acting: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        ended = {agent: agent in self.arrived() for agent in acting}
        return ended, {agent: self.late(agent) and not ended[agent] for agent in acting}

    def leave(self, ended: dict[str, Any], cut: dict[str, Any]) -> None:
        self.agents = [agent for agent in self.agents if not (ended[agent] or cut[agent])]

    def step(self, actions):
        acting = list(self.agents)
        for agent in acting:
            self.move(agent, int(actions[agent]))
        self.time += 1
        ended, cut = self.flags(acting)
        self.leave(ended, cut)
        return self.observations(acting), self.rewards(acting), ended, cut, self.infos(acting)


@good(ROLE, "", "ParallelEnv in plain Python; two guess numbers, observations with masks in them, no state()")
class HiddenNumbers(ParallelEnv):
    metadata: ClassVar[dict[str, Any]] = {"name": "hidden_numbers"}
    begins_at_random, rounds = False, 4
    numbers: ClassVar[dict[int, int]] = {0: 5, 1: 6}

    def __init__(self) -> None:
        self.possible_agents = [0, 1]
        self.agents: list[int] = []
        self.source = random.Random()
        self.observation_spaces = {
            i: spaces.Dict(observation=spaces.MultiDiscrete([3, 5]), action_mask=spaces.Box(0, 1, (count,), np.int8))
            for i, count in self.numbers.items()
        }
        self.action_spaces = {i: spaces.Discrete(count) for i, count in self.numbers.items()}
        self.tried: dict[int, list[int]] = {}
        self.hint = {0: 0, 1: 0}

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def seed(self, seed: int | None) -> None:
        if seed is not None:
            self.source = random.Random(seed)

    def hide(self) -> None:
        self.hidden = {i: self.source.randrange(count) for i, count in self.numbers.items()}

    def lost(self) -> bool:
        """Whether the hints of a round are lost."""
        return self.source.random() < 0.2

    def reset(self, seed=None, options=None):
        self.seed(seed)
        self.hide()
        self.agents, self.tried, self.hint = [0, 1], {0: [], 1: []}, {0: 0, 1: 0}
        return self.told(self.agents), self.infos()

    def infos(self) -> dict[int, Any]:
        return {0: {}, 1: {}}

    def mask(self, agent: int) -> Array:
        return np.array([a not in self.tried[agent] for a in range(self.numbers[agent])], np.int8)

    def one(self, agent: int) -> dict[str, Any]:
        seen = np.array([self.hint[agent], len(self.tried[agent])], np.int64)
        return {"observation": seen, "action_mask": self.mask(agent)}

    def told(self, agents: list[int]) -> dict[int, Any]:
        return {agent: self.one(agent) for agent in agents}

    def arrived(self) -> list[int]:
        return [0, 1] if self.winners() else []

    def winners(self) -> list[int]:
        return [i for i in (0, 1) if self.tried[i][-1:] == [self.hidden[i]]]

    def paid(self) -> dict[int, Any]:
        winners = self.winners()
        return {i: 1 / len(winners) if i in winners else 0.0 for i in (0, 1)}

    def ending(self) -> tuple[dict[int, Any], dict[int, Any]]:
        won = bool(self.winners())
        return dict.fromkeys((0, 1), won), dict.fromkeys((0, 1), not won and len(self.tried[0]) == self.rounds)

    def left(self, ended: dict[int, Any], cut: dict[int, Any]) -> list[int]:
        return [] if ended[0] or cut[0] else [0, 1]

    def guess(self, agent: int, number: int) -> None:
        if number in self.tried[agent]:
            raise ValueError(f"{number} has been tried")
        self.tried[agent].append(number)
        self.hint[agent] = 1 + (number < self.hidden[agent])

    def step(self, actions):
        for agent in self.agents:
            self.guess(agent, int(actions[agent]))
        if self.lost():
            self.hint = {0: 0, 1: 0}
        ended, cut = self.ending()
        self.agents = self.left(ended, cut)
        return self.told([0, 1]), self.paid(), ended, cut, self.infos()


RING = 6


@good(ROLE, "", "ParallelEnv with torch's generator; zero-sum, numbers as observations, no masks, a limit")
class TagOnRing(ParallelEnv):
    metadata: ClassVar[dict[str, Any]] = {"name": "tag_on_ring"}
    possible_agents: ClassVar[list[str]] = ["chaser", "runner"]
    begins_at_random, time_limit = True, 8
    steps: ClassVar[dict[str, tuple[int, ...]]] = {"chaser": (-1, 0, 1), "runner": (0, 1, -1, 2)}

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.generator = torch.Generator()
        self.observation_spaces = {"chaser": spaces.Discrete(RING), "runner": spaces.Discrete(2 * RING)}
        self.action_spaces = {agent: spaces.Discrete(len(steps)) for agent, steps in self.steps.items()}
        self.at = {"chaser": 0, "runner": 0}
        self.slipped, self.time = False, 0

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def below(self, bound: int) -> int:
        return int(torch.randint(bound, (), generator=self.generator))

    def seed(self, seed: int | None) -> None:
        if seed is not None:
            self.generator.manual_seed(seed)

    def place(self) -> None:
        self.at = {"chaser": self.below(3), "runner": 3 + self.below(3)}

    def reset(self, seed=None, options=None):
        self.seed(seed)
        self.place()
        self.slipped, self.time, self.agents = False, 0, self.names()
        return self.views(), {agent: {} for agent in self.agents}

    def names(self) -> list[str]:
        return ["chaser", "runner"]

    def distance(self) -> int:
        return (self.at["runner"] - self.at["chaser"]) % RING

    def views(self) -> dict[str, Any]:
        return {"chaser": np.int64(self.distance()), "runner": np.int64(self.distance() + RING * self.slipped)}

    def state(self):
        return np.array([self.at["chaser"], self.at["runner"], self.time], np.float64)

    def take(self, agent: str, action: Any) -> int:
        return self.steps[agent][action]

    def arrived(self) -> list[str]:
        return ["chaser", "runner"] if self.distance() == 0 else []

    def payment(self) -> dict[str, Any]:
        caught = 1.0 if self.arrived() else -0.125
        return {"chaser": caught, "runner": -caught}

    def step(self, actions):
        acting = self.agents
        moves = {agent: self.take(agent, actions[agent]) for agent in acting}
        self.slipped = self.below(4) == 0
        self.at["chaser"] = (self.at["chaser"] + moves["chaser"]) % RING
        self.at["runner"] = (self.at["runner"] + moves["runner"] * (not self.slipped)) % RING
        self.time += 1
        ended = bool(self.arrived())
        cut = not ended and self.time >= self.time_limit
        self.agents = [] if ended or cut else list(acting)
        flags = dict.fromkeys(acting, ended), dict.fromkeys(acting, cut)
        return self.views(), self.payment(), *flags, {agent: {} for agent in acting}


# The corridor.


@bad(ROLE, "windy_corridor", "one wind for all copies", CHANCE)
class OneWindForAllCopies(WindyCorridor):
    def wind(self, K):
        return super().wind(1).expand(K, -1)


@bad(ROLE, "windy_corridor", "the wind comes from a generator of the module's own that no seed reaches", SEED)
class WindThatNoSeedReaches(WindyCorridor):
    source = torch.Generator()

    def wind(self, K):
        return torch.rand(K, 3, generator=self.source) < 0.15


@bad(ROLE, "windy_corridor", "starts come from a stock that is drawn at the first reset and used up in turn", SEED)
class StartsFromAStock(WindyCorridor):
    stock = torch.zeros(0, 3, dtype=torch.int64)

    def starts(self, K):
        if len(self.stock) < K:
            self.stock = super().starts(40)
        taken, self.stock = self.stock[:K], self.stock[K:]
        return taken


@bad(ROLE, "windy_corridor", "the clock that agents see is the object's, not the state's", FUNCTION)
class ClockOfTheObject(WindyCorridor):
    ticks = torch.zeros(1, dtype=torch.int64)

    def reset(self, K):
        self.ticks = torch.zeros(K, dtype=torch.int64)
        return super().reset(K)

    def later(self, state, moves):
        after = super().later(state, moves)
        self.ticks = after.time
        return after

    def clock(self, state):
        return (self.ticks[:1] / self.time_limit).expand(len(state.time))


@bad(ROLE, "windy_corridor", "observations are noisy, with noise drawn anew whenever they are asked for", FUNCTION)
class NoiseWhenLookedAt(WindyCorridor):
    def clock(self, state):
        return super().clock(state) + 0.01 * torch.randn(len(state.time))


@bad(ROLE, "windy_corridor", "the cells of the old state are moved in place", PURE)
class MovesInPlace(WindyCorridor):
    def moved(self, cell, moves):
        return cell.add_(moves).clamp_(0, LAST)


@bad(ROLE, "windy_corridor", "actions of copies that have ended are set to staying in the array handed over", PURE)
class StaysInPlace(WindyCorridor):
    def step(self, state, actions):
        actions[state.ended | state.cut] = 0
        return super().step(state, actions)


@bad(ROLE, "windy_corridor", "rewards are returned in one array that the next step fills again", STAYS)
class RewardsInOneArray(WindyCorridor):
    def __init__(self) -> None:
        self.paid: dict[int, Tensor] = {}

    def pay(self, state, after, legal):
        rewards = super().pay(state, after, legal)
        return self.paid.setdefault(len(rewards), rewards).copy_(rewards)


@bad(ROLE, "windy_corridor", "masks are those of the state before the last step", MASK)
class MaskOneStepBehind(WindyCorridor):
    last: Any = None

    def later(self, state, moves):
        self.last = state
        return super().later(state, moves)

    def available(self, state):
        behind = self.last is not None and len(self.last.time) == len(state.time) and bool((state.time > 0).any())
        return self.free(self.last.cell if behind else state.cell)


@bad(ROLE, "windy_corridor", "the first copy's mask is every copy's", MASK)
class MaskOfTheFirstCopy(WindyCorridor):
    def available(self, state):
        return self.free(state.cell[:1]).repeat(len(state.cell), 1, 1)


@bad(ROLE, "windy_corridor", "who has reached the end has no action left while the others walk on", MASK)
class NothingLeftAtTheEnd(WindyCorridor):
    def available(self, state):
        return self.free(state.cell) & (state.cell < LAST)[..., None]


@bad(ROLE, "windy_corridor", "copies that have ended begin anew by themselves at the next step", FINAL)
class BeginsAnewByItself(WindyCorridor):
    def step(self, state, actions):
        over = state.ended | state.cut
        fresh = self.reset(len(over))
        begun = (torch.where(over.reshape(-1, *[1] * (o.ndim - 1)), f, o) for f, o in zip(fresh, state, strict=True))
        return super().step(Walk(*begun), actions * ~over[:, None])


@bad(ROLE, "windy_corridor", "the limit is compared by ==, and the clock of a copy that was cut goes on", FINAL)
class CutOnceAlone(WindyCorridor):
    def late(self, time):
        return time == self.time_limit

    def later(self, state, moves):
        after = super().later(state, moves)
        time = state.time + 1
        return after._replace(time=time, cut=self.late(time) & ~after.ended)


@bad(ROLE, "windy_corridor", "the time limit is reported as terminated", TRUE_END)
class LimitIsTheEnd(WindyCorridor):
    def step(self, state, actions):
        after, rewards, ended, cut = super().step(state, actions)
        return after, rewards, ended | cut, torch.zeros_like(cut)


@bad(
    ROLE,
    "windy_corridor",
    "reaching the goal counts as truncated, the two flags being returned in the wrong order",
    TRUE_END,
)
class FlagsInTheWrongOrder(WindyCorridor):
    def step(self, state, actions):
        after, rewards, ended, cut = super().step(state, actions)
        return after, rewards, cut, ended


@bad(ROLE, "windy_corridor", "time is capped at the limit, and the limit looked for beyond it", ENDS)
class LimitBeyondTheCap(WindyCorridor):
    def late(self, time):
        return time.clamp(max=self.time_limit) > self.time_limit


@bad(ROLE, "windy_corridor", "rewards are whole numbers", KINDS)
class RewardsAreWhole(WindyCorridor):
    def pay(self, state, after, legal):
        return super().pay(state, after, legal).nan_to_num(-100).mul(8).long()


@bad(ROLE, "windy_corridor", "one copy alone loses its axis in the rewards", KINDS)
class RewardsOfOneCopySqueezed(WindyCorridor):
    def pay(self, state, after, legal):
        return super().pay(state, after, legal).squeeze(0)


@bad(ROLE, "windy_corridor", "flags are floats, as losses like them", KINDS)
class FlagsAreFloats(WindyCorridor):
    def step(self, state, actions):
        after, rewards, ended, cut = super().step(state, actions)
        return after, rewards, ended.float(), cut


@bad(ROLE, "windy_corridor", "the clock was added to the observation, and not to its declared length", KINDS)
class LengthWithoutTheClock(WindyCorridor):
    observation_size = LAST + 1


@bad(ROLE, "windy_corridor", "one clock without axis for all copies", KINDS)
class OneClockForAllCopies(WindyCorridor):
    def reset(self, K):
        return super().reset(K)._replace(time=torch.zeros((), dtype=torch.int64))

    def later(self, state, moves):
        after = super().later(state._replace(time=state.time.expand(len(moves))), moves)
        return after._replace(time=after.time.max())

    def clock(self, state):
        return (state.time / self.time_limit).expand(len(state.cell))


@bad(
    ROLE, "windy_corridor", "the wind is drawn for those alone who move, so others' moves shift who draws what", COPIES
)
class WindForMoversAlone(WindyCorridor):
    def held(self, state, moves):
        held = torch.zeros_like(moves, dtype=torch.bool)
        held[moves != 0] = torch.rand(int((moves != 0).sum())) < 0.15
        return held


@bad(ROLE, "windy_corridor", "the episode of all copies ends with the first that is home", COPIES)
class FirstHomeEndsAll(WindyCorridor):
    def home(self, cell):
        return super().home(cell).any().expand(len(cell))


@bad(ROLE, "windy_corridor", "places in the centralised information are normalised over the batch", COPIES)
class CentralisedOverBatch(WindyCorridor):
    def centralized(self, state):
        return torch.cat([(state.cell - state.cell.float().mean(0)) / LAST, self.clock(state)[:, None]], dim=1)


@bad(ROLE, "windy_corridor", "walkers of all copies bump into each other: a cell that one copy fills is full", COPIES)
class BumpsAcrossCopies(WindyCorridor):
    def held(self, state, moves):
        crowded = one_hot(state.cell.flatten(), LAST + 1).sum(0) > len(moves)
        return super().held(state, moves) | crowded[(state.cell + moves).clamp(0, LAST)]


@bad(ROLE, "windy_corridor", "the walker who comes last to the goal is paid more, in a game of common reward", COMMON)
class BonusForTheLast(WindyCorridor):
    def pay(self, state, after, legal):
        last = (state.cell != LAST) & after.ended[:, None]
        return super().pay(state, after, legal) + 0.5 * last


@bad(ROLE, "windy_corridor", "sees its speed, the way divided by the time, before any time has passed", FINITE)
class SpeedAtTheStart(WindyCorridor):
    def centralized(self, state):
        return torch.cat([state.cell / LAST, (state.cell - 2).sum(1, keepdim=True) / state.time[:, None]], dim=1)


@bad(ROLE, "windy_corridor", "copies that have reached the goal are paid for it again at each step", UNPAID)
class PaidForStanding(WindyCorridor):
    def pay(self, state, after, legal):
        rewards = super().pay(state, after, legal)
        return rewards + 1.0 * (state.ended & after.ended)[:, None]


# The card table.


@bad(ROLE, "card_table", "luck is drawn for half of the copies, and mirrored by the other half", CHANCE)
class LuckOfHalfTheCopies(CardTable):
    def luck(self, K):
        return super().luck((K + 1) // 2).repeat(2, 1)[:K]


@bad(ROLE, "card_table", "restart() deals one hand to all copies that it begins", CHANCE)
class OneHandAtRestart(CardTable):
    def restart(self, state, finished):
        fresh = self.reset(1)
        return Table(*(self.either(finished, new, old) for new, old in zip(fresh, state, strict=True)))


@bad(ROLE, "card_table", "restart() begins all copies as soon as one has finished", RESTART)
class OneRestartsAll(CardTable):
    def restart(self, state, finished):
        return super().restart(state, finished.any().expand(len(finished)))


@bad(ROLE, "card_table", "restart() deals new hands and leaves the played cards on the table", RESTART)
class CardsLeftOnTheTable(CardTable):
    def restart(self, state, finished):
        return super().restart(state, finished)._replace(used=state.used)


@bad(ROLE, "card_table", "the padding of the agent with fewer actions is available", MASK)
class PaddingIsAvailable(CardTable):
    def available(self, state):
        free = self.free(state.used).clone()
        free[:, 0] = True
        return free


@bad(ROLE, "card_table", "the numbers of actions are declared in the other order", MASK)
class CountsInTheOtherOrder(CardTable):
    action_counts = (4, 2)


@bad(ROLE, "card_table", "masks are remembered by the number of copies", MASK)
class MasksByNumberOfCopies(CardTable):
    def __init__(self) -> None:
        self.masks: dict[int, Tensor] = {}

    def available(self, state):
        return self.masks.setdefault(len(state.turn), self.free(state.used))


@bad(ROLE, "card_table", "masks are small integers", KINDS)
class MasksAreIntegers(CardTable):
    def available(self, state):
        return super().available(state).to(torch.int8)


@bad(ROLE, "card_table", "remembers how many copies the last reset made, and answers for so many", KINDS)
class RemembersHowManyCopies(CardTable):
    def check(self, K):
        self.K = K
        return K

    def step(self, state, actions):
        after, rewards, over, _ = super().step(state, actions)
        return after, rewards, over, torch.zeros(self.K, dtype=torch.bool)


@bad(
    ROLE,
    "card_table",
    "the first is paid the logarithm of its share, which is 0 for the lowest card without luck",
    FINITE,
)
class LogarithmOfTheShare(CardTable):
    def shares(self, card, actions, luck):
        both = super().shares(card, actions, luck)
        return torch.stack([both[:, 0].log(), both[:, 1]], dim=1)


@bad(ROLE, "card_table", "terminated is reported at the step of the end alone", FINAL)
class OverReportedOnce(CardTable):
    def says_over(self, state, after):
        return after.over & ~state.over


@bad(
    ROLE, "card_table", "centralised information is noted at each reset and step, and returned for any state", FUNCTION
)
class NotedCentralised(CardTable):
    noted: Any = None

    def step(self, state, actions):
        answer = super().step(state, actions)
        self.noted = super().centralized(answer[0])
        return answer

    def reset(self, K):
        state = super().reset(K)
        self.noted = super().centralized(state)
        return state

    def centralized(self, state):
        same_size = self.noted is not None and len(self.noted) == len(state.turn)
        return self.noted if same_size else super().centralized(state)


@bad(ROLE, "card_table", "rewards are centred over the batch of copies", COPIES)
class RewardsCentredOverCopies(CardTable):
    def shares(self, card, actions, luck):
        both = super().shares(card, actions, luck)
        return both - both.mean(0)


# The relay race.


@bad(ROLE, "relay_race", "the seed is ignored; the generator is seeded when the race is made", GIVEN_SEED)
class SeededWhenMade(RelayRace):
    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(0)

    def seed(self, seed):
        pass


@bad(ROLE, "relay_race", "seeds and uses numpy's global generator", GIVEN_SEED)
class GlobalNumpyRace(RelayRace):
    def seed(self, seed):
        if seed is not None:
            np.random.seed(seed)

    def bonus(self):
        return int(np.random.randint(2))


@bad(ROLE, "relay_race", "a seed of 0 is taken for none", GIVEN_SEED)
class SeedOfZeroIsNone(RelayRace):
    def seed(self, seed):
        super().seed(seed or None)


@bad(ROLE, "relay_race", "every seed becomes the same one", SEED_COUNTS)
class EverySeedTheSame(RelayRace):
    def seed(self, seed):
        super().seed(seed if seed is None else 1)


@bad(ROLE, "relay_race", "places are kept in a dictionary of the class", GIVEN_SEED)
class PlacesOfTheClass(RelayRace):
    places: ClassVar[dict[str, int]] = {}

    def line_up(self):
        super().line_up()
        self.places.update(self.place)
        self.place = self.places


@bad(ROLE, "relay_race", "time is not set back at reset", GIVEN_SEED)
class TimeNotSetBack(RelayRace):
    def line_up(self):
        time = self.time % self.time_limit
        super().line_up()
        self.time = time


@bad(ROLE, "relay_race", "state() is noted in step, and after a reset still that of the last episode", GIVEN_SEED)
class StateNotedInStep(RelayRace):
    noted = np.zeros(4, np.float32)

    def state(self):
        return self.noted.copy()

    def step(self, actions):
        answer = super().step(actions)
        self.noted = super().state()
        return answer


@bad(ROLE, "relay_race", "who has finished stays among the agents until all have", AGENTS)
class FinishedStay(RelayRace):
    def leave(self, ended, cut):
        if all(ended[agent] or cut[agent] for agent in self.agents):
            self.agents = []


@bad(ROLE, "relay_race", "who has left is taken out of possible_agents, which is the same list", AGENTS)
class LeavesThePossible(RelayRace):
    def line_up(self):
        super().line_up()
        self.agents = self.possible_agents

    def leave(self, ended, cut):
        for agent in [agent for agent in self.agents if ended[agent] or cut[agent]]:
            self.agents.remove(agent)


@bad(ROLE, "relay_race", "at the time limit all leave, and no flag is set", AGENTS)
class LeavesWithoutFlag(RelayRace):
    def flags(self, acting):
        ended, cut = super().flags(acting)
        return ended, dict.fromkeys(cut, False)

    def leave(self, ended, cut):
        super().leave(ended, cut)
        self.agents = [] if self.late("") else self.agents


@bad(ROLE, "relay_race", "agents are found by their place, and one who is thrown back takes part again", AGENTS)
class ThrownBackIntoTheRace(RelayRace):
    def leave(self, ended, cut):
        if self.time == 4 and self.place["anna"] == GOAL:
            self.place["anna"], self.rested["anna"], self.ran["anna"] = GOAL - 1, False, False
        back = [agent for agent in self.possible_agents if self.place[agent] < GOAL and not self.late(agent)]
        self.agents = back


@bad(ROLE, "relay_race", "those who have just left are given no last observation", TOLD)
class NoLastObservation(RelayRace):
    def step(self, actions):
        _, *rest = super().step(actions)
        return self.observations(self.agents), *rest


@bad(ROLE, "relay_race", "reset() returns no infos", TOLD)
class NoInfosAtReset(RelayRace):
    def reset(self, seed=None, options=None):
        return super().reset(seed, options)[0], {}


@bad(
    ROLE, "relay_race", "rewards of those who took part are handed out in the order of all possible agents", OWN_REWARD
)
class RewardsByPosition(RelayRace):
    def rewards(self, acting):
        return dict(zip(acting, (self.due(agent) for agent in self.possible_agents), strict=False))


@bad(ROLE, "relay_race", "masks in infos are those from before the move", TAKEN)
class MaskBeforeTheMove(RelayRace):
    def step(self, actions):
        before = self.infos(self.agents)
        return *super().step(actions)[:4], before


@bad(ROLE, "relay_race", "all agents have one infos dictionary, with the last one's mask", TAKEN)
class OneInfoForAll(RelayRace):
    def infos(self, agents):
        shared: dict[str, Any] = {}
        for agent in agents:
            shared["action_mask"] = self.mask(agent)
        return dict.fromkeys(agents, shared)


@bad(ROLE, "relay_race", "action_space() makes a new space at each call", SPACES)
class SpaceMadeAnew(RelayRace):
    def action_space(self, agent):
        return spaces.Discrete(3)


@bad(ROLE, "relay_race", "places beyond the goal are seen as they are", SPACES)
class SeenBeyondTheGoal(RelayRace):
    def move(self, agent, action):
        before = self.place[agent]
        super().move(agent, action)
        self.beyond = (agent, before + action) if before + action > GOAL else None

    def view(self, agent):
        view = super().view(agent)
        beyond = getattr(self, "beyond", None)
        if beyond and beyond[0] == agent:
            view[0] = beyond[1] / GOAL
        return view


@bad(ROLE, "relay_race", "observations are in double precision, their space in single", SPACES)
class DoubleInSingleSpace(RelayRace):
    def view(self, agent):
        return super().view(agent).astype(np.float64)


@bad(ROLE, "relay_race", "state() counts time beyond what its space has", SPACES)
class TimeBeyondTheSpace(RelayRace):
    def state(self):
        return super().state() + np.array([0, 0, 0, 1], np.float32)


@bad(ROLE, "relay_race", "who is not paid for finishing is paid None", NUMBERS)
class PaidNothing(RelayRace):
    def rewards(self, acting):
        return {agent: self.due(agent) if agent in self.arrived() else None for agent in acting}


@bad(ROLE, "relay_race", "rewards are arrays of one number", NUMBERS)
class RewardsAreArrays(RelayRace):
    def rewards(self, acting):
        return {agent: np.array([self.due(agent)]) for agent in acting}


@bad(ROLE, "relay_race", "each agent's observation is one array, filled anew at each step", KEPT)
class ViewFilledAnew(RelayRace):
    def __init__(self) -> None:
        super().__init__()
        self.buffers = {agent: np.zeros(3, np.float32) for agent in self.possible_agents}

    def view(self, agent):
        self.buffers[agent][:] = super().view(agent)
        return self.buffers[agent]


@bad(ROLE, "relay_race", "state() returns the array that the race itself keeps", KEPT)
class StateItself(RelayRace):
    kept = np.zeros(0, np.float32)

    def line_up(self):
        super().line_up()
        self.kept = super().state()

    def step(self, actions):
        answer = super().step(actions)
        self.kept[:] = super().state()
        return answer

    def state(self):
        return self.kept


@bad(ROLE, "relay_race", "takes the actions out of the dictionary handed over", HANDED)
class TakesActionsOut(RelayRace):
    def step(self, actions):
        answer = super().step(actions)
        for agent in answer[0]:
            actions.pop(agent)
        return answer


@bad(ROLE, "relay_race", "flags are set for all but the last of those who run, who never ends", OVER)
class LastNeverEnds(RelayRace):
    def flags(self, acting):
        ended, cut = super().flags(acting)
        return ended | {acting[-1]: False}, cut | {acting[-1]: False}


# The hidden numbers.


@bad(ROLE, "hidden_numbers", "masks have the kind of Python's integers, and the space has int8", SPACES)
class MaskOfLongIntegers(HiddenNumbers):
    def mask(self, agent):
        return super().mask(agent).astype(np.int64)


@bad(ROLE, "hidden_numbers", "the last observation has no mask in it", SPACES)
class LastWithoutMask(HiddenNumbers):
    def one(self, agent):
        found = super().one(agent)
        return found if self.agents else {"observation": found["observation"]}


@bad(ROLE, "hidden_numbers", "masks say what has been tried", TAKEN)
class MaskOfTheTried(HiddenNumbers):
    def mask(self, agent):
        return 1 - super().mask(agent)


@bad(ROLE, "hidden_numbers", "the mask of the agent with fewer numbers is as long as the other's", TAKEN)
class MaskOfTheLongest(HiddenNumbers):
    def mask(self, agent):
        return np.array([a not in self.tried[agent] for a in range(6)], np.int8)


@bad(
    ROLE,
    "hidden_numbers",
    "numbers that the hint rules out are masked, on the wrong side of it: at times all are",
    TAKEN,
)
class RulesOutTheWrongSide(HiddenNumbers):
    def mask(self, agent):
        mask = super().mask(agent)
        if self.hint[agent]:
            last = self.tried[agent][-1]
            mask[slice(last, None) if self.hint[agent] == 2 else slice(last + 1)] = 0
        return mask


@bad(ROLE, "hidden_numbers", "a mask is one array for the whole episode, and numbers are crossed out in it", KEPT)
class CrossedOutInOneMask(HiddenNumbers):
    def hide(self):
        super().hide()
        self.open = {i: np.ones(count, np.int8) for i, count in self.numbers.items()}

    def guess(self, agent, number):
        super().guess(agent, number)
        self.open[agent][number] = 0

    def mask(self, agent):
        return self.open[agent]


@bad(
    ROLE,
    "hidden_numbers",
    "whether hints are lost is drawn from Python's global generator, which is never seeded",
    GIVEN_SEED,
)
class LostByGlobalChance(HiddenNumbers):
    def lost(self):
        return random.random() < 0.2


@bad(ROLE, "hidden_numbers", "the numbers of the next episode are drawn at the end of the last", GIVEN_SEED)
class HiddenBeforeTheSeed(HiddenNumbers):
    following: Any = None

    def reset(self, seed=None, options=None):
        answer = super().reset(seed, options)
        self.hidden = self.following or self.hidden
        return answer

    def step(self, actions):
        answer = super().step(actions)
        if not self.agents:
            shown = self.hidden
            super().hide()
            self.following, self.hidden = self.hidden, shown
        return answer


@bad(ROLE, "hidden_numbers", "the hints of the last episode's end are shown after a reset", GIVEN_SEED)
class HintsOfTheLastEpisode(HiddenNumbers):
    def reset(self, seed=None, options=None):
        old = self.hint
        super().reset(seed, options)
        self.hint = old
        return self.told(self.agents), self.infos()


@bad(ROLE, "hidden_numbers", "the winner alone is terminated, and the other leaves without a flag", AGENTS)
class WinnerAloneTerminated(HiddenNumbers):
    def ending(self):
        ended, cut = super().ending()
        return {i: i in self.winners() for i in ended}, cut

    def left(self, ended, cut):
        return [] if any(ended.values()) or cut[0] else [0, 1]


@bad(ROLE, "hidden_numbers", "agents leave one step after their flag, and so are cut off twice", AGENTS)
class LeavesOneStepLater(HiddenNumbers):
    rounds = 3

    def ending(self):
        won = bool(self.winners())
        return dict.fromkeys((0, 1), won), dict.fromkeys((0, 1), not won and len(self.tried[0]) >= self.rounds)

    def left(self, ended, cut):
        return [] if ended[0] or len(self.tried[0]) > self.rounds else [0, 1]


@bad(ROLE, "hidden_numbers", "running out of rounds is reported as terminated", TRUE_FLAGS)
class OutOfRoundsIsTheEnd(HiddenNumbers):
    def ending(self):
        ended, cut = super().ending()
        return {i: ended[i] or cut[i] for i in ended}, dict.fromkeys(cut, False)


@bad(ROLE, "hidden_numbers", "flags count the winners", NUMBERS)
class FlagsCountWinners(HiddenNumbers):
    def ending(self):
        ended, cut = super().ending()
        return dict.fromkeys(ended, len(self.winners())), cut


@bad(ROLE, "hidden_numbers", "rewards are divided by their sum, which is 0 while nobody has won", NUMBERS)
class SharesOfNothing(HiddenNumbers):
    def paid(self):
        won = np.array([float(i in self.winners()) for i in (0, 1)])
        with np.errstate(invalid="ignore"):
            return dict(enumerate((won / won.sum()).tolist()))


@bad(ROLE, "hidden_numbers", "at reset the first agent alone is shown something", TOLD)
class FirstAloneIsShown(HiddenNumbers):
    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        return self.told(self.agents[:1]), self.infos()


@bad(ROLE, "hidden_numbers", "the loser is given no reward at the end", TOLD)
class NoRewardForTheLoser(HiddenNumbers):
    def paid(self):
        winners = self.winners()
        return {i: 1 / len(winners) for i in winners} if winners else super().paid()


# Tag on the ring.


@bad(ROLE, "tag_on_ring", "a distance of 0 is seen as a whole round, which the chaser's space does not have", SPACES)
class WholeRoundOfTheRing(TagOnRing):
    def views(self):
        views = super().views()
        return views | {"chaser": views["chaser"] or np.int64(RING)}


@bad(ROLE, "tag_on_ring", "observations are floats, and their space holds integers", SPACES)
class DistanceIsAFloat(TagOnRing):
    def views(self):
        return {agent: np.float32(view) for agent, view in super().views().items()}


@bad(ROLE, "tag_on_ring", "the two observations are swapped", SPACES)
class ViewsSwapped(TagOnRing):
    def views(self):
        chaser, runner = super().views().values()
        return {"chaser": runner, "runner": chaser}


@bad(ROLE, "tag_on_ring", "all instances use one generator, a default argument", GIVEN_SEED)
class GeneratorAsDefault(TagOnRing):
    def __init__(self, generator: torch.Generator = torch.Generator()) -> None:  # noqa: B008
        super().__init__()
        self.generator = generator


@bad(
    ROLE,
    "tag_on_ring",
    "first places are remembered by seed, and the generator is not seeded when they are",
    GIVEN_SEED,
)
class PlacesBySeed(TagOnRing):
    def __init__(self) -> None:
        super().__init__()
        self.remembered: dict[int, dict[str, int]] = {}

    def reset(self, seed=None, options=None):
        known = self.remembered.get(-1 if seed is None else seed)
        answer = super().reset(None if known else seed, options)
        if seed is not None:
            self.at = dict(self.remembered.setdefault(seed, dict(self.at)))
            answer = (self.views(), answer[1])
        return answer


@bad(ROLE, "tag_on_ring", "slips are drawn by torch's global generator", GIVEN_SEED)
class SlipsByGlobalTorch(TagOnRing):
    def below(self, bound):
        return super().below(bound) if bound == 3 else int(torch.randint(bound, ()))


@bad(ROLE, "tag_on_ring", "agents have a new name in each episode", AGENTS)
class NewNamesEachEpisode(TagOnRing):
    episodes = 0

    def action_space(self, agent):
        return super().action_space(agent.partition("_")[0])

    def observation_space(self, agent):
        return super().observation_space(agent.partition("_")[0])

    def reset(self, seed=None, options=None):
        answer = super().reset(seed, options)
        self.episodes += 1
        if self.episodes > 2:
            self.agents = [f"{agent}_{self.episodes}" for agent in self.agents]
            return tuple(dict(zip(self.agents, part.values(), strict=True)) for part in answer)
        return answer

    def step(self, actions):
        names = self.agents
        self.agents = ["chaser", "runner"]
        answer = super().step(dict(zip(self.agents, actions.values(), strict=True)))
        self.agents = names if self.agents else []
        return tuple(dict(zip(names, part.values(), strict=True)) for part in answer)


@bad(ROLE, "tag_on_ring", "takes Python's integers alone, not those that its spaces sample", TAKEN)
class PythonIntegersAlone(TagOnRing):
    def take(self, agent, action):
        if not isinstance(action, int):
            raise TypeError(f"{action!r} is no int")
        return super().take(agent, action)


@bad(ROLE, "tag_on_ring", "the space of actions counts from 0, and the game from 1", TAKEN)
class PlayersActionsFromOne(TagOnRing):
    def take(self, agent, action):
        return dict(enumerate(self.steps[agent], start=1))[int(action)]


@bad(ROLE, "tag_on_ring", "the runner has fewer actions than its space says", TAKEN)
class RunnerWithFewerActions(TagOnRing):
    def take(self, agent, action):
        return self.steps[agent][:3][action]


@bad(ROLE, "tag_on_ring", "the reward is the inverse of the distance, infinite when the runner is caught", NUMBERS)
class InverseDistance(TagOnRing):
    def payment(self):
        with np.errstate(divide="ignore"):
            near = float(1 / np.float64(self.distance()))
        return {"chaser": near, "runner": -near}


BAD, GOOD = bad.targets(), good.targets()
