"""What pseudocode takes for granted: networks, replay, exploration, schedules, settings, enumeration."""

import math
from collections import Counter, deque
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.decomposition.qmix import QMIX
from marlspec.reference.decomposition.vdn import VDN
from marlspec.reference.parts.config import Config, QMIXConfig
from marlspec.reference.parts.enumeration import enumerated_batch, joint_batch, joint_table, utility_table
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.networks import EnsembleLinear, UtilityNetworks, frozen_copy, synchronise
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.schedules import constant, linear
from marlspec.reference.parts.training import run, train
from marlspec.reference.parts.utilities import available_only, chosen


@pytest.fixture(autouse=True)
def _same_numbers():
    state = torch.get_rng_state()
    torch.manual_seed(3)
    yield
    torch.set_rng_state(state)


# Networks


@pytest.mark.parametrize("ensemble", [(), (3,), (2, 3)])
def test_ensemble_members_are_linear_layers_of_their_own(ensemble):
    layer = EnsembleLinear(ensemble, 4, 5)
    members = math.prod(ensemble)
    x = torch.randn(*([members] if ensemble else []), 7, 4)
    y = layer(x)
    weight, bias = layer.weight.reshape(members, 4, 5), layer.bias.reshape(members, 1, 5)
    for k in range(members):
        expected = torch.nn.functional.linear(x.view(members, 7, 4)[k], weight[k].T, bias[k, 0])
        torch.testing.assert_close(y.view(members, 7, 5)[k], expected)


def test_layers_start_as_pytorchs_linear_layers():
    torch.manual_seed(0)
    layer = EnsembleLinear((50,), 16, 40)
    reference = torch.nn.Linear(16, 2000)
    for own, theirs in ((layer.weight, reference.weight), (layer.bias, reference.bias)):
        assert own.abs().max().item() <= 0.25
        assert own.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.02)
        assert own.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.05)
        assert abs(own.mean().item()) < 0.02


def test_utility_networks_are_separate_perceptrons():
    networks = UtilityNetworks(n_agents=3, n_in=4, n_out=2, hidden=(5, 6), seeds=(2,))
    histories = torch.randn(2, 7, 3, 4)
    out = networks(histories)
    for s in range(2):
        for i in range(3):
            x = histories[s, :, i]
            for k, layer in enumerate(networks.layers):
                x = (torch.relu(x) if k else x) @ layer.weight[s, i] + layer.bias[s, i]
            torch.testing.assert_close(out[s, :, i], x)


def test_utility_networks_without_seeds_or_hidden_layers():
    assert UtilityNetworks(3, 4, 2)(torch.randn(7, 3, 4)).shape == (7, 3, 2)
    assert len(UtilityNetworks(3, 4, 2, hidden=()).layers) == 1


def test_frozen_copy_and_synchronise():
    online = UtilityNetworks(2, 3, 2, (4,))
    target = frozen_copy(online)
    assert all(not p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.add_(1)
    pairs = list(zip(online.parameters(), target.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in pairs)
    synchronise(target, online)
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)


# Picking from utilities, exploration, schedules


def test_chosen_and_available_only():
    utilities = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert chosen(utilities, torch.tensor([[1, 0]])).tolist() == [[2.0, 3.0]]
    available = torch.tensor([[[True, False], [True, True]]])
    assert available_only(utilities, available).tolist() == [[[1.0, -math.inf], [3.0, 4.0]]]


def frequencies(epsilon, utilities, available, draws=40_000):
    q = torch.tensor(utilities).expand(draws, -1, -1)
    actions = epsilon_greedy(q, torch.tensor(available).expand(draws, -1, -1), epsilon)
    return Counter(map(tuple, actions.tolist())), draws


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 1.0])
def test_exploration_probabilities_and_one_coin_per_agent(epsilon):
    """The joint probabilities are products of epsilon / m, plus 1 - epsilon for the greedy action: six sigma."""
    utilities = [[5.0, 7.0, 9.0], [2.0, 1.0, 0.0]]
    available = [[True, True, False], [True, True, True]]
    counts, draws = frequencies(epsilon, utilities, available)
    greedy, free = (1, 0), ((0, 1), (0, 1, 2))
    for a in range(3):
        for b in range(3):
            p = 1.0
            for i, action in enumerate((a, b)):
                p *= (epsilon / len(free[i]) + (1 - epsilon) * (action == greedy[i])) if action in free[i] else 0.0
            assert counts[a, b] / draws == pytest.approx(p, abs=6 * math.sqrt(p * (1 - p) / draws))


def test_the_first_of_several_greedy_actions_is_taken_and_an_agent_without_any_gets_action_0():
    q = torch.tensor([[1.0, 3.0, 3.0], [4.0, 5.0, 6.0]])
    available = torch.tensor([[True, True, True], [False, False, False]])
    assert epsilon_greedy(q, available, 0.0).tolist() == [1, 0]


def test_schedules():
    assert [constant(0.3)(t) for t in (0, 10)] == [0.3, 0.3]
    fall = linear(1.0, 0.2, 4)
    assert [fall(t) for t in range(7)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    assert [linear(1.0, 0.5, 0)(t) for t in (0, 1)] == [0.5, 0.5]


# Replay


class Tagged(NamedTuple):
    tag: Tensor
    pair: Tensor
    flag: Tensor


EXAMPLE = Tagged(torch.empty((), dtype=torch.int64), torch.empty(2), torch.empty((), dtype=torch.bool))


def tagged(tags):
    return Tagged(tags, torch.stack([tags + 0.5, -tags.float()], -1), tags % 3 == 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 3), st.lists(st.integers(1, 7), max_size=12))
def test_replay_holds_the_latest_transitions_of_each_seed(capacity, seeds, writes):
    """Against a deque of unique tags: wrap-around, any K up to the capacity, alignment of the fields, aliasing."""
    buffer = ReplayBuffer(capacity, EXAMPLE, seeds)
    model = [deque(maxlen=capacity) for _ in range(seeds)]
    tag = 0
    for K in writes:
        K = min(K, capacity)
        tags = torch.arange(tag, tag + seeds * K).view(seeds, K)
        tag += seeds * K
        given_over = tagged(tags)
        buffer.store(given_over)
        for s in range(seeds):
            model[s].extend(tags[s].tolist())
        for value in given_over:
            value.zero_()  # the buffer must not keep views of what it was given
        batch = buffer.sample(40)
        assert batch.tag.shape == (seeds, 40)
        assert batch.pair.shape == (seeds, 40, 2)
        for s in range(seeds):
            assert set(batch.tag[s].tolist()) <= set(model[s])
        for have, want in zip(batch, tagged(batch.tag), strict=True):
            assert torch.equal(have, want)
        batch.tag.fill_(-1)  # nor hand out views
        assert min(buffer.sample(40).tag.flatten().tolist()) >= 0
        assert buffer.size == len(model[0])


def test_replay_samples_everything_alike_and_with_replacement():
    buffer = ReplayBuffer(5, EXAMPLE, 2)
    buffer.store(tagged(torch.arange(8).view(2, 4)))
    batch = buffer.sample(8000)
    for s in range(2):
        counts = Counter(batch.tag[s].tolist())
        assert set(counts) == set(range(4 * s, 4 * s + 4))
        assert all(abs(count - 2000) < 6 * math.sqrt(8000 * 0.25 * 0.75) for count in counts.values())


def test_replay_refusals():
    with pytest.raises(InputError, match="at least one"):
        ReplayBuffer(0, EXAMPLE)
    buffer = ReplayBuffer(3, EXAMPLE)
    with pytest.raises(InputError, match="empty"):
        buffer.sample(1)
    with pytest.raises(InputError, match="4 transitions at once do not fit"):
        buffer.store(tagged(torch.arange(4).view(1, 4)))


# Settings


def test_defaults_are_the_books_for_matrix_games():
    config = Config()
    assert (config.learning_rate, config.batch_size, config.hidden) == (3e-4, 128, (64, 64))
    assert (config.target_interval, config.steps, config.epsilon_end, config.epsilon_start) == (200, 20_000, 1.0, 1.0)
    assert QMIXConfig().embed == 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 0},
        {"copies": 0},
        {"batch_size": 0},
        {"target_interval": 0},
        {"steps": -1},
        {"epsilon_steps": -1},
        {"gamma": 1.5},
        {"gamma": math.nan},
        {"epsilon_start": -0.1},
        {"epsilon_end": 2.0},
        {"learning_rate": 0.0},
        {"learning_rate": math.inf},
        {"hidden": (64, 0)},
        {"capacity": 3, "copies": 4, "batch_size": 2},
        {"capacity": 3, "copies": 2, "batch_size": 4},
        {"embed": 0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} is "):
        QMIXConfig(**wrong)


def test_every_setting_names_its_source():
    """A docstring below each field, which the command line's help shows, ends in the source in brackets."""
    import ast
    import inspect

    from marlspec.reference.parts import config

    for cls in ast.parse(inspect.getsource(config)).body:
        if not isinstance(cls, ast.ClassDef):
            continue
        for field, text in zip(cls.body, cls.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(text, ast.Expr), field.target.id
                assert "(" in text.value.value, field.target.id


# Enumeration


@pytest.mark.parametrize("algorithm", [VDN, QMIX])
def test_enumerated_batch_holds_every_joint_action_once(algorithm):
    learner = algorithm(BatchedStagedGame(get("climbing")), algorithm.config_type(seeds=2, hidden=(4,)))
    batch = enumerated_batch(learner)
    joint = [(a, b) for a in range(3) for b in range(3)]
    payoffs = [11.0, -30, 0, -30, 7, 0, 0, 6, 5]
    for s in range(2):
        assert list(map(tuple, batch.action[s].tolist())) == joint
        assert batch.reward[s].tolist() == payoffs
    assert bool(batch.terminated.all())
    learner.learn(batch)
    assert learner.updates == 1


def test_enumeration_skips_the_padding_of_agents_with_fewer_actions():
    game = NormalFormGame.common_reward([[1, 2, 3], [4, 5, 6]])
    learner = VDN(BatchedStagedGame(game), Config(hidden=(4,)))
    assert enumerated_batch(learner).reward.tolist() == [[1.0, 2, 3, 4, 5, 6]]
    assert joint_table(learner).shape == (1, 2, 3)
    assert utility_table(learner)[0, 0, 2] == -math.inf


def test_a_staged_game_is_not_enumerated():
    learner = VDN(BatchedStagedGame(get("two-step")), Config(hidden=(4,)))
    with pytest.raises(InputError, match="goes on after its first stage"):
        enumerated_batch(learner)


def test_joint_table_and_utilities_of_vdn_agree_in_every_stage():
    game = BatchedStagedGame(get("two-step"))
    learner = VDN(game, Config(hidden=(4,), seeds=3))
    before = torch.get_rng_state()
    tables = []
    for stage in range(3):
        state = game.reset(1)._replace(stage=torch.tensor([stage]))
        q = utility_table(learner, state)
        table = joint_table(learner, state)
        assert not table.requires_grad
        torch.testing.assert_close(table, q[:, 0, :, None] + q[:, 1, None, :])
        tables.append(table)
    assert not torch.equal(tables[1], tables[2])
    torch.testing.assert_close(joint_table(learner), tables[0])
    assert torch.equal(before, torch.get_rng_state())


def test_joint_batch_of_a_later_stage_pays_that_stages_rewards():
    game = BatchedStagedGame(get("two-step"))
    learner = QMIX(game, QMIXConfig(hidden=(4,)))
    batch = joint_batch(learner, game.reset(1)._replace(stage=torch.tensor([2])))
    assert batch.reward.tolist() == [[0.0, 1, 1, 8]]
    assert batch.z.tolist() == [[[0.0, 0, 1]] * 4]


# The training loop


def test_training_makes_the_configured_steps_and_measures_them():
    result = train(VDN, BatchedStagedGame(get("linear")), Config(steps=7, hidden=(4,)))
    assert (result.learner.t, result.learner.updates) == (7, 7)
    assert result.seconds > 0
    run(result.learner, 3)
    assert result.learner.t == 10
    with pytest.raises(InputError, match="must not be negative"):
        run(result.learner, -1)


def test_progress_changes_nothing():
    game = BatchedStagedGame(get("linear"))
    config = Config(steps=120, hidden=(4,), batch_size=4)
    shown, silent = (train(VDN, game, config, progress=progress).learner for progress in (True, False))
    for a, b in zip(shown.parameters(), silent.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_interrupted_loop_parks_the_random_state(monkeypatch):
    learner = train(VDN, BatchedStagedGame(get("linear")), Config(steps=2, hidden=(4,))).learner
    before, parked = torch.get_rng_state(), learner.parked

    def interrupt():
        torch.rand(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(learner, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(learner, 1)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(parked, learner.parked)
