import importlib
import inspect
import subprocess
import sys

import pytest

from avalanche_ham.benchmarks import BENCHMARKS, create_benchmark
from avalanche_ham.benchmarks.registry import is_there
from avalanche_ham.errors import DataError, OptionError, UnknownNameError


def test_the_table_can_be_read_without_the_heavy_imports():
    code = (
        "import sys, avalanche_ham.benchmarks as b; assert 'digits' in b.BENCHMARKS; "
        "assert not {'torch', 'avalanche', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_benchmark_is_made_by_its_name(tmp_path):
    benchmark = create_benchmark("digits", data_root=tmp_path, n_tasks=5, seed=1)
    assert benchmark.name == "digits" and len(benchmark.train_stream) == 5
    assert benchmark.n_classes == BENCHMARKS["digits"].n_classes


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS) - {"digits"}))
def test_every_name_leads_to_a_function_that_misses_its_data(name, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        create_benchmark(name, data_root=tmp_path, n_tasks=2, seed=1)


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS) - {"digits", "image_folder"}))
def test_every_data_set_is_found_below_the_data_root(name, write_folder, tmp_path):
    folder = {"tiny_imagenet": "tiny-imagenet"}.get(name, name)
    write_folder(tmp_path / folder)
    benchmark = create_benchmark(name, data_root=tmp_path, n_tasks=3, seed=1)
    assert benchmark.name == name and len(benchmark.test_stream) == 3


def test_the_home_folder_may_be_written_as_a_tilde(write_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "data")
    options = {"n_tasks": 1, "seed": 1}
    benchmark = create_benchmark("image_folder", data_root="~/data", **options)
    assert benchmark.n_classes == 3


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(UnknownNameError, match="cifar100, .*did you mean 'cifar100'"):
        create_benchmark("cifar1000", data_root=".", n_tasks=1, seed=1)


def test_errors_of_the_options_pass_through(tmp_path):
    with pytest.raises(OptionError, match="n_tasks"):
        create_benchmark("digits", data_root=tmp_path, n_tasks=11, seed=1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_table_tells_which_functions_can_download(name):
    module, _, function = BENCHMARKS[name].function.partition(":")
    make = getattr(importlib.import_module(module), function)
    can = "download" in inspect.signature(make).parameters
    assert BENCHMARKS[name].downloads is can


@pytest.mark.parametrize("folder", ["tiny_imagenet", "tiny-imagenet", "oxford-pets", "imagenet-r"])
def test_a_folder_may_be_spelled_with_underscores_or_hyphens(folder, write_folder, tmp_path):
    write_folder(tmp_path / folder, ["ant", "bee"])
    name = folder.replace("-", "_")
    assert is_there(name, tmp_path)
    found = create_benchmark(name, data_root=tmp_path, n_tasks=2, seed=1)
    assert found.name == name and found.class_names == ("ant", "bee")
