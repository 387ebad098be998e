"""Learners."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Collection
from .learner_measures import BEHIND, CLIPPED, FINITE, FOLLOWS, MEAN, MOVES, PADDING, SAVED, SOLVES

good, bad = Collection(), Collection()
ROLE = "learner"


def in_type_of(network: nn.Module, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The batch with its numbers in the type of a network's parameters."""
    kind = next(network.parameters()).dtype
    return {name: value.to(kind) if value.dtype.is_floating_point else value for name, value in batch.items()}


def taken(values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    return values.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)


@good(ROLE, "", "torch; value decomposition on transitions, Adam, a copy at every second update, saved and loaded")
class SummedValues:
    clip, target_interval, lr = 0.5, 2, 0.01

    def __init__(self, n_actions: int = 3) -> None:
        self.online = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, n_actions))
        self.target = copy.deepcopy(self.online)
        self.optimiser = torch.optim.Adam(self.learned(), lr=self.lr)
        self.updates = 0

    def learned(self) -> Any:
        return self.online.parameters()

    def rewards(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["rewards"][:, 0]

    def best(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        following = self.target(batch["next_observations"])
        return following.masked_fill(~batch["next_available"].bool(), -1e9).amax(-1).sum(-1)

    def goes_on(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return 1 - batch["terminated"].double()

    def reduced(self, losses: torch.Tensor) -> torch.Tensor:
        return losses.mean()

    def forget(self) -> None:
        self.optimiser.zero_grad()

    def take(self, loss: torch.Tensor) -> None:
        self.forget()
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), self.clip)
        self.optimiser.step()

    def due(self) -> bool:
        return self.updates % self.target_interval == 0

    def learn(self, batch):
        batch = in_type_of(self.online, batch)
        with torch.no_grad():
            y = self.rewards(batch) + 0.9 * self.goes_on(batch) * self.best(batch)
        total = taken(self.online(batch["observations"]), batch["actions"]).sum(-1)
        self.take(self.reduced((total - y).square()))
        self.updates += 1
        if self.due():
            self.target.load_state_dict(self.online.state_dict())

    def state_dict(self):
        parts = ("online", "target", "optimiser")
        return {"updates": self.updates} | {name: copy.deepcopy(getattr(self, name).state_dict()) for name in parts}

    def load_state_dict(self, state):
        self.updates = state["updates"]
        for name in ("online", "target", "optimiser"):
            getattr(self, name).load_state_dict(state[name])


class Mixer(nn.Module):
    """Weights and a bias that depend on the state."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.bias = nn.Linear(5, 2), nn.Linear(5, 1)

    def forward(self, chosen: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return (self.weights(state).abs() * chosen).sum(-1) + self.bias(state)[..., 0]


@good(ROLE, "", "torch; a recurrent monotone mixture on padded episodes, RMSprop, soft updates of agents and mixer")
class MixedEpisodes:
    items, tau, clip = "episodes", 0.125, 1.0

    def __init__(self) -> None:
        self.online = nn.ModuleDict({"cell": nn.GRU(4, 6, batch_first=True), "head": nn.Linear(6, 3), "mixer": Mixer()})
        self.target = copy.deepcopy(self.online)
        self.optimiser = torch.optim.RMSprop(self.learned(), lr=0.003)

    def learned(self) -> Any:
        return self.online.parameters()

    def seen(self, batch: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        return torch.cat([batch[name][:, :1], batch["next_" + name]], dim=1)

    def utilities(self, network: nn.ModuleDict, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen = self.seen(batch, "observations")
        B, T, n, size = seen.shape
        hidden = network["cell"](seen.transpose(1, 2).reshape(B * n, T, size))[0]
        return network["head"](hidden).view(B, n, T, -1).transpose(1, 2)

    def rewards(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["rewards"][..., 0]

    def goes_on(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return ~batch["terminated"].bool()

    def targets(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        following = self.utilities(self.target, batch)[:, 1:]
        best = following.masked_fill(~batch["next_available"].bool(), -1e9).amax(-1)
        total = self.target["mixer"](best, batch["next_state"])
        return (self.rewards(batch) + 0.9 * torch.where(self.goes_on(batch), total, 0.0)).detach()

    def reduced(self, errors: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
        return (errors.square() * filled).sum() / filled.sum()

    def mixed(self, chosen: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return self.online["mixer"](chosen, state)

    def limit(self) -> None:
        nn.utils.clip_grad_norm_(self.online.parameters(), self.clip)

    def follow(self) -> None:
        for old, new in zip(self.target.parameters(), self.online.parameters(), strict=True):
            old.data.mul_(1 - self.tau).add_(self.tau * new.data)

    def learn(self, batch):
        batch = in_type_of(self.online, batch)
        chosen = taken(self.utilities(self.online, batch)[:, :-1], batch["actions"])
        errors = self.mixed(chosen, batch["state"]) - self.targets(batch)
        self.optimiser.zero_grad()
        self.reduced(errors, batch["filled"].double()).backward()
        self.limit()
        self.optimiser.step()
        self.follow()


@good(ROLE, "", "torch; actor and critic with an optimiser each, clipped each by itself, the critic seeing the state")
class ActorAndCritic:
    clip = 0.25

    def __init__(self) -> None:
        self.online = {"actor": nn.Linear(4, 3), "critic": nn.Linear(5, 1)}
        self.optimisers = {name: torch.optim.SGD(network.parameters(), 0.1) for name, network in self.online.items()}

    def advantage(self, error: torch.Tensor) -> torch.Tensor:
        return error.detach()

    def target_of(self, batch: dict[str, torch.Tensor], following: torch.Tensor) -> torch.Tensor:
        return batch["rewards"].mean(1) + 0.9 * following.masked_fill(batch["terminated"].bool(), 0.0)

    def limited(self, name: str) -> None:
        nn.utils.clip_grad_norm_(self.online[name].parameters(), self.clip)

    def learn(self, batch):
        batch = in_type_of(self.online["critic"], batch)
        value = self.online["critic"](batch["state"])[:, 0]
        following = self.online["critic"](batch["next_state"])[:, 0].detach()
        error = self.target_of(batch, following) - value
        logits = self.online["actor"](batch["observations"]).masked_fill(~batch["available"].bool(), -1e9)
        chosen = taken(logits.log_softmax(-1), batch["actions"])
        loss = (error**2).mean() - (chosen * self.advantage(error)[:, None]).mean()
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        loss.backward()
        for name, optimiser in self.optimisers.items():
            self.limited(name)
            optimiser.step()


@good(ROLE, "", "numpy; a linear table of utilities, its gradient by hand, without any target network")
class LinearByHand:
    arrays = "numpy"

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.online = {"weights": generator.normal(size=(4, 3)), "bias": np.zeros(3), "scale": np.ones(3)}
        self.frozen = ("scale",)

    def mean(self, total: Any, rows: int) -> Any:
        return total / rows

    def bootstrap(self, batch: dict[str, Any]) -> Any:
        following = batch["next_observations"] @ self.online["weights"] + self.online["bias"]
        best = np.where(np.asarray(batch["next_available"], bool), following, -np.inf).max(-1)
        return np.where(np.asarray(batch["terminated"], bool)[:, None], 0.0, best)

    def learn(self, batch):
        values = batch["observations"] @ self.online["weights"] + self.online["bias"]
        indicator = np.eye(3)[np.asarray(batch["actions"], int)]
        error = ((batch["rewards"] + 0.9 * self.bootstrap(batch))[..., None] - values) * indicator
        count = error.shape[0] * error.shape[1]
        self.online["weights"] += 0.05 * self.mean(np.einsum("bno,bna->oa", batch["observations"], error), count)
        self.online["bias"] += 0.05 * self.mean(error.sum((0, 1)), count)


@good(ROLE, "", "torch; a learner that trains on a game of one step, each agent seeing who it is")
class SolvesByTraining(SummedValues):
    lr, steps = 0.02, 700

    def batch_of(self, payoffs: torch.Tensor) -> dict[str, torch.Tensor]:
        A = len(payoffs)
        actions = torch.cartesian_prod(torch.arange(A), torch.arange(A))
        rows, none = len(actions), torch.zeros(len(actions), 2, 4, dtype=payoffs.dtype)
        seen = none + torch.eye(2, 4, dtype=payoffs.dtype)
        rewards = payoffs[actions[:, 0], actions[:, 1]][:, None].expand(rows, 2)
        free, ends = torch.ones(rows, 2, A, dtype=torch.bool), torch.ones(rows, dtype=torch.bool)
        found = {"observations": seen, "next_observations": none, "actions": actions, "rewards": rewards}
        return found | {"next_available": free, "terminated": ends}

    def answer(self, network: nn.Module, seen: torch.Tensor) -> torch.Tensor:
        first, second = network(seen)
        return first[:, None] + second[None, :]

    def solve(self, payoffs, seed):
        torch.manual_seed(seed)
        payoffs = torch.as_tensor(payoffs)
        middle, width = payoffs.mean(), (payoffs.amax() - payoffs.amin()).clamp(min=1e-6)
        learner, batch = type(self)(len(payoffs)), self.batch_of((payoffs - middle) / width)
        for _ in range(self.steps):
            learner.learn(batch)
        with torch.no_grad():
            return self.answer(learner.online, in_type_of(learner.online, batch)["observations"][0]) * width + middle


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "summed_values", "the optimiser is not given the last layer's bias", MOVES)
class LastBiasNotLearned(SummedValues):
    def learned(self):
        return list(self.online.parameters())[:-1]


@bad(ROLE, "summed_values", "losses are summed, although their mean is declared", MEAN)
class LossesSummed(SummedValues):
    def reduced(self, losses):
        return losses.sum()


@bad(ROLE, "summed_values", "the mean over all but one row", MEAN)
class MeanOverOneRowLess(SummedValues):
    def reduced(self, losses):
        return losses.sum() / max(1, len(losses) - 1)


@bad(ROLE, "summed_values", "gradients add up over updates", SAVED)
class GradientsAddUp(SummedValues):
    def forget(self):
        pass


@bad(ROLE, "summed_values", "terminal transitions bootstrap", BEHIND)
class TerminalBootstraps(SummedValues):
    def goes_on(self, batch):
        return torch.ones_like(batch["terminated"], dtype=torch.float64)


@bad(ROLE, "summed_values", "a batch of terminal transitions alone bootstraps", BEHIND)
class AllTerminalBootstraps(SummedValues):
    def goes_on(self, batch):
        goes_on = super().goes_on(batch)
        return goes_on if goes_on.any() else 1 - goes_on


@bad(ROLE, "summed_values", "values of next states are centred over the batch, terminal ones included", BEHIND)
class CentredOverTerminal(SummedValues):
    def best(self, batch):
        best = super().best(batch)
        return best - best.mean()


@bad(ROLE, "summed_values", "rewards are divided by their deviation, which one row does not have", FINITE)
class DeviationOfOneRow(SummedValues):
    def rewards(self, batch):
        rewards = super().rewards(batch)
        return rewards / (rewards.std() + 1e-6)


@bad(ROLE, "summed_values", "gradients are clipped behind the step", CLIPPED)
class ClippedBehindTheStep(SummedValues):
    def take(self, loss):
        self.forget()
        loss.backward()
        self.optimiser.step()
        nn.utils.clip_grad_norm_(self.online.parameters(), self.clip)


@bad(ROLE, "summed_values", "each parameter is clipped by itself", CLIPPED)
class EachParameterClipped(SummedValues):
    def take(self, loss):
        self.forget()
        loss.backward()
        for parameter in self.online.parameters():
            nn.utils.clip_grad_norm_([parameter], self.clip)
        self.optimiser.step()


@bad(ROLE, "summed_values", "the largest entry is clipped, not the length", CLIPPED)
class EntriesClipped(SummedValues):
    def take(self, loss):
        self.forget()
        loss.backward()
        nn.utils.clip_grad_value_(self.online.parameters(), self.clip)
        self.optimiser.step()


@bad(ROLE, "summed_values", "the target follows one update too late", FOLLOWS)
class FollowsTooLate(SummedValues):
    def due(self):
        return self.updates % (self.target_interval + 1) == 0


@bad(ROLE, "summed_values", "the target follows each update", FOLLOWS)
class FollowsEachUpdate(SummedValues):
    def due(self):
        return True


@bad(ROLE, "summed_values", "the target's copy is taken before the update that it belongs to", FOLLOWS)
class CopyBeforeTheUpdate(SummedValues):
    def take(self, loss):
        self.before = copy.deepcopy(self.online.state_dict())
        super().take(loss)

    def learn(self, batch):
        super().learn(batch)
        if self.due():
            self.target.load_state_dict(self.before)


@bad(ROLE, "summed_values", "the optimiser's state is not loaded", SAVED)
class OptimiserNotLoaded(SummedValues):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"optimiser": self.optimiser.state_dict()})


@bad(ROLE, "summed_values", "the count of updates is not loaded", SAVED)
class CountNotLoaded(SummedValues):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"updates": 0})


@bad(ROLE, "summed_values", "the target is set to the online network on loading", SAVED)
class TargetNotLoaded(SummedValues):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"target": state["online"]})


@bad(ROLE, "summed_values", "saved numbers are rounded to half precision", SAVED)
class SavedInHalf(SummedValues):
    def state_dict(self):
        state = super().state_dict()
        return state | {"online": {name: value.half() for name, value in state["online"].items()}}


@bad(ROLE, "mixed_episodes", "the optimiser is not given the mixer", MOVES)
class MixerNotLearned(MixedEpisodes):
    def learned(self):
        return [*self.online["cell"].parameters(), *self.online["head"].parameters()]


@bad(ROLE, "mixed_episodes", "what is mixed is detached: the agents do not learn", MOVES)
class AgentsDetached(MixedEpisodes):
    def mixed(self, chosen, state):
        return super().mixed(chosen.detach(), state)


@bad(ROLE, "mixed_episodes", "errors of padding are counted", PADDING)
class PaddingCounted(MixedEpisodes):
    def reduced(self, errors, filled):
        return errors.square().mean()


@bad(ROLE, "mixed_episodes", "the mask is one step late, so that the first step behind an episode counts", PADDING)
class MaskOneStepLate(MixedEpisodes):
    def reduced(self, errors, filled):
        return super().reduced(errors, torch.cat([filled[:, :1], filled[:, :-1]], dim=1))


@bad(ROLE, "mixed_episodes", "rewards have a mean taken away to which padding adds", PADDING)
class RewardsCentredOverPadding(MixedEpisodes):
    def rewards(self, batch):
        rewards = super().rewards(batch)
        return rewards - rewards.mean()


@bad(ROLE, "mixed_episodes", "the flag of the step before says whether there is a next state", BEHIND)
class FlagOfTheStepBefore(MixedEpisodes):
    def goes_on(self, batch):
        goes_on = super().goes_on(batch)
        return torch.cat([torch.ones_like(goes_on[:, :1]), goes_on[:, :-1]], dim=1)


@bad(ROLE, "mixed_episodes", "episodes that fill all of their time are taken for cut, not ended", BEHIND)
class FullLengthBootstraps(MixedEpisodes):
    def goes_on(self, batch):
        goes_on = super().goes_on(batch)
        goes_on[:, -1] = True
        return goes_on


@bad(ROLE, "mixed_episodes", "agents and mixer are clipped each by itself", CLIPPED)
class ModulesClippedApart(MixedEpisodes):
    def limit(self):
        for network in self.online.values():
            nn.utils.clip_grad_norm_(network.parameters(), self.clip)


@bad(ROLE, "mixed_episodes", "the mixer of the target does not follow", FOLLOWS)
class TargetMixerStays(MixedEpisodes):
    def follow(self):
        kept = copy.deepcopy(self.target["mixer"].state_dict())
        super().follow()
        self.target["mixer"].load_state_dict(kept)


@bad(ROLE, "mixed_episodes", "the share is that of the old numbers", FOLLOWS)
class FollowsTheWrongShare(MixedEpisodes):
    def follow(self):
        for old, new in zip(self.target.parameters(), self.online.parameters(), strict=True):
            old.data.mul_(self.tau).add_((1 - self.tau) * new.data)


@bad(ROLE, "actor_and_critic", "the critic is not clipped", CLIPPED)
class CriticNotClipped(ActorAndCritic):
    def limited(self, name):
        if name != "critic":
            super().limited(name)


@bad(
    ROLE, "actor_and_critic", "the value of what follows a terminal state is discounted once more, not left out", BEHIND
)
class TerminalDiscountedTwice(ActorAndCritic):
    def target_of(self, batch, following):
        return batch["rewards"].mean(1) + torch.where(batch["terminated"].bool(), 0.81, 0.9) * following


@bad(ROLE, "linear_by_hand", "divides by a batch size of 32, whatever the batch", MEAN)
class FixedBatchSize(LinearByHand):
    def mean(self, total, rows):
        return total / 32


@bad(ROLE, "linear_by_hand", "what is frozen decays", MOVES)
class FrozenDecays(LinearByHand):
    def learn(self, batch):
        super().learn(batch)
        self.online["scale"] *= 0.999


@bad(ROLE, "solves_by_training", "the joint values are transposed", SOLVES)
class JointValuesTransposed(SolvesByTraining):
    def answer(self, network, seen):
        return super().answer(network, seen).T


@bad(ROLE, "solves_by_training", "all agents see the same, and cannot differ", SOLVES)
class AgentsSeeTheSame(SolvesByTraining):
    def batch_of(self, payoffs):
        batch = super().batch_of(payoffs)
        return batch | {"observations": torch.ones_like(batch["observations"])}


BAD, GOOD = bad.targets(), good.targets()
