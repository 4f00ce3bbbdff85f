"""One image file as a small square of RGB bytes, whatever its pixels are stored as."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from avalanche_ham.benchmarks._image_files import Box
from avalanche_ham.errors import DataError

__all__ = ["DECODER", "decode", "stored_size"]

# To be raised when decoding gives other pixels, so that old caches are not found.
DECODER = 2
# Plain raster formats only: PIL hands others (EPS) to outside programs.
FORMATS: tuple[str, ...] = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
if importlib.util.find_spec("PIL.AvifImagePlugin"):  # Pillow >= 11.3
    FORMATS = ("AVIF", *FORMATS)

ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS, PHOTOMETRIC, BLACK_IS_ZERO = 258, 262, 1  # TIFF tags, and a value of the second


def stored_size(path: str) -> tuple[int, int]:
    """Give an image's width and height as stored, before any turn.

    Raises:
        DataError: as ``decode``.
    """
    with _opened(path) as image:
        return image.size


def decode(path: str, side: int, box: Box | None = None) -> np.ndarray:
    """Read one image as a uint8 RGB square of shape ``(3, side, side)``.

    16-bit channels keep their upper eight bits, transparency shows white, of several frames the
    first is taken, and the picture is turned as its EXIF orientation says. The shorter side is
    resized to ``side`` (bicubic, antialiased) and the centre kept.

    Args:
        box: the part to crop first, in pixels as stored; None for the whole image.

    Raises:
        DataError: if the file cannot be read, is corrupt or not an image, is larger than Pillow
            reads, or if its grey values have no known black and white (32-bit and floating
            point images); the message names the file and the reason.
    """
    with _opened(path) as image:
        image.load()
        rgb = _as_rgb(image)
        part = rgb.crop(_inside(box, image.size)) if box else rgb
        turn = TURNS.get(_orientation(image))
        upright = part if turn is None else part.transpose(turn)
        square = ImageOps.fit(upright, (side, side), method=Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """Open an image; whatever fails inside is one line on this file."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except DataError as error:
        raise DataError(f"{path} has {error}") from error
    except Exception as error:  # damaged files make PIL raise nearly anything
        raise DataError(f"{path} {_reason(path, error)}") from error


def _reason(path: str, error: Exception) -> str:
    """Say what is wrong: with the machine, with a limit, or with the file itself."""
    words = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "cannot be read (there is not enough memory)"
    if isinstance(error, OSError) and error.errno is not None:
        cure = "; `ulimit -n` raises the limit" if error.errno == errno.EMFILE else ""
        return f"cannot be read ({error.strerror}{cure})"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"is too large for Pillow ({words}); make it smaller first"
    if "MAX_TEXT" in words or "Data Too Large" in words:  # as older versions of Pillow say it
        return f"has more text beside its pixels than Pillow reads ({words}); save it without"
    if isinstance(error, UnidentifiedImageError):
        return _foreign(path)
    return f"is corrupt or not an image ({words})"


def _foreign(path: str) -> str:
    """Say what a file is whose format is none of those that are read."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; fetch the image itself with `git lfs pull`"
    if start[4:8] == b"ftyp":  # ISO base media: HEIC, or AVIF without support for it
        brand = start[8:12].decode("ascii", "replace")
        return f"is an image of format {brand}, which is not read; save it as PNG or JPEG"
    return f"is corrupt or not an image (none of {', '.join(FORMATS)})"


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _upper_bits(image).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _upper_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to bytes, as PIL itself scales 16-bit colour.

    Raises:
        DataError: if black and white are not known; the caller adds the file.
    """
    if not _fills_16_bits(image):
        raise DataError(
            f"pixels of mode {image.mode} whose black and white are not known; "
            "it must be saved with 8 or 16 bits per channel"
        )
    values = np.asarray(image)
    # one value may stand for transparent pixels
    values = np.where(values == image.info.get("transparency"), 65535, values)
    return Image.fromarray((values >> 8).astype(np.uint8))


def _fills_16_bits(image: Image.Image) -> bool:
    """Whether grey values run from black at 0 to white at 65535."""
    if image.mode == "I":  # PIL widens 16 bits of these formats without scaling
        return image.format in ("PNG", "PPM")
    tags = getattr(image, "tag_v2", {})  # TIFF: also 12 bits, also white at 0
    return (
        image.mode.startswith("I;16")
        and tags.get(BITS, (16,)) == (16,)
        and tags.get(PHOTOMETRIC, BLACK_IS_ZERO) == BLACK_IS_ZERO
    )


def _orientation(image: Image.Image) -> int:
    """Give the EXIF orientation, 1 (upright) where there is none or EXIF is damaged.

    ``ImageOps.exif_transpose`` also writes the other tags anew, and fails over odd ones.
    """
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # PIL raises nearly anything; the pixels are whole
        return 1


def _inside(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
