"""A manifest file as columns of cells: CSV, TSV, JSON lines or Parquet, one file or one per split."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Columns of equal length; an empty cell is `None`. Paths of row i are relative to `folders[i]`.

    `origins[i]` is the key of the split's own file where there is one per split, else `None`.
    """

    columns: dict[str, list[Any]]
    folders: tuple[Path, ...]
    origins: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.folders)

    def part(self, rows: slice) -> "Table":
        """Some consecutive rows."""
        columns = {name: cells[rows] for name, cells in self.columns.items()}
        return Table(columns, self.folders[rows], self.origins[rows])

    def column(self, name: str, purpose: str) -> list[Any]:
        """The cells of a column; raises `ValueError` that lists the columns there are."""
        if name not in self.columns:
            raise ValueError(
                f"The manifest has no column {name!r}, which was asked for as {purpose}; "
                f"it has {', '.join(map(repr, self.columns))}."
            )
        return self.columns[name]


def read_table(path: Path) -> Table:
    """The rows of one manifest.

    The ending names the format: `.csv` (comma, or semicolon where the header has more of them), `.tsv`, `.jsonl` (one
    object per line; also `.ndjson`), `.parquet`. Text is UTF-8, with or without a byte order mark; lines end in LF or
    CRLF; cells of spaces only are empty. Raises `FileNotFoundError` for a missing file and `ValueError` for another
    format, broken rows, or no rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest {path}: name an existing file with --set data.manifest=FILE.")
    columns = _columns(path)
    num_rows = len(next(iter(columns.values()), []))
    if num_rows == 0:
        raise ValueError(f"The manifest {path} has no rows; it needs a header and one row per sample.")
    return Table(columns, (path.parent.absolute(),) * num_rows, (None,) * num_rows)


def read_split_tables(files: Mapping[str, Path]) -> Table:
    """The rows of several manifests, one per split; a column that one of them lacks is empty there."""
    tables = {split: read_table(path) for split, path in files.items()}
    names = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    columns = {
        name: [cell for table in tables.values() for cell in table.columns.get(name, [None] * len(table))]
        for name in names
    }
    folders = tuple(folder for table in tables.values() for folder in table.folders)
    return Table(columns, folders, tuple(split for split, table in tables.items() for _ in range(len(table))))


def _columns(path: Path) -> dict[str, list[Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise ValueError(f"The manifest {path} has the ending {suffix!r}; use one of {', '.join(FORMATS)}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The manifest {path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    if suffix in (".jsonl", ".ndjson"):
        return _transpose(list(_json_records(text, path)))
    return _read_separated(text, path, "\t" if suffix == ".tsv" else _delimiter(text))


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return ";" if header.count(";") > header.count(",") else ","


def _read_separated(text: str, path: Path, delimiter: str) -> dict[str, list[Any]]:
    try:
        # Line ends are kept, so that a quoted cell may hold line breaks.
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"The manifest {path} is not a table of quoted and separated cells: {error}.") from error
    header = [name.strip() for name in lines[0]] if lines else []
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"The manifest {path} has two columns named {', '.join(map(repr, twice))}; rename one.")
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(header):
            raise ValueError(
                f"Row {number} of the manifest {path} has {len(row)} cells but the header has {len(header)}; "
                "quote cells that hold the separator."
            )
    cells = zip(*lines[1:], strict=True) if len(lines) > 1 else [()] * len(header)
    return {
        name: [cell if cell.strip() else None for cell in column] for name, column in zip(header, cells, strict=True)
    }


def _json_records(text: str, path: Path) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"Line {number} of the manifest {path} is not JSON: {error}.") from error
        if not isinstance(record, dict):
            raise ValueError(f'Line {number} of the manifest {path} is not a JSON object like {{"id": "a"}}.')
        yield record


def _transpose(records: list[Record]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [_empty_as_none(record.get(name)) for record in records] for name in names}


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        columns = pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"The manifest {path} is not a Parquet file: {error}.") from error
    return {name: [_empty_as_none(cell) for cell in cells] for name, cells in columns.items()}


def _empty_as_none(cell: Any) -> Any:
    return None if isinstance(cell, str) and not cell.strip() else cell
