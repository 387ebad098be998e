"""The same step as a CUDA graph: recorded once, then launched as a whole instead of kernel by kernel.

A graph makes the kernels that were recorded, on the memory that they were recorded on. So the state of the games is
brought to one place before each step; and where something on the host decides which kernels a step makes (a copy of the
target networks is due, a schedule has moved, the replay buffer is not yet full), each outcome is a phase of its own.
The first step of a phase is a plain one, the second is recorded, the later ones are replayed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.utils._pytree import tree_leaves, tree_map

from marlspec.errors import InputError
from marlspec.reference.parts.learner import Learner
from marlspec.reference.parts.replay import ReplayBuffer

Operations: TypeAlias = Callable[[], None]
Recorder: TypeAlias = Callable[[Operations], Operations]  # makes operations once, and returns what makes them again


def cuda_graph(operations: Operations) -> Operations:
    """Record operations as a CUDA graph and launch it once.

    Raises:
        RuntimeError: they wait for the device, or are such as a graph cannot hold.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operations()
    graph.replay()
    replay: Operations = graph.replay
    return replay


@contextmanager
def captured_step(learner: Learner, record: Recorder = cuda_graph) -> Iterator[Operations]:
    """Lend the learner's step() as CUDA graphs, or as what another recorder makes.

    Raises:
        InputError: the learner is not on a CUDA device; or, at the second step of a phase, the algorithm or the game
            waits for the device.
    """
    if record is cuda_graph and learner.device.type != "cuda":
        raise InputError(
            f"CUDA graphs need a CUDA device, not {learner.device}: write --device cuda, or leave --capture out"
        )
    with _capturable(learner):
        yield _Captured(learner, record)


@contextmanager
def _capturable(learner: Learner) -> Iterator[None]:
    """Let torch's optimisers count their updates on the device."""
    optimisers = learner.optimisers().values() if learner.device.type == "cuda" else ()
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    for optimiser in optimisers:
        for state in optimiser.state.values():
            state["step"] = state["step"].to(learner.device)
    try:
        yield
    finally:
        for group, own in zip(groups, before, strict=True):
            group["capturable"] = own


@dataclass(frozen=True)
class _Graph:
    """A recorded step, and by how much it moves the host's counters.

    Attributes:
        replay: makes the step's operations.
        t: time steps.
        updates: updates.
        stored: transitions of each seed, by replay buffer, up to whole rounds of a full one.
    """

    replay: Operations
    t: int
    updates: int
    stored: tuple[int, ...]


class _Captured:
    """The steps of a learner, plain, recorded or replayed by their phases."""

    def __init__(self, learner: Learner, record: Recorder) -> None:
        self._learner = learner
        self._record = record
        self._buffers = [module for module in learner.modules() if isinstance(module, ReplayBuffer)]
        self._home = tree_map(torch.clone, learner.game_state)
        self._met: set[Any] = set()
        self._graphs: dict[Any, _Graph] = {}

    def __call__(self) -> None:
        """Make one step."""
        phase = self._learner.phase()
        if phase in self._graphs:
            self._bring_home()
            self._replay(self._graphs[phase])
        elif phase in self._met:
            self._bring_home()
            self._graphs[phase] = self._recorded()
        else:
            self._met.add(phase)
            self._learner.step()

    def _bring_home(self) -> None:
        """Put the state of the games where the graphs expect it, if a plain step or a loaded one has left it elsewhere.

        The copy is made in two steps, since a state may hold parts of the one before it in other places.
        """
        if self._learner.game_state is self._home:
            return
        fresh = [leaf.clone() for leaf in tree_leaves(self._learner.game_state)]
        for kept, leaf in zip(tree_leaves(self._home), fresh, strict=True):
            kept.copy_(leaf)
        self._learner.game_state = self._home

    def _recorded(self) -> _Graph:
        learner = self._learner
        t, updates, cursors = learner.t, learner.updates, [buffer.cursor for buffer in self._buffers]

        def step_from_home_to_home() -> None:
            learner.step()
            self._bring_home()

        try:
            replay = self._record(step_from_home_to_home)
        except RuntimeError as error:
            raise InputError(
                f"a step of {type(learner).__name__} in {learner.game.name} is no CUDA graph "
                f"({str(error).splitlines()[0]}): leave --capture out"
            ) from error
        moved = zip(self._buffers, cursors, strict=True)
        stored = tuple((buffer.cursor - cursor) % buffer.capacity for buffer, cursor in moved)
        return _Graph(replay, learner.t - t, learner.updates - updates, stored)

    def _replay(self, graph: _Graph) -> None:
        graph.replay()
        self._learner.t += graph.t
        self._learner.updates += graph.updates
        for buffer, K in zip(self._buffers, graph.stored, strict=True):
            buffer.count(K)
