"""`worst.json`: the queries that a joint space ranks worst, and what it found instead. Written when a run is scored."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awase.files import write_text

WORST_NAME = "worst.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Found:
    """An item with its score; `text` where the data has a text of it."""

    id: str
    score: float
    text: str | None = None


@dataclass(frozen=True)
class WorstQuery:
    """A query whose item has `rank` (from 0) and the score `own_score`, and the items that score highest instead."""

    id: str
    rank: int
    own_score: float
    found: tuple[Found, ...]
    text: str | None = None


@dataclass(frozen=True)
class WorstQueries:
    """The worst queries of one direction of one split after one stage, the worst first.

    `gallery` counts the items, `lost` the queries whose own item is missing, which have no rank and are not listed.
    """

    stage: str
    split: str
    direction: str
    gallery: int
    lost: int
    queries: tuple[WorstQuery, ...]


def write_worst(folder: Path, parts: list[WorstQueries]) -> Path:
    """Writes `worst.json` into a run's folder; returns its path."""
    path = folder / WORST_NAME
    document = {"format_version": FORMAT_VERSION, "directions": [asdict(part) for part in parts]}
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def read_worst(folder: Path) -> list[WorstQueries]:
    """What `write_worst` wrote; none where there is no file or one of another format version."""
    file = folder / WORST_NAME
    if not file.is_file():
        return []
    document = json.loads(file.read_text(encoding="utf-8"))
    if document.get("format_version") != FORMAT_VERSION:
        return []
    return [WorstQueries(**{**part, "queries": _queries(part["queries"])}) for part in document["directions"]]


def _queries(entries: list[dict[str, Any]]) -> tuple[WorstQuery, ...]:
    return tuple(WorstQuery(**{**one, "found": tuple(Found(**item) for item in one["found"])}) for one in entries)
