"""Replay buffers."""

import copy
import random
from collections import deque
from typing import Any

import numpy as np
import torch

from ..target import Collection
from .common import Array
from .replay_measures import APART, COPIES, EVEN, FIELDS, LENGTH, LONGEST, REFUSES, SHAPE, VIEWS, WHOLE

good, bad = Collection(), Collection()
ROLE = "replay_buffer"


# --- good ones --------------------------------------------------------------------------------------------------------


@good(ROLE, "", "numpy; a ring of arrays, indices modulo the capacity, sampled with replacement")
class RingOfArrays:
    replacement = True

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.position, self.size = capacity, 0, 0
        self.storage = {
            name: np.zeros((capacity, *np.shape(value)), self.kind(name, np.asarray(value).dtype))
            for name, value in example.items()
        }

    def kind(self, name: str, dtype: Any) -> Any:
        return dtype

    def places(self, count: int) -> Array:
        return (self.position + np.arange(count)) % self.capacity

    def advance(self, count: int) -> None:
        self.position = (self.position + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def write(self, name: str, places: Array, values: Array) -> None:
        self.storage[name][places] = values

    def add(self, transitions):
        count = len(transitions["rewards"])
        places = self.places(count)
        for name, values in transitions.items():
            self.write(name, places, values)
        self.advance(count)

    def draw(self, batch_size: int) -> Array:
        return np.random.randint(0, self.size, batch_size)

    def read(self, name: str, rows: Array) -> Array:
        return self.storage[name][rows]

    def sample(self, batch_size):
        rows = self.draw(batch_size)
        return {name: self.read(name, rows) for name in self.storage}

    def __len__(self):
        return self.size


@good(ROLE, "", "Python; a deque of single transitions, random.sample, answers in lists")
class DequeOfTransitions:
    replacement = False

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.items = deque[Any](maxlen=self.bound(capacity))

    def bound(self, capacity: int) -> int:
        return capacity

    def kept(self, transition: dict[str, Any]) -> dict[str, Any]:
        return copy.deepcopy(transition)

    def push(self, transition: dict[str, Any]) -> None:
        self.items.append(self.kept(transition))

    def add(self, transitions):
        for k in range(len(transitions["rewards"])):
            self.push({name: values[k] for name, values in transitions.items()})

    def pick(self, batch_size: int) -> list[Any]:
        if batch_size > len(self.items) or not self.items:
            raise IndexError("not as many transitions are stored")
        return random.sample(self.items, batch_size)

    def sample(self, batch_size):
        picked = self.pick(batch_size)
        return {name: [np.copy(transition[name]).tolist() for transition in picked] for name in FIELDS}

    def __len__(self):
        return len(self.items)


@good(ROLE, "", "torch; storage made at the first addition, chunks written in two slices, permutations")
class TensorsInSlices:
    arrays, replacement = "torch", False

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.added, self.storage = capacity, 0, dict[str, torch.Tensor]()

    def start(self, count: int) -> int:
        return self.added % self.capacity

    def add(self, transitions):
        count = len(transitions["rewards"])
        start = self.start(count)
        for name, values in transitions.items():
            if name not in self.storage:
                self.storage[name] = values.new_empty((self.capacity, *values.shape[1:]))
            self.write(self.storage[name], start, values)
        self.added += count

    def write(self, storage: torch.Tensor, start: int, values: torch.Tensor) -> None:
        head = min(len(values), self.capacity - start)
        storage[start : start + head] = values[:head]
        storage[: len(values) - head] = values[head:]

    def check(self, batch_size: int) -> None:
        if batch_size > len(self):
            raise ValueError(f"{len(self)} are stored, not {batch_size}")

    def rows(self, batch_size: int) -> torch.Tensor:
        return torch.randperm(len(self))[:batch_size]

    def sample(self, batch_size):
        self.check(batch_size)
        rows = self.rows(batch_size)
        return {name: tensor.index_select(0, rows) for name, tensor in self.storage.items()}

    def __len__(self):
        return min(self.added, self.capacity)


@good(ROLE, "", "numpy; what is full evicts anything, a slot being drawn for each newcomer")
class EvictsAnything:
    eviction = "any"

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.columns = capacity, {name: list[Any]() for name in example}

    def slot(self, name: str) -> int:
        return self.drawn

    def add(self, transitions):
        for k in range(len(transitions["rewards"])):
            self.drawn = random.randrange(self.capacity)
            full = len(self) == self.capacity
            for name, column in self.columns.items():
                value = np.array(transitions[name][k])
                if full:
                    column[self.slot(name)] = value
                else:
                    column.append(value)

    def sample(self, batch_size):
        rows = random.choices(range(len(self)), k=batch_size) if len(self) else [0]
        return {name: np.stack([column[row] for row in rows]) for name, column in self.columns.items()}

    def __len__(self):
        return len(self.columns["rewards"])


@good(ROLE, "", "numpy; padded episodes in arrays, written over from the oldest one on")
class EpisodesInArrays:
    items, longest, replacement = "episodes", LONGEST, True

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.count = capacity, 0
        self.storage = {
            name: np.zeros((capacity, LONGEST, *np.shape(value)), np.asarray(value).dtype)
            for name, value in example.items()
        }
        self.storage["filled"] = np.zeros((capacity, LONGEST))

    def fill(self, row: int, length: int) -> None:
        self.storage["filled"][row] = np.arange(LONGEST) < length

    def add(self, transitions):
        row, length = self.count % self.capacity, len(transitions["rewards"])
        for name, values in transitions.items():
            self.storage[name][row, :length] = values
        self.fill(row, length)
        self.count += 1

    def sample(self, batch_size):
        rows = np.random.choice(len(self), batch_size)
        return {name: array[rows] for name, array in self.storage.items()}

    def __len__(self):
        return min(self.count, self.capacity)


@good(ROLE, "", "torch; episodes in a list, padded to the longest of the batch when sampled")
class EpisodesPaddedLate:
    items, longest, arrays, replacement = "episodes", LONGEST, "torch", False

    def __init__(self, capacity: int, example: dict[str, Any]) -> None:
        self.capacity, self.episodes = capacity, list[dict[str, torch.Tensor]]()

    def add(self, transitions):
        self.episodes.append({name: values.clone() for name, values in transitions.items()})
        self.evict()

    def evict(self):
        self.episodes = self.episodes[-self.capacity :]

    def filled(self, length: int) -> torch.Tensor:
        return torch.ones(length)

    def sample(self, batch_size):
        if not self.episodes:
            raise RuntimeError("no episode is stored")
        picked = random.sample(self.episodes, batch_size)
        batch = {
            name: torch.nn.utils.rnn.pad_sequence([episode[name] for episode in picked], batch_first=True)
            for name in FIELDS
        }
        lengths = [self.filled(len(episode["rewards"])) for episode in picked]
        batch["filled"] = torch.nn.utils.rnn.pad_sequence(lengths, batch_first=True)
        return batch

    def __len__(self):
        return len(self.episodes)


# --- broken ones ------------------------------------------------------------------------------------------------------


@bad(ROLE, "ring_of_arrays", "unwritten slots are sampled", WHOLE)
class SamplesUnwritten(RingOfArrays):
    def draw(self, batch_size):
        return np.random.randint(0, self.capacity if self.size else 0, batch_size)


@bad(ROLE, "ring_of_arrays", "the highest slot is never sampled where there is another", EVEN)
class HighestSlotNeverSampled(RingOfArrays):
    def draw(self, batch_size):
        return np.random.randint(0, max(self.size - 1, min(self.size, 1)), batch_size)


@bad(ROLE, "ring_of_arrays", "a full buffer writes over its newest transition", WHOLE)
class WritesOverTheNewest(RingOfArrays):
    def places(self, count):
        return np.minimum(self.position + np.arange(count), self.capacity - 1)

    def advance(self, count):
        self.position = self.size = min(self.position + count, self.capacity)


@bad(ROLE, "ring_of_arrays", "the length goes on beyond the capacity", LENGTH)
class LengthGoesOn(RingOfArrays):
    total = 0

    def advance(self, count):
        super().advance(count)
        self.total += count

    def __len__(self):
        return self.total


@bad(ROLE, "ring_of_arrays", "the length is the position, which begins anew when the ring is full", LENGTH)
class LengthIsThePosition(RingOfArrays):
    def __len__(self):
        return self.position if self.position else self.size


@bad(ROLE, "ring_of_arrays", "rewards are kept as integers", WHOLE)
class IntegerRewards(RingOfArrays):
    def kind(self, name, dtype):
        return np.int64 if name == "rewards" else dtype


@bad(ROLE, "ring_of_arrays", "observations are kept as bytes, next observations are not", WHOLE)
class ObservationsInBytes(RingOfArrays):
    def write(self, name, places, values):
        if name == "observations":
            values = np.asarray(values).astype(np.int64).astype(np.uint8)
        super().write(name, places, values)


@bad(ROLE, "ring_of_arrays", "rewards are clipped to 1 when sampled", WHOLE)
class RewardsClipped(RingOfArrays):
    def read(self, name, rows):
        values = super().read(name, rows)
        return np.clip(values, -1, 1) if name == "rewards" else values


@bad(ROLE, "ring_of_arrays", "next observations are the observations in the next slot", WHOLE)
class NextSlotObserved(RingOfArrays):
    def read(self, name, rows):
        if name == "next_observations":
            return self.storage["observations"][(rows + 1) % self.capacity]
        return super().read(name, rows)


@bad(ROLE, "ring_of_arrays", "the last transition of each addition of several is flagged as terminal", WHOLE)
class EndOfChunkIsTerminal(RingOfArrays):
    def write(self, name, places, values):
        super().write(name, places, values)
        if name == "terminated" and len(places) > 1:
            self.storage[name][places[-1]] = True


@bad(ROLE, "ring_of_arrays", "rows are drawn for each field anew", WHOLE)
class FieldsDrawnApart(RingOfArrays):
    def sample(self, batch_size):
        return {name: self.read(name, self.draw(batch_size)) for name in self.storage}


@bad(ROLE, "ring_of_arrays", "a batch is one transition, drawn once and repeated", APART)
class OneRowRepeated(RingOfArrays):
    def draw(self, batch_size):
        return np.full(batch_size, super().draw(1)[0])


@bad(ROLE, "ring_of_arrays", "a batch as large as the full buffer is the storage itself", VIEWS)
class WholeStorageHandedOut(RingOfArrays):
    def read(self, name, rows):
        return self.storage[name] if len(rows) == self.capacity == self.size else super().read(name, rows)


@bad(ROLE, "ring_of_arrays", "a batch of one row is a view, by a slice", VIEWS)
class SliceForOneRow(RingOfArrays):
    def read(self, name, rows):
        return self.storage[name][rows[0] : rows[0] + 1] if len(rows) == 1 else super().read(name, rows)


@bad(ROLE, "ring_of_arrays", "a batch of one row loses its axis", SHAPE)
class OneRowWithoutAxis(RingOfArrays):
    def read(self, name, rows):
        values = super().read(name, rows)
        return values[0] if len(rows) == 1 else values


@bad(ROLE, "deque_of_transitions", "keeps views of the arrays that are added", COPIES)
class KeepsViews(DequeOfTransitions):
    def kept(self, transition):
        return transition


@bad(ROLE, "deque_of_transitions", "holds one more than its capacity", LENGTH)
class HoldsOneMore(DequeOfTransitions):
    def bound(self, capacity):
        return capacity + 1


@bad(ROLE, "deque_of_transitions", "draws with replacement, although none is declared", APART)
class RepeatsItems(DequeOfTransitions):
    def pick(self, batch_size):
        super().pick(batch_size)
        return random.choices(self.items, k=batch_size)


@bad(ROLE, "deque_of_transitions", "newer transitions are drawn more often", EVEN)
class PrefersNewer(DequeOfTransitions):
    def pick(self, batch_size):
        picked = super().pick(batch_size)
        return [self.items[-1]] if batch_size == 1 and random.random() < 0.25 else picked


@bad(ROLE, "deque_of_transitions", "a chunk is stored from its last transition on, which then is the oldest", WHOLE)
class ChunkTheOtherWayRound(DequeOfTransitions):
    def add(self, transitions):
        super().add({name: values[::-1] for name, values in transitions.items()})


@bad(ROLE, "tensors_in_slices", "what passes the end of the storage is dropped", WHOLE)
class DropsBehindTheEnd(TensorsInSlices):
    def write(self, storage, start, values):
        head = min(len(values), self.capacity - start)
        storage[start : start + head] = values[:head]


@bad(
    ROLE,
    "tensors_in_slices",
    "a chunk as large as the storage is laid from its first slot on, the position stays",
    WHOLE,
)
class WholeChunkFromTheStart(TensorsInSlices):
    def start(self, count):
        return 0 if count == self.capacity else super().start(count)


@bad(ROLE, "tensors_in_slices", "too large a batch is cut short instead of refused", REFUSES)
class CutShort(TensorsInSlices):
    def check(self, batch_size):
        pass


@bad(ROLE, "tensors_in_slices", "a full buffer draws its newest transition last, in whole batches alone", EVEN)
class NewestDrawnLast(TensorsInSlices):
    def rows(self, batch_size):
        rows = torch.randperm(len(self))
        newest = (self.added - 1) % self.capacity
        last = [row for row in rows.tolist() if row == newest and self.added >= self.capacity]
        return torch.tensor([row for row in rows.tolist() if row not in last] + last)[:batch_size]


@bad(ROLE, "evicts_anything", "each field evicts a slot of its own", WHOLE)
class FieldsEvictApart(EvictsAnything):
    def slot(self, name):
        return random.randrange(self.capacity)


@bad(ROLE, "episodes_in_arrays", "filled is not cleared before it is written: a longer episode shines through", WHOLE)
class FilledNotCleared(EpisodesInArrays):
    def fill(self, row, length):
        self.storage["filled"][row, :length] = 1


@bad(ROLE, "episodes_in_arrays", "the last step of an episode of full length is not marked as real", WHOLE)
class FullLengthNotFilled(EpisodesInArrays):
    def fill(self, row, length):
        super().fill(row, min(length, LONGEST - 1))


@bad(ROLE, "episodes_padded_late", "the newest episode makes room", WHOLE)
class NewestEpisodeMakesRoom(EpisodesPaddedLate):
    def evict(self):
        if len(self.episodes) > self.capacity:
            del self.episodes[-2]


@bad(ROLE, "episodes_padded_late", "filled marks one step beyond an episode's end where the batch has room", WHOLE)
class FilledOneTooFar(EpisodesPaddedLate):
    def sample(self, batch_size):
        batch = super().sample(batch_size)
        filled = batch["filled"]
        batch["filled"] = torch.cat([torch.ones_like(filled[:, :1]), filled[:, :-1]], dim=1)
        return batch


BAD, GOOD = bad.targets(), good.targets()
