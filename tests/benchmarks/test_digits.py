import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import Naive
from sklearn.datasets import load_digits

from avalanche_ham.benchmarks.digits import digits


@pytest.fixture(scope="module")
def benchmark():
    return digits(n_tasks=5, seed=1)


def images_and_labels(stream):
    pairs = [pair for experience in stream for pair in experience.dataset]
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])


def test_every_digit_is_in_one_part_once(benchmark):
    x_train, y_train = images_and_labels(benchmark.train_stream)
    x_test, y_test = images_and_labels(benchmark.test_stream)
    found = sorted(image[0].flatten().tolist() for image in torch.cat([x_train, x_test]))
    source = torch.from_numpy(load_digits().images * 255 / 16).round().long()
    assert found == sorted(image.flatten().tolist() for image in source)
    share = y_test.bincount() / (y_train.bincount() + y_test.bincount())
    assert ((share > 0.24) & (share <= 0.25)).all()  # one in four of each class


def test_images_are_grey_bytes_over_the_whole_range_with_their_labels(benchmark):
    x, y = images_and_labels(benchmark.train_stream)
    assert x.dtype == torch.uint8 and x.shape[1:] == (3, 8, 8)
    assert x.min() == 0 and x.max() == 255
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
    source = load_digits()
    by_image = {
        tuple((image * 255 / 16).round().flatten().astype(int)): label
        for image, label in zip(source.images, source.target)
    }
    assert all(by_image[tuple(i[0].flatten().tolist())] == j for i, j in zip(x, y))


def test_the_test_images_do_not_depend_on_the_seed(benchmark):
    other = digits(n_tasks=1, seed=2)
    first, second = (
        sorted(images_and_labels(b.test_stream)[0].flatten(1).tolist()) for b in (benchmark, other)
    )
    assert first == second


class TinyLinear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(192, 10)

    def forward(self, x):
        return self.layer(x.flatten(1).float() / 255)


def test_a_stock_avalanche_strategy_trains_evaluates_and_forgets():
    torch.manual_seed(0)
    benchmark = digits(n_tasks=2, seed=1)
    model = TinyLinear()
    evaluator = EvaluationPlugin(
        accuracy_metrics(experience=True, stream=True),
        forgetting_metrics(experience=True, stream=True),
        loggers=[],
        strict_checks=False,
    )
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.2),
        train_mb_size=32,
        eval_mb_size=32,
        train_epochs=3,
        evaluator=evaluator,
    )
    name = "Top1_Acc_Exp/eval_phase/test_stream/Exp00"
    strategy.train(benchmark.train_stream[0])
    first = strategy.eval(benchmark.test_stream[:1])
    assert first[name + "0"] > 0.8 and name + "1" not in first
    strategy.train(benchmark.train_stream[1])
    both = strategy.eval(benchmark.test_stream[:2])
    assert both[name + "1"] > 0.8  # learnt, and what came before is forgotten
    lost = both["StreamForgetting/eval_phase/test_stream"]
    assert lost == pytest.approx(first[name + "0"] - both[name + "0"]) and lost > 0.2


def test_the_evaluators_strict_checks_find_the_benchmark(benchmark):
    model = TinyLinear()
    evaluator = EvaluationPlugin(accuracy_metrics(stream=True), loggers=[], strict_checks=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    strategy = Naive(model=model, optimizer=optimizer, evaluator=evaluator)
    strategy.eval_mb_size = 64
    metrics = strategy.eval(benchmark.test_stream)
    assert "Top1_Acc_Stream/eval_phase/test_stream" in metrics
