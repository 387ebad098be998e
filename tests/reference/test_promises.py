"""What every deep learner promises, whichever it is: the same bits, no waiting, shared networks, clear refusals."""

import json
import math

import numpy as np
import pytest
import torch

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.commands import learner_class
from marlspec.reference.listing import algorithm_files
from marlspec.reference.parts import checkpoints
from marlspec.reference.parts.config import Config
from marlspec.reference.parts.networks import AgentNetworks
from marlspec.reference.parts.training import Run, RunOptions, created, train

pytestmark = pytest.mark.thorough

DEEP = [name for name, path in algorithm_files().items() if path.parent.name != "tabular"]
COMMON_REWARD_ONLY = ["coma", "qmix", "qmix_episodes", "vdn"]
SETTINGS = {"seeds": 2, "copies": 3, "hidden": (4, 3)}
SMALLER = {"batch_size": 4, "capacity": 16, "horizon": 6, "n_steps": 3, "embed": 2}

every = pytest.mark.parametrize("name", DEEP)


def config_of(name, **changes):
    kind = learner_class(name).config_type
    known = vars(kind())
    return kind(**SETTINGS, **{own: value for own, value in SMALLER.items() if own in known}, **changes)


def make(name, game, **changes):
    return learner_class(name)(game, config_of(name, **changes))


def time_steps(learner):
    """How many time steps a step of the learner makes."""
    return getattr(learner.config, "horizon", getattr(learner.config, "n_steps", 1))


# --- the same bits ----------------------------------------------------------------------------------------------------


@every
def test_saved_and_resumed_equals_uninterrupted_with_shared_networks_too(name, corridor, promises):
    steps = time_steps(make(name, corridor))
    promises.resumes(lambda: make(name, corridor, share=True), 3, 2, time_steps=steps)


@every
def test_the_seed_alone_decides(name, corridor, promises):
    def trained(seed):
        torch.rand(seed)
        return train(learner_class(name), corridor, config_of(name, seed=seed, steps=2)).learner.state_dict()

    assert promises.same(trained(1), trained(1))
    assert not promises.same(trained(1), trained(2))


@every
def test_a_step_never_waits_for_the_device_with_shared_networks_either(name, promises):
    promises.never_waits(make(name, BatchedStagedGame(get("two-step")), share=True), 3)


# --- sharing ----------------------------------------------------------------------------------------------------------


def networks_of(learner):
    """The networks of agents by their names in the learner; a critic that serves all agents anyway is none of them."""
    return {
        name: own
        for name, own in learner.named_children()
        if isinstance(own, AgentNetworks) and own.n_agents == learner.game.n_agents
    }


@every
def test_sharing_makes_one_network_of_the_agents_and_changes_nothing_else(name, corridor):
    apart, together = make(name, corridor), make(name, corridor, share=True)
    n, (width, *_) = corridor.n_agents, SETTINGS["hidden"]
    assert networks_of(apart).keys() == networks_of(together).keys() != set()
    for own, network in networks_of(together).items():
        separate = networks_of(apart)[own]
        per_agent = sum(math.prod(p.shape[2:]) for p in separate.parameters())
        assert sum(p.numel() for p in network.parameters()) == 2 * (per_agent + n * width), "an input for each agent"
        assert sum(p.numel() for p in separate.parameters()) == 2 * n * per_agent
    others = [
        {own: p.shape for own, p in learner.named_parameters() if own.split(".")[0] not in networks_of(learner)}
        for learner in (apart, together)
    ]
    assert others[0] == others[1]


@every
def test_a_shared_network_is_trained(name, corridor):
    learner = make(name, corridor, share=True)
    before = {own: value.clone() for own, value in learner.named_parameters()}
    for _ in range(3):
        learner.step()
    learned = {own for own, value in learner.named_parameters() if value.requires_grad}
    assert {own for own, value in learner.named_parameters() if not torch.equal(value, before[own])} >= learned


def test_agents_that_share_and_see_the_same_learn_to_act_differently():
    """Agent 1's second action is worth 2, agent 2's first 1: five seeds, each agent's utilities up to a constant."""
    table = NormalFormGame.common_reward([[1, 0], [3, 2]])
    kind = learner_class("vdn")
    settings = {"seeds": 5, "copies": 8, "batch_size": 64, "hidden": (16,), "learning_rate": 0.02}
    learner = kind(BatchedStagedGame(table), kind.config_type(share=True, **settings))
    for _ in range(150):
        learner.step()
    q = learner.output(learner.game.reset(5)).squeeze(1).detach()
    wanted = torch.tensor([2.0, -1.0]).expand(5, 2)
    torch.testing.assert_close(q[..., 1] - q[..., 0], wanted, atol=0.05, rtol=0)


# --- refusals, with nothing overwritten -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def options_of(name, **changes):
    """The settings as options of the command line."""
    known = vars(learner_class(name).config_type())
    settings = {"steps": 2, "seeds": 1, "copies": 2, "hidden": 4, **SMALLER, **changes}
    return [
        word for own, value in settings.items() if own in known for word in (f"--{own}".replace("_", "-"), str(value))
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def ends(arguments):
    """The exit code of a command line, however it ends."""
    try:
        return run(arguments)
    except SystemExit as exit_:
        return exit_.code


@pytest.mark.parametrize("name", COMMON_REWARD_ONLY)
def test_a_game_without_a_common_reward_is_refused(name, tmp_path, capsys):
    assert run(["train", name, "stag-hunt", "--folder", "run", *options_of(name)]) == 2
    assert "needs a common-reward game" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in DEEP if name not in COMMON_REWARD_ONLY])
def test_all_others_take_one(name, rivals):
    make(name, rivals).step()


@every
def test_a_setting_that_an_algorithm_does_not_have_is_refused(name, tmp_path, capsys):
    for unknown in (["--temperature", "3"], ["--batch-sise", "3"]):
        assert ends(["train", name, "climbing", "--folder", "run", *options_of(name), *unknown]) == 2
        assert unknown[0] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="temperature"):
        config_of(name, temperature=3)


@pytest.mark.parametrize("name", [name for name in DEEP if issubclass(learner_class(name).config_type, Config)])
def test_a_batch_larger_than_the_buffer_is_refused(name, tmp_path, capsys):
    assert ends(["train", name, "climbing", "--folder", "run", *options_of(name, batch_size=17)]) == 2
    assert "capacity is 16: it must be at least batch_size = 17" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


@every
def test_a_foreign_and_a_corrupt_checkpoint_are_refused_and_left_as_they_are(name, tmp_path, capsys):
    assert run(["train", name, "climbing", "--folder", "run", *options_of(name)]) == 0
    folder, resume = tmp_path / "run", ["--folder", "run", "--resume"]
    (tensors,) = folder.glob("*.safetensors")
    before, other = contents(folder), "ia2c" if name != "ia2c" else "ca2c"
    refusals = {
        ("train", name, "climbing", *resume, "--share"): "share is False there and True here",
        ("train", other, "climbing", *resume): f"algorithm is '{name}' there and '{other}' here",
        ("train", name, "linear", *resume): "game is 'climbing' there and 'linear' here",
    }
    capsys.readouterr()
    for arguments, message in refusals.items():
        assert run(list(arguments)) == 2
        assert message in capsys.readouterr().err
    assert contents(folder) == before
    damaged = bytearray(before[tensors.name])
    damaged[-1] ^= 1
    tensors.write_bytes(damaged)
    before = contents(folder)
    assert run(["train", name, "climbing", *resume]) == 2
    assert "is not what was written" in capsys.readouterr().err
    assert contents(folder) == before


@every
def test_the_parameters_of_shared_networks_fit_no_separate_ones(name, corridor, tmp_path):
    """Also where somebody has changed what the checkpoint says of itself."""
    learner = created(learner_class(name), corridor, config_of(name, steps=1))
    Run.begin(learner, {"algorithm": name}, RunOptions(folder=tmp_path, episodes=1)).go_on()
    before = contents(tmp_path)
    other = created(learner_class(name), corridor, config_of(name, steps=1, share=True))
    options = RunOptions(folder=tmp_path, resume=True)
    with pytest.raises(InputError, match="does not fit the learner"):
        Run.resume(other, {"algorithm": name}, options, checkpoints.load(tmp_path))
    assert contents(tmp_path) == before


@every
def test_a_parallel_env_whose_agents_change_stops_the_run_and_the_checkpoint_stays(name, tmp_path):
    pytest.importorskip("gymnasium")
    from gymnasium import spaces
    from pettingzoo import ParallelEnv

    from marlspec.games.pettingzoo import BatchedParallelEnv

    class Fickle(ParallelEnv):
        """Two agents for two steps; from the fifth episode on the second is another one."""

        def __init__(self):
            self.metadata, self.possible_agents, self.episodes = {"name": "fickle"}, ["ann", "bob"], 0

        def observation_space(self, agent):
            return spaces.Box(0, 1, (2,))

        def action_space(self, agent):
            return spaces.Discrete(2)

        def each(self, value):
            return dict.fromkeys(self.possible_agents, value)

        def reset(self, seed=None, options=None):
            self.episodes += 1
            if self.episodes > 4:
                self.possible_agents = ["ann", "eve"]
            self.agents, self.clock = list(self.possible_agents), 0
            return self.each(np.zeros(2, np.float32)), self.each({})

        def step(self, actions):
            self.clock += 1
            ended = self.clock == 2
            if ended:
                self.agents = []
            return self.each(np.ones(2, np.float32)), self.each(1.0), self.each(ended), self.each(False), self.each({})

    learner = created(learner_class(name), BatchedParallelEnv(Fickle, common_reward=True), config_of(name, steps=50))
    run_ = Run.begin(learner, {"algorithm": name}, RunOptions(folder=tmp_path, evaluate_every=0, episodes=1))
    with pytest.raises(InputError, match=r"reset\(\) changed possible_agents"):
        run_.go_on()
    assert checkpoints.load(tmp_path).steps == 0
    assert json.loads((tmp_path / checkpoints.NAME).read_text())["content"]["run"] == {"algorithm": name}
