"""Where a result comes from: code, libraries, machine. It is written down, no part of identity."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import avalanche_ham

PACKAGES = ("avalanche-lib", "torch", "torchvision", "timm", "peft", "numpy")
COMMIT = "AVALANCHE_HAM_COMMIT"  # says the commit where there is no .git


def provenance(device: torch.device, precision: str) -> dict[str, Any]:
    """Describe this process: what a result was computed with, and when.

    Args:
        device: that computes.
        precision: ``fp32`` or ``bf16``.

    Returns:
        ``versions`` (of the package, Python and libraries), ``commit`` and ``clean`` (whether the
        work tree was; both null outside a checkout), ``date`` (UTC), ``device``, ``processor``,
        ``threads`` (of torch), ``precision``.
    """
    return {
        **commit(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def same_place(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions differ in nothing but when."""
    when = {"date": None, "first_task": None}
    return {**one, **when} == {**other, **when}


def moved(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Say where two descriptions differ, in words; empty if in nothing but when."""
    pairs = {key: (there[key], here[key]) for key in here if key in there}
    found, present = pairs.pop("versions", ({}, {}))
    pairs |= {name: (found.get(name), version) for name, version in present.items()}
    when = ("date", "first_task")
    return ", ".join(
        f"{key} ({_word(a)} there, {_word(b)} here)"
        for key, (a, b) in pairs.items()
        if a != b and key not in when
    )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


@cache
def versions() -> dict[str, str]:
    """List the versions that a result may depend on."""
    found = {"avalanche-ham": avalanche_ham.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def commit() -> dict[str, Any]:
    """Read the commit of the checkout that this package runs from, once, at the start.

    Returns:
        ``commit`` and ``clean``, both None outside a checkout; ``$AVALANCHE_HAM_COMMIT`` names the
        commit where there is no ``.git``, and ``clean`` is then None.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return {"commit": os.environ.get(COMMIT) or None, "clean": None}
    git = ("git", "-C", str(folder))
    try:
        found = subprocess.run((*git, "rev-parse", "HEAD"), capture_output=True, check=True)
        changed = subprocess.run(
            (*git, "status", "--porcelain", "--", "avalanche_ham"), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):  # no git here, or not ours to read
        return {"commit": os.environ.get(COMMIT) or None, "clean": None}
    return {"commit": found.stdout.decode().strip(), "clean": not changed.stdout.strip()}


@cache
def _processor() -> str:
    """Name the processor; Linux tells it in a file, other systems by themselves."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
