"""Which records the page puts together, and what it calls them."""

from __future__ import annotations


def test_seeds_are_one_row_and_options_are_rows_of_their_own(rows_of):
    rows = rows_of(
        ({"seed": 2}, {}),
        ({"seed": 1}, {}),
        ({"seed": 1, "options": {"max_groups": 5}}, {}),
        ({"method": "lora"}, {"aa": 70.0}),
    )
    assert [(row.label, [r["seed"] for r in row.records]) for row in rows] == [
        ("one LoRA", [1]),  # the best first
        ("HAM", [1, 2]),
        ("HAM, max groups 5", [1]),
    ]
    assert len({row.site.key for row in rows}) == 1


def test_of_two_records_of_a_run_the_first_counts(rows_of):
    (row,) = rows_of(({}, {"aa": 1.0}), ({}, {"aa": 2.0}))
    assert [run.where for run in row.runs] == ["file, line 1"]


def test_older_numbers_of_a_method_are_another_row(rows_of):
    rows = rows_of(({}, {"numbers_version": 1}), ({"seed": 2}, {"numbers_version": 2}))
    assert sorted(row.label for row in rows) == ["HAM", "HAM, numbers version 2"]


def test_other_images_of_a_seed_are_the_same_row_but_other_weights_another_site(rows_of):
    digests = [{"images_digest": name} for name in ("sha256-1", "sha256-2")]
    assert len(rows_of(({"seed": 1}, digests[0]), ({"seed": 2}, digests[1]))) == 1
    weights = [{"weights_digest": name} for name in ("sha256-1", "sha256-2")]
    first, second = rows_of(({"seed": 1}, weights[0]), ({"seed": 2}, weights[1]))
    assert first.site.key != second.site.key
    assert first.site.title != second.site.title


def test_what_differs_in_the_number_of_tasks_alone_is_one_family(rows_of):
    rows = rows_of(({}, {}), ({"n_tasks": 5}, {}), ({"head": "ridge"}, {}))
    families = {(r.site.entries["n_tasks"], r.site.entries["head"]): r.site.family for r in rows}
    assert families[3, "linear"] == families[5, "linear"] != families[3, "ridge"]
    assert len({row.site.title for row in rows}) == 3


def test_an_option_of_the_data_is_of_the_site_not_of_the_method(rows_of):
    rows = rows_of(({}, {}), ({}, {}), ({"options": {"holdout": 0.2}}, {"selection": "holdout"}))
    assert {row.label for row in rows} == {"HAM"}
    assert "holdout 0.2" in next(r.site.title for r in rows if "holdout" in r.site.title)


def test_a_method_of_ones_own_has_its_own_name(rows_of):
    (row,) = rows_of(({}, {"method": "mine", "head": "theirs"}))
    assert row.label == "mine"
    assert "theirs head" in row.site.title
