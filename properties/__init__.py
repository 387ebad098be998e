"""The judge: claims about algorithms, and verdicts on anyone's implementation.

    from marlspec.properties import check
    report = check(my_factory, role="mixer")

One registry of claims (`claims`) feeds four doors: `check`, the command `marlspec check`, `pytest properties/
--spec-target`, and `parametrize_with_claims` in a user's own test file.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marlspec.properties.judge import check as check
    from marlspec.properties.testing import parametrize_with_claims as parametrize_with_claims
    from marlspec.properties.verdicts import Report as Report
    from marlspec.properties.verdicts import Verdict as Verdict

_HOMES = {
    "check": "marlspec.properties.judge",
    "parametrize_with_claims": "marlspec.properties.testing",
    "Report": "marlspec.properties.verdicts",
    "Verdict": "marlspec.properties.verdicts",
}

__all__ = ["Report", "Verdict", "check", "parametrize_with_claims"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and hypothesis are not loaded before."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
