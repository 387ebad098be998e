"""What five seeds of every independent learner must reach in tiny games, with step sizes that suit a short test."""

import numpy as np
import pytest
import torch

from marlspec.games.batched import BatchedStagedGame, StagedState
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame
from marlspec.reference.independent.ia2c import IA2C
from marlspec.reference.independent.idqn import IDQN
from marlspec.reference.independent.reinforce import REINFORCE
from marlspec.reference.parts.enumeration import utility_table
from marlspec.reference.parts.policies import log_policy
from marlspec.reference.solution.nash import pure_equilibria

pytestmark = [pytest.mark.long, pytest.mark.thorough]

SEEDS = 5


def everyone_for_itself(own):
    """A stage in which every agent's reward depends on its own action alone."""
    first, second = own
    return NormalFormGame([[[r] * len(second) for r in first], [list(second) for _ in first]])


CHAIN = [([1, 0], [0, 1]), ([0, 2], [4, -1]), ([5, 3], [4, -1])]
"""Every agent's rewards by its own action in stages 0 to 2: agent 1's first action leads to stage 1 or 2."""


def chain():
    """Two agents, each alone in a chain of its own: agent 1 passes up 1 for 5, agent 2 has no say in where it goes."""
    stages = [everyone_for_itself(own) for own in CHAIN]
    ends = [[TERMINAL] * 2] * 2
    return StagedGame(stages, [[[1, 1], [2, 2]], ends, ends], gamma=1)


def values_of_the_chain(gamma):
    """The optimal action values [stage, agent, action], agent by agent from the end."""
    q = [[list(own) for own in stage] for stage in CHAIN]
    for action in range(2):
        q[0][0][action] += gamma * max(CHAIN[1 + action][0])
        q[0][1][action] += gamma * max(CHAIN[1][1])
    return torch.tensor(q).float()


def test_idqn_learns_the_values_of_agents_that_are_on_their_own():
    config = IDQN.config_type(
        seeds=SEEDS, copies=8, batch_size=32, learning_rate=0.05, target_interval=10, gamma=0.9, hidden=()
    )
    learner = IDQN(BatchedStagedGame(chain()), config)
    for _ in range(600):
        learner.step()
    for stage, values in enumerate(values_of_the_chain(0.9)):
        learned = utility_table(learner, StagedState(torch.tensor([stage])))
        torch.testing.assert_close(learned, values.expand(SEEDS, 2, 2), atol=0.01, rtol=0)


def test_idqn_finds_the_equilibrium_of_the_prisoners_dilemma():
    """Defecting dominates: whatever the other does in the stored transitions, it pays more."""
    game = get("prisoners-dilemma")
    config = IDQN.config_type(
        seeds=SEEDS,
        copies=4,
        batch_size=32,
        learning_rate=0.01,
        hidden=(8,),
        epsilon_start=1.0,
        epsilon_end=0.1,
        epsilon_steps=200,
    )
    learner = IDQN(BatchedStagedGame(game), config)
    for _ in range(300):
        learner.step()
    assert utility_table(learner).argmax(-1).tolist() == pure_equilibria(game).tolist() * SEEDS


def actions_after_training(algorithm, game, steps, **settings):
    """The most probable joint action of every seed, once each policy is as good as certain of it."""
    learner = algorithm(BatchedStagedGame(game), algorithm.config_type(seeds=SEEDS, **settings))
    for _ in range(steps):
        learner.step()
    state = learner.game.reset(SEEDS)
    certainty = log_policy(learner.phi(learner.history(state)), learner.available(state)).amax(-1).exp()
    assert certainty.min().item() > 0.9
    return learner.act(state, greedy=True).squeeze(1).tolist()


QUICK = {"copies": 32, "hidden": (8,), "learning_rate": 0.02}


policies = pytest.mark.parametrize(("algorithm", "settings"), [(REINFORCE, {"horizon": 1}), (IA2C, {})])


@policies
def test_policies_reach_the_best_joint_action_of_linear(algorithm, settings):
    game = get("linear")
    best = np.argwhere(game.shared_reward() == game.shared_reward().max()).tolist()
    assert actions_after_training(algorithm, game, 150, **QUICK, **settings) == best * SEEDS


@policies
def test_policies_reach_the_equilibrium_of_the_prisoners_dilemma(algorithm, settings):
    game = get("prisoners-dilemma")
    assert actions_after_training(algorithm, game, 150, **QUICK, **settings) == pure_equilibria(game).tolist() * SEEDS


def test_reinforce_gives_up_a_reward_now_for_a_larger_one_later():
    """Agent 1 passes up 1 for 5 in the chain; agent 2 takes 1 and then 4."""
    learner = REINFORCE(BatchedStagedGame(chain()), REINFORCE.config_type(seeds=SEEDS, horizon=2, **QUICK))
    for _ in range(200):
        learner.step()
    for stage, values in enumerate(values_of_the_chain(learner.config.gamma)):
        if stage != 1:  # agent 1 comes by stage 2 alone
            state = StagedState(torch.full((SEEDS,), stage))
            assert learner.act(state, greedy=True).squeeze(1).tolist() == [values.argmax(-1).tolist()] * SEEDS
