"""Pictures that are not plain 8-bit JPEG or PNG: decoded rightly, or refused with the reason."""

from __future__ import annotations

import builtins
import errno
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import Image, PngImagePlugin, features

from avalanche_ham.benchmarks._decoding import decode
from avalanche_ham.benchmarks._image_files import scan_classes
from avalanche_ham.errors import DataError

COLOUR_TYPES = {0: 1, 2: 3, 4: 2, 6: 4}  # of PNG: grey, RGB, both with alpha -> channels


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(pixels: np.ndarray, colour_type: int) -> bytes:
    """Write a PNG file of 8 or 16 bits by hand; pixels ``(H, W, channels)``."""
    height, width, _ = pixels.shape
    bits = 8 * pixels.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("colour_type", COLOUR_TYPES)
def test_a_16_bit_png_is_the_8_bit_picture(colour_type, tmp_path):
    shape = (6, 6, COLOUR_TYPES[colour_type])
    eight = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if colour_type in (4, 6):
        eight[..., -1] = np.where(eight[..., -1] > 99, 255, 0)
    (tmp_path / "8.png").write_bytes(png(eight, colour_type))
    (tmp_path / "16.png").write_bytes(png(eight.astype(np.uint16) * 257, colour_type))
    found = decode(str(tmp_path / "16.png"), 6)
    assert np.array_equal(found, decode(str(tmp_path / "8.png"), 6))
    assert len(np.unique(found)) > 20  # not clipped to white


def test_the_first_frame_of_a_gif_is_the_picture(tmp_path, noise):
    frames = [Image.fromarray(noise(seed)).convert("P") for seed in (1, 2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    expected = np.asarray(frames[0].convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode(str(tmp_path / "a.gif"), 6), expected)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_an_avif_is_decoded(tmp_path):
    Image.new("RGB", (6, 6), (200, 100, 50)).save(tmp_path / "a.avif", quality=100)
    found = decode(str(tmp_path / "a.avif"), 6).astype(int)
    assert np.abs(found - np.array([200, 100, 50]).reshape(3, 1, 1)).max() <= 3


def test_a_cmyk_jpeg_has_the_colours_that_it_was_made_from(tmp_path):
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    image.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    found = decode(str(tmp_path / "a.jpg"), 8).astype(int)
    assert np.abs(found - np.array([200, 100, 50]).reshape(3, 1, 1)).max() <= 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer; fetch"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "is an image of format heic, which is not read"),
        (b"<html>", r"is corrupt or not an image \(none of .*JPEG, PNG"),
    ],
)
def test_a_file_that_holds_something_else_says_what(content, reason, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path} {reason}"):
        decode(str(path), 6)


def test_a_truncated_picture_is_corrupt(tmp_path, noise):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(5)).resize((64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=f"^{path} is corrupt or not an image .*truncated"):
        decode(str(path), 6)


@pytest.mark.parametrize("as_error", [False, True])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_over_pillows_limit_is_not_called_corrupt(as_error, tmp_path, monkeypatch, noise):
    path = tmp_path / "a.png"
    Image.fromarray(noise(5)).save(path)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10 if as_error else 20)  # of 36
    if not as_error:  # below twice the limit Pillow warns
        assert decode(str(path), 6).shape == (3, 6, 6)
        return
    with pytest.raises(DataError, match=f"^{path} is too large for Pillow .*36 pixels"):
        decode(str(path), 6)


def test_a_png_with_long_text_is_not_called_corrupt(tmp_path, noise):
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "y" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    path = tmp_path / "a.png"
    Image.fromarray(noise(5)).save(path, pnginfo=info)
    with pytest.raises(DataError, match=f"^{path} has more text beside its pixels than Pillow"):
        decode(str(path), 6)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), r"Permission denied\)"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files; `ulimit -n`"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), r"Input/output error\)"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_a_picture_that_cannot_be_read_now_is_not_called_corrupt(
    error, reason, tmp_path, monkeypatch, noise
):
    path = tmp_path / "a.png"
    Image.fromarray(noise(5)).save(path)

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(DataError, match=rf"^{path} cannot be read \({reason}"):
        decode(str(path), 6)


def test_truly_too_many_open_files_are_said(tmp_path, noise):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.png"
    Image.fromarray(noise(5)).save(path)
    decode(str(path), 6)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # what is open stays open
    try:
        with pytest.raises(DataError, match="Too many open files"):
            decode(str(path), 6)
        with pytest.raises(DataError, match=f"{tmp_path} cannot be read .Too many open files"):
            scan_classes(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
