"""Games of a few states, agents, actions and steps, whose expected return is a sum over all of their courses.

A case holds `rewards` [S, A_1, .., A_n] of all agents together, `following` [S, A_1, .., A_n] (the next state),
`horizon` T and `gamma`. Play begins in state 0. Policies are the same at every step: probabilities [S, n, A].
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from marlspec.properties.cases import Case, without
from marlspec.properties.steps import quarters


def drawn_game(generator: np.random.Generator, n: int, A: int) -> Case:
    """Draw a game of up to three states and steps."""
    S = int(generator.integers(1, 4))
    shape = (S,) + (A,) * n
    return {
        "rewards": quarters(generator, shape).tolist(),
        "following": generator.integers(0, S, shape).tolist(),
        "horizon": int(generator.integers(1, 4)),
        "gamma": float(generator.choice([1.0, 0.875, 0.5])),
    }


def action_values(case: Case, policies: Tensor) -> list[Tensor]:
    """Return Q_t of joint actions [S, A_1, .., A_n] for t = 0 .. T - 1: what is received from t on, discounted to t."""
    rewards, following = torch.tensor(case["rewards"], dtype=torch.float64), torch.tensor(case["following"])
    joint = _joint(policies)
    values = torch.zeros(len(rewards), dtype=torch.float64)
    found: list[Tensor] = []
    for _ in range(case["horizon"]):
        found.insert(0, rewards + case["gamma"] * values[following])
        values = (joint * found[0]).flatten(1).sum(-1)
    return found


def expected_return(case: Case, policies: Tensor) -> Tensor:
    """Return J, the expected discounted return from state 0."""
    return (_joint(policies)[0] * action_values(case, policies)[0][0]).sum()


def weights(case: Case, policies: Tensor) -> Tensor:
    """Return by what E[sum_t gamma^t Q_t(s_t, a_t) grad log pi_i(a_i | s_t)] weighs each score: [S, n, A].

    That is sum_t gamma^t P(s_t = s) pi_i(a_i | s) E[Q_t(s, a) | a_i], where P(s_t) is carried on from step to step.
    """
    following = torch.tensor(case["following"])
    S, n, A = policies.shape
    joint, total = _joint(policies), torch.zeros(S, n, A, dtype=torch.float64)
    occupied = torch.eye(S, dtype=torch.float64)[0]
    for t, values in enumerate(action_values(case, policies)):
        share = joint * occupied.reshape(S, *[1] * n)
        for i in range(n):
            own = (share * values).movedim(i + 1, 1).reshape(S, A, -1).sum(-1)
            total[:, i] += case["gamma"] ** t * own
        occupied = torch.zeros(S, dtype=torch.float64).scatter_add_(0, following.flatten(), share.flatten())
    return total


def smaller_games(case: Case) -> Iterator[Case]:
    """Fewer steps, no discount, and fewer agents, the others' first actions being what is left of theirs."""
    for horizon in range(1, case["horizon"]):
        yield {**case, "horizon": horizon}
    if case["gamma"] != 1:
        yield {**case, "gamma": 1.0}
    n = len(case["logits"][0])
    for i in range(n if n > 1 else 0):
        cut = {name: np.take(np.array(case[name]), 0, axis=i + 1).tolist() for name in ("rewards", "following")}
        yield {**without(case, dict.fromkeys(("logits", "available"), (1,)), i), **cut}
    yield from _without_states(case)


def _without_states(case: Case) -> Iterator[Case]:
    """Leave the last state out; what led there leads to state 0."""
    S = len(case["rewards"])
    if S > 1:
        cut = {name: case[name][:-1] for name in ("rewards", "following", "logits", "available")}
        following = np.array(cut["following"])
        yield {**case, **cut, "following": np.where(following == S - 1, 0, following).tolist()}


def _joint(policies: Tensor) -> Tensor:
    """Return the probabilities of joint actions, [S, A_1, .., A_n]."""
    S, n, A = policies.shape
    joint = torch.ones((S,) + (1,) * n, dtype=torch.float64)
    for i in range(n):
        joint = joint * policies[:, i].reshape(S, *[A if j == i else 1 for j in range(n)])
    return joint
