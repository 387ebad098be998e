"""Games in parallel copies and ParallelEnvs: good ones, and broken ones that the judge must refute.

A factory is a class without arguments. The batched games are walks on a line of four places; the parallel environments
are a small game of tag that speaks PettingZoo's interface without the package.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.batched_arrays import BatchedStochasticGame
from marlspec.games.catalogue import get
from marlspec.games.stochastic import StochasticGame

from .target import Collection, Factory, Violation

good, bad = Collection(), Collection()
COPIES, STEPS = 6, 30


# --- measures of batched games: 0 where the promise is kept, else 1 ---------------------------------------------------


def play(game: Any, copies: int, seed: int = 0, steps: int = STEPS, actions: Any = None) -> list[dict[str, Tensor]]:
    """A seeded episode with random legal actions, all that is seen of it."""
    torch.manual_seed(seed)
    state = game.reset(copies)
    seen = [{"observe": game.observe(state).clone(), "available": game.available(state).clone()}]
    for t in range(steps):
        chosen = legal(game, state, t) if actions is None else actions[t]
        state, rewards, terminated, truncated = game.step(state, chosen)
        seen.append(
            {
                "actions": chosen,
                "rewards": rewards.clone(),
                "terminated": terminated.clone(),
                "truncated": truncated.clone(),
                "observe": game.observe(state).clone(),
                "centralized": game.centralized(state).clone(),
                "available": game.available(state).clone(),
            }
        )
    return seen


def legal(game: Any, state: Any, t: int) -> Tensor:
    """Random legal actions that follow from the time alone; the first one where none is legal."""
    weights = game.available(state).double()
    numbers = torch.from_numpy(np.random.default_rng(t).random(weights.shape))
    return (weights * (numbers + 0.1)).argmax(-1)


def same(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]], k: int | None = None) -> bool:
    """Whether two episodes, or copy k of them, are equal."""

    def part(values: Tensor) -> Tensor:
        return values if k is None else values[k]

    return all(
        torch.equal(torch.nan_to_num(part(first[name]).double()), torch.nan_to_num(part(second[name]).double()))
        for first, second in zip(one, other, strict=True)
        for name in first
    )


def batch_seed(factory: Factory) -> float:
    game, beside = factory(), factory()
    first = play(game, COPIES)
    play(beside, COPIES, seed=9, steps=7)
    return float(not same(first, play(game, COPIES)) or not same(first, play(factory(), COPIES)))


def batch_finite(factory: Factory) -> float:
    episode = play(factory(), COPIES)
    return float(not all(torch.isfinite(values.double()).all() for record in episode for values in record.values()))


def batch_spaces(factory: Factory) -> float:
    game = factory()
    for record in play(game, COPIES)[1:]:
        if record["observe"].shape != (COPIES, game.n_agents, game.observation_size):
            return 1.0
        if record["centralized"].shape != (COPIES, game.state_size):
            return 1.0
        if game.common_reward and not torch.equal(
            record["rewards"], record["rewards"][:, :1].expand_as(record["rewards"])
        ):
            return 1.0
    return 0.0


def batch_mask(factory: Factory) -> float:
    """Whether a copy that goes on has no legal action somewhere, or a legal action pays no number."""
    game = factory()
    torch.manual_seed(0)
    state, over = game.reset(COPIES), torch.zeros(COPIES, dtype=torch.bool)
    for t in range(STEPS):
        mask = game.available(state)
        if not mask.any(-1)[~over].all():
            return 1.0
        for first in range(game.n_actions):
            for second in range(game.n_actions):
                rewards = game.step(state, torch.tensor([[first, second]]).expand(COPIES, 2))[1]
                if not torch.isfinite(rewards)[mask[:, 0, first] & mask[:, 1, second] & ~over].all():
                    return 1.0
        state, _, terminated, truncated = game.step(state, legal(game, state, t))
        over |= terminated | truncated
    return 0.0


def batch_terminal(factory: Factory) -> float:
    over = torch.zeros(COPIES, dtype=torch.bool)
    for seed in range(3):
        over[:] = False
        for record in play(factory(), COPIES, seed=seed, steps=80)[1:]:
            if (over & ~record["terminated"]).any() or (record["rewards"][over] != 0).any():
                return 1.0
            over |= record["terminated"]
    return 0.0


def batch_pure(factory: Factory) -> float:
    game = factory()
    torch.manual_seed(0)
    state = game.reset(COPIES)
    kept = []
    for t in range(STEPS):
        values, random_state, chosen = [part.clone() for part in state], torch.get_rng_state(), legal(game, state, t)
        following, rewards, terminated, truncated = game.step(state, chosen)
        answers = [part.clone() for part in (*following, rewards, terminated, truncated)]
        kept.append((state, values, random_state, chosen, answers))
        state = following
    for state, values, random_state, chosen, answers in kept:
        if not all(torch.equal(part, value) for part, value in zip(state, values, strict=True)):
            return 1.0
        torch.set_rng_state(random_state)
        following, *rest = game.step(state, chosen)
        if not all(torch.equal(part, answer) for part, answer in zip((*following, *rest), answers, strict=True)):
            return 1.0
    return 0.0


def batch_copies(factory: Factory) -> float:
    """Whether a copy changes when the others act otherwise, or copies agree or differ more often than chance has it."""
    game = factory()
    first = play(game, COPIES)
    actions = [record["actions"].clone() for record in first[1:]]
    for k in range(COPIES):
        other = [(chosen + 1) % 3 for chosen in actions]
        for mine, others in zip(actions, other, strict=True):
            others[k] = mine[k]
        second = play(game, COPIES, actions=other)
        for record, again in zip(first[1:], second[1:], strict=True):
            record, again = dict(record), dict(again)
            del record["actions"], again["actions"]
            if not same([record], [again], k):
                return 1.0
    torch.manual_seed(1)
    before = torch.get_rng_state()
    game.step(game.reset(2), torch.ones(2, game.n_agents, dtype=torch.int64))
    chance = not torch.equal(before, torch.get_rng_state())
    return float(chance and pairs_agree(game) > 0.08)


def batch_restart(factory: Factory) -> float:
    """Whether restart() moves a copy that has not finished, or leaves a finished one away from a first place."""
    game = factory()
    if not hasattr(game, "restart"):
        return 0.0
    torch.manual_seed(0)
    first = game.centralized(game.reset(COPIES))
    state = game.reset(COPIES)
    for _ in range(2):
        state = game.step(state, torch.full((COPIES, game.n_agents), 2))[0]
    finished = torch.arange(COPIES) % 2 == 0
    before, after = game.centralized(state), game.centralized(game.restart(state, finished))
    return float(
        not torch.equal(after[~finished], before[~finished]) or not torch.equal(after[finished], first[finished])
    )


def pairs_agree(game: Any) -> float:
    """By how much neighbouring copies agree more often than copies of different runs do, after the same actions."""
    torch.manual_seed(1)
    ends = []
    for _ in range(600):
        state = game.reset(2)
        for _ in range(2):
            state = game.step(state, torch.full((2, game.n_agents), 2))[0]
        ends.append(game.centralized(state).flatten(1))
    pairs = torch.stack(ends)
    together = (pairs[:, 0] == pairs[:, 1]).all(-1).double().mean()
    apart = (pairs[:-1, 0] == pairs[1:, 1]).all(-1).double().mean()
    return float((together - apart).abs())


SEED = Violation("game.seed", batch_seed)
FINITE = Violation("game.finite", batch_finite)
SPACES = Violation("game.spaces", batch_spaces)
MASK = Violation("game.mask", batch_mask)
TERMINAL = Violation("game.terminal", batch_terminal)
PURE = Violation("game.pure", batch_pure)
APART = Violation("game.copies", batch_copies)
RESTART = Violation("game.restart", batch_restart)


# --- batched games ----------------------------------------------------------------------------------------------------


class WalkState(NamedTuple):
    """Where the agents stand [K, n], how long they have walked [K], and whether they have arrived [K]."""

    place: Tensor
    time: Tensor
    over: Tensor


@good("game", "", "Two agents walk on a line of four places, left, not or right; both at the last place ends it.")
class Walk:
    name = "walk"
    n_agents = 2
    n_actions = 3
    observation_size = 4
    state_size = 2
    common_reward = True
    last = 3
    limit = 40

    def first_places(self, K: int) -> Tensor:
        return torch.zeros(K, 2, dtype=torch.int64)

    def reset(self, K: int) -> WalkState:
        return WalkState(self.first_places(K), torch.zeros(K, dtype=torch.int64), torch.zeros(K, dtype=torch.bool))

    def moves(self, state: WalkState, actions: Tensor) -> Tensor:
        return actions - 1

    def walked(self, state: WalkState, moves: Tensor) -> Tensor:
        return torch.where(state.over[:, None], state.place, (state.place + moves).clamp(0, self.last))

    def pay(self, state: WalkState, place: Tensor, arrived: Tensor) -> Tensor:
        return (arrived & ~state.over).float()[:, None].expand(-1, 2)

    def step(self, state: WalkState, actions: Tensor) -> tuple[WalkState, Tensor, Tensor, Tensor]:
        lawful = self.lawful(state).gather(-1, actions[..., None]).squeeze(-1).all(-1)
        place = self.walked(state, self.moves(state, actions))
        over = (place == self.last).all(-1)
        rewards = self.pay(state, place, over)
        rewards = torch.where(lawful[:, None], rewards, torch.full_like(rewards, torch.nan))
        following = WalkState(place, state.time + 1, over)
        return following, rewards, over, (following.time >= self.limit) & ~over

    def observe(self, state: WalkState) -> Tensor:
        return torch.nn.functional.one_hot(state.place, 4).float()

    def centralized(self, state: WalkState) -> Tensor:
        return state.place.float()

    def lawful(self, state: WalkState) -> Tensor:
        mask = torch.ones(*state.place.shape, 3, dtype=torch.bool)
        mask[..., 0] = (state.place > 0) | state.over[:, None]
        return mask

    def available(self, state: WalkState) -> Tensor:
        return self.lawful(state)


@good("game", "walk", "Finished copies are begun again by the game itself.")
class WalkWithRestart(Walk):
    def begun(self, finished: Tensor) -> Tensor:
        return finished

    def restart(self, state: WalkState, finished: Tensor) -> WalkState:
        fresh, begun = self.reset(len(finished)), self.begun(finished)
        parts = zip(fresh, state, strict=True)
        return WalkState(*(torch.where(begun.view(-1, *[1] * (new.dim() - 1)), new, old) for new, old in parts))


@bad("game", "walk_with_restart", "As soon as one copy has finished all are begun again.", RESTART)
class OneBeginsAll(WalkWithRestart):
    def begun(self, finished: Tensor) -> Tensor:
        return finished.any().expand_as(finished)


@bad("game", "walk_with_restart", "Only the first of the finished copies is begun again.", RESTART)
class FirstFinishedAlone(WalkWithRestart):
    def begun(self, finished: Tensor) -> Tensor:
        return finished & (finished.cumsum(0) == 1)


@good("game", "walk", "Each step slips, so that the agent stays, with probability a quarter.")
class SlipperyWalk(Walk):
    def numbers(self, state: WalkState) -> Tensor:
        return torch.rand(state.place.shape)

    def moves(self, state, actions):
        return torch.where(self.numbers(state) < 0.25, 0, super().moves(state, actions))


@good("game", "slippery_walk", "The agents start anywhere but at the end.")
class WalkFromAnywhere(SlipperyWalk):
    def first_places(self, K):
        return torch.randint(0, 3, (K, 2))


@good("game", "walk", "Truth values of finished copies allow nothing any more.")
class NothingAfterTheEnd(Walk):
    def available(self, state):
        return self.lawful(state) & ~state.over[:, None, None]


@good("game", "walk", "The agents' rewards differ, in double precision, as declared.")
class OwnRewards(Walk):
    common_reward = False

    def pay(self, state, place, arrived):
        return torch.where(state.over[:, None], 0.0, place.double() / 4)


@good("game", "", "The two-step game of the catalogue.")
class TwoStep(BatchedStagedGame):
    def __init__(self) -> None:
        super().__init__(get("two-step"))


@good("game", "", "A stochastic game from arrays, with a time limit.")
class FromArrays(BatchedStochasticGame):
    def __init__(self) -> None:
        transitions = np.full((3, 2, 2, 3), 0.25)
        transitions[:, 0, 1] = transitions[:, 1, 0] = [0.5, 0.5, 0]
        transitions[..., 0] += 1 - transitions.sum(-1)
        transitions[2] = [0, 0, 1]
        rewards = np.arange(24.0).reshape(2, 3, 2, 2)
        rewards[:, 2] = 0
        super().__init__(StochasticGame(transitions, rewards, [0.5, 0.5, 0], [False, False, True]), time_limit=9)


@bad("game", "slippery_walk", "Its generator is seeded by the operating system.", SEED)
class OwnGenerator(SlipperyWalk):
    def __init__(self) -> None:
        self.generator = np.random.default_rng()

    def numbers(self, state):
        return torch.from_numpy(self.generator.random(tuple(state.place.shape)))


@bad("game", "walk", "A wind that all instances share turns with each of their steps.", SEED)
class SharedWind(Walk):
    steps: ClassVar[int] = 0

    def moves(self, state, actions):
        type(self).steps += 1
        return super().moves(state, actions) * (type(self).steps % 3 > 0)


@bad("game", "walk", "The first episode of an instance is another one: a warm-up of five steps.", SEED)
class WarmUp(Walk):
    def __init__(self) -> None:
        self.made = 0

    def moves(self, state, actions):
        self.made += 1
        return super().moves(state, actions) * (self.made > 5)


@bad("game", "walk", "The reward is divided by the agents' distance, which may be zero.", FINITE)
class ZeroDistance(Walk):
    common_reward = False

    def pay(self, state, place, arrived):
        return (place / (place[:, :1] - place[:, 1:]).abs()).float() * ~state.over[:, None]


@bad("game", "walk", "Observations are normalised by their own spread, which may be zero.", FINITE)
class NormalisedObservation(Walk):
    def observe(self, state):
        places = super().observe(state) * state.place[..., None]
        return places / places.std(-1, keepdim=True)


@bad("game", "walk", "The centralised information holds the logarithm of the place.", FINITE)
class LogarithmOfThePlace(Walk):
    def centralized(self, state):
        return state.place.float().log()


@bad("game", "walk", "The observation is one number longer than declared.", SPACES)
class LongerObservation(Walk):
    observation_size = 3


@bad("game", "walk", "The centralised information lacks the second agent's place.", SPACES)
class ShorterInformation(Walk):
    def centralized(self, state):
        return super().centralized(state)[:, :1]


@bad("game", "walk", "A common reward is declared, and each agent is paid by its own place.", SPACES)
class NotCommon(OwnRewards):
    common_reward = True


@bad("game", "walk", "An agent at the last place has no legal action.", MASK)
class NoActionAtTheEnd(Walk):
    def available(self, state):
        return super().available(state) & (state.place < 3)[..., None]


@bad("game", "walk", "The mask allows a step to the left at the first place, which step() punishes.", MASK)
class LeftAllowed(Walk):
    def available(self, state):
        return torch.ones_like(self.lawful(state))


@bad("game", "walk", "The agents' masks are swapped.", MASK)
class MasksSwapped(Walk):
    def available(self, state):
        return self.lawful(state).flip(1)


@bad("game", "walk", "The mask is that of the first copy, for all.", MASK)
class FirstCopysMask(SlipperyWalk):
    def available(self, state):
        return self.lawful(state)[:1].expand(len(state.place), -1, -1)


@bad("game", "walk", "Copies that are over walk on.", TERMINAL)
class WalksOn(Walk):
    def walked(self, state, moves):
        return (state.place + moves).clamp(0, self.last)


@bad("game", "walk", "The reward is paid at every step after the end as well.", TERMINAL)
class PaysForEver(Walk):
    def pay(self, state, place, arrived):
        return arrived.float()[:, None].expand(-1, 2)


@bad("game", "walk", "The end is reported once, at the step that reaches it.", TERMINAL)
class ReportedOnce(Walk):
    def step(self, state, actions):
        following, rewards, over, truncated = super().step(state, actions)
        return following, rewards, over & ~state.over, truncated


@bad("game", "walk", "Finished copies start again by themselves.", TERMINAL)
class ResetsItself(Walk):
    def walked(self, state, moves):
        return torch.where(state.over[:, None], 0, super().walked(state, moves))


@bad("game", "walk", "A penalty for time is paid after the end, too.", TERMINAL)
class PenaltyForTime(Walk):
    def pay(self, state, place, arrived):
        return super().pay(state, place, arrived) - 0.125


@bad("game", "walk", "Places are moved in the state that was handed over.", PURE)
class MovesInPlace(Walk):
    def walked(self, state, moves):
        return state.place.copy_(super().walked(state, moves))


@bad("game", "walk", "The time is counted in the state that was handed over.", PURE)
class CountsInPlace(Walk):
    def step(self, state, actions):
        following, *rest = super().step(state, actions)
        state.time.add_(1)
        return (following._replace(time=state.time), *rest)


@bad("game", "walk", "All states share one buffer of places.", PURE)
class OneBuffer(Walk):
    def reset(self, K):
        self.buffer = super().reset(K).place
        return super().reset(K)._replace(place=self.buffer)

    def walked(self, state, moves):
        place = super().walked(state, moves)
        self.buffer.copy_(place)
        return self.buffer


@bad("game", "walk", "The clock stands in the game, not in the state.", PURE)
class HiddenClock(Walk):
    limit = 5

    def reset(self, K):
        self.clock = 0
        return super().reset(K)

    def step(self, state, actions):
        self.clock += 1
        following, rewards, over, _ = super().step(state, actions)
        return following, rewards, over, (~over) & (self.clock >= self.limit)


@bad("game", "walk", "Positions stand in the game; the state is a label.", PURE)
class HiddenPlaces(Walk):
    def reset(self, K):
        state = super().reset(K)
        self.place = state.place
        return state

    def walked(self, state, moves):
        self.place = super().walked(state._replace(place=self.place), moves)
        return self.place


@bad("game", "slippery_walk", "One random number is drawn for all copies.", APART)
class OneNumberForAll(SlipperyWalk):
    def numbers(self, state):
        return torch.rand(1, 2).expand(state.place.shape)


@bad("game", "slippery_walk", "Neighbouring copies share their random numbers in pairs.", APART)
class NumbersInPairs(SlipperyWalk):
    def numbers(self, state):
        return torch.rand((len(state.place) + 1) // 2, 2).repeat_interleave(2, 0)[: len(state.place)]


@bad("game", "slippery_walk", "Neighbouring copies draw opposite numbers, to lower the variance.", APART)
class OppositeNumbers(SlipperyWalk):
    def numbers(self, state):
        drawn = torch.rand((len(state.place) + 1) // 2, 2)
        return torch.stack([drawn, 1 - drawn], 1).flatten(0, 1)[: len(state.place)]


@bad("game", "walk_from_anywhere", "All copies start at the same place.", APART)
class SameStart(WalkFromAnywhere):
    def first_places(self, K):
        return torch.randint(0, 3, (1, 2)).repeat(K, 1)


@bad("game", "slippery_walk", "Numbers are drawn for moving agents alone, so that others' moves shift them.", APART)
class NumbersForMovers(SlipperyWalk):
    def moves(self, state, actions):
        moving = actions != 1
        slips = torch.zeros(state.place.shape, dtype=torch.bool)
        slips[moving] = torch.rand(int(moving.sum())) < 0.25
        return torch.where(slips, 0, actions - 1)


@bad("game", "walk", "The first copy's actions are played in all copies.", APART)
class FirstCopysActions(Walk):
    def moves(self, state, actions):
        return super().moves(state, actions[:1].expand_as(actions))


@bad("game", "own_rewards", "Rewards are centred over the copies.", APART)
class RewardsCentred(OwnRewards):
    def pay(self, state, place, arrived):
        pay = super().pay(state, place, arrived)
        return (pay - pay.mean(0)) * ~state.over[:, None]


@bad("game", "walk", "Observations are relative to the mean over the copies.", APART)
class ObservationRelative(Walk):
    def observe(self, state):
        seen = super().observe(state)
        return seen - seen.mean(0)


@bad("game", "walk", "When one copy has arrived, all copies are over.", APART)
class OneEndsAll(Walk):
    def walked(self, state, moves):
        place = super().walked(state, moves)
        arrived = (place == self.last).all(-1).any()
        return torch.where(arrived, torch.full_like(place, self.last), place)


# --- measures of parallel environments --------------------------------------------------------------------------------


def visit(env: Any, seed: int, steps: int = 14, stride: int = 1, global_seed: int = 0) -> list[Any]:
    """A seeded episode with actions that follow from the time, all that is said in it."""
    np.random.seed(global_seed)
    observations, infos = env.reset(seed=seed)
    said: list[Any] = [(tuple(env.agents), tuple(env.agents), observations, None, None, None, infos)]
    for t in range(steps):
        if not env.agents:
            break
        before = tuple(env.agents)
        actions = {agent: chosen(env, said[-1], agent, t * stride) for agent in before}
        said.append((before, None, *env.step(actions)))
        said[-1] = (before, tuple(env.agents), *said[-1][2:])
    return said


def chosen(env: Any, last: Any, agent: Any, number: int) -> int:
    mask = last[6].get(agent, {}).get("action_mask", np.ones(env.action_space(agent).n))
    allowed = np.flatnonzero(mask) if np.any(mask) else np.arange(env.action_space(agent).n)
    return int(allowed[(number + int(agent[-1])) % len(allowed)])


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(alike(x, y) for x, y in zip(one, other, strict=True))
    return bool(np.array_equal(one, other)) if one is not None else other is None


def env_seed(factory: Factory) -> float:
    env, second, beside = factory(), factory(), factory()
    first = visit(env, 3)
    again = visit(env, 3, global_seed=1)
    beside.reset(seed=5)
    second.reset(seed=3)
    mixed = [second.reset(seed=3)[0]]
    for t in range(1, len(first)):
        beside.step(dict.fromkeys(beside.agents, 1)) if beside.agents else beside.reset(seed=t)
        last = first[t - 1]
        mixed.append(second.step({agent: chosen(second, last, agent, t - 1) for agent in second.agents})[0])
    return float(not alike(first, again) or not alike([record[2] for record in first], mixed))


def env_finite(factory: Factory) -> float:
    for stride in range(3):
        for record in visit(factory(), 3, stride=stride):
            numbers = [*record[2].values(), *(record[3] or {}).values()]
            if not all(np.isfinite(number).all() for number in numbers if not isinstance(number, dict)):
                return 1.0
    return 0.0


def env_spaces(factory: Factory) -> float:
    env = factory()
    for stride in range(4):
        for t, record in enumerate(visit(env, 3 + stride, stride=stride)):
            before, after, observations, rewards, terminations, truncations, _ = record
            if not all(env.observation_space(agent).contains(observations.get(agent)) for agent in before):
                return 1.0
            if t and not all(set(before) <= set(part) for part in (rewards, terminations, truncations)):
                return 1.0
            if t and not set(rewards) <= {*before, *after}:
                return 1.0
            if t and any(np.shape(reward) for reward in rewards.values()):
                return 1.0
    return 0.0


def env_mask(factory: Factory) -> float:
    env = factory()
    for stride in range(4):
        for record in visit(env, 3, stride=stride):
            masks = [record[6][agent]["action_mask"] for agent in record[1]]
            if not all(np.any(mask) and len(mask) == 3 for mask in masks):
                return 1.0
    return 0.0


def env_terminal(factory: Factory) -> float:
    env = factory()
    for stride in range(4):
        gone: set[Any] = set()
        for before, after, _, _, terminations, truncations, _ in visit(env, 3, stride=stride, steps=40)[1:]:
            done = {agent for agent in before if terminations[agent] or truncations[agent]}
            gone |= done
            if gone & set(after) or set(before) - done - set(after):
                return 1.0
    return 0.0


ENV_SEED = Violation("game.seed", env_seed)
ENV_FINITE = Violation("game.finite", env_finite)
ENV_SPACES = Violation("game.spaces", env_spaces)
ENV_MASK = Violation("game.mask", env_mask)
ENV_TERMINAL = Violation("game.terminal", env_terminal)


# --- parallel environments --------------------------------------------------------------------------------------------


class Discrete:
    """Whole numbers from start on, n of them."""

    def __init__(self, n: int) -> None:
        self.n, self.start = n, 0

    def contains(self, value: Any) -> bool:
        return 0 <= int(value) < self.n


class Box:
    """Numbers between two bounds, in single precision."""

    def __init__(self, low: float, high: float, shape: tuple[int, ...]) -> None:
        self.low, self.high, self.shape = low, high, shape

    def contains(self, value: Any) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.dtype == np.float32
            and value.shape == self.shape
            and bool(((self.low <= value) & (value <= self.high)).all())
        )

    def seed(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def sample(self) -> Any:
        return self.generator.uniform(self.low, self.high, self.shape).astype(np.float32)

    def __repr__(self) -> str:
        return f"Box({self.low}, {self.high}, {self.shape}, float32)"


@good("game", "", "Three agents on a circle of six places; who meets agent_0 leaves, and all stop after ten steps.")
class Tag:
    possible_agents: ClassVar[list[str]] = ["agent_0", "agent_1", "agent_2"]
    places = 6
    limit = 10

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.spaces = {agent: (Box(0, 6, (3,)), Discrete(3)) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        return self.spaces[agent][0]

    def action_space(self, agent: str) -> Any:
        return self.spaces[agent][1]

    def make_generator(self, seed: int | None) -> Any:
        return np.random.default_rng(seed)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.generator = self.make_generator(seed)
        self.agents = list(self.possible_agents)
        self.place = {agent: int(self.generator.integers(self.places)) for agent in self.agents}
        self.time = 0
        return self.seen(self.agents), self.said(self.agents)

    def seen(self, agents: list[str]) -> dict[str, Any]:
        places = [self.place[agent] for agent in self.possible_agents]
        return {agent: np.roll(np.array(places, dtype=np.float32), -int(agent[-1])) for agent in agents}

    def said(self, agents: list[str]) -> dict[str, Any]:
        return {agent: {} for agent in agents}

    def gust(self) -> int:
        return int(self.generator.integers(0, 2))

    def walk(self, actions: dict[str, int]) -> None:
        for agent, action in actions.items():
            self.place[agent] = (self.place[agent] + int(action) - 1 + self.gust()) % self.places
        self.time += 1

    def pay(self, caught: dict[str, bool]) -> dict[str, Any]:
        return {agent: float(sum(caught.values()) if agent == "agent_0" else -caught[agent]) for agent in caught}

    def leave(self, caught: dict[str, bool], late: dict[str, bool]) -> None:
        self.agents = [agent for agent in self.agents if not (caught[agent] or late[agent])]

    def step(self, actions: dict[str, int]) -> tuple[dict[str, Any], ...]:
        live = list(self.agents)
        self.walk(actions)
        caught = {agent: agent != "agent_0" and self.place[agent] == self.place["agent_0"] for agent in live}
        late = dict.fromkeys(live, self.time >= self.limit)
        rewards = self.pay(caught)
        self.leave(caught, late)
        return self.seen(live), rewards, caught, late, self.said(live)


@good("game", "tag", "Infos carry masks: agent_0 may not stand still.")
class MaskedTag(Tag):
    def said(self, agents):
        return {agent: {"action_mask": np.array([1, int(agent != "agent_0"), 1], dtype=np.int8)} for agent in agents}


@good("game", "tag", "Actions are numbers in an interval, and observations have one key more, common to all.")
class ContinuousTag(Tag):
    def __init__(self) -> None:
        super().__init__()
        self.spaces = {agent: (Box(0, 6, (3,)), Box(-1, 1, (1,))) for agent in self.possible_agents}

    def seen(self, agents):
        return {**super().seen(agents), "common": self.time}

    def walk(self, actions):
        super().walk({agent: 1 + round(float(action[0])) for agent, action in actions.items()})


@good("game", "tag", "A caught agent comes late: agent_2 joins after two steps.")
class LateComer(Tag):
    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        self.agents = self.possible_agents[:2]
        return self.seen(self.agents), self.said(self.agents)

    def leave(self, caught, late):
        super().leave(caught, late)
        if self.time == 2:
            self.agents = [*self.agents, "agent_2"]


@bad("game", "tag", "Gusts come from numpy's global generator.", ENV_SEED)
class GlobalGusts(Tag):
    def gust(self):
        return np.random.randint(0, 2)


@bad("game", "tag", "The seed is not used.", ENV_SEED)
class SeedIgnored(Tag):
    def make_generator(self, seed):
        return np.random.default_rng()


@bad("game", "tag", "Only the first reset() uses its seed.", ENV_SEED)
class FirstSeedOnly(Tag):
    generator: Any = None

    def make_generator(self, seed):
        return self.generator or super().make_generator(seed)


@bad("game", "tag", "Places stand in the class, which all instances share.", ENV_SEED)
class PlacesOfTheClass(Tag):
    place: ClassVar[dict[str, int]] = {}

    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        PlacesOfTheClass.place.update(self.__dict__.pop("place"))
        return self.seen(self.agents), self.said(self.agents)


@bad("game", "tag", "Rewards are shares of those caught, with none caught 0 / 0.", ENV_FINITE)
class ShareOfNone(Tag):
    def pay(self, caught):
        return {agent: float(np.divide(taken, np.float64(sum(caught.values())))) for agent, taken in caught.items()}


@bad("game", "tag", "Observations hold one over the distance.", ENV_FINITE)
class OneOverTheDistance(Tag):
    def __init__(self) -> None:
        super().__init__()
        self.spaces = {agent: (Box(-np.inf, np.inf, (3,)), Discrete(3)) for agent in self.possible_agents}

    def seen(self, agents):
        with np.errstate(divide="ignore"):
            return {agent: 1 / seen for agent, seen in super().seen(agents).items()}


@bad("game", "tag", "Observations are in double precision, and single is declared.", ENV_SPACES)
class DoublePrecision(Tag):
    def seen(self, agents):
        return {agent: seen.astype(np.float64) for agent, seen in super().seen(agents).items()}


@bad("game", "tag", "Places count from -1, which the space leaves out.", ENV_SPACES)
class BelowTheSpace(Tag):
    def seen(self, agents):
        return {agent: seen - 1 for agent, seen in super().seen(agents).items()}


@bad("game", "tag", "Agents that leave are given no reward in their last step.", ENV_SPACES)
class NoLastReward(Tag):
    def pay(self, caught):
        return {agent: reward for agent, reward in super().pay(caught).items() if not caught[agent]}


@bad("game", "tag", "Rewards are given to agents that have left as well.", ENV_SPACES)
class RewardsForTheGone(Tag):
    def pay(self, caught):
        return {**dict.fromkeys(self.possible_agents, 0.0), **super().pay(caught)}


@bad("game", "tag", "Rewards are arrays of one number.", ENV_SPACES)
class RewardInAnArray(Tag):
    def pay(self, caught):
        return {agent: np.array([reward]) for agent, reward in super().pay(caught).items()}


@bad("game", "masked_tag", "An agent at place 2 has no legal action.", ENV_MASK)
class StuckAtTwo(MaskedTag):
    def said(self, agents):
        return {
            agent: {"action_mask": info["action_mask"] * (self.place[agent] != 2)}
            for agent, info in super().said(agents).items()
        }


@bad("game", "masked_tag", "The mask has an entry too many.", ENV_MASK)
class LongMask(MaskedTag):
    def said(self, agents):
        return {agent: {"action_mask": np.ones(4, dtype=np.int8)} for agent in agents}


@bad("game", "tag", "Caught agents stay in agents.", ENV_TERMINAL)
class CaughtAgentsStay(Tag):
    def leave(self, caught, late):
        self.agents = [agent for agent in self.agents if not late[agent]]


@bad("game", "tag", "Agents that are too late stay in agents.", ENV_TERMINAL)
class LateAgentsStay(Tag):
    def leave(self, caught, late):
        self.agents = [agent for agent in self.agents if not caught[agent]]


@bad("game", "tag", "All leave as soon as one is caught, which is said of that one alone.", ENV_TERMINAL)
class AllLeave(Tag):
    def leave(self, caught, late):
        self.agents = [] if any(caught.values()) else [agent for agent in self.agents if not late[agent]]


@bad("game", "tag", "A caught agent is back after the next step.", ENV_TERMINAL)
class CaughtAgentsReturn(Tag):
    def reset(self, seed=None, options=None):
        self.waiting: list[str] = []
        return super().reset(seed, options)

    def leave(self, caught, late):
        super().leave(caught, late)
        self.agents = [*self.agents, *(agent for agent in self.waiting if agent not in self.agents)]
        self.waiting = [agent for agent, taken in caught.items() if taken]


BAD = bad.targets()
GOOD = good.targets()
MEASURES: dict[bool, tuple[Callable[[Factory], float], ...]] = {
    True: (batch_seed, batch_finite, batch_spaces, batch_mask, batch_terminal, batch_pure, batch_copies, batch_restart),
    False: (env_seed, env_finite, env_spaces, env_terminal),
}
