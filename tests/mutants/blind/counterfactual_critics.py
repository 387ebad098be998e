"""Critics of counterfactual baselines."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..target import Collection, Factory, Violation
from .common import NEVER, Arguments, Array, as_array, gap, in_kind, writes_into_its_arguments

good, bad = Collection(), Collection()
ROLE = "counterfactual_critic"


def cases(function: Any) -> list[Arguments]:
    """Random batches of the declared sizes."""
    generator = np.random.default_rng(31)
    n, count = getattr(function, "n_agents", 2), getattr(function, "n_actions", 3)
    o, z = getattr(function, "observation_size", 2), getattr(function, "state_size", 3)
    return [
        (
            generator.integers(count, size=(rows, n)),
            generator.normal(size=(rows, n, o)),
            generator.normal(size=(rows, z)),
        )
        for rows in (1, 2, 5, 3, 1, 6, 5)
    ]


def values_of(function: Any, *case: Array) -> Array:
    return as_array(function(*[in_kind(function, value) for value in case]))


def moved_by_own_action(factory: Factory) -> float:
    """The largest change of an agent's values as it does something else, in one row or in all."""
    function, worst = factory(), 0.0
    for actions, observations, state in cases(function):
        before = values_of(function, actions, observations, state)
        rows, n, count = *actions.shape, getattr(function, "n_actions", 3)
        if before.shape != (rows, n, count):
            return NEVER
        for i, a in np.ndindex(n, count):
            for where in (slice(None), slice(0, 1)):
                other = actions.copy()
                other[where, i] = a
                after = values_of(function, other, observations, state)
                worst = max(worst, gap(after[:, i], before[:, i]))
    return worst


def moved_by_other_rows(factory: Factory) -> float:
    """The largest difference between a row's values within a batch and by itself."""
    function, worst = factory(), 0.0
    for case in cases(function):
        together = values_of(function, *case)
        for b in range(len(together)):
            worst = max(worst, gap(values_of(function, *[part[b : b + 1] for part in case]), together[b : b + 1]))
    return worst


def moved_by_the_past(factory: Factory) -> float:
    """The largest difference between a function that was called before and a new one."""
    function = factory()
    return max(gap(values_of(function, *case), values_of(factory(), *case)) for case in cases(function))


OWN = Violation("an agent's values do not depend on what it did itself", moved_by_own_action)
ROWS = Violation("a row's values are those of its own joint action", moved_by_other_rows)
PAST = Violation("the values are those of the actions handed over, not of earlier ones", moved_by_the_past)
PURE = Violation("what is handed over stays as it is", writes_into_its_arguments(cases))


def weights(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) / shape[0] ** 0.5


@good(ROLE, "", "torch; one network of two layers for three agents, zeros in place of the own action")
class MaskedActions:
    arrays, n_agents, n_actions = "torch", 3, 4

    def __init__(self) -> None:
        self.first, self.second = weights(3 * 4 + 2 + 3 + 3, 8), weights(8, 4, seed=2)

    def others(self, actions):
        each = 1 - torch.eye(self.n_agents, dtype=torch.float64)
        return one_hot(actions, self.n_actions).unsqueeze(1) * each.unsqueeze(-1)

    def shared(self, actions, state):
        return state.double()

    def hidden(self, hidden):
        return hidden

    def finish(self, q, actions):
        return q

    def __call__(self, actions, observations, state):
        rows, n = actions.shape
        number = torch.eye(n, dtype=torch.float64).expand(rows, n, n)
        shared = self.shared(actions, state).unsqueeze(1).expand(-1, n, -1)
        seen = torch.cat([self.others(actions).flatten(-2), observations.double(), shared, number], -1)
        return self.finish(self.hidden((seen @ self.first).tanh()) @ self.second, actions)


@good(ROLE, "", "plain Python; an agent's own table of what the two others did, and a linear part, in lists")
class TablesOfOthers:
    n_agents, n_actions, observation_size, state_size = 3, 2, 1, 1

    def __init__(self) -> None:
        generator = np.random.default_rng(8)
        self.tables = generator.normal(size=(self.n_agents, self.n_actions**self.n_agents, self.n_actions))
        self.slopes = generator.normal(size=(2, self.n_actions))

    def others(self, row: Array, i: int) -> list[int]:
        return [int(a) for j, a in enumerate(row) if j != i]

    def place(self, row: Array, i: int) -> int:
        return sum(a * self.n_actions**k for k, a in enumerate(self.others(row, i)))

    def __call__(self, actions, observations, state):
        found = []
        for row, seen, z in zip(actions, observations, state, strict=True):
            linear = [seen[i, 0] * self.slopes[0] + z[0] * self.slopes[1] for i in range(self.n_agents)]
            found.append([(self.tables[i][self.place(row, i)] + linear[i]).tolist() for i in range(self.n_agents)])
        return found


@good(ROLE, "", "torch; one value of joint actions, into which each of the own actions is put in turn")
class PutInTurn:
    arrays = "torch"

    def __init__(self) -> None:
        self.first, self.second = weights(2 * 3 + 2 * 2 + 3, 8, seed=3), weights(8, 1, seed=4)

    def joint_value(self, actions, observations, state):
        joint = one_hot(actions, 3).double().flatten(1)
        seen = torch.cat([joint, observations.double().flatten(1), state.double()], -1)
        return ((seen @ self.first).relu() @ self.second).squeeze(-1)

    def put(self, actions, i, a):
        changed = actions.clone()
        changed[:, i] = a
        return changed

    def known(self, actions):
        return actions

    def __call__(self, actions, observations, state):
        actions = self.known(actions)
        values = [
            self.joint_value(self.put(actions, i, a), observations, state)
            for i in range(actions.shape[1])
            for a in range(3)
        ]
        return torch.stack(values, -1).unflatten(-1, (-1, 3))


@bad(ROLE, "masked_actions", "the mask is forgotten: the joint action, with the own one", OWN)
class JointActionUnmasked(MaskedActions):
    def others(self, actions):
        return one_hot(actions, self.n_actions).double().unsqueeze(1).expand(-1, self.n_agents, -1, -1)


@bad(ROLE, "masked_actions", "masks the action with the agent's number, of everyone, in place of the agent's own", OWN)
class MaskOverActions(MaskedActions):
    def others(self, actions):
        mask = 1 - torch.eye(self.n_agents, self.n_actions, dtype=torch.float64)
        return one_hot(actions, self.n_actions).unsqueeze(1) * mask.unsqueeze(1)


@bad(ROLE, "masked_actions", "the mean number of all agents' actions is added to the state", OWN)
class MeanActionInTheState(MaskedActions):
    def shared(self, actions, state):
        return state.double() + actions.double().mean(-1, keepdim=True)


@bad(ROLE, "masked_actions", "whether all agents did the same is added to the state", OWN)
class UnanimityInTheState(MaskedActions):
    def shared(self, actions, state):
        return state.double() + (actions == actions[:, :1]).all(-1, keepdim=True)


@bad(ROLE, "masked_actions", "hidden units are standardised over rows and agents where there are several rows", OWN)
class StandardisedOverTheBatch(MaskedActions):
    def hidden(self, hidden):
        if len(hidden) == 1:
            return hidden
        return (hidden - hidden.mean((0, 1))) / (hidden.var((0, 1), correction=0) + 1e-5).sqrt()


@bad(
    ROLE, "masked_actions", "agents' hidden units are mixed with the mean of all, and others have seen the action", OWN
)
class AgentsTalk(MaskedActions):
    def hidden(self, hidden):
        return (hidden + hidden.mean(1, keepdim=True)) / 2


@bad(ROLE, "masked_actions", "values are relative to that of the action taken", OWN)
class RelativeToTheActionTaken(MaskedActions):
    def finish(self, q, actions):
        return q - q.gather(-1, actions.unsqueeze(-1))


@bad(ROLE, "tables_of_others", "the own action is taken out of the joint one's number at the opposite digit", OWN)
class OppositeDigit(TablesOfOthers):
    def place(self, row, i):
        whole = sum(int(a) * self.n_actions**k for k, a in enumerate(row))
        return whole - int(row[i]) * self.n_actions ** (self.n_agents - 1 - i)


@bad(ROLE, "tables_of_others", "the own action is removed by its value, which is the first agent's that did it", OWN)
class RemovedByValue(TablesOfOthers):
    def others(self, row, i):
        left = row.tolist()
        left.remove(row[i])
        return left


@bad(ROLE, "tables_of_others", "blanks out the own action in the array that it was handed", PURE)
class BlanksOutTheAction(TablesOfOthers):
    def others(self, row, i):
        row[i] = 0
        return super().others(row, i)


@bad(ROLE, "put_in_turn", "nothing is put in the last agent's place", OWN)
class LastAgentsPlaceKept(PutInTurn):
    def put(self, actions, i, a):
        return actions if i == actions.shape[1] - 1 else super().put(actions, i, a)


@bad(ROLE, "put_in_turn", "the joint actions are remembered from the first batch of as many rows", PAST)
class ActionsOfTheFirstBatch(PutInTurn):
    def __init__(self) -> None:
        super().__init__()
        self.remembered: dict[int, Tensor] = {}

    def known(self, actions):
        return self.remembered.setdefault(len(actions), actions.clone())


@bad(ROLE, "put_in_turn", "the others' actions are the first row's in all rows", ROWS)
class OthersOfTheFirstRow(PutInTurn):
    def known(self, actions):
        return actions[:1].expand_as(actions)


BAD, GOOD = bad.targets(), good.targets()
