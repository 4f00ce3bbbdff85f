"""Campaigns: many faults, each on a folder of its own, and what became of them."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avalanche_ham.arrays import StoredArray
from avalanche_ham.errors import HamError
from avalanche_ham.runs.saving import load_tree
from faults import work
from faults.layer import CALLS, CODES, KILL, Layer

COLD = ("cache", "run", "table")  # commands that also find no cache


class Fault(NamedTuple):
    """The n-th call of a function by a command, and what happens there."""

    name: str
    warm: bool
    call: str
    count: int
    code: int


class Outcome(NamedTuple):
    """What became of a fault: ``why`` says what is wrong, empty if nothing is."""

    fault: Any
    injected: bool
    why: str


def prepared(folder: Path) -> Path:
    """Make what all campaigns start from."""
    place = folder / "start"
    place.mkdir(parents=True)
    work.prepare(place)
    return place


def counted(start: Path, folder: Path) -> dict[tuple[str, bool], Counter[str]]:
    """Count the calls of every command, with a cache and without; keeps what they leave."""
    found = {}
    for name in work.NAMES:
        for warm in (True, False) if name in COLD else (True,):
            place = work.copy(start, folder / _slug(name, warm), warm=warm)
            layer = Layer(place, folder / f"{_slug(name, warm)}.counts")
            done = work.command(place, work.words_of(name, place), layer)
            assert done.code == 0, (name, done)
            found[name, warm] = Counter(json.loads(done.injected))
    return found


def drawn(
    counts: dict[tuple[str, bool], Counter[str]], number: int, codes: tuple[int, ...], seed: int
) -> list[Fault]:
    """Draw faults: a command, a function that it calls, one of the calls, a code."""
    source, found = random.Random(seed), set[Fault]()
    while len(found) < number:
        name, warm = source.choice(sorted(counts))
        call = source.choice([call for call in CALLS if counts[name, warm][call]])
        count = source.randint(1, counts[name, warm][call])
        found.add(Fault(name, warm, call, count, source.choice(codes)))
    return sorted(found)


def put(fault: Fault, start: Path, folder: Path) -> Outcome:
    """Run a command into a fault, then again without; the second must leave what is expected."""
    place = work.copy(start, folder / "fault", warm=fault.warm)
    words = work.words_of(fault.name, place)
    layer = Layer(place, folder / "fault.log", fault.call, fault.count, fault.code)
    try:
        done = work.command(place, words, layer)
        again = work.command(place, words)
        return Outcome(fault, bool(done.injected), _judged(fault, done, again, place, folder))
    finally:
        shutil.rmtree(place)
        layer.log.unlink(missing_ok=True)


def _judged(fault: Fault, done: work.Result, again: work.Result, place: Path, folder: Path) -> str:
    if fault.code != KILL and done.code:
        lines = [line for line in done.said.splitlines() if "ham: " in line]
        if "Traceback" in done.said or not lines or done.code not in (1, 2, 3):
            return f"ended with {done.code} and {done.said[-500:]!r}"
    whole = fault.name == "export" and (place / "exported").exists()  # and not made twice
    if again.code and not whole:
        return f"the second run ended with {again.code} and {again.said[-500:]!r}"
    expected = work.left_by(fault.name, folder / _slug(fault.name, fault.warm))
    if work.left_by(fault.name, place) != expected:
        return "the second run left something else"
    return ""


def at_random_times(
    name: str, number: int, start: Path, folder: Path, seed: int
) -> Iterator[Outcome]:
    """Kill a command's whole session at random times, then let it end."""
    source = random.Random(seed)
    place = work.copy(start, folder / "timing")
    longest = work.timed(place, work.words_of(name, place))
    shutil.rmtree(place)
    for _ in range(number):
        after = source.uniform(0, longest)
        place = work.copy(start, folder / "fault")
        words = work.words_of(name, place)
        killed = work.killed(place, words, after)
        again = work.command(place, words)
        fault = Fault(name, True, f"{after:.2f} s", 0, KILL)
        yield Outcome(fault, killed, _judged(fault, again, again, place, folder))
        shutil.rmtree(place)


def flips(start: Path, folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Flip one bit of a state or a cache at a time, and read it."""
    source = random.Random(seed)
    states = sorted((start / "made" / "state").iterdir())
    caches = sorted((start / "cache").rglob("*.rows"))
    wholes = {path: path.read_bytes() for path in (*states, *caches)}
    rows = {path: _rows(path) for path in caches}
    spoiled = Path(shutil.copytree(start / "made" / "state", folder / "state"))
    for _ in range(number):
        path = source.choice((*states, *caches))
        data = bytearray(wholes[path])
        place, bit = source.randrange(len(data)), source.randrange(8)
        data[place] ^= 1 << bit
        file = spoiled / path.name if path in states else folder / path.name
        file.write_bytes(data)
        try:
            same = path in caches and np.array_equal(_rows(file), rows[path])
            if path in states:
                load_tree(spoiled)
            why = "" if same else f"{path.name} was read with byte {place} changed"
        except HamError:
            why = ""
        file.write_bytes(wholes[path])
        yield Outcome((path.name, place, bit), True, why)


def _rows(path: Path) -> np.ndarray:
    array = StoredArray(path)
    return np.stack([array[index] for index in range(len(array))])


def _slug(name: str, warm: bool) -> str:
    return f"{name.replace(' ', '_')}_{'warm' if warm else 'cold'}"


def kills(start: Path, folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Kill commands: two thirds at a random call, the rest, with ``--jobs 2``, at any time."""
    counts = counted(start, folder)
    some = {key: value for key, value in counts.items() if key[0] != "collect"}
    for fault in drawn(some, number - number // 3, (KILL,), seed):
        yield put(fault, start, folder)
    yield from at_random_times("table --jobs 2", number // 3, start, folder, seed)


def errors(start: Path, folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Let random calls of commands fail."""
    for fault in drawn(counted(start, folder), number, CODES, seed):
        yield put(fault, start, folder)
