"""Reports as JUnit XML: one test case per target and claim, the verdict's fields as properties."""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from marlspec.properties.verdicts import Report, Verdict

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(reports: Sequence[Report], path: str | Path) -> None:
    """Write reports as one JUnit file; its folder is made where it is missing.

    Characters that XML cannot hold, such as those that colour a terminal, are written by their number.
    """
    root = ElementTree.Element("testsuites")
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", name=f"{report.target} as {report.role}")
        for verdict in report.verdicts:
            _add_case(suite, report, verdict)
        suite.set("tests", str(len(report.verdicts)))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    for element in root.iter():
        element.text = _printable(element.text or "") or None
        element.attrib.update({name: _printable(value) for name, value in element.attrib.items()})
    ElementTree.indent(root)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def properties_of(report: Report, verdict: Verdict) -> dict[str, str]:
    """Return what a verdict says as text by name, for JUnit properties."""
    fields = {
        "target": report.target,
        "role": report.role,
        "claim": verdict.claim_id,
        "outcome": verdict.outcome,
        "method": verdict.method,
        "scope": verdict.scope,
        "inputs": str(verdict.examples),
        "reason": verdict.reason,
        "witness": "\n".join(verdict.witness.lines()) if verdict.witness else "",
    }
    return {name: value for name, value in fields.items() if value}


def _printable(text: str) -> str:
    return _NOT_IN_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _add_case(suite: ElementTree.Element, report: Report, verdict: Verdict) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=report.target, name=verdict.claim_id, time=f"{verdict.seconds:.3f}"
    )
    properties = ElementTree.SubElement(case, "properties")
    for name, value in properties_of(report, verdict).items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    if verdict.outcome == "refuted" and verdict.expected is None and verdict.witness is not None:
        ElementTree.SubElement(case, "failure", message=verdict.witness.computed).text = "\n".join(
            verdict.witness.lines()
        )
    elif verdict.outcome == "error":
        ElementTree.SubElement(case, "error", message=verdict.reason).text = verdict.details
    elif verdict.outcome in ("not_applicable", "refuted"):
        ElementTree.SubElement(case, "skipped", message=verdict.expected or verdict.reason)
