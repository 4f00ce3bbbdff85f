"""Frozen vision transformers and the continual model around them."""

from avalanche_ham.backbones.model import ContinualModel, Encoding, VitEncoder, create_model
from avalanche_ham.backbones.preprocess import Preprocess
from avalanche_ham.backbones.vit import BACKBONES, create_backbone

__all__ = [
    "BACKBONES",
    "ContinualModel",
    "Encoding",
    "Preprocess",
    "VitEncoder",
    "create_backbone",
    "create_model",
]
