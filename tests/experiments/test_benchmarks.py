"""The benchmarks run end to end in seconds, and their fast paths equal their slow ones."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TASKS, RANK = 6, 4
SLOWER = [
    ("ham", "ham_naive"),
    ("sd_lora", "sd_lora_loop"),
    ("sd_lora", "sd_lora_released"),
]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a script with a command line; gives what it wrote as JSON."""

    def call(name: str, *words: str) -> dict:
        module = __import__(name)
        path = tmp_path / f"{name}.json"
        line = [name, *words, "--rounds", "2", "--json", str(path)]
        monkeypatch.setattr(sys, "argv", line)
        module.main()
        return json.loads(path.read_text())

    return call


def is_ratio(value: dict) -> bool:
    return 0 < value["low"] <= value["median"] <= value["high"] < math.inf


@pytest.mark.slow
def test_steps_are_timed_over_tasks_and_drawn(run, monkeypatch, tmp_path, capsys):
    found = run("benchmark_step", *["--backbone", "tiny", "--batch", "2", "--tasks", "2,3,4"])
    assert len(found["steps"]) == 2 + 3 * 10
    assert all(is_ratio(entry) for entry in found["steps"].values())
    assert found["steps"]["lora"]["median"] == 1
    memory = {name: entry["state_mb"] for name, entry in found["steps"].items()}
    assert memory["lora"] == 0
    assert memory["ham 3"] == memory["ham 4"]  # two groups, however many tasks
    assert memory["ham_naive 4"] > memory["ham_naive 3"]
    assert memory["pam 2"] == memory["pam 4"] > 0  # one global LoRA
    assert memory["slao 4"] == memory["slao 3"] == 2 * memory["pam 4"]
    assert memory["ham_plus 4"] == memory["ham 4"]
    assert is_ratio(found["growth ham"]) and is_ratio(found["sd_lora_loop / ham 4"])
    assert found["options"]["backbone"] == "tiny" and 0 < found["floor_seconds"] < 1
    import speed_figure

    source = str(tmp_path / "benchmark_step.json")
    monkeypatch.setattr(sys, "argv", ["speed_figure", source, source])
    speed_figure.main()
    assert (tmp_path / "speed.png").stat().st_size > 10_000
    assert (tmp_path / "speed.svg").exists()


@pytest.mark.slow
def test_steps_are_timed_in_bf16(run):
    words = ["--backbone", "tiny", "--batch", "2", "--tasks", "2,3", "--precision", "bf16"]
    assert is_ratio(run("benchmark_step", *words)["growth ham"])


@pytest.mark.slow
def test_the_loop_is_timed(run):
    found = run("benchmark_loop", *["--backbone", "tiny", "--batch", "4", "--steps", "2"])
    assert is_ratio(found["strategy / bare"])
    assert is_ratio(found["with metrics / strategy"])
    assert is_ratio(found["ham_plus / ham"]) and is_ratio(found["following / feeding"])


@pytest.mark.slow
def test_inference_is_timed(run):
    words = [
        "--backbone",
        "tiny",
        "--batch",
        "8",
        "--tasks",
        "3",
        "--per-class",
        "2",
        "--steps",
        "1",
    ]
    found = run("benchmark_inference", *words)
    for name in ("merged / plain timm", "all seen tasks / one pass", "bf16 / fp32"):
        assert is_ratio(found[name])
    assert 0 <= found["accuracy"]["fp32"] <= 100


def test_the_input_path_is_timed(run):
    found = run("benchmark_data", "--images", "32", "--size", "48")
    assert is_ratio(found["PIL / ours"]) and is_ratio(found["PIL / loader"])


def test_a_ratio_is_taken_round_by_round():
    from timing import interleave, ratio

    seconds = {"fast": [1.0, 2.0, 4.0], "slow": [3.0, 6.0, 12.0]}
    assert ratio(seconds, "slow", "fast") == {"median": 3, "low": 3, "high": 3}
    calls: list[str] = []
    names = ("a", "b")
    candidates = {name: lambda name=name: calls.append(name) for name in names}
    seconds = interleave(candidates, rounds=3, warmup=2)
    assert calls == 5 * ["a", "b"] and [len(s) for s in seconds.values()] == [3, 3]


@pytest.fixture(scope="module")
def vit():
    from avalanche_ham.backbones.vit import create_backbone

    vit = create_backbone("tiny")
    for block in vit.blocks:
        block.attn.fused_attn = False
    return vit


def twins(vit, fast_kind: str, slow_kind: str):
    """The same adapters in the package's layer and in the loop, with what each trains."""
    from step_candidates import candidate

    fast, slow = (candidate(vit, kind, TASKS, RANK) for kind in (fast_kind, slow_kind))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        fast.adapters.scales.uniform_(0.5, 1.5, generator=generator)
        for name, layer in fast.adapters.layers.items():
            layer.branch.b.normal_(generator=generator).mul_(0.1)
            loop = slow.get_submodule(name)
            slots = len(loop.a)
            for k, a in enumerate(layer.branch.a.chunk(slots)):
                loop.a[k].copy_(a)
                loop.b[k].copy_(layer.branch.b[k])
            loop.scales.copy_(fast.adapters.scales)
    return fast, slow


@pytest.mark.parametrize("kinds", SLOWER)
def test_one_weight_equals_the_loop_over_adapters_gradients_included(vit, kinds):
    fast, slow = twins(vit, *kinds)
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    features = [model.forward_features(images) for model in (fast, slow)]
    torch.testing.assert_close(*features, rtol=1e-5, atol=1e-5)
    assert (features[0] - vit.forward_features(images)).abs().max() > 1e-2
    pull = torch.randn(features[0].shape, generator=torch.Generator().manual_seed(2))
    for one in features:
        (one * pull).sum().backward()
    loops = {name: slow.get_submodule(name) for name in fast.adapters.layers}
    scales = torch.stack([loop.scales.grad for loop in loops.values()]).sum(0)
    close(fast.adapters.scales.grad, scales)
    for name, layer in fast.adapters.layers.items():
        close(layer.branch.a.grad, torch.cat([a.grad for a in loops[name].a]))
        close(layer.branch.b.grad, torch.stack([b.grad for b in loops[name].b]))


def close(fast: torch.Tensor, slow: torch.Tensor) -> None:
    """Assert that gradients agree to 1e-5 of the largest."""
    largest = float(slow.abs().max())
    assert largest > 0
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-5 * largest)


def test_pam_s_step_leaves_no_important_sign_against_the_global_lora(vit):
    from benchmark_step import stepper
    from step_candidates import candidate

    from avalanche_ham.merging.sign_alignment import misaligned

    model = candidate(vit, "pam", TASKS, RANK)
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    before = model.adapters.current()
    stepper(model, images, "fp32", "pam")()
    (known,) = model.kept
    for name, pair in model.adapters.current().items():
        for matrix, start, reference in zip(pair, before[name], known[name]):
            assert not misaligned(matrix, reference, 0.5).any()
            assert (matrix != start).any()


@pytest.mark.parametrize("kind", ["inflora", "o_lora"])
def test_a_fixed_sum_equals_all_adapters_added_to_the_weight(vit, kind):
    from slow_layers import made_up_history
    from step_candidates import candidate

    torch.manual_seed(TASKS)
    history = made_up_history(vit, TASKS - 1, RANK)
    model = candidate(vit, kind, TASKS, RANK)
    for name, layer in model.adapters.layers.items():
        expected = layer.weight + sum(update[name].dense() for update in history)
        torch.testing.assert_close(layer.combined(with_branch=True), expected, rtol=1e-5, atol=1e-5)


def test_the_stem_cache_is_timed_and_changes_no_accuracy(run, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", "replaced by the script")
    words = ["--backbone", "tiny", "--preset", "smoke", "--tasks", "2", "--steps", "1"]
    found = run("benchmark_stem_cache", *words)
    assert found["images"]["aa"] == found["full cache"]["aa"]
    assert found["empty cache"]["seconds"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc") or sys.platform != "linux", reason="needs cc, Linux")
def test_two_processes_with_and_without_a_preloaded_library_take_turns(tmp_path):
    script = Path(__file__).parents[2] / "experiments" / "benchmark_amd.py"
    path = tmp_path / "amd.json"
    words = ["--backbone", "tiny", "--batch", "2", "--rounds", "2", "--json", str(path)]
    subprocess.run([sys.executable, str(script), *words], check=True, timeout=300)
    found = json.loads(path.read_text())
    assert is_ratio(found["training step"]) and is_ratio(found["evaluation"])
