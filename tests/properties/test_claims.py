"""The registry of claims: complete, and its ids are never reused."""

import re

import pytest

from marlspec.properties.claims import CLAIMS, claim, claim_named, claims_of
from marlspec.properties.roles import ROLES

ALL = list(dict.fromkeys(entry for role in ROLES for entry in claims_of(role)))


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.id)
def test_a_claim_says_what_it_promises_where_from_and_how_it_is_decided(entry):
    assert re.fullmatch(r"[a-z]\w*\.[a-z]\w*", entry.id)
    assert entry.statement.endswith(".")
    assert entry.cite
    assert re.search(r"arXiv \d{4}\.\d{4,5}|Albrecht et al\. 2024", entry.cite)
    assert entry.method
    assert entry.roles
    assert set(entry.roles) <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_makes_its_own_claims_and_those_of_the_wider_ones(role):
    identifiers = [entry.id for entry in claims_of(role)]
    assert len(identifiers) == len(set(identifiers))
    for parent in ROLES[role].parents:
        assert {entry.id for entry in claims_of(parent)} < set(identifiers)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_claim_requires_is_judged_before_it(role):
    order = [entry.id for entry in claims_of(role)]
    for entry in claims_of(role):
        for needed in entry.requires:
            assert needed in CLAIMS
            if needed in order:
                assert order.index(needed) < order.index(entry.id)


def test_an_id_cannot_be_registered_twice():
    known = claim_named("mixer.finite")
    register = claim("mixer.finite", "x", roles=("mixer",), cite="x", method="x", recheck=known.recheck)
    with pytest.raises(RuntimeError, match=r"'mixer\.finite' is registered twice"):
        register(known.test)
    assert claim_named("mixer.finite") is known
