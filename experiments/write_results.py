"""Write every table and figure that the records can fill, below results/tables and figures.

Command: python write_results.py        (a minute; makes no run)

Each table as Markdown, CSV and LaTeX; each figure as PNG and SVG with its numbers. A table has the
seeds that most of its rows have; ``--seeds 1,2,3`` shows more where there are more.
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

CIFAR = "--benchmark cifar100"
BOTH = f"{CIFAR} --head linear,ridge"
PAPERS = f"{BOTH} --methods {','.join((*METHODS, *REFERENCES))}"
PEERS = "--methods ham,frozen,fsa,lora,linear,inflora,sd_lora,ham_plus"
TEN = f"{CIFAR} --tasks 10 --seeds 1,2,3"
SETS = "--benchmark cifar100,gtsrb43,cub100 --tasks 10 --seeds 1"
FIFTY = f"{CIFAR} --tasks 50 --seeds 1,2,3"
ITEMS = {  # file name -> words of the command line
    "table_1": f"table 1 {BOTH} --tasks 50 --seeds 1,2,3",
    "table_2": f"table 2 {BOTH} --tasks 50 --seeds 1,2,3",
    "table_1_at_10_tasks": f"table 1 --head linear,ridge {TEN}",
    "table_2_at_10_tasks": f"table 2 --head linear,ridge {TEN}",
    "table_3": f"table 3 {BOTH} --tasks 20 --seeds 1",
    "table_4": f"table 4 {BOTH} --seeds 1",
    "table_5": f"table 5 {BOTH} --tasks 10 --seeds 1",
    "table_6": f"table 6 {BOTH} --seeds 1",
    "table_7": f"table 7 {BOTH} --seeds 1",
    "table_extra": f"table extra {BOTH} --seeds 1",
    "methods_at_10_tasks": f"table methods --head linear,ridge {TEN}",
    "methods_at_50_tasks": f"table methods {PAPERS} --tasks 50 --seeds 1,2,3",
    "heads_at_10_tasks": f"table heads {PEERS} {SETS}",
    "heads_at_50_tasks": f"table heads {PEERS} {FIFTY}",
    "ham_plus_parts_10_tasks": f"table ham_plus_parts {SETS}",
    "ham_plus_parts_50_tasks": "table ham_plus_parts --seeds 1,2,3 --tasks 50",
    "ham_plus_10_tasks": f"table ham_plus {PEERS} {SETS}",
    "ham_plus_50_tasks": f"table ham_plus {PEERS} {FIFTY}",
    "against_ham_10_tasks": f"table against {PEERS} {SETS}",
    "heads_of_all_methods": f"table heads {TEN}",
    "against_ham_of_all_methods": f"table against {TEN}",
    "pam_against_average": f"table against --methods average,pam {TEN}",
    "against_ham_50_tasks": f"table against {PEERS} {FIFTY}",
    "pam_at_10_tasks": f"table pam {TEN}",
    "slao_at_10_tasks": f"table slao {TEN}",
    "reported": "table reported --seeds 1",
    "figure_2": f"figure 2 {BOTH} {PEERS} --tasks 10,50 --seeds 1,2,3",
    "figure_3": f"figure 3 {TEN}",
    "figure_against": f"figure against {TEN}",
    "figure_extra": f"figure extra {CIFAR} --tasks 50 --seeds 1",
}


def words_of(name: str, preset: str = "study") -> list[str]:
    """Give an item's command line, without the folder of the records."""
    return [*ITEMS[name].split(), "--preset", preset]


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
    parser.add_argument("--preset", default="study")
    options = parser.parse_args(arguments)
    common = ["--records", str(options.records)]
    common += ["--seeds", options.seeds] if options.seeds else []
    common += ["--download"]  # nothing runs: which data are on this machine is no matter
    codes, archive = [], read_archive(options.records)
    for name in ITEMS:
        if not is_known(name, archive):
            continue
        line = [*words_of(name, options.preset), *common]
        if line[0] == "figure":
            codes.append(ham([*line, "--out", str(options.out / "figures")]))
            continue
        table = options.out / "tables" / name
        outs = [f"--out={table}{suffix}" for suffix in (".md", ".csv", ".tex")]
        codes.append(ham([*line, *outs]))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
