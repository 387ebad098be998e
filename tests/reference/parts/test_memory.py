"""Recurrent and shared networks against PyTorch's own cells one by one, in float64; memories carried by a game."""

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from marlspec.reference.parts.learner import restarted
from marlspec.reference.parts.memory import WithMemory
from marlspec.reference.parts.networks import AgentNetworks, EnsembleGRU, frozen_copy

S, B, L, n = 2, 3, 4, 3  # sizes differ, but for the agents
n_in, n_out, hidden = 5, 2, (6, 7)


def random_networks(**kind):
    return AgentNetworks(n, n_in, n_out, hidden, (S,), **kind).double()


def copied(module, weight, bias):
    """Give a PyTorch layer weights [in, out] and a bias [1, out]."""
    module.weight.data, module.bias.data = weight.detach().T.clone(), bias.detach()[0].clone()
    return module


def layer_of(layer, *member):
    weight, bias = layer.weight[member], layer.bias[member]
    return copied(nn.Linear(*weight.shape, dtype=torch.float64), weight, bias)


def cell_of(gru, *member):
    """The GRUCell of one member, with its weights copied."""
    of_input, of_memory = layer_of(gru.of_input, *member), layer_of(gru.of_memory, *member)
    cell = nn.GRUCell(of_input.in_features, of_memory.in_features, dtype=torch.float64)
    cell.weight_ih.data, cell.bias_ih.data = of_input.weight.data, of_input.bias.data
    cell.weight_hh.data, cell.bias_hh.data = of_memory.weight.data, of_memory.bias.data
    return cell


def outputs_one_by_one(networks, s, i, inputs):
    """The outputs of a seed's agent along one episode [L, n_in], and its memory after each time step."""
    member, number = (0, torch.eye(n, dtype=torch.float64)[i]) if networks.share else (i, torch.empty(0))
    first, last = (layer_of(layer, s, member) for layer in networks.layers)
    cell, memory, outputs, memories = cell_of(networks.gru, s, member), None, [], []
    for x in inputs:
        memory = cell(torch.relu(first(torch.cat([x, number]).double())), memory)
        outputs.append(last(memory))
        memories.append(memory)
    return torch.stack(outputs), memories


@pytest.mark.parametrize("ensemble", [(), (3,), (2, 3)])
def test_each_member_of_the_gru_is_pytorchs_cell(ensemble):
    gru = EnsembleGRU(ensemble, 4, 5).double()
    members = list(torch.ones(ensemble).nonzero()) if ensemble else [()]
    x, memory = torch.randn(len(members), 6, 4).double(), torch.randn(len(members), 6, 5).double()
    if not ensemble:
        x, memory = x[0], memory[0]
    found = gru(x, memory)
    for k, member in enumerate(members):
        row = k if ensemble else ...
        expected = cell_of(gru, *map(int, member))(x[row], memory[row])
        torch.testing.assert_close(found[row], expected, rtol=1e-13, atol=1e-14)


def test_a_gru_starts_as_pytorch_starts_its_cell():
    gru = EnsembleGRU((50,), 9, 16)
    numbers = torch.cat([parameter.flatten() for parameter in gru.parameters()])
    assert 0.24 < numbers.abs().max() <= 1 / math.sqrt(16)
    assert numbers.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("share", [False, True])
def test_networks_along_episodes_agree_with_cells_one_by_one(share):
    networks, inputs = random_networks(share=share, recurrent=True), torch.randn(S, B, L, n, n_in).double()
    found = networks.along(inputs)
    for s, b, i in torch.ones(S, B, n).nonzero().tolist():
        expected, _ = outputs_one_by_one(networks, s, i, inputs[s, b, :, i])
        torch.testing.assert_close(found[s, b, :, i], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("share", [False, True])
def test_what_follows_a_time_step_is_seen_with_the_memory_of_it_alone(share):
    networks = random_networks(share=share, recurrent=True)
    inputs, following = torch.randn(2, S, B, L, n, n_in).double()
    found = networks.ahead(inputs, following)
    for s, b, t, i in torch.ones(S, B, L, n).nonzero().tolist():
        seen = torch.cat([inputs[s, b, : t + 1, i], following[s, b, t : t + 1, i]])
        expected = outputs_one_by_one(networks, s, i, seen)[0][-1]
        torch.testing.assert_close(found[s, b, t, i], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("share", [False, True])
def test_step_by_step_is_the_same_as_along(share):
    networks, inputs = random_networks(share=share, recurrent=True), torch.randn(S, B, L, n, n_in).double()
    memory, outputs = torch.zeros(S, B, n, hidden[-1]).double(), []
    for x in inputs.unbind(2):
        output, memory = networks.advance(x, memory)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 2), networks.along(inputs), rtol=1e-13, atol=1e-14)
    assert torch.equal(networks(inputs[:, :, 0]), outputs[0]), "without a memory nothing is remembered yet"


@pytest.mark.parametrize("share", [False, True])
def test_without_recurrence_no_time_step_knows_of_another(share):
    networks = random_networks(share=share)
    inputs, following = torch.randn(2, S, B, L, n, n_in).double()
    for b, t in torch.ones(B, L).nonzero().tolist():
        alone = networks(inputs[:, b : b + 1, t]).squeeze(1)
        torch.testing.assert_close(networks.along(inputs)[:, b, t], alone, rtol=1e-13, atol=1e-14)
    assert torch.equal(networks.ahead(inputs, following), networks.along(following))
    outputs, memory = networks.advance(inputs[:, :, 0], torch.zeros(S, B, n, 0).double())
    assert torch.equal(outputs, networks(inputs[:, :, 0]))
    assert memory.shape == (S, B, n, 0)


# --- sharing ----------------------------------------------------------------------------------------------------------


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("seeds", [(), (S,)])
def test_a_shared_network_has_the_parameters_of_one_that_sees_a_number_more_for_each_agent(seeds):
    shared = AgentNetworks(n, n_in, n_out, hidden, seeds, share=True)
    assert count(shared) == math.prod(seeds) * (6 * (n_in + n + 1) + 7 * (6 + 1) + 2 * (7 + 1))
    assert [tuple(layer.weight.shape) for layer in shared.layers] == [
        *((*seeds, 1, n_in + n, 6), (*seeds, 1, 6, 7)),
        (*seeds, 1, 7, 2),
    ]
    assert count(AgentNetworks(n, n_in, n_out, hidden, seeds)) == math.prod(seeds) * n * (6 * 6 + 7 * 7 + 2 * 8)
    assert shared(torch.randn(*seeds, B, n, n_in)).shape == (*seeds, B, n, n_out)
    recurrent = AgentNetworks(n, n_in, n_out, hidden, seeds, share=True, recurrent=True)
    gru = 3 * 7 * (6 + 1) + 3 * 7 * (7 + 1)
    assert count(recurrent) == math.prod(seeds) * (6 * (n_in + n + 1) + gru + 2 * (7 + 1))


def test_a_shared_networks_gradient_is_the_sum_over_the_agents():
    networks = random_networks(share=True)
    inputs, weights = torch.randn(S, B, n, n_in).double(), torch.randn(S, B, n, n_out).double()
    outputs = networks(inputs)
    (outputs * weights).sum().backward()
    for s in range(S):
        layers = [layer_of(layer, s, 0) for layer in networks.layers]
        for b, i in torch.ones(B, n).nonzero().tolist():
            x = torch.cat([inputs[s, b, i], torch.eye(n).double()[i]])
            out = layers[2](torch.relu(layers[1](torch.relu(layers[0](x)))))
            torch.testing.assert_close(outputs[s, b, i], out, rtol=1e-12, atol=1e-13)
            (out * weights[s, b, i]).sum().backward()  # PyTorch adds up the agents' gradients
        for layer, own in zip(layers, networks.layers, strict=True):
            torch.testing.assert_close(own.weight.grad[s, 0], layer.weight.grad.T, rtol=1e-11, atol=1e-12)
            torch.testing.assert_close(own.bias.grad[s, 0, 0], layer.bias.grad, rtol=1e-11, atol=1e-12)


def test_agents_with_equal_observations_can_act_differently_by_their_numbers_alone():
    networks = random_networks(share=True)
    same = torch.randn(S, B, 1, n_in).double().expand(-1, -1, n, -1)
    with torch.no_grad():
        networks.layers[0].weight[:, :, n_in:] = 0
        assert torch.equal(networks(same)[:, :, 0], networks(same)[:, :, 1]), "but for the number they are one"
        networks.layers[0].weight[:, :, n_in:] = 10 * torch.randn(S, 1, n, 6)
        choices = networks(same).argmax(-1)
    assert (choices[..., 0] != choices[..., 1]).any() or (choices[..., 1] != choices[..., 2]).any()


def test_states_are_saved_and_fit_no_other_kind():
    kinds = [{"share": share, "recurrent": recurrent} for share in (False, True) for recurrent in (False, True)]
    inputs = torch.randn(S, B, L, n, n_in).double()
    for kind in kinds:
        original, other = random_networks(**kind), random_networks(**kind)
        other.load_state_dict(original.state_dict())
        assert torch.equal(original.along(inputs), other.along(inputs))
        target = frozen_copy(original)
        assert torch.equal(original.along(inputs), target.along(inputs))
        assert not any(parameter.requires_grad for parameter in target.parameters())
        for wrong in (own for own in kinds if own != kind):
            with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
                random_networks(**wrong).load_state_dict(original.state_dict())


# --- memories in the state of a game ----------------------------------------------------------------------------------


def counting(history, memory):
    """A memory that holds the sum of all observations so far, and of all last actions' numbers."""
    observed, last = history[..., :4].sum(-1), (history[..., 4:] * torch.arange(3)).sum(-1)
    return memory + torch.stack([observed, last], -1)


def test_the_state_holds_what_was_observed_and_done(corridor):
    game = WithMemory(corridor, 2, counting)
    assert (game.observation_size, game.n_actions, game.state_size, game.action_counts) == (7, 3, 5, (3, 3))
    state, inner = game.reset(2), corridor.reset(2)
    expected = torch.zeros(2, 2, 2)
    last = torch.zeros(2, 2, dtype=torch.int64)
    assert not game.observe(state)[..., 4:].any(), "no action before the first"
    assert not state.memory.any()
    for actions in ([[1, 2], [0, 1]], [[1, 0], [2, 0]]):
        actions = torch.tensor(actions)
        expected = expected + torch.stack([corridor.observe(inner).sum(-1), last.float()], -1)
        state, rewards, terminated, truncated = game.step(state, actions)
        inner, *outcome = corridor.step(inner, actions)
        last = actions
        torch.testing.assert_close(state.memory, expected)
        assert torch.equal(game.observe(state)[..., :4], corridor.observe(inner))
        assert torch.equal(game.observe(state)[..., 4:], nn.functional.one_hot(last, 3).float())
        assert all(map(torch.equal, (rewards, terminated, truncated), outcome))
        assert torch.equal(game.centralized(state), corridor.centralized(inner))
        assert torch.equal(game.available(state), corridor.available(inner))


class Clock(NamedTuple):
    time: Tensor


class Ticking:
    """A game that restarts copies by itself: at 100."""

    name, n_agents, n_actions, observation_size, state_size, common_reward = "Ticking", 2, 3, 4, 1, True

    def reset(self, K):
        return Clock(torch.zeros(K, dtype=torch.int64))

    def step(self, state, actions):
        never = torch.zeros(len(actions), dtype=torch.bool)
        return Clock(state.time + 1), torch.zeros(len(actions), 2), never, never

    def observe(self, state):
        return state.time[:, None, None].expand(-1, 2, 4).float()

    def centralized(self, state):
        return state.time[:, None].float()

    def available(self, state):
        return torch.ones(len(state.time), 2, 3, dtype=torch.bool)


class Restarting(Ticking):
    def restart(self, state, finished):
        return Clock(torch.where(finished, 100, state.time))


@pytest.mark.parametrize("kind", [Ticking, Restarting])
def test_a_copy_that_starts_afresh_remembers_nothing_and_the_others_go_on(kind):
    game = WithMemory(kind(), 2, counting)
    state = game.reset(3)
    for _ in range(3):
        state, *_ = game.step(state, torch.ones(3, 2, dtype=torch.int64))
    following = restarted(game, state, torch.tensor([False, True, False]))
    assert not following.memory[1].any()
    assert not following.last_action[1].any()
    assert following.inner.time.tolist() == [3, 100 if kind is Restarting else 0, 3]
    for before, after in ((state.memory, following.memory), (state.last_action, following.last_action)):
        assert before[[0, 2]].any()
        assert torch.equal(before[[0, 2]], after[[0, 2]])
