"""Figure 3: training and inference time per task, CIFAR-100, 10 tasks (make it with --jobs 1).

Command: python experiments/figure3_times.py --run
Paper: HAM roughly twice as fast as SD-LoRA in both; no numbers.
Ours: see experiments/README.md
"""

import sys

from avalanche_ham.cli.main import main

if __name__ == "__main__":
    fixed = ["figure", "3", "--records", "experiments/results"]
    sys.exit(main([*fixed, *sys.argv[1:]]))
