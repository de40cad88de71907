"""The data set in a user's own manifest."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from awase.config import DataConfig, Input
from awase.data.decode import Cell, decode, is_file_cell
from awase.data.infer import infer_inputs
from awase.data.labels import read_labels, text_of
from awase.data.media import Clip
from awase.data.picture_folders import component_folders
from awase.data.source import Rows, Sample
from awase.data.splits import split_name
from awase.data.table import Table, read_split_tables, read_table

_PIECE = 1 << 16


class ManifestSource:
    """Rows of a manifest whose cells are paths (relative to the manifest's folder, or absolute), texts or numbers.

    `table` is the manifest where it has been read already, or some of its rows. Raises `FileNotFoundError` and
    `ValueError` for manifests that cannot be used; files are looked at when read.
    """

    def __init__(self, config: DataConfig, table: Table | None = None) -> None:
        self._table = _open_table(config) if table is None else table
        self.inputs: dict[str, Input] = dict(config.inputs) or infer_inputs(self._table, config)
        for modality, setting in self.inputs.items():
            self._table.column(setting.column, f"the input {modality!r}")
        self._clips = read_clips(self._table, config)
        self.rows = _read_rows(self._table, config)

    def fingerprint(self, index: int) -> str:
        """Of the cells, the files behind them (size and parts of the content), and the start and end times."""
        cells = []
        for column in sorted({setting.column for setting in self.inputs.values()}):
            setting = next(setting for setting in self.inputs.values() if setting.column == column)
            cell = self._cell(index, column)
            is_file = cell.value is not None and is_file_cell(setting, cell.value)
            cells.append([column, fingerprint_path(cell.path) if is_file else str(cell.value)])
        clip = self._clips[index]
        return _digest([cells, clip.start_s, clip.end_s])

    def read(self, index: int, modality: str) -> Sample | None:
        """The decoded sample of a row; raises `MediaError` where the cell is empty or its file cannot be used."""
        setting = self.inputs[modality]
        return decode(setting, self._cell(index, setting.column))

    def recording(self, index: int, modality: str) -> np.ndarray | None:
        """The whole audio of a row's file, whatever part of it the row means."""
        setting = self.inputs[modality].model_copy(update={"window_s": None})
        cell = self._cell(index, setting.column)
        whole = decode(setting, Cell(cell.value, cell.folder, Clip(None, None)))
        assert not isinstance(whole, str), "a recording is audio"
        return whole

    def path(self, index: int, modality: str) -> Path | None:
        """The file of a row, where its cell names one."""
        setting = self.inputs[modality]
        cell = self._cell(index, setting.column)
        return cell.path if cell.value is not None and is_file_cell(setting, cell.value) else None

    def clip(self, index: int) -> Clip:
        """The part of its files that a row means."""
        return self._clips[index]

    def _cell(self, index: int, column: str) -> Cell:
        return Cell(self._table.columns[column][index], self._table.folders[index], self._clips[index])


def fingerprint_path(path: Path) -> str:
    """Of a file's size and of its first, middle and last 64 KiB; of a folder's files; `missing` where there is none.

    Of a path like `{u,v}/x`: of both folders.
    """
    if path.is_dir():
        return _digest([[child.name, fingerprint_path(child)] for child in sorted(path.iterdir())])
    if not path.is_file():
        pair = component_folders(path)
        return "missing" if pair is None else _digest([fingerprint_path(side) for side in pair])
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - _PIECE // 2), max(0, size - _PIECE)}):
            file.seek(start)
            digest.update(file.read(_PIECE))
    return digest.hexdigest()


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def _open_table(config: DataConfig) -> Table:
    if config.split_files:
        return read_split_tables({split_name(name): path for name, path in config.split_files.items()})
    if config.manifest is None:
        raise ValueError(
            "This data set is a manifest and none is named: say --set data.manifest=FILE "
            "(CSV, TSV, JSON lines or Parquet)."
        )
    return read_table(config.manifest)


def _read_rows(table: Table, config: DataConfig) -> Rows:
    groups = None if config.group_column is None else _texts(table, config.group_column, "the group")
    folds = None if config.fold_column is None else _texts(table, config.fold_column, "the fold")
    stream = config.stream.column
    data_sets = None if stream is None else _texts(table, stream, "the data set of a stream (data.stream.column)")
    return Rows(
        read_ids(table, config), read_labels(table, config), _read_splits(table, config), groups, folds, data_sets
    )


def _texts(table: Table, name: str, purpose: str) -> tuple[str, ...]:
    cells = table.column(name, purpose)
    empty = [row for row, cell in enumerate(cells, start=1) if cell is None]
    if empty:
        raise ValueError(
            f"{len(empty)} rows have no value in column {name!r} ({purpose}), the first is row {empty[0]}."
        )
    return tuple(text_of(cell) for cell in cells)


def read_ids(table: Table, config: DataConfig) -> tuple[str, ...]:
    """The ids of all rows, `row-000001` and so on where there is no such column; raises `ValueError` for one twice."""
    default = DataConfig.model_fields["id_column"].default
    if config.id_column is None or (config.id_column == default and default not in table.columns):
        return tuple(f"row-{row:06d}" for row in range(1, len(table) + 1))
    ids = _texts(table, config.id_column, "the id")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = list(dict.fromkeys(name for name in ids if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
        raise ValueError(
            f"{len(twice)} ids occur more than once in column {config.id_column!r}: "
            f"{', '.join(map(repr, twice[:10]))}. Ids must be unique, over all splits too."
        )
    return ids


def _read_splits(table: Table, config: DataConfig) -> tuple[str | None, ...]:
    if config.split_files:
        return table.origins
    if config.fold is not None:
        return (None,) * len(table)
    if config.split_column is None:
        return ("train",) * len(table)
    cells = table.column(config.split_column, "the split (data.split_column; or use data.fold_column with data.fold)")
    return tuple(None if cell is None else split_name(text_of(cell)) for cell in cells)


def read_clips(table: Table, config: DataConfig) -> tuple[Clip, ...]:
    """The part of its files that each row means; raises `ValueError` for a time that is no number of seconds."""
    starts = _seconds(table, config.start_column, "the start in seconds")
    ends = _seconds(table, config.end_column, "the end in seconds")
    return tuple(Clip(start, end) for start, end in zip(starts, ends, strict=True))


def _seconds(table: Table, name: str | None, purpose: str) -> list[float | None]:
    if name is None:
        return [None] * len(table)
    return [
        None if cell is None else _number(cell, name, row) for row, cell in enumerate(table.column(name, purpose), 1)
    ]


def _number(cell: Any, name: str, row: int) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise ValueError(f"Row {row} has {cell!r} in column {name!r}; it holds seconds from the beginning, 0 or more.")
    return value
