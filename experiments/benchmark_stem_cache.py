"""What computing a hybrid backbone's frozen stem once per image gives a whole run.

    python experiments/benchmark_stem_cache.py --json experiments/results/speed/stem_cache.json

HAM on digits with the preset ``cpu``, three times: on images, with an empty cache, and with the
cache that the run before has filled. Seconds are processor seconds; accuracies must agree.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

import torch
from timing import options, report

from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.runner import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--preset", default="cpu")
    chosen = options(parser, batch=16, rounds=1)
    config = RunConfig(
        n_tasks=chosen.tasks,
        preset=chosen.preset,
        backbone=chosen.backbone,
        options={"steps": chosen.steps, "batch_size": chosen.batch},
    )
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AVALANCHE_HAM_CACHE"] = folder
        for name in ("images", "empty cache", "full cache"):
            resources = Resources(device=chosen.device, stem_cache=name != "images")
            start = clock()
            record = run(config, resources, show=False)
            seconds = clock() - start
            results[name] = {
                "seconds": seconds,
                "aa": record["aa"],
            }
            gain = results["images"]["seconds"] / seconds
            print(f"{name:12} {seconds:6.1f} s  {gain:.2f} times as fast  AA {record['aa']:.2f}")
    report(chosen, results)


if __name__ == "__main__":
    main()
