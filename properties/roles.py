"""Roles: what kind of thing a target is, and how a target is found and called.

A role fixes one signature. A target is a factory. Where the thing has sizes, the judge asks for those it needs, and
inputs and output are torch tensors of one row per case:

    mixer         factory(n_agents, state_size) -> f
                  f(utilities [B, n], state [B, s]) -> Q_tot [B], finite for utilities in [-10000, 10000] and states in
                  [-100, 100]
    vdn_mixer     a mixer that is the plain sum
    qmix_mixer    a mixer that uses the state, and whose biases let Q_tot(0, state) take both signs
    joint_value   factory(n_agents, n_actions, state_size) -> f
                  f(utilities [B, n, A], actions [B, n], state [B, s]) -> Q_tot [B]

A factory or function with the attribute `arrays = "numpy"` gets and gives numpy arrays. A joint value may promise more
by the attribute `min_slope = c > 0` on f: each unit of individual regret costs at least c. A target may also be a
program of its own, in any language: `exec:COMMAND` (docs/protocol.md).

Where it has none, factory() returns the thing, which is called with one case at a time. Arrays are numpy float64 and
results may be arrays, tensors or lists; `arrays = "torch"` asks for torch tensors instead. Nothing is written into
arguments; an answer is read before the next call.

    equilibrium_solver  f(payoffs [n, A_1, .., A_n]) -> an equilibrium
                        concept = "nash" (default): one mixed strategy [A_i] per agent, or with answers = "some" or
                        "all" a list of such profiles; "correlated", "coarse_correlated": a distribution [A_1, .., A_n]
                        agents = (2,) (default) or more numbers of agents; domain = "general" (default), "zero_sum" or
                        "non_degenerate"; objective = "welfare" where it promises the best correlated equilibrium;
                        epsilon: the regret that it promises not to exceed, for payoffs in [-8, 8]
    nash_check          f(payoffs [n, A_1, .., A_n], profile, epsilon) -> whether no agent gains more than epsilon
    pareto_check        f(payoffs [n, A_1, .., A_n], joint action [n]) -> whether it is Pareto-optimal
                        among = "deterministic" (default) or "correlated" joint policies
                        both checks: agents = (2, 3) (default) or other numbers of agents
    evaluator           f(transitions [S, A_1, .., A_n, S], rewards [n, S, A_1, .., A_n, S], terminal [S], policy,
                        gamma) -> values [n, S]; the policy holds a table [S, A_i] per agent; terminal states are
                        absorbing and pay nothing
    optimal_backup      f(transitions [S, A, S], rewards [S, A, S], terminal [S], gamma, Q [S, A]) -> TQ [S, A]
    tabular_update      f(Q [S, A], s, a, r, s', terminated, alpha, gamma) -> Q after one update of Q-learning, for
                        0 < alpha <= 1; the row of a terminal s' may be set to 0
    cql_update          f(Q [S, A_1, .., A_n], s, a [n], r [n], s', terminated, alpha, gamma) -> Q after one update of
                        central Q-learning; scalar = "sum" (default), or the index of the agent whose reward is taken
    td_target           f(rewards [B, n], terminated [B], truncated [B], next_values [B, n, A], online_values [B, n, A],
                        available [B, n, A], gamma) -> y [B, n]; see TDTarget for what it may declare
    return_estimator    f(rewards [B, T], values [B, T], next_values [B, T], terminated [B, T], truncated [B, T],
                        mask [B, T], gamma, lam) -> y [B, T]; see ReturnEstimator
    counterfactual_advantage    f(q [B, n, A], policy [B, n, A], actions [B, n]) -> A [B, n]
    counterfactual_critic   f(actions [B, n], observations [B, n, o], state [B, s]) -> q [B, n, A]; see
                        CounterfactualCritic
    policy_loss         f(logits [B, n, A], actions [B, n], advantages [B, n], mask [B]) -> loss, or with numpy arrays
                        (loss, gradient [B, n, A]); see PolicyLoss
    policy              f(logits [B, n, A], available [B, n, A]) -> probabilities [B, n, A]; see Policy
    epsilon_greedy      f(utilities [B, n, A], available [B, n, A], epsilon) -> actions [B, n]; see EpsilonGreedy
    game                a game of marlspec.games.batched, or a PettingZoo ParallelEnv

Roles with a state of their own have an object, see their protocols: ReplayBuffer, TargetNetwork, Learner.
"""

import contextlib
import difflib
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from marlspec.errors import InputError

Array = NDArray[Any]  # or a tensor, with arrays = "torch"


@runtime_checkable
class Mixer(Protocol):
    """Mixes the utilities of the chosen actions into one value."""

    def __call__(self, utilities: Float[Tensor, "B n"], state: Float[Tensor, "B s"]) -> Float[Tensor, " B"]:
        """Return Q_tot."""


@runtime_checkable
class MixerFactory(Protocol):
    """Makes a mixer of the given sizes."""

    def __call__(self, n_agents: int, state_size: int) -> Mixer:
        """Return the mixer."""


@runtime_checkable
class JointValue(Protocol):
    """Values a joint action, given every agent's utilities."""

    def __call__(
        self, utilities: Float[Tensor, "B n A"], actions: Int[Tensor, "B n"], state: Float[Tensor, "B s"]
    ) -> Float[Tensor, " B"]:
        """Return Q_tot of the joint actions."""


@runtime_checkable
class JointValueFactory(Protocol):
    """Makes a joint value of the given sizes."""

    def __call__(self, n_agents: int, n_actions: int, state_size: int) -> JointValue:
        """Return the joint value."""


@runtime_checkable
class ReplayBuffer(Protocol):
    """Holds items and draws some of them: factory(capacity, example), where example is one transition.

    A transition has the fields observations [n, o], actions [n], rewards [n], next_observations [n, o] and terminated
    []. Buffer or factory declare by attributes:

        items = "transitions" (default) or "episodes"; an episode has up to `longest` = 4 steps, each field [T, ..]
        replacement = True, False, or None (default): whether a batch may hold an item twice
        eviction = "oldest" (default) or "any": what makes room when `capacity` items are stored
        sampling = "uniform" (default) or "other"
        copies = True (default), or False where it keeps the very arrays that are added
        at_once: how many transitions it takes at once, up to the capacity by default
        arrays = "numpy" (default) or "torch": what it is handed
    """

    def add(self, transitions: dict[str, Any]) -> None:
        """Store K transitions, fields [K, ..], or one episode of K steps."""

    def sample(self, batch_size: int) -> Any:
        """Return a mapping with the fields of B transitions [B, ..], as arrays, tensors or lists.

        Of episodes [B, T, ..], padded, with the field filled [B, T]: 1 where a step is real. Raises, whatever it likes,
        where nothing is stored, or less than B in a buffer without replacement.
        """

    def __len__(self) -> int:
        """Return how many items are stored."""


@runtime_checkable
class TargetNetwork(Protocol):
    """An online network and the target network that follows it; sync, soft_update or both are there.

    The two networks hold the same tensors by name and shape: modules, tensors or arrays, or lists and mappings of them,
    as in {"agents": .., "mixer": ..}. They are read anew at every look, and the judge writes numbers into the online
    one in place. Object or factory declare starts = "apart" where the two do not start equal, and taus = (..) where
    soft_update takes these shares alone. Further methods are judged where they are there:

        learn()             one training step of the online network, on any data, without an update of the target
        loss()              a tensor of one number that depends on both networks
        state_dict() and load_state_dict(state)
    """

    online: Any
    target: Any

    def sync(self) -> None:
        """Set the target network equal to the online one."""

    def soft_update(self, tau: float) -> None:
        """Move the target network's parameters by the share tau of the way to the online one's."""


@runtime_checkable
class Learner(Protocol):
    """An algorithm in training, one update at a time.

    `online` holds all that is learned, and `target` the target network where there is one, as for TargetNetwork; a
    mapping names their parts. Learner or factory declare by attributes what a batch looks like:

        n_agents = 2, n_actions = 3, observation_size = 4, state_size = 5
        items = "transitions" (default) or "episodes" of up to `longest` = 4 steps
        common_reward = True (default): all agents receive the same
        arrays = "torch" (default) or "numpy"

    and what is promised: frozen = (names of tensors that are not learned), clip = the largest norm of a gradient,
    target_interval = the number of updates between syncs, or tau = the share of a soft update after each, reduction =
    "mean" (default) or another word. Where there are state_dict() and load_state_dict(state), saving is judged; where
    there is solve(payoffs [A, A], seed) -> values [A, A], which trains on a common-reward game of one step and returns
    the joint values, training is: represents = "additive" (default), "monotone" or "all" games, tolerance = 0.1 of the
    range of the payoffs.
    """

    online: Any

    def learn(self, batch: dict[str, Any]) -> Any:
        """Make one update; what is returned is not looked at.

        The fields are observations [B, n, o], state [B, z], available [B, n, A], actions [B, n], rewards [B, n],
        next_observations, next_state, next_available, and terminated [B]. In episodes they are [B, T, ..], with the
        field filled [B, T], 1 where a step is real; what was seen at T + 1 times is the first of observations, then
        next_observations.
        """


class TDTarget(Protocol):
    """One-step targets of a batch of transitions, each agent's; values were computed before.

    Declares backup = "max" (default), "double" or "value", and mixing = "none" (default) or "sum".
    """

    def __call__(
        self,
        rewards: Float[Array, "B n"],
        terminated: Bool[Array, " B"],
        truncated: Bool[Array, " B"],
        next_values: Float[Array, "B n A"],
        online_values: Float[Array, "B n A"],
        available: Bool[Array, "B n A"],
        gamma: float,
    ) -> Float[Array, "B n"] | Float[Array, " B"]:
        """Return the targets y.

        Args:
            rewards: each agent's; with mixing = "sum" all agents have the common reward.
            terminated: whether s' is terminal.
            truncated: whether the episode is cut at s', by a time limit; where both hold it is terminal.
            next_values: what the target network says of each agent's actions in s', available or not; with
                backup = "value" of the state alone (A = 1).
            online_values: what the online network says of them; of equal ones double Q-learning may take any. All
                values are finite.
            available: which actions an agent has in s', one at least, whether it is terminal or not.
            gamma: the discount.

        Returns:
            y [B, n]; with mixing = "sum" y [B].
        """


class ReturnEstimator(Protocol):
    """Estimates of returns, or advantages, for each time step of rows of time steps; values were computed before.

    Declares estimate = "lambda_return" (default), "advantage" (GAE) or "n_step", and rows = "episode" (default: one
    episode and padding) or "rollout" (episode after episode, no padding).
    """

    def __call__(
        self,
        rewards: Float[Array, "B T"],
        values: Float[Array, "B T"],
        next_values: Float[Array, "B T"],
        terminated: Bool[Array, "B T"],
        truncated: Bool[Array, "B T"],
        mask: Bool[Array, "B T"],
        gamma: float,
        lam: float,
    ) -> Float[Array, "B T"]:
        """Return the estimates; those of padding are not looked at.

        Args:
            rewards: r_t, of the action taken in s_t.
            values: V(s_t).
            next_values: V(s_(t+1)), of the state reached from s_t, before any restart; also where that is terminal,
                and equal to values at t + 1 wherever the same episode goes on.
            terminated: whether s_(t+1) is terminal.
            truncated: whether the episode is cut at s_(t+1), by a time limit; where both hold it is terminal.
            mask: whether time step t is one of the episode's; False for padding, which has no flags. An episode that
                stops before its row does has a flag at its last step; one that fills the row without a flag goes on.
            gamma: the discount.
            lam: lambda; with estimate = "n_step" the number of steps, an integer from 1.
        """


class CounterfactualAdvantage(Protocol):
    """COMA's advantages."""

    def __call__(
        self, q: Float[Array, "B n A"], policy: Float[Array, "B n A"], actions: Int[Array, "B n"]
    ) -> Float[Array, "B n"]:
        """Return each agent's advantage.

        Args:
            q: the critic's values of each agent's actions, the others' actions being those that they took.
            policy: the probabilities with which each agent acts, exploration included; zero where it cannot act so.
            actions: the actions taken, of positive probability.
        """


class CounterfactualCritic(Protocol):
    """COMA's critic, from its inputs to its values.

    Declares n_agents = 2, n_actions = 3, observation_size = 2 and state_size = 3 (the defaults) or other sizes.
    """

    def __call__(
        self, actions: Int[Array, "B n"], observations: Float[Array, "B n o"], state: Float[Array, "B s"]
    ) -> Float[Array, "B n A"]:
        """Return the values of each agent's actions, the others' actions being those that they took.

        Args:
            actions: what the agents did.
            observations: what they had seen, or their histories.
            state: the centralised information.
        """


class PolicyLoss(Protocol):
    """The loss of softmax policies, to be minimised; entropy bonuses are switched off.

    Declares reduction = "mean" (default: over the rows kept and all agents), "agents" (over the rows kept, summed over
    agents) or "sum".
    """

    def __call__(
        self,
        logits: Float[Array, "B n A"],
        actions: Int[Array, "B n"],
        advantages: Float[Array, "B n"],
        mask: Bool[Array, " B"],
    ) -> Float[Array, ""] | tuple[Float[Array, ""], Float[Array, "B n A"]]:
        """Return the loss (arrays = "torch"), or the loss and its gradient in the logits.

        Args:
            logits: of the policies, up to about 1024; the policies are old and new at once, where a loss has both.
            actions: the actions taken.
            advantages: of the actions; to be taken as constants, although a graph may hang on them.
            mask: whether a row counts; False for padding. One row counts at least.
        """


class Policy(Protocol):
    """Softmax policies of available actions.

    Declares output = "probabilities" (default) or "log_probabilities", and epsilon = 0 (default) or the share of the
    even distribution over available actions that is mixed in.
    """

    def __call__(self, logits: Float[Array, "B n A"], available: Bool[Array, "B n A"]) -> Float[Array, "B n A"]:
        """Return each agent's distribution over its actions.

        Args:
            logits: of each agent's actions, available or not.
            available: which actions an agent has, one at least.
        """


class EpsilonGreedy(Protocol):
    """Action selection, drawn with the global generators of Python, numpy or torch, or with one seeded from these.

    Declares output = "actions" (default) or "probabilities".
    """

    def __call__(
        self, utilities: Float[Array, "B n A"], available: Bool[Array, "B n A"], epsilon: float
    ) -> Int[Array, "B n"] | Float[Array, "B n A"]:
        """Return each agent's action, or the probabilities of its actions.

        Args:
            utilities: of each agent's actions, available or not.
            available: which actions an agent has, one at least.
            epsilon: the probability of exploring: an even draw among all available actions, the greedy one too. Each
                agent of each row explores or not by a draw of its own. Of equal utilities any may be greedy.
        """


@dataclass(frozen=True)
class Role:
    """A kind of target.

    Attributes:
        name: as given by --role.
        signature: the factory's and the function's, in words.
        parents: the wider roles whose promises it makes as well.
        axes: the sizes that its factory takes, by name.
        sizes: the sizes to judge at by default; one empty size where the factory takes none.
    """

    name: str
    signature: str
    parents: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ((),)

    @property
    def family(self) -> tuple[str, ...]:
        """The role and all wider ones."""
        return (self.name, *self.parents)


_MIXER = "factory(n_agents, state_size) -> f(utilities [B, n], state [B, s]) -> [B]"
_MIXER_AXES = ("n_agents", "state_size")
_MIXER_SIZES = ((2, 3), (3, 2), (1, 1), (5, 4))
ROLES = {
    role.name: role
    for role in (
        Role("mixer", _MIXER, (), _MIXER_AXES, _MIXER_SIZES),
        Role("vdn_mixer", _MIXER, ("mixer",), _MIXER_AXES, _MIXER_SIZES),
        Role("qmix_mixer", _MIXER, ("mixer",), _MIXER_AXES, _MIXER_SIZES),
        Role(
            "joint_value",
            "factory(n_agents, n_actions, state_size) -> f(utilities [B, n, A], actions [B, n], state [B, s]) -> [B]",
            (),
            ("n_agents", "n_actions", "state_size"),
            ((2, 2, 3), (3, 2, 2), (2, 3, 1), (2, 4, 2), (4, 2, 1)),
        ),
        Role("equilibrium_solver", "factory() -> f(payoffs [n, A_1, .., A_n]) -> profile, profiles or distribution"),
        Role("nash_check", "factory() -> f(payoffs [n, A_1, .., A_n], profile, epsilon) -> bool"),
        Role("pareto_check", "factory() -> f(payoffs [n, A_1, .., A_n], joint action [n]) -> bool"),
        Role("evaluator", "factory() -> f(transitions, rewards, terminal, policy, gamma) -> values [n, S]"),
        Role("optimal_backup", "factory() -> f(transitions, rewards, terminal, gamma, Q [S, A]) -> TQ [S, A]"),
        Role("tabular_update", "factory() -> f(Q [S, A], s, a, r, s', terminated, alpha, gamma) -> Q [S, A]"),
        Role("cql_update", "factory() -> f(Q [S, A_1, .., A_n], s, a [n], r [n], s', terminated, alpha, gamma) -> Q"),
        Role(
            "td_target",
            "factory() -> f(rewards [B, n], terminated [B], truncated [B], next_values [B, n, A], "
            "online_values [B, n, A], available [B, n, A], gamma) -> y [B, n]",
        ),
        Role(
            "return_estimator",
            "factory() -> f(rewards [B, T], values [B, T], next_values [B, T], terminated [B, T], truncated [B, T], "
            "mask [B, T], gamma, lam) -> y [B, T]",
        ),
        Role("counterfactual_advantage", "factory() -> f(q [B, n, A], policy [B, n, A], actions [B, n]) -> [B, n]"),
        Role(
            "counterfactual_critic",
            "factory() -> f(actions [B, n], observations [B, n, o], state [B, s]) -> q [B, n, A]",
        ),
        Role(
            "policy_loss",
            "factory() -> f(logits [B, n, A], actions [B, n], advantages [B, n], mask [B]) -> loss (and gradient)",
        ),
        Role("policy", "factory() -> f(logits [B, n, A], available [B, n, A]) -> probabilities [B, n, A]"),
        Role("epsilon_greedy", "factory() -> f(utilities [B, n, A], available [B, n, A], epsilon) -> actions [B, n]"),
        Role("game", "factory() -> BatchedGame or PettingZoo ParallelEnv"),
        Role("replay_buffer", "factory(capacity, example) -> buffer with add(transitions), sample(B), len()"),
        Role("target_network", "factory() -> object with online, target, sync() or soft_update(tau)"),
        Role("learner", "factory() -> object with online, learn(batch), and target where it has one"),
    )
}


def role_named(name: str) -> Role:
    """Return a role.

    Raises:
        InputError: no such role.
    """
    if name not in ROLES:
        near = difflib.get_close_matches(name, ROLES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"no role is named {name!r}{hint} The roles are {', '.join(ROLES)}")
    return ROLES[name]


@dataclass(frozen=True)
class Target:
    """Something to be judged.

    Attributes:
        name: as the report prints it.
        factory: makes the thing, given the role's sizes.
        settings: keyword arguments added to each call of the factory.
        release: ends what the target keeps running, once it is judged.
    """

    name: str
    factory: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    release: Callable[[], None] = lambda: None


def target_of(thing: Any, settings: Mapping[str, Any] | None = None, role: str = "") -> Target:
    """Make a target of a factory, or load it from `pkg.module:attr`, `path/file.py:attr` or `exec:COMMAND`.

    A command is told the role that it is judged in.

    Raises:
        InputError: it cannot be found, or is not callable.
    """
    if isinstance(thing, str) and thing.startswith("exec:"):
        from marlspec.properties.live import LiveFactory

        door = LiveFactory(thing.removeprefix("exec:"), role)
        return Target(thing, door, dict(settings or {}), door.close)
    factory = load(thing) if isinstance(thing, str) else thing
    if not callable(factory):
        raise InputError(f"{_name(thing)} is a {type(factory).__name__}, not a factory: give a function or a class")
    return Target(_name(thing), factory, dict(settings or {}))


def load(spec: str) -> Any:
    """Import `pkg.module:attr` or `path/file.py:attr` (attr may be dotted).

    Raises:
        InputError: the specification is malformed, or the file, module or attribute is missing or raises on import.
    """
    place, separator, attribute = spec.rpartition(":")
    if not separator or not place or not attribute:
        raise InputError(
            f"{spec!r} names no target: write package.module:attribute, path/file.py:attribute or exec:COMMAND"
        )
    module = _module(place, spec)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"{place} has no attribute {part!r}{hint}")
        found = getattr(found, part)
    return found


def _module(place: str, spec: str) -> ModuleType:
    if not place.endswith(".py"):
        return _imported(place, spec)
    path = Path(place)
    if not path.is_file():
        raise InputError(f"no file {place} (looked for target {spec!r} from {Path.cwd()})")
    state = path.stat()  # a file that was edited since is imported again
    version = f"{path.resolve()} {state.st_mtime_ns} {state.st_size}".encode()
    name = f"marlspec_target_{hashlib.sha256(version).hexdigest()[:16]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise InputError(f"{place} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    if str(path.resolve().parent) not in sys.path:  # its neighbours can be imported, and hide nothing that is installed
        sys.path.append(str(path.resolve().parent))
    try:
        specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(f"importing {place} raised {type(error).__name__}: {error}") from error
    return module


def _imported(place: str, spec: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(error.name + ".")):
            raise InputError(
                f"no module named {error.name!r} for target {spec!r}: install its package, or give a .py file's path"
            ) from error
        raise InputError(f"importing {place} needs the module {error.name!r}, which is not installed") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"importing {place} raised {type(error).__name__}: {error}") from error


def _name(thing: Any) -> str:
    if isinstance(thing, str):
        return thing
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    return f"{module}:{name}" if module else str(name)


def parameters_of(function: Any) -> list[torch.Tensor]:
    """Return the free parameters that a function holds: a module's, or found in closures, attributes and containers.

    Free are leaf tensors in floating point that require a gradient. Each is returned once, in a stable order.
    """
    tensors = [part for part in _reachable(function) if isinstance(part, torch.Tensor)]
    return [part for part in tensors if part.requires_grad and part.is_leaf and part.dtype.is_floating_point]


def dtypes_of(function: Any) -> set[torch.dtype]:
    """Return the floating types of all tensors that a function holds: parameters, buffers and others."""
    tensors = [part for part in _reachable(function) if isinstance(part, torch.Tensor)]
    return {tensor.dtype for tensor in tensors if tensor.dtype.is_floating_point}


def modules_of(function: Any) -> list[torch.nn.Module]:
    """Return the modules that a function is, or holds in its closure, attributes and containers."""
    return [part for part in _reachable(function) if isinstance(part, torch.nn.Module)]


_DEEPEST = 8


def _reachable(thing: Any) -> list[Any]:
    """Everything that a function holds, each once, in a stable order."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(thing, 0)]
    while waiting:
        part, depth = waiting.pop()
        if id(part) in seen or isinstance(part, (str, bytes, int, float, ModuleType, type)):
            continue
        seen.add(id(part))
        found.append(part)
        if depth < _DEEPEST and not isinstance(part, torch.Tensor):
            waiting.extend((inner, depth + 1) for inner in reversed(_parts(part)))
    return found


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, torch.nn.Module):
        return [*thing.parameters(), *thing.buffers(), *vars(thing).values()]
    if isinstance(thing, Mapping):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        return [
            *_cells(thing),
            *(thing.__defaults__ or ()),
            *(thing.__kwdefaults__ or {}).values(),
            *vars(thing).values(),
        ]
    return _attributes(thing)


def _cells(function: FunctionType) -> list[Any]:
    """What a function closes over; a cell that is not filled yet holds nothing."""
    contents = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            contents.append(cell.cell_contents)
    return contents


def _attributes(thing: Any) -> list[Any]:
    """An object's own attributes, read without running any code of its class."""
    try:
        own = list(object.__getattribute__(thing, "__dict__").values())
    except AttributeError:
        own = []
    slots = [
        value
        for kind in type(thing).__mro__
        for value in vars(kind).values()
        if isinstance(value, MemberDescriptorType)
    ]
    for slot in slots:
        with contextlib.suppress(AttributeError):
            own.append(slot.__get__(thing))
    return own
