"""Enumeration: a learner's values of all joint actions, and training on all of them instead of on samples."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map

from marlspec.errors import InputError
from marlspec.reference.parts.learner import ValueLearner
from marlspec.reference.parts.utilities import available_only


def enumerated_batch(learner: ValueLearner) -> Any:
    """Return all joint actions of a matrix game once each, as a batch [seeds, A_1 * .. * A_n, ..] for learner.learn.

    It is the data of the uniform policy without sampling noise.

    Raises:
        InputError: the game goes on after some joint action, so that its first stage is not the whole data.
    """
    batch = joint_batch(learner)
    if not bool(batch.terminated.all()):
        raise InputError(f"{learner.game.name} goes on after its first stage: enumerate matrix games, sample this one")
    return batch


def joint_batch(learner: ValueLearner, state: Any = None) -> Any:
    """Return the transitions of all available joint actions in one state, in row-major order, the same for each seed.

    Where episodes are replayed, each is an episode of one time step.

    Args:
        learner: whose game is played, and whose replay buffer names the fields.
        state: a game state of one copy; the initial state where it is left out.

    Raises:
        InputError: a state in the midst of an episode, of which recurrent networks see the beginning as well.
    """
    state = learner.game.reset(1) if state is None else state
    if learner.config.recurrent and bool(state.last_action.any()):
        raise InputError("the values that recurrent networks give a state depend on how it was reached: leave it out")
    actions = _joint_actions(learner, state).repeat(learner.config.seeds, 1)
    state = _copies(state, len(actions))
    following, rewards, terminated, _ = learner.game.step(state, actions)
    shape = (learner.config.seeds, -1)
    fields = {
        "history": learner.history(state),
        "z": learner.centralized(state),
        "action": actions.view(*shape, learner.game.n_agents),
        "reward": rewards[:, 0].view(shape),
        "next_history": learner.history(following),
        "next_available": learner.available(following),
        "next_z": learner.centralized(following),
        "terminated": terminated.view(shape),
        "filled": torch.ones_like(terminated).view(shape),
    }
    batch = [fields[name] for name in learner.replay.names]
    of_episodes = "filled" in learner.replay.names
    return learner.replay.kind(*(value.unsqueeze(2) if of_episodes else value for value in batch))


def joint_table(learner: ValueLearner, state: Any = None) -> Float[Tensor, "seeds *A"]:
    """Return Q_tot of all available joint actions [seeds, A_1, .., A_n] in one state, the initial one by default."""
    state = learner.game.reset(1) if state is None else state
    counts = learner.game.available(state)[0].sum(-1).tolist()
    with torch.no_grad():
        return learner.value(joint_batch(learner, state)).view(-1, *counts)


def utility_table(learner: ValueLearner, state: Any = None) -> Float[Tensor, "seeds n A"]:
    """Return all agents' utilities in one state; minus infinity for unavailable actions."""
    state = learner.game.reset(1) if state is None else state
    state = _copies(state, learner.config.seeds)
    with torch.no_grad():
        return available_only(learner.output(state), learner.available(state)).squeeze(1)


def _copies(state: Any, K: int) -> Any:
    """Return the state of K copies that all stand where a single one does."""
    return tree_map(lambda value: value.expand(K, *value.shape[1:]), state)


def _joint_actions(learner: ValueLearner, state: Any) -> Int[Tensor, "J n"]:
    own = [available.nonzero().squeeze(-1) for available in learner.game.available(state)[0]]
    return torch.stack(torch.meshgrid(*own, indexing="ij"), -1).flatten(0, -2)
