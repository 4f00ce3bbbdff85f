"""What is said below a table, from made-up records."""

from __future__ import annotations

import pytest

from avalanche_ham.errors import DataError
from avalanche_ham.reporting.layout import fill, lay_out, needs_of, runs_of
from avalanche_ham.reporting.notes import fill_with_notes
from avalanche_ham.reporting.tables import TABLES
from avalanche_ham.runs.archive import check_one_origin, read_archive


def notes_of(name, setup, archive, word):
    notes = fill_with_notes(lay_out(TABLES[name], setup), setup, archive).notes
    return [note for note in notes if word in note]


def test_times_of_several_machines_are_told_and_not_ranked(with_setup, archive_of):
    from avalanche_ham.reporting.figures import FIGURES
    from avalanche_ham.reporting.plots import plot_times

    setup = with_setup(benchmarks=("cifar100",), methods=("ham", "lora"), seeds=(1,))
    sheet = lay_out(FIGURES["3"], setup)
    runs = {run.method: run for run in runs_of(sheet)}

    def archive(*processors):
        return archive_of(*(
            (run, {"processor": name, "train_seconds": [float(i)] * 10})
            for i, (run, name) in enumerate(zip(runs.values(), processors), 1)
        ))  # fmt: skip

    same, other = archive("one", "one"), archive("one", "another")
    assert [row.best for row in fill(sheet, same).blocks[0].rows] == [(True, True), (False, True)]
    assert not any(any(row.best) for row in fill(sheet, other).blocks[0].rows)
    for records, said in ((same, False), (other, True)):
        parts = plot_times(fill_with_notes(sheet, setup, records)).subfigs
        assert all(("times do not compare" in part.get_suptitle()) == said for part in parts)
    assert not notes_of("methods", setup, same, "machines")
    (said,) = notes_of("methods", setup, other, "machines")
    assert "(another, cpu, 1 threads, fp32: 1; one, cpu, 1 threads, fp32: 1)" in said
    assert not notes_of("1", with_setup(methods=("ham", "lora")), other, "machines")  # no times


@pytest.mark.parametrize(("name", "entry", "order"), [("1", "aa", -1), ("2", "fm", 1)])
def test_orders_begin_with_the_best_and_leave_bounds_out(
    with_setup, archive_of, name, entry, order
):
    names = ("linear", "inflora", "sd_lora", "ham", "joint")
    setup = with_setup(benchmarks=("cifar100",), methods=names, seeds=(1,), tasks=(50,))
    runs = {run.method: run for run in runs_of(lay_out(TABLES[name], setup)) if not run.options}
    values = dict(zip(names, (10.0, 20.0, 30.0, 40.0, 50.0)))
    archive = archive_of(*((runs[method], {entry: values[method]}) for method in names))
    (said,) = notes_of(name, setup, archive, "Spearman")
    ranked = ["Linear merging", "InfLoRA", "SD-LoRA", "HAM"][::order]
    assert f"best first, here {' > '.join(ranked)}; there " in said and "4 rows" in said


def test_a_bound_has_no_place_in_the_order_of_another_paper(with_setup, archive_of):
    from avalanche_ham.reporting.pam import COMPARED

    setup = with_setup(benchmarks=("cifar100",), methods=COMPARED, seeds=(1,), heads=("linear",))
    runs = [r for r in runs_of(lay_out(TABLES["reported"], setup)) if r.method in COMPARED]
    archive = archive_of(*((run, {"aa": float(i)}) for i, run in enumerate(runs)))
    (said,) = (n for n in notes_of("reported", setup, archive, "Spearman") if "PAM's" in n)
    assert "PAM > " in said and "(bound)" not in said


def test_a_rate_of_a_row_s_own_is_not_one_that_was_asked_for(with_setup, archive_of):
    setup = with_setup(preset="study", methods=("finetune", "ham"), seeds=(1,))
    rates = {run.options.get("lr") for run in runs_of(lay_out(TABLES["1"], setup))}
    assert len(rates) == 2  # of the row at HAM's rate
    assert not notes_of("1", setup, archive_of(), "asked for")
    asked = with_setup(preset="study", seeds=(1,), method_options={"ham": {"lr": 0.5}})
    assert "rate 0.5: asked for" in notes_of("1", asked, archive_of(), "asked for")[0]


def test_a_run_that_failed_when_it_was_made_again_for_its_probes_is_told(with_setup, shelf):
    setup = with_setup(methods=("lora",), seeds=(1,), heads=("linear",))
    sheet = lay_out(TABLES["pam"], setup)
    assert "fwt" in needs_of(sheet)
    run = next(run for run in runs_of(sheet) if run.method == "lora")
    shelf.put(run)  # without probes
    shelf.fail(run)
    archive = read_archive(shelf.folder)
    (said,) = notes_of("pam", setup, archive, "failed after 3 of 10")
    assert "out of memory" in said
    (counts,) = notes_of("pam", setup, archive, "runs: ")
    assert " in " not in counts  # what does not count has taken no time


def test_records_of_an_older_version_do_not_keep_a_table_from_being_made(with_setup, archive_of):
    setup = with_setup(methods=("ham",), benchmarks=("cifar100",), tasks=(10,), seeds=(1, 2))
    one, two = runs_of(lay_out(TABLES["1"], setup))
    first, other = (one, {"weights_digest": "sha256-1"}), (two, {"weights_digest": "sha256-2"})
    old = (two, {"weights_digest": "sha256-2", "numbers_version": 0})
    check_one_origin((one, two), archive_of(first, old))
    with pytest.raises(DataError, match="different weights"):
        check_one_origin((one, two), archive_of(first, other))
