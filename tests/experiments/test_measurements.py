"""The scripts that measure once: learning rates, seams of the stem, profile, random weights."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from avalanche_ham.backbones.embedded import hybrid_from_file, load_embedded
from avalanche_ham.reporting.setup import Setup

RATES = "--methods ham,frozen --benchmark digits --tasks 2 --preset smoke --jobs 0 --device cpu"


@pytest.mark.slow
def test_learning_rates_chooses_the_highest_mean_of_both_heads(tmp_path, capsys):
    import learning_rates

    words = [*RATES.split(), "--threads", "1", "--records", str(tmp_path)]
    learning_rates.main(words)
    printed = capsys.readouterr().out
    found: dict[tuple[str, float], dict[str, float]] = {}
    for file in tmp_path.rglob("records.jsonl"):
        for record in map(json.loads, file.read_text().splitlines()):
            rate = record["hyperparameters"]["lr"]
            assert record["hyperparameters"]["holdout"] == 0.2
            found.setdefault((record["method"], rate), {})[record["head"]] = record["aa"]
    assert [k for k in found if k[0] == "frozen"] == [("frozen", 2e-4)]  # has no adapters
    means = {k[1]: sum(v.values()) / 2 for k, v in found.items() if k[0] == "ham"}
    of_grid = {rate: mean for rate, mean in means.items() if rate > 4e-5}
    assert sorted(of_grid) == [2e-4, 1e-3, 5e-3]
    assert (4e-5 in means) == (max(sorted(of_grid), key=of_grid.__getitem__) == 2e-4)
    best = max(sorted(means), key=means.__getitem__)
    row = next(line for line in printed.splitlines() if line.startswith("| `ham`"))
    assert row.split("|")[-2].strip() == f"{best:g}"
    cell = found["ham", best]
    assert f"{cell['linear']:.1f} / {cell['ridge']:.1f}" in row
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("records.jsonl")}
    learning_rates.main(words)  # finished runs are not made again
    assert capsys.readouterr().out == printed
    assert stamps == {file: file.stat().st_mtime_ns for file in stamps}


@pytest.mark.parametrize(("best", "smaller"), [(2e-4, True), (1e-3, False), (5e-3, False)])
def test_the_best_at_the_smallest_rate_is_tried_at_a_smaller_one(best, smaller, monkeypatch):
    import learning_rates as script

    score = {rate: [50.0 + 9 * (rate == best), 60.0] for rate in script.GRID}
    monkeypatch.setattr(script, "measured", lambda setup, method, rate, *rest: score[rate])
    options = script.parse(["--records", "R"])
    setup = Setup(seeds=(1,), preset="cpu", data_root="", heads=script.HEADS)
    runs = script.grid(setup, "ham", None, options)
    rates = [*[4e-5] * smaller, 2e-4, 1e-3, 5e-3]
    assert [run.options["lr"] for run in runs] == [r for r in rates for _ in script.HEADS]


def test_a_rate_at_the_end_of_the_ladder_s_middle_is_followed_twice_at_most(monkeypatch):
    import study_rates as script

    def searched(peak: float):
        search = script.Search.__new__(script.Search)
        tried: list[float] = []

        def scores(method, grid):
            tried.extend(values["lr"] for values in grid)
            return [[60.0 - abs(script.LADDER.index(v["lr"]) - peak), 50.0] for v in grid]

        monkeypatch.setattr(search, "scores", scores, raising=False)
        return script.rate_of(search, "ham")[1], set(tried)

    ladder = script.LADDER
    assert searched(3) == ("0.0006", set(ladder[2:6]))
    assert searched(1) == ("6e-05", set(ladder[:6]))
    assert searched(0) == ("2e-05 (at the end)", set(ladder[:6]))
    assert searched(7) == ("0.06 (at the end)", set(ladder[2:]))


@pytest.mark.slow
def test_the_study_s_grid_is_made_once_and_names_the_best_of_both_heads(tmp_path, capsys):
    import study_rates as script

    words = "--methods lora --benchmark digits --tasks 2 --preset smoke --jobs 0 --device cpu"
    words = [*words.split(), "--threads", "1", "--records", str(tmp_path)]
    script.main(words)
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("| `lora`"))
    cells = [cell.strip() for cell in line.split("|")[2:]]
    scores = {
        rate: sum(map(float, cell.split("/")))
        for rate, cell in zip(script.LADDER, cells)
        if cell != "-"
    }
    assert 4 <= len(scores) <= 8
    best = max(sorted(scores), key=scores.__getitem__)
    assert float(cells[len(script.LADDER)].partition(" ")[0]) == best
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
def test_results_are_written_from_records_without_a_run(tmp_path, capsys):
    import write_results

    from avalanche_ham.cli.main import main

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
