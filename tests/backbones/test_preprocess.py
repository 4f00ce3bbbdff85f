"""Preprocessing against torchvision's transforms, byte images and float images."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from avalanche_ham.backbones import Preprocess
from avalanche_ham.backbones.preprocess import resize
from avalanche_ham.errors import DataError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def batch(height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, channels, height, width), generator=generator).byte()


def torchvision(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    transform = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize(size, interpolation=v2.InterpolationMode.BILINEAR, antialias=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return transform(images)


@pytest.mark.parametrize(
    "shape", [(8, 8), (16, 16), (40, 40), (33, 21), (12, 40), (40, 12)], ids=str
)
def test_bytes_are_scaled_resized_and_normalised_as_torchvision_does(shape):
    images = batch(*shape)
    ours = Preprocess((16, 16), MEAN, STD)(images)
    torch.testing.assert_close(ours, torchvision(images, (16, 16)), rtol=1e-4, atol=1e-5)


def test_a_size_that_is_not_square_is_height_and_width():
    ours = Preprocess((16, 24), MEAN, STD)(batch(30, 30))
    assert ours.shape == (2, 3, 16, 24)
    torch.testing.assert_close(ours, torchvision(batch(30, 30), (16, 24)), rtol=1e-4, atol=1e-5)


def test_shrinking_is_antialiased():
    images = batch(64, 64)
    ours = Preprocess((16, 16), MEAN, STD)(images)
    rough = F.interpolate(images / 255, (16, 16), mode="bilinear", align_corners=False)
    rough = (rough - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert (ours - rough).abs().max() > 0.5


@pytest.mark.parametrize("shape", [(5, 7), (32, 32), (12, 40), (64, 20), (90, 33)], ids=str)
def test_resizing_by_matrices_equals_interpolation(shape):
    images = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0)).double()
    images.requires_grad_()
    ours = resize(images, (24, 36))
    shrinks = shape[0] > 24 or shape[1] > 36
    theirs = F.interpolate(images, (24, 36), mode="bilinear", antialias=shrinks)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    pull = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    (mine,) = torch.autograd.grad(ours, images, pull)
    (other,) = torch.autograd.grad(theirs, images, pull)
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_resizing_stays_in_fp32_under_autocast():
    images, preprocess = batch(8, 8), Preprocess((16, 16), MEAN, STD)
    with torch.autocast("cpu", torch.bfloat16):
        half = preprocess(images)
    assert half.dtype == torch.float32 and torch.equal(half, preprocess(images))


def test_what_inference_has_resized_first_can_be_trained_on_later():
    with torch.inference_mode():
        resize(torch.randn(1, 3, 11, 13), (16, 16))
    images = torch.randn(1, 3, 11, 13, requires_grad=True)
    resize(images, (16, 16)).sum().backward()
    assert images.grad is not None


def test_float_images_are_never_normalised():
    images = torch.randn(2, 3, 16, 16)
    preprocess = Preprocess((16, 16), MEAN, STD)
    assert torch.equal(preprocess(images), images)
    images = torch.rand(2, 3, 24, 24)
    expected = v2.functional.resize(images, [16, 16], antialias=True)
    torch.testing.assert_close(preprocess(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 20])
def test_grey_images_are_the_same_as_their_three_equal_channels(size):
    grey = batch(size, size, channels=1)
    preprocess = Preprocess((16, 16), MEAN, STD)
    assert torch.equal(preprocess(grey), preprocess(grey.repeat(1, 3, 1, 1)))
    real = grey.float() / 255
    assert torch.equal(preprocess(real), preprocess(real.repeat(1, 3, 1, 1)))


def test_the_given_batch_is_not_changed():
    images, real = batch(16, 16), torch.randn(2, 3, 16, 16)
    kept, kept_real = images.clone(), real.clone()
    preprocess = Preprocess((16, 16), MEAN, STD)
    preprocess(images), preprocess(real)
    assert torch.equal(images, kept) and torch.equal(real, kept_real)


def test_its_constants_are_no_part_of_a_saved_state():
    assert not Preprocess((16, 16), MEAN, STD).state_dict()


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 4, 16, 16), (2, 16, 16, 3), (2, 2, 3, 8, 8)])
def test_a_wrong_shape_is_refused_with_the_shape_in_the_message(shape):
    with pytest.raises(DataError, match=r"\(N, 1 or 3, H, W\), but got \(" + str(shape[0])):
        Preprocess((16, 16), MEAN, STD)(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_images_that_are_neither_bytes_nor_floats_are_refused(dtype):
    with pytest.raises(DataError, match="uint8 or floating point"):
        Preprocess((16, 16), MEAN, STD)(batch(16, 16).to(dtype))
