"""Extraction: every item of this process's share, as often interrupted as need be."""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from awase.data.frame_rates import frames_at
from awase.data.ordered import ordered_map
from awase.data.source import AbsentTrackError, MediaError
from awase.files import whole_file, write_text
from awase.runner.extract.film import FilmRows, FilmStream
from awase.runner.extract.items import Item, Shard
from awase.runner.extract.record import Outcome, check, forget, read_records, record_path, write_record
from awase.runner.extract.sound import SoundStream, clip_waveform
from awase.runner.extract.streams import Stream
from awase.runner.folder import locked

LIST_NAME = "paths.csv"
Progress = Callable[[int, int], None]
Outcomes = dict[str, Outcome]


def extract(
    items: list[Item],
    out: Path,
    streams: list[Stream],
    *,
    shard: Shard | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Counts of the features `computed` and there before (`skipped`), and what is `absent` and `broken`, with reasons.

    Features of an item are in `out/<path>/<id><suffix>`, there whole or not at all; a second call computes only what is
    not there. Each of the `workers` threads extracts one item at a time. Without shares, `paths.csv` lists the items
    that have features of any stream.

    Raises `RefusedError` where the folder has features of other settings or of other files, unless `overwrite`, which
    removes them first; and where another process works on the same share.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} is refused; it is a number of threads, 1 or more.")
    share = shard or Shard()
    mine = share.of(items)
    with locked(out / f".extract-{share.number}-of-{share.count}"):
        if overwrite:
            _remove(out, share, mine, streams)
        check(read_records(out), streams, mine)
        write_record(out, share, streams, mine, {})
        counts = {"computed": 0, "skipped": 0}
        outcomes: dict[str, Outcomes] = {stream.name: {} for stream in streams}
        results = ordered_map(lambda item: _extract(item, out, streams), mine, workers, workers + 1)
        for number, (item, (computed, found)) in enumerate(zip(mine, results, strict=True), start=1):
            counts["computed"] += computed
            counts["skipped"] += sum(outcome.shape is not None for outcome in found.values()) - computed
            for name, outcome in found.items():
                outcomes[name][item.path] = outcome
            if progress is not None:
                progress(number, len(mine))
        record = write_record(out, share, streams, mine, outcomes)
        if share.count == 1:
            _write_list(out / LIST_NAME, record)
    return {"items": len(mine), **counts, **_without(outcomes), "record": str(record_path(out, share))}


def feature_file(out: Path, item: Item, stream: Stream) -> Path:
    """Where the features of an item are."""
    return out / item.path / f"{item.id}{stream.suffix}"


def _without(outcomes: Mapping[str, Outcomes]) -> dict[str, list[dict[str, str]]]:
    every = [(name, path, outcome) for name, found in outcomes.items() for path, outcome in found.items()]
    return {
        "absent": [{"id": p, "stream": name, "reason": o.absent} for name, p, o in every if o.absent is not None],
        "broken": [{"id": p, "stream": name, "reason": o.broken} for name, p, o in every if o.broken is not None],
    }


def _extract(item: Item, out: Path, streams: list[Stream]) -> tuple[int, Outcomes]:
    """How many arrays were computed, and what became of every stream."""
    found: Outcomes = {}
    for stream in streams:
        shape = _shape(feature_file(out, item, stream), stream.key)
        if shape is not None:
            found[stream.name] = Outcome(shape)
    films = [s for s in streams if isinstance(s, FilmStream) and s.name not in found]
    sounds = [s for s in streams if isinstance(s, SoundStream) and s.name not in found]
    there = len(found)
    found |= _film_outcomes(item, out, films) if films else {}
    for stream in sounds:
        found[stream.name] = _sound_outcome(item, out, stream)
    computed = sum(outcome.shape is not None for outcome in found.values()) - there
    return computed, {stream.name: found[stream.name] for stream in streams}


def _film_outcomes(item: Item, out: Path, streams: list[FilmStream]) -> Outcomes:
    """All streams in one pass over the film."""
    if item.file is None:
        return {stream.name: Outcome(broken="empty cell") for stream in streams}
    rows = [FilmRows(stream) for stream in streams]
    try:
        for shown in frames_at(item.file, item.clip, [stream.rate_hz for stream in streams]):
            rows[shown.rate].add(shown.frame, shown.times)
    except AbsentTrackError as error:
        return {stream.name: Outcome(absent=error.reason) for stream in streams}
    except MediaError as error:
        return {stream.name: Outcome(broken=error.reason) for stream in streams}
    return {stream.name: _film_outcome(item, out, stream, of) for stream, of in zip(streams, rows, strict=True)}


def _film_outcome(item: Item, out: Path, stream: FilmStream, rows: FilmRows) -> Outcome:
    try:
        array = rows.finish()
    except MediaError as error:
        return Outcome(broken=error.reason)
    return _written(feature_file(out, item, stream), stream.key, array)


def _sound_outcome(item: Item, out: Path, stream: SoundStream) -> Outcome:
    if item.file is None:
        return Outcome(broken="empty cell")
    try:
        array = stream.array(clip_waveform(item.file, item.clip, stream.rate_hz))
    except AbsentTrackError as error:
        return Outcome(absent=error.reason)
    except MediaError as error:
        return Outcome(broken=error.reason)
    if not np.isfinite(array).all():
        return Outcome(broken=f"has features that are not finite in {array.dtype}")
    return _written(feature_file(out, item, stream), stream.key, array)


def _written(path: Path, key: str, array: np.ndarray) -> Outcome:
    _sweep(path)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{key: array})  # type: ignore[arg-type]
    return Outcome(array.shape)


def _sweep(path: Path) -> None:
    """Removes what a killed process left of the same file; the lock on the share says that nobody works on it."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            left.unlink()


def _shape(path: Path, key: str) -> tuple[int, ...] | None:
    """The shape of a finished array, of which no more than the head is read; None where there is none."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            np.lib.format.read_magic(member)
            return tuple(np.lib.format.read_array_header_1_0(member)[0])
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not a file of features with the key {key!r}; remove it, or --overwrite."
        ) from error


def _remove(out: Path, shard: Shard, items: list[Item], streams: list[Stream]) -> None:
    """Features before records: a removal that is interrupted leaves a record that still refuses other settings."""
    for item in items:
        for stream in streams:
            feature_file(out, item, stream).unlink(missing_ok=True)
    forget(out, shard, items, streams)


def _write_list(path: Path, record: Mapping[str, Any]) -> None:
    """The list that loaders of the published layout read: one column, `path`."""
    have = {name for stream in record["streams"].values() for name in stream["shapes"]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path"])
    writer.writerows([name] for name in sorted(have))
    write_text(path, text.getvalue())
