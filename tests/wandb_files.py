"""Read what W&B wrote offline: LevelDB's log format around protocol buffers."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, HEADER, FULL, LAST = 32768, 7, 1, 4


class Offline(NamedTuple):
    """A run as one process left it: its id, its configuration, and each step's numbers."""

    key: str
    config: dict[str, Any]
    history: list[dict[str, Any]]
    ended: bool


def offline_runs(folder: Path, *, patience: float = 60) -> list[Offline]:
    """Read every offline run below a folder, the oldest first, once their ends stand there.

    W&B's service is a process of its own: on a busy machine the files of a run that was
    finished are still empty.

    Raises:
        TimeoutError: no end of a run after so many seconds.
    """
    until = time.monotonic() + patience
    while True:
        paths = sorted(folder.rglob("offline-run-*/*.wandb"))
        runs = [_read(path) for path in paths]
        if runs and all(run.ended for run in runs):
            return runs
        if time.monotonic() > until:
            raise TimeoutError(f"W&B ended no run in {[str(path) for path in paths]}")
        time.sleep(0.2)


def _read(path: Path) -> Offline:
    from wandb.proto.wandb_internal_pb2 import Record

    key, config, history, ended = "", {}, [], False
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            key = record.run.run_id or key  # later ones tell only what is new
            config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        if record.HasField("history"):
            items = record.history.item
            numbers = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
            history.append(numbers)
        ended |= record.HasField("exit")
    return Offline(key, config, history, ended)


def _records(data: bytes) -> Iterator[bytes]:
    place, whole = HEADER, b""  # the file begins with a header of its own
    while place + HEADER <= len(data):  # the last may be half written
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        if place + HEADER + size > len(data):
            return
        whole += data[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (FULL, LAST):
            yield whole
            whole = b""
