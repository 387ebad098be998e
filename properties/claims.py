"""The registry of claims: what an implementation promises by claiming a role.

A claim is a function from a `Trial` (the target, the budget, what is known already) to a `Finding`. It is registered
once, by `@claim(...)`, and every door of the judge draws from here. Ids are never reused.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marlspec.errors import InputError

if TYPE_CHECKING:
    from marlspec.properties.trial import Trial


LEAST_EXAMPLES = 100  # fewer distinct inputs support no verdict


@dataclass(frozen=True)
class Counterexample:
    """An input at which the target does not do what the claim requires.

    Attributes:
        size: the role's sizes by name.
        redraw: seed and scale of re-drawn parameters, or None for the target's own.
        case: the input by name, as plain lists and numbers.
        computed, required: in words.
    """

    size: Mapping[str, int]
    redraw: Mapping[str, float] | None
    case: Mapping[str, Any]
    computed: str
    required: str


@dataclass(frozen=True)
class Finding:
    """What a claim found; the judge makes a verdict of it.

    Attributes:
        counterexample: None unless the claim is refuted.
        proved: whether the claim holds for every input of the scope.
        not_applicable: the reason why the claim does not apply, or None.
        method, scope, reason: as in a verdict.
        examples: distinct inputs tried.
    """

    counterexample: Counterexample | None = None
    proved: bool = False
    not_applicable: str | None = None
    method: str = ""
    scope: str = ""
    reason: str = ""
    examples: int = 0


Test = Callable[["Trial"], Finding]
Recheck = Callable[["Trial", Mapping[str, int], Mapping[str, Any]], Counterexample | None]


@dataclass(frozen=True)
class Claim:
    """One promise.

    Attributes:
        id: stable name, never reused.
        statement: the promise in words.
        roles: roles that make it; a narrower role makes the promises of the wider one, too.
        cite: where the promise comes from.
        method: how it is decided, in words.
        test: decides it.
        recheck: runs one recorded case again.
        requires: claims whose refutation makes this one not applicable.
    """

    id: str
    statement: str
    roles: tuple[str, ...]
    cite: str
    method: str
    test: Test
    recheck: Recheck
    requires: tuple[str, ...] = ()


CLAIMS: dict[str, Claim] = {}


@dataclass
class _Registration:
    fields: dict[str, Any] = field(default_factory=dict)

    def __call__(self, test: Test) -> Test:
        identifier = self.fields["id"]
        if identifier in CLAIMS:
            raise RuntimeError(f"claim {identifier!r} is registered twice; ids are never reused")
        CLAIMS[identifier] = Claim(test=test, **self.fields)
        return test


def claim(
    identifier: str,
    statement: str,
    *,
    roles: tuple[str, ...],
    cite: str,
    method: str,
    recheck: Recheck,
    requires: tuple[str, ...] = (),
) -> Callable[[Test], Test]:
    """Register the decorated function as the test of a claim."""
    return _Registration(
        {
            "id": identifier,
            "statement": statement,
            "roles": roles,
            "cite": cite,
            "method": method,
            "recheck": recheck,
            "requires": requires,
        }
    )


def claims_of(role: str) -> tuple[Claim, ...]:
    """Return the claims of a role, those of the wider roles that it belongs to included.

    Raises:
        InputError: no such role.
    """
    from marlspec.properties.roles import role_named

    family = role_named(role).family
    _load()
    return tuple(entry for entry in CLAIMS.values() if any(name in family for name in entry.roles))


def claim_named(identifier: str) -> Claim:
    """Return one claim.

    Raises:
        InputError: no such claim.
    """
    _load()
    if identifier not in CLAIMS:
        near = difflib.get_close_matches(identifier, CLAIMS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"no claim has the id {identifier!r}{hint} The ids are {', '.join(sorted(CLAIMS))}")
    return CLAIMS[identifier]


def _load() -> None:
    """Import the modules that register claims."""
    import marlspec.properties.counterfactual
    import marlspec.properties.counterfactual_critic
    import marlspec.properties.dynamics
    import marlspec.properties.equilibria
    import marlspec.properties.evaluation
    import marlspec.properties.exploration
    import marlspec.properties.igm
    import marlspec.properties.learner
    import marlspec.properties.mixers
    import marlspec.properties.policies
    import marlspec.properties.policy_losses
    import marlspec.properties.replay
    import marlspec.properties.restart
    import marlspec.properties.returns
    import marlspec.properties.tabular
    import marlspec.properties.target_network
    import marlspec.properties.td_targets  # noqa: F401
