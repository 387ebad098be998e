"""COMA line by line; the learner's update against loops over seeds, agents, episodes and time steps in float64."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame
from marlspec.reference.centralized import coma
from marlspec.reference.parts.config import COMAConfig
from marlspec.reference.parts.policies import floored_log_policy

S, K, T, n, h, z, A = 2, 3, 4, 2, 4, 5, 3
SETTINGS = {
    "seeds": S,
    "copies": K,
    "horizon": T,
    "hidden": (3,),
    "learning_rate": 0.01,
    "critic_learning_rate": 0.03,
    "gamma": 0.75,
    "td_lambda": 0.5,
    "target_interval": 6,
    "epsilon_start": 0.5,
    "epsilon_end": 0.25,
    "epsilon_steps": 2,
    "history": "observation",
}


def make(game, **changes):
    return coma.COMA(game, COMAConfig(**{**SETTINGS, **changes}))


def randomised(learner, scale=1.0):
    """Give every network parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return learner


def random_actions(available):
    return torch.where(available, torch.rand(available.shape), -1.0).argmax(-1)


def random_batch(lengths, ends):
    """Episodes of these lengths [S][K] that end so [S][K]: terminated, truncated, or cut off by the horizon.

    After the end come numbers like any others.
    """
    lengths, axes = torch.tensor(lengths), (S, K, T, n)
    available = torch.rand(*axes, A) < 0.6
    available[..., 1] = True
    available[0, 0, 0, 1] = False  # an agent without any available action
    at_the_end = torch.arange(T) == lengths.unsqueeze(-1) - 1
    action = random_actions(available | ~available.any(-1, keepdim=True))
    goes_on = (torch.arange(T) < lengths.unsqueeze(-1) - 1).unsqueeze(-1)
    next_action = torch.where(goes_on, action.roll(-1, 2), torch.randint(A, axes))
    last_action = torch.nn.functional.one_hot(action, A).roll(1, 2).double()
    last_action[:, :, 0] = 0
    history, z_ = torch.randn(*axes, h).double(), torch.randn(S, K, T, z).double()
    return coma.Episodes(
        history=history,
        z=z_,
        available=available,
        last_action=last_action,
        action=action,
        reward=torch.randn(S, K, T).double(),
        next_history=torch.where(goes_on.unsqueeze(-1), history.roll(-1, 2), torch.randn(*axes, h).double()),
        next_z=torch.where(goes_on, z_.roll(-1, 2), torch.randn(S, K, T, z).double()),
        next_action=next_action,
        terminated=at_the_end & (torch.tensor(ends) == 1).unsqueeze(-1),
        truncated=at_the_end & (torch.tensor(ends) == 2).unsqueeze(-1),
        running=torch.arange(T) < lengths.unsqueeze(-1),
    )


LENGTHS, ENDS = [[1, 3, 4], [2, 3, 1]], [[1, 2, 0], [2, 1, 1]]  # the second seed's last time step is nobody's


def view(i, action, z, history, last_action):
    """What agent i's critic sees, part by part."""
    others = [float(a == action[j]) if j != i else 0.0 for j in range(n) for a in range(A)]
    return np.array([*others, *z, *last_action.flatten(), *history[i], *(float(j == i) for j in range(n))])


def critic(oracle, theta, s, i, *seen):
    """The values of agent i's actions: all agents share the network, which counts as agent 0's."""
    return oracle.utilities(theta, s, 0, view(i, *seen))


def bootstrap(oracle, theta_bar, batch, s, k, t, i):
    """The target critic's value of what agent i does in the state that time step t led to."""
    action, last_action = batch.next_action[s, k, t], np.eye(A)[batch.action[s, k, t]]
    q = critic(oracle, theta_bar, s, i, action, batch.next_z[s, k, t], batch.next_history[s, k, t], last_action)
    return q[action[i]]


def targets(oracle, theta_bar, batch, gamma, lam):
    """y by its definition: a mean of returns of 1, 2, .. rewards with weights 1 - lambda, (1 - lambda) lambda, ..."""
    y = np.zeros(batch.action.shape)
    for s, k, t, i in np.ndindex(y.shape):
        length = int(batch.running[s, k].sum())
        returns = []
        for end in range(t, length):
            G = sum(gamma ** (u - t) * batch.reward[s, k, u] for u in range(t, end + 1))
            if not batch.terminated[s, k, end]:
                G += gamma ** (end + 1 - t) * bootstrap(oracle, theta_bar, batch, s, k, end, i)
            returns.append(G)
        weights = [(1 - lam) * lam**m for m in range(len(returns))]
        if returns:
            weights[-1] = 1 - sum(weights[:-1])
        y[s, k, t, i] = sum(w * G for w, G in zip(weights, returns, strict=True))
    return y


def values_taken(oracle, theta, batch, s, k, t):
    """The values of all actions of each agent at one time step, [n][A]."""
    seen = (batch.action[s, k, t], batch.z[s, k, t], batch.history[s, k, t], batch.last_action[s, k, t])
    return [critic(oracle, theta, s, i, *seen) for i in range(n)]


def critic_losses(oracle, theta, batch, y, t):
    total = [0.0] * S
    for s, k in np.ndindex(S, K):
        if batch.running[s, k, t]:
            q = values_taken(oracle, theta, batch, s, k, t)
            errors = [(y[s, k, t, i] - q[i][batch.action[s, k, t, i]]) ** 2 for i in range(n)]
            total[s] += np.mean(errors) / batch.running[s, :, t].sum()
    return total


def log_policy(oracle, phi, batch, s, k, t, i, epsilon):
    """The log-probabilities of the floored policy."""
    available = batch.available[s, k, t, i]
    allowed = available if available.any() else ~available
    softmax = np.exp(oracle.log_policy(phi, s, i, batch.history[s, k, t, i], allowed))
    with np.errstate(divide="ignore"):
        return np.log((1 - epsilon) * softmax + epsilon * allowed / allowed.sum())


def advantages(oracle, theta, phi, batch, epsilon):
    result = np.zeros(batch.action.shape)
    for s, k, t, i in np.ndindex(result.shape):
        q = values_taken(oracle, theta, batch, s, k, t)[i]
        pi = np.exp(log_policy(oracle, phi, batch, s, k, t, i, epsilon))
        result[s, k, t, i] = q[batch.action[s, k, t, i]] - sum(p * own for p, own in zip(pi, q, strict=True))
    return result


def actor_losses(oracle, phi, batch, adv, epsilon):
    total = [0.0] * S
    for s, k, t, i in np.ndindex(adv.shape):
        if batch.running[s, k, t]:
            log_pi = log_policy(oracle, phi, batch, s, k, t, i, epsilon)
            total[s] -= adv[s, k, t, i] * log_pi[batch.action[s, k, t, i]] / K
    return total


class RMSprop:
    """RMSprop by its definition, with PyTorch's default constants."""

    def __init__(self, parameters, rate):
        self.parameters, self.rate = parameters, rate
        self.square = [np.zeros_like(p) for p in parameters]

    def step(self, gradients):
        for p, g, v in zip(self.parameters, gradients, self.square, strict=True):
            v[...] = 0.99 * v + 0.01 * g**2
            p -= self.rate * g / (np.sqrt(v) + 1e-8)


def test_updates_agree_with_loops_in_float64(corridor, oracle):
    """Two updates of four critic steps each; the target critic follows after six."""
    learner = randomised(make(corridor)).double()
    phi, theta, theta_bar = (oracle.numbers(own) for own in (learner.phi, learner.theta, learner.theta_bar))
    actors, critics = RMSprop(phi, 0.01), RMSprop(theta, 0.03)
    critic_steps = 0
    for epsilon in (0.5, 0.375):
        batch = random_batch(LENGTHS, ENDS)
        data = oracle.in_numpy(batch)
        y, expected = targets(oracle, theta_bar, data, 0.75, 0.5), np.zeros(S)
        for t in reversed(range(T)):

            def loss_of_step(data=data, y=y, t=t):
                return critic_losses(oracle, theta, data, y, t)

            expected += loss_of_step()
            steepest = oracle.slopes(lambda own=loss_of_step: sum(own()), theta)
            critics.step(steepest)
            critic_steps += 1
            if critic_steps == 6:
                theta_bar = [number.copy() for number in theta]
        adv = advantages(oracle, theta, phi, data, epsilon)

        def loss_of_actors(data=data, adv=adv, epsilon=epsilon):
            return actor_losses(oracle, phi, data, adv, epsilon)

        expected += loss_of_actors()
        downhill = oracle.slopes(lambda own=loss_of_actors: sum(own()), phi)
        losses = learner.learn(batch)
        np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-4)
        gradients = ((learner.phi, downhill), (learner.theta, steepest))
        for parameter, gradient in [
            pair for own, slopes in gradients for pair in zip(own.parameters(), slopes, strict=True)
        ]:
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-3, atol=1e-6)
        actors.step(downhill)
        pairs = ((learner.theta, theta), (learner.theta_bar, theta_bar), (learner.phi, phi))
        for network, numbers in pairs:
            for parameter, number in zip(network.parameters(), numbers, strict=True):
                np.testing.assert_allclose(parameter.detach().numpy(), number, atol=1e-5)
    assert learner.updates == 2


def dyadic(*shape):
    """Multiples of 1/4 from -8 to 8."""
    return torch.randint(-32, 33, shape).double() / 4


def dyadic_policies(*shape):
    """Probabilities that are multiples of 1/16."""
    cuts = torch.randint(17, (*shape[:-1], shape[-1] - 1)).sort(-1).values.double() / 16
    ends = torch.zeros(*shape[:-1], 1).double()
    return torch.cat([ends, cuts, ends + 1], -1).diff(dim=-1)


def test_advantages_of_an_agents_actions_add_up_to_zero_under_its_policy():
    """Exactly: the numbers are dyadic, so that nothing is rounded."""
    q, pi = dyadic(500, 3, 5), dyadic_policies(500, 3, 5)
    each = [coma.counterfactual_advantage(q, pi, torch.full((500, 3), a)) for a in range(5)]
    assert torch.equal((pi * torch.stack(each, -1)).sum(-1), torch.zeros(500, 3).double())
    assert not any(torch.equal(own, torch.zeros(500, 3).double()) for own in each)


def test_counterfactual_advantage():
    q, pi = torch.tensor([[1.0, 3.0, 5.0], [4.0, 0.0, 8.0]]), torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    assert coma.counterfactual_advantage(q, pi, torch.tensor([2, 1])).tolist() == [2.5, -4.0]


def test_adding_a_constant_changes_no_advantage():
    q, pi, action = dyadic(100, 2, 4), dyadic_policies(100, 2, 4), torch.randint(4, (100, 2))
    advantages = coma.counterfactual_advantage(q, pi, action)
    assert torch.equal(coma.counterfactual_advantage(q + 3.25, pi, action), advantages)


def test_the_baseline_adds_no_bias_to_the_policy_gradient():
    """In rationals, by enumerating all joint actions of three agents: E[grad log pi_i A_i] = E[grad log pi_i Q].

    The gradients are those of a softmax's logits, e_a - pi.
    """
    agents, actions = 3, 3
    table = dyadic(*[actions] * agents)
    pi = dyadic_policies(agents, actions)
    exact = [[Fraction(p) for p in own] for own in pi.tolist()]
    with_baseline, without = (np.full((agents, actions), Fraction(0)) for _ in range(2))
    for joint in product(range(actions), repeat=agents):
        q = torch.stack(
            [table[tuple(slice(None) if j == i else joint[j] for j in range(agents))] for i in range(agents)]
        )
        advantages = coma.counterfactual_advantage(q, pi, torch.tensor(joint)).tolist()
        chance = math.prod(own[a] for own, a in zip(exact, joint, strict=True))
        for i, a in np.ndindex(agents, actions):
            score = (a == joint[i]) - exact[i][a]
            with_baseline[i, a] += chance * score * Fraction(advantages[i])
            without[i, a] += chance * score * Fraction(table[joint].item())
    assert (with_baseline == without).all()
    assert (without != 0).any()


def test_the_floored_policy_mixes_in_the_uniform_one_over_available_actions():
    logits = torch.tensor([[0.0, math.log(3), 9.0], [math.log(2), 0.0, math.log(5)], [1.0, 1.0, 1.0]])
    available = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    pi = floored_log_policy(logits.double(), available, 0.25).exp()
    expected = [[3 / 16 + 1 / 8, 9 / 16 + 1 / 8, 0], [3 / 16 + 1 / 12, 3 / 32 + 1 / 12, 15 / 32 + 1 / 12], [1 / 3] * 3]
    torch.testing.assert_close(pi, torch.tensor(expected).double())


@pytest.mark.parametrize(("epsilon", "expected"), [(0.0, [1.0, 0.0, 0.0]), (1.0, [0.5, 0.5, 0.0])])
def test_the_floored_policy_is_finite_without_a_floor_and_with_nothing_else(epsilon, expected):
    logits = torch.tensor([[500.0, 0.0, 0.0]], requires_grad=True)
    log_pi = floored_log_policy(logits, torch.tensor([[True, True, False]]), epsilon)
    assert log_pi.exp().tolist() == [expected]
    log_pi[0, :2].sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0


def test_the_gradient_is_that_of_the_floored_policy():
    """d log P(a) / d logit_b = (1 - epsilon) softmax_a (1[a = b] - softmax_b) / P(a)."""
    logits = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64, requires_grad=True)
    floored_log_policy(logits, torch.ones(1, 2, dtype=torch.bool), 0.5)[0, 0].backward()
    slope = 0.5 * 0.25 * 0.75 / (0.5 * 0.25 + 0.25)
    torch.testing.assert_close(logits.grad, torch.tensor([[slope, -slope]]).double())


def test_the_critic_sees_others_actions_state_history_agent_and_last_joint_action():
    action, z_, history = torch.tensor([[2, 0]]), torch.tensor([[7.0, 8.0]]), torch.tensor([[[3.0], [4.0]]])
    last_action = torch.tensor([[[0.0, 1, 0], [0, 0, 1]]])
    x = coma.critic_input(action, z_, history, last_action)
    shared = [7, 8, 0, 1, 0, 0, 0, 1]
    assert x.tolist() == [[[0, 0, 0, 1, 0, 0, *shared, 3, 1, 0], [0, 0, 1, 0, 0, 0, *shared, 4, 0, 1]]]


def test_no_agents_view_depends_on_its_own_action():
    action = torch.randint(4, (6, 3))
    rest = (torch.randn(6, 2), torch.randn(6, 3, 5), torch.rand(6, 3, 4))
    for i in range(3):
        other = action.clone()
        other[:, i] = (other[:, i] + 1) % 4
        same = coma.critic_input(action, *rest) == coma.critic_input(other, *rest)
        assert same[:, i].all()
        assert not same[:, [j for j in range(3) if j != i]].all(-1).any()


def targets_of(reward, terminated, truncated, values, gamma, lam):
    as_tensors = (torch.tensor(reward), torch.tensor(terminated), torch.tensor(truncated))
    return coma.target(*as_tensors, torch.tensor(values).unsqueeze(-1), gamma, lam).squeeze(-1).tolist()


NEVER = [False, False, False]


def test_targets_of_an_episode_that_goes_on_past_the_horizon():
    y = targets_of([4.0, 8.0, 16.0], NEVER, NEVER, [32.0, 64.0, 128.0], 0.5, 0.5)
    third = 16 + 64
    second = 8 + 0.5 * (32 + third / 2)
    assert y == [4 + 0.5 * (16 + second / 2), second, third]


def test_targets_do_not_bootstrap_past_termination_but_past_truncation():
    over = [False, True, False]
    assert targets_of([4.0, 8.0, 1.0], over, NEVER, [32.0, 64.0, 2.0], 0.5, 0.5)[:2] == [4 + 0.5 * (16 + 4), 8]
    assert targets_of([4.0, 8.0, 1.0], NEVER, over, [32.0, 64.0, 2.0], 0.5, 0.5)[:2] == [4 + 0.5 * (16 + 20), 40]
    assert targets_of([4.0, 8.0, 1.0], over, over, [32.0, 64.0, 2.0], 0.5, 0.5)[1] == 8


@pytest.mark.parametrize(("lam", "expected"), [(0.0, [20.0, 40.0, 80.0]), (1.0, [28.0, 48.0, 80.0])])
def test_targets_without_and_with_full_weight_on_the_longest_return(lam, expected):
    assert targets_of([4.0, 8.0, 16.0], NEVER, NEVER, [32.0, 64.0, 128.0], 0.5, lam) == expected


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf])
def test_targets_ignore_whatever_comes_after_the_end(nonsense):
    y = targets_of([4.0, 8.0, nonsense], [False, True, False], NEVER, [32.0, nonsense, nonsense], 0.5, 0.5)
    assert y[:2] == [14.0, 8.0]


@pytest.mark.parametrize("nonsense", [math.nan, math.inf])
def test_critic_loss_is_a_mean_over_running_episodes_and_all_agents(nonsense):
    y = torch.tensor([[1.0, 0.0], [2.0, 4.0], [nonsense, nonsense]])
    values = torch.tensor([[0.0, 2.0], [5.0, 0.0], [1.0, 1.0]], requires_grad=True)
    loss = coma.critic_loss(y, values, torch.tensor([True, True, False]))
    assert loss.item() == (1 + 4 + 9 + 16) / 4
    loss.backward()
    assert values.grad.tolist() == [[-0.5, 1.0], [1.5, -2.0], [0.0, 0.0]]


def test_a_time_step_after_all_ends_moves_no_critic(corridor, oracle):
    learner = make(corridor)
    batch = random_batch([[1, 1, 1], [2, 1, 1]], [[1, 1, 1], [1, 1, 1]])
    batch = coma.Episodes(*(field.float() if field.is_floating_point() else field for field in batch))
    learner.learn(batch._replace(running=torch.zeros(S, K, T, dtype=torch.bool)))
    for kept, moved in zip(learner.parameters(), make_again(corridor).parameters(), strict=True):
        assert torch.equal(kept, moved)


def make_again(game):
    torch.manual_seed(7)
    return make(game)


def test_actor_loss_sums_over_time_and_averages_over_episodes():
    adv = torch.tensor([[[2.0, 1.0], [4.0, 3.0]], [[6.0, -1.0], [9.0, 9.0]]], requires_grad=True)
    log_pi = torch.tensor([[[-1.0, -2.0], [-3.0, -1.0]], [[-1.0, -2.0], [-9.0, -9.0]]])
    running = torch.tensor([[True, True], [True, False]])
    losses = coma.actor_loss(adv, log_pi, running)
    assert losses.tolist() == [(2 + 12 + 6) / 2, (2 + 3 - 2) / 2]
    assert not losses.requires_grad


def test_initialisation(corridor):
    learner = make(corridor, hidden=(5, 6))
    views = 2 * n * A + z + h + n
    networks = ((learner.phi, (S, n), h), (learner.theta, (S, 1), views))
    for network, ensemble, inputs in networks:
        sizes = [(inputs, 5), (1, 5), (5, 6), (1, 6), (6, A), (1, A)]
        assert [tuple(p.shape) for p in network.parameters()] == [(*ensemble, *size) for size in sizes]
        first = network.layers[0].weight
        assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    for online, copied in zip(learner.theta.parameters(), learner.theta_bar.parameters(), strict=True):
        assert torch.equal(online, copied)
        assert online.data_ptr() != copied.data_ptr()
        assert not copied.requires_grad
    pairs = ((learner.actor_optimiser, learner.phi, 0.01), (learner.critic_optimiser, learner.theta, 0.03))
    for optimiser, network, rate in pairs:
        optimised = {id(p) for group in optimiser.param_groups for p in group["params"]}
        assert optimised == {id(p) for p in network.parameters()}
        assert [group["lr"] for group in optimiser.param_groups] == [rate]


def test_the_critic_of_three_agents_takes_what_three_agents_see():
    learner = make(BatchedStagedGame(NormalFormGame(np.ones((3, 2, 2, 2)))), horizon=1)
    learner.step()
    assert (
        learner.theta.layers[0].weight.shape[-2]
        == 2 * 3 * 2 + learner.game.state_size + learner.game.observation_size + 3
    )


def test_networks_live_on_the_configured_device(corridor, monkeypatch):
    seen = []
    for name in ("PolicyNetworks", "Critic"):
        kind = getattr(coma, name)
        monkeypatch.setattr(coma, name, lambda *given, kind=kind, **named: seen.append(given) or kind(*given, **named))
    learner = make(corridor)
    assert [given[-1] for given in seen] == [learner.device] * 2


def test_a_game_with_different_rewards_is_refused(rivals):
    with pytest.raises(InputError, match="COMA needs a common-reward game"):
        make(rivals)


def test_a_game_on_another_device_is_refused():
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(BatchedStagedGame(get("climbing"), "meta"))


@pytest.mark.parametrize(
    "wrong",
    [{"horizon": 0}, {"target_interval": 0}, {"epsilon_steps": -1}, {"td_lambda": 1.5}, {"epsilon_end": -0.1}],
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} is "):
        COMAConfig(**wrong)


def test_each_step_learns_once_from_an_episode_of_every_copy(corridor, monkeypatch):
    """Five time steps of the corridor in a horizon of six: the copies' next episodes are not counted."""
    learner, batches = make(corridor, horizon=6), []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(5):
        learner.step()
    assert (len(batches), len(corridor.log), learner.t) == (5, 30, 30)
    ended = {"terminated": 0, "truncated": 0}
    for number, batch in enumerate(batches):
        running, last = torch.ones(S, K, dtype=torch.bool), torch.zeros(S, K, n, A)
        for t, (state, actions) in enumerate(corridor.log[6 * number : 6 * number + 6]):
            following, rewards, terminated, truncated = type(corridor)().step(state, actions)
            happened = {
                "history": corridor.observe(state),
                "z": corridor.centralized(state),
                "available": corridor.available(state),
                "action": actions,
                "reward": rewards[:, 0],
                "next_history": corridor.observe(following),
                "next_z": corridor.centralized(following),
                "terminated": terminated,
                "truncated": truncated,
            }
            for name, field in happened.items():
                assert torch.equal(getattr(batch, name)[:, :, t], field.unflatten(0, (S, K))), name
            assert torch.equal(batch.running[:, :, t], running)
            assert torch.equal(batch.last_action[:, :, t], last)
            next_action = batch.next_action[:, :, t]
            assert bool(corridor.available(following).gather(-1, next_action.flatten(0, 1).unsqueeze(-1)).all())
            goes_on = ~(terminated | truncated).unflatten(0, (S, K))
            if t < 5:
                assert torch.equal(next_action[goes_on], batch.action[:, :, t + 1][goes_on])
            last = torch.nn.functional.one_hot(actions, A).float().unflatten(0, (S, K))
            ended["terminated"] += int((running.flatten() & terminated).sum())
            ended["truncated"] += int((running.flatten() & truncated).sum())
            running = running & goes_on
        assert not running.any()
    assert all(count > 0 for count in ended.values())
    assert sum(ended.values()) == 5 * S * K


def test_actions_are_drawn_from_the_policies_at_hand(corridor, monkeypatch):
    """Without a floor and with logits far apart the most probable available action is as good as certain."""
    learner, batches = randomised(make(corridor, epsilon_start=0.0, epsilon_end=0.0), scale=60.0), []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(4):
        learner.step()
    decided = set()
    for batch in batches:
        with torch.no_grad():
            log_pi = learner.log_policy(learner.phi.along(batch.history), batch.available)
        sure = log_pi.topk(2).values[..., 1] < -40
        assert torch.equal(log_pi.argmax(-1)[sure], batch.action[sure])
        decided |= {(int(i), int(batch.action[s, k, t, i])) for s, k, t, i in sure.nonzero()}
    assert all(len({action for j, action in decided if j == i}) > 1 for i in range(n))


def test_the_floor_is_part_of_what_is_drawn():
    """Action 0 of two is as good as certain but for the floor: 1 - epsilon / 2, within four standard deviations."""
    learner = make(BatchedStagedGame(get("monotonic")), seeds=1, copies=5000, horizon=1, epsilon_start=0.5, hidden=())
    with torch.no_grad():
        learner.phi.layers[0].weight.zero_()
        learner.phi.layers[0].bias.copy_(torch.tensor([50.0, 0.0]))
    drawn = (learner.act(learner.game_state) == 0).double().mean(dim=(0, 1))
    assert drawn.tolist() == pytest.approx([0.75, 0.75], abs=4 * math.sqrt(0.75 * 0.25 / 5000))
    assert (learner.act(learner.game_state, greedy=True) == 0).all()


def test_epsilon_falls_in_a_straight_line_with_the_steps(corridor):
    learner = make(corridor, epsilon_steps=4)
    seen = []
    for _ in range(6):
        seen.append(learner.epsilon(learner.updates))
        learner.step()
    assert seen == [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.25]


def test_a_step_makes_an_update_of_all_networks(corridor, oracle):
    learner = make(corridor)
    before = {name: oracle.numbers(getattr(learner, name)) for name in ("phi", "theta", "theta_bar")}
    learner.step()
    assert (learner.t, learner.updates) == (T, 1)
    for name in ("phi", "theta"):
        pairs = zip(before[name], oracle.numbers(getattr(learner, name)), strict=True)
        assert all((old != new).any() for old, new in pairs), name
    pairs = zip(before["theta_bar"], oracle.numbers(learner.theta_bar), strict=True)
    assert all((old == new).all() for old, new in pairs), "four of six critic steps"


def test_resuming_gives_the_same_bits_as_not_stopping(corridor, promises):
    promises.resumes(lambda: make(corridor), 4, 3, time_steps=T)


def test_a_step_never_waits_for_the_device(promises):
    promises.never_waits(make(BatchedStagedGame(get("two-step"))), 3)


def one_or_more():
    """Agent 1 takes 1 at once, or goes on to a stage where together they reach 4, and 2 otherwise."""
    first = NormalFormGame.common_reward([[1, 1], [0, 0]])
    second = NormalFormGame.common_reward([[2, 2], [2, 4]])
    return StagedGame([first, second], [np.array([[TERMINAL] * 2, [1] * 2]), np.full((2, 2), TERMINAL)])


def test_coma_finds_the_best_joint_actions_of_two_stages_and_their_value():
    """All five seeds learn to go on and to meet; both are worth 4, within 0.3, under policies with a floor of 0.02."""
    rates = {"learning_rate": 1e-2, "critic_learning_rate": 1e-2, "target_interval": 30}
    floor = {"epsilon_start": 0.5, "epsilon_end": 0.02, "epsilon_steps": 75}
    game = BatchedStagedGame(one_or_more())
    learner = make(game, seeds=5, copies=16, horizon=3, gamma=1.0, td_lambda=0.8, hidden=(32,), **rates, **floor)
    for _ in range(125):
        learner.step()
    both = torch.ones(5, 80, 2, dtype=torch.int64)
    for stage in (0, 1):
        state = type(learner.game_state)(torch.full((80 * 5,), stage))
        met = torch.ones(5, 80, 2, 2) * torch.tensor([0.0, 1.0]) * stage
        seen = coma.critic_input(both, learner.centralized(state), learner.history(state), met)
        with torch.no_grad():
            q = learner.theta.values(seen)[:, 0, :, 1]
        torch.testing.assert_close(q, torch.full((5, 2), 4.0), atol=0.3, rtol=0)
        assert (learner.act(state, greedy=True)[..., : 1 + stage] == 1).all()
