"""Vectors of solution concepts and values: Nash, Pareto, correlated equilibria, evaluation of policies."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import StochasticGame
from marlspec.properties.vectors.drawn import Drawn
from marlspec.properties.vectors.functions import Array, Case, Fault, Function, case
from marlspec.reference.solution import correlated, minimax, nash, optimal, pareto
from marlspec.reference.solution.expected_return import markov_action_values, markov_values

BOOK = "Albrecht et al. 2024, chapter 4"
PAYOFFS = "float64 [n, A_1, .., A_n]: each agent's payoff of each joint action"
PROFILE = "list of n arrays float64 [A_i]: each agent's mix"

PRISONERS = [[[-1.0, -5.0], [0.0, -3.0]], [[-1.0, 0.0], [-5.0, -3.0]]]
CHICKEN = [[[0.0, 7.0], [2.0, 6.0]], [[0.0, 2.0], [7.0, 6.0]]]
PENNIES = [[[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0], [1.0, -1.0]]]
COORDINATION = [[[2.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]
WIDE = [[[4.0, 0.0, 1.0], [1.0, 3.0, 2.0]], [[0.0, 2.0, 1.0], [3.0, 1.0, 0.0]]]


def _three_agents() -> Array:
    return Drawn("solution/three-agents").quarters((3, 2, 2, 2))


def _game(payoffs: Any) -> NormalFormGame:
    return NormalFormGame(payoffs)


# --- Nash equilibria --------------------------------------------------------------------------------------------------


def _regret(payoffs: Array, profile: Any) -> Any:
    return nash.regret(_game(payoffs), tuple(profile))


def _regret_of(change: Callable[[Array, Array], Fraction]) -> Any:
    """A regret that is made otherwise of the own actions' rewards and the own mix."""

    def regret(payoffs: Array, profile: Any) -> Array:
        gains = nash.deviation_rewards(_game(payoffs), tuple(profile))
        pairs = zip(gains, profile, strict=True)
        return np.array([float(change(own, np.array([Fraction(p) for p in mix]))) for own, mix in pairs])

    return regret


def _exchanged(payoffs: Array) -> Array:
    return np.roll(payoffs, 1, axis=0)


def _profiles() -> tuple[Case, ...]:
    half = [0.5, 0.5]
    return (
        case("prisoners-defect", payoffs=PRISONERS, profile=([0.0, 1.0], [0.0, 1.0])),
        case("prisoners-cooperate", payoffs=PRISONERS, profile=([1.0, 0.0], [1.0, 0.0])),
        case("pennies-even", payoffs=PENNIES, profile=(half, half)),
        case("pennies-biased", payoffs=PENNIES, profile=([0.75, 0.25], half)),
        case("coordination-apart", payoffs=COORDINATION, profile=([1.0, 0.0], [0.0, 1.0])),
        case("chicken-mixed", payoffs=CHICKEN, profile=([0.25, 0.75], half)),
        case("unequal-actions", payoffs=WIDE, profile=([0.25, 0.75], [0.5, 0.125, 0.375])),
        case("three-agents", payoffs=_three_agents(), profile=([0.25, 0.75], half, [0.875, 0.125])),
    )


def _is_nash(payoffs: Array, profile: Any, epsilon: float) -> bool:
    return nash.is_nash(_game(payoffs), tuple(profile), epsilon)


def _checked(profile_case: Case, epsilon: float, label: str) -> Case:
    return Case(label, {**profile_case.inputs, "epsilon": epsilon})


def _nash_checks() -> tuple[Case, ...]:
    by_name = {entry.name: entry for entry in _profiles()}
    return (
        _checked(by_name["prisoners-defect"], 0.0, "prisoners-defect"),
        _checked(by_name["prisoners-cooperate"], 0.0, "prisoners-cooperate"),
        _checked(by_name["prisoners-cooperate"], 1.0, "up-to-epsilon"),
        _checked(by_name["prisoners-cooperate"], 0.75, "beyond-epsilon"),
        _checked(by_name["pennies-even"], 0.0, "pennies-even"),
        _checked(by_name["pennies-biased"], 0.0, "pennies-biased"),
        case("second-agent-gains", payoffs=WIDE, profile=([1.0, 0.0], [1.0, 0.0, 0.0]), epsilon=0.0),
        case("one-agent-beyond-epsilon", payoffs=WIDE, profile=([1.0, 0.0], [1.0, 0.0, 0.0]), epsilon=1.5),
        case("both-gain", payoffs=COORDINATION, profile=([1.0, 0.0], [0.0, 1.0]), epsilon=1.0),
    )


def _nash_functions() -> tuple[Function, ...]:
    return (
        Function(
            "nash.regret",
            "What each agent could gain at most by changing its own mix alone.",
            BOOK,
            {"payoffs": PAYOFFS, "profile": PROFILE},
            "float64 [n]",
            _regret,
            (
                Fault(
                    "payoffs_exchanged",
                    "gives each agent another agent's payoffs",
                    lambda payoffs, profile: _regret(_exchanged(payoffs), profile),
                ),
                Fault(
                    "best_alone", "does not subtract what the agent gets now", _regret_of(lambda gains, mix: max(gains))
                ),
                Fault(
                    "worst_deviation",
                    "takes the smallest reward that a deviation brings",
                    _regret_of(lambda gains, mix: min(gains) - (gains * mix).sum()),
                ),
                Fault(
                    "plain_average",
                    "averages over the own actions without the mix",
                    _regret_of(lambda gains, mix: max(gains) - sum(gains) / len(gains)),
                ),
                Fault(
                    "both_deviate",
                    "lets the others deviate as well",
                    lambda payoffs, profile: (
                        payoffs.reshape(len(payoffs), -1).max(-1) - plain_rewards(payoffs, profile)
                    ),
                ),
            ),
            _profiles(),
        ),
        Function(
            "nash.is_nash",
            "Whether no agent gains more than epsilon by changing its own mix alone.",
            BOOK,
            {"payoffs": PAYOFFS, "profile": PROFILE, "epsilon": "float64, not negative"},
            "bool",
            _is_nash,
            (
                Fault(
                    "first_agent_alone",
                    "looks at the first agent alone",
                    lambda payoffs, profile, epsilon: bool(_regret(payoffs, profile)[0] <= epsilon),
                ),
                Fault(
                    "strictly_less",
                    "asks for less than epsilon",
                    lambda payoffs, profile, epsilon: bool(max(_regret(payoffs, profile)) < epsilon),
                ),
                Fault(
                    "average_gain",
                    "compares the agents' average gain with epsilon",
                    lambda payoffs, profile, epsilon: bool(sum(_regret(payoffs, profile)) / len(payoffs) <= epsilon),
                ),
                Fault(
                    "no_epsilon",
                    "takes epsilon to be 0",
                    lambda payoffs, profile, epsilon: _is_nash(payoffs, profile, 0.0),
                ),
                Fault(
                    "payoffs_exchanged",
                    "gives each agent another agent's payoffs",
                    lambda payoffs, profile, epsilon: _is_nash(_exchanged(payoffs), profile, epsilon),
                ),
            ),
            _nash_checks(),
        ),
    )


def plain_rewards(payoffs: Array, profile: Any) -> Array:
    """Return every agent's expected reward [n]."""
    rewards = payoffs
    for mix in profile:
        rewards = np.tensordot(rewards, mix, axes=(1, 0))
    return rewards


# --- Pareto optimality ------------------------------------------------------------------------------------------------


def _optimal_actions(payoffs: Array) -> Array:
    return pareto.pareto_optimal_actions(_game(payoffs))


def _not_dominated(dominates: Callable[[Array, Array], bool]) -> Any:
    def optimal_actions(payoffs: Array) -> Array:
        rewards = np.moveaxis(payoffs, 0, -1).reshape(-1, len(payoffs))
        kept = [not any(dominates(other, own) for other in rewards) for own in rewards]
        return np.array(kept).reshape(payoffs.shape[1:])

    return optimal_actions


def _best_welfare(payoffs: Array) -> Array:
    total = payoffs.sum(0)
    return np.asarray(total == total.max())


PARETO_FAULTS = (
    Fault(
        "strictly_better_for_all",
        "lets a joint action be dominated only by one that is better for every agent",
        _not_dominated(lambda u, v: bool((u > v).all())),
    ),
    Fault(
        "equal_dominates", "lets equal rewards dominate one another", _not_dominated(lambda u, v: bool((u >= v).all()))
    ),
    Fault("welfare", "keeps the joint actions with the highest sum of rewards", _best_welfare),
    Fault("first_agent", "keeps what is best for the first agent", lambda payoffs: payoffs[0] == payoffs[0].max()),
)


def _pareto_cases() -> tuple[Case, ...]:
    return (
        case("prisoners", payoffs=PRISONERS),
        case("chicken", payoffs=CHICKEN),
        case("coordination", payoffs=COORDINATION),
        case("zero-sum", payoffs=PENNIES),
        case("equal-for-one", payoffs=[[[1.0, 1.0]], [[0.0, 2.0]]]),
        case("twins", payoffs=[[[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]]),
        case("three-agents", payoffs=_three_agents()),
    )


# --- correlated equilibria, minimax -----------------------------------------------------------------------------------


def _ce_gap(payoffs: Array, joint: Array) -> float:
    return float(correlated.ce_gap(_game(payoffs), joint))


def _cce_gap(payoffs: Array, joint: Array) -> float:
    return float(correlated.cce_gap(_game(payoffs), joint))


def _first_agent_gap(gap: Any) -> Any:
    def first(payoffs: Array, joint: Array) -> Any:
        others = np.zeros_like(payoffs)
        others[0] = payoffs[0]
        return gap(others, joint)

    return first


def _exchanged_gap(gap: Any) -> Any:
    return lambda payoffs, joint: gap(_exchanged(payoffs), joint)


def _joints() -> tuple[Case, ...]:
    third = [[0.0, 0.375], [0.375, 0.25]]
    return (
        case("chicken-correlated", payoffs=CHICKEN, joint=third),
        case("chicken-collision", payoffs=CHICKEN, joint=[[0.5, 0.0], [0.0, 0.5]]),
        case("coordination-even", payoffs=COORDINATION, joint=[[0.5, 0.0], [0.0, 0.5]]),
        case("coordination-apart", payoffs=COORDINATION, joint=[[0.0, 0.5], [0.5, 0.0]]),
        case("pennies-even", payoffs=PENNIES, joint=[[0.25, 0.25], [0.25, 0.25]]),
        case("prisoners-cooperate", payoffs=PRISONERS, joint=[[1.0, 0.0], [0.0, 0.0]]),
        case("unequal-actions", payoffs=WIDE, joint=[[0.25, 0.125, 0.0], [0.125, 0.25, 0.25]]),
        case(
            "three-agents",
            payoffs=_three_agents(),
            joint=Drawn("solution/joint").distributions((1, 8)).reshape(2, 2, 2),
        ),
    )


def _value(payoffs: Array) -> float:
    return float(minimax.minimax(_game(payoffs)).value)


def _security(payoffs: Array) -> float:
    return float(payoffs[0].min(axis=1).max())


def _correlated_functions() -> tuple[Function, ...]:
    arguments = {"payoffs": PAYOFFS, "joint": "float64 [A_1, .., A_n]: a distribution over joint actions"}
    return (
        Function(
            "correlated.ce_gap",
            "What some agent could gain at most by replacing recommended actions by others, each recommended action by "
            "one of its own; 0 for a correlated equilibrium.",
            BOOK,
            arguments,
            "float64",
            _ce_gap,
            (
                Fault("one_for_all", "lets an agent replace all recommendations by one action", _cce_gap),
                Fault("first_agent_alone", "looks at the first agent alone", _first_agent_gap(_ce_gap)),
                Fault("payoffs_exchanged", "gives each agent another agent's payoffs", _exchanged_gap(_ce_gap)),
            ),
            _joints(),
        ),
        Function(
            "correlated.cce_gap",
            "What some agent could gain at most by one action of its own in place of all recommendations, 0 at least.",
            BOOK,
            arguments,
            "float64",
            _cce_gap,
            (
                Fault("replaces_each", "lets an agent replace each recommendation by another action", _ce_gap),
                Fault("first_agent_alone", "looks at the first agent alone", _first_agent_gap(_cce_gap)),
                Fault("payoffs_exchanged", "gives each agent another agent's payoffs", _exchanged_gap(_cce_gap)),
            ),
            _joints(),
        ),
        Function(
            "minimax.value",
            "The value of a two-agent zero-sum game to the first agent.",
            BOOK,
            {"payoffs": "float64 [2, A_1, A_2]; the second agent's are the negatives of the first one's"},
            "float64",
            _value,
            (
                Fault("second_agent", "returns the second agent's value", lambda payoffs: -_value(payoffs)),
                Fault("pure_strategies", "takes the best pure strategy's worst case", _security),
                Fault("even_mix", "assumes that both agents mix evenly", lambda payoffs: float(payoffs[0].mean())),
            ),
            tuple(
                case(label, payoffs=[payoff, (-np.array(payoff)).tolist()])
                for label, payoff in (
                    ("pennies", PENNIES[0]),
                    ("saddle", [[2.0, 3.0], [1.0, 0.0]]),
                    ("mixed", [[3.0, -1.0], [-2.0, 1.0]]),
                    ("unequal-actions", [[4.0, 0.0, 1.0], [1.0, 3.0, 2.0]]),
                    ("paper", [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]),
                )
            ),
        ),
    )


# --- values -----------------------------------------------------------------------------------------------------------

STOCHASTIC = {
    "transitions": "float64 [S, A_1, .., A_n, S]",
    "rewards": "float64 [n, S, A_1, .., A_n, S]: of each transition",
    "terminal": "bool [S]: rewards in and values of a terminal state are 0",
}
POLICY = "list of n arrays float64 [S, A_i]"


def _stochastic(transitions: Any, rewards: Any, terminal: Array) -> StochasticGame:
    start = np.eye(len(terminal), dtype=int)[int(np.argmin(terminal))]
    exact = [
        np.array([Fraction(x) for x in table.ravel()], dtype=object).reshape(table.shape)
        for table in (transitions, rewards)
    ]
    return StochasticGame(exact[0], exact[1], np.array([Fraction(int(x)) for x in start], dtype=object), terminal)


def _values(transitions: Array, rewards: Array, terminal: Array, policy: Any, gamma: float) -> Any:
    game = _stochastic(transitions, rewards, terminal)
    return markov_values(game, tuple(_exact(own) for own in policy), Fraction(gamma))


def _action_values(transitions: Array, rewards: Array, terminal: Array, policy: Any, gamma: float) -> Any:
    game = _stochastic(transitions, rewards, terminal)
    return markov_action_values(game, tuple(_exact(own) for own in policy), Fraction(gamma))


def _optimal_values(transitions: Array, rewards: Array, terminal: Array, gamma: float) -> Any:
    return optimal.optimal_values(_stochastic(transitions, rewards[None], terminal), Fraction(gamma)).values


def _exact(table: Array) -> Array:
    return np.array([Fraction(x) for x in table.ravel()], dtype=object).reshape(table.shape)


def _chain(n_actions: tuple[int, ...], label: str) -> dict[str, Any]:
    """Draw a game of three states, the last one terminal."""
    drawn = Drawn(f"evaluation/{label}")
    n, S = len(n_actions), 3
    transitions = drawn.distributions((S, *n_actions, S))
    rewards = drawn.quarters((n, S, *n_actions, S))
    transitions[-1], rewards[:, -1] = np.eye(S)[-1], 0.0
    return {"transitions": transitions, "rewards": rewards, "terminal": np.array([False, False, True])}


def _policy(n_actions: tuple[int, ...], label: str) -> list[Array]:
    return [Drawn(f"evaluation/{label} {i}").distributions((3, count)) for i, count in enumerate(n_actions)]


def _walk() -> dict[str, Any]:
    """From state 0 to state 1, from there to the end, with a reward of 1 each."""
    transitions = np.zeros((3, 1, 3))
    transitions[0, 0, 1] = transitions[1, 0, 2] = transitions[2, 0, 2] = 1
    rewards = np.zeros((1, 3, 1, 3))
    rewards[0, :2] = 1
    return {"transitions": transitions, "rewards": rewards, "terminal": np.array([False, False, True])}


def _staying() -> dict[str, Any]:
    """Two actions: one stays with the reward 1, one leaves with the reward 4 or -1."""
    transitions = np.zeros((2, 2, 2))
    transitions[0, 0, 0] = transitions[0, 1, 1] = transitions[1, :, 1] = 1
    rewards = np.zeros((1, 2, 2, 2))
    rewards[0, 0, 0], rewards[0, 0, 1] = 1, [-1.0, 4.0]
    return {"transitions": transitions, "rewards": rewards, "terminal": np.array([False, True])}


def _evaluation_cases() -> tuple[Case, ...]:
    even = np.array([[0.5, 0.5], [0.5, 0.5]])
    return (
        Case("walk", {**_walk(), "policy": [np.ones((3, 1))], "gamma": 0.5}),
        Case("staying-even", {**_staying(), "policy": [even], "gamma": 0.875}),
        Case("staying-rarely", {**_staying(), "policy": [np.array([[0.25, 0.75], [1.0, 0.0]])], "gamma": 0.5}),
        Case("myopic", {**_staying(), "policy": [even], "gamma": 0.0}),
        Case("one-agent", {**_chain((2,), "one-agent"), "policy": _policy((2,), "one-agent"), "gamma": 0.875}),
        Case("two-agents", {**_chain((2, 2), "two-agents"), "policy": _policy((2, 2), "two-agents"), "gamma": 0.875}),
        Case(
            "unequal-actions",
            {**_chain((4, 2), "unequal-actions"), "policy": _policy((4, 2), "unequal-actions"), "gamma": 0.5},
        ),
    )


def _optimal_cases() -> tuple[Case, ...]:
    def single(label: str, game: dict[str, Any], gamma: float) -> Case:
        return Case(label, {**game, "rewards": game["rewards"][0], "gamma": gamma})

    return (
        single("walk", _walk(), 0.5),
        single("staying", _staying(), 0.875),
        single("leaving", _staying(), 0.5),
        single("myopic", _staying(), 0.0),
        single("drawn", _chain((3,), "optimal"), 0.875),
    )


def _uniform(policy: Any) -> Any:
    return [np.full_like(own, 1 / own.shape[1]) for own in policy]


def _evaluation_faults(values: Any) -> tuple[Fault, ...]:
    return (
        Fault(
            "discount_one_late",
            "discounts from the third reward on, not from the second",
            lambda gamma, **inputs: _late_discount(values, gamma, inputs),
        ),
        Fault("one_step", "adds up the next reward alone", lambda gamma, **inputs: values(**inputs, gamma=0.0)),
        Fault(
            "even_policy",
            "takes all policies to be uniform",
            lambda policy, **inputs: values(**inputs, policy=_uniform(policy)),
        ),
        Fault(
            "first_agents_rewards",
            "gives all agents the first agent's rewards",
            lambda rewards, **inputs: values(**inputs, rewards=np.repeat(rewards[:1], len(rewards), axis=0)),
        ),
    )


def _late_discount(values: Any, gamma: float, inputs: dict[str, Any]) -> Array:
    """r_0 + r_1 + gamma r_2 + ..: what follows the first reward, without its first discount."""
    first, all_steps = (np.asarray(values(**inputs, gamma=g), dtype=object) for g in (0.0, gamma))
    return first + (all_steps - first) / Fraction(gamma) if gamma else all_steps


def _value_functions() -> tuple[Function, ...]:
    return (
        Function(
            "evaluation.values",
            "V_i(s) of a joint policy of independent mixes: the expected discounted sum of agent i's rewards.",
            f"{BOOK}, section 4.1 (expected returns)",
            {**STOCHASTIC, "policy": POLICY, "gamma": "float64: discount below 1"},
            "float64 [n, S]",
            _values,
            _evaluation_faults(_values),
            _evaluation_cases(),
        ),
        Function(
            "evaluation.action_values",
            "Q_i(s, a) of a joint policy: agent i's expected discounted sum when a is taken first.",
            f"{BOOK}, section 4.1 (expected returns)",
            {**STOCHASTIC, "policy": POLICY, "gamma": "float64: discount below 1"},
            "float64 [n, S, A_1, .., A_n]",
            _action_values,
            _evaluation_faults(_action_values),
            _evaluation_cases(),
        ),
        Function(
            "evaluation.optimal_values",
            "The optimal value of each state for one decision-maker.",
            f"{BOOK}, section 2.4; Puterman 1994",
            {
                "transitions": "float64 [S, A, S]",
                "rewards": "float64 [S, A, S]",
                "terminal": STOCHASTIC["terminal"],
                "gamma": "float64: discount below 1",
            },
            "float64 [S]",
            _optimal_values,
            (
                Fault(
                    "one_step",
                    "maximises the next reward alone",
                    lambda gamma, **inputs: _optimal_values(**inputs, gamma=0.0),
                ),
                Fault(
                    "worst",
                    "takes the worst actions",
                    lambda rewards, **inputs: -_optimal_values(**inputs, rewards=-rewards),
                ),
                Fault("even_policy", "acts uniformly at random", _evenly),
            ),
            _optimal_cases(),
        ),
    )


def _evenly(transitions: Array, rewards: Array, terminal: Array, gamma: float) -> Any:
    S, A = rewards.shape[:2]
    return _values_of_one(transitions, rewards, terminal, np.full((S, A), 1.0 / A), gamma)


def _values_of_one(transitions: Array, rewards: Array, terminal: Array, policy: Array, gamma: float) -> Array:
    chain = np.einsum("sa,sat->st", policy, transitions)
    reward = np.einsum("sa,sat,sat->s", policy, transitions, rewards)
    return np.asarray(
        np.where(terminal, 0.0, np.linalg.solve(np.eye(len(terminal)) - gamma * chain * ~terminal, reward))
    )


FUNCTIONS = (
    *_nash_functions(),
    Function(
        "pareto.optimal_actions",
        "Which joint actions no other joint action dominates: nowhere less and somewhere more.",
        BOOK,
        {"payoffs": PAYOFFS},
        "bool [A_1, .., A_n]",
        _optimal_actions,
        PARETO_FAULTS,
        _pareto_cases(),
    ),
    *_correlated_functions(),
    *_value_functions(),
)
