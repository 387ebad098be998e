"""Scalarisations: one reward out of the n agents' rewards (Algorithm 4, line 8)."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from marlspec.errors import InputError

Scalarisation: TypeAlias = Callable[[NDArray[Any]], Any]
"""From rewards [.., n] to one scalar reward for each [..]."""


def total() -> Scalarisation:
    """Return the sum of the agents' rewards."""
    return _added_up


def weighted(weights: Sequence[int | float]) -> Scalarisation:
    """Return the sum of the agents' rewards, each times the agent's weight."""
    factors = tuple(weights)
    return lambda rewards: _added_up(rewards * factors)


def one_agents(i: int) -> Scalarisation:
    """Return the reward of agent i alone, who then decides for all."""
    return lambda rewards: rewards[..., i]


def scalarisation(text: str, n_agents: int) -> Scalarisation:
    """Read "sum", "weighted:2,1" (one weight for each agent) or "agent:0" (agents count from 0).

    Raises:
        InputError: none of these, a weight that is no finite number, not one weight for each agent, or no such agent.
    """
    kind, _, parameter = text.partition(":")
    if text == "sum":
        return total()
    if kind == "weighted":
        return weighted(_weights(parameter, text, n_agents))
    if kind == "agent" and re.fullmatch(r"\d{1,9}", parameter):
        return one_agents(_agent(int(parameter), text, n_agents))
    raise InputError(f"no scalarisation {text!r}: write sum, weighted:2,1 (one weight for each agent) or agent:0")


def _added_up(rewards: NDArray[Any]) -> Any:
    """Add from the first agent to the last: the same bits for one vector of rewards and for many at once."""
    result = rewards[..., 0]
    for i in range(1, rewards.shape[-1]):
        result = result + rewards[..., i]
    return result


def _weights(parameter: str, text: str, n_agents: int) -> tuple[float, ...]:
    try:
        weights = tuple(float(weight) for weight in parameter.split(","))
    except ValueError:
        raise InputError(f"scalarisation {text!r}: the weights must be numbers, as in weighted:2,1") from None
    if not all(abs(weight) < float("inf") for weight in weights):
        raise InputError(f"scalarisation {text!r}: the weights must be finite")
    if len(weights) != n_agents:
        raise InputError(f"scalarisation {text!r} has {len(weights)} weights for {n_agents} agents: write one for each")
    return weights


def _agent(i: int, text: str, n_agents: int) -> int:
    if i >= n_agents:
        raise InputError(f"scalarisation {text!r}: there is no agent {i}, agents are numbered 0 to {n_agents - 1}")
    return i
