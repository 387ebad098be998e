"""The edits that no test can see are of lines that are there, so that none outlives its line."""

import importlib.util
from pathlib import Path

from marlspec.reference.listing import algorithm_files, load

SCRIPT = Path(__file__).with_name("mutate_lines.py")


def test_every_edit_without_effect_is_of_a_marked_line():
    spec = importlib.util.spec_from_file_location("mutate_lines", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    marked = set()
    for name in algorithm_files():
        algorithm = load(name)
        lines = algorithm.code.splitlines()
        marked |= {lines[marker.row - 1].strip() for marker in algorithm.markers}
    assert {line for line, _ in script.EQUIVALENT} <= marked
