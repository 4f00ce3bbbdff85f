"""All methods by name: a table that can be read without importing Avalanche."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from avalanche_ham.errors import UnknownNameError


class Method(NamedTuple):
    """A row of ``METHODS``: where the class is, its source, and the options that are fixed."""

    path: str
    source: str
    fixed: Mapping[str, Any] = {}
    defaults: Mapping[str, Any] = {}  # where they differ from the class's
    head: str | None = None  # a method that is nothing but its readout
    default_head: str = "linear"  # of a method that has a readout of its own choice
    numbers: int = 1  # raised by whoever changes what the method computes: another run then


_HERE = "avalanche_ham.strategies"
_SD_LORA = f"{_HERE}.sd_lora.strategy.SDLoRAStrategy"
_SEQUENTIAL = "avalanche_ham.strategies.sequential.SequentialStrategy"
_MERGED = "avalanche_ham.strategies.merged_adapters.MergedAdaptersStrategy"
_EVOLVING = "avalanche_ham.strategies.evolving.EvolvingStrategy"
_AVERAGE, _TALL = {"merge": "linear"}, {"merge": "tall"}
_PAM = {"alignment": "align", "align_restart": "global"}
_WHOLE = {"trains": "network", "scope": "seen"}

METHODS: dict[str, Method] = {
    "ham": Method("avalanche_ham.strategies.ham.HAMStrategy", "HAM, Sec. 3"),
    "ham_plus": Method(
        "avalanche_ham.strategies.ham.HAMStrategy",
        "HAM, classes spread, merges damped, readout follows the drift",
        defaults={"damping": 0.5, "contrast": 0.1},
        default_head="lda_drift",
        numbers=3,
    ),
    "finetune": Method(_SEQUENTIAL, "whole network, softmax over all seen classes", _WHOLE),
    "ewc": Method(_SEQUENTIAL, "Kirkpatrick et al. 2017", {**_WHOLE, "regulariser": "ewc"}),
    "lwf": Method(_SEQUENTIAL, "Li and Hoiem 2016", {**_WHOLE, "regulariser": "lwf"}),
    "frozen": Method(_SEQUENTIAL, "classifier on the frozen backbone", {"trains": "head"}),
    "lora": Method(_SEQUENTIAL, "one LoRA, task after task", {"trains": "lora"}),
    "lora_ewc": Method(_SEQUENTIAL, "EWC on one LoRA", {"trains": "lora", "regulariser": "ewc"}),
    "lora_lwf": Method(_SEQUENTIAL, "LwF on one LoRA", {"trains": "lora", "regulariser": "lwf"}),
    "joint": Method(
        _SEQUENTIAL,
        "one LoRA on all tasks at once: the upper bound",
        {"trains": "lora"},
    ),
    "linear": Method(_MERGED, "one LoRA a task, averaged", {"merge": "linear"}),
    "ties": Method(
        _MERGED,
        "Yadav et al. 2023, one LoRA a task",
        {"merge": "ties"},
        {"weights_rule": "one"},
    ),
    "dare_ties": Method(
        _MERGED,
        "Yu et al. 2024, one LoRA a task",
        {"merge": "dare_ties"},
        {"weights_rule": "one"},
    ),
    "l2p": Method(f"{_HERE}.prompts.l2p.L2PStrategy", "Wang et al. 2022, CVPR", numbers=2),
    "dual_prompt": Method(
        f"{_HERE}.prompts.dual_prompt.DualPromptStrategy", "Wang et al. 2022, ECCV", numbers=2
    ),
    "coda_prompt": Method(
        f"{_HERE}.prompts.coda_prompt.CodaPromptStrategy", "Smith et al. 2023", numbers=2
    ),
    "inflora": Method(f"{_HERE}.inflora.strategy.InfLoRAStrategy", "Liang and Li 2024", numbers=2),
    "sd_lora": Method(_SD_LORA, "Wu et al. 2025, as in the paper"),
    "sd_lora_code": Method(
        _SD_LORA,
        "Wu et al. 2025, as in the released code",
        {"form": "code", "reset_alphas": True},
        {"alpha": 0.8},
    ),
    "sd_lora_rr": Method(_SD_LORA, "Wu et al. 2025, reduced ranks", {"variant": "rr"}),
    "sd_lora_kd": Method(_SD_LORA, "Wu et al. 2025, merged directions", {"variant": "kd"}),
    "slao": Method(f"{_HERE}.slao.SLAOStrategy", "Qiao and Mahdavi 2025"),
    "average": Method(_EVOLVING, "one evolving LoRA, PAM, Sec. 3", _AVERAGE),
    "pam": Method(_EVOLVING, "PAM, arXiv 2506.03189, Sec. 4", {**_AVERAGE, **_PAM}, numbers=2),
    "pam_zero": Method(
        _EVOLVING,
        "PAM, restarted from zero",
        {**_AVERAGE, **_PAM, "align_restart": "zero"},
        numbers=2,
    ),
    "pam_lwf": Method(
        _EVOLVING, "PAM with LwF", {**_AVERAGE, **_PAM, "regulariser": "lwf"}, numbers=2
    ),
    "pam_er": Method(
        _EVOLVING,
        "PAM with stored images",
        {**_AVERAGE, **_PAM, "regulariser": "er"},
        {"scope": "seen"},
        numbers=2,
    ),
    "continual_ties": Method(
        _EVOLVING,
        "TIES of two, as PAM compares it",
        {"merge": "ties"},
        {"weights_rule": "one", "density": 0.9},
    ),
    "tall": Method(_EVOLVING, "Wang et al. 2024, TALL masks of two", _TALL),
    "tall_pam": Method(_EVOLVING, "PAM, merged by TALL masks", {**_TALL, **_PAM}, numbers=2),
    "magmax": Method(f"{_HERE}.magmax.MagMaxStrategy", "Marczak et al. 2024, on one LoRA"),
    "sema": Method(f"{_HERE}.sema.strategy.SEMAStrategy", "Wang et al. 2025", numbers=2),
    "fsa": Method(
        _SEQUENTIAL,
        "one LoRA in the first task, then readouts alone: RanPAC's two phases",
        {"trains": "lora"},
        {"adapt_tasks": 1},
        default_head="ridge",
    ),
    "o_lora": Method(f"{_HERE}.o_lora.OLoRAStrategy", "Wang et al. 2023"),
    "independent": Method(
        f"{_HERE}.independent.IndependentStrategy",
        "one LoRA a task, task known: the upper bound per task",
        head="linear",
    ),
    "lora_er": Method(
        _SEQUENTIAL,
        "one LoRA and stored images, Chaudhry et al. 2019",
        {"trains": "lora", "regulariser": "er"},
        {"scope": "seen"},
    ),
    "i_lora": Method(f"{_HERE}.i_lora.ILoRAStrategy", "Ren et al. 2024, without its replay"),
    "moe_lora": Method(f"{_HERE}.moe_lora.MoELoRAStrategy", "Chen et al. 2024, CoIN's baseline"),
    "pm": Method(f"{_HERE}.pm.strategy.PMStrategy", "Qiu et al. 2025, Perturb-and-Merge"),
    "ncm": Method(_SEQUENTIAL, "class means, frozen backbone", {"trains": "nothing"}, head="ncm"),
    "ridge": Method(_SEQUENTIAL, "RanPAC's readout, frozen", {"trains": "nothing"}, head="ridge"),
}


def get_method(name: str) -> Method:
    """Look a method up.

    Raises:
        UnknownNameError: with the nearest match.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def strategy_class(name: str) -> type:
    """Import the class of a method."""
    module, _, attribute = get_method(name).path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
