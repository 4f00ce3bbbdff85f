"""Table 5: the number of groups, at 10 and 20 tasks.

Command: python experiments/table5_number_of_groups.py --run
Paper: 86.44 against 83.25 with more groups at 10 tasks, 82.45 against 78.81 at 20.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "5", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
