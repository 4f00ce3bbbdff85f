"""One set of weights trained task after task: what moves, what stays, what is folded."""

from __future__ import annotations

import pytest
import torch
from streams import logits
from toys import differing, make, silent, state_of

from avalanche_ham import SequentialStrategy, create_model
from avalanche_ham.backbones.hybrid import create_hybrid_vit
from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.runs.saving import load_tree, save_tree


def trained(method: str, benchmark, n_tasks: int = 2, **options):
    strategy = make(method, options)
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy


def kinds_that_moved(method: str, benchmark) -> set[str]:
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    before = state_of(strategy.model)
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    moved = {n for n in differing(before, state_of(strategy.model)) if n in before}
    moved -= {"head.classes"}
    kinds = {"branch" if ".branch." in n else n.split(".")[0] for n in moved}
    assert not any(".terms." in n for n in moved)
    return kinds


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("finetune", {"encoder", "head"}),  # scope seen: the old rows train on
        ("lora", {"branch"}),
        ("frozen", set()),
        ("ncm", set()),
    ],
)
def test_what_moves_in_the_second_task(benchmark, method, expected):
    assert kinds_that_moved(method, benchmark) == expected


def test_the_whole_network_moves_down_to_the_patch_embedding(benchmark):
    before = state_of(make("finetune").model)
    after = state_of(trained("finetune", benchmark).model)
    still = {n for n in before if n in after and torch.equal(before[n], after[n])}
    assert still == set()


def test_a_frozen_convolutional_stem_stays_frozen():
    vit = create_hybrid_vit(img_size=32, depth=1, embed_dim=48, num_heads=3)
    model = create_model(vit, n_classes=4)
    SequentialStrategy(model=model, trains="network", evaluator=silent())
    stem = {id(p) for p in vit.patch_embed.backbone.parameters()}
    for parameter in vit.parameters():
        assert parameter.requires_grad is (id(parameter) not in stem)
    assert stem and len(stem) < len(list(vit.parameters()))


def test_one_lora_goes_on_from_task_to_task_and_never_restarts(benchmark):
    strategy = make("lora")
    branches = [layer.branch for layer in strategy.adapters.layers.values()]
    ends = []
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
        assert [layer.branch for layer in strategy.adapters.layers.values()] == branches
        ends.append(branches[0].b.detach().clone())
    assert not torch.equal(ends[0], ends[1]) and not torch.equal(ends[1], ends[2])
    assert strategy.adapters.n_terms == 0 and strategy.adapters.scales.tolist() == [1.0]


def test_lora_folds_exactly_what_it_has_trained(benchmark):
    strategy = trained("lora", benchmark)
    images = torch.stack([benchmark.test_stream[0].dataset[k][0] for k in range(4)])
    strategy.model.eval()
    with torch.no_grad():
        unmerged = strategy.model(images)
        with strategy.evaluation_weights():
            merged = strategy.model(images)
        with strategy.adapters.merged({}):
            bare = strategy.model(images)
    torch.testing.assert_close(merged, unmerged, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged, bare, atol=1e-2)


def test_lora_starts_from_its_seed_alone():
    starts = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(noise)
        strategy = make("lora", seed=seed)
        starts.append(strategy.adapters.layers["blocks.0.attn.qkv"].branch.a.detach())
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


def test_training_nothing_takes_no_step_and_the_readout_predicts(benchmark):
    strategy = make("ncm", head="ncm")
    updates = []
    strategy.optimizer.register_step_post_hook(lambda *args: updates.append(args))
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert not updates and strategy.n_trainable == 0
    assert strategy.model.readout.is_fed
    assert (logits(strategy) > -2).sum(1).tolist() == [4] * 8


@pytest.mark.parametrize(
    ("method", "count"),
    [("frozen", 2 * 48 + 2), ("lora", 2 * 48 + 2 + 3 * 4 * (48 + 144)), ("ncm", 0)],
)
def test_the_number_of_trainable_parameters_is_told(benchmark, method, count):
    assert trained(method, benchmark).n_trainable == count


@pytest.mark.parametrize("method", ["lora", "finetune", "ewc", "lora_lwf", "frozen"])
def test_a_saved_state_brings_the_same_predictions_and_the_same_future(benchmark, tmp_path, method):
    strategy = trained(method, benchmark)
    save_tree(tmp_path, strategy.state_tree())
    fresh = make(method)
    fresh.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(fresh), logits(strategy))
    for one in (strategy, fresh):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert not differing(state_of(fresh.model), state_of(strategy.model))


def test_only_the_whole_network_is_stored_whole(benchmark):
    names = {m: set(trained(m, benchmark).state_tree()["model"]) for m in ("lora", "finetune")}
    weight = "encoder.vit.blocks.0.mlp.fc1.weight"
    assert weight in names["finetune"] and weight not in names["lora"]
    assert "encoder.vit.blocks.0.attn.qkv.branch.a" in names["lora"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trains": "netwrok"}, UnknownNameError, "did you mean 'network'"),
        ({"trains": "lora", "rank": 99}, OptionError, "rank must be between 1 and 48"),
        ({"trains": "lora", "targets": ("nothing",)}, HamError, "'nothing'"),
    ],
)
def test_options_that_do_not_fit_are_refused(tiny_model, options, error, message):
    with pytest.raises(error, match=message):
        SequentialStrategy(model=tiny_model(), evaluator=silent(), **options)
