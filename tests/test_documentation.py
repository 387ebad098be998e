"""The adapters that the documentation shows work as they stand there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from marlspec.properties import check

pytestmark = [pytest.mark.long, pytest.mark.thorough]

PAGE = (Path(__file__).parent.parent / "docs" / "judging.md").read_text(encoding="utf-8")
ADAPTERS = {
    match["target"]: (match["file"], match["target"], match["role"], match["code"])
    for match in re.finditer(
        r"```python\n# (?P<file>\w+\.py): marlspec check (?P<target>\S+) --role (?P<role>\w+)\n(?P<code>.*?)```",
        PAGE,
        re.DOTALL,
    )
}
PACKAGES = {"my_solver.py:support_enumeration": "nashpy", "my_game.py:spread": "mpe2", "my_buffer.py:Buffer": "torchrl"}
CLAIMS = {
    "my_solver.py:support_enumeration": ["nash.regret"],  # the others are refuted: docs/findings.md
    "my_buffer.py:Buffer": ["replay.whole", "replay.model"],  # the others hold, and take a minute
}


def test_every_adapter_is_found():
    assert len(ADAPTERS) == PAGE.count("```python\n#") == 14


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_is_judged(name, tmp_path):
    file, target, role, code = ADAPTERS[name]
    if name in PACKAGES and find_spec(PACKAGES[name]) is None:
        pytest.skip(f"needs {PACKAGES[name]}")
    (tmp_path / file).write_text(code, encoding="utf-8")
    report = check(f"{tmp_path}/{target}", role, claims=CLAIMS.get(name), examples=120)
    assert report.exit_code == 0, report.verdicts
