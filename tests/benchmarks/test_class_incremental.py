import random

import numpy as np
import pytest
import torch

from avalanche_ham.benchmarks.class_incremental import class_incremental, task_sizes
from avalanche_ham.errors import DataError, OptionError


@pytest.fixture
def sets(make_images):
    return make_images([8] * 10), make_images([4] * 10)


def split(sets, **options):
    return class_incremental(*sets, **{"n_tasks": 4, "seed": 3, "name": "fake"} | options)


def values(experience):
    """The byte that fills each image: its position in the image set."""
    return [int(x[0, 0, 0]) for x, _ in experience.dataset]


def all_values(stream):
    return [value for experience in stream for value in values(experience)]


@pytest.mark.parametrize("n_tasks", [1, 3, 4, 7, 10])
def test_every_class_comes_once_whatever_the_split(sets, n_tasks):
    benchmark = split(sets, n_tasks=n_tasks)
    for stream in (benchmark.train_stream, benchmark.test_stream):
        labels = [sorted({y for _, y in exp.dataset}) for exp in stream]
        assert sorted(sum(labels, [])) == list(range(10))
        assert [len(task) for task in labels] == task_sizes(10, n_tasks)
        assert [sorted(task) for task in benchmark.tasks] == labels
    assert sorted(all_values(benchmark.train_stream)) == list(range(80))
    assert sorted(all_values(benchmark.test_stream)) == list(range(40))


@pytest.mark.parametrize("n_classes, n_tasks", [(200, 30), (100, 50), (7, 7), (9, 2)])
def test_uneven_splits_differ_by_one_and_the_first_have_more(n_classes, n_tasks):
    sizes = task_sizes(n_classes, n_tasks)
    assert sum(sizes) == n_classes and len(sizes) == n_tasks
    assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


def test_given_task_sizes_are_kept(sets):
    benchmark = split(sets, n_tasks=3, classes_per_task=(5, 1, 4))
    assert [len(task) for task in benchmark.tasks] == [5, 1, 4]


def test_labels_are_the_original_ids_and_fit_the_images(sets):
    for experience in split(sets).train_stream:
        for x, y in experience.dataset:
            assert int(x[0, 0, 0]) // 8 == y  # eight images of each class in a row


def test_experiences_know_their_classes(sets):
    benchmark = split(sets)
    first, second = benchmark.train_stream[0], benchmark.train_stream[1]
    assert first.classes_in_this_experience == set(benchmark.tasks[0])
    assert second.previous_classes == set(benchmark.tasks[0])
    assert second.classes_seen_so_far == set(benchmark.tasks[0] + benchmark.tasks[1])
    assert not hasattr(first, "task_labels")


def test_the_global_random_state_is_neither_used_nor_changed(sets):
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    first = split(sets, train_per_class=2, test_per_class=2, holdout=0.5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert str(np.random.get_state()) == states[2]
    torch.rand(5), random.random(), np.random.rand()
    second = split(sets, train_per_class=2, test_per_class=2, holdout=0.5)
    assert second.class_order == first.class_order
    assert all_values(second.train_stream) == all_values(first.train_stream)


def test_class_order_comes_from_the_seed_alone(sets):
    orders = [split(sets, seed=seed).class_order for seed in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert split(sets, seed=3, n_tasks=10, holdout=0.5).class_order == orders[3]


def test_order_hash_sees_order_split_and_names_but_not_images(sets, make_images):
    benchmark = split(sets)
    assert benchmark.class_order == [9, 4, 7, 6, 8, 1, 2, 0, 5, 3]  # never to change
    assert benchmark.class_order_hash == "bbdc810abec2"
    assert split(sets, train_per_class=1).class_order_hash == "bbdc810abec2"
    renamed = [make_images([4] * 10, [f"other {i}" for i in range(10)])] * 2
    others = [split(sets, seed=4), split(sets, n_tasks=5), split(renamed)]
    hashes = {other.class_order_hash for other in others}
    assert len(hashes | {"bbdc810abec2"}) == 4


def test_a_subset_is_per_class_seeded_and_part_of_a_larger_one(sets):
    small, large = (split(sets, train_per_class=n, test_per_class=n) for n in (2, 3))
    for stream in (small.train_stream, small.test_stream):
        labels = [y for experience in stream for _, y in experience.dataset]
        assert sorted(labels) == sorted(list(range(10)) * 2)
    chosen = all_values(small.train_stream)
    assert set(chosen) < set(all_values(large.train_stream))
    again = split(sets, train_per_class=2, test_per_class=2)
    assert all_values(again.train_stream) == chosen
    other = split(sets, train_per_class=2, seed=4)
    assert set(all_values(other.train_stream)) != set(chosen)
    assert len({value % 8 for value in chosen}) > 2  # not the same places everywhere


def test_a_limit_above_the_number_of_images_takes_all(sets):
    assert len(all_values(split(sets, train_per_class=99).train_stream)) == 80


@pytest.mark.parametrize("holdout, held", [(0.25, 2), (0.01, 1), (0.8, 6)])
def test_held_out_images_are_training_images_that_are_never_trained_on(sets, holdout, held):
    benchmark = split(sets, holdout=holdout)
    train, test = all_values(benchmark.train_stream), all_values(benchmark.test_stream)
    assert sorted(train + test) == list(range(80))
    for label in range(10):
        assert sum(value // 8 == label for value in test) == held


def test_held_out_images_stay_the_same_however_few_are_trained_on(sets):
    every = split(sets, holdout=0.25)
    few = split(sets, holdout=0.25, train_per_class=1, test_per_class=1)
    assert set(all_values(few.test_stream)) < set(all_values(every.test_stream))
    assert set(all_values(few.train_stream)) < set(all_values(every.train_stream))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_tasks": 11}, "n_tasks must be .* at most 10 .* but got 11"),
        ({"n_tasks": 0}, "n_tasks must be at least 1 .* but got 0"),
        ({"classes_per_task": [5, 5]}, "classes_per_task must be 4 numbers"),
        ({"classes_per_task": [3, 3, 3, 3]}, "add up to 10"),
        ({"classes_per_task": [5, 5, 0, 0]}, "at least 1"),
        ({"train_per_class": 0}, "train_per_class must be at least 1, but got 0"),
        ({"test_per_class": -1}, "test_per_class must be at least 1, but got -1"),
        ({"holdout": 1.0}, "holdout must be at least 0 and below 1, but got 1.0"),
        ({"holdout": -0.1}, "holdout must be at least 0"),
        ({"holdout": float("nan")}, "holdout must be at least 0"),
        ({"holdout": 0.99}, "leave every class an image to train on"),
    ],
)
def test_an_option_outside_its_range_says_what_is_allowed(sets, options, message):
    with pytest.raises(OptionError, match=message):
        split(sets, **options)


def test_train_and_test_must_have_the_same_classes_with_images(make_images):
    with pytest.raises(DataError, match="classes of fake differ"):
        split((make_images([2, 2]), make_images([2, 2], ["a", "b"])), n_tasks=1)
    with pytest.raises(DataError, match="class 01 has no test images"):
        split((make_images([2, 2]), make_images([2, 0])), n_tasks=1)
