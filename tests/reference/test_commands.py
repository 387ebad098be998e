"""The commands list, show and train: what they print, and that mistakes end in exit code 2."""

import subprocess
import sys

import pytest

from marlspec.cli import run
from marlspec.reference.commands import learner_class
from marlspec.reference.decomposition.qmix import QMIX
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.listing import load

QUICK = ["--steps", "4", "--hidden", "4", "--batch-size", "4", "--capacity", "16"]


def test_list_names_algorithms_and_games_with_their_sources(capsys):
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    words = ["vdn", "qmix", "Algorithm 21", "1803.11485", "climbing", "3 stages", "stag-hunt", "57 states"]
    for word in [*words, "repeated:NAME", "foraging:8x8-2p-3f-coop", "speaker-listener", "3x5"]:
        assert word in out


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_show_prints_every_line_beside_its_code(capsys, name):
    assert run(["show", name]) == 0
    out = capsys.readouterr().out
    algorithm = load(name)
    for line in algorithm.listing:
        row = next(row for row in out.splitlines() if row.split()[:1] == [str(line.number)])
        assert line.text.split("  (E")[0].strip()[:40] in row
    assert "self.theta_bar = frozen_copy(self.theta)" in out
    assert "# (E6)" in out
    assert "printed:" in out


def test_show_of_two_algorithms_prints_their_difference(capsys):
    assert run(["show", "vdn", "qmix"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("+") and "self.theta_bar_hyper = frozen_copy" in line for line in lines)
    assert any(line.startswith("-") and "return utilities.sum(-1)" in line for line in lines)
    assert not any("self.theta_bar = frozen_copy" in line for line in lines if line[:1] in "+-")


def test_train_prints_learned_values_beside_the_game(capsys):
    assert run(["train", "vdn", "climbing", "--seeds", "3", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "Climbing" in out
    for number in ("11.00", "-30.00"):
        assert number in out
    assert "learned C" in out
    greedy = out[out.index("Greedy") : out.index("Utilities of seed 0")]
    assert [row.split()[0] for row in greedy.splitlines() if row.strip()[:1].isdigit()] == ["0", "1", "2"]


def test_train_shows_every_stage_of_a_staged_game(capsys):
    assert run(["train", "qmix", "two-step", "--embed", "3", *QUICK]) == 0
    out = capsys.readouterr().out
    assert all(f"stage {s}" in out for s in range(3))
    assert "7.92" in out, "the best value of the first stage with the default discount 0.99"


def test_train_shows_games_of_more_than_two_agents(capsys):
    assert run(["train", "vdn", "coordination:3x2", *QUICK]) == 0
    assert "A, B" in capsys.readouterr().out


def test_the_same_seed_prints_the_same_tables(capsys):
    outs = []
    for _ in range(2):
        run(["train", "vdn", "linear", "--seed", "5", *QUICK])
        outs.append(capsys.readouterr().out.split("\n", 1)[1])
    assert outs[0] == outs[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nope", "climbing"], "no algorithm named 'nope'"),
        (["train", "vdn", "nope"], "no game named 'nope'"),
        (["train", "vdn", "stag-hunt"], "common-reward"),
        (["train", "iql", "speaker-listener"], "iql keeps a table of all states and takes games up to goals"),
        (["train", "vdn"], "name an algorithm and a game first"),
        (["train", "--seeds", "2", "vdn", "climbing"], "name an algorithm and a game first"),
        (["train", "vdn", "climbing", "--device", "abacus"], "no device 'abacus'"),
        (["show", "nope"], "no algorithm named 'nope'"),
        (["show", "vdn", "nope"], "no algorithm named 'nope'"),
    ],
)
def test_mistakes_end_in_a_message_and_exit_code_2(capsys, arguments, message):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "vdn", "climbing", "--gamma", "2"],
        ["train", "vdn", "climbing", "--embed", "8"],
        ["train", "vdn", "climbing", "--seeds", "two"],
        ["train", "vdn", "climbing", "extra"],
        ["show"],
        ["show", "vdn", "qmix", "iql"],
        ["list", "extra"],
    ],
)
def test_wrong_options_exit_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        run(arguments)
    assert exit_.value.code == 2


def test_train_explains_itself(capsys):
    assert run(["train", "--help"]) == 0
    assert "marlspec train ALGORITHM GAME" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        run(["train", "qmix", "climbing", "--help"])
    assert exit_.value.code == 0
    assert "--learning-rate" in capsys.readouterr().out


def test_learner_classes():
    assert learner_class("vdn") is VDN
    assert learner_class("qmix") is QMIX


def test_list_and_show_do_not_load_torch():
    commands = "run(['list']); run(['show', 'vdn'])"
    code = f"import sys; from marlspec.cli import run; {commands}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
