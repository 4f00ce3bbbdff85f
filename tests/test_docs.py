"""The pages below docs/: their Python runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import torch

DOCS = Path(__file__).parents[1] / "docs"


def test_a_checkpoint_goes_on_as_the_page_says(monkeypatch, tmp_path):
    text = (DOCS / "avalanche.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "docs/avalanche.md", "exec"), names)
    names["strategy"].train(names["second"])
    here, there = (names[s].model.state_dict() for s in ("strategy", "again"))
    assert here.keys() == there.keys()
    assert all(torch.equal(here[key], there[key]) for key in here)
