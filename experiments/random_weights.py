"""Write random weights of the embedded backbone's shape, to see what pre-training is worth.

Usage: python random_weights.py random.safetensors
       ham run --backbone embedded --weights random.safetensors ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from pretraining.export import write_weights

from avalanche_ham.backbones.embedded import ARCHITECTURE, embedded_metadata
from avalanche_ham.backbones.hybrid import create_hybrid_vit


def main() -> None:
    """Write them to the file on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    described = embedded_metadata()
    shape = {name: described[name] for name in ARCHITECTURE}
    torch.manual_seed(0)
    state = create_hybrid_vit(**shape).state_dict()
    looks = {name: described[name] for name in ("mean", "std")}
    write_weights(state, file, {**shape, **looks})


if __name__ == "__main__":
    main()
