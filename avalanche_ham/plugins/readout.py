"""Feed a closed-form readout with each task's features, once the task is learned."""

from __future__ import annotations

import time
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin
from torch.utils.data import DataLoader

from avalanche_ham.plugins.final_merging import FinalMergingPlugin


class ReadoutPlugin(SupervisedPlugin, supports_distributed=True):
    """After each experience, pass its training images once through the merged model.

    The readout keeps class sums or a Gram matrix, no images. Without a readout in the model
    the plugin does nothing.

    Args:
        merging: tells which weights evaluation will use.
    """

    def __init__(self, merging: FinalMergingPlugin) -> None:
        super().__init__()
        self.merging = merging
        self.seconds = 0.0  # that the latest experience took

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Feed the readout with features of the experience's own, un-augmented images."""
        model, start = strategy.model, time.perf_counter()
        self.seconds = 0.0
        if not model.readouts:
            return
        was_training = model.training
        model.eval()
        self.merging.before_eval(strategy)
        try:
            data = strategy.experience.dataset.eval()
            for batch in DataLoader(data, batch_size=strategy.eval_mb_size):
                images, targets = batch[0].to(strategy.device), batch[1].to(strategy.device)
                with strategy.autocast():
                    features = model.encode(images).features
                for readout in model.readouts.values():
                    readout.feed(features, targets)
            for readout in model.readouts.values():
                readout.settle()
        finally:
            self.merging.after_eval(strategy)
            model.train(was_training)
            self.seconds = time.perf_counter() - start
