"""All methods beside each other: Tables 1 and 2, and all that one run says of a method."""

from __future__ import annotations

from dataclasses import replace

from avalanche_ham.reporting import paper
from avalanche_ham.reporting.cells import last_of, mean_of
from avalanche_ham.reporting.methods import all_methods, every_method
from avalanche_ham.reporting.other_papers import FROZEN
from avalanche_ham.reporting.paper import Value
from avalanche_ham.reporting.table import Column, Line, Place, Printed, Table

LENGTH = 50  # tasks, in the paper's Tables 1 and 2
HEADS = ("linear", "ridge")
FEED_TIME = "a training that served several heads also took the time to feed and ask them all"
TRAINING = Column(
    "training, s per task",
    mean_of(lambda record: sum(record["train_seconds"]) / record["n_tasks"]),
    timed=True,
)


def printed(table: paper.Table) -> Printed:
    """Read a table of the paper: a method as it has it, at its length."""

    def value(line: Line, place: Place) -> Value | None:
        known = place.n_tasks == LENGTH and line.is_printed
        return table.get(line.method, {}).get(place.benchmark) if known else None

    return value


AA = Column("AA (%)", mean_of("aa"), printed(paper.TABLE_1), best="max")
FM = Column("FM (%)", mean_of("fm"), printed(paper.TABLE_2), best="min")
TABLE_1 = Table(
    "Table 1. Average accuracy AA (%)",
    columns=[replace(AA, title="", averaged=True)],
    rows=every_method,
    benchmarks=paper.DATA_SETS,
    lengths=[LENGTH],
    heads=HEADS,
    blocks=["head"],
    slips=[*paper.slips("1"), f"for scale: {FROZEN}"],
)
TABLE_2 = replace(
    TABLE_1,
    title="Table 2. Forgetting FM (%, less is better): peak minus final accuracy",
    columns=[replace(FM, title="", averaged=True)],
    slips=paper.slips("2"),
)
METHODS_TABLE = Table(
    "Methods side by side",
    columns=[
        AA,
        FM,
        replace(TRAINING, digits=1),
        Column(
            "evaluation, ms per image",
            mean_of(lambda record: 1e3 * record["eval_seconds"][-1] / sum(record["test_images"])),
            digits=1,
            timed=True,
        ),
        Column(
            "trainable parameters, thousands",
            last_of("trainable_parameters", scale=1e-3),
            digits=1,
            deviation=False,
        ),
        Column(
            "stored parameters, thousands",
            last_of("stored_parameters", scale=1e-3),
            digits=1,
            deviation=False,
        ),
    ],
    rows=all_methods,
    lengths=[10, LENGTH],
    heads=HEADS,
    notes=[
        "parameters: trained in the last task; kept after it, backbone not counted",
        "evaluation: of all test images by the final model; where adapters are folded into the "
        "weights it is the backbone's, prompts and routers (MoELoRA, SEMA) add to it",
        FEED_TIME,
    ],
)
HEADS_TABLE = Table(
    "Methods by heads, AA (%)",
    columns=[Column("", mean_of("aa"), best="max")],
    rows=lambda setup, place: (line for line in all_methods(setup, place) if not line.options),
    lengths=[10, LENGTH],
    heads=["linear", "ncm", "ridge", "lda", "lda_drift"],
    blocks=["benchmark", "n_tasks"],
    notes=["all heads of a row are of one training"],
)
