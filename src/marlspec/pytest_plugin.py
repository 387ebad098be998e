"""The judge's door in pytest: options that name a target, and one test per claim of its role.

    pytest properties/ --spec-target pkg.module:factory --spec-role mixer

Nothing heavy is imported until a test asks for a claim.
"""

from collections.abc import Callable
from typing import Any

import pytest

REPORTS = pytest.StashKey[dict[tuple[str, str], Any]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the reports."""
    config.stash[REPORTS] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("marlspec", "judging an implementation")
    group.addoption(
        "--spec-target", action="append", default=[], metavar="TARGET", help="factory to judge, may be repeated"
    )
    group.addoption("--spec-role", action="append", default=[], metavar="ROLE", help="its role, one for each target")
    group.addoption(
        "--spec-set", action="append", default=[], metavar="NAME=VALUE", help="keyword argument of the factory"
    )
    group.addoption("--spec-sizes", metavar="NxS,..", help="sizes to judge at, as in 2x3,3x2")
    group.addoption(
        "--spec-parameters", choices=("redrawn", "given"), default="redrawn", help="architecture, or given alone"
    )
    group.addoption(
        "--spec-expect", action="append", default=[], metavar="CLAIM=REASON", help="a known refutation, strict"
    )
    group.addoption("--spec-seed", type=int, default=0, help="seed of all randomness (default 0)")
    group.addoption(
        "--spec-time-limit", type=float, default=300.0, metavar="SECONDS", help="for each claim (default 300)"
    )
    group.addoption("--examples", type=int, default=200, help="batches that each claim may draw (default 200)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per target and claim."""
    if "spec_report" not in metafunc.fixturenames:
        return
    from marlspec.errors import InputError
    from marlspec.properties.claims import claims_of

    try:
        cases = [(target, role, entry.id) for target, role in _targets(metafunc.config) for entry in claims_of(role)]
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    parameters = [pytest.param((target, role), claim_id, id=f"{target}-{claim_id}") for target, role, claim_id in cases]
    metafunc.parametrize(("spec_report", "claim_id"), parameters, indirect=["spec_report"])


@pytest.fixture
def spec_report(request: pytest.FixtureRequest) -> Any:
    """Judge one target once; its claims' tests share the report, in whatever order they come."""
    reports = request.config.stash[REPORTS]
    target, role = request.param
    if (target, role) not in reports:
        reports[target, role] = _report(target, role, request.config.getoption)
    return reports[target, role]


def _report(target: str, role: str, option: Callable[[str], Any]) -> Any:
    from marlspec.errors import InputError
    from marlspec.properties.commands import expectations_of, settings_of, sizes_of
    from marlspec.properties.judge import check

    try:
        return check(
            target,
            role,
            examples=option("--examples"),
            seed=option("--spec-seed"),
            settings=settings_of(option("--spec-set")),
            sizes=sizes_of(option("--spec-sizes")),
            parameters=option("--spec-parameters"),
            expected=expectations_of(option("--spec-expect")),
            time_limit=option("--spec-time-limit"),
        )
    except InputError as error:
        raise pytest.UsageError(str(error)) from error


def _targets(config: pytest.Config) -> list[tuple[str, str]]:
    """The targets named on the command line with their roles; the reference where none is named."""
    targets, roles = config.getoption("--spec-target"), config.getoption("--spec-role")
    if not targets and not roles:
        from marlspec.properties.reference_targets import REFERENCE_TARGETS

        return list(REFERENCE_TARGETS)
    if len(targets) != len(roles):
        raise pytest.UsageError(
            f"give one --spec-role for each --spec-target: {len(targets)} targets, {len(roles)} roles"
        )
    return list(zip(targets, roles, strict=True))
