"""From clips, given by their video and times, to the tensors of a batch."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from awase.data.features.evaluation_store import EvaluationStore
from awase.data.features.sampling import audio_frame
from awase.data.features.shard_writer import AUDIO_BINS
from awase.data.features.store import FeatureStore, Shard

Made = tuple[Tensor, np.ndarray]
"""A tensor with a row per clip, and which clips have it (bool); the rows of the others are zero."""


@dataclass(frozen=True)
class AudioWindow:
    """Spectrograms are cut, or filled up at the end, to `frames`: with the recording's lowest value, or with 0 dB."""

    frames: int
    padding: str

    def empty(self, clips: int) -> np.ndarray:
        """(clips, frames, 40) float16 to be filled; its memory is a tensor's."""
        return torch.empty((clips, self.frames, AUDIO_BINS), dtype=torch.float16).numpy()

    def fill(self, row: np.ndarray, found: np.ndarray, floor: float) -> int:
        """Writes the (any, 40) frames found into a row; returns how many are real (then none: zeros)."""
        real = min(len(found), self.frames)
        row[:real] = found[:real]
        row[real:] = 0.0 if real == 0 or self.padding == "reference" else floor
        return real


def audio_inputs(rows: np.ndarray, real: np.ndarray) -> dict[str, Tensor]:
    """`values` (clips, 40, frames) float16, frames of a bin apart in memory, and `num_frames` (clips,)."""
    return {"values": torch.from_numpy(rows).transpose(1, 2), "num_frames": torch.from_numpy(real)}


def normalised(pooled: np.ndarray, present: np.ndarray) -> Tensor:
    """(clips, dim) float32 of length 1; absent rows are zero."""
    tensor = F.normalize(torch.from_numpy(pooled).float(), dim=1)
    return tensor if present.all() else tensor.masked_fill_(torch.from_numpy(~present)[:, None], 0.0)


@dataclass(frozen=True, eq=False)
class Spans:
    """Clips [start, end] in milliseconds of videos of one shard; the clips of one video follow one another."""

    video: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray

    def by_video(self) -> list[tuple[int, slice]]:
        """Each run of clips of one video."""
        edges = np.flatnonzero(np.diff(self.video)) + 1
        bounds = [0, *edges.tolist(), len(self.video)]
        return [(int(self.video[low]), slice(low, high)) for low, high in pairwise(bounds)]


def video_of_shard(shard: Shard, spans: Spans, streams: tuple[str, ...]) -> Made:
    """(clips, dims) float32: the maximum of each stream over the clip, of length 1, side by side.

    A clip that has no row in one of the streams has no video.
    """
    pooled, present = [], np.ones(len(spans.video), dtype=bool)
    for name in streams:
        values, found = _stream_of_shard(shard, spans, name)
        pooled.append(values)
        present &= found
    return torch.cat([normalised(values, present) for values in pooled], dim=1), present


def _stream_of_shard(shard: Shard, spans: Spans, name: str) -> tuple[np.ndarray, np.ndarray]:
    stream = shard.streams[name]
    out = np.empty((len(spans.video), stream.dim), dtype=np.float16)
    present = np.zeros(len(spans.video), dtype=bool)
    for video, clips in spans.by_video():
        starts, stops = stream.rows_of(video, spans.start_ms[clips], spans.end_ms[clips])
        found = stops > starts
        present[clips] = found
        if found.all():
            out[clips] = stream.maxima(video, starts, stops)
        else:
            out[clips] = 0
            if found.any():
                out[clips][found] = stream.maxima(video, starts[found], stops[found])
    return out, present


def audio_bounds(shard: Shard, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each clip and the one after its last, in the file of the shard; none beyond the end of a video."""
    starts, stops = audio_frame(spans.start_ms.astype(np.int64)), audio_frame(spans.end_ms.astype(np.int64))
    low, high = shard.audio_offsets[spans.video], shard.audio_offsets[spans.video + 1]
    begins = np.minimum(low + starts, high)
    return begins, np.maximum(begins, np.minimum(low + stops, high))


def audio_of_shard(shard: Shard, spans: Spans, window: AudioWindow, out: np.ndarray) -> np.ndarray:
    """Fills `out` (clips, frames, 40) with the clips' spectrograms; returns how many frames of each are real."""
    real = np.zeros(len(spans.video), dtype=np.int64)
    begins, ends = audio_bounds(shard, spans)
    floors = shard.audio_floor[spans.video].tolist()
    bounds = zip(out, begins.tolist(), ends.tolist(), floors, strict=True)
    for clip, (row, begin, end, floor) in enumerate(bounds):
        real[clip] = window.fill(row, shard.audio[begin:end], floor)
    return real


def video_of_evaluation(
    store: EvaluationStore, rows: np.ndarray, streams: tuple[str, ...], dims: dict[str, int]
) -> Made:
    """As `video_of_shard`, of the ready clips `rows`."""
    present = np.ones(len(rows), dtype=bool)
    pooled = []
    for name in streams:
        if name not in store.streams:
            pooled.append(np.zeros((len(rows), dims[name]), dtype=np.float32))
            present[:] = False
            continue
        values, found = store.streams[name]
        pooled.append(values[rows])
        present &= found[rows]
    return torch.cat([normalised(values, present) for values in pooled], dim=1), present


def audio_of_evaluation(store: EvaluationStore, rows: np.ndarray, window: AudioWindow) -> tuple[np.ndarray, np.ndarray]:
    """(clips, frames, 40) float16 of the ready clips `rows`, and how many frames are real."""
    out, real = window.empty(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for place, row in enumerate(rows.tolist()):
        found = store.audio[store.audio_offsets[row] : store.audio_offsets[row + 1]]
        real[place] = window.fill(out[place], found, float(store.audio_floor[row]))
    return out, real


def split_by_shard(store: FeatureStore, videos: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(shard, places among `videos`, numbers of these within the shard) for every shard that has some."""
    shards = np.searchsorted(store.first_video, videos, side="right") - 1
    found = []
    for number in np.unique(shards).tolist():
        places = np.flatnonzero(shards == number)
        found.append((number, places, videos[places] - store.first_video[number]))
    return found
