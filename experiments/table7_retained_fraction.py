"""Table 7: the fraction that pruning retains, 0.1 to 1.0, at 10 tasks.

Command: python experiments/table7_retained_fraction.py --run
Paper: 83.12 at 0.1, best 85.83 at 0.6, 85.82 at 0.8.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "7", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
