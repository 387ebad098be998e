"""The page and the JUnit file: complete, closed in themselves, and safe against what targets are called or say."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from marlspec.properties import Report, Verdict, check
from marlspec.properties.claims import claim_named
from marlspec.properties.junit import write_junit
from marlspec.properties.page import render_page, write_page
from marlspec.properties.verdicts import Witness

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert('\"&')</script>"


class Page(HTMLParser):
    """Every element with its attributes, and the text outside of style; unbalanced elements are refused."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def holds(self, words):
        return words in "".join(self.text)


@pytest.fixture(scope="module")
def reports(spec, quick):
    return [
        check(spec("sound", "total"), "vdn_mixer", **quick),
        check(spec("broken", "mixer_mixer_monotone"), "mixer", **quick),
        check(spec("hostile", "raising"), "mixer", **quick),
        check(spec("sound", "Clipped"), "mixer", expected={"mixer.monotone": "clipped later"}, **quick),
    ]


@pytest.fixture(scope="module")
def hostile_report():
    size, case = {"n_agents": 2, "state_size": 3}, {"utilities": [1.0], HOSTILE: 2}
    witness = Witness(HOSTILE, "mixer", "mixer.batch", {}, size, 0, None, case, HOSTILE, HOSTILE)
    verdicts = (
        Verdict("mixer.finite", "holds", method=HOSTILE, scope=HOSTILE, examples=100),
        Verdict("mixer.batch", "refuted", witness=witness, reason=HOSTILE),
        Verdict("mixer.pure", "refuted", witness=witness, expected=HOSTILE),
        Verdict("mixer.monotone", "error", reason=f"{HOSTILE}\x1b[1m\x00", details=f"{HOSTILE}\x1b[1m\ufffe"),
        Verdict("igm.equivalence", "not_applicable", reason=HOSTILE),
    )
    return Report(HOSTILE, "mixer", verdicts, HOSTILE, (HOSTILE,), 48, 0)


def test_the_page_holds_each_target_claim_and_witness(reports):
    page = Page(render_page(reports))
    for report in reports:
        assert page.holds(report.target)
        assert page.holds(report.summary())
        for verdict in report.verdicts:
            entry = claim_named(verdict.claim_id)
            assert page.holds(entry.id)
            assert page.holds(entry.statement)
            assert page.holds(entry.cite)
            assert page.holds(verdict.reason)
            assert page.holds(verdict.details)
        for witness in report.witnesses:
            assert page.holds("\n".join(witness.lines()))
    assert page.holds("refuted (expected)")
    assert page.holds("Expected: clipped later")
    assert page.holds("not promised"), "vdn.additive is no claim of a mixer"


def test_the_page_has_a_column_per_report_and_a_row_per_claim(reports):
    page = Page(render_page(reports))
    tags = [tag for tag, _ in page.elements]
    claims = {verdict.claim_id for report in reports for verdict in report.verdicts}
    assert tags.count("details") == sum(len(report.verdicts) for report in reports)
    assert tags.count("tr") == len(claims) + 2
    assert sum(attrs.get("scope") == "col" for _, attrs in page.elements) == len(reports) + 1


def test_roles_that_share_no_claim_have_tables_of_their_own(reports):
    """However they are mixed: each row then has a verdict of some column."""
    solver = Report("solver", "equilibrium_solver", (Verdict("nash.regret", "holds"),), "float64", (), 48, 0)
    update = Report("update", "tabular_update", (Verdict("iql.update", "holds"),), "float64", (), 48, 0)
    page = Page(render_page([solver, reports[0], update, *reports[1:], solver]))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == 3
    assert sum(attrs.get("scope") == "col" for _, attrs in page.elements) == 3 + 3 + len(reports)
    assert page.holds("equilibrium_solver")


def test_the_page_needs_nothing_from_outside(reports):
    text = render_page(reports)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    assert not {"src", "href", "style", "onclick"} & {name for _, attrs in page.elements for name in attrs}
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_names_stay_text(hostile_report):
    page = Page(render_page([hostile_report], sections=[dict.fromkeys(("title", "introduction"), HOSTILE) | ROWS]))
    assert "script" not in {tag for tag, _ in page.elements}
    assert "".join(page.text).count(HOSTILE) >= 12


ROWS = {"heads": [HOSTILE], "rows": [[HOSTILE, HOSTILE]]}


def test_the_same_reports_give_the_same_page(reports, tmp_path):
    first = render_page(reports)
    assert first == render_page(reports)
    write_page(reports, tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == first


def test_a_page_of_no_reports_is_a_page():
    assert Page(render_page([])).holds("Verdicts")


# --- JUnit ------------------------------------------------------------------------------------------------------------


def test_junit_holds_every_verdict_and_its_counts_add_up(reports, tmp_path):
    write_junit(reports, tmp_path / "junit.xml")
    suites = list(ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testsuite"))
    assert [suite.get("name") for suite in suites] == [f"{report.target} as {report.role}" for report in reports]
    for suite, report in zip(suites, reports, strict=True):
        cases = {case.get("name"): case for case in suite.iter("testcase")}
        assert list(cases) == [verdict.claim_id for verdict in report.verdicts]
        assert int(suite.get("tests")) == len(cases)
        assert int(suite.get("failures")) == sum(v.outcome == "refuted" and not v.ok for v in report.verdicts)
        assert int(suite.get("errors")) == sum(v.outcome == "error" for v in report.verdicts)
        for verdict in report.verdicts:
            properties = {entry.get("name"): entry.get("value") for entry in cases[verdict.claim_id].iter("property")}
            assert properties["outcome"] == verdict.outcome
            assert ("witness" in properties) == (verdict.witness is not None)


def test_junit_can_be_read_whatever_a_target_says(hostile_report, tmp_path):
    write_junit([hostile_report], tmp_path / "junit.xml")
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testsuite")
    error = suite.find("testcase[@name='mixer.monotone']/error")
    assert error.get("message") == f"{HOSTILE}\\x1b[1m\\x00"
    assert error.text == f"{HOSTILE}\\x1b[1m\\xfffe"
    assert [int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")] == [5, 1, 1, 2]
