"""The methods as a comparison lists them: the paper's thirteen, then ours for reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.strategies.registry import METHODS

LABELS = {
    "finetune": "Fine-tuning",
    "ewc": "EWC",
    "lwf": "LwF",
    "linear": "Linear merging",
    "ties": "TIES",
    "dare_ties": "DARE-TIES",
    "l2p": "L2P",
    "dual_prompt": "DualPrompt",
    "coda_prompt": "CODA-Prompt",
    "sema": "SEMA",
    "inflora": "InfLoRA",
    "sd_lora": "SD-LoRA",
    "ham": "HAM",
    "frozen": "frozen backbone",
    "ncm": "class means, frozen backbone",
    "ridge": "ridge readout, frozen backbone",
    "lora": "one LoRA",
    "lora_ewc": "one LoRA with EWC",
    "lora_lwf": "one LoRA with LwF",
    "joint": "one LoRA on all tasks at once (bound)",
}
REFERENCES = ("frozen", "lora", "lora_ewc", "lora_lwf", "joint")
HEADS = {
    "linear": "linear head, trained",
    "ncm": "nearest class mean, closed form",
    "ridge": "ridge readout, closed form",
    "lda": "linear discriminant, closed form",
}


@dataclass(frozen=True)
class MethodRow:
    """One line of a comparison: a method, perhaps with options other than its defaults."""

    label: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    in_paper: bool = True

    @property
    def is_bound(self) -> bool:
        """Whether it sees what the others must not, and so cannot be the best."""
        return self.method == "joint"


def method_rows(setup: Setup, *, head: str, heads: tuple[str, ...]) -> Iterator[MethodRow]:
    """List the rows of the block of one head.

    The merging baselines come twice, as in the paper (factors merged) and with their
    products merged. ``ncm`` and ``ridge`` come only if they are named: ``frozen`` under
    those heads is the same. Each stands in the block of its readout, or in the first one.

    Args:
        setup: may name the methods.
        head: the block's.
        heads: of all blocks.
    """
    names = setup.chosen(*paper.METHODS, *REFERENCES)
    for name in names:
        own = METHODS[name].head
        if own is not None and own != head and (own in heads or head != heads[0]):
            continue
        in_paper = name in paper.METHODS
        yield MethodRow(LABELS.get(name, name), name, in_paper=in_paper)
        if name in ("linear", "ties", "dare_ties"):
            label = f"{LABELS[name]}, products merged"
            yield MethodRow(label, name, {"space": "delta"}, in_paper=False)
