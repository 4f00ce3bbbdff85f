"""Table 1: average accuracy (AA) of all methods after 50 tasks, two heads, three data sets.

Command: python experiments/table1_methods_at_50_tasks.py --run
Paper: HAM 71.78 on CIFAR-100, 55.17 on CUB-200, 83.29 on Tiny-ImageNet: best on average, 70.08.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "1", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
