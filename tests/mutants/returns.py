"""Estimates of returns: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role return_estimator says.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]

good, bad = Collection(), Collection()


# --- measures: how far a factory's estimates are from the recursion, on random real numbers ---------------------------


@dataclass(frozen=True)
class Rows:
    """The arguments of one call."""

    rewards: Numbers
    values: Numbers
    next_values: Numbers
    terminated: Numbers
    truncated: Numbers
    mask: Numbers
    gamma: float
    lam: float


def rows_of(function: Any, kind: str, count: int = 8) -> list[Rows]:
    """Random rows of six time steps: `kind` says how episodes end, row, terminated or truncated."""
    generator = np.random.default_rng(23)
    rollout = getattr(function, "rows", "episode") == "rollout"
    made = []
    for _ in range(count):
        values = generator.normal(size=(4, 7))
        mask, ends = np.ones((4, 6), dtype=bool), np.zeros((4, 6), dtype=bool)
        if kind != "row":
            last = generator.integers(0, 6, 4)
            ends[np.arange(4), last] = True
            mask = mask if rollout else np.arange(6) <= last[:, None]
        following = values[:, 1:].copy()
        if rollout:
            following[ends] = generator.normal(size=ends.sum()) * 2
        lam = int(generator.integers(1, 5)) if estimate_of(function) == "n_step" else float(generator.uniform(0.1, 0.9))
        flags = [ends if name == kind else np.zeros_like(ends) for name in ("terminated", "truncated")]
        rewards = generator.normal(size=(4, 6)) * mask
        made.append(Rows(rewards, values[:, :-1], following, *flags, mask, float(generator.uniform(0.5, 0.95)), lam))
    return made


def estimate_of(function: Any) -> str:
    return getattr(function, "estimate", "lambda_return")


def answer(function: Any, rows: Rows) -> Numbers:
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    values = [getattr(rows, name) for name in Rows.__dataclass_fields__]
    handed = [torch.from_numpy(v.copy()) if torch_arrays and isinstance(v, np.ndarray) else v for v in values]
    return np.where(rows.mask, np.asarray(function(*handed), dtype=np.float64), 0.0)


def by_recursion(rows: Rows, estimate: str) -> Numbers:
    """The estimates, time step by time step, from the end of each row backwards."""
    y = np.zeros_like(rows.rewards)
    for b, t in np.ndindex(*y.shape):
        if rows.mask[b, t]:
            y[b, t] = onward(rows, b, t, int(rows.lam)) if estimate == "n_step" else blended(rows, b, t)
    return np.where(rows.mask, y - rows.values, 0.0) if estimate == "advantage" else y


def blended(rows: Rows, b: int, t: int) -> float:
    bootstrap = 0.0 if rows.terminated[b, t] else rows.next_values[b, t]
    if not (rows.terminated[b, t] or rows.truncated[b, t] or t + 1 == rows.rewards.shape[1]):
        bootstrap = (1 - rows.lam) * bootstrap + rows.lam * blended(rows, b, t + 1)
    return float(rows.rewards[b, t] + rows.gamma * bootstrap)


def onward(rows: Rows, b: int, t: int, steps: int) -> float:
    bootstrap = 0.0 if rows.terminated[b, t] else rows.next_values[b, t]
    over = rows.terminated[b, t] or rows.truncated[b, t] or t + 1 == rows.rewards.shape[1]
    if steps > 1 and not over:
        bootstrap = onward(rows, b, t + 1, steps - 1)
    return float(rows.rewards[b, t] + rows.gamma * bootstrap)


def distance(kind: str, **fixed: Any) -> Any:
    """Measure the largest error; `fixed` sets gamma or lambda."""

    def amount(factory: Factory) -> float:
        function = factory()
        estimate = estimate_of(function)
        worst = 0.0
        for rows in rows_of(function, kind):
            own = replace(rows, **{name: value[estimate == "n_step"] for name, value in fixed.items()})
            worst = max(worst, float(np.abs(answer(function, own) - by_recursion(own, estimate)).max()))
        return worst

    return amount


def limits(factory: Factory) -> float:
    return max(distance("row", lam=pair)(factory) for pair in ((0.0, 1), (1.0, 6)))


def constants(factory: Factory) -> float:
    """By how much a constant value with its own rewards is missed."""
    function, worst = factory(), 0.0
    for rows in rows_of(function, "row"):
        flat = np.full(rows.rewards.shape, 3.0)
        own = replace(rows, rewards=flat * (1 - rows.gamma), values=flat, next_values=flat)
        due = 0.0 if estimate_of(function) == "advantage" else 3.0
        worst = max(worst, float(np.abs(answer(function, own) - due).max()))
    return worst


def leakage(factory: Factory) -> float:
    """By how much what follows an episode's first end counts."""
    function, worst = factory(), 0.0
    rollout = getattr(function, "rows", "episode") == "rollout"
    for kind in ("terminated", "truncated"):
        own = kind == "truncated" and not rollout  # the value of the last state stands in the first padded time step
        for rows in rows_of(function, kind):
            last = (rows.terminated | rows.truncated).argmax(axis=1)
            after = np.arange(6) > last[:, None]
            rewards = rows.rewards + 4.0 * after
            values = rows.values - 3.0 * (np.arange(6) > last[:, None] + own)
            following = rows.next_values - 3.0 * after
            if kind == "terminated":
                following[rows.terminated] += 2.0
            other = replace(rows, rewards=rewards, values=values, next_values=following)
            moves = np.abs(answer(function, rows) - answer(function, other))
            worst = max(worst, float(moves[~after].max()))
    return worst


def row_share(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for rows in rows_of(function, "row"):
        other = replace(rows, rewards=np.concatenate([rows.rewards[:1], 1 - rows.rewards[1:]]))
        worst = max(worst, float(np.abs(answer(function, rows) - answer(function, other))[0].max()))
    return worst


def unsteadiness(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for rows in rows_of(function, "row"):
        first = answer(function, rows)
        answer(function, replace(rows, rewards=rows.rewards + 1))
        worst = max(worst, float(np.abs(answer(function, rows) - first).max()))
    return worst


MEASURES = {
    "ret.views": distance("row"),
    "ret.limits": limits,
    "ret.const": constants,
    "ret.terminal": distance("terminated"),
    "ret.truncation": distance("truncated"),
    "ret.padding": leakage,
    "ret.rows": row_share,
    "ret.repeatable": unsteadiness,
}


def wrong(part: str) -> Violation:
    return Violation(f"ret.{part}", MEASURES[f"ret.{part}"])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("return_estimator", "", "TD(lambda) returns, from the end backwards.")
class Backward:
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        y = np.zeros_like(rewards)
        later = self.last(values, next_values)
        for t in reversed(range(rewards.shape[1])):
            later = y[:, t] = self.step(rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, later)
        return y

    def last(self, values, next_values):
        return next_values[:, -1]

    def step(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, later):
        value = next_values[:, t]
        return rewards[:, t] + gamma * ~terminated[:, t] * self.blend(value, later, truncated[:, t], lam)

    def blend(self, value, later, cut, lam):
        return np.where(cut, value, (1 - lam) * value + lam * later)


@good("return_estimator", "", "The same for episode after episode in one row.")
class BackwardRollout(Backward):
    rows = "rollout"


@good("return_estimator", "", "TD(lambda) returns by the forward view, as a weighted sum of m-step returns.")
class Forward:
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        y = np.zeros_like(rewards)
        for b, t in np.ndindex(*rewards.shape):
            over = np.flatnonzero((terminated | truncated)[b, t:])
            left = over[0] + 1 if len(over) else rewards.shape[1] - t
            returns = [self.partial(b, t, m, rewards, next_values, terminated, gamma) for m in range(1, left + 1)]
            y[b, t] = np.dot(self.weights(left, lam), returns)
        return y

    def partial(self, b, t, m, rewards, next_values, terminated, gamma):
        discounts = gamma ** np.arange(m)
        bootstrap = 0.0 if terminated[b, t + m - 1] else next_values[b, t + m - 1]
        return discounts @ rewards[b, t : t + m] + gamma**m * bootstrap

    def weights(self, left, lam):
        weights = (1 - lam) * lam ** np.arange(left)
        weights[-1] = lam ** (left - 1)
        return weights


@good("return_estimator", "", "GAE, from the end backwards, for episode after episode.")
class Advantage:
    estimate = "advantage"
    rows = "rollout"

    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        advantages = np.zeros_like(rewards)
        running = np.zeros(len(rewards))
        for t in reversed(range(rewards.shape[1])):
            delta = self.delta(rewards[:, t], values[:, t], next_values[:, t], terminated[:, t], truncated[:, t], gamma)
            goes_on = self.goes_on(terminated[:, t], truncated[:, t])
            running = advantages[:, t] = delta + self.decay(gamma, lam) * goes_on * running
        return self.finished(advantages, mask)

    def delta(self, reward, value, following, terminated, truncated, gamma):
        return reward + gamma * ~terminated * following - value

    def goes_on(self, terminated, truncated):
        return ~(terminated | truncated)

    def decay(self, gamma, lam):
        return gamma * lam

    def finished(self, advantages, mask):
        return advantages


@good("return_estimator", "", "GAE of padded episodes, where the mask ends the recursion.")
class AdvantageOfEpisodes(Advantage):
    rows = "episode"

    def finished(self, advantages, mask):
        return advantages * mask


@good("return_estimator", "", "GAE in torch and single precision, as TD(lambda) returns less the values.")
class SinglePrecision:
    estimate = "advantage"
    arrays = "torch"

    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        later, backwards = next_values[:, -1].float(), []
        for t in reversed(range(rewards.shape[1])):
            value = next_values[:, t].float()
            blend = torch.where(truncated[:, t], value, torch.lerp(value, later, lam))
            later = rewards[:, t].float() + gamma * torch.where(terminated[:, t], 0.0, blend)
            backwards.append(later)
        return torch.stack(backwards[::-1], dim=1) - values.float()


@good("return_estimator", "", "n-step returns, as a sum of discounted rewards and a bootstrap.")
class Steps:
    estimate = "n_step"

    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, steps):
        y = np.zeros_like(rewards)
        for b, t in np.ndindex(*rewards.shape):
            total, discount = 0.0, 1.0
            for k in range(t, min(t + self.length(steps), rewards.shape[1])):
                total += discount * rewards[b, k]
                discount *= gamma
                if self.over(terminated[b, k], truncated[b, k]):
                    break
            y[b, t] = total + self.bootstrap(discount, gamma) * (not terminated[b, k]) * next_values[b, k]
        return y

    def length(self, steps):
        return steps

    def over(self, terminated, truncated):
        return terminated or truncated

    def bootstrap(self, discount, gamma):
        return discount


@good("return_estimator", "", "n-step returns of rollouts.")
class StepsOfRollouts(Steps):
    rows = "rollout"


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("return_estimator", "backward", "The share (1 - lambda) is forgotten.", wrong("views"))
class ShareForgotten(Backward):
    def blend(self, value, later, cut, lam):
        return np.where(cut, value, value + lam * later)


@bad("return_estimator", "backward", "lambda and (1 - lambda) are exchanged.", wrong("limits"))
class SharesExchanged(Backward):
    def blend(self, value, later, cut, lam):
        return np.where(cut, value, lam * value + (1 - lam) * later)


@bad("return_estimator", "backward", "The recursion starts from zero at the end of the row.", wrong("views"))
class StartsFromZero(Backward):
    def last(self, values, next_values):
        return np.zeros(len(next_values))


@bad("return_estimator", "backward", "The recursion starts from the value before the last state.", wrong("views"))
class StartsOneEarly(Backward):
    def last(self, values, next_values):
        return values[:, -1]


@bad("return_estimator", "backward", "The value of the state itself stands in for the next one's.", wrong("views"))
class OwnValue(Backward):
    def step(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, later):
        return super().step(rewards, values, values, terminated, truncated, mask, gamma, lam, t, later)


@bad("return_estimator", "backward", "The discount is applied twice to the returns that follow.", wrong("const"))
class DiscountTwice(Backward):
    def step(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, later):
        return super().step(rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, gamma * later)


@bad("return_estimator", "backward", "The terminal flag is ignored.", wrong("terminal"))
class TerminalIgnored(Backward):
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        never = np.zeros_like(terminated)
        return super().__call__(rewards, values, next_values, never, truncated | terminated, mask, gamma, lam)


@bad("return_estimator", "backward", "The terminal flag is read one time step late.", wrong("terminal"))
class TerminalLate(Backward):
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        late = np.roll(terminated, 1, axis=1)
        late[:, 0] = False
        return super().__call__(rewards, values, next_values, late, truncated, mask, gamma, lam)


@bad("return_estimator", "backward", "A cut ends the episode like a terminal state.", wrong("truncation"))
class CutIsTerminal(Backward):
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        ends = terminated | truncated
        return super().__call__(rewards, values, next_values, ends, truncated, mask, gamma, lam)


@bad(
    "return_estimator", "backward", "A cut is not noticed: the recursion runs on into the padding.", wrong("truncation")
)
class CutUnnoticed(Backward):
    def blend(self, value, later, cut, lam):
        return (1 - lam) * value + lam * later


@bad("return_estimator", "backward", "The mask multiplies rewards alone, and the recursion runs on.", wrong("padding"))
class MaskOnRewards(Backward):
    def step(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam, t, later):
        blend = self.blend(next_values[:, t], later, np.zeros_like(truncated[:, t]), lam)
        return rewards[:, t] * mask[:, t] + gamma * ~terminated[:, t] * blend


@bad(
    "return_estimator",
    "backward_rollout",
    "The next episode's first value is taken for that of a cut.",
    wrong("padding"),
)
class NextEpisodesValue(BackwardRollout):
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        shifted = np.concatenate([values[:, 1:], next_values[:, -1:]], axis=1)
        return super().__call__(rewards, values, shifted, terminated, truncated, mask, gamma, lam)


@bad("return_estimator", "forward", "The longest return has no more weight than its place gives it.", wrong("const"))
class TailForgotten(Forward):
    def weights(self, left, lam):
        return (1 - lam) * lam ** np.arange(left)


@bad(
    "return_estimator",
    "forward",
    "The weights are scaled to add up to 1 instead of filling up the last.",
    wrong("limits"),
)
class WeightsScaled(Forward):
    def weights(self, left, lam):
        weights = (lam + 1e-3) ** np.arange(left)
        return weights / weights.sum()


@bad("return_estimator", "forward", "The bootstrap is discounted once too little.", wrong("views"))
class BootstrapOneShort(Forward):
    def partial(self, b, t, m, rewards, next_values, terminated, gamma):
        bootstrap = 0.0 if terminated[b, t + m - 1] else next_values[b, t + m - 1]
        return gamma ** np.arange(m) @ rewards[b, t : t + m] + gamma ** (m - 1) * bootstrap


@bad("return_estimator", "forward", "The mean reward of all rows is subtracted first.", wrong("rows"))
class RewardsCentred(Forward):
    def __call__(self, rewards, values, next_values, terminated, truncated, mask, gamma, lam):
        return super().__call__(
            rewards - rewards.mean(axis=0), values, next_values, terminated, truncated, mask, gamma, lam
        )


@bad("return_estimator", "advantage", "lambda is forgotten.", wrong("views"))
class LambdaForgotten(Advantage):
    def decay(self, gamma, lam):
        return gamma


@bad("return_estimator", "advantage", "gamma is forgotten in the decay.", wrong("limits"))
class GammaForgotten(Advantage):
    def decay(self, gamma, lam):
        return lam


@bad("return_estimator", "advantage", "The recursion runs from one episode into the next.", wrong("padding"))
class RunsOn(Advantage):
    def goes_on(self, terminated, truncated):
        return 1.0


@bad("return_estimator", "advantage", "Only terminal states stop the recursion, not cuts.", wrong("truncation"))
class RunsOverCuts(Advantage):
    def goes_on(self, terminated, truncated):
        return ~terminated


@bad("return_estimator", "advantage", "A cut counts as terminal in the temporal difference.", wrong("truncation"))
class CutDelta(Advantage):
    def delta(self, reward, value, following, terminated, truncated, gamma):
        return super().delta(reward, value, following, terminated | truncated, truncated, gamma)


@bad("return_estimator", "advantage", "The value is not subtracted.", wrong("const"))
class ValueKept(Advantage):
    def delta(self, reward, value, following, terminated, truncated, gamma):
        return super().delta(reward, 0.0, following, terminated, truncated, gamma)


@bad("return_estimator", "advantage", "The discount stands at the value and not at the next one.", wrong("views"))
class DiscountMisplaced(Advantage):
    def delta(self, reward, value, following, terminated, truncated, gamma):
        return reward + ~terminated * following - gamma * value


@bad("return_estimator", "advantage_of_episodes", "Advantages are normalised over the batch.", wrong("rows"))
class Normalised(AdvantageOfEpisodes):
    def finished(self, advantages, mask):
        return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


@bad("return_estimator", "steps", "One step too many.", wrong("limits"))
class OneTooMany(Steps):
    def length(self, steps):
        return steps + 1


@bad("return_estimator", "steps", "The bootstrap is discounted once, whatever the number of steps.", wrong("views"))
class BootstrapDiscountedOnce(Steps):
    def bootstrap(self, discount, gamma):
        return gamma


@bad("return_estimator", "steps", "The bootstrap is left out.", wrong("const"))
class NoBootstrap(Steps):
    def bootstrap(self, discount, gamma):
        return 0.0


@bad("return_estimator", "steps_of_rollouts", "Rewards are added up across the end of an episode.", wrong("terminal"))
class AcrossEnds(StepsOfRollouts):
    def over(self, terminated, truncated):
        return truncated


@bad("return_estimator", "backward", "The last value of the call before is blended in.", wrong("repeatable"))
class Remembering(Backward):
    def __init__(self) -> None:
        self.kept = 0.0

    def last(self, values, next_values):
        before, self.kept = self.kept, float(next_values[0, -1])
        return next_values[:, -1] + before


BAD = bad.targets()
GOOD = good.targets()
