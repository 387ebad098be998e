"""Target networks."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Collection, Factory, Violation
from .common import Array, gap

good, bad = Collection(), Collection()
ROLE = "target_network"


# --- measures ---------------------------------------------------------------------------------------------------------


def tensors(thing: Any) -> Iterator[Any]:
    """All tensors and arrays of a network, in a fixed order."""
    if isinstance(thing, nn.Module):
        yield from thing.state_dict(keep_vars=True).values()
    elif isinstance(thing, dict):
        for part in thing.values():
            yield from tensors(part)
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from tensors(part)
    else:
        yield thing


def numbers(thing: Any) -> list[Array]:
    return [own(tensor) for tensor in tensors(thing)]


def own(tensor: Any) -> Array:
    """A copy in float64."""
    return np.array(tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else tensor, dtype=np.float64)


def write(thing: Any, generator: np.random.Generator, near: float | None = None) -> None:
    """Write random numbers into a network, or shift its own a little."""
    for tensor in tensors(thing):
        shape = tuple(tensor.shape)
        whole = not tensor.dtype.is_floating_point if isinstance(tensor, torch.Tensor) else False
        new = generator.integers(1, 99, shape) if whole else generator.normal(size=shape) * (near or 3.0)
        if near and not whole:
            new = new + own(tensor)
        if isinstance(tensor, torch.Tensor):
            tensor.data.copy_(torch.as_tensor(new))
        else:
            tensor[...] = new


def apart(one: list[Array], other: list[Array]) -> float:
    return max(gap(a, b) for a, b in zip(one, other, strict=True))


def made(factory: Factory) -> Any:
    torch.manual_seed(5)
    return factory()


def off_the_copy(factory: Factory) -> float:
    """How far the target is from what the online network was, behind syncs, and how far that has moved."""
    pair, generator, worst = made(factory), np.random.default_rng(1), 0.0
    if not hasattr(pair, "sync"):
        return 0.0
    for near in (None, None, 1e-3, None, None, 1e-3, 1e-3):
        held = numbers(pair.target)
        write(pair.online, generator, near)
        worst = max(worst, apart(numbers(pair.target), held))
        before = numbers(pair.online)
        pair.sync()
        worst = max(worst, apart(numbers(pair.target), before), apart(numbers(pair.online), before))
    return worst


def off_the_mixture(factory: Factory) -> float:
    """How far the target is from (1 - tau) target + tau online behind soft updates, syncs between them."""
    pair, generator, worst = made(factory), np.random.default_rng(2), 0.0
    if not hasattr(pair, "soft_update"):
        return 0.0
    taus = getattr(pair, "taus", (0.25, 1.0, 0.5, 0.0, 0.005, 0.125, 1.0, 0.0))
    for k, tau in enumerate(taus * 3):
        if k % 4 == 3 and hasattr(pair, "sync"):
            pair.sync()
        held = numbers(pair.target)
        write(pair.online, generator)
        online, target = numbers(pair.online), numbers(pair.target)
        worst = max(worst, apart(target, held))
        pair.soft_update(tau)
        mixture = [(1 - tau) * old + tau * new for old, new in zip(target, online, strict=True)]
        worst = max(worst, apart(numbers(pair.target), mixture), apart(numbers(pair.online), online))
    return worst


def moved_by_training(factory: Factory) -> float:
    """How far learn() moves the target."""
    pair, generator = made(factory), np.random.default_rng(3)
    if not hasattr(pair, "learn"):
        return 0.0
    write(pair.online, generator)
    before, worst = numbers(pair.target), 0.0
    for _ in range(4):
        pair.learn()
        worst = max(worst, apart(numbers(pair.target), before))
    return worst


def gradient_in_target(factory: Factory) -> float:
    """The largest gradient of loss() that arrives at the target."""
    pair = made(factory)
    if not hasattr(pair, "loss"):
        return 0.0
    write(pair.online, np.random.default_rng(4))
    leaves = [tensor for tensor in tensors(pair.target) if tensor.requires_grad]
    if not leaves:
        return 0.0
    found = torch.autograd.grad(pair.loss(), leaves, allow_unused=True, materialize_grads=True)
    return max(float(gradient.abs().max()) for gradient in found)


def lost_in_saving(factory: Factory) -> float:
    """How far the two networks, or what they do next, are from what they were when saved."""
    pair, generator = made(factory), np.random.default_rng(6)
    if not hasattr(pair, "load_state_dict"):
        return 0.0
    write(pair.online, generator)
    pair.sync()
    write(pair.online, generator)
    online, target, saved = numbers(pair.online), numbers(pair.target), copy.deepcopy(pair.state_dict())
    write(pair.online, generator)
    pair.sync()
    pair.load_state_dict(saved)
    worst = max(apart(numbers(pair.online), online), apart(numbers(pair.target), target))
    write(pair.online, generator)
    return max(worst, apart(numbers(pair.target), target))


def unlike_at_the_start(factory: Factory) -> float:
    pair = made(factory)
    if getattr(pair, "starts", "") == "apart":
        return 0.0
    return apart(numbers(pair.online), numbers(pair.target))


COPY = Violation("sync makes the target equal to the online network, and nothing else does", off_the_copy)
MIXTURE = Violation("soft_update moves the target by the share tau, and it alone", off_the_mixture)
STILL = Violation("training does not move the target", moved_by_training)
NO_GRADIENT = Violation("no gradient reaches the target", gradient_in_target)
SAVED = Violation("both networks are saved and loaded", lost_in_saving)
START = Violation("the two start equal", unlike_at_the_start)


# --- good ones --------------------------------------------------------------------------------------------------------


@good(ROLE, "", "torch; agents and a mixer in mappings, copied by state_dict, lerped by parameters; trains as well")
class AgentsAndMixer:
    def __init__(self) -> None:
        agents = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        self.online = nn.ModuleDict({"agents": agents, "mixer": nn.Linear(2, 1)}).double()
        self.target = copy.deepcopy(self.online)
        self.optimiser = torch.optim.SGD(self.trained(), lr=0.05)

    def trained(self) -> Any:
        return self.online.parameters()

    def sync(self):
        self.target.load_state_dict(self.online.state_dict())

    def share(self, tau: float) -> float:
        return tau

    def pairs(self) -> Any:
        return zip(self.target.parameters(), self.online.parameters(), strict=True)

    @torch.no_grad()
    def soft_update(self, tau):
        for old, new in self.pairs():
            old.lerp_(new, self.share(tau))

    def bootstrap(self, value):
        return value.detach()

    def loss(self):
        data = torch.linspace(-1, 1, 24, dtype=torch.float64).view(3, 2, 4)
        total, following = [
            network["mixer"](network["agents"](data).amax(-1)) for network in (self.online, self.target)
        ]
        return (total - 1 - 0.9 * self.bootstrap(following)).square().mean()

    def learn(self):
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()


@good(ROLE, "", "numpy; the target's arrays are made anew each time")
class ArraysMadeAnew:
    arrays = "numpy"

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.online = {"w": generator.normal(size=(3, 2)), "b": np.zeros(2), "scale": np.ones(())}
        self.target = {name: array.copy() for name, array in self.online.items()}

    def sync(self):
        self.target = {name: np.array(array) for name, array in self.online.items()}

    def mixed(self, old, new, tau):
        return old * (1 - tau) + new * tau

    def soft_update(self, tau):
        self.target = {name: self.mixed(old, self.online[name], tau) for name, old in self.target.items()}


@good(ROLE, "", "torch; running statistics and their counter, copied with everything else")
class RunningStatistics:
    def __init__(self) -> None:
        layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)]
        self.online, self.target = nn.Sequential(*layers).double(), nn.Sequential(*copy.deepcopy(layers)).double()
        for parameter in self.target.parameters():
            parameter.requires_grad_(False)

    def copied(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from zip(self.target.parameters(), self.online.parameters(), strict=True)
        yield from zip(self.target.buffers(), self.online.buffers(), strict=True)

    def sync(self):
        with torch.no_grad():
            for old, new in self.copied():
                old.copy_(new)


@good(ROLE, "", "torch; lists of plain tensors that do not start equal, moved in one foreach call, at one share alone")
class ListsOfTensors:
    starts, taus = "apart", (0.125,)

    def __init__(self) -> None:
        self.online = [torch.randn(3, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)]
        self.target = [torch.zeros_like(tensor) for tensor in self.online]

    def soft_update(self, tau):
        torch._foreach_mul_(self.target, 1 - tau)
        torch._foreach_add_(self.target, self.online, alpha=tau)


@good(ROLE, "", "torch; the target is a deep copy made at each sync; both are saved and loaded")
class DeepCopies:
    def __init__(self) -> None:
        self.online = nn.GRUCell(3, 2).double()
        self.target = copy.deepcopy(self.online)

    def sync(self):
        self.target = copy.deepcopy(self.online)

    def state_dict(self):
        return {"online": self.online.state_dict(), "target": self.target.state_dict()}

    def load_state_dict(self, state):
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])


@good(ROLE, "", "torch; two agents that share an encoder, which a soft update moves once")
class SharedEncoder:
    def __init__(self) -> None:
        self.online, encoder = {}, nn.Linear(3, 3).double()
        for name in ("first", "second"):
            self.online[name] = nn.Sequential(encoder, nn.Linear(3, 2).double())
        self.target = copy.deepcopy(self.online)

    def everything(self, networks: dict[str, nn.Module]) -> list[torch.Tensor]:
        return list(nn.ModuleList(networks.values()).parameters())

    def sync(self):
        for name, network in self.online.items():
            self.target[name].load_state_dict(network.state_dict())

    def soft_update(self, tau):
        for old, new in zip(self.everything(self.target), self.everything(self.online), strict=True):
            old.data = old.data + tau * (new.data - old.data)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "agents_and_mixer", "the mixer is not copied", COPY)
class MixerNotCopied(AgentsAndMixer):
    def sync(self):
        self.target["agents"].load_state_dict(self.online["agents"].state_dict())


@bad(ROLE, "agents_and_mixer", "the online network is set to the target", COPY)
class CopiedBackwards(AgentsAndMixer):
    def sync(self):
        self.online.load_state_dict(self.target.state_dict())


@bad(ROLE, "agents_and_mixer", "behind a sync the two share their memory", COPY)
class SharedBehindSync(AgentsAndMixer):
    def sync(self):
        for old, new in self.pairs():
            old.data = new.data


@bad(ROLE, "agents_and_mixer", "the second sync is the last", COPY)
class SyncsTwice(AgentsAndMixer):
    calls = 0

    def sync(self):
        self.calls += 1
        if self.calls <= 2:
            super().sync()


@bad(ROLE, "agents_and_mixer", "a sync is left out where the two are close already", COPY)
class CloseEnough(AgentsAndMixer):
    def sync(self):
        if not all(torch.allclose(old, new, atol=0.1) for old, new in self.pairs()):
            super().sync()


@bad(ROLE, "agents_and_mixer", "copies through half precision", COPY)
class CopiedInHalf(AgentsAndMixer):
    def sync(self):
        self.target.load_state_dict({name: value.half() for name, value in self.online.state_dict().items()})


@bad(ROLE, "agents_and_mixer", "the share is that of the old numbers", MIXTURE)
class ShareOfTheOld(AgentsAndMixer):
    def share(self, tau):
        return 1 - tau


@bad(ROLE, "agents_and_mixer", "a share of 0 is taken for none given, and becomes 0.005", MIXTURE)
class NoShareGiven(AgentsAndMixer):
    def share(self, tau):
        return tau or 0.005


@bad(ROLE, "agents_and_mixer", "biases are left out of soft updates", MIXTURE)
class BiasesLeftOut(AgentsAndMixer):
    def pairs(self):
        return [(old, new) for old, new in super().pairs() if old.ndim > 1]


@bad(ROLE, "agents_and_mixer", "the last tensor is left out of soft updates", MIXTURE)
class LastTensorLeftOut(AgentsAndMixer):
    def pairs(self):
        return list(super().pairs())[:-1]


@bad(ROLE, "agents_and_mixer", "soft updates take the online network as it was at the start", MIXTURE)
class SoftFromTheStart(AgentsAndMixer):
    def __init__(self):
        super().__init__()
        self.snapshot = [parameter.detach().clone() for parameter in self.online.parameters()]

    def pairs(self):
        return zip(self.target.parameters(), self.snapshot, strict=True)


@bad(ROLE, "agents_and_mixer", "the online network is drawn to the target as well", MIXTURE)
class BothDrawnTogether(AgentsAndMixer):
    @torch.no_grad()
    def soft_update(self, tau):
        super().soft_update(tau)
        for old, new in self.pairs():
            new.lerp_(old, 1e-3)


@bad(ROLE, "agents_and_mixer", "the optimiser has the target's parameters, too, which a gradient reaches", STILL)
class TargetInOptimiser(AgentsAndMixer):
    def __init__(self):
        super().__init__()
        everything = [*self.online.parameters(), *self.target.parameters()]
        self.optimiser = torch.optim.SGD(everything, lr=0.05)

    def bootstrap(self, value):
        return value


@bad(ROLE, "agents_and_mixer", "the loss has a gradient in the target", NO_GRADIENT)
class TargetNotDetached(AgentsAndMixer):
    def bootstrap(self, value):
        return value


@bad(ROLE, "agents_and_mixer", "every fourth training step syncs", STILL)
class TrainingSyncs(AgentsAndMixer):
    steps = 0

    def learn(self):
        super().learn()
        self.steps += 1
        if self.steps % 4 == 0:
            self.sync()


@bad(ROLE, "arrays_made_anew", "arrays of one number are passed by, not copied", COPY)
class ScalarsPassedBy(ArraysMadeAnew):
    def sync(self):
        self.target = {name: np.array(array) if array.ndim else array for name, array in self.online.items()}


@bad(ROLE, "arrays_made_anew", "a soft update of share 1 makes no copy, but hands the arrays over", MIXTURE)
class NoCopyAtShareOne(ArraysMadeAnew):
    def mixed(self, old, new, tau):
        return new if tau == 1 else super().mixed(old, new, tau)


@bad(ROLE, "arrays_made_anew", "the target begins with zeros, although nothing else is declared", START)
class BeginsWithZeros(ArraysMadeAnew):
    def __init__(self):
        super().__init__()
        self.target = {name: np.zeros_like(array) for name, array in self.online.items()}


@bad(ROLE, "running_statistics", "running statistics are not copied", COPY)
class StatisticsNotCopied(RunningStatistics):
    def copied(self):
        yield from zip(self.target.parameters(), self.online.parameters(), strict=True)


@bad(ROLE, "running_statistics", "the counter of batches is not copied", COPY)
class CounterNotCopied(RunningStatistics):
    def copied(self):
        yield from ((old, new) for old, new in super().copied() if old.dtype.is_floating_point)


@bad(ROLE, "lists_of_tensors", "what is added is scaled by 1 - tau once more", MIXTURE)
class AddedWithoutShare(ListsOfTensors):
    def soft_update(self, tau):
        torch._foreach_mul_(self.target, 1 - tau)
        torch._foreach_add_(self.target, self.online, alpha=tau * (1 - tau))


@bad(ROLE, "deep_copies", "the target is not saved; on loading it is set to the online network", SAVED)
class TargetNotSaved(DeepCopies):
    def state_dict(self):
        return {"online": self.online.state_dict()}

    def load_state_dict(self, state):
        self.online.load_state_dict(state["online"])
        self.sync()


@bad(ROLE, "deep_copies", "on loading the target is laid into the online network's memory", SAVED)
class SharedBehindLoading(DeepCopies):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        for old, new in zip(self.target.parameters(), self.online.parameters(), strict=True):
            kept = old.data.clone()
            old.data = new.data
            old.data.copy_(kept)


@bad(ROLE, "shared_encoder", "each agent's network is moved by itself, and so the shared encoder twice", MIXTURE)
class EncoderMovedTwice(SharedEncoder):
    def everything(self, networks):
        return [parameter for network in networks.values() for parameter in network.parameters()]


BAD, GOOD = bad.targets(), good.targets()
