"""Decoded samples on disk, made once and memory-mapped, in a cache of bounded size."""

import errno
import json
import logging
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from awase.data.ordered import ordered_map
from awase.data.source import MediaError

logger = logging.getLogger(__name__)
FORMAT_VERSION = 1
_META, _SAMPLES, _OFFSETS = "meta.json", "samples.bin", "offsets.npy"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """What an entry holds: the decoded samples of one modality.

    `shape` is `None` for waveforms of any length. `read(i)` gives sample i, `None` where there is none, or raises
    `MediaError`; `absent` is the reason noted for `None`.
    """

    key: str
    modality: str
    num_rows: int
    shape: tuple[int, ...] | None
    read: Callable[[int], np.ndarray | None]
    absent: str = "not in the file"


@dataclass(frozen=True, eq=False)
class Entry:
    """Decoded samples of all rows: `present` says which there are, `reasons` why the others are not.

    While it is referred to, its files are not removed from the cache.
    """

    flat: np.ndarray
    offsets: np.ndarray
    shape: tuple[int, ...] | None
    reasons: dict[int, str]
    use: FileLock = field(repr=False)

    @property
    def present(self) -> np.ndarray:
        """(rows,) bool."""
        present = np.ones(len(self.offsets) - 1, dtype=bool)
        present[list(self.reasons)] = False
        return present

    @property
    def lengths(self) -> np.ndarray:
        """Numbers in each sample; 0 for absent ones."""
        return np.diff(self.offsets)

    def sample(self, row: int) -> np.ndarray:
        """One sample as it was decoded, flat and at its own length."""
        sample: np.ndarray = self.flat[self.offsets[row] : self.offsets[row + 1]]
        return sample

    def take(self, rows: np.ndarray, length: int | None = None) -> np.ndarray:
        """The samples of `rows`, zeros for absent ones; waveforms of any length are cut or filled with zeros."""
        shape = (length or 0,) if self.shape is None else self.shape
        taken = np.zeros((len(rows), *shape), dtype=self.flat.dtype)
        for target, row in zip(taken.reshape(len(rows), math.prod(shape)), rows.tolist(), strict=True):
            sample = self.flat[self.offsets[row] : self.offsets[row + 1]][: target.size]
            target[: len(sample)] = sample
        return taken


class Store:
    """The decoded samples of all data sets, in a folder that holds at most `limit_gib`.

    Entries used least recently are removed to make room, but none that a process uses. Several processes may share the
    folder: the first that asks for an entry makes it, the others wait. An entry is complete or not there.
    """

    def __init__(self, folder: Path, limit_gib: float) -> None:
        self.folder = folder
        self.limit = int(limit_gib * 2**30)

    def get(self, request: Request, threads: int = 0, progress: Progress | None = None) -> Entry:
        """The entry; made if it is not there.

        Raises `ValueError` where it does not fit beside the entries in use, `OSError` where the disk is full; nothing
        is left behind then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / request.key
        with FileLock(self.folder / f"{request.key}.lock"):
            if not (path / _META).is_file():
                self._fill(path, request, threads, progress)
            use = _begin_use(path)
        os.utime(path)
        return _open(path, use)

    def _fill(self, path: Path, request: Request, threads: int, progress: Progress | None) -> None:
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            self._write(part, request, threads, progress)
            part.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno,
                    f"The disk of the cache {self.folder} is full while {request.modality!r} is decoded; free space, "
                    "or name another folder with --cache",
                ) from error
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _write(self, part: Path, request: Request, threads: int, progress: Progress | None) -> None:
        logger.info("decoding %s of %d rows", request.modality, request.num_rows)
        room = _Room(self, part, request.modality)
        reasons: dict[int, str] = {}
        offsets, meta = np.zeros(request.num_rows + 1, dtype=np.int64), {"dtype": "<f4"}
        samples = ordered_map(lambda row: _try(request, row), range(request.num_rows), threads, 4 * max(1, threads))
        with (part / _SAMPLES).open("wb") as file:
            for row, (sample, reason) in enumerate(samples):
                if sample is None:
                    reasons[row] = reason
                else:
                    _check(sample, request, meta, first=bool(offsets[row] == 0))
                    room.take(sample.nbytes, expected=sample.nbytes * request.num_rows if offsets[row] == 0 else 0)
                    file.write(np.ascontiguousarray(sample).data)
                offsets[row + 1] = offsets[row] + (0 if sample is None else sample.size)
                if progress is not None:
                    progress(request.modality, row + 1, request.num_rows)
        np.save(part / _OFFSETS, offsets)
        shape = None if request.shape is None else list(request.shape)
        document = {"version": FORMAT_VERSION, "shape": shape, "reasons": reasons, **meta}
        (part / _META).write_text(json.dumps(document), encoding="utf-8")

    def make_room(self, needed: int, part: Path, modality: str) -> None:
        """Removes entries until `needed` bytes fit; raises `ValueError` where they cannot."""
        entries = sorted((path for path in self._entries() if path != part), key=lambda path: path.stat().st_mtime)
        sizes = {path: _size(path) for path in entries}
        for path in entries:
            if sum(sizes.values()) + needed <= self.limit:
                return
            if self._remove(path):
                del sizes[path]
        if sum(sizes.values()) + needed > self.limit:
            used, gib = sum(sizes.values()), 2**30
            raise ValueError(
                f"The decoded {modality!r} needs {needed / gib:.3g} GiB; of the cache {self.folder} "
                f"{used / gib:.3g} GiB are in use, and it may hold {self.limit / gib:.3g} GiB. "
                "Raise the limit with --cache-gib, or make the samples "
                "smaller (frames, height, width, window)."
            )

    def _entries(self) -> Iterator[Path]:
        return (path for path in self.folder.iterdir() if path.is_dir())

    def _remove(self, path: Path) -> bool:
        try:
            # What is being made holds the lock too; a part without it was left by a process that was killed.
            with FileLock(self.folder / f"{path.stem}.lock", timeout=0):
                if _in_use(path):
                    return False
                logger.info("removing %s from the cache", path.name)
                shutil.rmtree(path, ignore_errors=True)
                return True
        except Timeout:
            return False


class _Room:
    """Keeps count of the bytes of an entry in the making, and asks for room before it grows into it."""

    def __init__(self, store: Store, part: Path, modality: str) -> None:
        self.store, self.part, self.modality = store, part, modality
        self.used, self.granted = 0, 0

    def take(self, num_bytes: int, expected: int = 0) -> None:
        self.used += num_bytes
        wanted = max(self.used, expected)
        if wanted > self.granted:
            # Samples of unequal length may outgrow the expectation: ask for a little more each time.
            granted = wanted if expected else wanted + min(wanted // 8, 2**26)
            self.store.make_room(granted if granted <= self.store.limit else wanted, self.part, self.modality)
            self.granted = granted


def _try(request: Request, row: int) -> tuple[np.ndarray | None, str]:
    try:
        return request.read(row), request.absent
    except MediaError as error:
        return None, error.reason


def _check(sample: np.ndarray, request: Request, meta: dict[str, Any], first: bool) -> None:
    """A source that breaks its word is an error of ours, not of the user's files."""
    if first:
        meta["dtype"] = sample.dtype.newbyteorder("<").str
    shape_fits = sample.ndim == 1 if request.shape is None else sample.shape == request.shape
    if not shape_fits or sample.dtype != np.dtype(meta["dtype"]):
        raise ValueError(
            f"A sample of {request.modality!r} is {sample.dtype} {list(sample.shape)} where {meta['dtype']} "
            f"{request.shape} is expected."
        )


def _open(path: Path, use: FileLock) -> Entry:
    meta = json.loads((path / _META).read_text(encoding="utf-8"))
    offsets = np.load(path / _OFFSETS)
    dtype = np.dtype(meta["dtype"])
    empty = offsets[-1] == 0
    flat = np.zeros(0, dtype) if empty else np.asarray(np.memmap(path / _SAMPLES, dtype=dtype, mode="r"))
    shape = None if meta["shape"] is None else tuple(meta["shape"])
    return Entry(flat, offsets, shape, {int(row): reason for row, reason in meta["reasons"].items()}, use)


def _begin_use(path: Path) -> FileLock:
    """A lock that is held while the entry is used; those of processes that ended are swept away."""
    _in_use(path)
    use = FileLock(path / f"use-{uuid.uuid4().hex}.lock", thread_local=False)
    use.acquire()
    return use


def _in_use(path: Path) -> bool:
    used = False
    for file in path.glob("use-*.lock"):
        try:
            with FileLock(file, timeout=0):
                file.unlink(missing_ok=True)
        except Timeout:
            used = True
    return used


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
