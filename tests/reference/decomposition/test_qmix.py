"""QMIX line by line; the learner's update against loops over seeds, samples and agents in float64."""

import math

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.reference.decomposition import qmix
from marlspec.reference.parts.config import QMIXConfig

SETTINGS = {
    "seeds": 2,
    "copies": 3,
    "batch_size": 5,
    "capacity": 30,
    "hidden": (3,),
    "learning_rate": 0.01,
    "gamma": 0.75,
    "target_interval": 3,
    "embed": 2,
}


def make(game, **changes):
    return qmix.QMIX(game, QMIXConfig(**{**SETTINGS, **changes}))


def randomised(learner):
    """Give every network, targets too, parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return learner


def random_batch(B, terminated):
    S, n, h, A = 2, 2, 4, 3
    available = torch.rand(S, B, n, A) < 0.6
    available[..., 1] = True
    return qmix.Transition(
        history=torch.randn(S, B, n, h),
        z=torch.randn(S, B, 5),
        action=torch.randint(A, (S, B, n)),
        reward=torch.randn(S, B),
        next_history=torch.randn(S, B, n, h),
        next_available=available,
        next_z=torch.randn(S, B, 5),
        terminated=torch.tensor(terminated).expand(S, -1),
    )


def mixed(oracle, hyper, s, z, q):
    """Q_tot of utilities q [B, n] in the states z [B, z], from the hypernetwork's parameters."""
    h1, c1, hb, cb, h2, c2, hv, cv, ho, co = hyper
    m, total = hb.shape[-1], []
    for row, z_row in zip(q, z, strict=True):
        w1 = abs(oracle.linear(z_row, h1, c1, s))
        b1 = oracle.linear(z_row, hb, cb, s)
        w2 = abs(oracle.linear(z_row, h2, c2, s))
        v = oracle.linear(np.maximum(oracle.linear(z_row, hv, cv, s), 0), ho, co, s)[0]
        for j in range(m):
            hidden = b1[j] + sum(row[i] * w1[i * m + j] for i in range(len(row)))
            v = v + w2[j] * (hidden if hidden > 0 else math.exp(hidden) - 1)
        total.append(v)
    return np.array(total)


def targets(oracle, theta_bar, hyper_bar, batch, gamma):
    """The targets y, one sample after the other."""
    y = batch.reward.copy()
    S, B, n = batch.action.shape
    for s, k in np.ndindex(S, B):
        if not batch.terminated[s, k]:
            best = []
            for i in range(n):
                q = oracle.utilities(theta_bar, s, i, batch.next_history[s, k, i])
                best.append(max(q[a] for a in range(len(q)) if batch.next_available[s, k, i, a]))
            y[s, k] += gamma * mixed(oracle, hyper_bar, s, batch.next_z[s, k : k + 1], [best])[0]
    return y


def summed_loss(oracle, theta, hyper, batch, y):
    S, B, n = batch.action.shape
    total = 0.0
    for s in range(S):
        q = [oracle.utilities(theta, s, i, batch.history[s, :, i]) for i in range(n)]
        taken = [[q[i][k, batch.action[s, k, i]] for i in range(n)] for k in range(B)]
        total += sum((y[s] - mixed(oracle, hyper, s, batch.z[s], taken)) ** 2) / B
    return total


def test_updates_agree_with_loops_in_float64(corridor, oracle):
    learner = randomised(make(corridor))
    theta, hyper = oracle.numbers(learner.theta), oracle.numbers(learner.theta_hyper)
    theta_bar, hyper_bar = oracle.numbers(learner.theta_bar), oracle.numbers(learner.theta_bar_hyper)
    learned = [*learner.theta.parameters(), *learner.theta_hyper.parameters()]
    adam = oracle.Adam([*theta, *hyper], 0.01)
    for ends in ([True, False, False], [False, True]):
        batch = random_batch(len(ends), ends)
        data = oracle.in_numpy(batch)
        y = targets(oracle, theta_bar, hyper_bar, data, 0.75)
        expected_loss = summed_loss(oracle, theta, hyper, data, y)
        expected = oracle.slopes(lambda data=data, y=y: summed_loss(oracle, theta, hyper, data, y), [*theta, *hyper])
        losses = learner.learn(batch)
        assert losses.shape == (2,)
        assert float(losses.sum()) == pytest.approx(expected_loss, rel=1e-5)
        for parameter, gradient in zip(learned, expected, strict=True):
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-3, atol=1e-3)
        adam.step(expected)
        for parameter, number in zip(learned, [*theta, *hyper], strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), number, atol=1e-4)


def test_seeds_train_independently(corridor):
    together = randomised(make(corridor))
    batch = random_batch(5, [False, True, False, False, True])
    alone = []
    for s in range(2):
        learner = make(corridor, seeds=1)
        for own, all_seeds in zip(learner.parameters(), together.parameters(), strict=True):
            own.data.copy_(all_seeds.data[s : s + 1])
        losses = [learner.learn(qmix.Transition(*(field[s : s + 1] for field in batch))) for _ in range(4)]
        alone.append((losses[-1], list(learner.theta.parameters())))
    losses = [together.learn(batch) for _ in range(4)][-1]
    for s, (own_loss, own_parameters) in enumerate(alone):
        assert losses[s].item() == pytest.approx(own_loss.item(), rel=1e-5)
        for own, all_seeds in zip(own_parameters, together.theta.parameters(), strict=True):
            torch.testing.assert_close(all_seeds[s], own[0], rtol=1e-5, atol=1e-5)


def mixing(w1, b1, w2, v):
    return qmix.MixingParameters(torch.tensor(w1), torch.tensor(b1), torch.tensor(w2), torch.tensor(v))


def test_mix_by_hand():
    theta_mix = mixing([[[1.0, 0.5], [2.0, 0.25]]], [[-1.0, -4.0]], [[3.0, 2.0]], [10.0])
    # hidden: elu(1 * 1 + 2 * 2 - 1) = 4 and elu(1 * 0.5 + 2 * 0.25 - 4) = exp(-3) - 1
    assert qmix.mix(torch.tensor([[1.0, 2.0]]), theta_mix).tolist() == pytest.approx([22 + 2 * (math.exp(-3) - 1)])


def test_hypernetwork_by_hand():
    hyper = qmix.Hypernetwork(n_agents=2, state_size=1, embed=2)
    rows = [[1.0, -2.0, 3.0, -4.0], [1.0, -1.0], [-2.0, 1.0], [1.0, -3.0], [[2.0], [5.0]]]
    layers = [hyper.h1, hyper.b1, hyper.h2, hyper.v_hidden, hyper.v_out]
    with torch.no_grad():
        for layer, weight in zip(layers, rows, strict=True):
            layer.weight.copy_(torch.tensor(weight).reshape(layer.weight.shape))
            layer.bias.fill_(0.5)
        theta_mix = hyper(torch.tensor([[1.0], [-1.0]]))
    assert theta_mix.w1.tolist() == [[[1.5, 1.5], [3.5, 3.5]], [[0.5, 2.5], [2.5, 4.5]]]
    assert theta_mix.b1.tolist() == [[1.5, -0.5], [-0.5, 1.5]]
    assert theta_mix.w2.tolist() == [[1.5, 1.5], [2.5, 0.5]]
    assert theta_mix.v.tolist() == [3.5, 18.0]  # 2 * 1.5 + 5 * 0 + 0.5 and 2 * 0 + 5 * 3.5 + 0.5


def test_hypernetwork_shapes_and_start():
    hyper = qmix.Hypernetwork(3, 4, 32, (2,))
    theta_mix = hyper(torch.randn(2, 7, 4))
    assert [tuple(part.shape) for part in theta_mix] == [(2, 7, 3, 32), (2, 7, 32), (2, 7, 32), (2, 7)]
    assert (theta_mix.b1 < 0).any()
    assert (theta_mix.b1 > 0).any()
    bounds = {name: p.abs().max().item() for name, p in hyper.named_parameters()}
    assert all(0.3 < bounds[name] <= 0.5 for name in bounds if not name.startswith("v_out"))
    assert 0.1 < bounds["v_out.weight"] <= 32**-0.5


def test_target():
    next_utilities = torch.tensor([[[1.0, 3.0], [-2.0, -4.0]], [[1.0, 3.0], [-2.0, -4.0]], [[-math.inf, 3.0], [1, 2]]])
    w1, b1, w2, v = [[[1.0], [1.0]]] * 3, [[0.0], [0.0], [1.0]], [[1.0], [1.0], [2.0]], [0.0, 0.0, -1.0]
    reward, terminated = torch.tensor([5.0, 5.0, -1.0]), torch.tensor([False, True, False])
    y = qmix.target(reward, terminated, next_utilities, mixing(w1, b1, w2, v), 0.5)
    assert y.tolist() == [5.5, 5.0, -1 + 0.5 * (2 * 6 - 1)]


@pytest.mark.parametrize("nonsense", [math.nan, -math.inf, math.inf])
def test_target_ignores_whatever_comes_after_the_end(nonsense):
    theta_mix = mixing([[[nonsense], [0.0]]], [[nonsense]], [[nonsense]], [nonsense])
    y = qmix.target(torch.tensor([5.0]), torch.tensor([True]), torch.full((1, 2, 3), nonsense), theta_mix, 0.5)
    assert y.tolist() == [5.0]


def test_loss_is_the_mean_over_the_batch_alone():
    y, value = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 5.0], [3.0, 6.0]])
    assert qmix.loss(y, value).tolist() == [5.0, 2.0]


def test_no_gradient_reaches_the_targets(corridor):
    learner = randomised(make(corridor))
    learner.learn(random_batch(5, [False] * 5))
    targets_of = [*learner.theta_bar.parameters(), *learner.theta_bar_hyper.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in targets_of)


@pytest.mark.parametrize(("online", "target"), [("theta", "theta_bar"), ("theta_hyper", "theta_bar_hyper")])
def test_target_networks_follow_in_the_set_interval(corridor, oracle, online, target):
    learner = randomised(make(corridor))
    batch = random_batch(5, [False] * 5)
    past, start = [], oracle.numbers(getattr(learner, target))
    for update in range(1, 8):
        learner.learn(batch)
        past.append(oracle.numbers(getattr(learner, online)))
        copied = past[update - update % 3 - 1] if update >= 3 else start
        for have, want in zip(oracle.numbers(getattr(learner, target)), copied, strict=True):
            np.testing.assert_array_equal(have, want)
        if update == 3:
            assert any((have != old).any() for have, old in zip(copied, start, strict=True)), "the online ones moved"
    assert learner.updates == 7


def test_initialisation(corridor):
    learner = make(corridor, hidden=(5, 6))
    assert [tuple(p.shape) for p in learner.theta.parameters()] == [
        (2, 2, 4, 5),
        (2, 2, 1, 5),
        (2, 2, 5, 6),
        (2, 2, 1, 6),
        (2, 2, 6, 3),
        (2, 2, 1, 3),
    ]
    assert [tuple(p.shape) for p in learner.theta_hyper.parameters()] == [
        *((2, 5, 4), (2, 1, 4)),
        *((2, 5, 2), (2, 1, 2)) * 3,
        *((2, 2, 1), (2, 1, 1)),
    ]
    pairs = [(learner.theta, learner.theta_bar), (learner.theta_hyper, learner.theta_bar_hyper)]
    for online, copied in [pair for a, b in pairs for pair in zip(a.parameters(), b.parameters(), strict=True)]:
        assert torch.equal(online, copied)
        assert online.data_ptr() != copied.data_ptr()
    first = learner.theta.layers[0].weight
    assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    assert (learner.replay.capacity, learner.replay.seeds, learner.replay.size) == (30, 2, 0)
    optimised = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in [*learner.theta.parameters(), *learner.theta_hyper.parameters()]}


def test_networks_and_replay_live_on_the_configured_device(corridor, monkeypatch):
    seen = []
    networks, hyper, buffer = qmix.UtilityNetworks, qmix.Hypernetwork, qmix.ReplayBuffer
    monkeypatch.setattr(
        qmix, "UtilityNetworks", lambda *given, **named: seen.append(given) or networks(*given, **named)
    )
    monkeypatch.setattr(qmix, "Hypernetwork", lambda *given, **named: seen.append(given) or hyper(*given, **named))
    monkeypatch.setattr(qmix, "ReplayBuffer", lambda *given, **named: seen.append(given) or buffer(*given, **named))
    learner = make(corridor)
    assert [given[-1] for given in seen] == [learner.device] * 3


def test_a_game_with_different_rewards_is_refused(corridor):
    corridor.common_reward = False
    with pytest.raises(InputError, match="QMIX needs a common-reward game"):
        make(corridor)


def transitions_of(game):
    """What the log of a corridor with S * K copies says about each step, computed copy by copy."""
    steps = []
    for state, actions in game.log:
        following, rewards, terminated, _ = type(game)().step(state, actions)
        steps.append(
            {
                "history": game.observe(state),
                "z": game.centralized(state),
                "action": actions,
                "reward": rewards[:, 0],
                "next_history": game.observe(following),
                "next_available": game.available(following),
                "next_z": game.centralized(following),
                "terminated": terminated,
            }
        )
    return steps


def test_stored_transitions_are_what_happened(corridor):
    learner = make(corridor)
    for _ in range(12):  # 12 steps of 3 copies wrap around the capacity of 30
        learner.step()
    steps = transitions_of(corridor)
    ends = torch.stack([step["terminated"] for step in steps])
    assert ends.any()
    assert not ends.all()
    for t in range(2, 12):
        for name in qmix.Transition._fields:
            field = getattr(learner.replay, name).unflatten(0, (2, 30))
            rows = field[:, (3 * t) % 30 : (3 * t) % 30 + 3].flatten(0, 1)
            assert torch.equal(rows, steps[t][name]), (name, t)


def test_copies_start_afresh_after_termination_and_truncation(corridor):
    learner = make(corridor)
    for _ in range(40):
        learner.step()
    truncated = 0
    for (state, actions), (after, _) in zip(corridor.log, corridor.log[1:], strict=False):
        following, _, terminated, cut = type(corridor)().step(state, actions)
        truncated += int(cut.sum())
        over = terminated | cut
        assert torch.equal(after.position, torch.where(over, 0, following.position))
        assert torch.equal(after.clock, torch.where(over, 0, following.clock))
    assert truncated > 0


def test_actions_are_greedy_for_the_online_networks_and_the_state_at_hand(corridor, oracle):
    learner = randomised(make(corridor, epsilon_end=0.0))
    for _ in range(8):
        state, theta = learner.game_state, oracle.numbers(learner.theta)
        learner.step()
        histories, available = corridor.observe(state), corridor.available(state)
        for row, joint in enumerate(corridor.log[-1][1].tolist()):
            for i, action in enumerate(joint):
                q = oracle.utilities(theta, row // 3, i, histories[row, i].double().numpy())
                assert action == max((a for a in range(3) if available[row, i, a]), key=lambda a: q[a])


def test_exploration_takes_every_available_action_and_no_other(corridor):
    learner = make(corridor, batch_size=1)
    taken = set()
    for _ in range(60):
        learner.step()
    for state, actions in corridor.log:
        available = corridor.available(state)
        assert bool(available.gather(-1, actions.unsqueeze(-1)).all())
        taken |= {(i, a) for joint in actions.tolist() for i, a in enumerate(joint)}
    assert taken == {(i, a) for i in range(2) for a in range(3)}


def test_each_step_reads_the_schedule_at_its_time_and_learns_once_from_a_sampled_mini_batch(corridor, monkeypatch):
    learner = make(corridor)
    asked, batches = [], []
    learner.epsilon = lambda t: asked.append(t) or 1.0
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(3):
        learner.step()
    assert asked == [0, 1, 2]
    assert [batch.action.shape for batch in batches] == [(2, 5, 2)] * 3
    held = learner.replay.reward.unflatten(0, (2, 30))
    for s in range(2):
        assert set(batches[-1].reward[s].tolist()) <= set(held[s, :9].tolist())


def test_a_step_makes_one_update(corridor, oracle):
    learner = make(corridor)
    before = oracle.numbers(learner.theta_hyper)
    learner.step()
    assert (learner.t, learner.updates) == (1, 1)
    assert any((old != new).any() for old, new in zip(before, oracle.numbers(learner.theta_hyper), strict=True))
