"""Extra table, ours: one factor at a time round HAM's default, at 10 tasks.

Command: python experiments/table_extra_one_factor_at_a_time.py --run
Paper: concatenation is best within a group; no numbers.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "extra", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
