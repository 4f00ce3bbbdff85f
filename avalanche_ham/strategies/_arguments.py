"""What every strategy checks of its arguments, before anything is made of them."""

from __future__ import annotations

from typing import Any

import torch

from avalanche_ham.errors import OptionError, UnknownNameError, check_range, check_whole

PRECISIONS = ("fp32", "bf16")


def check_arguments(
    *,
    lr: float,
    weight_decay: float,
    head_lr: float | None,
    steps: int | None,
    min_steps: int | None,
    adapt_tasks: int | None,
    precision: str,
    seed: int,
    train_mb_size: int,
    train_epochs: int,
    eval_mb_size: int,
    device: str | torch.device,
) -> None:
    """Refuse what would fail in mid-training, or train nothing; see ``ContinualStrategy``.

    Raises:
        OptionError, UnknownNameError: naming the argument, what is allowed and what was given.
    """
    finite: Any = {"high": float("inf"), "open_high": True}
    check_range("lr", lr, 0.0, open_low=True, **finite)
    check_range("weight_decay", weight_decay, 0.0, **finite)
    if head_lr is not None:
        check_range("head_lr", head_lr, 0.0, open_low=True, **finite)
    counts = {
        "steps": steps,
        "min_steps": min_steps,
        "adapt_tasks": adapt_tasks,
        "train_epochs": train_epochs,
        "train_mb_size": train_mb_size,
        "eval_mb_size": eval_mb_size,
    }
    for name, count in counts.items():
        if count is not None or name.startswith(("train", "eval")):
            check_whole(name, count, 1)  # type: ignore[arg-type]
    check_whole("seed", seed, 0)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    try:
        torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise OptionError("device", "a torch device, such as cpu or cuda:1", device) from error
