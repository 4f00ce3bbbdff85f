"""Read what W&B wrote offline: LevelDB's log format around protocol buffers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, HEADER, FULL, LAST = 32768, 7, 1, 4


class Offline(NamedTuple):
    """A run as one process left it: its id, its configuration, and each step's numbers."""

    key: str
    config: dict[str, Any]
    history: list[dict[str, Any]]


def offline_runs(folder: Path) -> list[Offline]:
    """Read every offline run below a folder, the oldest first."""
    return [_read(path) for path in sorted(folder.rglob("offline-run-*/*.wandb"))]


def _read(path: Path) -> Offline:
    from wandb.proto.wandb_internal_pb2 import Record

    key, config, history = "", {}, []
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
    return Offline(key, config, history)


def _records(data: bytes) -> Iterator[bytes]:
    place, whole = HEADER, b""  # the file begins with a header of its own
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (FULL, LAST):
            yield whole
            whole = b""
