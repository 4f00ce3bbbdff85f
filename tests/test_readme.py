"""The README's Python blocks run as printed, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_blocks_run_as_printed(capsys, monkeypatch, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(compile(blocks[0], "README.md, block 1", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "groups: [0, 1," in printed
    accuracy = float(re.search(r"accuracy: ([0-9.]+)", printed)[1])
    assert accuracy > 0.5  # chance is 0.1
    exec(compile(blocks[1], "README.md, block 2", "exec"), namespace)
    assert namespace["grouping"].memory["groups"] == [0]
    exec(compile(blocks[2], "README.md, block 3", "exec"), namespace)
    assert namespace["readout"].predict(namespace["features"]).shape == (100,)
