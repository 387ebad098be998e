"""Greedy evaluation: what the policies of a learner are worth, played in copies of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.learner import Learner
from marlspec.reference.parts.randomness import restored_afterwards

CONFIDENCE = 0.95
LONGEST = 10_000


@dataclass(frozen=True)
class Evaluation:
    """What greedy episodes brought.

    Attributes:
        returns: undiscounted returns, the mean over the episodes of each seed and agent [seeds, n].
        lengths: steps of an episode, the mean over the episodes of each seed [seeds].
    """

    returns: Float[Tensor, "seeds n"]
    lengths: Float[Tensor, " seeds"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and half the width of the interval around it; None for one seed, which tells no width."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:.6g}" if self.half is None else f"{self.mean:.6g} +- {self.half:.3g}"


@torch.no_grad()
def evaluate(learner: Learner, episodes: int, seed: int = 0, game: BatchedGame[Any] | None = None) -> Evaluation:
    """Play greedy episodes of every seed of a learner, all at once, in fresh copies of the game.

    Neither the learner nor the random numbers it draws from are touched: the copies' numbers come from a seed of their
    own, and the device's generator stands afterwards where it stood before.

    Args:
        learner: whose act() is asked for greedy actions.
        episodes: how many for each of its seeds.
        seed: decides the copies' random numbers.
        game: another game of the same sizes to play; the learner's own where it is left out.

    Raises:
        InputError: an episode does not end within 10 000 steps.
    """
    game = learner.game if game is None else learner.remembering(game)
    with restored_afterwards(learner.device) as generator:
        generator.manual_seed(seed)
        state = game.reset(learner.config.seeds * episodes)
        running = torch.ones(learner.config.seeds * episodes, dtype=torch.bool, device=learner.device)
        returns = torch.zeros(len(running), game.n_agents, dtype=torch.float64, device=learner.device)
        lengths = torch.zeros(len(running), dtype=torch.float64, device=learner.device)
        for _ in range(LONGEST):
            state, rewards, terminated, truncated = game.step(state, learner.act(state, greedy=True).flatten(0, 1))
            returns += torch.where(running[:, None], rewards, 0)
            lengths += running
            running &= ~(terminated | truncated)
            if not running.any():
                return Evaluation(_of_seeds(returns, learner), _of_seeds(lengths, learner))
    raise InputError(f"an episode of {game.name} has not ended within {LONGEST} steps: give the game a time limit")


def interval(values: Float[Tensor, " seeds"]) -> Interval:
    """Return the mean over seeds with Student's 95 % interval, for values of independent seeds."""
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) == 1:
        return Interval(float(sample[0]), None)
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1)
    return Interval(float(sample.mean()), float(quantile * sample.std(ddof=1) / np.sqrt(len(sample))))


def seed_of_evaluation(seed: int, steps: int) -> int:
    """Return the seed of the evaluation after so many steps of a run: another for each, the same for the same."""
    return int(np.random.SeedSequence([seed % 2**64, steps]).generate_state(1)[0])


def _of_seeds(values: Float[Tensor, "K *n"], learner: Learner) -> Float[Tensor, "seeds *n"]:
    return values.reshape(learner.config.seeds, -1, *values.shape[1:]).mean(1).cpu()
