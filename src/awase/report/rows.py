"""The numbers of a report as plain rows, and as a JSON document."""

import json
from collections.abc import Iterable
from typing import Any

from awase.report.groups import Group, Table, tabulate
from awase.report.load import Run


def rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Returns one row per experiment, method, data set, split (`val`, `test`) and metric, of whole samples.

    `mean` and `std` are over seeds, folds averaged within a seed first; `std` is None with one seed. Fractions are in
    [0, 1]. `folds` is 1 where the data has one split. `published` stands beside the test value of its metric. Where
    data or protocols differ, `dataset` says which. Failed runs have no row.
    """
    return [row for table in tabulate(runs).tables for group in table.groups for row in _group_rows(table, group)]


def render_json(runs: Iterable[Run]) -> str:
    """Returns `{"rows": [...]}` with the rows of `rows`."""
    return json.dumps({"rows": rows(runs)}, indent=1) + "\n"


def _group_rows(table: Table, group: Group) -> list[dict[str, Any]]:
    entries = [entry for run in group.runs for entry in run.record.metrics if entry.condition == "full"]
    names = dict.fromkeys((entry.split, entry.name) for entry in entries if entry.split != "train")
    found = []
    for split, metric in names:
        stat = group.stat(split, metric)
        assert stat is not None, "the name comes from a metric of the group"
        row = {
            "experiment": table.experiment,
            "method": group.method,
            "dataset": table.dataset,
            "split": split,
            "metric": metric,
            "mean": stat.mean,
            "std": stat.std,
            "seeds": len(stat.per_seed),
            "folds": len(group.folds),
            "published": group.published_of(metric) if split == "test" else None,
        }
        found.append(row)
    return found
