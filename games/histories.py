"""Histories: what has happened, and what of it the agents have observed (lecture, notation of Definition 2)."""

from typing import NamedTuple

from marlspec.errors import InputError

JointObservation = tuple[int, ...]


class History(NamedTuple):
    """A full history up to time t: {s^0, o^0, a^0, .., s^t, o^t}.

    It ends with an observation, before the agents choose a^t. Histories are values: they can be compared, hashed and
    continued, and nothing changes them.

    Attributes:
        states: s^0, .., s^t.
        observations: the joint observations o^0, .., o^t, each a tuple with one observation per agent.
        actions: the joint actions a^0, .., a^{t-1}, each a tuple with one action per agent.
    """

    states: tuple[int, ...]
    observations: tuple[JointObservation, ...]
    actions: tuple[tuple[int, ...], ...]

    @property
    def t(self) -> int:
        """The time of the last state, which is the number of joint actions so far."""
        return len(self.actions)

    def then(self, action: tuple[int, ...], state: int, observation: JointObservation) -> "History":
        """Return the history that goes on with a joint action, the next state and its joint observation."""
        return History((*self.states, state), (*self.observations, observation), (*self.actions, action))


def beginning(state: int, observation: JointObservation) -> History:
    """Return the history at time 0, of the first state and its joint observation."""
    return History((state,), (observation,), ())


def sigma(history: History) -> tuple[JointObservation, ...]:
    """Return the history of joint observations o^0, .., o^t: what the agents together have observed."""
    return history.observations


def sigma_i(history: History, i: int) -> tuple[int, ...]:
    """Return agent i's history of observations o_i^0, .., o_i^t, on which its policy depends.

    Raises:
        InputError: there is no agent i.
    """
    n_agents = len(history.observations[0])
    if not 0 <= i < n_agents:
        raise InputError(f"there is no agent {i}: agents are numbered 0 to {n_agents - 1}")
    return tuple(observation[i] for observation in history.observations)
