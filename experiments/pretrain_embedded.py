"""Pre-train the embedded backbone, or any small ViT, on an image folder.

Usage: python experiments/pretrain_embedded.py --data ROOT/tiny-imagenet --out OUT

Needs the extra ``pretrain`` (weights of stem and teacher). The stem's features and the teacher's
answers are computed once and cached; the training then takes ``--minutes``, or ``--steps``. Killed
at any time, the same command goes on. On a GPU without a cache of features:
``--views 0 --batch 1024 --mix 0.5``; a plain ViT: ``--stem none --views 0 --img-size 64``.

Result, 60 minutes and 16.6 epochs on two CPU cores (AMD EPYC), after half an hour for the caches:
validation accuracy 65.8 %. More in avalanche_ham/backbones/EMBEDDED.md.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
import timm
import torch
from pretraining.export import write_weights
from pretraining.sources import MEAN, STD, FeatureSource, ImageSource
from pretraining.student import Student
from pretraining.teacher import cached_targets, load_stem
from pretraining.trainer import Recipe, Trainer
from pretraining.training import train
from timm.models.vision_transformer import VisionTransformer

from avalanche_ham.backbones.hybrid import create_hybrid_vit
from avalanche_ham.benchmarks.image_folder import open_folder


def main(arguments: list[str] | None = None) -> None:
    """Train, export, and print accuracy and checksums."""
    options = parse(arguments)
    torch.manual_seed(options.seed)
    timm.layers.set_fused_attn(options.device != "cpu")  # its CPU backward is slow
    device = torch.device(options.device)
    train_set, test_set = open_folder(options.data)
    images, test_images = (
        np.stack([image.numpy() for image, _ in part]) for part in (train_set, test_set)
    )
    labels, test_labels = torch.tensor(train_set.targets), torch.tensor(test_set.targets)
    cache = options.cache or options.out / "cache"
    vit = create(options)
    targets = cached_targets(
        options.teacher, images, cache, size=options.teacher_size, device=device
    )
    source = make_source(options, vit, images, test_images, cache, device)
    shape = None
    if targets is not None:
        shape = targets.logits.shape[1], targets.features.shape[1]
    recalls_stem = options.stem != "none" and options.weights[3] > 0
    student = Student(vit, len(train_set.classes), shape, recalls_stem=recalls_stem)
    trainer = Trainer(student, source, labels, targets, recipe(options), device)
    options.out.mkdir(parents=True, exist_ok=True)
    accuracy = train(trainer, test_labels, options.out)
    config = architecture(options) | {"validation": round(accuracy, 2)}
    sums = write_weights(
        trainer.average.vit.state_dict(),
        options.out / "weights.safetensors",
        config,
        max_part_size=options.max_part_size,
    )
    print(f"validation accuracy {accuracy:.2f} %")
    for name, digest in sums.items():
        print(f"{options.out / name}: sha256 {digest}")


def create(options: argparse.Namespace) -> VisionTransformer:
    """Build the ViT, with the ImageNet weights in its stem if it has one."""
    shape = {"img_size": options.img_size, "depth": options.depth}
    shape |= {"embed_dim": options.embed_dim, "num_heads": options.num_heads}
    if options.stem == "none":
        return VisionTransformer(**shape, patch_size=options.patch_size, num_classes=0)
    vit = create_hybrid_vit(**shape)
    if options.stem == "efficientnet_lite0":
        load_stem(vit.patch_embed.backbone)
    return vit


def architecture(options: argparse.Namespace) -> dict:
    """Give what a loader must know to build the network again."""
    names = ["img_size", "depth", "embed_dim", "num_heads"]
    if options.stem == "none":
        names.append("patch_size")
    return {name: getattr(options, name) for name in names} | {"mean": MEAN, "std": STD}


def make_source(
    options: argparse.Namespace,
    vit: VisionTransformer,
    images: np.ndarray,
    test_images: np.ndarray,
    cache: Path,
    device: torch.device,
) -> ImageSource | FeatureSource:
    """Cache the stem's features of a few views per image, or cut new views in each epoch."""
    if options.views == 0:
        return ImageSource(images, test_images, options.img_size, device, options.seed)
    return FeatureSource(
        vit.patch_embed.backbone,
        images,
        test_images,
        size=options.img_size,
        views=options.views,
        coarse_views=options.coarse_views,
        folder=cache,
        device=device,
        seed=options.seed,
    )


def recipe(options: argparse.Namespace) -> Recipe:
    """Take the training options out of the command line's."""
    names = [field.name for field in fields(Recipe)]
    return Recipe(**{name: getattr(options, name) for name in names})


OPTIONS = {
    "data": {"type": Path, "required": True, "help": "folder that holds train and test"},
    "out": {"type": Path, "required": True, "help": "checkpoint, log and weights"},
    "cache": {"type": Path, "help": "answers of teacher and stem; default OUT/cache"},
    "device": {"default": "cuda" if torch.cuda.is_available() else "cpu"},
    "teacher": {"choices": ["efficientnet_lite2", "none"], "default": "efficientnet_lite2"},
    "teacher-size": {"type": int, "default": 160, "help": "pixels"},
    "stem": {
        "choices": ["efficientnet_lite0", "random", "none"],
        "default": "efficientnet_lite0",
        "help": "none: a plain ViT, with --views 0",
    },
    "views": {
        "type": int,
        "default": 4,
        "help": "cached per image; 0: new ones each epoch",
    },
    "coarse-views": {
        "type": int,
        "default": 2,
        "help": "how many of them are cut from shrunk images, as small as CIFAR's",
    },
    "img-size": {"type": int, "default": 160},
    "patch-size": {"type": int, "default": 8, "help": "of a plain ViT"},
    "depth": {"type": int, "default": 6},
    "embed-dim": {"type": int, "default": 192},
    "num-heads": {"type": int, "default": 3},
    "max-part-size": {
        "type": int,
        "default": 0,
        "help": "bytes per weights file; 0: one file",
    },
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; every field of ``Recipe`` is an option, too."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, keywords in OPTIONS.items():
        parser.add_argument(f"--{name}", **keywords)
    for field in fields(Recipe):
        many = isinstance(field.default, tuple)
        keywords = {"nargs": 4, "type": float} if many else {"type": type(field.default)}
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, default=field.default, **keywords)
    options = parser.parse_args(arguments)
    if options.stem == "none" and options.views:
        parser.error("--stem none has no stem whose features could be cached: add --views 0")
    return options


if __name__ == "__main__":
    main()
