"""The command line: exit codes, options and files, in this process and as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from marlspec import __version__, cli
from marlspec.cli import COMMANDS, run

TARGETS = Path(__file__).parent / "targets"
TOTAL, LEAKY, CLIPPED = (f"{TARGETS / 'sound.py'}:{name}" for name in ("total", "leaky", "Clipped"))
FALLING, COLUMN = f"{TARGETS / 'broken.py'}:mixer_mixer_monotone", f"{TARGETS / 'hostile.py'}:column"
QUICK = ["--sizes", "2x3", "--examples", "48"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Witnesses are written below the working directory; a wide terminal breaks no line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")


def marlspec(*arguments, **options):
    command = [sys.executable, "-c", "from marlspec.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# --- check ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refuted(tmp_path_factory):
    """One run as a process, with all its files."""
    folder = tmp_path_factory.mktemp("refuted")
    files = ["--json", "out/report.json", "--junit", "out/junit.xml", "--html", "out/page.html"]
    environment = {**os.environ, "COLUMNS": "400"}
    return folder, marlspec("check", FALLING, "--role", "mixer", *QUICK, *files, cwd=folder, env=environment)


def test_check_of_a_broken_target_exits_with_1_and_prints_the_counterexample(refuted):
    folder, process = refuted
    assert process.returncode == 1
    assert process.stderr == ""
    for words in ("mixer.monotone is refuted", "computed: Q_tot falls from", "required: Q_tot(q + delta e_i, z)"):
        assert words in process.stdout
    report = json.loads((folder / "out" / "report.json").read_text())
    assert f"{len(report['verdicts'])} of {len(report['verdicts'])} claims ran" in process.stdout


def test_json_of_check(refuted):
    report = json.loads((refuted[0] / "out" / "report.json").read_text())
    assert report["schema"] == "marlspec.report/1"
    assert (report["target"], report["role"], report["exit_code"], report["ok"]) == (FALLING, "mixer", 1, False)
    assert (report["examples"], report["seed"], report["sizes"]) == (48, 0, ["n_agents=2 state_size=3"])


def test_junit_of_check(refuted):
    folder = refuted[0]
    report = json.loads((folder / "out" / "report.json").read_text())
    (suite,) = ElementTree.parse(folder / "out" / "junit.xml").getroot().iter("testsuite")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == [verdict["claim_id"] for verdict in report["verdicts"]]
    failure = cases["mixer.monotone"].find("failure")
    assert failure.get("message").startswith("Q_tot falls from")
    assert "size: n_agents = 2" in failure.text
    assert int(suite.get("failures")) == len(suite.findall(".//failure"))


def test_page_of_check(refuted):
    page = (refuted[0] / "out" / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "mixer.monotone" in page


def test_a_printed_replay_command_works(refuted, capsys, monkeypatch):
    folder, process = refuted
    lines = [line for line in process.stdout.splitlines() if line.startswith("replay with: marlspec replay ")]
    report = json.loads((folder / "out" / "report.json").read_text())
    assert len(lines) == sum(verdict["outcome"] == "refuted" for verdict in report["verdicts"])
    line = next(line for line in lines if "mixer.monotone.json" in line)
    witness, target = line.removeprefix("replay with: marlspec replay ").split()
    monkeypatch.chdir(folder)
    assert run(["replay", witness, target]) == 1
    out = capsys.readouterr().out
    assert "mixer.monotone is still refuted" in out
    recorded = json.loads((folder / witness).read_text())
    assert f"computed: {recorded['computed']}" in out


def test_check_of_a_sound_target_exits_with_0(capsys, tmp_path):
    assert run(["check", TOTAL, "--role", "vdn_mixer", *QUICK, "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert f"{TOTAL} as vdn_mixer (float64; 48 examples, seed 3)" in out
    assert "structural proof, architecture: every parameter" in out
    assert "replay" not in out
    assert not (tmp_path / "report").exists()


def test_check_of_a_target_that_cannot_be_judged_exits_with_2(capsys):
    assert run(["check", COLUMN, "--role", "mixer", *QUICK]) == 2
    out = capsys.readouterr().out
    assert "squeeze the last dimension" in out
    assert out.count("squeeze the last dimension") == 1, "one fault is told once, not once for each claim"


def test_check_shows_the_traceback_of_a_target_that_raises(capsys):
    assert run(["check", f"{TARGETS / 'hostile.py'}:raising_factory", "--role", "mixer", *QUICK]) == 2
    assert 'raise RuntimeError("no weights on this disk")' in capsys.readouterr().out


def test_check_passes_settings_as_python_values(capsys):
    assert run(["check", LEAKY, "--role", "mixer", *QUICK, "--set", "slope=0.5"]) == 0
    assert run(["check", LEAKY, "--role", "mixer", *QUICK, "--set", "slope=-0.5", "--fail-fast"]) == 1
    assert run(["check", LEAKY, "--role", "mixer", *QUICK, "--set", "slope=steep"]) == 2
    assert "TypeError" in capsys.readouterr().out


def test_check_judges_the_given_parameters_when_told(capsys):
    assert run(["check", CLIPPED, "--role", "mixer", *QUICK, "--parameters", "given"]) == 0
    capsys.readouterr()


def test_check_takes_expected_refutations_with_reasons_of_any_characters(capsys):
    claims = ("mixer.monotone", "igm.containment")
    reason = "see [/issue] 5 = clipped by [bold]training"
    options = [option for claim in claims for option in ("--expect", f"{claim}={reason}")]
    assert run(["check", CLIPPED, "--role", "mixer", *QUICK, *options, "--junit", "junit.xml"]) == 0
    out = capsys.readouterr().out
    assert f"mixer.monotone is refuted as expected: {reason}" in out
    (suite,) = ElementTree.parse("junit.xml").getroot().iter("testsuite")
    assert (suite.get("failures"), suite.findall(".//failure")) == ("0", [])
    assert int(suite.get("skipped")) == len(suite.findall(".//skipped")) >= 2


def test_check_of_an_unexpected_success_exits_with_2(capsys):
    assert run(["check", TOTAL, "--role", "mixer", *QUICK, "--expect", "mixer.monotone=known"]) == 2
    assert "a refutation was expected (known), but the outcome is proved" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py:f", "--role", "mixer"], "no file nowhere.py"),
        (["marlspec_nowhere:f", "--role", "mixer"], "no module named 'marlspec_nowhere'"),
        ([TOTAL[:-1], "--role", "mixer"], "did you mean total"),
        ([TOTAL, "--role", "mixr"], "did you mean 'mixer'?"),
        ([TOTAL, "--role", "mixer", "--sizes", "2"], "write sizes as in 2x3,3x2"),
        ([TOTAL, "--role", "mixer", "--sizes", "2x3;3x2"], "write sizes as in 2x3,3x2"),
        ([TOTAL, "--role", "mixer", "--sizes", "2x3x4"], "got [2, 3, 4]"),
        ([TOTAL, "--role", "mixer", "--sizes", "0x4"], "got [0, 4]"),
        ([TOTAL, "--role", "mixer", "--examples", "0"], "examples must be an integer of at least 1"),
        ([TOTAL, "--role", "mixer", "--seed", "-1"], "seed must be an integer from 0"),
        ([TOTAL, "--role", "mixer", "--set", "slope"], "--set slope: write NAME=VALUE"),
        ([TOTAL, "--role", "mixer", "--set", "a-b=1"], "'a-b' is no name of a keyword argument"),
        ([TOTAL, "--role", "mixer", "--expect", "mixer.monotone"], "write CLAIM=REASON"),
        ([TOTAL, "--role", "mixer", "--expect", "mixer.monotone="], "write CLAIM=REASON"),
        ([TOTAL, "--role", "mixer", "--expect", "mixer.none=known"], "not among those judged"),
    ],
)
def test_check_refuses_bad_input_with_exit_code_2_and_one_line(capsys, arguments, words):
    assert run(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("marlspec check: error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize("arguments", [["check"], ["check", TOTAL], ["check", TOTAL, "--role", "mixer", "--seed", "x"]])
def test_check_without_what_it_needs_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        run(arguments)
    assert end.value.code == 2
    assert "usage: marlspec check" in capsys.readouterr().err


# --- replay -----------------------------------------------------------------------------------------------------------


def test_replay_of_a_mended_target_exits_with_0(capsys, tmp_path):
    code = "def make(n_agents, state_size):\n    return lambda utilities, state: {}utilities.sum(-1)\n"
    (tmp_path / "mine.py").write_text(code.format("-"))
    assert run(["check", "mine.py:make", "--role", "mixer", *QUICK, "--fail-fast"]) == 1
    (witness,) = Path("report/witnesses").iterdir()
    assert run(["replay", str(witness), "mine.py:make"]) == 1
    (tmp_path / "mine.py").write_text(code.format(""))
    assert run(["replay", str(witness), "mine.py:make"]) == 0
    assert "mixer.monotone is no longer refuted by this case" in capsys.readouterr().out
    (tmp_path / "mine.py").write_text("def make(n_agents, state_size):\n    return 3\n")
    assert run(["replay", str(witness), "mine.py:make"]) == 2
    assert "could not be judged: the factory returned an int" in capsys.readouterr().err


def test_replay_refuses_a_file_that_is_no_witness(capsys, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    assert run(["replay", "other.json", TOTAL]) == 2
    assert "other.json is no witness" in capsys.readouterr().err
    assert run(["replay", "none.json", TOTAL]) == 2
    assert "cannot read the witness none.json" in capsys.readouterr().err


# --- claims -----------------------------------------------------------------------------------------------------------


def test_claims_lists_every_claim_of_every_role_with_its_source(capsys, monkeypatch):
    from marlspec.properties.claims import claims_of
    from marlspec.properties.roles import ROLES

    monkeypatch.setenv("COLUMNS", "3000")
    assert run(["claims"]) == 0
    out = capsys.readouterr().out
    for role in ROLES.values():
        assert role.signature in out
        for entry in claims_of(role.name):
            assert entry.id in out
            assert entry.statement in out
            assert entry.cite in out


def test_claims_of_one_role(capsys):
    assert run(["claims", "vdn_mixer"]) == 0
    out = capsys.readouterr().out
    assert "vdn.additive" in out
    assert "qmix.bias_sign" not in out
    assert run(["claims", "vdn"]) == 2
    assert "no role is named 'vdn'" in capsys.readouterr().err


# --- the program ------------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in out
        assert command.summary in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(capsys, name):
    try:
        code = run([name, "--help"])
    except SystemExit as end:
        code = end.code
    assert code == 0
    assert f"marlspec {name}" in capsys.readouterr().out


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"marlspec {__version__}\n"


def test_no_command_and_an_unknown_one_exit_with_2(capsys):
    assert run([]) == 2
    assert "usage: marlspec COMMAND" in capsys.readouterr().err
    assert run(["chekc"]) == 2
    assert "no command named 'chekc'; the commands are check, replay" in capsys.readouterr().err


def test_help_and_the_package_load_nothing_heavy():
    code = (
        "import sys, marlspec, marlspec.properties, marlspec.pytest_plugin\n"
        "from marlspec.cli import run\n"
        "assert run(['--help']) == 0\n"
        "print([name for name in ('torch', 'hypothesis', 'numpy', 'rich', 'scipy') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_a_failure_of_the_program_itself_is_not_read_as_a_refutation(capsys, monkeypatch, tmp_path):
    """Exit code 1 says that the target is refuted, and nothing else says so."""
    (tmp_path / "folder").mkdir()
    assert run(["check", TOTAL, "--role", "mixer", *QUICK, "--json", "folder"]) == 2
    assert "Is a directory" in capsys.readouterr().err
    monkeypatch.setitem(cli.COMMANDS, "check", cli.Command("marlspec.cli", "no_such_function", ""))
    assert run(["check"]) == 2
    assert "AttributeError" in capsys.readouterr().err
