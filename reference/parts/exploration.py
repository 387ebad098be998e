"""Exploration: which action each agent takes."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from marlspec.reference.parts.utilities import available_only


def epsilon_greedy(
    utilities: Float[Tensor, "*batch n A"], available: Bool[Tensor, "*batch n A"], epsilon: float
) -> Int[Tensor, "*batch n"]:
    """Choose each agent's action: with probability epsilon any available one, otherwise the best available one.

    Every agent has a coin of its own. With m available actions each has probability epsilon / m, and the greedy one
    (the first of several) 1 - epsilon more. Random actions are those with the largest of m independent uniform
    numbers, which is exact but for ties between the numbers (2^-24 for each pair). An agent without any available
    action gets action 0. Random numbers come from the device's default generator.
    """
    explores = torch.rand(*utilities.shape[:-1], 1, device=utilities.device) < epsilon
    scores = torch.where(explores, torch.rand_like(utilities), utilities)
    return available_only(scores, available).argmax(-1)
