"""Measures of broken promises, written without the judge: each makes a `Violation` out of an example or a small search.

Every function builds its targets in float64 from a fixed seed, so that amounts are reproducible and rounding is far
below them. `prepare` may overwrite the parameters of what was built: `redrawn` and `filled` make such functions.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .target import Factory, Mixer, Violation

Prepare = Callable[[nn.Module], None]


def modules_of(function: Any) -> list[nn.Module]:
    """The function itself where it is a module, else the modules that its closure holds."""
    if isinstance(function, nn.Module):
        return [function]
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [content for content in cells if isinstance(content, nn.Module)]


@torch.no_grad()
def build(
    factory: Factory, *sizes: int, seed: int = 0, prepare: Prepare | None = None, dtype: torch.dtype = torch.float64
) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(seed)
    try:
        function = factory(*sizes)
    finally:
        torch.set_default_dtype(before)
    for module in modules_of(function) if prepare else []:
        prepare(module)
    return function


def redrawn(scale: float = 1.0) -> Prepare:
    """Draws every parameter anew from a normal distribution."""

    def prepare(module: nn.Module) -> None:
        for parameter in module.parameters():
            parameter.normal_(0, scale)

    return prepare


def filled(**values: float) -> Prepare:
    """Fills the parameters whose names end so (with __ for the dots), where they exist, with a constant each."""

    def prepare(module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            for ending, value in values.items():
                if name.endswith(ending.replace("__", ".")):
                    parameter.fill_(value)

    return prepare


def samples(rows: int, *sizes: int, spread: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(rows, *sizes, generator=generator, dtype=torch.float64)


def largest(x: Tensor) -> float:
    return max(0.0, float(x.double().max()))


@torch.no_grad()
def call(function: Any, *inputs: Tensor) -> Tensor:
    """An answer on copies: the target cannot spoil the caller's tensors."""
    return function(*(x.clone() for x in inputs))


def row(values: Sequence[float], rows: int = 1) -> Tensor:
    return torch.tensor([values] * rows, dtype=torch.float64)


def falls_at(
    utilities: Sequence[float],
    agent: int,
    by: float,
    state: Sequence[float] = (0.0,),
    rows: int = 1,
    look_at: int = 0,
    prepare: Prepare | None = None,
    calls_before: int = 0,
) -> Violation:
    """Raising one agent's utility lowers Q_tot: row `look_at` of a batch of equal rows, after some calls."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, len(utilities), len(state), prepare=prepare)
        q, z = row(utilities, rows), row(state, rows)
        raised = q.clone()
        raised[:, agent] += by
        for _ in range(calls_before):
            call(mixer, q, z)
        return largest((call(mixer, q, z) - call(mixer, raised, z))[look_at])

    return Violation("monotone", amount)


def falls(
    n_agents: int = 3,
    spread: float = 3.0,
    step: float = 2.0,
    prepare: Prepare | None = None,
    rows: int = 128,
    seeds: int = 3,
    state_size: int = 2,
) -> Violation:
    """Raising some agent's utility lowers Q_tot: a random search over utilities, states and parameters."""

    def amount(factory: Factory) -> float:
        return max(fall(factory, seed) for seed in range(seeds))

    def fall(factory: Factory, seed: int) -> float:
        mixer = build(factory, n_agents, state_size, seed=seed, prepare=prepare)
        q = samples(rows, n_agents, spread=spread, seed=seed)
        z = samples(rows, state_size, spread=3.0, seed=seed + 50)
        steps = samples(rows, 1, spread=step, seed=seed + 100).abs()
        unit = torch.eye(n_agents, dtype=q.dtype)
        return max(largest(call(mixer, q, z) - call(mixer, q + steps * e, z)) for e in unit)

    return Violation("monotone", amount)


def rows_meddle(n_agents: int = 3, rows: int = 8, state_size: int = 2, prepare: Prepare | None = None) -> Violation:
    """A row's answer within a batch differs from its answer alone."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, n_agents, state_size, prepare=prepare)
        q, z = samples(rows, n_agents, spread=3.0, seed=1), samples(rows, state_size, spread=3.0, seed=2)
        together = call(mixer, q, z)
        alone = torch.cat([call(mixer, q[k : k + 1], z[k : k + 1]) for k in range(rows)])
        return largest((together - alone).abs())

    return Violation("rows", amount)


def not_finite(
    utilities: Sequence[float], state: Sequence[float] = (0.0,), rows: int = 1, prepare: Prepare | None = None
) -> Violation:
    """The answer is NaN or infinite at this example."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, len(utilities), len(state), prepare=prepare)
        answer = call(mixer, row(utilities, rows), row(state, rows))
        return 0.0 if bool(answer.isfinite().all()) else math.inf

    return Violation("finite", amount)


def changes_its_answer(calls: int = 5, other_rows: int = 0) -> Violation:
    """The same tensors get different answers in successive calls, with `other_rows` other rows asked in between."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, 3, 2)
        q, z = samples(4, 3, spread=3.0, seed=1), samples(4, 2, spread=3.0, seed=2)
        other = samples(other_rows, 3, spread=3.0, seed=3), samples(other_rows, 2, spread=3.0, seed=4)
        answers = []
        for _ in range(calls):
            with torch.no_grad():
                answers.append(mixer(q, z))  # no copies here: the caller's tensors must survive
            if other_rows:
                call(mixer, *other)
        return max(largest((answer - answers[0]).abs()) for answer in answers)

    return Violation("repeatable", amount)


def unmoved_by(agent: int, n_agents: int = 3) -> Violation:
    """No utility of this agent changes Q_tot, whatever the parameters: the amount is 1 or 0."""

    def moves(mixer: Mixer, seed: int) -> bool:
        q, z = samples(64, n_agents, spread=3.0, seed=seed), samples(64, 2, spread=3.0, seed=seed + 1)
        moved = q.clone()
        moved[:, agent] += samples(64, spread=3.0, seed=seed + 2)
        return bool((call(mixer, q, z) - call(mixer, moved, z)).abs().max() > 1e-9)

    def amount(factory: Factory) -> float:
        mixers = (build(factory, n_agents, 2, seed=seed, prepare=prepare) for seed, prepare in REDRAWS)
        return float(not any(moves(mixer, seed) for seed, mixer in enumerate(mixers)))

    return Violation("every agent", amount)


def not_the_sum(
    n_agents: int = 3, spread: float = 3.0, centre: float = 0.0, prepare: Prepare | None = None
) -> Violation:
    """Q_tot is not the utilities' sum, on random rows."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, n_agents, 2, prepare=prepare)
        q, z = centre + samples(64, n_agents, spread=spread, seed=1), samples(64, 2, spread=3.0, seed=2)
        return largest((call(mixer, q, z) - q.sum(-1)).abs())

    return Violation("additive", amount)


def not_the_sum_at(utilities: Sequence[float], state: Sequence[float] = (0.0,), rows: int = 1) -> Violation:
    """Q_tot is not the utilities' sum, at this example."""

    def amount(factory: Factory) -> float:
        mixer = build(factory, len(utilities), len(state))
        return largest((call(mixer, row(utilities, rows), row(state, rows)) - sum(utilities)).abs())

    return Violation("additive", amount)


def state_unused(state_size: int = 2) -> Violation:
    """No state changes Q_tot, whatever the parameters: the amount is 1 or 0."""

    def uses(mixer: Mixer, seed: int) -> bool:
        q = samples(64, 3, spread=3.0, seed=seed)
        first, second = (samples(64, state_size, spread=3.0, seed=seed + k) for k in (1, 2))
        return bool((call(mixer, q, first) - call(mixer, q, second)).abs().max() > 1e-9)

    def amount(factory: Factory) -> float:
        mixers = (build(factory, 3, state_size, seed=seed, prepare=prepare) for seed, prepare in REDRAWS)
        return float(not any(uses(mixer, seed) for seed, mixer in enumerate(mixers)))

    return Violation("state", amount)


def never_negative(spread: float = 0.0) -> Violation:
    """Q_tot is nowhere negative, whatever the parameters, for utilities of this spread: the amount is 1 or 0."""

    def lowest(factory: Factory, seed: int, prepare: Prepare | None) -> float:
        mixer = build(factory, 3, 2, seed=seed, prepare=prepare)
        q, z = samples(256, 3, spread=spread, seed=seed), samples(256, 2, spread=3.0, seed=seed + 1)
        return float(call(mixer, q, z).min())

    def amount(factory: Factory) -> float:
        # Positive hidden units outweigh V(z) under almost every draw; their output weights are made small for it.
        quiet = filled(w2_head__weight=0.0, w2_head__bias=0.001, w2_head__2__weight=0.0, w2_head__2__bias=0.001)
        return float(all(lowest(factory, seed, prepare) >= 0 for seed, prepare in (*REDRAWS, (5, quiet))))

    return Violation("free biases", amount)


def straight_above_zero() -> Violation:
    """Q_tot is affine in non-negative utilities, whatever the parameters: no hidden unit bends there."""

    def bend(factory: Factory, seed: int, prepare: Prepare | None) -> float:
        mixer = build(factory, 3, 2, seed=seed, prepare=prepare)
        one, two = (samples(256, 3, spread=3.0, seed=seed + k).abs() for k in (0, 1))
        z = samples(256, 2, spread=3.0, seed=seed + 2)
        middle = call(mixer, (one + two) / 2, z)
        return float((call(mixer, one, z) + call(mixer, two, z) - 2 * middle).abs().max())

    def amount(factory: Factory) -> float:
        return float(all(bend(factory, seed, prepare) < 1e-6 for seed, prepare in REDRAWS))

    return Violation("free biases", amount)


REDRAWS: tuple[tuple[int, Prepare | None], ...] = (
    (0, None),
    (1, None),
    (2, redrawn(0.3)),
    (3, redrawn(1.0)),
    (4, redrawn(3.0)),
)


def joint_actions(n_agents: int, n_actions: int) -> Tensor:  # [A ** n, n]
    return torch.tensor(list(itertools.product(range(n_actions), repeat=n_agents)))


def values_of_joint_actions(function: Any, utilities: Tensor, state: Tensor) -> Tensor:  # [A ** n, B]
    _, n_agents, n_actions = utilities.shape
    choices = joint_actions(n_agents, n_actions)
    return torch.stack([call(function, utilities, a.expand(len(state), -1), state) for a in choices])


def regrets(utilities: Tensor) -> Tensor:  # [A ** n, B]
    """Summed over the agents: the best utility less that of the action taken."""
    _, n_agents, n_actions = utilities.shape
    lost = utilities.max(-1, keepdim=True).values - utilities
    return torch.stack([lost[:, range(n_agents), a].sum(-1) for a in joint_actions(n_agents, n_actions)])


def beats_the_greedy(
    n_agents: int = 2,
    n_actions: int = 3,
    ties: bool = False,
    spread: float = 3.0,
    rows: int = 64,
    prepare: Prepare | None = None,
    state: Sequence[float] | None = None,
) -> Violation:
    """Some joint action is worth more than some joint action of greedy ones; `ties` draws integer utilities."""

    def amount(factory: Factory) -> float:
        state_size = len(state) if state else 2
        function = build(factory, n_agents, n_actions, state_size, prepare=prepare)
        utilities = samples(rows, n_agents, n_actions, spread=spread, seed=1)
        if ties:
            utilities = utilities.round()
        z = row(state, rows) if state else samples(rows, state_size, spread=3.0, seed=2)
        values = values_of_joint_actions(function, utilities, z)
        greedy = values.masked_fill(regrets(utilities) > 0, math.inf).min(0).values
        return largest(values.max(0).values - greedy)

    return Violation("igm", amount)


def regret_is_cheap(
    n_agents: int = 2, n_actions: int = 3, spread: float = 3.0, prepare: Prepare | None = None
) -> Violation:
    """A joint action costs less, against the greedy one, than `min_slope` times its regret."""

    def amount(factory: Factory) -> float:
        function = build(factory, n_agents, n_actions, 2, prepare=prepare)
        slope = getattr(function, "min_slope", 0.0)
        utilities = samples(64, n_agents, n_actions, spread=spread, seed=1)
        values = values_of_joint_actions(function, utilities, samples(64, 2, spread=3.0, seed=2))
        regret = regrets(utilities)
        greedy = values.masked_fill(regret > 0, math.inf).min(0).values
        return largest(slope * regret - (greedy - values))

    return Violation("regret", amount)


def joint_rows_meddle(n_agents: int = 2, n_actions: int = 3) -> Violation:
    """A row's answer within a batch differs from its answer alone."""

    def amount(factory: Factory) -> float:
        function = build(factory, n_agents, n_actions, 2)
        inputs = joint_inputs(n_agents, n_actions)
        together = call(function, *inputs)
        alone = torch.cat([call(function, *(x[k : k + 1] for x in inputs)) for k in range(len(together))])
        return largest((together - alone).abs())

    return Violation("rows", amount)


def joint_changes_its_answer(n_agents: int = 2, n_actions: int = 3) -> Violation:
    """The same tensors get different answers in successive calls."""

    def amount(factory: Factory) -> float:
        function = build(factory, n_agents, n_actions, 2)
        inputs = joint_inputs(n_agents, n_actions)
        answers = [call(function, *inputs) for _ in range(5)]
        return max(largest((answer - answers[0]).abs()) for answer in answers)

    return Violation("repeatable", amount)


def joint_not_finite(n_actions: int, equal: float, n_agents: int = 2) -> Violation:
    """The answer is NaN or infinite where all utilities are equal to one number."""

    def amount(factory: Factory) -> float:
        function = build(factory, n_agents, n_actions, 2)
        _, actions, state = joint_inputs(n_agents, n_actions)
        utilities = torch.full((len(state), n_agents, n_actions), equal, dtype=torch.float64)
        return 0.0 if bool(call(function, utilities, actions, state).isfinite().all()) else math.inf

    return Violation("finite", amount)


def joint_inputs(n_agents: int, n_actions: int) -> tuple[Tensor, Tensor, Tensor]:
    actions = torch.randint(n_actions, (8, n_agents), generator=torch.Generator().manual_seed(3))
    utilities = samples(8, n_agents, n_actions, spread=3.0, seed=1)
    return utilities, actions, samples(8, 2, spread=3.0, seed=2)
