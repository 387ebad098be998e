"""Which decompositions a finite common-reward game admits, decided exactly and with certificates.

All arithmetic is rational; floats are taken as the dyadic numbers that they are. The proofs behind the criteria are in
docs/proofs.md. Utilities depend on an agent's own action alone: there is one state.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marlspec.games.matrix import JointAction, NormalFormGame

Exact: TypeAlias = int | Fraction
Question: TypeAlias = Literal["linear", "monotone", "strict", "supermodular", "igm"]

QUESTIONS: dict[Question, str] = {
    "linear": "linearly decomposable",
    "monotone": "monotonically decomposable",
    "strict": "strictly monotonically decomposable",
    "supermodular": "supermodular",
    "igm": "some IGM factorisation exists",
}
MAX_ENTRIES_IN_WORDS = 12
LARGEST_DECIMAL = 10**300


@dataclass(frozen=True)
class AdditiveUtilities:
    """R(a) = sum_i utilities[i][a_i]."""

    utilities: tuple[tuple[Exact, ...], ...]


@dataclass(frozen=True)
class Rectangle:
    """Joint actions low and high that differ in the actions of agents i and j alone, and their mixed difference.

    difference = R(high) - R(low with high's a_i) - R(low with high's a_j) + R(low).
    """

    agents: tuple[int, int]
    low: JointAction
    high: JointAction
    difference: Exact


@dataclass(frozen=True)
class MonotoneMixing:
    """R(a) = f(utilities[1][a_1], .., utilities[n][a_n]), f being the table of (utilities, value) pairs in mixing."""

    utilities: tuple[tuple[int, ...], ...]
    mixing: tuple[tuple[JointAction, Exact], ...]


@dataclass(frozen=True)
class CrossingSlices:
    """The sign of R(actions[1], .) - R(actions[0], .) differs between the two profiles of the other agents.

    Profiles are joint actions in which the agent itself plays actions[0].
    """

    agent: int
    actions: tuple[int, int]
    profiles: tuple[JointAction, JointAction]


@dataclass(frozen=True)
class SupermodularOrders:
    """Every agent's actions from low to high: R never falls along them, and no mixed difference is negative."""

    orders: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class BestActions:
    """The best joint actions are those in which every agent plays an action of utility 1; the others have utility 0."""

    utilities: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MixOfBest:
    """Two best joint actions, and a mix of them (each agent's action from one of the two) that is not best."""

    best: tuple[JointAction, JointAction]
    mix: JointAction


Certificate: TypeAlias = (
    AdditiveUtilities | Rectangle | MonotoneMixing | CrossingSlices | SupermodularOrders | BestActions | MixOfBest
)


@dataclass(frozen=True)
class Decision:
    """The answer to one question about a game, with a certificate that verify() checks without searching."""

    question: Question
    holds: bool
    certificate: Certificate


def decide(game: NormalFormGame) -> dict[Question, Decision]:
    """Decide every question about a common-reward game of n agents; InputError for a general-sum game."""
    return {question: DECIDERS[question](game) for question in QUESTIONS}


def decide_linear(game: NormalFormGame) -> Decision:
    """Decide whether R(a) = sum_i u_i(a_i): true iff every 2x2 rectangle has mixed difference 0."""
    table = exact_table(game)
    for i, j in combinations(range(table.ndim), 2):
        differences = _differences_from_first(_differences_from_first(table, i), j)
        wrong = np.argwhere(differences != 0)
        if len(wrong):
            high = _joint(wrong[0])
            low = tuple(0 if k in (i, j) else action for k, action in enumerate(high))
            return Decision("linear", False, Rectangle((i, j), low, high, differences[high]))
    return Decision("linear", True, AdditiveUtilities(_additive_utilities(table)))


def decide_monotone(game: NormalFormGame) -> Decision:
    """Decide whether R = f(u_1, .., u_n) with f non-decreasing: true iff each agent's slices form a chain."""
    return _decide_order("monotone", exact_table(game), {0, 1})


def decide_strictly_monotone(game: NormalFormGame) -> Decision:
    """Decide whether R = f(u_1, .., u_n) with f strictly increasing.

    True iff any two slices of an agent are identical or strictly ordered everywhere.
    """
    return _decide_order("strict", exact_table(game), {0}, {1})


def decide_supermodular(game: NormalFormGame) -> Decision:
    """Decide whether R is supermodular in the order of actions in which it is non-decreasing.

    That order is unique up to actions with identical slices, which change no mixed difference. Where there is none the
    answer is no, and the certificate is that of decide_monotone.
    """
    table = exact_table(game)
    monotone = _decide_order("monotone", table, {0, 1})
    if not monotone.holds:
        return Decision("supermodular", False, monotone.certificate)
    orders = tuple(_order(table, i) for i in range(table.ndim))
    ordered = table[np.ix_(*orders)]
    for i, j in combinations(range(table.ndim), 2):
        differences = np.diff(np.diff(ordered, axis=i), axis=j)
        if differences.size and differences.min() < 0:
            place = _joint(np.argwhere(differences == differences.min())[0])
            above = tuple(k + (agent in (i, j)) for agent, k in enumerate(place))
            low, high = (tuple(order[k] for order, k in zip(orders, a, strict=True)) for a in (place, above))
            return Decision("supermodular", False, Rectangle((i, j), low, high, differences[place]))
    return Decision("supermodular", True, SupermodularOrders(orders))


def decide_igm(game: NormalFormGame) -> Decision:
    """Decide whether utilities exist whose greedy joint actions are exactly the best ones (IGM).

    True iff the set of best joint actions is a product of one set per agent.
    """
    table = exact_table(game)
    best = {_joint(a) for a in np.argwhere(table == table.max())}
    own = [sorted({a[i] for a in best}) for i in range(table.ndim)]
    outside = next((a for a in product(*own) if a not in best), None)
    if outside is not None:
        return Decision("igm", False, _mix_of_two(best, outside))
    utilities = tuple(
        tuple(int(action in chosen) for action in range(count)) for chosen, count in zip(own, table.shape, strict=True)
    )
    return Decision("igm", True, BestActions(utilities))


DECIDERS: dict[Question, Callable[[NormalFormGame], Decision]] = {
    "linear": decide_linear,
    "monotone": decide_monotone,
    "strict": decide_strictly_monotone,
    "supermodular": decide_supermodular,
    "igm": decide_igm,
}


def exact_table(game: NormalFormGame) -> NDArray[Any]:
    """Return the shared reward table [A_1, .., A_n] in int and Fraction; InputError for a general-sum game."""
    reward = game.shared_reward()
    if game.exact:
        return reward
    table = np.empty(reward.shape, dtype=object)
    for a, value in np.ndenumerate(reward):
        table[a] = Fraction(float(value))
    return table


def verify(decision: Decision, game: NormalFormGame) -> bool:
    """Check a decision's certificate against the game, whoever made it and however it was found.

    Returns:
        True iff the certificate proves the answer. A certificate that does not fit question, answer or game proves
        nothing.
    """
    check = CHECKS.get((decision.question, decision.holds, type(decision.certificate)))
    if check is None:
        return False
    try:
        return check(decision.certificate, exact_table(game))
    except (IndexError, KeyError, ValueError):
        return False


def describe(decision: Decision, game: NormalFormGame) -> str:
    """Return a decision's certificate in plain words, with the game's action labels; agents are counted from 1."""
    return WORDS[type(decision.certificate)](decision, decision.certificate, _Speaker(game))


# --- finding ---------------------------------------------------------------------------------------------------------


def _joint(place: Iterable[Any]) -> JointAction:
    return tuple(int(k) for k in place)


def _differences_from_first(table: NDArray[Any], axis: int) -> NDArray[Any]:
    difference: NDArray[Any] = table - table.take([0], axis=axis)
    return difference


def _additive_utilities(table: NDArray[Any]) -> tuple[tuple[Exact, ...], ...]:
    """u_1(a_1) = R(a_1, 0, .., 0), and u_i(a_i) = R(.., a_i, ..) - R(0) for the others."""
    origin = (0,) * table.ndim
    utilities = []
    for i, count in enumerate(table.shape):
        own = [table[_with(origin, i, action)] - (table[origin] if i else 0) for action in range(count)]
        utilities.append(tuple(own))
    return tuple(utilities)


def _with(a: JointAction, i: int, action: int) -> JointAction:
    return (*a[:i], action, *a[i + 1 :])


def _slices(table: NDArray[Any], i: int) -> NDArray[Any]:
    """Agent i's slices R[a_i, .] as rows, the others' joint actions flattened."""
    return np.moveaxis(table, i, 0).reshape(table.shape[i], -1)


def _order(table: NDArray[Any], i: int) -> tuple[int, ...]:
    """Agent i's actions by the sum of their slices: if the slices form a chain at all, then in this order."""
    sums = _slices(table, i).sum(axis=1)
    return tuple(sorted(range(table.shape[i]), key=lambda action: sums[action]))


def _decide_order(question: Question, table: NDArray[Any], *allowed: set[int]) -> Decision:
    """Decide by the signs between neighbouring slices, low to high: each pair's must lie in one of the allowed sets."""
    utilities = []
    for i in range(table.ndim):
        order, slices = _order(table, i), _slices(table, i)
        for low, high in pairwise(order):
            signs = _signs(slices[high] - slices[low])
            if not any(set(signs) <= accepted for accepted in allowed):
                return Decision(question, False, _crossing(table.shape, i, (low, high), signs))
        utilities.append(_ranks(order, slices))
    profiles = product(*utilities)
    values = dict(zip(profiles, table.flat, strict=True))
    return Decision(question, True, MonotoneMixing(tuple(utilities), tuple(sorted(values.items()))))


def _signs(differences: NDArray[Any]) -> list[int]:
    signs: list[int] = ((differences > 0).astype(int) - (differences < 0).astype(int)).tolist()
    return signs


def _ranks(order: tuple[int, ...], slices: NDArray[Any]) -> tuple[int, ...]:
    """Each action's rank in the chain, identical slices sharing one."""
    rank = {order[0]: 0}
    for low, high in pairwise(order):
        rank[high] = rank[low] + int(np.any(slices[high] != slices[low]))
    return tuple(rank[action] for action in range(len(order)))


def _levels(utilities: Sequence[tuple[int, ...]], a: Sequence[int]) -> JointAction:
    return tuple(own[action] for own, action in zip(utilities, a, strict=True))


def _crossing(shape: tuple[int, ...], i: int, actions: tuple[int, int], signs: list[int]) -> CrossingSlices:
    """Point to the place of the lowest sign and of the highest."""
    others = shape[:i] + shape[i + 1 :]
    profiles = []
    for sign in (min(signs), max(signs)):
        rest = _joint(np.unravel_index(signs.index(sign), others))
        profiles.append((*rest[:i], actions[0], *rest[i:]))
    return CrossingSlices(i, actions, (profiles[0], profiles[1]))


def _mix_of_two(best: set[JointAction], outside: JointAction) -> MixOfBest:
    """Exchange actions one agent at a time on the way from a best joint action to the one outside.

    After step i the agents up to i play as in `outside`, the rest as in the best joint action taken up last; the first
    step that leaves the set of best joint actions mixes two of its members.
    """
    ordered = sorted(best)
    inside = next(a for a in ordered if a[0] == outside[0])
    for i in range(1, len(outside)):
        other = next(a for a in ordered if a[i] == outside[i])
        mix = inside[:i] + other[i:]
        if mix not in best:
            return MixOfBest((inside, other), mix)
        inside = mix
    raise AssertionError("the joint action was said to lie outside the set")


# --- checking --------------------------------------------------------------------------------------------------------


def _is_joint(a: JointAction, table: NDArray[Any]) -> bool:
    return len(a) == table.ndim and all(0 <= action < count for action, count in zip(a, table.shape, strict=True))


def _check_additive(certificate: AdditiveUtilities, table: NDArray[Any]) -> bool:
    utilities = certificate.utilities
    if tuple(map(len, utilities)) != table.shape:
        return False
    return all(
        sum(own[action] for own, action in zip(utilities, a, strict=True)) == value
        for a, value in np.ndenumerate(table)
    )


def _check_rectangle(certificate: Rectangle, table: NDArray[Any]) -> bool:
    """Check that it is a rectangle of the game, and its mixed difference the stated one."""
    (i, j), low, high = certificate.agents, certificate.low, certificate.high
    if not (_is_joint(low, table) and _is_joint(high, table)):
        return False
    if {k for k in range(table.ndim) if low[k] != high[k]} != {i, j} or i == j:
        return False
    corners = table[high] - table[_with(low, i, high[i])] - table[_with(low, j, high[j])] + table[low]
    return bool(corners == certificate.difference)


def _check_not_linear(certificate: Rectangle, table: NDArray[Any]) -> bool:
    return certificate.difference != 0 and _check_rectangle(certificate, table)


def _check_not_supermodular(certificate: Rectangle, table: NDArray[Any]) -> bool:
    if certificate.difference >= 0 or not _check_rectangle(certificate, table):
        return False
    return all(
        bool(np.all(table.take(certificate.low[i], axis=i) <= table.take(certificate.high[i], axis=i)))
        for i in certificate.agents
    )


def _check_mixing(certificate: MonotoneMixing, table: NDArray[Any], *, strict: bool) -> bool:
    values, utilities = dict(certificate.mixing), certificate.utilities
    if tuple(map(len, utilities)) != table.shape:
        return False
    if any(values[_levels(utilities, a)] != value for a, value in np.ndenumerate(table)):
        return False
    ladders = [sorted(set(own)) for own in utilities]
    for i, ladder in enumerate(ladders):
        for low, high in pairwise(ladder):
            for rest in product(*(ladders[:i] + ladders[i + 1 :])):
                step = values[(*rest[:i], high, *rest[i:])] - values[(*rest[:i], low, *rest[i:])]
                if step < 0 or (strict and step == 0):
                    return False
    return True


def _check_monotone(certificate: MonotoneMixing, table: NDArray[Any]) -> bool:
    return _check_mixing(certificate, table, strict=False)


def _check_strict(certificate: MonotoneMixing, table: NDArray[Any]) -> bool:
    return _check_mixing(certificate, table, strict=True)


def _crossing_signs(certificate: CrossingSlices, table: NDArray[Any]) -> set[int]:
    i, (x, y) = certificate.agent, certificate.actions
    if not all(_is_joint(_with(a, i, action), table) for a in certificate.profiles for action in (x, y)):
        return set()
    return set(_signs(np.array([table[_with(a, i, y)] - table[_with(a, i, x)] for a in certificate.profiles])))


def _check_not_monotone(certificate: CrossingSlices, table: NDArray[Any]) -> bool:
    return _crossing_signs(certificate, table) == {-1, 1}


def _check_not_strict(certificate: CrossingSlices, table: NDArray[Any]) -> bool:
    return len(_crossing_signs(certificate, table)) == 2


def _check_supermodular(certificate: SupermodularOrders, table: NDArray[Any]) -> bool:
    if [sorted(order) for order in certificate.orders] != [list(range(count)) for count in table.shape]:
        return False
    ordered = table[np.ix_(*certificate.orders)]
    steps = [np.diff(ordered, axis=i) for i in range(table.ndim)]
    mixed = [np.diff(steps[i], axis=j) for i, j in combinations(range(table.ndim), 2)]
    return all(bool(np.all(differences >= 0)) for differences in steps + mixed)


def _check_best(certificate: BestActions, table: NDArray[Any]) -> bool:
    if tuple(map(len, certificate.utilities)) != table.shape:
        return False
    greedy = [[value == max(own) for value in own] for own in certificate.utilities]
    return all(
        all(own[action] for own, action in zip(greedy, a, strict=True)) == bool(value == table.max())
        for a, value in np.ndenumerate(table)
    )


def _check_mix(certificate: MixOfBest, table: NDArray[Any]) -> bool:
    first, second = certificate.best
    if not all(_is_joint(a, table) for a in (first, second, certificate.mix)):
        return False
    mixed = all(action in pair for action, *pair in zip(certificate.mix, first, second, strict=True))
    return bool(mixed and table[first] == table[second] == table.max() > table[certificate.mix])


CHECKS: dict[tuple[Question, bool, type], Callable[[Any, NDArray[Any]], bool]] = {
    ("linear", True, AdditiveUtilities): _check_additive,
    ("linear", False, Rectangle): _check_not_linear,
    ("monotone", True, MonotoneMixing): _check_monotone,
    ("monotone", False, CrossingSlices): _check_not_monotone,
    ("strict", True, MonotoneMixing): _check_strict,
    ("strict", False, CrossingSlices): _check_not_strict,
    ("supermodular", True, SupermodularOrders): _check_supermodular,
    ("supermodular", False, CrossingSlices): _check_not_monotone,
    ("supermodular", False, Rectangle): _check_not_supermodular,
    ("igm", True, BestActions): _check_best,
    ("igm", False, MixOfBest): _check_mix,
}


# --- words -----------------------------------------------------------------------------------------------------------


class _Speaker:
    """Numbers, actions and rewards of one game in words."""

    def __init__(self, game: NormalFormGame) -> None:
        self.game = game
        self.table = exact_table(game)

    def number(self, value: Exact) -> str:
        """Exact games in integers and fractions, others in the shortest decimal that means the same float."""
        if self.game.exact or not -LARGEST_DECIMAL < value < LARGEST_DECIMAL:
            return str(value)
        return repr(float(value)).removesuffix(".0")

    def beats(self, i: int, x: int, y: int, profile: JointAction) -> bool:
        return bool(self.table[_with(profile, i, x)] > self.table[_with(profile, i, y)])

    def reward(self, a: JointAction) -> str:
        return self.number(self.table[a])

    def action(self, i: int, action: int) -> str:
        return self.game.action_labels[i][action]

    def utilities(self, utilities: Sequence[Sequence[Exact]]) -> str:
        agents = []
        for i, own in enumerate(utilities):
            values = ", ".join(f"{self.action(i, action)} {self.number(value)}" for action, value in enumerate(own))
            agents.append(f"u_{i + 1}: {values}")
        return "; ".join(agents)

    def names(self) -> list[str]:
        return [f"u_{i + 1}" for i in range(self.game.n_agents)]

    def rectangle(self, certificate: Rectangle) -> str:
        (i, j), low, high = certificate.agents, certificate.low, certificate.high
        corners = [high, _with(low, i, high[i]), _with(low, j, high[j]), low]
        names = [f"R{self.game.label(a)}" for a in corners]
        values = [self.reward(a) for a in corners]
        return f"{_alternating(names)} = {_alternating(values)} = {self.number(certificate.difference)}"

    def others(self, i: int, profile: JointAction) -> str:
        played = [f"agent {j + 1} plays {self.action(j, action)}" for j, action in enumerate(profile) if j != i]
        return "where " + " and ".join(played)

    def comparison(self, certificate: CrossingSlices, profile: JointAction) -> str:
        i = certificate.agent
        x, y = certificate.actions
        if self.beats(i, y, x, profile):
            x, y = y, x
        values = self.reward(_with(profile, i, x)), self.reward(_with(profile, i, y))
        tied = values[0] == values[1]
        return (
            f"{self.action(i, x)} {'ties with' if tied else 'beats'} {self.action(i, y)} {self.others(i, profile)} "
            f"({values[0]} {'=' if tied else '>'} {values[1]})"
        )


def _alternating(terms: Sequence[str]) -> str:
    """The four corners of a rectangle with the signs + - - +; negative numbers in brackets."""
    first, *others = terms
    rest = (f"({term})" if term.startswith("-") else term for term in others)
    return first + "".join(f" {sign} {term}" for sign, term in zip("--+", rest, strict=True))


def _say_additive(_: Decision, certificate: AdditiveUtilities, say: _Speaker) -> str:
    return f"R = {' + '.join(say.names())} with {say.utilities(certificate.utilities)}."


def _say_rectangle(decision: Decision, certificate: Rectangle, say: _Speaker) -> str:
    if decision.question == "linear":
        return f"No sum of utilities: {say.rectangle(certificate)}, and it must be 0."
    return f"Raising both agents at once gains too little: {say.rectangle(certificate)}, and it must be at least 0."


def _say_mixing(decision: Decision, certificate: MonotoneMixing, say: _Speaker) -> str:
    kind = "strictly increasing" if decision.question == "strict" else "non-decreasing"
    entries = [f"f({', '.join(map(str, levels))}) = {say.number(value)}" for levels, value in certificate.mixing]
    if len(entries) > MAX_ENTRIES_IN_WORDS:
        entries[MAX_ENTRIES_IN_WORDS:] = [f"and {len(entries) - MAX_ENTRIES_IN_WORDS} more entries"]
    arguments = ", ".join(say.names())
    utilities = say.utilities(certificate.utilities)
    return f"R = f({arguments}) with {utilities} and f {kind}: {', '.join(entries)}."


def _say_crossing(decision: Decision, certificate: CrossingSlices, say: _Speaker) -> str:
    order = "strict order" if decision.question == "strict" else "order"
    first, second = (say.comparison(certificate, profile) for profile in certificate.profiles)
    return f"No {order} of agent {certificate.agent + 1}'s actions fits: {first}, {second}."


def _say_orders(_: Decision, certificate: SupermodularOrders, say: _Speaker) -> str:
    orders = [
        f"agent {i + 1}: {' < '.join(say.action(i, action) for action in order)}"
        for i, order in enumerate(certificate.orders)
    ]
    return f"R never falls and no mixed difference is negative in the order {'; '.join(orders)}."


def _say_best(_: Decision, certificate: BestActions, say: _Speaker) -> str:
    played = [
        f"agent {i + 1} plays {' or '.join(say.action(i, action) for action, best in enumerate(own) if best)}"
        for i, own in enumerate(certificate.utilities)
    ]
    return f"The best joint actions are exactly those in which {' and '.join(played)}."


def _say_mix(_: Decision, certificate: MixOfBest, say: _Speaker) -> str:
    first, second = (say.game.label(a) for a in certificate.best)
    mix = say.game.label(certificate.mix)
    return (
        f"{first} and {second} are best with R = {say.reward(certificate.best[0])}, so IGM would make their mix {mix} "
        f"best too, but R{mix} = {say.reward(certificate.mix)}."
    )


WORDS: dict[type, Callable[[Decision, Any, _Speaker], str]] = {
    AdditiveUtilities: _say_additive,
    Rectangle: _say_rectangle,
    MonotoneMixing: _say_mixing,
    CrossingSlices: _say_crossing,
    SupermodularOrders: _say_orders,
    BestActions: _say_best,
    MixOfBest: _say_mix,
}
