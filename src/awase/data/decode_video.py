"""Frames of a video file, chosen by time, or of a folder of pictures, chosen by number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from awase.config import VideoInput
from awase.data.decode_flow import middles
from awase.data.decode_image import read_picture
from awase.data.media import Clip, check_reached, decoded_frames, known_length_s, open_media, seek
from awase.data.picture_folders import frame_pictures
from awase.data.source import MediaError

# Frame times are rounded by containers to a thousandth of a second or finer.
_EPSILON_S = 1e-3


def decode_video(
    path: Path, clip: Clip, setting: VideoInput
) -> UInt8[np.ndarray, "frames height width channels"] | None:
    """The frames shown at the middles of `num_frames` equal parts of the window, in colour or grey.

    The picture is scaled to cover `height` x `width` with its aspect ratio kept, and the centre is cut out. Before the
    first and after the last frame of the file, that frame counts as shown. `None` where the file has no video.
    A folder of pictures is a video whose frames are the pictures in the order of their numbers, each shown equally
    long. Raises `MediaError` for files that are missing, truncated or cannot be decoded, and for a part in seconds of a
    folder, whose frames have no times.
    """
    if path.is_dir():
        return _of_pictures(path, clip, setting)
    with open_media(path) as container:
        if not container.streams.video:
            return None
        stream = container.streams.video[0]
        length = known_length_s(path, container, stream)
        start, end = clip.window(setting.window_s, length)
        step = (end - start) / setting.num_frames
        times = [start + (k + 0.5) * step for k in range(setting.num_frames)]
        return np.stack(list(_shown(frames_from(container, stream, times[0]), times, length, setting)))


def _of_pictures(folder: Path, clip: Clip, setting: VideoInput) -> UInt8[np.ndarray, "frames height width channels"]:
    if clip != Clip() or setting.window_s is not None:
        raise MediaError("is a folder of pictures, which have no times: leave out start, end and window_s")
    files = frame_pictures(folder)
    chosen = [files[position] for position in middles(len(files), setting.num_frames)]
    return np.stack([read_picture(file, setting.height, setting.width, setting.channels) for file in chosen])


def frames_from(container: Any, stream: Any, first_s: float) -> Iterator[tuple[float, Any]]:
    """Frames with their times, from one that is shown at `first_s` or earlier; raises `MediaError` where none is."""
    sought = seek(container, first_s)
    frames = decoded_frames(container, stream)
    head = next(frames, None)
    if sought and (head is None or head[0] > first_s + _EPSILON_S):
        container.seek(0)
        frames = decoded_frames(container, stream)
        head = next(frames, None)
    if head is None:
        raise MediaError("has no frame that can be decoded")
    yield head
    yield from frames


def _shown(
    frames: Iterator[tuple[float, Any]], times: list[float], length_s: float, setting: VideoInput
) -> Iterator[np.ndarray]:
    """For each time, the picture of the last frame that begins by then."""
    time, frame = next(frames)
    picture: np.ndarray | None = None
    upcoming = next(frames, None)
    for wanted in times:
        while upcoming is not None and upcoming[0] <= wanted + _EPSILON_S:
            (time, frame), picture = upcoming, None
            upcoming = next(frames, None)
        if upcoming is None:
            check_reached(time, wanted, length_s)
        if picture is None:
            picture = to_picture(frame, setting)
        yield picture


def to_picture(frame: Any, setting: VideoInput) -> UInt8[np.ndarray, "height width channels"]:
    """A decoded frame, upright, scaled to cover the size and cut to its centre."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    height, width = (setting.height, setting.width) if turns % 2 == 0 else (setting.width, setting.height)
    scale = max(height / frame.height, width / frame.width)
    covered = frame.reformat(
        width=max(width, round(frame.width * scale)),
        height=max(height, round(frame.height * scale)),
        format="gray" if setting.channels == 1 else "rgb24",
        interpolation="AREA",
    ).to_ndarray()
    top, left = (covered.shape[0] - height) // 2, (covered.shape[1] - width) // 2
    picture = np.rot90(covered[top : top + height, left : left + width], turns)
    return np.ascontiguousarray(picture.reshape(setting.height, setting.width, setting.channels))
