"""Search for rare corners where a mixer falls: a population of inputs moves towards the steepest descent.

Random pairs find what goes wrong on a sizeable part of the inputs. Here each input is scored by the smallest rise of
Q_tot, over a set of steps of one utility; the lowest quarter survives and is varied: small moves, numbers that stand
in the target's code, coordinates exchanged between survivors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.trial import Subject

Array = NDArray[Any]
POPULATION = 192
ROUNDS = 16
DELTAS = (0.25, 1.0, 8.0, 50.0)


@dataclass
class Population:
    """Inputs under search: utilities [P, n], states [P, s], and the step that each is scored by."""

    utilities: Array
    state: Array
    agent: Array
    delta: Array

    def take(self, index: Array) -> "Population":
        """Return the members at the given positions."""
        return Population(self.utilities[index], self.state[index], self.agent[index], self.delta[index])


def rises(subject: Subject, population: Population) -> Array:
    """How much Q_tot rises per unit of each member's step, shape [P]; infinite where it is not finite."""
    raised = population.utilities.copy()
    raised[np.arange(len(raised)), population.agent] += population.delta
    before, after = subject(population.utilities, population.state), subject(raised, population.state)
    with np.errstate(invalid="ignore"):
        slope = (after - before) / population.delta
    return np.where(np.isfinite(slope), slope, np.inf)


def descend(subject: Subject, seed: int, special: Sequence[float]) -> Population:
    """Search, and return the population ordered from the lowest rise."""
    generator = np.random.default_rng(seed)
    n, s = subject.size["n_agents"], subject.size["state_size"]
    population = Population(
        np.round(generator.choice([1.0, 8.0, 50.0], (POPULATION, 1)) * generator.standard_normal((POPULATION, n)) * 64)
        / 64,
        np.round(generator.choice([1.0, 8.0], (POPULATION, 1)) * generator.standard_normal((POPULATION, s)) * 64) / 64,
        generator.integers(0, n, POPULATION),
        generator.choice(DELTAS, POPULATION),
    )
    scores = rises(subject, population)
    for _ in range(ROUNDS):
        keep = np.argsort(scores)[: POPULATION // 4]
        survivors = population.take(keep)
        children = _varied(survivors, generator, special)
        merged = _joined(survivors, children)
        population, scores = (
            merged,
            np.concatenate([scores[keep], rises(subject, _padded(children))[: len(children.agent)]]),
        )
    return population.take(np.argsort(scores))


def _varied(parents: Population, generator: np.random.Generator, special: Sequence[float]) -> Population:
    children = parents.take(generator.integers(0, len(parents.agent), POPULATION - len(parents.agent)))
    for values in (children.utilities, children.state):
        mates = generator.permutation(len(values))
        swap = generator.random(values.shape) < 0.15
        values[swap] = values[mates][swap]
        step = generator.choice([0.25, 1.0, 8.0], (len(values), 1)) * generator.standard_normal(values.shape)
        values += np.where(generator.random(values.shape) < 0.5, step, 0.0)
        if special:
            placed = generator.random(values.shape) < 0.1
            values[placed] = generator.choice(np.asarray(special), values.shape)[placed]
        np.clip(np.round(values * 64) / 64, -200, 200, out=values)
    fresh = generator.random(len(children.agent)) < 0.3
    n = children.utilities.shape[1]
    children.agent = np.where(fresh, generator.integers(0, n, len(fresh)), children.agent)
    children.delta = np.where(fresh, generator.choice(DELTAS, len(fresh)), children.delta)
    return children


def _padded(children: Population) -> Population:
    """Bring a population to the full size, so that all calls of one search have one shape."""
    index = np.arange(POPULATION) % len(children.agent)
    return children.take(index)


def _joined(first: Population, second: Population) -> Population:
    return Population(
        np.concatenate([first.utilities, second.utilities]),
        np.concatenate([first.state, second.state]),
        np.concatenate([first.agent, second.agent]),
        np.concatenate([first.delta, second.delta]),
    )
