"""What a target of the judge's own tests is, and how the tuples of targets are collected."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from jaxtyping import Float, Int
from torch import Tensor

Utilities = Float[Tensor, "B n"]
ActionUtilities = Float[Tensor, "B n A"]
Actions = Int[Tensor, "B n"]
State = Float[Tensor, "B s"]
Total = Float[Tensor, "B"]

Mixer = Callable[[Utilities, State], Total]
JointValue = Callable[[ActionUtilities, Actions, State], Total]
# (n_agents, state_size) for a mixer, (n_agents, n_actions, state_size) for a joint value.
Factory = Callable[..., Any]


@dataclass(frozen=True)
class Violation:
    """A promise and a measure, in units of Q_tot, of how far a factory's functions break it: 0 where it is kept."""

    promise: str
    amount: Callable[[Factory], float]


@dataclass(frozen=True)
class Target:
    """A factory under judgement.

    `base` names the good variant that it changes ("" for a variant that stands by itself) and `edit` says in one
    sentence what was changed. A bad target carries the violation that shows it to be bad; its base shows none.
    """

    name: str
    role: str
    factory: Factory
    base: str
    edit: str
    violation: Violation | None = None


def named(targets: Sequence[Target]) -> pytest.MarkDecorator:
    """Parametrize a test by targets, which give it their names."""
    return pytest.mark.parametrize("target", targets, ids=lambda target: target.name)


# The gaps between the words of a class name, as in NoAbsOnW1 and ChunksOf32.
WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=[0-9])")


class Collection:
    """Targets in the order of their definition; an instance decorates factories, which name their targets."""

    def __init__(self) -> None:
        self._targets: list[Target] = []

    def __call__(
        self, role: str, base: str, edit: str, violation: Violation | None = None
    ) -> Callable[[Factory], Factory]:
        def collect(factory: Factory) -> Factory:
            name = WORDS.sub("_", factory.__name__).lower()
            self._targets.append(Target(name, role, factory, base, edit, violation))
            return factory

        return collect

    def targets(self) -> tuple[Target, ...]:
        return tuple(self._targets)
