"""The plugin of Sec. 3.2.2 on a stream of adapters made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import cosine, keep_top, product, slot_of, wide_change
from reference_adapters import TwoLinears, random_update

from avalanche_ham import AdapterGroupingPlugin, AdapterSet
from avalanche_ham.adapters import LowRank, low_rank_branches
from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.merging import Ties, merge


def grouping(**options) -> AdapterGroupingPlugin:
    torch.manual_seed(0)
    network = TwoLinears().double()
    return AdapterGroupingPlugin(AdapterSet(network, ("first", "second")), **options)


def train_by_hand(plugin: AdapterGroupingPlugin, update, scales) -> int:
    """Pretend to train: open an adapter, set its factors and all scalars, consolidate."""
    adapters = plugin.adapters
    adapters.open(low_rank_branches(update["first"].rank))
    with torch.no_grad():
        for name, layer in adapters.layers.items():
            layer.branch.a.copy_(update[name].a)
            layer.branch.b[0].copy_(update[name].b)
        adapters.scales.copy_(torch.tensor(scales, dtype=torch.float64))
    return plugin.consolidate()


def pruned_by_hand(change: LowRank, keep: float) -> LowRank:
    def prune(matrix):
        values = matrix.flatten().tolist()
        kept = keep_top(values, round(keep * len(values)))
        return torch.tensor(kept, dtype=torch.float64).view_as(matrix)

    return LowRank(prune(change.a), prune(change.b))


def near(update, seed: int, noise: float = 0.05):
    """An update almost parallel to another."""
    other = random_update(2, seed)
    return {
        name: LowRank(c.a + noise * other[name].a, c.b + noise * other[name].b)
        for name, c in update.items()
    }


def test_four_adapters_are_grouped_pruned_summed_and_averaged_as_the_equations_say():
    plugin = grouping(threshold=0.5, max_groups=2, keep=0.5)
    x, y = random_update(2, seed=1), random_update(2, seed=2)
    updates = [x, y, near(x, seed=3), near(y, seed=4)]
    scales = [[0.9], [1.1, 0.5], [0.8, 0.6, 0.2], [0.7, 0.4, 0.3]]
    groups = [train_by_hand(plugin, u, s) for u, s in zip(updates, scales, strict=True)]
    assert groups == [0, 1, 0, 1] == plugin.memory["groups"]
    pruned = [{n: pruned_by_hand(c, 0.5) for n, c in u.items()} for u in updates]
    for group, members in ((0, (0, 2)), (1, (1, 3))):
        for name in ("first", "second"):
            expected = sum(
                torch.tensor(product(pruned[m][name]), dtype=torch.float64) for m in members
            )
            torch.testing.assert_close(plugin.adapters.term(group)[name], expected)
            torch.testing.assert_close(plugin.factors(group)[name].dense(), expected)
    # the last task left group 0 at 0.7 and joined group 1, then at 0.4, with 0.3
    assert plugin.memory["alphas"] == pytest.approx([0.7, (1 * 0.4 + 0.3) / 2])
    assert plugin.memory["similarities"][0] == []
    trained = product(updates[2]["second"])
    expected = [cosine(trained, product(pruned[j]["second"])) for j in (0, 1)]
    assert plugin.memory["similarities"][2] == pytest.approx(expected)


def test_a_member_s_scalar_enters_the_running_mean_of_the_retrained_group_scalar():
    plugin = grouping(threshold=-1.0, max_groups=2)
    x = random_update(2, seed=1)
    for scales in ([1.0], [0.7, 0.1], [0.5, 0.8]):
        train_by_hand(plugin, x, scales)
    after_two = (0.7 + 0.1) / 2
    assert plugin.memory["groups"] == [0, 0, 0] and after_two != 0.5
    assert plugin.adapters.scales.tolist() == pytest.approx([(2 * 0.5 + 0.8) / 3])


def test_similarity_is_measured_before_pruning_on_the_last_layer():
    plugin = grouping(threshold=2.0, max_groups=9, keep=0.2)
    x, y = random_update(2, seed=1), random_update(2, seed=2)
    train_by_hand(plugin, x, [1.0])
    train_by_hand(plugin, y, [1.0, 1.0])
    stored = pruned_by_hand(x["second"], 0.2)
    unpruned = cosine(product(y["second"]), product(stored))
    pruned = cosine(product(pruned_by_hand(y["second"], 0.2)), product(stored))
    assert plugin.memory["similarities"][1] == pytest.approx([unpruned])
    assert abs(unpruned - pruned) > 1e-3


def test_the_founder_of_a_group_is_pruned_too_and_adapters_are_stored_as_pruned():
    plugin = grouping(keep=0.5)
    x = random_update(2, seed=1)
    train_by_hand(plugin, x, [1.0])
    for name, change in plugin.memory["adapters"][0].items():
        expected = pruned_by_hand(x[name], 0.5)
        assert torch.equal(change.a, expected.a) and torch.equal(change.b, expected.b)


def test_unpruned_adapters_and_their_scalars_are_kept_if_asked():
    plugin = grouping(keep=0.5, keep_unpruned=True)
    updates = [random_update(2, seed=k) for k in (1, 2)]
    for update, scales in zip(updates, ([0.9], [1.0, 0.3]), strict=True):
        train_by_hand(plugin, update, scales)
    for stored, update, alpha in zip(plugin.memory["unpruned"], updates, (0.9, 0.3), strict=True):
        assert stored["alpha"] == pytest.approx(alpha)
        assert all(torch.equal(stored["update"][n].a, update[n].a) for n in update)
    assert "unpruned" not in grouping().memory


def test_another_assignment_rule_decides_if_given():
    plugin = grouping(assign=lambda similarities: 0 if len(similarities) else None)
    for seed, scales in ((1, [1.0]), (2, [1.0, 1.0]), (3, [1.0, 1.0])):
        train_by_hand(plugin, random_update(2, seed=seed), scales)
    assert plugin.memory["groups"] == [0, 0, 0]


@pytest.mark.parametrize("number", [torch.tensor, np.int64])
def test_a_group_chosen_as_any_kind_of_number_is_joined_stored_and_rebuilt(number):
    def trained(**options):
        plugin = grouping(max_groups=2, threshold=2.0, **options)
        for seed in range(4):
            train_by_hand(plugin, random_update(2, seed=seed), [1.0] * (min(seed, 2) + 1))
        return plugin

    plugin = trained(assign=lambda s: None if len(s) < 2 else number(1))
    plain = trained(assign=lambda s: None if len(s) < 2 else 1)
    assert plugin.memory["groups"] == [0, 1, 1, 1]
    assert all(type(group) is int for group in plugin.memory["groups"])
    terms = [[p.adapters.term(j)["first"] for j in range(2)] for p in (plugin, plain)]
    plugin.adapters.clear()
    plugin.rebuild()
    terms.append([plugin.adapters.term(j)["first"] for j in range(2)])
    assert all(torch.equal(x, y) for other in terms[1:] for x, y in zip(terms[0], other))


@pytest.mark.parametrize("choice", [7, -1, 1.0, "0", torch.tensor([0, 0]), np.float64(0), True])
def test_what_is_no_group_is_refused_in_one_line(choice):
    plugin = grouping(assign=lambda s: choice if len(s) else None)
    train_by_hand(plugin, random_update(2, seed=1), [1.0])
    with pytest.raises(OptionError, match="assign gives must be None for a new group, or the ind"):
        train_by_hand(plugin, random_update(2, seed=2), [1.0, 1.0])
    assert plugin.memory["groups"] == [0] and plugin.adapters.n_terms == 1


def test_the_first_adapter_has_no_group_to_join():
    plugin = grouping(assign=lambda s: 0)
    with pytest.raises(OptionError, match="must be None for a new group, but got 0"):
        train_by_hand(plugin, random_update(2, seed=1), [1.0])


def test_rebuilding_from_memory_gives_the_same_terms_bit_by_bit():
    plugin = grouping(threshold=0.2, max_groups=2)
    for seed, scales in (
        (1, [0.9]),
        (2, [1.1, 0.5]),
        (3, [0.8, 0.6, 0.2]),
        (4, [0.7, 0.4, 0.3]),
    ):
        train_by_hand(plugin, random_update(2, seed=seed), scales)
    fresh = grouping(threshold=0.2, max_groups=2)
    fresh.memory = plugin.memory
    fresh.rebuild()
    assert fresh.adapters.n_terms == plugin.adapters.n_terms
    assert torch.equal(fresh.adapters.scales, plugin.adapters.scales)
    for j in range(fresh.adapters.n_terms):
        for name in ("first", "second"):
            assert torch.equal(fresh.adapters.term(j)[name], plugin.adapters.term(j)[name])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": 0.0}, OptionError, "keep must be above 0 and at most 1, but got 0.0"),
        ({"keep": 1.1}, OptionError, "keep must be above 0"),
        ({"max_groups": 1.5}, OptionError, "max_groups must be a whole number, but got 1.5"),
        ({"max_groups": 0}, OptionError, "max_groups must be at least 1, but got 0"),
        ({"threshold": -1.5}, OptionError, "threshold must be at least -1"),
        ({"assign": "similarity"}, OptionError, "assign must be a function of the similarities"),
        ({"assign": 0}, OptionError, "assign must be a function of the similarities"),
        ({"assignment": "similarty"}, UnknownNameError, "did you mean 'similarity'"),
    ],
)
def test_options_outside_their_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        grouping(**options)


def test_with_slots_the_last_slot_s_rows_alone_are_compared():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 12)).double()
    slots = ("v", "q")
    plugin = AdapterGroupingPlugin(
        AdapterSet(network, ("0",)), threshold=2.0, max_groups=9, keep=1.0, slots=slots
    )
    x, y = (wide_change(12, 4, 2, slots, seed) for seed in (1, 2))
    plugin.adopt({"0": x}, alpha=1.0)
    plugin.adopt({"0": y}, alpha=1.0)
    of_v = [change._replace(b=change.b[8:]) for change in (y, x)]
    expected = cosine(*(product(c) for c in of_v))
    assert plugin.memory["similarities"][1] == pytest.approx([expected], abs=1e-6)


def test_members_that_change_only_some_layers_are_kept_whole_in_both_forms():
    plugin = grouping(threshold=-1.0, max_groups=1, keep=1.0)
    x, y = random_update(2, seed=1), random_update(1, seed=2)
    plugin.adopt({"second": x["second"]}, alpha=1.0)
    plugin.adopt(y, alpha=1.0)
    plugin.adopt({"second": x["second"]}, alpha=1.0)
    factors = plugin.factors(0)
    assert factors.keys() == {"first", "second"}
    for name, change in plugin.adapters.term(0).items():
        torch.testing.assert_close(factors[name].dense(), change)
    torch.testing.assert_close(factors["first"].dense(), y["first"].dense())


def test_a_dense_change_is_refused_before_anything_is_stored():
    plugin = grouping()
    update = {name: change.dense() for name, change in random_update(1, seed=1).items()}
    with pytest.raises(OptionError, match="the change of first must be low-rank"):
        plugin.adopt(update, alpha=1.0)
    assert plugin.adapters.n_terms == 0 and not plugin.memory["adapters"]


def slotted(slots, **options) -> AdapterGroupingPlugin:
    """A plugin on a fused qkv of 4 inputs."""
    network = torch.nn.Sequential(torch.nn.Linear(4, 12)).double()
    given = {"threshold": -1.0, "max_groups": 1, **options}
    return AdapterGroupingPlugin(AdapterSet(network, ("0",)), slots=slots, **given)


@pytest.mark.parametrize("slots", [("q", "v"), ("v", "q"), ("q", "k", "v"), ("k",)])
def test_each_slot_is_pruned_as_the_matrix_that_it_is(slots):
    plugin, change = slotted(slots, keep=0.6), wide_change(12, 4, 2, slots, seed=3)
    plugin.adopt({"0": change}, alpha=1.0)
    (stored,) = plugin.memory["adapters"]
    for slot in slots:
        for found, whole in zip(slot_of(stored["0"], slots, slot), slot_of(change, slots, slot)):
            count = round(0.6 * whole.numel())
            assert found.flatten().tolist() == keep_top(whole.flatten().tolist(), count)
    assert int(stored["0"].b.count_nonzero()) == len(slots) * 5  # of 4 * 2 a slot


def test_within_ties_trims_each_slot_alone_as_the_separate_matrices_would_be():
    slots, changes = ("q", "v"), [wide_change(12, 4, 3, ("q", "v"), seed) for seed in (1, 2, 3)]
    plugin = slotted(slots, keep=1.0, within="ties")
    for change in changes:
        plugin.adopt({"0": change}, alpha=1.0)
    merged, term = plugin.factors(0)["0"], torch.zeros(12, 4, dtype=torch.float64)
    for slot in slots:
        alone = [{"x": slot_of(change, slots, slot)} for change in changes]
        expected = merge(alone, Ties(), space="factors")["x"]
        top = 4 * "qkv".index(slot)
        term[top : top + 4] = expected.b @ expected.a
        for found, of_slot in zip(slot_of(merged, slots, slot), expected, strict=True):
            torch.testing.assert_close(found, of_slot)
    assert int(slot_of(merged, slots, "q").b.count_nonzero()) >= int(0.2 * 12)
    torch.testing.assert_close(plugin.adapters.term(0)["0"], term)


def test_concatenated_slots_keep_their_order_and_their_sum():
    slots, changes = ("v", "k"), [wide_change(12, 4, 2, ("v", "k"), seed) for seed in (1, 2)]
    plugin = slotted(slots, keep=1.0)
    for change in changes:
        plugin.adopt({"0": change}, alpha=1.0)
    whole = plugin.factors(0)["0"]
    torch.testing.assert_close(whole.dense(), sum(change.dense() for change in changes))
    for slot in slots:
        expected = torch.cat([slot_of(change, slots, slot).a for change in changes])
        assert torch.equal(slot_of(whole, slots, slot).a, expected)


def test_slots_that_differ_from_the_adapter_s_are_refused_before_it_is_closed():
    plugin = slotted(("q",))
    plugin.adapters.open(low_rank_branches(2, slots=("q", "v")))
    with pytest.raises(HamError, match=r"has \('q',\), the adapter \('q', 'v'\); give both"):
        plugin.consolidate()
    assert plugin.adapters.is_open
    plugin = slotted(("q", "v"))
    with pytest.raises(OptionError, match=r"zero outside the blocks of its slots \('q', 'v'\)"):
        plugin.adopt({"0": wide_change(12, 4, 2, ("q", "k"), seed=1)}, alpha=1.0)
    assert plugin.adapters.n_terms == 0 and not plugin.memory["adapters"]
