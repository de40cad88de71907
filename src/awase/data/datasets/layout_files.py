"""Reading the files of official layouts: text with any line ends, folders with any case of their names."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """The text of a UTF-8 file without its byte order mark; raises `ValueError` for other encodings."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without surrounding spaces, whether they end in LF or CRLF."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_cells(path: Path) -> list[list[str]]:
    """The rows of a comma-separated file; quoted cells may hold commas, quotes and line breaks. Empty rows are left
    out."""
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        return [row for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{path} is not a table of quoted and separated cells: {error}.") from error


def read_json(path: Path) -> Any:
    """The document in a JSON file; raises `ValueError` for anything else."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error


def one_line(text: str) -> str:
    """The text with every run of spaces and line breaks as one space."""
    return " ".join(text.split())


def entries(folder: Path) -> dict[str, Path]:
    """Lower-case name -> path of what lies in a folder, in the order of the names; of two names that differ in case
    only the first. Empty where there is no folder."""
    found: dict[str, Path] = {}
    for path in listing(folder):
        found.setdefault(path.name.lower(), path)
    return found


def listing(folder: Path, *, folders: bool | None = None) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files; only folders, or only files, where that is said."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        kept = [entry.name for entry in found if folders is None or entry.is_dir() == folders]
    return [folder / name for name in sorted(kept) if not name.startswith(".")]


def find(root: Path, places: Iterable[str]) -> Path | None:
    """The first of the places (relative, `a/b`) that is there, whatever the case of its names."""
    for place in places:
        path: Path | None = root
        for part in place.split("/"):
            path = None if path is None else root if part == "." else entries(path).get(part.lower())
        if path is not None and path.exists():
            return path
    return None


def need(root: Path, places: Sequence[str], what: str) -> Path:
    """The first of the places that is there; raises `FileNotFoundError` that names all of them."""
    found = find(root, places)
    if found is None:
        raise FileNotFoundError(f"{root} has no {what}: looked for {', '.join(places)}.")
    return found


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises `ValueError` that lists the choices for a value that is none of them."""
    if value not in choices:
        raise ValueError(f"{name} = {value!r} is refused; use one of {', '.join(choices)}.")


def some(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
