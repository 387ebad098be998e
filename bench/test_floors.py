"""Operations and bytes are counted rightly, and a floor is the larger of what they take."""

import pytest
import torch

from marlspec.reference.decomposition.vdn import VDN

from .floors import Floor, Rates, Work, floor, lasting, work
from .profile import main
from .workloads import SPEAKER_LISTENER, game_on, new_learner

FLOAT = 4


def test_a_floor_is_the_larger_of_products_and_bytes():
    rates = Rates(product=1e9, small_product=1e8, copy=1e6, launch=1e-6)
    assert floor(Work(7, 2_000_000, 1_000, 0), rates) == Floor(2e-3, 2e-3, 1e-3, 7e-6)
    assert floor(Work(7, 2_000, 1_000, 0), rates) == Floor(1e-3, 2e-6, 1e-3, 7e-6)


def test_products_are_counted_forward_and_backward():
    x, w = torch.rand(8, 16), torch.rand(16, 4, requires_grad=True)
    done = work(lambda: (x @ w).sum().backward(), [w])
    assert done.operations == 2 * (2 * 8 * 16 * 4)
    assert done.bytes_needed == 16 * 4 * FLOAT  # w is read once


def test_what_an_operator_makes_for_itself_need_not_move():
    lasting_one, passing = torch.zeros(100), torch.zeros(1_000)
    done = work(lambda: passing.add(1).mul(2), [lasting_one])
    assert done.bytes_needed == 0
    assert done.bytes_moved == 4 * 1_000 * FLOAT
    assert done.operators == 2


def test_of_rows_only_those_that_are_picked_count():
    ring, rows = torch.zeros(1_000, 5), torch.tensor([3, 4])
    assert work(lambda: ring[rows], [ring]).bytes_needed == 2 * 5 * FLOAT
    assert work(lambda: ring.index_copy_(0, rows, torch.ones(2, 5)), [ring]).bytes_needed == 2 * 5 * FLOAT


def test_what_is_changed_in_place_is_read_and_written():
    weights = torch.zeros(100)
    assert work(lambda: weights.add_(1), [weights]).bytes_needed == 2 * 100 * FLOAT


def test_views_are_no_operators():
    x = torch.zeros(6, 5)
    assert work(lambda: x.view(5, 6).t().unsqueeze(0).expand(3, -1, -1), [x]) == Work(0, 0, 0, 0)


def test_products_of_a_whole_step_are_those_of_its_networks():
    """Two agents; actions of 2 copies, then the values of 4 rows, their gradients, and those of what followed."""
    learner = new_learner(
        "vdn", game_on("cpu", SPEAKER_LISTENER), copies=2, batch_size=4, capacity=8, hidden=(16,), target_interval=100
    )
    assert isinstance(learner, VDN)
    learner.step()
    first, second = 2 * 2 * 11 * 16, 2 * 2 * 16 * 5
    forward = first + second
    backward = forward + second  # by all weights, and by the hidden layer
    done = work(learner.step, lasting(learner))
    assert done.operations == (2 + 4 + 4) * forward + 4 * backward
    parameters = sum(own.numel() for own in learner.theta.parameters()) * FLOAT
    assert done.bytes_needed > 7 * parameters  # itself and two moments read and written, the target's read


def test_a_profile_tells_operators_and_kernels(capsys):
    assert main(["vdn", SPEAKER_LISTENER, "--copies", "4", "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    assert "aten::" in printed
    kernels = float(printed.split("kernels of a step as profiled: ")[1].split()[0])
    assert kernels > 50


@pytest.mark.parametrize("arguments", [["iql", "climbing"], ["vnd", "climbing"], ["vdn", "climbin"]])
def test_what_cannot_be_profiled_is_told(arguments, capsys):
    assert main(arguments) == 2
    assert arguments[0 if arguments[0] != "vdn" else 1] in capsys.readouterr().err
