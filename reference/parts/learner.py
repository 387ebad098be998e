"""What every deep learner is made of: the parallel games, the clock, and saving and resuming."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_structure, tree_unflatten

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.config import Config, RunConfig
from marlspec.reference.parts.exploration import epsilon_greedy
from marlspec.reference.parts.memory import WithMemory
from marlspec.reference.parts.networks import AgentNetworks, PolicyNetworks, UtilityNetworks
from marlspec.reference.parts.policies import log_policy, sample_actions
from marlspec.reference.parts.randomness import default_generator
from marlspec.reference.parts.replay import ReplayBuffer
from marlspec.reference.parts.schedules import Schedule, constant, linear


class Learner(nn.Module, ABC):
    """An algorithm in training: initialisation lines in __init__, one pass of the main loop's body in step().

    S independent runs ("seeds") are one more leading batch axis of everything: each has its own parameters, its own
    copies of the game and its own replay buffer. A loss is a mean over the mini-batch for each seed; their sum goes
    backward, and since no two seeds share a parameter every seed gets the gradient of its own loss alone.

    An agent's history is its last observation: exact wherever that observation tells all that the past tells about
    the future, as in matrix and staged games. It may also be a window of the last ones (games/history_window.py), or
    all of the episode's: where config.recurrent says so, the agents' networks remember them by a GRU (memory.py), and
    what history() returns is the last observation and the agent's own last action.

    Random numbers come from the default generator of the device. step() never waits for the device.

    The state_dict holds all that the future depends on: networks, target networks, optimiser, replay buffer, game
    state, counters and the random state. Loading it into a new learner with the same game and config and going on gives
    the same bits as not stopping. It also sets the default generator, unless the learner is parked.

    Attributes:
        graphs: the methods of which a compiled step makes a graph each (compilation.py): the whole step, unless it
            repeats one of them for each time step of an episode.
        t: time steps so far.
        updates: parameter updates so far.
        parked: the learner's random state while a training loop (training.py) is not running it; None while the
            default generator itself holds it.
    """

    config_type: ClassVar[type[RunConfig]] = RunConfig
    graphs: tuple[str, ...] = ("step",)

    def __init__(self, game: BatchedGame[Any], config: RunConfig) -> None:
        """Start S times K fresh copies of the game.

        Raises:
            InputError: the device does not exist here, or the game lives on another one.
        """
        super().__init__()
        self.config = config
        self.game = self.remembering(game)
        self.device = usable_device(config.device)
        self.game_state = self.game.reset(config.seeds * config.copies)
        where = self.game.observe(self.game_state).device
        if where.type != self.device.type:
            raise InputError(f"the game lives on {where} and the learner on {self.device}: give both the same device")
        self.t = self.updates = 0
        self.parked: Tensor | None = None

    @abstractmethod
    def step(self) -> None:
        """Make one pass of the main loop's body."""

    @abstractmethod
    def learn(self, batch: Any) -> Float[Tensor, " seeds"]:
        """Make one update on a batch [seeds, B, ..] and return each seed's loss."""

    @abstractmethod
    def act(self, state: Any, greedy: bool = False) -> Int[Tensor, "seeds K n"]:
        """Choose actions in a game state of S * K copies, as when training or, greedily, as when evaluating."""

    def phase(self) -> tuple[Any, ...]:
        """Return what decides, besides the tensors on the device, which operations the next step makes (capture.py)."""
        return ()

    @property
    @abstractmethod
    def behaviour(self) -> AgentNetworks:
        """The networks that choose actions."""

    def remembering(self, game: BatchedGame[Any]) -> BatchedGame[Any]:
        """Return the game with memories for recurrent networks in its state; itself where networks have none."""
        return WithMemory(game, self.config.hidden[-1], self.remember) if self.config.recurrent else game

    @torch.no_grad()
    def remember(self, history: Float[Tensor, "K n h"], memory: Float[Tensor, "K n m"]) -> Float[Tensor, "K n m"]:
        """Return what the agents remember once they have observed this in S * K copies."""
        _, following = self.behaviour.advance(self._per_seed(history), self._per_seed(memory))
        return following.flatten(0, 1)

    def output(self, state: Any) -> Float[Tensor, "seeds K n A"]:
        """Return what the networks that choose actions make of the agents' histories in a state of S * K copies."""
        if self.config.recurrent:
            return self.behaviour.advance(self.history(state), self._per_seed(state.memory))[0]
        outputs: Tensor = self.behaviour(self.history(state))
        return outputs

    def history(self, state: Any) -> Float[Tensor, "seeds K n h"]:
        """Return the agents' histories in a game state of S * K copies: the last observations."""
        return self._per_seed(self.game.observe(state))

    def centralized(self, state: Any) -> Float[Tensor, "seeds K z"]:
        """Return the centralised information in a game state of S * K copies."""
        return self._per_seed(self.game.centralized(state))

    def available(self, state: Any) -> Bool[Tensor, "seeds K n A"]:
        """Return which actions are available in a game state of S * K copies."""
        return self._per_seed(self.game.available(state))

    def apply_actions(
        self, action: Int[Tensor, "seeds K n"]
    ) -> tuple[Any, Float[Tensor, "seeds K n"], Bool[Tensor, "seeds K"]]:
        """Play one joint action in every copy, and start finished copies afresh.

        Returns:
            The game state that the actions led to, from before the restart; the rewards; and which copies terminated.
            A truncated copy starts afresh as well but is not terminated: its target bootstraps.
        """
        following, rewards, terminated, _ = self.play(action)
        return following, rewards, terminated

    def play(
        self, action: Int[Tensor, "seeds K n"]
    ) -> tuple[Any, Float[Tensor, "seeds K n"], Bool[Tensor, "seeds K"], Bool[Tensor, "seeds K"]]:
        """Do as apply_actions does, and also return which copies were truncated: no return reaches past that either."""
        following, rewards, terminated, truncated = self.game.step(self.game_state, action.flatten(0, 1))
        self.game_state = restarted(self.game, following, terminated | truncated)
        return following, *(self._per_seed(value) for value in (rewards, terminated, truncated))

    def _per_seed(self, value: Tensor) -> Tensor:
        return value.reshape(self.config.seeds, -1, *value.shape[1:])

    def get_extra_state(self) -> dict[str, Any]:
        """Return copies of what nn.Module does not save by itself: optimiser, game state, counters, random state."""
        return {
            "optimisers": {name: copy.deepcopy(own.state_dict()) for name, own in self.optimisers().items()},
            "game_state": [leaf.clone() for leaf in tree_leaves(self.game_state)],
            "t": self.t,
            "updates": self.updates,
            "random_state": default_generator(self.device).get_state() if self.parked is None else self.parked,
        }

    def set_extra_state(self, state: Any) -> None:
        """Take up a saved get_extra_state.

        Raises:
            InputError: it was saved on another kind of device, whose random numbers cannot be continued on this one.
        """
        generator = default_generator(self.device)
        if state["random_state"].shape != generator.get_state().shape:
            raise InputError(f"the state was saved on another kind of device than {self.device}: resume on that kind")
        for name, own in self.optimisers().items():
            own.load_state_dict(copy.deepcopy(state["optimisers"][name]))
        leaves = [leaf.to(self.device, copy=True) for leaf in state["game_state"]]
        self.game_state = tree_unflatten(leaves, tree_structure(self.game_state))
        self.t, self.updates = state["t"], state["updates"]
        if self.parked is None:
            generator.set_state(state["random_state"])
        else:
            self.parked = state["random_state"]

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the learner's optimisers by the names of its attributes."""
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}


class ValueLearner(Learner):
    """A learner of utilities from a replay buffer, which explores by chance."""

    config_type: ClassVar[type[Config]] = Config
    theta: UtilityNetworks
    optimiser: torch.optim.Optimizer
    replay: ReplayBuffer[Any]

    def __init__(self, game: BatchedGame[Any], config: Config) -> None:
        super().__init__(game, config)
        self.config: Config = config
        self.epsilon = epsilon_schedule(config)

    def phase(self) -> tuple[Any, ...]:
        """How much is stored, how often actions are random, and whether target networks are copied."""
        return self.replay.size, self.epsilon(self.t), (self.updates + 1) % self.config.target_interval == 0

    @property
    def behaviour(self) -> UtilityNetworks:
        """The utility networks."""
        return self.theta

    @abstractmethod
    def value(self, batch: Any) -> Float[Tensor, "seeds B *rest"]:
        """Return the values of the batch's histories and actions: of joint actions, or of each agent's."""

    @torch.no_grad()
    def act(self, state: Any, greedy: bool = False) -> Int[Tensor, "seeds K n"]:
        """Choose epsilon-greedy actions, or greedy ones."""
        return epsilon_greedy(self.output(state), self.available(state), 0.0 if greedy else self.epsilon(self.t))


class ActorLearner(Learner):
    """A learner of stochastic policies."""

    phi: PolicyNetworks

    @property
    def behaviour(self) -> PolicyNetworks:
        """The policy networks."""
        return self.phi

    @torch.no_grad()
    def act(self, state: Any, greedy: bool = False) -> Int[Tensor, "seeds K n"]:
        """Draw actions from the policies, or take the most probable ones."""
        log_pi = log_policy(self.output(state), self.available(state))
        return log_pi.argmax(-1) if greedy else sample_actions(log_pi)


def require_common_reward(game: BatchedGame[Any], algorithm: str) -> None:
    """Refuse a game whose agents' rewards differ: value decomposition is defined for a shared reward.

    Raises:
        InputError: the game is not a common-reward game.
    """
    if not game.common_reward:
        raise InputError(
            f"{algorithm} needs a common-reward game, and the agents' rewards differ in {game.name}: "
            "choose a common-reward game (marlspec list names them); rewards are never averaged"
        )


def usable_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        InputError: no such device on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"no device {name!r} here ({str(error).splitlines()[0]}): write cpu or cuda") from error
    return device


def epsilon_schedule(config: Config) -> Schedule:
    """Return the probability of a random action as a function of the time step."""
    if config.epsilon_steps == 0:
        return constant(config.epsilon_end)
    return linear(config.epsilon_start, config.epsilon_end, config.epsilon_steps)


def restarted(game: BatchedGame[Any], state: Any, finished: Bool[Tensor, " K"]) -> Any:
    """Start finished copies afresh: as the game does it where it has a restart(), else from the state of a reset()."""
    if hasattr(game, "restart"):
        return game.restart(state, finished)
    return select(finished, game.reset(len(finished)), state)


def select(finished: Bool[Tensor, " K"], fresh: Any, following: Any) -> Any:
    """Return the fresh state where a copy has finished, else the following one; tensor by tensor."""
    return tree_map(lambda new, old: torch.where(finished.view(-1, *[1] * (new.dim() - 1)), new, old), fresh, following)
