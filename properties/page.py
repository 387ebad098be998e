"""Reports as one static HTML page: claims by targets; a cell opens the claim, its source and the counterexample."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from marlspec import __version__
from marlspec.properties.claims import Claim, claim_named
from marlspec.properties.verdicts import Report, Verdict

FILTERS = {"refuted": "refuted", "error": "not judged"}  # by a radio button each, with style rules and no script
SYMBOLS = {"proved": "proved", "holds": "holds", "refuted": "refuted", "not_applicable": "n/a", "error": "error"}


def write_page(reports: Sequence[Report], path: str | Path, *, sections: Sequence[dict[str, Any]] = ()) -> None:
    """Write the page.

    Args:
        reports: one column each, in a table of those that share claims.
        path: the file to write; its folder is made where it is missing.
        sections: further parts: a title, an introduction, and a table of heads and rows each.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(render_page(reports, sections=sections), encoding="utf-8")


def render_page(reports: Sequence[Report], *, sections: Sequence[dict[str, Any]] = ()) -> str:
    """Return the page as text."""
    source = resources.files("marlspec.properties").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    tables = [
        {
            "roles": ", ".join(dict.fromkeys(report.role for report in own)),
            "reports": own,
            "rows": [(entry, [_find(report, entry) for report in own]) for entry in _claims(own)],
        }
        for own in _families(reports)
    ]
    outcomes = [verdict.outcome for report in reports for verdict in report.verdicts]
    return environment.from_string(source).render(
        tables=tables,
        symbols=SYMBOLS,
        words=FILTERS,
        filters={outcome: outcomes.count(outcome) for outcome in FILTERS},  # type: ignore[arg-type]
        count=len(outcomes),
        sections=sections,
        version=__version__,
    )


def _families(reports: Sequence[Report]) -> list[list[Report]]:
    """Reports that share claims together, in the order of the first of them."""
    families: list[list[Report]] = []
    for report in reports:
        mine = _ids([report])
        related = [family for family in families if mine & _ids(family)]
        families = [family for family in families if family not in related]
        families.append([*(other for family in related for other in family), report])
    return sorted(families, key=lambda family: reports.index(family[0]))


def _ids(reports: Sequence[Report]) -> set[str]:
    return {verdict.claim_id for report in reports for verdict in report.verdicts}


def _claims(reports: Sequence[Report]) -> list[Claim]:
    identifiers = dict.fromkeys(verdict.claim_id for report in reports for verdict in report.verdicts)
    return [claim_named(identifier) for identifier in identifiers]


def _find(report: Report, entry: Claim) -> Verdict | None:
    return next((verdict for verdict in report.verdicts if verdict.claim_id == entry.id), None)
