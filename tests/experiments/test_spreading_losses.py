"""Losses that spread classes: each against a slow loop, and the table in miniature."""

from __future__ import annotations

import math

import pytest
import torch

WORDS = ["--benchmark", "digits", "--preset", "smoke", "--tasks", "2", "--threads", "1"]


@pytest.fixture
def script(drift_heads):
    import spreading_losses

    return spreading_losses


def options(script, out):
    return script.parser_of("x\n").parse_args(["--out", str(out), *WORDS[:4], *WORDS[6:]])


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    rows = torch.randn(3, 5, generator=draw, dtype=torch.float64)
    return features, rows, torch.tensor([0, 1, 0, 1, 0, 1, 2])  # the last one is alone


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def test_the_cosine_margin_is_its_equation(script):
    features, rows, targets = batch()
    losses = []
    for i in range(7):
        scores = [
            8 * (cosine(features[i], r) - 0.3 * (k == targets[i])) for k, r in enumerate(rows)
        ]
        losses.append(math.log(sum(map(math.exp, scores))) - scores[targets[i]])
    found = script.cosine_margin(features, rows, targets, scale=8.0, margin=0.3)
    assert float(found) == pytest.approx(sum(losses) / 7)


def test_what_is_added_sees_the_batch_and_the_rows_of_its_task(script, tmp_path):
    run = script.run_of(options(script, tmp_path), 2, "linear")
    seen = []

    def spy(features, rows, targets):
        seen.append((features.requires_grad, rows, targets, run.strategy.mb_y))
        return features.sum() * 0

    script.add_loss(run.strategy, 1.0, spy)
    for t in range(2):
        run.next_task()
        head, (trains, rows, places, targets) = run.strategy.model.head, seen[-1]
        assert trains and rows is head.tasks[t].weight
        assert torch.equal(torch.tensor(head.current)[places], targets)


@pytest.mark.slow
def test_each_loss_is_trained_once_and_that_of_ham_plus_is_among_them(script, tmp_path, capsys):
    script.main(["--out", str(tmp_path), *WORDS])
    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    rows = {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}
    assert list(rows) == list(script.LOSSES)
    for name, own in (("cross-entropy", {"contrast": 0.0}), ("contrastive, weight 0.1", {})):
        run = script.run_of(options(script, tmp_path), 2, "linear,lda_drift", **own)
        for _ in range(2):
            run.next_task()
        for head, column in (("linear", "linear"), ("lda_drift", "penalty 3")):
            aa = 100 * sum(run.measured["rows"][head][-1]) / 2
            assert float(rows[name][column]) == pytest.approx(aa, abs=0.051)
    shown = {tuple(list(row.values())[1:-2]) for row in rows.values()}
    assert len(shown) > 1  # they do train
    script.main(["--out", str(tmp_path), *WORDS])  # from what it kept
    assert capsys.readouterr().out == printed
