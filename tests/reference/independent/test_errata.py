"""The errata of Algorithms 17 to 20: each printed form takes the place of the reference's own line."""

import math

import numpy as np
import pytest
import torch

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.batched_arrays import BatchedStochasticGame
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.centralized import ca2c
from marlspec.reference.independent import ia2c, idqn, reinforce
from marlspec.reference.parts.config import ActorCriticConfig, Config, ReinforceConfig
from marlspec.reference.parts.policies import log_policy

pytestmark = pytest.mark.long

TABULAR = {"hidden": (), "learning_rate": 0.05, "critic_learning_rate": 0.01}
both = pytest.mark.parametrize("module", [ia2c, ca2c])


def make(module, game, **changes):
    algorithm = module.IA2C if hasattr(module, "IA2C") else module.CA2C
    return algorithm(game, ActorCriticConfig(**{**TABULAR, **changes}))


def chance_of_the_best_arm(module):
    """How probable the better of two arms, r = (1, 0), is in the end; the second agent has nothing to choose."""
    learner = make(module, BatchedStagedGame(NormalFormGame.common_reward([[1], [0]])))
    for _ in range(100):
        learner.step()
    log_pi = log_policy(learner.phi(learner.history(learner.game_state)), learner.available(learner.game_state))
    return log_pi[0, 0, 0, 0].exp().item()


@both
def test_e1(module):
    assert chance_of_the_best_arm(module) > 0.95


@both
def test_e1_as_printed_the_best_arm_is_given_up(module, as_printed):
    corrected = "-(advantages.detach() * log_probabilities)"
    assert chance_of_the_best_arm(as_printed(module, corrected, corrected[1:])) < 0.05


def walk(moves, rewards):
    """A game of one agent that chooses nothing: probabilities [S, S] of the next state, rewards by state."""
    moves = np.array(moves)
    ends = moves.diagonal() == 1
    initial = np.eye(len(moves))[0]
    return StochasticGame(moves[:, None], np.array(rewards)[None, :, None], initial, ends)


def every_step(module, game):
    """Each possible step of a walk once: a batch of one seed, in which a state counts by how often it is visited."""
    arrays = game.as_float64()
    steps = [
        (s, int(following), float(arrays.rewards[0, s, 0, m]))
        for s in range(game.n_states)
        for m, following in enumerate(arrays.successors[s, 0])
        if not game.terminal[s] and arrays.probabilities[s, 0, m] > 0
    ]
    states, following = (torch.eye(game.n_states)[[step[k] for step in steps]].unsqueeze(0) for k in (0, 1))
    fields = {
        "history": states.unsqueeze(2),
        "z": states,
        "available": torch.ones(1, len(steps), 1, 1, dtype=torch.bool),
        "action": torch.zeros(1, len(steps), 1, dtype=torch.int64),
        "rewards": torch.tensor([step[2] for step in steps]).view(1, -1, 1),
        "next_history": following.unsqueeze(2),
        "next_z": following,
        "terminated": torch.tensor([[bool(game.terminal[step[1]]) for step in steps]]),
    }
    return module.Transition(*(fields[name] for name in module.Transition._fields))


def values_of(module, learner, n_states):
    """The value of every state but the last, which is terminal."""
    states = torch.eye(n_states)[:-1].unsqueeze(0)
    inputs = states.unsqueeze(2)
    if hasattr(module, "informed"):
        inputs = module.informed(inputs, states)
    return learner.theta.values(inputs).flatten()


def learned_values(module, game, gamma):
    learner = make(module, BatchedStochasticGame(game), gamma=gamma)
    batch = every_step(module, game)
    for _ in range(200):
        learner.learn(batch)
    return values_of(module, learner, game.n_states).tolist()


def chain():
    """s0, s1, end, with rewards 0 and 1."""
    return walk([[0, 1, 0], [0, 0, 1], [0, 0, 1]], [0, 1, 0])


@both
def test_e2(module):
    assert learned_values(module, chain(), 0.9) == pytest.approx([0.9, 1], abs=0.01)


def test_e2_as_printed_values_do_not_hear_of_the_next_state(as_printed):
    """V(s0) = 0 + 0.9 V(s0) has no solution but 0."""
    printed = as_printed(ca2c, "informed(batch.next_history, batch.next_z)", "informed(batch.history, batch.z)")
    assert learned_values(printed, chain(), 0.9) == pytest.approx([0, 1], abs=0.01)


def split():
    """A leads to B or C with equal chances; B pays 1, C nothing (A-split: Sutton and Barto, Example 11.2)."""
    return walk([[0, 0.5, 0.5, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]], [0, 1, 0, 0])


@both
def test_e4(module):
    assert learned_values(module, split(), 1.0) == pytest.approx([0.5, 1, 0], abs=0.01)
    assert value_of_a_coin(module) == pytest.approx(0.5, abs=0.01)


@both
def test_e4_as_printed_the_values_are_those_of_smallest_difference(module, as_printed):
    """With A = 1/2 the least of (A - B)^2 + (B - 1)^2 is at B = 3/4, that of (A - C)^2 + C^2 at C = 1/4."""
    printed = as_printed(module, "next_values.detach()", "next_values")
    assert learned_values(printed, split(), 1.0) == pytest.approx([0.5, 0.75, 0.25], abs=0.01)


@both
def test_e4_as_printed_the_actors_loss_moves_the_critic(module, as_printed):
    """A gradient of log pi reaches V: (V - 1/2)^2 + V log(1/2) is least at 1/2 + log(2) / 2."""
    printed = as_printed(module, "advantages.detach()", "advantages")
    assert value_of_a_coin(printed) == pytest.approx(0.5 + math.log(2) / 2, abs=0.01)


def value_of_a_coin(module):
    """What a critic says of the game that pays 1 or 0, while the policy stays uniform."""
    game = StochasticGame(
        [[[0, 1], [0, 1]], [[0, 1], [0, 1]]], [[[1, 0], [0, 0]]], [1, 0], [False, True], name="two arms"
    )
    learner = make(module, BatchedStochasticGame(game), learning_rate=1e-12)
    with torch.no_grad():
        for parameter in learner.phi.parameters():
            parameter.zero_()
    start, end = torch.eye(2)
    fields = {
        "history": start.expand(1, 2, 1, 2),
        "z": start.expand(1, 2, 2),
        "available": torch.ones(1, 2, 1, 2, dtype=torch.bool),
        "action": torch.tensor([[[0], [1]]]),
        "rewards": torch.tensor([[[1.0], [0.0]]]),
        "next_history": end.expand(1, 2, 1, 2),
        "next_z": end.expand(1, 2, 2),
        "terminated": torch.tensor([[True, True]]),
    }
    batch = module.Transition(*(fields[name] for name in module.Transition._fields))
    for _ in range(300):
        learner.learn(batch)
    return values_of(module, learner, 2).item()


REWARDS = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
NEXT_VALUES = torch.tensor([[[10.0, 20.0], [30.0, 40.0]], [[50.0, 60.0], [70.0, 80.0]]])
TERMINATED = torch.tensor([[True, False], [False, True]])


def bootstraps_copy_by_copy(module):
    """Whether the targets of copies that have ended and of copies that go on are each their own."""
    y = module.target(REWARDS, TERMINATED, NEXT_VALUES, 0.5)
    return all(
        y[s, k, i] == REWARDS[s, k, i] + (0 if TERMINATED[s, k] else 0.5 * NEXT_VALUES[s, k, i])
        for s, k, i in np.ndindex(2, 2, 2)
    )


def acts_copy_by_copy(module, game, oracle):
    """Whether every copy takes what its own history makes as good as certain."""
    K = 12
    learner = make(module, game, copies=K, learning_rate=1e-9, hidden=(8,))
    with torch.no_grad():
        for parameter in learner.phi.parameters():
            parameter.copy_(60 * torch.randn_like(parameter))
    phi = oracle.numbers(learner.phi)
    agree = []
    for _ in range(10):
        state = learner.game_state._replace(position=torch.randint(4, (K,)), clock=torch.randint(4, (K,)))
        learner.game_state = state
        learner.step()
        histories, available = game.observe(state).double().numpy(), game.available(state)
        for (k, i), action in np.ndenumerate(game.log[-1][1].numpy()):
            log_pi = oracle.log_policy(phi, 0, i, histories[k, i], available[k, i])
            if sorted(log_pi)[-2] < -40:
                agree.append(action == np.argmax(log_pi))
    assert len(agree) > 100
    return all(agree)


@both
def test_e5(module, rivals, oracle):
    assert bootstraps_copy_by_copy(module)
    assert acts_copy_by_copy(module, rivals, oracle)


@both
@pytest.mark.parametrize("whose", ["terminated[..., :1]", "terminated.any(-1, True)", "terminated.all(-1, True)"])
def test_e5_as_printed_no_copy_is_named_whose_end_is_asked(module, as_printed, whose):
    """Line 9 stands in no loop over copies: the first one's end, or any, or all, may be meant, and all are wrong."""
    assert not bootstraps_copy_by_copy(as_printed(module, "terminated.unsqueeze(-1)", f"{whose}.unsqueeze(-1)"))


@both
def test_e5_as_printed_one_history_serves_all_copies(module, rivals, oracle, as_printed):
    first = "self.act(type(state)(*(part[:1].expand_as(part) for part in state)))"
    assert not acts_copy_by_copy(as_printed(module, "self.act(state)", first), rivals, oracle)


def largest_error_at_the_end(module, game):
    """How far the targets of the terminal transitions that a learner stored lie from their rewards."""
    learner = module.IDQN(game, Config(hidden=(8,), batch_size=8, copies=4, capacity=400))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    learner.learn = lambda batch: None
    for _ in range(40):
        learner.step()
    ended = torch.cat([type(game)().step(*entry)[2] for entry in game.log])
    assert ended.any()
    rings = module.Transition(*(getattr(learner.replay, name).unflatten(0, (2, 400)) for name in learner.replay.names))
    stored = module.side_by_side(module.Transition(*(ring[:, : len(ended)][:, ended] for ring in rings)), 2)
    next_utilities = learner.theta_bar(stored.next_history)
    assert next_utilities.amax(-1).abs().min() > 0, "the next values are not zero"
    y = module.target(stored.rewards, stored.terminated, next_utilities, 0.9)
    return float((y - stored.rewards).abs().max())


def test_e6(rivals):
    assert largest_error_at_the_end(idqn, rivals) < 1e-6


def test_e6_as_printed_the_target_bootstraps_past_the_end(rivals, as_printed):
    """Without the flag in the tuple the target line has nothing to test: every row reads as not terminal."""
    flag = "terminated=terminated.unsqueeze(-1).expand_as(rewards)"
    printed = as_printed(idqn, flag, flag.replace("terminated.unsqueeze", "(terminated & False).unsqueeze"))
    assert largest_error_at_the_end(printed, rivals) > 0.5


def short_or_long():
    """Agent 1 takes 1 at once, or 5 after nine steps more in which nobody has a say."""
    rewards = [[[1], [0]]] + [[[0], [0]]] * 8 + [[[5], [5]]]
    moves = [[[TERMINAL], [1]]] + [[[t + 1]] * 2 for t in range(1, 9)] + [[[TERMINAL]] * 2]
    return StagedGame([NormalFormGame.common_reward(table) for table in rewards], moves)


def chances_of_the_short_episode(module):
    """How probable the worse choice is in the end, for each of five seeds."""
    config = ReinforceConfig(seeds=5, copies=16, horizon=10, gamma=1.0, hidden=(), learning_rate=0.1)
    learner = module.REINFORCE(BatchedStagedGame(short_or_long()), config)
    for _ in range(60):
        learner.step()
    state = learner.game.reset(5)
    log_pi = log_policy(learner.phi(learner.history(state)), learner.available(state))
    return log_pi[:, 0, 0, 0].detach().exp()


def test_d1(as_printed):
    """As printed the short episode wins, for 1/1 > 5/10; without the weight 1/T the long one does."""
    assert bool((chances_of_the_short_episode(reinforce) > 0.9).all())
    unbiased = as_printed(reinforce, "(counted.sum(-2) / T)", "counted.sum(-2)")
    assert bool((chances_of_the_short_episode(unbiased) < 0.1).all())


def two_steps_of_a_bandit(gamma):
    """Gradients in the logits [step, arm] of two steps of a bandit, r = (1, 0): of J, and of the printed loss.

    All four sequences of arms, each with its probability under uniform policies, are the expectation itself.
    """
    logits = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    log_pi = logits.log_softmax(-1)
    arms = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    rewards = (arms == 0).double().unsqueeze(-1)  # [episode, step, agent]
    discounts = torch.tensor([1.0, gamma], dtype=torch.float64)
    chances = log_pi[torch.arange(2), arms].sum(-1).exp()
    objective = (chances * (rewards.squeeze(-1) * discounts).sum(-1)).sum()
    running = torch.ones(4, 2, dtype=torch.bool)
    G = reinforce.returns(rewards, running, gamma)
    printed = reinforce.loss(G, log_pi[torch.arange(2), arms].unsqueeze(-1), running)
    (of_objective,) = torch.autograd.grad(objective, logits, retain_graph=True)
    (of_loss,) = torch.autograd.grad(printed.sum(), logits)
    return of_objective, -2 * of_loss  # T = 2


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.25])
def test_d2(gamma):
    """As printed the second step counts as if it came first: gamma^t is what makes it the gradient of J."""
    of_objective, printed = two_steps_of_a_bandit(gamma)
    torch.testing.assert_close(printed[0], of_objective[0])
    torch.testing.assert_close(gamma * printed[1], of_objective[1])
    assert torch.equal(printed[1], of_objective[1]) == (gamma == 1)
