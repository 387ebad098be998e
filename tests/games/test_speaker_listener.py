from collections import Counter
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.games.speaker_listener import NO_MESSAGE, SpeakerListener, SpeakerListenerState

EPISODES = 48
STEPS = 25
ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


class Tolerance(NamedTuple):
    """First-order bounds on rounding errors, in units of the rounding error u; see tolerance()."""

    view: float
    reward: float


def tolerance(steps, velocity, position):
    """Bounds after some steps, from the rounding errors of the first velocity and position.

    The largest numbers that occur: |v| < 0.5 / (1 - 0.75) = 2, |p| < 1 + 25 * 0.2 = 6, |landmark - p| < 7. A step
    rounds 0.1, its product with v, and the sum; then the product 0.75 v and its sum. The view adds the rounding of a
    landmark and of the difference; a reward is two squares below 49 and their sum.
    """
    for _ in range(steps):
        position += 0.1 * velocity + 0.2 + 0.2 + 6
        velocity = 0.75 * velocity + 1.5 + 2
    view = position + 1 + 7
    return Tolerance(max(view, velocity), 2 * (2 * 7 * view + 49) + 98)


EPISODE = tolerance(STEPS, velocity=0, position=1)
ONE_STEP = tolerance(1, velocity=2, position=6)
# mpe2 rounds as well (float64), and terms of second order are not counted above.
SAFETY = 2


def start(K=1, dtype=torch.float64, goal=0):
    """A state to compute with by hand: at rest in the origin."""
    landmarks = torch.tensor([[1.0, 0], [0, 1], [-1, -1]], dtype=dtype)
    return SpeakerListenerState(
        position=torch.zeros(K, 2, dtype=dtype),
        velocity=torch.zeros(K, 2, dtype=dtype),
        landmarks=landmarks.expand(K, 3, 2),
        goal=torch.full((K,), goal),
        message=torch.full((K,), NO_MESSAGE),
        time=torch.zeros(K, dtype=torch.int64),
    )


def random_actions(*shape, seed=0):
    """Legal joint actions [*shape, 2]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, shape, generator=generator) for size in (3, 5)], -1)


def moving(K, dtype=torch.float64):
    """K copies in the middle of different episodes."""
    game = SpeakerListener(dtype=dtype)
    torch.manual_seed(1)
    state = game.reset(K)
    for actions in random_actions(4, K):
        state = game.step(state, actions)[0]
    return game, state


def test_three_steps_by_hand():
    game = SpeakerListener(dtype=torch.float64)
    state, seen = start(), []
    for actions in ([2, 2], [0, 4], [1, 0]):
        state, rewards, _, _ = game.step(state, torch.tensor([actions]))
        assert rewards[0, 0] == rewards[0, 1]
        seen.append([*state.position[0].tolist(), *state.velocity[0].tolist(), rewards[0, 0].item()])
    # A push shows in the position one step later: the position moves with the velocity of before.
    assert seen[0] == [0, 0, 0.5, 0, -1]
    assert seen[1] == pytest.approx([0.05, 0, 0.375, 0.5, -(0.95**2)], abs=1e-15)
    assert seen[2] == pytest.approx([0.0875, 0.05, 0.28125, 0.375, -0.83515625], abs=1e-15)


def test_what_the_agents_observe_by_hand():
    game = SpeakerListener(dtype=torch.float64)
    assert game.observe(start())[0].tolist() == [
        [0.65, 0.15, 0.15, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 1, -1, -1, 0, 0, 0],
    ]
    state = game.step(start(goal=2), torch.tensor([[1, 3]]))[0]
    expected = [[0.15, 0.15, 0.65], [0, -0.5, 1, 0, 0, 1, -1, -1, 0, 1, 0]]
    observed = game.observe(state)[0]
    assert observed[0, :3].tolist() == expected[0]
    assert observed[1].tolist() == expected[1]
    assert game.centralized(state)[0].tolist() == expected[0] + expected[1]


@pytest.mark.parametrize(("move", "push"), list(enumerate([(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])))
def test_every_move_pushes_its_way(move, push):
    game = SpeakerListener(dtype=torch.float64)
    state = game.step(start(), torch.tensor([[0, move]]))[0]
    assert tuple(state.velocity[0].tolist()) == push


@pytest.mark.parametrize("goal", range(3))
def test_the_reward_is_about_the_goal_landmark_alone(goal):
    game = SpeakerListener(dtype=torch.float64)
    landmarks = torch.tensor([[[1.0, 0], [0, 2], [2, 2]]], dtype=torch.float64)
    _, rewards, _, _ = game.step(start(goal=goal)._replace(landmarks=landmarks), torch.tensor([[0, 0]]))
    assert rewards.tolist() == [[-(1, 4, 8)[goal]] * 2]


def exact_episode(position, velocity, target, moves):
    """Rewards of an episode in rational numbers, from the rules as stated in the module."""
    pushes = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    rewards = []
    for move in moves:
        position = [p + v / 10 for p, v in zip(position, velocity, strict=True)]
        velocity = [Fraction(3, 4) * v + Fraction(push, 2) for v, push in zip(velocity, pushes[move], strict=True)]
        rewards.append(-sum((p - t) ** 2 for p, t in zip(position, target, strict=True)))
    return rewards


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_episodes_agree_with_rational_arithmetic(dtype):
    game, K = SpeakerListener(dtype=dtype), 5
    torch.manual_seed(0)
    state, actions = game.reset(K), random_actions(STEPS, K)
    exact = []
    for k in range(K):
        position, target = (
            list(map(Fraction, x[k].tolist())) for x in (state.position, state.landmarks[:, state.goal[k]])
        )
        exact.append(exact_episode(position, [Fraction(0)] * 2, target, actions[:, k, 1].tolist()))
    for t in range(STEPS):
        state, rewards, _, _ = game.step(state, actions[t])
        expected = torch.tensor([[float(exact[k][t])] * 2 for k in range(K)], dtype=torch.float64)
        torch.testing.assert_close(rewards.double(), expected, rtol=0, atol=SAFETY * EPISODE.reward * ROUNDING[dtype])


def test_the_message_is_heard_one_step_and_only_by_the_listener():
    game = SpeakerListener()
    state = game.step(start(3, torch.float32), torch.tensor([[0, 0], [1, 0], [2, 0]]))[0]
    assert torch.equal(game.observe(state)[:, 1, -3:], torch.eye(3))
    assert torch.equal(game.observe(state)[:, 0], game.observe(start(3, torch.float32))[:, 0])
    state = game.step(state, torch.tensor([[2, 0], [2, 0], [2, 0]]))[0]
    assert torch.equal(game.observe(state)[:, 1, -3:], torch.eye(3)[[2, 2, 2]])


def test_only_the_speaker_sees_the_goal():
    game = SpeakerListener()
    observations = torch.stack([game.observe(start(dtype=torch.float32, goal=goal))[0] for goal in range(3)])
    assert len(observations[:, 0].unique(dim=0)) == 3
    assert len(observations[:, 1].unique(dim=0)) == 1


def test_an_episode_is_cut_off_after_25_steps_and_never_terminates():
    game = SpeakerListener()
    state, flags = game.reset(3), []
    state = state._replace(time=torch.tensor([0, 0, 10]))
    for actions in random_actions(30, 3):
        state, _, terminated, truncated = game.step(state, actions)
        assert not terminated.any()
        flags.append(truncated.tolist())
    assert [sum(not flag for flag in copy) for copy in zip(*flags, strict=True)] == [24, 24, 14]
    assert all(flags[-1])


def test_standing_on_the_goal_ends_nothing():
    game = SpeakerListener(dtype=torch.float64)
    _, rewards, terminated, truncated = game.step(
        start()._replace(position=torch.tensor([[1.0, 0]]).double()), torch.tensor([[0, 0]])
    )
    assert rewards.tolist() == [[0, 0]]
    assert not terminated.any()
    assert not truncated.any()


def test_copies_are_independent():
    game, state = moving(32)
    actions = random_actions(32, seed=5)
    after, rewards, terminated, truncated = game.step(state, actions)
    observed, central = game.observe(after), game.centralized(after)
    for k in range(32):
        own = SpeakerListenerState(*(part[k : k + 1] for part in state))
        next_own, *rest = game.step(own, actions[k : k + 1])
        assert all(torch.equal(a, b[k : k + 1]) for a, b in zip(next_own, after, strict=True))
        together = (rewards, terminated, truncated)
        assert all(torch.equal(a, b[k : k + 1]) for a, b in zip(rest, together, strict=True))
        assert torch.equal(game.observe(next_own), observed[k : k + 1])
        assert torch.equal(game.centralized(next_own), central[k : k + 1])


def test_a_step_changes_no_argument_and_draws_nothing():
    game, state = moving(16)
    actions = random_actions(16)
    before = [part.clone() for part in (*state, actions)]
    generator = torch.get_rng_state()
    first, second = game.step(state, actions), game.step(state, actions)
    game.observe(state), game.centralized(state), game.available(state)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(a, b) for a, b in zip(before, (*state, actions), strict=True))
    assert all(torch.equal(a, b) for a, b in zip((*first[0], *first[1:]), (*second[0], *second[1:]), strict=True))


def test_padding_is_masked():
    game = SpeakerListener()
    state = game.reset(4)
    assert game.available(state).tolist() == [[[True] * 3 + [False] * 2, [True] * 5]] * 4
    assert not game.observe(state)[:, 0, 3:].any()
    sizes = (game.n_agents, game.n_actions, game.observation_size, game.state_size)
    assert sizes == (2, 5, 11, 14)
    assert game.observe(state).shape == (4, 2, 11)
    assert game.centralized(state).shape == (4, 14)
    assert game.common_reward


def test_an_action_that_is_not_there_pays_nan_to_its_copy_alone_until_it_is_replaced():
    game = SpeakerListener()
    actions = torch.tensor([[2, 4], [3, 0], [0, 5], [-1, 0], [0, -1]])
    state, rewards, terminated, truncated = game.step(game.reset(5), actions)
    assert rewards.isnan().all(-1).tolist() == [False, True, True, True, True]
    assert not (terminated | truncated).any()
    _, rewards, _, _ = game.step(state, torch.zeros(5, 2, dtype=torch.int64))
    assert rewards.isnan().all(-1).tolist() == [False, True, True, True, True]
    assert not rewards[0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_has_the_wanted_dtype(dtype):
    game, state = moving(3, dtype)
    _, rewards, _, _ = game.step(state, random_actions(3))
    parts = (rewards, game.observe(state), game.centralized(state), state.position, state.velocity, state.landmarks)
    assert {part.dtype for part in parts} == {dtype}
    assert {part.dtype for part in (state.goal, state.message, state.time)} == {torch.int64}


def test_a_dtype_without_fractions_is_refused():
    with pytest.raises(InputError, match="int64"):
        SpeakerListener(dtype=torch.int64)


def test_everything_lies_on_the_wanted_device():
    game = SpeakerListener(device="meta")
    state = game.reset(4)
    after, *rest = game.step(state, torch.zeros(4, 2, dtype=torch.int64, device="meta"))
    results = (*state, *after, *rest, game.observe(after), game.centralized(after), game.available(after))
    assert {part.device.type for part in results} == {"meta"}
    assert game.device == torch.device("meta")


@pytest.mark.parametrize("K", [0, -1, True])
def test_the_number_of_copies_is_positive(K):
    with pytest.raises(InputError, match="positive"):
        SpeakerListener().reset(K)


def test_fresh_copies_are_drawn_as_stated():
    torch.manual_seed(0)
    state = SpeakerListener(dtype=torch.float64).reset(20_000)
    assert not state.velocity.any()
    assert not state.time.any()
    assert (state.message == NO_MESSAGE).all()
    assert stats.chisquare(torch.bincount(state.goal, minlength=3)).pvalue > 1e-4
    coordinates = torch.cat([state.position, state.landmarks.flatten(1)], 1)
    for column in coordinates.T:
        assert stats.kstest(column.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    together = torch.cat([coordinates, torch.nn.functional.one_hot(state.goal)[:, :2]], 1)
    correlation = torch.corrcoef(together.T)[:8]
    off_diagonal = correlation - torch.eye(8, 10, dtype=torch.float64)
    assert off_diagonal.abs().max() < 5 / 20_000**0.5


def test_the_default_generator_decides_a_reset():
    game = SpeakerListener()
    torch.manual_seed(3)
    first, second = game.reset(5), game.reset(5)
    torch.manual_seed(3)
    again = game.reset(5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.position, second.position)


def test_the_protocol_is_met():
    assert isinstance(SpeakerListener(), BatchedGame)
    assert SpeakerListener().name == "Speaker-Listener"


def test_no_method_looks_at_values_on_the_host():
    game = SpeakerListener()
    with FakeTensorMode(allow_non_fake_inputs=True):
        state, rewards, _, _ = game.step(game.reset(4), torch.zeros(4, 2, dtype=torch.int64))
        game.observe(state), game.centralized(state), game.available(state)
        with pytest.raises(DataDependentOutputException):
            bool(rewards.any())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_cuda_never_synchronises_and_agrees_with_the_host():
    game, state = moving(8)
    actions = random_actions(8)
    _, expected, _, _ = game.step(state, actions)
    cuda = SpeakerListener(device="cuda", dtype=torch.float64)
    state, actions = SpeakerListenerState(*(part.cuda() for part in state)), actions.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        cuda.reset(8)
        after, rewards, _, _ = cuda.step(state, actions)
        cuda.observe(after), cuda.centralized(after), cuda.available(after)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(rewards.cpu(), expected)


class Recording(NamedTuple):
    """What mpe2 did: EPISODES episodes of STEPS steps, float64, first axes [E, T]."""

    before: SpeakerListenerState
    actions: torch.Tensor
    speaker: torch.Tensor
    listener: torch.Tensor
    central: torch.Tensor
    rewards: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    near_landmark: torch.Tensor
    near_speaker: torch.Tensor


def copied(world, time):
    """The state of an mpe2 world as one copy without the leading axis."""
    speaker, listener = world.agents
    sent = np.flatnonzero(speaker.state.c)
    goal = [mark is speaker.goal_b for mark in world.landmarks].index(True)
    return SpeakerListenerState(
        position=torch.tensor(listener.state.p_pos),
        velocity=torch.tensor(listener.state.p_vel),
        landmarks=torch.tensor(np.array([mark.state.p_pos for mark in world.landmarks])),
        goal=torch.tensor(goal),
        message=torch.tensor(int(sent[0]) if len(sent) else NO_MESSAGE),
        time=torch.tensor(time),
    )


def chosen_actions(world, generator, steering):
    """A random message, and a random move or one towards the goal along the longer axis."""
    move = generator.integers(5)
    if steering:
        way = world.agents[0].goal_b.state.p_pos - world.agents[1].state.p_pos - 0.4 * world.agents[1].state.p_vel
        axis = int(np.argmax(np.abs(way)))
        move = 1 + 2 * axis + (way[axis] > 0)
    return {"speaker_0": int(generator.integers(3)), "listener_0": int(move)}


def touching(entity, others):
    """Whether two discs overlap, which in a scenario with collisions would push them apart."""
    return any(np.linalg.norm(entity.state.p_pos - o.state.p_pos) < entity.size + o.size for o in others)


def recorded_step(env, world, generator, time, steering):
    scenario = env.aec_env.unwrapped.scenario
    before, chosen = copied(world, time), chosen_actions(world, generator, steering)
    _, rewards, terminated, truncated, _ = env.step(chosen)
    seen = [torch.tensor(scenario.observation(agent, world)) for agent in world.agents]
    names = ("speaker_0", "listener_0")
    return Recording(
        before,
        torch.tensor([chosen[name] for name in names]),
        *seen,
        torch.tensor(env.state()),
        torch.tensor([rewards[name] for name in names], dtype=torch.float64),
        torch.tensor([terminated[name] for name in names]),
        torch.tensor([truncated[name] for name in names]),
        torch.tensor(touching(world.agents[1], world.landmarks)),
        torch.tensor(touching(world.agents[1], world.agents[:1])),
    )


def recorded_episode(env, seed):
    env.reset(seed=seed)
    world, generator = env.aec_env.unwrapped.world, np.random.default_rng(seed)
    if seed % 6 == 0:
        world.agents[1].state.p_pos = world.agents[0].state.p_pos.copy()
    if seed % 6 == 1:
        world.agents[1].state.p_pos = world.landmarks[0].state.p_pos.copy()
    return stacked([recorded_step(env, world, generator, time, seed % 2 == 0) for time in range(STEPS)])


def stacked(recordings):
    states = SpeakerListenerState(*(torch.stack(parts) for parts in zip(*(r.before for r in recordings), strict=True)))
    return Recording(states, *(torch.stack(parts) for parts in zip(*(r[1:] for r in recordings), strict=True)))


@pytest.fixture(scope="module")
def peer():
    reason = "mpe2 is not installed (pip install 'marlspec[peers]')"
    mpe2 = pytest.importorskip("mpe2.simple_speaker_listener_v4", reason=reason)
    return mpe2.parallel_env(max_cycles=STEPS)


@pytest.fixture(scope="module")
def recording(peer):
    return stacked([recorded_episode(peer, seed) for seed in range(EPISODES)])


def cast(state, dtype):
    return SpeakerListenerState(*(part.to(dtype) if part.is_floating_point() else part for part in state))


def assert_agree(game, state, rewards, peer, allowed, dtype):
    """Compare one moment; peer is a Recording with a single batch axis."""
    unit = SAFETY * ROUNDING[dtype]
    observed, view = game.observe(state).double(), unit * allowed.view
    # Colours are constants, rounded once; messages are exact.
    torch.testing.assert_close(observed[:, 0, :3], peer.speaker, rtol=0, atol=unit)
    torch.testing.assert_close(observed[:, 1], peer.listener, rtol=0, atol=view)
    assert torch.equal(observed[:, 1, -3:], peer.listener[:, -3:])
    torch.testing.assert_close(rewards.double(), peer.rewards, rtol=0, atol=unit * allowed.reward)
    # mpe2 rounds its state() to float32: one rounding of numbers below 8.
    central = game.centralized(state).double()
    torch.testing.assert_close(central, peer.central.double(), rtol=0, atol=view + 2**-21)


def part_of(recording, index):
    return Recording(
        SpeakerListenerState(*(part[index] for part in recording.before)), *(p[index] for p in recording[1:])
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_episodes_agree_with_mpe2(recording, dtype):
    game = SpeakerListener(dtype=dtype)
    state = cast(part_of(recording, np.s_[:, 0]).before, dtype)
    for t in range(STEPS):
        now = part_of(recording, np.s_[:, t])
        state, rewards, terminated, truncated = game.step(state, now.actions)
        assert_agree(game, state, rewards, now, EPISODE, dtype)
        assert torch.equal(terminated[:, None].expand(-1, 2), now.terminated)
        assert torch.equal(truncated[:, None].expand(-1, 2), now.truncated)
        assert torch.equal(state.time == STEPS, truncated)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_steps_from_identical_states_agree_with_mpe2(recording, dtype):
    every = SpeakerListenerState(*(part.flatten(0, 1) for part in recording.before))
    after = Recording(every, *(part.flatten(0, 1) for part in recording[1:]))
    game = SpeakerListener(dtype=dtype)
    state, rewards, _, _ = game.step(cast(every, dtype), after.actions)
    assert_agree(game, state, rewards, after, ONE_STEP, dtype)


def test_the_comparison_met_everything_there_is(recording):
    met = {
        "goals": Counter(recording.before.goal[:, 0].tolist()),
        "messages": Counter(recording.actions[..., 0].flatten().tolist()),
        "moves": Counter(recording.actions[..., 1].flatten().tolist()),
        "touching": (int(recording.near_landmark.sum()), int(recording.near_speaker.sum())),
        "unheard": int((recording.before.message == NO_MESSAGE).sum()),
    }
    assert recording.rewards.shape == (EPISODES, STEPS, 2)
    assert set(met["goals"]) == {0, 1, 2}
    assert min(met["goals"].values()) >= 10
    assert set(met["messages"]) == {0, 1, 2}
    assert min(met["messages"].values()) >= 300
    assert set(met["moves"]) == {0, 1, 2, 3, 4}
    assert min(met["moves"].values()) >= 100
    assert min(met["touching"]) >= 20
    assert met["unheard"] == EPISODES
    assert recording.before.velocity.abs().max() > 1
    assert recording.truncated.sum() == 2 * EPISODES
    assert not recording.terminated.any()


def test_the_sizes_are_those_of_mpe2(peer):
    game = SpeakerListener()
    actions = [int(peer.action_space(name).n) for name in peer.possible_agents]
    assert game.available(game.reset(1))[0].sum(-1).tolist() == actions
    observations = [peer.observation_space(name).shape[0] for name in peer.possible_agents]
    assert game.observation_size == max(observations)
    assert game.state_size == sum(observations) == peer.state_space.shape[0]


def test_as_in_mpe2_no_speed_is_too_high(peer):
    game, generator = SpeakerListener(dtype=torch.float64), np.random.default_rng(0)
    for seed in range(10):
        peer.reset(seed=seed)
        world = peer.aec_env.unwrapped.world
        world.agents[1].state.p_vel = generator.uniform(-50, 50, 2)
        state = SpeakerListenerState(*(part[None] for part in copied(world, 0)))
        chosen = chosen_actions(world, generator, steering=False)
        peer.step(chosen)
        after = game.step(state, torch.tensor([list(chosen.values())]))[0]
        # Numbers below 64 after at most three roundings each.
        expected = torch.tensor(np.array([[world.agents[1].state.p_pos], [world.agents[1].state.p_vel]]))
        torch.testing.assert_close(torch.stack([after.position, after.velocity]), expected, rtol=0, atol=200 * 2**-53)
