"""Claims about replay buffers: a buffer goes through a list of operations, beside a model of it.

The model is a list of all items that were added, each with a tag of its own from which every number of it follows: so
whatever is sampled can be traced to the item that it came from, field by field and agent by agent. An item is a
transition, or an episode where the buffer says so. All numbers are short dyadic ones, which float32 holds exactly, and
none is zero in observations and rewards: a slot that was never written is told apart from all items.

A case holds a capacity, a number of agents, a seed of the global generators and operations: ["add", K] adds K
transitions at once (or one episode of K steps), ["sample", B] draws batches of B several times.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import chdtrc

from marlspec.properties.cases import Case, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.play import Stream
from marlspec.properties.procedure import array_of
from marlspec.properties.trial import TargetError, Trial, errors_of_target

Array = NDArray[Any]
Judge = Callable[[Trial, Case], Counterexample | None]
Recheck = Callable[[Trial, Mapping[str, int], Case], Counterexample | None]

BOOK = "Albrecht et al. 2024, Algorithm 17 (replay buffer D); Lin 1992; Mnih et al. 2015"
FIELDS = ("observations", "actions", "rewards", "next_observations", "terminated")
DRAWS = 8  # batches that one operation "sample" draws
MOST_CAPACITY, MOST_AGENTS, MOST_OPERATIONS = 7, 3, 8
LONGEST = 4  # steps of an episode, unless the factory declares another number
PER_ITEM = 30  # draws for each item: an item that is drawn as often as others is missed with probability e^-30
MANY = 2_000  # draws where frequencies are compared
RARE = 1e-10  # false alarms of one comparison of frequencies
OTHER = 1_000  # tags of a second buffer


# --- items ------------------------------------------------------------------------------------------------------------


def _observations(tags: Array, agents: int) -> Array:
    """Observations [K, n, 2], all different: tag plus sixteenths that tell agent and entry."""
    own = np.arange(1, 2 * agents + 1).reshape(agents, 2) / 16
    return (np.asarray(tags)[:, None, None] + own).astype(np.float32)


def _ends(tags: Array) -> Array:
    """Which transitions are terminal: a quarter of them, at no regular distance."""
    ends: Array = (np.asarray(tags, dtype=np.int64) * 2654435761 >> 9) % 4 == 0
    return ends


def transitions(first: int, K: int, agents: int, episode: bool = False) -> dict[str, Array]:
    """Return the fields of K transitions with tags from the first on, each with a leading axis [K].

    A transition that is not terminal leads to the observations of the next tag, as in an episode.
    """
    return {name: values.copy() for name, values in _transitions(first, K, agents, episode).items()}


@cache
def _transitions(first: int, K: int, agents: int, episode: bool) -> dict[str, Array]:
    array = np.arange(first, first + K)
    ends = _ends(array)
    if episode:
        ends[:-1] = False
    following = np.where(
        ends[:, None, None], _observations(array, agents) + np.float32(0.5), _observations(array + 1, agents)
    )
    number = np.arange(agents)
    rewards = -2.0 * array[:, None] - number / 4 - 0.125
    rewards[array % 4 == 3] = 0.0  # as most rewards are, and padding is
    return {
        "observations": _observations(array, agents),
        "actions": (3 * array[:, None] + array[:, None] // 5 + number) % 5,
        "rewards": rewards.astype(np.float32),
        "next_observations": following.astype(np.float32),
        "terminated": ends,
    }


@cache
def _shapes(agents: int) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in example(agents).items()}


def example(agents: int) -> dict[str, Array]:
    """Return one transition without the leading axis, from which a buffer takes shapes and types."""
    return {name: values[0] for name, values in transitions(1, 1, agents).items()}


# --- a buffer and its model -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declared:
    """What a buffer's factory, or the buffer, says about itself; see the roles' documentation."""

    items: str
    replacement: bool | None
    eviction: str
    sampling: str
    copies: bool
    at_once: int
    longest: int
    arrays: str

    @staticmethod
    def of(factory: Any, buffer: Any) -> "Declared":
        """Read the attributes.

        Raises:
            TargetError: one has a value that means nothing.
        """

        def said(name: str, default: Any, *others: Any) -> Any:
            value = getattr(buffer, name, getattr(factory, name, default))
            if isinstance(default, str) and not isinstance(value, str):
                return default  # a container or a method of the buffer's own that happens to have this name
            if others and value not in (default, *others):
                raise TargetError(f"{name} = {value!r} says nothing: write one of {(default, *others)}")
            return value

        return Declared(
            said("items", "transitions", "episodes"),
            said("replacement", None, True, False),
            said("eviction", "oldest", "any"),
            said("sampling", "uniform", "other"),
            said("copies", True, False),
            int(said("at_once", MOST_CAPACITY)),
            int(said("longest", LONGEST)),
            said("arrays", "numpy", "torch"),
        )

    @property
    def episodes(self) -> bool:
        """Whether an item is an episode."""
        return self.items == "episodes"


@dataclass
class Buffer:
    """A target's buffer, and the model beside it: all items that were added, the oldest first.

    Attributes:
        made: what the factory returned.
        declared: what it says about itself.
        capacity, agents: as it was made.
        next_tag: of the next transition.
        starts, lengths: each item's first tag and number of transitions.
        known: each field of all items, [items, ..], or [items, T, ..] padded with zeros for episodes.
    """

    made: Any
    declared: Declared
    capacity: int
    agents: int
    next_tag: int = 1
    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    known: dict[str, Array] = field(default_factory=dict)

    @property
    def oldest(self) -> int:
        """Number of the oldest item that may be sampled; 0 where the eviction is not by age."""
        return len(self.starts) - self.count if self.declared.eviction == "oldest" else 0

    @property
    def count(self) -> int:
        """How many items are stored."""
        return min(len(self.starts), self.capacity)

    def add(self, K: int) -> dict[str, Any]:
        """Add K transitions, or one episode of K steps; returns the arrays that were handed over."""
        tags = range(self.next_tag, self.next_tag + K)
        self.next_tag += K
        fields = transitions(tags[0], K, self.agents, self.declared.episodes)
        for name, values in fields.items():
            items = self._padded(values)[None] if self.declared.episodes else values.astype(np.float64)
            self.known[name] = np.concatenate([self.known[name], items]) if name in self.known else items
        self.starts.extend(tags[:1] if self.declared.episodes else tags)
        self.lengths.extend([K] if self.declared.episodes else [1] * K)
        torch_arrays = self.declared.arrays == "torch"
        handed = {name: torch.from_numpy(values) if torch_arrays else values for name, values in fields.items()}
        with torch.no_grad(), errors_of_target(f"as add() with {K} {'steps' if self.declared.episodes else 'rows'}"):
            self.made.add(handed)
        return handed

    def _padded(self, values: Array) -> Array:
        room = np.zeros((self.declared.longest, *values.shape[1:]))
        room[: len(values)] = values
        return room

    def draw(self, B: int) -> Any:
        """Return what sample(B) returns."""
        with torch.no_grad(), errors_of_target(f"as sample({B}) with {self.count} stored"):
            return self.made.sample(B)

    def length(self) -> int:
        """Return len(buffer)."""
        with errors_of_target("as len(buffer)"):
            return len(self.made)

    @staticmethod
    def rows(drawn: Any) -> int:
        """Return how many rows a sampled batch has.

        Raises:
            TargetError: it is no mapping with observations.
        """
        try:
            return len(drawn["observations"])
        except Exception as error:
            raise TargetError(f"sample() must return a mapping with observations: {error!r}") from error

    def fields(self, drawn: Any, B: int) -> dict[str, Array]:
        """Return a sampled batch as arrays [B, ..], or [B, T, ..] with the field `filled` for episodes.

        Raises:
            TargetError: fields are missing or have other shapes.
        """
        names = (*FIELDS, "filled") if self.declared.episodes else FIELDS
        try:
            given = {name: drawn[name] for name in names}
        except Exception as error:
            raise TargetError(f"sample() must return a mapping with {', '.join(names)}: {error!r}") from error
        shapes = _shapes(self.agents)
        if not self.declared.episodes:
            return {name: array_of(given[name], (B, *shape), name) for name, shape in shapes.items()}
        steps = self._steps(given["filled"])
        arrays = {name: array_of(given[name], (B, steps, *shape), name) for name, shape in shapes.items()}
        return {**arrays, "filled": array_of(given["filled"], (B, steps), "filled")}

    def _steps(self, filled: Any) -> int:
        with errors_of_target("as sample()"):
            shape = np.shape(filled)
        if len(shape) != 2:
            raise TargetError("filled must be an array [B, T], 1 where a step is real")
        return int(shape[1])

    def items(self, fields: Mapping[str, Array]) -> Array:
        """Return the number of the item that each row's first observation belongs to; -1 where it belongs to none."""
        first = fields["observations"].reshape(len(fields["rewards"]), -1)[:, 0] - 1 / 16
        starts = np.array(self.starts)
        number = np.searchsorted(starts, first).clip(max=len(starts) - 1)
        return np.where(starts[number] == first, number, -1)

    def strange(self, fields: Mapping[str, Array]) -> str | None:
        """Say what is wrong with a batch of which a row is none of the items ever added, else return None."""
        items = self.items(fields)
        if (items < 0).any():
            first = fields["observations"][items < 0].ravel()[0]
            return f"a row begins with observation {first:.9g}, which was never added"
        real = None
        if self.declared.episodes:
            real = fields["filled"] != 0
            wanted = np.arange(real.shape[1]) < np.array(self.lengths)[items, None]
            if not np.array_equal(real, wanted) or real.shape[1] < np.array(self.lengths)[items].max():
                row = int(np.argmax((real != wanted).any(1)))
                steps = self.lengths[items[row]]
                return f"an episode of {steps} steps has filled = {fields['filled'][row].astype(int).tolist()}"
        return self._changed(fields, items, real)

    def _changed(self, fields: Mapping[str, Array], items: Array, real: Array | None) -> str | None:
        """Say which number of which item is not what was added."""
        for name in FIELDS:
            had = self.known[name][items]
            steps = min(had.shape[1], fields[name].shape[1]) if real is not None else None
            found, had = (fields[name], had) if real is None else (fields[name][:, :steps], had[:, :steps])
            differs = found != had
            if real is not None:
                differs &= real[:, :steps].reshape(*real[:, :steps].shape, *[1] * (had.ndim - 2))
            if differs.any():
                at = tuple(int(k) for k in np.argwhere(differs)[0])
                return (
                    f"the item with observation {fields['observations'][at[0]].ravel()[0]:.9g} has "
                    f"{name}{list(at[1:]) or ''} {found[at]:.9g}, and had {had[at]:.9g} when it was added"
                )
        return None


def _made(trial: Trial, case: Case, tag: int = 1) -> Buffer:
    """A fresh buffer."""
    with errors_of_target("as factory(capacity, example)"):
        made = trial.target.factory(
            case["capacity"], _handed_example(trial.target.factory, case["agents"]), **trial.target.settings
        )
    for name in ("add", "sample", "__len__"):
        if not hasattr(made, name):
            raise TargetError(f"the factory returned a {type(made).__name__} without {name}: a replay buffer has "
                              "add(transitions), sample(batch_size) and a length")  # fmt: skip
    return Buffer(made, Declared.of(trial.target.factory, made), case["capacity"], case["agents"], tag)


def _handed_example(factory: Any, agents: int) -> dict[str, Any]:
    """One transition in the arrays that the factory declares."""
    arrays = example(agents)
    if getattr(factory, "arrays", "numpy") != "torch":
        return arrays
    return {name: torch.as_tensor(values) for name, values in arrays.items()}


def _seeded(judge: Judge) -> Judge:
    """Let the global generators start from the case's seed, and give the caller's states back."""

    def judged(trial: Trial, case: Case) -> Counterexample | None:
        with Stream(case["seed"]).active():
            return judge(trial, case)

    return judged


def _sampled(buffer: Buffer, B: int, draws: int = DRAWS) -> dict[str, Array]:
    """Draw batches of B several times; all their rows as one batch."""
    batches = [buffer.fields(buffer.draw(B), B) for _ in range(draws)]
    if buffer.declared.episodes:
        steps = max(batch["filled"].shape[1] for batch in batches)
        batches = [{name: _lengthened(values, steps) for name, values in batch.items()} for batch in batches]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _lengthened(values: Array, steps: int) -> Array:
    room = np.zeros((len(values), steps, *values.shape[2:]))
    room[:, : values.shape[1]] = values
    return room


def _operations(buffer: Buffer, case: Case) -> Iterator[tuple[str, dict[str, Array]]]:
    """Carry the operations out; yields what is sampled, and in words when that was."""
    for k, (name, number) in enumerate(case["operations"], start=1):
        if name == "add":
            buffer.add(number)
        elif buffer.count:
            yield f"operation {k}", _sampled(buffer, _affordable(buffer, number))


def _affordable(buffer: Buffer, B: int) -> int:
    """A batch size that a buffer without replacement can serve as well."""
    return min(B, buffer.count)


# --- cases ------------------------------------------------------------------------------------------------------------


def _limits(trial: Trial) -> Declared:
    """What a small buffer of the target declares, before any case is drawn."""
    with Stream(0).active():
        return _made(trial, {"capacity": 2, "agents": 1}).declared


def _draw(generator: np.random.Generator, declared: Declared, samples: bool = True) -> dict[str, Any]:
    """Draw a capacity, and operations that fill it in part, exactly, or several times over."""
    capacity = int(generator.integers(1, MOST_CAPACITY + 1))
    largest = declared.longest if declared.episodes else min(capacity, declared.at_once)
    operations: list[list[Any]] = []
    for _ in range(int(generator.integers(1, MOST_OPERATIONS + 1))):
        operations.append(["add", int(generator.integers(1, largest + 1))])
        if samples and generator.random() < 0.5:
            operations.append(["sample", int(generator.integers(1, capacity + 1))])
    if samples:
        operations.append(["sample", capacity])
    return {
        "capacity": capacity,
        "agents": int(generator.integers(1, MOST_AGENTS + 1)),
        "operations": operations,
        "seed": int(generator.integers(100)),
    }


def _smaller(case: Case) -> Iterator[Case]:
    """Fewer draws, fewer operations, smaller numbers in them, a smaller buffer, fewer agents."""
    operations = case["operations"]
    if "draws" in case:
        yield {name: value for name, value in case.items() if name != "draws"}
    for k in range(len(operations)):
        if len(operations) > 1:
            yield {**case, "operations": operations[:k] + operations[k + 1 :]}
    if case["agents"] > 1:
        yield {**case, "agents": case["agents"] - 1}
    for capacity in range(1, case["capacity"]):
        yield {**case, "capacity": capacity, "operations": [[name, min(K, capacity)] for name, K in operations]}
    for k, (name, number) in enumerate(operations):
        for other in range(1, number):
            yield {**case, "operations": [*operations[:k], [name, other], *operations[k + 1 :]]}
    if case["seed"]:
        yield {**case, "seed": 0}


def _searched(
    trial: Trial,
    judge: Judge,
    key: str,
    method: str,
    samples: bool = True,
    extra: Any = None,
    always: Sequence[Case] = (),
) -> Finding:
    """Judge some cases always, and drawn ones; `extra` adds entries to each of these."""
    declared = _limits(trial)

    def draw(generator: np.random.Generator, k: int) -> Case:
        case = _draw(generator, declared, samples)
        return case if extra is None else {**case, **extra(generator, case)}

    test: Callable[[Case], Counterexample | None] = lambda case: judge(trial, case)  # noqa: E731
    return search(trial, draw, test, method=method, smaller=_smaller, always=always, key=key)


def _recheck(judge: Judge) -> Recheck:
    return lambda trial, size, case: judge(trial, case)


# --- replay.whole -----------------------------------------------------------------------------------------------------


@_seeded
def _torn(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a sampled row is no item that was added."""
    buffer = _made(trial, case)
    for when, batch in _operations(buffer, case):
        found = buffer.strange(batch)
        if found is not None:
            return counterexample(case, f"{when}: {found}", "items as they were added, whole")
    return None


@claim(
    "replay.whole",
    "Every sampled row is one item that was added: all fields and all agents of it, its terminal flag included.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: D holds transitions, one for all agents",
    method="drawn operations; every number of every sampled row against what was added, without tolerance",
    recheck=_recheck(_torn),
)
def replay_whole(trial: Trial) -> Finding:
    """Alignment across fields and agents."""
    return _searched(trial, _torn, "replay.whole", "operations beside a model, number by number")


# --- replay.model -----------------------------------------------------------------------------------------------------


@_seeded
def _unlike_model(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a row is an item that has been dropped, or the length is not the number of items stored."""
    buffer = _made(trial, case)
    for when, batch in _operations(buffer, case):
        earliest = int(buffer.items(batch).min())
        if 0 <= earliest < buffer.oldest:
            computed = f"{when}: a row is the item that was added as number {earliest + 1} of {len(buffer.starts)}"
            return counterexample(case, computed, f"one of the latest {case['capacity']}")
    if buffer.length() != buffer.count:
        computed = f"len() is {buffer.length()} after {len(buffer.starts)} items"
        return counterexample(case, computed, f"{buffer.count} at a capacity of {case['capacity']}")
    return None


@claim(
    "replay.model",
    "What is sampled is stored: the latest `capacity` items (any of those added where that is declared), and len() "
    "says how many there are.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: the oldest are removed when D is full",
    method="drawn operations, partly filled, full and wrapped around, against a list of all items",
    recheck=_recheck(_unlike_model),
    requires=("replay.whole",),
)
def replay_model(trial: Trial) -> Finding:
    """The ring at its ends, and many times round it."""
    watched = {k for power in (128, 256) for k in range(power - 1, power + 3)}  # where a byte may end
    operations = [step for k in range(260) for step in ([["add", 1], ["sample", 5]] if k in watched else [["add", 1]])]
    often = {"capacity": 5, "agents": 1, "operations": operations, "seed": 0}
    return _searched(trial, _unlike_model, "replay.model", "operations beside a model", always=[often])


# --- replay.coverage --------------------------------------------------------------------------------------------------


@_seeded
def _uncovered(trial: Trial, case: Case) -> Counterexample | None:
    """Whether an item that is stored is never drawn, or the items are drawn in unequal shares."""
    buffer = _made(trial, case)
    for _, number in case["operations"]:
        buffer.add(number)
    B = _affordable(buffer, case["batch"])
    draws = case.get("draws", PER_ITEM * buffer.count)
    items = buffer.items(_sampled(buffer, B, draws=-(-draws // B)))
    counts = np.bincount(items[items >= 0], minlength=len(buffer.starts))
    return _uneven(case, counts[counts > 0] if buffer.oldest == 0 else counts[buffer.oldest :], buffer.count)


def _uneven(case: Case, counts: Array, m: int) -> Counterexample | None:
    """Whether the counts of what is drawn leave out one of m stored items, or are not those of equal chances."""
    drawn, total = int((counts > 0).sum()), int(counts.sum())
    if drawn < m:
        computed = f"of {m} stored items {m - drawn} never come up in {total} draws"
        return counterexample(case, computed, "every stored item is drawn now and then")
    if drawn > m:
        return None  # replay.model speaks of it
    if m > 1 and not _by_chance(counts):
        computed = f"the {m} stored items come up {counts.tolist()} times"
        return counterexample(case, computed, "equal shares, up to chance")
    return None


@claim(
    "replay.coverage",
    "Every stored item can be drawn, and all are drawn equally often.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: mini-batches are drawn uniformly at random",
    method="30 draws for each item, in three buffers 2,000 in all: items never drawn, and a chi-square test of the "
    "counts (false alarms below 10^-7 in all)",
    recheck=_recheck(_uncovered),
    requires=("replay.whole", "replay.model"),
)
def replay_coverage(trial: Trial) -> Finding:
    """No slot is left out, and none is preferred."""
    declared = _limits(trial)
    if declared.sampling != "uniform":
        return Finding(not_applicable="The buffer declares a sampling that is not uniform.")

    def draw(generator: np.random.Generator, k: int) -> Case:
        return {**_draw(generator, declared, samples=False), "batch": int(generator.integers(1, MOST_CAPACITY + 1))}

    always = [
        {"capacity": capacity, "agents": 1, "operations": [["add", 1]] * adds, "seed": 0, "batch": B, "draws": MANY}
        for capacity, adds, B in ((5, 3, 2), (4, 4, 3), (3, 5, 2))
    ]
    test: Callable[[Case], Counterexample | None] = lambda case: _uncovered(trial, case)  # noqa: E731
    method = "counts of what is drawn"
    return search(trial, draw, test, method=method, smaller=_smaller, always=always, key="replay.coverage")


# --- replay.pairs -----------------------------------------------------------------------------------------------------


@_seeded
def _unequal_pairs(trial: Trial, case: Case) -> Counterexample | None:
    """Whether some pairs of different items share a batch more often than others do."""
    buffer = _made(trial, case)
    for _, number in case["operations"]:
        buffer.add(number)
    m = buffer.count
    items = buffer.items(_sampled(buffer, 2, draws=MANY // 2)).reshape(-1, 2) - buffer.oldest
    pairs = np.sort(items[(items >= 0).all(axis=1) & (items < m).all(axis=1)], axis=1)
    twice = int((pairs[:, 0] == pairs[:, 1]).sum())
    cells = list(combinations(range(m), 2))
    counts = np.array([int((pairs == cell).all(axis=1).sum()) for cell in cells])
    # A batch without replacement holds no item twice, and one that goes through epochs seldom does.
    seldom = twice * (m - 1) <= counts.sum()
    if _by_chance(counts) and (seldom or _by_chance(np.array([twice, *[counts.sum() / (m - 1)] * (m - 1)]))):
        return None
    told = ", ".join(f"{first} and {second} {count}" for (first, second), count in zip(cells, counts, strict=True))
    computed = f"{len(pairs)} batches of two hold the same item twice {twice} times, {told}"
    return counterexample(case, computed, "equal shares, up to chance")


def _by_chance(counts: Array) -> bool:
    """Whether counts may be those of equal chances."""
    expected = counts.sum() / len(counts)
    return bool(expected > 0 and chdtrc(len(counts) - 1, ((counts - expected) ** 2 / expected).sum()) >= RARE)


@claim(
    "replay.pairs",
    "The items of a batch are drawn independently of each other: all pairs of different items are equally likely.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: random mini-batches break the correlation of successive transitions",
    method="1,000 batches of two from each of three buffers: a chi-square test of the counts of pairs (false alarms "
    "below 10^-9 in all)",
    recheck=_recheck(_unequal_pairs),
    requires=("replay.coverage",),
)
def replay_pairs(trial: Trial) -> Finding:
    """Neither a run of neighbours nor a share for each part of the buffer."""
    if _limits(trial).sampling != "uniform":
        return Finding(not_applicable="The buffer declares a sampling that is not uniform.")
    cases = [
        {"capacity": capacity, "agents": 1, "operations": [["add", 1]] * adds, "seed": 0}
        for capacity, adds in ((4, 4), (5, 5), (6, 5))
    ]
    found = next((found for found in (_unequal_pairs(trial, case) for case in cases) if found is not None), None)
    method = "counts of pairs in batches of two"
    return Finding(counterexample=found, method=method, scope="this target", examples=len(cases) * MANY // 2)


# --- replay.views and replay.copies -----------------------------------------------------------------------------------


def _write_into(values: Any) -> None:
    """Write other numbers into an array in place; arrays that refuse stay as they are."""
    if isinstance(values, torch.Tensor):
        with torch.no_grad():
            values.copy_(~values if values.dtype == torch.bool else values * 0 - 77)
    elif isinstance(values, np.ndarray) and values.flags.writeable:
        values[...] = ~values if values.dtype == np.bool_ else -77


@_seeded
def _shared(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a batch changes when more is added or drawn, or the store when a batch is written into."""
    buffer = _made(trial, case)
    for _, number in case["operations"]:
        buffer.add(number)
    B = _affordable(buffer, case["batch"])
    drawn, before = [], []
    for _ in range(DRAWS):
        drawn.append(buffer.draw(B))
        before.append(buffer.fields(drawn[-1], B))
    last = case["operations"][-1][1]
    for _ in range(case["capacity"]):
        buffer.add(last)
    for batch, kept in zip(drawn, before, strict=True):
        now = buffer.fields(batch, B)
        changed = [name for name in kept if not np.array_equal(kept[name], now[name])]
        if changed:
            computed = f"{changed[0]} of a batch change when more is added or drawn"
            return counterexample(case, computed, "a batch of its own memory")
    for batch in [buffer.draw(B) for _ in range(DRAWS)]:
        for name in before[0]:
            _write_into(batch[name])
    return _damaged(buffer, case, "after a batch was written into")


def _damaged(buffer: Buffer, case: Case, when: str) -> Counterexample | None:
    B = _affordable(buffer, case["batch"])
    found = buffer.strange(_sampled(buffer, B, draws=2 * DRAWS))
    return None if found is None else counterexample(case, f"{when}: {found}", "items as they were added")


def _with_batch(generator: np.random.Generator, case: Case) -> Case:
    return {"batch": int(generator.integers(1, case["capacity"] + 1))}


@claim(
    "replay.views",
    "A batch has memory of its own: adding and drawing more does not change it, and writing into it does not change "
    "what is stored.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: a mini-batch is drawn from D, which stays as it is",
    method="batches kept while the ring goes round, and batches overwritten, then compared number by number",
    recheck=_recheck(_shared),
    requires=("replay.whole",),
)
def replay_views(trial: Trial) -> Finding:
    """No aliases on the way out."""
    return _searched(trial, _shared, "replay.views", "batches kept and overwritten", samples=False, extra=_with_batch)


@_seeded
def _referring(trial: Trial, case: Case) -> Counterexample | None:
    """Whether the store changes when the arrays that were added are written into."""
    buffer = _made(trial, case)
    for _, number in case["operations"]:
        for values in buffer.add(number).values():
            _write_into(values)
    return _damaged(buffer, case, "after the added arrays were written into")


@claim(
    "replay.copies",
    "What is added is copied: the caller may use its arrays again.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: D holds what happened, whatever the environment writes into its arrays afterwards",
    method="arrays overwritten after they were added",
    recheck=_recheck(_referring),
    requires=("replay.whole",),
)
def replay_copies(trial: Trial) -> Finding:
    """No aliases on the way in."""
    if not _limits(trial).copies:
        return Finding(not_applicable="The buffer declares that it keeps references: hand over arrays not used again.")
    return _searched(
        trial, _referring, "replay.copies", "arrays overwritten after adding", samples=False, extra=_with_batch
    )


# --- replay.short -----------------------------------------------------------------------------------------------------


@_seeded
def _unrefused(trial: Trial, case: Case) -> Counterexample | None:
    """Whether more is handed out than is there, or an item twice where that is excluded."""
    buffer = _made(trial, case)
    for _, number in case["operations"]:
        buffer.add(number)
    if buffer.declared.replacement is False and buffer.count:
        found = _repeated(buffer, case)
        if found is not None:
            return found
    B = buffer.count + case["more"]
    may_repeat = buffer.count > 0 and buffer.declared.replacement is not False
    if may_repeat and buffer.declared.replacement is True:
        drawn = buffer.draw(B)
    else:
        try:
            drawn = buffer.made.sample(B)
        except Exception:  # of whatever kind: a refusal is what is asked for
            return None
    stored = f"{buffer.count} item{'s' * (buffer.count != 1)} stored"
    if not may_repeat:
        return counterexample(case, f"with {stored}, sample({B}) answers", "a refusal by an exception")
    rows = buffer.rows(drawn)
    if rows != B:
        return counterexample(case, f"with {stored}, sample({B}) returns {rows} rows", f"{B} rows, or an exception")
    strange = buffer.strange(buffer.fields(drawn, B))
    if strange is not None:
        return counterexample(case, f"with {stored}, sample({B}): {strange}", "stored items, or an exception")
    return None


def _repeated(buffer: Buffer, case: Case) -> Counterexample | None:
    for items in buffer.items(_sampled(buffer, buffer.count)).reshape(DRAWS, buffer.count):
        if len(set(items.tolist())) < buffer.count:
            computed = f"sample({buffer.count}) returns the items that were added as numbers {(items + 1).tolist()}"
            return counterexample(case, computed, "different ones, as replacement = False says")
    return None


@claim(
    "replay.short",
    "Nothing is drawn from an empty buffer; where more is asked for than is stored, a buffer without replacement "
    "refuses, and one with it returns stored items, as many as were asked for.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: a mini-batch of B transitions from D",
    method="every small buffer asked for more than it holds, and drawn ones",
    recheck=_recheck(_unrefused),
    requires=("replay.whole",),
)
def replay_short(trial: Trial) -> Finding:
    """No made-up rows."""
    declared = _limits(trial)

    def draw(generator: np.random.Generator, k: int) -> Case:
        return {**_draw(generator, declared, samples=False), "more": int(generator.integers(1, 2 * MOST_CAPACITY))}

    always = [
        {"capacity": capacity, "agents": 1, "operations": [["add", 1]] * adds, "seed": 0, "more": more}
        for capacity in (1, 2, 3)
        for adds in range(capacity + 1)
        for more in (1, 2)
    ]
    test: Callable[[Case], Counterexample | None] = lambda case: _unrefused(trial, case)  # noqa: E731
    method = "asked for more than is there"
    return search(trial, draw, test, method=method, smaller=_smaller, always=always, key="replay.short")


# --- replay.instances -------------------------------------------------------------------------------------------------


@_seeded
def _entangled(trial: Trial, case: Case) -> Counterexample | None:
    """Whether a buffer's content changes when another one is filled."""
    first, second = _made(trial, case), _made(trial, case, OTHER)
    for _, number in case["operations"]:
        first.add(number)
        second.add(number)
    for buffer in (first, second):
        if buffer.length() != buffer.count:
            computed = f"len() is {buffer.length()} after {len(buffer.starts)} items each in two buffers"
            return counterexample(case, computed, f"{buffer.count} at a capacity of {case['capacity']}")
        found = _damaged(buffer, case, "with two buffers filled in turn")
        if found is not None:
            return found
    return None


@claim(
    "replay.instances",
    "Two buffers share nothing.",
    roles=("replay_buffer",),
    cite=f"{BOOK}: each learner has its own D",
    method="two buffers filled in turn, each against its own model",
    recheck=_recheck(_entangled),
    requires=("replay.whole", "replay.model"),
)
def replay_instances(trial: Trial) -> Finding:
    """No state that belongs to the class."""
    method = "two buffers filled in turn"
    return _searched(trial, _entangled, "replay.instances", method, samples=False, extra=_with_batch)
