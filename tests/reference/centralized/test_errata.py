"""The errata of Pareto-AC and COMA: the printed form takes the place of the reference's own line and fails."""

from fractions import Fraction

import pytest
import torch

from marlspec.games.batched import BatchedStagedGame
from marlspec.games.catalogue import get
from marlspec.reference.centralized import coma, pareto_ac
from marlspec.reference.parts.config import ParetoACConfig
from marlspec.reference.parts.policies import log_policy
from marlspec.reference.parts.training import train

pytestmark = pytest.mark.long

LINE_7 = "plus = optimistic(q, flat.action, self.places)  # 7"


def best_for_the_policies(q, log_pi, action, places):
    """Line 7 by the argmax over policies: the others' best reply to an agent's whole policy, not to what it drew."""
    by_own_action = torch.stack([q[..., i, own] for i, own in enumerate(places)], -3)
    expected = (log_pi.exp().unsqueeze(-1) * by_own_action).sum(-2)
    reply = expected.argmax(-1, keepdim=True)
    own_first = places[torch.arange(len(places)), action]
    return own_first.gather(-1, reply).squeeze(-1)


def where_climbing_ends(module):
    """The most probable joint actions of three seeds.

    The coefficient of the entropy falls slowly, so that no action is given up before it is known to be worse.
    """
    falling = {"entropy_start": 5.0, "entropy_end": 0.3, "entropy_share": 1.0}
    rates = {"learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    config = ParetoACConfig(seeds=3, steps=300, copies=32, n_steps=1, **falling, **rates)
    learner = train(module.ParetoAC, BatchedStagedGame(get("climbing")), config).learner
    log_pi = log_policy(learner.phi(learner.history(learner.game_state)), learner.available(learner.game_state))
    assert log_pi.amax(-1).exp().min() > 0.7
    return {tuple(joint) for joint in log_pi[:, 0].argmax(-1).tolist()}


def test_e13():
    assert where_climbing_ends(pareto_ac) == {(0, 0)}


def test_e13_as_printed_the_agents_end_at_the_dominated_equilibrium(as_printed):
    """The best reply to a policy that seldom plays A is not A: (B, B) = 7 instead of (A, A) = 11."""
    printed = as_printed(
        pareto_ac, LINE_7, LINE_7.replace("optimistic(q,", "best_for_the_policies(q, self.log_pi(flat),")
    )
    printed.best_for_the_policies = best_for_the_policies
    printed.ParetoAC.log_pi = lambda self, batch: log_policy(self.phi(batch.history), batch.available)
    assert where_climbing_ends(printed) == {(1, 1)}


def test_e13_best_replies_to_uniform_policies():
    """From uniform policies the first form answers with C, whatever was drawn; the second with A, B and B."""
    q = torch.tensor([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]]).flatten().expand(2, 9)
    places, uniform = pareto_ac.own_action_first(2, 3), torch.full((2, 3), 1 / 3).log()
    first = [best_for_the_policies(q, uniform, torch.tensor([a, a]), places)[0].item() % 3 for a in range(3)]
    second = [pareto_ac.optimistic(q, torch.tensor([a, a]), places)[0].item() % 3 for a in range(3)]
    assert (first, second) == ([2, 2, 2], [0, 1, 1])


LINE_15 = "baseline = (pi * q).sum(-1)  # 15"
OVER_THE_OTHERS = "baseline = (pi * q * ~taken(action, pi)).sum(-1) / (pi * ~taken(action, pi)).sum(-1)  # 15"
PI = [Fraction(1, 4), Fraction(3, 4)]


def taken(action, pi):
    return action.unsqueeze(-1) == torch.arange(pi.shape[-1])


def advantages_of_a_product(module):
    """Agent 1's advantages [a_1][a_2] in r = a_1 a_2, where each plays 1 with probability 3/4."""
    pi = torch.tensor([[0.25, 0.75]] * 2)
    tables = [[torch.tensor([[0.0, a_2], [0.0, a_1]]) for a_2 in (0, 1)] for a_1 in (0, 1)]
    return [
        [
            Fraction(module.counterfactual_advantage(tables[a_1][a_2], pi, torch.tensor([a_1, a_2]))[0].item())
            for a_2 in (0, 1)
        ]
        for a_1 in (0, 1)
    ]


def averages(advantages):
    """The average of agent 1's advantages under its policy, by what the other does."""
    return [sum(PI[a_1] * advantages[a_1][a_2] for a_1 in (0, 1)) for a_2 in (0, 1)]


def expected_gradient(advantages):
    """E[d log pi_1(a_1) / d f_1(1) A_1], of a softmax of logits f_1."""
    pairs = [(a_1, a_2) for a_1 in (0, 1) for a_2 in (0, 1)]
    return sum(PI[a_1] * PI[a_2] * ((a_1 == 1) - PI[1]) * advantages[a_1][a_2] for a_1, a_2 in pairs)


SLOPE = PI[1] * (1 - PI[1]) * PI[1]  # of E[r] = pi_1(1) pi_2(1)


def test_e30():
    """The average is zero, neither action's advantage is, and both depend on what the other agent does."""
    advantages = advantages_of_a_product(coma)
    assert advantages == [[0, -PI[1]], [0, PI[0]]]
    assert averages(advantages) == [0, 0]
    assert expected_gradient(advantages) == SLOPE


def test_e30_as_printed_the_average_is_not_zero_and_the_gradient_is_biased(as_printed):
    printed = as_printed(coma, LINE_15, OVER_THE_OTHERS)
    printed.taken = taken
    advantages = advantages_of_a_product(printed)
    assert averages(advantages) == [0, Fraction(1, 2)]
    assert expected_gradient(advantages) == 2 * SLOPE
