"""Headroom in words: the command's report, the table of all on record, a table's warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avalanche_ham.benchmarks.registry import title_of
from avalanche_ham.reporting.headroom import HEADS, Headroom, headroom, on_record
from avalanche_ham.runs.archive import Archive

LITTLE = 5.0  # points below which tables warn


def report(found: Headroom, *, benchmark: str, backbone: str, image_size: int) -> Iterator[str]:
    """Say it in lines: the four scores, what they rest on, and one sentence of what can differ."""
    data = _data(benchmark, found)
    yield f"{data}, {backbone}, {image_size} px, {found.tasks} tasks, AA (%)"
    for (method, head), score in found.scores.items():
        yield f"  {method:6}  {head:6}  {score:6.2f}"
    yield (
        f"{found.images} test images: counting them has a standard error of up to "
        f"{found.error:.2f} points"
    )
    yield f"Methods can differ by about {max(found.points, 0.0):.1f} points here. {verdict(found)}"


def _data(benchmark: str, found: Headroom) -> str:
    classes = "" if found.classes is None else f" ({found.classes} classes)"
    return title_of(benchmark) + classes


def overview(archive: Archive) -> Iterator[str]:
    """Give a Markdown table of every instrument on record, a line each, the roomiest first.

    The tasks are those whose steps joint training has; seeds are those that both have.
    """
    keys = ("preset", "backbone", "image_size", "benchmark")
    places = {tuple(record.get(key) for key in keys) for record in archive.all_records()}
    known: dict[tuple[Any, int | None], Headroom] = {}
    for place in places:
        rooms = on_record(archive, dict(zip(keys, place, strict=True)))
        for room in sorted(rooms, key=lambda room: -len(room.seeds)):
            known.setdefault((place, room.classes), room)
    columns = [f"{method}, {head}" for method, heads in HEADS.items() for head in heads]
    last = ("headroom", "test images", "error")
    titles = ("data", "backbone", "preset", "px", "tasks", "seeds", *columns, *last)
    yield f"| {' | '.join(titles)} |"
    yield "|---|---|---" + "|---:" * (len(titles) - 3) + "|"
    for (place, _), room in sorted(known.items(), key=lambda pair: -pair[1].points):
        preset, backbone, size, data = place
        scores = (room.scores.get((m, h)) for m, heads in HEADS.items() for h in heads)
        cells = [_data(str(data), room), str(backbone).partition(".")[0], preset]
        cells += [size, room.tasks, len(room.seeds)]
        cells += ["–" if score is None else f"{score:.1f}" for score in scores]
        cells += [f"**{room.points:.1f}**", room.images, f"{room.error:.1f}"]
        yield f"| {' | '.join(map(str, cells))} |"


def verdict(found: Headroom) -> str:
    """Say whether that is enough."""
    if found.points < LITTLE:
        return "That is too little: a comparison on it shows damage, not merit."
    return "A comparison on it can tell."


def warning(archive: Archive, like: Mapping[str, Any], classes: int | None = None) -> str | None:
    """Give the line that a table prints where its instrument cannot tell, or nobody has looked.

    Where the preset has none on record for as many classes, that of another one on the same
    backbone, image size and data counts; that of another number of classes is named as such.
    """
    found = headroom(archive, like, classes)
    if found is None or found.classes != classes:
        anywhere = {key: value for key, value in like.items() if key != "preset"}
        found = headroom(archive, anywhere, classes)
    if found is None:
        return "no headroom on record (`ham headroom`): whether methods can differ is not known"
    if found.classes != classes:
        known, asked = (f"{c or 'all'} classes" for c in (found.classes, classes))
        return f"headroom is on record for {known} ({found.points:.1f} points), not for {asked}"
    if found.points >= LITTLE:
        return None
    return (
        f"frozen features reach {found.scores['frozen', 'ridge']:.1f}, joint training "
        f"{found.scores['joint', 'ridge']:.1f} (ridge): methods cannot differ by much here"
    )
