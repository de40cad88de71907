"""Captions of whole videos, from the forms in which they are published, put in order and checked."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from awase.data.features.pickles import read_pickle

COLUMNS = ("start", "end", "text")
_LARGEST_S = 2**31 / 1000


@dataclass(frozen=True, eq=False)
class Captions:
    """Of one video, ordered by start: whole milliseconds (int32), which seconds of three decimals are exactly.

    `overlapping` end after the next begins, which spoken captions often do. `moved` were not in order; `dropped` had
    no usable times.
    """

    start_ms: np.ndarray
    end_ms: np.ndarray
    texts: tuple[str, ...]
    overlapping: int = 0
    moved: int = 0
    dropped: int = 0


@runtime_checkable
class CaptionSource(Protocol):
    """Captions by the id of a video; `None` for one that has none. Raises `ValueError` for broken ones."""

    def __call__(self, video: str) -> Captions | None: ...


def checked_captions(columns: Mapping[str, Any]) -> Captions:
    """The captions of one video from columns `start` and `end` (seconds) and `text`, of equal length.

    Those whose times are not finite, negative, or end before they begin are dropped and counted; the others are put in
    the order of start, then end. A text that is missing is empty. Raises `ValueError` for missing columns and for
    columns of different lengths.
    """
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ValueError(f"the captions have no {' and no '.join(missing)}")
    sizes = {name: len(columns[name]) for name in COLUMNS}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the captions' columns differ in length: {sizes}")
    try:
        start, end = (np.asarray(list(columns[name]), dtype=np.float64) for name in ("start", "end"))
    except (TypeError, ValueError) as error:
        raise ValueError("the captions have times that are not numbers") from error
    usable = np.flatnonzero((start >= 0) & (end >= start) & (end < _LARGEST_S))  # false for NaN
    start_ms, end_ms = (np.rint(1000 * times[usable]).astype(np.int32) for times in (start, end))
    order = np.lexsort((end_ms, start_ms))
    start_ms, end_ms = start_ms[order], end_ms[order]
    texts = list(columns["text"])
    return Captions(
        start_ms,
        end_ms,
        tuple(_text(texts[row]) for row in usable[order].tolist()),
        overlapping=int((end_ms[:-1] > start_ms[1:]).sum()),
        moved=int((order != np.arange(len(order))).sum()),
        dropped=len(start) - len(usable),
    )


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else str(value)


def caption_source(path: Path, allow_pickle: bool = False) -> CaptionSource:
    """Captions from a json or pickle of all videos, or from a folder of `{video}.csv` with `start,end,text`.

    A json or pickle is `{video: {"start": [...], "end": [...], "text": [...]}}`, seconds; in a pickle a video may also
    have a pandas table. Raises `FileNotFoundError` and `ValueError`.
    """
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"There are no captions {path}; name a .json, a .pickle or a folder of csv files.")
    if path.suffix.lower() in (".pickle", ".pkl"):
        content = read_pickle(path, allow_pickle)
    else:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise ValueError(f"The captions {path} are not JSON ({error}).") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"The captions {path} hold a {type(content).__name__}; a dictionary by video id is needed.")
    return _Loaded(content)


@dataclass(frozen=True)
class _Loaded:
    content: Mapping[str, Any]

    def __call__(self, video: str) -> Captions | None:
        columns = self.content.get(video)
        if columns is None:
            return None
        if not isinstance(columns, Mapping):
            raise ValueError(f"the captions are a {type(columns).__name__}, not columns")
        return checked_captions(columns)


@dataclass(frozen=True)
class _Folder:
    folder: Path

    def __call__(self, video: str) -> Captions | None:
        path = self.folder / f"{video}.csv"
        if not path.is_file():
            return None
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows: Sequence[dict[str, str]] = list(csv.DictReader(file))
        except UnicodeDecodeError as error:
            raise ValueError("the captions are not UTF-8 text") from error
        if not rows:
            return None
        return checked_captions({name: [row[name] for row in rows] for name in COLUMNS if name in rows[0]})
