import collections
import multiprocessing
import os
import pathlib
import shutil
import signal
import time

import pytest
import torch
from PIL import Image, ImageOps

from avalanche_ham.benchmarks import _image_cache
from avalanche_ham.benchmarks.image_folder import open_folder
from avalanche_ham.errors import DataError, OptionError


@pytest.fixture
def decoded(monkeypatch):
    """Collect the paths of the images that are decoded."""
    paths, original = [], _image_cache.decode

    def spy(path, side, box):
        paths.append(path)
        return original(path, side, box)

    monkeypatch.setattr(_image_cache, "decode", spy)
    return paths


@pytest.fixture
def folder(write_folder, tmp_path):
    return write_folder(tmp_path / "mine")


def pixels(images):
    return torch.stack([x for x, _ in images])


def test_images_are_decoded_once_and_then_only_opened(folder, decoded):
    first = pixels(open_folder(folder)[0])
    assert len(decoded) == 15
    assert torch.equal(pixels(open_folder(folder)[0]), first)
    assert len(decoded) == 15


def test_a_moved_folder_finds_its_images(folder, decoded):
    open_folder(folder)
    open_folder(folder.rename(folder.with_name("moved")))
    assert len(decoded) == 15


@pytest.mark.parametrize("place", ["0.bmp", "1.bmp", "599.bmp"])
def test_a_picture_replaced_by_one_of_its_size_is_noticed(place, tmp_path, noise):
    for part in ("train", "test"):
        for number in range(600 if part == "train" else 1):  # more than any sample of them
            path = tmp_path / "set" / part / "ant" / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(number)).save(path)
    changed = tmp_path / "set" / "train" / "ant" / place
    before = open_folder(tmp_path / "set")[0]
    status = changed.stat()
    Image.fromarray(noise(1000)).save(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    after = open_folder(tmp_path / "set")[0]
    row = sorted(f"{number}.bmp" for number in range(600)).index(place)
    assert torch.equal(after[row][0], torch.from_numpy(noise(1000)).permute(2, 0, 1))
    assert after.digest(row) != before.digest(row)
    assert sum(after.digest(k) != before.digest(k) for k in range(600)) == 1


@pytest.mark.parametrize("margin", [0, 40], ids=["plain", "with white margins"])
def test_data_sets_that_differ_in_pixels_alone_are_not_confused(margin, tmp_path, noise):
    for seed in (1, 2):
        for part in ("train", "test"):
            path = tmp_path / f"set {seed}" / part / "ant" / "0.bmp"
            path.parent.mkdir(parents=True)
            image = ImageOps.expand(Image.fromarray(noise(seed)), margin, "white")
            image.save(path)
            os.utime(path, ns=(1, 1))
    for seed in (1, 2):
        image = open_folder(tmp_path / f"set {seed}")[0][0][0]
        centre = image[:, margin : margin + 6, margin : margin + 6]
        assert torch.equal(centre, torch.from_numpy(noise(seed)).permute(2, 0, 1))


def test_a_new_a_lost_and_a_renamed_image_are_noticed(folder, decoded):
    open_folder(folder)
    source = folder / "train" / "ant" / "0.png"
    shutil.copy2(source, folder / "train" / "bee" / "9.png")
    assert len(open_folder(folder)[0]) == 10
    source.unlink()
    assert len(open_folder(folder)[0]) == 9
    (folder / "train" / "bee" / "9.png").rename(folder / "train" / "cat" / "9.png")
    assert open_folder(folder)[0].targets == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert len(decoded) == 15 + 16 + 15 + 15


def test_each_size_has_its_own_entry(folder, decoded):
    assert open_folder(folder, size=4)[0].image_shape == (3, 4, 4)
    assert open_folder(folder, size=5)[1].image_shape == (3, 5, 5)
    assert open_folder(folder, size=4)[0].image_shape == (3, 4, 4)
    assert len(decoded) == 30


def test_images_of_one_small_size_are_not_enlarged(write_folder, tmp_path):
    square = write_folder(tmp_path / "square", size=(6, 6))
    wide = write_folder(tmp_path / "wide", size=(9, 6))
    assert open_folder(square, size=224)[0].image_shape == (3, 6, 6)
    assert open_folder(wide, size=224)[0].image_shape == (3, 6, 6)


def test_images_of_different_sizes_become_squares_of_the_size(folder, noise):
    Image.fromarray(noise(1, 30, 20)).save(folder / "test" / "ant" / "0.png")
    train, test = open_folder(folder, size=12)
    assert train.image_shape == test.image_shape == (3, 12, 12)


def test_a_decoding_that_fails_midway_leaves_nothing(folder, cache, monkeypatch):
    original, done = _image_cache.decode, []

    def stop_after_seven(path, side, box):
        done.append(path)
        if len(done) > 7:
            raise KeyboardInterrupt
        return original(path, side, box)

    monkeypatch.setattr(_image_cache, "decode", stop_after_seven)
    with pytest.raises(KeyboardInterrupt):
        open_folder(folder)
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(_image_cache, "decode", original)
    assert len(open_folder(folder)[0]) == 9


def test_a_killed_decoding_is_never_taken_for_complete(folder, cache, noise):
    def decode_until_killed():
        original, done = _image_cache.decode, []

        def kill_after_seven(path, side, box):
            done.append(path)
            if len(done) > 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(path, side, box)

        _image_cache.decode = kill_after_seven
        open_folder(folder)

    process = multiprocessing.get_context("fork").Process(target=decode_until_killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert {path.suffix for path in cache.iterdir()} == {".lock", ".partial"}
    train, _ = open_folder(folder)
    assert torch.equal(train[8][0], torch.from_numpy(noise(9)).permute(2, 0, 1))


def test_what_a_long_dead_decoding_left_is_removed(folder, cache):
    for name, age in (("old.partial", 48), ("young.partial", 1)):
        (cache / name).mkdir(parents=True)
        then = time.time() - age * 3600
        os.utime(cache / name, (then, then))
    open_folder(folder)
    assert not (cache / "old.partial").exists() and (cache / "young.partial").exists()


def test_what_another_process_removes_at_the_same_time_is_no_error(folder, cache):
    cache.mkdir(parents=True)
    (cache / "gone.partial").symlink_to(cache / "nowhere")  # listed, but not to be found
    assert len(open_folder(folder)[0]) == 9


def test_a_damaged_entry_is_made_anew(folder, cache, decoded):
    before = pixels(open_folder(folder)[0])
    (entry,) = cache.iterdir()
    os.truncate(entry / "train.rows", 200)
    with pytest.warns(UserWarning, match="train.rows is damaged; the images are decoded again"):
        assert torch.equal(pixels(open_folder(folder)[0]), before)
    assert len(decoded) == 30


def test_a_flipped_bit_of_a_picture_is_noticed(folder, cache, decoded):
    before = pixels(open_folder(folder)[0])
    (path,) = cache.glob("*/train.rows")
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    with pytest.warns(UserWarning, match="decoded again"):
        assert torch.equal(pixels(open_folder(folder)[0]), before)
    assert path.read_bytes() == data


def test_two_processes_decode_a_folder_once(folder, cache, tmp_path):
    def decode_and_tell(number):
        original = _image_cache.decode

        def slow(path, side, box):
            with open(tmp_path / "decoded", "a") as file:
                file.write("x")
            time.sleep(0.02)
            return original(path, side, box)

        _image_cache.decode = slow
        assert len(open_folder(folder)[0]) == 9

    context = multiprocessing.get_context("fork")
    both = [context.Process(target=decode_and_tell, args=(k,)) for k in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "decoded").read_text() == 15 * "x"


def test_another_user_can_read_an_entry(folder, cache):
    before = os.umask(0o022)
    try:
        open_folder(folder)
    finally:
        os.umask(before)
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in entry.iterdir()} == {0o644}


def test_an_entry_serves_where_no_lock_can_be_made(folder, cache, decoded, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    assert len(open_folder(folder)[0]) == 9
    open_folder(folder)
    assert len(decoded) == 15


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "rename"])
def test_a_disk_that_fills_while_decoding_is_one_line(folder, cache, monkeypatch, call):
    real = getattr(os, call)

    def full(path, *args, **kwargs):
        writes = call != "open" or args[0] & os.O_CREAT
        if call == "fsync" or (".partial" in str(path) and writes):
            raise OSError(28, "No space left on device", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, call, full)
    if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10, whose paths keep their own references
        monkeypatch.setattr(pathlib._NormalAccessor, call, staticmethod(full), raising=False)
    with pytest.raises(DataError, match=r"cannot be written \(No space left.*HAM_CACHE"):
        open_folder(folder)
    monkeypatch.undo()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("content", ["text", "cut", "empty", "cut header"])
def test_a_corrupt_image_is_named_and_leaves_nothing(content, folder, cache):
    broken = folder / "test" / "cat" / "1.png"
    whole = broken.read_bytes()
    kept = {
        "text": b"hello",
        "cut": whole[:-40],
        "empty": b"",
        "cut header": whole[:20],
    }
    broken.write_bytes(kept[content])
    with pytest.raises(DataError, match="test/cat/1.png is (corrupt or not|empty)") as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_an_image_that_cannot_be_read_is_named(folder, cache):
    (folder / "train" / "bee" / "1.png").unlink()
    (folder / "train" / "bee" / "1.png").mkdir()
    with pytest.raises(DataError, match=r"bee/1.png cannot be read \(it is a folder, not a file\)"):
        open_folder(folder)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="file/images cannot be written .*HAM_CACHE"):
        open_folder(folder)


def test_a_cache_inside_the_images_is_refused(folder, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(folder / "train" / "cache"))
    with pytest.raises(DataError, match="must lie outside .*mine/train"):
        open_folder(folder)
    assert not (folder / "train" / "cache").exists()


def test_a_full_disk_is_noticed_before_decoding(folder, cache, decoded, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(15 * 3 * 36 - 1))
    with pytest.raises(DataError, match="GiB left"):
        open_folder(folder)
    assert decoded == [] and list(cache.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(15 * 3 * 36))
    open_folder(folder)


def test_the_size_must_be_positive(folder):
    with pytest.raises(OptionError, match="size must be at least 1, but got 0"):
        open_folder(folder, size=0)


def test_the_cache_is_below_the_home_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("AVALANCHE_HAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _image_cache.cache_folder() == tmp_path / ".cache/avalanche_ham/images"
