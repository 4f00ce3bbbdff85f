"""The figures' files and what can be checked of a picture without looking at it."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from avalanche_ham.reporting.aggregate import Summary
from avalanche_ham.reporting.cells import mean_of
from avalanche_ham.reporting.figures import FIGURES, draw
from avalanche_ham.reporting.layout import Block, Row, Sheet, fill, lay_out, runs_of
from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.reporting.plot_against import plot_against
from avalanche_ham.reporting.plots import plot_lengths, plot_times
from avalanche_ham.reporting.style import look_of, look_of_row, spread
from avalanche_ham.reporting.table import Column
from avalanche_ham.runs.archive import Archive
from avalanche_ham.strategies.registry import METHODS


@pytest.fixture
def drawn(with_setup, archive_of, tmp_path):
    """A function that draws a figure of made-up runs; gives paths and the filled table."""

    def make(name, *, empty=False, **changes):
        setup = with_setup(methods=("lora", "ham", "finetune"), **changes)
        table = lay_out(FIGURES[name], setup)
        runs = list(runs_of(table))
        pairs = [(c, {"aa": 10.0 * c.seed + 400 / c.n_tasks}) for c in runs]
        archive = Archive() if empty else archive_of(*pairs)
        filled = fill_with_notes(table, setup, archive)
        return draw(name, filled, table, archive, tmp_path / "out"), filled

    return make


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("empty", [False, True], ids=["full", "empty"])
def test_every_figure_is_a_readable_png_svg_and_csv(drawn, name, empty):
    paths, _ = drawn(name, empty=empty, benchmarks=("cifar100",))
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv", ".txt"]
    with Image.open(paths[0]) as picture:
        assert picture.width >= 900
    assert ElementTree.parse(paths[1]).getroot().tag.endswith("svg")
    assert list(csv.DictReader(paths[2].read_text().splitlines()))


def test_figure_2_draws_a_line_a_band_and_a_name_for_each_method(drawn):
    _, filled = drawn("2", benchmarks=("cifar100",))
    axes = plot_lengths(filled).axes[0]
    assert len(axes.lines) == 4  # three methods and the paper's HAM
    assert len(axes.collections) == 3  # bands over two seeds
    names = {text.get_text() for text in axes.texts}
    assert names == {"HAM", "Fine-tuning", "one LoRA", "HAM, the paper's"}
    assert axes.lines[0].get_xdata()[1] == pytest.approx(1.30103)  # 20 tasks, on a log scale


def test_figure_2_has_its_lengths_in_order_and_room_for_every_name(drawn, with_setup):
    _, filled = drawn("2", benchmarks=("cifar100",), tasks=(50, 10))
    axes = plot_lengths(filled).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "50"]
    assert all(line.get_xdata()[0] == 1.0 and line.get_ydata()[0] > line.get_ydata()[1]
               for line in axes.lines[:1])  # fmt: skip
    few = plot_lengths(filled).get_figheight()
    rows = [row for row in filled.blocks[0].rows if row.label != "HAM"] * 12
    many = plot_lengths(replace(filled, blocks=(replace(filled.blocks[0], rows=rows),)))
    assert many.get_figheight() > few
    heights = sorted(text.xyann[1] for text in many.axes[0].texts)
    assert heights[-1] <= 1.0 + 1e-9  # none runs over the title


def test_figure_3_draws_no_deviation_of_one_run_and_says_how_many_there_are(drawn):
    sheet = Sheet("", (Block("", (Column("a"), Column("b")), (
        Row("all", (Summary(3.0, 1.0, 3),) * 2, best=(False,) * 2),
        Row("some", (Summary(2.0, None, 1, 2),) * 2, best=(False,) * 2),
    )),))  # fmt: skip
    axes = plot_times(sheet).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all", "some (1 of 3)"]
    (whiskers,) = axes.collections
    assert [bool(len(path.vertices)) and not np.isnan(path.vertices).any()
            for path in whiskers.get_paths()] == [True, False]  # fmt: skip


def test_figure_2_asks_for_the_lengths_that_a_data_set_can_have(with_setup):
    digits = lay_out(FIGURES["2"], with_setup(benchmarks=("digits",)))
    assert {config.n_tasks for config in runs_of(digits)} == {2, 5, 10}
    assert {c.n_tasks for c in runs_of(lay_out(FIGURES["2"], with_setup()))} == {10, 20, 50, 100}


def test_figure_3_divides_times_by_tasks(with_setup, archive_of):
    setup = with_setup(benchmarks=("cifar100",), methods=None, seeds=(1,))
    table = lay_out(FIGURES["3"], setup)
    ham = next(iter(runs_of(table)))
    times = {"train_seconds": [3.0] * 10, "eval_seconds": [0.5] * 9 + [5.0]}
    filled = fill(table, archive_of((ham, times)))
    row = filled.blocks[0].rows[0]
    assert (row.label, row.cells[0].mean, row.cells[1].mean) == ("HAM", 3.0, 0.5)
    axes = plot_times(filled).axes
    assert [a.patches[0].get_width() for a in axes] == [3.0, 0.5]
    assert "3" in {text.get_text() for text in axes[0].texts}


def test_equal_figures_are_equal_files(drawn):
    first = drawn("2", benchmarks=("cifar100",))[0][1].read_bytes()
    assert drawn("2", benchmarks=("cifar100",))[0][1].read_bytes() == first


def test_no_two_lines_look_the_same_without_colour():
    looks = [look_of(index) for index in range(18)]
    assert len({(str(look.dash), look.marker) for look in looks}) == 18
    assert len({(look.colour, str(look.dash)) for look in looks}) == 18


def test_every_method_has_a_name_for_readers():
    assert LABELS.keys() == METHODS.keys()
    assert not {*LABELS.values()} & METHODS.keys()


def test_a_method_looks_the_same_in_every_figure_and_its_variants_share_its_colour():
    looks = [look_of_row(label) for label in LABELS.values()]
    assert len({look[:3] for look in looks}) == len(looks)
    for label, look in zip(LABELS.values(), looks):
        for words in (", products merged", " at HAM's rate"):
            variant = look_of_row(label + words)
            assert variant[:3] not in [other[:3] for other in looks]  # no other method's
            same = variant.colour == look.colour and variant.marker == look.marker
            assert same == (label != "HAM")  # which alone stands out
    assert look_of_row("HAM").width > look_of_row("HAM+").width


def test_differences_are_drawn_with_both_intervals_and_filled_where_they_tell():
    def row(label, mean, seeds, images):
        return Row(
            label, (Summary(), Summary(mean), Summary(interval=seeds), Summary(interval=images))
        )

    columns = tuple(Column(title, mean_of("aa")) for title in ("AA", "minus HAM", "s", "i"))
    rows = (
        row("one LoRA", -3.0, (-5.0, -1.0), (-4.0, 0.5)),  # seeds decide
        row("SLAO", 1.0, None, (0.2, 1.8)),
        row("P&M", 2.0, (-9.0, 13.0), (1.0, 3.0)),
        row("EWC", None, None, None),
    )
    (axes,) = plot_against(Sheet("", (Block("10 tasks", columns, rows),))).axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["one LoRA", "SLAO", "P&M"]  # the highest on top
    dots = {line.get_ydata()[0]: line for line in axes.lines if line.get_marker() == "o"}
    assert [dots[y].get_xdata()[0] for y in range(3)] == [-3.0, 1.0, 2.0]
    filled = [dots[y].get_markerfacecolor() != "white" for y in range(3)]
    assert filled == [True, True, False]
    bars = {tuple(line.get_xdata()) for line in axes.lines if len({*line.get_ydata()}) == 1}
    assert {(-5.0, -1.0), (-4.0, 0.5), (0.2, 1.8), (-9.0, 13.0), (1.0, 3.0)} <= bars
    assert axes.get_xlim() == (-5.0, 4.0)  # not as wide as an interval over few seeds


def test_labels_are_spread_and_keep_their_order():
    moved = spread([1.0, 1.1, 5.0, 1.05], 0.5)
    assert sorted(moved) == [moved[0], moved[3], moved[1], moved[2]]
    gaps = [b - a for a, b in zip(sorted(moved), sorted(moved)[1:])]
    assert all(gap >= 0.5 - 1e-9 for gap in gaps)
    assert moved[2] == 5.0  # nothing near it
    assert sum(moved[i] for i in (0, 1, 3)) == pytest.approx(1.0 + 1.1 + 1.05)


def test_labels_that_are_apart_stay():
    assert spread([3.0, 1.0, 2.0], 0.5) == [3.0, 1.0, 2.0]
    assert spread([], 0.5) == []


@pytest.mark.slow
def test_several_blocks_of_the_extra_figure_are_several_pictures(drawn):
    paths, _ = drawn("extra", benchmarks=("cifar100", "tiny_imagenet"))
    assert [p.name for p in paths[:4]] == [
        "figure_extra_1.png",
        "figure_extra_1.svg",
        "figure_extra_2.png",
        "figure_extra_2.svg",
    ]


def test_setup_is_not_changed_by_drawing(setup):
    before = replace(setup)
    lay_out(FIGURES["extra"], setup)
    assert setup == before
