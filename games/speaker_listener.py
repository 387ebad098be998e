"""The speaker-listener game: one agent knows the goal and cannot move, the other moves and does not know the goal.

Two agents in the plane with three landmarks, each of its own colour. The speaker sees the colour of the goal landmark
and sends one of three messages. The listener sees its own velocity, where the landmarks lie relative to itself and the
message of the step before, and moves. Both receive minus the squared distance between the listener and the goal
landmark, so neither can do well before the messages have come to mean something. The game comes from Lowe et al.,
Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments, NeurIPS 2017, arXiv 1706.02275 ("cooperative
communication"); in the book and the lecture (source 000) it shows what centralised critics are good for.

One step, with positions p, velocities v, and u the unit vector of the listener's move (or zero):

    p <- p + 0.1 v        v <- (1 - 0.25) v + 0.1 * 5 u        reward = -|p - goal|^2 with the new p

so a move first shows in the position, and hence in the reward, one step later. Nothing collides in this game and no
speed is too high. An episode begins at rest, with no message, everything else uniform (positions in [-1, 1]^2), and is
cut off after 25 steps: truncated, never terminated.

These are the dynamics of simple_speaker_listener_v4 in mpe2 1.1, against which the tests compare whole episodes. The
order of the two updates is mpe2's; in OpenAI's original environment the velocity came first, so that a move showed in
the same step. Differences from mpe2:

- The speaker's position is left out: no observation and no reward depends on it.
- Observations have the dtype of the game and are padded to one length; mpe2 rounds them to float32.
- Actions are discrete only.
- An action that an agent does not have pays NaN, since raising would need a transfer to the host; mpe2 raises.
- A copy that was cut off and not replaced goes on moving and reports truncated; mpe2 lets its agents go.
- Fresh copies come from the device's default generator, not from NumPy's with the same seed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from marlspec.errors import InputError

SPEAKER, LISTENER = 0, 1
N_LANDMARKS = 3
N_MESSAGES = 3
NO_MESSAGE = N_MESSAGES

TIME_STEP = 0.1
DAMPING = 0.25
FORCE = 5.0
EPISODE_LENGTH = 25

# Stay, left, right, down, up.
DIRECTIONS = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
COLOURS = ((0.65, 0.15, 0.15), (0.15, 0.65, 0.15), (0.15, 0.15, 0.65))

SPEAKER_VIEW = len(COLOURS[0])
LISTENER_VIEW = 2 + 2 * N_LANDMARKS + N_MESSAGES


class SpeakerListenerState(NamedTuple):
    """Where each copy stands; positions and velocities in the dtype of the game, the rest int64.

    Attributes:
        position: of the listener [K, 2].
        velocity: of the listener [K, 2].
        landmarks: positions of the landmarks [K, 3, 2].
        goal: which landmark the listener should reach [K].
        message: what the speaker sent last [K]; NO_MESSAGE before the first step.
        time: steps so far [K].
    """

    position: Float[Tensor, "K 2"]
    velocity: Float[Tensor, "K 2"]
    landmarks: Float[Tensor, "K 3 2"]
    goal: Int[Tensor, " K"]
    message: Int[Tensor, " K"]
    time: Int[Tensor, " K"]


class SpeakerListener:
    """K copies of the speaker-listener game on one device (BatchedGame).

    Agent 0 is the speaker with 3 actions (messages) and 3 numbers to observe, agent 1 the listener with 5 actions
    (stay, left, right, down, up) and 11 numbers: velocity, landmarks relative to itself, message as a one-hot vector
    (zeros before the first). The speaker's observation is padded with zeros, its missing actions are masked by
    available(). The centralised information is the joint observation, both views after one another without padding
    [K, 14], as in mpe2's state().
    """

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        """Put the game's constants on a device.

        Args:
            device: where the constants and all states live.
            dtype: of positions, velocities, rewards and observations.

        Raises:
            InputError: a dtype that is not real floating point.
        """
        if not dtype.is_floating_point:
            raise InputError(f"dtype is {dtype}: positions need a floating-point dtype such as torch.float32")
        self.device = torch.device(device)
        self.dtype = dtype
        self.name = "Speaker-Listener"
        self.n_agents = 2
        self.action_counts = (N_MESSAGES, len(DIRECTIONS))
        self.n_actions = max(self.action_counts)
        self.observation_size = LISTENER_VIEW
        self.state_size = SPEAKER_VIEW + LISTENER_VIEW
        self.common_reward = True
        self._pushes = torch.tensor(DIRECTIONS, dtype=dtype, device=self.device) * FORCE * TIME_STEP
        self._colours = torch.tensor(COLOURS, dtype=dtype, device=self.device)
        self._messages = torch.eye(N_MESSAGES + 1, N_MESSAGES, dtype=dtype, device=self.device)
        self._counts = torch.tensor(self.action_counts, device=self.device)
        self._available = torch.arange(self.n_actions, device=self.device) < self._counts[:, None]

    def reset(self, K: int) -> SpeakerListenerState:
        """Return the state of K fresh copies, drawn with the device's default generator.

        Raises:
            InputError: K is not a positive integer.
        """
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        goal = torch.randint(N_LANDMARKS, (K,), device=self.device)
        return SpeakerListenerState(
            position=self._anywhere(K, 2),
            velocity=torch.zeros(K, 2, dtype=self.dtype, device=self.device),
            landmarks=self._anywhere(K, N_LANDMARKS, 2),
            goal=goal,
            message=torch.full_like(goal, NO_MESSAGE),
            time=torch.zeros_like(goal),
        )

    def step(
        self, state: SpeakerListenerState, actions: Int[Tensor, "K n"]
    ) -> tuple[SpeakerListenerState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Send one message and make one move in each copy.

        From step 25 on a copy reports truncated; none ever terminates. An action that is not available makes the
        listener's position NaN, and with it every reward of this copy until it is replaced.
        """
        legal = ((actions >= 0) & (actions < self._counts)).all(-1)
        actions = actions.masked_fill(~legal[:, None], 0)
        position = state.position + state.velocity * TIME_STEP
        after = state._replace(
            position=position.masked_fill(~legal[:, None], torch.nan),
            velocity=state.velocity * (1 - DAMPING) + self._pushes[actions[:, LISTENER]],
            message=actions[:, SPEAKER],
            time=state.time + 1,
        )
        truncated = after.time >= EPISODE_LENGTH
        rewards = self._reward(after)[:, None].expand(-1, self.n_agents)
        return after, rewards, torch.zeros_like(truncated), truncated

    def observe(self, state: SpeakerListenerState) -> Float[Tensor, "K n o"]:
        """Return the speaker's and the listener's observation [K, 2, 11], the speaker's padded with zeros."""
        speaker = pad(self._colours[state.goal], (0, LISTENER_VIEW - SPEAKER_VIEW))
        return torch.stack([speaker, self._listener_view(state)], dim=1)

    def centralized(self, state: SpeakerListenerState) -> Float[Tensor, "K z"]:
        """Return the joint observation [K, 14]: the speaker's 3 numbers, then the listener's 11."""
        return torch.cat([self._colours[state.goal], self._listener_view(state)], dim=-1)

    def available(self, state: SpeakerListenerState) -> Bool[Tensor, "K n A"]:
        """Return which actions exist [K, 2, 5]: all but the last two of the speaker."""
        return self._available.expand(state.goal.shape[0], -1, -1)

    def _anywhere(self, *shape: int) -> Float[Tensor, "..."]:
        """Uniform in [-1, 1)."""
        return 2 * torch.rand(shape, dtype=self.dtype, device=self.device) - 1

    def _reward(self, state: SpeakerListenerState) -> Float[Tensor, " K"]:
        goal = state.landmarks.take_along_dim(state.goal[:, None, None], dim=1)[:, 0]
        return -(state.position - goal).square().sum(-1)

    def _listener_view(self, state: SpeakerListenerState) -> Float[Tensor, "K o"]:
        landmarks = state.landmarks - state.position[:, None]
        return torch.cat([state.velocity, landmarks.flatten(1), self._messages[state.message]], dim=-1)
