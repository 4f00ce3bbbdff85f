"""Damped merging in HAM and in linear merging: trained whole, merged scaled, the first whole."""

from __future__ import annotations

import pytest
import torch
from streams import logits
from toys import Watch, ham, make, silent, state_of

from avalanche_ham.cli.main import main
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.evaluation.hierarchy import hierarchy
from avalanche_ham.grouping.consolidation import prune_update
from avalanche_ham.merging import damped_weight
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.strategies.merged_adapters import MergedAdaptersStrategy

DAMPINGS = (0.3, "sqrt", "inverse")


def trained(benchmark, n_tasks: int = 3, **options):
    """A quick HAM and the losses of all its steps."""
    losses: list[float] = []
    watch = Watch(after_backward=lambda strategy: losses.append(float(strategy.loss.detach())))
    strategy = ham(plugins=[watch], **options)
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy, losses


def test_a_damping_of_1_is_the_papers_ham_to_the_bit(benchmark):
    (one, losses), (plain, expected) = trained(benchmark, damping=1), trained(benchmark)
    assert losses == expected
    x, y = state_of(one.model), state_of(plain.model)
    assert x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
    assert torch.equal(logits(one), logits(plain))
    kept, _ = trained(benchmark, damping=1, keep_unpruned=True)
    memory = kept.grouping.memory
    for entry, joined in zip(memory["unpruned"], memory["adapters"], strict=True):
        for name, change in prune_update(entry["update"], 0.6).items():
            assert all(torch.equal(s, t) for s, t in zip(change, joined[name], strict=True))


@pytest.mark.parametrize("damping", DAMPINGS)
def test_the_first_two_tasks_train_as_undamped_and_the_first_is_merged_whole(benchmark, damping):
    (damped, losses), (plain, expected) = trained(benchmark, damping=damping), trained(benchmark)
    assert losses[:8] == expected[:8] and losses[8:] != expected[8:]
    first, second = (
        [strategy.grouping.memory["adapters"][t] for strategy in (damped, plain)] for t in (0, 1)
    )
    for name in damped.adapters.layers:
        assert all(torch.equal(s, t) for s, t in zip(first[0][name], first[1][name], strict=True))
        assert torch.equal(second[0][name].a, second[1][name].a)
        expected_b = damped_weight(damping, 2) * second[1][name].b
        assert expected_b.any() and torch.equal(second[0][name].b, expected_b)


@pytest.mark.parametrize("within", ["concatenate", "linear"])
@pytest.mark.parametrize("slots", [None, ("q", "v")])
def test_a_group_is_a_loop_over_pruned_members_times_their_weights(benchmark, within, slots):
    options = {"within": within, "slots": slots, "max_groups": 2, "similarity_threshold": 2.0}
    strategy, _ = trained(benchmark, 4, damping="sqrt", keep_unpruned=True, **options)
    memory, weights = strategy.grouping.memory, (1.0, 2**-0.5, 3**-0.5, 0.5)
    assert sorted(set(memory["groups"])) == [0, 1]
    for group in (0, 1):
        mine = [t for t in range(4) if memory["groups"][t] == group]
        members = [prune_update(memory["unpruned"][t]["update"], 0.6, slots) for t in mine]
        for name, change in strategy.adapters.term(group).items():
            a = [member[name].a for member in members]
            b = [weights[t] * member[name].b for t, member in zip(mine, members, strict=True)]
            if within == "concatenate":
                expected = sum(y @ x for x, y in zip(a, b, strict=True))
            else:
                expected = sum(b) / len(mine) @ sum(a)
            torch.testing.assert_close(change, expected)


def test_alphas_are_trained_and_averaged_as_ever(benchmark):
    strategy, _ = trained(benchmark, 2, damping=0.3, similarity_threshold=-1.0, alpha_lr=0.1)
    before, after = (log["end"] for log in strategy.balancing.memory["alphas"])
    assert len(before) == 1 and len(after) == 2
    assert strategy.adapters.scales.tolist() == pytest.approx([sum(after) / 2])


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("make_it", [ham, lambda **options: make("linear", options)])
def test_a_saved_state_brings_the_same_predictions_and_future(
    benchmark, tmp_path, make_it, damping
):
    strategies = [make_it(damping=damping) for _ in range(2)]
    whole, resumed = strategies
    for experience in benchmark.train_stream[:2]:
        whole.train(experience, eval_streams=[])
    save_tree(tmp_path, whole.state_tree())
    resumed.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(resumed), logits(whole))
    for strategy in strategies:
        strategy.train(benchmark.train_stream[2], eval_streams=[])
    assert torch.equal(logits(resumed), logits(whole))


@pytest.mark.parametrize("space", ["delta", "factors"])
@pytest.mark.parametrize("rule", ["one", "mean"])
def test_linear_merging_weighs_each_adapter(benchmark, tiny_model, space, rule):
    def trained_alone(**options):
        strategy = MergedAdaptersStrategy(
            model=tiny_model(), rank=2, lr=1e-2, steps=3, evaluator=silent(), space=space,
            weights_rule=rule, **options,
        )  # fmt: skip
        for experience in benchmark.train_stream[:3]:
            strategy.train(experience, eval_streams=[])
        return strategy

    strategy, plain = trained_alone(damping="inverse"), trained_alone()
    updates = list(plain.memory["adapters"])
    share = 1.0 if rule == "one" else 1 / 3
    for name, change in strategy.inference_update().items():
        weights = [share * w for w in (1.0, 1 / 2, 1 / 3)]
        pairs = [(w, update[name]) for w, update in zip(weights, updates, strict=True)]
        if space == "delta":
            expected = sum(w * (c.b @ c.a) for w, c in pairs)
            torch.testing.assert_close(change, expected)
        else:
            a = sum(w**0.5 * c.a for w, c in pairs)
            torch.testing.assert_close(change.dense(), sum(w**0.5 * c.b for w, c in pairs) @ a)


def test_a_tasks_own_pruned_adapter_is_judged_whole(benchmark):
    options = {"keep": 1.0, "keep_unpruned": True, "damping": 0.01}
    strategy, _ = trained(benchmark, **options)
    found = hierarchy(strategy, list(benchmark.test_stream[:3]))
    assert found["individual"] == found["pruned"]
    with strategy.evaluation_weights():
        assert found["merged"] == accuracy_row(strategy, benchmark.test_stream[:3]).accuracy


def test_a_damping_that_is_none_is_refused_before_anything_is_built(capsys):
    for wrong, message in ((0.0, OptionError), ("squirt", UnknownNameError)):
        with pytest.raises(message, match="damping"):
            ham(damping=wrong)
        with pytest.raises(message, match="damping"):
            make("linear", {"damping": wrong})
    words = ["run", "--method", "ham", "--benchmark", "digits", "--damping"]
    for word, message in (("2", "at most 1"), ("squirt", "did you mean 'sqrt'")):
        assert main([*words, word]) == 2
        assert message in capsys.readouterr().err
