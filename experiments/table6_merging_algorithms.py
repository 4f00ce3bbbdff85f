"""Table 6: the final merge: algorithm, space and weights, at 10 tasks.

Command: python experiments/table6_merging_algorithms.py --run
Paper: linear 86.44, TIES 85.66, DARE 83.43.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "6", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
