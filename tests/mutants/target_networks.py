"""Target networks: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances speak the role target_network.
"""

import copy
import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from marlspec.reference.parts.networks import EnsembleLinear, approach, frozen_copy, synchronise

from .target import Collection, Factory, Violation

good, bad = Collection(), Collection()


# --- measures: 0 where a promise is kept, else 1 ----------------------------------------------------------------------


def numbers(holder: Any, buffers: bool = True) -> list[Any]:
    """All real tensors and arrays of a network, those themselves."""
    if isinstance(holder, nn.Module):
        found = [*holder.parameters(), *(holder.buffers() if buffers else ())]
        return [value for value in found if value.dtype.is_floating_point]
    if isinstance(holder, dict):
        return [value for part in holder.values() for value in numbers(part, buffers)]
    if isinstance(holder, (list, tuple)):
        return [value for part in holder for value in numbers(part, buffers)]
    return [holder]


def copies(holder: Any, buffers: bool = True) -> list[Any]:
    return [
        np.array(value.detach().numpy() if isinstance(value, Tensor) else value) for value in numbers(holder, buffers)
    ]


def equal(one: list[Any], other: list[Any], tolerance: float = 0.0) -> bool:
    return all(np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True) for a, b in zip(one, other, strict=True))


def shake(holder: Any) -> None:
    with torch.no_grad():
        for value in numbers(holder):
            value += torch.rand(value.shape) if isinstance(value, Tensor) else np.random.rand(*value.shape)


def start_differs(factory: Factory) -> float:
    torch.manual_seed(3)
    made = factory()
    return float(not equal(copies(made.online), copies(made.target)))


def sync_fails(factory: Factory) -> float:
    made = factory()
    for _ in range(2):
        shake(made.online)
        before = copies(made.online)
        made.sync()
        if not equal(copies(made.target), before) or not equal(copies(made.online), before):
            return 1.0
    return 0.0


def drifts(factory: Factory) -> float:
    made = factory()
    update = getattr(made, "sync", None) or (lambda: made.soft_update(0.5))
    for _ in range(3):
        before = copies(made.target)
        shake(made.online)
        if hasattr(made, "learn"):
            made.learn()
        if not equal(copies(made.target), before):
            return 1.0
        update()
    return 0.0


def share_is_wrong(factory: Factory) -> float:
    made = factory()
    for tau in getattr(made, "taus", (0.0, 0.25, 0.9, 1.0)):
        shake(made.online)
        online, target = copies(made.online, buffers=False), copies(made.target, buffers=False)
        made.soft_update(tau)
        wanted = [t + tau * (o - t) for o, t in zip(online, target, strict=True)]
        kept = equal(copies(made.online, buffers=False), online)
        if not kept or not equal(copies(made.target, buffers=False), wanted, 1e-5):
            return 1.0
    return 0.0


def gradient_strays(factory: Factory) -> float:
    made = factory()
    made.loss().backward()
    strays = any(value.grad is not None and value.grad.any() for value in numbers(made.target, buffers=False))
    return float(strays or all(value.grad is None for value in numbers(made.online, buffers=False)))


def forgets(factory: Factory) -> float:
    made, other = factory(), factory()
    for one in (made, other):
        shake(one.online)
    before = copies(made.online), copies(made.target)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=False))
    return float(not equal(copies(other.online), before[0]) or not equal(copies(other.target), before[1]))


START, SYNC = Violation("target_network.start", start_differs), Violation("target_network.sync", sync_fails)
BETWEEN, SOFT = Violation("target_network.between", drifts), Violation("target_network.soft", share_is_wrong)
GRADIENT, SAVED = Violation("target_network.gradient", gradient_strays), Violation("target_network.saved", forgets)


# --- agents and a mixer -----------------------------------------------------------------------------------------------


def pairs(one: Any, other: Any) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(one.parameters(), other.parameters(), strict=True)


@good("target_network", "", "Agents and a mixer, with parameters copied one by one, and soft updates.")
class Agents:
    trained: ClassVar[tuple[str, ...]] = ("agents", "mixer")

    def __init__(self) -> None:
        self.online = nn.ModuleDict(self.parts())
        self.target = self.copied()
        self.optimiser = torch.optim.SGD(self.learned(), 0.1)

    def parts(self) -> dict[str, nn.Module]:
        return {"agents": nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3)]), "mixer": nn.Linear(2, 1)}

    def copied(self) -> Any:
        return copy.deepcopy(self.online).requires_grad_(False)

    def learned(self) -> list[Any]:
        return list(self.online.parameters())

    @torch.no_grad()
    def sync(self) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.copy_(source)

    @torch.no_grad()
    def soft_update(self, tau: float) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.copy_((1 - tau) * receiver + tau * source)

    def value(self, network: Any, x: Tensor) -> Tensor:
        utilities = torch.stack([agent(x).amax(-1) for agent in network["agents"]], -1)
        return network["mixer"](utilities).squeeze(-1)

    def bootstrapped(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return 1 + 0.9 * self.value(self.target, x)

    def loss(self) -> Tensor:
        x = torch.randn(4, 2)
        return (self.bootstrapped(x + 1) - self.value(self.online, x)).square().mean()

    def learn(self) -> None:
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()

    def state_dict(self) -> Any:
        return {"online": self.online.state_dict(), "target": self.target.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])


@bad("target_network", "agents", "The mixer is left out of the sync.", SYNC)
class SyncWithoutMixer(Agents):
    @torch.no_grad()
    def sync(self) -> None:
        for source, receiver in pairs(self.online["agents"], self.target["agents"]):
            receiver.copy_(source)


@bad("target_network", "agents", "The first agent alone is synchronised.", SYNC)
class SyncOfTheFirst(Agents):
    def sync(self) -> None:
        self.target["agents"][0].load_state_dict(self.online["agents"][0].state_dict())
        self.target["mixer"].load_state_dict(self.online["mixer"].state_dict())


@bad("target_network", "agents", "The sync copies the wrong way round.", SYNC)
class SyncBackwards(Agents):
    @torch.no_grad()
    def sync(self) -> None:
        for source, receiver in pairs(self.target, self.online):
            receiver.copy_(source)


@bad("target_network", "agents", "The sync loads the parameters that were put aside at the last sync.", SYNC)
class SyncsOneLate(Agents):
    aside: Any = None

    def sync(self) -> None:
        self.target.load_state_dict(self.aside or self.online.state_dict())
        self.aside = copy.deepcopy(self.online.state_dict())


@bad("target_network", "agents", "The sync copies the weights and forgets the biases.", SYNC)
class SyncWithoutBiases(Agents):
    @torch.no_grad()
    def sync(self) -> None:
        for source, receiver in pairs(self.online, self.target):
            if source.dim() > 1:
                receiver.copy_(source)


@bad("target_network", "agents", "After a sync the target network is the online network.", BETWEEN)
class SyncByName(Agents):
    def sync(self) -> None:
        self.target = self.online


@bad("target_network", "agents", "The target network's mixer is the online mixer.", BETWEEN)
class SharedMixer(Agents):
    def copied(self) -> Any:
        target = copy.deepcopy(self.online)
        target["mixer"] = self.online["mixer"]
        return target


@bad("target_network", "agents", "Parameters are synchronised by handing over the same storage.", BETWEEN)
class SharedStorage(Agents):
    def sync(self) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.data = source.data


@bad("target_network", "agents", "The optimiser holds the target network too, which decays.", BETWEEN)
class OptimisesBoth(Agents):
    def learned(self) -> list[Any]:
        return [*self.online.parameters(), *self.target.requires_grad_().parameters()]

    def bootstrapped(self, x: Tensor) -> Tensor:
        return 1 + 0.9 * self.value(self.target, x)


@bad("target_network", "agents", "Every training step also moves the target a little.", BETWEEN)
class CreepingTarget(Agents):
    def learn(self) -> None:
        super().learn()
        self.soft_update(0.01)


@bad("target_network", "agents", "The share of a soft update is 1 - tau.", SOFT)
class ShareTurnedRound(Agents):
    def soft_update(self, tau: float) -> None:
        super().soft_update(1 - tau)


@bad("target_network", "agents", "A soft update leaves the mixer.", SOFT)
class SoftWithoutMixer(Agents):
    @torch.no_grad()
    def soft_update(self, tau: float) -> None:
        for source, receiver in pairs(self.online["agents"], self.target["agents"]):
            receiver.lerp_(source, tau)


@bad("target_network", "agents", "A soft update moves the online network to the same mixture.", SOFT)
class SoftMovesBoth(Agents):
    @torch.no_grad()
    def soft_update(self, tau: float) -> None:
        super().soft_update(tau)
        self.online.load_state_dict(self.target.state_dict())


@bad("target_network", "agents", "A soft update adds the share and forgets to take it away.", SOFT)
class SoftAdds(Agents):
    @torch.no_grad()
    def soft_update(self, tau: float) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.add_(tau * source)


@bad("target_network", "agents", "Each half of a soft update uses the share once more.", SOFT)
class SoftTwice(Agents):
    def soft_update(self, tau: float) -> None:
        super().soft_update(tau)
        super().soft_update(tau)


@bad("target_network", "agents", "A soft update is skipped where tau is at least one half.", SOFT)
class SoftSometimes(Agents):
    def soft_update(self, tau: float) -> None:
        if tau < 0.5:
            super().soft_update(tau)


@bad("target_network", "agents", "The bootstrapped value is not detached.", GRADIENT)
class NotDetached(Agents):
    def copied(self) -> Any:
        return copy.deepcopy(self.online)

    def bootstrapped(self, x: Tensor) -> Tensor:
        return 1 + 0.9 * self.value(self.target, x)


@bad("target_network", "agents", "The value is detached instead of the target.", GRADIENT)
class DetachedValue(NotDetached):
    def loss(self) -> Tensor:
        x = torch.randn(4, 2)
        return (self.bootstrapped(x + 1) - self.value(self.online, x).detach()).square().mean()


@bad("target_network", "agents", "The target network is not saved, but made of the online one when loading.", SAVED)
class SavesOnlineAlone(Agents):
    def load_state_dict(self, state: Any) -> None:
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["online"])


@bad("target_network", "agents", "Loading leaves the target network's mixer.", SAVED)
class LoadsNoMixer(Agents):
    def load_state_dict(self, state: Any) -> None:
        self.online.load_state_dict(state["online"])
        self.target["agents"].load_state_dict(
            {name.removeprefix("agents."): v for name, v in state["target"].items() if name.startswith("agents.")}
        )


@bad("target_network", "agents", "The target network is drawn by itself.", START)
class DrawnByItself(Agents):
    def copied(self) -> Any:
        return nn.ModuleDict(self.parts()).requires_grad_(False)


@good("target_network", "agents", "The target network may have gradients, but the value is taken without.")
class RequiresGrad(Agents):
    def copied(self) -> Any:
        return copy.deepcopy(self.online)


@good("target_network", "agents", "Starts apart, and says so.")
class StartsApart(DrawnByItself):
    starts = "apart"


@good("target_network", "agents", "Soft updates by one small share alone.")
class OneShare(Agents):
    taus = (0.005,)

    def soft_update(self, tau: float) -> None:
        assert tau == 0.005
        super().soft_update(tau)


@good("target_network", "agents", "The sync puts a fresh copy in place of the target network.")
class FreshCopy(Agents):
    def sync(self) -> None:
        self.target = copy.deepcopy(self.online).requires_grad_(False)


# --- running statistics -----------------------------------------------------------------------------------------------


@good(
    "target_network",
    "",
    "A network with running statistics, copied as a whole; a soft update copies them.",
)
class Normalised:
    def __init__(self) -> None:
        self.online = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.target = copy.deepcopy(self.online)

    def sync(self) -> None:
        self.target.load_state_dict(self.online.state_dict())

    @torch.no_grad()
    def soft_update(self, tau: float) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.lerp_(source, tau)
        for source, receiver in zip(self.online.buffers(), self.target.buffers(), strict=True):
            receiver.copy_(source)

    def learn(self) -> None:
        self.online(torch.randn(5, 2))  # moves the running statistics


@bad("target_network", "normalised", "Parameters are synchronised, running statistics are not.", SYNC)
class SyncWithoutStatistics(Normalised):
    @torch.no_grad()
    def sync(self) -> None:
        for source, receiver in pairs(self.online, self.target):
            receiver.copy_(source)


@bad("target_network", "normalised", "The target network's layer of statistics is the online one's.", BETWEEN)
class SharedStatistics(Normalised):
    def __init__(self) -> None:
        super().__init__()
        self.target[1] = self.online[1]


# --- other kinds ------------------------------------------------------------------------------------------------------


@good("target_network", "", "The reference's functions, on networks for two agents.")
class Reference:
    def __init__(self) -> None:
        self.online = EnsembleLinear((2,), 3, 2)
        self.target = frozen_copy(self.online)

    def sync(self) -> None:
        synchronise(self.target, self.online)

    def soft_update(self, tau: float) -> None:
        approach(self.target, self.online, tau)


@good("target_network", "", "Arrays that are never written, as a functional library has them, and soft updates alone.")
class Functional:
    def __init__(self) -> None:
        self.online = {"w": np.random.rand(2, 3).astype(np.float32), "layers": [np.zeros(3)]}
        self.target = copy.deepcopy(self.online)

    def soft_update(self, tau: float) -> None:
        def mixed(new: Any, old: Any) -> Any:
            if isinstance(new, dict):
                return {name: mixed(new[name], old[name]) for name in new}
            if isinstance(new, list):
                return [mixed(a, b) for a, b in zip(new, old, strict=True)]
            return (tau * new + (1 - tau) * old).astype(new.dtype)

        self.target = mixed(self.online, self.target)


@bad("target_network", "functional", "The lists within are shared.", BETWEEN)
class ShallowCopy(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.target = copy.copy(self.online)

    def soft_update(self, tau: float) -> None:
        self.target = {**self.target, "w": (tau * self.online["w"] + (1 - tau) * self.target["w"]).astype(np.float32)}


BAD, GOOD = bad.targets(), good.targets()
