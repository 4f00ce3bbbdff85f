"""HAM+ trained with losses that spread classes more than cross-entropy alone.

Command: python spreading_losses.py --data-root DATA --weights FILE --out FOLDER

CIFAR-100 in 10 and in 50 tasks, preset study, seed 1, accuracies after the last task on held-out
training images (a fifth of those of each class). Each of ``LOSSES`` is added to the cross-entropy
over the task's classes; the trained head stays what it is. A row counts with the best of
``lda_drift``'s penalties and shrinkages, as in ``ham_plus_search.py``, and its gain on
cross-entropy alone carries its standard error (paired over images). What is in FOLDER is not made
again. These are not runs of the package, whose losses they are not: keep them out of its records.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import torch
from drift_heads import VARIANTS
from following_gap import parser_of, run_of
from ham_plus_search import ERRORS, OTHERS, Point, gain
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.penalties import supervised_contrastive
from avalanche_ham.runs.record import make_record
from avalanche_ham.runs.records import RECORDS, Record, read_records, write_records

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def contrastive(features: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """The package's, for the option ``contrast``; needs no rows of the head."""
    return supervised_contrastive(features, targets)


def cosine_margin(
    features: Tensor, rows: Tensor, targets: Tensor, *, scale: float = 16.0, margin: float = 0.35
) -> Tensor:
    """Large-margin cosine loss, Wang et al. 2018, Eq. 4 (https://arxiv.org/abs/1801.09414).

    Args:
        features: of a batch, ``(N, d)``.
        rows: of the head, one a class of the task, ``(K, d)``.
        targets: places of the classes among the rows, ``(N,)``.
        scale: of the cosines, above 0.
        margin: that the own class's cosine must have on the others, from 0 to 2.
    """
    cosines = F.normalize(features, dim=1) @ F.normalize(rows, dim=1).T
    return F.cross_entropy(scale * (cosines - margin * F.one_hot(targets, len(rows))), targets)


LOSSES: dict[str, tuple[float, Loss | None]] = {  # what a table says -> weight, what is added
    "cross-entropy": (0.0, None),
    "contrastive, weight 0.1": (0.1, contrastive),
    "cosine margin 0.35": (1.0, cosine_margin),
    "contrastive, weight 1": (1.0, contrastive),
}


def add_loss(strategy: Any, weight: float, loss: Loss) -> None:
    """Add a loss of features, the task's rows and its classes to what a strategy trains with."""
    head = strategy.model.head

    def penalty() -> Tensor:
        ids = torch.tensor(head.current, device=strategy.mb_y.device)
        places = (strategy.mb_y[:, None] == ids).int().argmax(1)
        return weight * loss(strategy._features[-1].float(), head.tasks[-1].weight, places)

    strategy.penalty = penalty


def records_of(options: argparse.Namespace, name: str, n_tasks: int) -> list[Record]:
    """Give the records of all heads, trained now unless they are there."""
    setting = (options.method, options.benchmark, f"{n_tasks}tasks", options.preset)
    folder = options.out / "-".join(setting) / name
    if (folder / RECORDS).exists():
        return read_records(folder / RECORDS)
    heads = ",".join((*OTHERS, *VARIANTS))
    run = run_of(options, n_tasks, heads, show=True, contrast=0.0)
    weight, loss = LOSSES[name]
    if loss is not None:
        add_loss(run.strategy, weight, loss)
    with run.progress:
        for _ in range(n_tasks):
            run.next_task()
    records = [make_record(run, head) for head in run.settings.heads]
    folder.mkdir(parents=True, exist_ok=True)
    write_records(folder / RECORDS, *records)
    return records


def table(options: argparse.Namespace) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    lengths = [int(n) for n in options.tasks.split(",")]
    heads = (*OTHERS, *VARIANTS)
    yield f"| loss | {' | '.join((*OTHERS, *VARIANTS.values()))} | gain | kept |"
    yield "|---|" + "---|" * (len(heads) + 2)
    plain = None
    for name in LOSSES:
        point = Point({}, [records_of(options, name, n) for n in lengths])
        plain = plain or point
        more, error = gain(point, plain)
        words = "" if point is plain else f"{more:+.1f} ± {error:.1f}"
        kept = "yes" if point is not plain and more > ERRORS * error else ""
        cells = [
            " / ".join(f"{point.of(found, head)['aa'] or 0.0:.1f}" for found in point.found)
            for head in heads
        ]
        yield f"| {name} | {' | '.join(cells)} | {words} | {kept} |"


def main(arguments: list[str] | None = None) -> None:
    """Make the missing trainings and print the table, a line as soon as it is known."""
    parser = parser_of(__doc__)
    parser.add_argument("--tasks", default="10,50", help="lengths of the stream, with commas")
    for line in table(parser.parse_args(arguments)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
