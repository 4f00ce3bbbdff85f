"""A run's adapters leave as peft folders and come back, with nothing lost."""

import socket

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from avalanche_ham import AdapterGroupingPlugin, create_model
from avalanche_ham.adapters.peft_format import load_peft
from avalanche_ham.backbones import create_backbone
from avalanche_ham.cli.main import main
from avalanche_ham.errors import HamError, NoMatchError, StateError, UnknownNameError
from avalanche_ham.runs.export import export, load_strategy
from avalanche_ham.runs.runner import Resources, RunConfig, run
from avalanche_ham.runs.saving import save_tree

SEED = 1


def finished_run(out, method="ham", **config):
    options = {"steps": 4, "lr": 1e-2} | config.pop("options", {})
    whole = RunConfig(method=method, preset="smoke", options=options, **config)
    run(whole, Resources(device="cpu"), out=out, show=False)
    return out


@pytest.fixture(scope="module")
def ham(tmp_path_factory):
    """The folder of a HAM run of five tasks and two groups, whose alphas moved."""
    options = {"rank": 4, "alpha_lr": 0.1, "targets": ("attn.qkv", "mlp.fc1")}
    return finished_run(tmp_path_factory.mktemp("run") / "ham", head="linear,ncm", options=options)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args):
        raise OSError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def features_of_peft(folder, model, images):
    """Features of the plain timm model with a folder's LoRA, as a stranger would get them."""
    plain = create_backbone("tiny", seed=SEED)
    network = plain if folder is None else peft.PeftModel.from_pretrained(plain, folder)
    inner = network.eval() if folder is None else network.eval().base_model.model
    tokens = inner.forward_features(model.encoder.preprocess(images))
    return inner.forward_head(tokens, pre_logits=True)


@torch.no_grad()
def features_of(model, images, update):
    with model.adapters.merged(update):
        return model.encode(images).features


@pytest.fixture
def damped(tmp_path):
    """The folder of a run of two tasks whose second adapter is merged at a fraction."""
    options = {"rank": 4, "damping": "sqrt"}
    return finished_run(tmp_path / "damped", benchmark="digits", n_tasks=2, options=options)


@pytest.mark.parametrize("name", ["ham", "damped"])
def test_the_merged_model_gives_the_same_features_in_peft(request, name, tmp_path, images):
    folder = request.getfixturevalue(name)
    assert export(folder, tmp_path / "to") == [tmp_path / "to"]
    strategy = load_strategy(folder)
    model = strategy.model
    expected = features_of(model, images, strategy.inference_update())
    found = features_of_peft(tmp_path / "to", model, images)
    base = features_of_peft(None, model, images)
    assert (expected - base).abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_head_predicts_from_those_features(ham, tmp_path, images):
    export(ham, tmp_path / "to")
    strategy = load_strategy(ham)
    head = load_file(tmp_path / "to" / "head.safetensors")
    features = features_of_peft(tmp_path / "to", strategy.model, images)
    scores = features @ head["weight"].T + head["bias"]
    with strategy.evaluation_weights(), torch.no_grad():
        logits = strategy.model(images)
    assert sorted(head["classes"].tolist()) == list(range(10))
    torch.testing.assert_close(scores, logits[:, head["classes"]], atol=1e-4, rtol=0)
    assert head["ncm.counts"].sum() == 80


def test_groups_are_scaled_by_their_alphas(ham, tmp_path, images):
    folders = export(ham, tmp_path / "to", kind="groups")
    assert [folder.name for folder in folders] == ["group-0", "group-1"]
    strategy = load_strategy(ham)
    alphas = strategy.grouping.memory["alphas"]
    assert min(abs(alpha - 1) for alpha in alphas) > 1e-3
    merged = strategy.inference_update()
    groups = [load_peft(folder) for folder in folders]
    for name, change in merged.items():
        total = sum(group[name].dense() for group in groups)
        torch.testing.assert_close(total, change, atol=1e-6, rtol=1e-5)
    for folder, group in zip(folders, groups):
        expected = features_of(strategy.model, images, group)
        found = features_of_peft(folder, strategy.model, images)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_tasks_are_the_pruned_adapters_to_the_last_bit(ham, tmp_path):
    folders = export(ham, tmp_path / "to", kind="tasks")
    assert [folder.name for folder in folders] == [f"task-{t:03d}" for t in range(5)]
    adapters = load_strategy(ham).grouping.memory["adapters"]
    for folder, update in zip(folders, adapters, strict=True):
        read = load_peft(folder)
        assert set(read) == set(update)
        assert all(torch.equal(read[n].a, update[n].a) for n in update)
        assert all(torch.equal(read[n].b, update[n].b) for n in update)


def test_task_adapters_that_are_brought_along_form_the_same_model(ham, tmp_path, images):
    folders = export(ham, tmp_path / "to", kind="tasks")
    strategy = load_strategy(ham)
    groups = strategy.grouping.memory["groups"]
    choices = iter([None if g not in groups[:t] else g for t, g in enumerate(groups)])
    adapters = create_model("tiny", n_classes=10, seed=SEED).attach_adapters(
        ("attn.qkv", "mlp.fc1")
    )
    plugin = AdapterGroupingPlugin(adapters, keep=1.0, assign=lambda s: next(choices))
    for folder in folders:
        plugin.adopt(load_peft(folder), alpha=1.0)
    assert plugin.memory["groups"] == groups
    for group in set(groups):
        mine, theirs = adapters.term(group), strategy.adapters.term(group)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_groups_rank_is_the_sum_of_its_members(ham, tmp_path):
    folders = export(ham, tmp_path / "to", kind="groups")
    members = load_strategy(ham).grouping.memory["groups"]
    for group, folder in enumerate(folders):
        ranks = {pair.rank for pair in load_peft(folder).values()}
        assert ranks == {4 * members.count(group)}


def test_the_folder_tells_what_it_is(ham, tmp_path, capsys):
    assert main(["export", str(ham), "--to", str(tmp_path / "to")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'to'}\n"
    names = {path.name for path in (tmp_path / "to").iterdir()}
    assert names >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "head.safetensors",
        "run.json",
    }
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]


@pytest.mark.parametrize("method", ["finetune", "frozen", "ncm"])
def test_a_method_without_adapters_has_nothing_to_export(method, tmp_path):
    folder = finished_run(tmp_path / "run", method, n_tasks=2)
    with pytest.raises(NoMatchError, match="export: "):
        export(folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_branch_without_a_weight_is_named(tmp_path, monkeypatch):
    class Router(torch.nn.Linear):
        foldable = False

    folder = finished_run(tmp_path / "run", "lora", n_tasks=2)
    strategy = load_strategy(folder)
    strategy.adapters.clear()
    strategy.adapters.open(lambda name, layer: Router(layer.in_features, layer.out_features))
    strategy.inference_update = lambda: None
    monkeypatch.setattr("avalanche_ham.runs.export.strategy_of", lambda tree: strategy)
    with pytest.raises(HamError, match=r"branch of blocks.0.attn.qkv is a Router, which depends"):
        export(folder, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("weights", [None, "w.safetensors"])
def test_the_card_s_code_puts_the_adapters_on_the_weights_of_the_run(
    tmp_path, images, monkeypatch, weights
):
    monkeypatch.chdir(tmp_path)
    save_file(create_backbone("tiny", seed=9).state_dict(), tmp_path / "w.safetensors")
    given = None if weights is None else str(tmp_path / weights)
    folder = finished_run(tmp_path / "run", n_tasks=1, seed=4, weights=given)
    export(folder, tmp_path / "to")
    code = (tmp_path / "to" / "README.md").read_text().split("```")[1].removeprefix("python\n")
    found: dict = {}
    exec(code.replace("FOLDER", "to"), found)
    strategy = load_strategy(folder)
    inner = found["model"].eval().base_model.model
    with torch.no_grad():
        tokens = inner.forward_features(strategy.model.encoder.preprocess(images))
        features = inner.forward_head(tokens, pre_logits=True)
    expected = features_of(strategy.model, images, strategy.inference_update())
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


def test_one_lora_is_exported_merged_but_has_no_groups(tmp_path, images):
    folder = finished_run(tmp_path / "run", "lora", n_tasks=2)
    export(folder, tmp_path / "to")
    strategy = load_strategy(folder)
    expected = features_of(strategy.model, images, strategy.inference_update())
    found = features_of_peft(tmp_path / "to", strategy.model, images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(NoMatchError, match="only ham keeps groups"):
        export(folder, tmp_path / "groups", kind="groups")


def test_folders_that_do_not_fit_are_refused(ham, tmp_path):
    with pytest.raises(UnknownNameError, match="merged"):
        export(ham, tmp_path / "to", kind="merge")
    with pytest.raises(StateError, match="lacks .*; ham table keeps .* --keep-state"):
        export(tmp_path / "nowhere", tmp_path / "to")
    save_tree(tmp_path / "other" / "state", {"something": "else"})
    with pytest.raises(StateError, match="not the state of a run"):
        export(tmp_path / "other", tmp_path / "to")
    state = tmp_path / "other" / "state" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:20])
    with pytest.raises(StateError, match="truncated"):
        export(tmp_path / "other", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_nothing_is_overwritten(ham, tmp_path):
    (tmp_path / "to").mkdir()
    export(ham, tmp_path / "to")  # an empty folder may exist
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "to").iterdir()}
    for to in (tmp_path / "to", tmp_path / "to" / "run.json"):
        with pytest.raises(HamError, match="not empty"):
            export(ham, to)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "to").iterdir()}


@pytest.mark.slow
def test_the_ridge_head_predicts_from_what_is_exported(tmp_path, images):
    folder = finished_run(tmp_path / "run", method="sd_lora", head="ridge")
    export(folder, tmp_path / "to")
    head = load_file(tmp_path / "to" / "head.safetensors")
    strategy = load_strategy(folder)
    features = features_of_peft(tmp_path / "to", strategy.model, images)
    lifted = (features / features.norm(dim=1, keepdim=True)) @ head["ridge.projection"]
    scores = lifted.relu() @ head["ridge.weights"]
    with strategy.evaluation_weights(), torch.no_grad():
        logits = strategy.model(images)
    seen = head["ridge.counts"] > 0
    torch.testing.assert_close(scores[:, seen], logits[:, seen], atol=1e-4, rtol=0)
    assert "ridge.gram" not in head


@pytest.mark.parametrize("call", ["save_peft", "write_whole"])
def test_an_export_that_is_cut_short_leaves_nothing(ham, tmp_path, monkeypatch, call):
    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"avalanche_ham.runs.export.{call}", die)
        with pytest.raises(KeyboardInterrupt):
            export(ham, tmp_path / "to")
    assert list(tmp_path.iterdir()) == []
    export(ham, tmp_path / "to")


def test_a_link_is_not_followed(ham, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HamError, match="to: .*to is a link; name the folder itself"):
        export(ham, tmp_path / "to")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_heads_that_follow_and_options_of_heads_leave_with_the_run(tmp_path, images):
    options = {"lda_drift_shrinkage": 0.6, "ridge_penalty": None, "ridge_projections": 30}
    head = "lda_drift,ridge"
    folder = finished_run(tmp_path / "run", head=head, benchmark="digits", options=options)
    export(folder, tmp_path / "to")
    tensors = load_file(tmp_path / "to" / "head.safetensors")
    strategy = load_strategy(folder)
    features = features_of_peft(tmp_path / "to", strategy.model, images)
    unit = features / features.norm(dim=1, keepdim=True)
    scores = unit @ tensors["lda_drift.weights"] + tensors["lda_drift.bias"]
    with strategy.evaluation_weights(), torch.no_grad():
        logits = strategy.model(images)
    torch.testing.assert_close(scores, logits, atol=1e-3, rtol=1e-3)
    assert strategy.model.readouts["lda_drift"].shrinkage == 0.6
    assert tensors["ridge.weights"].shape == (30, 10)
