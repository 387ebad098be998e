"""VDN and QMIX reach the exact values of the tiny games: five seeds, with step sizes that suit a short test.

Adam's step size is divided by ten for the last part: with a constant one the tables keep trembling by about 0.1.
"""

import pytest
import torch

from marlspec.games.batched import BatchedStagedGame, StagedState
from marlspec.games.catalogue import get
from marlspec.reference.decomposition.qmix import QMIX
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.parts.enumeration import enumerated_batch, joint_table, utility_table

pytestmark = [pytest.mark.long, pytest.mark.thorough]


def settle(learner):
    learner.optimiser.param_groups[0]["lr"] /= 10


def trained_on_all_joint_actions(algorithm, name, learning_rate, updates, last):
    learner = algorithm(
        BatchedStagedGame(get(name)), algorithm.config_type(seeds=5, learning_rate=learning_rate, target_interval=50)
    )
    batch = enumerated_batch(learner)
    for update in range(updates + last):
        if update == updates:
            settle(learner)
        learner.learn(batch)
    return learner


def trained_on_samples(algorithm, name, steps, last):
    config = algorithm.config_type(
        seeds=5, copies=16, batch_size=256, learning_rate=5e-3, target_interval=25, gamma=0.99
    )
    learner = algorithm(BatchedStagedGame(get(name)), config)
    for step in range(steps + last):
        if step == steps:
            settle(learner)
        learner.step()
    return learner


def test_vdn_ends_at_the_least_squares_fit_of_monotonic():
    learner = trained_on_all_joint_actions(VDN, "monotonic", 3e-3, 500, 100)
    expected = torch.tensor([[-2.5, 2.5], [2.5, 7.5]]).expand(5, 2, 2)
    torch.testing.assert_close(joint_table(learner), expected, atol=0.05, rtol=0)
    q = utility_table(learner)
    torch.testing.assert_close(q[:, 0, :, None] + q[:, 1, None, :], joint_table(learner))


def test_vdn_ends_at_the_least_squares_fit_of_climbing():
    """The best sum of utilities, by least squares: row mean + column mean - mean."""
    table = torch.tensor([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]])
    expected = table.mean(1, keepdim=True) + table.mean(0) - table.mean()
    learner = trained_on_all_joint_actions(VDN, "climbing", 3e-3, 900, 100)
    torch.testing.assert_close(joint_table(learner), expected.expand(5, 3, 3), atol=0.05, rtol=0)


def test_qmix_represents_monotonic_exactly():
    learner = trained_on_all_joint_actions(QMIX, "monotonic", 5e-3, 2000, 200)
    expected = torch.tensor([[0.0, 0], [0, 10]]).expand(5, 2, 2)
    torch.testing.assert_close(joint_table(learner), expected, atol=0.05, rtol=0)


@pytest.mark.parametrize(("algorithm", "values"), [(VDN, [6.93, 6.44]), (QMIX, [6.93, 7.92])])
def test_two_step_game_of_the_qmix_paper(algorithm, values):
    """The first state's values by agent 1's action: within 0.25 for each seed, 0.1 for the mean of the seeds.

    The sum cannot tell how good the second game is and so prefers the first; the mixing network can.
    """
    learner = trained_on_samples(algorithm, "two-step", 600, 150)
    by_first_action = joint_table(learner).amax(-1)
    torch.testing.assert_close(by_first_action, torch.tensor(values).expand(5, 2), atol=0.25, rtol=0)
    torch.testing.assert_close(by_first_action.mean(0), torch.tensor(values), atol=0.1, rtol=0)
    first_action = utility_table(learner)[:, 0].argmax(-1)
    assert first_action.tolist() == [values.index(max(values))] * 5
    sevens = joint_table(learner, StagedState(torch.tensor([1])))
    torch.testing.assert_close(sevens, torch.full((5, 2, 2), 7.0), atol=0.25, rtol=0)
