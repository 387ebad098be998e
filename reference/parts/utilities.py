"""Picking from utilities: of the actions taken, and of the actions that are available; actions as vectors."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def chosen(utilities: Float[Tensor, "*batch n A"], action: Int[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Return Q(h_i, a_i), each agent's utility of its own action."""
    return utilities.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def available_only(
    utilities: Float[Tensor, "*batch n A"], available: Bool[Tensor, "*batch n A"]
) -> Float[Tensor, "*batch n A"]:
    """Return the utilities with minus infinity for unavailable actions, so that no maximum falls on them."""
    return torch.where(available, utilities, -torch.inf)


def one_hot(action: Int[Tensor, "*batch n"], A: int, dtype: torch.dtype) -> Float[Tensor, "*batch n A"]:
    """Return actions as vectors with a single 1."""
    return (action.unsqueeze(-1) == torch.arange(A, device=action.device)).to(dtype)
