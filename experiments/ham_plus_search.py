"""HAM+'s settings, one after the other, on held-out training images.

Command: python ham_plus_search.py --data-root DATA --weights FILE --records SEARCH

CIFAR-100 in 10 and in 50 tasks, preset study, seed 1, accuracies after the last task on held-out
training images (a fifth of those of each class; test images are never looked at). ``STEPS`` says
what is tried, in order; each step starts from what those before it have chosen, the first one from
HAM. One training serves all heads, among them ``lda_drift`` at several penalties and shrinkages: a
point counts with the best of those, by the mean over both lengths. What is tried is kept if it
gains at least two standard errors (paired over images, the noise of training not counted) on what
was chosen so far; more steps are shown, but methods are compared at one budget. Runs that are there
already are not made again. The chosen setting is then to be confirmed on test images.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from drift_heads import VARIANTS
from study_rates import Search, parser_of

from avalanche_ham.reporting.noise import interval_over_images
from avalanche_ham.runs.options import options_of
from avalanche_ham.runs.records import Record

OTHERS = ("linear", "ridge", "lda", "lda_drift_unmoved")  # shown, never chosen
QKV = "attn.qkv"
STEPS: dict[str, tuple[dict[str, Any], ...]] = {  # what -> settings that are tried
    "damping": ({"damping": 0.5}, {"damping": 0.3}, {"damping": "sqrt"}, {"damping": "inverse"}),
    "tasks that adapt": ({"adapt_tasks": 1}, {"adapt_tasks": 5}, {"adapt_tasks": 10}),
    "groups": ({"max_groups": 1}, {"assignment": "none"}),
    "pruning": ({"keep": 1.0}, {"keep": 0.3}),
    "rate": ({"lr": 3e-4}, {"lr": 3e-3}),
    "steps": ({"steps": 15}, {"steps": 60}),
    "rank": ({"rank": 4}, {"rank": 64}),
    "blocks": ({"targets": [f"blocks.{b}.{QKV}" for b in range(6, 12)]},),
}
BUDGETS = ("steps",)  # shown, never kept: methods are compared at one budget
ERRORS = 2.0  # standard errors that a gain must have
QUANTILE = 1.96  # of the normal, of a 95 % interval


class Point(NamedTuple):
    """A setting and what it gave: one list of records a length, one record a head."""

    values: dict[str, Any]
    found: list[list[Record]]

    def aa(self, head: str) -> float:
        """Give the mean AA under a head over the lengths."""
        return sum(self.of(length, head)["aa"] or 0.0 for length in self.found) / len(self.found)

    @property
    def head(self) -> str:
        """The best of the heads that are searched."""
        return max(VARIANTS, key=self.aa)

    @staticmethod
    def of(length: list[Record], head: str) -> Record:
        """Give the record of a head."""
        return next(record for record in length if record["head"] == head)


def gain(new: Point, old: Point) -> tuple[float, float]:
    """Give what a point gains on another, each under its best head, and its standard error."""
    squares = 0.0
    for lengths in zip(new.found, old.found, strict=True):
        pair = [Point.of(lengths[0], new.head), Point.of(lengths[1], old.head)]
        interval = interval_over_images([pair])
        if isinstance(interval, str):
            return new.aa(new.head) - old.aa(old.head), math.inf
        squares += ((interval.high - interval.low) / (2 * QUANTILE)) ** 2
    return new.aa(new.head) - old.aa(old.head), math.sqrt(squares) / len(new.found)


def at_each_length(new: Point, old: Point) -> Iterator[tuple[float, float]]:
    """Give gain and error of each length alone, where both points have the head that is best there.

    So a setting that only lets one head serve all lengths gains nothing.
    """
    for lengths in zip(new.found, old.found, strict=True):
        yield gain(*(Point({}, [length]) for length in lengths))


def points(searches: list[Search], grid: list[dict[str, Any]]) -> Iterator[Point | None]:
    """Make what is missing of a grid; None for a point that failed at a length."""
    found = [search.records("ham", grid) for search in searches]
    for values, lengths in zip(grid, zip(*found, strict=True), strict=True):
        whole = [length for length in lengths if length is not None]
        yield Point(values, whole) if len(whole) == len(lengths) else None


def table(
    searches: list[Search],
    steps: Mapping[str, tuple[dict[str, Any], ...]],
    base: Mapping[str, Any] = {},
) -> Iterator[str]:
    """Give the lines of a Markdown table, the chosen setting last.

    Args:
        searches: of each length.
        steps: what is tried, in order.
        base: what the first step starts from, beside HAM's own settings.
    """
    names = [*OTHERS, *VARIANTS.values()]
    lengths = " / ".join(str(search.options.tasks) for search in searches)
    yield f"AA (%) on held-out images, after {lengths} tasks."
    yield ""
    yield f"| step | setting | {' | '.join(names)} | gain | at each length | kept |"
    yield "|---|---|" + "---|" * (len(names) + 3)
    (best,) = points(searches, [dict(base)])
    if best is None:
        yield f"| | {_words(base) or 'HAM'} |{' - |' * len(names)} | | |"
        return
    yield _line("", _words(base) or "HAM", best, ("", ""), "")
    for step, settings in steps.items():
        grid = [{**best.values, **setting} for setting in settings]
        tried = list(points(searches, grid))
        gains = [(0.0, math.inf) if point is None else gain(point, best) for point in tried]
        good = [k for k, (more, error) in enumerate(gains) if more > ERRORS * error]
        kept = max(good, key=lambda k: gains[k][0]) if good and step not in BUDGETS else None
        for k, (setting, point) in enumerate(zip(settings, tried, strict=True)):
            each = () if point is None else at_each_length(point, best)
            words = _sure(*gains[k]), " / ".join(_sure(*pair) for pair in each)
            yield _line(step, _words(setting), point, words, "yes" if k == kept else "")
        if kept is not None and (winner := tried[kept]) is not None:
            best = winner
    yield ""
    yield f"Chosen: {_words(best.values) or 'HAM'}; lda_drift with {VARIANTS[best.head]}."


def _sure(more: float, error: float) -> str:
    return f"{more:+.1f} ± {error:.1f}"


def _line(step: str, setting: str, point: Point | None, more: tuple[str, str], kept: str) -> str:
    heads = (*OTHERS, *VARIANTS)
    if point is None:
        return f"| {step} | {setting} |{' - |' * len(heads)} | | |"
    cells = []
    for head in heads:
        cell = " / ".join(f"{Point.of(length, head)['aa'] or 0.0:.1f}" for length in point.found)
        cells.append(f"**{cell}**" if head == point.head else cell)
    return f"| {step} | {setting} | {' | '.join((*cells, *more))} | {kept} |"


def _words(setting: Mapping[str, Any]) -> str:
    shown = {
        k: f"the last {len(v)} blocks" if isinstance(v, list) else v for k, v in setting.items()
    }
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def main(arguments: list[str] | None = None) -> None:
    """Make the missing runs and print the table, a line as soon as it is known."""
    options = parse(arguments)
    searches = []
    for length in options.tasks.split(","):
        of_length = copy.copy(options)
        of_length.tasks = int(length)
        searches.append(Search(of_length, heads=(*OTHERS, *VARIANTS)))
    only = options.steps.split(",") if options.steps else STEPS
    base = dict(pair.split("=") for pair in options.base.split(",")) if options.base else {}
    read = options_of("ham")
    base = {name: read[name].read(value) for name, value in base.items()}
    for line in table(searches, {name: STEPS[name] for name in only}, base):
        print(line, flush=True)
    print("\n".join(problem for search in searches for problem in search.problems), end="")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--tasks", default="10,50", help="lengths of the stream, with commas")
    parser.add_argument("--base", help="what to start from: name=value, with commas; default HAM")
    parser.add_argument("--steps", help=f"of {', '.join(STEPS)}, with commas; default all")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
