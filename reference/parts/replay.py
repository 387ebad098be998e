"""The replay buffer D: a ring of transitions, one flat tensor per field, a separate ring for each seed."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from marlspec.errors import InputError

Transition = TypeVar("Transition", bound=tuple[Tensor, ...])


class ReplayBuffer(nn.Module, Generic[Transition]):
    """A ring buffer of transitions for each of S seeds, on one device.

    A transition is a NamedTuple of tensors. Seed s owns the rows s * capacity .. (s + 1) * capacity - 1 of every field.
    K transitions of each seed are written at once, over the oldest ones when the ring is full; capacity need not be a
    multiple of K. All that must survive is in the state_dict.

    Attributes:
        kind: the transition's type.
        names: its fields.
        size: how many transitions of each seed are stored.
        cursor: the slot of the next one.
        slot: the same on the device, where rows are computed.
    """

    offsets: Tensor
    slot: Tensor

    def __init__(self, capacity: int, example: Transition, seeds: int = 1, device: torch.device | str = "cpu") -> None:
        """Allocate the fields, with the shapes and types of one example transition (without batch axes).

        Raises:
            InputError: a capacity below 1.
        """
        super().__init__()
        if capacity < 1:
            raise InputError(f"capacity is {capacity}: a replay buffer holds at least one transition")
        self.capacity, self.seeds = capacity, seeds
        self.size = self.cursor = 0
        self.kind: Callable[..., Transition] = type(example)
        self.names: tuple[str, ...] = example._fields  # type: ignore[attr-defined]
        for name, value in zip(self.names, example, strict=True):
            field = torch.zeros(seeds * capacity, *value.shape, dtype=value.dtype, device=device)
            self.register_buffer(name, field)
        offsets = torch.arange(seeds, device=device).unsqueeze(-1) * capacity
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("slot", torch.zeros((), dtype=torch.int64, device=device), persistent=False)

    def store(self, transition: Transition) -> None:
        """Write K transitions of each seed: fields of shape [seeds, K, ..].

        Raises:
            InputError: K exceeds the capacity.
        """
        K = transition[0].shape[1]
        if self.capacity < K:
            raise InputError(f"{K} transitions at once do not fit into a replay buffer of capacity {self.capacity}")
        slots = self.slot + torch.arange(K, device=self.offsets.device)
        slots = torch.where(slots < self.capacity, slots, slots - self.capacity)  # a remainder would take longer
        rows = (self.offsets + slots).flatten()
        for name, value in zip(self.names, transition, strict=True):
            self._field(name).index_copy_(0, rows, value.flatten(0, 1))
        self.slot.add_(K).remainder_(self.capacity)
        self.count(K)

    def count(self, K: int) -> None:
        """Count K more transitions of each seed as stored."""
        self.cursor = (self.cursor + K) % self.capacity
        self.size = min(self.size + K, self.capacity)

    def sample(self, batch_size: int) -> Transition:
        """Draw B transitions for each seed, uniformly with replacement from its own: fields of shape [seeds, B, ..].

        Raises:
            InputError: nothing is stored yet.
        """
        if self.size == 0:
            raise InputError("the replay buffer is empty: store a transition before sampling")
        slots = torch.randint(self.size, (self.seeds, batch_size), device=self.offsets.device)
        rows = self.offsets + slots
        return self.kind(*(self._field(name)[rows] for name in self.names))

    def _field(self, name: str) -> Tensor:
        return self._buffers[name]  # type: ignore[return-value]

    def get_extra_state(self) -> dict[str, int]:
        """Return how much is stored, and where the next transition goes."""
        return {"size": self.size, "cursor": self.cursor}

    def set_extra_state(self, state: Any) -> None:
        """Take up a saved get_extra_state."""
        self.size, self.cursor = state["size"], state["cursor"]
        self.slot.fill_(self.cursor)
