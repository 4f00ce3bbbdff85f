"""ImageNet-R as it is published, all images in one folder, is drawn into two parts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import random_split
from torchvision.datasets import ImageFolder

from avalanche_ham.benchmarks.imagenet_r import imagenet_r


def test_the_draw_is_that_of_random_split_at_every_seed_of_a_run(write_folder, tmp_path):
    root = write_folder(tmp_path / "written", ["n1", "n2", "n3"], counts=(9, 0))
    (root / "train").rename(tmp_path / "imagenet-r")
    images = ImageFolder(tmp_path / "imagenet-r")
    parts = random_split(images, [21, 6], generator=torch.Generator().manual_seed(42))
    for seed in (1, 2):
        benchmark = imagenet_r(data_root=tmp_path, n_tasks=1, seed=seed)
        assert benchmark.class_names == ("n1", "n2", "n3")
        for stream, part in zip((benchmark.train_stream, benchmark.test_stream), parts):
            found = {(image.numpy().tobytes(), label) for image, label, *_ in stream[0].dataset}
            expected = [part.dataset[row] for row in part.indices]
            assert len(found) == len(expected)
            for picture, label in expected:
                pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(6, 6, 3)
                assert (pixels.permute(2, 0, 1).contiguous().numpy().tobytes(), label) in found


@pytest.mark.parametrize("folder", ["imagenet_r", "imagenet-r"])
def test_a_list_of_ones_own_is_used_by_laying_the_images_out(folder, write_folder, tmp_path):
    write_folder(tmp_path / folder, counts=(3, 2))
    benchmark = imagenet_r(data_root=tmp_path, n_tasks=1, seed=1)
    streams = (benchmark.train_stream, benchmark.test_stream)
    assert [len(stream[0].dataset) for stream in streams] == [9, 6]
