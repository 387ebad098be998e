"""Updates of tables, of one agent and of joint actions, once more: by another author, and several steps in a row."""

import itertools
import math

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, off_the_rule
from .cql_updates import cases as joint_cases
from .cql_updates import rule as joint_rule
from .tabular_updates import cases as single_cases
from .tabular_updates import rule as single_rule

good, bad = Collection(), Collection()
SINGLE, JOINT = "tabular_update", "cql_update"


def episodes(function: object) -> list[Arguments]:
    """Transitions that follow each other, in tables of one shape; then the single ones of the other module."""
    generator = np.random.default_rng(61)
    made: list[Arguments] = []
    for k, (states, count) in enumerate(((3, 2), (2, 3), (4, 4)) * 3):
        s = 0
        for step in range(6):
            q = generator.normal(size=(states, count)) * (3.0, 300.0)[k % 2]
            q *= generator.random(q.shape) < (1.0, 0.5)[step % 2]
            after, a = int(generator.integers(states)), int(generator.integers(count))
            made.append((q, s, a, float(generator.normal() * 5), after, step == 5, 0.5, (0.9, 0.5, 1.0)[k % 3]))
            s = after
    return made + single_cases(function)


def large_and_equal(function: object) -> list[Arguments]:
    """The other module's transitions, and some where all agents have as many actions as there are states."""
    generator, made = np.random.default_rng(67), joint_cases(function)
    for k in range(24):
        n, count = 2 + k % 3, 2 + k % 2
        s, after = (int(state) for state in generator.integers(count, size=2))
        q, r = generator.normal(size=(count,) * (n + 1)) * 2 - k % 4, generator.normal(size=n) * 2
        made.append((q, s, generator.integers(count, size=n), r, after, k % 5 == 0, 0.5, 0.9))
    return made


RULE = Violation("one entry moves by alpha towards r + gamma max Q(s', .)", off_the_rule(single_rule, episodes))
JOINT_RULE = Violation(
    "the joint action's entry moves by alpha towards r + gamma max Q(s', .)", off_the_rule(joint_rule, large_and_equal)
)


@good(SINGLE, "", "numpy; an outer product of indicators of state and action, times the error")
class OuterProductOfIndicators:
    def rate(self, alpha: float, s: int, a: int) -> float:
        return alpha

    def reward(self, r: float) -> float:
        return r

    def following(self, row: Array, a: int) -> float:
        return float(np.sort(row)[-1])

    def place(self, q: Array, s: int, a: int) -> Array:
        return np.outer(np.arange(q.shape[0]) == s, np.arange(q.shape[1]) == a)

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        error = self.reward(r) + (0.0 if ends else gamma) * self.following(q[after], a) - q[s, a]
        return q + self.rate(alpha, s, a) * error * self.place(q, s, a)


@bad(SINGLE, "outer_product_of_indicators", "rewards are clipped to [-1, 1]", RULE)
class RewardsWithinOne(OuterProductOfIndicators):
    def reward(self, r):
        return min(1.0, max(-1.0, r))


@bad(SINGLE, "outer_product_of_indicators", "a rate of 0 is taken for none given, and becomes a tenth", RULE)
class NoRateIsATenth(OuterProductOfIndicators):
    def rate(self, alpha, s, a):
        return alpha or 0.1


@bad(SINGLE, "outer_product_of_indicators", "the rate is divided by how often the pair was met", RULE)
class RateByVisits(OuterProductOfIndicators):
    def __init__(self):
        self.met = {}

    def rate(self, alpha, s, a):
        self.met[s, a] = self.met.get((s, a), 0) + 1
        return alpha / self.met[s, a]


@bad(SINGLE, "outer_product_of_indicators", "the next action is thought to be the one just taken", RULE)
class SameActionAgain(OuterProductOfIndicators):
    def following(self, row, a):
        return float(row[a])


@bad(SINGLE, "outer_product_of_indicators", "entries of 0 count as never seen, and are left out of the maximum", RULE)
class ZerosLeftOutOfTheMaximum(OuterProductOfIndicators):
    def following(self, row, a):
        return float(row[row != 0].max(initial=-np.inf)) if row.any() else 0.0


@bad(
    SINGLE, "outer_product_of_indicators", "the pair of the step before keeps a trace, and moves by half as much", RULE
)
class TraceOfTheStepBefore(OuterProductOfIndicators):
    def __init__(self):
        self.before = np.zeros((0, 0))

    def place(self, q, s, a):
        now = super().place(q, s, a).astype(float)
        trace = np.maximum(now, 0.5 * self.before) if self.before.shape == now.shape else now
        self.before = now
        return trace


@good(SINGLE, "", "torch; a flat copy, of which one number is written by index_put")
class FlatCopy:
    arrays = "torch"

    def flat(self, q, s, a):
        return s * q.shape[1] + a

    def target(self, q, r, after, ends, gamma):
        return q.new_tensor(r) if ends else torch.max(q.select(0, after)) * gamma + r

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        moved = torch.lerp(q[s, a], self.target(q, r, after, ends, gamma), alpha)
        index = (torch.tensor([self.flat(q, s, a)]),)
        return q.flatten().index_put(index, moved.reshape(1)).unflatten(0, q.shape)


@bad(SINGLE, "flat_copy", "the flat index runs down columns", RULE)
class FlatDownColumns(FlatCopy):
    def flat(self, q, s, a):
        return a * q.shape[0] + s


@bad(SINGLE, "flat_copy", "an end is passed over: its pair stays as it is", RULE)
class EndsPassedOver(FlatCopy):
    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        return q.clone() if ends else super().__call__(q, s, a, r, after, ends, alpha, gamma)


@bad(SINGLE, "flat_copy", "the best next value is the largest in magnitude, sign kept", RULE)
class LargestNextMagnitude(FlatCopy):
    def target(self, q, r, after, ends, gamma):
        row = q[after]
        return q.new_tensor(r) if ends else row[row.abs().argmax()] * gamma + r


@bad(SINGLE, "flat_copy", "the whole table is kept in half precision", RULE)
class TableInHalf(FlatCopy):
    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        return super().__call__(q.half().double(), s, a, r, after, ends, alpha, gamma).half()


@good(JOINT, "", "numpy; one flat index by ravel_multi_index, in a copy of the flat table; the sum of rewards")
class FlatByRavel:
    def reward(self, r: Array) -> float:
        return math.fsum(r)

    def rate(self, alpha: float, n: int) -> float:
        return alpha

    def places(self, shape: tuple[int, ...], s: int, a: Array) -> list[int]:
        return [int(np.ravel_multi_index((s, *a), shape))]

    def best(self, following: Array, a: Array) -> float:
        return float(np.amax(following))

    def start(self, after: int, ends: bool) -> int:
        return -1 if ends else after

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        flat, state, places = q.flatten(), self.start(after, ends), self.places(q.shape, s, a)
        target = self.reward(r) + (gamma * self.best(q[state], a) if state >= 0 else 0.0)
        old = flat[places[0]]
        flat[places] = old + self.rate(alpha, len(r)) * (target - old)
        return flat.reshape(q.shape)


@bad(JOINT, "flat_by_ravel", "the least of the agents' rewards stands for their sum", JOINT_RULE)
class LeastReward(FlatByRavel):
    def reward(self, r):
        return float(r.min())


@bad(JOINT, "flat_by_ravel", "rewards are added as whole numbers", JOINT_RULE)
class WholeRewards(FlatByRavel):
    def reward(self, r):
        return float(r.astype(np.int64).sum())


@bad(JOINT, "flat_by_ravel", "the rate is divided among agents", JOINT_RULE)
class RateAmongAgents(FlatByRavel):
    def rate(self, alpha, n):
        return alpha / n


@bad(JOINT, "flat_by_ravel", "ends bootstrap from state 0, to which the game was reset", JOINT_RULE)
class EndsLeadToStateZero(FlatByRavel):
    def start(self, after, ends):
        return 0 if ends else after


@bad(
    JOINT,
    "flat_by_ravel",
    "the joint action with two agents' actions exchanged moves along, in square tables",
    JOINT_RULE,
)
class ExchangedActionsMoveAlong(FlatByRavel):
    def places(self, shape, s, a):
        own = super().places(shape, s, a)
        return own + super().places(shape, s, a[[1, 0, *range(2, len(a))]]) if shape[1] == shape[2] else own


@bad(
    JOINT,
    "flat_by_ravel",
    "each agent in turn takes its best answer to what was done, which need not be best",
    JOINT_RULE,
)
class AnswersInTurn(FlatByRavel):
    def best(self, following, a):
        joint = [int(own) for own in a]
        for i in range(len(joint)):
            options = [following[(*joint[:i], k, *joint[i + 1 :])] for k in range(following.shape[i])]
            joint[i] = int(np.argmax(options))
        return float(following[tuple(joint)])


@good(JOINT, "", "torch; the first agent's reward, and a mask of the one entry made by indicators of each axis")
class MaskOfAxes:
    arrays, scalar = "torch", 0

    def reward(self, r):
        return r[0]

    def axes(self, s, a):
        return [int(s), *a.tolist()]

    def mask(self, shape, indices):
        marked = torch.ones((), dtype=torch.bool)
        for size, index in zip(shape, indices, strict=True):
            marked = marked.unsqueeze(-1) & (torch.arange(size) == index)
        return marked

    def best(self, following):
        return following.max()

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        target = self.reward(r) + (0.0 if ends else gamma * self.best(q[after]))
        return torch.where(self.mask(q.shape, self.axes(s, a)), q + alpha * (target - q), q)


@bad(JOINT, "mask_of_axes", "the others' mean reward is taken away from the own one", JOINT_RULE)
class LessTheOthersMean(MaskOfAxes):
    def reward(self, r):
        return r[0] - r[1:].mean()


@bad(
    JOINT, "mask_of_axes", "the state's axis is left out of the mask: the joint action moves in all states", JOINT_RULE
)
class MovesInAllStates(MaskOfAxes):
    def mask(self, shape, indices):
        return super().mask(shape[1:], indices[1:]).expand(shape)


@bad(JOINT, "mask_of_axes", "agents are only thought to do the same as each other next", JOINT_RULE)
class AllDoTheSame(MaskOfAxes):
    def best(self, following):
        return torch.stack([following[(k,) * following.ndim] for k in range(min(following.shape))]).max()


@bad(JOINT, "mask_of_axes", "with more than two agents the others' next actions are averaged over", JOINT_RULE)
class CrowdIsAveraged(MaskOfAxes):
    def best(self, following):
        return following.max() if following.ndim < 3 else following.flatten(1).mean(1).max()


@good(JOINT, "", "plain Python; a dictionary of the table, the joint action's entry blended; the second's reward")
class BlendedDictionary:
    scalar = 1

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        table = {place: float(q[place]) for place in itertools.product(*map(range, q.shape))}
        best = max(value for (state, *_), value in table.items() if state == after)
        place = (s, *map(int, a))
        table[place] = (1 - alpha) * table[place] + alpha * (float(r[1]) + (not ends) * gamma * best)
        return np.array([table[key] for key in sorted(table)]).reshape(q.shape)


BAD, GOOD = bad.targets(), good.targets()
