"""Avalanche's plugins and metrics beside the methods: works, or the line that is raised.

    python experiments/plugin_matrix.py            # writes the tables of docs/avalanche.md

Each cell trains a method on three tasks of noise with the plugin, on a tiny random ViT, and
evaluates it after each task; about a minute on one core. A plugin that has to have another loss
scope than the method's default, ``current``, is tried again with ``seen``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.evaluation import metrics
from avalanche.training import plugins
from avalanche.training.plugins import EvaluationPlugin
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import Dataset

from avalanche_ham import create_model
from avalanche_ham.errors import HamError
from avalanche_ham.strategies.registry import strategy_class

METHODS = ("ham", "lora", "inflora", "sema", "l2p")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "avalanche.md"
ALL = {"experience": True, "stream": True}
TRAINED = {"minibatch": True, "epoch": True, "epoch_running": True, **ALL}
MEASURED = {"minibatch": True, "epoch": True, "experience": True, "stream": True}
WORKS = "works"

PLUGINS: dict[str, Callable[[Any], Any]] = {
    "EWCPlugin, separate": lambda o: plugins.EWCPlugin(1.0),
    "EWCPlugin, online": lambda o: plugins.EWCPlugin(1.0, mode="online", decay_factor=0.5),
    "SynapticIntelligencePlugin": lambda o: plugins.SynapticIntelligencePlugin(1.0),
    "MASPlugin": lambda o: plugins.MASPlugin(),
    "RWalkPlugin": lambda o: plugins.RWalkPlugin(delta_t=2),
    "LwFPlugin": lambda o: plugins.LwFPlugin(),
    "GEMPlugin": lambda o: plugins.GEMPlugin(4, 0.5),
    "AGEMPlugin": lambda o: plugins.AGEMPlugin(4, 4),
    "ReplayPlugin": lambda o: plugins.ReplayPlugin(8),
    "MIRPlugin": lambda o: plugins.MIRPlugin(batch_size_mem=2, mem_size=8, subsample=4),
    "LRSchedulerPlugin": lambda o: plugins.LRSchedulerPlugin(StepLR(o, 1)),
    "EarlyStoppingPlugin": lambda o: plugins.EarlyStoppingPlugin(1, "test_stream"),
}

METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: metrics.accuracy_metrics(trained_experience=True, **TRAINED),
    "loss": lambda: metrics.loss_metrics(**TRAINED),
    "forgetting": lambda: metrics.forgetting_metrics(**ALL),
    "bwt": lambda: metrics.bwt_metrics(**ALL),
    "forward_transfer": lambda: metrics.forward_transfer_metrics(**ALL),
    "confusion_matrix": lambda: metrics.confusion_matrix_metrics(stream=True),
    "timing": lambda: metrics.timing_metrics(**MEASURED),
    "cpu_usage": lambda: metrics.cpu_usage_metrics(**MEASURED),
    "ram_usage": lambda: metrics.ram_usage_metrics(every=1, **MEASURED),
    "disk_usage": lambda: metrics.disk_usage_metrics(**MEASURED),
    "MAC": lambda: metrics.MAC_metrics(minibatch=True, epoch=True, experience=True),
    "amca": lambda: metrics.amca_metrics(),
    "class_accuracy": lambda: metrics.class_accuracy_metrics(**TRAINED),
    "topk_acc": lambda: metrics.topk_acc_metrics(top_k_list=[2], **MEASURED),
    "accuracy_matrix": lambda: metrics.accuracy_matrix_metrics(),
    "mean_scores": lambda: metrics.mean_scores_metrics(),
    "labels_repartition": lambda: metrics.labels_repartition_metrics(on_eval=True),
    "images_samples": lambda: metrics.images_samples_metrics(on_eval=True),
    "WeightCheckpoint": lambda: metrics.WeightCheckpointPlugin(),
}
