"""Greedy evaluation: counted by hand, in copies of its own, with random numbers of its own."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched_catalogue import batched_game
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.independent.ia2c import IA2C
from marlspec.reference.parts.config import ActorCriticConfig, Config
from marlspec.reference.parts.evaluation import evaluate, interval, seed_of_evaluation


class Left(NamedTuple):
    length: Tensor
    time: Tensor


class Countdown:
    """An episode has 1 to 6 steps, which the reset draws; step t pays t and -2 t, and 1000 after the end.

    Odd lengths terminate, even ones are truncated.
    """

    name = "Countdown"
    n_agents, n_actions, observation_size, state_size = 2, 2, 1, 1
    common_reward = False
    longest = 6

    def reset(self, K):
        return Left(torch.randint(1, self.longest + 1, (K,)), torch.zeros(K, dtype=torch.int64))

    def step(self, state, actions):
        time = state.time + 1
        own = torch.where(time > state.length, 1000, time)
        over = time == state.length
        odd = state.length % 2 == 1
        return Left(state.length, time), torch.stack([own, -2 * own], -1).float(), over & odd, over & ~odd

    def observe(self, state):
        return state.time.float()[:, None, None].expand(-1, 2, -1)

    def centralized(self, state):
        return state.time.float()[:, None]

    def available(self, state):
        return torch.ones(len(state.time), 2, 2, dtype=torch.bool)


class Endless(Countdown):
    name = "Endless"

    def step(self, state, actions):
        state, rewards, terminated, truncated = super().step(state, actions)
        return state, rewards, torch.zeros_like(terminated), torch.zeros_like(truncated)


SEEDS = 3


@pytest.fixture
def learner():
    return IA2C(Countdown(), ActorCriticConfig(seeds=SEEDS, copies=2, hidden=(4,)))


def test_returns_and_lengths_are_means_over_the_episodes_of_each_seed(learner):
    evaluation = evaluate(learner, 5, seed=11)
    torch.manual_seed(11)
    lengths = learner.game.reset(SEEDS * 5).length.reshape(SEEDS, 5).tolist()
    for s, own in enumerate(lengths):
        returns = sum(length * (length + 1) / 2 for length in own) / 5
        assert evaluation.returns[s].tolist() == pytest.approx([returns, -2 * returns], rel=1e-12)
        assert evaluation.lengths[s].item() == pytest.approx(sum(own) / 5, rel=1e-12)
    assert len({tuple(own) for own in lengths}) > 1


def test_the_seed_decides(learner):
    first, again, other = (evaluate(learner, 9, seed).lengths for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_neither_the_learner_nor_any_random_numbers_are_touched(learner, promises):
    for _ in range(3):
        learner.step()
    before, game_state = learner.state_dict(), learner.game_state
    parameters = [parameter.clone() for parameter in learner.parameters()]
    evaluate(learner, 4)
    assert promises.same(before, learner.state_dict())
    assert all(map(torch.equal, parameters, learner.parameters()))
    assert learner.game_state is game_state
    assert all(parameter.grad is None or parameter.requires_grad for parameter in learner.parameters())


def test_the_actions_are_greedy():
    """Policies that prefer the best action of climbing a little, and would often draw others."""
    learner = VDN(batched_game("climbing"), Config(seeds=2, epsilon_start=1.0, epsilon_end=1.0, hidden=(4,)))
    last = learner.theta.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.1, 0.0, 0.0]).expand_as(last.bias))
    assert evaluate(learner, 20).returns.tolist() == [[11, 11], [11, 11]]


def test_another_game_may_be_played(learner):
    class Short(Countdown):
        longest = 1

    assert evaluate(learner, 3, game=Short()).returns.tolist() == [[1, -2]] * SEEDS


def test_an_episode_that_does_not_end_is_an_error(learner, monkeypatch):
    monkeypatch.setattr("marlspec.reference.parts.evaluation.LONGEST", 20)
    with pytest.raises(InputError, match=r"an episode of Endless has not ended within 20 steps"):
        evaluate(learner, 2, game=Endless())


def test_interval_is_students():
    """The quantile 12.706 for one degree of freedom is tan(0.475 pi), that of Cauchy's distribution."""
    around = interval(torch.tensor([3.0, 5.0], dtype=torch.float64))
    assert around.mean == 4
    assert around.half == pytest.approx(math.tan(0.475 * math.pi) * math.sqrt(2) / math.sqrt(2), rel=1e-12)
    assert str(around) == "4 +- 12.7"


def test_one_seed_has_no_interval():
    around = interval(torch.tensor([3.5], dtype=torch.float64))
    assert (around.mean, around.half, str(around)) == (3.5, None, "3.5")


def test_every_evaluation_of_a_run_has_a_seed_of_its_own():
    seeds = {seed_of_evaluation(seed, steps) for seed in (-1, 0, 1) for steps in (0, 500, 1000)}
    assert len(seeds) == 9
    assert seed_of_evaluation(4, 1000) == seed_of_evaluation(4, 1000)
