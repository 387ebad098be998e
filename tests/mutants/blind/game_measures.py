"""How far games are from what their interfaces promise: K copies in parallel, or a PettingZoo ParallelEnv.

Each measure is for one of the two kinds and says 0 of the other.
"""

import copy
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ..target import Factory, Violation
from .common import Array

Record = tuple[Any, ...]
STEPS, LONG = 12, 80
FLAWED = 1.0


def seed_all(seed: int) -> None:
    for seeds in (random.seed, np.random.seed, torch.manual_seed):
        seeds(seed)


def is_parallel(game: Any) -> bool:
    return hasattr(game, "possible_agents")


def of_copies(measure: Callable[[Factory], float]) -> Callable[[Factory], float]:
    """The measure for K copies, with the generators as they were before."""
    return _of_kind(measure, parallel=False)


def of_agents(measure: Callable[[Factory], float]) -> Callable[[Factory], float]:
    """The measure for a ParallelEnv."""
    return _of_kind(measure, parallel=True)


def _of_kind(measure: Callable[[Factory], float], parallel: bool) -> Callable[[Factory], float]:
    @functools.wraps(measure)
    def amount(factory: Factory) -> float:
        seed_all(0)
        return float(measure(factory)) if is_parallel(factory()) == parallel else 0.0

    return amount


def same(one: Any, other: Any) -> bool:
    """Whether two nested answers are equal, kinds of numbers included."""
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    left, right = np.asarray(one), np.asarray(other)
    numbers = left.dtype.kind in "fc" and right.dtype.kind in "fc"
    return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=numbers)


# Copies in parallel.


def noise(seed: int, K: int, game: Any, steps: int = STEPS) -> Array:
    """What the copies choose by, step by step."""
    return np.random.default_rng(seed).random((steps, K, game.n_agents, game.n_actions))


def chosen(game: Any, state: Any, preference: Array) -> torch.Tensor:
    """Each agent's available action of the highest preference; that of a copy depends on nothing of the others."""
    return torch.where(game.available(state).bool(), torch.from_numpy(preference), -1.0).argmax(-1)


def seen(game: Any, state: Any) -> Record:
    return tuple(part.clone().numpy() for part in (game.observe(state), game.centralized(state), game.available(state)))


def stepped(game: Any, state: Any, actions: torch.Tensor) -> tuple[Any, Record]:
    after, *answer = game.step(state, actions)
    return after, (*(part.clone().numpy() for part in answer), *seen(game, after))


def episode(game: Any, seed: int, preferences: Array, again: bool = False) -> list[Record]:
    """All that is seen of an episode from a seed; `again` begins new episodes where a game can."""
    seed_all(seed)
    state = game.reset(preferences.shape[1])
    records = [seen(game, state)]
    for preference in preferences:
        state, record = stepped(game, state, chosen(game, state, preference))
        records.append(record)
        if again and hasattr(game, "restart"):
            state = game.restart(state, torch.from_numpy(record[1] | record[2]))
            records.append(seen(game, state))
    return records


@of_copies
def other_than_its_seed(factory: Factory) -> float:
    """Among episodes of one seed, on new games and on one that has been played, those that differ."""
    game, wrong = factory(), 0
    for seed in (0, 7, 0, 7):
        for again in (False, True):
            preferences = noise(seed, 4, game)
            first = episode(factory(), seed, preferences, again)
            wrong += not same(first, episode(game, seed, preferences, again))
            episode(game, seed + 1, noise(1, 3, game, 5), again)
    return wrong


@of_copies
def no_function_of_the_state(factory: Factory) -> float:
    """States that answer otherwise when they are asked again, after other states have been."""
    game, wrong = factory(), 0
    state = game.reset(3)
    for t, preference in enumerate(noise(2, 3, game)):
        before, actions = seen(game, state), chosen(game, state, preference)
        seed_all(t)
        after, first = stepped(game, state, actions)
        episode(game, t, noise(t, 5, game, 4))
        seed_all(t)
        second = stepped(game, state, actions)[1]
        wrong += (not same(before, seen(game, state))) + (not same(first, second))
        state = after
    return wrong


@of_copies
def writes_into_copies(factory: Factory) -> float:
    """How many tensors of states or actions have changed after they were handed over."""
    game, handed = factory(), []
    state = game.reset(4)
    for preference in noise(3, 4, game):
        actions = chosen(game, state, preference)
        handed += [(part, part.clone()) for part in (*state, actions)]
        state = game.step(state, actions)[0]
        seen(game, state)
    return sum(not torch.equal(part, old) for part, old in handed)


@of_copies
def answers_that_change(factory: Factory) -> float:
    """How many tensors that a game has returned are other ones some steps later."""
    game, returned = factory(), []
    state = game.reset(4)
    for preference in noise(4, 4, game):
        answers = [game.observe(state), game.centralized(state), game.available(state)]
        state, *rest = game.step(state, chosen(game, state, preference))
        returned += [(part, part.clone()) for part in (*answers, *rest)]
    return sum(not torch.equal(part, old) for part, old in returned)


@of_copies
def copies_that_feel_others(factory: Factory) -> float:
    """Copies whose episodes are others when all other copies act otherwise."""
    game, wrong = factory(), 0
    for seed in range(6):
        preferences = noise(seed, 4, game)
        for k in range(4):
            changed = noise(seed + 100, 4, game)
            changed[:, k] = preferences[:, k]
            one, other = (episode(factory(), seed, p) for p in (preferences, changed))
            wrong += any(not same(a[k], b[k]) for a, b in zip(sum(one, ()), sum(other, ()), strict=True))
    return wrong


def bound_together(draw: Callable[[int], Record], K: int = 4, seeds: int = 25) -> float:
    """Pairs of copies that chance never tells apart, although it moves the first."""
    drawn = [[tuple(part[k].tobytes() for part in record) for k in range(K)] for record in map(draw, range(seeds))]
    if len({copies[0] for copies in drawn}) == 1:
        return 0.0
    return sum(all(copies[i] == copies[j] for copies in drawn) for i in range(K) for j in range(i))


@of_copies
def chance_that_is_shared(factory: Factory) -> float:
    """Pairs of copies with one chance between them: in reset, in the steps from one state, in restart."""
    game = factory()
    start = game.reset(1)
    alike = type(start)(*(field[[0] * 4] for field in start))
    preferences = noise(0, 1, game)[:, [0] * 4]

    def after_steps(seed: int) -> Record:
        seed_all(seed)
        state, found = alike, []
        for preference in preferences[:4]:
            state, record = stepped(game, state, chosen(game, state, preference))
            found += list(record)
        return tuple(found)

    def after_reset(seed: int) -> Record:
        seed_all(seed)
        return seen(game, game.reset(4))

    def after_restart(seed: int) -> Record:
        seed_all(seed)
        return seen(game, game.restart(alike, torch.ones(4, dtype=torch.bool)))

    draws = [after_steps, after_reset] + ([after_restart] if hasattr(game, "restart") else [])
    return max(map(bound_together, draws))


@of_copies
def wrong_kinds(factory: Factory) -> float:
    """Answers of another shape or kind than the protocol has them, also of a state that is not the last one made."""
    game, wrong = factory(), 0
    n, count = game.n_agents, game.n_actions
    wrong += count != max(getattr(game, "action_counts", (count,)))
    for K in (1, 2, 5):
        state = game.reset(K)
        game.reset(K + 1)
        for _ in range(5):
            wrong += any(field.ndim == 0 or len(field) != K for field in state)
            state, rewards, terminated, truncated = game.step(state, torch.zeros(K, n, dtype=torch.int64))
            floats = (rewards, (K, n)), (game.observe(state), (K, n, game.observation_size))
            for answer, shape in (*floats, (game.centralized(state), (K, game.state_size))):
                wrong += answer.shape != shape or not answer.is_floating_point()
            for answer, shape in ((terminated, (K,)), (truncated, (K,)), (game.available(state), (K, n, count))):
                wrong += answer.shape != shape or answer.dtype != torch.bool
    return wrong


@of_copies
def not_finite(factory: Factory) -> float:
    game, wrong = factory(), 0
    for seed in range(10):
        for record in episode(game, seed, noise(seed, 40, game), again=True):
            wrong += sum(not np.isfinite(part).all() for part in record)
    return wrong


@of_copies
def masks_that_mislead(factory: Factory) -> float:
    """Agents without an action, actions beyond an agent's count, and available ones that the game does not take."""
    game, wrong = factory(), 0
    counts = getattr(game, "action_counts", (game.n_actions,) * game.n_agents)
    for seed in range(3):
        seed_all(seed)
        state, live = game.reset(32), torch.ones(32, dtype=torch.bool)
        for preference in noise(seed, 32, game):
            free, actions = game.available(state), chosen(game, state, preference)
            wrong += int((~free.any(-1)).sum()) + sum(int(free[:, i, c:].sum()) for i, c in enumerate(counts))
            for i, count in enumerate(counts):
                for action in range(count):
                    tried = actions.clone()
                    tried[free[:, i, action], i] = action
                    wrong += int((game.step(state, tried)[1].isnan().any(-1) & live).sum())
            state, _, terminated, truncated = game.step(state, actions)
            live = live & ~terminated & ~truncated
    return wrong


@of_copies
def not_in_common(factory: Factory) -> float:
    """The greatest difference between rewards that are declared common."""
    game = factory()
    if not game.common_reward:
        return 0.0
    records = [record for seed in range(10) for record in episode(game, seed, noise(seed, 20, game))[1:]]
    return max(float(np.ptp(record[0], axis=1).max()) for record in records)


@of_copies
def ends_that_are_not_final(factory: Factory) -> float:
    """Copies that have ended and report so no longer."""
    game, wrong = factory(), 0
    for seed in range(6):
        over = np.zeros(20, np.bool_)
        for record in episode(game, seed, noise(seed, 20, game, 30))[1:]:
            now = np.asarray(record[1] | record[2], np.bool_)
            wrong += int((over & ~now).sum())
            over |= now
    return wrong


@of_copies
def paid_after_the_end(factory: Factory) -> float:
    """What copies pay once they have terminated."""
    game, worst = factory(), 0.0
    for seed in range(6):
        over = np.zeros(20, np.bool_)
        for record in episode(game, seed, noise(seed, 20, game, 30))[1:]:
            worst = max(worst, float(np.abs(record[0][over]).max(initial=0)))
            over |= record[1]
    return worst


@of_copies
def copies_without_end(factory: Factory) -> float:
    game, over = factory(), np.zeros(20, np.bool_)
    for record in episode(game, 5, noise(5, 20, game, LONG))[1:]:
        over |= record[1] | record[2]
    return int((~over).sum())


@of_copies
def copies_that_end_as_something_else(factory: Factory) -> float:
    """Copies that report terminated where the game's goal is not reached; for games that say what it is."""
    game, wrong = factory(), 0
    if not hasattr(game, "arrived"):
        return 0.0
    for seed in range(6):
        state = game.reset(20)
        for preference in noise(seed, 20, game):
            state, _, terminated, _ = game.step(state, chosen(game, state, preference))
            wrong += int((terminated != game.arrived(state)).sum())
    return wrong


@of_copies
def restarts_that_are_none(factory: Factory) -> float:
    """Copies that restart() leaves as no reset would, and copies that go on and were changed."""
    game, wrong = factory(), 0
    if not hasattr(game, "restart"):
        return 0.0

    def looks(state: Any) -> list[tuple[bytes, ...]]:
        parts = seen(game, state)
        return [tuple(part[k].tobytes() for part in parts) for k in range(len(parts[0]))]

    fresh = set(looks(game.reset(2000)))
    for seed in range(6):
        state = game.reset(8)
        for t, preference in enumerate(noise(seed, 8, game, 5)):
            state = game.step(state, chosen(game, state, preference))[0]
            finished = torch.from_numpy(np.random.default_rng(t).random(8) < 0.5)
            old, new = looks(state), looks(game.restart(state, finished))
            wrong += sum(b not in fresh if done else a != b for a, b, done in zip(old, new, finished, strict=True))
    return wrong


# ParallelEnvs.


def mask_of(env: Any, agent: Any, observations: Mapping[Any, Any], infos: Mapping[Any, Any]) -> Array:
    sources = (observations.get(agent), infos.get(agent))
    given = [source["action_mask"] for source in sources if isinstance(source, Mapping) and "action_mask" in source]
    return np.asarray(given[0]) if given else np.ones(env.action_space(agent).n, np.int8)


def legal(env: Any, generator: np.random.Generator, observations: Any, infos: Any) -> dict[Any, np.int64]:
    """An available action for each agent; whoever has none takes the first."""
    actions = {}
    for agent in env.agents:
        free = np.flatnonzero(mask_of(env, agent, observations, infos))
        actions[agent] = np.int64(generator.choice(free) if len(free) else 0)
    return actions


def state_of(env: Any) -> Any:
    try:
        return env.state()
    except NotImplementedError:
        return 0


def plays(env: Any, seed: int, choice: int = 0, longest: int = LONG) -> Iterator[Record]:
    """The answers of an episode, as they are: (agents before, observations, .., infos, state, agents after)."""
    generator = np.random.default_rng(choice)
    observations, infos = env.reset(seed=seed)
    yield [], observations, {}, {}, {}, infos, state_of(env), list(env.agents)
    for _ in range(longest):
        if not env.agents:
            return
        acting = list(env.agents)
        observations, *rest, infos = env.step(legal(env, generator, observations, infos))
        yield acting, observations, *rest, infos, state_of(env), list(env.agents)


def kept(records: Iterator[Record]) -> list[Record]:
    return [copy.deepcopy(record) for record in records]


def together(one: Iterator[Record], other: Iterator[Record]) -> list[Record]:
    """The first one's records, while the other is played in between and the world draws random numbers."""
    found = []
    for record in one:
        found.append(copy.deepcopy(record))
        next(other, None)
        random.random(), np.random.random(), torch.rand(1)
    return found


@of_agents
def other_than_the_seed_given(factory: Factory) -> float:
    """Among episodes of one seed, those that differ: on other instances, used ones, or with others in between."""
    used, neighbour, wrong = factory(), factory(), 0
    for seed in (3, 0, 11, 3, 0):
        expected = kept(plays(factory(), seed))
        wrong += not same(expected, kept(plays(used, seed)))
        wrong += not same(expected, together(plays(used, seed), plays(neighbour, seed + 1, 1)))
        wrong += not same(expected, together(plays(factory(), seed), plays(factory(), seed + 2, 2)))
        kept(plays(used, seed + 5, 3, longest=3))
    return wrong


@of_agents
def seeds_without_effect(factory: Factory) -> float:
    """Where a game says that it begins at random: 1 if all seeds begin alike."""
    env = factory()
    first, *others = [next(plays(env, seed)) for seed in range(30) if getattr(env, "begins_at_random", False)] or [
        (0,),
        (1,),
    ]
    return FLAWED * all(same(first, other) for other in others)


def records_of(env: Any, episodes: int = 40) -> Iterator[Record]:
    for seed in range(episodes):
        yield from plays(env, seed, seed)


@of_agents
def left_out(factory: Factory) -> float:
    """How often an agent that takes part, or acted, is not told something."""
    wrong = 0
    for acting, *answers, _, present in records_of(factory()):
        wanted = answers if acting else [answers[0], answers[-1]]
        wrong += sum(agent not in answer for agent in (acting or present) for answer in wanted)
    return wrong


@of_agents
def outside_its_space(factory: Factory) -> float:
    """Observations that their spaces do not contain, states outside theirs, and spaces made anew at each call."""
    env, wrong = factory(), 0
    for acting, observations, *_, state, present in records_of(env):
        for agent in acting or present:
            wrong += agent in observations and not env.observation_space(agent).contains(observations[agent])
        wrong += hasattr(env, "state_space") and not env.state_space.contains(state)
    for agent in env.possible_agents:
        wrong += env.observation_space(agent) is not env.observation_space(agent)
        wrong += env.action_space(agent) is not env.action_space(agent)
    return wrong


@of_agents
def agents_that_come_and_go(factory: Factory) -> float:
    """Agents that stay when they are done, leave when they are not, come back, or were never possible."""
    env, wrong, gone = factory(), 0, set[Any]()
    possible = list(env.possible_agents)
    for acting, _, _, terminations, truncations, _, _, present in records_of(env):
        gone = gone if acting else set()
        wrong += list(env.possible_agents) != possible or not set(present) <= set(possible)
        wrong += bool(gone & set(present)) + (not acting and not present)
        for agent in acting:
            done = terminations.get(agent, False) or truncations.get(agent, False)
            wrong += done == (agent in present)
            gone |= {agent} if done else set()
    return wrong


@of_agents
def no_numbers(factory: Factory) -> float:
    """Rewards that are no finite numbers, and flags that are not true or false."""
    wrong = 0
    for _, _, rewards, terminations, truncations, *_ in records_of(factory()):
        for reward in rewards.values():
            number = isinstance(reward, int | float | np.integer | np.floating) and not isinstance(reward, bool)
            wrong += not number or not np.isfinite(reward)
        wrong += sum(not isinstance(f, bool | np.bool_) for f in (*terminations.values(), *truncations.values()))
    return wrong


@of_agents
def actions_refused(factory: Factory) -> float:
    """Masks that are empty or too short for the space, and episodes in which an action that they allow is refused."""
    env, wrong = factory(), 0
    for seed in range(40):
        try:
            for _, observations, *_, infos, _, present in plays(env, seed, seed):
                given = {agent: mask_of(env, agent, observations, infos) for agent in present}
                wrong += sum(m.shape != (env.action_space(agent).n,) or not m.any() for agent, m in given.items())
        except (ValueError, TypeError, KeyError, IndexError):
            wrong += 1
    return wrong


@of_agents
def records_that_change(factory: Factory) -> float:
    """Answers that are other ones some steps or an episode later."""
    env, wrong = factory(), 0
    for seed in range(6):
        answers = []
        for record in plays(env, seed, seed):
            answers.append((record, copy.deepcopy(record)))
        env.reset(seed=seed + 50)
        wrong += sum(not same(record, old) for record, old in answers)
    return wrong


@of_agents
def writes_into_actions(factory: Factory) -> float:
    """Steps after which the dictionary of actions is another one."""
    env, wrong, generator = factory(), 0, np.random.default_rng(0)
    observations, infos = env.reset(seed=1)
    for _ in range(STEPS):
        if not env.agents:
            break
        actions = legal(env, generator, observations, infos)
        before = dict(actions)
        observations, *_, infos = env.step(actions)
        wrong += not same(before, actions)
    return wrong


@of_agents
def agents_without_end(factory: Factory) -> float:
    env, wrong = factory(), 0
    for seed in range(10):
        wrong += bool(list(plays(env, seed, seed))[-1][-1])
    return wrong


@of_agents
def agents_that_end_as_something_else(factory: Factory) -> float:
    """Agents that are terminated where their goal is not reached, in a game that says whose is."""
    env, wrong = factory(), 0
    for acting, _, _, terminations, *_ in records_of(env):
        wrong += sum(bool(terminations[agent]) != (agent in env.arrived()) for agent in acting)
    return wrong


@of_agents
def paid_to_another(factory: Factory) -> float:
    """How far rewards are from those of the agents that they are paid to, in a game that says how it pays."""
    env, worst = factory(), 0.0
    for acting, _, rewards, *_ in records_of(env):
        worst = max([worst, *(abs(rewards[agent] - env.due(agent)) for agent in acting if hasattr(env, "due"))])
    return worst


SEED = Violation("a seed decides an episode, whatever was played before", other_than_its_seed)
FUNCTION = Violation("answers depend on the state that is handed over alone", no_function_of_the_state)
PURE = Violation("states and actions stay as they are", writes_into_copies)
STAYS = Violation("what was returned stays as it is", answers_that_change)
COPIES = Violation("no copy depends on the others' actions", copies_that_feel_others)
CHANCE = Violation("every copy has chances of its own", chance_that_is_shared)
KINDS = Violation("shapes and kinds are those of the protocol", wrong_kinds)
FINITE = Violation("rewards, observations and centralised information are finite", not_finite)
MASK = Violation("an agent has an available action, and can take every one", masks_that_mislead)
COMMON = Violation("a common reward is the same for all agents", not_in_common)
FINAL = Violation("a copy that has ended stays so: there are no resets of its own", ends_that_are_not_final)
UNPAID = Violation("a copy that has terminated pays 0", paid_after_the_end)
ENDS = Violation("episodes end", copies_without_end)
TRUE_END = Violation("terminated means the game's end, and truncated its time limit", copies_that_end_as_something_else)
RESTART = Violation("restart() makes the finished copies fresh, and no others", restarts_that_are_none)

GIVEN_SEED = Violation("reset(seed) decides an episode, whatever others play", other_than_the_seed_given)
SEED_COUNTS = Violation("a random beginning depends on the seed", seeds_without_effect)
TOLD = Violation("all who take part or acted are told everything", left_out)
SPACES = Violation("observations and states lie in their spaces, which stay the same", outside_its_space)
AGENTS = Violation("the done leave for good, and nobody else", agents_that_come_and_go)
NUMBERS = Violation("rewards are finite numbers, flags are true or false", no_numbers)
TAKEN = Violation("an agent has an available action, and can take every one", actions_refused)
KEPT = Violation("what was returned stays as it is", records_that_change)
HANDED = Violation("the actions handed over stay as they are", writes_into_actions)
OVER = Violation("episodes end", agents_without_end)
TRUE_FLAGS = Violation("terminated means the game's end, truncated its time limit", agents_that_end_as_something_else)
OWN_REWARD = Violation("an agent is paid its own reward", paid_to_another)
