"""The command train for deep algorithms: every algorithm on every kind of game, kept, stopped, resumed, refused."""

import json
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from marlspec.cli import run
from marlspec.reference.commands import learner_class
from marlspec.reference.listing import algorithm_files
from marlspec.reference.parts import checkpoints, metrics
from marlspec.reference.parts.config import Config

pytestmark = [pytest.mark.long, pytest.mark.thorough]

TINY = ["--steps", "4", "--hidden", "4", "--copies", "2"]
REPLAY = ["--batch-size", "4", "--capacity", "16"]
DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny(name):
    return [*TINY, *(REPLAY if issubclass(learner_class(name).config_type, Config) else [])]


def table(out, title):
    """The rows of one printed table, as lists of cells that two spaces separate."""
    rows = [row.strip() for row in out[out.index(title) :].splitlines()]
    first = next(k for k, row in enumerate(rows) if row.startswith("───")) + 1
    return [re.split(r"\s{2,}", row) for row in rows[first : rows.index("", first)]]


# --- algorithms and games ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEEP)
def test_every_deep_algorithm_trains_on_games_of_many_steps(name, capsys):
    for game in (["speaker-listener"], ["foraging:5x5-2p-1f-coop", "--time-limit", "3"]):
        assert run(["train", name, *game, "--seeds", "2", "--episodes", "3", *tiny(name)]) == 0
        out = capsys.readouterr().out
        assert out.startswith("4 steps of 2 seeds in ")
        (row,) = table(out, "Returns of 3 greedy episodes of each seed")
        assert row[0] == "all"


@pytest.mark.parametrize("game", ["climbing", "two-step", "goals:2", "repeated:climbing"])
def test_games_of_every_kind_are_trained_on(game, capsys):
    assert run(["train", "vdn", game, *tiny("vdn")]) == 0
    out = capsys.readouterr().out
    (row,) = table(out, "Returns of 32 greedy episodes of each seed")
    assert row[:1] + row[2:3] == ["all", "-"]
    assert ("Joint values" in out) == (game in ("climbing", "two-step"))


@pytest.mark.parametrize("name", ["ia2c", "ca2c"])
def test_games_without_a_common_reward_have_a_row_for_each_agent(name, capsys):
    assert run(["train", name, "stag-hunt", "--seeds", "3", *tiny(name)]) == 0
    out = capsys.readouterr().out
    assert [row[0] for row in table(out, "Returns of 32")] == ["1", "2"]
    payoffs = {"(A, A)": "(4, 4)", "(A, B)": "(0, 3)", "(B, A)": "(3, 0)", "(B, B)": "(2, 2)"}
    greedy = table(out, "Most probable joint actions")
    assert [row[0] for row in greedy] == ["0", "1", "2"]
    assert all(payoffs[actions] == rewards for _, actions, rewards in greedy)
    firsts = [float(rewards.strip("()").split(",")[0]) for _, _, rewards in greedy]
    returns = table(out, "Returns of 32")[0]
    assert float(returns[1]) == pytest.approx(sum(firsts) / 3, abs=1e-5)
    assert [float(returns[3]), float(returns[4])] == [min(firsts), max(firsts)]


def test_greedy_actions_of_a_staged_game_are_shown_from_stage_to_stage(capsys):
    assert run(["train", "ia2c", "two-step", "--seeds", "8", *tiny("ia2c")]) == 0
    second = {"A": {"7"}, "B": {"0", "1", "8"}}
    for _, actions, rewards in table(capsys.readouterr().out, "Most probable joint actions"):
        first, then = actions.split(", then ")
        zero, reward = rewards.split(", then ")
        assert zero == "0"
        assert reward in second[first[1]]
        assert (reward == "8") == (first[1] + then == "B(B, B)")


def test_histories_of_several_observations(capsys):
    for game in ("two-step", "repeated:climbing"):
        assert run(["train", "vdn", game, "--window", "3", "--folder", game, *tiny("vdn")]) == 0
    state = checkpoints.load(Path("two-step")).state
    assert state["theta.layers.0.weight"].shape[-2] == 3 * (3 + 1)
    out = capsys.readouterr().out
    assert "Joint values" not in out, "they depend on what happened before"
    assert "Greedy joint actions" in out


def test_options_of_the_game_reach_it(capsys):
    game = ["foraging:5x5-3p-1f", "--own-rewards", "--pool", "3", "--time-limit", "2"]
    assert run(["train", "ia2c", *game, *tiny("ia2c")]) == 0
    rows = table(capsys.readouterr().out, "Returns of 32")
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert float(rows[0][-1]) <= 2


def test_help_names_every_setting_with_its_default_and_source(capsys):
    for name in DEEP:
        with pytest.raises(SystemExit):
            run(["train", name, "climbing", "--help"])
        out = " ".join(capsys.readouterr().out.replace("│", " ").split())
        told = {chunk.split()[0].rstrip(","): chunk for chunk in re.split(r" (?=--(?!no-))", out)}
        for field, default in vars(learner_class(name).config_type()).items():
            text = told[f"--{field.replace('_', '-')}"]
            shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
            assert f"(default: {shown})" in text
            assert re.search(r"\([^()]+\)", text.split("(default:")[0]), "where the default comes from"
        for option in ("--window", "--time-limit", "--folder", "--resume", "--checkpoint-every", "--compile"):
            assert option in told


# --- kept, stopped, resumed -------------------------------------------------------------------------------------------


LONG = ["--steps", "150", "--hidden", "4", "--checkpoint-every", "10", "--evaluate-every", "70", "--episodes", "2"]


def process(*arguments):
    """Run a command line in a process of its own, which gives way to this one; its messages go to a file."""
    child = os.fork()
    if child == 0:
        try:
            os.nice(5)
            file = os.open("messages", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
            os._exit(run(list(arguments)))
        finally:
            os._exit(99)
    return child


def steps_of(folder):
    path = folder / checkpoints.NAME
    return json.loads(path.read_text())["content"]["steps"] if path.exists() else -1


def wait_for_steps(folder, steps, child):
    """Wait until a run has a checkpoint of so many steps; a process that ends before that is an error."""
    while steps_of(folder) < steps:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), Path("messages").read_text()
        time.sleep(0.002)


def end(child, number):
    """Send a signal, and return how the process ended."""
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_and_a_stopped_process_go_on_with_the_same_bits(tmp_path, promises):
    """One run ended by SIGKILL, resumed, ended by Ctrl-C, and resumed by the command that it prints; one in one go."""
    command = ["train", "qmix", "repeated:climbing", *REPLAY, *LONG]
    mine, whole = tmp_path / "my run", tmp_path / "whole"
    killed = process(*command, "--folder", "my run")
    wait_for_steps(mine, 10, killed)
    assert end(killed, signal.SIGKILL) == -signal.SIGKILL
    at = steps_of(mine)
    stopped = process("train", "qmix", "repeated:climbing", "--folder", "my run", "--resume")
    wait_for_steps(mine, at + 10, stopped)
    assert end(stopped, signal.SIGINT) == 130
    message = r"stopped after step (\d+) of 150; go on with: marlspec (.*)\n"
    found = re.fullmatch(message, Path("messages").read_text())
    assert int(found[1]) == steps_of(mine) < 150
    assert run(shlex.split(found[2])) == 0
    assert run([*command, "--folder", "whole"]) == 0
    left, right = checkpoints.load(mine), checkpoints.load(whole)
    assert left.steps == right.steps == 150
    assert promises.same(left.state, right.state)
    evaluations = [
        [(own["step"], own["returns"]) for own in metrics.read(folder) if own["kind"] == "evaluation"]
        for folder in (mine, whole)
    ]
    assert evaluations[0] == evaluations[1]
    assert [step for step, _ in evaluations[0]] == [*range(0, 150, 70), 150]


def test_ctrl_c_without_a_folder_says_that_nothing_is_kept(capsys, monkeypatch):
    step = learner_class("vdn").step

    def interrupted(learner):
        step(learner)
        if learner.t == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(learner_class("vdn"), "step", interrupted)
    assert run(["train", "vdn", "climbing", *tiny("vdn")]) == 130
    assert capsys.readouterr().err == "stopped after step 3 of 4; nothing is kept, since no --folder was given\n"


KEPT = ["train", "vdn", "climbing", *TINY, *REPLAY, "--folder", "kept"]
RESUME = ["train", "vdn", "climbing", "--folder", "kept", "--resume"]


@pytest.fixture
def kept(tmp_path, capsys):
    """The folder of a finished run."""
    assert run(KEPT) == 0
    capsys.readouterr()
    return tmp_path / "kept"


def test_a_finished_run_prints_the_same_report_again(kept, capsys):
    reports = []
    for folder in ("kept", "again"):
        arguments = RESUME if folder == "kept" else [*KEPT[:-1], folder]
        assert run(arguments) == 0
        reports.append(capsys.readouterr().out.split("\n", 1)[1])
    assert reports[0] == reports[1]


def test_options_of_a_resumed_run_are_those_it_began_with(kept, capsys):
    assert run([*RESUME, *TINY, *REPLAY]) == 0, "given again they may be"
    before = contents(kept)
    assert run([*RESUME, "--evaluate-every", "2"]) == 0, "how it is watched may change"
    assert contents(kept) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (KEPT, "kept holds a run already: go on with it by --resume, or name another --folder"),
        (["train", "qmix", *RESUME[2:]], "algorithm is 'vdn' there and 'qmix' here"),
        (["train", "ia2c", *RESUME[2:]], "algorithm is 'vdn' there and 'ia2c' here"),
        (["train", "vdn", "linear", *RESUME[3:]], "game is 'climbing' there and 'linear' here"),
        ([*RESUME, "--learning-rate", "0.01"], "learning_rate is 0.0003 there and 0.01 here"),
        ([*RESUME, "--steps", "5"], "steps is 4 there and 5 here"),
        ([*RESUME, "--window", "2"], "window is 1 there and 2 here"),
        ([*RESUME, "--compile"], "compile is False there and True here"),
        (["train", "vdn", "climbing", "--folder", "nowhere", "--resume"], "nowhere holds no checkpoint"),
        (["train", "vdn", "climbing", *TINY, *REPLAY, "--folder", "kept/checkpoint.json"], "File exists"),
    ],
)
def test_a_folder_that_does_not_fit_the_run_is_refused_and_left_alone(kept, capsys, arguments, message):
    before = contents(kept)
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("marlspec train: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert contents(kept) == before


def test_a_damaged_checkpoint_and_one_of_another_version_are_refused(kept, capsys):
    path = kept / "checkpoint.json"
    whole = path.read_text()
    for was, becomes, message in [
        ('"steps": 4', '"steps": 3', "is not what was written"),
        (checkpoints.SCHEMA, "marlspec.checkpoint/0", "resume with the version that wrote it"),
        ("{", "", "is no JSON"),
    ]:
        path.write_text(whole.replace(was, becomes))
        before = contents(kept)
        assert run(RESUME) == 2
        assert message in capsys.readouterr().err
        assert contents(kept) == before


def test_settings_that_this_version_does_not_have_are_refused(kept, capsys):
    path = kept / "checkpoint.json"
    whole = json.loads(path.read_text())
    whole["content"]["run"]["config"]["warmth"] = 3
    whole["sha256"] = checkpoints._digest_of(json.dumps(whole["content"]))
    path.write_text(json.dumps(whole))
    assert run(RESUME) == 2
    assert "was written by another version of marlspec" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vdn", "stag-hunt"], "VDN needs a common-reward game"),
        (["qmix", "foraging:5x5-2p-1f", "--own-rewards"], "QMIX needs a common-reward game"),
        (["vdn", "repeated:two-step"], "is no matrix game"),
        (["vdn", "climbing", "--window", "0"], "a window of 0 observations"),
        (["vdn", "climbing", "--time-limit", "3"], "ends by itself"),
        (["vdn", "climbing", "--device", "abacus"], "no device 'abacus'"),
        (["iql", "speaker-listener"], "takes games up to goals in marlspec list"),
        (["cql", "repeated:climbing"], "takes games up to goals in marlspec list"),
    ],
)
def test_mistakes_end_in_a_message_and_exit_code_2_before_there_is_a_folder(capsys, tmp_path, arguments, message):
    folder = [] if arguments[0] in ("iql", "cql") else ["--folder", "run"]
    assert run(["train", *arguments, *folder]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "50", "--capacity", "49"], "capacity is 49: it must be at least batch_size = 50"),
        (["--temperature", "3"], "--temperature"),
        (["--episodes", "0"], "episodes is 0"),
        (["--resume"], "name it by --folder"),
    ],
)
def test_wrong_options_exit_with_2_before_there_is_a_folder(capsys, tmp_path, options, message):
    folder = [] if options == ["--resume"] else ["--folder", "run"]
    with pytest.raises(SystemExit) as exit_:
        run(["train", "vdn", "climbing", *options, *folder])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_diverges_exits_with_2_and_says_what_is_kept(capsys, tmp_path):
    options = ["--learning-rate", "1e30", "--steps", "40", "--check-every", "1", "--checkpoint-every", "1"]
    assert run(["train", "vdn", "climbing", *REPLAY, *options, "--folder", "run"]) == 2
    error = capsys.readouterr().err
    found = re.search(
        r"training stopped by step (\d+), since .* lower --learning-rate.*checkpoint of step (\d+)", error
    )
    assert steps_of(tmp_path / "run") == int(found[2]) < int(found[1])


def test_training_leaves_the_callers_random_numbers_alone(capsys):
    before = torch.get_rng_state()
    assert run(["train", "vdn", "climbing", *tiny("vdn")]) == 0
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["vdn", "ia2c"])
def test_a_run_on_cuda_is_resumed_with_the_same_bits(name, tmp_path, promises, monkeypatch):
    command = ["train", name, "repeated:climbing", "--device", "cuda", *tiny(name), "--steps", "30"]
    assert run([*command, "--folder", "whole"]) == 0
    step = learner_class(name).step

    def interrupted(learner):
        step(learner)
        if learner.t == 11:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(learner_class(name), "step", interrupted)
        assert run([*command, "--folder", "parts"]) == 130
    assert run([*command[:3], "--folder", "parts", "--resume"]) == 0
    left, right = (checkpoints.load(tmp_path / folder) for folder in ("parts", "whole"))
    assert promises.same(left.state, right.state)
