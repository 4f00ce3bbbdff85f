"""Figure 2: AA over 10, 20, 50 and 100 tasks, all methods.

Command: python experiments/figure2_sequence_lengths.py --run
Paper: HAM on top at every length; SD-LoRA out of memory after 69 of 100 tasks; no numbers.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["figure", "2", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
