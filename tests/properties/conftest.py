"""Where the small targets of these tests lie, and a budget that is quick and still enough for a verdict."""

from pathlib import Path

import pytest

TARGETS = Path(__file__).parents[1] / "targets"


@pytest.fixture(scope="session")
def quick():
    """Options of check() for a mixer: 100 distinct inputs for every claim, and few more."""
    return {"sizes": [(2, 3)], "examples": 48}


@pytest.fixture(scope="session")
def spec():
    """Specification of a target by file and name, as in spec("sound", "total")."""
    return lambda file, name: f"{TARGETS / file}.py:{name}"
