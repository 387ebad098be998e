"""Further target networks: whole vectors, a list of agents, nested arrays, a learner of its own, shadow averages."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Collection, Factory, Violation
from .common import Array
from .target_networks import (
    COPY,
    MIXTURE,
    NO_GRADIENT,
    SAVED,
    START,
    STILL,
    apart,
    made,
    numbers,
    write,
)

good, bad = Collection(), Collection()
ROLE = "target_network"


# --- measures ---------------------------------------------------------------------------------------------------------


def mixed(pair: Any, tau: float) -> list[Array]:
    return [(1 - tau) * old + tau * new for old, new in zip(numbers(pair.target), numbers(pair.online), strict=True)]


def off_the_mixture_of_all_sizes(factory: Factory) -> float:
    """How far soft updates are from the mixture, relatively, where the two are close, and where numbers are large."""
    pair, generator, worst = made(factory), np.random.default_rng(11), 0.0
    if not hasattr(pair, "soft_update"):
        return 0.0
    for k, near in enumerate((None, 1e-3, 200.0, 1e-3, 5e-3, 200.0)):
        if near and near < 1 and hasattr(pair, "sync"):
            pair.sync()
        write(pair.online, generator, near)
        tau = getattr(pair, "taus", (0.5, 0.25, 0.75))[k % len(getattr(pair, "taus", (0, 0, 0)))]
        expected, scale = mixed(pair, tau), max(1.0, near or 1.0)
        pair.soft_update(tau)
        worst = max(worst, apart(numbers(pair.target), expected) / scale)
    return worst


def off_in_order(factory: Factory) -> float:
    """How far the target is from a model of it when syncs and soft updates follow on each other in many orders."""
    pair, generator, worst = made(factory), np.random.default_rng(12), 0.0
    if not (hasattr(pair, "sync") and hasattr(pair, "soft_update")):
        return 0.0
    tau = getattr(pair, "taus", (0.25,))[0]
    for letter in "csccsscsssccs":
        write(pair.online, generator)
        expected = numbers(pair.online) if letter == "c" else mixed(pair, tau)
        if letter == "c":
            pair.sync()
        else:
            pair.soft_update(tau)
        worst = max(worst, apart(numbers(pair.target), expected))
    return worst


def off_behind_loading(factory: Factory) -> float:
    """How far syncs and soft updates behind a loading are from what they should do."""
    pair, generator = made(factory), np.random.default_rng(13)
    if not hasattr(pair, "load_state_dict"):
        return 0.0
    write(pair.online, generator)
    saved = copy.deepcopy(pair.state_dict())
    write(pair.online, generator)
    pair.load_state_dict(saved)
    write(pair.online, generator)
    worst = 0.0
    if hasattr(pair, "soft_update"):
        tau = getattr(pair, "taus", (0.25,))[0]
        expected = mixed(pair, tau)
        pair.soft_update(tau)
        worst = apart(numbers(pair.target), expected)
    if hasattr(pair, "sync"):
        pair.sync()
        worst = max(worst, apart(numbers(pair.target), numbers(pair.online)))
    return worst


SIZES = Violation("soft_update makes the mixture of close numbers and of large ones", off_the_mixture_of_all_sizes)
ORDER = Violation("sync and soft_update do the same in any order", off_in_order)
LOADED = Violation("behind loading the target follows as before", off_behind_loading)


# --- good ones --------------------------------------------------------------------------------------------------------


@good(ROLE, "", "torch; all parameters as one vector, which is laid into the target's, a layer norm among them")
class OneVector:
    def __init__(self) -> None:
        self.online = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2)).double()
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def vector(self, network: nn.Module) -> torch.Tensor:
        return nn.utils.parameters_to_vector(network.parameters()).detach()

    def lay(self, vector: torch.Tensor) -> None:
        nn.utils.vector_to_parameters(vector, self.target.parameters())

    def step(self, difference: torch.Tensor, tau: float) -> torch.Tensor:
        return tau * difference

    def sync(self):
        self.lay(self.vector(self.online))

    def soft_update(self, tau):
        old = self.vector(self.target)
        self.lay(old + self.step(self.vector(self.online) - old, tau))


@good(ROLE, "", "torch; a list of three agents with a frozen part each, one after another by named parameters")
class ThreeAgents:
    def __init__(self) -> None:
        self.online = [nn.ModuleDict({"prior": nn.Linear(2, 3), "net": nn.Linear(2, 3)}).double() for _ in range(3)]
        for agent in self.online:
            agent["prior"].requires_grad_(False)
        self.target = [self.twin(agent) for agent in self.online]

    def twin(self, agent: nn.ModuleDict) -> nn.ModuleDict:
        return copy.deepcopy(agent)

    def couples(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        yield from zip(self.target, self.online, strict=True)

    def moves(self, name: str, parameter: torch.Tensor) -> bool:
        return True

    def sync(self):
        self.soft_update(1.0)

    def soft_update(self, tau):
        for old_agent, new_agent in self.couples():
            news = dict(new_agent.named_parameters())
            for name, old in old_agent.named_parameters():
                if self.moves(name, old):
                    old.data.copy_(torch.where(torch.tensor(tau == 1), news[name].data, self.mix(old, news[name], tau)))

    def mix(self, old: torch.Tensor, new: torch.Tensor, tau: float) -> torch.Tensor:
        return (1 - tau) * old.data + tau * new.data


@good(ROLE, "", "numpy; arrays in lists, tuples and mappings, written in place by recursion; saved as flat copies")
class NestedArrays:
    def __init__(self) -> None:
        generator = np.random.default_rng(4)
        layers = [{"w": generator.normal(size=(2, 2)), "b": generator.normal(size=2)} for _ in range(2)]
        self.online: Any = {"agents": layers, "mixer": (np.ones((2, 1)), np.array(0.5))}
        self.target: Any = copy.deepcopy(self.online)

    def flat(self, part: Any) -> list[Array]:
        if isinstance(part, dict):
            part = list(part.values())
        return [part] if isinstance(part, np.ndarray) else [leaf for inner in part for leaf in self.flat(inner)]

    def value(self, new: Array) -> Array:
        return new

    def sync(self):
        for old, new in zip(self.flat(self.target), self.flat(self.online), strict=True):
            old[...] = self.value(new)

    def soft_update(self, tau):
        for old, new in zip(self.flat(self.target), self.flat(self.online), strict=True):
            self.mix(old, new, tau)

    def mix(self, old: Array, new: Array, tau: float) -> None:
        old *= 1 - tau
        old += tau * new

    def entry(self, array: Array) -> Array:
        return array.copy()

    def state_dict(self):
        parts = {"online": self.flat(self.online), "target": self.flat(self.target)}
        return {f"{name}.{k}": self.entry(a) for name, arrays in parts.items() for k, a in enumerate(arrays)}

    def load_state_dict(self, state):
        for name in ("online", "target"):
            for k, array in enumerate(self.flat(getattr(self, name))):
                array[...] = state[f"{name}.{k}"]


@good(ROLE, "", "torch; a critic with running statistics that trains by Adam; the target never leaves evaluation")
class TrainedCritic:
    def __init__(self) -> None:
        torso = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.online = nn.ModuleDict({"torso": torso, "mixer": nn.Linear(5, 1)}).double()
        self.target = copy.deepcopy(self.online)
        self.steady()
        self.optimiser = torch.optim.Adam(self.online.parameters(), lr=0.01, weight_decay=0.01)

    def steady(self) -> None:
        self.target.eval()

    def following(self, data: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.target["mixer"](self.target["torso"](data))

    def loss(self):
        data = torch.linspace(-2, 2, 24, dtype=torch.float64).view(6, 4).sin()
        value = self.online["mixer"](self.online["torso"](data))
        return nn.functional.smooth_l1_loss(value, 0.5 + 0.9 * self.following(data.flip(0)))

    def learn(self):
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()

    def sync(self):
        self.target.load_state_dict(self.online.state_dict())

    def state_dict(self):
        return copy.deepcopy({"online": self.online.state_dict(), "target": self.target.state_dict()})

    def load_state_dict(self, state):
        for name in ("online", "target"):
            self.load(name, state[name])

    def load(self, name: str, part: dict[str, torch.Tensor]) -> None:
        getattr(self, name).load_state_dict(part)


@good(ROLE, "", "torch; named tensors without any module; pairs are found anew, since loading makes new tensors")
class NamedTensors:
    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(9)
        self.online = {name: torch.randn(3, generator=draw, dtype=torch.float64) for name in ("zeta", "alpha", "mu")}
        self.target = self.twin()
        self.begin()

    def begin(self) -> None:
        pass

    def twin(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.online.items()}

    def pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.target[name], self.online[name]) for name in self.target]

    def share(self, tau: float) -> float:
        return tau

    def sync(self):
        for old, new in self.pairs():
            old.copy_(new)

    def soft_update(self, tau):
        for old, new in self.pairs():
            old.add_(self.share(tau) * (new - old))

    def state_dict(self):
        return {"online": copy.deepcopy(self.online), "target": copy.deepcopy(self.target)}

    def load_state_dict(self, state):
        self.online, self.target = copy.deepcopy(state["online"]), copy.deepcopy(state["target"])


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "one_vector", "steps shorter than a thousandth are left out", SIZES)
class ShortStepsLeftOut(OneVector):
    def step(self, difference, tau):
        return torch.where(difference.abs() < 2e-3, 0.0, tau * difference)


@bad(ROLE, "one_vector", "the way of a soft update is clipped, so that far targets follow too slowly", SIZES)
class LongStepsClipped(OneVector):
    def step(self, difference, tau):
        return (tau * difference).clamp(-20, 20)


@bad(ROLE, "one_vector", "the vector of the online network is laid in transposed where a matrix is square", COPY)
class SquareOnesTransposed(OneVector):
    def lay(self, vector):
        super().lay(vector)
        for parameter in self.target.parameters():
            if parameter.ndim == 2 and parameter.shape[0] == parameter.shape[1]:
                parameter.data = parameter.data.T.clone()


@bad(ROLE, "one_vector", "what is laid into the target keeps the length that the vector had before", ORDER)
class LengthOfTheVectorKept(OneVector):
    def soft_update(self, tau):
        old = self.vector(self.target)
        new = old + self.step(self.vector(self.online) - old, tau)
        self.lay(new * old.norm() / new.norm())


@bad(ROLE, "three_agents", "two agents are gone through, as there were once", COPY)
class TwoAgentsFollow(ThreeAgents):
    def couples(self):
        yield from list(super().couples())[:2]


@bad(ROLE, "three_agents", "all agents' targets follow the first agent", MIXTURE)
class AllFollowTheFirst(ThreeAgents):
    def couples(self):
        yield from ((old, self.online[0]) for old in self.target)


@bad(ROLE, "three_agents", "parameters without a gradient are passed over", MIXTURE)
class FrozenOnesPassedOver(ThreeAgents):
    def moves(self, name, parameter):
        return parameter.requires_grad


@bad(ROLE, "three_agents", "the first agent's twin is the agent itself", COPY)
class FirstTwinIsTheAgent(ThreeAgents):
    def twin(self, agent):
        return agent if agent is self.online[0] else super().twin(agent)


@bad(ROLE, "three_agents", "twins have drawn numbers of their own at the start", START)
class TwinsDrawTheirOwn(ThreeAgents):
    def twin(self, agent):
        twin = super().twin(agent)
        twin["net"].reset_parameters()
        return twin


@bad(ROLE, "nested_arrays", "the online arrays are scaled in place by the share", MIXTURE)
class ScalesTheOnline(NestedArrays):
    def mix(self, old, new, tau):
        old *= 1 - tau
        new *= tau
        old += new


@bad(ROLE, "nested_arrays", "the second step reads what the first has written: old * (1 - tau) is taken twice", MIXTURE)
class OldScaledTwice(NestedArrays):
    def mix(self, old, new, tau):
        old *= 1 - tau
        old[...] = (1 - tau) * old + tau * new


@bad(ROLE, "nested_arrays", "tuples are leaves that nobody writes into", COPY)
class TuplesAreLeaves(NestedArrays):
    def sync(self):
        for old, new in zip(self.flat(self.target["agents"]), self.flat(self.online["agents"]), strict=True):
            old[...] = new


@bad(ROLE, "nested_arrays", "a column is filled by the mean of what is copied", COPY)
class VectorsByTheirMean(NestedArrays):
    def value(self, new):
        return new.mean() if new.shape == (2, 1) else new


@bad(ROLE, "nested_arrays", "saves numbers with four digits behind the point", SAVED)
class FourDigitsSaved(NestedArrays):
    def entry(self, array):
        return np.round(array, 4)


@bad(
    ROLE, "nested_arrays", "loading writes the target's numbers into the online network, and the other way round", SAVED
)
class LoadedTheWrongWayRound(NestedArrays):
    def load_state_dict(self, state):
        names = {"online": "target", "target": "online"}
        super().load_state_dict({names[k.split(".")[0]] + "." + k.split(".")[1]: v for k, v in state.items()})


@bad(
    ROLE, "trained_critic", "the target is in training, too, and its running statistics move by what it is shown", STILL
)
class TargetInTrainingMode(TrainedCritic):
    def steady(self):
        pass


@bad(ROLE, "trained_critic", "the target's torso is outside of the graph, its mixer inside", NO_GRADIENT)
class MixerOfTargetInGraph(TrainedCritic):
    def following(self, data):
        with torch.no_grad():
            hidden = self.target["torso"](data)
        return self.target["mixer"](hidden)


@bad(ROLE, "trained_critic", "training ends with a soft update of a thousandth", STILL)
class TrainingMovesALittle(TrainedCritic):
    def learn(self):
        super().learn()
        for old, new in zip(self.target.parameters(), self.online.parameters(), strict=True):
            old.data.lerp_(new.data, 1e-3)


@bad(
    ROLE,
    "trained_critic",
    "names that are not found in the mixer are passed over on loading, by a misspelt prefix",
    SAVED,
)
class MisspeltOnLoading(TrainedCritic):
    def load(self, name, part):
        renamed = {key.replace("mixer.", "mixers."): value for key, value in part.items()}
        getattr(self, name).load_state_dict(renamed, strict=False)


@bad(ROLE, "trained_critic", "running statistics are passed by on loading: each network keeps those that it has", SAVED)
class StatisticsNotLoaded(TrainedCritic):
    def load(self, name, part):
        own = dict(getattr(self, name).named_buffers())
        super().load(name, part | {key: value.clone() for key, value in own.items()})


@bad(ROLE, "named_tensors", "pairs are found once, and loading leaves them with tensors that nobody holds", LOADED)
class PairsOfTheStart(NamedTensors):
    def begin(self):
        self.found = super().pairs()

    def pairs(self):
        return self.found


@bad(ROLE, "named_tensors", "values are paired by their sorted names on one side, by their order on the other", COPY)
class PairedByOtherOrders(NamedTensors):
    def pairs(self):
        return list(zip(self.target.values(), (self.online[name] for name in sorted(self.online)), strict=True))


@bad(ROLE, "named_tensors", "shares are rounded to hundredths", MIXTURE)
class SharesInHundredths(NamedTensors):
    def share(self, tau):
        return round(tau, 2)


@bad(ROLE, "named_tensors", "the first shares are larger, as for an average that began with zeros", ORDER)
class ShareMadeUpFor(NamedTensors):
    calls = 0

    def share(self, tau):
        self.calls += 1
        return tau / (1 - (1 - tau) ** self.calls) if tau else tau


@bad(ROLE, "named_tensors", "a shadow is averaged, which a sync passes by", ORDER)
class ShadowPassedBy(NamedTensors):
    def begin(self):
        self.shadow = self.twin()

    def soft_update(self, tau):
        for name, shadow in self.shadow.items():
            shadow.lerp_(self.online[name], tau)
            self.target[name].copy_(shadow)


@bad(ROLE, "named_tensors", "a sync directly behind a soft update is left out", ORDER)
class NoSyncBehindSoft(NamedTensors):
    soft = False

    def sync(self):
        if not self.soft:
            super().sync()
        self.soft = False

    def soft_update(self, tau):
        super().soft_update(tau)
        self.soft = True


@bad(ROLE, "named_tensors", "the largest share is a half", MIXTURE)
class HalfAtMost(NamedTensors):
    def share(self, tau):
        return min(tau, 0.5)


BAD, GOOD = bad.targets(), good.targets()
