"""The claim about restart() of K parallel games: copies that have finished begin afresh, and the others go on.

A game need not have it: without, the training loop takes the finished copies' states from a reset() of all.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.dynamics import ALONE, COPIES, MOST_CHOICES, PETTINGZOO, compared
from marlspec.properties.play import (
    Batch,
    Record,
    Stream,
    difference,
    is_batched,
    kept,
    random_states,
    set_random_states,
)
from marlspec.properties.procedure import made_by
from marlspec.properties.trial import Trial

Array = NDArray[Any]

STEPS = 4  # of an episode before its restart, at most
BATCHES = 40  # that are restarted whole
SELDOM = 0.05  # a number that is the same in ALONE fresh copies is another one in fewer than this share of them


def _draw(trial: Trial) -> Any:
    game = made_by(trial)

    def draw(generator: np.random.Generator, k: int) -> Case:
        copies = int(generator.integers(2, 6))
        finished = generator.random(copies) < 0.5
        finished[:2] = generator.permutation([True, False])
        shape = (int(generator.integers(1, STEPS + 1)), copies, int(game.n_agents))
        return {
            "seed": int(generator.integers(MOST_CHOICES)),
            "choices": generator.integers(0, MOST_CHOICES, shape).tolist(),
            "finished": finished.tolist(),
        }

    return draw


def _smaller(case: Case) -> Iterator[Case]:
    """Shorter episodes, fewer copies, and first actions; one copy goes on."""
    for t in range(len(case["choices"])):
        yield {**case, "choices": case["choices"][:t] + case["choices"][t + 1 :]}
    finished = case["finished"]
    for k, own in enumerate(finished):
        if len(finished) > 2 and finished.count(own) > 1:
            choices = [row[:k] + row[k + 1 :] for row in case["choices"]]
            yield {**case, "choices": choices, "finished": finished[:k] + finished[k + 1 :]}
    if np.any(case["choices"]):
        yield {**case, "choices": np.zeros_like(case["choices"]).tolist()}
    if case["seed"]:
        yield {**case, "seed": 0}


def _played(batch: Batch, copies: int, choices: Any) -> Any:
    state = batch.reset(copies)
    for row in choices:
        state, _ = batch.step(state, batch.actions(state, row))
    return state


def _disturbed(batch: Batch, case: Case) -> Counterexample | None:
    """Whether a copy that has not finished is shown, or does at its next step, something else after the restart."""
    finished = np.array(case["finished"])
    going = np.flatnonzero(~finished)
    with Stream(case["seed"]).active():
        state = _played(batch, len(finished), case["choices"])
        after = batch.restart(kept(state), torch.from_numpy(finished))
        start, records = random_states(), []
        for own in (state, after):
            set_random_states(start)
            views = batch.views(own)
            records.append(
                {**batch.step(own, batch.actions(own, [[0] * batch.game.n_agents] * len(finished)))[1], **views}
            )
    for k in going:
        without, restarted = ({name: values[k] for name, values in record.items()} for record in records)
        found = difference(without, restarted)
        if found is not None:
            computed = f"of copy {k}, which has not finished, {found} after the restart of {np.flatnonzero(finished)}"
            return counterexample(case, computed, "the same")
    return None


def _stale(batch: Batch, trial: Trial, steps: int) -> Counterexample | None:
    """Whether restarted copies are not like fresh ones, each for itself.

    All take last actions before the restart, and first ones after it.
    """
    none = [[0] * batch.game.n_agents]
    case = {"seed": trial.seed % MOST_CHOICES, "batches": BATCHES, "steps": steps}
    fresh, again = [], []
    with Stream(case["seed"]).active():
        for _ in range(ALONE):
            fresh.append(_shown(batch, _played(batch, 1, [none] * steps)))
        for _ in range(BATCHES):
            state = _played(batch, COPIES, [[[-1] * batch.game.n_agents] * COPIES] * STEPS)
            state = batch.restart(state, torch.ones(COPIES, dtype=torch.bool))
            for _ in range(steps):
                state, _ = batch.step(state, batch.actions(state, none * COPIES))
            again.append(_shown(batch, state))
    for name in fresh[0]:
        one = np.stack([record[name] for record in fresh]).reshape(ALONE, -1)
        several = np.stack([record[name] for record in again]).reshape(BATCHES, COPIES, -1)
        for index in range(one.shape[1]):
            found = _unlike_fresh(one[:, index], several[:, :, index])
            if found is not None:
                when = "after restart" if not steps else f"{steps} steps after restart"
                return counterexample(case, f"{when}, {name}, entry {index}: {found}", "copies as after reset()")
    return None


def _shown(batch: Batch, state: Any) -> Record:
    return {name: values.astype(float) for name, values in batch.views(state).items()}


def _unlike_fresh(one: Array, several: Array) -> str | None:
    if np.ptp(one) == 0:
        share = float((several != one[0]).mean())
        return f"{one[0]:.6g} in fresh copies, and another number in {share:.0%} of them" if share > SELDOM else None
    return compared(one, several)


def _judged(trial: Trial, case: Case) -> Counterexample | None:
    batch = Batch(made_by(trial))
    return _stale(batch, trial, case["steps"]) if "steps" in case else _disturbed(batch, case)


@claim(
    "game.restart",
    "restart() lets the finished copies begin as a reset() would, each for itself, and leaves the others as they are.",
    roles=("game",),
    cite=PETTINGZOO,
    method="drawn episodes: what is shown of copies that go on, and their next step, exactly; 40 batches of 16 "
    "restarted copies against 300 fresh ones (false alarms below 10^-6)",
    recheck=lambda trial, size, case: _judged(trial, case),
    requires=("game.pure",),
)
def game_restart(trial: Trial) -> Finding:
    """Episodes of parallel copies end at different times."""
    game = made_by(trial)
    if not is_batched(game) or not hasattr(game, "restart"):
        return Finding(not_applicable="The game has no restart(): the training loop takes fresh copies from reset().")
    batch = Batch(game)
    method = "restarted copies beside others and fresh ones"
    finding = search(
        trial, _draw(trial), lambda case: _disturbed(batch, case), method=method, smaller=_smaller, key="game.restart"
    )
    if finding.counterexample is not None:
        return finding
    found = _stale(batch, trial, 0) or _stale(batch, trial, 1)
    return Finding(counterexample=found, method=method, scope="this game", examples=finding.examples)
