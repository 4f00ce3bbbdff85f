"""What the page compares: runs that differ in nothing but the seed, at their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from avalanche_ham.reporting.methods import LABELS
from avalanche_ham.reporting.report_page.naming import deviations
from avalanche_ham.reporting.table import Place
from avalanche_ham.runs.identity import Identity, identity_in
from avalanche_ham.runs.options import benchmark_options
from avalanche_ham.runs.records import Record
from avalanche_ham.runs.settings import defaults
from avalanche_ham.strategies.registry import METHODS

NAMED = ("benchmark", "n_tasks", "head", "preset")  # always said of a place


class Placed(NamedTuple):
    """A record and where it stands."""

    where: str
    record: Record


@dataclass(frozen=True)
class Site:
    """Where runs can be compared: the same images, tasks, backbone and head.

    Attributes:
        key: short and unique.
        family: the same for sites that differ in the number of tasks alone.
        entries: what all its records have in common.
        title: says it in words.
    """

    key: str
    family: str
    entries: dict[str, Any]
    title: str


@dataclass(frozen=True)
class Row:
    """Runs of one method with the same options at one site, a record per seed.

    Attributes:
        key: short and unique.
        site: where they took place.
        label: the method, and in what it differs from its others there.
        runs: by seed.
    """

    key: str
    site: Site
    label: str
    runs: tuple[Placed, ...]

    @property
    def records(self) -> list[Record]:
        """The records without their places."""
        return [run.record for run in self.runs]


def make_rows(placed: Iterable[Placed]) -> list[Row]:
    """Sort records into rows, best AA first within a site; of two of one run the first counts."""
    groups: dict[tuple[str, Identity], dict[int, Placed]] = defaultdict(dict)
    entries: dict[str, dict[str, Any]] = {}
    for where, record in placed:
        about = _site_entries(record)
        site = repr(about)
        entries[site] = about
        identity = identity_in(record)
        digests = identity.digests._replace(images=None, classes=None)  # they follow the seed
        alike = identity._replace(seed=0, digests=digests)
        groups[site, alike].setdefault(record["seed"], Placed(where, record))
    sites = dict(zip(entries, _make_sites(list(entries.values()))))
    runs = {key: tuple(found[seed] for seed in sorted(found)) for key, found in groups.items()}
    labels = _labels(runs)
    order = sorted(runs, key=lambda key: (list(sites).index(key[0]), -_mean_aa(runs[key])))
    return [Row(f"r{i}", sites[key[0]], labels[key], runs[key]) for i, key in enumerate(order)]


def _site_entries(record: Record) -> dict[str, Any]:
    own = benchmark_options(record["benchmark"])
    data = {k: v for k, v in record["hyperparameters"].items() if k in own}
    names = (*NAMED, "backbone", "image_size", "selection")
    common = {name: record[name] for name in names}  # type: ignore[literal-required]
    return {**common, "weights": record["weights_digest"], **data}


def _make_sites(entries: list[dict[str, Any]]) -> list[Site]:
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, about in enumerate(entries):
        alike[tuple(about[name] for name in NAMED)].append(index)
    words = [""] * len(entries)
    for indices in alike.values():
        for index, text in zip(indices, deviations([entries[i] for i in indices])):
            words[index] = text
    families = [repr({**about, "n_tasks": None}) for about in entries]
    numbers = {family: f"f{i}" for i, family in enumerate(dict.fromkeys(families))}
    sites = []
    for i, (about, family, more) in enumerate(zip(entries, families, words)):
        place = Place(about["benchmark"], about["n_tasks"], about["head"])
        said = (place.words(Place._fields), f"preset {about['preset']}", more)
        title = ", ".join(filter(None, said))
        sites.append(Site(f"s{i}", numbers[family], about, title))
    return sites


def _labels(runs: dict[tuple[str, Identity], tuple[Placed, ...]]) -> dict[Any, str]:
    """Name each row by its method and, where there are several, by what sets it apart."""
    of_method: dict[tuple[str, str], list[tuple[str, Identity]]] = defaultdict(list)
    for key in runs:
        of_method[key[0], key[1].method].append(key)
    labels = {}
    for (_, method), keys in of_method.items():
        known = defaults(method) if method in METHODS else {}
        # an option that a record does not know yet had what is now its default
        options = [{**known, **_options(runs[key][0].record)} for key in keys]
        for key, words in zip(keys, deviations(options, known)):
            labels[key] = ", ".join(filter(None, (LABELS.get(method, method), words)))
    return labels


def _options(record: Record) -> dict[str, Any]:
    about = {"numbers version": record["numbers_version"]}
    return {**record["hyperparameters"], **about}


def _mean_aa(runs: tuple[Placed, ...]) -> float:
    scores = [run.record["aa"] or 0.0 for run in runs]
    return sum(scores) / len(scores)
