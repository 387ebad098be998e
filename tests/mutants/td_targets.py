"""One-step TD targets: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role td_target says.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]

good, bad = Collection(), Collection()


# --- measures: how far a factory's targets are from the rule, on random real numbers ----------------------------------


@dataclass(frozen=True)
class Batch:
    """The arguments of one call."""

    rewards: Numbers
    terminated: Numbers
    truncated: Numbers
    next_values: Numbers
    online_values: Numbers
    available: Numbers
    gamma: float


def batches(kind: str, common: bool, actions: int | None, count: int = 12) -> list[Batch]:
    """Random batches: `kind` is running, terminal, truncated or masked."""
    generator = np.random.default_rng(11)
    made = []
    for _ in range(count):
        shape = (6, 3, actions or int(generator.integers(2, 5)))
        rewards = generator.normal(size=(6, 1 if common else 3)) * np.ones((6, 3))
        mask = generator.random(shape) < 0.5 if kind == "masked" else np.ones(shape, dtype=bool)
        mask[..., -1] |= ~mask.any(-1)
        flags = generator.random(6) < 0.5
        never = np.zeros(6, dtype=bool)
        values = generator.normal(size=(2, *shape)) * 3 - 1
        made.append(
            Batch(
                rewards,
                flags if kind == "terminal" else never,
                flags & (generator.random(6) < 0.5) if kind == "terminal" else flags if kind == "truncated" else never,
                *values,
                mask,
                float(generator.uniform(0.3, 0.99)),
            )
        )
    return made


def answer(function: Any, batch: Batch) -> Numbers:
    """What the target returns, its own kind of arrays seen to."""
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    values = [getattr(batch, name) for name in Batch.__dataclass_fields__]
    handed = [torch.from_numpy(v.copy()) if torch_arrays and isinstance(v, np.ndarray) else v for v in values]
    return np.asarray(function(*handed), dtype=np.float64)


def by_the_rule(batch: Batch, backup: str, sums: bool) -> Numbers:
    """The targets, number by number; no two random numbers tie."""
    y = np.zeros(batch.rewards.shape)
    for b, i in np.ndindex(*y.shape):
        free = np.flatnonzero(batch.available[b, i])
        order = batch.online_values if backup == "double" else batch.next_values
        best = 0 if backup == "value" else free[np.argmax(order[b, i, free])]
        y[b, i] = 0 if batch.terminated[b] else batch.gamma * batch.next_values[b, i, best]
    return batch.rewards[:, 0] + y.sum(1) if sums else batch.rewards + y


def settings_of(function: Any) -> tuple[str, bool]:
    return getattr(function, "backup", "max"), getattr(function, "mixing", "none") == "sum"


def cases(function: Any, kind: str) -> list[Batch]:
    backup, sums = settings_of(function)
    return batches(kind, sums, 1 if backup == "value" else None)


def distance(kind: str, part: str) -> Any:
    """Measure the largest error in the rows that `part` names: all, terminated or truncated."""

    def amount(factory: Factory) -> float:
        function, worst = factory(), 0.0
        for batch in cases(function, kind):
            rows = slice(None) if part == "all" else getattr(batch, part)
            error = np.abs(answer(function, batch) - by_the_rule(batch, *settings_of(function)))[rows]
            worst = max(worst, float(error.max(initial=0.0)))
        return worst

    return amount


def online_share(factory: Factory) -> float:
    """By how much y moves when the online values are stretched, in the same order."""
    function = factory()
    moves = [
        np.abs(answer(function, batch) - answer(function, replace(batch, online_values=3 * batch.online_values))).max()
        for batch in cases(function, "running")
    ]
    return float(max(moves))


def row_share(factory: Factory) -> float:
    """By how much the first rows move when the last is another."""
    function, worst = factory(), 0.0
    for batch in cases(function, "running"):
        rewards, ends, following = batch.rewards.copy(), batch.terminated.copy(), batch.next_values.copy()
        rewards[-1], following[-1], ends[-1] = rewards[-1] + 5, following[-1] - 7, True
        other = replace(batch, rewards=rewards, terminated=ends, next_values=following)
        worst = max(worst, float(np.abs(answer(function, batch) - answer(function, other))[:-1].max()))
    return worst


def shift_error(factory: Factory) -> float:
    """By how much a rise of 1 in all next values misses gamma times 1, or n times that."""
    function, worst = factory(), 0.0
    for batch in cases(function, "terminal"):
        rise = answer(function, replace(batch, next_values=batch.next_values + 1)) - answer(function, batch)
        due = batch.gamma * ~batch.terminated * (3 if settings_of(function)[1] else 1)
        worst = max(worst, float(np.abs(rise.T - due).max()))
    return worst


def unsteadiness(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for batch in cases(function, "running"):
        first = answer(function, batch)
        answer(function, replace(batch, rewards=batch.rewards + 1))
        worst = max(worst, float(np.abs(answer(function, batch) - first).max()))
    return worst


MEASURES = {
    "target.rule": distance("running", "all"),
    "target.available": distance("masked", "all"),
    "target.terminal": distance("terminal", "terminated"),
    "target.truncation": distance("truncated", "truncated"),
    "target.network": online_share,
    "target.rows": row_share,
    "target.shift": shift_error,
    "target.repeatable": unsteadiness,
}


def wrong(part: str) -> Violation:
    return Violation(f"target.{part}", MEASURES[f"target.{part}"])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("td_target", "", "Independent Q-learning: each agent's best available action.")
class OwnMaximum:
    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        best = self.best(next_values, online_values, available)
        return self.reward(rewards) + self.discount(gamma) * self.goes_on(terminated, truncated) * best

    def reward(self, rewards):
        return rewards

    def discount(self, gamma):
        return gamma

    def goes_on(self, terminated, truncated):
        return 1.0 - terminated[:, None]

    def best(self, next_values, online_values, available):
        return np.where(available, next_values, -np.inf).max(axis=-1)


@good("td_target", "", "Double Q-learning: the online network chooses, the target network values.")
class DoubleMaximum(OwnMaximum):
    backup = "double"

    def best(self, next_values, online_values, available):
        action = np.where(available, online_values, -np.inf).argmax(axis=-1)
        return np.take_along_axis(next_values, action[..., None], axis=-1)[..., 0]


@good("td_target", "", "Double Q-learning in which the last of several greedy actions counts.")
class DoubleLast(DoubleMaximum):
    def best(self, next_values, online_values, available):
        action = np.where(available, online_values, -np.inf)[..., ::-1].argmax(axis=-1)
        return np.take_along_axis(next_values[..., ::-1], action[..., None], axis=-1)[..., 0]


@good("td_target", "", "State values, as critics have them.")
class StateValue(OwnMaximum):
    backup = "value"

    def best(self, next_values, online_values, available):
        return next_values[..., 0]


@good("td_target", "", "VDN: the sum of the agents' maxima, and the common reward.")
class SummedMaximum(OwnMaximum):
    mixing = "sum"

    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        total = self.mix(self.best(next_values, online_values, available))
        return self.common(rewards) + self.discount(gamma) * self.goes_on(terminated, truncated)[:, 0] * total

    def mix(self, best):
        return best.sum(axis=1)

    def common(self, rewards):
        return rewards.mean(axis=1)


@good("td_target", "", "The common reward of VDN with double Q-learning.")
class SummedDouble(SummedMaximum):
    backup = "double"

    def best(self, next_values, online_values, available):
        return DoubleMaximum.best(self, next_values, online_values, available)


@good("td_target", "", "Torch in single precision, with a large negative number for unavailable actions.")
class SinglePrecision:
    arrays = "torch"

    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        best = self.masked(next_values.float(), available).amax(-1)
        return rewards.float() + gamma * (1 - terminated.float())[:, None] * best

    def masked(self, values, available):
        return values.masked_fill(~available, -9999999.0)


@good("td_target", "", "A plain loop over rows and agents that returns lists.")
class Loop:
    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        answer = []
        for row in range(len(rewards)):
            own = []
            for agent, reward in enumerate(rewards[row]):
                free = [value for value, ok in zip(next_values[row][agent], available[row][agent], strict=True) if ok]
                own.append(float(reward) if terminated[row] else float(reward + gamma * max(free)))
            answer.append(own)
        return answer


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("td_target", "own_maximum", "Terminal states bootstrap like any other.", wrong("terminal"))
class TerminalIgnored(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return np.ones((len(terminated), 1))


@bad("td_target", "own_maximum", "The terminal flag is that of the row before.", wrong("terminal"))
class TerminalLate(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return 1.0 - np.roll(terminated, 1)[:, None]


@bad("td_target", "own_maximum", "One terminal row ends the whole batch.", wrong("rows"))
class TerminalForAll(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return np.full((len(terminated), 1), 1.0 - terminated.any())


@bad("td_target", "own_maximum", "A cut transition counts as terminal.", wrong("truncation"))
class CutIsTerminal(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return 1.0 - (terminated | truncated)[:, None]


@bad("td_target", "own_maximum", "A transition that is cut bootstraps even where it is terminal.", wrong("terminal"))
class CutBeatsTerminal(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return 1.0 - (terminated & ~truncated)[:, None]


@bad("td_target", "own_maximum", "Only cut transitions stop the bootstrap.", wrong("terminal"))
class CutInsteadOfTerminal(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return 1.0 - truncated[:, None]


@bad("td_target", "own_maximum", "The flag is used the wrong way round.", wrong("rule"))
class FlagInverted(OwnMaximum):
    def goes_on(self, terminated, truncated):
        return 1.0 * terminated[:, None]


@bad("td_target", "own_maximum", "The discount is applied twice.", wrong("rule"))
class DiscountTwice(OwnMaximum):
    def discount(self, gamma):
        return gamma**2


@bad("td_target", "own_maximum", "The next values are not discounted.", wrong("rule"))
class NoDiscount(OwnMaximum):
    def discount(self, gamma):
        return 1.0


@bad("td_target", "own_maximum", "The reward is discounted with the values.", wrong("rule"))
class RewardDiscounted(OwnMaximum):
    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        best = self.best(next_values, online_values, available)
        return gamma * (rewards + self.goes_on(terminated, truncated) * best)


@bad("td_target", "own_maximum", "The online network values the next state.", wrong("network"))
class OnlineNetwork(OwnMaximum):
    def best(self, next_values, online_values, available):
        return super().best(online_values, next_values, available)


@bad("td_target", "own_maximum", "The larger of both networks counts.", wrong("network"))
class LargerOfBoth(OwnMaximum):
    def best(self, next_values, online_values, available):
        return super().best(np.maximum(next_values, online_values), online_values, available)


@bad("td_target", "double_maximum", "The online network chooses and values.", wrong("network"))
class DoubleOnlineTwice(DoubleMaximum):
    def best(self, next_values, online_values, available):
        return super().best(online_values, online_values, available)


@bad("td_target", "double_maximum", "The target network chooses and values.", wrong("rule"))
class DoubleTargetTwice(DoubleMaximum):
    def best(self, next_values, online_values, available):
        return super().best(next_values, next_values, available)


@bad("td_target", "double_maximum", "The greedy action is found before the mask is applied.", wrong("available"))
class DoubleBeforeMask(DoubleMaximum):
    def best(self, next_values, online_values, available):
        return super().best(next_values, online_values, np.ones_like(available))


@bad("td_target", "own_maximum", "The mask is forgotten.", wrong("available"))
class MaskForgotten(OwnMaximum):
    def best(self, next_values, online_values, available):
        return next_values.max(axis=-1)


@bad("td_target", "own_maximum", "Unavailable actions count as zero.", wrong("available"))
class MaskedToZero(OwnMaximum):
    def best(self, next_values, online_values, available):
        return (next_values * available).max(axis=-1)


@bad("td_target", "own_maximum", "The maximum runs over unavailable actions alone.", wrong("available"))
class MaskInverted(OwnMaximum):
    def best(self, next_values, online_values, available):
        hidden = np.where(available & ~available.all(-1, keepdims=True), -np.inf, next_values)
        return hidden.max(axis=-1)


@bad("td_target", "own_maximum", "The mean over the available actions stands in for the maximum.", wrong("rule"))
class MeanForMaximum(OwnMaximum):
    def best(self, next_values, online_values, available):
        return (next_values * available).sum(-1) / available.sum(-1)


@bad("td_target", "own_maximum", "All agents share the best value of any of them.", wrong("rule"))
class SharedMaximum(OwnMaximum):
    def best(self, next_values, online_values, available):
        own = super().best(next_values, online_values, available)
        return np.broadcast_to(own.max(axis=1, keepdims=True), own.shape)


@bad("td_target", "own_maximum", "Rewards are averaged over the agents.", wrong("rule"))
class RewardsAveraged(OwnMaximum):
    def reward(self, rewards):
        return np.broadcast_to(rewards.mean(axis=1, keepdims=True), rewards.shape)


@bad("td_target", "summed_maximum", "Rewards that are equal for all agents are added up.", wrong("rule"))
class CommonRewardAdded(SummedMaximum):
    def common(self, rewards):
        return rewards.sum(axis=1)


@bad("td_target", "summed_maximum", "The agents' maxima are averaged where they should be added.", wrong("rule"))
class MixedByMean(SummedMaximum):
    def mix(self, best):
        return best.mean(axis=1)


@bad("td_target", "summed_maximum", "One agent is left out of the sum.", wrong("rule"))
class FirstLeftOut(SummedMaximum):
    def mix(self, best):
        return best[:, 1:].sum(axis=1)


@bad("td_target", "state_value", "Values after the end are cleared only where they are positive.", wrong("terminal"))
class OnlyPositiveCleared(StateValue):
    def __call__(self, rewards, terminated, truncated, next_values, online_values, available, gamma):
        following = np.where(terminated[:, None], np.minimum(next_values[..., 0], 0.0), next_values[..., 0])
        return rewards + gamma * following


@bad("td_target", "state_value", "Rewards are normalised over the batch.", wrong("rows"))
class RewardsNormalised(StateValue):
    def reward(self, rewards):
        return (rewards - rewards.mean()) / (rewards.std() + 1e-5)


@bad("td_target", "own_maximum", "A negative next value is cut off at zero.", wrong("rule"))
class ValueClipped(OwnMaximum):
    def best(self, next_values, online_values, available):
        return np.maximum(super().best(next_values, online_values, available), 0.0)


@bad("td_target", "own_maximum", "Values are shrunk by a tenth before they are used.", wrong("shift"))
class ValuesShrunk(OwnMaximum):
    def best(self, next_values, online_values, available):
        return 0.9 * super().best(next_values, online_values, available)


@bad("td_target", "own_maximum", "Targets are smoothed over the calls.", wrong("repeatable"))
class Smoothed(OwnMaximum):
    def __init__(self) -> None:
        self.mean = 0.0

    def reward(self, rewards):
        self.mean += 0.5 * (float(rewards.mean()) - self.mean)
        return rewards - self.mean


BAD = bad.targets()
GOOD = good.targets()
