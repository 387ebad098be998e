"""Histories by a GRU: updates and actions against loops with PyTorch's own cells, and a game that asks for a memory."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from marlspec.errors import InputError
from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.centralized import coma
from marlspec.reference.decomposition import qmix_episodes
from marlspec.reference.parts.enumeration import joint_table, utility_table
from marlspec.reference.parts.evaluation import evaluate
from marlspec.reference.parts.training import train

pytestmark = [pytest.mark.long, pytest.mark.thorough]

S, n, o, z, A = 2, 2, 4, 5, 3
h = o + A
SETTINGS = {
    "seeds": S,
    "copies": 3,
    "horizon": 6,
    "hidden": (3, 2),
    "learning_rate": 0.01,
    "gamma": 0.75,
    "history": "gru",
    "target_interval": 3,
}
REPLAY = {"batch_size": 5, "capacity": 7, "embed": 2}
LEARNERS = [(qmix_episodes.QMIXEpisodes, REPLAY), (coma.COMA, {})]
both = pytest.mark.parametrize(("algorithm", "settings"), LEARNERS)
sharing = pytest.mark.parametrize("share", [False, True])


def make(algorithm, game, **changes):
    return algorithm(game, algorithm.config_type(**{**SETTINGS, **changes}))


def randomised(learner):
    """Give every network, targets too, parameters of its own: then no two can be confused."""
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return learner


# --- plain networks ---------------------------------------------------------------------------------------------------


class Plain:
    """One seed's networks of all agents, as PyTorch's layers with copied numbers, applied to one history at a time."""

    def __init__(self, networks, s):
        self.share = networks.share
        self.agents = [self._agent(networks, s, i) for i in range(1 if networks.share else n)]

    def _agent(self, networks, s, i):
        first, last = (self._linear(layer, s, i) for layer in networks.layers)
        of_input, of_memory = (self._linear(layer, s, i) for layer in (networks.gru.of_input, networks.gru.of_memory))
        cell = nn.GRUCell(of_input.in_features, of_memory.in_features, dtype=torch.float64)
        cell.weight_ih, cell.bias_ih = of_input.weight, of_input.bias
        cell.weight_hh, cell.bias_hh = of_memory.weight, of_memory.bias
        return nn.ModuleList([first, cell, last])

    def _linear(self, layer, s, i):
        result = nn.Linear(*layer.weight.shape[-2:], dtype=torch.float64)
        weight, bias = layer.weight[s, i].detach(), layer.bias[s, i, 0].detach()
        result.weight.data, result.bias.data = weight.T.double().clone(), bias.double().clone()
        return result

    def after(self, i, history):
        """The output of agent i after a history: all time steps [t, h] up to now."""
        first, cell, last = self.agents[0 if self.share else i]
        memory = torch.zeros(cell.hidden_size, dtype=torch.float64)
        for x in history:
            seen = torch.cat([x, torch.eye(n, dtype=torch.float64)[i]]) if self.share else x
            memory = cell(torch.relu(first(seen)), memory)
        return last(memory)

    def gradients(self):
        """For each agent, in the order of AgentNetworks' parameters."""
        return [
            [
                *(own for layer in (cell_parts(cell)) for own in layer),
                *(own for layer in (first, last) for own in (layer.weight.grad.T, layer.bias.grad)),
            ]
            for first, cell, last in self.agents
        ]


def cell_parts(cell):
    return (cell.weight_ih.grad.T, cell.bias_ih.grad), (cell.weight_hh.grad.T, cell.bias_hh.grad)


def assert_gradients_agree(networks, plain):
    for s, own in enumerate(plain):
        for i, gradients in enumerate(own.gradients()):
            for parameter, expected in zip(networks.parameters(), gradients, strict=True):
                torch.testing.assert_close(parameter.grad[s, i].squeeze(0), expected.squeeze(0), rtol=1e-9, atol=1e-11)


def random_episodes(lengths, L):
    """Filled episodes of both seeds, random elsewhere, too; actions and what is available."""
    axes = (S, len(lengths), L)
    available = torch.rand(*axes, n, A) < 0.6
    available[..., 1] = True
    filled = (torch.arange(L) < torch.tensor(lengths)[:, None]).expand(S, -1, -1)
    action = torch.where(available, torch.rand(available.shape), -1.0).argmax(-1)
    history, following = torch.randn(2, *axes, n, h).double()
    goes_on = (torch.arange(L) < torch.tensor(lengths)[:, None] - 1)[..., None, None]
    return axes, filled, available, action, history, torch.where(goes_on, history.roll(-1, 2), following)


# --- QMIX on episodes -------------------------------------------------------------------------------------------------


def mixed(hyper, s, z, q):
    """Q_tot of utilities [n] in the state z, from the hypernetwork's parameters of a seed."""
    h1, c1, hb, cb, h2, c2, hv, cv, ho, co = (own[s] for own in hyper)
    w1, b1, w2 = (z @ h1 + c1[0]).abs().view(n, -1), z @ hb + cb[0], (z @ h2 + c2[0]).abs()
    hidden = nn.functional.elu(b1 + sum(q[i] * w1[i] for i in range(n)))
    return hidden @ w2 + (torch.relu(z @ hv + cv[0]) @ ho + co[0])[0]


def summed_loss(learner, batch, online, bar):
    """The sum of the seeds' losses by loops over seeds, episodes, time steps and agents, each history anew."""
    hyper, hyper_bar = (
        [p.detach() for p in own.parameters()] for own in (learner.theta_hyper, learner.theta_bar_hyper)
    )
    total = 0.0
    seeds, B, L = batch.filled.shape
    for s, b in torch.ones(seeds, B).nonzero().tolist():
        errors = []
        for t in [t for t in range(L) if batch.filled[s, b, t]]:
            past = batch.history[s, b, : t + 1]
            y = batch.reward[s, b, t]
            if not batch.terminated[s, b, t]:
                onward = torch.cat([past, batch.next_history[s, b, t : t + 1]])
                able = batch.next_available[s, b, t]
                best = [bar[s].after(i, onward[:, i])[able[i]].max() for i in range(n)]
                y = y + 0.75 * mixed(hyper_bar, s, batch.next_z[s, b, t], best).detach()
            taken = [online[s].after(i, past[:, i])[batch.action[s, b, t, i]] for i in range(n)]
            errors.append((y - mixed(hyper, s, batch.z[s, b, t], taken)) ** 2)
        total = total + sum(errors) / len(errors) / B
    return total


@sharing
def test_an_update_of_qmix_on_episodes_agrees_with_loops_in_float64(corridor, share):
    learner = randomised(make(qmix_episodes.QMIXEpisodes, corridor, share=share, **REPLAY)).double()
    axes, filled, available, action, history, following = random_episodes([3, 1, 2], 3)
    batch = qmix_episodes.Episodes(
        history=history,
        z=torch.randn(*axes, z).double(),
        action=action,
        reward=torch.randn(axes).double(),
        next_history=following,
        next_available=available,
        next_z=torch.randn(*axes, z).double(),
        terminated=(torch.arange(3) == torch.tensor([2, 0, 9])[:, None]).expand(S, -1, -1),
        filled=filled,
    )
    online, bar = ([Plain(own, s) for s in range(S)] for own in (learner.theta, learner.theta_bar))
    expected = summed_loss(learner, batch, online, bar)
    expected.backward()
    assert learner.learn(batch).sum().item() == pytest.approx(expected.item(), rel=1e-12)
    assert_gradients_agree(learner.theta, online)


# --- COMA -------------------------------------------------------------------------------------------------------------


@sharing
def test_an_update_of_comas_actors_agrees_with_loops_in_float64(corridor, share):
    learner = randomised(make(coma.COMA, corridor, share=share)).double()
    lengths = [4, 1, 3]
    axes, filled, available, action, history, following = random_episodes(lengths, 4)
    batch = coma.Episodes(
        history=history,
        z=torch.randn(*axes, z).double(),
        available=available,
        last_action=torch.rand(*axes, n, A).double(),
        action=action,
        reward=torch.randn(axes).double(),
        next_history=following,
        next_z=torch.randn(*axes, z).double(),
        next_action=action,
        terminated=(torch.arange(4) == torch.tensor(lengths)[:, None] - 1).expand(S, -1, -1),
        truncated=torch.zeros(axes, dtype=torch.bool),
        running=filled,
    )
    actors = [Plain(learner.phi, s) for s in range(S)]
    learner.learn(batch)
    with torch.no_grad():
        seen = coma.critic_input(batch.action, batch.z, batch.history, batch.last_action).flatten(1, 2)
        q = learner.theta.values(seen).view(*axes, n, A)
    loss = 0.0
    for s, k, t, i in filled[..., None].expand(*axes, n).nonzero().tolist():
        able = available[s, k, t, i]
        logits = torch.where(able, actors[s].after(i, history[s, k, : t + 1, i]), -torch.inf)
        pi = torch.where(able, 0.5 * logits.softmax(-1) + 0.5 / able.sum().double(), 0.0)
        own = q[s, k, t, i]
        advantage = own[action[s, k, t, i]] - (pi.detach() * own).sum()
        loss = loss - advantage * pi[action[s, k, t, i]].log() / len(lengths)
    loss.backward()
    assert_gradients_agree(learner.phi, actors)


# --- acting -----------------------------------------------------------------------------------------------------------


def histories_of(log, row, game):
    """What each agent of a copy saw, time step by time step: its observation and last action, since the last reset."""
    seen = []
    for state, actions in log:
        if state.clock[row] == 0:
            last, past = torch.zeros(n, A), []
        past = [*past, torch.cat([game.observe(state)[row], last], -1)]
        last = nn.functional.one_hot(actions[row], A).float()
        seen.append((past, state, actions))
    return seen


def assert_greedy(log, networks, game, copies):
    """Assert that each action in the log is the one with the largest output after its agent's whole history."""
    plain = [Plain(networks, s) for s in range(S)]
    moved = 0
    for row in range(S * copies):
        for past, state, actions in histories_of(log, row, game):
            for i in range(n):
                output = plain[row // copies].after(i, torch.stack(past)[:, i].double())
                allowed = [a for a in range(A) if game.available(state)[row, i, a]]
                assert actions[row, i] == max(allowed, key=lambda a: output[a].item())
                moved += len(past) > 1
    assert moved


@both
@sharing
def test_evaluation_carries_the_memory_from_step_to_step(corridor, algorithm, settings, share):
    learner = randomised(make(algorithm, corridor, share=share, **settings))
    corridor.log.clear()
    evaluate(learner, 4, seed=3)
    assert_greedy(corridor.log, learner.behaviour, corridor, copies=4)
    other = type(corridor)()
    evaluate(learner, 4, seed=3, game=other)
    assert len(other.log) == len(corridor.log)
    assert_greedy(other.log, learner.behaviour, corridor, copies=4)


def test_training_carries_the_memory_too_and_a_new_episode_begins_without(corridor):
    learner = randomised(make(qmix_episodes.QMIXEpisodes, corridor, epsilon_end=0.0, **REPLAY))
    learner.learn = lambda batch: None
    for _ in range(2):
        learner.step()
    assert_greedy(corridor.log, learner.theta, corridor, copies=3)
    clocks = torch.stack([state.clock for state, _ in corridor.log[:6]])
    assert (clocks[1:] == 0).any(), "within a pass, finished copies began afresh"


def test_stored_histories_are_observations_and_last_actions(corridor):
    learner = make(qmix_episodes.QMIXEpisodes, corridor, **REPLAY)
    learner.learn = lambda batch: None
    learner.step()
    assert learner.replay.history.shape == (S * 7, 6, n, h)
    for s, k in torch.ones(S, 3).nonzero().tolist():
        stored, filled = learner.replay.history[7 * s + k], learner.replay.filled[7 * s + k]
        for t, (past, *_) in enumerate(histories_of(corridor.log, 3 * s + k, corridor)):
            if filled[t]:
                assert torch.equal(stored[: t + 1], torch.stack(past))


@both
@sharing
def test_a_saved_memory_goes_on_with_the_same_bits(corridor, promises, algorithm, settings, share):
    promises.resumes(lambda: make(algorithm, corridor, share=share, **settings), 3, 2, time_steps=6)
    learner = make(algorithm, corridor, **settings)
    learner.step()
    saved = learner.state_dict()["_extra_state"]["game_state"]
    assert any(leaf.shape == (6, n, 2) and torch.equal(leaf, learner.game_state.memory) for leaf in saved)
    assert learner.game_state.memory.any()


@both
@sharing
def test_a_step_never_waits_for_the_device(promises, algorithm, settings, share):
    learner = make(algorithm, BatchedStagedGame(get("two-step")), share=share, **settings)
    promises.never_waits(learner, 3)


@both
def test_a_gru_needs_a_width_and_histories_are_of_a_known_kind(algorithm, settings):
    with pytest.raises(InputError, match="at least one width, the GRU's"):
        algorithm.config_type(**{**SETTINGS, **settings, "hidden": ()})
    config = algorithm.config_type(**{**SETTINGS, **settings})
    object.__setattr__(config, "history", "lstm")
    with pytest.raises(InputError, match="history is 'lstm': it must be observation or gru"):
        config.__post_init__()


def test_values_of_a_first_state_follow_from_an_empty_memory_and_those_of_a_later_one_are_refused():
    learner = randomised(make(qmix_episodes.QMIXEpisodes, BatchedStagedGame(get("two-step")), **REPLAY))
    state = learner.game.reset(S)
    q = utility_table(learner)
    assert torch.equal(q, learner.output(state).squeeze(1))
    hyper = [p.detach() for p in learner.theta_hyper.parameters()]
    first = learner.centralized(state)
    for s, i, j in torch.ones(S, 2, 2).nonzero().tolist():
        expected = mixed(hyper, s, first[s, 0], [q[s, 0, i], q[s, 1, j]])
        torch.testing.assert_close(joint_table(learner)[s, i, j], expected)
    later, *_ = learner.game.step(state, torch.zeros(S, 2, dtype=torch.int64))
    later = tree_map(lambda leaf: leaf[:1], later)
    with pytest.raises(InputError, match="depend on how it was reached"):
        joint_table(learner, later)


# --- a game that asks for a memory ------------------------------------------------------------------------------------


class CueState(NamedTuple):
    cue: Tensor
    clock: Tensor


class Cue:
    """Each of two agents is shown one of two cues, and a step later, when it is gone, asked for it.

    Both receive the share of right answers. Who remembers has 1; who sees the last observation alone has 1/2 whatever
    it does. Before the answer there is one action alone: the last action tells nothing of the cue.
    """

    name, n_agents, n_actions, observation_size, state_size, common_reward = "Cue", 2, 2, 3, 3, True

    def reset(self, K):
        return CueState(torch.randint(2, (K, 2)), torch.zeros(K, dtype=torch.int64))

    def step(self, state, actions):
        right = (actions == state.cue).float().mean(-1)
        asked = state.clock == 1
        rewards = torch.where(asked, right, 0.0)[:, None].expand(-1, 2)
        return CueState(state.cue, state.clock + 1), rewards, asked, torch.zeros_like(asked)

    def observe(self, state):
        shown = nn.functional.one_hot(torch.where(state.clock[:, None] == 0, state.cue, 2), 3)
        return shown.float()

    def centralized(self, state):
        return torch.cat([state.cue, state.clock[:, None]], -1).float()

    def available(self, state):
        mask = torch.ones(len(state.clock), 2, 2, dtype=torch.bool)
        mask[..., 1] = (state.clock > 0)[:, None]
        return mask


QUICK = {
    qmix_episodes.QMIXEpisodes: {"copies": 16, "batch_size": 32, "embed": 8, "learning_rate": 1e-2, "steps": 130},
    coma.COMA: {"copies": 64, "learning_rate": 1e-3, "critic_learning_rate": 5e-3, "epsilon_end": 0.5, "steps": 170},
}


def trained_on_cues(algorithm, **changes):
    settings = {"hidden": (16, 16), "horizon": 2, "gamma": 1.0, "target_interval": 20, **QUICK[algorithm], **changes}
    return train(algorithm, Cue(), algorithm.config_type(seeds=5, **settings)).learner


@pytest.mark.parametrize("algorithm", [qmix_episodes.QMIXEpisodes, coma.COMA])
def test_who_remembers_the_cue_answers_right_in_all_seeds(algorithm):
    learner = trained_on_cues(algorithm, history="gru")
    assert (evaluate(learner, 200).returns == 1).all()


@pytest.mark.parametrize("algorithm", [qmix_episodes.QMIXEpisodes, coma.COMA])
def test_who_sees_the_last_observation_alone_guesses(algorithm):
    """1/2 within four standard deviations of a mean of 1000 answers, of both agents in 500 episodes."""
    learner = trained_on_cues(algorithm, history="observation", steps=40)
    torch.testing.assert_close(evaluate(learner, 500).returns, torch.full((5, 2), 0.5).double(), atol=0.063, rtol=0)
