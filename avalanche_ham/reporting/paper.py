"""The numbers that the HAM paper prints (arXiv 2509.13211), typed once, as printed.

Accuracies and forgetting are in percent, with the printed deviation where there is one; the
paper does not say over how many runs. ``SLIPS`` lists where the print contradicts itself.
"""

from __future__ import annotations

from typing import NamedTuple


class Value(NamedTuple):
    """A printed number and its printed deviation, None where there is none."""

    mean: float
    std: float | None = None


DATA_SETS = ("cifar100", "cub200", "tiny_imagenet")
AVERAGE = "average"
Table = dict[str, dict[str, Value]]


def _table(rows: dict[str, str]) -> Table:
    """Read rows of ``mean std`` pairs, one for each data set and one for the average."""
    table: Table = {}
    for method, line in rows.items():
        numbers = [float(word) for word in line.replace("|", " ").split()]
        values = [Value(*pair) for pair in zip(numbers[::2], numbers[1::2])]
        table[method] = dict(zip((*DATA_SETS, AVERAGE), values, strict=True))
    return table


# Table 1: average accuracy (AA) after 50 tasks; method -> data set -> value
TABLE_1 = _table(
    {
        "finetune": "1.90 0.1 | 0.52 0.1 | 2.52 0.45 | 3.26 0.16",
        "ewc": "1.96 0.1 | 0.86 0.36 | 3.12 0.89 | 1.98 0.32",
        "lwf": "2.35 0.35 | 9.97 1.3 | 4.1 0.2 | 5.47 0.45",
        "linear": "64.29 2.98 | 45.04 1.43 | 80.13 0.694 | 63.15 1.13",
        "ties": "62.53 0.78 | 42.31 1.04 | 70.19 0.12 | 58.34 0.44",
        "dare_ties": "62.70 2.04 | 42.30 1.21 | 69.65 0.233 | 58.22 0.79",
        "l2p": "62.55 2.04 | 43.25 2.01 | 58.16 0.69 | 54.65 0.98",
        "dual_prompt": "61.25 0.44 | 49.44 1.81 | 74.83 0.26 | 61.84 0.63",
        "coda_prompt": "32.45 0.47 | 41.18 0.75 | 52.65 0.34 | 40.1 0.32",
        "sema": "65.86 0.34 | 32.02 3.16 | 83.56 0.57 | 60.48 1.08",
        "inflora": "49.1 4.4 | 36.02 3.26 | 65.7 0.66 | 50.27 1.84",
        "sd_lora": "71.63 0.67 | 47.56 3.77 | 79.48 2.09 | 66.22 1.45",
        "ham": "71.78 2.24 | 55.17 1.04 | 83.29 0.31 | 70.08 0.83",
    }
)

# Table 2: forgetting measure (FM) after 50 tasks
TABLE_2 = _table(
    {
        "finetune": "97.63 0.67 | 24.4 2.86 | 97.95 0.55 | 73.33 1.00",
        "ewc": "97.63 0.5 | 26.26 4.31 | 96.62 0.99 | 73.50 1.48",
        "lwf": "98.72 0.33 | 14.29 2.46 | 95.22 0.5 | 69.41 0.84",
        "linear": "31.79 2.11 | 29.17 1.40 | 16.50 1.11 | 25.82 0.92",
        "ties": "30 2.04 | 29.18 1.39 | 17.94 20.2 | 25.71 6.78",
        "dare_ties": "31.04 2.14 | 29.10 2.17 | 17.53 0.34 | 25.89 1.02",
        "l2p": "18.44 0.64 | 5.53 1.19 | 6.83 0.90 | 10.27 0.54",
        "dual_prompt": "10.58 1.66 | 8.53 2.05 | 5.85 0.52 | 8.32 0.90",
        "coda_prompt": "13.30 0.64 | 11.78 1.18 | 12.29 1.98 | 12.46 0.80",
        "sema": "14.67 0.67 | 13.26 1.32 | 10.86 0.77 | 12.93 0.56",
        "inflora": "23.41 3.84 | 46.26 3.68 | 19.32 1.82 | 29.66 1.87",
        "sd_lora": "12.24 1.45 | 33.15 1.45 | 10.63 4.0 | 18.67 1.50",
        "ham": "10.98 0.77 | 12.94 1.65 | 5.32 0.45 | 9.75 0.63",
    }
)
METHODS = tuple(TABLE_1)  # in the paper's order

# Table 3: (data set, tasks) -> AA by similarity, AA by orthogonality, advantage
TABLE_3 = {
    ("cifar100", 20): (82.45, 81.47, 0.98),
    ("cifar100", 50): (68.50, 64.86, 3.64),
    ("cub200", 20): (66.19, 64.49, 1.69),
    ("cub200", 50): (55.25, 50.16, 5.08),
}

# Table 4: task -> (group, AA of the individual adapter, of the group's, improvement)
TABLE_4 = {
    0: (1, 84.20, 84.30, 0.10),
    1: (0, 84.30, 85.20, 0.90),
    2: (1, 80.90, 83.60, 2.70),
    3: (0, 84.40, 87.80, 3.40),
    4: (1, 78.70, 83.50, 4.80),
    5: (1, 87.00, 90.60, 3.60),
    6: (0, 86.70, 89.60, 2.90),
    7: (0, 83.60, 86.30, 2.70),
    8: (0, 81.50, 85.20, 3.70),
    9: (1, 90.00, 92.60, 2.60),
}
TABLE_4_AVERAGE = (84.13, 86.87, 2.74)
TABLE_4_PARAMETERS = (5.90, 3.54)  # millions, before and after pruning, in the text

# The three ablations below are printed together as Table 7; the data set is not named.
# Numbers of groups: tasks -> AA with few and with more groups. How many is lost in the text
# that we have; the first value of each pair is that of the default.
GROUPS = {
    10: (Value(86.44, 0.30), Value(83.25, 0.21)),
    20: (Value(82.45, 0.45), Value(78.81, 0.01)),
}
DEFAULT_GROUPS = 2  # Table 4 shows two groups
# Final merge at 10 tasks, rank 16
MERGING = {
    "linear": Value(86.44, 0.30),
    "ties": Value(85.66, 0.13),
    "dare": Value(83.43, 0.07),
}
# Retained fraction k at 10 tasks: k -> (parameters in millions, reduction factor, AA)
RETENTION = {
    0.9: (5.31, 1.11, 83.12),
    0.8: (4.72, 1.25, 85.82),
    0.6: (3.54, 1.67, 85.83),
    0.4: (2.36, 2.50, 85.64),
    0.2: (1.18, 5.00, 84.41),
    0.1: (0.59, 10.00, 83.12),
}

# Figure 2 prints no numbers; these are HAM's on CIFAR-100 in the tables, by number of tasks
HAM_BY_LENGTH = {
    10: MERGING["linear"],
    20: GROUPS[20][0],
    50: TABLE_1["ham"]["cifar100"],
}

# Table -> where the print contradicts itself
SLIPS: dict[str, tuple[str, ...]] = {
    "1": (
        "fine-tuning's average is printed as 3.26; its row averages 1.65",
        "CODA-Prompt's average is printed as 40.1; its row averages 42.09",
    ),
    "2": (
        "TIES on Tiny-ImageNet is printed with a deviation of 20.2, ten times any other there",
        "the text gives DualPrompt the least forgetting everywhere; L2P has less on CUB-200, "
        "HAM on Tiny-ImageNet",
    ),
    "3": (
        "HAM on 50 tasks is 68.50 on CIFAR-100 and 55.25 on CUB-200 here, 71.78 and 55.17 "
        "in Table 1",
        "two advantages on CUB-200 differ from their row by 0.01",
    ),
    "4": (
        "task 0 stands in Group 1, though the first task opens the first group",
        "the text's 86.87 is the mean over group adapters, not an accuracy at 50 tasks",
    ),
    "5": ("the text speaks of a gain of 0.96 points at 20 tasks; the rows differ by 3.64",),
    "6": (),
    "7": (
        "a fraction of 0.9 has the very accuracy of 0.1, 83.12, and 2.7 less than 0.8",
        "a fraction of 0.6 has 85.83 here, 86.44 in the other two ablations",
    ),
}


def slips(table: str) -> tuple[str, ...]:
    """Give notes on where a table of the paper contradicts itself."""
    return tuple(f"a slip in the paper: {slip}" for slip in SLIPS[table])
