"""Updates of tabular Q-learning: good ones, and broken ones that the judge must refute.

A factory is a class without arguments; its instances are called as the roles tabular_update and cql_update say.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .target import Collection, Factory, Violation

Table = NDArray[np.float64]

good, bad = Collection(), Collection()


# --- measures: how far a factory's update is from the rule, on random real numbers ------------------------------------


@dataclass(frozen=True)
class Step:
    """The arguments of one update."""

    q: Table
    s: int
    a: Any
    r: Any
    next_s: int
    terminated: bool
    alpha: float
    gamma: float

    @property
    def entry(self) -> tuple[int, ...]:
        return (self.s, *np.atleast_1d(self.a).tolist())


def steps(central: bool, terminated: bool | None, count: int = 40, agents: int = 2, seed: int = 5) -> list[Step]:
    """Random transitions, a terminal s' never being s."""
    generator = np.random.default_rng(seed)
    made = []
    for k in range(count):
        ends = bool(k % 2) if terminated is None else terminated
        shape = (3, *generator.integers(2, 5, agents if central else 1).tolist())
        q = generator.normal(size=shape) * 3 - (k % 3)
        s = int(generator.integers(3))
        next_s = int((s + generator.integers(1, 3)) % 3) if ends else int(generator.integers(3))
        a = np.array([generator.integers(actions) for actions in shape[1:]])
        r = generator.normal(size=agents)
        alpha, gamma = generator.uniform(0.1, 0.9, 2).tolist()
        own = (a, r) if central else (int(a[0]), float(r[0]))
        made.append(Step(q, s, *own, next_s, ends, alpha, gamma))
    return made


def answer(function: Callable[..., Any], step: Step) -> Table:
    """The table after the update, the target's own kind of arrays seen to."""
    torch_arrays = getattr(function, "arrays", "numpy") == "torch"

    def handed(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return torch.from_numpy(value.copy()) if torch_arrays else value.copy()

    result = function(*[handed(getattr(step, name)) for name in Step.__dataclass_fields__])
    return np.asarray(result, dtype=np.float64)


def reward_of(step: Step, scalar: str | int) -> float:
    if not isinstance(step.r, np.ndarray):
        return float(step.r)
    return float(step.r.sum()) if scalar == "sum" else float(step.r[scalar])


def by_the_rule(step: Step, scalar: str | int) -> Table:
    """The update, number by number."""
    expected = step.q.copy()
    following = 0.0 if step.terminated else max(step.q[step.next_s].ravel().tolist())
    expected[step.entry] = (1 - step.alpha) * step.q[step.entry] + step.alpha * (
        reward_of(step, scalar) + step.gamma * following
    )
    return expected


def distance(factory: Factory, central: bool, terminated: bool | None, part: str) -> float:
    """The largest error in the entry (s, a), or in the others, over random updates."""
    function = factory()
    worst = 0.0
    for step in steps(central, terminated):
        error = np.abs(answer(function, step) - by_the_rule(step, getattr(function, "scalar", "sum")))
        own = error[step.entry]
        error[step.entry] = 0
        if step.terminated:
            error[step.next_s] = 0  # never read: may be set to zero
        worst = max(worst, own if part == "entry" else error.max())
    return float(worst)


def scalar_error(factory: Factory) -> float:
    """By how much the rewards' share of the new entry misses alpha times the declared scalar."""
    function = factory()
    worst = 0.0
    for step in steps(central=True, terminated=None):
        nothing = replace(step, r=np.zeros_like(step.r))
        share = answer(function, step)[step.entry] - answer(function, nothing)[step.entry]
        worst = max(worst, abs(share - step.alpha * reward_of(step, getattr(function, "scalar", "sum"))))
    return float(worst)


def unsteadiness(factory: Factory, central: bool) -> float:
    """The largest difference between the answers to the same update, with another asked for in between."""
    worst = 0.0
    for step in steps(central, None):
        function = factory()
        first = answer(function, step)
        answer(function, replace(step, q=step.q + 1, s=step.next_s, next_s=step.s))
        worst = max(worst, np.abs(answer(function, step) - first).max())
    return float(worst)


def wrong(part: str, central: bool = False, terminated: bool = False) -> Violation:
    """The violation of one promise, named as the claims' subjects are."""
    if part == "scalar":
        return Violation("cql.scalar", scalar_error)
    role = "cql" if central else "iql"
    if part == "repeatable":
        return Violation(f"{role}.repeatable", lambda factory: unsteadiness(factory, central))
    if part == "others":
        return Violation(f"{role}.others", lambda factory: distance(factory, central, None, "others"))
    promise = f"{role}.terminal" if terminated else f"{role}.update"
    return Violation(promise, lambda factory: distance(factory, central, terminated, "entry"))


# --- independent Q-learning -------------------------------------------------------------------------------------------


@good("tabular_update", "", "The rule as it is printed, on a copy of the table.")
class OwnTable:
    def following(self, q: Table, s: int, a: int, next_s: int, terminated: bool) -> float:
        return 0.0 if terminated else q[next_s].max()

    def difference(self, q: Table, s: int, a: int, r: float, value: float, gamma: float) -> float:
        return r + gamma * value - q[s, a]

    def write(self, q: Table, s: int, a: int, next_s: int, change: float) -> None:
        q[s, a] += change

    def __call__(
        self, q: Table, s: int, a: int, r: float, next_s: int, terminated: bool, alpha: float, gamma: float
    ) -> Table:
        q = q.copy()
        value = self.following(q, s, a, next_s, terminated)
        self.write(q, s, a, next_s, alpha * self.difference(q, s, a, r, value, gamma))
        return q


@good("tabular_update", "own_table", "The old value and the target are mixed, and the terminal flag is a factor.")
class MixedTable(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        new = q.copy()
        new[s, a] = (1 - alpha) * q[s, a] + alpha * (r + gamma * (1 - terminated) * np.max(q[next_s]))
        return new


@good("tabular_update", "own_table", "The table is a torch tensor.")
class TorchTable:
    arrays = "torch"

    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        new = q.clone()
        target = r + (0.0 if terminated else gamma * q[next_s].amax())
        new[s, a] += alpha * (target - q[s, a])
        return new.tolist()


@good("tabular_update", "own_table", "The table is kept in single precision.")
class SingleTable:
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        new = q.astype(np.float32)
        target = np.float32(r) + np.float32(gamma) * (np.float32(0) if terminated else new[next_s].max())
        new[s, a] += np.float32(alpha) * (target - new[s, a])
        return new


@good("tabular_update", "own_table", "The table is a dictionary of dictionaries, returned as lists.")
class DictionaryTable:
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        table = {state: dict(enumerate(row)) for state, row in enumerate(q.tolist())}
        best = 0 if terminated else max(table[next_s].values())
        table[s][a] += alpha * (r + gamma * best - table[s][a])
        return [list(row.values()) for row in table.values()]


@good("tabular_update", "own_table", "The row of a terminal state is set to zero, which it stands for.")
class TerminalRowCleared(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        q = q.copy()
        if terminated:
            q[next_s] = 0
        q[s, a] += alpha * (r + gamma * q[next_s].max() - q[s, a])
        return q


@good("tabular_update", "own_table", "The greedy action is chosen at random among the best, and its value is taken.")
class RandomGreedyAction(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        best = random.choice(np.flatnonzero(q[next_s] == q[next_s].max()).tolist())
        return 0.0 if terminated else q[next_s, best]


@bad("tabular_update", "own_table", "The value of a terminal state is added.", wrong("entry", terminated=True))
class BootstrapsPastTheEnd(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return q[next_s].max()


@bad("tabular_update", "own_table", "The terminal flag is read the wrong way round.", wrong("entry"))
class FlagInverted(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return q[next_s].max() if terminated else 0.0


@bad("tabular_update", "own_table", "At the end the reward is dropped as well.", wrong("entry", terminated=True))
class NoRewardAtTheEnd(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, 0.0 if terminated else r, next_s, terminated, alpha, gamma)


@bad(
    "tabular_update", "own_table", "A transition into a terminal state is not learned.", wrong("entry", terminated=True)
)
class LastStepSkipped(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return q.copy() if terminated else super().__call__(q, s, a, r, next_s, terminated, alpha, gamma)


@bad("tabular_update", "own_table", "The best value is looked for in the row of s itself.", wrong("entry"))
class OwnRow(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q[s].max()


@bad(
    "tabular_update",
    "own_table",
    "The next value is that of the same action (SARSA without its action).",
    wrong("entry"),
)
class SameAction(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q[next_s, a]


@bad("tabular_update", "own_table", "The index of the best action stands for its value.", wrong("entry"))
class ArgmaxForMax(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else float(q[next_s].argmax())


@bad("tabular_update", "own_table", "The least value is taken for the largest.", wrong("entry"))
class MinForMax(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q[next_s].min()


@bad(
    "tabular_update",
    "own_table",
    "The mean over actions is taken (expected SARSA of a uniform policy).",
    wrong("entry"),
)
class MeanForMax(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q[next_s].mean()


@bad("tabular_update", "own_table", "The maximum starts from zero, so that no value is below it.", wrong("entry"))
class NeverBelowZero(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else max([0.0, *q[next_s]])


@bad("tabular_update", "own_table", "The maximum runs over the whole table.", wrong("entry"))
class WholeTable(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q.max()


@bad("tabular_update", "own_table", "The last action is left out of the maximum.", wrong("entry"))
class LastActionLeftOut(OwnTable):
    def following(self, q, s, a, next_s, terminated):
        return 0.0 if terminated else q[next_s, : max(1, q.shape[1] - 1)].max()


@bad("tabular_update", "own_table", "The discount is applied twice.", wrong("entry"))
class GammaTwice(OwnTable):
    def difference(self, q, s, a, r, value, gamma):
        return r + gamma * gamma * value - q[s, a]


@bad("tabular_update", "own_table", "The discount is forgotten.", wrong("entry"))
class NoGamma(OwnTable):
    def difference(self, q, s, a, r, value, gamma):
        return r + value - q[s, a]


@bad("tabular_update", "own_table", "The discount is applied to the reward as well.", wrong("entry"))
class GammaOnTheReward(OwnTable):
    def difference(self, q, s, a, r, value, gamma):
        return gamma * (r + value) - q[s, a]


@bad("tabular_update", "own_table", "The old value is not subtracted.", wrong("entry"))
class OldValueKept(OwnTable):
    def difference(self, q, s, a, r, value, gamma):
        return r + gamma * value


@bad("tabular_update", "own_table", "The step size multiplies the target alone.", wrong("entry"))
class AlphaOnTheTargetOnly(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        q = q.copy()
        q[s, a] += alpha * (r + gamma * self.following(q, s, a, next_s, terminated)) - q[s, a]
        return q


@bad("tabular_update", "own_table", "Old value and target swap their weights.", wrong("entry"))
class WeightsSwapped(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, r, next_s, terminated, 1 - alpha, gamma)


@bad("tabular_update", "own_table", "Step size and discount are handed over in the wrong order.", wrong("entry"))
class AlphaAndGammaSwapped(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, r, next_s, terminated, gamma, alpha)


@bad("tabular_update", "own_table", "The step size is always a tenth.", wrong("entry"))
class OwnStepSize(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, r, next_s, terminated, 0.1, gamma)


@bad("tabular_update", "own_table", "The reward is clipped to [-1, 1].", wrong("entry"))
class RewardClipped(OwnTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, float(np.clip(r, -1, 1)), next_s, terminated, alpha, gamma)


@bad("tabular_update", "own_table", "The whole row of s moves by the same amount.", wrong("others"))
class WholeRowMoves(OwnTable):
    def write(self, q, s, a, next_s, change):
        q[s] += change


@bad("tabular_update", "own_table", "The entry is written in the row of s'.", wrong("entry"))
class WrittenInTheNextRow(OwnTable):
    def write(self, q, s, a, next_s, change):
        q[next_s, a] += change


@bad("tabular_update", "own_table", "The rest of the table decays a little at each update.", wrong("others"))
class TableDecays(OwnTable):
    def write(self, q, s, a, next_s, change):
        kept = q[s, a] + change
        q *= 63 / 64
        q[s, a] = kept


@bad(
    "tabular_update", "own_table", "The predecessor's action is updated as well (a trace of one step).", wrong("others")
)
class TraceOfOneStep(OwnTable):
    def write(self, q, s, a, next_s, change):
        q[s, a] += change
        q[s, a - 1 if a else -1] += 0.5 * change if q.shape[1] > 1 else 0.0


@bad("tabular_update", "own_table", "The step size falls with the number of updates so far.", wrong("repeatable"))
class StepSizeFalls(OwnTable):
    def __init__(self) -> None:
        self.updates = 0

    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        self.updates += 1
        return super().__call__(q, s, a, r, next_s, terminated, alpha / self.updates, gamma)


@bad(
    "tabular_update",
    "own_table",
    "The table is kept from the call before, where the shape is the same.",
    wrong("repeatable"),
)
class TableKept(OwnTable):
    def __init__(self) -> None:
        self.table: Table | None = None

    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        if self.table is None or self.table.shape != q.shape:
            self.table = q
        self.table = super().__call__(self.table, s, a, r, next_s, terminated, alpha, gamma)
        return self.table


@bad("tabular_update", "own_table", "Noise is added to the target.", wrong("repeatable"))
class NoisyTarget(OwnTable):
    def difference(self, q, s, a, r, value, gamma):
        return r + gamma * value - q[s, a] + random.gauss(0, 1) / 8


# --- central Q-learning -----------------------------------------------------------------------------------------------


@good("cql_update", "", "The rule as it is printed, with the sum of the rewards.")
class JointTable:
    scalar: Any = "sum"

    def reward(self, r: Table) -> float:
        return r.sum()

    def best(self, q: Table, s: int, a: NDArray[np.int64], next_s: int) -> float:
        return q[next_s].max()

    def write(self, q: Table, s: int, a: NDArray[np.int64], next_s: int, change: float) -> None:
        q[(s, *a)] += change

    def __call__(
        self,
        q: Table,
        s: int,
        a: NDArray[np.int64],
        r: Table,
        next_s: int,
        terminated: bool,
        alpha: float,
        gamma: float,
    ) -> Table:
        q = q.copy()
        target = self.reward(r) + (0.0 if terminated else gamma * self.best(q, s, a, next_s))
        self.write(q, s, a, next_s, alpha * (target - q[(s, *a)]))
        return q


@good("cql_update", "joint_table", "The reward of the first agent, as declared.")
class FirstAgentsReward(JointTable):
    scalar = 0

    def reward(self, r):
        return r[0]


@good("cql_update", "joint_table", "The reward of the second agent, as declared.")
class SecondAgentsReward(JointTable):
    scalar = 1

    def reward(self, r):
        return r[1]


@good("cql_update", "joint_table", "Joint actions are numbered, and the table is flat.")
class FlatTable:
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        flat = q.reshape(len(q), -1).copy()
        j = np.ravel_multi_index(tuple(a), q.shape[1:])
        best = 0.0 if terminated else flat[next_s].max()
        flat[s, j] = (1 - alpha) * flat[s, j] + alpha * (sum(r) + gamma * best)
        return flat.reshape(q.shape)


@good("cql_update", "joint_table", "For two agents alone, with torch.")
class TwoAgentsInTorch:
    arrays = "torch"
    agents = (2,)

    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        new = q.clone()
        best = q[next_s].amax(dim=(0, 1)) * (not terminated)
        new[s, a[0], a[1]] += alpha * (r.sum() + gamma * best - q[s, a[0], a[1]])
        return new


@bad("cql_update", "joint_table", "The rewards are averaged, where the sum is declared.", wrong("scalar"))
class AveragedRewards(JointTable):
    def reward(self, r):
        return r.mean()


@bad("cql_update", "joint_table", "The first agent's reward is taken, where the sum is declared.", wrong("scalar"))
class FirstAgentUndeclared(JointTable):
    def reward(self, r):
        return r[0]


@bad("cql_update", "joint_table", "The smallest reward is taken, where the sum is declared.", wrong("scalar"))
class WorstOff(JointTable):
    def reward(self, r):
        return r.min()


@bad(
    "cql_update",
    "second_agents_reward",
    "The sum is taken, where the second agent's reward is declared.",
    wrong("scalar"),
)
class SumUndeclared(SecondAgentsReward):
    def reward(self, r):
        return r.sum()


@bad(
    "cql_update",
    "second_agents_reward",
    "Agents are counted from one, so that the first one's is taken.",
    wrong("scalar"),
)
class CountedFromOne(SecondAgentsReward):
    def reward(self, r):
        return r[0]


@bad("cql_update", "joint_table", "The last agent's reward is left out of the sum.", wrong("scalar"))
class LastRewardLeftOut(JointTable):
    def reward(self, r):
        return r[:-1].sum() if len(r) > 1 else r.sum()


@bad(
    "cql_update",
    "joint_table",
    "The maximum runs over the last agent alone, the others repeating their actions.",
    wrong("entry", True),
)
class OthersRepeat(JointTable):
    def best(self, q, s, a, next_s):
        return q[(next_s, *a[:-1])].max()


@bad(
    "cql_update",
    "joint_table",
    "The maximum over the first agent is followed by a mean over the others.",
    wrong("entry", True),
)
class MaxThenMean(JointTable):
    def best(self, q, s, a, next_s):
        return q[next_s].max(axis=0).mean()


@bad("cql_update", "joint_table", "The best guaranteed value (max min) stands for the maximum.", wrong("entry", True))
class MaxMin(JointTable):
    def best(self, q, s, a, next_s):
        table = q[next_s].reshape(q.shape[1], -1)
        return table.min(axis=1).max()


@bad(
    "cql_update",
    "joint_table",
    "Each agent's best action is found by itself, and their combination is valued.",
    wrong("entry", True),
)
class EachByItself(JointTable):
    def best(self, q, s, a, next_s):
        table = q[next_s]
        others = [tuple(j for j in range(table.ndim) if j != i) for i in range(table.ndim)]
        return table[tuple(table.mean(axis=axes).argmax() for axes in others)]


@bad("cql_update", "joint_table", "The maximum is taken over the states as well.", wrong("entry", True))
class OverTheStates(JointTable):
    def best(self, q, s, a, next_s):
        return q.max()


@bad("cql_update", "joint_table", "The number of the best joint action stands for its value.", wrong("entry", True))
class JointArgmax(JointTable):
    def best(self, q, s, a, next_s):
        return float(q[next_s].argmax())


@bad(
    "cql_update",
    "joint_table",
    "The agents' actions are read in reverse order where they can be.",
    wrong("others", True),
)
class ActionsReversed(JointTable):
    def write(self, q, s, a, next_s, change):
        index = (s, *a[::-1])
        q[index if all(k < size for k, size in zip(index, q.shape, strict=True)) else (s, *a)] += change


@bad("cql_update", "joint_table", "A list of actions as an index: whole slices move.", wrong("others", True))
class ListAsIndex(JointTable):
    def write(self, q, s, a, next_s, change):
        q[s][a[0]] += change


@bad("cql_update", "joint_table", "The entry moves once for each agent.", wrong("entry", True))
class OncePerAgent(JointTable):
    def write(self, q, s, a, next_s, change):
        q[(s, *a)] += change * len(a)


@bad("cql_update", "joint_table", "The value of a terminal state is added.", wrong("entry", True, True))
class JointPastTheEnd(JointTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, r, next_s, False, alpha, gamma)


@bad("cql_update", "joint_table", "The discount is applied twice.", wrong("entry", True))
class JointGammaTwice(JointTable):
    def __call__(self, q, s, a, r, next_s, terminated, alpha, gamma):
        return super().__call__(q, s, a, r, next_s, terminated, alpha, gamma * gamma)


@bad("cql_update", "joint_table", "The scalar reward is smoothed over the calls.", wrong("repeatable", True))
class SmoothedReward(JointTable):
    def __init__(self) -> None:
        self.smooth = 0.0

    def reward(self, r):
        self.smooth += 0.5 * (r.sum() - self.smooth)
        return self.smooth


BAD = bad.targets()
GOOD = good.targets()
