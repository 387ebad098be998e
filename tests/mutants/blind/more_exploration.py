"""Epsilon-greedy selection, once more: by another author, with unequal rows, three agents and many calls in a row."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind, writes_into_its_arguments
from .exploration import beyond_chance, chances

good, bad = Collection(), Collection()
ROLE = "epsilon_greedy"
EACH, CALLS = 3000, 2000

ALL = [1, 1, 1]
Rows = list[list[list[float]]]
CLOSE: Rows = [[[7.0, 7.001, 6.999], [1.0, 1.02, 0.0]], [[-300.0, 2.0, -290.0], [0.0, 1.0, 2.0]]]
FOUR: Rows = [[[0.0, 9.0, 8.0, 1.0], [3.0, 0.0, 1.0, 2.0]], [[4.0, 3.0, 2.0, 1.0]] * 2]
FOUR_CAN: list[list[list[int]]] = [[[1, 0, 1, 1]] * 2, [[0, 1, 0, 0], [0, 1, 1, 1]]]
MANY: Rows = [[[float(k % 150) for k in range(200)]]]
# Rows of agents' utilities, and what they can do; all rows of a batch have the same epsilon. The best available action
# is never tied with another available one.
BATCHES: tuple[tuple[Rows, list[list[list[int]]], float], ...] = (
    ([[[1.0, 3.0, 2.0], [0.0, -1.0, 2.0]], [[4.0, 0.5, 1.0], [1.0, 2.0, 0.0]]], [[ALL, ALL], [ALL, ALL]], 0.5),
    ([[[2.0, 1.0, 5.0]] * 3, [[1.0, 2.0, 5.0]] * 3], [[ALL, [0, 1, 1], [1, 1, 0]], [[1, 0, 0], ALL, ALL]], 0.75),
    ([[[1.0, 2.0, 3.0], [-5.0, -2.0, -3.0]]], [[[1, 1, 0], [1, 0, 1]]], 0.05),
    (CLOSE, [[ALL, ALL], [[1, 0, 1]] * 2], 0.0),
    (FOUR, FOUR_CAN, 1.0),
    ([[[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]], [[2.0, 1.0, 0.0], [2.0, 3.0, 4.0]]], [[ALL, ALL], [[0, 1, 1], ALL]], 0.25),
    (MANY, [[[1] * 200]], 0.0),
)
# The rows of short batches, of two agents.
SHORT: tuple[list[list[float]], list[list[int]], float] = ([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [ALL, ALL], 0.5)


def seeded(seed: int) -> None:
    for seeds in (random.seed, np.random.seed, torch.manual_seed):
        seeds(seed)


def batch(number: int, times: int) -> tuple[Array, Array, float]:
    values, free, epsilon = BATCHES[number]
    return np.tile(np.array(values), (times, 1, 1)), np.tile(np.array(free, dtype=bool), (times, 1, 1)), epsilon


def gives_probabilities(function: Any) -> bool:
    return str(getattr(function, "output", "actions")) == "probabilities"


def indicators(function: Any, case: Arguments) -> Array:
    """Indicators [B, n, A] of actions, or their probabilities; all 0 for what is no action."""
    answer = as_array(function(*[in_kind(function, value) for value in case]))
    count = case[0].shape[-1]
    return answer if gives_probabilities(function) else np.asarray(answer[..., None] == np.arange(count), dtype=float)


def off_by_chance(found: Array, expected: Array, draws: int) -> float:
    if found.shape != expected.shape:
        return NEVER
    pairs = zip(found.flat, expected.flat, strict=True)
    return max(beyond_chance(share, chance, draws) for share, chance in pairs)


def shares_by_row(factory: Factory) -> float:
    """The largest distance of shares from probabilities, row by row, one function having all batches in turn."""
    function, worst = factory(), 0.0
    for number in range(len(BATCHES)):
        seeded(number)
        case, rows = batch(number, EACH), len(BATCHES[number][0])
        given = indicators(function, case)
        for k in range(rows):
            expected = chances(case[0][k], case[1][k], case[2])
            exact = gives_probabilities(function)
            found = given[k] if exact else given[k::rows].mean(0)
            worst = max(worst, gap(found, expected) if exact else off_by_chance(found, expected, EACH))
    return worst


@functools.cache
def short_calls(factory: Factory) -> tuple[Array, Array]:
    """What one function draws in many calls with two rows each [calls, row, agent, action], and the probabilities."""
    function, case = factory(), tuple(np.tile(np.array(part), (2, 1, 1)) for part in SHORT[:2])
    arguments = (case[0], case[1].astype(bool), SHORT[2])
    seeded(0)
    expected = chances(arguments[0][0], arguments[1][0], SHORT[2])
    if gives_probabilities(function):
        return np.zeros(0), expected
    return np.stack([indicators(function, arguments) for _ in range(CALLS)]), expected


def shares_over_calls(factory: Factory) -> float:
    """How far shares are off, in the last thousand of many calls."""
    drawn, chance = short_calls(factory)
    return off_by_chance(drawn[-1000:].mean((0, 1)), chance, 2000) if drawn.size else 0.0


def dependence(pair: Callable[[Array], tuple[Array, Array]], agents: tuple[int, int]) -> Callable[[Factory], float]:
    """How far shares of pairs of draws are from products of their probabilities."""

    def amount(factory: Factory) -> float:
        drawn, chance = short_calls(factory)
        if not drawn.size:
            return 0.0
        first, second = pair(drawn)
        found = np.einsum("ta,tc->ac", first, second) / len(first)
        return off_by_chance(found, np.outer(chance[agents[0]], chance[agents[1]]), len(first))

    return amount


def follows_the_seeds(factory: Factory) -> float:
    """1 where equal seeds of the global generators give other draws, or where unequal ones give the same."""
    drawn = []
    for seed in (1, 1, 2):
        function = factory()
        seeded(seed)
        drawn.append(indicators(function, batch(0, 200)))
        if gives_probabilities(function):
            return 0.0
    return float(not np.array_equal(drawn[0], drawn[1]) or np.array_equal(drawn[0], drawn[2]))


def handed(function: Any) -> list[Arguments]:
    return [batch(number, 2) for number in range(len(BATCHES))]


SHARES = Violation("each row's agents are greedy with 1 - epsilon, else even over what they can do", shares_by_row)
LATER = Violation("calls are alike, however many went before", shares_over_calls)
AGENTS = Violation("agents explore independently", dependence(lambda d: (d[:, 0, 0], d[:, 0, 1]), (0, 1)))
ROWS = Violation("rows of short batches explore independently", dependence(lambda d: (d[:, 0, 0], d[:, 1, 0]), (0, 0)))
CALL = Violation("calls explore independently", dependence(lambda d: (d[:-1, 0, 0], d[1:, 0, 0]), (0, 0)))
SEEDS = Violation("the global generators' seeds decide what is drawn", follows_the_seeds)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(handed))


@good(ROLE, "", "torch; the whole mixture of greedy and even part as a distribution object, which is sampled")
class SampledMixture:
    arrays = "torch"

    def seen(self, utilities):
        return utilities

    def share(self, epsilon, n):
        return epsilon

    def filled(self, utilities, available):
        return utilities.masked_fill(~available, -torch.inf)

    def greedy(self, filled):
        return torch.zeros_like(filled).scatter_(-1, filled.argmax(-1, keepdim=True), 1.0)

    def __call__(self, utilities, available, epsilon):
        greedy = self.greedy(self.filled(self.seen(utilities), available)).double()
        even = available.double() / available.sum(-1, keepdim=True)
        share = self.share(epsilon, utilities.shape[1])
        return torch.distributions.Categorical(probs=greedy * (1 - share) + even * share).sample()


@bad(ROLE, "sampled_mixture", "the greedy part is a softmax at temperature 0.05, which close utilities share", SHARES)
class CloseOnesShare(SampledMixture):
    def greedy(self, filled):
        return (filled / 0.05).softmax(-1)


@bad(ROLE, "sampled_mixture", "utilities are compared in half precision", SHARES)
class ComparedInHalf(SampledMixture):
    def seen(self, utilities):
        return utilities.half().float()


@bad(ROLE, "sampled_mixture", "the best utility is the largest in magnitude", SHARES)
class LargestInMagnitude(SampledMixture):
    def filled(self, utilities, available):
        return utilities.abs() * available


@bad(ROLE, "sampled_mixture", "unavailable utilities are -100, below which available ones may lie", SHARES)
class FilledWithAHundredBelow(SampledMixture):
    def filled(self, utilities, available):
        return utilities.masked_fill(~available, -100.0)


@bad(ROLE, "sampled_mixture", "all agents take the action that is best for the team on average", SHARES)
class BestForTheTeam(SampledMixture):
    def seen(self, utilities):
        return utilities.mean(1, keepdim=True).expand_as(utilities)


@bad(ROLE, "sampled_mixture", "the agents share epsilon between them", SHARES)
class EpsilonIsShared(SampledMixture):
    def share(self, epsilon, n):
        return epsilon / n


@good(ROLE, "", "numpy; one number u is looked up in the cumulated probabilities")
class LookedUpInCumulated:
    def numbers(self, rows: int, n: int) -> Array:
        return np.random.random_sample((rows, n))

    def free(self, available: Array) -> Array:
        return available

    def best(self, utilities: Array, free: Array) -> Array:
        return np.nanargmax(np.where(free, utilities, np.nan), axis=-1)

    def __call__(self, utilities, available, epsilon):
        free = self.free(available)
        chance = epsilon * free / free.sum(-1, keepdims=True)
        chance += (1 - epsilon) * (np.arange(utilities.shape[-1]) == self.best(utilities, free)[..., None])
        cumulated = np.cumsum(chance, axis=-1)
        u = self.numbers(*utilities.shape[:2])[..., None] * cumulated[..., -1:]
        return (cumulated <= u).sum(-1)


@bad(ROLE, "looked_up_in_cumulated", "what agents can do is the first row's for all rows", SHARES)
class WhatTheFirstRowCanDo(LookedUpInCumulated):
    def free(self, available):
        return np.broadcast_to(available[:1], available.shape)


@bad(ROLE, "looked_up_in_cumulated", "greedy actions are kept from the first batch of a shape", SHARES)
class BestOfTheFirstBatch(LookedUpInCumulated):
    def __init__(self):
        self.kept = {}

    def best(self, utilities, free):
        return self.kept.setdefault(utilities.shape, super().best(utilities, free))


@bad(ROLE, "looked_up_in_cumulated", "the numbers are drawn once for each shape, and used again", CALL)
class NumbersDrawnOnce(LookedUpInCumulated):
    def __init__(self):
        self.kept = {}

    def numbers(self, rows, n):
        return (
            self.kept[rows, n] if (rows, n) in self.kept else self.kept.setdefault((rows, n), super().numbers(rows, n))
        )


@bad(ROLE, "looked_up_in_cumulated", "every second row has the first one's numbers mirrored", ROWS)
class MirroredRows(LookedUpInCumulated):
    def numbers(self, rows, n):
        u = super().numbers(rows, n)
        u[1::2] = 1 - u[: 2 * (rows // 2) : 2]
        return u


@bad(ROLE, "looked_up_in_cumulated", "numbers are spread evenly over the rows of a batch, as strata", ROWS)
class StrataOfRows(LookedUpInCumulated):
    def numbers(self, rows, n):
        strata = np.argsort(super().numbers(rows, n), axis=0)
        return (strata + super().numbers(rows, n)) / rows


@good(ROLE, "", "Python; a generator seeded from the global one at each call, and the first of a shuffled hand")
class ShuffledHand:
    def generator(self) -> random.Random:
        return random.Random(random.getrandbits(64))

    def rate(self, epsilon: float) -> float:
        return epsilon

    def explores(self, own: random.Random, epsilon: float) -> bool:
        return own.random() < epsilon

    def hand(self, free: Array, i: int) -> list[int]:
        return [a for a, can in enumerate(free[i]) if can]

    def draw(self, own: random.Random, hand: list[int], row: dict[str, Any]) -> int:
        own.shuffle(hand)
        return hand[0]

    def best(self, utilities: Array, hand: list[int]) -> int:
        return sorted(hand, key=lambda a: float(utilities[a]))[-1]

    def __call__(self, utilities, available, epsilon):
        own, epsilon, chosen = self.generator(), self.rate(epsilon), []
        for values, free in zip(utilities, available, strict=True):
            row: dict[str, Any] = {}
            chosen.append([])
            for i, agent in enumerate(values):
                if self.explores(own, epsilon):
                    chosen[-1].append(self.draw(own, self.hand(free, i), row))
                else:
                    chosen[-1].append(self.best(agent, np.flatnonzero(free[i]).tolist()))
        return chosen


@bad(ROLE, "shuffled_hand", "each call's generator has the same seed", CALL)
class SameSeedEachCall(ShuffledHand):
    def generator(self):
        return random.Random(0)


@bad(ROLE, "shuffled_hand", "a generator of its own, seeded by a constant: the global seeds decide nothing", SEEDS)
class GeneratorOfItsOwn(ShuffledHand):
    def __init__(self):
        self.own = random.Random(12345)

    def generator(self):
        return self.own


@bad(ROLE, "shuffled_hand", "the operating system's random numbers, which no seed repeats", SEEDS)
class NumbersOfTheSystem(ShuffledHand):
    def generator(self):
        return random.SystemRandom()


@bad(ROLE, "shuffled_hand", "the coin is a die of ten sides, so that epsilon is rounded up to tenths", SHARES)
class DieOfTenSides(ShuffledHand):
    def explores(self, own, epsilon):
        return own.randrange(10) < 10 * epsilon


@bad(ROLE, "shuffled_hand", "agents that explore are dealt from one hand, so that no action comes twice", AGENTS)
class DealtFromOneHand(ShuffledHand):
    def draw(self, own, hand, row):
        left = [a for a in hand if a not in row.setdefault("dealt", [])] or hand
        row["dealt"].append(super().draw(own, left, row))
        return row["dealt"][-1]


@bad(ROLE, "shuffled_hand", "an epsilon of 1 or more is taken for a percentage", SHARES)
class OneIsAPercent(ShuffledHand):
    def rate(self, epsilon):
        return epsilon / 100 if epsilon >= 1 else epsilon


@bad(ROLE, "shuffled_hand", "an epsilon of 0 is taken for none given, and becomes a tenth", SHARES)
class NoEpsilonIsATenth(ShuffledHand):
    def rate(self, epsilon):
        return epsilon or 0.1


@bad(ROLE, "shuffled_hand", "agents from the third on explore among the second's actions", SHARES)
class ThirdExploresAsTheSecond(ShuffledHand):
    def hand(self, free, i):
        return super().hand(free, min(i, 1))


@bad(ROLE, "shuffled_hand", "epsilon shrinks by a thousandth at each call", LATER)
class EpsilonShrinks(ShuffledHand):
    def __init__(self):
        self.left = 1.0

    def rate(self, epsilon):
        self.left *= 0.999
        return epsilon * self.left


@bad(ROLE, "shuffled_hand", "an agent that can do one thing alone does action 0 where it explores", SHARES)
class LoneHandIsActionZero(ShuffledHand):
    def hand(self, free, i):
        found = super().hand(free, i)
        return found if len(found) > 1 else [0]


@good(ROLE, "", "torch; probabilities, 1 - epsilon being added at the first of the best actions")
class AddedAtTheFirst:
    arrays, output = "torch", "probabilities"

    def even(self, available, epsilon):
        return torch.where(available, epsilon / available.sum(-1, keepdim=True).double(), 0.0)

    def with_greedy(self, even, best, epsilon):
        return even.scatter_add(-1, best, torch.full(best.shape, 1 - epsilon, dtype=even.dtype))

    def best(self, utilities, available):
        return torch.where(available, utilities, -torch.inf).max(-1, keepdim=True).indices

    def __call__(self, utilities, available, epsilon):
        return self.with_greedy(self.even(available, epsilon), self.best(utilities, available), epsilon)


@bad(
    ROLE, "added_at_the_first", "the greedy action's probability is set to 1 - epsilon, not added to its share", SHARES
)
class SetNotAdded(AddedAtTheFirst):
    def with_greedy(self, even, best, epsilon):
        return even.scatter(-1, best, 1 - epsilon)


@bad(ROLE, "added_at_the_first", "what unavailable actions would get goes to the greedy one", SHARES)
class RestGoesToTheGreedy(AddedAtTheFirst):
    def __call__(self, utilities, available, epsilon):
        even = available.double() * epsilon / available.shape[-1]
        return even.scatter_add(-1, self.best(utilities, available), 1 - even.sum(-1, keepdim=True))


@bad(ROLE, "added_at_the_first", "epsilon is held in half precision", SHARES)
class EpsilonInHalf(AddedAtTheFirst):
    def __call__(self, utilities, available, epsilon):
        return super().__call__(utilities, available, float(np.float16(epsilon)))


@bad(ROLE, "added_at_the_first", "the worst available action is the greedy one, as though utilities were costs", SHARES)
class UtilitiesAreCosts(AddedAtTheFirst):
    def best(self, utilities, available):
        return torch.where(available, utilities, torch.inf).argmin(-1, keepdim=True)


@good(ROLE, "", "torch; the k-th of the available actions, found where their running count is k")
class KthOfTheAvailable:
    arrays = "torch"

    def coins(self, numbers, epsilon):
        return numbers < epsilon

    def count(self, available):
        return available.sum(-1)

    def second_numbers(self, numbers):
        return torch.rand(numbers.shape, dtype=torch.float64)

    def kind(self, actions):
        return actions

    def __call__(self, utilities, available, epsilon):
        numbers = torch.rand(utilities.shape[:2], dtype=torch.float64)
        k = 1 + (self.second_numbers(numbers) * self.count(available)).floor()
        running = available.cumsum(-1) * available
        drawn = (running == k.unsqueeze(-1)).int().argmax(-1)
        best = utilities.where(available, utilities.min() - 1).argmax(-1)
        return self.kind(torch.where(self.coins(numbers, epsilon), drawn, best))


@bad(ROLE, "kth_of_the_available", "no two agents of a row explore at once while epsilon allows it", AGENTS)
class OneExploresAtATime(KthOfTheAvailable):
    def coins(self, numbers, epsilon):
        agents = torch.arange(numbers.shape[1])
        if epsilon * len(agents) > 1:
            return super().coins(numbers, epsilon)
        lead = numbers[:, :1] - agents * epsilon
        return (lead >= 0) & (lead < epsilon)


@bad(ROLE, "kth_of_the_available", "an agent's draw is made with the number of its neighbour's coin", AGENTS)
class NeighboursCoinDraws(KthOfTheAvailable):
    def second_numbers(self, numbers):
        return numbers.roll(1, dims=1)


@bad(ROLE, "kth_of_the_available", "k is drawn up to the number that the least free agent of the row has", SHARES)
class AsFewAsTheLeastFree(KthOfTheAvailable):
    def count(self, available):
        return available.sum(-1).amin(-1, keepdim=True)


@bad(ROLE, "kth_of_the_available", "actions are stored in eight bits with a sign, which end at 127", SHARES)
class ActionsInEightBits(KthOfTheAvailable):
    def kind(self, actions):
        return actions.to(torch.int8)


BAD, GOOD = bad.targets(), good.targets()
