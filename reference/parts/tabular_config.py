"""Settings of the tabular algorithms: each with its default, its meaning and where the default comes from."""

from dataclasses import dataclass

from marlspec.errors import InputError


@dataclass(frozen=True)
class TabularConfig:
    """Settings of a tabular learner. The listings leave all of them open, so that the defaults are our own choice.

    Raises:
        InputError: a value outside its range.
    """

    steps: int = 20_000
    """Time steps of each run, over all its episodes (own choice: those of the book's figures 9.10-9.15)."""
    seeds: int = 20
    """Independent runs; run k draws from a generator of its own, made from seed and k (own choice)."""
    seed: int = 0
    """Seed of the random numbers (own choice)."""
    gamma: float | None = None
    """Discount in [0, 1]; the game's own where it is left out (own choice: games here bring their discount)."""
    horizon: int = 0
    """Time steps after which an episode is cut off; 0: only a terminal state ends it. A cut-off episode is not
    terminated: its last update bootstraps (own choice)."""
    epsilon_start: float = 1.0
    """Probability of a random action at the first time step (own choice)."""
    epsilon_end: float = 0.05
    """Probability of a random action from epsilon_steps on (own choice)."""
    epsilon_steps: int = 10_000
    """Time steps over which epsilon moves linearly from start to end; 0: epsilon_end throughout (own choice)."""
    alpha_start: float = 0.1
    """Learning rate at the first time step (own choice)."""
    alpha_end: float = 0.1
    """Learning rate from alpha_steps on (own choice)."""
    alpha_steps: int = 0
    """Time steps over which alpha moves linearly from start to end; 0: alpha_end throughout (own choice)."""

    def __post_init__(self) -> None:
        self._require("seeds", self.seeds >= 1, "a positive integer")
        for name in ("steps", "seed", "horizon", "epsilon_steps", "alpha_steps"):
            self._require(name, getattr(self, name) >= 0, "an integer, 0 or more")
        for name in ("epsilon_start", "epsilon_end", "alpha_start", "alpha_end"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        self._require("gamma", self.gamma is None or 0 <= self.gamma <= 1, "between 0 and 1")

    def _require(self, name: str, holds: bool, demand: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)!r}: it must be {demand}")


@dataclass(frozen=True)
class CQLConfig(TabularConfig):
    """Settings of central Q-learning: those of every tabular learner, and how n rewards become one."""

    scalarisation: str = "sum"
    """The scalar reward of line 8: sum, weighted:2,1 (one weight for each agent) or agent:0 (that agent's own);
    the sum is the default because it takes no side (own choice)."""
