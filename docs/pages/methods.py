"""A page for every row of ``METHODS``: paper, equation, steps, options, place in the tables."""

from __future__ import annotations

from pathlib import Path

from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.runs.option import as_word
from avalanche_ham.runs.options import options_of
from avalanche_ham.strategies.registry import METHODS, Method
from pages.docstrings import prose
from pages.options import option_table, own_options
from pages.places import Found, places
from pages.table import table

EQUATIONS = Path(__file__).parents[1] / "equations"


def pages() -> dict[str, str]:
    """Give a page per method, and one that lists them all."""
    found = places()
    made = {f"methods/{n}.md": _page(n, row, found.get(n, [])) for n, row in METHODS.items()}
    return {**made, "methods/index.md": _index(found)}


def _index(found: dict[str, list[Found]]) -> str:
    rows = [
        (f"[`{n}`]({n}.md)", LABELS.get(n, n), row.source, str(len(found.get(n, []))))
        for n, row in METHODS.items()
    ]
    head = ("`--method`", "in tables", "source", "places on record")
    return f"""# Methods

{len(METHODS)} methods train on the same backbone, head, transforms, loss and budget. Each page
gives the paper, the equation, the steps as the code takes them, the options and what is on record.

{table(head, rows)}
## Options of every method

```{{include}} ../tables/shared_options.txt
```

```{{toctree}}
:hidden:

{chr(10).join(METHODS)}
```
"""


def _page(name: str, row: Method, found: list[Found]) -> str:
    parts = [f"# {LABELS.get(name, name)}", _summary(name, row)]
    equation = _equation(name, row)
    if equation is not None:
        parts.append(f"```{{include}} ../../equations/{equation.name}\n```")
    parts.append("## Steps\n\n" + f"```{{eval-rst}}\n{prose(row.path)}\n```")
    parts.append(_options(name, row))
    parts.append(_places(found))
    return "\n\n".join(parts) + "\n"


def _summary(name: str, row: Method) -> str:
    kind = f"{{py:class}}`~{row.path}`"
    lines = [f"`ham run --method {name}`, class {kind}. Source: {row.source}."]
    if row.fixed:
        lines.append(f"This row fixes {_values(row.fixed)}.")
    if row.defaults:
        lines.append(f"Its own defaults: {_values(row.defaults)}.")
    head = f"Its only head: `{row.head}`" if row.head else f"Head by default: `{row.default_head}`"
    lines.append(f"{head}. Version of its numbers: {row.numbers}.")
    return "\n".join(lines)


def _values(values: object) -> str:
    return ", ".join(f"`{k}` = `{as_word(v)}`" for k, v in dict(values).items())  # type: ignore[call-overload]


def _equation(name: str, row: Method) -> Path | None:
    """Find the formula of a method, or of the module of its class or of its penalty."""
    module = row.path.rpartition(".")[0].split(".")
    module = module[:-1] if module[-1] == "strategy" else module
    for known in (name, module[-1], row.fixed.get("regulariser")):
        if (EQUATIONS / f"{known}.md").exists():
            return EQUATIONS / f"{known}.md"
    return None


def _options(name: str, row: Method) -> str:
    listed = option_table(own_options(name)) or "None of its own.\n"
    count = len(options_of(name)) - len(own_options(name))
    return (
        f"## Options\n\n{listed}\n{count} more are [those of every method]"
        f"(index.md#options-of-every-method).\n`ham run --method {name} --preset cpu --help` shows "
        "what a preset changes."
    )


def _places(found: list[Found]) -> str:
    if not found:
        return (
            "## On record\n\nNothing yet with the defaults of a preset; "
            "`ham table methods --run` makes records."
        )
    head = ("data set", "tasks", "head", "preset", "AA (%)", "paper", "FM (%)", "runs", "rank")
    return (
        "## On record\n\n"
        + table(head, [tuple(place) for place in found])
        + "\nMean ± deviation over seeds. The rank is by AA among the methods that have all runs "
        "of that place;\n≈ says that the best may be no better "
        "([can a comparison tell?](../results.md#headroom-can-a-comparison-tell)).\n"
    )
