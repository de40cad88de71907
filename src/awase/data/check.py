"""What `awase data check` says about a data set before anyone trains on it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from awase.config import DataConfig
from awase.data.decoding import ABSENT, fingerprints
from awase.data.labels import resolve_classes, task_of
from awase.data.manifest import ManifestSource
from awase.data.media import known_length_s, open_media
from awase.data.open import open_source
from awase.data.source import MediaError, Rows, Source
from awase.data.splits import resolve_splits
from awase.data.store import Progress
from awase.data.summary import count_classes, listed, shared_between_splits, spread
from awase.data.usable import check_inputs

Result = TypeVar("Result")


def check_manifest(config: DataConfig, threads: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """A JSON document on the data set; every sample is decoded once and nothing is stored.

    `problems` are sentences on what would stop a run (empty: it would start); `splits` counts rows per split and class
    with `imbalance` (largest class / smallest); `unreadable` per modality the rows with no usable sample, by reason;
    `shared_between_splits` groups and equal contents; `durations_s` minimum, median and maximum of the media files.
    Raises `ValueError` and `FileNotFoundError` where the table itself cannot be read.
    """
    source = open_source(config)
    workers = min(8, os.cpu_count() or 1) if threads is None else max(1, threads)
    problems: list[str] = []
    _note(problems, lambda: check_inputs(source.inputs))
    splits = _note(problems, lambda: resolve_splits(source.rows, config))
    members = {} if splits is None else splits.rows
    if members:
        _note(problems, lambda: resolve_classes(source.rows.labels, members, config.classes, task_of(config)))
    absent = {name: _unreadable(source, name, workers, progress) for name in source.inputs}
    return {
        "dataset": config.dataset,
        "rows": len(source.rows),
        "task": task_of(config),
        "inputs": {name: setting.model_dump(mode="json") for name, setting in source.inputs.items()},
        "problems": problems,
        "splits": {split: _counts(source.rows, member) for split, member in members.items()},
        "validation": None if splits is None else splits.validation,
        "without_split": 0 if splits is None else len(splits.unassigned),
        "unreadable": {name: listed(source.rows, reasons) for name, reasons in absent.items()},
        "shared_between_splits": shared_between_splits(source.rows, members, fingerprints(source, workers)),
        "durations_s": {name: _durations(source, name, workers) for name in source.inputs},
    }


def _note(problems: list[str], action: Callable[[], Result]) -> Result | None:
    try:
        return action()
    except (ValueError, KeyError) as error:
        problems.append(str(error))
        return None


def _counts(rows: Rows, member: np.ndarray) -> dict[str, Any]:
    classes = sorted({name for row in member.tolist() for name in rows.labels[row]})
    counted = count_classes(rows, member, classes)
    numbers = counted["classes"].values()
    return counted | {"imbalance": max(numbers) / min(numbers) if numbers else None}


def _unreadable(source: Source, modality: str, threads: int, progress: Progress | None) -> dict[int, str]:
    reasons: dict[int, str] = {}
    with ThreadPoolExecutor(threads) as executor:
        found = executor.map(lambda row: _reason(source, row, modality), range(len(source.rows)))
        for row, reason in enumerate(found):
            if reason is not None:
                reasons[row] = reason
            if progress is not None:
                progress(modality, row + 1, len(source.rows))
    return reasons


def _reason(source: Source, row: int, modality: str) -> str | None:
    """Why a sample cannot be used; the sample itself is let go at once."""
    try:
        sample = source.read(row, modality)
    except MediaError as error:
        return error.reason
    return ABSENT.get(source.inputs[modality].kind, "not in the row") if sample is None else None


def _durations(source: Source, modality: str, threads: int) -> dict[str, float] | None:
    """Lengths of the files of a modality of video or audio, those that can be opened."""
    kind = source.inputs[modality].kind
    if not isinstance(source, ManifestSource) or kind not in ("video", "audio"):
        return None
    paths = {path for path in (source.path(row, modality) for row in range(len(source.rows))) if path is not None}
    with ThreadPoolExecutor(threads) as executor:
        lengths = list(executor.map(lambda path: _duration(path, kind), sorted(paths)))
    return spread([length for length in lengths if length is not None])


def _duration(path: Path, kind: str) -> float | None:
    try:
        with open_media(path) as container:
            streams = [stream for stream in container.streams if stream.type == kind]
            return known_length_s(path, container, streams[0]) if streams else None
    except MediaError:
        return None
