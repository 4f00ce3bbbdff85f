"""A row of the accuracy matrix against a loop over images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from toys import make, state_of

from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.evaluation.accuracy import accuracy_row


def trained(benchmark, n_tasks: int = 3, **options):
    strategy = make("frozen", options)
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy


def by_hand(strategy, experience) -> tuple[float, float]:
    """Accuracy among all classes and among the experience's own, image by image."""
    own = list(experience.classes_in_this_experience)
    right = known = 0
    strategy.model.eval()
    for image, target in experience.dataset:
        with torch.no_grad():
            row = strategy.model(image[None])[0].tolist()
        right += max(range(10), key=row.__getitem__) == target
        known += max(own, key=row.__getitem__) == target
    return right / len(experience.dataset), known / len(experience.dataset)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_a_row_is_what_a_loop_over_single_images_counts(benchmark, batch_size):
    strategy = trained(benchmark, eval_batch_size=batch_size)
    tests = list(benchmark.test_stream[:3])
    row = accuracy_row(strategy, tests)
    expected = [by_hand(strategy, experience) for experience in tests]
    assert row.accuracy == [right for right, _ in expected]
    assert row.task_known == [known for _, known in expected]
    assert row.images == [12, 12, 12]
    assert row.accuracy != row.task_known and len(set(row.accuracy)) > 1


def test_test_sets_of_unequal_size_are_each_counted_by_themselves():
    counts = [1, 5, 2, 9]
    targets = [label for label, n in enumerate(counts) for _ in range(n)]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(targets), 3, 8, 8), generator=generator).byte()
    images = ImageSet(pixels, targets=targets, classes=list("abcd"))
    benchmark = class_incremental(images, images, n_tasks=2, seed=0, name="uneven")
    strategy = trained(benchmark, n_tasks=2, eval_batch_size=4)
    tests = list(benchmark.test_stream)
    row = accuracy_row(strategy, tests)
    assert row.images == [sum(counts[label] for label in task) for task in benchmark.tasks]
    assert row.accuracy == [by_hand(strategy, experience)[0] for experience in tests]


@pytest.mark.parametrize("training", [True, False])
def test_it_draws_nothing_changes_nothing_and_keeps_the_mode(benchmark, training):
    strategy = trained(benchmark, n_tasks=1)
    strategy.model.train(training)
    state, before = torch.get_rng_state(), state_of(strategy.model)
    accuracy_row(strategy, list(benchmark.test_stream))
    assert torch.equal(torch.get_rng_state(), state)
    assert strategy.model.training is training
    after = state_of(strategy.model)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_mode_comes_back_when_the_model_raises(benchmark):
    strategy = trained(benchmark, n_tasks=1)
    strategy.model.train()
    broken = SimpleNamespace(
        dataset=benchmark.test_stream[0].dataset, classes_in_this_experience=[0]
    )
    strategy.model.encoder.preprocess.size = "nonsense"
    with pytest.raises(Exception):  # noqa: B017
        accuracy_row(strategy, [broken])
    assert strategy.model.training
