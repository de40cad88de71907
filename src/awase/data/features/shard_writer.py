"""Writing one shard of a store: video by video, flushed now and then, so that a killed writer goes on from there."""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from awase.data.features.captions import Captions
from awase.data.features.range_maximum import num_stored, with_maxima
from awase.files import write_text

FORMAT_VERSION = 1
SHARD, _PROGRESS = "shard.json", "progress.json"
AUDIO_BINS = 40
COMMON = {"ids": "<u1", "ids.offsets": "<i8", "crc": "<u4"}
OF_STREAM = {"": "<f2", ".offsets": "<i8", ".lengths": "<i4"}
OF_AUDIO = {"audio": "<f2", "audio.offsets": "<i8", "audio.floor": "<f2"}
OF_CAPTIONS = {
    "captions.offsets": "<i8",
    "captions.start_ms": "<i4",
    "captions.end_ms": "<i4",
    "text": "<u1",
    "text.offsets": "<i8",
}


def file_types(streams: Sequence[str]) -> dict[str, str]:
    """Name of every `.bin` file of a shard -> the type of its numbers, little-endian."""
    of_streams = {stream + part: kind for stream in streams for part, kind in OF_STREAM.items()}
    return COMMON | of_streams | OF_AUDIO | OF_CAPTIONS


@dataclass(frozen=True, eq=False)
class VideoContent:
    """What a store keeps of one video: per stream float16 (rows, dim), audio float16 (40, frames) in dB, captions.

    A stream or the audio that is not there is absent from the dictionary, or `None`.
    """

    id: str
    streams: Mapping[str, np.ndarray]
    audio: np.ndarray | None
    captions: Captions


@dataclass
class _Progress:
    done: int = 0
    videos: int = 0
    dims: dict[str, int] = field(default_factory=dict)
    signed: dict[str, bool] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)


class ShardWriter:
    """A shard in the making, in the folder `NAME.part` beside `folder`; `finish` gives it its name.

    `settings` say what it is made from: another writer with the same settings continues after the last `commit`
    (`done` videos of its list were handled, kept or not); with other settings it is refused. One writer at a time.
    Raises `FileExistsError` where the shard is finished, `ValueError` as said.
    """

    def __init__(self, folder: Path, rates: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        if folder.exists():
            raise FileExistsError(f"The shard {folder} is already finished; remove it to make it anew.")
        self.folder, self.part = folder, folder.with_name(f"{folder.name}.part")
        self.rates = dict(rates)
        self.settings = json.loads(json.dumps(dict(settings)))
        self.types = file_types(tuple(rates))
        self.part.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(f"Another process is writing {folder}; give this one another share (--shard).") from error
        self.state = self._resumed()
        self._files = self._opened()

    @property
    def done(self) -> int:
        """Videos of the list that were handled."""
        return self.state.done

    @property
    def report(self) -> dict[str, Any]:
        """Counts and reasons so far; what a writer puts here is kept with the shard."""
        return self.state.report

    def add(self, video: VideoContent) -> None:
        """Appends a video and counts it as handled; raises `ValueError` for a stream of another width than before."""
        self._check(video)
        crc = zlib.crc32(video.id.encode())
        for stream in self.rates:
            crc = zlib.crc32(self._add_stream(stream, video.streams.get(stream)), crc)
        crc = zlib.crc32(self._add_audio(video.audio), crc)
        crc = zlib.crc32(self._add_captions(video.captions), crc)
        self._append("ids", video.id.encode())
        self._append("ids.offsets", np.int64(self._files["ids"].tell()).tobytes())
        self._append("crc", np.uint32(crc).tobytes())
        self.state.videos += 1
        self.state.done += 1

    def skip(self) -> None:
        """Counts a video as handled that is not kept."""
        self.state.done += 1

    def commit(self) -> None:
        """Puts what was added on the disk; a later writer continues here."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.state.sizes = {name: file.tell() for name, file in self._files.items()}
        document = {"version": FORMAT_VERSION, "rates": self.rates, "settings": self.settings, **vars(self.state)}
        write_text(self.part / _PROGRESS, json.dumps(document))

    def finish(self) -> Path:
        """The finished shard; from now on it is read-only."""
        self.commit()
        self.close(release=False)
        state = self.state
        streams = {
            name: {"dim": state.dims.get(name, 0), "rate": rate, "signed": state.signed.get(name, False)}
            for name, rate in self.rates.items()
        }
        document = {
            "version": FORMAT_VERSION,
            "videos": state.videos,
            "streams": streams,
            "settings": self.settings,
            "report": state.report,
        }
        write_text(self.part / SHARD, json.dumps(document, indent=1))
        (self.part / _PROGRESS).unlink()
        self.part.replace(self.folder)
        self._lock.release()
        return self.folder

    def close(self, release: bool = True) -> None:
        """Closes the files; what was added since the last commit is forgotten."""
        for file in self._files.values():
            file.close()
        if release:
            self._lock.release()

    def _resumed(self) -> _Progress:
        path = self.part / _PROGRESS
        if not path.is_file():
            return _Progress()
        document = json.loads(path.read_text(encoding="utf-8"))
        before = {name: document.pop(name) for name in ("version", "rates", "settings")}
        now = {"version": FORMAT_VERSION, "rates": self.rates, "settings": self.settings}
        if before != now:
            changed = [name for name in now if before[name] != now[name]]
            raise ValueError(
                f"{self.part} was begun with other {', '.join(changed)}; go on with the same, or remove it first."
            )
        return _Progress(**document)

    def _opened(self) -> dict[str, BinaryIO]:
        files: dict[str, BinaryIO] = {}
        for name in self.types:
            file = (self.part / f"{name}.bin").open("ab")
            size = self.state.sizes.get(name, 0)
            file.truncate(size)
            file.seek(0, os.SEEK_END)
            if size == 0 and name.endswith(".offsets"):
                file.write(np.int64(0).tobytes())
            files[name] = file
        return files

    def _check(self, video: VideoContent) -> None:
        for stream, values in video.streams.items():
            if stream not in self.rates:
                raise ValueError(f"The shard has no stream {stream!r}; it has {', '.join(self.rates)}.")
            dim = self.state.dims.get(stream, values.shape[1])
            if values.shape[1] != dim:
                raise ValueError(f"{stream} of {video.id} is {values.shape[1]} wide where {dim} was before.")
        if video.audio is not None and video.audio.shape[0] != AUDIO_BINS:
            raise ValueError(f"The audio of {video.id} has {video.audio.shape[0]} bins; {AUDIO_BINS} are needed.")

    def _add_stream(self, stream: str, values: np.ndarray | None) -> bytes:
        length = 0 if values is None else len(values)
        data = b""
        if values is not None and length:
            self.state.dims.setdefault(stream, values.shape[1])
            values = np.ascontiguousarray(values, dtype="<f2")
            signed = bool((values.view(np.int16) < 0).any())
            self.state.signed[stream] = self.state.signed.get(stream, False) or signed
            data = with_maxima(values).tobytes()
        offset = self._files[stream].tell() // (2 * self.state.dims.get(stream, 1)) + num_stored(length)
        self._append(stream, data)
        self._append(f"{stream}.lengths", np.int32(length).tobytes())
        self._append(f"{stream}.offsets", np.int64(offset).tobytes())
        return data

    def _add_audio(self, audio: np.ndarray | None) -> bytes:
        data = b"" if audio is None else np.ascontiguousarray(audio.T, dtype="<f2").tobytes()  # (frames, 40)
        floor = 0.0 if audio is None or audio.size == 0 else float(audio.min())
        self._append("audio", data)
        self._append("audio.offsets", np.int64(self._files["audio"].tell() // (2 * AUDIO_BINS)).tobytes())
        self._append("audio.floor", np.float16(floor).tobytes())
        return data

    def _add_captions(self, captions: Captions) -> bytes:
        texts = [text.encode("utf-8", errors="replace") for text in captions.texts]
        before = self._files["text"].tell()
        ends = before + np.cumsum([len(text) for text in texts], dtype=np.int64)
        start, end = captions.start_ms.astype("<i4").tobytes(), captions.end_ms.astype("<i4").tobytes()
        self._append("text", b"".join(texts))
        self._append("text.offsets", ends.astype("<i8").tobytes())
        self._append("captions.start_ms", start)
        self._append("captions.end_ms", end)
        self._append("captions.offsets", np.int64(self._files["captions.start_ms"].tell() // 4).tobytes())
        return start + end + b"".join(texts)

    def _append(self, name: str, data: bytes) -> None:
        self._files[name].write(data)
