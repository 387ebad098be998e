"""The ledger of errata: its page, and the errata that concern definitions and claims rather than a code line.

E3 and E6 change lines of the algorithms; tests/reference/decomposition/test_errata.py patches those.
"""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.posg import POSG, limited_view, own_action_observation
from marlspec.games.stochastic import StochasticGame, repeated
from marlspec.properties import check, igm
from marlspec.properties.proof import decomposition
from marlspec.reference.errata import ERRATA, errata_page
from marlspec.reference.solution.expected_return import expected_return, markov_return
from marlspec.reference.solution.nash import is_nash, pure_equilibria
from marlspec.reference.solution.optimal import optimal_action_values
from marlspec.reference.solution.pareto import is_pareto_optimal, pareto_optimal_actions

ROOT = Path(__file__).parent.parent


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "errata.md").read_text(encoding="utf-8") == errata_page()


@pytest.mark.parametrize("name", ERRATA)
def test_each_erratum_is_shown_by_a_test_that_exists(name):
    file, _, test = ERRATA[name].shown_by.partition("::")
    assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")


def test_e7():
    """Utilities 0, 4 and 1, 5 decompose Linear as their sum; their list is no reward, in one step or in return."""
    game, utilities = get("linear"), ([0, 4], [1, 5])
    listed = {(a, b): (utilities[0][a], utilities[1][b]) for a, b in game.joint_actions()}
    assert not any(rewards == game.payoff(0, a) for a, rewards in listed.items())
    assert all(sum(rewards) == game.payoff(0, a) for a, rewards in listed.items())
    decomposed = NormalFormGame([[[listed[a, b][i] for b in (0, 1)] for a in (0, 1)] for i in (0, 1)])
    policy = ([[Fraction(1, 4), Fraction(3, 4)]], [[Fraction(1, 2)] * 2])
    gamma = Fraction(9, 10)
    returns = markov_return(repeated(decomposed, gamma), policy).tolist()
    required = markov_return(repeated(game, gamma), policy)[0]
    assert sum(returns) == required
    assert required not in returns


def two_steps(next_state):
    """From state 0 to the state that two actions name, 1 or 2; there agent 1 has the utility s' - 1, then the end.

    Rewards are the sum of the utilities (agent 2's are zero), and no reward depends on another agent's action.
    """
    successors = np.full((4, 2, 2, 1), 3)
    for a in np.ndindex(2, 2):
        successors[(0, *a)] = 1 + next_state(*a)
    rewards = np.zeros((2, 4, 2, 2), dtype=object)
    rewards[:, 2] = 1
    ends = [False, False, False, True]
    return StochasticGame.from_outcomes(successors, np.ones_like(successors), rewards, [1, 0, 0, 0], ends)


def test_e8():
    """Utilities add up in every step, and yet the action values of the first step interact."""

    def first_action_values(next_state):
        return optimal_action_values(two_steps(next_state), 1)[0]

    q = first_action_values(lambda a, b: a ^ b)
    assert q[0, 0] + q[1, 1] - q[0, 1] - q[1, 0] == -2
    assert not decomposition.decide_linear(NormalFormGame.common_reward(q)).holds
    own = first_action_values(lambda a, b: a)
    assert decomposition.decide_linear(NormalFormGame.common_reward(own)).holds


def strictly_rising(table):
    """The printed definition, by brute force: some utilities, and a table that rises strictly in each of them.

    Utilities matter by their order alone; equal ones stand for one point, so that their slices must be equal.
    """
    rows, columns = table.shape
    orders = [np.array(order) for order in itertools.product(range(max(rows, columns)), repeat=rows)]
    others = [np.array(order) for order in itertools.product(range(max(rows, columns)), repeat=columns)]

    def rises(slices, levels):
        pairs = itertools.combinations(range(len(slices)), 2)
        for i, j in pairs:
            low, high = (i, j) if levels[i] < levels[j] else (j, i)
            same = levels[i] == levels[j]
            if not (np.array_equal(slices[i], slices[j]) if same else (slices[low] < slices[high]).all()):
                return False
        return True

    return any(rises(table, order) for order in orders) and any(rises(table.T, order) for order in others)


def test_e9():
    """Under the printed, strict definition the lecture's own example fails; under the non-strict one it passes."""
    game = get("monotonic")
    assert not strictly_rising(np.array(game.shared_reward()))
    assert not decomposition.decide_strictly_monotone(game).holds
    assert decomposition.decide_monotone(game).holds
    assert strictly_rising(np.array(get("linear").shared_reward()))


def test_e10():
    """No utilities that round to the printed ones have the printed sums; with the corrected one they do."""
    first, second = (-0.94, 4.08), (-1.45, 3.45)
    sums = {(0, 0): -2.43, (0, 1): 2.51, (1, 0): 2.60, (1, 1): 7.53}
    rounding = 0.015 + 1e-9  # half a unit in the second digit of each summand and of the sum

    def consistent(second):
        return all(abs(first[i] + second[j] - value) <= rounding for (i, j), value in sums.items())

    assert not consistent(second)
    assert any(consistent((round(-1.45 - k / 100, 2), 3.45)) for k in range(1, 6))


def igm_as_printed(subject, redraw, utilities, state):
    """Both directions as an equivalence of sets: the printed form of the claim."""
    table = igm.tables(subject, utilities, state)
    for row in range(len(utilities)):
        best = table.values[row] == table.values[row].max()
        if not np.array_equal(best, (table.regret[row] == 0).all(axis=1)):
            return igm.Counterexample(subject.size, None, {}, "the sets differ", "the sets are equal")
    return None


def first_utility(n_agents, state_size):
    """Q_tot = Q_1: weights 1, 0, .. 0, which the absolute value allows."""
    weights = torch.zeros(n_agents)
    weights[0] = 1.0
    return lambda utilities, state: (utilities * weights.abs()).sum(-1)


def test_e11(monkeypatch):
    """The printed equivalence refutes a mixer whose weights are absolute values; the claim as implemented does not."""
    report = check(first_utility, "mixer", sizes=[(2, 1)], claims=["igm.containment", "igm.equivalence"])
    assert report.verdict("igm.containment").outcome == "holds"
    assert report.verdict("igm.equivalence").outcome == "not_applicable"
    monkeypatch.setattr(igm, "_escaping", igm_as_printed)
    monkeypatch.setattr(igm, "_smaller", lambda trial, subject, redraw, check, found: found)
    printed = check(first_utility, "mixer", sizes=[(2, 1)], claims=["igm.containment"])
    assert printed.verdict("igm.containment").outcome == "refuted"


def test_e12():
    """No utilities satisfy the printed equivalence for [[1, 0], [0, 1]]: every pair of greedy sets is tried."""
    table = np.array([[1, 0], [0, 1]])
    best = table == table.max()
    subsets = [np.array(bits, dtype=bool) for bits in itertools.product((False, True), repeat=2) if any(bits)]
    assert not any(np.array_equal(np.outer(first, second), best) for first in subsets for second in subsets)
    assert not decomposition.decide_igm(NormalFormGame.common_reward([[1, 0], [0, 1]])).holds


def test_e15():
    """Each agent may act on the other's action: with that of the same time, two policies leave no joint action."""
    game = repeated(get("matching-pennies"), 1)
    view = limited_view(game, [game.state_labels] * 2, [[1], [0]])
    heads = [labels.index("play | H") for labels in view.observation_labels]

    def match(seen):
        return [1, 0] if seen else [0, 1]

    def differ(seen):
        return [0, 1] if seen else [1, 0]

    def satisfied(a):
        return match(a[1] == 0)[a[0]] == 1 and differ(a[0] == 0)[a[1]] == 1

    assert not any(satisfied(a) for a in game.joint_actions())
    policy = (lambda own: match(own[-1] == heads[0]), lambda own: differ(own[-1] == heads[1]))
    assert expected_return(view, policy, 4).tolist() == [0, 0]  # (T, H), (H, H), (H, T), (T, T)


def test_e16():
    """The printed function needs a joint action before the first one: what is made up for it changes the return."""
    game = repeated(get("prisoners-dilemma"), 1)
    posg = own_action_observation(game)
    defected = [labels.index("play | D") for labels in posg.observation_labels]
    policy = tuple(lambda own, d=d: [0, 1] if d in own else [1, 0] for d in defected)

    def made_up(a):
        return POSG(game, posg.observation, [table[a] for table in posg.observation])

    returns = {tuple(expected_return(made_up(a), policy, 2).tolist()) for a in game.joint_actions()}
    assert returns == {(-2, -2), (-10, 0), (0, -10), (-6, -6)}
    assert posg.observation_labels[0] == ("play | -", "play | C", "play | D")
    assert expected_return(posg, policy, 2).tolist() == [-2, -2]


def test_e27():
    """In Climbing (B, B) is a Nash equilibrium, and (A, A) is better for all."""
    game = get("climbing")
    equilibria = {tuple(a) for a in pure_equilibria(game).tolist()}
    optimal = {tuple(a) for a in np.argwhere(pareto_optimal_actions(game)).tolist()}
    assert equilibria != optimal
    assert optimal < equilibria
    second = ([0, 1, 0], [0, 1, 0])
    assert is_nash(game, second)
    assert is_pareto_optimal(game, second, among="product").answer == "no"
