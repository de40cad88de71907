"""Labels: from cells of a manifest to class names, and from class names to targets."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from awase.config import DataConfig
from awase.data.table import Table

LabelTask = Literal["single_label", "multi_label"]
Task = Literal["single_label", "multi_label", "retrieval"]


def task_of(config: DataConfig) -> Task:
    """The task; several label columns or a separator make labels multi-label whatever `config.task` says."""
    if config.task == "retrieval":
        return "retrieval"
    several = len(config.label) > 1 or config.label_separator is not None
    return "multi_label" if several else config.task


def label_task(task: Task) -> LabelTask:
    """The same task; raises `ValueError` for retrieval, which has no labels to decide between."""
    if task == "retrieval":
        raise ValueError(
            "The task is retrieval, where nothing is decided; `awase search` and `awase report` are for it."
        )
    return task


def text_of(cell: Any) -> str:
    """A cell as a name: whole numbers without a decimal point, text without surrounding spaces."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(int(cell)) if isinstance(cell, bool) else str(cell).strip()


def read_labels(table: Table, config: DataConfig) -> tuple[tuple[str, ...], ...]:
    """Per row, the names of its classes; none in retrieval and where the configuration names no label column.

    Raises `ValueError` for a missing column, an empty label of a single-label task, and a cell of one of several label
    columns that is neither 0 nor 1.
    """
    if not config.label or config.task == "retrieval":
        return ((),) * len(table)
    if len(config.label) > 1:
        return _from_flags(table, config.label)
    name = config.label[0]
    cells = table.column(name, "the label")
    rows = tuple(_names(cell, config.label_separator) for cell in cells)
    if task_of(config) == "single_label":
        _check_single(rows, name)
    return rows


def _names(cell: Any, separator: str | None) -> tuple[str, ...]:
    if cell is None:
        return ()
    if isinstance(cell, list):
        parts = [text_of(part) for part in cell if part is not None]
    else:
        parts = [text_of(cell)] if separator is None else text_of(cell).split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _check_single(rows: Sequence[tuple[str, ...]], name: str) -> None:
    empty = [number for number, names in enumerate(rows, start=1) if not names]
    if empty:
        shown = ", ".join(map(str, empty[:10]))
        raise ValueError(f"{len(empty)} rows have no label in column {name!r} (rows {shown}); every row needs one.")
    several = [number for number, names in enumerate(rows, start=1) if len(names) > 1]
    if several:
        raise ValueError(
            f"Row {several[0]} has several labels in column {name!r}; "
            "say --set data.task=multi_label if a row may have more than one."
        )


def _from_flags(table: Table, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    flags = {
        name: [_flag(cell, name, row) for row, cell in enumerate(table.column(name, "a label"), start=1)]
        for name in names
    }
    return tuple(tuple(name for name in names if flags[name][row]) for row in range(len(table)))


def _flag(cell: Any, name: str, row: int) -> bool:
    text = "" if cell is None else text_of(cell)
    if text not in ("0", "1"):
        raise ValueError(f"Row {row} has {text!r} in the label column {name!r}; several label columns hold 0 or 1.")
    return text == "1"


def resolve_classes(
    labels: Sequence[tuple[str, ...]],
    splits: dict[str, np.ndarray],
    allowed: Sequence[str] | None,
    task: Task = "single_label",
) -> tuple[str, ...]:
    """The classes in order: `allowed`, or the labels of the training rows, sorted (as numbers if all are).

    Retrieval has none. Raises `ValueError` for a label outside `allowed`, and for a class that validation or test has
    but train has not.
    """
    if task == "retrieval":
        return ()
    if allowed is not None:
        _check_allowed(labels, allowed)
    in_train = {name for row in splits["train"] for name in labels[row]}
    for split in ("val", "test"):
        unseen = sorted({name for row in splits[split] for name in labels[row]} - in_train)
        if unseen:
            raise ValueError(
                f"{len(unseen)} classes are in {split} but in no training row: {_list(unseen)}. "
                "Move rows of them to train, or remove them."
            )
    classes = _sorted(in_train) if allowed is None else tuple(allowed)
    if len(classes) < 2 and not (allowed is not None and len(allowed) == 1):
        raise ValueError(
            f"The training rows have {len(classes)} class ({_list(list(classes))}); at least 2 are needed."
        )
    return classes


def _check_allowed(labels: Sequence[tuple[str, ...]], allowed: Sequence[str]) -> None:
    outside = sorted({name for names in labels for name in names} - set(allowed))
    if outside:
        raise ValueError(f"{_list(outside)} are labels outside data.classes, which allows {_list(list(allowed))}.")


def _sorted(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _list(names: Sequence[str], limit: int = 20) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more


def make_targets(labels: Sequence[tuple[str, ...]], classes: Sequence[str], task: Task) -> np.ndarray:
    """Class indices (rows,) int64, or for a multi-label task zeros and ones (rows, classes) float32.

    Retrieval has no classes: -1 everywhere. A row of a label outside `classes` (it is in no split) gets -1, or leaves
    that label out.
    """
    if task == "retrieval":
        return np.full(len(labels), -1, dtype=np.int64)
    index = {name: position for position, name in enumerate(classes)}
    if task == "single_label":
        return np.array([index.get(names[0], -1) for names in labels], dtype=np.int64)
    targets = np.zeros((len(labels), len(classes)), dtype=np.float32)
    for row, names in enumerate(labels):
        targets[row, [index[name] for name in names if name in index]] = 1
    return targets
