"""Adapter: open_spiel's tabular Q-learner, driven through one update, as a target of the judge.

    marlspec check examples/open_spiel_tabular.py:q_learner --role tabular_update

It needs the package open_spiel. The learner keeps its table and its last step to itself, so the adapter makes a learner
for each update, writes the table into it, lets it see the state s and then s', and reads the table again. What came out
stands in docs/findings.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_spiel.python.algorithms.boltzmann_tabular_qlearner import BoltzmannQLearner
from open_spiel.python.algorithms.tabular_qlearner import QLearner
from open_spiel.python.rl_environment import StepType, TimeStep

Table = NDArray[np.float64]
Update = Callable[..., Table]


def q_learner() -> Update:
    """Return the update of QLearner."""
    return _update(QLearner)


def boltzmann_q_learner() -> Update:
    """Return the update of BoltzmannQLearner, which differs in how it acts alone."""
    return _update(BoltzmannQLearner)


def _update(kind: type[Any]) -> Update:
    def update(q: Table, s: int, a: int, r: float, next_s: int, terminated: bool, alpha: float, gamma: float) -> Table:
        learner = kind(player_id=0, num_actions=q.shape[1], step_size=alpha, discount_factor=gamma)
        for (state, action), value in np.ndenumerate(q):
            learner._q_values[_key(state)][action] = value
        learner.step(_seen(q, s, StepType.FIRST, None))
        learner._prev_action = a  # not the action that it chose at random
        learner.step(_seen(q, next_s, StepType.LAST if terminated else StepType.MID, r))
        return np.array(
            [[learner._q_values[_key(state)][action] for action in range(q.shape[1])] for state in range(len(q))]
        )

    return update


def _key(state: int) -> str:
    """How the learner names a state: its information state as text."""
    return str([state])


def _seen(q: Table, state: int, kind: StepType, reward: float | None) -> TimeStep:
    observations = {"info_state": [[state]], "legal_actions": [list(range(q.shape[1]))]}
    rewards = None if reward is None else [reward]
    return TimeStep(observations=observations, rewards=rewards, discounts=None, step_type=kind)
