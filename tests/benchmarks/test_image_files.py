"""Class names: one order and one spelling on every system."""

from __future__ import annotations

import os
import sys
import unicodedata

import pytest

from avalanche_ham.benchmarks._image_files import check_same_classes, image_names, scan_classes
from avalanche_ham.errors import DataError

COMPOSED = "caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.fixture
def folder(tmp_path):
    """Give a function that makes class folders of one (empty) image each."""

    def make(part, *classes):
        for name in classes:
            os.makedirs(tmp_path / part / name)
            (tmp_path / part / name / "1.png").touch()
        return tmp_path / part

    return make


def test_names_are_sorted_by_their_characters_not_as_numbers(folder):
    found = scan_classes(folder("train", "2", "10", "1", "b", "B", "a"))
    assert found.classes == ("1", "10", "2", "B", "a", "b")


def test_both_spellings_of_an_accent_are_one_class(folder):
    train, test = folder("train", COMPOSED, "bee"), folder("test", DECOMPOSED, "bee")
    train, test = scan_classes(train), scan_classes(test)
    check_same_classes(train, test)
    assert train.classes == test.classes == ("bee", COMPOSED)
    assert [os.path.exists(test.folder / name) for name in test.names] == [True, True]


def test_two_spellings_of_an_accent_in_one_part_are_refused(folder):
    with pytest.raises(DataError, match=r"the class 'café' twice, as 'cafe?\\.*look the same"):
        scan_classes(folder("train", COMPOSED, DECOMPOSED))


@pytest.mark.parametrize("other", ["cat ", "Cat", "cat."])
def test_names_that_only_look_alike_are_told_apart_and_shown_in_quotes(other, folder):
    train = scan_classes(folder("train", "cat", other))
    assert sorted(train.classes) == sorted(["cat", other])
    with pytest.raises(DataError, match=f"'{other}' is in one only"):
        check_same_classes(train, scan_classes(folder("test", "cat")))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always text")
def test_a_name_that_is_no_utf_8_is_refused(folder):
    with pytest.raises(DataError, match=r"the name of the folder 'caf\\udce9' is not UTF-8"):
        scan_classes(folder("train", os.fsdecode(b"caf\xe9")))


def test_the_order_of_images_is_the_same_in_both_spellings(tmp_path):
    orders = []
    for form in ("NFC", "NFD"):
        os.makedirs(tmp_path / form)
        for name in ("e1.png", "\u00e9.png", "f.png"):
            (tmp_path / form / unicodedata.normalize(form, name)).touch()
        names = image_names(tmp_path / form)
        orders.append([unicodedata.normalize("NFC", name) for name in names])
    assert orders[0] == orders[1] == ["e1.png", "f.png", "\u00e9.png"]


def test_pictures_of_formats_that_are_not_read_are_not_passed_over(tmp_path):
    for name in ("a.HEIC", "b.jxl", "c.gif", "d.avif", "e.JPE", "notes.txt", ".f.png"):
        (tmp_path / name).touch()
    assert image_names(tmp_path) == ["a.HEIC", "b.jxl", "c.gif", "d.avif", "e.JPE"]
