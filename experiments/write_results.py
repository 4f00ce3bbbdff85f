"""Write every table and figure that the records can fill, below results/tables and figures.

Command: python write_results.py        (seconds; makes no run)

Each table as Markdown, CSV and LaTeX; each figure as PNG and SVG with its numbers. A table has the
seeds that all of the paper's methods have; ``--seeds 1,2,3`` shows more where there are more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avalanche_ham.benchmarks.registry import BENCHMARKS
from avalanche_ham.cli.main import main as ham
from avalanche_ham.reporting.methods import REFERENCES
from avalanche_ham.reporting.paper import METHODS
from avalanche_ham.runs.archive import Archive, read_archive

PAPERS = f"--methods {','.join((*METHODS, *REFERENCES))}"
BOTH = "--head linear,ridge --seeds 1"  # a later --seeds wins
STUDY = "--preset study --methods frozen,fsa,lora,linear,inflora,sd_lora,ham,ham_plus"
PEERS = "--preset study --methods ham,frozen,fsa,lora,linear,inflora,sd_lora,ham_plus"
THREE = "--benchmark cifar100,gtsrb43,cub100"
CIFAR = f"--benchmark cifar100 {BOTH}"
LARGER_RATE = Path(__file__).with_name("ablations_at_a_larger_rate.toml")
ITEMS = {  # file name -> words of the command line
    "table_1": f"table 1 {CIFAR} --tasks 50 --seeds 1,2",
    "table_2": f"table 2 {CIFAR} --tasks 50 --seeds 1,2",
    "table_3": f"table 3 {CIFAR}",
    "table_4": f"table 4 {CIFAR}",
    "table_5": f"table 5 {CIFAR}",
    "table_6": f"table 6 {CIFAR}",
    "table_7": f"table 7 {CIFAR}",
    "table_extra": f"table extra {CIFAR}",
    "table_3_at_a_larger_rate": "table 3 --config LARGER_RATE --tasks 20",
    "table_5_at_a_larger_rate": "table 5 --config LARGER_RATE",
    "table_6_at_a_larger_rate": "table 6 --config LARGER_RATE",
    "table_7_at_a_larger_rate": "table 7 --config LARGER_RATE",
    "methods_at_10_tasks": f"table methods {CIFAR} {PAPERS} --tasks 10 --seeds 1,2,3",
    "methods_at_50_tasks": f"table methods {CIFAR} {PAPERS} --tasks 50 --seeds 1,2",
    "methods_on_digits": f"table methods --benchmark digits {BOTH} {PAPERS} --tasks 5",
    "methods_on_tiny_imagenet": f"table methods --benchmark tiny_imagenet {BOTH} --tasks 50 "
    "--methods frozen,inflora,sd_lora,ham",
    "heads_at_10_tasks": f"table heads {STUDY} {THREE} --tasks 10 --seeds 1",
    "heads_at_50_tasks": f"table heads {STUDY} --benchmark cifar100 --tasks 50 --seeds 1,2,3",
    "ham_plus_parts_10_tasks": f"table ham_plus_parts --preset study {THREE} --tasks 10 --seeds 1",
    "ham_plus_parts_50_tasks": "table ham_plus_parts --preset study --tasks 50",
    "ham_plus_10_tasks": f"table ham_plus {STUDY} {THREE} --tasks 10 --seeds 1",
    "ham_plus_50_tasks": f"table ham_plus {STUDY} --benchmark cifar100 --tasks 50 --seeds 1,2,3",
    "against_ham_10_tasks": f"table against {PEERS} {THREE} --tasks 10 --seeds 1",
    "against_ham_50_tasks": f"table against {PEERS} --tasks 50 --seeds 1,2,3",
    "reported": "table reported --preset study --seeds 1",
    "figure_2": f"figure 2 {CIFAR} --tasks 10,50 --seeds 1,2",
    "figure_3": "figure 3 --benchmark cifar100 --tasks 10 --seeds 1,2,3",
    "figure_extra": "figure extra --benchmark cifar100 --tasks 50 --seeds 1",
}


def words_of(name: str, preset: str = "cpu") -> list[str]:
    """Give an item's command line, without the folder of the records; its own preset wins."""
    kind, which, *words = ITEMS[name].split()
    words = [str(LARGER_RATE) if w == "LARGER_RATE" else w for w in words]
    return [kind, which, "--preset", preset, *words]


def is_known(name: str, archive: Archive) -> bool:
    """Whether an item's data sets have names of their own, or records, as an image folder."""
    words = ITEMS[name].split()
    names = words[words.index("--benchmark") + 1].split(",") if "--benchmark" in words else []
    return all(data in BENCHMARKS or archive.knows(data) for data in names)


def main(arguments: list[str] | None = None) -> int:
    """Write them; gives the highest exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    here = Path(__file__).parent / "results"
    parser.add_argument("--records", type=Path, default=here)
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--seeds", help="for all, in place of each table's own")
    parser.add_argument("--preset", default="cpu")
    options = parser.parse_args(arguments)
    common = ["--records", str(options.records)]
    common += ["--seeds", options.seeds] if options.seeds else []
    common += ["--download"]  # nothing runs: which data are on this machine is no matter
    codes, archive = [], read_archive(options.records)
    for name in ITEMS:
        if not is_known(name, archive):
            continue
        line = [*words_of(name, options.preset), *common, "--out"]
        if line[0] == "figure":
            codes.append(ham([*line, str(options.out / "figures")]))
            continue
        for suffix in (".md", ".csv", ".tex"):
            codes.append(ham([*line, str(options.out / "tables" / (name + suffix))]))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
