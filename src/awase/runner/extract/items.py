"""What features are extracted from: films and recordings in a folder or in a table, and this process's share."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from awase.data.media import Clip
from awase.data.table import Table, read_table

MEDIA_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".mpg", ".mpeg", ".wmv", ".ts", ".3gp"),
    *(".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus"),
)
FILM_COLUMNS = ("video", "video_path", "clip", "path")
_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Item:
    """One file, or a part of one, and where its features go.

    `path` is relative to the output folder, as in the published lists; its last component is the id. `source` is the
    file as the list names it, relative to `root`; None where the cell is empty.
    """

    path: str
    root: Path
    source: str | None
    clip: Clip = field(default_factory=Clip)

    @property
    def file(self) -> Path | None:
        """The file; with one of the usual endings where the list names none."""
        if self.source is None:
            return None
        file = self.root / self.source
        if file.suffix.lower() in MEDIA_SUFFIXES or file.is_file():
            return file
        found = (file.with_name(file.name + suffix) for suffix in MEDIA_SUFFIXES)
        return next((candidate for candidate in found if candidate.is_file()), file)

    @property
    def id(self) -> str:
        """The last component of the path."""
        return PurePosixPath(self.path).name

    def facts(self) -> dict[str, Any]:
        """What the record says about the item."""
        return {"source": self.source, "start_s": self.clip.start_s, "end_s": self.clip.end_s}


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what.

    None: the first of `FILM_COLUMNS` that it has; and `id`, `start` and `end` (seconds) if it has them.
    """

    film: str | None = None
    id: str | None = None
    start: str | None = None
    end: str | None = None


def find_items(source: Path, columns: Columns | None = None, root: Path | None = None) -> list[Item]:
    """The items of a folder (its films and recordings at any depth), a table, or a `.txt` list of paths.

    The path of features is the path of the file without its ending, or the id where the table has ids. Films of a
    table are relative to `root`, by default its folder. Raises `FileNotFoundError` for a source that is not there, and
    `ValueError` for a source without items and where several items, or none, would be one path.
    """
    if source.is_dir():
        items = _in_folder(source)
    elif source.suffix.lower() == ".txt":
        items = _in_list(source, root)
    else:
        items = _in_table(source, columns or Columns(), root)
    twice = [path for path, count in Counter(item.path for item in items).items() if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} paths of features are wanted by several rows or files, the first is {twice[0]!r}; give "
            "them other names, or the table a column of ids."
        )
    return items


def _in_folder(folder: Path) -> list[Item]:
    names = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.suffix.lower() in MEDIA_SUFFIXES and file.is_file()
    )
    if not names:
        raise ValueError(f"There are no films or recordings in {folder}; it is looked for {', '.join(MEDIA_SUFFIXES)}.")
    return [Item(_feature_path(name), folder, name) for name in names]


def _in_list(file: Path, root: Path | None) -> list[Item]:
    if not file.is_file():
        raise FileNotFoundError(f"There is no list {file}.")
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    lines = lines[1:] if lines[:1] == ["path"] else lines
    if not lines:
        raise ValueError(f"The list {file} is empty; it needs one path per line.")
    return [Item(_feature_path(line), root or file.parent, line) for line in lines]


def _in_table(file: Path, columns: Columns, root: Path | None) -> list[Item]:
    table = read_table(file)
    films = _films(table, columns)
    ids = _optional(table, columns.id, "id")
    starts, ends = _seconds(table, columns.start, "start"), _seconds(table, columns.end, "end")
    items = []
    for row, (film, start, end) in enumerate(zip(films, starts, ends, strict=True), start=1):
        source = None if film is None else str(film).strip()
        name = source if ids is None else ids[row - 1]
        if name is None:
            raise ValueError(f"Row {row} of {file} has neither an id nor a film, so its features have no name.")
        path = _feature_path(str(name)) if ids is None else _checked(str(name).strip())
        items.append(Item(path, root or table.folders[row - 1], source, Clip(start, end)))
    return items


def _films(table: Table, columns: Columns) -> list[Any]:
    if columns.film is not None:
        return table.column(columns.film, "the film")
    found = [name for name in FILM_COLUMNS if name in table.columns]
    if not found:
        raise ValueError(
            f"The table has none of the columns {', '.join(FILM_COLUMNS)}; it has {', '.join(table.columns)}. Name the "
            "column of films with --column."
        )
    return table.columns[found[0]]


def _optional(table: Table, name: str | None, default: str) -> list[Any] | None:
    """The cells of the column that is named, which must be there, or of the default one, which need not."""
    return table.columns.get(default) if name is None else table.column(name, f"the {default}")


def _seconds(table: Table, name: str | None, default: str) -> list[float | None]:
    cells = _optional(table, name, default)
    if cells is None:
        return [None] * len(table)
    return [None if cell is None else _number(cell, name or default, row) for row, cell in enumerate(cells, start=1)]


def _number(cell: Any, name: str, row: int) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise ValueError(f"Row {row} has {cell!r} in column {name!r}; it holds seconds from the beginning, 0 or more.")
    return value


def _feature_path(name: str) -> str:
    """The path without ending; `None/` in it, which the published lists have, goes."""
    path = PurePosixPath(name.replace("None/", ""))
    return _checked(str(path.with_suffix("") if path.suffix.lower() in MEDIA_SUFFIXES else path).lstrip("/"))


def _checked(path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise ValueError(f"{path!r} cannot be the path of features: it would lie outside of the output folder.")
    return path


@dataclass(frozen=True)
class Shard:
    """One of `count` equal shares, numbered from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Raises `ValueError` for a number that is not there."""
        if not 1 <= self.number <= self.count:
            raise ValueError(f"There is no share {self.number}/{self.count}; they go from 1/n to n/n.")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`2/5` is the second of five; raises `ValueError` for other text."""
        match = _SHARD.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a share; write the second of five as 2/5.")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: list[Item]) -> list[Item]:
        """The items whose path falls to this share, whatever else is in the list."""
        return [item for item in items if _place(item.path) % self.count == self.number - 1]


def _place(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")
