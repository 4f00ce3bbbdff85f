"""A model in other forms: compiled, in another precision, moved to another device."""

from __future__ import annotations

import pytest
import torch
from sampling import some_of
from streams import logits
from torch._subclasses.fake_tensor import FakeTensorMode
from toys import SMALL, Watch, ham, make, silent

from avalanche_ham import create_model
from avalanche_ham.errors import HamError
from avalanche_ham.heads import create_readout
from avalanche_ham.runs.settings import build_strategy, resolve

METHODS = [
    "ham", "lora", "sema", "inflora", "l2p", "dual_prompt", "coda_prompt", "sd_lora", "slao", "pam",
    "magmax", "i_lora", "pm",
]  # fmt: skip


@pytest.mark.parametrize(
    "method", ["ham", "lora", "inflora", "sema", "l2p", "slao", "pam_lwf", "magmax", "i_lora", "pm"]
)
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


@pytest.mark.parametrize("method", some_of(METHODS, "ham", "l2p", "coda_prompt"))
def test_a_model_cast_to_bf16_in_mid_stream_predicts_as_before_and_trains_on(benchmark, method):
    strategy = make(method, {"steps": 2})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    seen, plain = strategy.model.head.classes, logits(strategy)
    strategy.model.to(torch.bfloat16)
    cast = logits(strategy)
    # bf16 has eight bits: through a few layers, a few hundredths of the logits' own size
    torch.testing.assert_close(cast.float()[:, seen], plain[:, seen], rtol=0.05, atol=0.02)
    before = strategy.model.head.tasks[0].weight.dtype
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert before == torch.bfloat16 == strategy.model.head.tasks[1].weight.dtype
    assert logits(strategy)[:, strategy.model.head.classes].isfinite().all()


@pytest.mark.parametrize("method", ["l2p", "dual_prompt", "coda_prompt"])
def test_a_model_in_double_precision_takes_prompts(benchmark, method):
    model = create_model("tiny", n_classes=10).double()
    strategy = build_strategy(method, resolve(method, SMALL, {}), model=model, evaluator=silent())
    strategy.train(benchmark.train_stream[:2], eval_streams=[])
    assert logits(strategy).dtype == torch.float64


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", some_of(METHODS, "ham", "sema", "l2p"))
def test_nothing_stays_behind_on_the_cpu_when_a_model_moves(benchmark, method, training):
    """A fake CUDA device stands in for a second one: it computes shapes, and refuses a mix."""
    strategy = make(method, {"steps": 1}, head="linear,ncm")
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    logits(strategy)  # whatever is kept for later is kept now
    strategy.model.train(training)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with strategy.evaluation_weights(), FakeTensorMode(allow_non_fake_inputs=True):
            strategy.model.to("cuda")
            images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="cuda")
            assert strategy.model(images).device.type == "cuda"
            with pytest.raises(RuntimeError, match="two( different)? devices"):
                strategy.model(images.cpu())
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.mark.parametrize("method", METHODS)
def test_no_part_keeps_the_device_that_it_was_made_on(method):
    strategy = make(method)
    parts = [*strategy.model.modules(), *strategy.plugins, strategy.scoped_loss]
    kept = [(type(p).__name__, k) for p in parts for k, v in vars(p).items() if is_device(v)]
    assert not kept
    assert [k for k, v in vars(strategy).items() if is_device(v)] == ["device"]


def is_device(value) -> bool:
    return isinstance(value, torch.device)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ham", "lora", "sema", "inflora", "l2p"])
def test_an_encoder_compiled_in_place_learns_the_same(benchmark, method):
    runs, seen = [], []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    for compiled in (False, True):
        strategy = make(method, {"steps": 1})
        if compiled:
            torch.compiler.reset()
            strategy.model.encoder.compile(backend=backend)
        for experience in benchmark.train_stream[:2]:
            strategy.train(experience, eval_streams=[])
        runs.append(logits(strategy))
    assert seen, "nothing was compiled"
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["sema", "l2p", "dual_prompt", "coda_prompt"])
def test_an_encoder_compiled_before_it_is_replaced_is_refused(model, method):
    model.encoder.compile(backend="eager")
    with pytest.raises(HamError, match=r"call model\.encoder\.compile\(\) after the strategy"):
        build_strategy(method, resolve(method, SMALL, {}), model=model)


@pytest.mark.parametrize("method", some_of(METHODS, "ham", "sema"))
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
