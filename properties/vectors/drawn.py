"""Numbers drawn from a name: the same on every machine, in every version of every package."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count

import numpy as np
from numpy.typing import NDArray


class Drawn:
    """A stream of short dyadic numbers that follows from a text alone."""

    def __init__(self, name: str) -> None:
        self._bytes = _stream(name)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> NDArray[np.int64]:
        """Draw whole numbers from low to high, both included."""
        size = int(np.prod(shape))
        words = [int.from_bytes(bytes(next(self._bytes) for _ in range(4)), "big") for _ in range(size)]
        return np.array([low + word % (high - low + 1) for word in words], dtype=np.int64).reshape(shape)

    def quarters(self, shape: Sequence[int], most: int = 4) -> NDArray[np.float64]:
        """Draw multiples of 1/4 between -most and most."""
        return self.integers(-4 * most, 4 * most, shape) / 4

    def truths(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """Draw truth values."""
        return np.asarray(self.integers(0, 1, shape) == 1)

    def distributions(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Draw distributions along the last axis, in eighths."""
        *leading, size = shape
        picks = self.integers(0, size - 1, (*leading, 8))
        return np.asarray((picks[..., None] == np.arange(size)).sum(-2) / 8)


def _stream(name: str) -> Iterator[int]:
    for block in count():
        yield from sha256(f"{name} {block}".encode()).digest()
