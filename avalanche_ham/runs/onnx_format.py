"""A run's merged model as an ONNX file that takes bytes and gives scores by class name."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import torch

from avalanche_ham.errors import HamError, check_path
from avalanche_ham.files import whole_folder, write_whole
from avalanche_ham.runs.export import check_target, saved_run
from avalanche_ham.runs.folded import fold
from avalanche_ham.runs.model_card import write_card

NEEDED = ("onnx", "onnxscript")


def export_onnx(folder: str | Path, to: str | Path, *, head: str | None = None) -> list[Path]:
    """Write ``model.onnx``, a model card and ``run.json`` to a new folder.

    The model maps ``images``, uint8 ``(batch, 3, side, side)`` with a batch of any size, to
    ``scores``, float32 ``(batch, classes)``. Its metadata hold ``class_names``, a list in JSON.

    Args:
        folder: of the run, with its state.
        to: appears when all of it is written.
        head: one of the run's heads; None takes its first.

    Raises:
        HamError: if onnx or onnxscript are missing, ``to`` is a link or not empty, and as ``fold``.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise HamError(f"export: {missing[0]} is missing; pip install 'avalanche-ham[onnx]'")
    folder, to = check_path("folder", folder), check_path("to", to)
    check_target(to)
    tree = saved_run(folder)
    network = fold(tree, head=head)
    images = torch.zeros(2, 3, network.side, network.side, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        network(images)  # closed-form heads solve now what they keep
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["class_names"] = json.dumps(network.names)
    data = program.model_proto.SerializeToString()
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(to) as place:
        write_whole(place / "model.onnx", data)
        write_whole(place / "run.json", (json.dumps(tree["identity"], indent=2) + "\n").encode())
        write_card(
            place, folder, tree, kind="onnx", heads=[network.name], classes=len(network.names)
        )
    return [to]
