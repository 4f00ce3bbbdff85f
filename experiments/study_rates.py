"""The rate of every method on the instrument, then its most sensitive options: one grid for all.

Command: python study_rates.py --data-root DATA --weights FILE --records results

CIFAR-100 in 20 tasks, preset study, seed 1, accuracies after the last task on held-out training
images (a fifth of those of each class; test images are never looked at). Chosen is the value with
the highest mean of the AA under the trained and the ridge head, which one training serves. A rate
that wins at an end of the first four steps has the next one tried, twice at most, and so has a
value of an own option; the table says where that was not enough. Methods that train the whole
network start two steps lower. Runs that are there already are not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.runs.archive import read_archive
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.execute import execute
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.plan import together
from avalanche_ham.runs.presets import METHOD_OVERRIDES, PRESETS, SAME_RATE
from avalanche_ham.runs.records import Record
from avalanche_ham.runs.settings import defaults
from avalanche_ham.strategies.registry import METHODS

LADDER = (2e-6, 6e-6, 2e-5, 6e-5, 2e-4, 6e-4, 2e-3, 6e-3, 2e-2, 6e-2)
MORE = 2  # steps that a winner at an end adds on its side, one at a time
HEADS = ("linear", "ridge")
# all that train; HAM+ and SD-LoRA's variants take the rate of the method that they vary
TRAIN = tuple(name for name, row in METHODS.items() if row.fixed.get("trains") != "nothing")
NAMES = tuple(name for name in TRAIN if name not in SAME_RATE)
HELD_OUT = {"holdout": 0.2, "test_per_class": 20}
DAMPING = {"damping": (0.25, 0.5, 1.0)}
# the options that matter most, each alone, with values in order, the default among them
OWN: dict[str, dict[str, tuple[float | str | None, ...]]] = {
    "ham": {"keep": (0.1, 0.3, 0.6, 1.0)},
    "ties": {"density": (0.1, 0.2, 0.5)},
    "dare_ties": {"density": (0.1, 0.2, 0.5)},
    "ewc": {"ewc_strength": (10, 100, 1000, 10000)},
    "lora_ewc": {"ewc_strength": (10, 100, 1000, 10000)},
    "lwf": {"lwf_strength": (0.1, 0.3, 1.0, 3.0)},
    "lora_lwf": {"lwf_strength": (0.1, 0.3, 1.0, 3.0)},
    "l2p": {"prompt_length": (5, 10, 20)},
    "dual_prompt": {"expert_length": (5, 10, 20)},
    "coda_prompt": {"prompt_length": (4, 8, 16)},
    "sema": {"threshold": (1.0, 2.0, 4.0)},
    "inflora": {"threshold": (0.9, 0.95, 0.98)},
    "sd_lora": {"alpha": (0.5, 0.8, 1.0)},
    "o_lora": {"orthogonal": (0.05, 0.5, 5.0)},
    "slao": {"merge_weight": ("inverse", "sqrt", 0.5)},
    "average": DAMPING,
    "pam": {"align_share": (0.25, 0.5, 0.75), **DAMPING},
    "pam_zero": DAMPING,
    "pam_lwf": {"lwf_strength": (0.3, 1.0, 3.0), **DAMPING},
    "pam_er": {"er_strength": (0.3, 1.0, 3.0), **DAMPING},
    "continual_ties": DAMPING,
    "tall": {"mask_threshold": (0.05, 0.1, 0.4), **DAMPING},
    "tall_pam": DAMPING,
    "magmax": {"merge_weight": (0.5, None, 2.0)},  # None: 1, of factors
    "i_lora": {"decay": (0.25, 0.9, None, 0.99)},  # None: 0.97 in a task of 30 steps
    "moe_lora": {"experts": (2, 4, 8)},
    "lora_er": {"er_strength": (0.3, 1.0, 3.0)},
    "pm": {"perturbation": (0.0, 0.25, 0.5)},
}

BEYOND: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # below and above, nearest first
    "keep": ((0.03, 0.01), ()),
    "density": ((0.05, 0.02), (0.8, 1.0)),
    "ewc_strength": ((1, 0.1), (1e5, 1e6)),
    "lwf_strength": ((0.03, 0.01), (10.0, 30.0)),
    "prompt_length": ((3, 2), (40, 80)),
    "expert_length": ((3, 2), (40, 80)),
    "alpha": ((0.3, 0.1), (1.5, 2.0)),
    "orthogonal": ((0.005, 0.0005), (50.0, 500.0)),
    "damping": ((0.1, 0.05), ()),
    "align_share": ((0.1, 0.05), (0.9, 1.0)),
    "er_strength": ((0.1, 0.03), (10.0, 30.0)),
    "mask_threshold": ((0.02, 0.01), (0.8, 1.0)),
    "experts": ((1,), (16, 32)),
    "perturbation": ((), (0.75, 0.9)),
}
BEYOND_OF = {  # methods whose list begins elsewhere
    "sema": ((0.5, 0.25), (8.0, 16.0)),
    "inflora": ((0.8, 0.6), (0.99, 0.995)),
    "magmax": ((0.25, 0.1), (4.0, 8.0)),
}


class Search:
    """The runs of the grid, made as they are asked for.

    Args:
        options: the command line's.
        heads: that one training serves.
    """

    def __init__(self, options: argparse.Namespace, heads: Sequence[str] = HEADS) -> None:
        self.options, self.heads, self.problems = options, tuple(heads), list[str]()
        self.archive = read_archive(options.records, must_exist=False)
        self.resources = Resources(
            data_root=options.data_root,
            device=options.device,
            threads=options.threads,
            final_only=True,
        )

    def runs(self, method: str, values: Mapping[str, Any]) -> list[RunConfig]:
        """List the runs of a method with some options, one a head."""
        given = {**HELD_OUT, **values}
        common: dict[str, Any] = {
            name: getattr(self.options, name) for name in ("benchmark", "preset", "weights")
        }
        return [
            RunConfig(method=method, n_tasks=self.options.tasks, head=h, options=given, **common)
            for h in self._heads(method)
        ]

    def _heads(self, method: str) -> tuple[str, ...]:
        own = METHODS[method].head
        return self.heads if own is None else (own,)

    def records(self, method: str, grid: list[dict[str, Any]]) -> list[list[Record] | None]:
        """Give the records of all heads for each point of a grid; None where it failed."""
        missing = [
            run
            for values in grid
            for run in self.runs(method, values)
            if self.archive.record(run) is None and not self.options.dry
        ]
        if missing:
            self.problems += execute(
                together(missing),
                self.options.records,
                self.archive,
                resources=self.resources,
                jobs=self.options.jobs,
            )
            self.archive = read_archive(self.options.records)
        found = [[self.archive.record(r) for r in self.runs(method, values)] for values in grid]
        whole = [[record for record in one if record is not None] for one in found]
        return [one if len(one) == len(self._heads(method)) else None for one in whole]

    def scores(self, method: str, grid: list[dict[str, Any]]) -> list[list[float] | None]:
        """Give the AA under each head for each point of a grid; None where it failed."""
        found = self.records(method, grid)
        return [one and [record["aa"] or 0.0 for record in one] for one in found]


def best(scores: list[list[float] | None]) -> int | None:
    """Give the place of the highest mean of both heads, None where nothing was measured."""
    known = [place for place, score in enumerate(scores) if score is not None]
    return max(known, key=lambda place: sum(scores[place] or [])) if known else None


def first_of(method: str) -> slice:
    """Give the steps of the ladder that are tried first."""
    start = 2 if METHODS[method].fixed.get("trains") == "network" else 4
    return slice(start, start + 4)


def extended(
    search: Search,
    method: str,
    values: Sequence[Any],
    beyond: tuple[Sequence[Any], Sequence[Any]],
    given: Callable[[Any], dict[str, Any]],
) -> dict[Any, list[float] | None]:
    """Score values, and one more on the side of a winner at an end, ``MORE`` times at most.

    Args:
        search: makes the runs.
        method: whose.
        values: tried first, in order.
        beyond: those below and above, nearest first.
        given: the options that stand for a value.
    """
    below, above = (list(side[:MORE]) for side in beyond)
    tried = list(values)
    while True:
        scores = search.scores(method, [given(value) for value in tried])
        place = best(scores)
        if place == 0 and below:
            tried.insert(0, below.pop(0))
        elif place == len(tried) - 1 and above:
            tried.append(above.pop(0))
        else:
            return dict(zip(tried, scores, strict=True))


def rate_of(search: Search, method: str) -> tuple[dict[float, list[float] | None], str]:
    """Find a method's rate; gives the scores by rate, and the chosen one in words."""
    first = first_of(method)
    name = "head_lr" if method == "frozen" else "lr"  # which has no adapter
    beyond = LADDER[: first.start][::-1], LADDER[first.stop :]
    own = unmoved(search, method)
    found = extended(search, method, LADDER[first], beyond, lambda rate: {**own, name: rate})
    return found, _winner(found)


def unmoved(search: Search, method: str) -> dict[str, Any]:
    """Give the defaults of what the preset moves: it learned that from here."""
    preset = METHOD_OVERRIDES.get((search.options.preset, method), {})
    return {key: defaults(method)[key] for key in preset if key != "lr"}


def own_of(
    search: Search, method: str, rate: float, option: str
) -> tuple[dict[Any, list[float] | None], str]:
    """Try the values of a method's own option; gives the scores, and the chosen one in words."""
    values = OWN[method][option]
    beyond = BEYOND_OF.get(method, BEYOND.get(option, ((), ())))
    own = {**unmoved(search, method), "lr": rate}
    found = extended(search, method, values, beyond, lambda value: {**own, option: value})
    return found, _winner(found)


def _winner(found: Mapping[Any, list[float] | None]) -> str:
    """Write the best value, and whether a better one may lie beyond the list."""
    scores = list(found.values())
    place = best(scores)
    if place is None:
        return "-"
    beside = [scores[k] if 0 <= k < len(scores) else None for k in (place - 1, place + 1)]
    return _word([*found][place]) + (" (at the end)" if None in beside else "")


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else as_word(value)


def tables(search: Search, names: Sequence[str]) -> Iterator[str]:
    """Give the lines of two Markdown tables: AA at each rate, then at each value of own options.

    Trained head / ridge, the best mean of both in bold.
    """
    yield f"| lr | {' | '.join(f'{rate:g}' for rate in LADDER)} | best |"
    yield "|---|" + "---|" * (len(LADDER) + 1)
    rates = {}
    for method in names:
        found, chosen = rate_of(search, method)
        cells = _cells(found)
        rates[method] = chosen
        rest = " | ".join(cells.get(rate, "") for rate in LADDER)
        yield f"| {LABELS[method]} | {rest} | {chosen} |"
    yield ""
    yield "| at its best rate | option | values | best |"
    yield "|---|---|---|---|"
    untried = []
    for method, rate in rates.items():
        for option in OWN.get(method, {}) if rate != "-" else ():
            found, chosen = own_of(search, method, float(rate.split()[0]), option)
            if search.options.dry and None in found.values():
                untried.append(f"{LABELS[method]} (`{option}`)")
                continue
            values = ", ".join(f"{_word(v)}: {cell}" for v, cell in _cells(found).items())
            yield f"| {LABELS[method]} | `{option}` | {values} | {chosen} |"
    if untried:
        yield f"\nNot all values on record: {'; '.join(untried)}."


def _cells(found: Mapping[Any, list[float] | None]) -> dict[Any, str]:
    place = best(list(found.values()))
    cells = [_cell(score) for score in found.values()]
    if place is not None:
        cells[place] = f"**{cells[place]}**"
    return dict(zip(found, cells))


def _cell(score: list[float] | None) -> str:
    return "-" if score is None else " / ".join(f"{aa:.1f}" for aa in score)


def main(arguments: list[str] | None = None) -> None:
    """Make the missing runs and print the tables, a line as soon as it is known."""
    options = parse(arguments)
    search = Search(options)
    names = tuple(options.methods.split(",")) if options.methods else NAMES
    for name in names:
        if name not in NAMES:
            raise SystemExit(f"methods must be of {', '.join(NAMES)}, but got {name!r}")
    for line in tables(search, names):
        print(line, flush=True)
    print("\n".join(search.problems), end="")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--methods", help="names with commas between; default all that train")
    parser.add_argument("--tasks", type=int, default=20)
    return parser.parse_args(arguments)


def parser_of(words: str) -> argparse.ArgumentParser:
    """Give the options of a search; ``words`` begin with a line that says what it is for."""
    parser = argparse.ArgumentParser(description=words.partition("\n")[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--data-root", default="~/.cache/avalanche_ham")
    parser.add_argument("--weights")
    parser.add_argument("--benchmark", default="cifar100")
    parser.add_argument("--preset", default="study", choices=tuple(PRESETS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dry", action="store_true", help="only print what is on record")
    return parser


if __name__ == "__main__":
    main()
