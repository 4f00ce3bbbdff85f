"""The search for HAM+'s settings, in miniature and on made-up points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avalanche_ham.heads import create_readout
from avalanche_ham.runs.packed import pack


@pytest.fixture
def script(drift_heads):
    import ham_plus_search

    return ham_plus_search


def test_the_heads_that_are_searched_are_what_their_names_say(script):
    for name, words in script.VARIANTS.items():
        readout = create_readout(name, 4, 3)
        option, value = words.split()
        found = readout.move.penalty if option == "penalty" else readout.shrinkage
        assert found == float(value) and readout.follows
    assert create_readout("lda_drift_unmoved", 4, 3).move.penalty == 1e9


@pytest.mark.slow
def test_two_dampings_are_tried_on_held_out_images_once_each(script, tmp_path, capsys, monkeypatch):
    settings = ({"damping": 0.5}, {"damping": "sqrt"})
    monkeypatch.setattr(script, "STEPS", {"damping": settings})
    words = "--benchmark digits --tasks 2,3 --preset smoke --jobs 0 --device cpu --threads 1"
    words = [*words.split(), "--records", str(tmp_path)]
    script.main(words)
    printed = capsys.readouterr().out
    assert "Chosen: " in printed
    (search,) = (line for line in printed.splitlines() if line.startswith("| damping | damping s"))
    files = sorted(tmp_path.rglob("records.jsonl"))
    assert len(files) == 2 * 3  # a training for each length and setting
    from avalanche_ham.runs.records import read_records

    records = [record for file in files for record in read_records(file)]
    assert {record["selection"] for record in records} == {"holdout"}
    assert len({record["head"] for record in records}) == len(records) / 6 == 10
    mine = {
        (record["n_tasks"], record["head"]): record["aa"]
        for record in records
        if record["hyperparameters"]["damping"] == "sqrt"
    }
    cells = [cell.strip(" *") for cell in search.split("|")[3:-4]]
    expected = [
        " / ".join(f"{mine[n, head]:.1f}" for n in (2, 3))
        for head in (*script.OTHERS, *script.VARIANTS)
    ]
    assert cells == expected
    script.main([*words, "--dry"])
    assert capsys.readouterr().out == printed
    assert sorted(tmp_path.rglob("records.jsonl")) == files


def test_a_base_is_where_the_first_step_starts(script, tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(script, "points", lambda s, grid: asked.extend(grid) or iter([None]))
    words = ["--records", str(tmp_path), "--steps", "rank", "--dry"]
    script.main([*words, "--base", "damping=0.5,assignment=none,keep=1"])
    assert asked == [{"damping": 0.5, "assignment": "none", "keep": 1.0}]
    assert "| | damping 0.5, assignment none, keep 1.0 | -" in capsys.readouterr().out


def point(script, values, rights):
    """A point whose heads were right on these images, a list a length, all in one task."""
    shared = {"images_digest": "i", "class_order_hash": "c"}
    found = []
    for right in rights:
        one = {**shared, "aa": 100 * float(np.mean(right)), "test_images": [len(right)]}
        one["right"] = pack([right.tolist()])
        found.append([{**one, "head": head} for head in (*script.OTHERS, *script.VARIANTS)])
    return script.Point(values, found)


def test_a_gain_is_kept_from_two_standard_errors_on(script, monkeypatch):
    draw = np.random.default_rng(0)
    base = [draw.random(400) < 0.5 for _ in range(2)]
    made = {}

    def better(by: int, swapped: int = 0):
        """So many more images right; as many again change places both ways."""
        rights = [right.copy() for right in base]
        for right, before in zip(rights, base, strict=True):
            right[np.flatnonzero(~before)[: by + swapped]] = True
            right[np.flatnonzero(before)[:swapped]] = False
        return rights

    made[repr({})] = point(script, {}, base)
    made[repr({"damping": 0.5})] = point(script, {"damping": 0.5}, better(40))
    made[repr({"damping": 0.3})] = point(script, {"damping": 0.3}, better(20))
    for values, rights in (({"rank": 4}, better(42, 30)), ({"rank": 64}, better(2))):
        whole = {"damping": 0.5, **values}
        made[repr(whole)] = point(script, whole, rights)
    monkeypatch.setattr(script, "points", lambda s, grid: iter([made[repr(g)] for g in grid]))
    steps = {
        "damping": ({"damping": 0.3}, {"damping": 0.5}),
        "rank": ({"rank": 4}, {"rank": 64}),
    }
    *lines, chosen = script.table([], steps)
    kept = [line.split("|")[2].strip() for line in lines if line.endswith("| yes |")]
    assert kept == ["damping 0.5"]  # two more of 400, and thirty swapped: noise
    assert chosen == "Chosen: damping 0.5; lda_drift with penalty 1."
    monkeypatch.setattr(script, "BUDGETS", ("damping",))
    *lines, chosen = script.table([], {"damping": steps["damping"]})
    assert not any(line.endswith("| yes |") for line in lines) and chosen.startswith("Chosen: HAM;")
    more, error = script.gain(made[repr({"damping": 0.5})], made[repr({})])
    by_hand = [a.astype(int) - b for a, b in zip(better(40), base, strict=True)]
    assert more == pytest.approx(50 * sum(map(np.mean, by_hand)))
    expected = math.sqrt(sum(float(np.var(d)) / len(d) for d in by_hand)) / 2
    assert error == pytest.approx(100 * expected, rel=0.05)


def test_a_setting_that_failed_is_said_and_not_kept(script, monkeypatch):
    draw = np.random.default_rng(0)
    whole = point(script, {}, [draw.random(40) < 0.5])
    monkeypatch.setattr(
        script, "points", lambda s, grid: iter([whole if g == {} else None for g in grid])
    )
    *lines, chosen = script.table([], {"rate": ({"lr": 1.0},)})
    assert lines[-2].startswith("| rate | lr 1.0 | - | -") and chosen.startswith("Chosen: HAM;")


def test_at_each_length_both_have_the_head_that_is_best_there(script):
    draw = np.random.default_rng(0)
    right = [draw.random(400) < 0.5 for _ in range(2)]

    def of(best):
        """A point whose every head is right where `right` says, and one at each length always."""
        made = point(script, {}, right)
        for length, head in zip(made.found, best, strict=True):
            whole = Point.of(length, head)
            whole.update(aa=100.0, right=pack([[True] * 400]))
        return made

    Point = script.Point
    old = of(["lda_drift_penalty_1", "lda_drift_penalty_30"])  # no head serves both lengths
    new = of(["lda_drift", "lda_drift"])
    assert script.gain(new, old)[0] > 20
    assert [more for more, _ in script.at_each_length(new, old)] == [0.0, 0.0]
