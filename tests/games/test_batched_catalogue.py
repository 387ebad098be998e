"""Names of games on a device: each leads to the right game, and every mistake to a message."""

import subprocess
import sys

import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.games.batched_catalogue import batched_game, descriptions, is_exact
from marlspec.games.batched_lbf import Foraging, foraging_settings
from marlspec.games.catalogue import GAMES, get
from marlspec.games.speaker_listener import SpeakerListener

LISTED = descriptions()
NAMES = [name.replace("NAME", "climbing") for name in LISTED]
STAY = torch.zeros(1, 2, dtype=torch.int64)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def played(game, K=6, limit=200):
    """Rewards [T, K, n] of random play, when each copy ended, and whether by termination."""
    state, rewards = game.reset(K), []
    ends, terminates = torch.full((K,), -1), torch.zeros(K, dtype=torch.bool)
    for t in range(1, limit):
        actions = torch.rand(K, game.n_agents, game.n_actions).masked_fill(~game.available(state), -1).argmax(-1)
        state, reward, terminated, truncated = game.step(state, actions)
        rewards.append(reward)
        over = (terminated | truncated) & (ends < 0)
        ends[over], terminates[over] = t, terminated[over]
        if (ends > 0).all():
            break
    return torch.stack(rewards), ends, terminates


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("repeated:")])
def test_every_listed_game_is_built_as_it_is_described_and_ends(name):
    described = LISTED[name]
    game = batched_game(name)
    assert isinstance(game, BatchedGame)
    state = game.reset(2)
    assert [str(game.n_agents), str(game.observation_size)] == [described.agents, described.observation]
    assert max(map(int, described.actions.split("x"))) == game.n_actions
    assert described.actions.count("x") == game.n_agents - 1
    assert game.observe(state).shape == (2, game.n_agents, game.observation_size)
    assert game.common_reward == (described.common_reward == "yes")
    assert described.source
    rewards, ends, _ = played(game)
    assert (ends > 0).all()
    assert not game.common_reward or (rewards == rewards[..., :1]).all()


def test_the_exact_games_are_those_of_the_catalogue():
    exact = [name for name in LISTED if is_exact(name)]
    assert exact == list(GAMES)
    assert [batched_game(name).name for name in exact[:-1]] == [get(name).name for name in exact[:-1]]


def test_parameters_of_names_reach_the_game():
    assert batched_game("coordination:3x2").n_agents == 3
    assert batched_game("goals:2").n_agents == 2
    game = batched_game("repeated:penalty:-3")
    rewards = game.step(game.reset(1), torch.tensor([[0, 0]]))[1]
    assert rewards.tolist() == [[-3, -3]]
    tasks = ("foraging:2s-9x7-3p-2f", "Foraging-2s-9x7-3p-2f-v3", "foraging:Foraging-2s-9x7-3p-2f-v3")
    for name in tasks:
        game = batched_game(name)
        assert isinstance(game, Foraging)
        assert game.settings == foraging_settings("2s-9x7-3p-2f")
        assert not is_exact(name)
    assert isinstance(batched_game("speaker-listener"), SpeakerListener)
    assert not is_exact("speaker-listener")
    assert batched_game("combat:3m_vs_4z").name == "Combat-3m_vs_4z"
    assert not is_exact("combat:3m_vs_4z")
    assert not is_exact("repeated:climbing")


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("repeated:climbing", {}, 25),
        ("repeated:stag-hunt", {"time_limit": 4}, 4),
        ("goals:2", {"time_limit": 1}, 1),
        ("foraging:15x15-2p-8f-coop", {}, 50),
        ("foraging:15x15-2p-8f-coop", {"time_limit": 3}, 3),
        ("speaker-listener", {}, 25),
        ("combat:20z", {"time_limit": 3}, 3),
    ],
)
def test_episodes_are_truncated_after_their_time_limit(name, options, length):
    _, ends, terminates = played(batched_game(name, **options))
    assert (ends == length).all()
    assert not terminates.any()


def test_an_exact_stochastic_game_is_truncated_after_50_steps():
    game = batched_game("foraging")
    state = game.reset(1)
    for t in range(1, 51):
        state, _, terminated, truncated = game.step(state, STAY)
        assert (bool(terminated), bool(truncated)) == (False, t == 50)


def test_matrix_games_end_by_themselves_after_one_step():
    _, ends, terminates = played(batched_game("climbing"))
    assert (ends == 1).all()
    assert terminates.all()


def test_own_rewards_and_pools_of_foraging():
    game = batched_game("foraging:6x6-2p-4f", own_rewards=True, pool=7)
    assert not game.common_reward
    starts = {tuple(start.flatten().tolist()) for start in game.reset(200).players}
    assert len(starts) <= 7


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("climbng", {}, "no game named 'climbng'; did you mean climbing"),
        ("speaker_listener", {}, "did you mean speaker-listener"),
        ("xyzzy", {}, "the games are linear, .*speaker-listener"),
        ("repeated:nope", {}, "no game named 'nope'"),
        ("repeated:two-step", {}, "is no matrix game"),
        ("repeated:", {}, "no game named 'repeated'"),
        ("foraging:8by8", {}, "'8by8' is no foraging task"),
        ("climbing:3", {}, "climbing takes no parameter"),
        ("speaker-listener:3", {}, "no game named 'speaker-listener'"),
        ("climbing", {"time_limit": 5}, "ends by itself"),
        ("speaker-listener", {"time_limit": 5}, "always has 25 steps"),
        ("repeated:climbing", {"time_limit": 0}, "time_limit is 0"),
        ("foraging:8x8-2p-3f", {"time_limit": 0}, "time_limit is 0"),
        ("climbing", {"own_rewards": True}, "for foraging tasks"),
        ("speaker-listener", {"pool": 5}, "for foraging tasks"),
        ("combat:3m", {"pool": 5}, "for foraging tasks"),
        ("combat:3m", {"time_limit": 0}, "3m: time_limit is 0"),
        ("combat:MMM", {}, "'MMM' is no combat scenario"),
        ("combat:", {}, "no game named 'combat'; did you mean combat:3m"),
        ("foraging:8x8-2p-3f", {"pool": 0}, "pool is 0"),
    ],
)
def test_mistakes_are_told(name, options, message):
    with pytest.raises(InputError, match=message):
        batched_game(name, **options)


def test_games_live_on_the_device_asked_for():
    for name in NAMES:
        if name != "goals":
            assert batched_game(name, "meta").device.type == "meta"


def test_describing_the_games_does_not_load_torch():
    code = "import sys, marlspec.games.batched_catalogue as c; c.descriptions(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
