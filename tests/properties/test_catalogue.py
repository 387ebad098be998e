"""docs/claims.md is what the registry gives, whatever was imported first, and leaves nothing out."""

from pathlib import Path

import pytest

from marlspec.properties import claims
from marlspec.properties.catalogue import claims_page, own_claims
from marlspec.properties.claims import claims_of
from marlspec.properties.roles import ROLES

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


def test_the_committed_page_is_what_the_registry_gives():
    assert PAGE.read_text(encoding="utf-8") == claims_page(), f"python -m marlspec.properties.catalogue > {PAGE}"


def test_the_order_of_imports_changes_nothing(monkeypatch):
    page = claims_page()
    other = sorted(claims.CLAIMS.items(), key=lambda item: item[1].test.__module__, reverse=True)
    assert [name for name, _ in other] != list(claims.CLAIMS)
    monkeypatch.setattr(claims, "CLAIMS", dict(other))
    assert claims_page() == page


@pytest.mark.parametrize("role", ROLES)
def test_a_section_holds_the_contract_and_every_claim_of_the_role(role):
    (section,) = [part for part in claims_page().split("\n## ")[1:] if part.splitlines()[0] == role]
    assert f"`{ROLES[role].signature}`" in section
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(own_claims(ROLES[role])) > 0
    for entry in claims_of(role):
        if role in entry.roles:
            (row,) = [line for line in rows if line.startswith(f"| `{entry.id}` |")]
            assert all(text.replace("|", "\\|") in row for text in (entry.statement, entry.method, entry.cite))
        else:
            assert any(f"[{parent}](#{parent})" in section for parent in entry.roles)


def test_every_registered_claim_stands_on_the_page_and_makes_one_row_of_five_cells():
    rows = [line for line in claims_page().splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} == set(claims.CLAIMS)
    for row in rows:
        assert row.replace("\\|", "").count("|") == 6
