"""``ham demo``: HAM against fine-tuning on handwritten digits, offline, in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from avalanche_ham.errors import StateError
from avalanche_ham.reporting.demo_figure import draw_demo
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.folder import STATE, has_state
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.lock import locked
from avalanche_ham.runs.records import RECORDS, Record, append_record, read_records, seconds_of
from avalanche_ham.runs.runner import run
from avalanche_ham.runs.saving import load_tree

FOLDER = Path("ham_demo")
STEPS = 30  # a task
RUNS: Mapping[str, RunConfig] = MappingProxyType(
    {  # folder of its state -> what is run; one training of HAM serves two heads
        "ham": RunConfig(
            method="ham",
            head="linear,ridge",
            options={"steps": STEPS, "alpha_lr": 3e-3},  # else alphas hardly move
        ),
        "finetune": RunConfig(method="finetune", options={"steps": STEPS}),
    }
)
READING = """\
AA: mean accuracy over all tasks after the last one. FM: what the earlier tasks have lost
since their best. Fine-tuning keeps the newest task and forgets the others; HAM merges one
adapter a task into one model. Its linear head learns each task by itself; the ridge head
compares all classes, from stored sums and without old images.
"""


def demo(out: Path | None = None, runs: Mapping[str, RunConfig] = RUNS) -> None:
    """Run HAM and fine-tuning, print one table, write ``records.jsonl`` and ``demo.png``.

    A demo that was stopped goes on where it was; one that is finished is shown again.

    Args:
        out: folder of the results, made if need be; None means ``ham_demo``.
        runs: folder name -> what to run, HAM among them.

    Raises:
        HamError: if the folder holds another run, or another process has it; nothing is
            written then.
    """
    folder = FOLDER if out is None else out
    with locked(folder):
        records = _finished(folder, runs) or _make(folder, runs)
        named = {_name(record): record for record in records}
        draw_demo(named, folder / "demo.png")
    print(f"\n{table(named)}\n\n{READING}")
    print(f"Look at {folder / 'demo.png'}: the accuracy over the tasks, the group that each")
    print("adapter joined and how alike they were, and how important each is (alpha).")


def _make(folder: Path, runs: Mapping[str, RunConfig]) -> list[Record]:
    """Make the runs, or go on with them, and gather their records."""
    device = Resources(device="cpu")  # the same numbers with and without a GPU
    for name, config in runs.items():
        run(config, device, out=folder / name, resume=True)
    return _gather(folder, runs)


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Give one line a record: name, AA, FM, and the seconds of its run."""
    width = max(map(len, records))
    lines = [f"{'method':{width}}  {'AA %':>6}  {'FM %':>6}  {'seconds':>7}"]
    for name, record in records.items():
        numbers = f"{record['aa']:6.1f}  {record['fm']:6.1f}  {seconds_of(record):7.0f}"
        lines.append(f"{name:{width}}  {numbers}")
    return "\n".join(lines)


def _name(record: Mapping[str, Any]) -> str:
    head = record["head"]
    return record["method"] + ("" if head == "linear" else f", {head} head")


def _finished(folder: Path, runs: Mapping[str, RunConfig]) -> list[Record]:
    """Give the records of a finished demo, none of an unfinished one; refuse other runs."""
    done = folder / RECORDS
    records = read_records(done) if done.exists() else []
    states = [folder / name / STATE for name in runs]
    begun = [load_tree(state)["identity"] for state in states if has_state(state.parent)]
    asked = {identity_of(config).training for config in runs.values()}
    found = {identity_in(entries).training for entries in (*records, *begun)}
    if not found <= asked or has_state(folder):
        raise StateError(f"out: {folder} holds another run; choose another folder")
    if records:
        _tidy(folder, runs)  # it may have been killed in between
    return records


def _gather(folder: Path, runs: Mapping[str, RunConfig]) -> list[Record]:
    """Move the runs' records into one file.

    Tables read every ``records.jsonl`` below a folder, so each record may stand there once.
    """
    files = [folder / name / RECORDS for name in runs]
    records = [record for file in files for record in read_records(file)]
    append_record(folder / RECORDS, *records)
    _tidy(folder, runs)
    return records


def _tidy(folder: Path, runs: Mapping[str, RunConfig]) -> None:
    for name in runs:
        (folder / name / RECORDS).unlink(missing_ok=True)
