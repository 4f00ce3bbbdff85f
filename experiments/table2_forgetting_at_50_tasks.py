"""Table 2: forgetting (FM) in the runs of Table 1.

Command: python experiments/table2_forgetting_at_50_tasks.py --run
Paper: HAM 10.98, 12.94 and 5.32, on average 9.75: less than SEMA, InfLoRA and SD-LoRA.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["table", "2", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
