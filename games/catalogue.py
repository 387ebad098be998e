"""The named games of the field, exact, each with its citation."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from marlspec.errors import InputError
from marlspec.games.goals import goals
from marlspec.games.lbf import foraging
from marlspec.games.matrix import NormalFormGame
from marlspec.games.staged import TERMINAL, StagedGame
from marlspec.games.stochastic import StochasticGame

Game: TypeAlias = NormalFormGame | StagedGame | StochasticGame

BOOK = "Albrecht, Christianos and Schäfer, Multi-Agent Reinforcement Learning, MIT Press 2024"
LECTURE = f"{BOOK}, lecture slides, Multi-Agent Deep Reinforcement Learning, Part 1"
CLAUS = "Claus and Boutilier, The Dynamics of Reinforcement Learning in Cooperative Multiagent Systems, AAAI 1998"
QMIX = "Rashid et al., QMIX, ICML 2018, arXiv 1803.11485"
QTRAN = "Son et al., QTRAN, ICML 2019, arXiv 1905.05408"
OSBORNE = "Osborne and Rubinstein, A Course in Game Theory, MIT Press 1994"

MAX_COORDINATION_CELLS = 1_000_000


def prisoners_dilemma() -> NormalFormGame:
    """Prisoner's Dilemma with the book's numbers: cooperate (C) or defect (D)."""
    return NormalFormGame(
        [[[-1, -5], [0, -3]], [[-1, 0], [-5, -3]]],
        name="Prisoner's Dilemma",
        citation=f"{BOOK}, chapter 3",
        action_labels=[["C", "D"]] * 2,
    )


def chicken() -> NormalFormGame:
    """Chicken with the book's numbers: stay (S) or leave (L)."""
    return NormalFormGame(
        [[[0, 7], [2, 6]], [[0, 2], [7, 6]]],
        name="Chicken",
        citation=f"{BOOK}, chapter 4",
        action_labels=[["S", "L"]] * 2,
    )


def stag_hunt() -> NormalFormGame:
    """Stag Hunt as in the lecture: A is the risky best, B the safe choice."""
    return NormalFormGame([[[4, 0], [3, 2]], [[4, 3], [0, 2]]], name="Stag Hunt", citation=LECTURE)


def climbing() -> NormalFormGame:
    """Climbing: a deep penalty stands between the safe equilibrium (B, B) and the best one (A, A)."""
    return NormalFormGame.common_reward(
        [[11, -30, 0], [-30, 7, 0], [0, 6, 5]], name="Climbing", citation=f"{CLAUS}; laid out as in the lecture"
    )


def penalty(k: int | Fraction = -100) -> NormalFormGame:
    """Penalty(k), k <= 0: two best equilibria, and the price k of missing each other between them."""
    if k > 0:
        raise InputError(f"penalty:{k}: the penalty k must not be positive; try penalty:{-k}")
    return NormalFormGame.common_reward([[k, 0, 10], [0, 2, 0], [10, 0, k]], name=f"Penalty({k})", citation=CLAUS)


def linear() -> NormalFormGame:
    """Linear: the sum of two utilities."""
    return NormalFormGame.common_reward([[1, 5], [5, 9]], name="Linear", citation=f"{BOOK}, chapter 9")


def monotonic() -> NormalFormGame:
    """Monotonic: no sum of utilities, but a monotone function of them."""
    return NormalFormGame.common_reward([[0, 0], [0, 10]], name="Monotonic", citation=f"{BOOK}, chapter 9")


def disjunction() -> NormalFormGame:
    """OR: 10 as soon as one agent plays B; its best joint actions are no product set."""
    return NormalFormGame.common_reward([[0, 10], [10, 10]], name="OR", citation="this project, docs/proofs.md")


def qmix_second_stage() -> NormalFormGame:
    """Game 2B of the two-step game: strictly monotone and not additive."""
    return NormalFormGame.common_reward([[0, 1], [1, 8]], name="2B", citation=f"{QMIX}, two-step game, state 2B")


def two_step() -> StagedGame:
    """Two-step game of the QMIX paper: agent 1's first action leads to 2A (always 7) or to 2B (up to 8)."""
    return StagedGame(
        [
            NormalFormGame.common_reward([[0, 0], [0, 0]], name="1"),
            NormalFormGame.common_reward([[7, 7], [7, 7]], name="2A"),
            qmix_second_stage(),
        ],
        _first_agent_chooses(),
        gamma=Fraction(99, 100),
        name="Two-step game (QMIX)",
        citation=f"{QMIX}, two-step game",
    )


def two_step_book() -> StagedGame:
    """Two-step game of the book: agent 1's first action leads to Linear (best 9) or to Monotonic (best 10)."""
    return StagedGame(
        [NormalFormGame.common_reward([[0, 0], [0, 0]], name="first step"), linear(), monotonic()],
        _first_agent_chooses(),
        gamma=1,
        name="Two-step game (book)",
        citation=f"{BOOK}, chapter 9",
    )


def qtran() -> NormalFormGame:
    """The matrix game of the QTRAN paper: no monotone function of utilities represents it."""
    return NormalFormGame.common_reward(
        [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]], name="QTRAN matrix game", citation=f"{QTRAN}, matrix game"
    )


def matching_pennies() -> NormalFormGame:
    """Matching Pennies: agent 1 wins where the pennies match, agent 2 where they do not."""
    return NormalFormGame.zero_sum(
        [[1, -1], [-1, 1]], name="Matching Pennies", citation=OSBORNE, action_labels=[["H", "T"]] * 2
    )


def rock_paper_scissors() -> NormalFormGame:
    """Rock-Paper-Scissors with 1 for a win, -1 for a loss and 0 for a draw."""
    return NormalFormGame.zero_sum(
        [[0, -1, 1], [1, 0, -1], [-1, 1, 0]],
        name="Rock-Paper-Scissors",
        citation=f"{BOOK}, chapter 3",
        action_labels=[["R", "P", "S"]] * 2,
    )


def battle_of_the_sexes() -> NormalFormGame:
    """Battle of the Sexes (Bach or Stravinsky): both want to meet, each at the other's second choice."""
    return NormalFormGame(
        [[[2, 0], [0, 1]], [[1, 0], [0, 2]]],
        name="Battle of the Sexes",
        citation=OSBORNE,
        action_labels=[["B", "S"]] * 2,
    )


def coordination(n_agents: int = 2, n_actions: int = 2) -> NormalFormGame:
    """Pure Coordination: 1 where all n agents choose the same of m actions, else 0."""
    if n_agents < 1 or n_actions < 1 or n_actions**n_agents > MAX_COORDINATION_CELLS:
        raise InputError(
            f"coordination:{n_agents}x{n_actions}: at least one agent and one action, and at most "
            f"{MAX_COORDINATION_CELLS} joint actions"
        )
    table = np.zeros((n_actions,) * n_agents, dtype=np.int64)
    table[(np.arange(n_actions),) * n_agents] = 1
    return NormalFormGame.common_reward(table, name=f"Coordination({n_agents}x{n_actions})", citation=CLAUS)


GAMES: dict[str, Callable[[], Game]] = {
    "linear": linear,
    "monotonic": monotonic,
    "climbing": climbing,
    "penalty": penalty,
    "or": disjunction,
    "2b": qmix_second_stage,
    "qtran": qtran,
    "coordination": coordination,
    "stag-hunt": stag_hunt,
    "prisoners-dilemma": prisoners_dilemma,
    "chicken": chicken,
    "battle-of-the-sexes": battle_of_the_sexes,
    "matching-pennies": matching_pennies,
    "rock-paper-scissors": rock_paper_scissors,
    "two-step": two_step,
    "two-step-book": two_step_book,
    "foraging": foraging,
    "goals": goals,
}


def catalogue() -> dict[str, Game]:
    """Return every named game under its lower-case name, parametrised ones at their defaults."""
    return {name: build() for name, build in GAMES.items()}


def get(name: str) -> Game:
    """Return a game by name, as in "climbing", "penalty:-10", "coordination:4x3" (4 agents, 3 actions), "goals:2".

    Raises:
        InputError: no such game (the message names near matches), or a parameter that the game does not take.
    """
    base, colon, parameter = name.partition(":")
    if base not in GAMES:
        near = get_close_matches(base.lower(), GAMES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the games are {', '.join(GAMES)}"
        raise InputError(f"no game named {base!r}; {hint}")
    if not colon:
        return GAMES[base]()
    if base == "penalty":
        return penalty(_rational(parameter, name))
    if base == "coordination":
        return coordination(*_agents_by_actions(parameter, name))
    if base == "goals":
        return goals(_agents(parameter, name))
    raise InputError(f"{name}: {base} takes no parameter; write {base}")


def _first_agent_chooses() -> list[list[list[int]]]:
    """Transitions of a two-step game: agent 1's first action alone picks stage 1 or stage 2, and that stage ends."""
    ends = [[TERMINAL, TERMINAL], [TERMINAL, TERMINAL]]
    return [[[1, 1], [2, 2]], ends, ends]


def _rational(text: str, name: str) -> int | Fraction:
    if not re.fullmatch(r"[+-]?\d{1,30}(/\d{1,30}|\.\d{1,30})?", text) or re.search(r"/0+$", text):
        raise InputError(f"{name}: {text!r} is no number; write for example penalty:-10 or penalty:-5/2")
    return Fraction(text)


def _agents_by_actions(text: str, name: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match:
        raise InputError(f"{name}: write the number of agents and of actions, for example coordination:4x3")
    return int(match[1]), int(match[2])


def _agents(text: str, name: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text):
        raise InputError(f"{name}: write the number of agents, for example goals:2")
    return int(text)
