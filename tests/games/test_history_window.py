"""A window of past observations: what it shows, and that all else is as in the game inside."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.games.batched_catalogue import batched_game
from marlspec.games.history_window import HistoryWindow
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.parts.config import Config
from marlspec.reference.parts.learner import select


class Count(NamedTuple):
    value: Tensor


class Counter:
    """Agent i of copy k observes (100 k + 10 i + t, -t), and each copy ends after its own number of steps."""

    name = "Counter"
    n_agents, n_actions, observation_size, state_size = 2, 3, 2, 1
    common_reward = False

    def reset(self, K):
        return Count(torch.zeros(K, dtype=torch.int64))

    def step(self, state, actions):
        value = state.value + 1
        copies = torch.arange(len(value))
        return Count(value), actions.float(), value == copies + 1, (value > 2) & (value != copies + 1)

    def observe(self, state):
        t = state.value.float()
        own = 100 * torch.arange(len(t))[:, None] + 10 * torch.arange(2) + t[:, None]
        return torch.stack([own, -t[:, None].expand(-1, 2)], -1)

    def centralized(self, state):
        return state.value.float()[:, None]

    def available(self, state):
        return (torch.arange(3) <= state.value[:, None, None]).expand(-1, 2, -1)


ACTIONS = torch.tensor([[0, 1], [2, 0]])


def test_the_window_shows_the_last_observations_and_which_there_were():
    game = HistoryWindow(Counter(), 3)
    assert isinstance(game, BatchedGame)
    assert game.observation_size == 9
    state = game.reset(2)
    shown = [game.observe(state)]
    for _ in range(4):
        state = game.step(state, ACTIONS)[0]
        shown.append(game.observe(state))
    for t, window in enumerate(shown):
        for k in range(2):
            for i in range(2):
                seen = [[100 * k + 10 * i + s, -s, 1] if s >= 0 else [0, 0, 0] for s in range(t - 2, t + 1)]
                assert window[k, i].tolist() == [number for one in seen for number in one]


def test_all_else_is_as_in_the_game_inside():
    inside = Counter()
    game = HistoryWindow(inside, 2)
    assert (game.name, game.n_agents, game.n_actions, game.state_size) == ("Counter", 2, 3, 1)
    assert game.common_reward is False
    state, plain = game.reset(2), inside.reset(2)
    for _ in range(3):
        assert torch.equal(game.centralized(state), inside.centralized(plain))
        assert torch.equal(game.available(state), inside.available(plain))
        state, *outcome = game.step(state, ACTIONS)
        plain, *expected = inside.step(plain, ACTIONS)
        assert all(map(torch.equal, outcome, expected))


def test_a_copy_that_starts_afresh_remembers_nothing():
    game = HistoryWindow(Counter(), 2)
    state, _, terminated, _ = game.step(game.reset(2), ACTIONS)
    assert terminated.tolist() == [True, False]
    observed = game.observe(select(terminated, game.reset(2), state))
    assert observed[0, 0].tolist() == [0, 0, 0, 0, 0, 1]
    assert observed[1, 0].tolist() == [100, 0, 1, 101, -1, 1]


def test_a_game_that_restarts_copies_by_itself_does_so_inside():
    class Restarting(Counter):
        action_counts = (3, 2)

        def restart(self, state, finished):
            return Count(torch.where(finished, 7, state.value))

    assert not hasattr(HistoryWindow(Counter(), 2), "restart")
    assert HistoryWindow(Counter(), 2).action_counts == (3, 3)
    game = HistoryWindow(Restarting(), 2)
    assert game.action_counts == (3, 2)
    state = game.restart(game.step(game.reset(2), ACTIONS)[0], torch.tensor([True, False]))
    assert state.inner.value.tolist() == [7, 1]
    assert game.observe(state)[0, 0].tolist() == [0, 0, 0, 7, -7, 1]
    assert game.observe(state)[1, 0].tolist() == [100, 0, 1, 101, -1, 1]


def test_a_window_of_one_shows_the_observation_alone():
    game = HistoryWindow(Counter(), 1)
    assert game.observe(game.reset(1))[0, 1].tolist() == [10, 0, 1]


@pytest.mark.parametrize("length", [0, -1, True])
def test_a_window_needs_a_positive_length(length):
    with pytest.raises(InputError, match="a positive integer"):
        HistoryWindow(Counter(), length)


def test_a_learner_trains_on_windows_and_goes_on_with_the_same_bits():
    game = HistoryWindow(batched_game("repeated:climbing", time_limit=3), 2)
    config = Config(copies=4, batch_size=8, capacity=64, hidden=(8,), seeds=2)
    learner = VDN(game, config)
    for _ in range(5):
        learner.step()
    saved = learner.state_dict()
    other = VDN(game, config)
    other.load_state_dict(saved)
    for both in (learner, other):
        torch.set_rng_state(saved["_extra_state"]["random_state"])
        both.step()
    assert all(map(torch.equal, learner.parameters(), other.parameters()))
    assert torch.equal(learner.game_state.window, other.game_state.window)
    assert learner.replay.history.shape[-1] == 4
