"""What training takes of memory: every deep algorithm with its default settings, measured in processes of their own."""

import json
import subprocess
import sys

import pytest

from marlspec.reference.listing import algorithm_files

pytestmark = pytest.mark.thorough

DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]
RUNS = [*((name, "foraging:8x8-2p-3f-coop") for name in DEEP), ("vdn", "climbing")]
STEPS = {"qmix_episodes": "33"}  # its first update waits for a batch of 32 episodes
GIB = 2**20  # in the kilobytes of ru_maxrss

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")

MEASURE = """
import json, os, sys
import torch, torch._dynamo  # a first step of an optimiser imports it
from marlspec.cli import run
from marlspec.reference.commands import learner_class
from marlspec.reference.parts import train_command
from marlspec.reference.parts.replay import ReplayBuffer

def filled(*given, **named):
    created(*given, **named)
    for field in given[0].buffers():
        field.fill_(0)  # memory that was never written to is not taken yet

created, ReplayBuffer.__init__ = ReplayBuffer.__init__, filled

def peak(arguments):
    child = os.fork()
    if child == 0:
        sys.stdout = open(os.devnull, "w")
        os._exit(run(arguments))
    _, status, usage = os.wait4(child, 0)
    assert status == 0, arguments
    return usage.ru_maxrss

peaks, runs = {}, json.loads(sys.argv[1])
for name in {arguments[1] for arguments in runs}:
    learner_class(name)  # imported once for all
for arguments in runs:
    peaks[" ".join(arguments[1:3])] = peak(arguments)
print(json.dumps(peaks))
"""


def measured(*runs):
    """The largest resident memory in kilobytes of command lines, by algorithm and game; of equal ones the last."""
    command = [sys.executable, "-c", MEASURE, json.dumps(runs)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Of a few steps of every algorithm, with replay buffers that are full; checkpoints are written, too."""
    folder = tmp_path_factory.mktemp("runs")
    return measured(
        *(
            [
                "train",
                name,
                game,
                "--steps",
                STEPS.get(name, "2"),
                "--episodes",
                "2",
                "--folder",
                str(folder / f"{name} {k}"),
            ]
            for k, (name, game) in enumerate(RUNS)
        )
    )


@on_linux
@pytest.mark.parametrize(("name", "game"), RUNS)
def test_training_with_default_settings_stays_under_2_gib(peaks, name, game):
    assert GIB / 20 < peaks[f"{name} {game}"] < 2 * GIB


@on_linux
def test_full_buffers_are_noticed(peaks):
    """Five million transitions of climbing take about 200 MiB more than the default, of which two steps store two."""
    steps = ["--steps", "2", "--episodes", "2"]
    large = measured(["train", "vdn", "climbing", *steps, "--capacity", "5000000"])["vdn climbing"]
    assert large > peaks["vdn climbing"] + 150 * 1024
