"""Claims about games: K copies in parallel (marlspec.games.batched), or a PettingZoo ParallelEnv.

Episodes are played from a seed and from choices among the legal actions (play.py); a claim counts every step as one
input. A batched game draws from torch's default generator, which is seeded before reset(); a ParallelEnv is seeded by
reset(seed=..) alone, whatever the global generators do. Truncation is not termination: what is asked of a copy after
its end is asked where it terminated; a ParallelEnv's agents leave either way.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice, zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, shrunk
from marlspec.properties.claims import LEAST_EXAMPLES, Counterexample, Finding, claim
from marlspec.properties.clock import is_up
from marlspec.properties.play import (
    LENGTHS,
    Batch,
    Record,
    Stream,
    Turn,
    batched_run,
    difference,
    is_batched,
    kept,
    parallel_run,
    random_states,
    set_random_states,
    state_record,
)
from marlspec.properties.procedure import made_by
from marlspec.properties.trial import TargetError, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
Test = Callable[[Case], Counterexample | None]
Judge = Callable[[Any, Case], Counterexample | None]
Recheck = Callable[[Trial, Size, Case], Counterexample | None]

DEFINITION = "Albrecht et al. 2024, chapter 3 (stochastic games, POSGs)"
PETTINGZOO = "PettingZoo's ParallelEnv (arXiv 2009.14471) and the protocol BatchedGame of marlspec.games.batched"
SHORT, LONG, LONGEST = 8, 37, 113  # steps of an episode; primes, as a clock that reset() forgets may run in tens
MOST_CHOICES = 1000
SEEDS = 12  # in all of which chance is tried
MOST_TRIES = 150  # while a counterexample is made smaller
MOST_JOINT_ACTIONS = 16
ROUNDING = 1e-4  # one copy against many in single precision, after some steps


# --- cases ------------------------------------------------------------------------------------------------------------


def _agents(game: Any, batched: bool) -> int:
    return int(game.n_agents) if batched else len(game.possible_agents)


def _draw(generator: np.random.Generator, game: Any, batched: bool, steps: int) -> dict[str, Any]:
    """Draw an episode's seed and choices [T][n], for a batched game [T][K][n]."""
    n = _agents(game, batched)
    # A seed of 0 is taken for none by some.
    case: dict[str, Any] = {"seed": int(generator.integers(MOST_CHOICES)) if generator.random() < 0.9 else 0}
    if batched:
        case["copies"] = int(generator.integers(1, 5))
    shape = (case["copies"], n) if batched else (n,)
    choices = generator.integers(0, MOST_CHOICES, (steps, *shape))
    if generator.random() < 0.25:  # everyone keeps to one choice, which leads far
        choices[:] = generator.integers(-3, 3, shape)
    return {**case, "choices": choices.tolist()}


def _smaller() -> Callable[[Case], Iterator[Case]]:
    """Shorter episodes, fewer copies, first or last actions, and seed 0: MOST_TRIES altogether, as steps take time."""
    tries = 0

    def smaller(case: Case) -> Iterator[Case]:
        nonlocal tries
        for candidate in _candidates(case):
            if candidate != case and tries < MOST_TRIES:
                tries += 1
                yield candidate

    return smaller


def _candidates(case: Case) -> Iterator[Case]:
    choices = case["choices"]
    for length in sorted({*(len(choices) * k // 4 for k in range(4)), len(choices) - 1}):
        if 0 <= length < len(choices):
            yield {**case, "choices": choices[:length]}
    if len(choices) > 1:
        yield {**case, "choices": choices[1:]}
    yield from _fewer_copies(case)
    array = np.array(choices)
    for constant in (0, -1):  # always the first legal action, always the last one
        if (array > 0).any() or (constant == 0 and array.any()):
            constants = np.full_like(array, constant).tolist()
            yield {**case, "choices": constants}
            if (array[:-1] > 0).any():
                yield {**case, "choices": [*constants[:-1], choices[-1]]}
    if (array >= 4).any():
        yield {**case, "choices": (array % 4).tolist()}
    for t in range(len(choices)) if len(choices) <= SHORT else ():
        yield {**case, "choices": choices[:t] + choices[t + 1 :]}
        if array[t].any():
            yield {**case, "choices": [*choices[:t], np.zeros_like(array[t]).tolist(), *choices[t + 1 :]]}
    if case["seed"]:
        yield {**case, "seed": 0}


def _fewer_copies(case: Case) -> Iterator[Case]:
    """One copy left out, never the one that is looked at."""
    copies = case.get("copies", 1)
    own = case.get("copy")
    for k in range(copies) if copies > 1 else ():
        if k != own:
            choices = [[*row[:k], *row[k + 1 :]] for row in case["choices"]]
            smaller = {**case, "copies": copies - 1, "choices": choices}
            kept_copy = {} if own is None else {"copy": own - (own > k)}
            yield from ({**smaller, **kept_copy, "seed": seed} for seed in (case["seed"], 0, 1, 2))


def _search(
    test: Test,
    afresh: Test,
    trial: Trial,
    *,
    key: str,
    method: str,
    draw: Callable[[np.random.Generator, int], Case],
    episodes: int,
) -> Finding:
    """Play drawn episodes up to the first counterexample, and make that smaller; each step counts as an input.

    Args:
        test: on a game that has been played before.
        afresh: on a game that is made for this test. What fails there, too, is made smaller there; what does not, as it
            needs the episodes before, is reported if nothing else is found.
        trial: the seed.
        key: keeps the draws of one claim apart from those of another with the same seed.
        method: as in a verdict.
        draw: makes the k-th case.
        episodes: how many there are, or more where episodes are so short that a verdict would lack inputs.
    """
    generator = np.random.default_rng([trial.seed, *key.encode()])
    inputs = 0
    unconfirmed: Counterexample | None = None
    for k in count():
        if (k >= episodes and not inputs < LEAST_EXAMPLES <= trial.examples) or is_up():
            break
        case = draw(generator, k)
        LENGTHS.clear()
        found = test(case)
        inputs += LENGTHS[0] if LENGTHS else (1 + len(case["choices"])) * case.get("copies", 1)
        again = None if found is None else afresh(case)
        if again is not None:
            smallest = shrunk(case, again, afresh, _smaller())
            return Finding(counterexample=smallest, method=method, scope="this game", examples=inputs)
        unconfirmed = unconfirmed or found
    return Finding(counterexample=unconfirmed, method=method, scope="this game", examples=inputs)


def _episodes(trial: Trial, game: Any, test: Test, recheck: Recheck, key: str, method: str) -> Finding:
    """Play many short episodes and some long ones."""
    batched = is_batched(game)

    def draw(generator: np.random.Generator, k: int) -> Case:
        steps = LONG if k % 10 == 9 else int(generator.integers(1, SHORT + 1))
        return _draw(generator, game, batched, steps)

    episodes = max(1, trial.examples // 4)
    afresh: Test = lambda case: recheck(trial, {}, case)  # noqa: E731
    return _search(test, afresh, trial, key=key, method=method, draw=draw, episodes=episodes)


def _either(batched: Callable[[Batch, Case], Counterexample | None], parallel: Callable[[Any, Case], Any]) -> Judge:
    """Judge an episode of a game of either kind; the global generators of a batched one start from the case's seed."""

    def judge(game: Any, case: Case) -> Counterexample | None:
        if not is_batched(game):
            found: Counterexample | None = parallel(game, case)
            return found
        with Stream(case["seed"]).active():
            return batched(Batch(game), case)

    return judge


def _recheck(judge: Judge) -> Recheck:
    return lambda trial, size, case: judge(made_by(trial), case)


def _each_step(trial: Trial, judge: Judge, key: str) -> Finding:
    """Judge episodes of one game that is made once."""
    game = made_by(trial)
    return _episodes(
        trial, game, lambda case: judge(game, case), _recheck(judge), key, "episodes of drawn legal actions"
    )


# --- game.seed --------------------------------------------------------------------------------------------------------


def _stream(batched: bool, case: Case, global_seed: int) -> Stream:
    """A batched game goes by the case's seed; a ParallelEnv is told it, and the global generators start elsewhere."""
    return Stream(case["seed"] if batched else global_seed)


def _run(game: Any, batched: bool, case: Case) -> Iterator[Record]:
    if batched:
        yield from batched_run(Batch(game), case)
    else:
        yield from (turn.record() for turn in parallel_run(game, case))


def _whole(game: Any, case: Case, global_seed: int) -> list[Record]:
    """An episode's records, from one go."""
    batched = is_batched(game)
    with _stream(batched, case, global_seed).active():
        return list(_run(game, batched, case))


def _stepwise(game: Any, batched: bool, case: Case, stream: Stream) -> Iterator[Record]:
    """An episode's records, the global generators being those of a stream at each of its steps."""
    run = _run(game, batched, case)
    while True:
        with stream.active():
            record = next(run, None)
        if record is None:
            return
        yield record


def _unlike(games: tuple[Any, Any, Any], case: Case) -> Counterexample | None:
    """Whether an episode comes out otherwise when another instance plays it, with a third one playing in between.

    The first instance also plays it twice.
    """
    batched = is_batched(games[0])
    alone = _whole(games[0], case, 1)
    other = {**case, "seed": case["seed"] + 1, "choices": (np.array(case["choices"]) + 1).tolist()}
    # Two ParallelEnvs have the global generators in common, which neither may lean on.
    streams = (_stream(batched, case, 2), _stream(batched, other, 3))
    between = _stepwise(games[2], batched, other, streams[batched])
    beside = []
    for record in _stepwise(games[1], batched, case, streams[0]):
        beside.append(record)
        next(between, None)
    runs = (("in another instance, with a third one playing in between", beside),)
    again = (("when played once more", _whole(games[0], case, 2)),)
    nothing: Record = {}
    for words, second in (*again, *runs):
        for t, (one, two) in enumerate(zip_longest(alone, second, fillvalue=nothing)):
            found = difference(one, two)
            if found is not None:
                return counterexample(case, f"{_when(t)} {found} {words}", "the same episode")
    return None


def _when(t: int) -> str:
    return "after reset:" if t == 0 else f"after step {t}:"


def _three(trial: Trial) -> tuple[Any, Any, Any]:
    """Three instances.

    Raises:
        TargetError: the factory hands out the same ParallelEnv again.
    """
    games = made_by(trial), made_by(trial), made_by(trial)
    if not is_batched(games[0]) and len({id(game) for game in games}) < len(games):
        raise TargetError("the factory returned the same environment again: make a new one at each call")
    return games


def _recheck_seed(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    return _deaf_to_seeds(made_by(trial)) if "seeds" in case else _unlike(_three(trial), case)


@claim(
    "game.seed",
    "The same seed and the same actions give the same episode, in any instance, whatever others do in between.",
    roles=("game",),
    cite=PETTINGZOO,
    method="each episode twice in one instance, and in another one with a third one playing in between",
    recheck=_recheck_seed,
)
def game_seed(trial: Trial) -> Finding:
    """Seeds reproduce, and instances share nothing."""
    games = _three(trial)
    method = "episodes played again, and beside another one"
    finding = _episodes(trial, games[0], lambda case: _unlike(games, case), _recheck_seed, "game.seed", method)
    if finding.counterexample is None and not is_batched(games[0]):
        return replace(finding, counterexample=_deaf_to_seeds(made_by(trial)))
    return finding


def _deaf_to_seeds(env: Any) -> Counterexample | None:
    """Whether a ParallelEnv in which chance decides gives one and the same episode for all seeds."""
    choices = [[k % 7] * _agents(env, False) for k in range(SHORT)]
    seeded, unseeded = (
        [[turn.record() for turn in parallel_run(env, {"seed": seed, "choices": choices})] for seed in seeds]
        for seeds in (range(1, SEEDS + 1), [None] * SEEDS)
    )
    if not _all_alike(seeded) or _all_alike(unseeded):
        return None
    case = {"seeds": list(range(1, SEEDS + 1)), "choices": choices}
    computed = f"the same episode for all {SEEDS} seeds, and others where no seed is given"
    return counterexample(case, computed, "episodes that differ between seeds, as chance decides")


def _all_alike(runs: Sequence[Sequence[Record]]) -> bool:
    nothing: Record = {}
    return all(
        difference(one, two) is None
        for other in runs[1:]
        for one, two in zip_longest(runs[0], other, fillvalue=nothing)
    )


# --- game.finite ------------------------------------------------------------------------------------------------------


def _first_infinite(record: Record) -> str | None:
    for name, values in record.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            index = tuple(int(k) for k in np.argwhere(~np.isfinite(values))[0]) if values.ndim else ()
            return f"{name}{list(index) if index else ''} is {values[index]}"
    return None


def _infinite_batched(batch: Batch, case: Case) -> Counterexample | None:
    for t, record in enumerate(batched_run(batch, case)):
        found = _first_infinite(record)
        if found is not None:
            return counterexample(case, f"{_when(t)} {found}", "finite numbers")
    return None


def _infinite_parallel(env: Any, case: Case) -> Counterexample | None:
    for t, turn in enumerate(parallel_run(env, case)):
        found = _first_infinite(turn.record())
        if found is not None:
            return counterexample(case, f"{_when(t)} {found}", "finite numbers")
    return None


_infinite = _either(_infinite_batched, _infinite_parallel)


@claim(
    "game.finite",
    "Rewards and observations are finite numbers after legal actions.",
    roles=("game",),
    cite=f"{DEFINITION}: rewards are real numbers",
    method="all numbers of drawn episodes",
    recheck=_recheck(_infinite),
)
def game_finite(trial: Trial) -> Finding:
    """No NaN and no infinity."""
    return _each_step(trial, _infinite, "game.finite")


# --- game.spaces ------------------------------------------------------------------------------------------------------


def _outside_batched(batch: Batch, case: Case) -> Counterexample | None:
    """Whether observations have the declared sizes, and all agents the same reward where that is declared."""
    game = batch.game
    declared = {
        "observe": (case["copies"], game.n_agents, game.observation_size),
        "centralized": (case["copies"], game.state_size),
    }
    counts = np.array(getattr(game, "action_counts", [game.n_actions] * game.n_agents))
    beyond = np.arange(game.n_actions) >= counts[:, None]
    for t, record in enumerate(batched_run(batch, case)):
        for name, leaf in state_record(batch.latest).items():
            if leaf.dtype.kind in "biuf" and leaf.shape[:1] != (case["copies"],):
                computed = f"{_when(t)} {name} has shape {list(leaf.shape)} for {case['copies']} copies"
                return counterexample(case, computed, "a first axis of copies in all tensors of the state")
        extra = np.argwhere((record["available"] != 0) & beyond)
        if len(extra):
            k, i, a = (int(index) for index in extra[0])
            computed = (
                f"{_when(t)} agent {i} of copy {k} may take action {a}, and has {counts[i]} actions by action_counts"
            )
            return counterexample(case, computed, "no available action beyond those that are declared")
        for name, shape in declared.items():
            if record[name].shape != shape or record[name].dtype.kind != "f":
                computed = f"{_when(t)} {name} has shape {list(record[name].shape)} and type {record[name].dtype}"
                return counterexample(case, computed, f"floating-point numbers of shape {list(shape)}, as declared")
        rewards = record.get("rewards")
        if rewards is not None and game.common_reward and not (rewards == rewards[:, :1])[~np.isnan(rewards)].all():
            k = int(np.flatnonzero((rewards != rewards[:, :1]).any(axis=1))[0])
            computed = f"{_when(t)} the agents of copy {k} receive {rewards[k].tolist()}"
            return counterexample(case, computed, "the same reward for all agents, as common_reward says")
    return None


def _outside_parallel(env: Any, case: Case) -> Counterexample | None:
    for t, turn in enumerate(parallel_run(env, case)):
        found = _misfit(env, turn, t)
        if found is not None:
            return counterexample(case, f"{_when(t)} {found[0]}", found[1])
    return None


_outside = _either(_outside_batched, _outside_parallel)


def _misfit(env: Any, turn: Turn, t: int) -> tuple[str, str] | None:
    """What does not fit the declared agents and spaces, and what would."""
    strangers = [agent for agent in turn.after if agent not in env.possible_agents]
    if strangers:
        return f"agent {strangers[0]!r} takes part", f"agents among possible_agents, {list(env.possible_agents)}"
    names = ("rewards", "terminations", "truncations", "observations", "infos") if t else ("observations", "infos")
    for name in names:
        answers = getattr(turn, name)
        given = {
            agent for agent in answers if agent in env.possible_agents
        }  # other keys, such as "common", may be there
        if not set(turn.before) <= given <= {*turn.before, *turn.after}:
            return f"{name} are given for {_listed(given)}", f"for the agents that took part, {_listed(turn.before)}"
    for agent in turn.before:
        for name in ("observation_space", "action_space"):
            if getattr(env, name)(agent) is not getattr(env, name)(agent):
                return f"{name}({agent!r}) is another object at each call", "the same space, which may be seeded"
    if turn.state is not None and not env.state_space.contains(turn.state):
        return f"state() is {_in_words(turn.state)}", f"an element of {env.state_space}"
    for agent in sorted(turn.before, key=str):
        found = _misfit_of(env, turn, agent, bool(t))
        if found is not None:
            return found
    return None


def _misfit_of(env: Any, turn: Turn, agent: Any, stepped: bool) -> tuple[str, str] | None:
    observation, space = turn.observations[agent], env.observation_space(agent)
    if not space.contains(observation):
        return f"the observation of {agent!r} is {_in_words(observation)}", f"an element of {space}"
    if not stepped:
        return None
    reward = turn.rewards[agent]
    if np.shape(reward) != () or np.asarray(reward).dtype.kind not in "iuf":
        return f"the reward of {agent!r} is {_in_words(reward)}", "a number"
    for name in ("terminations", "truncations"):
        flag = getattr(turn, name)[agent]
        if np.shape(flag) != () or np.asarray(flag).dtype.kind not in "biu" or int(flag) not in (0, 1):
            return f"the {name[:-1]} of {agent!r} is {_in_words(flag)}", "True or False"
    return None


def _listed(agents: Any) -> str:
    return f"[{', '.join(sorted(map(str, agents)))}]"


def _in_words(value: Any) -> str:
    array = np.asarray(value)
    text = str(array.tolist()) if array.size <= 8 else f"an array of shape {list(array.shape)} in {_range(array)}"
    return f"{text} of type {array.dtype if isinstance(value, (np.ndarray, np.generic)) else type(value).__name__}"


def _range(array: Array) -> str:
    return f"[{array.min()}, {array.max()}]" if array.dtype.kind in "iufb" else "other kinds"


@claim(
    "game.spaces",
    "Observations lie in the declared spaces or have the declared sizes; rewards and flags are given for exactly the "
    "agents that take part, and are the same for all where a common reward is declared.",
    roles=("game",),
    cite=PETTINGZOO,
    method="every answer of drawn episodes",
    recheck=_recheck(_outside),
)
def game_spaces(trial: Trial) -> Finding:
    """What is declared is what comes."""
    return _each_step(trial, _outside, "game.spaces")


# --- game.mask --------------------------------------------------------------------------------------------------------


def _unmasked_batched(batch: Batch, case: Case) -> Counterexample | None:
    """Whether a copy that goes on has agents without a legal action, or a legal joint action that is not accepted."""
    state = batch.reset(case["copies"])
    over = np.zeros(case["copies"], dtype=bool)
    for t, row in enumerate([*case["choices"], None]):
        legal = batch.legal(state, case["copies"])
        stuck = ~legal.any(axis=-1) & ~over[:, None]
        if stuck.any():
            k, i = (int(index) for index in np.argwhere(stuck)[0])
            return counterexample(case, f"{_when(t)} agent {i} of copy {k} has no legal action", "at least one")
        ends = t in (0, len(case["choices"]))
        refused = _refused(batch, state, legal, over) if ends else None
        if refused is not None:
            return counterexample(case, f"{_when(t)} {refused}", "finite rewards after actions that are available")
        if row is not None:
            state, record = batch.step(state, batch.actions(state, row))
            over |= record["terminated"] | record["truncated"]
    return None


def _refused(batch: Batch, state: Any, legal: Array, over: Array) -> str | None:
    """Try the legal joint actions of each copy, all of them where there are few; tell which pays no finite reward."""
    counts = legal.sum(axis=-1).prod(axis=-1)
    for j in range(int(min(MOST_JOINT_ACTIONS, counts.max()))):
        choices = [_joint_choice(own, j) for own in legal]
        actions = batch.actions(state, choices)
        _, record = batch.step(kept(state), actions)
        bad = ~np.isfinite(record["rewards"]).all(axis=-1) & ~over
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            return f"the available joint action {actions[k].tolist()} in copy {k} pays {record['rewards'][k].tolist()}"
    return None


def _joint_choice(legal: Array, j: int) -> list[int]:
    """The j-th joint action of a copy, as choices among the legal actions [n, A]."""
    choice = []
    for number in legal.sum(axis=-1):
        choice.append(int(j % max(number, 1)))
        j //= max(int(number), 1)
    return choice


def _unmasked_parallel(env: Any, case: Case) -> Counterexample | None:
    """Whether a live agent's mask leaves nothing, has another length than its space, or is no mask."""
    for t, turn in enumerate(parallel_run(env, case)):
        for agent in turn.after:
            mask, space = turn.mask(agent), env.action_space(agent)
            if mask is None or type(space).__name__ != "Discrete":
                continue
            if mask.shape != (space.n,) or not np.isin(mask, (0, 1)).all():
                computed = f"{_when(t)} the mask of {agent!r} is {mask.tolist()}"
                return counterexample(case, computed, f"{space.n} entries of 0 and 1, one for each action")
            if not mask.any():
                return counterexample(case, f"{_when(t)} {agent!r} has no legal action", "at least one")
    return None


_unmasked = _either(_unmasked_batched, _unmasked_parallel)


@claim(
    "game.mask",
    "Every agent that takes part has a legal action, and step() accepts the actions that the mask allows.",
    roles=("game",),
    cite=PETTINGZOO,
    method="masks along drawn episodes; for a batched game up to 16 legal joint actions at the start and the end",
    recheck=_recheck(_unmasked),
)
def game_mask(trial: Trial) -> Finding:
    """What is called legal is legal."""
    game = made_by(trial)
    if not is_batched(game) and not _says_masks(game):
        return Finding(not_applicable="The environment gives no action masks: every action of its spaces is legal.")
    return _each_step(trial, _unmasked, "game.mask")


def _says_masks(env: Any) -> bool:
    (turn,) = islice(parallel_run(env, {"seed": 0, "choices": []}), 1)
    return any(turn.mask(agent) is not None for agent in turn.after)


# --- game.terminal ----------------------------------------------------------------------------------------------------


def _revived(batch: Batch, case: Case, ended: list[bool]) -> Counterexample | None:
    """Whether a copy that terminated is reported to go on, or pays; notes in `ended` whether any terminated."""
    over = np.zeros(case["copies"], dtype=bool)
    for t, record in enumerate(islice(batched_run(batch, case), 1, None), start=1):
        alive = over & ~record["terminated"]
        if alive.any():
            k = int(np.flatnonzero(alive)[0])
            computed = f"{_when(t)} copy {k}, which terminated before, is not terminated"
            return counterexample(case, computed, "a copy that terminated stays terminated")
        paid = over & (record["rewards"] != 0).any(axis=-1)
        if paid.any():
            k = int(np.flatnonzero(paid)[0])
            computed = f"{_when(t)} copy {k}, which terminated before, pays {record['rewards'][k].tolist()}"
            return counterexample(case, computed, "reward 0 after the end")
        over |= record["terminated"]
        ended.append(bool(over.any()))
    return None


def _lingering(env: Any, case: Case, ended: list[bool]) -> Counterexample | None:
    """Whether agents that are done stay or return, or others leave; notes in `ended` whether any was done."""
    gone: set[Any] = set()
    for t, turn in enumerate(islice(parallel_run(env, case), 1, None), start=1):
        done = {
            agent for agent in turn.before if turn.terminations.get(agent, False) or turn.truncations.get(agent, False)
        }
        gone |= done
        ended.append(bool(done))
        back = [agent for agent in turn.after if agent in gone]
        if back:
            words = "is done and stays" if back[0] in done else "was done before and is back"
            return counterexample(case, f"{_when(t)} {back[0]!r} {words} in agents", "agents that are done leave")
        lost = [agent for agent in turn.before if agent not in turn.after and agent not in done]
        if lost:
            computed = f"{_when(t)} {lost[0]!r} has left, neither terminated nor truncated"
            return counterexample(case, computed, "agents stay until they are terminated or truncated")
    return None


def _judged_end(game: Any, case: Case, ended: list[bool]) -> Counterexample | None:
    if not is_batched(game):
        return _lingering(game, case, ended)
    with Stream(case["seed"]).active():
        return _revived(Batch(game), case, ended)


@claim(
    "game.terminal",
    "The end is final: a copy that terminated stays so and pays 0; agents of a ParallelEnv that are terminated or "
    "truncated leave for good, and no others do.",
    roles=("game",),
    cite=f"{DEFINITION}: terminal states are absorbing; {PETTINGZOO}",
    method="drawn episodes of up to 113 steps",
    recheck=lambda trial, size, case: _judged_end(made_by(trial), case, []),
)
def game_terminal(trial: Trial) -> Finding:
    """Nothing after the end."""
    game = made_by(trial)
    batched = is_batched(game)
    ended: list[bool] = []

    def draw(generator: np.random.Generator, k: int) -> Case:
        return _draw(generator, game, batched, SHORT if k % 4 else LONGEST)

    episodes = max(4, trial.examples // 10)
    finding = _search(
        lambda case: _judged_end(game, case, ended),
        lambda case: _judged_end(made_by(trial), case, []),
        trial,
        key="game.terminal",
        method="drawn episodes",
        draw=draw,
        episodes=episodes,
    )
    if finding.counterexample is None and not any(ended):
        what = "copy terminated" if batched else "agent was terminated or truncated"
        return Finding(not_applicable=f"No {what} within {LONGEST} steps of {episodes} episodes.")
    return finding


# --- game.pure --------------------------------------------------------------------------------------------------------


def _impure(batch: Batch, case: Case) -> Counterexample | None:
    """Whether a step writes into the state that it is given, or comes out otherwise when it is made again later."""
    with Stream(case["seed"]).active():
        state = batch.reset(case["copies"])
        steps: list[Any] = []
        given = batch.given
        answered: Record = {}
        for t, row in enumerate(case["choices"], start=1):
            before, seen, random_before = kept(state), batch.views(state), random_states()
            actions = batch.actions(state, row)
            handed = actions.clone()
            following, record = batch.step(state, handed)
            written = difference(state_record(before), state_record(state))
            if written is not None:
                return counterexample(case, f"step {t} writes into the state: {written}", "the state stays as it was")
            if not torch.equal(handed, actions):
                return counterexample(case, f"step {t} writes into the actions", "the actions stay as they were")
            if steps and difference(answered, batch.record(given, case["copies"])) is not None:
                computed = f"step {t} writes into the rewards or flags that step {t - 1} returned"
                return counterexample(case, computed, "what was returned stays as it was")
            given, answered = batch.given, record
            steps.append((t, state, actions, random_before, seen, {**record, **state_record(following)}))
            state = following
        found = _made_again(batch, case, steps, "")
        if found is None:
            batch.reset(case["copies"] + 1)
            found = _made_again(batch, case, steps, f" after a reset of {case['copies'] + 1} copies")
    return found


def _made_again(batch: Batch, case: Case, steps: Sequence[Any], when: str) -> Counterexample | None:
    for t, state, actions, random_before, seen, record in reversed(steps):
        set_random_states(random_before)
        following, again = batch.step(state, actions.clone())
        found = difference(record, {**again, **state_record(following)}) or difference(seen, batch.views(state))
        if found is not None:
            computed = f"step {t}, made again from the same state with the same random state{when}: {found}"
            return counterexample(case, computed, "the same answer")
    return None


def _rewritten(env: Any, case: Case) -> Counterexample | None:
    """Whether a step of a ParallelEnv writes into the observations, masks or state that were returned before it."""
    before: dict[str, Any] = {}
    given: Mapping[str, Any] = {}
    for t, turn in enumerate(parallel_run(env, case)):
        for name, value in before.items():
            written = difference(state_record({name: value}), state_record({name: given[name]}))
            if written is not None:
                computed = f"step {t} writes into {name} that were returned before: {written}"
                return counterexample(case, computed, "what was returned stays as it was")
        given, before = turn.given, copy.deepcopy(dict(turn.given))
    return None


def _recheck_pure(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    game = made_by(trial)
    return _impure(Batch(game), case) if is_batched(game) else _rewritten(game, case)


@claim(
    "game.pure",
    "step() is a function of state, actions and random state: it writes nothing, and made again it gives the same. "
    "What a ParallelEnv has returned stays as it was.",
    roles=("game",),
    cite=PETTINGZOO,
    method="every step of drawn episodes made twice, the second time after the episode's end; of a ParallelEnv, "
    "observations, masks and state before and after the next step",
    recheck=_recheck_pure,
)
def game_pure(trial: Trial) -> Finding:
    """States are values, and so is what was returned."""
    game = made_by(trial)
    if not is_batched(game):
        method = "what was returned, before and after the next step"
        return _episodes(trial, game, lambda case: _rewritten(game, case), _recheck_pure, "game.pure", method)
    batch = Batch(game)
    method = "every step made twice"
    return _episodes(trial, game, lambda case: _impure(batch, case), _recheck_pure, "game.pure", method)


# --- game.copies ------------------------------------------------------------------------------------------------------


def _of_copy(record: Record, k: int) -> Record:
    return {name: values[k : k + 1] for name, values in record.items()}


def _batch_records(batch: Batch, case: Case, stream: Stream) -> list[Record]:
    with stream.active():
        return list(batched_run(batch, case))


def _meddled(batch: Batch, case: Case) -> Counterexample | None:
    """Whether a copy goes otherwise when the others act otherwise, or by itself where the game has no chance."""
    k = case["copy"]
    stream = Stream(case["seed"])
    start = stream.copy()
    together = _batch_records(batch, case, stream)
    others = [[own if j == k else [c + 1 for c in own] for j, own in enumerate(row)] for row in case["choices"]]
    runs = [("when the other copies act otherwise", {**case, "choices": others}, k, 0.0)]
    if stream.same(start):  # no random number was drawn
        alone = {**case, "copies": 1, "choices": [[row[k]] for row in case["choices"]]}
        runs.append(("when it is played by itself", alone, 0, ROUNDING))
    for words, other, own, tolerance in runs:
        for t, (one, two) in enumerate(zip(together, _batch_records(batch, other, start.copy()), strict=True)):
            found = difference(_of_copy(one, k), _of_copy(two, own), tolerance)
            if found is not None:
                return counterexample(case, f"{_when(t)} of copy {k} {found} {words}", f"the same in copy {k}")
    return None


RUNS, COPIES, ALONE = 150, 16, 300  # batches, copies in each, and single copies that are compared with them
SPREAD = 6.0  # standard deviations: an honest game exceeds that in one of 10^8 comparisons at most


def _dependent(batch: Batch, case: Case) -> Counterexample | None:
    """Whether many copies with the same actions come out as single ones do, each for itself.

    Each number that the game shows (of observation, state or reward) is split at its mean over single copies. The share
    above it must be the same in batches, and must not go together in copies that stand 1, 2, .. places apart.
    """
    single = _finals(batch, case, 1, ALONE, case["seed"])
    many = _finals(batch, case, COPIES, RUNS, case["seed"] + ALONE)
    names = [name for name in single if single[name].dtype.kind in "fb"]
    for name in names:
        one, several = single[name].reshape(ALONE, -1).astype(float), many[name].reshape(RUNS, COPIES, -1).astype(float)
        for index in range(one.shape[1]):
            found = compared(one[:, index], several[:, :, index])
            if found is not None:
                computed = f"after {len(case['choices'])} steps with the same actions, {name}, entry {index}: {found}"
                return counterexample(case, computed, "copies that are independent, and alike single ones")
    return None


def _finals(batch: Batch, case: Case, copies: int, runs: int, seed: int) -> dict[str, Array]:
    """The last records of runs in which all copies take the same actions, [runs, copies, ..] each."""
    lasts = []
    with Stream(seed).active():
        for _ in range(runs):
            state = batch.reset(copies)
            record: Record = {}
            for row in case["choices"]:
                state, record = batch.step(state, batch.actions(state, [list(row)] * copies))
            lasts.append({**record, **batch.views(state)})
    return {name: np.stack([last[name] for last in lasts]) for name in lasts[0]}


def compared(one: Array, several: Array) -> str | None:
    """Say in words how a number of single copies [runs] differs from that of copies in batches [runs, K]."""
    middle = one.mean()
    above, together = one > middle, several > middle
    share, in_batches = above.mean(), together.mean()
    pooled = (above.sum() + together.sum()) / (above.size + together.size)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / above.size + 1 / together.size))
    if not 0.1 <= share <= 0.9:
        return None
    if abs(share - in_batches) > SPREAD * deviation:
        return f"above {middle:.4g} in {share:.0%} of single copies, and in {in_batches:.0%} of copies in batches"
    standard = (together - in_batches) / np.sqrt(in_batches * (1 - in_batches))
    for lag in range(1, COPIES // 2 + 1):
        products = standard[:, lag:] * standard[:, :-lag]
        if abs(products.sum()) > SPREAD * np.sqrt(products.size):
            return f"above {middle:.4g} in copies {lag} apart with correlation {products.mean():.2g}"
    return None


def _recheck_copies(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    batch = Batch(made_by(trial))
    return _meddled(batch, case) if "copy" in case else _dependent(batch, case)


@claim(
    "game.copies",
    "Copies do not touch each other: one goes on the same whatever the others do, as it would by itself, and chance "
    "falls on each by itself.",
    roles=("game",),
    cite=PETTINGZOO,
    method="a copy's episode with the others acting otherwise, with the same random state; without chance against the "
    "copy by itself, exactly; with chance 150 batches of 16 against 300 single copies (false alarms below 10^-6)",
    recheck=_recheck_copies,
    requires=("game.seed", "game.pure"),
)
def game_copies(trial: Trial) -> Finding:
    """K copies do what K single ones do."""
    game = made_by(trial)
    if not is_batched(game):
        return Finding(not_applicable="A ParallelEnv is one copy.")
    batch = Batch(game)

    def draw(generator: np.random.Generator, k: int) -> Case:
        case = _draw(generator, game, True, LONG if k % 10 == 9 else int(generator.integers(1, SHORT + 1)))
        if case["copies"] == 1:
            case = {**case, "copies": 2, "choices": [[*row, *row] for row in case["choices"]]}
        return {**case, "copy": int(generator.integers(case["copies"]))}

    finding = _search(
        lambda case: _meddled(batch, case),
        lambda case: _meddled(Batch(made_by(trial)), case),
        trial,
        key="game.copies",
        method="copies beside others and by themselves",
        draw=draw,
        episodes=max(1, trial.examples // 4),
    )
    if finding.counterexample is not None or not _draws_numbers(batch):
        return finding
    for steps, choice in ((0, 0), (1, -1), (2, 0)):
        case = {"seed": trial.seed % MOST_CHOICES, "runs": RUNS, "choices": [[choice] * game.n_agents] * steps}
        found = _dependent(batch, case)
        if found is not None:
            return Finding(counterexample=found, method="batches against single copies", scope="this game",
                           examples=finding.examples)  # fmt: skip
    return finding


def _draws_numbers(batch: Batch) -> bool:
    """Whether the game takes random numbers within its first steps."""
    stream = Stream(0)
    start = stream.copy()
    case = {"copies": 2, "choices": [[[0] * batch.game.n_agents] * 2] * 3}
    _batch_records(batch, case, stream)
    return not stream.same(start)
