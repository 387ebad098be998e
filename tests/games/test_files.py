from fractions import Fraction

import pytest

from marlspec.errors import InputError
from marlspec.games.files import read_payoffs


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def test_json_reward_is_a_common_reward_game_in_exact_numbers(write):
    path = write(
        "game.json", '{"reward": [[0.1, "1/3"], [5, -2e1]], "name": "mine", "actions": [["x", "y"], ["l", "r"]]}'
    )
    game = read_payoffs(path)
    assert game.exact
    assert game.is_common_reward
    assert game.shared_reward().tolist() == [[Fraction(1, 10), Fraction(1, 3)], [5, -20]]
    assert game.name == "mine"
    assert game.action_labels == (("x", "y"), ("l", "r"))
    assert "decimals taken exactly" in game.citation


def test_json_payoffs_have_an_axis_for_the_agents(write):
    game = read_payoffs(write("dilemma.json", '{"payoffs": [[[-1, -5], [0, -3]], [[-1, 0], [-5, -3]]]}'))
    assert game.name == "dilemma"
    assert game.payoff(0, (0, 1)) == -5
    assert game.payoff(1, (0, 1)) == 0
    assert read_payoffs(write("one.JSON", '{"reward": [1, 2, 3]}')).n_agents == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"bad\.json: line 1, column 2: no JSON"),
        ("", r"bad\.json: line 1, column 1: no JSON"),
        ("[[1, 2]]", "the top level must be an object"),
        ("{}", 'give either "payoffs"'),
        ('{"payoffs": [[1]], "reward": [1]}', 'give either "payoffs"'),
        ('{"reward": [[1, 2]], "rewards": 1}', "unknown key 'rewards': the keys are payoffs, reward"),
        ('{"reward": [[1, 2]], "reward": [[1, 2]]}', "'reward' occurs twice"),
        ('{"reward": [[1, 2], [3]]}', r"bad\.json: ragged lists: table\[1\] has 1 entries"),
        ('{"reward": []}', "table is empty"),
        ('{"reward": [[1, NaN]]}', r"reward\[0\]\[1\] is NaN: payoffs must be finite"),
        ('{"reward": [[1, -Infinity]]}', r"reward\[0\]\[1\] is -Infinity: payoffs must be finite"),
        ('{"reward": [[1, "many"]]}', r"reward\[0\]\[1\] is 'many': write a number such as 3, -0.5 or 1/3"),
        ('{"reward": [[1, "1/0"]]}', "denominator must not be zero"),
        ('{"reward": [[1, true]]}', r"table\[0\]\[1\] is the truth value True"),
        ('{"reward": [[1, null]]}', r"table\[0\]\[1\] is None"),
        ('{"reward": [[1, 1e999999999]]}', r"reward\[0\]\[1\] has more than 400 digits"),
        ('{"reward": [[1, ' + "9" * 5000 + "]]}", r"reward\[0\]\[1\] has more than 400 digits"),
        ('{"payoffs": [[1, 2], [3, 4]]}', "2 agents need 3 axes"),
        ('{"reward": [1, 2], "name": 3}', '"name" must be a string'),
        ('{"reward": [1, 2], "actions": "ab"}', '"actions" must hold one list of labels per agent'),
        ('{"reward": [1, 2], "actions": [["a", 2]]}', r"actions\[0\]\[1\] is 2: write a label in quotes"),
        ('{"reward": [1, 2], "actions": [["a", "a"]]}', "repeats the label 'a'"),
        ('{"reward": ' + "[" * 100_000, "nested too deeply"),
        (b'{"name": "\xff"}', "byte 10 is no UTF-8"),
    ],
)
def test_bad_json_is_refused_with_file_place_and_remedy(write, text, message):
    with pytest.raises(InputError, match=message) as raised:
        read_payoffs(write("bad.json", text))
    assert str(raised.value).count("bad.json") == 1


LABELLED = [
    ("1,5\n5,9\n", ("A", "B"), ("A", "B")),
    ("\ufeff1, 5\r\n\r\n5, 9\r\n", ("A", "B"), ("A", "B")),
    ("left,right\n1,5\n5,9\n", ("A", "B"), ("left", "right")),
    ("up,1,5\ndown,5,9\n", ("up", "down"), ("A", "B")),
    (",left,right\nup,1,5\ndown,5,9\n", ("up", "down"), ("left", "right")),
    ("agent 1,left,right\nup,1,5\ndown,5,9\n", ("up", "down"), ("left", "right")),
    (",0,1\n0,1,5\n1,5,9\n", ("0", "1"), ("0", "1")),
]


@pytest.mark.parametrize(("text", "rows", "columns"), LABELLED)
def test_csv_holds_the_reward_table_of_two_agents(write, text, rows, columns):
    game = read_payoffs(write("linear.csv", text))
    assert game.shared_reward().tolist() == [[1, 5], [5, 9]]
    assert game.action_labels == (rows, columns)
    assert game.exact
    assert game.name == "linear"


def test_csv_tables_of_one_row_or_column(write):
    assert read_payoffs(write("row.csv", "1,0.5,1/3\n")).shared_reward().tolist() == [
        [1, Fraction(1, 2), Fraction(1, 3)]
    ]
    assert read_payoffs(write("column.csv", "1\n2\n")).n_actions == (2, 1)
    named = read_payoffs(write("named.csv", "only\n1\n2\n"))
    assert named.action_labels == (("A", "B"), ("only",))
    both = read_payoffs(write("both.csv", ",only\nup,1\n"))
    assert both.action_labels == (("up",), ("only",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n , \n", "the file is empty"),
        ("1,2\n3\n", "line 2 has 1 cells where the first row has 2"),
        ("1,2\n3,\n", "line 2, cell 2 is empty"),
        ("1,2\n\n3,x\n", "line 3, cell 2 is 'x': write a number"),
        ("1,nan\n3,4\n", "line 1, cell 2 is nan: payoffs must be finite"),
        ("inf,-inf\n3,4\n", "line 1, cell 1 is inf: payoffs must be finite"),
        ("a,b\nc,d\n", "line 2, cell 2 is 'd'"),
        ("a,b\n", "there are labels but no rewards"),
        (",a,b\n", "there are labels but no rewards"),
        ("1;2\n3;4\n", "separated by commas"),
        (",a,a\nx,1,2\n", "repeats the label 'a'"),
        ('1,"2\n3,4\n', "no CSV"),
        ("a,b\n1,x\n", "line 2, cell 2 is 'x'"),
        ("a,1\n1,2\n", "line 1, cell 1 is 'a'"),
    ],
)
def test_bad_csv_is_refused_with_file_place_and_remedy(write, text, message):
    with pytest.raises(InputError, match=message) as raised:
        read_payoffs(write("bad.csv", text))
    assert "bad.csv" in str(raised.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file or directory\)"):
        read_payoffs(tmp_path / "none.json")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_payoffs(str(tmp_path / "folder.csv"))
    with pytest.raises(InputError, match=r"ends in \.json, \.csv or \.nfg"):
        read_payoffs("game.yaml")
