"""The survey: what is installed is judged, what is not is named with how to install it."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.properties import Report, Verdict
from marlspec.properties import survey as surveying
from marlspec.properties.roles import ROLES
from marlspec.properties.survey import Entry, Row, read_entries
from marlspec.properties.verdicts import Witness

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "tests" / "targets"
PAGE = f"# Findings\n\n{surveying.BEGIN}\nold\n{surveying.END}\n\nby hand\n"


def declared(path, *tables):
    lines = []
    for table in tables:
        fields = {"role": "mixer", "packages": ["numpy"], **table}
        lines += [
            "[[target]]",
            *(f"{name} = {json.dumps(value)}" for name, value in fields.items() if name != "settings"),
        ]
        lines += [f"settings = {{ {k} = {json.dumps(v)} }}" for k, v in fields.get("settings", {}).items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(*outcomes, **fields):
    verdicts = tuple(Verdict(f"mixer.{k}", outcome) for k, outcome in enumerate(outcomes))
    report = Report("t", "mixer", verdicts, "float64", (), 1, 0) if outcomes else None
    return Row(Entry("t", "mixer", ("p",)), {"p": "1"}, report, **fields)


# --- the whole command ------------------------------------------------------------------------------------------------


def test_a_survey_of_a_sound_a_broken_a_missing_and_a_faulty_target(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    file = declared(
        tmp_path / "survey.toml",
        {"target": f"{TARGETS}/updates.py:right", "role": "tabular_update"},
        {"target": f"{TARGETS}/updates.py:past_the_end", "role": "tabular_update"},
        {"target": "nowhere:x", "packages": ["no-such-package"], "install": "pip install it"},
        {"target": f"{TARGETS}/exits_on_import.py:x"},
    )
    (tmp_path / "findings.md").write_text(PAGE)
    code = run(["survey", "--targets", str(file), "--examples", "110", "--findings", "findings.md"])
    assert code == 2, "one that is installed could not be judged"
    out = capsys.readouterr().out
    assert "not installed: nowhere:x (no package no-such-package; pip install it)" in out
    assert "not judged" in out
    assert "exits_on_import.py raised SystemExit" in out
    page = (tmp_path / "report" / "survey.html").read_text(encoding="utf-8")
    assert "iql.terminal" in page
    assert "pip install it" in page
    findings = (tmp_path / "findings.md").read_text()
    assert findings.startswith("# Findings\n")
    assert findings.endswith("by hand\n")
    assert "\nold\n" not in findings
    rows = [line for line in findings.splitlines() if line.startswith("| `")]
    assert [line.split(" | ")[3] for line in rows] == ["holds", "**refuted**", "not judged"]
    assert all(f"numpy {version('numpy')}" in line for line in rows)
    assert "iql.terminal" in rows[1]


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (row("holds", "proved", "not_applicable"), "holds"),
        (row("holds", "refuted"), "refuted"),
        (row("refuted", "error"), "refuted"),
        (row("holds", "error"), "not judged in part"),
        (row("error", "error"), "not judged"),
        (row(problem="it crashed"), "not judged"),
        (row(missing="no package p"), "not installed"),
    ],
)
def test_outcomes_in_words(found, outcome):
    assert found.outcome == outcome
    assert surveying.exit_code([row("holds"), found]) == (2 if outcome == "not judged" else 0)


def test_a_target_that_is_known_not_to_be_judged_does_not_fail_the_survey():
    report = row("error").report
    found = Row(Entry("t", "mixer", known="it raises"), {}, report)
    assert surveying.exit_code([found]) == 0
    assert surveying.cells(found)[3] == "not judged: it raises"


def test_the_table_on_a_terminal_of_80_columns_cuts_no_name(capsys):
    name = "examples/open_spiel_solvers.py:zero_sum_program"
    report = row("holds", "refuted").report
    judged = Row(Entry(name, "equilibrium_solver", ("open_spiel",)), {"open_spiel": "2.0.2", "cvxopt": "1.3.3"}, report)
    surveying.print_rows([judged], Console(width=80))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert [name, "refuted"] in lines
    assert ["equilibrium_solver; open_spiel 2.0.2, cvxopt", "mixer.1"] in lines


def test_the_table_of_findings_leaves_out_what_is_not_installed():
    table = surveying.findings_table([row("holds", "refuted"), row(missing="no package p")])
    assert table.splitlines()[2:] == ["| `t` | mixer | p 1 | **refuted** | mixer.1 |  |"]


def test_what_was_not_judged_this_time_stays_in_the_table_as_long_as_it_is_declared():
    entries = [Entry(name, "mixer", ("p",)) for name in "abc"]
    reports = [Report(name, "mixer", (Verdict("mixer.finite", "holds"),), "float64", (), 1, 0) for name in "abc"]
    old = [Row(entry, {"p": "1"}, report) for entry, report in zip(entries, reports, strict=True)]
    new = [Row(entries[0], missing="no package p"), Row(entries[1], {"p": "2"}, reports[1])]
    before = surveying.findings_table(old[::-1])
    assert surveying.findings_table(new, before, entries[:2]).splitlines()[2:] == [
        "| `a` | mixer | p 1 | holds |  |  |",
        "| `b` | mixer | p 2 | holds |  |  |",
    ]


def test_a_report_comes_back_from_json_as_it_was():
    witness = Witness(
        "t", "mixer", "mixer.batch", {}, {"n_agents": 2, "state_size": 1}, 0, None, {"x": [1.0]}, "1", "2"
    )
    verdicts = (Verdict("mixer.batch", "refuted", "m", "s", 3, 0.5, witness, "r"), Verdict("mixer.pure", "holds"))
    report = Report("t", "mixer", verdicts, "float64", ("n = 2",), 7, 1, {"a": 1})
    assert Report.from_json(json.loads(json.dumps(report.to_json())), "the test") == report
    for bad in ([], {}, {"schema": "marlspec.report/1"}, {**report.to_json(), "more": 1}):
        with pytest.raises(InputError, match="is no"):
            Report.from_json(bad, "the test")


# --- what is declared -------------------------------------------------------------------------------------------------


def test_everything_that_is_declared_can_be_found():
    entries = read_entries(ROOT / surveying.DECLARED)
    assert len({(entry.name, entry.role) for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.role in ROLES
        words = entry.target.removeprefix("exec:").split()
        (path,) = [word.partition(":")[0] for word in words if word.startswith("examples/")]
        assert (ROOT / path).is_file()
        if not entry.target.startswith("exec:"):
            assert entry.target.partition(":")[2] in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[target", "is not TOML"),
        ("", "declares no targets: write a table"),
        ('[[target]]\ntarget = "x:y"\nrole = "mixer"', "has no field 'packages'"),
        ('[[target]]\ntarget = "x:y"\nrole = "mixr"\npackages = []', "did you mean 'mixer'"),
        ("[[target]]\ntarget = 3", "has target = 3, which is no str"),
        ('[[target]]\nversion = "3"', "has an unknown field 'version'"),
    ],
)
def test_declarations_that_cannot_be_used_are_bad_input(text, words, tmp_path):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_entries(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "run it in a checkout of marlspec, or name a file by --targets"),
        (["--targets", "s.toml", "--only", "keras"], "no declared target, role or package holds 'keras'"),
        (["--targets", "s.toml", "--jobs", "0"], "--jobs must be at least 1"),
        (["--targets", "s.toml", "--findings", "s.toml"], "has no generated part"),
        (["--targets", "s.toml", "--findings", "none.md"], "cannot read none.md"),
    ],
)
def test_arguments_that_cannot_be_used_are_bad_input(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    declared(tmp_path / "s.toml", {"target": "x:y"})
    assert run(["survey", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_variables_of_the_environment_name_targets_elsewhere(monkeypatch):
    entry = Entry("exec:$PEER_PYTHON a.py $PEER", "mixer", ("numpy",), python="PEER_PYTHON")
    monkeypatch.setenv("PEER_PYTHON", sys.executable)
    monkeypatch.delenv("PEER", raising=False)
    assert surveying.versions_of(entry) == ({}, "the environment sets no PEER")
    monkeypatch.setenv("PEER", "a folder")
    assert surveying.versions_of(entry) == ({"numpy": version("numpy")}, "")
    assert entry.command() == f"exec:{sys.executable} a.py 'a folder'"
    _, missing = surveying.versions_of(Entry("x", "mixer", ("no-such-package",), python="PEER_PYTHON"))
    assert "lacks a package" in missing
    monkeypatch.setenv("PEER_PYTHON", str(Path(os.devnull) / "python"))
    assert "does not run" in surveying.versions_of(entry)[1]


def test_leaving_a_survey_ends_what_runs():
    checks = surveying.Checks(1, 0, 1.0)
    checks.close()
    with pytest.raises(InputError, match="was ended"):
        checks(Entry("x:y", "mixer"))
