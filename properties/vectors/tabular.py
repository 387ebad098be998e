"""Vectors of the tabular update rules: independent and central Q-learning."""

from typing import Any

import numpy as np

from marlspec.properties.vectors.drawn import Drawn
from marlspec.properties.vectors.functions import Array, Case, Fault, Function, case
from marlspec.reference.tabular import cql, iql

RULE = "Watkins and Dayan 1992; Albrecht et al. 2024, Algorithms 4 and 5"
TRANSITION = {
    "r": "float64: the reward",
    "next_s": "int64: the next state",
    "terminated": "bool: whether next_s is terminal",
    "alpha": "float64: learning rate",
    "gamma": "float64: discount",
}


def _otherwise(update: Any, **changes: Any) -> Any:
    return lambda **inputs: update(**{**inputs, **{name: change(inputs) for name, change in changes.items()}})


def _following(inputs: Any) -> Any:
    return 0 if inputs["terminated"] else inputs["q"][inputs["next_s"]].max()


def _moved(step: Any) -> Any:
    """An update that adds alpha times step(inputs, the entry) to the entry."""

    def update(**inputs: Any) -> Array:
        result: Array = inputs["q"].copy()
        place = (inputs["s"], *np.atleast_1d(inputs["a"]))
        result[place] += inputs["alpha"] * step(inputs, inputs["q"][place])
        return result

    return update


def _whole_row(**inputs: Any) -> Array:
    result: Array = inputs["q"].copy()
    target = inputs["r"] + inputs["gamma"] * _following(inputs)
    result[inputs["s"]] += inputs["alpha"] * (target - result[inputs["s"]])
    return result


def _own_successor(inputs: Any) -> Any:
    """The next state's value of the action that was taken, as if it were taken again."""
    return 0 if inputs["terminated"] else inputs["q"][(inputs["next_s"], *np.atleast_1d(inputs["a"]))]


def _faults(update: Any) -> tuple[Fault, ...]:
    return (
        Fault(
            "bootstraps_after_termination",
            "adds the table's entries of a terminal state",
            _otherwise(update, terminated=lambda inputs: False),
        ),
        Fault("no_discount", "takes gamma to be 1", _otherwise(update, gamma=lambda inputs: 1.0)),
        Fault("no_learning_rate", "takes alpha to be 1", _otherwise(update, alpha=lambda inputs: 1.0)),
        Fault(
            "states_exchanged",
            "bootstraps from the state s in place of the next one",
            _otherwise(update, next_s=lambda inputs: inputs["s"]),
        ),
        Fault(
            "no_subtraction",
            "adds alpha times the target without subtracting the entry",
            _moved(lambda inputs, entry: inputs["r"] + inputs["gamma"] * _following(inputs)),
        ),
        Fault(
            "same_action_again",
            "bootstraps from the action taken in place of the best one",
            _moved(lambda inputs, entry: inputs["r"] + inputs["gamma"] * _own_successor(inputs) - entry),
        ),
        Fault("whole_row", "moves the entries of all actions", _whole_row),
        Fault("reward_left_out", "leaves the reward out", _otherwise(update, r=lambda inputs: 0.0)),
    )


def _one(
    label: str, q: Any, s: int, a: Any, r: float, next_s: int, terminated: bool, alpha: float, gamma: float
) -> Case:
    return case(label, q=q, s=s, a=a, r=r, next_s=next_s, terminated=terminated, alpha=alpha, gamma=gamma)


def _iql_cases() -> tuple[Case, ...]:
    table = [[1.0, -2.0], [3.0, 4.0], [-1.0, -2.0]]
    drawn = Drawn("iql.update/wide")
    return (
        _one("ongoing", table, 0, 1, 0.5, 1, False, 0.5, 0.875),
        _one("terminal", table, 0, 0, 1.0, 1, True, 0.5, 0.875),
        _one("negative", table, 1, 0, 0.0, 2, False, 0.5, 0.875),
        _one("loop", table, 2, 1, 1.0, 2, False, 0.25, 0.5),
        _one("rate-1", table, 1, 1, -1.0, 0, False, 1.0, 0.875),
        _one("rate-0", table, 1, 1, -1.0, 0, False, 0.0, 0.875),
        _one("undiscounted", table, 0, 0, 2.0, 1, False, 0.5, 1.0),
        _one("reward-0-at-the-end", [[1.0], [8.0]], 0, 0, 0.0, 1, True, 0.5, 1.0),
        _one("wide", drawn.quarters((6, 5)), 2, 3, 0.75, 5, False, 0.125, 0.9375),
    )


def _cql_cases() -> tuple[Case, ...]:
    table = [[[1.0, -2.0], [0.0, 0.5]], [[3.0, 4.0], [6.0, -1.0]], [[-1.0, -2.0], [-3.0, -0.5]]]
    drawn = Drawn("cql.update/three-agents")
    return (
        _one("ongoing", table, 0, [0, 1], 0.5, 1, False, 0.5, 0.875),
        _one("terminal", table, 0, [1, 0], 1.0, 1, True, 0.5, 0.875),
        _one("negative", table, 1, [0, 0], 0.0, 2, False, 0.5, 0.875),
        _one("loop", table, 2, [1, 1], 1.0, 2, False, 0.25, 0.5),
        _one("rate-1", table, 1, [1, 0], -1.0, 0, False, 1.0, 0.875),
        _one("undiscounted", table, 0, [0, 0], 2.0, 1, False, 0.5, 1.0),
        _one(
            "unequal-actions",
            Drawn("cql.update/unequal-actions").quarters((2, 2, 3)),
            0,
            [1, 2],
            1.0,
            1,
            False,
            0.5,
            0.5,
        ),
        _one("three-agents", drawn.quarters((4, 2, 3, 2)), 1, [1, 2, 0], 0.75, 3, False, 0.125, 0.9375),
    )


def _cql_update(**inputs: Any) -> Array:
    return cql.update(**{**inputs, "a": tuple(int(own) for own in inputs["a"])})


def _agents_apart(**inputs: Any) -> Array:
    """The maximum over own actions of each agent apart, the others keeping to theirs."""
    following = inputs["q"][inputs["next_s"]]
    taken = tuple(int(own) for own in inputs["a"])
    best = tuple(int(following[(*taken[:i], slice(None), *taken[i + 1 :])].argmax()) for i in range(len(taken)))
    target = 0 if inputs["terminated"] else following[best]
    result: Array = inputs["q"].copy()
    place = (inputs["s"], *taken)
    result[place] += inputs["alpha"] * (inputs["r"] + inputs["gamma"] * target - result[place])
    return result


FUNCTIONS = (
    Function(
        "iql.update",
        "Q(s, a) = Q(s, a) + alpha (r + gamma max_b Q(s', b) - Q(s, a)), where a terminal s' has the value 0; all "
        "other entries stay.",
        RULE,
        {"q": "float64 [S, A]: the agent's table", "s": "int64: the state", "a": "int64: the own action", **TRANSITION},
        "float64 [S, A]: the table afterwards",
        iql.update,
        _faults(iql.update),
        _iql_cases(),
    ),
    Function(
        "cql.update",
        "Q(s, a) = Q(s, a) + alpha (r + gamma max_b Q(s', b) - Q(s, a)) over joint actions, r being one scalar reward; "
        "a terminal s' has the value 0, and all other entries stay.",
        RULE,
        {
            "q": "float64 [S, A_1, .., A_n]: the joint table",
            "s": "int64: the state",
            "a": "int64 [n]: the joint action",
            **TRANSITION,
        },
        "float64 [S, A_1, .., A_n]: the table afterwards",
        _cql_update,
        (
            *_faults(_cql_update),
            Fault(
                "agents_apart",
                "lets each agent choose its best next action as if the others kept to theirs",
                _agents_apart,
            ),
        ),
        _cql_cases(),
    ),
)
