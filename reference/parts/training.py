"""The training loop: it owns the random numbers, shows progress, evaluates, saves, hands back the trained learner."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.reference.parts import checkpoints, heap
from marlspec.reference.parts.capture import captured_step
from marlspec.reference.parts.checkpoints import Checkpoint
from marlspec.reference.parts.compilation import compiled_step
from marlspec.reference.parts.config import RunConfig
from marlspec.reference.parts.evaluation import Evaluation, evaluate, interval, seed_of_evaluation
from marlspec.reference.parts.learner import Learner, usable_device
from marlspec.reference.parts.metrics import NAME as METRICS
from marlspec.reference.parts.metrics import EventFiles, Metrics, Records, require_tensorboard
from marlspec.reference.parts.randomness import restored_afterwards

Trained = TypeVar("Trained", bound=Learner)

REPORT_EVERY = 50


@dataclass(frozen=True)
class RunOptions:
    """How a run is watched and where it is kept. Nothing here changes what is learned, but for compile in last bits.

    Raises:
        InputError: a value outside its range, or a run to be resumed from nowhere.
    """

    folder: Path | None = None
    """Where metrics and checkpoints go; without a folder nothing is kept."""
    resume: bool = False
    """Go on with the run in the folder, from its checkpoint; all options left out are as they were."""
    checkpoint_every: int = 10_000
    """Steps from one checkpoint to the next; 0: only before the first and after the last step."""
    evaluate_every: int = 1_000
    """Steps from one greedy evaluation to the next; 0: only before the first and after the last step."""
    episodes: int = 32
    """Episodes that each seed plays in an evaluation."""
    check_every: int = 500
    """Steps after which the losses are recorded, and the run is stopped where one was no finite number."""
    tensorboard: bool = False
    """Also write the metrics as TensorBoard's event files into the folder; the pip extra tensorboard is needed."""
    compile: bool = False
    """Compile the step into one graph: faster after a minute or more; float32 results may differ in their last bits."""
    capture: bool = False
    """On a CUDA device, record the step as a CUDA graph: faster once the replay buffer is full and schedules have ended
    (until then steps are plain)."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "evaluate_every"):
            self._require(name, getattr(self, name) >= 0, "an integer, 0 or more")
        for name in ("episodes", "check_every"):
            self._require(name, getattr(self, name) >= 1, "a positive integer")
        if self.resume and self.folder is None:
            raise InputError("a run to be resumed lies in a folder: name it by --folder")
        if self.tensorboard and self.folder is None:
            raise InputError("event files lie in a folder: name it by --folder, or leave --tensorboard out")
        if self.compile and self.capture:
            raise InputError("a step is compiled or captured: leave --compile out, or --capture")
        if self.tensorboard:
            require_tensorboard()

    def _require(self, name: str, holds: bool, demand: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)!r}: it must be {demand}")


class DivergenceError(InputError):
    """A loss or a parameter is no finite number any more: the settings do not suit the game, or the game is faulty."""


@dataclass(frozen=True)
class Training(Generic[Trained]):
    """The outcome of train(): the learner, and how many seconds its steps took."""

    learner: Trained
    seconds: float


def train(
    algorithm: Callable[[BatchedGame[Any], Any], Trained],
    game: BatchedGame[Any],
    config: RunConfig,
    *,
    progress: bool = False,
) -> Training[Trained]:
    """Create a learner and make config.steps steps.

    The random numbers depend on config.seed alone, and the caller's are left as they were. The same seed on the same
    device with the same number of threads gives the same bits.

    Args:
        algorithm: the learner's class, for instance VDN.
        game: the batched game, on config.device.
        config: an instance of the class's Config.
        progress: whether to show a progress bar on the terminal.
    """
    learner = created(algorithm, game, config)
    return Training(learner, run(learner, config.steps, progress=progress))


def created(
    algorithm: Callable[[BatchedGame[Any], Any], Trained], game: BatchedGame[Any], config: RunConfig
) -> Trained:
    """Create a learner whose random numbers depend on config.seed alone; it is parked, arguments as for train()."""
    with restored_afterwards(usable_device(config.device)) as generator:
        generator.manual_seed(config.seed)
        learner = algorithm(game, config)
        learner.parked = generator.get_state()
    return learner


def run(learner: Learner, steps: int, *, progress: bool = False) -> float:
    """Make further steps with the learner's own random state, and return the seconds that they took.

    Raises:
        InputError: steps is negative.
    """
    if steps < 0:
        raise InputError(f"{steps} steps: the number of further steps must not be negative")
    with _running(learner), stepping(learner) as step, _Bar(0, steps, progress) as bar:
        start = time.perf_counter()
        for t in range(steps):
            step()
            bar.advance_to(t + 1)
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)
        return time.perf_counter() - start


class Run(Generic[Trained]):
    """A learner in training that is watched: evaluated and checked at intervals, recorded and saved in a folder.

    What is learned depends on neither: train() gives the same bits, as does a run that was cut off anywhere and resumed
    from its checkpoint (with the same device, number of threads, version of torch, and not compiled).

    Attributes:
        learner: the learner.
        identity: what a checkpoint must agree in, as JSON has it: algorithm, game, settings.
        options: the RunOptions.
        done: steps made.
        seconds: how long they took, without evaluations and checkpoints, over all parts of the run.
        evaluation: the latest one; None before the first.
    """

    def __init__(
        self, learner: Trained, identity: Mapping[str, Any], options: RunOptions, *, done: int = 0, seconds: float = 0.0
    ) -> None:
        """Take up a learner that has made so many steps in so many seconds."""
        self.learner = learner
        self.identity = identity
        self.options = options
        self.done = done
        self.seconds = seconds
        self.evaluation: Evaluation | None = None
        self._records: list[Records] = []
        self._saved = done if options.resume else None

    @classmethod
    def begin(cls, learner: Trained, identity: Mapping[str, Any], options: RunOptions) -> "Run[Trained]":
        """Begin a run with a learner that has made no steps, in a folder that holds no run.

        Raises:
            InputError: the folder holds a run already.
        """
        folder = options.folder
        if folder is not None:
            if checkpoints.exists(folder) or (folder / METRICS).exists():
                raise InputError(f"{folder} holds a run already: go on with it by --resume, or name another --folder")
            folder.mkdir(parents=True, exist_ok=True)
        return cls(learner, identity, options)

    @classmethod
    def resume(
        cls, learner: Trained, identity: Mapping[str, Any], options: RunOptions, checkpoint: Checkpoint
    ) -> "Run[Trained]":
        """Go on with a run from its checkpoint; the learner is freshly created with the same settings.

        Raises:
            InputError: the checkpoint is of another run, or does not fit the learner.
        """
        assert options.folder is not None, "RunOptions demands it"
        checkpoints.require_same_run(options.folder, checkpoint.run, identity)
        try:
            learner.load_state_dict(checkpoint.state)
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(f"the checkpoint in {options.folder} does not fit the learner: {error}") from error
        return cls(learner, identity, options, done=checkpoint.steps, seconds=checkpoint.seconds)

    def go_on(self, *, progress: bool = False) -> bool:
        """Make the steps that are left, and return whether all are made; not so where Ctrl-C asked to stop.

        Raises:
            DivergenceError: a loss or a parameter is no finite number; the checkpoint before that is kept.
        """
        with ExitStack() as stack:
            enter = stack.enter_context
            folder = self.options.folder
            stop = enter(_stoppable())
            enter(_running(self.learner))
            if folder is not None:
                self._save(folder)
                kinds = (Metrics, EventFiles) if self.options.tensorboard else (Metrics,)
                self._records = [enter(closing(kind(folder, self.done))) for kind in kinds]
            self._meter = enter(metered(self.learner))
            step = enter(stepping(self.learner, compiled=self.options.compile, captured=self.options.capture))
            self._bar = enter(_Bar(self.done, self._last, progress))
            if self.done == 0:
                self._visit(stop)
            while self.done < self._last and not stop.asked:
                self._advance(step, stop)
                self._visit(stop)
        return self.done == self._last

    @property
    def _last(self) -> int:
        return self.learner.config.steps

    def _advance(self, step: Callable[[], None], stop: "_Stop") -> None:
        """Make the steps until something is due, or until asked to stop."""
        start = time.perf_counter()
        intervals = (self.options.checkpoint_every, self.options.evaluate_every, self.options.check_every)
        until = min(self._last, *(self.done + own - self.done % own for own in intervals if own))
        while self.done < until and not stop.asked:
            step()
            self.done += 1
            self._bar.advance_to(self.done)
        if self.learner.device.type == "cuda":
            torch.cuda.synchronize(self.learner.device)
        self.seconds += time.perf_counter() - start

    def _visit(self, stop: "_Stop") -> None:
        """Check, evaluate, record and save, each where it is due."""
        losses = self._meter.take()
        self._require_finite(losses)
        if losses:
            self._record("losses", losses=losses)
        if self._is_due(self.options.evaluate_every):
            self._evaluate()
        if self.options.folder and (self._is_due(self.options.checkpoint_every) or stop.asked):
            self._save(self.options.folder)

    def _is_due(self, every: int) -> bool:
        return self.done in (0, self._last) or (every > 0 and self.done % every == 0)

    def _evaluate(self) -> None:
        seed = seed_of_evaluation(self.learner.config.seed, self.done)
        self.evaluation = evaluate(self.learner, self.options.episodes, seed)
        self._bar.show(str(interval(self.evaluation.returns.mean(-1))))
        self._record("evaluation", returns=self.evaluation.returns.tolist(), lengths=self.evaluation.lengths.tolist())

    def _record(self, kind: str, **values: list[Any]) -> None:
        for records in self._records:
            records.write(kind, self.done, seconds=self.seconds, **values)

    def _save(self, folder: Path) -> None:
        if self._saved == self.done:
            return
        for records in self._records:
            records.sync()
        options = {name: value for name, value in asdict(self.options).items() if name not in ("folder", "resume")}
        state = self.learner.state_dict()
        checkpoints.save(folder, Checkpoint(dict(self.identity), options, self.done, self.seconds, state))
        self._saved = self.done

    def _require_finite(self, losses: list[float]) -> None:
        bad = [f"the loss of seed {s} is {loss}" for s, loss in enumerate(losses) if not _is_finite(loss)]
        names = [name for name, own in self.learner.named_parameters() if not bool(own.isfinite().all())]
        bad += [f"{name} holds numbers that are not finite" for name in names]
        if bad:
            kept = f"; {self.options.folder} keeps the checkpoint of step {self._saved}" if self.options.folder else ""
            raise DivergenceError(
                f"training stopped by step {self.done}, since {bad[0]}: lower --learning-rate, or look for a reward or "
                f"an observation that is not finite{kept}"
            )


class LossMeter:
    """Adds up each seed's losses on the device, where nothing waits for them, until they are taken."""

    def __init__(self, learner: Learner) -> None:
        """Stand between a learner and its learn()."""
        self._learn = learner.learn
        self._total = torch.zeros(learner.config.seeds, dtype=torch.float64, device=learner.device)
        self._updates = torch.zeros((), dtype=torch.int64, device=learner.device)

    def learn(self, batch: Any) -> Float[Tensor, " seeds"]:
        """Update as the learner does, and add the losses up."""
        losses = self._learn(batch)
        self._total += losses
        self._updates += 1
        return losses

    def take(self) -> list[float]:
        """Return the mean loss of each seed since the last time, not finite where one was not; nothing without any."""
        mean = (self._total / self._updates).tolist() if int(self._updates) else []
        self._total.zero_()
        self._updates.zero_()
        return mean


@contextmanager
def stepping(learner: Learner, *, compiled: bool = False, captured: bool = False) -> Iterator[Callable[[], None]]:
    """Lend the learner's step(), compiled or captured where asked for; one of the two at most."""
    with heap.kept(), _step(learner, compiled, captured) as step:
        yield step


def _step(learner: Learner, compiled: bool, captured: bool) -> AbstractContextManager[Callable[[], None]]:
    if compiled:
        return compiled_step(learner)
    return captured_step(learner) if captured else nullcontext(learner.step)


@contextmanager
def _running(learner: Learner) -> Iterator[None]:
    """Hand the device's default generator over to the learner, and park its random state afterwards."""
    with restored_afterwards(learner.device) as generator:
        if learner.parked is not None:
            generator.set_state(learner.parked)
        learner.parked = None
        try:
            yield
        finally:
            learner.parked = generator.get_state()


@contextmanager
def metered(learner: Learner) -> Iterator[LossMeter]:
    """Let a meter see what every learn() of the learner returns."""
    meter = LossMeter(learner)
    learner.learn = meter.learn  # type: ignore[method-assign]
    try:
        yield meter
    finally:
        del learner.learn


@dataclass
class _Stop:
    """Whether Ctrl-C has asked to stop."""

    asked: bool = False


@contextmanager
def _stoppable() -> Iterator[_Stop]:
    """Take a first Ctrl-C as the wish to stop after the step; a second one interrupts as usual."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # where signals do not arrive
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _Speed(ProgressColumn):
    """Steps per second, of late."""

    def render(self, task: Task) -> Text:
        """Return the speed; nothing before it is known."""
        return Text(f"{task.speed:.0f} steps/s" if task.speed else "")


class _Bar:
    """A bar on the terminal with the latest return, the speed and the time left; nothing where it is not wanted."""

    def __init__(self, done: int, total: int, wanted: bool) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
        )
        self._progress = Progress(*columns, transient=True, disable=not wanted)
        self._task = self._progress.add_task("training", total=total, completed=done, shown="")
        self._total = total

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def advance_to(self, done: int) -> None:
        """Show how many steps are done, now and then."""
        if done % REPORT_EVERY == 0 or done == self._total:
            self._progress.update(self._task, completed=done)

    def show(self, returns: str) -> None:
        """Show the return of the latest evaluation."""
        self._progress.update(self._task, shown=f"return {returns}")


def _is_finite(number: float) -> bool:
    return abs(number) < float("inf")
