"""Whether a method that guesses the task of an image guesses right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from avalanche_ham.seeding import preserved


@torch.no_grad()
def right_picks(strategy: Any, experiences: Sequence[Any]) -> list[float] | None:
    """Give, for each task, the share of its images that get the expert of their own task.

    Args:
        strategy: after training; one whose encoder picks an expert by the image's query
            (DualPrompt), else there is nothing to say.
        experiences: all T test experiences, in order.

    Returns:
        T fractions in [0, 1]; chance is 1/T. None for any other strategy.
    """
    encoder = strategy.model.encoder
    choose = getattr(getattr(encoder, "prompts", None), "choose", None)
    if choose is None:
        return None
    shares = []
    for task, experience in enumerate(experiences):
        data, right = experience.dataset.eval(), 0
        with preserved():  # even a loader that does not shuffle draws a random number
            batches = iter(DataLoader(data, batch_size=strategy.eval_mb_size))
        for batch in batches:
            with strategy.autocast():
                query = encoder.query(batch[0].to(strategy.device))[0]
            right += int((choose(query) == task).sum())
        shares.append(right / len(data))
    return shares
