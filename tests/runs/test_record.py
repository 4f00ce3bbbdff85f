"""What a record says of the machine."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import psutil
import torch

from avalanche_ham.runs import record as run_record


def test_peak_memory_where_the_system_has_no_resource_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails, as on Windows
    monkeypatch.setattr(sys, "platform", "win32")
    here = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**20))
    monkeypatch.setattr(psutil, "Process", lambda: here)
    module = importlib.reload(run_record)
    assert module._peak_memory_mb(torch.device("cpu")) == 3
