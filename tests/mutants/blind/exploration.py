"""Epsilon-greedy selection."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "epsilon_greedy"
ROWS = 4000

# Utilities of agents, what they can do, and epsilon. The best available action is never tied with another available
# one; unavailable ones are better in some rows, and equal in others.
SITUATIONS: tuple[tuple[list[list[float]], list[list[int]], float], ...] = (
    ([[1.0, 2.0, 3.0], [0.5, -1.0, 0.0]], [[1, 1, 1], [1, 1, 1]], 0.5),
    ([[5.0, 2.0, 1.0], [-4.0, -1.0, -2.0]], [[0, 1, 1], [1, 0, 1]], 0.25),
    ([[2.0, 2.0, 1.0], [-3.0, -2.0, 7.0]], [[0, 1, 1], [1, 0, 0]], 0.5),
    ([[1.0, 4.0, 3.0, 0.0], [2.0, 0.0, -1.0, -2.0]], [[1, 1, 1, 1], [0, 0, 1, 1]], 0.0),
    ([[1.0, 4.0, 3.0, 0.0], [2.0, 0.0, -1.0, -2.0]], [[1, 1, 0, 1], [1, 0, 1, 1]], 1.0),
    ([[1.5, 1.0], [-2.0, -1.0]], [[1, 1], [1, 1]], 0.75),
    ([[0.0, 3.0, 1.0]], [[1, 1, 1]], 0.5),
    ([[-3.0, -2.0, -2.0]], [[1, 1, 0]], 0.125),
)


def as_arrays(situation: int, rows: int) -> tuple[Array, Array, float]:
    values, free, epsilon = SITUATIONS[situation]
    shape = (rows, len(values), len(values[0]))
    utilities = np.broadcast_to(np.array(values), shape).copy()
    return utilities, np.broadcast_to(np.array(free, dtype=bool), shape).copy(), epsilon


def chances(utilities: Array, available: Array, epsilon: float) -> Array:
    """The probabilities [n, A] of agents' actions; no ties among the available ones."""
    found = epsilon * available / available.sum(-1, keepdims=True)
    for i, row in enumerate(np.where(available, utilities, -np.inf)):
        found[i, row.argmax()] += 1 - epsilon
    return found


def drawn(function: Any, situation: int, rows: int = ROWS, seed: int = 0) -> Array:
    """Indicators [B, n, A] of actions, or their probabilities where the function gives these."""
    for seeds in (random.seed, np.random.seed, torch.manual_seed):
        seeds(seed)
    case = as_arrays(situation, rows)
    answer = as_array(function(*[in_kind(function, value) for value in case]))
    if getattr(function, "output", "actions") == "probabilities":
        return answer
    return np.eye(case[0].shape[-1])[answer.astype(int)]


def beyond_chance(found: Array, expected: float, rows: int) -> float:
    """How far a share lies from a probability, beyond six standard deviations; a share of 0 or 1 must be exact."""
    return max(0.0, abs(float(found) - expected) - 6 * (expected * (1 - expected) / rows) ** 0.5 - 1e-12)


def shares(situations: range) -> Callable[[Factory], float]:
    """The largest distance of shares of actions from their probabilities."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for situation in situations:
            function = factory()
            given, (utilities, available, epsilon) = drawn(function, situation), as_arrays(situation, 1)
            expected = chances(utilities[0], available[0], epsilon)
            if given.shape[1:] != expected.shape:
                return NEVER
            if getattr(function, "output", "actions") == "probabilities":
                worst = max(worst, gap(given[0], expected))
                continue
            pairs = zip(given.mean(0).flat, expected.flat, strict=True)
            worst = max([worst, *(beyond_chance(share, chance, ROWS) for share, chance in pairs)])
        return worst

    return amount


def dependence(over: str) -> Callable[[Factory], float]:
    """How far shares of pairs of actions, of two agents or of two rows, are from products of probabilities."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for situation in (0, 1, 4, 5):
            function = factory()
            if getattr(function, "output", "actions") == "probabilities":
                return 0.0
            given, (utilities, available, epsilon) = drawn(function, situation), as_arrays(situation, 1)
            chance = chances(utilities[0], available[0], epsilon)
            if over == "agents":
                pairs, expected = (given[:, 0], given[:, 1]), np.outer(chance[0], chance[1])
            else:
                pairs, expected = (given[::2, 0], given[1::2, 0]), np.outer(chance[0], chance[0])
            found = np.einsum("ba,bc->ac", *pairs) / len(pairs[0])
            both = zip(found.flat, expected.flat, strict=True)
            worst = max([worst, *(beyond_chance(share, one, len(pairs[0])) for share, one in both)])
        return worst

    return amount


def alone(factory: Factory) -> float:
    """Shares over many batches of one row."""
    function = factory()
    if getattr(function, "output", "actions") == "probabilities":
        return 0.0
    utilities, available, epsilon = as_arrays(0, 1)
    expected, total = chances(utilities[0], available[0], epsilon), np.zeros((2, 3))
    for seed in range(ROWS // 4):
        total += drawn(function, 0, 1, seed * 7919 + 1)[0]
    pairs = zip((total / (ROWS // 4)).flat, expected.flat, strict=True)
    return max(beyond_chance(share, chance, ROWS // 4) for share, chance in pairs)


def pure_cases(function: Any) -> list[Arguments]:
    return [as_arrays(situation, 3) for situation in range(len(SITUATIONS))]


SHARES = Violation("greedy with 1 - epsilon, else even over available actions", shares(range(len(SITUATIONS))))
AGENTS = Violation("agents explore independently", dependence("agents"))
BETWEEN_ROWS = Violation("rows explore independently", dependence("rows"))
ALONE = Violation("a batch of one row explores like any other", alone)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(pure_cases))


@good(ROLE, "", "torch; coins by rand, draws by multinomial, chosen between by where")
class CoinsAndMultinomial:
    arrays = "torch"

    def coins(self, best, epsilon):
        return torch.rand(best.shape) < epsilon

    def weights(self, utilities, available, best):
        return available.double()

    def greedy(self, utilities, available):
        return utilities.masked_fill(~available, -torch.inf).argmax(-1)

    def __call__(self, utilities, available, epsilon):
        best = self.greedy(utilities, available)
        weights = self.weights(utilities, available, best).flatten(0, 1)
        random_ones = torch.multinomial(weights, 1).view(best.shape)
        return torch.where(self.coins(best, epsilon), random_ones, best)


@good(ROLE, "", "Python's generator; agent by agent, choice among a list of available actions")
class ChoiceAmongAvailable:
    def explores(self, b: int, i: int, epsilon: float) -> bool:
        return random.random() < epsilon

    def choice(self, actions: list[int], count: int) -> int:
        return random.choice(actions)

    def best(self, row: Array, actions: list[int]) -> int:
        return max(actions, key=lambda a: row[a])

    def __call__(self, utilities, available, epsilon):
        chosen = np.zeros(utilities.shape[:2], dtype=np.int64)
        for b, i in np.ndindex(*chosen.shape):
            actions = np.flatnonzero(available[b, i]).tolist()
            if self.explores(b, i, epsilon):
                chosen[b, i] = self.choice(actions, utilities.shape[2])
            else:
                chosen[b, i] = self.best(utilities[b, i], actions)
        return chosen


@good(ROLE, "", "numpy; one number u decides both: whether u < epsilon, and which action u / epsilon falls on")
class OneNumberForBoth:
    def numbers(self, shape: tuple[int, ...]) -> Array:
        return np.random.random(shape)

    def position(self, u: Array, epsilon: float, count: Array) -> Array:
        return np.floor(u / max(epsilon, 1e-12) * count).astype(int)

    def __call__(self, utilities, available, epsilon):
        u, count = self.numbers(utilities.shape[:2]), available.sum(-1)
        position = np.minimum(self.position(u, epsilon, count), count - 1)
        order = np.argsort(~available, axis=-1, kind="stable")
        explored = np.take_along_axis(order, position[..., None], -1)[..., 0]
        best = np.where(available, utilities, -np.inf).argmax(-1)
        return np.where(u < epsilon, explored, best)


@good(ROLE, "", "numpy; probabilities, the greedy share being split among ties")
class Probabilities:
    output = "probabilities"

    def greedy(self, utilities, available):
        best = np.where(available, utilities, -np.inf).max(-1, keepdims=True)
        ties = (utilities == best) & available
        return ties / ties.sum(-1, keepdims=True)

    def even(self, available):
        return available / available.sum(-1, keepdims=True)

    def __call__(self, utilities, available, epsilon):
        return (1 - epsilon) * self.greedy(utilities, available) + epsilon * self.even(available)


@good(
    ROLE, "", "numpy; utilities are replaced by noise where an agent explores; a generator seeded from the global one"
)
class NoiseForUtilities:
    def __init__(self):
        self.generator = None

    def noise(self, shape):
        return self.generator.gumbel(size=shape)

    def __call__(self, utilities, available, epsilon):
        self.generator = np.random.default_rng(np.random.randint(2**31, size=4))
        coins = self.generator.binomial(1, epsilon, size=utilities.shape[:2]).astype(bool)
        played = np.where(coins[..., None], self.noise(utilities.shape), utilities)
        return np.ma.masked_array(played, ~available).argmax(-1)


@bad(ROLE, "coins_and_multinomial", "one coin for all agents of a row", AGENTS)
class CoinOfTheTeam(CoinsAndMultinomial):
    def coins(self, best, epsilon):
        return (torch.rand(best.shape[0], 1) < epsilon).expand_as(best)


@bad(ROLE, "coins_and_multinomial", "one coin for all rows", BETWEEN_ROWS)
class CoinOfTheBatch(CoinsAndMultinomial):
    def coins(self, best, epsilon):
        return (torch.rand(1, best.shape[1]) < epsilon).expand_as(best)


@bad(ROLE, "coins_and_multinomial", "explores among unavailable actions as well", SHARES)
class ExploresUnavailable(CoinsAndMultinomial):
    def weights(self, utilities, available, best):
        return torch.ones_like(utilities)


@bad(ROLE, "coins_and_multinomial", "explores among actions other than the greedy one, where there are any", SHARES)
class ExploresOthersOnly(CoinsAndMultinomial):
    def weights(self, utilities, available, best):
        others = available.double().scatter(-1, best.unsqueeze(-1), 0.0)
        return torch.where(others.sum(-1, keepdim=True) > 0, others, available.double())


@bad(ROLE, "coins_and_multinomial", "explores by a softmax of utilities", SHARES)
class ExploresBySoftmax(CoinsAndMultinomial):
    def weights(self, utilities, available, best):
        return utilities.masked_fill(~available, -torch.inf).softmax(-1)


@bad(ROLE, "coins_and_multinomial", "unavailable utilities are 0", SHARES)
class GreedyTimesMask(CoinsAndMultinomial):
    def greedy(self, utilities, available):
        return (utilities * available).argmax(-1)


@bad(ROLE, "coins_and_multinomial", "the greedy action is the first of the best utility, available or not", SHARES)
class FirstOfTheBestUtility(CoinsAndMultinomial):
    def greedy(self, utilities, available):
        best = utilities.masked_fill(~available, -torch.inf).amax(-1, keepdim=True)
        return (utilities == best).double().argmax(-1)


@bad(ROLE, "coins_and_multinomial", "a batch of one row acts greedily, as in an evaluation", ALONE)
class OneRowIsAnEvaluation(CoinsAndMultinomial):
    def coins(self, best, epsilon):
        return super().coins(best, epsilon if best.shape[0] > 1 else 0.0)


@bad(ROLE, "coins_and_multinomial", "writes minus infinity into the utilities that it was handed", PURE)
class WritesIntoUtilities(CoinsAndMultinomial):
    def greedy(self, utilities, available):
        utilities[~available] = -torch.inf
        return utilities.argmax(-1)


@bad(ROLE, "coins_and_multinomial", "explores with probability 1 - epsilon", SHARES)
class CoinsTheOtherWayRound(CoinsAndMultinomial):
    def coins(self, best, epsilon):
        return torch.rand(best.shape) > epsilon


@bad(ROLE, "choice_among_available", "the last available action is never drawn where there are several", SHARES)
class LastNeverDrawn(ChoiceAmongAvailable):
    def choice(self, actions, count):
        return actions[random.randrange(max(1, len(actions) - 1))]


@bad(ROLE, "choice_among_available", "draws among all actions, and takes the first available where that fails", SHARES)
class FirstWhereDrawFails(ChoiceAmongAvailable):
    def choice(self, actions, count):
        drawn_one = random.randrange(count)
        return drawn_one if drawn_one in actions else actions[0]


@bad(ROLE, "choice_among_available", "the first agent never explores", SHARES)
class FirstAgentNeverExplores(ChoiceAmongAvailable):
    def explores(self, b, i, epsilon):
        return super().explores(b, i, epsilon) and i > 0


@bad(ROLE, "choice_among_available", "epsilon is kept below 0.8, as a schedule's first value", SHARES)
class EpsilonKeptBelow(ChoiceAmongAvailable):
    def explores(self, b, i, epsilon):
        return super().explores(b, i, min(epsilon, 0.8))


@bad(ROLE, "one_number_for_both", "which action the number falls on is not stretched from epsilon to 1", SHARES)
class NumberNotStretched(OneNumberForBoth):
    def position(self, u, epsilon, count):
        return np.floor(u * count).astype(int)


@bad(ROLE, "one_number_for_both", "agents share the number", AGENTS)
class NumberOfTheTeam(OneNumberForBoth):
    def numbers(self, shape):
        return np.broadcast_to(np.random.random((shape[0], 1)), shape)


@bad(ROLE, "one_number_for_both", "the position is rounded rather than cut off, and kept in range", SHARES)
class RoundedPosition(OneNumberForBoth):
    def position(self, u, epsilon, count):
        return np.rint(u / max(epsilon, 1e-12) * (count - 1)).astype(int)


@bad(ROLE, "probabilities", "unavailable actions of the best utility share in the greedy part", SHARES)
class TiesWithUnavailable(Probabilities):
    def greedy(self, utilities, available):
        best = np.where(available, utilities, -np.inf).max(-1, keepdims=True)
        return (utilities == best) / (utilities == best).sum(-1, keepdims=True)


@bad(ROLE, "probabilities", "the exploring part is spread over all actions, then masked", SHARES)
class EvenPartMasked(Probabilities):
    def even(self, available):
        return available / available.shape[-1]


@bad(ROLE, "noise_for_utilities", "agents are handed the same noise", AGENTS)
class NoiseOfTheTeam(NoiseForUtilities):
    def noise(self, shape):
        return np.broadcast_to(self.generator.gumbel(size=(shape[0], 1, shape[2])), shape)


@bad(ROLE, "noise_for_utilities", "noise is added to utilities instead of taking their place", SHARES)
class NoiseOnUtilities(NoiseForUtilities):
    def __call__(self, utilities, available, epsilon):
        self.generator = np.random.default_rng(np.random.randint(2**31, size=4))
        coins = self.generator.random(utilities.shape[:2]) < epsilon
        played = utilities + coins[..., None] * self.noise(utilities.shape)
        return np.where(available, played, -np.inf).argmax(-1)


BAD, GOOD = bad.targets(), good.targets()
