"""L2P, DualPrompt and CODA-Prompt as strategies: learning, growth, state, both benchmark APIs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.training.plugins import SupervisedPlugin
from torch.utils.data import TensorDataset

from avalanche_ham import create_model
from avalanche_ham.backbones import create_backbone
from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.strategies.prompts.coda_prompt import CodaPromptStrategy
from avalanche_ham.strategies.prompts.dual_prompt import DualPromptStrategy
from avalanche_ham.strategies.prompts.l2p import L2PStrategy

STRATEGIES = {
    "l2p": (L2PStrategy, {}),
    "dual_prompt": (DualPromptStrategy, {}),
    "coda_prompt": (CodaPromptStrategy, {"components": 1}),
}
PER_TASK = {  # prompt entries that a task adds on the tiny ViT: width 48, 3 blocks, 3 heads
    "l2p": 0,
    "dual_prompt": 1 * 2 * 5 * 48 + 48,  # one block is left for experts, and a key
    "coda_prompt": 3 * (8 * 48 + 48 + 48),  # blocks x (P, K, A)
}
TRAINED = {  # prompt entries that train on each task
    "l2p": 10 * 10 * 48 + 10 * 48,
    "dual_prompt": PER_TASK["dual_prompt"] + 2 * 2 * 5 * 48,  # and the general prefix
    "coda_prompt": PER_TASK["coda_prompt"],
}


class AfterUpdate(SupervisedPlugin, supports_distributed=True):
    """Calls a function with the strategy after each optimiser step."""

    def __init__(self, look) -> None:
        super().__init__()
        self.look = look

    def after_update(self, strategy, **kwargs) -> None:
        self.look(strategy)


each_method = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture
def make(tiny_model):
    """A factory of quiet strategies by name."""

    def make_strategy(name: str, *, n_classes: int = 10, **options):
        cls, own = STRATEGIES[name]
        given = {"evaluator": None, "steps": 2, "train_mb_size": 8, **own, **options}
        return cls(model=tiny_model(n_classes), **given)

    return make_strategy


def lively_model():
    """A tiny ViT whose tokens tell images apart: timm's start leaves the blocks near zero."""
    vit = create_backbone("tiny")
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter *= 5 if parameter.ndim > 1 else 1
    return create_model(vit, n_classes=10)


def prompt_entries(strategy) -> int:
    tree = strategy.state_tree()["model"]
    return sum(t.numel() for n, t in tree.items() if n.startswith("encoder.prompts."))


def logits(strategy, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (8, 3, 8, 8), generator=generator, dtype=torch.uint8)
    strategy.model.eval()
    with torch.no_grad():
        return strategy.model(images)


@each_method
def test_two_experiences_beat_chance(name, benchmark):
    cls, own = STRATEGIES[name]
    strategy = cls(model=lively_model(), evaluator=None, lr=1e-2, steps=30, **own)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.7  # of four classes


@each_method
def test_bf16_trains_as_fp32_does(name, make, benchmark):
    exact, rounded = (make(name, precision=precision) for precision in ("fp32", "bf16"))
    for strategy in (exact, rounded):
        strategy.train(benchmark.train_stream[0])
    seen = exact.model.head.classes
    torch.testing.assert_close(
        logits(rounded)[:, seen], logits(exact)[:, seen], atol=0.05, rtol=0.05
    )


@each_method
def test_only_prompts_and_newest_rows_train(name, make, benchmark):
    strategy = make(name, weight_decay=0.1, lr=1e-2)
    vit = {n: t.clone() for n, t in strategy.model.encoder.vit.state_dict().items()}
    strategy.train(benchmark.train_stream[0])
    rows = strategy.model.head.weights[0].clone()
    before = strategy.state_tree()["model"]
    before = {n: t.clone() for n, t in before.items()}
    strategy.train(benchmark.train_stream[1])
    assert strategy.n_trainable == TRAINED[name] + 2 * 48 + 2
    assert torch.equal(strategy.model.head.weights[0], rows)
    for n, tensor in strategy.model.encoder.vit.state_dict().items():
        assert torch.equal(tensor, vit[n])
    for slices in ("experts", "keys", "attention", "prompts"):
        slices = f"encoder.prompts.{slices}"
        if slices + ".old" in before:  # what the first task learned is now a constant
            after = strategy.state_tree()["model"][slices + ".old"]
            assert torch.equal(after, before[slices + ".new"])


@each_method
def test_every_trainable_gets_a_gradient(name, make, benchmark):
    strategy = make(name)
    strategy.train(benchmark.train_stream[1])
    trained = [p for p in strategy.model.parameters() if p.requires_grad]
    assert len(trained) == {"l2p": 2, "dual_prompt": 3, "coda_prompt": 3}[name] + 2
    assert all(p.grad.abs().sum() > 0 for p in trained)


@each_method
def test_reload_gives_the_same_predictions_and_goes_on_alike(name, make, benchmark, tmp_path):
    strategy = make(name, seed=4)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    save_tree(tmp_path, strategy.state_tree())
    again = make(name, seed=4)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2])
    assert torch.equal(logits(again), logits(strategy))


@each_method
def test_evaluation_changes_nothing(name, make, benchmark):
    strategy = make(name)
    strategy.train(benchmark.train_stream[0])
    before, state = logits(strategy), torch.get_rng_state()
    strategy.eval(benchmark.test_stream[:2])
    assert torch.equal(logits(strategy), before)
    assert torch.equal(torch.get_rng_state(), state)


@each_method
def test_the_classic_benchmark_with_triples(name, make):
    images, targets = torch.rand(24, 3, 16, 16), torch.arange(4).repeat(6)
    data = TensorDataset(images, targets)
    data.targets = targets.tolist()
    classic = nc_benchmark(data, data, n_experiences=2, task_labels=False, seed=1)
    assert len(classic.train_stream[0].dataset[0]) == 3
    strategy = make(name, n_classes=4)
    for experience in classic.train_stream:
        strategy.train(experience)
        strategy.eval(classic.test_stream)
    assert (logits(strategy) > -1e3).all()  # every class was seen


@pytest.mark.slow
@each_method
def test_many_tasks(name, make, long_benchmark):
    strategy = make(name, n_classes=long_benchmark.n_classes, steps=1, train_mb_size=4)
    sizes = [prompt_entries(strategy)]
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        sizes.append(prompt_entries(strategy))
    assert {b - a for a, b in itertools.pairwise(sizes)} == {PER_TASK[name]}
    assert strategy.n_trainable == TRAINED[name] + 2 * 48 + 2
    row = accuracy_row(strategy, long_benchmark.test_stream)
    assert len(row.accuracy) == len(long_benchmark.train_stream)
    assert logits(strategy).isfinite().all()


@each_method
def test_defaults_and_ranges(name, make):
    strategy = make(name)
    assert strategy.scoped_loss.scope == "current"
    with pytest.raises(HamError, match="PromptEncoder"):
        type(strategy)(model=strategy.model)


def test_wrong_options_are_errors(make):
    with pytest.raises(OptionError, match="clip_norm must be above 0, but got 0"):
        make("l2p", clip_norm=0)
    with pytest.raises(OptionError, match="prompt_length must be an even number"):
        make("coda_prompt", prompt_length=3)
    with pytest.raises(UnknownNameError, match="schedule must be one of constant, cosine, quarter"):
        make("coda_prompt", schedule="cosin")


@pytest.mark.parametrize("name", ["l2p", "dual_prompt"])
def test_gradients_are_clipped(name, make, benchmark):
    norms = []

    def measure(strategy):
        gradients = [p.grad for g in strategy.optimizer.param_groups for p in g["params"]]
        norms.append(torch.cat([g.flatten() for g in gradients]).norm())

    strategy = make(name, clip_norm=1e-3, plugins=[AfterUpdate(measure)])
    strategy.train(benchmark.train_stream[0])
    assert len(norms) == 2
    assert max(norms) < 1.01e-3


def rates_of(strategy, experience):
    """The rate of the adapters at each step."""
    rates = []
    strategy.plugins.append(AfterUpdate(lambda s: rates.append(s.optimizer.param_groups[0]["lr"])))
    strategy.train(experience)
    return rates


def test_codas_rate_falls_along_a_quarter_of_a_cosine_step_by_step(make, benchmark):
    strategy = make("coda_prompt", steps=4, lr=0.1)
    expected = [0.1 * math.cos(99 * math.pi / 200 * s / 4) for s in range(4)]
    assert rates_of(strategy, benchmark.train_stream[0]) == pytest.approx(expected)


def test_codas_rate_falls_epoch_by_epoch_where_the_budget_is_in_epochs(make, benchmark):
    strategy = make("coda_prompt", steps=None, train_epochs=3, train_mb_size=16, lr=0.1)
    experience = benchmark.train_stream[0]
    per_epoch = -(-len(experience.dataset) // 16)
    assert per_epoch > 1
    expected = [0.1 * math.cos(99 * math.pi * e / (200 * 2)) for e in range(3)]
    assert rates_of(strategy, experience) == pytest.approx(
        [rate for rate in expected for _ in range(per_epoch)]
    )
