"""The judge: every claim of a role on a target, and the report; a recorded counterexample run again."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any, get_args

import torch
from hypothesis.control import currently_in_test_context
from torch import Tensor

from marlspec.errors import InputError
from marlspec.properties.claims import LEAST_EXAMPLES, Claim, Counterexample, Finding, claim_named, claims_of
from marlspec.properties.clock import DEFAULT_LIMIT, Clock, Interrupted, running
from marlspec.properties.isolation import isolated
from marlspec.properties.roles import ROLES, Target, parameters_of, role_named, target_of
from marlspec.properties.trial import Engine, Parameters, Redraw, TargetError, Trial, overwrite
from marlspec.properties.verdicts import Report, Verdict, Witness

LARGEST_SEED = 2**32 - 1


def check(
    target: Any,
    role: str,
    *,
    examples: int = 200,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    sizes: Sequence[Sequence[int]] | None = None,
    parameters: Parameters = "redrawn",
    expected: Mapping[str, str] | None = None,
    engine: Engine = "hypothesis",
    claims: Sequence[str] | None = None,
    fail_fast: bool = False,
    time_limit: float = DEFAULT_LIMIT,
) -> Report:
    """Judge a target against all claims of a role.

    Args:
        target: a factory, or `pkg.module:attr`, `path/file.py:attr` or `exec:COMMAND`; see `marlspec.properties.roles`.
        role: what the target is; `marlspec.properties.roles` and `marlspec claims` list the roles.
        examples: the budget of each claim, in batches of up to 128 inputs, or in cases for roles without sizes; a
            verdict counts the distinct inputs tried.
        seed: all randomness follows from it; the caller's global random states are left as they were.
        settings: keyword arguments added to each call of the factory.
        sizes: the sizes to judge at, (n_agents, state_size) or (n_agents, n_actions, state_size) each, for roles whose
            factory takes sizes.
        parameters: "redrawn" judges the architecture (free parameters are overwritten and restored), "given" the
            target's own parameters alone, for code that keeps them in range by other means, such as
            clipping after each update.
        expected: refutations that are known, by claim id, each with its reason; one that does not come is an error.
        engine: "plain" draws without hypothesis, for use inside a hypothesis test.
        claims: ids to judge; all of the role's by default.
        fail_fast: stop after the first refutation that was not expected.
        time_limit: seconds for one claim. A search stops then, and its verdict says on how many inputs it stands; a
            single call that takes longer than that is interrupted, on Unix in the main thread.

    Raises:
        InputError: no such target, role or claim, or unusable arguments. What goes wrong inside the target is no
            exception but a verdict with outcome `error`.
    """
    _refuse_bad_seed(seed)
    _refuse_bad_budget(examples, engine, parameters)
    _refuse_bad_limit(time_limit)
    subject = target_of(target, settings, role)
    chosen = _chosen_claims(role, claims)
    announced = _announced(expected, chosen)
    trial = Trial(subject, role, _sizes(role, sizes), examples, seed, engine, parameters)
    try:
        verdicts = _verdicts(trial, chosen, announced, fail_fast, time_limit)
        dtype = _dtype(trial)
    finally:
        trial.restore_modes()
        subject.release()
    return Report(subject.name, role, tuple(verdicts), dtype, _size_names(trial), examples, seed, dict(settings or {}))


def _verdicts(
    trial: Trial, chosen: Sequence[Claim], announced: Mapping[str, str], fail_fast: bool, time_limit: float
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for entry in chosen:
        verdict = _judge(entry, trial, {v.claim_id: v for v in verdicts}, time_limit)
        verdicts.append(_against_expectation(verdict, announced))
        if fail_fast and verdicts[-1].outcome == "refuted" and not verdicts[-1].ok:
            break
    if all(verdict.outcome == "not_applicable" for verdict in verdicts):
        return [_nothing_applies(verdict) for verdict in verdicts]
    return verdicts


def replay(witness: Witness, target: Any) -> Counterexample | None:
    """Run a recorded counterexample again; returns it if the target still fails, else None.

    Raises:
        InputError: the witness is of another target, or of no known claim.
        TargetError: the target raised, or returned a wrong shape or kind.
    """
    subject = target_of(target, dict(witness.settings), witness.role)
    if subject.name != witness.target:
        raise InputError(
            f"the witness was found on {witness.target!r}, not on {subject.name!r}; replay it on the target it is of "
            "(where that was renamed, set the field 'target' of the witness)"
        )
    entry = claim_named(witness.claim_id)
    if role_named(witness.role).name not in _roles_of(entry):
        raise InputError(f"the witness names the claim {entry.id!r}, which the role {witness.role!r} does not make")
    _refuse_bad_seed(witness.seed)
    axes = role_named(witness.role).axes
    (size,) = _sizes(witness.role, [[witness.size.get(name, 0) for name in axes]] if axes else None)
    with _as_recorded(subject, witness) as recorded, isolated(witness.seed):
        trial = Trial(recorded, witness.role, (size,), seed=witness.seed)
        try:
            return entry.recheck(trial, size, witness.case)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(f"the witness's case does not fit the claim {entry.id!r}: {error!r}") from error
        finally:
            trial.restore_modes()
            subject.release()


@contextmanager
def _as_recorded(target: Target, witness: Witness) -> Iterator[Target]:
    """The target with its parameters overwritten as the witness records; what they held is written back at the end."""
    if witness.redraw is None:
        yield target
        return
    redraw = Redraw(int(witness.redraw["seed"]), float(witness.redraw["scale"]))
    kept: list[tuple[Tensor, Tensor]] = []

    def factory(*sizes: int, **settings: Any) -> Any:
        function = target.factory(*sizes, **settings)
        parameters = parameters_of(function)
        kept.extend((parameter, parameter.detach().clone()) for parameter in parameters)
        overwrite(parameters, redraw)
        return function

    vars(factory)["arrays"] = getattr(target.factory, "arrays", None)
    try:
        yield Target(target.name, factory, target.settings)
    finally:
        with torch.no_grad():
            for parameter, value in reversed(kept):
                parameter.copy_(value)


def _roles_of(entry: Claim) -> list[str]:
    return [role.name for role in ROLES.values() if any(name in role.family for name in entry.roles)]


def _refuse_bad_seed(seed: int) -> None:
    if not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed must be an integer from 0 to {LARGEST_SEED}, not {seed!r}")


def _refuse_bad_budget(examples: int, engine: str, parameters: str) -> None:
    if not isinstance(examples, int) or examples < 1:
        raise InputError(f"examples must be an integer of at least 1, not {examples!r}")
    for name, value, kind in (("engine", engine, Engine), ("parameters", parameters, Parameters)):
        if value not in get_args(kind):
            raise InputError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
    if engine == "hypothesis" and currently_in_test_context():
        raise InputError('check() runs hypothesis and was called inside a hypothesis test; pass engine="plain" there')


def _refuse_bad_limit(seconds: float) -> None:
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise InputError(f"time_limit must be a positive number of seconds, not {seconds!r}")


def _chosen_claims(role: str, wanted: Sequence[str] | None) -> tuple[Claim, ...]:
    available = claims_of(role)
    if wanted is None:
        return available
    if not wanted:
        raise InputError("name at least one claim to judge, or leave the claims out to judge all of the role's")
    for identifier in wanted:
        if identifier not in [entry.id for entry in available]:
            claim_named(identifier)
            raise InputError(f"the role {role!r} does not make the claim {identifier!r}")
    return tuple(entry for entry in available if entry.id in wanted)


def _announced(expected: Mapping[str, str] | None, chosen: Sequence[Claim]) -> dict[str, str]:
    announced = dict(expected or {})
    for identifier, reason in announced.items():
        if identifier not in [entry.id for entry in chosen]:
            raise InputError(f"a refutation of {identifier!r} is expected, but that claim is not among those judged")
        if not reason.strip():
            raise InputError(f"the expected refutation of {identifier!r} needs a reason")
    return announced


def _sizes(role: str, sizes: Sequence[Sequence[int]] | None) -> tuple[dict[str, int], ...]:
    names = role_named(role).axes
    if not names and sizes is not None:
        raise InputError(f"the role {role!r} has no sizes: leave them out")
    wanted = role_named(role).sizes if sizes is None else sizes
    if not isinstance(wanted, Sequence) or not all(isinstance(size, Sequence) for size in wanted):
        raise InputError(f"write sizes as pairs or triples, as in [(2, 3)]; got {wanted}")
    if not wanted:
        raise InputError("give at least one size to judge at")
    for size in wanted:
        if len(size) != len(names) or any(type(value) is not int or value < 1 for value in size):
            raise InputError(
                f"a size of the role {role!r} is {' x '.join(names)}, each an integer of at least 1; got {list(size)}"
            )
    return tuple(dict(zip(names, size, strict=True)) for size in wanted)


def _judge(entry: Claim, trial: Trial, before: Mapping[str, Verdict], time_limit: float) -> Verdict:
    start = perf_counter()
    spoiled = [
        identifier for identifier in entry.requires if identifier in before and before[identifier].outcome == "refuted"
    ]
    if spoiled:
        return Verdict(entry.id, "not_applicable", reason=f"{spoiled[0]} is refuted; mend that first.")
    try:
        with running(time_limit) as clock, isolated(_seed_of(entry, trial)):
            finding = entry.test(trial)
    except TargetError as error:
        return Verdict(entry.id, "error", seconds=perf_counter() - start, reason=str(error), details=error.details)
    except Interrupted:
        reason = f"nothing was decided after {2 * time_limit:g} s, twice the time limit; {_MORE_TIME}"
        return Verdict(entry.id, "error", seconds=perf_counter() - start, reason=reason)
    return _in_time(_verdict(entry, trial, finding, perf_counter() - start), clock)


_MORE_TIME = "mend the target, or raise the limit (time_limit, --time-limit, --spec-time-limit)"


def _in_time(verdict: Verdict, clock: Clock) -> Verdict:
    """Say in a verdict that its search was cut short."""
    if not clock.cut or verdict.outcome in ("proved", "not_applicable"):
        return verdict
    if verdict.outcome == "error":
        reason = f"only {verdict.examples} distinct inputs were tried when the time was up at {clock.limit:g} s"
        return replace(verdict, reason=f"{reason}; {_MORE_TIME}")
    if verdict.outcome == "refuted":
        words = f"the counterexample was not made smaller any more, cut at {clock.limit:g} s"
        return replace(verdict, reason=f"{verdict.reason}; {words}".removeprefix("; "))
    words = f"no counterexample in {verdict.examples}, cut at {clock.limit:g} s"
    return replace(verdict, method=f"{verdict.method}: {words}")


def _seed_of(entry: Claim, trial: Trial) -> int:
    """A seed of each claim's own, the same on every machine."""
    digest = hashlib.sha256(f"{trial.seed} {entry.id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _verdict(entry: Claim, trial: Trial, finding: Finding, seconds: float) -> Verdict:
    held = Verdict(
        entry.id,
        "holds",
        method=finding.method,
        scope=finding.scope,
        examples=finding.examples,
        seconds=seconds,
        reason=finding.reason,
    )
    found = finding.counterexample
    if found is not None:
        witness = Witness(
            trial.target.name,
            trial.role,
            entry.id,
            dict(trial.target.settings),
            dict(found.size),
            trial.seed,
            found.redraw,
            found.case,
            found.computed,
            found.required,
        )
        return replace(held, outcome="refuted", witness=witness)
    if finding.not_applicable is not None:
        return Verdict(entry.id, "not_applicable", seconds=seconds, reason=finding.not_applicable)
    if finding.proved:
        return replace(held, outcome="proved")
    if finding.examples < LEAST_EXAMPLES:
        reason = f"only {finding.examples} distinct inputs were tried; raise examples (now {trial.examples})"
        return Verdict(entry.id, "error", seconds=seconds, examples=finding.examples, reason=reason)
    return held


def _against_expectation(verdict: Verdict, announced: Mapping[str, str]) -> Verdict:
    reason = announced.get(verdict.claim_id)
    if reason is None or verdict.outcome == "error":
        return verdict
    if verdict.outcome == "refuted":
        return replace(verdict, expected=reason)
    surprise = f"a refutation was expected ({reason}), but the outcome is {verdict.outcome}; drop the expectation"
    return replace(verdict, outcome="error", reason=surprise)


def _nothing_applies(verdict: Verdict) -> Verdict:
    return Verdict(verdict.claim_id, "error", reason=f"no claim applies to this target: {verdict.reason}")


def _dtype(trial: Trial) -> str:
    if not role_named(trial.role).axes:
        return "float64"
    try:
        with isolated(trial.seed):
            subject = trial.build(trial.sizes[0])
    except TargetError:
        return "unknown"
    name = str(subject.precision).removeprefix("torch.")
    return f"{name} (numpy)" if subject.numpy else name


def _size_names(trial: Trial) -> tuple[str, ...]:
    return tuple(" ".join(f"{name}={value}" for name, value in size.items()) for size in trial.sizes if size)
