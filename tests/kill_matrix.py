"""The kill matrix: which claim refutes which mutant first, and that no correct variant is refuted.

    python tests/kill_matrix.py            print it, and write docs/kill-matrix.md
    python tests/kill_matrix.py --seeds N  judge the correct variants with N seeds each instead
    marlspec selfcheck                     both, as a table, for all roles or some
    python tests/kill_matrix.py --roles R  print the rows of some roles alone, and write nothing

Exits with 1 where a mutant survives or a correct variant is refuted; selfcheck also where a claim refutes nothing first
and is no theorem that follows from one that does.
"""

import argparse
import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from mutants.target import Target  # noqa: E402

from marlspec.properties import Report, check  # noqa: E402
from marlspec.properties import mixers as monotone_claim  # noqa: E402
from marlspec.properties.claims import LEAST_EXAMPLES, claims_of  # noqa: E402
from marlspec.properties.proof.graph import Graph  # noqa: E402
from marlspec.properties.roles import ROLES, role_named  # noqa: E402
from marlspec.properties.trial import Trial  # noqa: E402

BATCHES = 8  # enough for a verdict on a role with sizes, whose batches hold many inputs
CASES = 2 * LEAST_EXAMPLES  # enough for one on any other role

# The first seed judges a correct variant in full. The others do without the budget of a verdict, without all sizes but
# one (another one from seed to seed), and without three claims that take more time than all others together.
FEW_BATCHES, FEW_CASES = 2, LEAST_EXAMPLES // 10
SELDOM = {"igm.equivalence", "learner.tiny", "replay.coverage"}


MODULES = [path.stem for path in sorted((ROOT / "mutants").glob("*.py")) if not path.stem.startswith(("test_", "__"))]
FAMILIES = [importlib.import_module(f"mutants.{name}") for name in (*MODULES, "blind")]


def by_name(which: str) -> dict[str, Target]:
    """The targets of all families' lists of that name, under their roles and names, as in "mixer no_abs"."""
    targets = {
        target: " (blind)" if family.__name__ == "mutants.blind" else ""
        for family in FAMILIES
        for target in getattr(family, which, ())
    }
    named = {f"{target.role} {target.name}{suffix}": target for target, suffix in targets.items()}
    assert len(named) == len(targets)
    return named


# Claims before which another one refutes each time, and why they are made nevertheless: the theorems that follow from
# it, or the part of it that is judged where it does not apply.
FOLLOWS = {
    "bellman.contract": "bellman.rule: the theorem by which Q-learning converges",
    "bellman.fixpoint": "bellman.rule: Bellman's optimality equation, by values that all policies together give",
    "bellman.shift": "bellman.rule",
    "coma.shift": "coma.zero_mean and coma.own: A = Q - sum_b pi(b) Q(b)",
    "coma.unbiased": "coma.zero_mean and coma.base_independent: the theorem of the counterfactual baseline",
    "ret.const": "ret.views, with one number to be seen through",
    "ret.limits": "ret.views: the cases lambda = 0, lambda = 1, gamma = 0, m = 1 and m >= T that the sources name",
    "ret.padding": "ret.views and ret.rows: what the padding mask is for",
    "return.const": "return.recursive, with one number to be seen through",
}

BAD, GOOD = by_name("BAD"), by_name("GOOD")
PAGE = ROOT.parent / "docs" / "kill-matrix.md"


@dataclass(frozen=True)
class Row:
    """One mutant's line: the first claim that refutes it ("" where none does), that one's inputs and seconds, its
    witness and the number of numbers in that."""

    name: str
    role: str
    edit: str
    claim: str
    inputs: int
    seconds: float
    witness: str
    numbers: int = 0


def warm_up() -> None:
    """Judge once in a new process: loading the tracer, about 2 s, is no mutant's time."""
    check(GOOD["qmix_mixer qmix"].factory, "qmix_mixer", claims=["mixer.monotone"])


def row(name: str) -> Row:
    """Judge one mutant at the default budget, claim after claim up to the first that refutes it."""
    torch.set_num_threads(1)
    target = BAD[name]
    report = check(target.factory, target.role, fail_fast=True)
    refuted = [verdict for verdict in report.verdicts if verdict.outcome == "refuted"]
    own = name.removeprefix(f"{target.role} ")
    if not refuted:
        return Row(own, target.role, target.edit, "", 0, 0.0, "")
    first = refuted[0]
    assert first.witness is not None
    return Row(
        own,
        target.role,
        target.edit,
        first.claim_id,
        first.examples,
        first.seconds,
        f"{'; '.join(first.witness.inputs)}; {first.witness.computed}",
        numbers_in(first.witness.case),
    )


def numbers_in(value: Any) -> int:
    """How many numbers and words a case holds."""
    if isinstance(value, Mapping):
        return sum(numbers_in(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return sum(numbers_in(part) for part in value)
    return 1


def page(rows: Sequence[Row]) -> str:
    """Return the matrix as Markdown."""
    first = Counter(entry.claim for entry in rows if entry.claim)
    blind = sum("(blind)" in entry.name for entry in rows)
    lines = [
        "# Kill matrix",
        "",
        "Which claim refutes which broken target first, at the default budget, on how many inputs and by which",
        "witness. Made by `python tests/kill_matrix.py`; the targets stand in `tests/mutants/`. Those that are marked",
        f"blind, {blind} or {blind / max(1, len(rows)):.0%} of all, are of authors who knew the roles' contracts and",
        "no claim. The seconds are those of a process that has judged before (loading the tracer takes about 2 more).",
        "",
        "## Claims",
        "",
        "| claim | refutes first |",
        "|---|---:|",
        *(f"| {claim} | {count} |" for claim, count in sorted(first.items())),
        "",
        "These refute nothing first, since another claim is judged before:",
        "",
        "| claim | follows from |",
        "|---|---|",
        *(f"| {claim} | {reason} |" for claim, reason in FOLLOWS.items()),
        "",
        f"## Targets ({len(rows)}, of which {first.total()} refuted)",
        "",
        "| target | role | what is wrong | refuted first by | inputs | seconds | witness |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for entry in rows:
        witness = entry.witness.replace("|", "\\|")
        lines.append(
            f"| {entry.name} | {entry.role} | {entry.edit} | {entry.claim or '**survives**'} | {entry.inputs:,} "
            f"| {entry.seconds:.1f} | {witness} |"
        )
    return "\n".join(lines) + "\n"


def idle(rows: Sequence[Row], roles: Sequence[str] | None) -> list[str]:
    """Claims of the roles, of all by default, that refute nothing first and do not follow from one that does."""
    first = {entry.claim for entry in rows}
    made = {entry.id for role in roles or ROLES for entry in claims_of(role)}
    return sorted(made - first - FOLLOWS.keys())


PROOF = monotone_claim._structural_proof
PROOFS: dict[str, tuple[str | None, str, list[Graph]]] = {}


def proof_of(name: str, trial: Trial) -> tuple[str | None, str, list[Graph]]:
    """The structural proof is about every parameter: one for a variant stands for all seeds, and saves most time."""
    if name not in PROOFS:
        PROOFS[name] = PROOF(trial)
    return PROOFS[name]


def false_alarms(case: tuple[str, int]) -> tuple[str, int, tuple[str, ...]]:
    """Judge one correct variant with one seed on a small budget; returns what was refuted or went wrong.

    Seed 0 judges all claims, at all sizes, with enough inputs for a verdict. The others try fewer, which is no fault
    of the variant's: they ask whether anything is refuted or fails.
    """
    torch.set_num_threads(1)
    name, seed = case
    target = GOOD[name]
    monotone_claim._structural_proof = lambda trial: proof_of(name, trial)
    role, whole = role_named(target.role), seed == 0
    budget = (BATCHES if whole else FEW_BATCHES) if role.axes else (CASES if whole else FEW_CASES)
    report: Report = check(
        target.factory,
        target.role,
        examples=budget,
        seed=seed,
        sizes=None if whole or not role.axes else [role.sizes[seed % len(role.sizes)]],
        engine="plain",
        claims=[entry.id for entry in claims_of(target.role) if whole or entry.id not in SELDOM],
    )
    wrong = [verdict for verdict in report.verdicts if verdict.outcome in ("refuted", "error")]
    return name, seed, tuple(v.claim_id for v in wrong if whole or "distinct inputs" not in v.reason)


def of_roles(targets: Mapping[str, Target], roles: Sequence[str] | None) -> list[str]:
    """The names of the targets of these roles; of all roles where none is named."""
    return [name for name, target in targets.items() if roles is None or target.role in roles]


def matrix(roles: Sequence[str] | None, jobs: int) -> list[Row]:
    """Judge the mutants of these roles."""
    return list(_each(row, of_roles(BAD, roles), jobs))


def alarms(roles: Sequence[str] | None, seeds: int, jobs: int) -> list[tuple[str, int, tuple[str, ...]]]:
    """Judge the correct variants of these roles with so many seeds each; returns what was refuted or went wrong."""
    cases = [(name, seed) for seed in range(seeds) for name in of_roles(GOOD, roles)]
    return [outcome for outcome in _each(false_alarms, cases, jobs) if outcome[2]]


def _each(judge: Callable[[Any], Any], cases: Sequence[Any], jobs: int) -> Iterable[Any]:
    if jobs == 1:
        yield from map(judge, cases)
        return
    with ProcessPoolExecutor(jobs, initializer=warm_up) as pool:
        outcomes = pool.map(judge, cases, chunksize=1 if judge is row else 4)
        yield from track(outcomes, description="judging", total=len(cases), transient=True)


def selfcheck(roles: Sequence[str] | None, seeds: int, jobs: int, console: Console) -> int:
    """Print the matrix and the false alarms; 1 where a mutant survives or a correct variant is refuted."""
    rows = matrix(roles, jobs)
    console.print(_table(rows))
    survivors = [f"{entry.role} {entry.name}" for entry in rows if not entry.claim]
    console.print(
        f"{len(rows) - len(survivors)} of {len(rows)} mutants refuted; survivors: {', '.join(survivors) or 'none'}"
    )
    console.print(f"claims that refute nothing first, theorems apart: {', '.join(idle(rows, roles)) or 'none'}")
    wrong = alarms(roles, seeds, jobs)
    for name, seed, claims in wrong:
        console.print(f"[red]{escape(name)}[/], seed {seed}: {', '.join(claims)}")
    console.print(f"{len(of_roles(GOOD, roles))} correct variants, {seeds} seeds each: {len(wrong)} false alarms")
    return 1 if survivors or wrong or idle(rows, roles) else 0


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="Kill matrix", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("mutant", overflow="fold")
    table.add_column("role", no_wrap=True)
    table.add_column("refuted first by", no_wrap=True)
    for name in ("inputs", "numbers in witness"):
        table.add_column(name, justify="right")
    for entry in rows:
        first = entry.claim or "[bold red]survives[/]"
        table.add_row(entry.name, entry.role, first, f"{entry.inputs:,}", str(entry.numbers))
    return table


def main() -> int:
    """Print the matrix or the false alarms; 1 where something survives or is refuted wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="judge the correct variants with so many seeds each")
    parser.add_argument("--roles", nargs="+", choices=sorted(ROLES), help="judge the targets of these roles alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.seeds:
        wrong = alarms(options.roles, options.seeds, options.jobs)
        for name, seed, claims in wrong:
            print(f"{name}, seed {seed}: {', '.join(claims)}")
        chosen = of_roles(GOOD, options.roles)
        print(f"{len(chosen)} correct variants, {options.seeds} seeds each: {len(wrong)} false alarms")
        print(f"{time.perf_counter() - start:.0f} s")
        return 1 if wrong else 0
    rows = matrix(options.roles, options.jobs)
    text = page(rows)
    print(text)
    if not options.roles:
        PAGE.write_text(text, encoding="utf-8")
    survivors = [entry.name for entry in rows if not entry.claim]
    print(f"{len(rows) - len(survivors)} of {len(rows)} mutants refuted; survivors: {', '.join(survivors) or 'none'}")
    print(f"slowest first refutation: {max(entry.seconds for entry in rows):.1f} s")
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
