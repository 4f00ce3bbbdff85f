"""A run in the making: benchmark, model, strategy, and what was measured so far."""

from __future__ import annotations

import functools
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avalanche_ham.backbones.digest import weights_digest
from avalanche_ham.backbones.model import create_model
from avalanche_ham.backbones.names import RANDOM
from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.benchmarks._image_cache import cache_folder
from avalanche_ham.errors import OptionError, StateError
from avalanche_ham.evaluation.accuracy import AccuracyRow, accuracy_rows, evaluate
from avalanche_ham.evaluation.picks import right_picks
from avalanche_ham.runs.config import Resources, Settings, asked_size
from avalanche_ham.runs.identity import Digests, difference, identity_entries
from avalanche_ham.runs.packed import pack
from avalanche_ham.runs.progress import Progress
from avalanche_ham.runs.provenance import moved, provenance, same_place
from avalanche_ham.runs.record import state_of_head
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.runs.settings import build_strategy, readout_settings
from avalanche_ham.runs.stem_cache import find_stem, past_stem
from avalanche_ham.runs.transfer import probe_transfer
from avalanche_ham.state import count_stored

PER_TASK = (
    "a_t", "probed", "before", "untouched", "scopes", "train_seconds", "feed_seconds",
    "drift_seconds", "eval_seconds", "trainable_parameters", "segments",
)  # fmt: skip
PER_HEAD = ("rows", "task_known", "stored_parameters")


class Run:
    """One run, made ready.

    Args:
        settings: what it is.
        resources: where and on what.
        show: print progress to standard error.

    Raises:
        HamError: for whatever does not fit, before anything is trained.
    """

    def __init__(self, settings: Settings, resources: Resources, *, show: bool) -> None:
        if resources.final_only and not settings.data.get("holdout"):
            raise OptionError("final_only", "False without a holdout", True)
        self.settings, self.resources = settings, resources
        if resources.threads is not None:
            torch.set_num_threads(resources.threads)
        device = resources.torch_device()
        self.benchmark = self._benchmark(settings.n_tasks)
        model = create_model(
            settings.backbone,
            n_classes=self.benchmark.n_classes,
            head=",".join(settings.heads),
            weights=settings.weights,
            image_size=asked_size(settings),
            readouts=readout_settings(settings.readouts, settings.heads),
            seed=settings.seed,
        )
        random = settings.backbone in RANDOM and settings.weights is None
        self.digests = Digests(
            None if random else weights_digest(model.encoder.vit),
            self.benchmark.images_digest,
            self.benchmark.class_order_hash,
        )
        self.encoder = model.encoder
        self._viewed = any(readout.views != "none" for readout in model.readouts.values())
        images, self.benchmark = self.benchmark, self._shortened(self.benchmark)
        self.stem_cache = self.benchmark is not images
        self.progress = Progress(settings.n_tasks, title=settings.method, show=show)
        self.strategy = self._strategy(model, device)
        self.measured: dict[str, Any] = {key: [] for key in PER_TASK}
        self.measured |= {key: {head: [] for head in settings.heads} for key in PER_HEAD}
        self.measured["right"] = {}
        self._test_features: list[Tensor] = []  # of whole batches, while features stay

    def _strategy(self, model: Any, device: torch.device) -> Any:
        values = dict(self.settings.options)
        for budget in ("steps", "min_steps"):
            if self.settings.joint and values[budget] is not None:
                values[budget] *= self.settings.n_tasks
        return build_strategy(
            self.settings.method,
            values,
            model=model,
            device=device,
            seed=self.settings.seed,
            plugins=[self.progress],
            evaluator=_silent_evaluator(),
        )

    def _benchmark(self, n_tasks: int) -> Any:
        options = dict(self.settings.data)
        if n_tasks != self.settings.n_tasks:  # all classes at once
            for option in ("classes_per_task", "first_task"):
                options.pop(option, None)
        options |= self.resources.source(self.settings.benchmark)
        return create_benchmark(
            self.settings.benchmark, n_tasks=n_tasks, seed=self.settings.seed, **options
        )

    def _shortened(self, benchmark: Any) -> Any:
        """Put a frozen stem's outputs, computed once, in the place of images that never change."""
        changing = self._viewed or self.settings.options["augment"] != "none"
        if changing or not self.resources.stem_cache or find_stem(self.encoder) is None:
            return benchmark
        self.encoder.to(self.resources.torch_device())
        return past_stem(benchmark, self.encoder, cache_folder().parent / "stem")

    def identity(self, head: str | None = None) -> dict[str, Any]:
        """What makes two runs the same; with a head, that of this head's record."""
        return identity_entries(self.settings, head, self.digests)

    @property
    def probes(self) -> tuple[str, ...]:
        """Entries of the record that are measured by probes."""
        asked = self.resources.probes or self.settings.probes
        return ("fwt", "a_t") if asked and not self.resources.final_only else ()

    def tasks_done(self) -> int:
        """Number of tasks that are trained and evaluated."""
        done = len(self.measured["train_seconds"])
        return self.settings.n_tasks if self.settings.joint and done else done

    @functools.cached_property
    def right_picks(self) -> list[float] | None:
        """What a finished run says of its guesses of the task, the same for all heads."""
        if self.resources.final_only:
            return None
        return right_picks(self.strategy, list(self.benchmark.test_stream))

    def next_task(self) -> None:
        """Train and evaluate one more task (``joint``: all of them at once)."""
        strategy, tests, joint = self.strategy, self.benchmark.test_stream, self.settings.joint
        index = self.settings.n_tasks - 1 if joint else self.tasks_done()
        if joint:
            experience = self._shortened(self._benchmark(1)).train_stream[0]
        else:
            experience = self.benchmark.train_stream[index]
        if self.probes and not joint:
            probe_transfer(self, index)
            strategy.probe = lambda s: self._probe(tests[index])
        if strategy.moves_features:
            self._test_features = []
        start = time.perf_counter()
        strategy.train(experience, eval_streams=[])
        trained = time.perf_counter()
        rows = {}
        if index == self.settings.n_tasks - 1 or not self.resources.final_only:
            seen, heads = list(tests[: index + 1]), self.settings.heads
            rows = evaluate(strategy, seen, heads, self._test_features)
        self._note(rows, trained - start, time.perf_counter() - trained)
        first = rows.get(self.settings.heads[0])
        self.progress.task_done(index + 1, None if first is None else first.accuracy)

    def _probe(self, experience: Any) -> None:
        """Measure the just-trained, un-merged model on its own task (linear head)."""

        def accuracy() -> float:
            row = accuracy_rows(self.strategy, [experience], ["linear"])["linear"]
            return (row.task_known if self.strategy.knows_task else row.accuracy)[0]

        self.measured["a_t"].append(accuracy())
        probed = {}
        updates = self.strategy.probed_updates() if self.strategy.adapts else {}
        for name, update in updates.items():
            with self.strategy.adapters.merged(update):
                probed[name] = accuracy()
        self.measured["probed"].append(probed)

    def _note(
        self, rows: dict[str, AccuracyRow], train_seconds: float, eval_seconds: float
    ) -> None:
        measured, strategy = self.measured, self.strategy
        fed, followed = strategy.readouts.seconds, strategy.readouts.drift_seconds
        within = fed + followed - strategy.readouts.ahead_seconds
        self._note_place()
        measured["train_seconds"].append(train_seconds - within)
        measured["feed_seconds"].append(fed)
        measured["drift_seconds"].append(followed)
        measured["eval_seconds"].append(eval_seconds)
        measured["scopes"].append(strategy.scoped_loss.effective_scope)
        measured["trainable_parameters"].append(strategy.n_trainable)
        tree = strategy.live_tree()
        for head in self.settings.heads:
            row = rows.get(head) or AccuracyRow([], [], [], [])
            measured["rows"][head].append(row.accuracy)
            measured["task_known"][head].append(row.task_known)
            measured["stored_parameters"][head].append(count_stored(state_of_head(tree, head)))
            measured["right"][head] = pack(row.right)

    def _place(self) -> dict[str, Any]:
        """Describe what this process computes with, as far as numbers may depend on it."""
        here = provenance(self.strategy.device, self.strategy.precision)
        return {**here, "stem_cache": self.stem_cache}

    def _note_place(self) -> None:
        """Note where this task was computed, unless it was where the one before was."""
        here = self._place()
        segments, first = self.measured["segments"], self.tasks_done()
        if not segments or not same_place(here, segments[-1]):
            segments.append({**here, "first_task": first})
        segments[-1]["date"] = here["date"]

    def commit(self, folder: Path) -> None:
        """Write everything that is needed to go on."""
        save_tree(
            folder,
            {
                "identity": self.identity(),
                "weights": self.settings.weights,
                "n_classes": self.benchmark.n_classes,
                "class_names": list(self.benchmark.class_names),
                "image_side": max(c.images.image_shape[-1] for c in self.benchmark.chosen.values()),
                "options": sorted(self.settings.options),
                "measured": self.measured,
                "strategy": self.strategy.live_tree(),
            },
        )

    def restore(self, folder: Path) -> None:
        """Go on from a committed state, unless it lacks the probes that are asked for.

        Raises:
            StateError: if it is damaged or belongs to another run.
        """
        tree = load_tree(folder)
        what = difference(self.identity(), tree.get("identity") or {})
        if what is not None:
            raise StateError(f"out: {folder.parent} holds another run: {what}")
        if self.probes and self.settings.n_tasks > 1 and not tree["measured"]["untouched"]:
            return  # its first tasks can no longer be measured
        self.measured |= tree["measured"]
        self.strategy.load_state_tree(tree["strategy"])
        self.progress.skip(self.tasks_done())
        other = moved(self.measured["segments"][-1], self._place())
        if other:
            words = "accuracies may differ from those of a run in one place"
            print(f"{self.settings.method}: going on with other {other}: {words}", file=sys.stderr)


def _silent_evaluator() -> Any:
    """Avalanche's evaluation plugin without metrics: the runner measures by itself."""
    from avalanche.training.plugins import EvaluationPlugin

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no logger is meant
        return EvaluationPlugin()
