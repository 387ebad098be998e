"""QMIX on episodes line by line; the learner's update against loops over seeds, episodes, time steps and agents."""

import io
import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame, StagedState
from marlspec.games.catalogue import get
from marlspec.reference.decomposition import qmix_episodes
from marlspec.reference.listing import load
from marlspec.reference.parts.config import QMIXEpisodesConfig
from marlspec.reference.parts.enumeration import joint_table, utility_table

SETTINGS = {
    "seeds": 2,
    "copies": 3,
    "batch_size": 5,
    "capacity": 7,
    "hidden": (3,),
    "learning_rate": 0.01,
    "gamma": 0.75,
    "target_interval": 3,
    "embed": 2,
    "horizon": 6,
}


def make(game, **changes):
    return qmix_episodes.QMIXEpisodes(game, QMIXEpisodesConfig(**{**SETTINGS, **changes}))


def randomised(learner):
    """Give every network, targets too, parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return learner


def random_batch(lengths, ends, L=4):
    """Episodes of two seeds: of each its length and whether it terminates; what comes after is arbitrary, too."""
    S, B, n, h, A = 2, len(lengths), 2, 4, 3
    available = torch.rand(S, B, L, n, A) < 0.6
    available[..., 1] = True
    step, length = torch.arange(L), torch.tensor(lengths)[:, None]
    terminated = (step == length - 1) & torch.tensor(ends)[:, None] | (step >= length) & (step % 2 == 0)
    return qmix_episodes.Episodes(
        history=torch.randn(S, B, L, n, h),
        z=torch.randn(S, B, L, 5),
        action=torch.randint(A, (S, B, L, n)),
        reward=torch.randn(S, B, L),
        next_history=torch.randn(S, B, L, n, h),
        next_available=available,
        next_z=torch.randn(S, B, L, 5),
        terminated=terminated.expand(S, -1, -1),
        filled=(step < length).expand(S, -1, -1),
    )


def mixed(oracle, hyper, s, z, utilities):
    """Q_tot of one utility of each agent in the state z, from the hypernetwork's parameters."""
    h1, c1, hb, cb, h2, c2, hv, cv, ho, co = hyper
    m = hb.shape[-1]
    w1, b1, w2 = (oracle.linear(z, weight, bias, s) for weight, bias in ((h1, c1), (hb, cb), (h2, c2)))
    total = oracle.linear(np.maximum(oracle.linear(z, hv, cv, s), 0), ho, co, s)[0]
    for j in range(m):
        hidden = b1[j] + sum(q * abs(w1[i * m + j]) for i, q in enumerate(utilities))
        total += abs(w2[j]) * (hidden if hidden > 0 else math.exp(hidden) - 1)
    return total


def targets(oracle, theta_bar, hyper_bar, batch, gamma):
    """The targets y, one time step after the other, each with the best of all available joint actions."""
    y = batch.reward.copy()
    n = batch.action.shape[-1]
    for at in np.argwhere(batch.filled & ~batch.terminated):
        s, step = at[0], tuple(at)
        q = [oracle.utilities(theta_bar, s, i, batch.next_history[step][i]) for i in range(n)]
        own = [np.flatnonzero(batch.next_available[step][i]) for i in range(n)]
        joint = product(*([q[i][a] for a in own[i]] for i in range(n)))
        y[step] += gamma * max(mixed(oracle, hyper_bar, s, batch.next_z[step], utilities) for utilities in joint)
    return y


def summed_loss(oracle, theta, hyper, batch, y):
    """The sum of the seeds' losses: means over episodes of means over each one's own time steps."""
    S, B, L, n = batch.action.shape
    total = 0.0
    for s, b in np.ndindex(S, B):
        errors = []
        for step in ((s, b, t) for t in range(L) if batch.filled[s, b, t]):
            q = [oracle.utilities(theta, s, i, batch.history[step][i])[batch.action[step][i]] for i in range(n)]
            errors.append((y[step] - mixed(oracle, hyper, s, batch.z[step], q)) ** 2)
        total += sum(errors) / len(errors) / B
    return total


def test_updates_agree_with_loops_in_float64(corridor, oracle):
    learner = randomised(make(corridor))
    theta, hyper = oracle.numbers(learner.theta), oracle.numbers(learner.theta_hyper)
    theta_bar, hyper_bar = oracle.numbers(learner.theta_bar), oracle.numbers(learner.theta_bar_hyper)
    learned = [*learner.theta.parameters(), *learner.theta_hyper.parameters()]
    adam = oracle.Adam([*theta, *hyper], 0.01)
    for lengths, ends in (([4, 1, 2], [True, False, True]), ([3, 2], [False, True])):
        batch = random_batch(lengths, ends)
        data = oracle.in_numpy(batch)
        y = targets(oracle, theta_bar, hyper_bar, data, 0.75)
        expected_loss = summed_loss(oracle, theta, hyper, data, y)
        expected = oracle.slopes(lambda data=data, y=y: summed_loss(oracle, theta, hyper, data, y), [*theta, *hyper])
        losses = learner.learn(batch)
        assert losses.shape == (2,)
        assert float(losses.sum()) == pytest.approx(expected_loss, rel=1e-5)
        for parameter, gradient in zip(learned, expected, strict=True):
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-3, atol=1e-3)
        adam.step(
            [parameter.grad.double().numpy() for parameter in learned]
        )  # close to zero its step is all or nothing
        for parameter, number in zip(learned, [*theta, *hyper], strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), number, atol=1e-4)


def test_the_listing_is_that_of_the_source():
    listing = load("qmix_episodes").listing
    assert len(listing) == 22
    errata = {line.number: line.errata for line in listing if line.errata}
    assert errata == {**dict.fromkeys((1, 13, 14, 17), ("E18",)), 18: ("E17",)}


def test_loss_by_hand():
    """Two seeds of two episodes: (9 + 1) / 2 and 4 / 1; 0 and (1 + 4 + 9) / 3."""
    y = torch.tensor([[[3.0, 1, 7], [2, 8, 9]], [[0, 5, 5], [1, 2, 3]]])
    value = torch.tensor([[[0.0, 2, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
    filled = torch.tensor([[[True, True, False], [True, False, False]], [[True, False, False], [True, True, True]]])
    assert qmix_episodes.loss(y, value, filled).tolist() == [4.5, pytest.approx(14 / 6)]


def test_nothing_after_an_episodes_end_matters(corridor):
    """Whatever stands in the steps that are not filled, loss and gradient stay the same to the bit."""
    learner = randomised(make(corridor))
    batch = random_batch([1, 3], [True, False])
    outcomes = []
    for shift in (0.0, 5.0):
        later = ~batch.filled
        changed = batch._replace(
            reward=batch.reward + shift * later,
            history=batch.history + shift * later[..., None, None],
            next_z=batch.next_z - shift * later[..., None],
        )
        losses = twin(learner, corridor).learn(changed)
        other = twin(learner, corridor)
        other.learn(changed)
        outcomes.append((losses, [parameter.grad for parameter in other.parameters() if parameter.requires_grad]))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert all(torch.equal(one, two) for one, two in zip(outcomes[0][1], outcomes[1][1], strict=True))


def twin(learner, game):
    other = make(game)
    other.load_state_dict(learner.state_dict())
    return other


@pytest.mark.parametrize("nonsense", [math.nan, math.inf])
def test_rewards_after_an_episodes_end_may_be_anything(corridor, nonsense):
    learner = randomised(make(corridor))
    batch = random_batch([1, 3], [True, False])
    losses = learner.learn(batch._replace(reward=torch.where(batch.filled, batch.reward, nonsense)))
    assert losses.isfinite().all()
    assert all(bool(parameter.isfinite().all()) for parameter in learner.parameters())


def test_seeds_train_independently(corridor):
    together = randomised(make(corridor))
    batch = random_batch([4, 2, 3], [False, True, True])
    alone = []
    for s in range(2):
        learner = make(corridor, seeds=1)
        for own, all_seeds in zip(learner.parameters(), together.parameters(), strict=True):
            own.data.copy_(all_seeds.data[s : s + 1])
        losses = [learner.learn(type(batch)(*(field[s : s + 1] for field in batch))) for _ in range(4)]
        alone.append((losses[-1], list(learner.theta.parameters())))
    losses = [together.learn(batch) for _ in range(4)][-1]
    for s, (own_loss, own_parameters) in enumerate(alone):
        assert losses[s].item() == pytest.approx(own_loss.item(), rel=1e-5)
        for own, all_seeds in zip(own_parameters, together.theta.parameters(), strict=True):
            torch.testing.assert_close(all_seeds[s], own[0], rtol=1e-5, atol=1e-5)


def test_no_gradient_reaches_the_targets(corridor):
    learner = randomised(make(corridor))
    learner.learn(random_batch([4, 2], [False, False]))
    targets_of = [*learner.theta_bar.parameters(), *learner.theta_bar_hyper.parameters()]
    assert all(p.grad is None and not p.requires_grad for p in targets_of)


@pytest.mark.parametrize(("online", "target"), [("theta", "theta_bar"), ("theta_hyper", "theta_bar_hyper")])
def test_target_networks_follow_in_the_set_interval(corridor, oracle, online, target):
    learner = randomised(make(corridor))
    batch = random_batch([4, 3], [False, False])
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
        *((2, 2, 4, 5), (2, 2, 1, 5)),
        *((2, 2, 5, 6), (2, 2, 1, 6)),
        *((2, 2, 6, 3), (2, 2, 1, 3)),
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
    assert (learner.replay.capacity, learner.replay.seeds, learner.replay.size) == (7, 2, 0)
    optimised = {id(p) for group in learner.optimiser.param_groups for p in group["params"]}
    assert optimised == {id(p) for p in [*learner.theta.parameters(), *learner.theta_hyper.parameters()]}


def test_networks_and_replay_live_on_the_configured_device(corridor, monkeypatch):
    seen = []
    for name in ("UtilityNetworks", "Hypernetwork", "ReplayBuffer"):
        made = getattr(qmix_episodes, name)
        monkeypatch.setattr(
            qmix_episodes, name, lambda *given, made=made, **named: seen.append(given) or made(*given, **named)
        )
    learner = make(corridor)
    assert [given[-1] for given in seen] == [learner.device] * 3


# --- episodes ---------------------------------------------------------------------------------------------------------


def steps_of(game):
    """What the log of a corridor says about each step of S * K copies, copy by copy."""
    steps = []
    for state, actions in game.log:
        following, rewards, terminated, truncated = type(game)().step(state, actions)
        step = {
            "history": game.observe(state),
            "z": game.centralized(state),
            "action": actions,
            "reward": rewards[:, 0],
            "next_history": game.observe(following),
            "next_available": game.available(following),
            "next_z": game.centralized(following),
            "terminated": terminated,
        }
        steps.append((step, terminated | truncated))
    return steps


@pytest.mark.parametrize("horizon", [3, 6])
def test_stored_episodes_are_what_happened(corridor, horizon):
    """Four passes of three copies wrap around the capacity of seven episodes; horizon 3 cuts episodes off."""
    learner = make(corridor, horizon=horizon)
    learner.learn = lambda batch: None
    for passed in range(4):
        learner.step()
        steps = steps_of(corridor)[horizon * passed :]
        rows = (torch.arange(3 * passed, 3 * passed + 3) % 7 + torch.tensor([[0], [7]])).flatten()
        running = torch.ones(6, dtype=torch.bool)
        for t, (step, over) in enumerate(steps):
            for name, expected in step.items():
                stored = getattr(learner.replay, name)[rows, t]
                assert torch.equal(stored[running], expected[running]), (name, t)
            assert torch.equal(learner.replay.filled[rows, t], running)
            running = running & ~over
        assert running.any() == (horizon == 3), "nothing is cut off where the horizon is long enough"
    filled = learner.replay.filled.sum(-1)
    if horizon == 6:
        assert filled.min() < filled.max() <= 5
        last = learner.replay.terminated[torch.arange(14), filled - 1]
        assert last.any()
        assert not last.all(), "a truncated episode has not terminated"


def test_targets_remember_the_histories_before_those_that_follow(corridor):
    """Memories of the target networks: of what was seen up to each time step, then of what it led to."""
    learner = randomised(make(corridor, history="gru", horizon=4))
    for _ in range(3):
        learner.step()
    batch, seen = learner.replay.sample(5), []
    ahead = learner.theta_bar.ahead
    learner.theta_bar.ahead = lambda *given: seen.append(given) or ahead(*given)
    learner.learn(batch)
    ((history, following),) = seen
    assert history is batch.history
    assert following is batch.next_history


def test_every_episode_begins_afresh(corridor):
    learner = make(corridor, horizon=4)
    for _ in range(3):
        learner.step()
    for state, _ in corridor.log[::4]:
        assert (state.clock == 0).all()
        assert (state.position == 0).all()


def test_actions_are_greedy_for_the_online_networks_and_the_state_at_hand(corridor, oracle):
    learner = randomised(make(corridor, epsilon_end=0.0, batch_size=7))
    theta = oracle.numbers(learner.theta)
    learner.step()
    for state, actions in corridor.log:
        histories, available = corridor.observe(state), corridor.available(state)
        for row, joint in enumerate(actions.tolist()):
            for i, action in enumerate(joint):
                q = oracle.utilities(theta, row // 3, i, histories[row, i].double().numpy())
                assert action == max((a for a in range(3) if available[row, i, a]), key=lambda a: q[a])


def test_exploration_takes_every_available_action_and_no_other(corridor):
    learner = make(corridor)
    for _ in range(8):
        learner.step()
    taken = set()
    for state, actions in corridor.log:
        assert bool(corridor.available(state).gather(-1, actions.unsqueeze(-1)).all())
        taken |= {(i, a) for joint in actions.tolist() for i, a in enumerate(joint)}
    assert taken == {(i, a) for i in range(2) for a in range(3)}


def test_time_goes_on_with_every_time_step_and_the_schedule_is_read_at_it(corridor):
    learner = make(corridor, horizon=3)
    asked = []
    learner.epsilon = lambda t: asked.append(t) or 1.0
    for _ in range(2):
        learner.step()
    assert asked == list(range(6))
    assert learner.t == 6


def test_it_learns_once_in_each_pass_as_soon_as_a_batch_of_episodes_is_there(corridor, monkeypatch):
    learner = make(corridor)
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    for passed, expected in enumerate([0, 1, 2, 3], start=1):
        learner.step()
        assert len(batches) == expected, "a batch of 5 episodes needs two passes of 3 copies"
        assert learner.replay.size == min(3 * passed, 7)
    assert [batch.action.shape for batch in batches] == [(2, 5, 6, 2)] * 3
    held = learner.replay.reward.unflatten(0, (2, 7))
    for s in range(2):
        assert {tuple(own) for own in batches[-1].reward[s].tolist()} <= {tuple(own) for own in held[s].tolist()}


def test_a_batch_of_exactly_what_is_stored_is_enough(corridor):
    learner = make(corridor, batch_size=3)
    learner.step()
    assert (learner.updates, learner.t) == (1, 6)


def test_a_pass_learns(corridor, oracle):
    learner = make(corridor, batch_size=3)
    before = oracle.numbers(learner.theta_hyper)
    learner.step()
    assert any((old != new).any() for old, new in zip(before, oracle.numbers(learner.theta_hyper), strict=True))


# --- promises ---------------------------------------------------------------------------------------------------------


def same(left, right):
    """Whether two nested structures of tensors, dicts and sequences agree to the bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_resuming_gives_the_same_bits_as_not_stopping(corridor):
    settings = {"epsilon_start": 1.0, "epsilon_end": 0.1, "epsilon_steps": 30}
    learner = make(corridor, **settings)
    for _ in range(5):  # past the wrap of the replay buffer, between two updates of the targets
        learner.step()
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    torch.manual_seed(999)
    other = make(corridor, **settings)
    other.load_state_dict(saved)
    for _ in range(4):
        other.step()
    resumed = other.state_dict()
    torch.set_rng_state(saved["_extra_state"]["random_state"])
    for _ in range(4):
        learner.step()
    assert same(learner.state_dict(), resumed)
    assert (learner.t, learner.updates) == (54, 8)
    assert not same(saved, resumed)


class Waits(TorchDispatchMode):
    """Notes the operators that make the host wait for the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        boolean_index = name.startswith("index") and any(
            getattr(i, "dtype", None) == torch.bool for i in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if boolean_index or name in ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def test_a_step_never_waits_for_the_device():
    learner = make(BatchedStagedGame(get("two-step")), epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=9)
    with Waits() as seen:
        torch.ones(3)[torch.ones(3) > 0].sum().item()
    assert len(seen.found) == 2
    with Waits() as waits:
        for _ in range(6):  # updates of the targets among them
            learner.step()
    assert learner.updates == 5
    assert not waits.found


def test_a_game_with_different_rewards_is_refused(corridor):
    corridor.common_reward = False
    with pytest.raises(InputError, match="QMIX needs a common-reward game"):
        make(corridor)


def test_a_batch_larger_than_the_replay_buffer_is_refused():
    with pytest.raises(InputError, match="capacity is 7: it must be at least batch_size = 8"):
        QMIXEpisodesConfig(**{**SETTINGS, "batch_size": 8})
    with pytest.raises(InputError, match="capacity is 2: it must be at least copies = 3"):
        QMIXEpisodesConfig(**{**SETTINGS, "capacity": 2, "batch_size": 2})


def test_episodes_have_time_steps():
    with pytest.raises(InputError, match="horizon is 0: it must be a positive integer"):
        QMIXEpisodesConfig(horizon=0)
    with pytest.raises(InputError, match="embed is 0"):
        QMIXEpisodesConfig(embed=0)


# --- what it learns ---------------------------------------------------------------------------------------------------


def test_two_step_game_of_the_qmix_paper():
    """The first state's values by agent 1's action: within 0.25 for each seed, 0.1 for the mean of the seeds."""
    config = QMIXEpisodesConfig(
        seeds=5, copies=16, batch_size=64, learning_rate=1e-2, target_interval=15, gamma=0.99, horizon=2
    )
    learner = qmix_episodes.QMIXEpisodes(BatchedStagedGame(get("two-step")), config)
    for passed in range(400):
        if passed == 300:
            learner.optimiser.param_groups[0]["lr"] /= 10
        learner.step()
    values = torch.tensor([6.93, 7.92])
    by_first_action = joint_table(learner).amax(-1)
    torch.testing.assert_close(by_first_action, values.expand(5, 2), atol=0.25, rtol=0)
    torch.testing.assert_close(by_first_action.mean(0), values, atol=0.1, rtol=0)
    assert utility_table(learner)[:, 0].argmax(-1).tolist() == [1] * 5
    last = joint_table(learner, StagedState(torch.tensor([2])))
    torch.testing.assert_close(last, torch.tensor([[0.0, 1], [1, 8]]).expand(5, 2, 2), atol=0.25, rtol=0)
