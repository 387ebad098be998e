"""Claims about values: of a joint policy in a stochastic game (evaluator), and of one optimal backup.

    V_i(s) = sum_a pi(a | s) sum_s' T(s, a, s') [R_i(s, a, s') + gamma V_i(s')], and V_i(terminal) = 0
    (T Q)(s, a) = sum_s' T(s, a, s') [R(s, a, s') + gamma max_a' Q(s', a')], with zero for what follows a terminal s'

An evaluator is compared with the exact solution of the first equation, in rationals, and where every episode is short
with the sum over all full histories. A value may be off by a share of the largest value that rewards of this size can
have, (1 + max |R|) / (1 - gamma): 1e-5, or 1e-4 for a result in float32; a target that promises another share declares
it by the attribute epsilon. So an iteration that stops where nothing changes by more than 1e-6 is right, and 100 sweeps
at gamma = 63/64 are not. A target that takes gamma = 1 in games that end says so by undiscounted = True, and one that
works for certain numbers of agents alone by agents, as in agents = (2,).

Games are valid ones: terminal states are absorbing and pay nothing. A backup's rows of terminal states are not looked
at, as conventions differ; the numbers that Q holds there must not be used.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marlspec.properties.cases import Case, Draw, counterexample, search
from marlspec.properties.claims import Counterexample, Finding, claim
from marlspec.properties.procedure import Procedure, array_of, procedure
from marlspec.properties.random_games import LARGEST, always_ends, distribution, draw_game, draw_policy, smaller_games
from marlspec.properties.repeatable import METHOD, STATEMENT, changing, repeatable
from marlspec.properties.tabular import agents_of
from marlspec.properties.trial import TargetError, Trial

Array = NDArray[Any]
Size = Mapping[str, int]
Judge = Callable[[Procedure, Case], Counterexample | None]

RECURSION = "lecture, Recursive Expected Return; Albrecht et al. 2024, chapter 4, equations for V and Q"
BELLMAN = "Bellman 1957; Albrecht et al. 2024, section 2.4 (optimal value functions), section 6.1"
GAMMAS = (0.875, 0.5, 0.75, 0.25, 0.0)
LONG = 63 / 64  # needs some thousand sweeps
MANY_STATES = 7
ROUNDING = 1e-9  # of a backup of values that are no dyadic numbers


# --- exact values -----------------------------------------------------------------------------------------------------


def solved(matrix: list[list[Fraction]], right: list[list[Fraction]]) -> list[list[Fraction]]:
    """Solve matrix x = right for several columns by Gauss-Jordan elimination in rationals; the matrix is regular."""
    rows = [list(row) + list(values) for row, values in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        swap = next(r for r in range(k, len(rows)) if rows[r][k])
        rows[k], rows[swap] = rows[swap], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        pivot = rows[k]
        rows = [
            row if r == k or not row[k] else [own - row[k] * value for own, value in zip(row, pivot, strict=True)]
            for r, row in enumerate(rows)
        ]
    return [row[len(rows) :] for row in rows]


def joint_policy(policy: list[Any], n_states: int) -> Array:
    """Return pi(a | s) as an array [S, A_1, .., A_n]."""
    joint = np.ones(n_states)
    for i, own in enumerate(policy):
        joint = joint[..., None] * np.array(own).reshape(n_states, *[1] * i, -1)
    return joint


def exact_values(case: Case) -> Array:
    """Return V [n, S] of a game and a policy, by solving its equations in rationals.

    The rows of the chain and its rewards are sums of few dyadic numbers, so that float64 holds them exactly.
    """
    transitions, rewards = np.array(case["transitions"]), np.array(case["rewards"])
    n_states = len(case["terminal"])
    joint = joint_policy(case["policy"], n_states)[..., None] * transitions
    chain = joint.reshape(n_states, -1, n_states).sum(axis=1)
    pay = (joint * rewards).reshape(len(rewards), n_states, -1).sum(axis=-1)
    going = ~np.array(case["terminal"])
    gamma = Fraction(case["gamma"])
    live = np.flatnonzero(going).tolist()
    matrix = [[Fraction(int(s == k)) - gamma * Fraction(chain[s, k]) for k in live] for s in live]
    found = solved(matrix, [[Fraction(own[s]) for own in pay] for s in live])
    values = np.zeros((len(rewards), n_states))
    if live:
        values[:, live] = np.array(found, dtype=float).T
    return values


def values_by_histories(case: Case) -> Array:
    """Return V [n, S] as the definition has it: over all full histories, probability times discounted rewards.

    For games in which every history ends.
    """
    n_states = len(case["terminal"])
    return np.array([_return_from(case, s) for s in range(n_states)]).T


def _return_from(case: Case, start: int) -> Array:
    transitions, rewards = np.array(case["transitions"]), np.array(case["rewards"])
    joint = joint_policy(case["policy"], len(case["terminal"]))
    total = np.zeros(len(rewards))
    waiting = [(start, 1.0, np.zeros(len(rewards)), 1.0)]  # last state, probability, discounted rewards, gamma^t
    while waiting:
        s, probability, collected, discount = waiting.pop()
        if case["terminal"][s]:
            total += probability * collected
            continue
        for a in map(tuple, np.argwhere(joint[s])):
            for successor in np.flatnonzero(transitions[(s, *a)]).tolist():
                waiting.append(
                    (
                        successor,
                        probability * joint[(s, *a)] * transitions[(s, *a, successor)],
                        collected + discount * rewards[(slice(None), s, *a, successor)],
                        discount * case["gamma"],
                    )
                )
    return total


# --- evaluator: cases and answers -------------------------------------------------------------------------------------


def _evaluated(evaluate: Procedure, case: Case) -> tuple[Array, float]:
    """The target's values [n, S], and by how much each may be off."""
    rewards = np.array(case["rewards"])
    raw = evaluate(
        np.array(case["transitions"]),
        rewards,
        np.array(case["terminal"]),
        [np.array(own) for own in case["policy"]],
        case["gamma"],
    )
    values = array_of(raw, (len(rewards), len(case["terminal"])), "the table of values")
    return values, _allowed(evaluate, raw, float(np.abs(rewards).max()), case["gamma"])


def _allowed(evaluate: Procedure, raw: Any, largest: float, gamma: float) -> float:
    default = 1e-4 if "float32" in str(getattr(raw, "dtype", "")) else 1e-5
    epsilon = evaluate.declared("epsilon", default)
    if not isinstance(epsilon, (int, float)) or not 0 < epsilon <= 0.01:
        raise TargetError(f"the target declares epsilon = {epsilon!r}; declare a share above 0, 0.01 at most")
    return float(epsilon * (1 + largest) / (1 - gamma if gamma < 1 else 0.125))


def _draw(agents: tuple[int, ...], undiscounted: bool) -> Callable[[np.random.Generator, int], Case]:
    """Draw games with a policy, the first ones small; every third one ends."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        n = agents[k % len(agents)]
        ends = k % 3 == 2
        most = min(3, 2 + k // 40) if n < 3 else 2
        actions = tuple(int(count) for count in generator.integers(1, most + 1, n))
        n_states = int(generator.integers(2 if ends else 1, min(4, 3 + k // 20) + 1 - (ends and n > 1)))
        if k % 12 == 7:
            n_states, actions = MANY_STATES, (1,) * (n - 1) + (2,)
        game = draw_game(generator, actions, n_states, ends=ends)
        gamma = float(generator.choice(GAMMAS))
        if ends and undiscounted and k % 2:
            gamma = 1.0
        return {**game, "policy": draw_policy(generator, actions, n_states), "gamma": gamma}

    return draw


def _long_cases(agents: tuple[int, ...]) -> list[Case]:
    """Rewards for ever, at a discount that needs many sweeps."""
    n = agents[0]
    ones = [1] * n
    loop = {
        "transitions": np.ones((1, *ones, 1)).tolist(),
        "rewards": np.ones((n, 1, *ones, 1)).tolist(),
        "terminal": [False],
        "policy": [[[1.0]]] * n,
        "gamma": LONG,
    }
    generator = np.random.default_rng(0)
    game = draw_game(generator, [2] * n, 2)
    return [loop, {**game, "terminal": [False, False], "policy": draw_policy(generator, [2] * n, 2), "gamma": LONG}]


def _smaller(agents: tuple[int, ...]) -> Callable[[Case], Iterator[Case]]:
    def candidates(case: Case) -> Iterator[Case]:
        for candidate in smaller_games(case, agents):
            if candidate["gamma"] < 1 or always_ends(candidate):
                yield candidate

    return candidates


def _wrong_value(evaluate: Procedure, case: Case, terminal: bool) -> Counterexample | None:
    """Find the first value of the terminal states, or of the others, that is off."""
    values, allowed = _evaluated(evaluate, case)
    required = values_by_histories(case) if always_ends(case) else exact_values(case)
    off = ~(np.abs(values - required) <= allowed) & (np.array(case["terminal"]) == terminal)
    if not off.any():
        return None
    i, s = (int(k) for k in np.argwhere(off)[0])
    return counterexample(
        case,
        f"agent {i}'s value of state {s} is {values[i, s]:.9g}",
        f"{required[i, s]:.9g}{', as the state is terminal' if terminal else ''} (within {allowed:.1g})",
    )


def _wrong_ordinary_value(evaluate: Procedure, case: Case) -> Counterexample | None:
    return _wrong_value(evaluate, case, terminal=False)


def _wrong_terminal_value(evaluate: Procedure, case: Case) -> Counterexample | None:
    return _wrong_value(evaluate, case, terminal=True)


def _recheck(judge: Judge) -> Callable[[Trial, Size, Case], Counterexample | None]:
    return lambda trial, size, case: judge(procedure(trial), case)


def _values(evaluate: Procedure, case: Case) -> Array:
    return _evaluated(evaluate, case)[0]


# --- evaluator: claims ------------------------------------------------------------------------------------------------


def _judged(trial: Trial, judge: Judge, key: str, method: str, draw: Draw | None = None) -> Finding:
    evaluate = procedure(trial)
    agents = agents_of(evaluate)
    return search(
        trial,
        draw or _draw(agents, bool(evaluate.declared("undiscounted", False))),
        lambda case: judge(evaluate, case),
        method=method,
        smaller=_smaller(agents),
        always=_long_cases(agents),
        key=key,
    )


def _recheck_repeatable(trial: Trial, size: Size, case: Case) -> Counterexample | None:
    evaluate = procedure(trial)
    return changing(trial, _values, case, 2 * _evaluated(evaluate, case["first"])[1])


@claim(
    "return.repeatable",
    STATEMENT,
    roles=("evaluator",),
    cite=f"{RECURSION}: V is a function of game and policy",
    method=METHOD,
    recheck=_recheck_repeatable,
)
def return_repeatable(trial: Trial) -> Finding:
    """No memory and no chance, beyond what may be off anyway."""
    evaluate = procedure(trial)
    agents = agents_of(evaluate)
    tolerance = 2 * _allowed(evaluate, None, LARGEST, LONG)
    return repeatable(
        trial, _draw(agents, False), _values, _smaller(agents), key="return.repeatable", tolerance=tolerance
    )


@claim(
    "return.recursive",
    "The values of all states but the terminal ones solve the recursive equations of the expected return.",
    roles=("evaluator",),
    cite=RECURSION,
    method="random games against the exact solution in rationals, or the sum over all histories where they end",
    recheck=_recheck(_wrong_ordinary_value),
    requires=("return.repeatable",),
)
def return_recursive(trial: Trial) -> Finding:
    """V of stochastic policies, with terminal states and without."""
    method = "exact solution in rationals; games that end: all histories"
    return _judged(trial, _wrong_ordinary_value, "return.recursive", method)


@claim(
    "return.terminal",
    "Terminal states are worth 0 to every agent.",
    roles=("evaluator",),
    cite=f"{RECURSION}; V is zero where the last state is terminal",
    method="random games with terminal states",
    recheck=_recheck(_wrong_terminal_value),
    requires=("return.repeatable",),
)
def return_terminal(trial: Trial) -> Finding:
    """V of terminal states."""
    game = _draw(agents_of(procedure(trial)), False)

    def draw(generator: np.random.Generator, k: int) -> Case:
        case = game(generator, k)
        while not any(case["terminal"]):
            case = game(generator, 3 * k + 2)
        return case

    return _judged(trial, _wrong_terminal_value, "return.terminal", "drawn games with terminal states", draw)


def _meddling(evaluate: Procedure, case: Case) -> Counterexample | None:
    """Whether agent i's values change when the other agents' rewards become 0."""
    i = case["agent"]
    before, allowed = _evaluated(evaluate, case)
    rewards = np.array(case["rewards"])
    rewards[np.arange(len(rewards)) != i] = 0
    after, also = _evaluated(evaluate, {**case, "rewards": rewards.tolist()})
    off = ~(np.abs(after[i] - before[i]) <= allowed + also)
    if not off.any():
        return None
    s = int(np.flatnonzero(off)[0])
    return counterexample(
        case,
        f"agent {i}'s value of state {s} is {before[i, s]:.9g}, and {after[i, s]:.9g} once the other agents' rewards "
        "are set to 0",
        f"the same value (within {allowed + also:.1g})",
    )


@claim(
    "return.agents",
    "An agent's values depend on its own rewards alone: other agents' rewards change nothing.",
    roles=("evaluator",),
    cite=f"{RECURSION}: V_i has R_i alone",
    method="random games as they are and with the other agents' rewards set to 0",
    recheck=_recheck(_meddling),
    requires=("return.repeatable",),
)
def return_agents(trial: Trial) -> Finding:
    """V_i and R_j."""
    evaluate = procedure(trial)
    agents = tuple(n for n in agents_of(evaluate) if n > 1)
    if not agents:
        return Finding(not_applicable="The target works for one agent alone.")
    game = _draw(agents, False)

    def draw(generator: np.random.Generator, k: int) -> Case:
        case = game(generator, k)
        return {**case, "agent": int(generator.integers(len(case["rewards"])))}

    return search(
        trial,
        draw,
        lambda case: _meddling(evaluate, case),
        method="drawn games, other rewards set to 0",
        smaller=_smaller(agents),
        key="return.agents",
    )


def _inconstant(evaluate: Procedure, case: Case) -> Counterexample | None:
    """Whether the reward c (1 - gamma), for ever, is worth c, with a c for each agent."""
    transitions = np.array(case["transitions"])
    constants = np.array(case["constants"])
    rewards = np.broadcast_to(
        (constants * (1 - case["gamma"])).reshape(-1, *[1] * transitions.ndim), (len(constants), *transitions.shape)
    )
    game = {**case, "rewards": rewards.tolist(), "terminal": [False] * len(transitions)}
    values, allowed = _evaluated(evaluate, game)
    off = ~(np.abs(values - constants[:, None]) <= allowed)
    if not off.any():
        return None
    i, s = (int(k) for k in np.argwhere(off)[0])
    return counterexample(
        case,
        f"agent {i}'s value of state {s} is {values[i, s]:.9g} where every step pays it {rewards[i].flat[0]:.9g}",
        f"{constants[i]:.9g} (within {allowed:.1g})",
    )


@claim(
    "return.const",
    "The reward c (1 - gamma) at every step for ever is worth c.",
    roles=("evaluator",),
    cite=f"{RECURSION}: the geometric series",
    method="random games without terminal states, one constant for each agent",
    recheck=_recheck(_inconstant),
    requires=("return.repeatable",),
)
def return_const(trial: Trial) -> Finding:
    """Constant rewards, whatever transitions and policy are."""
    evaluate = procedure(trial)
    agents = agents_of(evaluate)

    def draw(generator: np.random.Generator, k: int) -> Case:
        n = agents[k % len(agents)]
        actions = tuple(int(count) for count in generator.integers(1, 3, n))
        n_states = int(generator.integers(1, 4))
        shape = (n_states, *actions)
        rows = [distribution(generator, n_states) for _ in range(int(np.prod(shape)))]
        return {
            "transitions": np.reshape(rows, (*shape, n_states)).tolist(),
            "policy": draw_policy(generator, actions, n_states),
            "gamma": float(generator.choice((*GAMMAS, LONG))),
            "constants": (generator.integers(-8, 9, n) / 4).tolist(),
        }

    return search(
        trial,
        draw,
        lambda case: _inconstant(evaluate, case),
        method="drawn games without an end",
        smaller=lambda case: _smaller_constants(case, agents),
        key="return.const",
    )


def _smaller_constants(case: Case, agents: tuple[int, ...]) -> Iterator[Case]:
    """Smaller games, the constants standing for all rewards; then simpler constants."""
    transitions = np.array(case["transitions"])
    n = len(case["constants"])
    marks = np.broadcast_to(np.reshape(case["constants"], (n, *[1] * transitions.ndim)), (n, *transitions.shape))
    game = {**case, "rewards": marks.tolist(), "terminal": [False] * len(transitions)}
    for candidate in smaller_games(game, agents):
        constants = np.array(candidate["rewards"]).reshape(len(candidate["rewards"]), -1)
        if (constants == constants[:, :1]).all():
            kept = {name: candidate[name] for name in ("transitions", "policy", "gamma")}
            yield {**kept, "constants": constants[:, 0].tolist()}
    for i, value in product(range(n), (0.0, 1.0)):
        if case["constants"][i] not in (0.0, value):
            yield {**case, "constants": [*case["constants"][:i], value, *case["constants"][i + 1 :]]}


# --- optimal backup ---------------------------------------------------------------------------------------------------


def backup_of(case: Case, q: Array) -> Array:
    """Return TQ [S, A] as it is defined; free of rounding for dyadic numbers with few digits."""
    transitions, rewards = np.array(case["transitions"]), np.array(case["rewards"])
    following = np.where(np.array(case["terminal"]), 0.0, q.max(axis=1))
    result: Array = (transitions * (rewards + case["gamma"] * following)).sum(axis=-1)
    return result


def _backed_up(backup: Procedure, case: Case, q: Array) -> tuple[Array, bool]:
    """The target's TQ [S, A], and whether it is in single precision."""
    arguments = (np.array(case["transitions"]), np.array(case["rewards"]), np.array(case["terminal"]), case["gamma"])
    raw = backup(*arguments, q)
    return array_of(raw, q.shape, "TQ"), "float32" in str(getattr(raw, "dtype", ""))


def _tq(backup: Procedure, case: Case) -> Array:
    return _backed_up(backup, case, np.array(case["q"]))[0]


def _draw_backup(generator: np.random.Generator, k: int) -> dict[str, Any]:
    """Draw a decision process and a table q, with numbers in the rows of terminal states as well."""
    n_states = int(generator.integers(1, min(4, 2 + k // 20) + 1))
    actions = int(generator.integers(1, min(4, 2 + k // 20) + 1))
    game = draw_game(generator, [actions], n_states)
    q = generator.integers(-8, 9, (n_states, actions)) / 4
    if k % 3 == 0:  # a maximum below zero, and ties
        q = -generator.integers(1, 4, (n_states, actions)) / 2
    gamma = float(generator.choice((*GAMMAS, LONG)))
    return {**game, "rewards": game["rewards"][0], "gamma": gamma, "q": q.tolist()}


def _wrong_backup(backup: Procedure, case: Case) -> Counterexample | None:
    """Find an entry that is not what the definition says."""
    required = backup_of(case, np.array(case["q"]))
    computed = _tq(backup, case)
    return _first_wrong(case, computed, required, computed == required, "(TQ)")


def _first_wrong(
    case: Case, computed: Array, required: Array, right: Array, what: str, more: str = ""
) -> Counterexample | None:
    """The first wrong entry in the rows of states that are not terminal."""
    wrong = ~right & ~np.array(case["terminal"])[:, None]
    if not wrong.any():
        return None
    index = tuple(int(k) for k in np.argwhere(wrong)[0])
    return counterexample(case, f"{what}{list(index)} = {computed[index]:.9g}", f"{required[index]:.9g}{more}")


def _shifting(backup: Procedure, case: Case) -> Counterexample | None:
    """Whether a constant added to Q adds gamma P(s' is not terminal) times the constant to TQ."""
    q, c = np.array(case["q"]), case["c"]
    computed = _backed_up(backup, case, q + c)[0] - _backed_up(backup, case, q)[0]
    going = np.array(case["transitions"]) @ (~np.array(case["terminal"])).astype(float)
    required = case["gamma"] * going * c
    return _first_wrong(case, computed, required, computed == required, "(T(Q + c) - TQ)")


def _stretching(backup: Procedure, case: Case) -> Counterexample | None:
    """Whether two tables come nearer to each other by the factor gamma, in states that are not terminal."""
    first, second = np.array(case["q"]), np.array(case["other"])
    going = ~np.array(case["terminal"])
    if not going.any():
        return None
    apart = float(np.abs(first - second)[going].max())
    after = np.abs(_backed_up(backup, case, first)[0] - _backed_up(backup, case, second)[0])[going].max()
    if after <= case["gamma"] * apart:
        return None
    return counterexample(
        case,
        f"two tables {apart:.9g} apart become tables {after:.9g} apart",
        f"at most gamma times that, {case['gamma'] * apart:.9g}",
    )


def best_action_values(case: Case) -> Array:
    """Return Q* [S, A]: of all deterministic policies, each solved in rationals, the best value in every state."""
    n_states, actions = np.shape(case["rewards"])[:2]
    best = np.full(n_states, -np.inf)
    for choice in product(range(actions), repeat=n_states):
        policy = np.eye(actions)[list(choice)]
        values = exact_values({**case, "rewards": [case["rewards"]], "policy": [policy]})[0]
        best = np.maximum(best, values)
    return backup_of(case, np.repeat(best[:, None], actions, axis=1))


def _moving(backup: Procedure, case: Case) -> Counterexample | None:
    """Whether Q* moves under the backup."""
    optimal = best_action_values(case)
    computed, single = _backed_up(backup, case, optimal)
    allowed = 1e-4 if single else ROUNDING
    right = np.abs(computed - optimal) <= allowed
    return _first_wrong(
        {**case, "optimal": optimal.tolist()}, computed, optimal, right, "(TQ*)", f" (within {allowed:.0e})"
    )


def _judged_backup(trial: Trial, judge: Judge, draw: Any, key: str, method: str) -> Finding:
    backup = procedure(trial)
    return search(trial, draw, lambda case: judge(backup, case), method=method, smaller=smaller_games, key=key)


@claim(
    "bellman.repeatable",
    STATEMENT,
    roles=("optimal_backup",),
    cite=f"{BELLMAN}: the backup is a function of game and table",
    method=METHOD,
    recheck=lambda trial, size, case: changing(trial, _tq, case),
)
def bellman_repeatable(trial: Trial) -> Finding:
    """No memory and no chance."""
    return repeatable(trial, _draw_backup, _tq, smaller_games, key="bellman.repeatable")


@claim(
    "bellman.rule",
    "Each entry of TQ is sum_s' T(s, a, s') [R(s, a, s') + gamma max Q(s', .)], nothing following a terminal s'.",
    roles=("optimal_backup",),
    cite=BELLMAN,
    method="random games in dyadic numbers against the definition, without tolerance",
    recheck=_recheck(_wrong_backup),
    requires=("bellman.repeatable",),
)
def bellman_rule(trial: Trial) -> Finding:
    """TQ entry by entry."""
    return _judged_backup(trial, _wrong_backup, _draw_backup, "bellman.rule", "exact numbers")


@claim(
    "bellman.shift",
    "T(Q + c) = TQ + gamma P(s' is not terminal | s, a) c.",
    roles=("optimal_backup",),
    cite=f"{BELLMAN}: by the definition of T",
    method="random games in dyadic numbers, without tolerance",
    recheck=_recheck(_shifting),
    requires=("bellman.repeatable",),
)
def bellman_shift(trial: Trial) -> Finding:
    """A constant added to all of Q."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        return {**_draw_backup(generator, k), "c": float(generator.choice([-2.0, -1.0, 0.5, 1.0, 4.0]))}

    return _judged_backup(trial, _shifting, draw, "bellman.shift", "exact numbers")


@claim(
    "bellman.contract",
    "Two tables come nearer to each other at least by the factor gamma, in the largest difference over the states "
    "that are not terminal.",
    roles=("optimal_backup",),
    cite=f"{BELLMAN}: T is a contraction",
    method="pairs of tables in random games, without tolerance",
    recheck=_recheck(_stretching),
    requires=("bellman.repeatable",),
)
def bellman_contract(trial: Trial) -> Finding:
    """The theorem behind value iteration."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        case = _draw_backup(generator, k)
        other = np.array(case["q"])
        changed = generator.random(other.shape) < 0.5
        other[changed] = generator.integers(-8, 9, int(changed.sum())) / 4
        return {**case, "other": other.tolist()}

    return _judged_backup(trial, _stretching, draw, "bellman.contract", "exact numbers")


@claim(
    "bellman.fixpoint",
    "The optimal action values, found by trying all deterministic policies, do not move.",
    roles=("optimal_backup",),
    cite=f"{BELLMAN}: Q* = TQ*",
    method="every deterministic policy of random games, each valued exactly in rationals; rounding of Q* allowed for",
    recheck=_recheck(_moving),
    requires=("bellman.repeatable",),
)
def bellman_fixpoint(trial: Trial) -> Finding:
    """Q* is a fixed point."""

    def draw(generator: np.random.Generator, k: int) -> Case:
        n_states, actions = int(generator.integers(1, 4)), int(generator.integers(1, 3))
        game = draw_game(generator, [actions], n_states)
        return {**game, "rewards": game["rewards"][0], "gamma": float(generator.choice(GAMMAS))}

    return _judged_backup(trial, _moving, draw, "bellman.fixpoint", "all deterministic policies")
