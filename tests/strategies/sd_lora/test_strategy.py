"""SD-LoRA as a strategy: magnitudes, frozen directions, both forms, the variants, growth."""

from __future__ import annotations

import itertools

import pytest
import torch
from sampling import some_of
from streams import classic, logits, many_tasks

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.sd_lora.strategy import SDLoRAStrategy

WIDTH, LAYERS, RANK = 48, 3, 10  # of the tiny ViT and the default
FORMS = {
    "paper": {},
    "code": {"form": "code", "alpha": 0.8, "reset_alphas": True},
    "rr": {"variant": "rr"},
    "kd": {"variant": "kd"},
}
each_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture
def make(tiny_model):
    """A factory of quiet strategies by form."""

    def make_strategy(form: str = "paper", *, n_classes: int = 10, **options):
        given = {"evaluator": None, "steps": 2, "train_mb_size": 8, **FORMS[form]}
        return SDLoRAStrategy(model=tiny_model(n_classes), **{**given, **options})

    return make_strategy


@pytest.mark.parametrize("form", some_of(FORMS, "paper"))
def test_training_teaches_each_task(form, make, benchmark):
    """Told the task, from no better than a coin to far better: on random features that is much."""
    train, test = list(benchmark.train_stream[:2]), list(benchmark.test_stream[:2])

    def accuracy(lr: float) -> list[float]:
        strategy = make(form, lr=lr, steps=40, train_mb_size=24)
        for experience in train:
            strategy.train(experience)
        with strategy.evaluation_weights():
            return accuracy_row(strategy, test).task_known

    untrained, trained = accuracy(1e-12), accuracy(5e-3)
    assert sum(trained) > 2 * 0.85 and sum(trained) > sum(untrained) + 0.5


@each_form
def test_all_magnitudes_train_and_old_directions_do_not(form, make, benchmark):
    strategy = make(form, lr=1e-2, weight_decay=0.1)
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    starts = {}

    class Look:
        def before_training_exp(self, strategy, **kwargs):
            starts["scales"] = strategy.adapters.scales.detach().clone()
            starts["terms"] = [strategy.adapters.term(j) for j in range(3)]

    strategy.plugins.append(Look())
    strategy.train(benchmark.train_stream[3])
    assert len(starts["scales"]) == 4
    assert (strategy.adapters.scales != starts["scales"]).all()
    for j, term in enumerate(starts["terms"]):
        for name, change in strategy.adapters.term(j).items():
            assert torch.equal(change.a, term[name].a)
            assert torch.equal(change.b, term[name].b)
    per_task = LAYERS * 4 * WIDTH * strategy.memory["ranks"][-1]  # A and B of q and v
    assert strategy.n_trainable == per_task + 4 + 2 * WIDTH + 2


@pytest.mark.parametrize("form", ["paper", "code"])
def test_the_forward_is_the_sum_of_scaled_directions(form, make, benchmark):
    strategy, trained = make(form, lr=1e-2), []
    strategy.probe = lambda current: trained.append(current.adapters.current())
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    alphas = strategy.adapters.scales.tolist()
    for name, change in strategy.inference_update().items():
        expected = alphas[2] * trained[2][name].b @ trained[2][name].a
        for alpha, update in zip(alphas, trained[:2], strict=False):
            a, b = update[name]
            for slot, rows in ((0, slice(0, WIDTH)), (1, slice(2 * WIDTH, None))):
                mine = slice(slot * RANK, (slot + 1) * RANK)
                product = b[rows, mine] @ a[mine]
                norm = product.norm()
                if form == "code":
                    norm = b[rows, mine].norm() * a[mine].norm()
                expected[rows] += alpha * product / norm
        torch.testing.assert_close(change, expected, atol=1e-6, rtol=1e-4)
        assert (change[WIDTH : 2 * WIDTH].abs() < 1e-6).all()  # keys are not adapted


def test_magnitudes_go_on_and_the_newest_takes_over_its_branch(make, benchmark):
    strategy, trained = make(lr=1e-2), []
    strategy.probe = lambda current: trained.append(current.adapters.current())
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    old, latest = strategy.adapters.scales.tolist()
    strategy.begin_task(benchmark.train_stream[2])
    kept, taken, fresh = strategy.adapters.scales.tolist()
    norms = []
    for change in trained[1].values():
        product = (change.b @ change.a).split(WIDTH)
        norms += [float(product[0].norm()), float(product[2].norm())]
    assert (kept, fresh) == (old, 1.0)
    assert taken == pytest.approx(latest * sum(norms) / len(norms), rel=1e-5)


def test_the_released_form_resets_all_magnitudes(make, benchmark):
    strategy = make("code", lr=1e-2)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    assert not (strategy.adapters.scales == 0.8).any()
    strategy.begin_task(benchmark.train_stream[2])
    assert strategy.adapters.scales.tolist() == pytest.approx([0.8, 0.8, 0.8])


def test_ranks_shrink_in_the_variant_rr(make):
    strategy = make("rr", n_classes=20, steps=1, train_mb_size=4)
    for experience in many_tasks(10).train_stream:
        strategy.train(experience)
    assert strategy.describe()["ranks"] == [10] * 4 + [8] * 4 + [6] * 2


def test_kd_drops_what_old_directions_explain(make, benchmark):
    strategy = make("kd", lr=1e-2, tolerance=float("inf"))
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    before = strategy.adapters.scales.tolist()
    strategy.begin_task(benchmark.train_stream[2])  # the second direction is dropped
    assert strategy.adapters.n_terms == len(strategy.memory["directions"]) == 1
    assert len(strategy.describe()["residuals"]) == 1
    assert strategy.adapters.scales[0] != before[0]
    exact = make("kd", lr=1e-2, tolerance=0.0)
    for experience in benchmark.train_stream[:3]:
        exact.train(experience)
    assert exact.adapters.n_terms == 2


@each_form
def test_reload_gives_the_same_predictions_and_goes_on_alike(form, make, benchmark, tmp_path):
    strategy = make(form, seed=4)
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    save_tree(tmp_path, strategy.state_tree())
    again = make(form, seed=4)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[3])
    assert torch.equal(logits(again), logits(strategy))
    assert again.describe() == strategy.describe()


def test_the_classic_benchmark_with_triples(make):
    data = classic()
    strategy = make(n_classes=4, precision="bf16")
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).all()  # every class was seen


@pytest.mark.parametrize("form", ["paper", "kd"])
def test_many_tasks_grow_linearly(form, make, long_benchmark):
    strategy = make(form, n_classes=long_benchmark.n_classes, steps=1, train_mb_size=4)
    sizes = []
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        memory = {k: v for k, v in strategy.memory.items() if k != "gram"}
        sizes.append(count_stored(memory))
    steps = {b - a for a, b in itertools.pairwise(sizes[10:])}
    rank = strategy.memory["ranks"][-1]
    assert steps == {LAYERS * 4 * WIDTH * rank}
    assert strategy.adapters.n_terms == len(long_benchmark.train_stream) - 1
    assert logits(strategy).isfinite().all()


def test_wrong_options_are_errors(tiny_model):
    def refuse(error, match, **options):
        with pytest.raises(error, match=match):
            SDLoRAStrategy(model=tiny_model(), **options)

    refuse(UnknownNameError, "form must be one of code, paper", form="papr")
    refuse(UnknownNameError, "variant must be one of kd, rr", variant="dk")
    refuse(OptionError, "reset_alphas must be False", variant="kd", reset_alphas=True)
    refuse(OptionError, "rank must be between 1 and 48", rank=0)
