"""Critics of counterfactual baselines: good ones, and broken ones that are told what they must not know.

A factory is a class without arguments; its instances are called as the role counterfactual_critic says.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .target import Collection, Factory, Violation

Numbers = NDArray[Any]
n, A, o, s = 2, 3, 2, 3

good, bad = Collection(), Collection()


def told(factory: Factory) -> float:
    """How far an agent's values move when its own action is exchanged, over random batches."""
    function, generator = factory(), np.random.default_rng(5)
    own_n, own_A = getattr(function, "n_agents", n), getattr(function, "n_actions", A)
    worst = 0.0
    for _ in range(200):
        actions = generator.integers(0, own_A, (3, own_n))
        rest = generator.normal(size=(3, own_n, o)), generator.normal(size=(3, s))
        before = answer(function, actions, *rest)
        for i in range(own_n):
            other = actions.copy()
            other[:, i] = (other[:, i] + generator.integers(1, own_A, 3)) % own_A
            worst = max(worst, float(np.abs(answer(function, other, *rest) - before)[:, i].max()))
    return worst


def answer(function: Any, *arguments: Numbers) -> Numbers:
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"
    handed = [torch.from_numpy(array.copy()) if torch_arrays else array.copy() for array in arguments]
    result = function(*handed)
    return result.detach().double().numpy() if isinstance(result, Tensor) else np.asarray(result, dtype=np.float64)


def unsteadiness(factory: Factory) -> float:
    """How far apart the answers to the same batch are, with another batch in between."""
    function, generator = factory(), np.random.default_rng(6)
    own_n, own_A = getattr(function, "n_agents", n), getattr(function, "n_actions", A)
    batches = [
        (
            generator.integers(0, own_A, (3, own_n)),
            generator.normal(size=(3, own_n, o)),
            generator.normal(size=(3, s)),
        )
        for _ in range(2)
    ]
    first, _, again = (answer(function, *batches[k]) for k in (0, 1, 0))
    return float(np.abs(first - again).max())


def leaning(factory: Factory) -> float:
    """How far a row's values are from those that it has by itself, over random batches."""
    function, generator = factory(), np.random.default_rng(7)
    own_n, own_A = getattr(function, "n_agents", n), getattr(function, "n_actions", A)
    worst = 0.0
    for k in range(50):
        rows = 2 + k % 2
        batch = (
            generator.integers(0, own_A, (rows, own_n)),
            generator.normal(size=(rows, own_n, o)),
            generator.normal(size=(rows, s)),
        )
        together = answer(function, *batch)
        alone = np.concatenate([answer(function, *(array[b : b + 1] for array in batch)) for b in range(rows)])
        worst = max(worst, float(np.abs(together - alone).max()))
    return worst


MEASURES = {"coma.critic_input": told, "critic.repeatable": unsteadiness, "critic.rows": leaning}
TOLD = Violation("coma.critic_input", told)
UNSTEADY = Violation("critic.repeatable", unsteadiness)
LEANING = Violation("critic.rows", leaning)


# --- good ones --------------------------------------------------------------------------------------------------------


@good("counterfactual_critic", "", "A network on the others' actions, zeros in place of the own one.")
class Masked:
    arrays = "torch"
    inputs = n * A + o + s + n

    def __init__(self) -> None:
        self.network = nn.Sequential(nn.Linear(self.inputs, 8), nn.Tanh(), nn.Linear(8, A)).double()

    def others(self, actions: Tensor) -> Tensor:
        each = nn.functional.one_hot(actions, A).unsqueeze(1).expand(-1, n, -1, -1)
        return (each * (1 - torch.eye(n)).unsqueeze(-1)).flatten(-2)

    def __call__(self, actions: Tensor, observations: Tensor, state: Tensor) -> Tensor:
        shared = state.unsqueeze(1).expand(-1, n, -1)
        number = torch.eye(n).expand(len(actions), n, n)
        return self.network(torch.cat([self.others(actions), observations, shared, number], -1).double())


@good("counterfactual_critic", "", "A table of joint values for each agent, indexed by the others' actions.")
class Table:
    def __init__(self) -> None:
        self.table = np.random.default_rng(2).normal(size=(n, A, A))

    def index(self, actions: Numbers, b: int, i: int) -> int:
        return int(actions[b, 1 - i])

    def __call__(self, actions: Numbers, observations: Numbers, state: Numbers) -> Numbers:
        return np.array(
            [
                [self.table[i, self.index(actions, b, i)] * (1 + observations[b, i, 0]) for i in range(n)]
                for b in range(len(actions))
            ]
        )


@good("counterfactual_critic", "", "Three agents, single precision, the sum of the others' embedded actions.")
class Embedded:
    arrays = "torch"
    n_agents, n_actions = 3, 4

    def __init__(self) -> None:
        self.embedding = nn.Embedding(4, 6, dtype=torch.float32)
        self.out = nn.Linear(6 + o, 4, dtype=torch.float32)

    def pooled(self, own: Tensor) -> Tensor:
        return own.sum(1, keepdim=True) - own

    def __call__(self, actions: Tensor, observations: Tensor, state: Tensor) -> Tensor:
        pooled = self.pooled(self.embedding(actions))
        return self.out(torch.cat([pooled, observations.float()], -1))


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad("counterfactual_critic", "masked", "All actions go in, the own one included.", TOLD)
class OwnActionIn(Masked):
    def others(self, actions: Tensor) -> Tensor:
        return nn.functional.one_hot(actions, A).flatten(1).unsqueeze(1).expand(-1, n, -1)


@bad("counterfactual_critic", "masked", "The other agent's action is left out instead of the own one.", TOLD)
class WrongOneMasked(Masked):
    def others(self, actions: Tensor) -> Tensor:
        each = nn.functional.one_hot(actions, A).unsqueeze(1).expand(-1, n, -1, -1)
        return (each * torch.eye(n).unsqueeze(-1)).flatten(-2)


@bad("counterfactual_critic", "masked", "The mask is that of agent 1 for all agents.", TOLD)
class FirstAgentsMask(Masked):
    def others(self, actions: Tensor) -> Tensor:
        return super().others(actions)[:, :1].expand(-1, n, -1)


@bad("counterfactual_critic", "masked", "The own action is left out in the first row of a batch alone.", TOLD)
class FirstRowAlone(Masked):
    def others(self, actions: Tensor) -> Tensor:
        every = nn.functional.one_hot(actions, A).flatten(1).unsqueeze(1).expand(-1, n, -1)
        return torch.cat([super().others(actions)[:1], every[1:]])


@bad("counterfactual_critic", "masked", "The own action stays in as its number, a hundredth of it.", TOLD)
class FaintNumber(Masked):
    def others(self, actions: Tensor) -> Tensor:
        result = super().others(actions).double()
        result[..., 0] += 0.01 * actions
        return result


@bad("counterfactual_critic", "table", "The index is that of agent 1's action for both.", TOLD)
class OwnIndex(Table):
    def index(self, actions: Numbers, b: int, i: int) -> int:
        return int(actions[b, 0])


@bad("counterfactual_critic", "table", "The sum of both actions picks the entry where it can.", TOLD)
class SummedIndex(Table):
    def index(self, actions: Numbers, b: int, i: int) -> int:
        return min(int(actions[b].sum()), A - 1)


@bad("counterfactual_critic", "embedded", "The mean over all agents is taken, the own one among them.", TOLD)
class OwnInThePool(Embedded):
    def pooled(self, own: Tensor) -> Tensor:
        return own.mean(1, keepdim=True).expand_as(own)


@bad("counterfactual_critic", "embedded", "The third agent keeps its own action.", TOLD)
class ThirdKeepsItsOwn(Embedded):
    def pooled(self, own: Tensor) -> Tensor:
        pooled = super().pooled(own)
        return torch.cat([pooled[:, :2], own.sum(1, keepdim=True)], 1)


@bad("counterfactual_critic", "masked", "A half of the hidden units is dropped by chance.", UNSTEADY)
class Dropout(Masked):
    def __init__(self) -> None:
        super().__init__()
        self.network.insert(2, nn.Dropout())


@bad("counterfactual_critic", "embedded", "Observations are normalised by what was seen so far.", UNSTEADY)
class RunningNormalisation(Embedded):
    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(o)

    def __call__(self, actions: Tensor, observations: Tensor, state: Tensor) -> Tensor:
        self.seen = 0.9 * self.seen + 0.1 * observations.float().mean((0, 1))
        return super().__call__(actions, observations - self.seen, state)


@bad("counterfactual_critic", "masked", "The state of the first row goes in for all rows.", LEANING)
class FirstRowsState(Masked):
    def __call__(self, actions: Tensor, observations: Tensor, state: Tensor) -> Tensor:
        return super().__call__(actions, observations, state[:1].expand_as(state))


@bad("counterfactual_critic", "embedded", "Observations are centred by the mean of the batch.", LEANING)
class CentredByTheBatch(Embedded):
    def __call__(self, actions: Tensor, observations: Tensor, state: Tensor) -> Tensor:
        return super().__call__(actions, observations - observations.mean(0), state)


@bad("counterfactual_critic", "table", "Rows and agents change places where there are as many of both.", LEANING)
class SquareBatchTurned(Table):
    def __call__(self, actions: Numbers, observations: Numbers, state: Numbers) -> Numbers:
        turned = observations.swapaxes(0, 1) if len(actions) == n else observations
        return super().__call__(actions, turned, state)


BAD = bad.targets()
GOOD = good.targets()
