import struct

import numpy as np
import PIL
import pytest
from PIL import EpsImagePlugin, ExifTags, Image, ImageOps

from avalanche_ham.benchmarks._decoding import decode
from avalanche_ham.errors import DataError

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)  # upper byte: the row

writes_16_bit_transparency = pytest.mark.skipif(
    PIL.__version__ < "10.1", reason="this Pillow reads such files, but writes none"
)


@pytest.fixture
def saved(tmp_path):
    """Give a function that writes an image file; returns its path."""

    def save(image, suffix="png", **options):
        path = tmp_path / f"image.{suffix}"
        image.save(path, **options)
        return str(path)

    return save


def picture(pixels):
    """What ``decode`` should give for RGB pixels ``(H, W, 3)`` of its size."""
    return np.asarray(pixels).transpose(2, 0, 1)


def test_the_centre_of_a_wide_image_is_kept(saved):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (0, 100, 200)  # the middle square, between black sides
    inner = decode(saved(Image.fromarray(wide)), 10)[:, :, 2:-2]
    assert (inner == np.array([0, 100, 200]).reshape(3, 1, 1)).all()


def test_shrinking_is_antialiased(saved):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # taking every n-th pixel would give black or white
    small = decode(saved(Image.fromarray(stripes)), 8)[:, :, 2:-2]
    assert small.min() > 120 and small.max() < 136


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_opaque_colour_mode_becomes_rgb(mode, saved, noise):
    image = Image.fromarray(noise(5)).convert(mode)
    found = decode(saved(image, "tif" if mode == "CMYK" else "png"), 6)
    assert np.array_equal(found, picture(image.convert("RGB")))
    assert mode not in ("L", "1") or (found[0] == found[2]).all()


def with_alpha(noise, mode):
    image = Image.fromarray(noise(5)).convert(mode)
    alpha = Image.fromarray(np.full((6, 6), 255, np.uint8))
    alpha.paste(0, (0, 0, 6, 3))  # the upper half is transparent
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparent_pixels_are_white(mode, suffix, saved, noise):
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    found = decode(saved(with_alpha(noise, mode), suffix, **options), 6)
    opaque = picture(Image.fromarray(noise(5)).convert(mode).convert("RGB"))
    assert (found[:, :3] == 255).all()
    assert np.array_equal(found[:, 3:], opaque[:, 3:])


def test_half_transparent_pixels_are_halfway_to_white(saved):
    image = Image.new("RGBA", (4, 4), (0, 100, 200, 128))
    found = decode(saved(image), 4)[:, 0, 0].astype(int)
    assert np.abs(found - np.array([127, 177, 227])).max() <= 1


def test_transparency_ends_sharply_when_the_image_is_made_smaller(saved):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :, 0] = 255  # red everywhere, hidden outside the middle
    pixels[16:48, 16:48] = (0, 0, 255, 255)
    found = decode(saved(Image.fromarray(pixels)), 16).astype(int)
    assert (found[0] <= found[1] + 1).all()  # no red shines through, only blue and white


@pytest.mark.parametrize(
    "mode, colour, transparent",
    [
        ("L", 90, 90),
        ("1", 0, 0),
        ("RGB", (9, 90, 200), (9, 90, 200)),
        ("P", 7, 7),
        ("P", 7, bytes([255] * 7 + [0])),
        pytest.param("I;16", 300, 300, marks=writes_16_bit_transparency),
    ],
)
def test_the_one_colour_that_stands_for_transparency_is_white(mode, colour, transparent, saved):
    image = Image.new(mode, (6, 6), colour)
    if mode == "P":
        image.putpalette([value for i in range(256) for value in (i, 0, 90)])
    assert (decode(saved(image), 6) < 255).any()
    assert (decode(saved(image, transparency=transparent), 6) == 255).all()


@pytest.mark.parametrize("order, suffix", [("<", "png"), ("<", "tif"), (">", "tif")])
def test_16_bit_grey_keeps_its_upper_eight_bits(order, suffix, saved):
    found = decode(saved(Image.fromarray(RAMP.astype(f"{order}u2")), suffix), 256)
    assert np.array_equal(found, np.stack([RAMP >> 8] * 3))


@pytest.mark.parametrize("white, shift", [(65535, 8), (255, 0)])
def test_grey_of_a_pgm_file_reaches_from_black_to_white(white, shift, tmp_path):
    values = (RAMP >> (8 - shift)).astype(">u2" if shift else "u1")
    header = f"P5 256 256 {white}\n".encode()
    (tmp_path / "image.pgm").write_bytes(header + values.tobytes())
    found = decode(str(tmp_path / "image.pgm"), 256)
    assert np.array_equal(found, np.stack([RAMP >> 8] * 3))


def with_tag(path, tag, old, new):
    """Change the value of a TIFF tag in the file itself."""
    before, after = (struct.pack("<HHIH", tag, 3, 1, value) for value in (old, new))
    with open(path, "r+b") as file:
        data = file.read()
        assert before in data
        file.seek(0)
        file.write(data.replace(before, after))
    return path


@pytest.mark.parametrize(
    "pixels, tag, mode",
    [
        (RAMP.astype(np.int32), None, "I"),
        ((RAMP / 65535).astype(np.float32), None, "F"),
        (RAMP, (258, 16, 12), "I;16"),  # 12 bits
        (RAMP, (262, 1, 0), "I;16"),  # white at 0
    ],
)
def test_grey_without_a_known_white_is_refused_by_name(pixels, tag, mode, saved):
    path = saved(Image.fromarray(pixels), "tif")
    if tag:
        with_tag(path, *tag)
    with pytest.raises(DataError, match=f"{path} has pixels of mode {mode} ") as caught:
        decode(path, 8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_images_are_turned_upright(orientation, suffix, saved, noise):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(Image.fromarray(noise(5)), suffix, exif=exif, **options)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert np.array_equal(decode(path, 6), picture(upright))


def test_a_box_is_in_pixels_as_stored_and_its_part_is_turned(saved, noise):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = saved(Image.fromarray(noise(5)), exif=exif)
    corner = np.rot90(noise(5)[:3, 3:], k=-1)
    assert np.array_equal(decode(path, 3, (3, 0, 6, 3)), picture(corner))


def exif_with(tag, kind):
    """Give the bytes of an orientation (a quarter turn) and of one more tag."""
    tags = [(ExifTags.Base.Orientation, 3, 1, 6), (tag, kind, 1, 38)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in tags)
    header = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags))
    return header + body + struct.pack("<III", 0, 72, 1)


@pytest.mark.parametrize(
    "exif, turns",
    [
        (b"Exif\0\0nothing of the kind", 0),
        (exif_with(ExifTags.Base.Software, kind=5), 1),  # a fraction in place of text
    ],
)
def test_damaged_exif_does_not_spoil_an_image(exif, turns, saved, noise):
    path = saved(Image.fromarray(noise(5)), exif=exif)
    assert np.array_equal(decode(path, 6), picture(np.rot90(noise(5), k=-turns)))


def test_a_postscript_file_in_disguise_is_not_run(tmp_path, monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("an outside program was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n"
    (tmp_path / "image.png").write_bytes(program)
    with pytest.raises(DataError) as caught:
        decode(str(tmp_path / "image.png"), 6)
    assert not isinstance(caught.value.__cause__, AssertionError)
