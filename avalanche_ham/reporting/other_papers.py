"""Numbers that papers other than HAM's print, typed once: accuracies and transfer in percent.

None of them was measured on this package's set-up; only orders and differences compare.
"""

from __future__ import annotations

from avalanche_ham.reporting.paper import Value

# PAM (arXiv 2506.03189), Tables 1 and 2: CoIN, PaliGemma, three orders of its six tasks;
# method -> ACC, BWT, accuracy on a task just learned (and merged, where one merges)
PAM: dict[str, tuple[Value | None, ...]] = {
    "independent": (Value(76.46), None, None),
    "joint": (Value(73.93), None, None),
    "lora": (Value(43.36, 8.18), Value(-39.51, 9.87), Value(76.29, 0.18)),
    "lora_lwf": (Value(47.15, 3.52), Value(-33.66, 3.84), Value(75.20, 0.32)),
    "i_lora": (Value(42.11, 6.55), Value(-40.95, 8.13), Value(76.24, 0.35)),
    "o_lora": (Value(46.53, 6.88), Value(-32.08, 7.87), Value(73.27, 1.01)),
    "moe_lora": (Value(46.59, 9.98), Value(-36.40, 11.97), Value(76.93, 0.27)),
    "magmax": (Value(45.74, 0.88), Value(-22.68, 6.51), None),  # printed: before its merge
    "average": (Value(47.41, 0.38), Value(-22.40, 0.80), Value(65.95, 1.31)),
    "pam": (Value(49.89, 1.66), Value(-19.45, 0.95), Value(66.11, 0.87)),
    "continual_ties": (Value(47.78, 0.38), Value(-22.87, 0.68), Value(66.85, 0.26)),
    "tall": (Value(49.22, 2.53), Value(-12.85, 1.53), Value(59.93, 1.51)),
    "tall_pam": (Value(51.97, 5.59), Value(-9.27, 5.53), Value(59.70, 1.23)),
}
SLIP = (
    "a slip in PAM's paper, Table 2: the average's BWT is printed as -22.40; its row gives "
    "(47.41 - 65.95) * 6/5 = -22.25"
)

# SLAO (arXiv 2512.23017), ablation on the sequence of 15 text tasks, Llama-2-7B-chat:
# (method, options that differ from its defaults) -> accuracy
SLAO: dict[tuple[str, tuple[tuple[str, object], ...]], Value] = {
    ("slao", ()): Value(74.8),
    ("slao", (("init", "merged"),)): Value(74.2),
    ("slao", (("init", "random"),)): Value(59.6),
    ("slao", (("merged", "both"),)): Value(73.9),
    ("slao", (("orthonormal", False),)): Value(74.3),
    ("slao", (("merged", "a"),)): Value(71.7),
    ("slao", (("frozen", "a"),)): Value(72.9),
    ("slao", (("frozen", "b"), ("merged", "a"))): Value(69.7),
    ("magmax", ()): Value(73.4),
    ("inflora", ()): Value(69.8),
    ("o_lora", ()): Value(73.5),
}

# CIFAR-100 in 10 tasks on a ViT-B/16 at 224 px: HAM's from its Table 7, the others as later
# papers' comparisons give them, not each traced to its table
CIFAR100_10_TASKS = {
    "lora": Value(72.6),
    "linear": Value(87.5),
    "sd_lora": Value(87.3),  # the lowest of those printed, up to 88.0
    "pm": Value(88.5),
    "ham": Value(86.44, 0.30),
}
# RanPAC (arXiv 2307.02251): a ridge head on random projections of a frozen ViT-B/16's features
FROZEN_RIDGE = {"cifar100": Value(89.0), "cub100": Value(88.7)}
FROZEN = (
    "RanPAC (arXiv 2307.02251) prints 89.0 on CIFAR-100 and 88.7 on CUB-200 for a ridge head on "
    "random projections of a frozen ViT-B/16, above every row of HAM's Table 1 there"
)
