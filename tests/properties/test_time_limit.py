"""Slow targets: each claim has a time limit, and a verdict that was cut short says so.

Time is counted by the targets' calls where it can be, so that no test depends on the machine's speed.
"""

import signal
import time

import numpy as np
import pytest

from marlspec.errors import InputError
from marlspec.properties import check, clock
from marlspec.properties.commands import check_command
from marlspec.properties.judge import replay


@pytest.fixture
def ticking(monkeypatch):
    """A clock that stands still but for ticks."""
    now = [0.0]
    monkeypatch.setattr(clock, "perf_counter", lambda: now[0])

    def tick():
        now[0] += 1

    return tick


@pytest.fixture
def slow_update(ticking):
    """Tabular Q-learning that takes a second for each call; wrong by a factor where it is told so."""

    def factory(factor=1.0):
        def update(q, s, a, r, next_s, terminated, alpha, gamma):
            ticking()
            q = q.copy()
            following = 0.0 if terminated else q[next_s].max()
            q[s, a] += factor * alpha * (r + gamma * following - q[s, a])
            return q

        return update

    return factory


def test_a_search_that_is_cut_says_on_how_many_inputs_it_stands(slow_update):
    report = check(slow_update, "tabular_update", claims=["iql.update"], time_limit=150)
    (verdict,) = report.verdicts
    assert (verdict.outcome, verdict.examples) == ("holds", 150)
    assert "no counterexample in 150, cut at 150 s" in verdict.method
    assert report.ok


def test_each_claim_has_a_time_of_its_own(slow_update):
    report = check(slow_update, "tabular_update", claims=["iql.update", "iql.others"], time_limit=150)
    assert [verdict.examples for verdict in report.verdicts] == [150, 150]


def test_too_few_inputs_by_then_are_an_error_that_names_the_way_out(slow_update):
    report = check(slow_update, "tabular_update", claims=["iql.update"], time_limit=60)
    assert report.exit_code == 2
    assert "only 60 distinct inputs were tried when the time was up at 60 s" in report.verdicts[0].reason
    assert "--time-limit" in report.verdicts[0].reason


def test_a_counterexample_stands_although_it_is_not_made_smaller(slow_update):
    report = check(
        slow_update, "tabular_update", claims=["iql.update"], settings={"factor": 2.0}, time_limit=3, examples=200
    )
    (verdict,) = report.verdicts
    assert verdict.outcome == "refuted"
    assert "not made smaller any more, cut at 3 s" in verdict.reason
    assert replay(report.witnesses[0], slow_update) is not None


def test_enough_time_leaves_no_word_in_the_verdict(slow_update):
    report = check(slow_update, "tabular_update", claims=["iql.update"], time_limit=1e6)
    assert "cut" not in report.verdicts[0].method + report.verdicts[0].reason


@pytest.mark.parametrize("engine", ["hypothesis", "plain"])
def test_searches_over_batches_are_cut_too(ticking, engine):
    def factory(n_agents, state_size):
        def mix(utilities, state):
            ticking()
            return utilities.sum(-1)

        return mix

    options = {"claims": ["mixer.finite"], "sizes": [(2, 3)], "engine": engine}
    whole = check(factory, "mixer", time_limit=1e6, **options).verdicts[0]
    cut = check(factory, "mixer", time_limit=20, **options).verdicts[0]
    assert cut.outcome == "holds"
    assert 100 <= cut.examples < whole.examples
    assert "cut at 20 s" in cut.method
    assert "cut" not in whole.method


def endless():
    def update(*arguments):
        while True:
            time.sleep(0.01)

    return update


def test_a_call_that_never_returns_is_interrupted():
    report = check(endless, "tabular_update", claims=["iql.update"], time_limit=0.1)
    assert report.exit_code == 2
    assert "nothing was decided after 0.2 s" in report.verdicts[0].reason


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs the alarm of Unix")
def test_an_alarm_of_the_callers_own_goes_on(slow_update):
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        check(slow_update, "tabular_update", claims=["iql.update"], time_limit=150)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), "3"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(InputError, match="time_limit must be a positive number"):
        check(endless, "tabular_update", time_limit=limit)


def test_the_command_takes_a_limit(tmp_path, monkeypatch, capsys):
    (tmp_path / "endless.py").write_text(
        "import time\n\ndef update():\n    return lambda *arguments: time.sleep(60)\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert check_command(["endless.py:update", "--role", "tabular_update", "--time-limit", "0.05"]) == 2
    assert "twice the time limit" in " ".join(capsys.readouterr().out.split())


# --- other targets that are no ordinary functions ---------------------------------------------------------------------


def rule(q, s, a, r, next_s, terminated, alpha, gamma):
    q = q.copy()
    q[s, a] += alpha * (r + gamma * (0.0 if terminated else q[next_s].max()) - q[s, a])
    return q


def writing():
    def update(q, *rest):
        answer = rule(q, *rest)
        q[:] = answer
        return q

    return update


def exiting():
    def update(*arguments):
        raise SystemExit(0)

    return update


def same_memory():
    """Right, and every answer lies where the last one lay."""
    room = np.zeros((8, 8))

    def update(q, *rest):
        view = room[: q.shape[0], : q.shape[1]]
        view[:] = rule(q, *rest)
        return view

    return update


def talkative():
    def update(*arguments):
        print("updating")
        return rule(*arguments)

    return update


def random():
    def update(*arguments):
        np.random.seed(0)
        return rule(*arguments) + 0.25 * (np.random.rand() > 2)

    return update


def single():
    return lambda *arguments: rule(*arguments).astype(np.float32)


@pytest.mark.parametrize(
    ("factory", "words"), [(writing, "wrote into its argument 0"), (exiting, "raised SystemExit: 0")]
)
def test_what_cannot_be_judged_is_an_error(factory, words):
    report = check(factory, "tabular_update", claims=["iql.update"])
    assert report.exit_code == 2
    assert words in report.verdicts[0].reason


@pytest.mark.parametrize("factory", [same_memory, talkative, random, single])
def test_odd_but_right_targets_keep_their_promises(factory):
    before = np.random.get_state()[1].copy()
    report = check(factory, "tabular_update", examples=110)
    assert report.exit_code == 0, report.verdicts
    assert (np.random.get_state()[1] == before).all(), "the caller's random state is as it was"
