"""Views by name: each image is moved or mirrored as a whole, by its own draw."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.errors import UnknownNameError
from avalanche_ham.strategies._augment import flip, flip_crop, make_augment


@pytest.fixture
def images():
    return torch.randint(1, 256, (64, 3, 8, 8), dtype=torch.uint8)


def test_about_half_of_the_images_are_mirrored_and_none_is_mixed(images):
    torch.manual_seed(0)
    mirrored = [torch.equal(x, y.flip(-1)) for x, y in zip(flip(images), images)]
    assert 20 < sum(mirrored) < 44
    torch.manual_seed(0)
    kept = [torch.equal(x, y) for x, y in zip(flip(images), images)]
    assert all(a != b for a, b in zip(mirrored, kept))


def test_a_crop_is_the_image_moved_by_at_most_an_eighth(images):
    moves = set()
    for x, y in zip(flip_crop(images), images):
        found = [
            (dy, dx)
            for source in (y, y.flip(-1))
            for dy in range(-1, 2)
            for dx in range(-1, 2)
            if torch.equal(x, _moved(source, dy, dx))
        ]
        assert len(found) == 1
        moves.update(found)
    assert len(moves) == 9


def _moved(image, dy, dx):
    """The slow way: pixel (r, c) comes from (r + dy, c + dx), black where there is none."""
    moved = torch.zeros_like(image)
    for r in range(8):
        for c in range(8):
            if 0 <= r + dy < 8 and 0 <= c + dx < 8:
                moved[:, r, c] = image[:, r + dy, c + dx]
    return moved


def test_names_are_those_that_there_are():
    assert make_augment("none") is None and make_augment(None) is None
    assert make_augment("flip") is flip and make_augment(len) is len
    with pytest.raises(UnknownNameError, match="augment must be one of flip, flip_crop, none"):
        make_augment("mixup")
