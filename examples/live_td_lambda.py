"""A program for the live door: TD(lambda) returns, with numpy and the standard library alone.

    marlspec check 'exec:python examples/live_td_lambda.py right' --role return_estimator
    marlspec check 'exec:python examples/live_td_lambda.py time-limit-ends' --role return_estimator

The second one takes every end of an episode for a terminal state, a time limit as well, which is a common fault.
"""

import sys
from typing import Any

import numpy as np
from live_door import serve
from numpy.typing import NDArray

Array = NDArray[Any]


def returns(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    mask: Array,
    gamma: float,
    lam: float,
) -> Array:
    """Return y [B, T], from the last time step to the first; an episode ends where the next step is padding."""
    y = np.zeros_like(rewards)
    following = np.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        is_last = truncated[:, t] | ~mask[:, t + 1] if t + 1 < rewards.shape[1] else np.full(len(rewards), True)
        onward = np.where(is_last, next_values[:, t], (1 - lam) * next_values[:, t] + lam * following)
        following = rewards[:, t] + gamma * np.where(terminated[:, t], 0.0, onward)
        y[:, t] = np.where(mask[:, t], following, 0.0)
    return y


def time_limit_ends(*arguments: Any) -> Array:
    """Return the same with every cut taken for a terminal state."""
    rewards, values, next_values, terminated, truncated, *more = arguments
    return returns(rewards, values, next_values, terminated | truncated, truncated, *more)


FUNCTIONS = {"right": returns, "time-limit-ends": time_limit_ends}

if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in FUNCTIONS]:
        sys.exit(f"name one of {', '.join(FUNCTIONS)}")
    serve(lambda hello: FUNCTIONS[sys.argv[1]])
