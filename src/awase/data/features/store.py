"""Reading a store: its shards, memory-mapped, so that opening costs nothing per caption and nothing per process."""

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from awase.data.features.range_maximum import range_maxima
from awase.data.features.shard_writer import AUDIO_BINS, FORMAT_VERSION, SHARD, file_types


@dataclass(frozen=True, eq=False)
class Stream:
    """Feature rows of the videos of a shard: `dim` numbers each, `rate` rows per second."""

    dim: int
    rate: Fraction
    signed: bool
    flat: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    def rows_of(self, video: int, start_ms: np.ndarray, end_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First row and the one after the last of clips [start, end]: int(start rate) to int(end rate), inclusive.

        Beyond the end of the video there are none: stop <= start.
        """
        numerator, denominator = self.rate.numerator, self.rate.denominator * 1000
        starts = start_ms.astype(np.int64) * numerator // denominator
        stops = end_ms.astype(np.int64) * numerator // denominator + 1
        return starts, np.minimum(stops, int(self.lengths[video]))

    def maxima(self, video: int, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """(ranges, dim) float16, each the maximum over its rows, which must be there."""
        stored = self.flat[self.offsets[video] : self.offsets[video + 1]]
        return range_maxima(stored, int(self.lengths[video]), starts, stops, self.signed)


class Shard:
    """The videos of one folder of a store; every array is a view of a memory-mapped file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description = _described(folder)
        streams = self.description["streams"]
        self._types = file_types(tuple(streams))
        self.num_videos = int(self.description["videos"])
        self.streams = {
            name: Stream(
                int(facts["dim"]),
                Fraction(facts["rate"]),
                bool(facts["signed"]),
                self._map(name, max(1, int(facts["dim"]))),
                self._map(f"{name}.offsets"),
                self._map(f"{name}.lengths"),
            )
            for name, facts in streams.items()
        }
        self.audio = self._map("audio", AUDIO_BINS)
        self.audio_offsets = self._map("audio.offsets")
        self.audio_floor = self._map("audio.floor")
        self.caption_offsets = self._map("captions.offsets")
        self.start_ms = self._map("captions.start_ms")
        self.end_ms = self._map("captions.end_ms")
        self._check()

    @property
    def num_captions(self) -> int:
        return len(self.start_ms)

    def ids(self) -> list[str]:
        """Of all videos."""
        raw, offsets = self._map("ids").tobytes(), self._map("ids.offsets").tolist()
        return [raw[low:high].decode() for low, high in pairwise(offsets)]

    def texts(self, low: int, high: int) -> list[str]:
        """Of the captions [low, high)."""
        offsets = self._map("text.offsets")[low : high + 1].tolist()
        raw = self._map("text")[offsets[0] : offsets[-1]].tobytes()
        first = offsets[0]
        bounds = pairwise(offsets)
        return [raw[start - first : stop - first].decode() for start, stop in bounds]

    @cached_property
    def digest(self) -> str:
        """Of ids and contents."""
        content = {name: facts for name, facts in self.description.items() if name in ("version", "videos", "streams")}
        hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for name in ("ids", "ids.offsets", "crc"):
            hashed.update(self._map(name).tobytes())
        return hashed.hexdigest()

    def _map(self, name: str, width: int | None = None) -> np.ndarray:
        kind = np.dtype(self._types[name])
        path = self.folder / f"{name}.bin"
        if not path.is_file():
            raise ValueError(f"The shard {self.folder} has no {path.name}; copy it again, whole, or make it anew.")
        empty = path.stat().st_size < kind.itemsize
        flat = np.zeros(0, kind) if empty else np.asarray(np.memmap(path, dtype=kind, mode="r"))
        return flat if width is None else flat[: len(flat) // width * width].reshape(-1, width)

    def _check(self) -> None:
        """Raises `ValueError` for files whose lengths disagree, as after a copy that was cut short."""
        expected = {"captions.offsets": (len(self.caption_offsets), self.num_videos + 1)}
        expected["ids.offsets"] = (len(self._map("ids.offsets")), self.num_videos + 1)
        expected["audio"] = (len(self.audio), int(self.audio_offsets[-1]))
        expected["captions.start_ms"] = (len(self.start_ms), int(self.caption_offsets[-1]))
        expected["captions.end_ms"] = (len(self.end_ms), int(self.caption_offsets[-1]))
        text_offsets = self._map("text.offsets")
        expected["text.offsets"] = (len(text_offsets), len(self.start_ms) + 1)
        expected["text"] = (len(self._map("text")), int(text_offsets[-1]))
        for name, stream in self.streams.items():
            expected[name] = (len(stream.flat), int(stream.offsets[-1]))
            expected[f"{name}.lengths"] = (len(stream.lengths), self.num_videos)
        for name, (found, needed) in expected.items():
            if found != needed:
                raise ValueError(
                    f"{self.folder / name}.bin has {found} entries where {needed} belong; copy the shard again, whole, "
                    "or make it anew."
                )


class FeatureStore:
    """A folder of finished shards, one after the other in the order of their names; videos are numbered through.

    Raises `FileNotFoundError` where there is no shard; `ValueError` for a shard that is being made, missing of its
    series (`shard-0001-of-0004`), of another version or broken, for streams that differ, and for a video in two.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = tuple(Shard(path.parent) for path in sorted(folder.glob(f"*/{SHARD}")) if _finished(path.parent))
        if not self.shards:
            raise FileNotFoundError(f"{folder} is no store of features; make one with `awase convert howto100m`.")
        _check_complete(folder)
        self.first_video = np.cumsum([0, *(shard.num_videos for shard in self.shards)])
        self.first_caption = np.cumsum([0, *(shard.num_captions for shard in self.shards)])
        self._check_streams()
        self._check_ids()

    @property
    def num_videos(self) -> int:
        return int(self.first_video[-1])

    @property
    def num_captions(self) -> int:
        return int(self.first_caption[-1])

    @property
    def dims(self) -> dict[str, int]:
        """Of each stream."""
        return {name: max(shard.streams[name].dim for shard in self.shards) for name in self.shards[0].streams}

    @property
    def fingerprint(self) -> str:
        """Of ids and contents, not of paths."""
        return hashlib.sha256("".join(shard.digest for shard in self.shards).encode()).hexdigest()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of all videos."""
        return tuple(name for shard in self.shards for name in shard.ids())

    @property
    def report(self) -> dict[str, Any]:
        """What each shard was made from and what was left out: folder name -> its report."""
        return {shard.folder.name: shard.description["report"] for shard in self.shards}

    def _check_streams(self) -> None:
        for shard in self.shards[1:]:
            for name, stream in shard.streams.items():
                first = self.shards[0].streams.get(name)
                other = first is None or first.rate != stream.rate
                if other or (first is not None and 0 not in (first.dim, stream.dim) and first.dim != stream.dim):
                    raise ValueError(
                        f"{name} differs in width or rate between {self.shards[0].folder} and {shard.folder}."
                    )
            if shard.streams.keys() != self.shards[0].streams.keys():
                raise ValueError(f"The streams of {self.shards[0].folder} and {shard.folder} differ.")

    def _check_ids(self) -> None:
        seen = set[str]()
        for name in self.ids:
            if name in seen:
                raise ValueError(f"The video {name} is in the store {self.folder} twice; remove one of its shards.")
            seen.add(name)


def _finished(folder: Path) -> bool:
    return folder.suffix != ".part"


def _described(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / SHARD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / SHARD} is not JSON ({error}); make the shard anew.") from error
    if document.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"The shard {folder} is of version {document.get('version')}; this version of awase reads "
            f"{FORMAT_VERSION}. Make it anew with `awase convert howto100m`."
        )
    return document


def _check_complete(folder: Path) -> None:
    """Of every series `NAME-i-of-n` all n are there."""
    series: dict[tuple[str, str], set[str]] = {}
    for path in folder.iterdir():
        parts = path.name.split("-")
        if path.is_dir() and _finished(path) and len(parts) >= 4 and parts[-2] == "of":
            series.setdefault(("-".join(parts[:-3]), parts[-1]), set()).add(parts[-3])
    for (name, count), found in series.items():
        if len(found) != int(count):
            raise ValueError(
                f"The store {folder} has {len(found)} of the {int(count)} shards {name}; run the others "
                f"(awase convert howto100m --shard i/{int(count)}) before it is used."
            )
