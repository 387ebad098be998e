"""What a step cannot go below: operations and bytes counted by code, over rates measured on the device at hand.

    floor = max(operations of matrix products / measured product rate, bytes that must move / measured copy rate)

Operations are those of matrix products alone (2 m k n for [m, k] times [k, n]), forward and backward. Bytes that must
move are those of what outlives a step: parameters, target networks, the optimiser's moments, rows drawn from and put
into the replay buffer, the games' states; each is counted once as it is read and once as it is written, and nothing
that a step makes for itself is counted, since a fused kernel need not write it. A floor in time is the larger of the
two because products and copies may overlap. Beside it stands what an eager step pays for the mere number of its
operators: their number times the time of one that does nothing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from marlspec.reference.parts.learner import Learner

Clock = Callable[[], float]

REPETITIONS = 7
LAUNCHES = 2_000
COPIED_BYTES = 2**28
PRODUCT_SIZE = {"cpu": 1024, "cuda": 8192}

# Which argument of these operators is read, or written, in a few rows only; the rows' bytes are those of another one.
ROWS_READ = {"index", "index_select", "gather", "embedding", "take"}
ROWS_WRITTEN = {"index_copy_", "index_put_", "scatter_", "index_add_"}


@dataclass(frozen=True)
class Rates:
    """What a device does at best.

    Attributes:
        product: operations per second in a large float32 matrix product.
        small_product: the same in the products of a hidden layer: 2 networks, batch 256, 64 to 64.
        copy: bytes per second read and written in a large copy.
        launch: seconds of an operator on one number.
    """

    product: float
    small_product: float
    copy: float
    launch: float


@dataclass(frozen=True)
class Work:
    """What one step does.

    Attributes:
        operators: calls of operators that compute, views left out.
        operations: of matrix products.
        bytes_needed: of what outlives the step.
        bytes_moved: of all that operators read and write when none is fused with another.
    """

    operators: int
    operations: int
    bytes_needed: int
    bytes_moved: int


@dataclass(frozen=True)
class Floor:
    """Seconds that a step cannot go below, and what sets them.

    Attributes:
        seconds: the larger of the next two.
        arithmetic: of the matrix products.
        traffic: of the bytes that must move.
        launches: of the operators, if each did nothing but begin and end.
    """

    seconds: float
    arithmetic: float
    traffic: float
    launches: float


def floor(work: Work, rates: Rates) -> Floor:
    """Return the floor of a step on a device of these rates."""
    arithmetic, traffic = work.operations / rates.product, work.bytes_needed / rates.copy
    return Floor(max(arithmetic, traffic), arithmetic, traffic, work.operators * rates.launch)


@cache
def rates(device: str, clock: Clock = time.perf_counter) -> Rates:
    """Measure a device: of several repetitions the best, since a floor is what nothing goes below."""
    size = PRODUCT_SIZE[torch.device(device).type]
    large = torch.rand(size, size, device=device)
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device).fill_(1)
    target, one = torch.empty_like(source), torch.zeros(1, device=device)
    best = partial(_best, device=device, clock=clock)
    x, w, b = (torch.rand(2, *shape, device=device) for shape in ((256, 64), (64, 64), (1, 64)))
    return Rates(
        product=2 * size**3 / best(lambda: large @ large),
        small_product=2 * 2 * 256 * 64 * 64 / best(lambda: torch.baddbmm(b, x, w), calls=200),
        copy=2 * COPIED_BYTES / best(lambda: target.copy_(source)),
        launch=best(lambda: one.add_(1), calls=LAUNCHES),
    )


def _best(call: Callable[[], Any], device: str, clock: Clock, calls: int = 1) -> float:
    """Seconds of a call, the least of several repetitions."""

    def repetition() -> float:
        start = clock()
        for _ in range(calls):
            call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return (clock() - start) / calls

    return min(repetition() for _ in range(REPETITIONS))


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators and bytes of what runs under it.

    Attributes:
        operators: calls that compute.
        bytes_moved: bytes of all tensors that they read and write.
    """

    def __init__(self, lasting: list[Tensor]) -> None:
        """Count with these tensors as those that were there before and stay."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = self.bytes_moved = 0
        self._lasting = {_place(tensor) for tensor in lasting}
        self._needed: dict[tuple[int, str], int] = {}

    @property
    def bytes_needed(self) -> int:
        """Bytes of what lasts, once as read and once as written."""
        return sum(self._needed.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self.operators += 1
            for tensor, size, access in _accesses(func, args, kwargs or {}, result):
                self.bytes_moved += size
                self._need(tensor, size, access)
        return result

    def _need(self, tensor: Tensor, size: int, access: str) -> None:
        place = _place(tensor)
        if place in self._lasting:
            self._needed[place, access] = max(size, self._needed.get((place, access), 0))


def _accesses(func: Any, args: Any, kwargs: Any, result: Any) -> Iterator[tuple[Tensor, int, str]]:
    """Which tensors an operator reads and writes, and how many bytes of them."""
    name = func._schema.name.removeprefix("aten::")
    given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | dict(kwargs)
    rows = _rows(name, given, result)
    for argument in func._schema.arguments:
        accesses = ["read"] if not _writes(argument) else ["write"] if rows is not None else ["read", "write"]
        for tensor in _tensors(given.get(argument.name)):
            size = rows if rows is not None and argument.name == "self" else _bytes(tensor)
            yield from ((tensor, size, access) for access in accesses)
    if not any(_writes(argument) for argument in func._schema.arguments):
        for tensor in _tensors(result):
            yield tensor, _bytes(tensor), "write"


def _rows(name: str, given: dict[str, Any], result: Any) -> int | None:
    """Bytes of the rows that an operator picks out of its first argument; None where it takes all of it."""
    if name in ROWS_READ:
        return sum(map(_bytes, _tensors(result)))
    if name in ROWS_WRITTEN:
        return sum(map(_bytes, _tensors([given.get("source"), given.get("values"), given.get("src")])))
    return None


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _is_view(func: Any) -> bool:
    """Whether an operator only says anew how memory is to be read."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases) or "_unsafe_view" in func._schema.name


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def lasting(learner: Learner) -> list[Tensor]:
    """Return the tensors that outlive a step of a learner: its own, its optimisers' and its game's."""
    optimisers = [own for own in vars(learner).values() if isinstance(own, torch.optim.Optimizer)]
    moments = [leaf for own in optimisers for state in own.state.values() for leaf in _tensors(state)]
    tables = [leaf for value in vars(learner.game).values() for leaf in _tensors(value)]
    return [*learner.parameters(), *learner.buffers(), *moments, *tables, *_tensors(learner.game_state)]


def work(step: Callable[[], Any], tensors: list[Tensor]) -> Work:
    """Run a step once, uncompiled, and return what it did."""
    counter, operations = Counter(tensors), FlopCounterMode(display=False)
    with operations, counter:
        step()
    return Work(counter.operators, operations.get_total_flops(), counter.bytes_needed, counter.bytes_moved)
