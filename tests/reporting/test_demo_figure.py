"""The demo's picture shows what the record says."""

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from avalanche_ham.reporting.demo_figure import (
    draw_accuracy,
    draw_alphas,
    draw_demo,
    draw_similarities,
)

MATRIX = [[1.0, None, None], [0.5, 0.75, None], [0.3, 0.6, 0.9]]
GROUPS = {
    "members": [0, 1, 0],
    "similarities": [[], [0.125], [0.25, -0.0625]],
    "group_alphas": [1.5, 0.8],
    "alphas": [
        {"start": [1.0], "end": [1.25]},
        {"start": [1.25, 1.0], "end": [1.375, 0.9]},
        {"start": [1.375, 0.9, 1.0], "end": [1.25, 0.8, 1.75]},
    ],
}
HAM = {
    "benchmark": "digits",
    "n_tasks": 3,
    "accuracy_matrix": MATRIX,
    "groups": GROUPS,
    "hyperparameters": {"similarity_threshold": 0.5, "max_groups": 2},
}
OTHER = {**HAM, "groups": None}


@pytest.fixture
def axes():
    return Figure().subplots()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_accuracy_is_the_mean_over_the_tasks_so_far_with_chance_below(axes):
    draw_accuracy(axes, {"one": HAM, "two": OTHER})
    one, two, chance = (line.get_ydata() for line in axes.lines)
    assert one == pytest.approx([100, 62.5, 60]) and list(two) == list(one)
    assert chance == pytest.approx([100 / 4, 100 / 7, 100 / 10])  # 4 + 3 + 3 digits
    assert sorted(texts(axes)) == ["guessing  10 %", "one  60 %", "two  60 %"]
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert heights[2] - heights[1] > 5  # labels of equal lines do not cover each other


def test_each_row_frames_the_group_of_its_task(axes):
    draw_similarities(axes, HAM)
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    centres = [
        (round(p.get_x() + p.get_width() / 2), round(p.get_y() + p.get_height() / 2))
        for p in frames
    ]
    assert centres == [(0, 0), (1, 1), (0, 2)]  # (group, task)
    assert sorted(texts(axes)) == ["-0.06", "0.12", "0.25", "opens it", "opens it"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "task 1",
        "task 2",
        "task 3",
    ]
    assert "threshold 0.5" in axes.get_xlabel() and "2 groups" in axes.get_xlabel()


def test_similarities_near_zero_get_more_digits(axes):
    small = {**GROUPS, "similarities": [[], [0.0125], [0.025, -0.0625]]}
    draw_similarities(axes, {**HAM, "groups": small})
    assert {"0.013", "0.025", "-0.062"} & set(texts(axes)) >= {"0.025", "-0.062"}


def test_alphas_after_each_task_are_lines_and_new_ones_open_markers(axes):
    draw_alphas(axes, GROUPS)
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert lines[0] == ([1, 2, 3], [1.25, 1.375, 1.5])  # group 1, the mean taken in
    assert lines[1] == ([1, 3], [1.25, 1.75])  # its members' own
    assert lines[2] == ([2, 3], [0.9, 0.8])
    assert lines[3] == ([2], [0.9])
    assert texts(axes) == ["group 1", "group 2"]


def test_the_picture_is_a_png_of_three_panels(tmp_path):
    draw_demo({"two": OTHER, "one": HAM}, tmp_path / "demo.png")
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.format == "PNG" and picture.size > (1500, 500)
