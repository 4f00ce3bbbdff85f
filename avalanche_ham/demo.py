"""``ham demo``: HAM against fine-tuning on handwritten digits, offline, in a minute."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from avalanche_ham.errors import HamError, StateError
from avalanche_ham.reporting.demo_figure import draw_demo
from avalanche_ham.reporting.identity import identity_in, identity_of
from avalanche_ham.reporting.records import read_records
from avalanche_ham.runner import Resources, RunConfig, run

FOLDER = Path("ham_demo")
_STEPS = 40  # a task; fewer leave the local heads near their start
_HAM = {"steps": _STEPS, "alpha_lr": 1e-2}  # at the adapter's rate alphas hardly move

ROWS: Mapping[str, RunConfig] = MappingProxyType(
    {  # the name shown -> what is run
        "ham": RunConfig(method="ham", options=_HAM),
        "ham + ridge head": RunConfig(method="ham", head="ridge", options=_HAM),
        "finetune": RunConfig(method="finetune", options={"steps": _STEPS}),
    }
)

READING = """\
AA: mean accuracy over all tasks after the last one; FM: what the earlier tasks lost since
their best. Fine-tuning keeps the newest task and forgets the others; HAM merges one adapter
per task into a single model, and a ridge head compares the classes of all tasks better than
a head that was trained task by task.
"""


def demo(out: Path | None = None, rows: Mapping[str, RunConfig] = ROWS) -> None:
    """Run the rows, print one table, write ``records.jsonl`` and ``demo.png``.

    A demo that was stopped goes on where it was; one that is finished is shown again.

    Args:
        out: folder of the results, made if need be; None means ``ham_demo``.
        rows: name to show -> what to run, one of them HAM at least.

    Raises:
        HamError: if the folder holds something else; nothing is written then.
    """
    folder = FOLDER if out is None else out
    _check_folder(folder, rows)
    device = Resources(device="cpu")  # the same numbers with and without a GPU
    records = {
        name: run(config, device, out=folder / _slug(name), resume=True)
        for name, config in rows.items()
    }
    _write_records(folder, records)
    draw_demo(records, folder / "demo.png")
    print(table(records))
    print(READING)
    print(f"Look at {folder / 'demo.png'}: accuracy over the tasks; which group each")
    print("adapter joined, and how alike they were; how important each one is (alpha).")


def table(records: Mapping[str, dict[str, Any]]) -> str:
    """Give one line a record: name, AA, FM and seconds of training and evaluation."""
    width = max(len("method"), *map(len, records))
    lines = [f"{'method':{width}}  {'AA %':>6}  {'FM %':>6}  {'seconds':>7}"]
    for name, record in records.items():
        seconds = sum(record["train_seconds"]) + sum(record["eval_seconds"])
        forgetting = "-" if record["fm"] is None else f"{record['fm']:.1f}"
        numbers = f"{record['aa']:6.1f}  {forgetting:>6}  {seconds:7.0f}"
        lines.append(f"{name:{width}}  {numbers}")
    return "\n" + "\n".join(lines) + "\n"


def _slug(name: str) -> str:
    """A row's folder: its name without blanks."""
    return "_".join(word for word in name.split() if word.isalnum())


def _check_folder(folder: Path, rows: Mapping[str, RunConfig]) -> None:
    """Refuse a folder whose runs are not the demo's, before anything is trained."""
    if folder.exists() and not folder.is_dir():
        raise HamError(f"out: {folder} is a file, not a folder")
    expected = {identity_of(config) for config in rows.values()}
    found = read_records(folder) if folder.exists() else []
    foreign = any(identity_in(record) not in expected for record in found)
    if foreign or (folder / "state").exists():
        raise StateError(f"out: {folder} holds another run; choose another folder")


def _write_records(folder: Path, records: Mapping[str, dict[str, Any]]) -> None:
    """Write all records to one file and take the rows' own files away.

    Tables read every ``records.jsonl`` below a folder, so each record may stand there once.
    """
    partial = folder / "records.partial"
    lines = [json.dumps(record, allow_nan=False) for record in records.values()]
    partial.write_text("\n".join(lines) + "\n")
    os.replace(partial, folder / "records.jsonl")
    for name in records:
        (folder / _slug(name) / "records.jsonl").unlink(missing_ok=True)
