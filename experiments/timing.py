"""Side-by-side timing: every candidate once a round, ratios round by round.

The speed of a shared machine drifts; a ratio of two neighbours in time does not. On a CPU the
clock counts the processor time of this process, so that others on the machine disturb little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def options(parser: argparse.ArgumentParser, **defaults: Any) -> argparse.Namespace:
    """Add what all benchmarks take, read the command line, set the threads."""
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--batch", type=int, default=defaults["batch"])
    parser.add_argument("--rounds", type=int, default=defaults["rounds"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    return chosen


def interleave(
    candidates: dict[str, Callable[[], Any]], *, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Call each candidate once a round; give the seconds of each, round by round."""
    cuda = torch.cuda.is_available()
    clock = time.perf_counter if cuda else time.process_time
    wait = torch.cuda.synchronize if cuda else (lambda: None)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, call in candidates.items():
            wait()
            start = clock()
            call()
            wait()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> dict[str, float]:
    """Median, quartiles of the ratios of the same round."""
    ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    return {"median": middle, "low": low, "high": high}


def show(title: str, value: dict[str, float], target: str = "") -> None:
    """Print one ratio in a line."""
    spread = f"({value['low']:.2f} to {value['high']:.2f})"
    print(f"{title:58} {value['median']:7.3f}  {spread:18} {target}", flush=True)


def report(chosen: argparse.Namespace, results: dict[str, Any]) -> None:
    """Write the results and what they were measured on as JSON, if a path is given."""
    if chosen.json is None:
        return
    used = {name: value for name, value in vars(chosen).items() if name != "json"}
    machine = {"device": device_name(chosen.device), "torch": torch.__version__}
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps({**machine, "options": used, **results}, indent=1) + "\n")


def device_name(device: str) -> str:
    """Say in words what the figures were measured on."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    return f"CPU with {torch.backends.cpu.get_cpu_capability()}"
