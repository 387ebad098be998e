"""Plain measures of broken promises about equilibria: a few lines of floats each, at an example that is given."""

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .target import Factory, Violation

Array = NDArray[Any]
Payoffs = Sequence[Any]

CLIMBING = [[[11, -30, 0], [-30, 7, 0], [0, 6, 5]]] * 2
DILEMMA = [[[-1, -5], [0, -3]], [[-1, 0], [-5, -3]]]
CHICKEN = [[[0, 7], [2, 6]], [[0, 2], [7, 6]]]
SEXES = [[[2, 0], [0, 1]], [[1, 0], [0, 2]]]
COORDINATION = [[[1, 0], [0, 1]]] * 2
PENNIES = [[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]]
SADDLE = [[[1, 2], [3, 4]], [[-1, -2], [-3, -4]]]
ROCK = [[[0, -1, 1], [1, 0, -1], [-1, 1, 0]], [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]]
THREE_BY_TWO = [[[4, 0], [1, 3], [3, -1]], [[-2, 3], [1, 0], [0, 1]]]
BYSTANDERS = [[[1, 0], [1, 0]], [[1, 1], [0, 0]]]  # nobody's own action matters to itself
MUST_MIX = [[[0, 0], [1, -2], [-2, 1]], [[0, 0], [-1, 2], [2, -1]]]  # agent 0 plays one action, agent 1 mixes
EQUAL = [[[0, 0], [0, 0]]] * 2
GENEROUS = [[[3, 0], [0, 1]], [[2, 0], [0, 9]]]
LURE = [[[1, 1, 0], [0, 1, 0], [0, 2, 1]], [[1, 1, 2], [0, 1, 0], [0, 0, 0]]]  # its best coarse one is not correlated
RETURN = [[[0, 0], [1, 0]], [[2, 0], [-1, 0]]]


def array(payoffs: Payoffs) -> Array:
    return np.array(payoffs, dtype=np.float64)


def call(factory: Factory, *inputs: Any) -> Any:
    function = factory()
    if getattr(function, "arrays", "numpy") == "torch":
        import torch

        inputs = tuple(
            [torch.tensor(entry) for entry in value] if isinstance(value, list) else torch.tensor(value)
            for value in inputs
        )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*inputs)


def profiles(factory: Factory, payoffs: Payoffs) -> list[list[Array]]:
    function, answer = factory(), call(factory, array(payoffs))
    if answer is None:
        return []
    listed = answer if getattr(function, "answers", "one") != "one" else [answer]
    return [[np.array(mix, dtype=np.float64) for mix in profile] for profile in listed]


def expected(table: Array, profile: Sequence[Array]) -> float:
    for mix in profile[::-1]:
        table = table @ mix
    return float(table)


def plain_regret(payoffs: Array, profile: Sequence[Array]) -> float:
    """The largest gain of an agent that plays one action instead of its mix."""
    gains = [0.0]
    for i, table in enumerate(payoffs):
        for action in range(table.shape[i]):
            other = [np.eye(table.shape[i])[action] if j == i else mix for j, mix in enumerate(profile)]
            gains.append(expected(table, other) - expected(table, profile))
    return max(gains)


def regrets_at(payoffs: Payoffs) -> Violation:
    """Some profile that is returned for this game leaves an agent a gain above the declared epsilon."""

    def amount(factory: Factory) -> float:
        epsilon = getattr(factory(), "epsilon", 0.0)
        regrets = [plain_regret(array(payoffs), profile) for profile in profiles(factory, payoffs)]
        return max([0.0, *(regret - epsilon for regret in regrets)])

    return Violation("regret", amount)


def no_distribution_at(payoffs: Payoffs) -> Violation:
    """Some mix, or the joint distribution, has a sum other than one, a negative entry or NaN."""

    def amount(factory: Factory) -> float:
        correlated = getattr(factory(), "concept", "nash") != "nash"
        answers = (
            [np.array(call(factory, array(payoffs)))]
            if correlated
            else [m for p in profiles(factory, payoffs) for m in p]
        )
        amounts = [max(abs(mix.sum() - 1), -mix.min()) for mix in answers]
        return max([0.0, *(math.inf if math.isnan(value) else value for value in amounts)])

    return Violation("distribution", amount)


def none_at(payoffs: Payoffs) -> Violation:
    """No equilibrium is returned for this game: the amount is 1 or 0."""
    return Violation("exists", lambda factory: float(not profiles(factory, payoffs)))


def misses_at(payoffs: Payoffs, equilibrium: Sequence[Sequence[float]]) -> Violation:
    """This equilibrium of this game is not among those returned: the distance to the nearest one."""

    def amount(factory: Factory) -> float:
        assert plain_regret(array(payoffs), [np.array(mix, dtype=np.float64) for mix in equilibrium]) < 1e-9
        distances = [
            max(np.abs(mix - np.array(exact)).max() for mix, exact in zip(profile, equilibrium, strict=True))
            for profile in profiles(factory, payoffs)
        ]
        return float(min(distances, default=1.0))

    return Violation("complete", amount)


def plain_gap(payoffs: Array, joint: Array, coarse: bool) -> float:
    """The largest gain of an agent by one fixed action, or by a rule from told to played actions."""
    gains = [0.0]
    for i, (table, count) in enumerate(zip(payoffs, joint.shape, strict=True)):
        for rule in itertools.product(range(count), repeat=count):
            if not coarse or len(set(rule)) == 1:
                gains.append(float((joint * (table.take(rule, axis=i) - table)).sum()))
    return max(gains)


def gap_at(payoffs: Payoffs, coarse: bool = False) -> Violation:
    """Under the joint distribution returned for this game an agent gains by deviating."""

    def amount(factory: Factory) -> float:
        epsilon = getattr(factory(), "epsilon", 0.0)
        return plain_gap(array(payoffs), np.array(call(factory, array(payoffs))), coarse) - epsilon

    return Violation("gap", amount)


def poorer_at(payoffs: Payoffs, welfare: float) -> Violation:
    """The joint distribution returned for this game stays below a welfare that an equilibrium reaches."""

    def amount(factory: Factory) -> float:
        joint = np.array(call(factory, array(payoffs)))
        return welfare - float((array(payoffs).sum(axis=0) * joint).sum())

    return Violation("objective", amount)


def refuses_at(payoffs: Payoffs, profile: Sequence[Sequence[float]], epsilon: float = 0.0) -> Violation:
    """A true equilibrium is refused: the amount is 1 or 0."""

    def amount(factory: Factory) -> float:
        mixes = [np.array(mix, dtype=np.float64) for mix in profile]
        assert plain_regret(array(payoffs), mixes) <= epsilon
        return float(not call(factory, array(payoffs), mixes, epsilon))

    return Violation("accepts", amount)


def accepts_at(payoffs: Payoffs, profile: Sequence[Sequence[float]], epsilon: float = 0.0) -> Violation:
    """A profile that is no equilibrium is accepted: the amount is 1 or 0."""

    def amount(factory: Factory) -> float:
        mixes = [np.array(mix, dtype=np.float64) for mix in profile]
        assert plain_regret(array(payoffs), mixes) >= epsilon + 1 / 256
        return float(bool(call(factory, array(payoffs), mixes, epsilon)))

    return Violation("refuses", amount)


def forgets_the_question(*cases: tuple[Any, ...]) -> Violation:
    """One of several answers is another one where the others were asked before it: the amount is 1 or 0."""

    def amount(factory: Factory) -> float:
        asked = factory()
        return float(any(asked(*case) != factory()(*case) for case in cases))

    return Violation("repeatable", amount)


def refuses_optimal(payoffs: Payoffs, action: Sequence[int], weights: Sequence[float] | None = None) -> Violation:
    """A Pareto-optimal joint action is refused; weights prove it among correlated policies."""

    def amount(factory: Factory) -> float:
        assert not dominating(payoffs, action)
        if weights is not None:
            weighted = np.tensordot(np.array(weights), array(payoffs), axes=1)
            assert weighted[tuple(action)] == weighted.max()
        return float(not call(factory, array(payoffs), np.array(action)))

    return Violation("pareto accepts", amount)


def accepts_dominated(
    payoffs: Payoffs, action: Sequence[int], mixture: Sequence[tuple[Sequence[int], float]] = ()
) -> Violation:
    """A dominated joint action is accepted; a mixture proves it where no joint action dominates."""

    def amount(factory: Factory) -> float:
        table = array(payoffs)
        gains = [sum(share * own[tuple(a)] for a, share in mixture) - own[tuple(action)] for own in table]
        assert dominating(payoffs, action) or (min(gains) >= 0 and max(gains) > 0)
        return float(bool(call(factory, table, np.array(action))))

    return Violation("pareto refuses", amount)


def dominating(payoffs: Payoffs, action: Sequence[int]) -> list[tuple[int, ...]]:
    table = array(payoffs)
    gains = [own - own[tuple(action)] for own in table]
    return [
        a for a in np.ndindex(table.shape[1:]) if min(own[a] for own in gains) >= 0 and max(own[a] for own in gains) > 0
    ]
