"""Replay buffers: good ones, and broken ones that the judge must refute.

A factory is a class of (capacity, example); its instances speak the role replay_buffer.
"""

import collections
import copy
import random
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from marlspec.reference.parts import replay as reference

from .target import Collection, Factory, Violation

Fields = dict[str, Any]
good, bad = Collection(), Collection()
AGENTS, CAPACITY = 2, 5


# --- measures: 0 where a promise is kept, else 1 ----------------------------------------------------------------------


def noise(count: int, seed: int) -> Fields:
    """Random transitions, no two of them alike."""
    generator = np.random.default_rng(seed)
    return {
        "observations": generator.random((count, AGENTS, 2)).astype(np.float32),
        "actions": generator.integers(0, 5, (count, AGENTS)),
        "rewards": -1 - generator.random((count, AGENTS)).astype(np.float32),
        "next_observations": generator.random((count, AGENTS, 2)).astype(np.float32),
        "terminated": generator.random(count) < 0.5,
    }


class Diary:
    """A buffer, and all that was added to it: rows of transitions, or whole episodes."""

    def __init__(self, factory: Factory, capacity: int = CAPACITY, seed: int = 0) -> None:
        self.buffer = factory(capacity, {name: values[0] for name, values in noise(1, 0).items()})
        self.factory, self.seed = factory, seed
        self.rows: list[Fields] = []
        self.episodes = self.said("items", "transitions") == "episodes"
        np.random.seed(seed), random.seed(seed), torch.manual_seed(seed)

    def said(self, name: str, default: Any) -> Any:
        return getattr(self.buffer, name, getattr(self.factory, name, default))

    def add(self, K: int) -> Fields:
        self.seed += 1
        fields = noise(min(K, self.said("at_once", K)), self.seed)
        if self.episodes:
            fields["terminated"][:-1] = False
            self.rows.append(copy.deepcopy(fields))
        else:
            self.rows.extend(
                {name: values[k].copy() for name, values in fields.items()} for k in range(len(fields["rewards"]))
            )
        torch_arrays = self.said("arrays", "numpy") == "torch"
        handed = {name: torch.from_numpy(values) if torch_arrays else values for name, values in fields.items()}
        self.buffer.add(handed)
        return handed

    def positions(self, batch: Any, B: int) -> list[int | None]:
        """Which of the rows each sampled row is; None for one that is none of them."""
        found: list[int | None] = []
        for b in range(B):
            row = {name: np.asarray(batch[name][b]) for name in noise(1, 0)}
            if self.episodes:
                real = np.asarray(batch["filled"][b]).astype(bool)
                row = {name: values[real] for name, values in row.items()}
            found.append(next((k for k, other in enumerate(self.rows) if alike(row, other)), None))
        return found

    def sampled(self, times: int, B: int | None = None) -> list[int | None]:
        size = min(len(self.rows), self.buffer.capacity if hasattr(self.buffer, "capacity") else CAPACITY)
        B = min(2, size) if B is None else B
        return [k for _ in range(times) for k in self.positions(self.buffer.sample(B), B)]


def alike(row: Fields, other: Fields) -> bool:
    return all(row[name].shape == other[name].shape and (row[name] == other[name]).all() for name in other)


def filled(factory: Factory, adds: tuple[int, ...] = (1, 3, 2, 2, 3, 1)) -> Diary:
    diary = Diary(factory)
    for K in adds:
        diary.add(K)
    return diary


def neighbours(factory: Factory) -> float:
    """1 where the first and the third of four items share a batch of two in less than a twentieth of all batches."""
    diary = filled(factory, (1, 1, 1, 1))
    pairs = np.array(diary.sampled(300, 2)).reshape(-1, 2)
    return float((np.sort(pairs, axis=1) == (0, 2)).all(axis=1).mean() < 0.05)


def torn(factory: Factory) -> float:
    short, long = filled(factory, (2,)), filled(factory)
    samples = short.sampled(25, 1) + long.sampled(25)
    for K in (3, 1, 4, 1, 3, 2, 1):
        long.add(K)
        samples += long.sampled(25)
    return float(None in samples)


def outdated(factory: Factory) -> float:
    diary = Diary(factory)
    anything = diary.said("eviction", "oldest") == "any"
    for K in (1, 3, 2, 2, 3, 1, 1, 1):
        diary.add(K)
        oldest = 0 if anything else len(diary.rows) - CAPACITY
        if len(diary.buffer) != min(len(diary.rows), CAPACITY):
            return 1.0
        if any(k is not None and k < oldest for k in diary.sampled(25)):
            return 1.0
    return 0.0


def uneven(factory: Factory) -> float:
    for adds in ((1, 1, 1), (1,) * 4, (1,) * 8):
        diary = filled(factory, adds)
        size = min(len(adds), CAPACITY)
        counts = collections.Counter(diary.sampled(400, 2))
        if len(counts) < size or max(counts.values()) > 1.3 * 800 / size:
            return 1.0
    return 0.0


def viewed(factory: Factory) -> float:
    return max(viewed_at(factory, B) for B in (2, CAPACITY))


def viewed_at(factory: Factory, B: int) -> float:
    diary = Diary(factory)
    for K in [1] * CAPACITY:
        diary.add(K)
    batches, kept = [], []
    for _ in range(20):
        batches.append(diary.buffer.sample(B))
        kept.append(diary.positions(batches[-1], B))
    for K in (2, 2, 1):
        diary.add(K)
    if any(diary.positions(batch, B) != before for batch, before in zip(batches, kept, strict=True)):
        return 1.0
    for batch in batches + [diary.buffer.sample(2) for _ in range(20)]:
        spoil(batch)
    return float(None in diary.sampled(50))


def spoil(batch: Any) -> None:
    for name in noise(1, 0):
        batch[name][...] = 0


def referred(factory: Factory) -> float:
    diary = Diary(factory)
    for K in (1, 2, 2):
        spoil(diary.add(K))
    return float(None in diary.sampled(50))


def overdrawn(factory: Factory) -> float:
    """Whether an empty buffer answers, or a short one with the wrong rows, or twice with the same where it may not."""
    if refusal(Diary(factory), 1) is None:
        return 1.0
    diary = filled(factory, (1, 1))
    replacement = diary.said("replacement", None)
    answer = refusal(diary, 4)
    if replacement is False:
        repeats = any(len(set(diary.sampled(1, 2))) < 2 for _ in range(30))
        return float(answer is None or repeats)
    if answer is not None:
        return 0.0
    batch = diary.buffer.sample(4)
    return float(len(batch["rewards"]) != 4 or None in diary.positions(batch, 4))


def refusal(diary: Diary, B: int) -> Exception | None:
    try:
        diary.buffer.sample(B)
    except Exception as error:
        return error
    return None


def entangled(factory: Factory) -> float:
    one, other = Diary(factory), Diary(factory, seed=50)
    for K in (1, 1, 2):
        one.add(K), other.add(K)
    return float(None in one.sampled(50) + other.sampled(50))


WHOLE, MODEL = Violation("replay.whole", torn), Violation("replay.model", outdated)
COVERAGE, VIEWS = Violation("replay.coverage", uneven), Violation("replay.views", viewed)
COPIES, SHORT = Violation("replay.copies", referred), Violation("replay.short", overdrawn)
PAIRS = Violation("replay.pairs", neighbours)
INSTANCES = Violation("replay.instances", entangled)


# --- rings of transitions ---------------------------------------------------------------------------------------------


@good("replay_buffer", "", "One numpy array per field, written round and round.")
class Ring:
    def __init__(self, capacity: int, example: Fields) -> None:
        self.capacity, self.size, self.cursor = capacity, 0, 0
        self.data = {
            name: np.zeros((capacity, *np.shape(value)), self.type_of(name, np.asarray(value)))
            for name, value in example.items()
        }

    def type_of(self, name: str, value: NDArray[Any]) -> Any:
        return value.dtype

    def add(self, transitions: Fields) -> None:
        K = len(transitions["rewards"])
        slots = self.slots(K)
        for name, values in transitions.items():
            self.write(name, slots, values)
        self.move(K)

    def slots(self, K: int) -> Any:
        return (self.cursor + np.arange(K)) % self.capacity

    def write(self, name: str, slots: Any, values: Any) -> None:
        self.data[name][slots] = values

    def move(self, K: int) -> None:
        self.cursor = (self.cursor + K) % self.capacity
        self.size = min(self.size + K, self.capacity)

    def draw(self, B: int) -> Any:
        return np.random.randint(self.size, size=B)

    def sample(self, B: int) -> Any:
        rows = self.draw(B)
        return {name: self.read(name, rows) for name in self.data}

    def read(self, name: str, rows: Any) -> Any:
        return self.data[name][rows]

    def __len__(self) -> int:
        return self.size


@bad("replay_buffer", "ring", "The cursor returns to 0 one slot too early.", MODEL)
class WrapsEarly(Ring):
    def slots(self, K: int) -> Any:
        return (self.cursor + np.arange(K)) % (
            self.capacity if self.size < self.capacity else max(self.capacity - 1, 1)
        )


@bad("replay_buffer", "ring", "What is added when the buffer is full is dropped.", MODEL)
class KeepsTheOldest(Ring):
    def add(self, transitions: Fields) -> None:
        room = self.capacity - self.size
        if room:
            super().add({name: values[:room] for name, values in transitions.items()})


@bad("replay_buffer", "ring", "Of several transitions those that do not fit before the end are dropped.", MODEL)
class DropsAtTheEnd(Ring):
    def add(self, transitions: Fields) -> None:
        room = self.capacity - self.cursor
        super().add({name: values[:room] for name, values in transitions.items()})


@bad("replay_buffer", "ring", "The length goes on growing when the buffer is full.", MODEL)
class GrowingLength(Ring):
    total = 0

    def move(self, K: int) -> None:
        super().move(K)
        self.total += K

    def __len__(self) -> int:
        return self.total


@bad("replay_buffer", "ring", "Draws from all slots, also from those not written yet.", WHOLE)
class DrawsUnwritten(Ring):
    def draw(self, B: int) -> Any:
        return np.random.randint(self.capacity if self.size else 0, size=B)


@bad("replay_buffer", "ring", "The slot written last is never drawn.", COVERAGE)
class NeverTheLast(Ring):
    def draw(self, B: int) -> Any:
        return np.random.randint(max(self.size - 1, min(self.size, 1)), size=B)


@bad("replay_buffer", "ring", "The latest transition is drawn twice as often as others.", COVERAGE)
class PrefersTheLatest(Ring):
    def draw(self, B: int) -> Any:
        rows = np.random.randint(self.size + (self.size > 1), size=B)
        return np.where(rows == self.size, (self.cursor - 1) % self.capacity, rows)


@bad("replay_buffer", "ring", "Every batch is drawn by a generator with the same seed.", COVERAGE)
class SameBatchAgain(Ring):
    def draw(self, B: int) -> Any:
        return np.random.default_rng(0).integers(self.size, size=B)


@bad("replay_buffer", "ring", "Terminal flags are written one slot late.", WHOLE)
class FlagsLate(Ring):
    def write(self, name: str, slots: Any, values: Any) -> None:
        super().write(name, (slots + 1) % self.capacity if name == "terminated" else slots, values)


@bad("replay_buffer", "ring", "A slot's terminal flag stays when the slot is overwritten.", WHOLE)
class FlagsStay(Ring):
    def write(self, name: str, slots: Any, values: Any) -> None:
        super().write(name, slots, values | self.data[name][slots] if name == "terminated" else values)


@bad("replay_buffer", "ring", "Each agent's part of a row is drawn by itself.", WHOLE)
class AgentsApart(Ring):
    def sample(self, B: int) -> Any:
        batch = super().sample(B)
        for name in ("observations", "actions", "rewards", "next_observations"):
            for agent in range(self.data[name].shape[1]):
                batch[name][:, agent] = self.data[name][self.draw(B), agent]
        return batch


@bad("replay_buffer", "ring", "Rewards are drawn by themselves.", WHOLE)
class RewardsApart(Ring):
    def read(self, name: str, rows: Any) -> Any:
        return super().read(name, self.draw(len(rows)) if name == "rewards" else rows)


@bad("replay_buffer", "ring", "The next observations are those of the following slot, across the cursor too.", WHOLE)
class NextSlot(Ring):
    def read(self, name: str, rows: Any) -> Any:
        if name == "next_observations":
            return self.data["observations"][(rows + 1) % self.capacity]
        return super().read(name, rows)


@bad("replay_buffer", "ring", "All agents get the first one's actions.", WHOLE)
class ActionsOfTheFirst(Ring):
    def write(self, name: str, slots: Any, values: Any) -> None:
        super().write(name, slots, values[:, :1] if name == "actions" else values)


@bad("replay_buffer", "ring", "Observations are kept as bytes.", WHOLE)
class ObservationsAsBytes(Ring):
    def type_of(self, name: str, value: NDArray[Any]) -> Any:
        return np.uint8 if "observations" in name else value.dtype


@bad("replay_buffer", "ring", "The reward is averaged over the agents.", WHOLE)
class AveragedReward(Ring):
    def write(self, name: str, slots: Any, values: Any) -> None:
        super().write(name, slots, values.mean(1, keepdims=True) if name == "rewards" else values)


@bad("replay_buffer", "ring", "A batch is a slice of neighbouring slots, handed out without a copy.", VIEWS)
class HandsOutSlices(Ring):
    def sample(self, B: int) -> Any:
        start = np.random.randint(max(self.size - B, 0) + 1) if self.size else np.random.randint(0)
        if self.size < B:
            raise ValueError("too many")
        return {name: values[start : start + B] for name, values in self.data.items()}


@bad("replay_buffer", "ring", "The arrays of a batch are used again for the next one.", VIEWS)
class ReusesTheBatch(Ring):
    out: Fields | None = None

    def sample(self, B: int) -> Any:
        batch = super().sample(B)
        if self.out is None or len(self.out["rewards"]) != B:
            self.out = batch
        for name, values in batch.items():
            self.out[name][...] = values
        return self.out


@bad("replay_buffer", "ring", "An empty buffer hands out zeros.", SHORT)
class EmptyZeros(Ring):
    def draw(self, B: int) -> Any:
        return np.random.randint(max(self.size, 1), size=B)


@bad("replay_buffer", "ring", "Returns fewer rows where fewer are stored.", SHORT)
class FewerRows(Ring):
    def draw(self, B: int) -> Any:
        if not self.size:
            raise ValueError("empty")
        return np.random.permutation(self.size)[:B]


@bad("replay_buffer", "ring", "Says that it draws without replacement, and draws with it.", SHORT)
class SaysWithout(Ring):
    replacement = False

    def draw(self, B: int) -> Any:
        if self.size < B:
            raise ValueError("too many")
        return super().draw(B)


@bad("replay_buffer", "ring", "All buffers of a size write into the same arrays.", INSTANCES)
class OneStoreForAll(Ring):
    stores: ClassVar[dict[Any, Fields]] = {}

    def __init__(self, capacity: int, example: Fields) -> None:
        super().__init__(capacity, example)
        self.data = self.stores.setdefault((capacity, np.shape(example["observations"])), self.data)


@good("replay_buffer", "ring", "Takes one transition at a time, and draws a permutation.")
class OneAtATime(Ring):
    at_once = 1
    replacement = False

    def draw(self, B: int) -> Any:
        if self.size < B or not self.size:
            raise ValueError(f"{B} transitions asked for, {self.size} stored")
        return np.random.permutation(self.size)[:B]


@good("replay_buffer", "ring", "Writes to a random slot when full, and says so.")
class RandomEviction(Ring):
    eviction = "any"
    at_once = 1

    def slots(self, K: int) -> Any:
        return super().slots(K) if self.size < self.capacity else np.random.randint(self.capacity, size=K)


@good("replay_buffer", "ring", "Goes through a shuffled order of what is stored, and says that it repeats.")
class Epochs(Ring):
    replacement = True
    order: ClassVar[list[int]] = []

    def add(self, transitions: Fields) -> None:
        super().add(transitions)
        self.order = []

    def draw(self, B: int) -> Any:
        if not self.size:
            raise IndexError("nothing stored")
        while len(self.order) < B:
            self.order = [*self.order, *np.random.permutation(self.size)]
        rows, self.order = self.order[:B], self.order[B:]
        return np.array(rows)


@good("replay_buffer", "ring", "Draws in proportion to priorities, and says that it is not uniform.")
class Prioritised(Ring):
    sampling = "other"

    def draw(self, B: int) -> Any:
        weights = np.abs(self.data["rewards"][: self.size, 0].astype(np.float64)) + 0.125
        return np.random.choice(self.size, size=B, p=weights / weights.sum())


@good("replay_buffer", "ring", "Keeps observations in double precision, flags as numbers.")
class DoubleRing(Ring):
    def type_of(self, name: str, value: NDArray[Any]) -> Any:
        return np.float64 if value.dtype.kind in "fb" else value.dtype


@good("replay_buffer", "", "A deque of transitions, drawn by random.sample, which refuses to draw too many.")
class Deque:
    replacement = False

    def __init__(self, capacity: int, example: Fields) -> None:
        self.kept: collections.deque[Fields] = collections.deque(maxlen=capacity)

    def add(self, transitions: Fields) -> None:
        for k in range(len(transitions["rewards"])):
            self.kept.append({name: self.own(values[k]) for name, values in transitions.items()})

    def own(self, value: Any) -> Any:
        return np.array(value)

    def sample(self, B: int) -> Any:
        if not self.kept:
            raise ValueError("nothing stored")
        rows = random.sample(list(self.kept), B)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def __len__(self) -> int:
        return len(self.kept)


@bad("replay_buffer", "deque", "A batch is a run of neighbours behind a random first one.", PAIRS)
class RunOfItems(Deque):
    def sample(self, B: int) -> Any:
        if len(self.kept) < B:
            raise ValueError("too few are stored")
        first = random.randrange(len(self.kept))
        rows = [self.kept[(first + k) % len(self.kept)] for k in range(B)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@good("replay_buffer", "deque", "Keeps what it is handed, and says so.")
class Referring(Deque):
    copies = False

    def own(self, value: Any) -> Any:
        return value


@bad("replay_buffer", "deque", "Keeps what it is handed, without a word.", COPIES)
class SilentlyReferring(Deque):
    def own(self, value: Any) -> Any:
        return value


@bad("replay_buffer", "deque", "The deque is a default argument, one for all buffers.", INSTANCES)
class DefaultDeque(Deque):
    shared: ClassVar[dict[int, collections.deque[Fields]]] = {}

    def __init__(self, capacity: int, example: Fields) -> None:
        super().__init__(capacity, example)
        self.kept = self.shared.setdefault(capacity, collections.deque(maxlen=capacity))
        self.capacity = capacity
        if len(self.kept) == capacity:
            self.kept.clear()


@good("replay_buffer", "", "One torch tensor per field.")
class TorchRing:
    arrays = "torch"

    def __init__(self, capacity: int, example: Fields) -> None:
        self.capacity, self.added = capacity, 0
        self.data = {
            name: torch.zeros(capacity, *np.shape(v), dtype=torch.as_tensor(v).dtype) for name, v in example.items()
        }

    def add(self, transitions: Fields) -> None:
        K = len(transitions["rewards"])
        slots = torch.arange(self.added, self.added + K) % self.capacity
        for name, values in transitions.items():
            self.data[name].index_copy_(0, slots, values)
        self.added += K

    def sample(self, B: int) -> Any:
        rows = torch.randint(len(self), (B,))
        return {name: values[rows] for name, values in self.data.items()}

    def __len__(self) -> int:
        return min(self.added, self.capacity)


@bad(
    "replay_buffer",
    "torch_ring",
    "A batch of all that is stored comes in the order of the slots, without a copy.",
    VIEWS,
)
class WholeStoreIsAView(TorchRing):
    def sample(self, B: int) -> Any:
        if len(self) == B and B:
            return {name: values[:B] for name, values in self.data.items()}
        return super().sample(B)


class Row(NamedTuple):
    observations: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_observations: torch.Tensor
    terminated: torch.Tensor


@good("replay_buffer", "", "The reference's ring of several seeds, of which one is used.")
class ReferenceRing:
    arrays = "torch"
    replacement = True

    def __init__(self, capacity: int, example: Fields) -> None:
        row = Row(*(torch.as_tensor(example[name]) for name in Row._fields))
        self.buffer: Any = reference.ReplayBuffer(capacity, row)

    def add(self, transitions: Fields) -> None:
        self.buffer.store(Row(*(transitions[name][None] for name in Row._fields)))

    def sample(self, B: int) -> Any:
        return {name: values[0] for name, values in self.buffer.sample(B)._asdict().items()}

    def __len__(self) -> int:
        return self.buffer.size


# --- episodes ---------------------------------------------------------------------------------------------------------


@good("replay_buffer", "", "A ring of padded episodes with a flag for each step that is real.")
class EpisodeRing:
    items = "episodes"
    longest = 4

    def __init__(self, capacity: int, example: Fields) -> None:
        self.capacity, self.size, self.cursor = capacity, 0, 0
        shape = (capacity, self.longest)
        self.data = {name: np.zeros((*shape, *np.shape(v)), np.asarray(v).dtype) for name, v in example.items()}
        self.data["filled"] = np.zeros(shape, dtype=bool)

    def add(self, episode: Fields) -> None:
        T = len(episode["rewards"])
        self.clear(self.cursor)
        for name, values in {**episode, "filled": np.ones(T, dtype=bool)}.items():
            self.data[name][self.cursor, :T] = values
        self.cursor = (self.cursor + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def clear(self, slot: int) -> None:
        for values in self.data.values():
            values[slot] = 0

    def sample(self, B: int) -> Any:
        rows = np.random.randint(self.size, size=B)
        return {name: values[rows] for name, values in self.data.items()}

    def __len__(self) -> int:
        return self.size


@good("replay_buffer", "episode_ring", "Clears the flags alone, and cuts batches to their longest episode.")
class CutEpisodes(EpisodeRing):
    def clear(self, slot: int) -> None:
        self.data["filled"][slot] = False

    def sample(self, B: int) -> Any:
        batch = super().sample(B)
        T = batch["filled"].sum(1).max()
        return {name: values[:, :T] for name, values in batch.items()}


@bad("replay_buffer", "episode_ring", "A short episode keeps the flags of a longer one that it overwrites.", WHOLE)
class StaleEpisode(EpisodeRing):
    def clear(self, slot: int) -> None:
        pass


@bad("replay_buffer", "episode_ring", "The last step of a full-length episode is flagged as padding.", WHOLE)
class LastStepLost(EpisodeRing):
    def add(self, episode: Fields) -> None:
        slot = self.cursor
        super().add(episode)
        if len(episode["rewards"]) == self.longest:
            self.data["filled"][slot, -1] = False


@bad("replay_buffer", "episode_ring", "Drawing starts at the second slot once the ring is full.", COVERAGE)
class NeverTheFirstEpisode(EpisodeRing):
    def sample(self, B: int) -> Any:
        rows = np.random.randint(int(self.size == self.capacity and self.capacity > 1), self.size, size=B)
        return {name: values[rows] for name, values in self.data.items()}


@bad("replay_buffer", "episode_ring", "Steps are drawn from episodes by themselves.", WHOLE)
class MixedEpisodes(EpisodeRing):
    def sample(self, B: int) -> Any:
        batch = super().sample(B)
        rows = np.random.randint(self.size, size=B)
        batch["rewards"] = self.data["rewards"][rows]
        return batch


BAD, GOOD = bad.targets(), good.targets()
