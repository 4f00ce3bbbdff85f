"""Which runs a table still needs, and how long they will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from avalanche_ham.heads import HEADS
from avalanche_ham.runs.archive import Archive
from avalanche_ham.runs.config import RunConfig
from avalanche_ham.runs.identity import Digests, Identity, identity_of
from avalanche_ham.runs.records import Record

LIKENESS = (  # what an estimate is taken from, the most alike first
    ("method", "benchmark", "preset", "backbone", "n_tasks"),
    ("method", "benchmark", "preset", "backbone"),
    ("benchmark", "preset", "backbone"),
    ("preset", "backbone"),
)


@dataclass(frozen=True)
class Plan:
    """The runs of a table, each once, by what is known of them.

    Attributes:
        finished: they have a record.
        failed: they failed and are not tried again unless asked for.
        missing: to be made, one seed of everything before the next seed.
        without_data: to be made, but their data set is not there.
    """

    finished: tuple[RunConfig, ...]
    failed: tuple[RunConfig, ...]
    missing: tuple[RunConfig, ...]
    without_data: tuple[RunConfig, ...]


def make_plan(
    runs: Iterable[RunConfig],
    archive: Archive,
    has_data: Callable[[str], bool],
    *,
    retry: bool = False,
    know: Callable[[RunConfig], Digests] | None = None,
    needs: Collection[str] = (),
) -> Plan:
    """Sort runs into finished, failed and missing.

    Args:
        runs: of one or more tables; equal ones are taken once.
        archive: what is known.
        has_data: whether a benchmark's images are there.
        retry: count failed runs as missing.
        know: gives the digests of a run's images and weights, which the archive then holds its
            records to; None takes any record.
        needs: entries that a record must have to count as finished, see ``records.lacks``.
    """
    once: dict[Identity, RunConfig] = {}
    for config in runs:
        once.setdefault(identity_of(config), config)
    parts: dict[str, list[RunConfig]] = {
        "finished": [],
        "failed": [],
        "missing": [],
        "gone": [],
    }
    for config in once.values():
        there = has_data(config.benchmark)
        if know is not None and there:
            archive.digests[identity_of(config).training] = know(config)
        if archive.record(config, needs):
            parts["finished"].append(config)
        elif archive.failure(config, needs) and not retry:
            parts["failed"].append(config)
        else:
            parts["missing" if there else "gone"].append(config)
    seeds = list(dict.fromkeys(config.seed for config in once.values()))
    parts["missing"].sort(key=lambda config: seeds.index(config.seed))
    return Plan(*(tuple(part) for part in parts.values()))


def together(runs: Sequence[RunConfig]) -> tuple[RunConfig, ...]:
    """Let runs that differ in nothing but the head be one: it trains once and serves all.

    Args:
        runs: in the order in which they are to be made.

    Returns:
        As many runs as there are trainings; ``head`` lists the heads, ``linear`` first.
    """
    heads: dict[tuple[Identity, int], list[str]] = defaultdict(list)
    firsts: dict[tuple[Identity, int], RunConfig] = {}
    seen = Counter[tuple[Identity, str]]()  # a head with other options needs a run of its own
    for config in runs:
        identity = identity_of(config)
        key = identity.training, seen[identity.training, identity.head]
        seen[identity.training, identity.head] += 1
        heads[key].append(identity.head)
        first = firsts.setdefault(key, config)
        firsts[key] = replace(first, options={**config.options, **first.options})
    order = list(HEADS)
    return tuple(
        replace(firsts[key], head=",".join(sorted(names, key=order.index)))
        for key, names in heads.items()
    )


class Times:
    """How long runs will take, guessed from finished ones; built in one pass, then kept up.

    Training is taken as proportional to the tasks where a task has a fixed number of steps,
    as constant where it has epochs. Evaluation after task t covers t of T tasks: (T + 1) / 2
    times the last one, all in all.
    """

    def __init__(self, archive: Archive) -> None:
        self.known: dict[tuple, list[float]] = {}  # sums: per task, constant, last evaluation, one
        for record in archive.all_records():
            self.add(record)

    def add(self, record: Record) -> None:
        """Take one more finished run into account."""
        parts_of = (record["train_seconds"], record["feed_seconds"], record["drift_seconds"])
        training = sum(sum(part) for part in parts_of)
        fixed = record["hyperparameters"].get("steps") is None
        constant = fixed or len(record["train_seconds"]) == 1
        parts = (
            0.0 if constant else training / record["n_tasks"],
            training if constant else 0.0,
            record["eval_seconds"][-1],
            1.0,
        )
        for keys in LIKENESS:
            sums = self.known.setdefault(tuple(record.get(k) for k in keys), [0.0] * 4)
            sums[:] = [a + b for a, b in zip(sums, parts)]

    def estimate(self, config: RunConfig) -> float | None:
        """Guess a run's seconds from those most like it, None if nothing finished is."""
        wanted = identity_of(config)
        for keys in LIKENESS:
            sums = self.known.get(tuple(getattr(wanted, k) for k in keys))
            if sums is not None:
                each, constant, last, count = sums
                return (each * wanted.n_tasks + constant + last * (wanted.n_tasks + 1) / 2) / count
        return None


def time_left(runs: Sequence[RunConfig], finished: Archive | Times, *, jobs: int) -> str:
    """Say how long runs will take with so many processes.

    Runs that resemble nothing finished count as much as the mean of the others, and their
    number is said.
    """
    times = finished if isinstance(finished, Times) else Times(finished)
    guesses = [times.estimate(config) for config in runs]
    told = [guess for guess in guesses if guess is not None]
    if not runs:
        return "nothing"
    if not told:
        return "an unknown time (no finished run resembles them)"
    seconds = sum(told) / len(told) * len(runs) / max(1, min(jobs, len(runs)))
    unknown = len(guesses) - len(told)
    tail = f" ({unknown} of {len(runs)} resemble no finished run)" if unknown else ""
    return f"about {duration(seconds)}{tail}"


def time_taken(runs: Sequence[RunConfig], archive: Archive, needs: Collection[str] = ()) -> str:
    """Say how long finished runs trained and evaluated; a training of several heads counts once.

    Args:
        needs: entries without which a record does not count, as for ``make_plan``.
    """
    trainings = set()  # heads that shared a training have its seconds in common, to the last bit
    for config in runs:
        record = archive.record(config, needs)
        if record is not None:
            parts = ("train_seconds", "feed_seconds", "drift_seconds", "eval_seconds")
            seconds = tuple(second for part in parts for second in record[part])  # type: ignore
            trainings.add((identity_of(config).training, seconds))
    return duration(sum(sum(seconds) for _, seconds in trainings))


def duration(seconds: float) -> str:
    """Say a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def describe(config: RunConfig) -> str:
    """Say in words which run this is."""
    identity = identity_of(config)
    factor = ", ".join(f"{k}={v}" for k, v in sorted(config.options.items()))
    words = (
        identity.method,
        f"{identity.head.replace(',', ' and ')} head",
        identity.benchmark,
        f"{identity.n_tasks} tasks",
        f"seed {identity.seed}",
        factor,
    )
    return ", ".join(word for word in words if word)
