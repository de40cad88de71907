"""Published results of the classification tables, shown beside ours and never mixed with them."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One published number, in percent; `starred` as in its source (most likely re-run there, not copied)."""

    table: str
    dataset: str
    backbone: str
    method: str
    metric: str
    percent: float
    starred: bool
    source: str


@cache
def published_results() -> tuple[Published, ...]:
    """Every row of `published.csv`, in its order."""
    text = files("awase.experiments").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            table=row["table"],
            dataset=row["dataset"],
            backbone=row["backbone"],
            method=row["method"],
            metric=row["metric"],
            percent=float(row["percent"]),
            starred=row["starred"] == "1",
            source=row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def published_of(table: str, dataset: str, backbone: str) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """(method -> metric -> percent, starred methods) of one data set and backbone of one table."""
    rows = [r for r in published_results() if (r.table, r.dataset, r.backbone) == (table, dataset, backbone)]
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row.method, {})[row.metric] = row.percent
    return values, tuple(dict.fromkeys(row.method for row in rows if row.starred))
