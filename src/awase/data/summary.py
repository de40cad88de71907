"""What a record says about the data: counts, exclusions, absences, leaks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awase.data.source import Rows

LISTED = 1000


def listed(rows: Rows, reasons: Mapping[int, str]) -> dict[str, Any]:
    """`count`, counts `by_reason`, and the first 1000 rows with id and reason."""
    return {
        "count": len(reasons),
        "by_reason": dict(Counter(reasons.values()).most_common()),
        "rows": [{"id": rows.ids[row], "reason": reason} for row, reason in sorted(reasons.items())[:LISTED]],
    }


def count_classes(rows: Rows, members: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """`count` of rows, and of each class among them."""
    counts = Counter(name for row in members.tolist() for name in rows.labels[row])
    return {"count": len(members), "classes": {name: counts[name] for name in classes}}


def shared_between_splits(rows: Rows, splits: Mapping[str, np.ndarray], prints: Sequence[str]) -> dict[str, Any]:
    """Groups and contents that occur in more than one split, with those splits.

    Contents are rows with equal files, named by the ids of the rows; both are leaks where the test is to be of new
    speakers or clips. Ids are unique in an opened data set; `ids` is for tables that are only checked.
    """
    shared: dict[str, Any] = {"ids": _shared(rows.ids, splits), "contents": _shared_contents(rows, splits, prints)}
    shared["groups"] = None if rows.groups is None else _shared(rows.groups, splits)
    return shared


def _shared(names: Sequence[str], splits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for split, members in splits.items():
        for name in {names[row] for row in members.tolist()}:
            found.setdefault(name, []).append(split)
    several = {name: where for name, where in sorted(found.items()) if len(where) > 1}
    return {"count": len(several), "names": dict(list(several.items())[:LISTED])}


def _shared_contents(rows: Rows, splits: Mapping[str, np.ndarray], prints: Sequence[str]) -> dict[str, Any]:
    found: dict[str, list[tuple[str, str]]] = {}
    for split, members in splits.items():
        for row in members.tolist():
            found.setdefault(prints[row], []).append((split, rows.ids[row]))
    several = [where for where in found.values() if len({split for split, _ in where}) > 1]
    return {
        "count": len(several),
        "rows": [[f"{split}: {name}" for split, name in where] for where in several[:LISTED]],
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Minimum, median and maximum; `None` of nothing."""
    if len(values) == 0:
        return None
    return {"min": float(min(values)), "median": float(np.median(values)), "max": float(max(values))}
