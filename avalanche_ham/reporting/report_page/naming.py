"""Short names for things that are alike in most of their entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from avalanche_ham.runs.option import as_word


def deviations(
    entries: Sequence[Mapping[str, Any]], usual: Mapping[str, Any] | None = None
) -> list[str]:
    """Say in what each differs from the others, such as ``"max groups 5, rank 8"``.

    The most frequent value of an entry goes without saying, so of things that differ in one entry
    at a time one has no name at all. Two that differ in an entry never get the same words.

    Args:
        entries: of each thing; an absent one counts as None.
        usual: what goes without saying among values that are equally frequent.
    """
    words: list[list[str]] = [[] for _ in entries]
    for name in sorted({name for values in entries for name in values}):
        found = [_word(values.get(name)) for values in entries]
        counts = Counter(found)
        expected = _word((usual or {}).get(name))
        plain = max(counts, key=lambda word: (counts[word], word == expected))
        for thing, word in zip(words, found):
            if word != plain:
                thing.append(f"{name.replace('_', ' ')} {word}")
    return [", ".join(thing) for thing in words]


def _word(value: Any) -> str:
    """Write a value; 1 and 1.0 are the same."""
    return f"{value:g}" if isinstance(value, float) else as_word(value)
