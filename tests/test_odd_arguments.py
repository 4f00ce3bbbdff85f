"""Whatever the public functions are given in the place of an argument, the answer is one line."""

from __future__ import annotations

import pytest
import torch

import avalanche_ham
from avalanche_ham.adapters.peft_format import load_peft
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.errors import HamError
from avalanche_ham.runs.collect import collect
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.export import export
from avalanche_ham.runs.runner import run
from avalanche_ham.strategies.sequential import SequentialStrategy

ODD = ("x\ny", -1, 2.5, float("nan"), float("inf"), 10**30, {}, object(), b"x", "\0", True)
CONFIG = {"method": "ncm", "preset": "smoke", "n_tasks": 2}


def model():
    return avalanche_ham.create_model("tiny", n_classes=10)


def strategy(**options):
    return avalanche_ham.HAMStrategy(model=model(), evaluator=None, **options)


def benchmark(name="digits", data_root=".", **options):
    split = {"n_tasks": 2, "seed": 1, **options}
    return avalanche_ham.create_benchmark(name, data_root=data_root, **split)


CALLS = {  # argument -> a call with an odd value in its place
    **{
        f"RunConfig {name}": lambda odd, name=name: resolve_config(
            RunConfig(**{**CONFIG, "method": "ham", name: odd})
        )
        for name in ("method", "preset", "head", "n_tasks", "seed")
    },
    "run's options": lambda odd: resolve_config(RunConfig(**CONFIG, options=(odd, odd))),
    "run's benchmark": lambda odd: run(
        RunConfig(**CONFIG, benchmark=odd), Resources(device="cpu"), show=False
    ),
    "run's out": lambda odd: run(
        RunConfig(**CONFIG), Resources(device="cpu"), show=False, out=odd if odd != "x\ny" else 0
    ),
    "threads": lambda odd: Resources(threads=odd),
    "data_root": lambda odd: benchmark("cifar100", data_root=odd),
    **{
        f"benchmark's {name}": lambda odd, name=name: benchmark(**{name: odd})
        for name in (
            *("n_tasks", "train_per_class", "holdout", "classes", "class_order", "first_task"),
            "classes_per_task",
        )
    },
    **{
        f"model's {name}": lambda odd, name=name: avalanche_ham.create_model(
            **{"backbone": "tiny", "n_classes": 10, name: odd}
        )
        for name in ("head", "weights", "image_size", "n_classes")
    },
    **{
        f"strategy's {name}": lambda odd, name=name: strategy(**{name: odd})
        for name in (
            *("lr", "head_lr", "steps", "min_steps", "train_mb_size", "eval_mb_size", "rank"),
            *("train_epochs", "targets", "slots", "scope", "precision", "device", "assign"),
            *("alpha", "train_alphas", "max_groups", "merge_rule"),
        )
    },
    "sequential's rank": lambda odd: SequentialStrategy(model=model(), trains="lora", rank=odd),
    "images": lambda odd: ImageSet(odd, targets=[0], classes=["a"]),
    "targets": lambda odd: ImageSet(
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8), targets=odd, classes=["a"]
    ),
    "records": avalanche_ham.load_records,
    "peft folder": load_peft,
    "export's folder": lambda odd: export(odd, "to"),
    "export's to": lambda odd: export("none", odd),
    "collect's source": lambda odd: collect(odd, "to"),
}
FINE = {  # a value that is not odd there: a rate, a seed, a size as large as one likes
    *(("strategy's lr", 2.5), ("strategy's lr", 10**30)),
    *(("strategy's head_lr", 2.5), ("strategy's head_lr", 10**30)),
    *(("strategy's alpha", -1), ("strategy's alpha", 2.5), ("strategy's alpha", 10**30)),
    *(("strategy's max_groups", 10**30), ("strategy's train_alphas", True)),
    *(("benchmark's train_per_class", 10**30), ("strategy's device", True), ("benchmark's ", 1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_argument_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for odd in ODD:
        if any(name == n and type(odd) is type(v) and odd == v for n, v in FINE):
            continue
        with pytest.raises(HamError) as caught:
            CALLS[name](odd)
        assert len(str(caught.value).splitlines()) == 1, odd
    assert list(tmp_path.iterdir()) == []
