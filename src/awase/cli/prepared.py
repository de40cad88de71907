"""What `awase data prepare` says about the data set it has prepared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SHOWN = 5


def prepared_lines(description: dict[str, Any], folder: Path) -> Iterator[str]:
    """Counts against those published, leaks, missing files and notes, a line each."""
    classes = f"{len(description['classes'])} classes, in the order: {description['class_order']}"
    yield f"{description['name']}: {description['rows']} rows, {classes}"
    yield f"written: {folder / description['manifest']}"
    for name, splitting in description["splittings"].items():
        default = " (the column split)" if name == description["default_splitting"] else ""
        yield f"splitting {name}{default}: {_counts(splitting)}{_leaks(splitting['leaks'])}"
    if description["folds"]:
        yield "folds: " + ", ".join(f"{fold} has {count} rows" for fold, count in description["folds"].items())
    for column, ids in description["absent"].items():
        yield f"missing {column}: {len(ids)} of {description['rows']}{_first(ids)}"
    if description["dropped"]:
        yield f"left out, without any file: {len(description['dropped'])}{_first(description['dropped'])}"
    for note in description["notes"]:
        yield f"note: {note}"


def _counts(splitting: dict[str, Any]) -> str:
    """Rows per split; those published beside them, and whether the numbers are the same."""
    published = splitting["published"] or {}
    parts = []
    for split, count in splitting["counts"].items():
        if split in published:
            parts.append(f"{split} {count} of {published[split]} published")
        elif count or split != "none":
            parts.append(f"{split} {count}" if split != "none" else f"in no split {count}")
    return ", ".join(parts)


def _leaks(leaks: dict[str, Any] | None) -> str:
    return "" if leaks is None else f"; groups in more than one split: {leaks['count']}"


def _first(ids: list[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - _SHOWN} more, all in dataset.json" if len(ids) > _SHOWN else ""
    return f" ({', '.join(ids[:_SHOWN])}{more})"
