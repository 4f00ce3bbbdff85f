"""Prompts for a frozen ViT, among the tokens (L2P) or in the attention (the others)."""

from avalanche_ham.strategies.prompts.decomposed import DecomposedPrompts
from avalanche_ham.strategies.prompts.dual import DualPrompts
from avalanche_ham.strategies.prompts.encoder import PromptEncoder
from avalanche_ham.strategies.prompts.pool import PromptPool
from avalanche_ham.strategies.prompts.prompting import Prompting, as_prefix, cosines
from avalanche_ham.strategies.prompts.slices import TaskSlices

__all__ = [
    "DecomposedPrompts",
    "DualPrompts",
    "PromptEncoder",
    "PromptPool",
    "Prompting",
    "TaskSlices",
    "as_prefix",
    "cosines",
]
