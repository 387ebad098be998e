"""Independent Q-learning (IQL): every agent learns values of its own actions, as if it were alone.

Source: lecture, Algorithm 5; book, Algorithm 5.

Listing:
     1  Q_i(s, a_i) = 0 for all states s and all actions a_i of agent i
     2  For every episode
     3      For t = 0, 1, 2, ..
     4          Observe the state s
     5          With probability epsilon take a random action a_i
     6          Otherwise take a greedy one, a_i in argmax_a Q_i(s, a)
     7          Meanwhile the other agents j != i take their actions a_j
     8          Observe the own reward r_i and the next state s'
     9          Q_i(s, a_i) = Q_i(s, a_i) + alpha (r_i + gamma max_a Q_i(s', a) - Q_i(s, a_i))
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.games.matrix import JointAction
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.parts.tabular import TabularLearner, greedy_action, random_action
from marlspec.reference.parts.tabular_config import TabularConfig


def update(
    q: NDArray[Any], s: int, a: int, r: Any, next_s: int, terminated: bool, alpha: Any, gamma: Any
) -> NDArray[Any]:
    """Return agent i's table after one transition: the entry of (s, a_i) moved, all others as they were.

    Args:
        q: the agent's action values [S, A_i], float64, or exact numbers (dtype object); it is left as it is.
        s: the state.
        a: the agent's own action.
        r: the agent's own reward.
        next_s: the next state.
        terminated: whether next_s is terminal: Q_i(terminal, .) = 0, whatever the table holds.
        alpha: learning rate in [0, 1].
        gamma: discount in [0, 1].
    """
    following = 0 if terminated else q[next_s].max()  # 9
    result = q.copy()
    result[s][a] = q[s][a] + alpha * (r + gamma * following - q[s][a])  # 9
    return result


class IQL(TabularLearner):
    """IQL in training, all n agents at once; see TabularLearner for episodes, schedules and random numbers.

    The listing controls one agent i. Here every agent follows it, each with a coin of its own (N2): lines 5 and 6 of
    all agents together are line 7 of each.

    Attributes:
        q: n tables; agent i's holds the values of its own actions [S, A_i].
    """

    def __init__(self, game: StochasticGame, config: TabularConfig, generator: np.random.Generator) -> None:
        super().__init__(game, config, generator)
        self.choosers = game.n_agents
        self.q = [np.zeros((game.n_states, count)) for count in game.n_actions]  # 1

    def step(self) -> None:  # 2-3
        """Make one time step, the first of a new episode where the last one is over."""
        draw = self.draw()
        if self.over:  # 2
            self.begin_episode(draw.start)  # 2
        s = self.state  # 4
        a: JointAction = ()
        for q, choice in zip(self.q, draw.choices, strict=True):  # 5-7
            if choice.coin < self.epsilon(self.t):  # 5
                a += random_action(q[s], choice.action)  # 5
            else:
                a += greedy_action(q[s], choice.tie)  # 6
        rewards, next_s, terminated = self.apply_actions(a, draw.outcome)  # 7-8
        for i, q in enumerate(self.q):  # 9
            self.q[i] = update(q, s, a[i], rewards[i], next_s, terminated, self.alpha(self.t), self.gamma)  # 9
        self.t += 1
