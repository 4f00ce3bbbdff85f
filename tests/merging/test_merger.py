"""Sec. 3.3, Eq. 7: merging whole updates, in delta space and in factor space."""

import math

import pytest
import reference
import torch
from reference import merge_with_peft, product, random_update, slot_of, wide_change

from avalanche_ham.adapters.low_rank import LowRank
from avalanche_ham.errors import NoMatchError, OptionError, UnknownNameError
from avalanche_ham.merging import (
    Dare,
    Linear,
    MagMax,
    Ties,
    UpdateMerger,
    merge,
)

RULES = [Linear(), Ties(0.5), Dare(0.5), Dare(0.5, then=Ties(1.0)), MagMax()]


def assert_same(found, expected):
    assert list(found) == list(expected)
    for layer in found:
        assert type(found[layer]) is type(expected[layer])
        torch.testing.assert_close(found[layer], expected[layer])


def padded(tensor, rows, columns):
    out = torch.zeros(rows, columns, dtype=tensor.dtype)
    out[: tensor.shape[0], : tensor.shape[1]] = tensor
    return out


@pytest.mark.parametrize(
    "rule, oracle",
    [
        (Linear(), reference.linear),
        (Ties(0.5), lambda tensors, weights: reference.ties(tensors, weights, 0.5)),
        (MagMax(), reference.magmax),
    ],
)
def test_delta_space_merges_the_products_whatever_their_ranks(rule, oracle):
    updates = [random_update(seed, rank) for seed, rank in enumerate((4, 1, 7))]
    weights = [0.7, -1.2, 2.0]
    merged = merge(updates, rule, weights=weights)
    for layer in ("first", "second"):
        deltas = [torch.tensor(product(u[layer]), dtype=torch.float64) for u in updates]
        torch.testing.assert_close(merged[layer], oracle(deltas, weights))


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("weights", ["one", "mean", "mixed"])
@pytest.mark.parametrize(
    "rule, kind, options",
    [
        (Linear(), "linear", {}),
        (Ties(0.3), "ties", {"density": 0.3}),
        (
            Ties(0.6, "frequency"),
            "ties",
            {"density": 0.6, "majority_sign_method": "frequency"},
        ),
    ],
)
def test_factor_space_equals_peft(n, weights, rule, kind, options):
    updates = [random_update(seed, dtype=torch.float32) for seed in range(n)]
    given = {"one": [1.0] * n, "mean": [1 / n] * n}.get(weights, [1, -2, 0.3, 5, -1][:n])
    expected = merge_with_peft(updates, given, kind, **options)
    assert_same(merge(updates, rule, weights=given, space="factors"), expected)
    if weights == "mean":
        mean = merge(updates, rule, normalise="mean", space="factors")
        assert_same(mean, expected)


def test_one_adapter_is_trimmed_where_peft_falls_back_to_linear():
    updates = [random_update(0, dtype=torch.float32)]
    from_peft = merge_with_peft(updates, [1.0], "ties", density=0.3)
    assert_same(from_peft, merge(updates, Linear(), space="factors"))
    trimmed = merge(updates, Ties(0.3), space="factors")
    assert int((trimmed["first"].a != 0).sum()) == int(0.3 * updates[0]["first"].a.numel())


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("space", ["delta", "factors"])
@pytest.mark.parametrize("weights", ["one", "mean"])
def test_a_running_merge_equals_the_list_at_every_step(rule, space, weights):
    updates = [random_update(seed) for seed in range(4)]
    merger = UpdateMerger(rule, space=space)
    for n, update in enumerate(updates, start=1):
        merger.add(update)
        expected = merge(updates[:n], rule, normalise=weights, space=space)
        assert_same(merger.result(weights), expected)
        explicit = 1.0 if weights == "one" else 1 / n
        assert_same(merge(updates[:n], rule, weights=[explicit] * n, space=space), expected)


@pytest.mark.parametrize(
    "rule, oracle",
    [
        (Linear(), reference.linear),
        (Ties(0.4), lambda tensors, weights: reference.ties(tensors, weights, 0.4)),
        (MagMax(), reference.magmax),
    ],
)
@pytest.mark.parametrize("weights", ["one", "mean"])
def test_a_running_merge_is_right_at_every_step(rule, oracle, weights):
    updates, merger = [random_update(seed) for seed in range(4)], UpdateMerger(rule)
    for n, update in enumerate(updates, start=1):
        merger.add(update, 0.5 * n)
        merged = merger.result(weights)
        given = [0.5 * k / (n if weights == "mean" else 1) for k in range(1, n + 1)]
        for layer, found in merged.items():
            deltas = [torch.tensor(product(u[layer]), dtype=torch.float64) for u in updates[:n]]
            torch.testing.assert_close(found, oracle(deltas, given))


@pytest.mark.parametrize("rule", [Linear(), Ties(1.0), MagMax(), Dare(1.0)], ids=str)
def test_one_update_comes_out_as_it_went_in(rule):
    update = random_update(0)
    assert_same(merge([update], rule, space="factors"), update)
    dense = {layer: change.dense() for layer, change in update.items()}
    assert_same(merge([update], rule), dense)


def test_in_factor_space_a_negative_weight_negates_the_product():
    update = random_update(0)
    merged = merge([update], Linear(), weights=[-3.0], space="factors")
    for layer, change in merged.items():
        torch.testing.assert_close(change.dense(), -3 * update[layer].dense())
        torch.testing.assert_close(change.b, math.sqrt(3) * update[layer].b)


def test_factor_space_adds_cross_terms():
    x, y = (random_update(seed)["first"] for seed in (0, 1))
    merged = merge([{"first": x}, {"first": y}], Linear(), space="factors")["first"]
    expected = x.dense() + y.dense() + x.b @ y.a + y.b @ x.a
    torch.testing.assert_close(merged.dense(), expected)


@pytest.mark.parametrize("ranks", [(2, 5, 3), (5, 2, 3), (3, 2, 5)])
def test_in_factor_space_missing_ranks_count_as_zeros(ranks):
    updates = [random_update(seed, rank) for seed, rank in enumerate(ranks)]
    for rule in (Linear(), Ties(1.0), MagMax()):
        same_rank = [
            {
                layer: LowRank(
                    padded(change.a, 5, change.a.shape[1]),
                    padded(change.b, change.b.shape[0], 5),
                )
                for layer, change in update.items()
            }
            for update in updates
        ]
        expected = merge(same_rank, rule, space="factors")
        assert_same(merge(updates, rule, space="factors"), expected)


def test_each_of_unequal_ranks_is_trimmed_by_its_own_size():
    small, large = random_update(0, 2)["first"], random_update(1, 4)["first"]
    merged = merge([{"first": small}, {"first": large}], Ties(0.5), space="factors")
    trimmed = [reference.ties([change.a], [1], 0.5) for change in (small, large)]
    expected = reference.ties([padded(a, 4, 6) for a in trimmed], [1, 1], 1.0)
    torch.testing.assert_close(merged["first"].a, expected)


def test_a_layer_that_some_updates_lack_is_merged_from_the_others():
    x, y = random_update(0), random_update(1)
    del x["second"]
    merged = merge([x, y], Linear(), normalise="mean")
    torch.testing.assert_close(merged["second"], y["second"].dense() / 2)
    # the second update draws as the second, also where it comes first
    thinned = merge([x, y], Dare(0.5))["second"]
    both = merge([random_update(0), y], Dare(0.5))["second"]
    alone = merge([{"second": random_update(0)["second"]}], Dare(0.5))["second"]
    torch.testing.assert_close(thinned, both - alone)


def test_dense_and_low_rank_changes_mix_in_delta_space():
    x, y = random_update(0), random_update(1)
    dense = {layer: change.dense() for layer, change in y.items()}
    assert_same(merge([x, dense], Ties(0.5)), merge([x, y], Ties(0.5)))


def test_results_are_cut_from_the_graph():
    x = LowRank(torch.ones(1, 2, requires_grad=True), torch.ones(3, 1, requires_grad=True))
    assert not merge([{"first": x}], Linear())["first"].requires_grad
    assert not merge([{"first": x}], Linear(), space="factors")["first"].a.requires_grad


def test_nothing_to_merge_is_an_error():
    for updates in ([], [{}]):
        with pytest.raises(NoMatchError, match="nothing to merge"):
            merge(updates, Linear())


def test_options_are_checked():
    update = random_update(0)
    with pytest.raises(UnknownNameError, match="space .*did you mean 'factors'"):
        UpdateMerger(Linear(), space="factor")
    with pytest.raises(UnknownNameError, match="weights must be one of mean, one"):
        merge([update], Linear(), normalise="sum")
    with pytest.raises(OptionError, match="weights must be 1 numbers, but got 2"):
        merge([update], Linear(), weights=[1.0, 2.0])
    with pytest.raises(OptionError, match="'delta' as first is dense"):
        merge([{"first": torch.ones(2, 2)}], Linear(), space="factors")


@pytest.mark.parametrize("space", ["delta", "factors"])
def test_a_layer_cannot_change_its_shape_and_a_refused_update_leaves_no_trace(space):
    merger = UpdateMerger(Linear(), space=space)
    merger.add(random_update(0))
    before = merger.result("mean")
    bad = random_update(1)
    bad["second"] = LowRank(bad["second"].a[:, :1], bad["second"].b)
    with pytest.raises(OptionError, match=r"second must be of shape \(6, 10\)"):
        merger.add(bad)
    assert_same(merger.result("mean"), before)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("space", ["delta", "factors"])
def test_slots_merge_each_alone_also_of_unequal_ranks(rule, space):
    slots, ranks = ("q", "v"), (2, 1, 3)
    wide = [wide_change(12, 5, rank, slots, seed) for seed, rank in enumerate(ranks)]
    merged = merge([{"qkv": c} for c in wide], rule, space=space, slots=slots)["qkv"]
    for slot in slots:
        alone = [{f"qkv.{slot}": slot_of(change, slots, slot)} for change in wide]
        (expected,) = merge(alone, rule, space=space).values()
        if space == "delta":
            found = merged["qkv".index(slot) * 4 :][:4]
            torch.testing.assert_close(found, expected)
        else:
            assert_same({"x": slot_of(merged, slots, slot)}, {"x": expected})
    if space == "delta":
        assert not merged[4:8].any() and merged.shape == (12, 5)


def test_a_fraction_is_one_of_the_places_that_a_slot_has():
    change = {"qkv": wide_change(12, 5, 4, ("q", "v"), seed=0)}
    trimmed = merge([change], Ties(0.5), space="factors", slots=("q", "v"))["qkv"]
    assert int(trimmed.b.count_nonzero()) == 2 * int(0.5 * 4 * 4)
    delta = merge([change], Ties(0.5), slots=("q", "v"))["qkv"]
    assert int(delta.count_nonzero()) == 2 * int(0.5 * 4 * 5)


def test_what_does_not_fit_the_slots_is_refused_and_leaves_no_trace():
    merger = UpdateMerger(Linear(), slots=("q", "v"))
    wide = wide_change(12, 5, 2, ("q", "k"), seed=0)
    for bad in (wide, wide.dense(), LowRank(wide.a[:3], wide.b[:, :3])):
        with pytest.raises(OptionError, match="zero outside the blocks|a multiple of 2"):
            merger.add({"other": wide_change(9, 5, 2, ("q", "v"), seed=1), "qkv": bad})
    with pytest.raises(NoMatchError):
        merger.result()
    merger.add({"other": wide_change(12, 5, 2, ("q", "v"), seed=1)})
    assert merger.result().keys() == {"other"}
