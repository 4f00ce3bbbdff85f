"""Bad input: one clear line on standard error, exit code 2, nothing written."""

import shutil

import numpy as np
import pytest
from PIL import Image

from avalanche_ham.cli.main import main
from avalanche_ham.runs.lock import LOCK, RunLock

SMOKE = ("run", "--preset", "smoke", "--device", "cpu", "--tasks", "2")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("AVALANCHE_HAM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that must fail; give its one line. ``OUT`` stands for a new folder."""

    def run(*words, writes=False):
        out = tmp_path / "out"
        given = [str(out) if word == "OUT" else str(word) for word in words]
        capsys.readouterr()
        assert main(given) == 2
        printed, error = capsys.readouterr()
        assert printed == ""
        assert error.startswith("ham: ") and error.count("\n") == 1
        assert writes or not out.exists()
        return error

    return run


@pytest.mark.parametrize(
    "words, said",
    [
        ("bake", "invalid choice: 'bake'"),
        ("list tables", "invalid choice: 'tables'"),
        ("demo --output x", "--output"),
        ("export RUN", "--to"),
        ("run --resume", "resume must be given together with --out"),
        ("export nosuch --to OUT", "nosuch/state lacks state.safetensors; ham table keeps"),
    ],
)
def test_commands(words, said, refused):
    assert said in refused(*words.split())


@pytest.mark.parametrize(
    "words, said",
    [
        ("--method hma", "did you mean 'ham'"),
        ("--benchmark digit", "did you mean 'digits'"),
        ("--benchmark digit --download", "did you mean 'digits'"),
        ("--head rigde", "ridge"),
        ("--preset paer", "did you mean 'paper'"),
        ("--backbone tinny", "did you mean 'tiny'"),
        ("--rnak 4", "did you mean '--rank'"),
        ("--merge tis", "did you mean 'ties'"),
        ("--space delt", "delta, factors"),
        ("--weights-rule oen", "did you mean 'one'"),
        ("--scope all", "current, seen, seen_frozen"),
        ("--precision fp16", "fp32"),
        ("--method frozen --keep 0.5", "option of frozen"),
        ("--method ewc --ewc-strenght 1", "did you mean '--ewc-strength'"),
        ("--train-per-clas 3", "did you mean '--train-per-class'"),
        ("--size 32", "option of ham"),  # an option of other benchmarks
        ("--merge ties --majority totl", "did you mean 'total'"),
        ("--device gpu", "device must be auto, cpu or"),
        ("--device cuda:77", "cuda:77"),
        ("--device meta", "device must be auto, cpu or"),
        ("--targets attn.kqv", "no linear layer's name ends with 'attn.kqv'"),
        ("--slots q,x", "slots must be some of q, k, v"),
    ],
)
def test_unknown_names(words, said, refused):
    assert said in refused(*SMOKE, *words.split(), "--out", "OUT")


@pytest.mark.parametrize(
    "words, said",
    [
        ("--rank four", "rank must be a whole number, but got 'four'"),
        ("--rank 4.5", "rank must be a whole number, but got '4.5'"),
        ("--keep most", "keep must be a number, but got 'most'"),
        ("--tasks two", "tasks must be a whole number, but got 'two'"),
        ("--rank", "--rank"),
        ("--keep-unpruned maybe", "keep_unpruned must be true or false"),
        ("--rank 0", "rank must be at least 1, but got 0"),
        ("--rank 49", "rank must be between 1 and 48, the layer's size, but got 49"),
        ("--keep 0", "keep must be above 0 and at most 1, but got 0.0"),
        ("--keep 1.01", "keep must be above 0 and at most 1, but got 1.01"),
        ("--keep nan", "keep must be a finite number, but got 'nan'"),
        ("--similarity-threshold inf", "similarity_threshold must be a finite number"),
        ("--lr -inf", "--lr"),
        ("--density nan", "density must be a finite number"),
        ("--density 1.5", "density must be at least 0 and at most 1"),
        ("--max-groups 0", "max_groups must be at least 1"),
        ("--similarity-threshold -2", "threshold must be at least -1"),
        ("--lr 0", "lr must be above 0"),
        ("--lr fast", "lr must be a number"),
        ("--alpha-lr -1", "alpha_lr must be at least 0"),
        ("--alpha-lr much", "alpha_lr must be a number, but got 'much'"),
        ("--steps 2.5", "steps must be a whole number, but got '2.5'"),
        ("--steps 0", "steps must be at least 1"),
        ("--batch-size 0", "batch_size must be at least 1"),
        ("--epochs 0", "epochs must be at least 1"),
        ("--eval-batch-size 0", "eval_batch_size must be at least 1"),
        ("--merge ties --density 1.5", "density must be"),
        ("--density 0.5", "density must be given together with merge ties, dare, dare_ties, but"),
        ("--merge dare --majority total", "majority must be given together with merge ties, dare_"),
        ("--method ties --rank 49", "rank must be between 1 and 48, the layer's size, but got 49"),
        ("--method ewc --ewc_decay 2", "ewc_decay must be at least 0 and at most 1"),
        ("--classes-per-task 5,x", "classes_per_task must be a whole number, but got '5,x'"),
        ("--classes-per-task 5,4", "classes_per_task must be 2 numbers of at least 1 that add up"),
        ("--seed -1", "seed must be at least 0"),
        ("--threads 0", "threads must be at least 1 and at most 1024"),
        ("--threads 999999999", "threads must be at least 1 and at most 1024"),
        ("--tasks 11", "ham: tasks must be at least 1 and at most 10 (the number of"),
        ("--tasks 0", "ham: tasks must be at least 1"),
        ("--method inflora --n-tasks 0", "ham: n_tasks must be at least 1"),
        ("--train-per-class 0", "train_per_class must be at least 1"),
        ("--holdout 1", "holdout must be at least 0 and below 1"),
    ],
)
def test_values_outside_their_range(words, said, refused):
    assert said in refused(*SMOKE, *words.split(), "--out", "OUT")


@pytest.fixture
def pictures(tmp_path):
    """An image folder of two classes with two images each."""
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


def no_folder(root):
    shutil.rmtree(root)


def no_part(root):
    shutil.rmtree(root / "test")


def no_classes(root):
    for name in ("cat", "dog"):
        shutil.rmtree(root / "train" / name)


def empty_class(root):
    for image in (root / "train" / "dog").iterdir():
        image.unlink()


def corrupt_image(root):
    path = root / "train" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:40])


def other_classes(root):
    (root / "test" / "dog").rename(root / "test" / "wolf")


@pytest.mark.parametrize(
    "damage, said",
    [
        (no_folder, "pictures"),
        (no_part, "test"),
        (no_classes, "train"),
        (empty_class, "dog"),
        (corrupt_image, "1.png"),
        (other_classes, "wolf"),
    ],
)
def test_data_folders(damage, said, pictures, refused):
    words = ("--benchmark", "image_folder", "--data-root", pictures, "--out", "OUT")
    damage(pictures)
    assert said in refused(*SMOKE, *words)


def test_the_undamaged_data_folder_is_fine(pictures, tmp_path):
    words = ("--benchmark", "image_folder", "--data-root", str(pictures), "--download")
    assert main([*SMOKE, *words, "--out", str(tmp_path / "out")]) == 0


def test_weights_files(tmp_path, refused):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    for path in (tmp_path / "none.pth", broken):
        line = refused(*SMOKE, "--weights", path, "--out", "OUT")
        assert "weights: cannot read" in line and path.name in line


@pytest.fixture
def finished(tmp_path):
    """The words of a run that is finished in ``OUT``."""
    words = (*SMOKE, "--method", "frozen")
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    return words


def test_a_folder_that_holds_a_run_already(finished, tmp_path, refused):
    before = sorted(p.read_bytes() for p in (tmp_path / "out").rglob("*.*"))
    assert "add --resume" in refused(*finished, "--out", "OUT", writes=True)
    other = refused(*finished, "--seed", "2", "--out", "OUT", "--resume", writes=True)
    assert "holds another run: seed: 1 there, 2 given" in other
    more = refused(*finished, "--tasks", "3", "--out", "OUT", "--resume", writes=True)
    assert "holds another run: tasks: 2 there, 3 given" in more
    faster = refused(*finished, "--lr", "0.5", "--out", "OUT", "--resume", writes=True)
    assert faster.endswith("holds another run: lr: 0.001 there, 0.5 given\n")
    assert before == sorted(p.read_bytes() for p in (tmp_path / "out").rglob("*.*"))


@pytest.mark.parametrize("words", [(*SMOKE, "--method", "frozen"), ("demo",)])
def test_a_folder_that_another_process_works_in(words, tmp_path, refused):
    other = RunLock(tmp_path / "out")
    assert other.acquire()
    said = refused(*words, "--out", "OUT", writes=True)
    assert said == f"ham: out: {tmp_path / 'out'} is in use by another process\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]


def test_truncated_and_foreign_checkpoints(finished, tmp_path, refused):
    (tmp_path / "out" / "records.jsonl").unlink()
    state = tmp_path / "out" / "state" / "state.safetensors"
    whole = state.read_bytes()
    for damaged in (whole[:100], whole[:-5], b"", b"\x80\x04pickle" * 9):
        state.write_bytes(damaged)
        line = refused(*finished, "--out", "OUT", "--resume", writes=True)
        assert "state.safetensors" in line
        assert state.read_bytes() == damaged


def test_places_that_cannot_be_written(tmp_path, refused):
    file = tmp_path / "file"
    file.write_text("text")
    assert "is a file" in refused(*SMOKE, "--out", file)
    assert "file" in refused(*SMOKE, "--method", "frozen", "--out", file / "below")
    assert "is a file" in refused("demo", "--out", file)
    assert file.read_text() == "text"
