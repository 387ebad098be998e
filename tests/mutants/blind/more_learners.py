"""Further learners: independent agents with priors, real steps alone, returns, a joint table, arrays with momentum."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from ..target import Collection, Factory, Violation
from .common import Array, gap
from .learner_measures import (
    ACTIONS,
    BEHIND,
    CLIPPED,
    FOLLOWS,
    LONGEST,
    MEAN,
    MOVES,
    PADDING,
    SAVED,
    Batch,
    batch_for,
    everything,
    gradients,
    is_episodic,
    learn,
    made,
)
from .learners import in_type_of, taken
from .target_networks import apart

good, bad = Collection(), Collection()
ROLE = "learner"


# --- measures ---------------------------------------------------------------------------------------------------------


def full_batch(learner: Any, seed: int, rows: int) -> Batch:
    """A random batch; episodes fill all of their time, and some of them are cut there, not ended."""
    batch = batch_for(learner, seed, rows)
    if is_episodic(learner):
        ended = np.random.default_rng(seed).random(rows) < 0.5
        batch["filled"][:] = True
        batch["terminated"] = (np.arange(LONGEST) == LONGEST - 1) & ended[:, None]
    return batch


def gradients_of(factory: Factory, batch: Batch) -> list[Array]:
    """What one update of a new learner takes up, nothing being clipped."""
    learner = made(factory)
    learner.clip = 1e9
    learn(learner, batch)
    return gradients(learner)


def off_the_rows(factory: Factory) -> float:
    """How far the gradient of a batch is from the mean of the gradients of its rows."""
    worst = 0.0
    for seed, rows in ((1, 3), (2, 2), (3, 7)):
        batch = full_batch(made(factory), seed, rows)
        single = [gradients_of(factory, {name: f[k : k + 1] for name, f in batch.items()}) for k in range(rows)]
        mean = [np.mean(parts, axis=0) for parts in zip(*single, strict=True)]
        worst = max(worst, apart(gradients_of(factory, batch), mean))
    return worst


def off_the_mean_later(factory: Factory) -> float:
    """How far the gradient of a batch taken twice is from that of the batch, behind an update on fewer rows."""
    found = []
    for times in (1, 2):
        learner = made(factory)
        learner.clip = 1e9
        learn(learner, batch_for(learner, 1, 2))
        learn(learner, {name: np.concatenate([f] * times) for name, f in batch_for(learner, 2, 5).items()})
        found.append(gradients(learner))
    return apart(*found)


def felt_more_padding(factory: Factory) -> float:
    """How far updates on episodes of up to two steps differ when two steps of padding are added."""
    short, long = made(factory), made(factory)
    if not is_episodic(short):
        return 0.0
    for seed in range(3):
        batch = batch_for(short, seed)
        lengths = np.minimum(batch["filled"].sum(1), 2)
        last = np.arange(LONGEST) == lengths[:, None] - 1
        ended = batch["terminated"].any(1)
        batch |= {"filled": np.arange(LONGEST) < lengths[:, None], "terminated": last & ended[:, None]}
        learn(long, batch)
        learn(short, {name: field[:, :2] for name, field in batch.items()})
    return apart(everything(short), everything(long))


def written_into(factory: Factory) -> float:
    """The largest change that an update makes to the batch."""
    learner = made(factory)
    batch = batch_for(learner, 4)
    as_torch = getattr(learner, "arrays", "torch") == "torch"
    handed = {name: torch.from_numpy(field.copy()) if as_torch else field.copy() for name, field in batch.items()}
    learner.learn(handed)
    return max(gap(handed[name], field.astype(np.float64)) for name, field in batch.items())


def off_when_loaded_again(factory: Factory) -> float:
    """How far a learner is from what was saved, when it has gone on and loads the same again."""
    learner = made(factory)
    if not hasattr(learner, "load_state_dict"):
        return 0.0
    for seed in range(3):
        learn(learner, batch_for(learner, seed))
    state, saved = copy.deepcopy(learner.state_dict()), everything(learner)
    worst = 0.0
    for _ in range(2):
        learner.load_state_dict(state)
        worst = max(worst, apart(everything(learner), saved))
        for seed in range(3, 6):
            learn(learner, batch_for(learner, seed))
    return worst


def off_any_game(factory: Factory) -> float:
    """How far joint values are from any payoffs, in shares of their range beyond a tenth."""
    learner, worst = made(factory), 0.0
    if getattr(learner, "represents", "additive") != "all":
        return 0.0
    for seed in range(3):
        payoffs = np.random.default_rng(seed).uniform(-5, 5, (ACTIONS, ACTIONS))
        values = np.asarray(learner.solve(torch.from_numpy(payoffs), seed))
        worst = max(worst, float(np.abs(values - payoffs).max() / np.ptp(payoffs)) - 0.1)
    return worst


ROWS = Violation("the gradient of a batch is the mean of its rows' gradients", off_the_rows)
LATER = Violation("a batch taken twice has the gradient of the batch, in later updates as well", off_the_mean_later)
LONGER = Violation("more padding changes no update", felt_more_padding)
PURE = Violation("the batch stays as it is", written_into)
AGAIN = Violation("what was saved can be loaded again", off_when_loaded_again)
ANY_GAME = Violation("joint values of any game are its payoffs", off_any_game)


# --- good ones --------------------------------------------------------------------------------------------------------


@good(
    ROLE,
    "",
    "torch; three independent agents with frozen priors, rewards of their own, double estimators, an Adam each",
)
class IndependentWithPriors:
    n_agents, n_actions, observation_size, common_reward = 3, 2, 3, False
    clip, target_interval = 0.5, 3
    frozen = tuple(f"{k}.prior.{name}" for k in range(3) for name in ("weight", "bias"))

    def __init__(self) -> None:
        self.online = nn.ModuleList(
            nn.ModuleDict({"net": nn.Linear(3, 2), "prior": nn.Linear(3, 2)}) for _ in range(self.n_agents)
        )
        self.freeze()
        self.target = copy.deepcopy(self.online)
        self.optimisers = {k: self.optimiser(agent) for k, agent in enumerate(self.online)}
        self.updates = 0

    def freeze(self) -> None:
        for agent in self.online:
            agent["prior"].requires_grad_(False)

    def optimiser(self, agent: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([one for one in agent.parameters() if one.requires_grad], lr=0.01)

    def values(self, agent: Any, seen: torch.Tensor) -> torch.Tensor:
        return agent["net"](seen) + agent["prior"](seen)

    def ends(self, batch: dict[str, torch.Tensor], k: int) -> torch.Tensor:
        return batch["terminated"].bool()

    def following(self, batch: dict[str, torch.Tensor], k: int) -> torch.Tensor:
        seen, free = batch["next_observations"][:, k], batch["next_available"][:, k].bool()
        best = self.values(self.online[k], seen).masked_fill(~free, -torch.inf).argmax(-1)
        return taken(self.values(self.target[k], seen), best)

    def loss(self, chosen: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(chosen, y)

    def pieces(self, chosen: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.loss(chosen, y)

    def limit(self, k: int) -> None:
        nn.utils.clip_grad_norm_(self.online[k].parameters(), self.clip)

    def step(self, k: int) -> None:
        self.optimisers[k].step()

    def count(self, rows: int) -> None:
        self.updates += 1

    def due(self) -> bool:
        return self.updates % self.target_interval == 0

    def sync(self) -> None:
        self.target.load_state_dict(self.online.state_dict())

    def learn(self, batch):
        batch = in_type_of(self.online, batch)
        for k, agent in enumerate(self.online):
            with torch.no_grad():
                following = self.following(batch, k).masked_fill(self.ends(batch, k), 0.0)
                y = batch["rewards"][:, k] + 0.9 * following
            chosen = taken(self.values(agent, batch["observations"][:, k]), batch["actions"][:, k])
            self.optimisers[k].zero_grad()
            self.pieces(chosen, y).backward()
            self.limit(k)
            self.step(k)
        self.count(len(batch["rewards"]))
        if self.due():
            self.sync()

    def state_dict(self):
        found = {"online": self.online.state_dict(), "target": self.target.state_dict(), "updates": self.updates}
        optimisers = {k: optimiser.state_dict() for k, optimiser in self.optimisers.items()}
        return copy.deepcopy(found | {"optimisers": optimisers})

    def load_network(self, name: str, part: dict[str, torch.Tensor]) -> None:
        getattr(self, name).load_state_dict(part)

    def load_state_dict(self, state):
        state = copy.deepcopy(state)
        self.updates = state["updates"]
        for name in ("online", "target"):
            self.load_network(name, state[name])
        for k, part in state["optimisers"].items():
            self.optimisers[k].load_state_dict(part)


@good(ROLE, "", "torch; a sum of utilities on the real steps of episodes, plain tensors, momentum, soft updates")
class SumOfRealSteps:
    items, tau = "episodes", 0.25

    def __init__(self) -> None:
        shapes = {"inner": (4, 6), "shift": (6,), "outer": (6, 3)}
        self.online = {name: torch.randn(shape).mul(0.3).requires_grad_() for name, shape in shapes.items()}
        self.target = {name: tensor.detach().clone() for name, tensor in self.online.items()}
        self.optimiser = torch.optim.SGD(self.learned(), lr=0.05, momentum=0.5)

    def learned(self) -> list[torch.Tensor]:
        return list(self.online.values())

    def values(self, network: dict[str, torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
        return torch.tanh(seen @ network["inner"] + network["shift"]) @ network["outer"]

    def mask(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["filled"].bool()

    def real(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mask = self.mask(batch)
        return {name: value[mask] for name, value in batch.items()}

    def rows(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return batch

    def rewards(self, steps: dict[str, torch.Tensor]) -> torch.Tensor:
        return steps["rewards"][:, 0]

    def following(self, steps: dict[str, torch.Tensor]) -> torch.Tensor:
        values = self.values(self.target, steps["next_observations"])
        return values.masked_fill(~steps["next_available"].bool(), -torch.inf).amax(-1).sum(-1)

    def divisor(self, batch: dict[str, torch.Tensor]) -> Any:
        return self.mask(batch).sum()

    def follow(self, episodes: int) -> None:
        for name, old in self.target.items():
            old.lerp_(self.online[name].detach(), self.tau)

    def update(self, loss: torch.Tensor, episodes: int) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.follow(episodes)

    def learn(self, batch):
        kind = self.online["inner"].dtype
        batch = self.rows({n: v.to(kind) if v.dtype.is_floating_point else v for n, v in batch.items()})
        steps = self.real(batch)
        with torch.no_grad():
            y = self.rewards(steps) + 0.9 * torch.where(steps["terminated"].bool(), 0.0, self.following(steps))
        chosen = taken(self.values(self.online, steps["observations"]), steps["actions"]).sum(-1)
        self.update((chosen - y).square().sum() / self.divisor(batch), len(batch["rewards"]))


@good(
    ROLE,
    "",
    "torch; actor and critic by returns of whole episodes, one optimiser and one length, a falling rate, saved",
)
class ReturnsOfEpisodes:
    items, clip = "episodes", 0.5

    def __init__(self) -> None:
        self.online = nn.ModuleDict({"actor": nn.Linear(4, 3), "critic": nn.Linear(5, 1)})
        self.optimiser = torch.optim.Adam(self.online.parameters(), lr=0.02)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda k: 0.8**k)
        self.remember()

    def remember(self) -> None:
        pass

    def ended(self, batch: dict[str, torch.Tensor], t: int) -> torch.Tensor:
        return batch["terminated"][:, t].bool()

    def last(self, batch: dict[str, torch.Tensor], t: int) -> torch.Tensor:
        filled = batch["filled"].bool()
        return torch.ones_like(filled[:, t]) if t + 1 == filled.shape[1] else ~filled[:, t + 1]

    def returns(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        following = self.online["critic"](batch["next_state"])[..., 0].detach()
        found = following[:, -1]
        rows = []
        for t in range(following.shape[1] - 1, -1, -1):
            found = torch.where(self.last(batch, t), following[:, t], found)
            found = batch["rewards"][:, t, 0] + 0.9 * found.masked_fill(self.ended(batch, t), 0.0)
            rows.append(found)
        return torch.stack(rows[::-1], dim=1)

    def weights(self, advantages: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
        return advantages

    def limit(self) -> None:
        nn.utils.clip_grad_norm_(self.online.parameters(), self.clip)

    def backward(self, actor: torch.Tensor, critic: torch.Tensor) -> None:
        (actor + critic).backward()
        self.limit()

    def learn(self, batch):
        batch = in_type_of(self.online, batch)
        filled = batch["filled"].to(batch["rewards"].dtype)
        errors = self.returns(batch) - self.online["critic"](batch["state"])[..., 0]
        logits = self.online["actor"](batch["observations"]).masked_fill(~batch["available"].bool(), -1e9)
        chosen = taken(logits.log_softmax(-1), batch["actions"]).sum(-1)
        weights = self.weights(errors.detach(), filled)
        self.optimiser.zero_grad()
        actor, critic = -(weights * chosen * filled).sum(), (errors.square() * filled).sum()
        self.backward(actor / filled.sum(), critic / filled.sum())
        self.optimiser.step()
        self.schedule.step()

    def state_dict(self):
        return {name: copy.deepcopy(getattr(self, name).state_dict()) for name in ("online", "optimiser", "schedule")}

    def load_state_dict(self, state):
        state = copy.deepcopy(state)
        self.load_networks(state["online"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.load_schedule(state["schedule"])

    def load_networks(self, part: dict[str, torch.Tensor]) -> None:
        self.online.load_state_dict(part)

    def load_schedule(self, part: dict[str, Any]) -> None:
        self.schedule.load_state_dict(part)


@good(ROLE, "", "torch; one value of each joint action, linear in the state, which holds any game of one step")
class JointActionValues:
    represents, steps = "all", 150

    def __init__(self, n_actions: int = 3, lr: float = 0.05) -> None:
        self.A = n_actions
        self.online = nn.Linear(5, n_actions**2)
        self.optimiser = torch.optim.SGD(self.online.parameters(), lr=lr)

    def values(self, state: torch.Tensor) -> torch.Tensor:
        return self.online(state).view(-1, self.A, self.A)

    def place(self, actions: torch.Tensor) -> torch.Tensor:
        return self.A * actions[:, 0] + actions[:, 1]

    def learn(self, batch):
        batch = in_type_of(self.online, batch)
        free = batch["next_available"].bool()
        both = free[:, 0, :, None] & free[:, 1, None, :]
        with torch.no_grad():
            best = self.values(batch["next_state"]).masked_fill(~both, -torch.inf).flatten(1).amax(1)
            y = batch["rewards"].mean(1) + 0.9 * torch.where(batch["terminated"].bool(), 0.0, best)
        chosen = taken(self.values(batch["state"]).flatten(1), self.place(batch["actions"].long()))
        self.optimiser.zero_grad()
        (chosen - y).square().mean().backward()
        self.optimiser.step()

    def batch_of(self, payoffs: torch.Tensor) -> dict[str, torch.Tensor]:
        A = len(payoffs)
        actions = torch.cartesian_prod(torch.arange(A), torch.arange(A))
        state, none = torch.eye(5, dtype=payoffs.dtype)[:1].expand(A * A, 5), torch.zeros(A * A, 2, 4)
        rewards = payoffs[actions[:, 0], actions[:, 1]][:, None].expand(A * A, 2)
        free, ends = torch.ones(A * A, 2, A, dtype=torch.bool), torch.ones(A * A, dtype=torch.bool)
        found = {"observations": none, "next_observations": none, "state": state, "next_state": state}
        return found | {"next_available": free, "terminated": ends, "actions": actions, "rewards": rewards}

    def solve(self, payoffs, seed):
        torch.manual_seed(seed)
        payoffs = torch.as_tensor(payoffs)
        learner, batch = type(self)(len(payoffs), lr=0.5), self.batch_of(payoffs)
        for _ in range(self.steps):
            learner.learn(batch)
        with torch.no_grad():
            values = learner.values(in_type_of(learner.online, batch)["state"][:1])[0]
            return values.flatten()[learner.place(batch["actions"])].view_as(payoffs)


@good(ROLE, "", "numpy; linear values of each agent, momentum by hand, a target copied at every second update, saved")
class MomentumByHand:
    arrays, target_interval = "numpy", 2

    def __init__(self) -> None:
        generator = np.random.default_rng(3)
        self.online: Any = {"agents": [generator.normal(size=(4, 3)) for _ in range(2)], "bias": np.zeros((2, 3))}
        self.speed, self.updates = self.zeros(), 0
        self.target = copy.deepcopy(self.online)

    def zeros(self) -> Any:
        return {"agents": [np.zeros((4, 3)) for _ in range(2)], "bias": np.zeros((2, 3))}

    def values(self, network: Any, seen: Array) -> Array:
        parts = [seen[:, k] @ weights + network["bias"][k] for k, weights in enumerate(network["agents"])]
        return np.stack(parts, axis=1)

    def goes_on(self, batch: Batch) -> Array:
        return 1.0 - np.asarray(batch["terminated"], float)

    def rate(self) -> float:
        return 0.05

    def learn(self, batch):
        following = self.values(self.target, batch["next_observations"])
        best = np.where(np.asarray(batch["next_available"], bool), following, -np.inf).max(-1)
        y = batch["rewards"] + 0.9 * self.goes_on(batch)[:, None] * best
        error = (y[..., None] - self.values(self.online, batch["observations"])) * np.eye(3)[batch["actions"]]
        self.speed["bias"] = 0.5 * self.speed["bias"] + error.mean(0)
        self.online["bias"] += self.rate() * self.speed["bias"]
        for k, weights in enumerate(self.online["agents"]):
            slope = batch["observations"][:, k].T @ error[:, k] / len(error)
            self.speed["agents"][k] = 0.5 * self.speed["agents"][k] + slope
            weights += self.rate() * self.speed["agents"][k]
        self.updates += 1
        if self.updates % self.target_interval == 0:
            self.follow()

    def follow(self) -> None:
        self.target = copy.deepcopy(self.online)

    def state_dict(self):
        return copy.deepcopy({name: getattr(self, name) for name in ("online", "target", "speed", "updates")})

    def loaded(self, name: str, value: Any) -> Any:
        return copy.deepcopy(value)

    def load_state_dict(self, state):
        for name, value in state.items():
            setattr(self, name, self.loaded(name, value))


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "independent_with_priors", "priors are learned as well", MOVES)
class PriorsLearned(IndependentWithPriors):
    def freeze(self):
        pass


@bad(ROLE, "independent_with_priors", "the third agent's optimiser never steps", MOVES)
class ThirdAgentNeverSteps(IndependentWithPriors):
    def step(self, k):
        if k < 2:
            super().step(k)


@bad(ROLE, "independent_with_priors", "an end is one for the first agent alone", BEHIND)
class EndOfTheFirstAgent(IndependentWithPriors):
    def ends(self, batch, k):
        ends = super().ends(batch, k)
        return ends if k == 0 else torch.zeros_like(ends)


@bad(ROLE, "independent_with_priors", "each row's value is compared with every row's target, by a missing axis", ROWS)
class EachRowMeetsAll(IndependentWithPriors):
    def loss(self, chosen, y):
        return (chosen[:, None] - y).square().mean()


@bad(ROLE, "independent_with_priors", "a row's target has the next row's following value", ROWS)
class FollowingOfTheNextRow(IndependentWithPriors):
    def following(self, batch, k):
        return super().following(batch, k).roll(-1, 0)


@bad(ROLE, "independent_with_priors", "minibatches of four rows add up, undivided", MEAN)
class MinibatchesAddUp(IndependentWithPriors):
    def pieces(self, chosen, y):
        parts = [self.loss(one, other) for one, other in zip(chosen.split(4), y.split(4), strict=True)]
        return torch.stack(parts).sum()


@bad(ROLE, "independent_with_priors", "the largest entry is what is clipped to, as norm of infinite order", CLIPPED)
class LargestEntryAsNorm(IndependentWithPriors):
    def limit(self, k):
        nn.utils.clip_grad_norm_(self.online[k].parameters(), self.clip, norm_type=torch.inf)


@bad(
    ROLE, "independent_with_priors", "a gradient of many times the length is taken for noise, and not clipped", CLIPPED
)
class LongestNotClipped(IndependentWithPriors):
    def limit(self, k):
        held = [one.grad for one in self.online[k].parameters() if one.grad is not None]
        if torch.cat([one.flatten() for one in held]).norm() < 500 * self.clip:
            super().limit(k)


@bad(ROLE, "independent_with_priors", "the interval counts transitions", FOLLOWS)
class CountsTransitions(IndependentWithPriors):
    synced = 0

    def count(self, rows):
        self.updates += rows

    def due(self):
        return self.updates - self.synced >= self.target_interval

    def sync(self):
        super().sync()
        self.synced = self.updates


@bad(ROLE, "independent_with_priors", "the first update syncs, and each third one behind it", FOLLOWS)
class SyncsFromTheFirst(IndependentWithPriors):
    def due(self):
        return self.updates % self.target_interval == 1


@bad(ROLE, "independent_with_priors", "each agent's target is the next agent", FOLLOWS)
class TargetIsTheNextAgent(IndependentWithPriors):
    def sync(self):
        for k, target in enumerate(self.target):
            target["net"].load_state_dict(self.online[(k + 1) % self.n_agents]["net"].state_dict())


@bad(ROLE, "independent_with_priors", "priors are not loaded, as if they could be drawn again", SAVED)
class PriorsNotLoaded(IndependentWithPriors):
    def load_network(self, name, part):
        learned = {key: value for key, value in part.items() if "prior" not in key}
        getattr(self, name).load_state_dict(learned, strict=False)


@bad(ROLE, "independent_with_priors", "all agents' optimisers are loaded with the last one's state", SAVED)
class LastOptimiserForAll(IndependentWithPriors):
    def state_dict(self):
        state = super().state_dict()
        return state | {"optimisers": dict.fromkeys(state["optimisers"], state["optimisers"][2])}


@bad(ROLE, "sum_of_real_steps", "the sum over real steps is divided by all steps, padding included", LONGER)
class DividedByAllSteps(SumOfRealSteps):
    def divisor(self, batch):
        return batch["filled"].numel()


@bad(ROLE, "sum_of_real_steps", "the divisor is that of the first batch ever", LATER)
class DivisorOfTheFirstBatch(SumOfRealSteps):
    known: Any = None

    def divisor(self, batch):
        if self.known is None:
            self.known = super().divisor(batch)
        return self.known


@bad(ROLE, "sum_of_real_steps", "what follows a step is the next real one, also where an episode is cut", ROWS)
class RunsIntoTheNextEpisode(SumOfRealSteps):
    def following(self, steps):
        names = ("observations", "available")
        return super().following({"next_" + name: steps[name].roll(-1, 0) for name in names})


@bad(ROLE, "sum_of_real_steps", "real is what no end lies before: episodes that are cut have no end", PADDING)
class RealUntilAnEnd(SumOfRealSteps):
    def mask(self, batch):
        ends = batch["terminated"].long()
        return ends.cumsum(1) - ends == 0


@bad(ROLE, "sum_of_real_steps", "batches are cut to an even number of episodes", ROWS)
class OddEpisodeDropped(SumOfRealSteps):
    def rows(self, batch):
        even = max(1, len(batch["rewards"]) // 2 * 2)
        return {name: value[:even] for name, value in batch.items()}


@bad(ROLE, "sum_of_real_steps", "rewards are divided by the largest one of the batch", ROWS)
class RewardsByTheLargest(SumOfRealSteps):
    def rewards(self, steps):
        rewards = super().rewards(steps)
        return rewards / rewards.abs().amax().clamp(min=1.0)


@bad(ROLE, "sum_of_real_steps", "rewards are scaled in place, in the batch", PURE)
class ScalesTheBatch(SumOfRealSteps):
    def learn(self, batch):
        batch["rewards"] *= 0.1
        super().learn(batch)


@bad(ROLE, "sum_of_real_steps", "the target follows before the step", FOLLOWS)
class FollowsBeforeTheStep(SumOfRealSteps):
    def update(self, loss, episodes):
        self.optimiser.zero_grad()
        loss.backward()
        self.follow(episodes)
        self.optimiser.step()


@bad(ROLE, "sum_of_real_steps", "the target follows once for each episode of the batch", FOLLOWS)
class FollowsForEachEpisode(SumOfRealSteps):
    def follow(self, episodes):
        for _ in range(episodes):
            super().follow(episodes)


@bad(ROLE, "sum_of_real_steps", "vectors are left out of soft updates: the target keeps its first shift", FOLLOWS)
class ShiftDoesNotFollow(SumOfRealSteps):
    def follow(self, episodes):
        kept = self.target["shift"].clone()
        super().follow(episodes)
        self.target["shift"].copy_(kept)


@bad(ROLE, "sum_of_real_steps", "the optimiser holds copies, which are learned in place of what is online", MOVES)
class LearnsInCopies(SumOfRealSteps):
    def learned(self):
        return [tensor.detach().clone().requires_grad_() for tensor in self.online.values()]


@bad(ROLE, "returns_of_episodes", "returns run back through padding", PADDING)
class ReturnsThroughPadding(ReturnsOfEpisodes):
    def last(self, batch, t):
        last = super().last(batch, t)
        return torch.full_like(last, t + 1 == batch["filled"].shape[1])


@bad(ROLE, "returns_of_episodes", "whether an episode ended is looked up in the last column", BEHIND)
class EndInTheLastColumn(ReturnsOfEpisodes):
    def ended(self, batch, t):
        return super().ended(batch, -1) & self.last(batch, t)


@bad(ROLE, "returns_of_episodes", "advantages are divided by their length, which grows with the batch", MEAN)
class AdvantagesByTheirLength(ReturnsOfEpisodes):
    def weights(self, advantages, filled):
        return advantages / (advantages * filled).norm().clamp(min=1e-6)


@bad(ROLE, "returns_of_episodes", "the critic's gradient is added when the actor's has been clipped", CLIPPED)
class CriticBehindTheClip(ReturnsOfEpisodes):
    def backward(self, actor, critic):
        actor.backward()
        self.limit()
        critic.backward()


@bad(ROLE, "returns_of_episodes", "the parameters to clip are a generator, which the first update uses up", CLIPPED)
class GeneratorUsedUp(ReturnsOfEpisodes):
    def remember(self):
        self.clipped = self.online.parameters()

    def limit(self):
        nn.utils.clip_grad_norm_(self.clipped, self.clip)


@bad(ROLE, "returns_of_episodes", "the schedule is not loaded", SAVED)
class ScheduleNotLoaded(ReturnsOfEpisodes):
    def load_schedule(self, part):
        pass


@bad(ROLE, "returns_of_episodes", "loading makes new networks, and the optimiser keeps the old ones' parameters", SAVED)
class OptimiserKeepsTheOld(ReturnsOfEpisodes):
    def load_networks(self, part):
        self.online = copy.deepcopy(self.online)
        self.online.load_state_dict(part)


@bad(ROLE, "joint_action_values", "joint values are sums of rows' and columns' means", ANY_GAME)
class SumsInDisguise(JointActionValues):
    def values(self, state):
        values = super().values(state)
        return values.mean(1, keepdim=True) + values.mean(2, keepdim=True)


@bad(ROLE, "joint_action_values", "actions that add up to the same have the same place", ANY_GAME)
class PlacesCollide(JointActionValues):
    def place(self, actions):
        return actions[:, 0] + actions[:, 1]


@bad(ROLE, "joint_action_values", "values are never negative", ANY_GAME)
class ValuesNeverNegative(JointActionValues):
    def values(self, state):
        return nn.functional.softplus(super().values(state))


@bad(ROLE, "joint_action_values", "solving stops early", ANY_GAME)
class SolvesTooBriefly(JointActionValues):
    steps = 3


@bad(ROLE, "momentum_by_hand", "what is loaded is learned in, and no longer what was saved", AGAIN)
class LearnsInWhatWasSaved(MomentumByHand):
    def loaded(self, name, value):
        return value


@bad(ROLE, "momentum_by_hand", "a sync makes the target the online network itself", FOLLOWS)
class TargetIsTheOnline(MomentumByHand):
    def follow(self):
        self.target = self.online


@bad(ROLE, "momentum_by_hand", "a sync is a shallow copy: agents' arrays are shared", FOLLOWS)
class ShallowSync(MomentumByHand):
    def follow(self):
        self.target = dict(self.online) | {"bias": self.online["bias"].copy()}


@bad(ROLE, "momentum_by_hand", "speeds are nought behind a loading", SAVED)
class SpeedsNotLoaded(MomentumByHand):
    def loaded(self, name, value):
        return self.zeros() if name == "speed" else super().loaded(name, value)


BAD, GOOD = bad.targets(), good.targets()
