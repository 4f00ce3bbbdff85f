"""How much faster torch is on an AMD processor once its matrix library uses AVX-512 there.

    python benchmark_amd.py --backbone vit_tiny_patch16_224 --json results/speed/amd.json

MKL, which torch's x86 wheels use for matrix products, picks its AVX2 kernels on processors that
are not Intel's. A preloaded library of one function makes it look at what the processor can do.
Needs a C compiler (``CC``, else ``cc``) and Linux. Two processes, with and without that library,
take turns: one HAM training step and one evaluation batch a round. Printed is how often the one
goes into the other; on an Intel processor, or one without AVX-512, about once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from benchmark_step import backbone_and_batch, shortened, stepper
from step_candidates import candidate
from timing import options, ratio, report, show

SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
CHILD = "BENCHMARK_AMD_CHILD"  # set in the processes that compute
KINDS = ("training step", "evaluation")


def compiled(folder: Path) -> Path:
    """Build the library that is to be preloaded."""
    library = folder / "libmkl_any_cpu.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)],
        input=SOURCE.encode(),
        check=True,
    )
    return library


def compute(chosen: argparse.Namespace) -> None:
    """Answer each line that names a kind with the processor seconds it took."""
    vit, images = backbone_and_batch(chosen)
    model = candidate(vit, "ham", 2, 16)
    step = stepper(model, images, chosen.precision, "ham")

    @torch.inference_mode()
    def evaluate() -> None:
        shortened(vit, images)

    calls = dict(zip(KINDS, (step, evaluate), strict=True))
    for line in sys.stdin:
        start = time.process_time()
        calls[line.strip()]()
        print(time.process_time() - start, flush=True)


class Child:
    """A process that computes what it is asked for.

    Args:
        preload: a library, or None.
    """

    def __init__(self, preload: Path | None) -> None:
        extra = {"LD_PRELOAD": str(preload)} if preload else {}
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**os.environ, CHILD: "1", **extra},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, kind: str) -> float:
        """Let it compute once."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(kind, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = options(parser, batch=16, rounds=20)
    if CHILD in os.environ:
        compute(chosen)
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        children = {"as it comes": Child(None), "preloaded": Child(compiled(Path(folder)))}
        for kind in KINDS:
            rounds = [
                {name: child.seconds(kind) for name, child in children.items()}
                for _ in range(chosen.rounds + 2)
            ][2:]  # after the allocations of the first ones
            seconds = {name: [turn[name] for turn in rounds] for name in children}
            results[kind] = ratio(seconds, "as it comes", "preloaded")
            show(f"{kind}: as it comes / preloaded", results[kind])
        for child in children.values():
            child.process.communicate()
    report(chosen, results)


if __name__ == "__main__":
    main()
