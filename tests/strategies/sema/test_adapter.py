"""SEMA's modules against slow loops written from the paper's equations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from avalanche_ham.errors import HamError, OptionError
from avalanche_ham.strategies.sema.adapter import (
    WINDOW,
    BlockAdapters,
    Descriptor,
    ParallelAdapter,
)
from avalanche_ham.strategies.sema.expanding import ExpandingEncoder

WIDTH = 6


def grown(count: int, *, descriptor_width: int = 3) -> BlockAdapters:
    """A block with adapters, descriptors and rows of random weights."""
    torch.manual_seed(count)
    block = BlockAdapters(WIDTH, hidden=4, descriptor_width=descriptor_width)
    for _ in range(count):
        block.grow()
    for parameter in block.parameters():
        parameter.data.normal_()
    return block


def slow_adapter(adapter: ParallelAdapter, token: torch.Tensor) -> torch.Tensor:
    down = adapter.down.weight @ token + adapter.down.bias
    return adapter.up.weight @ down.clamp_min(0) + adapter.up.bias


def trainable(module: torch.nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_an_adapter_starts_as_zero_with_kaiming_rows():
    adapter = ParallelAdapter(WIDTH, 4)
    assert (adapter(torch.randn(2, 3, WIDTH)) == 0).all()
    assert adapter.down.weight.abs().max() <= WIDTH**-0.5
    assert adapter.down.weight.abs().min() > 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_adapters_are_mixed_by_the_router(count):
    block = grown(count)
    hidden = torch.randn(3, 4, WIDTH)
    expected = torch.zeros_like(hidden)
    for n, image in enumerate(hidden):
        scores = [row.weight[0] @ image.mean(0) + row.bias[0] for row in block.router]
        total = sum(score.exp() for score in scores)
        for adapter, score in zip(block.adapters, scores, strict=True):
            for position, token in enumerate(image):
                share = score.exp() / total
                expected[n, position] += share * slow_adapter(adapter, token)
    torch.testing.assert_close(block(hidden), expected, atol=1e-5, rtol=1e-4)


def test_a_descriptor_gives_each_images_mean_squared_error():
    descriptor = grown(1).descriptors[0]
    pooled = torch.randn(5, WIDTH)
    for loss, x in zip(descriptor(pooled), pooled, strict=True):
        code = descriptor.encoder.weight @ x + descriptor.encoder.bias
        again = descriptor.decoder.weight @ code + descriptor.decoder.bias
        torch.testing.assert_close(loss, F.mse_loss(again, x))


def test_statistics_are_those_of_the_newest_losses():
    descriptor, losses = Descriptor(WIDTH, 3), torch.rand(1000)
    for batch in losses.split(37):
        descriptor.record(batch)
    descriptor.settle()
    assert WINDOW == 500 and descriptor.count == 500
    torch.testing.assert_close(descriptor.mean, losses[-500:].mean())
    torch.testing.assert_close(descriptor.std, losses[-500:].std())
    before = descriptor.mean.clone()
    descriptor.settle()  # nothing new was remembered
    assert torch.equal(descriptor.mean, before)
    pooled = torch.randn(4, WIDTH)
    expected = (descriptor(pooled) - descriptor.mean).abs() / descriptor.std
    torch.testing.assert_close(descriptor.deviation(pooled), expected)


def test_fewer_than_three_losses_are_no_statistics():
    descriptor = Descriptor(WIDTH, 3)
    descriptor.record(torch.tensor([1.0, 2.0]))
    descriptor.settle()
    assert (descriptor.deviation(torch.randn(4, WIDTH)) == 0).all()


def test_surprise_is_the_least_mean_deviation():
    block = grown(3)
    for k, descriptor in enumerate(block.descriptors):
        descriptor.record(torch.rand(10) * (k + 1))
        descriptor.settle()
    pooled = torch.randn(8, WIDTH)
    means = [float(d.deviation(pooled).mean()) for d in block.descriptors]
    assert block.surprise(pooled) == pytest.approx(min(means))


def test_only_the_newest_parts_train_each_in_its_phase():
    block = grown(2)
    assert trainable(block) == set()
    block.train_adapter()
    names = ("down.weight", "down.bias", "up.weight", "up.bias")
    newest = {f"adapters.1.{name}" for name in names}
    assert trainable(block) == newest | {"router.1.weight", "router.1.bias"}
    block.train_descriptor()
    assert {name.rpartition(".")[0] for name in trainable(block)} == {
        "descriptors.1.encoder",
        "descriptors.1.decoder",
    }
    block.freeze()
    block.train_adapter()
    assert trainable(block) == set()  # nothing is new any more


def test_a_block_that_never_expands_has_neither_descriptor_nor_router():
    block = grown(1, descriptor_width=0)
    block.train_adapter()
    assert len(trainable(block)) == 4
    block.train_descriptor()
    assert trainable(block) == set()
    assert not len(block.descriptors) and not len(block.router)


@pytest.fixture
def encoder(model):
    """The tiny ViT with one adapter a block, the last two of three expandable."""
    made = ExpandingEncoder(model.encoder, hidden=4, descriptor_width=8, expandable=2)
    for index in range(3):
        made.grow(index)
    return made


def test_fresh_adapters_change_nothing(encoder, model):
    images = torch.randn(2, 3, 16, 16)
    plain = model.encoder(images).features
    torch.testing.assert_close(encoder(images).features, plain)


def test_adapters_stand_in_parallel_with_the_mlp(encoder):
    torch.manual_seed(0)
    for _name, parameter in encoder.blocks.named_parameters():
        parameter.data.normal_(std=0.1)
    encoder.grow(2)
    encoder.eval()
    images, vit = torch.randn(2, 3, 16, 16), encoder.vit
    x = vit._pos_embed(vit.patch_embed(images))
    for block, beside in zip(vit.blocks, encoder.blocks, strict=True):
        x = x + block.attn(block.norm1(x))
        x = x + block.mlp(block.norm2(x)) + beside(x)
    torch.testing.assert_close(encoder(images).features, vit.norm(x)[:, 0])
    assert encoder(images).penalty is None


def test_the_penalty_is_the_new_descriptors_loss_in_their_phase(encoder):
    images = torch.randn(4, 3, 16, 16)
    encoder.train()
    encoder.each(BlockAdapters.train_adapter)
    assert encoder(images).penalty is None  # but the losses are remembered
    assert [len(b.descriptors[0].recent) for b in encoder.blocks if b.expandable] == [
        1,
        1,
    ]
    encoder.each(BlockAdapters.train_descriptor)
    encoding = encoder(images)
    losses = [torch.cat(b.descriptors[0].recent[1:]).mean() for b in encoder.blocks[1:]]
    torch.testing.assert_close(encoding.penalty.detach(), sum(losses))
    assert not encoding.features.requires_grad
    encoding.penalty.backward()
    assert {n.split(".")[2] for n, p in encoder.named_parameters() if p.grad is not None} == {
        "descriptors"
    }


def test_wrong_options_are_errors(encoder, model):
    with pytest.raises(HamError, match="fresh VitEncoder, but it is a ExpandingEncoder"):
        ExpandingEncoder(encoder, hidden=4, descriptor_width=8, expandable=2)
    with pytest.raises(OptionError, match="hidden must be at least 1"):
        ExpandingEncoder(model.encoder, hidden=0, descriptor_width=8, expandable=2)
    with pytest.raises(OptionError, match="expandable must be at least 0"):
        ExpandingEncoder(model.encoder, hidden=4, descriptor_width=8, expandable=-1)
