"""The errata ledger: where a source misprints a line that is implemented here, and how a test shows it."""

from typing import NamedTuple


class Erratum(NamedTuple):
    """One misprint.

    Attributes:
        where: the source, and the printed lines.
        printed: what they say, in our words.
        corrected: what is implemented instead.
        shown_by: the test that runs the printed form and sees it fail.
    """

    where: str
    printed: str
    corrected: str
    shown_by: str


ERRATA = {
    "E3": Erratum(
        where="book and lecture, Algorithm 22, lines 3, 16 and 22",
        printed="the mixing parameters of the target come from the online hypernetwork",
        corrected="they come from a target hypernetwork, equal at the start and synchronised with the target utilities",
        shown_by="tests/reference/decomposition/test_errata.py::test_e3",
    ),
    "E6": Erratum(
        where="book and lecture, Algorithm 21, line 10, and Algorithm 22, line 11",
        printed="the stored transition does not say whether the next state is terminal, which the target asks",
        corrected="the terminal flag is stored with the transition",
        shown_by="tests/reference/decomposition/test_errata.py::test_e6",
    ),
}
