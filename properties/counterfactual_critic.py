"""Claims about critics of counterfactual baselines: f(actions, observations, state) -> q [B, n, A].

q[b, i, a] is the value of agent i's action a while the others do what they did. So it may depend on a_-i, on the
observations and on the state, and on the own action a_i not at all: a critic that is told what agent i did knows the
answer before it is asked, and its baseline is one for the action taken alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.steps import Size, quarters, rechecked, slices_left_out
from marlspec.properties.trial import TargetError, Trial

Array = NDArray[Any]

COMA = (
    "Foerster et al. 2018, arXiv 1705.08926, section 4 and figure 1: a_-i goes in, one value per own action comes out"
)
DEFAULTS = {"n_agents": 2, "n_actions": 3, "observation_size": 2, "state_size": 3}
ROUNDING = 1e-4  # of the largest value: that of a float32 network, far below what a weight on the own action does


def sizes_of(target: Procedure) -> dict[str, int]:
    """Return the sizes that a target declares.

    Raises:
        TargetError: one is no integer, or too small to ask anything.
    """
    sizes = {name: target.declared(name, default) for name, default in DEFAULTS.items()}
    for name, size in sizes.items():
        least = 2 if name == "n_actions" else 1
        if type(size) is not int or size < least:
            raise TargetError(f"the target declares {name} = {size!r}; declare an integer of at least {least}")
    return sizes


def call(target: Procedure, case: Case) -> Array:
    """Return the target's values of a case, [B, n, A].

    Raises:
        TargetError: it raised, wrote into its arguments, or returned another shape.
    """
    actions = np.array(case["actions"], dtype=np.int64)
    inputs = (np.array(case[name], dtype=float) for name in ("observations", "state"))
    return array_of(target(actions, *inputs), (*actions.shape, sizes_of(target)["n_actions"]), "the values")


def _told_the_own_action(target: Procedure, case: Case) -> Counterexample | None:
    """Whether an agent's values change with what it did itself."""
    actions, values = np.array(case["actions"]), call(target, case)
    scale = max(1.0, float(np.abs(values).max(initial=0.0)))
    for b, i in np.ndindex(actions.shape):
        for action in set(range(values.shape[-1])) - {int(actions[b, i])}:
            other = actions.copy()
            other[b, i] = action
            changed = call(target, {**case, "actions": other.tolist()})
            wrong = ~(np.abs(changed[b, i] - values[b, i]) <= ROUNDING * scale)
            if wrong.any():
                own = int(np.argmax(wrong))
                computed = (
                    f"agent {i + 1} in row {b}: its value of action {own} is {values[b, i, own]:.9g} after action "
                    f"{actions[b, i]}, and {changed[b, i, own]:.9g} after action {action}"
                )
                return counterexample(case, computed, "the same value: the own action is not among the inputs")
    return None


def _draw(sizes: Mapping[str, int]) -> Any:
    def draw(generator: np.random.Generator, k: int) -> Case:
        rows = int(generator.integers(1, 4))
        n, A, o, s = (sizes[name] for name in DEFAULTS)
        return {
            "actions": generator.integers(0, A, (rows, n)).tolist(),
            "observations": quarters(generator, (rows, n, o)).tolist(),
            "state": quarters(generator, (rows, s)).tolist(),
        }

    return draw


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, then simpler numbers."""
    yield from slices_left_out(case, dict.fromkeys(("actions", "observations", "state"), (0,)))
    yield from simpler_numbers(case, ("observations", "state", "actions"))


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return changing(trial, call, case)


@claim(
    "critic.repeatable",
    STATEMENT,
    roles=("counterfactual_critic",),
    cite=f"{COMA}: a critic is a function",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def critic_repeatable(trial: Trial) -> Finding:
    """Neither a state of its own nor chance."""
    sizes = sizes_of(procedure(trial))
    return repeatable(trial, _draw(sizes), call, _smaller, key="critic.repeatable")


@claim(
    "coma.critic_input",
    "An agent's values Q_i(., a_-i) do not depend on the action that it took itself.",
    roles=("counterfactual_critic",),
    cite=COMA,
    method="every other own action, in drawn batches",
    recheck=rechecked(_told_the_own_action),
    requires=("critic.repeatable",),
)
def coma_critic_input(trial: Trial) -> Finding:
    """What the counterfactual baseline takes for granted."""
    target = procedure(trial)
    return search(
        trial,
        _draw(sizes_of(target)),
        lambda case: _told_the_own_action(target, case),
        method="every other own action, in drawn batches",
        smaller=_smaller,
        key="coma.critic_input",
    )
