"""The training loop: until the budget is used, with log and checkpoints; resumable after a kill."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from pretraining.trainer import Trainer
from torch import Tensor


def train(trainer: Trainer, validation_labels: Tensor, folder: Path) -> float:
    """Train until the budget is used; log to ``log.jsonl`` and give the final accuracy."""
    checkpoint, recipe = folder / "checkpoint.pt", trainer.recipe
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"goes on from step {trainer.step}, {trainer.seconds:.0f} s", flush=True)
    losses: list[float] = []
    saved, due = trainer.seconds, math.floor(trainer.progress * recipe.validations) + 1
    while trainer.progress < 1:
        begun = time.monotonic()
        losses.append(trainer.train_step())
        trainer.seconds += time.monotonic() - begun  # time away does not count
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss is {losses[-1]} at step {trainer.step}")
        if trainer.progress * recipe.validations >= due and trainer.progress < 1:
            due += 1
            _log(trainer, folder, losses, trainer.validate(validation_labels))
            losses.clear()
        if trainer.seconds - saved > recipe.save_seconds:
            trainer.save(checkpoint)
            saved = trainer.seconds
    accuracy = trainer.validate(validation_labels)
    trainer.save(checkpoint)
    _log(trainer, folder, losses, accuracy)
    return accuracy


def _log(trainer: Trainer, folder: Path, losses: list[float], accuracy: float) -> None:
    mean = sum(losses) / max(1, len(losses))
    images = trainer.step * min(trainer.recipe.batch, len(trainer.labels))
    used = max(trainer.progress, 1e-9)
    left = max(0.0, trainer.seconds / used * (1 - used))
    record = {
        "step": trainer.step,
        "epoch": round(images / len(trainer.labels), 2),
        "seconds": round(trainer.seconds, 1),
        "loss": round(mean, 4),
        "validation": round(accuracy, 2),
        "images_per_second": round(images / max(trainer.seconds, 1e-9)),
    }
    with open(folder / "log.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
    print(f"{100 * used:.0f} %, {left:.0f} s left: {json.dumps(record)}", flush=True)
