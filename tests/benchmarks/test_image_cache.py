import collections
import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from avalanche_ham.benchmarks import _image_cache
from avalanche_ham.benchmarks.image_folder import open_folder
from avalanche_ham.errors import DataError, OptionError


@pytest.fixture
def decoded(monkeypatch):
    """Collect the paths of the images that are decoded."""
    paths, original = [], _image_cache._decode

    def spy(path, side, box):
        paths.append(path)
        return original(path, side, box)

    monkeypatch.setattr(_image_cache, "_decode", spy)
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


def test_a_changed_image_is_decoded_again(folder, decoded, noise):
    open_folder(folder)
    changed = folder / "train" / "bee" / "1.png"
    Image.fromarray(noise(99)).save(changed)
    os.utime(changed, ns=(1, 1))
    image = open_folder(folder)[0][4][0]
    assert torch.equal(image, torch.from_numpy(noise(99)).permute(2, 0, 1))
    assert collections.Counter(decoded)[str(changed)] == 2


def test_an_image_of_another_size_is_noticed_though_its_time_is_the_same(
    folder, decoded, noise
):
    open_folder(folder)
    changed = folder / "train" / "bee" / "1.png"
    then = changed.stat().st_mtime_ns
    Image.fromarray(noise(99, 9, 9)).save(changed)
    os.utime(changed, ns=(then, then))
    open_folder(folder)
    assert len(decoded) == 30


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


def test_the_centre_of_a_wide_image_is_kept(folder):
    for path in folder.rglob("*.png"):
        wide = np.zeros((20, 60, 3), np.uint8)
        wide[:, 20:40] = (0, 100, 200)  # the middle square, between black sides
        Image.fromarray(wide).save(path)
    inner = pixels(open_folder(folder, size=10)[0])[:, :, :, 2:-2]
    expected = torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1)
    assert torch.equal(inner, expected.expand_as(inner))


def test_shrinking_is_antialiased(folder):
    for path in folder.rglob("*.png"):
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 255  # taking every n-th pixel would give black or white
        Image.fromarray(stripes).save(path)
    small = pixels(open_folder(folder, size=8)[0])[:, :, :, 2:-2]
    assert 120 < small.min() and small.max() < 136


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode, folder, noise):
    image = Image.fromarray(noise(5)).convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    (folder / "train" / "ant" / "0.png").unlink()
    image.save(folder / "train" / "ant" / f"0.{suffix}")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1).copy()
    assert torch.equal(open_folder(folder)[0][0][0], torch.from_numpy(expected))
    assert mode not in ("L", "1") or (expected[0] == expected[2]).all()


def test_a_decoding_that_fails_midway_leaves_nothing(folder, cache, monkeypatch):
    original, done = _image_cache._decode, []

    def stop_after_seven(path, side, box):
        done.append(path)
        if len(done) > 7:
            raise KeyboardInterrupt
        return original(path, side, box)

    monkeypatch.setattr(_image_cache, "_decode", stop_after_seven)
    with pytest.raises(KeyboardInterrupt):
        open_folder(folder)
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(_image_cache, "_decode", original)
    assert len(open_folder(folder)[0]) == 9


def test_a_killed_decoding_is_never_taken_for_complete(folder, cache, noise):
    def decode_until_killed():
        original, done = _image_cache._decode, []

        def kill_after_seven(path, side, box):
            done.append(path)
            if len(done) > 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(path, side, box)

        _image_cache._decode = kill_after_seven
        open_folder(folder)

    process = multiprocessing.get_context("fork").Process(target=decode_until_killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.suffix for path in cache.iterdir()] == [".tmp"]
    train, _ = open_folder(folder)
    assert torch.equal(train[8][0], torch.from_numpy(noise(9)).permute(2, 0, 1))


def test_what_a_long_dead_decoding_left_is_removed(folder, cache):
    for name, age in (("old.tmp", 48), ("young.tmp", 1)):
        (cache / name).mkdir(parents=True)
        then = time.time() - age * 3600
        os.utime(cache / name, (then, then))
    open_folder(folder)
    assert not (cache / "old.tmp").exists() and (cache / "young.tmp").exists()


def test_a_damaged_entry_is_made_anew(folder, cache, decoded):
    before = pixels(open_folder(folder)[0])
    (entry,) = cache.iterdir()
    os.truncate(entry / "train.npy", 200)
    assert torch.equal(pixels(open_folder(folder)[0]), before)
    assert len(decoded) == 30


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
    with pytest.raises(DataError, match="test/cat/1.png is corrupt or not") as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_postscript_file_in_disguise_is_not_run(folder, monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("an outside program was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n"
    (folder / "train" / "ant" / "0.png").write_bytes(program)
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    assert not isinstance(caught.value.__cause__, AssertionError)


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
