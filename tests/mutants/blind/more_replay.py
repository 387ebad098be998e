"""Further replay buffers: keyed by age, packed into rows, episodes laid end to end, references, lists."""

import random
from itertools import combinations
from typing import Any

import numpy as np
import torch

from ..target import Collection, Factory, Violation
from .common import NEVER, Array, as_array
from .replay_measures import AGENTS, COPIES, EVEN, FIELDS, LENGTH, LONGEST, REFUSES, SIZE, WHOLE, Watched

good, bad = Collection(), Collection()
ROLE = "replay_buffer"


# --- measures ---------------------------------------------------------------------------------------------------------


def fine(generator: np.random.Generator, count: int) -> dict[str, Array]:
    """Transitions with all digits of float64, large and small, of which every second one has no reward."""
    seen = generator.normal(size=(2, count, AGENTS, SIZE)) * 1000
    rewards = generator.normal(size=(count, AGENTS)) * 1e5
    rewards[1::2] = 0.0
    actions = generator.integers(5, size=(count, AGENTS))
    return dict(zip(FIELDS, (seen[0], actions, rewards, seen[1], generator.random(count) < 0.5), strict=True))


def distance(row: dict[str, Array], item: dict[str, Array]) -> float:
    """The largest difference of a sampled row from an item, NEVER where another number of steps is filled."""
    kept = {name: row[name] for name in FIELDS}
    if "filled" in row:
        filled = row["filled"].astype(bool)
        if filled.sum() != len(item["rewards"]):
            return NEVER
        kept = {name: row[name][filled] for name in FIELDS}
    return max(float(np.abs(kept[name] - item[name]).max()) for name in FIELDS)


def off_in_value(factory: Factory) -> float:
    """How far sampled rows are from the nearest stored item, in numbers that no shorter type holds."""
    generator, worst = np.random.default_rng(8), 0.0
    for capacity in (2, 4):
        watched, kept = Watched(factory, capacity), list[dict[str, Array]]()
        for count in (1, 2, 1, 2, 2):
            fields = fine(generator, count)
            watched.buffer.add(watched.handed(fields))
            rows = [{name: values[k] for name, values in fields.items()} for k in range(count)]
            kept += [fields] if watched.episodes else rows
            stored = kept if watched.any else kept[-capacity:]
            for _ in range(8):
                batch = watched.buffer.sample(1)
                names = (*FIELDS, "filled") if watched.episodes else FIELDS
                row = {name: as_array(batch[name])[0] for name in names}
                worst = max(worst, min(distance(row, item) for item in stored))
    return worst


def felt_by_another(factory: Factory) -> float:
    """How many items a buffer has that were added to another one."""
    one, other = Watched(factory, 3), Watched(factory, 3)
    one.add(2)
    strange = float(abs(len(other.buffer)))
    other.add(1)
    return strange + abs(len(one.buffer) - one.size) + abs(len(other.buffer) - other.size)


def astray_after_many(factory: Factory) -> float:
    """How many of some hundred additions leave a wrong length, or a sample that is not stored."""
    wrong = 0
    for capacity in (3, 5):
        watched = Watched(factory, capacity)
        for _ in range(300):
            watched.add(1)
            if len(watched.buffer) != watched.size:
                return NEVER
            wrong += watched.found(watched.buffer.sample(1)) == [None]
    return float(wrong)


def uneven_pairs(factory: Factory) -> float:
    """How far the share of a pair of items is from even, beyond six deviations, among pairs of different ones."""
    watched, counts = Watched(factory, 4), dict[tuple[Any, ...], int]()
    watched.add(4)
    for _ in range(3 if watched.episodes else 0):
        watched.add(1)
    for _ in range(900):
        pair = tuple(sorted(tag or 0 for tag in watched.found(watched.buffer.sample(2))))
        if len(set(pair)) == 2:
            counts[pair] = counts.get(pair, 0) + 1
    total, tags = sum(counts.values()), [tags[0] for tags in watched.items]
    pairs = list(combinations(tags, 2))
    even = 1 / len(pairs)
    allowed = 6 * (even * (1 - even) / max(total, 1)) ** 0.5
    return max(0.0, *(abs(counts.get(pair, 0) / max(total, 1) - even) - allowed for pair in pairs))


EXACT = Violation("numbers come back as they were added", off_in_value)
ALONE = Violation("what is added to one buffer is in no other", felt_by_another)
AT_LENGTH = Violation("hundreds of additions leave the buffer as the first ones do", astray_after_many)
PAIRS = Violation("each pair of items is as likely as any other", uneven_pairs)


# --- good ones --------------------------------------------------------------------------------------------------------


@good(ROLE, "", "numpy; a dictionary from the number of a transition, the smallest leaves; a generator of its own")
class NumberedTransitions:
    replacement = False

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.number, self.kept = capacity, 0, dict[Any, dict[str, Array]]()
        self.generator = np.random.default_rng(np.random.randint(2**31))

    def key(self) -> Any:
        return self.number

    def evict(self) -> None:
        while len(self.kept) > self.capacity:
            del self.kept[min(self.kept)]

    def copied(self, name: str, value: Array) -> Array:
        return np.array(value)

    def insert(self, transition: dict[str, Array]) -> None:
        self.kept[self.key()] = {name: self.copied(name, value) for name, value in transition.items()}
        self.number += 1

    def add(self, transitions):
        for k in range(len(transitions["rewards"])):
            self.insert({name: values[k, ...] for name, values in transitions.items()})
            self.evict()

    def rows(self, batch_size: int) -> Array:
        return self.generator.choice(len(self.kept), batch_size, replace=False)

    def column(self, name: str) -> Array:
        return np.stack([self.kept[key][name] for key in sorted(self.kept)])

    def sample(self, batch_size):
        rows = self.rows(batch_size)
        return {name: self.column(name)[rows] for name in FIELDS}

    def __len__(self):
        return len(self.kept)


@good(ROLE, "", "torch; each transition packed into one row of numbers and taken apart when sampled, with replacement")
class PackedRows:
    arrays, replacement, kind = "torch", True, torch.float64

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.position, self.full = capacity, 0, False
        self.shapes = {name: tuple(value.shape) for name, value in example.items()}
        self.kinds = {name: value.dtype for name, value in example.items()}
        self.widths = [max(1, value.numel()) for value in example.values()]
        self.storage = torch.zeros(capacity, sum(self.widths), dtype=self.kind)

    def flat(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(len(values), -1)

    def pack(self, transitions: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([self.flat(name, transitions[name]).to(self.kind) for name in self.shapes], dim=1)

    def put(self, position: int, row: torch.Tensor) -> None:
        self.storage[position] = row

    def filled(self) -> None:
        self.full = self.full or self.position == 0

    def forward(self, count: int) -> None:
        for _ in range(count):
            self.position = (self.position + 1) % self.capacity
            self.filled()

    def add(self, transitions):
        rows = self.pack(transitions)
        for k, row in enumerate(rows):
            self.put((self.position + k) % self.capacity, row)
        self.forward(len(rows))

    def draw(self, batch_size: int) -> torch.Tensor:
        return torch.randint(len(self), (batch_size,))

    def sample(self, batch_size):
        parts = self.storage[self.draw(batch_size)].split(self.widths, dim=1)
        return {
            name: part.reshape(batch_size, *self.shapes[name]).to(self.kinds[name])
            for name, part in zip(self.shapes, parts, strict=True)
        }

    def __len__(self):
        return self.capacity if self.full else self.position


@good(ROLE, "", "numpy; episodes end to end in one array a field, padded with their last step, flags as truths")
class EpisodesEndToEnd:
    items, longest, replacement = "episodes", LONGEST, True

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.lengths = capacity, list[int]()
        self.steps = {name: np.zeros((0, *value.shape), value.dtype) for name, value in example.items()}

    def drop(self, count: int) -> None:
        self.steps = {name: values[count:] for name, values in self.steps.items()}

    def crowded(self) -> bool:
        return len(self.lengths) > self.capacity

    def add(self, transitions):
        self.steps = {name: np.concatenate([old, transitions[name]]) for name, old in self.steps.items()}
        self.lengths.append(len(transitions["rewards"]))
        while self.crowded():
            self.drop(self.lengths.pop(0))

    def pick(self) -> int:
        return random.randrange(len(self.lengths))

    def marks(self, lengths: Array) -> Array:
        return np.arange(LONGEST) < lengths[:, None]

    def sample(self, batch_size):
        picked = [self.pick() for _ in range(batch_size)]
        starts, lengths = np.cumsum([0, *self.lengths])[picked], np.array(self.lengths)[picked]
        places = starts[:, None] + np.minimum(np.arange(LONGEST), lengths[:, None] - 1)
        return {name: values[places] for name, values in self.steps.items()} | {"filled": self.marks(lengths)}

    def __len__(self):
        return len(self.lengths)


@good(ROLE, "", "torch; the very chunks that are added, and where in them each transition lies, stacked when sampled")
class KeepsChunks:
    arrays, replacement, copies = "torch", False, False

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.places = capacity, list[tuple[dict[str, torch.Tensor], int]]()

    def add(self, transitions):
        self.places += [(transitions, k) for k in range(len(transitions["rewards"]))]
        self.evict()

    def evict(self) -> None:
        del self.places[: -self.capacity]

    def chosen(self, batch_size: int) -> list[Any]:
        if not self.places:
            raise LookupError("nothing is stored")
        return random.sample(self.places, batch_size)

    def stack(self, name: str, chosen: list[Any]) -> torch.Tensor:
        return torch.stack([chunk[name][k] for chunk, k in chosen])

    def sample(self, batch_size):
        chosen = self.chosen(batch_size)
        return {name: self.stack(name, chosen) for name in FIELDS}

    def __len__(self):
        return len(self.places)


@good(ROLE, "", "Python; episodes as nested lists, any of which makes room, padded to the longest with 0 when sampled")
class EpisodesAsLists:
    items, longest, replacement, eviction = "episodes", LONGEST, False, "any"

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.episodes = capacity, list[dict[str, list[Any]]]()
        self.blank = {name: np.zeros_like(value).tolist() for name, value in example.items()}

    def add(self, transitions):
        if len(self.episodes) == self.capacity:
            self.episodes.pop(random.randrange(self.capacity))
        self.episodes.append({name: values.tolist() for name, values in transitions.items()})

    def length(self, episode: dict[str, list[Any]]) -> int:
        return len(episode["rewards"])

    def lengths(self, picked: list[dict[str, list[Any]]]) -> list[int]:
        return [self.length(episode) for episode in picked]

    def sample(self, batch_size):
        if batch_size > len(self.episodes) or not self.episodes:
            raise ValueError("not as many episodes are stored")
        picked = random.sample(self.episodes, batch_size)
        T = max(len(episode["rewards"]) for episode in picked)
        batch = {name: [self.padded(episode[name], name, T) for episode in picked] for name in FIELDS}
        return batch | {"filled": [[int(t < length) for t in range(T)] for length in self.lengths(picked)]}

    def padded(self, steps: list[Any], name: str, T: int) -> list[Any]:
        return steps + [self.blank[name]] * (T - len(steps))

    def __len__(self):
        return len(self.episodes)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "numbered_transitions", "numbers are keys of text, of which 10 comes before 9", WHOLE)
class OldestByText(NumberedTransitions):
    def key(self):
        return str(self.number)


@bad(ROLE, "numbered_transitions", "one transition makes room for each addition, however many were added", LENGTH)
class OneLeavesForEachAddition(NumberedTransitions):
    def evict(self):
        pass

    def add(self, transitions):
        if len(self.kept) >= self.capacity:
            del self.kept[min(self.kept)]
        super().add(transitions)


@bad(
    ROLE,
    "numbered_transitions",
    "the stacked columns are kept until the length changes, which a full one's never does",
    WHOLE,
)
class ColumnsKeptByLength(NumberedTransitions):
    def __init__(self, capacity, example):
        super().__init__(capacity, example)
        self.columns = dict[tuple[str, int], Array]()

    def column(self, name):
        place = (name, len(self.kept))
        if place not in self.columns:
            self.columns[place] = super().column(name)
        return self.columns[place]


@bad(ROLE, "numbered_transitions", "all buffers have one dictionary, an argument's default", ALONE)
class DictionaryOfAllBuffers(NumberedTransitions):
    def __init__(self, capacity, example, kept={}):  # noqa: B006
        super().__init__(capacity, example)
        self.kept = kept
        self.number = 1 + max(kept, default=0)


@bad(ROLE, "numbered_transitions", "the generator is seeded anew for each batch", EVEN)
class SeededForEachBatch(NumberedTransitions):
    def rows(self, batch_size):
        self.generator = np.random.default_rng(42)
        return super().rows(batch_size)


@bad(ROLE, "numbered_transitions", "a batch larger than what is stored is filled up with repeats", REFUSES)
class FilledUpWithRepeats(NumberedTransitions):
    def rows(self, batch_size):
        return self.generator.choice(len(self.kept), batch_size, replace=batch_size > len(self.kept))


@bad(ROLE, "numbered_transitions", "a batch is a run of transitions behind a random first one", PAIRS)
class RunOfNeighbours(NumberedTransitions):
    def rows(self, batch_size):
        first = super().rows(batch_size)[0]
        return (first + np.arange(batch_size)) % len(self.kept)


@bad(ROLE, "numbered_transitions", "all is copied but the flags, which are views of what was added", COPIES)
class FlagsAreViews(NumberedTransitions):
    def copied(self, name, value):
        return value if name == "terminated" else super().copied(name, value)


@bad(ROLE, "numbered_transitions", "next observations of terminal transitions are blanked out", WHOLE)
class NothingBehindTheEnd(NumberedTransitions):
    def insert(self, transition):
        following = transition["next_observations"]
        super().insert(transition | {"next_observations": following * ~transition["terminated"]})


@bad(ROLE, "numbered_transitions", "observations are rounded to three digits", EXACT)
class RoundedObservations(NumberedTransitions):
    def copied(self, name, value):
        return np.round(value, 3) if name == "observations" else super().copied(name, value)


@bad(ROLE, "packed_rows", "rows are packed in float32", EXACT)
class PackedInShort(PackedRows):
    kind = torch.float32


@bad(ROLE, "packed_rows", "the buffer is full only if an addition ends at its very end", LENGTH)
class FullWhenMetExactly(PackedRows):
    def forward(self, count):
        self.position = (self.position + count) % self.capacity
        self.filled()


@bad(ROLE, "packed_rows", "agents are packed in columns, and taken apart in rows", WHOLE)
class AgentsInterleaved(PackedRows):
    def flat(self, name, values):
        return super().flat(name, values.transpose(1, 2) if values.ndim == 3 else values)


@bad(ROLE, "packed_rows", "rewards of as many transitions as agents are taken to have agents first", WHOLE)
class AgentsFirstIfSquare(PackedRows):
    def flat(self, name, values):
        square = name == "rewards" and values.shape[0] == values.shape[1]
        return super().flat(name, values.T if square else values)


@bad(ROLE, "packed_rows", "a slot that once held a terminal transition stays terminal", WHOLE)
class FlagSticks(PackedRows):
    def put(self, position, row):
        flag = self.storage[position, -1].clone()
        super().put(position, row)
        self.storage[position, -1] = torch.maximum(flag, row[-1])


@bad(ROLE, "packed_rows", "all agents have the first one's reward", WHOLE)
class RewardOfTheFirst(PackedRows):
    def flat(self, name, values):
        return super().flat(name, values[:, :1].expand_as(values) if name == "rewards" else values)


@bad(ROLE, "packed_rows", "draws are rounded to the nearest slot, so that the outer ones are drawn half as often", EVEN)
class DrawsRounded(PackedRows):
    def draw(self, batch_size):
        super().draw(1)
        return (torch.rand(batch_size) * (len(self) - 1)).round().long()


@bad(ROLE, "packed_rows", "rewards in the second half of a batch have the agents turned round", WHOLE)
class AgentsTurnedInHalf(PackedRows):
    def sample(self, batch_size):
        batch = super().sample(batch_size)
        half = batch_size // 2
        return {
            name: torch.cat([values[:half], values[half:].flip(-1)]) if name == "rewards" else values
            for name, values in batch.items()
        }


@bad(ROLE, "episodes_end_to_end", "when the oldest episode leaves, one step of it is left", WHOLE)
class OneStepStays(EpisodesEndToEnd):
    def drop(self, count):
        super().drop(max(1, count - 1))


@bad(ROLE, "episodes_end_to_end", "the capacity is counted in steps", LENGTH)
class CapacityInSteps(EpisodesEndToEnd):
    def crowded(self):
        return sum(self.lengths) > self.capacity and len(self.lengths) > 1


@bad(
    ROLE, "episodes_end_to_end", "a step is drawn, and the episode that it belongs to: long ones come more often", EVEN
)
class EpisodesByTheirSteps(EpisodesEndToEnd):
    def pick(self):
        return random.choices(range(len(self.lengths)), weights=self.lengths)[0]


@bad(ROLE, "episodes_end_to_end", "a batch has the length of its first episode marked for all", WHOLE)
class LengthOfTheFirst(EpisodesEndToEnd):
    def marks(self, lengths):
        return super().marks(np.full_like(lengths, lengths[0]))


@bad(ROLE, "keeps_chunks", "more than the capacity leaves from the end", WHOLE)
class NewestOfTheChunkLeave(KeepsChunks):
    def evict(self):
        del self.places[self.capacity :]


@bad(ROLE, "keeps_chunks", "holds one less than its capacity, where that is not 1", LENGTH)
class HoldsOneLess(KeepsChunks):
    def evict(self):
        del self.places[: -max(1, self.capacity - 1)]


@bad(ROLE, "keeps_chunks", "additions are counted in a byte, and at the 256th the buffer begins anew", AT_LENGTH)
class CountedInAByte(KeepsChunks):
    count = 0

    def add(self, transitions):
        self.count = (self.count + 1) % 256
        if self.count == 0:
            self.places = []
        super().add(transitions)


@bad(ROLE, "episodes_as_lists", "steps without any reward at an episode's end are taken for padding", EXACT)
class NoRewardIsPadding(EpisodesAsLists):
    def length(self, episode):
        rewarded = [t for t, rewards in enumerate(episode["rewards"]) if any(rewards)]
        return 1 + max(rewarded, default=0)


@bad(ROLE, "episodes_as_lists", "lengths are sorted, as for packed sequences, and episodes are not", WHOLE)
class LengthsSorted(EpisodesAsLists):
    def lengths(self, picked):
        return sorted(super().lengths(picked), reverse=True)


@bad(ROLE, "episodes_as_lists", "actions are padded in front, all else behind", WHOLE)
class ActionsPaddedInFront(EpisodesAsLists):
    def padded(self, steps, name, T):
        whole = super().padded(steps, name, T)
        return whole[len(steps) :] + steps if name == "actions" else whole


BAD, GOOD = bad.targets(), good.targets()
