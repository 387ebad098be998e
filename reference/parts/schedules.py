"""Schedules: a number as a function of the time step t."""

from collections.abc import Callable
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]


def constant(value: float) -> Schedule:
    """Return the schedule that is always value."""
    return lambda t: value


def linear(start: float, end: float, steps: int) -> Schedule:
    """Return the schedule that moves in a straight line from start at t = 0 to end at t = steps, and stays there."""
    return lambda t: end if t >= steps else start + (end - start) * t / steps
