"""A run in the making: benchmark, model, strategy, and what was measured so far."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from avalanche_ham.backbones.model import create_model, split_heads
from avalanche_ham.benchmarks import BENCHMARKS, create_benchmark
from avalanche_ham.benchmarks._image_cache import cache_folder
from avalanche_ham.errors import StateError, check_range
from avalanche_ham.evaluation.accuracy import accuracy_rows
from avalanche_ham.evaluation.forward_transfer import class_mean_accuracy
from avalanche_ham.runs.config import (
    Resources,
    RunConfig,
    data_label,
    weights_label,
)
from avalanche_ham.runs.folder import difference
from avalanche_ham.runs.presets import preset_values
from avalanche_ham.runs.progress import Progress
from avalanche_ham.runs.record import state_of_head
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.runs.settings import build_strategy, run_settings
from avalanche_ham.runs.stem_cache import find_stem, past_stem
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.registry import get_method

PER_TASK = (
    "a_t", "before", "untouched", "scopes", "train_seconds", "eval_seconds",
    "trainable_parameters",
)  # fmt: skip
MAX_THREADS = 1024  # many more and the system ends the process
PER_HEAD = ("rows", "task_known", "stored_parameters")


class Run:
    """One run, made ready: benchmark, model, strategy and what was measured so far."""

    def __init__(self, config: RunConfig, resources: Resources, *, show: bool) -> None:
        check_range("seed", config.seed, 0, 2**31)
        if resources.threads is not None:
            check_range("threads", resources.threads, 1, MAX_THREADS)
        method = get_method(config.method)
        preset = preset_values(config.preset, config.benchmark, config.method)
        self.values, self.data = run_settings(
            config.method, config.benchmark, preset, config.options
        )
        self.config, self.resources = config, resources
        self.heads = split_heads(method.head or config.head)
        self.backbone = config.backbone or preset["backbone"]
        self.joint = config.method == "joint"
        if resources.threads is not None:
            torch.set_num_threads(resources.threads)
        device = resources.torch_device()
        self.benchmark = self._benchmark(config.n_tasks)
        model = create_model(
            self.backbone,
            n_classes=self.benchmark.n_classes,
            head=",".join(self.heads),
            weights=config.weights,
            seed=config.seed,
        )
        self.weights_id = weights_label(self.backbone, config.weights)
        self.data_id = data_label(config.benchmark, resources.data_root)
        self.encoder = model.encoder
        self.benchmark = self._shortened(self.benchmark)
        self.progress = Progress(config.n_tasks, title=config.method, show=show)
        self.strategy = self._strategy(model, device)
        self.measured: dict[str, Any] = {key: [] for key in PER_TASK}
        self.measured |= {key: {head: [] for head in self.heads} for key in PER_HEAD}

    def _strategy(self, model: Any, device: torch.device) -> Any:
        values = dict(self.values)
        if self.joint and values["steps"] is not None:
            values["steps"] *= self.config.n_tasks
        return build_strategy(
            self.config.method,
            values,
            model=model,
            device=device,
            seed=self.config.seed,
            plugins=[self.progress],
            evaluator=_silent_evaluator(),
        )

    def _benchmark(self, n_tasks: int) -> Any:
        options = dict(self.data)
        if n_tasks != self.config.n_tasks:  # all classes at once
            options.pop("classes_per_task", None)
        if self.resources.download and BENCHMARKS[self.config.benchmark].downloads:
            options["download"] = True
        return create_benchmark(
            self.config.benchmark,
            data_root=Path(self.resources.data_root).expanduser(),
            n_tasks=n_tasks,
            seed=self.config.seed,
            **options,
        )

    def _shortened(self, benchmark: Any) -> Any:
        """Put a frozen stem's outputs, computed once, in the images' place."""
        if not self.resources.stem_cache or find_stem(self.encoder) is None:
            return benchmark
        self.encoder.to(self.resources.torch_device())
        return past_stem(benchmark, self.encoder, cache_folder().parent / "stem")

    def identity(self, head: str | None = None) -> dict[str, Any]:
        """What makes two runs the same: every setting that can change a result.

        With a head, that of this head's record.
        """
        return {
            **{k: v for k, v in asdict(self.config).items() if k != "options"},
            "head": head or ",".join(self.heads),
            "backbone": self.backbone,
            "weights_id": self.weights_id,
            "data_id": self.data_id,
            "hyperparameters": _plain({**self.values, **self.data}),
            "class_order_hash": self.benchmark.class_order_hash,
        }

    def tasks_done(self) -> int:
        """Number of tasks that are trained and evaluated."""
        done = len(self.measured["train_seconds"])
        return self.config.n_tasks if self.joint and done else done

    def next_task(self) -> None:
        """Train and evaluate one more task (``joint``: all of them at once)."""
        strategy, tests = self.strategy, self.benchmark.test_stream
        index = self.config.n_tasks - 1 if self.joint else self.tasks_done()
        if self.joint:
            experience = self._shortened(self._benchmark(1)).train_stream[0]
        else:
            experience = self.benchmark.train_stream[index]
        if self.resources.probes and not self.joint:
            self._probe_transfer(index)
            strategy.probe = lambda s: self._probe(tests[index])
        start = time.perf_counter()
        strategy.train(experience, eval_streams=[])
        trained = time.perf_counter()
        with strategy.evaluation_weights():
            rows = accuracy_rows(strategy, list(tests[: index + 1]), self.heads)
        self._note(rows, trained - start, time.perf_counter() - trained)
        self.progress.task_done(rows[self.heads[0]].accuracy)

    def _probe_transfer(self, index: int) -> None:
        """Measure the features on the next task before it is trained; on all at the start."""
        pairs = list(zip(self.benchmark.train_stream, self.benchmark.test_stream, strict=True))
        if index == 0:
            key, tasks = "untouched", pairs[1:]
        else:
            key, tasks = "before", [pairs[index]]
        with self.strategy.evaluation_weights():
            found = [class_mean_accuracy(self.strategy, *pair) for pair in tasks]
        self.measured[key] += found

    def _probe(self, experience: Any) -> None:
        """Measure the just-trained, un-merged model on its own task (linear head)."""
        row = accuracy_rows(self.strategy, [experience], ["linear"])["linear"]
        self.measured["a_t"].append(row.accuracy[0])

    def _note(self, rows: dict[str, Any], train_seconds: float, eval_seconds: float) -> None:
        measured, strategy = self.measured, self.strategy
        measured["train_seconds"].append(train_seconds)
        measured["eval_seconds"].append(eval_seconds)
        measured["scopes"].append(strategy.scoped_loss.effective_scope)
        measured["trainable_parameters"].append(strategy.n_trainable)
        tree = strategy.state_tree()
        for head, row in rows.items():
            measured["rows"][head].append(row.accuracy)
            measured["task_known"][head].append(row.task_known)
            measured["stored_parameters"][head].append(count_stored(state_of_head(tree, head)))

    def commit(self, folder: Path) -> None:
        """Write everything that is needed to go on."""
        save_tree(
            folder,
            {
                "identity": self.identity(),
                "n_classes": self.benchmark.n_classes,
                "options": sorted(self.values),
                "measured": self.measured,
                "strategy": self.strategy.state_tree(),
            },
        )

    def restore(self, folder: Path) -> None:
        """Go on from a committed state.

        Raises:
            StateError: if it is damaged or belongs to another run.
        """
        tree = load_tree(folder)
        what = difference(self.identity(), tree.get("identity") or {})
        if what is not None:
            raise StateError(f"out: {folder.parent} holds another run: {what}")
        self.measured = tree["measured"]
        self.strategy.load_state_tree(tree["strategy"])
        self.progress.skip(self.tasks_done())


def _silent_evaluator() -> Any:
    """Avalanche's evaluation plugin without metrics: the runner measures by itself."""
    from avalanche.training.plugins import EvaluationPlugin

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no logger is meant
        return EvaluationPlugin()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(values.items())}
