"""A captured step learns what a plain one learns, bit for bit, for every deep algorithm.

What a CUDA graph does is played on the CPU by a tape: it holds the operators that one step made, and the tensors that
they were made on, and makes them again on the very same tensors. What was decided on the host stays as it was decided.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.commands import learner_class
from marlspec.reference.listing import algorithm_files
from marlspec.reference.parts import capture, training
from marlspec.reference.parts.checkpoints import Checkpoint

DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]
EARLY = {"batch_size": 4, "capacity": 12, "horizon": 3, "n_steps": 2, "embed": 2, "learning_rate": 1e-2}
EVENTS = {"target_interval": 4, "epsilon_start": 1.0, "epsilon_end": 0.25, "epsilon_steps": 5, "entropy_share": 0.2}
STEPS = 24
DEVICE_WAITS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}

pytestmark = pytest.mark.long

every = pytest.mark.parametrize("name", DEEP)


class Tape:
    """Records on the CPU as a CUDA graph does on its device.

    Attributes:
        records: how many functions were recorded.
        replays: how many times a record was played.
    """

    def __init__(self):
        self.records = self.replays = 0

    def record(self, function):
        """Make a function's operators, and return what makes them again."""
        with _Operators() as operators:
            function()
        self.records += 1

        @torch.no_grad()
        def replay():
            self.replays += 1
            for operator, args, kwargs, results in operators.made:
                for new, old in zip(tree_leaves(operator(*args, **kwargs)), results, strict=True):
                    if isinstance(old, torch.Tensor) and new.data_ptr() != old.data_ptr():
                        old.detach().copy_(new.detach())

        return replay


class _Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator in DEVICE_WAITS:
            raise RuntimeError(f"{operator} waits for the device")
        results = operator(*args, **(kwargs or {}))
        self.made.append((operator, args, kwargs or {}, tree_leaves(results)))
        return results


def created(name, **changes):
    algorithm = learner_class(name)
    known = vars(algorithm.config_type())
    wanted = {own: value for own, value in (EARLY | EVENTS | changes).items() if own in known}
    config = algorithm.config_type(seeds=2, copies=3, hidden=(4, 3), steps=STEPS, **wanted)
    return training.created(algorithm, BatchedStagedGame(get("two-step"), "cpu"), config)


def trained(learner, tape=None, steps=STEPS):
    with training._running(learner):
        if tape is None:
            for _ in range(steps):
                learner.step()
        else:
            with capture.captured_step(learner, tape.record) as step:
                for _ in range(steps):
                    step()
    return learner


def assert_equal_state(one, other):
    flat, expected = tree_leaves(one.state_dict()), tree_leaves(other.state_dict())
    assert len(flat) == len(expected)
    for value, wanted in zip(flat, expected, strict=True):
        assert torch.equal(value, wanted) if isinstance(wanted, torch.Tensor) else value == wanted


@every
def test_captured_steps_leave_the_very_state_of_plain_ones(name):
    tape = Tape()
    assert_equal_state(trained(created(name), tape), trained(created(name)))
    assert tape.replays > STEPS / 4
    if hasattr(created(name).config, "target_interval"):
        assert tape.records >= 2  # with a copy of the target networks and without


@pytest.mark.thorough
@every
def test_going_on_after_plain_steps_and_with_plain_steps(name):
    """The state of the games is wherever the last step has put it."""
    learner = created(name)
    for tape in (None, Tape(), None, Tape(), None):
        trained(learner, tape, 13)
    assert_equal_state(learner, trained(created(name), steps=65))


@pytest.mark.thorough
@every
def test_over_a_thousand_updates(name):
    """As asked of compiled steps by bench/agreement.py; captured ones leave the same bits."""
    learner = trained(created(name), Tape(), 1050)
    assert learner.updates >= 1000
    assert_equal_state(learner, trained(created(name), steps=1050))


@pytest.mark.parametrize("name", ["vdn", "coma", "pareto_ac"])
def test_a_phase_that_hides_a_decision_would_be_seen(name, monkeypatch):
    """The tape does play what a graph would: the decisions of the step that was recorded."""
    monkeypatch.setattr(learner_class(name), "phase", lambda learner: ())
    captured, plain = trained(created(name), Tape()), trained(created(name))
    theirs = dict(plain.named_parameters())
    assert any(not torch.equal(own, theirs[key]) for key, own in captured.named_parameters())


def test_the_losses_of_captured_steps_are_recorded(tmp_path):
    learner, other = created("vdn"), created("vdn")
    with training.metered(learner) as meter:
        trained(learner, Tape())
    with training.metered(other) as expected:
        trained(other)
    assert meter.take() == expected.take()


def test_a_run_is_saved_and_resumed_between_captured_steps(tmp_path):
    learner = trained(created("qmix"), Tape(), 17)
    saved = Checkpoint({}, {}, 17, 0.0, learner.state_dict())
    resumed = created("qmix")
    resumed.load_state_dict(saved.state)
    assert_equal_state(trained(resumed, Tape(), 13), trained(created("qmix"), steps=30))


def test_what_waits_for_the_device_is_refused():
    learner = created("vdn")
    observe = learner.game.observe
    learner.game.observe = lambda state: observe(state) * observe(state).isfinite().all().item()
    with pytest.raises(InputError, match=r"VDN in Two-step game .* waits for the device.*leave --capture out"):
        trained(learner, Tape())


def test_a_cpu_has_no_graphs():
    with pytest.raises(InputError, match="--device cuda"), capture.captured_step(created("vdn")):
        pass


def test_a_step_is_compiled_or_captured(tmp_path):
    with pytest.raises(InputError, match=r"compile.*capture"):
        training.RunOptions(compile=True, capture=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every
def test_a_captured_step_on_a_gpu_agrees_with_a_plain_one(name):
    """To 1e-4 over 24 steps: the kernels are the same, but their order is not where they add by atomic operations."""
    learners = []
    for captured in (False, True):
        learner = created(name, device="cuda", epsilon_end=0.0, epsilon_start=0.0)
        with training._running(learner), training.stepping(learner, captured=captured) as step:
            for _ in range(STEPS):
                step()
        learners.append(learner)
    for own, other in zip(*(learner.parameters() for learner in learners), strict=True):
        assert (own - other).abs().max() < 1e-4
