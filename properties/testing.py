"""Claims in a user's own test file.

    from marlspec.properties import parametrize_with_claims

    @parametrize_with_claims([my_factory, "pkg.module:other"], role="mixer")
    def test_mixer(target, claim):
        claim(target)

One test per target and claim. A refutation fails the test with the counterexample; a claim that does not apply skips
it with the reason; what goes wrong inside the target fails it as an error.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from marlspec.errors import InputError
from marlspec.properties.claims import claims_of
from marlspec.properties.judge import check
from marlspec.properties.roles import target_of
from marlspec.properties.verdicts import Report, Verdict


class Refuted(AssertionError):
    """A claim is refuted; the message shows the counterexample."""


class NotJudged(RuntimeError):
    """A target could not be judged; the message says why."""


class ClaimCheck:
    """One claim as a callable: judges a target and raises unless the claim stands."""

    def __init__(self, claim_id: str, role: str, options: Mapping[str, Any]) -> None:
        self.claim_id = claim_id
        self.role = role
        self.options = dict(options)

    def __repr__(self) -> str:
        return self.claim_id

    def __call__(self, target: Any) -> Verdict:
        """Judge the target; see `settle` for what is raised."""
        report = self.report(target)
        return settle(report, self.claim_id)

    def report(self, target: Any) -> Report:
        """Judge this claim, with the claims that it requires."""
        entry = next(entry for entry in claims_of(self.role) if entry.id == self.claim_id)
        known = [other.id for other in claims_of(self.role)]
        needed = [identifier for identifier in entry.requires if identifier in known]
        if self.claim_id == "igm.containment" and "mixer.monotone" in known:
            needed.append("mixer.monotone")
        judged = [*needed, self.claim_id]
        announced = {name: reason for name, reason in self.options.get("expected", {}).items() if name in judged}
        return check(target, self.role, claims=judged, **{**self.options, "expected": announced})


def settle(report: Report, claim_id: str) -> Verdict:
    """Turn one verdict of a report into a test's outcome.

    Raises:
        Refuted: the claim is refuted, and that was not announced.
        NotJudged: the target raised, returned a wrong shape or kind, or an announced refutation did not come.
    """
    verdict = report.verdict(claim_id)
    if verdict.outcome == "error":
        raise NotJudged(f"{report.target}: {verdict.reason}\n{verdict.details}".rstrip())
    if verdict.outcome == "refuted" and verdict.expected is None:
        lines = verdict.witness.lines() if verdict.witness is not None else []
        raise Refuted("\n".join([f"{claim_id} is refuted for {report.target}", *lines, verdict.reason]).rstrip())
    if verdict.outcome == "refuted":
        pytest.xfail(f"expected: {verdict.expected}")
    if verdict.outcome == "not_applicable":
        pytest.skip(verdict.reason)
    return verdict


def parametrize_with_claims(
    targets: Sequence[Any], *, role: str, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Parametrize a test by target and claim.

    Args:
        targets: factories, or specifications of them.
        role: the role to judge them in.
        options: further arguments of `check` (examples, seed, sizes, expected, ..).

    Raises:
        InputError: no such target or role, or an expected refutation of a claim that the role does not make.
    """
    for identifier in options.get("expected", {}):
        if identifier not in [entry.id for entry in claims_of(role)]:
            raise InputError(f"a refutation of {identifier!r} is expected, which the role {role!r} does not claim")
    pairs = [
        pytest.param(target, ClaimCheck(entry.id, role, options), id=f"{target_of(target, role=role).name}-{entry.id}")
        for target in targets
        for entry in claims_of(role)
    ]
    return pytest.mark.parametrize(("target", "claim"), pairs)
