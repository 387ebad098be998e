"""PettingZoo, both directions: one copy of a batched game as a ParallelEnv, and any ParallelEnv as a batched game.

PettingZoo's interface is Terry et al., PettingZoo: Gym for Multi-Agent Reinforcement Learning, NeurIPS 2021, arXiv
2009.14471. This module alone needs the packages pettingzoo and gymnasium: pip install 'marlspec[envs]'.
"""
# mypy: allow-untyped-calls

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from marlspec.errors import InputError
from marlspec.games.batched import BatchedGame
from marlspec.reference.parts.randomness import restored_afterwards

try:
    from gymnasium import spaces
    from pettingzoo import ParallelEnv
except ModuleNotFoundError as error:
    raise InputError(f"PettingZoo's games need the package {error.name}: pip install 'marlspec[envs]'") from error

MASK = "action_mask"
SEEDS = 2**31
FAULTS = "marlspec check --role game looks for such faults"

ByAgent = dict[str, Any]


class GameAsParallelEnv(ParallelEnv):  # type: ignore[misc]
    """One copy of a batched game as a PettingZoo ParallelEnv.

    The agents are agent_0, agent_1, ..; all take part until the episode ends, and all leave together: terminated where
    the game terminated, truncated where it was cut off.

    Actions are Discrete, as many for each agent as the game's action_counts say, or n_actions for all where the game
    has no action_counts. infos[agent]["action_mask"] says which are available, as int8 numbers 0 and 1, the form that
    action_space(agent).sample(mask) takes. Observations are Box, with the dtype and the padding that the game gives
    them, rewards floats. state() returns the centralised information.

    reset(seed=..) decides all random numbers from there on; reset() goes on with those of the last seed, and before the
    first seed the operating system gives one. The numbers are the environment's own: the global generators stay as they
    were.
    """

    def __init__(self, game: BatchedGame[Any]) -> None:
        """Wrap a game; it must live on the device that its attribute `device` names, the CPU where it has none."""
        self.game = game
        self.metadata = {"name": game.name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.agents: list[str] = []
        self.possible_agents = [f"agent_{i}" for i in range(game.n_agents)]
        self._device = torch.device(getattr(game, "device", "cpu"))
        self._random_state = _random_state(self._device, None)
        with restored_afterwards(self._device):
            self._state = game.reset(1)
        counts = getattr(game, "action_counts", (game.n_actions,) * game.n_agents)
        dtype = _array(game.observe(self._state)).dtype
        view = spaces.Box(-np.inf, np.inf, (game.observation_size,), dtype)
        self.action_spaces = {
            agent: spaces.Discrete(count) for agent, count in zip(self.possible_agents, counts, strict=True)
        }
        self.observation_spaces = dict.fromkeys(self.possible_agents, view)
        self.state_space = spaces.Box(-np.inf, np.inf, (game.state_size,), dtype)

    def observation_space(self, agent: str) -> Any:
        """Return the agent's observation space, the same object at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Return the agent's action space, the same object at each call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Begin an episode; options have no meaning here.

        Returns:
            Observations and infos, by agent.

        Raises:
            InputError: the seed is negative.
        """
        if seed is not None:
            self._random_state = _random_state(self._device, seed)
        with self._own_random_numbers():
            self._state = self.game.reset(1)
        self.agents = list(self.possible_agents)
        return self._observations(), self._infos()

    def step(self, actions: Mapping[str, Any]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Play one joint action.

        Returns:
            Observations, rewards, terminations, truncations and infos, by agent.

        Raises:
            InputError: no episode is going on, an agent has no action or one outside its space, or the game does not
                take an action that is not available. The episode can go on with other actions.
        """
        joint = self._joint_action(actions)
        with self._own_random_numbers():
            state, rewards, terminated, truncated = self.game.step(self._state, joint)
        values = rewards[0].tolist()
        if np.isnan(values).any():
            self._require_available(joint[0].tolist())
        self._state = state
        ended, cut_off = bool(terminated[0]), bool(truncated[0])
        agents = self.agents
        self.agents = [] if ended or cut_off else list(agents)
        return (
            self._observations(),
            dict(zip(agents, values, strict=True)),
            dict.fromkeys(agents, ended),
            dict.fromkeys(agents, cut_off),
            self._infos(),
        )

    def state(self) -> NDArray[Any]:
        """Return the centralised information [z]."""
        state: NDArray[Any] = _array(self.game.centralized(self._state))[0].copy()
        return state

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Lend the device's default generator the environment's own random state."""
        with restored_afterwards(self._device) as generator:
            generator.set_state(self._random_state)
            yield
            self._random_state = generator.get_state()

    def _joint_action(self, actions: Mapping[str, Any]) -> Int[Tensor, "1 n"]:
        if not self.agents:
            raise InputError("no episode is going on: call reset() before step()")
        if set(actions) != set(self.agents):
            raise InputError(f"actions are given for {sorted(map(str, actions))}: {self.agents} must act")
        for agent, action in actions.items():
            if not self.action_spaces[agent].contains(action):
                raise InputError(f"{agent} cannot take the action {action!r}: it has {self.action_spaces[agent]}")
        return torch.tensor([[int(actions[agent]) for agent in self.agents]], device=self._device)

    def _require_available(self, joint: Sequence[int]) -> None:
        """Blame NaN rewards on the actions that were not available."""
        for agent, action, mask in zip(self.agents, joint, self._masks(), strict=True):
            if not mask[action]:
                raise InputError(
                    f"action {action} is not available to {agent}, who has {np.flatnonzero(mask).tolist()} by "
                    f'infos[{agent!r}]["{MASK}"]'
                )

    def _masks(self) -> list[NDArray[np.int8]]:
        available = _array(self.game.available(self._state))[0].astype(np.int8)
        counts = [self.action_spaces[agent].n for agent in self.possible_agents]
        return [own[:count] for own, count in zip(available, counts, strict=True)]

    def _observations(self) -> ByAgent:
        views = _array(self.game.observe(self._state))[0]
        return {agent: view.copy() for agent, view in zip(self.possible_agents, views, strict=True)}

    def _infos(self) -> ByAgent:
        return {agent: {MASK: mask} for agent, mask in zip(self.possible_agents, self._masks(), strict=True)}


def _array(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.cpu().numpy()
    return array


def _random_state(device: torch.device, seed: int | None) -> Tensor:
    """The random state that a seed leads to; without one the operating system gives a seed."""
    if seed is None:
        seed = torch.Generator().seed()
    elif seed < 0:
        raise InputError(f"reset(seed={seed}): a seed is an integer of 0 or more, or None")
    with restored_afterwards(device) as generator:
        return generator.manual_seed(int(seed)).get_state()


class EnvironmentsState(NamedTuple):
    """What K environments showed last.

    The environments themselves are not in it: only the state that they stand in can be stepped.

    Attributes:
        mark: a number that the seed of a copy's episode and its joint actions so far lead to [K]; an environment knows
            by it whether this state is the one in which it stands.
        observation: [K, n, o].
        centralized: the centralised information [K, z].
        available: which actions each agent may take [K, n, A].
        terminated: whether a copy's episode has ended so [K].
        truncated: whether a copy's episode was cut off [K].
    """

    mark: Int[Tensor, " K"]
    observation: Float[Tensor, "K n o"]
    centralized: Float[Tensor, "K z"]
    available: Bool[Tensor, "K n A"]
    terminated: Bool[Tensor, " K"]
    truncated: Bool[Tensor, " K"]


class BatchedParallelEnv:
    """K copies of any PettingZoo ParallelEnv with discrete actions (BatchedGame).

    The environments are stepped on the host, in turn, and what they answer is moved to the device: this is as fast as
    the environments are.

    It is no function of its state. An environment has no copies of its past, so step() takes the last state alone and
    refuses older ones. There are two groups of environments, and reset() begins new episodes in one whose episodes have
    all ended, else in the one that was stepped longest ago: evaluations leave the training alone. Finished copies alone
    are begun anew by restart(). A saved learner that is loaded goes on with new episodes, by
    learner.game_state = learner.game.reset(seeds * copies).

    Agents are the environment's possible_agents, in that order. Observation spaces are flattened (Discrete to one-hot
    vectors) and padded with zeros, action spaces padded with a mask. Masks are looked for as "action_mask" in
    observations and then in infos; without one all of an agent's actions are available. An agent that takes no part,
    because it has left or not yet come, observes zeros after its last observation, receives 0, and has action 0 alone,
    which has no effect. Where the reward is common it receives that.

    A copy ends when nobody is left. It has terminated if all who were last did, and else was truncated. After its end
    it stays as it is and pays 0.

    Every episode begins with reset(seed=..); seeds come from the device's default generator.

    Attributes:
        centralized_source: what the centralised information is: "env.state()", or "concatenated observations" where the
            environment has no state(), of all agents, without padding.
        action_counts: the number of actions of each agent.
    """

    def __init__(self, factory: Callable[[], Any], *, common_reward: bool, device: torch.device | str = "cpu") -> None:
        """Make a first environment, for its sizes.

        Args:
            factory: makes a new environment, for instance lambda: simple_spread_v3.parallel_env(local_ratio=0).
            common_reward: whether all agents always receive the same reward. That is checked at every step.
            device: where states and answers live.

        Raises:
            InputError: the factory makes no ParallelEnv, the actions are not discrete, or observations have no
                fixed number of entries.
        """
        if not callable(factory):
            raise InputError(
                f"{factory!r} is no function that makes an environment: pass one, as lambda: parallel_env()"
            )
        self._factory = factory
        self.common_reward = common_reward
        self.device = torch.device(device)
        env = factory()
        _require_parallel(env)
        self._layout = layout = _layout(env)
        first = _Environment(env, layout, common_reward)
        self._environments = self._spare = [first]
        self._groups: list[list[_Environment]] = [[], []]  # the one stepped longest ago comes first
        self.name = str(env.metadata.get("name", type(env).__name__))
        self.n_agents = len(layout.agents)
        self.n_actions = layout.n_actions
        self.action_counts = tuple(int(space.n) for space in layout.actions)
        self.observation_size = layout.observation_size
        first.reset(0)
        self.state_size = len(first.centralized)
        has_state = first.global_state() is not None
        self.centralized_source = "env.state()" if has_state else "concatenated observations"

    def reset(self, K: int) -> EnvironmentsState:
        """Begin an episode in each of K environments, those of the group whose turn it is.

        Raises:
            InputError: K is no positive integer, or an environment has other agents or spaces than the first one had.
        """
        if isinstance(K, bool) or K < 1:
            raise InputError(f"reset({K}): the number of parallel copies must be a positive integer")
        ended = (g for g, group in enumerate(self._groups) if all(environment.over for environment in group))
        ready = self._groups.pop(next(ended, 0)) + self._spare
        ready += [self._another() for _ in range(len(ready), K)]
        group, self._spare = ready[:K], ready[K:]
        self._groups.append(group)
        for environment, seed in zip(group, self._seeds(K), strict=True):
            environment.reset(seed)
        return self._state(group)

    def step(
        self, state: EnvironmentsState, actions: Int[Tensor, "K n"]
    ) -> tuple[EnvironmentsState, Float[Tensor, "K n"], Bool[Tensor, " K"], Bool[Tensor, " K"]]:
        """Play one joint action in each copy.

        Raises:
            InputError: the state is not the last one, an action is not available, rewards differ that were declared
                common, or an environment breaks PettingZoo's rules.
        """
        environments, joint = self._standing_in(state), actions.tolist()
        for k, (environment, own) in enumerate(zip(environments, joint, strict=True)):
            environment.require_available(k, own)
        for environment, own in zip(environments, joint, strict=True):
            environment.step(own)
        rewards = torch.from_numpy(np.stack([environment.rewards for environment in environments]))
        after = self._state(environments)
        return after, rewards.to(self.device), after.terminated, after.truncated

    def restart(self, state: EnvironmentsState, finished: Bool[Tensor, " K"]) -> EnvironmentsState:
        """Begin new episodes in the finished copies; the others go on.

        Raises:
            InputError: the state is not the last one.
        """
        environments = self._standing_in(state)
        for environment, seed, over in zip(environments, self._seeds(len(finished)), finished.tolist(), strict=True):
            if over:
                environment.reset(seed)
        return self._state(environments)

    def observe(self, state: EnvironmentsState) -> Float[Tensor, "K n o"]:
        """Return every agent's observation [K, n, o]."""
        return state.observation

    def centralized(self, state: EnvironmentsState) -> Float[Tensor, "K z"]:
        """Return the centralised information [K, z]; centralized_source says what it is."""
        return state.centralized

    def available(self, state: EnvironmentsState) -> Bool[Tensor, "K n A"]:
        """Return which actions each agent may take [K, n, A]."""
        return state.available

    def close(self) -> None:
        """Close all environments."""
        for environment in self._environments:
            environment.env.close()

    def _another(self) -> "_Environment":
        env = self._factory()
        if any(env is other.env for other in self._environments):
            raise InputError("the factory returned the same environment again: make a new one at each call")
        if _layout(env) != self._layout:
            raise InputError(f"the factory made environments whose agents or spaces differ: {_layout(env)}")
        another = _Environment(env, self._layout, self.common_reward)
        self._environments = [*self._environments, another]
        return another

    def _seeds(self, K: int) -> list[int]:
        seeds: list[int] = torch.randint(SEEDS, (K,), device=self.device).tolist()
        return seeds

    def _standing_in(self, state: EnvironmentsState) -> "list[_Environment]":
        """Return the environments that stand in a state; InputError where there are none."""
        marks = state.mark.tolist()
        for g, group in enumerate(self._groups):
            if marks == [environment.mark for environment in group]:
                self._groups.append(self._groups.pop(g))
                return group
        raise InputError(
            "no environments stand in this state: a PettingZoo environment cannot go back, so step the state that "
            "reset(), step() or restart() returned last; of two states at most that are being played, a third reset() "
            "ends one. After loading a saved learner begin new episodes: learner.game_state = "
            "learner.game.reset(seeds * copies)"
        )

    def _state(self, environments: "Sequence[_Environment]") -> EnvironmentsState:
        fields = (np.stack([getattr(own, name) for own in environments]) for name in EnvironmentsState._fields)
        return EnvironmentsState(*(torch.from_numpy(field).to(self.device) for field in fields))


class _Layout(NamedTuple):
    """The agents of a ParallelEnv with their spaces; masks are left out of the observation spaces."""

    agents: tuple[Any, ...]
    actions: tuple[Any, ...]
    observations: tuple[Any, ...]

    @property
    def n_actions(self) -> int:
        return max(int(space.n) for space in self.actions)

    @property
    def sizes(self) -> list[int]:
        return [spaces.flatdim(space) for space in self.observations]

    @property
    def observation_size(self) -> int:
        return max(self.sizes)


class _Environment:
    """One environment, and what it showed last: a row of EnvironmentsState, and rewards [n]."""

    def __init__(self, env: Any, layout: _Layout, common_reward: bool) -> None:
        self.env = env
        self.layout = layout
        self.common_reward = common_reward
        self.index = {agent: i for i, agent in enumerate(layout.agents)}
        n = len(layout.agents)
        self.mark = 0
        self.observation = np.zeros((n, layout.observation_size), np.float32)
        self.centralized = np.zeros(0, np.float32)
        self.available = np.zeros((n, layout.n_actions), np.bool_)
        self.rewards = np.zeros(n, np.float32)
        self.terminated = self.truncated = False

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        observations, infos = self.env.reset(seed=seed)
        if set(self.env.possible_agents) != set(self.layout.agents):
            raise InputError(
                f"reset() changed possible_agents from {list(self.layout.agents)} to {self.env.possible_agents}: a "
                "learner has one network for each agent, so the set must stay the same"
            )
        if not self.env.agents:
            raise InputError(f"no agent takes part after reset(seed={seed}): {FAULTS}")
        self.mark = _mark(seed)
        self.terminated = self.truncated = False
        self._look(self.env.agents, observations, infos)

    def require_available(self, k: int, joint: Sequence[int]) -> None:
        """Raise InputError where an action of copy k cannot be taken."""
        if self.over:
            return
        for agent, action, own in zip(self.layout.agents, joint, self.available, strict=True):
            if not 0 <= action < len(own) or not own[action]:
                allowed = np.flatnonzero(own).tolist()
                raise InputError(f"action {action} is not available to {agent!r} in copy {k}, who has {allowed}")

    def step(self, joint: Sequence[int]) -> None:
        """Play a joint action; nothing happens after the end."""
        self.rewards = np.zeros_like(self.rewards)
        if self.over:
            return
        acting = list(self.env.agents)
        answer = self.env.step({agent: self._action(agent, joint) for agent in acting})
        observations, rewards, terminations, truncations, infos = answer
        for name, given in zip(("observation", "reward", "termination", "truncation"), answer[:4], strict=True):
            _require_given(acting, given, name)
        self._take_rewards(acting, rewards)
        self._require_that_the_done_leave(acting, terminations, truncations)
        if not self.env.agents:
            self.terminated = all(terminations[agent] for agent in acting)
            self.truncated = not self.terminated
        self.mark = _mark(self.mark, *joint)
        self._look(acting, observations, infos)

    def global_state(self) -> NDArray[np.float32] | None:
        """Return env.state() as a vector; None where the environment has none."""
        try:
            state = self.env.state()
        except NotImplementedError:
            return None
        return np.asarray(state, np.float32).flatten()

    def _action(self, agent: Any, joint: Sequence[int]) -> Any:
        i = self.index[agent]
        return self.layout.actions[i].start + np.int64(joint[i])

    def _take_rewards(self, acting: Sequence[Any], rewards: Mapping[Any, Any]) -> None:
        values = [float(rewards[agent]) for agent in acting]
        if not self.common_reward:
            self.rewards[[self.index[agent] for agent in acting]] = values
            return
        if any(value != values[0] for value in values):
            raise InputError(
                f"rewards differ, {dict(zip(acting, values, strict=True))}, although the game was declared with "
                "common_reward=True: declare common_reward=False, for an algorithm that takes a general-sum game, or "
                "let the environment pay all agents the same"
            )
        self.rewards[:] = values[0]

    def _require_that_the_done_leave(
        self, acting: Sequence[Any], terminations: Mapping[Any, Any], truncations: Mapping[Any, Any]
    ) -> None:
        for agent in acting:
            done, stays = bool(terminations[agent] or truncations[agent]), agent in self.env.agents
            if done and stays:
                raise InputError(f"{agent!r} is terminated or truncated and stays in env.agents: {FAULTS}")
            if not done and not stays:
                raise InputError(f"{agent!r} left env.agents, neither terminated nor truncated: {FAULTS}")

    def _look(self, before: Sequence[Any], observations: Mapping[Any, Any], infos: Mapping[Any, Any]) -> None:
        """Note what those show who took part before, or do now."""
        strangers = [agent for agent in self.env.agents if agent not in self.index]
        if strangers:
            raise InputError(f"{strangers[0]!r} takes part and is not in possible_agents: {FAULTS}")
        parts = []
        self.observation = np.zeros_like(self.observation)
        for i, (agent, space, size) in enumerate(
            zip(self.layout.agents, self.layout.observations, self.layout.sizes, strict=True)
        ):
            takes_part = agent in before or agent in self.env.agents
            if takes_part:
                _require_given([agent], observations, "observation")
                self.observation[i, :size] = _flat(agent, space, size, observations[agent])
            self.available[i] = self._mask(i, agent, agent in before, observations, infos)
            parts.append(self.observation[i, :size])
        state = self.global_state()
        self.centralized = np.concatenate(parts) if state is None else state

    def _mask(
        self, i: int, agent: Any, was_there: bool, observations: Mapping[Any, Any], infos: Mapping[Any, Any]
    ) -> NDArray[np.bool_]:
        """Which actions the agent may take [A]; those of the last who leave count for what comes after a truncation."""
        allowed = np.zeros(self.layout.n_actions, np.bool_)
        if agent not in self.env.agents and not (self.over and was_there):
            allowed[0] = True
            return allowed
        count = int(self.layout.actions[i].n)
        given = _given_mask(observations.get(agent), infos.get(agent))
        mask = np.ones(count, np.bool_) if given is None else np.asarray(given).astype(np.bool_)
        if mask.shape != (count,):
            raise InputError(f"the {MASK} of {agent!r} has shape {list(mask.shape)}: it must have [{count}]; {FAULTS}")
        if not mask.any() and not self.over:
            raise InputError(f"the {MASK} of {agent!r} leaves no action, and the episode goes on: {FAULTS}")
        allowed[:count] = mask | (not mask.any())
        return allowed


def _mark(*numbers: int) -> int:
    """A number that depends on all of these, and is the same in every process."""
    return hash(numbers) & (2**63 - 1)


def _require_parallel(env: Any) -> None:
    if hasattr(env, "agent_iter"):
        raise InputError(
            "the factory made an AEC environment, in which agents act in turn: make a ParallelEnv, as by "
            "parallel_env() or pettingzoo.utils.aec_to_parallel"
        )
    names = ("possible_agents", "reset", "step", "action_space", "observation_space", "state", "metadata")
    missing = [name for name in names if not hasattr(env, name)]
    if missing:
        raise InputError(f"the factory made no ParallelEnv but a {type(env).__name__}, without {', '.join(missing)}")


def _layout(env: Any) -> _Layout:
    agents = tuple(env.possible_agents)
    if not agents:
        raise InputError("the environment has no possible_agents: networks are made for each of them, once")
    return _Layout(
        agents=agents,
        actions=tuple(_discrete(agent, env.action_space(agent)) for agent in agents),
        observations=tuple(_flattenable(agent, env.observation_space(agent)) for agent in agents),
    )


def _discrete(agent: Any, space: Any) -> Any:
    if not isinstance(space, spaces.Discrete):
        raise InputError(
            f"the actions of {agent!r} are {space}: only Discrete action spaces have a value for each action; make the "
            "environment with discrete actions"
        )
    return space


def _flattenable(agent: Any, space: Any) -> Any:
    """The observation space without a mask in it."""
    if isinstance(space, spaces.Dict) and MASK in space.spaces:
        space = spaces.Dict({name: part for name, part in space.spaces.items() if name != MASK})
    if not space.is_np_flattenable:
        raise InputError(f"the observations of {agent!r} are {space}, which has no fixed number of entries: use a Box")
    return space


def _flat(agent: Any, space: Any, size: int, observation: Any) -> NDArray[Any]:
    """An observation as a vector of a fixed size."""
    vector = np.asarray(spaces.flatten(space, observation))
    if vector.shape != (size,):
        raise InputError(f"the observation of {agent!r} has {vector.size} entries and its space {size}: {FAULTS}")
    return vector


def _given_mask(*sources: Any) -> Any:
    """The mask in the first of these that has one, or None."""
    return next((source[MASK] for source in sources if isinstance(source, Mapping) and MASK in source), None)


def _require_given(agents: Sequence[Any], answers: Mapping[Any, Any], name: str) -> None:
    for agent in agents:
        if agent not in answers:
            raise InputError(f"{agent!r} takes part and was given no {name}: {FAULTS}")
