"""Extra figure, ours: grouping map, alphas over the tasks, stored parameters, 50 tasks.

Command: python experiments/figure_extra_groups_and_alphas.py --run
Paper: none.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["figure", "extra", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
