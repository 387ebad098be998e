"""How far learners are from what they promise."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ..target import Factory, Violation
from .common import NEVER, Array, masks
from .target_networks import apart, numbers, tensors

AGENTS, ACTIONS = 2, 3
LONGEST = 4

Batch = dict[str, Array]


def made(factory: Factory, seed: int = 5) -> Any:
    """A learner in float64, from a seed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(seed)
        return factory()
    finally:
        torch.set_default_dtype(before)


def optimisers(learner: Any) -> Iterator[torch.optim.Optimizer]:
    for part in vars(learner).values():
        parts = part.values() if isinstance(part, dict) else [part]
        yield from (one for one in parts if isinstance(one, torch.optim.Optimizer))


def is_episodic(learner: Any) -> bool:
    return getattr(learner, "items", "transitions") == "episodes"


def sizes(learner: Any) -> tuple[int, int, dict[str, tuple[int, ...]]]:
    """The numbers of agents and actions that a learner declares, and the sizes of what is seen."""
    n, A = getattr(learner, "n_agents", AGENTS), getattr(learner, "n_actions", ACTIONS)
    seen = {"observations": (n, getattr(learner, "observation_size", 4)), "state": (getattr(learner, "state_size", 5),)}
    return n, A, seen


def names(thing: Any, prefix: str = "") -> Iterator[str]:
    """The names of all tensors and arrays of a network, in the order of `tensors`."""
    if isinstance(thing, torch.nn.Module):
        yield from (prefix + name for name in thing.state_dict())
    elif isinstance(thing, (dict, list, tuple)):
        for name, part in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield from names(part, f"{prefix}{name}.")
    else:
        yield prefix.removesuffix(".")


def batch_for(learner: Any, seed: int, rows: int = 5, ended: str = "some") -> Batch:
    """A random batch of transitions, or of episodes of which the first has full length; the first one ends."""
    generator = np.random.default_rng(seed)
    n, A, seen_sizes = sizes(learner)
    time = (LONGEST,) if is_episodic(learner) else ()
    batch: Batch = {}
    for name, size in seen_sizes.items():
        seen = generator.normal(size=(rows, *([LONGEST + 1] if time else [2]), *size))
        batch[name], batch["next_" + name] = (seen[:, :-1], seen[:, 1:]) if time else (seen[:, 0], seen[:, 1])
    for name in ("available", "next_available"):
        batch[name] = masks(generator, (rows, *time, n, A))
    batch["actions"] = batch["available"].argmax(-1)
    common = getattr(learner, "common_reward", True)
    rewards = generator.normal(size=(rows, *time, 1 if common else n))
    batch["rewards"] = np.repeat(rewards, n, -1) if common else rewards
    batch["terminated"] = np.array(generator.random(rows) < 0.5)
    batch["terminated"][0] = True
    if ended == "all":
        batch["terminated"][:] = True
    if time:
        lengths = generator.integers(1, LONGEST + 1, rows)
        lengths[0] = LONGEST
        last = np.arange(LONGEST) == lengths[:, None] - 1
        batch["terminated"], batch["filled"] = (
            last & batch["terminated"][:, None],
            np.arange(LONGEST) < lengths[:, None],
        )
    return batch


def disturbed(batch: Batch, where: str, seed: int = 1) -> Batch:
    """The batch with other numbers in its padding, or behind its terminal transitions."""
    generator, found = np.random.default_rng(seed), {name: field.copy() for name, field in batch.items()}
    spots = ~batch["filled"] if where == "padding" else batch["terminated"]
    fields = [name for name in found if name.startswith("next_")]
    if where == "padding":
        fields += ["observations", "state", "rewards", "actions"]
    for name in fields:
        shape = found[name][spots].shape
        if name == "next_available":
            found[name][spots] = masks(generator, shape)
        elif name == "actions":
            found[name][spots] = generator.integers(found["available"].shape[-1], size=shape)
        else:
            found[name][spots] = generator.normal(size=shape) * 5
    return found


def learn(learner: Any, batch: Batch) -> None:
    kind = getattr(learner, "arrays", "torch")
    learner.learn({name: torch.from_numpy(f.copy()) if kind == "torch" else f.copy() for name, f in batch.items()})


def everything(learner: Any) -> list[Array]:
    return numbers(learner.online) + (numbers(learner.target) if hasattr(learner, "target") else [])


def gradients(learner: Any) -> list[Array]:
    """What stands in the parameters' gradients; for numpy arrays the numbers themselves."""
    if getattr(learner, "arrays", "torch") == "numpy":
        return numbers(learner.online)
    return [np.zeros(1) if one.grad is None else one.grad.numpy().copy() for one in tensors(learner.online)]


def changed_by(where: str) -> Callable[[Factory], float]:
    """How far updates differ that should not."""

    def amount(factory: Factory) -> float:
        worst = 0.0
        for ended, seed in (("some", 1), ("all", 2), ("some", 3)):
            one, other = made(factory), made(factory)
            if where == "padding" and not is_episodic(one):
                return 0.0
            for k in range(3):
                batch = batch_for(one, seed + 10 * k, ended=ended)
                learn(one, batch)
                learn(other, disturbed(batch, where))
            worst = max(worst, apart(everything(one), everything(other)))
        return worst

    return amount


def off_the_mean(factory: Factory) -> float:
    """How far the gradient of a batch taken twice is from that of the batch."""
    worst = 0.0
    for rows in (1, 2, 5):
        one, other = made(factory), made(factory)
        for learner in (one, other):
            learner.clip = 1e9
        batch = batch_for(one, rows, rows)
        learn(one, batch)
        learn(other, {name: np.concatenate([field, field]) for name, field in batch.items()})
        worst = max(worst, apart(gradients(one), gradients(other)))
    return worst


def beyond_clip(factory: Factory) -> float:
    """By how much an optimiser takes up a longer gradient than declared."""
    learner, excess = made(factory), [0.0]
    if not hasattr(learner, "clip"):
        return 0.0

    def watch(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        held = [one.grad for group in optimiser.param_groups for one in group["params"] if one.grad is not None]
        excess.append(float(torch.cat([one.flatten() for one in held]).norm()) - learner.clip)

    for optimiser in optimisers(learner):
        optimiser.register_step_pre_hook(watch)
    for seed in range(4):
        batch = batch_for(learner, seed)
        learn(learner, batch | {"rewards": batch["rewards"] * 1000})
    return max(excess)


def off_the_schedule(factory: Factory) -> float:
    """How far the target is from where the declared interval or share puts it."""
    learner, worst = made(factory), 0.0
    if not hasattr(learner, "target"):
        return 0.0
    expected = numbers(learner.target)
    for k in range(1, 8):
        learn(learner, batch_for(learner, k))
        online = numbers(learner.online)
        if hasattr(learner, "tau"):
            tau = learner.tau
            expected = [(1 - tau) * old + tau * new for old, new in zip(expected, online, strict=True)]
        elif k % learner.target_interval == 0:
            expected = online
        worst = max(worst, apart(numbers(learner.target), expected))
    return worst


def stays_or_should(factory: Factory) -> float:
    """How many tensors stay as they were, or are frozen and do not."""
    learner = made(factory)
    before = numbers(learner.online)
    for seed in range(6):
        learn(learner, batch_for(learner, seed))
    frozen = [name in getattr(learner, "frozen", ()) for name in names(learner.online)]
    moved = [not np.array_equal(a, b) for a, b in zip(before, numbers(learner.online), strict=True)]
    return float(sum(one == other for one, other in zip(moved, frozen, strict=True)))


def off_after_loading(factory: Factory) -> float:
    """How far a learner that was loaded is from the one that was saved, both going on."""
    learner, other, worst = made(factory), made(factory, 6), 0.0
    if not hasattr(learner, "load_state_dict"):
        return 0.0
    for seed in range(3):
        learn(learner, batch_for(learner, seed))
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    for seed in range(3, 7):
        for one in (learner, other):
            learn(one, batch_for(one, seed))
        worst = max(worst, apart(everything(learner), everything(other)))
    return worst


def not_finite(factory: Factory) -> float:
    """NEVER where a batch of one row leaves something that is no number."""
    learner = made(factory)
    learn(learner, batch_for(learner, 1, 1))
    return 0.0 if all(np.isfinite(part).all() for part in everything(learner)) else NEVER


def off_the_game(factory: Factory) -> float:
    """How far joint values are from additive payoffs, in shares of their range beyond a tenth."""
    learner, worst = made(factory), 0.0
    if not hasattr(learner, "solve"):
        return 0.0
    for seed in range(2):
        first, second = np.random.default_rng(seed).uniform(-5, 5, (2, ACTIONS))
        payoffs = first[:, None] + second[None, :] + 3
        values = np.asarray(learner.solve(torch.from_numpy(payoffs), seed))
        worst = max(worst, float(np.abs(values - payoffs).max() / np.ptp(payoffs)) - 0.1)
    return worst


PADDING = Violation("padding changes no update", changed_by("padding"))
BEHIND = Violation("what stands behind a terminal transition changes no update", changed_by("behind"))
MEAN = Violation("a batch taken twice has the gradient of the batch", off_the_mean)
CLIPPED = Violation("no optimiser takes up a longer gradient than declared", beyond_clip)
FOLLOWS = Violation("the target follows as declared", off_the_schedule)
MOVES = Violation("all that is online is learned, but for what is frozen", stays_or_should)
SAVED = Violation("a learner goes on after loading as if it had not stopped", off_after_loading)
FINITE = Violation("one row alone can be learned from", not_finite)
SOLVES = Violation("joint values of an additive game are its payoffs", off_the_game)
