"""The examples in other languages and frameworks: each sound one is judged sound, each faulty one is refuted."""

import os
import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from marlspec.cli import run
from marlspec.properties import check

pytestmark = [pytest.mark.long, pytest.mark.thorough]

ROOT = Path(__file__).parent.parent
QUICK = {"sizes": [(2, 3)], "examples": 48}
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node (the command node)")
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="needs the package jax")


def in_node(mixer):
    return f"exec:node {shlex.quote(str(ROOT / 'examples' / 'live_mixer.js'))} {mixer}"


@needs_node
@pytest.mark.parametrize(("mixer", "role"), [("vdn", "vdn_mixer"), ("qmix", "qmix_mixer")])
def test_mixers_in_javascript_hold(mixer, role):
    report = check(in_node(mixer), role, **QUICK)
    assert report.exit_code == 0, report.verdicts
    assert report.verdict("mixer.monotone").outcome == "holds"


@needs_node
def test_a_mixer_with_signed_weights_in_javascript_is_refuted_with_a_small_witness():
    report = check(in_node("qmix-signed"), "qmix_mixer", **QUICK, claims=["mixer.monotone"])
    (witness,) = report.witnesses
    assert witness.case["utilities"] == [0, 0]
    assert witness.case["state"] == [0, 0, 0]


@needs_node
def test_an_average_in_javascript_is_no_vdn_mixer():
    report = check(in_node("vdn-average"), "vdn_mixer", **QUICK, claims=["vdn.additive"])
    (witness,) = report.witnesses
    assert sorted(witness.case["utilities"]) == [0, 1]


@needs_node
def test_an_unknown_mixer_in_javascript_is_an_error_that_shows_the_programs_words():
    report = check(in_node("qplex"), "mixer", **QUICK, claims=["mixer.finite"])
    assert report.exit_code == 2
    assert "name one of vdn, vdn-average, qmix, qmix-signed" in report.verdicts[0].reason


def test_the_program_of_the_documentation_is_judged(tmp_path):
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# total.py.*?)```", page, re.DOTALL)
    (tmp_path / "total.py").write_text(code, encoding="utf-8")
    target = "exec:" + shlex.join([sys.executable, str(tmp_path / "total.py")])
    assert check(target, "vdn_mixer", **QUICK, claims=["mixer.batch", "vdn.additive"]).exit_code == 0


def in_python(returns):
    return "exec:" + shlex.join([sys.executable, str(ROOT / "examples" / "live_td_lambda.py"), returns])


def test_returns_behind_the_door_hold():
    report = check(in_python("right"), "return_estimator", examples=120)
    assert report.exit_code == 0, report.verdicts
    assert {verdict.outcome for verdict in report.verdicts} == {"holds"}


def test_a_time_limit_taken_for_an_end_is_refuted_with_one_row_and_one_step():
    report = check(in_python("time-limit-ends"), "return_estimator", claims=["ret.truncation"])
    (witness,) = report.witnesses
    assert len(witness.case["rewards"]) == len(witness.case["rewards"][0]) == 1
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert "\n".join(["    ret.truncation is refuted", *(f"      {line}" for line in witness.lines())]) in page


def elsewhere(python, *words):
    """A program in an environment of its own, which a variable names; examples/survey.toml has them."""
    missing = [name for name in (python, *words) if name.isupper() and not os.environ.get(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} in the environment (examples/survey.toml)")
    return "exec:" + shlex.join([os.environ[python], *(os.environ.get(word, word) for word in words)])


def test_jaxmarls_advantages_end_at_a_time_limit():
    target = elsewhere("JAXMARL_PYTHON", f"{ROOT}/examples/live_jaxmarl.py", "JAXMARL", "gae")
    report = check(target, "return_estimator", claims=["ret.terminal", "ret.truncation"], examples=120)
    assert [verdict.outcome for verdict in report.verdicts] == ["holds", "refuted"]


def test_jaxmarls_mixer_is_not_refuted():
    target = elsewhere("JAXMARL_PYTHON", f"{ROOT}/examples/live_jaxmarl.py", "JAXMARL", "qmix")
    assert check(target, "qmix_mixer", **QUICK, claims=["mixer.monotone", "qmix.bias_sign"]).exit_code == 0


@pytest.mark.parametrize("mixer", ["vdn", "qmix"])
def test_benchmarls_mixers_are_not_refuted(mixer):
    target = elsewhere("BENCHMARL_PYTHON", f"{ROOT}/examples/live_benchmarl.py", mixer)
    assert check(target, f"{mixer}_mixer", examples=48, claims=["mixer.monotone", "mixer.batch"]).exit_code == 0


@needs_jax
@pytest.mark.parametrize(
    ("mixer", "role", "own"), [("vdn", "vdn_mixer", "vdn.additive"), ("qmix", "qmix_mixer", "qmix.bias_sign")]
)
def test_mixers_in_jax_hold(mixer, role, own):
    claims = ["mixer.finite", "mixer.monotone", own]  # each shape of a batch is compiled, which takes the time
    report = check(f"{ROOT}/examples/jax_multi_agent.py:{mixer}", role, **QUICK, claims=claims)
    assert report.exit_code == 0, report.verdicts
    assert report.dtype == "float64 (numpy)"


@needs_jax
def test_targets_in_jax_pass_the_vectors(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import json

    import jax_multi_agent

    from marlspec.properties.vectors.writing import write_vectors

    write_vectors(tmp_path / "vectors")
    results = tmp_path / "results.json"
    results.write_text(json.dumps(jax_multi_agent.results(tmp_path / "vectors")))
    assert run(["vectors", "verify", str(results), "--against", str(tmp_path / "vectors")]) == 0
    assert "28 cases passed, 0 failed, 0 missing of 3 functions" in capsys.readouterr().out
    sys.modules.pop("jax_multi_agent")
