"""Which tests check the shapes that annotations state: all but those marked `long`."""

import jaxtyping
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switch the checks off before the fixtures of a long test are made, and on for any other test."""
    jaxtyping.config.update("jaxtyping_disable", item.get_closest_marker("long") is not None)
