"""The examples: torchrl's mixers are proved, the broken mixer is refuted, and the main job's parts fit together."""

import sys
from pathlib import Path

import numpy as np
import pytest

from marlspec.properties import check

pytestmark = [pytest.mark.long, pytest.mark.thorough]

ROOT = Path(__file__).parent.parent
ADAPTERS = ROOT / "examples" / "torchrl_mixers.py"


@pytest.mark.parametrize(
    ("name", "role"), [("vdn", "vdn_mixer"), ("qmix", "qmix_mixer"), ("qmix_float32", "qmix_mixer")]
)
def test_torchrl_mixers_are_proved(name, role):
    report = check(f"{ADAPTERS}:{name}", role, examples=80)
    assert report.exit_code == 0
    assert report.verdict("mixer.monotone").outcome == "proved"
    assert report.verdict("mixer.monotone").scope == "architecture: every parameter"
    assert report.dtype == ("float32" if name == "qmix_float32" else "float64")


def test_settings_reach_torchrl():
    report = check(
        f"{ADAPTERS}:qmix", "mixer", settings={"mixing_embed_dim": 3}, examples=40, claims=["mixer.monotone"]
    )
    assert report.verdict("mixer.monotone").outcome == "proved"


def test_the_broken_mixer_is_refuted_with_two_agents():
    report = check(f"{ROOT}/examples/broken_mixer.py:BrokenMixer", "mixer", fail_fast=True)
    (witness,) = report.witnesses
    assert witness.claim_id == "mixer.monotone"
    assert witness.size["n_agents"] == 2
    assert witness.case["utilities"] == [0.0, 0.0]


@pytest.fixture
def main_job(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import main_job

    yield main_job
    sys.modules.pop("main_job", None)


class Counter:
    value = 0

    def get_lock(self):
        import contextlib

        return contextlib.nullcontext()


@pytest.mark.parametrize("data", ["sampled", "enumerated"])
@pytest.mark.parametrize("algorithm", ["vdn", "qmix"])
def test_a_job_of_the_main_job(main_job, monkeypatch, algorithm, data):
    counter = Counter()
    monkeypatch.setattr(main_job, "_done", counter)
    result = main_job.run(main_job.Job(algorithm, "climbing", data, 200))
    assert result.tables.shape == (5, 3, 3)
    assert np.isfinite(result.tables).all()
    assert counter.value == 200
    assert result.updates == 200
    (row,) = main_job.rows([result])
    assert row[0] == f"{algorithm} climbing"
    assert len(row) == 1 + len(main_job.HEADS)


def test_exact_tables_beside_the_learned_ones(main_job):
    from marlspec.games.catalogue import get

    assert np.allclose(main_job.exact_table("vdn", get("monotonic")), [[-2.5, 2.5], [2.5, 7.5]])
    assert np.allclose(main_job.exact_table("qmix", get("monotonic")), [[0, 0], [0, 10]])
