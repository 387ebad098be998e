"""What every tabular learner is made of: the game played from tables, the clock, and the random numbers.

Every time step of a run takes the same uniform numbers in [0, 1), whether it uses them or not: one for the first state
(used where an episode begins), one for the outcome of the joint action, and three for each chooser, which are its
coin, its random action and its choice among equally good actions. CQL has one chooser, IQL one for each agent. So many
runs can be made at once (many_seeds.py) with the very numbers that each of them would draw alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.errors import InputError
from marlspec.games.matrix import JointAction
from marlspec.games.stochastic import StochasticGame
from marlspec.reference.parts.schedules import linear
from marlspec.reference.parts.tabular_config import TabularConfig

Floats: TypeAlias = NDArray[np.float64]

FOR_THE_GAME = 2
FOR_A_CHOOSER = 3


class Choice(NamedTuple):
    """A chooser's uniform numbers of one time step, each a number or an array [seeds]."""

    coin: Any
    action: Any
    tie: Any


class Draw(NamedTuple):
    """All uniform numbers of one time step, each a number or an array [seeds]."""

    start: Any
    outcome: Any
    choices: tuple[Choice, ...]


def numbers_per_step(choosers: int) -> int:
    """Return how many uniform numbers a time step takes."""
    return FOR_THE_GAME + FOR_A_CHOOSER * choosers


def split(uniforms: Sequence[Any] | Floats) -> Draw:
    """Say what each of a time step's uniform numbers is for; first axis as long as numbers_per_step."""
    start, outcome, *rest = uniforms
    choices = (Choice(*rest[k : k + FOR_A_CHOOSER]) for k in range(0, len(rest), FOR_A_CHOOSER))
    return Draw(start, outcome, tuple(choices))


def random_action(values: NDArray[Any], u: float) -> JointAction:
    """Return the index into values [A_1, .., A_m] that the uniform number u picks, all alike probable."""
    return _index(int(u * values.size), values.shape)


def greedy_action(values: NDArray[Any], u: float) -> JointAction:
    """Return the index of a largest entry of values [A_1, .., A_m]; of several each is alike probable (N3)."""
    best = np.flatnonzero(values == values.max())
    return _index(int(best[int(u * len(best))]), values.shape)


def pick(cumulative: Floats, u: Any) -> Any:
    """Return the outcome that u picks, given running sums [.., M] of the outcomes' probabilities.

    u is a number, or an array of shape [..]; so is the outcome. The last sum may miss one by rounding, so u is scaled
    to it. An outcome of probability zero is never picked.
    """
    if cumulative.shape[-1] == 1:  # nothing to pick from; worth a branch in the loop of many seeds
        return np.zeros(np.shape(u), dtype=np.int64)
    level = u * cumulative[..., -1]
    return (cumulative <= np.asarray(level)[..., None]).sum(-1)


class GameTables:
    """A stochastic game in float64, laid out for playing it; s, j and u are numbers, or arrays [seeds] of them.

    A joint action is given by its place j in the order in which the last agent's action runs fastest.
    """

    def __init__(self, game: StochasticGame) -> None:
        rounded = game.as_float64()
        S, M = rounded.n_states, rounded.successors.shape[-1]
        self.successors = rounded.successors.reshape(S, -1, M)
        self.cumulative = np.cumsum(rounded.probabilities.reshape(S, -1, M), axis=-1)
        self.rewards = np.moveaxis(rounded.rewards, 0, -1).reshape(S, -1, M, rounded.n_agents)
        self.terminal = rounded.terminal
        self.cumulative_initial = np.cumsum(rounded.initial)

    def start(self, u: Any) -> Any:
        """Return the first state of an episode."""
        return pick(self.cumulative_initial, u)

    def outcome(self, s: Any, j: Any, u: Any) -> tuple[Floats, Any, Any]:
        """Return the rewards [.., n], the next state, and whether it is terminal."""
        m = pick(self.cumulative[s, j], u)
        following = self.successors[s, j, m]
        return self.rewards[s, j, m], following, self.terminal[following]


class TabularLearner(ABC):
    """A tabular algorithm in training: initialisation in __init__, one time step in step().

    The listings' two loops, over episodes and over the time steps of one, become one sequence of steps: a step that
    follows the end of an episode first begins the next one. An episode ends in a terminal state, or is cut off at
    config.horizon.

    Attributes:
        t: time steps so far, over all episodes; the schedules of epsilon and alpha go by it.
        state: the current state; meaningless where the episode is over.
        over: whether the last episode is over, or none has begun.
        length: time steps of the current episode so far.
    """

    choosers: int

    def __init__(self, game: StochasticGame, config: TabularConfig, generator: np.random.Generator) -> None:
        self.game = game
        self.config = config
        self.generator = generator
        self.gamma = discount(game, config)
        self.epsilon = linear(config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        self.alpha = linear(config.alpha_start, config.alpha_end, config.alpha_steps)
        self.tables = GameTables(game)
        self.t = self.length = 0
        self.state = -1
        self.over = True

    @abstractmethod
    def step(self) -> None:
        """Make one time step."""

    def run(self, steps: int) -> None:
        """Make further time steps."""
        for _ in range(steps):
            self.step()

    def draw(self) -> Draw:
        """Draw the uniform numbers of this time step."""
        return split(self.generator.random(numbers_per_step(self.choosers)).tolist())

    def begin_episode(self, u: float) -> None:
        """Put the game into a first state."""
        self.state = int(self.tables.start(u))
        self.length = 0
        self.over = False

    def apply_actions(self, a: JointAction, u: float) -> tuple[Floats, int, bool]:
        """Play a joint action; return the rewards [n], the next state, and whether it is terminal."""
        j = int(np.ravel_multi_index(a, self.game.n_actions))
        rewards, following, terminated = self.tables.outcome(self.state, j, u)
        self.state = int(following)
        self.length += 1
        self.over = bool(terminated) or self.length == self.config.horizon
        return rewards, self.state, bool(terminated)


def generator_of(seed: int, run: int) -> np.random.Generator:
    """Return the generator of one run of many: it depends on the seed and on the run's number alone."""
    return np.random.default_rng([seed, run])


def discount(game: StochasticGame, config: TabularConfig) -> float:
    """Return the discount: the config's, or the game's own.

    Raises:
        InputError: it is 1 in a game without terminal states, whose values then grow without bound.
    """
    gamma = float(game.gamma) if config.gamma is None else config.gamma
    if gamma == 1 and not np.any(game.terminal):
        raise InputError(f"gamma is 1 and {game.name} never ends, so that values grow without bound: give a gamma < 1")
    return gamma


def _index(flat: int, shape: tuple[int, ...]) -> JointAction:
    return tuple(int(k) for k in np.unravel_index(flat, shape))
