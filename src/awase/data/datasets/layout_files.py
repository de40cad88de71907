"""Finding the files of official layouts, in folders with any case of their names, and reading their documents."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The document in a JSON file, with or without a byte order mark; raises `ValueError` for anything else."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON in UTF-8: {error}.") from error


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
