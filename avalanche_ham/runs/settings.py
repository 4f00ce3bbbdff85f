"""From plain values (command line, presets, records) to a strategy's keyword arguments.

A strategy's signature is the single source: its plain keyword arguments are the options.
"""

from __future__ import annotations

import math
from typing import Any

from avalanche_ham.errors import HamError, OptionError, UnknownNameError
from avalanche_ham.strategies.registry import get_method, options_of, strategy_class

ALIASES = {  # option -> Avalanche's name for it
    "epochs": "train_epochs",
    "batch_size": "train_mb_size",
    "eval_batch_size": "eval_mb_size",
}
_HANDLED = {  # arguments that are objects or that the runner sets
    "model", "optimizer", "seed", "device", "plugins", "evaluator", "eval_every",
    "peval_mode", "assign", "merge_rule", "regulariser",
}  # fmt: skip
MERGE_OPTIONS = {"merge": "linear", "density": 0.2}
PENALTY_OPTIONS: dict[str, dict[str, float]] = {
    "ewc": {"ewc_strength": 1000.0, "ewc_decay": 1.0},
    "lwf": {"lwf_strength": 1.0, "lwf_temperature": 2.0},
}


def defaults(method: str) -> dict[str, Any]:
    """List a method's options with their default values, in plain types.

    Raises:
        UnknownNameError: if the method is unknown.
    """
    back = {name: alias for alias, name in ALIASES.items()}
    parameters = options_of(method)
    options = {
        back.get(name, name): p.default for name, p in parameters.items() if name not in _HANDLED
    }
    row = get_method(method)
    if "merge_rule" in parameters:
        options.update({k: v for k, v in MERGE_OPTIONS.items() if k not in row.fixed})
        if row.fixed.get("merge") == "linear":
            del options["density"]  # nothing to prune
    options.update(PENALTY_OPTIONS.get(row.fixed.get("regulariser", ""), {}))
    return {**options, **row.defaults}


def resolve(method: str, *overrides: dict[str, Any]) -> dict[str, Any]:
    """Give the final plain value of every option; later overrides win.

    Presets speak for all methods, so what a method lacks is skipped in all overrides but the
    last, which is what the user asked for.

    Raises:
        UnknownNameError: if the last override names an option that the method lacks.
        OptionError: if a number is not finite, which no record can hold.
    """
    values = defaults(method)
    for position, override in enumerate(overrides):
        for name, value in override.items():
            if name in values:
                values[name] = _finite(name, value)
            elif position == len(overrides) - 1:
                raise UnknownNameError(f"option of {method}", name, values)
    asked = overrides[-1] if overrides else {}
    if "epochs" in asked and "steps" not in asked:
        values["steps"] = None  # epochs that were asked for are not cut by a preset
    return values


def _finite(name: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(name, "a finite number", value)
    return value


def build_strategy(method: str, values: dict[str, Any], **common: Any) -> Any:
    """Make the strategy of a method.

    Args:
        method: a name of ``METHODS``.
        values: from ``resolve``.
        common: model, device, seed, plugins and other objects.

    Raises:
        HamError: if a value is outside its range.
    """
    kwargs = {ALIASES.get(name, name): value for name, value in values.items()}
    fixed = dict(get_method(method).fixed)
    seed = common.get("seed", 0)
    merge = kwargs.pop("merge", None) or fixed.pop("merge", None)
    if merge is not None:
        from avalanche_ham.merging import make_rule

        density = kwargs.pop("density", MERGE_OPTIONS["density"])
        kwargs["merge_rule"] = make_rule(merge, density=density, seed=seed)
    penalty = fixed.pop("regulariser", None)
    if penalty is not None:
        kwargs["regulariser"] = _penalty(penalty, kwargs)
    for name in ("targets", "slots"):
        if isinstance(kwargs.get(name), str):
            kwargs[name] = tuple(kwargs[name].split(","))
    try:
        return strategy_class(method)(**kwargs, **fixed, **common)
    except TypeError as error:
        raise HamError(f"an option has the wrong type: {error}") from error


def _penalty(name: str, kwargs: dict[str, Any]) -> Any:
    from avalanche_ham.penalties import EWCPenalty, LwFPenalty

    own = {o.split("_", 1)[1]: kwargs.pop(o) for o in PENALTY_OPTIONS[name]}
    return {"ewc": EWCPenalty, "lwf": LwFPenalty}[name](**own)
