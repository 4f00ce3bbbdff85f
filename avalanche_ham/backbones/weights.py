"""Read a local file of weights: tensors by name, never executed, or one line that says why not."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from avalanche_ham.errors import StateError
from avalanche_ham.files import open_regular

__all__ = ["check_weights_file", "first_misfit", "read_weights"]

WRAPPERS = ("state_dict", "model")  # the keys that training scripts put a state dict under
DAMAGED = "it is truncated or damaged; copy or download it again"
NAMED = 3  # names in a message that may be of hundreds
FOREIGN = "it is no weights file (.safetensors, or .pth of torch.save)"
OBJECTS = (
    "it holds Python objects, which are never executed; save the tensors alone: "
    "torch.save(model.state_dict(), FILE)"
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file or of one that ``torch.save`` wrote.

    What the file is, its content tells and not its name. A state dict may lie under
    ``"state_dict"`` or ``"model"``, and its names may begin with ``module.``, as
    DataParallel writes them. Floating point of any precision becomes fp32.

    Raises:
        StateError: if the file is missing, not readable, damaged, not a weights file, or holds
            anything but tensors by name.
    """
    start = check_weights_file(path)
    state = _unwrapped(_read(path, start))
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise _refused(path, "it does not hold tensors by name, as model.state_dict() gives them")
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in _without_prefix(state).items()
    }


def check_weights_file(path: Path) -> bytes:
    """Give a file's first bytes, unless they show that it holds no weights.

    Raises:
        StateError: if it is missing, a folder, a pipe or a device, not readable, empty, a web
            page or the pointer of a file that was not fetched.
    """
    if path.is_dir():
        raise _refused(path, "it is a folder; name the file inside")
    try:
        with open_regular(path) as file:
            start = file.read(512)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    if not start:
        raise _refused(path, "it is empty; copy or download it again")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise _refused(path, "it is a web page; download the file itself")
    if start.startswith(b"version https://git-lfs"):
        raise _refused(path, "it is a Git LFS pointer; fetch the file itself with `git lfs pull`")
    return start


def first_misfit(error: Exception) -> str:
    """Give the first thing that ``load_state_dict`` complains of: a few names and how many more.

    Args:
        error: its RuntimeError, whose first line names the class alone; of any other error all.
    """
    first = [*str(error).splitlines(), ""][1].strip() or str(error)
    names = re.findall(r'"[^"]*"', first)
    if len(names) <= NAMED:
        return first
    return f"{first.partition(names[0])[0]}{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def _read(path: Path, start: bytes) -> Any:
    try:
        if start[8:9] == b"{":  # after the length of its header
            return load_file(path)
        if not start.startswith((b"PK", b"\x80")):
            raise _refused(path, FOREIGN)
        with warnings.catch_warnings(), open(path, "rb") as file:  # open: torch goes by the name
            warnings.simplefilter("ignore")  # of unusual pickles; what matters is said below
            # tensors only: nothing in the file is executed
            return torch.load(file, map_location="cpu", weights_only=True)
    except StateError:
        raise
    except MemoryError as error:
        raise _refused(path, "there is not enough memory") from error
    except pickle.UnpicklingError as error:
        has_code = "Unsupported" in str(error) or "GLOBAL" in str(error)
        raise _refused(path, OBJECTS if has_code else DAMAGED) from error
    except Exception as error:  # damaged files make torch and safetensors raise nearly anything
        raise _refused(path, DAMAGED) from error


def _unwrapped(content: Any) -> Mapping[str, Any]:
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return content if isinstance(content, Mapping) else {}


def _without_prefix(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    prefix = "module."
    if not all(name.startswith(prefix) for name in state):
        return state
    return {name[len(prefix) :]: tensor for name, tensor in state.items()}


def _refused(path: str | os.PathLike[str], reason: str) -> StateError:
    return StateError(f"weights: cannot read {path}: {reason}")
