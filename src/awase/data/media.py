"""What video and audio files have in common: opening, time zero, lengths, and the window that a row means."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
from av.stream import Disposition

from awase.data.source import AbsentTrackError, MediaError

TOLERANCE_S = 0.25
"""A file that ends earlier than it says by more than this is truncated; less is how containers round."""
SEEK_AFTER_S = 2.0


@dataclass(frozen=True)
class Clip:
    """The part of a file that a row means, in seconds; `None` is the beginning or the end of the file."""

    start_s: float | None = None
    end_s: float | None = None

    def window(self, window_s: float | None, length_s: float) -> tuple[float, float]:
        """Begin and end of the clip, or of the window around its middle; may reach outside of [0, `length_s`].

        Raises `MediaError` for a clip that is empty or lies outside the file.
        """
        start = 0.0 if self.start_s is None else self.start_s
        end = length_s if self.end_s is None else self.end_s
        if end <= start:
            raise MediaError(f"the clip ends at {end:g} s, not after its start at {start:g} s")
        if start >= length_s or end <= 0:
            raise MediaError(f"the clip from {start:g} s to {end:g} s lies outside the file of {length_s:.3f} s")
        if window_s is None:
            return start, end
        middle = (start + end) / 2
        return middle - window_s / 2, middle + window_s / 2


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """The opened container; whatever FFmpeg reports becomes a `MediaError`."""
    if not path.is_file():
        raise MediaError("no such file")
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if len(container.streams) == 0:
                raise MediaError("is truncated or damaged: it has no tracks")
            yield container
    except av.FFmpegError as error:
        raise MediaError(f"cannot be decoded: {error.strerror or error}") from error


def origin_s(container: Any) -> float:
    """The time of the file that counts as zero: its start where that is later than zero (broadcast streams)."""
    return max(0.0, float(container.start_time or 0) / float(av.time_base))


def length_s(container: Any, stream: Any) -> float | None:
    """Seconds from zero to the end that the file states for the stream, else for itself; `None` where it does not."""
    if stream.duration is not None:
        start = float((stream.start_time or 0) * stream.time_base)
        return float(stream.duration * stream.time_base) + max(0.0, start - origin_s(container))
    if container.duration is None:
        return None
    # Matroska states where the file ends, others how long it is from its start.
    before = origin_s(container) if "matroska" in container.format.name else 0.0
    return float(container.duration) / float(av.time_base) - before


def measure_s(path: Path, kind: str) -> float:
    """Seconds to the end of the last packet, for files that state no length (a pass without decoding)."""
    with open_media(path) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        ends = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
        return max(ends, default=0.0) - origin_s(container)


def known_length_s(path: Path, container: Any, stream: Any) -> float:
    """The stated length, or the measured one."""
    stated = length_s(container, stream)
    return measure_s(path, stream.type) if stated is None else stated


def track_of(container: Any, kind: Literal["video", "audio"]) -> Any:
    """The first track of the kind; the cover picture of a recording is not a video track.

    Raises `AbsentTrackError` for a file with a track of the other kind alone, `MediaError` for one with neither.
    """
    tracks = [s for s in container.streams if s.type == kind and not s.disposition & Disposition.attached_pic]
    if tracks:
        return tracks[0]
    if any(stream.type in ("video", "audio") for stream in container.streams):
        raise AbsentTrackError(f"has no {kind} track")
    raise MediaError("is truncated or damaged: it has neither a video nor an audio track")


def seek(container: Any, time_s: float) -> bool:
    """Moves to a key frame some time before `time_s` if that is worth it; whether it did."""
    if time_s <= SEEK_AFTER_S:
        return False
    container.seek(int((time_s + origin_s(container) - SEEK_AFTER_S / 2) * av.time_base), backward=True)
    return True


def decoded_frames(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Frames and their times in seconds from zero; raises `MediaError` at a packet that is cut short."""
    count, origin = 0, origin_s(container)
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise MediaError("is truncated or damaged")
        for frame in packet.decode():
            rate = float(getattr(stream, "average_rate", None) or 25)
            yield (count / rate if frame.time is None else frame.time - origin), frame
            count += 1


def check_reached(reached_s: float, wanted_s: float, stated_s: float) -> None:
    """Raises `MediaError` where decoding ended well before both the wanted time and the stated end."""
    if reached_s + TOLERANCE_S < min(wanted_s, stated_s):
        raise MediaError(f"is truncated: it ends after {reached_s:.2f} s, not {stated_s:.2f} s")
