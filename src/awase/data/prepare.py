"""From an official layout on disk to a manifest and a description of it, that every experiment can use."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awase.data.datasets.layout import Layout, LayoutRow
from awase.data.datasets.official_splits import shared_groups
from awase.data.layouts import LAYOUTS, read_layout
from awase.data.prepared import DESCRIPTION, FORMAT_VERSION, LABEL_SEPARATOR, MANIFEST, NO_FOLD
from awase.data.splits import SPLITS
from awase.data.summary import LISTED
from awase.files import write_text

__all__ = ["LAYOUTS", "prepare"]

_RESERVED = {"id", "label", "group", "fold", "start", "end", "split"}


def prepare(
    name: str,
    root: Path,
    out: Path | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    drop_missing: bool = False,
) -> dict[str, Any]:
    """Writes `manifest.csv` and `dataset.json` of a data set that lies in `root`; returns what the latter says.

    `out` is the folder to write to, without it `prepared/<name>`; `options` are those of the layout's reader. The
    columns of the manifest: `id`, one per file and per text, `label` (several joined by `|`), `group`, `fold` and
    `start`, `end` where the data set has them, `split` (the default splitting) and `split_<name>` for each splitting.
    Paths below `out` are relative to it, others absolute. Rows whose files are missing stay, as the library counts and
    masks them; with `drop_missing` those that have files, none of which is there, are left out and counted. Both files
    are replaced whole.

    Raises `KeyError` for an unknown name or option, `FileNotFoundError` where `root` is not the data set or no file of
    any row is there, `FileExistsError` where `out` has a manifest that is not of this function, and `ValueError` where
    an option or a label cannot be.
    """
    folder = Path("prepared") / name if out is None else out
    given = dict(options or {})
    layout = read_layout(name, root, given)
    _check(layout, root, folder)
    absent = {column: set(ids) for column, ids in layout.absent.items()}
    kept = [row for row in layout.rows if not (drop_missing and _has_nothing(row, absent))]
    description = _description(layout, kept) | {
        "root": str(root.absolute()),
        "options": {option: str(value) for option, value in given.items()},
        "dropped": [row.id for row in layout.rows if drop_missing and _has_nothing(row, absent)],
    }
    write_text(folder / MANIFEST, _manifest(layout, kept, folder.absolute()))
    write_text(folder / DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return description


def _has_nothing(row: LayoutRow, absent: Mapping[str, set[str]]) -> bool:
    """Whether the row has files and none of them is there."""
    return bool(row.files) and all(row.id in absent.get(column, ()) for column in row.files)


def _check(layout: Layout, root: Path, folder: Path) -> None:
    columns = _input_columns(layout)
    wrong = sorted(column for column in columns if column in _RESERVED or column.startswith("split_"))
    assert not wrong, f"the layout {layout.name} has reserved columns {wrong}"
    piped = sorted({label for row in layout.rows for label in row.labels if LABEL_SEPARATOR in label})
    if piped:
        raise ValueError(f"The label {piped[0]!r} of {layout.name} holds {LABEL_SEPARATOR!r}, which joins labels.")
    absent = {column: set(ids) for column, ids in layout.absent.items()}
    with_files = [row for row in layout.rows if row.files]
    if with_files and all(_has_nothing(row, absent) for row in with_files):
        first = next(iter(with_files[0].files.values()))
        raise FileNotFoundError(
            f"None of the media files of the {len(with_files)} rows of {layout.name} is below {root}; the first one "
            f"looked for is {first}."
        )
    if (folder / MANIFEST).exists() and not (folder / DESCRIPTION).exists():
        raise FileExistsError(
            f"{folder / MANIFEST} is there already and was not written by `awase data prepare`; name another folder."
        )


def _input_columns(layout: Layout) -> list[str]:
    """The columns of files, then those of texts, each once."""
    files = [column for row in layout.rows for column in row.files]
    texts = [column for row in layout.rows for column in row.texts]
    return list(dict.fromkeys([*files, *texts]))


def _splittings(layout: Layout) -> list[str]:
    return list(dict.fromkeys(name for row in layout.rows for name in row.splits))


@dataclass(frozen=True)
class _Form:
    """Which columns the manifest has beyond those of every data set."""

    groups: bool
    folds: bool
    times: bool

    @classmethod
    def of(cls, rows: Iterable[LayoutRow]) -> "_Form":
        rows = list(rows)
        return cls(
            any(row.group is not None for row in rows),
            any(row.fold is not None for row in rows),
            any(row.start_s is not None or row.end_s is not None for row in rows),
        )


def _manifest(layout: Layout, rows: list[LayoutRow], folder: Path) -> str:
    form, inputs, splittings = _Form.of(layout.rows), _input_columns(layout), _splittings(layout)
    header = ["id", *inputs, "label", *(["group"] * form.groups), *(["fold"] * form.folds)]
    header += [*(["start", "end"] if form.times else []), "split", *(f"split_{name}" for name in splittings)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        cells = [row.id, *(_cell(row, column, folder) for column in inputs), LABEL_SEPARATOR.join(row.labels)]
        cells += [row.id if row.group is None else row.group] * form.groups
        cells += [NO_FOLD if row.fold is None else str(row.fold)] * form.folds
        cells += [_seconds(row.start_s), _seconds(row.end_s)] * form.times
        cells += [row.splits.get(name) or "" for name in (layout.default_splitting, *splittings)]
        writer.writerow(cells)
    return buffer.getvalue()


def _cell(row: LayoutRow, column: str, folder: Path) -> str:
    if column not in row.files:
        return row.texts.get(column, "")
    path = Path(os.path.abspath(row.files[column]))  # noqa: PTH100 - without following links, `..` taken out
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(value)


def _description(layout: Layout, rows: list[LayoutRow]) -> dict[str, Any]:
    form = _Form.of(layout.rows)
    kept = {row.id for row in rows}
    counts = {name: _counts(row.splits.get(name) for row in rows) for name in _splittings(layout)}
    return {
        "format_version": FORMAT_VERSION,
        "name": layout.name,
        "manifest": MANIFEST,
        "rows": len(rows),
        "classes": list(layout.classes),
        "class_order": layout.class_order,
        "multi_label": layout.multi_label,
        "inputs": {modality: entry.model_dump(mode="json") for modality, entry in layout.inputs.items()},
        "columns": {"group": form.groups, "fold": form.folds, "times": form.times},
        "default_splitting": layout.default_splitting,
        "splittings": {
            name: {
                "counts": found,
                "published": dict(layout.published_counts[name]) if name in layout.published_counts else None,
                "leaks": _leaks(rows, name) if form.groups else None,
            }
            for name, found in counts.items()
        },
        "folds": dict(sorted(Counter(str(row.fold) for row in rows if row.fold is not None).items())),
        "absent": {column: [name for name in ids if name in kept] for column, ids in layout.absent.items()},
        "notes": list(layout.notes),
        "facts": dict(layout.facts),
    }


def _counts(splits: Iterable[str | None]) -> dict[str, int]:
    """Rows per split, and in none."""
    found = Counter(splits)
    return {split: found[split] for split in SPLITS} | {"none": found[None]}


def _leaks(rows: list[LayoutRow], splitting: str) -> dict[str, Any]:
    """Groups in more than one split: how many, and the first of them with those splits."""
    groups = [row.id if row.group is None else row.group for row in rows]
    shared = shared_groups([row.splits.get(splitting) for row in rows], groups)
    return {"count": len(shared), "groups": {name: list(where) for name, where in list(shared.items())[:LISTED]}}
