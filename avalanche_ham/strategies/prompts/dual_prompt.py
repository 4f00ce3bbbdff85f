"""DualPrompt: a prefix that all tasks share, and one of each task's own."""

from __future__ import annotations

from typing import Any

from torch import nn

from avalanche_ham.backbones.encoder import vit_encoder
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range
from avalanche_ham.seeding import forked
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies.prompts import DualPrompts, PromptEncoder


class DualPromptStrategy(ContinualStrategy):
    """Train the general prefix, the task's expert prefix and key, and the newest head rows.

    Wang et al., DualPrompt, ECCV 2022, Sec. 4. The pool of experts grows by one a task, so it
    always has as many as there are tasks; stored parameters grow linearly. In evaluation each
    image takes the expert of the key nearest to its own query; the task is never told, nor
    voted on by a batch. Each image costs two passes of the ViT.

    The authors train with Adam, no weight decay, a constant rate of 0.03 x batch / 256 (0.0075
    at batch 64, 0.0019 at 16), for 5 epochs; a re-implementation uses 0.001. Here ``lr`` is
    the comparison's, as for every method, and is not scaled by the batch.

    Args:
        model: from ``create_model``; its encoder is replaced by one with prompts.
        general_length: rows of keys, and of values, of the general prefix, at least 1.
        expert_length: the same of each expert, at least 1.
        general_blocks: blocks with the general prefix, from the first on, at least 0 and fewer
            than the ViT has.
        expert_blocks: blocks after those with experts, at least 1; cut to the ViT's depth.
        pull: weight of the cosine term that trains the keys, at least 0.
        copy_previous: start an expert (never its key) from the last task's, else afresh.
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
        general_length: int = 5,
        expert_length: int = 5,
        general_blocks: int = 2,
        expert_blocks: int = 3,
        pull: float = 1.0,
        copy_previous: bool = True,
        clip_norm: float | None = 1.0,
        **kwargs: Any,
    ) -> None:
        if clip_norm is not None:
            check_range("clip_norm", clip_norm, 0.0, float("inf"), open_low=True)
        self.clip_norm = clip_norm
        encoder: Any = vit_encoder(model.encoder, "prompting")
        with forked(kwargs.get("seed", 0), "dual_prompt"):
            prompts = DualPrompts(
                width=encoder.num_features,
                heads=encoder.vit.blocks[0].attn.num_heads,
                depth=len(encoder.vit.blocks),
                general_length=general_length,
                expert_length=expert_length,
                general_blocks=general_blocks,
                expert_blocks=expert_blocks,
                pull=pull,
                copy_previous=copy_previous,
            )
        model.replace_encoder(PromptEncoder(encoder, prompts))
        super().__init__(model=model, **kwargs)

    def begin_task(self, experience: Any) -> None:
        """Make the task's expert and key; earlier ones are constants from now."""
        self.model.encoder.prompts.grow()

    def optimizer_step(self) -> None:
        """Clip the gradients, then take the step."""
        if self.clip_norm is not None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        super().optimizer_step()
