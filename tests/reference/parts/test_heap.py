"""Each case in a process of its own: what one has freed decides where the next one finds room."""

import ctypes
import subprocess
import sys

import pytest

from marlspec.reference.parts import heap

SCRIPT = """
import resource
from pathlib import Path

import torch

from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.parts import heap, training
from marlspec.reference.parts.config import Config

MEBIBYTE = 2**20
TIMES = 8


def handed_out(mebibytes):
    '''The share of pages that the system hands out anew as memory is taken and freed, once the heap has its shape.'''
    for t in range(2 * TIMES):
        if t == TIMES:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(mebibytes * MEBIBYTE, dtype=torch.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults * resource.getpagesize() / (TIMES * mebibytes * MEBIBYTE)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MEBIBYTE

"""
LARGE = 64  # MiB, more than the C library keeps by itself

needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no mallopt in this C library")


def told(script):
    """The numbers that a script prints."""
    done = subprocess.run([sys.executable, "-c", SCRIPT + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(map(float, done.stdout.split()))


@needs_glibc
def test_freed_memory_is_taken_again_and_handed_back_at_the_end():
    outside, inside, largest, end = told(f"""
print(handed_out({LARGE}))
with heap.kept():
    print(handed_out({LARGE}), resident())
print(resident())
""")
    assert outside > 0.9
    assert inside < 0.1
    assert end < largest - 0.9 * LARGE


@needs_glibc
def test_it_is_kept_until_the_last_of_several_ends():
    [inside] = told(f"""
with heap.kept():
    with heap.kept():
        pass
    print(handed_out({LARGE}))
""")
    assert inside < 0.1


@needs_glibc
def test_training_keeps_it():
    [inside] = told(f"""
learner = training.created(VDN, batched_game("climbing"), Config(copies=2, batch_size=2, capacity=4))
with training.stepping(learner):
    print(handed_out({LARGE}))
""")
    assert inside < 0.1


@needs_glibc
def test_afterwards_no_smaller_pieces_than_usual_are_handed_back():
    """A process that was left with smaller bounds than glibc's own would be slow at whatever it does later."""
    [after] = told("""
with heap.kept():
    pass
print(handed_out(16))
""")
    assert after < 0.1


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with heap.kept():
        pass
