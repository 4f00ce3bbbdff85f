"""L2P, Learning to Prompt: a pool of prompts among the tokens of a frozen ViT."""

from __future__ import annotations

from typing import Any

from torch import nn

from avalanche_ham.backbones.encoder import vit_encoder
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.prompts import PromptEncoder, PromptPool


class L2PStrategy(ContinualStrategy):
    """Train one pool of prompts and keys, whatever the number of tasks.

    Wang et al., Learning to Prompt for Continual Learning, CVPR 2022, Sec. 4. Each image takes
    the ``top_n`` prompts whose keys are nearest to its query, in training and in evaluation,
    never by a vote of its batch. The pool, its keys and the newest rows of the head train;
    each image costs two passes of the ViT. A readout other than the linear head sees the mean
    output of the prompts, as that head does.

    Sizes, pull and start are those of the authors' JAX code; a PyTorch port has prompts of 5, 5 of
    them, and a pull of 0.1. The authors train with Adam, no weight decay, a constant rate of 0.03 x
    batch / 256 (0.0075 at batch 64, 0.0019 at 16), for 5 epochs. Here ``lr`` is the comparison's,
    as for every method, and is not scaled by the batch.

    Args:
        model: from ``create_model``; its encoder is replaced by one with prompts.
        pool_size: number of prompts, at least 1.
        prompt_length: tokens of a prompt, at least 1.
        top_n: prompts of each image, from 1 to ``pool_size``.
        pull: weight of the cosine term that trains the keys, at least 0.
        clip_norm: largest norm of all gradients together, above 0; None clips nothing.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError: if an argument is outside its range.
        HamError: if the model's encoder carries prompts already.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        pool_size: int = 10,
        prompt_length: int = 10,
        top_n: int = 4,
        pull: float = 1.0,
        clip_norm: float | None = 1.0,
        **kwargs: Any,
    ) -> None:
        if clip_norm is not None:
            check_range("clip_norm", clip_norm, 0.0, float("inf"), open_low=True)
        self.clip_norm = clip_norm
        encoder = vit_encoder(model.encoder, "prompting")
        with forked(kwargs.get("seed", 0), "l2p"):
            pool = PromptPool(
                width=encoder.num_features,
                pool_size=pool_size,
                length=prompt_length,
                top_n=top_n,
                pull=pull,
            )
        model.replace_encoder(PromptEncoder(encoder, pool))
        super().__init__(model=model, **kwargs)

    def optimizer_step(self) -> None:
        """Clip the gradients, then take the step."""
        if self.clip_norm is not None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        super().optimizer_step()
