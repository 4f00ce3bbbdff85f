"""What a user gives a strategy, or puts in a part's place: it is used, or one line says why not."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import Counter

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark
from avalanche.evaluation.metrics import (
    accuracy_metrics,
    amca_metrics,
    class_accuracy_metrics,
    confusion_matrix_metrics,
    images_samples_metrics,
    labels_repartition_metrics,
)
from avalanche.training.plugins import (
    AGEMPlugin,
    EarlyStoppingPlugin,
    EWCPlugin,
    GEMPlugin,
    LwFPlugin,
    MASPlugin,
    MIRPlugin,
    ReplayPlugin,
    RWalkPlugin,
    SynapticIntelligencePlugin,
)
from sampling import some_of
from streams import logits
from torch import distributed, nn
from toys import SMALL, differing, ham, make, silent, state_of

from avalanche_ham import HAMStrategy, create_model
from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.benchmarks.class_incremental import from_selections
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.runs.settings import build_strategy, resolve
from avalanche_ham.strategies.sequential import SequentialStrategy


class Wrapper(nn.Module):
    """A user's own wrapper around a model."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 250
    return text


@pytest.mark.parametrize("cls", [HAMStrategy, SequentialStrategy])
def test_positional_arguments_are_refused_by_how_to_name_them(model, cls):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(HamError, match=r"by name: model=\.\.\., optimizer=\.\.\.") as error:
        cls(model, optimizer)
    assert one_line(error).startswith(cls.__name__)


def test_a_criterion_is_refused_by_the_option_that_takes_its_place(model):
    with pytest.raises(HamError, match="choose scope='current', 'seen' or 'seen_frozen'"):
        ham(model, criterion=nn.CrossEntropyLoss())


@pytest.mark.parametrize("wrap", [Wrapper, nn.DataParallel])
def test_a_wrapped_model_is_refused_when_a_strategy_is_made_and_in_mid_stream(model, wrap):
    with pytest.raises(OptionError, match="the model itself and not wrapped in") as error:
        ham(wrap(model))
    assert wrap.__name__ in one_line(error)
    strategy = ham(model)
    with pytest.raises(OptionError, match="not wrapped in"):
        strategy.model = wrap(strategy.model)
    assert strategy.model is model


def test_a_distributed_model_is_refused(model):
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model.requires_grad_())
        with pytest.raises(OptionError, match="not wrapped in DistributedDataParallel") as error:
            ham(wrapped)
        one_line(error)
    finally:
        distributed.destroy_process_group()


def test_a_compiled_model_is_refused_by_how_to_compile_it(model):
    with pytest.raises(OptionError, match=r"model\.encoder\.compile\(\)") as error:
        HAMStrategy(model=torch.compile(model, backend="eager"))
    one_line(error)


@pytest.mark.parametrize("method", ["ham", "sema", "l2p"])
def test_a_bare_vit_is_refused_by_where_it_goes(method):
    vit = create_model("tiny", n_classes=10).encoder.vit
    with pytest.raises(OptionError, match="create_model.* its backbone, but got VisionTransf") as e:
        type(make(method))(model=vit)
    one_line(e)


@pytest.mark.parametrize("method", ["ham", "lora", "linear", "sema", "coda_prompt", "inflora"])
def test_a_copy_in_the_model_s_place_trains_and_is_evaluated_as_the_model(benchmark, method):
    one, two = make(method), make(method)
    for strategy in (one, two):
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    original = two.model
    two.model = copy.deepcopy(original)
    assert torch.equal(logits(one), logits(two))
    before = state_of(original)
    for strategy in (one, two):
        strategy.train(benchmark.train_stream[1], eval_streams=[])
        strategy.eval(benchmark.test_stream[:1])
    assert not differing(state_of(one.model), state_of(two.model))
    assert torch.equal(logits(one), logits(two))
    assert not differing(before, state_of(original)), "the old model is out of use"


def test_a_model_that_lacks_what_was_learned_is_refused_in_its_place(benchmark):
    strategy = ham()
    fresh = copy.deepcopy(strategy.model)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    for other in (fresh, create_model("tiny", n_classes=10)):
        with pytest.raises(OptionError, match=r"3 adapted layers, 1 terms and 2 classes") as error:
            strategy.model = other
        one_line(error)


def test_an_experience_without_images_is_refused_before_anything_trains(benchmark):
    strategy = ham()
    empty = copy.copy(benchmark.train_stream[0])
    empty._dataset = empty.dataset.subset([])
    with pytest.raises(HamError, match="the experience has no images") as error:
        strategy.train(empty)
    one_line(error)
    assert not len(strategy.model.head.classes) and not strategy.model.adapters.is_open


@pytest.mark.parametrize("alpha", [0, 0.0, None, "1", True, float("nan")])
def test_a_scalar_that_could_never_train_is_refused(alpha):
    with pytest.raises(OptionError, match="alpha must be") as error:
        ham(alpha=alpha)
    one_line(error)


def test_a_baseline_whose_network_got_another_model_s_adapters_is_refused(benchmark):
    model = create_model("tiny", n_classes=10)
    baseline = SequentialStrategy(
        model=create_model(model.encoder.vit, n_classes=10), trains="head", evaluator=silent()
    )
    ham(model)
    with pytest.raises(HamError, match="model: the network carries the adapters of anoth") as error:
        baseline.train(benchmark.train_stream[0], eval_streams=[])
    one_line(error)
    with pytest.raises(HamError, match="model: the network carries the adapters of another"):
        baseline.eval(benchmark.test_stream[:1])


@pytest.mark.parametrize(
    "plugin", [ReplayPlugin(8), GEMPlugin(4, 0.5), AGEMPlugin(4, 4), MIRPlugin(2)]
)
def test_rehearsal_is_refused_under_a_loss_without_past_classes(plugin):
    with pytest.raises(OptionError, match="seen or seen_frozen") as error:
        ham(plugins=[plugin])
    assert type(plugin).__name__ in one_line(error)
    assert plugin in ham(plugins=[plugin], scope="seen").plugins


@pytest.mark.parametrize("plugin", [LwFPlugin, lambda: MIRPlugin(2)])
def test_a_plugin_that_reads_task_labels_is_refused_where_there_are_none(benchmark, plugin):
    strategy = ham(plugins=[plugin()], scope="seen")
    with pytest.raises(HamError, match="reads task labels, and this benchmark has none") as error:
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    one_line(error)


@pytest.mark.parametrize(
    "metric",
    [
        amca_metrics,
        lambda: class_accuracy_metrics(stream=True),
        images_samples_metrics,
        labels_repartition_metrics,
    ],
)
def test_a_metric_that_reads_task_labels_is_refused_where_there_are_none(benchmark, metric):
    strategy = ham(evaluator=silent(metric()))
    with pytest.raises(HamError, match="reads task labels"):
        strategy.train(benchmark.train_stream[0], eval_streams=[])
    with pytest.raises(HamError, match="reads task labels"):
        strategy.eval(benchmark.test_stream[:1])


def test_a_confusion_matrix_without_a_picture_runs_on_our_benchmarks(benchmark):
    metric = confusion_matrix_metrics(stream=True, save_image=False, num_classes=10)
    strategy = ham(evaluator=silent(metric))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    found = strategy.eval(benchmark.test_stream[:1])
    matrix = next(v for name, v in found.items() if name.startswith("ConfusionMatrix"))
    assert matrix.shape == (10, 10) and matrix.sum() == 12


def test_task_labels_are_said_to_be_ignored_once(benchmark):
    labelled = task_incremental_benchmark(benchmark)
    strategy = ham(steps=1)
    strategy.train(labelled.train_stream[0], eval_streams=[])
    with pytest.warns(UserWarning, match=r"task labels \(here \[1\]\) are ignored"):
        strategy.train(labelled.train_stream[1], eval_streams=[])
    strategy.train(labelled.train_stream[2], eval_streams=[])  # a second warning is an error
    strategy.eval(labelled.test_stream[:3])


@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize(
    "method",
    some_of(
        ["ham", "lora", "sema", "inflora", "l2p", "dual_prompt", "coda_prompt"],
        "ham",
        "sema",
        "l2p",
    ),
)
def test_a_user_s_forward_hooks_fire_in_training_and_evaluation(benchmark, method, made):
    """Those of SEMA and the prompts' encoder, which takes the first one's place, too."""
    model, calls = create_model("tiny", n_classes=10), Counter()

    def watch():
        parts = {"model": model, "encoder": model.encoder, "head": model.head}
        return [
            part.register_forward_hook(lambda *_, name=name: calls.update([(name, model.training)]))
            for name, part in parts.items()
        ]

    handles = watch() if made == "before" else []
    values = resolve(method, {**SMALL, "steps": 2}, {})
    strategy = build_strategy(method, values, model=model, evaluator=silent())
    handles += watch() if made == "after" else []
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.eval(benchmark.test_stream[0])
    keys = {(name, training) for name in ("model", "encoder", "head") for training in (True, False)}
    assert calls.keys() >= keys and calls["model", True] == calls["head", True]
    for handle in handles:
        handle.remove()
    before = calls.copy()
    strategy.eval(benchmark.test_stream[0])
    assert calls == before


def test_a_generator_s_experiences_are_drawn_one_at_a_time(benchmark):
    drawn: list[tuple[int, int]] = []

    def experiences():
        for experience in benchmark.train_stream[:3]:
            drawn.append((experience.current_experience, strategy.task))
            yield experience

    strategy = ham(steps=1)
    strategy.train(experiences())
    assert drawn == [(0, 0), (1, 1), (2, 2)] and strategy.task == 3


@pytest.mark.parametrize("method", ["ham", "lora", "sd_lora", "inflora", "dual_prompt", "sema"])
def test_a_strategy_goes_through_pickle_and_goes_on_alike(benchmark, method):
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    twin = pickle.loads(pickle.dumps(strategy))
    for one in (strategy, twin):
        one.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(strategy.model), state_of(twin.model))
    assert torch.equal(logits(strategy), logits(twin))


@pytest.mark.parametrize(
    "method", some_of(["ham", "lora", "sema", "inflora", "sd_lora", "coda_prompt"], "ham")
)
def test_classes_that_return_learn_on(benchmark, method):
    stream = from_selections(benchmark.chosen, [(0, 1), (2, 3), (0, 1), (1, 4)], name="again")
    strategy = make(method, {"steps": 12})
    train, test = list(stream.train_stream), list(stream.test_stream)

    def loss() -> float:
        batch = [test[0].dataset[i] for i in range(len(test[0].dataset))]
        images, targets = torch.stack([b[0] for b in batch]), torch.tensor([b[1] for b in batch])
        strategy.model.eval()
        with torch.no_grad(), strategy.evaluation_weights():
            return float(torch.nn.functional.cross_entropy(strategy.model(images), targets))

    for experience in train[:2]:
        strategy.train(experience, eval_streams=[])
    before, rows = loss(), strategy.model.head.tasks[0].weight.detach().clone()
    strategy.train(train[2], eval_streams=[])
    assert loss() < before
    assert (strategy.model.head.tasks[0].weight != rows).any(dim=1).all()
    strategy.train(train[3], eval_streams=[])  # one that returns and one that is new
    assert sorted(strategy.model.head.classes) == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("method", some_of(["ham", "sema", "inflora", "l2p"], "ham", "l2p"))
def test_returning_classes_of_an_avalanche_benchmark_are_told_better_again(method, same_draws):
    quick = {"l2p": {"steps": 40, "lr": 1e-2, "head_lr": 0.1}}  # else it tells one class only
    sizes = {"train_per_class": 12, "test_per_class": 12}
    digits = create_benchmark("digits", data_root=".", n_tasks=5, seed=1, **sizes)
    one, two = (experience.dataset for experience in digits.train_stream[:2])
    test = [experience.dataset for experience in digits.test_stream[:2]]
    stream = benchmark_from_datasets(train=[one, two, one], test=[*test, test[0]])
    strategy, accuracy = make(method, quick.get(method, {"steps": 12})), []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        with strategy.evaluation_weights():
            accuracy += accuracy_row(strategy, [stream.test_stream[0]]).accuracy
    assert accuracy[2] > accuracy[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "plugin"),
    [
        ("ham", lambda: EWCPlugin(1.0)),
        ("inflora", lambda: EWCPlugin(1.0, mode="online", decay_factor=0.5)),
        ("sema", MASPlugin),
        ("sema", lambda: RWalkPlugin(delta_t=2)),
        ("slao", lambda: EWCPlugin(1.0, mode="online", decay_factor=0.5)),
        ("slao", lambda: RWalkPlugin(delta_t=2)),  # its scalars are none between tasks
        ("pam", lambda: RWalkPlugin(delta_t=2)),
        ("fsa", lambda: EWCPlugin(1.0)),  # its LoRA stays as it is from task 2 on
        ("lora", lambda: SynapticIntelligencePlugin(1.0)),  # Avalanche's copies on a CPU are none
    ],
)
def test_a_penalty_that_has_nothing_to_hold_is_told_once(benchmark, method, plugin):
    plugin = plugin()
    strategy = make(method, plugins=[plugin])
    strategy.train(benchmark.train_stream[0], eval_streams=[])  # warnings are errors here
    line = f"{type(plugin).__name__} has no effect: .* important in earlier tasks"
    with pytest.warns(UserWarning, match=line):
        strategy.train(benchmark.train_stream[1], eval_streams=[])
    strategy.train(benchmark.train_stream[2], eval_streams=[])


@pytest.mark.parametrize("mode", ["separate", "online"])
def test_ewc_holds_one_lora_where_it_was(benchmark, mode):
    moved = []
    for strength in (0.0, 1e4):
        decay = 0.5 if mode == "online" else None
        plugin = EWCPlugin(strength, mode=mode, decay_factor=decay)
        strategy = make("lora", {"steps": 8}, plugins=[plugin])
        strategy.train(benchmark.train_stream[0], eval_streams=[])
        before, weight = state_of(strategy.model), dict(plugin.importances[0])
        strategy.train(benchmark.train_stream[1], eval_streams=[])
        after = state_of(strategy.model)
        # the penalty's own measure: squared moves, each by its importance after the first task
        moved.append(
            sum(
                float((weight[k].data * (after[k] - before[k]).square()).sum())
                for k in weight
                if "branch" in k
            )
        )
    assert 0 < moved[1] < 0.8 * moved[0]


@pytest.mark.parametrize("method", ["ham", "lora", "inflora", "l2p"])
def test_weights_that_early_stopping_restores_are_those_evaluated(benchmark, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no metric is there at first
        plugin = EarlyStoppingPlugin(1, "test_stream", mode="min", margin=1.0)
        strategy = make(
            method,
            {"steps": None, "epochs": 3},
            plugins=[plugin],
            evaluator=silent(accuracy_metrics(stream=True)),
            eval_every=1,
        )
        strategy.train(benchmark.train_stream[0], eval_streams=[benchmark.test_stream[:1]])
    strategy.model.eval()
    rows = strategy.model.head.tasks[0].weight
    assert torch.equal(rows, plugin.best_state["head.tasks.0.weight"])
    again = make(method)  # adapters start without effect: what is restored is the first state
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 8, 8), generator=generator, dtype=torch.uint8)
    again.model.eval()
    features = again.model.encode(images).features
    torch.testing.assert_close(logits(strategy), strategy.model.head(features))
