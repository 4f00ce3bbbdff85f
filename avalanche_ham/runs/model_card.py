"""The model card of an exported folder: what the hub shows of it, and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

import avalanche_ham
from avalanche_ham.backbones.names import BACKBONES
from avalanche_ham.files import write_whole
from avalanche_ham.runs.command import command_of
from avalanche_ham.runs.records import RECORDS, Record, read_records
from avalanche_ham.strategies.registry import METHODS

LICENCES = {"embedded": "apache-2.0", "tiny": "mit"}  # of weights that timm does not know
USE = {
    "timm": """import timm

model = timm.create_model("local-dir:FOLDER").eval()  # or "hf-hub:NAME" once it is uploaded
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
scores = model(transform(image)[None])""",
    "onnx": """import onnxruntime

model = onnxruntime.InferenceSession("FOLDER/model.onnx")  # uint8 (N, 3, side, side) in
(scores,) = model.run(None, {"images": images})""",
    "peft": """import peft
from avalanche_ham.backbones import create_backbone

backbone = create_backbone("BACKBONE", GIVENimage_size=SIZE)
model = peft.PeftModel.from_pretrained(backbone, "FOLDER")
# the heads are in head.safetensors, the names of their classes in class_names.json""",
}


def write_card(
    place: Path,
    folder: Path,
    tree: dict[str, Any],
    *,
    kind: str,
    heads: Sequence[str],
    classes: int,
) -> None:
    """Write ``README.md``, which huggingface_hub reads as a model card.

    Args:
        place: the exported folder.
        folder: of the run; its records give the results, if it is finished.
        tree: the run's state.
        kind: ``timm``, ``onnx`` or ``peft``.
        heads: those that were exported.
        classes: number of those it can tell.
    """
    path = folder / RECORDS
    records = read_records(path) if path.exists() else []
    chosen = [record for record in records if record["head"] in heads]
    identity, text = tree["identity"], _text(tree, chosen, kind, classes)
    backbone = identity["backbone"]
    data = ModelCardData(
        model_name=f"{identity['method']}-{identity['benchmark']}-{identity['n_tasks']}tasks",
        library_name=kind,
        pipeline_tag="image-classification",
        license=_licence(backbone),
        base_model=None if backbone in BACKBONES else f"timm/{backbone}",
        tags=["continual-learning", "avalanche", "avalanche_ham", identity["method"]],
        eval_results=[result for record in chosen for result in _results(record)] or None,
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")
    write_whole(place / "README.md", str(card).encode())


def _results(record: Record) -> list[EvalResult]:
    """Give a record's numbers for the hub's index of models."""
    values = {"average accuracy": record["aa"], "forgetting": record["fm"]}
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=record["benchmark"],
            dataset_name=f"{record['benchmark']}, {record['n_tasks']} tasks",
            dataset_split="train, held out" if record["selection"] == "holdout" else "test",
            metric_type="accuracy" if name == "average accuracy" else name,
            metric_name=f"{name} after the last task, head {record['head']} (%)",
            metric_value=round(value, 2),
        )
        for name, value in values.items()
        if value is not None
    ]


def _text(tree: dict[str, Any], records: Sequence[Record], kind: str, classes: int) -> str:
    identity = tree["identity"]
    method, data, backbone = (identity[key] for key in ("method", "benchmark", "backbone"))
    rows = [
        f"| {r['head']} | {_number(r['aa'])} | {_number(r['fm'])} | {sum(r['test_images'])} |"
        for r in records
    ]
    table = ["| head | accuracy (%) | forgetting (%) | images |", "|---|---|---|---|", *rows]
    results = table if rows else ["The run is not finished: nothing was measured after its tasks."]
    size, done, n = identity["image_size"], tree["strategy"]["task"], identity["n_tasks"]
    tasks = f"{n} tasks" if done == n else f"the first {done} of {n} tasks"
    use = USE[kind].replace("BACKBONE", backbone).replace("SIZE", str(size))
    use = use.replace("GIVEN", _given(tree))
    lines = [
        f"# {method} on {data}, {tasks}",
        "",
        f"`{backbone}` that has learned {classes} classes of {data} in {tasks}, "
        f"one after the other, by `{method}` ({METHODS[method].source}), as made by "
        f"avalanche_ham {avalanche_ham.__version__}.",
        "",
        "## Use",
        "",
        *("```python", use, "```", ""),
        f"Images are upright RGB squares (shorter side resized to {tree.get('image_side', size)} "
        f"pixels, centre kept), which the network sees at {size} pixels.",
        "",
        "## Results",
        "",
        *results,
        "",
        "## Made by",
        "",
        f"    {command_of(identity, local_weights=tree['weights'] is not None)}",
        "",
    ]
    return "\n".join(lines)


def _given(tree: dict[str, Any]) -> str:
    """Give the arguments without which a backbone of that name would have other weights."""
    if tree["weights"] is not None:
        return f"weights={json.dumps(Path(tree['weights']).name, ensure_ascii=False)}, "
    identity = tree["identity"]
    return f"seed={identity['seed']}, " if identity["backbone"] == "tiny" else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _licence(backbone: str) -> str:
    """Give the licence of a backbone's weights, ``unknown`` where timm does not tell."""
    if backbone in LICENCES:
        return LICENCES[backbone]
    import timm

    config = timm.get_pretrained_cfg(backbone)
    return (config and config.license) or "unknown"
