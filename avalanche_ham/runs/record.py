"""What a finished run leaves: its record."""

from __future__ import annotations

import sys
from typing import Any

import psutil
import torch

from avalanche_ham.evaluation.forward_transfer import forward_transfer
from avalanche_ham.evaluation.hierarchy import hierarchy
from avalanche_ham.evaluation.metrics import summary
from avalanche_ham.runs.records import Record
from avalanche_ham.state import EXEMPLARS, image_bytes


def make_record(run: Any, head: str) -> Record:
    """Give the record of a finished ``Run`` for one of its heads: one JSON object."""
    n, measured, tests = run.settings.n_tasks, run.measured, list(run.benchmark.test_stream)
    matrix = square(measured["rows"][head], n)
    own = [row[-1] for row in measured["rows"][head] if row]
    a_t = measured["a_t"] if head == "linear" else []
    run.strategy.model.predictor = head
    *earlier, latest = measured["segments"]
    knows_task = run.strategy.knows_task  # then an unseen task meets the bare backbone
    record: dict[str, Any] = {
        **run.identity(head),
        "scope": measured["scopes"],
        "selection": "holdout" if run.settings.data.get("holdout") else "test",
        **{key: value for key, value in latest.items() if key != "first_task"},
        "segments": [*earlier, latest] if earlier else [],
        "test_images": [len(e.dataset) for e in tests],
        "accuracy_matrix": matrix,
        "accuracy_task_known": square(measured["task_known"][head], n),
        "right": measured["right"][head],
        **summary(matrix),
        "fwt": None if knows_task else forward_transfer(measured["before"], measured["untouched"]),
        "a_t": 100 * sum(a_t) / n if len(a_t) == n else None,
        "probed": _means_of_probes(measured["probed"], a_t) if len(a_t) == n else {},
        "a_t_merged": 100 * sum(own) / n if len(own) == n and not run.settings.joint else None,
        "train_seconds": measured["train_seconds"],
        "feed_seconds": measured["feed_seconds"],
        "drift_seconds": measured["drift_seconds"],
        "eval_seconds": measured["eval_seconds"],
        "trainable_parameters": measured["trainable_parameters"],
        "stored_parameters": measured["stored_parameters"][head],
        "memory_bytes": image_bytes(run.strategy.memory),
        "peak_memory_mb": _peak_memory_mb(run.strategy.device),
        "groups": run.strategy.describe(),
        "hierarchy": None if run.resources.final_only else hierarchy(run.strategy, tests),
        "right_picks": run.right_picks,
    }
    return record  # type: ignore[return-value]


def square(rows: list[list[float]], n: int) -> list[list[float | None]]:
    """Fill rows of a triangular matrix up to ``n`` by ``n``; None where nothing was seen yet."""
    full: list[list[float | None]] = [[*row, *[None] * (n - len(row))] for row in rows]
    unseen: list[list[float | None]] = [[None] * n for _ in range(n - len(rows))]
    return unseen + full


def _means_of_probes(probed: list[dict[str, float]], a_t: list[float]) -> dict[str, float]:
    """Average each probe over the tasks that have it, in percent, and ``a_t`` over the same."""
    means = {}
    for name in sorted({name for task in probed for name in task}):
        tasks = [(task[name], own) for task, own in zip(probed, a_t) if name in task]
        for key, values in zip((name, f"a_t_where_{name}"), zip(*tasks)):
            means[key] = 100 * sum(values) / len(tasks)
    return means


def state_of_head(tree: dict[str, Any], head: str) -> dict[str, Any]:
    """Leave out of a state what only other heads need, and images, whose bytes are told apart."""
    kept = {
        name: tensor
        for name, tensor in tree["model"].items()
        if not name.startswith("readouts.") or name.startswith(f"readouts.{head}.")
    }
    memory = {name: part for name, part in tree["memory"].items() if name != EXEMPLARS}
    return {**tree, "memory": memory, "model": kept}


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # Windows lacks it

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
