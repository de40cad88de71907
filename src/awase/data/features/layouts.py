"""Where the features of HowTo100M lie: lists of videos, and the files of one video in the published layouts."""

import csv
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from awase.data.source import MediaError

_PATHS = ("path", "video_path", "video_id")
_ENDINGS = (".npy", ".npz", ".mp4", ".mkv", ".webm")


@dataclass(frozen=True)
class Listed:
    """One video of a list: its folder or name below the roots, its id, and its task where the list has one."""

    path: str
    id: str
    task: str | None = None


def read_video_list(path: Path) -> list[Listed]:
    """The videos of a csv or txt with a header and a column `path`, `video_path` or, alone, `video_id`.

    `None/` inside a path and the ending of a file are removed; the id is `video_id` where there is one, else the last
    part of the path. The task is `task` or `task_id`. Raises `ValueError` for another header, a row without a path and
    a video that is listed twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        place = next((name for name in _PATHS if name in columns), None)
        if place is None:
            raise ValueError(
                f"The list {path} has the columns {', '.join(columns) or 'none'}; one of {', '.join(_PATHS)} is needed."
            )
        task = next((name for name in ("task", "task_id") if name in columns), None)
        listed = list(_listed(path, reader, place, task))
    seen = set[str]()
    doubled = [video.id for video in listed if video.id in seen or seen.add(video.id)]  # type: ignore[func-returns-value]
    if doubled:
        raise ValueError(f"The list {path} names {len(doubled)} videos twice, first {doubled[0]}; list each once.")
    return listed


def _listed(path: Path, rows: Iterator[dict[str, str]], place: str, task: str | None) -> Iterator[Listed]:
    for number, row in enumerate(rows, start=2):
        where = (row[place] or "").strip().replace("None/", "")
        if not where or PurePosixPath(where).is_absolute() or ".." in PurePosixPath(where).parts:
            raise ValueError(f"Line {number} of {path} has the {place} {where!r}; a relative path is needed.")
        for ending in _ENDINGS:
            where = where.removesuffix(ending)
        name = (row.get("video_id") or "").strip() or PurePosixPath(where).name
        yield Listed(where, name, None if task is None else row[task])


def feature_files(root: Path, video: Listed, dimension: str) -> Iterator[Path]:
    """Where the features of a video may lie, `dimension` being `2d` or `3d`; the npz layouts come first."""
    yield root / video.path / f"{video.id}_{dimension}.npz"
    yield root / f"{video.path}_{dimension}.npz"
    yield root / f"{video.id}_{dimension}.npz"
    yield root / f"feature_{dimension}" / f"{video.path}.npy"
    yield root / f"{video.path}_{dimension}.npy"
    yield root / f"{video.id}_{dimension}.npy"


def audio_files(root: Path, video: Listed) -> Iterator[Path]:
    """Where the spectrogram of a video may lie."""
    for name in (f"{video.id}_spec.npz", f"{video.id}.npz"):
        yield root / video.path / name
        yield root / name
    yield root / f"{video.path}_spec.npz"
    yield root / f"{video.path}.npz"


def read_numbers(candidates: Iterator[Path], key: str) -> np.ndarray | None:
    """The array in the first file that is there, `None` where none is.

    Raises `MediaError` for a file that is cut short or broken, has no such key, or holds values that are not finite
    numbers as half floats.
    """
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    try:
        with path.open("rb") as file:  # which numpy would leave open where the archive is broken
            array = _array(np.load(file, allow_pickle=False), path.name, key)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise MediaError(f"{path.name} is cut short or broken") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise MediaError(f"{path.name} holds {array.dtype} of shape {list(array.shape)}; a table of numbers is needed")
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(array, dtype=np.float16)
    if not np.isfinite(half).all():
        raise MediaError(f"{path.name} holds values that are not finite")
    return half


def _array(loaded: Any, name: str, key: str) -> np.ndarray:
    """The array of an npy, or that of `key` in an npz."""
    if isinstance(loaded, np.ndarray):
        return loaded
    if key not in loaded.files:
        raise MediaError(f"{name} has no array {key!r}, only {', '.join(loaded.files) or 'none'}")
    found: np.ndarray = loaded[key]
    return found
