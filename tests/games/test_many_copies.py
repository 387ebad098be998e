"""Thousands of copies at once: what a batched game executes does not depend on how many copies there are."""

import sys
from collections import Counter

import pytest
import torch

from marlspec.games.batched_catalogue import batched_game

NAMES = (
    "climbing",
    "two-step",
    "repeated:climbing",
    "foraging",
    "foraging:8x8-2p-3f-coop",
    "speaker-listener",
    "combat:2s3z",
)
MANY = 4096


def lines_executed(function):
    """How often each line of the games' modules ran while a function was called."""
    counts = Counter()

    def trace(frame, event, argument):
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("marlspec.games"):
            return None
        if event == "line":
            counts[name, frame.f_lineno] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return counts


def play(game, copies, steps=3):
    state = game.reset(copies)
    for _ in range(steps):
        game.observe(state), game.centralized(state)
        action = game.available(state).int().argmax(-1)
        state, rewards, terminated, truncated = game.step(state, action)
    return state, rewards, terminated, truncated


@pytest.mark.parametrize("name", NAMES)
def test_4096_copies_take_no_more_lines_than_two(name):
    game = batched_game(name)
    play(game, 2)
    few, many = (lines_executed(lambda copies=copies: play(game, copies)) for copies in (2, MANY))
    assert few == many
    assert sum(few.values()) > 3


@pytest.mark.parametrize("name", NAMES)
def test_4096_copies_are_as_many_games(name):
    game = batched_game(name)
    torch.manual_seed(0)
    _, rewards, terminated, truncated = play(game, MANY)
    assert rewards.shape == (MANY, game.n_agents)
    assert terminated.shape == truncated.shape == (MANY,)
    assert torch.isfinite(rewards).all()
