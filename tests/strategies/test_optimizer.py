"""The rates of all parameter groups at every step, against their closed form."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from avalanche.training.plugins import LRSchedulerPlugin, SupervisedPlugin
from avalanche.training.supervised import Naive
from torch.optim import lr_scheduler as schedulers
from toys import Watch, ham, make, silent

from avalanche_ham import AdapterGroupingPlugin, AlphaBalancingPlugin, create_model
from avalanche_ham.strategies._loop import Phase

LR, ALPHA_LR, HEAD_LR, STEPS = 0.01, 0.003, 0.05, 3  # steps are an epoch of 24 images, 8 a batch
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=LR),
    "adamw": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=0.1),
}


class Rates(SupervisedPlugin):
    """Keep what every optimiser step is taken with, by the name of the group."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.seen: list[dict[str, float]] = []
        self.decays: set[tuple[str, float]] = set()
        optimizer.register_step_pre_hook(self.note)

    def note(self, optimizer, args, kwargs) -> None:
        self.seen.append({g["name"]: g["lr"] for g in optimizer.param_groups})
        self.decays |= {(g["name"], g["weight_decay"]) for g in optimizer.param_groups}


def given(kind: str) -> torch.optim.Optimizer:
    return OPTIMIZERS[kind]([torch.nn.Parameter(torch.zeros(1))])


def trained(optimizer, plugins, benchmark, *, epochs=2, tasks=2, **options):
    """Train HAM with a rate for each group; gives what the steps saw, by task."""
    rates = Rates(optimizer)
    rest = {"alpha_lr": ALPHA_LR, "head_lr": HEAD_LR, "steps": None, **options}
    strategy = ham(optimizer=optimizer, train_epochs=epochs, plugins=[*plugins, rates], **rest)
    for experience in benchmark.train_stream[:tasks]:
        strategy.train(experience, eval_streams=[])
    assert len(rates.seen) == tasks * epochs * STEPS
    return strategy, rates


def assert_factors(rates: Rates, factors) -> None:
    """Every group has its own rate times the factor of the step."""
    own = {"adapter": LR, "scalars": ALPHA_LR, "head": HEAD_LR}
    expected = [{name: rate * f for name, rate in own.items()} for f in factors]
    assert [list(step) for step in rates.seen] == [list(own)] * len(expected)
    for found, right in zip(rates.seen, expected, strict=True):
        assert found == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_without_a_scheduler_every_group_keeps_its_own_rate_to_the_last_bit(kind, benchmark):
    _, rates = trained(given(kind), [], benchmark)
    assert rates.seen == [{"adapter": LR, "scalars": ALPHA_LR, "head": HEAD_LR}] * 12
    decay = given(kind).param_groups[0]["weight_decay"]
    assert rates.decays == {("adapter", decay), ("scalars", 0.0), ("head", 0.0)}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("reset_lr", [True, False])
def test_step_lr(kind, reset_lr, benchmark):
    optimizer = given(kind)
    scheduler = schedulers.StepLR(optimizer, step_size=1, gamma=0.5)
    plugin = LRSchedulerPlugin(scheduler, reset_scheduler=reset_lr, reset_lr=reset_lr)
    _, rates = trained(optimizer, [plugin], benchmark)
    epochs = [0, 1, 0, 1] if reset_lr else [0, 1, 2, 3]  # else the rate goes on
    assert_factors(rates, [0.5**e for e in epochs for _ in range(STEPS)])


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("reset", [True, False])
def test_lambda_lr(kind, reset, benchmark):
    optimizer = given(kind)
    scheduler = schedulers.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    plugin = LRSchedulerPlugin(
        scheduler, reset_scheduler=reset, reset_lr=reset, step_granularity="iteration"
    )
    _, rates = trained(optimizer, [plugin], benchmark)
    steps = [*range(6), *range(6)] if reset else range(12)
    assert_factors(rates, [1 / (1 + step) for step in steps])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_one_cycle_reaches_the_own_rates_at_its_peak_and_cycles_all_momenta(kind, benchmark):
    optimizer, momenta = given(kind), set()
    scheduler = schedulers.OneCycleLR(
        optimizer, LR, total_steps=12, pct_start=0.5, anneal_strategy="linear"
    )
    plugin = LRSchedulerPlugin(
        scheduler, reset_scheduler=False, reset_lr=False, step_granularity="iteration"
    )

    def look(strategy):
        key = "momentum" if kind == "sgd" else "betas"
        momenta.add(tuple(str(g[key]) for g in optimizer.param_groups))

    _, rates = trained(optimizer, [plugin, Watch(after_update=look)], benchmark)
    up, low, lowest = 0.5 * 12 - 1, 1 / 25, 1 / 25 / 1e4
    factors = [low + (1 - low) * k / up for k in range(6)]
    factors += [1 - (1 - lowest) * (k - up) / (11 - up) for k in range(6, 12)]
    assert_factors(rates, factors)
    assert len(momenta) > 5 and all(len(set(of_step)) == 1 for of_step in momenta)


def test_reduce_on_plateau(benchmark):
    optimizer = given("adamw")
    scheduler = schedulers.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"
    )  # nothing is ever better: halved after every epoch but the first
    plugin = LRSchedulerPlugin(
        scheduler, metric="train_loss", reset_scheduler=False, reset_lr=False
    )
    _, rates = trained(optimizer, [plugin], benchmark)
    assert_factors(rates, [f for f in (1, 1, 0.5, 0.25) for _ in range(STEPS)])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_warm_up_then_a_cosine(kind, benchmark):
    optimizer = given(kind)
    warm_up = schedulers.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    cosine = schedulers.CosineAnnealingLR(optimizer, T_max=8)
    both = schedulers.SequentialLR(optimizer, [warm_up, cosine], milestones=[3])
    plugin = LRSchedulerPlugin(
        both, reset_scheduler=False, reset_lr=False, step_granularity="iteration"
    )
    _, rates = trained(optimizer, [plugin], benchmark)
    rising = [0.25 + 0.75 * k / 3 for k in range(3)]
    falling = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(9)]
    assert_factors(rates, rising + falling)


def test_a_warm_up_by_hand_of_the_first_group_takes_all_along(benchmark):
    def warm(strategy):
        first = strategy.optimizer.param_groups[0]
        first["lr"] = LR * min(1.0, (strategy.step + 1) / 4)

    _, rates = trained(given("sgd"), [Watch(before_update=warm)], benchmark)
    assert_factors(rates, 2 * [0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_without_rates_of_their_own_all_groups_have_the_scheduled_one(benchmark):
    optimizer = given("adamw")
    plugin = LRSchedulerPlugin(schedulers.LambdaLR(optimizer, lambda epoch: 0.5**epoch))
    _, rates = trained(optimizer, [plugin], benchmark, alpha_lr=None, head_lr=None)
    for found, epoch in zip(rates.seen, [0, 0, 0, 1, 1, 1] * 2, strict=True):
        assert set(found.values()) == {LR * 0.5**epoch} and len(found) == 3


def test_a_second_group_of_the_user_s_stays_empty_and_its_scheduler_fits(benchmark):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.SGD([{**groups[0], "name": "mine"}, groups[1]], lr=LR)
    optimizer.param_groups[1]["name"] = "idle"
    scheduler = schedulers.LambdaLR(optimizer, [lambda e: 0.5**e, lambda e: 3.0])
    plugin = LRSchedulerPlugin(scheduler, reset_scheduler=False, reset_lr=False)
    strategy, rates = trained(optimizer, [plugin], benchmark, tasks=1)
    assert [list(step) for step in rates.seen] == 6 * [["mine", "idle", "scalars", "head"]]
    assert rates.seen[-1]["head"] == pytest.approx(HEAD_LR / 2)
    assert optimizer.param_groups[1]["params"] == [] and strategy.n_trainable > 100


@pytest.mark.parametrize("method", ["coda_prompt", "sema"])
def test_a_phase_s_cosine_multiplies_the_scheduler_s_rate_and_leaves_it(method, benchmark):
    optimizer = given("sgd")
    plugin = LRSchedulerPlugin(
        schedulers.StepLR(optimizer, 1, gamma=0.5), reset_scheduler=False, reset_lr=False
    )
    rates, phases = Rates(optimizer), []
    watch = Watch(after_update=lambda s: phases.append((s.phase.name, s.step, s.total_steps)))
    strategy = make(
        method,
        {"steps": 6, "head_lr": HEAD_LR},
        optimizer=optimizer,
        plugins=[plugin, rates, watch],
    )
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert len(rates.seen) >= 12
    epochs = 0
    for found, (_, step, total) in zip(rates.seen, phases, strict=True):
        done = (step - 1) / total
        own = math.cos(0.99 * math.pi / 2 * done)  # CODA-Prompt's
        if method == "sema":
            own = 0.5 * (1 + math.cos(math.pi * done))
        factor = 0.5**epochs * own
        assert found["adapter"] == pytest.approx(LR * factor)
        assert found.get("head", HEAD_LR * factor) == pytest.approx(HEAD_LR * factor)
        epochs += step % STEPS == 0
    assert optimizer.param_groups[0]["lr"] == pytest.approx(LR * 0.5**epochs)


def test_a_step_that_fails_under_a_cosine_leaves_the_rate_as_it_was(benchmark):
    def fail(strategy):
        if strategy.step == 3 and not failed:
            failed.append(strategy.optimizer.param_groups[0]["lr"])
            raise KeyboardInterrupt

    failed: list[float] = []
    optimizer = given("sgd")
    strategy = ham(optimizer=optimizer, plugins=[Watch(after_update=fail)], steps=4)
    strategy.phases = lambda: iter([Phase(steps=4, schedule="cosine")])
    with pytest.raises(KeyboardInterrupt):
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert failed[0] < 0.6 * LR
    rates = Rates(optimizer)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert rates.seen[0]["adapter"] == LR


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_goes_on_with_its_own_scheduler(copied, benchmark):
    optimizer = given("adamw")
    plugin = LRSchedulerPlugin(
        schedulers.StepLR(optimizer, 1, gamma=0.5), reset_scheduler=False, reset_lr=False
    )
    strategy = ham(
        optimizer=optimizer,
        plugins=[plugin],
        steps=None,
        head_lr=HEAD_LR,
        evaluator=None,
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    twin = copied(strategy)
    rates = Rates(twin.optimizer)
    twin.train(benchmark.train_stream[1], eval_streams=[])
    assert rates.seen[0]["head"] == pytest.approx(HEAD_LR / 2)
    assert twin.optimizer.param_groups[0]["lr"] == pytest.approx(LR / 4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(LR / 2)


@pytest.mark.parametrize(
    "scheduler, factor",
    [
        (lambda o: schedulers.LambdaLR(o, lambda epoch: 0.5**epoch), 0.5),
        (lambda o: schedulers.StepLR(o, 1, gamma=0.25), 0.25),
        (lambda o: schedulers.CosineAnnealingLR(o, 4), 0.5 * (1 + math.cos(math.pi / 4))),
    ],
    ids=["lambda", "step", "cosine"],
)
@pytest.mark.parametrize("alpha_lr", [ALPHA_LR, None])
def test_with_naive_the_scalars_follow_the_scheduler_of_the_adapter(
    scheduler, factor, alpha_lr, benchmark
):
    model = create_model("tiny", n_classes=10)
    adapters = model.attach_adapters()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.1)
    plugins = [
        AlphaBalancingPlugin(adapters, rank=2, alpha_lr=alpha_lr),
        AdapterGroupingPlugin(adapters),
        LRSchedulerPlugin(scheduler(optimizer)),
    ]
    seen: list[dict[str, float]] = []
    optimizer.register_step_pre_hook(
        lambda o, *args: seen.append({g.get("name", "rest"): g["lr"] for g in o.param_groups})
    )
    strategy = Naive(
        model=model,
        optimizer=optimizer,
        train_mb_size=8,
        train_epochs=2,
        plugins=plugins,
        evaluator=silent(),
    )
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience)
    own = LR if alpha_lr is None else alpha_lr
    expected = [(LR * f, own * f) for f in ([1.0] * STEPS + [factor] * STEPS) * 3]
    found = [(step["rest"], step["scalars"]) for step in seen]
    assert all(len(step) == 2 for step in seen)
    assert found == [pytest.approx(pair) for pair in expected]


def test_without_alphas_too_a_scheduler_that_keeps_a_value_per_group_fits(benchmark):
    optimizer = given("sgd")
    plugin = LRSchedulerPlugin(schedulers.LambdaLR(optimizer, lambda epoch: 0.5**epoch))
    rates = Rates(optimizer)
    options = {"steps": None, "epochs": 2, "head_lr": HEAD_LR}
    strategy = make("lora", options, optimizer=optimizer, plugins=[plugin, rates])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    factors = ([1.0] * STEPS + [0.5] * STEPS) * 2
    assert rates.seen == [pytest.approx({"adapter": LR * f, "head": HEAD_LR * f}) for f in factors]
