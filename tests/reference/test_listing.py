"""Every algorithm file carries out its listing line by line; and the check itself fails where it should."""

import pytest

from marlspec.errors import InputError
from marlspec.reference.listing import algorithm_files, load, parse, problems

GOOD = '''"""An algorithm.

Source: book, Algorithm 0.

Listing:
     1  Start
     2  For t = 0, 1, ..
     3      Act
     4      Store  (E6)
     5      If s' is terminal
     6          y = r
     7      Update
"""


def target(r):
    """Return y."""
    return r  # 5-6


class Method:
    def __init__(self):
        self.q = 0  # 1

    def step(self):  # 2
        a = self.act(self.q)  # 3
        self.store(a)  # 4 (E6)
        self.learn(a)

    def learn(self, a):
        y = target(a)  # 5-6
        self.q = y  # 7
'''


def found(code):
    return "; ".join(problems(parse(code, "method")))


@pytest.mark.parametrize("name", algorithm_files())
def test_every_line_of_the_listing_is_carried_out_in_order(name):
    assert problems(load(name)) == []


@pytest.mark.parametrize(
    ("name", "lines", "errata"), [("vdn", 18, {10: "E6"}), ("qmix", 22, dict.fromkeys((3, 16, 22), "E3") | {11: "E6"})]
)
def test_the_listings_are_those_of_the_source(name, lines, errata):
    algorithm = load(name)
    assert len(algorithm.listing) == lines
    assert {line.number: line.errata[0] for line in algorithm.listing if line.errata} == errata


def test_the_example_is_in_order():
    assert found(GOOD) == ""


@pytest.mark.parametrize(
    ("corrected", "broken", "complaint"),
    [
        ("# 3", "", "line 3 of the listing is carried out nowhere"),
        ("# 5-6\n        self.q", "# 5\n        self.q", "line 6 of the listing is carried out nowhere"),
        ("# 7", "# 8", "line 8 is not in the listing"),
        ("# 7", "# 7-8", "line 8 is not in the listing"),
        ("# 3", "# 4-3", "the marker's range is empty"),
        ("# 3\n        self.store(a)  # 4 (E6)", "# 4 (E6)\n        self.store(a)  # 3", "line 3 comes after line 4"),
        ("    return r  # 5-6", "    r = +r  # 6\n    return r  # 5", "line 5 comes after line 6"),
        ("# 1", "# 5", "line 2 comes after line 5"),
        ("# 4 (E6)", "# 4", "line 4 applies E6, but no marker of it says so"),
        ("# 7", "# 7 (E6)", "the listing's line does not apply E6"),
        ("(E6)", "(E999)", "unknown erratum E999"),
        ("(E6)", "(D999)", "unknown erratum D999"),
        ("     4  ", "     4  (before line 3: by nature) ", "line 4 comes after line 3"),
    ],
)
def test_broken_files_fail(corrected, broken, complaint):
    assert corrected in GOOD
    assert complaint in found(GOOD.replace(corrected, broken))


@pytest.mark.parametrize(
    ("corrected", "broken", "complaint"),
    [
        ("Listing:", "Pseudocode:", "holds no listing"),
        ("Source: book", "From the book", "names no source"),
        ("     3      Act\n", "", "line 3 of the listing should be there"),
        ("     3      Act\n", "     3      Act\n     3      Act again\n", "line 4 of the listing should be there"),
        ("     3      Act\n", "     3      Act\n            and act\n", "line 4 of the listing should be there"),
        ("# 4 (E6)", "# 4 E6", "is no marker"),
        ("# 4 (E6)", "#4 (E6)", "is no marker"),
        ("# 5-6\n\n", "# 5 - 6\n\n", "is no marker"),
        ("        self.q = 0  # 1", "        # 1\n        self.q = 0", "is no marker at the end of code"),
    ],
)
def test_files_that_cannot_be_read_are_refused(corrected, broken, complaint):
    assert corrected in GOOD
    with pytest.raises(InputError, match=complaint):
        parse(GOOD.replace(corrected, broken), "method")


def test_a_file_without_docstring_is_refused():
    with pytest.raises(InputError, match="holds no listing"):
        parse("x = 1\n", "method")


def test_a_line_may_be_carried_out_early_where_the_listing_gives_the_reason():
    early = GOOD.replace("     4      Store  (E6)", "     4      Store  (E6) (before line 3: nothing else is at hand)")
    swapped = early.replace("a = self.act(self.q)  # 3", "b = 0").replace(
        "# 4 (E6)", "# 4 (E6)\n        self.act(a)  # 3"
    )
    assert found(swapped) == ""
    without_reason = swapped.replace(": nothing else is at hand", "")
    assert "comes after" in found(without_reason)


def test_numbers_in_strings_and_other_comments_are_no_markers():
    code = GOOD.replace("b = 0", "").replace("self.q = 0  # 1", 'self.q = "# 9"  # 1\n        # see 9')
    assert found(code) == ""


def test_only_algorithm_files_are_read(tmp_path):
    for path in ("decomposition/vdn.py", "decomposition/__init__.py", "parts/replay.py", "commands.py", "listing.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(GOOD)
    (tmp_path / "tabular").mkdir()
    (tmp_path / "tabular" / "commands.py").write_text(GOOD)
    assert list(algorithm_files(tmp_path)) == ["commands", "vdn"]


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(InputError, match=r"no algorithm named 'foo'; the algorithms are .*vdn"):
        load("foo")


def test_a_statement_is_shown_whole_without_its_markers():
    algorithm = load("qmix")
    code = {m.numbers: algorithm.statement(m) for m in algorithm.markers if m.in_spine}
    assert code[22,] == "synchronise(self.theta_bar_hyper, self.theta_hyper)  # (E3)"
    assert code[5,] == "def step(self) -> None:"
    whole = code[13, 14, 15, 16, 17]
    assert whole.startswith("y = target(\n    batch.reward,\n")
    assert whole.endswith("\n)")
