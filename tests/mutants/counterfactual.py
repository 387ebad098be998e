"""Counterfactual advantages: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the role counterfactual_advantage says.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]

good, bad = Collection(), Collection()


# --- measures, on random real numbers ---------------------------------------------------------------------------------


def batches(count: int = 10) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Random values, policies and actions."""
    generator = np.random.default_rng(31)
    made = []
    for _ in range(count):
        q = generator.normal(size=(4, 2, 3)) * 2
        policy = generator.dirichlet(np.ones(3), (4, 2))
        made.append((q, policy, generator.integers(0, 3, (4, 2))))
    return made


def answer(function: Any, *arguments: Numbers) -> Numbers:
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    handed = [torch.from_numpy(array.copy()) if torch_arrays else array.copy() for array in arguments]
    return np.asarray(function(*handed), dtype=np.float64)


def one_agents_action(function: Any, q: Numbers, policy: Numbers, actions: Numbers, b: int, i: int) -> Numbers:
    """The advantages of agent i in row b, for each action that it might have taken."""
    result = []
    for action in range(q.shape[-1]):
        other = actions.copy()
        other[b, i] = action
        result.append(answer(function, q, policy, other)[b, i])
    return np.array(result)


def largest(measure: Any) -> Any:
    """The largest value of a measure over the entries of all batches."""

    def amount(factory: Factory) -> float:
        function = factory()
        return max(
            float(measure(function, *batch, b, i)) for batch in batches(4) for b, i in np.ndindex(*batch[2].shape)
        )

    return amount


def mean(function: Any, q: Numbers, policy: Numbers, actions: Numbers, b: int, i: int) -> float:
    return abs(policy[b, i] @ one_agents_action(function, q, policy, actions, b, i))


def spread(function: Any, q: Numbers, policy: Numbers, actions: Numbers, b: int, i: int) -> float:
    return np.ptp(q[b, i] - one_agents_action(function, q, policy, actions, b, i))


def bias(function: Any, q: Numbers, policy: Numbers, actions: Numbers, b: int, i: int) -> float:
    """By how much a single agent's expected gradient misses that of its expected value, in its logits."""
    pi, advantages = policy[b, i], one_agents_action(function, q, policy, actions, b, i)
    gradient = [(pi * advantages) @ ((np.arange(3) == k) - pi[k]) for k in range(3)]
    return np.abs(gradient - pi * (q[b, i] - pi @ q[b, i])).max()


def shift(factory: Factory) -> float:
    function = factory()
    return max(float(np.abs(answer(function, q + 5, p, a) - answer(function, q, p, a)).max()) for q, p, a in batches())


def others_share(factory: Factory) -> float:
    """By how much the last agent of the last row moves when the others are given new numbers."""
    function, worst = factory(), 0.0
    for (q, p, a), (other_q, other_p, other_a) in zip(batches(), batches()[::-1], strict=True):
        for new, own in ((other_q, q), (other_p, p), (other_a, a)):
            new[-1, -1] = own[-1, -1]
        moved = answer(function, other_q, other_p, other_a) - answer(function, q, p, a)
        worst = max(worst, float(np.abs(moved[-1, -1])))
    return worst


def unsteadiness(factory: Factory) -> float:
    function, worst = factory(), 0.0
    for q, p, a in batches():
        first = answer(function, q, p, a)
        answer(function, q + 1, p, a)
        worst = max(worst, float(np.abs(answer(function, q, p, a) - first).max()))
    return worst


MEASURES = {
    "coma.zero_mean": largest(mean),
    "coma.base_independent": largest(spread),
    "coma.unbiased": largest(bias),
    "coma.shift": shift,
    "coma.own": others_share,
    "coma.repeatable": unsteadiness,
}


def wrong(part: str) -> Violation:
    return Violation(f"coma.{part}", MEASURES[f"coma.{part}"])


# --- good ones --------------------------------------------------------------------------------------------------------


@good("counterfactual_advantage", "", "The value of the action less the policy's mean value.")
class Counterfactual:
    def __call__(self, q, policy, actions):
        taken = np.take_along_axis(q, actions[..., None], axis=-1)[..., 0]
        return taken - self.baseline(q, policy, actions)

    def baseline(self, q, policy, actions):
        return (policy * q).sum(axis=-1)


@good("counterfactual_advantage", "", "A loop over rows and agents that returns lists.")
class Loop:
    def __call__(self, q, policy, actions):
        return [
            [float(own[a] - np.dot(own, pi)) for own, pi, a in zip(*row, strict=True)]
            for row in zip(q, policy, actions, strict=True)
        ]


@good("counterfactual_advantage", "", "Torch in single precision, from log-probabilities.")
class SinglePrecision:
    arrays = "torch"

    def __call__(self, q, policy, actions):
        log_pi = policy.float().log()
        baseline = torch.einsum("bna,bna->bn", log_pi.exp(), q.float())
        return q.float().gather(-1, actions.unsqueeze(-1)).squeeze(-1) - baseline


@good("counterfactual_advantage", "", "The policy's mean of the differences between the action and each other one.")
class Differences:
    def __call__(self, q, policy, actions):
        taken = np.take_along_axis(q, actions[..., None], axis=-1)
        return (policy * (taken - q)).sum(axis=-1)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("counterfactual_advantage", "counterfactual", "All actions weigh the same in the baseline.", wrong("zero_mean"))
class EvenBaseline(Counterfactual):
    def baseline(self, q, policy, actions):
        return q.mean(axis=-1)


@bad("counterfactual_advantage", "counterfactual", "The best action's value is the baseline.", wrong("zero_mean"))
class BestBaseline(Counterfactual):
    def baseline(self, q, policy, actions):
        return q.max(axis=-1)


@bad("counterfactual_advantage", "counterfactual", "The first action's value is the baseline.", wrong("zero_mean"))
class DefaultAction(Counterfactual):
    def baseline(self, q, policy, actions):
        return q[..., 0]


@bad(
    "counterfactual_advantage",
    "counterfactual",
    "The most probable action's value is the baseline.",
    wrong("zero_mean"),
)
class GreedyBaseline(Counterfactual):
    def baseline(self, q, policy, actions):
        return np.take_along_axis(q, policy.argmax(-1)[..., None], axis=-1)[..., 0]


@bad("counterfactual_advantage", "counterfactual", "There is no baseline.", wrong("shift"))
class NoBaseline(Counterfactual):
    def baseline(self, q, policy, actions):
        return 0.0


@bad(
    "counterfactual_advantage", "counterfactual", "The baseline leaves out the action taken.", wrong("base_independent")
)
class OthersOnly(Counterfactual):
    def baseline(self, q, policy, actions):
        rest = policy.copy()
        np.put_along_axis(rest, actions[..., None], 0.0, axis=-1)
        return (rest * q).sum(axis=-1) / np.maximum(rest.sum(axis=-1), 1e-8)


@bad("counterfactual_advantage", "counterfactual", "The baseline is the action's own share alone.", wrong("unbiased"))
class OwnShare(Counterfactual):
    def baseline(self, q, policy, actions):
        return np.take_along_axis(policy * q, actions[..., None], axis=-1)[..., 0]


@bad("counterfactual_advantage", "counterfactual", "The sign is turned round.", wrong("unbiased"))
class SignInverted(Counterfactual):
    def __call__(self, q, policy, actions):
        return -super().__call__(q, policy, actions)


@bad(
    "counterfactual_advantage",
    "counterfactual",
    "The advantage is divided by the action's probability.",
    wrong("unbiased"),
)
class Weighted(Counterfactual):
    def __call__(self, q, policy, actions):
        share = np.take_along_axis(policy, actions[..., None], axis=-1)[..., 0]
        return super().__call__(q, policy, actions) / share


@bad("counterfactual_advantage", "counterfactual", "Only positive advantages are kept.", wrong("base_independent"))
class PositiveOnly(Counterfactual):
    def __call__(self, q, policy, actions):
        return np.maximum(super().__call__(q, policy, actions), 0.0)


@bad("counterfactual_advantage", "counterfactual", "The policy is that of the agent before.", wrong("own"))
class OtherAgentsPolicy(Counterfactual):
    def baseline(self, q, policy, actions):
        return super().baseline(q, np.roll(policy, 1, axis=1), actions)


@bad("counterfactual_advantage", "counterfactual", "The policy is that of the row before.", wrong("own"))
class OtherRowsPolicy(Counterfactual):
    def baseline(self, q, policy, actions):
        return super().baseline(q, np.roll(policy, 1, axis=0), actions)


@bad("counterfactual_advantage", "counterfactual", "The baseline is averaged over the agents.", wrong("own"))
class SharedBaseline(Counterfactual):
    def baseline(self, q, policy, actions):
        return super().baseline(q, policy, actions).mean(axis=1, keepdims=True)


@bad("counterfactual_advantage", "counterfactual", "Advantages are normalised over the batch.", wrong("own"))
class Normalised(Counterfactual):
    def __call__(self, q, policy, actions):
        advantages = super().__call__(q, policy, actions)
        return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


@bad("counterfactual_advantage", "counterfactual", "The policy is sharpened for the baseline.", wrong("zero_mean"))
class Sharpened(Counterfactual):
    def baseline(self, q, policy, actions):
        sharp = policy**2
        return super().baseline(q, sharp / sharp.sum(-1, keepdims=True), actions)


@bad(
    "counterfactual_advantage",
    "counterfactual",
    "The baseline's policy is without its exploration.",
    wrong("zero_mean"),
)
class WithoutExploration(Counterfactual):
    def baseline(self, q, policy, actions):
        bare = np.maximum(policy - 0.1, 0.0)
        return super().baseline(q, bare / bare.sum(-1, keepdims=True), actions)


@bad("counterfactual_advantage", "counterfactual", "The policy's weights add up to less than one.", wrong("shift"))
class WeightsLost(Counterfactual):
    def baseline(self, q, policy, actions):
        return super().baseline(q, policy * 0.9, actions)


@bad("counterfactual_advantage", "counterfactual", "The baseline is smoothed over the calls.", wrong("repeatable"))
class Smoothed(Counterfactual):
    def __init__(self) -> None:
        self.kept = 0.0

    def baseline(self, q, policy, actions):
        self.kept += 0.5 * (float((policy * q).sum(axis=-1).mean()) - self.kept)
        return self.kept


BAD = bad.targets()
GOOD = good.targets()
