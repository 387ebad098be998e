"""Updates of Q-learning in a table."""

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, off_the_rule, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "tabular_update"
SIZES = ((2, 2), (3, 4), (1, 3), (4, 1), (5, 2), (1, 1), (2, 5), (3, 3))


def rule(
    function: object, q: Array, s: int, a: int, r: float, after: int, ends: bool, alpha: float, gamma: float
) -> Array:
    """The definition, entry by entry."""
    new = np.zeros(q.shape)
    for state, action in np.ndindex(*q.shape):
        old = float(q[state, action])
        if (state, action) == (s, a):
            best = 0.0 if ends else max(float(value) for value in q[after])
            new[state, action] = old + alpha * (r + gamma * best - old)
        else:
            new[state, action] = old
    return new


def cases(function: object) -> list[Arguments]:
    """Random transitions; tables of whole numbers with ties and zeros, of any sign, and all negative, in turns."""
    generator = np.random.default_rng(41)
    made: list[Arguments] = []
    for k, (states, count) in enumerate(SIZES * 15):
        q = generator.normal(size=(states, count)) * 4
        if k % 3 == 0:
            q = generator.integers(-2, 3, size=(states, count)).astype(float)
        if k % 3 == 1:
            q -= 10
        s, after = (int(state) for state in generator.integers(states, size=2))
        a, r = int(generator.integers(count)), float(generator.normal() * 3)
        ends, alpha = bool(generator.random() < 0.4), float(generator.choice([0.0, 0.25, 0.5, 0.7, 1.0]))
        made.append((q, s, a, r, after, ends, alpha, float(generator.choice([0.0, 0.5, 0.9, 1.0]))))
    return made


RULE = Violation("Q(s, a) moves by alpha towards r + gamma max Q(s', .), and nothing else", off_the_rule(rule, cases))
PURE = Violation("the table that is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; a copy of the table, to whose entry the error is added")
class CopyAndAdd:
    def table(self, q: Array) -> Array:
        return q.copy()

    def value(self, q: Array, s: int, after: int) -> float:
        return float(q[after].max())

    def goes_on(self, q: Array, s: int, after: int, ends: bool) -> bool:
        return not ends

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        following = self.value(q, s, after) if self.goes_on(q, s, after, ends) else 0.0
        new = self.table(q)
        new[s, a] += alpha * (r + gamma * following - new[s, a])
        return new


@good(ROLE, "", "torch; old value and target are blended over the whole table by a mask of the one entry")
class BlendByMask:
    arrays = "torch"

    def entry(self, q, s, a):
        mask = torch.zeros_like(q, dtype=torch.bool)
        mask[s, a] = True
        return mask

    def best(self, q, after, a):
        return q.amax(dim=1)[after]

    def blend(self, q, target, alpha):
        return torch.add((1 - alpha) * q, target, alpha=alpha)

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        target = r + gamma * (1 - int(ends)) * self.best(q, after, a)
        return torch.where(self.entry(q, s, a), self.blend(q, target, alpha), q)


@good(ROLE, "", "plain Python; lists of rows, and the best next value found by a loop")
class RowsOfLists:
    def best(self, row: list[float]) -> float:
        found = row[0]
        for value in row[1:]:
            if value > found:
                found = value
        return found

    def moved(self, old: float, target: float, alpha: float) -> float:
        return old + alpha * (target - old)

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        rows = [[float(value) for value in row] for row in q]
        target = r if ends else r + gamma * self.best(rows[after])
        rows[s][a] = self.moved(rows[s][a], target, alpha)
        return rows


@bad(ROLE, "copy_and_add", "bootstraps from the terminal state's row", RULE)
class TrustsTheTerminalRow(CopyAndAdd):
    def goes_on(self, q, s, after, ends):
        return True


@bad(ROLE, "copy_and_add", "bootstraps from the state that was left, not the one that was reached", RULE)
class BestOfTheStateLeft(CopyAndAdd):
    def value(self, q, s, after):
        return float(q[s].max())


@bad(ROLE, "copy_and_add", "a step that stays in its state is taken for an end", RULE)
class StayingIsAnEnd(CopyAndAdd):
    def goes_on(self, q, s, after, ends):
        return not ends and s != after


@bad(ROLE, "copy_and_add", "state 0 as the next state is taken for no next state", RULE)
class StateZeroIsNone(CopyAndAdd):
    def goes_on(self, q, s, after, ends):
        return bool(after) and not ends


@bad(ROLE, "copy_and_add", "the search for the best next value begins at 0, so that none is negative", RULE)
class BestFromZeroUp(CopyAndAdd):
    def value(self, q, s, after):
        return float(q[after].max(initial=0.0))


@bad(ROLE, "copy_and_add", "best values are remembered by state, and stale once the table is another", RULE)
class RemembersBestValues(CopyAndAdd):
    def __init__(self):
        self.known = {}

    def value(self, q, s, after):
        return self.known.setdefault((q.shape, after), super().value(q, s, after))


@bad(ROLE, "copy_and_add", "asarray in place of a copy: the table that was handed over is written into", PURE)
class WritesIntoTheTable(CopyAndAdd):
    def table(self, q):
        return np.asarray(q)


@bad(ROLE, "copy_and_add", "a table of whole numbers becomes one of integers, which the new entry is cut to", RULE)
class WholeTablesStayWhole(CopyAndAdd):
    def table(self, q):
        return q.astype(int) if np.array_equal(q, np.round(q)) else q.copy()


@bad(ROLE, "copy_and_add", "the last transition of an episode loses its reward with its bootstrap", RULE)
class EndLosesTheReward(CopyAndAdd):
    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        return super().__call__(q, s, a, r * (not ends), after, ends, alpha, gamma)


@bad(ROLE, "blend_by_mask", "the mask marks the state's whole row", RULE)
class WholeRowMoves(BlendByMask):
    def entry(self, q, s, a):
        return (torch.arange(len(q)) == s).unsqueeze(1)


@bad(ROLE, "blend_by_mask", "the learning rate weighs the old value, and its rest the target", RULE)
class RateWeighsTheOldValue(BlendByMask):
    def blend(self, q, target, alpha):
        return alpha * q + (1 - alpha) * target


@bad(ROLE, "blend_by_mask", "the maximum runs over states, for the action just taken", RULE)
class BestOverStates(BlendByMask):
    def best(self, q, after, a):
        return q.amax(dim=0)[a]


@bad(ROLE, "blend_by_mask", "the old entry is shrunk first, and the maximum sees it where the state stays", RULE)
class ShrinksBeforeLooking(BlendByMask):
    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        shrunk = q.clone()
        shrunk[s, a] *= 1 - alpha
        following = 0.0 if ends else shrunk[after].max()
        shrunk[s, a] += alpha * (r + gamma * following)
        return shrunk


@bad(ROLE, "rows_of_lists", "an entry of 0 counts as never seen, and takes the target whatever the rate", RULE)
class FirstVisitTakesTheTarget(RowsOfLists):
    def moved(self, old, target, alpha):
        return super().moved(old, target, alpha if old else 1.0)


@bad(ROLE, "rows_of_lists", "the loop over next actions stops one short where there are more than two", RULE)
class LastActionUnseen(RowsOfLists):
    def best(self, row):
        return max(row[: max(2, len(row) - 1)])


@bad(ROLE, "rows_of_lists", "all greedy next actions add up, so that a tie counts twice", RULE)
class TiesAddUp(RowsOfLists):
    def best(self, row):
        return sum(value for value in row if value == max(row))


@bad(ROLE, "rows_of_lists", "the error is clipped to [-1, 1], as networks' learners do", RULE)
class ErrorClipped(RowsOfLists):
    def moved(self, old, target, alpha):
        return old + alpha * min(1.0, max(-1.0, target - old))


BAD, GOOD = bad.targets(), good.targets()
