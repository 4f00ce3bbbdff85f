"""The scripts that measure once: rates of the study, seams of the stem, profile, random weights."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from avalanche_ham.backbones.embedded import hybrid_from_file, load_embedded


def test_a_rate_at_the_end_of_the_ladder_s_middle_is_followed_twice_at_most(monkeypatch):
    import study_rates as script

    def searched(peak: float, method: str = "ham"):
        search = script.Search.__new__(script.Search)
        search.options = script.parse(["--records", "R"])
        tried: list[float] = []

        def scores(method, grid):
            tried.extend(values["lr"] for values in grid)
            return [[60.0 - abs(script.LADDER.index(v["lr"]) - peak), 50.0] for v in grid]

        monkeypatch.setattr(search, "scores", scores, raising=False)
        return script.rate_of(search, method)[1], set(tried)

    ladder = script.LADDER
    assert searched(5) == ("0.0006", set(ladder[4:8]))
    assert searched(3) == ("6e-05", set(ladder[2:8]))
    assert searched(0) == ("2e-05 (at the end)", set(ladder[2:8]))
    assert searched(9) == ("0.06 (at the end)", set(ladder[4:]))
    assert searched(2, "finetune") == ("2e-05", set(ladder[1:6]))  # the whole network trains
    assert searched(0, "finetune") == ("2e-06 (at the end)", set(ladder[:6]))


@pytest.mark.slow
def test_the_study_s_grid_is_made_once_and_names_the_best_of_both_heads(tmp_path, capsys):
    import study_rates as script

    words = "--methods lora --benchmark digits --tasks 2 --preset smoke --jobs 0 --device cpu"
    words = [*words.split(), "--threads", "1", "--records", str(tmp_path)]
    script.main(words)
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("| one LoRA |"))
    cells = [cell.strip() for cell in line.split("|")[2:]]
    scores = {
        rate: sum(map(float, cell.strip("*").split("/")))
        for rate, cell in zip(script.LADDER, cells)
        if cell
    }
    assert 4 <= len(scores) <= 8
    best = max(sorted(scores), key=scores.__getitem__)
    assert float(cells[len(script.LADDER)].partition(" ")[0]) == best
    (bold,) = (k for k, cell in enumerate(cells) if cell.startswith("**"))
    assert script.LADDER[bold] == best
    before = sorted(tmp_path.rglob("records.jsonl"))
    script.main([*words, "--dry"])
    assert line in capsys.readouterr().out
    assert sorted(tmp_path.rglob("records.jsonl")) == before


def test_profile_shares_add_up_and_products_lead(monkeypatch, tmp_path):
    import profile_step

    out = tmp_path / "profile.json"
    line = "profile_step --backbone tiny --batch 2 --tasks 3 --rounds 1 --json"
    monkeypatch.setattr(sys, "argv", [*line.split(), str(out)])
    profile_step.main()
    shares = json.loads(out.read_text())["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert profile_step.part_of("aten::addmm") == "matrix products"
    assert profile_step.part_of("aten::gelu_backward") == "GELU"
    assert profile_step.part_of("aten::view") == "the rest"


def test_random_weights_have_the_embedded_shape_and_another_stem(monkeypatch, tmp_path):
    import random_weights

    path = tmp_path / "random.safetensors"
    monkeypatch.setattr(sys, "argv", ["random_weights", str(path)])
    random_weights.main()
    ours, theirs = hybrid_from_file(path), load_embedded()
    assert ours.pretrained_cfg == theirs.pretrained_cfg
    shapes = [{k: v.shape for k, v in vit.state_dict().items()} for vit in (ours, theirs)]
    assert shapes[0] == shapes[1]
    stem = "patch_embed.backbone.conv_stem.weight"  # random there, ImageNet's here
    both = torch.stack([vit.state_dict()[stem].flatten() for vit in (ours, theirs)])
    assert torch.corrcoef(both)[0, 1].abs() < 0.1


@pytest.mark.slow
def test_results_are_written_from_records_without_a_run(tmp_path, capsys, monkeypatch):
    import write_results

    from avalanche_ham.cli.main import main

    digits = "table methods --benchmark digits --tasks 5 --seeds 1"
    monkeypatch.setitem(write_results.ITEMS, "methods_on_digits", digits)
    records, out = tmp_path / "records", tmp_path / "out"
    words = "table methods --run --preset smoke --benchmark digits --tasks 5 --seeds 1"
    few = f"--methods frozen --jobs 0 --device cpu --records {records}"
    assert main([*words.split(), *few.split()]) == 0
    before = sorted(records.rglob("*"))
    line = f"--records {records} --out {out} --preset smoke"
    assert write_results.main(line.split()) == 0, capsys.readouterr().err
    assert sorted(records.rglob("*")) == before
    text = (out / "tables" / "methods_on_digits.md").read_text()
    for line in next(records.rglob("records.jsonl")).read_text().splitlines():
        assert f"{json.loads(line)['aa']:.2f}" in text
    stems = {path.stem for path in (out / "tables").iterdir()}
    tables = {name for name in write_results.ITEMS if "figure" not in name}
    assert stems == {name for name in tables if "gtsrb43" not in write_results.ITEMS[name]}
    assert {path.suffix for path in (out / "tables").iterdir()} == {".md", ".csv", ".tex"}
    assert (out / "figures" / "figure_2.png").exists()
