"""Learners: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances speak the role learner.
"""

import copy
import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .target import Collection, Factory, Violation

Batch = dict[str, Any]
good, bad = Collection(), Collection()
STEPS = 250
CALLS = itertools.count()


# --- measures: 0 where a promise is kept, else 1 ----------------------------------------------------------------------


def made_with(factory: Factory, seed: int) -> Any:
    torch.manual_seed(seed)
    np.random.seed(seed)
    return factory()


def random_batch(learner: Any, seed: int, rows: int = 6, ends: bool | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    episodes = getattr(learner, "items", "transitions") == "episodes"
    lead = (rows, 4) if episodes else (rows,)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*lead, *shape, generator=generator)

    terminated = torch.arange(rows) % 2 == 0 if ends is None else torch.full((rows,), ends)
    batch = {
        "observations": normal(2, 4),
        "next_observations": normal(2, 4),
        "state": normal(5),
        "next_state": normal(5),
        "actions": torch.randint(3, (*lead, 2), generator=generator),
        "rewards": normal(1).expand(*lead, 2).clone(),
        "terminated": terminated,
    }
    if episodes:
        lengths = torch.arange(rows) % 4 + 1
        batch["filled"] = torch.arange(4) < lengths[:, None]
        batch["terminated"] = (torch.arange(4) == lengths[:, None] - 1) & terminated[:, None]
    return batch


def weights(holder: Any) -> list[Tensor]:
    return [value.detach().clone() for part in holder.values() for value in part.parameters()]


def stays(factory: Factory) -> float:
    learner = made_with(factory, 0)
    before = weights(learner.online)
    for seed in range(10):
        learner.learn(random_batch(learner, seed))
    return float(any(torch.equal(a, b) for a, b in zip(before, weights(learner.online), strict=True)))


def off_the_clock(factory: Factory) -> float:
    learner = made_with(factory, 0)
    for k in range(1, 8):
        before = weights(learner.target)
        learner.learn(random_batch(learner, k))
        after = weights(learner.target)
        if hasattr(learner, "tau"):
            required = [torch.lerp(t, o, learner.tau) for t, o in zip(before, weights(learner.online), strict=True)]
        else:
            required = weights(learner.online) if k % learner.target_interval == 0 else before
        if not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(after, required, strict=True)):
            return 1.0
    return 0.0


def too_long(factory: Factory) -> float:
    learner, norms = made_with(factory, 0), []
    step = learner.optimiser.step

    def measured() -> None:
        own = [value.grad for part in learner.online.values() for value in part.parameters() if value.grad is not None]
        norms.append(torch.stack([gradient.norm() for gradient in own]).norm())
        step()

    learner.optimiser.step = measured
    batch = random_batch(learner, 0)
    learner.learn({**batch, "rewards": batch["rewards"] * 1000})
    return float(max(norms) > 1.01 * learner.clip)


def differs(one: Tensor, other: Tensor) -> float:
    return float(abs(one.item() - other.item()) > 1e-4 * abs(one.item()))


def padding_counts(factory: Factory) -> float:
    learner = made_with(factory, 0)
    batch = random_batch(learner, 0)
    noisy = {name: values.clone() for name, values in batch.items()}
    for name in ("observations", "next_observations", "rewards", "state", "next_state"):
        noisy[name][~batch["filled"]] = 3.0
    longer = {name: torch.cat([values, torch.zeros_like(values)], 1) for name, values in batch.items()}
    loss = learner.loss(batch)
    return max(differs(loss, learner.loss(noisy)), differs(loss, learner.loss(longer)))


def future_counts(factory: Factory) -> float:
    learner = made_with(factory, 0)
    batch = random_batch(learner, 0)
    other = {name: values.clone() for name, values in batch.items()}
    for name in ("next_observations", "next_state"):
        other[name][batch["terminated"]] = 3.0
    return differs(learner.loss(batch), learner.loss(other))


def no_mean(factory: Factory) -> float:
    learner = made_with(factory, 0)
    batch = random_batch(learner, 0)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    mixed = {name: values[order] for name, values in batch.items()}
    twice = {name: torch.cat([values, values]) for name, values in batch.items()}
    loss = learner.loss(batch)
    return max(differs(loss, learner.loss(mixed)), differs(loss, learner.loss(twice)))


def target_unused(factory: Factory) -> float:
    learner = made_with(factory, 0)
    batch = random_batch(learner, 0, ends=False)
    for part in learner.target.values():
        before = learner.loss(batch)
        with torch.no_grad():
            for value in part.parameters():
                value += 1
        if not differs(before, learner.loss(batch)):
            return 1.0
    return 0.0


def trained(learner: Any, first: int, steps: int) -> Any:
    torch.manual_seed(first)
    for k in range(first, first + steps):
        learner.learn(random_batch(learner, k))
    return learner


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one.online), weights(other.online), strict=True))


def unsteady(factory: Factory) -> float:
    return float(not same(*[trained(made_with(factory, 3), 0, 4) for _ in range(2)]))


def forgets(factory: Factory) -> float:
    for before in (1, 2, 4):
        one, other = trained(made_with(factory, 1), 0, before), trained(made_with(factory, 2), 40, 2)
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        if not same(trained(one, 20, 6), trained(other, 20, 6)):
            return 1.0
    return 0.0


def off_the_payoffs(factory: Factory) -> float:
    payoffs = np.array([0.0, 1.0, 3.0])[:, None] + np.array([2.0, 0.0, 1.0])
    errors = [np.abs(np.asarray(made_with(factory, seed).solve(payoffs, seed)) - payoffs).max() for seed in range(3)]
    return float(np.median(errors) > 0.4)


MOVES, TARGET = Violation("learner.moves", stays), Violation("learner.target", off_the_clock)
CLIP, PADDING = Violation("learner.clip", too_long), Violation("learner.padding", padding_counts)
TERMINAL, MEAN = Violation("learner.terminal", future_counts), Violation("learner.mean", no_mean)
BOOTSTRAPS, REPEATABLE = Violation("learner.bootstraps", target_unused), Violation("learner.repeatable", unsteady)
RESUME, TINY = Violation("learner.resume", forgets), Violation("learner.tiny", off_the_payoffs)


# --- agents and a state value, added up -------------------------------------------------------------------------------


@good("learner", "", "Two agents' utilities and a value of the state, added up, learned from transitions.")
class Summed:
    clip = 1.0
    target_interval = 3
    gamma = 0.75

    def __init__(self) -> None:
        self.online = {"agents": nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)]), "mixer": nn.Linear(5, 1)}
        self.target = copy.deepcopy(self.online)
        self.optimiser = torch.optim.Adam(self.learned(), 0.03)
        self.updates = 0

    def learned(self) -> list[Any]:
        return [value for part in self.online.values() for value in part.parameters()]

    def clipped(self) -> list[Any]:
        return self.learned()

    def utilities(self, network: Batch, observations: Tensor) -> Tensor:
        return torch.stack([agent(observations[..., i, :]) for i, agent in enumerate(network["agents"])], -2)

    def total(self, network: Batch, chosen: Tensor, state: Tensor) -> Tensor:
        return chosen.sum(-1) + network["mixer"](state).squeeze(-1)

    def actions(self, batch: Batch) -> Tensor:
        return batch["actions"]

    def value(self, batch: Batch) -> Tensor:
        utilities = self.utilities(self.online, batch["observations"])
        chosen = utilities.gather(-1, self.actions(batch)[..., None]).squeeze(-1)
        return self.total(self.online, chosen, batch["state"])

    def following(self, batch: Batch) -> Tensor:
        best = self.utilities(self.target, batch["next_observations"]).amax(-1)
        return self.total(self.target, best, batch["next_state"])

    def reward(self, batch: Batch) -> Tensor:
        return batch["rewards"][..., 0]

    def ended(self, batch: Batch) -> Tensor:
        return batch["terminated"]

    def targets(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return self.reward(batch) + self.gamma * self.following(batch) * ~self.ended(batch)

    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return squares.mean()

    def loss(self, batch: Batch) -> Tensor:
        return self.average((self.targets(batch) - self.value(batch)).square(), batch)

    def backward(self, batch: Batch) -> None:
        self.optimiser.zero_grad()
        self.loss(batch).backward()

    def learn(self, batch: Batch) -> None:
        self.backward(batch)
        nn.utils.clip_grad_norm_(self.clipped(), self.clip)
        self.optimiser.step()
        self.updates += 1
        if self.due():
            self.sync()

    def due(self) -> bool:
        return self.updates % self.target_interval == 0

    def sync(self) -> None:
        for name, part in self.online.items():
            self.target[name].load_state_dict(part.state_dict())

    def state_dict(self) -> Batch:
        networks = {"online": self.online, "target": self.target}
        saved: Batch = {k: {n: part.state_dict() for n, part in v.items()} for k, v in networks.items()}
        return {**saved, "optimiser": self.optimiser.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Batch) -> None:
        for name in self.online:
            self.online[name].load_state_dict(state["online"][name])
            self.target[name].load_state_dict(state["target"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.updates = state["updates"]

    def solve(self, payoffs: Any, seed: int) -> Any:
        joint = torch.cartesian_prod(torch.arange(3), torch.arange(3))
        batch = {
            "observations": torch.ones(9, 2, 4),
            "next_observations": torch.ones(9, 2, 4),
            "state": torch.ones(9, 5),
            "next_state": torch.ones(9, 5),
            "actions": joint,
            "rewards": torch.as_tensor(payoffs, dtype=torch.float32).reshape(9, 1).expand(9, 2),
            "terminated": torch.ones(9, dtype=torch.bool),
        }
        for _ in range(STEPS):
            self.learn(batch)
        with torch.no_grad():
            return self.value(batch).reshape(3, 3)


@bad("learner", "summed", "The mixer is left out of the optimiser.", MOVES)
class MixerNotLearned(Summed):
    def learned(self) -> list[Any]:
        return list(self.online["agents"].parameters())


@bad("learner", "summed", "The second agent is left out of the optimiser.", MOVES)
class FirstAgentAlone(Summed):
    def learned(self) -> list[Any]:
        return [*self.online["agents"][0].parameters(), *self.online["mixer"].parameters()]


@bad("learner", "summed", "The biases are not learned.", MOVES)
class BiasesNotLearned(Summed):
    def learned(self) -> list[Any]:
        return [value for value in super().learned() if value.dim() > 1]


@bad("learner", "summed", "The target network is synchronised one update early.", TARGET)
class SyncsEarly(Summed):
    def due(self) -> bool:
        return (self.updates + 1) % self.target_interval == 0


@bad("learner", "summed", "The target network is never synchronised.", TARGET)
class NeverSyncs(Summed):
    def due(self) -> bool:
        return False


@bad("learner", "summed", "The target network's mixer is never synchronised.", TARGET)
class SyncsAgentsAlone(Summed):
    def sync(self) -> None:
        self.target["agents"].load_state_dict(self.online["agents"].state_dict())


@bad("learner", "summed", "The target network is the online network.", TARGET)
class OneNetwork(Summed):
    def __init__(self) -> None:
        super().__init__()
        self.target = self.online


@bad("learner", "summed", "The mixer's gradient is not clipped.", CLIP)
class ClipsAgentsAlone(Summed):
    def clipped(self) -> list[Any]:
        return list(self.online["agents"].parameters())


@bad("learner", "summed", "Each parameter's gradient is clipped by itself.", CLIP)
class ClipsEach(Summed):
    def clipped(self) -> list[Any]:
        for value in self.learned():
            nn.utils.clip_grad_norm_([value], self.clip)
        return []


@bad("learner", "summed", "The gradient is clipped after the step.", CLIP)
class ClipsTooLate(Summed):
    def clipped(self) -> list[Any]:
        return []

    def due(self) -> bool:
        nn.utils.clip_grad_norm_(self.learned(), self.clip)
        return super().due()


@bad("learner", "summed", "The entries of the gradient are clipped, not its length.", CLIP)
class ClipsEntries(Summed):
    def clipped(self) -> list[Any]:
        nn.utils.clip_grad_value_(self.learned(), self.clip)
        return []


@bad("learner", "summed", "Bootstraps past the end.", TERMINAL)
class IgnoresTheEnd(Summed):
    def ended(self, batch: Batch) -> Tensor:
        return torch.zeros_like(batch["terminated"])


@bad("learner", "summed", "Terminal flags are those of the row before.", TERMINAL)
class EndsLate(Summed):
    def ended(self, batch: Batch) -> Tensor:
        return batch["terminated"].roll(1, 0)


@bad("learner", "summed", "The discount is applied where the end is not looked at.", TERMINAL)
class HalfAnEnd(Summed):
    def targets(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return self.reward(batch) + self.following(batch) * (1 - self.gamma * self.ended(batch))


@bad("learner", "summed", "Squares are added up and not averaged, without a word.", MEAN)
class AddsUp(Summed):
    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return squares.sum()


@bad("learner", "summed", "Targets belong to the neighbouring row.", MEAN)
class RowsMixedUp(Summed):
    def targets(self, batch: Batch) -> Tensor:
        return super().targets(batch).roll(1, 0)


@bad("learner", "summed", "The targets are made by the online network.", BOOTSTRAPS)
class OnlineTargets(Summed):
    def following(self, batch: Batch) -> Tensor:
        best = self.utilities(self.online, batch["next_observations"]).amax(-1)
        return self.total(self.online, best, batch["next_state"])


@bad("learner", "summed", "The targets are made with the online mixer.", BOOTSTRAPS)
class OnlineMixerInTargets(Summed):
    def following(self, batch: Batch) -> Tensor:
        best = self.utilities(self.target, batch["next_observations"]).amax(-1)
        return self.total(self.online, best, batch["next_state"])


@bad("learner", "summed", "Nothing is bootstrapped.", BOOTSTRAPS)
class NoFuture(Summed):
    gamma = 0.0


@bad("learner", "summed", "Targets carry a noise that depends on all that was ever computed.", REPEATABLE)
class NoisyTargets(Summed):
    def reward(self, batch: Batch) -> Tensor:
        return super().reward(batch) + 1e-3 * (next(CALLS) % 7)


@bad("learner", "summed", "From the fourth update on rewards carry a noise that no seed decides.", REPEATABLE)
class NoisyInTheEnd(Summed):
    def reward(self, batch: Batch) -> Tensor:
        return super().reward(batch) + 1e-3 * (next(CALLS) % 7) * (self.updates >= 3)


@bad("learner", "summed", "The optimiser's state is not loaded.", RESUME)
class ForgetsMoments(Summed):
    def load_state_dict(self, state: Batch) -> None:
        super().load_state_dict({**state, "optimiser": self.optimiser.state_dict()})


@bad("learner", "summed", "The number of updates is not loaded.", RESUME)
class ForgetsTheClock(Summed):
    def load_state_dict(self, state: Batch) -> None:
        super().load_state_dict({**state, "updates": self.updates})


@bad("learner", "summed", "The target network is loaded from the online one.", RESUME)
class LoadsOneNetwork(Summed):
    def load_state_dict(self, state: Batch) -> None:
        super().load_state_dict({**state, "target": state["online"]})


@bad("learner", "summed", "Gradients are not set to zero before each update.", RESUME)
class GradientsPileUp(Summed):
    def backward(self, batch: Batch) -> None:
        self.loss(batch).backward()


@bad("learner", "summed", "Climbs the loss.", TINY)
class Climbs(Summed):
    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return -squares.mean()


@bad("learner", "summed", "Both agents' utilities are those of the first one's action.", TINY)
class FirstActionForAll(Summed):
    def actions(self, batch: Batch) -> Tensor:
        return batch["actions"][..., :1].expand_as(batch["actions"])


@bad("learner", "summed", "Targets and values are compared each with each.", TINY)
class EachWithEach(Summed):
    def loss(self, batch: Batch) -> Tensor:
        return (self.targets(batch)[:, None] - self.value(batch)).square().mean()


@bad("learner", "summed", "The common reward is counted once for each agent.", TINY)
class RewardTwice(Summed):
    def reward(self, batch: Batch) -> Tensor:
        return batch["rewards"].sum(-1)


# --- further good ones ------------------------------------------------------------------------------------------------


@good("learner", "summed", "Adds squares up, and says so.")
class DeclaredSum(Summed):
    reduction = "sum"
    clip = None  # type: ignore[assignment]

    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return squares.sum()

    def learn(self, batch: Batch) -> None:
        self.backward(batch)
        self.optimiser.step()
        self.updates += 1
        if self.due():
            self.sync()


@good("learner", "summed", "A target network that follows by a small share, and double Q-learning.")
class Double(Summed):
    tau = 0.125

    def following(self, batch: Batch) -> Tensor:
        best = self.utilities(self.online, batch["next_observations"]).argmax(-1, keepdim=True)
        chosen = self.utilities(self.target, batch["next_observations"]).gather(-1, best).squeeze(-1)
        return self.total(self.target, chosen, batch["next_state"])

    def due(self) -> bool:
        return True

    @torch.no_grad()
    def sync(self) -> None:
        for name, part in self.online.items():
            for target, online in zip(self.target[name].parameters(), part.parameters(), strict=True):
                target.lerp_(online, self.tau)


@good("learner", "", "A policy and a critic for each agent, with an optimiser each and no target network.")
class ActorCritic:
    clip = 1.0
    common_reward = False

    def __init__(self) -> None:
        self.online = {"actor": nn.Linear(4, 3), "critic": nn.Linear(4, 1)}
        self.optimisers = [torch.optim.RMSprop(part.parameters(), 0.01) for part in self.online.values()]

    def learn(self, batch: Batch) -> float:
        value = self.online["critic"](batch["observations"]).squeeze(-1)
        with torch.no_grad():
            following = self.online["critic"](batch["next_observations"]).squeeze(-1)
            target = batch["rewards"] + 0.75 * following * ~batch["terminated"][:, None]
        log_pi = self.online["actor"](batch["observations"]).log_softmax(-1)
        chosen = log_pi.gather(-1, batch["actions"][..., None]).squeeze(-1)
        losses = -((target - value.detach()) * chosen).mean(), (target - value).square().mean()
        for loss, part, optimiser in zip(losses, self.online.values(), self.optimisers, strict=True):
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(part.parameters(), self.clip)
            optimiser.step()
        return float(sum(losses).detach())


# --- episodes ---------------------------------------------------------------------------------------------------------


@good("learner", "summed", "Learns from padded episodes; the mean is over real steps.")
class Episodes(Summed):
    items = "episodes"
    solve = None  # type: ignore[assignment]

    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return (squares * batch["filled"]).sum() / batch["filled"].sum()


@bad("learner", "episodes", "The mean is over real steps and padding.", PADDING)
class MeanOverPadding(Episodes):
    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return (squares * batch["filled"]).mean()


@bad("learner", "episodes", "Padding is learned from.", PADDING)
class LearnsPadding(Episodes):
    def average(self, squares: Tensor, batch: Batch) -> Tensor:
        return squares.mean()


@bad("learner", "episodes", "Targets of padding are masked, values are not.", PADDING)
class HalfAMask(Episodes):
    def loss(self, batch: Batch) -> Tensor:
        filled = batch["filled"]
        return (self.targets(batch) * filled - self.value(batch)).square().sum() / filled.sum()


BAD, GOOD = bad.targets(), good.targets()
