"""The numbers of a report as plain rows, and as a JSON document."""

import json
import math
from collections.abc import Iterable
from typing import Any

from awase.records import BankNumber, SpaceNumber
from awase.report.groups import Group, Stat, Table, tabulate
from awase.report.load import Run
from awase.report.retrieval_bank import bank_stat
from awase.report.retrieval_numbers import (
    by_protocol,
    is_trained,
    last_stage,
    numbers_of,
    published_number,
    retrieval_of,
    space_stat,
)
from awase.statistics import SAME_CAPTION


def rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Returns one row per experiment, method, data set, split (`val`, `test`) and metric, of whole samples.

    `mean` and `std` are over seeds, folds averaged within a seed first; `std` is None with one seed. Fractions are in
    [0, 1]; what is infinite or NaN is None. `folds` is 1 where the data has one split. `published` stands beside the
    test value of its metric. Where data or protocols differ, `dataset` says which. Failed runs have no row. Retrieval
    runs have `retrieval_rows`.
    """
    found: list[dict[str, Any]] = []
    for table in tabulate(runs).tables:
        for part in by_protocol(table) if table.is_retrieval else (table,):
            of_group = retrieval_rows if table.is_retrieval else _group_rows
            found += [row for group in part.groups for row in of_group(part, group)]
    return found


def retrieval_rows(table: Table, group: Group) -> list[dict[str, Any]]:
    """A row per stage, split, direction and metric, with its protocol (with folds that of the first).

    `trained`: whether every pair of the direction was drawn together by then. `same_text_right`: every item with the
    text of the query is right; such rows stand only where that changes something. `under`: the adapters that it is
    asked under, None in the shared space; a direction asked under adapters (task-aware) has a row of each
    (task-agnostic).
    """
    found = []
    last = last_stage(group)
    seen: set[tuple[str, str, str, bool]] = set()
    agnostic = [number for run in group.runs for number in retrieval_of(run.record).agnostic]
    for number, plain in [*((one, False) for one in numbers_of(group)), *((one, True) for one in agnostic)]:
        key = (number.stage, number.split, number.direction)
        if (*key, plain) in seen:
            continue
        seen.add((*key, plain))
        for same in (False, True):
            for metric in number.metrics:
                stat = space_stat(group, *key, metric, same_caption=same, agnostic=plain)
                if stat is None:
                    continue
                tested = number.stage == last and number.split != "val" and not same and not plain
                published = published_number(group, number.split, number.direction, metric) if tested else None
                found.append(
                    _row(table, group, number, metric, stat)
                    | {
                        "trained": is_trained(group, number.stage, number.direction, number.split),
                        "same_text_right": same,
                        "under": number.under,
                        "published": published,
                        "protocol": {**number.protocol, **({"correct": SAME_CAPTION} if same else {})},
                    }
                )
    return found


def _row(table: Table, group: Group, number: SpaceNumber | BankNumber, metric: str, stat: Stat) -> dict[str, Any]:
    """What rows of raw and of inductive numbers have in common."""
    return {
        "experiment": table.experiment,
        "method": group.method,
        "dataset": table.dataset,
        "split": number.split,
        "stage": number.stage,
        "direction": number.direction,
        "metric": metric,
        "mean": _finite(stat.mean),
        "std": _finite(stat.std),
        "seeds": len(stat.per_seed),
        "folds": len(group.folds),
    }


def _finite(value: float | None) -> float | None:
    """The value; None for infinity and NaN, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def inductive_rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Returns a row per split, direction and metric of retrieval runs with a query bank, with bank and protocol.

    Fields as in `retrieval_rows`; `bank_queries` and `protocol` are of the first run.
    """
    tables = [part for table in tabulate(runs).tables if table.is_retrieval for part in by_protocol(table)]
    return [row for part in tables for group in part.groups for row in _bank_rows(part, group)]


def _bank_rows(table: Table, group: Group) -> list[dict[str, Any]]:
    found = []
    for number in retrieval_of(group.runs[0].record).query_bank:
        for metric in number.metrics:
            stat = bank_stat(group, number.split, number.direction, metric)
            if stat is None:
                continue
            found.append(
                _row(table, group, number, metric, stat)
                | {"bank": number.bank, "bank_queries": number.bank_queries, "protocol": number.protocol}
            )
    return found


def render_json(runs: Iterable[Run]) -> str:
    """Returns `{"rows": [...]}` with `rows`; of retrieval runs with a query bank also `"inductive": [...]`."""
    runs = list(runs)
    inductive = inductive_rows(runs)
    return json.dumps({"rows": rows(runs), **({"inductive": inductive} if inductive else {})}, indent=1) + "\n"


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
            "mean": _finite(stat.mean),
            "std": _finite(stat.std),
            "seeds": len(stat.per_seed),
            "folds": len(group.folds),
            "published": group.published_of(metric) if split == "test" else None,
        }
        found.append(row)
    return found
