"""Support enumeration against other programs: Gambit's answers, kept as data, and nashpy's vertex enumeration."""

import json
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from marlspec.games.catalogue import catalogue, get
from marlspec.games.files import read_payoffs
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.nash import regret, support_enumeration

FIXTURES = Path(__file__).parents[2] / "fixtures"
CONTENT = json.loads((FIXTURES / "pygambit.json").read_text())
CASES = {entry["name"]: entry for entry in CONTENT["games"]}


def rationals(nested):
    return [rationals(entry) for entry in nested] if isinstance(nested, list) else Fraction(nested)


def found(game):
    return {tuple(map(tuple, profile)) for profile in support_enumeration(game).profiles}


@pytest.mark.parametrize("name", CASES)
def test_the_extreme_equilibria_are_those_of_gambit(name):
    game = NormalFormGame(rationals(CASES[name]["payoffs"]))
    expected = {tuple(map(tuple, profile)) for profile in rationals(CASES[name]["equilibria"])}
    assert expected
    assert found(game) == expected


def test_the_fixtures_hold_every_two_agent_game_of_the_catalogue_as_it_is():
    two_agents = {name for name, game in catalogue().items() if isinstance(game, NormalFormGame) and game.n_agents == 2}
    assert two_agents <= set(CASES)
    for name in two_agents:
        assert rationals(CASES[name]["payoffs"]) == get(name).payoffs.tolist()


def test_a_file_that_gambit_wrote_is_read_as_the_game_it_was_made_from():
    assert read_payoffs(FIXTURES / "climbing.nfg").payoffs.tolist() == get("climbing").payoffs.tolist()


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("random")])
def test_nashpy_finds_nothing_else_by_vertex_enumeration(name):
    """nashpy computes in floats and may miss equilibria of degenerate games: what it finds must be one of ours."""
    nashpy = pytest.importorskip("nashpy")
    game = NormalFormGame(rationals(CASES[name]["payoffs"]))
    ours = [np.concatenate(profile).astype(float) for profile in support_enumeration(game).profiles]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [np.concatenate(p) for p in nashpy.Game(*game.as_float64().payoffs).vertex_enumeration()]
    assert theirs
    for profile in theirs:
        assert min(np.abs(profile - own).max() for own in ours) < 1e-6
    if not support_enumeration(game).degenerate:
        assert len(ours) == len({tuple(np.round(profile, 6)) for profile in theirs})


@pytest.mark.parametrize("name", CASES)
def test_every_one_of_gambits_equilibria_has_no_regret(name):
    game = NormalFormGame(rationals(CASES[name]["payoffs"]))
    for profile in rationals(CASES[name]["equilibria"]):
        assert regret(game, profile).tolist() == [0, 0]
