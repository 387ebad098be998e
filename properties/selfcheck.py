"""The command `marlspec selfcheck`: the judge judged by its own mutants and correct variants, in a checkout."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from marlspec.errors import InputError
from marlspec.properties.roles import ROLES, role_named


def selfcheck_command(argv: Sequence[str]) -> int:
    """Print which claim refutes which mutant, and count false alarms; returns 1 on any miss or alarm."""
    parser = argparse.ArgumentParser(
        prog="marlspec selfcheck",
        description="Judge the mutants and the correct variants of tests/mutants: run it from a checkout.",
        epilog="Exit codes: 0 all mutants are refuted and no correct variant is, 1 otherwise, 2 no checkout.",
    )
    parser.add_argument("--roles", nargs="+", metavar="ROLE", help=f"these roles alone: {', '.join(ROLES)}")
    parser.add_argument("--seeds", type=int, default=3, help="for each correct variant (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args(argv)
    for name in options.roles or ():
        role_named(name)
    for name in ("seeds", "jobs"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(options, name)}")
    return int(_kill_matrix().selfcheck(options.roles, options.seeds, options.jobs, Console()))


def _kill_matrix() -> ModuleType:
    """Import tests/kill_matrix.py of the checkout at hand.

    Raises:
        InputError: the working directory is no checkout.
    """
    folder = Path.cwd() / "tests"
    if not (folder / "mutants").is_dir() or not (folder / "kill_matrix.py").is_file():
        raise InputError(f"{Path.cwd()} is no checkout of marlspec: run it where the folder tests/mutants is")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module("kill_matrix")
