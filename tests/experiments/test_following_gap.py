"""What is left to gain by following: the script's rows against a run that has the head itself."""

from __future__ import annotations

import pytest
import torch

from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.run import Run

WORDS = ["--benchmark", "digits", "--preset", "smoke", "--tasks", "2", "--threads", "1"]


def made(head: str) -> Run:
    from following_gap import HELD_OUT

    config = RunConfig("ham_plus", "digits", 2, preset="smoke", head=head, options=HELD_OUT)
    return Run(resolve_config(config), Resources(device="cpu"), show=False)


@pytest.fixture(autouse=True)
def few_leaves(monkeypatch):
    monkeypatch.setattr("following_gap.LEAVES", 8)


@pytest.mark.slow
def test_its_rows_are_those_of_a_run_with_that_head(tmp_path, capsys):
    from following_gap import PENALTIES, main

    main(["--out", str(tmp_path), *WORDS])
    shown = capsys.readouterr().out.splitlines()
    table = [line.strip("| ").split(" | ") for line in shown if line.startswith("| ")]
    found = {words[0]: [float(score) for score in words[1].split(" / ")] for words in table[1:]}
    run = made("linear,lda,lda_drift")
    for _ in range(2):
        run.next_task()
    rows = run.measured["rows"]
    n = [len(experience.dataset) for experience in run.benchmark.test_stream]

    def aa(head: str) -> float:  # over images, as the script's; tasks differ in size
        return 100 * sum(a * b for a, b in zip(rows[head][-1], n, strict=True)) / sum(n)

    assert found["task by task, lda"] == pytest.approx([aa("lda")], abs=0.051)
    follows = found["follows, as they are"]
    assert follows[PENALTIES.index(3.0)] == pytest.approx(aa("lda_drift"), abs=0.051)
    main(["--out", str(tmp_path), *WORDS])  # from what it kept, without a training
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == [
        line for line in shown if line.startswith("| ")
    ]


def test_images_are_pushed_towards_the_means_of_old_classes(monkeypatch):
    from following_gap import NEAR, Lab

    monkeypatch.setattr("following_gap.LENGTH", 0.2)  # as small as the tiny backbone's distances
    lab = Lab(made("linear"))
    first, second = lab.run.benchmark.train_stream
    lab.task(first)
    images, _ = lab.images(second)
    pushed = lab.pushed(images)
    old = lab.means.means[lab.means.counts > 0]
    assert len(pushed) == NEAR * len(old) and not pushed.requires_grad

    def far(x: torch.Tensor) -> torch.Tensor:
        features = torch.nn.functional.normalize(lab.features(x), dim=1)
        return torch.cdist(features, old)

    to_own = far(pushed).view(len(old), NEAR, -1).diagonal(dim1=0, dim2=2)
    nearest = far(images).topk(NEAR, dim=0, largest=False).values
    assert (to_own.mean(0) < nearest.mean(0)).all()


@pytest.mark.slow
def test_a_map_may_see_images_of_another_data_set(tmp_path, capsys, monkeypatch):
    from following_gap import main

    monkeypatch.setitem(__import__("following_gap").FOREIGN, "digits", 3)
    main(["--out", str(tmp_path), *WORDS, "--foreign", "digits"])
    shown = capsys.readouterr().out
    (row,) = (line for line in shown.splitlines() if "another data set" in line)
    assert row.startswith("| follows, and 1,600 images of another data set | ") and " ± " in row
    (task,) = tmp_path.glob("*-digits/task_1.pt")
    before = torch.load(task)["before"]
    assert len(before["foreign"]) == 30 and len(before["leaves"]) == 8


def test_dead_leaves_are_discs_over_each_other():
    from following_gap import dead_leaves

    images = dead_leaves(3, side=32)
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.uint8
    assert torch.equal(images, dead_leaves(3, side=32)) and not torch.equal(images[0], images[1])
    right = (images[..., 1:] == images[..., :-1]).all(1)
    assert 0.6 < right.float().mean() < 1  # neighbours mostly lie in one disc


def test_a_gain_and_its_error_are_paired_over_images():
    from following_gap import gain

    ours = torch.tensor([True, True, True, False] * 25)
    theirs = torch.tensor([True, False, True, False] * 25)
    more, error = gain(ours, theirs)
    assert more == pytest.approx(25)
    assert error == pytest.approx(100 * torch.tensor([0.0, 1, 0, 0] * 25).std().item() / 10)
