"""Every frame of a film, in grey."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from awase.data.decode_image import open_picture
from awase.data.media import Clip, check_reached, decoded_frames, known_length_s, open_media
from awase.data.picture_folders import frame_pictures
from awase.data.source import MediaError

# As in decoding single frames: containers round frame times to a thousandth of a second or finer.
_EPSILON_S = 1e-3


def grey_frames(path: Path, clip: Clip, short_side: int | None = None) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """The frames that begin within `clip` of a video file, or the pictures of a folder, upright and of one size.

    With `short_side` they are scaled so that the shorter side has that many pixels. Raises `MediaError` for what
    cannot be decoded, and for a part in seconds of a folder.
    """
    if path.is_dir():
        if clip != Clip():
            raise MediaError("is a folder of pictures, which have no times: leave out start and end")
        yield from _of_pictures(path, short_side)
    else:
        yield from _of_video(path, clip, short_side)


def _of_pictures(folder: Path, short_side: int | None) -> Iterator[np.ndarray]:
    size: tuple[int, int] | None = None
    for file in frame_pictures(folder):
        picture = open_picture(file).convert("L")
        size = size or _scaled(picture.width, picture.height, short_side)
        yield np.asarray(picture if picture.size == size else picture.resize(size, Image.Resampling.BOX))


def _of_video(path: Path, clip: Clip, short_side: int | None) -> Iterator[np.ndarray]:
    with open_media(path) as container:
        if not container.streams.video:
            raise MediaError("no video track")
        stream = container.streams.video[0]
        length = known_length_s(path, container, stream)
        start, end = clip.window(None, length)
        size: tuple[int, int] | None = None
        reached = 0.0
        for time, frame in decoded_frames(container, stream):
            reached = time
            if clip.end_s is not None and time > end - _EPSILON_S:
                return
            if time >= start - _EPSILON_S:
                size = size or _scaled(frame.width, frame.height, short_side)
                yield _grey(frame, size)
        check_reached(reached, end, length)


def _grey(frame: Any, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    grey = frame.reformat(width=width, height=height, format="gray", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(grey, round(getattr(frame, "rotation", 0) / 90) % 4))


def _scaled(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height at which the shorter one is `short_side`."""
    if short_side is None:
        return width, height
    scale = short_side / min(width, height)
    return max(short_side, round(width * scale)), max(short_side, round(height * scale))
