"""Updates of central Q-learning in a table of joint actions."""

import itertools
import math

import numpy as np
import torch

from ..target import Collection, Violation
from .common import Arguments, Array, off_the_rule, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "cql_update"
SIZES = ((2, 2, 2), (3, 2, 3), (1, 3, 2), (2, 2, 2, 2), (2, 3, 3), (4, 1, 2), (2, 2, 3, 2), (3, 4, 2), (2, 2, 1, 2, 2))


def rule(
    function: object, q: Array, s: int, a: Array, r: Array, after: int, ends: bool, alpha: float, gamma: float
) -> Array:
    """The definition, entry by entry."""
    scalar = getattr(function, "scalar", "sum")
    reward = sum(float(own) for own in r) if scalar == "sum" else float(r[scalar])
    new = np.zeros(q.shape)
    for place in np.ndindex(*q.shape):
        new[place] = q[place]
        if place == (s, *(int(own) for own in a)):
            best = max(float(q[(after, *joint)]) for joint in np.ndindex(*q.shape[1:]))
            new[place] += alpha * (reward + (0.0 if ends else gamma * best) - q[place])
    return new


def cases(function: object) -> list[Arguments]:
    """Random transitions of two to four agents, whose numbers of actions differ; every fourth one has no reward."""
    generator = np.random.default_rng(43)
    made: list[Arguments] = []
    for k, sizes in enumerate(SIZES * 12):
        states, *counts = sizes
        q = generator.normal(size=sizes) * 4 - 8 * (k % 2)
        s, after = (int(state) for state in generator.integers(states, size=2))
        a = np.array([generator.integers(count) for count in counts])
        r = generator.normal(size=len(counts)) * 3 * (k % 4 > 0)
        ends, alpha = bool(generator.random() < 0.4), float(generator.choice([0.25, 0.5, 0.7, 1.0]))
        made.append((q, s, a, r, after, ends, alpha, float(generator.choice([0.0, 0.5, 0.9, 1.0]))))
    return made


RULE = Violation(
    "Q(s, a) of the joint action moves by alpha towards r + gamma max Q(s', .), and nothing else",
    off_the_rule(rule, cases),
)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


@good(ROLE, "", "numpy; the sum of rewards, and the joint action as a tuple of indices")
class SumAndTuple:
    def reward(self, r: Array) -> float:
        return float(r.sum())

    def place(self, s: int, a: Array) -> tuple[int, ...]:
        return (s, *map(int, a))

    def best(self, following: Array, a: Array) -> float:
        return float(following.max())

    def goes_on(self, ends: bool, r: Array) -> bool:
        return not ends

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        target = self.reward(r)
        if self.goes_on(ends, r):
            target += gamma * self.best(q[after], a)
        new, place = q.copy(), self.place(s, a)
        new[place] += alpha * (target - q[place])
        return new


@good(ROLE, "", "torch; the second agent's reward, and one flat index of state and joint action")
class FlatOfSecondAgent:
    arrays, scalar = "torch", 1

    def reward(self, r):
        return r[self.scalar]

    def joint(self, a, counts):
        index = 0
        for own, count in zip(a.tolist(), counts, strict=True):
            index = index * count + own
        return index

    def many(self, counts):
        return math.prod(counts)

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        counts = tuple(q.shape[1:])
        flat, many = q.reshape(-1), math.prod(counts)
        following = flat[after * many : after * many + self.many(counts)].max()
        target = self.reward(r) + gamma * torch.where(torch.as_tensor(ends), 0.0, following)
        index = torch.tensor([s * many + self.joint(a, counts)])
        return flat.index_add(0, index, alpha * (target - flat[index])).reshape(q.shape)


@good(ROLE, "", "plain Python; the first agent's reward, and a dictionary of both states' entries")
class EntriesOfFirstAgent:
    scalar = 0

    def reward(self, r: Array) -> float:
        return float(r[self.scalar])

    def table(self, q: Array) -> Array:
        return np.array(q)

    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        joint_actions = list(itertools.product(*(range(count) for count in q.shape[1:])))
        entries = {(state, *joint): float(q[(state, *joint)]) for state in (s, after) for joint in joint_actions}
        best = 0.0 if ends else max(entries[(after, *joint)] for joint in joint_actions)
        place = (s, *(int(own) for own in a))
        new = self.table(q)
        new[place] = (1 - alpha) * entries[place] + alpha * (self.reward(r) + gamma * best)
        return new.tolist()


@bad(ROLE, "sum_and_tuple", "the mean of rewards", RULE)
class RewardsAveraged(SumAndTuple):
    def reward(self, r):
        return float(r.mean())


@bad(ROLE, "sum_and_tuple", "the rewards of the first two agents alone are added", RULE)
class TwoRewardsAdded(SumAndTuple):
    def reward(self, r):
        return float(r[:2].sum())


@bad(ROLE, "sum_and_tuple", "the last agent's action is no index: all its entries move, by the first one's error", RULE)
class LastAgentsEntriesMove(SumAndTuple):
    def __call__(self, q, s, a, r, after, ends, alpha, gamma):
        new = super().__call__(q, s, a, r, after, ends, alpha, gamma)
        place = self.place(s, a)
        step = new[place] - q[place]
        new[place[:-1]] = q[place[:-1]] + step
        return new


@bad(ROLE, "sum_and_tuple", "the maximum runs over the last agent's actions, the others repeating theirs", RULE)
class OthersRepeatTheirActions(SumAndTuple):
    def best(self, following, a):
        return float(following[tuple(map(int, a[:-1]))].max())


@bad(ROLE, "sum_and_tuple", "the others' answer is the worst one for the first agent, as in minimax-Q", RULE)
class OthersAnswerWorst(SumAndTuple):
    def best(self, following, a):
        return float(following.reshape(len(following), -1).min(1).max())


@bad(ROLE, "sum_and_tuple", "the greedy joint action is put together of each agent's best on average", RULE)
class GreedyByAverages(SumAndTuple):
    def best(self, following, a):
        agents = range(following.ndim)
        own = [following.mean(axis=tuple(j for j in agents if j != i)).argmax() for i in agents]
        return float(following[tuple(own)])


@bad(ROLE, "sum_and_tuple", "an end at which nobody is rewarded is taken for a time limit, and bootstraps", RULE)
class EndWithoutRewardGoesOn(SumAndTuple):
    def goes_on(self, ends, r):
        return not ends or not r.any()


@bad(ROLE, "flat_of_second_agent", "agents are counted from 1: the first one's reward is taken", RULE)
class AgentsCountedFromOne(FlatOfSecondAgent):
    def reward(self, r):
        return r[self.scalar - 1]


@bad(ROLE, "flat_of_second_agent", "the flat index lets the first agent's action run fastest", RULE)
class FirstAgentRunsFastest(FlatOfSecondAgent):
    def joint(self, a, counts):
        return super().joint(a.flip(0), counts[::-1])


@bad(ROLE, "flat_of_second_agent", "all agents are thought to have as many actions as the first", RULE)
class AsManyAsTheFirst(FlatOfSecondAgent):
    def many(self, counts):
        return counts[0] ** len(counts)


@bad(ROLE, "entries_of_first_agent", "agent 0 is taken for none given, and all rewards are added", RULE)
class AgentZeroIsNone(EntriesOfFirstAgent):
    def reward(self, r):
        return float(r[self.scalar] if self.scalar else r.sum())


@bad(ROLE, "entries_of_first_agent", "a view in place of a copy: the table that was handed over is written into", PURE)
class WritesThroughAView(EntriesOfFirstAgent):
    def table(self, q):
        return q[:]


BAD, GOOD = bad.targets(), good.targets()
