"""All methods side by side: AA, FM, seconds a task, trainable and stored parameters.

Command: python experiments/table_methods_side_by_side.py --run --data-root DATA --seeds 1
Paper:   Tables 1 and 2 have AA and FM at 50 tasks; times and sizes are not printed there.
Ours:    experiments/README.md.
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "methods", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
