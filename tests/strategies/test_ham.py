"""HAM as a whole: the identities that its equations promise, on the tiny model."""

from __future__ import annotations

import peft
import pytest
import torch
from streams import logits
from toys import Watch, ham, make, state_of

from avalanche_ham import create_model
from avalanche_ham.adapters.branch import LowRankBranch
from avalanche_ham.errors import NoMatchError, OptionError, UnknownNameError
from avalanche_ham.merging import MagMax, Ties
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored

PER_ADAPTER = 3 * 4 * (48 + 144)  # three blocks, rank 4, width 48 -> fused qkv 144
IMAGES = torch.randint(0, 256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(1)).byte()


def trained(benchmark, n_tasks: int = 3, **options):
    strategy = ham(**options)
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy


def test_unpruned_groups_of_one_merge_to_the_training_forward_of_the_last_step(benchmark):
    seen = []

    def look(strategy):
        strategy.model.eval()
        with torch.no_grad():
            seen.append(strategy.model(IMAGES))
        strategy.model.train()

    apart = {"keep": 1.0, "max_groups": 9, "similarity_threshold": 2.0}
    strategy = trained(benchmark, plugins=[Watch(after_training_epoch=look)], **apart)
    assert strategy.grouping.memory["groups"] == [0, 1, 2]
    strategy.model.eval()
    with torch.no_grad(), strategy.evaluation_weights():
        merged = strategy.model(IMAGES)
    torch.testing.assert_close(merged, seen[-1], rtol=1e-5, atol=1e-5)
    with torch.no_grad(), strategy.adapters.merged({}):
        bare = strategy.model(IMAGES)
    assert not torch.allclose(merged, bare, atol=1e-2)


def test_a_group_is_exactly_the_sum_of_its_unpruned_members(benchmark):
    strategy = trained(benchmark, keep=1.0, max_groups=1)
    members = strategy.grouping.memory["adapters"]
    group, factors = strategy.adapters.term(0), strategy.grouping.factors(0)
    for name in strategy.adapters.layers:
        expected = sum(member[name].b @ member[name].a for member in members)
        torch.testing.assert_close(group[name], expected)
        torch.testing.assert_close(factors[name].dense(), expected)
        assert factors[name].rank == 3 * 4


@pytest.mark.parametrize("keep", [0.1, 0.6, 1.0])
def test_each_task_stores_the_kept_fraction_of_an_adapter(benchmark, keep):
    strategy = trained(benchmark, n_tasks=2, keep=keep)
    for update in strategy.grouping.memory["adapters"]:
        for change in update.values():
            assert count_stored(change.a) == round(keep * 4 * 48)
            assert count_stored(change.b) == round(keep * 4 * 144)
        assert count_stored(update) == pytest.approx(keep * PER_ADAPTER, abs=6)


def test_the_paper_s_adapter_has_589824_parameters():
    branch = LowRankBranch(768, 3 * 768, 16)
    assert 12 * sum(p.numel() for p in branch.parameters()) == 589_824


def test_one_group_takes_all_tasks_however_unlike(benchmark):
    strategy = trained(benchmark, max_groups=1, similarity_threshold=2.0)
    assert strategy.grouping.memory["groups"] == [0, 0, 0]
    assert strategy.adapters.n_terms == 1


def test_independent_adapters_open_the_second_group_first_and_then_join(benchmark):
    strategy = trained(benchmark, n_tasks=4)
    groups = strategy.grouping.memory["groups"]
    assert groups[:2] == [0, 1] and set(groups) == {0, 1}
    for t, alike in enumerate(strategy.grouping.memory["similarities"]):
        assert len(alike) == min(t, 2) and all(abs(value) < 0.5 for value in alike)
        if t >= 2:
            assert groups[t] == alike.index(max(alike))


def test_the_factor_space_merge_is_peft_s_linear(benchmark):
    apart = {"keep": 1.0, "max_groups": 9, "similarity_threshold": 2.0}
    strategy = trained(benchmark, space="factors", **apart)
    alphas = strategy.adapters.scales.tolist()
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["qkv"])
    model = peft.get_peft_model(create_model("tiny", n_classes=10).encoder.vit, config, "t0")
    for name in ("t1", "t2"):
        model.add_adapter(name, config)
    for t, update in enumerate(strategy.grouping.memory["adapters"]):
        for name, change in update.items():
            layer = model.get_submodule(f"base_model.model.{name}")
            layer.lora_A[f"t{t}"].weight.data = change.a.clone()
            layer.lora_B[f"t{t}"].weight.data = change.b.clone()
    model.base_model.add_weighted_adapter(["t0", "t1", "t2"], alphas, "merged", "linear")
    delta = trained(benchmark, **apart).inference_update()
    for name, change in strategy.inference_update().items():
        layer = model.get_submodule(f"base_model.model.{name}")
        a, b = layer.lora_A["merged"].weight, layer.lora_B["merged"].weight
        torch.testing.assert_close(change.dense(), (b @ a).detach(), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(change.dense(), delta[name], atol=1e-4)  # cross terms


def test_merging_scales_each_group_by_its_alpha(benchmark):
    strategy = trained(benchmark, max_groups=2, similarity_threshold=2.0)
    alphas, terms = strategy.adapters.scales.tolist(), [strategy.adapters.term(j) for j in (0, 1)]
    assert alphas[0] != alphas[1] and 1.0 not in alphas
    for name, change in strategy.inference_update().items():
        expected = alphas[0] * terms[0][name] + alphas[1] * terms[1][name]
        torch.testing.assert_close(change, expected)
    strategy.weights_rule = "mean"
    for name, change in strategy.inference_update().items():
        expected = (alphas[0] * terms[0][name] + alphas[1] * terms[1][name]) / 2
        torch.testing.assert_close(change, expected)


@pytest.mark.parametrize("rule", [Ties(0.5), MagMax()], ids=str)
def test_another_merge_rule_is_used_at_evaluation_only(benchmark, rule):
    linear, other = trained(benchmark), trained(benchmark, merge_rule=rule)
    x, y = state_of(linear.model), state_of(other.model)
    assert all(torch.equal(x[name], y[name]) for name in x)
    assert not torch.equal(logits(linear), logits(other))


def test_nothing_is_merged_before_the_first_task():
    assert ham().inference_update() is None


def test_the_description_tells_groups_similarities_and_alphas_of_every_task(benchmark):
    described = trained(benchmark).describe()
    assert [len(described[key]) for key in ("members", "similarities", "alphas")] == [
        3,
        3,
        3,
    ]
    assert described["group_alphas"] == pytest.approx(trained(benchmark).adapters.scales.tolist())
    for t, log in enumerate(described["alphas"]):
        assert log["start"][-1] == 1.0 and log["end"] != log["start"]
        assert len(log["end"]) == min(t, 2) + 1


@pytest.mark.parametrize("slots", [None, ("q", "v")])
def test_a_saved_state_brings_the_same_predictions_and_the_same_future(benchmark, tmp_path, slots):
    strategy = trained(benchmark, n_tasks=2, slots=slots)
    save_tree(tmp_path, strategy.state_tree())
    fresh = ham(slots=slots)
    fresh.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(fresh), logits(strategy))
    for one in (strategy, fresh):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert torch.equal(logits(fresh), logits(strategy))
    assert fresh.describe() == strategy.describe()


def test_the_frozen_backbone_is_no_part_of_what_is_stored(benchmark):
    strategy = trained(benchmark, n_tasks=1)
    assert not any(name.startswith("encoder.") for name in strategy.state_tree()["model"])
    rows = 2 * 48 + 2
    alphas_and_rows = 1 + rows
    stored = count_stored(strategy.state_tree())
    assert stored <= 0.6 * PER_ADAPTER + 6 + alphas_and_rows


def test_it_beats_chance_on_all_tasks(benchmark):
    from avalanche_ham.evaluation.accuracy import accuracy_row

    strategy = trained(benchmark, n_tasks=5, steps=12, lr=3e-3)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream))
    assert sum(row.accuracy) / 5 > 0.2 and sum(row.task_known) / 5 > 0.8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"rank": 0},
            OptionError,
            "rank must be between 1 and 48, the layer's size, but got 0",
        ),
        ({"rank": 100}, OptionError, "rank must be between 1 and 48"),
        ({"keep": 0.0}, OptionError, "keep must be above 0 and at most 1"),
        ({"max_groups": 0}, OptionError, "max_groups must be at least 1"),
        ({"similarity_threshold": -2.0}, OptionError, "threshold must be at least -1"),
        ({"space": "factor"}, UnknownNameError, "did you mean 'factors'"),
        ({"weights_rule": "ones"}, UnknownNameError, "did you mean 'one'"),
        ({"targets": ("attn.kqv",)}, NoMatchError, "'attn.kqv'"),
        ({"slots": ("w",)}, OptionError, "slots must be some of q, k, v"),
        ({"alpha_lr": -0.1}, OptionError, "alpha_lr must be at least 0"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_training(options, error, message):
    with pytest.raises(error, match=message):
        ham(**options)


@pytest.mark.parametrize("majority", ["total", "frequency"])
def test_ties_lets_the_scaled_groups_vote(benchmark, majority):
    """Eq. 7 merges alpha_j dW_j: a large group with a small alpha has little to say."""
    rule = Ties(1.0, majority=majority)
    strategy = trained(benchmark, max_groups=2, similarity_threshold=2.0, merge_rule=rule)
    with torch.no_grad():
        strategy.adapters.scales.copy_(torch.tensor([3.0, -0.1]))
    for name, change in strategy.inference_update().items():
        scaled = [alpha * strategy.adapters.term(j)[name] for j, alpha in enumerate([3.0, -0.1])]
        torch.testing.assert_close(change, slow_ties(scaled, majority), atol=1e-7, rtol=1e-5)


def slow_ties(parts, majority):
    """Entry by entry: elect a sign, average what agrees with it."""
    result = torch.zeros_like(parts[0])
    for place in range(result.numel()):
        values = [float(part.flatten()[place]) for part in parts]
        votes = values if majority == "total" else [(v > 0) - (v < 0) for v in values]
        sign = 1 if sum(votes) >= 0 else -1
        agree = [v for v in values if v * sign > 0]
        result.view(-1)[place] = sum(agree) / len(agree) if agree else 0.0
    return result


def test_with_slots_each_factor_keeps_its_own_fraction(benchmark):
    strategy = trained(benchmark, n_tasks=2, rank=3, slots=("q", "v"), keep=0.6)
    for update in strategy.grouping.memory["adapters"]:
        for a, b in update.values():
            for slot, rows in ((0, slice(0, 48)), (1, slice(96, 144))):
                columns = slice(3 * slot, 3 * slot + 3)
                assert int(b[rows, columns].count_nonzero()) == 86  # of 48 * 3
                assert int(a[columns].count_nonzero()) == 86
            assert not b[48:96].any()


@pytest.mark.parametrize("space, kept", [("factors", 4 * 28), ("delta", 2 * 460)])
def test_with_slots_ties_trims_each_slot_s_own_matrix(benchmark, space, kept):
    strategy = make("ties", {"rank": 3, "slots": ("q", "v"), "space": space})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    for change in strategy.inference_update().values():
        tensors = change if space == "factors" else [change]
        assert sum(int(t.count_nonzero()) for t in tensors) == kept  # a fifth of 48 * 3 or 48 * 48


@pytest.mark.parametrize("space, kept", [("factors", 4 * 28), ("delta", 2 * 460)])
def test_with_slots_a_rule_that_merges_groups_trims_each_slot_s_own_matrix(benchmark, space, kept):
    options = {"rank": 3, "slots": ("q", "v"), "keep": 1.0, "merge_rule": Ties(0.2)}
    strategy = trained(benchmark, n_tasks=1, space=space, **options)
    for change in strategy.inference_update().values():
        tensors = change if space == "factors" else [change]
        assert sum(int(t.count_nonzero()) for t in tensors) == kept
