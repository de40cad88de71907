"""Where the numbers came from: settings, data, weights, and how to get them again."""

import json
from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Int

from awase.records import Record
from awase.report import numbers
from awase.report.cautions import short
from awase.report.figures import confusion_figure
from awase.report.groups import Table
from awase.report.html import Html, figure, fold_out, join, table, tag
from awase.report.lines import Lines
from awase.statistics import Predictions


def confusion(found: Lines) -> Html:
    """The confusion matrix of the method that validation ranks first, all seeds and folds added up."""
    best = found.best
    runs = found.predictions.get(best.group.method) if best is not None else None
    if best is None or not runs or next(iter(runs.values())).targets.ndim != 1:
        return Html("")
    classes = best.group.runs[0].record.classes
    counts = sum((_counts(part, len(classes)) for part in runs.values()), np.zeros((len(classes),) * 2, np.int64))
    caption = f"{best.group.method}, which validation ranks first: counts over {numbers.plural(len(runs), 'seed')}."
    return figure(confusion_figure(counts, classes), caption)


def _counts(part: Predictions, num: int) -> Int[np.ndarray, "classes classes"]:
    return np.bincount(part.targets * num + part.predicted, minlength=num * num).reshape(num, num)


def settings(found: Table) -> Html:
    """What validation chose among the tried settings, per method."""
    rows: list[list[object]] = []
    for group in found.groups:
        chosen = Counter(_chosen(run.record) for run in group.runs)
        words = "; ".join(f"{name} ({times} of {len(group.runs)} runs)" for name, times in chosen.most_common())
        derived = _derived(group.runs[0].record)
        rows.append([group.method, words, derived])
    titles = ["method", "chosen on validation", "derived, first run"]
    if not any(row[2] for row in rows):
        titles, rows = titles[:2], [row[:2] for row in rows]
    return table(titles, rows, caption="What validation chose among the settings tried")


def _chosen(record: Record) -> str:
    return short(record.chosen.get("changes") or "the only setting")


def _derived(record: Record) -> str:
    """Decisions in words; the usual threshold of one half is none."""
    return short({name: value for name, value in record.derived.items() if (name, value) != ("threshold", 0.5)})


def reproduce(found: Table) -> Html:
    """The command, versions, hardware, commit and data fingerprint behind a table."""
    records = [run.record for group in found.groups for run in group.runs]
    first = records[0]
    seeds = " ".join(f"--seed {seed}" for seed in sorted({record.seed for record in records}))
    command = str(first.config.get("command") or f"awase run {found.experiment} {seeds}")
    commits = sorted({f"{r.commit or 'unknown'}{' with changes' if r.dirty else ''}" for r in records})
    prints = sorted({str(record.data.get("fingerprint", "unknown")) for record in records})
    facts: list[list[object]] = [
        ["command", tag("code", command)],
        ["runs", f"{len(records)}, from {min(r.started for r in records)} to {max(r.finished for r in records)}"],
        ["commit", ", ".join(commits)],
        ["data fingerprint", ", ".join(prints)],
        ["hardware", _pairs(first.hardware)],
        ["versions", _pairs(first.versions)],
        ["encoders", join(tag("div", f"{name}: {_pairs(info)}") for name, info in first.weights.items())],
    ]
    data = json.dumps(_cut(first.data), indent=1, ensure_ascii=False)
    config = json.dumps(first.config, indent=1, ensure_ascii=False)
    documents = [fold_out("Data of the first run", tag("pre", data)), fold_out("Its configuration", tag("pre", config))]
    return join([table(["what", "value"], facts, caption="Where these numbers come from"), *documents])


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in values.items())


def _cut(value: Any, limit: int = 20) -> Any:
    """A JSON value whose long lists end with how many entries were not shown."""
    if isinstance(value, dict):
        return {name: _cut(part) for name, part in value.items()}
    if isinstance(value, list) and len(value) > limit:
        return [*value[:limit], f"and {len(value) - limit} more"]
    return value
