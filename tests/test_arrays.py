"""Arrays on disk: what comes out is what went in, or an error; never anything else."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from avalanche_ham import arrays
from avalanche_ham.arrays import StoredArray, write_array
from avalanche_ham.errors import DataError


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path, values, monkeypatch):
    """A file of several blocks, the last one shorter, written in uneven batches."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 7 * 48 + 5)
    write_array(tmp_path / "a.rows", (values[:13], values[13:14], values[14:]))
    return tmp_path / "a.rows"


def test_rows_come_back_with_shape_and_type(path, values):
    found = StoredArray(path)
    assert (found.shape, found.ndim, found.dtype, len(found)) == ((50, 3, 4), 3, values.dtype, 50)
    assert all(np.array_equal(found[k], values[k]) for k in range(50))
    assert np.array_equal(found[-1], values[-1])
    with pytest.raises(IndexError):
        found[50]


def test_a_pickled_one_is_small_and_opens_the_file_again(path, values):
    packed = pickle.dumps(StoredArray(path))
    assert len(packed) < 500
    assert np.array_equal(pickle.loads(packed)[7], values[7])


def test_rows_are_read_beside_a_process_that_shares_the_file(path, values):
    found = StoredArray(path)
    if (child := os.fork()) == 0:
        same = all(np.array_equal(found[k], values[k]) for _ in range(200) for k in range(50))
        os._exit(0 if same else 1)
    assert all(np.array_equal(found[k], values[k]) for _ in range(200) for k in range(50))
    assert os.waitpid(child, 0)[1] == 0


def flip(path, place: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


@pytest.mark.parametrize("at_once", [True, False], ids=["small", "large"])
def test_no_flipped_byte_is_ever_read(path, values, monkeypatch, at_once):
    monkeypatch.setattr(arrays, "CHECKED_AT_ONCE", 10**9 if at_once else 0)
    whole = path.read_bytes()
    for place in range(0, len(whole), 17):
        path.write_bytes(whole)
        flip(path, place)
        try:
            found = StoredArray(path)
        except DataError:
            continue
        assert not at_once
        right = 0
        for k in range(50):
            try:
                assert np.array_equal(found[k], values[k])
                right += 1
            except DataError:
                assert not path.exists()
        assert right < 50


def test_a_damaged_block_leaves_the_others_readable(path, values, monkeypatch):
    monkeypatch.setattr(arrays, "CHECKED_AT_ONCE", 0)
    flip(path, 8 * 48)  # the second block
    found = StoredArray(path)
    assert np.array_equal(found[0], values[0])
    with pytest.raises(DataError, match="damaged; it is removed, and made again when the run"):
        found[8]


@pytest.mark.parametrize("length", [0, 1, 39, 40, 1000, -1, -40])
def test_a_file_cut_short_is_refused(path, length):
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    with pytest.raises(DataError, match="is damaged"):
        StoredArray(path)


def test_a_file_cut_short_while_it_is_read_is_an_error_and_no_crash(path, values):
    found = StoredArray(path)
    os.truncate(path, 10 * 48)
    assert np.array_equal(found[3], values[3])
    with pytest.raises(DataError, match="cut short"):
        found[40]


def test_a_write_that_fails_leaves_nothing(tmp_path, values):
    def batches():
        yield values
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_array(tmp_path / "a.rows", batches())
    assert list(tmp_path.iterdir()) == []
