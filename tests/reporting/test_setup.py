"""The choices that hold for a whole table."""

from __future__ import annotations

import pytest
from sampling import some_of

from avalanche_ham.benchmarks import BENCHMARKS
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.reporting.figures import FIGURES
from avalanche_ham.reporting.layout import lay_out, runs_of
from avalanche_ham.reporting.tables import TABLES


def test_digits_get_a_stream_that_they_can_fill(with_setup):
    setup = with_setup(benchmarks=("digits",))
    for name in TABLES:
        assert {config.n_tasks for config in runs_of(lay_out(TABLES[name], setup))} <= {2, 5}


@pytest.mark.parametrize(
    "name", some_of([*TABLES, *(f"figure {name}" for name in FIGURES)], "1", "figure 2")
)
def test_no_table_asks_for_more_tasks_than_a_data_set_has_classes(name, with_setup):
    known = {name: row.n_classes for name, row in BENCHMARKS.items() if row.n_classes}
    report = TABLES[name] if name in TABLES else FIGURES[name.removeprefix("figure ")]
    setup = with_setup(benchmarks=tuple(known), methods=("ham", "lora"), seeds=(1,))
    for config in runs_of(lay_out(report, setup)):
        each = known[config.benchmark] / config.n_tasks
        assert each >= (1 if name == "figure 2" else 2), config  # the paper's 100 tasks


@pytest.mark.parametrize(
    ("benchmark", "lengths"),
    [("cifar100", (10, 50)), ("gtsrb", (10, 21)), ("digits", (5,)), ("my_folder", (10, 50))],
)
def test_streams_are_as_long_as_two_classes_a_task_allow(benchmark, lengths, with_setup):
    assert with_setup().lengths(benchmark, (10, 50)) == lengths
    assert with_setup(tasks=(7,)).lengths(benchmark, (10, 50)) == (7,)


def test_of_a_folder_of_domains_the_number_of_domains_is_the_length(with_setup, tmp_path):
    for domain in ("clipart", "photo", "sketch"):
        (tmp_path / "data" / "rooms" / domain / "train").mkdir(parents=True)
    (tmp_path / "data" / "pets" / "train").mkdir(parents=True)
    setup = with_setup(benchmarks=("rooms",))
    assert setup.lengths("rooms", (10, 50)) == setup.lengths("rooms", lambda name: (7,)) == (3,)
    assert setup.lengths("pets", (10, 50)) == (10, 50)
    assert with_setup(tasks=(1,)).lengths("rooms", (10, 50)) == (1,)
    for name in ("methods", "extra"):  # the latter's two adapters need two tasks
        assert {config.n_tasks for config in runs_of(lay_out(TABLES[name], setup))} == {3}


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"benchmarks": ("cifar1000",)}, UnknownNameError),
        ({"benchmarks": ("cifar100+cifar1000",)}, UnknownNameError),
        ({"benchmarks": ("cifar100+",)}, UnknownNameError),
        ({"methods": ("hum",)}, UnknownNameError),
        ({"heads": ("lineer",)}, UnknownNameError),
        ({"preset": "gpu"}, UnknownNameError),
        ({"tasks": (0,)}, OptionError),
        ({"seeds": ()}, OptionError),
        ({"seeds": (1, -1)}, OptionError),
        ({"options": {"rnak": 4}}, UnknownNameError),
    ],
)
def test_a_wrong_choice_is_refused_before_anything_runs(with_setup, wrong, error):
    with pytest.raises(error):
        with_setup(**wrong)


def test_options_reach_the_methods_that_have_them_and_the_factor_wins(with_setup):
    setup = with_setup(options={"keep": 0.5, "steps": 7}, method_options={"ham": {"steps": 9}})
    ham = setup.runs("ham", benchmark="digits", n_tasks=5, head="linear", keep=0.9)[0]
    lora = setup.runs("lora", benchmark="digits", n_tasks=5, head="linear")[0]
    assert ham.options == {"keep": 0.9, "steps": 9}
    assert lora.options == {"steps": 7}


def test_data_are_found_by_the_folders_that_the_benchmarks_read(with_setup, tmp_path):
    setup = with_setup()
    assert setup.has_data("cifar100") and setup.has_data("digits")
    assert not setup.has_data("cub200")
    (tmp_path / "data" / "CUB_200_2011").mkdir()
    assert setup.has_data("cub200")
    fetched = with_setup(data_root="/nowhere", download=True)
    assert fetched.has_data("cifar100") and not fetched.has_data("image_folder")


def test_a_mixture_is_there_if_each_part_is_or_may_be_downloaded(with_setup):
    assert with_setup().has_data("cifar100+digits") and not with_setup().has_data("cifar100+svhn")
    fetched = with_setup(benchmarks=("digits+svhn",), data_root="/nowhere", download=True)
    assert fetched.has_data("digits+svhn") and not fetched.has_data("svhn+imagenet_r")
    assert not fetched.has_data("svhn+no_such_folder")


def test_an_option_of_mixtures_reaches_them_and_no_other_data_set(with_setup):
    setup = with_setup(options={"task_order": "shuffled"})
    for benchmark, options in (("cifar100+svhn", {"task_order": "shuffled"}), ("digits", {})):
        (run, _) = setup.runs("ham", benchmark=benchmark, n_tasks=4, head="linear")
        assert run.options == options
