"""A frozen ViT with SEMA's self-expanding adapters beside the MLPs of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from avalanche_ham.backbones.encoder import Encoding, vit_encoder
from avalanche_ham.backbones.seams import embed, run_blocks
from avalanche_ham.errors import check_whole
from avalanche_ham.strategies.sema.adapter import BlockAdapters


class ExpandingEncoder(nn.Module):
    """Encode images with one or more adapters beside each MLP (SEMA, Sec. 3).

    While descriptors are new, training forwards remember their losses; while they train, the
    penalty is the sum over blocks of their mean loss. Descriptors look at detached hidden
    states, so the penalty reaches nothing else. In evaluation there is no penalty.

    Args:
        base: the encoder whose ViT is adapted; the ViT is shared and stays frozen, in eval
            mode.
        hidden: width of the adapters' bottleneck, at least 1.
        descriptor_width: width of the descriptors' code, at least 1.
        expandable: the number of blocks, counted from the last, that may get more than one
            adapter, at least 0; more than there are means all.

    Raises:
        HamError: if ``base`` is no plain ``VitEncoder``.
        OptionError: if a number is outside its range.
    """

    def __init__(
        self, base: nn.Module, *, hidden: int, descriptor_width: int, expandable: int
    ) -> None:
        super().__init__()
        plain = vit_encoder(base, "SEMA")
        check_whole("hidden", hidden, 1)
        check_whole("descriptor_width", descriptor_width, 1)
        check_whole("expandable", expandable, 0)
        self.vit, self.preprocess = plain.vit, plain.preprocess
        self.num_features = plain.num_features
        depth = len(self.vit.blocks)
        self.vit.requires_grad_(False)
        first = depth - expandable
        self.blocks: Any = nn.ModuleList(
            BlockAdapters(
                self.vit.embed_dim,
                hidden=hidden,
                descriptor_width=descriptor_width if index >= first else 0,
            )
            for index in range(depth)
        )
        self.train(base.training)

    @property
    def adaptable(self) -> nn.Module:
        """The frozen ViT."""
        return self.vit

    def train(self, mode: bool = True) -> ExpandingEncoder:
        """Set the mode; the frozen ViT stays in eval mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, images: Tensor) -> Encoding:
        """Map images ``(N, C, H, W)``, uint8 or float, to features ``(N, d)`` and a penalty."""
        features, pooled = self._run(images)
        if not self.training:
            return Encoding(features)
        losses = [loss.mean() for loss in self._remember(pooled) if loss.requires_grad]
        return Encoding(features, torch.stack(losses).sum() if losses else None)

    @torch.no_grad()
    def observe(self, images: Tensor) -> None:
        """Let the new descriptors remember their losses on images, without training."""
        list(self._remember(self._run(images)[1]))

    @torch.no_grad()
    def surprises(self, images: Tensor) -> dict[int, float]:
        """Tell for each expandable block, shallow to deep, how unlike known inputs these are."""
        pooled = self._run(images)[1]
        return {
            index: block.surprise(pooled[index])
            for index, block in enumerate(self.blocks)
            if block.expandable
        }

    @property
    def n_adapters(self) -> int:
        """The number of adapters of all blocks together."""
        return sum(len(block.adapters) for block in self.blocks)

    def grow(self, index: int) -> None:
        """Add an adapter beside block ``index``, on the ViT's device and in its precision."""
        weight = next(self.vit.parameters())
        self.blocks[index].grow()
        self.blocks[index].to(weight.device, weight.dtype)

    def each(self, action: Callable[[BlockAdapters], None]) -> None:
        """Do something to every block, such as ``BlockAdapters.freeze``."""
        for block in self.blocks:
            action(block)

    def _run(self, images: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Give features, and the detached token means ``(N, d)`` that enter each adapter."""
        pooled: dict[int, Tensor] = {}
        parallel = {
            index: partial(_beside, index, block, pooled)
            for index, block in enumerate(self.blocks)
            if len(block.adapters)
        }
        tokens = embed(self.vit, self.preprocess(images))
        tokens = run_blocks(self.vit, tokens, parallel=parallel)
        return self.vit.forward_head(tokens, pre_logits=True), pooled

    def _remember(self, pooled: dict[int, Tensor]) -> Iterator[Tensor]:
        """Yield the new descriptors' losses ``(N,)``; each is put into its statistics."""
        for index, block in enumerate(self.blocks):
            if block.is_new and block.expandable:
                losses = block.descriptors[-1](pooled[index])
                block.descriptors[-1].record(losses)
                yield losses


def _beside(index: int, block: nn.Module, pooled: dict[int, Tensor], hidden: Tensor) -> Tensor:
    pooled[index] = hidden.detach().mean(1)
    return block(hidden)
