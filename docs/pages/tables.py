"""What the package's other registries hold: heads, data sets, presets, options of all methods."""

from __future__ import annotations

from avalanche_ham.benchmarks.registry import BENCHMARKS
from avalanche_ham.heads.registry import HEADS
from avalanche_ham.merging.registry import RULES
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.options import readout_options
from avalanche_ham.runs.presets import BENCHMARK_OVERRIDES, METHOD_OVERRIDES, PRESETS
from pages.docstrings import described, first_line
from pages.options import option_table, shared_options
from pages.table import table


def pages() -> dict[str, str]:
    """Give fragments for the pages that are written by hand: file name -> Markdown."""
    return {
        "tables/heads.txt": _heads(),
        "tables/head_options.txt": option_table(readout_options().values()),
        "tables/merge_rules.txt": table(
            ("rule", "class", "what it does"),
            [(f"`{n}`", _class(described(r)), first_line(described(r))) for n, r in RULES.items()],
        ),
        "tables/benchmarks.txt": table(
            ("name", "classes", "what", "`--download`"),
            [
                (
                    f"`{name}`",
                    str(row.n_classes or "as found"),
                    f"`{row.summary}`" if "<" in row.summary else row.summary,
                    "yes" if row.downloads else "no",
                )
                for name, row in BENCHMARKS.items()
            ],
        ),
        "tables/presets.txt": _presets(),
        "tables/rates.txt": _rates(),
        "tables/shared_options.txt": option_table(shared_options()),
    }


def _class(path: str) -> str:
    role = "func" if path.rpartition(".")[2].islower() else "class"
    return f"{{py:{role}}}`~{path}`"


def _heads() -> str:
    rows = []
    for name, path in HEADS.items():
        what = first_line(path) if path else "The classifier that is trained with the adapters."
        rows.append((f"`{name}`", _class(path) if path else "", what))
    return table(("head", "class", "what it does"), rows)


def _presets() -> str:
    names = dict.fromkeys(key for values in PRESETS.values() for key in values)
    rows = [
        (
            f"`--{name.replace('_', '-')}`",
            *(f"`{as_word(v[name])}`" if name in v else "" for v in PRESETS.values()),
        )
        for name in names
    ]
    return table(("option", *(f"`{name}`" for name in PRESETS)), rows)


def _rates() -> str:
    """Write where a preset says something else for one data set or one method."""
    rows = [
        (f"`{preset}`", f"`{name}`", ", ".join(f"`{k}` {as_word(v)}" for k, v in values.items()))
        for (preset, name), values in {**BENCHMARK_OVERRIDES, **METHOD_OVERRIDES}.items()
    ]
    return table(("preset", "data set or method", "values"), rows)
