"""Figures say in words and shapes what they say in colour, and show the numbers they were given."""

import warnings

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import FancyArrowPatch, Rectangle

from facerec import plotting
from facerec.evaluation import dir_curve, error_rates, identification


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


PHOTO = np.zeros((20, 30, 3), np.uint8)


def test_show_photo_marks_wrong_answers_in_red_and_in_words(ax):
    plotting.show_photo(ax, PHOTO, "lena", wrong=True)
    assert ax.get_title() == "lena\nwrong"
    assert ax.title.get_color() == plotting.DIFFERENT
    plotting.show_photo(ax, PHOTO, "lena")
    assert ax.get_title() == "lena"


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (6, 1, 6), (7, 2, 6)])
def test_gallery_has_a_place_for_each_photo(count, rows, columns):
    figure = plotting.gallery([PHOTO] * count, [str(i) for i in range(count)])
    assert figure.axes[0].get_gridspec().get_geometry() == (rows, columns)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [str(i) for i in range(count)]
    plt.close(figure)


def test_gallery_rejects_missing_titles():
    with pytest.raises(ValueError):
        plotting.gallery([PHOTO, PHOTO], ["one"])


def test_draw_faces_names_faces_and_dashes_unknown_ones(ax):
    table = pd.DataFrame(
        {
            "box": [(1, 2, 5, 6), (10, 2, 5, 6), (1, 2, 5, 6)],
            "identity": ["lena", None, None],
            "distance": [0.3, 0.9, 0.8],
            "rank": [1, 1, 2],
            "is_unknown": [False, True, True],
        }
    )
    plotting.draw_faces(ax, PHOTO, table)
    assert texts(ax) == ["lena  0.30", "unknown  0.90"]  # the second nearest is not drawn
    assert [patch.get_linestyle() for patch in ax.patches] == ["-", "--"]
    assert ax.patches[1].get_bbox().bounds == (10, 2, 5, 6)


def test_distance_matrix_frames_the_smallest_of_each_row(ax):
    distances = np.array([[0.5, 0.2, 0.9], [0.1, 0.8, 0.7]])
    plotting.distance_matrix(ax, distances, ["a", "b"], ["x", "y", "z"])
    assert texts(ax) == ["0.50", "0.20", "0.90", "0.10", "0.80", "0.70"]
    assert [tuple(patch.get_xy()) for patch in ax.patches] == [(0.5, -0.5), (-0.5, 0.5)]


def test_distance_matrix_marks_distances_below_the_threshold(ax):
    plotting.distance_matrix(ax, np.array([[0.59, 0.6, 0.61]]), ["a"], ["x", "y", "z"], threshold=0.6)
    assert [text.get_weight() for text in ax.texts] == ["bold", "normal", "normal"]  # 0.6 itself is not below
    assert min(text.get_fontsize() for text in ax.texts) >= 9


def test_project_keeps_the_largest_two_variances():
    encodings = np.random.default_rng(0).normal(size=(30, 8)) * [5, 3, 1, 1, 1, 1, 1, 1]
    points = plotting.project(encodings)
    values = np.linalg.eigvalsh(np.cov(encodings.T))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), values[:2], rtol=1e-9)
    np.testing.assert_allclose(plotting.project(-encodings), -points, atol=1e-9)


def test_projection_links_camera_pictures_to_their_portrait(ax):
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    plotting.projection(ax, points, ["lena", "lena", None], [True, False, False])
    assert texts(ax) == ["lena"]
    assert np.asarray(ax.lines[0].get_data()).T.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_push_and_pull_draws_the_ring_where_the_loss_is_zero(ax):
    triplet = np.array([[0.0, 0.0], [0.6, 0.0], [0.0, 0.7]])
    plotting.push_and_pull(ax, triplet, np.zeros((3, 2)), 0.2, "semi-hard")
    inner, ring = (patch.radius for patch in ax.patches)
    assert inner == pytest.approx(0.6)
    assert inner**2 - ring**2 + 0.2 == pytest.approx(0)  # a negative on the ring: no loss left


def test_error_curves_state_the_rates_at_the_threshold(ax):
    rates = error_rates([0.3, 0.9, 0.8, 1.2], [True, True, False, False], np.arange(0, 2, 0.1))
    plotting.error_curves(ax, rates, 0.9)
    assert texts(ax) == ["at 0.90:\n50 % accepted falsely\n50 % rejected falsely"]


def test_distance_strip_names_every_group(ax):
    plotting.distance_strip(ax, {"owners": [0.3, 0.4], "strangers": [0.9]}, 0.7)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["owners", "strangers"]
    assert "threshold 0.70" in texts(ax)


# ------------------------------------------------------------------------------------------------- networks
def test_block_diagram_shows_every_branch_between_input_and_output(ax):
    branches = [["1×1 conv\n96", "3×3 conv\n128"], ["3×3 max\npooling"]]
    plotting.block_diagram(ax, branches, "12×12\n×192", "12×12\n×256")
    assert sorted(texts(ax)) == sorted(["12×12\n×192", "12×12\n×256", *branches[0], *branches[1]])
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 3 + 2  # into each box, and from each branch's end into the stack


def test_network_diagram_scales_with_its_shapes_and_names_them(ax):
    plotting.network_diagram(ax, ["face", "block", "encoding"], [(16, 16, 3), (4, 4, 64), (128,)])
    assert texts(ax) == ["face", "16×16\n×3", "block", "4×4\n×64", "encoding", "128"]
    heights = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert heights[0] == 2 * heights[1] == 4 * heights[2]  # on a root scale
    assert sum(isinstance(patch, FancyArrowPatch) for patch in ax.patches) == 2


def test_training_curve_equals_the_log(ax):
    log = pd.DataFrame({"crops": [1000, 3000], "cosine": [0.5, 0.75]})
    plotting.training_curve(ax, log, {"cosine": "agreement"})
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 0.5], [3, 0.75]])
    assert ax.get_legend().get_texts()[0].get_text() == "agreement"


def test_roc_curves_equal_the_tables(ax):
    rates = pd.DataFrame({"false_accepts": [0.0, 0.25, 1.0], "false_rejects": [0.5, 0.1, 0.0]})
    plotting.roc_curves(ax, {"twins": rates, "pixels": rates * 0.5})
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["twins"].get_xydata(), [[0, 50], [25, 90], [100, 100]])
    np.testing.assert_allclose(lines["pixels"].get_xydata(), [[0, 75], [12.5, 95], [50, 100]])
    assert lines["twins"].get_linestyle() != lines["pixels"].get_linestyle()  # told apart without colour, too
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["twins", "pixels"]


def test_roc_curves_on_a_logarithmic_scale_show_guessing_too(ax):
    plotting.roc_curves(ax, {"twins": pd.DataFrame({"false_accepts": [0.001], "false_rejects": [0.5]})}, smallest=0.01)
    guessing = ax.lines[-1].get_xydata()
    np.testing.assert_allclose(guessing[:, 0], guessing[:, 1])
    assert guessing[0, 0] == pytest.approx(0.01) and ax.get_xscale() == "log" and ax.get_xlim() == (0.01, 100)


def test_reliability_plot_shows_groups_and_diagonal(ax):
    table = pd.DataFrame({"score": [0.1, 0.8], "share": [0.2, 0.7], "pairs": [5, 5]})
    plotting.reliability_plot(ax, table, "twins")
    diagonal, line = ax.lines
    np.testing.assert_allclose(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_allclose(line.get_xydata(), [[0.1, 0.2], [0.8, 0.7]])


def test_pair_gallery_puts_the_faces_side_by_side():
    first, second = np.zeros((3, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 200, np.uint8)
    figure = plotting.pair_gallery((first, second), ["a", "b", "c"], wrong=[False, True, False])
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 3 and shown[0].shape == (8, 19, 3)
    assert shown[0][0, 0, 0] == 0 and shown[0][0, 9, 0] == 255 and shown[0][0, 18, 0] == 200
    assert "wrong" in figure.axes[1].get_title().lower()
    plt.close(figure)


def test_twin_diagram_shows_both_branches_and_the_score(ax):
    faces = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3))
    plotting.twin_diagram(ax, faces, ["face", "dense"], [(100, 100, 3), (128,)], 0.834)
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("face") == texts.count("dense") == texts.count("100×100\n×3") == 2
    assert {"|a − b|", "score\n0.83", "the same weights above and below"} <= set(texts)
    upper, lower = (image.get_extent() for image in ax.images)
    assert upper[2] > 0 > lower[3]


# ------------------------------------------------------------------------------------------------ triplets
def test_triplet_curves_show_the_history():
    columns = {"loss": [0.2, 0.1, 0.15], "active": [0.6, 0.3, 0.3], "found": [1.0, 1.0, 0.7]}
    history = pd.DataFrame({"epoch": [1, 2, 3], "validation_error": [0.5, 0.25, 0.125], **columns})
    figure, axes = plt.subplots(1, 3)
    plotting.triplet_curves(axes, history)
    shown = [[line.get_ydata().tolist() for line in ax.lines] for ax in axes]
    assert shown == [[columns["loss"]], [columns["active"], columns["found"]], [[0.5, 0.75, 0.875]]]
    assert all(ax.lines[0].get_xdata().tolist() == [1, 2, 3] for ax in axes)
    plt.close(figure)


def test_people_map_numbers_people_and_links_their_faces(ax):
    points = np.array([[0.0, 0], [2, 0], [5, 5], [5, 7]])
    plotting.people_map(ax, points, ["zoe", "zoe", "ann", "ann"])
    assert [(text.get_text(), text.get_position()) for text in ax.texts] == [("1", (1.0, 0.0)), ("2", (5.0, 6.0))]
    assert len(ax.lines) == 4


def test_live_curves_show_each_training_and_the_levels_to_beat():
    figure, axes = plt.subplots(1, 2)
    first = pd.DataFrame({"epoch": [0, 1], "loss": [np.nan, 0.2], "area": [0.6, 0.8]})
    for trainings in ({"first": first.head(1)}, {"first": first, "then": first + 1}):  # they grow
        plotting.live_curves(axes, trainings, {"pixels": 0.55})
    assert [len(ax.lines) for ax in axes] == [2, 3]
    assert axes[1].lines[1].get_xydata().tolist() == [[1, 1.6], [2, 1.8]]
    assert axes[1].lines[2].get_ydata() == [0.55, 0.55] and texts(axes[1]) == ["pixels"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes[0].lines}) == 2
    plt.close(figure)


def test_circle_of_people_gives_each_its_marker_and_number(ax):
    points, who = np.array([[1.0, 0], [0, 1], [0, 1]]), [0, 1, 1]
    plotting.circle_of_people(ax, points, who, np.eye(2))
    assert [len(dots.get_offsets()) for dots in ax.collections] == [1, 2] and texts(ax) == ["1", "2"]
    paths = [dots.get_paths()[0].vertices.shape for dots in ax.collections]
    assert paths[0] != paths[1]


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_angular_margin_opens_a_gap_of_the_margin(ax, margin):
    plotting.angular_margin(ax, margin)
    ends = [line.get_xydata()[1] for line in ax.lines[1:]]
    assert np.arccos(np.clip(ends[0] @ ends[1], -1, 1)) == pytest.approx(margin, abs=1e-6)


# ---------------------------------------------------------------------------------------------- evaluation
@pytest.fixture
def no_warnings():
    """Warnings are errors, also while a figure is drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_distance_histogram_shows_shares_and_hatches_mistakes(ax, no_warnings):
    """Edges are 0.025 apart; two of three same pairs and one of four different ones are on the wrong side of 0.7."""
    distances = [0.31, 0.81, 0.96, np.nan, 0.41, 0.91, 0.91, 1.21]
    same = [True, True, True, True, False, False, False, False]
    plotting.distance_histogram(ax, distances, same, 0.7)
    ax.figure.canvas.draw()
    fills = [patch for patch in ax.patches if patch.get_hatch() is None]
    shares = [patch.get_data() for patch in fills[::2]]
    for data, places, expected in zip(
        shares, ((0.31, 0.81, 0.96), (0.41, 0.91, 1.21)), ([100 / 3] * 3, [25, 50, 25]), strict=True
    ):
        np.testing.assert_allclose(data.values[np.searchsorted(data.edges, places) - 1], expected)
        assert data.values.sum() == pytest.approx(100)
    hatched = [patch.get_data() for patch in ax.patches if patch.get_hatch()]
    assert [data.values.sum() for data in hatched] == [pytest.approx(200 / 3), 25]
    assert (
        hatched[0].edges[:-1][hatched[0].values > 0].min() >= 0.7 >= hatched[1].edges[1:][hatched[1].values > 0].max()
    )
    assert "threshold 0.7" in texts(ax) and ax.lines[0].get_xdata() == [0.7, 0.7]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one person", "two people"]
    assert fills[1].get_linestyle() != fills[3].get_linestyle()  # told apart without colour, too


def test_interval_chart_fills_intervals_that_exclude_zero(ax, no_warnings):
    intervals = [(0.2, 0.1, 0.3), (0.1, -0.1, 0.3), (-0.2, -0.4, -0.1), (0.1, 0.0, 0.2)]
    plotting.interval_chart(ax, ["better", "perhaps", "worse", "at zero"], intervals)
    ax.figure.canvas.draw()
    bars, dots = ax.lines[0:8:2], ax.lines[1:8:2]
    for row, (value, low, high) in enumerate(intervals):
        assert bars[row].get_xydata().tolist() == [[low, row], [high, row]]
        assert dots[row].get_xydata().tolist() == [[value, row]]
    hollow = [dot.get_markerfacecolor() == "white" for dot in dots]
    assert hollow == [False, True, False, True]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["better", "perhaps", "worse", "at zero"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top
    assert ax.lines[8].get_xdata() == [0, 0]


def test_interval_chart_without_zero_fills_all(ax, no_warnings):
    plotting.interval_chart(ax, ["a", "b"], [(0.5, -0.1, 0.9), (0.2, 0.1, 0.3)], zero=None)
    assert len(ax.lines) == 4 and all(dot.get_markerfacecolor() != "white" for dot in ax.lines[1::2])


def test_interval_chart_accepts_another_zero(ax, no_warnings):
    plotting.interval_chart(ax, ["a", "b"], [(0.6, 0.55, 0.7), (0.6, 0.4, 0.7)], zero=0.5)
    assert [dot.get_markerfacecolor() == "white" for dot in ax.lines[1:4:2]] == [False, True]


def test_interval_dots_show_each_share_beside_its_number(ax, no_warnings):
    rows = {
        "1 in 100": {"twins": (0.9, 0.8, 0.95), "pixels": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "1 in 1,000": {"twins": (0.7, 0.6, 0.8), "pixels": None},
    }
    plotting.interval_dots(ax, rows)
    ax.figure.canvas.draw()
    assert [line.get_xdata()[0] for line in ax.lines[1::2]] == pytest.approx([90, 50, 70])
    assert [line.get_xdata() for line in ax.lines[0::2]] == [
        pytest.approx(ends) for ends in ([80, 95], [40, 60], [60, 80])
    ]
    assert texts(ax) == ["90.0 % [80.0, 95.0]", "50.0 % [40.0, 60.0]", "70.0 % [60.0, 80.0]", "withheld"]
    dots = ax.lines[1::2]
    assert dots[0].get_marker() == dots[2].get_marker() != dots[1].get_marker()  # told apart without colour, too
    assert round(dots[0].get_ydata()[0]) == round(dots[1].get_ydata()[0]) == 0 and ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rows)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["twins", "pixels"]


def test_interval_dots_of_one_series_need_no_legend_and_no_numbers(ax, no_warnings):
    plotting.interval_dots(ax, {"a": {"": (0.5, 0.4, 0.6)}, "b": {"": None}}, marked=False)
    assert texts(ax) == ["withheld"] and ax.get_legend() is None


GROUPS = pd.DataFrame(
    [("a", "a", 0.002), ("a", "b", 0.0003), ("b", "b", 0.123), ("a", "c", 0.0), ("c", "c", np.nan), ("b", "c", 0.05)],
    columns=["group", "other", "false_accepts"],
)


def test_group_matrix_is_symmetric_and_in_per_cent(ax, no_warnings):
    plotting.group_matrix(ax, GROUPS)
    ax.figure.canvas.draw()
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {
        (0, 0): "0.2",
        (1, 0): "0.03",
        (0, 1): "0.03",
        (1, 1): "12.3",
        (2, 0): "0",
        (0, 2): "0",
        (2, 1): "5.0",
        (1, 2): "5.0",
    }  # two people of one group of one: nothing to show
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [tick.get_text() for tick in ax.get_yticklabels()]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]
    image = ax.images[0].get_array()
    assert image[1, 1] > image[1, 2] == image[2, 1] > image[0, 0] > image[0, 1] > image[0, 2]  # the darker, the more
    dark = [text.get_position() for text in ax.texts if text.get_color() == "white"]
    assert dark == [(1, 1)]


def test_open_set_curves_equal_the_tables_and_differ_without_colour(ax, no_warnings):
    distances = [[0.3, 0.9], [0.8, 0.5], [0.6, 0.9], [1.0, 0.7]]
    curve = dir_curve(identification(distances, ["ada", "bob"], ["ada", "bob", "eve", "eva"]))
    plotting.open_set_curves(ax, {"twins": curve, "pixels": curve.assign(dir=curve["dir"] / 2)})
    ax.figure.canvas.draw()
    one, other = ax.lines
    np.testing.assert_allclose(one.get_ydata(), 100 * curve["dir"])
    np.testing.assert_allclose(other.get_ydata(), 50 * curve["dir"])
    np.testing.assert_allclose(one.get_xdata(), (100 * curve.fpir).clip(lower=0.01))  # zero has no place on a log scale
    assert one.get_drawstyle() == "steps-post" and one.get_linestyle() != other.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["twins", "pixels"]
    assert ax.get_xscale() == "log" and "%" in ax.get_xlabel() and "%" in ax.get_ylabel()


def test_damage_curves_start_at_the_untouched_photo(no_warnings):
    rows = [("nothing", 0, 0.02, 0.01, 0, 200)]
    rows += [("darker", level, 0.02 + level / 10, 0.01, 10 * level, 200) for level in (0, 2, 4)]
    rows += [("noisy", level, 0.5, 0.03, 4, 200) for level in (12.5,)]
    columns = ["damage", "level", "false_rejects", "false_accepts", "no_face", "pairs"]
    figure, axes = plt.subplots(1, 2)
    plotting.damage_curves(axes, pd.DataFrame(rows, columns=columns), {"darker": "stops less light"})
    figure.canvas.draw()
    assert [ax.get_title() or ax.get_title("left") for ax in axes] == ["darker", "noisy"]
    assert [ax.get_xlabel() for ax in axes] == ["stops less light", ""]
    assert [[tick.get_text() for tick in ax.get_xticklabels()] for ax in axes] == [["–", "2", "4"], ["–", "12.5"]]
    outside, inside, lost = (line.get_ydata() for line in axes[0].lines)
    np.testing.assert_allclose(outside, [2, 22, 42])
    np.testing.assert_allclose(inside, [1, 1, 1])
    np.testing.assert_allclose(lost, [0, 10, 20])
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == [
        "owners outside",
        "strangers in",
        "no face found",
    ]
