"""What a user gives a strategy, or puts in a part's place: it is used, or one line says why not."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from avalanche.benchmarks import task_incremental_benchmark
from avalanche.evaluation.metrics import (
    amca_metrics,
    class_accuracy_metrics,
    confusion_matrix_metrics,
    images_samples_metrics,
    labels_repartition_metrics,
)
from avalanche.training.plugins import AGEMPlugin, GEMPlugin, LwFPlugin, MIRPlugin, ReplayPlugin
from sampling import some_of
from streams import logits
from torch import nn
from toys import SMALL, Watch, differing, ham, make, silent, state_of

from avalanche_ham import HAMStrategy, create_model
from avalanche_ham.benchmarks.class_incremental import from_selections
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.heads import create_readout
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


def test_a_user_s_forward_hooks_fire_in_training_and_evaluation(benchmark):
    shapes: list[tuple[bool, tuple[int, ...]]] = []
    strategy = ham(steps=2)
    strategy.model.register_forward_hook(lambda m, _, y: shapes.append((m.training, y.shape)))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.eval(benchmark.test_stream[0])
    assert shapes == [(True, (8, 10)), (True, (8, 10)), (False, (12, 10))]


@pytest.mark.parametrize("method", ["ham", "l2p", "dual_prompt", "coda_prompt", "sema"])
def test_a_hook_on_the_encoder_stays_though_a_method_puts_its_own_around_it(benchmark, method):
    model, modes = create_model("tiny", n_classes=10), set()
    handle = model.encoder.register_forward_hook(lambda m, _, y: modes.add(m.training))
    strategy = build_strategy(
        method, resolve(method, SMALL, {"steps": 1}), model=model, evaluator=silent()
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    strategy.eval(benchmark.test_stream[0])
    assert modes == {True, False}
    modes.clear()
    handle.remove()
    strategy.eval(benchmark.test_stream[0])
    assert not modes


@pytest.mark.parametrize("method", ["l2p", "sema"])
def test_an_encoder_that_is_compiled_too_early_is_refused(method):
    model = create_model("tiny", n_classes=10)
    model.encoder.compile(backend="eager")
    with pytest.raises(HamError, match="encoder.compile.. after the strategy is made"):
        build_strategy(method, resolve(method, SMALL, {}), model=model)


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


@pytest.mark.parametrize("method", ["ham", "lora", "inflora", "sema", "l2p"])
def test_what_was_learned_moves_with_the_model(benchmark, method):
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    before = logits(strategy)
    strategy.model.double()
    torch.testing.assert_close(logits(strategy).float(), before, rtol=1e-4, atol=1e-4)
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    after = logits(strategy)
    assert after.dtype == torch.float64 and after.isfinite().all()
    parameters = list(strategy.model.parameters())
    assert all(p.dtype == torch.float64 for p in parameters)


def test_weights_kept_for_training_move_with_the_model(benchmark):
    def move(strategy):  # before the optimiser has a state, which torch moves by no call
        if strategy.task == 1 and strategy.step == 0:
            kept = [layer.fixed for layer in strategy.adapters.layers.values()]
            strategy.model.double()
            for layer, before in zip(strategy.adapters.layers.values(), kept, strict=True):
                assert torch.equal(layer.fixed, before.double())
                seen.append(layer.fixed.dtype)

    seen: list[torch.dtype] = []
    strategy = ham(train_alphas=False, plugins=[Watch(before_training_iteration=move)])
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    assert seen == [torch.float64] * 3
    assert logits(strategy).dtype == torch.float64


@pytest.mark.slow
def test_an_encoder_compiled_in_place_learns_the_same(benchmark):
    runs = []
    for compiled in (False, True):
        strategy = ham(steps=2)
        if compiled:
            strategy.model.encoder.compile(backend="eager")
        strategy.train(benchmark.train_stream[:2], eval_streams=[])
        runs.append(logits(strategy))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "method",
    some_of(["ham", "lora", "sema", "inflora", "l2p", "dual_prompt", "coda_prompt"], "ham", "sema"),
)
def test_a_model_in_bf16_learns_and_its_readouts_keep_full_precision(benchmark, method):
    losses = []
    watch = Watch(after_training_iteration=lambda s: losses.append(float(s.loss)))
    model = create_model("tiny", n_classes=10, head="ncm,ridge,lda", seed=1).to(torch.bfloat16)
    options = resolve(method, {**SMALL, "steps": 12}, {})
    strategy = build_strategy(
        method, options, model=model, seed=1, plugins=[watch], evaluator=silent()
    )
    fed = {name: [] for name in model.readouts}
    for name, readout in model.readouts.items():
        keep = fed[name].append
        readout.feed = lambda x, y, take=readout.feed, keep=keep: (keep((x, y)), take(x, y))
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    first = losses[:12]
    assert sum(first[-4:]) < sum(first[:4])
    queries = torch.randn(8, 48, generator=torch.Generator().manual_seed(0)).bfloat16()
    for name, readout in model.readouts.items():
        plain = create_readout(name, 48, 10, seed=1)
        for features, targets in fed[name]:
            assert features.dtype == torch.bfloat16
            plain.feed(features.float(), targets)
        torch.testing.assert_close(readout(queries), plain(queries.float()))


@pytest.mark.parametrize("method", ["ham", "lora", "sema", "inflora", "sd_lora", "coda_prompt"])
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
