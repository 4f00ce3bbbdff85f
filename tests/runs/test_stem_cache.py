"""The stem's outputs in the images' place: same benchmark, same results, one file for all."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sampling import some_of

from avalanche_ham.backbones import create_model, embedded
from avalanche_ham.backbones.hybrid import create_hybrid_vit, fold_batch_norms
from avalanche_ham.benchmarks._domains import domain_incremental
from avalanche_ham.benchmarks.image_set import ImageSet
from avalanche_ham.runs import stem_cache
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.run import Run
from avalanche_ham.runs.runner import run
from avalanche_ham.runs.stem_cache import find_stem, past_stem
from avalanche_ham.strategies.prompts.l2p import L2PStrategy
from avalanche_ham.strategies.sema.strategy import SEMAStrategy

SIZE = 64


def hybrid():
    torch.manual_seed(0)
    vit = create_hybrid_vit(img_size=SIZE, depth=1, embed_dim=48, num_heads=3)
    fold_batch_norms(vit.patch_embed.backbone)
    numbers = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "input_size": (3, SIZE, SIZE)}
    vit.pretrained_cfg = vit.default_cfg = {**numbers, "interpolation": "bilinear"}
    return vit.eval()


@pytest.fixture
def hybrid_model():
    return create_model(hybrid(), n_classes=10)


def files(folder):
    return sorted(path.name for path in folder.glob("*"))


def samples(stream):
    return [torch.stack([x for x, *_ in experience.dataset]) for experience in stream]


def labels(stream):
    return [[int(y) for _, y, *_ in experience.dataset] for experience in stream]


@torch.no_grad()
def test_every_image_gives_the_same_features_at_the_same_place(benchmark, hybrid_model, tmp_path):
    short = past_stem(benchmark, hybrid_model.encoder, tmp_path)
    for part in ("train_stream", "test_stream"):
        images, outputs = getattr(benchmark, part), getattr(short, part)
        assert labels(outputs) == labels(images)
        for x, y in zip(samples(images), samples(outputs), strict=True):
            assert y.shape[1:] == (320, SIZE // 32, SIZE // 32)
            expected = hybrid_model.encode(x).features
            torch.testing.assert_close(
                hybrid_model.encode(y).features, expected, rtol=1e-5, atol=1e-5
            )
            assert expected.std(0).max() > 1e-3  # images are told apart


def test_the_benchmark_stays_the_same_but_for_its_images(benchmark, hybrid_model, tmp_path):
    before = torch.get_rng_state()
    short = past_stem(benchmark, hybrid_model.encoder, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert (short.name, short.tasks) == (benchmark.name, benchmark.tasks)
    assert short.class_order_hash == benchmark.class_order_hash
    for mine, theirs in zip(short.train_stream, benchmark.train_stream, strict=True):
        classes = mine.classes_in_this_experience
        assert set(classes) == set(theirs.classes_in_this_experience)


def test_streams_of_other_lengths_share_the_files(benchmark, hybrid_model, tmp_path):
    from avalanche_ham.benchmarks import create_benchmark

    few = {"train_per_class": 3, "test_per_class": 2}
    for n_tasks in (1, 5):
        digits = create_benchmark("digits", data_root=".", n_tasks=n_tasks, seed=2, **few)
        past_stem(digits, hybrid_model.encoder, tmp_path)
        assert len(files(tmp_path)) == 2  # training and test images


def test_a_second_call_computes_nothing(benchmark, hybrid_model, tmp_path, monkeypatch):
    first = past_stem(benchmark, hybrid_model.encoder, tmp_path)
    monkeypatch.setattr(stem_cache, "_compute", lambda *_: pytest.fail("computed again"))
    second = past_stem(benchmark, hybrid_model.encoder, tmp_path)
    assert torch.equal(samples(first.test_stream)[0], samples(second.test_stream)[0])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "size", "normalisation"])
def test_another_stem_or_input_gets_other_files(what, benchmark, hybrid_model, tmp_path):
    past_stem(benchmark, hybrid_model.encoder, tmp_path)
    encoder = hybrid_model.encoder
    if what == "weights":
        next(find_stem(encoder).parameters()).data.mul_(1.5)
    elif what == "size":
        encoder.preprocess.size = (SIZE + 32, SIZE + 32)
    else:
        encoder.preprocess.mean += 0.1
    past_stem(benchmark, encoder, tmp_path)
    assert len(files(tmp_path)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 64, 5000])
def test_a_damaged_file_is_written_again(kept, benchmark, hybrid_model, tmp_path):
    expected = samples(past_stem(benchmark, hybrid_model.encoder, tmp_path).test_stream)
    for path in (paths := list(tmp_path.glob("*.rows"))):
        path.write_bytes(path.read_bytes()[:kept])
    assert len(paths) == 2
    with pytest.warns(UserWarning, match="rows is damaged; the stem outputs are computed again"):
        again = samples(past_stem(benchmark, hybrid_model.encoder, tmp_path).test_stream)
    assert all(map(torch.equal, again, expected))


def test_a_full_disk_means_images_a_warning_and_no_rubbish(
    benchmark, hybrid_model, tmp_path, monkeypatch
):
    def full(*_):
        yield np.zeros((1, 320, 2, 2), np.float32)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stem_cache, "_compute", full)
    with pytest.warns(UserWarning, match="No space left.*AVALANCHE_HAM_CACHE"):
        result = past_stem(benchmark, hybrid_model.encoder, tmp_path)
    assert result is benchmark and not files(tmp_path)


def test_a_folder_that_cannot_be_made_means_images_and_a_warning(benchmark, hybrid_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="Not a directory"):
        result = past_stem(benchmark, hybrid_model.encoder, tmp_path / "file" / "stem")
    assert result is benchmark


def test_only_old_leftovers_are_removed(benchmark, hybrid_model, tmp_path):
    old, fresh = tmp_path / "old.partial", tmp_path / "fresh.partial"
    for path in (old, fresh):
        path.write_text("")
    os.utime(old, (time.time() - 3 * 24 * 3600,) * 2)
    past_stem(benchmark, hybrid_model.encoder, tmp_path)
    assert fresh.exists() and not old.exists()


@pytest.fixture
def small_embedded(monkeypatch, tmp_path):
    """A small random hybrid in the place of the embedded backbone; a cache of its own."""
    monkeypatch.setattr(embedded, "load_embedded", hybrid)
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def smoke(method: str, head: str, *, cache: bool, **more):
    config = RunConfig(method=method, head=head, n_tasks=2, preset="smoke", backbone="embedded")
    return run(config, Resources(device="cpu", stem_cache=cache), show=False, **more)


@pytest.mark.parametrize(
    "run",
    some_of(
        ["ham linear", "ham ncm", "finetune linear", "joint linear", "ridge ridge"],
        "ham ncm",
        "finetune linear",
    ),
)
def test_a_run_gives_the_same_accuracy_with_and_without(run, small_embedded):
    method, head = run.split()
    plain, short = (smoke(method, head, cache=cache) for cache in (False, True))
    assert files(small_embedded / "cache" / "stem")
    assert short["test_images"] == plain["test_images"]
    step = 1.01 / min(plain["test_images"])  # rounding may move one image over the border
    for mine, theirs in zip(short["accuracy_matrix"], plain["accuracy_matrix"]):
        assert mine == pytest.approx(theirs, abs=step)


@pytest.mark.parametrize("kind", [L2PStrategy, SEMAStrategy])
def test_prompts_and_adapters_beside_the_mlp_train_alike(kind, benchmark, tmp_path):
    settings = {"steps": 2, "train_mb_size": 6, "evaluator": None, "seed": 3}
    predictions = []
    for cached in (False, True):
        model = create_model(hybrid(), n_classes=10)
        strategy = kind(model=model, **settings)
        stream = benchmark
        if cached:
            stream = past_stem(benchmark, model.encoder, tmp_path)
        strategy.train(stream.train_stream[:2], eval_streams=[])
        model.eval()
        with torch.no_grad(), strategy.evaluation_weights():
            predictions.append(model(samples(stream.test_stream)[0]))
    torch.testing.assert_close(*predictions, rtol=1e-3, atol=1e-4)


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_killed_and_resumed_run_ends_the_same(small_embedded):
    def kill(current):
        raise Killed

    expected = smoke("ham", "linear", cache=True)
    with pytest.raises(Killed):
        smoke("ham", "linear", cache=True, out=small_embedded / "out", after_task=kill)
    record = smoke("ham", "linear", cache=True, out=small_embedded / "out", resume=True)
    assert record["accuracy_matrix"] == expected["accuracy_matrix"]
    assert record["groups"]["alphas"] == expected["groups"]["alphas"]


@torch.no_grad()
def test_domains_in_every_order_have_their_own_outputs(hybrid_model, tmp_path):
    def images(seed: int) -> ImageSet:
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
        return ImageSet(pixels, targets=[0, 1] * 3, classes=["a", "b"])

    sets = {f"domain {k}": (images(k), images(10 + k)) for k in range(3)}
    streams = [domain_incremental(sets, n_tasks=3, seed=s, name="made up") for s in range(4)]
    assert len({stream.domains for stream in streams}) > 1
    for stream in streams:
        short = past_stem(stream, hybrid_model.encoder, tmp_path)
        assert short.domains == stream.domains
        assert short.class_order_hash == stream.class_order_hash
        for x, y in zip(samples(stream.test_stream), samples(short.test_stream), strict=True):
            features = [hybrid_model.encode(part).features for part in (x, y)]
            torch.testing.assert_close(*features, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_copies_of_images_are_made_of_images_not_of_a_stem_s_outputs():
    config = RunConfig(
        "frozen", "digits", n_tasks=5, head="lda_drift", backbone="embedded", preset="smoke"
    )
    for views, kept in (("none", True), ("turned", False)):
        settings = resolve_config(replace(config, options={"lda_drift_views": views}))
        assert Run(settings, Resources(device="cpu", threads=1), show=False).stem_cache is kept
