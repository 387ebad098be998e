"""Hyperparameters of the deep algorithms: each with its default, its meaning and where the default comes from."""

from dataclasses import dataclass
from typing import Literal

from marlspec.errors import InputError


@dataclass(frozen=True)
class RunConfig:
    """Settings that every deep learner has.

    Raises:
        InputError: a value outside its range.
    """

    steps: int = 20_000
    """Passes of the main loop's body (book, figures 9.10-9.15)."""
    seeds: int = 1
    """Independent runs trained at once, as one more batch axis (own choice)."""
    seed: int = 0
    """Seed of the random numbers (own choice)."""
    device: str = "cpu"
    """Where everything lives: cpu, cuda, cuda:1 (own choice)."""
    copies: int = 1
    """Parallel copies K of the game for each seed (own choice: the listing plays one game)."""
    gamma: float = 0.99
    """Discount in [0, 1] (QMIX paper); it plays no part in a matrix game."""
    learning_rate: float = 3e-4
    """Adam's step size (book, figures 9.10-9.15)."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the networks' hidden layers, with ReLU (book, figures 9.10-9.15)."""
    share: bool = False
    """One network for all agents, which sees the agent's number one-hot, instead of one for each (own choice: the
    listings have n networks)."""

    @property
    def recurrent(self) -> bool:
        """Whether the agents' networks remember their histories by a GRU."""
        return False

    def __post_init__(self) -> None:
        for name in ("seeds", "copies"):
            self._require(name, getattr(self, name) >= 1, "a positive integer")
        self._require("steps", self.steps >= 0, "an integer, 0 or more")
        self._require("gamma", 0 <= self.gamma <= 1, "between 0 and 1")
        self._require("learning_rate", 0 < self.learning_rate < float("inf"), "positive and finite")
        self._require("hidden", all(width >= 1 for width in self.hidden), "positive widths")
        self._require("hidden", len(self.hidden) > 0 or not self.recurrent, "at least one width, the GRU's")

    def _require(self, name: str, holds: bool, demand: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)!r}: it must be {demand}")


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a deep value-based learner; the defaults are the book's for its matrix games.

    A step is a time step: it steps all parallel copies once and makes one update.
    """

    batch_size: int = 128
    """Mini-batch size B (book, figures 9.10-9.15)."""
    capacity: int = 20_000
    """Transitions kept by each seed's replay buffer (own choice: a whole run of one copy)."""
    target_interval: int = 200
    """Updates from one copy of the target networks to the next (book, figures 9.10-9.15)."""
    epsilon_start: float = 1.0
    """Probability of a random action at the first time step; 1 is the uniform policy (book, figures 9.10-9.15)."""
    epsilon_end: float = 1.0
    """Probability of a random action from epsilon_steps on (book, figures 9.10-9.15)."""
    epsilon_steps: int = 0
    """Time steps over which epsilon moves linearly from start to end; 0: epsilon_end throughout (own choice)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "target_interval"):
            self._require(name, getattr(self, name) >= 1, "a positive integer")
        self._require("epsilon_steps", self.epsilon_steps >= 0, "an integer, 0 or more")
        for name in ("epsilon_start", "epsilon_end"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        self._require("capacity", self.capacity >= self.copies, f"at least copies = {self.copies}")
        self._require("capacity", self.capacity >= self.batch_size, f"at least batch_size = {self.batch_size}")


@dataclass(frozen=True)
class QMIXConfig(Config):
    """Settings of QMIX: those of every deep value-based learner, and the mixing network's width."""

    embed: int = 32
    """Units of the mixing network's hidden layer (QMIX paper)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("embed", self.embed >= 1, "a positive integer")


@dataclass(frozen=True)
class QMIXEpisodesConfig(QMIXConfig):
    """Settings of QMIX with replay of episodes; a step is one episode of every copy and one update."""

    steps: int = 5_000
    """Episodes that each copy plays (own choice)."""
    batch_size: int = 32
    """Episodes of a batch (QMIX paper)."""
    capacity: int = 5_000
    """Episodes kept by each seed's replay buffer (QMIX paper)."""
    horizon: int = 25
    """Most time steps of an episode: one that goes on is cut off there, and shorter ones take as long to compute (own
    choice: that of repeated matrix games)."""
    history: Literal["observation", "gru"] = "observation"
    """What an agent's network sees: the last observation, or by a GRU, in place of the last hidden layer, all of the
    episode's and its own last actions, as in the QMIX paper (own choice: exact where an observation tells all)."""

    @property
    def recurrent(self) -> bool:
        """Whether the agents' networks remember their histories by a GRU."""
        return self.history == "gru"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("horizon", self.horizon >= 1, "a positive integer")
        self._require("history", self.history in ("observation", "gru"), "observation or gru")


@dataclass(frozen=True)
class ReinforceConfig(RunConfig):
    """Settings of REINFORCE; a step is one episode of every copy and one update."""

    horizon: int = 25
    """Most time steps of an episode: one that goes on is cut off there, and shorter ones take as long to compute (own
    choice: that of repeated matrix games)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("horizon", self.horizon >= 1, "a positive integer")


@dataclass(frozen=True)
class ActorCriticConfig(RunConfig):
    """Settings of a learner with actors and critics; a step is a time step of all copies and one update."""

    copies: int = 16
    """Parallel copies K of the game for each seed, the batch of an update (own choice)."""
    critic_learning_rate: float = 1e-3
    """Adam's step size for the critics; learning_rate is the actors' (own choice: a critic that leads)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rate = self.critic_learning_rate
        self._require("critic_learning_rate", 0 < rate < float("inf"), "positive and finite")


@dataclass(frozen=True)
class ParetoACConfig(ActorCriticConfig):
    """Settings of Pareto-AC; a step is a rollout of all copies and one update.

    "Authors' code": the settings for matrix games in EPyMARL, pac_ns.yaml.
    """

    copies: int = 10
    """Parallel copies K of the game for each seed (authors' code)."""
    critic_learning_rate: float = 3e-4
    """Adam's step size for both kinds of critics; learning_rate is the actors' (authors' code)."""
    n_steps: int = 10
    """Time steps of a rollout, the most rewards that a target sums before it bootstraps (authors' code)."""
    tau: float = 0.01
    """Share of the way that the target networks go towards the online ones in each update (authors' code)."""
    entropy_start: float = 20.0
    """Coefficient c_H of the entropy at the first update (Pareto-AC paper, matrix games; authors' code)."""
    entropy_end: float = 0.01
    """Coefficient c_H of the entropy once it has fallen (Pareto-AC paper)."""
    entropy_share: float = 0.8
    """Share of all steps over which c_H falls in a straight line from start to end (authors' code)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("n_steps", self.n_steps >= 1, "a positive integer")
        for name in ("tau", "entropy_share"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("entropy_start", "entropy_end"):
            self._require(name, 0 <= getattr(self, name) < float("inf"), "finite, 0 or more")


@dataclass(frozen=True)
class COMAConfig(ActorCriticConfig):
    """Settings of COMA; a step is one episode of every copy, a critic update for each time step and one of the actors.

    RMSprop takes the place of Adam, as in the COMA paper.
    """

    copies: int = 10
    """Episodes K of a batch for each seed (COMA paper: 30 / n, here for n = 3)."""
    learning_rate: float = 5e-4
    """RMSprop's step size for the actors (COMA paper)."""
    critic_learning_rate: float = 5e-4
    """RMSprop's step size for the critic (COMA paper)."""
    horizon: int = 25
    """Most time steps of an episode: one that goes on is cut off there, and shorter ones take as long to compute (own
    choice: that of repeated matrix games)."""
    td_lambda: float = 0.8
    """Weight lambda of longer returns in the critic's targets (COMA paper)."""
    target_interval: int = 150
    """Critic updates from one copy of the target network to the next (COMA paper)."""
    epsilon_start: float = 0.5
    """Probability epsilon of a uniform action that the policies hold at the first step (COMA paper)."""
    epsilon_end: float = 0.02
    """The same from epsilon_steps on (COMA paper)."""
    epsilon_steps: int = 750
    """Steps over which epsilon moves linearly from start to end (COMA paper)."""
    history: Literal["observation", "gru"] = "gru"
    """What an actor sees: by a GRU, in place of the last hidden layer, all of the episode's observations and its own
    last actions (COMA paper), or the last observation alone."""

    @property
    def recurrent(self) -> bool:
        """Whether the actors remember their histories by a GRU."""
        return self.history == "gru"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("horizon", "target_interval"):
            self._require(name, getattr(self, name) >= 1, "a positive integer")
        self._require("epsilon_steps", self.epsilon_steps >= 0, "an integer, 0 or more")
        self._require("history", self.history in ("observation", "gru"), "observation or gru")
        for name in ("td_lambda", "epsilon_start", "epsilon_end"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
