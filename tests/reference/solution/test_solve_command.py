"""The command solve: what it prints and writes, what it leaves out, and how mistakes end."""

import json
from fractions import Fraction

import numpy as np
import pytest

from marlspec.cli import run
from marlspec.games.catalogue import get
from marlspec.games.files import read_payoffs
from marlspec.reference.solution import analysis, commands
from marlspec.reference.solution.analysis import most_vertices, support_work
from marlspec.reference.solution.commands import solve_command
from marlspec.reference.solution.correlated import cce_gap, ce_gap
from marlspec.reference.solution.nash import is_nash
from marlspec.reference.solution.vertices import vertices


def printed(capsys, *argv):
    assert run(["solve", *argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    assert run(["solve", *argv]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err


def part(text, heading):
    """The lines from a heading down to the next blank line behind its table, white space squeezed."""
    lines = text[text.index(heading) :].splitlines()
    body = [" ".join(line.split()) for line in lines]
    end = next((k for k, line in enumerate(lines) if k and line == ""), len(lines))
    return [line for line in body[:end] if line]


def as_array(nested):
    return np.array([as_array(entry) if isinstance(entry, list) else Fraction(entry) for entry in nested], dtype=object)


@pytest.fixture
def solved(capsys, tmp_path):
    """What the JSON file holds for a game."""

    def solve(*argv):
        path = tmp_path / "out" / "result.json"
        printed(capsys, *argv, "--json", str(path))
        return json.loads(path.read_text(encoding="utf-8"))

    return solve


# --- what is printed --------------------------------------------------------------------------------------------------


def test_climbing_has_a_dominated_equilibrium_and_a_mixed_one_in_fractions_and_decimals(capsys):
    text = printed(capsys, "climbing")
    pure = part(text, "Pure Nash equilibria: 2")
    assert "(A, A) 11, 11 22 yes yes" in pure
    assert "(B, B) 7, 7 14 no: (A, A) no" in pure
    mixed = part(text, "Mixed Nash equilibria: 1")
    assert "A 5/16, C 11/16 A 5/16, C 11/16 55/16, 55/16 55/8 no: (A, A) no" in mixed
    assert "A 0.3125, C 0.6875 A 0.3125, C 0.6875 3.4375, 3.4375 6.875" in mixed
    assert "The game is not degenerate: pure and mixed, these are all equilibria." in mixed
    assert "zero-sum" not in text
    assert "Left out" not in text


def test_chicken_has_a_correlated_equilibrium_better_than_every_nash_equilibrium(capsys):
    text = printed(capsys, "chicken")
    best = part(text, "Best correlated equilibrium (welfare): 21/2 (10.5)")
    assert "(S, L) 1/4 (0.25) 7, 2" in best
    assert "(L, L) 1/2 (0.5) 6, 6" in best
    assert "Expected rewards 21/4 (5.25), 21/4 (5.25)." in best
    assert any(line.startswith("Gap 0, in exact numbers. Method: ") for line in best)
    assert "(S, L) 7, 2 9 yes yes" in part(text, "Pure Nash equilibria: 2")


def test_zero_sum_games_have_a_minimax_value_with_strategies(capsys):
    text = printed(capsys, "rock-paper-scissors")
    minimax = part(text, "Minimax value for agent 1, the game being zero-sum: 0")
    assert "1 R 1/3, P 1/3, S 1/3" in minimax
    assert "2 R 1/3, P 1/3, S 1/3" in minimax
    assert "Pure Nash equilibria: none" in text


def test_degenerate_games_are_said_to_be_so(capsys):
    text = printed(capsys, "or")
    assert "The game is degenerate: pure and mixed, these are the extreme equilibria" in text
    assert "Mixed Nash equilibria: none" in text


def test_a_coarse_equilibrium_is_shown_only_where_it_is_better(capsys, tmp_path):
    path = tmp_path / "game.json"
    path.write_text('{"payoffs": [[[2, 2, 1], [2, 3, 2], [3, 2, 2]], [[1, 2, 1], [1, 0, 2], [2, 3, 2]]]}')
    text = printed(capsys, str(path))
    assert "Best correlated equilibrium (welfare): 4" in text
    assert "Gap 0, in exact numbers." in " ".join(
        part(text, "Best coarse correlated equilibrium (welfare): 24/5 (4.8)")
    )
    assert "Best coarse correlated equilibrium: none is better" in printed(capsys, "climbing")


def test_objectives(capsys):
    assert "Best correlated equilibrium (reward of agent 2): 7" in printed(capsys, "chicken", "--objective", "2")
    assert "Best correlated equilibrium (fairness): 441/16" in printed(capsys, "chicken", "--objective", "fairness")


def test_games_of_more_agents_have_no_mixed_equilibria_listed_and_the_command_says_so(capsys):
    text = printed(capsys, "coordination:3x2")
    assert "(A, A, A) 1, 1, 1 3 yes yes" in part(text, "Pure Nash equilibria: 2")
    assert "Mixed Nash" not in text
    (words,) = part(text, "Left out")[1:]
    assert words.startswith("mixed Nash equilibria, which are enumerated for two agents and not for 3: verify")


def test_one_agent(capsys, tmp_path):
    (tmp_path / "one.json").write_text('{"reward": [1, 3, 2]}')
    assert "(B) 3 3 yes yes" in part(printed(capsys, str(tmp_path / "one.json")), "Pure Nash equilibria: 1")


def test_files_of_gambit_are_solved_like_named_games(capsys, tmp_path):
    path = tmp_path / "mine.nfg"
    path.write_text('NFG 1 R "Mine [bold]" { "a" "b" } { { "[x]" "y" } { "l" "r" } }\n2 1 0 0 0 0 1 2\n')
    text = printed(capsys, str(path))
    assert text.startswith("Mine [bold]\nread from ")
    assert "([x], l) 2, 1 3 yes yes" in part(text, "Pure Nash equilibria: 2")
    assert "[x] 2/3, y 1/3 l 1/3, r 2/3 2/3, 2/3 4/3" in " ".join(part(text, "Mixed Nash equilibria: 1"))


def test_long_fractions_are_rounded_in_print_and_exact_in_json(capsys, tmp_path, solved):
    path = tmp_path / "long.json"
    path.write_text(f'{{"payoffs": [[[{"9" * 350}, 0], [0, 1]], [["1/{"3" * 300}", 0], [0, 1]]]}}')
    mixed = " ".join(part(printed(capsys, str(path)), "Mixed Nash equilibria: 1"))
    assert "about A 1.00000, B 3.00000e-300 about A 1e-350, B 1.00000 about" in mixed
    (found,) = solved(str(path))["mixed"]["equilibria"]
    assert is_nash(read_payoffs(path), [as_array(mix) for mix in found["profile"]])


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chicken", "climbing", "penalty", "or", "matching-pennies", "coordination:3x2"])
def test_json_can_be_read_back_and_verified(solved, name):
    content, game = solved(name), get(name)
    assert content["schema"] == "marlspec.solve/1"
    assert np.array_equal(as_array(content["game"]["payoffs"]), game.payoffs)
    mixed = [] if content["mixed"] is None else content["mixed"]["equilibria"]
    assert content["pure"]["count"] == len(content["pure"]["equilibria"])
    for found in [*content["pure"]["equilibria"], *mixed]:
        assert is_nash(game, [as_array(mix) for mix in found["profile"]])
        assert sum(map(Fraction, found["rewards"])) == Fraction(found["welfare"])
    for key, gap in [("correlated", ce_gap), ("coarse_correlated", cce_gap)]:
        assert gap(game, as_array(content[key]["joint"])) == Fraction(content[key]["gap"]) == 0
        assert content[key]["exact"] is True
    assert (content["minimax"] is not None) == (name == "matching-pennies")


def test_json_of_climbing(solved):
    content = solved("climbing")
    dominated = [found["joint_action"] for found in content["pure"]["equilibria"]
                 if found["pareto_optimal"] == {"deterministic": "no", "correlated": "no"}]  # fmt: skip
    assert dominated == [["B", "B"]]
    (mixed,) = content["mixed"]["equilibria"]
    assert mixed["profile"] == [["5/16", 0, "11/16"]] * 2
    assert mixed["joint_action"] is None
    assert content["mixed"]["degenerate"] is False


# --- figure -----------------------------------------------------------------------------------------------------------


def test_the_figure_marks_what_was_found(capsys, tmp_path, monkeypatch):
    handed = []
    monkeypatch.setattr(commands, "draw_rewards", lambda game, solutions: handed.append((game, solutions)))
    monkeypatch.setattr(commands, "save_figure", lambda figure, path: path.write_text("drawn"))
    printed(capsys, "chicken", "--figure", str(tmp_path / "chicken.svg"))
    ((game, solutions),) = handed
    assert game == get("chicken")
    assert [list(pair) for pair in solutions.pure] == [[7, 2], [2, 7]]
    assert [list(pair) for pair in solutions.mixed] == [[Fraction(14, 3)] * 2]
    assert list(solutions.correlated) == [Fraction(21, 4)] * 2
    assert solutions.objective == "welfare"
    assert (tmp_path / "chicken.svg").read_text() == "drawn"


def test_the_figure_is_written(capsys, tmp_path):
    printed(capsys, "matching-pennies", "--figure", str(tmp_path / "pennies.png"))
    assert (tmp_path / "pennies.png").read_bytes().startswith(b"\x89PNG")


# --- limits -----------------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_left_out_with_its_reason(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "MAX_CELLS", 20_000)
    monkeypatch.setattr(commands, "PRINTED_JOINT_ACTIONS", 100)
    payoffs = np.random.default_rng(0).integers(0, 9, (2, 12, 12)).tolist()
    (tmp_path / "large.json").write_text(json.dumps({"payoffs": payoffs}))
    text = printed(capsys, str(tmp_path / "large.json"))
    left_out = "\n".join(part(text, "Left out"))
    assert "the best correlated equilibrium: its linear program has 264 x 144 coefficients, and 20000 are" in left_out
    assert "mixed Nash equilibria: 12x12 actions may take 9.8e+07 steps to enumerate, and 2.0e+07 are the" in left_out
    assert "Mixed Nash" not in text
    assert "Best coarse correlated equilibrium (welfare)" in text
    assert "2 agents with 12x12 actions: no table is printed" in text


def test_limits_of_minimax_lists_and_pareto_answers(capsys, monkeypatch):
    monkeypatch.setattr(analysis, "MAX_MINIMAX_CELLS", 3)
    monkeypatch.setattr(analysis, "MAX_LISTED", 1)
    monkeypatch.setattr(analysis, "MAX_PARETO_WORK", 8)
    pennies, hunt = printed(capsys, "matching-pennies"), printed(capsys, "coordination:2x3")
    assert "minimax, if the game is zero-sum: 4 joint actions, and 3 are the limit here" in pennies
    left_out = "\n".join(part(hunt, "Left out"))
    assert "2 further pure Nash equilibria: 1 are listed" in left_out
    assert "3 further mixed Nash equilibria: 1 are listed" in left_out
    assert "Pareto optimality of 2 Nash equilibria, each to be compared with 9 joint actions" in left_out
    assert "left out left out" in " ".join(part(hunt, "Pure Nash equilibria: 3"))


@pytest.mark.parametrize(("m", "n"), [(1, 3), (2, 2), (3, 3), (2, 6), (4, 3)])
def test_no_polytope_has_more_vertices_than_the_bound(m, n):
    random = np.random.default_rng(m * 10 + n)
    counts = [len(vertices(random.integers(1, 50, (n, m)).tolist())) for _ in range(5)]
    assert max(counts) <= most_vertices(m, n)


def test_the_bound_is_reached_by_polygons_cubes_and_simplices():
    assert most_vertices(2, 4) == len(vertices([[1, 9], [4, 8], [7, 6], [9, 2]])) == 6
    assert most_vertices(3, 3) == len(vertices([[9, 1, 1], [1, 9, 1], [1, 1, 9]])) == 8
    assert most_vertices(5, 1) == len(vertices([[1, 1, 1, 1, 1]])) == 6
    assert support_work(12, 12) > support_work(11, 11) > support_work(3, 3)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chiken"], "no game named 'chiken'; did you mean chicken?"),
        (["none.nfg"], "none.nfg: cannot be read (No such file"),
        (["two-step"], "is played in stages (1, 2A, 2B), and this command solves games of one stage: name a stage"),
        (["goals"], "is a stochastic game, and this command solves games of one step: verify given policies with"),
        (["chicken", "--objective", "0"], "--objective 0: write welfare, fairness, or the number of an agent,"),
        (["chicken", "--objective", "3"], "from 1 to 2"),
        (["chicken", "--objective", "joy"], "--objective joy: write welfare, fairness"),
        (["prisoners-dilemma", "--objective", "fairness"], "fairness multiplies rewards"),
        (["chicken", "--figure", "x.gif"], "x.gif: the name of a figure ends in .png, .svg or .pdf"),
        (["coordination:3x2", "--figure", "x.png"], "--figure draws the joint rewards of two agents"),
    ],
)  # fmt: skip
def test_mistakes_are_explained_with_exit_code_2_and_nothing_is_printed(capsys, arguments, message):
    error = refused(capsys, *arguments)
    assert error.startswith("marlspec solve: error: ")
    assert message in error


def test_a_file_cut_short_is_refused_with_its_place(capsys, tmp_path):
    path = tmp_path / "cut.nfg"
    path.write_text('NFG 1 R "t" { "a" "b" } { 2 2 } 1 2 3 4 5 6 7')
    assert f"{path}: the file ends after 7 of 8 payoffs: it was cut short" in refused(capsys, str(path))


def test_usage_errors_exit_with_code_2():
    for argv in ([], ["--what"], ["chicken", "stag-hunt"]):
        with pytest.raises(SystemExit) as raised:
            solve_command(argv)
        assert raised.value.code == 2
