"""Best responses, regret, Nash equilibria and Pareto optimality in sequential games, against enumeration."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.posg import POSG, full_observation, own_action_observation, state_observation
from marlspec.games.stochastic import StochasticGame, from_staged, one_step, repeated
from marlspec.reference.solution import nash, sequential
from marlspec.reference.solution.expected_return import expected_return, markov_return
from marlspec.reference.solution.sequential import best_response, is_nash, is_pareto_optimal, regret

HALF = Fraction(1, 2)
SEEDS = st.integers(0, 2**32)


def with_own(policy, i, own):
    return (*policy[:i], own, *policy[i + 1 :])


def deterministic_rows(n_states, count):
    """All deterministic Markov policies of one agent, terminal state included."""
    for chosen in product(range(count), repeat=n_states):
        yield np.eye(count, dtype=int)[list(chosen)].astype(object)


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from([Fraction(0), HALF, Fraction(9, 10)]))
def test_a_markov_best_response_is_the_best_deterministic_policy(random_game, random_markov_policy, seed, gamma):
    game = random_game(seed, n_states=2)
    policy = random_markov_policy(seed, game)
    for i, count in enumerate(game.n_actions):
        found = best_response(game, policy, i, gamma=gamma)
        tried = [
            markov_return(game, with_own(policy, i, rows), gamma)[i]
            for rows in deterministic_rows(game.n_states, count)
        ]
        assert found.value == max(tried)
        assert markov_return(game, with_own(policy, i, found.policy), gamma)[i] == found.value
        assert found.exact


def own_histories(game, i, horizon):
    """All sequences of own observations, reachable or not."""
    for length in range(1, horizon + 1):
        yield from product(range(game.n_observations[i]), repeat=length)


def deterministic_functions(game, i, horizon):
    """All deterministic history policies of one agent."""
    count, histories = game.game.n_actions[i], [*own_histories(game, i, horizon)]
    for chosen in product(range(count), repeat=len(histories)):
        table = dict(zip(histories, np.eye(count, dtype=int)[list(chosen)].tolist(), strict=True))
        yield table.__getitem__


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.sampled_from([HALF, Fraction(1)]))
def test_a_history_best_response_is_the_best_deterministic_policy(random_posg, random_history_policy, seed, gamma):
    """Own actions are not observed here: the search remembers them, and yet its policy reads observations alone."""
    game = random_posg(seed, n_agents=2, n_states=2)
    policy = random_history_policy(seed, game)
    for i in range(2):
        found = best_response(game, policy, i, gamma=gamma, horizon=2)
        functions = deterministic_functions(game, i, 2)
        tried = [expected_return(game, with_own(policy, i, function), 2, gamma)[i] for function in functions]
        assert found.value == max(tried)
        assert expected_return(game, with_own(policy, i, found.policy), 2, gamma)[i] == found.value
        assert found.exact


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_regret_is_what_the_best_response_gains(random_game, random_markov_policy, seed):
    game = random_game(seed)
    policy = random_markov_policy(seed, game)
    reached = markov_return(game, policy)
    gains = [best_response(game, policy, i).value - reached[i] for i in range(game.n_agents)]
    assert regret(game, policy).tolist() == gains
    assert min(gains) >= 0
    assert is_nash(game, policy, max(gains))
    assert max(gains) == 0 or not is_nash(game, policy, max(gains) / 2)


@pytest.mark.parametrize("name", ["prisoners-dilemma", "chicken", "stag-hunt", "climbing", "matching-pennies"])
def test_one_step_and_repeated_games_agree_with_the_normal_form(name):
    game = get(name)
    uniform = tuple([Fraction(1, count)] * count for count in game.n_actions)
    pure = tuple([1] + [0] * (count - 1) for count in game.n_actions)
    equilibria = nash.support_enumeration(game).profiles if game.n_agents == 2 else ()
    for profile in (uniform, pure, *equilibria):
        required = nash.regret(game, profile)
        once = [[mix, mix] for mix in profile]
        assert regret(one_step(game), once).tolist() == required.tolist()
        for_ever = [[mix] for mix in profile]
        assert regret(repeated(game, HALF), for_ever).tolist() == (2 * required).tolist()
        watched = [lambda own, mix=mix: mix for mix in profile]
        assert regret(full_observation(repeated(game, 1)), watched, horizon=2).tolist() == (2 * required).tolist()
    assert all(is_nash(repeated(game, HALF), [[mix] for mix in profile]) for profile in equilibria)


# The Prisoner's Dilemma, repeated


def grim(game, i):
    """Cooperate until anyone has defected."""
    labels = game.observation_labels[i]
    return lambda own: [0, 1] if any("D" in labels[o] for o in own) else [1, 0]


def defect(own):
    return [0, 1]


def test_over_a_known_number_of_rounds_grim_trigger_is_no_equilibrium():
    """The last round has no future to fear: defecting there gains 1, and no more can be gained."""
    game = full_observation(repeated(get("prisoners-dilemma"), 1))
    policy = (grim(game, 0), grim(game, 1))
    assert regret(game, policy, horizon=3).tolist() == [1, 1]
    assert not is_nash(game, policy, horizon=3)
    assert is_nash(game, policy, 1, horizon=3)
    found = best_response(game, policy, 0, horizon=3)
    mutual = game.observation_labels[0].index("play | C, C")
    start = (0,)
    assert found.policy(start) == (1, 0)
    assert found.policy((*start, mutual)) == (1, 0)
    assert found.policy((*start, mutual, mutual)) == (0, 1)
    assert is_nash(game, (defect, defect), horizon=3)


def test_the_others_are_not_asked_after_the_end():
    game = state_observation(one_step(get("prisoners-dilemma")))

    def once(own):
        assert own == (0,)
        return [1, 0]

    assert best_response(game, (once, once), 0, horizon=3).value == 0


def test_without_sight_of_the_other_there_is_no_threat():
    """Grim trigger sees its own action alone: it never triggers, and defecting gains 1 in each of three rounds."""
    game = own_action_observation(repeated(get("prisoners-dilemma"), 1))
    assert regret(game, (grim(game, 0), grim(game, 1)), horizon=3).tolist() == [3, 3]


def dilemma_with_memory(gamma):
    """The state remembers whether anyone has ever defected: grim trigger becomes a Markov policy."""
    game = get("prisoners-dilemma")
    successors = np.array([[[[0], [1]], [[1], [1]]], [[[1], [1]], [[1], [1]]]])
    rewards = np.stack([game.payoffs, game.payoffs], axis=1)
    return StochasticGame.from_outcomes(
        successors, np.ones_like(successors), rewards, [1, 0], [False, False], gamma=gamma
    )


@pytest.mark.parametrize(
    ("gamma", "gain"), [(Fraction(1, 3), 0), (HALF, 0), (Fraction(3, 10), Fraction(1, 7)), (Fraction(0), 1)]
)
def test_without_end_grim_trigger_is_an_equilibrium_for_patient_agents(gamma, gain):
    """Cooperation is worth -1/(1-gamma); defecting once 0, then -3 gamma/(1-gamma): as much at gamma = 1/3."""
    trigger = [[1, 0], [0, 1]]
    assert regret(dilemma_with_memory(gamma), (trigger, trigger)).tolist() == [gain, gain]
    assert is_nash(dilemma_with_memory(gamma), (trigger, trigger)) == (gain == 0)


def test_an_agent_that_observes_nothing_new_must_commit():
    """A state that is drawn anew is of no use to the one who does not see it."""
    game = StochasticGame([[[0, 0, 1]] * 2] * 3, [[[1, 0], [0, 1], [0, 0]]], [HALF, HALF, 0], [False, False, True])
    blind = POSG(game, [np.ones((2, 3, 1), dtype=int)], [np.ones((3, 1), dtype=int)])
    assert best_response(blind, (defect,), 0, horizon=1).value == HALF
    assert best_response(state_observation(game), (defect,), 0, horizon=1).value == 1


def test_floats_are_judged_as_the_dyadic_numbers_that_they_are():
    game = repeated(get("matching-pennies"), 0.5).as_float64()
    assert regret(game, ([[0.5, 0.5]], [[0.5, 0.5]])).tolist() == [0, 0]
    found = regret(game, ([[0.75, 0.25]], [[0.5, 0.5]]))
    assert found.tolist() == [0, 1]
    assert all(isinstance(value, Fraction) for value in found)
    watched = state_observation(repeated(get("matching-pennies"), HALF)).as_float64()
    policy = (lambda own: [0.75, 0.25], lambda own: [0.5, 0.5])
    assert regret(watched, policy, horizon=2).tolist() == [0, Fraction(3, 4)]
    thirds = StochasticGame(
        [[[0.1, 0.2, 0.7]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]],
        np.zeros((1, 3, 1)),
        [1.0, 0.0, 0.0],
        [False, True, True],
    )
    assert regret(thirds, ([[1], [1], [1]],)).tolist() == [0]


def test_several_agents_and_a_staged_game():
    game = from_staged(get("two-step"))
    best = ([[0, 1], [1, 0], [0, 1], [1, 0]], [[1, 0], [1, 0], [0, 1], [1, 0]])
    assert is_nash(game, best)
    assert is_pareto_optimal(game, best).answer == "yes"
    safe = ([[1, 0], [1, 0], [1, 0], [1, 0]], [[1, 0], [1, 0], [1, 0], [1, 0]])
    assert is_nash(game, safe)  # agent 1 alone cannot turn the 0 of stage 2B into 8
    verdict = is_pareto_optimal(game, safe)
    assert verdict.answer == "no"
    assert markov_return(game, verdict.dominated_by).tolist() > markov_return(game, safe).tolist()


# Pareto optimality


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_pareto_agrees_with_a_plain_loop_over_all_policies(random_game, seed):
    game = random_game(seed, n_agents=2, n_states=1)
    rows = [[*deterministic_rows(2, count)] for count in game.n_actions]
    returns = {k: markov_return(game, policy).tolist() for k, policy in enumerate(product(*rows))}
    for k, policy in enumerate(product(*rows)):
        own = returns[k]
        dominated = any(all(a >= b for a, b in zip(u, own, strict=True)) and u != own for u in returns.values())
        verdict = is_pareto_optimal(game, policy)
        assert verdict.answer == ("no" if dominated else "yes")
        assert verdict.returns.tolist() == own
        if dominated:
            better = markov_return(game, verdict.dominated_by)
            assert all(better >= verdict.returns)
            assert any(better > verdict.returns)


def test_defection_is_dominated_and_cooperation_is_not():
    game = repeated(get("prisoners-dilemma"), HALF)
    verdict = is_pareto_optimal(game, ([[0, 1]], [[0, 1]]))
    assert verdict.answer == "no"
    assert [rows.tolist() for rows in verdict.dominated_by] == [[[1, 0]], [[1, 0]]]
    assert is_pareto_optimal(game, ([[1, 0]], [[1, 0]])).answer == "yes"


def test_history_policies_are_enumerated_too():
    """Own actions alone are observed: three own histories, eight policies of each agent."""
    game = own_action_observation(repeated(get("prisoners-dilemma"), 1))
    verdict = is_pareto_optimal(game, (defect, defect), horizon=2)
    assert verdict.answer == "no"
    assert (expected_return(game, verdict.dominated_by, 2) > [-6, -6]).all()
    assert is_pareto_optimal(game, (grim(game, 0), grim(game, 1)), horizon=2).answer == "yes"


def test_only_histories_that_play_can_reach_are_enumerated(monkeypatch):
    """After the first round the state is terminal: one own history, two actions, four joint policies."""
    monkeypatch.setattr(sequential, "MAX_POLICIES", 4)
    game = full_observation(one_step(get("prisoners-dilemma")))
    assert is_pareto_optimal(game, (defect, defect), horizon=5).answer == "no"
    monkeypatch.setattr(sequential, "MAX_POLICIES", 3)
    with pytest.raises(InputError, match="more than 3 deterministic joint policies"):
        is_pareto_optimal(game, (defect, defect), horizon=5)


def test_too_many_markov_policies_are_refused():
    game = from_staged(get("two-step"))
    large = StochasticGame.from_outcomes(
        np.zeros((30, 9, 9, 1), dtype=int),
        np.ones((30, 9, 9, 1), dtype=int),
        np.zeros((2, 30, 9, 9), dtype=int),
        [1] + [0] * 29,
        [False] * 30,
        gamma=HALF,
    )
    uniform = tuple(np.full((30, 9), Fraction(1, 9)) for _ in range(2))
    with pytest.raises(InputError, match="more than 20000 deterministic joint policies"):
        is_pareto_optimal(large, uniform)
    assert is_pareto_optimal(game, tuple(np.full((4, 2), HALF) for _ in range(2))).answer == "no"


# Bad input


def test_bad_calls_are_refused():
    game = repeated(get("prisoners-dilemma"), HALF)
    policy = ([[1, 0]], [[1, 0]])
    watched = full_observation(game)
    with pytest.raises(InputError, match="there is no agent 2"):
        best_response(game, policy, 2)
    with pytest.raises(InputError, match="Markov policies of a StochasticGame are judged over episodes without a cut"):
        regret(game, policy, horizon=3)
    with pytest.raises(InputError, match="Markov policies of a StochasticGame are judged over episodes without a cut"):
        best_response(game, policy, 0, horizon=3)
    with pytest.raises(InputError, match="say how many steps"):
        regret(watched, (defect, defect))
    with pytest.raises(InputError, match="say how many steps"):
        is_pareto_optimal(watched, (defect, defect))
    with pytest.raises(InputError, match="a number of steps from 0"):
        regret(watched, (defect, defect), horizon=-1)
    with pytest.raises(InputError, match="epsilon is -1"):
        is_nash(game, policy, -1)
    with pytest.raises(InputError, match="epsilon is nan"):
        is_nash(game, policy, float("nan"))
    with pytest.raises(InputError, match="not an array of shape"):
        regret(game, np.full((1, 2, 2), Fraction(1, 4)))
    with pytest.raises(InputError, match="a history policy is a tuple of 2 functions"):
        regret(watched, lambda observed: [[1, 0], [0, 0]], horizon=2)
    with pytest.raises(InputError, match="a discount is"):
        regret(game, policy, gamma=2)
    with pytest.raises(InputError, match="some policy never reaches a terminal state"):
        best_response(game, policy, 0, gamma=1)


def test_a_search_that_grows_too_large_is_stopped(monkeypatch):
    monkeypatch.setattr(sequential, "MAX_SEARCHED_HISTORIES", 10)
    game = full_observation(repeated(get("prisoners-dilemma"), 1))
    with pytest.raises(InputError, match="more than 10 histories of agent 1 have to be searched"):
        best_response(game, (lambda own: [HALF, HALF], defect), 1, horizon=4)


def test_a_game_for_one_agent_has_a_best_policy_and_no_regret():
    game = repeated(NormalFormGame([[3, 5, 4]]), HALF)
    found = best_response(game, ([[1, 0, 0]],), 0)
    assert found.value == 10
    assert found.policy.tolist() == [[0, 1, 0]]
    assert regret(game, (found.policy,)).tolist() == [0]
