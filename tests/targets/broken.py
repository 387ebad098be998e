"""One target per role and claim that the claim refutes, named by both: mixer.finite is broken by mixer_mixer_finite."""

import torch
from torch import nn
from torch.nn import functional


def taken(utilities, actions):
    return utilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def mixer_mixer_finite(n_agents, state_size):
    return lambda utilities, state: utilities.sqrt().sum(-1)


def mixer_mixer_deterministic(n_agents, state_size):
    return lambda utilities, state: functional.dropout(utilities, 0.5).sum(-1)


def mixer_mixer_pure(n_agents, state_size):
    return lambda utilities, state: utilities.mul_(2).sum(-1)


def mixer_mixer_batch(n_agents, state_size):
    return lambda utilities, state: (utilities - utilities.mean(0)).sum(-1)


def mixer_mixer_every_agent(n_agents, state_size):
    return lambda utilities, state: utilities[:, 1:].sum(-1)


class FreeWeights(nn.Module):
    """Positive weights at first, of any sign after training."""

    def __init__(self, n_agents, state_size):
        super().__init__()
        self.weights = nn.Linear(state_size, n_agents)
        nn.init.zeros_(self.weights.weight)
        nn.init.ones_(self.weights.bias)

    def forward(self, utilities, state):
        return (utilities * self.weights(state)).sum(-1)


mixer_mixer_monotone = FreeWeights


def mixer_igm_containment(n_agents, state_size):
    return lambda utilities, state: -utilities.sum(-1)


def mixer_igm_equivalence(n_agents, state_size):
    def flat(utilities, state):
        return 0.5 * utilities.sum(-1)

    flat.min_slope = 1.0
    return flat


def vdn_mixer_vdn_additive(n_agents, state_size):
    return lambda utilities, state: utilities.mean(-1)


def qmix_mixer_qmix_state_used(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1)


def qmix_mixer_qmix_bias_sign(n_agents, state_size):
    return lambda utilities, state: utilities.sum(-1) + state.abs().sum(-1)


def joint_value_joint_value_finite(n_agents, n_actions, state_size):
    return lambda utilities, actions, state: taken(utilities, actions).log().sum(-1)


def joint_value_joint_value_pure(n_agents, n_actions, state_size):
    return lambda utilities, actions, state: taken(utilities.add_(1.0), actions).sum(-1)


def joint_value_joint_value_deterministic(n_agents, n_actions, state_size):
    return lambda utilities, actions, state: taken(utilities + torch.rand_like(utilities), actions).sum(-1)


def joint_value_joint_value_batch(n_agents, n_actions, state_size):
    return lambda utilities, actions, state: taken(utilities, actions[:1].expand_as(actions)).sum(-1)


def joint_value_igm_containment(n_agents, n_actions, state_size):
    return lambda utilities, actions, state: taken(utilities, actions).sum(-1) + 2.0 * (actions[:, 0] == 0)


def joint_value_igm_equivalence(n_agents, n_actions, state_size):
    def best(utilities, actions, state):
        return utilities.amax(-1).sum(-1)

    best.min_slope = 1.0
    return best
