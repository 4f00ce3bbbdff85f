"""The methods as a comparison lists them: the paper's thirteen, then ours for reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.table import Line, Place
from avalanche_ham.runs.presets import preset_values
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
    "ham_plus": "HAM+",
    "frozen": "frozen backbone",
    "ncm": "class means, frozen backbone",
    "ridge": "ridge readout, frozen backbone",
    "lora": "one LoRA",
    "lora_ewc": "one LoRA with EWC",
    "lora_lwf": "one LoRA with LwF",
    "fsa": "one LoRA in the first task only",
    "o_lora": "O-LoRA",
    "slao": "SLAO",
    "average": "Average of an evolving LoRA",
    "pam": "PAM",
    "pam_zero": "PAM, restarted from zero",
    "pam_lwf": "PAM with LwF",
    "pam_er": "PAM with stored images",
    "continual_ties": "TIES of an evolving LoRA",
    "tall": "TALL",
    "tall_pam": "TALL and PAM",
    "magmax": "MagMax",
    "independent": "one LoRA a task, task known (bound)",
    "lora_er": "one LoRA with stored images",
    "i_lora": "I-LoRA",
    "moe_lora": "MoELoRA",
    "pm": "P&M",
    "joint": "one LoRA on all tasks at once (bound)",
    "sd_lora_code": "SD-LoRA, as released",
    "sd_lora_rr": "SD-LoRA, reduced ranks",
    "sd_lora_kd": "SD-LoRA, merged directions",
}
HAM = LABELS["ham"]
WHOLE_NETWORK = ("finetune", "ewc", "lwf")  # the paper trains them at HAM's rate
REFERENCES = ("frozen", "lora", "lora_ewc", "lora_lwf", "joint")


def every_method(setup: Setup, place: Place) -> Iterator[Line]:
    """List the methods that the user named, or the paper's and the references.

    The merging baselines come twice, as in the paper (factors merged) and with their
    products merged; so do those that train the whole network, at their own grid's rate and at
    HAM's as in the paper, where the two differ: its values stand beside the latter. ``ncm`` and
    ``ridge`` come only if they are named: ``frozen`` under those heads is the same. Each stands
    beside the head of its readout, or the first one.
    """
    yield from _lines(setup, place, (*paper.METHODS, *REFERENCES))


def all_methods(setup: Setup, place: Place) -> Iterator[Line]:
    """List those of ``every_method``, then all others of the package, HAM+ last."""
    first = (*paper.METHODS, *REFERENCES)
    trained = (name for name, row in METHODS.items() if row.head in (None, "linear"))
    others = (name for name in trained if name not in (*first, "ham_plus"))
    yield from _lines(setup, place, (*first, *others, "ham_plus"))


def _lines(setup: Setup, place: Place, names: Sequence[str]) -> Iterator[Line]:
    heads = setup.heads or (place.head,)
    for name in setup.chosen(*names):
        own = METHODS[name].head
        if own is not None and own != place.head and (own in heads or place.head != heads[0]):
            continue
        own_rate, rate = (
            preset_values(setup.preset, place.benchmark, m)["lr"] for m in (name, "ham")
        )
        at_both = name in WHOLE_NETWORK and "lr" not in setup.options and own_rate != rate
        yield Line(LABELS.get(name, name), name, as_printed=not at_both)
        if name in ("linear", "ties", "dare_ties"):
            yield Line(f"{LABELS[name]}, products merged", name, {"space": "delta"})
        if at_both:
            label = f"{LABELS[name]} at HAM's rate"
            yield Line(label, name, {"lr": rate}, as_printed=True)


def printed_methods(setup: Setup, place: Place) -> Iterator[Line]:
    """List each method of HAM's paper as it is there, then the references and HAM+."""
    names = (*paper.METHODS, "frozen", "lora", "ham_plus")
    return (line for line in _lines(setup, place, names) if line.is_printed)


def plain_methods(setup: Setup, place: Place) -> Iterator[Line]:
    """List each method once, without the bound."""
    return (line for line in every_method(setup, place) if not (line.options or line.is_bound))
