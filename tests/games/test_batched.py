from fractions import Fraction

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame, BatchedStagedGame
from marlspec.games.catalogue import catalogue, get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame, as_staged
from marlspec.games.stochastic import StochasticGame


def every_joint_action(game):
    return torch.tensor(list(game.stages[0].joint_actions()))


IN_STAGES = [name for name, game in catalogue().items() if not isinstance(game, StochasticGame)]


@pytest.mark.parametrize("name", IN_STAGES)
def test_a_step_pays_and_moves_as_the_exact_tables_say(name):
    named = get(name)
    game = as_staged(named) if isinstance(named, NormalFormGame) else named
    batched = BatchedStagedGame(named, dtype=torch.float64)
    actions = every_joint_action(game)
    for s, (stage, successors) in enumerate(zip(game.stages, game.transitions, strict=True)):
        state = batched.reset(len(actions))._replace(stage=torch.full((len(actions),), s))
        after, rewards, terminated, truncated = batched.step(state, actions)
        for k, a in enumerate(actions.tolist()):
            assert rewards[k].tolist() == [float(stage.payoff(i, a)) for i in range(game.n_agents)]
            successor = int(successors[tuple(a)])
            assert bool(terminated[k]) == (successor == -1)
            assert int(after.stage[k]) == (game.n_stages if successor == -1 else successor)
        assert not truncated.any()


def test_a_matrix_game_observes_the_constant_one():
    game = BatchedStagedGame(get("climbing"))
    state = game.reset(5)
    assert torch.equal(game.observe(state), torch.ones(5, 2, 1))
    assert torch.equal(game.centralized(state), torch.ones(5, 1))
    assert (game.observation_size, game.state_size, game.n_agents, game.n_actions) == (1, 1, 2, 3)
    assert game.name == "Climbing"
    assert game.common_reward


def test_a_staged_game_observes_its_stage_and_zeros_after_the_end():
    game = BatchedStagedGame(get("two-step"))
    state, _, terminated, _ = game.step(game.reset(3), torch.tensor([[0, 0], [1, 0], [1, 1]]))
    assert not terminated.any()
    expected = torch.tensor([[0.0, 1, 0], [0, 0, 1], [0, 0, 1]])
    assert torch.equal(game.centralized(state), expected)
    assert torch.equal(game.observe(state), expected[:, None].expand(3, 2, 3))
    state, rewards, terminated, _ = game.step(state, torch.tensor([[1, 1], [1, 1], [0, 1]]))
    assert rewards.tolist() == [[7, 7], [8, 8], [1, 1]]
    assert terminated.all()
    assert not game.observe(state).any()
    assert not game.centralized(state).any()


def test_the_end_is_absorbing():
    game = BatchedStagedGame(get("climbing"))
    ended = game.step(game.reset(2), torch.tensor([[0, 0], [1, 1]]))[0]
    state, rewards, terminated, truncated = game.step(ended, torch.tensor([[0, 0], [1, 1]]))
    assert torch.equal(state.stage, ended.stage)
    assert not rewards.any()
    assert terminated.all()
    assert not truncated.any()


def test_step_leaves_its_state_alone():
    game = BatchedStagedGame(get("two-step"))
    state = game.reset(4)
    game.step(state, torch.ones(4, 2, dtype=torch.int64))
    assert not state.stage.any()


def test_padding_is_masked():
    game = BatchedStagedGame(NormalFormGame.common_reward(np.arange(6).reshape(1, 2, 3)))
    assert game.n_actions == 3
    mask = game.available(game.reset(4))
    assert mask.shape == (4, 3, 3)
    assert mask[2].tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_an_unavailable_action_pays_nan_to_its_copy_alone():
    game = BatchedStagedGame(NormalFormGame.common_reward([[1, 2, 3], [4, 5, 6]]))
    actions = torch.tensor([[1, 2], [2, 0], [0, 3], [-1, 0], [0, 0]])
    _, rewards, terminated, _ = game.step(game.reset(5), actions)
    assert rewards.isnan().all(-1).tolist() == [False, True, True, True, False]
    assert rewards[[0, 4], 0].tolist() == [6, 1]
    assert terminated.all()
    tall = BatchedStagedGame(NormalFormGame.common_reward([[1, 2], [3, 4], [5, 6]]))
    assert tall.step(tall.reset(1), torch.tensor([[0, 2]]))[1].isnan().all()


def test_rewards_have_the_wanted_dtype_and_every_agent_its_own():
    game = BatchedStagedGame(get("prisoners-dilemma"), dtype=torch.float64)
    assert not game.common_reward
    _, rewards, _, _ = game.step(game.reset(1), torch.tensor([[0, 1]]))
    assert rewards.dtype == torch.float64
    assert rewards.tolist() == [[-5, 0]]
    third = BatchedStagedGame(NormalFormGame.common_reward([Fraction(1, 3)]))
    assert third.step(third.reset(1), torch.tensor([[0]]))[1].item() == np.float32(1 / 3)


def test_copies_are_independent():
    game = BatchedStagedGame(get("two-step"))
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(2, (2, 64, 2), generator=generator)
    state = game.reset(64)
    together = []
    for joint in actions:
        state, rewards, terminated, _ = game.step(state, joint)
        together.append((state.stage, rewards, terminated))
    for k in range(64):
        state = game.reset(1)
        for t in range(2):
            state, rewards, terminated, _ = game.step(state, actions[t, k : k + 1])
            assert torch.equal(state.stage, together[t][0][k : k + 1])
            assert torch.equal(rewards, together[t][1][k : k + 1])
            assert torch.equal(terminated, together[t][2][k : k + 1])


def test_every_sequence_of_actions_reaches_the_exact_optimal_value():
    exact = get("two-step-book")
    assert isinstance(exact, StagedGame)
    game = BatchedStagedGame(exact, dtype=torch.float64)
    actions = every_joint_action(exact)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    state, first, _, _ = game.step(game.reset(16), actions[pairs[:, 0]])
    _, second, _, _ = game.step(state, actions[pairs[:, 1]])
    assert (first + second).max().item() == exact.optimal_values()[0]


@pytest.mark.parametrize("K", [0, -1, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive"):
        BatchedStagedGame(get("linear")).reset(K)


def test_the_protocol_is_met():
    assert isinstance(BatchedStagedGame(get("linear")), BatchedGame)


def test_no_method_looks_at_values_on_the_host():
    game = BatchedStagedGame(get("two-step"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        state, _, terminated, _ = game.step(game.reset(4), torch.zeros(4, 2, dtype=torch.int64))
        game.observe(state), game.centralized(state), game.available(state)
        with pytest.raises(DataDependentOutputException):
            bool(terminated.all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_never_synchronises():
    game = BatchedStagedGame(get("two-step"), device="cuda")
    state, actions = game.reset(8), torch.ones(8, 2, dtype=torch.int64, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            state, rewards, _, _ = game.step(state, actions)
            game.observe(state), game.centralized(state), game.available(state)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rewards.cpu().tolist() == [[8, 8]] * 8
