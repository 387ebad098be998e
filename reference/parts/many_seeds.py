"""Many seeds of a tabular algorithm at once: the numbers that each run alone would give, bit for bit.

Each of the K seeds draws from a generator of its own, as many numbers per time step as the plain learner and in the
same order (tabular.py says which), and the arithmetic is the same operations in the same order. What chooses an
action, one learner for all agents in CQL and each of the n agents in IQL, is a chooser here; their values stand in one
array, so that a time step is the same few array operations for any number of seeds and choosers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from marlspec.games.stochastic import StochasticGame
from marlspec.reference.parts.scalarisation import scalarisation
from marlspec.reference.parts.schedules import linear
from marlspec.reference.parts.tabular import (
    FOR_A_CHOOSER,
    FOR_THE_GAME,
    Floats,
    GameTables,
    discount,
    generator_of,
    numbers_per_step,
)
from marlspec.reference.parts.tabular_config import CQLConfig, TabularConfig

Integers = NDArray[np.int64]

NUMBERS_AT_ONCE = 1_000_000
REPORT_EVERY = 500


class ManySeeds(ABC):
    """config.seeds runs of a tabular algorithm.

    Attributes:
        t: time steps of each seed so far.
        values: the choosers' action values [C, K, S, A], minus infinity for actions that a chooser does not have.
        state: the seeds' states [K]; meaningless where the episode is over.
        over: whether the last episode is over, or none has begun [K].
        length: time steps of the current episode so far [K].
    """

    config_type: ClassVar[type[TabularConfig]] = TabularConfig

    def __init__(self, game: StochasticGame, config: TabularConfig, counts: Sequence[int]) -> None:
        """Initialise.

        Args:
            game: the game.
            config: the settings; config.seeds is K.
            counts: the number of actions of each chooser; their product is the number of joint actions.
        """
        self.game = game
        self.config = config
        self.generators = [generator_of(config.seed, k) for k in range(config.seeds)]
        self.gamma = discount(game, config)
        self.epsilon = linear(config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        self.alpha = linear(config.alpha_start, config.alpha_end, config.alpha_steps)
        self.tables = GameTables(game)
        C, K, S, A = len(counts), config.seeds, game.n_states, max(counts)
        self.counts = np.array(counts)[:, None]
        self.actions = np.arange(A)[:, None, None]
        self.first_place = np.arange(C * K).reshape(C, K) * S * A
        self.values = np.zeros((C, K, S, A))
        for c, count in enumerate(counts):
            self.values[c, ..., count:] = -np.inf
        self._flat = self.values.reshape(-1)
        self.t = 0
        self.state = np.full(K, -1)
        self.over = np.ones(K, dtype=bool)
        self.length = np.zeros(K, dtype=np.int64)

    @abstractmethod
    def chooser_rewards(self, rewards: Floats) -> Floats:
        """Return what each chooser learns from [C, K], given the agents' rewards [K, n]."""

    @abstractmethod
    def greedy(self, k: int) -> NDArray[np.bool_]:
        """Return which joint actions seed k takes where it does not explore, [S, A_1, .., A_n]; several at a tie."""

    def run(self, steps: int, report: Callable[[int], None] = lambda done: None) -> None:
        """Make further time steps of all seeds; report is told the steps made, now and then."""
        for done, uniforms in enumerate(self._uniforms(steps), start=1):
            self.step(uniforms)
            if done % REPORT_EVERY == 0 or done == steps:
                report(done)

    def step(self, uniforms: Floats) -> None:
        """Make one time step of every seed with its uniform numbers [numbers, K]."""
        start, outcome = uniforms[:FOR_THE_GAME]
        if self.over.any():
            self._begin_episodes(start)
        place = self.first_place + self.state * len(self.actions)
        a = self._choose(self._flat.take(place + self.actions), uniforms[FOR_THE_GAME:])
        rewards, next_s, terminated = self.tables.outcome(self.state, self._joint(a), outcome)
        self._update(place + a, self.chooser_rewards(rewards), next_s, terminated)
        self.state = next_s
        self.length += 1
        self.over = terminated | (self.length == self.config.horizon)
        self.t += 1

    def _begin_episodes(self, u: Floats) -> None:
        self.state = np.where(self.over, self.tables.start(u), self.state)
        self.length[self.over] = 0

    def _choose(self, values: Floats, uniforms: Floats) -> Integers:
        """Return the actions [C, K] taken with values [A, C, K]: random ones where the coin says so, else greedy."""
        coin, action, tie = uniforms.reshape(len(self.counts), FOR_A_CHOOSER, -1).swapaxes(0, 1)
        explored = (action * self.counts).astype(np.int64)
        return np.where(coin < self.epsilon(self.t), explored, greedy_actions(values, tie))

    def _joint(self, a: Integers) -> Integers:
        """Return the places [K] of the joint actions, the last chooser's action running fastest."""
        j: Integers = a[0]
        for action, count in zip(a[1:], self.counts[1:], strict=True):
            j = j * count + action
        return j

    def _update(self, place: Integers, r: Floats, next_s: Integers, terminated: NDArray[np.bool_]) -> None:
        """Move one entry for every chooser and seed, at the places [C, K]; Q(terminal, .) = 0."""
        following = self._flat.take(self.first_place + next_s * len(self.actions) + self.actions).max(axis=0)
        old = self._flat.take(place)
        bootstrap = np.where(terminated, 0.0, following)
        self._flat[place] = old + self.alpha(self.t) * (r + self.gamma * bootstrap - old)

    def _uniforms(self, steps: int) -> Iterator[Floats]:
        """Yield each time step's uniform numbers [numbers, K], drawn for many steps at once."""
        numbers = numbers_per_step(len(self.counts))
        at_once = max(1, NUMBERS_AT_ONCE // (numbers * self.config.seeds))
        for first in range(0, steps, at_once):
            size = (min(at_once, steps - first), numbers)
            yield from np.stack([generator.random(size) for generator in self.generators], axis=-1)


class ManyCQL(ManySeeds):
    """Central Q-learning of many seeds.

    Attributes:
        q: joint action values [K, S, A_1, .., A_n].
    """

    config_type = CQLConfig

    def __init__(self, game: StochasticGame, config: CQLConfig) -> None:
        """Initialise; InputError for a scalarisation that does not fit the game's agents."""
        super().__init__(game, config, [math.prod(game.n_actions)])
        self.scalar_reward = scalarisation(config.scalarisation, game.n_agents)
        self.q = self.values.reshape(config.seeds, game.n_states, *game.n_actions)

    def chooser_rewards(self, rewards: Floats) -> Floats:
        """Return the scalar reward [1, K]."""
        scalar: Floats = self.scalar_reward(rewards)
        return scalar[None]

    def greedy(self, k: int) -> NDArray[np.bool_]:
        """Return which joint actions have the largest value, [S, A_1, .., A_n]."""
        largest: NDArray[np.bool_] = self.q[k] == self.q[k].max(axis=tuple(range(1, self.q.ndim - 1)), keepdims=True)
        return largest


class ManyIQL(ManySeeds):
    """Independent Q-learning of many seeds.

    Attributes:
        q: n tables; agent i's holds the values of its own actions [K, S, A_i].
    """

    def __init__(self, game: StochasticGame, config: TabularConfig) -> None:
        super().__init__(game, config, game.n_actions)
        self.q = [own[..., :count] for own, count in zip(self.values, game.n_actions, strict=True)]

    def chooser_rewards(self, rewards: Floats) -> Floats:
        """Return every agent's own reward [n, K]."""
        return rewards.T

    def greedy(self, k: int) -> NDArray[np.bool_]:
        """Return the product of the agents' sets of best actions, [S, A_1, .., A_n]."""
        result = np.ones((self.game.n_states, *self.game.n_actions), dtype=bool)
        for i, q in enumerate(self.q):
            best = q[k] == q[k].max(axis=1, keepdims=True)
            shape = np.ones(result.ndim, dtype=int)
            shape[0], shape[i + 1] = best.shape
            result &= best.reshape(shape)
        return result


MANY: dict[str, type[ManyCQL] | type[ManyIQL]] = {"cql": ManyCQL, "iql": ManyIQL}


def greedy_actions(values: Floats, u: Floats) -> Integers:
    """Return for values [A, ..] a place [..] of the largest along the first axis; of several each alike probable."""
    so_far = (values == values.max(axis=0)).cumsum(axis=0)
    rank = (u * so_far[-1]).astype(np.int64)
    place: Integers = (so_far <= rank).sum(axis=0)
    return place
