"""The live door: programs that speak JSON lines are judged as Python targets are, and their faults told apart."""

import json
import math
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.properties import check, live, protocol
from marlspec.properties.judge import replay
from marlspec.properties.roles import ROLES
from marlspec.properties.trial import TargetError
from marlspec.properties.verdicts import Witness

pytestmark = [pytest.mark.long, pytest.mark.thorough]

TARGET = Path(__file__).parents[1] / "targets" / "live.py"
SCHEMA = Path(protocol.__file__).parent / "schemas" / "live-1.schema.json"
QUICK = {"sizes": [(2, 3)], "examples": 48}


def command(behaviour, *more):
    return "exec:" + shlex.join([sys.executable, str(TARGET), behaviour, *map(str, more)])


def judged(behaviour, role="mixer", *more, claims=("mixer.finite",), **options):
    if ROLES[role].axes:
        options = {**QUICK, "sizes": [(2, 3)] if "n_actions" not in ROLES[role].axes else [(2, 2, 1)], **options}
    else:
        options = {"examples": 110, **options}  # some drawn more than once
    return check(command(behaviour, *more), role, claims=claims, **options)


def transcript_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_running(pid):
    """Whether a process is alive; one that has ended and waits for its parent does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children():
    """The processes, dead ones included, whose parent is this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid():
            found.append(stat.parent.name)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    before = children()
    yield
    assert set(children()) <= set(before)


# --- numbers and arrays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        np.array([[0.1, -1e-300], [1 / 3, 1.7976931348623157e308]]),
        np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
        np.array([1, -(2**53)]),
        np.array([[True], [False]]),
        np.zeros((0, 3)),
        np.zeros((2, 0, 3)),
        np.array(0.5),
        np.array([0.1], dtype=np.float32),
    ],
)
def test_arrays_pass_the_door_unchanged(value):
    line = protocol.line_of({"value": protocol.encoded(value)})
    back = protocol.decoded(protocol.message_of(line)["value"])
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert back.tobytes() == value.tobytes() or (np.isnan(value).any() and np.array_equal(back, value, equal_nan=True))


def test_numbers_pass_the_door_unchanged():
    generator = random.Random(0)
    for _ in range(500):
        number = math.ldexp(generator.random() - 0.5, generator.randrange(-1000, 1000))
        for text in (protocol.line_of({"x": protocol.encoded(number)}), protocol.line_of({"x": repr(number)})):
            assert protocol.decoded(protocol.message_of(text)["x"]) == number
    assert protocol.encoded((True, 3, [np.int64(2), float("-inf")], None)) == [True, 3, [2, "-inf"], None]
    with pytest.raises(TypeError, match="a dict has no form"):
        protocol.encoded({})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"loading\n", "it wrote 'loading' to standard output, which carries one JSON object a line"),
        (b"[" * 100_000, "which carries one JSON object a line"),
        (b'{"x": NaN}', 'it answered NaN, which is no JSON: write the text "nan"'),
        (b'{"x": -Infinity}', 'write the text "-inf"'),
        (b"[1]", "answer with a JSON object"),
        (b"\xff\n", "to standard output"),
    ],
)
def test_lines_that_are_no_message(line, words):
    with pytest.raises(protocol.BadMessage) as error:
        protocol.message_of(line)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0, None], "null in place of a number"),
        (["1/3"], "the text '1/3' in place of a number"),
        ({"data": [1]}, "an array is an object with shape, data and a dtype"),
        ({"dtype": "complex64", "shape": [1], "data": [1]}, "dtype among float64"),
        ({"dtype": "float64", "shape": [2], "data": [1]}, "of shape [2] with data of shape [1]"),
        ({"dtype": "float64", "shape": [2], "data": [[1], [1, 2]]}, "cannot be read as float64"),
        ({"dtype": "float64", "shape": 1, "data": [1]}, "of shape 1"),
        ({"dtype": "int64", "shape": [1], "data": [10**400]}, "cannot be read as int64"),
        ({"dtype": "float64", "shape": [1], "data": [None]}, "null in place of a number"),
    ],
)
def test_values_that_are_no_numbers(value, words):
    with pytest.raises(protocol.BadMessage) as error:
        protocol.decoded(value)
    assert words in str(error.value)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_sound_mixer_holds_where_it_can_be_sampled_and_the_rest_does_not_apply():
    claims = ["mixer.finite", "mixer.monotone", "vdn.additive", "igm.equivalence"]
    report = judged("mixer_total", "vdn_mixer", claims=claims)
    assert report.exit_code == 0, report.verdicts
    outcomes = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    assert outcomes.pop("igm.equivalence") == "not_applicable"
    assert set(outcomes.values()) == {"holds"}
    assert "behind the live door has no graph" in report.verdict("igm.equivalence").reason
    assert "its parameters cannot be drawn anew" in report.verdict("mixer.monotone").reason
    assert report.verdict("mixer.monotone").scope == "these parameters"
    assert report.dtype == "float64 (numpy)"


def test_a_falling_mixer_is_refuted_with_a_small_witness_that_replays(tmp_path):
    target = command("mixer_falling")
    report = check(target, "mixer", sizes=[(3, 2)], examples=48, claims=["mixer.monotone"])
    assert report.exit_code == 1
    (witness,) = report.witnesses
    assert witness.case["utilities"] == [0, 0, 0]
    assert witness.case["agent"] == 2
    assert sum(map(abs, witness.case["state"])) <= 1
    assert 0 < witness.case["delta"] <= 1
    again = Witness.from_json(json.loads(json.dumps(witness.to_json())), "the test")
    assert replay(again, target).computed == witness.computed


@pytest.mark.parametrize(
    ("behaviour", "role", "claims"),
    [
        ("joint_total", "joint_value", ["joint_value.finite", "igm.equivalence"]),
        ("q_learning", "tabular_update", ["iql.update"]),
        ("central", "cql_update", ["cql.update"]),
        ("backup", "optimal_backup", ["bellman.rule"]),
        ("evaluator", "evaluator", ["return.recursive"]),
        ("nash_check", "nash_check", ["nash.check_accepts"]),
        ("pareto_check", "pareto_check", ["pareto.refuses"]),
        ("solver_zero_sum", "equilibrium_solver", ["nash.regret"]),
        ("td_target", "td_target", ["target.rule", "target.terminal", "target.truncation"]),
        ("lambda_return", "return_estimator", ["ret.views", "ret.truncation"]),
        ("advantage", "counterfactual_advantage", ["coma.zero_mean", "coma.base_independent"]),
        ("policy_loss", "policy_loss", ["loss.gradient", "loss.valid"]),
        ("softmax", "policy", ["policy.simplex", "policy.softmax"]),
        ("epsilon_greedy", "epsilon_greedy", ["eps_greedy.legality"]),
        ("epsilon_greedy_probabilities", "epsilon_greedy", ["eps_greedy.probabilities"]),
    ],
)
def test_every_role_passes_the_door(behaviour, role, claims):
    report = judged(behaviour, role, claims=claims)
    assert report.exit_code == 0, report.verdicts


def test_an_update_that_looks_past_the_end_is_refuted_with_a_small_witness():
    report = judged("q_learning_past_the_end", "tabular_update", claims=["iql.terminal"])
    (witness,) = report.witnesses
    assert witness.case["q"] == [[0], [1]]


def test_a_target_of_values_past_the_end_is_refuted_with_a_witness_of_one_row():
    report = judged("td_target_past_the_end", "td_target", claims=["target.terminal"])
    (witness,) = report.witnesses
    assert np.shape(witness.case["next_values"]) == (1, 1, 1)
    assert replay(witness, command("td_target_past_the_end")) is not None


@pytest.mark.parametrize(
    ("behaviour", "role", "claim"),
    [("policy_loss", "policy_loss", "coma.stopgrad"), ("softmax", "policy", "policy.mask_gradient")],
)
def test_what_rests_on_automatic_differentiation_does_not_apply_behind_the_door(behaviour, role, claim):
    also = {"policy_loss": "loss.gradient", "policy": "policy.simplex"}[role]
    verdict = judged(behaviour, role, claims=[claim, also]).verdict(claim)
    assert verdict.outcome == "not_applicable"
    assert verdict.reason


def test_a_loss_without_its_gradient_is_an_error_that_says_what_to_return():
    (verdict,) = judged("policy_loss_alone", "policy_loss", claims=["loss.gradient"]).verdicts
    assert verdict.outcome == "error"
    assert "the loss, and its gradient in the logits" in verdict.reason


def test_what_epsilon_greedy_draws_follows_from_the_seed():
    reports = [judged("epsilon_greedy", "epsilon_greedy", claims=["eps_greedy.independence"], examples=3) for _ in "12"]
    first, second = (report.to_json()["verdicts"][0] for report in reports)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


@pytest.mark.parametrize("behaviour", ["mixer_array", "mixer_texts"])
def test_answers_as_array_objects_and_as_texts(behaviour):
    report = judged(behaviour, claims=["mixer.monotone"])
    assert report.exit_code == 0
    assert report.dtype == ("float32 (numpy)" if behaviour == "mixer_array" else "float64 (numpy)")


def test_nan_is_a_refutation_and_no_error():
    assert judged("mixer_nan").verdict("mixer.finite").outcome == "refuted"


def test_settings_and_seed_reach_the_program():
    assert judged("mixer_scaled", "vdn_mixer", claims=["vdn.additive"], settings={"scale": 1}).exit_code == 0
    assert judged("mixer_scaled", "vdn_mixer", claims=["vdn.additive"], settings={"scale": 2}).exit_code == 1
    for seed in (3, 4):
        (witness,) = judged("mixer_seed", "vdn_mixer", claims=["vdn.additive"], seed=seed).witnesses
        assert witness.computed == f"Q_tot = {seed}"


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "words", "details"),
    [
        ("early_exit", "it ended with exit code 3 before it answered call", "out of memory"),
        ("killed", "it ended by signal SIGABRT before it answered call", ""),
        ("garbage", "it wrote 'loading model ...' to standard output", ""),
        ("no_object", "answer with a JSON object", ""),
        ("nan_token", 'write the text "nan"', ""),
        ("wrong_id", "it answered with id 12345; answer each request once, in turn", ""),
        ("wrong_type", "it answered the type 'ready'; answer 'result' or 'error'", ""),
        ("no_newline", "it ended with exit code 0 before it answered call", ""),
        ("twice", "answer each request once, in turn", ""),
        ("never_starts", "it ended with exit code 1 before it answered hello", "no module named jax"),
        ("raising", "the target answered with an error: weights are missing", ""),
        ("refusing", "the target answered with an error: no mixer here", "line 2"),
        ("foreign", "speaks the protocol 'marlspec.live/9'; this judge speaks 'marlspec.live/1'", ""),
        ("attribute_arrays", "declares an attribute 'arrays', which the judge does not read", ""),
        ("attribute_list", "declare them as an object of names and values", ""),
        ("mixer_null", "JSON has no NaN", ""),
        ("mixer_words", "the text 'one' in place of a number", ""),
        ("mixer_short", "the target returned shape [4] for a batch of 5", ""),
    ],
)
def test_a_fault_of_the_program_is_an_error_and_no_counterexample(behaviour, words, details):
    report = judged(behaviour)
    assert report.exit_code == 2
    (verdict,) = report.verdicts
    assert verdict.outcome == "error"
    assert words in verdict.reason
    assert details in verdict.details


@pytest.mark.parametrize("behaviour", ["hanging", "hanging_child"])
def test_a_program_that_does_not_answer_is_ended_with_its_children(behaviour, tmp_path, monkeypatch):
    monkeypatch.setenv(live.LIMIT, "1")
    pids = tmp_path / "pids"
    (verdict,) = judged(behaviour, "mixer", pids).verdicts
    assert "it gave no answer to call within 1 s" in verdict.reason
    assert f"more time: {live.LIMIT}=SECONDS" in verdict.reason
    if behaviour == "hanging":
        assert "thinking" in verdict.details
    else:
        started = pids.read_text().split()
        assert len(started) == live.MOST_FAILURES
        assert not any(is_running(pid) for pid in started)


def test_no_further_program_is_started_after_three_failures(tmp_path):
    transcript = tmp_path / "transcript"
    report = judged("early_exit", "mixer", transcript, claims=["mixer.finite", "mixer.batch", "mixer.monotone"])
    assert [verdict.outcome for verdict in report.verdicts] == ["error"] * 3
    assert "given up after 3 starts" in report.verdicts[-1].reason
    calls = [message for message in transcript_of(transcript) if message["type"] == "call"]
    assert len(calls) == 3


def test_a_function_outlives_the_program_that_made_it():
    factory = live.LiveFactory(command("mixer_total").removeprefix("exec:"), "mixer")
    function = factory(2, 1)
    utilities, state = np.array([[1.0, 2.0]]), np.array([[0.0]])
    assert function(utilities, state).tolist() == [3.0]
    factory.close()
    assert function(utilities, state).tolist() == [3.0]
    factory.close()


def test_a_program_that_stays_after_bye_is_ended_by_force(monkeypatch):
    monkeypatch.setattr(live, "GRACE", 0.3)
    assert judged("mixer_stubborn").exit_code == 0


def test_a_program_ends_when_its_factory_is_forgotten():
    factory = live.LiveFactory(command("mixer_total").removeprefix("exec:"), "mixer")
    function = factory(2, 1)
    process = function._program._process
    del factory, function
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("target", "role", "words"),
    [
        ("exec:", "mixer", "name a command behind exec:"),
        ("exec:'node", "mixer", "cannot be split into words"),
        ("exec:no-such-program x", "mixer", "no program 'no-such-program' is found"),
        (command("mixer_total"), "game", "the role 'game' cannot be judged through the live door"),
        (
            command("mixer_total"),
            "learner",
            "an object with a state and methods of its own: write an adapter in Python",
        ),
        (command("mixer_total"), "mixr", "no role is named 'mixr'"),
    ],
)
def test_commands_that_cannot_be_run_are_bad_input(target, role, words):
    with pytest.raises(InputError) as error:
        check(target, role)
    assert words in str(error.value)


@pytest.mark.parametrize("limit", ["0", "soon", "inf", "-1", "nan"])
def test_a_time_limit_that_is_none_is_bad_input(limit, monkeypatch):
    monkeypatch.setenv(live.LIMIT, limit)
    with pytest.raises(InputError, match="write a number of seconds above 0"):
        judged("mixer_total")


def test_a_setting_that_json_cannot_hold_is_bad_input():
    factory = live.LiveFactory(command("mixer_total").removeprefix("exec:"), "mixer")
    with pytest.raises(InputError, match="cannot be handed through the live door"):
        factory(2, 1, scale={1})


# --- the protocol as documented ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "role", "claims"),
    [
        ("mixer_nan", "mixer", ["mixer.finite"]),
        ("joint_total", "joint_value", ["joint_value.finite"]),
        ("central", "cql_update", ["cql.terminal"]),
        ("nash_check", "nash_check", ["nash.check_accepts"]),
        ("evaluator", "evaluator", ["return.recursive"]),
        ("policy_loss", "policy_loss", ["loss.gradient"]),
        ("raising", "mixer", ["mixer.finite"]),
    ],
)
def test_messages_follow_the_schema(behaviour, role, claims, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra dev")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    transcript = tmp_path / "transcript"
    judged(behaviour, role, transcript, claims=claims)
    messages = transcript_of(transcript)
    kinds = {"request": ("hello", "call", "bye"), "answer": ("ready", "result", "error")}
    validators = {
        kind: jsonschema.Draft202012Validator({**schema, "oneOf": [{"$ref": f"#/$defs/{kind}"}]}) for kind in kinds
    }
    shortest = sorted(messages, key=lambda message: len(str(message)))[:60] + messages[:10]
    for message in shortest:
        (kind,) = (kind for kind, types in kinds.items() if message["type"] in types)
        validators[kind].validate(message)
    assert {"hello", "call", "bye"} <= {message["type"] for message in messages}


def test_schema_page_and_judge_name_the_same_roles():
    schema = json.loads(SCHEMA.read_text())
    assert tuple(schema["$defs"]["hello"]["properties"]["role"]["enum"]) == live.ROLES
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    sentence = page.partition("The roles are ")[2].partition(":")[0]
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(live.ROLES)


def test_a_message_against_the_schema_is_noticed():
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra dev")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    good = {"type": "result", "id": 3, "value": [["nan", 1, "0.25"], {"dtype": "bool", "shape": [1], "data": [True]}]}
    validator.validate(good)
    for bad in ({**good, "value": [None]}, {**good, "id": 0}, {**good, "type": "answer"}, {**good, "value": "1/3"}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(bad)


# --- the other doors, and the end of the judge ------------------------------------------------------------------------


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_leaves_no_program_behind(tmp_path):
    pids = tmp_path / "pids"
    code = "from marlspec.cli import main; main()"
    arguments = ["check", command("hanging_child", pids), "--role", "mixer"]
    judge = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        process_group=0,
        env={**os.environ, live.LIMIT: "600"},
    )
    try:
        for _ in range(3000):
            if pids.exists() and pids.read_text().endswith("\n"):
                break
            time.sleep(0.1)
        (child,) = pids.read_text().split()
        assert is_running(child)
        os.killpg(judge.pid, signal.SIGINT)  # as a terminal does
        judge.wait(300)
    finally:
        judge.kill()
        judge.wait()
    assert judge.returncode not in (0, 1)
    assert not is_running(child)


def test_the_command_line_prints_a_replay_command_that_works(tmp_path, monkeypatch, capsys):
    from marlspec.cli import run

    monkeypatch.chdir(tmp_path)
    target = command("mixer_falling")
    assert run(["check", target, "--role", "mixer", "--sizes", "2x3", "--examples", "48", "--fail-fast"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("replay with: ")]
    words = shlex.split(line.removeprefix("replay with: "))
    assert words[:2] == ["marlspec", "replay"]
    assert run(words[1:]) == 1
    assert "is still refuted" in capsys.readouterr().out


def test_a_long_command_still_gets_a_witness_file(tmp_path):
    from marlspec.properties.commands import write_witnesses

    report = judged("mixer_nan", "mixer", tmp_path / "transcript", "x" * 300)
    (path,) = write_witnesses(report, str(tmp_path))
    assert path.exists()


def test_an_error_at_the_door_is_raised_to_whoever_calls():
    factory = live.LiveFactory(command("raising").removeprefix("exec:"), "mixer")
    function = factory(2, 1)
    with pytest.raises(TargetError, match="weights are missing"):
        function(np.zeros((1, 2)), np.zeros((1, 1)))
    factory.close()
