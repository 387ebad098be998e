"""Every claim on every target: `pytest properties/ --spec-target TARGET --spec-role ROLE`, the reference by default."""

from collections.abc import Callable
from typing import Any

import pytest

from marlspec.properties.junit import properties_of
from marlspec.properties.testing import settle
from marlspec.properties.verdicts import Report

pytestmark = pytest.mark.long


def test_claim(spec_report: Report, claim_id: str, record_property: Callable[[str, Any], None]) -> None:
    """One claim on one target."""
    for name, value in properties_of(spec_report, spec_report.verdict(claim_id)).items():
        record_property(name, value)
    settle(spec_report, claim_id)
