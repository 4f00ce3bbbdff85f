"""Evaluation at any time: merged weights, nothing random, nothing changed, also on errors."""

from __future__ import annotations

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from sampling import some_of
from toys import Watch, differing, ham, make, silent, state_of

from avalanche_ham import create_model
from avalanche_ham.evaluation.accuracy import accuracy_row

METHODS = ["ham", "lora", "finetune", "ewc", "lwf", "ties", "slao", "pam", "magmax"]
STREAM_ACCURACY = "Top1_Acc_Stream/eval_phase/test_stream"
EXPERIENCE_ACCURACY = "Top1_Acc_Exp/eval_phase/test_stream/Exp{:03d}"


def learned(method: str, benchmark, *, evaluate: str = "never") -> tuple[dict, object]:
    """Train two experiences, evaluating between the steps or not; all weights and memory."""
    periodic = (
        {"eval_every": 1, "peval_mode": evaluate} if evaluate in ("epoch", "iteration") else {}
    )
    strategy = make(method, {"steps": 4}, **periodic)
    for t, experience in enumerate(benchmark.train_stream[:2]):
        streams = [benchmark.test_stream] if periodic else []
        strategy.train(experience, eval_streams=streams)
        if evaluate == "seen":
            strategy.eval(benchmark.test_stream[: t + 1])
        if evaluate == "full":
            strategy.eval(benchmark.test_stream)
            strategy.eval(benchmark.train_stream)
    return state_of(strategy.model), strategy


@pytest.mark.parametrize("method", some_of(METHODS, "ham", "lwf"))
def test_evaluating_never_changes_what_is_learned_next(benchmark, method):
    expected, plain = learned(method, benchmark)
    kinds = ("epoch", "iteration", "full") if method == "ham" else ("iteration",)
    for evaluate in kinds:
        state, strategy = learned(method, benchmark, evaluate=evaluate)
        assert not differing(state, expected), evaluate
    if method == "ham":
        assert strategy.describe() == plain.describe()


@pytest.mark.parametrize("head", ["linear", "ridge"])
def test_evaluation_draws_no_random_numbers_and_changes_no_tensor(benchmark, head):
    strategy = make("ham", head=head)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    state, before = torch.get_rng_state(), state_of(strategy.model)
    strategy.eval(benchmark.test_stream)
    strategy.eval(benchmark.train_stream[:1])
    with strategy.evaluation_weights():
        accuracy_row(strategy, list(benchmark.test_stream))
    assert torch.equal(torch.get_rng_state(), state)
    assert not differing(state_of(strategy.model), before)


def plain_model(strategy, update):
    """A model without adapters: a bare backbone with W0 + dW, and the head."""
    source = strategy.model
    plain = create_model("tiny", n_classes=10)
    plain.head.load_state_dict(source.head.state_dict())
    weights = source.encoder.vit.state_dict()
    plain.encoder.vit.load_state_dict({n: weights[n] for n in plain.encoder.vit.state_dict()})
    for name, change in (update or {}).items():
        dense = change if isinstance(change, torch.Tensor) else change.b @ change.a
        plain.encoder.vit.get_submodule(name).weight.data += dense
    return plain.eval()


@pytest.mark.parametrize("method", METHODS)
def test_avalanche_s_accuracy_our_row_and_a_plain_merged_model_agree(benchmark, method):
    evaluator = silent(accuracy_metrics(experience=True, stream=True), loss_metrics(stream=True))
    strategy = make(method, evaluator=evaluator)
    for experience in benchmark.train_stream[:3]:
        strategy.train(experience, eval_streams=[])
    metrics = strategy.eval(benchmark.test_stream[:3])
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:3]))
    plain, by_hand, losses = plain_model(strategy, strategy.inference_update()), [], []
    for experience in benchmark.test_stream[:3]:
        images, targets = zip(*experience.dataset, strict=True)
        with torch.no_grad():
            logits = plain(torch.stack(images))
        right = logits.argmax(1) == torch.tensor(targets)
        by_hand.append(float(right.sum()) / len(targets))
        losses += torch.nn.functional.cross_entropy(
            logits, torch.tensor(targets), reduction="none"
        ).tolist()
    assert row.accuracy == by_hand
    assert [metrics[EXPERIENCE_ACCURACY.format(t)] for t in range(3)] == pytest.approx(by_hand)
    assert metrics[STREAM_ACCURACY] == pytest.approx(sum(by_hand) / 3)
    loss = metrics["Loss_Stream/eval_phase/test_stream"]
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    with torch.no_grad():
        bare = plain_model(strategy, None)(torch.stack(images))
    folds = method in ("ham", "lora", "ties", "slao", "pam", "magmax")
    assert torch.allclose(bare, logits, atol=1e-3) is not folds


@pytest.mark.parametrize("hook", ["before_eval_exp", "after_eval_iteration"])
def test_an_exception_in_evaluation_leaves_merged_weights_and_the_next_task_as_ever(
    benchmark, hook
):
    expected, _ = learned("ham", benchmark)

    def fail(strategy):
        assert any(layer.merged is not None for layer in strategy.adapters.layers.values())
        raise KeyError(hook)

    strategy = make("ham", plugins=[Watch(**{hook: fail})])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    state = torch.get_rng_state()
    with pytest.raises(KeyError):
        strategy.eval(benchmark.test_stream)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert not differing(state_of(strategy.model), expected)


def test_periodic_evaluation_inside_a_task_sees_the_open_adapter_as_one_more_group(
    benchmark,
):
    seen = []

    def compare(strategy):
        if not strategy.adapters.is_open or strategy.adapters.n_terms != 1:
            return
        group, alpha = strategy.adapters.term(0), strategy.adapters.scales.tolist()
        for name, layer in strategy.adapters.layers.items():
            branch = layer.branch.factors()
            expected = layer.weight + alpha[0] * group[name] + alpha[1] * branch.b @ branch.a
            torch.testing.assert_close(layer.merged, expected.detach())
        seen.append(strategy.step)

    strategy = ham(eval_every=1, peval_mode="iteration", plugins=[Watch(before_eval_exp=compare)])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[benchmark.test_stream[:1]])
    assert set(seen) == {1, 2, 3, 4}


def test_evaluating_before_anything_is_learned_gives_a_finite_loss(benchmark):
    strategy = ham(evaluator=silent(loss_metrics(stream=True)))
    metrics = strategy.eval(benchmark.test_stream)
    loss = metrics["Loss_Stream/eval_phase/test_stream"]
    assert loss == pytest.approx(2.302585, rel=1e-4)


def test_merged_weights_are_those_of_the_current_state_at_each_evaluation(benchmark):
    strategy = ham()
    features = []
    images = torch.stack([benchmark.test_stream[0].dataset[k][0] for k in range(4)])
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
        strategy.model.eval()
        with strategy.evaluation_weights(), torch.no_grad():
            features.append(strategy.model.encode(images).features)
    assert not torch.allclose(features[0], features[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_train_and_evaluate_alike(benchmark, precision):
    strategy = ham(precision=precision, evaluator=silent(accuracy_metrics(stream=True)))
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert all(p.dtype == torch.float32 for p in strategy.model.parameters())
    metrics = strategy.eval(benchmark.test_stream[:1])
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:1]))
    assert metrics[STREAM_ACCURACY] == pytest.approx(row.accuracy[0])
    assert row.accuracy[0] > 0.5


@pytest.mark.parametrize("method", ["ham", "ties", "inflora"])
def test_evaluating_under_evaluation_weights_leaves_them_as_they_were(benchmark, method):
    strategy = make(method)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    images = torch.stack([x for x, *_ in benchmark.test_stream[0].dataset])
    with strategy.evaluation_weights(), torch.no_grad():
        before = strategy.model.eval()(images)
        strategy.eval(benchmark.test_stream)
        assert torch.equal(strategy.model.eval()(images), before)
    assert all(layer.merged is None for layer in strategy.adapters.layers.values())


@pytest.mark.parametrize(
    "eval_every, epochs",
    [(1, 1), *(pytest.param(*p, marks=pytest.mark.slow) for p in [(2, 3), (1, 2), (0, 1)])],
)
def test_train_ends_with_an_evaluation_of_what_the_task_has_become(benchmark, eval_every, epochs):
    evaluator = silent(accuracy_metrics(stream=True))
    budget = {"steps": None, "epochs": epochs}
    common = {"evaluator": evaluator, "eval_every": eval_every}
    strategy = make("lora", budget, head="ridge", **common)
    for t, experience in enumerate(benchmark.train_stream[:2]):
        stream = benchmark.test_stream[: t + 1]
        said = strategy.train(experience, eval_streams=[stream])
        assert said[STREAM_ACCURACY] == strategy.eval(stream)[STREAM_ACCURACY] > 0.5
