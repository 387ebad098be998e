"""Joint values whose greedy joint actions are those of the agents."""

from functools import cache
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array
from .mixer_measures import Sizes, asked, each, not_finite, relative, rows_by_themselves, same_answers, writes

good, bad = Collection(), Collection()
ROLE = "joint_value"
SIZES: tuple[Sizes, ...] = ((2, 2, 3), (3, 2, 2), (2, 3, 1), (2, 4, 2), (1, 3, 2), (3, 3, 1), (1, 1, 1), (4, 2, 2))


def tables(generator: np.random.Generator, sizes: Sizes) -> list[Array]:
    """Utilities of one row: of several magnitudes, negative alone, near each other, with ties, and all equal."""
    shape = sizes[:2]
    found = [generator.normal(size=shape) * spread for spread in (1.0, 0.01, 30.0)]
    found += [generator.normal(size=shape) * 2 - 20, generator.normal(size=shape) + 9]
    found += [generator.normal(size=shape) * 0.01 + 20]
    found += [generator.integers(-1, 2, shape).astype(float) for _ in range(3)]
    return [*found, np.full(shape, -2.0), np.zeros(shape)]


def all_joint(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    """One table a case, in one state, with a row for every joint action."""
    actions = np.array(list(product(range(sizes[1]), repeat=sizes[0])))
    found = []
    for table in tables(generator, sizes):
        state = generator.normal(size=sizes[2])
        found.append((np.tile(table, (len(actions), 1, 1)), actions, np.tile(state, (len(actions), 1))))
    return found


def batches(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    """Rows of different tables, actions and states."""
    found = []
    for rows in (6, 1, sizes[0], 3):
        utilities = np.array([tables(generator, sizes)[b] for b in range(rows)])
        actions = generator.integers(0, sizes[1], (rows, sizes[0]))
        found.append((utilities, actions, generator.normal(size=(rows, sizes[2]))))
    state = np.ones((4, sizes[2]))
    found += [(generator.normal(size=(4, *sizes[:2])) * 3, np.zeros((4, sizes[0]), dtype=int), state) for _ in "ab"]
    return found


def extremes(generator: np.random.Generator, sizes: Sizes) -> list[Arguments]:
    found = []
    for spread in (0.0, 1.0, 1e3, 1e6):
        utilities = generator.normal(size=(6, *sizes[:2])) * spread
        actions = np.concatenate([utilities[:3].argmax(-1), generator.integers(0, sizes[1], (3, sizes[0]))])
        found.append((utilities, actions, generator.normal(size=(6, sizes[2])) * spread))
    return found


def regret(utilities: Array, actions: Array) -> Array:
    """What each agent's action lies below its best, summed over agents."""
    found = np.zeros(len(utilities))
    for b, i in np.ndindex(*actions.shape):
        found[b] += utilities[b, i].max() - utilities[b, i, actions[b, i]]
    return found


def greedy_is_not_best(factory: Factory) -> float:
    """The most that a joint action is above one whose every action is greedy."""
    worst = 0.0
    for function, _, case in each(factory, SIZES, all_joint):
        values, below = asked(function, case), regret(case[0], case[1])
        short = values.max() - values[below == 0]
        worst = max(worst, relative(short, values[below == 0]))
    return worst


def costs_too_little(factory: Factory) -> float:
    """The most by which the cost of regret falls short of what is declared; 0 where nothing is."""
    worst = 0.0
    for function, _, case in each(factory, SIZES, all_joint):
        slope, values, below = getattr(function, "min_slope", 0.0), asked(function, case), regret(case[0], case[1])
        if not np.isfinite(values).all():
            return NEVER
        if slope > 0:
            worst = max(worst, relative(slope * below - (values[below == 0].max() - values), values))
    return worst


# Cached, since a good variant is the base of many.
IGM = Violation("joint actions of greedy actions are best", cache(greedy_is_not_best))
SLOPE = Violation("each unit of regret costs what is declared", cache(costs_too_little))
ROWS = Violation("each row by itself", cache(rows_by_themselves(SIZES, batches)))
SAME = Violation("the same answer to the same case", cache(same_answers(SIZES, batches)))
FINITE = Violation("finite for what is finite", cache(not_finite(SIZES, extremes)))
PURE = Violation("what is handed over stays as it is", cache(writes(SIZES, batches)))


@good(ROLE, "", "a module of torch as QPLEX: values, and advantages weighed by state and joint action")
class DuplexDueling(nn.Module):
    min_slope = 0.1

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__()
        self.n, self.count = n_agents, n_actions
        self.weigher = nn.Sequential(nn.Linear(state_size + n_agents * n_actions, 8), nn.Tanh(), nn.Linear(8, n_agents))
        self.offset = nn.Linear(state_size, 1)

    def one_hot(self, actions):
        return functional.one_hot(actions, self.count)

    def weights(self, state, actions):
        joint = self.one_hot(actions).flatten(1).to(state.dtype)
        return self.positive(self.weigher(torch.cat([state, joint], -1)))

    def positive(self, numbers):
        return numbers.abs() + self.min_slope

    def chosen(self, utilities, actions):
        return utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def best(self, utilities):
        return utilities.amax(-1)

    def advantage(self, utilities, actions):
        return self.chosen(utilities, actions) - self.best(utilities)

    def value(self, utilities, actions, state):
        return self.best(utilities).sum(-1) + self.offset(state).squeeze(-1)

    def forward(self, utilities, actions, state):
        cost = (self.weights(state, actions) * self.advantage(utilities, actions)).sum(-1)
        return self.value(utilities, actions, state) + cost


@good(ROLE, "", "numpy; the chosen utilities' sum, and a value of the state, as QTRAN's transformed value")
class SumAndStateValue:
    arrays, min_slope = "numpy", 1.0

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        self.n, self.count = n_agents, n_actions
        self.of_state = np.linspace(-1.0, 2.0, state_size)

    def taken(self, utilities: Array, actions: Array) -> Array:
        return np.take_along_axis(utilities, actions[..., None], -1)[..., 0]

    def agents(self, taken: Array, actions: Array) -> Array:
        return taken.sum(1)

    def __call__(self, utilities, actions, state):
        return self.agents(self.taken(utilities, actions), actions) + np.tanh(state @ self.of_state)


@good(ROLE, "", "torch without modules; chosen utilities are mixed monotonically, and no slope is promised")
class MixedChosen:
    width = 4

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        self.n, self.count = n_agents, n_actions
        self.first = torch.randn(state_size, n_agents * self.width, requires_grad=True)
        self.second = torch.randn(state_size, self.width, requires_grad=True)
        self.last = torch.randn(state_size, requires_grad=True)

    def chosen(self, utilities, actions):
        return (utilities * functional.one_hot(actions, self.count)).sum(-1)

    def outer(self, state):
        return (state @ self.second).square()

    def mixed(self, chosen, state):
        weights = (state @ self.first).square().unflatten(1, (self.n, self.width))
        return (functional.elu((chosen.unsqueeze(-1) * weights).sum(1)) * self.outer(state)).sum(-1)

    def __call__(self, utilities, actions, state):
        return self.mixed(self.chosen(utilities, actions), state) + state @ self.last


@good(ROLE, "", "plain Python; what regret costs is taken from a state's value, by a price for each action")
class PricedRegret:
    arrays, min_slope = "numpy", 0.5

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        generator = np.random.default_rng(n_agents * 100 + n_actions * 10 + state_size)
        self.n = n_agents
        self.prices = (self.min_slope + generator.exponential(size=(n_agents, n_actions))).tolist()

    def best(self, row: list[float]) -> float:
        return max(row)

    def cost(self, agent: int, action: int, regret: float) -> float:
        return self.prices[agent][action] * regret

    def total(self, costs: list[float], utilities: list[list[float]], actions: list[int]) -> float:
        return sum(costs)

    def row(self, utilities: list[list[float]], actions: list[int], state: list[float]) -> float:
        costs = [
            self.cost(i, a, self.best(row) - row[a]) for i, (row, a) in enumerate(zip(utilities, actions, strict=True))
        ]
        return sum(state) - self.total(costs, utilities, actions)

    def __call__(self, utilities, actions, state):
        rows = zip(utilities.tolist(), actions.tolist(), state.tolist(), strict=True)
        return np.array([self.row(*row) for row in rows])


@bad(ROLE, "duplex_dueling", "the advantages' weights are not made positive", IGM)
class SignedAdvantageWeights(DuplexDueling):
    def positive(self, numbers):
        return numbers + self.min_slope


@bad(ROLE, "duplex_dueling", "advantages are relative to the mean over actions, as in dueling networks", IGM)
class AdvantageOverMean(DuplexDueling):
    def best(self, utilities):
        return utilities.mean(-1)


@bad(ROLE, "duplex_dueling", "the best is a log-sum-exp, which lies above the maximum", IGM)
class SoftBest(DuplexDueling):
    def best(self, utilities):
        return utilities.logsumexp(-1)


@bad(ROLE, "duplex_dueling", "the maximum is taken over all agents' utilities", IGM)
class BestOfAllAgents(DuplexDueling):
    def best(self, utilities):
        return utilities.amax((1, 2)).unsqueeze(-1).expand(-1, self.n)


@bad(ROLE, "duplex_dueling", "the maximum leaves out the last action", IGM)
class BestWithoutTheLast(DuplexDueling):
    def best(self, utilities):
        return utilities[..., : max(1, self.count - 1)].amax(-1)


@bad(ROLE, "duplex_dueling", "the weights meet the chosen utilities, not the advantages", IGM)
class WeighedUtilities(DuplexDueling):
    def advantage(self, utilities, actions):
        return self.chosen(utilities, actions)


@bad(ROLE, "duplex_dueling", "regret is added", IGM)
class RegretAdded(DuplexDueling):
    def advantage(self, utilities, actions):
        return -super().advantage(utilities, actions)


@bad(ROLE, "duplex_dueling", "the state's value sees the actions as well", IGM)
class ValueSeesActions(DuplexDueling):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.offset = nn.Linear(state_size + n_agents, 1)

    def value(self, utilities, actions, state):
        return self.best(utilities).sum(-1) + self.offset(torch.cat([state, actions.to(state.dtype)], -1)).squeeze(-1)


@bad(ROLE, "duplex_dueling", "utilities are scaled by their batch's deviation in advantages", ROWS)
class AdvantageByBatchDeviation(DuplexDueling):
    def advantage(self, utilities, actions):
        return super().advantage(utilities, actions) / (utilities.std(unbiased=False) + 1e-5)


@bad(ROLE, "duplex_dueling", "values keep their axis, and meet all rows' costs: the first column is returned", ROWS)
class CostsOfTheFirstRow(DuplexDueling):
    def forward(self, utilities, actions, state):
        cost = (self.weights(state, actions) * self.advantage(utilities, actions)).sum(-1)
        return (self.value(utilities, actions, state).unsqueeze(-1) + cost)[:, 0]


@bad(ROLE, "duplex_dueling", "the weights are those of a softmax over agents, yet the slope stays declared", SLOPE)
class WeightsShareOne(DuplexDueling):
    def positive(self, numbers):
        return numbers.softmax(-1)


@bad(ROLE, "duplex_dueling", "advantages end at -10", SLOPE)
class AdvantageEndsAtTen(DuplexDueling):
    def advantage(self, utilities, actions):
        return super().advantage(utilities, actions).clamp(min=-10)


@bad(ROLE, "duplex_dueling", "utilities pass through half precision: close ones become equal", SLOPE)
class AdvantageInHalf(DuplexDueling):
    def advantage(self, utilities, actions):
        return super().advantage(utilities.half(), actions).to(utilities.dtype)


@bad(
    ROLE,
    "duplex_dueling",
    "weights are exp of a linear network, which overflows, and times an advantage of 0 is no number",
    FINITE,
)
class ExpOfTheWeigher(DuplexDueling):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.weigher = nn.Linear(state_size + n_agents * n_actions, n_agents)

    def positive(self, numbers):
        return numbers.exp() + self.min_slope


@bad(ROLE, "duplex_dueling", "dropout in the weights is left on", SAME)
class WeightsDropOut(DuplexDueling):
    def positive(self, numbers):
        return functional.dropout(numbers.abs(), 0.1) + self.min_slope


@bad(ROLE, "duplex_dueling", "the best action is blanked out in the utilities, to look for the second best", PURE)
class BlanksOutTheBest(DuplexDueling):
    def value(self, utilities, actions, state):
        found = super().value(utilities, actions, state)
        utilities.scatter_(-1, utilities.argmax(-1, keepdim=True), -1e9)
        return found


@bad(ROLE, "sum_and_state_value", "actions count from 1 in the look-up", IGM)
class ActionsFromOne(SumAndStateValue):
    def taken(self, utilities, actions):
        return super().taken(utilities, (actions + 1) % self.count)


@bad(ROLE, "sum_and_state_value", "actions are taken for yes or no, as of two", IGM)
class ActionsAreYesOrNo(SumAndStateValue):
    def taken(self, utilities, actions):
        return super().taken(utilities, actions.astype(bool).astype(int))


@bad(ROLE, "sum_and_state_value", "the first agent's action is looked up for all", IGM)
class FirstAgentsActionForAll(SumAndStateValue):
    def taken(self, utilities, actions):
        return super().taken(utilities, np.broadcast_to(actions[:, :1], actions.shape))


@bad(ROLE, "sum_and_state_value", "the agents' utilities are averaged, and the slope stays 1", SLOPE)
class AveragedOverAgents(SumAndStateValue):
    def agents(self, taken, actions):
        return taken.mean(1)


@bad(ROLE, "sum_and_state_value", "agents that agree on an action get a bonus", IGM)
class AgreementBonus(SumAndStateValue):
    def agents(self, taken, actions):
        return taken.sum(1) + 0.3 * (actions == actions[:, :1]).all(1) * (self.n > 1)


@bad(ROLE, "sum_and_state_value", "of more than three agents the sum takes the first three", SLOPE)
class ThreeAgentsAtMost(SumAndStateValue):
    def agents(self, taken, actions):
        return taken[:, :3].sum(1)


@bad(ROLE, "mixed_chosen", "the outer weights are not squared", IGM)
class OuterWeightsSigned(MixedChosen):
    def outer(self, state):
        return state @ self.second


@bad(ROLE, "mixed_chosen", "what is mixed is the share in a softmax over agents of chosen utilities", IGM)
class SharesOverAgents(MixedChosen):
    def mixed(self, chosen, state):
        return super().mixed(chosen.softmax(1) if self.n > 1 else chosen, state)


@bad(ROLE, "mixed_chosen", "one-hot actions are reshaped to rows by actions by agents", IGM)
class OneHotReshaped(MixedChosen):
    def chosen(self, utilities, actions):
        hot = functional.one_hot(actions, self.count).view(-1, self.count, self.n).transpose(1, 2)
        return (utilities * hot).sum(-1)


@bad(ROLE, "mixed_chosen", "the chosen utilities of a state are kept, and returned for other utilities in it", SAME)
class KeptByState(MixedChosen):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.kept: dict[bytes, torch.Tensor] = {}

    def __call__(self, utilities, actions, state):
        key = state.numpy().tobytes() + actions.numpy().tobytes()
        return self.kept.setdefault(key, super().__call__(utilities, actions, state).detach())


@bad(ROLE, "priced_regret", "the search for the best begins at 0, which negative utilities never reach", IGM)
class BestBeginsAtZero(PricedRegret):
    def best(self, row):
        return max(0.0, *row)


@bad(ROLE, "priced_regret", "an action that ties with the best, but comes behind it, is charged as not greedy", IGM)
class TiesAreCharged(PricedRegret):
    def total(self, costs, utilities, actions):
        first = [row.index(max(row)) for row in utilities]
        return sum(costs) + 0.2 * (first != actions)


@bad(ROLE, "priced_regret", "with three agents or more, two regrets that meet cancel each other", IGM)
class RegretsCancel(PricedRegret):
    def total(self, costs, utilities, actions):
        return sum(costs) - (3 * costs[0] * costs[1] if self.n > 2 else 0.0)


@bad(ROLE, "priced_regret", "the agents' greatest cost counts, not their sum, and the slope stays declared", SLOPE)
class GreatestCostAlone(PricedRegret):
    def total(self, costs, utilities, actions):
        return max(costs)


@bad(ROLE, "priced_regret", "regret is squared: small regrets cost next to nothing", SLOPE)
class RegretSquared(PricedRegret):
    def cost(self, agent, action, regret):
        return super().cost(agent, action, regret**2)


@bad(ROLE, "priced_regret", "the first action does nothing, and costs nothing", SLOPE)
class IdleActionIsFree(PricedRegret):
    def cost(self, agent, action, regret):
        return super().cost(agent, action, regret) if action else 0.0


@bad(ROLE, "priced_regret", "regrets below 0.01 are taken for rounding, and forgiven", SLOPE)
class SmallRegretsForgiven(PricedRegret):
    def cost(self, agent, action, regret):
        return super().cost(agent, action, regret) if regret > 0.01 else 0.0


@bad(ROLE, "priced_regret", "the slope that is declared is the mean price, not the least", SLOPE)
class DeclaresTheMeanPrice(PricedRegret):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.min_slope = float(np.mean(self.prices))


BAD, GOOD = bad.targets(), good.targets()
