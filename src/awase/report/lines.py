"""The lines of a main table: each method's numbers, its interval, and its paired difference to the reference."""

from dataclasses import dataclass

import numpy as np

from awase.report.groups import Group, Stat, Table
from awase.statistics import Difference, Interval, Predictions, bootstrap_mean, compare, score_seeds

REFERENCE = "ume"


@dataclass(frozen=True)
class Line:
    """One method. `interval` and `difference` need the runs' predictions and a metric that is a sum over samples."""

    group: Group
    val: Stat | None
    test: Stat | None
    interval: Interval | None
    difference: Difference | None
    trainable: float
    seconds: float
    memory_mib: float
    tried: tuple[int, ...]


@dataclass(frozen=True)
class Lines:
    """All methods of a table, the one they are compared with, and what stood in the way of an interval."""

    table: Table
    lines: tuple[Line, ...]
    reference: str
    notes: tuple[str, ...]
    predictions: dict[str, dict[int, Predictions]]

    @property
    def best(self) -> Line | None:
        """The line that validation ranks first; never chosen by test."""
        ranked = [(line.val.mean, -place, line) for place, line in enumerate(self.lines) if line.val is not None]
        sign = -1 if self.table.metric == "loss" else 1
        return max(ranked, key=lambda entry: (sign * entry[0], entry[1]))[2] if ranked else None


def reference_of(table: Table) -> str:
    """The method the others are compared with: UME where there is one, else the first."""
    names = [group.method for group in table.groups]
    return next((name for name in names if name.casefold() == REFERENCE), names[0])


def build_lines(table: Table) -> Lines:
    """Returns the lines of `table` in its order, with intervals where predictions lie beside the records."""
    reference, notes = reference_of(table), list[str]()
    known = {group.method: group.predictions() for group in table.groups}
    predictions = {name: found for name, found in known.items() if found is not None}
    if len(predictions) < len(known):
        absent = ", ".join(name for name in known if name not in predictions)
        notes.append(f"No interval for {absent}: the predictions of some of its runs are not beside their records.")
    lines = tuple(_line(group, reference, predictions, notes) for group in table.groups)
    return Lines(table, lines, reference, tuple(dict.fromkeys(notes)), predictions)


def _line(group: Group, reference: str, predictions: dict[str, dict[int, Predictions]], notes: list[str]) -> Line:
    metric = group.metric
    own = predictions.get(group.method)
    interval = None if own is None else _interval(own, metric, notes)
    difference = None
    if own is not None and interval is not None and reference in predictions and group.method != reference:
        difference = _difference(group.method, own, predictions[reference], metric, notes)
    return Line(
        group,
        group.stat("val", metric),
        group.stat("test", metric),
        interval,
        difference,
        float(np.mean([run.record.trainable_parameters for run in group.runs])),
        float(np.mean([sum(s.seconds for s in run.record.stages) or run.record.seconds for run in group.runs])),
        max(run.record.peak_memory_mib for run in group.runs),
        tuple(sorted({run.record.settings_tried for run in group.runs})),
    )


def _interval(own: dict[int, Predictions], metric: str, notes: list[str]) -> Interval | None:
    scored = score_seeds(own, metric)
    if scored is None:
        notes.append(f"{metric} is no sum over samples, so it has no bootstrap interval here.")
        return None
    return bootstrap_mean(scored.scores, scored.groups)


def _difference(
    name: str, own: dict[int, Predictions], other: dict[int, Predictions], metric: str, notes: list[str]
) -> Difference | None:
    try:
        found, left_out = compare(own, other, metric)
    except ValueError as error:
        notes.append(f"{name} is not compared with the reference. {error}")
        return None
    if left_out:
        notes.append(f"{name} against the reference: {left_out} samples that only some runs scored are left out.")
    return found
