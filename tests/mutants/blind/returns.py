"""Estimates of returns and advantages."""

from typing import Any

import numpy as np
import torch

from ..target import Collection, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind

good, bad = Collection(), Collection()
ROLE = "return_estimator"
SIZES = ((4, 6), (1, 1), (3, 4), (1, 5), (5, 2), (2, 7), (2, 1), (3, 5))


def last_of(t: int, ends: Array, cut: Array, mask: Array) -> bool:
    """Whether the episode, or what is known of it, stops behind step t of a row."""
    return bool(ends[t] or cut[t] or t + 1 == len(ends) or not mask[t + 1])


def n_step_return(t: int, steps: int, row: tuple[Array, ...], gamma: float) -> float:
    """Up to so many rewards, then the value of the state reached, unless it is terminal."""
    r, _, following, ends, cut, mask = row
    total, power = 0.0, 1.0
    for k in range(t, len(r)):
        total += power * r[k]
        power *= gamma
        if last_of(k, ends, cut, mask) or k + 1 - t == steps:
            return total + (0.0 if ends[k] else power * following[k])
    raise AssertionError("a row's last step is the last")


def rule(function: Any, *case: Any) -> Array:
    """The forward view: the mixture of all n-step returns, the longest with the weight that remains."""
    *arrays, gamma, lam = case
    estimate = getattr(function, "estimate", "lambda_return")
    y = np.zeros(arrays[0].shape)
    for b, t in np.ndindex(*y.shape):
        row = tuple(array[b] for array in arrays)
        if not row[5][t]:
            continue
        if estimate == "n_step":
            y[b, t] = n_step_return(t, lam, row, gamma)
            continue
        longest = next(k for k in range(t, len(row[0])) if last_of(k, *row[3:])) + 1 - t
        weights = [(1 - lam) * lam ** (k - 1) for k in range(1, longest)] + [lam ** (longest - 1)]
        y[b, t] = sum(w * n_step_return(t, k + 1, row, gamma) for k, w in enumerate(weights))
        y[b, t] -= row[1][t] if estimate == "advantage" else 0.0
    return y


def episodes(generator: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Flags and masks of one episode a row, which ends or is cut at its last step."""
    ends, cut, mask = np.zeros((3, *shape), dtype=bool)
    for b in range(shape[0]):
        length = int(generator.integers(1, shape[1] + 1))
        mask[b, :length] = True
        kind = generator.integers(3)
        ends[b, length - 1], cut[b, length - 1] = kind != 1, kind != 0
    return ends, cut, mask


def cases(function: Any) -> list[Arguments]:
    generator = np.random.default_rng(11)
    rollout = getattr(function, "rows", "episode") == "rollout"
    made = []
    for k, shape in enumerate(SIZES * 6):
        rewards, following, values = generator.normal(size=(3, *shape)) * 3
        if rollout:
            ends, cut = generator.random((2, *shape)) < 0.25
            mask = np.ones(shape, dtype=bool)
        else:
            ends, cut, mask = episodes(generator, shape)
        goes_on = mask[:, 1:] & ~(ends | cut)[:, :-1]
        following[:, :-1][goes_on] = values[:, 1:][goes_on]
        lam: Any = (0.0, 0.5, 1.0, 0.8)[k % 4]
        if getattr(function, "estimate", "") == "n_step":
            lam = (1, 2, 3, 9)[k % 4]
        gamma = (1.0, 0.5, 0.9, 0.0, 0.8)[k % 5]
        made.append((rewards, values, following, ends, cut, mask, gamma, lam))
    return made


def off_at_steps(factory: Any) -> float:
    """The largest distance from the forward view, padding apart."""
    function, worst = factory(), 0.0
    for case in cases(function):
        answer = as_array(function(*[in_kind(function, value) for value in case]))
        expected, mask = rule(function, *case), case[5]
        worst = max(worst, gap(answer[mask], expected[mask]) if answer.shape == mask.shape else NEVER)
    return worst


def writes(factory: Any) -> float:
    function, worst = factory(), 0.0
    for case in cases(function):
        handed = [in_kind(function, value) for value in case]
        function(*handed)
        worst = max([worst, *(gap(new, as_array(old)) for new, old in zip(handed[:6], case[:6], strict=True))])
    return worst


RULE = Violation("the estimate is the forward view's", off_at_steps)
PURE = Violation("what is handed over stays as it is", writes)


@good(ROLE, "", "numpy; GAE of rollouts by the backward recursion")
class BackwardGae:
    estimate, rows = "advantage", "rollout"

    def deltas(self, r, values, following, ends, cut, gamma):
        return r + gamma * np.where(ends, 0.0, following) - values

    def carries(self, ends, cut):
        return ~(ends | cut)

    def decay(self, gamma, lam):
        return gamma * lam

    def finish(self, advantages):
        return advantages

    def start(self, deltas):
        return np.zeros(len(deltas))

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        deltas, carries = self.deltas(r, values, following, ends, cut, gamma), self.carries(ends, cut)
        running, found = self.start(deltas), []
        for t in range(r.shape[1] - 1, -1, -1):
            running = deltas[:, t] + self.decay(gamma, lam) * carries[:, t] * running
            found.append(running)
        return self.finish(np.stack(found[::-1], axis=1))


@good(ROLE, "", "torch; lambda-returns of padded episodes, backwards from the last filled step")
class BackwardLambda:
    arrays = "torch"

    def bootstrap(self, values, following, ends):
        return following.masked_fill(ends, 0.0)

    def cut_off(self, ends, cut, mask):
        behind = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
        return ends | cut | ~behind

    def mixed(self, value, later, lam):
        return (1 - lam) * value + lam * later

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        bootstrap, stops = self.bootstrap(values, following, ends), self.cut_off(ends, cut, mask)
        returns = torch.zeros_like(r)
        later = torch.zeros_like(r[:, 0])
        for t in reversed(range(r.shape[1])):
            mixed = torch.where(stops[:, t], bootstrap[:, t], self.mixed(bootstrap[:, t], later, lam))
            later = r[:, t] + gamma * mixed
            returns[:, t] = later
        return returns


@good(ROLE, "", "plain Python; n-step returns of rollouts, summed forwards")
class ForwardSteps:
    estimate, rows = "n_step", "rollout"

    def horizon(self, t: int, steps: int, T: int) -> int:
        return min(t + int(steps), T)

    def stops(self, ends: bool, cut: bool) -> bool:
        return ends or cut

    def tail(self, k: int, t: int, following: float, ends: bool, gamma: float) -> float:
        return 0.0 if ends else gamma ** (k + 1 - t) * following

    def one(self, t, r, following, ends, cut, gamma, steps):
        total, last = 0.0, t
        for k in range(t, self.horizon(t, steps, len(r))):
            total, last = total + gamma ** (k - t) * r[k], k
            if self.stops(ends[k], cut[k]):
                break
        return total + self.tail(last, t, following[last], ends[last], gamma)

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        return [
            [self.one(t, r[b], following[b], ends[b], cut[b], gamma, lam) for t in range(r.shape[1])]
            for b in range(r.shape[0])
        ]


@good(ROLE, "", "numpy; GAE of episodes as a product with a matrix of decays, without any recursion")
class GaeByMatrix:
    estimate = "advantage"

    def weights(self, stops, gamma, lam):
        B, T = stops.shape
        number = np.cumsum(np.concatenate([np.zeros((B, 1), dtype=int), stops[:, :-1]], axis=1), axis=1)
        distance = np.arange(T)[None, :] - np.arange(T)[:, None]
        decay = np.where(distance >= 0, float(gamma * lam) ** np.maximum(distance, 0), 0.0)
        return decay[None] * (number[:, :, None] == number[:, None, :])

    def kept(self, mask):
        return mask

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        deltas = (r + gamma * (1 - ends) * following - values) * self.kept(mask)
        return np.einsum("btk,bk->bt", self.weights(ends | cut, gamma, lam), deltas)


@good(ROLE, "", "torch in float32; the lambda-returns of rollouts as advantages plus values")
class GaePlusValuesInSingle:
    arrays, rows = "torch", "rollout"

    def kind(self, tensor):
        return tensor.float()

    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        r, values, following = self.kind(r), self.kind(values), self.kind(following)
        deltas = r + gamma * following * ends.logical_not() - values
        advantage, found = torch.zeros_like(r[:, 0]), [values[:, 0]] * r.shape[1]
        for t in range(r.shape[1] - 1, -1, -1):
            advantage = deltas[:, t] + (gamma * lam) * advantage * (ends | cut)[:, t].logical_not()
            found[t] = advantage + values[:, t]
        return torch.stack(found, dim=-1)


@bad(ROLE, "backward_gae", "the sum runs on over cuts: only terminal states end it", RULE)
class RunsOverCuts(BackwardGae):
    def carries(self, ends, cut):
        return ~ends


@bad(ROLE, "backward_gae", "the sum runs on over an episode's end: only cuts stop it", RULE)
class RunsOverEnds(BackwardGae):
    def carries(self, ends, cut):
        return ~cut


@bad(ROLE, "backward_gae", "the flags of the next time step stop the sum", RULE)
class FlagsOfNextStep(BackwardGae):
    def carries(self, ends, cut):
        stops = ends | cut
        return ~np.concatenate([stops[:, 1:], stops[:, -1:]], axis=1)


@bad(ROLE, "backward_gae", "next values are the values one step on, the restart's behind a cut", RULE)
class ValueOfTheRestart(BackwardGae):
    def deltas(self, r, values, following, ends, cut, gamma):
        rolled = np.concatenate([values[:, 1:], following[:, -1:]], axis=1)
        return super().deltas(r, values, rolled, ends, cut, gamma)


@bad(ROLE, "backward_gae", "the last step of a rollout does not bootstrap", RULE)
class LastStepIsTerminal(BackwardGae):
    def deltas(self, r, values, following, ends, cut, gamma):
        following = following.copy()
        following[:, -1] = 0.0
        return super().deltas(r, values, following, ends, cut, gamma)


@bad(ROLE, "backward_gae", "lambda = 1 means plain returns, which do not bootstrap at a cut", RULE)
class PlainReturnsForLambdaOne(BackwardGae):
    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        return super().__call__(r, values, following, ends | cut if lam == 1 else ends, cut, mask, gamma, lam)


@bad(ROLE, "backward_gae", "lambda = 0 is taken for none given, and becomes 0.95", RULE)
class NoLambdaGiven(BackwardGae):
    def decay(self, gamma, lam):
        return gamma * (lam or 0.95)


@bad(ROLE, "backward_gae", "each advantage has the mean of all taken away", RULE)
class Centred(BackwardGae):
    def finish(self, advantages):
        return advantages - advantages.mean()


@bad(ROLE, "backward_gae", "discounts by lambda and mixes by gamma", RULE)
class GammaAndLambdaSwapped(BackwardGae):
    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        return super().__call__(r, values, following, ends, cut, mask, lam, gamma)


@bad(ROLE, "backward_gae", "the running sum of the row before is the start of the next", RULE)
class RowsInOneLine(BackwardGae):
    def __call__(self, *case):
        r, *others, gamma, lam = case
        lines = [array.reshape(1, -1) for array in (r, *others)]
        return super().__call__(*lines, gamma, lam).reshape(r.shape)


@bad(ROLE, "backward_gae", "clears the next values of terminal states in the array that it was handed", PURE)
class ClearsNextValues(BackwardGae):
    def deltas(self, r, values, following, ends, cut, gamma):
        following *= ~ends
        return super().deltas(r, values, following, ends, cut, gamma)


@bad(ROLE, "backward_lambda", "mixes the value of the state itself, not of the next", RULE)
class ValueOfTheStateItself(BackwardLambda):
    def bootstrap(self, values, following, ends):
        return values.masked_fill(ends, 0.0)


@bad(ROLE, "backward_lambda", "an episode that is cut has no value behind it", RULE)
class CutIsTerminal(BackwardLambda):
    def __call__(self, r, values, following, ends, cut, mask, gamma, lam):
        return super().__call__(r, values, following, ends | cut, cut, mask, gamma, lam)


@bad(ROLE, "backward_lambda", "the weights of the next value and the later return change places", RULE)
class WeightsSwapped(BackwardLambda):
    def mixed(self, value, later, lam):
        return lam * value + (1 - lam) * later


@bad(ROLE, "backward_lambda", "an episode that fills its row and is cut mixes in a return of 0 behind it", RULE)
class NothingBehindAFullRow(BackwardLambda):
    def cut_off(self, ends, cut, mask):
        stops = super().cut_off(ends, cut, mask)
        stops[:, -1] = ends[:, -1]
        return stops


@bad(ROLE, "forward_steps", "one reward more than steps were asked for", RULE)
class OneStepMore(ForwardSteps):
    def horizon(self, t, steps, T):
        return min(t + int(steps) + 1, T)


@bad(ROLE, "forward_steps", "the value behind the last step is discounted once too little", RULE)
class TailDiscountedLess(ForwardSteps):
    def tail(self, k, t, following, ends, gamma):
        return super().tail(k - 1, t, following, ends, gamma)


@bad(ROLE, "forward_steps", "goes on behind a cut, into the next episode", RULE)
class StepsOverCuts(ForwardSteps):
    def stops(self, ends, cut):
        return ends


@bad(ROLE, "forward_steps", "a window that is shorter than asked for, at the row's end, has no value behind it", RULE)
class ShortWindowHasNoTail(ForwardSteps):
    def one(self, t, r, following, ends, cut, gamma, steps):
        short = t + steps > len(r)
        return super().one(t, r, following * (not short), ends, cut, gamma, steps)


@bad(ROLE, "gae_by_matrix", "the errors of padding are counted, and no flag stops the sum", RULE)
class CountsPadding(GaeByMatrix):
    def weights(self, stops, gamma, lam):
        return super().weights(np.zeros_like(stops), gamma, lam)

    def kept(self, mask):
        return np.ones_like(mask)


@bad(ROLE, "gae_by_matrix", "the decays are in half precision", RULE)
class DecaysInHalf(GaeByMatrix):
    def weights(self, stops, gamma, lam):
        return super().weights(stops, gamma, lam).astype(np.float16)


@bad(ROLE, "gae_plus_values_in_single", "bfloat16", RULE)
class GaeInBrainFloat(GaePlusValuesInSingle):
    def kind(self, tensor):
        return tensor.bfloat16()

    def __call__(self, *case):
        return super().__call__(*case).double()


BAD, GOOD = bad.targets(), good.targets()
