"""From a source to columns: each modality of all rows, decoded once."""

import hashlib
import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from awase.config import ArrayInput, AudioInput, FlowInput, ImageInput, Input, Noise, TextInput, VideoInput
from awase.data.columns import MediaColumn, TextColumn
from awase.data.source import MediaError, Source
from awase.data.store import FORMAT_VERSION, Entry, Progress, Request, Store
from awase.types import Tokenizer

ABSENT = {"audio": "no audio track", "video": "no video track", "text": "no text"}
_STEP_HZ = 100


@dataclass(frozen=True)
class Decoder:
    """Makes columns. `prints` are the rows' fingerprints, `train` the rows that windows and babble are taken from."""

    source: Source
    prints: tuple[str, ...]
    train: np.ndarray
    store: Store
    threads: int
    progress: Progress | None

    def media(self, modality: str) -> tuple[MediaColumn, dict[int, str]]:
        """The column of anything but text, and why rows are absent."""
        setting = self.source.inputs[modality]
        request = Request(
            key=store_key(modality, setting, self.prints),
            modality=modality,
            num_rows=len(self.prints),
            shape=sample_shape(setting),
            read=lambda row: _read_array(self.source, row, modality),
            absent=ABSENT.get(setting.kind, "not in the row"),
        )
        entry = self.store.get(request, self.threads, self.progress)
        recordings = self._recordings(modality, setting) if _has_babble(setting) else None
        samples = _num_samples(setting, entry, self.train)
        column = MediaColumn(modality, setting, entry, self.train, samples, recordings)
        _check_babble(modality, setting, column)
        return column, entry.reasons

    def _recordings(self, modality: str, setting: Input) -> Entry:
        """The whole recordings of the training rows, of which babble is made."""
        training = set(self.train.tolist())
        key = store_key(f"{modality} recordings {sorted(training)}", setting, self.prints)
        request = Request(
            key=key,
            modality=f"{modality} (whole recordings)",
            num_rows=len(self.prints),
            shape=None,
            read=lambda row: self.source.recording(row, modality) if row in training else None,
            absent="not a training row",
        )
        return self.store.get(request, self.threads, self.progress)

    def text(self, modality: str, setting: TextInput, tokenizer: Tokenizer | None) -> tuple[TextColumn, dict[int, str]]:
        """The column of texts, and why rows are absent. Texts stay in memory."""
        reasons: dict[int, str] = {}
        read = [_read_texts(self.source, row, modality, reasons) for row in range(len(self.prints))]
        return TextColumn(modality, setting, read, tokenizer), reasons


def fingerprints(source: Source, threads: int) -> tuple[str, ...]:
    """Of all rows."""
    with ThreadPoolExecutor(max(1, threads)) as executor:
        return tuple(executor.map(source.fingerprint, range(len(source.rows))))


def store_key(modality: str, setting: Input, prints: Sequence[str]) -> str:
    """The name of the decoded samples: of the rows' content and of what `Source.read` depends on, nothing else."""
    read = setting.model_dump(mode="json", exclude={"augment", "corrupt", "representation"})
    document = json.dumps([FORMAT_VERSION, modality, read, list(prints)], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:32]


def sample_shape(setting: Input) -> tuple[int, ...] | None:
    """The shape that `Source.read` gives; `None` for waveforms of any length. Raises `ValueError` for text."""
    match setting:
        case VideoInput(num_frames=frames, height=height, width=width, channels=channels):
            return (frames, height, width, channels)
        case ImageInput(height=height, width=width, channels=channels):
            return (height, width, channels)
        case FlowInput(num_frames=frames, height=height, width=width):
            return (frames, height, width, 2)
        case AudioInput(window_s=window_s, sample_rate_hz=rate):
            return None if window_s is None else (round(window_s * rate),)
        case ArrayInput(shape=shape):
            return shape
    raise ValueError(f"An input of kind {setting.kind!r} has no array.")


def _num_samples(setting: Input, entry: Entry, train: np.ndarray) -> int | None:
    """The window of waveforms: without `window_s` the longest training clip, rounded up to 10 ms."""
    if not isinstance(setting, AudioInput):
        return None
    if entry.shape is not None:
        return entry.shape[0]
    longest = int(entry.lengths[train].max(initial=0))
    steps = math.ceil(longest * _STEP_HZ / setting.sample_rate_hz)
    return round(steps * setting.sample_rate_hz / _STEP_HZ)


def _has_babble(setting: Input) -> bool:
    return any(isinstance(t, Noise) and t.source == "babble" for t in (*setting.augment, *setting.corrupt))


def _check_babble(modality: str, setting: Input, column: MediaColumn) -> None:
    if _has_babble(setting) and len(column.voices) < 2:
        raise ValueError(f"Babble on {modality!r} is made of other training clips, of which there are none.")


def _read_array(source: Source, row: int, modality: str) -> np.ndarray | None:
    sample = source.read(row, modality)
    if isinstance(sample, str | tuple):
        raise TypeError(f"The source gave text for {modality!r}, which is not a text input.")
    return sample


def _read_texts(source: Source, row: int, modality: str, reasons: dict[int, str]) -> tuple[str, ...]:
    try:
        sample = source.read(row, modality)
    except MediaError as error:
        reasons[row] = error.reason
        return ()
    if sample is None:
        reasons[row] = ABSENT["text"]
        return ()
    return sample if isinstance(sample, tuple) else (str(sample),)
