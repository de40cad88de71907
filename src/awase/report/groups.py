"""Runs sorted into tables: one per experiment, data and protocol, with a group of runs per method."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from awase.report.load import Run
from awase.statistics import Predictions, concatenate

COMPARABLE = ("encoders", "unimodal", "unimodal_overrides", "joint", "from_start", "selection")
"""Fields of an experiment that all methods of a table share; the data is compared by its fingerprint."""


@dataclass(frozen=True)
class Stat:
    """Mean and standard deviation (of the sample) over seeds; `std` is None with one seed, or an infinite value."""

    mean: float
    std: float | None
    per_seed: dict[int, float]


@dataclass(frozen=True)
class Group:
    """The runs of one method that belong together: one per seed and fold."""

    method: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({run.record.seed for run in self.runs}))

    @property
    def folds(self) -> tuple[int | None, ...]:
        """The folds, `(None,)` where the data has one split."""
        return tuple(sorted({run.record.fold for run in self.runs}, key=lambda fold: (fold is not None, fold or 0)))

    @property
    def metric(self) -> str:
        """What chose epochs and settings."""
        return self.runs[0].record.selection_metric

    @property
    def published(self) -> float | None:
        """The published value of the selection metric."""
        return self.published_of(self.metric)

    @property
    def starred(self) -> bool:
        """Whether the published value carries a star in its source."""
        return any(run.record.published_starred for run in self.runs)

    def published_of(self, metric: str) -> float | None:
        """The published value as a fraction: one above 1 of a metric in [0, 1] can only be in percent."""
        found = next((run.record.published for run in self.runs if run.record.published is not None), None)
        by_metric = found if isinstance(found, dict) else {self.metric: found}
        value = by_metric.get(metric)
        return value / 100 if value is not None and value > 1 and is_fraction(metric) else value

    def stat(self, split: str, metric: str, condition: str = "full") -> Stat | None:
        """The metric over seeds, folds averaged within a seed first; None where no run has it."""
        found: dict[int, list[float]] = defaultdict(list)
        for run in self.runs:
            for entry in run.record.metrics:
                if (entry.split, entry.name, entry.condition) == (split, metric, condition):
                    found[run.record.seed].append(entry.value)
        return stat_of({seed: float(np.mean(values)) for seed, values in sorted(found.items())})

    def predictions(self) -> dict[int, Predictions] | None:
        """Seed -> test predictions, the folds side by side; None where a run has none."""
        found: dict[int, list[Predictions]] = defaultdict(list)
        for run in self.runs:
            part = run.test_predictions()
            if part is None:
                return None
            found[run.record.seed].append(part)
        return {seed: concatenate(parts) for seed, parts in found.items()}


@dataclass(frozen=True)
class Table:
    """What may stand in one table: one experiment, one data set in one version, one way to choose."""

    experiment: str
    dataset: str
    groups: tuple[Group, ...]

    @property
    def metric(self) -> str:
        return self.groups[0].metric

    @property
    def is_retrieval(self) -> bool:
        """Whether its runs retrieve instead of deciding between classes."""
        return self.groups[0].runs[0].record.retrieval is not None


@dataclass(frozen=True)
class Overview:
    """All tables, the runs that failed, and what had to be kept apart or left out."""

    tables: tuple[Table, ...]
    failed: tuple[Run, ...]
    notes: tuple[str, ...]


def is_fraction(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is shown in percent."""
    return metric != "loss" and not is_rank(metric)


def is_rank(metric: str) -> bool:
    """Whether a metric is made of ranks, and so better when lower: `MedR`, also of one direction (`MedR a->b`)."""
    return any(word in ("MedR", "MedR_all", "MeanR", "log_rank") for word in metric.split())


def stat_of(per_seed: dict[int, float]) -> Stat | None:
    """Mean and deviation of values by seed; None without any."""
    if not per_seed:
        return None
    values = np.array(list(per_seed.values()))
    several = len(values) > 1 and not np.isinf(values).any()
    return Stat(float(values.mean()), float(values.std(ddof=1)) if several else None, per_seed)


def tabulate(runs: Iterable[Run]) -> Overview:
    """Returns the tables of the finished runs.

    Runs of one experiment and data set whose data fingerprints, settings or protocols differ are kept apart, never
    averaged, and a note says so. Of several runs with one seed and fold the one that finished last counts. Failed runs
    are listed.
    """
    done, failed, notes = list[Run](), list[Run](), list[str]()
    for run in runs:
        (done if run.record.status == "done" else failed).append(run)
    together: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in done:
        together[run.record.experiment, run.record.dataset].append(run)
    tables = []
    for (experiment, dataset), members in together.items():
        variants = _variants(members)
        if len(variants) > 1:
            notes.append(
                f"{experiment}: runs on {dataset} differ in their data, settings or protocol; they are shown apart, "
                "not averaged."
            )
        for label, part in variants:
            groups = _groups(part, notes)
            tables.append(Table(experiment, f"{dataset} ({label})" if label else dataset, groups))
    return Overview(tuple(tables), tuple(failed), tuple(notes))


def _variants(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Runs that may stand together, with what sets them apart from the others in words ("" where nothing does)."""
    prints: dict[tuple[tuple[str, ...], int | None], set[str]] = defaultdict(set)
    for run in runs:
        prints[_protocol(run), run.record.fold].add(_fingerprint(run))
    # The folds of one data set have a fingerprint each, so fingerprints are compared within a fold.
    clashing = {protocol for (protocol, _), found in prints.items() if len(found) > 1}
    variants: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        protocol = _protocol(run)
        variants[(f"data {_fingerprint(run)[:8]}" if protocol in clashing else "", *protocol)].append(run)
    common = set.intersection(*(set(key) for key in variants))
    return [(", ".join(part for part in key if part and part not in common), found) for key, found in variants.items()]


def _fingerprint(run: Run) -> str:
    return str(run.record.data.get("fingerprint", "unknown"))


def _protocol(run: Run) -> tuple[str, ...]:
    """What, beside the data, must be equal for numbers to stand in one table."""
    experiment = run.record.config.get("experiment")
    chosen = {name: experiment.get(name) for name in COMPARABLE} if isinstance(experiment, dict) else {}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:6]
    folds = "one split" if run.record.fold is None else "folds"
    return f"chosen by {run.record.selection_metric}", folds, f"settings {digest}"


def _groups(runs: Sequence[Run], notes: list[str]) -> tuple[Group, ...]:
    methods: dict[str, dict[tuple[int, int | None], Run]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: run.record.finished):
        cells = methods[run.record.method]
        key = (run.record.seed, run.record.fold)
        if key in cells:
            notes.append(f"{run.record.method}: seed {key[0]} was run more than once; the last to finish counts.")
        cells[key] = run
    ordered = [name for name in _order(runs) if name in methods]
    return tuple(Group(name, tuple(run for _, run in sorted(methods[name].items(), key=_place))) for name in ordered)


def _place(item: tuple[tuple[int, int | None], Run]) -> tuple[int, int]:
    seed, fold = item[0]
    return seed, -1 if fold is None else fold


def _order(runs: Sequence[Run]) -> list[str]:
    """Methods in the order of the experiment's list where the configuration has it, then as the runs came."""
    listed = [run.record.config.get("methods") for run in runs]
    entries = [entry for part in listed if isinstance(part, list) for entry in part if isinstance(entry, dict)]
    names = [str(entry.get("label") or entry.get("method")) for entry in entries]
    return list(dict.fromkeys([*names, *(run.record.method for run in runs)]))
