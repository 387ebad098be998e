import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame, BatchedStagedGame
from marlspec.games.batched_arrays import ArrayState, BatchedStochasticGame
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.posg import POSG, full_observation, limited_view
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated

HALF = Fraction(1, 2)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def copies_in(batched, states):
    """Copies that stand in given states."""
    fresh = batched.reset(len(states))
    return fresh._replace(
        state=torch.as_tensor(states), observation=torch.as_tensor(states)[:, None].expand(-1, batched.n_agents)
    )


def every_row(game):
    """Every state with every joint action."""
    return [(s, *a) for s in range(game.n_states) for a in game.joint_actions()]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_step_is_possible_and_pays_what_the_tables_say(any_game, data):
    game = any_game(data)
    batched = BatchedStochasticGame(game, dtype=torch.float64)
    rows = torch.tensor(every_row(game) * 8)
    torch.manual_seed(data.draw(st.integers(0, 99)))
    after, rewards, terminated, truncated = batched.step(copies_in(batched, rows[:, 0]), rows[:, 1:])
    transitions, table = game.transition_matrix(), game.reward_table()
    for k, row in enumerate(rows.tolist()):
        successor = int(after.state[k])
        assert transitions[(*row, successor)] > 0
        assert rewards[k].tolist() == [float(own[(*row, successor)]) for own in table]
        assert bool(terminated[k]) == game.terminal[successor]
    assert not truncated.any()
    assert torch.equal(batched.observe(after), batched.centralized(after)[:, None].expand(-1, game.n_agents, -1))
    assert torch.equal(batched.centralized(after).argmax(-1), after.state)


def test_draws_follow_mu_and_the_transitions(draws_fit):
    """Each of 19 counts fails once in a million where the draws are right."""
    generator = np.random.default_rng(0)
    transitions = generator.dirichlet([1, 1, 1], (3, 2, 3))
    transitions[0, ..., 1] = transitions[1, ..., 2] = 0
    transitions /= transitions.sum(-1, keepdims=True)
    game = StochasticGame(transitions, np.zeros((2, 3, 2, 3)), [0.2, 0.7, 0.1], [False] * 3)
    batched = BatchedStochasticGame(game)
    K = 5000
    assert draws_fit(np.bincount(batched.reset(K).state, minlength=3), game.initial)
    for row in every_row(game):
        actions = torch.tensor([row[1:]] * K)
        after = batched.step(copies_in(batched, [row[0]] * K), actions)[0]
        assert draws_fit(np.bincount(after.state, minlength=3), transitions[row])


def test_observations_follow_their_functions_and_each_agent_draws_its_own(draws_fit):
    """Each of 15 counts fails once in a million where the draws are right."""
    generator = np.random.default_rng(1)
    game = StochasticGame(generator.dirichlet([1, 1], (2, 1, 3)), np.zeros((2, 2, 1, 3)), [0.5, 0.5], [False] * 2)
    counts = (2, 3)
    later = [generator.dirichlet(np.ones(count), (1, 3, 2)) for count in counts]
    first = [generator.dirichlet(np.ones(count), 2) for count in counts]
    batched = BatchedStochasticGame(POSG(game, later, first))
    K = 20_000
    fresh = batched.reset(K)
    for s in range(2):
        pairs = fresh.observation[fresh.state == s]
        joint = np.bincount(3 * pairs[:, 0] + pairs[:, 1], minlength=6)
        assert draws_fit(joint, np.outer(first[0][s], first[1][s]).ravel())
    for action in range(3):
        after = batched.step(fresh, torch.tensor([[0, action]] * K))[0]
        for s in range(2):
            pairs = after.observation[after.state == s]
            joint = np.bincount(3 * pairs[:, 0] + pairs[:, 1], minlength=6)
            assert draws_fit(joint, np.outer(later[0][0, action, s], later[1][0, action, s]).ravel())
    one_hot = batched.observe(fresh)
    assert one_hot.shape == (K, 2, 3)
    assert torch.equal(one_hot.argmax(-1), fresh.observation)
    assert not one_hot[:, 0, 2].any()
    assert torch.equal(batched.centralized(fresh).argmax(-1), fresh.state)


def test_copies_draw_independently(draws_fit):
    """Fails once in a million: neighbouring copies of a fair coin."""
    coin = StochasticGame([[[HALF, HALF]]] * 2, [[[0]] * 2], [HALF, HALF], [False] * 2)
    batched = BatchedStochasticGame(coin)
    fresh = batched.reset(8000)
    after = batched.step(fresh, torch.zeros(8000, 1, dtype=torch.int64))[0]
    for pairs in ((after.state[::2], after.state[1::2]), (fresh.state, after.state)):
        assert draws_fit(np.bincount(2 * pairs[0] + pairs[1], minlength=4), [0.25] * 4)


@pytest.mark.parametrize("name", ["climbing", "prisoners-dilemma", "coordination:3x2", "two-step", "two-step-book"])
def test_a_game_without_chance_is_the_batched_staged_game(name):
    game = get(name)
    arrays = one_step(game) if isinstance(game, NormalFormGame) else from_staged(game)
    staged, batched = BatchedStagedGame(game), BatchedStochasticGame(arrays)
    assert (batched.n_agents, batched.n_actions, batched.name) == (staged.n_agents, staged.n_actions, staged.name)
    assert batched.common_reward == staged.common_reward
    joint = list(arrays.joint_actions())
    plans = torch.tensor(list(itertools.product(joint, repeat=3)))
    mine, theirs = batched.reset(len(plans)), staged.reset(len(plans))
    random_state = torch.get_rng_state()
    for t in range(3):
        mine, *answers = batched.step(mine, plans[:, t])
        theirs, *expected = staged.step(theirs, plans[:, t])
        assert torch.equal(mine.state, theirs.stage)
        assert all(map(torch.equal, answers, expected))
        assert torch.equal(batched.observe(mine)[..., :-1], staged.observe(theirs))
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_same_seed_gives_the_same_play():
    runs = []
    game = repeated(get("chicken"), HALF)
    noisy = POSG(game, [np.full((2, 2, 1, 3), Fraction(1, 3), dtype=object)] * 2, [[[Fraction(1, 3)] * 3]] * 2)
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        batched = BatchedStochasticGame(noisy)
        state = batched.reset(50)
        runs.append(batched.step(state, torch.zeros(50, 2, dtype=torch.int64))[0].observation)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_terminal_states_are_absorbing():
    batched = BatchedStochasticGame(one_step(get("climbing")))
    ended = batched.step(batched.reset(2), torch.tensor([[0, 0], [1, 1]]))[0]
    state, rewards, terminated, truncated = batched.step(ended, torch.tensor([[0, 0], [1, 1]]))
    assert torch.equal(state.state, ended.state)
    assert not rewards.any()
    assert terminated.all()
    assert not truncated.any()
    assert batched.centralized(state).tolist() == [[0, 1]] * 2


def test_a_time_limit_truncates_and_never_terminates():
    batched = BatchedStochasticGame(repeated(get("climbing"), HALF), time_limit=3)
    state = batched.reset(2)
    for t in range(4):
        state, rewards, terminated, truncated = batched.step(state, torch.tensor([[0, 0], [1, 1]]))
        assert rewards.tolist() == [[11, 11], [7, 7]]
        assert not terminated.any()
        assert truncated.tolist() == [t >= 2] * 2
        assert state.time.tolist() == [t + 1] * 2


def test_an_episode_that_terminates_at_the_limit_is_not_truncated():
    batched = BatchedStochasticGame(from_staged(get("two-step")), time_limit=2)
    state = batched.step(batched.reset(1), torch.tensor([[0, 0]]))[0]
    _, _, terminated, truncated = batched.step(state, torch.tensor([[0, 0]]))
    assert terminated.all()
    assert not truncated.any()


def test_step_leaves_its_state_alone():
    batched = BatchedStochasticGame(full_observation(from_staged(get("two-step"))))
    state = batched.reset(4)
    before = ArrayState(*(part.clone() for part in state))
    batched.step(state, torch.ones(4, 2, dtype=torch.int64))
    assert all(map(torch.equal, state, before))


def test_views_are_observed():
    game = from_staged(get("two-step"))
    batched = BatchedStochasticGame(limited_view(game, [["start", "on", "on", "end"]] * 2, [(1,), ()]))
    assert (batched.observation_size, batched.state_size) == (9, 4)
    state = batched.reset(1)
    assert batched.observe(state).argmax(-1).tolist() == [[0, 0]]
    state = batched.step(state, torch.tensor([[1, 0]]))[0]
    assert batched.observe(state).argmax(-1).tolist() == [[4, 1]]
    assert batched.centralized(state).tolist() == [[0, 0, 1, 0]]


def test_padding_is_masked():
    batched = BatchedStochasticGame(one_step(NormalFormGame.common_reward(np.arange(6).reshape(1, 2, 3))))
    assert batched.n_actions == 3
    mask = batched.available(batched.reset(4))
    assert mask.shape == (4, 3, 3)
    assert mask[2].tolist() == [[True, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("view", [lambda game: game, full_observation])
def test_an_unavailable_action_pays_nan_to_its_copy_alone_and_ends_it(view):
    batched = BatchedStochasticGame(view(repeated(NormalFormGame.common_reward([[1, 2, 3], [4, 5, 6]]), HALF)))
    actions = torch.tensor([[1, 2], [2, 0], [0, 3], [-1, 0], [0, 0]])
    state, rewards, terminated, _ = batched.step(batched.reset(5), actions)
    broken = [False, True, True, True, False]
    assert rewards.isnan().all(-1).tolist() == broken
    assert rewards[[0, 4], 0].tolist() == [6, 1]
    assert terminated.tolist() == broken
    assert (batched.observe(state).sum(-1) == 0).all(-1).tolist() == broken
    assert (batched.centralized(state).sum(-1) == 0).tolist() == broken
    state, rewards, terminated, _ = batched.step(state, torch.zeros_like(actions))
    assert rewards[:, 0].tolist() == [1, 0, 0, 0, 1]
    assert terminated.tolist() == broken


def test_rewards_have_the_wanted_dtype_and_every_agent_its_own():
    batched = BatchedStochasticGame(one_step(get("prisoners-dilemma")), dtype=torch.float64)
    assert not batched.common_reward
    rewards = batched.step(batched.reset(1), torch.tensor([[0, 1]]))[1]
    assert rewards.dtype == batched.observe(batched.reset(1)).dtype == torch.float64
    assert rewards.tolist() == [[-5, 0]]
    third = BatchedStochasticGame(one_step(NormalFormGame.common_reward([Fraction(1, 3)])))
    assert third.step(third.reset(1), torch.tensor([[0]]))[1].item() == np.float32(1 / 3)


@pytest.mark.parametrize("K", [0, -1, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive"):
        BatchedStochasticGame(one_step(get("linear"))).reset(K)


@pytest.mark.parametrize("limit", [0, -3, True])
def test_the_time_limit_is_positive(limit):
    with pytest.raises(InputError, match=f"time_limit is {limit}: a positive number of steps, or None"):
        BatchedStochasticGame(one_step(get("linear")), time_limit=limit)


def test_the_protocol_is_met():
    assert isinstance(BatchedStochasticGame(one_step(get("linear"))), BatchedGame)


def test_no_method_looks_at_values_on_the_host():
    coin = StochasticGame([[[HALF, HALF]]] * 2, [[[0]] * 2], [HALF, HALF], [False] * 2)
    for game in (coin, full_observation(coin)):
        batched = BatchedStochasticGame(game, time_limit=2)
        with FakeTensorMode(allow_non_fake_inputs=True):
            state, _, terminated, _ = batched.step(batched.reset(4), torch.zeros(4, 1, dtype=torch.int64))
            batched.observe(state), batched.centralized(state), batched.available(state)
            with pytest.raises(DataDependentOutputException):
                bool(terminated.all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_never_synchronises():
    coin = StochasticGame([[[HALF, HALF]]] * 2, [[[0]] * 2], [HALF, HALF], [False] * 2)
    batched = BatchedStochasticGame(full_observation(coin), device="cuda", time_limit=2)
    state, actions = batched.reset(8), torch.zeros(8, 1, dtype=torch.int64, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            state, _, _, truncated = batched.step(state, actions)
            batched.observe(state), batched.centralized(state), batched.available(state)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert truncated.all()
