"""The table that a flow computation was asked for, with a column of the flow."""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awase.data.table import read_table
from awase.files import write_text

COLUMN = "flow"


def read_flow_columns(manifest: Path) -> dict[str, list[Any]]:
    """The columns of a table; raises `ValueError` where one is named `flow` already."""
    columns = read_table(manifest).columns
    if COLUMN in columns:
        raise ValueError(f"{manifest} already has a column {COLUMN!r}; rename it, or use the table as it is.")
    return columns


def write_flow_manifest(manifest: Path, columns: Mapping[str, list[Any]], flow: list[Path | None]) -> Path:
    """Writes `<manifest>_flow` beside the manifest, so that its relative paths stay right, and returns its path.

    The column `flow` holds paths relative to it; `None` is an empty cell. It is CSV where the manifest is CSV or TSV,
    else JSON lines.
    """
    folder = manifest.parent.absolute()
    cells = [None if path is None else os.path.relpath(path.absolute(), folder) for path in flow]
    rows = zip(*columns.values(), cells, strict=True)
    separated = manifest.suffix.lower() in (".csv", ".tsv")
    path = manifest.with_name(f"{manifest.stem}_flow{'.csv' if separated else '.jsonl'}")
    names = [*columns, COLUMN]
    lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=str) + "\n" for row in rows)
    write_text(path, _separated(names, rows) if separated else "".join(lines))
    return path


def _separated(names: list[str], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()
