"""The doors in pytest: `pytest properties/ --spec-target`, and @parametrize_with_claims in a user's own file."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import marlspec.properties.commands
import marlspec.properties.reference_targets  # noqa: F401
from marlspec.errors import InputError
from marlspec.properties import check, parametrize_with_claims
from marlspec.properties.claims import claims_of
from marlspec.properties.testing import ClaimCheck, NotJudged, Refuted

pytestmark = pytest.mark.thorough

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
CONFORMANCE = str(ROOT / "properties" / "test_conformance.py")
QUICK = ("--spec-sizes", "2x3", "--examples", "48")


@pytest.fixture(scope="module", autouse=True)
def _all_is_imported(spec, quick):
    """pytester forgets the modules that are first imported while it runs; torch's tracer does not survive that."""
    check(spec("sound", "total"), "mixer", **quick)


@pytest.fixture
def run_pytest(pytester):
    """Runs pytest in this process, without this repository's configuration."""
    options = ("-p", "no:cacheprovider", "--import-mode=importlib", "-W", "ignore", "-c", pytester.makeini("[pytest]"))
    return lambda *arguments: pytester.runpytest_inprocess(*options, f"--rootdir={pytester.path}", *arguments)


# --- pytest properties/ --spec-target ... -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(spec, tmp_path_factory):
    """One run of the real command on four targets: sound, sound but for a claim, broken, not to be judged."""
    junit = tmp_path_factory.mktemp("door") / "junit.xml"
    targets = {
        spec("sound", "total"): "vdn_mixer",
        spec("broken", "mixer_mixer_every_agent"): "mixer",
        spec("broken", "mixer_mixer_finite"): "mixer",
        spec("hostile", "column"): "mixer",
    }
    options = [part for pair in targets.items() for part in ("--spec-target", pair[0], "--spec-role", pair[1])]
    command = [sys.executable, "-m", "pytest", "properties/", "-rs", "-q", *options, *QUICK, "--junit-xml", str(junit)]
    command += ["-p", "no:cacheprovider", "-W", "ignore", "-o", "addopts=--import-mode=importlib"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    cases = {case.get("name"): case for case in ElementTree.parse(junit).getroot().iter("testcase")}
    return process, cases


def case_of(cases, target, claim):
    return next(case for name, case in cases.items() if name.endswith(f"{target}-{claim}]"))


def properties_of(case):
    return {entry.get("name"): entry.get("value") for entry in case.iter("property")}


def test_one_test_per_target_and_claim(judged):
    process, cases = judged
    assert process.returncode == 1
    assert len(cases) == len(claims_of("vdn_mixer")) + 3 * len(claims_of("mixer"))


def test_a_sound_target_passes_and_its_properties_say_what_settled_it(judged):
    _, cases = judged
    for entry in claims_of("vdn_mixer"):
        assert not list(case_of(cases, "sound.py:total", entry.id).iter("failure"))
    properties = properties_of(case_of(cases, "sound.py:total", "mixer.monotone"))
    assert properties["target"].endswith("sound.py:total")
    assert (properties["role"], properties["claim"], properties["outcome"]) == ("vdn_mixer", "mixer.monotone", "proved")
    assert properties["method"] == "structural proof"
    assert int(properties["inputs"]) >= 100


def test_a_refutation_fails_with_the_counterexample(judged):
    process, cases = judged
    case = case_of(cases, "broken.py:mixer_mixer_every_agent", "mixer.every_agent")
    assert "Q_tot did not change" in case.find("failure").get("message") + case.find("failure").text
    properties = properties_of(case)
    assert properties["outcome"] == "refuted"
    assert "required: each agent's utility changes Q_tot somewhere" in properties["witness"]
    assert "mixer.every_agent is refuted for" in process.stdout
    assert "agent = 0" in process.stdout


def test_a_claim_that_does_not_apply_is_skipped_with_the_reason(judged):
    process, cases = judged
    case = case_of(cases, "broken.py:mixer_mixer_finite", "mixer.monotone")
    assert case.find("skipped").get("message") == "mixer.finite is refuted; mend that first."
    assert "mixer.finite is refuted; mend that first." in process.stdout


def test_a_target_that_cannot_be_judged_fails_as_an_error(judged):
    _, cases = judged
    for entry in claims_of("mixer"):
        case = case_of(cases, "hostile.py:column", entry.id)
        assert "NotJudged" in case.find("failure").get("message")
        assert "squeeze the last dimension" in case.find("failure").text
        assert properties_of(case)["outcome"] == "error"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--spec-target", "a:b"), "one --spec-role for each --spec-target: 1 targets, 0 roles"),
        (("--spec-role", "mixer"), "one --spec-role for each --spec-target: 0 targets, 1 roles"),
        (("--spec-target", "a:b", "--spec-role", "mixr"), "no role is named 'mixr'; did you mean 'mixer'?"),
        (("--spec-target", "nowhere_at_all:b", "--spec-role", "mixer"), "no module named 'nowhere_at_all'"),
        (("--spec-target", "{total}", "--spec-role", "mixer", "--spec-sizes", "2"), "write sizes as in 2x3"),
        (("--spec-target", "{total}", "--spec-role", "mixer", "--spec-expect", "mixer.none=x"), "not among those"),
        (("--spec-target", "{total}", "--spec-role", "mixer", "--spec-set", "slope"), "write NAME=VALUE"),
    ],
)
def test_bad_options_are_errors_that_say_what_is_wrong(run_pytest, spec, options, words):
    options = [option.format(total=spec("sound", "total")) for option in options]
    result = run_pytest(CONFORMANCE, *options, "-x")
    assert result.ret != 0
    assert " passed" not in result.stdout.str()
    assert words in result.stdout.str() + result.stderr.str()


def test_options_of_the_door_reach_the_judge(run_pytest, spec):
    leaky = ["--spec-target", spec("sound", "leaky"), "--spec-role", "mixer", *QUICK]
    known = ["--spec-set", "slope=-0.5", "--spec-expect", "mixer.monotone=a known fault"]
    result = run_pytest(CONFORMANCE, *leaky, *known, "-rxf", "-k", "monotone")
    result.assert_outcomes(xfailed=1)
    assert "expected: a known fault" in result.stdout.str()
    clipped = ["--spec-target", spec("sound", "Clipped"), "--spec-role", "mixer", *QUICK]
    given = ["--spec-parameters", "given", "-k", "monotone"]
    run_pytest(CONFORMANCE, *clipped, *given).assert_outcomes(passed=1)


def test_the_reference_is_judged_where_no_target_is_named(run_pytest):
    result = run_pytest(CONFORMANCE, "--collect-only", "-q")
    for role in ("vdn_mixer", "qmix_mixer"):
        for entry in claims_of(role):
            assert f"test_claim[marlspec.properties.reference_targets:{role}-{entry.id}]" in result.stdout.str()


# --- @parametrize_with_claims -----------------------------------------------------------------------------------------

USERS_FILE = """
from marlspec.properties import parametrize_with_claims

def sound(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1)

def falling(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1) - 3 * utilities[:, 0]

def undefined(n_agents, state_size):
    return lambda utilities, state: utilities.sqrt().sum(-1)

def column(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1, keepdim=True)

@parametrize_with_claims([sound, falling, undefined, column], role="mixer", sizes=[(2, 3)], examples=48)
def test_mixer(target, claim):
    verdict = claim(target)
    assert verdict.ok

KNOWN = {"mixer.monotone": "the first weight is negative", "igm.containment": "follows from it"}

@parametrize_with_claims([falling], role="mixer", sizes=[(2, 3)], examples=48, expected=KNOWN)
def test_known(target, claim):
    claim(target)
"""


@pytest.fixture
def users_run(pytester, run_pytest):
    pytester.makepyfile(test_mine=USERS_FILE)
    return run_pytest("-rA", "-k", "monotone or finite or containment")


def test_claims_in_a_users_own_file(users_run):
    lines = users_run.stdout.str().splitlines()

    def outcome(test, target, claim):
        (line,) = {line for line in lines if f"::{test}[" in line and f":{target}-{claim}]" in line and " " in line}
        return line.split()[0]

    assert {outcome("test_mixer", "sound", claim) for claim in ("mixer.finite", "mixer.monotone")} == {"PASSED"}
    assert outcome("test_mixer", "sound", "igm.containment") == "PASSED"
    assert outcome("test_mixer", "falling", "mixer.finite") == "PASSED"
    assert outcome("test_mixer", "falling", "mixer.monotone") == "FAILED"
    assert outcome("test_mixer", "undefined", "mixer.finite") == "FAILED"
    assert outcome("test_mixer", "column", "mixer.monotone") == "FAILED"
    assert outcome("test_known", "falling", "mixer.finite") == "PASSED"
    assert outcome("test_known", "falling", "mixer.monotone") == "XFAIL"
    assert outcome("test_known", "falling", "igm.containment") == "XFAIL"
    text = "\n".join(lines)
    assert "mixer.finite is refuted; mend that first." in text
    assert "Q_tot falls from" in text
    assert "required: Q_tot(q + delta e_i, z) >= Q_tot(q, z)" in text
    assert "squeeze the last dimension" in text


def test_a_claim_called_by_hand_returns_the_verdict_or_raises(spec, quick):
    claim = ClaimCheck("mixer.monotone", "mixer", quick)
    assert claim(spec("sound", "total")).outcome == "proved"
    with pytest.raises(Refuted, match=r"mixer\.monotone is refuted for (.|\n)*Q_tot falls"):
        claim(spec("broken", "mixer_mixer_monotone"))
    with pytest.raises(NotJudged, match="squeeze the last dimension"):
        claim(spec("hostile", "column"))


def test_the_corollary_is_proved_by_hand_as_well(spec, quick):
    assert ClaimCheck("igm.containment", "mixer", quick)(spec("sound", "total")).outcome == "proved"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"role": "mixr"}, "no role is named 'mixr'"),
        ({"role": "mixer", "expected": {"mixer.none": "known"}}, "'mixer.none'"),
    ],
)
def test_mistakes_are_told_when_the_file_is_read(spec, options, words):
    with pytest.raises(InputError, match=words):
        parametrize_with_claims([spec("sound", "total")], **options)


def test_the_time_limit_reaches_the_judge(run_pytest, pytester):
    pytester.makepyfile(asleep="import time\n\ndef update():\n    return lambda *arguments: time.sleep(60)\n")
    target = f"{pytester.path / 'asleep.py'}:update"
    options = ("--spec-target", target, "--spec-role", "tabular_update", "--spec-time-limit", "0.05")
    result = run_pytest(CONFORMANCE, *options)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing was decided after 0.1 s, twice the time limit*"])
