"""Pareto-AC line by line; the learner's update against loops over seeds, agents, copies and time steps in float64."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.centralized import pareto_ac
from marlspec.reference.centralized.ca2c import CA2C
from marlspec.reference.parts.config import ActorCriticConfig, ParetoACConfig
from marlspec.reference.parts.networks import approach
from marlspec.reference.parts.policies import log_policy, permitted
from marlspec.reference.parts.training import train

S, N, K, n, h, z, A = 2, 3, 3, 2, 4, 5, 3
JOINT = list(product(range(A), repeat=n))
SETTINGS = {
    "seeds": S,
    "copies": K,
    "n_steps": N,
    "hidden": (3,),
    "steps": 10,
    "learning_rate": 0.01,
    "critic_learning_rate": 0.03,
    "gamma": 0.75,
    "tau": 0.25,
    "entropy_start": 3.0,
    "entropy_end": 0.5,
    "entropy_share": 0.4,
}


def make(game, **changes):
    return pareto_ac.ParetoAC(game, ParetoACConfig(**{**SETTINGS, **changes}))


def randomised(learner, scale=1.0):
    """Give every network parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return learner


def random_actions(available):
    return torch.where(available, torch.rand(available.shape), -1.0).argmax(-1)


def random_rollout(terminated, truncated):
    """A rollout of random numbers, in which agent 1 of the first copy has no available action at all."""
    steps = len(terminated)
    available, next_available = (torch.rand(S, steps, K, n, A) < 0.6 for _ in range(2))
    available[..., 1] = next_available[..., 1] = True
    available[:, :, 0, 1] = next_available[:, :, 0, 1] = False
    return pareto_ac.Rollout(
        history=torch.randn(S, steps, K, n, h, dtype=torch.float64),
        z=torch.randn(S, steps, K, z, dtype=torch.float64),
        available=available,
        action=random_actions(permitted(available)),
        rewards=torch.randn(S, steps, K, n, dtype=torch.float64),
        next_history=torch.randn(S, steps, K, n, h, dtype=torch.float64),
        next_z=torch.randn(S, steps, K, z, dtype=torch.float64),
        next_available=next_available,
        next_action=random_actions(permitted(next_available)),
        terminated=torch.tensor(terminated).expand(S, -1, -1),
        truncated=torch.tensor(truncated).expand(S, -1, -1),
    )


def can_be_taken(joint, available):
    """Whether each agent may take its part of a joint action; one without any available action may take all."""
    return all(own[a] or not own.any() for a, own in zip(joint, available, strict=True))


def best_with(oracle, theta, s, i, history, z, available, action):
    """Agent i's largest value of any joint action with its own action fixed."""
    q = oracle.utilities(theta, s, i, np.array([*history[i], *z]))
    return max(q[j] for j, joint in enumerate(JOINT) if joint[i] == action[i] and can_be_taken(joint, available))


def targets(oracle, theta_bar, batch, gamma):
    """The targets y, by going on from each time step until the return is cut."""
    y = np.zeros_like(batch.rewards)
    for s, t, k, i in np.ndindex(y.shape):
        discount, u = 1.0, t
        while True:
            y[s, t, k, i] += discount * batch.rewards[s, u, k, i]
            discount *= gamma
            if batch.terminated[s, u, k]:
                break
            if batch.truncated[s, u, k] or u == y.shape[1] - 1:
                following = (f[s, u, k] for f in (batch.next_history, batch.next_z, batch.next_available))
                best = best_with(oracle, theta_bar, s, i, *following, batch.next_action[s, u, k])
                y[s, t, k, i] += discount * best
                break
            u += 1
    return y


def critic_losses(oracle, theta_q, theta_v, batch, y):
    total = [0.0] * S
    for s, i in np.ndindex(S, n):
        z_of_all = batch.z[s]
        inputs = np.concatenate([batch.history[s, :, :, i], z_of_all], -1)
        q, v = oracle.utilities(theta_q, s, i, inputs), oracle.utilities(theta_v, s, i, inputs)
        for t, k in np.ndindex(y.shape[1:3]):
            taken = JOINT.index(tuple(batch.action[s, t, k]))
            errors = (y[s, t, k, i] - q[t, k, taken]) ** 2 + (y[s, t, k, i] - v[t, k, 0]) ** 2
            total[s] += errors / y[0, ..., 0].size
    return total


def advantages(oracle, theta_q, theta_v, batch):
    result = np.zeros_like(batch.rewards)
    for s, t, k, i in np.ndindex(result.shape):
        history, z, available = batch.history[s, t, k], batch.z[s, t, k], batch.available[s, t, k]
        best = best_with(oracle, theta_q, s, i, history, z, available, batch.action[s, t, k])
        result[s, t, k, i] = best - oracle.utilities(theta_v, s, i, np.array([*history[i], *z]))[0]
    return result


def actor_losses(oracle, phi, batch, advantages, coefficient):
    total = [0.0] * S
    for s, t, k, i in np.ndindex(advantages.shape):
        available = batch.available[s, t, k, i]
        allowed = available if available.any() else ~available
        log_pi = oracle.log_policy(phi, s, i, batch.history[s, t, k, i], allowed)
        entropy = -sum(np.exp(own) * own for own in log_pi if own > -np.inf)
        gain = advantages[s, t, k, i] * log_pi[batch.action[s, t, k, i]] + coefficient * entropy
        total[s] -= gain / advantages[0, ..., 0].size
    return total


def agree(parameters, expected, gradients):
    for parameter, number, gradient in zip(parameters, expected, gradients, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(parameter.detach().numpy(), number, atol=1e-6)


def no(steps):
    return [[False] * K] * steps


TERMINATED = [[False, True, False], [False, False, False], [True, True, False]]
TRUNCATED = [[True, False, False], [False, False, True], [False, False, False]]


def test_updates_agree_with_loops_in_float64(rivals, oracle):
    learner = randomised(make(rivals)).double()
    phi, theta_q, theta_v, theta_bar = (
        oracle.numbers(network) for network in (learner.phi, learner.theta_q, learner.theta_v, learner.theta_bar_q)
    )
    actor, critic = oracle.Adam(phi, 0.01), oracle.Adam([*theta_q, *theta_v], 0.03)
    for coefficient, ends, cuts in ((3.0, TERMINATED, TRUNCATED), (3.0 - 2.5 / 4, no(2), no(2))):
        batch = random_rollout(ends, cuts)
        data = oracle.in_numpy(batch)
        y, adv = targets(oracle, theta_bar, data, 0.75), advantages(oracle, theta_q, theta_v, data)

        def critics(data=data, y=y):
            return critic_losses(oracle, theta_q, theta_v, data, y)

        def actors(data=data, adv=adv, coefficient=coefficient):
            return actor_losses(oracle, phi, data, adv, coefficient)

        expected = np.add(actors(), critics())
        downhill = oracle.slopes(lambda: sum(actors()), phi)
        downhill_critics = oracle.slopes(lambda: sum(critics()), [*theta_q, *theta_v])
        losses = learner.learn(batch)
        np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-12)
        actor.step(downhill)
        critic.step(downhill_critics)
        agree(learner.phi.parameters(), phi, downhill)
        agree([*learner.theta_q.parameters(), *learner.theta_v.parameters()], [*theta_q, *theta_v], downhill_critics)
        theta_bar = [0.75 * old + 0.25 * new for old, new in zip(theta_bar, theta_q, strict=True)]
        for parameter, number in zip(learner.theta_bar_q.parameters(), theta_bar, strict=True):
            np.testing.assert_allclose(parameter.numpy(), number, atol=1e-6)
            assert parameter.grad is None
    assert learner.updates == 2


def test_joint_actions_are_counted_with_the_last_agent_fastest():
    joint = list(product(range(4), repeat=3))
    assert pareto_ac.joint_index(torch.tensor(joint), 4).tolist() == list(range(64))


def test_a_joint_action_is_permitted_where_each_part_is():
    available = torch.tensor([[True, False], [False, True], [True, True]])
    assert pareto_ac.jointly_permitted(available).tolist() == [False, False, True, True] + [False] * 4


def test_an_agent_without_available_actions_may_take_all_in_joint_actions_too():
    available = torch.tensor([[[True, False], [False, False]]])
    assert pareto_ac.jointly_permitted(available).tolist() == [[True, True, False, False]]


def test_places_of_the_joint_actions_that_hold_an_own_action():
    joint = list(product(range(3), repeat=3))
    places = pareto_ac.own_action_first(3, 3)
    for i, a in np.ndindex(3, 3):
        assert places[i, a].tolist() == [j for j, own in enumerate(joint) if own[i] == a]
    assert pareto_ac.own_action_first(1, 4).tolist() == [[[0], [1], [2], [3]]]


def test_the_others_do_what_is_best_for_each_agent():
    """Three agents of two actions, whose values differ: agent i's best completion of its own action, place by place."""
    q = torch.tensor(
        [[0.0, 1, 2, 3, 4, 5, 6, 7], [7.0, 6, 5, 4, 3, 2, 1, 0], [0.0, 9, 0, 8, 0, 7, -math.inf, -math.inf]]
    )
    places = pareto_ac.own_action_first(3, 2)
    assert pareto_ac.optimistic(q, torch.tensor([0, 1, 1]), places).tolist() == [3, 2, 1]
    assert pareto_ac.optimistic(q, torch.tensor([1, 0, 0]), places).tolist() == [7, 0, 0]


def test_optimistic_values_of_climbing():
    q = torch.tensor([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]]).flatten().expand(2, 9)
    places = pareto_ac.own_action_first(2, 3)
    plus = [pareto_ac.optimistic(q, torch.tensor([a, a]), places) for a in range(3)]
    assert [q.gather(-1, own.unsqueeze(-1)).flatten().tolist() for own in plus] == [[11, 11], [7, 7], [6, 5]]


def rewards_of_one_copy(*rewards):
    return torch.tensor(rewards).view(-1, 1, 1)


def flags(*values):
    return torch.tensor(values).view(-1, 1)


@pytest.mark.parametrize(
    ("terminated", "truncated", "expected"),
    [
        ([False, False, False], [False, False, False], [4 + 4 + 4 + 8, 8 + 8 + 16, 16 + 32]),
        ([False, True, False], [False, False, False], [4 + 4, 8, 16 + 32]),
        ([False, False, False], [False, True, False], [4 + 4 + 8, 8 + 16, 16 + 32]),
        ([False, False, True], [False, False, False], [4 + 4 + 4, 8 + 8, 16]),
        ([True, False, False], [True, False, False], [4, 8 + 8 + 16, 16 + 32]),
        ([False, False, False], [True, False, True], [4 + 64, 8 + 8 + 16, 16 + 32]),
    ],
)
def test_targets_are_cut_where_rollout_or_episode_end(terminated, truncated, expected):
    rewards, values = rewards_of_one_copy(4.0, 8.0, 16.0), rewards_of_one_copy(128.0, 32.0, 64.0)
    y = pareto_ac.target(rewards, flags(*terminated), flags(*truncated), values, 0.5)
    assert y.flatten().tolist() == expected


@pytest.mark.parametrize("nonsense", [math.nan, -math.inf, math.inf])
def test_values_after_termination_and_within_a_return_are_ignored(nonsense):
    values = rewards_of_one_copy(nonsense, nonsense, 8.0, nonsense)
    cuts = flags(False, False, True, False)
    y = pareto_ac.target(rewards_of_one_copy(1.0, 2.0, 4.0, 5.0), flags(False, False, False, True), cuts, values, 0.5)
    assert y.flatten().tolist() == [4.0, 6.0, 8.0, 5.0]


def test_critic_loss_is_each_agents_mean_of_both_errors():
    y = torch.tensor([[[1.0, 0.0], [2.0, 4.0]]])
    q, values = torch.tensor([[[0.0, 0.0], [5.0, 0.0]]]), torch.tensor([[[1.0, 2.0], [2.0, 6.0]]])
    assert pareto_ac.critic_loss(y, q, values).tolist() == [[5.0, 12.0]]


def test_advantage_is_the_optimistic_value_above_the_states():
    assert pareto_ac.advantage(torch.tensor([[5.0, 1.0]]), torch.tensor([[2.0, 4.0]])).tolist() == [[3.0, -3.0]]


def test_actor_loss_is_minus_each_agents_mean_with_its_entropy():
    adv, log_pi = torch.tensor([[[2.0, 1.0], [0.0, -1.0]]]), torch.tensor([[[-1.0, -2.0], [-5.0, -4.0]]])
    entropies = torch.tensor([[[1.0, 0.5], [0.5, 0.0]]])
    assert pareto_ac.actor_loss(adv, log_pi, entropies, 4.0).tolist() == [[-2.0, -2.0]]
    assert not pareto_ac.actor_loss(adv.requires_grad_(), log_pi, entropies, 4.0).requires_grad


def test_target_networks_approach_the_online_ones():
    target, online = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    with torch.no_grad():
        target.weight.copy_(torch.tensor([[0.0, 8.0]]))
        online.weight.copy_(torch.tensor([[4.0, 0.0]]))
    approach(target, online, 0.25)
    assert target.weight.tolist() == [[1.0, 6.0]]
    assert online.weight.tolist() == [[4.0, 0.0]]
    approach(target, online, 1.0)
    assert torch.equal(target.weight, online.weight)
    assert torch.equal(target.bias, online.bias)


def test_initialisation(rivals):
    learner = make(rivals, hidden=(5, 6))
    networks = ((learner.phi, h, A), (learner.theta_q, h + z, A**n), (learner.theta_v, h + z, 1))
    for network, inputs, outputs in networks:
        sizes = [(inputs, 5), (1, 5), (5, 6), (1, 6), (6, outputs), (1, outputs)]
        assert [tuple(p.shape) for p in network.parameters()] == [(S, n, *size) for size in sizes]
        first = network.layers[0].weight
        assert len(first.flatten().unique()) == first.numel(), "networks of agents and seeds start apart"
    for online, copied in zip(learner.theta_q.parameters(), learner.theta_bar_q.parameters(), strict=True):
        assert torch.equal(online, copied)
        assert online.data_ptr() != copied.data_ptr()
    critics = [*learner.theta_q.parameters(), *learner.theta_v.parameters()]
    for optimiser, parameters in (
        (learner.actor_optimiser, learner.phi.parameters()),
        (learner.critic_optimiser, critics),
    ):
        optimised = {id(p) for group in optimiser.param_groups for p in group["params"]}
        assert optimised == {id(p) for p in parameters}


def test_networks_live_on_the_configured_device(rivals, monkeypatch):
    seen = []
    for name in ("PolicyNetworks", "AgentNetworks", "CriticNetworks"):
        kind = getattr(pareto_ac, name)
        monkeypatch.setattr(
            pareto_ac, name, lambda *given, kind=kind, **named: seen.append(given) or kind(*given, **named)
        )
    learner = make(rivals)
    assert [given[-1] for given in seen] == [learner.device] * 3
    assert learner.places.device == learner.device


@pytest.mark.parametrize("name", ["prisoners-dilemma", "matching-pennies"])
def test_a_game_with_conflict_is_refused(name):
    with pytest.raises(InputError, match=f"Pareto-AC needs a no-conflict game.*{get(name).name}"):
        make(BatchedStagedGame(get(name)))


@pytest.mark.parametrize("name", ["stag-hunt", "climbing", "two-step"])
def test_games_without_conflict_are_taken_whether_or_not_rewards_are_shared(name):
    make(BatchedStagedGame(get(name)))


def test_too_many_joint_actions_are_refused(rivals):
    crowd = type("Crowd", (type(rivals),), {"name": "Crowd", "n_agents": 11})()
    with pytest.raises(InputError, match=r"Crowd has 3\^11 = 177147, more than 100000"):
        make(crowd)
    limit = type("Limit", (type(rivals),), {"n_agents": 5, "n_actions": 10})()
    pareto_ac.require_few_joint_actions(limit)


def test_a_game_on_another_device_is_refused():
    with pytest.raises(InputError, match="the game lives on meta and the learner on cpu"):
        make(BatchedStagedGame(get("climbing"), "meta"))


@pytest.mark.parametrize(
    "wrong", [{"n_steps": 0}, {"tau": 1.5}, {"entropy_share": -0.1}, {"entropy_start": -1.0}, {"entropy_end": math.inf}]
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))} is "):
        ParetoACConfig(**wrong)


def test_the_entropys_coefficient_falls_in_a_straight_line_over_its_share_of_the_steps(rivals):
    coefficient = make(rivals, steps=10, entropy_share=0.4).entropy_coefficient
    assert [coefficient(update) for update in range(6)] == [3.0, 2.375, 1.75, 1.125, 0.5, 0.5]


def test_each_step_learns_once_from_a_rollout_of_every_copy(rivals, monkeypatch):
    learner = make(rivals)
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(6):
        learner.step()
    assert (len(batches), len(rivals.log), learner.t) == (6, 6 * N, 6 * N)
    seen = {"terminated": 0, "truncated": 0}
    for number, (state, actions) in enumerate(rivals.log):
        batch = batches[number // N]
        following, rewards, terminated, truncated = type(rivals)().step(state, actions)
        happened = {
            "history": rivals.observe(state),
            "z": rivals.centralized(state),
            "available": rivals.available(state),
            "action": actions,
            "rewards": rewards,
            "next_history": rivals.observe(following),
            "next_z": rivals.centralized(following),
            "next_available": rivals.available(following),
            "terminated": terminated,
            "truncated": truncated,
        }
        for name, field in happened.items():
            assert torch.equal(getattr(batch, name)[:, number % N], field.unflatten(0, (S, K))), name
        next_action = batch.next_action[:, number % N].flatten(0, 1).unsqueeze(-1)
        assert bool(rivals.available(following).gather(-1, next_action).all())
        seen["terminated"] += int(terminated.sum())
        seen["truncated"] += int(truncated.sum())
    assert all(0 < count < 6 * N * S * K for count in seen.values())


def test_actions_to_play_and_to_bootstrap_with_are_drawn_from_the_policies_at_hand(rivals, monkeypatch):
    """With logits far apart the most probable available action is as good as certain."""
    learner = randomised(make(rivals), scale=60.0)
    batches = []
    monkeypatch.setattr(learner, "learn", batches.append)
    for _ in range(4):
        learner.step()
    pairs = (("history", "available", "action"), ("next_history", "next_available", "next_action"))
    for history, available, action in pairs:
        decided = set()
        for batch in batches:
            flat = [getattr(batch, name).flatten(1, 2) for name in (history, available, action)]
            with torch.no_grad():
                log_pi = log_policy(learner.phi(flat[0]), flat[1])
            sure = log_pi.topk(2).values[..., 1] < -40
            assert torch.equal(log_pi.argmax(-1)[sure], flat[2][sure])
            decided |= {(int(i), int(flat[2][s, b, i])) for s, b, i in sure.nonzero()}
        assert all(len({a for j, a in decided if j == i}) > 1 for i in range(n)), action


def test_a_step_makes_one_update(rivals, oracle):
    learner = make(rivals)
    before = oracle.numbers(learner)
    learner.step()
    assert (learner.t, learner.updates) == (N, 1)
    assert all((old != new).any() for old, new in zip(before, oracle.numbers(learner), strict=True))


def test_resuming_gives_the_same_bits_as_not_stopping(rivals, promises):
    promises.resumes(lambda: make(rivals), 5, 4, time_steps=N)


def test_a_step_never_waits_for_the_device(promises):
    promises.never_waits(make(BatchedStagedGame(get("two-step"))), 3)


def policies(learner):
    """The probabilities in the game's first state, [seeds, n, A]."""
    state = learner.game.reset(learner.config.seeds)
    with torch.no_grad():
        return log_policy(learner.phi(learner.history(state)), learner.available(state))[:, 0].exp()


def trained(algorithm, name, **settings):
    """The policies of five seeds after training on a game of the catalogue."""
    game, config = (
        BatchedStagedGame(get(name)),
        algorithm.config_type(**{"seeds": 5, "learning_rate": 3e-3, **settings}),
    )
    return policies(train(algorithm, game, config).learner)


PARETO = {"copies": 32, "n_steps": 1, "critic_learning_rate": 3e-3}
CENTRAL = {"copies": 64, "critic_learning_rate": 1e-2}


def test_pareto_ac_ends_at_the_pareto_optimal_equilibrium_of_climbing():
    """All five seeds end at (A, A) = 11."""
    assert (trained(pareto_ac.ParetoAC, "climbing", steps=200, **PARETO)[..., 0] > 0.9).all()


def test_ca2c_gives_up_the_pareto_optimal_equilibrium_of_climbing():
    """From uniform policies all five seeds give up A: agent 1 plays C, agent 2 is between C and B."""
    pi = trained(CA2C, "climbing", steps=150, **{**CENTRAL, "learning_rate": 1e-3})
    assert (pi[..., 0] < 0.05).all()
    assert (pi[:, 0, 2] > 0.9).all()


def test_ca2c_goes_on_to_the_dominated_equilibrium_of_climbing():
    """From about (C, B) = 6 all five seeds move to (B, B) = 7, where no agent gains by itself.

    On the whole way from uniform policies Adam remembers the large gradients of the beginning for some ten thousand
    updates; a fresh learner is put where they lead.
    """
    game = BatchedStagedGame(get("climbing"))
    learner = CA2C(game, ActorCriticConfig(seeds=5, learning_rate=3e-3, **{**CENTRAL, "critic_learning_rate": 3e-2}))
    start = torch.tensor([[0.005, 0.05, 0.945], [0.005, 0.9, 0.095]])
    with torch.no_grad():
        learner.phi.layers[-1].bias.copy_(start.log().unsqueeze(-2))
    before = policies(learner)
    assert before.argmax(-1).tolist() == [[2, 1]] * 5
    for _ in range(100):
        learner.step()
    assert (policies(learner)[..., 1] > 0.9).all()


def test_stag_hunt_tells_the_two_apart_from_beginning_to_end():
    """Pareto-AC ends at (A, A) = 4 and CA2C at (B, B) = 2, in all five seeds."""
    assert (trained(pareto_ac.ParetoAC, "stag-hunt", steps=150, **PARETO)[..., 0] > 0.9).all()
    assert (trained(CA2C, "stag-hunt", steps=100, **CENTRAL)[..., 1] > 0.9).all()
