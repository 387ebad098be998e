"""Where tabular learners end: what is judged, what the train command prints, and what the literature expects."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from marlspec.cli import run
from marlspec.errors import InputError
from marlspec.games.catalogue import catalogue, climbing, get
from marlspec.games.matrix import NormalFormGame
from marlspec.games.stochastic import StochasticGame, one_step, repeated
from marlspec.reference.parts.end_points import PolicyJudge, best_return, end_points, in_words, wilson
from marlspec.reference.parts.many_seeds import ManyCQL, ManyIQL
from marlspec.reference.parts.tabular_config import CQLConfig, TabularConfig
from marlspec.reference.parts.tabular_report import GameOptions, as_stochastic, cells, prepared
from marlspec.reference.solution.expected_return import markov_return
from marlspec.reference.solution.nash import is_nash
from marlspec.reference.solution.optimal import optimal_action_values
from marlspec.reference.solution.pareto import pareto_optimal_actions
from marlspec.reference.solution.profiles import pure_profile
from marlspec.reference.solution.sequential import is_nash as is_markov_nash

pytestmark = [pytest.mark.long, pytest.mark.thorough]

COMMON_REWARD = [name for name, game in catalogue().items() if game.is_common_reward]
LARGE = {
    "foraging": ["--steps", "4000", "--horizon", "50"],
    "goals": ["--steps", "12000", "--horizon", "50"],
}
EXAMPLES = Path(__file__).parents[3] / "examples"
CQL_SETTINGS = {"seeds": 20, "epsilon_end": 1.0, "alpha_start": 1.0, "alpha_end": 1.0}
IQL_SETTINGS = {"seeds": 60, "steps": 1200, "epsilon_steps": 800}


def ends_of(name, **settings):
    """Return how many seeds of IQL end at each joint policy of a matrix game."""
    learner = ManyIQL(one_step(get(name)), TabularConfig(**{**IQL_SETTINGS, **settings}))
    learner.run(learner.config.steps)
    return Counter({point.policy: len(point.seeds) for point in end_points(learner)})


@pytest.mark.parametrize("name", [name for name in COMMON_REWARD if name not in LARGE])
def test_cql_reaches_the_optimum_in_every_seed(name):
    """Random joint actions throughout, and alpha = 1, which is enough where nothing is left to chance.

    A seed misses one of at most 9 joint actions in 300 steps of one state with a chance below 1e-14.
    """
    game = as_stochastic(get(name))
    learner = ManyCQL(game, CQLConfig(**CQL_SETTINGS, scalarisation="agent:0"))
    learner.run(300)
    optimal = optimal_action_values(game.as_float64())
    np.testing.assert_allclose(learner.q, np.broadcast_to(optimal, learner.q.shape), atol=1e-12)
    best = best_return(game, learner.gamma)
    judgements = [judgement for point in end_points(learner) for judgement in point.judgements]
    assert [judgement.returns[0] for judgement in judgements] == [pytest.approx(best)] * 20
    assert {judgement.pareto for judgement in judgements} == {"yes"}


@pytest.mark.parametrize("name", LARGE)
def test_cql_reaches_the_optimum_of_large_games_in_every_seed(name):
    """The same from the command line, which also keeps the type checks of tests out of the many time steps."""
    options = ["--seeds", "20", "--epsilon-end", "1", "--alpha-start", "1", "--alpha-end", "1", *LARGE[name]]
    command = ["train", "cql", name, "--scalarisation", "agent:0", *options]
    code = "from marlspec.cli import main; main()"
    out = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines() if "%" in line and "interval" not in line]
    best = f"{best_return(get(name), float(get(name).gamma)):.6g}"
    assert [row[-3:] for row in rows] == [[best, "yes", "yes"]] * len(rows)
    assert sum(int(row[row.index("%") - 2]) for row in rows) == 20


def test_iql_reaches_the_optimum_of_penalty_the_less_the_deeper_the_penalty():
    """Shares of (A, C) or (C, A): about 99 %, 14 % and 0 %. 60 seeds confuse two of them with a chance below 1e-3."""
    ends = [ends_of(f"penalty:{k}") for k in (0, -25, -100)]
    optimal = [found["(A, C)"] + found["(C, A)"] for found in ends]
    assert wilson(optimal[0], 60)[0] > 0.85
    assert wilson(optimal[1], 60)[1] < 0.5
    assert optimal[2] == 0
    assert ends[2]["(B, B)"] == 60


def test_iql_never_ends_in_the_best_equilibrium_of_climbing():
    """From wide exploration it walks from (C, C) by (C, B) towards (B, B), and not one step towards (A, A)."""
    ends = ends_of("climbing")
    assert set(ends) <= {"(C, C)", "(C, B)", "(B, B)"}
    assert wilson(ends["(A, A)"], 60)[1] < 0.07


def test_iql_mostly_ends_in_the_safe_equilibrium_of_stag_hunt():
    """Of 200 seeds all or all but one or two. That 60 seeds leave the interval below 0.8 has a chance below 1e-4."""
    ends = ends_of("stag-hunt")
    assert wilson(ends["(B, B)"], 60)[0] > 0.8
    assert set(ends) <= {"(A, A)", "(B, B)"}


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 2, 2, 2)])
def test_matrix_games_are_judged_as_the_exact_solvers_judge_them(shape):
    game = NormalFormGame(np.random.default_rng(0).integers(-3, 4, size=shape))
    judge = PolicyJudge(one_step(game), 1.0)
    repeated_judge = PolicyJudge(repeated(game, Fraction(3, 4)), 0.75)
    optimal = pareto_optimal_actions(game)
    for j, a in enumerate(game.joint_actions()):
        judgement = judge(np.array([j, 0]))
        assert judgement.returns == tuple(game.rewards(a))
        assert judgement.nash == is_nash(game, pure_profile(game, a))
        assert (judgement.pareto == "yes") == optimal[a]
        again = repeated_judge(np.array([j]))
        assert again.returns == pytest.approx([4 * own for own in game.rewards(a)])
        assert (again.nash, again.pareto) == (judgement.nash, judgement.pareto)


def test_sequential_games_are_judged_as_the_exact_solvers_judge_them(chance):
    judge = PolicyJudge(chance, 0.875)
    generator = np.random.default_rng(0)
    verdicts = Counter()
    best = np.array([3, 3, 3, 0])
    for choices in [*generator.integers(0, 6, size=(2, 4)), *improved(chance, best)]:
        actions = np.unravel_index(choices, chance.n_actions)
        policy = tuple(np.eye(count, dtype=int)[own] for own, count in zip(actions, chance.n_actions, strict=True))
        judgement = judge(choices)
        assert judgement.returns == pytest.approx(markov_return(chance, policy).astype(float))
        assert judgement.nash == is_markov_nash(chance, policy)
        verdicts[judgement.nash] += 1
    assert verdicts[False]


def improved(game, choices):
    """Let the agents take turns at best responses, and yield every joint policy on the way."""
    from marlspec.reference.parts.end_points import process_of_agent
    from marlspec.reference.solution.decisions import optimum

    for turn in range(2):
        i = turn % game.n_agents
        actions = list(np.unravel_index(choices, game.n_actions))
        actions[i] = optimum(process_of_agent(game.as_float64(), choices, i), 0.875).choices
        choices = np.ravel_multi_index(actions, game.n_actions)
        yield choices


def test_in_common_reward_games_only_the_best_return_is_pareto_optimal():
    judge = PolicyJudge(as_stochastic(get("two-step")), 0.99)
    answers = [judge(np.array([first, 0, last, 0])) for first in (0, 2) for last in (0, 3)]
    assert [a.pareto for a in answers] == ["no", "no", "no", "yes"]
    assert [a.returns[0] for a in answers] == pytest.approx([6.93, 6.93, 0, 7.92])
    assert [a.nash for a in answers] == [True, False, False, True]


def test_too_many_policies_leave_pareto_optimality_unknown():
    n_states, n_actions = 12, 3
    transitions = np.zeros((n_states, n_actions, n_actions, n_states), dtype=int)
    transitions[..., 0] = 1
    rewards = np.arange(2)[:, None, None, None] + np.zeros((2, n_states, n_actions, n_actions), dtype=int)
    game = StochasticGame(transitions, rewards, [1] + [0] * 11, [False] * n_states, gamma=Fraction(1, 2))
    judgement = PolicyJudge(game, 0.5)(np.zeros(n_states, dtype=int))
    assert (judgement.returns, judgement.nash, judgement.pareto) == ((0.0, 2.0), True, "unknown")


def test_policies_in_words():
    game = one_step(climbing())
    greedy = np.zeros((2, 3, 3), dtype=bool)
    greedy[0, 0, 1] = True
    assert in_words(game, greedy, (0.0,)) == "(A, B)"
    greedy[0, 2, 0] = True
    assert in_words(game, greedy, (0.0,)) == "(A, B) or (C, A)"
    greedy[0, 1] = True
    assert in_words(game, greedy, (0.0,)) == "one of 5 joint actions"
    greedy[0] = True
    assert in_words(game, greedy, (0.0,)) == "anything"


def test_policies_of_several_states_in_words(chance):
    staged = as_stochastic(get("two-step"))
    greedy = np.ones((4, 2, 2), dtype=bool)
    greedy[0] = [[False, False], [False, True]]
    assert in_words(staged, greedy, (0.0,)) == f"{staged.state_labels[0]} (B, B); {staged.state_labels[2]} anything"
    chain = np.eye(6, dtype=int)[[1, 2, 3, 4, 5, 5]].reshape(6, 1, 6)
    long = StochasticGame(chain, [[[1]] * 5 + [[0]]], [1, 0, 0, 0, 0, 0], [False] * 5 + [True])
    assert in_words(long, np.ones((6, 1), dtype=bool), (5.0,)) == "comes by more than 4 states; worth 5"


def test_seeds_are_counted_together_where_they_act_alike():
    learner = ManyIQL(as_stochastic(get("two-step")), TabularConfig(seeds=4))
    for k, (first, second) in enumerate([(0, 1), (1, 1), (1, 1), (1, 0)]):
        for q in learner.q:
            q[k, 0, first] = q[k, 2, second] = 1.0
    points = end_points(learner)
    assert [point.seeds for point in points] == [(1, 2), (0,), (3,)]
    assert cells(points[0], 4)[1:6] == ("2", "50.0 %", "15.0 - 85.0 %", "7.92", "yes")
    assert [cells(point, 4)[-1] for point in points] == ["yes", "no", "no"]


def test_seeds_that_differ_only_elsewhere_may_be_judged_differently():
    learner = ManyIQL(as_stochastic(get("two-step")), TabularConfig(seeds=3))
    for k, second in enumerate([0, 1, 1]):
        learner.q[0][k, 0, 0] = learner.q[1][k, 0, 0] = 1.0
        for q in learner.q:
            q[k, 2, second] = 1.0
    (point,) = end_points(learner)
    assert cells(point, 3)[-2] == "no (2), yes (1)"


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 200), (3, 20), (100, 200), (200, 200)])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_wilson_intervals_agree_with_scipy(successes, trials, confidence):
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert wilson(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 4)])
def test_intervals_of_nothing_are_refused(successes, trials):
    with pytest.raises(InputError, match="at least one trial"):
        wilson(successes, trials)


def test_a_repeated_game_is_cut_off_and_discounted():
    game, config = prepared(climbing(), TabularConfig(), GameOptions(repeated=25))
    assert (config.horizon, float(game.gamma), game.terminal.any()) == (25, 0.9, np.False_)
    game, _ = prepared(climbing(), TabularConfig(gamma=0.5), GameOptions(repeated=2))
    assert game.gamma == 0.5
    game, config = prepared(climbing(), TabularConfig(), GameOptions())
    assert (config.horizon, game.n_states) == (0, 2)


QUICK = ["--seeds", "3", "--steps", "300", "--epsilon-steps", "100"]


def test_train_prints_where_the_seeds_ended(capsys):
    assert run(["train", "cql", "climbing", "--alpha-start", "0.5", "--epsilon-end", "1", *QUICK]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.strip().startswith("(A, A)"))
    assert row.split() == ["(A,", "A)", "3", "100.0", "%", "43.9", "-", "100.0", "%", "11", "yes", "yes"]
    assert "The best return is 11." in out
    assert "300 steps of 3 seeds" in out


def test_train_iql_on_a_general_sum_game_and_on_a_repeated_one(capsys):
    assert run(["train", "iql", "stag-hunt", *QUICK]) == 0
    assert "Stag Hunt" in capsys.readouterr().out
    assert run(["train", "iql", "prisoners-dilemma", "--repeated", "4", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "Prisoner's Dilemma, repeated" in out
    assert "The best return" not in out


def test_train_cql_with_a_scalarisation(capsys):
    settings = ["--alpha-start", "0.5", "--alpha-end", "0.5", "--epsilon-end", "1", *QUICK]
    for text, policy in (("agent:0", "(S, L)"), ("agent:1", "(L, S)"), ("weighted:1,1", "(L, L)")):
        assert run(["train", "cql", "chicken", "--scalarisation", text, *settings]) == 0
        assert policy in capsys.readouterr().out


def test_the_same_seed_prints_the_same_table(capsys):
    outs = []
    for _ in range(2):
        run(["train", "iql", "two-step", "--seed", "5", *QUICK])
        outs.append(capsys.readouterr().out.split("\n", 1)[1])
    assert outs[0] == outs[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["iql", "two-step", "--repeated", "3"], "is no matrix game"),
        (["iql", "climbing", "--repeated", "3", "--horizon", "3"], "leave out --horizon"),
        (["iql", "climbing", "--repeated", "-3"], "repeated is -3"),
        (["iql", "climbing", "--repeated", "3", "--gamma", "1"], "never ends"),
        (["cql", "chicken", "--scalarisation", "agent:7"], "no agent 7"),
    ],
)
def test_mistakes_end_in_a_message_and_exit_code_2(capsys, arguments, message):
    assert run(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--gamma", "2"], ["--scalarisation", "sum"], ["--seeds", "0"]])
def test_wrong_options_exit_with_2(arguments):
    with pytest.raises(SystemExit) as exit_:
        run(["train", "iql", "climbing", *arguments])
    assert exit_.value.code == 2


def test_train_explains_its_options(capsys):
    with pytest.raises(SystemExit) as exit_:
        run(["train", "cql", "climbing", "--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--scalarisation", "--repeated", "--epsilon-steps", "--alpha-end"))


def test_tabular_training_does_not_load_torch():
    code = "import sys; from marlspec.cli import run; run(['train', 'iql', 'climbing', '--steps', '3']); "
    code += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import tabular_endpoints

    yield tabular_endpoints
    sys.modules.pop("tabular_endpoints", None)


def test_the_page_shows_every_game_and_is_the_same_each_time(example, tmp_path, monkeypatch):
    monkeypatch.setattr(example, "catalogue", lambda: {name: get(name) for name in ("linear", "chicken", "two-step")})
    results = example.measure(seeds=3, shorter=800)
    assert [optimum.name for optimum in results.optima] == ["linear", "two-step"], "those with a common reward"
    text = example.page(results)
    assert "| linear | 2 | 4 | 5 | 9 | " in text
    for (name, _), points in results.ends.items():
        assert f"### {get(name).name}" in text
        assert sum(len(point.seeds) for point in points) == 3
    assert list(results.walk) == [25 * k for k in range(1, 9)]
    example.draw(results, tmp_path / "figures" / "ends.png")
    assert (tmp_path / "figures" / "ends.png").stat().st_size > 10_000
    again = dict(example.trained("penalty:-25", replace(example.WIDE, seeds=3), 1, 800))
    assert again == {25: results.ends["penalty:-25", "explores widely first"]}


def test_the_expected_way_in_climbing_is_that_of_the_exact_policy_gradient(example):
    assert example.expected_path(climbing()) == [(2, 2), (2, 1), (1, 1)]
    assert example.taught_by_exploration(get("stag-hunt")) == [[2, 2.5], [2, 2.5]]
    assert example.taught_by_exploration(climbing())[1] == pytest.approx([-19 / 3, -17 / 3, 5 / 3])
    assert example.expected_path(get("penalty")) == [(1, 1)]
    assert example.expected_path(get("matching-pennies"))[0] == (0, 0), "no equilibrium: the way turns in a circle"
