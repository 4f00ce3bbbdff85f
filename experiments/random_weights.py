"""Write random weights of the embedded backbone's shape, to see what pre-training is worth.

Usage: python experiments/random_weights.py random.safetensors
       ham run --backbone embedded --weights random.safetensors ...
"""

import sys
from pathlib import Path

import torch
from pretraining.export import write_weights
from pretraining.views import MEAN, STD

from avalanche_ham.backbones.embedded import ARCHITECTURE
from avalanche_ham.backbones.hybrid import create_hybrid_vit

if __name__ == "__main__":
    shape = {"img_size": 160, "depth": 6, "embed_dim": 192, "num_heads": 3}
    assert set(shape) == set(ARCHITECTURE)
    torch.manual_seed(0)
    state = create_hybrid_vit(**shape).state_dict()
    write_weights(state, Path(sys.argv[1]), {**shape, "mean": MEAN, "std": STD})
