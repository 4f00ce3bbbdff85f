"""CODA-Prompt: prefixes mixed from components that grow by an orthonormal slice a task."""

from __future__ import annotations

from typing import Any

from avalanche_ham.backbones.encoder import vit_encoder
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.strategies._base import ContinualStrategy
from avalanche_ham.strategies._loop import check_schedule
from avalanche_ham.strategies.prompts import DecomposedPrompts, PromptEncoder


class CodaPromptStrategy(ContinualStrategy):
    """Train the task's slice of components, keys and attention, and the newest head rows.

    Smith et al., CODA-Prompt, CVPR 2023, Sec. 4. Earlier components take part in every prefix
    as constants; stored parameters grow linearly. Nothing is selected, so evaluation needs no
    guess of the task. Each image costs two passes of the ViT.

    The authors train with Adam at 1e-3, no weight decay, batch 128, 20 epochs on CIFAR-100,
    the rate falling along a quarter of a cosine, epoch by epoch (step by step where the budget
    is in steps); here it falls so from ``lr``, which is the comparison's, as for every method.

    Args:
        model: from ``create_model``; its encoder is replaced by one with prompts.
        components: new components of each task, from 1 to the width of the ViT (paper: 100 over
            ten tasks). Once all tasks' components outnumber the width, new slices are
            orthogonal within themselves only; the log says so.
        prompt_length: rows of a component, even and at least 2: one half keys, one half values.
        blocks: blocks with a prefix, from the first on, at least 1; cut to the ViT's depth.
        ortho: weight of the orthogonality penalty, at least 0 (paper: 0.1).
        schedule: of the learning rate, one of ``quarter_cosine``, ``cosine`` or ``constant``.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, UnknownNameError: if an argument is outside its range.
        HamError: if the model's encoder carries prompts already.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        components: int = 10,
        prompt_length: int = 8,
        blocks: int = 5,
        ortho: float = 0.1,
        schedule: str = "quarter_cosine",
        **kwargs: Any,
    ) -> None:
        self.schedule = check_schedule(schedule)
        encoder: Any = vit_encoder(model.encoder, "prompting")
        prompts = DecomposedPrompts(
            width=encoder.num_features,
            heads=encoder.vit.blocks[0].attn.num_heads,
            depth=len(encoder.vit.blocks),
            components=components,
            length=prompt_length,
            blocks=blocks,
            ortho=ortho,
        )
        model.replace_encoder(PromptEncoder(encoder, prompts))
        super().__init__(model=model, **kwargs)

    def begin_task(self, experience: Any) -> None:
        """Start the task's slice by Gram-Schmidt; earlier ones are constants from now."""
        self.model.encoder.prompts.grow()
