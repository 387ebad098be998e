"""IDQN line by line; the learner's update against loops over seeds, agents and samples in float64."""

import math

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.independent import idqn
from marlspec.reference.parts.config import Config

S, K, n, h, A, CAPACITY = 3, 4, 2, 4, 3, 40
SETTINGS = {
    "seeds": S,
    "copies": K,
    "batch_size": 5,
    "capacity": CAPACITY,
    "hidden": (3,),
    "learning_rate": 0.01,
    "gamma": 0.75,
    "target_interval": 3,
}


def make(game, **changes):
    return idqn.IDQN(game, Config(**{**SETTINGS, **changes}))


def randomised(learner):
    """Give every network, targets too, parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return learner


def random_batch(B, terminated):
    available = torch.rand(S, B, n, A) < 0.6
    available[..., 1] = True
    return idqn.Transition(
        history=torch.randn(S, B, n, h, dtype=torch.float64),
        action=torch.randint(A, (S, B, n)),
        rewards=torch.randn(S, B, n, dtype=torch.float64),
        next_history=torch.randn(S, B, n, h, dtype=torch.float64),
        next_available=available,
        terminated=torch.tensor(terminated).expand(S, B, n),
    )


ENDS = [[True, False], [False, True], [True, True], [False, False]]


def targets(oracle, theta_bar, batch, gamma):
    """The targets y, one sample after the other."""
    y = batch.rewards.copy()
    for s, k, i in np.ndindex(y.shape):
        if not batch.terminated[s, k, i]:
            q = oracle.utilities(theta_bar, s, i, batch.next_history[s, k, i])
            y[s, k, i] += gamma * max(q[a] for a in range(A) if batch.next_available[s, k, i, a])
    return y


def losses_of_seeds(oracle, theta, batch, y):
    total = [0.0] * S
    for s in range(S):
        for i in range(n):
            q = oracle.utilities(theta, s, i, batch.history[s, :, i])
            B = len(q)
            total[s] += sum((y[s, k, i] - q[k, batch.action[s, k, i]]) ** 2 for k in range(B)) / B
    return total


def test_updates_agree_with_loops_in_float64(rivals, oracle):
    learner = randomised(make(rivals)).double()
    theta, theta_bar = oracle.numbers(learner.theta), oracle.numbers(learner.theta_bar)
    adam = oracle.Adam(theta, 0.01)
    for ends in (ENDS, [*ENDS[1:], [False, False], [False, True]]):
        batch = random_batch(len(ends), ends)
        data = oracle.in_numpy(batch)
        y = targets(oracle, theta_bar, data, 0.75)
        expected_losses = losses_of_seeds(oracle, theta, data, y)
        expected = oracle.slopes(lambda data=data, y=y: sum(losses_of_seeds(oracle, theta, data, y)), theta)
        losses = learner.learn(batch)
        np.testing.assert_allclose(losses.numpy(), expected_losses, rtol=1e-12)
        for parameter, gradient in zip(learner.theta.parameters(), expected, strict=True):
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-5, atol=1e-8)
        adam.step([parameter.grad.numpy() for parameter in learner.theta.parameters()])
        for parameter, number in zip(learner.theta.parameters(), theta, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), number, rtol=1e-9)


def test_target():
    next_utilities = torch.tensor([[[1.0, 3.0], [-2.0, -4.0]], [[1.0, 3.0], [-2.0, -4.0]], [[-math.inf, 3.0], [1, 2]]])
    rewards = torch.tensor([[5.0, 4.0], [5.0, 4.0], [-1.0, 0.0]])
    terminated = torch.tensor([[False, False], [True, True], [False, True]])
    y = idqn.target(rewards, terminated, next_utilities, 0.5)
    assert y.tolist() == [[6.5, 3.0], [5.0, 4.0], [0.5, 0.0]]


@pytest.mark.parametrize("nonsense", [math.nan, -math.inf, math.inf])
def test_target_ignores_whatever_comes_after_the_end(nonsense):
    y = idqn.target(torch.tensor([[5.0, 2.0]]), torch.tensor([[True, True]]), torch.full((1, 2, 3), nonsense), 0.5)
    assert y.tolist() == [[5.0, 2.0]]


def test_loss_is_each_agents_mean_over_its_mini_batch():
    y = torch.tensor([[[1.0, 0.0], [2.0, 4.0]], [[3.0, 1.0], [4.0, 1.0]]])
    values = torch.tensor([[[0.0, 0.0], [5.0, 0.0]], [[3.0, 1.0], [6.0, 3.0]]])
    assert idqn.loss(y, values).tolist() == [[5.0, 8.0], [2.0, 2.0]]


def numbered(*axes):
    """A batch in which every entry of every field tells where it stands."""
    shapes = {
        "history": (h,),
        "action": (),
        "rewards": (),
        "next_history": (h,),
        "next_available": (A,),
        "terminated": (),
    }
    entries = [torch.arange(math.prod((*axes, *shape))).view(*axes, *shape) for shape in shapes.values()]
    return idqn.Transition(*entries)


def test_apart_gives_every_agent_of_every_seed_its_own_transitions():
    together = numbered(S, K, n)
    separate = idqn.apart(together)
    for field, own in zip(together, separate, strict=True):
        assert own.shape == (S * n, K, *field.shape[3:])
        for s, k, i in np.ndindex(S, K, n):
            assert torch.equal(own[s * n + i, k], field[s, k, i])


def test_side_by_side_puts_every_agents_mini_batch_back_into_its_column():
    separate = numbered(S * n, 5)
    together = idqn.side_by_side(separate, n)
    for own, field in zip(separate, together, strict=True):
        assert field.shape == (S, 5, n, *own.shape[2:])
        for s, k, i in np.ndindex(S, 5, n):
            assert torch.equal(own[s * n + i, k], field[s, k, i])


def test_no_gradient_reaches_the_targets(rivals):
    learner = randomised(make(rivals)).double()
    learner.learn(random_batch(4, ENDS))
    assert all(p.grad is None and not p.requires_grad for p in learner.theta_bar.parameters())


def test_target_networks_follow_in_the_set_interval(rivals, oracle):
    learner = randomised(make(rivals)).double()
    batch = random_batch(4, ENDS)
    online, start = [], oracle.numbers(learner.theta_bar)
    for update in range(1, 8):
        learner.learn(batch)
        online.append(oracle.numbers(learner.theta))
        copied = online[update - update % 3 - 1] if update >= 3 else start
        for have, want in zip(oracle.numbers(learner.theta_bar), copied, strict=True):
            np.testing.assert_array_equal(have, want)
        if update == 3:
            assert any((have != old).any() for have, old in zip(copied, start, strict=True)), "the online ones moved"
    assert learner.updates == 7


def test_initialisation(rivals):
    learner = make(rivals, hidden=(5, 6))
    sizes = [(4, 5), (1, 5), (5, 6), (1, 6), (6, 3), (1, 3)]
    assert [tuple(p.shape) for p in learner.theta.parameters()] == [(S, n, *size) for size in sizes]
    for online, copied in zip(learner.theta.parameters(), learner.theta_bar.parameters(), strict=True):
        assert torch.equal(online, copied)
        assert online.data_ptr() != copied.data_ptr()
    first = learner.theta.layers[0].weight
    assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    assert (learner.replay.capacity, learner.replay.seeds, learner.replay.size) == (CAPACITY, S * n, 0)
    optimised = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in learner.theta.parameters()}


def test_networks_and_replay_live_on_the_configured_device(rivals, monkeypatch):
    seen = []
    networks, buffer = idqn.UtilityNetworks, idqn.ReplayBuffer
    monkeypatch.setattr(
        idqn, "UtilityNetworks", lambda *given, **named: seen.append(given) or networks(*given, **named)
    )
    monkeypatch.setattr(idqn, "ReplayBuffer", lambda *given, **named: seen.append(given) or buffer(*given, **named))
    learner = make(rivals)
    assert [given[-1] for given in seen] == [learner.device, learner.device]


def test_a_game_on_another_device_is_refused():
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(BatchedStagedGame(get("prisoners-dilemma"), "meta"))


def transitions_of(game):
    """What the log of a game with S * K copies says about each step, computed copy by copy."""
    steps = []
    for state, actions in game.log:
        following, rewards, terminated, _ = type(game)().step(state, actions)
        steps.append(
            {
                "history": game.observe(state),
                "action": actions,
                "rewards": rewards,
                "next_history": game.observe(following),
                "next_available": game.available(following),
                "terminated": terminated[:, None].expand(-1, n),
            }
        )
    return steps


def test_every_agent_stores_what_happened_to_it_in_its_own_buffer(rivals):
    learner = make(rivals)
    for _ in range(12):  # 12 steps of 4 copies wrap around the capacity of 40
        learner.step()
    steps = transitions_of(rivals)
    ends = torch.stack([step["terminated"] for step in steps])
    assert ends.any()
    assert not ends.all()
    for t in range(2, 12):
        for name in idqn.Transition._fields:
            rings = getattr(learner.replay, name).unflatten(0, (S, n, CAPACITY))
            happened = steps[t][name].unflatten(0, (S, K))
            for s, k, i in np.ndindex(S, K, n):
                assert torch.equal(rings[s, i, (K * t + k) % CAPACITY], happened[s, k, i]), (name, t)


def test_every_agent_draws_its_own_mini_batch_from_its_own_buffer(rivals, monkeypatch):
    learner = make(rivals, batch_size=30, epsilon_end=1.0)
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(5):
        learner.step()
    assert [batch.rewards.shape for batch in batches] == [(S, 30, n)] * 5
    rings = {name: getattr(learner.replay, name).unflatten(0, (S, n, CAPACITY)) for name in idqn.Transition._fields}
    drawn = batches[-1]
    for s, i in np.ndindex(S, n):
        stored = {row_of(rings, (s, i, k)) for k in range(5 * K)}
        assert {row_of(drawn._asdict(), (s, k, i)) for k in range(30)} <= stored
    clocks = drawn.history[..., 1]
    assert not torch.equal(clocks[:, :, 0], clocks[:, :, 1]), "agents draw different time steps"


def row_of(fields, index):
    return tuple(tuple(field[index].flatten().tolist()) for field in fields.values())


def test_copies_start_afresh_after_termination_and_truncation(rivals):
    learner = make(rivals)
    for _ in range(40):
        learner.step()
    truncated = 0
    for (state, actions), (after, _) in zip(rivals.log, rivals.log[1:], strict=False):
        following, _, terminated, cut = type(rivals)().step(state, actions)
        truncated += int(cut.sum())
        over = terminated | cut
        assert torch.equal(after.position, torch.where(over, 0, following.position))
        assert torch.equal(after.clock, torch.where(over, 0, following.clock))
    assert truncated > 0


def test_actions_are_greedy_for_the_online_networks_and_the_state_at_hand(rivals, oracle):
    learner = randomised(make(rivals, epsilon_end=0.0))
    for _ in range(8):
        state, theta = learner.game_state, oracle.numbers(learner.theta)
        learner.step()
        histories, available = rivals.observe(state), rivals.available(state)
        for row, joint in enumerate(rivals.log[-1][1].tolist()):
            for i, action in enumerate(joint):
                q = oracle.utilities(theta, row // K, i, histories[row, i].double().numpy())
                assert action == max((a for a in range(A) if available[row, i, a]), key=lambda a: q[a])


def test_exploration_takes_every_available_action_and_no_other(rivals):
    learner = make(rivals, batch_size=1)
    for _ in range(40):
        learner.step()
    for state, actions in rivals.log:
        assert bool(rivals.available(state).gather(-1, actions.unsqueeze(-1)).all())
    taken = {(i, a) for _, actions in rivals.log for joint in actions.tolist() for i, a in enumerate(joint)}
    assert taken == {(i, a) for i in range(n) for a in range(A)}


def test_each_step_reads_the_schedule_at_its_time(rivals):
    learner = make(rivals)
    asked = []
    learner.epsilon = lambda t: asked.append(t) or 1.0
    for _ in range(3):
        learner.step()
    assert asked == [0, 1, 2]


def test_a_step_makes_one_update(rivals, oracle):
    learner = make(rivals)
    before = oracle.numbers(learner.theta)
    learner.step()
    assert (learner.t, learner.updates) == (1, 1)
    assert any((old != new).any() for old, new in zip(before, oracle.numbers(learner.theta), strict=True))


def test_resuming_gives_the_same_bits_as_not_stopping(rivals, promises):
    """Saved past the replay buffer's wrap, within an episode, between two target updates."""
    promises.resumes(lambda: make(rivals, epsilon_start=1.0, epsilon_end=0.1, epsilon_steps=20), 13, 8)


def test_a_step_never_waits_for_the_device(promises):
    learner = make(BatchedStagedGame(get("two-step")), epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=4)
    promises.never_waits(learner, 8)  # two target updates among them
