import json
from fractions import Fraction
from pathlib import Path

import pytest

from marlspec.cli import run
from marlspec.games.catalogue import get
from marlspec.games.files import read_payoffs
from marlspec.properties.proof import decomposition
from marlspec.properties.proof.commands import decide_command
from marlspec.properties.proof.decomposition import QUESTIONS, Decision, verify


def printed(capsys, *argv):
    assert run(["decide", *argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    assert run(["decide", *argv]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err


MONOTONIC = """\
Monotonic
Albrecht, Christianos and Schäfer, Multi-Agent Reinforcement Learning, MIT Press 2024, chapter 9

   A   B
A  0   0
B  0  10

R is the reward that all agents receive, u_i the utility of agent i's own action. The table has agent 1 in
rows and agent 2 in columns.

no  linearly decomposable
    No sum of utilities: R(B, B) - R(B, A) - R(A, B) + R(A, A) = 10 - 0 - 0 + 0 = 10, and it must be 0.

yes monotonically decomposable
    R = f(u_1, u_2) with u_1: A 0, B 1; u_2: A 0, B 1 and f non-decreasing: f(0, 0) = 0, f(0, 1) = 0,
    f(1, 0) = 0, f(1, 1) = 10.

no  strictly monotonically decomposable
    No strict order of agent 1's actions fits: A ties with B where agent 2 plays A (0 = 0), B beats A where
    agent 2 plays B (10 > 0).

yes supermodular
    R never falls and no mixed difference is negative in the order agent 1: A < B; agent 2: A < B.

yes some IGM factorisation exists
    The best joint actions are exactly those in which agent 1 plays B and agent 2 plays B.
"""


def test_a_named_game_is_printed_with_every_answer_and_its_certificate(capsys):
    assert printed(capsys, "monotonic") == MONOTONIC


def test_the_order_of_the_answers_is_that_of_the_questions(capsys):
    lines = printed(capsys, "climbing").splitlines()
    answers = [line for line in lines if line.startswith(("yes ", "no  "))]
    assert [line[4:] for line in answers] == list(QUESTIONS.values())
    assert [line[:3].strip() for line in answers] == ["no", "no", "no", "no", "yes"]


def test_files_of_gambit_are_decided(capsys):
    climbing = Path(__file__).parents[2] / "fixtures" / "climbing.nfg"
    from_file, named = (json.loads(printed(capsys, name, "--json")) for name in (str(climbing), "climbing"))
    assert from_file["game"]["reward"] == named["game"]["reward"]
    assert [entry["holds"] for entry in from_file["decisions"]] == [entry["holds"] for entry in named["decisions"]]


def test_files_are_decided_like_named_games(capsys, tmp_path):
    (tmp_path / "mine.csv").write_text(",left,right\nup,0.1,0.2\ndown,0.2,0.3\n")
    text = printed(capsys, str(tmp_path / "mine.csv"))
    assert text.startswith("mine\nread from ")
    assert "decimals taken exactly" in text
    assert "yes linearly decomposable\n    R = u_1 + u_2 with u_1: up 1/10, down 1/5; u_2: left 0, right 1/10." in text
    (tmp_path / "three.json").write_text('{"reward": [[[0, 1], [1, 2]], [[1, 2], [2, 3]]]}')
    assert "agent 3 plays A:" in printed(capsys, str(tmp_path / "three.json"))


def as_certificate(content):
    """Read a certificate back from JSON."""

    def back(value):
        if isinstance(value, list):
            return tuple(back(entry) for entry in value)
        return Fraction(value) if isinstance(value, str) else value

    kind = getattr(decomposition, content.pop("kind"))
    return kind(**{key: back(value) for key, value in content.items()})


@pytest.mark.parametrize("name", ["linear", "monotonic", "climbing", "or", "2b", "coordination:3x2", "penalty:-1/2"])
def test_json_certificates_can_be_read_back_and_verified(capsys, name):
    content = json.loads(printed(capsys, name, "--json"))
    assert content["schema"] == "marlspec.decide/1"
    assert content["game"]["name"] == get(name).name
    assert [decision["question"] for decision in content["decisions"]] == list(QUESTIONS)
    for entry in content["decisions"]:
        decision = Decision(entry["question"], entry["holds"], as_certificate(entry["certificate"]))
        assert verify(decision, get(name))
        assert entry["words"]


def test_the_printed_reward_is_itself_a_payoff_file(capsys, tmp_path):
    (tmp_path / "game.json").write_text('{"reward": [[0.1, "1/3"], [5, -2]]}')
    content = json.loads(printed(capsys, str(tmp_path / "game.json"), "--json"))
    (tmp_path / "again.json").write_text(json.dumps({key: content["game"][key] for key in ("reward", "actions")}))
    assert read_payoffs(tmp_path / "again.json") == read_payoffs(tmp_path / "game.json")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("climbin", "marlspec decide: error: no game named 'climbin'; did you mean climbing?"),
        ("nothing.json", "nothing.json: cannot be read"),
        (
            "prisoners-dilemma",
            "is not a common-reward game: joint action (C, D) pays the agents -5, 0",
        ),
        ("two-step", "is played in stages (1, 2A, 2B)"),
        ("goals:2", "is played in many steps: the decisions are for games of one"),
    ],
)
def test_bad_input_is_explained_with_exit_code_2(capsys, argument, message):
    assert message in refused(capsys, argument)


def test_malformed_files_name_file_and_place(capsys, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("1,2\n3,nan\n")
    assert f"{path}: line 2, cell 2 is nan" in refused(capsys, str(path))


def test_usage_errors_exit_with_code_2():
    for argv in ([], ["--what"]):
        with pytest.raises(SystemExit) as raised:
            decide_command(argv)
        assert raised.value.code == 2
