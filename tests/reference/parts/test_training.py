"""Runs that are watched: what is learned does not depend on it, whatever stops them and however often."""

import functools
import io
import os
import random
import re
import signal
import threading
import time

import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from marlspec.errors import InputError
from marlspec.reference.decomposition.qmix import QMIX
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.independent.ia2c import IA2C
from marlspec.reference.parts import checkpoints, metrics, training
from marlspec.reference.parts.config import RunConfig
from marlspec.reference.parts.evaluation import interval
from marlspec.reference.parts.learner import Learner
from marlspec.reference.parts.training import DivergenceError, Run, RunOptions, created, train

VALUES = {"batch_size": 8, "capacity": 40, "target_interval": 4, "epsilon_end": 0.1, "epsilon_steps": 20}
SETTINGS = {"seeds": 2, "copies": 3, "hidden": (8,), "seed": 3, "steps": 30}
OFTEN = {"checkpoint_every": 7, "evaluate_every": 5, "check_every": 3, "episodes": 2}


def config_of(algorithm, **changes):
    values = {} if algorithm is IA2C else VALUES
    return algorithm.config_type(**{**SETTINGS, **values, **changes})


def begun(algorithm, game, folder=None, config=None, **options):
    learner = created(algorithm, game, config or config_of(algorithm))
    return Run.begin(learner, {"algorithm": algorithm.__name__}, RunOptions(folder=folder, **{**OFTEN, **options}))


def resumed(algorithm, game, folder, config=None, **options):
    learner = created(algorithm, game, config or config_of(algorithm))
    options = RunOptions(folder=folder, resume=True, **{**OFTEN, **options})
    return Run.resume(learner, {"algorithm": algorithm.__name__}, options, checkpoints.load(folder))


def records(folder):
    """All records but the times."""
    return [{name: own for name, own in record.items() if name != "seconds"} for record in metrics.read(folder)]


class Signalling:
    """A game that sends its own process a signal in some of its steps, counted over all of its copies' games."""

    def __init__(self, game, *moments, number=signal.SIGINT):
        self.__dict__.update(vars(game))
        self.game, self.moments, self.number, self.calls = game, moments, number, 0
        for name in ("name", "n_agents", "n_actions", "observation_size", "state_size", "common_reward"):
            setattr(self, name, getattr(game, name))
        for name in ("reset", "observe", "centralized", "available"):
            setattr(self, name, getattr(game, name))

    def step(self, state, actions):
        self.calls += 1
        if self.calls in self.moments:
            signal.raise_signal(self.number)
        return self.game.step(state, actions)


# --- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [VDN, IA2C])
def test_watching_changes_nothing(algorithm, corridor, promises, tmp_path):
    plain = train(algorithm, corridor, config_of(algorithm)).learner
    for folder in (None, tmp_path / "deep" / "run"):
        run = begun(algorithm, corridor, folder)
        assert run.go_on() is True
        assert run.done == 30
        assert promises.same(plain.state_dict(), run.learner.state_dict())
    read = checkpoints.load(tmp_path / "deep" / "run")
    assert read.steps == 30
    assert promises.same(dict(plain.state_dict()), read.state)


def process_of(algorithm, game, folder, config):
    """A process of its own that begins or goes on with a run, and exits with 0 if it makes it to the end."""
    child = os.fork()
    if child == 0:
        try:
            make = resumed if checkpoints.exists(folder) else begun
            os._exit(0 if make(algorithm, game, folder, config).go_on() else 3)
        finally:
            os._exit(1)
    return child


def waited_for(path, before, child):
    """Wait until a file has another time than before; return whether the process still runs then."""
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if path.exists() and path.stat().st_mtime_ns != before:
            return True
        time.sleep(0.001)
    return False


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(corridor, promises, tmp_path):
    """By SIGKILL: three times after a random time, then each time at a random moment after its first checkpoint."""
    config = config_of(VDN, steps=100)
    begun(VDN, corridor, tmp_path / "whole", config).go_on()
    generator, folder, steps = random.Random(0), tmp_path / "killed", set()
    path = folder / "checkpoint.json"
    for kill in range(9):
        before = path.stat().st_mtime_ns if path.exists() else None
        child = process_of(VDN, corridor, folder, config)
        if kill >= 3 and not waited_for(path, before, child):
            break
        time.sleep(generator.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if path.exists():
            steps.add(checkpoints.load(folder).steps)
    assert len(steps) >= 3, "it was killed after different checkpoints"
    assert resumed(VDN, corridor, folder, config).go_on() is True
    assert promises.same(checkpoints.load(tmp_path / "whole").state, checkpoints.load(folder).state)
    assert records(folder) == records(tmp_path / "whole")
    names = [sorted(path.name for path in own.iterdir()) for own in (folder, tmp_path / "whole")]
    assert names[0] == names[1], "the digest in the name is the same, and nothing else is left"


@pytest.mark.parametrize("moment", [1, 2, 11, 20])
def test_ctrl_c_ends_after_the_step_with_a_checkpoint(corridor, promises, tmp_path, moment):
    """Without evaluations but the first, the game's calls are the steps; five of them are the evaluation's."""
    calm = {"evaluate_every": 0, "checkpoint_every": 0}
    whole = begun(VDN, corridor, tmp_path / "whole", **calm)
    whole.go_on()
    before = signal.getsignal(signal.SIGINT)
    run = begun(VDN, Signalling(corridor, 5 + moment), tmp_path / "stopped", **calm)
    assert run.go_on() is False
    assert run.done == moment
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoints.load(tmp_path / "stopped").steps == moment
    rest = resumed(VDN, corridor, tmp_path / "stopped", **calm)
    assert rest.done == moment
    assert rest.go_on() is True
    assert promises.same(whole.learner.state_dict(), rest.learner.state_dict())
    assert rest.seconds > run.seconds > 0


def test_ctrl_c_in_the_last_step_is_too_late(corridor, tmp_path):
    run = begun(VDN, Signalling(corridor, 35), tmp_path, evaluate_every=0)
    assert run.go_on() is True
    assert checkpoints.load(tmp_path).steps == 30


def test_ctrl_c_in_the_first_evaluation_keeps_the_beginning(corridor, tmp_path):
    run = begun(VDN, Signalling(corridor, 2), tmp_path)
    assert run.go_on() is False
    assert checkpoints.load(tmp_path).steps == 0


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_a_second_ctrl_c_ends_at_once_and_the_checkpoint_before_is_kept(corridor, promises, tmp_path):
    whole = begun(VDN, corridor, tmp_path / "whole", evaluate_every=0)
    whole.go_on()

    class Twice(Signalling):
        def step(self, state, actions):
            if self.calls + 1 in self.moments:
                signal.raise_signal(signal.SIGINT)
            return super().step(state, actions)

    with pytest.raises(KeyboardInterrupt):
        begun(VDN, Twice(corridor, 5 + 24), tmp_path / "stopped", evaluate_every=0).go_on()
    assert checkpoints.load(tmp_path / "stopped").steps == 21
    rest = resumed(VDN, corridor, tmp_path / "stopped", evaluate_every=0)
    rest.go_on()
    assert promises.same(whole.learner.state_dict(), rest.learner.state_dict())


def test_a_run_outside_the_main_thread_leaves_signals_alone(corridor, promises):
    run = begun(IA2C, corridor)
    thread = threading.Thread(target=run.go_on)
    thread.start()
    thread.join()
    assert promises.same(train(IA2C, corridor, config_of(IA2C)).learner.state_dict(), run.learner.state_dict())


def test_a_finished_run_goes_on_to_nothing(corridor, tmp_path):
    begun(VDN, corridor, tmp_path).go_on()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = resumed(VDN, corridor, tmp_path)
    assert again.go_on() is True
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_of_no_steps_is_evaluated_and_saved(corridor, tmp_path):
    run = begun(VDN, corridor, tmp_path, config_of(VDN, steps=0))
    assert run.go_on() is True
    assert run.evaluation is not None
    assert checkpoints.load(tmp_path).steps == 0


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_records_stand_at_their_steps(corridor, tmp_path):
    run = begun(VDN, corridor, tmp_path, config_of(VDN, steps=11))
    run.go_on()
    found = [(record["kind"], record["step"]) for record in metrics.read(tmp_path)]
    losses = [("losses", step) for step in (3, 5, 6, 7, 9, 10, 11)]
    assert sorted(found) == [*[("evaluation", step) for step in (0, 5, 10, 11)], *sorted(losses)]
    assert [step for _, step in found] == sorted(step for _, step in found)
    last = metrics.read(tmp_path)[-1]
    assert last["returns"] == run.evaluation.returns.tolist()
    assert last["lengths"] == run.evaluation.lengths.tolist()
    seconds = [record["seconds"] for record in metrics.read(tmp_path)]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0 < seconds[-1] == run.seconds


def test_recorded_losses_are_the_means_since_the_record_before(corridor, tmp_path):
    run = begun(VDN, corridor, tmp_path, config_of(VDN, steps=10), evaluate_every=0, checkpoint_every=0, check_every=4)
    seen, learn = [], run.learner.learn
    run.learner.learn = lambda batch: seen.append(learn(batch)) or seen[-1]
    run.go_on()
    recorded = {own["step"]: own["losses"] for own in metrics.read(tmp_path) if own["kind"] == "losses"}
    assert list(recorded) == [4, 8, 10]
    for (first, last), losses in zip([(0, 4), (4, 8), (8, 10)], recorded.values(), strict=True):
        assert losses == pytest.approx(torch.stack(seen[first:last]).double().mean(0).tolist(), rel=1e-12)


def test_progress_shows_returns_speed_and_time_left(corridor, monkeypatch):
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200)
    monkeypatch.setattr(training, "Progress", functools.partial(Progress, console=terminal, refresh_per_second=1000))
    monkeypatch.setattr(training, "REPORT_EVERY", 1)
    run = begun(VDN, corridor, config=config_of(VDN, steps=40))
    run.go_on(progress=True)
    out = shown.getvalue()
    assert f"return {interval(run.evaluation.returns.mean(-1))}" in out
    for pattern in (r"40/40", r"\d+ steps/s", r"0:00:0\d"):
        assert re.search(pattern, out), pattern


def test_checkpoints_are_written_at_their_steps(corridor, tmp_path, monkeypatch):
    steps, save = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda folder, own: (steps.append(own.steps), save(folder, own)))
    begun(VDN, corridor, tmp_path, config_of(VDN, steps=30)).go_on()
    assert steps == [0, 7, 14, 21, 28, 30]


def test_counting_losses_never_waits_for_the_device(corridor, promises):
    learner = created(VDN, corridor, config_of(VDN))
    with training.metered(learner), promises.Waits() as waits:
        for _ in range(6):
            learner.step()
    assert not waits.found
    assert "learn" not in vars(learner)


# --- losses that are no numbers ---------------------------------------------------------------------------------------


class Paying:
    """A game that pays another number in one of its steps, to the copies of one seed."""

    def __init__(self, game, moment, amount, copies):
        for name in ("name", "n_agents", "n_actions", "observation_size", "state_size", "common_reward"):
            setattr(self, name, getattr(game, name))
        for name in ("reset", "observe", "centralized", "available"):
            setattr(self, name, getattr(game, name))
        self.game, self.moment, self.amount, self.copies, self.calls = game, moment, amount, copies, 0

    def step(self, state, actions):
        self.calls += 1
        state, rewards, terminated, truncated = self.game.step(state, actions)
        if self.calls == self.moment:
            rewards = rewards.clone()
            rewards[self.copies] = self.amount
        return state, rewards, terminated, truncated


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -float("inf"), 1e25])
def test_a_loss_that_is_no_finite_number_stops_the_run_at_the_next_check(corridor, promises, tmp_path, amount):
    """1e25 is a number, and its square none of float32; the rewards of seed 1 alone are spoilt, in step 16."""
    calm = {"evaluate_every": 0, "check_every": 10}
    game = Paying(corridor, 5 + 16, amount, slice(3, 6))
    run = begun(IA2C, game, tmp_path, **calm)
    with pytest.raises(
        DivergenceError, match=rf"by step 20, since the loss of seed 1 is .*{tmp_path} keeps .* step 14"
    ):
        run.go_on()
    assert checkpoints.load(tmp_path).steps == 14
    whole = begun(IA2C, corridor, tmp_path / "whole", **calm)
    whole.go_on()
    rest = resumed(IA2C, corridor, tmp_path, **calm)
    rest.go_on()
    assert promises.same(whole.learner.state_dict(), rest.learner.state_dict())


def test_the_check_comes_before_the_checkpoint(corridor, tmp_path):
    """Spoilt in step 7, at whose end a checkpoint is due."""
    run = begun(IA2C, Paying(corridor, 5 + 7, float("nan"), slice(0, 3)), tmp_path, evaluate_every=0, check_every=100)
    with pytest.raises(DivergenceError, match="by step 7, since the loss of seed 0 is nan"):
        run.go_on()
    assert checkpoints.load(tmp_path).steps == 0


def test_a_parameter_that_is_no_finite_number_is_not_saved(corridor, tmp_path):
    """The last update before a checkpoint may spoil parameters that no loss has seen yet."""

    class Spoilt(IA2C):
        def step(self):
            super().step()
            if self.t == 7:
                with torch.no_grad():
                    self.phi.layers[0].weight[1, 0, 0, 0] = float("inf")

    run = begun(Spoilt, corridor, tmp_path, config_of(IA2C), evaluate_every=0, check_every=100)
    with pytest.raises(DivergenceError, match=r"by step 7, since phi.layers.0.weight holds numbers"):
        run.go_on()
    assert checkpoints.load(tmp_path).steps == 0


def test_without_a_folder_no_checkpoint_is_promised(corridor):
    run = begun(IA2C, Paying(corridor, 5 + 2, float("nan"), slice(0, 3)), evaluate_every=0)
    with pytest.raises(DivergenceError) as error:
        run.go_on()
    assert "checkpoint" not in str(error.value)


# --- folders and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint.json", "metrics.jsonl"])
def test_a_folder_that_holds_a_run_is_refused_and_left_alone(corridor, tmp_path, name):
    (tmp_path / name).write_text("of another run")
    with pytest.raises(InputError, match="holds a run already: go on with it by --resume"):
        begun(VDN, corridor, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "of another run")]


def test_a_run_killed_before_its_first_checkpoint_can_begin_again(corridor, tmp_path):
    drafts = tmp_path / "checkpoint.unfinished"
    drafts.mkdir()
    for name in ("tensors", ".tmpAbCdEf"):  # the latter as safetensors names what it has not finished
        (drafts / name).write_bytes(b"half")
    assert begun(VDN, corridor, tmp_path).go_on() is True
    assert not drafts.exists()


def test_a_checkpoint_of_another_run_is_refused(corridor, tmp_path):
    begun(VDN, corridor, tmp_path).go_on()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="algorithm is 'VDN' there and 'QMIX' here"):
        resumed(QMIX, corridor, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_that_does_not_fit_the_learner_is_refused(corridor, tmp_path):
    begun(VDN, corridor, tmp_path).go_on()
    with pytest.raises(InputError, match="does not fit the learner"):
        resumed(VDN, corridor, tmp_path, config_of(VDN, hidden=(9,)))


@pytest.mark.parametrize(
    "wrong",
    [{"checkpoint_every": -1}, {"evaluate_every": -1}, {"episodes": 0}, {"check_every": 0}],
)
def test_options_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} is "):
        RunOptions(**wrong)


def test_resuming_needs_a_folder():
    with pytest.raises(InputError, match="name it by --folder"):
        RunOptions(resume=True)


# --- compiled ---------------------------------------------------------------------------------------------------------


def test_the_option_compile_reaches_the_compiler(corridor, promises, monkeypatch):
    """A compiler that compiles nothing, and says how it was set up."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    seen = []

    def compiler(step, fullgraph, options):
        def compiled():
            seen.append((step.__self__, fullgraph, dynamo.trace_autograd_ops, inductor.fallback_random))
            step()

        return compiled

    before = inductor.fallback_random, dynamo.trace_autograd_ops
    monkeypatch.setattr(torch, "compile", compiler)
    run = begun(VDN, corridor, compile=True)
    run.go_on()
    assert seen == [(run.learner, True, True, True)] * 30
    assert (inductor.fallback_random, dynamo.trace_autograd_ops) == before
    plain = train(VDN, corridor, config_of(VDN)).learner
    assert promises.same([plain.t, plain.game_state], [run.learner.t, run.learner.game_state])
    for own, other in zip(plain.parameters(), run.learner.parameters(), strict=True):
        assert (own - other).abs().max() < 1e-6  # rounding of the optimiser's operators
    seen.clear()
    begun(VDN, corridor).go_on()
    assert seen == []


class Least(Learner):
    """The least that a learner does in a step: random numbers, zero_grad, backward, an update, a counter."""

    behaviour = None  # it never acts

    def __init__(self, game, config):
        super().__init__(game, config)
        self.theta = torch.nn.Parameter(torch.zeros(config.seeds, 3))
        self.optimiser = torch.optim.Adam([self.theta], config.learning_rate, fused=True)

    def step(self):
        self.learn(torch.rand(self.config.seeds, 8, 3))
        self.t += 1

    def learn(self, batch):
        losses = (1 - (batch * self.theta[:, None]).sum(-1)).square().mean(-1)
        self.optimiser.zero_grad()
        losses.sum().backward()
        self.optimiser.step()
        self.updates += 1
        return losses.detach()

    def act(self, state, greedy=False):
        raise NotImplementedError


def test_an_interrupted_compiled_step_gives_the_optimisers_back(corridor, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, fullgraph, options: step)
    learner = created(Least, corridor, RunConfig())
    kept = learner.optimiser
    monkeypatch.setattr(learner, "learn", lambda batch: 1 / 0)
    with training.stepping(learner, compiled=True) as step, pytest.raises(ZeroDivisionError):
        step()
    assert learner.optimiser is kept


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own: torch.optim.SGD([own], 0.1), "optimiser = SGD: use Adam or RMSprop, or do not compile"),
        (
            lambda own: torch.optim.Adam([own], 0.1, weight_decay=0.01),
            "no compiled step for Adam with weight_decay=0.01",
        ),
        (lambda own: torch.optim.RMSprop([own], 0.1, momentum=0.5), "no compiled step for RMSprop with momentum=0.5"),
    ],
)
def test_an_update_that_no_stand_in_makes_is_refused(corridor, make, message):
    learner = created(Least, corridor, RunConfig())
    learner.optimiser = make(learner.theta)
    with pytest.raises(InputError, match=message), training.stepping(learner, compiled=True):
        pass
