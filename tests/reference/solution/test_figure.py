"""The figure of feasible joint rewards, by what stands in its axes; and the geometry below it."""

from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.path import Path as Outline
from matplotlib.text import Text

from marlspec.errors import InputError
from marlspec.games.catalogue import get
from marlspec.games.matrix import NormalFormGame
from marlspec.reference.solution.feasible import (
    convex_hull,
    independent_reach_all,
    independent_region,
    pareto_frontier,
    reward_points,
)
from marlspec.reference.solution.figure import Solutions, draw_rewards, save_figure
from marlspec.reference.solution.nash import expected_rewards
from marlspec.reference.solution.pareto import is_pareto_optimal

pytestmark = pytest.mark.thorough

TWO_AGENTS = ["chicken", "prisoners-dilemma", "battle-of-the-sexes", "climbing", "matching-pennies", "stag-hunt"]
CONSTANT = NormalFormGame.common_reward([[3, 3], [3, 3]])


def random_game(seed, shape=(3, 3)):
    return NormalFormGame(np.random.default_rng(seed).integers(-9, 10, (2, *shape)))


def hull_of(game):
    return convex_hull(reward_points(game))


# --- geometry ---------------------------------------------------------------------------------------------------------


def test_hull_and_frontier_of_chicken():
    assert hull_of(get("chicken")) == [(0, 0), (7, 2), (6, 6), (2, 7)]
    assert pareto_frontier(hull_of(get("chicken"))) == [(7, 2), (6, 6), (2, 7)]


@pytest.mark.parametrize(
    ("game", "hull", "frontier"),
    [
        (get("climbing"), [(-30, -30), (11, 11)], [(11, 11)]),
        (get("matching-pennies"), [(-1, 1), (1, -1)], [(1, -1), (-1, 1)]),
        (CONSTANT, [(3, 3)], [(3, 3)]),
    ],
)
def test_rewards_on_a_line_or_all_the_same(game, hull, frontier):
    assert hull_of(game) == hull
    assert pareto_frontier(hull_of(game)) == frontier


def test_points_on_an_edge_are_no_corners():
    square = [(Fraction(x), Fraction(y)) for x in (0, Fraction(1, 2), 1) for y in (0, Fraction(1, 2), 1)]
    assert convex_hull(square) == [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert pareto_frontier(convex_hull(square)) == [(1, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_the_hull_holds_every_joint_reward_and_the_frontier_what_no_correlated_policy_dominates(seed):
    game = random_game(seed)
    points, hull = reward_points(game), hull_of(game)
    for a, b in zip(hull, [*hull[1:], hull[0]], strict=True):
        turns = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for x, y in points]
        assert min(turns) == 0
    for corner in hull:
        optimal = is_pareto_optimal(game, points[corner][0], "correlated").answer == "yes"
        assert (corner in pareto_frontier(hull)) == optimal


def covers(polygons, point):
    return any(Outline(polygon).contains_point(point, radius=r) for polygon in polygons for r in (0.02, -0.02))


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (3, 3), (1, 3), (3, 1)])
def test_the_independent_region_covers_what_random_profiles_reach(shape):
    game = random_game(3, shape)
    polygons = independent_region(game)
    random = np.random.default_rng(0)
    for _ in range(25):
        profile = [random.dirichlet(np.full(count, 0.5)) for count in shape]
        assert covers(polygons, expected_rewards(game, profile).astype(float))


def test_the_independent_region_leaves_out_what_only_correlation_reaches():
    polygons = independent_region(get("battle-of-the-sexes"))
    assert covers(polygons, (0.7, 0.7))
    assert not covers(polygons, (1.0, 1.0))
    assert not covers(polygons, (1.5, 1.5))


def test_whether_independent_agents_reach_everything():
    for name, everything in [("chicken", True), ("prisoners-dilemma", True), ("battle-of-the-sexes", False)]:
        points = reward_points(get(name))
        assert independent_reach_all([points[corner] for corner in convex_hull(points)]) == everything
    crossed = NormalFormGame([[[0, 1], [0, 1]], [[0, 0], [1, 1]]])
    twisted = NormalFormGame([[[0, 1], [1, 0]], [[0, 0], [1, 1]]])
    for game, everything in [(crossed, True), (twisted, False)]:
        points = reward_points(game)
        assert independent_reach_all([points[corner] for corner in convex_hull(points)]) == everything


# --- figure -----------------------------------------------------------------------------------------------------------


@cache
def drawn(game):
    """The axes of a game without solutions; games are compared by their payoffs."""
    figure = draw_rewards(game, Solutions())
    figure.canvas.draw()
    (axes,) = figure.axes
    return axes


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def artist(axes, label):
    """The one artist with a label of the legend."""
    (found,) = [entry for entry in (*axes.lines, *axes.collections, *axes.patches) if entry.get_label() == label]
    return found


def marked(axes, label):
    return artist(axes, label).get_offsets().data.tolist()


@pytest.mark.parametrize("name", TWO_AGENTS)
def test_frontier_and_points_stand_where_the_game_has_them(name):
    game = get(name)
    axes = drawn(game)
    frontier = np.array(pareto_frontier(hull_of(game)), dtype=float)
    assert np.array_equal(artist(axes, "Pareto frontier").get_xydata(), frontier)
    assert sorted(map(tuple, marked(axes, "deterministic joint policies"))) == sorted(reward_points(game))


def test_chicken_shows_one_area_since_independent_agents_reach_all_of_it():
    axes = drawn(get("chicken"))
    (area,) = axes.patches
    assert area.get_xy()[:-1].tolist() == [[0, 0], [7, 2], [6, 6], [2, 7]]
    assert legend(axes)[0] == "feasible: correlated or\nindependent joint policies"


def test_battle_of_the_sexes_shows_two_areas():
    axes = drawn(get("battle-of-the-sexes"))
    assert legend(axes)[:2] == ["correlated joint policies", "independent policies"]
    (area,) = [entry for entry in axes.collections if isinstance(entry, PolyCollection)]
    assert artist(axes, "correlated joint policies").get_xy()[:-1].tolist() == [[0, 0], [2, 1], [1, 2]]
    corners = np.concatenate([path.vertices for path in area.get_paths()])
    assert corners.min(axis=0) == pytest.approx([0, 0])
    assert corners.max(axis=0) == pytest.approx([2, 2])


@pytest.mark.parametrize(("name", "ends"), [("climbing", [-30, 11]), ("matching-pennies", [-1, 1])])
def test_rewards_on_a_line_are_drawn_as_a_segment(name, ends):
    axes = drawn(get(name))
    assert not axes.patches
    segment = artist(axes, "feasible: correlated or\nindependent joint policies").get_xydata()
    assert sorted(segment[:, 0]) == ends


def test_solutions_are_marked_and_named_only_where_there_are_any():
    third = [Fraction(14, 3), Fraction(14, 3)]
    best = [Fraction(21, 4), Fraction(21, 4)]
    (axes,) = draw_rewards(get("chicken"), Solutions([[7, 2], [2, 7]], [third], best, "reward of agent 1")).axes
    assert marked(axes, "pure Nash equilibrium") == [[7, 2], [2, 7]]
    assert marked(axes, "mixed Nash equilibrium") == [[14 / 3, 14 / 3]]
    assert marked(axes, "best correlated equilibrium\n(reward of agent 1)") == [[5.25, 5.25]]
    assert not any("equilibrium" in words for words in legend(drawn(get("chicken"))))


@pytest.mark.parametrize("name", TWO_AGENTS)
def test_every_joint_action_is_named_beside_its_point_and_no_name_covers_another(name):
    game = get(name)
    axes = drawn(game)
    names = {note.get_text(): note for note in axes.texts}
    for point, actions in reward_points(game).items():
        note = names[" ".join(game.label(a) for a in actions)]
        assert note.xy == point
        centre = axes.transData.transform(point)
        box = Text.get_window_extent(note)
        nearest = np.clip(centre, box.min, box.max)
        assert 2 < np.hypot(*(nearest - centre)) < 60
    boxes = [Text.get_window_extent(note) for note in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.overlaps(axes.get_legend().get_window_extent()) for box in boxes)


def test_many_joint_actions_are_named_in_part_and_the_legend_says_so():
    axes = drawn(random_game(1, (12, 12)))
    assert len(axes.texts) == 12
    assert any(words.startswith("deterministic joint policies\n(12 of") for words in legend(axes))
    assert "independent policies:\nnot drawn, too many actions" in legend(axes)
    assert not any(isinstance(entry, PolyCollection) for entry in axes.collections)


def test_equilibria_are_among_the_joint_actions_that_are_named():
    game = random_game(1, (12, 12))
    inside = [point for point in reward_points(game) if point not in hull_of(game)][-1]
    name = game.label(reward_points(game)[inside][0])
    (axes,) = draw_rewards(game, Solutions(pure=[inside])).axes
    assert name in [note.get_text().split(" (")[0] for note in axes.texts]
    assert name not in [note.get_text().split(" (")[0] for note in drawn(game).texts]


def test_a_constant_game_is_a_point():
    axes = drawn(CONSTANT)
    (points,) = [entry for entry in axes.collections if isinstance(entry, PathCollection)]
    assert points.get_offsets().data.tolist() == [[3, 3]]
    assert [note.get_text() for note in axes.texts] == ["(A, A) (A, B) (B, A) + 1"]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_the_suffix_chooses_the_kind_of_file(tmp_path, suffix, magic):
    save_figure(drawn(CONSTANT).get_figure(), tmp_path / "new" / f"one.{suffix}")
    assert (tmp_path / "new" / f"one.{suffix}").read_bytes().startswith(magic)


def test_the_same_game_gives_the_same_file(tmp_path):
    for name in ("one", "two"):
        save_figure(draw_rewards(get("chicken"), Solutions()), tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"the name of a figure ends in \.png, \.svg or \.pdf"):
        save_figure(draw_rewards(get("chicken"), Solutions()), tmp_path / "figure.gif")
    with pytest.raises(InputError, match=r"one axis for each of two agents, and Coordination\(3x2\) has 3"):
        draw_rewards(get("coordination:3x2"), Solutions())
    with pytest.raises(InputError, match="too large for float64"):
        draw_rewards(NormalFormGame([[[10**400, 1]], [[2, 3]]]), Solutions())
