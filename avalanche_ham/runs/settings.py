"""From plain values (command line, files, presets, records) to a strategy's arguments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.runs.arguments import arguments, table
from avalanche_ham.runs.options import (
    MADE,
    NAMES,
    benchmark_options,
    class_options,
    options_of,
    readout_arguments,
    readout_options,
)
from avalanche_ham.strategies.registry import get_method, strategy_class


def defaults(method: str) -> dict[str, Any]:
    """List a method's options with their default values, in plain types.

    Raises:
        UnknownNameError: if the method is unknown.
    """
    return {name: option.default for name, option in options_of(method).items()}


def resolve(method: str, *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Give the final plain value of every option; later overrides win.

    Presets speak for all methods, so what a method lacks is skipped in all overrides but the
    last, which is what the user asked for.

    Raises:
        UnknownNameError: if the last override names an option that the method lacks.
        OptionError: if a value does not fit its option, or the option the others.
    """
    options, values = options_of(method), defaults(method)
    asked, usual = overrides[-1] if overrides else {}, values
    for name in asked:
        if name not in options:
            raise UnknownNameError(f"option of {method}", name, options)
    for override in overrides:
        usual = values
        values = {**values, **{k: options[k].read(v) for k, v in override.items() if k in options}}
    for name in sorted(idle_options(method, values) & set(asked)):
        other, owners = options[name].needs or ("", ())
        given = f"{other} {values.get(other)}"
        raise OptionError(name, f"given together with {other} {', '.join(owners)}", given)
    return _with_one_budget(values, asked, usual)


def _with_one_budget(
    values: dict[str, Any], asked: Mapping[str, Any], usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Let epochs that were asked for, or their fewest steps, win over a preset's steps.

    Args:
        values: all of them.
        asked: by name, what the user asked for.
        usual: what they would be had nobody asked; may be said beside steps, as a printed
            configuration does.

    Raises:
        OptionError: if anything else was asked for together with steps.
    """
    in_epochs = [name for name in ("epochs", "min_steps") if name in asked and values[name]]
    if in_epochs and "steps" not in asked:
        return {**values, "steps": None}
    for name in in_epochs:
        if values["steps"] is not None and values[name] != usual[name]:
            raise OptionError(name, f"left out beside steps {values['steps']}", values[name])
    return values


def idle_options(method: str, values: Mapping[str, Any]) -> set[str]:
    """Name the options without a meaning beside the other values: those of other merge rules."""
    options = options_of(method)
    chosen = {**defaults(method), **values}
    needs = {name: option.needs for name, option in options.items() if option.needs}
    return {n for n, (other, fit) in needs.items() if other in chosen and chosen[other] not in fit}


class Values(NamedTuple):
    """A run's options in plain types: the strategy's, the benchmark's, its readouts'."""

    strategy: dict[str, Any]
    data: dict[str, Any]
    readouts: dict[str, Any]


def run_settings(
    method: str,
    benchmark: str,
    heads: Sequence[str],
    preset: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Values:
    """Put a run's own options over its preset's values.

    Raises:
        UnknownNameError: if an option is neither the method's nor the benchmark's nor a
            readout's, or there is no such method or benchmark.
        OptionError: if a value does not fit its option, or the option the others.
    """
    options, of_heads = benchmark_options(benchmark), readout_options(*heads)
    of_preset = {k: preset[k] for k in options if preset.get(k) is not None}
    of_data = {k: options[k].read(v) for k, v in {**of_preset, **own}.items() if k in options}
    readouts = {
        name: option.read(own.get(name, preset.get(name, option.default)))
        for name, option in of_heads.items()
    }
    for name, option in readout_options().items():
        if name in own.keys() - of_heads and option.needs:
            other, (head,) = option.needs
            given = f"{other} {','.join(heads)}"
            raise OptionError(name, f"given together with {other} {head}", given)
    rest = {k: v for k, v in own.items() if k not in {**options, **of_heads}}
    return Values(resolve(method, preset, rest), of_data, readouts)


def readout_settings(values: Mapping[str, Any], heads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give the arguments of each readout's class: head -> argument -> value."""
    return {
        head: {argument: values[o.name] for argument, o in readout_arguments(head).items()}
        for head in heads
    }


def build_strategy(method: str, values: Mapping[str, Any], **common: Any) -> Any:
    """Make the strategy of a method.

    Args:
        method: a name of ``METHODS``.
        values: from ``resolve``.
        common: model, device, seed, plugins and other objects.

    Raises:
        HamError: if a value does not fit the model or another value.
    """
    row = get_method(method)
    left, known = {**values, **row.fixed}, arguments(row.path)
    for argument, made in MADE.items():
        name = left.pop(made.option, None)
        if argument in known and name is not None:
            own = class_options(made, name)
            given = {k: left.pop(o.name) for k, o in own.items() if o.name in left}
            if "seed" in arguments(table(made.table)[name]):
                given["seed"] = common.get("seed", 0)
            left[argument] = _load(made.table)[name](**given)
    idle = idle_options(method, values)
    renamed = {option: argument for argument, option in NAMES.items() if option is not None}
    kwargs = {renamed.get(k, k): v for k, v in left.items() if k not in idle}
    return strategy_class(method)(**kwargs, **common)


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
