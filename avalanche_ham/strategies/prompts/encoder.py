"""A frozen ViT that is asked twice: for a query, then with the prompts that the query gets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avalanche_ham.backbones.encoder import Encoding, vit_encoder
from avalanche_ham.backbones.seams import embed, insert_prompts, run_blocks, tokens_read
from avalanche_ham.heads.loss import at_least_fp32

__all__ = ["PromptEncoder"]


class PromptEncoder(nn.Module):
    """Encode images with prompts chosen or mixed for each image by its own query.

    The query q(x) is the prompt-free ViT's feature of the very same view, without a gradient.
    The tokens before the first block are computed once for both passes. No image looks at the
    others of its batch: selecting by the majority of a batch would tell, at test time, which
    task the batch came from.

    The ViT stays in eval mode whatever the mode of the model is, so that the query of an image
    is the same in training and evaluation.

    Args:
        base: the encoder whose ViT is prompted; the ViT is shared, not copied.
        prompts: maps queries ``(N, d)`` to a ``Prompting``.

    Raises:
        HamError: if ``base`` is no plain ``VitEncoder``, such as one with prompts already.
    """

    def __init__(self, base: nn.Module, prompts: nn.Module) -> None:
        super().__init__()
        plain = vit_encoder(base, "prompting")
        self.vit, self.preprocess, self.prompts = plain.vit, plain.preprocess, prompts
        self.num_features = plain.num_features
        self.train(base.training)

    @property
    def adaptable(self) -> nn.Module:
        """The frozen ViT."""
        return self.vit

    def train(self, mode: bool = True) -> PromptEncoder:
        """Set the mode of the prompts; the frozen ViT stays in eval mode."""
        super().train(mode)
        self.vit.eval()
        return self

    @torch.no_grad()
    def query(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give q(x) ``(N, d)``, at least fp32, and the tokens before the first block."""
        tokens = embed(self.vit, self.preprocess(images))
        read = run_blocks(self.vit, tokens, keep=tokens_read(self.vit))
        return at_least_fp32(self.vit.forward_head(read, pre_logits=True)), tokens

    def forward(self, images: Tensor) -> Encoding:
        """Map images ``(N, C, H, W)``, uint8 or float, to features ``(N, d)`` and a penalty."""
        query, tokens = self.query(images)
        with torch.autocast(images.device.type, enabled=False):  # selection in full precision
            found = self.prompts(query)
        count = 0
        if found.tokens is not None:
            tokens = insert_prompts(self.vit, tokens, found.tokens)
            count = found.tokens.shape[1]
        keep = tokens_read(self.vit, count)
        hidden = run_blocks(self.vit, tokens, prefix=found.prefix, keep=keep)
        if found.tokens is None:
            features = self.vit.forward_head(hidden, pre_logits=True)
        else:  # L2P classifies the mean of the prompts' own outputs
            first = self.vit.num_prefix_tokens
            own = hidden[:, first : first + count]
            features = self.vit.fc_norm(own.mean(dim=1))
        return Encoding(features, found.penalty)
