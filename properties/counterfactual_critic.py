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
ROWS = ("actions", "observations", "state")
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


def _leaning_on_others(target: Procedure, case: Case) -> Counterexample | None:
    """Whether a row's values are others than those that it has by itself."""
    values = call(target, case)
    scale = max(1.0, float(np.abs(values).max(initial=0.0)))
    for b in range(len(values)):
        alone = call(target, {name: case[name][b : b + 1] for name in ROWS})[0]
        wrong = ~(np.abs(values[b] - alone) <= ROUNDING * scale)
        if wrong.any():
            i, own = (int(k) for k in np.argwhere(wrong)[0])
            computed = (
                f"row {b}, agent {i + 1}: the value of action {own} is {values[b, i, own]:.9g} in the batch, and "
                f"{alone[i, own]:.9g} where the row is the only one"
            )
            return counterexample(case, computed, "the same value: a row is a time step of its own")
    return None


def _draw(sizes: Mapping[str, int], least_rows: int = 1) -> Any:
    def draw(generator: np.random.Generator, k: int) -> Case:
        rows = int(generator.integers(least_rows, 4))
        n, A, o, s = (sizes[name] for name in DEFAULTS)
        return {
            "actions": generator.integers(0, A, (rows, n)).tolist(),
            "observations": quarters(generator, (rows, n, o)).tolist(),
            "state": quarters(generator, (rows, s)).tolist(),
        }

    return draw


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer rows, then simpler numbers."""
    yield from slices_left_out(case, dict.fromkeys(ROWS, (0,)))
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
    "critic.rows",
    "A row's values are those that it has by itself: the other rows of a batch change nothing.",
    roles=("counterfactual_critic",),
    cite=f"{COMA}: Q(s, a) of one time step",
    method="each row of drawn batches, and the same row as a batch of one",
    recheck=rechecked(_leaning_on_others),
    requires=("critic.repeatable",),
)
def critic_rows(trial: Trial) -> Finding:
    """No statistics over a batch, no row in another one's place."""
    target = procedure(trial)
    return search(
        trial,
        _draw(sizes_of(target), least_rows=2),
        lambda case: _leaning_on_others(target, case),
        method="drawn batches of two and three rows, and each row alone",
        smaller=_smaller,
        key="critic.rows",
    )


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
