"""Side-by-side timing: every candidate once a round, ratios round by round.

The speed of a shared machine drifts; a ratio of two neighbours in time does not.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def interleave(
    candidates: dict[str, Callable[[], Any]], *, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Call each candidate once a round; give the seconds of each, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, call in candidates.items():
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> dict[str, float]:
    """Median, smallest and largest of the ratios of the same round."""
    ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def show(title: str, value: dict[str, float], target: str = "") -> None:
    """Print one ratio in a line."""
    spread = f"({value['min']:.2f} to {value['max']:.2f})"
    print(f"{title:58} {value['median']:6.3f}  {spread:18} {target}", flush=True)


def machine(device: str) -> dict[str, Any]:
    """Say in words what the figures were measured on."""
    name = torch.cuda.get_device_name() if device != "cpu" else platform.machine()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def save(path: Path | None, results: dict[str, Any]) -> None:
    """Write the results as JSON, if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
