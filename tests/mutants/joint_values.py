"""Joint action values made of the agents' utilities: good ones, and broken ones that the judge must refute.

A joint value declares `min_slope = c` where it promises that each unit of individual regret costs at least c.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mixers import NoAbsOnW2
from .target import Actions, ActionUtilities, Collection, Mixer, State, Total, Utilities
from .variants import Qmix, two_layers, vdn
from .violations import (
    beats_the_greedy,
    joint_changes_its_answer,
    joint_not_finite,
    joint_rows_meddle,
    redrawn,
    regret_is_cheap,
)

good, bad = Collection(), Collection()


def taken(utilities: ActionUtilities, actions: Actions) -> Utilities:
    return utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def regret(utilities: ActionUtilities, actions: Actions) -> Utilities:
    return utilities.max(-1).values - taken(utilities, actions)


# Good ones


@good("joint_value", "", "The sum of the utilities of the actions taken (VDN).")
class VdnValue(nn.Module):
    min_slope = 1.0

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__()
        self.n_agents, self.n_actions = n_agents, n_actions
        self.mixer = self.make_mixer(n_agents, state_size)

    def make_mixer(self, n_agents: int, state_size: int) -> Mixer:
        return vdn(n_agents, state_size)

    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions)

    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        return self.mixer(self.taken(utilities, actions), state)


@good("joint_value", "vdn_value", "QMIX mixes the utilities of the actions taken, with no least slope.")
class QmixValue(VdnValue):
    min_slope = 0.0

    def make_mixer(self, n_agents: int, state_size: int) -> Mixer:
        return Qmix(n_agents, state_size)


@good("joint_value", "vdn_value", "The mean stands for the sum, and the declared slope is 1 / n.")
class MeanValue(VdnValue):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.min_slope = 1 / n_agents

    def make_mixer(self, n_agents: int, state_size: int) -> Mixer:
        return lambda utilities, state: utilities.mean(-1)


@good("joint_value", "", "QPLEX (arXiv 2008.01062): values, plus advantages of positive importance.")
class Qplex(nn.Module):
    floor = 0.0

    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__()
        self.n_actions = n_actions
        self.weight_head = nn.Linear(state_size, n_agents)
        self.bias_head = nn.Linear(state_size, n_agents)
        self.importance_head = two_layers(state_size + n_agents * n_actions, n_agents)

    def weights(self, state: State) -> Utilities:
        return functional.softplus(self.weight_head(state)) + self.floor

    def importance(self, state: State, actions: Actions) -> Utilities:
        return functional.softplus(self.importance_head(self.context(state, actions))) + self.floor

    def context(self, state: State, actions: Actions) -> Tensor:  # [B, s + n A]
        return torch.cat([state, functional.one_hot(actions, self.n_actions).flatten(1).to(state)], -1)

    def values(self, transformed: ActionUtilities) -> Utilities:
        return transformed.max(-1).values

    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        transformed = self.weights(state).unsqueeze(-1) * utilities + self.bias_head(state).unsqueeze(-1)
        values = self.values(transformed)
        advantages = taken(transformed, actions) - values
        return (values + self.importance(state, actions) * advantages).sum(-1)


@good("joint_value", "qplex", "Weights and importances are at least a half, so the slope is at least a quarter.")
class SteepQplex(Qplex):
    floor = 0.5
    min_slope = 0.25


@good("joint_value", "vdn_value", "A free residual lowers the sum, in proportion to the regret.")
class LoweredByResidual(VdnValue):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.residual_head = two_layers(state_size + n_agents * n_actions, 1)

    def residual(self, utilities: ActionUtilities, actions: Actions, free: Total) -> Total:
        return -functional.softplus(free) * regret(utilities, actions).sum(-1)

    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        one_hot = functional.one_hot(actions, self.n_actions).flatten(1).to(state)
        free = self.residual_head(torch.cat([state, one_hot], -1)).squeeze(-1)
        return super().forward(utilities, actions, state) + self.residual(utilities, actions, free)


# Actions wired wrongly


@bad("joint_value", "vdn_value", "Action 0 of the first agent earns a bonus.", beats_the_greedy())
class BonusForAnAction(VdnValue):
    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        return super().forward(utilities, actions, state) + 2.0 * (actions[:, 0] == 0)


@bad("joint_value", "vdn_value", "Agents that take the same action earn a bonus.", beats_the_greedy())
class BonusForAgreement(VdnValue):
    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        agree = (actions == actions[:, :1]).all(-1)
        return super().forward(utilities, actions, state) + 2.0 * agree


@bad("joint_value", "vdn_value", "Each agent's utility is read at the next agent's action.", beats_the_greedy())
class ActionsOfTheNeighbour(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions.roll(1, -1))


@bad(
    "joint_value",
    "vdn_value",
    "The third agent reads the second one's action.",
    beats_the_greedy(n_agents=3),
)
class SecondsActionForTheThird(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, torch.cat([actions[:, :2], actions[:, 1:2], actions[:, 3:]], -1)[:, : self.n_agents])


@bad("joint_value", "vdn_value", "The action's index is off by one.", beats_the_greedy())
class NextAction(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, (actions + 1) % self.n_actions)


@bad("joint_value", "vdn_value", "The utilities are sorted before the action's index is looked up.", beats_the_greedy())
class SortedUtilities(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities.sort(-1).values, actions)


@bad(
    "joint_value",
    "vdn_value",
    "Indices above 2 wrap round, as with a head made for three actions.",
    beats_the_greedy(n_actions=4),
)
class ThreeActionsAtMost(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions % 3)


@bad(
    "joint_value",
    "vdn_value",
    "Actions of utility zero are taken for forbidden.",
    beats_the_greedy(ties=True),
)
class ZeroMeansForbidden(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities.masked_fill(utilities == 0, -100.0), actions)


@bad(
    "joint_value",
    "vdn_value",
    "Every action but the first greedy one loses a margin.",
    beats_the_greedy(ties=True),
)
class MarginAgainstTies(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions) - 0.5 * (actions != utilities.argmax(-1))


@bad(
    "joint_value",
    "vdn_value",
    "An action less than 0.1 below the best gains 0.2.",
    beats_the_greedy(rows=512),
)
class NearTiesPreferred(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        lost = regret(utilities, actions)
        return taken(utilities, actions) + 0.2 * ((lost > 0) & (lost < 0.1))


@bad(
    "joint_value",
    "vdn_value",
    "Where the state's first entry exceeds 8 the utilities are negated.",
    beats_the_greedy(state=(9.0, 0.0)),
)
class NegatedInRareStates(VdnValue):
    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        total = super().forward(utilities, actions, state)
        return torch.where(state[:, 0] > 8, -total, total)


# Mixers and importances without their signs


@bad("joint_value", "qmix_value", "The second mixing layer lacks the absolute value.", beats_the_greedy())
class NoAbsInTheMixer(QmixValue):
    def make_mixer(self, n_agents: int, state_size: int) -> Mixer:
        return NoAbsOnW2(n_agents, state_size)


@bad("joint_value", "qplex", "The importances are negative.", beats_the_greedy())
class NegativeImportance(Qplex):
    def importance(self, state: State, actions: Actions) -> Utilities:
        return -super().importance(state, actions)


@bad(
    "joint_value", "qplex", "The importances lack the softplus, near one at first.", beats_the_greedy(prepare=redrawn())
)
class FreeImportance(Qplex):
    def importance(self, state: State, actions: Actions) -> Utilities:
        return 1 + 0.1 * self.importance_head(self.context(state, actions))


@bad("joint_value", "qplex", "The utilities' weights lack the softplus.", beats_the_greedy())
class FreeWeights(Qplex):
    def weights(self, state: State) -> Utilities:
        return self.weight_head(state)


@bad(
    "joint_value",
    "qplex",
    "Advantages are taken over the mean action instead of the best.",
    beats_the_greedy(prepare=redrawn()),
)
class AdvantageOverTheMean(Qplex):
    def values(self, transformed: ActionUtilities) -> Utilities:
        return transformed.mean(-1)


@bad("joint_value", "qplex", "Advantages are taken over the worst action.", beats_the_greedy(prepare=redrawn()))
class AdvantageOverTheWorst(Qplex):
    def values(self, transformed: ActionUtilities) -> Utilities:
        return transformed.min(-1).values


@bad("joint_value", "qplex", "The best value is soft: log-sum-exp.", beats_the_greedy(prepare=redrawn()))
class AdvantageOverTheSoftMaximum(Qplex):
    def values(self, transformed: ActionUtilities) -> Utilities:
        return transformed.logsumexp(-1)


@bad(
    "joint_value",
    "lowered_by_residual",
    "The residual is added as it is, as in QTRAN without its constraint.",
    beats_the_greedy(prepare=redrawn()),
)
class FreeResidual(LoweredByResidual):
    def residual(self, utilities: ActionUtilities, actions: Actions, free: Total) -> Total:
        return free


@bad(
    "joint_value",
    "lowered_by_residual",
    "The residual's factor lacks the softplus.",
    beats_the_greedy(prepare=redrawn()),
)
class ResidualOfAnySign(LoweredByResidual):
    def residual(self, utilities: ActionUtilities, actions: Actions, free: Total) -> Total:
        return -free * regret(utilities, actions).sum(-1)


# Slopes that do not hold


@bad("joint_value", "vdn_value", "The last agent has no weight, and a slope of one is declared.", regret_is_cheap())
class WeightlessAgent(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions) * (torch.arange(self.n_agents) < self.n_agents - 1)


@bad("joint_value", "vdn_value", "The actions are ignored: each agent's best utility is summed.", regret_is_cheap())
class ActionsIgnored(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return utilities.max(-1).values


@bad("joint_value", "vdn_value", "The utilities are averaged over the actions.", regret_is_cheap())
class AveragedOverActions(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return utilities.mean(-1)


@bad("joint_value", "mean_value", "The declared slope is that of the sum.", regret_is_cheap())
class MeanWithTheSlopeOfTheSum(MeanValue):
    def __init__(self, n_agents: int, n_actions: int, state_size: int) -> None:
        super().__init__(n_agents, n_actions, state_size)
        self.min_slope = 1.0


@bad(
    "joint_value",
    "steep_qplex",
    "The floor is taken away and the slope is still declared.",
    regret_is_cheap(prepare=redrawn()),
)
class SlopeWithoutFloor(SteepQplex):
    floor = 0.0


@bad("joint_value", "vdn_value", "Regrets beyond 20 cost no more than 20.", regret_is_cheap(spread=30.0))
class CappedRegret(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return utilities.max(-1).values - regret(utilities, actions).clamp(max=20.0)


@bad("joint_value", "vdn_value", "Regrets are rounded to quarters.", regret_is_cheap())
class RoundedRegret(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return utilities.max(-1).values - (4 * regret(utilities, actions)).round() / 4


# Rows, repetition, numbers


@bad("joint_value", "vdn_value", "The first row's actions serve every row.", joint_rows_meddle())
class ActionsOfTheFirstRow(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities, actions[:1].expand_as(actions))


@bad("joint_value", "qplex", "The values are averaged over the batch.", joint_rows_meddle())
class ValuesAveragedOverBatch(Qplex):
    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        values = self.values(utilities).sum(-1)
        return super().forward(utilities, actions, state) + values.mean() - values


@bad("joint_value", "vdn_value", "Noise breaks ties between the utilities.", joint_changes_its_answer())
class NoisyTies(VdnValue):
    def taken(self, utilities: ActionUtilities, actions: Actions) -> Utilities:
        return taken(utilities + 0.01 * torch.rand_like(utilities), actions)


@bad(
    "joint_value",
    "qplex",
    "The utilities are divided by their range over the actions: 0 / 0 at equal utilities.",
    joint_not_finite(n_actions=3, equal=1.0),
)
class UtilitiesOverTheirRange(Qplex):
    def forward(self, utilities: ActionUtilities, actions: Actions, state: State) -> Total:
        spread = utilities.amax(-1, keepdim=True) - utilities.amin(-1, keepdim=True)
        return super().forward(utilities / spread, actions, state)


GOOD, BAD = good.targets(), bad.targets()
