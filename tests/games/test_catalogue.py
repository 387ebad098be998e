from fractions import Fraction

import pytest

from marlspec.errors import InputError
from marlspec.games.catalogue import GAMES, catalogue, get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import StagedGame
from marlspec.games.stochastic import StochasticGame

COMMON_REWARD = {"linear", "monotonic", "climbing", "penalty", "or", "2b", "qtran", "coordination"}
NO_CONFLICT = COMMON_REWARD | {"stag-hunt"}
ZERO_SUM = {"matching-pennies", "rock-paper-scissors"}
STAGED = {"two-step", "two-step-book"}
STOCHASTIC = {"foraging", "goals"}


def pure_equilibria(game):
    """Joint actions from which no agent gains by leaving alone."""
    stable = []
    for a in game.joint_actions():
        deviations = [
            game.payoff(i, (*a[:i], b, *a[i + 1 :])) <= game.payoff(i, a)
            for i in range(game.n_agents)
            for b in range(game.n_actions[i])
        ]
        if all(deviations):
            stable.append(game.label(a))
    return stable


@pytest.mark.parametrize("name", GAMES)
def test_every_game_is_exact_cited_and_of_its_kind(name):
    game = get(name)
    assert game == catalogue()[name]
    assert game.exact
    assert game.citation
    assert game.name
    assert name == name.lower()
    assert (name in STAGED) == isinstance(game, StagedGame)
    assert (name in STOCHASTIC) == isinstance(game, StochasticGame)
    assert game.is_common_reward == (name in COMMON_REWARD | STAGED | STOCHASTIC)
    if isinstance(game, NormalFormGame):
        assert game.is_no_conflict == (name in NO_CONFLICT)
        assert game.is_zero_sum == (name in ZERO_SUM)


@pytest.mark.parametrize(
    ("name", "equilibria"),
    [
        ("prisoners-dilemma", ["(D, D)"]),
        ("chicken", ["(S, L)", "(L, S)"]),
        ("stag-hunt", ["(A, A)", "(B, B)"]),
        ("climbing", ["(A, A)", "(B, B)"]),
        ("penalty", ["(A, C)", "(B, B)", "(C, A)"]),
        ("matching-pennies", []),
        ("rock-paper-scissors", []),
        ("battle-of-the-sexes", ["(B, B)", "(S, S)"]),
        ("coordination:3x2", ["(A, A, A)", "(B, B, B)"]),
        ("qtran", ["(A, A)", "(B, B)", "(B, C)", "(C, B)", "(C, C)"]),
    ],
)
def test_pure_equilibria_are_those_of_the_literature(name, equilibria):
    assert pure_equilibria(get(name)) == equilibria


def test_payoffs_are_read_agent_by_agent():
    dilemma = get("prisoners-dilemma")
    assert [dilemma.payoff(i, (0, 1)) for i in range(2)] == [-5, 0]
    chicken = get("chicken")
    assert [chicken.payoff(i, (0, 1)) for i in range(2)] == [7, 2]
    assert [chicken.payoff(i, (1, 1)) for i in range(2)] == [6, 6]


def test_two_step_games_have_the_published_optimal_values():
    qmix, book = get("two-step"), get("two-step-book")
    assert qmix.gamma == Fraction(99, 100)
    assert [[float(v) for v in row] for row in qmix.optimal_action_values()[0]] == [[6.93, 6.93], [7.92, 7.92]]
    assert book.gamma == 1
    assert book.optimal_action_values()[0].tolist() == [[9, 9], [10, 10]]


def test_parameters_are_read():
    assert get("penalty:-10").payoff(0, (0, 0)) == -10
    assert get("penalty:-5/2").payoff(1, (2, 2)) == Fraction(-5, 2)
    assert get("penalty:0").is_common_reward
    game = get("coordination:4x3")
    assert game.n_actions == (3, 3, 3, 3)
    assert [a for a in game.joint_actions() if game.payoff(0, a)] == [(k,) * 4 for k in range(3)]
    assert get("goals:2").n_agents == 2
    assert get("goals").n_agents == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("climbin", "did you mean climbing"),
        ("Climbing", "did you mean climbing"),
        ("qmix", "the games are linear, monotonic"),
        ("climbing:3", "climbing takes no parameter"),
        ("penalty:3", "must not be positive; try penalty:-3"),
        ("penalty:", "is no number"),
        ("penalty:1/0", "is no number"),
        ("penalty:nan", "is no number"),
        ("coordination:4", "coordination:4x3"),
        ("coordination:0x3", "at least one agent"),
        ("coordination:99x99", "at most 1000000 joint actions"),
        ("goals:2x3", "write the number of agents, for example goals:2"),
        ("goals:0", "at least one agent and two cells"),
        ("goals:99", "more than 200000 pairs"),
        ("foraging:2", "foraging takes no parameter"),
        ("", "the games are"),
    ],
)
def test_what_cannot_be_found_is_explained(name, message):
    with pytest.raises(InputError, match=message):
        get(name)
