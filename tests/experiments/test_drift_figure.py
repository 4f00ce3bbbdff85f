"""How far believed class means are from the true ones: the script against slow loops."""

from __future__ import annotations

import itertools

import pytest
import torch

from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.run import Run

SMALL = {"method": "ham", "benchmark": "digits", "n_tasks": 3, "preset": "smoke"}


def run(**settings) -> Run:
    config = RunConfig(**SMALL, head="lda_drift", options={"lr": 1e-2}, **settings)
    return Run(resolve_config(config), Resources(device="cpu"), show=False)


@torch.no_grad()
def means_by_hand(made: Run, tasks: int) -> dict[int, torch.Tensor]:
    found: dict[int, list[torch.Tensor]] = {}
    made.strategy.model.eval()
    with made.strategy.evaluation_weights():
        for experience in made.benchmark.train_stream[:tasks]:
            for image, target, *_ in experience.dataset.eval():
                feature = made.strategy.model.encode(image[None]).features[0]
                found.setdefault(int(target), []).append(feature / feature.norm())
    return {c: torch.stack(features).mean(0) for c, features in found.items()}


def test_the_distances_are_those_of_a_slow_loop():
    from drift_figure import measured

    rows = list(measured(run()))
    assert [row["task"] for row in rows] == [2, 3]
    twin, learned = run(), {}
    for t, experience in enumerate(twin.benchmark.train_stream):
        old = list(learned)
        twin.strategy.train(experience, eval_streams=[])
        true = means_by_hand(twin, t + 1)
        if old:
            pairs = list(itertools.combinations(true.values(), 2))
            apart = sum(float((a - b).norm()) for a, b in pairs) / len(pairs)
            stale = sum(float((learned[c] - true[c]).norm()) for c in old) / len(old)
            kept = twin.strategy.model.readouts["lda_drift"].means
            followed = sum(float((kept[c] - true[c]).norm()) for c in old) / len(old)
            assert rows[t - 1]["stale"] == pytest.approx(stale / apart, rel=1e-3)
            assert rows[t - 1]["followed"] == pytest.approx(followed / apart, rel=1e-3)
        learned |= {c: mean for c, mean in true.items() if c not in learned}
    assert rows[1]["stale"] > 1e-3


@pytest.mark.slow
def test_it_writes_a_table_and_draws_it_again_from_it_alone(tmp_path, capsys):
    from drift_figure import main

    out = tmp_path / "drift"
    words = ["--out", str(out)]
    main([*words, "--benchmark", "digits", "--preset", "smoke", "--tasks", "2", "--threads", "1"])
    lines = out.with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "method,task,stale,followed" and len(lines) == 3
    first = out.with_suffix(".svg").read_bytes()
    out.with_suffix(".svg").unlink()
    main([*words, "--draw"])
    assert out.with_suffix(".svg").stat().st_size == len(first)
