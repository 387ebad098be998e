"""Claims about learners: what one update on a given batch does, and where training ends on games with a known answer.

The judge makes the batches, so that it knows which entries are padding and which transitions are terminal. Gradients
are read as they arrive at the parameters, before any clipping, and once more where an optimiser of torch takes them up:
they show what enters an update more clearly than parameters do after an adaptive step. Two gradients of the same batch,
put together in another order, differ by rounding in float32; a fault differs by a share of the gradient itself.

A case holds a seed, from which learner and batches follow, and numbers of rows and updates.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from marlspec.properties.cases import Case, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.clock import is_up
from marlspec.properties.play import Stream
from marlspec.properties.procedure import array_of
from marlspec.properties.tensors import Snapshot, first_difference, largest, leaves, overwrite, parameters, snapshot
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]
Batch = dict[str, Array]
Judge = Callable[[Trial, Case], Counterexample | None]
Others = Callable[[Case, Batch], Iterator[tuple[str, Batch]]]

BOOK = "Albrecht et al. 2024, Algorithms 17 and 22: a loss over a mini-batch, minimised by gradient steps"
DEFAULTS = {"n_agents": 2, "n_actions": 3, "observation_size": 4, "state_size": 5, "longest": 4}
UPDATES = 8
UPDATES_AT_LEAST = 4  # of a case whose updates are counted one by one
ROWS = 8
OTHER = 1000  # what is added to a seed for other rows
LOUD = 1024.0  # rewards that make gradients long enough to be clipped
CLIPPED = 1.001  # norms are sums of squares in float32
SAME_GRADIENT, LEAST_GRADIENT = 1e-3, 1e-6  # relative to the largest entry, and absolute: rounding is far below
SOFT = 1e-5  # of the largest number: rounding of a soft update in float32, and far below a wrong share
GAMES, SEEDS = 4, 3
TOLERANCE = 0.1  # of the range of the payoffs


# --- batches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """What a learner declares: the sizes of a batch, and whether it holds transitions or episodes."""

    n_agents: int
    n_actions: int
    observation_size: int
    state_size: int
    longest: int
    episodes: bool
    common_reward: bool
    arrays: str


def _sizes(learner: "Learner") -> Sizes:
    numbers = {name: int(learner.said(name, default)) for name, default in DEFAULTS.items()}
    return Sizes(
        **numbers,
        episodes=learner.said("items", "transitions") == "episodes",
        common_reward=bool(learner.said("common_reward", True)),
        arrays=str(learner.said("arrays", "torch")),
    )


def _numbers(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (generator.integers(-32, 33, shape) / 32).astype(np.float32)


def batch_of(sizes: Sizes, seed: int, rows: int, ends: bool | None = None, full: bool = False) -> Batch:
    """Return a batch of random transitions [B, ..], or of episodes [B, T, ..] with the field `filled`.

    Args:
        sizes: as declared.
        seed: of all numbers.
        rows: B.
        ends: whether all transitions (an episode's last ones) are terminal, none is, or half of them are (None).
        full: whether all episodes are as long as they can be.
    """
    generator = np.random.default_rng(seed)
    n, A, o, z = sizes.n_agents, sizes.n_actions, sizes.observation_size, sizes.state_size
    lead = (rows, sizes.longest) if sizes.episodes else (rows,)
    observations, states = _numbers(generator, (2, *lead, n, o)), _numbers(generator, (2, *lead, z))
    rewards = _numbers(generator, (*lead, n))
    flags = generator.random(rows) < 0.5 if ends is None else np.full(rows, ends)
    batch: Batch = {
        "observations": observations[0],
        "state": states[0],
        "available": np.ones((*lead, n, A), dtype=bool),
        "actions": generator.integers(0, A, (*lead, n)),
        "rewards": np.repeat(rewards[..., :1], n, axis=-1) if sizes.common_reward else rewards,
        "next_observations": observations[1],
        "next_state": states[1],
        "next_available": np.ones((*lead, n, A), dtype=bool),
        "terminated": flags,
    }
    return _as_episodes(batch, generator, flags, full) if sizes.episodes else batch


def _as_episodes(batch: Batch, generator: np.random.Generator, flags: Array, full: bool) -> Batch:
    """Let each step lead to the next one, and fill a random length of each episode, or all of it."""
    rows, T = batch["rewards"].shape[:2]
    lengths = generator.integers(T if full else 1, T + 1, rows)
    lengths[0] = T
    last = np.arange(T) == lengths[:, None] - 1
    for name in ("observations", "state"):
        batch[f"next_{name}"][:, :-1] = batch[name][:, 1:]
    return {**batch, "terminated": last & flags[:, None], "filled": np.arange(T) < lengths[:, None]}


def _with_noise(batch: Batch, names: tuple[str, ...], where: Array, seed: int) -> Batch:
    """Other finite numbers in the named fields, in the entries marked by `where` of the leading axes."""
    generator = np.random.default_rng([seed, 1])
    changed = dict(batch)
    for name in names:
        values = batch[name]
        mask = where.reshape(*where.shape, *[1] * (values.ndim - where.ndim))
        other = (
            generator.integers(0, 3, values.shape)
            if values.dtype.kind == "i"
            else 4 * _numbers(generator, values.shape)
        )
        changed[name] = np.where(mask, other, values).astype(values.dtype)
    return changed


# --- a learner --------------------------------------------------------------------------------------------------------


@dataclass
class Learner:
    """What the factory returned.

    Attributes:
        made: the target's learner.
        factory: what made it.
    """

    made: Any
    factory: Any

    def said(self, name: str, default: Any) -> Any:
        """Return an attribute of the learner or the factory."""
        return getattr(self.made, name, getattr(self.factory, name, default))

    def online(self) -> Snapshot:
        """Return copies of all that is learned, by name."""
        return snapshot(self.made.online, "online")

    def target(self) -> Snapshot | None:
        """Return copies of the target network, or None where there is none."""
        return snapshot(self.made.target, "target") if getattr(self.made, "target", None) is not None else None

    def learn(self, batch: Batch) -> "Update":
        """Make one update on a batch; returns the gradients of it.

        Raises:
            TargetError: it raised, or wrote into the batch.
        """
        arrays = str(self.said("arrays", "torch"))
        handed = {
            name: torch.from_numpy(values.copy()) if arrays == "torch" else values.copy()
            for name, values in batch.items()
        }
        with _watched(self) as update, torch.enable_grad(), errors_of_target("as learn(batch)"):
            self.made.learn(handed)
        for name, values in batch.items():
            if not np.array_equal(np.asarray(handed[name]), values):
                raise TargetError(f"the learner wrote into {name} of its batch; work on a copy")
        return update


@dataclass
class Update:
    """The gradients of one update.

    Attributes:
        arrived: what backward brought to each parameter of the online network, by name.
        norms: the lengths of the whole gradients that torch's optimisers took up, one for each step.
    """

    arrived: dict[str, Array] = field(default_factory=dict)
    norms: list[float] = field(default_factory=list)


@contextmanager
def _watched(learner: Learner) -> Iterator[Update]:
    """Note the gradients that arrive, and those that any optimiser of torch takes up."""
    update = Update()

    def arriving(name: str) -> Callable[[torch.Tensor], None]:
        def note(gradient: torch.Tensor) -> None:
            values = gradient.detach().cpu().double().numpy()
            update.arrived[name] = update.arrived.get(name, 0.0) + values

        return note

    def taken(optimiser: Optimizer, arguments: Any, settings: Any) -> None:
        own = [parameter.grad for group in optimiser.param_groups for parameter in group["params"]]
        squares = [float(gradient.detach().double().square().sum()) for gradient in own if gradient is not None]
        update.norms.append(float(np.sqrt(sum(squares))))

    learned = parameters(learner.made.online, "online")
    hooks: list[Any] = [
        value.register_hook(arriving(name))  # type: ignore[no-untyped-call]
        for name, value in learned.items()
        if value.requires_grad
    ]
    hooks.append(register_optimizer_step_pre_hook(taken))
    try:
        yield update
    finally:
        for hook in hooks:
            hook.remove()


def _made(trial: Trial, seed: int) -> Learner:
    with Stream(seed).active(), errors_of_target("as factory()"):
        made = trial.target.factory(**trial.target.settings)
    for name in ("online", "learn"):
        if not hasattr(made, name):
            raise TargetError(
                f"the factory returned a {type(made).__name__} without {name}: give online and learn(batch)"
            )
    return Learner(made, trial.target.factory)


def _limits(trial: Trial) -> Learner:
    return _made(trial, 0)


def _seeded(judge: Judge) -> Judge:
    def judged(trial: Trial, case: Case) -> Counterexample | None:
        with Stream(case["seed"]).active():
            return judge(trial, case)

    return judged


def _draw(generator: np.random.Generator, k: int) -> dict[str, Any]:
    return {"seed": k, "rows": int(generator.integers(2, ROWS + 1))}


def _smaller(case: Case) -> Iterator[Case]:
    for name, least in (("updates", 1), ("before", 0), ("rows", 2), ("seed", 0)):
        for value in range(least, case.get(name, least)):
            if name != "seed" or value == 0:
                yield {**case, name: value}


def _searched(trial: Trial, judge: Judge, key: str, method: str, extra: Callable[..., Case] | None = None) -> Finding:
    def draw(generator: np.random.Generator, k: int) -> Case:
        return {**_draw(generator, k), **(extra(generator) if extra else {})}

    return search(trial, draw, lambda case: judge(trial, case), method=method, smaller=_smaller, key=key)


def _searched_by_updates(trial: Trial, judge: Judge, key: str, method: str, extra: Callable[..., Case]) -> Finding:
    """Judge cases of several updates each, every one on a batch of its own: these are the inputs that are counted."""
    made: dict[int, int] = {}

    def judged(trial: Trial, case: Case) -> Counterexample | None:
        made[case["seed"]] = case["updates"] + case.get("before", 0)
        return judge(trial, case)

    fewer = replace(trial, examples=-(-trial.examples // UPDATES_AT_LEAST))
    finding = _searched(fewer, judged, key, method, extra)
    return finding if finding.counterexample else replace(finding, examples=sum(made.values()))


def _recheck(judge: Judge) -> Callable[[Trial, Mapping[str, int], Case], Counterexample | None]:
    return lambda trial, size, case: judge(trial, case)


def _unalike(one: Update, other: Update) -> str | None:
    """Say where the gradients of two updates differ by more than rounding."""
    largest = max(
        float(np.abs(values).max(initial=0.0)) for update in (one, other) for values in update.arrived.values()
    )
    for name in one.arrived | other.arrived:
        first, second = (update.arrived.get(name, np.zeros(1)) for update in (one, other))
        first, second = np.broadcast_arrays(first, second)
        wrong = ~(np.abs(first - second) <= SAME_GRADIENT * largest + LEAST_GRADIENT)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"the gradient of {name}{list(at)} is {first[at]:.6g}, then {second[at]:.6g}"
    return None


def _first_update(trial: Trial) -> Update:
    return _first(trial, {"seed": 0}, batch_of(_sizes(_limits(trial)), 0, ROWS))


def _blind(trial: Trial) -> str | None:
    """Why gradients cannot be compared."""
    if _first_update(trial).arrived:
        return None
    return "No gradient of torch arrives at the online network: none can be compared."


# --- learner.moves ----------------------------------------------------------------------------------------------------


@_seeded
def _unmoved(trial: Trial, case: Case) -> Counterexample | None:
    learner = _made(trial, case["seed"])
    sizes, frozen = _sizes(learner), tuple(learner.said("frozen", ()))
    before = learner.online()
    still = [name for name, values in before.items() if name not in frozen and values.dtype.kind == "f"]
    kept = [name for name, leaf in leaves(learner.made.online, "online").items() if name in frozen and not leaf.buffer]
    for k in range(UPDATES):
        learner.learn(batch_of(sizes, 100 * case["seed"] + k, case["rows"]))
        after = learner.online()
        found = first_difference({name: after[name] for name in kept}, before)
        if found is not None:
            return counterexample(case, f"after update {k + 1} {found}", "a tensor named in frozen stays as it is")
        still = [name for name in still if np.array_equal(after[name], before[name])]
        if not still:
            return None
    computed = f"{still[0]} stays as it is over {UPDATES} updates on random batches"
    return counterexample(case, computed, "every tensor of the online network learns, but for those named in frozen")


@claim(
    "learner.moves",
    "Training moves every tensor of the online network, and none that is declared frozen: agents, critics and mixer "
    "are in the optimiser.",
    roles=("learner",),
    cite=f"{BOOK}; errata E3: the mixer's parameters are learned with the rest",
    method="up to 8 updates on random batches; every tensor before and after",
    recheck=_recheck(_unmoved),
)
def learner_moves(trial: Trial) -> Finding:
    """Nothing is left out of the optimiser."""
    return _searched(trial, _unmoved, "learner.moves", "updates on random batches")


# --- learner.target ---------------------------------------------------------------------------------------------------


@_seeded
def _target_moved(trial: Trial, case: Case) -> Counterexample | None:
    learner = _made(trial, case["seed"])
    sizes, interval, tau = _sizes(learner), learner.said("target_interval", None), learner.said("tau", None)
    for k in range(1, case["updates"] + 1):
        before = learner.target()
        learner.learn(batch_of(sizes, 100 * case["seed"] + k, case["rows"]))
        after, online = learner.target(), learner.online()
        assert before is not None
        assert after is not None
        if tau is not None:
            required = {name: (1 - tau) * before[name] + tau * online[name] for name in before}
            words, tolerance = f"moved by the share {tau} towards the online network", SOFT * largest(before, online)
        elif (k % interval == 0) if interval is not None else first_difference(after, online) is None:
            required, words, tolerance = online, "equal to the online network", 0.0
        else:
            required, words, tolerance = before, "as it was", 0.0
        found = first_difference(after, required, tolerance)
        if found is not None:
            return counterexample(case, f"after update {k}, of the target network {found}", words)
    return None


@claim(
    "learner.target",
    "Updates leave the target network alone, but for a sync after every target_interval updates, where that is "
    "declared, or the share tau of the way.",
    roles=("learner",),
    cite="Albrecht et al. 2024, Algorithm 17 (target networks); Mnih et al. 2015",
    method="up to 8 updates on random batches; every tensor after each",
    recheck=_recheck(_target_moved),
)
def learner_target(trial: Trial) -> Finding:
    """The clock of the target network."""
    if _limits(trial).target() is None:
        return Finding(not_applicable="The learner has no target network.")
    extra = lambda generator: {"updates": int(generator.integers(UPDATES_AT_LEAST, UPDATES + 1))}  # noqa: E731
    return _searched_by_updates(trial, _target_moved, "learner.target", "the target network after each update", extra)


# --- learner.clip -----------------------------------------------------------------------------------------------------


@_seeded
def _unclipped(trial: Trial, case: Case) -> Counterexample | None:
    learner = _made(trial, case["seed"])
    most = float(learner.said("clip", None))
    batch = batch_of(_sizes(learner), case["seed"], case["rows"])
    loud = {**batch, "rewards": batch["rewards"] * np.float32(LOUD)}
    longest = max(learner.learn(loud).norms, default=0.0)
    if longest <= most * CLIPPED:
        return None
    return counterexample(case, f"an optimiser takes up a gradient of length {longest:.6g}", f"at most {most:g}")


@claim(
    "learner.clip",
    "The gradient that an optimiser takes up, over all its parameters together, is no longer than the declared norm.",
    roles=("learner",),
    cite="Pascanu, Mikolov, Bengio 2013 (arXiv 1211.5063), Algorithm 1: the norm of the whole gradient",
    method="updates on batches with large rewards; gradients read at the optimiser's step",
    recheck=_recheck(_unclipped),
)
def learner_clip(trial: Trial) -> Finding:
    """Clipping covers all, before the step."""
    if _limits(trial).said("clip", None) is None:
        return Finding(not_applicable="The learner declares no clip.")
    if not _first_update(trial).norms:
        return Finding(not_applicable="No optimiser of torch makes a step in learn(): gradients cannot be read.")
    return _searched(trial, _unclipped, "learner.clip", "gradients at the optimiser's step")


# --- learner.padding, learner.terminal, learner.mean ------------------------------------------------------------------


def _first(trial: Trial, case: Case, batch: Batch, learner: Learner | None = None) -> Update:
    """The first update of a learner made from the case's seed, with the same random state every time."""
    with Stream(case["seed"]).active():
        return (learner or _made(trial, case["seed"])).learn(batch)


def _compared(trial: Trial, case: Case, others: Others) -> Counterexample | None:
    """Compare the update on the case's batch with the updates on batches that must lead to the same one."""
    learner = _made(trial, case["seed"])
    batch = batch_of(_sizes(learner), case["seed"], case["rows"])
    plain = _first(trial, case, batch, learner)
    for words, other in others(case, batch):
        found = _unalike(plain, _first(trial, case, other))
        if found is not None:
            return counterexample(case, f"{words}: {found}", "the same gradient")
    return None


EVERYTHING = ("observations", "state", "actions", "rewards", "next_observations", "next_state")
FOLLOWING = ("next_observations", "next_state")


def _other_padding(case: Case, batch: Batch) -> Iterator[tuple[str, Batch]]:
    yield "with other numbers in the padding", _with_noise(batch, EVERYTHING, ~batch["filled"], case["seed"])
    longer = {name: np.concatenate([values, np.zeros_like(values)], axis=1) for name, values in batch.items()}
    for name in ("available", "next_available"):
        longer[name][:] = True
    yield "with as many steps of padding again", longer


@_seeded
def _padded(trial: Trial, case: Case) -> Counterexample | None:
    return _compared(trial, case, _other_padding)


@claim(
    "learner.padding",
    "Padding counts for nothing: neither its numbers nor how much of it there is change the update.",
    roles=("learner",),
    cite=f"{BOOK}: the mean is over what was experienced",
    method="gradients of a batch with other padding, and with more of it, up to a thousandth of the largest entry",
    recheck=_recheck(_padded),
)
def learner_padding(trial: Trial) -> Finding:
    """The loss is averaged over valid entries alone."""
    if not _sizes(_limits(trial)).episodes:
        return Finding(not_applicable="The learner takes transitions, which have no padding.")
    reason = _blind(trial)
    if reason is not None:
        return Finding(not_applicable=reason)
    return _searched(trial, _padded, "learner.padding", "gradients with other padding")


def _other_future(case: Case, batch: Batch) -> Iterator[tuple[str, Batch]]:
    words = "with other observations and states after terminal transitions"
    yield words, _with_noise(batch, FOLLOWING, batch["terminated"], case["seed"])


@_seeded
def _past_the_end(trial: Trial, case: Case) -> Counterexample | None:
    return _compared(trial, case, _other_future)


@claim(
    "learner.terminal",
    "What follows a terminal transition does not enter the update.",
    roles=("learner",),
    cite="Albrecht et al. 2024, Algorithm 22: y = r where s' is terminal",
    method="gradients of a batch with other numbers after its terminal transitions, up to a thousandth of the largest "
    "entry",
    recheck=_recheck(_past_the_end),
)
def learner_terminal(trial: Trial) -> Finding:
    """No bootstrap past the end."""
    reason = _blind(trial)
    if reason is not None:
        return Finding(not_applicable=reason)
    return _searched(trial, _past_the_end, "learner.terminal", "gradients with another future")


def _same_rows(case: Case, batch: Batch) -> Iterator[tuple[str, Batch]]:
    turned = {name: values[::-1].copy() for name, values in batch.items()}
    yield "with the rows of the batch in the opposite order", turned
    twice = {name: np.concatenate([values, turned[name]]) for name, values in batch.items()}
    yield "with the rows of the batch twice over", twice


@_seeded
def _not_a_mean(trial: Trial, case: Case) -> Counterexample | None:
    return (
        _compared(trial, case, _same_rows) or _not_of_its_halves(trial, case) or _following_the_first_size(trial, case)
    )


def _following_the_first_size(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a second update depends on how many rows the first one had, which were the same ones twice over."""
    learners = [_made(trial, case["seed"]) for _ in range(2)]
    sizes = _sizes(learners[0])
    batch = batch_of(sizes, case["seed"], case["rows"])
    twice = {name: np.concatenate([values, values]) for name, values in batch.items()}
    following = batch_of(sizes, case["seed"] + OTHER, case["rows"])
    updates = []
    for learner, first in zip(learners, (batch, twice), strict=True):
        _first(trial, case, first, learner)
        updates.append(_first(trial, case, following, learner))
    found = _unalike(*updates)
    if found is None:
        return None
    words = "the second update after a first one on rows, and after one on these rows twice over"
    return counterexample(case, f"{words}: {found}", "the same gradient")


def _not_of_its_halves(trial: Trial, case: Case) -> Counterexample | None:
    """Whether the gradient of two batches together, of as many steps each, is another one than the mean of theirs."""
    sizes = _sizes(_made(trial, case["seed"]))
    one, other = (batch_of(sizes, seed, case["rows"], full=True) for seed in (case["seed"], case["seed"] + OTHER))
    other["rewards"] *= 8  # beside which the other rows' rewards are small
    together = {name: np.concatenate([values, other[name]]) for name, values in one.items()}
    first, second, both = (_first(trial, case, batch).arrived for batch in (one, other, together))
    mean = {name: np.asarray(first.get(name, 0.0) + second.get(name, 0.0)) / 2 for name in first | second}
    found = _unalike(Update(mean), Update(both))
    if found is None:
        return None
    return counterexample(case, f"the mean of two batches' gradients, then that of both together: {found}", "the same")


@claim(
    "learner.mean",
    "The loss is a mean over the batch: the order of its rows does not matter, nor does having all of them twice, and "
    "the gradient of two batches of as many steps together is the mean of theirs, whatever batches came before.",
    roles=("learner",),
    cite="Albrecht et al. 2024, Algorithm 22: L = 1/B sum (y - Q)^2",
    method="gradients of a batch, of its rows turned round, of all rows twice, together with other rows, and of a "
    "second batch after these, up to a thousandth of the largest entry",
    recheck=_recheck(_not_a_mean),
)
def learner_mean(trial: Trial) -> Finding:
    """Neither a sum, nor rows mixed up with each other."""
    if _limits(trial).said("reduction", "mean") != "mean":
        return Finding(not_applicable="The learner declares another reduction than the mean.")
    reason = _blind(trial)
    if reason is not None:
        return Finding(not_applicable=reason)
    return _searched(trial, _not_a_mean, "learner.mean", "gradients of the same rows in other batches")


# --- learner.bootstraps -----------------------------------------------------------------------------------------------


def _parts(holder: Any) -> list[tuple[str, Any]]:
    return list(holder.items()) if isinstance(holder, Mapping) else [("the target network", holder)]


@_seeded
def _unused(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a part of the target network may hold other numbers without a consequence."""
    plain_learner = _made(trial, case["seed"])
    parts = _parts(plain_learner.made.target)
    batch = batch_of(_sizes(plain_learner), case["seed"], case["rows"], ends=False)
    plain = _first(trial, case, batch, plain_learner)
    for k, (name, _) in enumerate(parts):
        learner = _made(trial, case["seed"])
        overwrite(_parts(learner.made.target)[k][1], "target", case["seed"], buffers=False)
        if _unalike(plain, _first(trial, case, batch, learner)) is None:
            computed = f"other numbers in {name} leave the update as it is"
            return counterexample(case, computed, "targets that are made with every part of the target network")
    return None


@claim(
    "learner.bootstraps",
    "Every part of the target network, the mixer included, makes the targets of transitions that go on.",
    roles=("learner",),
    cite="Albrecht et al. 2024, Algorithm 22; errata E3: the mixer has a target, too",
    method="gradients with other numbers written over one part of the target network",
    recheck=_recheck(_unused),
)
def learner_bootstraps(trial: Trial) -> Finding:
    """The target network is used, not only kept."""
    if _limits(trial).target() is None:
        return Finding(not_applicable="The learner has no target network.")
    reason = _blind(trial)
    if reason is not None:
        return Finding(not_applicable=reason)
    return _searched(trial, _unused, "learner.bootstraps", "gradients with another target network")


# --- learner.repeatable and learner.resume ----------------------------------------------------------------------------


def _trained(trial: Trial, case: Case, learner: Learner, first: int, updates: int) -> None:
    sizes = _sizes(learner)
    for k in range(first, first + updates):
        learner.learn(batch_of(sizes, 100 * case["seed"] + k, case["rows"]))


def _differing(one: Learner, other: Learner) -> str | None:
    pairs = [("online", one.online(), other.online()), ("target", one.target(), other.target())]
    for name, first, second in pairs:
        found = first_difference(first, second) if first is not None and second is not None else None
        if found is not None:
            return f"of the {name} network {found}"
    return None


@_seeded
def _changing(trial: Trial, case: Case) -> Counterexample | None:
    learners = []
    for _ in range(2):
        learner = _made(trial, case["seed"])
        with Stream(case["seed"]).active():
            _trained(trial, case, learner, 0, case["updates"])
        learners.append(learner)
    found = _differing(*learners)
    return None if found is None else counterexample(case, f"at the second time {found}", "the same bits")


@claim(
    "learner.repeatable",
    "The same learner on the same batches with the same random state ends at the same bits.",
    roles=("learner",),
    cite=f"{BOOK}: an update is a function of parameters and batch",
    method="two learners made alike, compared without tolerance",
    recheck=_recheck(_changing),
)
def learner_repeatable(trial: Trial) -> Finding:
    """No hidden state, no chance of its own."""
    extra = lambda generator: {"updates": int(generator.integers(UPDATES_AT_LEAST, 7))}  # noqa: E731
    return _searched_by_updates(trial, _changing, "learner.repeatable", "the same updates twice", extra)


@_seeded
def _forgetful(trial: Trial, case: Case) -> Counterexample | None:
    first, second = _made(trial, case["seed"]), _made(trial, case["seed"] + 1)
    _trained(trial, case, first, 0, case["before"])
    _trained(trial, case, second, 50, 1)
    file = io.BytesIO()
    with errors_of_target("as state_dict()"):
        torch.save(first.made.state_dict(), file)
    file.seek(0)
    with errors_of_target("as load_state_dict(state)"):
        second.made.load_state_dict(torch.load(file, weights_only=False))  # written above, by the target itself
    for learner in (first, second):
        with Stream(case["seed"]).active():
            _trained(trial, case, learner, case["before"], case["updates"])
    found = _differing(second, first)
    if found is None:
        return None
    return counterexample(case, f"after loading and going on {found}", "the same bits as without a stop")


@claim(
    "learner.resume",
    "Saved, loaded into another learner and trained on, it ends at the same bits as without a stop.",
    roles=("learner",),
    cite=f"{BOOK}: parameters, target network, optimiser and counters are the learner's state",
    method="updates, a round trip through a file into a learner that has learned something else, and further updates",
    recheck=_recheck(_forgetful),
    requires=("learner.repeatable",),
)
def learner_resume(trial: Trial) -> Finding:
    """The state holds all that the future depends on."""
    if not callable(getattr(_limits(trial).made, "state_dict", None)):
        return Finding(not_applicable="The learner has no state_dict().")
    extra = lambda generator: {"before": int(generator.integers(0, 5)), "updates": UPDATES_AT_LEAST}  # noqa: E731
    return _searched_by_updates(trial, _forgetful, "learner.resume", "updates before and after loading", extra)


# --- learner.tiny -----------------------------------------------------------------------------------------------------


def _game(represents: str, k: int) -> Array:
    """A common-reward game of two agents with three actions each that the learner can represent."""
    generator = np.random.default_rng([k, 17])
    own = np.sort(generator.integers(0, 9, (2, 3)) / 2, axis=1)
    payoffs: Array = own[0][:, None] + own[1][None]
    if represents == "monotone":
        payoffs = payoffs + own[0][:, None] * own[1][None] / 2
    if represents == "all":
        payoffs = generator.integers(-8, 9, (3, 3)) / 2
    return payoffs


def _errors(trial: Trial, case: Case) -> tuple[Array, Array, list[Array]]:
    """The payoffs, and the learned values of each seed."""
    payoffs = np.array(case["payoffs"])
    learned = []
    for seed in range(SEEDS):
        with Stream(seed).active():
            learner = _made(trial, seed)
            with torch.enable_grad(), errors_of_target(f"as solve(payoffs, {seed})"):
                answer = learner.made.solve(payoffs.copy(), seed)
        learned.append(array_of(answer, payoffs.shape, "what solve() returns"))
    return payoffs, np.array([np.abs(values - payoffs).max() for values in learned]), learned


def _missed(trial: Trial, case: Case) -> Counterexample | None:
    payoffs, errors, learned = _errors(trial, case)
    allowed = float(_limits(trial).said("tolerance", TOLERANCE)) * max(float(np.ptp(payoffs)), 1.0)
    if (errors <= allowed).sum() * 2 > SEEDS:
        return None
    worst = np.round(learned[int(np.argmax(errors))], 3).tolist()
    computed = f"off by {np.round(errors, 3).tolist()} with {SEEDS} seeds; once the values are {worst}"
    return counterexample(case, computed, f"the payoffs, up to {allowed:.3g}, with most seeds")


@claim(
    "learner.tiny",
    "On games of one step that it can represent the learner ends at the payoffs, with most seeds.",
    roles=("learner",),
    cite="VDN (arXiv 1706.05296) is exact where payoffs are additive, QMIX (arXiv 1803.11485) where they are monotone",
    method="4 games of 3 by 3 joint actions, 3 seeds each; a game is missed where 2 of them are off by more than a "
    "tenth of the range (or the declared share)",
    recheck=lambda trial, size, case: _missed(trial, case),
)
def learner_tiny(trial: Trial) -> Finding:
    """Training as a whole."""
    learner = _limits(trial)
    if not callable(getattr(learner.made, "solve", None)):
        return Finding(not_applicable="The learner has no solve(payoffs, seed).")
    method = f"{GAMES} games, {SEEDS} seeds each"
    inputs = 0
    for k in range(GAMES):
        if is_up():
            break
        case = {"payoffs": _game(str(learner.said("represents", "additive")), k).tolist()}
        inputs += SEEDS * np.size(case["payoffs"])
        found = _missed(trial, case)
        if found is not None:
            return Finding(counterexample=found, method=method, scope="this target", examples=inputs)
    return Finding(method=method, scope="this target", examples=inputs)
