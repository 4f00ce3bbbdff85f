"""What survives a task, on disk: safetensors with a JSON tree, no pickle, written atomically."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import StateError
from avalanche_ham.files import read_regular, remove_abandoned, write_whole
from avalanche_ham.state import Archive

FORMAT = "avalanche_ham.state.2"
MAIN = "state.safetensors"
NAME = re.compile(r"(.+?)-\d{4,}(?:-[0-9a-f]{16})?\.safetensors")  # of an archive's file
BLANK = "0" * 64  # what stands in a file's digest while the digest is computed


def save_tree(folder: Path, tree: dict[str, Any]) -> None:
    """Write a nested dict or list of tensors, updates, numbers and strings to a folder.

    Items of an ``Archive`` go to files of their own, written once and named after what they
    hold; then the main file replaces the old one in one rename, and files of an older state
    that it does not name go. Killed at any moment, the folder holds the old state or the new
    one, also where the old one is another strategy's. Every file carries a digest of all its
    bytes.

    Args:
        folder: made if it does not exist.
        tree: keys are strings; leaves are tensors, ``LowRank``, numbers, strings or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder, seconds=0)  # only one process writes here
    tensors: dict[str, Tensor] = {}
    skeleton = _strip(tree, "", tensors, folder)
    write_whole(folder / MAIN, _pack(skeleton, tensors))
    _remove_unnamed(folder, skeleton)


def load_tree(folder: Path) -> dict[str, Any]:
    """Read what ``save_tree`` wrote. Nothing in the files is executed.

    Raises:
        StateError: if a file is missing, truncated, changed or of another format.
    """
    return _unpack(folder / MAIN, folder, None)


def _strip(node: Any, path: str, tensors: dict[str, Tensor], folder: Path) -> Any:
    """Replace tensors by references; collect them under their paths."""
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        return {"$tensor": path}
    if isinstance(node, LowRank):
        return {
            "$low_rank": [_strip(t, f"{path}/{i}", tensors, folder) for i, t in enumerate(node)]
        }
    if isinstance(node, dict):
        return {k: _strip(v, f"{path}/{k}", tensors, folder) for k, v in node.items()}
    if isinstance(node, Archive):
        return {"$archive": _archive(node, path, folder)}
    if isinstance(node, (list, tuple)):
        return [_strip(v, f"{path}/{i}", tensors, folder) for i, v in enumerate(node)]
    return node


def _archive(items: Archive, path: str, folder: Path) -> list[list[str]]:
    stem, listed = path.strip("/").replace("/", "-"), []
    for index, (item, written) in enumerate(zip(items, items.written(), strict=True)):
        name = _file_name(stem, index, written.digest)
        if not written.digest or not (folder / name).exists():
            tensors: dict[str, Tensor] = {}
            data = _pack(_strip(item, "", tensors, folder), tensors)
            written.digest = hashlib.sha256(data).hexdigest()
            name = _file_name(stem, index, written.digest)
            write_whole(folder / name, data)
        listed.append([name, written.digest])
    return listed


def _file_name(stem: str, index: int, digest: str) -> str:
    return f"{stem}-{index:04d}-{digest[:16]}.safetensors"


def _remove_unnamed(folder: Path, skeleton: Any) -> None:
    """Remove files of archives that are saved here again and whose state is no more."""
    named = set(_named_files(skeleton))
    stems = {NAME.fullmatch(name)[1] for name in named}  # type: ignore[index]
    for path in folder.iterdir():
        match = NAME.fullmatch(path.name)
        if match and match[1] in stems and path.name not in named:
            path.unlink(missing_ok=True)


def _named_files(node: Any) -> Iterator[str]:
    """Give the files of all archives in a skeleton."""
    if isinstance(node, dict) and "$archive" in node:
        yield from (name for name, _ in node["$archive"])
    elif isinstance(node, (dict, list)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _named_files(value)


def _pack(skeleton: Any, tensors: dict[str, Tensor]) -> bytes:
    about = {"format": FORMAT, "digest": BLANK, "tree": json.dumps(skeleton)}
    data = save(tensors, metadata=about)
    return data.replace(BLANK.encode(), hashlib.sha256(data).hexdigest().encode(), 1)


def _unpack(path: Path, folder: Path, digest: str | None) -> Any:
    try:
        data = read_regular(path)
        about = _header(data)
        if about.get("format") != FORMAT:
            raise _damaged(path, folder, f"it is no saved state of format {FORMAT}")
        blank = data.replace(about["digest"].encode(), BLANK.encode(), 1)
        expected, content = (about["digest"], blank) if digest is None else (digest, data)
        if hashlib.sha256(content).hexdigest() != expected:
            raise _damaged(path, folder, "it has changed since it was written")
        return _dress(json.loads(about["tree"]), load(data), folder)
    except FileNotFoundError as error:
        raise StateError(f"the saved state in {folder} lacks {path.name}") from error
    except StateError:
        raise
    except (OSError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged(path, folder, f"{type(error).__name__} {error}") from error


def _header(data: bytes) -> dict[str, str]:
    """Read what a safetensors file says of itself; from the same bytes as its tensors."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length]).get("__metadata__")
    return about if isinstance(about, dict) else {}


def _damaged(path: Path, folder: Path, why: str) -> StateError:
    start = f"remove {folder} to start the run from its beginning"
    return StateError(f"{path} is damaged or truncated ({why}); {start}")


def _dress(node: Any, tensors: dict[str, Tensor], folder: Path) -> Any:
    """Put tensors back in place of their references."""
    if isinstance(node, list):
        return [_dress(v, tensors, folder) for v in node]
    if not isinstance(node, dict):
        return node
    if "$tensor" in node:
        return tensors[node["$tensor"]]
    if "$low_rank" in node:
        return LowRank(*(_dress(v, tensors, folder) for v in node["$low_rank"]))
    if "$archive" in node:
        items = Archive(_unpack(folder / Path(n).name, folder, d) for n, d in node["$archive"])
        for written, (_, digest) in zip(items.written(), node["$archive"], strict=True):
            written.digest = digest
        return items
    return {k: _dress(v, tensors, folder) for k, v in node.items()}
