"""The pages of the interface: what each folder says is public, with its docstrings."""

from __future__ import annotations

import importlib
import inspect

from avalanche_ham.strategies.registry import METHODS
from pages.docstrings import described, named
from pages.options import BASE

FOLDERS = {  # whose ``__all__`` is what is public
    "avalanche_ham.adapters": "Adapters",
    "avalanche_ham.grouping": "Grouping",
    "avalanche_ham.merging": "Merging",
    "avalanche_ham.plugins": "Plugins",
    "avalanche_ham.heads": "Heads",
    "avalanche_ham.heads.drift": "Heads that follow the drift",
    "avalanche_ham.penalties": "Penalties",
    "avalanche_ham.backbones": "Backbones",
    "avalanche_ham.benchmarks": "Benchmarks",
}
NAMES = {
    "Evaluation": [
        "avalanche_ham.evaluation.metrics.average_accuracy",
        "avalanche_ham.evaluation.metrics.forgetting",
        "avalanche_ham.evaluation.metrics.first_forgetting",
        "avalanche_ham.evaluation.metrics.backward_transfer",
        "avalanche_ham.evaluation.metrics.average_anytime_accuracy",
    ],
    "Runs": [
        "avalanche_ham.runs.runner.run",
        "avalanche_ham.runs.runner.run_heads",
        "avalanche_ham.runs.runner.RunConfig",
        "avalanche_ham.runs.runner.Resources",
        "avalanche_ham.runs.records.load_records",
        "avalanche_ham.runs.export.export",
        "avalanche_ham.runs.saving.save_tree",
        "avalanche_ham.runs.saving.load_tree",
        "avalanche_ham.adapters.peft_format.save_peft",
        "avalanche_ham.adapters.peft_format.load_peft",
    ],
    "Errors": [
        "avalanche_ham.errors.HamError",
        "avalanche_ham.errors.OptionError",
        "avalanche_ham.errors.UnknownNameError",
        "avalanche_ham.errors.NoMatchError",
        "avalanche_ham.errors.DataError",
        "avalanche_ham.errors.StateError",
    ],
}


def pages() -> dict[str, str]:
    """Give one page per folder, and one that lists them."""
    strategies = dict.fromkeys([BASE, *(row.path for row in METHODS.values())])
    made = {"Strategies": _page("Strategies", "avalanche_ham.strategies", strategies)}
    for folder, title in FOLDERS.items():
        public = importlib.import_module(folder).__all__
        made[title] = _page(title, folder, [f"{folder}.{name}" for name in public])
    for title, paths in NAMES.items():
        module = "avalanche_ham." + title.lower()
        made[title] = _page(title, module, paths)
    files = {f"api/{title.lower().replace(' ', '_')}.md": text for title, text in made.items()}
    names = "\n".join(title.lower().replace(" ", "_") for title in made)
    text = f"""# Interface

What is public, from the docstrings. `from avalanche_ham import` gives the names that most programs
need: {", ".join(f"`{name}`" for name in importlib.import_module("avalanche_ham").__all__)}.

```{{toctree}}
{names}
```
"""
    return {**files, "api/index.md": text}


def _page(title: str, module: str, paths: object) -> str:
    about = inspect.getdoc(importlib.import_module(module)) or ""
    blocks = "\n\n".join(map(_entry, paths))  # type: ignore[call-overload]
    return f"# {title}\n\n```{{eval-rst}}\n{about}\n\n{blocks}\n```\n"


def _entry(path: str) -> str:
    """Name the directive that shows an object, where it is defined."""
    thing = named(path)
    if inspect.isclass(thing):
        return f".. autoclass:: {described(thing)}"
    if inspect.isfunction(thing):
        return f".. autofunction:: {described(thing)}"
    if not isinstance(thing, dict | tuple):
        return f".. py:data:: {path}"
    names = ", ".join(f"``{name}``" for name in thing)
    return f".. py:data:: {path}\n\n   A table of names: {names}."
