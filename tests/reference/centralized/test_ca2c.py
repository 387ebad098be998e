"""CA2C line by line; the learner's update against loops over seeds, agents and copies in float64."""

import math

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.centralized import ca2c
from marlspec.reference.parts.config import ActorCriticConfig
from marlspec.reference.solution.nash import pure_equilibria

S, K, n, h, z, A = 3, 4, 2, 4, 5, 3
SETTINGS = {
    "seeds": S,
    "copies": K,
    "hidden": (3,),
    "learning_rate": 0.01,
    "critic_learning_rate": 0.03,
    "gamma": 0.75,
}


def make(game, **changes):
    return ca2c.CA2C(game, ActorCriticConfig(**{**SETTINGS, **changes}))


def randomised(learner, scale=1.0):
    """Give every network parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return learner


def random_batch(terminated):
    B = len(terminated)
    available = torch.rand(S, B, n, A) < 0.6
    available[..., 1] = True
    return ca2c.Transition(
        history=torch.randn(S, B, n, h, dtype=torch.float64),
        z=torch.randn(S, B, z, dtype=torch.float64),
        available=available,
        action=torch.where(available, torch.rand(S, B, n, A), -1.0).argmax(-1),
        rewards=torch.randn(S, B, n, dtype=torch.float64),
        next_history=torch.randn(S, B, n, h, dtype=torch.float64),
        next_z=torch.randn(S, B, z, dtype=torch.float64),
        terminated=torch.tensor(terminated).expand(S, B),
    )


def value(oracle, theta, s, i, history, z):
    """The value of one agent's history and the centralised information."""
    return oracle.utilities(theta, s, i, np.array([*history, *z]))[0]


def targets_and_advantages(oracle, theta, batch, gamma):
    """The targets y and the advantages, one copy after the other."""
    y, advantages = batch.rewards.copy(), batch.rewards.copy()
    for s, k, i in np.ndindex(y.shape):
        following = 0.0
        if not batch.terminated[s, k]:
            following = gamma * value(oracle, theta, s, i, batch.next_history[s, k, i], batch.next_z[s, k])
        y[s, k, i] += following
        advantages[s, k, i] += following - value(oracle, theta, s, i, batch.history[s, k, i], batch.z[s, k])
    return y, advantages


def actor_losses(oracle, phi, batch, advantages):
    total = [0.0] * S
    for s, k, i in np.ndindex(advantages.shape):
        log_pi = oracle.log_policy(phi, s, i, batch.history[s, k, i], batch.available[s, k, i])
        total[s] -= advantages[s, k, i] * log_pi[batch.action[s, k, i]] / advantages.shape[1]
    return total


def critic_losses(oracle, theta, batch, y):
    total = [0.0] * S
    for s, k, i in np.ndindex(y.shape):
        own = value(oracle, theta, s, i, batch.history[s, k, i], batch.z[s, k])
        total[s] += (y[s, k, i] - own) ** 2 / y.shape[1]
    return total


def agree(network, gradients, adam):
    """Assert that the network has these gradients, and that it has taken Adam's step along them."""
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-5, atol=1e-8)
    adam.step([parameter.grad.numpy() for parameter in network.parameters()])
    for parameter, number in zip(network.parameters(), adam.parameters, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), number, rtol=1e-9)


def test_updates_agree_with_loops_in_float64(rivals, oracle):
    learner = randomised(make(rivals)).double()
    phi, theta = oracle.numbers(learner.phi), oracle.numbers(learner.theta)
    actor, critic = oracle.Adam(phi, 0.01), oracle.Adam(theta, 0.03)
    for ends in ([True, False, True, False], [False, True, False]):
        batch = random_batch(ends)
        data = oracle.in_numpy(batch)
        y, advantages = targets_and_advantages(oracle, theta, data, 0.75)
        expected = np.add(actor_losses(oracle, phi, data, advantages), critic_losses(oracle, theta, data, y))
        downhill = [
            oracle.slopes(lambda data=data, c=advantages: sum(actor_losses(oracle, phi, data, c)), phi),
            oracle.slopes(lambda data=data, c=y: sum(critic_losses(oracle, theta, data, c)), theta),
        ]
        losses = learner.learn(batch)
        np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-12)
        agree(learner.phi, downhill[0], actor)
        agree(learner.theta, downhill[1], critic)
    assert learner.updates == 2


def test_every_critic_sees_its_agents_history_and_the_same_z():
    history, z = torch.arange(12.0).view(1, 2, 2, 3), torch.tensor([[[20.0], [30.0]]])
    assert ca2c.informed(history, z).tolist() == [[[[0, 1, 2, 20], [3, 4, 5, 20]], [[6, 7, 8, 30], [9, 10, 11, 30]]]]


def test_target():
    rewards = torch.tensor([[5.0, 4.0], [5.0, 4.0]])
    y = ca2c.target(rewards, torch.tensor([False, True]), torch.tensor([[2.0, -6.0], [2.0, -6.0]]), 0.5)
    assert y.tolist() == [[6.0, 1.0], [5.0, 4.0]]


@pytest.mark.parametrize("nonsense", [math.nan, -math.inf, math.inf])
def test_target_ignores_whatever_comes_after_the_end(nonsense):
    y = ca2c.target(torch.tensor([[5.0, 2.0]]), torch.tensor([True]), torch.full((1, 2), nonsense), 0.5)
    assert y.tolist() == [[5.0, 2.0]]


def test_targets_and_advantages_are_constants():
    values = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert not ca2c.target(torch.zeros(1, 2), torch.tensor([False]), values, 0.5).requires_grad
    assert not ca2c.actor_loss(values, torch.zeros(1, 2)).requires_grad


def test_advantage_is_what_the_target_has_above_the_value():
    assert ca2c.advantage(torch.tensor([[5.0, 1.0]]), torch.tensor([[2.0, 4.0]])).tolist() == [[3.0, -3.0]]


def test_actor_loss_is_minus_each_agents_mean_over_the_copies():
    advantages = torch.tensor([[[2.0, 1.0], [0.0, -1.0]], [[1.0, 0.0], [3.0, 2.0]]])
    log_pi = torch.tensor([[[-1.0, -2.0], [-5.0, -4.0]], [[-3.0, -1.0], [-1.0, -0.5]]])
    assert ca2c.actor_loss(advantages, log_pi).tolist() == [[1.0, -1.0], [3.0, 0.5]]


def test_critic_loss_is_each_agents_mean_over_the_copies():
    y = torch.tensor([[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [4.0, 1.0]]])
    values = torch.tensor([[[0.0, 0.0], [5.0, 0.0]], [[3.0, 1.0], [6.0, 3.0]]])
    assert ca2c.critic_loss(y, values).tolist() == [[5.0, 8.0], [2.0, 2.0]]


def test_initialisation(rivals):
    learner = make(rivals, hidden=(5, 6))
    for network, inputs, outputs in ((learner.phi, h, A), (learner.theta, h + z, 1)):
        sizes = [(inputs, 5), (1, 5), (5, 6), (1, 6), (6, outputs), (1, outputs)]
        assert [tuple(p.shape) for p in network.parameters()] == [(S, n, *size) for size in sizes]
        first = network.layers[0].weight
        assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    for optimiser, network in ((learner.actor_optimiser, learner.phi), (learner.critic_optimiser, learner.theta)):
        optimised = {id(p) for group in optimiser.param_groups for p in group["params"]}
        assert optimised == {id(p) for p in network.parameters()}


def test_networks_live_on_the_configured_device(rivals, monkeypatch):
    seen = []
    actors, critics = ca2c.PolicyNetworks, ca2c.CriticNetworks
    monkeypatch.setattr(ca2c, "PolicyNetworks", lambda *given, **named: seen.append(given) or actors(*given, **named))
    monkeypatch.setattr(ca2c, "CriticNetworks", lambda *given, **named: seen.append(given) or critics(*given, **named))
    learner = make(rivals)
    assert [given[-1] for given in seen] == [learner.device, learner.device]


def test_a_game_on_another_device_is_refused():
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(BatchedStagedGame(get("prisoners-dilemma"), "meta"))


def test_each_step_learns_once_from_what_happened_in_every_copy(rivals, monkeypatch):
    learner = make(rivals)
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(12):
        learner.step()
    assert (len(batches), len(rivals.log), learner.t) == (12, 12, 12)
    seen = {"terminated": 0, "truncated": 0}
    for (state, actions), batch in zip(rivals.log, batches, strict=True):
        following, rewards, terminated, truncated = type(rivals)().step(state, actions)
        happened = {
            "history": rivals.observe(state),
            "z": rivals.centralized(state),
            "available": rivals.available(state),
            "action": actions,
            "rewards": rewards,
            "next_history": rivals.observe(following),
            "next_z": rivals.centralized(following),
            "terminated": terminated,
        }
        for name, field in happened.items():
            assert torch.equal(getattr(batch, name), field.unflatten(0, (S, K))), name
        seen["terminated"] += int(terminated.sum())
        seen["truncated"] += int(truncated.sum())
    assert all(0 < count < 12 * S * K for count in seen.values())


def test_actions_are_drawn_from_the_policies_at_hand(rivals, oracle):
    """With logits far apart the most probable available action is as good as certain."""
    learner = randomised(make(rivals, learning_rate=1e-6), scale=60.0)
    decided = set()
    for _ in range(8):
        state, phi = learner.game_state, oracle.numbers(learner.phi)
        learner.step()
        histories, available = rivals.observe(state), rivals.available(state)
        for (row, i), action in np.ndenumerate(rivals.log[-1][1].numpy()):
            log_pi = oracle.log_policy(phi, row // K, i, histories[row, i].double().numpy(), available[row, i])
            if sorted(log_pi)[-2] < -40:
                assert action == int(np.argmax(log_pi))
                decided.add((i, int(action)))
    assert all(len({action for j, action in decided if j == i}) > 1 for i in range(n))


def test_every_available_action_is_drawn_and_no_other(rivals):
    learner = make(rivals)
    for _ in range(20):
        learner.step()
    for state, actions in rivals.log:
        assert bool(rivals.available(state).gather(-1, actions.unsqueeze(-1)).all())
    taken = {(i, a) for _, actions in rivals.log for joint in actions.tolist() for i, a in enumerate(joint)}
    assert taken == {(i, a) for i in range(n) for a in range(A)}


def test_a_step_makes_one_update(rivals, oracle):
    learner = make(rivals)
    before = oracle.numbers(learner)
    learner.step()
    assert (learner.t, learner.updates) == (1, 1)
    assert all((old != new).any() for old, new in zip(before, oracle.numbers(learner), strict=True))


def test_resuming_gives_the_same_bits_as_not_stopping(rivals, promises):
    promises.resumes(lambda: make(rivals), 8, 6)


def test_a_step_never_waits_for_the_device(promises):
    promises.never_waits(make(BatchedStagedGame(get("two-step"))), 4)


def test_five_seeds_reach_the_equilibrium_of_the_prisoners_dilemma():
    game = get("prisoners-dilemma")
    learner = make(BatchedStagedGame(game), seeds=5, copies=32, hidden=(8,), learning_rate=0.02)
    for _ in range(150):
        learner.step()
    assert learner.act(learner.game.reset(5), greedy=True).squeeze(1).tolist() == pure_equilibria(game).tolist() * 5
