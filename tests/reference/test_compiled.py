"""A compiled step learns what a plain one learns, for every deep algorithm.

Both run in a process of their own: the annotations that the other tests check at run time cannot be traced.
"""

import json
import subprocess
import sys

import pytest
import torch

from marlspec.reference.listing import algorithm_files

pytestmark = pytest.mark.thorough

DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]
SCRIPT = """
import functools, json, sys
import torch
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.commands import learner_class
from marlspec.reference.parts import training

device, backend, events, horizon = sys.argv[1:5]
torch.set_num_threads(1)
torch.compile = functools.partial(torch.compile, backend=backend)
wanted = {"batch_size": 4, "capacity": 16, "horizon": 3, "n_steps": 2, "embed": 2, "learning_rate": 1e-2}
if horizon != "short":
    wanted |= {"horizon": int(horizon), "n_steps": int(horizon)}
STEPS = 6
if events == "events":  # each decides what a step does: copies of the target networks, schedules that move and stop
    STEPS = 16
    wanted |= {"target_interval": 4, "epsilon_start": 1.0, "epsilon_end": 0.25, "epsilon_steps": 9, "steps": STEPS}


def trained(name, compiled):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    algorithm = learner_class(name)
    known = vars(algorithm.config_type())
    config = algorithm.config_type(
        seeds=2, copies=4, hidden=(4, 3), device=device, **{own: wanted[own] for own in wanted if own in known}
    )
    learner = training.created(algorithm, BatchedStagedGame(get("two-step"), device), config)
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    with training._running(learner), training.stepping(learner, compiled=compiled) as step:
        for _ in range(STEPS):
            step()
    states = [own for optimiser in learner.optimisers().values() for own in optimiser.state.values()]
    kept = [value for own in states for _, value in sorted(own.items())]
    stats = torch._dynamo.utils.counters["stats"]
    told = {"graphs": stats["unique_graphs"], "operators": stats["calls_captured"], "wanted": len(learner.graphs)}
    return before, list(learner.parameters()), kept, told


def distance(some, others):
    return max((own - other).abs().max().item() for own, other in zip(some, others, strict=True))


found = {}
for name in sys.argv[5:]:
    before, plain, state, _ = trained(name, False)
    _, compiled, other_state, told = trained(name, True)
    found[name] = {
        "apart": distance(plain, compiled),
        "states apart": distance(state, other_state),
        "moved": distance(plain, before),
        **told,
    }
print(json.dumps(found))
"""


def learned(device, backend, names, events=False, horizon="short"):
    """How far plain and compiled parameters are apart after some steps, and how far they moved, by algorithm."""
    command = [sys.executable, "-c", SCRIPT, device, backend, "events" if events else "none", str(horizon), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_torch_traces_of_a_step_learns_the_same():
    """To 1e-6: the rounding of operators that tracing takes apart; a lost gradient would leave 1e-2."""
    found = learned("cpu", "eager", DEEP)
    assert set(found) == set(DEEP)
    for name, distance in found.items():
        assert distance["moved"] > 1e-3, name
        assert distance["apart"] < 1e-6, name
        assert distance["states apart"] < 1e-5, name
        assert distance["graphs"] == distance["wanted"], (name, distance)


@pytest.mark.parametrize("name", ["reinforce", "coma", "pareto_ac", "qmix_episodes"])
def test_a_long_episode_is_not_traced_time_step_by_time_step(name):
    """Four times as long: the graphs hold little more, sums over the rewards of an episode perhaps."""
    short, long = (learned("cpu", "eager", [name], horizon=own)[name]["operators"] for own in (4, 16))
    assert long < 1.5 * short


@pytest.mark.parametrize("name", ["vdn", "pareto_ac"])
def test_what_counters_decide_is_decided_anew_in_a_compiled_step(name):
    """A target network that is never copied, or a schedule that stands still, would leave 1e-3."""
    found = learned("cpu", "eager", [name], events=True)[name]
    assert found["apart"] < 1e-5
    assert found["states apart"] < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", DEEP)
def test_a_compiled_step_on_a_gpu_agrees_with_a_plain_one(name):
    """To 1e-4: fused float32 kernels round in another order, and Adam divides by the size of the gradient."""
    assert learned("cuda", "inductor", [name])[name]["apart"] < 1e-4
