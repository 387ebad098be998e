"""PettingZoo, both directions: batched games as ParallelEnvs, ParallelEnvs as batched games, and learners on those."""

import importlib
import inspect
import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame, BatchedStagedGame
from marlspec.games.batched_arrays import BatchedStochasticGame
from marlspec.games.batched_lbf import Foraging
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.speaker_listener import SpeakerListener
from marlspec.games.stochastic import repeated
from marlspec.properties import check
from marlspec.properties.reference_targets import game_of_chance
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.independent.ia2c import IA2C
from marlspec.reference.parts.config import ActorCriticConfig, Config

pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

from gymnasium import spaces
from pettingzoo import ParallelEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test

from marlspec.games.pettingzoo import BatchedParallelEnv, GameAsParallelEnv

PAGE = (Path(__file__).parents[2] / "docs" / "games.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _same_numbers():
    state = torch.get_rng_state()
    torch.manual_seed(7)
    yield
    torch.set_rng_state(state)


# --- ours as ParallelEnv ----------------------------------------------------------------------------------------------


def uneven():
    """Two agents with 2 and 3 actions; ends after one step."""
    return BatchedStagedGame(NormalFormGame([[[1, 2, 3], [4, 5, 6]], [[0.5, 0, 0], [0, 0, -1]]], name="Uneven"))


OURS = {
    "two-step": lambda: BatchedStagedGame(get("two-step")),
    "stag hunt": lambda: BatchedStagedGame(get("stag-hunt")),
    "uneven": uneven,
    "chance": game_of_chance,
    "repeated": lambda: BatchedStochasticGame(repeated(get("climbing"), 1), time_limit=6),
    "speaker-listener": lambda: SpeakerListener(dtype=torch.float64),
    "foraging": lambda: Foraging("5x5-2p-1f", common_reward=False),
}


@pytest.fixture(params=OURS)
def ours(request):
    return OURS[request.param]


def test_pettingzoos_own_tests_pass(ours, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(GameAsParallelEnv(ours()), num_cycles=60)
        parallel_seed_test(lambda: GameAsParallelEnv(ours()))
    assert "Passed" in capsys.readouterr().out


def test_the_judge_finds_nothing():
    game = game_of_chance()
    report = check(lambda: GameAsParallelEnv(game), role="game", examples=100)
    outcomes = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    held = ("game.seed", "game.finite", "game.spaces", "game.mask", "game.terminal", "game.pure")
    of_copies = ("game.copies", "game.restart")
    assert outcomes == {**dict.fromkeys(held, "holds"), **dict.fromkeys(of_copies, "not_applicable")}


def test_an_episode_is_that_of_the_game(ours):
    """Step for step the game, played by itself from the same seed."""
    game, env = ours(), GameAsParallelEnv(ours())
    agents = [f"agent_{i}" for i in range(game.n_agents)]
    for seed in (5, 6):
        observations, infos = env.reset(seed=seed)
        torch.manual_seed(seed)
        state, over = game.reset(1), False
        for t in range(60):
            available, views = game.available(state)[0], game.observe(state)[0]
            assert list(observations) == list(infos) == agents
            for i, agent in enumerate(agents):
                count = env.action_space(agent).n
                assert infos[agent]["action_mask"].dtype == np.int8
                assert infos[agent]["action_mask"].tolist() == available[i, :count].int().tolist()
                assert not available[i, count:].any()
                assert observations[agent].tolist() == views[i].tolist()
                assert env.observation_space(agent).contains(observations[agent])
            assert env.state().tolist() == game.centralized(state)[0].tolist()
            assert env.state_space.contains(env.state())
            if over:
                break
            joint = [int(own.nonzero()[t % int(own.sum())]) for own in available]
            state, expected, terminated, truncated = game.step(state, torch.tensor([joint]))
            answer = env.step(dict(zip(reversed(agents), reversed(joint), strict=True)))
            observations, rewards, terminations, truncations, infos = answer
            assert rewards == dict(zip(agents, expected[0].tolist(), strict=True))
            assert all(type(reward) is float for reward in rewards.values())
            assert terminations == dict.fromkeys(agents, bool(terminated))
            assert truncations == dict.fromkeys(agents, bool(truncated))
            over = bool(terminated | truncated)
            assert env.agents == ([] if over else agents)
        assert over


def test_termination_and_truncation_are_told_apart():
    ends = {}
    for name in ("two-step", "speaker-listener", "repeated"):
        env = GameAsParallelEnv(OURS[name]())
        env.reset(seed=0)
        steps = 0
        while env.agents:
            _, _, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
            steps += 1
        ends[name] = (steps, set(terminations.values()), set(truncations.values()))
    assert ends == {
        "two-step": (2, {True}, {False}),
        "speaker-listener": (25, {False}, {True}),
        "repeated": (6, {False}, {True}),
    }


@pytest.mark.parametrize(
    ("name", "counts"), [("uneven", [2, 3]), ("speaker-listener", [3, 5]), ("chance", [2, 2]), ("foraging", [6, 6])]
)
def test_action_spaces_have_each_agents_own_size(name, counts):
    env = GameAsParallelEnv(OURS[name]())
    assert [env.action_space(agent) for agent in env.possible_agents] == [spaces.Discrete(count) for count in counts]


def test_names_and_what_pettingzoo_asks():
    env = GameAsParallelEnv(uneven())
    assert isinstance(env, ParallelEnv)
    assert str(env) == "Uneven"
    assert env.possible_agents == ["agent_0", "agent_1"]
    assert env.agents == []
    assert (env.num_agents, env.max_num_agents) == (0, 2)
    assert env.unwrapped is env


def test_seeds_leave_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    env = GameAsParallelEnv(SpeakerListener())
    env.reset(seed=3)
    env.step(dict.fromkeys(env.agents, 0))
    env.reset()
    after = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]


def starts(env, *seeds):
    return [env.reset(seed=seed)[0]["agent_1"].tolist() for seed in seeds]


def test_without_a_seed_the_numbers_go_on_and_the_first_are_nobodys():
    env, other = GameAsParallelEnv(SpeakerListener()), GameAsParallelEnv(SpeakerListener())
    first = starts(env, 11, None, None)
    torch.rand(5)
    assert starts(other, 11, None, None) == first
    assert len({tuple(start) for start in first}) == 3
    torch.manual_seed(7)
    fresh = GameAsParallelEnv(SpeakerListener())
    torch.manual_seed(7)
    assert starts(fresh, None) != starts(GameAsParallelEnv(SpeakerListener()), None)


def test_environments_do_not_feel_each_other():
    def episode(env, beside=None):
        seen = [env.reset(seed=4)[0]]
        while env.agents:
            if beside is not None:
                beside.reset()
            seen.append(env.step(dict.fromkeys(env.agents, 1))[0])
        return [{agent: view.tolist() for agent, view in observations.items()} for observations in seen]

    env = GameAsParallelEnv(game_of_chance())
    assert episode(env) == episode(env, GameAsParallelEnv(env.game))


def test_what_is_handed_out_is_the_callers():
    env = GameAsParallelEnv(SpeakerListener())
    first, infos = env.reset(seed=1)
    kept = first["agent_1"].copy(), env.state().copy()
    first["agent_1"][:] = env.state()[:] = infos["agent_0"]["action_mask"][:] = 0
    assert env.reset(seed=1)[0]["agent_1"].tolist() == kept[0].tolist()
    assert env.state().tolist() == kept[1].tolist()
    assert env.game.available(env.game.reset(1)).any()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"agent_0": 0}, "must act"),
        ({"agent_0": 0, "agent_1": 0, "agent_2": 0}, "must act"),
        ({"agent_0": 2, "agent_1": 0}, r"agent_0 cannot take the action 2: it has Discrete\(2\)"),
        ({"agent_0": -1, "agent_1": 0}, "cannot take"),
        ({"agent_0": 0.0, "agent_1": 0}, "cannot take"),
    ],
)
def test_actions_that_are_none_are_refused(actions, message):
    env = GameAsParallelEnv(uneven())
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.step(actions)
    assert env.step({"agent_0": np.int64(0), "agent_1": np.int32(2)})[1] == {"agent_0": 3.0, "agent_1": 0.0}


def test_an_unavailable_action_is_refused_and_the_episode_goes_on():
    game = uneven()
    del game.action_counts
    env = GameAsParallelEnv(game)
    assert env.action_space("agent_0") == spaces.Discrete(3)
    _, infos = env.reset(seed=0)
    assert infos["agent_0"]["action_mask"].tolist() == [1, 1, 0]
    with pytest.raises(InputError, match=r"action 2 is not available to agent_0, who has \[0, 1\]"):
        env.step({"agent_0": 2, "agent_1": 0})
    assert env.step({"agent_0": 1, "agent_1": 0})[1] == {"agent_0": 4.0, "agent_1": 0.0}


def test_steps_need_an_episode():
    env = GameAsParallelEnv(uneven())
    both = {"agent_0": 0, "agent_1": 0}
    for _ in range(2):
        with pytest.raises(InputError, match=r"call reset\(\) before step\(\)"):
            env.step(both)
        env.reset()
        env.step(both)


def test_seeds_are_natural_numbers():
    with pytest.raises(InputError, match=r"reset\(seed=-1\): a seed is an integer of 0 or more"):
        GameAsParallelEnv(uneven()).reset(seed=-1)


# --- a ParallelEnv as ours --------------------------------------------------------------------------------------------


class Relay(ParallelEnv):
    """Ann (2 actions) is there from the start and terminates early, Bob (actions 5, 6, 7) stays to the end.

    All that happens follows from the seed and the actions. `masks` says where Bob's mask is; `last` how he ends.
    """

    metadata = {"name": "relay_v0"}  # noqa: RUF012

    def __init__(self, masks="infos", last=(False, True), ann_leaves=2, length=4, common=False):
        self.masks, self.last, self.ann_leaves, self.length, self.common = masks, last, ann_leaves, length, common
        self.possible_agents = ["ann", "bob"]
        self.log = []

    def observation_space(self, agent):
        number = spaces.Box(-np.inf, np.inf, (2, 1), np.float32) if agent == "ann" else spaces.Discrete(4, start=1)
        if self.masks != "observations" or agent == "ann":
            return number
        return spaces.Dict({"action_mask": spaces.MultiBinary(3), "observation": number})

    def action_space(self, agent):
        return spaces.Discrete(2) if agent == "ann" else spaces.Discrete(3, start=5)

    def reset(self, seed=None, options=None):
        self.x = int(np.random.default_rng(seed).integers(100))
        self.clock, self.agents = 0, ["ann", "bob"]
        self.log.append(seed)
        return self.seen(self.agents)

    def mask(self):
        return np.array([self.clock % 2, 1, (self.x + self.clock) % 2], np.int8)

    def seen(self, agents):
        observations = {}
        if "ann" in agents:
            observations["ann"] = np.array([[self.x], [self.clock]], np.float32)
        if "bob" in agents:
            number = 1 + (self.x + self.clock) % 4
            inside = {"action_mask": self.mask(), "observation": number}
            observations["bob"] = inside if self.masks == "observations" else number
        infos = {agent: {} for agent in agents}
        if self.masks == "infos" and "bob" in agents:
            infos["bob"]["action_mask"] = self.mask()
        return observations, infos

    def step(self, actions):
        self.log.append(actions)
        acting = self.agents
        assert set(actions) == set(acting)
        self.clock += 1
        rewards = {"ann": self.x + 0.5 * actions.get("ann", 0), "bob": 10.0 * self.clock + actions["bob"]}
        if self.common:
            rewards = dict.fromkeys(acting, rewards["bob"])
        over = self.clock >= self.length
        ends = {"ann": (self.clock >= self.ann_leaves, False), "bob": (over and self.last[0], over and self.last[1])}
        observations, infos = self.seen(acting)
        self.agents = [agent for agent in acting if not any(ends[agent])]
        terminations, truncations = ({agent: ends[agent][j] for agent in acting} for j in range(2))
        return observations, {agent: rewards[agent] for agent in acting}, terminations, truncations, infos


class Sighted(Relay):
    """Relay with a state of its own."""

    def state(self):
        return np.array([[self.x, self.clock, len(self.agents)]])


def game_of(kind=Relay, common_reward=False, **settings):
    """The game, and the environments that it has made, in their order."""
    made = []

    def factory():
        made.append(kind(**settings))
        return made[-1]

    return BatchedParallelEnv(factory, common_reward=common_reward), made


def legal(state, choice):
    """One available action of each agent of each copy."""
    rows = [[own.nonzero().flatten() for own in copied] for copied in state.available]
    return torch.tensor([[int(own[(choice + k) % len(own)]) for own in row] for k, row in enumerate(rows)])


def test_sizes_names_and_the_protocol():
    game, _ = game_of()
    assert isinstance(game, BatchedGame)
    assert (game.name, game.n_agents, game.n_actions, game.action_counts) == ("relay_v0", 2, 3, (2, 3))
    assert (game.observation_size, game.state_size, game.common_reward) == (4, 6, False)
    assert game.centralized_source == "concatenated observations"
    sighted, _ = game_of(Sighted)
    assert (sighted.state_size, sighted.centralized_source) == (3, "env.state()")


def bobs_view(x, clock):
    return [1.0 if (x + clock) % 4 == j else 0.0 for j in range(4)]


@pytest.mark.parametrize("masks", ["infos", "observations", "none"])
@pytest.mark.parametrize("last", [(True, False), (False, True), (True, True)])
def test_an_episode_is_that_of_the_environments(masks, last):
    """Every number of three copies, from the environments' own words; Ann leaves after two steps, Bob after four."""
    game, made = game_of(masks=masks, last=last)
    torch.manual_seed(3)
    seeds = torch.randint(2**31, (3,)).tolist()
    torch.manual_seed(3)
    state = game.reset(3)
    assert len(made) == 3
    starts = [int(np.random.default_rng(seed).integers(100)) for seed in seeds]
    assert [env.log[-1] for env in made] == seeds
    for t in range(6):
        clock, over = min(t, 4), t >= 4
        ann_seen, ann_there = t <= 2, t < 2
        for k, x in enumerate(starts):
            ann = [float(x), float(clock)] if ann_seen else [0.0, 0.0]
            bob = bobs_view(x, clock)
            assert game.observe(state)[k].tolist() == [[*ann, 0.0, 0.0], bob]
            assert game.centralized(state)[k].tolist() == [*ann, *bob]
            bobs_mask = [True] * 3 if masks == "none" else [clock % 2 == 1, True, (x + clock) % 2 == 1]
            assert game.available(state)[k].tolist() == [[True, ann_there, False], bobs_mask]
        assert state.terminated.tolist() == [over and last[0]] * 3
        assert state.truncated.tolist() == [over and last == (False, True)] * 3
        joint = legal(state, t)
        state, rewards, terminated, truncated = game.step(state, joint)
        for k, x in enumerate(starts):
            ann, bob = joint[k].tolist()
            expected = [x + 0.5 * ann if t < 2 else 0.0, 10.0 * (t + 1) + 5 + bob]
            assert rewards[k].tolist() == (expected if t < 4 else [0.0, 0.0])
            told = {"ann": ann, "bob": 5 + bob} if t < 2 else {"bob": 5 + bob}
            assert made[k].log[min(t, 3) - 4 if t > 3 else -1] == (told if t < 4 else made[k].log[-1])
            assert len(made[k].log) == (3 if k == 0 else 2) + min(t, 3)
        assert terminated.tolist() == state.terminated.tolist()
        assert truncated.tolist() == state.truncated.tolist()


def test_the_environments_state_is_the_centralised_information():
    game, made = game_of(Sighted)
    state = game.reset(2)
    for _ in range(3):
        assert game.centralized(state).tolist() == [env.state().flatten().tolist() for env in made]
        state, *_ = game.step(state, legal(state, 0))


def test_a_copy_that_ends_in_both_ways_at_once_was_truncated():
    game, _ = game_of(ann_leaves=4)
    state = game.reset(1)
    for _ in range(4):
        state, _, terminated, truncated = game.step(state, legal(state, 1))
    assert (bool(terminated), bool(truncated)) == (False, True)
    assert game.observe(state)[0, 0].tolist()[1] == 4.0
    assert game.available(state)[0, 0].tolist() == [True, True, False], "what Ann could do counts for the bootstrap"


def test_a_common_reward_is_everyones_even_of_those_who_left():
    game, made = game_of(common_reward=True, common=True)
    state = game.reset(2)
    for t in range(4):
        state, rewards, _, _ = game.step(state, legal(state, t))
        paid = [10.0 * (t + 1) + env.log[-1]["bob"] for env in made]
        assert rewards.tolist() == [[reward, reward] for reward in paid]


def test_rewards_that_differ_are_refused_where_a_common_reward_was_declared():
    game, _ = game_of(common_reward=True)
    state = game.reset(1)
    with pytest.raises(InputError, match=r"rewards differ, .*'ann'.*'bob'.*declare common_reward=False"):
        game.step(state, legal(state, 0))


def test_only_the_last_state_can_be_stepped():
    game, _ = game_of()
    old = game.reset(2)
    joint = legal(old, 0)
    new, *_ = game.step(old, joint)
    swapped = type(new)(*(field.flip(0) for field in new))
    for state in (old, swapped, type(new)(*(field[:1].expand(2, *field.shape[1:]) for field in new))):
        with pytest.raises(InputError, match="no environments stand in this state"):
            game.step(state, legal(state, 0))
        with pytest.raises(InputError, match="no environments stand"):
            game.restart(state, torch.ones(2, dtype=torch.bool))
    after, *_ = game.step(new, legal(new, 0))
    game.reset(1)
    game.reset(1)
    with pytest.raises(InputError, match="no environments stand"):
        game.step(after, legal(after, 0))
    assert game.observe(old).shape == (2, 2, 4), "what was seen stays"
    assert not torch.equal(game.observe(old), game.observe(after))


def test_evaluations_leave_the_training_alone():
    """Two evaluations after each step of training, in the same environments, of which the second has fewer copies."""
    game, made = game_of()
    training = game.reset(2)
    for _ in range(3):
        for K in (3, 2):
            evaluation = game.reset(K)
            for _ in range(4):
                evaluation, _, _, truncated = game.step(evaluation, legal(evaluation, 1))
            assert truncated.all()
        training, *_ = game.step(training, legal(training, 0))
        training = game.restart(training, training.terminated)
    assert len(made) == 5
    assert [env.clock for env in made] == [3, 3, 4, 4, 4]


def test_unfinished_episodes_give_way_to_those_stepped_last():
    game, _ = game_of()
    first, second = game.reset(2), game.reset(2)
    first, *_ = game.step(first, legal(first, 0))
    third = game.reset(2)
    with pytest.raises(InputError, match="no environments stand"):
        game.step(second, legal(second, 0))
    game.step(first, legal(first, 0))
    game.step(third, legal(third, 0))


def test_an_episode_that_took_another_way_is_not_the_same_state():
    (game, _), (other, _) = game_of(), game_of()
    states = []
    for own, choice in ((game, 0), (other, 1)):
        torch.manual_seed(1)
        start = own.reset(1)
        states.append(own.step(start, legal(start, choice))[0])
    with pytest.raises(InputError, match="no environments stand"):
        game.step(states[1], legal(states[1], 0))
    game.step(states[0], legal(states[0], 0))


def test_restart_begins_episodes_in_the_finished_copies_alone():
    game, made = game_of(length=2, ann_leaves=2)
    state = game.reset(3)
    state, *_ = game.step(state, legal(state, 0))
    state = game.restart(state, torch.tensor([True, False, False]))
    state, _, terminated, truncated = game.step(state, legal(state, 0))
    assert truncated.tolist() == [False, True, True]
    logs = [len(env.log) for env in made]
    state = game.restart(state, terminated | truncated)
    assert [len(env.log) for env in made] == [logs[0], logs[1] + 1, logs[2] + 1]
    assert [env.clock for env in made] == [1, 0, 0]
    assert not state.truncated.any()
    assert made[1].log[-1] != made[2].log[-1]
    assert game.available(state)[1, 0].tolist() == [True, True, False], "Ann is back"


def test_a_reset_uses_the_same_environments_again():
    game, made = game_of()
    for K in (2, 3, 1, 3):
        assert game.observe(game.reset(K)).shape[0] == K
    assert len(made) == 5, "two groups"
    closed = []
    for env in made:
        env.close = lambda env=env: closed.append(env)
    game.close()
    assert closed == made


@pytest.mark.parametrize("action", [-1, 0, 3])
def test_actions_that_are_not_available_are_refused_before_anything_moves(action):
    game, made = game_of()
    state = game.reset(2)
    joint = legal(state, 0)
    joint[1, 1] = action
    with pytest.raises(InputError, match=rf"action {action} is not available to 'bob' in copy 1, who has \[1"):
        game.step(state, joint)
    assert [env.clock for env in made] == [0, 0]
    game.step(state, legal(state, 0))


class Odd(Relay):
    """A Relay with one fault, named by `fault`."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def action_space(self, agent):
        return spaces.Box(0, 1) if self.fault == "continuous" else super().action_space(agent)

    def observation_space(self, agent):
        sequence = spaces.Sequence(spaces.Discrete(2))
        return sequence if self.fault == "sequence" else super().observation_space(agent)

    def reset(self, seed=None, options=None):
        answer = super().reset(seed)
        if self.fault == "agents change" and len(self.log) > 1:
            self.possible_agents = ["ann", "eve"]
        if self.fault == "stranger":
            self.agents = ["ann", "bob", "eve"]
        if self.fault == "nobody":
            self.agents = []
        return answer

    def mask(self):
        return {"long mask": np.ones(4), "empty mask": np.zeros(3)}.get(self.fault, super().mask())

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = super().step(actions)
        if self.fault == "left without a word":
            self.agents = ["ann"]
        if self.fault == "stays":
            truncations["ann"] = True
        if self.fault == "no reward":
            del rewards["bob"]
        if self.fault == "no observation":
            del observations["bob"]
        if self.fault == "wrong size":
            observations["ann"] = np.zeros(3, np.float32)
        return observations, rewards, terminations, truncations, infos


def one_step_of(fault):
    game, _ = game_of(Odd, fault=fault)
    state = game.reset(1)
    game.step(state, legal(state, 0))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("continuous", "only Discrete action spaces"),
        ("sequence", "no fixed number of entries"),
        ("agents change", r"reset\(\) changed possible_agents"),
        ("stranger", "'eve' takes part and is not in possible_agents"),
        ("nobody", "no agent takes part after reset"),
        ("long mask", r"'bob' has shape \[4\]: it must have \[3\]"),
        ("empty mask", "leaves no action"),
        ("left without a word", "'bob' left env.agents, neither terminated nor truncated"),
        ("stays", "'ann' is terminated or truncated and stays"),
        ("no reward", "'bob' takes part and was given no reward"),
        ("no observation", "'bob' takes part and was given no observation"),
        ("wrong size", "'ann' has 3 entries and its space 2"),
    ],
)
def test_environments_that_break_the_rules_are_refused(fault, message):
    with pytest.raises(InputError, match=message):
        one_step_of(fault)


def test_an_empty_mask_at_the_end_stands_for_all_actions():
    class Empty(Relay):
        def mask(self):
            return super().mask() if self.agents and self.clock < 4 else np.zeros(3)

    game, _ = game_of(Empty)
    state = game.reset(1)
    for t in range(4):
        state, *_ = game.step(state, legal(state, t))
    assert state.available[0].tolist() == [[True, False, False], [True, True, True]]


def test_factories_that_make_no_fresh_parallel_environment_are_refused():
    mpe2 = pytest.importorskip("mpe2.simple_spread_v3")
    env = Relay()
    with pytest.raises(InputError, match="the same environment again"):
        BatchedParallelEnv(lambda: env, common_reward=False).reset(2)
    without_type_check = inspect.unwrap(BatchedParallelEnv.__init__)
    with pytest.raises(InputError, match="no function that makes an environment"):
        without_type_check(object.__new__(BatchedParallelEnv), env, common_reward=False)
    with pytest.raises(InputError, match="AEC environment"):
        BatchedParallelEnv(mpe2.env, common_reward=True)
    with pytest.raises(InputError, match="no ParallelEnv but a object, without possible_agents"):
        BatchedParallelEnv(object, common_reward=True)
    kinds = iter([mpe2.parallel_env(N=2), mpe2.parallel_env(N=3)])
    with pytest.raises(InputError, match="agents or spaces differ"):
        BatchedParallelEnv(lambda: next(kinds), common_reward=False).reset(2)
    none = Relay()
    none.possible_agents = []
    with pytest.raises(InputError, match="no possible_agents"):
        BatchedParallelEnv(lambda: none, common_reward=False)


@pytest.mark.parametrize("K", [0, -2, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive integer"):
        game_of()[0].reset(K)


def test_the_judge_of_a_game_that_is_no_function_of_its_state():
    claims = ["game.seed", "game.spaces", "game.terminal", "game.pure"]
    report = check(lambda: game_of(last=(True, False))[0], role="game", examples=100, claims=claims)
    outcomes = {verdict.claim_id: verdict.outcome for verdict in report.verdicts}
    assert outcomes == {**dict.fromkeys(claims, "holds"), "game.pure": "error"}


@pytest.mark.parametrize("name", ["two-step", "uneven", "repeated"])
def test_there_and_back_is_the_game_itself(name):
    game = OURS[name]()
    twice = BatchedParallelEnv(lambda: GameAsParallelEnv(game), common_reward=game.common_reward)
    for attribute in ("name", "n_agents", "n_actions", "action_counts", "observation_size", "state_size"):
        assert getattr(twice, attribute) == getattr(game, attribute)
    here, there = game.reset(4), twice.reset(4)
    for t in range(6):
        for view in ("observe", "centralized", "available"):
            assert torch.equal(getattr(game, view)(here), getattr(twice, view)(there))
        joint = legal(there, t)
        (here, *answer), (there, *again) = game.step(here, joint), twice.step(there, joint)
        for one, other in zip(answer, again, strict=True):
            assert torch.equal(one, other)
        if there.terminated.any():
            break


# --- learners on it ---------------------------------------------------------------------------------------------------

SMALL = {"seeds": 2, "copies": 2, "hidden": (8,)}


def particles(module, common_reward, made=None, **settings):
    parallel_env = pytest.importorskip(f"mpe2.{module}").parallel_env

    def factory():
        env = parallel_env(N=2, max_cycles=3, **settings)
        if made is not None:
            made.append(env)
        return env

    return BatchedParallelEnv(factory, common_reward=common_reward)


def spread(made=None):
    return particles("simple_spread_v3", True, made, local_ratio=0)


def adversary(common_reward):
    """Two agents against one, whose observations are shorter."""
    return particles("simple_adversary_v3", common_reward)


def finite(learner):
    return all(bool(parameter.isfinite().all()) for parameter in learner.parameters())


def test_vdn_learns_from_what_the_particle_environments_did(monkeypatch):
    """Stored transitions against the environments' own answers, over the ends of two episodes."""
    made, answers, resets = [], [], []
    game = spread(made)
    learner = VDN(game, Config(**SMALL, batch_size=8, capacity=64))
    for k, env in enumerate(made):
        step, reset = env.step, env.reset
        monkeypatch.setattr(
            env, "step", lambda own, step=step, k=k: answers.append((k, own, step(own))) or answers[-1][2]
        )
        monkeypatch.setattr(env, "reset", lambda seed, reset=reset, k=k: resets.append(k) or reset(seed=seed))
    before = [parameter.clone() for parameter in learner.parameters()]
    for _ in range(7):
        learner.step()
    assert len(made) == 4
    assert sorted(resets) == [0, 0, 1, 1, 2, 2, 3, 3], "each environment at its own two ends, and never else"
    assert len(answers) == 28
    for number, (k, own, (observations, rewards, _, truncations, _)) in enumerate(answers):
        t, row = number // 4, (k // 2) * 64 + (number // 4) * 2 + k % 2
        assert k == number % 4
        assert learner.replay.action[row].tolist() == [int(action) for action in own.values()]
        assert learner.replay.reward[row] == pytest.approx(rewards["agent_0"], rel=1e-6)
        assert not learner.replay.terminated[row], "truncation is no termination"
        assert all(truncations.values()) == (t % 3 == 2)
        expected = np.stack(list(observations.values()))
        np.testing.assert_array_equal(learner.replay.next_history[row].numpy(), expected)
        if t % 3 != 2 and t < 6:
            np.testing.assert_array_equal(learner.replay.history[row + 2].numpy(), expected)
    assert finite(learner)
    assert any(not torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))


def test_ia2c_learns_on_a_general_sum_environment():
    game = adversary(common_reward=False)
    assert (game.observation_size, game.state_size) == (10, 28)
    learner = IA2C(game, ActorCriticConfig(**SMALL))
    batches, learn = [], learner.learn
    learner.learn = lambda batch: batches.append(batch) or learn(batch)
    for _ in range(7):
        learner.step()
    rewards = torch.stack([batch.rewards for batch in batches])
    assert rewards.shape == (7, 2, 2, 3)
    assert (rewards[..., 0] != rewards[..., 1]).all()
    assert finite(learner)


def test_algorithms_for_common_rewards_refuse_what_was_declared_general_sum_and_what_is():
    with pytest.raises(InputError, match="VDN needs a common-reward game"):
        VDN(adversary(common_reward=False), Config(**SMALL))
    learner = VDN(adversary(common_reward=True), Config(**SMALL))
    with pytest.raises(InputError, match="rewards differ"):
        learner.step()


def trained(seed):
    torch.manual_seed(seed)
    learner = VDN(spread(), Config(**SMALL, batch_size=4, capacity=64))
    for _ in range(5):
        learner.step()
    return learner


def test_the_seed_decides_the_environments_too():
    first, second, third = (trained(seed).replay.history for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_saved_learner_goes_on_with_new_episodes():
    learner = trained(1)
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    other = VDN(spread(), Config(**SMALL, batch_size=4, capacity=64))
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    with pytest.raises(InputError, match=r"learner\.game_state = learner\.game\.reset"):
        other.step()
    other.game_state = other.game.reset(4)
    other.step()
    assert other.t == 6


# --- packages and the page --------------------------------------------------------------------------------------------


def test_the_packages_are_imported_only_where_they_are_used():
    code = """
import sys
import marlspec.cli, marlspec.games.batched, marlspec.properties.dynamics, marlspec.reference.decomposition.vdn
assert not {"gymnasium", "pettingzoo"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", ["gymnasium", "pettingzoo"])
def test_without_a_package_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "marlspec.games.pettingzoo")
    with pytest.raises(InputError, match=rf"package {package}: pip install 'marlspec\[envs\]'"):
        importlib.import_module("marlspec.games.pettingzoo")


def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_pages_code_runs(capsys):
    pytest.importorskip("mpe2")
    assert len(blocks()) == 3
    names = {}
    for block in blocks():
        exec(compile(block, "docs/games.md", "exec"), names)
    assert finite(names["learner"])
    assert names["returns"].shape == (8,)
    assert (names["returns"] < 0).all()
    names["learner"].step()  # the training has not been disturbed
    assert names["learner"].t == 31
