"""Epsilon-greedy selection: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role epsilon_greedy says.
"""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]

good, bad = Collection(), Collection()


# --- measures: shares in many draws, on random real numbers -----------------------------------------------------------

ROWS = 20_000
CHANCE = 0.02  # how far a share of so many draws may be off


def situations(pairs: bool) -> list[tuple[Numbers, Numbers, float]]:
    generator = np.random.default_rng(61)
    made = []
    for epsilon in (0.4, 0.5) if pairs else (0.0, 0.4, 1.0):
        available = np.ones((2, 3), dtype=bool) if pairs else np.array([[True, False, True], [False, True, True]])
        made.append((generator.permuted(np.array([[-3.0, -1.0, -2.0]] * 2), axis=-1), available, epsilon))
    return made


def drawn(function: Any, utilities: Numbers, available: Numbers, epsilon: float, rows: int = ROWS) -> Numbers:
    """Many actions [rows, n]; of stated probabilities, actions drawn from them, agents apart."""
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    arrays = [np.broadcast_to(array, (rows, *array.shape)).copy() for array in (utilities, available)]
    handed = [torch.from_numpy(array) if torch_arrays else array for array in arrays]
    result = np.asarray(function(*handed, epsilon))
    if getattr(function, "output", "actions") == "actions":
        return result
    generator = np.random.default_rng(7)
    shares = np.maximum(result[0], 0) / np.maximum(result[0], 0).sum(-1, keepdims=True)
    return np.stack([generator.choice(shares.shape[1], rows, p=own) for own in shares], axis=1)


def shares_due(utilities: Numbers, available: Numbers, epsilon: float) -> Numbers:
    shares = epsilon * available / available.sum(-1, keepdims=True)
    for i, own in enumerate(np.where(available, utilities, -np.inf)):
        shares[i, own.argmax()] += 1 - epsilon
    return shares


def beyond_chance(amount: float) -> float:
    return max(0.0, amount - CHANCE)


def illegal(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for utilities, available, epsilon in situations(False):
        chosen = drawn(function, utilities, available, epsilon)
        worst = max(worst, *[float((~available[i][chosen[:, i]]).mean()) for i in range(2)])
    return worst


def odds(factory: Factory) -> float:
    seeded()
    function, worst = factory(), 0.0
    for utilities, available, epsilon in situations(False):
        chosen = drawn(function, utilities, available, epsilon)
        shares = (chosen[..., None] == np.arange(3)).mean(axis=0)
        worst = max(worst, float(np.abs(shares - shares_due(utilities, available, epsilon)).max()))
    return beyond_chance(worst)


def dependence(factory: Factory) -> float:
    """How far the shares of pairs of exploring draws are from products: of agents, of rows, of calls."""
    seeded()
    function, worst = factory(), 0.0
    if getattr(function, "output", "actions") != "actions":
        return worst
    for utilities, available, epsilon in situations(True):
        chosen, again = (drawn(function, utilities, available, epsilon) for _ in range(2))
        for a, b in np.ndindex(3, 3):
            first, second = chosen[:, 0] == a, chosen[:, 1] == b
            worst = max(worst, abs((first & second).mean() - first.mean() * second.mean()))
            worst = max(
                worst, abs((first[::2] & (chosen[1::2, 0] == b)).mean() - first.mean() * (chosen[:, 0] == b).mean())
            )
            later = again[:, 0] == b
            worst = max(worst, abs((first & later).mean() - first.mean() * later.mean()))
    return beyond_chance(worst)


def mixed_up(factory: Factory) -> float:
    """The share of greedy actions that are not the best available ones of their own rows, in rows that differ."""
    seeded()
    function, generator = factory(), np.random.default_rng(62)
    utilities = generator.random((50, 2, 3))
    available = generator.random((50, 2, 3)) < 0.7
    available[..., 0] |= ~available.any(axis=-1)
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    handed = [torch.from_numpy(array.copy()) if torch_arrays else array.copy() for array in (utilities, available)]
    answer = np.asarray(function(*handed, 0.0))
    chosen = answer if getattr(function, "output", "actions") == "actions" else answer.argmax(axis=-1)
    return float((chosen != np.where(available, utilities, -np.inf).argmax(axis=-1)).mean())


def unseeded(factory: Factory) -> float:
    """1 where the global seed does not decide what is drawn, else 0."""
    if getattr(factory(), "output", "actions") != "actions":
        return 0.0
    answers = []
    for seed in (1, 1, 2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        answers.append(drawn(factory(), np.zeros((1, 3)), np.ones((1, 3), dtype=bool), 1.0, rows=100))
    return float((answers[0] != answers[1]).any() or (answers[0] == answers[2]).all())


def seeded() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


MEASURES = {
    "eps_greedy.legality": illegal,
    "eps_greedy.probabilities": odds,
    "eps_greedy.independence": dependence,
    "eps_greedy.rows": mixed_up,
    "eps_greedy.seeded": unseeded,
}


def wrong(part: str) -> Violation:
    return Violation(f"eps_greedy.{part}", MEASURES[f"eps_greedy.{part}"])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("epsilon_greedy", "", "A coin for each agent and row, then random or greedy.")
class Coins:
    def __call__(self, utilities, available, epsilon):
        explores = self.coins(utilities.shape) < epsilon
        return np.where(explores, self.any_of(available), self.greedy(utilities, available))

    def coins(self, shape):
        return np.random.random_sample(shape[:2])

    def any_of(self, available):
        return (np.random.random_sample(available.shape) * available).argmax(axis=-1)

    def greedy(self, utilities, available):
        return np.where(available, utilities, -np.inf).argmax(axis=-1)


@good("epsilon_greedy", "", "Of several greedy actions any, drawn evenly.")
class EvenTies(Coins):
    def greedy(self, utilities, available):
        hidden = np.where(available, utilities, -np.inf)
        best = hidden == hidden.max(axis=-1, keepdims=True)
        return self.any_of(best)


@good("epsilon_greedy", "", "Torch, with a categorical distribution over available actions.")
class Categorical:
    arrays = "torch"

    def __call__(self, utilities, available, epsilon):
        random_actions = torch.distributions.Categorical(available.float()).sample()
        best = utilities.masked_fill(~available, -torch.inf).argmax(-1)
        explores = torch.rand(utilities.shape[:2]) < epsilon
        return torch.where(explores, random_actions, best)


@good("epsilon_greedy", "", "A generator of its own, seeded by the global one.")
class OwnGenerator(Coins):
    def __call__(self, utilities, available, epsilon):
        generator = np.random.default_rng(np.random.randint(2**31))
        explores = generator.random(utilities.shape[:2]) < epsilon
        scores = np.where(available, generator.random(utilities.shape), -1.0)
        return np.where(explores, scores.argmax(-1), self.greedy(utilities, available))


@good("epsilon_greedy", "", "The probabilities themselves, the first of several greedy actions being taken.")
class Stated:
    output = "probabilities"

    def __call__(self, utilities, available, epsilon):
        shares = self.share(epsilon, available) * available
        best = np.where(available, utilities, -np.inf).argmax(axis=-1)[..., None]
        np.put_along_axis(shares, best, np.take_along_axis(shares, best, -1) + 1 - epsilon, axis=-1)
        return shares

    def share(self, epsilon, available):
        return epsilon / available.sum(axis=-1, keepdims=True)


@good("epsilon_greedy", "", "The probabilities, with several greedy actions sharing evenly.")
class StatedEvenly:
    output = "probabilities"

    def __call__(self, utilities, available, epsilon):
        hidden = np.where(available, utilities, -np.inf)
        best = hidden == hidden.max(axis=-1, keepdims=True)
        even = available / available.sum(axis=-1, keepdims=True)
        return epsilon * even + (1 - epsilon) * best / best.sum(axis=-1, keepdims=True)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("epsilon_greedy", "coins", "Random actions are drawn from all, available or not.", wrong("legality"))
class AnyAction(Coins):
    def any_of(self, available):
        return np.random.randint(0, available.shape[-1], available.shape[:2])


@bad("epsilon_greedy", "coins", "The greedy action is found before the mask is applied.", wrong("legality"))
class GreedyBeforeMask(Coins):
    def greedy(self, utilities, available):
        return utilities.argmax(axis=-1)


@bad("epsilon_greedy", "coins", "Unavailable actions count as zero for the greedy one.", wrong("legality"))
class MaskedToZero(Coins):
    def greedy(self, utilities, available):
        return (utilities * available).argmax(axis=-1)


@bad("epsilon_greedy", "coins", "The mask of the agent before is used for random actions.", wrong("legality"))
class OtherAgentsMask(Coins):
    def any_of(self, available):
        return super().any_of(np.roll(available, 1, axis=1))


@bad("epsilon_greedy", "coins", "The greedy action is never drawn when it explores.", wrong("probabilities"))
class NeverGreedy(Coins):
    def __call__(self, utilities, available, epsilon):
        explores = self.coins(utilities.shape) < epsilon
        best = self.greedy(utilities, available)
        rest = available & (np.arange(available.shape[-1]) != best[..., None])
        return np.where(explores & rest.any(-1), self.any_of(rest), best)


@bad("epsilon_greedy", "coins", "It explores with probability 1 - epsilon.", wrong("probabilities"))
class Exchanged(Coins):
    def __call__(self, utilities, available, epsilon):
        return super().__call__(utilities, available, 1 - epsilon)


@bad("epsilon_greedy", "coins", "It explores with the square of epsilon.", wrong("probabilities"))
class Squared(Coins):
    def __call__(self, utilities, available, epsilon):
        return super().__call__(utilities, available, epsilon**2)


@bad("epsilon_greedy", "coins", "It never explores.", wrong("probabilities"))
class NeverExplores(Coins):
    def coins(self, shape):
        return np.ones(shape[:2])


@bad("epsilon_greedy", "coins", "The worst available action is taken for the greedy one.", wrong("probabilities"))
class Worst(Coins):
    def greedy(self, utilities, available):
        return np.where(available, utilities, np.inf).argmin(axis=-1)


@bad("epsilon_greedy", "coins", "The first available action is the random one.", wrong("probabilities"))
class FirstAvailable(Coins):
    def any_of(self, available):
        return available.argmax(axis=-1)


@bad("epsilon_greedy", "coins", "The first agent never explores.", wrong("probabilities"))
class FirstAgentGreedy(Coins):
    def coins(self, shape):
        coins = super().coins(shape)
        coins[:, 0] = 1.0
        return coins


@bad("epsilon_greedy", "coins", "One coin serves all agents of a row.", wrong("independence"))
class OneCoinForAgents(Coins):
    def coins(self, shape):
        return np.random.random_sample((shape[0], 1)) * np.ones(shape[:2])


@bad("epsilon_greedy", "coins", "One coin serves two rows that follow each other.", wrong("independence"))
class OneCoinForRows(Coins):
    def coins(self, shape):
        return np.repeat(np.random.random_sample((-(-shape[0] // 2), shape[1])), 2, axis=0)[: shape[0]]


@bad(
    "epsilon_greedy", "coins", "All agents of a row draw the same random action where they can.", wrong("independence")
)
class SameRandomAction(Coins):
    def any_of(self, available):
        scores = np.random.random_sample((available.shape[0], 1, available.shape[2])) + 1e-9
        return (scores * available).argmax(axis=-1)


@bad("epsilon_greedy", "coins", "The generator starts anew at each call.", wrong("independence"))
class SameEveryCall(Coins):
    def __call__(self, utilities, available, epsilon):
        generator = np.random.default_rng(0)
        explores = generator.random(utilities.shape[:2]) < epsilon
        scores = np.where(available, generator.random(utilities.shape), -1.0)
        return np.where(explores, scores.argmax(-1), self.greedy(utilities, available))


@bad("epsilon_greedy", "stated", "The share is epsilon / (m - 1).", wrong("probabilities"))
class OneActionLess(Stated):
    def share(self, epsilon, available):
        return epsilon / np.maximum(available.sum(axis=-1, keepdims=True) - 1, 1)


@bad("epsilon_greedy", "stated", "The share is epsilon over all actions, available or not.", wrong("probabilities"))
class ShareOfAll(Stated):
    def share(self, epsilon, available):
        return epsilon / available.shape[-1]


@bad("epsilon_greedy", "stated", "Unavailable actions have their share, too.", wrong("legality"))
class ShareForAll(Stated):
    def __call__(self, utilities, available, epsilon):
        best = np.where(available, utilities, -np.inf).argmax(axis=-1)[..., None]
        shares = np.full(available.shape, epsilon / available.shape[-1])
        np.put_along_axis(shares, best, np.take_along_axis(shares, best, -1) + 1 - epsilon, axis=-1)
        return shares


@bad("epsilon_greedy", "coins", "The first row's mask is taken for all rows.", wrong("rows"))
class FirstRowsMask(Coins):
    def __call__(self, utilities, available, epsilon):
        return super().__call__(utilities, np.broadcast_to(available[:1], available.shape), epsilon)


@bad("epsilon_greedy", "coins", "The generator is seeded by a constant when it is made.", wrong("seeded"))
class ConstantSeed(Coins):
    def __init__(self) -> None:
        self.generator = np.random.default_rng(5)

    def coins(self, shape):
        return self.generator.random(shape[:2])

    def any_of(self, available):
        return (self.generator.random(available.shape) * available).argmax(axis=-1)


BAD = bad.targets()
GOOD = good.targets()
