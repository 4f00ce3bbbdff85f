"""The README's Python blocks run as printed, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("backbone", ["tiny", pytest.param("embedded", marks=pytest.mark.slow)])
def test_the_python_blocks_run_as_printed(backbone, capsys, monkeypatch, tmp_path):
    """As printed with the embedded backbone; in passing, on the tiny random one."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 4 and 'create_model("embedded"' in blocks[0]
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    first = blocks[0].replace('"embedded"', f'"{backbone}"')
    exec(compile(first, "README.md, block 1", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "groups: [0, 1," in printed
    accuracy = float(re.search(r"accuracy: ([0-9.]+)", printed)[1])
    assert accuracy > 0.5 or backbone == "tiny"  # chance is 0.1, random weights are no better
    second = blocks[1].replace('"embedded"', f'"{backbone}"')
    exec(compile(second, "README.md, block 2", "exec"), namespace)
    assert namespace["plus"].grouping.damping == "sqrt" and "HAM+:" in capsys.readouterr().out
    assert namespace["model"].readout.follows
    exec(compile(blocks[2], "README.md, block 3", "exec"), namespace)
    assert namespace["grouping"].memory["groups"] == [0]
    exec(compile(blocks[3], "README.md, block 4", "exec"), namespace)
    assert namespace["readout"].predict(namespace["features"]).shape == (100,)
