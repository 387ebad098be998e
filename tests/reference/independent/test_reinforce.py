"""REINFORCE line by line; the learner's update against loops over seeds, agents, episodes and time steps in float64."""

import math

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.independent import reinforce
from marlspec.reference.parts.config import ReinforceConfig

S, K, T, n, h, A = 3, 4, 7, 2, 4, 3
SETTINGS = {"seeds": S, "copies": K, "horizon": T, "hidden": (3,), "learning_rate": 0.01, "gamma": 0.75}


def make(game, **changes):
    return reinforce.REINFORCE(game, ReinforceConfig(**{**SETTINGS, **changes}))


def randomised(learner, scale=1.0):
    """Give every network parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return learner


def random_batch(lengths):
    """Episodes of these lengths [seeds][K], padded to six steps with numbers like any others."""
    lengths = torch.tensor(lengths)
    axes = (*lengths.shape, 6, n)
    available = torch.rand(*axes, A) < 0.6
    available[..., 1] = True
    return reinforce.Episodes(
        history=torch.randn(*axes, h, dtype=torch.float64),
        available=available,
        action=torch.where(available, torch.rand(*axes, A), -1.0).argmax(-1),
        rewards=torch.randn(*axes, dtype=torch.float64),
        running=torch.arange(6) < lengths.unsqueeze(-1),
    )


def losses_of_seeds(oracle, phi, batch, gamma):
    total = [0.0] * S
    episodes = batch.running.shape[1]
    for s, k, i in np.ndindex(S, episodes, n):
        length = int(batch.running[s, k].sum())
        for t in range(length):
            G = sum(gamma ** (tau - t) * batch.rewards[s, k, tau, i] for tau in range(t, length))
            log_pi = oracle.log_policy(phi, s, i, batch.history[s, k, t, i], batch.available[s, k, t, i])
            total[s] -= G * log_pi[batch.action[s, k, t, i]] / length / episodes
    return total


def test_updates_agree_with_loops_in_float64(rivals, oracle):
    learner = randomised(make(rivals)).double()
    phi = oracle.numbers(learner.phi)
    adam = oracle.Adam(phi, 0.01)
    for lengths in ([[1, 3], [6, 2], [2, 1]], [[2], [1], [4]]):
        batch = random_batch(lengths)
        data = oracle.in_numpy(batch)
        expected_losses = losses_of_seeds(oracle, phi, data, 0.75)
        expected = oracle.slopes(lambda data=data: sum(losses_of_seeds(oracle, phi, data, 0.75)), phi)
        losses = learner.learn(batch)
        np.testing.assert_allclose(losses.numpy(), expected_losses, rtol=1e-12)
        for parameter, gradient in zip(learner.phi.parameters(), expected, strict=True):
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-5, atol=1e-8)
        adam.step([parameter.grad.numpy() for parameter in learner.phi.parameters()])
        for parameter, number in zip(learner.phi.parameters(), phi, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), number, rtol=1e-9)
    assert learner.updates == 2


def test_returns_look_forward_to_the_episodes_end():
    rewards = torch.tensor([[[1.0, 8.0], [2.0, 0.0], [4.0, -4.0]]]).expand(2, -1, -1)
    running = torch.tensor([[True, True, True], [True, True, False]])
    G = reinforce.returns(rewards, running, 0.5)
    assert G.tolist() == [[[3, 7], [4, -2], [4, -4]], [[2, 8], [2, 0], [0, 0]]]


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_returns_without_and_with_full_weight_on_the_future(gamma):
    G = reinforce.returns(torch.tensor([[1.0], [2.0], [4.0]]), torch.ones(3, dtype=torch.bool), gamma)
    assert G.tolist() == ([[7], [6], [4]] if gamma else [[1], [2], [4]])


@pytest.mark.parametrize("nonsense", [math.nan, -math.inf, math.inf])
def test_nothing_after_an_episodes_end_counts(nonsense):
    running = torch.tensor([[True, False]])
    rewards = torch.tensor([[[3.0], [nonsense]]])
    G = reinforce.returns(rewards, running, 0.5)
    assert G[0, 0].tolist() == [3.0]
    assert reinforce.loss(G, torch.tensor([[[-2.0], [nonsense]]]), running).tolist() == [6.0]


def test_loss_is_a_mean_over_each_episodes_own_steps_and_over_episodes():
    G = torch.tensor([[[2.0, 1.0], [4.0, 3.0]], [[6.0, -1.0], [9.0, 9.0]]])
    log_pi = torch.tensor([[[-1.0, -2.0], [-3.0, -1.0]], [[-1.0, -2.0], [-9.0, -9.0]]])
    running = torch.tensor([[True, True], [True, False]])
    first, second = [(2 + 12) / 2, 6.0], [(2 + 3) / 2, -2.0]
    assert reinforce.loss(G, log_pi, running).tolist() == [sum(first) / 2, sum(second) / 2]


def test_initialisation(rivals):
    learner = make(rivals, hidden=(5, 6))
    sizes = [(h, 5), (1, 5), (5, 6), (1, 6), (6, A), (1, A)]
    assert [tuple(p.shape) for p in learner.phi.parameters()] == [(S, n, *size) for size in sizes]
    first = learner.phi.layers[0].weight
    assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    optimised = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in learner.phi.parameters()}


def test_networks_live_on_the_configured_device(rivals, monkeypatch):
    seen = []
    networks = reinforce.PolicyNetworks
    monkeypatch.setattr(
        reinforce, "PolicyNetworks", lambda *given, **named: seen.append(given) or networks(*given, **named)
    )
    learner = make(rivals)
    assert [given[-1] for given in seen] == [learner.device]


def test_a_game_on_another_device_is_refused():
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(BatchedStagedGame(get("prisoners-dilemma"), "meta"))


@pytest.mark.parametrize("horizon", [0, -3])
def test_a_horizon_out_of_range_is_refused(horizon):
    with pytest.raises(InputError, match=f"horizon is {horizon}: it must be a positive integer"):
        ReinforceConfig(horizon=horizon)


def played(learner, game, monkeypatch):
    """Play one step; return the batch that was learned from, and what the game's log says about it."""
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    game.log.clear()
    learner.step()
    assert len(batches) == 1
    return batches[0], [(state, actions, *type(game)().step(state, actions)) for state, actions in game.log]


@pytest.mark.parametrize("horizon", [T, 3])
def test_a_step_is_one_episode_of_every_copy_from_its_beginning(rivals, monkeypatch, horizon):
    learner = make(rivals, horizon=horizon)
    for _ in range(3):
        batch, log = played(learner, rivals, monkeypatch)
        assert len(log) == horizon
        running = torch.ones(S * K, dtype=torch.bool)
        ended = torch.zeros(2, dtype=torch.int64)
        for t, (state, actions, _, rewards, terminated, truncated) in enumerate(log):
            if t == 0:
                assert not state.clock.any()
            happened = {
                "history": rivals.observe(state),
                "available": rivals.available(state),
                "action": actions,
                "rewards": rewards,
                "running": running,
            }
            for name, field in happened.items():
                assert torch.equal(getattr(batch, name)[:, :, t], field.unflatten(0, (S, K))), (name, t)
            ended += torch.stack([(running & terminated).sum(), (running & truncated).sum()])
            running = running & ~terminated & ~truncated
        assert ended[0] > 0
        assert running.any() if horizon == 3 else ended[1] > 0 and ended.sum() == S * K
    assert learner.t == 3 * horizon


def test_actions_are_drawn_from_the_policies_at_hand(rivals, oracle, monkeypatch):
    """With logits far apart the most probable available action is as good as certain."""
    learner = randomised(make(rivals), scale=60.0)
    phi = oracle.numbers(learner.phi)
    decided = set()
    for state, actions, *_ in played(learner, rivals, monkeypatch)[1]:
        histories, available = rivals.observe(state), rivals.available(state)
        for (row, i), action in np.ndenumerate(actions.numpy()):
            log_pi = oracle.log_policy(phi, row // K, i, histories[row, i].double().numpy(), available[row, i])
            if sorted(log_pi)[-2] < -40:
                assert action == int(np.argmax(log_pi))
                decided.add((i, int(action)))
    assert all(len({action for j, action in decided if j == i}) > 1 for i in range(n))


def test_every_available_action_is_drawn_and_no_other(rivals):
    learner = make(rivals)
    for _ in range(3):
        learner.step()
    for state, actions in rivals.log:
        assert bool(rivals.available(state).gather(-1, actions.unsqueeze(-1)).all())
    taken = {(i, a) for _, actions in rivals.log for joint in actions.tolist() for i, a in enumerate(joint)}
    assert taken == {(i, a) for i in range(n) for a in range(A)}


def test_a_step_makes_one_update(rivals, oracle):
    learner = make(rivals)
    before = oracle.numbers(learner)
    learner.step()
    assert (learner.t, learner.updates) == (T, 1)
    assert all((old != new).any() for old, new in zip(before, oracle.numbers(learner), strict=True))


def test_resuming_gives_the_same_bits_as_not_stopping(rivals, promises):
    promises.resumes(lambda: make(rivals), 3, 2, time_steps=T)


def test_a_step_never_waits_for_the_device(promises):
    promises.never_waits(make(BatchedStagedGame(get("two-step")), horizon=3), 3)
