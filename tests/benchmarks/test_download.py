import hashlib
import io
import tarfile
import zipfile

import pytest

from avalanche_ham.benchmarks._download import fetch_folder
from avalanche_ham.errors import DataError

NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


def write_tgz(path, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"hello"))


def write_zip(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "hello")


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name, write", [("d.tgz", write_tgz), ("d.zip", write_zip)])
def test_the_one_folder_of_an_intact_archive_is_unpacked(name, write, tmp_path):
    write(tmp_path / name, ["data/a/b.txt", "other.txt"])
    folder = fetch_folder(
        f"{NOWHERE}/{name}", md5=md5_of(tmp_path / name), root=tmp_path, folder="data"
    )
    assert folder == tmp_path / "data"
    assert (folder / "a" / "b.txt").read_text() == "hello"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", name])


def test_an_archive_with_another_checksum_is_not_unpacked(tmp_path):
    write_zip(tmp_path / "d.zip", ["data/a.txt"])
    with pytest.raises(DataError, match="d.zip cannot be downloaded into"):
        fetch_folder(f"{NOWHERE}/d.zip", md5="0" * 32, root=tmp_path, folder="data")
    assert not (tmp_path / "data").exists()


def test_an_archive_without_the_folder_leaves_nothing(tmp_path):
    write_zip(tmp_path / "d.zip", ["data/a.txt"])
    md5 = md5_of(tmp_path / "d.zip")
    with pytest.raises(DataError, match="d.zip does not hold a folder birds"):
        fetch_folder(f"{NOWHERE}/d.zip", md5=md5, root=tmp_path, folder="birds")
    assert [path.name for path in tmp_path.iterdir()] == ["d.zip"]
