"""Encoders that are no ViT: text and convolutions, with everything that a strategy does."""

from __future__ import annotations

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from toys import differing, silent, state_of

from avalanche_ham import create_model
from avalanche_ham.backbones.encoder import Encoding
from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.strategies.ham import HAMStrategy
from avalanche_ham.strategies.prompts.coda_prompt import CodaPromptStrategy
from avalanche_ham.strategies.prompts.dual_prompt import DualPromptStrategy
from avalanche_ham.strategies.prompts.l2p import L2PStrategy
from avalanche_ham.strategies.sema.strategy import SEMAStrategy
from avalanche_ham.strategies.sequential import SequentialStrategy


class Words(nn.Module):
    """A bag of words: int64 ``(N, L)`` -> features ``(N, 16)``."""

    num_features = 16

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(40, 12)
        self.lift, self.out = nn.Linear(12, 24), nn.Linear(24, 16)

    def forward(self, tokens: Tensor) -> Encoding:
        return Encoding(self.out(torch.relu(self.lift(self.bag(tokens)))))


class Convolutions(nn.Module):
    """Two convolutions with batch norm: ``(N, 3, 8, 8)`` -> features ``(N, 16)``."""

    num_features = 16

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2)
        )
        self.lift, self.out = nn.Linear(12, 24), nn.Linear(24, 16)

    def forward(self, images: Tensor) -> Encoding:
        pooled = self.trunk(images).mean((2, 3))
        return Encoding(self.out(torch.relu(self.lift(pooled))))


def batches(kind: type) -> tuple[Tensor, Tensor]:
    """Four classes, 12 samples each, that a class's own words or colours tell apart."""
    draw = torch.Generator().manual_seed(0)
    targets = torch.arange(4).repeat_interleave(12)
    if kind is Words:
        return torch.randint(0, 10, (48, 5), generator=draw) + 10 * targets[:, None], targets
    colours = torch.randn(4, 3, 1, 1, generator=draw)
    return colours[targets] + 0.1 * torch.randn(48, 3, 8, 8, generator=draw), targets


def encoder(kind: type) -> nn.Module:
    torch.manual_seed(1)
    return kind()


def experiences(kind: type):
    data = TensorDataset(*batches(kind))
    data.targets = batches(kind)[1].tolist()
    order = {"shuffle": False, "fixed_class_order": [0, 1, 2, 3]}
    return nc_benchmark(data, data, n_experiences=2, task_labels=False, **order).train_stream


METHODS = {
    "lora": (SequentialStrategy, {"trains": "lora", "rank": 3, "targets": ("lift", "out")}),
    "ham": (HAMStrategy, {"rank": 3, "targets": ("lift", "out")}),
    "frozen": (SequentialStrategy, {"trains": "head"}),
    "finetune": (SequentialStrategy, {"trains": "network", "scope": "seen"}),
}


def trained(kind: type, method: str, head: str, tasks: int = 2):
    cls, options = METHODS[method]
    model = create_model(encoder(kind), n_classes=4, head=head)
    common = {"steps": 12, "lr": 5e-3, "train_mb_size": 8, "evaluator": silent()}
    strategy = cls(model=model, **common, **options)
    for experience in experiences(kind)[:tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy


def logits(strategy, kind: type) -> Tensor:
    strategy.model.eval()
    with torch.no_grad(), strategy.evaluation_weights():
        return strategy.model(batches(kind)[0])


@pytest.mark.parametrize("kind", [Words, Convolutions])
@pytest.mark.parametrize(
    ("method", "head"), [("lora", "ridge"), ("ham", "ridge"), ("frozen", "ridge")]
)
def test_two_experiences_are_learned_with_a_text_and_a_convolutional_encoder(kind, method, head):
    strategy = trained(kind, method, head)
    hits = (logits(strategy, kind).argmax(1) == batches(kind)[1]).float().mean()
    assert hits > (0.9 if method == "frozen" else 0.5)  # chance is 0.25
    if method != "frozen":
        assert list(strategy.adapters.layers) == ["lift", "out"]
        assert all(d.any() for d in strategy.inference_update().values())


@pytest.mark.parametrize("kind", [Words, Convolutions])
@pytest.mark.parametrize("method", ["lora", "ham", "frozen"])
def test_the_encoder_s_own_weights_and_statistics_stay(kind, method):
    before = state_of(encoder(kind))
    after = state_of(trained(kind, method, "linear").model.encoder)
    assert not differing(before, {n: t for n, t in after.items() if n in before})


@pytest.mark.parametrize("kind", [Words, Convolutions])
@pytest.mark.parametrize("method", list(METHODS))
def test_a_saved_state_goes_on_with_the_same_predictions_and_leaves_frozen_weights_out(
    kind, method
):
    first = trained(kind, method, "ncm")
    tree = first.state_tree()
    again = trained(kind, method, "ncm", tasks=0)
    again.load_state_tree(tree)
    assert torch.equal(logits(again, kind), logits(first, kind))
    kept = {name for name in tree["model"] if name.startswith("encoder.")}
    if method == "finetune":
        assert kept == {f"encoder.{name}" for name in encoder(kind).state_dict()}
    else:
        assert not kept & {f"encoder.{name}" for name in encoder(kind).state_dict()}


def test_fine_tuning_trains_the_batch_norm_and_a_frozen_one_keeps_its_statistics():
    norm = trained(Convolutions, "finetune", "linear").model.encoder.trunk[1]
    assert norm.num_batches_tracked == 24 and norm.running_mean.any()


def test_only_the_adaptable_part_is_adapted_and_fine_tuned():
    class Half(Words):
        @property
        def adaptable(self) -> nn.Module:
            return self.out

    model = create_model(Half(), n_classes=4)
    SequentialStrategy(model=model, trains="network", evaluator=silent())
    moved = {n for n, p in model.encoder.named_parameters() if p.requires_grad}
    assert moved == {"out.weight", "out.bias"}


@pytest.mark.parametrize("cls", [L2PStrategy, DualPromptStrategy, CodaPromptStrategy, SEMAStrategy])
def test_methods_that_need_a_vit_say_so_in_one_line(cls):
    with pytest.raises(HamError, match="must be a fresh VitEncoder, but it is a Words") as e:
        cls(model=create_model(Words(), n_classes=4), evaluator=silent())
    assert "\n" not in str(e.value)


def test_a_module_that_is_no_encoder_is_refused_by_what_it_lacks():
    with pytest.raises(OptionError, match="encoder with num_features, but got 'Linear'"):
        create_model(nn.Linear(3, 4), n_classes=4)
    plain = nn.Linear(3, 4)
    plain.num_features = 4
    with pytest.raises(HamError, match="Linear must give an Encoding, but gave a Tensor"):
        create_model(plain, n_classes=4)(torch.zeros(2, 3))
