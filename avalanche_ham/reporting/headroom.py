"""Can a comparison tell anything: the gap between frozen features and joint training.

Where a closed-form head on the frozen backbone is as good as training on all tasks at once,
adapters have nothing to gain and no two methods can differ by more than noise.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avalanche_ham.errors import HamError
from avalanche_ham.reporting.aggregate import counting_error
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import identity_in, identity_of
from avalanche_ham.runs.records import Record

HEADS = {"frozen": ("ncm", "ridge"), "joint": ("linear", "ridge")}


@dataclass(frozen=True)
class Headroom:
    """What frozen features and joint training reach on one instrument.

    Attributes:
        scores: (method, head) -> mean AA over the seeds that frozen and joint share, percent.
        tasks: of the streams, whose steps joint training has all at once.
        seeds: that frozen features and joint training share.
        images: number of test images.
        error: largest standard error of an AA from counting them, in points.
        classes: of the data set's, where not all.
    """

    scores: Mapping[tuple[str, str], float]
    tasks: int
    seeds: tuple[int, ...]
    images: int
    error: float
    classes: int | None = None

    @property
    def points(self) -> float:
        """The gap that methods can fill: joint training less frozen features, ridge heads."""
        return self.scores["joint", "ridge"] - self.scores["frozen", "ridge"]


def headroom_runs(common: Mapping[str, Any], seeds: Sequence[int]) -> list[RunConfig]:
    """List the runs that it takes: ordinary ones of ``frozen`` and ``joint``.

    Args:
        common: fields of ``RunConfig`` that all share.
        seeds: one run per seed, method and head.
    """
    return [
        RunConfig(method=method, head=head, seed=seed, **common)
        for seed in seeds
        for method, heads in HEADS.items()
        for head in heads
    ]


def headroom(
    archive: Archive, like: Mapping[str, Any], classes: int | None = None
) -> Headroom | None:
    """Read it from records.

    Runs on other weights, of another preset or over another number of tasks, whose joint training
    has other steps, are other instruments: of several on record the one with most seeds counts.

    Args:
        archive: of any runs.
        like: entries that a record must have, such as ``backbone``, ``image_size``, ``benchmark``,
            ``preset``; records that tested on held-out training images, or with options that
            are not the preset's, do not count.
        classes: how many of the data set's, None for all; where these are not on record, another
            number of them counts.

    Returns:
        None unless there are records of frozen features and of joint training, ridge heads.
    """
    found = on_record(archive, like)
    return max(found, key=lambda room: (room.classes == classes, len(room.seeds)), default=None)


def on_record(archive: Archive, like: Mapping[str, Any]) -> list[Headroom]:
    """List that of every instrument whose records have some entries, see ``headroom``."""
    groups: dict[tuple[int, str, str, int], list[Record]] = defaultdict(list)
    for record in alike(archive, like):
        if record["head"] in HEADS.get(record["method"], ()) and is_plain(record):
            digest, classes = record["weights_digest"] or "", classes_of(record) or 0
            groups[record["n_tasks"], digest, record["preset"], classes].append(record)
    return list(filter(None, (headroom_of(groups[key]) for key in sorted(groups))))


def alike(archive: Archive, like: Mapping[str, Any]) -> list[Record]:
    """List the present records on test images with some entries, one of each run."""
    return archive.present({**like, "selection": "test"})


def headroom_of(records: Sequence[Record]) -> Headroom | None:
    """Read it from the records of ``frozen`` and ``joint`` on one instrument.

    Args:
        records: on the same weights and data, of equal numbers of tasks.

    Returns:
        None if the two share no seed under ridge heads.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["method"], record["head"]].append(record)
    frozen, joint = ({r["seed"] for r in groups[m, "ridge"]} for m in ("frozen", "joint"))
    if not frozen & joint:
        return None
    scores = {}
    for key in ((m, h) for m, heads in HEADS.items() for h in heads):
        shared = [r["aa"] or 0.0 for r in groups[key] if r["seed"] in frozen & joint]
        if shared:
            scores[key] = statistics.fmean(shared)
    return Headroom(
        scores,
        records[0]["n_tasks"],
        tuple(sorted(frozen & joint)),
        *counting_error(groups["frozen", "ridge"]),
        classes_of(records[0]),
    )


def classes_of(record: Record) -> int | None:
    """Give the number of classes that a run was asked for, None for all of the data set."""
    return record["hyperparameters"].get("classes")


def is_plain(record: Record) -> bool:
    """Whether a run has no options but its preset's; others are other instruments.

    How many of the data set's classes it has is no matter: readers keep those apart themselves.
    """
    keys = ("method", "head", "benchmark", "n_tasks", "seed", "preset", "backbone", "image_size")
    classes = classes_of(record)
    given = {} if classes is None else {"classes": classes}
    plain = RunConfig(**{key: record[key] for key in keys}, options=given)  # type: ignore[literal-required]
    try:
        return identity_in(record).asked == identity_of(plain).asked
    except HamError:  # a preset or an option that is no more
        return False
