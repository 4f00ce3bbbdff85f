"""Plot step time and memory of method state over the number of tasks.

    python experiments/speed_figure.py experiments/results/speed/step_*.json

Writes ``speed.png``, ``speed.svg`` and ``speed.csv`` beside the first file: a row per file, on the
left the time of a training step in plain LoRA steps, on the right the state on the device in MB.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avalanche_ham.reporting.style import (
    GREY,
    look_of_row,
    new_figure,
    save,
    spread,
    styled,
)

LABELS = {
    "ham": "HAM",
    "ham_plus": "HAM+",
    "inflora": "InfLoRA",
    "o_lora": "O-LoRA",
    "sd_lora": "SD-LoRA",
    "sd_lora_loop": "SD-LoRA, loop",
    "ham_naive": "HAM, naive",
    "slao": "SLAO",
    "pam": "PAM",
    "sd_lora_released": "SD-LoRA, released",
}
KEYS = ("median", "low", "high")


def draw(
    axes: Any,
    steps: dict[str, Any],
    value: str,
    unit: str,
    heights_named: tuple[int, ...] = (),
) -> None:
    """Draw a line per method over the number of tasks, on logarithmic axes."""
    ends = []
    counts = sorted({int(name.split()[1]) for name in steps if " " in name})
    kinds = {name.split()[0] for name in steps}
    if "sd_lora_loop" in kinds:
        kinds.discard("sd_lora_released")  # the same loop with its modules: lines over each other
    drawn = [kind for kind in LABELS if kind in kinds]
    for kind in drawn:
        look = look_of_row(LABELS[kind])
        heights = [max(steps[f"{kind} {n}"][value], 1e-3) for n in counts]
        axes.plot(
            counts,
            heights,
            marker=look.marker,
            **look.line,
            zorder=3 if kind == "ham" else 2,
        )
        ends.append(math.log10(heights[-1]))
    axes.set(xscale="log", yscale="log", xticks=counts, xlabel="number of tasks")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    if heights_named:  # before the labels: ticks widen the axis that labels are spread on
        axes.set_yticks(heights_named)
    low, high = (math.log10(edge) for edge in axes.get_ylim())
    for kind, place in zip(drawn, spread(ends, (high - low) / 18)):
        axes.annotate(
            LABELS[kind],
            (1.02, 10**place),
            xycoords=("axes fraction", "data"),
            color=look_of_row(LABELS[kind]).colour,
            va="center",
        )
    axes.set_ylabel(unit)
    axes.yaxis.set_major_formatter("{x:g}")


def numbers(name: str, steps: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Give a row for each method and number of tasks of a file."""
    for key in (key for key in steps if " " in key):
        kind, tasks = key.split()
        step = steps[key]
        state = round(step["state_mb"], 2)
        yield name, LABELS[kind], int(tasks), *(round(step[k], 3) for k in KEYS), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    chosen = parser.parse_args()
    with styled():
        figure = new_figure(8.4, 3.2 * len(chosen.files))
        for row, path in enumerate(chosen.files):
            found = json.loads(path.read_text())
            used, steps = found["options"], found["steps"]
            left, right = (
                figure.add_subplot(len(chosen.files), 2, 2 * row + side) for side in (1, 2)
            )
            title = "training step / plain LoRA step"
            draw(left, steps, "median", title, heights_named=(1, 2, 4, 8))
            left.axhline(1, color=GREY, linewidth=0.8)
            left.set_title(f"{used['backbone']}, batch {used['batch']}", loc="left")
            draw(right, steps, "state_mb", "state on the device (MB)")
        place = chosen.files[0].parent / "speed"
        with place.with_suffix(".csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("steps", "method", "tasks", *KEYS, "state_mb"))
            for path in chosen.files:
                rows.writerows(numbers(path.stem, json.loads(path.read_text())["steps"]))
        print(place.with_suffix(".csv"))
        for written in save(figure, place):
            print(written)


if __name__ == "__main__":
    main()
