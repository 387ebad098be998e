"""The command line: `marlspec COMMAND ...`.

A command is a function from its arguments to an exit code, imported when it is called: `marlspec --help` loads neither
torch nor hypothesis.
"""

import importlib
import sys
import traceback
from typing import NamedTuple

from marlspec import __version__
from marlspec.errors import InputError


class Command(NamedTuple):
    """Where a command lives and what it does."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "check": Command(
        "marlspec.properties.commands", "check_command", "judge an implementation against a role's claims"
    ),
    "replay": Command("marlspec.properties.commands", "replay_command", "run a recorded counterexample again"),
    "claims": Command("marlspec.properties.commands", "claims_command", "list the roles and their claims"),
    "selfcheck": Command(
        "marlspec.properties.selfcheck", "selfcheck_command", "judge the judge by its own mutants, in a checkout"
    ),
    "survey": Command(
        "marlspec.properties.survey", "survey_command", "judge all third-party targets that are installed"
    ),
    "vectors": Command(
        "marlspec.properties.vectors.commands", "vectors_command", "test vectors for implementations in any language"
    ),
    "decide": Command(
        "marlspec.properties.proof.commands", "decide_command", "which decompositions a game admits, exactly"
    ),
    "solve": Command(
        "marlspec.reference.solution.commands", "solve_command", "equilibria and Pareto optimality of a game"
    ),
    "list": Command("marlspec.reference.commands", "list_command", "list algorithms and games with their sources"),
    "show": Command("marlspec.reference.commands", "show_command", "print an algorithm's pseudocode beside its code"),
    "train": Command("marlspec.reference.commands", "train_command", "train an algorithm on a game"),
    "reproduce": Command(
        "marlspec.reference.reproduction.command", "reproduce_command", "the sources' tables and figures from our runs"
    ),
}


def usage() -> str:
    """Return the help text: one line per command."""
    lines = [f"  {name:<9} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: marlspec COMMAND ...",
            "",
            "The executable specification of multi-agent reinforcement learning, with a judge of implementations.",
            "",
            *lines,
            "",
            "marlspec COMMAND --help explains one. Exit codes: 0 all well, 1 refuted, 2 bad input or not judged.",
        ]
    )


def run(arguments: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    if not arguments:
        print(usage(), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"marlspec {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"marlspec: error: no command named {name!r}; the commands are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    try:
        function = getattr(importlib.import_module(command.module), command.function)
        return int(function(rest))
    except (InputError, OSError) as error:
        print(f"marlspec {name}: error: {error}", file=sys.stderr)
    except Exception:  # a fault of the program's own must not end with 1, which says that a target is refuted
        traceback.print_exc()
    return 2


def main() -> None:
    """Run the command line on the process's arguments."""
    sys.exit(run(sys.argv[1:]))
