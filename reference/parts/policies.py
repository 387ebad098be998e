"""Stochastic policies from logits: which action each agent draws, and how probable it was."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.reference.parts.utilities import chosen


def permitted(available: Bool[Tensor, "*batch n A"]) -> Bool[Tensor, "*batch n A"]:
    """Return which actions a policy may draw: the available ones.

    An agent without any available action is given all of them: whatever it draws has no effect.
    """
    return available | ~available.any(-1, keepdim=True)


def log_policy(
    logits: Float[Tensor, "*batch n A"], available: Bool[Tensor, "*batch n A"]
) -> Float[Tensor, "*batch n A"]:
    """Return log pi(. | h_i), the softmax over permitted actions; minus infinity for the others."""
    return torch.where(permitted(available), logits, -torch.inf).log_softmax(-1)


def floored_log_policy(
    logits: Float[Tensor, "*batch n A"], available: Bool[Tensor, "*batch n A"], epsilon: float
) -> Float[Tensor, "*batch n A"]:
    """Return log P(. | h_i), P = (1 - epsilon) softmax + epsilon / m over the m permitted actions."""
    allowed = permitted(available)
    softmax = torch.where(allowed, log_policy(logits, available), 0.0)
    scale = torch.full_like(softmax, 1 - epsilon).log()
    floor = (epsilon / allowed.to(logits.dtype).sum(-1, keepdim=True)).log()
    return torch.where(allowed, torch.logaddexp(softmax + scale, floor), -torch.inf)


def sample_actions(log_pi: Float[Tensor, "*batch n A"]) -> Int[Tensor, "*batch n"]:
    """Draw each agent's action from its own policy.

    The action is the one with the largest sum of log-probability and Gumbel noise, which has exactly the policy's
    distribution and asks nothing of the host. Random numbers come from the device's default generator.
    """
    noise = -torch.empty_like(log_pi).exponential_().log()
    return (log_pi + noise).argmax(-1)


def log_probability(log_pi: Float[Tensor, "*batch n A"], action: Int[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Return log pi(a_i | h_i) of the actions taken."""
    return chosen(log_pi, action)


def entropy(log_pi: Float[Tensor, "*batch n A"]) -> Float[Tensor, "*batch n"]:
    """Return every policy's entropy in nats; unavailable actions add nothing, and no gradient."""
    finite = torch.where(log_pi.isinf(), 0.0, log_pi)
    return -(finite.exp() * finite * ~log_pi.isinf()).sum(-1)
