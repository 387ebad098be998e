"""More estimates of returns and advantages: by filters, scans, equations and windows."""

from collections import deque
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.signal import lfilter

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind
from .returns import cases as plain_cases
from .returns import rule

good, bad = Collection(), Collection()
ROLE = "return_estimator"
SIZES = ((3, 6), (1, 9), (4, 4), (2, 24), (7, 3), (1, 1), (3, 6), (5, 13), (2, 40), (6, 2))


def flags_of_episodes(generator: np.random.Generator, shape: tuple[int, int], k: int) -> tuple[Array, Array, Array]:
    """One episode a row: every other row is full, and some of the full ones go on without any flag."""
    ends, cut = np.zeros((2, *shape), dtype=bool)
    lengths = generator.integers(1, shape[1] + 1, size=shape[0])
    lengths[k % 2 :: 2] = shape[1]
    mask = np.arange(shape[1]) < lengths[:, None]
    for b, length in enumerate(lengths):
        kind = generator.integers(4 if length == shape[1] else 3)
        ends[b, length - 1], cut[b, length - 1] = kind in (0, 2), kind in (1, 2)
    return ends, cut, mask


def long_cases(function: Any) -> list[Arguments]:
    """Longer rows, rows that go on behind their last step, values far from 0, and padding that is worse."""
    generator = np.random.default_rng(31)
    rollout = getattr(function, "rows", "episode") == "rollout"
    made = []
    for k, shape in enumerate(SIZES * 4):
        rewards, following, values = generator.integers(-12, 13, size=(3, *shape)) / 4
        if k % 3 == 0:
            values, following = 40 * values, 40 * following
        if rollout:
            ends, cut = generator.random((2, *shape)) < (0.05, 0.3)[k % 2]
            mask = np.ones(shape, dtype=bool)
        else:
            ends, cut, mask = flags_of_episodes(generator, shape, k)
            rewards[~mask], values[~mask], following[~mask] = 64.0, -64.0, 32.0
        goes_on = mask[:, 1:] & ~(ends | cut)[:, :-1]
        following[:, :-1][goes_on] = values[:, 1:][goes_on]
        lam: Any = (1.0, 0.5, 0.875, 0.0)[k % 4]
        if getattr(function, "estimate", "") == "n_step":
            lam = (2, 1, shape[1], 7, shape[1] + 3)[k % 5]
        made.append((rewards, values, following, ends, cut, mask, (1.0, 0.75, 0.5)[k % 3], lam))
    return made


@cache
def cases_and_estimates(estimate: str, rows: str) -> list[tuple[Arguments, Array]]:
    """All cases with the forward view of each, which takes long for long rows."""
    kind = SimpleNamespace(estimate=estimate, rows=rows)
    return [(case, rule(kind, *case)) for case in plain_cases(kind) + long_cases(kind)]


def off_at_long_rows(factory: Factory) -> float:
    """The largest distance from the forward view, padding apart, one function for all cases in turn."""
    function, worst = factory(), 0.0
    declared = getattr(function, "estimate", "lambda_return"), getattr(function, "rows", "episode")
    for case, expected in cases_and_estimates(*declared):
        answer, mask = as_array(function(*[in_kind(function, value) for value in case])), case[5]
        worst = max(worst, gap(answer[mask], expected[mask]) if answer.shape == mask.shape else NEVER)
    return worst


def writes_into_rows(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for case in long_cases(function):
        handed = [in_kind(function, value) for value in case]
        function(*handed)
        worst = max([worst, *(gap(new, as_array(old)) for new, old in zip(handed[:6], case[:6], strict=True))])
    return worst


RULE = Violation("the estimate is the forward view's, in long rows as well", off_at_long_rows)
PURE = Violation("rows that are handed over stay as they are", writes_into_rows)


@good(ROLE, "", "scipy; GAE of rollouts, each episode by itself through a recursive filter that runs backwards")
class FilteredGae:
    estimate, rows = "advantage", "rollout"

    def stops(self, ends: Array, cut: Array) -> Array:
        return ends | cut

    def rewards(self, r: Array, following: Array, ends: Array, cut: Array, gamma: float) -> Array:
        return r

    def deltas(self, r: Array, values: Array, following: Array, ends: Array, cut: Array, gamma: float) -> Array:
        return self.rewards(r, following, ends, cut, gamma) + gamma * np.where(ends, 0.0, following) - values

    def places(self, stops: Array) -> list[int]:
        """Where the pieces of a row begin, and where the last one is over."""
        return sorted({0, *(np.flatnonzero(stops) + 1).tolist(), len(stops)})

    def piece(self, deltas: Array, decay: float) -> Array:
        return lfilter([1.0], [1.0, -decay], deltas[::-1])[::-1]

    def decay(self, gamma: float, lam: float) -> float:
        return gamma * lam

    def finish(self, advantages: Array) -> Array:
        return advantages

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        deltas, stops = self.deltas(r, values, following, ends, cut, gamma), self.stops(ends, cut)
        found = np.zeros_like(r)
        for b in range(len(r)):
            places = self.places(stops[b])
            for first, behind in pairwise(places):
                found[b, first:behind] = self.piece(deltas[b, first:behind], self.decay(gamma, lam))
        return self.finish(found)


@good(ROLE, "", "numpy; lambda-returns of episodes by a scan whose stride doubles, as on many processors at once")
class DoublingScan:
    def goes_on(self, ends: Array, cut: Array, mask: Array) -> Array:
        """Whether the same episode has a known step behind each one."""
        behind = np.zeros_like(mask)
        behind[:, :-1] = mask[:, 1:]
        return behind & ~(ends | cut)

    def bootstrap(self, values: Array, following: Array, ends: Array, cut: Array, mask: Array) -> Array:
        return np.where(ends, 0.0, following)

    def rounds(self, T: int) -> int:
        return int(T - 1).bit_length()

    def ahead(self, array: Array, stride: int) -> Array:
        return np.pad(array, ((0, 0), (0, stride)))[:, stride:]

    def scan(self, offset: Array, factor: Array) -> Array:
        for k in range(self.rounds(offset.shape[1])):
            offset = offset + factor * self.ahead(offset, 2**k)
            factor = factor * self.ahead(factor, 2**k)
        return offset

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        goes_on = self.goes_on(ends, cut, mask)
        next_value = self.bootstrap(values, following, ends, cut, mask)
        offset = r + gamma * np.where(goes_on, 1 - lam, 1.0) * next_value
        return self.scan(offset, gamma * lam * goes_on)


@good(ROLE, "", "torch; lambda-returns of rollouts as the solution of a triangular system of equations")
class SolvedSystem:
    arrays, rows = "torch", "rollout"

    def stops(self, ends, cut):
        stops = ends | cut
        return torch.cat([stops[:, :-1], torch.ones_like(stops[:, :1])], dim=1)

    def system(self, stops, gamma, lam):
        links = gamma * lam * (1 - stops[:, :-1].double())
        return torch.eye(stops.shape[1], dtype=torch.double) - torch.diag_embed(links, offset=1)

    def share(self, lam):
        return 1 - lam

    def constants(self, r, next_value, stops, gamma, lam):
        return r + gamma * torch.where(stops, next_value, self.share(lam) * next_value)

    def solve(self, system, constants):
        return torch.linalg.solve_triangular(system, constants.unsqueeze(-1), upper=True).squeeze(-1)

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        stops = self.stops(ends, cut)
        constants = self.constants(r, following * ~ends, stops, gamma, lam)
        return self.solve(self.system(stops, gamma, lam), constants)


@good(ROLE, "", "torch; n-step returns of episodes by so many one-step backups of the whole batch")
class BackupsOfTheWholeBatch:
    arrays, estimate = "torch", "n_step"

    def count(self, steps: int, T: int) -> int:
        return min(int(steps), T)

    def goes_on(self, ends, cut, mask):
        behind = torch.nn.functional.pad(mask[:, 1:], (0, 1))
        return behind & ~ends & ~cut

    def first(self, r, following, ends, gamma):
        return torch.where(ends, r, r + gamma * following)

    def backup(self, r, later, gamma):
        return r + gamma * later

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        one, goes_on = self.first(r, following, ends, gamma), self.goes_on(ends, cut, mask)
        estimate = one
        for _ in range(self.count(lam, r.shape[1]) - 1):
            later = torch.roll(estimate, -1, dims=1)
            estimate = torch.where(goes_on, self.backup(r, later, gamma), one)
        return estimate


@good(ROLE, "", "torch in float32; GAE of episodes as the mixture of all n-step returns, less the value")
class MixtureLessValueInSingle:
    arrays, estimate = "torch", "advantage"

    def lengths(self, ends, cut, mask):
        return mask.sum(1)

    def weights(self, longest: int, lam: float) -> list[float]:
        return [(1 - lam) * lam**k for k in range(longest - 1)] + [lam ** (longest - 1)]

    def less(self, mixture, values, following):
        return mixture - values

    def row(self, r, values, following, gamma, lam, length):
        powers = torch.pow(torch.tensor(float(gamma), dtype=torch.float32), torch.arange(length + 1))
        found = torch.zeros_like(r)
        for t in range(length):
            longest = length - t
            sums = torch.cumsum(powers[:longest] * r[t:length], 0) + powers[1 : longest + 1] * following[t:length]
            mixture = torch.tensor(self.weights(longest, lam), dtype=torch.float32) @ sums
            found[t] = self.less(mixture, values[t], following[t])
        return found

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        following = (following * ~ends).float()
        lengths = self.lengths(ends, cut, mask).tolist()
        rows = zip(r.float(), values.float(), following, lengths, strict=True)
        return torch.stack([self.row(*row[:3], gamma, lam, row[3]) for row in rows])


@good(ROLE, "", "plain Python; n-step returns of rollouts through a queue of the last steps, as replay buffers have it")
class QueueOfSteps:
    estimate, rows = "n_step", "rollout"

    def queue(self, steps: int) -> Any:
        return deque(maxlen=int(steps))

    def value(self, window: list[tuple[float, float, bool]], gamma: float) -> float:
        total = 0.0 if window[-1][2] else window[-1][1]
        for reward, _, _ in reversed(window):
            total = reward + gamma * total
        return total

    def flushed(self, queue: Any, gamma: float) -> list[float]:
        """The estimates of all steps but the first that wait as the episode stops."""
        window = list(queue)
        return [self.value(window[k:], gamma) for k in range(1, len(window))]

    def row(self, steps, flags, gamma, count):
        found, queue = [], self.queue(count)
        for t, step in enumerate(steps):
            queue.append(step)
            stops = flags[t] or t + 1 == len(steps)
            if len(queue) == queue.maxlen or stops:
                found.append(self.value(list(queue), gamma))
            if stops:
                found.extend(self.flushed(queue, gamma))
                queue.clear()
        return found

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        rows = zip(r.tolist(), following.tolist(), ends.tolist(), (ends | cut).tolist(), strict=True)
        return [self.row(list(zip(*row[:3], strict=True)), row[3], gamma, lam) for row in rows]


@bad(ROLE, "filtered_gae", "a flag is read as if it stood at the step behind it", RULE)
class FlagsOneStepLate(FilteredGae):
    def stops(self, ends, cut):
        return np.pad(ends | cut, ((0, 0), (1, 0)))[:, :-1]


@bad(ROLE, "filtered_gae", "the first row's episodes are taken for those of all rows", RULE)
class StopsOfTheFirstRow(FilteredGae):
    def stops(self, ends, cut):
        return np.broadcast_to(super().stops(ends, cut)[:1], ends.shape)


@bad(ROLE, "filtered_gae", "the last episode of a row, which no flag closes, is left out", RULE)
class OpenEpisodeLeftOut(FilteredGae):
    def places(self, stops):
        return [0, *(np.flatnonzero(stops) + 1).tolist()]


@bad(ROLE, "filtered_gae", "an episode of one step has no advantage", RULE)
class LoneStepLeftOut(FilteredGae):
    def piece(self, deltas, decay):
        return super().piece(deltas, decay) if len(deltas) > 1 else np.zeros_like(deltas)


@bad(ROLE, "filtered_gae", "a step that is both terminal and cut bootstraps", RULE)
class CutBeforeEndInRows(FilteredGae):
    def deltas(self, r, values, following, ends, cut, gamma):
        return super().deltas(r, values, following, ends & ~cut, cut, gamma)


@bad(ROLE, "filtered_gae", "the errors decay by lambda alone", RULE)
class DecayOfLambdaAlone(FilteredGae):
    def decay(self, gamma, lam):
        return lam


@bad(ROLE, "filtered_gae", "the value behind a cut is added to the reward, and then bootstrapped once more", RULE)
class ValueBehindACutTwice(FilteredGae):
    def rewards(self, r, following, ends, cut, gamma):
        return r + gamma * following * (cut & ~ends)


@bad(ROLE, "filtered_gae", "leaves the values behind cuts in the rewards that it was handed", PURE)
class AddsToTheRewardsOfCuts(FilteredGae):
    def deltas(self, r, values, following, ends, cut, gamma):
        before = super().deltas(r, values, following, ends, cut, gamma)
        r[cut] += gamma * following[cut]
        return before


@bad(ROLE, "filtered_gae", "advantages are kept within 50", RULE)
class AdvantagesKeptWithinFifty(FilteredGae):
    def finish(self, advantages):
        return advantages.clip(-50, 50)


@bad(ROLE, "filtered_gae", "advantages of each row are divided by their deviation", RULE)
class ScaledRowByRow(FilteredGae):
    def finish(self, advantages):
        return advantages / np.maximum(advantages.std(1, keepdims=True), 1.0)


@bad(ROLE, "filtered_gae", "of the batch's two axes the longer one is taken for time", RULE)
class LongerAxisIsTime(FilteredGae):
    def __call__(self, r, *others):
        if r.shape[0] <= r.shape[1]:
            return super().__call__(r, *others)
        turned = [array.T for array in (r, *others[:5])]
        return super().__call__(*turned, *others[5:]).T


@bad(ROLE, "doubling_scan", "the number of rounds is rounded down: a row's far end does not reach its start", RULE)
class RoundsRoundedDown(DoublingScan):
    def rounds(self, T):
        return T.bit_length() - 1


@bad(ROLE, "doubling_scan", "four rounds are enough: nothing beyond sixteen steps counts", RULE)
class SixteenStepsAhead(DoublingScan):
    def rounds(self, T):
        return min(super().rounds(T), 4)


@bad(ROLE, "doubling_scan", "what stands ahead of a row's end is the row's start", RULE)
class RollsAroundTheRow(DoublingScan):
    def goes_on(self, ends, cut, mask):
        return np.roll(mask, -1, axis=1) & ~(ends | cut)

    def ahead(self, array, stride):
        return np.roll(array, -stride, axis=1)


@bad(ROLE, "doubling_scan", "a row that is full without a flag is taken for ended", RULE)
class FullRowIsOver(DoublingScan):
    def bootstrap(self, values, following, ends, cut, mask):
        full = mask.all(1) & ~(ends | cut).any(1)
        over = np.zeros_like(ends)
        over[full, -1] = True
        return np.where(ends | over, 0.0, following)


@bad(ROLE, "doubling_scan", "next values are multiplied by the mask of the next step, which a short cut lacks", RULE)
class ShortCutsLoseTheirValue(DoublingScan):
    def bootstrap(self, values, following, ends, cut, mask):
        behind = np.pad(mask[:, 1:], ((0, 0), (0, 1)), constant_values=True)
        return super().bootstrap(values, following, ends, cut, mask) * behind


@bad(ROLE, "doubling_scan", "a short episode that is cut has the value that stands in its padding", RULE)
class ValueFromThePadding(DoublingScan):
    def bootstrap(self, values, following, ends, cut, mask):
        shifted = np.concatenate([values[:, 1:], following[:, -1:]], axis=1)
        return super().bootstrap(values, shifted, ends, cut, mask)


@bad(ROLE, "doubling_scan", "flags of terminal steps do not stop the return, since padding is left to the mask", RULE)
class OnlyCutsAndRowsStop(DoublingScan):
    def goes_on(self, ends, cut, mask):
        return np.pad(~cut[:, :-1], ((0, 0), (0, 1)))


@bad(ROLE, "solved_system", "the system of the first batch of a shape is solved for later ones", RULE)
class SystemOfTheFirstBatch(SolvedSystem):
    def __init__(self):
        self.known = {}

    def system(self, stops, gamma, lam):
        fresh = super().system(stops, gamma, lam)
        return self.known.setdefault((fresh.shape, gamma, lam), fresh)


@bad(ROLE, "solved_system", "the system is turned over: steps sum up what came before them", RULE)
class SumsWhatCameBefore(SolvedSystem):
    def solve(self, system, constants):
        return torch.linalg.solve_triangular(system.mT, constants.unsqueeze(-1), upper=False).squeeze(-1)


@bad(ROLE, "solved_system", "lambda is kept below one, so that its share never vanishes", RULE)
class LambdaKeptBelowOne(SolvedSystem):
    def __call__(self, *case):
        return super().__call__(*case[:-1], min(case[-1], 0.99))


@bad(ROLE, "solved_system", "the share of next values is 1 - gamma * lambda", RULE)
class ShareOfTheProduct(SolvedSystem):
    def constants(self, r, next_value, stops, gamma, lam):
        return super().constants(r, next_value, stops, gamma, gamma * lam)


@bad(ROLE, "solved_system", "the first step of a row is left with its own reward and next value", RULE)
class FirstStepLeftOut(SolvedSystem):
    def system(self, stops, gamma, lam):
        system = super().system(stops, gamma, lam)
        system[:, 0, 1:] = 0.0
        return system


@bad(ROLE, "solved_system", "the return that one call leaves at the rows' start goes on at the next one's end", RULE)
class GoesOnOverCalls(SolvedSystem):
    left: Any = None

    def __call__(self, r, values, following, ends, cut, *others):
        if self.left is not None and len(self.left) == len(r):
            following = following.clone()
            following[:, -1] = torch.where(cut[:, -1], following[:, -1], self.left)
        found = super().__call__(r, values, following, ends, cut, *others)
        self.left = found[:, 0]
        return found


@bad(ROLE, "solved_system", "a batch of one row comes back without its axis", RULE)
class OneRowLosesItsAxis(SolvedSystem):
    def solve(self, system, constants):
        return super().solve(system, constants).squeeze(0)


@bad(ROLE, "backups_of_the_whole_batch", "one backup less than asked for, but one at least", RULE)
class OneBackupLess(BackupsOfTheWholeBatch):
    def count(self, steps, T):
        return min(max(int(steps) - 1, 1), T)


@bad(ROLE, "backups_of_the_whole_batch", "as many backups at most as there are steps between first and last", RULE)
class StepsBetweenFirstAndLast(BackupsOfTheWholeBatch):
    def count(self, steps, T):
        return min(int(steps), T - 1)


@bad(ROLE, "backups_of_the_whole_batch", "five steps at most", RULE)
class FiveStepsAtMost(BackupsOfTheWholeBatch):
    def count(self, steps, T):
        return min(super().count(steps, T), 5)


@bad(ROLE, "backups_of_the_whole_batch", "a return of one step does not look at flags", RULE)
class OneStepForgetsTheEnd(BackupsOfTheWholeBatch):
    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        if lam == 1:
            return r + gamma * following
        return super().__call__(r, values, following, ends, cut, mask, gamma, lam)


@bad(ROLE, "mixture_less_value_in_single", "the longest return has its share of an endless mixture only", RULE)
class WeightsThatDoNotAddUp(MixtureLessValueInSingle):
    def weights(self, longest, lam):
        return [(1 - lam) * lam**k for k in range(longest)] if longest > 1 else [1.0]


@bad(ROLE, "mixture_less_value_in_single", "an episode is as long as its flag's place says, none being the first", RULE)
class NoFlagReadsAsTheFirst(MixtureLessValueInSingle):
    def lengths(self, ends, cut, mask):
        return (ends | cut).int().argmax(1) + 1


@bad(ROLE, "mixture_less_value_in_single", "all rows are as long as the longest episode", RULE)
class AsLongAsTheLongest(MixtureLessValueInSingle):
    def lengths(self, ends, cut, mask):
        return mask.sum(1).max().expand(len(mask))


@bad(ROLE, "mixture_less_value_in_single", "the baseline is the next state's value", RULE)
class LessTheNextValue(MixtureLessValueInSingle):
    def less(self, mixture, values, following):
        return mixture - following


@bad(ROLE, "mixture_less_value_in_single", "lambda's powers are counted from one", RULE)
class PowersFromOne(MixtureLessValueInSingle):
    def weights(self, longest, lam):
        weights = [(1 - lam) * lam ** (k + 1) for k in range(longest - 1)]
        return [*weights, 1 - sum(weights)]


@bad(ROLE, "queue_of_steps", "the window's first step tells whether it ends", RULE)
class FlagOfTheFirstStep(QueueOfSteps):
    def value(self, window, gamma):
        *others, (reward, following, _) = window
        return super().value([*others, (reward, following, window[0][2])], gamma)


@bad(ROLE, "queue_of_steps", "rewards within the window are summed without a discount", RULE)
class RewardsWithoutDiscount(QueueOfSteps):
    def value(self, window, gamma):
        tail = 0.0 if window[-1][2] else gamma ** len(window) * window[-1][1]
        return sum(reward for reward, _, _ in window) + tail


@bad(ROLE, "queue_of_steps", "the value behind the window is discounted once, however long it is", RULE)
class TailDiscountedOnce(QueueOfSteps):
    def value(self, window, gamma):
        tail = 0.0 if window[-1][2] else gamma * window[-1][1]
        return sum(gamma**k * step[0] for k, step in enumerate(window)) + tail


@bad(ROLE, "queue_of_steps", "the value behind a shorter window is discounted by the steps asked for", RULE)
class DiscountOfAFullWindow(QueueOfSteps):
    def queue(self, steps):
        self.steps = int(steps)
        return super().queue(steps)

    def value(self, window, gamma):
        tail = 0.0 if window[-1][2] else gamma**self.steps * window[-1][1]
        return sum(gamma**k * step[0] for k, step in enumerate(window)) + tail


@bad(ROLE, "queue_of_steps", "steps that wait as an episode stops come out last first", RULE)
class WaitingStepsInReverse(QueueOfSteps):
    def flushed(self, queue, gamma):
        return super().flushed(queue, gamma)[::-1]


@bad(ROLE, "queue_of_steps", "steps that wait as an episode stops all get the estimate of the first", RULE)
class WaitingStepsAreAlike(QueueOfSteps):
    def flushed(self, queue, gamma):
        return [self.value(list(queue), gamma)] * (len(queue) - 1)


@bad(ROLE, "queue_of_steps", "an episode that stops before its queue is full has estimates of 0", RULE)
class QueueNeverFull(QueueOfSteps):
    def row(self, steps, flags, gamma, count):
        found = super().row(steps, flags, gamma, count)
        places = [0, *(t + 1 for t, flag in enumerate(flags) if flag), len(steps)]
        for first, behind in pairwise(places):
            if behind - first < count:
                found[first:behind] = [0.0] * (behind - first)
        return found


BAD, GOOD = bad.targets(), good.targets()
