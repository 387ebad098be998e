"""More targets of TD learning, which find the best actions in other ways."""

from itertools import product
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind, masks, off_the_rule, writes_into_its_arguments
from .td_targets import cases as plain_cases
from .td_targets import rule

good, bad = Collection(), Collection()
ROLE = "td_target"
# Rows, agents, actions, and the least and the most of the values: whole or quarters, so that many are equal or far off.
SHORT = (
    (4, 2, 3, -4, 4),
    (3, 3, 2, -1, 1),
    (40, 3, 4, -8, 8),
    (4, 2, 3, -1200, -600),
    (1, 3, 3, 500, 900),
    (5, 1, 4, -2, 2),
    (2, 4, 3, -6, -1),
    (4, 4, 2, -3, 3),
)


def short_cases(function: Any) -> list[Arguments]:
    """Batches of whole rewards and of values in quarters, which single precision can hold."""
    generator = np.random.default_rng(23)
    made = []
    for k, (rows, n, count, least, most) in enumerate(SHORT * 2):
        count = 1 if getattr(function, "backup", "max") == "value" else count
        rewards = generator.integers(-4, 5, size=(rows, n)).astype(float)
        if getattr(function, "mixing", "none") == "sum":
            rewards[:] = rewards[:, :1]
        values, online = generator.integers(least, most + 1, size=(2, rows, n, count)) / 4
        ends, cut = generator.random((2, rows)) < 0.3
        made.append((rewards, ends, cut, values, online, masks(generator, (rows, n, count)), (1.0, 0.5)[k % 2]))
    return made


def untied_cases(function: Any) -> list[Arguments]:
    """Those that have one answer: of the double estimator's equal online values any may be taken."""
    double = getattr(function, "backup", "max") == "double"
    return plain_cases(function) if double else plain_cases(function) + short_cases(function)


def off_all_choices(function: Any, case: Arguments) -> float:
    """The distance from the nearest target that some choice among equally good actions gives."""
    r, ends, _, following, online, free, gamma = case
    answer = as_array(function(*[in_kind(function, value) for value in case]))
    together = getattr(function, "mixing", "none") == "sum"
    if answer.shape != (r.shape[:1] if together else r.shape):
        return NEVER
    chooser = online if getattr(function, "backup", "max") == "double" else following
    worst = 0.0
    for b in range(len(r)):
        options = []
        for i in range(r.shape[1]):
            best = chooser[b, i][free[b, i]].max()
            chosen = free[b, i] & (chooser[b, i] == best)
            options.append(np.unique(following[b, i][chosen]) * (0.0 if ends[b] else gamma))
        if together:
            worst = max(worst, min(abs(answer[b] - r[b, 0] - sum(pick)) for pick in product(*options)))
        else:
            worst = max([worst, *(np.abs(answer[b, i] - r[b, i] - own).min() for i, own in enumerate(options))])
    return float(worst)


def off_every_choice(factory: Factory) -> float:
    function = factory()
    return max(off_all_choices(function, case) for case in short_cases(function))


def changes_earlier_answers(factory: Factory) -> float:
    """The largest change that later calls make to what earlier ones gave."""
    function = factory()
    handed = [[in_kind(function, value) for value in case] for case in plain_cases(function)]
    answers = [function(*case) for case in handed[:1]]
    kept = [as_array(answer).copy() for answer in answers]
    for case in handed[1:]:
        answers.append(function(*case))
        kept.append(as_array(answers[-1]).copy())
    return max(gap(answer, before) for answer, before in zip(answers, kept, strict=True))


RULE = Violation("y = r + gamma * best next value, unless s' is terminal", off_the_rule(rule, untied_cases))
CHOICE = Violation("the value is that of one best available action", off_every_choice)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(untied_cases))
LASTING = Violation("an answer stays as it was given", changes_earlier_answers)


@good(ROLE, "", "numpy; the available values in one list, and the maximum of each agent's run in it")
class MaximaOfRuns:
    def rewards(self, r: Array) -> Array:
        return r.copy()

    def discount(self, gamma: float) -> float:
        return gamma

    def starts(self, free: Array) -> Array:
        counts = free.sum(-1).ravel()
        return np.cumsum(counts) - counts

    def best(self, following: Array, free: Array) -> Array:
        return np.maximum.reduceat(following[free], self.starts(free)).reshape(free.shape[:2])

    def live(self, ends: Array, cut: Array) -> Array:
        return ~ends

    def finish(self, y: Array, ends: Array) -> Array:
        return y

    def __call__(self, r, ends, cut, following, online, free, gamma):
        y, live, best = self.rewards(r), self.live(ends, cut), self.best(following, free)
        y[live] += self.discount(gamma) * best[live]
        return self.finish(y, ends)


@good(ROLE, "", "torch; double estimator, the online network's choice as weights of one")
class WeightsOfOne:
    arrays, backup = "torch", "double"

    def filled(self, online, free):
        return torch.where(free, online, online.amin() - 1)

    def weights(self, online, free):
        choice = self.filled(online, free).max(dim=-1).indices
        return torch.nn.functional.one_hot(choice, online.shape[-1]).to(online.dtype)

    def pair(self, following, online):
        return following, online

    def __call__(self, r, ends, cut, following, online, free, gamma):
        following, online = self.pair(following, online)
        value = torch.einsum("bia,bia->bi", self.weights(online, free), following)
        return torch.addcmul(r, ends.logical_not().to(r.dtype)[:, None], value, value=gamma)


@good(ROLE, "", "numpy; state values of all agents, which a product with ones adds up")
class StateValuesTogether:
    backup, mixing = "value", "sum"

    def total(self, values: Array) -> Array:
        return values @ np.ones(values.shape[1])

    def finish(self, y: Array) -> Array:
        return y

    def __call__(self, r, ends, cut, following, online, free, gamma):
        total = self.total(following[..., 0])
        return self.finish(np.choose(ends, (r.min(1) + gamma * total, r.min(1))))


@good(ROLE, "", "plain Python; lists of available values, sorted, whose last ones are added up")
class LastOfSortedLists:
    mixing = "sum"

    def best(self, values: list[float], free: list[bool]) -> float:
        return sorted(value for value, allowed in zip(values, free, strict=True) if allowed)[-1]

    def added(self, bests: list[float]) -> float:
        return sum(bests)

    def __call__(self, r, ends, cut, following, online, free, gamma):
        found = []
        for reward, end, values, allowed in zip(r[:, 0], ends, following.tolist(), free.tolist(), strict=True):
            bests = [self.best(*pair) for pair in zip(values, allowed, strict=True)]
            found.append(float(reward) if end else float(reward) + gamma * self.added(bests))
        return found


@good(ROLE, "", "torch in float32; agents of all rows in one line, and the first of the top ones")
class OneLineInSingle:
    arrays = "torch"

    def discount(self, gamma):
        return gamma

    def best(self, values, free):
        return values.masked_fill(~free, -torch.inf).topk(1, dim=-1).values.squeeze(-1)

    def __call__(self, r, ends, cut, following, online, free, gamma):
        best = self.best(following.float().flatten(0, 1), free.flatten(0, 1)).view(r.shape)
        return r.float() + self.discount(gamma) * best * ends.logical_not().float()[:, None]


@bad(ROLE, "maxima_of_runs", "the runs' places are counted in bytes, which start anew at 256", RULE)
class CountsInBytes(MaximaOfRuns):
    def starts(self, free):
        counts = free.sum(-1, dtype=np.uint8).ravel()
        places = np.cumsum(counts, dtype=np.uint8) - counts
        return places.astype(int) % free.sum()


@bad(ROLE, "maxima_of_runs", "each agent has the mean of all agents' rewards", RULE)
class MeanRewardForEach(MaximaOfRuns):
    def rewards(self, r):
        return np.repeat(r.mean(1, keepdims=True), r.shape[1], axis=1)


@bad(ROLE, "maxima_of_runs", "rewards are clipped to between -1 and 1, as for games of Atari", RULE)
class RewardsClippedToOne(MaximaOfRuns):
    def rewards(self, r):
        return r.clip(-1, 1)


@bad(ROLE, "maxima_of_runs", "adds to the rewards that it was handed", PURE)
class AddsIntoRewards(MaximaOfRuns):
    def rewards(self, r):
        return r


@bad(ROLE, "maxima_of_runs", "answers of one shape share one array", LASTING)
class AnswersShareOneArray(MaximaOfRuns):
    def __init__(self):
        self.kept = {}

    def rewards(self, r):
        kept = self.kept.setdefault(r.shape, np.empty_like(r))
        kept[:] = r
        return kept


@bad(ROLE, "maxima_of_runs", "an episode that was cut does not bootstrap", RULE)
class CutDoesNotBootstrap(MaximaOfRuns):
    def live(self, ends, cut):
        return ~(ends | cut)


@bad(ROLE, "maxima_of_runs", "rows are taken for time steps of one episode: nothing bootstraps behind its end", RULE)
class RowsBehindAnEnd(MaximaOfRuns):
    def live(self, ends, cut):
        return ~np.logical_or.accumulate(ends)


@bad(ROLE, "maxima_of_runs", "the flags are those of the row before", RULE)
class FlagsOfTheRowBefore(MaximaOfRuns):
    def live(self, ends, cut):
        return ~np.roll(ends, 1)


@bad(ROLE, "maxima_of_runs", "the maximum starts from 0, so that negative values never count", RULE)
class MaximumStartsFromZero(MaximaOfRuns):
    def best(self, following, free):
        return following.max(-1, initial=0.0, where=free)


@bad(ROLE, "maxima_of_runs", "a batch of whole rewards gets whole targets, cut off at the point", RULE)
class WholeRewardsWholeTargets(MaximaOfRuns):
    def __call__(self, r, *others):
        y = super().__call__(r, *others)
        return y.astype(int) if (r == r.round()).all() else y


@bad(ROLE, "maxima_of_runs", "the reward of the step to a terminal state is lost", RULE)
class RewardOfTheEndLost(MaximaOfRuns):
    def finish(self, y, ends):
        return y * ~ends[:, None]


@bad(ROLE, "maxima_of_runs", "the available actions of the first batch of a shape stay for later ones", RULE)
class RemembersAvailability(MaximaOfRuns):
    def __init__(self):
        self.known = {}

    def best(self, following, free):
        return super().best(following, self.known.setdefault(free.shape, free))


@bad(ROLE, "maxima_of_runs", "the discount of the first call stays for all later ones", RULE)
class FirstDiscountStays(MaximaOfRuns):
    first: Any = None

    def discount(self, gamma):
        self.first = gamma if self.first is None else self.first
        return self.first


@bad(ROLE, "weights_of_one", "the target network chooses and the online network says the value", RULE)
class NetworksTradePlaces(WeightsOfOne):
    def pair(self, following, online):
        return online, following


@bad(ROLE, "weights_of_one", "the networks trade places at every second call, as two equal estimators would", RULE)
class NetworksTakeTurns(WeightsOfOne):
    calls = 0

    def pair(self, following, online):
        self.calls += 1
        return (following, online) if self.calls % 2 else (online, following)


@bad(ROLE, "weights_of_one", "the value is the mean of both networks'", RULE)
class MeanOfBothNetworks(WeightsOfOne):
    def pair(self, following, online):
        return (following + online) / 2, online


@bad(ROLE, "weights_of_one", "where the best action is not available, the first available one is taken", RULE)
class FirstAvailableInstead(WeightsOfOne):
    def filled(self, online, free):
        best = online.argmax(-1, keepdim=True)
        first = torch.where(free.gather(-1, best), best, free.int().argmax(-1, keepdim=True))
        return torch.zeros_like(online).scatter(-1, first, 1.0)


@bad(ROLE, "weights_of_one", "from three agents on the choice is made of the mean of the agents' online values", RULE)
class OneMindFromThreeAgents(WeightsOfOne):
    def filled(self, online, free):
        shared = online.mean(1, keepdim=True).expand_as(online)
        return super().filled(shared if online.shape[1] > 2 else online, free)


@bad(ROLE, "weights_of_one", "equally good actions share the weight", CHOICE)
class EqualOnesShareTheWeight(WeightsOfOne):
    def weights(self, online, free):
        filled = self.filled(online, free)
        tied = (filled == filled.amax(-1, keepdim=True)).to(online.dtype)
        return tied / tied.sum(-1, keepdim=True)


@bad(
    ROLE,
    "weights_of_one",
    "looks up the best available value among all actions: an unavailable one may have it",
    CHOICE,
)
class FindsTheBestByItsValue(WeightsOfOne):
    def weights(self, online, free):
        best = self.filled(online, free).amax(-1, keepdim=True)
        return torch.nn.functional.one_hot((online == best).int().argmax(-1), online.shape[-1]).to(online.dtype)


@bad(ROLE, "state_values_together", "the first agent's value, times the number of agents", RULE)
class FirstValueTimesAgents(StateValuesTogether):
    def total(self, values):
        return values[:, 0] * values.shape[1]


@bad(ROLE, "state_values_together", "the mean over agents in place of the sum", RULE)
class MeanInPlaceOfSum(StateValuesTogether):
    def total(self, values):
        return values.mean(1)


@bad(ROLE, "state_values_together", "adds up rows where there are as many as agents", RULE)
class AddsUpRows(StateValuesTogether):
    def total(self, values):
        return np.ones(values.shape[1]) @ values if len(values) == values.shape[1] else super().total(values)


@bad(ROLE, "state_values_together", "a batch of one loses its axis", RULE)
class BatchOfOneLosesItsAxis(StateValuesTogether):
    def finish(self, y):
        return y.squeeze()


@bad(ROLE, "last_of_sorted_lists", "unavailable actions are worth minus a hundred", RULE)
class MinusAHundred(LastOfSortedLists):
    def best(self, values, free):
        return max(value if allowed else -100.0 for value, allowed in zip(values, free, strict=True))


@bad(ROLE, "last_of_sorted_lists", "agents whose best values are equal count once", RULE)
class EqualBestsCountOnce(LastOfSortedLists):
    def added(self, bests):
        return sum(set(bests))


@bad(ROLE, "last_of_sorted_lists", "the best by size, its sign apart", RULE)
class BestBySize(LastOfSortedLists):
    def best(self, values, free):
        return max((value for value, allowed in zip(values, free, strict=True) if allowed), key=abs)


@bad(ROLE, "one_line_in_single", "a soft maximum", RULE)
class SoftMaximum(OneLineInSingle):
    def best(self, values, free):
        return values.masked_fill(~free, -torch.inf).logsumexp(-1)


@bad(ROLE, "one_line_in_single", "the discount is kept below one", RULE)
class TargetDiscountBelowOne(OneLineInSingle):
    def discount(self, gamma):
        return min(gamma, 0.999)


BAD, GOOD = bad.targets(), good.targets()
