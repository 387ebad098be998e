"""The kill matrix: which claim refutes which mutant, and that no correct variant is refuted.

    python tests/kill_matrix.py            print it, and write docs/kill-matrix.md
    python tests/kill_matrix.py --seeds N  judge the correct variants with N seeds each instead
    python tests/kill_matrix.py --roles R  print the rows of some roles alone, and write nothing

Exits with 1 where a mutant survives or a correct variant is refuted.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track

ROOT = Path(__file__).parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from mutants import (  # noqa: E402
    counterfactual,
    dynamics,
    equilibria,
    evaluation,
    exploration,
    joint_values,
    mixers,
    policies,
    policy_losses,
    returns,
    tabular,
    td_targets,
    variants,
)
from mutants.target import Target  # noqa: E402

from marlspec.properties import Report, check  # noqa: E402
from marlspec.properties import mixers as monotone_claim  # noqa: E402
from marlspec.properties.claims import LEAST_EXAMPLES, claims_of  # noqa: E402
from marlspec.properties.proof.graph import Graph  # noqa: E402
from marlspec.properties.roles import ROLES, role_named  # noqa: E402
from marlspec.properties.trial import Trial  # noqa: E402

BATCHES = 8  # enough for a verdict on a role with sizes, whose batches hold many inputs
TRACED_EVERY = 10  # seeds: igm.equivalence traces the variant anew for each one, which takes most of the time


def by_name(*lists: Sequence[Target]) -> dict[str, Target]:
    """Targets under their roles and names, as in "mixer no_abs"."""
    targets = [target for targets in lists for target in targets]
    named = {f"{target.role} {target.name}": target for target in targets}
    assert len(named) == len(targets)
    return named


WITHOUT_SIZES = (
    equilibria,
    evaluation,
    tabular,
    dynamics,
    td_targets,
    returns,
    counterfactual,
    policy_losses,
    policies,
    exploration,
)
BAD = by_name(mixers.BAD, joint_values.BAD, *(family.BAD for family in WITHOUT_SIZES))
GOOD = by_name(variants.GOOD, joint_values.GOOD, *(family.GOOD for family in WITHOUT_SIZES))
PAGE = ROOT.parent / "docs" / "kill-matrix.md"


@dataclass(frozen=True)
class Row:
    """One mutant's line: the claims that refute it, the first one's inputs and seconds, and its witness."""

    name: str
    role: str
    edit: str
    claims: tuple[str, ...]
    inputs: int
    seconds: float
    witness: str


def warm_up() -> None:
    """Judge once in a new process: loading the tracer, about 2 s, is no mutant's time."""
    check(GOOD["qmix_mixer qmix"].factory, "qmix_mixer", claims=["mixer.monotone"])


def row(name: str) -> Row:
    """Judge one mutant at the default budget."""
    torch.set_num_threads(1)
    target = BAD[name]
    report = check(target.factory, target.role)
    refuted = [verdict for verdict in report.verdicts if verdict.outcome == "refuted"]
    if not refuted:
        return Row(target.name, target.role, target.edit, (), 0, 0.0, "")
    first = refuted[0]
    assert first.witness is not None
    return Row(
        target.name,
        target.role,
        target.edit,
        tuple(verdict.claim_id for verdict in refuted),
        first.examples,
        first.seconds,
        f"{'; '.join(first.witness.inputs)}; {first.witness.computed}",
    )


def page(rows: Sequence[Row]) -> str:
    """Return the matrix as Markdown."""
    claims = sorted({claim for entry in rows for claim in entry.claims})
    lines = [
        "# Kill matrix",
        "",
        "Which claim refutes which broken target, at the default budget. Made by `python tests/kill_matrix.py`; the",
        "targets stand in `tests/mutants/`. Inputs, seconds and witness are those of the first claim that refutes; the",
        "seconds are those of a process that has judged before (loading the tracer takes about 2 more).",
        "",
        "## Claims",
        "",
        "| claim | refutes | of these, first | of these, alone |",
        "|---|---:|---:|---:|",
    ]
    for claim in claims:
        hit = [entry for entry in rows if claim in entry.claims]
        first = sum(entry.claims[0] == claim for entry in hit)
        alone = sum(entry.claims == (claim,) for entry in hit)
        lines.append(f"| {claim} | {len(hit)} | {first} | {alone} |")
    lines += [
        "",
        f"## Targets ({len(rows)}, of which {sum(bool(entry.claims) for entry in rows)} refuted)",
        "",
        "| target | role | what is wrong | refuted by (first one first) | inputs | seconds | witness |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for entry in rows:
        claims_cell = ", ".join(entry.claims) or "**survives**"
        witness = entry.witness.replace("|", "\\|")
        lines.append(
            f"| {entry.name} | {entry.role} | {entry.edit} | {claims_cell} | {entry.inputs:,} | {entry.seconds:.1f} "
            f"| {witness} |"
        )
    return "\n".join(lines) + "\n"


PROOF = monotone_claim._structural_proof
PROOFS: dict[str, tuple[str | None, str, list[Graph]]] = {}


def proof_of(name: str, trial: Trial) -> tuple[str | None, str, list[Graph]]:
    """The structural proof is about every parameter: one for a variant stands for all seeds, and saves most time."""
    if name not in PROOFS:
        PROOFS[name] = PROOF(trial)
    return PROOFS[name]


def false_alarms(case: tuple[str, int]) -> tuple[str, int, tuple[str, ...]]:
    """Judge one correct variant with one seed on a small budget; returns what was refuted or went wrong."""
    torch.set_num_threads(1)
    name, seed = case
    target = GOOD[name]
    monotone_claim._structural_proof = lambda trial: proof_of(name, trial)
    examples = BATCHES if role_named(target.role).axes else 2 * LEAST_EXAMPLES
    claims = [entry.id for entry in claims_of(target.role) if entry.id != "igm.equivalence" or seed % TRACED_EVERY == 0]
    report: Report = check(target.factory, target.role, examples=examples, seed=seed, engine="plain", claims=claims)
    wrong = tuple(verdict.claim_id for verdict in report.verdicts if verdict.outcome in ("refuted", "error"))
    return name, seed, wrong


def of_roles(targets: dict[str, Target], roles: Sequence[str] | None) -> list[str]:
    """Names of the targets of some roles, or of all."""
    return [name for name, target in targets.items() if target.role in (roles or [target.role])]


def main() -> int:
    """Print the matrix or the false alarms; 1 where something survives or is refuted wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="judge the correct variants with so many seeds each")
    parser.add_argument("--roles", nargs="+", choices=sorted(ROLES), help="judge the targets of these roles alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, initializer=warm_up) as pool:
        if options.seeds:
            chosen = of_roles(GOOD, options.roles)
            cases = [(name, seed) for name in chosen for seed in range(options.seeds)]
            outcomes = list(_shown(pool.map(false_alarms, cases, chunksize=4), len(cases)))
            alarms = [outcome for outcome in outcomes if outcome[2]]
            for name, seed, wrong in alarms:
                print(f"{name}, seed {seed}: {', '.join(wrong)}")
            print(f"{len(chosen)} correct variants, {options.seeds} seeds each: {len(alarms)} false alarms")
            print(f"{time.perf_counter() - start:.0f} s")
            return 1 if alarms else 0
        broken = of_roles(BAD, options.roles)
        rows = list(_shown(pool.map(row, broken), len(broken)))
    text = page(rows)
    print(text)
    if not options.roles:
        PAGE.write_text(text, encoding="utf-8")
    survivors = [entry.name for entry in rows if not entry.claims]
    print(f"{len(rows) - len(survivors)} of {len(rows)} mutants refuted; survivors: {', '.join(survivors) or 'none'}")
    print(f"slowest first refutation: {max(entry.seconds for entry in rows):.1f} s")
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 1 if survivors else 0


def _shown(outcomes: Iterable[object], total: int) -> Iterable[object]:
    return track(outcomes, description="judging", total=total, transient=True)


if __name__ == "__main__":
    sys.exit(main())
