"""The page of all claims, docs/claims.md: every role with its signature, every claim with method and source.

python -m marlspec.properties.catalogue > docs/claims.md
"""

from collections.abc import Sequence

from marlspec.properties.claims import Claim, claims_of
from marlspec.properties.roles import ROLES, Role

HEADS = ("claim", "statement", "decided by", "source", "applies where these are not refuted")


def claims_page() -> str:
    """Return the registry of claims as Markdown: docs/claims.md."""
    claims = {entry.id: entry for role in ROLES for entry in claims_of(role)}
    lines = [
        "# Claims",
        "",
        f"What each of {len(ROLES)} roles promises: {len(claims)} claims. An implementation is judged by those of its",
        "role; how, stands in [judging.md](judging.md), which mutants each claim refutes in",
        "[kill-matrix.md](kill-matrix.md), every argument of a signature in `properties/roles.py`. This page is made",
        "from the registry by `python -m marlspec.properties.catalogue`, and `marlspec claims` prints it.",
    ]
    for role in ROLES.values():
        lines += ["", *_section(role)]
    return "\n".join(lines) + "\n"


def own_claims(role: Role) -> list[Claim]:
    """Return the claims of a role without those of wider ones, in an order that no order of imports changes."""
    own = [entry for entry in claims_of(role.name) if role.name in entry.roles]
    return sorted(own, key=lambda entry: entry.test.__module__)  # stable: within a module as they stand there


def _section(role: Role) -> list[str]:
    own = own_claims(role)
    wider = [f"What a [{parent}](#{parent}) promises, and:" for parent in role.parents]
    return [
        f"## {role.name}",
        "",
        f"`{role.signature}`",
        "",
        *[line for text in wider for line in (text, "")],
        _row(HEADS),
        _row(["---"] * len(HEADS)),
        *(_row([f"`{e.id}`", e.statement, e.method, e.cite, ", ".join(_required(e, role))]) for e in own),
    ]


def _required(entry: Claim, role: Role) -> list[str]:
    """The claims that a claim of several roles requires in this one."""
    made = {other.id for other in claims_of(role.name)}
    return [f"`{name}`" for name in entry.requires if name in made]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(claims_page(), end="")
