"""What both learners promise beyond their listings: saving, seeds, copies, devices, no waiting for the device."""

import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.decomposition.qmix import QMIX
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.parts.training import run, train

SETTINGS = {"seeds": 2, "copies": 3, "batch_size": 8, "capacity": 40, "hidden": (8,), "target_interval": 4}


@pytest.fixture(params=[VDN, QMIX])
def algorithm(request):
    return request.param


def make(algorithm, game, **changes):
    return algorithm(game, algorithm.config_type(**{**SETTINGS, **changes}))


def test_same_tells_differences(promises):
    state = {"a": torch.zeros(2), "b": ({"c": 1},)}
    assert promises.same(state, {"a": torch.zeros(2), "b": ({"c": 1},)})
    assert not promises.same(state, {"a": torch.ones(2), "b": ({"c": 1},)})
    assert not promises.same(state, {"a": torch.zeros(2), "b": ({"c": 2},)})


@pytest.mark.parametrize("through_a_file", [True, False])
def test_resuming_gives_the_same_bits_as_not_stopping(algorithm, corridor, promises, through_a_file):
    def exploring():
        return make(algorithm, corridor, epsilon_start=1.0, epsilon_end=0.1, epsilon_steps=20)

    promises.resumes(exploring, 18, 9, through_a_file)  # past the replay buffer's wrap, between two target updates


def test_training_further_gives_the_same_bits_as_training_at_once(algorithm, corridor, promises):
    config = algorithm.config_type(**SETTINGS, seed=3, steps=14)
    whole = train(algorithm, corridor, config).learner
    part = train(algorithm, corridor, algorithm.config_type(**SETTINGS, seed=3, steps=5)).learner
    torch.rand(3)
    run(part, 4)
    fresh = train(algorithm, corridor, algorithm.config_type(**SETTINGS, seed=8, steps=1)).learner
    fresh.load_state_dict(part.state_dict())
    run(fresh, 5)
    assert promises.same(whole.state_dict(), fresh.state_dict())


def test_training_leaves_the_callers_random_numbers_alone(algorithm, corridor):
    before = torch.get_rng_state()
    train(algorithm, corridor, algorithm.config_type(**SETTINGS, steps=3))
    assert torch.equal(before, torch.get_rng_state())


def test_the_seed_alone_decides(algorithm, corridor, promises):
    def trained(seed):
        torch.rand(seed)
        return train(algorithm, corridor, algorithm.config_type(**SETTINGS, seed=seed, steps=6)).learner.state_dict()

    assert promises.same(trained(1), trained(1))
    assert not promises.same(trained(1)["theta.layers.0.weight"], trained(2)["theta.layers.0.weight"])


def test_a_state_from_another_kind_of_device_is_refused(algorithm, corridor):
    learner = make(algorithm, corridor)
    saved = learner.state_dict()
    saved["_extra_state"]["random_state"] = torch.zeros(16, dtype=torch.uint8)
    with pytest.raises(InputError, match="another kind of device"):
        learner.load_state_dict(saved)


def test_an_unknown_device_is_refused(algorithm, corridor):
    for device in ("gpu", "cuda:77"):
        with pytest.raises(InputError, match="no device"):
            make(algorithm, corridor, device=device)


def test_a_game_on_another_device_is_refused(algorithm):
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(algorithm, BatchedStagedGame(get("climbing"), "meta"))


@pytest.mark.parametrize(("seeds", "copies"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_seeds_and_copies_are_only_axes(algorithm, seeds, copies):
    game = BatchedStagedGame(get("two-step"))
    learner = make(algorithm, game, seeds=seeds, copies=copies)
    single = make(algorithm, game, seeds=1, copies=1)
    for _ in range(5):
        learner.step()
    for own, parameter in zip(single.parameters(), learner.parameters(), strict=True):
        assert parameter.shape == (seeds, *own.shape[1:])
    assert learner.game_state.stage.shape == (seeds * copies,)
    assert learner.replay.size == 5 * copies
    assert learner.learn(learner.replay.sample(7)).shape == (seeds,)


def test_seeds_draw_different_mini_batches_from_their_own_data(algorithm):
    learner = make(algorithm, BatchedStagedGame(get("climbing")), seeds=2, copies=1, batch_size=64, capacity=64)
    for _ in range(20):
        learner.step()
    batch = learner.replay.sample(64)
    assert not torch.equal(batch.action[0], batch.action[1])


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: x.to("meta"),
        lambda x: x.masked_select(x > 0),
    ],
)
def test_the_counter_of_waits_sees(wait, promises):
    with promises.Waits() as waits:
        wait(torch.ones(3))
    assert waits.found


def test_a_step_never_waits_for_the_device(algorithm, promises):
    learner = make(algorithm, BatchedStagedGame(get("two-step")), epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=4)
    promises.never_waits(learner, 8)  # two target updates among them


def test_games_of_the_catalogue_with_different_rewards_are_refused(algorithm):
    for name in ("stag-hunt", "matching-pennies"):
        with pytest.raises(InputError, match="common-reward"):
            make(algorithm, BatchedStagedGame(get(name)))
