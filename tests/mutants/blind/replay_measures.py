"""How far replay buffers are from a list of what they should hold."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..target import Factory, Violation
from .common import Array, as_array

AGENTS, SIZE, LONGEST = 2, 3, 4
FIELDS = ("observations", "actions", "rewards", "next_observations", "terminated")


def transition(tag: int) -> dict[str, Array]:
    """A transition whose numbers all follow from its tag; they are fractions, and of both signs."""
    sign = (-1) ** tag
    return {
        "observations": sign * (np.arange(AGENTS * SIZE).reshape(AGENTS, SIZE) * 0.25 + tag),
        "actions": (np.arange(AGENTS) + tag) % 5,
        "rewards": sign * (tag + 0.5 - 0.25 * np.arange(AGENTS)),
        "next_observations": np.arange(AGENTS * SIZE).reshape(AGENTS, SIZE) * 0.5 - tag - 100.25,
        "terminated": np.array(tag % 3 == 1),
    }


@functools.cache
def stacked(*tags: int) -> dict[str, Array]:
    """Transitions of these tags, not to be written into."""
    rows = [transition(tag) for tag in tags]
    return {field: np.stack([row[field] for row in rows]) for field in FIELDS}


class Watched:
    """A buffer beside a list of the tags that it should hold, oldest first; an item is a list of tags."""

    def __init__(self, factory: Factory, capacity: int, seed: int = 0) -> None:
        for seeds in (random.seed, np.random.seed, torch.manual_seed):
            seeds(seed)
        self.capacity, self.items, self.next_tag = capacity, list[list[int]](), 1
        self.torch = getattr(factory, "arrays", "numpy") == "torch"
        self.buffer = factory(capacity, self.handed(transition(0)))
        self.episodes = getattr(self.buffer, "items", "transitions") == "episodes"
        self.any = getattr(self.buffer, "eviction", "oldest") == "any"

    def handed(self, fields: dict[str, Array]) -> dict[str, Any]:
        return {name: torch.from_numpy(np.array(a)) if self.torch else np.array(a) for name, a in fields.items()}

    def add(self, count: int) -> dict[str, Any]:
        """Add so many transitions, or one episode of so many steps, and return the very arrays."""
        tags = list(range(self.next_tag, self.next_tag + count))
        self.next_tag += count
        fields = self.handed(stacked(*tags))
        self.buffer.add(fields)
        self.items += [tags] if self.episodes else [[tag] for tag in tags]
        if not self.any:
            del self.items[: -self.capacity]
        return fields

    @property
    def size(self) -> int:
        return min(len(self.items), self.capacity)

    def found(self, batch: Any) -> list[int | None]:
        """Of each row, the first tag of the stored item that it is, None where it is none of them."""
        fields = {name: as_array(batch[name]) for name in (*FIELDS, *(["filled"] if self.episodes else []))}
        rows = len(fields["rewards"])
        return [self._which({name: field[row] for name, field in fields.items()}) for row in range(rows)]

    def _which(self, row: dict[str, Array]) -> int | None:
        for tags in self.items:
            expected = stacked(*tags)
            if self.episodes:
                filled = row["filled"].astype(bool)
                if filled.sum() != len(tags) or not filled[: len(tags)].all():
                    continue
                same = [np.array_equal(row[name][filled], expected[name]) for name in FIELDS]
            else:
                same = [np.array_equal(row[name], expected[name][0]) for name in FIELDS]
            if all(same):
                return tags[0]
        return None


CAPACITIES = (1, 2, 3, 5)


def scripts(watched: Watched) -> list[int]:
    """How much is added at each turn: single ones, whole capacities, and chunks that pass the end."""
    if watched.episodes:
        return [3, 4, 1, 2, 4, 1, 1, 3, 2, 4, 1]
    C = watched.capacity
    return [1, C, 1, max(1, C - 1), max(1, C - 2), C, C, 1, 1, max(1, C - 1), max(1, C // 2), 1, C, 1]


def rows_astray(factory: Factory) -> float:
    """The share of sampled rows that are no stored item, through all of a script."""
    wrong, total = 0, 0
    for capacity in CAPACITIES:
        watched = Watched(factory, capacity)
        for count in scripts(watched):
            watched.add(count)
            for size in {1, watched.size}:
                for _ in range(6):
                    found = watched.found(watched.buffer.sample(size))
                    wrong += abs(len(found) - size) + sum(tag is None for tag in found)
                    total += size
    return wrong / total


def wrong_shapes(factory: Factory) -> float:
    """1 where some field of a batch of one row has other axes than a batch of two."""
    watched = Watched(factory, 3)
    watched.add(2)
    watched.add(1)
    one, two = watched.buffer.sample(1), watched.buffer.sample(2)
    return float(any(as_array(one[name]).ndim != as_array(two[name]).ndim for name in FIELDS))


def wrong_length(factory: Factory) -> float:
    """The largest difference of the length from the number of items stored."""
    worst = 0
    for capacity in CAPACITIES:
        watched = Watched(factory, capacity)
        worst = max(worst, len(watched.buffer))
        for count in scripts(watched):
            watched.add(count)
            worst = max(worst, abs(len(watched.buffer) - watched.size))
    return float(worst)


def uneven(factory: Factory) -> float:
    """How far an item's share of what is sampled is from even, beyond six standard deviations."""
    worst, draws = 0.0, 600
    for capacity, turns in ((4, [3]), (4, [4, 2]), (2, [1, 1]), (3, [3, 3, 1]), (5, [2, 2])):
        watched = Watched(factory, capacity)
        for count in turns:
            watched.add(count)
        counts: dict[Any, int] = {}
        for _ in range(draws):
            (tag,) = watched.found(watched.buffer.sample(1)) or (None,)
            counts[tag] = counts.get(tag, 0) + 1
        even = 1 / watched.size
        allowed = 6 * (even * (1 - even) / draws) ** 0.5 + 1e-12
        present = [counts.get(tag, 0) for tag in counts] + [0] * (watched.size - len(counts))
        worst = max([worst, *(abs(count / draws - even) - allowed for count in present)])
    return worst


def rows_alike(factory: Factory) -> float:
    """How far the share of batches of two equal rows is from one in the number of items, or from 0 without repeats."""
    watched, draws = Watched(factory, 4), 600
    watched.add(4)
    for _ in range(3 if watched.episodes else 0):
        watched.add(1)
    pairs = [watched.found(watched.buffer.sample(2)) for _ in range(draws)]
    expected = 0.0 if getattr(watched.buffer, "replacement", None) is False else 0.25
    allowed = 6 * (expected * (1 - expected) / draws) ** 0.5 + 1e-12
    return max(0.0, abs(sum(a == b for a, b in pairs) / draws - expected) - allowed)


def does_not_refuse(factory: Factory) -> float:
    """1 where more is drawn than can be."""
    watched, refused = Watched(factory, 3), []
    demands = [1]
    if getattr(watched.buffer, "replacement", None) is False:
        demands += [3]
    for demand in demands:
        try:
            watched.buffer.sample(demand)
            refused.append(False)
        except Exception:
            refused.append(True)
        watched.add(2)
    return float(not all(refused))


def feels_a_write(into: str) -> Callable[[Factory], float]:
    """The share of rows that are spoilt by writing into a batch, or into what was added."""

    def amount(factory: Factory) -> float:
        wrong, total = 0, 0
        for capacity in CAPACITIES:
            watched = Watched(factory, capacity)
            if into == "added" and not getattr(watched.buffer, "copies", True):
                return 0.0
            for count in scripts(watched):
                added = watched.add(count)
                if into == "added":
                    spoil(added)
                for size in {1, watched.size}:
                    if into == "batch":
                        spoil(watched.buffer.sample(size))
                    found = watched.found(watched.buffer.sample(watched.size))
                    wrong, total = wrong + sum(tag is None for tag in found), total + len(found)
        return wrong / total

    return amount


def spoil(fields: Any) -> None:
    for name in FIELDS:
        if isinstance(fields[name], (np.ndarray, torch.Tensor)):
            fields[name][...] = 1 if name == "terminated" else 77


WHOLE = Violation("each sampled row is a transition that is stored, whole", rows_astray)
SHAPE = Violation("a batch of one row has its axis", wrong_shapes)
LENGTH = Violation("the length is the number of items stored, the capacity at most", wrong_length)
EVEN = Violation("items have equal shares of what is sampled", uneven)
APART = Violation("rows of a batch are drawn each by itself, or without repeats", rows_alike)
REFUSES = Violation("refuses to draw what is not there", does_not_refuse)
VIEWS = Violation("writing into a batch leaves what is stored as it is", feels_a_write("batch"))
COPIES = Violation("writing into what was added leaves what is stored as it is", feels_a_write("added"))
