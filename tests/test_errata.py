"""The ledger of errata: its page, and the errata that concern definitions and claims rather than a code line.

E3 and E6 change lines of the algorithms; tests/reference/decomposition/test_errata.py patches those.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.properties import check, igm
from marlspec.properties.proof import decomposition
from marlspec.reference.errata import ERRATA, errata_page

ROOT = Path(__file__).parent.parent


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "errata.md").read_text(encoding="utf-8") == errata_page()


@pytest.mark.parametrize("name", ERRATA)
def test_each_erratum_is_shown_by_a_test_that_exists(name):
    file, _, test = ERRATA[name].shown_by.partition("::")
    assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")


def strictly_rising(table):
    """The printed definition, by brute force: some utilities, and a table that rises strictly in each of them.

    Utilities matter by their order alone; equal ones stand for one point, so that their slices must be equal.
    """
    rows, columns = table.shape
    orders = [np.array(order) for order in itertools.product(range(max(rows, columns)), repeat=rows)]
    others = [np.array(order) for order in itertools.product(range(max(rows, columns)), repeat=columns)]

    def rises(slices, levels):
        pairs = itertools.combinations(range(len(slices)), 2)
        for i, j in pairs:
            low, high = (i, j) if levels[i] < levels[j] else (j, i)
            same = levels[i] == levels[j]
            if not (np.array_equal(slices[i], slices[j]) if same else (slices[low] < slices[high]).all()):
                return False
        return True

    return any(rises(table, order) for order in orders) and any(rises(table.T, order) for order in others)


def test_e9():
    """Under the printed, strict definition the lecture's own example fails; under the non-strict one it passes."""
    game = get("monotonic")
    assert not strictly_rising(np.array(game.shared_reward()))
    assert not decomposition.decide_strictly_monotone(game).holds
    assert decomposition.decide_monotone(game).holds
    assert strictly_rising(np.array(get("linear").shared_reward()))


def test_e10():
    """No utilities that round to the printed ones have the printed sums; with the corrected one they do."""
    first, second = (-0.94, 4.08), (-1.45, 3.45)
    sums = {(0, 0): -2.43, (0, 1): 2.51, (1, 0): 2.60, (1, 1): 7.53}
    rounding = 0.015 + 1e-9  # half a unit in the second digit of each summand and of the sum

    def consistent(second):
        return all(abs(first[i] + second[j] - value) <= rounding for (i, j), value in sums.items())

    assert not consistent(second)
    assert any(consistent((round(-1.45 - k / 100, 2), 3.45)) for k in range(1, 6))


def igm_as_printed(subject, redraw, utilities, state):
    """Both directions as an equivalence of sets: the printed form of the claim."""
    table = igm.tables(subject, utilities, state)
    for row in range(len(utilities)):
        best = table.values[row] == table.values[row].max()
        if not np.array_equal(best, (table.regret[row] == 0).all(axis=1)):
            return igm.Counterexample(subject.size, None, {}, "the sets differ", "the sets are equal")
    return None


def first_utility(n_agents, state_size):
    """Q_tot = Q_1: weights 1, 0, .. 0, which the absolute value allows."""
    weights = torch.zeros(n_agents)
    weights[0] = 1.0
    return lambda utilities, state: (utilities * weights.abs()).sum(-1)


def test_e11(monkeypatch):
    """The printed equivalence refutes a mixer whose weights are absolute values; the claim as implemented does not."""
    report = check(first_utility, "mixer", sizes=[(2, 1)], claims=["igm.containment", "igm.equivalence"])
    assert report.verdict("igm.containment").outcome == "holds"
    assert report.verdict("igm.equivalence").outcome == "not_applicable"
    monkeypatch.setattr(igm, "_escaping", igm_as_printed)
    monkeypatch.setattr(igm, "_smaller", lambda trial, subject, redraw, check, found: found)
    printed = check(first_utility, "mixer", sizes=[(2, 1)], claims=["igm.containment"])
    assert printed.verdict("igm.containment").outcome == "refuted"


def test_e12():
    """No utilities satisfy the printed equivalence for [[1, 0], [0, 1]]: every pair of greedy sets is tried."""
    table = np.array([[1, 0], [0, 1]])
    best = table == table.max()
    subsets = [np.array(bits, dtype=bool) for bits in itertools.product((False, True), repeat=2) if any(bits)]
    assert not any(np.array_equal(np.outer(first, second), best) for first in subsets for second in subsets)
    assert not decomposition.decide_igm(NormalFormGame.common_reward([[1, 0], [0, 1]])).holds
