"""From a run's folder to peft LoRA folders and a head that anything can read."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from avalanche_ham.adapters.low_rank import scaled
from avalanche_ham.adapters.peft_format import save_peft
from avalanche_ham.backbones import create_model
from avalanche_ham.backbones.names import own_size
from avalanche_ham.errors import HamError, NoMatchError, StateError, UnknownNameError, check_path
from avalanche_ham.files import whole_folder, write_whole
from avalanche_ham.heads import split_heads
from avalanche_ham.runs.model_card import write_card
from avalanche_ham.runs.options import readout_options
from avalanche_ham.runs.saving import MAIN, load_tree
from avalanche_ham.runs.settings import build_strategy, readout_settings

KINDS = ("merged", "groups", "tasks")


def load_strategy(folder: Path) -> Any:
    """Rebuild a run's strategy, as it was after its latest task, without its data.

    Raises:
        StateError: if the folder holds no complete state.
    """
    return strategy_of(saved_run(folder))


def strategy_of(tree: dict[str, Any]) -> Any:
    """Rebuild the strategy of a state that ``saved_run`` has read."""
    identity = tree["identity"]
    size = identity["image_size"]
    heads = split_heads(identity["head"])
    of_heads = {name: option.default for name, option in readout_options(*heads).items()}
    model = create_model(
        identity["backbone"],
        n_classes=tree["n_classes"],
        head=identity["head"],
        weights=tree["weights"],
        image_size=None if size == own_size(identity["backbone"]) else size,
        readouts=readout_settings({**of_heads, **identity["hyperparameters"]}, heads),
        seed=identity["seed"],
    )
    values = {k: v for k, v in identity["hyperparameters"].items() if k in tree["options"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an evaluator without loggers is meant
        strategy = build_strategy(
            identity["method"],
            values,
            model=model,
            seed=identity["seed"],
            evaluator=None,
        )
    strategy.load_state_tree(tree["strategy"])
    strategy.model.eval()
    return strategy


def saved_run(folder: Path) -> dict[str, Any]:
    """Read the state that a run has committed, its identity beside it.

    Raises:
        StateError: if the folder holds no complete state of a run.
    """
    try:
        tree = load_tree(folder / "state")
    except StateError as error:
        if (folder / "state" / MAIN).exists():
            raise
        kept = "ham table keeps a state only with --keep-state"
        raise StateError(f"{error}; {kept}") from error
    if "identity" not in tree:
        raise StateError(f"{folder / 'state'} is not the state of a run")
    return tree


def export(folder: str | Path, to: str | Path, *, kind: str = "merged") -> list[Path]:
    """Write a run's adapters as peft LoRA folders, with the head beside them.

    ``merged`` writes the update that evaluation uses into ``to`` itself, ``groups`` one
    folder per HAM group, scaled by its alpha, ``tasks`` one per task's pruned adapter.

    ``class_names.json`` lists the names of the head's classes by label, ``README.md`` is a model
    card. The folder ``to`` appears when all of it is written.

    Raises:
        UnknownNameError: if the kind is none of these.
        NoMatchError: if the method keeps nothing of that kind.
        StateError: if the run's folder holds no complete state.
        HamError: if ``to`` is a link or holds files already, or an adapted layer's branch has
            no weight.
    """
    if kind not in KINDS:
        raise UnknownNameError("what", kind, KINDS)
    folder, to = check_path("folder", folder), check_path("to", to)
    check_target(to)
    tree = saved_run(folder)
    identity = tree["identity"]
    strategy = strategy_of(tree)
    updates = _updates(strategy, kind)
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(to) as place:
        for name, update in updates.items():
            save_peft(strategy.model.adaptable, update, place / name, backbone=identity["backbone"])
        write_whole(place / "head.safetensors", save(_head(strategy.model)))
        for name, value in (("run", identity), ("class_names", tree.get("class_names", []))):
            write_whole(place / f"{name}.json", (json.dumps(value, indent=2) + "\n").encode())
        heads, classes = split_heads(identity["head"]), len(strategy.model.head.classes)
        write_card(place, folder, tree, kind="peft", heads=heads, classes=classes)
    return [to / name for name in updates]


def check_target(to: Path) -> None:
    """Raise HamError if an export's folder is a link or holds files already."""
    if to.is_symlink():
        raise HamError(f"to: {to} is a link; name the folder itself")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise HamError(f"to: {to} is not empty")


def _updates(strategy: Any, kind: str) -> dict[str, Any]:
    if strategy.adapters is not None:
        strategy.adapters.check_foldable()  # more to the point than what follows
    if kind == "merged":
        merged = strategy.inference_update() if strategy.adapters is not None else None
        if merged is None:
            raise NoMatchError("export: this method folds nothing into the weights")
        return {"": merged}
    grouping = getattr(strategy, "grouping", None)
    if grouping is None:
        raise NoMatchError(f"export: only ham keeps {kind}")
    if kind == "tasks":
        return {f"task-{t:03d}": u for t, u in enumerate(grouping.memory["adapters"])}
    alphas = grouping.memory["alphas"]
    return {f"group-{j}": scaled(grouping.factors(j), alpha) for j, alpha in enumerate(alphas)}


def _head(model: Any) -> dict[str, Tensor]:
    """The trained head's rows for all seen classes, and what each fed readout predicts with."""
    head = model.head
    tensors = {
        "weight": torch.cat(list(head.weights)).detach(),
        "bias": torch.cat(list(head.biases)).detach(),
        "classes": head.classes,
    }
    for name, readout in model.readouts.items():
        if readout.is_fed:
            parts = readout.solution().items()
            tensors.update({f"{name}.{part}": tensor for part, tensor in parts})
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
