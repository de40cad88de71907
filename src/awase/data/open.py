"""Opening a data set: from its configuration to decoded columns, splits and targets."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from awase.config import AudioInput, DataConfig, TextInput
from awase.data.columns import Column, MediaColumn
from awase.data.dataset import Dataset
from awase.data.decoding import Decoder, fingerprints
from awase.data.features import ClipDataset, open_howto100m
from awase.data.labels import make_targets, resolve_classes, task_of
from awase.data.manifest import ManifestSource
from awase.data.source import Source
from awase.data.splits import Splits, resolve_splits
from awase.data.store import Progress, Store
from awase.data.stream import Stream, resolve_stream
from awase.data.summary import count_classes, listed, shared_between_splits, spread
from awase.data.usable import Reasons, check_inputs, drop_rows
from awase.types import Tokenizer


def _digits(config: DataConfig) -> Source:
    """Handwritten digits, tones or recordings, and number words, paired by class; generated."""
    from awase.data.datasets.digits import DigitsSource

    return DigitsSource(config)


def _scenes(config: DataConfig) -> Source:
    """Procedural clips of a moving shape, an instrument and a caption, from known factors; generated."""
    from awase.data.datasets.scenes import ScenesSource

    return ScenesSource(config)


def _howto100m(config: DataConfig) -> Source:
    """Clips of the videos of a store of features, by their captions, and evaluation sets of ready clips."""
    raise ValueError("A store of features has no rows of files; open it with open_dataset (dataset='howto100m').")


SOURCES: dict[str, Callable[[DataConfig], Source]] = {
    "manifest": ManifestSource,
    "digits": _digits,
    "scenes": _scenes,
    "howto100m": _howto100m,
}


def open_source(config: DataConfig) -> Source:
    """The rows and inputs of the data set that the configuration names; nothing is decoded yet."""
    return SOURCES[config.dataset](config)


def open_dataset(
    config: DataConfig,
    *,
    cache: Path,
    cache_gib: float,
    tokenizers: Mapping[str, Tokenizer],
    threads: int | None = None,
    progress: Progress | None = None,
) -> Dataset | ClipDataset:
    """The data set, every sample decoded (now, or in the cache from an earlier time).

    `tokenizers` has one per text modality (it is used when text is first read). `threads` decode (default: one per
    core, at most 8); `progress(modality, rows done, rows)` is called meanwhile. Rows without any modality are always
    excluded; what becomes of rows that lack some is `config.missing`. Raises `ValueError` and `FileNotFoundError` for
    data that cannot be used, in a sentence that says what would work.
    """
    if config.dataset == "howto100m":
        return open_howto100m(config, cache=cache, tokenizers=tokenizers)
    source = open_source(config)
    check_inputs(source.inputs)
    splits = resolve_splits(source.rows, config)
    resolve_classes(source.rows.labels, splits.rows, config.classes, task_of(config))
    resolve_stream(source.rows, splits.rows, config)
    workers = min(8, os.cpu_count() or 1) if threads is None else threads
    prints = fingerprints(source, workers)
    store = Store(cache / "data", cache_gib)
    decoder = Decoder(source, prints, splits.rows["train"], store, workers, progress)
    columns: dict[str, Column] = {}
    reasons: Reasons = {}
    for modality, setting in source.inputs.items():
        if isinstance(setting, TextInput):
            columns[modality], reasons[modality] = decoder.text(modality, setting, tokenizers.get(modality))
        else:
            columns[modality], reasons[modality] = decoder.media(modality)
    kept, excluded = drop_rows(source.rows, splits.rows, reasons, config.missing)
    stream = resolve_stream(source.rows, kept, config)
    opened = _Opened(config, source, prints, replace(splits, rows=kept), reasons, excluded, stream)
    return opened.dataset(columns)


@dataclass(frozen=True)
class _Opened:
    """All that is known once everything was decoded."""

    config: DataConfig
    source: Source
    prints: tuple[str, ...]
    splits: Splits
    reasons: Reasons
    excluded: dict[int, str]
    stream: Stream | None

    def dataset(self, columns: dict[str, Column]) -> Dataset:
        rows, task = self.source.rows, task_of(self.config)
        classes = resolve_classes(rows.labels, self.splits.rows, self.config.classes, task)
        return Dataset(
            rows=rows,
            task=task,
            classes=classes,
            inputs=dict(self.source.inputs),
            splits=self.splits.rows,
            targets=make_targets(rows.labels, classes, task),
            fingerprint=self._fingerprint(classes),
            summary=self._summary(classes, columns),
            columns=columns,
            contents={split: self._content(member.tolist()) for split, member in self.splits.rows.items()},
            stream=self.stream,
        )

    def _content(self, rows: list[int]) -> str:
        document = [[self.source.rows.ids[row], self.prints[row]] for row in rows]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    def _fingerprint(self, classes: tuple[str, ...]) -> str:
        """Order of rows, names and contents; the splits as they came out."""
        rows = self.source.rows
        members = {split: member.tolist() for split, member in self.splits.rows.items()}
        document: list[Any] = [rows.ids, rows.labels, rows.groups, members, classes, self.prints]
        if self.stream is not None:
            document.append([self.stream.names, self.stream.of_row.tolist()])
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    def _summary(self, classes: tuple[str, ...], columns: dict[str, Column]) -> dict[str, Any]:
        rows, members = self.source.rows, self.splits.rows
        unassigned = dict.fromkeys(self.splits.unassigned, "no split")
        used = {row for member in members.values() for row in member.tolist()} | self.excluded.keys()
        return {
            "dataset": self.config.dataset,
            "rows": len(rows),
            "task": task_of(self.config),
            "splits": {split: count_classes(rows, member, classes) for split, member in members.items()},
            "validation": self.splits.validation,
            **self._stream_summary(),
            "fold": self.config.fold,
            "policy": self.config.missing,
            "excluded": listed(rows, unassigned | self.excluded),
            "missing": {
                name: listed(rows, {row: reason for row, reason in absent.items() if row in used})
                for name, absent in self.reasons.items()
            },
            "shared_between_splits": shared_between_splits(rows, members, self.prints),
            "audio_s": {
                name: _seconds(column, column.setting)
                for name, column in columns.items()
                if isinstance(column, MediaColumn) and isinstance(column.setting, AudioInput)
            },
        }

    def _stream_summary(self) -> dict[str, Any]:
        """Rows of every data set of the stream, per split."""
        stream = self.stream
        if stream is None:
            return {}
        counts = {
            name: {split: len(stream.rows(member, (name,))) for split, member in self.splits.rows.items()}
            for name in stream.names
        }
        return {"stream": counts}


def _seconds(column: MediaColumn, setting: AudioInput) -> dict[str, Any]:
    """Lengths of the waveforms and of the window they are cut or filled to."""
    lengths = column.entry.lengths[column.present] / setting.sample_rate_hz
    return {"window": (column.num_samples or 0) / setting.sample_rate_hz, "clips": spread(lengths.tolist())}
