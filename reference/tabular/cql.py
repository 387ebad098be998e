"""Central Q-learning (CQL): one table of joint action values, from which one learner acts for all agents.

Source: lecture, Algorithm 4; book, Algorithm 4.

Listing:
     1  Q(s, a) = 0 for all states s and all joint actions a = (a_1 .. a_n)
     2  For every episode
     3      For t = 0, 1, 2, ..
     4          Observe the state s
     5          With probability epsilon take a random joint action a
     6          Otherwise take a greedy one, a in argmax_a Q(s, a)
     7          Apply a; receive the rewards r_1 .. r_n and the next state s'
     8          Make one scalar reward r of r_1 .. r_n
     9          Q(s, a) = Q(s, a) + alpha (r + gamma max_a' Q(s', a') - Q(s, a))
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.games.matrix import JointAction
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.parts.scalarisation import scalarisation
from marlspec.reference.parts.tabular import TabularLearner, greedy_action, random_action
from marlspec.reference.parts.tabular_config import CQLConfig


def update(
    q: NDArray[Any], s: int, a: JointAction, r: Any, next_s: int, terminated: bool, alpha: Any, gamma: Any
) -> NDArray[Any]:
    """Return the table after one transition: the entry of (s, a) moved, all others as they were.

    Args:
        q: joint action values [S, A_1, .., A_n], float64, or exact numbers (dtype object); it is left as it is.
        s: the state.
        a: the joint action, a tuple of n indices.
        r: the scalar reward.
        next_s: the next state.
        terminated: whether next_s is terminal: Q(terminal, .) = 0, whatever the table holds.
        alpha: learning rate in [0, 1].
        gamma: discount in [0, 1].
    """
    following = 0 if terminated else q[next_s].max()  # 9
    result = q.copy()
    result[s][a] = q[s][a] + alpha * (r + gamma * following - q[s][a])  # 9
    return result


class CQL(TabularLearner):
    """CQL in training; see TabularLearner for episodes, schedules and random numbers.

    Attributes:
        q: joint action values [S, A_1, .., A_n].
    """

    choosers = 1

    def __init__(self, game: StochasticGame, config: CQLConfig, generator: np.random.Generator) -> None:
        """Initialise; InputError for a scalarisation that does not fit the game's agents."""
        super().__init__(game, config, generator)
        self.scalar_reward = scalarisation(config.scalarisation, game.n_agents)
        self.q = np.zeros((game.n_states, *game.n_actions))  # 1

    def step(self) -> None:  # 2-3
        """Make one time step, the first of a new episode where the last one is over."""
        draw = self.draw()
        (choice,) = draw.choices
        if self.over:  # 2
            self.begin_episode(draw.start)  # 2
        s = self.state  # 4
        if choice.coin < self.epsilon(self.t):  # 5
            a = random_action(self.q[s], choice.action)  # 5
        else:
            a = greedy_action(self.q[s], choice.tie)  # 6
        rewards, next_s, terminated = self.apply_actions(a, draw.outcome)  # 7
        r = self.scalar_reward(rewards)  # 8
        self.q = update(self.q, s, a, r, next_s, terminated, self.alpha(self.t), self.gamma)  # 9
        self.t += 1
