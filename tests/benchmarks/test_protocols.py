"""Protocols beside the even split: a large first task, a given order, domains, several sets."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.benchmarks.class_incremental import class_incremental
from avalanche_ham.errors import DataError, HamError, OptionError, UnknownNameError

ORDER = (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)


def split(make_images, **options):
    sets = make_images([8] * 10), make_images([4] * 10)
    return class_incremental(*sets, **{"n_tasks": 4, "seed": 3, "name": "fake"} | options)


def test_the_first_task_counts_among_the_tasks_and_the_rest_is_even(make_images):
    benchmark = split(make_images, first_task=4, n_tasks=4)
    assert [len(task) for task in benchmark.tasks] == [4, 2, 2, 2]
    assert benchmark.class_order == split(make_images).class_order
    assert [len(t) for t in split(make_images, first_task=10, n_tasks=1).tasks] == [10]


@pytest.mark.parametrize("given", [0, 8, 11])
def test_a_first_task_that_leaves_the_others_nothing_is_refused(make_images, given):
    with pytest.raises(OptionError, match=rf"first_task.*1.*7.*{given}"):
        split(make_images, first_task=given, n_tasks=4)
    with pytest.raises(OptionError, match="first_task.*without classes_per_task"):
        split(make_images, first_task=4, classes_per_task=(4, 2, 2, 2))


def test_a_given_order_is_kept_whatever_the_seed(make_images):
    first, second = (split(make_images, class_order=ORDER, seed=s) for s in (1, 2))
    assert tuple(first.class_order) == tuple(second.class_order) == ORDER
    assert [sorted(e.classes_in_this_experience) for e in first.train_stream] == [
        sorted(task) for task in ((3, 1, 4), (0, 5, 9), (2, 6), (8, 7))
    ]


@pytest.mark.parametrize("given", [ORDER[:-1], (*ORDER, 7), (*ORDER[:-1], 10)])
def test_an_order_that_is_no_permutation_is_refused(make_images, given):
    with pytest.raises(OptionError, match="class_order.*0 to 9, or each class name, once"):
        split(make_images, class_order=given)


def test_the_first_classes_of_the_order_and_no_image_of_another(make_images):
    benchmark = split(make_images, classes=5, n_tasks=2, class_order=ORDER)
    assert benchmark.tasks == ((3, 1, 4), (0, 5))
    assert [len(e.dataset) for e in benchmark.train_stream] == [24, 16]
    whole = split(make_images, n_tasks=2, class_order=ORDER)
    assert benchmark.images_digest != whole.images_digest
    with pytest.raises(OptionError, match=r"classes.*at most 10 \(.* classes of fake\).*11"):
        split(make_images, classes=11)
    with pytest.raises(OptionError, match="n_tasks.*at most 2"):
        split(make_images, classes=2, n_tasks=3)


@pytest.fixture
def domains(write_folder, tmp_path):
    for number, domain in enumerate(("photo", "art", "sketch")):
        write_folder(tmp_path / "pacs" / domain, counts=(3 + number, 2))
    return tmp_path


def test_a_folder_of_domains_is_a_domain_incremental_stream(domains):
    benchmark = create_benchmark("pacs", data_root=domains, n_tasks=3, seed=1)
    assert sorted(benchmark.domains) == ["art", "photo", "sketch"]
    sizes = {"photo": 9, "art": 12, "sketch": 15}
    assert [len(e.dataset) for e in benchmark.train_stream] == [
        sizes[domain] for domain in benchmark.domains
    ]
    for experience in benchmark.test_stream:
        assert sorted(experience.classes_in_this_experience) == [0, 1, 2]
        assert len(experience.dataset) == 6
    orders = {
        create_benchmark("pacs", data_root=domains, n_tasks=3, seed=s).domains for s in range(8)
    }
    assert len(orders) > 1


def test_domains_of_different_sizes_come_at_the_largest(write_folder, tmp_path):
    for side, domain in ((16, "usps"), (28, "mnist"), (32, "svhn")):
        write_folder(tmp_path / "digits3" / domain, size=(side, side))
    benchmark = create_benchmark("digits3", data_root=tmp_path, n_tasks=3, seed=1)
    for stream in (benchmark.train_stream, benchmark.test_stream):
        assert {image.shape for e in stream for image, *_ in e.dataset} == {(3, 32, 32)}
    small = create_benchmark("digits3", data_root=tmp_path, n_tasks=3, seed=1, size=20)
    assert {image.shape for e in small.train_stream for image, *_ in e.dataset} == {(3, 20, 20)}
    joint = create_benchmark("digits3", data_root=tmp_path, n_tasks=1, seed=1)
    assert len({image.shape for image, *_ in joint.train_stream[0].dataset}) == 1


def test_domains_in_another_order_are_another_stream_of_the_same_images(domains):
    streams = [create_benchmark("pacs", data_root=domains, n_tasks=3, seed=s) for s in range(8)]
    other = next(s for s in streams if s.domains != streams[0].domains)
    assert other.class_order_hash != streams[0].class_order_hash
    assert other.images_digest == streams[0].images_digest


def test_all_domains_at_once_are_one_task(domains):
    benchmark = create_benchmark("pacs", data_root=domains, n_tasks=1, seed=1)
    assert [len(e.dataset) for e in benchmark.train_stream] == [36]


def test_what_makes_no_sense_for_domains_is_refused(domains, write_folder):
    with pytest.raises(OptionError, match=r"n_tasks.*1 or 3 \(the number of domains\).*2"):
        create_benchmark("pacs", data_root=domains, n_tasks=2, seed=1)
    said = "first_task must be left out for a folder of domains, .*, but got 2$"
    with pytest.raises(OptionError, match=said):
        create_benchmark("pacs", data_root=domains, n_tasks=3, seed=1, first_task=2)
    write_folder(domains / "pacs" / "cartoon", ["ant", "bee", "dog"])
    with pytest.raises(DataError, match="other classes"):
        create_benchmark("pacs", data_root=domains, n_tasks=4, seed=1)


@pytest.fixture
def two_sets(write_folder, tmp_path):
    write_folder(tmp_path / "pets", ["cat", "dog", "emu"], size=(6, 6))
    write_folder(tmp_path / "signs", ["cat", "stop"], size=(10, 10))
    return tmp_path


def mix(root, n_tasks=4, **options):
    return create_benchmark("pets+signs", data_root=root, n_tasks=n_tasks, seed=2, **options)


def test_several_sets_become_one_stream_set_by_set(two_sets):
    benchmark = mix(two_sets, size=8)
    names = ("pets/cat", "pets/dog", "pets/emu", "signs/cat", "signs/stop")
    assert benchmark.name == "pets+signs" and benchmark.class_names == names
    owners = [{names[y].split("/")[0] for _, y, *_ in e.dataset} for e in benchmark.train_stream]
    assert owners == [{"pets"}, {"pets"}, {"signs"}, {"signs"}]
    assert sorted(benchmark.class_order) == [0, 1, 2, 3, 4]
    shapes = {tuple(x.shape) for e in benchmark.test_stream for x, *_ in e.dataset}
    assert shapes == {(3, 8, 8)}


def test_an_image_of_the_mixture_is_that_of_its_own_set(two_sets):
    own = create_benchmark("signs", data_root=two_sets, n_tasks=2, seed=2, size=10)
    mixture = mix(two_sets, size=10)
    for theirs, ours in zip(own.test_stream, list(mixture.test_stream)[2:], strict=True):
        for (x, y, *_), (image, label, *_) in zip(theirs.dataset, ours.dataset, strict=True):
            assert torch.equal(x, image) and label == y + 3


def test_the_seed_shuffles_the_tasks_of_a_mixture(two_sets):
    in_turn, shuffled = mix(two_sets), mix(two_sets, task_order="shuffled")
    assert sorted(in_turn.tasks) == sorted(shuffled.tasks)
    orders = {
        create_benchmark(
            "pets+signs", data_root=two_sets, n_tasks=4, seed=s, task_order="shuffled"
        ).tasks
        == create_benchmark("pets+signs", data_root=two_sets, n_tasks=4, seed=s).tasks
        for s in range(6)
    }
    assert orders == {True, False} or orders == {False}


def test_a_mixture_refuses_what_it_cannot_be(two_sets):
    with pytest.raises(OptionError, match=r"n_tasks.*1 or at least 3 \(the number of sets\)"):
        create_benchmark("pets+signs+digits", data_root=two_sets, n_tasks=2, seed=1)
    with pytest.raises(HamError, match="pets\\+pets"):
        create_benchmark("pets+pets", data_root=two_sets, n_tasks=2, seed=1)
    with pytest.raises(UnknownNameError, match="nets"):
        create_benchmark("pets+nets", data_root=two_sets, n_tasks=2, seed=1)
    said = r"n_tasks must be such that those of pets \(4\) are .* at most 3 .*, but got 7"
    with pytest.raises(OptionError, match=said):
        mix(two_sets, n_tasks=7)
    assert len(mix(two_sets, n_tasks=1).train_stream) == 1


@pytest.mark.parametrize("n_tasks", [1, 4, 6])
def test_a_folder_of_domains_is_no_part_of_a_mixture(domains, write_folder, n_tasks):
    write_folder(domains / "pets", ["cat", "dog", "emu"])
    with pytest.raises(OptionError, match="benchmark.*without domains.*pacs"):
        create_benchmark("pets+pacs", data_root=domains, n_tasks=n_tasks, seed=1)


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_a_mixture_of_the_first_classes_of_each_set(two_sets, n_tasks):
    whole, some = mix(two_sets), mix(two_sets, n_tasks, classes=1)
    firsts = [next(y for y in whole.class_order if y in own) for own in ({0, 1, 2}, {3, 4})]
    assert some.class_order == firsts
    assert {y for e in some.train_stream for _, y, *_ in e.dataset} == {*firsts}
    assert some.images_digest != whole.images_digest
    with pytest.raises(OptionError, match="classes must be at least 1"):
        mix(two_sets, classes=0)


def test_a_set_of_fewer_classes_than_asked_for_gives_all_it_has(two_sets):
    most, whole = mix(two_sets, classes=3), mix(two_sets)
    assert most.class_order == whole.class_order and most.images_digest == whole.images_digest
    assert len(mix(two_sets, classes=2).class_order) == 4


def test_another_picture_in_any_part_makes_another_mixture(two_sets, noise):
    before = mix(two_sets).images_digest
    Image.fromarray(noise(99, 10, 10)).save(two_sets / "signs" / "test" / "stop" / "1.png")
    assert mix(two_sets).images_digest != before


def test_an_order_may_be_of_class_names(write_folder, tmp_path):
    write_folder(tmp_path / "pets")
    by_name, by_label = (
        create_benchmark("pets", data_root=tmp_path, n_tasks=3, seed=1, class_order=order)
        for order in (("cat", "ant", "bee"), (2, 0, 1))
    )
    assert by_name.class_order == by_label.class_order == [2, 0, 1]
    for wrong in (("cat", "ant"), ("cat", "ant", "dog"), (2, 0, 0)):
        with pytest.raises(OptionError, match="class_order must be each label from 0 to 2, or"):
            create_benchmark("pets", data_root=tmp_path, n_tasks=3, seed=1, class_order=wrong)
