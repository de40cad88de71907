"""One pass over a film gives its frames at several constant rates, at the times FFmpeg's filter `fps` takes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from awase.data.decode_video import frames_from
from awase.data.media import TOLERANCE_S, Clip, check_reached, known_length_s, measure_s, open_media, track_of

# Beside a tie, times in binary fractions may fall on the wrong side of it.
_EPSILON = 1e-6
_CLOSEST_S = 1e-3


@dataclass(frozen=True)
class Shown:
    """A frame at one of the rates: `rate` is its number in the rates asked for, `times` how many rows it fills."""

    rate: int
    frame: Any
    times: int


def frames_at(path: Path, clip: Clip, rates_hz: Sequence[float]) -> Iterator[Shown]:
    """The frames of a clip at constant rates, decoded once.

    Row k of rate r is the last frame that begins before `start + (k + 1/2) / r`: each time is rounded to the nearest
    1/r, half of it upwards, and of frames with equal times the last one counts, as in FFmpeg's `fps=r`. Before the
    first frame of the file that frame counts as shown, so that row k always belongs to the time k / r. There are
    `floor(r x seconds + 1/2)` rows, at least one; seconds end where the file ends, if the clip would go on.

    Raises `AbsentTrackError` for a file without a film (the cover picture of a recording is none), and `MediaError` for
    one that is missing, truncated, cannot be decoded, or does not reach the clip.
    """
    with open_media(path) as container:
        stream = track_of(container, "video")
        stated = known_length_s(path, container, stream)
        start, end = clip.window(None, max(stated, _CLOSEST_S))
        clocks = [_Clock(rate, None if clip.end_s is None else end - start) for rate in rates_hz]
        current, reached = None, 0.0
        for time, frame in frames_from(container, stream, start):
            if current is not None:
                yield from _passed(clocks, current, time - start)
            if all(clock.is_full for clock in clocks):
                return
            current, reached = frame, time + _duration_s(frame, stream)
        _check_whole(path, container, stream, reached, min(end, stated))
        for number, clock in enumerate(clocks):
            rows = clock.rest((reached if clip.end_s is None else min(reached, end)) - start)
            if rows:
                yield Shown(number, current, rows)


class _Clock:
    """How many rows of one rate have been given."""

    def __init__(self, rate_hz: float, seconds: float | None) -> None:
        self.rate_hz, self.given = rate_hz, 0
        self.most = None if seconds is None else max(1, self.row_of(seconds))

    def row_of(self, seconds: float) -> int:
        return int(np.floor(seconds * self.rate_hz + 0.5 + _EPSILON))

    @property
    def is_full(self) -> bool:
        return self.most is not None and self.given >= self.most

    def until(self, row: int) -> int:
        """The rows from those given to `row`, which are given now."""
        rows = max(0, (row if self.most is None else min(row, self.most)) - self.given)
        self.given += rows
        return rows

    def rest(self, seconds: float) -> int:
        return self.until(max(1, self.row_of(seconds)))


def _passed(clocks: list[_Clock], frame: Any, next_s: float) -> Iterator[Shown]:
    """Where `frame` is the last one before rows that a frame at `next_s` is too late for."""
    for number, clock in enumerate(clocks):
        rows = clock.until(clock.row_of(next_s))
        if rows:
            yield Shown(number, frame, rows)


def _check_whole(path: Path, container: Any, stream: Any, reached_s: float, end_s: float) -> None:
    """Raises `MediaError` for a file that is cut short.

    Matroska states the length of the longest track alone: it is whole if any track goes on to there.
    """
    if stream.duration is None and reached_s + TOLERANCE_S < end_s:
        kinds = {other.type for other in container.streams} & {"video", "audio"}
        reached_s = max(measure_s(path, kind) for kind in kinds)
    check_reached(reached_s, end_s, end_s)


def _duration_s(frame: Any, stream: Any) -> float:
    if frame.duration:
        return float(frame.duration * frame.time_base)
    return 1.0 / float(stream.average_rate or 25)


def short_side_picture(frame: Any, short_side: int) -> UInt8[np.ndarray, "height width 3"]:
    """A decoded frame, upright, in colour, scaled (bicubic) so that its shorter side has `short_side` pixels.

    The longer side is rounded down, so the aspect ratio is kept to less than a pixel.
    """
    width, height = frame.width, frame.height
    scaled = (
        (short_side * width // height, short_side) if width > height else (short_side, short_side * height // width)
    )
    picture = frame.reformat(*scaled, format="rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))


def centre_square(picture: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "side side 3"]:
    """The square in the middle of a picture whose sides are `side` pixels or more."""
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]
