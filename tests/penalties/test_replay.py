"""Experience replay: which images stay, what they add to the loss, how a run goes on with them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from streams import logits
from torch.nn import functional as F
from toys import Watch, differing, make, silent, state_of

from avalanche_ham import SequentialStrategy, create_model
from avalanche_ham.errors import OptionError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.penalties import ReplayPenalty
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.runner import run
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import image_bytes

BYTES = 3 * 8 * 8  # of an image of the made-up benchmark


def test_so_many_images_of_each_class_stay_and_they_are_the_task_s_own(benchmark):
    strategy = make("lora_er", {"er_per_class": 5, "augment": "flip"})
    for k, experience in enumerate(benchmark.train_stream[:3]):
        strategy.train(experience, eval_streams=[])
        parts = strategy.memory["exemplars"]
        assert len(parts) == k + 1 and image_bytes(strategy.memory) == (k + 1) * 10 * BYTES
        data = experience.dataset.eval()
        own = {(x.numpy().tobytes(), y) for x, y, *_ in data}
        kept = [(x.numpy().tobytes(), int(y)) for x, y in zip(*parts[k].values(), strict=True)]
        assert set(kept) <= own and len(set(kept)) == 10
        assert set(Counter(y for _, y in kept).values()) == {5}


def test_all_images_stay_where_there_are_fewer(benchmark):
    strategy = make("lora_er", {"er_per_class": 50})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert image_bytes(strategy.memory) == 24 * BYTES


def test_the_loss_is_twice_that_of_both_batches_as_one(benchmark, monkeypatch):
    drawn, seen = [], []
    shuffle = torch.randperm

    def recorded(n, **options):
        drawn.append(shuffle(n, **options))
        return drawn[-1]

    def compare(strategy):
        if strategy.task == 0:
            assert strategy.penalty() is None
            return
        parts = strategy.memory["exemplars"]
        images = torch.cat([p["images"] for p in parts])[drawn[-1][:8]]
        targets = torch.cat([p["targets"] for p in parts])[drawn[-1][:8]]
        strategy.model.eval()
        with torch.no_grad():
            both = strategy.model(torch.cat([strategy.mb_x, images]))
        strategy.model.train()
        expected = 2 * F.cross_entropy(both, torch.cat([strategy.mb_y, targets]))
        assert float(strategy.loss.detach()) == pytest.approx(float(expected), rel=1e-4)
        seen.append(len(images))

    strategy = make("lora_er", plugins=[Watch(before_backward=compare)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    monkeypatch.setattr(torch, "randperm", recorded)
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert seen == [8] * 4


def test_stored_images_are_augmented_like_the_batch(benchmark):
    batches = []

    def invert(images):
        batches.append(images.clone())
        return 255 - images

    strategy = SequentialStrategy(
        model=create_model("tiny", n_classes=10),
        regulariser=ReplayPenalty(3),
        augment=invert,
        scope="seen",
        steps=1,
        train_mb_size=8,
        evaluator=silent(),
    )
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    kept = strategy.memory["exemplars"][0]["images"]
    _, _, stored = batches
    assert len(stored) == 6 and all(any(torch.equal(x, k) for k in kept) for x in stored)


@pytest.mark.slow
def test_old_classes_are_told_better_with_stored_images_than_without(benchmark):
    found = []
    for method in ("lora", "lora_er"):
        options = {"steps": 40, "lr": 5e-3} | ({"scope": "seen"} if method == "lora" else {})
        strategy = make(method, options)
        strategy.train(benchmark.train_stream[:3], eval_streams=[])
        with strategy.evaluation_weights():
            found.append(accuracy_row(strategy, list(benchmark.test_stream[:2])).accuracy)
    assert sum(found[1]) > sum(found[0]) + 0.5


def test_a_saved_state_goes_on_with_the_same_images(benchmark, tmp_path):
    strategy, again = make("lora_er"), make("lora_er")
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    save_tree(tmp_path, strategy.state_tree())
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2:4], eval_streams=[])
    assert not differing(state_of(again.model), state_of(strategy.model))
    for x, y in zip(again.memory["exemplars"], strategy.memory["exemplars"], strict=True):
        assert torch.equal(x["images"], y["images"]) and torch.equal(x["targets"], y["targets"])


def test_the_record_tells_the_bytes_and_does_not_count_images_as_parameters():
    records = {}
    for method in ("lora", "lora_er"):
        options = {"rank": 2} | ({"er_per_class": 3} if method == "lora_er" else {})
        config = RunConfig(method=method, n_tasks=2, preset="smoke", options=options)
        records[method] = run(config, Resources(device="cpu"), show=False)
    one = records["lora_er"]["memory_bytes"] / (10 * 3)
    assert records["lora"]["memory_bytes"] == 0 and one == int(one) > 0
    parameters = [record["stored_parameters"][-1] for record in records.values()]
    assert parameters[0] == pytest.approx(parameters[1], abs=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 0}, "er_per_class must be at least 1"),
        ({"strength": -1.0}, "er_strength must be at least 0"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ReplayPenalty(**options)


def test_pam_takes_the_same_penalty_and_is_plain_pam_where_it_weighs_nothing(benchmark):
    found = {}
    for method, strength in (("pam", None), ("pam_er", 0.0), ("pam_er", 1.0)):
        options = {"scope": "seen", "steps": 3}  # a pass: later ones are shuffled by other draws
        given = options if strength is None else {**options, "er_strength": strength}
        strategy = make(method, given)
        strategy.train(benchmark.train_stream[:3], eval_streams=[])
        found[strength] = strategy.memory["global"]
    for name, pair in found[None].items():
        assert torch.equal(pair.b, found[0.0][name].b)
        assert not torch.equal(pair.b, found[1.0][name].b)
