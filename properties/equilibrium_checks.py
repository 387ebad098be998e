"""Claims about checks: whether a profile is a Nash equilibrium, whether a joint action is Pareto-optimal.

Each check is judged from both sides: it accepts what is right, at the very bound included, and refuses what is wrong by
a margin far above rounding. All numbers handed over are dyadic and short, so that float64 arithmetic is exact.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, counterexample, search, simpler_numbers, without
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.matrix_cases import (
    KINDS,
    asked,
    case_of,
    chosen,
    drawn_game,
    drawn_shape,
    game_of,
    hard_games,
    named_game,
    number_text,
    numbers_of_agents,
    payoffs_of,
    simpler_tables,
)
from marlspec.properties.procedure import Procedure, procedure, truth_of
from marlspec.properties.repeatable import METHOD as REPEATED
from marlspec.properties.repeatable import STATEMENT, changing, repeatable
from marlspec.properties.strategies import simpler
from marlspec.properties.trial import Trial
from marlspec.reference.solution.nash import regret
from marlspec.reference.solution.pareto import pareto_optimal_actions

Array = NDArray[Any]
AGENTS = (2, 3)  # numbers of agents, where none are declared
MARGIN = 2.0**-8  # by how much a wrong profile or joint action is wrong, for payoffs in [-16, 16]
SHORT = 2.0**20  # numbers that are integers over this are added and multiplied without rounding
EIGHTHS = 8  # drawn probabilities are multiples of 1/8
RARE = 2.0**-7  # or this, of all actions but one
HIGH = 4096.0  # what all rewards of an agent are higher by in some games
AMONG = ("deterministic", "correlated")
BOOK = "Albrecht et al. 2024, chapter 4"
METHOD = "fixed cases and drawn ones, decided in rationals"


# --- nash_check: what is asked ----------------------------------------------------------------------------------------


def _checked(target: Procedure, case: Case) -> bool:
    profile = [np.array(mix, dtype=np.float64) for mix in case["profile"]]
    return truth_of(asked(target, payoffs_of(case), profile, float(case["epsilon"])), "the answer")


def _regrets(case: Case) -> Array:
    return regret(game_of(case), case["profile"])


def _is_short(case: Case) -> bool:
    numbers = [*payoffs_of(case).ravel(), *(value for mix in case["profile"] for value in mix), case["epsilon"]]
    return all((float(value) * SHORT).is_integer() for value in numbers)


def _refused_wrongly(target: Procedure, case: Case) -> Counterexample | None:
    """At the bound itself only where float arithmetic is exact; else a little below."""
    regrets = _regrets(case)
    room = Fraction(case["epsilon"]) - max(regrets)
    if room < (0 if _is_short(case) else Fraction(MARGIN)) or _checked(target, case):
        return None
    return counterexample(case, "False", f"True: the agents' exact regrets are {_listing(regrets)}")


def _accepted_wrongly(target: Procedure, case: Case) -> Counterexample | None:
    regrets = _regrets(case)
    excess = float(max(regrets)) - case["epsilon"]
    if excess < MARGIN * max(1.0, np.abs(payoffs_of(case)).max() / 16) or not _checked(target, case):
        return None
    return counterexample(case, "True", f"False: the agents' exact regrets are {_listing(regrets)}")


def _listing(numbers: Iterable[Any]) -> str:
    return ", ".join(number_text(value) for value in numbers)


@claim(
    "nash.check_accepts",
    "A profile in which no agent gains more than epsilon by deviating alone is accepted, pure, mixed and degenerate, "
    "with ties, and with a regret of exactly epsilon.",
    roles=("nash_check",),
    cite=f"{BOOK} (Nash equilibrium, epsilon-Nash equilibrium)",
    method=METHOD,
    recheck=lambda trial, size, case: _refused_wrongly(procedure(trial), case),
)
def check_accepts(trial: Trial) -> Finding:
    """Payoffs are made for a profile, so that its regrets are known."""
    target = procedure(trial)
    agents = numbers_of_agents(target, AGENTS)
    return search(
        trial,
        lambda generator, k: _equilibrium_case(generator, k, agents),
        lambda case: _refused_wrongly(target, case),
        method="exact regret of profiles with payoffs made for them",
        smaller=lambda case: _smaller_checks(case, agents),
        always=_fixed_checks(agents),
        key="nash.check_accepts",
    )


@claim(
    "nash.check_refuses",
    "A profile in which some agent gains more than epsilon by deviating alone, by at least 1/256 more, is refused, "
    "whichever agent it is and whether or not it plays the better action at times.",
    roles=("nash_check",),
    cite=f"{BOOK} (Nash equilibrium, epsilon-Nash equilibrium)",
    method=METHOD,
    recheck=lambda trial, size, case: _accepted_wrongly(procedure(trial), case),
)
def check_refuses(trial: Trial) -> Finding:
    """As for nash.check_accepts, with a lower epsilon."""
    target = procedure(trial)
    agents = numbers_of_agents(target, AGENTS)
    return search(
        trial,
        lambda generator, k: _deviation_case(generator, k, agents),
        lambda case: _accepted_wrongly(target, case),
        method="exact regret of profiles with payoffs made for them",
        smaller=lambda case: _smaller_checks(case, agents),
        always=_fixed_checks(agents),
        key="nash.check_refuses",
    )


def _answers(target: Procedure, case: Case) -> Array:
    return np.array([_checked(target, case)], dtype=float)


@claim(
    "nash.check_repeatable",
    STATEMENT,
    roles=("nash_check",),
    cite=f"{BOOK}: whether a profile is an equilibrium depends on game and profile alone",
    method=REPEATED,
    recheck=lambda trial, size, case: changing(trial, _answers, case),
)
def check_repeatable(trial: Trial) -> Finding:
    """Neither memory nor chance; the second case is another profile in the same game, or in another one."""
    agents = numbers_of_agents(procedure(trial), AGENTS)

    def other_profile(generator: np.random.Generator, k: int, first: Case) -> Case:
        if k % 4 > 1:
            return _equilibrium_case(generator, k, agents)
        mixes = [_drawn_mix(generator, len(mix), pure=k % 8 == 1) for mix in first["profile"]]
        return _check_case(first["payoffs"], mixes, first["epsilon"])

    return repeatable(
        trial,
        lambda generator, k: _equilibrium_case(generator, k, agents),
        _answers,
        lambda case: _smaller_checks(case, agents),
        key="nash.check_repeatable",
        next_draw=other_profile,
    )


# --- nash_check: cases ------------------------------------------------------------------------------------------------


def _check_case(payoffs: Any, profile: Sequence[Any], epsilon: float = 0.0) -> dict[str, Any]:
    return {
        "payoffs": np.asarray(payoffs, dtype=np.float64).tolist(),
        "profile": [np.asarray(mix, dtype=np.float64).tolist() for mix in profile],
        "epsilon": epsilon,
    }


def _equilibrium_case(generator: np.random.Generator, k: int, agents: Sequence[int]) -> Case:
    """Draw a profile that is to be accepted: epsilon is its regret, or above it."""
    case = _profile_case(generator, k, agents, may_gain=k % 5 in (2, 3))
    room = generator.choice([0.0, 0.0, 0.0, 2.0**-6, 0.5])
    return {**case, "epsilon": _drawn_regret(case) + float(room)}


def _deviation_case(generator: np.random.Generator, k: int, agents: Sequence[int]) -> Case:
    """Draw a profile that is to be refused: epsilon is below its regret by MARGIN or more."""
    while True:
        case = _profile_case(generator, k, agents, may_gain=True)
        largest = _drawn_regret(case)
        below = [largest - step for step in (MARGIN, MARGIN, 0.25, 1.0) if step <= largest]
        if below:
            return {**case, "epsilon": float(generator.choice([0.0, *below]))}


def _profile_case(generator: np.random.Generator, k: int, agents: Sequence[int], may_gain: bool) -> Case:
    """Draw a profile, with payoffs for which it is nearly an equilibrium; every fifth in a game as it comes."""
    if k % 5 == 4:
        payoffs = payoffs_of(drawn_game(generator, int(generator.integers(len(KINDS))), agents))
        return _check_case(payoffs, [_drawn_mix(generator, count, pure=True) for count in payoffs.shape[1:]])
    shape = drawn_shape(generator, agents)
    profile = [_drawn_mix(generator, count, pure=k % 5 == 0) for count in shape]
    payoffs = generator.integers(-16, 17, (len(shape), *shape)) / 4
    lucky = int(generator.integers(-1, len(shape)))  # the agent that may gain; -1 for all of them
    for i, mix in enumerate(profile):
        gains = _drawn_gains(generator, mix, may_gain and lucky in (i, -1))
        _set_deviation_rewards(payoffs[i], profile, i, generator.integers(-4, 5) / 2 + gains)
    return _check_case(payoffs, profile)


def _drawn_mix(generator: np.random.Generator, count: int, pure: bool) -> Array:
    """Draw multiples of 1/8 that sum to one; of mixed ones every fifth is nearly pure."""
    support = generator.permutation(count)[: 1 if pure else int(generator.integers(1, count + 1))]
    parts = generator.multinomial(EIGHTHS - len(support), np.full(len(support), 1 / len(support))) + 1
    mix = np.zeros(count)
    mix[support] = parts / EIGHTHS
    if len(support) > 1 and generator.random() < 0.2:  # nearly pure
        mix[support] = RARE
        mix[support[0]] = 1 - (len(support) - 1) * RARE
    return mix


def _drawn_gains(generator: np.random.Generator, mix: Array, may_gain: bool) -> Array:
    """Draw what each action brings beyond what the played ones bring: 0 for these, no more for others, unless lucky."""
    gains = np.where(mix > 0, 0.0, -generator.choice([0.0, 0.25, 1.0], mix.shape))
    if may_gain:
        gains[generator.integers(len(mix))] += generator.choice([2.0**-6, 0.25, 1.0])
    return gains


def _set_deviation_rewards(table: Array, profile: Sequence[Array], i: int, wanted: Array) -> None:
    """Shift agent i's rewards action by action, so that each action brings what is wanted against the others' mixes."""
    shifts = wanted - _deviation_rewards(table, profile, i)
    table += np.reshape(shifts, [-1 if j == i else 1 for j in range(table.ndim)])


def _deviation_rewards(table: Array, profile: Sequence[Array], i: int) -> Array:
    """What each action of agent i brings; without rounding, for short numbers."""
    brought = np.moveaxis(table, i, 0)
    for mix in [mix for j, mix in enumerate(profile) if j != i][::-1]:
        brought = brought @ mix
    return brought


def _drawn_regret(case: Case) -> float:
    """The largest regret of a drawn case, whose numbers are short."""
    profile = [np.array(mix) for mix in case["profile"]]
    brought = [_deviation_rewards(table, profile, i) for i, table in enumerate(payoffs_of(case))]
    return float(max(own.max() - own @ mix for own, mix in zip(brought, profile, strict=True)))


def _fixed_checks(agents: Sequence[int]) -> list[Case]:
    """Fixed games with pure and mixed profiles, true and false equilibria alike: each claim takes its own."""
    cases: list[Case] = []
    for game in map(payoffs_of, hard_games(agents, large=False)):
        for a in ([0] * len(game), [count - 1 for count in game.shape[1:]]):
            pure = [np.eye(count)[action] for count, action in zip(game.shape[1:], a, strict=True)]
            cases.append(_check_case(game, pure))
    climbing, rps = named_game("climbing"), named_game("rock-paper-scissors")
    pennies, dilemma = named_game("matching-pennies"), named_game("prisoners-dilemma")
    mixed = [
        _check_case(climbing, [[5 / 16, 0, 11 / 16]] * 2),
        _check_case(climbing, [[5 / 16, 0, 11 / 16], [11 / 16, 0, 5 / 16]]),
        _check_case(pennies, [[0.5, 0.5]] * 2),
        _check_case(pennies, [[0.5, 0.5], [0.25, 0.75]], 0.25),
        _check_case(pennies, [[1, 0], [0.5, 0.5]], 1.0),
        _check_case(rps, [[1 / 3] * 3] * 2, 0.25),
        _check_case(rps * 2.0**16, [[0.5, 0.5, 0]] * 2, 1.0),
        _check_case(dilemma * 2.0**16, [[0, 1]] * 2),
    ]
    return [*cases, *(mixed if 2 in agents else [])]


def _smaller_checks(case: Case, agents: Sequence[int]) -> Iterator[Case]:
    payoffs, profile = payoffs_of(case), [np.array(mix) for mix in case["profile"]]
    if len(profile) - 1 in agents:
        for i in range(len(profile)):
            rest = np.tensordot(np.delete(payoffs, i, axis=0), profile[i], axes=(i + 1, 0))  # no regret changes
            yield _check_case(rest, [mix for j, mix in enumerate(profile) if j != i], case["epsilon"])
    for i, mix in enumerate(profile):
        for action in range(len(mix) if len(mix) > 1 else 0):
            smaller = np.delete(mix, action)
            smaller[smaller.argmax()] += mix[action]
            rest = np.delete(payoffs, action, axis=i + 1)
            yield _check_case(rest, [*profile[:i], smaller, *profile[i + 1 :]], case["epsilon"])
    yield from _an_action_each_less(payoffs, profile, case["epsilon"])
    for i, mix in enumerate(profile):
        for simple in _simpler_mixes(mix):
            yield _check_case(payoffs, [*profile[:i], simple, *profile[i + 1 :]], case["epsilon"])
    yield from ({**case, "epsilon": value} for value in simpler(case["epsilon"]) if value >= 0)
    yield from simpler_tables(case)


def _an_action_each_less(payoffs: Array, profile: Sequence[Array], epsilon: float) -> Iterator[Case]:
    """Leave out an action of several agents that they do not play: those that had as many actions still have."""
    for unplayed in product(*([None, *np.flatnonzero(mix == 0)] for mix in profile)):
        rest, mixes = payoffs, list(profile)
        for i, action in enumerate(unplayed):
            if action is not None:
                rest, mixes[i] = np.delete(rest, action, axis=i + 1), np.delete(mixes[i], action)
        if unplayed.count(None) < len(profile) - 1:
            yield _check_case(rest, mixes, epsilon)


def _simpler_mixes(mix: Array) -> Iterator[Array]:
    """Mixes of fewer actions, or of the same actions in equal parts where these are dyadic."""
    support = np.flatnonzero(mix)
    for action in support if len(support) > 1 else ():
        yield np.eye(len(mix))[action]
    even = np.where(mix > 0, 1 / len(support), 0.0)
    if len(support) in (2, 4) and not np.array_equal(even, mix):
        yield even


# --- pareto_check -----------------------------------------------------------------------------------------------------
#
# A case carries the proof of the right answer, so that it is decided by arithmetic: "weights", one positive number per
# agent, by whose weighted sum no joint action exceeds this one; "mixture", joint actions with probabilities that
# dominate it. Among deterministic policies comparison with all joint actions decides.


ActionTest = Callable[[Procedure, Case, str], Counterexample | None]
DrawAction = Callable[[np.random.Generator, int, Sequence[int], str], Case]


def _is_optimal(case: Case, among: str) -> bool:
    payoffs, action = payoffs_of(case), tuple(case["action"])
    if among == "deterministic":
        gains = _gains(payoffs, action)
        return not ((gains >= 0).all(axis=0) & (gains > 0).any(axis=0)).any()
    weights = np.array(case.get("weights", 0), dtype=np.float64)
    if weights.min() <= 0:
        return False
    weighted = np.tensordot(weights, payoffs, axes=1)
    return bool(weighted[action] == weighted.max())


def _is_dominated(case: Case, among: str) -> bool:
    """Decide with a margin: someone gains MARGIN at least."""
    gains = _gains(payoffs_of(case), tuple(case["action"]))
    if among == "correlated":
        shares = ((tuple(other), share) for *other, share in case.get("mixture", ()))
        gains = np.sum([share * gains[:, *other] for other, share in shares], axis=0)
    return bool(((gains >= 0).all(axis=0) & (gains >= MARGIN).any(axis=0)).any())


def _gains(payoffs: Array, action: tuple[int, ...]) -> Array:
    """What each agent gains [n, A_1, .., A_n] where another joint action is played; exact, for short numbers."""
    gains = [table - table[action] for table in payoffs]
    return np.array(gains)


def _optimal_refused(target: Procedure, case: Case, among: str) -> Counterexample | None:
    if not _is_optimal(case, among) or _is_accepted(target, case):
        return None
    return counterexample(case, "False", f"True: no {_class(among)} gives everyone as much and someone more")


def _dominated_accepted(target: Procedure, case: Case, among: str) -> Counterexample | None:
    if not _is_dominated(case, among) or not _is_accepted(target, case):
        return None
    rewards = payoffs_of(case)[:, *case["action"]]
    required = f"False: it pays [{_listing(rewards)}], and some {_class(among)} gives everyone as much and someone more"
    return counterexample(case, "True", required)


def _class(among: str) -> str:
    return "joint action" if among == "deterministic" else "distribution over joint actions"


def _is_accepted(target: Procedure, case: Case) -> bool:
    action = np.array(case["action"], dtype=np.int64)
    return truth_of(asked(target, payoffs_of(case), action), "the answer")


def _among(target: Procedure) -> str:
    return chosen(target, "among", AMONG[0], AMONG)


def _recheck(trial: Trial, case: Case, test: ActionTest) -> Counterexample | None:
    target = procedure(trial)
    return test(target, case, _among(target))


@claim(
    "pareto.accepts",
    "A joint action that no other joint action dominates is accepted as Pareto-optimal, equal rewards elsewhere "
    'included; with among = "correlated", one that no distribution over joint actions dominates.',
    roles=("pareto_check",),
    cite=f"{BOOK} (Pareto optimality)",
    method=METHOD,
    recheck=lambda trial, size, case: _recheck(trial, case, _optimal_refused),
)
def pareto_accepts(trial: Trial) -> Finding:
    """Joint actions with a proof that they are optimal."""
    return _over_actions(trial, _optimal_case, _optimal_refused, "pareto.accepts")


@claim(
    "pareto.refuses",
    "A joint action is refused where another one gives every agent as much and some agent more, be it one agent alone; "
    'with among = "correlated", where a distribution over joint actions does.',
    roles=("pareto_check",),
    cite=f"{BOOK} (Pareto optimality)",
    method=METHOD,
    recheck=lambda trial, size, case: _recheck(trial, case, _dominated_accepted),
)
def pareto_refuses(trial: Trial) -> Finding:
    """Joint actions with a proof that they are dominated."""
    return _over_actions(trial, _dominated_case, _dominated_accepted, "pareto.refuses")


def _action_answers(target: Procedure, case: Case) -> Array:
    return np.array([_is_accepted(target, case)], dtype=float)


@claim(
    "pareto.repeatable",
    STATEMENT,
    roles=("pareto_check",),
    cite=f"{BOOK} (Pareto optimality): a property of game and joint action alone",
    method=REPEATED,
    recheck=lambda trial, size, case: changing(trial, _action_answers, case),
)
def pareto_repeatable(trial: Trial) -> Finding:
    """Neither memory nor chance; the second case is another joint action in the same game, or in another one."""
    target = procedure(trial)
    among, agents = _among(target), numbers_of_agents(target, AGENTS)

    def other_action(generator: np.random.Generator, k: int, first: Case) -> Case:
        if k % 4 > 1:
            return _dominated_case(generator, k, agents, among)
        payoffs = payoffs_of(first)
        return _action_case(payoffs, [generator.integers(count) for count in payoffs.shape[1:]])

    return repeatable(
        trial,
        lambda generator, k: _optimal_case(generator, k, agents, among),
        _action_answers,
        lambda case: _smaller_actions(case, agents),
        key="pareto.repeatable",
        next_draw=other_action,
    )


def _over_actions(trial: Trial, draw: DrawAction, test: ActionTest, key: str) -> Finding:
    target = procedure(trial)
    among, agents = _among(target), numbers_of_agents(target, AGENTS)
    return search(
        trial,
        lambda generator, k: draw(generator, k, agents, among),
        lambda case: test(target, case, among),
        method="proofs by weights and mixtures" if among == "correlated" else "comparison with every joint action",
        smaller=lambda case: _smaller_actions(case, agents),
        always=_fixed_actions(agents, among),
        key=key,
    )


def _action_case(payoffs: Array, action: Iterable[Any], **proof: Any) -> dict[str, Any]:
    return {"payoffs": payoffs.tolist(), "action": [int(a) for a in action], **proof}


def _drawn_payoffs(generator: np.random.Generator, k: int, agents: Sequence[int]) -> Array:
    """Draw payoffs; in one game of eight an agent's lie far from zero, which changes nothing."""
    payoffs = payoffs_of(drawn_game(generator, k, agents))
    if k % 8 == 5:
        payoffs[generator.integers(len(payoffs))] += HIGH
    return payoffs


def _optimal_case(generator: np.random.Generator, k: int, agents: Sequence[int], among: str) -> Case:
    """Draw an optimal joint action: the best by positive weights, or among deterministic ones any optimal one."""
    payoffs = _drawn_payoffs(generator, k, agents)
    if among == "deterministic":
        optimal = np.argwhere(pareto_optimal_actions(game_of(case_of(payoffs))))
        return _action_case(payoffs, generator.choice(optimal))
    weights = generator.choice([0.25, 0.5, 1.0, 1.0, 2.0], len(payoffs))
    weighted = np.tensordot(weights, payoffs, axes=1)
    best = np.argwhere(weighted == weighted.max())
    return _action_case(payoffs, generator.choice(best), weights=weights.tolist())


def _dominated_case(generator: np.random.Generator, k: int, agents: Sequence[int], among: str) -> Case:
    """Draw a dominated joint action: its rewards are those of a mixture of two others, less a little for someone."""
    payoffs = _drawn_payoffs(generator, k, agents)
    while payoffs[0].size == 1:
        payoffs = _drawn_payoffs(generator, k, agents)
    cells = [*np.ndindex(payoffs.shape[1:])]
    action, *others = (cells[j] for j in generator.permutation(len(cells))[:3])
    shares = _shares(generator, len(others), among)
    mixed = sum(share * payoffs[:, *other] for other, share in zip(others, shares, strict=True) if share)
    payoffs[:, *action] = mixed - _losses(generator, len(payoffs))
    mixture = [[*map(int, other), share] for other, share in zip(others, shares, strict=True) if share]
    return _action_case(payoffs, action, **({"mixture": mixture} if among == "correlated" else {}))


def _shares(generator: np.random.Generator, count: int, among: str) -> list[float]:
    if among == "deterministic" or count == 1:
        return [1.0, 0.0][:count]
    first = float(generator.choice([0.25, 0.5, 0.75]))
    return [first, 1 - first]


def _losses(generator: np.random.Generator, n: int) -> Array:
    """Draw what each agent has less: nothing for most, something for one at least."""
    losses: Array = generator.choice([0.0, 0.0, MARGIN, 0.25, 2.0], n)
    if generator.random() < 0.5:
        losses[:] = 0
    losses[generator.integers(n)] = generator.choice([MARGIN, 2.0**-6, 0.25, 2.0])
    return losses


def _fixed_actions(agents: Sequence[int], among: str) -> list[Case]:
    """Every joint action of small fixed games; among correlated policies those with a proof at hand."""
    if among == "deterministic":
        games = [payoffs_of(game) for game in hard_games(agents, large=False)]
        return [_action_case(game, a) for game in games for a in [*np.ndindex(game.shape[1:])][:6]]
    between = np.array([[[4.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 4.0]]])
    on_line = np.array([[[4.0, 2.0, 0.0]], [[0.0, 2.0, 4.0]]])
    cases: list[Case] = [
        _action_case(between, (0, 1), mixture=[[0, 0, 0.5], [1, 1, 0.5]]),
        _action_case(between, (0, 0), weights=[1.0, 1.0]),
        _action_case(on_line, (0, 1), weights=[1.0, 1.0]),
        _action_case(np.zeros((2, 2, 2)), (1, 0), weights=[1.0, 1.0]),
        _action_case(np.array([[[1.0]], [[2.0]]]), (0, 0), weights=[1.0, 1.0]),
    ]
    return cases if 2 in agents else []


def _smaller_actions(case: Case, agents: Sequence[int]) -> Iterator[Case]:
    payoffs = payoffs_of(case)
    if len(payoffs) - 1 in agents:
        yield from (_without_agent(case, i) for i in range(len(payoffs)))
    for i, count in enumerate(payoffs.shape[1:]):
        kept = {case["action"][i], *(entry[i] for entry in case.get("mixture", ()))}
        for k in sorted(set(range(count)) - kept, reverse=True):
            yield _without_action(case, i, k)
    yield from simpler_tables(case)
    if "weights" in case:
        yield from simpler_numbers(case, ["weights"])


def _without_agent(case: Case, i: int) -> Case:
    """Leave out an agent's rewards, and let it play its action of the case always."""
    payoffs = np.delete(payoffs_of(case), i, axis=0).take(case["action"][i], axis=i + 1)
    smaller = {**case, "payoffs": payoffs.tolist(), "action": _without_entry(case["action"], i)}
    if "weights" in case:
        smaller["weights"] = _without_entry(case["weights"], i)
    if "mixture" in case:
        smaller["mixture"] = [_without_entry(entry, i) for entry in case["mixture"]]
    return smaller


def _without_entry(values: Sequence[Any], i: int) -> list[Any]:
    return [*values[:i], *values[i + 1 :]]


def _without_action(case: Case, i: int, k: int) -> Case:
    smaller = dict(without(case, {"payoffs": [i + 1]}, k))
    smaller["action"] = _renumbered(case["action"], i, k)
    if "mixture" in case:
        smaller["mixture"] = [_renumbered(entry, i, k) for entry in case["mixture"]]
    return smaller


def _renumbered(action: Sequence[Any], i: int, k: int) -> list[Any]:
    """Agent i's actions above k move down by one."""
    return [value - 1 if j == i and value > k else value for j, value in enumerate(action)]
