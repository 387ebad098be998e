"""Games at the boundary: what is no game is an error that says what is missing, never a counterexample."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from marlspec.properties import check
from marlspec.properties.judge import replay
from marlspec.properties.reference_targets import game_of_chance, two_step_game

ENOUGH = 120


class OneRound:
    """A ParallelEnv of one step, whose parts are exchanged by the tests."""

    possible_agents = ("one", "two")

    seen = SimpleNamespace(contains=lambda value: np.shape(value) == (1,))

    def __init__(self):
        self.agents = []

    def observation_space(self, agent):
        return self.seen

    def action_space(self, agent):
        return Discrete.two

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        return self.everyone(np.zeros(1)), self.everyone({})

    def step(self, actions):
        answer = tuple(map(self.everyone, (np.zeros(1), 1.0, True, False, {})))
        self.agents = []
        return answer

    def everyone(self, value):
        return dict.fromkeys(self.possible_agents, value)


class Discrete:
    """Known by its name, as the package may not be there."""

    def __init__(self, n):
        self.n, self.start = n, 0


Discrete.two = Discrete(2)


def with_parts(base, **parts):
    return type("Changed", (base,), parts)


def reasons(factory, **options):
    report = check(factory, "game", examples=ENOUGH, **options)
    assert report.exit_code == 2
    assert not report.witnesses
    return report.verdicts[0].reason


def test_a_game_of_one_step_holds():
    report = check(OneRound, "game", examples=ENOUGH)
    assert report.exit_code == 0, [verdict.reason for verdict in report.verdicts]


def test_what_is_neither_kind_of_game_is_told_what_it_lacks():
    words = reasons(lambda: SimpleNamespace(n_agents=2, reset=None))
    assert "which is no PettingZoo ParallelEnv, and no BatchedGame as it lacks n_actions" in words


def test_an_environment_of_turns_is_told_how_to_convert_it():
    words = reasons(with_parts(OneRound, agent_iter=lambda self: ()))
    assert "an AEC environment" in words
    assert "aec_to_parallel" in words


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"reset": lambda self, seed=None: {}}, "reset() must return (observations, infos)"),
        ({"step": lambda self, actions: ({}, {}, {}, {})}, "step() must return (observations, rewards, terminations"),
        ({"step": lambda self, actions: 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_answers_of_a_wrong_kind(parts, words):
    assert words in reasons(with_parts(OneRound, **parts))


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        (
            "available",
            lambda game, state: torch.ones(1),
            "available has shape [1] and type float32; return truth",
        ),
        ("observe", lambda game, state: [0.0], "a game's answers are tensors, not list"),
        ("reset", lambda game, copies: 1 / 0, "ZeroDivisionError: division by zero (called as reset("),
        (
            "step",
            lambda game, state, actions: (state, actions),
            "step() must return (state, rewards, terminated",
        ),
    ],
)
def test_answers_of_a_batched_game_of_a_wrong_kind(name, answer, words):
    game = two_step_game()
    kind = type("Changed", (type(game),), {name: answer})
    assert words in reasons(lambda: with_state_of(kind, game))


def with_state_of(kind, game):
    made = object.__new__(kind)
    made.__dict__.update(vars(game))
    return made


def test_integer_rewards_of_a_batched_game_are_an_error():
    game = two_step_game()
    kind = type(
        "Whole",
        (type(game),),
        {"step": lambda self, state, actions: whole(super(kind, self).step(state, actions))},
    )

    def whole(answer):
        state, rewards, *flags = answer
        return state, rewards.long(), *flags

    assert "and type int64; return floats" in reasons(lambda: with_state_of(kind, game))


def test_a_witness_is_played_again():
    class Unending(OneRound):
        def step(self, actions):
            answer = super().step(actions)
            self.agents = list(self.possible_agents)
            return answer

    report = check(Unending, "game", claims=["game.terminal"], examples=ENOUGH)
    (witness,) = report.witnesses
    assert len(witness.case["choices"]) == 1
    assert replay(witness, Unending) is not None


def test_global_generators_are_left_as_they_were():
    torch.manual_seed(5)
    np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1]
    check(game_of_chance, "game", claims=["game.seed"], examples=20)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
