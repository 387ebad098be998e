"""The examples of equilibrium solvers: what their authors would want to know is found, and nothing else is."""

from importlib.metadata import version
from pathlib import Path

import pytest

from marlspec.properties import check

pytestmark = [pytest.mark.long, pytest.mark.thorough]

EXAMPLES = Path(__file__).parent.parent / "examples"
ROLE = "equilibrium_solver"


def only_with(package, judged_version):
    """Faults are those of one version; a later one may have mended them."""
    if version(package) != judged_version:
        pytest.skip(f"the findings are about {package} {judged_version}")


def judged(spec, claims, examples=100, **settings):
    return check(f"{EXAMPLES}/{spec}", ROLE, claims=claims, examples=examples, settings=settings)


class TestNashpy:
    @pytest.fixture(autouse=True)
    def _nashpy(self):
        pytest.importorskip("nashpy")

    def test_support_enumeration_loses_equilibria_of_games_that_are_not_degenerate(self):
        only_with("nashpy", "0.0.43")
        report = judged("nashpy_solvers.py:support_enumeration", ["nash.complete"], domain="non_degenerate")
        (witness,) = report.witnesses
        assert "is not among" in witness.computed

    def test_what_support_enumeration_returns_are_equilibria(self):
        report = judged("nashpy_solvers.py:support_enumeration", ["nash.regret"], examples=70)
        assert report.verdict("nash.regret").outcome == "holds"

    def test_lemke_howson_does_not_end_where_an_agent_has_one_action(self):
        only_with("nashpy", "0.0.43")
        report = judged("nashpy_solvers.py:lemke_howson", ["nash.exists"], examples=1)
        assert "TimeoutError: no answer" in report.verdicts[0].reason

    def test_vertex_enumeration_takes_false_equilibria_for_true_ones_where_payoffs_are_large(self):
        only_with("nashpy", "0.0.43")
        report = judged(
            "nashpy_solvers.py:vertex_enumeration", ["nash.regret"], domain="non_degenerate", single_actions=False
        )
        (witness,) = report.witnesses
        assert max(abs(value) for table in witness.case["payoffs"] for row in table for value in row) > 1e5

    def test_the_linear_program_holds(self):
        assert judged("nashpy_solvers.py:linear_program", ["nash.regret"]).exit_code == 0


class TestOpenSpiel:
    @pytest.fixture(autouse=True)
    def _open_spiel(self):
        for package in ("pyspiel", "cvxpy", "cvxopt", "ecos"):
            pytest.importorskip(package)

    def test_the_linear_program_holds(self):
        assert judged("open_spiel_solvers.py:zero_sum_program", ["nash.regret"]).exit_code == 0

    def test_the_best_correlated_equilibrium_is_not_best_where_nobody_can_gain(self):
        only_with("open_spiel", "2.0.2")
        report = judged("open_spiel_solvers.py:welfare_correlated", ["ce.gap", "ce.objective"], examples=60)
        assert report.verdict("ce.gap").outcome == "holds"
        (witness,) = report.witnesses
        assert witness.claim_id == "ce.objective"
        assert "1/2" in witness.computed
