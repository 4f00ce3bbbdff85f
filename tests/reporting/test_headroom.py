"""The gap between frozen features and joint training, and how many seeds a difference needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_records import made_up

from avalanche_ham.cli.main import main
from avalanche_ham.reporting.headroom import headroom, headroom_runs
from avalanche_ham.reporting.headroom_in_words import overview, report, warning

COMMON = {"benchmark": "cifar100", "n_tasks": 10, "preset": "cpu"}
LIKE = {"benchmark": "cifar100", "preset": "cpu", "backbone": "embedded", "image_size": 160}


def archive_with(archive_of, **scores):
    runs = headroom_runs(COMMON, (1, 2))
    return archive_of(*[(run, {"aa": scores[f"{run.method}_{run.head}"]}) for run in runs])


def test_the_gap_is_joint_training_less_frozen_features(archive_of):
    scores = {"frozen_ncm": 40.0, "frozen_ridge": 42.0, "joint_linear": 70.0, "joint_ridge": 74.0}
    found = headroom(archive_with(archive_of, **scores), LIKE)
    assert found.points == 32.0 and found.images == 1000
    assert found.error == pytest.approx(100 * np.sqrt(0.25 / 1000))
    lines = list(report(found, benchmark="cifar100", backbone="embedded", image_size=160))
    assert lines[0] == "CIFAR-100, embedded, 160 px, 10 tasks, AA (%)"
    assert "32.0 points here. A comparison on it can tell." in lines[-1]
    assert warning(archive_with(archive_of, **scores), LIKE) is None


def test_tables_warn_where_there_is_little_to_gain_or_nobody_has_looked(archive_of):
    scores = {"frozen_ncm": 60.0, "frozen_ridge": 66.2, "joint_linear": 60.0, "joint_ridge": 68.1}
    archive = archive_with(archive_of, **scores)
    assert "frozen features reach 66.2, joint training 68.1" in warning(archive, LIKE)
    other = {**LIKE, "image_size": 96}
    assert headroom(archive, other) is None and "no headroom on record" in warning(archive, other)


def test_records_of_another_version_and_second_ones_do_not_count(archive_of):
    scores = {"frozen_ncm": 60.0, "frozen_ridge": 66.0, "joint_linear": 60.0, "joint_ridge": 68.0}
    archive = archive_with(archive_of, **scores)
    for run in headroom_runs(COMMON, (1, 2, 3)):
        if run.head == "ridge":
            for values in ({"numbers_version": 0}, {} if run.seed < 3 else {"numbers_version": 0}):
                archive.add(made_up(run, aa=10.0, **values))
    found = headroom(archive, LIKE)
    assert found.points == pytest.approx(2.0) and found.seeds == (1, 2)


def test_records_on_held_out_images_do_not_count(archive_of):
    runs = headroom_runs(COMMON, (1,))
    archive = archive_of(*[(run, {"selection": "holdout"}) for run in runs])
    assert headroom(archive, LIKE) is None


def test_a_run_with_options_of_its_own_is_another_instrument(archive_of):
    runs = headroom_runs({"benchmark": "cifar100", "n_tasks": 10, "preset": "study"}, [1])
    pairs = [(run, {"aa": 40.0 if run.method == "frozen" else 70.0}) for run in runs]
    like = {"benchmark": "cifar100", "preset": "study"}
    assert headroom(archive_of(*pairs), like).points == 30.0
    other = replace(runs[1], options={"ridge_penalty": 0.5})
    assert (other.method, other.head) == ("frozen", "ridge")
    assert headroom(archive_of(*pairs, (other, {"aa": 90.0})), like).points == 30.0


def test_a_seed_that_only_one_of_them_has_does_not_count(archive_of):
    runs = headroom_runs(COMMON, (1,))
    pairs = [(run, {"aa": 40.0 if run.method == "frozen" else 70.0}) for run in runs]
    alone = replace(runs[1], seed=2)
    assert (alone.method, alone.head) == ("frozen", "ridge")
    assert headroom(archive_of(*pairs, (alone, {"aa": 90.0})), LIKE).points == 30.0


def instrument(scores, weights=None, **common):
    """Runs of frozen features and of joint training under ridge, over some seeds."""
    runs = headroom_runs({**COMMON, **common}, tuple(range(1, len(scores) + 1)))
    values = {"frozen": 0, "joint": 1}
    return [
        (run, {"aa": scores[run.seed - 1][values[run.method]], "weights_digest": weights})
        for run in runs
    ]


def test_numbers_of_tasks_and_weights_are_not_mixed(archive_of):
    ten, fifty = instrument([(40, 70), (42, 72)]), instrument([(10, 90)], n_tasks=50)
    other = instrument([(50, 51)], weights="other")
    for pairs in ([*ten, *fifty, *other], [*other, *fifty, *ten]):
        found = headroom(archive_of(*pairs), LIKE)
        assert (found.tasks, found.seeds, found.points) == (10, (1, 2), 30.0)
    assert headroom(archive_of(*ten, *fifty), {**LIKE, "n_tasks": 50}).points == 80.0


def few(scores, classes):
    """The same on the first so many classes."""
    return [
        (replace(run, options={"classes": classes}), {**values, "test_images": [50] * 10})
        for run, values in instrument(scores)
    ]


def test_some_of_the_classes_are_another_instrument(archive_of):
    whole, some = instrument([(40, 70), (42, 72)]), few([(50, 99)], 20)
    archive = archive_of(*whole, *some)
    assert headroom(archive, LIKE).points == 30.0
    assert headroom(archive, LIKE, 20).points == 49.0
    assert headroom(archive, LIKE, 20).images == 500
    assert headroom(archive_of(*some), LIKE).points == 49.0  # better than none at all
    titles = [line.split(" | ")[0].strip("| ") for line in overview(archive)][2:]
    assert titles == ["CIFAR-100 (20 classes)", "CIFAR-100"]
    little = archive_of(*whole, *few([(50, 52)], 20))
    assert warning(little, LIKE) is None and "reach 50.0" in warning(little, LIKE, 20)
    words = "headroom is on record for 20 classes (49.0 points), not for all classes"
    assert warning(archive_of(*some), LIKE) == words


def test_the_command_speaks_of_the_runs_that_it_was_asked_for(shelf, capsys, monkeypatch):
    monkeypatch.setattr("avalanche_ham.runs.at_hand.AtHand", lambda resources: None)
    pairs = [*instrument([(40, 70), (10, 90)]), *instrument([(1, 99)] * 3, n_tasks=50)]
    for run, values in pairs:
        shelf.put(replace(run, benchmark="digits"), **values)
    words = ["headroom", "--preset", "cpu", "--benchmark", "digits", "--records", str(shelf.folder)]
    for seeds, tasks, points in (("1", "10", "30.0"), ("1,2", "10", "55.0"), ("1", "50", "98.0")):
        assert main([*words, "--seeds", seeds, "--tasks", tasks]) == 0
        assert f"can differ by about {points} points" in capsys.readouterr().out


def test_the_headroom_of_another_preset_on_the_same_instrument_counts(archive_of):
    scores = {"frozen_ncm": 60.0, "frozen_ridge": 66.2, "joint_linear": 60.0, "joint_ridge": 68.1}
    archive = archive_with(archive_of, **scores)
    assert "frozen features reach 66.2" in warning(archive, {**LIKE, "preset": "study"})


def test_as_many_classes_of_another_preset_come_before_another_number_of_this_one(archive_of):
    place = {"preset": "study", **{key: LIKE[key] for key in ("backbone", "image_size")}}
    some = [(replace(run, **place), values) for run, values in few([(50, 99)], 20)]
    assert "for 20 classes" in warning(archive_of(*some), {**LIKE, "preset": "study"})
    archive = archive_of(*instrument([(40, 42)]), *some)
    assert "frozen features reach 40.0" in warning(archive, {**LIKE, "preset": "study"})


@pytest.mark.slow
def test_the_command_makes_its_runs_once_and_says_what_they_tell(tmp_path, capsys):
    words = "headroom --benchmark digits --preset smoke --tasks 2 --jobs 0".split()  # noqa: SIM905
    assert main([*words, "--records", str(tmp_path)]) == 0
    first = capsys.readouterr()
    assert (
        "digits, tiny, 16 px, 2 tasks" in first.out and "Methods can differ by about" in first.out
    )
    assert main([*words, "--classes", "4", "--records", str(tmp_path)]) == 0
    assert "digits (4 classes), tiny, 16 px, 2 tasks" in capsys.readouterr().out
    assert main([*words, "--records", str(tmp_path)]) == 0
    second = capsys.readouterr()
    assert second.out == first.out and "[1/" not in second.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--jobs -1", "jobs must be at least 0"),
        ("--threads 0", "threads must be at least 1"),
        ("--device meta", "device must be auto, cpu or"),
        ("--seeds one", "seeds must be whole numbers"),
        ("--seeds=-1", "seeds must be at least 0"),
        ("--image-size 0", "image_size must be at least 1"),
        ("--classes 0", "classes must be at least 1"),
        ("--benchmark digits --classes 5", "tasks must be at least 1 and at most 5"),
        (
            "--benchmark digits --preset smoke --tasks 20",
            "ham: tasks must be at least 1 and at most 10",
        ),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(words, said, tmp_path, capsys):
    assert main(["headroom", *words.split(), "--records", str(tmp_path / "new")]) == 2
    printed, error = capsys.readouterr()
    assert said in error and error.count("\n") == 1 and not printed
    assert not (tmp_path / "new").exists()
