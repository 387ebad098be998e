"""Gambit's strategic games: what the two variants mean, and that every damaged file is refused with its place."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.files import read_payoffs
from marlspec.games.gambit import parse_nfg
from marlspec.games.matrix import NormalFormGame

PAYOFFS = 'NFG 1 R "Three by two" { "Rose" "Colin" } { 3 2 }\n\n1 10 2 20 3 30 4 40 5 50 6 60\n'
OUTCOMES = """\
NFG 1 R "Three by two" { "Rose" "Colin" }
{ { "up" "middle" "down" }
  { "left" "right" }
}
"said by nobody"

{
{ "first" 1, 10 }
{ "" 2 20 }
{ "third" 3, 30, }
{ "" 1/2, -.5 }
}
1 2 3
4 0 1
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="game.nfg"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


def test_payoff_variant_runs_through_agent_1_fastest(write):
    game = read_payoffs(write(PAYOFFS))
    assert game.payoffs.tolist() == [[[1, 4], [2, 5], [3, 6]], [[10, 40], [20, 50], [30, 60]]]
    assert game.exact
    assert game.name == "Three by two"
    assert game.action_labels == (("A", "B", "C"), ("A", "B"))
    assert "game.nfg, decimals taken exactly" in game.citation


def test_outcome_variant_repeats_outcomes_and_takes_0_for_no_payoff(write):
    game = read_payoffs(write(OUTCOMES, "game.NFG"))
    half = Fraction(1, 2)
    assert game.payoffs.tolist() == [[[1, half], [2, 0], [3, 1]], [[10, -half], [20, 0], [30, 10]]]
    assert game.action_labels == (("up", "middle", "down"), ("left", "right"))
    assert game.citation.startswith("said by nobody (read from")


def test_numbers_are_exact():
    numbers = ["0.1", "1/3", "-2.50", "+3", ".25", "7.", "1e2", "2.5E-1"]
    game = parse_nfg('NFG 1 D "t" { "a" } { 8 } "" ' + " ".join(numbers))
    assert [game.payoff(0, (a,)) for a in range(8)] == [
        Fraction(1, 10), Fraction(1, 3), Fraction(-5, 2), 3, Fraction(1, 4), 7, 100, Fraction(1, 4)
    ]  # fmt: skip


def test_white_space_is_free_and_quotes_may_be_escaped():
    squeezed = 'NFG 1 R"a \\"b\\" \\c"{"x""y"}{{"l{1}""r,"}{"1"}}"no\nlimit"{{"o"1,2}{"p"3,4}}2 1'
    game = parse_nfg(squeezed)
    assert game.name == 'a "b" \\c'
    assert game.payoffs.tolist() == [[[3], [1]], [[4], [2]]]
    assert game.action_labels == (("l{1}", "r,"), ("1",))


def test_title_and_labels_may_be_left_empty(write):
    game = read_payoffs(write('NFG 1 R "" { "" "" } { { "" "" } { "x" "y" } } 0 0 0 0 0 0 0 0', "nameless.nfg"))
    assert game.name == "nameless"
    assert game.action_labels == (("A", "B"), ("x", "y"))


def nfg(game):
    """Write a game down in the payoff variant, by counting as the format says: agent 1's strategy first."""
    numbers = [
        str(game.payoff(i, tuple(reversed(a))))
        for a in np.ndindex(*reversed(game.n_actions))
        for i in range(game.n_agents)
    ]
    players = " ".join('""' for _ in range(game.n_agents))
    lists = " ".join("{ " + " ".join(f'"{label}"' for label in labels) + " }" for labels in game.action_labels)
    return f'NFG 1 R "{game.name}" {{ {players} }} {{ {lists} }} {" ".join(numbers)}'


@pytest.mark.parametrize("name", ["chicken", "climbing", "rock-paper-scissors", "coordination:3x2", "penalty:-5/2"])
def test_catalogue_games_come_back_equal(name):
    assert parse_nfg(nfg(get(name))) == get(name)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 2**31))
def test_games_of_any_number_of_agents_come_back_equal(counts, seed):
    random = np.random.default_rng(seed)
    numerators = random.integers(-50, 50, (len(counts), *counts)).astype(object)
    game = NormalFormGame(numerators * Fraction(1, int(random.integers(1, 9))))
    assert parse_nfg(nfg(game)) == game


@pytest.mark.parametrize("text", [PAYOFFS, OUTCOMES])
def test_a_file_cut_short_anywhere_is_refused(write, text):
    """Cut before each token; where the cut falls within a quoted text, that text is never closed."""
    for end in [match.start() for match in re.finditer(r"\S+", text)]:
        with pytest.raises(InputError, match=r"game\.nfg: .*(the file ends|never closed|begins with)"):
            read_payoffs(write(text[:end]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file ends where NFG should stand"),
        ('EFG 2 R "t" { "a" }', "line 1, column 1: the file begins with 'EFG': write the game as a strategic one"),
        ('NFG 2 R "t"', "line 1, column 5: '2' stands where the version 1 should"),
        ('NFG 1 Q "t"', "line 1, column 7: 'Q' stands where R or D should"),
        ("NFG 1 R title {", "line 1, column 9: 'title' stands where the title in quotes should"),
        ('NFG 1 R "t" { }', "column 15: there are no players: name at least one"),
        ('NFG 1 R "t" { "a" 3 }', "column 19: '3' stands where a player's name in quotes, or }"),
        ('NFG 1 R "t" { "a" "b" } { 3 }', "column 29: '}' stands where the number of strategies of player 2"),
        ('NFG 1 R "t" { "a" "b" } { 3 2 2 }', "column 31: '2' stands where } after the strategies of all 2 players"),
        ('NFG 1 R "t" { "a" } { 0 }', "'0' stands where the number of strategies of player 1, at least 1, should"),
        ('NFG 1 R "t" { "a" } { 1.5 }', "'1.5' stands where the number of strategies of player 1"),
        ('NFG 1 R "t" { "a" } { { } } 1', "player 1 has no strategies: name at least one"),
        ('NFG 1 R "t" { "a" } { { "x" } { "y" } } 1', "'{' stands where } after the strategies of all 1 players"),
        ('NFG 1 R "t" { "a" "b" } { { "x" } } 1', "'}' stands where { and the strategies of player 2"),
        ('NFG 1 R "t" { "a" } { { "x" "x" } } 1 2', "action_labels[0][1] repeats the label 'x'"),
        ('NFG 1 R "t" { "a" } { { "x" "" } } 1 2', "action_labels[0][1] is ''"),
        ('NFG 1 R "t" { "a" "b" } { 2 2 } 1 2 3 4 5 6 7', "the file ends after 7 of 8 payoffs"),
        ('NFG 1 R "t" { "a" "b" } { 99999 99999 } 1 2', "the file ends after 2 of 19999600002 payoffs"),
        ('NFG 1 R "t" { "a" } { 2 }\n1 2\n3', "line 3, column 1: '3' follows the last of 2 payoffs: remove what"),
        ('NFG 1 R "t" { "a" } { 2 } 1 two', "column 29: payoff 2 is 'two': write a number"),
        ('NFG 1 R "t" { "a" "b" } { 1 2 } 1 2 3 nan', "payoff 4 is nan: payoffs must be finite"),
        ('NFG 1 R "t" { "a" } { 2 } 1 "2"', "payoff 2 is '\"2\"': write a number"),
        ('NFG 1 R "t" { "a" } { 2 } 1 1/0', "payoff 2 is '1/0': a denominator"),
        ('NFG 1 R "t" { "a" } { 2 } 1 1e999', "payoff 2 has more than 400 digits"),
        ('NFG 1 R "t" { "a" } { 2 } 1,', "payoff 2 is ',': write a number"),
        ('NFG 1 R "t" { "a" } { 2 } 1 "2', "column 29: a quote is opened and never closed"),
        ('NFG 1 R "t" { "a" } { 1 } { } 0', "column 29: '}' stands where { and outcome 1 should"),
        ('NFG 1 R "t" { "a" } { 1 } { { 1 } } 1', "'1' stands where the name of outcome 1 in quotes should"),
        ('NFG 1 R "t" { "a" "b" } { 1 1 } { { "o" 1 } } 1', "player 2's payoff in outcome 1 is '}': write a number"),
        ('NFG 1 R "t" { "a" } { 1 } { { "o" 1 2 } } 1', "'2' stands where } after the 1 payoffs of outcome 1 should"),
        ('NFG 1 R "t" { "a" } { 1 } { { "o" many } } 1', "player 1's payoff in outcome 1 is 'many'"),
        ('NFG 1 R "t" { "a" } { 2 } { { "o" 1 } } 1 2', "column 43: there is no outcome 2: the outcomes are"),
        ('NFG 1 R "t" { "a" } { 2 } { { "o" 1 } } 1 -1', "'-1' stands where the number of an outcome should"),
        ('NFG 1 R "t" { "a" } { 2 } { { "o" 1 } } 1', "the file ends after 1 of 2 outcome numbers"),
        ('NFG 1 R "t" { "a" } { 2 } { { "o" 1 } } 1 1 1', "'1' follows the last of 2 outcome numbers"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_file_place_and_remedy(write, text, message):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        read_payoffs(write(text, "bad.nfg"))
    assert str(raised.value).count("bad.nfg") == 1


def test_an_unknown_suffix_names_the_known_ones():
    with pytest.raises(InputError, match=r"ends in \.json, \.csv or \.nfg"):
        read_payoffs("game.efg")
