"""InfLoRA as a strategy: what trains, where A points, what is kept, what happens without room."""

from __future__ import annotations

import warnings

import pytest
import torch
from streams import classic, logits

from avalanche_ham.errors import OptionError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.inflora import strategy as strategy_module
from avalanche_ham.strategies.inflora.strategy import InfLoRAStrategy, stream_length
from avalanche_ham.strategies.inflora.subspace import update_subspace

WIDTH, LAYERS = 48, 3  # of the tiny ViT


@pytest.fixture
def make(tiny_model):
    """A factory of quiet strategies."""

    def make_strategy(*, n_classes: int = 10, **options):
        given = {"evaluator": None, "steps": 2, "train_mb_size": 8, **options}
        return InfLoRAStrategy(model=tiny_model(n_classes), **given)

    return make_strategy


def test_two_experiences_beat_chance(make, benchmark):
    strategy = make(lr=1e-2, steps=30, train_mb_size=24)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.4  # of four classes


def test_only_b_and_the_newest_rows_train(make, benchmark):
    strategy = make(lr=1e-2, weight_decay=0.1)
    seen = {}

    def look(current):
        for name, layer in current.adapters.layers.items():
            seen[name] = layer.branch.a.detach().clone()
            assert layer.branch.b.abs().max() > 0

    strategy.probe = look
    strategy.train(benchmark.train_stream[0])
    chosen = {n: t.clone() for n, t in strategy.model.encoder.vit.state_dict().items()}
    moments = strategy.input_moments(benchmark.train_stream[1])
    strategy.train(benchmark.train_stream[1])
    assert strategy.n_trainable == LAYERS * 2 * WIDTH * 10 + 2 * WIDTH + 2
    after = strategy.model.encoder.vit.state_dict()
    for name, tensor in chosen.items():
        if "terms" not in name:
            assert torch.equal(after[name], tensor), name
    # Two steps with decay left A what it was chosen to be: a direction of unit row norms.
    for name, a in seen.items():
        assert len(moments[name]) == WIDTH
        torch.testing.assert_close(a @ a.T, torch.eye(10) / 3, atol=1e-5, rtol=0)


def test_new_a_is_orthogonal_to_the_memory(make, benchmark):
    strategy = make()
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    spaces = {name: strategy.space(name) for name in strategy.adapters.layers}
    largest = []

    def look(current):
        for name, layer in current.adapters.layers.items():
            assert spaces[name].kind == "remove"
            overlap = layer.branch.a.double() @ spaces[name].basis
            largest.append(float(overlap.abs().max()))

    strategy.probe = look
    strategy.train(benchmark.train_stream[2])
    assert len(largest) == LAYERS and max(largest) < 1e-6


def test_the_folded_change_is_the_sum_of_all_tasks(make, benchmark):
    strategy, updates = make(lr=1e-2), []
    strategy.probe = lambda current: updates.append(current.adapters.current())
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    assert strategy.adapters.n_terms == 1  # a step costs the same at every task
    for name, change in strategy.inference_update().items():
        total = sum(update[name].b @ update[name].a for update in updates)
        torch.testing.assert_close(change, total)
        assert (change[:WIDTH] == 0).all()  # queries are not adapted
    for update in updates:
        assert all(change.a.shape == (10, WIDTH) for change in update.values())


def test_second_moments_are_of_the_layers_own_inputs(make, benchmark):
    strategy = make()
    experience = benchmark.train_stream[0]
    moments = strategy.input_moments(experience)
    vit = strategy.model.encoder.vit
    images = torch.stack([image for image, *_ in experience.dataset])
    with torch.no_grad():
        tokens = vit._pos_embed(vit.patch_embed(strategy.model.encoder.preprocess(images)))
        x = vit.blocks[0].norm1(tokens).flatten(0, 1).double()
    expected = x.T @ x / len(x)
    torch.testing.assert_close(moments["blocks.0.attn.qkv"], expected, rtol=1e-4, atol=1e-5)
    assert not any(layer._forward_pre_hooks for layer in strategy.adapters.layers.values())


def test_exhausted_room_is_said_once_and_training_goes_on(make, benchmark):
    strategy = make(threshold=1.0)  # protects everything: no room from task 2 on
    updates = []
    strategy.probe = lambda current: updates.append(current.adapters.current())
    strategy.train(benchmark.train_stream[0])
    with pytest.warns(UserWarning, match="task 2.*fewer than the rank 10"):
        strategy.train(benchmark.train_stream[1])
    room = {name: strategy.space(name).free for name in strategy.adapters.layers}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        strategy.train(benchmark.train_stream[2])
    assert strategy.describe()["free_directions"][0] == WIDTH
    assert strategy.describe()["free_directions"][2] == min(room.values())
    for name, change in updates[2].items():
        assert int((change.a.norm(dim=1) > 0.5).sum()) == min(10, room[name])
    assert logits(strategy).isfinite().all()


def test_reload_gives_the_same_predictions_and_goes_on_alike(make, benchmark, tmp_path):
    strategy = make(seed=4)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    save_tree(tmp_path, strategy.state_tree())
    again = make(seed=4)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2])
    assert torch.equal(logits(again), logits(strategy))


def test_the_classic_benchmark_with_triples(make):
    data = classic()
    strategy = make(n_classes=4, precision="bf16")
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).all()  # every class was seen


def test_the_number_of_tasks_comes_from_the_stream_or_the_option(make, benchmark):
    assert stream_length(benchmark.train_stream[1]) == 5
    assert stream_length(benchmark.train_stream[1:3][0]) == 5
    assert stream_length(classic().train_stream[0]) == 2
    experience = benchmark.train_stream[0]
    experience._origin_stream = None
    with pytest.raises(OptionError, match="n_tasks must be given"):
        make().train(experience, eval_streams=[])
    make(n_tasks=3).train(experience, eval_streams=[])


@pytest.mark.filterwarnings("ignore:task .* free directions left")
def test_many_tasks_in_bounded_memory(make, long_benchmark):
    strategy = make(n_classes=long_benchmark.n_classes, steps=1, train_mb_size=4)
    bound = LAYERS * (WIDTH * WIDTH // 2 + 2 * WIDTH * WIDTH)  # a basis, and rows k and v
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        assert count_stored(strategy.memory) <= bound
    assert strategy.adapters.n_terms == 1
    assert strategy.n_trainable == LAYERS * 2 * WIDTH * 10 + 2 * WIDTH + 2
    assert len(strategy.describe()["free_directions"]) == len(long_benchmark.train_stream)
    assert logits(strategy).isfinite().all()


def test_wrong_options_are_errors(make):
    with pytest.raises(OptionError, match="rank must be between 1 and 48"):
        make(rank=49)
    with pytest.raises(OptionError, match="threshold must be above 0 and at most 1"):
        make(threshold=1.5)
    with pytest.raises(OptionError, match="n_tasks must be at least 1"):
        make(n_tasks=0)


def test_the_protected_energy_grows_from_task_to_task(make, benchmark, monkeypatch):
    used = []

    def watched(moment, space, threshold):
        used.append(threshold)
        return update_subspace(moment, space, threshold)

    monkeypatch.setattr(strategy_module, "update_subspace", watched)
    strategy = make(threshold=0.5, final_threshold=0.9, steps=1)
    for experience in benchmark.train_stream[:3]:  # of five tasks
        strategy.train(experience)
    expected = [0.5 + 0.4 * task / 5 for task in range(3) for _ in range(LAYERS)]
    assert used == pytest.approx(expected)


@pytest.mark.parametrize("damping", [1.0, 0.5, "inverse"])
def test_a_damped_adapter_is_trained_whole_and_added_scaled(damping, make, benchmark):
    strategy, expected, trained = make(lr=1e-2, damping=damping), {}, []
    strategy.probe = lambda current: trained.append(current.adapters.total())
    weights = {1.0: [1, 1, 1], 0.5: [1, 0.5, 0.5], "inverse": [1, 1 / 2, 1 / 3]}[damping]
    for t, experience in enumerate(benchmark.train_stream[:3]):
        strategy.train(experience)
        for name, whole in trained[t].items():  # what was there and the new one, whole
            old = expected.get(name, torch.zeros_like(whole))
            expected[name] = old + weights[t] * (whole - old)
    for name, change in strategy.memory["update"].items():
        torch.testing.assert_close(change, expected[name], rtol=1e-5, atol=1e-7)
        assert change.abs().max() > 1e-4


def test_a_damping_that_does_not_exist_is_refused(make):
    with pytest.raises(OptionError, match="damping must be"):
        make(damping=1.5)
