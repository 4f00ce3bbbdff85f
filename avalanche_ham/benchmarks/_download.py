"""Fetch a published archive: verified by its checksum before anything is unpacked."""

from __future__ import annotations

import http.client
import tempfile
from pathlib import Path

from torchvision.datasets.utils import download_url, extract_archive

from avalanche_ham.errors import DataError

__all__ = ["DOWNLOAD_ERRORS", "fetch_folder"]

# What torchvision's download functions raise; an interrupted answer is no OSError.
DOWNLOAD_ERRORS = (OSError, RuntimeError, http.client.HTTPException)


def fetch_folder(url: str, *, md5: str, root: Path, folder: str) -> Path:
    """Download an archive into ``root`` and unpack the one folder of it that is needed.

    The folder appears under its name only when all of it is unpacked. An archive that
    is already there and intact is not downloaded again.

    Returns:
        The path ``root/folder``.

    Raises:
        DataError: if the download fails, the checksum differs or the folder is not in
            the archive.
    """
    try:
        download_url(url, root, md5=md5)
    except DOWNLOAD_ERRORS as error:
        raise DataError(f"{url} cannot be downloaded into {root} ({error})") from error
    archive = root / url.rpartition("/")[2]
    with tempfile.TemporaryDirectory(dir=root, suffix=".tmp") as temporary:
        extract_archive(archive, temporary)
        unpacked = Path(temporary, folder)
        if not unpacked.is_dir():
            raise DataError(f"{archive} does not hold a folder {folder}")
        return unpacked.rename(root / folder)
